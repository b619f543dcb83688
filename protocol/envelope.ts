import {
  constants,
  createCipheriv,
  createDecipheriv,
  createPublicKey,
  type DecipherGCM,
  hash,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
  subtle,
  timingSafeEqual,
  type webcrypto,
} from 'node:crypto';
import { type Asn1, Fields, integer, nothing, octets, octetsOf, oid, sequence, set, smallIntegerOf, tagged, taggedOctets } from './asn1.ts';
import { issuerSerialName, keyIdName, keyIdOf, readCertificate } from './certificate.ts';
import { type Cipher, type Envelope, oids, readStructure, type SealedContents } from './envelope-structure.ts';
import { RecoveryKey } from './recovery-key.ts';

/**
 * A sealed recovery key: the CMS that macOS writes into its escrow file, and the CMS that the agent writes, so that
 * `openssl cms -decrypt` and the escrow private key open any of them without us.
 */
export { type Envelope, EnvelopeUnreadable } from './envelope-structure.ts';

/** GCM's usual nonce; with another length it would be hashed first, which nobody needs. */
const nonceBytes = 12;
/** RFC 5084 allows 12 to 16 and says 12 where the parameters say nothing. */
const shortestTagBytes = 12;
const smallestModulusBytes = 256;

/** How an envelope may name this certificate as its recipient. */
export const recipientNames = (certificateDer: Uint8Array): string[] => [...recipientOf(certificateDer).names];

/** SHA-256 of the DER, lower-case hex. */
export const certificateDigest = (der: Uint8Array): string => hash('sha256', der, 'hex');

interface Recipient {
  certificate: ReturnType<typeof readCertificate>;
  names: readonly string[];
  /** Read when it is asked for: a certificate may name a recipient and have no key of ours. */
  key?: { publicKey: KeyObject; modulus: Buffer };
}

/** A backend has a handful of escrow certificates, and to read one costs more than to open what is sealed to it. By what they are, not by where they lie. */
const mostRecipients = 64;
const recipients = new Map<string, Recipient>();

function recipientOf(certificateDer: Uint8Array): Recipient {
  const digest = certificateDigest(certificateDer);
  const known = recipients.get(digest);
  if (known) return known;
  const certificate = readCertificate(certificateDer);
  const keyId = keyIdOf(certificate);
  const read: Recipient = { certificate, names: [issuerSerialName(certificate.issuer, certificate.serial), ...(keyId ? [keyIdName(keyId)] : [])] };
  if (recipients.size >= mostRecipients) recipients.clear();
  recipients.set(digest, read);
  return read;
}

function escrowKeyOf(recipient: Recipient): NonNullable<Recipient['key']> {
  if (recipient.key) return recipient.key;
  const publicKey = createPublicKey({ key: recipient.certificate.publicKey, format: 'der', type: 'spki' });
  const modulus = publicKey.asymmetricKeyType === 'rsa' ? Buffer.from(publicKey.export({ format: 'jwk' }).n ?? '', 'base64url') : Buffer.alloc(0);
  if (modulus.length < smallestModulusBytes) throw new TypeError('an escrow certificate has an RSA key of 2048 bits or more');
  recipient.key = { publicKey, modulus };
  return recipient.key;
}

/** What an envelope says of itself. Throws `EnvelopeUnreadable` where it is none, is cut short, or something follows it. */
export const readEnvelope = (bytes: Uint8Array): Envelope => readStructure(bytes).envelope;

export function isCompleteEnvelope(bytes: Uint8Array): boolean {
  try {
    readStructure(bytes);
    return true;
  } catch {
    return false;
  }
}

/** Seals a key to an escrow certificate: one recipient, no attributes, DER. Throws where the certificate is not RSA ≥ 2048. */
export const sealKey = (key: RecoveryKey, certificateDer: Uint8Array): Buffer => sealerFor(certificateDer)(key);

/** For many keys: to read the certificate costs more than to seal one. */
export function sealerFor(certificateDer: Uint8Array): (key: RecoveryKey) => Buffer {
  const sealed = sealerWithBlock(certificateDer);
  return (key) => sealed(key).bytes;
}

/** With its encryptedKey block, for whoever notes whose that is: to read it out again costs as much as to seal. */
export function sealerWithBlock(certificateDer: Uint8Array): (key: RecoveryKey) => { bytes: Buffer; block: Buffer } {
  const recipient = recipientOf(certificateDer);
  const { publicKey } = escrowKeyOf(recipient);
  return (key) => seal(key, recipient.certificate, publicKey);
}

