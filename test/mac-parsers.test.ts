import { X509Certificate } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, jest, test } from '@jest/globals';
import { realDisk } from '../agent/disk.ts';
import { findIdentities, inOrder, signWithIdentity } from '../agent/mac/keychain-identity.ts';
import { parsePlist, readPlistFile } from '../agent/mac/plist.ts';
import { readEscrowPayload } from '../agent/mac/profiles.ts';
import {
  darkWake,
  excludeFromBackups,
  keepAwake,
  readBoot,
  readComputerName,
  readLanguageAndLayout,
  readMachine,
  readMacos,
  readPower,
  readVolume,
  unlockedBy,
  updateBeingPrepared,
} from '../agent/mac/system.ts';
import { consoleUser, passwordChangedAt, secureToken, secureTokenUsers } from '../agent/mac/users.ts';
import { readSignedStatement } from '../server/signed-statement.ts';
import { type Answer, answering } from './answering-runner.ts';
import { makeDeviceCa, makePair } from './fake-mac/certificates.ts';
import { FakeMac } from './fake-mac/fake-mac.ts';
import { binaryPlist, xmlPlist } from './fake-mac/property-list.ts';
import { scratch } from './scratch.ts';
import { cpuTime } from './waiting.ts';

const escrow = makePair({ subject: { CN: 'Escrow' }, kind: 'escrow' });
const ours = { certificateDer: new X509Certificate(escrow.certificate).raw };
const deviceCa = makeDeviceCa();
const mac = FakeMac.create({ escrowProfile: 'ours', escrowCertificate: escrow.certificate, user: 'ann', deviceCa });
const disk = realDisk(mac.root);
afterAll(() => mac.dispose());

const nothing = realDisk(scratch());

describe('what this Mac is', () => {
  test('as the fake Mac tells it', async () => {
    const { state } = mac;
    expect(await readMachine(mac.runner)).toMatchObject({ serial: state.serial, hardwareUuid: state.hardwareUuid, model: state.model });
    expect(await readMacos(mac.runner)).toEqual(state.macos);
    expect(await readVolume(mac.runner)).toEqual({ id: state.disk.volumeGroup, is: 'volume-group' });
    const before = mac.uptimeSeconds;
    const boot = await readBoot(mac.runner, mac.now);
    expect(boot.boot).toBe(state.boot.session);
    expect(boot.uptimeSeconds).toBeGreaterThan(before - 2);
    expect(boot.uptimeSeconds).toBeLessThan(mac.uptimeSeconds + 2);
  });

  test('a volume without a group is known by its own UUID, and it is said which', async () => {
    const id = '0A81F3B1-51D9-3335-B3E3-169C3640360D';
    expect(await readVolume(answering({ '/usr/sbin/diskutil': { out: xmlPlist({ VolumeUUID: id.toLowerCase() }) } }))).toEqual({ id, is: 'volume' });
  });

  test.each<[string, Answer, string]>([
    ['nothing', { out: '' }, 'MACOS_UNEXPECTED'],
    ['another form', { out: '"IOPlatformUUID" = "not-a-uuid"\n"IOPlatformSerialNumber" = "C02"' }, 'MACOS_UNEXPECTED'],
    ['no answer', { failed: 'timeout' }, 'MACOS_SILENT'],
    ['a crash', { failed: 'signal' }, 'MACOS_UNEXPECTED'],
  ])('what is needed and not told stops the run: ioreg with %s', async (_name, answer, code) => {
    await expect(readMachine(answering({ '/usr/sbin/ioreg': answer }))).rejects.toMatchObject({ code });
  });

  test('garbage in place of version, boot session or volume is no value', async () => {
    await expect(readMacos(answering({ '/usr/bin/sw_vers': { out: 'ProductVersion: 26.1; rm -rf' } }))).rejects.toMatchObject({ code: 'MACOS_UNEXPECTED' });
    await expect(readBoot(answering({ '/usr/sbin/sysctl': { out: 'garbage' } }), 0)).rejects.toMatchObject({ code: 'MACOS_UNEXPECTED' });
    await expect(readVolume(answering({ '/usr/sbin/diskutil': { out: '<plist><dict/></plist>' } }))).rejects.toMatchObject({ code: 'MACOS_UNEXPECTED' });
  });

  test('a clock that went back gives an uptime of 0, never less', async () => {
    expect((await readBoot(mac.runner, 1000)).uptimeSeconds).toBe(0);
  });
});

