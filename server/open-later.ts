import { randomUUID } from 'node:crypto';
import type { RecordState } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import { applyRule, takeWitness } from './accept-key.ts';
import { raise } from './alarms.ts';
import { audit } from './audit.ts';
import { openBrought } from './brought/open-brought.ts';
import { settleBrought } from './brought/settle.ts';
import type { CustodyParts } from './custody-parts.ts';
import type { Tx } from './parts.ts';
import { isRowWhole, rowMac } from './row-mac.ts';
import { moveDebts } from './store/debts.ts';
import {
  type EnvelopeRow,
  envelopeOfMac,
  envelopesOfRecord,
  insertRecord,
  type KeyRecord,
  notTriedEnvelopes,
  recordById,
  recordWithKey,
  setRecordState,
  updateEnvelope,
  updateRecord,
} from './store/keys.ts';
import { endProofOrders } from './store/proofs.ts';
import { waitsToBeOpened } from './unopened.ts';

export interface OpenedLater {
  opened: number;
  unreadable: number;
  /** Nobody answered: these wait for the next time. */
  waiting: number;
}

/** Opens what could not be opened when it came, and applies K1 to K6 to it then. Safe to run at any time. */
export async function openLater(parts: CustodyParts): Promise<OpenedLater> {
  const result: OpenedLater = { opened: 0, unreadable: 0, waiting: 0 };
  const waiting = parts.canOpen ? await notTriedEnvelopes(parts.store.db) : [];
  for (const envelope of waiting) {
    const record = await recordById(parts.store.db, envelope.record_id);
    if (!record || !envelope.bytes) continue;
    if (!isRowWhole(parts.secrets, record, envelope)) {
      await parts.act((tx, at) => raise(parts, tx, at, record.mac_id, 'ROW_TAMPERED', `envelope ${envelope.id} of record ${record.id}`));
      continue;
    }
    const opened = await parts.openBytes(envelope.bytes);
    if (opened === 'no-opener') return { ...result, waiting: waiting.length - result.opened - result.unreadable };
    try {
      await parts.act(async (tx, at) => {
        await apply(parts, tx, at, envelope, opened);
        await settleBrought(parts, tx, at, envelope.mac_id);
      });
    } catch (error) {
      if (error instanceof Problem) throw error;
      // One that cannot be applied does not keep the others waiting.
      parts.log.error('opener-failed', { macId: envelope.mac_id, recordId: envelope.record_id, name: error instanceof Error ? error.name : 'unknown' });
      result.waiting += 1;
      continue;
    }
    if (opened === 'unreadable') result.unreadable += 1;
    else result.opened += 1;
  }
  const brought = await openBrought(parts);
  return { opened: result.opened + brought.opened, unreadable: result.unreadable + brought.unreadable, waiting: result.waiting + brought.waiting };
}

async function apply(parts: CustodyParts, tx: Tx, at: number, { mac_id: macId, id }: EnvelopeRow, opened: RecoveryKey | 'unreadable'): Promise<void> {
  const envelope = await envelopeOfMac(tx, macId, id);
  const record = envelope ? await recordById(tx, envelope.record_id) : undefined;
  // Another process was quicker.
  if (!envelope || !record || envelope.readable !== 'not-tried') return;
  const details = { envelopeId: id, recordId: record.id, was: record.state };
  await updateEnvelope(tx, macId, id, { readable: opened === 'unreadable' ? 'no' : 'yes' });
  if (opened === 'unreadable') {
    const alone = await separate(parts, tx, at, envelope, record, null);
    await setRecordState(tx, alone.id, 'quarantined', 'K1: it cannot be read, or is no key', at);
    await move(parts, tx, envelope, { ...alone, state: 'quarantined' });
    await endProofOrders(tx, alone.id, at);
    await audit(tx, { at, actor: 'server', act: 'key.quarantined', macId, details: { ...details, rule: 'K1' } });
    return;
  }
  const fingerprint = opened.fingerprint(parts.secrets.fingerprint);
  const same = await recordWithKey(tx, macId, record.volume, fingerprint);
  if (same) {
    if (same.id !== record.id) await merge(parts, tx, at, envelope, record, same);
    await audit(tx, { at, actor: 'server', act: 'key.opened', macId, details: { ...details, rule: 'K2', sameAs: same.id } });
    if (same.id !== record.id && record.state_because === waitsToBeOpened)
      await takeWitness(parts, tx, at, same.id, {
        validated: envelope.validated,
        enrolmentId: envelope.enrolment_id,
        envelopeId: envelope.id,
        rotationId: envelope.rotation_id,
      });
    return;
  }
  const differs = record.fingerprint !== null;
  const owner = differs ? await separate(parts, tx, at, envelope, record, fingerprint) : record;
  if (!differs) await updateRecord(tx, record.id, { fingerprint, opened: 1 });
  else await raise(parts, tx, at, macId, 'WITNESS_DIFFERS', `envelope ${id} was taken for record ${record.id}`);
  const rule = differs || record.state_because === waitsToBeOpened ? await applyIfWaiting(parts, tx, at, owner, envelope) : null;
  await audit(tx, { at, actor: 'server', act: 'key.opened', macId, details: { ...details, rule, recordId: owner.id } });
}

