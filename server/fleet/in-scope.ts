import type { Kysely } from 'kysely';
import { Problem } from '../../protocol/problems.ts';
import type { Backend } from '../backend.ts';
import { isWithin, type Scope } from '../permissions.ts';
import { macsNamed, macWithKey, recordsOfMachine, tagsOf } from '../store/fleet-scope.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;

export interface MacInScope {
  id: string;
  serial: string;
  /** Sorted. */
  tags: string[];
  /** Of all records of this machine: its own first, then those that were merged into it. */
  ids: string[];
}

const dbOf = (where: Pick<Backend, 'store'> | Db): Db => ('store' in where ? where.store.db : where);

/**
 * The one Mac that an admin means, by id or by serial number. What lies outside their scope is unknown to them, in the very
 * words of what does not exist; nor does it make a serial number ambiguous.
 */
export async function macInScope(where: Pick<Backend, 'store'> | Db, scope: Scope, serialOrId: string): Promise<MacInScope> {
  const db = dbOf(where);
  const found: MacInScope[] = [];
  for (const { id, serial } of await macsNamed(db, serialOrId)) {
    const tags = await tagsOf(db, id);
    if (isWithin(scope, tags)) found.push({ id, serial, tags, ids: await recordsOfMachine(db, id) });
  }
  const [mac, ...more] = found;
  if (!mac) throw new Problem('MAC_UNKNOWN', serialOrId);
  if (more.length > 0) throw new Problem('MAC_AMBIGUOUS', found.map(({ id }) => id).join(', '));
  return mac;
}

/** The record that whoever speaks of keys means: an older one by its own id, which means what was merged otherwise. */
export async function recordNamed(
  where: Pick<Backend, 'store'> | Db,
  scope: Scope,
  serialOrId: string,
  key: { recordId?: string | undefined; volume?: string | undefined } = {},
): Promise<string> {
  const mac = await macInScope(where, scope, serialOrId);
  const isAnyKey = key.recordId === undefined && key.volume === undefined;
  return isAnyKey && mac.ids.includes(serialOrId) ? serialOrId : recordWith(where, mac, key);
}

/** The record of this machine that has a key, or a volume: after a new logic board that may be the older one. */
export async function recordWith(
  where: Pick<Backend, 'store'> | Db,
  mac: MacInScope,
  key: { recordId?: string | undefined; volume?: string | undefined },
): Promise<string> {
  if (mac.ids.length === 1 || (key.recordId === undefined && key.volume === undefined)) return mac.id;
  return (await macWithKey(dbOf(where), mac.ids, key.recordId ?? null, key.volume?.toUpperCase() ?? null)) ?? mac.id;
}

export { tagsOf } from '../store/fleet-scope.ts';
