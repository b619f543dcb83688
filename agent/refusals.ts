import { randomUUID } from 'node:crypto';
import type { Validation } from '../protocol/messages.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import { isTimeSure, type Journal, type Look, reckonServerTime } from './journal.ts';
import { validate } from './mac/fdesetup.ts';
import { withChange, withFailure } from './pace.ts';
import type { Run } from './run-of-agent.ts';

/*
 * Testing wrong keys is not free: the Secure Enclave counts them, delays, and in the end refuses. So every key that is
 * tried is counted in the journal before macOS sees it, and given back only by a `true` (gate 3).
 */

const day = 24 * 60 * 60 * 1000;
const budget = { perDay: 2, perWeek: 5, perDayUnsettled: 1 } as const;

/** Whether one more key may be tried now. */
export function mayTry(journal: Readonly<Journal>, now: number, settled: boolean): boolean {
  // Counted by a time that is not sure, it was just now: a clock that is turned gives no try back.
  const within = (span: number) => journal.refusals.filter((one) => one.unsure || one.at > now - span);
  if (within(day).length >= budget.perDay || within(7 * day).length >= budget.perWeek) return false;
  return settled || within(day).filter((one) => !one.settled).length < budget.perDayUnsettled;
}

/** Counts one try; the returned id gives it back. Written before the command runs. */
export function spendTry(run: Run, more: Partial<Journal> = {}): string {
  const id = randomUUID();
  const now = reckonedNow(run);
  const kept = run.journal.value.refusals.filter((one) => one.unsure || one.at > now - 7 * day);
  run.journal.write({ ...more, refusals: [...kept, { id, at: now, settled: run.settled, ...unsureOf(run) }] });
  return id;
}

export const giveBack = (journal: Readonly<Journal>, id: string): Pick<Journal, 'refusals'> => ({ refusals: journal.refusals.filter((one) => one.id !== id) });

/**
 * Asks macOS about one key, within the budget. `no-budget`: nothing was asked. Where FileVault is not plainly on, macOS
 * says `false` to every key, so nothing is asked either.
 */
export async function tryKey(run: Run, key: RecoveryKey): Promise<Validation | 'no-budget'> {
  if (run.facts.fileVault.state !== 'on') return 'unknown';
  if (run.refused.some((one) => one.equals(key))) return 'false';
  if (!mayTry(run.journal.value, reckonedNow(run), run.settled)) return 'no-budget';
  const id = spendTry(run);
  const answer = await validate(run.runner, key);
  if (answer === 'true') {
    run.journal.write({
      ...giveBack(run.journal.value, id),
      lastProof: { build: run.facts.macosBuild, at: reckonedNow(run) },
      pace: { ...run.journal.value.pace, proofDue: null },
      exhausted: false,
      notKnown: null,
    });
  }
  if (answer === 'false') run.refused.push(key);
  run.log('key-tried', { answer, settled: run.settled });
  return answer;
}

/** A change counts before fdesetup runs, whatever comes of it. */
export const countChange = (run: Run): Pick<Journal, 'pace'> => ({ pace: withChange(run.journal.value.pace, stampNow(run)) });
/** What gives no key is not tried again at once: fdesetup is left alone for longer each time. */
export function noteFailure(run: Run, because: string): { done: 'later'; because: string } {
  run.journal.write({ pace: withFailure(run.journal.value.pace, run.facts.macosBuild, stampNow(run)) });
  return { done: 'later', because };
}
const stampNow = (run: Run): { at: number; unsure?: true } => ({ at: reckonedNow(run), ...unsureOf(run) });
const unsureOf = (run: Run): { unsure?: true } => (isTimeSure(run.journal.value, run.facts.boot) ? {} : { unsure: true });

/** K8: two answers that refute come from two runs, at least so far apart. */
const secondLook = 10 * 60 * 1000;
export const lookNow = (run: Run): Look => ({ at: reckonedNow(run), runId: run.id, ...unsureOf(run) });
/** Whether one more `false` would be the second. Where it would not, asking again costs a try and tells nothing. */
export const isSecondLook = (run: Run, first: Look): boolean => first.runId !== run.id && !first.unsure && reckonedNow(run) - first.at >= secondLook;

/** Before the first answer of a server, the Mac's own clock has to do. */
export const reckonedNow = (run: Run): number => reckonServerTime(run.journal.value, run.facts.boot, run.uptime()) ?? run.now();
