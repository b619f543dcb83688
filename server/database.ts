import { chmodSync, closeSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { Kysely, SqliteDialect, sql } from 'kysely';
import { Problem } from '../protocol/problems.ts';
import { doingAfterActs } from './after-act.ts';
import { createActs } from './database-acts.ts';
import { openPostgres } from './database-postgres.ts';
import { isPostgres } from './database-url.ts';
import { up as first } from './migrations/0001-first.ts';
import { up as people } from './migrations/0002-people.ts';
import { up as coexistence } from './migrations/0003-coexistence.ts';
import { up as coexistenceMended } from './migrations/0004-coexistence-mended.ts';
import { up as admins } from './migrations/0005-admins.ts';
import { up as fleet } from './migrations/0006-fleet.ts';
import { up as campaigns } from './migrations/0007-campaigns.ts';
import { up as approvals } from './migrations/0008-approvals.ts';
import { up as auditing } from './migrations/0009-auditing.ts';
import { up as weakerDisclosure } from './migrations/0011-weaker-disclosure.ts';
import { up as waits } from './migrations/0012-waits.ts';
import { up as speed } from './migrations/0013-speed.ts';
import { up as growth } from './migrations/0014-growth.ts';
import type { Store } from './parts.ts';
import { unwritable } from './private-files.ts';
import { sqliteTransaction } from './sqlite-transaction.ts';
import { openDoor } from './store/asked.ts';
import type { Tables } from './tables.ts';
import { copyFor } from './upgrade-copies.ts';

/** In order; the database's `user_version` (PostgreSQL: `schema_version`) says how many of them it has. None is ever changed once it has shipped. */
const migrations: readonly ((db: Kysely<unknown>) => Promise<void>)[] = [
  first,
  people,
  coexistence,
  coexistenceMended,
  admins,
  fleet,
  campaigns,
  approvals,
  auditing,
  weakerDisclosure,
  waits,
  speed,
  growth,
];

/** The schema of this program. */
export const newestSchema = migrations.length;

export interface DatabaseOptions {
  /** How long an act waits for another process, such as a command, to end its own. */
  busyMilliseconds?: number;
  /** Before a database that is there is brought to another shape, and while nobody else can write it: a failure keeps it as it is. */
  beforeUpgrade?: (from: number, to: number) => void;
  /** PostgreSQL: whether an empty database is filled. Behind a data folder that was in use it is the wrong one. */
  mayCreate?: boolean;
  /** PostgreSQL, which has copies of its own: after its shape was changed. */
  afterUpgrade?: (from: number, to: number) => void;
  /** PostgreSQL: its shape cannot be changed yet, for so many seconds now, because of whom. */
  onWait?: (seconds: number, who: string) => void;
  /** PostgreSQL: a statement may take as long as it takes, as where all rows of a table are put in order. */
  patient?: boolean;
  /** How many of the migrations this program knows: of an earlier release, in tests. */
  schema?: number;
}

/**
 * SQLite waits for a lock by sleeping, and the whole process sleeps with it: so it waits only for what is over at once, such
 * as the end of another process's commit. Longer waits are in database-acts.ts, where everything else goes on.
 */
const sleepMilliseconds = 50;
const busy = 5;

/** SQLite's primary result codes that mean: not now, or not here. Anything else is a mistake of ours. */
const refusals: Record<number, string> = {
  [busy]: 'the database is busy',
  6: 'the database is locked',
  8: 'the database cannot be written',
  10: 'reading or writing the disk failed',
  11: 'the database is damaged',
  13: 'the disk is full',
  14: 'the database cannot be opened',
  26: 'this is no database',
};

const codeOf = (error: unknown): number =>
  typeof error === 'object' && error !== null && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode & 0xff : -1;

function asProblem(error: unknown): unknown {
  const detail = refusals[codeOf(error)];
  return detail ? new Problem('STORE_FAILED', detail, { cause: error }) : error;
}

/** What SQLite refuses is named where it is asked, for questions and acts alike. */
function named<T>(ask: () => T): T {
  try {
    return ask();
  } catch (error) {
    throw asProblem(error);
  }
}

/** Our own texts are a few hundred; how many values a list has, and what a search asks for, makes more of them. */
const mostStatements = 500;

/** node:sqlite as Kysely's SqliteDialect wants a database to be. */
function adapt(database: DatabaseSync) {
  const values = (parameters: readonly unknown[]) => parameters as SQLInputValue[];
  function prepared(text: string) {
    const statement = named(() => database.prepare(text));
    return {
      reader: statement.columns().length > 0,
      all: (parameters: readonly unknown[]) => named(() => statement.all(...values(parameters))),
      run: (parameters: readonly unknown[]) => named(() => statement.run(...values(parameters))),
      // A statement of its own: it is under way for as long as its rows are read.
      iterate: (parameters: readonly unknown[]) => database.prepare(text).iterate(...values(parameters)),
    };
  }
  // To prepare costs more than most of them take to run. SQLite prepares one anew by itself when the tables have changed.
  const known = new Map<string, ReturnType<typeof prepared>>();
  return {
    close: () => database.close(),
    prepare(given: string) {
      const text = exactly(given, database);
      const statement = known.get(text) ?? prepared(text);
      // The one that was not asked for the longest goes first.
      known.delete(text);
      known.set(text, statement);
      if (known.size > mostStatements) known.delete(known.keys().next().value ?? text);
      return statement;
    },
  };
}

/**
 * Kysely's `begin` would take the write lock only at the first write, when what was read before may be old: it is taken
 * at once. After a full disk SQLite has rolled back by itself, and Kysely's `rollback` would hide why.
 */
function exactly(text: string, database: DatabaseSync): string {
  if (text === 'begin') return 'begin immediate';
  return text === 'rollback' && !database.isTransaction ? 'select 1 where 0' : text;
}

const versionOf = (database: DatabaseSync): number => Number(database.prepare('pragma user_version').get()?.['user_version'] ?? 0);

/** Of a database file, without changing it. */
export function schemaOf(file: string): number {
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    return versionOf(database);
  } finally {
    database.close();
  }
}

