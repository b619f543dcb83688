import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { paths } from './paths.ts';
import type { Disk } from './world.ts';

/*
 * launchd wakes the agent often: at its interval, and whenever a watched path changes. Most of the time nothing has changed
 * and nothing is due. A run that ended with nothing left to do says until when in a note under /var/run, which macOS
 * empties at each boot; while the note holds, the next run ends here, before any module, command or network.
 * Nothing is decided by it but when to look again.
 */

interface Stamp {
  size: number;
  modifiedMs: number;
}

interface Note {
  version: string;
  /** Milliseconds of the Mac's clock: written at, and good until. A clock that went backwards makes the note void. */
  at: number;
  until: number;
  escrowFile: Stamp | null;
  settings: Stamp | null;
}

const watched = { escrowFile: paths.escrowFile, settings: paths.settings } as const;

/** Whether this run may end at once. */
export function nothingToDo(root: string, version: string, now: number = Date.now()): boolean {
  try {
    const path = join(root, paths.quiet);
    const facts = lstatSync(path);
    if (!facts.isFile() || facts.mode & 0o077 || facts.uid !== process.geteuid?.()) return false;
    const note = JSON.parse(readFileSync(path, 'utf8')) as Note;
    if (note.version !== version || now < note.at || now >= note.until) return false;
    if (readdirSync(join(root, paths.queue)).length > 0) return false;
    return same(note.escrowFile, stampOf(root, watched.escrowFile)) && same(note.settings, stampOf(root, watched.settings));
  } catch {
    return false;
  }
}

/** `escrowFile` as the run saw it: one that macOS wrote since then must wake the next run. */
export function sayQuietUntil(root: string, disk: Disk, version: string, now: number, seconds: number, escrowFile: Stamp | null): void {
  const note: Note = {
    version,
    at: now,
    until: now + seconds * 1000,
    escrowFile: escrowFile && { size: escrowFile.size, modifiedMs: escrowFile.modifiedMs },
    settings: stampOf(root, watched.settings),
  };
  disk.makeFolder('/var/run', 0o755);
  disk.replace(paths.quiet, JSON.stringify(note), 0o600);
}

/** First act of a full run: until it has ended well, nothing is quiet. */
export function endQuiet(disk: Disk): void {
  if (disk.facts(paths.quiet)) disk.remove(paths.quiet);
}

function stampOf(root: string, path: string): Stamp | null {
  try {
    const { size, mtimeMs } = lstatSync(join(root, path));
    return { size, modifiedMs: mtimeMs };
  } catch {
    return null;
  }
}

const same = (one: Stamp | null, other: Stamp | null): boolean => one?.size === other?.size && one?.modifiedMs === other?.modifiedMs;
