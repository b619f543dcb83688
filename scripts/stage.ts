import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { makePair } from '../test/fake-mac/certificates.ts';
import { FakeMac } from '../test/fake-mac/fake-mac.ts';
import { freePort } from '../test/ports.ts';
import { addSites } from './portal-stage.ts';

/*
 * A backend and some fake Macs on this machine, all of them real processes: what the story, the benchmarks and whoever
 * tries Sparekey out stand on.
 */

export const repository = join(dirname(fileURLToPath(import.meta.url)), '..');
export const bundle = join(repository, 'dist', 'agent', 'sparekey.mjs');
export const job = join(repository, 'launchd', 'io.sparekey.agent.plist');

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a program of this repository to its end. Secrets, where there are any, stay in this process's memory. */
export function runNode(script: string, args: readonly string[], options: { env?: NodeJS.ProcessEnv; input?: string } = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, ...args], { cwd: repository, env: options.env ?? process.env, stdio: ['pipe', 'pipe', 'pipe'] });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }));
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
  });
}

export interface MacOptions {
  user: string;
  serial: string;
  escrow: 'ours' | 'foreign' | 'none';
  custody?: string;
  macosVersion?: string;
  /** Of the managed settings of the agent, beside those that every Mac of the stage has. */
  settings?: Record<string, string>;
}

export interface Stage {
  folder: string;
  /** The backend's data folder. */
  data: string;
  passphraseFile: string;
  url: string;
  /** What makes one more Mac by hand. */
  createCommand(name: string): string;
  settleSeconds: number;
  /** Seconds that the fake fdesetup takes after its change, so that there is a middle to kill the agent in. */
  killSeconds: number;
  /** The people's listener, where there is one: its address, the certificates by which it is known, and the console's address. */
  people: { url: string; port: number; host: string; trust: string; console: string } | null;
  /** The escrow key as it lies in the data folder: encrypted. */
  escrowKeyFile: string;
  escrowCertificateFile: string;
  /** The backend's database, to be looked at and not to be changed. */
  openDatabase(): DatabaseSync;
  /** Runs a command of the backend on its data folder. */
  server(...args: string[]): Promise<Ended>;
  /** Runs one that needs no data folder. */
  command(...args: string[]): Promise<Ended>;
  /** A new Mac, enrolled by nobody yet, with everything that an MDM would have brought. */
  newMac(name: string, options: MacOptions): FakeMac;
  /** Our escrow certificate, as an MDM would have it in the profile. */
  escrowCertificate: string;
  /** What launchd does at its interval: runs the job to its end. */
  runJob(mac: FakeMac): Promise<Ended>;
  startJob(mac: FakeMac): ChildProcess;
  /** Ends the backend and starts it again, the same code on the same data, with its clock so many seconds ahead of this machine's. */
  restartAhead(seconds: number): Promise<void>;
  stop(): Promise<void>;
  /** For a process that ends by a signal and can wait for nothing. */
  endNow(): void;
}

const serverMain = join(repository, 'server', 'main.ts');
const serveAhead = join(repository, 'scripts', 'serve-ahead.ts');

export interface StageOptions {
  settleSeconds: number;
  killSeconds: number;
  offlineCopy: boolean;
  /** The portal, at `https://name:…`, which leads to `host`. */
  people?: { host: string; name: string };
}

