import { Problem } from '../protocol/problems.ts';
import { audit } from './audit.ts';
import type { CustodyParts } from './custody-parts.ts';
import { lastFacts } from './custody-state.ts';
import type { Tx } from './parts.ts';
import { type Hold, holdOf, isBackIn, type SettledSession } from './rotation-due.ts';
import { endEpisode, episodeOf, volumesOnHoldOf } from './store/disclosures.ts';
import { type Mac, macById } from './store/macs.ts';

/** The Mac's own managed setting, where it has one: its organisation may want another deadline for a group of Macs. */
export const deadlineHours = (parts: { settings: Pick<CustodyParts['settings'], 'holdDeadlineHours'> }, mac: Mac | undefined): number =>
  (mac && lastFacts(mac)?.holdDeadlineHours) ?? parts.settings.holdDeadlineHours;

/** The hold of a volume now. One whose deadline has passed is ended in the records, so that a later disclosure begins an episode of its own. */
export async function presentHold(parts: CustodyParts, tx: Tx, at: number, macId: string, volume: string): Promise<Hold | null> {
  const episode = await episodeOf(tx, macId, volume);
  if (episode.length === 0) return null;
  const hold = holdOf(episode, deadlineHours(parts, await macById(tx, macId)), at);
  if (!hold) await end(tx, at, macId, volume, 'deadline', 'server', 'its time is over');
  return hold;
}

/** Somebody has logged in after a restart, asked at each check-in. */
export async function endIfBackIn(tx: Tx, at: number, macId: string, volume: string, session: SettledSession): Promise<void> {
  const episode = await episodeOf(tx, macId, volume);
  if (isBackIn(episode, session)) await end(tx, at, macId, volume, 'session', 'mac', `unlocked again, and ${session.settledUser} has settled`);
}

async function end(tx: Tx, at: number, macId: string, volume: string, because: string, actor: string, reason: string): Promise<void> {
  await endEpisode(tx, macId, volume, because, at);
  await audit(tx, { at, actor, act: 'hold.ended', macId, details: { volume, because, reason } });
}

export interface HoldEnding {
  macId: string;
  actor: string;
  /** (b) the owner says so; (d) it was somebody else, or an admin decides by name. */
  because: 'back-in' | 'not-me' | 'override';
  reason: string;
}

/**
 * Ends the holds of the Mac; false where there is none. Who is back in has said so of the volume that it started from;
 * (d) is about whoever was shown the key, whatever the volume.
 */
export async function endHoldIn(parts: CustodyParts, tx: Tx, at: number, ending: HoldEnding): Promise<boolean> {
  const mac = await macById(tx, ending.macId);
  if (!mac) throw new Problem('MAC_UNKNOWN');
  if (ending.because === 'override' && ending.reason.trim() === '') throw new Problem('REASON_MISSING');
  let ended = false;
  for (const { volume } of await volumesOnHoldOf(tx, mac.id)) {
    if (ending.because === 'back-in' && volume !== mac.present_volume) continue;
    if (!(await presentHold(parts, tx, at, mac.id, volume))) continue;
    await end(tx, at, mac.id, volume, ending.because, ending.actor, ending.reason);
    ended = true;
  }
  return ended;
}
