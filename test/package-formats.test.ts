import { createHash } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { writeBom } from '../scripts/package/bom.ts';
import { cksum, cksumOf } from '../scripts/package/cksum.ts';
import { type Entry, measure, read, text } from '../scripts/package/contents.ts';
import { cpio, writeArchive } from '../scripts/package/cpio.ts';
import { joinSlices } from '../scripts/package/fat.ts';
import { readMachO } from '../scripts/package/macho.ts';
import { writeXar } from '../scripts/package/xar.ts';
import { readBom } from './bom-reader.ts';
import { adHoc, hardened, madeMachO } from './made-macho.ts';
import { readWith, testWith } from './other-readers.ts';
import { scratch } from './scratch.ts';

const mtime = Date.parse('2026-11-23T09:00:00Z') / 1000;
const folder = (path: string): Entry => ({ path, mode: 0o755, contents: null });
const file = (path: string, contents: string | Buffer, mode = 0o644): Entry => ({ path, mode, contents: [Buffer.from(contents)] });
/** Bytes without a pattern, the same each time. */
const noise = (length: number): Buffer => Buffer.from(Array.from({ length }, (_, n) => (n * 2654435761) >>> 24));

const few = [
  folder(''),
  folder('Library'),
  file('Library/a', 'one\n', 0o755),
  folder('Library/b'),
  file('Library/b/empty', ''),
  file('Library/b/noise', noise(70_001)),
];

describe('cksum', () => {
  test.each([
    ['', 4294967295],
    ['a', 1220704766],
    ['123456789', 930766865],
  ])('of %j is what POSIX says', (given, expected) => {
    expect(cksumOf(Buffer.from(given))).toBe(expected);
  });

  testWith(['cksum'], 'agrees with cksum(1) for each length, in whatever pieces the bytes come', () => {
    const bytes = noise(1000);
    for (const length of [1, 2, 3, 4, 5, 7, 8, 255, 256, 257, 1000]) {
      const sum = cksum();
      for (let at = 0, piece = 1; at < length; at += piece, piece += 2) sum.update(bytes.subarray(at, Math.min(at + piece, length)));
      expect(`${sum.digest()} ${length}`).toBe(readWith('cksum', [], bytes.subarray(0, length)).trim());
    }
  });
});

describe('the bill of materials', () => {
  const write = (entries: readonly Entry[]) => writeBom(entries.map(measure), mtime);

  test('read by the description of the format, each byte of it belongs to something, and each path has its facts', () => {
    const { records, contentBytes } = readBom(write(few));
    expect(contentBytes).toBe(70_005);
    expect(records).toEqual(
      few.map(({ path, mode, contents }) => ({
        path: path === '' ? '.' : `./${path}`,
        kind: contents ? 'file' : 'folder',
        mode,
        owner: 0,
        group: 0,
        mtime,
        bytes: contents ? Buffer.concat([...read(contents)]).length : 0,
        cksum: contents ? cksumOf(Buffer.concat([...read(contents)])) : 0,
      })),
    );
  });

  test.each([
    [509, 1],
    [510, 1],
    [511, 2],
    [1503, 3],
  ])('of %i paths has %i leaves, in order of folder and name', (paths, leaves) => {
    const many = [folder(''), folder('z'), ...Array.from({ length: paths - 2 }, (_, n) => file(`${n % 2 ? 'z/' : ''}${n}`, `${n}`))];
    const bom = readBom(write(many));
    expect([bom.records.length, bom.leaves]).toEqual([paths, leaves]);
  });

  test('a path before its folder is refused', () => {
    expect(() => write([folder(''), file('Library/a', '')])).toThrow('comes before its folder');
  });

  test('the reader of these tests sees each byte: none can be another without its saying so, or a record being another', () => {
    const bom = write(few);
    const said = JSON.stringify(readBom(bom));
    const silent: number[] = [];
    // The digits of the format, and not the padding between the nodes: 4 kB of zeros each.
    for (let at = 0; at < bom.length; at++) {
      if (at > 600 && bom.subarray(at - 40, at + 40).every((byte) => byte === 0) && at % 97 !== 0) continue;
      const other = Buffer.from(bom);
      other[at] = (other[at] ?? 0) ^ 0x01;
      try {
        if (JSON.stringify(readBom(other)) === said) silent.push(at);
      } catch {
        // It was noticed.
      }
    }
    expect(silent).toEqual([]);
  });
});