export async function openStage(folder: string, options: StageOptions): Promise<Stage> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const temporary = join(folder, 'tmp');
  mkdirSync(temporary, { recursive: true, mode: 0o700 });
  const data = join(folder, 'backend');
  const passphraseFile = join(folder, 'passphrase');
  writeFileSync(passphraseFile, `${randomBytes(24).toString('base64url')}\n`, { mode: 0o600 });
  // Whatever a child leaves in a temporary folder is looked through at the end.
  const env = { PATH: process.env['PATH'], HOME: folder, TMPDIR: temporary, NO_COLOR: '1' };

  // Stands for the organisation's SCEP, whose certificates an MDM would have put into each Mac's System keychain.
  const deviceCa = makePair({ subject: { CN: 'Example Device CA', O: 'Example' }, kind: 'ca' });
  const ca = join(folder, 'device-ca');
  mkdirSync(ca, { recursive: true, mode: 0o700 });
  const caFile = join(ca, 'ca.pem');
  writeFileSync(caFile, deviceCa.certificate);
  writeFileSync(join(ca, 'ca.key'), deviceCa.key, { mode: 0o600 });
  const port = await freePort();
  const { people } = options;
  const peoplePort = people ? await freePort() : 0;
  const consolePort = people ? await freePort() : 0;
  const server = (...args: string[]): Promise<Ended> => runNode(serverMain, args, { env });
  const copy = options.offlineCopy ? ['--copy', join(folder, 'offline-copy.pem')] : ['--no-copy'];
  const made = await server(
    'init',
    '--dir',
    data,
    '--name',
    // By number: a bare machine may not know the name localhost, which browsers know by themselves.
    ['127.0.0.1', ...(people ? [people.name] : [])].join(','),
    '--devices-port',
    String(port),
    '--passphrase-file',
    passphraseFile,
    ...copy,
    '--device-ca',
    caFile,
    '--organisation',
    'Example',
    '--json',
  );
  if (made.code !== 0) throw new Error(`the backend could not be set up (${made.code}):\n${made.stderr}`);
  // A story is told in a few seconds: no Mac of it waits for its place in a fleet.
  const settingsFile = join(data, 'settings.json');
  const settings = JSON.parse(readFileSync(settingsFile, 'utf8'));
  writeFileSync(settingsFile, JSON.stringify({ ...settings, keys: { ...settings.keys, spreadSeconds: 0 } }, null, 2));
  const values = JSON.parse((await server('profile-values', '--dir', data, '--json')).stdout) as {
    serverUrl: string;
    escrowCertificate: string;
    trustedCertificates: string[];
  };

  // For whoever makes a further Mac by hand.
  writeFileSync(join(folder, 'escrow.pem'), values.escrowCertificate);
  writeFileSync(join(folder, 'trust.pem'), values.trustedCertificates.join(''));

  const trust = values.trustedCertificates.join('');
  const peopleUrl = people ? `https://${people.name}:${peoplePort}` : '';
  const consoleUrl = `https://${people?.name === 'localhost' ? 'localhost' : '127.0.0.1'}:${consolePort}`;
  if (people) addSites(data, peopleUrl, people.host, peoplePort, { url: consoleUrl, port: consolePort });

  const start = (script: string, ...more: string[]) => startBackend([script, 'serve', '--dir', data, '--passphrase-file', passphraseFile, ...more], env);
  let serving = await start(serverMain);
  const pidFile = join(folder, 'backend.pid');
  writeFileSync(pidFile, String(serving.pid));
  const stop = () => endBackend(serving);

  const jobOf = (mac: FakeMac) => [join(mac.root, 'Library/Sparekey/lib/sparekey.mjs'), 'check-in', '--root', mac.root] as const;
  const jobEnv = { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', XPC_SERVICE_NAME: 'io.sparekey.agent', TMPDIR: temporary };
  return {
    folder,
    data,
    passphraseFile,
    url: values.serverUrl,
    escrowCertificate: values.escrowCertificate,
    people: people ? { url: peopleUrl, port: peoplePort, host: people.host, trust, console: consoleUrl } : null,
    createCommand: (name) =>
      `npm run -s fake-mac -- create ${join(folder, name)} --server ${values.serverUrl} --escrow-profile ours --escrow-certificate ${join(folder, 'escrow.pem')} --trust ${join(folder, 'trust.pem')} --device-ca ${ca} --settle-seconds ${options.settleSeconds}`,
    settleSeconds: options.settleSeconds,
    killSeconds: options.killSeconds,
    ...escrowFiles(data),
    openDatabase: () => new DatabaseSync(join(data, 'sparekey.sqlite'), { readOnly: true }),
    server: (...args) => server(...args, '--dir', data),
    command: server,
    newMac: (name, it) =>
      FakeMac.create({
        root: join(folder, name),
        folder: true,
        user: it.user,
        serial: it.serial,
        ...(it.macosVersion === undefined ? {} : { macosVersion: it.macosVersion }),
        escrowProfile: it.escrow,
        escrowCertificate: values.escrowCertificate,
        deviceCa,
        agent: { bundle, job },
        settings: {
          serverUrl: values.serverUrl,
          escrowCertificate: values.escrowCertificate,
          trustedCertificates: values.trustedCertificates,
          settleSeconds: options.settleSeconds,
          checkInMinutes: 5,
          identityIssuer: 'Example Device CA',
          ...(it.custody ? { custody: it.custody } : {}),
          ...it.settings,
        },
      }),
    runJob: async (mac) => {
      const [script, ...args] = jobOf(mac);
      return runNode(script, args, { env: jobEnv });
    },
    startJob: (mac) => {
      const [script, ...args] = jobOf(mac);
      return spawn(process.execPath, [script, ...args], { cwd: repository, env: jobEnv, stdio: 'ignore', detached: true });
    },
    restartAhead: async (seconds) => {
      await stop();
      serving = await start(serveAhead, '--ahead', String(seconds));
      writeFileSync(pidFile, String(serving.pid));
    },
    stop,
    endNow: () => void serving.kill('SIGKILL'),
  };
}

function escrowFiles(data: string): { escrowKeyFile: string; escrowCertificateFile: string } {
  const folder = join(data, 'escrow');
  const named = (end: string) => join(folder, readdirSync(folder).find((name) => name.endsWith(end)) ?? '');
  return { escrowKeyFile: named('.key.pem'), escrowCertificateFile: named('.certificate.pem') };
}

/** A backend that is ready: it has said so on its standard output. */
function startBackend(args: readonly string[], env: NodeJS.ProcessEnv): Promise<ChildProcess> {
  const serving = spawn(process.execPath, args, { cwd: repository, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const log: Buffer[] = [];
  return new Promise((resolve, reject) => {
    const ended = (code: number | null) => reject(new Error(`the backend ended (${code}):\n${Buffer.concat(log).toString()}`));
    serving.stdout.on('data', (chunk: Buffer) => {
      log.push(chunk);
      if (!/^ready/m.test(chunk.toString())) return;
      serving.off('exit', ended);
      resolve(serving);
    });
    serving.stderr.on('data', (chunk: Buffer) => log.push(chunk));
    serving.on('error', reject);
    serving.once('exit', ended);
  });
}

function endBackend(serving: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (serving.exitCode !== null || serving.signalCode !== null) return resolve();
    serving.once('exit', () => resolve());
    serving.kill('SIGTERM');
  });
}
