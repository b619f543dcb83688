import { type Kysely, sql } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';
import { grouped } from './fleet-around.ts';
import { custodyRanks } from './fleet-conditions.ts';
import { forgetMarks, markDirty } from './fleet-dirty.ts';

type Db = Kysely<Tables>;
export type FleetRow = Tables['fleet_row'];
export type FleetNeed = Tables['fleet_need'];

/** All that lists say of one Mac. */
export interface Shown {
  row: FleetRow;
  words: readonly string[];
  needs: readonly FleetNeed[];
  /** Sorted. */
  tags: readonly string[];
}

/** What lists say now of these Macs. */
export async function shownOf(db: Db, macIds: readonly string[]) {
  const rows = await db.selectFrom('fleet_row').selectAll().where('mac_id', 'in', macIds).execute();
  const words = grouped(await db.selectFrom('fleet_word').selectAll().where('mac_id', 'in', macIds).execute());
  const needs = grouped(await db.selectFrom('fleet_need').selectAll().where('mac_id', 'in', macIds).execute());
  const byId = new Map(rows.map((row) => [row.mac_id, row]));
  return (macId: string) => ({
    row: byId.get(macId),
    words: (words.get(macId) ?? []).map(({ word }) => word),
    needs: needs.get(macId) ?? [],
  });
}
type Before = Awaited<ReturnType<typeof shownOf>>;

const minute = 60_000;
export const dayOf = (time: number): string => new Date(time).toISOString().slice(0, 10);

/** What is counted of a row: a dimension, a value, and how much. Needs and tags are counted one by one. */
const counted = (row: FleetRow, needs: readonly string[]): (readonly [string, string, number?])[] => [
  ['all', ''],
  ['custody', row.custody],
  ['unopened', String(row.unopened)],
  ['mode', row.mode],
  ['file_vault', row.file_vault],
  ['macos_key', row.macos_key],
  ['model', row.model],
  ['state', row.state],
  ['order_state', row.order_state],
  // Of those that somebody works with: what the figures are of.
  ...(row.state === 'retired'
    ? []
    : ([
        ['live', row.custody],
        ...(row.custody === 'held' && row.proved_at > 0 ? [['proved_day', dayOf(row.proved_at)] as const] : []),
        // Keys that are out now; the hours for which they are follow from how many, and from the sum of when that began.
        ...(row.disclosed_at > 0 ? ([['out', 'macs'] as const, ['out', 'since', Math.floor(row.disclosed_at / minute)] as const] as const) : []),
      ] as const)),
  ...needs.map((kind) => ['need', kind] as const),
  ...row.tags
    .split(',')
    .filter((tag) => tag !== '')
    .map((tag) => ['tag', tag] as const),
];

const columns = [
  'serial',
  'serial_proved',
  'name',
  'name_key',
  'user_name',
  'macos',
  'macos_key',
  'model',
  'chip',
  'mode',
  'file_vault',
  'custody',
  'custody_because',
  'custody_rank',
  'unopened',
  'key_at',
  'proved_at',
  'last_seen_at',
  'order_state',
  'order_at',
  'replacing_since',
  'disclosed_at',
  'hold_until',
  'problem',
  'problem_rank',
  'problem_at',
  'state',
  'ownership',
  'created_at',
  'tags',
  'due_at',
  'updated_at',
] as const satisfies readonly (keyof FleetRow)[];

/** But for when it was made. */
const isSame = (one: FleetRow, other: FleetRow): boolean => columns.every((column) => column === 'updated_at' || one[column] === other[column]);

const inChunks = <Item>(items: readonly Item[], size: number): Item[][] =>
  Array.from({ length: Math.ceil(items.length / size) }, (_, at) => items.slice(at * size, (at + 1) * size));

/**
 * Puts rows, words, needs and counts in the place of those before, and only where something is another: an index entry that
 * stays costs nothing. `after` is null for what is not listed (any more).
 */
