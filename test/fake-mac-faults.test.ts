import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { change, fdesetup, given, keyIn, ours, plist, says, trueKey } from './fake-mac/asking.ts';
import { makeDeviceCa } from './fake-mac/certificates.ts';
import { FakeMac } from './fake-mac/fake-mac.ts';
import { testWithOpenssl } from './openssl.ts';

const temporary = mkdtempSync(join(tmpdir(), 'fake-mac-test-'));
afterAll(() => rmSync(temporary, { recursive: true, force: true }));

describe('faults of changerecovery', () => {
  const started = async (mac: FakeMac, password = trueKey(mac)) => {
    for (const name of ['out', 'err']) writeFileSync(mac.path(`/var/db/${name}`), '', { mode: 0o600 });
    const begun = await mac.runner.start({
      program: '/usr/bin/fdesetup',
      args: change,
      input: plist(password),
      stdoutFile: '/var/db/out',
      stderrFile: '/var/db/err',
    });
    return { begun, out: () => readFileSync(mac.path('/var/db/out'), 'utf8') };
  };
  const running = async (mac: FakeMac) =>
    (await mac.runner.run({ program: '/bin/ps', args: ['-axww', '-o', 'pid=,uid=,args='] })).stdout.toString().includes('/usr/bin/fdesetup changerecovery');

  test.each([
    ['crashes-before', { changed: false, printed: false, escrowed: false, code: null }],
    ['crashes-after', { changed: true, printed: false, escrowed: false, code: null }],
    ['crashes-after-escrow', { changed: true, printed: false, escrowed: true, code: null }],
    ['prints-nothing', { changed: true, printed: false, escrowed: true, code: 0 }],
    ['prints-garbage', { changed: true, printed: false, escrowed: true, code: 0 }],
    ['truncated', { changed: true, printed: true, escrowed: true, code: 0 }],
    ['no-escrow-file', { changed: true, printed: true, escrowed: false, code: 0 }],
    ['refuses', { changed: false, printed: false, escrowed: false, code: 11 }],
    ['works', { changed: true, printed: true, escrowed: true, code: 0 }],
  ] as const)('%s', async (quirk, wanted) => {
    await given(ours, async (mac) => {
      const [key, file] = [mac.recoveryKey, mac.escrowFile()];
      mac.setChangeQuirk(quirk);
      const { begun, out } = await started(mac);
      const ended = await begun.ended(1);
      expect({
        changed: mac.recoveryKey !== key,
        printed: mac.recoveryKey !== key && out().includes(trueKey(mac)),
        escrowed: Buffer.compare(mac.escrowFile() ?? Buffer.alloc(0), file ?? Buffer.alloc(0)) !== 0,
        code: ended === 'still-running' ? 'still-running' : ended.code,
      }).toEqual(wanted);
      expect(await running(mac)).toBe(false);
    });
  });
  test('a slow change goes on without its caller, and ps shows it', async () => {
    await given({}, async (mac) => {
      const key = mac.recoveryKey;
      mac.setQuirk('changeSecondsAfter', 40);
      const { begun, out } = await started(mac);
      expect(await begun.ended(10)).toBe('still-running');
      expect([mac.recoveryKey === key, out(), await running(mac)]).toEqual([false, '', true]);
      mac.advance(40);
      expect([keyIn(out()), await running(mac)]).toEqual([mac.recoveryKey, false]);
    });
  });
  test('one that hangs is ended by a restart and has changed nothing', async () => {
    await given({}, async (mac) => {
      const key = mac.recoveryKey;
      mac.setChangeQuirk('hangs');
      const { begun } = await started(mac);
      expect([await begun.ended(3600), await running(mac)]).toEqual(['still-running', true]);
      mac.boot();
      expect([mac.recoveryKey, await running(mac)]).toEqual([key, false]);
    });
  });
  test.each([
    ['hang', { code: null, failed: 'timeout' }],
    ['crash', { code: null, failed: 'signal' }],
    ['missing', { code: null, failed: 'not-found' }],
    ['flood', { code: null, failed: 'too-much-output' }],
    ['fail:7', { code: 7 }],
    ['empty', { code: 0, stdout: Buffer.alloc(0) }],
    ['answer:FileVault is Purple.\n', { code: 0, stdout: Buffer.from('FileVault is Purple.\n') }],
  ])('any command can be spoilt: %s', async (quirk, wanted) => {
    await given({}, async (mac) => {
      mac.setCommandQuirk('fdesetup status', quirk);
      expect(await fdesetup(mac, ['status'])).toMatchObject(wanted);
      expect((await fdesetup(mac, ['isactive'])).code).toBe(0);
      mac.setCommandQuirk('fdesetup status', null);
      expect(await says(mac, 'status')).toBe('FileVault is On.');
    });
  });
});

