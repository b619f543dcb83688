import * as fs from 'node:fs';
import { dirname, join } from 'node:path';
import type { SystemCalls } from '../../agent/disk.ts';
import { paths } from '../../agent/paths.ts';

/*
 * A disk that keeps what was synced and may lose the rest. The calls go to the real files of a fake Mac's folder; beside them
 * stands what the platter has: of each file the content at its last fsync, of each folder the names at its own last fsync.
 * Where POSIX and APFS differ, this is POSIX, which promises less: a file's fsync brings no name of it to the disk, and a
 * rename between two folders is two changes, each durable with its own folder. Within one folder a rename is one change.
 *
 * What others write is followed as well, and is never durable until the agent syncs it: fdesetup's output, which comes
 * through descriptors that it inherited, and the lock, which nobody syncs.
 *
 * Assumed, because the agent can neither do nor see it:
 * - A keychain item and the change of the key are macOS's own transactions: they happened, or they did not (`.fake/`).
 * - Profiles and managed preferences do not change here. /var/run is emptied at the start, whatever it held.
 * - macOS writes its escrow file whole, by a rename. Whether it reaches the disk together with the key change nobody has
 *   published: `escrowFile` says which is played, and `late` means half a minute later.
 */

/** What survives of the things that were not synced. A seed: some of them, some cut off, some empty, some full of zeros. */
export type Survivors = 'none' | 'all' | { seed: number };

export interface VolatileOptions {
  escrowFile?: 'with the change' | 'late';
  /** A fault to find: syncing that does nothing, where it says `done`. */
  lies?: 'about files' | 'about folders';
  /** Milliseconds, for an escrow file that is late. */
  now?: () => number;
  /** Told before each call that changes something, by name; it may throw. */
  before?: (call: string) => void;
}

export interface Volatile {
  calls: SystemCalls;
  /** Takes what survives now; the folder changes when it is applied. */
  cut(survivors: Survivors): Frozen;
  /** What of all that is there is not durable. Not named: the lock, which never is, and files that are being written, which nobody reads. */
  unsynced(): string[];
  /** The same text twice: between the two nothing on the disk changed, durable or not, that anybody reads. */
  state(): string;
}

/** What survived. */
export interface Frozen {
  apply(): void;
}

interface File {
  durable: Buffer;
}
type Names = Map<string, File>;

const roots = [paths.state, paths.public] as const;
const inScope = (path: string): boolean => roots.some((root) => path === root || path.startsWith(`${root}/`));
const isUnfinished = (path: string): boolean => /\/\.[^/]+\.new$/.test(path);
const lateMilliseconds = 30_000;

