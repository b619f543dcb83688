import { Problem } from '../../protocol/problems.ts';
import type { RecoveryKey } from '../../protocol/recovery-key.ts';
import { type Answer, type Later, type Outbound, Unreached } from '../outbound.ts';
import { writePropertyList } from './property-list.ts';

/** NanoMDM's API, as much of it as is asked here: commands are put into a Mac's queue, and the Mac is woken. */
export interface NanoMdm {
  enqueue(deviceId: string, command: Buffer): Promise<Enqueued>;
  push(deviceId: string): Promise<Enqueued>;
  /** Whether its last answer was one to somebody whose API key it takes. */
  isReached(): boolean;
}

export type Enqueued =
  /** It is in the queue. `note`: the Mac could not be woken. */
  | { kind: 'queued'; note: string | null }
  /** It is not, and asking again would not help. */
  | { kind: 'refused'; because: string }
  /** Nothing was sent. */
  | { kind: 'not-sent'; because: string; seconds: number }
  /** No answer, or none that says it: it may be in the queue. */
  | { kind: 'unsure'; because: string };

/** After a failure that may be over soon. Seconds. */
const soon = 300;

export function createNanoMdm(outbound: Outbound, apiKey: string): NanoMdm {
  let isReached = false;
  const ask = async (path: string, deviceId: string, body?: Buffer): Promise<Enqueued> => {
    const answer = await once(path, deviceId, body);
    isReached = answer.kind === 'queued' || answer.kind === 'refused';
    return answer;
  };
  const once = async (path: string, deviceId: string, body?: Buffer): Promise<Enqueued> => {
    let answer: Answer | Later;
    try {
      answer = await outbound.ask({
        method: 'PUT',
        path: `${path}${encodeURIComponent(deviceId)}`,
        auth: { user: 'nanomdm', password: apiKey },
        ...(body ? { body, headers: { 'content-type': 'application/xml' } } : {}),
      });
    } catch (error) {
      if (error instanceof Unreached) return { kind: 'not-sent', because: error.detail ?? error.code, seconds: soon };
      if (error instanceof Problem) return { kind: 'unsure', because: error.detail ?? error.code };
      throw error;
    }
    if (answer.kind !== 'later') return said(answer, deviceId);
    // A key that may lie in its queue is not sent there again.
    return answer.unsure
      ? { kind: 'unsure', because: 'NanoMDM, or what stands before it, answered 503' }
      : { kind: 'not-sent', because: 'NanoMDM asked for patience', seconds: answer.seconds };
  };
  return {
    enqueue: (deviceId, command) => ask('/v1/enqueue/', deviceId, command),
    push: (deviceId) => ask('/v1/push/', deviceId),
    isReached: () => isReached,
  };
}

/** What another program says in its own words goes into our rows and onto a terminal: no key that it repeats from the command does. */
export function oneLineOf(text: unknown): string {
  const line = String(text)
    .replace(/[\p{C}\s]+/gu, ' ')
    .trim();
  return line.replace(keyShaped, '[recovery key]').slice(0, 200);
}
/** A recovery key as macOS writes it, or as somebody repeats it. */
const keyShaped = /(?<![\p{L}\p{N}])(?:[A-Z0-9]{4}[\p{Pd}\u2212\s]?){5}[A-Z0-9]{4}(?![\p{L}\p{N}])/giu;

function said({ status, body }: Answer, deviceId: string): Enqueued {
  if (status === 401 || status === 403) return { kind: 'not-sent', because: `NanoMDM does not take the API key (${status})`, seconds: 12 * soon };
  if (typeof body !== 'object' || body === null)
    return { kind: status >= 500 || status < 300 ? 'unsure' : 'refused', because: `NanoMDM answered ${status} in a form that is not known` };
  const reply = body as {
    status?: Record<string, { command_error?: unknown; push_error?: unknown } | null> | null;
    command_error?: unknown;
    push_error?: unknown;
  };
  const own = (typeof reply.status === 'object' && reply.status !== null && Object.hasOwn(reply.status, deviceId) && reply.status[deviceId]) || {};
  const notQueued = own.command_error ?? reply.command_error;
  if (notQueued) return { kind: 'refused', because: `NanoMDM: ${oneLineOf(notQueued)}` };
  const notWoken = own.push_error ?? reply.push_error;
  if (!notWoken && (![200, 207].includes(status) || typeof reply.status !== 'object'))
    return { kind: 'unsure', because: `NanoMDM answered ${status} in a form that is not known` };
  return { kind: 'queued', note: notWoken ? `the Mac was not woken: ${oneLineOf(notWoken)}` : null };
}

const command = (uuid: string, parts: Parameters<typeof writePropertyList>[0]): Buffer => Buffer.from(writePropertyList({ Command: parts, CommandUUID: uuid }));

export const securityInfo = (uuid: string): Buffer => command(uuid, { RequestType: 'SecurityInfo' });

/** The serial number of a Mac that was enrolled before anybody told us. */
export const deviceInformation = (uuid: string): Buffer => command(uuid, { RequestType: 'DeviceInformation', Queries: ['SerialNumber', 'UDID'] });

/** Holds the present key in plain, as the command demands: made when it is sent, and filled with zeros afterwards by whoever sends it. */
export const rotateFileVaultKey = (uuid: string, present: RecoveryKey, replyCertificate: Uint8Array): Buffer =>
  command(uuid, {
    RequestType: 'RotateFileVaultKey',
    KeyType: 'personal',
    FileVaultUnlock: { Password: present.reveal() },
    ReplyEncryptionCertificate: replyCertificate,
  });
