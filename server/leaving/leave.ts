import { X509Certificate } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, join, relative, resolve } from 'node:path';
import { Problem } from '../../protocol/problems.ts';
import { audit, recordOf } from '../audit.ts';
import type { Backend } from '../backend.ts';
import { pem } from '../certificates.ts';
import { openDatabase } from '../database.ts';
import { readEscrowCertificates } from '../escrow-keys.ts';
import { copyOfDatabase } from '../folder-copy.ts';
import { readPrivate } from '../private-files.ts';
import { serverVersion } from '../settings.ts';
import { auditRows, envelopeBytes, everyBrought, everyEnvelope, type LeavingRow } from '../store/leaving.ts';
import { closeFolder, dropCopy, type LeavingPaths, openFolder, sha256, writeWhole } from './folder.ts';
import { type LeavingManifest, lineOf, type ManifestLine, tableOf } from './manifest.ts';
import { openingWords } from './opening.ts';

export interface Leaving {
  out: string;
  actor: string;
  reason: string;
  /** After each envelope: how many of how many. */
  progress: (done: number, all: number) => void;
}

export interface Left {
  out: string;
  madeAt: string;
  lines: number;
  files: number;
  /** Files that a run before this one had written already. */
  kept: number;
  auditEntries: number;
  /** Certificates whose private key is not in the data folder. */
  withoutKey: string[];
}

/**
 * Everything out again, sealed as it lies here, into a folder that is opened without this software. A run that was cut
 * goes on where it was; the backend goes on meanwhile, and nothing is taken away from it.
 */
export async function leave(backend: Backend, { out: given, actor, reason, progress }: Leaving): Promise<Left> {
  const out = resolve(given);
  const { dir } = backend.paths;
  for (const [one, other] of [
    [out, dir],
    [dir, out],
  ] as const)
    if (!relative(one, other).startsWith('..')) throw new Problem('USAGE', 'the folder that everything goes out into lies apart from the data folder');
  const note = (act: 'leaving.begun' | 'leaving.made', details: object) =>
    backend.store.write(async (tx) => {
      const at = await backend.clock.persist(tx);
      await audit(tx, { at, actor, act, details: { folder: basename(out), ...details } });
      return at;
    });
  try {
    const paths = openFolder(out);
    const madeAt = new Date(await note('leaving.begun', { reason })).toISOString();
    await copyOfDatabase(backend.paths, paths.copy);
    const copied = await openDatabase(paths.copy);
    try {
      const rows = [...(await everyEnvelope(copied.db)), ...(await everyBrought(copied.db))];
      const { lines, files, kept } = await writeEnvelopes(paths, rows, (row) => envelopeBytes(copied.db, row), progress);
      dropOthers(paths, files);
      const certificates = writeEscrowKeys(paths, backend.paths.escrow);
      const record = await writeAudit(paths, (after) => auditRows(copied.db, after, 1000));
      const manifest: LeavingManifest = {
        format: 'sparekey leaving 1',
        madeAt,
        serverUrl: backend.settings.serverUrl,
        serverVersion: serverVersion(),
        audit: record,
        certificates,
        envelopes: lines,
      };
      writeWhole(paths.opening, openingWords(manifest));
      writeWhole(paths.table, tableOf(lines));
      writeWhole(paths.manifest, `${JSON.stringify(manifest, null, 1)}\n`);
      const left: Left = {
        out,
        madeAt,
        lines: lines.length,
        files: files.size,
        kept,
        auditEntries: record.entries,
        withoutKey: certificates.filter(({ key }) => !key).map((one) => one.digest),
      };
      await copied.close();
      dropCopy(paths);
      await note('leaving.made', { reason, lines: left.lines, files: left.files, manifest: sha256(readFileSync(paths.manifest)) });
      closeFolder(paths);
      return left;
    } finally {
      await copied.close().catch(() => undefined);
      dropCopy(paths);
    }
  } catch (error) {
    if (error instanceof Problem && error.code !== 'DATA_FOLDER_UNWRITABLE' && error.code !== 'DISK_FULL') throw error;
    const { code, errstr } = ((error instanceof Problem ? error.cause : error) ?? {}) as NodeJS.ErrnoException & { errstr?: string };
    // The copy that it reads from is written by SQLite, which has words of its own for a full disk.
    if (code === 'ERR_SQLITE_ERROR') throw new Problem('LEAVING_UNWRITABLE', `${out} (${errstr ?? 'SQLite'})`, { cause: error });
    if (code === undefined || !/^E[A-Z]+$/.test(code)) throw error;
    throw new Problem('LEAVING_UNWRITABLE', `${out} (${code})`, { cause: error });
  }
}

async function writeEnvelopes(
  paths: LeavingPaths,
  rows: readonly LeavingRow[],
  bytesOf: (row: LeavingRow) => Promise<Uint8Array | null>,
  progress: Leaving['progress'],
): Promise<{ lines: ManifestLine[]; files: ReadonlySet<string>; kept: number }> {
  const lines: ManifestLine[] = [];
  const written = new Set<string>();
  let kept = 0;
  for (const row of rows) {
    const bytes = await bytesOf(row);
    const sha = bytes && sha256(bytes);
    if (bytes && sha !== null && !written.has(sha)) {
      if (!writeWhole(join(paths.envelopes, `${sha}.cms`), bytes)) kept += 1;
      written.add(sha);
    }
    lines.push(lineOf(row, bytes, sha));
    progress(lines.length, rows.length);
  }
  return { lines, files: written, kept };
}

/** What a cut run wrote, and is not here any more: its time was over meanwhile, or it was withdrawn. */
function dropOthers(paths: LeavingPaths, files: ReadonlySet<string>): void {
  for (const name of readdirSync(paths.envelopes)) if (!files.has(name.replace(/\.cms$/, ''))) rmSync(join(paths.envelopes, name));
}

/** As they lie in the data folder: the private keys encrypted, or not at all. */
function writeEscrowKeys(paths: LeavingPaths, escrow: string): LeavingManifest['certificates'] {
  return readEscrowCertificates(escrow).map(({ digest, der }) => {
    const { validFromDate, validToDate } = new X509Certificate(der);
    const file = join(escrow, `${digest}.key.pem`);
    const key = existsSync(file) ? readPrivate(file) : null;
    if (key && !/^-----BEGIN ENCRYPTED PRIVATE KEY-----\r?\n[A-Za-z0-9+/=\s]+-----END ENCRYPTED PRIVATE KEY-----\s*$/.test(key.toString('latin1')))
      throw new Problem('SERVER_SETTINGS_INVALID', `${file} is no encrypted private key: in plain it goes nowhere`);
    writeWhole(join(paths.escrow, `${digest}.certificate.pem`), pem('CERTIFICATE', der));
    if (key) writeWhole(join(paths.escrow, `${digest}.key.pem`), key);
    return { digest, notBefore: validFromDate.toISOString(), notAfter: validToDate.toISOString(), key: key !== null };
  });
}

async function writeAudit(paths: LeavingPaths, page: (after: number) => ReturnType<typeof auditRows>): Promise<LeavingManifest['audit']> {
  const lines: string[] = [];
  let last = { seq: 0, hash: '' };
  for (let rows = await page(0); rows.length > 0; rows = await page(last.seq)) {
    for (const row of rows) {
      lines.push(`${JSON.stringify(recordOf(row))}\n`);
      last = row;
    }
  }
  const text = Buffer.from(lines.join(''));
  writeWhole(paths.audit, text);
  return { entries: lines.length, seq: last.seq, hash: last.hash, sha256: sha256(text) };
}
