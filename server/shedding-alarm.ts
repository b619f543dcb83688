import { type Ground, sayAnew } from './operator-alarms.ts';
import type { Shedding } from './shedding.ts';

/** Minutes that are looked at, and in how many of them Macs were sent away before somebody is told. */
const minutesSeen = 10;
const minutesBusy = 5;

/**
 * Once a minute. A busy morning is what shedding is for; one that lasts needs somebody. It ends when a whole window was calm; words
 * without figures, so that it is told once and not each minute.
 */
export function tellOfShedding(ground: Ground, shedding: Pick<Shedding, 'shed'>): () => Promise<void> {
  const seen: boolean[] = [];
  let before = shedding.shed();
  // Another backend on the same database may be the busy one: this one ends only what it said, or what it finds at its start.
  let said: boolean | null = null;
  return async () => {
    const now = shedding.shed();
    seen.push(now > before);
    before = now;
    if (seen.length > minutesSeen) seen.shift();
    const busy = seen.filter(Boolean).length;
    if (busy >= minutesBusy && said !== true) {
      await sayAnew(ground, 'BACKEND_BUSY', ['quiet Macs are told to come later, in most of the last minutes']);
      said = true;
    } else if (busy === 0 && seen.length === minutesSeen && said !== false) {
      await sayAnew(ground, 'BACKEND_BUSY', []);
      said = false;
    }
  };
}
