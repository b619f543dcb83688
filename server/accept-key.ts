import { randomUUID } from 'node:crypto';
import type { RecordState, Validation } from '../protocol/messages.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { noteSerialOf } from './brought/blocks.ts';
import { isBroughtRecord } from './brought/sources.ts';
import { askAgain, isLeftBehind } from './brought/volumes.ts';
import type { CustodyParts } from './custody-parts.ts';
import { oweRotation } from './debts.ts';
import { type NewKeyRule, ruleForNewKey, ruleWords } from './key-rules.ts';
import type { Tx } from './parts.ts';
import { becameHeld, orderProof, provedTrue, takeProof } from './proofs.ts';
import { rowMac } from './row-mac.ts';
import { updateBroughtOfRecord } from './store/brought.ts';
import { episodeOf, insertDisclosure } from './store/disclosures.ts';
import {
  envelopeOfMac,
  envelopesOfRecord,
  insertEnvelope,
  insertRecord,
  type KeyRecord,
  noteKeyBlocks,
  recordById,
  recordsOfVolume,
  recordWithKey,
  setRecordState,
  updateRecord,
} from './store/keys.ts';
import { endProofOrders } from './store/proofs.ts';
import { openRotationOf } from './store/rotations.ts';
import { enrolmentForCustody } from './store/sessions.ts';
import { waitsToBeOpened } from './unopened.ts';

/** An envelope that is to be stored, with what looking into it found. */
export interface Arrived {
  macId: string;
  hardwareUuid: string;
  volume: string;
  /** Null where it was not brought by an enrolment of the Mac. */
  enrolmentId: string | null;
  envelopeId: string;
  bytes: Uint8Array;
  recipient: string;
  blocks: readonly string[];
  source: string;
  rotationId: string | null;
  validated: Validation;
  madeAt: number;
  /** `opened`: somebody looked into it when it came, and it is known by its fingerprint. */
  found: RecoveryKey | { kind: 'opened'; fingerprint: string } | { kind: 'not-tried' } | { kind: 'unreadable' | 'unopened'; cause: string };
  /** It came without a device identity: it counts for nothing until it is proved. */
  unverified?: boolean;
  /** This act has looked for it, and the Mac has none of that id. */
  isNew?: boolean;
}

export interface AcceptedKey {
  rule: NewKeyRule | 'K1' | 'K2' | 'later';
  recordId: string;
}

/** K1 to K6: one envelope finds its record and its state. */
export async function acceptKey(parts: CustodyParts, tx: Tx, at: number, arrived: Arrived): Promise<AcceptedKey> {
  const { found } = arrived;
  if (!(found instanceof RecoveryKey)) {
    if (found.kind === 'unreadable') return quarantine(parts, tx, at, arrived, 'no', 'K1: it cannot be read, or is no key');
    if (found.kind === 'unopened') return quarantine(parts, tx, at, arrived, 'not-tried', found.cause);
    if (found.kind === 'not-tried' && parts.canOpen) {
      const record = newRecord(at, arrived, 'candidate', waitsToBeOpened, null);
      await addRecord(parts, tx, at, arrived, record, 'not-tried');
      return { rule: 'later', recordId: record.id };
    }
  }
  const fingerprint = found instanceof RecoveryKey ? found.fingerprint(parts.secrets.fingerprint) : found.kind === 'opened' ? found.fingerprint : null;
  const readable = fingerprint === null ? 'not-tried' : 'yes';
  const known = fingerprint === null ? await witnessed(tx, arrived) : await recordWithKey(tx, arrived.macId, arrived.volume, fingerprint);
  const same = known && (await isLeftBehind(tx, known)) ? await askAgain(parts, tx, at, known) : known;
  if (same && same.state === 'candidate' && isBroughtRecord(same.source) && arrived.enrolmentId !== null && (await isConfirmed(tx, arrived.enrolmentId))) {
    // What others brought says nothing against the Mac's own word: it has delivered this key as if it were the first to. One that
    // nobody has confirmed may have an envelope from elsewhere, and is not given what is in it for having sent it after others.
    const own = { source: arrived.source, enrolment_id: arrived.enrolmentId, rotation_id: arrived.rotationId, unverified: 0 };
    await updateRecord(tx, same.id, own);
    await addEnvelope(parts, tx, at, arrived, same, readable);
    const rule = await applyRule(parts, tx, at, { ...same, ...own }, arrived.validated);
    if (rule !== 'K3') await takeWitness(parts, tx, at, same.id, arrived);
    return { rule, recordId: same.id };
  }
  if (same) {
    await addEnvelope(parts, tx, at, arrived, same, readable);
    await takeWitness(parts, tx, at, same.id, arrived);
    return { rule: 'K2', recordId: same.id };
  }
  const record = newRecord(at, arrived, 'candidate', 'new', fingerprint);
  if (!arrived.isNew) {
    // An envelope that is here already leaves its record for this one, which the rule has to see.
    await addRecord(parts, tx, at, arrived, record, readable);
    return { rule: await applyRule(parts, tx, at, record, arrived.validated), recordId: record.id };
  }
  // It comes with the state that the rule gives it: two statements less than to change that afterwards.
  const put = (values: Partial<KeyRecord>) => addRecord(parts, tx, at, arrived, { ...record, ...values }, readable);
  return { rule: await applyRule(parts, tx, at, record, arrived.validated, put), recordId: record.id };
}