describe('payload and scripts', () => {
  testWith(['cpio', 'bsdtar'], 'are an archive of the old portable form, as cpio and bsdtar read it: owners, modes, times and contents', async () => {
    const to = join(scratch(), 'Payload');
    await writeArchive(few, mtime, to);
    const plain = Buffer.concat([...cpio(few, mtime)]);
    expect(plain.toString('latin1', 0, 6)).toBe('070707');
    expect(
      readWith('cpio', ['-itv', '--numeric-uid-gid'], plain)
        .split('\n')
        .map((line) => line.replace(/ +/g, ' ').replace(/ [A-Z]\w\w \d+ [\d:]+ /, ' ')),
    ).toEqual([
      'drwxr-xr-x 2 0 0 0 .',
      'drwxr-xr-x 2 0 0 0 ./Library',
      '-rwxr-xr-x 1 0 0 4 ./Library/a',
      'drwxr-xr-x 2 0 0 0 ./Library/b',
      '-rw-r--r-- 1 0 0 0 ./Library/b/empty',
      '-rw-r--r-- 1 0 0 70001 ./Library/b/noise',
      '',
    ]);
    const out = scratch();
    readWith('bsdtar', ['-xf', to, '-C', out]);
    expect(readFileSync(join(out, 'Library/b/noise')).equals(noise(70_001))).toBe(true);
    expect(statSync(join(out, 'Library/a'))).toMatchObject({ mode: 0o100755, mtimeMs: mtime * 1000 });
  });

  test('are the same bytes on every system: gzip says none', async () => {
    const to = join(scratch(), 'Payload');
    await writeArchive(few, mtime, to);
    expect(readFileSync(to).subarray(0, 10).toString('hex')).toBe('1f8b0800000000000003');
  });

  test('a file that changes while it is read is noticed', () => {
    const changing = join(scratch(), 'a');
    writeFileSync(changing, 'longer than was said');
    expect(() => [...read([{ file: changing, bytes: 4 }])]).toThrow('is not what it was when it was looked at');
    expect(() => [...read([{ file: changing, bytes: 400 }])]).toThrow('is not what it was when it was looked at');
  });
});

describe('the container', () => {
  const members = [
    { path: 'agent.pkg/Bom', contents: [noise(5000)], stored: false },
    { path: 'agent.pkg/Payload', contents: [noise(90_000)], stored: true },
    { path: 'Distribution', contents: text('<a/>\n'), stored: false },
  ];
  const write = async () => {
    const to = join(scratch(), 'a.pkg');
    await writeXar(members, '2026-11-23T09:00:00.000Z', to);
    return to;
  };

  testWith(['bsdtar', '7z', 'xmllint'], 'is read and verified by bsdtar and 7-Zip, and its table of contents is XML', async () => {
    const made = await write();
    const out = scratch();
    readWith('bsdtar', ['-xf', made, '-C', out]);
    for (const { path, contents } of members) expect(readFileSync(join(out, path)).equals(Buffer.concat([...read(contents)]))).toBe(true);
    expect(readWith('7z', ['t', made])).toContain('Everything is Ok');
    readWith('xmllint', ['--noout', '-'], readWith('7z', ['x', '-so', made, '[TOC].xml']));
  });

  testWith(['bsdtar', '7z'], 'with one byte changed, whichever it is, is refused by one of them', async () => {
    const made = await write();
    const bytes = readFileSync(made);
    for (const at of [0, 25, 28, 60, bytes.length - 2, bytes.length - 50_000]) {
      const other = Buffer.from(bytes);
      other[at] = (other[at] ?? 0) ^ 0x10;
      const changed = join(scratch(), 'b.pkg');
      writeFileSync(changed, other);
      const out = scratch();
      expect(() => [readWith('7z', ['t', changed]), readWith('bsdtar', ['-xf', changed, '-C', out])].join()).toThrow();
    }
  });

  test('has ids that ascend in the order of the heap, and only what other readers know', async () => {
    const bytes = readFileSync(await write());
    const toc = inflateSync(bytes.subarray(28, 28 + Number(bytes.readBigUInt64BE(8)))).toString();
    const files = [...toc.matchAll(/<file id="(\d+)"><name>[^<]+<\/name><type>file<\/type><data>.*?<offset>(\d+)<\/offset><length>(\d+)<\/length>/g)];
    expect(files.map(([, id]) => Number(id))).toEqual([2, 3, 4]);
    let at = 20;
    for (const [, , offset, length] of files) {
      expect(Number(offset)).toBe(at);
      at += Number(length);
    }
    expect(28 + Number(bytes.readBigUInt64BE(8)) + at).toBe(bytes.length);
    const names = new Set([...toc.matchAll(/<([a-z-]+)[ >/]/gi)].map(([, name]) => name));
    const known = 'xar toc creation-time checksum offset size file name type data length archived-checksum extracted-checksum encoding'.split(' ');
    expect([...names].filter((name) => !known.includes(name ?? ''))).toEqual([]);
  });
});