function seal(key: RecoveryKey, certificate: ReturnType<typeof readCertificate>, publicKey: KeyObject): { bytes: Buffer; block: Buffer } {
  const contentKey = randomBytes(32);
  const nonce = randomBytes(nonceBytes);
  const plain = Buffer.from(key.reveal(), 'ascii');
  try {
    const cipher = createCipheriv('aes-256-gcm', contentKey, nonce);
    const encrypted = Buffer.concat([cipher.update(plain), cipher.final()]);
    const tag = cipher.getAuthTag();
    const block = publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }, contentKey);

    const sha256 = sequence(oid(oids.sha256), nothing());
    const oaep = sequence(oid(oids.rsaesOaep), sequence(tagged(0, sha256), tagged(1, sequence(oid(oids.mgf1), sha256))));
    const recipient = sequence(integer(0), sequence(certificate.issuer, certificate.serialDer), oaep, octets(block));
    const gcm = sequence(oid(oids.aes256Gcm), sequence(octets(nonce), integer(tag.length)));
    const sealed = sequence(oid(oids.data), gcm, taggedOctets(0, encrypted));
    const bytes = sequence(oid(oids.authEnveloped), tagged(0, sequence(integer(0), set(recipient), sealed, octets(tag))));
    return { bytes, block };
  } finally {
    plain.fill(0);
    contentKey.fill(0);
  }
}

/** As long as the modulus and smaller than it. Otherwise one block could be written in several ways, and its reuse would not be noticed. */
const isBlockFor = (block: Buffer, modulus: Buffer): boolean => block.length === modulus.length && Buffer.compare(block, modulus) < 0;

/** What the backend asks before it opens anything that a Mac sent: exactly one recipient, ours, with a well-formed key block. */
export function oneRecipientOurs(envelope: Envelope, certificateDer: Uint8Array): boolean {
  const [only, ...more] = envelope.recipients;
  const recipient = recipientOf(certificateDer);
  if (!only?.encryptedKey || more.length > 0 || !recipient.names.includes(only.name)) return false;
  return isBlockFor(only.encryptedKey, escrowKeyOf(recipient).modulus);
}

/**
 * The key in an envelope, or the one word `unreadable`: not ours, damaged, or not a recovery key.
 *
 * What an envelope says openly (form, recipients, algorithms, lengths) decides early; its sender knows all that. From the
 * RSA operation on, every course takes the same steps: a content key that does not come out right is replaced by a random
 * one, the content is decrypted, its end is looked at, and one value is answered. Constant in time: RSA with its implicit
 * rejection of bad PKCS #1 v1.5 padding (OpenSSL ≥ 3.2, which Node 26 has inside), AES, the comparison of the tag and of
 * the padding. Not constant: 3DES's tables, the exceptions of OAEP and GCM, copies, the pattern match on the plain text:
 * microseconds, beside a millisecond of RSA. So the backend answers deliveries at one time, and counts unreadable ones.
 */
export function openEnvelope(bytes: Uint8Array, privateKey: KeyObject, certificateDer: Uint8Array): RecoveryKey | 'unreadable' {
  const opening = openingOf(bytes, certificateDer);
  return opening ? opening.finish(contentKeyOf(opening, privateKey)) : 'unreadable';
}

/** The same, with RSA beside the event loop where Node can: OAEP, which is what agents write. A backend answers others meanwhile. */
export async function openEnvelopeAside(bytes: Uint8Array, privateKey: KeyObject, certificateDer: Uint8Array): Promise<RecoveryKey | 'unreadable'> {
  const opening = openingOf(bytes, certificateDer);
  return opening ? opening.finish(await contentKeyAside(opening, privateKey)) : 'unreadable';
}

interface Opening {
  block: Buffer;
  padding: Padding;
  /** Of the content key. */
  keyBytes: number;
  /** Wipes the content key. */
  finish(contentKey: Buffer): RecoveryKey | 'unreadable';
}

/** All that is decided by what an envelope says openly. */
function openingOf(bytes: Uint8Array, certificateDer: Uint8Array): Opening | null {
  const recipient = recipientOf(certificateDer);
  const { names } = recipient;
  const { modulus } = escrowKeyOf(recipient);
  let read: ReturnType<typeof readStructure>;
  try {
    read = readStructure(bytes);
  } catch {
    return null;
  }
  const { envelope, cipher, contents } = read;
  const ours = envelope.recipients.find(({ name, encryptedKey }) => encryptedKey && names.includes(name));
  if (!cipher || !ours?.encryptedKey || !isBlockFor(ours.encryptedKey, modulus)) return null;
  const padding = paddingOf(ours.keyEncryption);
  const decrypt = decryptionOf(cipher, contents);
  if (!padding || !decrypt) return null;
  return {
    block: ours.encryptedKey,
    padding,
    keyBytes: cipher.keyBytes,
    finish(contentKey) {
      const plain = decrypt(contentKey);
      const key = RecoveryKey.parse(plain.toString('latin1'));
      contentKey.fill(0);
      plain.fill(0);
      return key ?? 'unreadable';
    },
  };
}