const isConfirmed = async (tx: Tx, enrolmentId: string): Promise<boolean> => (await enrolmentForCustody(tx, enrolmentId))?.confirmed === 1;

async function quarantine(parts: CustodyParts, tx: Tx, at: number, arrived: Arrived, readable: 'no' | 'not-tried', because: string): Promise<AcceptedKey> {
  const record = newRecord(at, arrived, 'quarantined', because, null);
  await addRecord(parts, tx, at, arrived, record, readable);
  return { rule: 'K1', recordId: record.id };
}

/**
 * A server that can never open cannot compare: what the Mac ties to one rotation, macOS's file and the agent's envelope,
 * is taken for one key. It is *not compared* for as long as its envelope is `not-tried`.
 */
async function witnessed(tx: Tx, arrived: Arrived): Promise<KeyRecord | undefined> {
  if (arrived.rotationId === null) return undefined;
  return (await recordsOfVolume(tx, arrived.macId, arrived.volume)).find(
    (record) =>
      record.rotation_id === arrived.rotationId &&
      record.enrolment_id === arrived.enrolmentId &&
      ['candidate', 'held', 'superseded'].includes(record.state) &&
      (arrived.source === 'escrow-file' || record.source === 'escrow-file'),
  );
}

type Witness = Pick<Arrived, 'validated' | 'enrolmentId' | 'envelopeId' | 'rotationId'>;

/**
 * K2: the state stays, and `true` is a proof. Of when, nobody knows: an envelope may lie in a journal for months, and come
 * again after a restore. Only in the open rotation it was just now; otherwise it says nothing against keys that came after this one.
 * A key that retention had destroyed is here again.
 */
export async function takeWitness(parts: CustodyParts, tx: Tx, at: number, recordId: string, witness: Witness): Promise<void> {
  const { validated, enrolmentId, envelopeId, rotationId } = witness;
  const record = await recordById(tx, recordId);
  if (!record) return;
  if (record.state === 'destroyed') await setRecordState(tx, record.id, 'superseded', 'K2: its key was delivered again', at);
  if (validated !== 'true') return;
  const open = await openRotationOf(tx, record.mac_id);
  const answeredAt = open && open.id === rotationId && open.enrolment_id === enrolmentId ? at : record.received_at;
  const id = `delivery-${envelopeId.slice(0, 48)}`;
  if (enrolmentId === null) await provedTrue(parts, tx, at, record.id, answeredAt, 'a delivery');
  else {
    const present = (await recordById(tx, record.id)) ?? record;
    await takeProof(parts, tx, at, { id, record: present, enrolmentId, answer: 'true', settled: false, boot: '', answeredAt, run: id });
  }
}

/** K3 to K6 for a record that is here as a candidate; `put`: it is not here yet, and is put here by this as what it becomes. */
export async function applyRule(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  record: KeyRecord,
  validated: Validation,
  put: ((values: Partial<KeyRecord>) => Promise<void>) | null = null,
): Promise<NewKeyRule> {
  const [open, all] = await Promise.all([openRotationOf(tx, record.mac_id), recordsOfVolume(tx, record.mac_id, record.volume)]);
  const others = all.filter((other) => other.id !== record.id);
  const held = others.find((other) => other.state === 'held');
  const rule = ruleForNewKey({
    source: record.source,
    // The id of an open rotation is told to every enrolment of the Mac; only the one that began it brings its key.
    ofOpenRotation: open !== undefined && record.rotation_id === open.id && open.volume === record.volume && open.enrolment_id === record.enrolment_id,
    validated,
    byTheMac: record.enrolment_id !== null,
    anotherHeld: held !== undefined,
  });
  const become = (state: RecordState, more: Partial<KeyRecord> = {}) =>
    (put ?? ((values) => updateRecord(tx, record.id, values)))({ state, state_at: at, state_because: ruleWords[rule], ...more });

  if (rule === 'K3' && open) {
    // A key that came after begin was not replaced by this rotation: if one is held, only a proof can tell.
    const replaced = others.filter((other) => (other.state === 'held' || other.state === 'candidate') && other.received_at <= open.begun_at);
    for (const other of replaced) {
      await setRecordState(tx, other.id, 'superseded', `K3: replaced by ${record.id} in rotation ${open.id}`, at);
      await endProofOrders(tx, other.id, at);
    }
    if (!held || replaced.includes(held)) {
      await become('held', { proved_at: at, proved_by: `rotation ${open.id}` });
      await becameHeld(parts, tx, at, { ...record, state: 'held' }, 'K3');
      return rule;
    }
  }
  await become(rule === 'K5' ? 'held' : 'candidate');
  // R4: where macOS said false to the new key, the old one is what a proof can confirm.
  const due = rule === 'K4' && validated === 'false' && held ? held : record;
  await orderProof(parts, tx, at, due, ruleWords[rule], undefined, put !== null && due === record);
  return rule;
}

