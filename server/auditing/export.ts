import { createHash, type KeyObject } from 'node:crypto';
import { z } from 'zod';
import { type AuditRow, canonicalJson, recordOf } from '../audit.ts';
import { type AuditKey, isSignedBy, listedKeys, signText } from './audit-key.ts';
import type { Place } from './chain.ts';
import { type Checkpoint, checkpointForm } from './checkpoint.ts';

/**
 * The audit as JSON Lines, for other programs: a head, the checkpoints, the records with the oldest first, and an end that signs
 * it all. Written and read line by line: a million records need no more memory than ten.
 */
const digest = z.string().regex(/^[0-9a-f]{64}$/);

const headForm = z.strictObject({
  format: z.literal('sparekey audit export 1'),
  /** Server milliseconds. */
  madeAt: z.int(),
  serverUrl: z.string(),
  /** False for a selection: its gaps mean nothing, and only each record by itself can be checked. */
  whole: z.boolean(),
  /** What was asked for, in the words of the search; null for all. */
  selection: z.record(z.string(), z.unknown()).nullable(),
  /** The record before the first of these; null in a selection. */
  after: z.strictObject({ seq: z.int().min(0), hash: digest }).nullable(),
  /** The last record that it goes up to; null in a selection. */
  to: z.int().min(0).nullable(),
  keys: listedKeys,
});
type ExportHead = z.infer<typeof headForm>;

export const recordForm = z.strictObject({
  seq: z.int(),
  at: z.int(),
  actor: z.string(),
  act: z.string(),
  macId: z.string().nullable(),
  requestId: z.string().optional(),
  network: z.string().optional(),
  tokenId: z.string().optional(),
  details: z.unknown().optional(),
  detailsText: z.string().optional(),
  previous: z.string(),
  hash: z.string(),
});

const endForm = z.strictObject({
  format: z.literal('sparekey audit export end 1'),
  records: z.int().min(0),
  lastSeq: z.int().nullable(),
  lastHash: z.string().nullable(),
  /** Of all bytes before this line. */
  sha256: digest,
  keyId: digest,
});
export type ExportEnd = z.infer<typeof endForm>;
const signedEnd = z.strictObject({ end: endForm, signature: z.base64() });

/** The line of a record: its hash is over its canonical text without `hash`, in which `details` stands as text. */
export function rowOfRecord(record: z.infer<typeof recordForm>): AuditRow {
  const { macId, requestId = null, network = null, tokenId = null, details, detailsText, ...row } = record;
  return { ...row, mac_id: macId, details: detailsText ?? canonicalJson(details), request_id: requestId, network, token_id: tokenId };
}

export interface Exporting {
  key: AuditKey;
  madeAt: number;
  serverUrl: string;
  selection: Record<string, unknown> | null;
  after: Place | null;
  to: number | null;
  checkpoints: readonly Checkpoint[];
  /** Page by page, the oldest first. */
  pages: AsyncIterable<readonly AuditRow[]>;
}

/** The text in parts. */
export async function* exportText(from: Exporting): AsyncGenerator<string> {
  const sha = createHash('sha256');
  const said = (text: string): string => {
    sha.update(text);
    return text;
  };
  const { key, madeAt, serverUrl, selection, after, to } = from;
  const head: ExportHead = { format: 'sparekey audit export 1', madeAt, serverUrl, whole: after !== null, selection, after, to, keys: [...key.keys] };
  yield said(`${JSON.stringify(head)}\n`);
  if (from.checkpoints.length > 0) yield said(from.checkpoints.map((checkpoint) => `${JSON.stringify({ checkpoint })}\n`).join(''));
  let records = 0;
  let last: Place | null = null;
  for await (const page of from.pages) {
    if (page.length === 0) continue;
    records += page.length;
    last = page.at(-1) ?? last;
    yield said(page.map((row) => `${JSON.stringify(recordOf(row))}\n`).join(''));
  }
  const end: ExportEnd = {
    format: 'sparekey audit export end 1',
    records,
    lastSeq: last?.seq ?? null,
    lastHash: last?.hash ?? null,
    sha256: sha.digest('hex'),
    keyId: key.keyId,
  };
  yield `${JSON.stringify({ end, signature: signText(key.privateKey, canonicalJson(end)) })}\n`;
}

export const isEndSigned = (end: ExportEnd, signature: string, keys: ReadonlyMap<string, KeyObject>): boolean => {
  const key = keys.get(end.keyId);
  return key !== undefined && isSignedBy(key, canonicalJson(end), signature);
};

export type ExportLine =
  | { kind: 'head'; head: ExportHead }
  | { kind: 'checkpoint'; checkpoint: Checkpoint }
  | { kind: 'record'; row: AuditRow }
  | { kind: 'end'; end: ExportEnd; signature: string }
  | { kind: 'unread' };

const checkpointLine = z.strictObject({ checkpoint: checkpointForm });

export function readExportLine(line: string): ExportLine {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return { kind: 'unread' };
  }
  const record = recordForm.safeParse(value);
  if (record.success && (record.data.details === undefined) !== (record.data.detailsText === undefined))
    return { kind: 'record', row: rowOfRecord(record.data) };
  const checkpoint = checkpointLine.safeParse(value);
  if (checkpoint.success) return { kind: 'checkpoint', ...checkpoint.data };
  const end = signedEnd.safeParse(value);
  if (end.success) return { kind: 'end', ...end.data };
  const head = headForm.safeParse(value);
  return head.success ? { kind: 'head', head: head.data } : { kind: 'unread' };
}
