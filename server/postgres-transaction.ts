import { type DatabaseConnection, type Dialect, type Driver, type Kysely, type QueryResult, Transaction } from 'kysely';
import type pg from 'pg';
import { Problem } from '../protocol/problems.ts';
import type { Turn } from './database-acts.ts';
import { type PostgresPlace, placeName } from './database-url.ts';
import type { Tx } from './parts.ts';
import { isLost, isOfServer, storeProblem } from './postgres-errors.ts';
import type { NamedQuery } from './store/asked.ts';
import type { Tables } from './tables.ts';

/*
 * A transaction on a connection of its own. Statements are sent as they are asked, without waiting for the answer of the one before
 * (`pipeline` of the pool), so that what begins and divides it costs no way there and back. PostgreSQL carries out nothing after a statement
 * that failed until the savepoint is gone back to: the act that it belongs to is taken back, whatever it makes of the error.
 */

export interface Ground {
  db: Kysely<Tables>;
  dialect: Dialect;
  driver: Driver;
  pool: pg.Pool;
  place: PostgresPlace;
  /** Statements of migrations that have shipped, as PostgreSQL takes them. */
  portable(text: string): string;
}

/** Looks at what is asked before it is sent; throws where it may not be. */
export type Look = (text: string, parameters: readonly unknown[]) => void;

interface Part {
  tx: Tx;
  /** From here on nothing is asked in it. When what it asked is answered: throws where the database took it back. */
  end(): Promise<void>;
}

export interface Open {
  /** That it has begun, and has its locks. */
  begun: Promise<unknown>;
  /** Of one act. */
  part(look?: Look): Part;
  /** Of ours, between the acts. */
  ask(text: string): Promise<unknown>;
  /** Why the connection is gone, and the transaction with it. */
  lostBy(): unknown;
}

const isRead = (text: string): boolean => /^select\b/i.test(text);

/** `opening` begins it and takes its locks. What the commit was answered is told to nobody before its answer. */
export async function inTransaction<T>(ground: Ground, opening: string, work: (open: Open) => Promise<T>): Promise<T> {
  const { pool, place } = ground;
  const named = (error: unknown): unknown => storeProblem(error, place);
  const client = await pool.connect().catch((error: unknown) => {
    throw named(error);
  });
  let lostBy: unknown = null;
  let isWhole = true;
  let isUnknown = false;
  let isOver = false;
  const noteLoss = (error: unknown): void => {
    lostBy ??= error;
  };
  client.on('error', noteLoss);
  async function ask(text: string, parameters: readonly unknown[] = [], name?: string): Promise<pg.QueryResult> {
    try {
      return await client.query(name === undefined ? { text, values: [...parameters] } : { name, text, values: [...parameters] });
    } catch (error) {
      if (isLost(error)) noteLoss(error);
      throw error;
    }
  }
  const begun = ask(opening);
  begun.catch(() => undefined);
  try {
    const value = await work({ begun, part: (look) => partOf(ground, { begun, ask, isOver: () => isOver }, look), ask, lostBy: () => lostBy });
    await begun;
    if (lostBy !== null) throw lostBy;
    isOver = true;
    await commit();
    return value;
  } catch (error) {
    // What an act has left behind is not sent outside of it.
    isOver = true;
    if (lostBy === null)
      await ask('rollback').catch(() => {
        isWhole = false;
      });
    throw named(await reasonOf(error));
  } finally {
    client.off('error', noteLoss);
    client.release(lostBy !== null || !isWhole);
  }

  async function commit(): Promise<void> {
    const result = await ask('commit').catch((error: unknown) => {
      isUnknown = lostBy !== null;
      // Without a cause: it is never done again.
      throw isUnknown ? problem(place, 'the connection was lost at the end of the act; whether it was stored is not known') : error;
    });
    if (result.command !== 'COMMIT') throw takenBack(place);
  }

  /** An act may have made something else of it that the transaction is gone, or never began. */
  async function reasonOf(error: unknown): Promise<unknown> {
    if (isUnknown) return error;
    return (
      lostBy ??
      (await begun.then(
        () => error,
        (why: unknown) => why,
      ))
    );
  }
}

const problem = (place: PostgresPlace, words: string): Problem => new Problem('STORE_FAILED', `${placeName(place)}: ${words}`);
const takenBack = (place: PostgresPlace): Problem => problem(place, 'an act in which a statement failed was taken back');

interface Within {
  begun: Promise<unknown>;
  ask(text: string, parameters: readonly unknown[], name?: string): Promise<pg.QueryResult>;
  isOver(): boolean;
}

function partOf({ db, dialect, driver, place, portable }: Ground, { begun, ask, isOver: isAllOver }: Within, look?: Look): Part {
  const asked = new Set<Promise<unknown>>();
  let isOver = false;
  let hasFailed = false;
  const connection: DatabaseConnection = {
    async executeQuery<Row>({ sql, parameters, name }: NamedQuery): Promise<QueryResult<Row>> {
      refuseLate();
      look?.(sql, parameters);
      // Nothing is written but inside of it; a question that is asked outside comes to nothing.
      if (!isRead(sql)) await begun;
      refuseLate();
      const answer = ask(portable(sql), parameters, name);
      asked.add(answer);
      try {
        const { command, rowCount, rows } = await answer;
        return { rows, ...(changing.has(command) ? { numAffectedRows: BigInt(rowCount ?? 0) } : {}) };
      } catch (error) {
        hasFailed ||= isOfServer(error);
        throw storeProblem(error, place);
      } finally {
        asked.delete(answer);
      }
    },
    streamQuery() {
      throw new Error('an act reads no stream');
    },
  };
  function refuseLate(): void {
    if (isOver || isAllOver()) throw new Error('the act is committed or taken back: nothing more is asked in it');
  }
  const executor = db.getExecutor().withConnectionProvider({ provideConnection: (consume) => consume(connection) });
  const tx = new Transaction<Tables>({ config: { dialect }, dialect, driver, executor });
  return {
    tx,
    async end() {
      isOver = true;
      await Promise.allSettled(asked);
      if (hasFailed) throw takenBack(place);
    },
  };
}
const changing = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE']);

/** Acts one after another in it, each in a savepoint of its own. */
export function turnOf({ part, ask, lostBy }: Open): Turn {
  let present: Part | null = null;
  /** A savepoint in which nothing has been written yet. */
  let isFresh = false;
  let hasSavepoint = false;
  return {
    async next(alone) {
      if (!alone && !isFresh) {
        // Where it fails, so does whatever comes after it.
        ask(hasSavepoint ? 'release savepoint act; savepoint act' : 'savepoint act').catch(() => undefined);
        hasSavepoint = true;
      }
      isFresh = false;
      present = part();
      return present.tx;
    },
    async keep() {
      await present?.end();
    },
    async takeBack(because) {
      await present?.end().catch(() => undefined);
      if (lostBy() !== null) throw because;
      await ask('rollback to savepoint act');
      isFresh = true;
    },
  };
}
