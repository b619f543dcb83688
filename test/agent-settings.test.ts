import { X509Certificate } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import { realDisk } from '../agent/disk.ts';
import { paths } from '../agent/paths.ts';
import { keepLastGood, readSettings, type SettingsRead, settingsProblem } from '../agent/settings.ts';
import { settingsTable } from '../agent/settings-table.ts';
import type { Runner } from '../agent/world.ts';
import { answering } from './answering-runner.ts';
import { makePair } from './fake-mac/certificates.ts';
import { type Plain, xmlPlist } from './fake-mac/property-list.ts';
import { scratch } from './scratch.ts';

const escrow = makePair({ subject: { CN: 'Escrow' }, kind: 'escrow' });
const ec = makePair({ subject: { CN: 'Other' }, kind: 'ca', keyType: 'ec' });
const der = new X509Certificate(escrow.certificate).raw;
const ticket = `t1.${Buffer.alloc(32, 7).toString('base64url')}`;
const least = { serverUrl: 'https://keys.example.org:8443/', escrowCertificate: der };
const now = Date.parse('2026-11-22T12:00:00Z');

/** A root whose managed settings can be laid down, changed and taken away. */
function given() {
  const root = scratch('settings');
  const disk = realDisk(root);
  disk.makeFolder(paths.state, 0o700);
  const lay = (path: string, values: Record<string, Plain> | string | null) => {
    const file = join(root, path);
    mkdirSync(dirname(file), { recursive: true });
    if (values === null) rmSync(file, { force: true });
    else writeFileSync(file, typeof values === 'string' ? values : xmlPlist(values));
  };
  const runner: Runner = answering({ '/usr/bin/plutil': ({ args }) => ({ out: readFileSync(join(root, args.at(-1) ?? '')) }) });
  return {
    root,
    disk,
    lay: (values: Record<string, Plain> | string | null) => lay(paths.settings, values),
    layUnmanaged: (values: Record<string, Plain>) => lay('/Library/Preferences/io.sparekey.agent.plist', values),
    read: (at = now) => readSettings(runner, disk, at),
  };
}

async function reading(values: Record<string, Plain>): Promise<SettingsRead> {
  const { lay, read } = given();
  lay({ ...least, ...values });
  return read();
}
const said = (read: SettingsRead) => read.problems.map(({ name, says }) => `${name} ${says}`).join('\n');

