import type { Kysely } from 'kysely';
import type { AuditingTables } from '../auditing-tables.ts';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
type Row = AuditingTables['audit_checkpoint'];

export const lastCheckpoint = async (db: Db): Promise<Row | null> =>
  (await db.selectFrom('audit_checkpoint').selectAll().orderBy('number', 'desc').limit(1).executeTakeFirst()) ?? null;

export const checkpointsAfter = (db: Db, number: number, most: number): Promise<Row[]> =>
  db.selectFrom('audit_checkpoint').selectAll().where('number', '>', number).orderBy('number').limit(most).execute();

/** Those about records from here to there, and with them the one that says where the table begins. */
export const checkpointsBetween = (db: Db, fromSeq: number, toSeq: number): Promise<Row[]> =>
  db.selectFrom('audit_checkpoint').selectAll().where('seq', '>=', fromSeq).where('seq', '<=', toSeq).orderBy('number').execute();

/** Where the table begins; null: at the first record. */
export const lastRetained = async (db: Db): Promise<Row | null> =>
  (await db.selectFrom('audit_checkpoint').selectAll().where('kind', '=', 'retained').orderBy('number', 'desc').limit(1).executeTakeFirst()) ?? null;

/** The newest that was made before this time. */
export const checkpointBefore = async (db: Db, at: number): Promise<Row | null> =>
  (await db.selectFrom('audit_checkpoint').selectAll().where('at', '<=', at).orderBy('number', 'desc').limit(1).executeTakeFirst()) ?? null;

export async function insertCheckpoint(tx: Tx, row: Row): Promise<void> {
  await tx.insertInto('audit_checkpoint').values(row).execute();
}

export const auditRowsAfter = (db: Db, seq: number, most: number): Promise<Tables['audit'][]> =>
  db.selectFrom('audit').selectAll().where('seq', '>', seq).orderBy('seq').limit(most).execute();

/** In the order of the table, whatever numbers somebody has given to records. */
export const auditRowsFrom = (db: Db, seq: number, most: number): Promise<Tables['audit'][]> =>
  db.selectFrom('audit').selectAll().where('seq', '>=', seq).orderBy('seq').limit(most).execute();

export const auditRow = (db: Db, seq: number): Promise<Tables['audit'] | undefined> =>
  db.selectFrom('audit').selectAll().where('seq', '=', seq).executeTakeFirst();

/** Only once they are in a file that was read back. */
export async function deleteAuditUpTo(tx: Tx, seq: number): Promise<void> {
  await tx.deleteFrom('audit').where('seq', '<=', seq).execute();
}
