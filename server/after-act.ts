import type { Store, Tx } from './parts.ts';

/*
 * An act may be taken back after it was carried out, and may be carried out twice: where its connection is lost before the commit, or
 * another has to come first. So whatever it does beside the database is done once, when it is stored, and not at all where it is not.
 */

const waiting = new WeakMap<Tx, (() => void)[]>();

/** In an act: done once it is stored, such as what is said of it in the log. */
export function afterAct(tx: Tx, work: () => void): void {
  const works = waiting.get(tx);
  if (works) works.push(work);
  else waiting.set(tx, [work]);
}

/** The same store, which does after each act what that has left to be done. */
export function doingAfterActs(store: Store): Store {
  async function storing<T>(write: (stored: (tx: Tx, value: T) => T) => Promise<T>): Promise<T> {
    let works: (() => void)[] = [];
    const result = await write((tx, value) => {
      // Of the last time that it was carried out.
      works = waiting.get(tx) ?? [];
      waiting.delete(tx);
      return value;
    });
    for (const work of works)
      try {
        work();
      } catch (error) {
        // The act is stored, whatever becomes of what is told of it.
        process.emitWarning(error instanceof Error ? error.message : String(error), 'AfterAct');
      }
    return result;
  }
  const { write, writeFor } = store;
  return {
    ...store,
    write: (act) => storing((stored) => write(async (tx) => stored(tx, await act(tx)))),
    ...(writeFor && { writeFor: (own, act) => storing((stored) => writeFor(own, async (tx, isNarrow) => stored(tx, await act(tx, isNarrow)))) }),
  };
}
