import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, linkSync, lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { realDisk } from '../agent/disk.ts';
import { paths } from '../agent/paths.ts';
import { scratch } from './scratch.ts';

const file = `${paths.state}/journal.json`;
const isRoot = process.geteuid?.() === 0;

function given() {
  const root = scratch('disk');
  const disk = realDisk(root);
  disk.makeFolder(paths.state, 0o700);
  return { root, disk, at: (path: string) => join(root, path) };
}

describe('writing', () => {
  test('a file is replaced whole, with its mode whatever the umask, and nothing else is left', () => {
    const { disk, at } = given();
    const umask = process.umask(0o077);
    try {
      disk.makeFolder(paths.public, 0o755);
      disk.replace(paths.status, '{"a":1}', 0o644);
      disk.replace(file, 'first');
      disk.replace(file, Buffer.from('second'));
    } finally {
      process.umask(umask);
    }
    expect(readFileSync(at(file), 'utf8')).toBe('second');
    expect(disk.facts(file)).toMatchObject({ mode: 0o600, regular: true, size: 6 });
    expect(disk.facts(paths.status)).toMatchObject({ mode: 0o644 });
    expect(disk.facts(paths.public)).toMatchObject({ mode: 0o755, regular: false });
    expect(readdirSync(at(paths.state))).toEqual(['journal.json']);
  });

  test('what a kill left half written is neither listed nor in the way', () => {
    const { disk, at } = given();
    disk.replace(file, 'whole');
    writeFileSync(at(`${paths.state}/.journal.json.new`), 'hal');
    expect(disk.list(paths.state)).toEqual(['journal.json']);
    expect(disk.read(file, 100)?.toString()).toBe('whole');
    disk.replace(file, 'newer');
    expect(readdirSync(at(paths.state))).toEqual(['journal.json']);
    expect(disk.read(file, 100)?.toString()).toBe('newer');
  });

  test('a link in place of the half-written file is not followed', () => {
    const { disk, at } = given();
    writeFileSync(at('/victim'), 'untouched');
    symlinkSync(at('/victim'), at(`${paths.state}/.journal.json.new`));
    disk.replace(file, 'mine');
    expect(readFileSync(at('/victim'), 'utf8')).toBe('untouched');
    expect(lstatSync(at(file)).isFile()).toBe(true);
  });

  test('an empty file is made once, root-only, and never through a link', () => {
    const { disk, at } = given();
    const out = `${paths.state}/1.out`;
    disk.createEmpty(out);
    expect(disk.facts(out)).toMatchObject({ mode: 0o600, size: 0 });
    expect(() => disk.createEmpty(out)).toThrow(expect.objectContaining({ code: 'EEXIST' }));
    symlinkSync(at('/elsewhere'), at(`${paths.state}/2.out`));
    expect(() => disk.createEmpty(`${paths.state}/2.out`)).toThrow(expect.objectContaining({ code: 'EEXIST' }));
  });

  test('a disk that is full throws its own code and leaves the old file as it was', () => {
    if (!isRoot) return expect(isRoot).toBe(false);
    const { root, disk, at } = given();
    const mount = at(paths.state);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=700', 'tmpfs', mount], { stdio: 'ignore' });
    } catch {
      // A container without the right to mount shows the same by a folder that is gone.
      return expect(() => realDisk(root).replace('/gone/file', 'x')).toThrow(expect.objectContaining({ code: 'ENOENT' }));
    }
    try {
      disk.replace(file, 'old');
      expect(() => disk.replace(file, Buffer.alloc(256 * 1024))).toThrow(expect.objectContaining({ code: 'ENOSPC' }));
      expect(disk.read(file, 100)?.toString()).toBe('old');
      expect(readdirSync(mount)).toEqual(['journal.json']);
      expect(disk.freeBytes(paths.state)).toBeLessThan(64 * 1024);
    } finally {
      execFileSync('umount', [mount]);
    }
  });
});

