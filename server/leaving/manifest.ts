import { z } from 'zod';
import { isoTime } from '../custody-parts.ts';
import type { LeavingRow } from '../store/leaving.ts';

const time = z.iso.datetime().nullable();
const digest = z.string().regex(/^[0-9a-f]{64}$/);

/** One envelope, as whoever comes after us reads of it. */
const line = z.strictObject({
  serial: z.string(),
  /** `proved` by the Mac's certificate, `claimed` by the Mac, or `said` by whoever brought the key. */
  serialIs: z.enum(['proved', 'claimed', 'said']),
  hardwareUuid: z.string().nullable(),
  volume: z.string().nullable(),
  macId: z.string().nullable(),
  keyId: z.string(),
  kind: z.enum(['record', 'brought']),
  state: z.string(),
  stateSince: z.iso.datetime(),
  because: z.string(),
  source: z.string(),
  madeAt: time,
  receivedAt: z.iso.datetime(),
  provedAt: time,
  disclosedAt: time,
  readable: z.enum(['yes', 'no', 'not-tried']),
  recipient: z.string(),
  /** Null where the envelope was destroyed by retention, or withdrawn. */
  file: z
    .string()
    .regex(/^envelopes\/[0-9a-f]{64}\.cms$/)
    .nullable(),
  sha256: digest.nullable(),
  bytes: z.int().nullable(),
});
export type ManifestLine = z.infer<typeof line>;

export const leavingManifest = z.strictObject({
  format: z.literal('sparekey leaving 1'),
  madeAt: z.iso.datetime(),
  serverUrl: z.string(),
  serverVersion: z.string(),
  /** The last entry of the audit that is in audit.jsonl. */
  audit: z.strictObject({ entries: z.int(), seq: z.int(), hash: z.string(), sha256: digest }),
  /** `key`: whether its private key, encrypted, is in the folder. */
  certificates: z.array(z.strictObject({ digest, notBefore: z.iso.datetime(), notAfter: z.iso.datetime(), key: z.boolean() })),
  envelopes: z.array(line),
});
export type LeavingManifest = z.infer<typeof leavingManifest>;

const timeOrNull = (at: number | null): string | null => (at === null ? null : isoTime(at));

export function lineOf(row: LeavingRow, bytes: Uint8Array | null, sha: string | null): ManifestLine {
  const { kind, serialProved, stateAt, madeAt, receivedAt, provedAt, disclosedAt, envelopeId: _, ...rest } = row;
  return {
    ...rest,
    kind,
    serialIs: serialProved ? 'proved' : kind === 'record' ? 'claimed' : 'said',
    stateSince: isoTime(stateAt),
    madeAt: timeOrNull(madeAt),
    receivedAt: isoTime(receivedAt),
    provedAt: timeOrNull(provedAt),
    disclosedAt: timeOrNull(disclosedAt),
    file: sha === null ? null : `envelopes/${sha}.cms`,
    sha256: sha,
    bytes: bytes?.length ?? null,
  };
}

const columns = [
  'serial',
  'serialIs',
  'state',
  'provedAt',
  'receivedAt',
  'file',
  'recipient',
  'hardwareUuid',
  'volume',
  'kind',
  'source',
  'because',
  'stateSince',
  'madeAt',
  'disclosedAt',
  'readable',
  'sha256',
  'bytes',
  'macId',
  'keyId',
] as const satisfies readonly (keyof ManifestLine)[];

/** Macs say some of it: a spreadsheet must not take a cell for a formula, nor a line end for a new row. */
function cell(value: string | number | null): string {
  const flat = String(value ?? '').replace(/\p{C}+/gu, ' ');
  const text = /^[=+\-@]/.test(flat) ? `'${flat}` : flat;
  return /[",;]/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text;
}

export const tableOf = (lines: readonly ManifestLine[]): string =>
  [columns.join(','), ...lines.map((one) => columns.map((name) => cell(one[name])).join(','))].map((row) => `${row}\r\n`).join('');
