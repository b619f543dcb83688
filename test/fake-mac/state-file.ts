// The state as a file, `.fake/state.json` under the Mac's root: replaced as a whole (temp + rename), so that a killed
// process leaves the old or the new one, and changed under a lock, because commands, job and keychain come at the same time.
import { existsSync, linkSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type MacState, NotOnThisMac } from './state.ts';

export const fakeFolder = (root: string): string => join(root, '.fake');
export const stateFile = (root: string): string => join(fakeFolder(root), 'state.json');
const lockFile = (root: string): string => join(fakeFolder(root), 'lock');

/** Dead, and not yet fetched by its parent: in a container there may be nobody to do that. Only Linux shows it here. */
const isZombie = (pid: number): boolean => {
  try {
    return / Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\)/, ')'));
  } catch {
    return false;
  }
};

export const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return !isZombie(pid);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
};

const sleep = (ms: number): void => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
};

/** Takes the lock of a process that is dead. Whoever finds that it moved somebody else's puts it back. */
const breakLock = (lock: string, seen: string): void => {
  const aside = `${lock}.${process.pid}.${process.hrtime.bigint()}`;
  try {
    renameSync(lock, aside);
    if (readFileSync(aside, 'utf8') !== seen) linkSync(aside, lock);
    unlinkSync(aside);
  } catch {
    // Another one was quicker; the next round sees what is there.
  }
};

let held: string | null = null;

/** Runs `act` with the Mac's state to itself. Nested calls of one process run in the outer one. */
export const withLock = <T>(root: string, act: () => T): T => {
  const lock = lockFile(root);
  if (held === lock) return act();
  const mine = `${process.pid} ${process.hrtime.bigint()}`;
  // Signed before it is there: whoever finds it knows its owner, however long that one sleeps in between.
  const signed = `${lock}.${mine.replace(' ', '.')}`;
  writeFileSync(signed, mine, { mode: 0o600 });
  const until = Date.now() + 60_000;
  for (;;) {
    try {
      linkSync(signed, lock);
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    if (Date.now() > until) throw new Error(`the fake Mac at ${root} is busy: ${lock} was held for a minute`);
    try {
      const seen = readFileSync(lock, 'utf8');
      if (!alive(Number(seen.split(' ')[0]))) breakLock(lock, seen);
    } catch {
      // It was given back in between.
    }
    sleep(2);
  }
  unlinkSync(signed);
  const outer = held;
  held = lock;
  try {
    return act();
  } finally {
    held = outer;
    try {
      if (readFileSync(lock, 'utf8') === mine) unlinkSync(lock);
    } catch {
      // The whole Mac was removed meanwhile.
    }
  }
};

export const replaceFile = (path: string, bytes: string | Uint8Array, mode = 0o600): void => {
  const temporary = `${path}.${process.pid}.${process.hrtime.bigint()}.new`;
  writeFileSync(temporary, bytes, { mode });
  renameSync(temporary, path);
};

export const readStateText = (root: string): string => {
  if (!existsSync(stateFile(root))) throw new NotOnThisMac(`there is no fake Mac at ${root}; make one with: fake-mac create ${root}`);
  return readFileSync(stateFile(root), 'utf8');
};

export const parseState = (root: string, text: string): MacState => {
  const state = JSON.parse(text) as MacState;
  if (state.version !== 1) throw new NotOnThisMac(`the fake Mac at ${root} is of another version; make a new one`);
  return state;
};

export const readState = (root: string): MacState => parseState(root, readStateText(root));

export const writeState = (root: string, state: MacState): void => replaceFile(stateFile(root), JSON.stringify(state));
