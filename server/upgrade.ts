import { existsSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Problem } from '../protocol/problems.ts';
import { archive } from './archive.ts';
import { audit } from './audit.ts';
import { openClock } from './clock.ts';
import { databaseOf, type FolderPaths } from './data-folder.ts';
import { type DatabaseOptions, openDatabase } from './database.ts';
import type { Store } from './parts.ts';
import { makePrivateFolder, syncFolder } from './private-files.ts';
import { refuseWhileServed } from './store/serve-lock.ts';
import { copyDatabase, entryOfInit, lastTimeIn, movedTo, refuseMoved } from './store/upkeep.ts';
import { removeUnfinished, unfinishedName } from './unfinished.ts';
import { upgradeCopies, upgradeCopyName, upgradeFolder } from './upgrade-copies.ts';

/** Older ones are of a program that nobody goes back to. */
const keptUpgradeCopies = 3;

/**
 * Before a newer program changes the shape of the database: the whole folder as it is, as `backup` makes it, so that the
 * older program and `restore` are the way back. Called while nobody else can write; a failure stops the upgrade.
 */
function copyBeforeUpgrade(paths: FolderPaths, from: number): string {
  refuseWhileServed(paths.dir);
  const at = new Date(lastTimeIn(paths.database));
  const folder = upgradeFolder(paths.dir);
  const file = join(folder, upgradeCopyName(from, at));
  const making = join(folder, unfinishedName());
  const failed = (error: unknown) => {
    const because = error instanceof Problem ? [error.code, error.detail ?? []].flat().join(': ') : ((error as NodeJS.ErrnoException).code ?? 'unknown');
    return new Problem('UPGRADE_COPY_FAILED', `${file} (${because})`, { cause: error });
  };
  try {
    if (!existsSync(folder)) makePrivateFolder(folder);
    if (!statSync(folder).isDirectory()) throw new Problem('DATA_FOLDER_UNWRITABLE', folder);
    for (const left of [folder, paths.dir]) removeUnfinished(left);
  } catch (error) {
    throw failed(error);
  }
  try {
    copyDatabase(paths.database, `${making}.sqlite`);
    archive(paths, `${making}.sqlite`, making, at);
    renameSync(making, file);
    syncFolder(folder);
  } catch (error) {
    throw failed(error);
  } finally {
    for (const left of [making, `${making}.sqlite`]) rmSync(left, { force: true });
  }
  const others = upgradeCopies(paths.dir).filter(({ path }) => path !== file);
  for (const { path } of others.slice(keptUpgradeCopies - 1)) rmSync(path, { force: true });
  return file;
}

/** Each database has one set of secrets and keys, those of the folder that it was made with or a copy of that folder. */
async function refuseStranger(store: Store, paths: FolderPaths): Promise<void> {
  const { escrowCertificate } = await entryOfInit(store.db);
  if (typeof escrowCertificate === 'string' && !existsSync(join(paths.escrow, `${escrowCertificate}.certificate.pem`)))
    throw new Problem('DATABASE_UNSUITABLE', 'it belongs to a backend with other escrow keys than those of this data folder');
}

/** Opens the database of a folder, with a copy of everything before its shape is changed. PostgreSQL has copies of its own, and other backends on it. */
export async function openFolderDatabase(paths: FolderPaths, options: DatabaseOptions = {}): Promise<Store> {
  let upgraded: { from: number; to: number; copy: string | null } | null = null;
  const where = databaseOf(paths);
  if (where !== paths.database && existsSync(paths.database) && movedTo(paths.database) === null) throw new Problem('DATABASE_TWICE', paths.database);
  const store = await openDatabase(where, {
    ...options,
    mayCreate: false,
    beforeUpgrade(from, to) {
      upgraded = { from, to, copy: basename(copyBeforeUpgrade(paths, from)) };
    },
    afterUpgrade(from, to) {
      upgraded = { from, to, copy: null };
    },
  });
  try {
    await refuseMoved(store);
    if (where !== paths.database) await refuseStranger(store, paths);
  } catch (error) {
    await store.close();
    throw error;
  }
  if (upgraded !== null) {
    const details: Record<string, unknown> = upgraded;
    const clock = await openClock(store);
    await store.write(async (tx) => audit(tx, { at: await clock.persist(tx), actor: 'server', act: 'database.upgraded', details }));
  }
  return store;
}
