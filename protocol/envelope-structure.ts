import { createHash } from 'node:crypto';
import { type Asn1, derOf, Fields, inside, octetsOf, oidOf, readAsn1, smallIntegerOf } from './asn1.ts';
import { algorithmOf, issuerSerialName, keyIdName, serialOf } from './certificate.ts';

/** What a CMS envelope says openly: RFC 5652 (EnvelopedData) and RFC 5083 (AuthEnvelopedData), in BER or DER. */
export class EnvelopeUnreadable extends Error {}

type KeyEncryption = 'rsa-pkcs1-v1_5' | 'rsa-oaep-sha1' | 'rsa-oaep-sha256';

interface EnvelopeRecipient {
  /** As `recipientNames` writes it. Recipients that have no certificate get a key identifier that is nobody's. */
  name: string;
  /** Null where it is not key transport by RSA. */
  encryptedKey: Buffer | null;
  /** One of `KeyEncryption`, another's object identifier, or in words a way that is no key transport. */
  keyEncryption: string;
}

export interface Envelope {
  recipients: EnvelopeRecipient[];
  form: 'enveloped' | 'auth-enveloped';
  /** OpenSSL's name where it is one that we open, otherwise the object identifier. */
  cipher: string;
}

/** The rest, for whoever opens it. */
export interface SealedContents {
  parameters: Asn1 | undefined;
  encrypted: Buffer;
  /** Null in EnvelopedData. */
  tag: Buffer | null;
  hasAttributes: boolean;
}

export interface Cipher {
  name: string;
  keyBytes: number;
  blockBytes: number;
  form: Envelope['form'];
}

export const oids = {
  data: '1.2.840.113549.1.7.1',
  enveloped: '1.2.840.113549.1.7.3',
  authEnveloped: '1.2.840.113549.1.9.16.1.23',
  rsaEncryption: '1.2.840.113549.1.1.1',
  rsaesOaep: '1.2.840.113549.1.1.7',
  mgf1: '1.2.840.113549.1.1.8',
  labelSpecified: '1.2.840.113549.1.1.9',
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
  aes256Gcm: '2.16.840.1.101.3.4.1.46',
} as const;

/** Those that we open. macOS writes 3DES or AES in CBC mode. */
const ciphers: Record<string, Cipher> = {
  '1.2.840.113549.3.7': { name: 'des-ede3-cbc', keyBytes: 24, blockBytes: 8, form: 'enveloped' },
  '2.16.840.1.101.3.4.1.2': { name: 'aes-128-cbc', keyBytes: 16, blockBytes: 16, form: 'enveloped' },
  '2.16.840.1.101.3.4.1.22': { name: 'aes-192-cbc', keyBytes: 24, blockBytes: 16, form: 'enveloped' },
  '2.16.840.1.101.3.4.1.42': { name: 'aes-256-cbc', keyBytes: 32, blockBytes: 16, form: 'enveloped' },
  '2.16.840.1.101.3.4.1.6': { name: 'aes-128-gcm', keyBytes: 16, blockBytes: 16, form: 'auth-enveloped' },
  [oids.aes256Gcm]: { name: 'aes-256-gcm', keyBytes: 32, blockBytes: 16, form: 'auth-enveloped' },
};

/**
 * A real envelope has about 600 bytes in 45 elements, 9 deep. The bytes are `limits.envelopeBytes` of messages.ts, which is
 * not imported because it brings zod into every run of the agent that only looks at the escrow file.
 */
const bounds = { bytes: 16 * 1024, depth: 24, elements: 1000 };

/** Throws `EnvelopeUnreadable` where it is no envelope, is cut short, or something follows it. */
export function readStructure(bytes: Uint8Array): { envelope: Envelope; cipher: Cipher | undefined; contents: SealedContents } {
  try {
    const info = new Fields(readAsn1(bytes, bounds), 'sequence');
    const type = oidOf(info.next('oid'));
    const body = inside(info.next('[0]'));
    info.end();
    if (type === oids.enveloped) return readBody(body, 'enveloped');
    if (type === oids.authEnveloped) return readBody(body, 'auth-enveloped');
  } catch (cause) {
    throw new EnvelopeUnreadable(`not a complete CMS envelope: ${cause instanceof Error ? cause.message : 'unknown'}`);
  }
  throw new EnvelopeUnreadable('CMS, but not an envelope');
}

