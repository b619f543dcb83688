import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as sleep, setImmediate as soon } from 'node:timers/promises';
import { type Kysely, sql } from 'kysely';
import type { Tx } from './parts.ts';
import { type Door, openDoor } from './store/asked.ts';
import type { Tables } from './tables.ts';

/*
 * What a commit costs is its way to the disk, whatever is in it. So acts that wait at the same time go into one transaction, one
 * after another, each in a savepoint of its own: each reads what those before it have written, and one that fails takes
 * back its own writes alone. Nobody is told anything, not even of a failure, which may follow from what another has written,
 * before the commit is on the disk; if that fails, all of them have failed.
 */

/**
 * Acts in one commit; milliseconds after which no further one is begun, since the first is not to wait for ever for the last;
 * milliseconds between two commits.
 */
const most = { acts: 128, milliseconds: 20, rest: 10 };
/** Between two tries for the lock of another process; with chance in it, so that those that wait do not come together. */
const pauseMilliseconds = 25;

interface Asked {
  act: (tx: Tx) => Promise<unknown>;
  until: number;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

export interface Acts {
  write<T>(act: (tx: Tx) => Promise<T>): Promise<T>;
  /** When all that was asked has been done. */
  idle(): Promise<void>;
}

export interface ActsOptions {
  /** How long an act waits for the lock of another process. */
  busyMilliseconds: number;
  /** Whether an error says that another process has the lock. */
  isBusy(error: unknown): boolean;
  /** On the connection itself. */
  carryOut: Door;
  /** Whether the transaction is still there: SQLite ends it by itself when the disk is full. */
  isInTransaction(): boolean;
}

/** Acts on the one connection of an SQLite database. */
export function createActs(db: Kysely<Tables>, { busyMilliseconds, isBusy, carryOut, isInTransaction }: ActsOptions): Acts {
  const waiting: Asked[] = [];
  let working: Promise<void> | null = null;
  /** How long the last commit took, what was in it, and when it was done. */
  let last = { took: 0, acts: 0, at: 0 };

  async function work(): Promise<void> {
    while (waiting.length > 0) {
      // Whatever has arrived by now is heard first, and goes along. Where many come, a slow disk gets no more than half of the
      // time: what arrives while it rests is in the next commit. Somebody who writes alone waits for nobody.
      const rest = last.acts + waiting.length > 2 ? last.at + Math.min(last.took, most.rest) - performance.now() : 0;
      await (rest >= 1 ? sleep(rest) : soon());
      if (await together()) continue;
      const now = performance.now();
      if (waiting.every(({ until }) => until > now)) await sleep(pauseMilliseconds * (1 + Math.random()));
    }
    working = null;
  }

  /** Some of those that wait, in one transaction. False where another process has the lock. */
  async function together(): Promise<boolean> {
    const taken: Asked[] = [];
    let carriedOutAt = 0;
    let isOpen = true;
    try {
      const ends = await db.transaction().execute(async (tx) => {
        const alone = waiting.length === 1;
        const began = performance.now();
        const done: (() => void)[] = [];
        do {
          const asked = waiting.shift();
          if (!asked) break;
          taken.push(asked);
          // One of its own: what is remembered with it is of this act alone.
          const own = tx.withoutPlugins();
          openDoor(own, (text, parameters) => (isOpen ? carryOut(text, parameters) : null));
          done.push(alone ? await whole(own, asked) : await inSavepoint(own, asked));
        } while (!alone && taken.length < most.acts && performance.now() - began < most.milliseconds);
        isOpen = false;
        carriedOutAt = performance.now();
        return done;
      });
      const at = performance.now();
      last = { took: at - carriedOutAt, acts: taken.length, at };
      for (const end of ends) end();
    } catch (error) {
      isOpen = false;
      for (const { reject } of taken) reject(error);
      if (taken.length > 0) return true;
      if (!isBusy(error)) waiting.shift()?.reject(error);
      else return refuseLate(error);
    }
    return true;
  }

  async function whole(tx: Tx, { act, resolve }: Asked): Promise<() => void> {
    const value = await act(tx);
    return () => resolve(value);
  }

  async function inSavepoint(tx: Tx, { act, resolve, reject }: Asked): Promise<() => void> {
    await sql`savepoint act`.execute(tx);
    try {
      const value = await act(tx);
      await sql`release act`.execute(tx);
      return () => resolve(value);
    } catch (error) {
      // What it had begun beside what failed comes to its end first: it is taken back with it, and is in no other's part.
      await soon();
      if (!isInTransaction()) throw error;
      await sql`rollback to act`.execute(tx);
      await sql`release act`.execute(tx);
      return () => reject(error);
    }
  }

  function refuseLate(error: unknown): false {
    const now = performance.now();
    for (const asked of waiting.splice(0)) {
      if (asked.until > now) waiting.push(asked);
      else asked.reject(error);
    }
    return false;
  }

  return {
    write<T>(act: (tx: Tx) => Promise<T>): Promise<T> {
      // Whose request it is goes with the act, and not with whoever came first.
      const inContext = AsyncLocalStorage.snapshot();
      return new Promise<T>((resolve, reject) => {
        waiting.push({ act: (tx) => inContext(() => act(tx)), until: performance.now() + busyMilliseconds, resolve: resolve as Asked['resolve'], reject });
        working ??= work();
      });
    },
    idle: async () => void (await working),
  };
}
