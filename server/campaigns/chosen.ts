import type { Kysely } from 'kysely';
import { z } from 'zod';
import { criteriaOf, deviceFilter, macIdsMatching } from '../fleet/filter.ts';
import { macInScope } from '../fleet/in-scope.ts';
import type { Scope } from '../permissions.ts';
import type { FleetCriteria } from '../store/fleet-conditions.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;

/** So many can be named one by one. */
const mostNamed = 1000;

/** Which Macs are meant. */
export const chosenMacs = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('macs'), macs: z.array(z.string().min(1).max(64)).min(1).max(mostNamed).describe('serial numbers or ids') }),
  z.strictObject({ kind: z.literal('filter'), filter: deviceFilter }),
  z.strictObject({ kind: z.literal('all') }),
]);
export type ChosenMacs = z.output<typeof chosenMacs>;

const kept = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('ids'), ids: z.array(z.string()) }),
  z.strictObject({ kind: z.literal('filter'), filter: deviceFilter }),
]);
/** As it is kept: Macs that were named are known by their ids, and all of them are those of a filter that asks for nothing. */
export type Kept = z.output<typeof kept>;

export const readKept = (json: string): Kept => kept.parse(JSON.parse(json));

/** Throws `MAC_UNKNOWN` where one that was named is none, or none of theirs. */
export async function keptOf(db: Db, scope: Scope, chosen: ChosenMacs): Promise<Kept> {
  if (chosen.kind !== 'macs') return { kind: 'filter', filter: chosen.kind === 'all' ? {} : chosen.filter };
  const ids = new Set<string>();
  for (const name of chosen.macs) ids.add((await macInScope(db, scope, name)).id);
  return { kind: 'ids', ids: [...ids].toSorted() };
}

/** What a filter asks for, or null where Macs were named. */
export const criteriaOfKept = (it: Kept, now: number): FleetCriteria | null => (it.kind === 'filter' ? criteriaOf(it.filter, now) : null);

/** The next of them, in the order of their ids. */
export async function idsAfter(db: Db, it: Kept, scope: Scope, { now, after, limit }: { now: number; after: string | null; limit: number }): Promise<string[]> {
  if (it.kind === 'filter') return await macIdsMatching(db, it.filter, scope, { now, after, limit });
  return it.ids.filter((id) => after === null || id > after).slice(0, limit);
}
