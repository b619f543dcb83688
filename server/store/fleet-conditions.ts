import { type Expression, type ExpressionBuilder, type Kysely, type SqlBool, sql } from 'kysely';
import type { Scope } from '../permissions.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
type Row = Tables['fleet_row'];
export type Ask = ExpressionBuilder<Tables, 'fleet_row'>;

/** What has to hold of a Mac; times are server milliseconds. */
export interface FleetCriteria {
  now: number;
  /** In lower case: the Mac has a word that begins with each. */
  words?: readonly string[];
  custody?: readonly string[];
  unopened?: boolean;
  mode?: readonly string[];
  fileVault?: readonly string[];
  macos?: string;
  macosBefore?: string;
  model?: string;
  chip?: string;
  user?: string;
  tag?: readonly string[];
  state?: readonly string[];
  ownership?: string;
  problem?: readonly string[];
  order?: readonly string[];
  hold?: boolean;
  disclosed?: boolean;
  seenBefore?: number;
  seenAfter?: number;
  provedBefore?: number;
  provedAfter?: number;
  keyBefore?: number;
  enrolledAfter?: number;
}

export const custodyRanks = { lost: 1, doubtful: 2, foreign: 3, none: 4, held: 5 } as const;

/** As versions are compared: 26.2 as 026.002. */
export const versionKey = (version: string): string =>
  (/^\d{1,3}(\.\d{1,3}){0,2}/.exec(version)?.[0] ?? '')
    .split('.')
    .filter((part) => part !== '')
    .map((part) => part.padStart(3, '0'))
    .join('.');

/** Greater than whatever begins with the word. */
const afterPrefix = (word: string): string => `${word}\u{10ffff}`;

/**
 * A condition in two forms: as an index can answer it, and as none can. Where a condition leaves few Macs, its index is asked
 * and what it finds is sorted; else the index of the order is walked, and the conditions are looked at on the way. Left to
 * guess, a database that keeps no statistics would sort a hundred thousand rows to show fifty.
 */
export interface Condition {
  byIndex: (e: Ask) => Expression<SqlBool>;
  onTheWay: (e: Ask) => Expression<SqlBool>;
  /** Rows of which table say how many it leaves; null: no index knows. */
  probe: ((db: Db, most: number) => Promise<number>) | null;
  /** Where counts are kept for it alone. */
  counted?: { dimension: string; values: readonly string[]; prefix?: true };
}

export type Column = keyof Row & string;
export const text = (column: Column) => sql<string>`(${sql.ref(`fleet_row.${column}`)} || '')`;
export const number = (column: Column) => sql<number>`(${sql.ref(`fleet_row.${column}`)} + 0)`;

const probeRows =
  (where: (e: Ask) => Expression<SqlBool>) =>
  async (db: Db, most: number): Promise<number> =>
    (
      await db
        .selectFrom(db.selectFrom('fleet_row').select('mac_id').where(where).limit(most).as('some'))
        .select((e) => e.fn.countAll<number>().as('n'))
        .executeTakeFirstOrThrow()
    ).n;

function oneOf(column: Column, values: readonly (string | number)[], counted?: Condition['counted']): Condition {
  const isNumber = typeof values[0] === 'number';
  const byIndex = (e: Ask) => e(`fleet_row.${column}` as 'fleet_row.mac_id', 'in', values as string[]);
  return {
    byIndex,
    onTheWay: (e) => (isNumber ? e(number(column), 'in', values as number[]) : e(text(column), 'in', values as string[])),
    probe: probeRows(byIndex),
    ...(counted ? { counted } : {}),
  };
}

/** `from` and `before`: numbers or texts; the first is in, the last is not. */
function between(column: Column, from: string | number | null, before: string | number | null, counted?: Condition['counted']): Condition {
  const on = (plain: boolean) => (e: Ask) => {
    const isNumber = typeof (from ?? before) === 'number';
    const of = plain ? sql.ref<string>(`fleet_row.${column}`) : isNumber ? (number(column) as unknown as Expression<string>) : text(column);
    return e.and([...(from === null ? [] : [e(of, '>=', from as string)]), ...(before === null ? [] : [e(of, '<', before as string)])]);
  };
  return { byIndex: on(true), onTheWay: on(false), probe: probeRows(on(true)), ...(counted ? { counted } : {}) };
}

