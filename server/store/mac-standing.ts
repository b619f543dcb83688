import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type StandingRow = Tables['mac_standing'];

export const standingRow = (db: Db, macId: string): Promise<StandingRow | undefined> =>
  db.selectFrom('mac_standing').selectAll().where('mac_id', '=', macId).executeTakeFirst();

export async function keepStanding(tx: Tx, row: StandingRow): Promise<void> {
  const { mac_id: _, ...values } = row;
  await tx
    .insertInto('mac_standing')
    .values(row)
    .onConflict((c) => c.column('mac_id').doUpdateSet(values))
    .execute();
}
