import { sql } from 'kysely';
import { Problem } from '../protocol/problems.ts';
import { aloneFrom } from './narrow-acts.ts';
import type { Clock, Store, Tx } from './parts.ts';
import { firstOf } from './store/asked.ts';

export interface ServerClock extends Clock {
  /**
   * The time of an act. Stores it with the act as the new high-water mark: one statement more in a transaction that is
   * written anyway. Takes the mark of other processes into account, so that no act is dated before another.
   */
  persist(tx: Tx): Promise<number>;
  /** Before a narrow act (narrow-acts.ts): sees to it that the mark is not older than a moment, where another act has not. */
  keepNear(): Promise<void>;
  /** The time of a narrow act: a millisecond after the mark, so that it is dated after any other act, and writes no row that all of them write. */
  timeOf(tx: Tx): Promise<number>;
}

const mark = 'clock';
/** By how much a narrow act may be dated before it is done. */
const nearMs = 200;
/** The mark could not be written for so long: the act is done alone, and writes it. */
const farMs = 2000;
/** Network time nudges a clock by less than this all day; only more is worth a word. */
const worthSayingMs = 2000;
/** Several backends date the acts of all; one whose clock is ahead would date them for ever, as time never steps back. */
export const mostAheadMs = 60_000;

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

const readMark = firstOf((db, name: string) => db.selectFrom('memory').select('value').where('name', '=', name));

const sayOnStderr = (words: string): void => process.emitWarning(words, 'ServerClock');

/** Milliseconds that the clock of this machine is ahead of the database's, behind it below zero; what the way there took counts for neither. */
export async function aheadOfDatabase({ time }: Pick<Store, 'time'>): Promise<number> {
  if (!time) return 0;
  const before = Date.now();
  const there = await time();
  const after = Date.now();
  return there < before ? before - there : Math.min(0, after - there);
}

/** For people. */
export const sayAhead = (ahead: number): string => `${Math.round(Math.abs(ahead) / 1000)} s ${ahead > 0 ? 'ahead of' : 'behind'} the clock of the database`;

async function refuseOtherTime(store: Store): Promise<void> {
  const ahead = await aheadOfDatabase(store);
  if (Math.abs(ahead) > mostAheadMs) throw new Problem('CLOCKS_DIFFER', `the clock of this machine is ${sayAhead(ahead)}`);
}

/**
 * Every time that decides anything comes from here and never steps back, neither while the server runs nor
 * over a restart. While the wall clock is behind, time goes on from the mark at its usual pace: holds and nonces still end.
 */
export async function openClock(store: Store, given?: () => number, warn: (words: string) => void = sayOnStderr): Promise<ServerClock> {
  const wallNow = given ?? Date.now;
  if (!given) await refuseOtherTime(store);
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

  let marked = last;
  let nearing: Promise<void> | null = null;
  function see(kept: number): void {
    marked = Math.max(marked, kept);
    if (kept <= last) return;
    last = kept;
    behind = null;
  }

  return {
    now,
    async persist(tx) {
      see(Number((await keepMark(tx, mark, String(now())))?.value));
      return last;
    },
    async keepNear() {
      if (now() - marked < nearMs) return;
      nearing ??= keepMark(store.db, mark, String(now()))
        .then((row) => see(Number(row?.value)))
        // The act that comes after it finds the mark far off.
        .catch(() => undefined)
        .finally(() => {
          nearing = null;
        });
      await nearing;
    },
    async timeOf(tx) {
      const kept = Number((await readMark(tx, mark))?.value ?? 0);
      see(kept);
      if (now() - kept > farMs) aloneFrom(tx);
      // After the act that wrote it, where it is after it: whether a Mac said something before or after an act is a comparison of
      // their times. And not after what this backend gives the next one.
      return Math.min(now(), kept + 1);
    },
  };
}
