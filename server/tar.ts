import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, readSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Problem } from '../protocol/problems.ts';

/**
 * As much of POSIX tar (ustar) as a backup needs: regular files, private, in one stream, so that any `tar` opens a
 * backup on the day this software is gone. Reading takes nothing but what writing makes.
 */
const block = 512;
const chunkBytes = 1024 * 1024;
/** Of one file, as ustar itself has room for its size. */
const mostOctal = 0o77777777777;
/** A data folder has some ten files, and two more for each escrow key pair. What is written is never more than what is read. */
const mostMembers = 1000;
/** Parts of the audit that were taken out of the database: four a day at the most, for as long as the backend runs. */
const mostParts = 50_000;
const isPart = (name: string): boolean => name.startsWith('audit-archive/');
const names = /^(?:[A-Za-z0-9][A-Za-z0-9._-]{0,80}\/)?[A-Za-z0-9][A-Za-z0-9._-]{0,90}$/;

export const isTarName = (name: string): boolean => names.test(name);

export interface Member {
  name: string;
  bytes: number;
  sha256: string;
}

/** In octal, and beyond 8 GiB in base 256, as GNU tar and bsdtar have it: the sign is the highest bit. */
function sizeField(bytes: number): Buffer {
  const field = Buffer.alloc(12);
  if (bytes <= mostOctal) field.write(`${bytes.toString(8).padStart(11, '0')}\0`);
  else {
    field.writeUIntBE(bytes, 6, 6);
    field[0] = 0x80;
  }
  return field;
}
/** The last six bytes take 256 TiB; what is in those before them is no size of ours, as the header that is made again shows. */
const sizeIn = (field: Buffer): number => (((field[0] ?? 0) & 0x80) === 0 ? Number.parseInt(field.toString('latin1'), 8) : field.readUIntBE(6, 6));

/** The header of one member, owned by root. `prefix/name` is its path where that is longer than 100 bytes. */
export function ustarHeader(prefix: string, name: string, bytes: number, seconds: number, mode: number): Buffer {
  const head = Buffer.alloc(block);
  head.write(name, 0, 100, 'ascii');
  head.write(`${mode.toString(8).padStart(7, '0')}\0`, 100);
  head.write('0000000\0', 108);
  head.write('0000000\0', 116);
  sizeField(bytes).copy(head, 124);
  head.write(`${seconds.toString(8).padStart(11, '0')}\0`, 136);
  head.write('        ', 148);
  head.write('0', 156);
  head.write('ustar\x0000', 257);
  head.write(prefix, 345, 155, 'ascii');
  const sum = head.reduce((total, byte) => total + byte, 0);
  head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return head;
}

function header(name: string, bytes: number, seconds: number): Buffer {
  if (!names.test(name)) throw new TypeError(`no name for a backup: ${name}`);
  return ustarHeader('', name, bytes, seconds, 0o600);
}

export const padding = (bytes: number): Buffer => Buffer.alloc((block - (bytes % block)) % block);

function writeAll(handle: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(handle, bytes, done);
}

function roomForMembers() {
  const left = { members: mostMembers, parts: mostParts };
  return { takes: (name: string): boolean => (isPart(name) ? left.parts-- : left.members--) > 0 };
}

export function openTar(path: string) {
  const handle = openSync(path, 'wx', 0o600);
  const seconds = Math.floor(Date.now() / 1000);
  const room = roomForMembers();
  return {
    /** Copies a file into the archive; its size must not change meanwhile. */
    add(name: string, from: string | Buffer, bytes: number): Member {
      const hash = createHash('sha256');
      if (!room.takes(name)) throw new Problem('STORE_FAILED', 'the data folder has more files than a backup takes');
      writeAll(handle, header(name, bytes, seconds));
      let total = 0;
      for (const chunk of typeof from === 'string' ? chunksOf(from) : [from]) {
        hash.update(chunk);
        writeAll(handle, chunk);
        total += chunk.length;
      }
      if (total !== bytes) throw new Problem('STORE_FAILED', `${name} changed while it was copied`);
      writeAll(handle, padding(bytes));
      return { name, bytes, sha256: hash.digest('hex') };
    },
    finish(): void {
      writeAll(handle, Buffer.alloc(2 * block));
      fsyncSync(handle);
      closeSync(handle);
    },
    abandon: () => closeSync(handle),
  };
}

function* chunksOf(path: string): Generator<Buffer> {
  const handle = openSync(path, 'r');
  try {
    const chunk = Buffer.alloc(chunkBytes);
    for (;;) {
      const count = readSync(handle, chunk, 0, chunk.length, null);
      if (count === 0) return;
      yield chunk.subarray(0, count);
    }
  } finally {
    closeSync(handle);
  }
}

/** Of a member as a backup has it; what else a header may be is refused. */
export function readHeader(head: Buffer, invalid: (why: string) => Problem): { name: string; bytes: number } {
  const text = (from: number, length: number) => head.toString('latin1', from, from + length).replace(/\0.*$/s, '');
  const name = text(0, 100);
  const bytes = sizeIn(head.subarray(124, 136));
  if (text(257, 5) !== 'ustar' || text(156, 1) !== '0' || !names.test(name) || !Number.isSafeInteger(bytes) || bytes < 0)
    throw invalid('it is no backup of ours');
  if (!head.equals(header(name, bytes, Number.parseInt(text(136, 12), 8)))) throw invalid('a header in it is damaged');
  return { name, bytes };
}

/** Unpacks into `folder`, which exists and is private. Names that would lead out of it do not occur in a backup of ours. */
export function unpackTar(path: string, folder: string): Member[] {
  const invalid = (why: string) => new Problem('BACKUP_INVALID', why);
  let handle: number;
  try {
    handle = openSync(path, 'r');
  } catch (error) {
    throw invalid(`${path} cannot be opened (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
  const read = (bytes: number): Buffer => {
    const buffer = Buffer.alloc(bytes);
    for (let done = 0; done < bytes; ) {
      const count = readSync(handle, buffer, done, bytes - done, null);
      if (count === 0) throw invalid('it is cut short');
      done += count;
    }
    return buffer;
  };
  const members: Member[] = [];
  const files = new Set<string>();
  const folders = new Set<string>();
  const room = roomForMembers();
  try {
    for (;;) {
      const head = read(block);
      if (head.every((byte) => byte === 0)) return members;
      const { name, bytes } = readHeader(head, invalid);
      if (files.has(name)) throw invalid(`${name} occurs twice`);
      if (!room.takes(name)) throw invalid('it has more files than a data folder');
      // A file where another has its folder, or the other way about.
      const inside = name.includes('/') ? dirname(name) : null;
      if (folders.has(name) || (inside !== null && files.has(inside))) throw invalid(`${name} occurs as a file and as a folder`);
      files.add(name);
      if (inside !== null) folders.add(inside);
      members.push({ name, bytes, sha256: unpackOne(join(folder, name), bytes, read) });
      read(padding(bytes).length);
    }
  } finally {
    closeSync(handle);
  }
}

function unpackOne(path: string, bytes: number, read: (bytes: number) => Buffer): string {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const hash = createHash('sha256');
  const handle = openSync(path, 'wx', 0o600);
  try {
    for (let left = bytes; left > 0; left -= Math.min(left, chunkBytes)) {
      const chunk = read(Math.min(left, chunkBytes));
      hash.update(chunk);
      writeAll(handle, chunk);
    }
    fsyncSync(handle);
    return hash.digest('hex');
  } finally {
    closeSync(handle);
  }
}
