import { statSync } from 'node:fs';
import { databaseOf, type FolderPaths, isOnPostgres } from './data-folder.ts';
import { openDatabase } from './database.ts';
import { copyIntoFile, databaseBytes } from './database-copy.ts';
import type { Store } from './parts.ts';
import { copyDatabase } from './store/upkeep.ts';

/** A whole, consistent copy of a folder's database in one file of SQLite, wherever it is, made while the backends go on. */
export async function copyOfDatabase(paths: FolderPaths, to: string): Promise<void> {
  if (!isOnPostgres(paths)) return copyDatabase(paths.database, to);
  await (await openDatabase(to)).close();
  const store = await openDatabase(databaseOf(paths), { mayCreate: false, patient: true });
  try {
    await copyIntoFile(store, to);
  } finally {
    await store.close();
  }
}

export const sizeOfDatabase = async ({ paths, store }: { paths: FolderPaths; store: Pick<Store, 'db'> }): Promise<number> =>
  isOnPostgres(paths) ? databaseBytes(store) : statSync(paths.database).size;
