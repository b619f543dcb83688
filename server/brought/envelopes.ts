import { createHash } from 'node:crypto';
import { EnvelopeUnreadable, oneRecipientOurs, readEnvelope } from '../../protocol/envelope.ts';
import type { EscrowCertificate } from '../parts.ts';

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** SHA-256 of each encryptedKey block of an envelope that was well formed when it was stored. */
export function blocksOf(bytes: Uint8Array): string[] {
  return readEnvelope(bytes).recipients.flatMap(({ encryptedKey }) => (encryptedKey ? [digest(encryptedKey)] : []));
}

export type LookedAt =
  | { kind: 'ours'; recipient: string; blocks: string[] }
  /** Sealed for somebody else (K0): nothing of it is kept but its digest. */
  | { kind: 'foreign'; recipient: string | null }
  | { kind: 'unreadable'; because: string };

/** What an envelope that an MDM gives out says openly: whether it is sealed to us alone. */
export function lookAtEnvelope(bytes: Uint8Array, certificates: readonly EscrowCertificate[]): LookedAt {
  let envelope: ReturnType<typeof readEnvelope>;
  try {
    envelope = readEnvelope(bytes);
  } catch (error) {
    if (!(error instanceof EnvelopeUnreadable)) throw error;
    return { kind: 'unreadable', because: 'it is no complete CMS envelope' };
  }
  const ours = certificates.find((certificate) => envelope.recipients.some(({ name }) => certificate.names.includes(name)));
  if (!ours) return { kind: 'foreign', recipient: envelope.recipients[0]?.name ?? null };
  if (!oneRecipientOurs(envelope, ours.der)) return { kind: 'unreadable', because: 'it has not exactly one recipient with a well-formed block' };
  return { kind: 'ours', recipient: ours.digest, blocks: blocksOf(bytes) };
}
