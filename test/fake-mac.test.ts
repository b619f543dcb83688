import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { change, escrow, fdesetup, given, keyIn, openFile, opens, ours, plist, says, trueKey } from './fake-mac/asking.ts';
import { derToPem, makeDeviceCa, pemToDer } from './fake-mac/certificates.ts';
import { type EscrowCipher, escrowCiphers, makeEscrowFile } from './fake-mac/escrow-file.ts';
import { FakeMac } from './fake-mac/fake-mac.ts';
import { readBinaryPlist } from './fake-mac/property-list.ts';
import { openssl, testWithOpenssl } from './openssl.ts';

const temporary = mkdtempSync(join(tmpdir(), 'fake-mac-test-'));
afterAll(() => rmSync(temporary, { recursive: true, force: true }));

describe('the escrow file', () => {
  for (const cipher of Object.keys(escrowCiphers) as EscrowCipher[])
    testWithOpenssl(`with ${cipher} is opened by openssl and begins as macOS begins it`, () => {
      const file = makeEscrowFile('AAAA-BBBB-CCCC-DDDD-EEEE-FFFF', pemToDer(escrow.certificate), cipher);
      expect(file.subarray(0, 4).toString('hex')).toBe('30800609');
      const opened = openssl(['cms', '-decrypt', '-binary', '-inform', 'DER', '-in', 'file.dat', '-recip', 'c.pem', '-inkey', 'k.pem'], {
        'file.dat': file,
        'c.pem': escrow.certificate,
        'k.pem': escrow.key,
      });
      expect(opened.toString()).toBe('AAAA-BBBB-CCCC-DDDD-EEEE-FFFF');
      expect(openFile(file)).toBe('AAAA-BBBB-CCCC-DDDD-EEEE-FFFF');
    });
  testWithOpenssl('has the same structure as `openssl cms -encrypt -binary -stream -des3` writes', () => {
    const folder = mkdtempSync(join(temporary, 'same-'));
    writeFileSync(join(folder, 'c.pem'), escrow.certificate);
    const theirs = execFileSync('openssl', ['cms', '-encrypt', '-binary', '-stream', '-des3', '-outform', 'DER', 'c.pem'], {
      cwd: folder,
      input: 'AAAA-BBBB-CCCC-DDDD-EEEE-FFFF',
    });
    const shape = (der: Buffer): string[] =>
      execFileSync('openssl', ['asn1parse', '-inform', 'DER'], { input: der })
        .toString()
        .split('\n')
        .map((line) => line.replace(/^\s*\d+:/, '').replace(/\[HEX DUMP\]:.*/, ''));
    expect(shape(makeEscrowFile('AAAA-BBBB-CCCC-DDDD-EEEE-FFFF', pemToDer(escrow.certificate)))).toEqual(shape(theirs));
  });
  test('is written for every new key while an escrow payload is installed, for its certificate, root-only', async () => {
    await given(ours, async (mac) => {
      expect(openFile(mac.escrowFile() ?? Buffer.alloc(0))).toBe(mac.recoveryKey);
      const before = mac.escrowFile();
      await fdesetup(mac, change, plist(trueKey(mac)));
      expect(mac.escrowFile()).not.toEqual(before);
      expect(openFile(mac.escrowFile() ?? Buffer.alloc(0))).toBe(mac.recoveryKey);
      expect(statSync(mac.path('/var/db/FileVaultPRK.dat')).mode & 0o777).toBe(0o600);
      mac.mdmRotates();
      expect(openFile(mac.escrowFile() ?? Buffer.alloc(0))).toBe(mac.recoveryKey);
    });
  });
  test('is sealed to somebody else under a foreign payload, and not written without one', async () => {
    await given({ escrowProfile: 'foreign' }, async (mac) => expect(() => openFile(mac.escrowFile() ?? Buffer.alloc(0))).toThrow());
    await given({}, async (mac) => expect(mac.escrowFile()).toBeNull());
  });
  test('takes its time where mdmclient does', async () => {
    await given({ ...ours }, async (mac) => {
      const before = mac.escrowFile();
      mac.setQuirk('escrowSeconds', 21);
      mac.mdmRotates();
      expect(mac.escrowFile()).toEqual(before);
      mac.advance(22);
      expect(openFile(mac.escrowFile() ?? Buffer.alloc(0))).toBe(mac.recoveryKey);
    });
  });
});

