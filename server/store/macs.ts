import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';
import { change, changeOf, firstOf, question } from './asked.ts';

type Db = Kysely<Tables>;
export type Mac = Tables['mac'];

export const macById = firstOf((db, id: string) => db.selectFrom('mac').selectAll().where('id', '=', id));

export const macsWithSerial = (db: Db, serial: string): Promise<Mac[]> =>
  db.selectFrom('mac').selectAll().where('serial', '=', serial).orderBy('created_at').execute();

/** Other Macs that say they are this one: by serial number, or by hardware. */
export const macsLike = (db: Db, { id, serial, hardware_uuid }: Pick<Mac, 'id' | 'serial' | 'hardware_uuid'>): Promise<Mac[]> =>
  macsSaying(db, id, serial, hardware_uuid);
const macsSaying = question((db, id: string, serial: string, hardwareUuid: string | null) =>
  db
    .selectFrom('mac')
    .selectAll()
    .where('id', '<>', id)
    .where((e) => e.or([e('serial', '=', serial), e('hardware_uuid', '=', hardwareUuid)])),
);

export const allMacs = (db: Db): Promise<Mac[]> => db.selectFrom('mac').selectAll().orderBy('serial').orderBy('id').execute();

export async function updateMac(tx: Tx, id: string, values: Partial<Omit<Mac, 'id'>>): Promise<void> {
  await changeMac(tx, values, id);
}
const changeMac = changeOf((db, values: Partial<Omit<Mac, 'id'>>, id: string) => db.updateTable('mac').set(values).where('id', '=', id));

/** K0: what is known of an envelope that is somebody else's. Says whether it was new. */
export async function noteForeignFile(tx: Tx, macId: string, digest: string, recipient: string | null, at: number): Promise<boolean> {
  if ((await seeForeignFile(tx, at, macId, digest)) > 0) return false;
  await tx.insertInto('foreign_file').values({ mac_id: macId, digest, recipient, first_seen_at: at, last_seen_at: at }).execute();
  return true;
}

const seeForeignFile = change((db, at: number, macId: string, digest: string) =>
  db.updateTable('foreign_file').set({ last_seen_at: at }).where('mac_id', '=', macId).where('digest', '=', digest),
);

export async function foreignAmong(db: Db, macId: string, digests: readonly string[]): Promise<string[]> {
  if (digests.length === 0) return [];
  const rows = await db.selectFrom('foreign_file').select('digest').where('mac_id', '=', macId).where('digest', 'in', digests).execute();
  return rows.map((row) => row.digest);
}

export const foreignFilesOf = (db: Db, macId: string): Promise<Tables['foreign_file'][]> =>
  db.selectFrom('foreign_file').selectAll().where('mac_id', '=', macId).orderBy('last_seen_at', 'desc').execute();

/** All that are known, those that are retired among them. */
export const countMacs = async (db: Db): Promise<number> =>
  (
    await db
      .selectFrom('mac')
      .select((e) => e.fn.countAll<number>().as('n'))
      .executeTakeFirstOrThrow()
  ).n;
