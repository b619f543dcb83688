import { randomUUID } from 'node:crypto';
import { Problem } from '../protocol/problems.ts';
import { raise } from '../server/alarms.ts';
import { audit } from '../server/audit.ts';
import type { DisclosureWritten } from '../server/disclosures.ts';
import type { Store, Tx } from '../server/parts.ts';
import type { PeopleSettings } from '../server/people-settings.ts';
import type { SitesGround } from '../server/serve.ts';
import {
  countViewsFrom,
  countViewsOfPerson,
  type Episode,
  hideViews,
  insertEpisode,
  insertView,
  isHoldOf,
  type KeyView,
  latestEpisodeOf,
  refusalsOf,
  viewsOf,
  wantMoreTime,
} from '../server/store/episodes.ts';

/*
 * One time of being locked out, as its person meets it: a row of views, each five minutes long, each a disclosure of its own.
 * Everything is reckoned by the server's clock.
 */

const minute = 60_000;
const hour = 60 * minute;
export const viewTime = 5 * minute;
/** How long after the end of a view somebody without a script still gets the next five minutes by one tap. */
export const moreTimeGrace = minute;
/**
 * WCAG 2.2.1 asks for at least ten. A chain of them is bounded by itself, for freshness does not go on with it: each link
 * begins in the same session at most a minute after the one before ended, and after an hour somebody signs in again.
 */
export const mostMoreTimes = 12;
/** Different keys in one episode: beyond these nobody gets in by trying, and each wrong one makes the Mac wait longer. */
export const mostKeys = 3;

export interface EpisodeNow {
  episode: Episode;
  /** Oldest first; at least one. */
  views: readonly KeyView[];
  last: KeyView;
  /** Records that its person says were refused. */
  refused: readonly string[];
  /** How often that was said. */
  refusals: number;
}

/**
 * The one that a further view belongs to. It ends with the hold: whoever was in again, or said so, or did not come for a day,
 * and needs a key once more, begins another, and hears of it by mail.
 */
export async function episodeNow(db: Store['db'], macId: string, personId: string): Promise<EpisodeNow | null> {
  const episode = await latestEpisodeOf(db, macId, personId);
  if (!episode || episode.closed_at !== null || episode.back_in_at !== null || episode.not_me_at !== null) return null;
  const views = await viewsOf(db, episode.id);
  const last = views.at(-1);
  if (!last || !(await isHoldOf(db, last.disclosure_id))) return null;
  const refusals = await refusalsOf(db, episode.id);
  return { episode, views, last, refused: [...new Set(refusals.map(({ record_id }) => record_id))], refusals: refusals.length };
}

function inARow(views: readonly KeyView[]): number {
  const other = views.findLastIndex((view) => view.because !== 'more-time');
  return views.length - 1 - other;
}

export type MoreTime = 'yes' | 'used-up' | 'over';
/** Whether the next five minutes are one tap away, in this session. */
export function moreTime(now: EpisodeNow | null, sessionId: string, at: number): MoreTime {
  if (!now || now.last.session_id !== sessionId || now.last.hidden_at !== null || at > now.last.ends_at + moreTimeGrace) return 'over';
  return inARow(now.views) < mostMoreTimes ? 'yes' : 'used-up';
}

/** Whether another key than the last one may still be tried. */
export const mayTryAnother = (now: EpisodeNow): boolean => new Set(now.views.map(({ record_id }) => record_id)).size < mostKeys;

export interface ViewWanted {
  macId: string;
  personId: string;
  sessionId: string;
  network: string;
  because: Exclude<KeyView['because'], 'first'>;
  /** To be read out on the telephone: made where an episode begins. */
  code: () => Promise<string>;
}

export interface ViewWritten {
  episode: Episode;
  view: KeyView;
}