describe('who unlocked the disk', () => {
  const chosen = (properties: string) =>
    unlockedBy(answering({ '/usr/sbin/ioreg -rd1 -p IODeviceTree -n chosen': { out: `+-o chosen  <class IOService>\n  {\n${properties}  }\n` } }));
  const hex = (text: string) => `    "efilogin-unlock-ident" = <${Buffer.from(`${text}\0`).toString('hex')}>\n`;

  test.each([
    ['the recovery user, as bytes: recovery', hex('EBC6C064-0000-11AA-AA11-00306543ECAC'), 'recovery'],
    ['the recovery user, as text: recovery', '    "efilogin-unlock-ident" = "ebc6c064-0000-11aa-aa11-00306543ecac"\n', 'recovery'],
    ['the recovery user, as text in brackets: recovery', '    "efilogin-unlock-ident" = <"EBC6C064-0000-11AA-AA11-00306543ECAC">\n', 'recovery'],
    ['the flow in which a password is reset: recovery', '    "efilogin-reset-ident" = <00>\n', 'recovery'],
    ['a user: user', hex('FB756838-1111-2222-3333-40FB5E7D5D3F'), 'user'],
    ['the bootstrap token: unknown', hex('2457711A-523C-4604-B75A-F48A571D5036'), 'unknown'],
    ['no such property (Apple silicon): unknown', '', 'unknown'],
    ['garbage: unknown', '    "efilogin-unlock-ident" = <ffffffffffffffffffffffffffffffffffff>\n', 'unknown'],
  ])('%s', async (_name, properties, expected) => {
    expect(await chosen(properties)).toBe(expected);
  });

  test('on the fake Mac, by a user and by the key', async () => {
    expect(mac.boot({ unlock: 'ann' })).toBe(true);
    expect(await unlockedBy(mac.runner)).toBe('user');
    expect(mac.rebootWithRecoveryKey()).toBe(true);
    expect(await unlockedBy(mac.runner)).toBe('recovery');
  });
});

describe('how it stands', () => {
  test('power and dark wake', async () => {
    mac.change((state) => {
      state.power = { source: 'battery', percent: 17 };
      state.darkWake = true;
    });
    expect(await readPower(mac.runner)).toEqual({ source: 'battery', percent: 17 });
    expect(await darkWake(mac.runner)).toBe('yes');
    mac.change((state) => {
      state.power = { source: 'mains', percent: 100 };
      state.darkWake = false;
    });
    expect(await readPower(mac.runner)).toEqual({ source: 'mains', percent: 100 });
    expect(await darkWake(mac.runner)).toBe('no');
  });

  test('a desktop has no battery; a UPS is no mains; anything else is unknown', async () => {
    const power = (out: string) => readPower(answering({ '/usr/bin/pmset -g batt': { out } }));
    expect(await power("Now drawing from 'AC Power'\n")).toEqual({ source: 'mains', percent: null });
    expect(await power("Now drawing from 'UPS Power'\n")).toEqual({ source: 'battery', percent: null });
    expect(await power('what?')).toEqual({ source: 'unknown', percent: null });
    expect(await darkWake(answering({ '/usr/bin/pmset': { out: 'what?' } }))).toBe('unknown');
    expect(await darkWake(answering({}))).toBe('unknown');
  });

  test('an update is being prepared: by a process, by what lies there, or not known', async () => {
    const ps = (line: string) => answering({ '/bin/ps': { out: `    1     0 /sbin/launchd\n  212     0 ${line}\n` } });
    expect(
      await updateBeingPrepared(
        ps('/System/Library/PrivateFrameworks/MobileSoftwareUpdate.framework/XPCServices/com.apple.MobileSoftwareUpdate.UpdateBrainService'),
        nothing,
      ),
    ).toBe('yes');
    expect(await updateBeingPrepared(ps('/Applications/Install macOS.app/Contents/Resources/startosinstall --agreetolicense'), nothing)).toBe('yes');
    expect(await updateBeingPrepared(ps('/usr/libexec/opendirectoryd'), nothing)).toBe('no');
    expect(await updateBeingPrepared(answering({}), nothing)).toBe('unknown');
    const prepared = scratch();
    mkdirSync(join(prepared, '/System/Volumes/Update/Prepared'), { recursive: true });
    expect(await updateBeingPrepared(answering({}), realDisk(prepared))).toBe('yes');
    expect(await updateBeingPrepared(mac.runner, disk)).toBe('no');
  });

  test('language of the system and layout of the login window', async () => {
    mac.change((state) => {
      state.keyboard = 'German';
      state.languages = ['de-DE', 'en-US'];
    });
    expect(await readLanguageAndLayout(mac.runner, disk)).toEqual({ language: 'de-DE', layout: 'German' });
    expect(await readLanguageAndLayout(answering({}), nothing)).toEqual({ language: null, layout: null });
  });

  test('the computer’s name, as its user wrote it; null where it has none or macOS does not say it', async () => {
    const mac = FakeMac.create();
    expect(await readComputerName(mac.runner)).toBe('Ada’s MacBook Pro');
    mac.change((state) => {
      state.computerName = null;
    });
    expect(await readComputerName(mac.runner)).toBeNull();
    expect(await readComputerName(answering({}))).toBeNull();
    const named = (out: string) => readComputerName(answering({ '/usr/sbin/scutil --get ComputerName': { out } }));
    expect(await named(' Mac\u202e of\u0007 Zoë \n')).toBe('Mac of Zoë');
    expect((await named(`${'x'.repeat(400)}\n`))?.length).toBe(256);
  });

  test('sleep is kept away, and what cannot be had is said', async () => {
    expect(await keepAwake(mac.runner)).toBe(true);
    expect(mac.runner.lines.at(-1)).toBe(`/usr/bin/caffeinate -i -s -w ${process.pid}`);
    expect(await excludeFromBackups(mac.runner, '/var/db')).toBe(true);
    expect(await excludeFromBackups(answering({}), '/var/db')).toBe(false);
  });
});

