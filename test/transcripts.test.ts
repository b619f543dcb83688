// What the fake Mac says, held against what real Macs said. Each row has its source; where the source is no capture, the
// row says so. Identifiers in the captures were replaced by their publishers, so they are put into the fake Mac here.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { makeDeviceCa } from './fake-mac/certificates.ts';
import { FakeMac } from './fake-mac/fake-mac.ts';
import { credential, transcriptsOfFdesetup } from './fake-mac/transcripts-fdesetup.ts';
import { transcriptsOfOthers } from './fake-mac/transcripts-others.ts';

describe('the fake Mac says what a real one said:', () => {
  test.each(Object.entries({ ...transcriptsOfFdesetup, ...transcriptsOfOthers }))('%s', async (_, row) => {
    const mac = FakeMac.create({ seed: 'transcripts', serial: 'ZFQYR4XYHG', user: 'ernw' });
    try {
      row.given?.(mac);
      const password = row.input === 'THE KEY' ? (mac.recoveryKey ?? '') : row.input;
      const ran = await mac.runner.run({ program: row.program, args: row.args, ...(password === undefined ? {} : { input: credential(password) }) });
      expect(ran.code).toBe(row.code);
      for (const [said, wanted] of [
        [ran.stdout.toString(), row.stdout ?? ''],
        [ran.stderr.toString(), row.stderr ?? ''],
      ] as const)
        if (typeof wanted === 'string') expect(said).toBe(wanted);
        else expect(said).toMatch(wanted);
      expect(row.source).not.toBe('');
    } finally {
      mac.dispose();
    }
  });
});

describe('security cms -S', () => {
  let mac: FakeMac;
  const ca = makeDeviceCa();
  beforeAll(() => {
    mac = FakeMac.create({ seed: 'cms', serial: 'ZFQYR4XYHG', deviceCa: ca });
  });
  afterAll(() => mac.dispose());
  const sign = (...args: string[]) =>
    mac.runner.run({ program: '/usr/bin/security', args: ['cms', '-S', ...args, '-H', 'SHA256', '-G', '-u', '0'], input: 'statement\n' });

  test('names the identity that it cannot find, and exits 1 (SecurityTool)', async () => {
    const ran = await sign('-N', 'nobody');
    expect([ran.code, ran.stderr.toString()]).toEqual([1, 'security: could not find signing identity for name: "nobody"\n']);
  });
  test('will not choose among several (SecurityTool)', async () => {
    mac.installIdentity(ca);
    const ran = await sign('-N', 'zfqyr');
    expect([ran.code, ran.stderr.toString()]).toEqual([1, 'security: "zfqyr" is ambiguous, matches more than one certificate\n']);
    mac.change(({ keychains }) => keychains['/Library/Keychains/System.keychain']?.identities.pop());
  });
  test('finds no e-mail signer in a certificate for TLS clients: the default usage', async () => {
    const ran = await mac.runner.run({ program: '/usr/bin/security', args: ['cms', '-S', '-N', 'ZFQYR4XYHG', '-H', 'SHA256'], input: 'statement\n' });
    expect(ran.code).toBe(1);
  });
  test('exits 36 where the ACL of the key does not list it (SecBase.h, -25308)', async () => {
    mac.installIdentity(makeDeviceCa(), 'denied');
    mac.change(({ keychains }) => keychains['/Library/Keychains/System.keychain']?.identities.shift());
    const ran = await sign('-N', 'ZFQYR4XYHG');
    expect(ran.code).toBe(36);
    expect(ran.stderr.toString()).toMatch(/User interaction is not allowed\.\n$/);
  });
  test('waits for a dialog that nobody sees', async () => {
    mac.change(({ keychains }) => {
      const [identity] = keychains['/Library/Keychains/System.keychain']?.identities ?? [];
      if (identity) identity.access = 'asks';
    });
    expect(await sign('-N', 'ZFQYR4XYHG')).toMatchObject({ code: null, failed: 'timeout' });
  });
});
