import { checks } from './doctor-checks.ts';
import type { Values } from './doctor-values.ts';

/** `cannot tell`: the check itself could not be made, which says nothing about what it looks at. `not checked`: it needs sudo. */
export type Verdict = 'ok' | 'failing' | 'warning' | 'cannot tell' | 'not checked';

/** What one check found. What is printed, what `--json` gives and the exit status all come from the same list of these. */
export interface Finding {
  name: string;
  /** What it looks at, in words. */
  looksAt: string;
  verdict: Verdict;
  says: string;
  /** What one named person can do; null where nothing is wrong. */
  fix: string | null;
}

export function examine(values: Values): Finding[] {
  return checks.map(({ name, looksAt, fix, judge }) => {
    const judged = judge(values);
    const wrong = judged.verdict === 'failing' || judged.verdict === 'warning';
    return { name, looksAt, verdict: judged.verdict, says: judged.says, fix: wrong ? (judged.fix ?? fix) : null };
  });
}

/** 0 when nothing fails, 77 otherwise: somebody has to do something. */
export const doctorExit = (found: readonly Finding[]): number => (found.some(({ verdict }) => verdict === 'failing') ? 77 : 0);
