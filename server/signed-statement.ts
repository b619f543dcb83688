import { createHash, createPublicKey, verify } from 'node:crypto';
import { type Asn1, derOf, Fields, inside, octetsOf, oidOf, readAsn1, set, smallIntegerOf } from '../protocol/asn1.ts';
import { algorithmOf, type Certificate, issuerSerialName, keyIdName, keyIdOf, readCertificate, serialOf } from '../protocol/certificate.ts';

/**
 * CMS SignedData over an enrolment statement, as `/usr/bin/security cms -S` makes it: content attached, one signer, its
 * certificate included, BER. What is said here is that this certificate's key signed this content; whether anybody
 * trusts that certificate is decided elsewhere.
 */
const oids = {
  data: '1.2.840.113549.1.7.1',
  signedData: '1.2.840.113549.1.7.2',
  contentType: '1.2.840.113549.1.9.3',
  messageDigest: '1.2.840.113549.1.9.4',
};
const digests: Record<string, string> = {
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
};
/** By signature algorithm: the kind of key, and the digest where the algorithm names it. Signers write either form. */
const signatures: Record<string, { key: 'rsa' | 'ec'; digest?: string }> = {
  '1.2.840.113549.1.1.1': { key: 'rsa' },
  '1.2.840.113549.1.1.11': { key: 'rsa', digest: 'sha256' },
  '1.2.840.113549.1.1.12': { key: 'rsa', digest: 'sha384' },
  '1.2.840.113549.1.1.13': { key: 'rsa', digest: 'sha512' },
  '1.2.840.10045.2.1': { key: 'ec' },
  '1.2.840.10045.4.3.2': { key: 'ec', digest: 'sha256' },
  '1.2.840.10045.4.3.3': { key: 'ec', digest: 'sha384' },
  '1.2.840.10045.4.3.4': { key: 'ec', digest: 'sha512' },
};
const curves = ['prime256v1', 'secp384r1'];

/** A statement, a chain of four RSA certificates and a signature are about 8 KiB. */
const bounds = { bytes: 24 * 1024, depth: 32, elements: 3000 };
const mostCertificates = 10;

interface SignedStatement {
  content: Buffer;
  /** DER, as it was sent. */
  signer: Buffer;
  /** All that were sent, the signer's among them. */
  certificates: Buffer[];
  /** The digest that was signed: `sha256`, `sha384` or `sha512`. */
  digest: string;
}

class Refused extends Error {}

/** Throws an Error that names what is wrong. */
export function readSignedStatement(cms: Uint8Array): SignedStatement {
  try {
    return read(cms);
  } catch (cause) {
    if (cause instanceof Refused) throw cause;
    throw new Error(`the signed statement is not well-formed CMS: ${(cause as Error).message}`);
  }
}

function read(cms: Uint8Array): SignedStatement {
  const info = new Fields(readAsn1(cms, bounds), 'sequence');
  if (oidOf(info.next('oid')) !== oids.signedData) throw new Refused('the signed statement is CMS of another kind');
  const fields = new Fields(inside(info.next('[0]')), 'sequence');
  info.end();
  smallIntegerOf(fields.next('integer'));
  fields.next('set');
  const encapsulated = new Fields(fields.next(), 'sequence');
  const type = oidOf(encapsulated.next('oid'));
  const wrapped = encapsulated.optional('[0]');
  encapsulated.end();
  if (!wrapped) throw new Refused('the signed statement has no content: a detached signature');
  const held = inside(wrapped);
  if (held.kind !== 'octets') throw new Refused('the content of the signed statement is no octet string');
  const content = octetsOf(held);
  const certificates = (fields.optional('[0]')?.children ?? []).filter((each) => each.kind === 'sequence');
  fields.optional('[1]');
  const signers = fields.next('set').children;
  fields.end();
  const [signerInfo, ...more] = signers;
  if (!signerInfo || more.length > 0) throw new Refused(`the signed statement has ${signers.length} signers instead of one`);
  if (certificates.length > mostCertificates) throw new Refused('the signed statement has too many certificates');
  const read = certificates.map((each) => readCertificate(each.raw));
  return { content, certificates: read.map(({ der }) => der), ...checkSigner(signerInfo, read, type, content) };
}

