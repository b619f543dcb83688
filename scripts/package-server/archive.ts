import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, statSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { padding, ustarHeader } from '../../server/tar.ts';
import type { PackedFile } from './files.ts';

/** gzip names the operating system that it ran on in its tenth byte; 255 is "unknown" (RFC 1952), the same on every machine. */
const osByte = 9;

/** `prefix/name` of ustar: split at a slash so that the name has at most 100 bytes and the prefix at most 155. */
export function ustarPath(path: string): { prefix: string; name: string } {
  if (Buffer.byteLength(path) <= 100) return { prefix: '', name: path };
  const from = path.length - 101;
  const slash = path.indexOf('/', Math.max(from, 1));
  const [prefix, name] = [path.slice(0, slash), path.slice(slash + 1)];
  if (slash === -1 || Buffer.byteLength(prefix) > 155 || name === '') throw new Error(`a path too long for a tar archive: ${path}`);
  return { prefix, name };
}

async function* tarOf(folder: string, files: readonly PackedFile[], seconds: number, told: (bytes: number) => void): AsyncGenerator<Buffer> {
  for (const { path, from, mode } of files) {
    const bytes = typeof from === 'string' ? statSync(from).size : from.length;
    const { prefix, name } = ustarPath(`${folder}/${path}`);
    yield ustarHeader(prefix, name, bytes, seconds, mode);
    let written = 0;
    for await (const chunk of typeof from === 'string' ? createReadStream(from) : [from]) {
      written += chunk.length;
      told(chunk.length);
      yield chunk;
    }
    if (written !== bytes) throw new Error(`${from} changed while it was packed`);
    yield padding(bytes);
  }
  yield Buffer.alloc(1024);
}

/**
 * Writes `folder/…` as a tar archive in gzip, the same bytes for the same files on every machine. `out` is there whole or not at all.
 * Gives the archive's SHA-256 and size; `told` gets the plain bytes as they are read.
 */
export async function writeArchive(
  out: string,
  folder: string,
  files: readonly PackedFile[],
  seconds: number,
  told: (bytes: number) => void,
): Promise<{ sha256: string; bytes: number }> {
  const part = `${out}.part`;
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    await pipeline(
      Readable.from(tarOf(folder, files, seconds, told)),
      createGzip({ level: 6 }),
      async function* (source: AsyncIterable<Buffer>) {
        for await (const chunk of source) {
          if (bytes <= osByte && osByte < bytes + chunk.length) chunk[osByte - bytes] = 255;
          bytes += chunk.length;
          hash.update(chunk);
          yield chunk;
        }
      },
      createWriteStream(part, { mode: 0o644 }),
    );
    await rename(part, out);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
  return { sha256: hash.digest('hex'), bytes };
}