describe('managed settings', () => {
  test('the two that are needed, and every default', async () => {
    const read = await reading({});
    expect(read).toMatchObject({ state: 'managed', unmanagedSince: null, problems: [] });
    expect(read.settings).toEqual({
      serverUrl: 'https://keys.example.org:8443',
      escrowCertificate: der,
      trustedCertificates: [],
      trust: 'bundled',
      identityCertificateFile: null,
      identityKeyFile: null,
      identityPkcs12File: null,
      identityPkcs12PasswordFile: null,
      identityIssuer: null,
      identitySubject: null,
      enrolmentTicket: null,
      checkInMinutes: 60,
      waitForOrders: false,
      custody: 'auto',
      escrowOwner: 'auto',
      rotator: 'sparekey',
      settleSeconds: 600,
      holdDeadlineHours: null,
      quietAfterDays: 30,
      proxy: 'none',
      logLevel: 'info',
      pilot: true,
      adoptByPrompt: false,
      organisation: null,
      adoptWords: null,
      adoptContact: null,
      assignedTo: null,
    });
    expect(settingsProblem(read)).toBeNull();
  });

  test('certificates as data or as text', async () => {
    const read = await reading({ escrowCertificate: escrow.certificate, trustedCertificates: [new X509Certificate(ec.certificate).raw, ec.certificate] });
    expect(read.settings?.escrowCertificate.equals(der)).toBe(true);
    expect(read.settings?.trustedCertificates).toEqual([ec.certificate, ec.certificate].map((pem) => new X509Certificate(pem).toString()));
    expect(read.problems).toEqual([]);
  });

  test('every setting can be set', async () => {
    const read = await reading({
      trust: 'system',
      identityIssuer: 'Example Device CA',
      checkInMinutes: 15,
      custody: 'keychain',
      escrowOwner: 'mdm',
      rotator: 'mdm',
      settleSeconds: 900,
      holdDeadlineHours: 48,
      proxy: 'http://proxy.example.org:3128/',
      logLevel: 'debug',
      pilot: true,
    });
    expect(said(read)).toBe('');
    expect(read.settings).toMatchObject({
      trust: 'system',
      identityIssuer: 'Example Device CA',
      checkInMinutes: 15,
      custody: 'keychain',
      escrowOwner: 'mdm',
      rotator: 'mdm',
      settleSeconds: 900,
      holdDeadlineHours: 48,
      proxy: 'http://proxy.example.org:3128',
      logLevel: 'debug',
      pilot: true,
    });
  });

  test.each<[string, Record<string, Plain>, string]>([
    ['serverUrl without TLS', { serverUrl: 'http://keys.example.org' }, 'serverUrl begins with http://; it must begin with https://'],
    ['serverUrl with a path', { serverUrl: 'https://keys.example.org/api' }, 'serverUrl has more than a host and a port'],
    ['serverUrl that is none', { serverUrl: 'keys' }, 'serverUrl is “keys”; it must be an address'],
    ['serverUrl that is a number', { serverUrl: 7 }, 'serverUrl is 7; it must be an address'],
    ['escrowCertificate that is none', { escrowCertificate: 'MIIB' }, 'escrowCertificate is not a certificate'],
    ['escrowCertificate with an elliptic curve', { escrowCertificate: ec.certificate }, 'escrowCertificate has a key of the kind ec; it must be RSA'],
  ])('without an essential one there are no settings: %s', async (_name, values, words) => {
    const read = await reading(values);
    expect(read.settings).toBeNull();
    expect(settingsProblem(read)).toMatchObject({ code: 'SETTINGS_INVALID', detail: expect.stringContaining(words) });
  });

  test('all that is essential and missing is said at once', async () => {
    const { lay, read } = given();
    lay({ checkInMinutes: 60 });
    expect(settingsProblem(await read())).toMatchObject({ code: 'SETTINGS_INVALID', detail: 'serverUrl is missing; escrowCertificate is missing' });
  });

  test.each<[string, Record<string, Plain>, string]>([
    ['a number out of range', { checkInMinutes: 4 }, 'checkInMinutes is 4; it must be a whole number of minutes from 5 to 1440; 60 counts instead'],
    ['a number as text', { checkInMinutes: '60' }, 'checkInMinutes is “60”; it must be a whole number of minutes from 5 to 1440; 60 counts instead'],
    ['half a number', { settleSeconds: 60.5 }, 'settleSeconds is 60.5; it must be a whole number of seconds from 1 to 7200; 600 counts instead'],
    ['a word of nobody', { logLevel: 'loud' }, 'logLevel is “loud”; it must be one of error, warn, info, debug; “info” counts instead'],
    ['a rotator in other letters', { rotator: 'MDM' }, 'rotator is “MDM”; it must be one of sparekey, mdm; “mdm” counts instead'],
    ['a custody of nobody', { custody: 'cloud' }, 'custody is “cloud”; it must be one of auto, server, keychain; “server” counts instead'],
    ['a path that is none', { identityPkcs12File: 'identity.p12' }, 'identityPkcs12File is “identity.p12”; it must be the absolute path of a file'],
    ['a path that climbs', { identityPkcs12File: '/a/../b' }, 'it must be the absolute path of a file'],
    [
      'a proxy with TLS',
      { proxy: 'https://proxy.example.org' },
      'proxy is “https://proxy.example.org”; it must be none, system, or a URL such as http://proxy.example.org:8080; “none” counts instead',
    ],
    ['yes in place of true', { pilot: 'yes' }, 'pilot is “yes”; it must be true or false; false counts instead'],
    ['one certificate in place of a list', { trustedCertificates: ec.certificate }, 'trustedCertificates is a long text; it must be a list of certificates'],
    ['half a pair of files', { identityCertificateFile: '/a.pem' }, 'identityKeyFile is missing, and identityCertificateFile needs it'],
    ['the other half', { identityKeyFile: '/a.key' }, 'identityCertificateFile is missing, and identityKeyFile needs it'],
  ])('a wrong value has its own words and stops nothing: %s', async (_name, values, words) => {
    const read = await reading(values);
    expect(read.settings).not.toBeNull();
    expect(said(read)).toContain(words);
    expect(read.problems.every(({ kind }) => kind === 'wrong')).toBe(true);
    expect(settingsProblem(read)).toBeNull();
  });

  test('of a list with a bad certificate the good ones stay, and the bad one is numbered', async () => {
    const read = await reading({ trustedCertificates: [ec.certificate, 'nonsense', Buffer.from([1, 2])] });
    expect(read.settings?.trustedCertificates).toHaveLength(1);
    expect(said(read)).toContain('trustedCertificates has entries that are no certificates (number 2, 3)');
  });

  test('a misspelt rotator or custody counts as the careful one', async () => {
    expect((await reading({ rotator: 'Mdm', custody: 'Keychain' })).settings).toMatchObject({ rotator: 'mdm', custody: 'server' });
  });

  test('an unknown name is a warning, with the one that may be meant; what macOS puts there is none', async () => {
    const read = await reading({ CheckInMinutes: 15, colour: 'red', PayloadUUID: 'x' });
    expect(read.problems).toEqual([
      { name: 'CheckInMinutes', says: 'is not a setting; is `checkInMinutes` meant?', kind: 'warning' },
      { name: 'colour', says: 'is not a setting: it is ignored', kind: 'warning' },
    ]);
    expect(read.settings?.checkInMinutes).toBe(60);
  });

  test('a settle time under five minutes is allowed, and warned of', async () => {
    const read = await reading({ settleSeconds: 5 });
    expect(read.settings?.settleSeconds).toBe(5);
    expect(read.problems).toEqual([expect.objectContaining({ name: 'settleSeconds', kind: 'warning' })]);
  });

  test.each([
    ['ada@example.org', 'ada@example.org'],
    [' Ada ', 'Ada'],
    ['', null],
    ['  ', null],
  ])('whose Mac it is: %j is %j', async (given, is) => {
    const read = await reading({ assignedTo: given });
    expect([read.settings?.assignedTo, read.problems]).toEqual([is, []]);
  });

  test.each(['$EMAIL', '$USERNAME@example.org', '{{mail}}', '{EmailAddress}', '%Email%'])(
    'whose Mac it is: the variable %s that the MDM has not filled names nobody, and is warned of',
    async (given) => {
      const read = await reading({ assignedTo: given });
      expect(read.settings?.assignedTo).toBe(false);
      expect(read.problems).toMatchObject([{ name: 'assignedTo', kind: 'warning' }]);
      expect(said(read)).toBe(`assignedTo is “${given}”, a variable that the MDM has not filled; nobody is named by it`);
    },
  );

  test('whose Mac it is: what is no text, or one that is too long, names nobody, and is warned of', async () => {
    for (const given of [5, true, 'x'.repeat(257), 'a\nb']) {
      const read = await reading({ assignedTo: given });
      expect([read.settings?.assignedTo, read.problems.map(({ kind }) => kind)]).toEqual([false, ['warning']]);
    }
  });

  test('where two ways to an identity are set, the weaker is said to be ignored', async () => {
    const files = { identityCertificateFile: '/a.pem', identityKeyFile: '/a.key' };
    expect(said(await reading({ ...files, identityPkcs12File: '/a.p12', identityIssuer: 'CA', enrolmentTicket: ticket }))).toBe(
      [
        'identityPkcs12File is ignored: identityCertificateFile and identityKeyFile are set',
        'identityIssuer and identitySubject are ignored: the identity comes from files',
        'enrolmentTicket is ignored: there is a better identity in the settings',
      ].join('\n'),
    );
    expect(said(await reading({ identityPkcs12PasswordFile: '/a.txt' }))).toBe('identityPkcs12PasswordFile is ignored: identityPkcs12File is not set');
  });

  test('preferences that are not managed count for nothing, and are named', async () => {
    const { lay, layUnmanaged, read } = given();
    lay(least);
    layUnmanaged({ checkInMinutes: 5, serverUrl: 'https://evil.example.org' });
    const found = await read();
    expect(found.settings).toMatchObject({ checkInMinutes: 60, serverUrl: 'https://keys.example.org:8443' });
    expect(found.problems.map(({ name, kind }) => [name, kind])).toEqual([
      ['checkInMinutes', 'warning'],
      ['serverUrl', 'warning'],
    ]);
    expect(said(found)).toContain('is not managed: it is ignored');
  });
});

