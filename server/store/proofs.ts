import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type ProofOrder = Tables['proof_order'];
export type Proof = Tables['proof'];

export const openProofOrdersOf = (db: Db, macId: string): Promise<ProofOrder[]> =>
  db.selectFrom('proof_order').selectAll().where('mac_id', '=', macId).where('ended_at', 'is', null).orderBy('created_at').orderBy('id').execute();

export const openProofOrderFor = (db: Db, recordId: string): Promise<ProofOrder | undefined> =>
  db.selectFrom('proof_order').selectAll().where('record_id', '=', recordId).where('ended_at', 'is', null).executeTakeFirst();

export const proofOrderById = (db: Db, macId: string, id: string): Promise<ProofOrder | undefined> =>
  db.selectFrom('proof_order').selectAll().where('mac_id', '=', macId).where('id', '=', id).executeTakeFirst();

/** Of the whole fleet, due since then or later: what is asked next has to wait behind them. Those of Macs that never come back wait for nobody. */
export async function countOpenProofOrders(db: Db, since: number): Promise<number> {
  const row = await db
    .selectFrom('proof_order')
    .select((e) => e.fn.countAll<number>().as('count'))
    .where('ended_at', 'is', null)
    .where('not_before', '>', since)
    .executeTakeFirstOrThrow();
  return row.count;
}

export async function insertProofOrder(tx: Tx, order: ProofOrder): Promise<void> {
  await tx.insertInto('proof_order').values(order).execute();
}

export async function endProofOrders(tx: Tx, recordId: string, at: number): Promise<void> {
  await tx.updateTable('proof_order').set({ ended_at: at }).where('record_id', '=', recordId).where('ended_at', 'is', null).execute();
}

export const proofById = (db: Db, macId: string, id: string): Promise<Proof | undefined> =>
  db.selectFrom('proof').selectAll().where('mac_id', '=', macId).where('id', '=', id).executeTakeFirst();

/**
 * Whether this enrolment said `true` to this key *and* brought an envelope of it itself: ids of envelopes are told to
 * every enrolment of the Mac, so an answer alone shows possession of nothing.
 */
export async function provedByBringing(db: Db, recordId: string, enrolmentId: string): Promise<boolean> {
  const row = await db
    .selectFrom('proof')
    .innerJoin('envelope', 'envelope.record_id', 'proof.record_id')
    .select('proof.id')
    .where('proof.record_id', '=', recordId)
    .where('proof.enrolment_id', '=', enrolmentId)
    .where('proof.answer', '=', 'true')
    .where('envelope.enrolment_id', '=', enrolmentId)
    .executeTakeFirst();
  return row !== undefined;
}

export async function insertProof(tx: Tx, proof: Proof): Promise<void> {
  await tx.insertInto('proof').values(proof).execute();
}
