import { readSync } from 'node:fs';

/** Milliseconds between two looks at a pipe in which nothing is yet. */
const lookEvery = 10;

/**
 * Reads the next bytes and waits for them; 0 is the end. Loading a module that imports `node:process` as a module, as
 * commander does, lets standard input answer `EAGAIN` while whoever writes into it still thinks.
 */
export function readNext(handle: number, into: Uint8Array): number {
  for (;;) {
    try {
      return readSync(handle, into, 0, into.length, null);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, lookEvery);
    }
  }
}