export function volatile(root: string, options: VolatileOptions = {}): Volatile {
  const at = (path: string): string => join(root, path);
  const onMac = (path: fs.PathLike): string => String(path).slice(root.length);
  const read = (path: string): Buffer => fs.readFileSync(at(path));

  const files: Names = new Map();
  const folders = new Set<string>();
  let durableFiles: Names = new Map();
  let durableFolders = new Set<string>();
  let escrow = escrowNow();
  let escrowSince = 0;
  const opened = new Map<number, string>();

  function escrowNow(): { bytes: Buffer; modifiedMs: number } | null {
    if (!fs.existsSync(at(paths.escrowFile))) return null;
    return { bytes: read(paths.escrowFile), modifiedMs: fs.statSync(at(paths.escrowFile)).mtimeMs };
  }

  /** An escrow file that is late enough is durable. */
  function lookAtEscrowFile(): void {
    const there = escrowNow();
    if (there && escrow?.bytes.equals(there.bytes)) escrowSince = 0;
    else if (options.escrowFile !== 'late') escrow = there;
    else if (escrowSince === 0) escrowSince = options.now?.() ?? 0;
    else if ((options.now?.() ?? 0) - escrowSince >= lateMilliseconds) [escrow, escrowSince] = [there, 0];
  }

  /** Names that came and went without these calls: they are live, and nothing of them is durable. */
  function lookBehind(): void {
    const seen = new Set<string>();
    const walk = (folder: string): void => {
      folders.add(folder);
      seen.add(folder);
      for (const entry of fs.readdirSync(at(folder), { withFileTypes: true })) {
        const path = `${folder}/${entry.name}`;
        if (entry.isDirectory()) walk(path);
        else {
          seen.add(path);
          if (!files.has(path)) files.set(path, { durable: Buffer.alloc(0) });
        }
      }
    };
    for (const one of roots) if (fs.existsSync(at(one))) walk(one);
    for (const path of [...files.keys()]) if (!seen.has(path)) files.delete(path);
    for (const path of [...folders]) if (!seen.has(path)) folders.delete(path);
  }

  function syncAll(): void {
    lookBehind();
    for (const [path, file] of files) file.durable = read(path);
    durableFiles = new Map(files);
    durableFolders = new Set(folders);
    escrow = escrowNow();
    escrowSince = 0;
  }
  // The Mac has stood there for a while.
  syncAll();

  const before = (call: string, path: string): void => options.before?.(`${call} ${path.replace(/.*\//, '')}`);
  const opens = (path: fs.PathLike, flags: number): boolean => Boolean(flags & fs.constants.O_CREAT) && inScope(onMac(path));

  function syncFolder(folder: string): void {
    if (options.lies === 'about folders') return;
    lookBehind();
    const isIn = (path: string): boolean => dirname(path) === folder;
    for (const path of [...durableFiles.keys()]) if (isIn(path) && files.get(path) !== durableFiles.get(path)) durableFiles.delete(path);
    for (const [path, file] of files) if (isIn(path)) durableFiles.set(path, file);
    for (const path of folders) if (isIn(path)) durableFolders.add(path);
  }

  const calls: SystemCalls = {
    ...fs,
    openSync(path, flags, mode) {
      if (opens(path, Number(flags))) before('create', onMac(path));
      const fd = fs.openSync(path, flags, mode);
      opened.set(fd, onMac(path));
      if (opens(path, Number(flags)) && Number(flags) & fs.constants.O_EXCL) files.set(onMac(path), { durable: Buffer.alloc(0) });
      return fd;
    },
    closeSync(fd) {
      opened.delete(fd);
      fs.closeSync(fd);
    },
    writeSync: ((fd: number, ...more: [NodeJS.ArrayBufferView]) => {
      before('write', opened.get(fd) ?? '');
      return fs.writeSync(fd, ...more);
    }) as typeof fs.writeSync,
    fsyncSync(fd) {
      const path = opened.get(fd) ?? '';
      before('fsync', path);
      fs.fsyncSync(fd);
      if (fs.fstatSync(fd).isDirectory()) syncFolder(path);
      else if (options.lies !== 'about files') {
        const file = files.get(path);
        if (file) file.durable = read(path);
      }
    },
    renameSync(from, to) {
      before('rename', onMac(to));
      fs.renameSync(from, to);
      const file = files.get(onMac(from));
      files.delete(onMac(from));
      if (file) files.set(onMac(to), file);
    },
    unlinkSync(path) {
      // What is not there cannot be removed, and nothing changes.
      if (fs.existsSync(path)) before('unlink', onMac(path));
      fs.unlinkSync(path);
      files.delete(onMac(path));
    },
    mkdirSync: ((path: fs.PathLike, how: fs.MakeDirectoryOptions) => {
      if (!fs.existsSync(path)) before('mkdir', onMac(path));
      const made = fs.mkdirSync(path, how);
      if (inScope(onMac(path))) folders.add(onMac(path));
      return made;
    }) as typeof fs.mkdirSync,
  };

  function survivingFolders(flip: (() => number) | null, survivors: Survivors): Set<string> {
    const those = [...folders].filter((path) => durableFolders.has(path) || survivors === 'all' || (flip !== null && flip() < 0.5)).sort();
    const there = new Set<string>();
    for (const path of those) if ((roots as readonly string[]).includes(path) || there.has(dirname(path))) there.add(path);
    return there;
  }

  function contentOf(file: File, flip: (() => number) | null, survivors: Survivors): Buffer {
    const path = [...files].find(([, one]) => one === file)?.[0];
    const now = path ? read(path) : file.durable;
    if (survivors === 'none' || now.equals(file.durable)) return file.durable;
    if (survivors === 'all' || flip === null) return now;
    const kept = now.subarray(0, file.durable.length).equals(file.durable) ? file.durable.length : 0;
    const rest = now.length - kept;
    const ways = [
      () => file.durable,
      () => now,
      () => now.subarray(0, kept + Math.floor(flip() * rest)),
      () => Buffer.concat([now.subarray(0, kept), Buffer.alloc(rest)]),
    ];
    return ways[Math.floor(flip() * ways.length)]?.() ?? file.durable;
  }

  function cut(survivors: Survivors): Frozen {
    lookBehind();
    lookAtEscrowFile();
    const flip = typeof survivors === 'object' ? randomFrom(survivors.seed) : null;
    const there = survivingFolders(flip, survivors);
    const kept = new Map<string, Buffer>();
    for (const path of [...new Set([...files.keys(), ...durableFiles.keys()])].sort()) {
      const [old, now] = [durableFiles.get(path), files.get(path)];
      const file = old === now || survivors === 'none' ? old : survivors === 'all' || (flip !== null && flip() < 0.5) ? now : old;
      if (file && there.has(dirname(path))) kept.set(path, contentOf(file, flip, survivors));
    }
    const escrowLost = escrowSince > 0 && (survivors === 'none' || (flip !== null && flip() < 0.5));
    const oldEscrow = escrow;
    return {
      apply() {
        for (const one of roots) clear(at(one), there, root);
        for (const path of [...there].sort()) fs.mkdirSync(at(path), { recursive: true, mode: path.startsWith(paths.public) ? 0o755 : 0o700 });
        for (const [path, bytes] of kept) fs.writeFileSync(at(path), bytes, { mode: path.startsWith(paths.public) ? 0o644 : 0o600 });
        if (escrowLost) {
          fs.rmSync(at(paths.escrowFile), { force: true });
          if (oldEscrow) {
            fs.writeFileSync(at(paths.escrowFile), oldEscrow.bytes, { mode: 0o600 });
            fs.utimesSync(at(paths.escrowFile), oldEscrow.modifiedMs / 1000, oldEscrow.modifiedMs / 1000);
          }
        }
        files.clear();
        folders.clear();
        syncAll();
      },
    };
  }

  return {
    calls,
    cut,
    unsynced() {
      lookBehind();
      const all = [...new Set([...files.keys(), ...durableFiles.keys()])].filter((path) => path !== paths.lock && !isUnfinished(path));
      const changed = all.filter((path) => {
        const file = files.get(path);
        return file !== durableFiles.get(path) || (file !== undefined && !read(path).equals(file.durable));
      });
      lookAtEscrowFile();
      return [...changed, ...[...folders].filter((path) => !durableFolders.has(path)), ...(escrowSince > 0 ? [paths.escrowFile] : [])];
    },
    state() {
      lookBehind();
      lookAtEscrowFile();
      const isRead = ([path]: [string, File]): boolean => path !== paths.lock && !isUnfinished(path);
      const names = (of: Names) => [...of].filter(isRead).map(([path, file]) => [path, file === files.get(path), file.durable.toString('latin1')]);
      const live = [...files].filter(isRead).map(([path]) => [path, read(path).toString('latin1')]);
      const folded = [names(files), live, names(durableFiles), [...folders], [...durableFolders]].map((one) => one.map(String).sort());
      return JSON.stringify([folded, escrowSince, escrowNow()?.bytes.toString('latin1')]);
    },
  };
}

/** Everything under `folder` goes, but the folders that stay. */
function clear(folder: string, staying: ReadonlySet<string>, root: string): void {
  if (!fs.existsSync(folder)) return;
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) clear(path, staying, root);
    else fs.rmSync(path);
  }
  if (!staying.has(folder.slice(root.length))) fs.rmdirSync(folder);
}

/** The same numbers for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
