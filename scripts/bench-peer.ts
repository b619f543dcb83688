import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';

/** What a process has used since it began. */
export interface Usage {
  /** Seconds of processor time, all threads. */
  processor: number;
  /** Seconds in which its event loop was at work, or kept from it by the disk: what one more request has to fit into. */
  busy: number;
  /** Commits of its database. */
  commits: number;
}

/** In the child: what it has used so far. */
export function usageNow(commits = 0): Usage {
  const { user, system } = process.cpuUsage();
  return { processor: (user + system) / 1e6, busy: performance.eventLoopUtilization().active / 1000, commits };
}

export interface Peer {
  ask<T>(message: unknown): Promise<T>;
  end(): Promise<void>;
}

/** A process of its own, asked over its channel one question at a time: what it does takes no time from the others' event loop. */
export async function startPeer(script: string, args: readonly string[] = [], execArgv: readonly string[] = []): Promise<Peer> {
  const child: ChildProcess = fork(join(import.meta.dirname, script), args, { execArgv: [...execArgv], stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
  const ended = new Promise<never>((_resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => reject(new Error(`${script} ended with ${code ?? signal}`)));
  });
  ended.catch(() => undefined);
  const answer = <T>(): Promise<T> =>
    Promise.race([
      ended,
      new Promise<T>((resolve, reject) =>
        child.once('message', (message: { answer?: T; failed?: string }) =>
          message.failed === undefined ? resolve(message.answer as T) : reject(new Error(`${script}: ${message.failed}`)),
        ),
      ),
    ]);
  process.once('exit', () => child.kill('SIGKILL'));
  await answer();
  return {
    ask<T>(message: unknown): Promise<T> {
      const coming = answer<T>();
      child.send(message as object);
      return coming;
    },
    async end() {
      child.send({ end: true });
      await ended.catch(() => undefined);
    },
  };
}

/** In the child: says that it is ready, and answers until it is told to end. */
export function answerPeer(answer: (message: never) => unknown, end: () => Promise<void> | void = () => undefined): void {
  process.on('message', async (message: { end?: true }) => {
    if (message.end) {
      await end();
      process.disconnect?.();
      return;
    }
    try {
      process.send?.({ answer: await answer(message as never) });
    } catch (error) {
      process.send?.({ failed: error instanceof Error ? `${error.message}\n${error.stack}` : String(error) });
    }
  });
  // Whoever started it is gone, in whatever way.
  process.on('disconnect', () => process.exit());
  process.send?.({ answer: 'ready' });
}
