import { type Expression, type Kysely, type SqlBool, sql } from 'kysely';
import type { Scope } from '../permissions.ts';
import type { Tables } from '../tables.ts';
import { type Ask, type Column, type Condition, conditionsOf, type FleetCriteria, number, text } from './fleet-conditions.ts';
import { scopeFilter } from './fleet-scope.ts';

type Db = Kysely<Tables>;
type Row = Tables['fleet_row'];

/** Fewer than these are found first and sorted after. */
const few = 2000;
/** Rows in the order of the page that are looked at one by one before it is doubted that way. */
const walked = 4000;
/** More than these are not found by an index, only to be looked at: to walk all Macs costs no more. */
const many = 65_536;

interface Plan {
  where: (e: Ask) => Expression<SqlBool>;
  /** The order of the page is none of an index. */
  sorts: boolean;
}

/** The condition that leaves the fewest is asked of its index, where it leaves fewer than so many. */
async function planOf(db: Db, conditions: readonly Condition[], most: number): Promise<Plan> {
  let best: Condition | null = null;
  let least = most;
  for (const condition of conditions) {
    if (!condition.probe) continue;
    const n = await condition.probe(db, least);
    if (n < least) {
      best = condition;
      least = n;
    }
    if (least === 0) break;
  }
  return {
    where: (e) => e.and(conditions.map((condition) => (condition === best ? condition.byIndex(e) : condition.onTheWay(e)))),
    sorts: best !== null,
  };
}

/** Columns that lists are sorted by. Those of `numbers` hold numbers. */
export const sortColumns = {
  serial: 'serial',
  name: 'name_key',
  user: 'user_name',
  macos: 'macos_key',
  model: 'model',
  mode: 'mode',
  fileVault: 'file_vault',
  custody: 'custody_rank',
  keySince: 'key_at',
  proved: 'proved_at',
  seen: 'last_seen_at',
  order: 'order_at',
  disclosed: 'disclosed_at',
  hold: 'hold_until',
  problem: 'problem_rank',
  state: 'state',
  enrolled: 'created_at',
} as const satisfies Record<string, Column>;
export type SortBy = keyof typeof sortColumns;
const numbers: readonly Column[] = [
  'custody_rank',
  'key_at',
  'proved_at',
  'last_seen_at',
  'order_at',
  'disclosed_at',
  'hold_until',
  'problem_rank',
  'created_at',
];
export const isNumberColumn = (by: SortBy): boolean => numbers.includes(sortColumns[by]);

/** The row after which a page begins. */
export interface After {
  value: string | number;
  macId: string;
}

export interface PageWish {
  sort: SortBy;
  descending: boolean;
  after: After | null;
  limit: number;
}

/** One page, in the order of one column and of the id where that is equal, so that each Mac comes once whatever changes meanwhile. */
export async function rowsWhere(db: Db, is: FleetCriteria, scope: Scope, wish: PageWish): Promise<Row[]> {
  const conditions = conditionsOf(is, scope);
  const plan = await planOf(db, conditions, few);
  if (plan.sorts || !conditions.some(({ probe }) => probe)) return await pageOf(db, plan, wish);
  // Each of them leaves many, and who walks along the order soon has a page. Unless hardly any Mac has all of them together, as
  // a first name and a last name that many have: to walk on would be to look at the whole fleet.
  const until = await rowAhead(db, wish, walked);
  const found = await pageOf(db, plan, wish, until);
  if (found.length >= wish.limit || until === null) return found;
  return await pageOf(db, await planOf(db, conditions, many), wish);
}

/** Where the walk along the order comes to after so many rows; null: to the end. */
async function rowAhead(db: Db, { sort, descending, after }: PageWish, rows: number): Promise<After | null> {
  const column = sortColumns[sort];
  const direction = descending ? 'desc' : 'asc';
  const by = sql.ref<string | number>(`fleet_row.${column}`);
  const row = await db
    .selectFrom('fleet_row')
    .select([by.as('value'), 'fleet_row.mac_id as macId'])
    .$if(after !== null, (query) => query.where(compared(by, descending ? '<' : '>', after)))
    .orderBy(`fleet_row.${column}`, direction)
    .orderBy('fleet_row.mac_id', direction)
    .offset(rows - 1)
    .limit(1)
    .executeTakeFirst();
  return row ?? null;
}

