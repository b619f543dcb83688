import { Problem } from '../protocol/problems.ts';
import { type DeviceFilter, filterFromUrl, filterToUrl } from '../server/fleet/filter.ts';
import { type DeviceSort, deviceSort } from '../server/fleet/list.ts';

/*
 * A list of Macs is its address: whoever is sent it sees the same. Beside the filters of the API it has two that count days back
 * from now, so that a bookmark stays what it is called.
 */

const day = 24 * 60 * 60 * 1000;
const minute = 60 * 1000;

/** Days back from now, by the filter that they become. */
const daysBack = { silentDays: 'seenBefore', unprovedDays: 'provedBefore' } as const;
type DaysBack = keyof typeof daysBack;
const ownNames = ['sort', 'cursor', ...Object.keys(daysBack)];

/** Of these an address has several at once; a form sends them with commas between. */
const listNames = ['custody', 'mode', 'fileVault', 'state', 'problem', 'order'];

export interface FleetAddress {
  /** As the API takes it. */
  filter: DeviceFilter;
  /** All of the address but order and place, as it stands there. */
  kept: URLSearchParams;
  sort: DeviceSort;
  cursor: string | null;
}

/** The query of a visit. An address that is too long to be one of ours is no address without a filter. */
export function queryOf(path: string): URLSearchParams {
  if (!path.startsWith('/fleet')) throw new Problem('MESSAGE_INVALID', 'the address is too long');
  return new URL(path, 'https://console').searchParams;
}

/** Without what is empty, lists taken apart, always in the same order. */
export function tidied(given: URLSearchParams): URLSearchParams {
  const pairs = [...given].flatMap(([name, value]): [string, string][] =>
    (listNames.includes(name) ? value.split(',') : [value.trim()]).filter((one) => one !== '').map((one) => [name, one]),
  );
  const seen = new Set<string>();
  const all = pairs.filter(([name, value]) => !seen.has(`${name}=${value}`) && seen.add(`${name}=${value}`));
  return new URLSearchParams(all.filter(([name, value]) => !(name === 'sort' && value === 'name')).toSorted(([one], [other]) => (one < other ? -1 : 1)));
}

function daysOf(name: DaysBack, text: string, now: number): string {
  if (!/^\d{1,4}$/.test(text) || Number(text) < 1) throw new Problem('MESSAGE_INVALID', `${name}: is a number of days, 1 to 9999`);
  // To the minute, so that the pages of one list mean the same Macs.
  return new Date(Math.floor((now - Number(text) * day) / minute) * minute).toISOString();
}

/** Throws `MESSAGE_INVALID` for what is none. */
export function readAddress(given: URLSearchParams, now: number): FleetAddress {
  const sort = deviceSort.safeParse(given.get('sort') ?? 'name');
  if (!sort.success) throw new Problem('MESSAGE_INVALID', 'sort: there is no such column');
  const kept = new URLSearchParams([...given].filter(([name]) => name !== 'sort' && name !== 'cursor'));
  const ofApi = new URLSearchParams([...given].filter(([name]) => !ownNames.includes(name)));
  for (const [name, meant] of Object.entries(daysBack)) {
    const days = given.get(name);
    if (days !== null) ofApi.set(meant, daysOf(name as DaysBack, days, now));
  }
  return { filter: filterFromUrl(ofApi), kept, sort: sort.data, cursor: given.get('cursor') };
}

export function toAddress({ kept, sort }: Pick<FleetAddress, 'kept' | 'sort'>, cursor: string | null = null): string {
  const all = tidied(new URLSearchParams([...kept, ['sort', sort], ...(cursor === null ? [] : [['cursor', cursor]])]));
  return all.size === 0 ? '/fleet' : `/fleet?${all}`;
}

/** The filter with times instead of days, as other pages and the API take it. */
export const forOthers = ({ filter }: Pick<FleetAddress, 'filter'>): string => filterToUrl(filter).toString();
