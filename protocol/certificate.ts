import { createHash } from 'node:crypto';
import { type Asn1, bitsOf, Fields, inside, octetsOf, oidOf, readAsn1, smallIntegerOf, timeOf } from './asn1.ts';

/** What X.509 says, as far as anything here asks. Node's own X509Certificate does not give key usage or raw names. */
export interface Certificate {
  der: Buffer;
  /** Without leading zeros, lower-case hex. */
  serial: string;
  /** The INTEGER as it is encoded. */
  serialDer: Buffer;
  /** The names as they are encoded: names are compared by their bytes. */
  issuer: Buffer;
  subject: Buffer;
  notBefore: Date;
  notAfter: Date;
  /** SubjectPublicKeyInfo, DER. */
  publicKey: Buffer;
  signatureAlgorithm: { oid: string; parameters: Asn1 | undefined };
  /** By object identifier; the value is what the extension's octet string holds. */
  extensions: ReadonlyMap<string, { critical: boolean; value: Buffer }>;
}

export const extension = {
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
} as const;

/** Far more than any real certificate has. */
const bounds = { bytes: 16 * 1024, depth: 24, elements: 2000 };
const small = { bytes: 4096, depth: 8, elements: 200 };

/** Throws where the bytes are no certificate. Says nothing about signatures. */
export function readCertificate(der: Uint8Array): Certificate {
  const outer = readAsn1(der, bounds);
  const whole = new Fields(outer, 'sequence');
  const fields = new Fields(whole.next(), 'sequence');
  const signatureAlgorithm = algorithmOf(whole.next());
  bitsOf(whole.next());
  whole.end();

  fields.optional('[0]');
  const serialNumber = fields.next('integer');
  fields.next('sequence');
  const issuer = fields.next('sequence').raw;
  const validity = new Fields(fields.next(), 'sequence');
  const notBefore = timeOf(validity.next());
  const notAfter = timeOf(validity.next());
  const subject = fields.next('sequence').raw;
  const publicKey = fields.next('sequence').raw;
  fields.optional('[1]');
  fields.optional('[2]');
  const list = fields.optional('[3]');
  fields.end();
  const serial = serialOf(serialNumber);
  return {
    der: outer.raw,
    serial,
    serialDer: serialNumber.raw,
    issuer,
    subject,
    notBefore,
    notAfter,
    publicKey,
    signatureAlgorithm,
    extensions: extensionsOf(list),
  };
}

function extensionsOf(list: Asn1 | undefined): Certificate['extensions'] {
  const found = new Map<string, { critical: boolean; value: Buffer }>();
  for (const each of list ? inside(list).children : []) {
    const fields = new Fields(each, 'sequence');
    const oid = oidOf(fields.next('oid'));
    const critical = (fields.optional('boolean')?.content[0] ?? 0) !== 0;
    if (found.has(oid)) throw new TypeError('an extension occurs twice');
    found.set(oid, { critical, value: octetsOf(fields.next('octets')) });
    fields.end();
  }
  return found;
}

export function algorithmOf(element: Asn1): { oid: string; parameters: Asn1 | undefined } {
  const fields = new Fields(element, 'sequence');
  const oid = oidOf(fields.next());
  const parameters = element.children[1];
  if (parameters) fields.next();
  fields.end();
  return { oid, parameters };
}

/** A serial number as both sides write it: RFC 5280 has positive ones of at most 20 octets, old CAs longer ones. */
export function serialOf(element: Asn1): string {
  const hex = element.content.toString('hex').replace(/^0+(?=.)/, '');
  if (hex === '' || hex.length > 64) throw new TypeError('a serial number of no sensible length');
  return hex;
}

export const issuerSerialName = (issuer: Uint8Array, serial: string): string => `issuer-serial:${createHash('sha256').update(issuer).digest('hex')}:${serial}`;
export const keyIdName = (keyId: Buffer): string => `key-id:${keyId.toString('hex')}`;

export function keyIdOf(certificate: Certificate): Buffer | null {
  const found = certificate.extensions.get(extension.subjectKeyIdentifier);
  return found ? octetsOf(readAsn1(found.value, small)) : null;
}

/** The purposes of extended key usage, or null where the certificate does not limit them. */
export function purposesOf(certificate: Certificate): string[] | null {
  const found = certificate.extensions.get(extension.extendedKeyUsage);
  return found ? readAsn1(found.value, small).children.map(oidOf) : null;
}

export const keyUsageBit = { digitalSignature: 0, keyEncipherment: 2, keyCertSign: 5, cRLSign: 6 } as const;

/** Whether the key may be used so. A certificate without key usage allows everything. */
export function allowsUse(certificate: Certificate, use: keyof typeof keyUsageBit): boolean {
  const found = certificate.extensions.get(extension.keyUsage);
  if (!found) return true;
  const { kind, content } = readAsn1(found.value, small);
  if (kind !== 'bits') throw new TypeError('key usage is no bit string');
  return (((content[1] ?? 0) << keyUsageBit[use]) & 0x80) !== 0;
}

/** Null where it is no CA; otherwise how many more CAs may stand below it. */
export function caDepthOf(certificate: Certificate): number | null {
  const found = certificate.extensions.get(extension.basicConstraints);
  if (!found) return null;
  const fields = new Fields(readAsn1(found.value, small), 'sequence');
  const ca = (fields.optional('boolean')?.content[0] ?? 0) !== 0;
  const limit = fields.optional('integer');
  fields.end();
  if (!ca) return null;
  return limit ? smallIntegerOf(limit) : Number.POSITIVE_INFINITY;
}
