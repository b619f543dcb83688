import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type Mac = Tables['mac'];

export const macById = (db: Db, id: string): Promise<Mac | undefined> => db.selectFrom('mac').selectAll().where('id', '=', id).executeTakeFirst();

export const macsWithSerial = (db: Db, serial: string): Promise<Mac[]> =>
  db.selectFrom('mac').selectAll().where('serial', '=', serial).orderBy('created_at').execute();

/** Other Macs that say they are this one: by serial number, or by hardware. */
export const macsLike = (db: Db, mac: Pick<Mac, 'id' | 'serial' | 'hardware_uuid'>): Promise<Mac[]> =>
  db
    .selectFrom('mac')
    .selectAll()
    .where('id', '<>', mac.id)
    .where((e) => e.or([e('serial', '=', mac.serial), e('hardware_uuid', '=', mac.hardware_uuid)]))
    .execute();

export const allMacs = (db: Db): Promise<Mac[]> => db.selectFrom('mac').selectAll().orderBy('serial').orderBy('id').execute();

export async function updateMac(tx: Tx, id: string, values: Partial<Omit<Mac, 'id'>>): Promise<void> {
  await tx.updateTable('mac').set(values).where('id', '=', id).execute();
}

/** K0: what is known of an envelope that is somebody else's. Says whether it was new. */
export async function noteForeignFile(tx: Tx, macId: string, digest: string, recipient: string | null, at: number): Promise<boolean> {
  const known = await tx.updateTable('foreign_file').set({ last_seen_at: at }).where('mac_id', '=', macId).where('digest', '=', digest).executeTakeFirst();
  if (known.numUpdatedRows > 0n) return false;
  await tx.insertInto('foreign_file').values({ mac_id: macId, digest, recipient, first_seen_at: at, last_seen_at: at }).execute();
  return true;
}

export async function foreignAmong(db: Db, macId: string, digests: readonly string[]): Promise<string[]> {
  if (digests.length === 0) return [];
  const rows = await db.selectFrom('foreign_file').select('digest').where('mac_id', '=', macId).where('digest', 'in', digests).execute();
  return rows.map((row) => row.digest);
}

export const foreignFilesOf = (db: Db, macId: string): Promise<Tables['foreign_file'][]> =>
  db.selectFrom('foreign_file').selectAll().where('mac_id', '=', macId).orderBy('last_seen_at', 'desc').execute();
