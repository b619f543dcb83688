import { createCipheriv, createDecipheriv, createPrivateKey, generateKeyPair, hkdfSync, type KeyObject, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { openEnvelope } from '../../protocol/envelope.ts';
import type { RecoveryKey } from '../../protocol/recovery-key.ts';
import { makeEscrowCertificate } from '../certificates.ts';
import type { ServerSecrets } from '../parts.ts';
import type { MdmCommand } from '../store/mdm.ts';

/**
 * To what the Mac seals its new key in the answer to RotateFileVaultKey: a key pair for this one command. Its certificate is
 * good for a day before and after; its private key lies sealed in the command's row, and goes with the answer.
 */
const hour = 3_600_000;
const makePair = promisify(generateKeyPair);

export async function makeReplyKey(secrets: ServerSecrets, uuid: string, at: number): Promise<{ certificate: Buffer; sealedKey: Buffer }> {
  const { privateKey } = await makePair('rsa', { modulusLength: 2048 });
  // Clocks of Macs go wrong by hours; the certificate begins an hour before the time that it is given.
  const certificate = makeEscrowCertificate({ commonName: 'Sparekey reply', privateKey, years: 2 / 365.25, at: new Date(at - 23 * hour) });
  return { certificate, sealedKey: seal(secrets, uuid, privateKey) };
}

const nonceBytes = 12;
const tagBytes = 16;
/** Of a secret outside the database, and of this command alone: whoever reads or exchanges rows opens nothing. */
const keyFor = (secrets: ServerSecrets, uuid: string): Buffer =>
  Buffer.from(hkdfSync('sha256', secrets.rowMac, Buffer.from(uuid), 'sparekey mdm reply key 1', 32));

function seal(secrets: ServerSecrets, uuid: string, privateKey: KeyObject): Buffer {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', keyFor(secrets, uuid), nonce);
  const plain = privateKey.export({ type: 'pkcs8', format: 'der' });
  const sealed = Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  plain.fill(0);
  return sealed;
}

/** The new key in an answer, or null: its row was changed, the answer is for another command, or is no key. */
export function openReply(secrets: ServerSecrets, command: MdmCommand, answer: Uint8Array): RecoveryKey | null {
  const { uuid, reply_key: sealed, reply_certificate: certificate } = command;
  if (sealed === null || certificate === null) return null;
  const bytes = Buffer.from(sealed);
  let plain: Buffer;
  try {
    const decipher = createDecipheriv('aes-256-gcm', keyFor(secrets, uuid), bytes.subarray(0, nonceBytes)).setAuthTag(bytes.subarray(-tagBytes));
    plain = Buffer.concat([decipher.update(bytes.subarray(nonceBytes, -tagBytes)), decipher.final()]);
  } catch {
    return null;
  }
  const privateKey = createPrivateKey({ key: plain, format: 'der', type: 'pkcs8' });
  plain.fill(0);
  const opened = openEnvelope(answer, privateKey, certificate);
  return opened === 'unreadable' ? null : opened;
}
