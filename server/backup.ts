import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { z } from 'zod';
import { Problem } from '../protocol/problems.ts';
import { audit, verifyAudit } from './audit.ts';
import { openClock } from './clock.ts';
import { existingFolder, type FolderPaths, folderPaths } from './data-folder.ts';
import { openDatabase } from './database.ts';
import { openEscrowKeys, readEscrowCertificates } from './escrow-keys.ts';
import { proveOpens } from './init.ts';
import { syncFolder } from './private-files.ts';
import { readServerSecrets } from './server-secrets.ts';
import { readSettings, serverVersion } from './settings.ts';
import { copyDatabase, countRows, lastAuditEntry, newestReadableEnvelope, writeMemory } from './store/upkeep.ts';
import { openTar, unpackTar } from './tar.ts';

const manifestName = 'manifest.json';
const member = z.strictObject({ name: z.string(), bytes: z.int().min(0), sha256: z.string().regex(/^[0-9a-f]{64}$/) });
const manifest = z.strictObject({
  format: z.literal('sparekey backup 1'),
  madeAt: z.iso.datetime(),
  serverVersion: z.string(),
  /** The last entry of the audit: a database that was swapped for an older one shows itself. */
  audit: z.strictObject({ seq: z.int(), hash: z.string() }),
  members: z.array(member),
});
export type Manifest = z.infer<typeof manifest>;

/** What belongs to a data folder, besides the database, which is copied by SQLite itself. */
function filesOf(paths: FolderPaths): string[] {
  const inside = (folder: string) => (existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : []);
  const folders = [paths.escrow, paths.deviceCas, dirname(paths.agentCa.key), dirname(paths.tlsCa.key), dirname(paths.tls.key)];
  return [paths.settings, paths.secrets, ...folders.flatMap(inside)].filter((path) => statSync(path).isFile() && !path.endsWith('.new'));
}

export interface BackupResult {
  file: string;
  bytes: number;
  madeAt: string;
  members: number;
  macs: number;
  keys: number;
}

/**
 * Everything that a new machine needs, in one private file: a tar archive with a manifest of digests. The escrow key in
 * it is still encrypted; the agent CA's key and the server's secrets are not, so the file is to be kept like the data folder.
 */
export async function backUp(options: { dir: string; file: string; actor: string }): Promise<BackupResult> {
  const paths = existingFolder(resolve(options.dir));
  const file = resolve(options.file);
  if (existsSync(file)) throw new Problem('USAGE', `${file} exists already; a backup replaces no file`);
  if (!existsSync(dirname(file))) throw new Problem('USAGE', `${dirname(file)} does not exist`);
  const making = join(dirname(file), `.${basename(file)}.making-${randomBytes(4).toString('hex')}`);
  const copy = `${making}.sqlite`;
  const note = (act: 'backup.begun' | 'backup.made') => noteBackup(paths, { act, actor: options.actor, file: basename(file) });
  try {
    const madeAt = await note('backup.begun');
    copyDatabase(paths.database, copy);
    const copied = await openDatabase(copy);
    const rows = await countRows(copied.db);
    const last = await lastAuditEntry(copied.db);
    await copied.close();
    for (const end of ['-wal', '-shm']) rmSync(`${copy}${end}`, { force: true });

    const tar = openTar(making);
    const members = [];
    try {
      for (const path of filesOf(paths)) members.push(tar.add(relative(paths.dir, path), path, statSync(path).size));
      members.push(tar.add(basename(paths.database), copy, statSync(copy).size));
      const description: Manifest = {
        format: 'sparekey backup 1',
        madeAt: madeAt.toISOString(),
        serverVersion: serverVersion(),
        audit: { seq: last?.seq ?? 0, hash: last?.hash ?? '' },
        members,
      };
      const text = Buffer.from(`${JSON.stringify(description, null, 2)}\n`);
      tar.add(manifestName, text, text.length);
    } catch (error) {
      tar.abandon();
      throw error;
    }
    tar.finish();
    renameSync(making, file);
    syncFolder(dirname(file));
    await note('backup.made');
    return { file, bytes: statSync(file).size, madeAt: madeAt.toISOString(), members: members.length, macs: rows.macs, keys: rows.keys };
  } finally {
    for (const left of [making, copy, `${copy}-wal`, `${copy}-shm`]) rmSync(left, { force: true });
  }
}

