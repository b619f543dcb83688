/*
 * A signed profile is CMS SignedData (RFC 5652) around the property list. It is opened to be looked at, and made for an MDM
 * that passes a profile on as it is. Whether the signer is to be trusted is for macOS to say: here it is only said who it is,
 * and whether the contents are still those that were signed.
 */
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify, X509Certificate } from 'node:crypto';
import {
  type Asn1,
  Fields,
  inside,
  integer,
  nothing,
  octets,
  octetsOf,
  oid,
  oidOf,
  readAsn1,
  sequence,
  set,
  smallIntegerOf,
  tagged,
} from '../protocol/asn1.ts';
import { algorithmOf, type Certificate, keyIdOf, readCertificate, serialOf } from '../protocol/certificate.ts';
import { Problem } from '../protocol/problems.ts';

const oids = {
  data: '1.2.840.113549.1.7.1',
  signed: '1.2.840.113549.1.7.2',
  contentType: '1.2.840.113549.1.9.3',
  messageDigest: '1.2.840.113549.1.9.4',
  sha256: '2.16.840.1.101.3.4.2.1',
  rsa: '1.2.840.113549.1.1.1',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
} as const;
const hashes: Record<string, string> = {
  '1.3.14.3.2.26': 'sha1',
  [oids.sha256]: 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
};
/** RSA PKCS #1 v1.5 and ECDSA, with whichever hash; the hash itself is named beside it. */
const checkable = /^(1\.2\.840\.113549\.1\.1\.(1|5|11|12|13)|1\.2\.840\.10045\.(2\.1|4\.1|4\.3\.[234]))$/;
const bounds = { bytes: 8 * 1024 * 1024, depth: 24, elements: 40_000 };

export interface Signature {
  /** `changed`: the contents are not those that were signed. `unchecked`: of a kind that is not known here. */
  state: 'whole' | 'changed' | 'unchecked';
  /** Common name, or the whole name, of the signer; null where the certificate is not in the file. */
  signer: string | null;
  notAfter: Date | null;
}

/** What a signed profile holds, or null where the bytes are no SignedData with contents. */
export function openSigned(bytes: Uint8Array): { contents: Buffer; signature: Signature } | null {
  try {
    const info = new Fields(readAsn1(bytes, bounds), 'sequence');
    if (oidOf(info.next('oid')) !== oids.signed) return null;
    const fields = new Fields(inside(info.next('[0]')), 'sequence');
    smallIntegerOf(fields.next('integer'));
    fields.next('set');
    const encapsulated = new Fields(fields.next(), 'sequence');
    oidOf(encapsulated.next('oid'));
    const contents = octetsOf(inside(encapsulated.next('[0]')));
    const certificates = (fields.optional('[0]')?.children ?? []).flatMap(({ raw }) => certificateOf(raw) ?? []);
    fields.optional('[1]');
    return { contents, signature: judge(contents, certificates, fields.next('set').children) };
  } catch {
    return null;
  }
}

function certificateOf(der: Buffer): Certificate | null {
  try {
    return readCertificate(der);
  } catch {
    return null;
  }
}

/** Of the first signer; a profile has one. */
function judge(contents: Buffer, certificates: readonly Certificate[], signers: readonly Asn1[]): Signature {
  const unknown: Signature = { state: 'unchecked', signer: null, notAfter: null };
  if (signers[0] === undefined) return unknown;
  const fields = new Fields(signers[0], 'sequence');
  smallIntegerOf(fields.next('integer'));
  const certificate = signerOf(fields.next(), certificates);
  const hash = hashes[algorithmOf(fields.next()).oid];
  const attributes = fields.optional('[0]');
  const algorithm = algorithmOf(fields.next());
  const signature = octetsOf(fields.next('octets'));
  if (certificate === undefined) return unknown;
  const signer: Signature = { state: 'unchecked', signer: nameOf(certificate), notAfter: certificate.notAfter };
  if (hash === undefined || !checkable.test(algorithm.oid)) return signer;
  const digest = createHash(hash).update(contents).digest();
  if (attributes && !digestIn(attributes)?.equals(digest)) return { ...signer, state: 'changed' };
  // Signed is the SET, which stands in the message under an implicit tag of its own.
  const signed = attributes ? set(...attributes.children.map(({ raw }) => raw)) : contents;
  const key = createPublicKey({ key: certificate.publicKey, format: 'der', type: 'spki' });
  return { ...signer, state: verify(hash, signed, key, signature) ? 'whole' : 'changed' };
}

