import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type Episode = Tables['episode'];
export type KeyView = Tables['key_view'];

// Questions.

/** Newest first. */
export const episodesOf = (db: Db, macId: string): Promise<Episode[]> =>
  db.selectFrom('episode').selectAll().where('mac_id', '=', macId).orderBy('began_at', 'desc').orderBy('id').execute();

/** What this person last met with this Mac, ended or not. */
export const latestEpisodeOf = (db: Db, macId: string, personId: string): Promise<Episode | undefined> =>
  db
    .selectFrom('episode')
    .selectAll()
    .where('mac_id', '=', macId)
    .where('person_id', '=', personId)
    .orderBy('began_at', 'desc')
    .orderBy('id')
    .limit(1)
    .executeTakeFirst();

/** Null for a view that was no person's of the portal. */
export const episodeOfDisclosure = (db: Db, disclosureId: string): Promise<Episode | undefined> =>
  db
    .selectFrom('episode')
    .innerJoin('key_view', 'key_view.episode_id', 'episode.id')
    .selectAll('episode')
    .where('key_view.disclosure_id', '=', disclosureId)
    .executeTakeFirst();

export const episodeById = (db: Db, id: string): Promise<Episode | undefined> => db.selectFrom('episode').selectAll().where('id', '=', id).executeTakeFirst();

export interface Viewer {
  disclosure_id: string;
  person_id: string;
  display_name: string;
  not_me_at: number | null;
  because: KeyView['because'];
}

/** The people of the portal among those who were shown a key of this Mac. */
export const viewersOf = (db: Db, macId: string): Promise<Viewer[]> =>
  db
    .selectFrom('key_view')
    .innerJoin('episode', 'episode.id', 'key_view.episode_id')
    .innerJoin('person', 'person.id', 'episode.person_id')
    .select(['key_view.disclosure_id', 'episode.person_id', 'person.display_name', 'episode.not_me_at', 'key_view.because'])
    .where('episode.mac_id', '=', macId)
    .execute();

/**
 * Open ones of which there may be something to say: every debt of theirs is paid, or their last view is older than
 * `silentBefore` and the Mac has not been heard of since. An episode can stay open for as long as a Mac lies in a drawer.
 */
export const episodesToSettle = (db: Db, silentBefore: number): Promise<Episode[]> =>
  db
    .selectFrom('episode')
    .selectAll()
    .where('closed_at', 'is', null)
    .where((e) => {
      const views = e.selectFrom('key_view').whereRef('key_view.episode_id', '=', 'episode.id');
      const owed = views
        .innerJoin('debt', (join) => join.onRef('debt.id', '=', 'key_view.disclosure_id').onRef('debt.mac_id', '=', 'episode.mac_id'))
        .select('debt.id')
        .where('debt.closed_at', 'is', null);
      const heard = e
        .selectFrom('mac')
        .select('mac.id')
        .whereRef('mac.id', '=', 'episode.mac_id')
        .where(
          'mac.last_seen_at',
          '>',
          views.select((of) => of.fn.max('key_view.shown_at').as('last')),
        );
      const late = views.select('key_view.id').where('key_view.shown_at', '>', silentBefore);
      return e.or([e.not(e.exists(owed)), e.and([e('unheard_at', 'is', null), e.not(e.exists(heard)), e.not(e.exists(late))])]);
    })
    .orderBy('began_at')
    .orderBy('id')
    .execute();

/** Oldest first; those that opened no key are left out. */
export const viewsOf = (db: Db, episodeId: string): Promise<KeyView[]> =>
  db
    .selectFrom('key_view')
    .innerJoin('disclosure', 'disclosure.id', 'key_view.disclosure_id')
    .selectAll('key_view')
    .where('key_view.episode_id', '=', episodeId)
    .where('disclosure.shown', '=', 1)
    .orderBy('key_view.shown_at')
    .orderBy('key_view.id')
    .execute();

/** Whether this person was shown a key of this Mac at that time or since. */
export async function wasShownSince(db: Db, macId: string, personId: string, since: number): Promise<boolean> {
  const row = await db
    .selectFrom('key_view')
    .innerJoin('episode', 'episode.id', 'key_view.episode_id')
    .innerJoin('disclosure', 'disclosure.id', 'key_view.disclosure_id')
    .select('key_view.id')
    .where('episode.mac_id', '=', macId)
    .where('episode.person_id', '=', personId)
    .where('key_view.shown_at', '>=', since)
    .where('disclosure.shown', '=', 1)
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}

/** The debts of an episode's views, each of which closes only when another key is in custody. */
export const debtsOfEpisode = (db: Db, episodeId: string): Promise<Tables['debt'][]> =>
  db
    .selectFrom('key_view')
    .innerJoin('episode', 'episode.id', 'key_view.episode_id')
    .innerJoin('debt', (join) => join.onRef('debt.id', '=', 'key_view.disclosure_id').onRef('debt.mac_id', '=', 'episode.mac_id'))
    .selectAll('debt')
    .where('key_view.episode_id', '=', episodeId)
    .orderBy('debt.opened_at')
    .execute();

