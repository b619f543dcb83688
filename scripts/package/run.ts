import { spawn } from 'node:child_process';

export interface Ended {
  /** Null: it could not be started, or a signal ended it. */
  code: number | null;
  stdout: string;
  stderr: string;
  /** It is not on this machine. */
  missing: boolean;
}

/** A program by its name, found on the PATH, without a shell. */
export function run(program: string, args: readonly string[], cwd?: string): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { ...(cwd === undefined ? {} : { cwd }), stdio: ['ignore', 'pipe', 'pipe'] });
    const ended: Ended = { code: null, stdout: '', stderr: '', missing: false };
    child.stdout.on('data', (data) => (ended.stdout += data));
    child.stderr.on('data', (data) => (ended.stderr += data));
    child.on('error', (error: NodeJS.ErrnoException) => resolve({ ...ended, missing: error.code === 'ENOENT', stderr: error.message }));
    child.on('close', (code) => resolve({ ...ended, code }));
  });
}

/** As one would type it. */
export const typed = (program: string, args: readonly string[]): string =>
  [program, ...args].map((one) => (/^[\w./:=@%+,-]+$/.test(one) ? one : `'${one.replaceAll("'", `'\\''`)}'`)).join(' ');
