import { hash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Kysely } from 'kysely';
import { type Envelope, EnvelopeUnreadable, oneRecipientOurs, readEnvelope } from '../protocol/envelope.ts';
import { type DeliveryRequest, limits, type Receipt } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import { acceptKey } from './accept-key.ts';
import { afterAct } from './after-act.ts';
import { raise, settle } from './alarms.ts';
import { audit } from './audit.ts';
import { whoseBlocks } from './brought/blocks.ts';
import { mayTakeBrought, settleBrought } from './brought/settle.ts';
import { movedAway } from './check-in-alarms.ts';
import { type CustodyParts, day, isoTime, sameCase } from './custody-parts.ts';
import type { Caller, EscrowCertificate, Tx } from './parts.ts';
import { nameHeld } from './replies.ts';
import { openAlarmsOf } from './store/alarms.ts';
import { countUnreadable, onlyBroughtAmong } from './store/keys.ts';
import { macById, noteForeignFile, updateMac } from './store/macs.ts';
import { envelopeAsStored } from './store/receipts.ts';
import { openRotationOf } from './store/rotations.ts';
import type { Tables } from './tables.ts';
import { keptUnopened } from './unopened.ts';

/** A device that guesses gets this many answers a day. */
const unreadableLimit = 3;
/** All causes of `readable: no` answer at the end of such a slot, so that the time tells nothing of the cause. */
const answerSlotMs = 250;
/** In a receipt for what names no recipient at all. */
const nobody = '0'.repeat(64);

/** What came of looking at an envelope, before anything is stored. */
type Outcome =
  | { kind: 'key'; key: RecoveryKey }
  /** Others brought this very envelope, and it was opened then. */
  | { kind: 'opened'; fingerprint: string }
  | { kind: 'not-tried' }
  /** The cause is for the audit only. */
  | { kind: 'unreadable'; cause: string }
  | { kind: 'unopened'; cause: string };

interface Looked {
  bytes: Buffer;
  recipient: EscrowCertificate | null;
  /** SHA-256 of each encryptedKey block. */
  blocks: string[];
  /** Well formed and addressed to us alone. */
  wellAddressed: boolean;
}

export interface Delivered {
  status: 200 | 201;
  receipt: Receipt;
}

/** Deliveries of one Mac come here one after another, so that its guesses are counted. */
export async function deliver(parts: CustodyParts, caller: Caller, envelopeId: string, request: DeliveryRequest): Promise<Delivered> {
  const start = performance.now();
  const bytes = Buffer.from(request.envelope, 'base64');
  if (hash('sha256', bytes, 'hex') !== envelopeId) throw new Problem('KEY_ID_MISMATCH');
  if (bytes.length > limits.envelopeBytes) throw new Problem('BODY_TOO_LARGE');
  if (sameCase(request.hardwareUuid) !== sameCase(caller.hardwareUuid)) throw await movedAway(parts, caller, request.hardwareUuid, 'a delivery');

  const known = await receiptOf(parts.store.db, caller, envelopeId);
  const brought = known && (await broughtBefore(parts.store.db, caller, envelopeId, request));
  if (known && !brought) return again(caller, known);

  const looked = look(parts, bytes);
  if (looked === 'foreign') throw await refuseForeign(parts, caller, envelopeId, bytes);
  const outcome: Outcome = brought ? { kind: 'opened', fingerprint: brought } : await tryToOpen(parts, caller, envelopeId, looked);
  const delivered: Delivered | Problem = await parts.act((tx, at) => store(parts, tx, at, caller, envelopeId, request, looked, outcome));
  if (delivered instanceof Problem) throw delivered;
  if (delivered.status === 201 && delivered.receipt.readable === 'no') await sleep(answerSlotMs - ((performance.now() - start) % answerSlotMs));
  return delivered;
}

/** Whether only others brought this envelope, and its key waits for a proof: then the Mac's own delivery of it is taken as the first. */
async function broughtBefore(db: Kysely<Tables>, caller: Caller, envelopeId: string, { volume }: DeliveryRequest): Promise<string | null> {
  if (caller.standing !== 'active' || !caller.confirmed) return null;
  return (await onlyBroughtAmong(db, caller.macId, [envelopeId], sameCase(volume)))[0]?.fingerprint ?? null;
}

