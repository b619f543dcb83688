import { setTimeout as sleep } from 'node:timers/promises';
import { Kysely, PostgresDialect, type PostgresPoolClient, PostgresQueryCompiler } from 'kysely';
import pg from 'pg';
import type { Problem } from '../protocol/problems.ts';
import { createActs } from './database-acts.ts';
import { createAlone } from './database-alone.ts';
import { configOf, connectionOf, settle, timeAt } from './database-connection.ts';
import { checkFit } from './database-fit.ts';
import { migratePostgres } from './database-migrating.ts';
import { atMost } from './database-turns.ts';
import { type PostgresPlace, readPlace } from './database-url.ts';
import { NotNarrow, numberOf, watchNarrow } from './narrow-acts.ts';
import type { Own, Store, Tx } from './parts.ts';
import { busyProblem, isBusy, isLost, isSafeToRepeat, storeProblem } from './postgres-errors.ts';
import { inTransaction, type Open, turnOf } from './postgres-transaction.ts';
import type { Tables } from './tables.ts';

/** Milliseconds: for a statement of a migration. */
const aDay = 24 * 3_600_000;

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
  /** The schema cannot be changed yet, for so many seconds now: another backend is at it, or somebody reads all of it. Who, as the database knows them. */
  onWait?: (seconds: number, who: string) => void;
  /** A statement may take as long as it takes. */
  patient?: boolean;
}

/** Of our advisory locks; any number, the same for all releases. Of all acts of all backends, one after the other, as on SQLite: "sparekey" is what it spells. */
const writeLock = 0x73706172;
/** Of a Mac, by narrow acts, which have a share of the other one. */
const macLocks = 0x73706d61;
/**
 * Acts in one commit: beyond 64 savepoints PostgreSQL looks further for whose rows they are. Milliseconds after which no further one is begun: another
 * backend waits for so long.
 */
const most = { acts: 60, milliseconds: 40 };
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

function poolOf(place: PostgresPlace, busyMilliseconds: number): pg.Pool {
  const pool = new pg.Pool({
    ...configOf(place),
    max: place.connections,
    idleTimeoutMillis: 60_000,
    // A connection that nobody uses keeps no process alive.
    allowExitOnIdle: true,
    onConnect: (client) =>
      settle(client, place, {
        // The turn of a write, too, is waited for as a lock.
        lock_timeout: Math.min(busyMilliseconds, place.statementMilliseconds),
        // Whoever holds the turn and has gone away without a word gives it back.
        idle_in_transaction_session_timeout: place.statementMilliseconds,
      }),
    // Where the network itself has gone.
    query_timeout: place.statementMilliseconds + 5000,
    types,
    // What is asked is sent without waiting for the answer before it.
    pipeline: true,
  });
  // One that is lost while nobody uses it: the next one is made when it is needed.
  pool.on('error', () => undefined);
  return pool;
}