describe('programs for macOS', () => {
  const made = (bytes: Buffer): string => {
    const to = join(scratch(), 'program');
    writeFileSync(to, bytes);
    return to;
  };

  test('say for whom they are, and who signed them', () => {
    const entitlements = ['com.apple.security.cs.allow-jit'];
    const signed = madeMachO('arm64', { signature: { identifier: 'a.b', team: 'TEAM123456', entitlements } });
    expect(readMachO(made(signed))).toEqual([
      expect.objectContaining({
        architecture: 'arm64',
        minimumMacos: '13.5',
        bytes: signed.length,
        signature: { identifier: 'a.b', team: 'TEAM123456', adHoc: false, hardened: true, timestamped: true, entitlements },
      }),
    ]);
    const weaker = madeMachO('x86_64', { minimum: [14, 0], signature: { identifier: 'c', flags: adHoc, timestamped: false } });
    expect(readMachO(made(weaker))[0]).toMatchObject({ minimumMacos: '14.0', signature: { team: '', adHoc: true, hardened: false, timestamped: false } });
    expect(readMachO(made(madeMachO('x86_64')))[0]?.signature).toBeNull();
    expect(hardened).not.toBe(adHoc);
  });

  test('of the published keytar say what is known of them', () => {
    const addon = (name: string): string => join(import.meta.dirname, '../node_modules/keytar/prebuilds', name, 'keytar.node');
    expect(readMachO(addon('darwin-arm64'))[0]).toMatchObject({ architecture: 'arm64', minimumMacos: '11.0', signature: { adHoc: true, team: '' } });
    expect(readMachO(addon('darwin-x64'))[0]).toMatchObject({ architecture: 'x86_64', signature: null });
  });

  test.each<[string, Buffer]>([
    ['a script', Buffer.from('#!/bin/sh\n')],
    ['one that ends in its head', madeMachO('arm64').subarray(0, 40)],
    ['one for another processor', Buffer.concat([Buffer.from('cffaedfe0c000000', 'hex'), Buffer.alloc(40)])],
    ['a class of Java, which begins as a fat one does', Buffer.concat([Buffer.from('cafebabe00000041', 'hex'), Buffer.alloc(100)])],
    ['an empty file', Buffer.alloc(0)],
  ])('%s is refused', (_, bytes) => {
    expect(() => readMachO(made(bytes))).toThrow();
  });

  test('for both processors, each part is whole, at the beginning of a page of its own', () => {
    const parts = (['arm64', 'x86_64'] as const).map((architecture) => {
      const bytes = madeMachO(architecture, { body: architecture.repeat(3000), signature: { identifier: 'node', team: 'TEAM123456' } });
      const [slice] = readMachO(made(bytes));
      if (!slice) throw new Error('no slice');
      return { file: made(bytes), slice, bytes, sha256: createHash('sha256').update(bytes).digest('hex') };
    });
    const fat = Buffer.concat([...read(joinSlices(parts))]);
    // The header of <mach-o/fat.h>: magic, count, and for each its kind, offset, size and alignment.
    expect(fat.subarray(0, 8).toString('hex')).toBe('cafebabe00000002');
    const rows = [8, 28].map((at) => Array.from({ length: 5 }, (_, n) => fat.readUInt32BE(at + 4 * n)));
    const sizes = parts.map(({ bytes }) => bytes.length);
    const second = 2 ** 14 * Math.ceil((4096 + (sizes[1] ?? 0)) / 2 ** 14);
    expect(rows).toEqual([
      [0x01000007, 3, 4096, sizes[1], 12],
      [0x0100000c, 0, second, sizes[0], 14],
    ]);
    expect(fat.subarray(4096, 4096 + (sizes[1] ?? 0)).equals(parts[1]?.bytes ?? Buffer.alloc(0))).toBe(true);
    expect(fat.subarray(second).equals(parts[0]?.bytes ?? Buffer.alloc(0))).toBe(true);
    expect(readMachO(made(fat)).map(({ architecture, signature }) => [architecture, signature?.team])).toEqual([
      ['x86_64', 'TEAM123456'],
      ['arm64', 'TEAM123456'],
    ]);
  });
});
