import 'reflect-metadata';
import { createPublicKey, generateKeyPairSync, type KeyObject, webcrypto, X509Certificate } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import * as x509 from '@peculiar/x509';
import { makeCsr, readCsr } from '../protocol/csr.ts';
import {
  issueClientCertificate,
  issueDeviceCertificate,
  issueServerCertificate,
  makeCa,
  makeEscrowCertificate,
  pem,
  readPem,
  verifyChain,
} from '../server/certificates.ts';
import { openssl, testWithOpenssl, tryOpenssl } from './openssl.ts';
import { cpuTime } from './waiting.ts';

const at = new Date('2026-11-22T12:00:00Z');
const day = 24 * 3_600_000;
const later = (days: number): Date => new Date(at.getTime() + days * day);

const spki = (publicKey: KeyObject): Buffer => publicKey.export({ format: 'der', type: 'spki' });
const p256 = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const identity = p256();
const agentCa = makeCa({ commonName: 'Sparekey agent CA', years: 20, at });
const issuer = { ca: agentCa.certificateDer, caKey: agentCa.privateKey };
const client = issueClientCertificate({ ...issuer, publicKeyDer: spki(identity.publicKey), commonName: 'enrolment-1', at, days: 400 });
const server = issueServerCertificate({
  ...issuer,
  publicKeyDer: spki(identity.publicKey),
  names: ['keys.example.org', 'localhost', '127.0.0.1', '::1', '::ffff:192.0.2.1'],
  at,
  days: 90,
});

const check = (leaf: Uint8Array, more: { others?: Uint8Array[]; anchors?: Uint8Array[]; when?: Date } = {}) =>
  verifyChain({ leaf, others: more.others ?? [], anchors: more.anchors ?? [agentCa.certificateDer], at: more.when ?? at, usage: 'clientAuth' });

/** As that library wants them. */
const bytes = (der: Uint8Array): Uint8Array<ArrayBuffer> => new Uint8Array(der);

