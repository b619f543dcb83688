import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { ustarPath, writeArchive } from '../scripts/package-server/archive.ts';
import { importedPackages, type Lock, type PackedFile, packagesFor, packedFiles } from '../scripts/package-server/files.ts';
import { checkRuntime, readPins } from '../scripts/package-server/runtime.ts';
import { commandsIn, wrongWith } from './documented-commands.ts';
import { scratch } from './scratch.ts';

const root = join(import.meta.dirname, '..');
const deploy = (...parts: string[]) => join(root, 'deploy', ...parts);
const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock & { packages: Record<string, { dev?: boolean }> };
const packages = packagesFor(lock, importedPackages(root));

describe('the archive for a server', () => {
  const small: PackedFile[] = [
    { path: 'bin/node', from: Buffer.from('#!/bin/sh\n'), mode: 0o755 },
    { path: `app/${'folder/'.repeat(16)}deep.ts`, from: Buffer.from('export {};\n'), mode: 0o644 },
    { path: 'empty', from: Buffer.alloc(0), mode: 0o644 },
  ];

  test('has every package that the backend names and all that those need, none for building, each under a licence that may be shipped', () => {
    const names = packages.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(['fastify', 'kysely', 'axios', 'winston', '@simplewebauthn/server', 'pino']));
    // The agent's alone.
    expect(names).not.toContain('keytar');
    expect(packages.filter(({ path }) => lock.packages[path]?.dev)).toEqual([]);
    expect(
      [...new Set(packages.map(({ license }) => license))].filter((one) => !/^(MIT(-0)?|ISC|0BSD|BSD-[23]-Clause|Apache-2\.0|MPL-2\.0)$/.test(one)),
    ).toEqual([]);
    expect(packages.every(({ integrity }) => integrity.startsWith('sha512-'))).toBe(true);
  });

  test('a runtime with a changed byte, of another processor or of another version is not packed; the pins are those of the lock file', () => {
    const pins = readPins();
    for (const arch of ['x64', 'arm64'] as const) expect(lock.packages[`node_modules/node-linux-${arch}`]?.version).toBe(pins.version);
    const file = join(scratch('sparekey-runtime'), 'node');
    writeFileSync(file, 'a program');
    const own = createHash('sha256').update('a program').digest('hex');
    expect(() => checkRuntime(file, 'x64', pins.version, { ...pins, x64: own })).not.toThrow();
    expect(() => checkRuntime(file, 'x64', '27.0.0', { ...pins, x64: own })).toThrow(/27\.0\.0, and 26\.10\.0 is pinned/);
    expect(() => checkRuntime(file, 'arm64', pins.version, { ...pins, x64: own })).toThrow(`is not Node ${pins.version} for arm64`);
    writeFileSync(file, 'A program');
    expect(() => checkRuntime(file, 'x64', pins.version, { ...pins, x64: own })).toThrow(`is not Node ${pins.version} for x64`);
    // What npm installed for this machine is what would be packed.
    const installed = join(root, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node');
    if (process.arch === 'x64' || process.arch === 'arm64') if (existsSync(installed)) checkRuntime(installed, process.arch, pins.version, pins);
  });

  test('has the sources of the backend and of the sites, the units and the documents, and nothing of the agent, the tests or the profiles', () => {
    const paths = packedFiles(root, packages).map(({ path }) => path);
    for (const path of [
      'app/server/main.ts',
      'app/portal/portal.ts',
      'app/web/browser/pace.ts',
      'install.sh',
      'systemd/sparekey.service',
      'docs/operating.md',
      'LICENSE',
    ])
      expect([path, paths.includes(path) || path.includes('browser')]).toEqual([path, true]);
    expect(paths.some((path) => path.startsWith('app/web/browser/'))).toBe(true);
    expect(paths.filter((path) => /^app\/(agent|test|scripts|profiles|launchd)\//.test(path))).toEqual([]);
    expect(new Set(paths).size).toBe(paths.length);
    expect(paths.filter((path) => path.includes('/node_modules/') && path.endsWith('.d.ts'))).toEqual([]);
  });

  test('has every file that belongs to it, and none that only lies there', () => {
    const copy = scratch('packed');
    for (const folder of ['protocol', 'server', 'web', 'portal', 'console', 'ctl', 'docs']) mkdirSync(join(copy, folder), { recursive: true });
    cpSync(join(root, 'deploy'), join(copy, 'deploy'), { recursive: true });
    for (const name of ['LICENSE', 'CHANGELOG.md', 'SECURITY.md']) cpSync(join(root, name), join(copy, name));
    const belong = ['server/a.ts', 'web/browser/b-c.ts', 'web/assets/site.css', 'docs/decisions/0001-first.md'];
    const stray = [
      'deploy/container/passphrase',
      'server/.a.ts.swp',
      'server/a.ts~',
      'web/#b.ts#',
      'docs/.DS_Store',
      'docs/notes.txt',
      'deploy/systemd/old.service',
    ];
    for (const path of [...belong, ...stray]) {
      mkdirSync(dirname(join(copy, path)), { recursive: true });
      writeFileSync(join(copy, path), 'x');
    }
    const packed = packedFiles(copy, []).map(({ path }) => path);
    for (const path of belong) expect([path, packed.includes(path.startsWith('docs') ? path : `app/${path}`)]).toEqual([path, true]);
    expect(packed.filter((path) => stray.some((one) => path.endsWith(one.replace('deploy/', ''))))).toEqual([]);
    // Of the repository itself nothing is left out.
    const tracked = execFileSync('git', ['ls-files', 'protocol', 'server', 'web', 'portal', 'console', 'ctl', 'deploy', 'docs'], {
      cwd: root,
      encoding: 'utf8',
    });
    const all = packedFiles(root, []).map(({ path }) => path);
    const missing = tracked
      .split('\n')
      .filter((path) => path !== '' && existsSync(join(root, path)))
      .map((path) => path.replace(/^deploy\//, '').replace(/^(?=(protocol|server|web|portal|console|ctl)\/)/, 'app/'))
      .filter((path) => !all.includes(path));
    expect(missing).toEqual([]);
  });

  test('is read by tar, every byte and every mode, also where a path is long; the same files give the same bytes', async () => {
    const folder = scratch();
    const [one, two] = [join(folder, '1.tar.gz'), join(folder, '2.tar.gz')];
    const first = await writeArchive(one, 'release', small, 0, () => {});
    expect(await writeArchive(two, 'release', small, 0, () => {})).toEqual(first);
    expect(readFileSync(one).equals(readFileSync(two))).toBe(true);
    expect(readFileSync(one)[9]).toBe(255);
    expect(gunzipSync(readFileSync(one)).length % 512).toBe(0);
    execFileSync('tar', ['-xzf', one, '-C', folder]);
    for (const { path, from, mode } of small) {
      expect(readFileSync(join(folder, 'release', path)).equals(from as Buffer)).toBe(true);
      expect([path, statSync(join(folder, 'release', path)).mode & 0o777 & ~0o022]).toEqual([path, mode & ~0o022]);
    }
  });

  test('that cannot be written is not there, not in part either', async () => {
    const file = join(scratch(), 'x.tar.gz');
    await expect(writeArchive(file, 'release', [{ path: 'gone', from: '/nowhere/at/all', mode: 0o644 }], 0, () => {})).rejects.toThrow('/nowhere/at/all');
    expect(readdirSync(join(file, '..'))).toEqual([]);
  });

  test('splits a path where ustar can hold it, and refuses one that it cannot hold', () => {
    const long = `${'a'.repeat(60)}/${'b'.repeat(60)}/${'c'.repeat(60)}`;
    expect(ustarPath(long)).toEqual({ prefix: `${'a'.repeat(60)}/${'b'.repeat(60)}`, name: 'c'.repeat(60) });
    expect(ustarPath('short/path')).toEqual({ prefix: '', name: 'short/path' });
    expect(() => ustarPath(`x/${'y'.repeat(101)}`)).toThrow('too long');
    expect(() => ustarPath(`${'a/'.repeat(100)}${'z'.repeat(90)}`)).toThrow('too long');
  });
});

const unit = (name: string): { lines: string[]; of(key: string): string[] } => {
  const lines = readFileSync(deploy('systemd', name), 'utf8').split('\n');
  return { lines, of: (key) => lines.filter((line) => line.startsWith(`${key}=`)).map((line) => line.slice(key.length + 1)) };
};

describe('the units', () => {
  const services = readdirSync(deploy('systemd')).filter((name) => name.endsWith('.service'));

  test('call commands that there are, with options that they have', async () => {
    expect(services).toHaveLength(3);
    for (const name of services) {
      const [start = ''] = unit(name).of('ExecStart');
      expect(start).toMatch(/^\/opt\/sparekey\/current\/bin\/sparekey-server /);
      const [command] = commandsIn(`\`\`\`\n${start.replace('/opt/sparekey/current/bin/', '')}\n\`\`\`\n`);
      expect(command).toBeDefined();
      if (command) expect([name, await wrongWith(command)]).toEqual([name, null]);
    }
  });

  test.each(services)('%s has no right, writes its own folder alone, leaves no core and swaps no key out', (name) => {
    const { of } = unit(name);
    for (const [key, value] of Object.entries({
      User: 'sparekey',
      NoNewPrivileges: 'yes',
      CapabilityBoundingSet: '',
      ProtectSystem: 'strict',
      ProtectHome: 'yes',
      PrivateDevices: 'yes',
      LimitCORE: '0',
      MemorySwapMax: '0',
      UMask: '0077',
      RestrictSUIDSGID: 'yes',
    }))
      expect([name, key, of(key)]).toEqual([name, key, [value]]);
    expect(of('ReadWritePaths')).toEqual([]);
    expect(of('StateDirectory').join()).toContain('sparekey');
    // The passphrase: never an argument, never in the environment.
    expect(of('Environment').concat(of('EnvironmentFile'))).toEqual([]);
    expect(of('ExecStart').join().replace('--passphrase-file %d/passphrase', '')).not.toContain('passphrase');
  });

  test('the backend gets the port from systemd, has longer to stop than its own stop takes, and is not started again for a mistake in its settings', () => {
    const service = unit('sparekey.service');
    expect(service.of('Requires')).toEqual(['sparekey.socket']);
    expect(unit('sparekey.socket').of('ListenStream')).toEqual(['443']);
    expect(unit('sparekey.socket').of('FileDescriptorName')).toEqual(['macs']);
    expect(Number(service.of('TimeoutStopSec')[0])).toBeGreaterThan(31);
    expect(service.of('RestartPreventExitStatus')[0]?.split(' ')).toEqual(['64', '78']);
    // Whoever waits at the socket starts it at once, whatever RestartSec says: the pause is at the end of what failed.
    const [, pause = ''] = /^\/bin\/sh -c '(.+)'$/.exec(service.of('ExecStopPost')[0] ?? '') ?? [];
    const seconds = (result: string): string => {
      const said = spawnSync('/bin/sh', ['-c', `sleep() { echo "$1"; }; ${pause}`], { encoding: 'utf8', env: { SERVICE_RESULT: result } });
      return said.stdout.trim();
    };
    expect(['success', 'exit-code', 'signal', 'timeout'].map(seconds)).toEqual(['', '5', '5', '5']);
    expect(Number(service.of('TimeoutStopSec')[0])).toBeGreaterThan(5);
  });

  test('a backup every night and a look at it every week are made up for where the machine was off', () => {
    for (const [name, often] of [
      ['sparekey-backup.timer', '*-*-* 02:15:00'],
      ['sparekey-drill.timer', 'weekly'],
    ] as const) {
      expect(unit(name).of('OnCalendar')).toEqual([often]);
      expect(unit(name).of('Persistent')).toEqual(['true']);
    }
  });
});

describe('the files for cron, where there is no systemd', () => {
  test.each([
    ['sparekey', 'sparekey'],
    ['sparekey-container', 'root'],
  ])('%s: each line is one that cron takes, with a command that there is, and asks for what the units ask for', async (name, user) => {
    const path = deploy('cron', name);
    // cron passes over a file with a dot in its name, and one that others can write.
    expect([/^[\w-]+$/.test(name), statSync(path).mode & 0o133]).toEqual([true, 0]);
    const text = readFileSync(path, 'utf8');
    expect(text.endsWith('\n')).toBe(true);
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#') && !/^[A-Z_]+=\S+$/.test(line));
    const said = lines.map((line) => {
      const [, times = '', who = '', command = ''] = /^(\d{1,2} \d{1,2} \* \* [*\d]) {2}(\S+) {2}(.+) >\/dev\/null$/.exec(line) ?? [];
      // A per cent sign is a new line for cron.
      expect([times === '', who, command.includes('%')]).toEqual([false, user, false]);
      return command.replace(/^podman exec sparekey /, '').replace(/^\/opt\/sparekey-server\/bin\//, '');
    });
    expect(said).toHaveLength(2);
    for (const command of said) {
      const [found] = commandsIn(`\`\`\`\n${command}\n\`\`\`\n`);
      expect(found).toBeDefined();
      if (found) expect([command, await wrongWith(found)]).toEqual([command, null]);
    }
    // The same words as in the units, but for where things lie.
    const words = (line: string) =>
      line
        .replace(/\S*\/sparekey-server /, 'sparekey-server ')
        .replaceAll(/ (\/|%d)\S+/g, ' FILE')
        .split(' ')
        .toSorted();
    for (const [at, service] of ['sparekey-backup.service', 'sparekey-drill.service'].entries()) {
      const wanted = words(unit(service).of('ExecStart')[0] ?? '');
      expect(wanted.filter((word) => !words(said[at] ?? '').includes(word) && word !== '--dir')).toEqual([]);
    }
    expect(packedFiles(root, []).map((one) => one.path)).toContain(`cron/${name}`);
  });
});

/** It gives files to root. */
const asRoot = process.getuid?.() === 0 && process.platform === 'linux';
const testAsRoot = asRoot ? test : (name: string, body: () => void) => test.skip(`${name} [skipped: needs root on Linux]`, body);

describe('install.sh', () => {
  function release(folder: string, version: string, node = '#!/bin/sh\necho v26.0.0\n'): string {
    const at = join(folder, `release-${version}`);
    for (const part of ['bin', 'systemd']) mkdirSync(join(at, part), { recursive: true });
    writeFileSync(join(at, 'VERSION'), `${version}\n`);
    writeFileSync(join(at, 'bin/node'), node);
    chmodSync(join(at, 'bin/node'), 0o755);
    execFileSync('cp', ['-R', deploy('install.sh'), deploy('systemd'), deploy('bin'), at]);
    return at;
  }
  const install = (at: string, ...args: string[]) => spawnSync('sh', [join(at, 'install.sh'), ...args], { encoding: 'utf8' });

  testAsRoot('installs beside what was there, goes back, and takes nothing of the data away', () => {
    const folder = scratch();
    const machine = join(folder, 'machine');
    mkdirSync(join(machine, 'var/lib/sparekey/data'), { recursive: true });
    writeFileSync(join(machine, 'var/lib/sparekey/data/settings.json'), '{}');
    const [old, young] = [release(folder, '1.0.0'), release(folder, '1.1.0')];
    expect(install(old, '--root', machine)).toMatchObject({ status: 0, stderr: '' });
    const current = join(machine, 'opt/sparekey/current');
    expect(readlinkSync(current)).toBe('1.0.0');
    expect(install(young, '--root', machine).status).toBe(0);
    // Once more, from where it lies now: nothing is lost by that.
    expect(install(join(machine, 'opt/sparekey/1.1.0'), '--root', machine).status).toBe(0);
    expect([readlinkSync(current), readdirSync(join(machine, 'opt/sparekey')).toSorted()]).toEqual(['1.1.0', ['1.0.0', '1.1.0', 'current']]);
    expect(install(young, '--root', machine, '--use', '1.0.0')).toMatchObject({ status: 0, stdout: 'sparekey: release 1.0.0 is used now\n' });
    expect(readlinkSync(current)).toBe('1.0.0');
    expect(install(young, '--root', machine, '--use', '0.9.0')).toMatchObject({ status: 66, stderr: expect.stringContaining('fix: ') });
    // One that somebody copied by hand, without its units: nothing is moved.
    execFileSync('cp', ['-R', join(machine, 'opt/sparekey/1.1.0/bin'), join(machine, 'opt/sparekey/by-hand')]);
    execFileSync('sh', ['-c', 'mkdir b && mv by-hand b/bin && mv b by-hand'], { cwd: join(machine, 'opt/sparekey') });
    expect(install(young, '--root', machine, '--use', 'by-hand')).toMatchObject({ status: 66, stderr: expect.stringContaining('has no units') });
    expect(readlinkSync(current)).toBe('1.0.0');
    expect(readdirSync(join(machine, 'usr/local/lib/systemd/system'))).toHaveLength(6);
    expect(install(young, '--root', machine, '--uninstall')).toMatchObject({ status: 0, stdout: expect.stringContaining('/var/lib/sparekey') });
    expect(existsSync(join(machine, 'opt/sparekey'))).toBe(false);
    expect(readdirSync(join(machine, 'usr/local/lib/systemd/system'))).toEqual([]);
    expect(existsSync(join(machine, 'var/lib/sparekey/data/settings.json'))).toBe(true);
  });

  testAsRoot('run from where it is installed, by the link too, it destroys nothing', () => {
    const folder = scratch();
    const machine = join(folder, 'machine');
    mkdirSync(machine);
    install(release(folder, '1.0.0'), '--root', machine);
    for (const from of ['current', '1.0.0']) expect(install(join(machine, 'opt/sparekey', from), '--root', machine).status).toBe(0);
    expect(readFileSync(join(machine, 'opt/sparekey/current/VERSION'), 'utf8')).toBe('1.0.0\n');
    expect(statSync(join(machine, 'opt/sparekey/1.0.0/bin/node')).isFile()).toBe(true);
  });

  testAsRoot('on a machine where new files are for their owner alone, and unpacked by somebody careful, the backend’s user gets through', () => {
    const folder = scratch();
    const machine = join(folder, 'machine');
    mkdirSync(machine);
    const at = release(folder, '1.0.0');
    execFileSync('chmod', ['-R', 'go=', at]);
    expect(spawnSync('sh', ['-c', `umask 077; exec sh ${at}/install.sh --root ${machine}`], { encoding: 'utf8' })).toMatchObject({ status: 0 });
    for (const path of ['opt', 'opt/sparekey', 'opt/sparekey/1.0.0', 'opt/sparekey/1.0.0/bin', 'opt/sparekey/1.0.0/bin/node'])
      expect([path, statSync(join(machine, path)).mode & 0o005]).toEqual([path, 0o005]);
    expect(statSync(join(machine, 'etc/sparekey')).mode & 0o777).toBe(0o700);
  });

  testAsRoot('an upgrade leaves a proxy’s ports as they were, and each release brings its own units', () => {
    const folder = scratch();
    const machine = join(folder, 'machine');
    mkdirSync(machine);
    const units = join(machine, 'usr/local/lib/systemd/system');
    const service = () => readFileSync(join(units, 'sparekey-backup.service'), 'utf8');
    install(release(folder, '1.0.0'), '--root', machine, '--without-socket');
    const young = release(folder, '1.1.0');
    writeFileSync(join(young, 'systemd/sparekey-backup.service'), '[Service]\nExecStart=/of/1.1.0\n');
    expect(install(young, '--root', machine).stdout).toContain('without a socket at port 443');
    expect([existsSync(join(units, 'sparekey.socket')), service().includes('/of/1.1.0')]).toEqual([false, true]);
    expect(install(young, '--root', machine, '--use', '1.0.0').status).toBe(0);
    expect([existsSync(join(units, 'sparekey.socket')), service().includes('/of/1.1.0')]).toEqual([false, false]);
    expect(install(young, '--root', machine, '--with-socket').status).toBe(0);
    expect(existsSync(join(units, 'sparekey.socket'))).toBe(true);
    expect(readFileSync(join(units, 'sparekey.service'), 'utf8')).toContain('Requires=sparekey.socket');
  });

  testAsRoot('a first installation that ends among its units, and is made again, still has its socket', () => {
    const folder = scratch();
    const machine = join(folder, 'machine');
    mkdirSync(machine);
    const at = release(folder, '1.0.0');
    const units = join(machine, 'usr/local/lib/systemd/system');
    mkdirSync(join(folder, 'path'));
    // The power goes when the service lies there.
    const cut = `#!/bin/sh\n/usr/bin/install "$@"\ncase $* in *sparekey.service) kill -9 $PPID ;; esac\n`;
    writeFileSync(join(folder, 'path/install'), cut, { mode: 0o755 });
    const env = { PATH: `${join(folder, 'path')}:${process.env['PATH']}` };
    expect(spawnSync('sh', [join(at, 'install.sh'), '--root', machine], { env }).signal).toBe('SIGKILL');
    expect(existsSync(join(units, 'sparekey.service'))).toBe(true);
    expect(install(at, '--root', machine).stdout).not.toContain('without a socket');
    expect(existsSync(join(units, 'sparekey.socket'))).toBe(true);
  });

  testAsRoot('a release is on the disk before it has its name, so that a power cut leaves none of programs without bytes', () => {
    const folder = scratch();
    const machine = join(folder, 'machine');
    mkdirSync(machine);
    const at = release(folder, '1.0.0');
    const seen = join(folder, 'seen');
    mkdirSync(join(folder, 'path'));
    writeFileSync(join(folder, 'path/sync'), `#!/bin/sh\nls -A ${machine}/opt/sparekey >>${seen}\n`, { mode: 0o755 });
    const ended = spawnSync('sh', [join(at, 'install.sh'), '--root', machine], {
      encoding: 'utf8',
      env: { PATH: `${join(folder, 'path')}:${process.env['PATH']}` },
    });
    expect([ended.status, readFileSync(seen, 'utf8')]).toEqual([0, '.1.0.0.part\n']);
  });

  testAsRoot('changes nothing where the runtime cannot start, and says what is missing', () => {
    const folder = scratch();
    const machine = join(folder, 'machine');
    mkdirSync(machine);
    const broken = release(folder, '2.0.0', '#!/bin/sh\necho "error while loading shared libraries: libatomic.so.1" >&2\nexit 127\n');
    expect(install(broken, '--root', machine)).toMatchObject({ status: 78, stderr: expect.stringContaining('apt-get install libatomic1') });
    expect(readdirSync(machine)).toEqual([]);
  });

  testAsRoot('without the socket no unit speaks of it', () => {
    const folder = scratch();
    const machine = join(folder, 'machine');
    mkdirSync(machine);
    expect(install(release(folder, '1.0.0'), '--root', machine, '--without-socket').status).toBe(0);
    const units = join(machine, 'usr/local/lib/systemd/system');
    expect(readdirSync(units)).not.toContain('sparekey.socket');
    expect(readFileSync(join(units, 'sparekey.service'), 'utf8')).not.toContain('sparekey.socket');
  });

  test('says how it is used, and refuses a word that it does not know', () => {
    const run = (...args: string[]) => spawnSync('sh', [deploy('install.sh'), ...args], { encoding: 'utf8' });
    expect(run('--help')).toMatchObject({ status: 0, stdout: expect.stringContaining('--uninstall') });
    expect(run('--help').stdout).not.toContain('set -eu');
    expect(run('--remove-everything').status).toBe(64);
  });
});

describe('the installed command', () => {
  const wrapper = (folder: string): string => {
    mkdirSync(join(folder, 'release/bin'), { recursive: true });
    execFileSync('cp', [deploy('bin/sparekey-server'), join(folder, 'release/bin/')]);
    writeFileSync(join(folder, 'release/bin/node'), '#!/bin/sh\necho "$(id -u) $SPAREKEY_DIR"\nprintf "%s\\n" "$@"\n', { mode: 0o755 });
    chmodSync(join(folder, 'release/bin/node'), 0o755);
    return join(folder, 'release/bin/sparekey-server');
  };

  test('knows its data folder, and hands every word on as it is', () => {
    const command = wrapper(scratch());
    const said = execFileSync(command, ['show', 'C02 X', '--reason', 'a "word"'], {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], SPAREKEY_DIR: '/nowhere/data' },
    });
    expect(said.split('\n').slice(1, -1)).toEqual([
      '--disable-sigusr1',
      expect.stringMatching(/app\/server\/main\.ts$/),
      'show',
      'C02 X',
      '--reason',
      'a "word"',
    ]);
    expect(said).toMatch(/^\d+ \/nowhere\/data\n/);
  });

  testAsRoot('called by root it works as the user to whom the data belongs: a file of root’s there would lock the backend out', () => {
    const folder = scratch();
    chmodSync(folder, 0o755);
    const command = wrapper(folder);
    const home = join(folder, 'state');
    mkdirSync(home);
    execFileSync('chown', ['12345:12345', home]);
    const env = { PATH: process.env['PATH'], SPAREKEY_DIR: join(home, 'data') };
    expect(execFileSync(command, ['status'], { encoding: 'utf8', env })).toMatch(/^12345 /);
    execFileSync('chown', ['0:0', home]);
    expect(execFileSync(command, ['status'], { encoding: 'utf8', env })).toMatch(/^0 /);
  });
});