interface Padding {
  padding: number;
  oaepHash?: 'sha1' | 'sha256';
}

function paddingOf(keyEncryption: string): Padding | null {
  if (keyEncryption === 'rsa-pkcs1-v1_5') return { padding: constants.RSA_PKCS1_PADDING };
  if (keyEncryption === 'rsa-oaep-sha256') return { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' };
  return keyEncryption === 'rsa-oaep-sha1' ? { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' } : null;
}

/** Whatever goes wrong gives a random key of the right length. */
function contentKeyOf({ block, padding, keyBytes }: Opening, key: KeyObject): Buffer {
  const random = randomBytes(keyBytes);
  try {
    const found = privateDecrypt({ key, ...padding }, block);
    return found.length === keyBytes ? found : random;
  } catch {
    return random;
  }
}

/** For the thread pool, by the hash of OAEP. Node takes it from the key that is there: nothing is read or written for it. */
const keysAside = new WeakMap<KeyObject, Map<string, webcrypto.CryptoKey>>();

async function contentKeyAside(opening: Opening, key: KeyObject): Promise<Buffer> {
  const { oaepHash } = opening.padding;
  // Web cryptography has no PKCS #1 v1.5 for keys.
  if (!oaepHash) return contentKeyOf(opening, key);
  const random = randomBytes(opening.keyBytes);
  try {
    const known = keysAside.get(key) ?? new Map<string, webcrypto.CryptoKey>();
    keysAside.set(key, known);
    const hash = oaepHash === 'sha1' ? 'SHA-1' : 'SHA-256';
    const aside = known.get(hash) ?? key.toCryptoKey({ name: 'RSA-OAEP', hash }, false, ['decrypt']);
    known.set(hash, aside);
    const found = Buffer.from(await subtle.decrypt({ name: 'RSA-OAEP' }, aside, new Uint8Array(opening.block)));
    return found.length === opening.keyBytes ? found : random;
  } catch {
    return random;
  }
}

/** How to decrypt these contents with whatever key, or null where no key could. Plain text that is not authentic comes out empty. */
function decryptionOf(cipher: Cipher, { parameters, encrypted, tag, hasAttributes }: SealedContents): ((key: Buffer) => Buffer) | null {
  if (!tag) {
    const iv = parameters?.kind === 'octets' ? octetsOf(parameters) : null;
    if (iv?.length !== cipher.blockBytes || encrypted.length === 0 || encrypted.length % cipher.blockBytes !== 0) return null;
    return (key) => {
      // Padding is looked at here and not by OpenSSL, which answers a bad one with an exception.
      const decipher = createDecipheriv(cipher.name, key, iv).setAutoPadding(false);
      return withoutPadding(Buffer.concat([decipher.update(encrypted), decipher.final()]), cipher.blockBytes);
    };
  }
  const nonce = nonceOf(parameters, tag.length);
  // Attributes would be authenticated too; neither macOS nor the agent writes any.
  if (!nonce || hasAttributes) return null;
  return (key) => {
    const decipher = createDecipheriv(cipher.name as 'aes-256-gcm', key, nonce, { authTagLength: tag.length }) satisfies DecipherGCM;
    const plain = decipher.setAuthTag(tag).update(encrypted);
    try {
      decipher.final();
      return plain;
    } catch {
      plain.fill(0);
      return plain.subarray(0, 0);
    }
  };
}

/** The nonce in GCM's parameters, if these are what we accept and fit the tag that was sent. */
function nonceOf(parameters: Asn1 | undefined, tagBytes: number): Buffer | null {
  try {
    const fields = new Fields(parameters as Asn1, 'sequence');
    const nonce = octetsOf(fields.next('octets'));
    const length = fields.optional('integer');
    fields.end();
    const said = length ? smallIntegerOf(length) : shortestTagBytes;
    return nonce.length === nonceBytes && said === tagBytes && tagBytes >= shortestTagBytes && tagBytes <= 16 ? nonce : null;
  } catch {
    return null;
  }
}

/** Takes PKCS #7 padding away. The whole last block is compared, whatever it holds; bad padding leaves nothing. */
function withoutPadding(padded: Buffer, blockBytes: number): Buffer {
  const last = padded.subarray(-blockBytes);
  const count = last[blockBytes - 1] ?? 0;
  const expected = last.map((byte, place) => (place >= blockBytes - count ? count : byte));
  const good = timingSafeEqual(expected, last) && count >= 1 && count <= blockBytes;
  return padded.subarray(0, good ? padded.length - count : 0);
}
