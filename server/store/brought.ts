import { type Kysely, sql } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';
import { firstOf, question } from './asked.ts';

type Db = Kysely<Tables>;
export type BroughtRow = Tables['brought_key'];
/** Without what is in it: of these there may be very many. */
export type BroughtName = Pick<BroughtRow, 'id' | 'serial'>;

export const broughtById = (db: Db, id: string): Promise<BroughtRow | undefined> =>
  db.selectFrom('brought_key').selectAll().where('id', '=', id).executeTakeFirst();

/** Whether anything was brought for the serial number of this Mac: of nearly all Macs nothing was. */
export const isBroughtForMac = async (db: Db, macId: string): Promise<boolean> => (await oneBroughtForMac(db, macId)) !== undefined;
const oneBroughtForMac = firstOf((db, macId: string) =>
  db
    .selectFrom('mac')
    .innerJoin('brought_key', 'brought_key.serial', 'mac.serial')
    .select('brought_key.id')
    .where('mac.id', '=', macId)
    .where('brought_key.state', '<>', 'withdrawn')
    .limit(1),
);

/** Every key that was brought for a serial number, but for the withdrawn: the likeliest first, by what its source says of its age. */
export const broughtFor = question((db, serial: string) =>
  db
    .selectFrom('brought_key')
    .selectAll()
    .where('serial', '=', serial)
    .where('state', '<>', 'withdrawn')
    .orderBy('made_at', (order) => order.desc().nullsLast())
    .orderBy('brought_at', 'desc')
    .orderBy('id'),
);

export const broughtWithKey = (db: Db, serial: string, fingerprint: string): Promise<BroughtRow | undefined> =>
  db
    .selectFrom('brought_key')
    .selectAll()
    .where('serial', '=', serial)
    .where('fingerprint', '=', fingerprint)
    .where('state', '<>', 'withdrawn')
    .executeTakeFirst();

/** An envelope that came as it is, for whatever serial number. */
export const broughtWithEnvelope = (db: Db, envelopeId: string): Promise<BroughtRow[]> =>
  db.selectFrom('brought_key').selectAll().where('envelope_id', '=', envelopeId).where('state', '<>', 'withdrawn').execute();

export const broughtOfRun = (db: Db, runId: string): Promise<BroughtName[]> =>
  db.selectFrom('brought_key').select(['id', 'serial']).where('run_id', '=', runId).where('state', '<>', 'withdrawn').orderBy('serial').orderBy('id').execute();

/** Sealed to us, and nobody has opened them yet: oldest first. In the words of the index `brought_key_unopened`. */
export const unopenedBrought = (db: Db): Promise<BroughtName[]> =>
  db
    .selectFrom('brought_key')
    .select(['id', 'serial'])
    .where(sql<boolean>`fingerprint is null and bytes is not null and state = 'waiting'`)
    .orderBy('brought_at')
    .orderBy('id')
    .execute();

/** The run that brought this key as well, and was not withdrawn. */
export async function otherRunWith(db: Db, keyId: string, runId: string): Promise<string | null> {
  const row = await db
    .selectFrom('import_line')
    .innerJoin('import_run', 'import_run.id', 'import_line.run_id')
    .select('import_run.id')
    .where('import_line.key_id', '=', keyId)
    .where('import_run.id', '<>', runId)
    .where('import_run.withdrawn_at', 'is', null)
    .executeTakeFirst();
  return row?.id ?? null;
}

/** How many of the records of this Mac that came since then were brought by nobody in particular. */
export async function countUnverifiedRecords(db: Db, macId: string, since: number): Promise<number> {
  const row = await db
    .selectFrom('key_record')
    .innerJoin('brought_key', 'brought_key.record_id', 'key_record.id')
    .select((e) => e.fn.countAll<number>().as('count'))
    .where('key_record.mac_id', '=', macId)
    .where('key_record.received_at', '>', since)
    .where('brought_key.trust', 'in', ['header', 'none'])
    .executeTakeFirstOrThrow();
  return row.count;
}

/** Keys that wait for a Mac that nobody here has heard of, by nobody in particular. */
export async function countStrangersWaiting(db: Db): Promise<number> {
  const row = await db
    .selectFrom('brought_key')
    .select((e) => e.fn.countAll<number>().as('count'))
    .where('trust', 'in', ['header', 'none'])
    .where('state', '=', 'waiting')
    .where('mac_id', 'is', null)
    .executeTakeFirstOrThrow();
  return row.count;
}

/** In the words of the index `brought_key_strangers`: SQLite compares them as they are written. */
const isStrangers = sql<boolean>`trust in ('header', 'none') and state <> 'withdrawn'`;

/** What is nobody's word, those of one serial number together: with its bytes, or as a record. */
export const strangersKeys = (db: Db, { serial, trust }: { serial: string | null; trust: 'header' | 'none' | null }): Promise<BroughtName[]> =>
  db
    .selectFrom('brought_key')
    .select(['id', 'serial'])
    .where(isStrangers)
    .$if(trust !== null, (query) => query.where('trust', '=', trust ?? 'none'))
    .$if(serial !== null, (query) => query.where('serial', '=', serial ?? ''))
    .orderBy('serial')
    .orderBy('id')
    .execute();