/** Known: nothing is written, and what came with it this time is ignored. */
function again(caller: Caller, receipt: Receipt): Delivered {
  if (caller.standing === 'revoked-late') throw new Problem(receipt.state === 'quarantined' ? 'DELIVERY_QUARANTINED' : 'ENROLMENT_REVOKED');
  return { status: 200, receipt };
}

/** K0 is decided by what an envelope says openly; what is no envelope at all is kept by K1. */
function look(parts: CustodyParts, bytes: Buffer): Looked | 'foreign' {
  let envelope: Envelope;
  try {
    envelope = readEnvelope(bytes);
  } catch (error) {
    if (!(error instanceof EnvelopeUnreadable)) throw error;
    return { bytes, recipient: null, blocks: [], wellAddressed: false };
  }
  const recipient = parts.certificates.find((certificate) => envelope.recipients.some(({ name }) => certificate.names.includes(name)));
  if (!recipient) return 'foreign';
  const blocks = envelope.recipients.flatMap(({ encryptedKey }) => (encryptedKey ? [hash('sha256', encryptedKey, 'hex')] : []));
  return { bytes, recipient, blocks, wellAddressed: oneRecipientOurs(envelope, recipient.der) };
}

async function refuseForeign(parts: CustodyParts, caller: Caller, envelopeId: string, bytes: Buffer): Promise<Problem> {
  const recipient = readEnvelope(bytes).recipients[0]?.name ?? null;
  await parts.act(async (tx, at) => {
    if (!(await noteForeignFile(tx, caller.macId, envelopeId, recipient, at))) return;
    await audit(tx, { at, actor: 'mac', act: 'key.foreign', macId: caller.macId, details: { envelopeId, recipient } });
  });
  return new Problem('FOREIGN_RECIPIENT');
}

/**
 * What others brought for the Mac's serial number only its own Mac may have for its own: by the certificate that proves the
 * number, or by an admin who has confirmed this enrolment. Until then it stays where it is, on both sides.
 */
async function mayBring(db: Kysely<Tables>, caller: Caller, envelopeId: string, { blocks }: Looked): Promise<'yes' | 'unconfirmed' | 'anothers'> {
  const whose = await whoseBlocks(db, { envelopeId, blocks }, caller);
  if (whose !== 'said') return whose === 'anothers' ? 'anothers' : 'yes';
  return caller.standing === 'active' && (await mayTakeBrought(db, caller)) ? 'yes' : 'unconfirmed';
}

async function tryToOpen(parts: CustodyParts, caller: Caller, envelopeId: string, looked: Looked): Promise<Outcome> {
  const { db } = parts.store;
  if (caller.standing === 'revoked-late') return { kind: 'unopened', cause: 'its enrolment was ended after it began the rotation' };
  if (!looked.recipient) return { kind: 'unreadable', cause: 'not a complete CMS envelope' };
  const may = await mayBring(db, caller, envelopeId, looked);
  if (may === 'anothers') return { kind: 'unreadable', cause: 'ENVELOPE_REUSED' };
  if (may === 'unconfirmed') throw new Problem('DELIVERY_UNCONFIRMED');
  if (!looked.wellAddressed) return { kind: 'unreadable', cause: 'not exactly one recipient with a well-formed block' };
  if ((await openAlarmsOf(db, caller.macId)).some((alarm) => alarm.code === 'UNREADABLE_DELIVERIES')) return { kind: 'unopened', cause: keptUnopened };
  const opened = await parts.openBytes(looked.bytes);
  if (opened === 'no-opener') return { kind: 'not-tried' };
  return opened === 'unreadable' ? { kind: 'unreadable', cause: 'it does not open to a recovery key' } : { kind: 'key', key: opened };
}

