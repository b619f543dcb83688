import { createPrivateKey, createPublicKey, generateKeyPairSync, verify, X509Certificate } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { realDisk } from '../agent/disk.ts';
import { type EnrolOptions, enrol, type JournalIdentity, loadIdentity, presentProfileDigest, renewalDue, wayOf } from '../agent/identity.ts';
import { forgetOtherKeys } from '../agent/identity-keys.ts';
import { paths } from '../agent/paths.ts';
import { readPkcs12 } from '../agent/pkcs12.ts';
import { type Keychain, openSecrets } from '../agent/secrets.ts';
import { openServer, type Server } from '../agent/server.ts';
import type { Settings } from '../agent/settings.ts';
import { settingsTable } from '../agent/settings-table.ts';
import { readTicket } from '../protocol/enrolment.ts';
import { Problem } from '../protocol/problems.ts';
import { issueClientCertificate, pem } from '../server/certificates.ts';
import { FakeMac } from './fake-mac/fake-mac.ts';
import { checkInBody, deviceCa, deviceIdentity, type GivenServer, givenServer, newMac, newUuid } from './given-server.ts';
import { openssl, testWithOpenssl } from './openssl.ts';
import { scratch } from './scratch.ts';

const now = Date.now();
const day = 86_400_000;
const initial = Object.fromEntries(Object.entries(settingsTable).map(([name, setting]) => [name, setting.initial]));
const settingsOf = (more: Partial<Settings>): Settings => ({ ...initial, serverUrl: 'https://keys.example.org', ...more }) as Settings;

function keychain(broken: Partial<Keychain> = {}) {
  const items = new Map<string, string>();
  const keytar: Keychain = {
    getPassword: async (_service, name) => items.get(name) ?? null,
    setPassword: async (_service, name, password) => void items.set(name, password),
    deletePassword: async (_service, name) => items.delete(name),
    findCredentials: async () => [...items].map(([account, password]) => ({ account, password })),
    ...broken,
  };
  return { items, secrets: openSecrets(async () => keytar, 0.2) };
}
const fails = async (): Promise<never> => {
  throw new Error('locked');
};
const lockedKeychain = () => keychain({ getPassword: fails, setPassword: fails, deletePassword: fails, findCredentials: fails });

const openServers: Server[] = [];
const macs: FakeMac[] = [];
const newFakeMac = (options: Parameters<typeof FakeMac.create>[0] = {}): FakeMac => {
  const mac = FakeMac.create(options);
  macs.push(mac);
  return mac;
};
afterAll(() => {
  for (const server of openServers) server.close();
  for (const mac of macs) mac.dispose();
});

/** A Mac that can enrol with a backend that runs. */
function givenMac(backend: GivenServer, more: Partial<Settings>, { mac = newFakeMac({ deviceCa: fakeDeviceCa }), store = keychain() } = {}) {
  const disk = realDisk(mac.root);
  disk.makeFolder(paths.state, 0o700);
  const settings = settingsOf({ serverUrl: backend.url, trustedCertificates: [backend.ca], ...more });
  const connect = (identity: Parameters<typeof openServer>[0]['identity']) => {
    const server = openServer({ settings, identity, runner: mac.runner });
    openServers.push(server);
    return server;
  };
  const machine = { serial: mac.state.serial, hardwareUuid: mac.state.hardwareUuid };
  const options: EnrolOptions = {
    settings,
    runner: mac.runner,
    disk,
    secrets: store.secrets,
    server: connect(null),
    machine,
    continues: null,
    present: null,
    now,
  };
  const test = { ...newMac(), ...machine };
  return {
    mac,
    disk,
    settings,
    store,
    options,
    connect,
    load: (journalIdentity: JournalIdentity | null, hardwareUuid = machine.hardwareUuid) =>
      loadIdentity({ settings, disk, secrets: store.secrets, journalIdentity, hardwareUuid }),
    body: checkInBody(test),
  };
}
const fakeDeviceCa = { certificate: pem('CERTIFICATE', deviceCa.certificateDer), key: deviceCa.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString() };
const accounts = (store: ReturnType<typeof keychain>) => [...store.items.keys()].map((name) => name.replace(/[0-9A-F-]{36}/, 'UUID')).sort();

