import { X509Certificate } from 'node:crypto';
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { Problem } from '../protocol/problems.ts';
import { renewTlsCertificate } from '../server/authorities.ts';
import { serialInCertificate, subjectOf } from '../server/certificate-names.ts';
import { folderPaths, isOnPostgres } from '../server/data-folder.ts';
import { networkOf, tokenBuckets } from '../server/limits.ts';
import { silentLog } from '../server/log.ts';
import { makeNonce, nonceSeconds, readNonce } from '../server/nonce.ts';
import { serve } from '../server/serve.ts';
import { checkDataFolder } from '../server/serve-check.ts';
import { checkSettings, operatorName } from '../server/settings.ts';
import { deviceIdentity, freePort } from './given-server.ts';
import { makeDataFolder, passphrase } from './made-backend.ts';
import { scratch } from './scratch.ts';

const problemOf = (work: () => unknown): Problem => {
  try {
    work();
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  throw new Error('there was no problem');
};

describe('settings', () => {
  test('a server address and a port are enough; everything else has a safe default', () => {
    expect(checkSettings({ serverUrl: 'https://keys.example.org:8443', listen: { port: 8443 } })).toMatchObject({
      tls: { oldest: '1.3' },
      keys: { holdDeadlineHours: 24, grants: 'automatic', confirmProvedSerials: true },
      ticketsBesideDeviceCas: false,
      serialPattern: null,
    });
  });

  test('all mistakes are listed at once, each with its place and without its value', () => {
    const { code, detail } = problemOf(() =>
      checkSettings({
        serverUrl: 'http://secret-host',
        listen: { port: 0 },
        keys: { grants: 'secret-value', holdDeadlineHours: 1000 },
        tls: { oldest: '1.0' },
        nonsense: 1,
      }),
    );
    expect(code).toBe('SERVER_SETTINGS_INVALID');
    for (const place of ['serverUrl', 'listen.port', 'keys.grants', 'keys.holdDeadlineHours', 'tls.oldest', 'nonsense: there is no such setting'])
      expect(detail).toContain(place);
    expect(detail).not.toContain('secret');
  });

  test.each(['https://keys.example.org/', 'https://keys.example.org/path', 'https://KEYS.example.org', 'keys.example.org', 'http://keys.example.org'])(
    '%s is no address',
    (serverUrl) => {
      expect(problemOf(() => checkSettings({ serverUrl, listen: { port: 1 } })).detail).toContain('serverUrl');
    },
  );
});

describe('the start', () => {
  let dir: string;
  beforeAll(async () => {
    dir = join(scratch('sparekey-start'), 'data');
    await makeDataFolder(dir, await freePort());
  });
  const changed = (change: (settings: Record<string, unknown>) => void) => {
    const file = folderPaths(dir).settings;
    const before = readFileSync(file, 'utf8');
    const settings = JSON.parse(before);
    change(settings);
    writeFileSync(file, JSON.stringify(settings));
    return () => writeFileSync(file, before);
  };

  test('private files that others may read are all named, and it does not start', () => {
    const paths = folderPaths(dir);
    // The database itself, or the file with its address and password.
    const open = [paths.secrets, paths.agentCa.key, isOnPostgres(paths) ? paths.databaseUrl : paths.database];
    for (const path of open) chmodSync(path, 0o644);
    const problem = problemOf(() => checkDataFolder(dir, true));
    for (const path of open) chmodSync(path, 0o600);
    expect(problem.code).toMatch(/FILE_TOO_OPEN|SERVER_SETTINGS_INVALID/);
    for (const path of open) expect(problem.detail).toContain(path);
  });

  test('mistakes of different files are listed together', () => {
    const paths = folderPaths(dir);
    const undo = changed((settings) => Object.assign(settings, { logLevel: 'loud' }));
    writeFileSync(join(paths.deviceCas, 'x.pem'), 'nonsense', { mode: 0o600 });
    const { code, detail } = problemOf(() => checkDataFolder(dir, true));
    undo();
    rmSync(join(paths.deviceCas, 'x.pem'));
    expect(code).toBe('SERVER_SETTINGS_INVALID');
    expect(detail).toContain('logLevel');
    expect(detail).toContain('x.pem');
  });

  test('a server that can open nothing may promise no grants', async () => {
    expect(problemOf(() => checkDataFolder(dir, false)).detail).toContain('keys.grants');
    const undo = changed((settings) => Object.assign(settings, { keys: { grants: 'never' } }));
    expect(() => checkDataFolder(dir, false)).not.toThrow();
    const serving = await serve({ dir, passphrase: null, log: silentLog });
    expect(serving.backend.escrowKeys.canOpen).toBe(false);
    await serving.stop();
    undo();
  });

  test('a folder that is none, a wrong passphrase and a folder that is served already have their own words', async () => {
    expect(problemOf(() => checkDataFolder(join(dir, 'not-there'), true)).code).toBe('DATA_FOLDER_MISSING');
    await expect(serve({ dir, passphrase: 'something else', log: silentLog })).rejects.toMatchObject({ code: 'PASSPHRASE_WRONG' });
    const first = await serve({ dir, passphrase, log: silentLog });
    await expect(serve({ dir, passphrase, log: silentLog })).rejects.toMatchObject({ code: 'BEING_SERVED' });
    await first.stop();
  });

  test('the listener’s certificate is renewed for the same key and names when a third of its life is left', () => {
    const paths = folderPaths(dir);
    const before = new X509Certificate(readFileSync(paths.tls.certificate));
    expect(renewTlsCertificate(paths, Date.now())).toBeNull();
    const renewed = renewTlsCertificate(paths, Date.now() + 300 * 86_400_000);
    const after = new X509Certificate(readFileSync(paths.tls.certificate));
    expect(renewed?.notAfter).toBe(after.validToDate.getTime());
    expect(after.validToDate.getTime()).toBeGreaterThan(before.validToDate.getTime());
    expect([after.subjectAltName, after.publicKey.equals(before.publicKey)]).toEqual([before.subjectAltName, true]);
  });
});

describe('the serial in a certificate', () => {
  const named = (subject: { CN: string; serialNumber?: string }) => new X509Certificate(deviceIdentity(subject).der);
  test('is the subject’s serialNumber, or a common name that looks like one', () => {
    expect(serialInCertificate(named({ CN: 'x', serialNumber: 'c02aaaaaaaaa' }), null)).toBe('C02AAAAAAAAA');
    expect(serialInCertificate(named({ CN: 'C02BBBBBBBBB' }), null)).toBe('C02BBBBBBBBB');
    expect(serialInCertificate(named({ CN: 'Adas MacBook' }), null)).toBeNull();
  });
  test('comes from where a setting says, by a pattern with one group', () => {
    const pattern = { in: 'commonName', pattern: '^mac-([a-z0-9]+)\\.example\\.org$' } as const;
    expect(serialInCertificate(named({ CN: 'mac-c02ccccccccc.example.org' }), pattern)).toBe('C02CCCCCCCCC');
    expect(serialInCertificate(named({ CN: 'C02CCCCCCCCC' }), pattern)).toBeNull();
  });
  test('a name with line breaks or signs in it cannot pose as another attribute', () => {
    const tricky = named({ CN: 'x\nserialNumber=C02DDDDDDDDD' });
    expect(serialInCertificate(tricky, null)).toBeNull();
    expect(subjectOf(tricky)).not.toBe(subjectOf(named({ CN: 'x', serialNumber: 'C02DDDDDDDDD' })));
  });
});

describe('nonces', () => {
  const secret = Buffer.alloc(32, 1);
  test('are good for five minutes, for one purpose, and under one secret', () => {
    const nonce = makeNonce(secret, 'enrol', 1_000_000);
    const end = 1_000_000 + nonceSeconds * 1000;
    expect(readNonce(secret, 'enrol', nonce, end)).toBe(end);
    expect(readNonce(secret, 'enrol', nonce, end + 1)).toBeNull();
    expect(readNonce(secret, 'grant', nonce, 1_000_000)).toBeNull();
    expect(readNonce(Buffer.alloc(32, 2), 'enrol', nonce, 1_000_000)).toBeNull();
    expect(readNonce(secret, 'enrol', `${nonce}A`, 1_000_000)).toBeNull();
    expect(makeNonce(secret, 'enrol', 1_000_000)).not.toBe(nonce);
  });
});

test('a rate gives its burst at once, then one by one, and says how long to wait', () => {
  let now = 0;
  const buckets = tokenBuckets({ perMinute: 60, burst: 2 }, () => now);
  expect([buckets.take('a'), buckets.take('a'), buckets.take('a'), buckets.take('b')]).toEqual([null, null, 1, null]);
  now += 1000;
  expect([buckets.take('a'), buckets.take('a')]).toEqual([null, 1]);
});

test('an IPv6 subscriber counts as one, an IPv4 address as itself', () => {
  expect(networkOf('2001:db8:1:2:3:4:5:6')).toBe(networkOf('2001:db8:1:2::9'));
  expect(networkOf('2001:db8::1')).toBe('2001:db8:0:0');
  expect(networkOf('::1')).toBe('0:0:0:0');
  expect(networkOf('::ffff:192.0.2.7')).toBe('192.0.2.7');
  expect(networkOf('192.0.2.7')).toBe('192.0.2.7');
});

test('a command is by the person behind sudo, else by its user, and by the number of a user who has no name, as in a container', () => {
  const nameless = () => {
    throw new Error('uv_os_get_passwd returned ENOENT');
  };
  expect(operatorName(nameless, { SUDO_USER: 'ada' })).toBe('ada');
  expect(operatorName(() => 'sparekey', {})).toBe('sparekey');
  expect(operatorName(nameless, {})).toBe(`uid-${process.getuid?.()}`);
});
