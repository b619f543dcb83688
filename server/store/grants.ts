import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type GrantGiven = Tables['grant_given'];

export const grantsOf = (db: Db, macId: string, since: number): Promise<GrantGiven[]> =>
  db.selectFrom('grant_given').selectAll().where('mac_id', '=', macId).where('at', '>', since).orderBy('at').execute();

/** In the whole fleet; what ends an interrupted rotation is never counted or stopped. */
export async function countGrants(db: Db, since: number): Promise<number> {
  const row = await db
    .selectFrom('grant_given')
    .select((e) => e.fn.countAll<number>().as('count'))
    .where('purpose', '<>', 'resolve')
    .where('at', '>', since)
    .executeTakeFirstOrThrow();
  return row.count;
}

export async function insertGrant(tx: Tx, grant: GrantGiven): Promise<void> {
  await tx.insertInto('grant_given').values(grant).execute();
}
