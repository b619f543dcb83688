import type { Kysely } from 'kysely';
import type { RecordState } from '../../protocol/messages.ts';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type KeyRecord = Tables['key_record'];
export type EnvelopeRow = Tables['envelope'];

export const recordById = (db: Db, id: string): Promise<KeyRecord | undefined> =>
  db.selectFrom('key_record').selectAll().where('id', '=', id).executeTakeFirst();

/** Newest first. */
export const recordsOfVolume = (db: Db, macId: string, volume: string): Promise<KeyRecord[]> =>
  db.selectFrom('key_record').selectAll().where('mac_id', '=', macId).where('volume', '=', volume).orderBy('received_at', 'desc').orderBy('id').execute();

export const recordsOfMac = (db: Db, macId: string): Promise<KeyRecord[]> =>
  db.selectFrom('key_record').selectAll().where('mac_id', '=', macId).orderBy('received_at', 'desc').orderBy('id').execute();

export const recordWithKey = (db: Db, macId: string, volume: string, fingerprint: string): Promise<KeyRecord | undefined> =>
  db
    .selectFrom('key_record')
    .selectAll()
    .where('mac_id', '=', macId)
    .where('volume', '=', volume)
    .where('fingerprint', '=', fingerprint)
    .where('state', '<>', 'quarantined')
    .executeTakeFirst();

export const envelopeOfMac = (db: Db, macId: string, id: string): Promise<EnvelopeRow | undefined> =>
  db.selectFrom('envelope').selectAll().where('mac_id', '=', macId).where('id', '=', id).executeTakeFirst();

/** Newest first. */
export const envelopesOfRecord = (db: Db, recordId: string): Promise<EnvelopeRow[]> =>
  db.selectFrom('envelope').selectAll().where('record_id', '=', recordId).orderBy('received_at', 'desc').orderBy('id').execute();

export async function envelopesAmong(db: Db, macId: string, ids: readonly string[]): Promise<string[]> {
  if (ids.length === 0) return [];
  const rows = await db.selectFrom('envelope').select('id').where('mac_id', '=', macId).where('id', 'in', ids).execute();
  return rows.map((row) => row.id);
}

/** Those that only others brought, and whose key waits for its proof: the Mac's own delivery of them is worth more. */
export async function onlyBroughtAmong(db: Db, macId: string, ids: readonly string[]): Promise<{ id: string; recordId: string; fingerprint: string }[]> {
  if (ids.length === 0) return [];
  const rows = await db
    .selectFrom('envelope')
    .innerJoin('key_record', 'key_record.id', 'envelope.record_id')
    .select(['envelope.id', 'envelope.record_id', 'key_record.fingerprint'])
    .where('envelope.mac_id', '=', macId)
    .where('envelope.id', 'in', ids)
    .where('envelope.enrolment_id', 'is', null)
    .where('key_record.state', '=', 'candidate')
    .execute();
  return rows.flatMap(({ id, record_id: recordId, fingerprint }) => (fingerprint === null ? [] : [{ id, recordId, fingerprint }]));
}

export async function countUnreadable(db: Db, macId: string, since: number): Promise<number> {
  const row = await db
    .selectFrom('envelope')
    .select((e) => e.fn.countAll<number>().as('count'))
    .where('mac_id', '=', macId)
    .where('readable', '=', 'no')
    .where('received_at', '>', since)
    .executeTakeFirstOrThrow();
  return row.count;
}

export async function countEnvelopesOf(db: Db, macId: string, rotationId: string): Promise<number> {
  const row = await db
    .selectFrom('envelope')
    .select((e) => e.fn.countAll<number>().as('count'))
    .where('mac_id', '=', macId)
    .where('rotation_id', '=', rotationId)
    .executeTakeFirstOrThrow();
  return row.count;
}

/** Envelopes that nobody has opened yet, whose record may be opened now. */
export const notTriedEnvelopes = (db: Db): Promise<EnvelopeRow[]> =>
  db
    .selectFrom('envelope')
    .innerJoin('key_record', 'key_record.id', 'envelope.record_id')
    .selectAll('envelope')
    .where('envelope.readable', '=', 'not-tried')
    .where('envelope.bytes', 'is not', null)
    .where('key_record.state', 'in', ['candidate', 'held', 'superseded'])
    .orderBy('envelope.received_at')
    .orderBy('envelope.id')
    .execute();

