import { EnvelopeUnreadable, readEnvelope } from '../../protocol/envelope.ts';
import { limits } from '../../protocol/messages.ts';
import type { Trouble } from './entry.ts';

const label = /^-----BEGIN ([A-Z0-9 ]+)-----$/m;
/** RFC 7468 and what OpenSSL writes. */
const sealedLabels = ['CMS', 'PKCS7', 'PKCS #7 SIGNED DATA'];

const fault = (because: string, fate: Trouble['fate'] = 'refused'): Trouble => ({ fate, because });

/** The complete envelope in `bytes`, or why it is none. */
function envelopeOf(bytes: Buffer): { bytes: Buffer } | Trouble {
  if (bytes.length > limits.envelopeBytes) return fault('the envelope is longer than any that macOS makes');
  try {
    readEnvelope(bytes);
    return { bytes };
  } catch (error) {
    if (!(error instanceof EnvelopeUnreadable)) throw error;
    return fault('it begins like an envelope (CMS) and is not a complete one: was it cut?');
  }
}

/** Base64 of a CMS, with or without PEM around it; null where it does not look like one. Intune shows such texts, `MIAG…`, as a key. */
export function sealedOf(text: string): { bytes: Buffer } | Trouble | null {
  const [, kind] = label.exec(text) ?? [];
  if (kind !== undefined && !sealedLabels.includes(kind)) return fault('a certificate or private key is where a recovery key should be', 'other-secret');
  const body = text.replace(/-----(?:BEGIN|END) [A-Z0-9 #]+-----/g, '').replace(/\s+/g, '');
  // 0x30, a sequence, and its length: all of them begin with M.
  const looksSealed = kind !== undefined || (/^M[A-Za-z0-9+/]{60,}={0,2}$/.test(body) && body.length % 4 === 0);
  if (!looksSealed)
    return /^M[I-L][A-Za-z0-9+/]{60,}={0,2}$/.test(body) ? fault('it begins like an envelope (CMS) and is not a complete one: was it cut?') : null;
  return envelopeOf(Buffer.from(body, 'base64'));
}

/** A sequence of more than 127 bytes, or of unknown length as macOS writes it; no text has such a second sign. */
export const isDer = (bytes: Buffer): boolean => bytes[0] === 0x30 && (bytes[1] ?? 0) >= 0x80;

/** A file of its own: DER as macOS writes it, base64, or PEM. */
export const envelopeFile = (bytes: Buffer): { bytes: Buffer } | Trouble =>
  isDer(bytes) ? envelopeOf(bytes) : (sealedOf(bytes.toString('latin1')) ?? fault('it is no envelope (CMS)'));
