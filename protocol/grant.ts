import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { CompactEncrypt, type CryptoKey, compactDecrypt, exportJWK, generateKeyPair, importJWK } from 'jose';
import type { GrantRequest } from './messages.ts';
import { RecoveryKey } from './recovery-key.ts';

/**
 * An unlock grant: the recovery key sealed to a key pair that one run of one Mac made, as a JWE. Its
 * protected header repeats what was asked, so that a grant for something else is never taken for this one.
 */
type Unsigned = Omit<GrantRequest, 'signature'>;

const algorithm = { alg: 'ECDH-ES', enc: 'A256GCM' } as const;
const type = 'sparekey-grant';
const headerFields = 'alg,asked,enc,epk,typ';

/** Made for one run and kept in memory only; the private key cannot be exported. */
export async function makeRunKey(): Promise<{ publicKey: { x: string; y: string }; privateKey: CryptoKey | KeyObject }> {
  const pair = await generateKeyPair(algorithm.alg, { crv: 'P-256', extractable: false });
  const { x = '', y = '' } = await exportJWK(pair.publicKey);
  return { publicKey: { x, y }, privateKey: pair.privateKey };
}

/** What the identity key signs: UTF-8, LF, exactly these lines. */
export function grantStatement(request: Unsigned): string {
  const lines = [
    'sparekey grant 1',
    `purpose: ${request.purpose}`,
    `record: ${request.recordId}`,
    `for: ${request.forId}`,
    `boot: ${request.boot}`,
    `key: ${request.publicKey.x} ${request.publicKey.y}`,
    `nonce: ${request.grantNonce}`,
    `enrolment: ${request.enrolmentId}`,
  ];
  if (lines.some((line) => /[\r\n\0]/.test(line))) throw new TypeError('a grant request has a line break');
  return `${lines.join('\n')}\n`;
}

/** Whether the identity key signed this request, and the key to seal to is one: what is no point of P-256 is never sealed to. */
export function verifyGrantSignature(request: GrantRequest, publicKeyDer: Uint8Array): boolean {
  try {
    const runKey = createPublicKey({ key: jwk(request.publicKey), format: 'jwk' });
    const identity = createPublicKey({ key: Buffer.from(publicKeyDer), format: 'der', type: 'spki' });
    const curve = identity.asymmetricKeyDetails?.namedCurve;
    const modulusBits = identity.asymmetricKeyDetails?.modulusLength ?? 0;
    const strong =
      identity.asymmetricKeyType === 'rsa' ? modulusBits >= 2048 : identity.asymmetricKeyType === 'ec' && ['prime256v1', 'secp384r1'].includes(curve ?? '');
    return (
      runKey.asymmetricKeyType === 'ec' && strong && verify('sha256', Buffer.from(grantStatement(request)), identity, Buffer.from(request.signature, 'base64'))
    );
  } catch {
    return false;
  }
}

const jwk = ({ x, y }: Unsigned['publicKey']) => ({ kty: 'EC', crv: 'P-256', x, y });

/** The fields that the header repeats, in one order, without the signature. */
function asked(request: Unsigned) {
  const { purpose, recordId, forId, boot, publicKey, grantNonce, enrolmentId } = request;
  return { purpose, recordId, forId, boot, publicKey: { x: publicKey.x, y: publicKey.y }, grantNonce, enrolmentId };
}

/** Throws where the request's key is no point of P-256; `verifyGrantSignature` says so before. */
export async function sealGrant(key: RecoveryKey, request: GrantRequest): Promise<string> {
  const runKey = await importJWK(jwk(request.publicKey), algorithm.alg);
  const plain = new TextEncoder().encode(key.reveal());
  try {
    return await new CompactEncrypt(plain).setProtectedHeader({ ...algorithm, typ: type, asked: asked(request) }).encrypt(runKey);
  } finally {
    plain.fill(0);
  }
}

/** The key in a grant, or null where it is not the answer to exactly this request. */
export async function openGrant(jwe: string, privateKey: CryptoKey | KeyObject, request: Unsigned): Promise<RecoveryKey | null> {
  try {
    const { plaintext, protectedHeader } = await compactDecrypt(jwe, privateKey, {
      keyManagementAlgorithms: [algorithm.alg],
      contentEncryptionAlgorithms: [algorithm.enc],
    });
    const { typ, asked: repeated } = protectedHeader;
    if (Object.keys(protectedHeader).toSorted().join() !== headerFields) return null;
    const key =
      typ === type && JSON.stringify(repeated) === JSON.stringify(asked(request)) ? RecoveryKey.parse(Buffer.from(plaintext).toString('latin1')) : null;
    plaintext.fill(0);
    return key;
  } catch {
    return null;
  }
}
