import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { Problem } from '../protocol/problems.ts';
import type { Tx } from '../server/parts.ts';
import { spendFormDigest } from '../server/store/web-sessions.ts';
import type { Visit } from './visit.ts';

/** The field of a form, and of JSON the header. */
export const tokenField = 'token';
export const tokenHeader = 'form-token';

/** A page may stay open for a working day; a form that is good once is filled in now. */
const lifeMs = 12 * 60 * 60 * 1000;
const onceLifeMs = 60 * 60 * 1000;

const randomLength = 16;
const expiryLength = 8;
const payloadLength = randomLength + expiryLength;
const macLength = 32;

/** Whom a form was made for (their session, or the cookie of a visitor), and the path that it is sent to. */
export interface FormBinding {
  holder: string;
  act: string;
}

const seal = (secret: Uint8Array, { holder, act }: FormBinding, payload: Uint8Array): Buffer =>
  createHmac('sha256', secret).update(`form\0${holder}\0${act}\0`).update(payload).digest();

/** Authenticated, not stored: 16 random bytes and an expiry under a secret outside the database. */
export function makeFormToken(secret: Uint8Array, binding: FormBinding, at: number, once: boolean): string {
  const payload = Buffer.alloc(payloadLength);
  randomBytes(randomLength).copy(payload);
  payload.writeBigUInt64BE(BigInt(Math.trunc(at) + (once ? onceLifeMs : lifeMs)), randomLength);
  return Buffer.concat([payload, seal(secret, binding, payload)]).toString('base64url');
}

function readToken(token: string): { payload: Buffer; mac: Buffer; expiresAt: number } | null {
  const bytes = Buffer.from(token, 'base64url');
  if (bytes.length !== payloadLength + macLength || bytes.toString('base64url') !== token) return null;
  const payload = bytes.subarray(0, payloadLength);
  return { payload, mac: bytes.subarray(payloadLength), expiresAt: Number(payload.readBigUInt64BE(randomLength)) };
}

/** Throws `FORM_REFUSED` for a token that is not ours, of somebody else, for another act, or too old. */
export function checkFormToken(secret: Uint8Array, binding: FormBinding, token: string | undefined, at: number): void {
  const read = readToken(token ?? '');
  if (!read || !timingSafeEqual(read.mac, seal(secret, binding, read.payload)) || at > read.expiresAt) throw new Problem('FORM_REFUSED');
}

/** Once and never again, in the transaction of its act. Throws `FORM_SPENT`. */
export async function spendForm(tx: Tx, visit: Visit, at: number): Promise<void> {
  const token = visit.form[tokenField] ?? '';
  const read = readToken(token);
  if (!read || at > read.expiresAt) throw new Problem('FORM_REFUSED');
  const digest = createHash('sha256').update(token).digest('hex');
  if (!(await spendFormDigest(tx, digest, read.expiresAt))) throw new Problem('FORM_SPENT');
}
