import { type Kysely, sql } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Scope } from '../permissions.ts';
import type { Tables } from '../tables.ts';
import { custodyRanks } from './fleet-conditions.ts';
import { dayOf } from './fleet-projection.ts';
import { scopeFilter } from './fleet-scope.ts';

type Db = Kysely<Tables>;
const day = 24 * 60 * 60 * 1000;
const minute = 60_000;

/** Figures of Macs that somebody works with. */
export interface LiveFigures {
  custody: Record<string, number>;
  /** Macs whose held key was proved since a time. */
  proved: number;
  /** Macs of which a key is out, and the milliseconds for which those keys are, together. */
  out: number;
  outFor: number;
}

/** For the whole fleet from what is counted, so that it costs the same for any number of Macs; within a scope by looking at its Macs. */
export async function liveFigures(db: Db, scope: Scope, now: number, provedSince: number): Promise<LiveFigures> {
  return scope === null ? fleetFigures(db, now, provedSince) : scopedFigures(db, scope, now, provedSince);
}

async function fleetFigures(db: Db, now: number, provedSince: number): Promise<LiveFigures> {
  const rows = await db.selectFrom('fleet_count').selectAll().where('dimension', 'in', ['live', 'out', 'proved_day']).execute();
  const of = (dimension: string) => rows.filter((row) => row.dimension === dimension);
  const first = dayOf(provedSince);
  // Of the first day only a part counts: that one is looked at.
  const { n } = await db
    .selectFrom('fleet_row')
    .select((e) => e.fn.countAll<number>().as('n'))
    .where('proved_at', '>=', provedSince)
    .where('proved_at', '<', Date.parse(first) + day)
    // Not by their own index: nearly all are so.
    .where(sql<number>`custody_rank + 0`, '=', custodyRanks.held)
    .where('state', '<>', 'retired')
    .executeTakeFirstOrThrow();
  const out = of('out').find(({ value }) => value === 'macs')?.n ?? 0;
  const since = of('out').find(({ value }) => value === 'since')?.n ?? 0;
  return {
    custody: Object.fromEntries(of('live').map((row) => [row.value, row.n])),
    proved: n + of('proved_day').reduce((sum, row) => sum + (row.value > first ? row.n : 0), 0),
    out,
    outFor: Math.max(0, out * now - since * minute),
  };
}

async function scopedFigures(db: Db, scope: Scope, now: number, provedSince: number): Promise<LiveFigures> {
  const rows = await db
    .selectFrom('fleet_row')
    .select((e) => [
      'custody',
      e.fn.countAll<number>().as('n'),
      e.fn
        .sum<number>(
          e
            .case()
            .when(e.and([e('custody_rank', '=', custodyRanks.held), e('proved_at', '>=', provedSince)]))
            .then(1)
            .else(0)
            .end(),
        )
        .as('proved'),
      e.fn.sum<number>(e.case().when('disclosed_at', '>', 0).then(1).else(0).end()).as('out'),
      e.fn.sum<number>('disclosed_at').as('since'),
    ])
    .where(scopeFilter(scope, 'fleet_row.mac_id'))
    .where('state', '<>', 'retired')
    .groupBy('custody')
    .execute();
  const sum = (of: 'proved' | 'out' | 'since') => rows.reduce((all, row) => all + Number(row[of]), 0);
  return {
    custody: Object.fromEntries(rows.map((row) => [row.custody, row.n])),
    proved: sum('proved'),
    out: sum('out'),
    outFor: Math.max(0, sum('out') * now - sum('since')),
  };
}

/** What needs a person, longest first. */
export const needsOf = (db: Db, scope: Scope, limit: number) =>
  db
    .selectFrom('fleet_need')
    .innerJoin('fleet_row', 'fleet_row.mac_id', 'fleet_need.mac_id')
    .select(['fleet_need.kind', 'fleet_need.since', 'fleet_need.detail', 'fleet_row.mac_id', 'fleet_row.serial', 'fleet_row.name', 'fleet_row.user_name'])
    .where(scopeFilter(scope, 'fleet_need.mac_id'))
    .orderBy('fleet_need.since')
    .orderBy('fleet_need.mac_id')
    .limit(limit)
    .execute();

