import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Kysely, PostgresDialect, type PostgresPoolClient, PostgresQueryCompiler, sql } from 'kysely';
import pg from 'pg';
import { Problem } from '../protocol/problems.ts';
import { createAlone } from './database-alone.ts';
import { atMost } from './database-turns.ts';
import { type PostgresPlace, placeName, readPlace } from './database-url.ts';
import type { Store } from './parts.ts';
import { isLost, isSafeToRepeat, storeProblem } from './postgres-errors.ts';
import type { Tables } from './tables.ts';

type Migration = (db: Kysely<unknown>) => Promise<void>;

export interface PostgresOptions {
  migrations: readonly Migration[];
  /** How long an act waits for its turn, and for a database that is being started again. */
  busyMilliseconds?: number;
  /** How many of the migrations this program knows: of an earlier release, in tests. */
  schema?: number;
  /** Whether an empty database is filled. Behind a data folder it is the wrong one. */
  mayCreate?: boolean;
  /** After the schema was changed, in the same transaction. */
  afterUpgrade?: (from: number, to: number) => void;
}

/** Of all writes of all backends: one after the other, as on SQLite. Any number, the same for all releases; "sparekey" is what it spells. */
const writeLock = 0x73706172;
const oldestServer = 150_000;
/** Milliseconds between two tries; with chance in it, so that those that wait do not come together. */
const pauses = [20, 50, 100, 200, 400];

/** What the database counts with has more digits than a number here. */
function safeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError('a number of the database is no safe integer');
  return value;
}
const numbers = [20, 1700];
const bytes = 17;
const types = {
  getTypeParser(type: number, format?: 'text' | 'binary') {
    if (numbers.includes(type)) return safeNumber;
    // As SQLite gives them.
    if (type === bytes) return (text: string) => new Uint8Array(Buffer.from(text.slice(2), 'hex'));
    return pg.types.getTypeParser(type, format ?? 'text');
  },
} as NonNullable<pg.PoolConfig['types']>;

/** The migrations say `integer` and `blob`, which are SQLite's words: its integers have 64 bits. */
class Compiler extends PostgresQueryCompiler {
  protected override visitDataType(node: Parameters<PostgresQueryCompiler['visitDataType']>[0]): void {
    const { dataType } = node;
    if (dataType === 'integer') this.append('bigint');
    else if (dataType === 'blob') this.append('bytea');
    else super.visitDataType(node);
  }
}

/** What SQLite takes without parentheses in an index, in migrations that have shipped. */
const portable = (text: string): string =>
  /^create (unique )?index/.test(text) ? text.replace(/(?<=[,(]\s*)case when .*? end(?=\s*[,)])/gs, (expression) => `(${expression})`) : text;

class Dialect extends PostgresDialect {
  override createQueryCompiler(): PostgresQueryCompiler {
    return new Compiler();
  }
}

/** Of each connection, by whoever it is used. */
const configOf = (place: PostgresPlace): pg.ClientConfig => ({
  host: place.host,
  port: place.port,
  database: place.database,
  user: place.user,
  // A function: without one `pg` would look for files of its own.
  password: () => place.password,
  ssl: place.tls === null ? false : { ...place.tls, rejectUnauthorized: true, minVersion: 'TLSv1.2' },
  // By the process, for whoever looks who is there.
  application_name: `sparekey-${hostname().slice(0, 32)}-${process.pid}`,
  connectionTimeoutMillis: place.connectMilliseconds,
  keepAlive: true,
  statement_timeout: place.statementMilliseconds,
});

function poolOf(place: PostgresPlace, busyMilliseconds: number): pg.Pool {
  const pool = new pg.Pool({
    ...configOf(place),
    max: place.connections,
    idleTimeoutMillis: 60_000,
    // A connection that nobody uses keeps no process alive.
    allowExitOnIdle: true,
    // The turn of a write, too, is waited for as a lock.
    lock_timeout: Math.min(busyMilliseconds, place.statementMilliseconds),
    // Whoever holds the turn and has gone away without a word gives it back.
    idle_in_transaction_session_timeout: place.statementMilliseconds,
    // Where the network itself has gone.
    query_timeout: place.statementMilliseconds + 5000,
    types,
  });
  // One that is lost while nobody uses it: the next one is made when it is needed.
  pool.on('error', () => undefined);
  return pool;
}

