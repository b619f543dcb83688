import { hostname } from 'node:os';
import { mostAheadMs, sayAhead } from './clock.ts';
import { type Ground, sayAnew } from './operator-alarms.ts';

/** Once an hour: a clock that was right when the backend started. `ahead`: milliseconds before the database's, after it below zero. */
export function tellOfClocks(ground: Ground, ahead: () => Promise<number>, whose = hostname()): () => Promise<void> {
  // Said once for as long as it differs, and not again for each second more.
  let said: string | null = null;
  return async () => {
    const by = await ahead();
    said = Math.abs(by) > mostAheadMs ? (said ?? `the clock of ${whose} is ${sayAhead(by)}`) : null;
    await sayAnew(ground, 'CLOCKS_DIFFER', said === null ? [] : [said], whose);
  };
}
