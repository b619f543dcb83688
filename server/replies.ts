import type { Kysely } from 'kysely';
import type { CheckInReply } from '../protocol/messages.ts';
import { isoTime } from './custody-parts.ts';
import { envelopesOfRecord, type KeyRecord } from './store/keys.ts';
import type { HeldKey } from './store/mac-now.ts';
import { lastProofOf, type Proof } from './store/proofs.ts';
import { heldOfVolume } from './store/receipts.ts';
import type { Tables } from './tables.ts';

/** Newest first: what one machine makes up must not make the answer too large for another. */
const mostAnswers = 33;

export type KeyNamed = NonNullable<CheckInReply['held']>;

/** A key as a Mac can recognise it: by its envelopes. */
export async function nameKey(db: Kysely<Tables>, record: KeyRecord): Promise<KeyNamed> {
  const envelopes = await envelopesOfRecord(db, record.id);
  return { recordId: record.id, envelopeIds: envelopes.map((envelope) => envelope.id), state: record.state };
}

/** The same for whoever has read the held one already. */
export const namerOf =
  (db: Kysely<Tables>, held: HeldKey | null) =>
  async (record: KeyRecord): Promise<KeyNamed> =>
    held?.record.id === record.id ? { recordId: record.id, envelopeIds: held.envelopes.map(({ id }) => id), state: record.state } : nameKey(db, record);

export async function nameHeld(db: Kysely<Tables>, macId: string, volume: string): Promise<KeyNamed | null> {
  const rows = await heldOfVolume(db, macId, volume);
  return rows[0] ? { recordId: rows[0].record_id, envelopeIds: rows.flatMap(({ id }) => id ?? []), state: 'held' } : null;
}

export type KeyAnswer = NonNullable<CheckInReply['answers']>[number];

/** What macOS said of a key last, and when it said `true` to it. A `false` outside a settled session tells nothing. */
export async function answerOf(db: Kysely<Tables>, record: KeyRecord): Promise<KeyAnswer> {
  return answerFrom(record, await lastProofOf(db, record.mac_id, record.id));
}

type Said = Pick<Proof, 'answer' | 'settled' | 'at'>;

function answerFrom(record: KeyRecord, last: Said | undefined): KeyAnswer {
  const provedAt = record.proved_at === null ? null : isoTime(record.proved_at);
  const rotated = last === undefined || (record.proved_at !== null && record.proved_at >= last.at);
  // The key of a rotation is validated in it, and delivered with the answer.
  if (rotated) return { recordId: record.id, state: record.state, provedAt, last: provedAt === null ? null : { answer: 'true', at: provedAt } };
  return { recordId: record.id, state: record.state, provedAt, last: { answer: said(last), at: isoTime(last.at) } };
}

const said = (proof: Said): 'true' | 'false' | 'unknown' =>
  proof.answer === 'true' ? 'true' : proof.answer === 'false' && proof.settled === 1 ? 'false' : 'unknown';

/** Of each key that may be the valid one. */
export const answersOf = (db: Kysely<Tables>, records: readonly KeyRecord[], held: HeldKey | null): Promise<KeyAnswer[]> =>
  Promise.all(
    records
      .filter((record) => record.state === 'held' || record.state === 'candidate')
      .slice(0, mostAnswers)
      .map(async (record) => (held?.record.id === record.id ? answerFrom(record, held.lastProof) : answerOf(db, record))),
  );
