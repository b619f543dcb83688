import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type ImportRun = Tables['import_run'];
export type ImportLine = Tables['import_line'];

export async function insertRun(tx: Tx, run: ImportRun): Promise<void> {
  await tx.insertInto('import_run').values(run).execute();
}

/** The run of these very bytes, read in this very way; one that was withdrawn may be done again. */
export const runOf = (db: Db, what: Pick<ImportRun, 'source' | 'mapping'> & { digest: string }): Promise<ImportRun | undefined> =>
  db
    .selectFrom('import_run')
    .selectAll()
    .where('digest', '=', what.digest)
    .where('source', '=', what.source)
    .where('mapping', '=', what.mapping)
    .where('withdrawn_at', 'is', null)
    .orderBy('started_at', 'desc')
    .executeTakeFirst();

export async function endRun(tx: Tx, id: string, at: number): Promise<void> {
  await tx.updateTable('import_run').set({ ended_at: at }).where('id', '=', id).where('ended_at', 'is', null).execute();
}

export async function markWithdrawn(tx: Tx, id: string, at: number): Promise<void> {
  await tx.updateTable('import_run').set({ withdrawn_at: at }).where('id', '=', id).where('withdrawn_at', 'is', null).execute();
}

/** Newest first. */
export const allRuns = (db: Db): Promise<ImportRun[]> => db.selectFrom('import_run').selectAll().orderBy('started_at', 'desc').orderBy('id').execute();

export const fatesOfRuns = (db: Db): Promise<{ run_id: string; fate: string; lines: number }[]> =>
  db
    .selectFrom('import_line')
    .select(({ fn }) => ['run_id', 'fate', fn.countAll<number>().as('lines')])
    .groupBy(['run_id', 'fate'])
    .execute();

export const linesOfRun = (db: Db, runId: string): Promise<ImportLine[]> =>
  db.selectFrom('import_line').selectAll().where('run_id', '=', runId).orderBy('line').execute();

/** Which of these are done. */
export async function doneAmong(db: Db, runId: string, lines: readonly number[]): Promise<Set<number>> {
  const rows = await db.selectFrom('import_line').select('line').where('run_id', '=', runId).where('line', 'in', lines).execute();
  return new Set(rows.map((row) => row.line));
}

/** Two keys turned out to be one. */
export async function nameOtherKey(tx: Tx, keyId: string, other: string): Promise<void> {
  await tx.updateTable('import_line').set({ key_id: other }).where('key_id', '=', keyId).execute();
}

export const runById = (db: Db, id: string): Promise<ImportRun | undefined> => db.selectFrom('import_run').selectAll().where('id', '=', id).executeTakeFirst();

export async function insertLines(tx: Tx, lines: readonly ImportLine[]): Promise<void> {
  // SQLite takes 32,766 values in one statement.
  for (let at = 0; at < lines.length; at += 1000)
    await tx
      .insertInto('import_line')
      .values(lines.slice(at, at + 1000))
      .execute();
}
