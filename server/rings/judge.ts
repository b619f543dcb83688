import type { Facts } from '../../protocol/messages.ts';
import { type Mode, modeOf } from '../../protocol/mode.ts';
import { day, isoTime } from '../custody-parts.ts';

/** What is known of a Mac that is to get our escrow payload in the place of the MDM's. */
export interface MoveSituation {
  now: number;
  facts: Facts | null;
  lastSeenAt: number | null;
  /** macOS's escrow file is sealed to one of our certificates. */
  fileOurs: boolean;
  held: { provedAt: number | null; refuted: boolean } | null;
  /** Custody, where it is anything but held and beyond doubt. */
  doubt: string | null;
  rotationOpen: boolean;
  /** Somebody may be typing the key. */
  hold: string | null;
  /** Code of an alarm that stops this Mac. */
  alarm: string | null;
  /** A Mac of the fleet has replaced its key by the key itself on this build. */
  buildWorks: boolean;
  /** Another ring that it is in. */
  otherRing: string | null;
}

export interface Move {
  /** `ready`: its payload may be changed; `ours`: it has our payload already; `later`: something comes first. */
  verdict: 'ready' | 'ours' | 'later';
  mode: Mode | null;
  /** Why it is not movable, or what will happen to it. */
  because: string;
  /** What has to be seen to with it, or is good to know. */
  notes: string[];
}

/** Since this macOS a new payload makes a new key in the same second, where the MDM has the Bootstrap Token. */
const makesKeyItself = 26;
const longSilent = 14 * day;

const majorOf = (facts: Facts): number => Number.parseInt(facts.macosVersion, 10) || 0;
export const macosMakesTheKey = (facts: Facts): boolean => majorOf(facts) >= makesKeyItself;

/** Why the settings of a Mac do not go with our payload, or null. */
export function settingsDisagree(facts: Facts): string | null {
  if (!facts.settings.managed) return 'its managed settings are not there';
  if (facts.rotator === 'mdm') return 'its settings say rotator mdm: set it to sparekey with our payload';
  if (facts.escrowOwner === 'mdm') return 'its settings say escrowOwner mdm: set it to auto or sparekey with our payload';
  return null;
}

function whyLater(it: MoveSituation, facts: Facts): string | null {
  const { payload } = facts.escrow;
  if (it.lastSeenAt === null || it.now - it.lastSeenAt > longSilent)
    return `it was last heard on ${it.lastSeenAt === null ? 'no day' : isoTime(it.lastSeenAt)}`;
  if (it.alarm !== null) return `an alarm waits for an admin: ${it.alarm}`;
  if (facts.fileVault.state !== 'on') return `FileVault is ${facts.fileVault.state}`;
  if (payload === 'several') return 'it has more than one escrow payload: the MDM admin leaves one';
  if (payload === 'unknown') return 'whose escrow payload it has could not be read';
  if (it.rotationOpen) return 'its key is being replaced at this moment';
  if (it.hold !== null) return `somebody may be typing its key, and macOS may make another as soon as the payload changes: ${it.hold}`;
  if (!it.held) return 'no key of it is held here: import it from the MDM, and have it proved';
  if (it.held.refuted) return 'the Mac answered twice that the held key does not open it: import its present key';
  if (it.held.provedAt === null) return 'its key was never proved: its agent has to say true to it first';
  if (it.doubt !== null) return it.doubt;
  if ((facts.foreignChanges?.times.length ?? 0) >= 2) return 'somebody else changed its key twice in 14 days: part the two rotators first';
  if (!macosMakesTheKey(facts) && facts.capability === 'refused')
    return 'its build of macOS does not take the key itself as authority, so no ordered rotation can follow';
  return null;
}

/** Whether the MDM's payload may be taken away from this Mac now, what happens then, and what comes first otherwise. */
export function judgeMove(it: MoveSituation): Move {
  const { facts } = it;
  if (it.otherRing !== null) return { verdict: 'later', mode: facts && modeOf(facts), because: `it is in the ring ${it.otherRing}`, notes: [] };
  if (!facts) return { verdict: 'later', mode: null, because: 'its agent has not checked in yet', notes: [] };
  const mode = modeOf(facts);
  const disagree = settingsDisagree(facts);
  const notes = [
    ...(disagree ? [disagree] : []),
    ...(!macosMakesTheKey(facts) && facts.capability !== 'works' && !it.buildWorks
      ? [`no Mac has replaced its key on build ${facts.macosBuild} yet: its order waits unless this Mac is a pilot`]
      : []),
  ];
  const later = whyLater(it, facts);
  if (later !== null) return { verdict: 'later', mode, because: later, notes: [] };
  if (facts.escrow.payload === 'ours' && it.fileOurs)
    return { verdict: 'ours', mode, because: 'our payload is there and macOS has sealed a key to it: one proof, and it is moved', notes };
  return { verdict: 'ready', mode, because: macosMakesTheKey(facts) ? atOnce : oneRotation, notes };
}

const atOnce = 'macOS makes a new key as soon as our payload is there and seals it to us; the present key is dead from then on; the new one is proved';
const oneRotation =
  'nothing changes at the payload itself; then the held key is proved once more, and one ordered rotation, authorised by it, makes the first key that is sealed to us';
