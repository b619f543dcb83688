import { setTimeout as sleep } from 'node:timers/promises';
import { type Kysely, sql } from 'kysely';
import { Problem } from '../protocol/problems.ts';
import { type PostgresPlace, placeName } from './database-url.ts';
import type { Store } from './parts.ts';
import { isBusy } from './postgres-errors.ts';
import type { Tables } from './tables.ts';

/*
 * A PostgreSQL database is brought to another shape by the first backend of a new release, in one act, which takes as long as it
 * takes; whoever starts meanwhile waits for it, and says so. Those that serve are refused for as long (STORE_FAILED, 503), and go on afterwards.
 */

/** Null: there is no schema yet. */
async function versionOf(db: Kysely<Tables>): Promise<number | null> {
  const { rows } = await sql<{ there: string | null }>`select to_regclass('schema_version')::text as there`.execute(db);
  if (rows[0]?.there == null) return null;
  const kept = await sql<{ version: number }>`select version from schema_version`.execute(db);
  return kept.rows[0]?.version ?? null;
}

/** Whoever has been at work in the database for the longest time, as far as it shows us others. */
async function whoIsAtWork({ db }: Store): Promise<string> {
  const { rows } = await sql<{ who: string; pid: number }>`select application_name as who, pid from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null order by xact_start limit 1`.execute(db);
  return rows.map(({ who, pid }) => `${who === '' ? 'somebody' : who}, process ${pid} of the database`).join();
}

export interface ToMigrate {
  migrations: readonly ((db: Kysely<unknown>) => Promise<void>)[];
  schema: number;
  mayCreate: boolean;
  afterUpgrade?: (from: number, to: number) => void;
  onWait?: (seconds: number, who: string) => void;
}

/** Between two tries, so that whoever waits behind ours for a table gets to it. */
const pauseMilliseconds = 1000;

/** `open`: another store, whose statements may take as long as they need. */
export async function migratePostgres(store: Store, place: PostgresPlace, options: ToMigrate, open: () => Store): Promise<void> {
  const { schema, mayCreate, migrations, afterUpgrade, onWait } = options;
  const tooNew = (version: number) => new Problem('DATABASE_TOO_NEW', `${placeName(place)} has version ${version} of the schema, this program knows ${schema}`);
  const before = await versionOf(store.db);
  if (before === schema) return;
  if (before !== null && before > schema) throw tooNew(before);
  if (before === null && !mayCreate) throw new Problem('DATABASE_EMPTY', placeName(place));
  const began = performance.now();
  const patient = open();
  try {
    while (!(await isDone())) {
      // Longer than any other act may take: another backend is at the same, or a copy of the whole is being made.
      onWait?.(Math.round((performance.now() - began) / 1000), await whoIsAtWork(store).catch(() => ''));
      await sleep(pauseMilliseconds);
    }
  } finally {
    await patient.close();
  }

  /** False where somebody else is at work for longer than an act waits. */
  async function isDone(): Promise<boolean> {
    try {
      await patient.write(bring);
      return true;
    } catch (error) {
      if (isBusy(error)) return false;
      throw error;
    }
  }

  async function bring(tx: Parameters<Parameters<Store['write']>[0]>[0]): Promise<void> {
    // Another backend may have done it, or more, while this one waited for its turn.
    const version = (await versionOf(tx)) ?? 0;
    if (version === schema) return;
    if (version > schema) throw tooNew(version);
    if (version === 0) await sql.raw('create table schema_version (version integer not null)').execute(tx);
    for (const up of migrations.slice(version, schema)) await up(tx as unknown as Kysely<unknown>);
    await sql.raw('delete from schema_version').execute(tx);
    await sql.raw(`insert into schema_version (version) values (${schema})`).execute(tx);
    if (version > 0) afterUpgrade?.(version, schema);
  }
}