/** Rows of another table that belong to the Mac. */
function has(
  table: 'mac_tag' | 'fleet_word' | 'fleet_need',
  where: (e: ExpressionBuilder<Tables, 'mac_tag' | 'fleet_word' | 'fleet_need'>) => Expression<SqlBool>,
  counted?: Condition['counted'],
): Condition {
  const rows = (db: Db) =>
    db
      .selectFrom(table)
      .select(`${table}.mac_id`)
      .where(where as never);
  return {
    byIndex: (e) =>
      e('fleet_row.mac_id', 'in', (e.selectFrom(table) as unknown as ReturnType<typeof rows>).select(`${table}.mac_id`).where(where as never) as never),
    onTheWay: (e) =>
      e.exists(
        (e.selectFrom(table) as unknown as ReturnType<typeof rows>)
          .select(sql<number>`1`.as('one'))
          .whereRef(`${table}.mac_id`, '=', 'fleet_row.mac_id' as never)
          .where(where as never) as never,
      ),
    probe: async (db, most) =>
      (
        await db
          .selectFrom(rows(db).limit(most).as('some'))
          .select((e) => e.fn.countAll<number>().as('n'))
          .executeTakeFirstOrThrow()
      ).n,
    ...(counted ? { counted } : {}),
  };
}

export function conditionsOf(is: FleetCriteria, scope: Scope): Condition[] {
  const found: Condition[] = [];
  const add = <Value>(value: Value | undefined, make: (value: Value) => Condition) => value !== undefined && found.push(make(value));
  const counted = (dimension: string, values: readonly string[]) => ({ dimension, values });
  const yes = (value: boolean) => (value ? 1 : 0);
  if (scope !== null) {
    const tags = scope.length === 0 ? [''] : scope;
    found.push(has('mac_tag', (e) => e('mac_tag.tag', 'in', tags), tags.length === 1 ? counted('tag', tags) : undefined));
  }
  for (const word of is.words ?? [])
    found.push(has('fleet_word', (e) => e.and([e('fleet_word.word', '>=', word), e('fleet_word.word', '<', afterPrefix(word))])));
  add(is.custody, (values) =>
    oneOf(
      'custody_rank',
      values.map((value) => custodyRanks[value as keyof typeof custodyRanks]),
      counted('custody', values),
    ),
  );
  add(is.unopened, (value) => ({ ...oneOf('unopened', [yes(value)]), probe: null }));
  add(is.mode, (values) => oneOf('mode', values, counted('mode', values)));
  add(is.fileVault, (values) => oneOf('file_vault', values, counted('file_vault', values)));
  add(is.macos, (version) => {
    const key = versionKey(version);
    return between('macos_key', key, `${key}/`, { dimension: 'macos_key', values: [key], prefix: true });
  });
  add(is.macosBefore, (version) => between('macos_key', '0', versionKey(version)));
  add(is.model, (value) => oneOf('model', [value], counted('model', [value])));
  add(is.chip, (value) => ({ ...oneOf('chip', [value]), probe: null }));
  add(is.user, (value) => oneOf('user_name', [value.trim().toLowerCase().normalize('NFC')]));
  add(is.tag, (values) => has('mac_tag', (e) => e('mac_tag.tag', 'in', values), values.length === 1 ? counted('tag', values) : undefined));
  add(is.state, (values) => oneOf('state', values, counted('state', values)));
  add(is.ownership, (value) => ({ ...oneOf('ownership', [value]), probe: null }));
  add(is.problem, (values) => has('fleet_need', (e) => e('fleet_need.kind', 'in', values), values.length === 1 ? counted('need', values) : undefined));
  add(is.order, (values) => {
    const states = values.map((value) => (value === 'none' ? '' : value));
    return { ...oneOf('order_state', states, counted('order_state', states)), probe: null };
  });
  add(is.hold, (value) => (value ? between('hold_until', is.now + 1, null) : between('hold_until', 0, is.now + 1)));
  add(is.disclosed, (value) => (value ? between('disclosed_at', 1, null) : between('disclosed_at', 0, 1)));
  add(is.seenBefore, (time) => between('last_seen_at', 0, time));
  add(is.seenAfter, (time) => between('last_seen_at', time, null));
  add(is.provedBefore, (time) => between('proved_at', 0, time));
  add(is.provedAfter, (time) => between('proved_at', time, null));
  add(is.keyBefore, (time) => between('key_at', 1, time));
  add(is.enrolledAfter, (time) => between('created_at', time, null));
  return found;
}
