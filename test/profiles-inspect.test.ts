import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { realDisk } from '../agent/disk.ts';
import { readEscrowPayload } from '../agent/mac/profiles.ts';
import { realRunner } from '../agent/mac/run.ts';
import { xmlOf } from '../profiles/build.ts';
import { type Outcome, runProfiles } from '../profiles/command-line.ts';
import type { Inspection } from '../profiles/inspect.ts';
import { pemToDer } from './fake-mac/certificates.ts';
import { FakeMac } from './fake-mac/fake-mac.ts';
import { type Desk, desk, named, ways } from './profile-sets.ts';

/* A Mac gets the profiles that were built, and then somebody or something makes them differ. */

const now = new Date('2026-12-01T00:00:00Z');
let it: Desk;
let mac: FakeMac;
const organisation = { ...ways['SCEP'], teamIdentifier: 'ABCDE12345', portal: 'https://mac.example.org', assignedTo: '{email}', mdm: 'jamf' };
const built = (): string => it.at('built');

const runOn = (...args: string[]): Promise<Outcome> => runProfiles(['inspect', ...args], now, () => mac.runner);
async function inspectMac(...args: string[]): Promise<Inspection & { exit: number }> {
  const { stdout, exit } = await runOn('--built', built(), '--json', ...args);
  return { ...JSON.parse(stdout), exit };
}
const states = ({ profiles }: Inspection): Record<string, string> =>
  Object.fromEntries(profiles.map(({ file, state }) => [file.replace('.mobileconfig', ''), state]));
const differs = ({ profiles }: Inspection): string[] => profiles.flatMap((each) => each.differs);

/** As the MDM sends it: its variables filled in. */
const sent = (name: string): string =>
  readFileSync(join(built(), `${name}.mobileconfig`), 'utf8')
    .replaceAll('$SERIALNUMBER', 'C02FAKE00001')
    .replaceAll('$EMAIL', 'ada@example.org');
const install = (name: string, change: (text: string) => string = (text) => text, as: object = {}): void => mac.installProfile(change(sent(name)), as);
const all = { identity: 'as-built', settings: 'as-built', 'login-items': 'as-built', escrow: 'as-built', 'only-if-needed/privacy': 'not-needed' };

beforeAll(async () => {
  it = desk();
  await runProfiles(['build', '--settings', it.settings(organisation), '--out', built()], now);
});
afterAll(() => it.remove());
beforeEach(() => {
  mac = FakeMac.create({ seed: 'profiles' });
  for (const name of ['identity', 'settings', 'login-items', 'escrow']) install(name);
});
afterEach(() => mac.dispose());