function readBody(body: Asn1, form: Envelope['form']): ReturnType<typeof readStructure> {
  const fields = new Fields(body, 'sequence');
  smallIntegerOf(fields.next('integer'));
  // Certificates of the originator: they say nothing that anybody here believes.
  fields.optional('[0]');
  const recipients = fields.next('set').children.flatMap(readRecipient);
  if (recipients.length === 0) throw new TypeError('no recipient');

  const sealed = new Fields(fields.next(), 'sequence');
  oidOf(sealed.next());
  const algorithm = algorithmOf(sealed.next());
  const encrypted = octetsOf(sealed.next('[0]'));
  sealed.end();

  // [1] is outside of what is authenticated in the one form and inside of it in the other.
  const hasAttributes = fields.optional('[1]') !== undefined;
  const tag = form === 'auth-enveloped' ? octetsOf(fields.next('octets')) : null;
  if (tag) fields.optional('[2]');
  fields.end();
  const cipher = ciphers[algorithm.oid];
  return {
    envelope: { recipients, form, cipher: cipher?.name ?? algorithm.oid },
    cipher: cipher?.form === form ? cipher : undefined,
    contents: { parameters: algorithm.parameters, encrypted, tag, hasAttributes },
  };
}

function readRecipient(element: Asn1): EnvelopeRecipient[] {
  if (element.kind === '[1]') return readKeyAgreement(element);
  const otherWays: Record<string, string> = { '[2]': 'shared-key', '[3]': 'password', '[4]': 'other' };
  const otherWay = otherWays[element.kind];
  if (otherWay) return [{ name: keyIdName(createHash('sha256').update(element.raw).digest()), encryptedKey: null, keyEncryption: otherWay }];

  const fields = new Fields(element, 'sequence');
  smallIntegerOf(fields.next('integer'));
  const name = readName(fields.next());
  const algorithm = algorithmOf(fields.next());
  const encryptedKey = octetsOf(fields.next('octets'));
  fields.end();
  const byRsa = algorithm.oid === oids.rsaEncryption || algorithm.oid === oids.rsaesOaep;
  return [{ name, encryptedKey: byRsa ? encryptedKey : null, keyEncryption: readKeyEncryption(algorithm) }];
}

/** Key agreement by ECDH: never ours, but it is said for whom it is. One of them can have many recipients. */
function readKeyAgreement(element: Asn1): EnvelopeRecipient[] {
  const keys = element.children.at(-1);
  if (keys?.kind !== 'sequence' || keys.children.length === 0) throw new TypeError('a key agreement with nobody');
  return keys.children.map((each) => {
    const id = new Fields(each, 'sequence').next();
    const keyId = id.kind === '[0]' ? id.children[0] : undefined;
    return { name: keyId ? keyIdName(readKeyId(keyId)) : readName(id), encryptedKey: null, keyEncryption: 'key-agreement' };
  });
}

function readName(element: Asn1): string {
  if (element.kind === '[0]') return keyIdName(readKeyId(element));
  const fields = new Fields(element, 'sequence');
  // As DER: the certificate, with whose bytes it is compared, is DER.
  const issuer = derOf(fields.next('sequence'));
  const serial = serialOf(fields.next('integer'));
  fields.end();
  return issuerSerialName(issuer, serial);
}

function readKeyId(element: Asn1): Buffer {
  const keyId = octetsOf(element);
  if (keyId.length < 1 || keyId.length > 64) throw new TypeError('a key identifier of no sensible length');
  return keyId;
}

/** RFC 4055: every part of OAEP's parameters has a default, and the default hash is SHA-1. */
function readKeyEncryption({ oid, parameters }: { oid: string; parameters: Asn1 | undefined }): string {
  if (oid === oids.rsaEncryption) return 'rsa-pkcs1-v1_5' satisfies KeyEncryption;
  if (oid !== oids.rsaesOaep || !parameters) return oid;
  const fields = new Fields(parameters, 'sequence');
  const hashField = fields.optional('[0]');
  const maskField = fields.optional('[1]');
  const labelField = fields.optional('[2]');
  fields.end();
  const hash = hashField ? algorithmOf(inside(hashField)).oid : oids.sha1;
  const mask = maskField ? algorithmOf(inside(maskField)) : null;
  const label = labelField ? algorithmOf(inside(labelField)) : null;
  const maskHash = mask?.parameters ? algorithmOf(mask.parameters).oid : oids.sha1;
  if (mask && (mask.oid !== oids.mgf1 || !mask.parameters)) return oid;
  if (label && (label.oid !== oids.labelSpecified || label.parameters?.kind !== 'octets' || octetsOf(label.parameters).length > 0)) return oid;
  // Node gives both places the same hash, and so does everybody who writes such envelopes.
  if (hash !== maskHash) return oid;
  if (hash === oids.sha256) return 'rsa-oaep-sha256' satisfies KeyEncryption;
  return hash === oids.sha1 ? ('rsa-oaep-sha1' satisfies KeyEncryption) : oid;
}
