// Certificates of parties that are not Sparekey: the organisation's CA (its SCEP), another product's escrow certificate.
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto';
import { rsaPair } from '../key-pairs.ts';
import { bits, element, integer, nothing, octets, oid, read, readAll, sequence, setOf, tagged, time, utf8, yes } from './der.ts';
import type { Pair } from './state.ts';

const pem = (label: string, der: Uint8Array): string =>
  `-----BEGIN ${label}-----\n${Buffer.from(der)
    .toString('base64')
    .replace(/.{1,64}/g, '$&\n')}-----END ${label}-----\n`;
export const pemToDer = (text: string): Buffer => new X509Certificate(text).raw;
export const derToPem = (der: Uint8Array): string => pem('CERTIFICATE', der);

const day = 24 * 3600_000;
const names = { CN: '2.5.4.3', O: '2.5.4.10', OU: '2.5.4.11', serialNumber: '2.5.4.5' } as const;
const name = (parts: Partial<Record<keyof typeof names, string>>): Buffer =>
  sequence(...(Object.keys(parts) as (keyof typeof names)[]).map((part) => setOf(sequence(oid(names[part]), utf8(parts[part] ?? '')))));

const publicBits = (key: KeyObject): Buffer => {
  const [, subjectPublicKey] = readAll(read(key.export({ type: 'spki', format: 'der' })).content);
  return (subjectPublicKey ?? { content: Buffer.alloc(1) }).content.subarray(1);
};
const keyId = (key: KeyObject): Buffer => createHash('sha1').update(publicBits(key)).digest();
const algorithm = (key: KeyObject): Buffer =>
  key.asymmetricKeyType === 'rsa' ? sequence(oid('1.2.840.113549.1.1.11'), nothing()) : sequence(oid('1.2.840.10045.4.3.2'));
const extension = (id: string, value: Buffer, critical = false): Buffer => sequence(oid(id), ...(critical ? [yes()] : []), octets(value));

interface Wish {
  subject: Partial<Record<keyof typeof names, string>>;
  kind: 'ca' | 'device' | 'escrow';
  keyType?: 'rsa' | 'ec';
  days?: number;
  /** Milliseconds; default: an hour ago. */
  notBefore?: number;
  issuer?: Pair;
  /** A DNS name, as the subject's alternative name. */
  dnsName?: string;
}

/** Makes a key pair and its certificate; self-signed where no issuer is given. */
export const makePair = (wish: Wish): Pair => {
  const pair = wish.keyType === 'ec' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : rsaPair();
  const issuer = wish.issuer ? new X509Certificate(wish.issuer.certificate) : null;
  const issuerKey = wish.issuer ? createPrivateKey(wish.issuer.key) : pair.privateKey;
  const issuerPublic = issuer ? issuer.publicKey : pair.publicKey;
  const serial = randomBytes(19);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const notBefore = wish.notBefore ?? Date.now() - 3600_000;
  // keyUsage: CA signs certificates; a device signs; an escrow certificate enciphers keys.
  const usage = { ca: bits(Buffer.from([0x06]), 1), device: bits(Buffer.from([0xa0]), 5), escrow: bits(Buffer.from([0x20]), 5) }[wish.kind];
  const extensions = [
    ...(wish.kind === 'ca' ? [extension('2.5.29.19', sequence(yes()), true)] : [extension('2.5.29.19', sequence(), true)]),
    extension('2.5.29.15', usage, true),
    ...(wish.kind === 'device' ? [extension('2.5.29.37', sequence(oid('1.3.6.1.5.5.7.3.2')))] : []),
    ...(wish.dnsName ? [extension('2.5.29.17', sequence(element(0x82, Buffer.from(wish.dnsName))))] : []),
    extension('2.5.29.14', octets(keyId(pair.publicKey))),
    extension('2.5.29.35', sequence(element(0x80, keyId(issuerPublic)))),
  ];
  const tbs = sequence(
    tagged(0, integer(2)),
    integer(serial),
    algorithm(issuerPublic),
    issuer ? subjectOf(issuer.raw) : name(wish.subject),
    sequence(time(notBefore), time(notBefore + (wish.days ?? 365) * day)),
    name(wish.subject),
    pair.publicKey.export({ type: 'spki', format: 'der' }),
    tagged(3, sequence(...extensions)),
  );
  const certificate = sequence(tbs, algorithm(issuerPublic), bits(sign('sha256', tbs, issuerKey)));
  return { certificate: pem('CERTIFICATE', certificate), key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
};

/** The CA that stands for the organisation's SCEP. */
export const makeDeviceCa = (): Pair => makePair({ subject: { O: 'Example', CN: 'Example Device CA' }, kind: 'ca', keyType: 'ec', days: 3650 });

interface Parts {
  /** DER of the INTEGER, the issuer's and the subject's Name. */
  serial: Buffer;
  issuer: Buffer;
  subject: Buffer;
}

/** The pieces of a certificate that CMS quotes byte for byte. */
export const partsOf = (certificate: Buffer): Parts => {
  const tbs = readAll(read(read(certificate).content).content);
  const [serial, , issuer, , subject] = tbs[0]?.tag === 0xa0 ? tbs.slice(1) : tbs;
  if (!serial || !issuer || !subject) throw new TypeError('this is no certificate');
  return { serial: serial.whole, issuer: issuer.whole, subject: subject.whole };
};
const subjectOf = (certificate: Buffer): Buffer => partsOf(certificate).subject;

/** SHA-1 of the public key's bits: what certificates made here carry as subject key identifier. */
export const subjectKeyId = (certificate: Buffer): string => keyId(createPublicKey(derToPem(certificate))).toString('hex');

/** The certificate's subject attribute, such as `CN`. */
export const attribute = (subject: string, which: string): string | undefined =>
  subject
    .split('\n')
    .map((line) => line.split('='))
    .find(([key]) => key === which)
    ?.slice(1)
    .join('=');

let foreign: Pair | null = null;
/** Another product's escrow certificate. Made once for each process: a key pair takes its time. */
export const foreignEscrowPair = (): Pair => {
  foreign ??= makePair({ subject: { CN: 'Some MDM FileVault Escrow', O: 'Some MDM' }, kind: 'escrow', days: 7300 });
  return foreign;
};
