import { randomUUID } from 'node:crypto';
import type { Validation } from '../protocol/messages.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import { type Journal, reckonServerTime } from './journal.ts';
import { validate } from './mac/fdesetup.ts';
import type { Run } from './run-of-agent.ts';

/*
 * Testing wrong keys is not free: the Secure Enclave counts them, delays, and in the end refuses. So every key that is
 * tried is counted in the journal before macOS sees it, and given back only by a `true` (gate 3).
 */

const day = 24 * 60 * 60 * 1000;
export const budget = { perDay: 2, perWeek: 5, perDayUnsettled: 1 } as const;

/** Whether one more key may be tried now. */
export function mayTry(journal: Readonly<Journal>, now: number, settled: boolean): boolean {
  const within = (span: number) => journal.refusals.filter((one) => one.at > now - span);
  if (within(day).length >= budget.perDay || within(7 * day).length >= budget.perWeek) return false;
  return settled || within(day).filter((one) => !one.settled).length < budget.perDayUnsettled;
}

/** Counts one try; the returned id gives it back. Written before the command runs. */
export function spendTry(run: Run, more: Partial<Journal> = {}): string {
  const id = randomUUID();
  const now = reckonedNow(run);
  const refusals = [...run.journal.value.refusals.filter((one) => one.at > now - 7 * day), { id, at: now, settled: run.settled }];
  run.journal.write({ ...more, refusals });
  return id;
}

export const giveBack = (journal: Readonly<Journal>, id: string): Pick<Journal, 'refusals'> => ({ refusals: journal.refusals.filter((one) => one.id !== id) });

/** Asks macOS about one key, within the budget. `no-budget`: nothing was asked. */
export async function tryKey(run: Run, key: RecoveryKey): Promise<Validation | 'no-budget'> {
  if (!mayTry(run.journal.value, reckonedNow(run), run.settled)) return 'no-budget';
  const id = spendTry(run);
  const answer = await validate(run.runner, key);
  if (answer === 'true') {
    run.journal.write({ ...giveBack(run.journal.value, id), lastProof: { build: run.facts.macosBuild, at: reckonedNow(run) }, exhausted: false });
  }
  run.log('key-tried', { answer, settled: run.settled });
  return answer;
}

/** Before the first answer of a server, the Mac's own clock has to do. */
export const reckonedNow = (run: Run): number => reckonServerTime(run.journal.value, run.facts.boot, run.uptime()) ?? run.now();
