import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Problem } from '../../protocol/problems.ts';
import { audit } from '../audit.ts';
import type { Backend } from '../backend.ts';
import { type CommandResult, table, when } from '../command.ts';
import { auditKeyOf, changeAuditKey, makeCheckpoint } from './checkpoints.ts';
import { exportText } from './export.ts';
import { writeNew } from './new-file.ts';
import { exportOf } from './search.ts';
import { type Verdict, verifyExport, verifyLive } from './verify.ts';

export interface VerifyFlags {
  export?: string;
  checkpoints?: string;
  publicKey?: string;
  since?: string;
}

const readGivenKey = (file: string | undefined): string | null => {
  if (file === undefined) return null;
  if (!existsSync(file)) throw new Problem('USAGE', `${file} is not there`);
  return readFileSync(file, 'utf8');
};

export function timeOf(name: string, text: string): number {
  const at = Date.parse(text);
  if (Number.isNaN(at)) throw new Problem('USAGE', `${name} is no ISO date`);
  return at;
}

/** `backend` is null where a file is looked at: for that no data folder is needed. */
export async function auditVerify(backend: Backend | null, flags: VerifyFlags, progress: (rows: number) => void): Promise<CommandResult> {
  const given = { publicKey: readGivenKey(flags.publicKey), checkpointsFile: flags.checkpoints ?? null, progress };
  const since = flags.since === undefined ? null : { at: timeOf('--since', flags.since) };
  if (flags.export !== undefined) {
    if (since !== null) throw new Problem('USAGE', '--since is for the database: an export is looked at as a whole');
    return sayVerdict(await verifyExport(flags.export, given));
  }
  if (!backend) throw new Problem('SERVER_BUG');
  return sayVerdict(await verifyLive(backend, given, since));
}

const place = (from: number, to: number): string => (from === to ? String(from) : `${from}–${to}`);

function sayVerdict(verdict: Verdict): CommandResult {
  const { rows, first, last, findings, more, sealedTo, checkpoints, keyId, keyIsKnown, ok } = verdict;
  const json = { ok, rows, first, last, sealedTo, checkpoints, keyId, keyIsKnown, findings, more };
  const unsealed = (last?.seq ?? 0) - sealedTo;
  const sealed =
    sealedTo === 0
      ? 'no checkpoint says so: whoever can write the database could have made it anew'
      : `${checkpoints} checkpoint(s) say so up to record ${sealedTo}${unsealed > 0 ? `; the ${unsealed} after it are under none yet` : ''}`;
  const known =
    keyIsKnown || keyId === null
      ? []
      : [`the signatures were checked with the key that lies beside them (${keyId.slice(0, 16)}…): name the one that you know with --public-key`];
  if (ok) return { json, text: `the audit is whole: ${rows} entries${last ? `, ${first} to ${last.seq}` : ''}\n${sealed}`, warnings: known };
  const problem = new Problem('AUDIT_BROKEN', `${findings.length + more} finding(s) in ${rows} entries`);
  const lines = table(
    ['record', 'what', 'act', ''],
    findings.map(({ kind, from, to, act, says }) => [kind === 'file' ? '–' : place(from, to), kind, act ?? '–', says]),
  );
  return {
    json: { ...json, brokenAt: findings[0]?.from ?? null, code: problem.code },
    text: `${problem.message}\n${lines}${more > 0 ? `\nand ${more} more` : ''}\n${sealed}`,
    warnings: [...known, problem.kind.fix],
    exit: problem.kind.exit,
  };
}

export async function auditCheckpoint(backend: Backend): Promise<CommandResult> {
  const made = await makeCheckpoint(backend);
  if (!made) throw new Problem('AUDIT_BROKEN', '`sparekey-server audit verify` says which records');
  return {
    json: made,
    text: `checkpoint ${made.number}: record ${made.seq} has the hash ${made.hash}\nit is in audit-checkpoints.jsonl: keep copies of that file elsewhere`,
  };
}

/** The public key, for whoever checks without us. */
export async function auditKeyShown(backend: Backend): Promise<CommandResult> {
  const { keyId, keys } = await auditKeyOf(backend);
  const present = keys.at(-1);
  return {
    json: { keyId, publicKey: present?.publicKey, keys },
    text: (present?.publicKey ?? '').trimEnd(),
    warnings: [`key ${keyId}, of ${when(present?.at ?? null)}; ${keys.length - 1} before it`],
  };
}

export async function auditKeyReplaced(backend: Backend, actor: string, reason: string): Promise<CommandResult> {
  const { keyId, keys } = await changeAuditKey(backend, actor, reason);
  return {
    json: { keyId },
    text: `checkpoints are signed by ${keyId} from here on; the ${keys.length - 1} key(s) before it stay known\nmake a backup: the new key is in none yet`,
  };
}

export interface ExportFlags {
  from?: string;
  to?: string;
}

export const periodOf = ({ from, to }: ExportFlags): { from?: number; to?: number } => ({
  ...(from === undefined ? {} : { from: timeOf('--from', from) }),
  ...(to === undefined ? {} : { to: timeOf('--to', to) }),
});

/** Whoever takes the audit out is recorded before anything goes out. */
export async function noteExport({ store, clock }: Pick<Backend, 'store' | 'clock'>, actor: string, details: Record<string, unknown>): Promise<void> {
  await store.write(async (tx) => audit(tx, { at: await clock.persist(tx), actor, act: 'audit.exported', details }));
}

export async function auditExport(backend: Backend, file: string, flags: ExportFlags, actor: string): Promise<CommandResult> {
  const period = periodOf(flags);
  const exporting = await exportOf(backend, period, null, said(period));
  await noteExport(backend, actor, { ...said(period), to: exporting.to });
  const bytes = await writeNew(file, exportText(exporting));
  const verdict = await verifyExport(file, { publicKey: null, checkpointsFile: null, progress: () => undefined });
  const { rows } = verdict;
  return {
    json: { file: resolve(file), bytes, records: rows, first: verdict.first, last: verdict.last?.seq ?? null, keyId: exporting.key.keyId, ok: verdict.ok },
    text: `${resolve(file)}: ${rows} records, ${bytes} bytes, signed by ${exporting.key.keyId}\ncheck it anywhere: sparekey-server audit verify --export ${resolve(file)} --public-key KEY.pem`,
    ...(verdict.ok ? {} : { warnings: ['the audit is broken: `audit verify` says which records'], exit: 77 as const }),
  };
}

function said(period: { from?: number; to?: number }): Record<string, unknown> {
  return Object.fromEntries(Object.entries(period).map(([name, at]) => [name, new Date(at).toISOString()]));
}