describe('by the profile’s identity', () => {
  let backend: GivenServer;
  beforeAll(async () => {
    backend = await givenServer({ rates: { enroll: { perMinute: 6000, burst: 1000 }, nonce: { perMinute: 6000, burst: 1000 } } });
  });
  const byProfile = { identityIssuer: 'Device CA' };

  test('a Mac enrols with a key of its own; the certificate it gets checks in', async () => {
    const mac = givenMac(backend, byProfile);
    const { journal, identity, reply } = await enrol(mac.options);
    expect(journal).toMatchObject({
      way: 'profile',
      enrolmentId: reply.enrolmentId,
      keyFile: null,
      hardwareUuid: mac.mac.state.hardwareUuid,
      enrolledAt: new Date(now).toISOString(),
    });
    expect(accounts(mac.store)).toEqual(['identity:UUID:1']);
    expect(JSON.stringify(journal)).not.toContain('PRIVATE KEY');
    expect(identity.notAfter.getTime()).toBeGreaterThan(now + 399 * day);
    expect(await mac.connect(identity).checkIn(mac.body)).toMatchObject({ custody: 'none' });
    expect(journal.profileCertificateDigest).toBe(await presentProfileDigest(mac.mac.runner, mac.settings, now));
    // The next run finds it again.
    const loaded = await mac.load(journal);
    expect(loaded?.enrolmentId).toBe(journal.enrolmentId);
    expect(
      verify('sha256', Buffer.from('text'), new X509Certificate(journal.certificatePem).publicKey, Buffer.from(loaded?.sign('text') ?? '', 'base64')),
    ).toBe(true);
  });

  test('renewal: a new key goes on with the enrolment, is used, and only then is the old one forgotten', async () => {
    const mac = givenMac(backend, byProfile);
    const first = await enrol(mac.options);
    await mac.connect(first.identity).checkIn(mac.body);
    const second = await enrol({ ...mac.options, present: first.journal, continues: { enrolmentId: first.journal.enrolmentId, identity: first.identity } });
    expect(second.journal.enrolmentId).toBe(first.journal.enrolmentId);
    expect(accounts(mac.store)).toEqual(['identity:UUID:1', 'identity:UUID:2']);
    // Until the new one was used, the old one works: the agent may die here.
    await mac.connect(first.identity).checkIn(mac.body);
    await mac.connect(second.identity).checkIn(mac.body);
    await expect(mac.connect(first.identity).checkIn(mac.body)).rejects.toMatchObject({ code: 'CERTIFICATE_REPLACED' });
    await forgetOtherKeys(mac.disk, mac.store.secrets, mac.mac.state.hardwareUuid, second.journal);
    expect(accounts(mac.store)).toEqual(['identity:UUID:2']);
    expect((await mac.load(second.journal))?.enrolmentId).toBe(first.journal.enrolmentId);
  });

  test('an agent that died between the new key and the journal takes that key up again: the same enrolment', async () => {
    const mac = givenMac(backend, byProfile);
    const lost = await enrol(mac.options);
    const again = await enrol(mac.options);
    expect(again.journal.enrolmentId).toBe(lost.journal.enrolmentId);
    expect(again.journal.keyAccount).toBe(lost.journal.keyAccount);
    expect(mac.store.items.size).toBe(1);
  });

  test('an item that is no key does not stop it', async () => {
    const mac = givenMac(backend, byProfile);
    mac.store.items.set(`identity:${mac.mac.state.hardwareUuid}:4`, 'garbage');
    const { journal } = await enrol(mac.options);
    expect(journal.keyAccount).toBe(`identity:${mac.mac.state.hardwareUuid}:5`);
  });

  test('where the keychain fails, the key is a file of root’s alone', async () => {
    const mac = givenMac(backend, byProfile, { store: lockedKeychain() });
    const { journal } = await enrol(mac.options);
    expect(journal).toMatchObject({ keyAccount: null, keyFile: `${paths.state}/identity-${mac.mac.state.hardwareUuid}-1.key` });
    expect(mac.disk.facts(journal.keyFile ?? '')).toMatchObject({ mode: 0o600 });
    expect((await mac.load(journal))?.enrolmentId).toBe(journal.enrolmentId);
    const second = await enrol({ ...mac.options, present: journal });
    expect(second.journal.keyFile).toMatch(/-2\.key$/);
    await forgetOtherKeys(mac.disk, mac.store.secrets, mac.mac.state.hardwareUuid, second.journal);
    expect(existsSync(join(mac.mac.root, journal.keyFile ?? ''))).toBe(false);
    expect(existsSync(join(mac.mac.root, second.journal.keyFile ?? ''))).toBe(true);
  });

  test('a nonce that was spent by a lost answer is asked for anew, once', async () => {
    const mac = givenMac(backend, byProfile);
    let asked = 0;
    const server: EnrolOptions['server'] = {
      nonce: () => mac.options.server.nonce(),
      enrol: async (request) => {
        asked += 1;
        if (asked === 1) {
          await mac.options.server.enrol(request);
          return mac.options.server.enrol(request);
        }
        return mac.options.server.enrol(request);
      },
    };
    const { journal } = await enrol({ ...mac.options, server });
    expect(journal.enrolmentId).toMatch(/./);
    expect(asked).toBeLessThanOrEqual(2);
  });

  test.each<['denied' | 'asks', string]>([
    ['denied', 'macOS does not let it use the private key'],
    ['asks', 'as when macOS waits for a dialog'],
  ])('a key whose access is “%s” is found out by signing, with the switch that mends it', async (access, words) => {
    const mac = givenMac(backend, byProfile, { mac: newFakeMac() });
    mac.mac.installIdentity(fakeDeviceCa, access);
    const problem = await enrol(mac.options).catch((error: unknown) => error as Problem);
    expect(problem).toMatchObject({ code: 'IDENTITY_NOT_USABLE', detail: expect.stringContaining(words) });
    expect((problem as Problem).detail).toContain('AllowAllAppsAccess = true');
  });

  test('of two identities the one that signs is taken', async () => {
    const mac = givenMac(backend, byProfile);
    mac.mac.installIdentity(fakeDeviceCa, 'denied');
    expect((await enrol(mac.options)).journal.way).toBe('profile');
  });

  test('no identity in the keychain is said with what was looked for', async () => {
    const mac = givenMac(backend, { identityIssuer: 'Another CA', identitySubject: 'C02' });
    await expect(enrol(mac.options)).rejects.toMatchObject({
      code: 'IDENTITY_MISSING',
      detail: 'none in the System keychain with issuer “Another CA”, subject “C02”',
    });
  });

  test('an identity of a CA that the backend does not know is refused there', async () => {
    const mac = givenMac(await givenServer({ deviceCas: false }), byProfile);
    await expect(enrol(mac.options)).rejects.toMatchObject({ code: 'PROOF_REFUSED' });
  });
});

