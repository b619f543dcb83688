import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';
import { type Reach, reachFilter } from './fleet-scope.ts';

type Db = Kysely<Tables>;
export type DisclosureRequest = Tables['disclosure_request'];
export type Vote = Tables['disclosure_vote'];
export type AdminView = Tables['admin_view'];
export type Review = Tables['disclosure_review'];

const open = ['waiting', 'approved'] as const;

// Requests.

export const requestById = (db: Db, id: string): Promise<DisclosureRequest | undefined> =>
  db.selectFrom('disclosure_request').selectAll().where('id', '=', id).executeTakeFirst();

/** Where a list goes on: newest first. */
export interface After {
  at: number;
  id: string;
}

/** With the serial number of their Mac, newest first. `isOpen`: those that wait or may be used. */
export function requestsPage(db: Db, after: After | null, most: number, isOpen: boolean, reach: Reach) {
  const all = db
    .selectFrom('disclosure_request')
    .innerJoin('mac', 'mac.id', 'disclosure_request.mac_id')
    .selectAll('disclosure_request')
    .select('mac.serial')
    .$if(isOpen, (q) => q.where('disclosure_request.state', 'in', open))
    .where(reachFilter(reach, 'disclosure_request.person_id'));
  const rest = after
    ? all.where((e) =>
        e.or([
          e('disclosure_request.created_at', '<', after.at),
          e.and([e('disclosure_request.created_at', '=', after.at), e('disclosure_request.id', '<', after.id)]),
        ]),
      )
    : all;
  return rest.orderBy('disclosure_request.created_at', 'desc').orderBy('disclosure_request.id', 'desc').limit(most).execute();
}

/** Of everybody; the clock may have ended some. */
export const allOpenRequests = (db: Db): Promise<DisclosureRequest[]> =>
  db.selectFrom('disclosure_request').selectAll().where('state', 'in', open).orderBy('created_at').orderBy('id').execute();

/** What one person asked of one Mac and nobody has decided, or may still be used. */
export const openRequestsOf = (db: Db, macId: string, personId: string): Promise<DisclosureRequest[]> =>
  db
    .selectFrom('disclosure_request')
    .selectAll()
    .where('mac_id', '=', macId)
    .where('person_id', '=', personId)
    .where('state', 'in', open)
    .orderBy('created_at', 'desc')
    .execute();

export const overdueRequests = (db: Db, now: number): Promise<DisclosureRequest[]> =>
  db
    .selectFrom('disclosure_request')
    .selectAll()
    .where((e) => e.or([e.and([e('state', '=', 'waiting'), e('expires_at', '<=', now)]), e.and([e('state', '=', 'approved'), e('granted_until', '<=', now)])]))
    .orderBy('created_at')
    .execute();

export const countRequestsSince = async (db: Db, personId: string, since: number): Promise<number> =>
  (
    await db
      .selectFrom('disclosure_request')
      .select((e) => e.fn.countAll<number>().as('count'))
      .where('person_id', '=', personId)
      .where('created_at', '>', since)
      .executeTakeFirstOrThrow()
  ).count;

export async function insertRequest(tx: Tx, row: DisclosureRequest): Promise<void> {
  await tx.insertInto('disclosure_request').values(row).execute();
}

export async function updateRequest(tx: Tx, id: string, values: Partial<Omit<DisclosureRequest, 'id'>>): Promise<void> {
  await tx.updateTable('disclosure_request').set(values).where('id', '=', id).execute();
}

// Votes.

export const votesOn = (db: Db, requestId: string): Promise<Vote[]> =>
  db.selectFrom('disclosure_vote').selectAll().where('request_id', '=', requestId).orderBy('at').orderBy('person_id').execute();

export async function insertVote(tx: Tx, vote: Vote): Promise<void> {
  await tx.insertInto('disclosure_vote').values(vote).execute();
}

// Views.