describe('the enrolment ticket', () => {
  const secret = ticket.slice(3);

  test('is read, and shows its secret in no dump and no JSON', async () => {
    const read = await reading({ enrolmentTicket: ticket });
    expect(read.settings?.enrolmentTicket?.secret.equals(Buffer.alloc(32, 7))).toBe(true);
    for (const dump of [JSON.stringify(read), inspect(read, { depth: 9 })]) {
      expect(dump).not.toContain(secret);
      expect(dump).not.toContain('07 07 07');
      expect(dump).not.toContain('7,7,7');
    }
  });

  test('a wrong one is not repeated in the words', async () => {
    const read = await reading({ enrolmentTicket: 'abc.short-secret' });
    expect(said(read)).toBe('enrolmentTicket is not a ticket; it must be written as `sparekey-server ticket new` printed it');
  });

  test('is not kept with the last good settings', async () => {
    const { root, disk, lay, read } = given();
    lay({ ...least, enrolmentTicket: ticket });
    keepLastGood(disk, await read());
    expect(readFileSync(join(root, paths.lastGoodSettings), 'utf8')).not.toMatch(new RegExp(`${secret}|enrolmentTicket`));
    lay(null);
    expect((await read()).settings?.enrolmentTicket).toBeNull();
  });
});

describe('settings that vanish (MDM migration)', () => {
  test('the last good ones stay, marked since when they are unmanaged, until they are managed again', async () => {
    const { disk, lay, read } = given();
    lay({ ...least, trustedCertificates: [ec.certificate], checkInMinutes: 15 });
    const managed = await read();
    keepLastGood(disk, managed);
    lay(null);
    const first = await read(now + 60_000);
    expect(first).toMatchObject({ state: 'unmanaged', unmanagedSince: '2026-11-22T12:01:00.000Z', settings: managed.settings, digest: managed.digest });
    expect(settingsProblem(first)).toBeNull();
    keepLastGood(disk, first);
    expect(await read(now + 3_600_000)).toMatchObject({ state: 'unmanaged', unmanagedSince: '2026-11-22T12:01:00.000Z' });
    lay({ ...least, checkInMinutes: 20 });
    const back = await read();
    expect(back).toMatchObject({ state: 'managed', unmanagedSince: null });
    keepLastGood(disk, back);
    lay({});
    expect(await read(now + 7_200_000)).toMatchObject({ state: 'unmanaged', unmanagedSince: '2026-11-22T14:00:00.000Z' });
  });

  test('wrong ones do not take the place of good ones, and nothing is written where nothing changed', async () => {
    const { root, disk, lay, read } = given();
    lay(least);
    keepLastGood(disk, await read());
    const before = readFileSync(join(root, paths.lastGoodSettings));
    const written = disk.facts(paths.lastGoodSettings);
    keepLastGood(disk, await read());
    expect(disk.facts(paths.lastGoodSettings)).toEqual(written);
    lay({ serverUrl: 'http://x' });
    keepLastGood(disk, await read());
    expect(readFileSync(join(root, paths.lastGoodSettings)).equals(before)).toBe(true);
  });

  test.each<[string, string]>([
    ['garbage', 'garbage'],
    ['cut off', '{"version":1,"values":{"serverUrl":"https://'],
    ['of another version', '{"version":2,"values":{}}'],
    ['a list', '[]'],
    ['null', 'null'],
  ])('a kept file that is %s counts as none', async (_name, text) => {
    const { disk, read } = given();
    disk.replace(paths.lastGoodSettings, text);
    const found = await read();
    expect(found).toMatchObject({ state: 'missing', settings: null });
    expect(settingsProblem(found)).toMatchObject({ code: 'SETTINGS_MISSING' });
  });

  test('a kept file that others can write is not believed', async () => {
    const { root, disk, lay, read } = given();
    lay(least);
    keepLastGood(disk, await read());
    chmodSync(join(root, paths.lastGoodSettings), 0o666);
    lay(null);
    expect((await read()).state).toBe('missing');
  });

  test('settings that cannot be read are told from settings that are missing', async () => {
    const { lay, read } = given();
    expect(settingsProblem(await read())).toMatchObject({ code: 'SETTINGS_MISSING' });
    lay('garbage');
    const found = await read();
    expect(found.settings).toBeNull();
    expect(settingsProblem(found)).toMatchObject({ code: 'SETTINGS_UNREADABLE' });
  });
});

