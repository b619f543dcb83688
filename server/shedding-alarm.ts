import { hostname } from 'node:os';
import { type Ground, sayAnew } from './operator-alarms.ts';
import type { Shedding } from './shedding.ts';

/** Minutes that are looked at, and in how many of them Macs were sent away before somebody is told. */
const minutesSeen = 10;
const minutesBusy = 5;

/**
 * Once a minute. A busy morning is what shedding is for; one that lasts needs somebody. It ends when a whole window was calm; words
 * without figures, so that it is told once and not each minute.
 */
export function tellOfShedding(ground: Ground, shedding: Pick<Shedding, 'shed'>, whose = hostname()): () => Promise<void> {
  const seen: boolean[] = [];
  let before = shedding.shed();
  return async () => {
    const now = shedding.shed();
    seen.push(now > before);
    before = now;
    if (seen.length > minutesSeen) seen.shift();
    const busy = seen.filter(Boolean).length;
    if (busy >= minutesBusy) await sayAnew(ground, 'BACKEND_BUSY', ['quiet Macs are told to come later, in most of the last minutes'], whose);
    else if (busy === 0 && seen.length === minutesSeen) await sayAnew(ground, 'BACKEND_BUSY', [], whose);
  };
}
