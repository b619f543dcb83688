import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { Problem } from '../protocol/problems.ts';
import { archive, type Manifest, unpackBackup } from './archive.ts';
import { audit, verifyAudit } from './audit.ts';
import { checkpointOfNews } from './auditing/checkpoints.ts';
import { isBeginningSigned } from './auditing/verify.ts';
import { hasDrillFailed, inDatabaseOf, lastBackupMark, tellOfFailure } from './backup-late.ts';
import { existingFolder, type FolderPaths, folderPaths } from './data-folder.ts';
import { openDatabase } from './database.ts';
import { copyOfDatabase } from './folder-copy.ts';
import { sayAnew } from './operator-alarms.ts';
import { syncFolder, unwritable } from './private-files.ts';
import { isRowWhole } from './row-mac.ts';
import { isSealed, sealFile, type UnsealKey, unsealFile } from './sealed-file.ts';
import { readServerSecrets } from './server-secrets.ts';
import { readSettings } from './settings.ts';
import { countRows, lastAuditEntry, newestEnvelopeWithRecord, writeMemory } from './store/upkeep.ts';
import { removeUnfinished, unfinishedName } from './unfinished.ts';

export interface BackupResult {
  file: string;
  bytes: number;
  madeAt: string;
  members: number;
  macs: number;
  keys: number;
  encrypted: boolean;
}

/**
 * Everything that a new machine needs, in one private file: a tar archive with a manifest of digests. The escrow key in
 * it is still encrypted; the agent CA's key and the server's secrets are not. Without a certificate to encrypt it to, the file
 * is to be kept like the data folder. What is made on the way lies in the data folder: of one that is encrypted, nothing in
 * clear is ever beside it.
 */
export async function backUp(options: { dir: string; file: string; actor: string; encryptTo?: Buffer | null }): Promise<BackupResult> {
  const paths = existingFolder(resolve(options.dir));
  const file = resolve(options.file);
  if (existsSync(file)) throw new Problem('USAGE', `${file} exists already; a backup replaces no file`);
  if (!existsSync(dirname(file))) throw new Problem('USAGE', `${dirname(file)} does not exist`);
  const unfinished = unfinishedName();
  const copy = join(paths.dir, `${unfinished}.sqlite`);
  const plain = join(options.encryptTo ? paths.dir : dirname(file), unfinished);
  const sealed = join(dirname(file), `${unfinished}.sealed`);
  const note = (act: 'backup.begun' | 'backup.made') => noteBackup(paths, { act, actor: options.actor, file: basename(file) });
  try {
    for (const folder of [paths.dir, dirname(file)]) removeUnfinished(folder);
    const madeAt = await note('backup.begun');
    await inDatabaseOf(paths, (_, ground) => checkpointOfNews({ ...ground, paths }));
    await copyOfDatabase(paths, copy);
    const rows = await lookInto(copy, paths);
    for (const end of ['-wal', '-shm']) rmSync(`${copy}${end}`, { force: true });
    const members = archive(paths, copy, plain, madeAt);
    rmSync(copy);
    if (options.encryptTo) sealFile(plain, sealed, options.encryptTo);
    renameSync(options.encryptTo ? sealed : plain, file);
    syncFolder(dirname(file));
    await note('backup.made');
    return { file, bytes: statSync(file).size, madeAt: madeAt.toISOString(), members, macs: rows.macs, keys: rows.keys, encrypted: Boolean(options.encryptTo) };
  } catch (error) {
    const problem = asBackupProblem(file, error);
    await tellOfFailure(paths, 'BACKUP_FAILS', basename(file), problem);
    throw problem;
  } finally {
    for (const left of [plain, sealed, copy, `${copy}-wal`, `${copy}-shm`]) rmSync(left, { force: true });
  }
}

const beginsForged = 'the checkpoint with which it begins is forged: records before it were cut off';

/** What could not be restored is no backup, and must not push out one that could: the audit and the newest envelope are looked at in the copy. */
async function lookInto(copy: string, paths: FolderPaths): Promise<{ macs: number; keys: number }> {
  const store = await openDatabase(copy);
  try {
    const verdict = await verifyAudit(store);
    if (!verdict.ok) throw new Problem('AUDIT_BROKEN', `at entry ${verdict.brokenAt ?? 'unknown'}`);
    if (!(await isBeginningSigned({ store, paths }))) throw new Problem('AUDIT_BROKEN', beginsForged);
    const newest = await newestEnvelopeWithRecord(store.db);
    if (newest && !(newest.record && isRowWhole(readServerSecrets(paths.secrets), newest.record, newest.envelope)))
      throw new Problem('BACKUP_INVALID', `envelope ${newest.envelope.id.slice(0, 12)}, the newest, is not as it was stored`);
    return await countRows(store.db);
  } finally {
    await store.close();
  }
}

