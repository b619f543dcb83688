import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

/** False where another one has this code already. */
export async function insertHelpCode(tx: Tx, row: Tables['help_code']): Promise<boolean> {
  const inserted = await tx
    .insertInto('help_code')
    .values(row)
    .onConflict((conflict) => conflict.column('code').doNothing())
    .executeTakeFirst();
  return Number(inserted.numInsertedOrUpdatedRows) === 1;
}

export async function forgetHelpCodes(tx: Tx, before: number): Promise<void> {
  await tx.deleteFrom('help_code').where('created_at', '<', before).execute();
}
