import type { Tx } from '../parts.ts';
import { change } from './asked.ts';

/** The row of this Mac in lists is behind what is written here, and is made anew within a second or with the next question. */
export const markDirty = change((tx, macId: string) =>
  tx
    .insertInto('mac_dirty')
    .values({ mac_id: macId })
    .onConflict((conflict) => conflict.doNothing()),
);

/** The Mac of a key record. */
export const markDirtyByRecord = change((tx, recordId: string) =>
  tx
    .insertInto('mac_dirty')
    .columns(['mac_id'])
    .expression(tx.selectFrom('key_record').select('mac_id').where('id', '=', recordId))
    .onConflict((conflict) => conflict.doNothing()),
);

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
  return (await seeRow(tx, at, macId)) > 0;
}
const seeRow = change((tx, at: number, macId: string) => tx.updateTable('fleet_row').set({ last_seen_at: at }).where('mac_id', '=', macId));
