import { z } from 'zod';
import { fixOf } from '../alarm-fixes.ts';
import { sayAlarm } from '../alarms.ts';
import type { Backend } from '../backend.ts';
import { day, hour, isoTime } from '../custody-parts.ts';
import type { Scope } from '../permissions.ts';
import {
  alarmsOfMacs,
  blindSpots,
  daysSince,
  heardFleetAlarms,
  liveFigures,
  needCounts,
  needsOf,
  unusedTickets,
  waitingRequests,
} from '../store/fleet-figures.ts';
import { dayOf } from '../store/fleet-projection.ts';
import { learningUntil } from './alarm-care.ts';
import { type DayFigures, provedWithin } from './days.ts';
import { type NeedKind, needKinds, needRank, needs } from './needs.ts';

const at = z.iso.datetime();
const firstItem = z.strictObject({
  kind: z.enum([...needKinds, 'backend', 'request', 'ticket']),
  what: z.string().describe('what it is, in words'),
  why: z.string().describe('what was found'),
  next: z.string().describe('what to do'),
  since: at,
  device: z.strictObject({ id: z.string(), serial: z.string(), name: z.string(), user: z.string().nullable() }).nullable(),
  alarm: z.strictObject({ id: z.string(), code: z.string() }).nullable().describe('the alarm that says so, where it is one'),
  act: z
    .strictObject({ operation: z.string(), says: z.string().describe('as it stands on a button'), input: z.record(z.string(), z.unknown()) })
    .nullable()
    .describe('what can be done at once; null: look at the page of the Mac'),
});
export type FirstItem = z.infer<typeof firstItem>;

/** The first page of the console. */
export const firstPage = z.strictObject({
  at,
  macs: z.int().describe('that somebody works with: all but retired ones'),
  unrecoverable: z.int().describe('Macs that no key here opens: lost, none, foreign'),
  exposed: z.int().describe('Macs of which a key was shown and is still valid'),
  stuck: z.int().describe('Macs that need a person, each counted once for each reason'),
  custody: z.record(z.string(), z.int()),
  held: z.strictObject({ count: z.int(), of: z.int() }),
  proved: z.strictObject({ count: z.int(), of: z.int(), withinDays: z.int() }),
  exposure: z.strictObject({
    macs: z.int(),
    hours: z.number().describe('for how long the keys that are out now are out, together'),
    last30Days: z.number().nullable().describe('hours in the last 30 days, without today; null: nothing is known yet, or only a part of the fleet is seen'),
    blindSpots: z.array(z.strictObject({ says: z.string(), macs: z.int().nullable() })).describe('what this figure does not see'),
  }),
  needs: z.array(z.strictObject({ kind: z.enum(needKinds), says: z.string(), next: z.string(), count: z.int(), oldest: at })).describe('the worst first'),
  items: z.array(firstItem).describe('what needs a person today, oldest first'),
  more: z.int().describe('how many Macs more need one'),
  learningUntil: at.nullable().describe('until then alarms are sent to nobody'),
});
export type FirstPage = z.infer<typeof firstPage>;

const acts: Readonly<Partial<Record<NeedKind, { operation: string; says: string }>>> = {
  disclosed: { operation: 'rotations.order', says: 'Replace its key' },
  doubtful: { operation: 'proofs.order', says: 'Ask the Mac which key is valid' },
  refused: { operation: 'proofs.order', says: 'Ask the Mac which key is valid' },
};

