import { type Kysely, sql } from 'kysely';
import { limits, type RecordState } from '../../protocol/messages.ts';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';
import { changeOf, firstOf, question } from './asked.ts';
import { markDirty, markDirtyByRecord } from './fleet-dirty.ts';

type Db = Kysely<Tables>;
export type KeyRecord = Tables['key_record'];
export type EnvelopeRow = Tables['envelope'];

export const recordById = firstOf((db, id: string) => db.selectFrom('key_record').selectAll().where('id', '=', id));

/** Newest first. */
export const recordsOfVolume = question((db, macId: string, volume: string) =>
  db.selectFrom('key_record').selectAll().where('mac_id', '=', macId).where('volume', '=', volume).orderBy('received_at', 'desc').orderBy('id'),
);

export const recordsOfMac = (db: Db, macId: string): Promise<KeyRecord[]> =>
  db.selectFrom('key_record').selectAll().where('mac_id', '=', macId).orderBy('received_at', 'desc').orderBy('id').execute();

export const recordWithKey = firstOf((db, macId: string, volume: string, fingerprint: string) =>
  db
    .selectFrom('key_record')
    .selectAll()
    .where('mac_id', '=', macId)
    .where('volume', '=', volume)
    .where('fingerprint', '=', fingerprint)
    .where('state', '<>', 'quarantined'),
);

export const envelopeOfMac = firstOf((db, macId: string, id: string) => db.selectFrom('envelope').selectAll().where('mac_id', '=', macId).where('id', '=', id));

/** Newest first. */
export const envelopesOfRecord = question((db, recordId: string) =>
  db.selectFrom('envelope').selectAll().where('record_id', '=', recordId).orderBy('received_at', 'desc').orderBy('id'),
);

export async function envelopesAmong(db: Db, macId: string, ids: readonly string[]): Promise<string[]> {
  if (ids.length === 0) return [];
  const rows = await db.selectFrom('envelope').select('id').where('mac_id', '=', macId).where('id', 'in', ids).execute();
  return rows.map((row) => row.id);
}

/** Those of them that an enrolment of this Mac itself delivered. */
export async function ownEnvelopesAmong(db: Db, macId: string, ids: readonly string[]): Promise<Set<string>> {
  const own = new Set<string>();
  for (let at = 0; at < ids.length; at += limits.offers) {
    // A list has a length, and a statement of its own for each: what is no id is found nowhere.
    const some = Array.from({ length: limits.offers }, (_, place) => ids[at + place] ?? '');
    for (const { id } of await deliveredEnvelopes(db, macId, ...some)) own.add(id);
  }
  return own;
}
const deliveredEnvelopes = question((db, macId: string, ...ids: string[]) =>
  db.selectFrom('envelope').select('id').where('mac_id', '=', macId).where('id', 'in', ids).where('enrolment_id', 'is not', null),
);

/** Whether an envelope has come for this volume: a record of the Mac's other one is none of this. */
export async function isOnVolume(db: Db, macId: string, volume: string | null, id: string): Promise<boolean> {
  return (await envelopeOnVolume(db, macId, id, volume ?? '')) !== undefined;
}
const envelopeOnVolume = firstOf((db, macId: string, id: string, volume: string) =>
  db
    .selectFrom('envelope')
    .innerJoin('key_record', 'key_record.id', 'envelope.record_id')
    .select('envelope.id')
    .where('envelope.mac_id', '=', macId)
    .where('envelope.id', '=', id)
    .where('key_record.volume', '=', volume),
);

/** Records of this volume that can be opened: an envelope goes with the Mac to its other volume, and retention takes the bytes. */
export async function recordsWithBytes(db: Db, macId: string, volume: string): Promise<Set<string>> {
  const rows = await db
    .selectFrom('key_record')
    .innerJoin('envelope', 'envelope.record_id', 'key_record.id')
    .select('key_record.id')
    .distinct()
    .where('key_record.mac_id', '=', macId)
    .where('key_record.volume', '=', volume)
    .where('envelope.bytes', 'is not', null)
    .execute();
  return new Set(rows.map(({ id }) => id));
}

/**
 * Those that only others brought, and whose key waits for its proof: the Mac's own delivery of them is worth more. So it is of a
 * guess that came to nothing on another volume than the one that delivers it. One that is held, or was proved there, is that one's.
 */
export async function onlyBroughtAmong(
  db: Db,
  macId: string,
  ids: readonly string[],
  volume: string,
): Promise<{ id: string; recordId: string; fingerprint: string }[]> {
  if (ids.length === 0) return [];
  const rows = await db
    .selectFrom('envelope')
    .innerJoin('key_record', 'key_record.id', 'envelope.record_id')
    .select(['envelope.id', 'envelope.record_id', 'key_record.fingerprint'])
    .where('envelope.mac_id', '=', macId)
    .where('envelope.id', 'in', ids)
    .where('envelope.enrolment_id', 'is', null)
    .where((e) =>
      e.or([
        e('key_record.state', '=', 'candidate'),
        e.and([e('key_record.volume', '<>', volume), e('key_record.proved_at', 'is', null), e('key_record.state', 'in', ['superseded', 'destroyed'])]),
      ]),
    )
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
  await addRecord(tx, record);
}
const addRecord = changeOf((db, record: KeyRecord) => db.insertInto('key_record').values(record));

