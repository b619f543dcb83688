import { existsSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { Problem } from '../protocol/problems.ts';
import { audit, verifyAudit } from './audit.ts';
import { openClock } from './clock.ts';
import { type FolderPaths, folderPaths } from './data-folder.ts';
import { newestSchema, openDatabase, schemaOf } from './database.ts';
import { type CopiedTable, CopyDiffers, type CopyProgress, copyIntoAct, countTables, othersConnected } from './database-copy.ts';
import { isPostgres, placeName, readPlace } from './database-url.ts';
import type { Store } from './parts.ts';
import { readPrivate, replacePrivate } from './private-files.ts';
import { databaseAddress } from './settings.ts';
import { holdFolder } from './store/serve-lock.ts';
import { forgetMemory, lastAuditEntry, movedMark, movedTo, movingMark, readMemory, writeMemory } from './store/upkeep.ts';
import { askAnything } from './store/watching.ts';

/*
 * Everything from the file of a data folder into an empty PostgreSQL database. Whatever ends it, one of the two is the database and
 * says so: all rows go over in one act, by which the new one calls itself unfinished; then the old one says where it has gone, then
 * the folder, and only then is the new one good. Run again, it goes on where it was. The rows of the old one stay as they are.
 */

export interface Moved {
  from: string;
  to: string;
  dryRun: boolean;
  tables: readonly (Pick<CopiedTable, 'table' | 'rows'> & { digest?: string })[];
  rows: number;
  auditEntries: number;
}

export interface Moving {
  dir: string;
  /** As it was given: an address without a password, or a private file that holds one. Null: as the settings have it. */
  to: string | null;
  actor: string;
  dryRun: boolean;
  progress: CopyProgress;
}

const refused = (what: string): Problem => new Problem('MOVE_REFUSED', what);

/** A password on a command line is read by everybody on the machine. */
function addressOf(to: string | null, dir: string): string {
  const address = to === null ? databaseAddress(dir) : isPostgres(to) ? to : readPrivate(resolve(to)).toString('utf8').trim();
  if (address === null) throw new Problem('USAGE', 'name the PostgreSQL database: --to ADDRESS, or a private file that holds it');
  if (to !== null && isPostgres(to) && readPlace(to).password !== '')
    throw new Problem('USAGE', '--to: everybody on this machine sees a password there; put the address into a file (chmod 600) and name that');
  return address;
}

async function withStore<T>(where: string, mayCreate: boolean, work: (store: Store) => Promise<T>): Promise<T> {
  const store = await openDatabase(where, { mayCreate, patient: true });
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

interface End {
  seq: number;
  hash: string;
}
const endOf = async (db: Store['db']): Promise<End> => {
  const last = await lastAuditEntry(db);
  return { seq: last?.seq ?? 0, hash: last?.hash ?? '' };
};

function sourceOf(dir: string): FolderPaths {
  const paths = folderPaths(resolve(dir));
  if (!existsSync(paths.settings) || !existsSync(paths.database)) throw new Problem('DATA_FOLDER_MISSING', paths.dir);
  if (schemaOf(paths.database) !== newestSchema)
    throw refused(`${paths.database} has version ${schemaOf(paths.database)} of the schema: start this release on it once, then move it`);
  return paths;
}

/** What the target is: `new`, or the very one that a run before this one has filled. */
async function lookAtTarget(address: string, source: End): Promise<'new' | 'filled'> {
  try {
    return await withStore(address, false, async ({ db }) => {
      const from = await readMemory(db, movingMark);
      if (from !== null) {
        const mark = JSON.parse(from) as End;
        if (mark.seq === source.seq && mark.hash === source.hash) return 'filled';
        throw refused('it holds an unfinished move of another state: make it anew (DROP DATABASE, CREATE DATABASE)');
      }
      const filled = (await lastAuditEntry(db)) !== null || ((await askAnything(db)) as unknown[]).length > 0;
      if (filled) throw refused(`${placeName(readPlace(address))} is not empty`);
      return 'new';
    });
  } catch (error) {
    if (error instanceof Problem && error.code === 'DATABASE_EMPTY') return 'new';
    throw error;
  }
}

export async function move({ dir, to, actor, dryRun, progress }: Moving): Promise<Moved> {
  const paths = sourceOf(dir);
  const address = addressOf(to, paths.dir);
  const target = placeName(readPlace(address));
  const release = dryRun ? () => undefined : holdFolder(paths.dir);
  try {
    const gone = movedTo(paths.database);
    if (gone !== null && (JSON.parse(gone) as { to: string }).to !== target) throw new Problem('DATABASE_MOVED', (JSON.parse(gone) as { to: string }).to);
    const source = await withStore(paths.database, false, async (store) => {
      const verdict = await verifyAudit(store);
      if (!verdict.ok) throw new Problem('AUDIT_BROKEN', `at entry ${verdict.brokenAt ?? 'unknown'}`);
      return endOf(store.db);
    });
    const state = gone !== null ? 'filled' : await lookAtTarget(address, source);
    const counted = await countTables(paths.database);
    const said = { from: paths.database, to: target, dryRun, rows: counted.reduce((sum, { rows }) => sum + rows, 0), auditEntries: source.seq };
    if (dryRun) return { ...said, tables: counted };
    const copied = state === 'new' ? await fill(paths, address, { target, actor, source, progress }) : counted;
    await finish(paths, address, target, source);
    return { ...said, tables: copied };
  } finally {
    release();
  }
}

function fill(paths: FolderPaths, address: string, about: { target: string; actor: string; source: End; progress: CopyProgress }): Promise<CopiedTable[]> {
  const { target, actor, source, progress } = about;
  return withStore(address, true, (store) =>
    store.write(async (tx) => {
      const copied = await copyIntoAct(paths.database, tx, progress).catch((error: unknown) => {
        throw error instanceof CopyDiffers ? refused(`${error.message} there`) : error;
      });
      const there = { ...store, db: tx } as Store;
      const verdict = await verifyAudit(there);
      if (!verdict.ok) throw new Problem('AUDIT_BROKEN', `of ${target}, at entry ${verdict.brokenAt ?? 'unknown'}`);
      const at = await (await openClock(there)).persist(tx);
      await writeMemory(tx, movingMark, JSON.stringify(source));
      const rows = copied.reduce((sum, one) => sum + one.rows, 0);
      await audit(tx, { at, actor, act: 'database.moved', details: { to: target, tables: copied.length, rows } });
      return copied;
    }),
  );
}

/** From here on the new one is the database. Safe to do twice. */
async function finish(paths: FolderPaths, address: string, target: string, source: End): Promise<void> {
  await withStore(paths.database, false, (store) =>
    store.write(async (tx) => {
      const { seq, hash } = await endOf(tx);
      // No backend was there, but a command may have been.
      if (seq !== source.seq || hash !== source.hash) throw refused(`something was written into ${paths.database} meanwhile, which is not in the copy`);
      await writeMemory(tx, movedMark, JSON.stringify({ to: target, ...source }));
    }),
  );
  replacePrivate(paths.databaseUrl, `${address}\n`);
  await withStore(address, false, (store) => store.write((tx) => forgetMemory(tx, movingMark)));
}

/** Back to the file, as long as nothing was stored in the new one. */
export async function moveBack({ dir }: { dir: string }): Promise<{ to: string; given: string }> {
  const paths = sourceOf(dir);
  const gone = movedTo(paths.database);
  if (gone === null) throw refused(`${paths.database} was not moved`);
  const mark = JSON.parse(gone) as { to: string } & End;
  const address = databaseAddress(paths.dir);
  if (address === null || placeName(readPlace(address)) !== mark.to) throw refused(`SPAREKEY_DATABASE_URL does not name ${mark.to}, into which it was moved`);
  const release = holdFolder(paths.dir);
  try {
    await withStore(address, false, async (store) => {
      const others = await othersConnected(store);
      if (others > 0) throw refused(`${others} connection(s) of other backends are on ${mark.to}: end them first`);
      const last = await endOf(store.db);
      const since = last.seq - mark.seq - 1;
      if (since > 0)
        throw refused(
          `${since} record(s) were written there since: take them along with \`sparekey-server backup\` and \`restore\`, which make a folder with a file again`,
        );
      await store.write((tx) => writeMemory(tx, movedMark, JSON.stringify({ to: paths.database })));
    });
    await withStore(paths.database, false, (store) => store.write((tx) => forgetMemory(tx, movedMark)));
    rmSync(paths.databaseUrl, { force: true });
    return { to: paths.database, given: mark.to };
  } finally {
    release();
  }
}