describe('users', () => {
  const stat = (out: string) => consoleUser(answering({ '/usr/bin/stat': { out } }));

  test.each([
    ['ann\n', 'ann'],
    ['_mbsetupuser\n', '_mbsetupuser'],
    ['root\n', null],
    ['loginwindow\n', null],
    ['', null],
    ['--help\n', null],
    ['../x\n', null],
  ])('the console belongs to %j: %s', async (out, expected) => {
    expect(await stat(out)).toBe(expected);
  });

  test('a secure token is told on standard error', async () => {
    const line = '2025-11-28 17:34:30.052 sysadminctl[83979:1762080] Secure token is ENABLED for user ann\n';
    expect(await secureToken(answering({ '/usr/sbin/sysadminctl': { err: line } }), 'ann')).toBe('yes');
    expect(await secureToken(answering({ '/usr/sbin/sysadminctl': { err: line.replace('ENABLED', 'DISABLED') } }), 'ann')).toBe('no');
    expect(await secureToken(answering({ '/usr/sbin/sysadminctl': { err: 'Unknown user ann\n' } }), 'ann')).toBe('unknown');
    const asked = answering({ '/usr/sbin/sysadminctl': { err: line } });
    expect(await secureToken(asked, '-deleteUser')).toBe('unknown');
    expect(asked.asked).toHaveLength(0);
  });

  test('on the fake Mac: how many have one, and when a password was changed', async () => {
    mac.addUser('bob', { secureToken: false });
    mac.addUser('hidden', { secureToken: true });
    expect(await secureTokenUsers(mac.runner)).toBe(2);
    const changed = mac.state.users.find(({ name }) => name === 'ann')?.passwordChangedAt ?? 0;
    expect(Math.abs(((await passwordChangedAt(mac.runner, 'ann')) ?? 0) - changed)).toBeLessThan(1000);
    expect(await passwordChangedAt(mac.runner, 'nobody-of-that-name')).toBeNull();
    mac.change((state) => {
      state.quirks.commands['sysadminctl -secureTokenStatus bob'] = 'garbage';
    });
    expect(await secureTokenUsers(mac.runner)).toBeNull();
    expect(await secureTokenUsers(answering({}))).toBeNull();
  });
});

