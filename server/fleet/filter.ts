import type { Kysely } from 'kysely';
import { z } from 'zod';
import { Problem } from '../../protocol/problems.ts';
import type { Scope } from '../permissions.ts';
import type { FleetCriteria } from '../store/fleet-conditions.ts';
import { countWhere, idsWhere } from '../store/fleet-filter.ts';
import type { Tables } from '../tables.ts';
import { needKinds } from './needs.ts';

type Db = Kysely<Tables>;

/** In an address a list of one is a single value. */
const listOf = <Item extends z.ZodType>(item: Item) =>
  z.union([z.array(item).min(1).max(50), item]).transform((given) => (Array.isArray(given) ? given : [given]) as z.output<Item>[]);
const yesOrNo = z.union([z.boolean(), z.enum(['true', 'false'])]).transform((given) => given === true || given === 'true');
const wholeDays = z
  .union([z.int(), z.string().regex(/^\d{1,5}$/)])
  .transform(Number)
  .pipe(z.int().min(0).max(36_500));
const when = z.iso.datetime().describe('ISO 8601, UTC');
const word = z.string().trim().min(1).max(256);

/** Which Macs are meant. All that is named has to hold; of a list one is enough. */
export const deviceFilter = z.strictObject({
  q: z.string().trim().max(200).optional().describe('words with which serial number, name, user, model or an older serial number begin; all have to be found'),
  custody: listOf(z.enum(['held', 'doubtful', 'lost', 'none', 'foreign'])).optional(),
  unopened: yesOrNo.optional().describe('true: keys that nobody here has opened'),
  mode: listOf(z.enum(['M0', 'M1', 'M2', 'M3', 'M4'])).optional(),
  fileVault: listOf(z.enum(['on', 'off', 'encrypting', 'decrypting', 'unknown'])).optional(),
  macos: z
    .string()
    .regex(/^\d{1,3}(\.\d{1,3}){0,2}$/)
    .optional()
    .describe('a version or its beginning: 26 means every 26.x'),
  macosBefore: z
    .string()
    .regex(/^\d{1,3}(\.\d{1,3}){0,2}$/)
    .optional()
    .describe('older than this version'),
  model: word.optional().describe('exactly, as MacBookPro18,3'),
  chip: word.optional(),
  user: word.optional().describe('the user name of whose Mac it is, exactly'),
  tag: listOf(z.string().min(1).max(300)).optional(),
  state: listOf(z.enum(['in-use', 'lost', 'retired'])).optional(),
  ownership: z.enum(['organisation', 'personal']).optional(),
  problem: listOf(z.enum(needKinds)).optional().describe('what needs a person'),
  order: listOf(z.enum(['none', 'waiting', 'owed', 'replacing']))
    .optional()
    .describe('waiting: ordered; owed: for another reason; replacing: under way'),
  hold: yesOrNo.optional().describe('true: a key was shown so short a time ago that nothing is replaced now'),
  disclosed: yesOrNo.optional().describe('true: a key was shown and has not been replaced'),
  seenBefore: when.optional().describe('last heard of before this, or never'),
  seenAfter: when.optional(),
  provedBefore: when.optional().describe('its key was last proved before this, or never'),
  provedAfter: when.optional(),
  keyOlderThanDays: wholeDays.optional().describe('the held key is here for longer than this many days'),
  enrolledAfter: when.optional(),
});
export type DeviceFilter = z.output<typeof deviceFilter>;

/** What a filter leaves out is not asked. Times in milliseconds. */
export function criteriaOf(filter: DeviceFilter, now: number): FleetCriteria {
  const { q, seenBefore, seenAfter, provedBefore, provedAfter, enrolledAfter, keyOlderThanDays, hold, disclosed, unopened, ...rest } = filter;
  const set = <Name extends string, Value>(name: Name, value: Value | undefined) => (value === undefined ? {} : { [name]: value }) as { [key in Name]?: Value };
  const time = (text: string | undefined) => (text === undefined ? undefined : Date.parse(text));
  const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined)) as Partial<FleetCriteria>;
  return {
    ...given,
    now,
    ...set('words', q === undefined || q === '' ? undefined : wordsOf(q)),
    ...set('seenBefore', time(seenBefore)),
    ...set('seenAfter', time(seenAfter)),
    ...set('provedBefore', time(provedBefore)),
    ...set('provedAfter', time(provedAfter)),
    ...set('enrolledAfter', time(enrolledAfter)),
    ...set('keyBefore', keyOlderThanDays === undefined ? undefined : now - keyOlderThanDays * 24 * 60 * 60 * 1000),
    ...set('hold', hold),
    ...set('disclosed', disclosed),
    ...set('unopened', unopened),
  };
}

/** The words of a text as they are kept and looked for: lower case, one way of writing each accent. */
export const wordsOf = (text: string): string[] => [
  ...new Set(
    text
      .toLowerCase()
      .normalize('NFC')
      .split(/[^\p{L}\p{N}]+/u)
      .filter((part) => part !== ''),
  ),
];

/** As it stands in an address; of the same filter always the same text. */
export function filterToUrl(filter: DeviceFilter): URLSearchParams {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(filter).toSorted(([one], [other]) => (one < other ? -1 : 1))) {
    if (value === undefined || value === '') continue;
    for (const each of Array.isArray(value) ? value.toSorted() : [value]) params.append(name, String(each));
  }
  return params;
}

const lists: readonly string[] = ['custody', 'mode', 'fileVault', 'tag', 'state', 'problem', 'order'] satisfies (keyof DeviceFilter)[];

/** Throws `MESSAGE_INVALID` for what is no filter. */
export function filterFromUrl(params: URLSearchParams): DeviceFilter {
  const given: Record<string, string | string[]> = {};
  for (const name of new Set(params.keys())) {
    const values = params.getAll(name).filter((value) => value !== '');
    const [first, ...more] = values;
    if (first !== undefined) given[name] = lists.includes(name) || more.length > 0 ? values : first;
  }
  const read = deviceFilter.safeParse(given);
  if (!read.success)
    throw new Problem('MESSAGE_INVALID', read.error.issues.map((issue) => `${issue.path.join('.') || 'the filter'}: ${issue.message}`).join('; '));
  return read.data;
}

/**
 * Ids of the Macs that are meant, in the order of their ids, those after `after`: for work that goes through all of them.
 * `now`: server time, milliseconds.
 */
export const macIdsMatching = (
  db: Db,
  filter: DeviceFilter,
  scope: Scope,
  { now, after, limit }: { now: number; after: string | null; limit: number },
): Promise<string[]> => idsWhere(db, criteriaOf(filter, now), scope, after, limit);

/** How many are meant, exactly. Without a filter, or by one thing alone, it costs the same for a fleet of any size. */
export const countMatching = (db: Db, filter: DeviceFilter, scope: Scope, now: number): Promise<number> => countWhere(db, criteriaOf(filter, now), scope);