/** Whether what this person asked for a key of this Mac was declined since then. */
export const wasDeclined = async (db: Db, macId: string, personId: string, since: number): Promise<boolean> =>
  (await db
    .selectFrom('disclosure_request')
    .select('id')
    .where('mac_id', '=', macId)
    .where('person_id', '=', personId)
    .where('state', '=', 'declined')
    .where('decided_at', '>', since)
    .executeTakeFirst()) !== undefined;

/** Also of keys that did not open: a limit counts what was asked for. */
export const countAdminViews = async (db: Db, personId: string, since: number): Promise<number> =>
  (
    await db
      .selectFrom('admin_view')
      .select((e) => e.fn.countAll<number>().as('count'))
      .where('person_id', '=', personId)
      .where('shown_at', '>', since)
      .executeTakeFirstOrThrow()
  ).count;

/** Under a request; those that opened no key are left out. */
export const viewsUnder = (db: Db, requestId: string): Promise<AdminView[]> =>
  db
    .selectFrom('admin_view')
    .innerJoin('disclosure', 'disclosure.id', 'admin_view.disclosure_id')
    .selectAll('admin_view')
    .where('admin_view.request_id', '=', requestId)
    .where('disclosure.shown', '=', 1)
    .orderBy('admin_view.shown_at')
    .execute();

/** What this person was shown of this Mac since then, oldest first. */
export const adminViewsOf = (db: Db, macId: string, personId: string, since: number): Promise<AdminView[]> =>
  db
    .selectFrom('admin_view')
    .innerJoin('disclosure', 'disclosure.id', 'admin_view.disclosure_id')
    .selectAll('admin_view')
    .where('admin_view.mac_id', '=', macId)
    .where('admin_view.person_id', '=', personId)
    .where('admin_view.shown_at', '>', since)
    .where('disclosure.shown', '=', 1)
    .orderBy('admin_view.shown_at')
    .execute();

export async function insertAdminView(tx: Tx, view: AdminView): Promise<void> {
  await tx.insertInto('admin_view').values(view).execute();
}

export async function refuseAdminView(tx: Tx, disclosureId: string, at: number): Promise<void> {
  await tx.updateTable('admin_view').set({ refused_at: at }).where('disclosure_id', '=', disclosureId).where('refused_at', 'is', null).execute();
}

// Reviews.

export const reviewOf = (db: Db, disclosureId: string): Promise<Review | undefined> =>
  db.selectFrom('disclosure_review').selectAll().where('disclosure_id', '=', disclosureId).executeTakeFirst();

/** With what they are about, newest first. */
export function reviewsPage(db: Db, after: After | null, most: number, isOpen: boolean, reach: Reach) {
  const all = db
    .selectFrom('disclosure_review')
    .innerJoin('disclosure', 'disclosure.id', 'disclosure_review.disclosure_id')
    .innerJoin('mac', 'mac.id', 'disclosure_review.mac_id')
    .selectAll('disclosure_review')
    .select(['mac.serial', 'disclosure.actor', 'disclosure.reason', 'disclosure.at', 'disclosure.shown'])
    .$if(isOpen, (q) => q.where('disclosure_review.state', '=', 'waiting'))
    .where(reachFilter(reach, 'disclosure_review.person_id'));
  const rest = after
    ? all.where((e) => e.or([e('disclosure.at', '<', after.at), e.and([e('disclosure.at', '=', after.at), e('disclosure.id', '<', after.id)])]))
    : all;
  return rest.orderBy('disclosure.at', 'desc').orderBy('disclosure.id', 'desc').limit(most).execute();
}

export const overdueReviews = (db: Db, now: number): Promise<Review[]> =>
  db.selectFrom('disclosure_review').selectAll().where('state', '=', 'waiting').where('due_at', '<=', now).where('told_at', 'is', null).execute();

export async function insertReview(tx: Tx, review: Review): Promise<void> {
  await tx.insertInto('disclosure_review').values(review).execute();
}

export async function updateReview(tx: Tx, disclosureId: string, values: Partial<Omit<Review, 'disclosure_id'>>): Promise<void> {
  await tx.updateTable('disclosure_review').set(values).where('disclosure_id', '=', disclosureId).execute();
}
