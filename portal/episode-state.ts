/*
 * How far a time of being locked out has come: shown, new password, replaced, checked. Pure: pages, mails and the rounds of
 * the watch say the same of the same facts.
 */

export interface EpisodeFacts {
  /** Views that opened a key, oldest first. */
  shownAt: readonly number[];
  /** Its person said *I am back in*. */
  backInAt: number | null;
  notMeAt: number | null;
  /** The Mac's last word, whatever it was. */
  lastSeenAt: number | null;
  /** A claim of the Mac's own clock. */
  passwordChangedAt: number | null;
  /** Server time at which the job first ran in the first boot session after the last view: the Mac had been unlocked. */
  unlockedAt: number | null;
  /** macOS says of that boot session that the recovery key unlocked it. */
  usedRecoveryKey: boolean;
  /** The hold that stands now: until then no key is replaced. */
  holdUntil: number | null;
  /** The open rotation. */
  replacingSince: number | null;
  /** All keys that were shown have a successor in custody: when the last of them was superseded by it. */
  replacedAt: number | null;
  /** macOS said that the successor opens the Mac. */
  checkedAt: number | null;
  /** The Mac's last check-in was from another volume than the one that this key opens. */
  elsewhere: boolean;
  /** An alarm stops replacements until somebody has judged it. */
  stopped: boolean;
  /** It has no key of its own to replace it with, and was given one for a check today: it is given the next from then on. */
  grantFrom: number | null;
  /** Who replaces keys on this Mac, by its own word. */
  rotator: 'sparekey' | 'mdm';
}

/** What is known to put a replacement off beyond the next time that the Mac is online. */
export type Delay = { for: 'grant'; from: number } | { for: 'other-volume' | 'service-desk' | 'mdm' };
export type DelayFacts = Pick<EpisodeFacts, 'elsewhere' | 'stopped' | 'grantFrom' | 'rotator'>;

export function delayIn({ elsewhere, stopped, grantFrom, rotator }: DelayFacts, now: number): Delay | null {
  if (rotator === 'mdm') return { for: 'mdm' };
  if (stopped) return { for: 'service-desk' };
  if (elsewhere) return { for: 'other-volume' };
  return grantFrom !== null && grantFrom > now ? { for: 'grant', from: grantFrom } : null;
}

export type StepName = 'shown' | 'in-again' | 'replaced' | 'checked';
/** What told that somebody is in again; the first that is known. */
export type InAgain = 'new-password' | 'used' | 'unlocked' | 'said';

export type Waiting =
  /** Nothing was heard of the Mac since the key was shown. */
  | { for: 'the-mac'; lastSeenAt: number | null }
  /** It was heard of, but not that somebody has come in. */
  | { for: 'somebody'; lastSeenAt: number }
  | { for: 'hold'; until: number }
  | { for: 'rotation'; since: number }
  /** The next time that it is online and somebody is logged in. */
  | { for: 'its-turn'; lastSeenAt: number }
  | Delay
  | { for: 'check' }
  | { for: 'step-before' };

export type Step = { name: StepName; at: number; by?: InAgain } | { name: StepName; at: null; waits: Waiting };

export interface EpisodeState {
  steps: readonly [Step, Step, Step, Step];
  /** Something is still to come. */
  awaits: boolean;
  /** A day has passed since the key was last shown, and nothing was heard of the Mac, or it was and the key is not replaced. */
  overdue: 'unheard' | 'not-replaced' | null;
}

const hour = 3_600_000;
export const unheardHours = 24;

export function episodeStateOf(facts: EpisodeFacts, now: number): EpisodeState {
  const first = facts.shownAt[0] ?? now;
  const last = facts.shownAt.at(-1) ?? first;
  const heard = facts.lastSeenAt !== null && facts.lastSeenAt > last;

  const inAgain = inAgainOf(facts, first);
  const replaced: Step =
    facts.replacedAt === null ? { name: 'replaced', at: null, waits: waitsToBeReplaced(facts, heard, now) } : { name: 'replaced', at: facts.replacedAt };
  const checked: Step =
    facts.replacedAt !== null && facts.checkedAt !== null
      ? { name: 'checked', at: Math.max(facts.checkedAt, facts.replacedAt) }
      : { name: 'checked', at: null, waits: facts.replacedAt === null ? { for: 'step-before' } : { for: 'check' } };
  const second: Step = inAgain
    ? { name: 'in-again', ...inAgain }
    : {
        name: 'in-again',
        at: null,
        waits: heard && facts.lastSeenAt !== null ? { for: 'somebody', lastSeenAt: facts.lastSeenAt } : { for: 'the-mac', lastSeenAt: facts.lastSeenAt },
      };

  const late = facts.replacedAt === null && now - last >= unheardHours * hour;
  return {
    steps: [{ name: 'shown', at: first }, second, replaced, checked],
    awaits: replaced.at === null || checked.at === null,
    // What waits for a hold, for an admin, or for somebody else's device management is not late by the Mac's doing.
    overdue: !late ? null : !heard ? 'unheard' : replaced.at === null && ['its-turn', 'rotation'].includes(replaced.waits.for) ? 'not-replaced' : null,
  };
}

/**
 * Whoever is in again has proved it by what the Mac says, or has said so. The Mac's clock is a claim: what it says of the
 * password is kept between the first view and its last check-in, which are the server's times.
 */
function inAgainOf(facts: EpisodeFacts, first: number): { at: number; by: InAgain } | null {
  const { passwordChangedAt, lastSeenAt, unlockedAt, backInAt } = facts;
  if (passwordChangedAt !== null && passwordChangedAt >= first && lastSeenAt !== null && lastSeenAt > first)
    return { at: Math.min(passwordChangedAt, lastSeenAt), by: 'new-password' };
  if (unlockedAt !== null) return { at: unlockedAt, by: facts.usedRecoveryKey ? 'used' : 'unlocked' };
  return backInAt === null ? null : { at: backInAt, by: 'said' };
}

function waitsToBeReplaced(facts: EpisodeFacts, heard: boolean, now: number): Waiting {
  if (facts.replacingSince !== null) return { for: 'rotation', since: facts.replacingSince };
  if (facts.holdUntil !== null) return { for: 'hold', until: facts.holdUntil };
  const delay = delayIn(facts, now);
  if (delay) return delay;
  return heard && facts.lastSeenAt !== null ? { for: 'its-turn', lastSeenAt: facts.lastSeenAt } : { for: 'the-mac', lastSeenAt: facts.lastSeenAt };
}