async function store(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  caller: Caller,
  envelopeId: string,
  request: DeliveryRequest,
  looked: Looked,
  tried: Outcome,
): Promise<Delivered | Problem> {
  // The loser of a race reads the winner's row; and another delivery may have brought the block while this one was being opened. What
  // is asked together is on PostgreSQL answered together.
  const [known, open, may] = await Promise.all([receiptOf(tx, caller, envelopeId), openRotationOf(tx, caller.macId), mayBring(tx, caller, envelopeId, looked)]);
  const isBrought = tried.kind === 'opened' && (await broughtBefore(tx, caller, envelopeId, request)) === tried.fingerprint;
  if (known && !isBrought) return again(caller, known);
  if (caller.standing === 'revoked-late' && !(open && open.enrolment_id === caller.enrolmentId && open.id === request.rotationId))
    return new Problem('ENROLMENT_REVOKED');
  if (may === 'unconfirmed' && caller.standing === 'active') return new Problem('DELIVERY_UNCONFIRMED');
  const reused = may === 'anothers';
  const outcome: Outcome = reused && tried.kind !== 'unopened' ? { kind: 'unreadable', cause: 'ENVELOPE_REUSED' } : tried;

  const { rule, recordId } = await acceptKey(parts, tx, at, {
    macId: caller.macId,
    hardwareUuid: sameCase(caller.hardwareUuid),
    volume: sameCase(request.volume),
    enrolmentId: caller.enrolmentId,
    envelopeId,
    bytes: looked.bytes,
    recipient: looked.recipient?.digest ?? nobody,
    // They stay whose they are: sending them makes them nobody else's.
    blocks: may === 'yes' ? looked.blocks : [],
    source: request.source,
    rotationId: request.rotationId,
    validated: request.validated,
    madeAt: Date.parse(request.madeAt),
    found: outcome.kind === 'key' ? outcome.key : outcome,
    isNew: known === null,
  });
  await audit(tx, {
    at,
    actor: 'mac',
    act: rule === 'K1' ? 'key.quarantined' : 'key.stored',
    macId: caller.macId,
    details: {
      envelopeId,
      recordId,
      rule,
      source: request.source,
      volume: sameCase(request.volume),
      validated: request.validated,
      rotationId: request.rotationId,
      enrolmentId: caller.enrolmentId,
      ...('cause' in outcome ? { cause: outcome.cause } : {}),
    },
  });
  await settleBrought(parts, tx, at, caller.macId);
  if (outcome.kind === 'unreadable') await countUnreadableDelivery(parts, tx, at, caller.macId, reused ? envelopeId : null);
  if (request.rotationId !== null && request.rotationId === open?.id)
    await settle(tx, at, caller.macId, 'ROTATION_SILENT', `rotation ${open.id}`, 'an envelope of it came');
  afterAct(tx, () => parts.log.info(rule === 'K1' ? 'key-quarantined' : 'key-stored', { macId: caller.macId, recordId, rule, requestId: caller.requestId }));
  if (caller.standing === 'revoked-late') return new Problem('DELIVERY_QUARANTINED');
  const receipt = await receiptOf(tx, caller, envelopeId);
  if (!receipt) throw new Error('an envelope that was just stored is not there');
  return { status: 201, receipt };
}

async function countUnreadableDelivery(parts: CustodyParts, tx: Tx, at: number, macId: string, reusedEnvelope: string | null): Promise<void> {
  const mac = await macById(tx, macId);
  if (!mac) return;
  await updateMac(tx, macId, { unreadable_count: mac.unreadable_count + 1 });
  if (reusedEnvelope !== null) await raise(parts, tx, at, macId, 'ENVELOPE_REUSED', `envelope ${reusedEnvelope}`);
  const count = await countUnreadable(tx, macId, Math.max(at - day, mac.unreadable_since ?? 0));
  if (count >= unreadableLimit) await raise(parts, tx, at, macId, 'UNREADABLE_DELIVERIES', `${count} until ${isoTime(at)}`);
}

/** A statement about now. What is quarantined is told in one word, whatever the cause. */
async function receiptOf(db: Kysely<Tables>, caller: Caller, envelopeId: string): Promise<Receipt | null> {
  const stored = await envelopeAsStored(db, caller.macId, envelopeId);
  if (!stored) return null;
  return {
    envelopeId,
    recordId: stored.record_id,
    receivedAt: isoTime(stored.received_at),
    recipient: stored.recipient,
    readable: stored.state === 'quarantined' ? 'no' : stored.readable,
    state: stored.state,
    held: await nameHeld(db, caller.macId, stored.volume),
    requestId: caller.requestId,
  };
}