describe('the escrow payload', () => {
  const clean = FakeMac.create({ escrowProfile: 'none', escrowCertificate: escrow.certificate });
  afterAll(() => clean.dispose());
  const look = () => readEscrowPayload(clean.runner, realDisk(clean.root), ours);

  test('none, ours, foreign, several', async () => {
    expect(await look()).toEqual({ payload: 'none', location: null });
    clean.installEscrowProfile('ours', escrow.certificate);
    expect(await look()).toMatchObject({ payload: 'ours', location: expect.stringMatching(/./) });
    expect(await readEscrowPayload(clean.runner, realDisk(clean.root), null)).toMatchObject({ payload: 'unknown' });
    clean.installEscrowProfile('foreign', undefined, true);
    expect(await look()).toMatchObject({ payload: 'several' });
    clean.installEscrowProfile('foreign');
    expect(await look()).toMatchObject({ payload: 'foreign' });
  });

  const list = (items: Parameters<typeof xmlPlist>[0]) => xmlPlist({ _computerlevel: [{ ProfileItems: items }] });
  const payload = { PayloadType: 'com.apple.security.FDERecoveryKeyEscrow', PayloadContent: { EncryptCertPayloadUUID: 'aaaa', Location: 'Example IT' } };
  const certificate = { PayloadType: 'com.apple.security.pkcs1', PayloadUUID: 'AAAA' };

  test.each([
    ['the certificate as data: ours', list([payload, { ...certificate, PayloadContent: ours.certificateDer }]), 'ours'],
    ['the certificate in a dictionary: ours', list([payload, { ...certificate, PayloadContent: { PayloadContent: ours.certificateDer } }]), 'ours'],
    ['another certificate: foreign', list([payload, { ...certificate, PayloadContent: Buffer.from('another') }]), 'foreign'],
    ['the certificate of another payload: unknown', list([payload, { ...certificate, PayloadUUID: 'BBBB', PayloadContent: ours.certificateDer }]), 'unknown'],
    ['no certificate shown: unknown', list([payload, certificate]), 'unknown'],
    [
      'settings flat in the payload: ours',
      list([
        { PayloadType: payload.PayloadType, ...payload.PayloadContent },
        { ...certificate, PayloadContent: ours.certificateDer },
      ]),
      'ours',
    ],
    ['two of them: several', list([payload, payload]), 'several'],
    ['other payloads only: none', list([certificate]), 'none'],
    ['no profiles: none', 'There are no configuration profiles installed in the system domain\n', 'none'],
    ['garbage: unknown', 'garbage', 'unknown'],
    ['a list in place of everything: unknown', xmlPlist(['x']), 'unknown'],
  ])('%s', async (_name, out, expected) => {
    expect((await readEscrowPayload(answering({ '/usr/bin/profiles': { out } }), nothing, ours)).payload).toBe(expected);
  });

  test('without a list nothing is known; the managed preference gives the place as a hint', async () => {
    const root = scratch();
    const file = join(root, '/Library/Managed Preferences/com.apple.security.FDERecoveryKeyEscrow.plist');
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, '');
    const plutil = { '/usr/bin/plutil': { out: xmlPlist({ Location: 'Example IT' }) } };
    expect(await readEscrowPayload(answering({ ...plutil, '/usr/bin/profiles': { code: 1, err: 'requires root privileges' } }), realDisk(root), ours)).toEqual({
      payload: 'unknown',
      location: 'Example IT',
    });
    // The list says none and the preference says otherwise: they disagree.
    expect(await readEscrowPayload(answering({ ...plutil, '/usr/bin/profiles': { out: list([]) } }), realDisk(root), ours)).toEqual({
      payload: 'unknown',
      location: 'Example IT',
    });
    expect(await readEscrowPayload(answering({ '/usr/bin/profiles': { failed: 'timeout' } }), nothing, ours)).toEqual({ payload: 'unknown', location: null });
  });
});

