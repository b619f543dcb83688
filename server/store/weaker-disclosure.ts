import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type ProposalRow = Tables['policy_proposal'];
export type RulesKept = Tables['rules_kept'];

export async function insertProposal(tx: Tx, row: ProposalRow): Promise<void> {
  await tx.insertInto('policy_proposal').values(row).execute();
}

export const proposalById = (db: Db, id: string): Promise<ProposalRow | undefined> =>
  db.selectFrom('policy_proposal').selectAll().where('id', '=', id).executeTakeFirst();

/** Newest first; those that wait, or the last of all. */
export const proposalRows = (db: Db, open: boolean): Promise<ProposalRow[]> =>
  db
    .selectFrom('policy_proposal')
    .selectAll()
    .$if(open, (query) => query.where('state', '=', 'waiting'))
    .orderBy('proposed_at', 'desc')
    .orderBy('id')
    .limit(200)
    .execute();

export async function updateProposal(tx: Tx, id: string, values: Partial<Omit<ProposalRow, 'id'>>): Promise<void> {
  await tx.updateTable('policy_proposal').set(values).where('id', '=', id).execute();
}

export async function insertRulesKept(tx: Tx, row: RulesKept): Promise<void> {
  await tx.insertInto('rules_kept').values(row).execute();
}

/** Of these records, oldest first. */
export const rulesKeptOf = (db: Db, macIds: readonly string[]): Promise<RulesKept[]> =>
  db.selectFrom('rules_kept').selectAll().where('mac_id', 'in', macIds).where('lifted_at', 'is', null).orderBy('at').orderBy('id').execute();

export async function liftRulesKept(tx: Tx, ids: readonly string[], values: { lifted_at: number; lifted_by: string }): Promise<void> {
  if (ids.length > 0) await tx.updateTable('rules_kept').set(values).where('id', 'in', ids).execute();
}

/** What nobody did goes on for its time only. */
export async function forgetRulesKept(tx: Tx, macId: string, before: number): Promise<void> {
  await tx.deleteFrom('rules_kept').where('mac_id', '=', macId).where('person_id', 'is', null).where('at', '<', before).execute();
}
