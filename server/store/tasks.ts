import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type Task = Tables['mdm_task'];
export type MdmCopy = Tables['mdm_copy'];

export const taskById = (db: Db, id: string): Promise<Task | undefined> => db.selectFrom('mdm_task').selectAll().where('id', '=', id).executeTakeFirst();

/** The longest waiting first. */
export const openTasks = (db: Db): Promise<Task[]> =>
  db.selectFrom('mdm_task').selectAll().where('closed_at', 'is', null).orderBy('due_at').orderBy('id').execute();

/** All of them, the newest first. */
export const allTasks = (db: Db): Promise<Task[]> => db.selectFrom('mdm_task').selectAll().orderBy('opened_at', 'desc').orderBy('id').execute();

export const openTaskFor = (db: Db, serial: string): Promise<Task | undefined> =>
  db.selectFrom('mdm_task').selectAll().where('serial', '=', serial).where('closed_at', 'is', null).executeTakeFirst();

export const overdueTasks = (db: Db, at: number): Promise<Task[]> =>
  db.selectFrom('mdm_task').selectAll().where('closed_at', 'is', null).where('due_at', '<=', at).orderBy('due_at').execute();

export async function insertTask(tx: Tx, task: Task): Promise<void> {
  await tx.insertInto('mdm_task').values(task).execute();
}

export async function updateTask(tx: Tx, id: string, values: Partial<Pick<Task, 'mac_id' | 'closed_at' | 'closed_by' | 'closed_because'>>): Promise<void> {
  await tx.updateTable('mdm_task').set(values).where('id', '=', id).execute();
}

export const mdmCopyOf = (db: Db, macId: string): Promise<MdmCopy | undefined> =>
  db.selectFrom('mdm_copy').selectAll().where('mac_id', '=', macId).executeTakeFirst();

/** Macs whose MDM has not asked them for their key since we replaced it: the longest waiting first. */
export const oldCopies = (db: Db): Promise<MdmCopy[]> =>
  db.selectFrom('mdm_copy').selectAll().where('refreshed_at', 'is', null).orderBy('old_since').orderBy('mac_id').execute();

export async function keepCopy(tx: Tx, copy: MdmCopy): Promise<void> {
  const { mac_id: _, ...values } = copy;
  await tx
    .insertInto('mdm_copy')
    .values(copy)
    .onConflict((c) => c.column('mac_id').doUpdateSet(values))
    .execute();
}
