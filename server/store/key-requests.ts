import { type Kysely, sql } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type KeyRequestRow = Tables['key_request'];

/** With the words of the index: SQLite does not take it for a value that comes later. */
const open = sql<boolean>`key_request.state in ('waiting', 'approved')`;

/** What this person asked for last about this Mac. */
export const lastRequestOf = (db: Db, macId: string, personId: string): Promise<KeyRequestRow | undefined> =>
  db
    .selectFrom('key_request')
    .selectAll()
    .where('mac_id', '=', macId)
    .where('person_id', '=', personId)
    .orderBy('created_at', 'desc')
    .orderBy('decided_at', (o) => o.desc().nullsFirst())
    .limit(1)
    .executeTakeFirst();

/** Waiting and approved ones, oldest first, with who asks and for which Mac. */
export const openRequests = (db: Db) =>
  db
    .selectFrom('key_request')
    .innerJoin('person', 'person.id', 'key_request.person_id')
    .innerJoin('mac', 'mac.id', 'key_request.mac_id')
    .selectAll('key_request')
    .select(['person.user_name', 'person.display_name', 'mac.serial'])
    .where(open)
    .orderBy('key_request.created_at')
    .orderBy('key_request.id')
    .execute();

/** Waiting and approved ones for one Mac. */
export const openRequestsOf = async (db: Db, macId: string) => (await openRequests(db)).filter((row) => row.mac_id === macId);

/** By its id, or by the code that its person reads out. */
export const requestsNamed = (db: Db, idOrCode: string) =>
  db
    .selectFrom('key_request')
    .innerJoin('person', 'person.id', 'key_request.person_id')
    .innerJoin('mac', 'mac.id', 'key_request.mac_id')
    .selectAll('key_request')
    .select(['person.user_name', 'person.email', 'person.display_name', 'mac.serial'])
    .where((e) => e.or([e('key_request.id', '=', idOrCode), e('key_request.code', '=', idOrCode.toUpperCase())]))
    .orderBy('key_request.created_at', 'desc')
    .execute();

/** Waiting or approved, and their time is over. */
export const overdueRequests = (db: Db, now: number): Promise<KeyRequestRow[]> =>
  db.selectFrom('key_request').selectAll().where(open).where('expires_at', '<=', now).orderBy('created_at').execute();

export const countRequestsSince = async (db: Db, personId: string, since: number): Promise<number> => {
  const row = await db
    .selectFrom('key_request')
    .select((e) => e.fn.countAll<number>().as('count'))
    .where('person_id', '=', personId)
    .where('created_at', '>', since)
    .executeTakeFirstOrThrow();
  return row.count;
};

export async function insertRequest(tx: Tx, request: KeyRequestRow): Promise<void> {
  await tx.insertInto('key_request').values(request).execute();
}

export async function updateRequest(tx: Tx, id: string, values: Partial<Omit<KeyRequestRow, 'id'>>): Promise<void> {
  await tx.updateTable('key_request').set(values).where('id', '=', id).execute();
}