function checkSigner(signerInfo: Asn1, certificates: Certificate[], type: string, content: Buffer): { signer: Buffer; digest: string } {
  const { name, attributes, signature, ...said } = readSignerInfo(signerInfo);
  const [digest, algorithm] = [digests[said.digest], signatures[said.algorithm]];
  const signer = certificates.find((each) => namesOf(each).includes(name));
  if (!signer) throw new Refused('the certificate of the signer is not included');
  if (!digest) throw new Refused('the digest of the signature is weaker than SHA-256, or not known');
  if (!algorithm || (algorithm.digest && algorithm.digest !== digest)) throw new Refused('the signature algorithm is not one that is accepted');
  const key = createPublicKey({ key: signer.publicKey, format: 'der', type: 'spki' });
  const curve = key.asymmetricKeyDetails?.namedCurve ?? '';
  if (key.asymmetricKeyType !== algorithm.key) throw new Refused('the signature algorithm does not fit the key of the signer');
  if (algorithm.key === 'ec' && !curves.includes(curve)) throw new Refused('the key of the signer is on a curve that is not accepted');

  const signed = attributes ? signedAttributes(attributes, type, createHash(digest).update(content).digest()) : plainContent(type, content);
  if (!verify(digest, signed, key, signature)) throw new Refused('the signature of the statement is not by the key of its signer');
  return { signer: signer.der, digest };
}

interface SignerInfo {
  /** Of its certificate, as `namesOf` has it. */
  name: string;
  /** Object identifiers: which of them count is for the reader to say. */
  digest: string;
  algorithm: string;
  attributes: Asn1 | null;
  signature: Buffer;
}

/** RFC 5652, 5.3, in DER or BER. Nothing in it has been checked. */
export function readSignerInfo(element: Asn1): SignerInfo {
  const fields = new Fields(element, 'sequence');
  smallIntegerOf(fields.next('integer'));
  const name = signerName(fields.next());
  const digest = algorithmOf(fields.next()).oid;
  const attributes = fields.optional('[0]') ?? null;
  const algorithm = algorithmOf(fields.next()).oid;
  const signature = octetsOf(fields.next('octets'));
  fields.optional('[1]');
  fields.end();
  return { name, digest, algorithm, attributes, signature };
}

function signerName(element: Asn1): string {
  if (element.kind === '[0]') return keyIdName(octetsOf(element));
  const fields = new Fields(element, 'sequence');
  const name = issuerSerialName(derOf(fields.next('sequence')), serialOf(fields.next('integer')));
  fields.end();
  return name;
}

export function namesOf(certificate: Certificate): string[] {
  const keyId = keyIdOf(certificate);
  return [issuerSerialName(certificate.issuer, certificate.serial), ...(keyId ? [keyIdName(keyId)] : [])];
}

/** RFC 5652, 5.4: what is signed is the attributes as a SET OF in DER, whatever tag and order they were sent with. */
export function signedAttributes(attributes: Asn1, type: string, contentDigest: Buffer): Buffer {
  const values = new Map<string, Asn1>();
  for (const attribute of attributes.children) {
    const fields = new Fields(attribute, 'sequence');
    const name = oidOf(fields.next('oid'));
    const value = fields.next('set');
    fields.end();
    if (values.has(name)) throw new Refused('a signed attribute occurs twice');
    values.set(name, value);
  }
  const typed = values.get(oids.contentType);
  const digested = values.get(oids.messageDigest);
  if (!typed || oidOf(inside(typed)) !== type) throw new Refused('the signed content type is not that of the content');
  if (!digested || !octetsOf(inside(digested)).equals(contentDigest)) throw new Refused('the signed digest is not that of the content');
  return set(...attributes.children.map(derOf));
}

/**
 * Without signed attributes the content itself is signed. Attributes that somebody signed elsewhere could then be passed
 * off as content, so what is a SET is no content.
 */
function plainContent(type: string, content: Buffer): Buffer {
  if (type !== oids.data) throw new Refused('content of this type needs signed attributes');
  let looksLikeAttributes = false;
  try {
    looksLikeAttributes = readAsn1(content, bounds).kind === 'set';
  } catch {
    looksLikeAttributes = false;
  }
  if (looksLikeAttributes) throw new Refused('the content is a set of attributes');
  return content;
}
