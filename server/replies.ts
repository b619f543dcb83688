import type { Kysely } from 'kysely';
import type { CheckInReply } from '../protocol/messages.ts';
import { isoTime } from './custody-parts.ts';
import { envelopesOfRecord, type KeyRecord, recordsOfVolume } from './store/keys.ts';
import { lastProofOf, type Proof } from './store/proofs.ts';
import type { Tables } from './tables.ts';

/** Newest first: what one machine makes up must not make the answer too large for another. */
const mostAnswers = 33;

export type KeyNamed = NonNullable<CheckInReply['held']>;

/** A key as a Mac can recognise it: by its envelopes. */
export async function nameKey(db: Kysely<Tables>, record: KeyRecord): Promise<KeyNamed> {
  const envelopes = await envelopesOfRecord(db, record.id);
  return { recordId: record.id, envelopeIds: envelopes.map((envelope) => envelope.id), state: record.state };
}

export async function nameHeld(db: Kysely<Tables>, macId: string, volume: string): Promise<KeyNamed | null> {
  const held = (await recordsOfVolume(db, macId, volume)).find((record) => record.state === 'held');
  return held ? nameKey(db, held) : null;
}

export type KeyAnswer = NonNullable<CheckInReply['answers']>[number];

/** What macOS said of a key last, and when it said `true` to it. A `false` outside a settled session tells nothing. */
export async function answerOf(db: Kysely<Tables>, record: KeyRecord): Promise<KeyAnswer> {
  const last = await lastProofOf(db, record.mac_id, record.id);
  const provedAt = record.proved_at === null ? null : isoTime(record.proved_at);
  const rotated = last === undefined || (record.proved_at !== null && record.proved_at >= last.at);
  // The key of a rotation is validated in it, and delivered with the answer.
  if (rotated) return { recordId: record.id, state: record.state, provedAt, last: provedAt === null ? null : { answer: 'true', at: provedAt } };
  return { recordId: record.id, state: record.state, provedAt, last: { answer: said(last), at: isoTime(last.at) } };
}

const said = (proof: Proof): 'true' | 'false' | 'unknown' =>
  proof.answer === 'true' ? 'true' : proof.answer === 'false' && proof.settled === 1 ? 'false' : 'unknown';

/** Of each key that may be the valid one. */
export const answersOf = (db: Kysely<Tables>, records: readonly KeyRecord[]): Promise<KeyAnswer[]> =>
  Promise.all(
    records
      .filter((record) => record.state === 'held' || record.state === 'candidate')
      .slice(0, mostAnswers)
      .map((record) => answerOf(db, record)),
  );
