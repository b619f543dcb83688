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

/** The Mac of a product that this serial number means: of two entries the one that the product has heard of last, as in a run. */
export const connectorMacFor = (db: Db, connector: string, serial: string): Promise<ConnectorMac | undefined> =>
  db
    .selectFrom('connector_mac')
    .selectAll()
    .where('connector', '=', connector)
    .where('serial', '=', serial)
    .orderBy((e) => e.fn.coalesce('heard_at', e.lit(0)), 'desc')
    .orderBy('device_id', 'desc')
    .executeTakeFirst();

interface ListedMac {
  id: string;
  serial: string;
  /** Milliseconds, by the product's word. */
  heardAt: number | null;
}

/** What was listed is there; what was read of it before stays. */
export async function listConnectorMacs(tx: Tx, connector: string, listed: readonly ListedMac[], at: number): Promise<void> {
  const asked = { refresh_asked_at: null, refresh_failed: 0, refresh_next_at: null, rotate_asked_at: null, rotate_failed: 0, rotate_next_at: null };
  const fresh = { read_at: null, answer: null, useless: null, ...asked };
  // SQLite takes 32,766 values in one statement.
  for (let from = 0; from < listed.length; from += 1000)
    await tx
      .insertInto('connector_mac')
      .values(
        listed.slice(from, from + 1000).map(({ id, serial, heardAt }) => ({ connector, device_id: id, serial, listed_at: at, heard_at: heardAt, ...fresh })),
      )
      .onConflict((conflict) =>
        conflict.columns(['connector', 'device_id']).doUpdateSet((e) => ({
          serial: e.ref('excluded.serial'),
          listed_at: e.ref('excluded.listed_at'),
          heard_at: e.ref('excluded.heard_at'),
        })),
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

/** Macs whose key would be read, if the product did not say itself that it has none or a wrong one; those of before are no more. */
export async function noteUseless(tx: Tx, connector: string, found: readonly { id: string; useless: string }[]): Promise<void> {
  await tx.updateTable('connector_mac').set({ useless: null }).where('connector', '=', connector).where('useless', 'is not', null).execute();
  for (const [useless, macs] of Map.groupBy(found, (one) => one.useless))
    for (let from = 0; from < macs.length; from += 1000) {
      const ids = macs.slice(from, from + 1000).map(({ id }) => id);
      await tx.updateTable('connector_mac').set({ useless }).where('connector', '=', connector).where('device_id', 'in', ids).execute();
    }
}

export const uselessOf = (db: Db, connector: string): Promise<ConnectorMac[]> =>
  db.selectFrom('connector_mac').selectAll().where('connector', '=', connector).where('useless', 'is not', null).orderBy('serial').execute();

/** Whether the product is asked to do anything now. Nothing is written where a run has never been. */
export async function quietConnector(tx: Tx, name: string, values: Pick<ConnectorRow, 'quiet_until' | 'quiet_times'>): Promise<void> {
  await tx.updateTable('connector').set(values).where('name', '=', name).execute();
}
