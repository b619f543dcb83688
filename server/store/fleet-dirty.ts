import type { Tx } from '../parts.ts';

/** The row of this Mac in lists is behind what is written here, and is made anew within a second or with the next question. */
export async function markDirty(tx: Tx, macId: string): Promise<void> {
  await tx
    .insertInto('mac_dirty')
    .values({ mac_id: macId })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** The Mac of a key record. */
export async function markDirtyByRecord(tx: Tx, recordId: string): Promise<void> {
  await tx
    .insertInto('mac_dirty')
    .columns(['mac_id'])
    .expression(tx.selectFrom('key_record').select('mac_id').where('id', '=', recordId))
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** Macs of whoever has this name: their groups are tags. */
export async function markDirtyByUser(tx: Tx, userName: string): Promise<void> {
  await tx
    .insertInto('mac_dirty')
    .columns(['mac_id'])
    .expression(tx.selectFrom('assignment').select('mac_id').distinct().where('user_name', '=', userName).where('ended_at', 'is', null))
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** False where there is no row yet. */
export async function noteSeen(tx: Tx, macId: string, at: number): Promise<boolean> {
  const kept = await tx.updateTable('fleet_row').set({ last_seen_at: at }).where('mac_id', '=', macId).executeTakeFirst();
  return kept.numUpdatedRows > 0n;
}