export async function updateRecord(tx: Tx, id: string, values: Partial<Omit<KeyRecord, 'id'>>): Promise<void> {
  await changeRecord(tx, values, id);
  await markDirtyByRecord(tx, id);
}
const changeRecord = changeOf((db, values: Partial<Omit<KeyRecord, 'id'>>, id: string) => db.updateTable('key_record').set(values).where('id', '=', id));

export async function setRecordState(tx: Tx, id: string, state: RecordState, because: string, at: number): Promise<void> {
  await updateRecord(tx, id, { state, state_because: because, state_at: at });
}

/**
 * One that others brought before becomes the Mac's own when the Mac delivers it, and goes over to the record that it is of
 * now, which may be another volume's; any other is here once.
 */
export async function insertEnvelope(tx: Tx, envelope: EnvelopeRow): Promise<void> {
  if ((await keepEnvelope(tx, envelope)) !== 1) throw new Error('an envelope came twice');
  await markDirty(tx, envelope.mac_id);
}
const keepEnvelope = changeOf((db, envelope: EnvelopeRow) => {
  const { record_id, row_mac, readable, source, made_at, enrolment_id, rotation_id, validated, bytes } = envelope;
  return db
    .insertInto('envelope')
    .values(envelope)
    .onConflict((c) =>
      c
        .columns(['mac_id', 'id'])
        .doUpdateSet({ record_id, row_mac, readable, source, made_at, enrolment_id, rotation_id, validated, bytes })
        .where('envelope.enrolment_id', 'is', null),
    );
});

export async function updateEnvelope(
  tx: Tx,
  macId: string,
  id: string,
  values: Partial<Pick<EnvelopeRow, 'record_id' | 'readable' | 'row_mac'>>,
): Promise<void> {
  await tx.updateTable('envelope').set(values).where('mac_id', '=', macId).where('id', '=', id).execute();
}

/** Whoever sent it has no right to it; somebody who answers for it brought it as well. */
export async function disownEnvelope(tx: Tx, macId: string, id: string): Promise<void> {
  await tx.updateTable('envelope').set({ enrolment_id: null }).where('mac_id', '=', macId).where('id', '=', id).execute();
}

/** Of a key that was taken back, and never proved or shown: as if they had not come. Whose their blocks are is remembered by serial number. */
export async function removeEnvelopes(tx: Tx, macId: string, recordId: string): Promise<void> {
  const ids = tx.selectFrom('envelope').select('id').where('record_id', '=', recordId);
  // By its digest: of blocks there is one for each envelope there ever was.
  const blocks = tx.selectFrom('brought_block').select('digest').where('envelope_id', 'in', ids);
  await tx.deleteFrom('key_block').where('digest', 'in', blocks).where('mac_id', '=', macId).where('envelope_id', 'in', ids).execute();
  await tx.deleteFrom('envelope').where('record_id', '=', recordId).execute();
}

/** K9: the row stays, the bytes go. */
export async function removeEnvelopeBytes(tx: Tx, recordId: string): Promise<void> {
  await tx.updateTable('envelope').set({ bytes: null }).where('record_id', '=', recordId).execute();
}

const keyBlock = question((db, digest: string) => db.selectFrom('key_block').selectAll().where('digest', '=', digest));
export async function keyBlocksAmong(db: Db, digests: readonly string[]): Promise<Tables['key_block'][]> {
  if (digests.length === 0) return [];
  const [only] = digests;
  if (digests.length === 1 && only !== undefined) return keyBlock(db, only);
  return db.selectFrom('key_block').selectAll().where('digest', 'in', digests).execute();
}

/** The first to bring a block keeps it, but where its very envelope goes over to the Mac that took the other's place: whether it may is looked at before. */
export async function noteKeyBlocks(tx: Tx, blocks: readonly Tables['key_block'][]): Promise<void> {
  for (const block of blocks) await noteKeyBlock(tx, block);
}
const noteKeyBlock = changeOf((db, block: Tables['key_block']) =>
  db
    .insertInto('key_block')
    .values(block)
    .onConflict((conflict) =>
      conflict
        .column('digest')
        .doUpdateSet((e) => ({ mac_id: e.ref('excluded.mac_id') }))
        .whereRef('key_block.envelope_id', '=', 'excluded.envelope_id'),
    ),
);

/**
 * Superseded before `before`, without legal hold, and a later key of the volume was proved since (K9). Whoever enrols as a
 * Mac that is away may say what it likes of keys; so what superseded it was brought by the same enrolment or by one that was
 * confirmed; of what others brought, a confirmed one said that it opens the Mac. And no alarm waits for an admin. The oldest first,
 * beginning after a record.
 */
export const recordsToDestroy = (db: Db, before: number, after: Pick<KeyRecord, 'state_at' | 'id'> | null, limit: number): Promise<KeyRecord[]> =>
  db
    .selectFrom('key_record as old')
    .selectAll('old')
    // In the words of the index.
    .where(sql<boolean>`old.state = 'superseded' and old.legal_hold = 0`)
    .where('old.state_at', '<=', before)
    .$if(after !== null, (query) => query.where(sql<boolean>`(old.state_at, old.id) > (${after?.state_at}, ${after?.id})`))
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
    .orderBy('old.state_at')
    .orderBy('old.id')
    .limit(limit)
    .execute();