/** In the transaction of the disclosure, after it was written. */
export async function writeView(tx: Tx, at: number, written: DisclosureWritten, wanted: ViewWanted): Promise<ViewWritten> {
  const { macId, personId, sessionId, network } = wanted;
  const before = await episodeNow(tx, macId, personId);
  const now = before?.episode.volume === written.volume ? before : null;
  const episode: Episode = now?.episode ?? {
    id: randomUUID(),
    mac_id: macId,
    volume: written.volume,
    person_id: personId,
    code: await wanted.code(),
    began_at: at,
    more_time: 0,
    back_in_at: null,
    not_me_at: null,
    unheard_at: null,
    closed_at: null,
  };
  if (!now) await insertEpisode(tx, episode);
  if (wanted.because === 'more-time') await wantMoreTime(tx, episode.id);
  const view: KeyView = {
    id: randomUUID(),
    episode_id: episode.id,
    disclosure_id: written.disclosureId,
    record_id: written.recordId,
    session_id: sessionId,
    network,
    because: now ? wanted.because : 'first',
    // Two in one millisecond keep their order: which was the last one decides what *it was refused* means.
    shown_at: now ? Math.max(at, now.last.shown_at + 1) : at,
    ends_at: at + viewTime,
    hidden_at: null,
  };
  await insertView(tx, view);
  return { episode: wanted.because === 'more-time' ? { ...episode, more_time: 1 } : episode, view };
}

/** *Hide now*: what still runs of this person and this Mac. */
export async function hideKey({ store, clock }: SitesGround['backend'], who: { macId: string; personId: string; actor: string }): Promise<void> {
  const { macId, personId, actor } = who;
  await store.write(async (tx) => {
    const at = await clock.persist(tx);
    const now = await episodeNow(tx, macId, personId);
    if (!now || now.last.hidden_at !== null || now.last.ends_at <= at) return;
    await hideViews(tx, now.episode.id, at);
    await audit(tx, { at, actor, act: 'key.hidden', macId, details: { episodeId: now.episode.id, viewId: now.last.id } });
  });
}

/** While many are locked out at once, they are so behind one address. */
const raisedBy = 5;
export const limitsOf = ({ selfService }: Pick<PeopleSettings, 'selfService'>, inEmergency: boolean): { viewsPerPerson: number; viewsPerAddress: number } => {
  const times = inEmergency ? raisedBy : 1;
  return { viewsPerPerson: times * selfService.viewsPerPerson, viewsPerAddress: times * selfService.viewsPerAddress };
};

/** Throws `VIEWS_LIMIT`, whose detail is whose limit it is. In the transaction of the disclosure: two at once are counted one after the other. */
export async function checkLimits(
  tx: Tx,
  at: number,
  settings: PeopleSettings,
  { personId, network, inEmergency }: { personId: string; network: string; inEmergency: boolean },
): Promise<void> {
  const { viewsPerPerson, viewsPerAddress } = limitsOf(settings, inEmergency);
  if ((await countViewsOfPerson(tx, personId, at - 24 * hour)) >= viewsPerPerson) throw new Problem('VIEWS_LIMIT', 'person');
  if ((await countViewsFrom(tx, network, at - hour)) >= viewsPerAddress) throw new Problem('VIEWS_LIMIT', 'network');
}

/** The disclosure was refused and nothing of it is stored; that somebody came up against a limit is. Once a day for each. */
export async function tellUnusual(
  { backend, log }: SitesGround,
  limits: ReturnType<typeof limitsOf>,
  macId: string,
  whose: string,
  personId: string,
): Promise<void> {
  const { viewsPerPerson, viewsPerAddress } = limits;
  const words =
    whose === 'person' ? `more than ${viewsPerPerson} in 24 hours by person ${personId}` : `more than ${viewsPerAddress} in an hour from one network`;
  await backend.store.write(async (tx) => {
    const at = await backend.clock.persist(tx);
    await raise({ log }, tx, at, macId, 'VIEWS_UNUSUAL', `${words}, ${new Date(at).toISOString().slice(0, 10)}`);
  });
}
