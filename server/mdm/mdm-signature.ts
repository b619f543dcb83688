import { createHash, createPublicKey, verify } from 'node:crypto';
import { type Asn1, Fields, inside, oidOf, readAsn1, smallIntegerOf } from '../../protocol/asn1.ts';
import { type Certificate, readCertificate } from '../../protocol/certificate.ts';
import { verifyChain } from '../certificate-chain.ts';
import { namesOf, readSignerInfo, signedAttributes } from '../signed-statement.ts';
import { bytesOfBase64 } from './property-list.ts';

/**
 * `Mdm-Signature`: with `SignMessage` a Mac signs each message to its MDM by its identity, as detached CMS in base64 in this
 * header. Macs write BER with indefinite lengths and sign the body itself with SHA-1, without attributes; others write
 * SHA-256 with attributes. SHA-1 counts here and nowhere else: what is signed is a message of this Mac's own making.
 */
const oids = {
  data: '1.2.840.113549.1.7.1',
  signedData: '1.2.840.113549.1.7.2',
};
const digests: Record<string, string> = {
  '1.3.14.3.2.26': 'sha1',
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
};
/** By signature algorithm: the kind of key, and the digest where the algorithm names it. */
const signatures: Record<string, { key: 'rsa' | 'ec'; digest?: string }> = {
  '1.2.840.113549.1.1.1': { key: 'rsa' },
  '1.2.840.113549.1.1.5': { key: 'rsa', digest: 'sha1' },
  '1.2.840.113549.1.1.11': { key: 'rsa', digest: 'sha256' },
  '1.2.840.113549.1.1.12': { key: 'rsa', digest: 'sha384' },
  '1.2.840.113549.1.1.13': { key: 'rsa', digest: 'sha512' },
  '1.2.840.10045.4.1': { key: 'ec', digest: 'sha1' },
  '1.2.840.10045.4.3.2': { key: 'ec', digest: 'sha256' },
  '1.2.840.10045.4.3.3': { key: 'ec', digest: 'sha384' },
  '1.2.840.10045.4.3.4': { key: 'ec', digest: 'sha512' },
};
/** A signature with its certificate has about 1.5 KiB, in 80 elements. */
const bounds = { bytes: 10 * 1024, depth: 24, elements: 1000 };

export interface MdmSigner {
  /** DER. Whether anybody trusts it has not been asked. */
  certificate: Buffer;
  others: Buffer[];
  digest: string;
}

/** Whose key signed this body. Throws an Error that says what is wrong. */
export function readMdmSignature(header: string, body: Uint8Array): MdmSigner {
  const cms = bytesOfBase64(header.trim());
  if (!cms) throw new Error('the signature is no base64');
  const info = new Fields(readAsn1(cms, bounds), 'sequence');
  if (oidOf(info.next('oid')) !== oids.signedData) throw new Error('the signature is CMS of another kind');
  const fields = new Fields(inside(info.next('[0]')), 'sequence');
  info.end();
  smallIntegerOf(fields.next('integer'));
  fields.next('set');
  const content = new Fields(fields.next(), 'sequence');
  if (oidOf(content.next('oid')) !== oids.data) throw new Error('something else than data was signed');
  // Detached: a content of its own would be what was signed, and not the body.
  content.end();
  const certificates = (fields.optional('[0]')?.children ?? []).filter(({ kind }) => kind === 'sequence').map(({ raw }) => readCertificate(raw));
  fields.optional('[1]');
  const [signer, ...more] = fields.next('set').children;
  fields.end();
  if (!signer || more.length > 0) throw new Error('not exactly one signer');
  const { certificate, digest } = check(signer, certificates, body);
  return { certificate: certificate.der, others: certificates.filter((one) => one !== certificate).map(({ der }) => der), digest };
}

function check(signer: Asn1, certificates: readonly Certificate[], body: Uint8Array): { certificate: Certificate; digest: string } {
  const { name, attributes, signature, ...said } = readSignerInfo(signer);
  const [digest, algorithm] = [digests[said.digest], signatures[said.algorithm]];
  const certificate = certificates.find((one) => namesOf(one).includes(name));
  if (!certificate) throw new Error('the certificate of the signer is not included');
  if (!digest || !algorithm || (algorithm.digest && algorithm.digest !== digest)) throw new Error('the signature algorithm is not one that is accepted');
  const key = createPublicKey({ key: certificate.publicKey, format: 'der', type: 'spki' });
  if (key.asymmetricKeyType !== algorithm.key) throw new Error('the signature algorithm does not fit the key of the signer');
  const signed = attributes ? signedAttributes(attributes, oids.data, createHash(digest).update(body).digest()) : body;
  if (!verify(digest, signed, key, signature)) throw new Error('the signature is not one of this body');
  return { certificate, digest };
}

/** What `verifyChain` says of the signer: a certificate for clients, of one of these CAs, valid at that time. */
export const chainOf = (signer: MdmSigner, deviceCas: readonly Buffer[], at: Date) =>
  verifyChain({ leaf: signer.certificate, others: signer.others, anchors: deviceCas, at, usage: 'clientAuth' });
