import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';
import { type Reach, reachFilter } from './fleet-scope.ts';

type Db = Kysely<Tables>;
export type Release = Tables['release_code'];
export type ReleaseView = Tables['release_view'];

export const releaseById = (db: Db, id: string): Promise<Release | undefined> =>
  db.selectFrom('release_code').selectAll().where('id', '=', id).executeTakeFirst();

export const releaseByDigest = (db: Db, digest: string): Promise<Release | undefined> =>
  db.selectFrom('release_code').selectAll().where('digest', '=', digest).executeTakeFirst();

/** By the digest of the token in the cookie of the browser in which the code was typed. */
export const releaseOfHolder = (db: Db, holder: string): Promise<Release | undefined> =>
  db.selectFrom('release_code').selectAll().where('holder', '=', holder).executeTakeFirst();

/** Newest first, with the serial number of their Mac. */
export function releasesPage(db: Db, after: { at: number; id: string } | null, most: number, reach: Reach) {
  const all = db
    .selectFrom('release_code')
    .innerJoin('mac', 'mac.id', 'release_code.mac_id')
    .selectAll('release_code')
    .select('mac.serial')
    .where(reachFilter(reach, 'release_code.made_by'));
  const rest = after
    ? all.where((e) =>
        e.or([e('release_code.created_at', '<', after.at), e.and([e('release_code.created_at', '=', after.at), e('release_code.id', '<', after.id)])]),
      )
    : all;
  return rest.orderBy('release_code.created_at', 'desc').orderBy('release_code.id', 'desc').limit(most).execute();
}

/** That may be typed, or are: with those that wait for a second person. */
export const openReleases = (db: Db, now: number): Promise<Release[]> =>
  db
    .selectFrom('release_code')
    .selectAll()
    .where('ended_at', 'is', null)
    .where((e) => e.or([e('open_until', '>', now), e.and([e('used_at', 'is', null), e('expires_at', '>', now)])]))
    .orderBy('created_at')
    .orderBy('id')
    .execute();

/** Oldest first; those that opened no key are left out. */
export const releaseViews = (db: Db, releaseId: string): Promise<ReleaseView[]> =>
  db
    .selectFrom('release_view')
    .innerJoin('disclosure', 'disclosure.id', 'release_view.disclosure_id')
    .selectAll('release_view')
    .where('release_view.release_id', '=', releaseId)
    .where('disclosure.shown', '=', 1)
    .orderBy('release_view.shown_at')
    .execute();

export const countReleasesSince = async (db: Db, personId: string, since: number): Promise<number> =>
  (
    await db
      .selectFrom('release_code')
      .select((e) => e.fn.countAll<number>().as('count'))
      .where('made_by_person', '=', personId)
      .where('created_at', '>', since)
      .executeTakeFirstOrThrow()
  ).count;

export async function insertRelease(tx: Tx, row: Release): Promise<void> {
  await tx.insertInto('release_code').values(row).execute();
}

export async function updateRelease(tx: Tx, id: string, values: Partial<Omit<Release, 'id' | 'digest'>>): Promise<void> {
  await tx.updateTable('release_code').set(values).where('id', '=', id).execute();
}

export async function insertReleaseView(tx: Tx, view: ReleaseView): Promise<void> {
  await tx.insertInto('release_view').values(view).execute();
}

export async function updateReleaseView(tx: Tx, disclosureId: string, values: Pick<ReleaseView, 'hidden_at'> | Pick<ReleaseView, 'refused_at'>): Promise<void> {
  await tx.updateTable('release_view').set(values).where('disclosure_id', '=', disclosureId).execute();
}
