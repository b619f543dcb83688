import { EventEmitter } from 'node:events';
import type { Store, Tx } from './parts.ts';

/*
 * A Mac may wait for an answer (waiting.ts). Whoever writes something that it should hear of says so in the same act; after
 * the commit, and never before it, those that wait are told: in this process, and where the database is PostgreSQL in every
 * backend (LISTEN, NOTIFY). A word that is lost costs a minute: the wait ends by itself.
 */

export interface Wakening {
  /** Calls `wake` for each Mac that has something new; returns how to end that. */
  hear(wake: (macId: string) => void): () => void;
  close(): Promise<void>;
}

/** How a database carries the word to other backends. PostgreSQL gives it with the commit, and not without. */
export interface Carrier {
  tell(tx: Tx, macIds: readonly string[]): Promise<void>;
  hear(wake: (macId: string) => void): Promise<{ close(): Promise<void> }>;
}

/** Of the audit: after these a Mac is told something else than before. */
const newsForMac = new Set(['rotation.ordered', 'debt.opened', 'proof.ordered', 'hold.ended', 'alarm.settled', 'alarm.judged', 'enrolment.confirmed']);
const noted = new WeakMap<Tx, Set<string>>();

/** In an act: this Mac has something new, if the act is stored. */
export function noteNews(tx: Tx, macId: string, act: string): void {
  if (!newsForMac.has(act)) return;
  const macs = noted.get(tx) ?? new Set();
  noted.set(tx, macs.add(macId));
}

/** The same store, whose acts wake those that wait. */
export async function wakeAfterActs(store: Store, carrier: Carrier | null): Promise<{ store: Store; wakening: Wakening }> {
  const emitter = new EventEmitter().setMaxListeners(0);
  const wake = (macId: string): void => void emitter.emit('news', macId);
  const heard = (await carrier?.hear(wake)) ?? null;
  const waking: Store = {
    ...store,
    async write(act) {
      let macs: string[] = [];
      const result = await store.write(async (tx) => {
        const done = await act(tx);
        macs = [...(noted.get(tx) ?? [])];
        noted.delete(tx);
        if (macs.length > 0) await carrier?.tell(tx, macs);
        return done;
      });
      for (const macId of macs) wake(macId);
      return result;
    },
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
