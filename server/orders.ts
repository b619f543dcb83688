import { randomUUID } from 'node:crypto';
import { Problem } from '../protocol/problems.ts';
import { audit, doneBy } from './audit.ts';
import { type CustodyParts, day, isoTime } from './custody-parts.ts';
import { isLiving } from './custody-state.ts';
import { oweRotation } from './debts.ts';
import { endHoldIn } from './holds.ts';
import type { Tx } from './parts.ts';
import { byAdmin, orderProof } from './proofs.ts';
import { failOrdered } from './store/campaigns.ts';
import { closeDebt, endOrder, insertOrder, orderById, ordersToExpire, prolongOrder, type RotationOrder, waitingOrdersOf } from './store/debts.ts';
import { recordsOfVolume } from './store/keys.ts';
import { macById } from './store/macs.ts';
import { openRotationOf } from './store/rotations.ts';
import { waitsOf } from './waits.ts';

export interface RotationOrdered {
  macId: string;
  actor: string;
  reason: string;
  /** For a Mac where nobody logs in: the agent then waits for uptime instead of a settled session. */
  withoutLogin?: boolean;
  /** The admin takes it on himself that nobody is typing the key now. */
  overrideHold?: boolean;
}

/** An admin forces a rotation: the order, its debt and the audit are one act. */
export async function orderRotation(parts: CustodyParts, order: RotationOrdered): Promise<{ orderId: string; expiresAt: number }> {
  const { macId, actor, reason, withoutLogin = false, overrideHold = false } = order;
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  return parts.act((tx, at) => orderRotationIn(parts, tx, at, { macId, actor, reason, withoutLogin, overrideHold }));
}

export async function orderRotationIn(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  order: Required<RotationOrdered>,
): Promise<{ orderId: string; expiresAt: number }> {
  const { macId, actor, reason, withoutLogin, overrideHold } = order;
  const mac = await macById(tx, macId);
  if (!mac) throw new Problem('MAC_UNKNOWN');
  if (mac.present_volume === null) throw new Problem('KEY_UNKNOWN', 'this Mac has never checked in');
  const orderId = randomUUID();
  const expiresAt = at + parts.settings.orderExpiresDays * day;
  await insertOrder(tx, {
    id: orderId,
    mac_id: macId,
    reason,
    actor,
    created_at: at,
    expires_at: expiresAt,
    without_login: withoutLogin ? 1 : 0,
    override_hold: overrideHold ? 1 : 0,
    state: 'waiting',
    ended_at: null,
  });
  const held = (await recordsOfVolume(tx, macId, mac.present_volume)).find((record) => record.state === 'held');
  await audit(tx, { at, actor, act: 'rotation.ordered', macId, details: { orderId, reason, expiresAt, withoutLogin, overrideHold } });
  // One id for both: the Mac and the admin then speak of the same thing.
  await oweRotation(tx, at, { id: orderId, macId, volume: mac.present_volume, because: 'ordered', recordId: held?.id ?? null, orderId, actor });
  if (overrideHold) await endHoldIn(parts, tx, at, { macId, actor, because: 'override', reason });
  return { orderId, expiresAt };
}

export interface OrderedOnce {
  orderId: string;
  expiresAt: number;
  /** Whose order it is: null where it was made now; else who gave the one that waited already. */
  waitedOf: string | null;
}

/** The same where one order is enough: one that waits already, and is carried out no later, is the answer. */
export async function orderOnceIn(parts: CustodyParts, tx: Tx, at: number, order: Required<RotationOrdered>): Promise<OrderedOnce> {
  const waiting = (await waitingOrdersOf(tx, order.macId)).find(({ without_login: without }) => !order.withoutLogin || without === 1);
  // The hold may have begun after the other one said that it should end.
  if (!waiting || order.overrideHold) return { ...(await orderRotationIn(parts, tx, at, order)), waitedOf: null };
  const details = { orderId: waiting.id, of: waiting.actor, reason: order.reason };
  await audit(tx, { at, actor: order.actor, act: joinedAct, macId: order.macId, details });
  // It lives as long as one of its own would.
  const expiresAt = Math.max(waiting.expires_at, at + parts.settings.orderExpiresDays * day);
  await prolongOrder(tx, waiting.id, expiresAt);
  return { orderId: waiting.id, expiresAt, waitedOf: waiting.actor };
}

/** An order that waited was enough for somebody who asked for the same. From then on it is theirs too. */
const joinedAct = 'rotation.order-joined';

