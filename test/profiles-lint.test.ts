import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { lint, lintRules } from '../profiles/lint.ts';
import type { LintContext } from '../profiles/lint-parts.ts';
import { type MdmName, mdmNames } from '../profiles/mdms.ts';
import type { ProfileFile } from '../profiles/read-profile.ts';
import type { Dictionary } from '../profiles/schema-check.ts';
import { foreignEscrowPair, pemToDer } from './fake-mac/certificates.ts';
import { cleanSet, context, now, short, types } from './lint-parts.ts';
import { openssl, testWithOpenssl } from './openssl.ts';
import { type Desk, desk, named, payloadOf, payloads, ways, withoutEscrow } from './profile-sets.ts';

const { escrow, fileVault, options, pkcs1, scep, acme, items, privacy, agent } = types;
let it: Desk;
const clean = (way = 'SCEP', changes: object = {}): ProfileFile[] => cleanSet(it, way, changes);

beforeAll(() => {
  it = desk();
});
afterAll(() => it.remove());

describe('a clean set has nothing against it', () => {
  const serialOf = (mdm: MdmName): { serial?: string } => (mdm === 'nanomdm' || mdm === 'none' ? { serial: 'C02A0000001' } : {});

  test.each(
    mdmNames.flatMap((mdm) =>
      Object.keys(ways)
        .filter((way) => way !== 'PKCS #12')
        .map((way): [MdmName, string] => [mdm, way]),
    ),
  )('%s, %s', (mdm, way) => {
    const files = it.make(
      { ...ways[way], teamIdentifier: 'ABCDE12345', portal: 'https://mac.example.org', trustedCertificates: ['ca.pem'] },
      { mdm, ...serialOf(mdm) },
    );
    expect(lint(files, context({ mdm, macos: '14.0' })).map(short)).toEqual([]);
  });

  testWithOpenssl('any MDM, PKCS #12: each Mac has a folder of its own', () => {
    mkdirSync(it.at('identities'));
    for (const serial of ['C02A0000001', 'C02A0000002']) {
      writeFileSync(
        it.at(`identities/${serial}.p12`),
        openssl(['pkcs12', '-export', '-inkey', 'k', '-in', 'c', '-passout', 'pass:p'], { k: it.escrow.key, c: it.escrow.certificate }),
      );
      writeFileSync(it.at(`identities/${serial}.password`), 'p\n');
    }
    for (const mdm of mdmNames) expect(lint(it.make({ ...ways['PKCS #12'], teamIdentifier: 'ABCDE12345' }, { mdm }), context({ mdm })).map(short)).toEqual([]);
  });

  test('with Setup Assistant, where that comes with its Defer', () => {
    expect(lint(clean('SCEP', { fileVault: { inSetupAssistant: true } }), context()).map(short)).toEqual([]);
  });
});

/** The one thing changed, and the one finding that must come of it. */
interface Case {
  rule: string;
  what: string;
  type: string;
  change: (payload: Dictionary, files: ProfileFile[]) => void;
  finds: RegExp;
  way?: string;
  /** From the set that opens by hand. */
  byHand?: true;
  context?: Partial<LintContext>;
}

const set = (changes: Dictionary) => (payload: Dictionary) => void Object.assign(payload, changes);
const inside = (payload: Dictionary): Dictionary => payload['PayloadContent'] as Dictionary;
const frameOf = (files: readonly ProfileFile[], name: string): Dictionary => named(files, name)?.profile ?? {};
const entry = (payload: Dictionary): Dictionary => ((payload['Services'] as Dictionary)['SystemPolicyAllFiles'] as Dictionary[])[0] ?? {};
const signed = (files: readonly ProfileFile[], name: string, changes: object = {}): void =>
  void Object.assign(named(files, name) ?? {}, { signature: { state: 'whole', signer: 'Example', notAfter: new Date('2030-01-01'), ...changes } });

