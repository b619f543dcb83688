import { sql } from 'kysely';
import { firstOf, question } from './asked.ts';

/** What a receipt says of an envelope. */
export const envelopeAsStored = firstOf((db, macId: string, id: string) =>
  db
    .selectFrom('envelope')
    .innerJoin('key_record', 'key_record.id', 'envelope.record_id')
    .select(['envelope.received_at', 'envelope.recipient', 'envelope.readable', 'envelope.record_id', 'key_record.state', 'key_record.volume'])
    .where('envelope.mac_id', '=', macId)
    .where('envelope.id', '=', id),
);

/** The held key of a volume by its envelopes, newest first: a row for each, and one where retention left none. */
export const heldOfVolume = question((db, macId: string, volume: string) =>
  db
    .selectFrom('key_record')
    .leftJoin('envelope', 'envelope.record_id', 'key_record.id')
    .select(['key_record.id as record_id', 'envelope.id'])
    .where('key_record.mac_id', '=', macId)
    .where('key_record.volume', '=', volume)
    // In the words of the index: there is one at the most.
    .where(sql<boolean>`key_record.state = 'held'`)
    .orderBy('envelope.received_at', 'desc')
    .orderBy('envelope.id'),
);