export async function firstOf(backend: Backend, scope: Scope, now: number, limit: number): Promise<FirstPage> {
  const { db } = backend.store;
  const live = await liveFigures(db, scope, now, now - provedWithin);
  const counts = await needCounts(db, scope);
  const found = await needsOf(db, scope, limit);
  const alarms = await alarmsOfMacs(db, [...new Set(found.map((need) => need.mac_id))]);
  const waiting = await waitingRequests(db, scope, now);
  const macs = Object.values(live.custody).reduce((sum, n) => sum + n, 0);
  const all = counts.reduce((sum, { n }) => sum + n, 0);
  const learning = await learningUntil(db);
  const ofMacs = found.map((need): FirstItem => {
    const kind = need.kind as NeedKind;
    const code = /^([A-Z_]+): /.exec(need.detail)?.[1] ?? null;
    const alarm = alarms.find((one) => one.mac_id === need.mac_id && one.code === code);
    const act = acts[kind];
    return {
      kind,
      what: alarm ? sayAlarm(alarm.code) : needs[kind].says,
      why: need.detail,
      next: alarm ? fixOf(alarm.code) : needs[kind].next,
      since: isoTime(need.since),
      device: deviceIn(need),
      alarm: alarm ? { id: alarm.id, code: alarm.code } : null,
      act: alarm ? { operation: 'alarms.judge', says: 'Say what it was', input: { id: alarm.id } } : act ? { ...act, input: { id: need.serial } } : null,
    };
  });
  const ofPeople = waiting.map(
    (one): FirstItem => ({
      kind: 'request',
      what: 'somebody waits to be shown a key',
      why: `${one.code}: ${one.reason}`,
      next: 'agree, or say why not',
      since: isoTime(one.created_at),
      device: deviceIn(one),
      alarm: null,
      act: null,
    }),
  );
  return {
    at: isoTime(now),
    macs,
    unrecoverable: (live.custody['lost'] ?? 0) + (live.custody['none'] ?? 0) + (live.custody['foreign'] ?? 0),
    exposed: live.out,
    stuck: all,
    custody: live.custody,
    held: { count: live.custody['held'] ?? 0, of: macs },
    proved: { count: live.proved, of: macs, withinDays: provedWithin / day },
    exposure: {
      macs: live.out,
      hours: rounded(live.outFor / hour),
      last30Days: scope === null ? await monthOf(backend, now) : null,
      blindSpots: await unseen(backend, scope),
    },
    needs: counts
      .toSorted((one, other) => needRank(one.kind) - needRank(other.kind))
      .map(({ kind, n, since }) => ({ kind: kind as NeedKind, ...needs[kind as NeedKind], count: n, oldest: isoTime(since) })),
    items: [...ofMacs, ...ofPeople, ...(scope === null ? await ofBackend(backend, now) : [])].toSorted((one, other) => (one.since < other.since ? -1 : 1)),
    more: all - found.length,
    learningUntil: learning !== null && learning > now ? isoTime(learning) : null,
  };
}

const rounded = (hours: number): number => Math.round(hours * 10) / 10;
const deviceIn = (row: { mac_id: string; serial: string; name: string; user_name: string }): FirstItem['device'] => ({
  id: row.mac_id,
  serial: row.serial,
  name: row.name,
  user: row.user_name === '' ? null : row.user_name,
});

/** What is about this backend, or about Macs that are not here yet. */
async function ofBackend({ store }: Backend, now: number): Promise<FirstItem[]> {
  const alarms = (await heardFleetAlarms(store.db, now)).map(
    (alarm): FirstItem => ({
      kind: 'backend',
      what: sayAlarm(alarm.code),
      why: alarm.detail,
      next: fixOf(alarm.code),
      since: isoTime(alarm.opened_at),
      device: null,
      alarm: { id: alarm.id, code: alarm.code },
      act: { operation: 'alarms.judge', says: 'Say what it was', input: { id: alarm.id } },
    }),
  );
  // A week is what it takes to have somebody switch a Mac on.
  const tickets = (await unusedTickets(store.db, now, now + 7 * day)).map(
    (ticket): FirstItem => ({
      kind: 'ticket',
      what: 'an enrolment ticket ends, and not all of its Macs have used it',
      why: `ticket ${ticket.id} ends on ${isoTime(ticket.expires_at)}; ${ticket.n} of its Macs have not enrolled`,
      next: 'have these Macs switched on, or make another ticket',
      since: isoTime(ticket.created_at),
      device: null,
      alarm: null,
      act: null,
    }),
  );
  return [...alarms, ...tickets];
}

async function monthOf({ store }: Backend, now: number): Promise<number | null> {
  const days = (await daysSince(store.db, dayOf(now - 30 * day))).filter((row) => row.day < dayOf(now));
  return days.length === 0 ? null : rounded(days.reduce((sum, row) => sum + (JSON.parse(row.figures) as DayFigures).exposureHours, 0));
}

async function unseen({ store }: Backend, scope: Scope): Promise<FirstPage['exposure']['blindSpots']> {
  const { mdmRotates, broughtShown, copies } = await blindSpots(store.db, scope);
  return [
    ...(mdmRotates > 0
      ? [{ says: 'Macs under the payload of the MDM (M2, M3): whoever may read there sees their keys, and nobody here knows of it', macs: mdmRotates }]
      : []),
    ...(broughtShown > 0 ? [{ says: 'keys that others brought were shown, and nobody here can have them replaced', macs: broughtShown }] : []),
    ...(copies > 0 ? [{ says: 'Macs with macOS 26 or newer, where a user may keep a copy of the key in Passwords', macs: copies }] : []),
    { says: 'keys that were written down, photographed, or read in another product before', macs: null },
  ];
}