test('the digest is of what the profile says: the same for the same settings in any order, without secrets', async () => {
  const one = await reading({ checkInMinutes: 15, proxy: 'none' });
  const same = await reading({ proxy: 'none', checkInMinutes: 15, enrolmentTicket: ticket });
  const other = await reading({ checkInMinutes: 16, proxy: 'none' });
  expect(one.digest).toMatch(/^[0-9a-f]{64}$/);
  expect(same.digest).toBe(one.digest);
  expect(other.digest).not.toBe(one.digest);
});

test('the digest is the same on every Mac of one profile, whosever each of them is', async () => {
  const [one, other] = [await reading({ assignedTo: 'ada' }), await reading({ assignedTo: 'grace' })];
  expect(one.digest).toBe(other.digest);
  expect(one.digest).toBe((await reading({})).digest);
  expect(one.toKeep['assignedTo']).toBe('ada');
});

test('docs/settings.md has the same table', () => {
  const cells = (row: string) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim());
  const rows = readFileSync(new URL('../docs/settings.md', import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| `'));
  expect(rows.map(cells).filter((row) => row.length === 5)).toEqual(
    Object.entries(settingsTable).map(([name, setting]) => [`\`${name}\``, setting.unit, setting.range, setting.default, setting.meaning]),
  );
});