/** What is nobody's word, and was heard last, or looked at, by then: what lies longest first. */
export const strangersKeysBefore = (db: Db, before: number, most: number): Promise<BroughtName[]> =>
  db
    .selectFrom('brought_key')
    .select(['id', 'serial'])
    .where(isStrangers)
    .where('counts_from', '<=', before)
    .orderBy('counts_from')
    .orderBy('id')
    .limit(most)
    .execute();

export interface BroughtFilter {
  serial?: string;
  state?: BroughtRow['state'];
}

/** For a list: with what became of the record, and without the bytes. */
export const listBrought = (db: Db, filter: BroughtFilter) =>
  db
    .selectFrom('brought_key')
    .leftJoin('key_record', 'key_record.id', 'brought_key.record_id')
    .select([
      'brought_key.id',
      'brought_key.serial',
      'brought_key.source',
      'brought_key.trust',
      'brought_key.run_id',
      'brought_key.made_at',
      'brought_key.brought_at',
      'brought_key.brought_by',
      'brought_key.state',
      'brought_key.state_at',
      'brought_key.state_because',
      'brought_key.mac_id',
      'brought_key.record_id',
      'brought_key.disclosed_at',
      'key_record.proved_at',
    ])
    .$if(filter.serial !== undefined, (query) => query.where('brought_key.serial', '=', filter.serial ?? ''))
    .$if(filter.state !== undefined, (query) => query.where('brought_key.state', '=', filter.state ?? 'waiting'))
    .orderBy('brought_key.serial')
    .orderBy('brought_key.brought_at', 'desc')
    .orderBy('brought_key.id')
    .execute();

/** How many there are in each state, and how many of the records that were made of them macOS has said `true` to. */
export async function countBrought(db: Db): Promise<{ states: Partial<Record<BroughtRow['state'], number>>; proved: number }> {
  const rows = await db
    .selectFrom('brought_key')
    .select((e) => ['state', e.fn.countAll<number>().as('count')])
    .groupBy('state')
    .execute();
  const proved = await db
    .selectFrom('brought_key')
    .innerJoin('key_record', 'key_record.id', 'brought_key.record_id')
    .select((e) => e.fn.countAll<number>().as('count'))
    .where('key_record.proved_at', 'is not', null)
    .where('brought_key.state', '<>', 'withdrawn')
    .executeTakeFirstOrThrow();
  return { states: Object.fromEntries(rows.map(({ state, count }) => [state, count])), proved: proved.count };
}

/** After a restore: who was shown one of them in the gap is forgotten, and it has no record that could owe anything. */
export async function noteMaybeShown(tx: Tx, at: number): Promise<number> {
  const marked = await tx
    .updateTable('brought_key')
    .set({ disclosed_at: at, maybe_shown_at: at })
    .where('record_id', 'is', null)
    .where('state', 'in', ['waiting', 'aside'])
    .where('trust', 'not in', ['header', 'none'])
    .where((e) => e.or([e('disclosed_at', 'is', null), e('disclosed_at', '=', e.ref('maybe_shown_at'))]))
    .executeTakeFirst();
  return Number(marked.numUpdatedRows);
}

/** Sealed blocks that others brought, whatever has become of their bytes since. */
const broughtBlock = question((db, digest: string) => db.selectFrom('brought_block').selectAll().where('digest', '=', digest));
export async function broughtBlocksAmong(db: Db, digests: readonly string[]): Promise<Tables['brought_block'][]> {
  if (digests.length === 0) return [];
  const [only] = digests;
  if (digests.length === 1 && only !== undefined) return broughtBlock(db, only);
  return db.selectFrom('brought_block').selectAll().where('digest', 'in', digests).execute();
}

export async function broughtEnvelopesAmong(db: Db, ids: readonly string[]): Promise<string[]> {
  if (ids.length === 0) return [];
  return (await db.selectFrom('brought_block').select('envelope_id').where('envelope_id', 'in', ids).execute()).map((row) => row.envelope_id);
}

/** The last to bring them keeps them: whether they may is looked at before. */
export async function noteBroughtBlocks(tx: Tx, blocks: readonly Tables['brought_block'][]): Promise<void> {
  for (const { digest, serial, envelope_id } of blocks)
    await tx
      .insertInto('brought_block')
      .values({ digest, serial, envelope_id })
      .onConflict((conflict) => conflict.column('digest').doUpdateSet({ serial, envelope_id }))
      .execute();
}

export async function insertBrought(tx: Tx, row: BroughtRow): Promise<void> {
  await tx.insertInto('brought_key').values(row).execute();
}

export async function updateBrought(tx: Tx, id: string, values: Partial<Omit<BroughtRow, 'id'>>): Promise<void> {
  await tx.updateTable('brought_key').set(values).where('id', '=', id).execute();
}

/** What becomes of a record, its brought key is told. */
export async function updateBroughtOfRecord(tx: Tx, recordId: string, values: Partial<Omit<BroughtRow, 'id'>>): Promise<void> {
  await tx.updateTable('brought_key').set(values).where('record_id', '=', recordId).where('state', '<>', 'withdrawn').execute();
}
