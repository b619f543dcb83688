import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Scope } from '../permissions.ts';
import type { Tables } from '../tables.ts';
import { scopeFilter } from './fleet-scope.ts';

type Db = Kysely<Tables>;

/** True where the Mac did not have it. One that came with a group is somebody's own from now on. */
export async function addTag(tx: Tx, macId: string, tag: string, source: 'admin' | 'joined' = 'admin'): Promise<boolean> {
  const known = await tx.selectFrom('mac_tag').select('source').where('mac_id', '=', macId).where('tag', '=', tag).executeTakeFirst();
  if (known) return false;
  await tx.insertInto('mac_tag').values({ mac_id: macId, tag, source }).execute();
  return true;
}

export async function removeTag(tx: Tx, macId: string, tag: string): Promise<boolean> {
  const gone = await tx.deleteFrom('mac_tag').where('mac_id', '=', macId).where('tag', '=', tag).where('source', '<>', 'group').executeTakeFirst();
  return gone.numDeletedRows > 0n;
}

/** Every tag with how many listed Macs have it; within a scope those Macs alone are counted. */
export async function tagCounts(db: Db, scope: Scope): Promise<{ tag: string; count: number }[]> {
  if (scope === null) {
    const kept = await db.selectFrom('fleet_count').select(['value', 'n']).where('dimension', '=', 'tag').where('n', '>', 0).orderBy('value').execute();
    return kept.map(({ value, n }) => ({ tag: value, count: n }));
  }
  const rows = await db
    .selectFrom('mac_tag')
    .innerJoin('fleet_row', 'fleet_row.mac_id', 'mac_tag.mac_id')
    .select((e) => ['mac_tag.tag', e.fn.countAll<number>().as('n')])
    .where(scopeFilter(scope, 'mac_tag.mac_id'))
    .groupBy('mac_tag.tag')
    .orderBy('mac_tag.tag')
    .execute();
  return rows.map(({ tag, n }) => ({ tag, count: n }));
}

/** Two records are two again: each has what was its own. */
export async function removeJoinedTags(tx: Tx, macIds: readonly string[]): Promise<void> {
  await tx.deleteFrom('mac_tag').where('mac_id', 'in', macIds).where('source', '=', 'joined').execute();
}