/** Who asked for this order beside whoever gave it. */
export const joinedBy = (tx: Tx, order: RotationOrder): Promise<string[]> => doneBy(tx, order.mac_id, joinedAct, order.id);

export async function orderOnce(parts: CustodyParts, order: RotationOrdered): Promise<OrderedOnce> {
  const { withoutLogin = false, overrideHold = false } = order;
  if (order.reason.trim() === '') throw new Problem('REASON_MISSING');
  return parts.act(async (tx, at) => {
    await expireOrders(tx, at);
    return orderOnceIn(parts, tx, at, { ...order, withoutLogin, overrideHold });
  });
}

/** An order that waits ends, and what was owed for it. */
export async function withdrawOrderIn(tx: Tx, at: number, order: RotationOrder, { actor, because }: { actor: string; because: string }): Promise<void> {
  await endOrder(tx, order.id, 'withdrawn', at);
  await closeDebt(tx, order.mac_id, order.id, because, at);
  await audit(tx, { at, actor, act: 'rotation.order-withdrawn', macId: order.mac_id, details: { orderId: order.id, because } });
}

/** Taken back by an admin. The key may be replaced all the same, where it is owed for another reason. */
export async function withdrawOrder(parts: CustodyParts, taking: { orderId: string; macId: string; actor: string; reason: string }): Promise<void> {
  const { orderId, macId, actor, reason } = taking;
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  await parts.act(async (tx, at) => {
    const order = await orderById(tx, orderId);
    if (order?.mac_id !== macId) throw new Problem('NOT_FOUND', 'no such order of this Mac');
    if (order.state === 'withdrawn') return;
    if (order.state !== 'waiting') throw new Problem('ORDER_ENDED', `it is ${order.state}`);
    const open = await openRotationOf(tx, macId);
    if (open) throw new Problem('ROTATION_OPEN', `rotation ${open.id}: it can no longer be taken back`);
    const others = (await joinedBy(tx, order)).filter((one) => one !== actor);
    if (others.length > 0) throw new Problem('ORDER_SHARED', `asked for by ${others.join(', ')} too`);
    await withdrawOrderIn(tx, at, order, { actor, because: reason });
  });
}

export interface ProofOrdered {
  orderId: string;
  recordId: string;
  /** Not before this: the orders of many Macs at once are spread over the hours. */
  notBefore: string;
}

/** An admin wants to know whether the keys of a Mac open it: each that may be the valid one is asked about. */
export async function orderProofs(parts: CustodyParts, order: { macId: string; actor: string; reason: string }): Promise<ProofOrdered[]> {
  const { macId, actor, reason } = order;
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  return parts.act(async (tx, at) => {
    const mac = await macById(tx, macId);
    if (!mac) throw new Problem('MAC_UNKNOWN');
    if (mac.present_volume === null) throw new Problem('KEY_UNKNOWN', 'this Mac has never checked in');
    const living = (await recordsOfVolume(tx, macId, mac.present_volume)).filter(isLiving);
    if (living.length === 0) throw new Problem('KEY_UNKNOWN', 'there is no key to ask about');
    // What macOS refused twice is asked about no more: each wrong key counts against the person who guesses.
    const open = living.filter((record) => record.refuted_at === null);
    if (open.length === 0) throw new Problem('KEY_UNKNOWN', 'the Mac answered twice that its key does not open it, and asking again would cost tries');
    const orders: ProofOrdered[] = [];
    for (const record of open) {
      const { id, not_before: notBefore } = await orderProof(parts, tx, at, record, byAdmin, { actor, reason });
      orders.push({ orderId: id, recordId: record.id, notBefore: isoTime(notBefore) });
    }
    return orders;
  });
}

/** An order that nobody could carry out in its time is not carried out later by surprise: it and its debt end. */
export async function expireOrders(tx: Tx, at: number): Promise<void> {
  for (const order of await ordersToExpire(tx, at)) {
    await endOrder(tx, order.id, 'expired', at);
    await closeDebt(tx, order.mac_id, order.id, 'the order expired', at);
    const mac = await macById(tx, order.mac_id);
    const waited = (mac && waitsOf(mac)?.says) ?? null;
    const because = `the Mac did not carry it out in its time${waited === null ? '' : `; it said last: ${waited}`}`;
    await failOrdered(tx, order, { why: 'expired', because, state_at: at });
    await audit(tx, { at, actor: 'server', act: 'rotation.order-expired', macId: order.mac_id, details: { orderId: order.id, waited } });
  }
}
