import { type Kysely, sql } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Scope } from '../permissions.ts';
import type { Tables } from '../tables.ts';
import { scopeFilter } from './fleet-scope.ts';

type Db = Kysely<Tables>;
export type AutomaticRotation = Tables['automatic_rotation'];

/** Once for one cause: false where it was noticed before. */
export async function noteAutomatic(tx: Tx, row: AutomaticRotation): Promise<boolean> {
  const done = await tx
    .insertInto('automatic_rotation')
    .values(row)
    .onConflict((c) => c.columns(['mac_id', 'because', 'about']).doNothing())
    .executeTakeFirst();
  return (done.numInsertedOrUpdatedRows ?? 0n) > 0n;
}

export async function updateAutomatic(tx: Tx, id: string, values: Partial<Omit<AutomaticRotation, 'id'>>): Promise<void> {
  await tx.updateTable('automatic_rotation').set(values).where('id', '=', id).execute();
}

/** Its key may come to be due another time. */
export async function forgetAutomatic(tx: Tx, id: string): Promise<void> {
  await tx.deleteFrom('automatic_rotation').where('id', '=', id).execute();
}

/** Policies for which something waits. */
export async function policiesWaiting(db: Db): Promise<string[]> {
  // In the words of the index: of what was placed once there are as many as Macs, and more.
  const waiting = sql<boolean>`state = 'waiting'`;
  const rows = await db.selectFrom('automatic_rotation').select('policy_id').distinct().where(waiting).orderBy('policy_id').execute();
  return rows.map((row) => row.policy_id);
}

export const automaticInTurn = (db: Db, policyId: string, limit: number): Promise<AutomaticRotation[]> =>
  db
    .selectFrom('automatic_rotation')
    .selectAll()
    .where('policy_id', '=', policyId)
    .where('state', '=', 'waiting')
    .orderBy('noticed_at')
    .orderBy('id')
    .limit(limit)
    .execute();

export async function placedSince(db: Db, policyId: string, since: number): Promise<number> {
  const row = await db
    .selectFrom('automatic_rotation')
    .select((e) => e.fn.countAll<number>().as('count'))
    .where('policy_id', '=', policyId)
    .where('state_at', '>', since)
    .where('state', '=', 'placed')
    .executeTakeFirstOrThrow();
  return Number(row.count);
}

export interface KeyAge {
  mac_id: string;
  serial: string;
  key_at: number;
  /** Sorted, between commas. */
  tags: string;
  /** '' where nothing is owed. */
  order_state: string;
}

/** Macs whose key is ours to replace and here since then or for longer, in the order of their ids. `free`: nothing is owed for them. */
export function keysSince(
  db: Db,
  { before, free, scope, after, limit }: { before: number; free: boolean; scope: Scope; after: string; limit: number },
): Promise<KeyAge[]> {
  const rows = db
    .selectFrom('fleet_row')
    .select(['mac_id', 'serial', 'key_at', 'tags', 'order_state'])
    .where('fleet_row.mac_id', '>', after)
    .where('key_at', '>', 0)
    .where('key_at', '<=', before)
    .where('custody', '=', 'held')
    .where('mode', 'in', ['M1', 'M2'])
    .where('file_vault', '<>', 'off')
    .where('fleet_row.state', '<>', 'retired')
    .where(scopeFilter(scope, 'fleet_row.mac_id'));
  return (free ? rows.where('order_state', '=', '') : rows).orderBy('fleet_row.mac_id').limit(limit).execute();
}

/** The last number of the audit: events are followed from there. */
export async function lastAuditSeq(db: Db): Promise<number> {
  const row = await db.selectFrom('audit').select('seq').orderBy('seq', 'desc').limit(1).executeTakeFirst();
  return row?.seq ?? 0;
}
