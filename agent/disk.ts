// The Mac's files. Every call is one effect, durable when it returns: libuv's fsync is F_FULLFSYNC on macOS.
import * as fs from 'node:fs';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { Problem } from '../protocol/problems.ts';
import { paths } from './paths.ts';
import type { Disk } from './world.ts';

/** The name of a file that is being written. Such leftovers of a kill are neither listed nor read. */
const unfinished = (path: string): string => join(dirname(path), `.${basename(path)}.new`);
const isUnfinished = (name: string): boolean => name.startsWith('.') && name.endsWith('.new');

const fault = (code: string, path: string): Error => Object.assign(new Error(`${code}: ${path}`), { code });
const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;
const isMissing = (error: unknown): boolean => codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR';

function unlessMissing<T>(act: () => T): T | null {
  try {
    return act();
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

function withFile<T>(files: SystemCalls, path: string, flags: number, mode: number, act: (fd: number) => T): T {
  const fd = files.openSync(path, flags | fs.constants.O_NOFOLLOW, mode);
  try {
    return act(fd);
  } finally {
    files.closeSync(fd);
  }
}

function syncFolder(files: SystemCalls, folder: string): void {
  withFile(files, folder, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY, 0, files.fsyncSync);
}

/** What the disk asks of the system, call by call: between any two of them the power can go. */
export type SystemCalls = Pick<
  typeof fs,
  | 'chmodSync'
  | 'closeSync'
  | 'fchmodSync'
  | 'fstatSync'
  | 'fsyncSync'
  | 'lstatSync'
  | 'mkdirSync'
  | 'openSync'
  | 'readdirSync'
  | 'readSync'
  | 'renameSync'
  | 'statfsSync'
  | 'unlinkSync'
  | 'writeSync'
>;

/** The files under `root`. Those in the state folder must be this process's own and nobody else's to read: otherwise they are refused. */
export function realDisk(root: string, files: SystemCalls = fs): Disk {
  const me = process.geteuid?.() ?? 0;
  const at = (path: string): string => {
    if (!isAbsolute(path) || path.includes('\0') || path.split('/').includes('..')) throw new TypeError(`not an absolute path of the Mac: ${path}`);
    return join(root, path);
  };
  const isState = (path: string): boolean => path === paths.state || path.startsWith(`${paths.state}/`);
  const refuse = (path: string, stats: fs.Stats): void => {
    if (stats.uid !== me) throw new Problem('JOURNAL_NOT_OURS', `${path} belongs to uid ${stats.uid}`);
    if (stats.mode & 0o077) throw new Problem('JOURNAL_NOT_OURS', `${path} has mode ${(stats.mode & 0o777).toString(8)}`);
  };
  const checkStateFolder = (path: string): void => {
    const stats = isState(path) ? unlessMissing(() => files.lstatSync(at(paths.state))) : null;
    if (stats && !stats.isDirectory()) throw new Problem('JOURNAL_NOT_OURS', `${paths.state} is not a folder`);
    if (stats) refuse(paths.state, stats);
  };

  return {
    read(path, most) {
      checkStateFolder(path);
      // O_NONBLOCK: a pipe put there in place of a file must not hold the run.
      return unlessMissing(() =>
        withFile(files, at(path), fs.constants.O_RDONLY | fs.constants.O_NONBLOCK, 0, (fd) => readAll(files, fd, path, most, isState(path) ? refuse : null)),
      );
    },
    facts(path) {
      const stats = unlessMissing(() => files.lstatSync(at(path)));
      return stats && { size: stats.size, modifiedMs: stats.mtimeMs, mode: stats.mode & 0o7777, uid: stats.uid, regular: stats.isFile() };
    },
    replace(path, bytes, mode = 0o600) {
      checkStateFolder(path);
      const temp = at(unfinished(path));
      unlessMissing(() => files.unlinkSync(temp));
      try {
        withFile(files, temp, fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_EXCL, mode, (fd) => {
          files.fchmodSync(fd, mode);
          writeAll(files, fd, typeof bytes === 'string' ? Buffer.from(bytes) : bytes);
          files.fsyncSync(fd);
        });
        files.renameSync(temp, at(path));
      } catch (error) {
        try {
          files.unlinkSync(temp);
        } catch {
          // What could not be written may not be removable either; the next write removes it.
        }
        throw error;
      }
      syncFolder(files, dirname(at(path)));
    },
    createEmpty(path) {
      checkStateFolder(path);
      withFile(files, at(path), fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_EXCL, 0o600, (fd) => {
        files.fchmodSync(fd, 0o600);
        files.fsyncSync(fd);
      });
      syncFolder(files, dirname(at(path)));
    },
    sync(path) {
      withFile(files, at(path), fs.constants.O_RDONLY | fs.constants.O_NONBLOCK, 0, files.fsyncSync);
    },
    remove(path) {
      if (unlessMissing(() => files.unlinkSync(at(path)) ?? true)) syncFolder(files, dirname(at(path)));
    },
    rename(from, to) {
      files.renameSync(at(from), at(to));
      // Where it went to first: a power cut between the two may leave it in both folders, never in neither.
      for (const folder of new Set([dirname(at(to)), dirname(at(from))])) syncFolder(files, folder);
    },
    list(folder, which) {
      const names = unlessMissing(() => files.readdirSync(at(folder))) ?? [];
      return names.filter((name) => which === 'unfinished too' || !isUnfinished(name)).sort();
    },
    makeFolder(path, mode) {
      files.mkdirSync(dirname(at(path)), { recursive: true, mode: 0o755 });
      try {
        files.mkdirSync(at(path), { mode });
        // Whatever is synced in it would vanish with its name.
        syncFolder(files, dirname(at(path)));
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error;
      }
      const stats = files.lstatSync(at(path));
      if (!stats.isDirectory()) throw new Problem('JOURNAL_NOT_OURS', `${path} is not a folder`);
      if (stats.uid !== me) throw new Problem('JOURNAL_NOT_OURS', `${path} belongs to uid ${stats.uid}`);
      // Others could have put files into it: tightening it now would only hide that.
      if (stats.mode & 0o022 & ~mode) throw new Problem('JOURNAL_NOT_OURS', `${path} can be written by others`);
      if ((stats.mode & 0o777) !== mode) files.chmodSync(at(path), mode);
    },
    freeBytes(path) {
      const { bavail, bsize } = files.statfsSync(at(path));
      return bavail * bsize;
    },
  };
}

function readAll(files: SystemCalls, fd: number, path: string, most: number, check: ((path: string, stats: fs.Stats) => void) | null): Buffer {
  const stats = files.fstatSync(fd);
  // macOS's own "inappropriate file type".
  if (!stats.isFile()) throw check ? new Problem('JOURNAL_NOT_OURS', `${path} is not a file`) : fault('EFTYPE', path);
  check?.(path, stats);
  if (stats.size > most) throw fault('EFBIG', path);
  // One byte more than may be there: a file that grows while it is read is noticed.
  const buffer = Buffer.alloc(most + 1 < 65_536 ? most + 1 : Math.min(most + 1, stats.size + 65_536));
  let length = 0;
  for (let read = -1; read !== 0 && length < buffer.length; length += read) read = files.readSync(fd, buffer, length, buffer.length - length, null);
  if (length > most || length === buffer.length) throw fault('EFBIG', path);
  return buffer.subarray(0, length);
}

function writeAll(files: SystemCalls, fd: number, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length; ) written += files.writeSync(fd, bytes, written);
}
