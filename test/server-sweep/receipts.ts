import { createHash } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';
import type { DeliveryRequest, RecordState } from '../../protocol/messages.ts';

/** What a Mac was told, as it wrote it down when the answer came; nothing that was not answered is in it. */
export interface GivenReceipt {
  serial: string;
  envelopeId: string;
  recordId: string;
  state: RecordState;
  request: DeliveryRequest;
  /** What was sealed in it. */
  key: string;
}

/** Everything else that a Mac forgets, or counts on, because the backend has said that it is stored. */
export interface GivenWord {
  serial: string;
  kind: 'enrolment' | 'debt' | 'proof' | 'rotation' | 'ending' | 'grant' | 'disclosure';
  id: string;
}

export interface Ledger {
  receipts: GivenReceipt[];
  words: GivenWord[];
  /** How many messages were answered. */
  answers: number;
  /** How often one was not, and was sent again. */
  cut: number;
  /** Called as soon as a Mac was told something that it relies on. */
  told?: (what: 'receipt' | GivenWord['kind']) => void;
  /** Answers that a truthful Mac must never get. */
  surprises: string[];
  /** Of each Mac that has come to the end of its course: SHA-256 of an envelope of the key that opens it, and how many keys it ever sent. */
  ends: { serial: string; envelopeId: string; keys: number }[];
}

export const newLedger = (): Ledger => ({ receipts: [], words: [], answers: 0, cut: 0, surprises: [], ends: [] });

/** What may have become of a record since its receipt. Nothing here is old enough for `destroyed`. */
const mayBe: Record<RecordState, readonly RecordState[]> = {
  held: ['held', 'superseded', 'candidate'],
  candidate: ['candidate', 'held', 'superseded'],
  superseded: ['superseded', 'candidate', 'held'],
  quarantined: ['quarantined'],
  destroyed: [],
};

interface Found {
  bytes: Uint8Array | null;
  record_id: string;
  state: RecordState;
  serial: string;
}

/** Looks each receipt up in the database: one line for each that is not as it was given. */
export function missingReceipts(database: DatabaseSync, receipts: readonly GivenReceipt[]): string[] {
  const question = database.prepare(
    `select envelope.bytes, envelope.record_id, key_record.state, mac.serial from envelope
     join key_record on key_record.id = envelope.record_id join mac on mac.id = envelope.mac_id
     where mac.serial = ? and envelope.id = ?`,
  );
  return receipts.flatMap((given) => {
    const name = `${given.serial}: envelope ${given.envelopeId.slice(0, 12)}`;
    const found = question.get(given.serial, given.envelopeId) as unknown as Found | undefined;
    if (!found) return [`${name} is not there`];
    if (!found.bytes || !Buffer.from(found.bytes).equals(Buffer.from(given.request.envelope, 'base64'))) return [`${name} has other bytes`];
    if (createHash('sha256').update(found.bytes).digest('hex') !== given.envelopeId) return [`${name} is not what its id says`];
    if (found.record_id !== given.recordId) return [`${name} belongs to another record than its receipt says`];
    return mayBe[given.state].includes(found.state) ? [] : [`${name} was ${given.state} and is ${found.state}`];
  });
}

const wordQuestions: Record<GivenWord['kind'], string> = {
  enrolment:
    'select 1 from enrolment join mac on mac.id = enrolment.mac_id join certificate on certificate.enrolment_id = enrolment.id where mac.serial = ? and enrolment.id = ?',
  debt: 'select 1 from debt join mac on mac.id = debt.mac_id where mac.serial = ? and debt.id = ?',
  proof: 'select 1 from proof join mac on mac.id = proof.mac_id where mac.serial = ? and proof.id = ?',
  rotation: 'select 1 from rotation join mac on mac.id = rotation.mac_id where mac.serial = ? and rotation.id = ?',
  ending: "select 1 from rotation join mac on mac.id = rotation.mac_id where mac.serial = ? and rotation.id = ? and rotation.state <> 'begun'",
  grant: 'select 1 from grant_given join mac on mac.id = grant_given.mac_id where mac.serial = ? and grant_given.for_id = ?',
  disclosure: 'select 1 from disclosure join mac on mac.id = disclosure.mac_id where mac.serial = ? and disclosure.reason = ? and disclosure.shown = 1',
};

export function missingWords(database: DatabaseSync, words: readonly GivenWord[]): string[] {
  return words.flatMap((word) => (database.prepare(wordQuestions[word.kind]).get(word.serial, word.id) ? [] : [`${word.serial}: ${word.kind} ${word.id}`]));
}

/** Of each Mac whose course is over: the held key is the one that opens it, and no key was stored twice. */
export function wrongEnds(database: DatabaseSync, ends: Ledger['ends']): string[] {
  const held = database.prepare(
    `select 1 from envelope join key_record on key_record.id = envelope.record_id join mac on mac.id = envelope.mac_id
     where mac.serial = ? and envelope.id = ? and key_record.state = 'held'`,
  );
  const count = database.prepare('select count(*) as keys from key_record join mac on mac.id = key_record.mac_id where mac.serial = ?');
  return ends.flatMap(({ serial, envelopeId, keys }) => {
    const stored = Number(count.get(serial)?.['keys'] ?? 0);
    return [
      ...(held.get(serial, envelopeId) ? [] : [`${serial}: the key that opens it is not the held one`]),
      ...(stored === keys ? [] : [`${serial}: it sent ${keys} keys, and ${stored} records are there`]),
    ];
  });
}

/** To be looked at, never to be changed. */
export const openToRead = (file: string): DatabaseSync => new DatabaseSync(file, { readOnly: true });
