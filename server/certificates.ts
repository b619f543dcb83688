import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';
import {
  bits,
  bitsOf,
  Fields,
  integer,
  nothing,
  octets,
  oid,
  printable,
  readAsn1,
  sequence,
  set,
  tagged,
  taggedOctets,
  time,
  unsigned,
  utf8,
  yes,
} from '../protocol/asn1.ts';
import { extension, keyIdOf, keyUsageBit, readCertificate } from '../protocol/certificate.ts';

export { verifyChain } from './certificate-chain.ts';

/** Issues the certificates of a backend: its agent CA and what that signs, its TLS certificate, its escrow certificates. */
const ecdsaWithSha256 = '1.2.840.10045.4.3.2';
const sha256WithRsa = '1.2.840.113549.1.1.11';
const commonNameOid = '2.5.4.3';
const serialNumberOid = '2.5.4.5';
const extensionRequest = '1.2.840.113549.1.9.14';
const acmeIdentifier = '1.3.6.1.5.5.7.1.31';
const clientAuth = '1.3.6.1.5.5.7.3.2';
const serverAuth = '1.3.6.1.5.5.7.3.1';

const hour = 3_600_000;
const day = 24 * hour;
/** Clocks of Macs go wrong by minutes; a certificate is good at once nevertheless. */
const backdatedMs = hour;

export interface Issuer {
  /** DER. */
  ca: Uint8Array;
  caKey: KeyObject;
}

/** A CA of its own: P-256, signs certificates and lists of revoked ones, no CA below it. */
export function makeCa(options: { commonName: string; years: number; at: Date }): { certificateDer: Buffer; privateKey: KeyObject } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = nameOf({ CN: options.commonName });
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  const certificateDer = issue({
    issuer: name,
    signer: privateKey,
    subject: name,
    spki,
    ...validity(options.at, options.years * 365.25),
    extensions: [basicConstraints({ pathLength: 0 }), keyUsage('keyCertSign', 'cRLSign'), subjectKeyId(spki)],
  });
  return { certificateDer, privateKey };
}

/** The certificate by which a Mac is known: its name is the enrolment's id. */
export function issueClientCertificate(options: Issuer & { publicKeyDer: Uint8Array; commonName: string; at: Date; days: number }): Buffer {
  return issueLeaf({ ...options, subject: nameOf({ CN: options.commonName }), purpose: clientAuth });
}

/** The TLS certificate of a listener. `names` are DNS names and IP addresses. */
export function issueServerCertificate(options: Issuer & { publicKeyDer: Uint8Array; names: readonly string[]; at: Date; days: number }): Buffer {
  const [first] = options.names;
  if (!first) throw new TypeError('a server certificate needs a name');
  const more = [alternativesOf(options.names)];
  // A common name has at most 64 characters; longer names stand in the alternatives only.
  return issueLeaf({ ...options, subject: nameOf({ CN: first.length <= 64 ? first : 'sparekey' }), purpose: serverAuth, more });
}

/** DNS names and IP addresses. */
const alternativesOf = (names: readonly string[]): Buffer =>
  extend(
    extension.subjectAltName,
    false,
    sequence(...names.map((name) => (isIPv4(name) || isIPv6(name) ? taggedOctets(7, addressOctets(name)) : taggedOctets(2, Buffer.from(name, 'ascii'))))),
  );

/** A request (PKCS #10, DER) for a TLS certificate of these names, by a P-256 key. */
export function makeServerRequest(privateKey: KeyObject, names: readonly string[]): Buffer {
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  const wished = sequence(oid(extensionRequest), set(sequence(alternativesOf(names))));
  // No subject: what a certificate is for stands in its alternative names alone.
  const info = sequence(integer(0), sequence(), spki, tagged(0, wished));
  return sequence(info, sequence(oid(ecdsaWithSha256)), bits(sign('sha256', info, privateKey)));
}

/** What a CA wants to see at the address of a name, to believe that it is ours (RFC 8737): `digest` is the SHA-256 of what it has to hold. */
export function makeChallengeCertificate(options: { privateKey: KeyObject; name: string; digest: Uint8Array; at: Date }): Buffer {
  const spki = createPublicKey(options.privateKey).export({ format: 'der', type: 'spki' });
  const name = nameOf({ CN: 'sparekey challenge' });
  return issue({
    issuer: name,
    signer: options.privateKey,
    subject: name,
    spki,
    ...validity(options.at, 1),
    extensions: [alternativesOf([options.name]), extend(acmeIdentifier, true, octets(options.digest))],
  });
}

/** What an MDM's CA would give to a Mac: for tests and the fake Mac. RSA or P-256 keys. */
export function issueDeviceCertificate(
  options: Issuer & { publicKeyDer: Uint8Array; subject: { CN: string; serialNumber?: string }; days: number; at: Date },
): Buffer {
  return issueLeaf({ ...options, subject: nameOf(options.subject), purpose: clientAuth });
}