/** A connection for questions as Kysely wants it, which knows whether it was lost, and in the middle of what. */
function lend(another: () => Promise<pg.PoolClient>, first: pg.PoolClient, place: PostgresPlace): PostgresPoolClient {
  let client = first;
  let inTransaction = false;
  let lost = false;
  const noteLoss = (): void => {
    lost = true;
  };
  client.on('error', noteLoss);
  let isOurs = true;
  const giveBack = (): void => {
    if (!isOurs) return;
    isOurs = false;
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
    if (text.startsWith('start transaction')) inTransaction = true;
    // With the connection the transaction is gone.
    if (text === 'rollback' && lost) return { command: 'ROLLBACK', rows: [], rowCount: 0 };
    try {
      const result = await ask(portable(text), parameters);
      if (text === 'commit' || text === 'rollback') inTransaction = false;
      return result;
    } catch (error) {
      if (inTransaction || !lost || more === 0 || !/^select\b/i.test(text)) throw error;
    }
    // A question on a connection that was lost while it lay idle; the others that lie there may be, too.
    giveBack();
    client = await another();
    isOurs = true;
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

async function connect(another: () => Promise<pg.PoolClient>, place: PostgresPlace): Promise<PostgresPoolClient> {
  try {
    return lend(another, await another(), place);
  } catch (error) {
    throw storeProblem(error, place);
  }
}

function storeOf(pool: pg.Pool, place: PostgresPlace, busyMilliseconds: number): Store {
  const another = () => connectionOf(pool, Math.min(busyMilliseconds, place.connectMilliseconds));
  const dialect = new Dialect({ pool: { connect: () => connect(another, place), end: () => pool.end(), options: {} } });
  const db = new Kysely<Tables>({ dialect });
  const { alone, close: endAlone } = createAlone(place);
  const ground = { db, dialect, driver: dialect.createDriver(), pool, place, portable };
  const refusal = (): Problem => busyProblem(place);
  // However many acts wait for their turn, questions find a connection.
  const beside = atMost(Math.floor(place.connections / 2), refusal);
  const mayRepeat = (error: unknown): boolean => isSafeToRepeat(error) || isBusy(error);
  const acts = createActs({
    busyMilliseconds,
    most,
    pauses,
    lanes: place.connections < 6 ? 1 : 2,
    gathers: false,
    refusal,
    mayRepeat,
    transaction: (until, work) =>
      inTransaction(ground, beginning(until, `pg_advisory_xact_lock(${writeLock})`), async (open) => {
        await open.begun;
        return work(turnOf(open));
      }),
  });
  async function writeFor<T>(own: Own, act: (tx: Tx, isNarrow: boolean) => Promise<T>): Promise<T> {
    const locks = `pg_advisory_xact_lock_shared(${writeLock}), pg_advisory_xact_lock(${macLocks}, ${numberOf(own.macId)})`;
    const until = performance.now() + busyMilliseconds;
    for (let tries = 0; ; tries += 1) {
      try {
        return await beside(until, () => inTransaction(ground, beginning(until, locks), (open) => narrowly(open, own, (tx) => act(tx, true))));
      } catch (error) {
        if (error instanceof NotNarrow) break;
        if (!mayRepeat(error) || performance.now() >= until) throw error;
      }
      await sleep((pauses[tries] ?? 500) * (1 + Math.random()));
    }
    return acts.write((tx) => act(tx, false));
  }

  return {
    db,
    alone,
    time: () => timeAt(db),
    write(act) {
      return acts.write(act);
    },
    // Of fewer connections none would be left for questions.
    ...(place.connections < 4 ? {} : { writeFor }),
    async close() {
      await acts.idle();
      await endAlone();
      await db.destroy();
      // Kysely closes only what it has used.
      if (!pool.ending) await pool.end();
    },
  };
}

/** Every statement after it sees what was committed before the turn came: an act means what it means on SQLite. */
function beginning(until: number, locks: string): string {
  const milliseconds = Math.max(1, Math.ceil(until - performance.now()));
  // A plan is made once for a connection, maybe while the tables are empty and to read them whole is quickest; it stays until the server looks at
  // them again. Whatever an act asks has its index.
  return `begin isolation level read committed; set local lock_timeout = ${milliseconds}; set local enable_seqscan = off; select ${locks}`;
}

async function narrowly<T>(open: Open, own: Own, act: (tx: Tx) => Promise<T>): Promise<T> {
  const { look, mark, wasRefused } = watchNarrow(own);
  const { tx, end } = open.part(look);
  mark(tx);
  const done = act(tx).then(async (value) => {
    await end();
    return value;
  });
  const ended = await Promise.allSettled([done]);
  // Whatever the act made of it.
  if (wasRefused()) throw new NotNarrow();
  if (ended[0].status === 'rejected') throw ended[0].reason;
  return ended[0].value;
}

/** Opens a PostgreSQL database and brings it to today's shape, all or nothing. Backends of this and of the release before may go on meanwhile. */
export async function openPostgres(address: string, options: PostgresOptions): Promise<Store> {
  const { busyMilliseconds = 10_000, migrations, schema = migrations.length, mayCreate = true, patient: isPatient = false } = options;
  const place = { ...readPlace(address), ...(isPatient && { statementMilliseconds: aDay }) };
  const pool = poolOf(place, busyMilliseconds);
  const store = storeOf(pool, place, busyMilliseconds);
  try {
    await checkFit(pool, place);
    await migratePostgres(store, place, { ...options, schema, mayCreate }, () => {
      const patient = { ...place, connections: 2, statementMilliseconds: aDay };
      return storeOf(poolOf(patient, busyMilliseconds), patient, busyMilliseconds);
    });
    return store;
  } catch (error) {
    await store.close();
    throw storeProblem(error, place);
  }
}
