import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../server/main.ts', import.meta.url));
/** The sources, compiled once for all the processes of all tests. */
const compiled = fileURLToPath(new URL('../node_modules/.cache/sparekey-tests', import.meta.url));

export interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
  // biome-ignore lint/suspicious/noExplicitAny: what a command printed is looked at by the tests
  json: any;
}

const started = new Set<ChildProcess>();
/** Ends what a test file started and left running. */
export function endServers(): void {
  for (const child of started) child.kill('SIGKILL');
}

interface Started {
  passphrase?: string;
  env?: Record<string, string>;
  /** What comes on standard input, when it comes. */
  input?: Promise<string>;
}

/** Starts `sparekey-server …` as it is started by people: a process of its own. `passphrase` goes to descriptor 0. */
export function startServer(args: readonly string[], options: Started = {}) {
  const given = options.passphrase === undefined ? [] : ['--passphrase-fd', '0'];
  const { PATH = '' } = process.env;
  const child = spawn(process.execPath, [main, ...args, ...given], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { PATH, NODE_COMPILE_CACHE: compiled, ...options.env },
  });
  started.add(child);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  child.stdin.on('error', () => {});
  if (options.input) void options.input.then((text) => child.stdin.end(text));
  else child.stdin.end(options.passphrase === undefined ? '' : `${options.passphrase}\n`);
  const ended = new Promise<Ran>((resolve) => {
    child.on('close', (code) => {
      started.delete(child);
      let json: unknown;
      try {
        json = JSON.parse(stdout);
      } catch {
        json = undefined;
      }
      resolve({ code, stdout, stderr, json });
    });
  });
  /** The first line of standard output. */
  const ready = async (): Promise<string> => {
    while (!stdout.includes('\n')) {
      const over = await Promise.race([ended, new Promise<null>((resolve) => setTimeout(() => resolve(null), 20))]);
      if (over) throw new Error(`it ended with ${over.code}: ${over.stderr}`);
    }
    return stdout.slice(0, stdout.indexOf('\n'));
  };
  return { child, ended, ready };
}

export const runServer = (args: readonly string[], options: Started = {}): Promise<Ran> => startServer(args, options).ended;