describe('security cms -S', () => {
  for (const attributes of [true, false])
    testWithOpenssl(`is verified by openssl, with the chain and, where asked (${attributes}), signed attributes`, () => verified(attributes));

  async function verified(attributes: boolean): Promise<void> {
    const ca = makeDeviceCa();
    await given({ deviceCa: ca, serial: 'C02EXAMPLE' }, async (mac) => {
      const args = ['cms', '-S', '-N', 'C02EXAMPLE', '-H', 'SHA256', '-u', '0', ...(attributes ? ['-G'] : [])];
      const ran = await mac.runner.run({ program: '/usr/bin/security', args, input: 'statement\n' });
      expect(ran.code).toBe(0);
      writeFileSync(join(temporary, 'ca.pem'), ca.certificate);
      writeFileSync(join(temporary, 'signed'), ran.stdout);
      const verified = execFileSync('openssl', ['cms', '-verify', '-binary', '-inform', 'DER', '-in', 'signed', '-CAfile', 'ca.pem', '-purpose', 'sslclient'], {
        cwd: temporary,
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      expect(verified.toString()).toBe('statement\n');
      const shown = execFileSync('openssl', ['cms', '-cmsout', '-print', '-inform', 'DER', '-in', 'signed'], { cwd: temporary }).toString();
      expect(/signedAttrs:\s+object: contentType/.test(shown)).toBe(attributes);
    });
  }
});

describe('the module in keytar’s place', () => {
  test('in process: System for the job, the login keychain for a Terminal', async () => {
    await given({}, async (mac) => {
      await mac.keytar('job').setPassword('s', 'a', 'of the job');
      expect([await mac.keytar('job').getPassword('s', 'a'), await mac.keytar('terminal').getPassword('s', 'a')]).toEqual(['of the job', null]);
      await mac.keytar('terminal').setPassword('s', 'a', 'of ada');
      expect(await mac.keytar('job').findCredentials('s')).toEqual([{ account: 'a', password: 'of the job' }]);
      expect([await mac.keytar('job').deletePassword('s', 'a'), await mac.keytar('job').deletePassword('s', 'a')]).toEqual([true, false]);
      expect(await mac.keytar('terminal').findPassword('s')).toBe('of ada');
      mac.logOut();
      await expect(mac.keytar('terminal').getPassword('s', 'a')).rejects.toThrow('A default keychain could not be found.');
    });
  });
  test('fails as macOS does: locked, dark wake, broken', async () => {
    await given({}, async (mac) => {
      mac.setKeychain('locked');
      await expect(mac.keytar('job').getPassword('s', 'a')).rejects.toThrow('User interaction is not allowed.');
      mac.setKeychain('failing');
      await expect(mac.keytar('job').setPassword('s', 'a', 'b')).rejects.toThrow('Internal error in Security framework.');
      mac.setKeychain('works');
      mac.setDarkWake(true);
      await expect(mac.keytar('job').findCredentials('s')).rejects.toThrow('In dark wake, no UI possible');
      mac.setDarkWake(false);
      await expect(mac.keytar('job').getPassword('', 'a')).rejects.toThrow('Service is required.');
    });
  });
  test('installed beside the bundle it opens the same keychains, by the context of its process', async () => {
    const folder = mkdtempSync(join(temporary, 'keytar-'));
    writeFileSync(join(folder, 'agent.mjs'), '');
    const mac = FakeMac.create({ root: join(folder, 'mac'), folder: true, agent: { bundle: join(folder, 'agent.mjs'), job: null } });
    const beside = createRequire(mac.path('/Library/Sparekey/lib/sparekey.mjs')).resolve('keytar');
    const code = `const k = require(${JSON.stringify(beside)}); (async () => { const had = await k.getPassword('s', 'a'); await k.setPassword('s', 'a', process.argv[1]); console.log(JSON.stringify([had, await k.findCredentials('s')])); })().catch((e) => console.log(e.message));`;
    const run = (env: Record<string, string>, word: string) => execFileSync(process.execPath, ['-e', code, word], { env }).toString().trim();
    expect(JSON.parse(run({ XPC_SERVICE_NAME: 'io.sparekey.agent' }, 'job'))).toEqual([null, [{ account: 'a', password: 'job' }]]);
    expect(JSON.parse(run({}, 'terminal'))).toEqual([null, [{ account: 'a', password: 'terminal' }]]);
    expect([await mac.keytar('job').getPassword('s', 'a'), await mac.keytar('terminal').getPassword('s', 'a')]).toEqual(['job', 'terminal']);
    mac.setKeychain('locked');
    expect(run({ XPC_SERVICE_NAME: 'io.sparekey.agent' }, 'job')).toBe('User interaction is not allowed.');
    mac.dispose();
  });
});
