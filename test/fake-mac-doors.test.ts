import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { change, escrow, keyIn, openFile, opens, ours, plist, trueKey } from './fake-mac/asking.ts';
import { makeDeviceCa } from './fake-mac/certificates.ts';
import { FakeMac } from './fake-mac/fake-mac.ts';
import { readBinaryPlist } from './fake-mac/property-list.ts';
import { askedBeforehand } from './fake-mac/render.ts';
import { until as waitUntil } from './waiting.ts';

const temporary = mkdtempSync(join(tmpdir(), 'fake-mac-test-'));
afterAll(() => rmSync(temporary, { recursive: true, force: true }));

describe('the door of real executables', () => {
  let mac: FakeMac;
  const run = (args: string[], options: { input?: string; program?: string } = {}) =>
    new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve, reject) => {
      const child = spawn(mac.path(options.program ?? '/usr/bin/fdesetup'), args, { cwd: mac.root, env: { LC_ALL: 'C', PATH: '/usr/bin:/bin' } });
      let [stdout, stderr] = ['', ''];
      child.stdout.on('data', (data) => {
        stdout += data;
      });
      child.stderr.on('data', (data) => {
        stderr += data;
      });
      child.on('error', reject);
      child.on('close', (code) => resolve({ code, stdout, stderr }));
      // A command may end without reading what it was given.
      child.stdin.on('error', () => undefined);
      child.stdin.end(options.input ?? '');
    });
  const until = async (what: () => boolean): Promise<void> => {
    await waitUntil(what);
    expect(what()).toBe(true);
  };

  beforeAll(() => {
    mac = FakeMac.create({
      root: join(temporary, 'mac'),
      folder: true,
      seed: 'doors',
      settings: { serverUrl: 'https://keys.example.org' },
      deviceCa: makeDeviceCa(),
      ...ours,
    });
  });
  afterAll(() => mac.dispose());

  test('both doors give the same bytes to every question that has its answer ready', async () => {
    for (const [program, ...args] of askedBeforehand(mac.state)) {
      const inProcess = await mac.runner.run({ program, args });
      expect([program, args, await run(args, { program })]).toEqual([
        program,
        args,
        { code: inProcess.code, stdout: inProcess.stdout.toString(), stderr: inProcess.stderr.toString() },
      ]);
    }
  });
  test('those answers cost no start of Node, and what is not ready is answered by a process', async () => {
    const folder = mac.path('/.fake/command.mjs');
    const kept = readFileSync(folder);
    writeFileSync(folder, 'process.exit(99);');
    expect([(await run(['status'])).code, (await run(['status', '-x'])).code, (await run(['a b'])).code]).toEqual([0, 99, 99]);
    writeFileSync(folder, kept);
    expect(await run(['status', '-x'])).toEqual({ code: 64, stdout: '', stderr: 'this fake Mac has no: /usr/bin/fdesetup status -x\n' });
  });
  test('an answer that lies ready follows every act, and a file that somebody writes himself', async () => {
    mac.disableFileVault();
    expect((await run(['status'])).stdout).toBe('FileVault is Off.\n');
    mac.enableFileVault('ada');
    expect((await run(['status'])).stdout).toBe('FileVault is On.\n');
    const path = '/Library/Managed Preferences/io.sparekey.agent.plist';
    const ask = () => run(['-convert', 'xml1', '-o', '-', path], { program: '/usr/bin/plutil' });
    expect((await ask()).stdout).toContain('keys.example.org');
    writeFileSync(mac.path(path), 'no property list');
    expect(await ask()).toMatchObject({ code: 1, stdout: '' });
    rmSync(mac.path(path));
    expect((await ask()).code).toBe(1);
    mac.removeSettings();
    mac.installSettings({ serverUrl: 'https://other.example.org' });
    expect((await ask()).stdout).toContain('other.example.org');
  });
  test('the key is checked and replaced by a process, which the other door then sees', async () => {
    const old = trueKey(mac);
    expect((await run(['validaterecovery', '-inputplist'], { input: plist(old) })).stdout).toBe('true\n');
    const ran = await run(change, { input: plist(old) });
    expect([keyIn(ran.stdout), ran.stderr]).toEqual([mac.recoveryKey, '']);
    expect(mac.recoveryKey).not.toBe(old);
    expect(openFile(mac.escrowFile() ?? Buffer.alloc(0))).toBe(mac.recoveryKey);
    expect(await opens(mac, trueKey(mac))).toBe('true');
  });
  test('a changerecovery that is killed between the change and the plist leaves the new key, the escrow file and no answer; ps showed it', async () => {
    mac.setQuirk('changeSecondsAfter', 600);
    const old = mac.recoveryKey;
    const child = spawn(mac.path('/usr/bin/fdesetup'), change, { stdio: ['pipe', 'pipe', 'ignore'], env: {} });
    let printed = '';
    child.stdout.on('data', (data) => {
      printed += data;
    });
    child.stdin.end(plist(old ?? ''));
    await until(() => mac.recoveryKey !== old);
    expect((await run(['-axww', '-o', 'pid=,uid=,args='], { program: '/bin/ps' })).stdout).toContain(
      `${child.pid}     0 /usr/bin/fdesetup changerecovery -personal`,
    );
    child.kill('SIGKILL');
    await new Promise((done) => child.on('close', done));
    expect((await run(['-axww', '-o', 'pid=,uid=,args='], { program: '/bin/ps' })).stdout).not.toContain('changerecovery');
    expect([printed, openFile(mac.escrowFile() ?? Buffer.alloc(0))]).toEqual(['', mac.recoveryKey]);
    mac.setQuirk('changeSecondsAfter', 0);
    expect((await run(['validaterecovery', '-inputplist'], { input: plist(trueKey(mac)) })).stdout).toBe('true\n');
  });
  test('processes that change the state at once lose nothing of each other', async () => {
    const before = mac.state.wrongKeys.ever;
    mac.setQuirk('wrongKeysFree', 1000);
    await Promise.all(Array.from({ length: 6 }, () => run(['validaterecovery', '-inputplist'], { input: plist('AAAA-AAAA-AAAA-AAAA-AAAA-AAAA') })));
    expect(mac.state.wrongKeys.ever).toBe(before + 6);
    expect(readdirSync(mac.path('/.fake')).filter((name) => name.startsWith('lock'))).toEqual([]);
  });
  test('a lock whose owner is dead is taken over', async () => {
    const dead = spawn('/bin/true');
    await new Promise((done) => dead.on('close', done));
    writeFileSync(mac.path('/.fake/lock'), `${dead.pid} 1`);
    mac.setPower('battery', 15);
    expect((await run(['-g', 'batt'], { program: '/usr/bin/pmset' })).stdout).toContain(
      "Now drawing from 'Battery Power'\n -InternalBattery-0 (id=22282339)\t15%;",
    );
  });
  test('a program that is spoilt or missing is so for processes too', async () => {
    mac.setCommandQuirk('fdesetup status', 'fail:7');
    expect((await run(['status'])).code).toBe(7);
    mac.setCommandQuirk('fdesetup status', null);
    mac.setCommandQuirk('fdesetup', 'missing');
    await expect(run(['status'])).rejects.toMatchObject({ code: 'ENOENT' });
    mac.setCommandQuirk('fdesetup', null);
    expect((await run(['status'])).code).toBe(0);
  });
});

