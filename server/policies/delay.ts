import { isoTime, minute } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import type { Debt } from '../store/debts.ts';
import { policyFor } from './policy.ts';

/** What is owed only because a key was shown may have to wait longer than its hold. */
export interface Delay {
  until: number;
  because: string;
}

/**
 * Null where nothing keeps a replacement back. It counts from the first time that the key was shown which is not replaced yet, so
 * that looking again does not put it off. Whatever else is owed, such as after *this was not me*, does not wait for it.
 */
export async function delayOf(tx: Tx, at: number, macId: string, debts: readonly Debt[]): Promise<Delay | null> {
  if (debts.length === 0 || debts.some(({ because }) => because !== 'disclosed')) return null;
  const { policy, rules } = await policyFor(tx, macId, 'rotation');
  const until = Math.min(...debts.map((debt) => debt.opened_at)) + rules.afterDisclosureMinutes * minute;
  return policy && at < until ? { until, because: `the key was shown, and the policy ${policy.name} has its replacement wait until ${isoTime(until)}` } : null;
}
