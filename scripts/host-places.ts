import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { tryUpgrades, type UpgradesSeen } from './host-upgrades.ts';
import type { Ended } from './stage.ts';

/*
 * Where the backend is tried as it is deployed: a Debian with its own systemd, booted in a container of this machine, and the
 * image, built and run without a daemon. Both are made of Debian's packages and thrown away.
 */

/** A place with an installed backend. What is said on descriptor 3 is the passphrase, wherever a command needs one. */
export interface Place {
  name: 'systemd' | 'image';
  port: number;
  /** `sparekey-server …`, as its admin types it. */
  server(args: readonly string[], input?: string): Promise<Ended>;
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Ends the backend's process without a word, as a crash does; gives whether it came back by itself. */
  crash(): Promise<boolean>;
  /** Installs other releases over the running backend, and goes back; null where no release is installed. */
  upgrade: (() => Promise<UpgradesSeen>) | null;
  backup(): Promise<Ended>;
  drill(): Promise<Ended>;
  /** As after the loss of the machine: no data folder, but the newest backup. */
  restore(): Promise<void>;
  close(): void;
}

export interface PlaceParts {
  /** A folder that is thrown away at the end. */
  folder: string;
  /** What `npm run package:server` made. */
  archive: string;
  repository: string;
  port: number;
  passphrase: string;
  note(line: string): void;
}

/** A program that has to be there, or in words why this place cannot be tried here. */
const missing = (...programs: string[]): string[] => programs.filter((program) => spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0);

export function cannotBoot(): string | null {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs Linux and root';
  const without = missing('systemd-nspawn', 'mmdebstrap', 'nsenter');
  return without.length > 0 ? `not on this machine: ${without.join(', ')}` : null;
}

export function cannotBuild(): string | null {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs Linux and root';
  const without = missing('buildah', 'mmdebstrap');
  return without.length > 0 ? `not on this machine: ${without.join(', ')}` : null;
}

function run(program: string, args: readonly string[], options: { input?: string; passphrase?: string; env?: NodeJS.ProcessEnv } = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe', 'pipe'], env: options.env ?? process.env });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout?.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => err.push(chunk));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }));
    const given = child.stdio[3] as NodeJS.WritableStream;
    for (const stream of [child.stdin as NodeJS.WritableStream, given]) stream.on('error', () => undefined);
    child.stdin?.end(options.input ?? '');
    given.end(options.passphrase === undefined ? '' : `${options.passphrase}\n`);
  });
}

/** Its packages come over a network, which may fail for a moment: that says nothing of what is tried here. */
async function makeDebian(root: string, packages: string, note: (what: string) => void): Promise<void> {
  const tried = () => run('mmdebstrap', ['--quiet', '--variant=minbase', `--include=${packages}`, 'bookworm', root]);
  for (let left = 2; left > 0; left -= 1) {
    const ended = await tried();
    if (ended.code === 0) return;
    note(`mmdebstrap ended with ${ended.code}, and is tried again: ${ended.stderr.trim().split('\n').at(-1) ?? ''}`);
    rmSync(root, { recursive: true, force: true });
    await wait(10_000);
  }
  await must('mmdebstrap', tried());
}

async function must(what: string, ran: Promise<Ended>): Promise<Ended> {
  const ended = await ran;
  if (ended.code !== 0) throw new Error(`${what} ended with ${ended.code}:\n${ended.stdout}${ended.stderr}`);
  return ended;
}

const nextSecond = 250;
const longestStart = 60_000;

async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  for (const end = Date.now() + longestStart; Date.now() < end; await wait(nextSecond)) if (await holds()) return;
  throw new Error(`${what} did not happen within ${longestStart / 1000} s`);
}

/** Where the offline copy of the escrow key lies, which in life is on a medium in a safe. */
export const offlineCopy = '/var/lib/sparekey/offline-copy.txt';

/** The data folder is gone; what there is: the newest backup, the offline copy, and its passphrase. */
const restoreNewest = (program: string): string =>
  `rm -rf /var/lib/sparekey/data && ${program} restore "$(ls /var/lib/sparekey/backups/* | tail -n 1)" --escrow-key ${offlineCopy} --without-revocations --as ada`;