export async function replaceShown(tx: Tx, before: Before, after: ReadonlyMap<string, Shown | null>): Promise<void> {
  const counts = new Map<string, number>();
  const count = (of: ReturnType<typeof counted>, by: number): void => {
    for (const [dimension, value, much = 1] of of) counts.set(`${dimension}\0${value}`, (counts.get(`${dimension}\0${value}`) ?? 0) + by * much);
  };
  const rows: FleetRow[] = [];
  const gone: string[] = [];
  const words: Tables['fleet_word'][] = [];
  const needs: FleetNeed[] = [];
  for (const [macId, is] of after) {
    const was = before(macId);
    if (was.row)
      count(
        counted(
          was.row,
          was.needs.map(({ kind }) => kind),
        ),
        -1,
      );
    if (is)
      count(
        counted(
          is.row,
          is.needs.map(({ kind }) => kind),
        ),
        1,
      );
    if (is && !(was.row && isSame(was.row, is.row))) rows.push(is.row);
    if (!is && was.row) gone.push(macId);
    const wanted = new Set(is?.words);
    for (const word of was.words) if (!wanted.delete(word)) await tx.deleteFrom('fleet_word').where('mac_id', '=', macId).where('word', '=', word).execute();
    for (const word of wanted) words.push({ mac_id: macId, word });
    const had = new Map(was.needs.map((need) => [need.kind, need]));
    for (const need of is?.needs ?? []) {
      const same = had.get(need.kind);
      had.delete(need.kind);
      if (same?.since !== need.since || same.detail !== need.detail) needs.push(need);
    }
    for (const kind of had.keys()) await tx.deleteFrom('fleet_need').where('mac_id', '=', macId).where('kind', '=', kind).execute();
  }
  if (gone.length > 0) await tx.deleteFrom('fleet_row').where('mac_id', 'in', gone).execute();
  for (const some of inChunks(rows, 200))
    await tx
      .insertInto('fleet_row')
      .values(some)
      .onConflict((c) => c.column('mac_id').doUpdateSet((e) => Object.fromEntries(columns.map((column) => [column, e.ref(`excluded.${column}`)]))))
      .execute();
  for (const some of inChunks(words, 1000)) await tx.insertInto('fleet_word').values(some).execute();
  for (const some of inChunks(needs, 500))
    await tx
      .insertInto('fleet_need')
      .values(some)
      .onConflict((c) => c.columns(['mac_id', 'kind']).doUpdateSet((e) => ({ since: e.ref('excluded.since'), detail: e.ref('excluded.detail') })))
      .execute();
  for (const [key, n] of counts) {
    if (n === 0) continue;
    const [dimension = '', value = ''] = key.split('\0');
    await tx
      .insertInto('fleet_count')
      .values({ dimension, value, n })
      .onConflict((c) => c.columns(['dimension', 'value']).doUpdateSet((e) => ({ n: e('fleet_count.n', '+', n) })))
      .execute();
  }
}

/** Of a Mac of which nothing is known but that it is there: it is in every list from the moment on in which it enrols. */
export async function addFleetRow(tx: Tx, mac: Pick<Tables['mac'], 'id' | 'serial' | 'serial_proved' | 'created_at'>): Promise<void> {
  const row: FleetRow = {
    mac_id: mac.id,
    serial: mac.serial,
    serial_proved: mac.serial_proved,
    name: mac.serial,
    name_key: mac.serial.toLowerCase(),
    user_name: '',
    macos: '',
    macos_key: '',
    model: '',
    chip: '',
    mode: '',
    file_vault: '',
    custody: 'none',
    custody_because: 'it has not checked in yet',
    custody_rank: custodyRanks.none,
    unopened: 0,
    key_at: 0,
    proved_at: 0,
    last_seen_at: 0,
    order_state: '',
    order_at: 0,
    replacing_since: 0,
    disclosed_at: 0,
    hold_until: 0,
    problem: '',
    problem_rank: 99,
    problem_at: 0,
    state: 'in-use',
    ownership: 'organisation',
    created_at: mac.created_at,
    tags: '',
    due_at: 0,
    updated_at: mac.created_at,
  };
  await replaceShown(tx, await shownOf(tx, [mac.id]), new Map([[mac.id, { row, words: [mac.serial.toLowerCase()], needs: [], tags: [] }]]));
  await markDirty(tx, mac.id);
}

/** Marked ones first, then those that time alone changes. */
export async function macsToShow(db: Db, now: number, most: number): Promise<string[]> {
  const dirty = await db.selectFrom('mac_dirty').select('mac_id').limit(most).execute();
  const due =
    dirty.length < most
      ? await db
          .selectFrom('fleet_row')
          .select('mac_id')
          // In the words of the index.
          .where(sql<boolean>`due_at > 0`)
          .where('due_at', '<=', now)
          .limit(most - dirty.length)
          .execute()
      : [];
  return [...new Set([...dirty, ...due].map((row) => row.mac_id))];
}

export async function unmark(tx: Tx, macIds: readonly string[]): Promise<void> {
  await tx.deleteFrom('mac_dirty').where('mac_id', 'in', macIds).execute();
  forgetMarks(tx);
}

/** Marks the Macs that lists do not have: none, unless something went around the backend. */
export async function markUnlisted(tx: Tx): Promise<void> {
  await tx
    .insertInto('mac_dirty')
    .columns(['mac_id'])
    .expression(
      tx
        .selectFrom('mac')
        .select('mac.id')
        .where('mac.merged_into', 'is', null)
        .where((e) => e.not(e.exists(e.selectFrom('fleet_row').select('fleet_row.mac_id').whereRef('fleet_row.mac_id', '=', 'mac.id')))),
    )
    .onConflict((c) => c.doNothing())
    .execute();
}