describe('by an enrolment ticket', () => {
  test('the ticket itself is never sent', async () => {
    const backend = await givenServer({ deviceCas: false });
    const fake = newFakeMac();
    const { ticket } = await backend.serving.backend.tickets.make({ serials: [fake.state.serial], days: 7, actor: 'ada' });
    const read = readTicket(ticket);
    if (!read) throw new Error('no ticket');
    const mac = givenMac(backend, { enrolmentTicket: read }, { mac: fake });
    const sent: string[] = [];
    const server: EnrolOptions['server'] = {
      nonce: () => mac.options.server.nonce(),
      enrol: (request) => {
        sent.push(JSON.stringify(request));
        return mac.options.server.enrol(request);
      },
    };
    const { journal, identity } = await enrol({ ...mac.options, server });
    expect(journal).toMatchObject({ way: 'ticket', profileCertificateDigest: null });
    expect(sent.join('')).not.toContain(ticket.split('.')[1]);
    expect(sent.join('')).not.toContain(read.secret.toString('base64').slice(0, 20));
    expect((await mac.connect(identity).checkIn({ ...mac.body, facts: { ...mac.body.facts, identityWay: 'ticket' } })).custody).toBe('none');
  });
});

describe('an identity that is there', () => {
  const journalOf = (more: Partial<JournalIdentity> = {}): { journal: JournalIdentity; keyPem: string } => {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const certificate = issueClientCertificate({
      ca: deviceCa.certificateDer,
      caKey: deviceCa.privateKey,
      publicKeyDer: pair.publicKey.export({ format: 'der', type: 'spki' }),
      commonName: 'e1',
      at: new Date(now),
      days: 300,
    });
    const journal: JournalIdentity = {
      enrolmentId: 'e1',
      way: 'profile',
      certificatePem: pem('CERTIFICATE', certificate),
      keyAccount: 'identity:X:1',
      keyFile: null,
      notAfter: new Date(now + 300 * day).toISOString(),
      enrolledAt: new Date(now).toISOString(),
      hardwareUuid: 'X',
      profileCertificateDigest: 'd1',
      ...more,
    };
    return { journal, keyPem: pair.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString() };
  };
  const load = (store: ReturnType<typeof keychain>, journalIdentity: JournalIdentity, hardwareUuid = 'X') => {
    const disk = realDisk(scratch());
    return loadIdentity({ settings: settingsOf({ identityIssuer: 'CA' }), disk, secrets: store.secrets, journalIdentity, hardwareUuid });
  };

  test('of other hardware is not used (Migration Assistant)', async () => {
    await expect(load(keychain(), journalOf().journal, newUuid())).rejects.toMatchObject({ code: 'MOVED_FROM_OTHER_MAC' });
  });

  test('whose key is gone, or is another, is none: the Mac enrols', async () => {
    const { journal, keyPem } = journalOf();
    const store = keychain();
    expect(await load(store, journal)).toBeNull();
    store.items.set('identity:X:1', journalOf().keyPem);
    expect(await load(store, journal)).toBeNull();
    store.items.set('identity:X:1', 'garbage');
    expect(await load(store, journal)).toBeNull();
    store.items.set('identity:X:1', keyPem);
    expect(await load(store, journal)).toMatchObject({ way: 'profile', enrolmentId: 'e1' });
  });

  test('whose key cannot be read is not given up: a locked keychain is no reason to enrol', async () => {
    await expect(load(lockedKeychain(), journalOf().journal)).rejects.toMatchObject({ code: 'KEYCHAIN_LOCKED' });
  });

  test('is renewed at 2/3 of its lifetime, when it has expired, and when the profile’s certificate is another', async () => {
    const { journal, keyPem } = journalOf();
    const store = keychain();
    store.items.set('identity:X:1', keyPem);
    const identity = await load(store, journal);
    if (!identity) throw new Error('none');
    expect(renewalDue(identity, journal, now + 199 * day)).toBe(false);
    expect(renewalDue(identity, journal, now + 201 * day)).toBe(true);
    expect(renewalDue(identity, journal, now + 400 * day)).toBe(true);
    expect(renewalDue(identity, journal, now, 'd1')).toBe(false);
    expect(renewalDue(identity, journal, now, 'd2')).toBe(true);
    expect(renewalDue(identity, journal, now, null)).toBe(false);
    expect(renewalDue(identity, { ...journal, way: 'ticket' }, now, 'd2')).toBe(false);
  });

  test('the settings say which way: files, then profile, then ticket, or none', () => {
    const ticket = { id: 't', secret: Buffer.alloc(32) };
    expect(wayOf(settingsOf({ identityPkcs12File: '/a', identityIssuer: 'b', enrolmentTicket: ticket }))).toBe('files');
    expect(wayOf(settingsOf({ identitySubject: 'b', enrolmentTicket: ticket }))).toBe('profile');
    expect(wayOf(settingsOf({ enrolmentTicket: ticket }))).toBe('ticket');
    expect(wayOf(settingsOf({}))).toBeNull();
  });
});

