import type { MacState } from './state.ts';

/**
 * The Secure Enclave's counter. Modelled: Apple says that wrong keys cause delays that grow, reports differ in the figures.
 * Here the first few are free, then it is a minute, and five times as long after each further one, eight hours at most.
 */
export const countWrongKey = (state: MacState, now: number): void => {
  const counter = state.wrongKeys;
  counter.inARow += 1;
  counter.ever += 1;
  counter.times.push(now);
  const beyond = counter.inARow - state.quirks.wrongKeysFree;
  if (beyond >= 0) counter.refuseUntil = now + Math.min(60 * 5 ** beyond, 8 * 3600) * 1000;
};

const day = 24 * 3600 * 1000;

/** What gate 3 allows in any so many days. */
const allowed = [
  { days: 1, most: 2 },
  { days: 7, most: 5 },
] as const;

/** In words, where more wrong keys were tried than gate 3 allows: 2 in any 24 hours, 5 in any 7 days. Times as long ago as that count no more. */
export function tooManyWrongKeys(times: readonly number[]): string[] {
  return allowed.flatMap(({ days, most }) => {
    const worst = Math.max(0, ...times.map((first, at) => times.slice(at).filter((one) => one < first + days * day).length));
    return worst > most ? [`${worst} wrong keys were tried in ${days === 1 ? '24 hours' : `${days} days`}, and ${most} are allowed`] : [];
  });
}
