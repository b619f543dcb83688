import { createHash, randomUUID } from 'node:crypto';
import type { Validation } from '../protocol/messages.ts';
import { afterAct } from './after-act.ts';
import { raise, settle } from './alarms.ts';
import { audit } from './audit.ts';
import { isBroughtRecord } from './brought/sources.ts';
import { closeTasksByProof, markCopyOld } from './brought/tasks.ts';
import { type CustodyParts, day, hour, minute } from './custody-parts.ts';
import { closeDebtsFor } from './debts.ts';
import type { Tx } from './parts.ts';
import { updateBroughtOfRecord } from './store/brought.ts';
import { envelopesOfRecord, type KeyRecord, recordById, recordsOfVolume, setRecordState, updateRecord } from './store/keys.ts';
import {
  changeProofOrder,
  endProofOrders,
  insertProof,
  insertProofOrder,
  macsToProve,
  openProofOrderFor,
  openProofTimes,
  type ProofOrder,
  proofById,
} from './store/proofs.ts';
import { endRotation, openRotationOf } from './store/rotations.ts';

/** K8: two runs that are as far apart as this. */
const refutedAfter = 10 * minute;

/** The reason of an order that an admin gave: grants `ordered-only` give keys for no other. */
export const byAdmin = 'ordered';
/** The reason of an order that only time brought about: it may wait for days. */
const byTime = 'its time has come';

/**
 * A proof is due. The orders of a newly enrolled fleet are spread over the hours, so that the limit of grants per hour is
 * not what spreads them. One order for a key at a time: a weightier reason makes the one that waits due now, and an admin who
 * asks once more is another question.
 */
export async function orderProof(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  record: KeyRecord,
  because: string,
  by = { actor: 'server', reason: '' },
  isNew = false,
): Promise<ProofOrder> {
  // A record of this act has none.
  const open = isNew ? undefined : await openProofOrderFor(tx, record.id);
  if (open && because !== byAdmin && open.because !== byTime) return open;
  const notBefore = open && open.not_before <= at ? open.not_before : at + (await hoursAhead(parts, tx, at, record.mac_id)) * hour;
  const order = open
    ? { ...open, because, created_at: at, not_before: Math.min(open.not_before, notBefore) }
    : { id: randomUUID(), mac_id: record.mac_id, record_id: record.id, because, created_at: at, not_before: notBefore, ended_at: null };
  if (open) await changeProofOrder(tx, open.id, order);
  else await insertProofOrder(tx, order);
  await audit(tx, {
    at,
    actor: by.actor,
    act: 'proof.ordered',
    macId: record.mac_id,
    details: { orderId: order.id, recordId: record.id, because, ...(by.reason ? { reason: by.reason } : {}) },
  });
  return order;
}

/** The first hour from now in which no more proofs are due than half of what the fleet may be granted. */
async function hoursAhead(parts: CustodyParts, tx: Tx, at: number, macId: string): Promise<number> {
  const perHour = Math.max(1, Math.floor(parts.settings.grantsPerHour / 2));
  const hours = await hoursOf(parts, tx, at);
  // One Mac takes one place, however many keys it brings.
  const own = hours.added.get(macId);
  if (own !== undefined) return own;
  for (let ahead = 0; ; ahead += 1) {
    if ((hours.taken.get(ahead) ?? 0) >= perHour) continue;
    // Other backends have put some into it since.
    if (parts.store.alone) hours.taken.set(ahead, await macsToProve(tx, at + (ahead - 1) * hour, at + ahead * hour, macId));
    const others = hours.taken.get(ahead) ?? 0;
    if (others >= perHour) continue;
    hours.taken.set(ahead, others + 1);
    hours.added.set(macId, ahead);
    return ahead;
  }
}

interface Hours {
  readAt: number;
  /** Macs by hours from then. */
  taken: Map<number, number>;
  added: Map<string, number>;
}
/**
 * For so many milliseconds what was read says where to begin to look: the orders of a whole fleet must not be read again for each key of a
 * fleet that is enrolled. An act that failed makes an hour a little fuller, and nothing else. Where there are other backends, the hour that is
 * taken is counted in the act itself.
 */
const begunFrom = 10_000;
const known = new WeakMap<CustodyParts['store'], Hours>();