describe('property lists', () => {
  test('binary ones by plutil, whatever they hold', async () => {
    const file = join(mac.root, '/Library/Preferences/example.plist');
    writeFileSync(file, binaryPlist({ text: 'a & b', number: 7, list: [true, { data: 'AAEC' }] }));
    expect(await readPlistFile(mac.runner, '/Library/Preferences/example.plist')).toEqual({
      text: 'a & b',
      number: 7,
      list: [true, new Uint8Array([0, 1, 2])],
    });
    expect(await readPlistFile(mac.runner, '/Library/Preferences/missing.plist')).toBeNull();
    expect(await readPlistFile(answering({ '/usr/bin/plutil': { failed: 'timeout' } }), '/x')).toBeNull();
  });

  const bomb = `<?xml version="1.0"?><!DOCTYPE plist [<!ENTITY a "xxxxxxxxxx">${Array.from({ length: 20 }, (_, at) => `<!ENTITY a${at} "&a;&a;&a;&a;&a;">`).join('')}]><plist><string>&a;</string></plist>`;
  test.each([
    ['a billion laughs', bomb],
    [
      'an external entity',
      '<?xml version="1.0"?><!DOCTYPE plist SYSTEM "file:///etc/passwd" [<!ENTITY x SYSTEM "file:///etc/passwd">]><plist><string>&x;</string></plist>',
    ],
    ['an entity of nobody', '<plist><string>&x;</string></plist>'],
    ['a tower of 100,000 lists', `<plist>${'<array>'.repeat(100_000)}${'</array>'.repeat(100_000)}</plist>`],
    ['tags that are not closed', '<plist><dict>'],
    ['tags that are closed twice', '<plist></dict></plist>'],
    ['a prototype', '<plist><dict><key>__proto__</key><dict><key>a</key><true/></dict></dict></plist>'],
    ['keys without values', '<plist><dict><key>a</key><key>b</key></dict></plist>'],
    ['9 MiB', `<plist><string>${'x'.repeat(9 * 1024 * 1024)}</string></plist>`],
    ['the old text form', '{ a = b; }'],
    ['nothing', ''],
    ['garbage', '\u0000\u0001\u0002'],
  ])('%s is none, quickly and without a word on the screen', async (_name, text) => {
    const said = [jest.spyOn(console, 'error'), jest.spyOn(console, 'warn'), jest.spyOn(console, 'log')];
    const began = cpuTime();
    expect(await parsePlist(text)).toBeNull();
    expect(cpuTime() - began).toBeLessThan(1000);
    for (const each of said) expect(each).not.toHaveBeenCalled();
    expect(({} as Record<string, unknown>)['a']).toBeUndefined();
  });

  test('an ordinary one is read: text, numbers, dates, data, XML’s own entities', async () => {
    const text =
      '\uFEFF<?xml version="1.0" encoding="UTF-8"?>\n<plist version="1.0"><dict><key>a</key><string>&lt;&#65;&amp;</string><key>b</key><integer>5</integer><key>c</key><data>\n\tAAEC\n</data><key>d</key><date>2026-11-22T00:00:00Z</date><key>e</key><array/></dict></plist>\n';
    expect(await parsePlist(text)).toEqual({ a: '<A&', b: 5, c: new Uint8Array([0, 1, 2]), d: new Date('2026-11-22T00:00:00Z'), e: [] });
  });
});

