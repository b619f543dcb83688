import { chmodSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

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

/** Where it is remembered that on this build of macOS the key itself authorizes its change. */
export const buildName = (build: string): string => `build:${build}`;

export const readMemory = async (db: Db, name: string): Promise<string | null> =>
  (await db.selectFrom('memory').select('value').where('name', '=', name).executeTakeFirst())?.value ?? null;

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