function openFile(file: string, busyMilliseconds: number, schema: number): DatabaseSync {
  // SQLite gives its -wal and -shm the mode of the file beside them.
  try {
    closeSync(openSync(file, 'a', 0o600));
    chmodSync(file, 0o600);
  } catch (error) {
    throw unwritable(file, error);
  }
  const database = new DatabaseSync(file, { timeout: busyMilliseconds, enableForeignKeyConstraints: true });
  try {
    // Before anything is written, a change of journal mode among it.
    if (versionOf(database) > schema) throw tooNew(file, versionOf(database), schema);
    database.exec('pragma journal_mode = wal');
    // A receipt leaves only after its commit has reached the disk.
    database.exec('pragma synchronous = full');
    // KiB, below zero. SQLite's own 2 MiB hold the indexes of a thousand Macs; with these the lists of a hundred thousand stay quick.
    database.exec('pragma cache_size = -65536');
    // A destroyed envelope leaves no bytes in free pages.
    database.exec('pragma secure_delete = on');
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** What was made before the newer program changed it is the way back; that is `restore`, for keys were shown since. */
function tooNew(file: string, version: number, schema: number): Problem {
  const copy = copyFor(dirname(file), schema);
  const way =
    copy === null
      ? 'there is no copy of before its upgrade'
      : `to go back, \`sparekey-server restore ${copy}\` makes a folder of before the upgrade; what happened since is missing in it`;
  return new Problem('DATABASE_TOO_NEW', `${file} has version ${version} of the schema, this program knows ${schema}; ${way}`);
}

/** Opens the database, a file or the address of a PostgreSQL database, and brings it to today's shape, all or nothing. */
export async function openDatabase(file: string, options: DatabaseOptions = {}): Promise<Store> {
  if (isPostgres(file)) return doingAfterActs(await openPostgres(file, { ...options, migrations }));
  try {
    const { busyMilliseconds = 10_000, schema = migrations.length, beforeUpgrade } = options;
    const database = openFile(file, busyMilliseconds, schema);
    const store = storeOf(database, busyMilliseconds);
    await migrate(store, database, { file, schema, beforeUpgrade });
    database.exec(`pragma busy_timeout = ${sleepMilliseconds}`);
    return doingAfterActs(store);
  } catch (error) {
    throw asProblem(error);
  }
}

function storeOf(database: DatabaseSync, busyMilliseconds: number): Store {
  const adapted = adapt(database);
  const db = new Kysely<Tables>({ dialect: new SqliteDialect({ database: adapted }) });
  const carryOut = (text: string, parameters: readonly unknown[]) => {
    const statement = adapted.prepare(text);
    return statement.reader ? { rows: statement.all(parameters), changes: 0 } : { rows: [], changes: Number(statement.run(parameters).changes) };
  };
  // What is not committed yet is seen by its own act alone.
  openDoor(db, (text, parameters) => (database.isTransaction ? null : carryOut(text, parameters)));
  const acts = createActs({
    busyMilliseconds,
    most: { acts: 128, milliseconds: 20 },
    pauses: [25],
    lanes: 1,
    gathers: true,
    transaction: sqliteTransaction(db, { carryOut, isInTransaction: () => database.isTransaction }),
    mayRepeat: (error) => error instanceof Problem && codeOf(error.cause) === busy,
  });
  return {
    db,
    write: acts.write,
    async close() {
      await acts.idle();
      await db.destroy();
      // Kysely closes only what it has used.
      if (database.isOpen) database.close();
    },
  };
}

interface Migrating {
  file: string;
  schema: number;
  beforeUpgrade: DatabaseOptions['beforeUpgrade'] | undefined;
}

async function migrate(store: Store, database: DatabaseSync, { file, schema, beforeUpgrade }: Migrating): Promise<void> {
  try {
    if (versionOf(database) === schema) return;
    await store.db.transaction().execute(async (tx) => {
      // Another process may have done it, or more, while this one waited for the lock.
      const version = versionOf(database);
      if (version > schema) throw tooNew(file, version, schema);
      if (version > 0 && version < schema) beforeUpgrade?.(version, schema);
      for (const up of migrations.slice(version, schema)) await up(tx as unknown as Kysely<unknown>);
      await sql.raw(`pragma user_version = ${schema}`).execute(tx);
    });
  } catch (error) {
    await store.close();
    throw error;
  }
}
