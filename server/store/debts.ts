import { type Kysely, sql } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';
import { firstOf, question } from './asked.ts';

type Db = Kysely<Tables>;
export type Debt = Tables['debt'];
export type RotationOrder = Tables['rotation_order'];

/** Oldest first. */
export const openDebtsOf = question((db, macId: string, volume: string) =>
  db.selectFrom('debt').selectAll().where('mac_id', '=', macId).where('volume', '=', volume).where('closed_at', 'is', null).orderBy('opened_at').orderBy('id'),
);

export const debtById = (db: Db, macId: string, id: string): Promise<Debt | undefined> =>
  db.selectFrom('debt').selectAll().where('mac_id', '=', macId).where('id', '=', id).executeTakeFirst();

export const grantedDebtsOpenSince = (db: Db, before: number): Promise<Debt[]> =>
  db
    .selectFrom('debt')
    .selectAll()
    // As it stands in the index.
    .where(sql<boolean>`because = 'granted'`)
    .where('closed_at', 'is', null)
    .where('opened_at', '<=', before)
    .execute();

export async function insertDebt(tx: Tx, debt: Debt): Promise<void> {
  await tx.insertInto('debt').values(debt).execute();
}

export async function closeDebt(tx: Tx, macId: string, id: string, closedBy: string, at: number): Promise<void> {
  await tx
    .updateTable('debt')
    .set({ closed_at: at, closed_by: closedBy })
    .where('mac_id', '=', macId)
    .where('id', '=', id)
    .where('closed_at', 'is', null)
    .execute();
}

/** Two records turned out to be one key. */
export async function moveDebts(tx: Tx, fromRecordId: string, toRecordId: string): Promise<void> {
  await tx.updateTable('debt').set({ record_id: toRecordId }).where('record_id', '=', fromRecordId).execute();
}

export const orderById = firstOf((db, id: string) => db.selectFrom('rotation_order').selectAll().where('id', '=', id));

export const ordersOf = (db: Db, macId: string): Promise<RotationOrder[]> =>
  db.selectFrom('rotation_order').selectAll().where('mac_id', '=', macId).orderBy('created_at', 'desc').execute();

export async function prolongOrder(tx: Tx, id: string, expiresAt: number): Promise<void> {
  await tx.updateTable('rotation_order').set({ expires_at: expiresAt }).where('id', '=', id).where('state', '=', 'waiting').execute();
}

/** What waits for this Mac, newest first. */
export const waitingOrdersOf = (db: Db, macId: string): Promise<RotationOrder[]> =>
  db.selectFrom('rotation_order').selectAll().where('mac_id', '=', macId).where('state', '=', 'waiting').orderBy('created_at', 'desc').orderBy('id').execute();

/** Waiting orders of Macs that are not rotating at this moment. */
export const ordersToExpire = question((db, at: number) =>
  db
    .selectFrom('rotation_order')
    .selectAll()
    .where('state', '=', 'waiting')
    .where('expires_at', '<=', at)
    .where((e) =>
      e.not(
        e.exists(
          e
            .selectFrom('rotation')
            .select('rotation.id')
            .whereRef('rotation.mac_id', '=', 'rotation_order.mac_id')
            .where(sql<boolean>`rotation.state = 'begun'`),
        ),
      ),
    ),
);

export async function insertOrder(tx: Tx, order: RotationOrder): Promise<void> {
  await tx.insertInto('rotation_order').values(order).execute();
}

export async function endOrder(tx: Tx, id: string, state: Exclude<RotationOrder['state'], 'waiting'>, at: number): Promise<void> {
  await tx.updateTable('rotation_order').set({ state, ended_at: at }).where('id', '=', id).where('state', '=', 'waiting').execute();
}