describe('the command line', () => {
  const folder = join(temporary, 'cli');
  const cli = (...args: string[]) =>
    new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
      const child = spawn(process.execPath, [join(import.meta.dirname, 'fake-mac/main.ts'), ...args], { cwd: temporary });
      let [stdout, stderr] = ['', ''];
      child.stdout.on('data', (data) => {
        stdout += data;
      });
      child.stderr.on('data', (data) => {
        stderr += data;
      });
      child.on('close', (code) => resolve({ code, stdout, stderr }));
    });
  test('makes a Mac with settings, an identity of a device CA and a bundle, and acts on it', async () => {
    writeFileSync(join(temporary, 'escrow.pem'), escrow.certificate);
    writeFileSync(join(temporary, 'bundle.mjs'), 'process.exit(process.argv.length);');
    expect((await cli('device-ca', 'ca')).code).toBe(0);
    const options = [
      '--escrow-profile',
      'ours',
      '--escrow-certificate',
      'escrow.pem',
      '--server',
      'https://localhost:8443',
      '--trust',
      'escrow.pem',
      '--device-ca',
      'ca',
    ];
    const more = [
      '--identity-files',
      '--serial',
      'C02CLI',
      '--user',
      'grace',
      '--settle-seconds',
      '5',
      '--set',
      'pilot=true',
      'logLevel=debug',
      '--bundle',
      'bundle.mjs',
    ];
    expect(await cli('create', 'cli', ...options, ...more)).toEqual({ code: 0, stdout: `${folder}: a Mac with the serial number C02CLI\n`, stderr: '' });
    const shown = JSON.parse((await cli('cli', 'show', '--json')).stdout) as {
      recoveryKey: string;
      escrowFile: { bytes: number };
      console: { user: string };
      serial: string;
    };
    expect([shown.serial, shown.console.user, shown.escrowFile.bytes]).toEqual(['C02CLI', 'grace', FakeMac.open(folder).escrowFile()?.length]);
    expect(readBinaryPlist(readFileSync(join(folder, 'Library/Managed Preferences/io.sparekey.agent.plist')))).toEqual({
      serverUrl: 'https://localhost:8443',
      escrowCertificate: escrow.certificate,
      trustedCertificates: [escrow.certificate],
      settleSeconds: 5,
      identityCertificateFile: '/Library/Sparekey/identity/certificate.pem',
      identityKeyFile: '/Library/Sparekey/identity/key.pem',
      pilot: true,
      logLevel: 'debug',
    });
    expect(existsSync(join(folder, 'Library/Sparekey/identity/key.pem'))).toBe(true);
    expect(await cli('cli', 'unlocks-with', shown.recoveryKey)).toMatchObject({ code: 0, stdout: 'true\n' });
    expect(await cli('cli', 'unlocks-with', 'AAAA-AAAA-AAAA-AAAA-AAAA-AAAA')).toMatchObject({ code: 1, stdout: 'false\n' });
    expect(await cli('cli', 'boot', '--unlock', 'recovery-key', '--key', 'AAAA-AAAA-AAAA-AAAA-AAAA-AAAA')).toMatchObject({
      code: 1,
      stderr: 'fake-mac: the key was refused\n',
    });
    expect(await cli('cli', 'job')).toEqual({ code: 5, stdout: '', stderr: '' });
    expect((await cli('cli', 'quirk', 'command:fdesetup status', 'answer:FileVault is Purple.')).code).toBe(0);
    expect(execFileSync(join(folder, 'usr/bin/fdesetup'), ['status']).toString()).toBe('FileVault is Purple.');
  });
  test('says what is wrong: 64 for usage, 1 with words for what cannot be done', async () => {
    expect((await cli('cli', 'nonsense')).code).toBe(64);
    expect((await cli('create')).code).toBe(64);
    expect(await cli('nowhere', 'logout')).toMatchObject({ code: 1, stderr: expect.stringContaining('there is no fake Mac at') as unknown });
    expect(await cli('create', 'other', '--bundle', 'nowhere.mjs')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('npm run -s sparekey -- version') as unknown,
    });
    expect(await cli('create', 'other', '--no-agent', '--escrow-profile', 'ours')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('--escrow-certificate') as unknown,
    });
    expect(await cli('cli', 'login', 'nobody')).toMatchObject({ code: 1, stderr: 'fake-mac: this fake Mac has no user nobody; it has: grace\n' });
  });
});
