import type { RotationReason } from '../protocol/messages.ts';
import { hour, isoTime, minute } from './custody-parts.ts';

/** The time after a disclosure in which no key is replaced, for whatever reason. Milliseconds. */
export interface Hold {
  since: number;
  until: number;
  because: string;
}

/** Somebody was shown the key so short a time ago that they may be typing it, whatever the deadline says. */
const leastAfterLast = 20 * minute;

/**
 * The hold that an episode of disclosures makes, oldest first, or null where it has ended: (c) the deadline counts from
 * the first, so that looking again and again does not put a replacement off for ever.
 */
export function holdOf(episode: readonly { at: number }[], deadlineHours: number, now: number): Hold | null {
  const first = episode[0];
  const last = episode.at(-1);
  if (!first || !last) return null;
  const until = Math.max(first.at + deadlineHours * hour, last.at + leastAfterLast);
  return now < until ? { since: first.at, until, because: `the key was shown on ${isoTime(last.at)}; somebody may be typing it` } : null;
}

export interface SettledSession {
  /** Server time at which the job first ran in this boot session, hence after the unlock. */
  sessionStart: number;
  /** The console user of the settled session, or null. */
  settledUser: string | null;
  secureTokenUsers: number | null;
}

/** (a) the person is back in: the Mac was unlocked after the last disclosure, and that person, or the only one that there can be, has settled. */
export function isBackIn(episode: readonly { at: number; person: string | null }[], session: SettledSession): boolean {
  const last = episode.at(-1);
  if (!last || session.settledUser === null || session.sessionStart <= last.at) return false;
  return session.settledUser === last.person || session.secureTokenUsers === 1;
}

export interface RotationDue {
  /** A key must be replaced; a hold may stand first. */
  owed: boolean;
  /** Nothing may be replaced now. */
  hold: Hold | null;
  because: string;
}

/** Does this Mac owe a rotation, is there a hold, and why. */
export function rotationDue(
  debts: readonly { because: RotationReason | string }[],
  episode: readonly { at: number }[],
  deadlineHours: number,
  now: number,
): RotationDue {
  const hold = holdOf(episode, deadlineHours, now);
  const reasons = [...new Set(debts.map((debt) => debt.because))].join(', ');
  if (debts.length === 0) return { owed: false, hold, because: 'nothing is owed' };
  return { owed: true, hold, because: hold ? `owed (${reasons}), but ${hold.because}` : `owed: ${reasons}` };
}