async function applyIfWaiting(parts: CustodyParts, tx: Tx, at: number, record: KeyRecord, envelope: EnvelopeRow): Promise<string | null> {
  // A proof of another key may have superseded it while it waited; then it is one more key of the past.
  return record.state === 'candidate' ? applyRule(parts, tx, at, record, envelope.validated) : null;
}

/** Its row is bound to its record, and to whether that may be opened. */
async function move(parts: CustodyParts, tx: Tx, envelope: EnvelopeRow, to: KeyRecord): Promise<void> {
  const names = { macId: to.mac_id, volume: to.volume, recordId: to.id, envelopeId: envelope.id, quarantined: to.state === 'quarantined' };
  await updateEnvelope(tx, to.mac_id, envelope.id, { record_id: to.id, row_mac: rowMac(parts.secrets, names) });
}

/** An envelope that shares its record with others, and does not belong there, gets a record of its own. */
async function separate(parts: CustodyParts, tx: Tx, at: number, envelope: EnvelopeRow, record: KeyRecord, fingerprint: string | null): Promise<KeyRecord> {
  if ((await envelopesOfRecord(tx, record.id)).length === 1) return record;
  const own: KeyRecord = {
    ...record,
    id: randomUUID(),
    fingerprint,
    opened: fingerprint === null ? 0 : 1,
    state: 'candidate',
    source: envelope.source,
    enrolment_id: envelope.enrolment_id,
    rotation_id: envelope.rotation_id,
    received_at: envelope.received_at,
    state_at: at,
    state_because: 'it was taken for another key before it was opened',
    proved_at: null,
    proved_by: null,
    first_false_at: null,
    first_false_run: null,
    refuted_at: null,
  };
  await insertRecord(tx, own);
  await move(parts, tx, envelope, own);
  return own;
}

const rank: readonly RecordState[] = ['destroyed', 'superseded', 'candidate', 'held'];

/** Two records are one key: the older knowledge of it gets the envelope, the debts and the better of the two states. */
async function merge(parts: CustodyParts, tx: Tx, at: number, envelope: EnvelopeRow, from: KeyRecord, to: KeyRecord): Promise<void> {
  await move(parts, tx, envelope, to);
  if ((await envelopesOfRecord(tx, from.id)).length > 0) return;
  await setRecordState(tx, from.id, 'superseded', `the same key as ${to.id}`, at);
  await moveDebts(tx, from.id, to.id);
  await endProofOrders(tx, from.id, at);
  const ruled = from.state_because !== waitsToBeOpened;
  if (ruled && rank.indexOf(from.state) > rank.indexOf(to.state)) await setRecordState(tx, to.id, from.state, `the same key as ${from.id}`, at);
  if (from.disclosed_at !== null && (to.disclosed_at ?? 0) < from.disclosed_at) await updateRecord(tx, to.id, { disclosed_at: from.disclosed_at });
}