describe('reading', () => {
  test('what is not there is null; what is too large is refused', () => {
    const { disk } = given();
    expect(disk.read(file, 10)).toBeNull();
    expect(disk.facts(file)).toBeNull();
    expect(disk.read(`${file}/below`, 10)).toBeNull();
    disk.replace(file, '0123456789');
    expect(disk.read(file, 10)?.toString()).toBe('0123456789');
    expect(() => disk.read(file, 9)).toThrow(expect.objectContaining({ code: 'EFBIG' }));
    disk.replace(file, '');
    expect(disk.read(file, 10)).toHaveLength(0);
    disk.replace(file, Buffer.alloc(300_000, 1));
    expect(disk.read(file, 300_000)).toHaveLength(300_000);
    expect(disk.read(file, 400_000)).toHaveLength(300_000);
  });

  test('links, folders and pipes are no files, and a pipe holds nobody', () => {
    const { disk, at } = given();
    mkdirSync(at('/var/db/folder'));
    execFileSync('mkfifo', [at('/var/db/pipe')]);
    writeFileSync(at('/var/db/real'), 'x');
    symlinkSync(at('/var/db/real'), at('/var/db/link'));
    expect(() => disk.read('/var/db/folder', 10)).toThrow(expect.objectContaining({ code: 'EFTYPE' }));
    expect(() => disk.read('/var/db/pipe', 10)).toThrow(expect.objectContaining({ code: 'EFTYPE' }));
    expect(() => disk.read('/var/db/link', 10)).toThrow(expect.objectContaining({ code: 'ELOOP' }));
    expect(disk.facts('/var/db/link')).toMatchObject({ regular: false });
    expect(disk.read('/var/db/real', 10)?.toString()).toBe('x');
  });

  test.each([
    ['that others can read', 0o644],
    ['that the group can write', 0o620],
  ])('a file of the state folder %s is refused', (_name, mode) => {
    const { disk, at } = given();
    disk.replace(file, 'x');
    chmodSync(at(file), mode);
    expect(() => disk.read(file, 10)).toThrow(expect.objectContaining({ code: 'JOURNAL_NOT_OURS' }));
  });

  test('a state folder that others can enter is refused, and so is everything in it', () => {
    const { disk, at } = given();
    disk.replace(file, 'x');
    chmodSync(at(paths.state), 0o755);
    expect(() => disk.read(file, 10)).toThrow(expect.objectContaining({ code: 'JOURNAL_NOT_OURS' }));
    expect(() => disk.replace(file, 'y')).toThrow(expect.objectContaining({ code: 'JOURNAL_NOT_OURS' }));
    expect(() => disk.createEmpty(`${paths.state}/1.out`)).toThrow(expect.objectContaining({ code: 'JOURNAL_NOT_OURS' }));
    expect(readFileSync(at(file), 'utf8')).toBe('x');
  });

  test('a file or folder of another user is refused', () => {
    if (!isRoot) return expect(isRoot).toBe(false);
    const { disk, at } = given();
    disk.replace(file, 'x');
    chownSync(at(file), 501, 20);
    expect(() => disk.read(file, 10)).toThrow(expect.objectContaining({ code: 'JOURNAL_NOT_OURS' }));
    chownSync(at(paths.state), 501, 20);
    expect(() => disk.makeFolder(paths.state, 0o700)).toThrow(expect.objectContaining({ code: 'JOURNAL_NOT_OURS' }));
  });

  test('a link in place of the state folder, or a folder that others can write, is refused', () => {
    const root = scratch('disk');
    mkdirSync(join(root, '/var/db'), { recursive: true });
    mkdirSync(join(root, '/elsewhere'), { mode: 0o700 });
    symlinkSync(join(root, '/elsewhere'), join(root, paths.state));
    const disk = realDisk(root);
    expect(() => disk.makeFolder(paths.state, 0o700)).toThrow(expect.objectContaining({ code: 'JOURNAL_NOT_OURS' }));
    expect(() => disk.read(file, 10)).toThrow(expect.objectContaining({ code: 'JOURNAL_NOT_OURS' }));
    mkdirSync(join(root, '/var/db/open'));
    chmodSync(join(root, '/var/db/open'), 0o777);
    expect(() => disk.makeFolder('/var/db/open', 0o700)).toThrow(expect.objectContaining({ code: 'JOURNAL_NOT_OURS' }));
  });
});

describe('the rest', () => {
  test('removing is done when it is gone, also when it was gone before', () => {
    const { disk } = given();
    disk.replace(file, 'x');
    disk.sync(file);
    disk.remove(file);
    disk.remove(file);
    expect(disk.facts(file)).toBeNull();
  });

  test('a request is moved from folder to folder', () => {
    const { disk } = given();
    for (const folder of [paths.queue, paths.taken]) disk.makeFolder(folder, 0o700);
    disk.replace(`${paths.queue}/b`, '2');
    disk.replace(`${paths.queue}/a`, '1');
    expect(disk.list(paths.queue)).toEqual(['a', 'b']);
    disk.rename(`${paths.queue}/a`, `${paths.taken}/a`);
    expect(disk.list(paths.queue)).toEqual(['b']);
    expect(disk.list(paths.taken)).toEqual(['a']);
    expect(disk.list(paths.failed)).toEqual([]);
  });

  test('a folder made twice keeps its files and gets its mode', () => {
    const { disk, at } = given();
    disk.makeFolder(paths.queue, 0o700);
    disk.replace(`${paths.queue}/a`, '1');
    chmodSync(at(paths.queue), 0o500);
    disk.makeFolder(paths.queue, 0o700);
    expect(disk.facts(paths.queue)).toMatchObject({ mode: 0o700 });
    expect(disk.list(paths.queue)).toEqual(['a']);
  });

  test('free space is a number of bytes', () => {
    expect(given().disk.freeBytes('/')).toBeGreaterThan(0);
  });

  test('nothing leads out of the root', () => {
    const { disk } = given();
    for (const path of ['relative', '/../etc/passwd', '/var/../../etc/passwd', '/a\0b']) expect(() => disk.read(path, 10)).toThrow(TypeError);
  });

  test('two names of one file are still one file of ours', () => {
    const { disk, at } = given();
    disk.replace(file, 'x');
    linkSync(at(file), at(`${paths.state}/second`));
    disk.replace(file, 'y');
    expect(disk.read(`${paths.state}/second`, 10)?.toString()).toBe('x');
  });
});
