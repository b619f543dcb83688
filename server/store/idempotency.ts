import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

export type RepeatableRow = Tables['repeatable'];

export const repeatableOf = (db: Kysely<Tables>, owner: string, key: string): Promise<RepeatableRow | undefined> =>
  db.selectFrom('repeatable').selectAll().where('owner', '=', owner).where('key', '=', key).executeTakeFirst();

/** False where there is one already. */
export async function insertRepeatable(tx: Tx, row: RepeatableRow): Promise<boolean> {
  const inserted = await tx
    .insertInto('repeatable')
    .values(row)
    .onConflict((conflict) => conflict.columns(['owner', 'key']).doNothing())
    .executeTakeFirst();
  return Number(inserted.numInsertedOrUpdatedRows) === 1;
}

export async function settleRepeatable(tx: Tx, owner: string, key: string, reply: Pick<RepeatableRow, 'state' | 'reply'>): Promise<void> {
  await tx.updateTable('repeatable').set(reply).where('owner', '=', owner).where('key', '=', key).execute();
}

export async function forgetRepeatable(tx: Tx, owner: string, key: string): Promise<void> {
  await tx.deleteFrom('repeatable').where('owner', '=', owner).where('key', '=', key).execute();
}

export async function forgetOldRepeatables(tx: Tx, before: number): Promise<void> {
  await tx.deleteFrom('repeatable').where('at', '<', before).execute();
}