describe('the identity in the System keychain', () => {
  const statement = 'sparekey enrolment 1\nserver: https://keys.example.org\n';
  const security = (answers: Record<string, Answer>) =>
    answering(Object.fromEntries(Object.entries(answers).map(([name, answer]) => [`/usr/bin/security ${name}`, answer])));

  test('is found by issuer or by subject, though macOS does not trust its CA', async () => {
    const [found] = await findIdentities(mac.runner, { issuer: 'Example Device CA' });
    expect(found?.certificate.issuer).toContain('Example Device CA');
    expect(await findIdentities(mac.runner, { subject: mac.state.serial })).toHaveLength(1);
    expect(await findIdentities(mac.runner, { issuer: 'Example Device' })).toHaveLength(1);
    expect(await findIdentities(mac.runner, { issuer: 'Another CA' })).toHaveLength(0);
    expect(mac.runner.lines.filter((line) => line.includes('find-identity')).every((line) => !/ -v( |$)/.test(line))).toBe(true);
  });

  test('signs a statement as CMS that the backend reads', async () => {
    const [identity] = await findIdentities(mac.runner, { issuer: 'Example Device CA' });
    if (!identity) throw new Error('not found');
    const signed = readSignedStatement(await signWithIdentity(mac.runner, identity, statement));
    expect(signed.content.toString()).toBe(statement);
    expect(signed.signer.equals(identity.certificate.raw)).toBe(true);
    expect(signed.digest).toBe('sha256');
  });

  test('two of one name after a renewal: the valid one, the newest first, or the one whose key is known', async () => {
    const now = Date.now();
    const hour = 3_600_000;
    const make = (notBefore: number, days: number) => makePair({ subject: { CN: 'same' }, kind: 'device', keyType: 'ec', notBefore, days, issuer: deviceCa });
    const [expired, older, newer, future] = [make(now - 48 * hour, 1), make(now - 24 * hour, 10), make(now - hour, 10), make(now + hour, 10)];
    const all = [expired, older, newer, future];
    const hash = (pem: string) => new X509Certificate(pem).fingerprint.replaceAll(':', '');
    const runner = security({
      'find-identity': {
        out: `Matching identities\n${all.map(({ certificate }, at) => `  ${at + 1}) ${hash(certificate)} "same" (CSSMERR_TP_NOT_TRUSTED)\n`).join('')}     4 identities found\n`,
      },
      'find-certificate': { out: [...all, ...all].map(({ certificate }) => `SHA-1 hash: 00\n${certificate}`).join('') },
    });
    const found = await findIdentities(runner, { subject: 'same' });
    expect(found).toHaveLength(4);
    const pem = (identities: typeof found) => identities.map(({ certificate }) => hash(certificate.toString()));
    expect(pem(inOrder(found, now))).toEqual([newer, older].map(({ certificate }) => hash(certificate)));
    const known = found.find(({ certificate }) => hash(certificate.toString()) === hash(older.certificate))?.publicKeyDigest ?? '';
    expect(pem(inOrder(found, now, known))).toEqual([older, newer].map(({ certificate }) => hash(certificate)));
    expect(new Set(found.map(({ subjectKeyId }) => subjectKeyId)).size).toBe(4);
  });

  test('a certificate without a private key is no identity', async () => {
    const runner = security({ 'find-identity': { out: '     0 identities found\n' }, 'find-certificate': { out: deviceCa.certificate } });
    expect(await findIdentities(runner, {})).toEqual([]);
  });

  test.each<[string, Answer, string, string]>([
    [
      'an ACL without security',
      { code: 36, err: 'security: failed to add signer information: User interaction is not allowed.\n' },
      'IDENTITY_NOT_USABLE',
      'AllowAllAppsAccess = true',
    ],
    ['the number in words', { code: 1, err: 'error -25308\n' }, 'IDENTITY_NOT_USABLE', 'AllowAllAppsAccess = true'],
    ['a dialog that nobody sees', { failed: 'timeout' }, 'IDENTITY_NOT_USABLE', 'AllowAllAppsAccess = true'],
    ['dark wake', { code: 24, err: 'security: failed to add signer information: In dark wake, no UI possible\n' }, 'KEYCHAIN_LOCKED', 'dark wake'],
    ['no private key', { code: 1, err: 'security: could not find signing identity for subjectKeyID: "00"\n' }, 'IDENTITY_MISSING', 'private key'],
    ['two with one key', { code: 1, err: 'security: "00" is ambiguous, matches more than one certificate\n' }, 'IDENTITY_NOT_USABLE', 'two identities'],
    ['no keychain', { code: 50, err: 'security: SecKeychainOpen: The specified keychain could not be found.\n' }, 'KEYCHAIN_LOCKED', 'exit 50'],
    ['a crash', { failed: 'signal' }, 'IDENTITY_NOT_USABLE', 'signal'],
    ['success with nothing written', { out: '' }, 'IDENTITY_NOT_USABLE', 'no signature'],
    ['success with garbage', { out: 'garbage' }, 'IDENTITY_NOT_USABLE', 'no signature'],
  ])('%s has its own problem', async (_name, answer, code, words) => {
    const [identity] = await findIdentities(mac.runner, { issuer: 'Example Device CA' });
    if (!identity) throw new Error('not found');
    const runner = security({ 'cms -S': answer });
    await expect(signWithIdentity(runner, identity, statement)).rejects.toMatchObject({ code, detail: expect.stringContaining(words) });
    expect(runner.asked[0]?.timeoutSeconds).toBe(10);
  });

  test('a keychain that cannot be looked into is not one without identities', async () => {
    await expect(findIdentities(security({ 'find-identity': { code: 51 }, 'find-certificate': { out: '' } }), {})).rejects.toMatchObject({
      code: 'KEYCHAIN_LOCKED',
    });
    await expect(findIdentities(security({ 'find-identity': { failed: 'timeout' }, 'find-certificate': { out: '' } }), {})).rejects.toMatchObject({
      code: 'IDENTITY_NOT_USABLE',
    });
  });
});