/** A connection as Kysely wants it, which knows whether it was lost, and in the middle of what. */
function lend(pool: pg.Pool, first: pg.PoolClient, place: PostgresPlace): PostgresPoolClient {
  let client = first;
  let inTransaction = false;
  let lost = false;
  const noteLoss = (): void => {
    lost = true;
  };
  client.on('error', noteLoss);
  const giveBack = (): void => {
    client.off('error', noteLoss);
    client.release(lost);
  };

  async function ask(text: string, parameters: readonly unknown[]) {
    try {
      return await client.query(text, parameters as unknown[]);
    } catch (error) {
      if (isLost(error)) lost = true;
      throw error;
    }
  }

  async function query(text: string, parameters: readonly unknown[], more: number): Promise<unknown> {
    if (text === 'begin') {
      inTransaction = true;
      // Every statement after it sees what was committed before the turn came: an act means what it means on SQLite.
      await ask(`begin isolation level read committed; select pg_advisory_xact_lock(${writeLock})`, []).catch((error: unknown) => {
        // Kysely takes it for never begun and gives it back: nobody may find the half of a transaction on it.
        lost = true;
        throw error;
      });
      return { command: 'BEGIN', rows: [], rowCount: 0 };
    }
    if (text.startsWith('start transaction')) inTransaction = true;
    // With the connection the transaction is gone.
    if (text === 'rollback' && lost) return { command: 'ROLLBACK', rows: [], rowCount: 0 };
    try {
      const result = await ask(portable(text), parameters);
      if (text === 'commit' || text === 'rollback') inTransaction = false;
      // After a statement that failed PostgreSQL takes all of it back at the commit, and says so by this word alone.
      if (text === 'commit' && result.command !== 'COMMIT')
        throw new Problem('STORE_FAILED', `${placeName(place)}: an act in which a statement failed was taken back`);
      return result;
    } catch (error) {
      if (text === 'commit' && lost)
        throw new Problem('STORE_FAILED', `${placeName(place)}: the connection was lost at the end of the act; whether it was stored is not known`);
      if (inTransaction || !lost || more === 0 || !/^(select|with)\b/i.test(text)) throw error;
    }
    // A question on a connection that was lost while it lay idle; the others that lie there may be, too.
    giveBack();
    client = await pool.connect();
    lost = false;
    client.on('error', noteLoss);
    return query(text, parameters, more - 1);
  }

  return {
    query: async (text: string, parameters: readonly unknown[] = []) => {
      try {
        return await query(text, parameters, place.connections);
      } catch (error) {
        throw storeProblem(error, place);
      }
    },
    release: giveBack,
  } as unknown as PostgresPoolClient;
}

async function connect(pool: pg.Pool, place: PostgresPlace): Promise<PostgresPoolClient> {
  try {
    return lend(pool, await pool.connect(), place);
  } catch (error) {
    throw storeProblem(error, place);
  }
}

function storeOf(pool: pg.Pool, place: PostgresPlace, busyMilliseconds: number): Store {
  const dialect = new Dialect({ pool: { connect: () => connect(pool, place), end: () => pool.end(), options: {} } });
  const db = new Kysely<Tables>({ dialect });
  const { alone, close: endAlone } = createAlone(place, configOf);
  // Acts come one after another whatever they have; more connections than these in line for their turn, and no question finds one.
  const turn = atMost(Math.max(1, Math.floor(place.connections / 2)), () => new Problem('STORE_FAILED', `${placeName(place)}: the database is busy`));
  let used = false;
  return {
    db,
    alone,
    async write(act) {
      used = true;
      const until = performance.now() + busyMilliseconds;
      for (let tries = 0; ; tries += 1) {
        try {
          return await turn(until, () => db.transaction().execute(act));
        } catch (error) {
          if (!isSafeToRepeat(error) || performance.now() >= until) throw error;
        }
        await sleep((pauses[tries] ?? 500) * (1 + Math.random()));
      }
    },
    async close() {
      await endAlone();
      await db.destroy();
      // Kysely closes only what it has used.
      if (!pool.ending && !used) await pool.end();
    },
  };
}

