import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type ConnectorRow = Tables['connector'];
export type ConnectorMac = Tables['connector_mac'];

export const connectorByName = (db: Db, name: string): Promise<ConnectorRow | undefined> =>
  db.selectFrom('connector').selectAll().where('name', '=', name).executeTakeFirst();

export async function putConnector(tx: Tx, row: ConnectorRow): Promise<void> {
  const { name: _, ...values } = row;
  await tx
    .insertInto('connector')
    .values(row)
    .onConflict((conflict) => conflict.column('name').doUpdateSet(values))
    .execute();
}

export const macsOfConnector = (db: Db, connector: string): Promise<ConnectorMac[]> =>
  db.selectFrom('connector_mac').selectAll().where('connector', '=', connector).orderBy('device_id').execute();

/** The Mac of a product that this serial number means. */
export const connectorMacFor = (db: Db, connector: string, serial: string): Promise<ConnectorMac | undefined> =>
  db
    .selectFrom('connector_mac')
    .selectAll()
    .where('connector', '=', connector)
    .where('serial', '=', serial)
    .orderBy('listed_at', 'desc')
    .orderBy('device_id')
    .executeTakeFirst();

/** What was listed is there; what was read of it before stays. */
export async function listConnectorMacs(tx: Tx, connector: string, listed: readonly { id: string; serial: string }[], at: number): Promise<void> {
  const fresh = { read_at: null, answer: null, refresh_asked_at: null, rotate_asked_at: null };
  // SQLite takes 32,766 values in one statement.
  for (let from = 0; from < listed.length; from += 1000)
    await tx
      .insertInto('connector_mac')
      .values(listed.slice(from, from + 1000).map(({ id, serial }) => ({ connector, device_id: id, serial, listed_at: at, ...fresh })))
      .onConflict((conflict) =>
        conflict.columns(['connector', 'device_id']).doUpdateSet((e) => ({ serial: e.ref('excluded.serial'), listed_at: e.ref('excluded.listed_at') })),
      )
      .execute();
}

/** After a whole list: what is not in it any more has left the product. */
export async function forgetUnlisted(tx: Tx, connector: string, listedBefore: number): Promise<void> {
  await tx.deleteFrom('connector_mac').where('connector', '=', connector).where('listed_at', '<', listedBefore).execute();
}

export async function updateConnectorMac(
  tx: Tx,
  { connector, device_id: deviceId }: Pick<ConnectorMac, 'connector' | 'device_id'>,
  values: Partial<Omit<ConnectorMac, 'connector' | 'device_id'>>,
): Promise<void> {
  await tx.updateTable('connector_mac').set(values).where('connector', '=', connector).where('device_id', '=', deviceId).execute();
}
