import { Problem } from '../protocol/problems.ts';
import { raise } from './alarms.ts';
import { audit, wasDone } from './audit.ts';
import type { CustodyParts } from './custody-parts.ts';
import { endHoldIn } from './holds.ts';
import { orderRotationIn } from './orders.ts';
import type { Tx } from './parts.ts';
import { openDebtsOf, ordersOf } from './store/debts.ts';
import { disclosuresOf } from './store/disclosures.ts';
import { episodeOfDisclosure, episodesOf, updateEpisode } from './store/episodes.ts';
import { macById } from './store/macs.ts';

/*
 * What the person of a Mac says of it, from whatever device: *I am back in* and *this was not me*. That it
 * is their Mac is checked by whoever asks, in `before`.
 */

export interface OwnerSays {
  macId: string;
  personId: string;
  /** By name, for the audit. */
  actor: string;
  /** More of the same transaction, first: what it throws refuses the act. */
  before?: (tx: Tx, at: number) => Promise<void>;
}

/** Says it once; saying it again changes nothing. */
export async function backIn(parts: CustodyParts, { macId, personId, actor, before }: OwnerSays): Promise<{ holdEnded: boolean }> {
  return parts.act(async (tx, at) => {
    await before?.(tx, at);
    const holdEnded = await endHoldIn(parts, tx, at, { macId, actor, because: 'back-in', reason: 'said so' });
    for (const episode of await episodesOf(tx, macId)) {
      if (episode.person_id !== personId || episode.closed_at !== null || episode.back_in_at !== null) continue;
      await updateEpisode(tx, episode.id, { back_in_at: at });
      await audit(tx, { at, actor, act: 'episode.back-in', macId, details: { episodeId: episode.id, holdEnded } });
    }
    return { holdEnded };
  });
}

export interface NotMe extends OwnerSays {
  /** The view that they did not ask for. */
  disclosureId: string;
  /** In the words of the admin who says it for them. */
  reason?: string;
  /** More of the same transaction, last. */
  after?: (tx: Tx, at: number, done: NotMeDone) => Promise<void>;
}

export interface NotMeDone {
  /** Of the portal: whose view it was there; null for one by an admin. */
  episodeId: string | null;
  shownAt: number;
  /** What becomes of the key that was shown: it is being replaced from now on, or it was before. */
  key: 'ordered' | 'replaced';
  holdEnded: boolean;
  /** Of this very view: whoever is written to was written to then. */
  saidBefore: boolean;
}

const because = 'its person says that somebody else was shown the key';

/**
 * The hold ends, whoever may be typing, and the key that was shown is ordered to be replaced at the Mac's next word. The
 * alarm stops no rotation; it stops the next key from being shown until an admin has looked.
 */
export async function notMe(parts: CustodyParts, said: NotMe): Promise<NotMeDone> {
  const { macId, personId, actor, disclosureId } = said;
  return parts.act(async (tx, at) => {
    await said.before?.(tx, at);
    const mac = await macById(tx, macId);
    const disclosure = (await disclosuresOf(tx, macId)).find((one) => one.id === disclosureId);
    if (!mac || !disclosure) throw new Problem('NOT_FOUND', 'no such view of a key of this Mac');

    const holdEnded = await endHoldIn(parts, tx, at, { macId, actor, because: 'not-me', reason: because });
    const owed = (await openDebtsOf(tx, macId, disclosure.volume)).some((debt) => debt.because === 'disclosed');
    const waiting = (await ordersOf(tx, macId)).some((order) => order.state === 'waiting' && order.reason === because);
    if (owed && !waiting && mac.present_volume !== null)
      await orderRotationIn(parts, tx, at, { macId, actor, reason: because, withoutLogin: false, overrideHold: false });

    const episode = await episodeOfDisclosure(tx, disclosureId);
    if (episode && episode.not_me_at === null) await updateEpisode(tx, episode.id, { not_me_at: at });
    const saidBefore = await wasDone(tx, macId, 'key.not-me', disclosureId);
    await raise(parts, tx, at, macId, 'NOT_ME', `disclosure ${disclosureId}`);
    await audit(tx, {
      at,
      actor,
      act: 'key.not-me',
      macId,
      details: { disclosureId, personId, episodeId: episode?.id ?? null, holdEnded, owed, reason: said.reason },
    });
    const done: NotMeDone = { episodeId: episode?.id ?? null, shownAt: disclosure.at, key: owed ? 'ordered' : 'replaced', holdEnded, saidBefore };
    await said.after?.(tx, at, done);
    return done;
  });
}
