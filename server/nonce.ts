import { createHmac, randomFillSync, timingSafeEqual } from 'node:crypto';

/** A nonce is good for this long. */
export const nonceSeconds = 5 * 60;

/** What a nonce is for: one made for enrolment is none for a grant. */
export type NoncePurpose = 'enrol' | 'grant';

const randomLength = 32;
const expiryLength = 8;
const macLength = 32;

/** Random bytes for many nonces at once: to ask for few costs as much, and every check-in has one. None is used twice. */
const random = { bytes: Buffer.alloc(128 * randomLength), used: 128 * randomLength };
function takeRandom(): Buffer {
  if (random.used === random.bytes.length) {
    randomFillSync(random.bytes);
    random.used = 0;
  }
  random.used += randomLength;
  return random.bytes.subarray(random.used - randomLength, random.used);
}

const seal = (secret: Uint8Array, purpose: string, payload: Uint8Array): Buffer =>
  createHmac('sha256', secret).update(`nonce:${purpose}\0`).update(payload).digest();

/**
 * 32 random bytes with their expiry, authenticated by a secret that all backends share: nothing is stored
 * for a nonce that nobody uses. `bound` ties it to one asker, such as an enrolment.
 */
export function makeNonce(secret: Uint8Array, purpose: NoncePurpose, now: number, bound = ''): string {
  const payload = Buffer.alloc(randomLength + expiryLength);
  takeRandom().copy(payload);
  payload.writeBigUInt64BE(BigInt(Math.trunc(now) + nonceSeconds * 1000), randomLength);
  return Buffer.concat([payload, seal(secret, `${purpose}:${bound}`, payload)]).toString('base64url');
}

/**
 * When the nonce expires, if it is one of ours for this purpose and has not expired yet; otherwise null. Whether it was
 * used before is said by the table of spent nonces, in the transaction of the act.
 */
export function readNonce(secret: Uint8Array, purpose: NoncePurpose, nonce: string, now: number, bound = ''): number | null {
  const bytes = Buffer.from(nonce, 'base64url');
  if (bytes.length !== randomLength + expiryLength + macLength || bytes.toString('base64url') !== nonce) return null;
  const payload = bytes.subarray(0, randomLength + expiryLength);
  if (!timingSafeEqual(bytes.subarray(payload.length), seal(secret, `${purpose}:${bound}`, payload))) return null;
  const expires = Number(payload.readBigUInt64BE(randomLength));
  return now <= expires ? expires : null;
}
