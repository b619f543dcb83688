import { AsyncLocalStorage } from 'node:async_hooks';

/** By what an act came in, for its record: nothing here decides anything. */
export interface Asking {
  requestId?: string | null;
  /** The address it was asked from, or the network of it. */
  network?: string | null;
  tokenId?: string | null;
}

const present = new AsyncLocalStorage<Asking>();

/** Whatever is recorded while this runs says by which request it came. Acts are many files deep: none of them has to pass it on. */
export const whileAsking = <T>(asking: Asking, work: () => T): T => present.run(asking, work);

export const askingNow = (): Asking => present.getStore() ?? {};
