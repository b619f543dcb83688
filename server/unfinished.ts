import { randomBytes } from 'node:crypto';
import { readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';

const day = 24 * 60 * 60 * 1000;
/** With the process that makes it in its name; of a release before this one, without. */
const form = /^\.(?:.+\.)?making-(?:(\d+)-)?[0-9a-f]{8}/;

/** The name of what is not whole yet. */
export const unfinishedName = (): string => `.making-${process.pid}-${randomBytes(4).toString('hex')}`;

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Removes what a crash has left in this folder: of a process that is gone, or older than a day. It may hold secrets in clear. */
export function removeUnfinished(folder: string): void {
  for (const name of readdirSync(folder)) {
    const found = form.exec(name);
    if (!found) continue;
    const path = join(folder, name);
    const { mtimeMs } = statSync(path, { throwIfNoEntry: false }) ?? {};
    if (mtimeMs !== undefined && (Date.now() - mtimeMs > day || (found[1] !== undefined && !isAlive(Number(found[1])))))
      rmSync(path, { recursive: true, force: true });
  }
}