describe('the disk and its key', () => {
  test('a key has six groups of four of macOS’s 32 symbols', async () => {
    await given({}, async (mac) => expect(trueKey(mac)).toMatch(/^[A-HJ-RT-Z2-9]{4}(-[A-HJ-RT-Z2-9]{4}){5}$/));
  });
  test('the same seed gives the same Mac, no seed gives another', async () => {
    const make = (seed?: string) => {
      const mac = FakeMac.create(seed === undefined ? {} : { seed });
      mac.dispose();
      return mac;
    };
    const [one, two] = [FakeMac.create({ seed: 's' }), FakeMac.create({ seed: 's' })];
    expect([one.recoveryKey, one.state.hardwareUuid, one.state.serial]).toEqual([two.recoveryKey, two.state.hardwareUuid, two.state.serial]);
    one.dispose();
    two.dispose();
    expect(existsSync(make().root)).toBe(false);
  });
  test('the key itself authorizes its change, and the new one opens while the old one does not', async () => {
    await given({}, async (mac) => {
      const old = trueKey(mac);
      const ran = await fdesetup(mac, change, plist(old));
      expect(keyIn(ran.stdout.toString())).toBe(mac.recoveryKey);
      expect([await opens(mac, trueKey(mac)), await opens(mac, old), mac.unlocksWith(old)]).toEqual(['true', 'false', false]);
    });
  });
  test('a user’s password authorizes it too, a wrong one does not', async () => {
    await given({}, async (mac) => {
      expect((await fdesetup(mac, change, plist('nonsense', 'ada'))).code).toBe(11);
      expect((await fdesetup(mac, change, plist('ada&apos;s password', 'ada'))).code).toBe(0);
    });
  });
  test('FileVault off and on keeps the key, and macOS answers false to it meanwhile', async () => {
    await given(ours, async (mac) => {
      const [key, file] = [trueKey(mac), mac.escrowFile()];
      mac.disableFileVault();
      expect([await says(mac, 'status'), await opens(mac, key)]).toEqual(['FileVault is Off.', 'false']);
      mac.enableFileVault('ada');
      expect([mac.recoveryKey, await opens(mac, key), mac.escrowFile()]).toEqual([key, 'true', file]);
    });
  });
  test('what runs when the Mac stops leaves no file open', async () => {
    await given(ours, async (mac) => {
      const files = { stdoutFile: '/tmp/x.out', stderrFile: '/tmp/x.err' };
      for (const file of Object.values(files)) writeFileSync(mac.path(file), '');
      mac.setQuirk('changeSecondsBefore', 60);
      const open = readdirSync('/dev/fd').length;
      for (let times = 0; times < 5; times += 1) {
        const started = await mac.runner.start({ program: '/usr/bin/fdesetup', args: change, input: plist(trueKey(mac)), ...files });
        expect(await started.ended(1)).toBe('still-running');
        mac.runner.stop();
      }
      expect(readdirSync('/dev/fd').length).toBe(open);
    });
  });
  test('wrong keys are counted and then everything has to wait; a right one in time forgives', async () => {
    await given({}, async (mac) => {
      for (let tries = 0; tries < 4; tries += 1) await opens(mac, 'AAAA-AAAA-AAAA-AAAA-AAAA-AAAA');
      expect([mac.state.wrongKeys.inARow, await opens(mac, trueKey(mac)), mac.state.wrongKeys.inARow]).toEqual([4, 'true', 0]);
      for (let tries = 0; tries < 5; tries += 1) await opens(mac, 'AAAA-AAAA-AAAA-AAAA-AAAA-AAAA');
      expect([await opens(mac, trueKey(mac)), mac.rebootWithRecoveryKey()]).toEqual(['false', false]);
      mac.advance(61);
      expect([await opens(mac, trueKey(mac)), mac.state.wrongKeys.ever]).toEqual(['true', 9]);
      expect(mac.unlocksWith(trueKey(mac))).toBe(true);
    });
  });
  test('macOS 26 makes a new key when an escrow profile comes and a bootstrap token is escrowed; macOS 15 does not', async () => {
    await given({ macosVersion: '26.6.2' }, async (mac) => {
      const key = mac.recoveryKey;
      mac.installEscrowProfile('ours', escrow.certificate);
      expect(mac.recoveryKey).not.toBe(key);
      expect(openFile(mac.escrowFile() ?? Buffer.alloc(0))).toBe(mac.recoveryKey);
    });
    await given({ macosVersion: '15.7.1' }, async (mac) => {
      const key = mac.recoveryKey;
      mac.installEscrowProfile('ours', escrow.certificate);
      expect([mac.recoveryKey, mac.escrowFile()]).toEqual([key, null]);
    });
  });
  test('a key among the arguments is noted as a leak', async () => {
    await given({}, async (mac) => {
      await fdesetup(mac, ['validaterecovery', trueKey(mac)]);
      expect(mac.state.leaks).toHaveLength(1);
      await fdesetup(mac, ['status']);
      expect(mac.state.leaks).toHaveLength(1);
    });
  });
});

