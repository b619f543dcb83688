import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pem, readPem } from '../../server/certificates.ts';
import { type FolderPaths, folderPaths } from '../../server/data-folder.ts';
import { deviceCa, type Reached } from '../device-calls.ts';
import { makeDataFolder, passphrase } from '../made-backend.ts';
import { freePort } from '../ports.ts';
import { clientOf } from '../tls-client.ts';

const main = fileURLToPath(new URL('../../server/main.ts', import.meta.url));

/** A data folder as `init` makes it, and what its Macs and its operator know of it. */
export interface SweptBackend extends Reached {
  paths: FolderPaths;
  passphrase: string;
  passphraseFile: string;
  /** The escrow certificate (DER) and its digest. */
  escrow: { der: Buffer; digest: string };
  /** Whether it serves now: Macs that knock at a closed door in turns would only take the processor from its start. */
  up: boolean;
  /** Node's compiled code, so that a start is quick. */
  compiled: string;
  /** Arguments of Node before the program: of another release. */
  nodeArguments?: readonly string[];
  /** Each message by a connection of its own, as of a Mac's next run. */
  freshly?: boolean;
}

export async function makeBackend(): Promise<SweptBackend> {
  const folder = mkdtempSync(join(tmpdir(), 'sweep-server-'));
  folders.add(folder);
  const passphraseFile = join(folder, 'passphrase');
  writeFileSync(passphraseFile, `${passphrase}\n`, { mode: 0o600 });
  const ca = join(folder, 'device-ca.pem');
  writeFileSync(ca, pem('CERTIFICATE', deviceCa.certificateDer));
  const port = await freePort();
  const dir = join(folder, 'data');
  const made = await makeDataFolder(dir, port, { deviceCaFiles: [ca] });
  const paths = folderPaths(dir);
  const settings = JSON.parse(readFileSync(paths.settings, 'utf8'));
  writeFileSync(paths.settings, JSON.stringify({ ...settings, listen: { port, host: '127.0.0.1' }, logLevel: 'warn', keys: { grantsPerHour: 100_000 } }));
  chmodSync(paths.settings, 0o600);
  const [der] = readPem(readFileSync(join(paths.escrow, `${made.escrowCertificate}.certificate.pem`), 'utf8'));
  if (!der) throw new Error('there is no escrow certificate');
  return {
    paths,
    passphrase,
    passphraseFile,
    url: made.serverUrl,
    client: clientOf(port, readFileSync(paths.tlsCa.certificate, 'utf8')),
    escrow: { der, digest: made.escrowCertificate },
    up: false,
    compiled: process.env['NODE_COMPILE_CACHE'] ?? join(folder, 'compiled'),
  };
}

/** SIGKILL as the nth call of a system call begins, which then does not happen. */
export interface AtSystemCall {
  name: string;
  nth: number;
}

/** One life of the backend: `sparekey-server serve`, a process of its own. */
export interface Life {
  /** Resolves with whether it came to serve. */
  ready: Promise<boolean>;
  /** Resolves when the process is gone; what it said at last where it did not end by a signal. */
  ended: Promise<{ by: NodeJS.Signals | null; code: number | null; said: string }>;
  kill(signal: 'SIGKILL' | 'SIGTERM'): void;
}

/** Whether `strace` is here, may trace, and kills. */
export function straceWorks(): boolean {
  const inject = ['-e', 'trace=write', '-e', 'inject=write:signal=KILL:when=1'];
  return spawnSync('strace', ['-f', '-qq', '-o', '/dev/null', ...inject, process.execPath, '-p', '1'], { stdio: 'ignore' }).signal === 'SIGKILL';
}

const running = new Set<ChildProcess>();
const folders = new Set<string>();
/** Ends what a sweep that failed or was stopped left running, with what it traces, and takes its folders away. */
export function endBackends(): void {
  for (const { pid } of running) if (pid !== undefined) send('SIGKILL', -pid);
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}

function send(signal: NodeJS.Signals, to: number): void {
  try {
    process.kill(to, signal);
  } catch {
    // It is gone already: that is what was wanted.
  }
}

export function startBackend(backend: SweptBackend, at: AtSystemCall | null = null): Life {
  const program = [
    process.execPath,
    ...(backend.nodeArguments ?? []),
    main,
    'serve',
    '--dir',
    backend.paths.dir,
    '--passphrase-file',
    backend.passphraseFile,
    '--json-ready',
  ];
  // Without --seccomp-bpf, with which strace 6.1 injects no signal. It dies of the same signal as what it traces.
  const trace = at ? ['strace', '-f', '-qq', '-o', '/dev/null', '-e', `trace=${at.name}`] : [];
  const inject = at ? ['-e', `inject=${at.name}:signal=KILL:when=${at.nth}`] : [];
  const [command = '', ...args] = [...trace, ...inject, ...program];
  const { PATH = '' } = process.env;
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH, NODE_COMPILE_CACHE: backend.compiled },
    // A process group of its own, which can be ended whole.
    detached: true,
  });
  running.add(child);
  let stdout = '';
  let said = '';
  /** The backend's own, which is not that of strace. */
  let pid = at ? null : (child.pid ?? null);
  let toKill: 'SIGKILL' | 'SIGTERM' | null = null;
  const ended = new Promise<Awaited<Life['ended']>>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, by) => {
      running.delete(child);
      backend.up = false;
      resolve({ by, code, said });
    });
  });
  child.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-4000);
  });
  const ready = new Promise<boolean>((resolve) => {
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
      const found = /"pid":(\d+)/.exec(stdout)?.[1];
      if (found === undefined) return;
      pid = Number(found);
      if (toKill) send(toKill, pid);
      backend.up = true;
      resolve(true);
    });
    ended.then(
      () => resolve(false),
      () => resolve(false),
    );
  });
  return {
    ready,
    ended,
    kill(signal) {
      toKill = signal;
      if (pid !== null) send(signal, pid);
    },
  };
}
