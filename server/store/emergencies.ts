import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type Emergency = Tables['emergency'];

export const emergencyById = (db: Db, id: string): Promise<Emergency | undefined> =>
  db.selectFrom('emergency').selectAll().where('id', '=', id).executeTakeFirst();

/** Two people agreed, its time has come and is not over. Few: read for each view by a person of the portal. */
export const emergenciesAt = (db: Db, now: number): Promise<Emergency[]> =>
  db
    .selectFrom('emergency')
    .selectAll()
    .where('agreed_at', 'is not', null)
    .where('ended_at', 'is', null)
    .where('told_at', 'is', null)
    .where('from_at', '<=', now)
    .where('until_at', '>', now)
    .orderBy('asked_at')
    .execute();

/** Open, agreed to or asked for: they have an end to come, and nobody has ended them. However many were asked for and ended, they are found. */
export const emergenciesGoingOn = (db: Db, now: number): Promise<Emergency[]> =>
  db.selectFrom('emergency').selectAll().where('ended_at', 'is', null).where('until_at', '>', now).orderBy('asked_at', 'desc').orderBy('id').execute();

/** Newest first; not all where there are very many. */
export const emergenciesSince = (db: Db, since: number): Promise<Emergency[]> =>
  db.selectFrom('emergency').selectAll().where('until_at', '>', since).orderBy('asked_at', 'desc').orderBy('id').limit(200).execute();

/** Ended by time or by hand, and those who opened it were not told yet. */
export const emergenciesToTell = (db: Db, now: number): Promise<Emergency[]> =>
  db
    .selectFrom('emergency')
    .selectAll()
    .where('told_at', 'is', null)
    .where((e) => e.or([e('ended_at', 'is not', null), e('until_at', '<=', now)]))
    .execute();

/** What came of it: views, Macs and people. */
export const emergencyCounts = (db: Db, id: string): Promise<{ views: number; macs: number; people: number }> =>
  db
    .selectFrom('emergency_view')
    .select((e) => [
      e.fn.countAll<number>().as('views'),
      e.fn.count<number>('mac_id').distinct().as('macs'),
      e.fn.count<number>('person_id').distinct().as('people'),
    ])
    .where('emergency_id', '=', id)
    .executeTakeFirstOrThrow();

export const macsSeenIn = async (db: Db, id: string): Promise<string[]> =>
  (await db.selectFrom('emergency_view').select('mac_id').distinct().where('emergency_id', '=', id).orderBy('mac_id').execute()).map((row) => row.mac_id);

export async function insertEmergency(tx: Tx, row: Emergency): Promise<void> {
  await tx.insertInto('emergency').values(row).execute();
}

export async function updateEmergency(tx: Tx, id: string, values: Partial<Omit<Emergency, 'id'>>): Promise<void> {
  await tx.updateTable('emergency').set(values).where('id', '=', id).execute();
}

export async function insertEmergencyView(tx: Tx, row: Tables['emergency_view']): Promise<void> {
  await tx.insertInto('emergency_view').values(row).execute();
}

/** Of what this person was shown of this Mac because of an emergency, the last. */
export const lastEmergencyView = (db: Db, macId: string, personId: string): Promise<Tables['emergency_view'] | undefined> =>
  db.selectFrom('emergency_view').selectAll().where('mac_id', '=', macId).where('person_id', '=', personId).orderBy('at', 'desc').limit(1).executeTakeFirst();
