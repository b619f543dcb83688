import { randomUUID } from 'node:crypto';
import { Problem } from '../protocol/problems.ts';
import { label, paths } from './paths.ts';
import { ask, makeFolders, type Request, type Result, readAnswer, readProgress } from './requests.ts';
import type { Disk, Ran, Runner } from './world.ts';

/*
 * A person asks, the job acts: a request in the queue, a kick, and then only reading. Whoever waits may go
 * away at any time; the request stays, and the job goes on with it.
 */

export const defaultTimeoutSeconds = 15 * 60;
const pollMilliseconds = 100;
/** launchctl's exit status for a service that launchd does not know; the words around it differ between versions. */
const noSuchService = 113;

export interface Asking {
  root: string;
  disk: Disk;
  runner: Runner;
  /** Milliseconds that only go forward. */
  monotonic(): number;
  wait(milliseconds: number): Promise<void>;
  interrupted: AbortSignal;
  /** What the job is doing now, each time that it changes. */
  progress(says: string): void;
  /** Whatever else there is to do while the answer is waited for. */
  meanwhile?(requestId: string): void;
}

/**
 * Whether this process may put requests into the queue: root, or on another root folder than `/` whoever owns the state
 * folder there, so that a fake Mac needs no root.
 */
export function mayAsk(root: string, disk: Disk, uid: number | undefined = process.geteuid?.()): boolean {
  if (uid === 0) return true;
  if (root === '/') return false;
  return (disk.facts(paths.state) ?? disk.facts('/'))?.uid === uid;
}

/** What the job answers, or `left` when the person stopped waiting. Throws a `Problem` where there will be no answer, or none in time. */
export async function askTheJob(asking: Asking, what: Omit<Request, 'id'>, timeoutSeconds: number): Promise<Result | 'left'> {
  const { disk, runner } = asking;
  if (!mayAsk(asking.root, disk)) throw new Problem('NOT_ROOT');
  makeFolders(disk);
  const id = randomUUID();
  const until = asking.monotonic() + timeoutSeconds * 1000;
  ask(disk, { id, ...what });
  const kicked = await runner.run({ program: '/bin/launchctl', args: ['kickstart', `system/${label}`] });
  const nobody = whyNobody(kicked, disk);
  if (nobody !== null) {
    // Nobody expects it to be done when the job is back some day.
    disk.remove(`${paths.queue}/${id}.json`);
    throw new Problem('JOB_NOT_LOADED', nobody);
  }
  return follow(asking, id, until, timeoutSeconds, kicked.code === 0 ? null : (kicked.failed ?? `exit ${kicked.code}`));
}

/** Has the job look at what only it can see. Null when it did; otherwise why not. Doctor then goes by what it saw before. */
export async function lookThroughTheJob(asking: Asking, timeoutSeconds: number): Promise<string | null> {
  try {
    // The answer says how the run ended; what it saw is in the status file, even where it ended badly.
    const result = await askTheJob(asking, { kind: 'look', reason: null }, timeoutSeconds);
    return result === 'left' ? 'it was not waited for' : null;
  } catch (error) {
    return error instanceof Problem ? error.message : 'it could not be asked';
  }
}

/** Why nobody will act on the request, or null. */
function whyNobody({ code, failed }: Ran, disk: Disk): string | null {
  if (failed === 'not-found' || failed === 'not-permitted') return 'launchctl cannot be run';
  if (code !== noSuchService) return null;
  return disk.facts(paths.job) ? 'its file is there, so somebody has turned it off' : `there is no ${paths.job}`;
}

/** Where launchctl failed otherwise, the queue folder alone wakes the job, a little later. */
async function follow(asking: Asking, id: string, until: number, timeoutSeconds: number, kickFailed: string | null): Promise<Result | 'left'> {
  const { disk } = asking;
  let last: string | null = null;
  for (;;) {
    const result = readAnswer(disk, id);
    if (result) return result;
    const says = readProgress(disk, id);
    if (says !== null && says !== last) asking.progress(says);
    asking.meanwhile?.(id);
    last = says ?? last;
    if (asking.interrupted.aborted) return 'left';
    if (disk.list(paths.failed).some((name) => name.startsWith(`${id}.`)))
      throw new Problem('AGENT_BUG', 'the job ended in the middle of this request three times');
    if (asking.monotonic() >= until) {
      throw new Problem('JOB_NO_ANSWER', `nothing for ${timeoutSeconds} s${kickFailed ? `; launchctl could not start it (${kickFailed})` : ''}`);
    }
    await asking.wait(pollMilliseconds);
  }
}