/** How many Macs need each, and since when the first of them does. */
export async function needCounts(db: Db, scope: Scope): Promise<{ kind: string; n: number; since: number }[]> {
  if (scope === null) {
    const rows = await db.selectFrom('fleet_count').select(['value', 'n']).where('dimension', '=', 'need').where('n', '>', 0).execute();
    const found: { kind: string; n: number; since: number }[] = [];
    for (const { value, n } of rows) {
      const first = await db.selectFrom('fleet_need').select('since').where('kind', '=', value).orderBy('since').limit(1).executeTakeFirst();
      if (first) found.push({ kind: value, n, since: first.since });
    }
    return found;
  }
  return await db
    .selectFrom('fleet_need')
    .select((e) => ['kind', e.fn.countAll<number>().as('n'), e.fn.min<number>('since').as('since')])
    .where(scopeFilter(scope, 'fleet_need.mac_id'))
    .groupBy('kind')
    .execute();
}

/** The open alarms of these Macs, oldest first. */
export const alarmsOfMacs = (db: Db, macIds: readonly string[]) =>
  macIds.length === 0
    ? Promise.resolve([])
    : db.selectFrom('alarm').select(['id', 'mac_id', 'code']).where('judged_at', 'is', null).where('mac_id', 'in', macIds).orderBy('opened_at').execute();

/** Of the fleet as a whole, but for those of which nobody wants to hear now. */
export const heardFleetAlarms = (db: Db, now: number) =>
  db
    .selectFrom('alarm')
    .leftJoin('alarm_care', 'alarm_care.alarm_id', 'alarm.id')
    .selectAll('alarm')
    .where('alarm.judged_at', 'is', null)
    .where('alarm.mac_id', 'is', null)
    .where((e) => e.or([e('alarm_care.muted_until', 'is', null), e('alarm_care.muted_until', '<=', now)]))
    .orderBy('alarm.opened_at')
    .limit(50)
    .execute();

/** People who wait to be shown a key. */
export const waitingRequests = (db: Db, scope: Scope, now: number) =>
  db
    .selectFrom('key_request')
    .innerJoin('fleet_row', 'fleet_row.mac_id', 'key_request.mac_id')
    .select([
      'key_request.code',
      'key_request.created_at',
      'key_request.reason',
      'fleet_row.mac_id',
      'fleet_row.serial',
      'fleet_row.name',
      'fleet_row.user_name',
    ])
    // In the words of its index, too.
    .where(sql<boolean>`key_request.state in ('waiting', 'approved')`)
    .where('key_request.state', '=', 'waiting')
    .where('key_request.expires_at', '>', now)
    .where(scopeFilter(scope, 'key_request.mac_id'))
    .orderBy('key_request.created_at')
    .limit(50)
    .execute();

/** Tickets that end before `endsBefore`, and of whose serial numbers some have not enrolled. */
export const unusedTickets = (db: Db, now: number, endsBefore: number) =>
  db
    .selectFrom('ticket')
    .innerJoin('ticket_serial', 'ticket_serial.ticket_id', 'ticket.id')
    .select((e) => ['ticket.id', 'ticket.created_at', 'ticket.expires_at', e.fn.countAll<number>().as('n')])
    .where('ticket.ended_at', 'is', null)
    .where('ticket.expires_at', '>', now)
    .where('ticket.expires_at', '<', endsBefore)
    .where('ticket_serial.used_at', 'is', null)
    .groupBy(['ticket.id', 'ticket.created_at', 'ticket.expires_at'])
    .orderBy('ticket.expires_at')
    .limit(20)
    .execute();

export interface Exposure {
  from: number;
  /** Null: it is still out. */
  until: number | null;
}

/** Keys that were out between two times: each from when it was first shown until it was replaced. */
export async function exposures(db: Db, scope: Scope, from: number, until: number): Promise<Exposure[]> {
  const disclosed = sql<boolean>`because = 'disclosed'`;
  const open = await db
    .selectFrom('debt')
    .select(['mac_id', 'record_id', 'opened_at', 'closed_at'])
    .where(disclosed)
    .where('closed_at', 'is', null)
    .where('opened_at', '<', until)
    .where(scopeFilter(scope, 'debt.mac_id'))
    .execute();
  const closed = await db
    .selectFrom('debt')
    .select(['mac_id', 'record_id', 'opened_at', 'closed_at'])
    .where(disclosed)
    .where('closed_at', 'is not', null)
    .where('closed_at', '>', from)
    .where('opened_at', '<', until)
    .where(scopeFilter(scope, 'debt.mac_id'))
    .execute();
  const found = new Map<string, Exposure>();
  for (const debt of [...open, ...closed]) {
    const name = `${debt.mac_id} ${debt.record_id ?? ''}`;
    const known = found.get(name);
    const ends = known && known.until === null ? null : debt.closed_at === null ? null : Math.max(debt.closed_at, known?.until ?? 0);
    found.set(name, { from: Math.min(debt.opened_at, known?.from ?? debt.opened_at), until: ends });
  }
  return [...found.values()];
}

