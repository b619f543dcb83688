import type { CustodyParts } from '../custody-parts.ts';
import { day, hour, minute } from '../custody-parts.ts';
import { countDisclosures, dayNamed, type Exposure, exposures, keepDay, liveFigures, orderLags } from '../store/fleet-figures.ts';
import { dayOf } from '../store/fleet-projection.ts';

/** Proved within this counts as proved. */
export const provedWithin = 30 * day;

/** What is kept of one day, UTC. */
export interface DayFigures {
  /** Macs in each state of custody, as it was when the day was looked at last. */
  custody: Record<string, number>;
  proved: number;
  /** Hours of the day for which keys were out, together. */
  exposureHours: number;
  disclosures: number;
  /** How long orders took that were carried out on this day: how many in each class of `lagClass`. */
  lags: Record<string, number>;
}

/** Eight classes for each doubling, so that what is read from them is right within a twentieth. */
const perDoubling = 8;
const lagClass = (took: number): number => Math.floor(Math.log2(Math.max(took, minute) / minute) * perDoubling);
/** Minutes, of the middle of a class. */
export const lagMinutes = (of: number): number => 2 ** ((of + 0.5) / perDoubling);

/** The time that keys were out within a span, in hours. */
export const hoursWithin = (found: readonly Exposure[], from: number, until: number): number =>
  found.reduce((sum, one) => sum + Math.max(0, Math.min(one.until ?? until, until) - Math.max(one.from, from)), 0) / hour;

export function countLags(lags: readonly { took: number }[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { took } of lags) counts[lagClass(took)] = (counts[lagClass(took)] ?? 0) + 1;
  return counts;
}

/** Today as far as it has come, and yesterday once it is over. Safe to run at any time and twice. */
export async function keepFleetDays(parts: CustodyParts): Promise<void> {
  const { db } = parts.store;
  const now = parts.clock.now();
  const today = Date.parse(dayOf(now));
  for (const from of [today - day, today]) {
    const until = Math.min(from + day, now);
    const kept = await dayNamed(db, dayOf(from));
    if (from < today && kept && kept.at >= from + day) continue;
    const live = await liveFigures(db, null, now, now - provedWithin);
    const before = kept ? (JSON.parse(kept.figures) as DayFigures) : null;
    const figures: DayFigures = {
      // Of a day that is over the last look at it holds, where there was one.
      custody: from < today && before ? before.custody : live.custody,
      proved: from < today && before ? before.proved : live.proved,
      exposureHours: hoursWithin(await exposures(db, null, from, until), from, until),
      disclosures: await countDisclosures(db, null, from, until),
      lags: countLags(await orderLags(db, null, from, until)),
    };
    await parts.act((tx, at) => keepDay(tx, { day: dayOf(from), at: Math.max(at, until), figures: JSON.stringify(figures) }));
  }
}
