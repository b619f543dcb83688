import { bytesOf, type Contents, type FilePart } from './contents.ts';
import type { Slice } from './macho.ts';

/** One program for both kinds of Macs: the whole files one after another, each at the beginning of a page of its processor. */
export function joinSlices(programs: readonly { file: string; sha256: string; slice: Slice }[]): Contents {
  // Intel first: its pages are smaller. So `lipo` does it.
  const sorted = programs.toSorted((a, b) => alignment(a.slice) - alignment(b.slice));
  const header = Buffer.alloc(8 + 20 * sorted.length);
  header.writeUInt32BE(0xcafebabe, 0);
  header.writeUInt32BE(sorted.length, 4);
  const parts: (Buffer | FilePart)[] = [header];
  sorted.forEach(({ file, sha256, slice }, n) => {
    const end = bytesOf(parts);
    const page = 2 ** alignment(slice);
    const start = Math.ceil(end / page) * page;
    parts.push(Buffer.alloc(start - end), { file, bytes: slice.bytes, sha256 });
    const values = [slice.cpuType, slice.cpuSubtype, start, slice.bytes, alignment(slice)];
    values.forEach((value, at) => {
      header.writeUInt32BE(value, 8 + 20 * n + 4 * at);
    });
  });
  return parts;
}

/** As a power of two: pages of 16 and 4 kB. */
const alignment = ({ architecture }: Slice): number => (architecture === 'arm64' ? 14 : 12);