/** The first time after it that somebody unlocked this Mac, as its boot sessions tell. */
export const firstUnlockSince = (db: Db, macId: string, since: number): Promise<{ boot: string; session_start: number } | undefined> =>
  db
    .selectFrom('session')
    .innerJoin('enrolment', 'enrolment.id', 'session.enrolment_id')
    .select(['session.boot', 'session.session_start'])
    .where('enrolment.mac_id', '=', macId)
    .where('session.session_start', '>', since)
    .orderBy('session.session_start')
    .limit(1)
    .executeTakeFirst();

export const refusalsOf = (db: Db, episodeId: string): Promise<Tables['refusal'][]> =>
  db.selectFrom('refusal').selectAll().where('episode_id', '=', episodeId).orderBy('at').orderBy('id').execute();

/** For whoever runs the backend: each time of being locked out that is not over, with its person, its views and what they said of them. */
export async function openEpisodesOf(db: Db, macId: string) {
  const episodes = await db
    .selectFrom('episode')
    .innerJoin('person', 'person.id', 'episode.person_id')
    .selectAll('episode')
    .select('person.user_name')
    .where('episode.mac_id', '=', macId)
    .where('episode.closed_at', 'is', null)
    .orderBy('episode.began_at', 'desc')
    .execute();
  return Promise.all(episodes.map(async (episode) => ({ ...episode, views: await viewsOf(db, episode.id), refusals: await refusalsOf(db, episode.id) })));
}

/** Of whomever it was shown to, admins and people with a code of the desk too: how often it was said that this key was refused. */
export async function countRefusals(db: Db, recordId: string): Promise<number> {
  const own = await db
    .selectFrom('refusal')
    .select((e) => e.fn.countAll<number>().as('count'))
    .where('record_id', '=', recordId)
    .executeTakeFirstOrThrow();
  const refused = async (table: 'admin_view' | 'release_view'): Promise<number> =>
    (
      await db
        .selectFrom(table)
        .select((e) => e.fn.countAll<number>().as('count'))
        .where('record_id', '=', recordId)
        .where('refused_at', 'is not', null)
        .executeTakeFirstOrThrow()
    ).count;
  return own.count + (await refused('admin_view')) + (await refused('release_view'));
}

/** Also of keys that did not open: a limit counts what was asked for. */
export async function countViewsOfPerson(db: Db, personId: string, since: number): Promise<number> {
  const row = await db
    .selectFrom('key_view')
    .innerJoin('episode', 'episode.id', 'key_view.episode_id')
    .select((e) => e.fn.countAll<number>().as('count'))
    .where('episode.person_id', '=', personId)
    .where('key_view.shown_at', '>', since)
    .executeTakeFirstOrThrow();
  return row.count;
}

export async function countViewsFrom(db: Db, network: string, since: number): Promise<number> {
  const row = await db
    .selectFrom('key_view')
    .select((e) => e.fn.countAll<number>().as('count'))
    .where('network', '=', network)
    .where('shown_at', '>', since)
    .executeTakeFirstOrThrow();
  return row.count;
}

/** Whether the hold that a disclosure began, or went on with, still stands in the records. */
export async function isHoldOf(db: Db, disclosureId: string): Promise<boolean> {
  const row = await db.selectFrom('disclosure').select('hold_ended_at').where('id', '=', disclosureId).executeTakeFirst();
  return row !== undefined && row.hold_ended_at === null;
}

// What happened.

export async function insertEpisode(tx: Tx, episode: Episode): Promise<void> {
  await tx.insertInto('episode').values(episode).execute();
}

export async function updateEpisode(
  tx: Tx,
  id: string,
  values: Partial<Pick<Episode, 'back_in_at' | 'not_me_at' | 'unheard_at' | 'closed_at'>>,
): Promise<void> {
  await tx.updateTable('episode').set(values).where('id', '=', id).execute();
}

export async function wantMoreTime(tx: Tx, episodeId: string): Promise<void> {
  await tx.updateTable('episode').set({ more_time: 1 }).where('id', '=', episodeId).execute();
}

export async function insertView(tx: Tx, view: KeyView): Promise<void> {
  await tx.insertInto('key_view').values(view).execute();
}

/** Nobody looks at it any more: *hide now*, or it is shown anew. */
export async function hideViews(tx: Tx, episodeId: string, at: number): Promise<void> {
  await tx
    .updateTable('key_view')
    .set({ hidden_at: at })
    .where('episode_id', '=', episodeId)
    .where('hidden_at', 'is', null)
    .where('ends_at', '>', at)
    .execute();
}

export async function insertRefusal(tx: Tx, refusal: Tables['refusal']): Promise<void> {
  await tx.insertInto('refusal').values(refusal).execute();
}