async function hoursOf({ store }: CustodyParts, tx: Tx, at: number): Promise<Hours> {
  const before = known.get(store);
  if (before && at >= before.readAt && at - before.readAt < begunFrom) return before;
  const hours: Hours = { readAt: at, taken: new Map(), added: new Map() };
  for (const time of await openProofTimes(tx, at - hour, at + 366 * day)) {
    const ahead = Math.ceil((time - at) / hour);
    hours.taken.set(ahead, (hours.taken.get(ahead) ?? 0) + 1);
  }
  known.set(store, hours);
  return hours;
}

/**
 * The schedule. Macs that were enrolled on one day would be asked on one day for ever: each waits for a share of a quarter
 * of the time between two proofs, always the same for one key, so that they drift apart. Whether one was ordered.
 */
export async function orderScheduledProof(parts: CustodyParts, tx: Tx, at: number, record: KeyRecord): Promise<boolean> {
  const every = parts.settings.proveEveryDays * day;
  if (at - (record.proved_at ?? record.received_at) < every || (await openProofOrderFor(tx, record.id))) return false;
  const share = createHash('sha256').update(record.id).digest().readUInt32BE(0) / 2 ** 32;
  const order = {
    id: randomUUID(),
    mac_id: record.mac_id,
    record_id: record.id,
    because: byTime,
    created_at: at,
    not_before: Math.floor(at + (share * every) / 4),
    ended_at: null,
  };
  await insertProofOrder(tx, order);
  await audit(tx, {
    at,
    actor: 'server',
    act: 'proof.ordered',
    macId: record.mac_id,
    details: { orderId: order.id, recordId: record.id, because: byTime, notBefore: order.not_before },
  });
  return true;
}

/** A record became the held one by K3 or K7: what was owed for other keys is paid, and the rotation it came from is done. */
export async function becameHeld(parts: CustodyParts, tx: Tx, at: number, record: KeyRecord, how: string): Promise<void> {
  const open = await openRotationOf(tx, record.mac_id);
  const rotations = (await envelopesOfRecord(tx, record.id)).map((envelope) => envelope.rotation_id);
  const itsRotation = record.rotation_id ?? rotations.find((id) => id !== null) ?? null;
  await closeDebtsFor(tx, at, record, itsRotation);
  await closeTasksByProof(tx, at, record);
  if (!open || open.volume !== record.volume || !(record.rotation_id === open.id || rotations.includes(open.id))) return;
  await endRotation(tx, record.mac_id, open.id, 'done', how, at);
  await settle(tx, at, record.mac_id, 'ROTATION_SILENT', `rotation ${open.id}`, 'the rotation is done');
  await audit(tx, { at, actor: 'mac', act: 'rotation.ended', macId: record.mac_id, details: { rotationId: open.id, as: 'done', because: how } });
  if (open.escrow_payload !== 'foreign') return;
  // C6: what the MDM has is dead until it asks the Mac again. The event is for whoever can make it ask: a sync, an inventory, a refetch.
  await markCopyOld(tx, at, record.mac_id, { id: open.id, begunAt: open.begun_at });
  afterAct(tx, () => parts.log.warn('mdm-copy-old', { macId: record.mac_id, rotationId: open.id }));
}

/**
 * K7: macOS said `true` to this key at `answeredAt`. Keys that came after that moment are not judged by it: an old key was
 * valid until it was replaced, and its answer may arrive after the news of its successor.
 */
export async function provedTrue(parts: CustodyParts, tx: Tx, at: number, recordId: string, answeredAt: number, by: string): Promise<void> {
  const record = await recordById(tx, recordId);
  if (!record || record.state === 'quarantined') return;
  if (record.state === 'destroyed') {
    // Nothing can bring it back; whoever can still ask its person has to know.
    await raise(parts, tx, at, record.mac_id, 'DESTROYED_PROVED', `record ${record.id}, proved by ${by}`);
    return;
  }
  if (record.state === 'superseded') {
    if (answeredAt < record.state_at) return;
    await updateRecord(tx, record.id, {
      state: 'candidate',
      state_at: at,
      state_because: 'K7: superseded, and macOS said true to it',
      proved_at: answeredAt,
      proved_by: by,
      unverified: 0,
    });
    await raise(parts, tx, at, record.mac_id, 'SUPERSEDED_PROVED', `record ${record.id}, proved by ${by}`);
    await orderProof(parts, tx, at, record, 'a superseded key was said to be valid');
    return;
  }
  // An answer that was kept back takes nothing of what macOS said since.
  if (record.first_false_at !== null && answeredAt < record.first_false_at) return;
  const others = (await recordsOfVolume(tx, record.mac_id, record.volume)).filter(
    (other) => other.id !== record.id && (other.state === 'held' || other.state === 'candidate'),
  );
  if (others.some((other) => other.state === 'held' && other.received_at > answeredAt)) return;
  for (const other of others.filter((one) => one.received_at <= answeredAt)) {
    await setRecordState(tx, other.id, 'superseded', `K7: macOS said true to ${record.id}`, at);
    await endProofOrders(tx, other.id, at);
  }
  const known = record.state === 'held' ? {} : { state: 'held' as const, state_at: at, state_because: 'K7: macOS said true to it' };
  const newest = answeredAt >= (record.proved_at ?? 0) ? { proved_at: answeredAt, proved_by: by } : {};
  await updateRecord(tx, record.id, { ...known, ...newest, first_false_at: null, first_false_run: null, refuted_at: null, unverified: 0 });
  await updateBroughtOfRecord(tx, record.id, { state: 'known', state_at: at, state_because: 'macOS said true to it' });
  await endProofOrders(tx, record.id, at, answeredAt);
  await audit(tx, {
    at,
    actor: 'mac',
    act: 'key.proved',
    macId: record.mac_id,
    details: { recordId: record.id, by, answeredAt, superseded: others.map((other) => other.id) },
  });
  await becameHeld(parts, tx, at, { ...record, ...known }, 'K7');
}

