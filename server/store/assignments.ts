import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type Claim = Tables['assignment'];
/** As much of a claim as it takes to end it. */
export type LastWord = Pick<Claim, 'id' | 'mac_id' | 'user_name' | 'source' | 'ended_at' | 'ended_because'>;

/** Who is said to have this Mac now: highest rank first, then oldest first, then by name. */
export const claimsOf = (db: Db, macId: string): Promise<Claim[]> =>
  db
    .selectFrom('assignment')
    .selectAll()
    .where('mac_id', '=', macId)
    .where('ended_at', 'is', null)
    .orderBy('rank', 'desc')
    .orderBy('created_at')
    .orderBy('user_name')
    .execute();

/** Of every Mac, in the same order within each. */
export const allClaims = (db: Db): Promise<Claim[]> =>
  db
    .selectFrom('assignment')
    .selectAll()
    .where('ended_at', 'is', null)
    .orderBy('mac_id')
    .orderBy('rank', 'desc')
    .orderBy('created_at')
    .orderBy('user_name')
    .execute();

/** Which Macs is this person said to have, by anybody? */
export async function macsClaimedFor(db: Db, userName: string): Promise<string[]> {
  const rows = await db.selectFrom('assignment').select('mac_id').distinct().where('user_name', '=', userName).where('ended_at', 'is', null).execute();
  return rows.map((row) => row.mac_id);
}

/** What was ever said of this Mac, newest first. */
export const claimHistory = (db: Db, macId: string): Promise<Claim[]> =>
  db.selectFrom('assignment').selectAll().where('mac_id', '=', macId).orderBy('created_at', 'desc').orderBy('id').execute();

export async function insertClaim(tx: Tx, claim: Claim): Promise<void> {
  await tx.insertInto('assignment').values(claim).execute();
}

export async function endClaim(tx: Tx, id: string, because: string, at: number): Promise<void> {
  await tx.updateTable('assignment').set({ ended_at: at, ended_because: because }).where('id', '=', id).where('ended_at', 'is', null).execute();
}
