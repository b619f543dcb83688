import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';
import { changeOf, firstOf, question } from './asked.ts';

type Db = Kysely<Tables>;
export type ProofOrder = Tables['proof_order'];
export type Proof = Tables['proof'];

export const openProofOrdersOf = question((db, macId: string) =>
  db.selectFrom('proof_order').selectAll().where('mac_id', '=', macId).where('ended_at', 'is', null).orderBy('created_at').orderBy('id'),
);

export const openProofOrderFor = firstOf((db, recordId: string) =>
  db.selectFrom('proof_order').selectAll().where('record_id', '=', recordId).where('ended_at', 'is', null),
);

export const proofOrderById = (db: Db, macId: string, id: string): Promise<ProofOrder | undefined> =>
  db.selectFrom('proof_order').selectAll().where('mac_id', '=', macId).where('id', '=', id).executeTakeFirst();

/**
 * Of the whole fleet, when the first of each Mac becomes due between the two times. Those of Macs that never come back wait
 * for nobody, and one Mac that makes up keys, each with its order, takes the place of one: it is given a key once a day.
 */
export async function openProofTimes(db: Db, after: number, until: number): Promise<number[]> {
  const rows = await db
    .selectFrom('proof_order')
    .select((e) => e.fn.min<number>('not_before').as('first'))
    .where('ended_at', 'is', null)
    .where('not_before', '>', after)
    .where('not_before', '<=', until)
    .groupBy('mac_id')
    .execute();
  return rows.map((row) => row.first);
}

const countToProve = firstOf((db, after: number, until: number, except: string) =>
  db
    .selectFrom('proof_order')
    .select((e) => e.fn.count<number>('mac_id').distinct().as('macs'))
    .where('ended_at', 'is', null)
    .where('not_before', '>', after)
    .where('not_before', '<=', until)
    .where('mac_id', '<>', except),
);
/** Other Macs with a proof that comes due in a time. */
export const macsToProve = async (db: Db, after: number, until: number, except: string): Promise<number> =>
  (await countToProve(db, after, until, except))?.macs ?? 0;

export async function insertProofOrder(tx: Tx, order: ProofOrder): Promise<void> {
  await addProofOrder(tx, order);
}
const addProofOrder = changeOf((db, order: ProofOrder) => db.insertInto('proof_order').values(order));

/** Those that were given until `until`: an older answer is none to a newer question. */
export async function endProofOrders(tx: Tx, recordId: string, at: number, until: number = at): Promise<void> {
  await tx
    .updateTable('proof_order')
    .set({ ended_at: at })
    .where('record_id', '=', recordId)
    .where('ended_at', 'is', null)
    .where('created_at', '<=', until)
    .execute();
}

/** Asked again for a weightier reason: what waits for its turn in the schedule is due then. */
export async function changeProofOrder(tx: Tx, id: string, change: Pick<ProofOrder, 'because' | 'created_at' | 'not_before'>): Promise<void> {
  await tx.updateTable('proof_order').set(change).where('id', '=', id).execute();
}

/** More than a week allows; the answer has no room for what a Mac makes up. */
const mostTries = 16;

const answersSince = question((db, macId: string, since: number) =>
  db.selectFrom('proof').select('at').where('mac_id', '=', macId).where('answer', '<>', 'true').where('at', '>', since).orderBy('at', 'desc').limit(mostTries),
);
const givenSince = question((db, macId: string, since: number) =>
  db
    .selectFrom('grant_given')
    .innerJoin('debt', (join) => join.onRef('debt.mac_id', '=', 'grant_given.mac_id').onRef('debt.id', '=', 'grant_given.id'))
    .select('grant_given.at')
    .where('grant_given.mac_id', '=', macId)
    .where('grant_given.at', '>', since)
    .where('debt.closed_at', 'is', null),
);

/** Answers other than `true`, and keys that were given and of which nothing was heard: newest first, a few. */
export async function triesSince(db: Db, macId: string, since: number): Promise<number[]> {
  return [...(await answersSince(db, macId, since)), ...(await givenSince(db, macId, since))]
    .map((row) => row.at)
    .toSorted((one, other) => other - one)
    .slice(0, mostTries);
}

export const proofById = (db: Db, macId: string, id: string): Promise<Proof | undefined> =>
  db.selectFrom('proof').selectAll().where('mac_id', '=', macId).where('id', '=', id).executeTakeFirst();

/** What macOS said of a key last, whatever it was. */
export const lastProofOf = firstOf((db, macId: string, recordId: string) =>
  db.selectFrom('proof').selectAll().where('mac_id', '=', macId).where('record_id', '=', recordId).orderBy('at', 'desc').orderBy('id').limit(1),
);

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
