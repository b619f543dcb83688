import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';
import { endLoginsOf } from './api-tokens.ts';

type Db = Kysely<Tables>;
export type WebSession = Tables['web_session'];
type PersonRow = Tables['person'];

export interface SessionAndPerson {
  session: WebSession;
  person: PersonRow;
  emergency: boolean;
}

/** A session that nobody has ended, of a person who is not disabled. Whether its time is over is for its reader to say. */
export async function openWebSession(db: Db, by: 'digest' | 'id', value: string): Promise<SessionAndPerson | undefined> {
  const session = await db.selectFrom('web_session').selectAll().where(by, '=', value).where('ended_at', 'is', null).executeTakeFirst();
  if (!session) return undefined;
  const person = await db.selectFrom('person').selectAll().where('id', '=', session.person_id).where('disabled_at', 'is', null).executeTakeFirst();
  if (!person) return undefined;
  const account = await db.selectFrom('local_account').select('emergency').where('person_id', '=', person.id).executeTakeFirst();
  return { session, person, emergency: account?.emergency === 1 };
}

export async function insertWebSession(tx: Tx, session: WebSession): Promise<void> {
  await tx.insertInto('web_session').values(session).execute();
}

export async function seeWebSession(tx: Tx, id: string, at: number): Promise<void> {
  await tx.updateTable('web_session').set({ last_seen_at: at }).where('id', '=', id).where('last_seen_at', '<', at).execute();
}

export async function endWebSession(tx: Tx, id: string, because: string, at: number): Promise<void> {
  await tx.updateTable('web_session').set({ ended_at: at, ended_because: because }).where('id', '=', id).where('ended_at', 'is', null).execute();
}

/** One of this person’s; false where there is none open. */
export async function endOwnWebSession(tx: Tx, personId: string, id: string, because: string, at: number): Promise<boolean> {
  const ended = await tx
    .updateTable('web_session')
    .set({ ended_at: at, ended_because: because })
    .where('id', '=', id)
    .where('person_id', '=', personId)
    .where('ended_at', 'is', null)
    .executeTakeFirst();
  return ended.numUpdatedRows > 0n;
}

/** Newest first. Whether the time of each is over is for its reader to say. */
export const openWebSessionsOf = (db: Db, personId: string): Promise<WebSession[]> =>
  db.selectFrom('web_session').selectAll().where('person_id', '=', personId).where('ended_at', 'is', null).orderBy('created_at', 'desc').limit(50).execute();

/** How many there were. What the command line was let in with by this person ends with them. */
export async function endWebSessionsOf(tx: Tx, personId: string, because: string, at: number): Promise<number> {
  await endLoginsOf(tx, personId, because, at);
  const ended = await tx
    .updateTable('web_session')
    .set({ ended_at: at, ended_because: because })
    .where('person_id', '=', personId)
    .where('ended_at', 'is', null)
    .executeTakeFirst();
  return Number(ended.numUpdatedRows);
}

/** Of everybody; how many there were. */
export async function endAllWebSessions(tx: Tx, because: string, at: number): Promise<number> {
  const ended = await tx.updateTable('web_session').set({ ended_at: at, ended_because: because }).where('ended_at', 'is', null).executeTakeFirst();
  return Number(ended.numUpdatedRows);
}

/** False where it was spent before. */
export async function spendFormDigest(tx: Tx, digest: string, expiresAt: number): Promise<boolean> {
  const spent = await tx
    .insertInto('spent_form')
    .values({ digest, expires_at: expiresAt })
    .onConflict((conflict) => conflict.column('digest').doNothing())
    .executeTakeFirst();
  return Number(spent.numInsertedOrUpdatedRows) === 1;
}

/** What has lost its meaning: forms that would have expired, and sessions that ended long ago. */
export async function forgetOldVisits(tx: Tx, at: number, sessionsBefore: number): Promise<void> {
  await tx.deleteFrom('spent_form').where('expires_at', '<', at).execute();
  await tx
    .deleteFrom('web_session')
    .where((e) => e.or([e('ended_at', '<', sessionsBefore), e('last_seen_at', '<', sessionsBefore)]))
    .execute();
}

/** When each of these was last seen at a site; of sessions that are forgotten nothing is known any more. */
export async function lastSeenAtSite(db: Db, site: WebSession['site'], personIds: readonly string[]): Promise<Map<string, number>> {
  if (personIds.length === 0) return new Map();
  const rows = await db
    .selectFrom('web_session')
    .select(({ fn }) => ['person_id', fn.max('last_seen_at').as('last')])
    .where('site', '=', site)
    .where('person_id', 'in', personIds)
    .groupBy('person_id')
    .execute();
  return new Map(rows.map(({ person_id: id, last }) => [id, last]));
}