describe('what people do', () => {
  const unlockIdent = async (mac: FakeMac) => {
    const text = (await mac.runner.run({ program: '/usr/sbin/ioreg', args: ['-rd1', '-p', 'IODeviceTree', '-n', 'chosen'] })).stdout.toString();
    return Buffer.from(/ident" = <([0-9a-f]+)>/.exec(text)?.[1] ?? '', 'hex')
      .toString()
      .replace('\0', '');
  };
  const console_ = async (mac: FakeMac) => (await mac.runner.run({ program: '/usr/bin/stat', args: ['-f', '%Su', '/dev/console'] })).stdout.toString().trim();

  test('unlocking with the key: login window, nobody logged in, `usingrecoverykey` true until the next boot, whatever is replaced', async () => {
    await given({}, async (mac) => {
      const session = mac.state.boot.session;
      expect(mac.rebootWithRecoveryKey()).toBe(true);
      expect(mac.state.boot.session).not.toBe(session);
      expect([await says(mac, 'usingrecoverykey'), await console_(mac), await unlockIdent(mac)]).toEqual([
        'true',
        'root',
        'EBC6C064-0000-11AA-AA11-00306543ECAC',
      ]);
      mac.logIn('ada');
      await fdesetup(mac, change, plist(trueKey(mac)));
      expect([await says(mac, 'usingrecoverykey'), await console_(mac)]).toEqual(['true', 'ada']);
      mac.boot({ unlock: 'ada' });
      expect(await says(mac, 'usingrecoverykey')).toBe('false');
    });
  });
  test('recoveryOS: afterwards not `usingrecoverykey`, the unlock identity is the user’s, the password is new', async () => {
    await given({ clock: () => 1_800_000_000_000 }, async (mac) => {
      expect(mac.resetPasswordWith('AAAA-AAAA-AAAA-AAAA-AAAA-AAAA', 'ada')).toBe(false);
      mac.change(({ users }) => {
        for (const user of users) user.passwordChangedAt = 0;
      });
      expect(mac.resetPasswordWith(trueKey(mac), 'ada', 'fresh')).toBe(true);
      expect([await says(mac, 'usingrecoverykey'), await console_(mac), await unlockIdent(mac)]).toEqual(['false', 'ada', mac.state.users[0]?.uuid]);
      const policy = (await mac.runner.run({ program: '/usr/bin/dscl', args: ['.', '-read', '/Users/ada', 'accountPolicyData'] })).stdout.toString();
      expect(policy).toContain('<real>1800000000.25</real>');
      expect((await fdesetup(mac, change, plist('fresh', 'ada'))).code).toBe(0);
    });
  });
  test('erasing: the same serial and board, another volume group, no key, no user, nothing of the agent; then set up again', async () => {
    await given({ ...ours, settings: { serverUrl: 'https://keys.example.org' }, deviceCa: makeDeviceCa() }, async (mac) => {
      const before = mac.state;
      mkdirSync(mac.path('/var/db/io.sparekey.agent'));
      mac.erase();
      expect([mac.state.serial, mac.state.hardwareUuid]).toEqual([before.serial, before.hardwareUuid]);
      expect(mac.state.disk.volumeGroup).not.toBe(before.disk.volumeGroup);
      expect([mac.recoveryKey, mac.state.users, await console_(mac), mac.escrowFile()]).toEqual([null, [], '_mbsetupuser', null]);
      expect(existsSync(mac.path('/var/db/io.sparekey.agent'))).toBe(false);
      expect(existsSync(mac.path('/Library/Managed Preferences/io.sparekey.agent.plist'))).toBe(false);
      mac.setUp('grace');
      expect([await console_(mac), openFile(mac.escrowFile() ?? Buffer.alloc(0))]).toEqual(['grace', mac.recoveryKey]);
      expect(mac.recoveryKey).not.toBe(before.disk.recoveryKey);
      expect(existsSync(mac.path('/Library/Managed Preferences/io.sparekey.agent.plist'))).toBe(true);
    });
  });
  test('Migration Assistant brings folders, job and keychain items to another Mac, and not the key', async () => {
    await given({}, async (old) =>
      given({ seed: 'other' }, async (fresh) => {
        await old.keytar('job').setPassword('io.sparekey.agent', 'identity', 'secret');
        for (const folder of ['/Library/Sparekey/lib', '/var/db/io.sparekey.agent']) mkdirSync(old.path(folder), { recursive: true });
        writeFileSync(old.path('/var/db/io.sparekey.agent/journal.json'), '{}');
        const key = fresh.recoveryKey;
        old.migrateTo(fresh);
        expect(await fresh.keytar('job').getPassword('io.sparekey.agent', 'identity')).toBe('secret');
        expect(readFileSync(fresh.path('/var/db/io.sparekey.agent/journal.json'), 'utf8')).toBe('{}');
        expect([fresh.recoveryKey, fresh.state.hardwareUuid === old.state.hardwareUuid]).toEqual([key, false]);
      }),
    );
  });
  test('managed preferences are a binary property list, readable by all, gone with their profile', async () => {
    await given(
      { settings: { serverUrl: 'https://keys.example.org', escrowCertificate: { data: pemToDer(escrow.certificate).toString('base64') } } },
      async (mac) => {
        const path = mac.path('/Library/Managed Preferences/io.sparekey.agent.plist');
        const value = readBinaryPlist(readFileSync(path)) as Record<string, unknown>;
        expect(value['serverUrl']).toBe('https://keys.example.org');
        expect(derToPem(value['escrowCertificate'] as Buffer)).toBe(escrow.certificate);
        mac.removeSettings();
        expect(existsSync(path)).toBe(false);
      },
    );
  });
});