function newRecord(at: number, arrived: Arrived, state: RecordState, because: string, fingerprint: string | null): KeyRecord {
  return {
    id: randomUUID(),
    mac_id: arrived.macId,
    hardware_uuid: arrived.hardwareUuid,
    volume: arrived.volume,
    fingerprint,
    state,
    source: arrived.source,
    enrolment_id: arrived.enrolmentId,
    rotation_id: arrived.rotationId,
    received_at: at,
    opened: fingerprint === null ? 0 : 1,
    state_at: at,
    state_because: because,
    proved_at: null,
    proved_by: null,
    disclosed_at: null,
    first_false_at: null,
    first_false_run: null,
    refuted_at: null,
    legal_hold: 0,
    unverified: arrived.unverified ? 1 : 0,
  };
}

async function addRecord(parts: CustodyParts, tx: Tx, at: number, arrived: Arrived, record: KeyRecord, readable: 'yes' | 'no' | 'not-tried'): Promise<void> {
  await insertRecord(tx, record);
  await addEnvelope(parts, tx, at, arrived, record, readable);
}

async function addEnvelope(parts: CustodyParts, tx: Tx, at: number, arrived: Arrived, record: KeyRecord, readable: 'yes' | 'no' | 'not-tried'): Promise<void> {
  const quarantined = record.state === 'quarantined';
  const names = { macId: arrived.macId, volume: record.volume, recordId: record.id, envelopeId: arrived.envelopeId, quarantined };
  const before = arrived.isNew ? undefined : await envelopeOfMac(tx, arrived.macId, arrived.envelopeId);
  await insertEnvelope(tx, {
    id: arrived.envelopeId,
    mac_id: arrived.macId,
    record_id: record.id,
    bytes: arrived.bytes,
    recipient: arrived.recipient,
    source: arrived.source,
    made_at: arrived.madeAt,
    received_at: at,
    readable,
    enrolment_id: arrived.enrolmentId,
    rotation_id: arrived.rotationId,
    validated: arrived.validated,
    row_mac: rowMac(parts.secrets, names),
  });
  await noteKeyBlocks(
    tx,
    arrived.blocks.map((digest) => ({ digest, mac_id: arrived.macId, envelope_id: arrived.envelopeId })),
  );
  if (arrived.enrolmentId === null) await noteSerialOf(tx, arrived, arrived.macId);
  if (before && before.record_id !== record.id) await leaveBehind(tx, at, before.record_id, record);
}

/** The record that it was of has no envelope any more: what is owed for it, and who kept it on purpose, goes along. */
async function leaveBehind(tx: Tx, at: number, fromId: string, to: KeyRecord): Promise<void> {
  const from = await recordById(tx, fromId);
  if (!from || (await envelopesOfRecord(tx, fromId)).length > 0) return;
  // What had come to its end before keeps the time and the cause of that.
  if (from.state === 'candidate' || from.state === 'held') await setRecordState(tx, fromId, 'superseded', `its envelope is of record ${to.id} now`, at);
  await endProofOrders(tx, fromId, at);
  await updateBroughtOfRecord(tx, fromId, { record_id: to.id });
  if (from.legal_hold === 1) await updateRecord(tx, to.id, { legal_hold: 1 });
  if (from.disclosed_at === null || (to.disclosed_at ?? 0) >= from.disclosed_at) return;
  await updateRecord(tx, to.id, { disclosed_at: from.disclosed_at });
  await oweRotation(tx, at, { id: randomUUID(), macId: to.mac_id, volume: to.volume, because: 'disclosed', recordId: to.id, actor: 'server' });
  // Whoever was shown it works with it still, whichever volume it opens.
  const views = from.volume === to.volume ? [] : (await episodeOf(tx, from.mac_id, from.volume)).filter((view) => view.record_id === from.id);
  for (const view of views) await insertDisclosure(tx, { ...view, id: randomUUID(), volume: to.volume, record_id: to.id });
}