/** A Debian with systemd, booted on the network of this machine, with the archive installed as an admin installs it. */
export async function bootedPlace({ folder, archive, port, passphrase, note }: PlaceParts): Promise<Place> {
  const root = join(folder, 'debian');
  note('making a Debian with systemd');
  const packages = 'systemd,dbus,libatomic1';
  await makeDebian(root, packages, note);
  const unpacked = join(folder, 'unpacked');
  mkdirSync(unpacked);
  await must('tar', run('tar', ['-xzf', archive, '-C', unpacked, '--strip-components=1']));
  note('installing the release');
  await must('install.sh', run('sh', [join(unpacked, 'install.sh'), '--root', root]));
  const at = (...parts: string[]) => join(root, ...parts);
  // The one thing of this machine that is not as it will be: the port is on the loopback, and free.
  mkdirSync(at('etc/systemd/system/sparekey.socket.d'), { recursive: true });
  writeFileSync(at('etc/systemd/system/sparekey.socket.d/port.conf'), `[Socket]\nListenStream=\nListenStream=127.0.0.1:${port}\n`);
  writeFileSync(at('etc/sparekey/passphrase'), `${passphrase}\n`, { mode: 0o600 });
  copyFileSync(join(folder, 'device-ca.pem'), at('etc/sparekey/device-ca.pem'));
  execFileSync('chmod', ['0711', at('etc/sparekey')]);

  note('booting it');
  const nspawn: ChildProcess = spawn('systemd-nspawn', ['--boot', '--quiet', '--register=no', '--keep-unit', '--console=pipe', '-D', root], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const console: Buffer[] = [];
  for (const stream of [nspawn.stdout, nspawn.stderr]) stream?.on('data', (chunk: Buffer) => console.push(chunk));
  const init = async (): Promise<string> => {
    let found = '';
    await until('the boot', () => {
      if (nspawn.exitCode !== null) throw new Error(`the boot failed:\n${Buffer.concat(console).toString()}`);
      const file = `/proc/${nspawn.pid}/task/${nspawn.pid}/children`;
      found = existsSync(file) ? (readFileSync(file, 'utf8').trim().split(' ')[0] ?? '') : '';
      return found !== '';
    });
    return found;
  };
  const pid = await init();
  const inside = (args: readonly string[], options: { input?: string; passphrase?: string } = {}) =>
    run('nsenter', ['-t', pid, '-m', '-u', '-i', '-p', '--', ...args], {
      ...options,
      env: { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin', SUDO_USER: 'ada' },
    });
  const systemctl = (...args: string[]) => inside(['systemctl', ...args]);
  await until('the boot', async () => ['running', 'degraded'].includes((await systemctl('is-system-running')).stdout.trim()));
  const server = (args: readonly string[], input?: string) => inside(['sparekey-server', ...args], { passphrase, ...(input === undefined ? {} : { input }) });
  await must('install', inside(['install', '-d', '-o', 'sparekey', '-g', 'sparekey', '-m', '0700', '/var/lib/sparekey']));
  const mainPid = async () => (await systemctl('show', '-p', 'MainPID', '--value', 'sparekey.service')).stdout.trim();
  const journal = async () => (await inside(['journalctl', '--no-pager', '-n', '40', '-u', 'sparekey*'])).stdout;
  const start = async () => {
    await must('systemctl start', systemctl('start', 'sparekey.socket', 'sparekey.service'));
    await until('ready', async () => {
      if ((await systemctl('is-failed', 'sparekey.service')).code === 0) throw new Error(`the unit failed:\n${await journal()}`);
      return (await inside(['journalctl', '--no-pager', '-o', 'cat', '-u', 'sparekey.service', `_PID=${await mainPid()}`])).stdout.includes('ready: ');
    });
  };
  const timed = async (unit: string) => {
    const ended = await systemctl('start', unit);
    return ended.code === 0 ? ended : { ...ended, stderr: `${ended.stderr}${await journal()}` };
  };
  return {
    name: 'systemd',
    port,
    server,
    start,
    stop: async () => void (await must('systemctl stop', systemctl('stop', 'sparekey.service', 'sparekey.socket'))),
    crash: async () => {
      const before = await mainPid();
      await must('kill', systemctl('kill', '--signal=KILL', '--kill-who=main', 'sparekey.service'));
      await until('another process', async () => !['0', before].includes(await mainPid()));
      await start();
      return true;
    },
    upgrade: () => tryUpgrades({ unpacked, at, run, inside, must, start, note }),
    backup: () => timed('sparekey-backup.service'),
    drill: () => timed('sparekey-drill.service'),
    restore: async () => {
      const restored = `${restoreNewest('sparekey-server')} --passphrase-fd 3`;
      await must('restore', inside(['sh', '-c', restored], { passphrase }));
    },
    close: () => {
      nspawn.kill('SIGKILL');
      // Ends with its init, and everything inside with that.
      spawnSync('kill', ['-9', pid]);
    },
  };
}

/** The image, built from its file by `build.sh` and run without a daemon; its volume is a folder here. */
export async function imagePlace({ folder, archive, repository, port, passphrase, note }: PlaceParts): Promise<Place> {
  const image = join(folder, 'image.tar');
  const volume = join(folder, 'volume');
  const secrets = join(folder, 'secrets');
  for (const [path, mode] of [
    [volume, 0o700],
    [secrets, 0o711],
  ] as const)
    mkdirSync(path, { mode });
  writeFileSync(join(secrets, 'sparekey-passphrase'), `${passphrase}\n`, { mode: 0o600 });
  copyFileSync(join(folder, 'device-ca.pem'), join(secrets, 'device-ca.pem'));
  // 10001: the image's user, as the Containerfile has it.
  execFileSync('chown', ['10001:10001', volume, join(secrets, 'sparekey-passphrase'), join(secrets, 'device-ca.pem')]);
  // Images and containers in a folder of this trial, not among those of the machine.
  const storage = join(folder, 'storage.conf');
  writeFileSync(storage, `[storage]\ndriver = "vfs"\ngraphroot = "${folder}/images"\nrunroot = "${folder}/containers"\n`);
  const env = { ...process.env, CONTAINERS_STORAGE_CONF: storage, STORAGE_DRIVER: 'vfs', BUILDAH_ISOLATION: 'chroot' };
  note('building the image');
  const build = join(repository, 'deploy', 'container', 'build.sh');
  await must('build.sh', run('sh', [build, '--archive', archive, '--out', image, '--debian', 'bookworm'], { env }));
  const made = async () => {
    const container = (await must('buildah from', run('buildah', ['from', '--quiet', `oci-archive:${image}`], { env }))).stdout.trim();
    // buildah, which builds and does not run things for a living, mounts an empty volume of its own over ours now and then.
    await must('buildah config', run('buildah', ['config', '--volume', '/var/lib/sparekey-', container], { env }));
    return container;
  };
  // One that serves and one for commands: the end of one command would take the volume from under the other's feet.
  const [serves, commands] = [await made(), await made()];
  const entry = '/opt/sparekey/current/bin/sparekey-server';
  const inside = (program: string, args: readonly string[], container = commands) => [
    ...['run', '--isolation', 'chroot', '--volume', `${volume}:/var/lib/sparekey`, '--volume', `${secrets}:/run/secrets`, container, '--'],
    ...[program, ...args],
  ];
  const server = (args: readonly string[], input?: string) => run('buildah', inside(entry, [...args]), { env, ...(input === undefined ? {} : { input }) });
  const file = '/run/secrets/sparekey-passphrase';
  let serving: ChildProcess | null = null;
  const start = async () => {
    const child = spawn('buildah', inside(entry, ['serve', '--passphrase-file', file], serves), { env, stdio: ['ignore', 'pipe', 'pipe'] });
    serving = child;
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await until('ready', () => {
      if (child.exitCode !== null) throw new Error(`the image ended (${child.exitCode}):\n${said}`);
      return /^ready: /m.test(said);
    });
  };
  /** The backend's own process: what buildah started ends with it. */
  const signal = async (name: string) => {
    const found = spawnSync('pgrep', ['-f', `server/main.ts serve --passphrase-file ${file}`], { encoding: 'utf8' });
    spawnSync('kill', [`-${name}`, ...found.stdout.trim().split('\n')]);
    await until('the end', () => serving === null || serving.exitCode !== null || serving.signalCode !== null);
    serving = null;
  };
  const backups = '/var/lib/sparekey/backups';
  mkdirSync(join(volume, 'backups'), { mode: 0o700 });
  execFileSync('chown', ['10001:10001', join(volume, 'backups')]);
  return {
    name: 'image',
    port,
    // Where a command needs the passphrase, it has the file that the platform gave to the container.
    server: (args, input) =>
      server(
        args.includes('--passphrase-fd') ? args.flatMap((arg) => (arg === '--passphrase-fd' ? ['--passphrase-file'] : arg === '3' ? [file] : [arg])) : args,
        input,
      ),
    start,
    stop: () => signal('TERM'),
    crash: async () => {
      await signal('KILL');
      // What starts a container again is the platform that runs it.
      await start();
      return false;
    },
    upgrade: null,
    backup: () => server(['backup', '--into', backups, '--keep', '14', '--encrypt-to', 'escrow']),
    drill: () => server(['verify-backup', '--passphrase-file', file, '--newest-in', backups, '--dir', '/var/lib/sparekey/data']),
    restore: async () => {
      await must('restore', run('buildah', inside('sh', ['-c', `${restoreNewest(entry)} --passphrase-file ${file}`]), { env }));
    },
    close: () => {
      if (serving !== null) spawnSync('pkill', ['-9', '-f', `server/main.ts serve --passphrase-file ${file}`]);
      spawnSync('buildah', ['rm', '--all'], { env });
    },
  };
}
