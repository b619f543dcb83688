import { closeSync, fstatSync, openSync, readdirSync, type Stats, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Problem } from '../../protocol/problems.ts';
import { readNext } from '../descriptors.ts';
import { type GivenFile, mostFileBytes } from './export.ts';

/** More files than this in a folder are no envelopes of one organisation's Macs. */
const mostInFolder = 200_000;
/** An envelope has 16 KiB at most; in base64 and PEM somewhat more. */
const mostEnvelopeBytes = 64 * 1024;

export interface FilesRead {
  files: GivenFile[];
  /** What people should know of them. */
  notes: string[];
}

const causes: Record<string, string> = {
  ENOENT: 'there is no such file',
  EACCES: 'you may not read it',
  EPERM: 'you may not read it',
  ELOOP: 'it leads round in a circle',
};
const cannot = (path: string, error: unknown): Problem => {
  const { code = '' } = error as NodeJS.ErrnoException;
  return new Problem('USAGE', `${path} cannot be read: ${causes[code] ?? (code || 'unknown')}`);
};

/** Opens, never writes, and notices when somebody else writes meanwhile. `-` is standard input. */
function readWhole(path: string, most: number): { bytes: Buffer; stats: Stats } {
  let handle: number;
  try {
    handle = path === '-' ? 0 : openSync(path, 'r');
  } catch (error) {
    throw cannot(path, error);
  }
  try {
    const stats = fstatSync(handle);
    if (stats.isDirectory()) throw new Problem('USAGE', `${path} is a folder`);
    if (path !== '-' && !stats.isFile() && !stats.isFIFO()) throw new Problem('USAGE', `${path} is no file`);
    const bytes = readBounded(handle, most, path);
    const now = fstatSync(handle);
    if (stats.isFile() && (now.size !== bytes.length || now.mtimeMs !== stats.mtimeMs))
      throw new Problem('USAGE', `${path} was changed while it was read: wait until it is whole; nothing was changed here`);
    return { bytes, stats };
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw cannot(path, error);
  } finally {
    if (path !== '-') closeSync(handle);
  }
}

function readBounded(handle: number, most: number, path: string): Buffer {
  const parts: Buffer[] = [];
  let length = 0;
  for (;;) {
    const part = Buffer.alloc(1024 * 1024);
    const count = readNext(handle, part);
    if (count === 0) return Buffer.concat(parts, length);
    length += count;
    if (length > most) throw new Problem('EXPORT_INVALID', `${path} has more than ${Math.round(most / 1024)} KB: cut it into several`);
    parts.push(part.subarray(0, count));
  }
}

const othersCanRead = (stats: Stats): boolean => (stats.mode & 0o077) !== 0;

/** All that was named: files, `-`, and folders with one envelope for each Mac. */
export function readFiles(paths: readonly string[]): FilesRead {
  const read: FilesRead = { files: [], notes: [] };
  for (const path of paths) {
    if (path !== '-' && isFolder(path)) readFolder(path, read);
    else {
      const { bytes, stats } = readWhole(path, mostFileBytes);
      read.files.push({ name: path === '-' || !stats.isFile() ? 'standard input' : basename(path), bytes, inFolder: false });
      if (stats.isFile() && othersCanRead(stats))
        read.notes.push(`${path} can be read by others on this machine: chmod 600 it, and count its keys as seen if that matters`);
    }
  }
  return read;
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    throw cannot(path, error);
  }
}

function readFolder(path: string, read: FilesRead): void {
  let names: string[];
  try {
    names = readdirSync(path).toSorted();
  } catch (error) {
    throw cannot(path, error);
  }
  if (names.length > mostInFolder) throw new Problem('USAGE', `${path} has more than ${mostInFolder} files`);
  const hidden = names.filter((name) => name.startsWith('.'));
  if (hidden.length > 0) read.notes.push(`in ${path} ${hidden.length} hidden file(s) were not read`);
  const shown = names.filter((name) => !name.startsWith('.'));
  if (shown.length === 0) throw new Problem('USAGE', `${path} is a folder without files`);
  for (const name of shown) {
    const file = join(path, name);
    if (isFolder(file)) throw new Problem('USAGE', `${file} is a folder in a folder: name it by itself`);
    read.files.push({ name, bytes: readWhole(file, mostEnvelopeBytes).bytes, inFolder: true });
  }
}