const cases: Case[] = [
  {
    rule: 'L1',
    what: 'a second escrow payload',
    type: escrow,
    change: (payload, files) => void payloads(named(files, 'escrow')).push({ ...payload, PayloadUUID: 'x', PayloadIdentifier: 'y' }),
    finds: /mistake: .*FDERecoveryKeyEscrow a second payload of this type; the first is in escrow\.mobileconfig/,
  },
  {
    rule: 'L1',
    what: 'a payload that switches FileVault on, twice',
    type: fileVault,
    change: (payload, files) => void payloads(named(files, 'settings')).push({ ...payload, PayloadUUID: 'x', PayloadIdentifier: 'y' }),
    finds: /mistake: .*FileVault2 a second/,
  },
  {
    rule: 'L1',
    what: 'the escrow of before macOS 10.13',
    type: agent,
    change: (_, files) =>
      void payloads(named(files, 'settings')).push({
        PayloadType: 'com.apple.security.FDERecoveryRedirect',
        PayloadVersion: 1,
        PayloadUUID: 'x',
        PayloadIdentifier: 'y',
      }),
    finds: /mistake: .*ignored since macOS 10\.13/,
  },
  {
    rule: 'L2',
    what: 'a certificate that is in another file',
    type: escrow,
    change: set({ EncryptCertPayloadUUID: 'elsewhere' }),
    finds: /mistake: .*names no payload/,
  },
  {
    rule: 'L2',
    what: 'a certificate as pem',
    type: pkcs1,
    change: set({ PayloadType: 'com.apple.security.pem' }),
    finds: /mistake: .*only com\.apple\.security\.pkcs1/,
  },
  {
    rule: 'L3',
    what: 'bytes that are no certificate',
    type: pkcs1,
    change: set({ PayloadContent: Buffer.from('0no') }),
    finds: /mistake: .*not one certificate in DER/,
  },
  {
    rule: 'L3',
    what: 'text where DER is wanted',
    type: pkcs1,
    change: (payload) => set({ PayloadContent: Buffer.from(it.escrow.certificate) })(payload),
    finds: /mistake: .*is PEM text/,
  },
  {
    rule: 'L3',
    what: 'a private key for everybody',
    type: pkcs1,
    change: (payload) => set({ PayloadContent: Buffer.from(it.escrow.key) })(payload),
    finds: /mistake: .*private key/,
  },
  {
    rule: 'L4',
    what: 'the scope of a user',
    type: escrow,
    change: (_, files) => void Object.assign(frameOf(files, 'escrow'), { PayloadScope: 'User' }),
    finds: /mistake: PayloadScope must be System/,
  },
  {
    rule: 'L4',
    what: 'no scope at all',
    type: items,
    change: (_, files) => void delete frameOf(files, 'login-items')['PayloadScope'],
    finds: /mistake: PayloadScope must be System: com\.apple\.servicemanagement/,
  },
  { rule: 'L5', what: 'Enable as a boolean', type: fileVault, change: set({ Enable: true }), finds: /mistake: .*Enable must be the string/ },
  {
    rule: 'L6',
    what: 'Setup Assistant without Defer',
    type: fileVault,
    change: set({ ForceEnableInSetupAssistant: true, Defer: false }),
    finds: /mistake: .*needs Defer/,
  },
  {
    rule: 'L7',
    what: 'switched on and forbidden',
    type: options,
    change: set({ dontAllowFDEEnable: true }),
    finds: /mistake: .*contradicts Enable On in escrow\.mobileconfig/,
  },
  { rule: 'L8', what: 'a plain key on the disk', type: fileVault, change: set({ OutputPath: '/tmp/key.plist' }), finds: /mistake: .*OutputPath must not/ },
  { rule: 'L8', what: 'a password', type: fileVault, change: set({ Username: 'a', Password: 'b' }), finds: /mistake: .*Username, Password must not/ },
  {
    rule: 'L9',
    what: 'keys beside PayloadContent',
    type: scep,
    change: set({ URL: 'https://x', Keysize: 2048 }),
    finds: /mistake: .*URL, Keysize must be inside/,
  },
  {
    rule: 'L9',
    what: 'the size that macOS takes by itself',
    type: scep,
    change: (payload) => void delete inside(payload)['Keysize'],
    finds: /mistake: .*Keysize must be 2048/,
  },
  { rule: 'L9', what: 'a short key', type: scep, change: (payload) => set({ Keysize: 512 })(inside(payload)), finds: /mistake: .*Keysize must be 2048/ },
  {
    rule: 'L9',
    what: 'a key that can be exported',
    type: scep,
    change: (payload) => void delete inside(payload)['KeyIsExtractable'],
    finds: /mistake: .*KeyIsExtractable must be false/,
  },
  {
    rule: 'L9',
    what: 'a name without its space',
    type: scep,
    change: (payload) => set({ KeyType: 'RSA' })(inside(payload)),
    finds: /mistake: .*KeyType is read by nobody/,
  },
  { rule: 'L10', what: 'attested and not bound', type: acme, way: 'ACME', change: set({ Attest: true }), finds: /mistake: .*Attest needs HardwareBound/ },
  { rule: 'L10', what: 'bound, and RSA', type: acme, way: 'ACME', change: set({ HardwareBound: true }), finds: /mistake: .*needs KeyType ECSECPrimeRandom/ },
  {
    rule: 'L10',
    what: 'bound, and a curve that the Secure Enclave does not have',
    type: acme,
    way: 'ACME',
    change: set({ HardwareBound: true, KeyType: 'ECSECPrimeRandom', KeySize: 521 }),
    finds: /mistake: .*KeySize 256 or 384/,
  },
  {
    rule: 'L10',
    what: 'no curve at all',
    type: acme,
    way: 'ACME',
    change: set({ KeyType: 'ECSECPrimeRandom', KeySize: 512 }),
    finds: /mistake: .*192, 256, 384 or 521/,
  },
  { rule: 'L10', what: 'RSA of no whole octets', type: acme, way: 'ACME', change: set({ KeySize: 2049 }), finds: /mistake: .*multiple of 8/ },
  { rule: 'L10', what: 'a short key', type: acme, way: 'ACME', change: set({ KeySize: 1024 }), finds: /mistake: .*shorter than 2048/ },
  { rule: 'L10', what: 'a directory without TLS', type: acme, way: 'ACME', change: set({ DirectoryURL: 'http://x' }), finds: /mistake: .*https/ },
  {
    rule: 'L10',
    what: 'a key that can be exported',
    type: acme,
    way: 'ACME',
    change: (payload) => void delete payload['KeyIsExtractable'],
    finds: /mistake: .*KeyIsExtractable must be false/,
  },
  {
    rule: 'L11',
    what: 'a UUID that occurs twice',
    type: escrow,
    change: (payload, files) => set({ PayloadUUID: frameOf(files, 'settings')['PayloadUUID'] })(payload),
    finds: /mistake: PayloadUUID .* occurs twice/,
  },
  {
    rule: 'L11',
    what: 'an identifier that occurs twice',
    type: escrow,
    change: set({ PayloadIdentifier: 'org.example.sparekey.escrow.certificate' }),
    finds: /mistake: PayloadIdentifier .* occurs twice/,
  },
  {
    rule: 'L11',
    what: 'two profiles of one identifier',
    type: escrow,
    change: (_, files) => void Object.assign(frameOf(files, 'login-items'), { PayloadIdentifier: 'org.example.sparekey.settings' }),
    finds: /mistake: PayloadIdentifier is that of settings\.mobileconfig/,
  },
  {
    rule: 'L11',
    what: 'an identifier that changes with each version',
    type: escrow,
    change: (_, files) => void Object.assign(frameOf(files, 'escrow'), { PayloadIdentifier: '4C1F9D0A-2B7E-4A53-9D7C-0A4B8C5D6E7F' }),
    finds: /note: PayloadIdentifier is made from a UUID/,
  },
  {
    rule: 'L12',
    what: 'what macOS refuses by hand',
    type: agent,
    byHand: true,
    change: (_, files) =>
      void payloads(named(files, 'settings')).push({ PayloadType: items, PayloadVersion: 1, PayloadUUID: 'x', PayloadIdentifier: 'y', Rules: [] }),
    finds: /note: com\.apple\.servicemanagement is refused by hand/,
  },
  {
    rule: 'L12',
    what: 'Setup Assistant by hand',
    type: agent,
    byHand: true,
    change: (_, files) => {
      const payload = payloadOf(clean('SCEP', { fileVault: { inSetupAssistant: true } }), fileVault) ?? {};
      payloads(named(files, 'escrow')).push(payload);
    },
    finds: /note: .*ForceEnableInSetupAssistant works by automated device enrolment only/,
  },
  {
    rule: 'L13',
    what: 'neither Allowed nor Authorization',
    type: privacy,
    change: (payload) => void delete entry(payload)['Allowed'],
    finds: /mistake: .*AllFiles\[0\] has neither/,
  },
  { rule: 'L13', what: 'both', type: privacy, change: (payload) => set({ Authorization: 'Allow' })(entry(payload)), finds: /mistake: .*has both/ },
  {
    rule: 'L13',
    what: 'leave for users where there is none to give',
    type: privacy,
    change: (payload) => {
      delete entry(payload)['Allowed'];
      set({ Authorization: 'AllowStandardUserToSetSystemService' })(entry(payload));
    },
    finds: /mistake: .*ListenEvent and ScreenCapture only/,
  },
  {
    rule: 'L14',
    what: 'a number out of range',
    type: fileVault,
    change: set({ DeferForceAtUserLoginMaxBypassAttempts: 10_000 }),
    finds: /mistake: .*from -1 to 9999/,
  },
  { rule: 'L14', what: 'a string for a boolean', type: fileVault, change: set({ Defer: 'true' }), finds: /mistake: .*Defer must be true or false/ },
  {
    rule: 'L14',
    what: 'a required key that is missing',
    type: escrow,
    change: (payload) => void delete payload['Location'],
    finds: /mistake: .*Location is missing/,
  },
  {
    rule: 'L14',
    what: 'a word that is none of the list',
    type: items,
    change: (payload) => set({ RuleType: 'Team' })((payload['Rules'] as Dictionary[])[0] ?? {}),
    finds: /mistake: .*Rules\[0\]\.RuleType must be one of/,
  },
  {
    rule: 'L14',
    what: 'a size that is text',
    type: scep,
    change: (payload) => set({ Keysize: '2048' })(inside(payload)),
    finds: /mistake: .*PayloadContent\.Keysize must be one of 1024, 2048, 4096/,
  },
  {
    rule: 'L14',
    what: 'another name that is a number',
    type: scep,
    change: (payload) =>
      set({ SubjectAltName: { dNSName: ['a.example.org', 'b.example.org'], rfc822Name: 'a@example.org', uniformResourceIdentifier: 1 } })(inside(payload)),
    finds: /mistake: .*SubjectAltName\.uniformResourceIdentifier must be a string or an array of strings/,
  },
  {
    rule: 'L14',
    what: 'other names of which one is a number',
    type: scep,
    change: (payload) => set({ SubjectAltName: { dNSName: ['a.example.org', 1] } })(inside(payload)),
    finds: /mistake: .*SubjectAltName\.dNSName must be a string or an array of strings/,
  },
  {
    rule: 'L14',
    what: 'a time in words',
    type: agent,
    change: (_, files) => void Object.assign(frameOf(files, 'settings'), { DurationUntilRemoval: 'soon', RemovalDate: new Date(now) }),
    finds: /mistake: DurationUntilRemoval must be a number/,
  },
  {
    rule: 'L14',
    what: 'a name of one part',
    type: scep,
    change: (payload) => set({ Subject: [[['CN']]] })(inside(payload)),
    finds: /mistake: .*Subject\[0\]\[0\] must have 2 entries/,
  },
  {
    rule: 'L14',
    what: 'a payload that is no dictionary',
    type: agent,
    change: (_, files) => void payloads(named(files, 'settings')).push('x' as unknown as Dictionary),
    finds: /mistake: PayloadContent\[1\] must be a dictionary/,
  },
  { rule: 'L14', what: 'another version of the format', type: agent, change: set({ PayloadVersion: 2 }), finds: /mistake: .*PayloadVersion must be 1/ },
  { rule: 'L14', what: 'no UUID', type: items, change: (payload) => void delete payload['PayloadUUID'], finds: /mistake: .*PayloadUUID is missing/ },
  {
    rule: 'L15',
    what: 'a key that Apple does not know',
    type: escrow,
    change: set({ RecordNumber: '1' }),
    finds: /note: .*RecordNumber is not in Apple’s schema/,
  },
  {
    rule: 'L15',
    what: 'a use of com.apple.MCX that is not ours',
    type: options,
    change: set({ EnableGuestAccount: false }),
    finds: /note: .*EnableGuestAccount is none of FileVault/,
  },
  {
    rule: 'L15',
    what: 'a key that these Macs do not know yet',
    type: fileVault,
    change: set({ ForceEnableInSetupAssistant: true }),
    context: { macos: '13.6' },
    finds: /note: .*ForceEnableInSetupAssistant is known from macOS 14\.0 on/,
  },
  {
    rule: 'S1',
    what: 'a setting that the agent refuses',
    type: agent,
    change: set({ checkInMinutes: 1 }),
    finds: /mistake: io\.sparekey\.agent checkInMinutes .*from 5 to 1440/,
  },
  {
    rule: 'S1',
    what: 'a setting that the agent does not have',
    type: agent,
    change: set({ checkinMinutes: 30 }),
    finds: /note: io\.sparekey\.agent checkinMinutes is not a setting/,
  },
  {
    rule: 'S1',
    what: 'no backend',
    type: agent,
    change: (payload) => void delete payload['serverUrl'],
    finds: /mistake: io\.sparekey\.agent serverUrl is missing/,
  },
  {
    rule: 'S2',
    what: 'another certificate than the settings name',
    type: pkcs1,
    change: (payload) => set({ PayloadContent: pemToDer(foreignEscrowPair().certificate) })(payload),
    finds: /mistake: .*seals to another certificate than the settings in settings\.mobileconfig name/,
  },
  {
    rule: 'S3',
    what: 'a label in Login Items without the team that signs',
    type: items,
    change: (payload) => {
      for (const one of payload['Rules'] as Dictionary[]) delete one['TeamIdentifier'];
    },
    finds: /note: com\.apple\.servicemanagement Rules allows any job called io\.sparekey\.agent, whoever signed it/,
  },
  {
    rule: 'L1',
    what: 'FileVault switched on, and no escrow payload in the folder',
    type: fileVault,
    change: (_, files) => withoutEscrow(files),
    finds: /mistake: com\.apple\.MCX\.FileVault2 Enable is On, and no profile escrows the key/,
  },
  {
    rule: 'M1',
    what: 'a variable of another MDM',
    type: escrow,
    change: set({ DeviceKey: 'serial {{serialnumber}}' }),
    finds: /mistake: .*\{\{serialnumber\}\}: no variable that Jamf Pro fills in/,
  },
  {
    rule: 'M1',
    what: 'a variable in a signed profile',
    type: escrow,
    change: (_, files) => signed(files, 'escrow'),
    finds: /mistake: .*is signed, so nobody fills in \$SERIALNUMBER/,
  },
  {
    rule: 'F2',
    what: 'contents that were changed after they were signed',
    type: items,
    change: (_, files) => signed(files, 'login-items', { state: 'changed' }),
    finds: /mistake: .*changed after Example signed it/,
  },
  {
    rule: 'F2',
    what: 'a signature that cannot be checked',
    type: items,
    change: (_, files) => signed(files, 'login-items', { state: 'unchecked', signer: null }),
    finds: /note: .*cannot be checked here/,
  },
  {
    rule: 'F2',
    what: 'a signer whose certificate has ended',
    type: items,
    change: (_, files) => signed(files, 'login-items', { notAfter: new Date('2026-01-01') }),
    finds: /note: .*ended on 2026-01-01/,
  },
];

