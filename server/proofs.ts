import { randomUUID } from 'node:crypto';
import type { Validation } from '../protocol/messages.ts';
import { raise, settle } from './alarms.ts';
import { audit } from './audit.ts';
import { type CustodyParts, hour, minute } from './custody-parts.ts';
import { closeDebtsFor } from './debts.ts';
import type { Tx } from './parts.ts';
import { envelopesOfRecord, type KeyRecord, recordById, recordsOfVolume, setRecordState, updateRecord } from './store/keys.ts';
import { countOpenProofOrders, endProofOrders, insertProof, insertProofOrder, openProofOrderFor, proofById } from './store/proofs.ts';
import { endRotation, openRotationOf } from './store/rotations.ts';

/** K8: two runs that are as far apart as this. */
const refutedAfter = 10 * minute;

/** A proof is due. The orders of a newly enrolled fleet are spread, so that the limit of grants per hour is not what spreads them. */
export async function orderProof(parts: CustodyParts, tx: Tx, at: number, record: KeyRecord, because: string): Promise<void> {
  if (await openProofOrderFor(tx, record.id)) return;
  const ahead = Math.floor((await countOpenProofOrders(tx, at - hour)) / Math.max(1, Math.floor(parts.settings.grantsPerHour / 2)));
  const order = { id: randomUUID(), mac_id: record.mac_id, record_id: record.id, because, created_at: at, not_before: at + ahead * hour, ended_at: null };
  await insertProofOrder(tx, order);
  await audit(tx, { at, actor: 'server', act: 'proof.ordered', macId: record.mac_id, details: { orderId: order.id, recordId: record.id, because } });
}

/** A record became the held one by K3 or K7: what was owed for other keys is paid, and the rotation it came from is done. */
export async function becameHeld(tx: Tx, at: number, record: KeyRecord, how: string): Promise<void> {
  const open = await openRotationOf(tx, record.mac_id);
  const rotations = (await envelopesOfRecord(tx, record.id)).map((envelope) => envelope.rotation_id);
  const itsRotation = record.rotation_id ?? rotations.find((id) => id !== null) ?? null;
  await closeDebtsFor(tx, at, record, itsRotation);
  if (!open || open.volume !== record.volume || !(record.rotation_id === open.id || rotations.includes(open.id))) return;
  await endRotation(tx, record.mac_id, open.id, 'done', how, at);
  await settle(tx, at, record.mac_id, 'ROTATION_SILENT', `rotation ${open.id}`, 'the rotation is done');
  await audit(tx, { at, actor: 'mac', act: 'rotation.ended', macId: record.mac_id, details: { rotationId: open.id, as: 'done', because: how } });
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
  await updateRecord(tx, record.id, { ...known, ...newest, first_false_at: null, first_false_run: null, refuted_at: null });
  await endProofOrders(tx, record.id, at);
  await audit(tx, {
    at,
    actor: 'mac',
    act: 'key.proved',
    macId: record.mac_id,
    details: { recordId: record.id, by, answeredAt, superseded: others.map((other) => other.id) },
  });
  await becameHeld(tx, at, { ...record, ...known }, 'K7');
}

/** K8: noted on the record, which stays as it is. */
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
  // Outside a settled session `false` means that it could not be checked (8.2).
  if (answer === 'false' && settled && (record.state === 'held' || record.state === 'candidate')) await provedFalse(parts, tx, at, record, answeredAt, run);
}
