import type { Facts } from '../../protocol/messages.ts';
import { notOurs } from '../../protocol/mode.ts';
import { stopsTheMac } from '../alarms.ts';
import { type CustodyParts, isoTime } from '../custody-parts.ts';
import { lastFacts } from '../custody-state.ts';
import { deadlineHours } from '../holds.ts';
import { whyOrderWaits } from '../rings/move.ts';
import { holdOf } from '../rotation-due.ts';
import { openAlarmsOf } from '../store/alarms.ts';
import { episodeOf } from '../store/disclosures.ts';
import type { Mac } from '../store/macs.ts';
import { openRingOf } from '../store/rings.ts';
import { openRotationOf } from '../store/rotations.ts';
import { waitsOf } from '../waits.ts';

/** How far an order has come on its way to a Mac that has not carried it out. */
export interface OnItsWay {
  step: 'not-fetched' | 'fetched' | 'replacing';
  because: string;
  /** It does not pass by itself. */
  needsHelp: boolean;
}

/**
 * What an order waits for: by what is known here, then in the words of the agent, which asks itself (the gates). An agent of before
 * gives no words: then what it says of its Mac is judged by the same questions.
 */
export async function onItsWay(parts: CustodyParts, mac: Mac, orderedAt: number): Promise<OnItsWay> {
  const { db } = parts.store;
  const open = await openRotationOf(db, mac.id);
  if (open) return { step: 'replacing', because: `its key is being replaced since ${isoTime(open.begun_at)}`, needsHelp: false };
  if ((mac.last_seen_at ?? 0) <= orderedAt) return { step: 'not-fetched', because: 'the Mac has not been heard of since', needsHelp: false };
  const facts = lastFacts(mac);
  const lasting = (await stopped(parts, mac)) ?? (facts && (notOurs(facts) ?? (await whyOrderWaits(db, facts))));
  if (lasting) return { step: 'fetched', because: lasting, needsHelp: true };
  const told = waitsOf(mac);
  if (told?.needsHelp) return { step: 'fetched', because: `the Mac says: ${told.says}`, needsHelp: true };
  const hold = holdOf(await episodeOf(db, mac.id, mac.present_volume ?? ''), deadlineHours(parts, mac), parts.clock.now());
  return {
    step: 'fetched',
    because:
      hold?.because ??
      (told && `the Mac says: ${told.says}`) ??
      (facts && passing(facts)) ??
      'the Mac has fetched it, and carries it out at one of its next check-ins',
    needsHelp: false,
  };
}

async function stopped({ store: { db } }: CustodyParts, { id }: Mac): Promise<string | null> {
  const alarm = stopsTheMac(await openAlarmsOf(db, id));
  if (alarm) return `an alarm stops it until somebody has judged it: ${alarm.code}`;
  const ring = await openRingOf(db, id);
  return ring?.ring.state === 'moving' && ring.mac.state === 'waiting' ? `it waits for our payload in the ring ${ring.ring.name}` : null;
}

/** What passes by itself, in the order in which the agent asks. */
function passing({ fileVault, consoleUser, power, settledUser }: Facts): string | null {
  if (fileVault.state !== 'on') return `FileVault is ${fileVault.state}`;
  if (consoleUser === '_mbsetupuser') return 'Setup Assistant is running';
  if (power.source === 'battery' && (power.percent ?? 0) < 20) return `the battery is at ${power.percent ?? 'an unknown number of'} percent`;
  if (settledUser === null) return 'nobody has been logged in for ten minutes yet';
  return null;
}
