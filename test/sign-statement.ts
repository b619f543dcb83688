import { type KeyObject, sign } from 'node:crypto';
import { type Digest, makeSignedData } from './fake-mac/signed-data.ts';

interface Signer {
  der: Buffer;
  privateKey: KeyObject;
}

/** The CMS SignedData that `/usr/bin/security cms -S` makes over a statement, base64. */
export function signTo(statement: string, signer: Signer, digest: Digest = 'SHA256'): string {
  const key = signer.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return makeSignedData({ content: Buffer.from(statement), chain: [signer.der], key, digest, signingTime: Date.now() }).toString('base64');
}

/** A bare signature by an identity key, as a continuation has it. */
signTo.key = (statement: string, key: KeyObject): string => sign('sha256', Buffer.from(statement), key).toString('base64');