describe('by files', () => {
  const device = deviceIdentity({ CN: 'C02FILES' });
  const files = { identityCertificateFile: '/id/c.pem', identityKeyFile: '/id/k.pem' };
  function given(content: Record<string, string | Buffer>, mode = 0o600) {
    const root = scratch('files');
    for (const [path, bytes] of Object.entries(content)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), bytes, { mode });
    }
    return (more: Partial<Settings>) =>
      loadIdentity({ settings: settingsOf(more), disk: realDisk(root), secrets: keychain().secrets, journalIdentity: null, hardwareUuid: 'X' });
  }

  test('PEM: certificate and key', async () => {
    const identity = await given({ '/id/c.pem': device.cert, '/id/k.pem': device.key })(files);
    expect(identity).toMatchObject({ way: 'files', enrolmentId: null, certificatePem: device.cert });
    expect(verify('sha256', Buffer.from('x'), createPublicKey(device.key), Buffer.from(identity?.sign('x') ?? '', 'base64'))).toBe(true);
  });

  test.each<[string, Record<string, string | Buffer>, Partial<Settings>, string]>([
    ['a missing file', { '/id/c.pem': device.cert }, files, '/id/k.pem is not there'],
    ['another key', { '/id/c.pem': device.cert, '/id/k.pem': deviceIdentity({ CN: 'other' }).key }, files, 'the private key is not that of the certificate'],
    ['garbage', { '/id/c.pem': 'garbage', '/id/k.pem': device.key }, files, 'not what it should be'],
    ['a huge file', { '/id/c.pem': Buffer.alloc(1024 * 1024), '/id/k.pem': device.key }, files, '/id/c.pem cannot be read (EFBIG)'],
    ['half a pair', {}, { identityCertificateFile: '/id/c.pem' }, 'belong together'],
    ['PKCS #12 that is none', { '/id/x.p12': 'garbage' }, { identityPkcs12File: '/id/x.p12' }, 'it is not PKCS #12'],
    ['an empty PKCS #12', { '/id/x.p12': '' }, { identityPkcs12File: '/id/x.p12' }, 'it is not PKCS #12'],
  ])('%s is named', async (_name, content, more, words) => {
    await expect(given(content)(more)).rejects.toMatchObject({ code: 'IDENTITY_FILE_INVALID', detail: expect.stringContaining(words) });
  });

  test('a private key that others can read is refused', async () => {
    await expect(given({ '/id/c.pem': device.cert, '/id/k.pem': device.key }, 0o644)(files)).rejects.toMatchObject({
      code: 'IDENTITY_FILE_INVALID',
      detail: expect.stringContaining('600'),
    });
  });

  const rsa = deviceIdentity({ CN: 'C02RSA' }, { pair: generateKeyPairSync('rsa', { modulusLength: 2048 }) });
  const makeP12 = (identity: typeof device, options: string[], password = 'pä ss') =>
    openssl(['pkcs12', '-export', '-in', 'c.pem', '-inkey', 'k.pem', '-certfile', 'ca.pem', '-passout', 'file:pw', ...options], {
      'c.pem': identity.cert,
      'k.pem': identity.key,
      'ca.pem': fakeDeviceCa.certificate,
      pw: password,
    });

  testWithOpenssl('PKCS #12 as OpenSSL writes it today and as it did ten years ago, with RSA and P-256', async () => {
    for (const identity of [device, rsa]) {
      for (const options of [
        [],
        ['-certpbe', 'AES-128-CBC', '-keypbe', 'AES-128-CBC', '-macalg', 'sha512'],
        ['-certpbe', 'PBE-SHA1-3DES', '-keypbe', 'PBE-SHA1-3DES', '-macalg', 'sha1'],
        ['-certpbe', 'NONE'],
      ]) {
        const found = readPkcs12(makeP12(identity, options, 'secret'), 'secret');
        expect(found.privateKey.equals(createPrivateKey(identity.key))).toBe(true);
        expect(found.certificatePem.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
        expect(new X509Certificate(found.certificatePem).raw.equals(identity.der)).toBe(true);
      }
    }
  });

  testWithOpenssl('PKCS #12 with its password in a file, and each thing that can be wrong with it', async () => {
    const p12 = makeP12(device, [], 'secret');
    const settings = { identityPkcs12File: '/id/x.p12', identityPkcs12PasswordFile: '/id/pw' };
    expect(await given({ '/id/x.p12': p12, '/id/pw': 'secret\nand a note\n' })(settings)).toMatchObject({ way: 'files' });
    const wrong = async (content: Buffer, password: string) => {
      const problem = await given({ '/id/x.p12': content, '/id/pw': password })(settings).catch((error: unknown) => error as Problem);
      expect(problem).toBeInstanceOf(Problem);
      expect((problem as Problem).code).toBe('IDENTITY_FILE_INVALID');
      expect((problem as Problem).detail).not.toContain(password);
      return (problem as Problem).detail ?? '';
    };
    expect(await wrong(p12, 'another-one')).toMatch(/its password is another|not what it should be|not PKCS #12/);
    for (let length = 0; length < p12.length; length += 97) await wrong(p12.subarray(0, length), 'secret');
    expect(await wrong(Buffer.alloc(130 * 1024, 0x30), 'secret')).toMatch(/EFBIG|too large|PKCS #12/);
    expect(await wrong(makeP12(device, ['-nokeys'], 'secret'), 'secret')).toContain('no private key');
    expect(await wrong(makeP12(device, ['-nocerts'], 'secret'), 'secret')).toContain('no certificate of its private key');
  });

  test('a file that the group can read stays refused after it was once accepted', async () => {
    const root = scratch('files');
    mkdirSync(join(root, '/id'));
    for (const [name, text] of [
      ['c.pem', device.cert],
      ['k.pem', device.key],
    ] as const)
      writeFileSync(join(root, '/id', name), text, { mode: 0o600 });
    const load = () =>
      loadIdentity({ settings: settingsOf(files), disk: realDisk(root), secrets: keychain().secrets, journalIdentity: null, hardwareUuid: 'X' });
    expect((await load())?.way).toBe('files');
    chmodSync(join(root, '/id/k.pem'), 0o640);
    await expect(load()).rejects.toMatchObject({ code: 'IDENTITY_FILE_INVALID' });
    expect(readFileSync(join(root, '/id/k.pem'), 'utf8')).toBe(device.key);
  });
});
