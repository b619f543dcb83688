import type { CustodyState } from '../protocol/messages.ts';

/*
 * What is known of a Mac's key, as one thing to say: decided here from rows and dates, said in devices-words.ts. It never
 * says more than a receipt or an answer of macOS has said.
 */

export interface KeyFacts {
  /** False: enrolled, and not one check-in since. */
  seen: boolean;
  custody: CustodyState;
  /** Held, and nobody here has opened it. */
  unopened: boolean;
  /** When macOS last said that the held key opens this Mac. */
  provedAt: number | null;
  /** macOS said twice that the held key does not open it. */
  refuted: boolean;
  /** Begun and not ended. */
  rotationBegunAt: number | null;
  /** It is owed a replacement: somebody was shown it, or an admin ordered it. */
  owed: boolean;
  holdUntil: number | null;
}

export type KeyState =
  | { is: 'never-seen' | 'none' | 'foreign' | 'lost' | 'refuted' | 'doubtful' | 'unopened' | 'not-checked' }
  | { is: 'replacing' | 'replacing-long'; since: number }
  | { is: 'checked' | 'checked-long-ago'; at: number };

export type KeyNext = { is: 'nothing' } | { is: 'waits'; until: number } | { is: 'owed' };

const minute = 60_000;
const day = 24 * 60 * minute;
/** After this long an open rotation puts custody in doubt, and a minute's patience is no longer the right advice. */
const replacingMinutes = 5;
/** Macs are asked once in thirty days, as it is set at first; a day or two of holiday changes nothing. */
const recentDays = 35;

export function keyStateOf(facts: KeyFacts, now: number): KeyState {
  if (!facts.seen) return { is: 'never-seen' };
  // A rotation that is open says the most: which key is valid may change in this very minute.
  if (facts.rotationBegunAt !== null && (facts.custody === 'held' || facts.custody === 'doubtful')) {
    const since = facts.rotationBegunAt;
    return now - since <= replacingMinutes * minute ? { is: 'replacing', since } : { is: 'replacing-long', since };
  }
  if (facts.custody === 'none' || facts.custody === 'foreign' || facts.custody === 'lost') return { is: facts.custody };
  if (facts.custody === 'doubtful') return { is: facts.refuted ? 'refuted' : 'doubtful' };
  if (facts.unopened) return { is: 'unopened' };
  if (facts.provedAt === null) return { is: 'not-checked' };
  return { is: now - facts.provedAt <= recentDays * day ? 'checked' : 'checked-long-ago', at: facts.provedAt };
}

/** What will happen to it, where something will. */
export function keyNextOf(facts: KeyFacts): KeyNext {
  if (!facts.owed || facts.rotationBegunAt !== null) return { is: 'nothing' };
  return facts.holdUntil === null ? { is: 'owed' } : { is: 'waits', until: facts.holdUntil };
}
