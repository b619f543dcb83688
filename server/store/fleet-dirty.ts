import type { Tx } from '../parts.ts';
import { change } from './asked.ts';

/** Those that this act has marked: it writes to one Mac in many places, and to mark it once is enough. */
const marked = new WeakMap<Tx, Set<string>>();
/** What was marked is taken away in the same act. */
export const forgetMarks = (tx: Tx): void => void marked.delete(tx);

/** The row of this Mac in lists is behind what is written here, and is made anew within a second or with the next question. */
export async function markDirty(tx: Tx, macId: string): Promise<void> {
  const before = marked.get(tx);
  if (before?.has(macId)) return;
  await mark(tx, macId);
  if (before) before.add(macId);
  else marked.set(tx, new Set([macId]));
}
const mark = change((tx, macId: string) =>
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
