import { pipeline, Readable } from 'node:stream';
import { crc32, createDeflateRaw } from 'node:zlib';
import { Problem } from '../../protocol/problems.ts';

/**
 * As much of ZIP (PKWARE APPNOTE 6.3) as an evidence pack needs: each file deflated, its sizes after it, so that it is made while
 * it is sent. The same files at the same time are the same bytes. No ZIP64: what is larger is refused, not cut.
 */
export interface ZipFile {
  name: string;
  content: AsyncIterable<string | Uint8Array> | Iterable<string | Uint8Array>;
}

const most = 0xffff_ffff;
/** Names in UTF-8, and sizes in a descriptor behind the data. */
const flags = 0x0808;
const deflated = 8;
const version = 20;
/** Regular, readable and writable by its owner alone; made by a Unix. */
const madeBy = (3 << 8) | version;
const mode = (0o100600 << 16) >>> 0;

interface Written {
  name: Buffer;
  crc: number;
  packed: number;
  bytes: number;
  at: number;
}

/** MS-DOS date and time, UTC, of which the year begins with 1980. */
function dosTime(at: Date): { time: number; date: number } {
  return {
    time: (at.getUTCHours() << 11) | (at.getUTCMinutes() << 5) | (at.getUTCSeconds() >> 1),
    date: (Math.max(0, at.getUTCFullYear() - 1980) << 9) | ((at.getUTCMonth() + 1) << 5) | at.getUTCDate(),
  };
}

function numbers(...parts: readonly (readonly [value: number, bytes: 2 | 4])[]): Buffer {
  const buffer = Buffer.alloc(parts.reduce((total, [, bytes]) => total + bytes, 0));
  let at = 0;
  for (const [value, bytes] of parts) at = buffer.writeUIntLE(value, at, bytes);
  return buffer;
}

export async function* zipOf(files: AsyncIterable<ZipFile> | Iterable<ZipFile>, madeAt: Date): AsyncGenerator<Buffer> {
  const { time, date } = dosTime(madeAt);
  const written: Written[] = [];
  let at = 0;
  const count = (part: Buffer): Buffer => {
    at += part.length;
    if (at > most) throw new Problem('USAGE', 'the pack would have more than 4 GiB: make one of a shorter period');
    return part;
  };
  for await (const { name: given, content } of files) {
    const name = Buffer.from(given);
    const one: Written = { name, crc: 0, packed: 0, bytes: 0, at };
    yield count(
      Buffer.concat([
        numbers([0x04034b50, 4], [version, 2], [flags, 2], [deflated, 2], [time, 2], [date, 2], [0, 4], [0, 4], [0, 4], [name.length, 2], [0, 2]),
        name,
      ]),
    );
    async function* counted(): AsyncGenerator<Buffer> {
      for await (const part of content) {
        const bytes = typeof part === 'string' ? Buffer.from(part) : Buffer.from(part.buffer, part.byteOffset, part.byteLength);
        one.crc = crc32(bytes, one.crc);
        one.bytes += bytes.length;
        yield bytes;
      }
    }
    const packing = createDeflateRaw({ level: 9 });
    // Where the content fails, the error comes out of the loop below.
    pipeline(Readable.from(counted(), { objectMode: false }), packing, () => undefined);
    for await (const part of packing) {
      one.packed += (part as Buffer).length;
      yield count(part as Buffer);
    }
    if (one.bytes > most) throw new Problem('USAGE', `${given} has more than 4 GiB: make a pack of a shorter period`);
    yield count(numbers([0x08074b50, 4], [one.crc, 4], [one.packed, 4], [one.bytes, 4]));
    written.push(one);
  }
  const begin = at;
  for (const { name, crc, packed, bytes, at: where } of written) {
    const sizes = [
      [crc, 4],
      [packed, 4],
      [bytes, 4],
    ] as const;
    const rest = [
      [name.length, 2],
      [0, 2],
      [0, 2],
      [0, 2],
      [0, 2],
      [mode, 4],
      [where, 4],
    ] as const;
    yield count(Buffer.concat([numbers([0x02014b50, 4], [madeBy, 2], [version, 2], [flags, 2], [deflated, 2], [time, 2], [date, 2], ...sizes, ...rest), name]));
  }
  const n = written.length;
  yield numbers([0x06054b50, 4], [0, 2], [0, 2], [n, 2], [n, 2], [at - begin, 4], [begin, 4], [0, 2]);
}
