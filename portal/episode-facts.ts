import { stopsTheMac } from '../server/alarms.ts';
import type { Backend } from '../server/backend.ts';
import { day } from '../server/custody-parts.ts';
import { lastFacts } from '../server/custody-state.ts';
import { successorOf } from '../server/debts.ts';
import { deadlineHours } from '../server/holds.ts';
import { holdOf } from '../server/rotation-due.ts';
import { openAlarmsOf } from '../server/store/alarms.ts';
import { episodeOf } from '../server/store/disclosures.ts';
import { debtsOfEpisode, type Episode, firstUnlockSince, viewsOf } from '../server/store/episodes.ts';
import { grantsOf } from '../server/store/grants.ts';
import { recordById } from '../server/store/keys.ts';
import { macById } from '../server/store/macs.ts';
import { openRotationOf } from '../server/store/rotations.ts';
import type { MailDetails } from '../web/mail-queue.ts';
import { type Delay, type DelayFacts, delayIn, type EpisodeFacts } from './episode-state.ts';

type Db = Backend['store']['db'];

interface Known {
  store: Pick<Backend['store'], 'db'>;
  settings: Backend['settings'];
}

/** `volume`: the one that the key opens; null for the one that the Mac started from last. */
async function delayFacts(db: Db, macId: string, volume: string | null, at: number): Promise<DelayFacts> {
  const mac = await macById(db, macId);
  const facts = mac ? lastFacts(mac) : null;
  // One that was given for a rotation which has ended counts for the day as well; while it is open, that is said instead.
  const grants = (await grantsOf(db, macId, at - day)).filter((grant) => grant.purpose !== 'resolve');
  return {
    elsewhere: mac !== undefined && mac.present_volume !== null && mac.present_volume !== (volume ?? mac.present_volume),
    stopped: stopsTheMac(await openAlarmsOf(db, macId)) !== undefined,
    grantFrom: facts?.custodyMode === 'server' && grants.length > 0 ? Math.max(...grants.map((grant) => grant.at)) + day : null,
    rotator: facts?.rotator ?? 'sparekey',
  };
}

/** Whoever says *as soon as it is online* asks first whether it is known that it will be later. */
export const delayOf = async (db: Db, macId: string, volume: string | null, at: number): Promise<Delay | null> =>
  delayIn(await delayFacts(db, macId, volume, at), at);

/** As a mail keeps it. */
export const laterInMail = (delay: Delay | null): Pick<MailDetails, 'later' | 'laterFrom'> =>
  delay === null ? {} : { later: delay.for, laterFrom: delay.for === 'grant' ? delay.from : null };

/** What is known of an episode now, from the rows. For pages, mails and the rounds of the watch, in whose transactions `db` is theirs. */
export async function episodeFacts({ store, settings }: Known, episode: Episode, at: number): Promise<EpisodeFacts> {
  const { db } = store;
  const mac = await macById(db, episode.mac_id);
  const facts = mac ? lastFacts(mac) : null;
  const views = await viewsOf(db, episode.id);
  const unlock = await firstUnlockSince(db, episode.mac_id, views.at(-1)?.shown_at ?? at);
  const hold = holdOf(await episodeOf(db, episode.mac_id, episode.volume), deadlineHours({ settings: settings.keys }, mac), at);
  const rotation = await openRotationOf(db, episode.mac_id);

  const debts = await debtsOfEpisode(db, episode.id);
  const isReplaced = debts.length > 0 && debts.every((debt) => debt.closed_at !== null);
  const last = isReplaced ? debts.toSorted((a, b) => (a.closed_at ?? 0) - (b.closed_at ?? 0)).at(-1) : undefined;
  const successorId = last ? successorOf(last) : null;
  const successor = successorId === null ? undefined : await recordById(db, successorId);

  return {
    shownAt: views.map((view) => view.shown_at),
    backInAt: episode.back_in_at,
    notMeAt: episode.not_me_at,
    lastSeenAt: mac?.last_seen_at ?? null,
    passwordChangedAt: facts?.passwordChangedAt == null ? null : Date.parse(facts.passwordChangedAt),
    unlockedAt: unlock?.session_start ?? null,
    usedRecoveryKey: unlock !== undefined && unlock.boot === facts?.boot && (facts.usingRecoveryKey === 'yes' || facts.unlockedBy === 'recovery'),
    holdUntil: hold?.until ?? null,
    replacingSince: rotation?.volume === episode.volume ? rotation.begun_at : null,
    replacedAt: last?.closed_at ?? null,
    checkedAt: successor?.proved_at ?? null,
    ...(await delayFacts(db, episode.mac_id, episode.volume, at)),
  };
}