export async function insertRecord(tx: Tx, record: KeyRecord): Promise<void> {
  await tx.insertInto('key_record').values(record).execute();
}

export async function updateRecord(tx: Tx, id: string, values: Partial<Omit<KeyRecord, 'id'>>): Promise<void> {
  await tx.updateTable('key_record').set(values).where('id', '=', id).execute();
}

export async function setRecordState(tx: Tx, id: string, state: RecordState, because: string, at: number): Promise<void> {
  await updateRecord(tx, id, { state, state_because: because, state_at: at });
}

/** One that others brought before becomes the Mac's own when the Mac delivers it; any other is here once. */
export async function insertEnvelope(tx: Tx, envelope: EnvelopeRow): Promise<void> {
  const { source, made_at, enrolment_id, rotation_id, validated } = envelope;
  const kept = await tx
    .insertInto('envelope')
    .values(envelope)
    .onConflict((c) =>
      c.columns(['mac_id', 'id']).doUpdateSet({ source, made_at, enrolment_id, rotation_id, validated }).where('envelope.enrolment_id', 'is', null),
    )
    .executeTakeFirst();
  if (kept.numInsertedOrUpdatedRows !== 1n) throw new Error('an envelope came twice');
}

export async function updateEnvelope(
  tx: Tx,
  macId: string,
  id: string,
  values: Partial<Pick<EnvelopeRow, 'record_id' | 'readable' | 'row_mac'>>,
): Promise<void> {
  await tx.updateTable('envelope').set(values).where('mac_id', '=', macId).where('id', '=', id).execute();
}

/** Of a key that was taken back, and never proved or shown: as if they had not come. */
export async function removeEnvelopes(tx: Tx, recordId: string): Promise<void> {
  await tx.deleteFrom('envelope').where('record_id', '=', recordId).execute();
}

/** K9: the row stays, the bytes go. */
export async function removeEnvelopeBytes(tx: Tx, recordId: string): Promise<void> {
  await tx.updateTable('envelope').set({ bytes: null }).where('record_id', '=', recordId).execute();
}

export async function keyBlocksAmong(db: Db, digests: readonly string[]): Promise<Tables['key_block'][]> {
  if (digests.length === 0) return [];
  return db.selectFrom('key_block').selectAll().where('digest', 'in', digests).execute();
}

/** The first to bring a block keeps it. */
export async function noteKeyBlocks(tx: Tx, blocks: readonly Tables['key_block'][]): Promise<void> {
  if (blocks.length === 0) return;
  await tx
    .insertInto('key_block')
    .values([...blocks])
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/**
 * Superseded before `before`, without legal hold, and a later key of the volume was proved since (K9). Whoever enrols as a
 * Mac that is away may say what it likes of keys; so what superseded it was brought by the same enrolment or by one that was
 * confirmed; of what others brought, a confirmed one said that it opens the Mac. And no alarm waits for an admin.
 */
export const recordsToDestroy = (db: Db, before: number): Promise<KeyRecord[]> =>
  db
    .selectFrom('key_record as old')
    .selectAll('old')
    .where('old.state', '=', 'superseded')
    .where('old.legal_hold', '=', 0)
    .where('old.state_at', '<=', before)
    .where((e) =>
      e.exists(
        e
          .selectFrom('key_record as later')
          .select('later.id')
          .whereRef('later.mac_id', '=', 'old.mac_id')
          .whereRef('later.volume', '=', 'old.volume')
          .whereRef('later.received_at', '>', 'old.received_at')
          .where('later.state', 'in', ['held', 'superseded'])
          .where('later.proved_at', 'is not', null)
          .where((of) =>
            of.or([
              of('later.enrolment_id', '=', of.ref('old.enrolment_id')),
              of.exists(
                of.selectFrom('enrolment').select('enrolment.id').whereRef('enrolment.id', '=', 'later.enrolment_id').where('enrolment.confirmed', '=', 1),
              ),
              of.exists(
                of
                  .selectFrom('proof')
                  .innerJoin('enrolment', 'enrolment.id', 'proof.enrolment_id')
                  .select('proof.id')
                  .whereRef('proof.record_id', '=', 'later.id')
                  .where('proof.answer', '=', 'true')
                  .where('later.enrolment_id', 'is', null)
                  .where('enrolment.confirmed', '=', 1),
              ),
            ]),
          ),
      ),
    )
    .execute();