/**
 * K8: noted on the record, which stays as it is. One that only others brought, and that was never proved, is superseded by it: its
 * place is for the next of them, and the Mac is in doubt about nothing that it ever said itself (docs/decisions/0027).
 */
async function provedFalse(parts: CustodyParts, tx: Tx, at: number, record: KeyRecord, answeredAt: number, run: string): Promise<void> {
  if (record.refuted_at !== null || (record.proved_at !== null && answeredAt < record.proved_at)) return;
  if (record.first_false_at === null) {
    await updateRecord(tx, record.id, { first_false_at: answeredAt, first_false_run: run });
    await audit(tx, { at, actor: 'mac', act: 'key.doubted', macId: record.mac_id, details: { recordId: record.id, answeredAt } });
    return;
  }
  if (Math.abs(answeredAt - record.first_false_at) < refutedAfter || run === record.first_false_run) return;
  await updateRecord(tx, record.id, { refuted_at: at });
  await endProofOrders(tx, record.id, at);
  await audit(tx, {
    at,
    actor: 'mac',
    act: 'key.refuted',
    macId: record.mac_id,
    details: { recordId: record.id, first: record.first_false_at, second: answeredAt },
  });
  if (
    record.proved_at === null &&
    isBroughtRecord(record.source) &&
    (await envelopesOfRecord(tx, record.id)).every((envelope) => envelope.enrolment_id === null)
  ) {
    const because = 'K8: others brought it, and the Mac answered twice that it does not open it';
    await setRecordState(tx, record.id, 'superseded', because, at);
    await updateBroughtOfRecord(tx, record.id, { state: 'refuted', state_at: at, state_because: 'the Mac answered twice that this key does not open it' });
  }
  // While the wrong one stays a candidate, only a `true` of another key ends the doubt.
  const held = (await recordsOfVolume(tx, record.mac_id, record.volume)).find((other) => other.state === 'held' && other.id !== record.id);
  if (held && held.refuted_at === null) await orderProof(parts, tx, at, held, 'another key of this Mac was refuted');
}

export interface GivenProof {
  id: string;
  record: KeyRecord;
  enrolmentId: string;
  answer: Validation;
  settled: boolean;
  boot: string;
  /** Server time, reckoned by uptime. */
  answeredAt: number;
  /** Names the run of the agent: two answers of one run are one answer. */
  run: string;
}

/** Notes an answer of macOS as the Mac gave it, once, and applies it. */
export async function takeProof(parts: CustodyParts, tx: Tx, at: number, proof: GivenProof): Promise<void> {
  const { id, record, enrolmentId, answer, settled, boot, answeredAt, run } = proof;
  if (await proofById(tx, record.mac_id, id)) return;
  await insertProof(tx, { id, mac_id: record.mac_id, record_id: record.id, enrolment_id: enrolmentId, answer, settled: settled ? 1 : 0, boot, at: answeredAt });
  if (answer === 'true') await provedTrue(parts, tx, at, record.id, answeredAt, `enrolment ${enrolmentId}`);
  // Outside a settled session `false` means that it could not be checked.
  if (answer === 'false' && settled && (record.state === 'held' || record.state === 'candidate')) await provedFalse(parts, tx, at, record, answeredAt, run);
}