/** A full disk is the everyday case of a timer. */
function asBackupProblem(file: string, error: unknown): unknown {
  const { code, errcode } = error as NodeJS.ErrnoException & { errcode?: number };
  // SQLite says it in its own way while it writes its copy.
  if (errcode !== undefined && (errcode & 0xff) === 13) return new Problem('BACKUP_FAILED', `${file} (the disk is full)`, { cause: error });
  const wrapped = code === undefined ? error : unwritable(file, error);
  return wrapped instanceof Problem && ['DATA_FOLDER_UNWRITABLE', 'DISK_FULL'].includes(wrapped.code)
    ? new Problem('BACKUP_FAILED', wrapped.detail, { cause: error })
    : error;
}

function noteBackup(paths: FolderPaths, { act, actor, file }: { act: 'backup.begun' | 'backup.made'; actor: string; file: string }): Promise<Date> {
  return inDatabaseOf(paths, async (store, ground) => {
    const at = await store.write(async (tx) => {
      const now = await ground.clock.persist(tx);
      if (act === 'backup.made') await writeMemory(tx, lastBackupMark, String(now));
      await audit(tx, { at: now, actor, act, details: { file } });
      return now;
    });
    if (act === 'backup.made') await sayAnew(ground, 'BACKUP_FAILS', []);
    return new Date(at);
  });
}

/** Opens what was unpacked as a data folder, and says what is wrong with it. */
export async function openUnpacked(folder: string, described: Manifest) {
  const paths = folderPaths(folder);
  const settings = readSettings(paths.settings);
  const secrets = readServerSecrets(paths.secrets);
  const store = await openDatabase(paths.database);
  const verdict = await verifyAudit(store);
  const last = await lastAuditEntry(store.db);
  if (verdict.ok && !(await isBeginningSigned({ store, paths }))) {
    await store.close();
    throw new Problem('BACKUP_INVALID', beginsForged);
  }
  if (!verdict.ok || last?.seq !== described.audit.seq || last.hash !== described.audit.hash) {
    await store.close();
    throw new Problem('BACKUP_INVALID', `its audit is broken${verdict.brokenAt === undefined ? '' : ` at entry ${verdict.brokenAt}`}`);
  }
  return { paths, settings, secrets, store, auditRows: verdict.rows };
}

/** Of a timer: its own name, by the time, so that they sort. */
const timedName = /^sparekey-\d{8}T\d{6}Z\.tar(\.cms)?$/;

/** The newest backup that a timer has put there. */
export function newestBackup(folder: string): string {
  const [newest] = timedBackups(folder);
  if (newest === undefined) throw new Problem('BACKUP_INVALID', `there is no backup in ${folder}`);
  return newest;
}

function timedBackups(folder: string): string[] {
  try {
    const names = readdirSync(folder).filter((name) => timedName.test(name));
    // By their time: an encrypted one and a plain one may stand beside each other.
    return names.sort((one, other) => other.slice(0, 25).localeCompare(one.slice(0, 25))).map((name) => join(folder, name));
  } catch (error) {
    throw new Problem('USAGE', `${folder} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
}

/**
 * For a timer: a new file in this folder, and only then the oldest beyond `keep` are removed. Other files there stay. Where the
 * last drill failed nothing is removed: an older one may be the one that opens.
 */
export async function backUpInto(options: { dir: string; folder: string; keep: number; actor: string; encryptTo: Buffer | null }) {
  const { dir, keep, actor, encryptTo } = options;
  const folder = resolve(options.folder);
  timedBackups(folder);
  const { now, drillFailed } = await inDatabaseOf(existingFolder(resolve(dir)), async (store, { clock }) => ({
    now: new Date(clock.now()),
    drillFailed: await hasDrillFailed(store),
  }));
  const stamp = now.toISOString().replace(/\.\d+/, '').replace(/[-:]/g, '');
  const made = await backUp({ dir, file: join(folder, `sparekey-${stamp}.tar${encryptTo ? '.cms' : ''}`), actor, encryptTo });
  const removed = drillFailed ? [] : timedBackups(folder).slice(keep);
  for (const path of removed) rmSync(path, { force: true });
  return { ...made, removed: removed.length, drillFailed };
}

/** Unpacks a backup, encrypted or not, into `folder` (new, private). `keys` are asked for only where it is encrypted. */
export async function unpackAny(file: string, folder: string, keys: () => Promise<readonly UnsealKey[]>): Promise<{ described: Manifest; sealed: boolean }> {
  if (!isSealed(resolve(file))) return { described: unpackBackup(file, folder), sealed: false };
  // Beside it: there is room for as much again.
  const inside = mkdtempSync(`${folder}-`);
  try {
    const plain = join(inside, 'backup.tar');
    unsealFile(resolve(file), plain, await keys());
    return { described: unpackBackup(plain, folder), sealed: true };
  } finally {
    rmSync(inside, { recursive: true, force: true });
  }
}
