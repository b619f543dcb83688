import type { MacState } from './state.ts';

/**
 * The Secure Enclave's counter. Modelled: Apple says that wrong keys cause delays that grow, reports differ in the figures.
 * Here the first few are free, then it is a minute, and five times as long after each further one, eight hours at most.
 */
export const countWrongKey = (state: MacState, now: number): void => {
  const counter = state.wrongKeys;
  counter.inARow += 1;
  counter.ever += 1;
  const beyond = counter.inARow - state.quirks.wrongKeysFree;
  if (beyond >= 0) counter.refuseUntil = now + Math.min(60 * 5 ** beyond, 8 * 3600) * 1000;
};
