import { EventEmitter } from 'node:events';
import type { Store, Tx } from './parts.ts';
import { doneAfter, lastEntryOf } from './store/news.ts';

/*
 * A Mac may wait for an answer (waiting.ts). Whoever writes something that it should hear of says so in the same act; after
 * the commit, and never before it, those that wait are told: in this process, and in every other one that has the same database
 * (database-news.ts, database-changes.ts). A word that is lost costs a minute: the wait ends by itself.
 */

/** Null: whichever Mac waits may have something new. */
export type Wake = (macId: string | null) => void;

export interface Wakening {
  /** Calls `wake` for each Mac that has something new; returns how to end that. */
  hear(wake: Wake): () => void;
  close(): Promise<void>;
}

/** How the word comes to other processes, and from them. PostgreSQL gives it with the commit, and not without. */
export interface Carrier {
  tell(tx: Tx, macs: readonly (string | null)[]): Promise<void>;
  hear(wake: Wake): Promise<{ close(): Promise<void> }>;
}

/** Of the audit: after these a Mac is told something else than before. */
const newsForMac = new Set([
  'rotation.ordered',
  'debt.opened',
  'proof.ordered',
  'hold.ended',
  'alarm.settled',
  'alarm.judged',
  'enrolment.confirmed',
  'mac.tagged',
]);
/** The rules of whichever Mac waits may be others now. */
const newsForAll = new Set(['policy.made', 'policy.changed', 'policy.ended']);
const isNews = (macId: string | null, act: string): boolean =>
  // What becomes of a Mac in its ring lets its replacement go on, or keeps it back.
  macId === null ? newsForAll.has(act) : newsForMac.has(act) || act.startsWith('ring.');
const noted = new WeakMap<Tx, Set<string | null>>();

/** In an act: this Mac has something new, if the act is stored. */
export function noteNews(tx: Tx, macId: string | null, act: string): void {
  if (!isNews(macId, act)) return;
  const macs = noted.get(tx) ?? new Set();
  noted.set(tx, macs.add(macId));
}

/** Follows the audit of a database, for whoever may not have heard every word. */
export interface Following {
  /** All before this was heard: an entry of the audit. */
  heardTo(seq: number): void;
  /** Tells of all that came since. */
  catchUp(): Promise<void>;
}

export async function followNews(db: Store['db'], wake: Wake): Promise<Following> {
  let heard = await lastEntryOf(db);
  return {
    heardTo(seq) {
      heard = Math.max(heard, seq);
    },
    async catchUp() {
      const rows = await doneAfter(db, heard);
      if (rows === null) heard = await lastEntryOf(db);
      else heard = rows.at(-1)?.seq ?? heard;
      const macs = rows === null ? [null] : rows.filter((row) => isNews(row.mac_id, row.act)).map((row) => row.mac_id);
      for (const macId of new Set(macs)) wake(macId);
    },
  };
}

/** The same store, whose acts wake those that wait. */
export async function wakeAfterActs(store: Store, carrier: Carrier | null): Promise<{ store: Store; wakening: Wakening }> {
  const emitter = new EventEmitter().setMaxListeners(0);
  const wake: Wake = (macId) => void emitter.emit('news', macId);
  const heard = (await carrier?.hear(wake)) ?? null;
  /** `write` with what the act has noted told, in it and after it. */
  async function telling<T>(write: (tell: (tx: Tx, done: T) => Promise<T>) => Promise<T>): Promise<T> {
    let macs: (string | null)[] = [];
    const result = await write(async (tx, done) => {
      macs = [...(noted.get(tx) ?? [])];
      noted.delete(tx);
      if (macs.length > 0) await carrier?.tell(tx, macs);
      return done;
    });
    for (const macId of macs) wake(macId);
    return result;
  }
  const { writeFor } = store;
  const waking: Store = {
    ...store,
    write: (act) => telling((tell) => store.write(async (tx) => tell(tx, await act(tx)))),
    ...(writeFor && { writeFor: (own, act) => telling((tell) => writeFor(own, async (tx, isNarrow) => tell(tx, await act(tx, isNarrow)))) }),
  };
  const wakening: Wakening = {
    hear(listener) {
      emitter.on('news', listener);
      return () => void emitter.off('news', listener);
    },
    close: async () => void (await heard?.close()),
  };
  return { store: waking, wakening };
}