async function noteBackup(paths: FolderPaths, { act, actor, file }: { act: 'backup.begun' | 'backup.made'; actor: string; file: string }): Promise<Date> {
  const store = await openDatabase(paths.database);
  try {
    const clock = await openClock(store);
    return await store.write(async (tx) => {
      const at = await clock.persist(tx);
      if (act === 'backup.made') await writeMemory(tx, 'last-backup', String(at));
      await audit(tx, { at, actor, act, details: { file } });
      return new Date(at);
    });
  } finally {
    await store.close();
  }
}

/** Unpacks a backup into `folder` (new, private) and compares every digest with the manifest. */
export function unpackBackup(file: string, folder: string): Manifest {
  const unpacked = unpackTar(resolve(file), folder);
  let described: Manifest;
  try {
    described = manifest.parse(JSON.parse(readFileSync(join(folder, manifestName), 'utf8')));
  } catch {
    throw new Problem('BACKUP_INVALID', 'its manifest is missing or cannot be read');
  }
  const found = unpacked.filter(({ name }) => name !== manifestName);
  for (const wanted of described.members) {
    const is = found.find(({ name }) => name === wanted.name);
    if (!is) throw new Problem('BACKUP_INVALID', `${wanted.name} is missing`);
    if (is.sha256 !== wanted.sha256 || is.bytes !== wanted.bytes) throw new Problem('BACKUP_INVALID', `${wanted.name} is not what was backed up`);
  }
  if (found.length !== described.members.length) throw new Problem('BACKUP_INVALID', 'it holds files that its manifest does not name');
  rmSync(join(folder, manifestName));
  return described;
}

/** Opens what was unpacked as a data folder, and says what is wrong with it. */
export async function openUnpacked(folder: string, described: Manifest) {
  const paths = folderPaths(folder);
  readSettings(paths.settings);
  const secrets = readServerSecrets(paths.secrets);
  const store = await openDatabase(paths.database);
  const verdict = await verifyAudit(store);
  const last = await lastAuditEntry(store.db);
  if (!verdict.ok || last?.seq !== described.audit.seq || last.hash !== described.audit.hash) {
    await store.close();
    throw new Problem('BACKUP_INVALID', `its audit is broken${verdict.brokenAt === undefined ? '' : ` at entry ${verdict.brokenAt}`}`);
  }
  return { paths, secrets, store, auditRows: verdict.rows };
}

export interface VerifyResult {
  file: string;
  madeAt: string;
  macs: number;
  keys: number;
  envelopes: number;
  auditRows: number;
  /** Which envelope was opened from the backup alone; null where it has none yet and a trial one was opened instead. */
  opened: { serial: string; recordId: string; receivedAt: string } | null;
}

/** The drill: from this one file and the passphrase, and nothing else, one envelope is opened. */
export async function verifyBackup(options: { file: string; passphrase: string }): Promise<VerifyResult> {
  const folder = mkdtempSync(join(tmpdir(), 'sparekey-verify-'));
  try {
    const described = unpackBackup(options.file, folder);
    const { paths, secrets, store, auditRows } = await openUnpacked(folder, described);
    try {
      const keys = openEscrowKeys(paths.escrow, options.passphrase);
      const rows = await countRows(store.db);
      const newest = await newestReadableEnvelope(store.db);
      if (newest?.bytes) {
        const key = await keys.open(newest.bytes);
        if (typeof key === 'string' || key.fingerprint(secrets.fingerprint) !== newest.fingerprint)
          throw new Problem('BACKUP_INVALID', `the key of ${newest.serial} does not open from it`);
      } else {
        for (const { digest } of readEscrowCertificates(paths.escrow)) {
          const pair = ['key', 'certificate'].map((part) => readFileSync(join(paths.escrow, `${digest}.${part}.pem`), 'utf8')).join('');
          proveOpens(pair, options.passphrase);
        }
      }
      const opened = newest && { serial: newest.serial, recordId: newest.record_id, receivedAt: new Date(newest.received_at).toISOString() };
      return { file: resolve(options.file), madeAt: described.madeAt, ...rows, auditRows, opened };
    } finally {
      await store.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
