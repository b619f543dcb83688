import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { cksum } from './cksum.ts';
import { PackageFailed } from './failure.ts';

/*
 * What is in a file of the package, as parts one after another: bytes, or a file on this machine. The runtime has 147 MB for
 * each kind of processor, so nothing here holds a whole file.
 */

export interface FilePart {
  file: string;
  bytes: number;
  /** Hex: what it was when it was looked at. Each reading compares, since a file may be changed between check and packing. */
  sha256?: string;
}
export type Contents = readonly (Buffer | FilePart)[];

export interface Entry {
  /** Relative to the volume, such as `Library/Sparekey/bin/node`; '' is the volume itself. */
  path: string;
  /** Permissions. Owner and group are root and wheel, always. */
  mode: number;
  /** Null: a folder. */
  contents: Contents | null;
}

export interface Measured extends Entry {
  bytes: number;
  cksum: number;
  /** Hex; '' for a folder. */
  sha256: string;
}

const chunkBytes = 1 << 20;

export const text = (value: string): Contents => [Buffer.from(value)];

export const bytesOf = (contents: Contents): number => contents.reduce((sum, part) => sum + (Buffer.isBuffer(part) ? part.length : part.bytes), 0);

/** Each chunk is the reader's own: gzip holds on to what it was given. */
export function* read(contents: Contents): Generator<Buffer> {
  for (const part of contents) {
    if (Buffer.isBuffer(part)) {
      if (part.length > 0) yield part;
      continue;
    }
    const file = openSync(part.file, 'r');
    const hash = part.sha256 === undefined ? null : createHash('sha256');
    try {
      let left = part.bytes;
      while (left > 0) {
        const buffer = Buffer.allocUnsafe(Math.min(chunkBytes, left));
        const length = readSync(file, buffer, 0, buffer.length, null);
        if (length === 0) break;
        left -= length;
        hash?.update(buffer.subarray(0, length));
        yield buffer.subarray(0, length);
      }
      if (left > 0 || readSync(file, Buffer.alloc(1)) > 0 || (hash !== null && hash.digest('hex') !== part.sha256)) throw changedWhile(part.file);
    } finally {
      closeSync(file);
    }
  }
}

export const changedWhile = (what: string): PackageFailed =>
  new PackageFailed(`${what} is not what it was when it was looked at`, 'an admin looks who changes files on this machine, and makes the package again', 78);

/** A file as it is now, and has to be at each reading. */
export function fixed(file: string): FilePart {
  const bytes = statSync(file).size;
  return { file, bytes, sha256: digestOf(file, 'sha256').toString('hex') };
}

export function digestOf(file: string, algorithm: 'sha256' | 'sha512'): Buffer {
  const hash = createHash(algorithm);
  for (const chunk of read([{ file, bytes: statSync(file).size }])) hash.update(chunk);
  return hash.digest();
}

export function measure(entry: Entry): Measured {
  if (entry.contents === null) return { ...entry, bytes: 0, cksum: 0, sha256: '' };
  const sum = cksum();
  const hash = createHash('sha256');
  for (const chunk of read(entry.contents)) {
    sum.update(chunk);
    hash.update(chunk);
  }
  return { ...entry, bytes: bytesOf(entry.contents), cksum: sum.digest(), sha256: hash.digest('hex') };
}