describe('each rule has a profile that breaks it, and nothing else is said of that profile', () => {
  test.each(cases.map((each): [string, string, Case] => [each.rule, each.what, each]))(
    '%s: %s',
    (rule, _, { type, change, finds, way, byHand, context: changes }) => {
      const files = byHand ? structuredClone(it.make(ways['ticket'], { mdm: 'none' })) : clean(way);
      const payload = payloadOf(files, type);
      if (payload === undefined) throw new Error(`no ${type}`);
      change(payload, files);
      const found = lint(files, context({ ...(byHand ? { mdm: 'none' } : {}), ...changes }));
      expect(found.map(short)).toEqual([expect.stringMatching(finds)]);
      expect(found[0]?.rule).toBe(rule);
      expect(found[0]?.fix.length).toBeGreaterThan(5);
    },
  );

  test('there is a case for every rule', () => {
    expect(new Set(cases.map(({ rule }) => rule))).toEqual(new Set(Object.keys(lintRules)));
  });

  test('every rule says what it demands, why, and what to do', () => {
    for (const { demands, because, fix } of Object.values(lintRules)) expect(Math.min(demands.length, because.length, fix.length)).toBeGreaterThan(15);
  });
});

describe('L3, the escrow certificate', () => {
  const certificate = (...more: string[]): string => {
    execFileSync('openssl', ['req', '-x509', '-nodes', '-keyout', it.at('bad.key'), '-out', it.at('bad.pem'), '-subj', '/CN=bad', ...more], { stdio: 'pipe' });
    return 'bad.pem';
  };
  const bad: [string, string[], RegExp][] = [
    ['is too short', ['-newkey', 'rsa:1024', '-days', '10', '-addext', 'keyUsage=keyEncipherment'], /shorter than 2048/],
    ['may not encrypt', ['-newkey', 'rsa:2048', '-days', '10', '-addext', 'keyUsage=digitalSignature'], /keyEncipherment/],
    ['is of an elliptic curve', ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-days', '10'], /no RSA key/],
  ];
  for (const [what, more, words] of bad)
    testWithOpenssl(`that ${what} is a mistake`, () => {
      const files = it.make({ escrowCertificate: certificate(...more) });
      expect(lint(files, context({ now: new Date() }))).toEqual(
        expect.arrayContaining([expect.objectContaining({ rule: 'L3', is: 'mistake', says: expect.stringMatching(words) })]),
      );
    });

  test('of which an extension is broken is no certificate', () => {
    const file = named(clean(), 'escrow');
    const der = Buffer.from(payloadOf(file ? [file] : [], pkcs1)?.['PayloadContent'] as Uint8Array);
    // Key usage: its octet string holds something else than a bit string.
    der[der.indexOf(Buffer.from('551d0f', 'hex')) + 8] = 0;
    Object.assign(payloadOf(file ? [file] : [], pkcs1) ?? {}, { PayloadContent: der });
    expect(lint(file ? [file] : [], context()).map(short)).toEqual([expect.stringMatching(/^L3 mistake: .*not one certificate in DER/)]);
  });

  test('that has expired is a mistake, and one that ends within a year is said beforehand', () => {
    expect(lint(clean(), context({ now: new Date('2080-01-01T00:00:00Z') })).map(short)).toContainEqual(expect.stringMatching(/^L3 mistake: .*has expired/));
    const end = new Date(Date.now() + 14_500 * 86_400_000);
    expect(lint(clean(), context({ now: end })).map(short)).toEqual([expect.stringMatching(/^L3 note: .*ends in (99|100) days/)]);
  });
});