describe('what the backend issues', () => {
  test('a client certificate: the enrolment as its name, for 400 days and an hour before', () => {
    const read = new X509Certificate(client);
    expect(read.subject).toBe('CN=enrolment-1');
    expect(read.validFromDate).toEqual(new Date('2026-11-22T11:00:00Z'));
    expect(read.validToDate).toEqual(later(400));
    expect(read.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
    expect(read.ca).toBe(false);
    expect(read.checkIssued(new X509Certificate(agentCa.certificateDer))).toBe(true);
    expect(check(client)).toEqual({ ok: true, chain: [client, agentCa.certificateDer] });
  });

  test('serial numbers of 128 bits, never the same', () => {
    const serials = Array.from(
      { length: 50 },
      () => new X509Certificate(issueClientCertificate({ ...issuer, publicKeyDer: spki(identity.publicKey), commonName: 'x', at, days: 1 })).serialNumber,
    );
    expect(new Set(serials).size).toBe(50);
    for (const serial of serials) expect(serial).toMatch(/^[0-9A-F]{32}$/);
  });

  test('a server certificate: its names and addresses', () => {
    const read = new X509Certificate(server);
    for (const name of ['keys.example.org', 'localhost']) expect(read.checkHost(name)).toBe(name);
    for (const address of ['127.0.0.1', '::1', '::ffff:192.0.2.1']) expect(read.checkIP(address)).toBeDefined();
    expect(read.checkHost('example.org')).toBeUndefined();
    expect(() => issueServerCertificate({ ...issuer, publicKeyDer: spki(identity.publicKey), names: [], at, days: 1 })).toThrow('name');
  });

  test('a device certificate for either kind of key', () => {
    for (const { publicKey } of [rsa, identity]) {
      const leaf = issueDeviceCertificate({ ...issuer, publicKeyDer: spki(publicKey), subject: { CN: 'C02ABC', serialNumber: 'C02ABC' }, at, days: 365 });
      expect(new X509Certificate(leaf).subject).toContain('serialNumber=C02ABC');
      expect(check(leaf)).toMatchObject({ ok: true });
    }
  });

  test('dates beyond 2049 are written in the other form of time', () => {
    const ca = makeCa({ commonName: 'long', years: 40, at });
    expect(new X509Certificate(ca.certificateDer).validToDate.getUTCFullYear()).toBe(2066);
  });

  test('a second library reads the same', () => {
    const read = new x509.X509Certificate(bytes(client));
    expect(read.subject).toBe('CN=enrolment-1');
    expect(read.getExtension(x509.KeyUsagesExtension)?.usages).toBe(x509.KeyUsageFlags.digitalSignature);
    expect(read.getExtension(x509.BasicConstraintsExtension)).toMatchObject({ ca: false, critical: true });
    const ca = new x509.X509Certificate(bytes(agentCa.certificateDer));
    expect(ca.getExtension(x509.BasicConstraintsExtension)).toMatchObject({ ca: true, pathLength: 0, critical: true });
    expect(ca.getExtension(x509.KeyUsagesExtension)?.usages).toBe(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign);
    expect(read.getExtension(x509.AuthorityKeyIdentifierExtension)?.keyId).toBe(ca.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId);
    const escrow = new x509.X509Certificate(bytes(makeEscrowCertificate({ commonName: 'Escrow', privateKey: rsa.privateKey, years: 20, at })));
    expect(escrow.getExtension(x509.KeyUsagesExtension)?.usages).toBe(x509.KeyUsageFlags.keyEncipherment);
    expect(escrow.getExtension(x509.SubjectKeyIdentifierExtension)).not.toBeNull();
  });

  testWithOpenssl('openssl accepts each of them, strictly', () => {
    const files = { 'ca.pem': pem('CERTIFICATE', agentCa.certificateDer), 'client.pem': pem('CERTIFICATE', client), 'server.pem': pem('CERTIFICATE', server) };
    const strict = ['verify', '-x509_strict', '-attime', String(at.getTime() / 1000), '-CAfile', 'ca.pem'];
    expect(openssl([...strict, '-purpose', 'sslclient', 'client.pem'], files).toString()).toContain('OK');
    expect(openssl([...strict, '-purpose', 'sslserver', '-verify_hostname', 'keys.example.org', 'server.pem'], files).toString()).toContain('OK');
    expect(tryOpenssl([...strict, '-purpose', 'sslserver', 'client.pem'], files).code).not.toBe(0);
    expect(tryOpenssl([...strict, '-purpose', 'sslclient', 'server.pem'], files).code).not.toBe(0);
  });
});

describe('PEM', () => {
  test('goes both ways, in lines of 64, whatever stands around the blocks', () => {
    const text = `Subject: CN=x\r\n${pem('CERTIFICATE', client).replaceAll('\n', '\r\n')}\nnote\n${pem('X509 CRL', server)}`;
    expect(readPem(text)).toEqual([client, server]);
    for (const line of pem('CERTIFICATE', client).split('\n')) expect(line.length).toBeLessThanOrEqual(64);
  });

  test('text without a block has none, and is read in time', () => {
    for (const text of ['', 'hello', '-----BEGIN CERTIFICATE-----\nAAAA', '-----BEGIN A-----\n'.repeat(20_000)]) expect(readPem(text)).toEqual([]);
  });
});

describe('the certificate request of an agent', () => {
  test('is read again: the key, and no name', () => {
    const { publicKey, publicKeyDer } = readCsr(makeCsr(identity.privateKey));
    expect(publicKeyDer).toEqual(spki(identity.publicKey));
    expect(publicKey.equals(createPublicKey(identity.privateKey))).toBe(true);
  });

  test('a second library verifies it', async () => {
    const request = new x509.Pkcs10CertificateRequest(bytes(makeCsr(identity.privateKey)));
    expect(request.subject).toBe('CN=sparekey');
    expect(await request.verify()).toBe(true);
  });

  testWithOpenssl('openssl verifies it, and its own are read', () => {
    expect(tryOpenssl(['req', '-inform', 'DER', '-verify', '-noout'], {}, makeCsr(identity.privateKey)).stderr).toContain('verify OK');
    const key = identity.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
    const made = openssl(['req', '-new', '-key', 'key.pem', '-subj', '/O=Anything/CN=name', '-addext', 'subjectAltName=DNS:x.example.org', '-outform', 'DER'], {
      'key.pem': key,
    });
    expect(readCsr(made).publicKeyDer).toEqual(spki(identity.publicKey));
    for (const [kind, option] of [
      ['rsa', 'rsa_keygen_bits:2048'],
      ['ec', 'ec_paramgen_curve:P-384'],
    ] as const) {
      const other = openssl(['req', '-new', '-newkey', kind, '-pkeyopt', option, '-nodes', '-keyout', 'new.pem', '-subj', '/CN=x', '-outform', 'DER']);
      expect(() => readCsr(other)).toThrow('P-256');
    }
    const weak = openssl(['req', '-new', '-key', 'key.pem', '-subj', '/CN=x', '-sha1', '-outform', 'DER'], { 'key.pem': key });
    expect(() => readCsr(weak)).toThrow('SHA-256');
  });

  test('is only made for P-256', () => expect(() => makeCsr(rsa.privateKey)).toThrow('P-256'));

  test('with one byte changed, cut short or with something behind it is refused', () => {
    const csr = makeCsr(identity.privateKey);
    for (const [place, byte] of csr.entries()) {
      const changed = Buffer.from(csr);
      changed[place] = byte ^ 1;
      expect(() => readCsr(changed)).toThrow();
      expect(() => readCsr(csr.subarray(0, place))).toThrow();
    }
    expect(() => readCsr(Buffer.concat([csr, Buffer.alloc(1)]))).toThrow();
    expect(() => readCsr(Buffer.alloc(5000, 0x30))).toThrow();
  });
});

// ——— chains of a device CA, made by a second library, because ours makes no bad ones

interface Made {
  der: Buffer;
  name: string;
  keys: webcrypto.CryptoKeyPair;
}
type Algorithm = Record<string, unknown>;
const elliptic = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const rsaKey = (modulusLength: number, hash: string) => ({ name: 'RSASSA-PKCS1-v1_5', modulusLength, publicExponent: new Uint8Array([1, 0, 1]), hash });

async function make(
  name: string,
  by: Made | null,
  more: { extensions?: x509.Extension[]; keys?: Algorithm; signedBy?: Algorithm; from?: number; to?: number } = {},
): Promise<Made> {
  const keys = (await webcrypto.subtle.generateKey((more.keys ?? elliptic) as never, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: '01',
    subject: `CN=${name}`,
    issuer: `CN=${by?.name ?? name}`,
    notBefore: later(more.from ?? -10),
    notAfter: later(more.to ?? 1000),
    publicKey: keys.publicKey as never,
    signingKey: (by ?? { keys }).keys.privateKey as never,
    signingAlgorithm: (more.signedBy ?? elliptic) as never,
    extensions: more.extensions ?? [],
  });
  return { der: Buffer.from(certificate.rawData), name, keys };
}
const isCa = (pathLength?: number) => new x509.BasicConstraintsExtension(true, pathLength, true);
const mayUse = (flags: number) => new x509.KeyUsagesExtension(flags, true);
const purpose = (...oids: string[]) => new x509.ExtendedKeyUsageExtension(oids);
const signsCertificates = mayUse(x509.KeyUsageFlags.keyCertSign);
const forClients = purpose('1.3.6.1.5.5.7.3.2');

describe('whose certificate it is', () => {
  let root: Made;
  let middle: Made;
  beforeAll(async () => {
    x509.cryptoProvider.set(webcrypto as unknown as Crypto);
    root = await make('root', null, { extensions: [isCa(), signsCertificates] });
    middle = await make('middle', root, { extensions: [isCa(0), signsCertificates] });
  });
  const leafOf = (by: Made, more: Parameters<typeof make>[2] = {}) => make('leaf', by, { extensions: [forClients], ...more });
  const judge = async (leaf: Made | Promise<Made>, others: Made[] = [middle], when = at) => {
    const answer = check((await leaf).der, { others: others.map(({ der }) => der), anchors: [root.der], when });
    return answer.ok ? answer.chain.length : answer.because;
  };

  test('one of a CA below the anchor, whatever else was sent and in whatever order', async () => {
    const stray = await make('stray', null, { extensions: [isCa()] });
    const leaf = await leafOf(middle);
    expect(await judge(leaf, [stray, leaf, root, middle])).toBe(3);
    expect(await judge(leaf, [])).toBe('unknown-ca');
    expect(check(leaf.der, { anchors: [middle.der] })).toMatchObject({ ok: true });
  });

  test('a stranger, a namesake of the CA, an empty or broken certificate', async () => {
    const impostor = await make('root', null, { extensions: [isCa(), signsCertificates] });
    expect(await judge(leafOf(impostor), [impostor])).toBe('unknown-ca');
    expect(check(client, { anchors: [] })).toEqual({ ok: false, because: 'unknown-ca' });
    for (const leaf of [Buffer.alloc(0), Buffer.from('3000', 'hex'), client.subarray(1), client.subarray(0, -1), Buffer.alloc(20_000, 0x30)]) {
      expect(check(leaf)).toEqual({ ok: false, because: 'unknown-ca' });
    }
    // The leaf itself is no anchor of its own chain, even where somebody configured it as one.
    const lone = await make('lone', null, { extensions: [forClients] });
    expect(check(lone.der, { anchors: [lone.der] })).toMatchObject({ ok: false });
  });

  test('times, of every certificate in the chain', async () => {
    expect(await judge(leafOf(middle, { to: 5 }), [middle], later(6))).toBe('expired');
    expect(await judge(leafOf(middle, { from: 5 }))).toBe('not-yet');
    const old = await make('middle', root, { extensions: [isCa(), signsCertificates], to: -1 });
    expect(await judge(leafOf(old), [old])).toBe('expired');
    expect(await judge(leafOf(middle, { to: 4000 }), [middle], later(2000))).toBe('expired');
    expect(check(client, { when: later(399) })).toMatchObject({ ok: true });
    expect(check(client, { when: later(401) })).toEqual({ ok: false, because: 'expired' });
  });

  test('its purpose must be TLS client, said so', async () => {
    expect(await judge(leafOf(middle, { extensions: [] }))).toBe('usage');
    expect(await judge(leafOf(middle, { extensions: [purpose('1.3.6.1.5.5.7.3.1')] }))).toBe('usage');
    expect(await judge(leafOf(middle, { extensions: [purpose('2.5.29.37.0')] }))).toBe(3);
    expect(await judge(leafOf(middle, { extensions: [forClients, mayUse(x509.KeyUsageFlags.keyEncipherment)] }))).toBe('usage');
    expect(await judge(leafOf(middle, { extensions: [forClients, mayUse(x509.KeyUsageFlags.digitalSignature)] }))).toBe(3);
    expect(check(server)).toEqual({ ok: false, because: 'usage' });
  });

  test('who issued it must be a CA that may', async () => {
    const issuers: [x509.Extension[], number | string][] = [
      [[isCa(), signsCertificates], 3],
      [[isCa()], 3],
      [[], 'usage'],
      [[new x509.BasicConstraintsExtension(false, undefined, true), signsCertificates], 'usage'],
      [[isCa(), mayUse(x509.KeyUsageFlags.digitalSignature)], 'usage'],
      [[isCa(), signsCertificates, purpose('1.3.6.1.5.5.7.3.1')], 'usage'],
      [[isCa(), signsCertificates, forClients], 3],
    ];
    for (const [extensions, expected] of issuers) {
      const ca = await make('middle', root, { extensions });
      expect(await judge(leafOf(ca), [ca])).toBe(expected);
    }
  });

  test('a leaf issues nothing, and no more CAs stand below a CA than it allows', async () => {
    const leaf = await leafOf(middle);
    expect(await judge(make('below', leaf, { extensions: [forClients] }), [leaf, middle])).toBe('usage');
    const below = await make('below', middle, { extensions: [isCa(), signsCertificates] });
    expect(await judge(leafOf(below), [below, middle])).toBe('usage');
  });

  test('at most four certificates above it, and no search without end', async () => {
    const chain = [root];
    for (let i = 1; i <= 4; i += 1) chain.push(await make(`ca ${i}`, chain.at(-1) ?? root, { extensions: [isCa(), signsCertificates] }));
    expect(await judge(leafOf(chain[3] as Made), chain)).toBe(5);
    expect(await judge(leafOf(chain[4] as Made), chain)).toBe('unknown-ca');
    // Ten CAs with one name, one key each, that issued each other: far fewer than all ways are tried.
    const twins: Made[] = [];
    for (let i = 0; i < 10; i += 1) twins.push(await make('twin', twins[0] ?? null, { extensions: [isCa(), signsCertificates] }));
    const before = cpuTime();
    expect(await judge(leafOf(twins[0] as Made), twins)).toBe('unknown-ca');
    expect(cpuTime() - before).toBeLessThan(2000);
  });

  test('a critical extension that nobody here knows', async () => {
    const extra = (critical: boolean) => new x509.Extension('1.2.3.4', critical, new Uint8Array([5, 0]));
    expect(await judge(leafOf(middle, { extensions: [forClients, extra(true)] }))).toBe('usage');
    expect(await judge(leafOf(middle, { extensions: [forClients, extra(false)] }))).toBe(3);
  });

  test('keys and signatures that are too weak', async () => {
    const sha1Root = await make('root', null, { keys: rsaKey(2048, 'SHA-1'), signedBy: rsaKey(2048, 'SHA-1'), extensions: [isCa(), signsCertificates] });
    const sha1Leaf = await leafOf(sha1Root, { signedBy: rsaKey(2048, 'SHA-1') });
    expect(check(sha1Leaf.der, { anchors: [sha1Root.der] })).toEqual({ ok: false, because: 'weak' });
    const smallRoot = await make('root', null, { keys: rsaKey(1024, 'SHA-256'), signedBy: rsaKey(1024, 'SHA-256'), extensions: [isCa(), signsCertificates] });
    expect(check((await leafOf(smallRoot, { signedBy: rsaKey(1024, 'SHA-256') })).der, { anchors: [smallRoot.der] })).toEqual({ ok: false, because: 'weak' });
    expect(await judge(leafOf(middle, { keys: rsaKey(1024, 'SHA-256') }))).toBe('weak');
    expect(await judge(leafOf(middle, { keys: { name: 'ECDSA', namedCurve: 'P-521' } }))).toBe('weak');
    for (const keys of [rsaKey(2048, 'SHA-256'), rsaKey(3072, 'SHA-512'), { name: 'ECDSA', namedCurve: 'P-384' }])
      expect(await judge(leafOf(middle, { keys }))).toBe(3);
  });

  test('RSA with SHA-256, 384 and 512 signs well, with PSS too', async () => {
    for (const hash of ['SHA-256', 'SHA-384', 'SHA-512']) {
      const ca = await make('root', null, { keys: rsaKey(2048, hash), signedBy: rsaKey(2048, hash), extensions: [isCa(), signsCertificates] });
      expect(check((await leafOf(ca, { signedBy: rsaKey(2048, hash) })).der, { anchors: [ca.der] })).toMatchObject({ ok: true });
    }
    const pss = { ...rsaKey(2048, 'SHA-256'), name: 'RSA-PSS', saltLength: 32 };
    const ca = await make('root', null, { keys: pss, signedBy: pss, extensions: [isCa(), signsCertificates] });
    expect(check((await leafOf(ca, { signedBy: pss })).der, { anchors: [ca.der] })).toMatchObject({ ok: true });
  });

  test('any byte changed in what the CA signed, or in its signature', () => {
    for (const [place, byte] of client.entries()) {
      const changed = Buffer.from(client);
      changed[place] = byte ^ 1;
      expect(check(changed)).toMatchObject({ ok: false });
    }
  });

  testWithOpenssl('openssl verify says the same of chains that openssl made', () => {
    const config =
      '[ca]\nbasicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\n[leaf]\nextendedKeyUsage=clientAuth\n[server]\nextendedKeyUsage=serverAuth\n[nobody]\nbasicConstraints=critical,CA:false\n';
    const key = rsa.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
    const files = { 'config.cnf': config, 'key.pem': key };
    const ca = openssl(['req', '-x509', '-key', 'key.pem', '-subj', '/CN=openssl root', '-config', 'config.cnf', '-extensions', 'ca', '-days', '20'], {
      ...files,
      'config.cnf': `[req]\ndistinguished_name=dn\n[dn]\n${config}`,
    }).toString();
    for (const [section, digest, expected] of [
      ['leaf', '-sha256', true],
      ['leaf', '-sha384', true],
      ['server', '-sha256', false],
      ['leaf', '-sha1', false],
    ] as const) {
      const csr = openssl(['req', '-new', '-key', 'key.pem', '-subj', '/CN=openssl leaf'], files);
      const leaf = openssl(
        ['x509', '-req', '-CA', 'ca.pem', '-CAkey', 'key.pem', '-set_serial', '7', digest, '-extfile', 'config.cnf', '-extensions', section, '-days', '9'],
        { ...files, 'ca.pem': ca },
        csr,
      ).toString();
      const theirs =
        tryOpenssl(['verify', '-auth_level', '2', '-purpose', 'sslclient', '-CAfile', 'ca.pem', 'leaf.pem'], { 'ca.pem': ca, 'leaf.pem': leaf }).code === 0;
      const [leafDer = Buffer.alloc(0)] = readPem(leaf);
      expect([theirs, check(leafDer, { anchors: readPem(ca), when: new Date() }).ok]).toEqual([expected, expected]);
    }
  });
});
