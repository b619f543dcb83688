// The only place that starts a process.
import { spawn } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { Problem } from '../../protocol/problems.ts';
import type { Command, Ran, Runner, Started } from '../world.ts';

/** Nothing of the caller's environment: no language, no DYLD or NODE variable, no secret that somebody exported. */
const environment = { LC_ALL: 'C', PATH: '/usr/bin:/bin:/usr/sbin:/sbin' };
const defaultSeconds = 30;
const defaultOutput = 1024 * 1024;

type Failure = NonNullable<Ran['failed']>;

const failureOf = (error: unknown): Failure => {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ENOTDIR' ? 'not-found' : 'not-permitted';
};

const under = (root: string, path: string): string => {
  if (!isAbsolute(path)) throw new TypeError(`a program is named by its absolute path: ${path}`);
  return root === '/' ? path : join(root, path);
};

/**
 * Commands of the Mac whose files lie under `root`. The program's own path is resolved there; arguments stay as they
 * are: a root folder's own programs resolve what they are given.
 */
export function realRunner(root: string): Runner {
  const cwd = root;
  return {
    run: (command) => run(under(root, command.program), cwd, command),
    start: (command) => start(under(root, command.program), cwd, root, command),
  };
}

function run(program: string, cwd: string, command: Command): Promise<Ran> {
  return new Promise((resolve) => {
    const limit = command.outputLimit ?? defaultOutput;
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let failed: Failure | undefined;
    let settled = false;
    // A group of its own: what a command started is ended with it, and a `sleep` it left behind holds no pipe of ours.
    const child = spawn(program, [...command.args], { cwd, env: environment, detached: true, stdio: 'pipe', windowsHide: true });
    const settle = (code: number | null) => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy();
      resolve({ code: failed ? null : code, stdout: Buffer.concat(out), stderr: Buffer.concat(err), ...(failed ? { failed } : {}) });
      // The caller can wipe what it was given; nobody could wipe these.
      for (const chunk of [...out, ...err]) chunk.fill(0);
    };
    const end = (why: Failure) => {
      failed ??= why;
      if (child.pid !== undefined) endGroup(child.pid);
      settle(null);
    };
    const timer = setTimeout(() => end('timeout'), (command.timeoutSeconds ?? defaultSeconds) * 1000);
    const collect = (into: Buffer[]) => {
      let bytes = 0;
      return (chunk: Buffer) => {
        if (settled) return;
        into.push(chunk.subarray(0, Math.max(0, limit - bytes)));
        bytes += chunk.length;
        if (bytes > limit) end('too-much-output');
      };
    };
    child.stdout.on('data', collect(out));
    child.stderr.on('data', collect(err));
    // A command may end without reading what it was given.
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream.on('error', () => {});
    child.on('error', (error) => {
      failed ??= failureOf(error);
      settle(null);
    });
    child.on('close', (code, signal) => {
      if (signal) failed ??= 'signal';
      settle(code);
    });
    child.stdin.end(command.input ?? '');
  });
}

function endGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It is gone already.
  }
}

/**
 * A command that must outlive this process: a session of its own (launchd ends what is left of a dead job's group),
 * output in files that are there already, so that no reader is needed for it to finish.
 */
async function start(program: string, cwd: string, root: string, command: Command & { stdoutFile: string; stderrFile: string }): Promise<Started> {
  const opened: number[] = [];
  const output = (path: string): number | 'ignore' => {
    if (path === '/dev/null') return 'ignore';
    const fd = openSync(under(root, path), constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW);
    opened.push(fd);
    return fd;
  };
  try {
    const child = spawn(program, [...command.args], {
      cwd,
      env: environment,
      detached: true,
      stdio: ['pipe', output(command.stdoutFile), output(command.stderrFile)],
    });
    const ended = new Promise<{ code: number | null }>((resolve) => {
      child.on('exit', (code) => resolve({ code }));
    });
    await new Promise<void>((resolve, reject) => {
      child.on('spawn', resolve);
      child.on('error', reject);
    });
    child.stdin?.on('error', () => {});
    await new Promise<void>((resolve) => child.stdin?.end(command.input ?? '', () => resolve()).on('close', () => resolve()));
    child.unref();
    return { pid: child.pid ?? 0, ended: (seconds) => withinSeconds(ended, seconds) };
  } catch (error) {
    throw new Problem('MACOS_UNEXPECTED', `${command.program} could not be started (${(error as NodeJS.ErrnoException).code ?? 'no reason given'})`);
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

function withinSeconds(ended: Promise<{ code: number | null }>, seconds: number): Promise<{ code: number | null } | 'still-running'> {
  return new Promise((resolve) => {
    // This timer also keeps our own process alive: the child was let go of.
    const timer = setTimeout(() => resolve('still-running'), seconds * 1000);
    ended.then((result) => {
      clearTimeout(timer);
      resolve(result);
    });
  });
}
