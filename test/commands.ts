import { type ChildProcess, spawn } from 'node:child_process';
import { afterAll } from '@jest/globals';

/** What a terminal shows of one command. */
export interface Session {
  out: string;
  err: string;
  exit: number | null;
}

const started = new Set<ChildProcess>();
afterAll(() => {
  for (const child of started) child.kill('SIGKILL');
});

interface How {
  env?: NodeJS.ProcessEnv;
  uid?: number;
  /** Left out: there is no input. Null: it stays open, for whoever types. */
  input?: string | null;
  /** With all that was shown so far. */
  onOut?: ((shown: string, child: ChildProcess) => void) | undefined;
  onErr?: ((said: string, child: ChildProcess) => void) | undefined;
}

export function runCommand(program: string, args: readonly string[], { env = {}, uid, input, onOut, onErr }: How): Promise<Session> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, [...args], {
      env: { PATH: '/usr/bin:/bin', ...env },
      stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      ...(uid === undefined ? {} : { uid, gid: uid }),
    });
    started.add(child);
    const session = { out: '', err: '' };
    child.stdout?.on('data', (data) => {
      session.out += data;
      onOut?.(session.out, child);
    });
    child.stderr?.on('data', (data) => {
      session.err += data;
      onErr?.(session.err, child);
    });
    // Whoever asks nothing may be gone before it is answered.
    child.stdin?.on('error', () => {});
    if (typeof input === 'string') child.stdin?.end(input);
    child.on('error', reject);
    child.on('close', (exit) => {
      started.delete(child);
      resolve({ ...session, exit });
    });
  });
}
