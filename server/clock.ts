import { sql } from 'kysely';
import type { Clock, Store, Tx } from './parts.ts';
import { firstOf } from './store/asked.ts';

export interface ServerClock extends Clock {
  /**
   * The time of an act. Stores it with the act as the new high-water mark: one statement more in a transaction that is
   * written anyway. Takes the mark of other processes into account, so that no act is dated before another.
   */
  persist(tx: Tx): Promise<number>;
}

const mark = 'clock';
/** Network time nudges a clock by less than this all day; only more is worth a word. */
const worthSayingMs = 2000;

const keepMark = firstOf((db, name: string, value: string) =>
  db
    .insertInto('memory')
    .values({ name, value })
    .onConflict((conflict) =>
      conflict.column('name').doUpdateSet({
        value: sql<string>`case when cast(memory.value as bigint) > cast(excluded.value as bigint) then memory.value else excluded.value end`,
      }),
    )
    .returning('value'),
);

const sayOnStderr = (words: string): void => process.emitWarning(words, 'ServerClock');

/**
 * Every time that decides anything comes from here and never steps back, neither while the server runs nor
 * over a restart. While the wall clock is behind, time goes on from the mark at its usual pace: holds and nonces still end.
 */
export async function openClock(store: Store, wallNow: () => number = Date.now, warn: (words: string) => void = sayOnStderr): Promise<ServerClock> {
  const stored = await store.db.selectFrom('memory').select('value').where('name', '=', mark).executeTakeFirst();
  let last = Number(stored?.value ?? 0);
  /** Since when the wall clock has been behind. */
  let behind: { from: number; monotonic: number } | null = null;
  let warned = false;

  function now(): number {
    const wall = Math.floor(wallNow());
    if (wall >= last) {
      behind = null;
      warned = false;
      last = wall;
      return last;
    }
    if (!warned && last - wall > worthSayingMs) {
      warned = true;
      warn(`the clock of this machine is ${Math.round((last - wall) / 1000)} s behind the time that the server has already used; it goes on from there`);
    }
    behind ??= { from: last, monotonic: performance.now() };
    last = Math.max(last, behind.from + Math.floor(performance.now() - behind.monotonic));
    return last;
  }

  return {
    now,
    async persist(tx) {
      const kept = Number((await keepMark(tx, mark, String(now())))?.value);
      if (kept > last) {
        last = kept;
        behind = null;
      }
      return last;
    },
  };
}
