import type { Verdict } from './doctor.ts';
import type { Known, Values } from './doctor-values.ts';

/** A judgement of values, pure: the same values give the same judgement. */
export interface Judgement {
  verdict: Verdict;
  says: string;
  /** Where it is another one than the check's. */
  fix?: string;
}

export interface Check {
  /** lower-kebab-case, never renamed: programs look for it. */
  name: string;
  looksAt: string;
  fix: string;
  judge(values: Values): Judgement;
}

export const ok = (says: string): Judgement => ({ verdict: 'ok', says });
export const failing = (says: string, fix?: string): Judgement => ({ verdict: 'failing', says, ...(fix ? { fix } : {}) });
export const warning = (says: string, fix?: string): Judgement => ({ verdict: 'warning', says, ...(fix ? { fix } : {}) });
export const cannotTell = (says: string): Judgement => ({ verdict: 'cannot tell', says });

/** Judges what is known; what is not known is no failure. */
export function on<T>(known: Known<T>, judge: (value: T) => Judgement): Judgement {
  if (known === 'needs root') return { verdict: 'not checked', says: 'needs sudo' };
  return 'unknown' in known ? cannotTell(known.unknown) : judge(known.value);
}
