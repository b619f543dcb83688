import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type PolicyRow = Tables['policy'];
export type PolicyVersionRow = Tables['policy_version'];

/** Those in force, the one that comes first first. */
export const policyRows = (db: Db): Promise<PolicyRow[]> => db.selectFrom('policy').selectAll().where('ended_at', 'is', null).orderBy('rank').execute();

export const policyById = (db: Db, id: string): Promise<PolicyRow | undefined> => db.selectFrom('policy').selectAll().where('id', '=', id).executeTakeFirst();

export async function keepPolicy(tx: Tx, row: PolicyRow): Promise<void> {
  const { id: _, ...values } = row;
  await tx
    .insertInto('policy')
    .values(row)
    .onConflict((c) => c.column('id').doUpdateSet(values))
    .execute();
}

export async function insertPolicyVersion(tx: Tx, row: PolicyVersionRow): Promise<void> {
  await tx.insertInto('policy_version').values(row).execute();
}

/** Newest first; of one policy, where it is named. */
export function policyVersions(
  db: Db,
  { policyId, before, limit }: { policyId?: string | undefined; before: { at: number; id: string; version: number } | null; limit: number },
): Promise<PolicyVersionRow[]> {
  let rows = db.selectFrom('policy_version').selectAll();
  if (policyId !== undefined) rows = rows.where('policy_id', '=', policyId);
  if (before)
    rows = rows.where((e) =>
      e.or([
        e('at', '<', before.at),
        e.and([e('at', '=', before.at), e('policy_id', '<', before.id)]),
        e.and([e('at', '=', before.at), e('policy_id', '=', before.id), e('version', '<', before.version)]),
      ]),
    );
  return rows.orderBy('at', 'desc').orderBy('policy_id', 'desc').orderBy('version', 'desc').limit(limit).execute();
}
