import type { Kysely } from 'kysely';
import type { CheckInReply } from '../protocol/messages.ts';
import { envelopesOfRecord, type KeyRecord, recordsOfVolume } from './store/keys.ts';
import type { Tables } from './tables.ts';

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
