import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { paths } from './paths.ts';

/*
 * One run at a time. The lock names its process and its boot session, so that one left by a run that died is known for
 * what it is. It appears whole (written beside, then linked): a reader never sees half of it.
 */

export interface Lock {
  release(): void;
}

interface Holder {
  pid: number;
  boot: string;
}

/** Null when another run holds it. `alive` says whether a process is still there. */
export function takeLock(root: string, me: Holder, alive: (pid: number) => boolean = processIsAlive): Lock | null {
  const lock = join(root, paths.lock);
  const mine = `${lock}.${me.pid}`;
  writeFileSync(mine, JSON.stringify(me), { mode: 0o600 });
  try {
    for (let tries = 0; tries < 3; tries++) {
      if (linked(mine, lock)) return { release: () => release(lock, me) };
      const holder = readHolder(lock);
      if (holder && holder.boot === me.boot && holder.pid !== me.pid && alive(holder.pid)) return null;
      setAside(lock, holder, `${lock}.stale.${me.pid}`);
    }
    return null;
  } finally {
    rmSync(mine, { force: true });
  }
}

function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw cause;
  }
}

function readHolder(lock: string): Holder | null {
  try {
    const it = JSON.parse(readFileSync(lock, 'utf8')) as Partial<Holder>;
    // 0 and less would ask about groups of processes, and one of those is always there.
    return Number.isInteger(it.pid) && Number(it.pid) > 0 && typeof it.boot === 'string' ? { pid: Number(it.pid), boot: it.boot } : null;
  } catch {
    return null;
  }
}

/** Takes a stale lock away, unless it became somebody else's between the look and the rename: then it is given back. */
function setAside(lock: string, seen: Holder | null, aside: string): void {
  try {
    renameSync(lock, aside);
  } catch {
    return;
  }
  const moved = readHolder(aside);
  if (moved && (moved.pid !== seen?.pid || moved.boot !== seen.boot)) linked(aside, lock);
  rmSync(aside, { force: true });
}

function release(lock: string, me: Holder): void {
  const holder = readHolder(lock);
  if (holder?.pid === me.pid && holder.boot === me.boot) rmSync(lock, { force: true });
}

function processIsAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === 'EPERM';
  }
}