/** The certificate in the profile, to which macOS and the agent seal: self-signed, for enciphering keys and nothing else. */
export function makeEscrowCertificate(options: { commonName: string; privateKey: KeyObject; years: number; at: Date }): Buffer {
  const { privateKey } = options;
  if (privateKey.asymmetricKeyType !== 'rsa' || (privateKey.asymmetricKeyDetails?.modulusLength ?? 0) < 2048) {
    throw new TypeError('an escrow key is RSA of 2048 bits or more');
  }
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  const name = nameOf({ CN: options.commonName });
  return issue({
    issuer: name,
    signer: privateKey,
    subject: name,
    spki,
    ...validity(options.at, options.years * 365.25),
    extensions: [keyUsage('keyEncipherment'), subjectKeyId(spki)],
  });
}

function issueLeaf(options: Issuer & { publicKeyDer: Uint8Array; subject: Buffer; purpose: string; at: Date; days: number; more?: Buffer[] }): Buffer {
  const ca = readCertificate(options.ca);
  const caKeyId = keyIdOf(ca);
  if (!caKeyId) throw new TypeError('a CA without a key identifier');
  // Exported anew, so that the certificate holds the key in its one form and nothing that only looks like a key.
  const spki = createPublicKey({ key: Buffer.from(options.publicKeyDer), format: 'der', type: 'spki' }).export({ format: 'der', type: 'spki' });
  return issue({
    issuer: ca.subject,
    signer: options.caKey,
    subject: options.subject,
    spki,
    ...validity(options.at, options.days),
    extensions: [
      basicConstraints(null),
      keyUsage('digitalSignature'),
      extend(extension.extendedKeyUsage, false, sequence(oid(options.purpose))),
      subjectKeyId(spki),
      extend(extension.authorityKeyIdentifier, false, sequence(taggedOctets(0, caKeyId))),
      ...(options.more ?? []),
    ],
  });
}

function issue(options: { issuer: Buffer; signer: KeyObject; subject: Buffer; spki: Buffer; notBefore: Date; notAfter: Date; extensions: Buffer[] }): Buffer {
  const algorithm = options.signer.asymmetricKeyType === 'rsa' ? sequence(oid(sha256WithRsa), nothing()) : sequence(oid(ecdsaWithSha256));
  const body = sequence(
    tagged(0, integer(2)),
    newSerial(),
    algorithm,
    options.issuer,
    sequence(time(options.notBefore), time(options.notAfter)),
    options.subject,
    options.spki,
    tagged(3, sequence(...options.extensions)),
  );
  return sequence(body, algorithm, bits(sign('sha256', body, options.signer)));
}

/** 128 random bits, without zeros in front. */
function newSerial(): Buffer {
  const serial = randomBytes(16);
  serial[0] = (serial[0] ?? 0) | 0x40;
  return unsigned(serial);
}

function validity(at: Date, days: number): { notBefore: Date; notAfter: Date } {
  const wholeSeconds = (ms: number) => new Date(Math.floor(ms / 1000) * 1000);
  return { notBefore: wholeSeconds(at.getTime() - backdatedMs), notAfter: wholeSeconds(at.getTime() + days * day) };
}

function nameOf(subject: { CN: string; serialNumber?: string }): Buffer {
  const parts = [set(sequence(oid(commonNameOid), utf8(subject.CN)))];
  if (subject.serialNumber !== undefined) parts.push(set(sequence(oid(serialNumberOid), printable(subject.serialNumber))));
  return sequence(...parts);
}

const extend = (id: string, critical: boolean, value: Buffer): Buffer => sequence(oid(id), ...(critical ? [yes()] : []), octets(value));

const basicConstraints = (ca: { pathLength: number } | null): Buffer =>
  extend(extension.basicConstraints, true, ca ? sequence(yes(), integer(ca.pathLength)) : sequence());

function keyUsage(...uses: (keyof typeof keyUsageBit)[]): Buffer {
  const octet = uses.reduce((sum, use) => sum | (0x80 >> keyUsageBit[use]), 0);
  // DER leaves out the zero bits at the end.
  const unused = Math.clz32(octet & -octet) === 32 ? 0 : 31 - Math.clz32(octet & -octet);
  return extend(extension.keyUsage, true, bits(Buffer.from([octet]), unused));
}

/** RFC 5280, 4.2.1.2: SHA-1 of the public key's bits. It names a key and protects nothing. */
function subjectKeyId(spki: Buffer): Buffer {
  const fields = new Fields(readAsn1(spki, { bytes: 4096, depth: 4, elements: 20 }), 'sequence');
  fields.next('sequence');
  const digest = createHash('sha1').update(bitsOf(fields.next())).digest();
  return extend(extension.subjectKeyIdentifier, false, octets(digest));
}

function addressOctets(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  // The URL parser writes every form of an address in one: groups of hex, `::` at most once.
  const [head = '', tail] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split('::');
  const groups = (text: string): number[] => (text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16)));
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const all = [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after];
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}

export function pem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** The DER of each block, in order, whatever its label. Text around the blocks is ignored. */
export function readPem(text: string): Buffer[] {
  const blocks = text.matchAll(/-----BEGIN ([A-Z0-9 ]{1,64})-----([A-Za-z0-9+/=\s]*)-----END \1-----/g);
  return Array.from(blocks, (block) => Buffer.from((block[2] ?? '').replace(/\s/g, ''), 'base64'));
}
