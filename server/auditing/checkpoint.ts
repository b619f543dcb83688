import type { KeyObject } from 'node:crypto';
import { z } from 'zod';
import { canonicalJson } from '../audit.ts';
import type { AuditingTables } from '../auditing-tables.ts';
import { type AuditKey, digestOfCanonical, isSignedBy, signText } from './audit-key.ts';

const digest = z.string().regex(/^[0-9a-f]{64}$/);

/** A signed statement about the audit, as files, webhooks and exports have it. */
export const checkpointForm = z.strictObject({
  format: z.literal('sparekey audit checkpoint 1'),
  /** 1, 2, 3 … */
  number: z.int().min(1),
  /** `retained`: the records up to here were taken out into a file, and the table begins after them. */
  kind: z.enum(['end', 'retained']),
  /** The record that has this hash. 0: there is none yet. */
  seq: z.int().min(0),
  hash: digest,
  /** Server milliseconds. */
  at: z.int(),
  /** How many records the table held up to there. */
  rows: z.int().min(0),
  keyId: digest,
  /** SHA-256 of the signed text of the checkpoint before; zeros for the first. */
  previous: digest,
  /** Ed25519 over the canonical JSON of all above, base64. */
  signature: z.base64(),
});
export type Checkpoint = z.infer<typeof checkpointForm>;
type Said = Omit<Checkpoint, 'signature'>;

/** What is signed. */
export function textOfCheckpoint({ format, number, kind, seq, hash, at, rows, keyId, previous }: Said): string {
  return canonicalJson({ format, number, kind, seq, hash, at, rows, keyId, previous });
}
export const noCheckpoint = '0'.repeat(64);
/** By which the next one names it. */
export const digestOfCheckpoint = (checkpoint: Said): string => digestOfCanonical(JSON.parse(textOfCheckpoint(checkpoint)));

export function signCheckpoint(key: AuditKey, what: Omit<Said, 'format' | 'keyId' | 'number' | 'previous'>, before: Checkpoint | null): Checkpoint {
  const said: Said = {
    format: 'sparekey audit checkpoint 1',
    ...what,
    number: (before?.number ?? 0) + 1,
    keyId: key.keyId,
    previous: before ? digestOfCheckpoint(before) : noCheckpoint,
  };
  return { ...said, signature: signText(key.privateKey, textOfCheckpoint(said)) };
}

/** `unknown`: no key in the list has signed it, as far as it says. */
export function judgeCheckpoint(checkpoint: Checkpoint, keys: ReadonlyMap<string, KeyObject>): 'good' | 'forged' | 'unknown' {
  const key = keys.get(checkpoint.keyId);
  if (!key) return 'unknown';
  return isSignedBy(key, textOfCheckpoint(checkpoint), checkpoint.signature) ? 'good' : 'forged';
}

type Row = AuditingTables['audit_checkpoint'];

export const checkpointOf = ({ key_id: keyId, ...row }: Row): Checkpoint => ({ format: 'sparekey audit checkpoint 1', keyId, ...row });
export const rowOfCheckpoint = ({ format: _, keyId, ...said }: Checkpoint): Row => ({ ...said, key_id: keyId });

/** A line of a file of checkpoints. */
export const lineOfCheckpoint = (checkpoint: Checkpoint): string => `${canonicalJson(checkpoint)}\n`;
