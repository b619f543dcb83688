import { createHash } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Problem } from '../../protocol/problems.ts';
import { syncFolder, unwritable } from '../private-files.ts';

/** What lies where in the folder that everything goes out into. */
export interface LeavingPaths {
  out: string;
  /** There for as long as something is missing: taken away last. */
  incomplete: string;
  opening: string;
  manifest: string;
  table: string;
  audit: string;
  envelopes: string;
  escrow: string;
  /** A copy of the database to read from, gone at the end. */
  copy: string;
}

export const leavingPaths = (out: string): LeavingPaths => ({
  out,
  incomplete: join(out, 'INCOMPLETE'),
  opening: join(out, 'OPENING.md'),
  manifest: join(out, 'manifest.json'),
  table: join(out, 'manifest.csv'),
  audit: join(out, 'audit.jsonl'),
  envelopes: join(out, 'envelopes'),
  escrow: join(out, 'escrow'),
  copy: join(out, '.reading.sqlite'),
});

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Not there, empty, or what a cut run left: anything else is somebody's, and stays as it is. */
export function openFolder(out: string): LeavingPaths {
  const paths = leavingPaths(out);
  try {
    if (!existsSync(out)) mkdirSync(out, { mode: 0o700 });
    if (!statSync(out).isDirectory()) throw new Problem('USAGE', `${out} is no folder`);
    if ((statSync(out).mode & 0o077) !== 0) throw new Problem('FILE_TOO_OPEN', `${out} (chmod 700)`);
    if (existsSync(paths.manifest) && !existsSync(paths.incomplete))
      throw new Problem('USAGE', `${out} is complete; look at it with --check and without --dir, or name another folder`);
    const found = readdirSync(out);
    if (found.length > 0 && !existsSync(paths.incomplete)) throw new Problem('USAGE', `${out} is not empty`);
    writeWhole(paths.incomplete, 'This folder is not complete. Run `sparekey-server leave` with it again.\n');
    syncFolder(out);
    for (const folder of [paths.envelopes, paths.escrow]) mkdirSync(folder, { mode: 0o700, recursive: true });
    dropCopy(paths);
    return paths;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw new Problem('USAGE', `${out} cannot be made: there is no such folder`);
    throw unwritable(out, error);
  }
}

export function dropCopy({ copy }: LeavingPaths): void {
  for (const end of ['', '-wal', '-shm', '-journal']) rmSync(`${copy}${end}`, { force: true });
}

/** Private, and on the disk when this returns; one that is there already and is the same stays as it is. True where it was written. */
export function writeWhole(path: string, content: string | Uint8Array): boolean {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  if (existsSync(path) && sha256(readFileSync(path)) === sha256(bytes)) return false;
  rmSync(path, { force: true });
  const handle = openSync(path, 'wx', 0o600);
  try {
    for (let done = 0; done < bytes.length; ) done += writeSync(handle, bytes, done);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  return true;
}

/** From here on it is complete. */
export function closeFolder(paths: LeavingPaths): void {
  for (const folder of [paths.envelopes, paths.escrow, paths.out]) syncFolder(folder);
  rmSync(paths.incomplete);
  syncFolder(paths.out);
}
