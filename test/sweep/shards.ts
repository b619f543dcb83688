import { type ChildProcess, fork } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { emptyRow, type Row } from './result.ts';

/*
 * A sweep in several processes: each takes its part of one row, has a backend and a time of its own, and says how far it is.
 */

export interface Part {
  /** What the process is started with. */
  args: string[];
  name: string;
}

export type Said = { done: number; all: number } | { rows: Row[] };

/** Files that live for a second do not have to reach a disk, where the system has a place in memory for them. */
export function quickFolder(): string {
  try {
    accessSync('/dev/shm', constants.W_OK);
    return '/dev/shm';
  } catch {
    return tmpdir();
  }
}

/** Runs `script` once for each part, `workers` at a time. A process that dies is a row with that in it. */
export async function runParts(script: string, parts: readonly Part[], workers: number, progress: (done: number, all: number) => void): Promise<Row[]> {
  const waiting = [...parts];
  const counts = new Map<Part, { done: number; all: number }>();
  const rows = new Map<Part, Row[]>();
  const running = new Set<ChildProcess>();
  const tell = (): void => {
    const all = [...counts.values()];
    progress(
      all.reduce((sum, one) => sum + one.done, 0),
      all.reduce((sum, one) => sum + one.all, 0),
    );
  };
  // Their Macs and backends lie here, and go with it, however a process ended.
  const folder = mkdtempSync(join(quickFolder(), `sweep-${process.pid}-`));
  const stop = (): void => {
    for (const child of running) child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', stop);
  const runOne = (part: Part): Promise<void> =>
    new Promise((resolve) => {
      const child = fork(script, part.args, { env: { ...process.env, TMPDIR: folder }, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
      running.add(child);
      const said: Buffer[] = [];
      child.stderr?.on('data', (chunk: Buffer) => said.push(chunk));
      child.on('message', (message: Said) => {
        if ('rows' in message) rows.set(part, message.rows);
        else {
          counts.set(part, message);
          tell();
        }
      });
      child.on('close', (code, signal) => {
        running.delete(child);
        const words = `the sweep of this row ended (${signal ?? code}): ${Buffer.concat(said).toString().trim()}`;
        if (!rows.has(part)) rows.set(part, [{ ...emptyRow(part.name), bad: [words] }]);
        resolve();
      });
    });
  const work = async (): Promise<void> => {
    for (let part = waiting.shift(); part; part = waiting.shift()) await runOne(part);
  };
  await Promise.all(Array.from({ length: workers }, work));
  process.removeListener('exit', stop);
  stop();
  return parts.flatMap((part) => rows.get(part) ?? []);
}

/** A signal ends all of a sweep: the processes that it started first, by what they leave at `exit`. */
export function endBySignals(): void {
  for (const [signal, number] of Object.entries({ SIGHUP: 1, SIGINT: 2, SIGTERM: 15 })) process.once(signal, () => process.exit(128 + number));
}

/** A process of a sweep whose parent is gone has nobody to tell: it ends, and the folder of all of them goes. Returns what is called at its good end. */
export function endWithParent(): () => void {
  const folder = tmpdir();
  const end = (): void => {
    if (basename(folder).startsWith('sweep-')) rmSync(folder, { recursive: true, force: true });
    process.kill(process.pid, 'SIGKILL');
  };
  process.once('disconnect', end);
  return () => {
    process.removeListener('disconnect', end);
    process.disconnect?.();
  };
}