/** Opens a PostgreSQL database and brings it to today's shape, all or nothing. Backends of this and of the release before may go on meanwhile. */
export async function openPostgres(address: string, options: PostgresOptions): Promise<Store> {
  const place = readPlace(address);
  const { busyMilliseconds = 10_000, migrations, schema = migrations.length, mayCreate = true } = options;
  const pool = poolOf(place, busyMilliseconds);
  const store = storeOf(pool, place, busyMilliseconds);
  try {
    await checkDatabase(store, place);
    await migrate(store, place, { ...options, schema, mayCreate });
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** Text is compared by its bytes here, as in SQLite: lists and the pages of lists stand on it. */
const byBytes = /^(C|POSIX|C\.UTF-?8|PG_C_UTF8|PG_UNICODE_FAST)$/i;

async function checkDatabase({ db }: Store, place: PostgresPlace): Promise<void> {
  const { rows } = await sql<{ version: string; encoding: string; collation: string; commits: string }>`
    select current_setting('server_version_num') as version, pg_encoding_to_char(d.encoding) as encoding,
      coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', d.datcollate) as collation,
      current_setting('synchronous_commit') as commits
    from pg_database d where d.datname = current_database()`.execute(db);
  const [found] = rows;
  const refuse = (what: string): Problem => new Problem('DATABASE_UNSUITABLE', `${placeName(place)}: ${what}`);
  if (!found || Number(found.version) < oldestServer) throw refuse('PostgreSQL 15 or newer is needed');
  if (found.encoding !== 'UTF8' || !byBytes.test(found.collation))
    throw refuse(
      `it has encoding ${found.encoding} and collation ${found.collation}; make it by CREATE DATABASE ${place.database} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'`,
    );
  if (found.commits === 'off') throw refuse('it answers before it has stored (synchronous_commit = off), and a receipt would be a lie');
}

/** Null: there is no schema yet. */
async function versionOf(db: Kysely<Tables>): Promise<number | null> {
  const { rows } = await sql<{ there: string | null }>`select to_regclass('schema_version')::text as there`.execute(db);
  if (rows[0]?.there == null) return null;
  const kept = await sql<{ version: number }>`select version from schema_version`.execute(db);
  return kept.rows[0]?.version ?? null;
}

async function migrate(store: Store, place: PostgresPlace, options: PostgresOptions & { schema: number; mayCreate: boolean }): Promise<void> {
  const { schema, mayCreate, migrations, afterUpgrade } = options;
  const tooNew = (version: number) => new Problem('DATABASE_TOO_NEW', `${placeName(place)} has version ${version} of the schema, this program knows ${schema}`);
  const before = await versionOf(store.db);
  if (before === schema) return;
  if (before !== null && before > schema) throw tooNew(before);
  if (before === null && !mayCreate) throw new Problem('DATABASE_EMPTY', placeName(place));
  await store.write(async (tx) => {
    // Another backend may have done it, or more, while this one waited for its turn.
    const version = (await versionOf(tx)) ?? 0;
    if (version === schema) return;
    if (version > schema) throw tooNew(version);
    await sql.raw('set local statement_timeout = 0').execute(tx);
    if (version === 0) await sql.raw('create table schema_version (version integer not null)').execute(tx);
    for (const up of migrations.slice(version, schema)) await up(tx as unknown as Kysely<unknown>);
    await sql.raw('delete from schema_version').execute(tx);
    await sql.raw(`insert into schema_version (version) values (${schema})`).execute(tx);
    if (version > 0) afterUpgrade?.(version, schema);
  });
}
