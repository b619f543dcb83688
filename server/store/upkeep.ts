import { chmodSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { Kysely } from 'kysely';
import { Problem } from '../../protocol/problems.ts';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';
import { firstOf } from './asked.ts';

type Db = Kysely<Tables>;

/** A whole, consistent copy of the database in one file, made while the backend goes on. Free pages and their remains are not copied. */
export function copyDatabase(from: string, to: string): void {
  const database = new DatabaseSync(from, { timeout: 30_000 });
  try {
    database.prepare('vacuum into ?').run(to);
    chmodSync(to, 0o600);
  } finally {
    database.close();
  }
}

/** The end of the audit in a copy of whatever version, which must not be changed by being read. */
export function auditEndIn(file: string): { seq: number; hash: string } {
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    const last = database.prepare('select seq, hash from audit order by seq desc limit 1').get() as { seq: number; hash: string } | undefined;
    return { seq: last?.seq ?? 0, hash: last?.hash ?? '' };
  } finally {
    database.close();
  }
}

/** The time of the last act in a database of whatever version, by its own clock. */
export function lastTimeIn(file: string): number {
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    const mark = database.prepare("select value from memory where name = 'clock'").get() as { value: string } | undefined;
    return Number(mark?.value ?? 0);
  } finally {
    database.close();
  }
}

/** Where it is remembered that on this build of macOS the key itself authorizes its change. */
export const buildName = (build: string): string => `build:${build}`;

export const readMemory = async (db: Db, name: string): Promise<string | null> => (await memoryNamed(db, name))?.value ?? null;
const memoryNamed = firstOf((db, name: string) => db.selectFrom('memory').select('value').where('name', '=', name));

/** What is kept under names that begin so, by name. */
export const memoriesOf = (db: Db, prefix: string) =>
  db.selectFrom('memory').select(['name', 'value']).where('name', '>=', prefix).where('name', '<', `${prefix}\u{10ffff}`).execute();

export async function writeMemory(tx: Tx, name: string, value: string): Promise<void> {
  await tx
    .insertInto('memory')
    .values({ name, value })
    .onConflict((c) => c.column('name').doUpdateSet({ value }))
    .execute();
}

export const forgetMemory = async (tx: Tx, name: string): Promise<void> => {
  await tx.deleteFrom('memory').where('name', '=', name).execute();
};

/** Where `migrate` has taken everything that was in this database, as its address is said to people. */
export const movedMark = 'moved-to';
/** Of a file of whatever version, which must not be changed by being read. */
export function movedTo(file: string): string | null {
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    const mark = database.prepare('select value from memory where name = ?').get(movedMark) as { value: string } | undefined;
    return mark?.value ?? null;
  } finally {
    database.close();
  }
}
/** In the new one, until the one of before says that it has gone. */
export const movingMark = 'moving-from';
export async function refuseMoved({ db }: { db: Db }): Promise<void> {
  if ((await readMemory(db, movingMark)) !== null) throw new Problem('MOVE_UNFINISHED');
  const to = await readMemory(db, movedMark);
  if (to !== null) throw new Problem('DATABASE_MOVED', (JSON.parse(to) as { to: string }).to);
}

/** The newest envelope that was opened once and is still there: the one to try a backup with. */
export async function newestReadableEnvelope(db: Db) {
  return (
    (await db
      .selectFrom('envelope')
      .innerJoin('key_record', 'key_record.id', 'envelope.record_id')
      .innerJoin('mac', 'mac.id', 'envelope.mac_id')
      .select(['envelope.id', 'envelope.bytes', 'envelope.received_at', 'envelope.record_id', 'key_record.fingerprint', 'mac.serial'])
      .where('envelope.readable', '=', 'yes')
      .where('envelope.bytes', 'is not', null)
      .where('key_record.fingerprint', 'is not', null)
      .orderBy('envelope.received_at', 'desc')
      .limit(1)
      .executeTakeFirst()) ?? null
  );
}

/** The envelope that came last, with the key that it belongs to. Null: there is none. */
export async function newestEnvelopeWithRecord(db: Db) {
  const envelope = await db.selectFrom('envelope').selectAll().where('bytes', 'is not', null).orderBy('received_at', 'desc').limit(1).executeTakeFirst();
  if (!envelope) return null;
  return { envelope, record: await db.selectFrom('key_record').selectAll().where('id', '=', envelope.record_id).executeTakeFirst() };
}

export async function countRows(db: Db) {
  const count = async (table: 'mac' | 'enrolment' | 'key_record' | 'envelope') =>
    (
      await db
        .selectFrom(table)
        .select((e) => e.fn.countAll<number>().as('total'))
        .executeTakeFirstOrThrow()
    ).total;
  return { macs: await count('mac'), enrolments: await count('enrolment'), keys: await count('key_record'), envelopes: await count('envelope') };
}

/** Keys of before `before` that a person may still be shown and use. */
export const usableKeysBefore = (db: Db, before: number) =>
  db
    .selectFrom('key_record')
    .select(['id', 'mac_id', 'volume', 'state'])
    .where('state', 'in', ['held', 'candidate'])
    .where('received_at', '<=', before)
    .orderBy('id')
    .execute();

export const lastAuditEntry = async (db: Db) =>
  (await db.selectFrom('audit').select(['seq', 'hash', 'at']).orderBy('seq', 'desc').limit(1).executeTakeFirst()) ?? null;

const entryOfInitMark = 'entry-of-init';
/** Before retention takes it out of the audit. */
export const keepEntryOfInit = async (tx: Tx): Promise<void> => writeMemory(tx, entryOfInitMark, JSON.stringify(await entryOfInit(tx)));

/** What `init` wrote down of itself. */
export async function entryOfInit(db: Db): Promise<Record<string, unknown>> {
  const made = await db.selectFrom('audit').select('details').where('act', '=', 'server.made').orderBy('seq').limit(1).executeTakeFirst();
  // Retention may have taken it out; what it said is remembered then.
  const text = made?.details ?? (await readMemory(db, entryOfInitMark));
  return text === null ? {} : (JSON.parse(text) as Record<string, unknown>);
}

/** Of `init`: since when this backend has been there. */
export const firstAuditEntry = async (db: Db) => (await db.selectFrom('audit').select(['seq', 'at']).orderBy('seq').limit(1).executeTakeFirst()) ?? null;
