import type { Tx } from '../parts.ts';
import { type BroughtRow, broughtFor } from '../store/brought.ts';
import { openTaskFor } from '../store/tasks.ts';
import { closeTasksByNewKey } from './tasks.ts';

/**
 * A key that was brought closes the task that a shown one left, where it is certain that it is another: both have been
 * looked into. The shown one itself comes again too, in another envelope.
 */
export async function closeTasksByBrought(tx: Tx, at: number, row: Pick<BroughtRow, 'id' | 'serial'>, isNew = false): Promise<void> {
  const task = await openTaskFor(tx, row.serial);
  if (!task) return;
  const rows = await broughtFor(tx, row.serial);
  if (rows.some(({ disclosed_at: shownAt, fingerprint }) => shownAt !== null && fingerprint === null)) return;
  for (const { serial, trust, made_at: madeAt, ...one } of rows)
    if (one.fingerprint !== null && one.disclosed_at === null && ((isNew && one.id === row.id) || one.brought_at > task.opened_at))
      await closeTasksByNewKey(tx, at, { serial, trust, madeAt });
}
