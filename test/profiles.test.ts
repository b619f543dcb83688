import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { settingsTable } from '../agent/settings-table.ts';
import { xmlOf } from '../profiles/build.ts';
import { type Outcome, runProfiles } from '../profiles/command-line.ts';
import { type MdmName, mdmNames, mdms } from '../profiles/mdms.ts';
import { runtime } from '../profiles/payloads.ts';
import type { Dictionary } from '../profiles/schema-check.ts';
import { uuidOf } from '../profiles/uuid.ts';
import { identifiers } from '../scripts/package/sign.ts';
import { openssl, testWithOpenssl } from './openssl.ts';
import { type Desk, desk, fromXml, good, named, payloadOf, payloads, ticket, ways } from './profile-sets.ts';

const now = new Date('2026-12-01T00:00:00Z');
const examples = fileURLToPath(new URL('../profiles/examples', import.meta.url));
let it: Desk;
const profiles = (...args: string[]): Promise<Outcome> => runProfiles(args, now);

beforeAll(() => {
  it = desk();
});
afterAll(() => it.remove());

describe('profiles made from one settings file', () => {
  test('are settings, login items and escrow; an identity only where one is asked for', () => {
    expect(it.make().map(({ file }) => file)).toEqual(['settings.mobileconfig', 'login-items.mobileconfig', 'escrow.mobileconfig']);
    expect(it.make(ways['SCEP']).map(({ file }) => file)).toContain('identity.mobileconfig');
  });

  test('seal new keys to the certificate of the settings, in DER, named within the same profile', () => {
    const files = it.make();
    const pkcs1 = payloadOf(files, 'com.apple.security.pkcs1');
    expect(pkcs1?.['PayloadContent']).toEqual(new X509Certificate(readFileSync(it.at('escrow.pem'))).raw);
    expect(payloadOf(files, 'com.apple.security.FDERecoveryKeyEscrow')?.['EncryptCertPayloadUUID']).toBe(pkcs1?.['PayloadUUID']);
    expect(payloads(named(files, 'escrow'))).toContain(pkcs1);
  });

  test('tell a locked-out person where the key is', () => {
    const words = (changes: object): unknown => payloadOf(it.make(changes), 'com.apple.security.FDERecoveryKeyEscrow')?.['Location'];
    expect(words({ portal: 'https://mac.example.org', support: '+31 20 555 0100' })).toBe(
      'Example IT. Sign in to https://mac.example.org and choose Get recovery key. Or ask: +31 20 555 0100.',
    );
    expect(words({ support: '+31 20 555 0100' })).toBe('Example IT. Ask: +31 20 555 0100.');
    expect(words({})).toBe('Example IT. Ask your IT department for the recovery key of this Mac.');
  });

  test.each<[string, MdmName | undefined, string | undefined, string | undefined]>([
    ['Jamf Pro', 'jamf', undefined, 'mac.example.org, serial number $SERIALNUMBER'],
    ['Intune', 'intune', undefined, 'mac.example.org, serial number {{serialnumber}}'],
    ['Kandji', 'kandji', undefined, 'mac.example.org, serial number $SERIAL_NUMBER'],
    ['Mosyle', 'mosyle', undefined, 'mac.example.org, serial number %SerialNumber%'],
    ['Fleet', 'fleet', undefined, 'mac.example.org, serial number $FLEET_VAR_HOST_HARDWARE_SERIAL'],
    ['NanoMDM, which fills in nothing', 'nanomdm', undefined, undefined],
    ['NanoMDM, for one Mac', 'nanomdm', 'C02EXAMPLE01', 'mac.example.org, serial number C02EXAMPLE01'],
    ['an MDM that nobody named', undefined, undefined, undefined],
  ])('tell whoever forgot the password the address and the serial number, where it is filled in: %s', (_, mdm, serial, words) => {
    const payload = payloadOf(it.make({ portal: 'https://mac.example.org' }, { mdm, serial }), 'com.apple.security.FDERecoveryKeyEscrow');
    expect(payload?.['DeviceKey']).toBe(words);
  });

  test('have the variables of their MDM wherever the settings ask for one, and the words of the settings rank above', () => {
    const files = it.make({ ...ways['ACME'], mdm: 'fleet', assignedTo: '{email}', deviceKey: 'Mac of {userName}' });
    expect(payloadOf(files, 'io.sparekey.agent')?.['assignedTo']).toBe('$FLEET_VAR_HOST_END_USER_IDP_USERNAME');
    expect(payloadOf(files, 'com.apple.security.FDERecoveryKeyEscrow')?.['DeviceKey']).toBe('Mac of $FLEET_VAR_HOST_END_USER_IDP_USERNAME');
    expect(payloadOf(files, 'com.apple.security.acme')).toMatchObject({
      ClientIdentifier: '$FLEET_VAR_HOST_HARDWARE_SERIAL',
      Subject: [[['O', 'Example']], [['CN', '$FLEET_VAR_HOST_HARDWARE_SERIAL']]],
    });
    expect(payloadOf(it.make({ mdm: 'fleet', assignedTo: '{email}' }, { mdm: 'kandji' }), 'io.sparekey.agent')?.['assignedTo']).toBe('$EMAIL');
  });

  test('only escrow where FileVault is switched on by somebody else', () => {
    const files = it.make({ fileVault: { enable: false, keepOn: false } });
    expect(payloadOf(files, 'com.apple.MCX.FileVault2')).toBeUndefined();
    expect(payloadOf(files, 'com.apple.security.FDERecoveryKeyEscrow')).toBeDefined();
    expect(payloadOf(files, 'com.apple.MCX')).toMatchObject({ dontAllowFDEDisable: false });
  });

  test('without an MDM are only what opens by hand', () => {
    const files = it.make({ ...ways['ticket'], teamIdentifier: 'ABCDE12345' }, { mdm: 'none' });
    expect(files.map(({ file }) => file)).toEqual(['settings.mobileconfig', 'escrow.mobileconfig']);
    expect(payloadOf(files, 'com.apple.MCX.FileVault2')).toBeUndefined();
  });

  test('allow the job by the prefix of its label and the team that signs it; by the label alone where no team is named', () => {
    const rules = (changes: object): unknown => payloadOf(it.make(changes), 'com.apple.servicemanagement')?.['Rules'];
    expect(rules({ teamIdentifier: 'ABCDE12345' })).toEqual([
      { RuleType: 'LabelPrefix', RuleValue: 'io.sparekey.agent', TeamIdentifier: 'ABCDE12345', Comment: 'The Sparekey agent' },
    ]);
    expect(rules({})).toEqual([{ RuleType: 'LabelPrefix', RuleValue: 'io.sparekey.agent', Comment: 'The Sparekey agent' }]);
  });

  test('have full disk access in a folder of its own, which says that it is not needed, for the very program that the package signs', () => {
    const [privacy] = it.make({ teamIdentifier: 'ABCDE12345' }).filter(({ file }) => file.includes('/'));
    expect(privacy?.file).toBe('only-if-needed/privacy.mobileconfig');
    expect(privacy?.profile['PayloadDescription']).toMatch(/^Not needed as far as is known\./);
    const services = payloads(privacy)[0]?.['Services'] as Record<string, Dictionary[]>;
    expect(services['SystemPolicyAllFiles']?.[0]).toMatchObject({ Identifier: '/Library/Sparekey/bin/node', IdentifierType: 'path', Allowed: true });
    expect(String(services['SystemPolicyAllFiles']?.[0]?.['CodeRequirement'])).toContain(`identifier "${identifiers.runtime}" and anchor apple generic`);
    expect(runtime.identifier).toBe(identifiers.runtime);
  });

  test('bring an identity of one key for the agent: not to leave the Mac, usable by `security`, never bound to the hardware', () => {
    const key = { KeyIsExtractable: false, AllowAllAppsAccess: true };
    expect(payloadOf(it.make(ways['SCEP']), 'com.apple.security.scep')?.['PayloadContent']).toMatchObject({ ...key, Keysize: 2048, 'Key Type': 'RSA' });
    expect(payloadOf(it.make(ways['ACME'], { mdm: 'jamf' }), 'com.apple.security.acme')).toMatchObject({
      ...key,
      HardwareBound: false,
      Attest: false,
      KeySize: 2048,
    });
    expect(() => it.make({ ...ways['ACME'], identity: { acme: { directoryUrl: 'https://a.example.org', hardwareBound: true } } })).toThrow(/hardwareBound/);
  });

  test('have the challenge of SCEP from the settings, or from a file beside them', () => {
    const challenge = (scep: object): unknown => {
      const files = it.make({ ...ways['SCEP'], identity: { scep: { url: 'https://ca.example.org/scep', ...scep } } });
      return (payloadOf(files, 'com.apple.security.scep') as { PayloadContent: Dictionary }).PayloadContent['Challenge'];
    };
    writeFileSync(it.at('challenge.txt'), 'open sesame\nnot this\n');
    expect([challenge({}), challenge({ challenge: 'a' }), challenge({ challengeFile: 'challenge.txt' })]).toEqual([undefined, 'a', 'open sesame']);
    expect(() => challenge({ challenge: 'a', challengeFile: 'challenge.txt' })).toThrow(/challengeFile: challenge says it as well/);
    expect(() => challenge({ challengeFile: 'nowhere.txt' })).toThrow(/nowhere\.txt cannot be read/);
  });

  test('bring the enrolment ticket from its file into the settings of the agent', () => {
    expect(payloadOf(it.make(ways['ticket']), 'io.sparekey.agent')).toMatchObject({ enrolmentTicket: ticket });
    writeFileSync(it.at('no-ticket.txt'), 'hello\n');
    expect(() => it.make({ identity: { ticket: { file: 'no-ticket.txt' } } })).toThrow(/no-ticket\.txt: the first line is not a ticket/);
  });

  testWithOpenssl('bring each Mac its own PKCS #12 identity, which opens with its password', () => {
    mkdirSync(it.at('identities'));
    for (const serial of ['C02A0000001', 'C02A0000002']) {
      const p12 = openssl(['pkcs12', '-export', '-inkey', 'k', '-in', 'c', '-passout', `pass:of-${serial}`], { k: it.escrow.key, c: it.escrow.certificate });
      writeFileSync(it.at(`identities/${serial}.p12`), p12);
      writeFileSync(it.at(`identities/${serial}.password`), `of-${serial}\n`);
    }
    const files = it.make(ways['PKCS #12']);
    expect(files.map(({ file }) => file)).toEqual(
      expect.arrayContaining(['identities/C02A0000001/identity.mobileconfig', 'identities/C02A0000002/identity.mobileconfig']),
    );
    expect(payloads(files[1])[0]).toMatchObject({ PayloadType: 'com.apple.security.pkcs12', Password: 'of-C02A0000002', KeyIsExtractable: false });
    writeFileSync(it.at('identities/C02A0000002.password'), 'another\n');
    expect(() => it.make(ways['PKCS #12'])).toThrow('identities/C02A0000002.p12 does not open with the first line of C02A0000002.password');
  });

  test('are the same bytes every time, and new UUIDs where the content is new', () => {
    expect(it.make()).toEqual(it.make());
    const [before, after] = [it.make(), it.make({ serverUrl: 'https://other.example.org' })];
    expect(named(after, 'settings')?.profile['PayloadUUID']).not.toBe(named(before, 'settings')?.profile['PayloadUUID']);
    expect(named(after, 'settings')?.profile['PayloadIdentifier']).toBe('org.example.sparekey.settings');
    expect(named(after, 'escrow')).toEqual(named(before, 'escrow'));
  });

  test('have UUIDs of the standard form, whatever the order of the content', () => {
    expect(uuidOf('a', { b: 1, c: Buffer.from('x') })).toMatch(/^[0-9A-F]{8}-[0-9A-F]{4}-8[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$/);
    expect(uuidOf('a', { b: 1, c: Buffer.from('x') })).toBe(uuidOf('a', { c: Buffer.from('x'), b: 1 }));
    expect(uuidOf('a', [1])).not.toBe(uuidOf('b', [1]));
  });

  test('have settings that the agent takes without a word', () => {
    const payload =
      payloadOf(it.make({ ...ways['SCEP'], trustedCertificates: ['ca.pem'], agent: { identityIssuer: 'CA', checkInMinutes: 30 } }), 'io.sparekey.agent') ?? {};
    const written = fromXml(xmlOf({ profile: payload }));
    const table: Record<string, { read(value: unknown): object }> = settingsTable;
    for (const [name, value] of Object.entries(written).filter(([key]) => !key.startsWith('Payload')))
      expect([name, table[name]?.read(value)]).toEqual([name, { value: expect.anything() }]);
    expect(Object.keys(written)).toEqual(expect.arrayContaining(['serverUrl', 'escrowCertificate', 'trustedCertificates', 'identityIssuer', 'checkInMinutes']));
  });
});

describe('profiles build', () => {
  test('writes files that only their owner reads, and that read back as they were made', async () => {
    const out = it.at('out');
    const made = await profiles('build', '--settings', it.settings(), '--out', out);
    expect(made.exit).toBe(0);
    expect(readdirSync(out).sort()).toEqual(['escrow.mobileconfig', 'login-items.mobileconfig', 'settings.mobileconfig']);
    expect(statSync(join(out, 'settings.mobileconfig')).mode & 0o777).toBe(0o600);
    expect(fromXml(readFileSync(join(out, 'escrow.mobileconfig'), 'utf8'))['PayloadIdentifier']).toBe('org.example.sparekey.escrow');
    expect(made.stdout).toContain(new X509Certificate(readFileSync(it.at('escrow.pem'))).fingerprint256.replaceAll(':', '').toLowerCase());
    expect(made.stderr).toContain('takes effect only through a user-approved MDM');
  });

  test('is what the flags of before there were commands still do, and --check is lint', async () => {
    const out = it.at('as-before');
    expect(await profiles('--settings', it.settings(), '--out', out)).toMatchObject({ exit: 0, stdout: expect.stringContaining('escrow.mobileconfig') });
    const checked = await profiles('--check', join(out, 'escrow.mobileconfig'), '--json');
    expect(checked.exit).toBe(0);
    expect(JSON.parse(checked.stdout)).toMatchObject({ findings: [{ rule: 'L12', is: 'note' }] });
  });

  test('says as JSON what it wrote, what it found, and what a person has to know', async () => {
    const made = await profiles('build', '--settings', it.settings({ teamIdentifier: 'ABCDE12345' }), '--out', it.at('as-json'), '--mdm', 'fleet', '--json');
    const { written, findings, remarks, escrowCertificate } = JSON.parse(made.stdout);
    expect(written).toHaveLength(4);
    expect(findings).toEqual([]);
    expect(remarks).toEqual(mdms.fleet.remarks);
    expect(escrowCertificate).toMatch(/^[0-9a-f]{64}$/);
  });

  test('takes whose Mac it is from the top of the file alone', () => {
    expect(payloadOf(it.make({ assignedTo: '$EMAIL' }), 'io.sparekey.agent')).toMatchObject({ assignedTo: '$EMAIL' });
    expect(() => it.make({ agent: { assignedTo: '$EMAIL' } })).toThrow('agent.assignedTo: is set at the top of the file');
  });

  test("takes what the settings file does not say from the backend's own values", async () => {
    const pem = readFileSync(it.at('escrow.pem'), 'utf8');
    const values = { ...good, escrowCertificate: pem, escrowCertificateDigest: 'x', trustedCertificates: [pem], checkInMinutes: 15 };
    writeFileSync(it.at('values.json'), JSON.stringify(values));
    writeFileSync(it.at('short.json'), JSON.stringify({ identifier: 'org.example.sparekey', organisation: 'Example Ltd' }));
    const out = it.at('from-backend');
    const args = ['build', '--settings', it.at('short.json'), '--backend', it.at('values.json'), '--out', out];
    expect(await profiles(...args)).toMatchObject({ exit: 0 });
    const made = fromXml(readFileSync(join(out, 'settings.mobileconfig'), 'utf8')) as { PayloadOrganization: string; PayloadContent: Dictionary[] };
    expect(made.PayloadOrganization).toBe('Example Ltd');
    expect(made.PayloadContent[0]).toMatchObject({ serverUrl: values.serverUrl, trustedCertificates: [pem] });
    writeFileSync(it.at('values.json'), '{}');
    await expect(profiles(...args)).rejects.toThrow(/is not what profile-values --json prints/);
  });

  test('over a file that everybody could read, or through a link, nobody else can read what is written', async () => {
    const out = it.at('over');
    mkdirSync(out);
    writeFileSync(it.at('theirs'), 'as it was');
    writeFileSync(join(out, 'settings.mobileconfig'), 'old', { mode: 0o644 });
    symlinkSync(it.at('theirs'), join(out, 'escrow.mobileconfig'));
    expect((await profiles('build', '--settings', it.settings(), '--out', out)).exit).toBe(0);
    for (const name of ['settings.mobileconfig', 'escrow.mobileconfig']) {
      const facts = lstatSync(join(out, name));
      expect([facts.isFile(), facts.mode & 0o777]).toEqual([true, 0o600]);
    }
    expect(readFileSync(it.at('theirs'), 'utf8')).toBe('as it was');
    expect(readdirSync(out).sort()).toEqual(['escrow.mobileconfig', 'login-items.mobileconfig', 'settings.mobileconfig']);
  });

  test.each([
    ['organisation', { organisation: 'Exam\u0000ple' }],
    ['support', { support: '+31 20\u001b[31m' }],
    ['agent.identitySubject', { agent: { identitySubject: 'a\ud800b' } }],
  ])('a character that no profile can hold is named with its fix: %s', async (name, changes) => {
    const out = it.at('unfit');
    const ended = await profiles('build', '--settings', it.settings(changes), '--out', out).catch((error: unknown) => error);
    expect(ended).toMatchObject({ code: 'PROFILE_SETTINGS_INVALID', message: expect.stringContaining(`${name} holds a character that cannot be seen`) });
    expect(existsSync(out)).toBe(false);
  });

  test('writes nothing where a rule is broken', async () => {
    const out = it.at('refused');
    mkdirSync(out);
    const made = await profiles('build', '--settings', it.settings({ escrowCertificate: 'ca.pem' }), '--out', out);
    expect(made).toMatchObject({ exit: 78, stdout: '' });
    expect(made.stderr).toContain('the escrow certificate has no RSA key (L3)');
    expect(readdirSync(out)).toEqual([]);
  });

  test('names what an earlier set has left in the folder', async () => {
    const out = it.at('left-over');
    const build = (changes: object, mdm: string): Promise<Outcome> => profiles('build', '--settings', it.settings(changes), '--out', out, '--mdm', mdm);
    mkdirSync(join(out, 'a folder.mobileconfig'), { recursive: true });
    writeFileSync(join(out, 'notes.txt'), '');
    expect((await build({ ...ways['SCEP'], teamIdentifier: 'ABCDE12345' }, 'jamf')).stderr).not.toContain('was there before');
    expect((await build({}, 'jamf')).stderr).toMatch(/identity\.mobileconfig was there before.*\n.*only-if-needed\/privacy\.mobileconfig was there before/);
  });

  test.each([
    ['a server without TLS', { serverUrl: 'http://keys.example.org' }, /serverUrl/],
    ['an unknown name', { organization: 'Example' }, /organization/],
    ['an identifier that is no reverse DNS', { identifier: 'sparekey' }, /identifier/],
    ['a setting that the agent does not have', { agent: { checkInMinute: 5 } }, /agent\.checkInMinute: is not a setting/],
    ['a setting that the agent would refuse', { agent: { checkInMinutes: 1 } }, /agent\.checkInMinutes: .*from 5 to 1440/],
    ['an identity that the agent could not find', { identity: { scep: { url: 'https://ca.example.org/scep' } } }, /agent\.identityIssuer/],
    ['a fingerprint of no hash', { ...ways['SCEP'], identity: { scep: { url: 'https://a.example.org', caFingerprint: 'AB'.repeat(25) } } }, /caFingerprint/],
    ['two identities', { identity: { scep: { url: 'https://a.example.org' }, ticket: { file: 'ticket.txt' } } }, /takes one of scep, acme, pkcs12, ticket/],
    ['a ticket beside an identity that ranks above it', { ...ways['ticket'], agent: { identityIssuer: 'CA' } }, /rank above it/],
    ['two tickets', { ...ways['ticket'], agent: { enrolmentTicket: ticket } }, /agent\.enrolmentTicket says it as well/],
    ['a certificate that is not there', { escrowCertificate: 'nowhere.pem' }, /nowhere\.pem cannot be read \(ENOENT\)/],
    ['a private key in place of a certificate', { escrowCertificate: 'escrow.key' }, /holds a private key/],
    ['the team that signs Node', { teamIdentifier: 'HX7739G8FX' }, /team of the Node\.js Foundation/],
    ['an MDM that nobody knows', { mdm: 'other' }, /mdm/],
    ['a variable and no MDM', { assignedTo: '{email}' }, /assignedTo: \{email\} needs --mdm/],
    ['a variable that its MDM does not have', { mdm: 'nanomdm', assignedTo: '{email}' }, /assignedTo: \{email\} is filled in by nobody with NanoMDM/],
    [
      'one name for all Macs by accident',
      { ...ways['SCEP'], mdm: 'nanomdm' },
      /identity\.scep\.commonName: \{serialNumber\} is filled in by nobody with NanoMDM; leave it out, or --serial/,
    ],
    ['a folder of identities without one', { ...ways['SCEP'], identity: { pkcs12: { folder: '.' } } }, /has no file SERIAL\.p12/],
    [
      'the certificate of the examples, which would lose every key',
      { escrowCertificate: join(examples, 'escrow.pem'), serverUrl: 'https://keys.example.com' },
      /whose private key nobody has/,
    ],
  ])('names the mistake in a settings file with %s', async (_, changes, words) => {
    await expect(profiles('build', '--settings', it.settings(changes), '--out', it.at('never'))).rejects.toThrow(words);
  });

  test.each([
    [[], 'there is no command'],
    [['build', '--settings', 'x.json'], 'build needs --settings and --out'],
    [['build', '--settings', 'x.json', '--out', 'y', '--sign', 'z'], '--sign and --key go together'],
    [['build', '--mdm', 'workspace-one'], 'mdm'],
    [['build', '--serial', '../../etc'], 'serial'],
    [['lint'], 'lint needs a file or a folder'],
    [['lint', '--macos', 'Ventura', 'x'], 'version such as 13'],
    [['inspect'], 'inspect needs --built FOLDER, or --settings FILE'],
    [['install'], "unknown command 'install'"],
  ])('with %j says what it did not understand', async (args, words) => {
    await expect(profiles(...args)).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining(words) });
  });

  test('shows help for each command', async () => {
    expect(await profiles('--help')).toMatchObject({ exit: 0, stdout: expect.stringContaining('sudo profiles inspect --built profiles-out') });
    for (const command of ['build', 'lint', 'inspect'])
      expect(await profiles(command, '--help')).toMatchObject({ exit: 0, stdout: expect.stringContaining(`Usage: profiles ${command}`) });
  });
});