/** How long orders that were carried out between two times took, milliseconds. */
export async function orderLags(db: Db, scope: Scope, from: number, until: number): Promise<{ at: number; took: number }[]> {
  const rows = await db
    .selectFrom('rotation_order')
    .select(['created_at', 'ended_at'])
    .where(sql<boolean>`state = 'done'`)
    .where('ended_at', '>=', from)
    .where('ended_at', '<', until)
    .where(scopeFilter(scope, 'rotation_order.mac_id'))
    .execute();
  return rows.map((row) => ({ at: row.ended_at ?? 0, took: (row.ended_at ?? 0) - row.created_at }));
}

export const countDisclosures = async (db: Db, scope: Scope, from: number, until: number): Promise<number> =>
  (
    await db
      .selectFrom('disclosure')
      .select((e) => e.fn.countAll<number>().as('n'))
      .where('at', '>=', from)
      .where('at', '<', until)
      .where('shown', '=', 1)
      .where(scopeFilter(scope, 'disclosure.mac_id'))
      .executeTakeFirstOrThrow()
  ).n;

/** How many held keys came between two times. */
export const countKeys = async (db: Db, scope: Scope, from: number, until: number): Promise<number> =>
  (
    await db
      .selectFrom('fleet_row')
      .select((e) => e.fn.countAll<number>().as('n'))
      .where('key_at', '>=', from)
      .where('key_at', '<', until)
      .where(scopeFilter(scope, 'fleet_row.mac_id'))
      .executeTakeFirstOrThrow()
  ).n;

export const daysSince = (db: Db, first: string): Promise<Tables['fleet_day'][]> =>
  db.selectFrom('fleet_day').selectAll().where('day', '>=', first).orderBy('day').execute();

export const dayNamed = (db: Db, name: string): Promise<Tables['fleet_day'] | undefined> =>
  db.selectFrom('fleet_day').selectAll().where('day', '=', name).executeTakeFirst();

export async function keepDay(tx: Tx, row: Tables['fleet_day']): Promise<void> {
  const { day: _, ...values } = row;
  await tx
    .insertInto('fleet_day')
    .values(row)
    .onConflict((c) => c.column('day').doUpdateSet(values))
    .execute();
}

/** Macs on which we do not see all of it: how they live, and how many. */
export async function blindSpots(db: Db, scope: Scope): Promise<{ mdmRotates: number; broughtShown: number; copies: number }> {
  const mdmRotates = await sumCounts(db, scope, 'mode', (value) => value === 'M2' || value === 'M3');
  const copies = await sumCounts(db, scope, 'macos_key', (value) => value >= '026');
  const brought = await db
    .selectFrom('brought_key')
    .select((e) => e.fn.countAll<number>().as('n'))
    .where('state', 'in', ['waiting', 'aside', 'offered'])
    .where('disclosed_at', 'is not', null)
    .$if(scope !== null, (query) => query.where(scopeFilter(scope, 'brought_key.mac_id')))
    .executeTakeFirstOrThrow();
  return { mdmRotates, broughtShown: brought.n, copies };
}

async function sumCounts(db: Db, scope: Scope, column: 'mode' | 'macos_key', wanted: (value: string) => boolean): Promise<number> {
  const rows =
    scope === null
      ? await db.selectFrom('fleet_count').select(['value', 'n']).where('dimension', '=', column).execute()
      : await db
          .selectFrom('fleet_row')
          .select((e) => [`${column} as value` as const, e.fn.countAll<number>().as('n')])
          .where(scopeFilter(scope, 'fleet_row.mac_id'))
          .groupBy(column)
          .execute();
  return rows.reduce((sum, { value, n }) => sum + (wanted(value) ? n : 0), 0);
}
