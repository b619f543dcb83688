import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { bytesOf, changedWhile, type Entry, type Measured, read } from './contents.ts';

/*
 * Payload and Scripts: a cpio archive of the old portable form (`odc`), compressed with gzip. It is what pkgbuild writes; with
 * the newer forms Installer stops at "cpio read error: bad file format".
 */

const octal = (value: number, digits: number): string => {
  const said = value.toString(8).padStart(digits, '0');
  if (said.length > digits) throw new Error(`${value} does not fit into a cpio archive`);
  return said;
};

function header(name: string, inode: number, mode: number, links: number, mtime: number, bytes: number): Buffer {
  const fields = [
    octal(0, 6), // device
    octal(inode, 6),
    octal(mode, 6),
    octal(0, 6), // root
    octal(0, 6), // wheel
    octal(links, 6),
    octal(0, 6), // device of a device file
    octal(mtime, 11),
    octal(Buffer.byteLength(name) + 1, 6),
    octal(bytes, 11),
  ];
  return Buffer.from(`070707${fields.join('')}${name}\0`);
}

/** `mtime` in seconds since 1970. Parents come before their children. What was measured has to be the same bytes now: its sums are in the Bom. */
export function* cpio(entries: readonly (Entry | Measured)[], mtime: number): Generator<Buffer> {
  let inode = 0;
  for (const entry of entries) {
    const { path, mode, contents } = entry;
    const name = path === '' ? '.' : `./${path}`;
    if (contents === null) yield header(name, ++inode, 0o040000 | mode, 2, mtime, 0);
    else {
      yield header(name, ++inode, 0o100000 | mode, 1, mtime, bytesOf(contents));
      const hash = 'sha256' in entry ? createHash('sha256') : null;
      for (const chunk of read(contents)) {
        hash?.update(chunk);
        yield chunk;
      }
      if (hash !== null && 'sha256' in entry && hash.digest('hex') !== entry.sha256) throw changedWhile(path);
    }
  }
  yield header('TRAILER!!!', 0, 0, 1, 0, 0);
}

/** Level 9 takes three times as long for 0.2 % less. */
const level = 6;

/** `told` hears how many plain bytes have gone in. */
export async function writeArchive(
  entries: readonly (Entry | Measured)[],
  mtime: number,
  to: string,
  told: (bytes: number) => void = () => undefined,
): Promise<void> {
  async function* plain() {
    let done = 0;
    for (const chunk of cpio(entries, mtime)) {
      yield chunk;
      done += chunk.length;
      told(done);
    }
  }
  async function* sameOnEverySystem(chunks: AsyncIterable<Buffer>) {
    let at = 0;
    for await (const chunk of chunks) {
      // Byte 9 of gzip names the system that compressed: 3 for any Unix, also on a Mac.
      if (at <= 9 && at + chunk.length > 9) chunk[9 - at] = 3;
      at += chunk.length;
      yield chunk;
    }
  }
  await pipeline(plain(), createGzip({ level }), sameOnEverySystem, createWriteStream(to));
}
