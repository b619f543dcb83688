import type { Kysely } from 'kysely';
import { z } from 'zod';
import { isoTime } from '../custody-parts.ts';
import type { Scope } from '../permissions.ts';
import { type After, allIdsWhere, isNumberColumn, rowsOfIds, rowsWhere, type SortBy, sortColumns } from '../store/fleet-filter.ts';
import type { FleetRow } from '../store/fleet-projection.ts';
import type { Tables } from '../tables.ts';
import { criteriaOf, type DeviceFilter } from './filter.ts';
import { type NeedKind, needKinds, needs } from './needs.ts';

type Db = Kysely<Tables>;

const time = z.iso.datetime().nullable();

/** One Mac in a list. */
export const deviceLine = z.strictObject({
  id: z.string(),
  serial: z.string(),
  serialProved: z.boolean().describe('false: the Mac claims it, and no certificate proves it'),
  name: z.string().describe('the computer name; else its model and the end of its serial number'),
  user: z.string().nullable().describe('whose Mac it is; `a or b` where two are said to have it'),
  macos: z.string().nullable(),
  model: z.string().nullable(),
  chip: z.string().nullable(),
  mode: z.string().nullable().describe('how it lives beside an MDM: M0 to M4; null: it has said nothing yet'),
  fileVault: z.string().nullable(),
  custody: z.enum(['held', 'doubtful', 'lost', 'none', 'foreign']),
  custodyBecause: z.string().describe('one sentence'),
  unopened: z.boolean().describe('true: a key is held that nobody here has opened'),
  keySince: time.describe('since when the held key is here'),
  provedAt: time.describe('when macOS last said that the held key opens it'),
  lastSeenAt: time,
  order: z
    .strictObject({ state: z.enum(['waiting', 'owed', 'replacing']), since: z.iso.datetime() })
    .nullable()
    .describe('waiting: ordered; owed: for another reason; replacing: under way'),
  holdUntil: time.describe('until then nothing is replaced: somebody may be typing the key'),
  disclosedSince: time.describe('a key was shown then and has not been replaced'),
  problem: z
    .strictObject({ kind: z.enum(needKinds), says: z.string(), since: z.iso.datetime() })
    .nullable()
    .describe('the worst of what needs a person'),
  state: z.enum(['in-use', 'lost', 'retired']),
  ownership: z.enum(['organisation', 'personal']),
  tags: z.array(z.string()),
  enrolledAt: z.iso.datetime(),
});
export type DeviceLine = z.infer<typeof deviceLine>;

const orNull = (text: string): string | null => (text === '' ? null : text);
const timeOrNull = (at: number): string | null => (at === 0 ? null : isoTime(at));

/** `now`: a hold ends by time alone, and is none from that moment on. */
export function lineOfRow(row: FleetRow, now: number): DeviceLine {
  return {
    id: row.mac_id,
    serial: row.serial,
    serialProved: row.serial_proved === 1,
    name: row.name,
    user: orNull(row.user_name),
    macos: orNull(row.macos),
    model: orNull(row.model),
    chip: orNull(row.chip),
    mode: orNull(row.mode),
    fileVault: orNull(row.file_vault),
    custody: row.custody as DeviceLine['custody'],
    custodyBecause: row.custody_because,
    unopened: row.unopened === 1,
    keySince: timeOrNull(row.key_at),
    provedAt: timeOrNull(row.proved_at),
    lastSeenAt: timeOrNull(row.last_seen_at),
    order: row.order_state === '' ? null : { state: row.order_state as 'waiting', since: isoTime(row.order_at) },
    holdUntil: row.hold_until > now ? isoTime(row.hold_until) : null,
    disclosedSince: timeOrNull(row.disclosed_at),
    problem:
      row.problem === '' ? null : { kind: row.problem as NeedKind, says: needs[row.problem as NeedKind]?.says ?? row.problem, since: isoTime(row.problem_at) },
    state: row.state as DeviceLine['state'],
    ownership: row.ownership as DeviceLine['ownership'],
    tags: row.tags.split(',').filter((tag) => tag !== ''),
    enrolledAt: isoTime(row.created_at),
  };
}

const columns = Object.keys(sortColumns) as [SortBy, ...SortBy[]];
/** `-seen`: the other way round. */
export const deviceSort = z
  .enum([...columns, ...columns.map((column) => `-${column}` as const)] as [SortBy, ...(SortBy | `-${SortBy}`)[]])
  .describe('a column; with - before it the other way round. What is unknown or never was stands first');
export type DeviceSort = z.output<typeof deviceSort>;