type Compared = '<' | '<=' | '>' | '>=';
/** As a comparison of pairs, which both databases answer by an index. */
const compared = (by: Expression<unknown>, how: Compared, row: After | null): Expression<SqlBool> =>
  sql<SqlBool>`(${by}, ${sql.ref('fleet_row.mac_id')}) ${sql.raw(how)} (${row?.value}, ${row?.macId})`;

async function pageOf(db: Db, plan: Plan, { sort, descending, after, limit }: PageWish, until: After | null = null): Promise<Row[]> {
  const column = sortColumns[sort];
  const hidden = isNumberColumn(sort) ? number(column) : text(column);
  const by = plan.sorts ? hidden : sql.ref(`fleet_row.${column}`);
  const direction = descending ? 'desc' : 'asc';
  return await db
    .selectFrom('fleet_row')
    .selectAll('fleet_row')
    .where(plan.where)
    .$if(after !== null, (query) => query.where(compared(by, descending ? '<' : '>', after)))
    .$if(until !== null, (query) => query.where(compared(by, descending ? '>=' : '<=', until)))
    .orderBy(by, direction)
    .orderBy('fleet_row.mac_id', direction)
    .limit(limit)
    .execute();
}

/** The same as a condition, for questions of others about these Macs. */
export const fleetWhere = async (db: Db, is: FleetCriteria, scope: Scope): Promise<Plan['where']> => (await planOf(db, conditionsOf(is, scope), few)).where;

/** All of them at one moment, in the order of one column. */
export async function allIdsWhere(db: Db, is: FleetCriteria, scope: Scope, { sort, descending }: Pick<PageWish, 'sort' | 'descending'>): Promise<string[]> {
  const plan = await planOf(db, conditionsOf(is, scope), many);
  const column = sortColumns[sort];
  const by = plan.sorts ? (isNumberColumn(sort) ? number(column) : text(column)) : sql.ref(`fleet_row.${column}`);
  const direction = descending ? 'desc' : 'asc';
  const rows = await db
    .selectFrom('fleet_row')
    .select('fleet_row.mac_id')
    .where(plan.where)
    .orderBy(by, direction)
    .orderBy('fleet_row.mac_id', direction)
    .execute();
  return rows.map((row) => row.mac_id);
}

/** Rows of those that are (still) within a scope, in the order of their ids. */
export async function rowsOfIds(db: Db, macIds: readonly string[], scope: Scope): Promise<Row[]> {
  const rows = await db.selectFrom('fleet_row').selectAll().where('mac_id', 'in', macIds).where(scopeFilter(scope, 'fleet_row.mac_id')).execute();
  const byId = new Map(rows.map((row) => [row.mac_id, row]));
  return macIds.flatMap((macId) => byId.get(macId) ?? []);
}

export async function idsWhere(db: Db, is: FleetCriteria, scope: Scope, after: string | null, limit: number): Promise<string[]> {
  const { where } = await planOf(db, conditionsOf(is, scope), few);
  const query = db.selectFrom('fleet_row').select('fleet_row.mac_id').where(where).orderBy('fleet_row.mac_id').limit(limit);
  return (await (after === null ? query : query.where('fleet_row.mac_id', '>', after)).execute()).map((row) => row.mac_id);
}

export async function countWhere(db: Db, is: FleetCriteria, scope: Scope): Promise<number> {
  const conditions = conditionsOf(is, scope);
  const [only, ...more] = conditions;
  if (!only) return countedAs(db, { dimension: 'all', values: [''] });
  if (more.length === 0 && only.counted) return countedAs(db, only.counted);
  // Counted in no order: what the index has is all there is to look at.
  const { where } = await planOf(db, conditions, many);
  const row = await db
    .selectFrom('fleet_row')
    .select((e) => e.fn.countAll<number>().as('n'))
    .where(where)
    .executeTakeFirstOrThrow();
  return row.n;
}

async function countedAs(db: Db, { dimension, values, prefix }: NonNullable<Condition['counted']>): Promise<number> {
  const rows = await db.selectFrom('fleet_count').select(['value', 'n']).where('dimension', '=', dimension).execute();
  const counts = (value: string) => (prefix ? values.some((one) => value === one || value.startsWith(`${one}.`)) : values.includes(value));
  return rows.reduce((sum, { value, n }) => sum + (counts(value) ? n : 0), 0);
}
