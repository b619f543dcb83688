import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type Debt = Tables['debt'];
export type RotationOrder = Tables['rotation_order'];

/** Oldest first. */
export const openDebtsOf = (db: Db, macId: string, volume: string): Promise<Debt[]> =>
  db
    .selectFrom('debt')
    .selectAll()
    .where('mac_id', '=', macId)
    .where('volume', '=', volume)
    .where('closed_at', 'is', null)
    .orderBy('opened_at')
    .orderBy('id')
    .execute();

export const debtById = (db: Db, macId: string, id: string): Promise<Debt | undefined> =>
  db.selectFrom('debt').selectAll().where('mac_id', '=', macId).where('id', '=', id).executeTakeFirst();

export const grantedDebtsOpenSince = (db: Db, before: number): Promise<Debt[]> =>
  db.selectFrom('debt').selectAll().where('because', '=', 'granted').where('closed_at', 'is', null).where('opened_at', '<=', before).execute();

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

export const orderById = (db: Db, id: string): Promise<RotationOrder | undefined> =>
  db.selectFrom('rotation_order').selectAll().where('id', '=', id).executeTakeFirst();

export const ordersOf = (db: Db, macId: string): Promise<RotationOrder[]> =>
  db.selectFrom('rotation_order').selectAll().where('mac_id', '=', macId).orderBy('created_at', 'desc').execute();

/** What waits for this Mac, newest first. */
export const waitingOrdersOf = (db: Db, macId: string): Promise<RotationOrder[]> =>
  db.selectFrom('rotation_order').selectAll().where('mac_id', '=', macId).where('state', '=', 'waiting').orderBy('created_at', 'desc').orderBy('id').execute();

/** Waiting orders of Macs that are not rotating at this moment. */
export const ordersToExpire = (db: Db, at: number): Promise<RotationOrder[]> =>
  db
    .selectFrom('rotation_order')
    .selectAll()
    .where('state', '=', 'waiting')
    .where('expires_at', '<=', at)
    .where((e) =>
      e.not(
        e.exists(
          e.selectFrom('rotation').select('rotation.id').whereRef('rotation.mac_id', '=', 'rotation_order.mac_id').where('rotation.state', '=', 'begun'),
        ),
      ),
    )
    .execute();

export async function insertOrder(tx: Tx, order: RotationOrder): Promise<void> {
  await tx.insertInto('rotation_order').values(order).execute();
}

export async function endOrder(tx: Tx, id: string, state: Exclude<RotationOrder['state'], 'waiting'>, at: number): Promise<void> {
  await tx.updateTable('rotation_order').set({ state, ended_at: at }).where('id', '=', id).where('state', '=', 'waiting').execute();
}
