import { audit } from '../server/audit.ts';
import { day } from '../server/custody-parts.ts';
import { expireRequests } from '../server/key-requests.ts';
import type { SitesGround } from '../server/serve.ts';
import { type Episode, episodeById, episodesToSettle, updateEpisode } from '../server/store/episodes.ts';
import { forgetHelpCodes } from '../server/store/help-codes.ts';
import { overdueRequests } from '../server/store/key-requests.ts';
import { emptyMail, mailsToEmpty } from '../server/store/mails.ts';
import { forgetFlows } from '../server/store/sign-in-flows.ts';
import { forgetOldVisits } from '../server/store/web-sessions.ts';
import { queueMail } from '../web/mail-queue.ts';
import { forgetFile, sendMails } from '../web/mail-sending.ts';
import { episodeFacts } from './episode-facts.ts';
import { type EpisodeFacts, episodeStateOf, unheardHours } from './episode-state.ts';
import { lettersOf } from './mails.ts';

/*
 * What time brings about for people, whoever is silent. Each round may come at any time, twice, or after a crash: every item
 * is one transaction that looks again whether it is still to be done.
 */

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const keepMailDays = 30;
const keepHelpCodeDays = 7;
const keepSessionDays = 90;

/** Puts the rounds on the backend's timers. */
export function watch(ground: SitesGround): void {
  const write = lettersOf(ground.settings, ground.backend.settings.organisation);
  // While no backend was there no Mac could be heard of: after a start, or a restore, each may miss one check-in first.
  const { clock, settings } = ground.backend;
  const heardFrom = clock.now() + 2 * settings.keys.checkInMinutes * minute;
  ground.every(30 * second, 'episodes', async () => void (await watchEpisodes(ground, heardFrom)));
  ground.every(30 * second, 'mails', async () => void (await sendMails(ground, write)));
  ground.every(hour, 'people', () => forgetWhatIsOld(ground));
}

type Due = 'closed' | 'unheard' | null;

/** The last mail says *checked* too where macOS has said it; it is not kept waiting for that for longer than a day. */
function dueFor(episode: Episode, facts: EpisodeFacts, at: number): Due {
  const { replacedAt, checkedAt } = facts;
  if (replacedAt !== null && (checkedAt !== null || at - replacedAt >= day)) return 'closed';
  return replacedAt === null && episode.unheard_at === null && episodeStateOf(facts, at).overdue === 'unheard' ? 'unheard' : null;
}

/** Closes what is replaced, says once of what is not heard of for a day (not before `heardFrom`), and ends requests whose time is over. */
export async function watchEpisodes(ground: SitesGround, heardFrom = 0): Promise<{ closed: number; unheard: number; expired: number }> {
  const { store, clock } = ground.backend;
  const done = { closed: 0, unheard: 0, expired: 0 };
  for (const episode of await episodesToSettle(store.db, clock.now() - unheardHours * hour)) {
    const at = clock.now();
    const due = dueFor(episode, await episodeFacts(ground.backend, episode, at), at);
    if (due === null || (due === 'unheard' && at < heardFrom)) continue;
    if (await settleEpisode(ground, episode.id, due)) done[due] += 1;
  }
  if ((await overdueRequests(store.db, clock.now())).length > 0) done.expired = await store.write(async (tx) => expireRequests(tx, await clock.persist(tx)));
  return done;
}

async function settleEpisode(ground: SitesGround, id: string, due: 'closed' | 'unheard'): Promise<boolean> {
  const { store, clock, settings } = ground.backend;
  return store.write(async (tx) => {
    const at = await clock.persist(tx);
    const episode = await episodeById(tx, id);
    if (!episode || episode.closed_at !== null) return false;
    // A view may have come in between, which owes a replacement of its own, or the Mac's next word.
    const facts = await episodeFacts({ store: { db: tx }, settings }, episode, at);
    if (dueFor(episode, facts, at) !== due) return false;
    await updateEpisode(tx, id, due === 'closed' ? { closed_at: at } : { unheard_at: at });
    await audit(tx, { at, actor: 'server', act: `episode.${due}`, macId: episode.mac_id, details: { episodeId: id } });
    const [first] = facts.shownAt;
    const last = facts.shownAt.at(-1);
    // Where no envelope opened, nobody was shown anything, and nobody is written to.
    if (first === undefined || last === undefined) return true;
    const details =
      due === 'closed' && facts.replacedAt !== null
        ? { macId: episode.mac_id, shownAt: first, replacedAt: facts.replacedAt, checkedAt: facts.checkedAt }
        : { macId: episode.mac_id, shownAt: last };
    await queueMail(tx, { kind: due === 'closed' ? 'key-replaced' : 'nothing-heard', personId: episode.person_id, episodeId: id, details, at });
    return true;
  });
}

/** What has lost its meaning goes: who tried to sign in when, what mails said, codes that nobody reads out any more. */
export async function forgetWhatIsOld(ground: SitesGround): Promise<void> {
  const { store, clock } = ground.backend;
  await store.write(async (tx) => {
    const at = await clock.persist(tx);
    await forgetFlows(tx, at);
    await forgetOldVisits(tx, at, at - keepSessionDays * day);
    await forgetHelpCodes(tx, at - keepHelpCodeDays * day);
  });
  for (const mail of await mailsToEmpty(store.db, clock.now() - keepMailDays * day)) {
    // The file first: after a crash in between the row brings us here again.
    forgetFile(ground, mail);
    await store.write((tx) => emptyMail(tx, mail.id));
  }
}
