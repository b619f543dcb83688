import { constants, copyFileSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { folderPaths } from '../server/data-folder.ts';
import { type DatabaseOptions, openDatabase } from '../server/database.ts';
import { copyIntoFile } from '../server/database-copy.ts';
import type { Store } from '../server/parts.ts';
import { addressAt, emptyDatabase, makeDatabase } from './postgres-databases.ts';

const given = (name: string): string | null => {
  const value = (globalThis as { [name: symbol]: unknown })[Symbol.for(name)];
  return typeof value === 'string' && value !== '' ? value : null;
};
/** As in key-pairs.ts: where a run of the tests keeps what all of its files need. */
const folder = given('sparekey.key-pairs');
/** Where the databases of this run are made by a PostgreSQL server: its socket. Null: they are files. */
export const postgres = given('sparekey.postgres');

/**
 * A database of today's shape in which nothing is, at `file`. To make one takes longer than many a test: in a run it is made once,
 * and copied. Nothing is at that place yet. On PostgreSQL what lies at the place is `database-url` of the same folder.
 */
export async function putNewDatabase(file: string): Promise<void> {
  if (postgres !== null) return void (await putOnPostgres(postgres, file));
  if (folder === null) return void (await (await openDatabase(file)).close());
  const first = join(folder, 'new.sqlite');
  if (!existsSync(first)) {
    const own = `${first}.${process.pid}`;
    await (await openDatabase(own)).close();
    // Whole, whoever else makes it now; what SQLite keeps beside it is gone with its last connection.
    for (const end of ['-wal', '-shm']) rmSync(`${own}${end}`, { force: true });
    renameSync(own, first);
  }
  copyFileSync(first, file, constants.COPYFILE_EXCL);
}

let made = 0;
/** Databases of this worker that nobody uses any more: to empty one is much quicker than to make one. */
let free: string[] | null = null;

async function putOnPostgres(socket: string, file: string): Promise<void> {
  const list = join(folder ?? dirname(file), `databases-${process.pid}`);
  // Those of the test files before this one, whose backends have ended.
  free ??= existsSync(list) ? readFileSync(list, 'utf8').split('\n').filter(Boolean) : [];
  let name = free.pop();
  while (name !== undefined && !(await emptyDatabase(socket, name))) name = free.pop();
  if (name === undefined) {
    made += 1;
    name = `test_${process.pid}_${Date.now().toString(36)}_${made}`;
    writeFileSync(list, `${name}\n`, { flag: 'a' });
    await makeDatabase(socket, name);
  }
  writeFileSync(urlFileOf(file), addressAt(socket, name), { mode: 0o600, flag: 'wx' });
}

/** Whoever put it there has closed it for good. */
export function giveBack(file: string): void {
  const place = placeOf(file);
  if (postgres !== null && place !== file) free?.push(new URL(place).pathname.slice(1));
}

/** Beside a data folder's own database its own file; else one for each. */
const urlFileOf = (file: string): string => (file.endsWith('/sparekey.sqlite') ? folderPaths(dirname(file)).databaseUrl : `${file}.url`);

/** What `openDatabase` opens where `putNewDatabase` has put a database. */
export const placeOf = (file: string): string => (postgres !== null && existsSync(urlFileOf(file)) ? readFileSync(urlFileOf(file), 'utf8') : file);

/** Everything that is in the database as one file of SQLite, to be looked through; the file itself where it is one. */
export async function asFile(file: string, store: Store): Promise<string> {
  // A folder that was restored has a file, whatever the rest of the run has.
  if (postgres === null || placeOf(file) === file) return file;
  made += 1;
  const copy = `${file}.copy-${made}`;
  await (await openDatabase(copy)).close();
  await copyIntoFile(store, copy);
  return copy;
}

/** What is there, opened; a new one where there is nothing. */
export async function openNewDatabase(file: string, options: DatabaseOptions = {}): Promise<Store> {
  if (placeOf(file) === file && !existsSync(file)) await putNewDatabase(file);
  return openDatabase(placeOf(file), options);
}
