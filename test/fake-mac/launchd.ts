// The fake launchd: reads the job's property list, starts it with a bare environment in a process group of its own, never
// two at a time, and when the job is dead ends what is left of its group. A child in a session of its own survives.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startInBackground } from './background.ts';
import { inTheRoot, type Launchd } from './commands/outcome.ts';
import { type JobPlist, readJob } from './job.ts';
import { Machine } from './machine.ts';
import type { MacState } from './state.ts';
import { alive, readState } from './state-file.ts';

export const jobLabel = 'io.sparekey.agent';
const noMachine = { door: 'folder' as const, clock: Date.now };

/** In process nothing is started: the test is the job. */
export const noLaunchd: Launchd = { start: () => true, signal: () => false };

export const folderLaunchd = (root: string): Launchd => ({
  start(label) {
    if (isRunning(readState(root), label)) return false;
    // kickstart returns at once; what stands for launchd lives on in the background.
    startInBackground(root, 'launchd', label);
    return true;
  },
  signal(label, signal) {
    const pid = readState(root).jobs[label]?.pid ?? null;
    if (pid === null || !isOfThisMac(root, pid)) return false;
    process.kill(pid, signal);
    return true;
  },
});

const isRunning = (state: MacState, label: string): boolean => {
  const job = state.jobs[label];
  return [job?.pid, job?.supervisor].some((pid) => pid != null && alive(pid));
};

/** A restart, or the end of a test: nothing of this Mac goes on. */
export const stopAll = (root: string, state: MacState): void => {
  const pids = [
    ...state.running.filter(({ door }) => door === 'folder').map(({ pid }) => pid),
    ...Object.values(state.jobs).flatMap(({ pid, supervisor }) => [supervisor, pid].filter((one) => one !== null)),
  ];
  for (const pid of pids) if (pid !== process.pid && isOfThisMac(root, pid)) endProcess(pid);
};

/** A number can belong to somebody else by now: what runs for this Mac has its folder among its arguments. Only Linux shows them. */
const isOfThisMac = (root: string, pid: number): boolean => {
  if (!alive(pid)) return false;
  const shown = `/proc/${pid}/cmdline`;
  try {
    return !existsSync('/proc/self/cmdline') || readFileSync(shown, 'utf8').includes(root);
  } catch {
    return false;
  }
};

const endProcess = (pid: number): void => {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It was quicker.
  }
};

const endGroup = (pid: number): void => {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Nothing is left of it.
  }
};

const open = (root: string, path: string | null): number | 'ignore' => {
  if (path === null || path === '/dev/null') return 'ignore';
  mkdirSync(dirname(inTheRoot(root, path)), { recursive: true });
  return openSync(inTheRoot(root, path), 'a', 0o644);
};

/** Arguments that name something on the Mac are meant there: `/Library/…/node`, and `/` itself after `--root`. */
const resolveArgument = (root: string, argument: string): string =>
  argument.startsWith('/') && existsSync(join(root, argument)) ? join(root, argument) : argument;

const startJob = (root: string, job: JobPlist): ChildProcess => {
  const [program = '', ...args] = job.programArguments.map((argument) => resolveArgument(root, argument));
  const output = [job.standardOutPath, job.standardErrorPath].map((path) => open(root, path));
  const before = job.umask === null ? null : process.umask(job.umask);
  try {
    return spawn(program, args, {
      cwd: root,
      detached: true,
      env: { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', XPC_SERVICE_NAME: job.label, ...job.environment },
      stdio: ['ignore', output[0] ?? 'ignore', output[1] ?? 'ignore'],
    });
  } finally {
    if (before !== null) process.umask(before);
    for (const file of output) if (typeof file === 'number') closeSync(file);
  }
};

const queueIsFull = (root: string, job: JobPlist): boolean =>
  job.queueDirectories.some((folder) => existsSync(inTheRoot(root, folder)) && readdirSync(inTheRoot(root, folder)).length > 0);

/** A queue that nobody empties would keep a job alive for ever; here it does so this many times. */
const mostStarts = 20;

export class JobNotThere extends Error {}

/**
 * One start of the job, until it is dead: its exit status, or 128 and the signal. `busy` where it runs already.
 * With `queue` it is started again as long as one of its queue folders has something in it, as launchd does.
 */
export const runJob = async (root: string, label: string, queue: boolean): Promise<number | 'busy'> => {
  const machine = new Machine(root, { ...noMachine, launchd: folderLaunchd(root) });
  machine.settle();
  const path = machine.state.jobs[label]?.path;
  const plist = path !== undefined && existsSync(inTheRoot(root, path)) ? readJob(readFileSync(inTheRoot(root, path))) : null;
  if (path === undefined || !plist) throw new JobNotThere(`this fake Mac has no job ${label}`);
  const mine = machine.change((state) => {
    const job = state.jobs[label];
    if (!job || isRunning(state, label)) return false;
    job.supervisor = process.pid;
    return true;
  });
  if (!mine) return 'busy';
  let code = 0;
  for (let starts = 1; ; starts += 1) {
    const began = Date.now();
    code = await runOnce(machine, plist);
    const again = machine.change((state) => {
      const job = state.jobs[label];
      if (queue && starts < mostStarts && job?.loaded && queueIsFull(root, plist)) return true;
      if (job) job.supervisor = null;
      return false;
    });
    if (!again) return code;
    await sleep(Math.max(0, machine.state.quirks.throttleSeconds * 1000 - (Date.now() - began)));
  }
};

const runOnce = async (machine: Machine, plist: JobPlist): Promise<number> => {
  const child = startJob(machine.root, plist);
  const pid = child.pid ?? null;
  const dead = new Promise<number>((resolve) => {
    child.on('error', () => resolve(78));
    child.on('exit', (code, signal) => resolve(code ?? 128 + (signal === 'SIGKILL' ? 9 : signal === 'SIGTERM' ? 15 : 1)));
  });
  machine.change((state) => Object.assign(state.jobs[plist.label] ?? {}, { pid }));
  const stop = (): void => void child.kill('SIGTERM');
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop);
  const code = await dead;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.removeListener(signal, stop);
  if (pid !== null && !plist.abandonProcessGroup) endGroup(pid);
  machine.change((state) => {
    const job = state.jobs[plist.label];
    if (job) Object.assign(job, { pid: null, runs: job.runs + 1, lastExit: code });
  });
  return code;
};
