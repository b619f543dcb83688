import { settle } from './alarms.ts';
import { audit } from './audit.ts';
import type { Tx } from './parts.ts';
import { closeDebt, type Debt, debtById, endOrder, insertDebt, openDebtsOf } from './store/debts.ts';
import { type KeyRecord, recordById } from './store/keys.ts';
import { rotationById } from './store/rotations.ts';

export interface NewDebt {
  id: string;
  macId: string;
  volume: string;
  because: string;
  /** The key that it is owed for; null where the server does not know it. */
  recordId: string | null;
  orderId?: string;
  actor: string;
  /** In the words of whoever asked for it on the Mac. */
  reason?: string;
}

/** Stores a debt once. One for a key that has been superseded since is paid already, and closed as it is written. */
export async function oweRotation(tx: Tx, at: number, debt: NewDebt): Promise<void> {
  if (await debtById(tx, debt.macId, debt.id)) return;
  const { id, macId, volume, because, recordId, orderId = null, actor, reason } = debt;
  await insertDebt(tx, { id, mac_id: macId, volume, because, record_id: recordId, order_id: orderId, opened_at: at, closed_at: null, closed_by: null });
  await audit(tx, { at, actor, act: 'debt.opened', macId, details: { debtId: id, because, volume, recordId, orderId, reason } });
}

/** A debt that the agent saw the cause of, for a key that was replaced before it could say so. */
export async function closeIfPaid(tx: Tx, at: number, macId: string, debtId: string, successor: KeyRecord | undefined): Promise<void> {
  const debt = await debtById(tx, macId, debtId);
  if (!debt || debt.closed_at !== null || debt.record_id === null || !successor || successor.id === debt.record_id) return;
  const record = await recordById(tx, debt.record_id);
  if (record?.state === 'superseded') await closeOne(tx, at, debt, `record ${successor.id}`);
}

/**
 * Debts close only because *another* key is in custody by K3 or K7. One that names no key is closed by the key of a
 * rotation that came after it; `never-escrowed` by any key, for it is owed for one that nobody has.
 */
export async function closeDebtsFor(tx: Tx, at: number, record: KeyRecord, byRotation: string | null): Promise<void> {
  const rotation = byRotation === null ? undefined : await rotationById(tx, record.mac_id, byRotation);
  for (const debt of await openDebtsOf(tx, record.mac_id, record.volume)) {
    const unnamed = debt.because === 'never-escrowed' || (rotation !== undefined && rotation.begun_at >= debt.opened_at);
    if (debt.record_id === null ? unnamed : debt.record_id !== record.id) await closeOne(tx, at, debt, `record ${record.id}`);
  }
}

/** The key by which a debt was paid. */
export const successorOf = (debt: Pick<Debt, 'closed_by'>): string | null => /^record (\S+)$/.exec(debt.closed_by ?? '')?.[1] ?? null;

export async function closeOne(tx: Tx, at: number, debt: Debt, closedBy: string): Promise<void> {
  await closeDebt(tx, debt.mac_id, debt.id, closedBy, at);
  if (debt.order_id !== null) await endOrder(tx, debt.order_id, 'done', at);
  if (debt.because === 'granted') await settle(tx, at, debt.mac_id, 'GRANT_NOT_CLOSED', `grant ${debt.id}`, closedBy);
  await audit(tx, { at, actor: 'server', act: 'debt.closed', macId: debt.mac_id, details: { debtId: debt.id, because: debt.because, closedBy } });
}
