import { createHash } from 'node:crypto';
import { Problem } from '../../protocol/problems.ts';
import { canonicalJson } from '../audit.ts';
import { type CustodyParts, day, hour } from '../custody-parts.ts';
import type { Scope } from '../permissions.ts';
import { lastOf, nextOpen, type QuietHours } from '../policies/quiet-hours.ts';
import { countExclusions, type Exclusion, type ExclusionRules, exclusionsOf } from '../store/campaign-plans.ts';
import { type ChosenMacs, criteriaOfKept, type Kept, keptOf } from './chosen.ts';

/** How keys of many Macs are to be replaced. */
export interface Wish {
  chosen: ChosenMacs;
  /** Milliseconds of server time; null: now. */
  fromAt: number | null;
  /** Null: half of the keys that may be given to Macs in an hour. */
  perHour: number | null;
  quiet: QuietHours | null;
  withoutLogin: boolean;
  overrideHold: boolean;
  /** Macs that were not heard of for so many days are left out; null: none is. */
  seenDays: number | null;
}

export const exclusionWords: Record<Exclusion, string> = {
  retired: 'they are retired',
  'never-seen': 'they have never checked in',
  'not-seen': 'they were not heard of for too long',
  'not-ours': 'their keys are not ours to replace: look at their mode',
  'file-vault': 'FileVault is off',
  'no-key': 'nobody here has their key, so nothing would authorise another one',
  hold: 'their key was shown, and somebody may be typing it; it is replaced after that by itself',
  waiting: 'an order waits for them already, or their key is being replaced',
};

export interface Plan {
  /** Macs that are meant. */
  matching: number;
  /** Macs whose key would be replaced. */
  count: number;
  leftOut: { why: Exclusion; says: string; count: number }[];
  perHour: number;
  /** When the first and the last of them would be told. */
  firstAt: number;
  lastAt: number;
  /** Names what was asked for. */
  digest: string;
  /** As people say it: `412 Macs, over 9 hours, from 19:00`. */
  words: string;
  /** What whoever starts it should know. */
  notes: string[];
}

/** Half of what may be given out: a Mac that keeps no key needs a grant to replace it, and proofs need theirs. */
export const usualPerHour = (parts: Pick<CustodyParts, 'settings'>): number => Math.max(1, Math.floor(parts.settings.grantsPerHour / 2));

export const rulesOf = (wish: Pick<Wish, 'seenDays' | 'overrideHold'>, now: number): ExclusionRules => ({
  now,
  seenSince: wish.seenDays === null ? null : now - wish.seenDays * day,
  overrideHold: wish.overrideHold,
});

const digestOf = (kept: Kept, { fromAt, perHour, quiet, withoutLogin, overrideHold, seenDays }: Wish): string =>
  createHash('sha256').update(canonicalJson({ kept, fromAt, perHour, quiet, withoutLogin, overrideHold, seenDays })).digest('hex').slice(0, 32);

export interface Planned {
  plan: Plan;
  kept: Kept;
}

/** What would happen if it were started now. Writes nothing. */
export async function planCampaign(parts: CustodyParts, scope: Scope, wish: Wish, now: number): Promise<Planned> {
  const { db } = parts.store;
  if (wish.fromAt !== null && wish.fromAt > now + 366 * day) throw new Problem('MESSAGE_INVALID', 'from: within a year');
  const kept = await keptOf(db, scope, wish.chosen);
  const rules = rulesOf(wish, now);
  const criteria = criteriaOfKept(kept, now);
  const found = criteria
    ? await countExclusions(db, criteria, scope, rules)
    : counted(await exclusionsOf(db, kept.kind === 'ids' ? kept.ids : [], scope, rules));
  const count = found.get('') ?? 0;
  const perHour = wish.perHour ?? usualPerHour(parts);
  const firstAt = nextOpen(wish.quiet, Math.max(now, wish.fromAt ?? now));
  const lastAt = lastOf(wish.quiet, firstAt, count, hour / perHour);
  const leftOut = (Object.keys(exclusionWords) as Exclusion[]).flatMap((why) => {
    const number = found.get(why) ?? 0;
    return number > 0 ? [{ why, says: exclusionWords[why], count: number }] : [];
  });
  return {
    kept,
    plan: {
      matching: [...found.values()].reduce((sum, number) => sum + number, 0),
      count,
      leftOut,
      perHour,
      firstAt,
      lastAt,
      digest: digestOf(kept, wish),
      words: sayPlan({ count, firstAt, lastAt, now, zone: wish.quiet?.timeZone ?? 'UTC' }),
      notes: notesOf(parts, wish, perHour),
    },
  };
}

function counted(judged: readonly { why: Exclusion | '' }[]): Map<Exclusion | '', number> {
  const found = new Map<Exclusion | '', number>();
  for (const { why } of judged) found.set(why, (found.get(why) ?? 0) + 1);
  return found;
}

function notesOf(parts: CustodyParts, wish: Wish, perHour: number): string[] {
  const { grantsPerHour, grants, orderExpiresDays } = parts.settings;
  return [
    ...(perHour > grantsPerHour
      ? [
          `Macs that keep no key of their own are given theirs to replace it, at most ${grantsPerHour} in an hour: with more than that an alarm stops all of them`,
        ]
      : []),
    ...(grants === 'never' ? ['this backend gives no Mac its key: only Macs that keep their own can replace it'] : []),
    ...(wish.seenDays === null ? [`an order that no Mac fetches ends after ${orderExpiresDays} days`] : []),
  ];
}

const macsInWords = (count: number): string => (count === 1 ? '1 Mac' : `${count} Macs`);

function sayLength(milliseconds: number): string {
  const minutes = Math.ceil(milliseconds / 60_000);
  if (minutes <= 1) return 'at once';
  if (minutes < 100) return `over ${minutes} minutes`;
  const hours = Math.ceil(milliseconds / hour);
  return hours < 100 ? `over ${hours} hours` : `over ${Math.ceil(hours / 24)} days`;
}

/** The time of day where it is the same one, else the date too. */
function sayTime(at: number, now: number, zone: string): string {
  const date = (time: number) => new Intl.DateTimeFormat('en-GB', { timeZone: zone, day: 'numeric', month: 'long', year: 'numeric' }).format(time);
  const time = new Intl.DateTimeFormat('en-GB', { timeZone: zone, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }).format(at);
  return `${date(at) === date(now) ? '' : `${date(at)}, `}${time}${zone === 'UTC' ? ' UTC' : ''}`;
}

function sayPlan({ count, firstAt, lastAt, now, zone }: { count: number; firstAt: number; lastAt: number; now: number; zone: string }): string {
  if (count === 0) return 'no Mac';
  const begin = firstAt - now < 60_000 ? 'from now' : `from ${sayTime(firstAt, now, zone)}`;
  return `${macsInWords(count)}, ${sayLength(lastAt - firstAt)}, ${begin}`;
}