describe('the program', () => {
  const program = (...args: string[]) =>
    spawnSync(process.execPath, [fileURLToPath(new URL('../profiles/make.ts', import.meta.url)), ...args], {
      encoding: 'utf8',
      env: { NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] },
    });

  test('says what failed, what mends it and by which code, and ends with the status of that', () => {
    expect(program('build', '--settings', it.at('nowhere.json'), '--out', it.at('never'))).toMatchObject({
      status: 78,
      stdout: '',
      stderr: expect.stringMatching(
        /^sparekey: error: the settings for the profiles have mistakes: .*nowhere\.json is not readable JSON .*\nsparekey: fix: .*\nsparekey: PROFILE_SETTINGS_INVALID; more: docs\/errors\.md\n$/,
      ),
    });
  });
});

describe('the examples', () => {
  test('there is one for each MDM, and one for none', () => {
    const folders = readdirSync(examples, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(folders.map(({ name }) => name).sort()).toEqual([...mdmNames].sort());
  });

  test.each([...mdmNames])('for %s are what the command makes today, and have nothing against them', async (mdm) => {
    const [from, out] = [join(examples, mdm), it.at(`example-${mdm}`)];
    const serial = mdm === 'nanomdm' ? ['--serial', 'C02EXAMPLE01'] : [];
    expect(await profiles('build', '--settings', join(from, 'organisation.json'), ...serial, '--out', out)).toMatchObject({ exit: 0 });
    const files = (folder: string): [string, string][] =>
      (readdirSync(folder, { recursive: true }) as string[])
        .filter((name) => name.endsWith('.mobileconfig'))
        .sort()
        .map((name) => [name, readFileSync(join(folder, name), 'utf8')]);
    expect(files(from)).toEqual(files(out));
    const looked = await profiles('lint', '--mdm', mdm, '--json', from);
    expect(looked.exit).toBe(0);
    expect(JSON.parse(looked.stdout).findings).toEqual([]);
  });
});
