import { z } from 'zod';
import type { Backend } from '../backend.ts';
import { day } from '../custody-parts.ts';
import type { Scope } from '../permissions.ts';
import { countKeys, daysSince, exposures, orderLags } from '../store/fleet-figures.ts';
import { dayOf } from '../store/fleet-projection.ts';
import { countLags, type DayFigures, hoursWithin, lagMinutes } from './days.ts';

/** What is drawn over time. Weeks begin on Mondays, UTC. */
export const trends = z.strictObject({
  days: z
    .array(
      z.strictObject({
        day: z.string().describe('as 2026-11-23, UTC'),
        held: z.int(),
        doubtful: z.int(),
        lost: z.int(),
        none: z.int(),
        foreign: z.int(),
        proved: z.int().describe('proved within 30 days before'),
      }),
    )
    .describe('custody over time; empty where only a part of the fleet is seen'),
  keyAges: z.array(z.strictObject({ fromDays: z.int(), toDays: z.int().nullable(), macs: z.int() })).describe('how old the held keys are'),
  lag: z
    .array(z.strictObject({ week: z.string(), orders: z.int(), p50Minutes: z.number().nullable(), p95Minutes: z.number().nullable() }))
    .describe('from an order to the new key'),
  exposure: z.array(z.strictObject({ week: z.string(), hours: z.number() })).describe('hours for which shown keys were not replaced'),
});
export type Trends = z.infer<typeof trends>;

const week = 7 * day;
/** The Monday of a time. The first of 1970 was a Thursday. */
const mondayOf = (at: number): number => Math.floor((at + 3 * day) / week) * week - 3 * day;
const ages = [0, 7, 30, 90, 180, 365, null] as const;

export async function trendsOf(backend: Backend, scope: Scope, now: number, weeks: number): Promise<Trends> {
  const { db } = backend.store;
  const from = mondayOf(now) - (weeks - 1) * week;
  const kept = scope === null ? (await daysSince(db, dayOf(from))).map((row) => ({ day: row.day, figures: JSON.parse(row.figures) as DayFigures })) : [];
  return {
    days: kept.map(({ day: name, figures: { custody, proved } }) => ({
      day: name,
      held: custody['held'] ?? 0,
      doubtful: custody['doubtful'] ?? 0,
      lost: custody['lost'] ?? 0,
      none: custody['none'] ?? 0,
      foreign: custody['foreign'] ?? 0,
      proved,
    })),
    keyAges: await agesOf(backend, scope, now),
    ...(scope === null ? fromDays(kept, from, weeks) : await fromRows(backend, scope, from, weeks, now)),
  };
}

async function agesOf({ store }: Backend, scope: Scope, now: number): Promise<Trends['keyAges']> {
  const found: Trends['keyAges'] = [];
  for (const [index, fromDays] of ages.slice(0, -1).entries()) {
    const toDays = ages[index + 1] ?? null;
    if (fromDays === null || fromDays === undefined) continue;
    const oldest = toDays === null ? 1 : now - toDays * day;
    found.push({ fromDays, toDays, macs: await countKeys(store.db, scope, Math.max(1, oldest), now - fromDays * day + (fromDays === 0 ? 1 : 0)) });
  }
  return found;
}

const weeksFrom = (from: number, weeks: number): number[] => Array.from({ length: weeks }, (_, index) => from + index * week);

/** The time within which a share of the orders was done. */
function within(lags: Readonly<Record<string, number>>, share: number): number | null {
  const classes = Object.entries(lags)
    .map(([of, n]) => [Number(of), n] as const)
    .toSorted(([one], [other]) => one - other);
  const wanted = classes.reduce((sum, [, n]) => sum + n, 0) * share;
  let seen = 0;
  for (const [of, n] of classes) {
    seen += n;
    if (seen >= wanted) return Math.round(lagMinutes(of) * 10) / 10;
  }
  return null;
}

const lagLine = (from: number, lags: Readonly<Record<string, number>>): Trends['lag'][number] => ({
  week: dayOf(from),
  orders: Object.values(lags).reduce((sum, n) => sum + n, 0),
  p50Minutes: within(lags, 0.5),
  p95Minutes: within(lags, 0.95),
});

function fromDays(kept: readonly { day: string; figures: DayFigures }[], from: number, weeks: number): Pick<Trends, 'lag' | 'exposure'> {
  const lag: Trends['lag'] = [];
  const exposure: Trends['exposure'] = [];
  for (const monday of weeksFrom(from, weeks)) {
    const days = kept.filter((one) => one.day >= dayOf(monday) && one.day < dayOf(monday + week));
    const lags: Record<string, number> = {};
    for (const { figures } of days) for (const [of, n] of Object.entries(figures.lags)) lags[of] = (lags[of] ?? 0) + n;
    lag.push(lagLine(monday, lags));
    exposure.push({ week: dayOf(monday), hours: Math.round(days.reduce((sum, { figures }) => sum + figures.exposureHours, 0) * 10) / 10 });
  }
  return { lag, exposure };
}

/** Of a part of the fleet nothing is kept by day: it is reckoned from what happened to its Macs. */
async function fromRows({ store }: Backend, scope: Scope, from: number, weeks: number, now: number): Promise<Pick<Trends, 'lag' | 'exposure'>> {
  const lags = await orderLags(store.db, scope, from, now + 1);
  const out = await exposures(store.db, scope, from, now);
  return {
    lag: weeksFrom(from, weeks).map((monday) => lagLine(monday, countLags(lags.filter((one) => one.at >= monday && one.at < monday + week)))),
    exposure: weeksFrom(from, weeks).map((monday) => ({
      week: dayOf(monday),
      hours: Math.round(hoursWithin(out, monday, Math.min(monday + week, now)) * 10) / 10,
    })),
  };
}
