import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parse } from 'plist';
import { type Dictionary, lint, lintRules, type ProfileFile } from '../profiles/lint.ts';
import { profiles, write } from '../profiles/make.ts';
import { makeProfiles } from '../profiles/payloads.ts';
import { loadSettings } from '../profiles/settings.ts';
import { uuidOf } from '../profiles/uuid.ts';
import { makePair } from './fake-mac/certificates.ts';
import { testWithOpenssl } from './openssl.ts';

const now = new Date('2026-12-01T00:00:00Z');
let folder: string;
const at = (name: string): string => join(folder, name);

/** A certificate as an operator could bring one, with mistakes that only openssl makes for us. */
function certificate(name: string, ...options: string[]): string {
  execFileSync('openssl', ['req', '-x509', '-nodes', '-keyout', at(`${name}.key`), '-out', at(`${name}.pem`), '-subj', `/CN=${name}`, ...options], {
    stdio: 'pipe',
  });
  return `${name}.pem`;
}

const identity = { identity: { scep: { url: 'https://ca.example.org/scep' } }, agent: { identityIssuer: 'Example Device CA' } };
const good = { organisation: 'Example', identifier: 'org.example.sparekey', serverUrl: 'https://keys.example.org:8443', escrowCertificate: 'escrow.pem' };

function settingsFile(changes: object = {}): string {
  const file = at(`settings-${Math.random().toString(36).slice(2)}.json`);
  writeFileSync(file, JSON.stringify({ ...good, ...changes }));
  return file;
}

const make = (changes: object = {}): ProfileFile[] => makeProfiles(loadSettings(settingsFile(changes)));
const payloads = (file: ProfileFile | undefined): Dictionary[] => (file?.profile['PayloadContent'] ?? []) as Dictionary[];
const named = (files: readonly ProfileFile[], name: string): ProfileFile | undefined => files.find(({ file }) => file === `${name}.mobileconfig`);
const payloadOf = (files: readonly ProfileFile[], type: string): Dictionary | undefined =>
  files.flatMap(payloads).find((payload) => payload['PayloadType'] === type);
