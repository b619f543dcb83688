import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

/** What this person met on this page, of this Mac, since then. */
export const helpCodeSince = async (
  db: Kysely<Tables>,
  met: { page: string; macId: string | null; personId: string; since: number },
): Promise<string | undefined> =>
  (
    await db
      .selectFrom('help_code')
      .select('code')
      .where('person_id', '=', met.personId)
      .where('created_at', '>', met.since)
      .where('page', '=', met.page)
      .where('mac_id', 'is not distinct from', met.macId)
      .executeTakeFirst()
  )?.code;

/** What somebody met who reads this code out, with whose and which Mac's it was. */
export const metUnder = (db: Kysely<Tables>, code: string) =>
  db
    .selectFrom('help_code')
    .leftJoin('mac', 'mac.id', 'help_code.mac_id')
    .leftJoin('person', 'person.id', 'help_code.person_id')
    .select(['help_code.code', 'page', 'help_code.mac_id', 'serial', 'user_name', 'network', 'help_code.language', 'help_code.created_at'])
    .where('code', '=', code)
    .executeTakeFirst();

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
