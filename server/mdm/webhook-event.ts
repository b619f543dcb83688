import { createHmac, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { bytesOfBase64 } from './property-list.ts';

/** An event of NanoMDM or MicroMDM, as their webhooks send it. */
export interface WebhookEvent {
  topic: string;
  /** By the MDM's clock. */
  createdAt: number;
  /** What the MDM calls the enrolment. Null where it names none. */
  deviceId: string | null;
  udid: string | null;
  /** Of a user on the Mac, and not of the Mac: such a one knows nothing of FileVault. */
  ofUser: boolean;
  /** `mdm.Connect` only. */
  status: string | null;
  commandUuid: string | null;
  /** What the Mac sent. Null where it was dropped unread, or is no base64. */
  payload: Buffer | null;
}

/** These carry the Bootstrap Token, push tokens or a digest of somebody's password: their payloads are not even decoded. */
const secretTopics = ['mdm.SetBootstrapToken', 'mdm.GetBootstrapToken', 'mdm.TokenUpdate', 'mdm.UserAuthenticate'];
export const isSecretTopic = (topic: string): boolean => secretTopics.includes(topic);

const text = (most: number) => z.string().max(most).nullish();
/** An enrolment goes into an address and into our rows. */
const name = z
  .string()
  .regex(/^[\x21-\x7e]{0,255}$/)
  .nullish();
const about = {
  udid: name,
  enrollment_id: name,
  ids: z.object({ id: name, type: text(64) }).nullish(),
  raw_payload: z.string().nullish(),
};
/** What else there is, is passed over: both products add fields. */
const schema = z.object({
  topic: z.string().min(1).max(128),
  created_at: z.string().max(64),
  acknowledge_event: z.object({ ...about, status: text(64), command_uuid: text(128) }).nullish(),
  checkin_event: z.object(about).nullish(),
});

/** RFC 3339, up to nanoseconds. */
const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/;

/** Null where it has not the form of an event. The bytes are known to be the MDM's. */
export function readEvent(body: Uint8Array): WebhookEvent | null {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    return null;
  }
  const read = schema.safeParse(json);
  if (!read.success) return null;
  const { topic, created_at: created, acknowledge_event: acknowledged, checkin_event: checkedIn } = read.data;
  const createdAt = time.test(created) ? Date.parse(created) : Number.NaN;
  if (Number.isNaN(createdAt)) return null;
  const from = topic === 'mdm.Connect' ? acknowledged : checkedIn;
  // NanoMDM's name first: MicroMDM has none.
  const id = from?.ids?.id || from?.enrollment_id || from?.udid || null;
  return {
    topic,
    createdAt,
    deviceId: id,
    udid: from?.udid || null,
    ofUser: ['User', 'User Enrollment', 'Shared iPad'].includes(from?.ids?.type ?? ''),
    status: acknowledged?.status || null,
    commandUuid: acknowledged?.command_uuid || null,
    payload: isSecretTopic(topic) ? null : bytesOfBase64(from?.raw_payload ?? '?'),
  };
}

/** `X-Hmac-Signature` of NanoMDM: HMAC-SHA-256 of the raw body in base64, nothing before it. */
export function isSigned(key: Uint8Array, body: Uint8Array, header: unknown): boolean {
  const expected = createHmac('sha256', key).update(body).digest();
  const given = typeof header === 'string' && header.length === 44 ? bytesOfBase64(header) : null;
  return given !== null && given.length === expected.length && timingSafeEqual(given, expected);
}

/** MicroMDM signs nothing; its program sends what stands in the address of its webhook, `https://mdm:KEY@…`, as Basic authentication. */
export function knowsKey(key: Uint8Array, header: unknown): boolean {
  const encoded = typeof header === 'string' ? (/^Basic ([A-Za-z0-9+/=]{1,1024})$/.exec(header)?.[1] ?? '') : '';
  const said = Buffer.from(encoded, 'base64').toString('utf8');
  // Compared as digests: neither the time nor the length says anything.
  const digest = (bytes: Uint8Array) => createHmac('sha256', 'sparekey webhook').update(bytes).digest();
  return timingSafeEqual(digest(Buffer.from(said.slice(said.indexOf(':') + 1))), digest(key)) && said.includes(':');
}