function signerOf(id: Asn1, certificates: readonly Certificate[]): Certificate | undefined {
  if (id.kind === '[0]') return certificates.find((each) => keyIdOf(each)?.equals(octetsOf(id)));
  const fields = new Fields(id, 'sequence');
  const issuer = fields.next('sequence').raw;
  const serial = serialOf(fields.next('integer'));
  return certificates.find((each) => each.issuer.equals(issuer) && each.serial === serial);
}

function digestIn(attributes: Asn1): Buffer | undefined {
  const found = attributes.children.find((each) => each.children[0]?.kind === 'oid' && oidOf(each.children[0]) === oids.messageDigest);
  const value = found?.children[1]?.children[0];
  return value && octetsOf(value);
}

const nameOf = (certificate: Certificate): string => {
  const { subject } = new X509Certificate(certificate.der);
  return /^CN=(.*)$/m.exec(subject)?.[1] ?? subject.replaceAll('\n', ', ');
};

// ——— signing

export interface Signer {
  /** The signer's own first, then its CAs. */
  certificates: Certificate[];
  key: KeyObject;
}

/** Certificate, its CAs behind it, and the private key that belongs to it: PEM each. */
export function readSigner(certificatePem: string, keyPem: Buffer, passphrase: string | undefined): Signer {
  const refuse = (detail: string) => new Problem('PROFILE_SETTINGS_INVALID', `--sign: ${detail}`);
  const pems = certificatePem.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g) ?? [];
  const certificates = pems.flatMap((pem) => certificateOf(Buffer.from(pem.replace(/-----[A-Z ]+-----/g, ''), 'base64')) ?? []);
  const [own] = certificates;
  if (own === undefined) throw refuse('the file holds no certificate (PEM)');
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: keyPem, format: 'pem', passphrase: passphrase ?? '' });
  } catch {
    throw refuse(passphrase === undefined ? '--key holds no private key (PEM) that opens without a passphrase' : 'the passphrase does not open --key');
  }
  if (key.asymmetricKeyType !== 'rsa' && key.asymmetricKeyType !== 'ec') throw refuse(`a key of the kind ${key.asymmetricKeyType} signs no profile`);
  if (!new X509Certificate(own.der).checkPrivateKey(key)) throw refuse('the private key is not that of the certificate');
  return { certificates, key };
}

/** The same bytes for the same contents where the key is RSA: no time is put in, and macOS asks for none. */
export function signProfile(contents: Buffer, { certificates, key }: Signer): Buffer {
  const [own] = certificates;
  if (own === undefined) throw new TypeError('a signer has a certificate');
  const attribute = (type: string, value: Buffer): Buffer => sequence(oid(type), set(value));
  const attributes = [attribute(oids.contentType, oid(oids.data)), attribute(oids.messageDigest, octets(createHash('sha256').update(contents).digest()))].sort(
    Buffer.compare,
  );
  const sha256 = sequence(oid(oids.sha256), nothing());
  const algorithm = key.asymmetricKeyType === 'rsa' ? sequence(oid(oids.rsa), nothing()) : sequence(oid(oids.ecdsaWithSha256));
  const signerInfo = sequence(
    integer(1),
    sequence(own.issuer, own.serialDer),
    sha256,
    tagged(0, ...attributes),
    algorithm,
    octets(sign('sha256', set(...attributes), key)),
  );
  const data = sequence(oid(oids.data), tagged(0, octets(contents)));
  return sequence(
    oid(oids.signed),
    tagged(0, sequence(integer(1), set(sha256), data, tagged(0, ...certificates.map(({ der }) => der).sort(Buffer.compare)), set(signerInfo))),
  );
}