describe('profiles inspect', () => {
  test('a Mac that has what was built, with the variables filled in, has no drift', async () => {
    const found = await inspectMac();
    expect(states(found)).toEqual(all);
    expect(found).toMatchObject({ drift: false, strangers: [], exit: 0 });
    expect(differs(found)).toEqual([]);
    expect((await runOn('--built', built())).stdout).toMatch(/escrow\.mobileconfig: as it was built\n(?:.*\n)*This Mac has what was built\.\n$/);
  });

  test('the very list is the one by which the agent knows its escrow payload', async () => {
    const ours = { certificateDer: pemToDer(it.escrow.certificate) };
    expect(await readEscrowPayload(mac.runner, realDisk(mac.root), ours)).toEqual({
      payload: 'ours',
      location: 'Example IT. Sign in to https://mac.example.org and choose Get recovery key.',
    });
  });

  test('from the settings it says the same as from the folder', async () => {
    const { stdout, exit } = await runOn('--settings', it.settings(organisation), '--json');
    expect(exit).toBe(0);
    expect(states(JSON.parse(stdout))).toEqual(all);
  });

  test('a profile that is not there is missing', async () => {
    mac.removeProfile('org.example.sparekey.login-items');
    const found = await inspectMac();
    expect(states(found)).toEqual({ ...all, 'login-items': 'missing' });
    expect(found).toMatchObject({ drift: true, exit: 77 });
    expect((await runOn('--built', built())).stdout).toMatch(/login-items\.mobileconfig: MISSING/);
  });

  test('an older version is older, and what differs is named by its keys, never by its values', async () => {
    const older = named(it.make({ ...organisation, serverUrl: 'https://old.example.org:8443', agent: { identityIssuer: 'Old CA' } }), 'settings');
    mac.installProfile(xmlOf(older ?? { profile: {} }).replace('$EMAIL', 'ada@example.org'));
    const found = await inspectMac();
    expect(states(found)).toEqual({ ...all, settings: 'older' });
    expect(differs(found)).toEqual(['io.sparekey.agent: serverUrl is another', 'io.sparekey.agent: identityIssuer is another']);
    expect(JSON.stringify(found)).not.toMatch(/old\.example|Old CA/);
  });

  test.each<[string, string, (text: string) => string, string]>([
    ['a value', 'escrow', (text) => text.replace('Get recovery key', 'Get some other key'), 'com.apple.security.FDERecoveryKeyEscrow: Location is another'],
    [
      'a word of a text with a variable',
      'escrow',
      (text) => text.replace(', serial number ', ', number '),
      'com.apple.security.FDERecoveryKeyEscrow: DeviceKey is another',
    ],
    [
      'a boolean',
      'escrow',
      (text) => text.replace('<key>dontAllowFDEDisable</key>\n        <true/>', '<key>dontAllowFDEDisable</key>\n        <false/>'),
      'com.apple.MCX: dontAllowFDEDisable is another',
    ],
    [
      'a key that is gone',
      'escrow',
      (text) => text.replace('<key>ShowRecoveryKey</key>\n        <false/>', ''),
      'com.apple.MCX.FileVault2: ShowRecoveryKey is not there',
    ],
    [
      'a key more',
      'settings',
      (text) => text.replace('<key>serverUrl</key>', '<key>rotator</key><string>mdm</string><key>serverUrl</key>'),
      'io.sparekey.agent: rotator was not built',
    ],
    ['a rule', 'login-items', (text) => text.replace('ABCDE12345', 'ZYXWV98765'), 'com.apple.servicemanagement: Rules is another'],
    [
      'the bytes of the certificate',
      'escrow',
      (text) => text.replace(/<data>[^<]{40}/, `<data>${'A'.repeat(40)}`),
      'com.apple.security.pkcs1: PayloadContent is another',
    ],
  ])('the UUID of the build with other contents is changed by hand: %s', async (_, name, change, difference) => {
    expect(change(sent(name))).not.toBe(sent(name));
    install(name, change);
    const found = await inspectMac();
    expect(states(found)).toEqual({ ...all, [name]: 'changed' });
    expect(differs(found)).toEqual([difference]);
  });

  test('a payload more or less is named', async () => {
    install('escrow', (text) => text.replace('com.apple.MCX.FileVault2', 'com.apple.dock'));
    expect(differs(await inspectMac())).toEqual(['com.apple.MCX.FileVault2: is not there', 'com.apple.dock: was not built']);
  });

  test('under the identifiers of the MDM it is as it was built, and said', async () => {
    mac.removeProfile('org.example.sparekey.escrow');
    const rewritten = (text: string): string => text.replace(/(<key>PayloadUUID<\/key>\s*<string>)[^<]*/g, '$1MDM-OWN');
    install('escrow', rewritten, { identifier: '0F9A-MDM-OWN', uuid: 'MDM-OWN' });
    const found = await inspectMac();
    expect(states(found)).toEqual(all);
    expect(found.profiles.find(({ file }) => file === 'escrow.mobileconfig')?.installedAs).toBe('0F9A-MDM-OWN');
    expect(found.drift).toBe(false);
  });

  test('under the identifiers of the MDM, and with other contents, it is older', async () => {
    mac.removeProfile('org.example.sparekey.escrow');
    install('escrow', (text) => text.replace('Get recovery key', 'Ask for the key'), { identifier: '0F9A-MDM-OWN', uuid: 'MDM-OWN' });
    const found = await inspectMac();
    expect(states(found)).toEqual({ ...all, escrow: 'older' });
    expect(differs(found)).toEqual(['com.apple.security.FDERecoveryKeyEscrow: Location is another']);
  });

  test('a profile of somebody else with payloads of the same type is not taken for ours', async () => {
    mac.removeProfile('org.example.sparekey.login-items');
    install('login-items', (text) => text.replace('Sparekey in Login Items', 'Another agent').replaceAll('io.sparekey.agent', 'com.other'), {
      identifier: 'com.other.items',
      uuid: 'X',
      displayName: 'Another agent',
    });
    const found = await inspectMac();
    expect(states(found)).toEqual({ ...all, 'login-items': 'missing' });
    expect(found.strangers).toEqual([]);
  });

  test.each([
    ['filled in', 'C02FAKE00001 of ada@example.org, Example', 'as-built'],
    ['with another word between them', 'C02FAKE00001 for ada@example.org, Example', 'changed'],
    ['with another end', 'C02FAKE00001 of ada@example.org, Other', 'changed'],
    ['cut off', 'C02FAKE00001 of', 'changed'],
  ])('a text with two variables: %s', async (_, text, state) => {
    const [escrow] = it.make({ ...organisation, deviceKey: '{serialNumber} of {email}, Example' }).filter(({ file }) => file === 'escrow.mobileconfig');
    const file = xmlOf(escrow ?? { profile: {} });
    mkdirSync(it.at('two-variables'), { recursive: true });
    writeFileSync(join(it.at('two-variables'), 'escrow.mobileconfig'), file);
    mac.installProfile(file.replace('$SERIALNUMBER of $EMAIL, Example', text));
    const { stdout } = await runOn('--built', it.at('two-variables'), '--json');
    expect(JSON.parse(stdout).profiles).toMatchObject([{ state }]);
  });

  test('a second escrow payload is named, and whose', async () => {
    mac.installEscrowProfile('foreign', undefined, true);
    const found = await inspectMac();
    expect(states(found)).toEqual(all);
    expect(found).toMatchObject({
      drift: true,
      exit: 77,
      strangers: [
        { identifier: 'com.some-mdm.filevault', organisation: 'Some MDM', is: 'second-escrow', payloads: ['com.apple.security.FDERecoveryKeyEscrow'] },
      ],
    });
    expect((await runOn('--built', built())).stdout).toContain('com.some-mdm.filevault (FileVault and recovery key escrow, Some MDM): A SECOND ESCROW PAYLOAD');
  });

  test('somebody else’s escrow payload in place of ours is foreign, and ours missing', async () => {
    mac.removeProfile('org.example.sparekey.escrow');
    mac.installEscrowProfile('foreign');
    const found = await inspectMac();
    expect(states(found)).toEqual({ ...all, escrow: 'missing' });
    expect(found.strangers.map(({ is }) => is)).toEqual(['foreign-escrow']);
  });

  test('settings of the agent, or FileVault options, that somebody else has sent are foreign; what does not concern us is not named', async () => {
    mac.installSettings({ serverUrl: 'https://elsewhere.example.org' });
    const other = (type: string, key: string): string =>
      xmlOf({
        profile: {
          PayloadType: 'Configuration',
          PayloadIdentifier: `com.other.${key}`,
          PayloadUUID: key,
          PayloadContent: [{ PayloadType: type, PayloadUUID: `${key}1`, [key]: true }],
        },
      });
    mac.installProfile(other('com.apple.MCX', 'dontAllowFDEEnable'));
    mac.installProfile(other('com.apple.MCX', 'EnableGuestAccount'));
    mac.installProfile(other('com.apple.dock', 'autohide'));
    const { strangers } = await inspectMac();
    expect(strangers.map(({ identifier, is }) => [identifier, is])).toEqual([
      ['org.example.settings.io.sparekey.agent', 'foreign'],
      ['com.other.dontAllowFDEEnable', 'foreign'],
    ]);
  });

  test('a profile that one user has in place of the Mac is said', async () => {
    install('settings', undefined, { user: 'ada' });
    expect(states(await inspectMac())).toEqual({ ...all, settings: 'for-a-user' });
    install('settings');
    mac.change((state) => {
      state.profiles.unshift({
        ...(state.profiles.find(({ identifier }) => identifier.endsWith('.settings')) ?? {
          identifier: '',
          uuid: '',
          displayName: '',
          organization: '',
          installedAt: 0,
        }),
        user: 'Ada',
      });
    });
    expect(states(await inspectMac())).toEqual(all);
  });

  test('full disk access that was installed is compared as well', async () => {
    mac.installProfile(readFileSync(join(built(), 'only-if-needed', 'privacy.mobileconfig'), 'utf8'));
    expect(states(await inspectMac())).toEqual({ ...all, 'only-if-needed/privacy': 'as-built' });
  });

  test('of identities that were built for several Macs the one that is there counts', async () => {
    const folder = it.at('two-macs');
    for (const serial of ['C02A0000001', 'C02A0000002']) mkdirSync(join(folder, 'identities', serial), { recursive: true });
    const identity = (serial: string) => ({
      PayloadType: 'Configuration',
      PayloadIdentifier: 'org.example.sparekey.identity',
      PayloadUUID: `UUID-${serial}`,
      PayloadContent: [
        {
          PayloadType: 'com.apple.security.pkcs12',
          PayloadUUID: `P-${serial}`,
          PayloadCertificateFileName: `${serial}.p12`,
          Password: 'x',
          PayloadContent: Buffer.from('x'),
        },
      ],
    });
    for (const serial of ['C02A0000001', 'C02A0000002'])
      writeFileSync(join(folder, 'identities', serial, 'identity.mobileconfig'), xmlOf({ profile: identity(serial) }));
    mac.installProfile(xmlOf({ profile: identity('C02A0000002') }));
    const { stdout } = await runOn('--built', folder, '--json');
    expect(JSON.parse(stdout).profiles).toMatchObject([{ file: 'identities/C02A0000002/identity.mobileconfig', state: 'as-built' }]);
  });

  test('a Mac without any profile lacks all of them', async () => {
    for (const { identifier } of mac.state.profiles) mac.removeProfile(identifier);
    mac.setCommandQuirk('profiles -C -o stdout-xml', 'answer:There are no configuration profiles installed in the system domain\n');
    const found = await inspectMac();
    expect(new Set(Object.values(states(found)))).toEqual(new Set(['missing', 'not-needed']));
  });

  test.each([
    ['garbage', { code: 'MACOS_UNEXPECTED' }],
    ['empty', { code: 'MACOS_UNEXPECTED' }],
    ['fail:1', { code: 'MACOS_UNEXPECTED' }],
    ['hang', { code: 'MACOS_SILENT' }],
    ['missing', { code: 'USAGE', message: expect.stringContaining('sudo profiles -C -o stdout-xml > installed.xml') }],
  ])('where macOS answers with %s it says so', async (quirk, problem) => {
    mac.setCommandQuirk('profiles -C -o stdout-xml', quirk);
    await expect(inspectMac()).rejects.toMatchObject(problem);
  });

  test('without root it says so', async () => {
    const refusing = { run: async () => ({ code: 1, stdout: Buffer.alloc(0), stderr: Buffer.from('profiles: this command requires root privileges\n') }) };
    await expect(
      runProfiles(['inspect', '--built', built()], now, () => ({ ...refusing, start: () => Promise.reject(new Error('nothing is started')) })),
    ).rejects.toMatchObject({
      code: 'NOT_ROOT',
    });
  });

  test('what a Mac printed is looked at elsewhere', async () => {
    const printed = await mac.runner.run({ program: '/usr/bin/profiles', args: ['-C', '-o', 'stdout-xml'] });
    writeFileSync(it.at('installed.xml'), printed.stdout);
    const nowhere = await runProfiles(['inspect', '--built', built(), '--installed', it.at('installed.xml'), '--json'], now, () => {
      throw new Error('no Mac is asked');
    });
    expect(states(JSON.parse(nowhere.stdout))).toEqual(all);
    await expect(runOn('--built', built(), '--installed', it.at('nothing.xml'))).rejects.toThrow(/nothing\.xml cannot be read/);
    await expect(runOn('--built', it.at('nowhere'))).rejects.toThrow(/nowhere cannot be read/);
  });

  test('asks one question, and changes nothing on the Mac', async () => {
    const before = JSON.stringify(mac.state);
    const asked = mac.runner.lines.length;
    await inspectMac();
    expect(mac.runner.lines.slice(asked)).toEqual(['/usr/bin/profiles -C -o stdout-xml']);
    expect(JSON.stringify(mac.state)).toBe(before);
    expect(readdirSync(built()).length).toBeGreaterThan(3);
  });

  test('on a machine without /usr/bin/profiles it says how to ask the Mac', async () => {
    await expect(runProfiles(['inspect', '--built', built(), '--root', it.folder], now, realRunner)).rejects.toMatchObject({ code: 'USAGE' });
  });
});