const readSort = (sort: DeviceSort): { by: SortBy; descending: boolean } => {
  const descending = sort.startsWith('-');
  return { by: (descending ? sort.slice(1) : sort) as SortBy, descending };
};

/** What a cursor says: the order, and the last row of the page before by its value in that order. */
export const devicesCursor = z.strictObject({ s: deviceSort, v: z.union([z.string().max(300), z.number()]), id: z.string().max(64) });
export type DevicesCursor = z.infer<typeof devicesCursor>;

/** The row after which a page goes on; null for a cursor of another order. */
export function afterOf(cursor: DevicesCursor, sort: DeviceSort): After | null {
  const isNumber = typeof cursor.v === 'number';
  return cursor.s === sort && isNumber === isNumberColumn(readSort(sort).by) ? { value: cursor.v, macId: cursor.id } : null;
}

export interface DevicesWish {
  filter: DeviceFilter;
  scope: Scope;
  sort: DeviceSort;
  after: After | null;
  limit: number;
  /** Server time, milliseconds. */
  now: number;
}

export async function listDevices(
  db: Db,
  { filter, scope, sort, after, limit, now }: DevicesWish,
): Promise<{ items: DeviceLine[]; next: DevicesCursor | null }> {
  const { by, descending } = readSort(sort);
  const rows = await rowsWhere(db, criteriaOf(filter, now), scope, { sort: by, descending, after, limit: limit + 1 });
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  return {
    items: page.map((row) => lineOfRow(row, now)),
    next: rows.length > limit && last ? { s: sort, v: last[sortColumns[by]], id: last.mac_id } : null,
  };
}

const csvCells = {
  serial: (mac) => mac.serial,
  name: (mac) => mac.name,
  user: (mac) => mac.user,
  macos: (mac) => mac.macos,
  model: (mac) => mac.model,
  chip: (mac) => mac.chip,
  mode: (mac) => mac.mode,
  fileVault: (mac) => mac.fileVault,
  custody: (mac) => (mac.unopened && mac.custody === 'held' ? 'held, unopened' : mac.custody),
  custodyBecause: (mac) => mac.custodyBecause,
  keySince: (mac) => mac.keySince,
  provedAt: (mac) => mac.provedAt,
  lastSeenAt: (mac) => mac.lastSeenAt,
  order: (mac) => mac.order?.state ?? null,
  orderSince: (mac) => mac.order?.since ?? null,
  holdUntil: (mac) => mac.holdUntil,
  disclosedSince: (mac) => mac.disclosedSince,
  problem: (mac) => mac.problem?.kind ?? null,
  problemSince: (mac) => mac.problem?.since ?? null,
  state: (mac) => mac.state,
  ownership: (mac) => mac.ownership,
  tags: (mac) => mac.tags.join(' '),
  enrolledAt: (mac) => mac.enrolledAt,
  id: (mac) => mac.id,
} as const satisfies Record<string, (mac: DeviceLine) => string | null>;
export type CsvColumn = keyof typeof csvCells;
export const csvColumns = Object.keys(csvCells) as [CsvColumn, ...CsvColumn[]];

/**
 * RFC 4180. What a spreadsheet would reckon instead of show gets an apostrophe before it; where the list separator is a semicolon,
 * as in most of Europe, it begins another cell at each.
 */
export function csvCell(value: string | null): string {
  const text = value ?? '';
  const begun = /^[=+\-@＝＋－＠\t\r\n]/u.test(text.trimStart()) || /^[\t\r\n]/.test(text) ? `'${text}` : text;
  const safe = begun.replace(/[;\t](?=["\s]*[=+\-@＝＋－＠])/gu, "$&'");
  return /[",;\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const csvPage = 100;

/**
 * Which Macs, and in which order, is of one moment, so that each comes once though it checks in meanwhile; what is said of each is
 * read as it is sent, page by page. One that has left the scope by then is left out.
 */
export async function* devicesCsv(
  db: Db,
  { filter, scope, sort, now, columns: wanted }: Omit<DevicesWish, 'after' | 'limit'> & { columns: readonly CsvColumn[] },
): AsyncGenerator<string> {
  yield `${wanted.join(',')}\r\n`;
  const { by, descending } = readSort(sort);
  const macIds = await allIdsWhere(db, criteriaOf(filter, now), scope, { sort: by, descending });
  for (let at = 0; at < macIds.length; at += csvPage) {
    const rows = await rowsOfIds(db, macIds.slice(at, at + csvPage), scope);
    yield rows.map((row) => `${wanted.map((column) => csvCell(csvCells[column](lineOfRow(row, now)))).join(',')}\r\n`).join('');
  }
}
