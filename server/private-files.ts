import { closeSync, existsSync, fstatSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Problem } from '../protocol/problems.ts';

/** Makes a rename or a new file in `folder` durable. */
export function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** A new file that only its owner can read, on the disk when this returns. Never replaces one. */
export function writePrivate(path: string, content: string | Uint8Array): void {
  const handle = openSync(path, 'wx', 0o600);
  try {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    for (let done = 0; done < bytes.length; ) done += writeSync(handle, bytes, done);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  syncFolder(dirname(path));
}

/** Replaces a private file in one step: whoever reads it sees the old one or the new one. */
export function replacePrivate(path: string, content: string | Uint8Array): void {
  const fresh = `${path}.new`;
  rmSync(fresh, { force: true });
  writePrivate(fresh, content);
  renameSync(fresh, path);
  syncFolder(dirname(path));
}

/** Reads a file that nobody else may read; `FILE_TOO_OPEN` where others can. */
export const readPrivate = (path: string): Buffer => readOpened(path, true);

/** Reads a file that is no secret, such as a certificate. */
export const readPublic = (path: string): Buffer => readOpened(path, false);

function readOpened(path: string, isPrivate: boolean): Buffer {
  let handle: number;
  try {
    handle = openSync(path, 'r');
  } catch (error) {
    throw new Problem('DATA_FOLDER_MISSING', `${path} cannot be opened (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`, { cause: error });
  }
  try {
    if (isPrivate && (fstatSync(handle).mode & 0o077) !== 0) throw new Problem('FILE_TOO_OPEN', path);
    return readFileSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** A folder that only its owner can enter. */
export function makePrivateFolder(path: string): void {
  mkdirSync(path, { mode: 0o700 });
}

export function refuseExisting(path: string): void {
  if (existsSync(path)) throw new Problem('DATA_FOLDER_EXISTS', path);
}

const cannotWrite = ['EACCES', 'EPERM', 'EROFS', 'EFBIG', 'EIO'];

/** Room is made, and then all goes on by itself: whatever else keeps us from writing waits for a person. */
const noRoom = ['ENOSPC', 'EDQUOT'];

/** `DISK_FULL`, or `DATA_FOLDER_UNWRITABLE` where the system refuses to write for another reason; any other error as it is. */
export function unwritable(path: string, error: unknown): unknown {
  const { code = '' } = error as NodeJS.ErrnoException;
  if (noRoom.includes(code)) return new Problem('DISK_FULL', `${path} (${code})`, { cause: error });
  return cannotWrite.includes(code) ? new Problem('DATA_FOLDER_UNWRITABLE', `${path} (${code})`, { cause: error }) : error;
}

/** Less than this is no room for a database to work in. */
const probeBytes = 1024 * 1024;

/** Writes a file in `folder` and takes it away again: permissions alone tell nothing of a full or read-only disk. */
export function tryWriting(folder: string): void {
  // One name: what a crash leaves here is taken up by the next start.
  const probe = join(folder, '.writable');
  try {
    const handle = openSync(probe, 'w', 0o600);
    try {
      const bytes = Buffer.alloc(probeBytes);
      for (let done = 0; done < bytes.length; ) done += writeSync(handle, bytes, done);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
      rmSync(probe, { force: true });
    }
  } catch (error) {
    throw unwritable(folder, error);
  }
}