const mistakes = (files: readonly ProfileFile[]): string[] =>
  lint(files, now)
    .filter(({ is }) => is === 'mistake')
    .map(({ rule, says }) => `${rule} ${says}`);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sparekey-profiles-'));
  const pair = makePair({ subject: { CN: 'escrow' }, kind: 'escrow', days: 7300 });
  writeFileSync(at('escrow.pem'), pair.certificate);
  writeFileSync(at('escrow.key'), pair.key);
  writeFileSync(at('ca.pem'), makePair({ subject: { CN: 'ca' }, kind: 'ca', keyType: 'ec', days: 365 }).certificate);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('profiles made from one settings file', () => {
  test('are settings, login items and escrow; an identity only where one is asked for', () => {
    expect(make().map(({ file }) => file)).toEqual(['settings.mobileconfig', 'login-items.mobileconfig', 'escrow.mobileconfig']);
    expect(make(identity).map(({ file }) => file)).toContain('identity.mobileconfig');
  });

  test('have no mistake by the rules', () => {
    expect(mistakes(make({ ...identity, trustedCertificates: ['ca.pem'], fileVault: { inSetupAssistant: true } }))).toEqual([]);
  });

  test('seal new keys to the certificate of the settings, in DER, named within the same profile', () => {
    const files = make();
    const pkcs1 = payloadOf(files, 'com.apple.security.pkcs1');
    expect(pkcs1?.['PayloadContent']).toEqual(new X509Certificate(readFileSync(at('escrow.pem'))).raw);
    expect(payloadOf(files, 'com.apple.security.FDERecoveryKeyEscrow')?.['EncryptCertPayloadUUID']).toBe(pkcs1?.['PayloadUUID']);
    expect(payloads(named(files, 'escrow'))).toContain(pkcs1);
  });

  test('tell a locked-out person where the key is', () => {
    const words = (changes: object): unknown => payloadOf(make(changes), 'com.apple.security.FDERecoveryKeyEscrow')?.['Location'];
    expect(words({ portal: 'https://mac.example.org', support: '+31 20 555 0100' })).toBe(
      'Example IT. Sign in to https://mac.example.org and choose Get recovery key. Or ask: +31 20 555 0100.',
    );
    expect(words({ support: '+31 20 555 0100' })).toBe('Example IT. Ask: +31 20 555 0100.');
    expect(words({})).toBe('Example IT. Ask your IT department for the recovery key of this Mac.');
  });

  test('only escrow where FileVault is switched on by somebody else', () => {
    const files = make({ fileVault: { enable: false, keepOn: false } });
    expect(payloadOf(files, 'com.apple.MCX.FileVault2')).toBeUndefined();
    expect(payloadOf(files, 'com.apple.security.FDERecoveryKeyEscrow')).toBeDefined();
    expect(payloadOf(files, 'com.apple.MCX')).toMatchObject({ dontAllowFDEDisable: false });
  });

  test('allow the job by its label, and by no team', () => {
    expect(payloadOf(make(), 'com.apple.servicemanagement')?.['Rules']).toEqual([
      { RuleType: 'Label', RuleValue: 'io.sparekey.agent', Comment: 'The Sparekey agent' },
    ]);
  });

  test('are the same bytes every time, and new UUIDs where the content is new', () => {
    expect(make()).toEqual(make());
    const [before, after] = [make(), make({ serverUrl: 'https://other.example.org' })];
    expect(named(after, 'settings')?.profile['PayloadUUID']).not.toBe(named(before, 'settings')?.profile['PayloadUUID']);
    expect(named(after, 'settings')?.profile['PayloadIdentifier']).toBe('org.example.sparekey.settings');
    expect(named(after, 'escrow')).toEqual(named(before, 'escrow'));
  });

  test('have UUIDs of the standard form, whatever the order of the content', () => {
    expect(uuidOf('a', { b: 1, c: Buffer.from('x') })).toMatch(/^[0-9A-F]{8}-[0-9A-F]{4}-8[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$/);
    expect(uuidOf('a', { b: 1, c: Buffer.from('x') })).toBe(uuidOf('a', { c: Buffer.from('x'), b: 1 }));
    expect(uuidOf('a', [1])).not.toBe(uuidOf('b', [1]));
  });
});

describe('npm run profiles', () => {
  test('writes files that only their owner reads, and that read back as they were made', () => {
    const out = at('out');
    const made = profiles(['--settings', settingsFile(), '--out', out], now);
    expect(made.exit).toBe(0);
    expect(readdirSync(out).sort()).toEqual(['escrow.mobileconfig', 'login-items.mobileconfig', 'settings.mobileconfig']);
    expect(statSync(join(out, 'settings.mobileconfig')).mode & 0o777).toBe(0o600);
    const escrow = parse(readFileSync(join(out, 'escrow.mobileconfig'), 'utf8')) as Dictionary;
    expect(escrow['PayloadIdentifier']).toBe('org.example.sparekey.escrow');
    expect(made.stdout).toContain(new X509Certificate(readFileSync(at('escrow.pem'))).fingerprint256.replaceAll(':', '').toLowerCase());
    expect(made.stderr).toContain('takes effect only through a user-approved MDM');
    expect(JSON.parse(profiles(['--check', join(out, 'escrow.mobileconfig'), '--json'], now).stdout)).toMatchObject({
      written: [],
      findings: [{ rule: 'L12', is: 'note' }],
    });
  });

  test('puts the variable for whose Mac it is into the settings of the agent, from the top of the file alone', () => {
    const out = at('assigned');
    writeFileSync(at('assigned.json'), JSON.stringify({ ...good, assignedTo: '$EMAIL' }));
    expect(profiles(['--settings', at('assigned.json'), '--out', out], now)).toMatchObject({ exit: 0 });
    const made = parse(readFileSync(join(out, 'settings.mobileconfig'), 'utf8')) as { PayloadContent: Dictionary[] };
    expect(made.PayloadContent[0]).toMatchObject({ assignedTo: '$EMAIL' });
    writeFileSync(at('assigned.json'), JSON.stringify({ ...good, agent: { assignedTo: '$EMAIL' } }));
    expect(() => profiles(['--settings', at('assigned.json'), '--out', out], now)).toThrow('agent.assignedTo: is set at the top of the file');
  });

  test("takes what the settings file does not say from the backend's own values", () => {
    const pem = readFileSync(at('escrow.pem'), 'utf8');
    const values = {
      serverUrl: 'https://keys.example.org:8443',
      organisation: 'Example',
      escrowCertificate: pem,
      escrowCertificateDigest: 'x',
      trustedCertificates: [pem],
      checkInMinutes: 15,
    };
    writeFileSync(at('values.json'), JSON.stringify(values));
    writeFileSync(at('short.json'), JSON.stringify({ identifier: 'org.example.sparekey', organisation: 'Example Ltd' }));
    const out = at('from-backend');
    expect(profiles(['--settings', at('short.json'), '--backend', at('values.json'), '--out', out], now)).toMatchObject({ exit: 0 });
    const made = parse(readFileSync(join(out, 'settings.mobileconfig'), 'utf8')) as { PayloadOrganization: string; PayloadContent: Dictionary[] };
    expect(made.PayloadOrganization).toBe('Example Ltd');
    expect(made.PayloadContent[0]).toMatchObject({ serverUrl: values.serverUrl, trustedCertificates: [pem] });
    writeFileSync(at('values.json'), '{}');
    expect(() => profiles(['--settings', at('short.json'), '--backend', at('values.json'), '--out', out], now)).toThrow(
      /is not what profile-values --json prints/,
    );
  });

  test('writes nothing where a rule is broken', () => {
    const out = at('refused');
    mkdirSync(out);
    const made = profiles(['--settings', settingsFile({ escrowCertificate: 'ca.pem' }), '--out', out], now);
    expect(made).toMatchObject({ exit: 78, stdout: '' });
    expect(made.stderr).toContain('the escrow certificate has no RSA key (L3)');
    expect(readdirSync(out)).toEqual([]);
  });

  test.each([
    ['a server without TLS', { serverUrl: 'http://keys.example.org' }, /serverUrl/],
    ['an unknown name', { organization: 'Example' }, /organization/],
    ['an identifier that is no reverse DNS', { identifier: 'sparekey' }, /identifier/],
    ['a setting that the agent does not have', { agent: { checkInMinute: 5 } }, /agent\.checkInMinute: is not a setting/],
    ['a setting that the agent would refuse', { agent: { checkInMinutes: 1 } }, /agent\.checkInMinutes: .*from 5 to 1440/],
    ['an identity that the agent could not find', { identity: { scep: { url: 'https://ca.example.org/scep' } } }, /agent\.identityIssuer/],
    ['a certificate that is not there', { escrowCertificate: 'nowhere.pem' }, /nowhere\.pem cannot be read \(ENOENT\)/],
    ['a private key in place of a certificate', { escrowCertificate: 'escrow.key' }, /holds a private key/],
  ])('names the mistake in a settings file with %s', (_, changes, words) => {
    expect(() => profiles(['--settings', settingsFile(changes), '--out', at('never')], now)).toThrow(words);
  });

  test('without its arguments it shows how it is used', () => {
    expect(profiles(['--settings', 'x.json'], now)).toMatchObject({ exit: 64, stderr: expect.stringContaining('usage:') });
  });
});

describe('the rules for profiles', () => {
  /** The good profiles with one thing changed in the first payload of a type. */
  const spoiled = (type: string, change: (payload: Dictionary, files: ProfileFile[]) => void, settings: object = {}): string[] => {
    const files = structuredClone(make({ ...identity, ...settings }));
    const payload = payloadOf(files, type);
    if (payload === undefined) throw new Error(`no ${type}`);
    change(payload, files);
    return mistakes(files);
  };
  const fileVault = 'com.apple.MCX.FileVault2';
  const escrow = 'com.apple.security.FDERecoveryKeyEscrow';
  const scep = 'com.apple.security.scep';
  const inside = (payload: Dictionary): Dictionary => payload['PayloadContent'] as Dictionary;

  test.each<[string, string, (payload: Dictionary, files: ProfileFile[]) => void, RegExp]>([
    [
      'L1 a second escrow payload, in any file',
      escrow,
      (payload, files) => payloads(named(files, 'settings')).push({ ...payload, PayloadUUID: 'x' }),
      /^L1 a second/,
    ],
    [
      'L2 a certificate that is in another file',
      escrow,
      (payload) => Object.assign(payload, { EncryptCertPayloadUUID: 'elsewhere' }),
      /^L2 .*names no payload/,
    ],
    [
      'L2 a certificate as pem',
      'com.apple.security.pkcs1',
      (payload) => Object.assign(payload, { PayloadType: 'com.apple.security.pem' }),
      /^L2 .*only com.apple.security.pkcs1/,
    ],
    ['L3 bytes that are no certificate', 'com.apple.security.pkcs1', (payload) => Object.assign(payload, { PayloadContent: Buffer.from('no') }), /^L3 .*DER/],
    ['L4 the scope of a user', escrow, (_, files) => Object.assign(named(files, 'escrow')?.profile ?? {}, { PayloadScope: 'User' }), /^L4/],
    ['L5 Enable as a boolean', fileVault, (payload) => Object.assign(payload, { Enable: true }), /^L5/],
    ['L6 Setup Assistant without Defer', fileVault, (payload) => Object.assign(payload, { ForceEnableInSetupAssistant: true, Defer: false }), /^L6/],
    ['L7 switched on and forbidden', 'com.apple.MCX', (payload) => Object.assign(payload, { dontAllowFDEEnable: true }), /^L7/],
    ['L8 a plain key on the disk', fileVault, (payload) => Object.assign(payload, { OutputPath: '/tmp/key.plist' }), /^L8 OutputPath/],
    ['L8 a password', fileVault, (payload) => Object.assign(payload, { Username: 'a', Password: 'b' }), /^L8 Username, Password/],
    ['L9 keys beside PayloadContent', scep, (payload) => Object.assign(payload, { URL: 'https://x' }), /^L9 URL must be inside/],
    ['L9 a short key', scep, (payload) => delete inside(payload)['Keysize'], /^L9 Keysize/],
    ['L9 a key that can be exported', scep, (payload) => delete inside(payload)['KeyIsExtractable'], /^L9 KeyIsExtractable/],
    ['L9 a name without its space', scep, (payload) => Object.assign(inside(payload), { KeyType: 'RSA' }), /^L9 the names/],
    [
      'L11 a UUID that occurs twice',
      escrow,
      (payload, files) => Object.assign(payload, { PayloadUUID: named(files, 'settings')?.profile['PayloadUUID'] }),
      /^L11 the UUID/,
    ],
    [
      'L11 an identifier that occurs twice',
      escrow,
      (payload) => Object.assign(payload, { PayloadIdentifier: 'org.example.sparekey.escrow.certificate' }),
      /^L11 the identifier/,
    ],
    ['L14 a number out of range', fileVault, (payload) => Object.assign(payload, { DeferForceAtUserLoginMaxBypassAttempts: 10_000 }), /^L14 .*from -1 to 9999/],
    ['L14 a string for a boolean', fileVault, (payload) => Object.assign(payload, { Defer: 'true' }), /^L14 .*Defer must be a boolean/],
    ['L14 a required key that is missing', escrow, (payload) => delete payload['Location'], /^L14 .*Location is missing/],
  ])('%s is a mistake', (_, type, change, words) => {
    expect(spoiled(type, change)).toEqual(expect.arrayContaining([expect.stringMatching(words)]));
  });

  const bad: [string, string[], RegExp][] = [
    ['is too short', ['-newkey', 'rsa:1024', '-days', '10', '-addext', 'keyUsage=keyEncipherment'], /shorter than 2048/],
    ['may not encrypt', ['-newkey', 'rsa:2048', '-days', '10', '-addext', 'keyUsage=digitalSignature'], /keyEncipherment/],
    ['is of an elliptic curve', ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-days', '10'], /no RSA key/],
  ];
  for (const [what, options, words] of bad)
    testWithOpenssl(`L3 an escrow certificate that ${what} is a mistake`, () => {
      certificate('bad', ...options);
      expect(lint(make({ escrowCertificate: 'bad.pem' }), new Date())).toEqual(
        expect.arrayContaining([expect.objectContaining({ rule: 'L3', says: expect.stringMatching(words) })]),
      );
    });

  test('L3 an escrow certificate that has expired is a mistake', () => {
    expect(lint(make(), new Date('2060-01-01T00:00:00Z')).map(({ rule, says }) => `${rule} ${says}`)).toContainEqual(
      expect.stringMatching(/^L3 .*has expired/),
    );
  });

  test('L15 a key that Apple does not know is a note, and what it means in a program’s own domain is not ours to say', () => {
    const files = structuredClone(make({ agent: { checkInMinutes: 60 } }));
    Object.assign(payloadOf(files, escrow) ?? {}, { RecordNumber: '1' });
    expect(lint(files, now).filter(({ rule }) => rule === 'L15')).toEqual([
      { rule: 'L15', file: 'escrow.mobileconfig', is: 'note', says: 'com.apple.security.FDERecoveryKeyEscrow: the key RecordNumber is not known' },
    ]);
  });

  test('every rule has the words of what it demands', () => {
    expect(Object.values(lintRules).every(({ demands }) => demands.length > 20)).toBe(true);
  });
});

test('the settings profile is one that the agent takes without a word', async () => {
  const { settingsTable } = await import('../agent/settings-table.ts');
  const payload =
    payloadOf(make({ ...identity, trustedCertificates: ['ca.pem'], agent: { ...identity.agent, checkInMinutes: 30 } }), 'io.sparekey.agent') ?? {};
  const written = parse(write({ file: '', profile: payload })) as Dictionary;
  for (const [name, value] of Object.entries(written).filter(([key]) => !key.startsWith('Payload'))) {
    const table: Record<string, { read(value: unknown): object }> = settingsTable;
    expect([name, table[name]?.read(value)]).toEqual([name, { value: expect.anything() }]);
  }
  expect(Object.keys(written)).toEqual(expect.arrayContaining(['serverUrl', 'escrowCertificate', 'trustedCertificates', 'identityIssuer', 'checkInMinutes']));
});
