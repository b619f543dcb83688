import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { bits, bitsOf, Fields, integer, oid, readAsn1, sequence, set, smallIntegerOf, tagged, utf8 } from './asn1.ts';
import { algorithmOf } from './certificate.ts';

const ecdsaWithSha256 = '1.2.840.10045.4.3.2';
const commonName = '2.5.4.3';

/** A request of one P-256 key and no attributes is about 200 bytes. */
const bounds = { bytes: 4096, depth: 12, elements: 200 };

const isP256 = (key: KeyObject): boolean => key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1';

/** A certificate request (PKCS #10, DER) that proves possession of the identity key. Its name says nothing: the backend chooses the names. */
export function makeCsr(privateKey: KeyObject): Buffer {
  if (!isP256(privateKey)) throw new TypeError('an identity key is P-256');
  const publicKeyDer = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  const name = sequence(set(sequence(oid(commonName), utf8('sparekey'))));
  const info = sequence(integer(0), name, publicKeyDer, tagged(0));
  return sequence(info, sequence(oid(ecdsaWithSha256)), bits(sign('sha256', info, privateKey)));
}

/** The key that a certificate request asks for. Throws on another form, a signature that is not by that key, or a key that is not P-256. */
export function readCsr(der: Uint8Array): { publicKey: KeyObject; publicKeyDer: Buffer } {
  const fields = new Fields(readAsn1(der, bounds), 'sequence');
  const info = fields.next('sequence');
  const algorithm = algorithmOf(fields.next());
  const signature = bitsOf(fields.next());
  fields.end();
  const parts = new Fields(info, 'sequence');
  if (smallIntegerOf(parts.next('integer')) !== 0) throw new TypeError('a certificate request of another version');
  parts.next('sequence');
  const publicKey = createPublicKey({ key: parts.next('sequence').raw, format: 'der', type: 'spki' });
  parts.optional('[0]');
  parts.end();
  if (!isP256(publicKey)) throw new TypeError('the key of a certificate request is not P-256');
  if (algorithm.oid !== ecdsaWithSha256) throw new TypeError('a certificate request is not signed with ECDSA and SHA-256');
  if (!verify('sha256', info.raw, publicKey, signature)) throw new TypeError('the signature of a certificate request is not by its own key');
  // Exported anew: the same key has one form, whatever the request made of it.
  return { publicKey, publicKeyDer: publicKey.export({ format: 'der', type: 'spki' }) };
}
