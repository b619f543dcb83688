import { type Kysely, sql } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';
import { firstOf } from './asked.ts';

type Db = Kysely<Tables>;
export type Rotation = Tables['rotation'];

/** The Mac's one open rotation. In the words of the index `rotation_one_open`: by that of the states alone all that are open would be read. */
export const openRotationOf = firstOf((db, macId: string) =>
  db.selectFrom('rotation').selectAll().where('mac_id', '=', macId).where(sql<boolean>`state = 'begun'`),
);

export const rotationById = (db: Db, macId: string, id: string): Promise<Rotation | undefined> =>
  db.selectFrom('rotation').selectAll().where('mac_id', '=', macId).where('id', '=', id).executeTakeFirst();

/** Newest first. */
export const rotationsOf = (db: Db, macId: string, limit: number): Promise<Rotation[]> =>
  db.selectFrom('rotation').selectAll().where('mac_id', '=', macId).orderBy('begun_at', 'desc').limit(limit).execute();

export async function countBegins(db: Db, macId: string, since: number): Promise<number> {
  const row = await db
    .selectFrom('rotation')
    .select((e) => e.fn.countAll<number>().as('count'))
    .where('mac_id', '=', macId)
    .where('begun_at', '>', since)
    .executeTakeFirstOrThrow();
  return row.count;
}

/** A rotation that ended well after `since`: it explains why macOS wrote another escrow file. */
export const rotationDoneSince = firstOf((db, macId: string, since: number) =>
  db.selectFrom('rotation').selectAll().where('mac_id', '=', macId).where('state', '=', 'done').where('ended_at', '>=', since),
);

/** Open for long, and not one envelope of theirs has come. */
export const silentRotations = (db: Db, begunBefore: number): Promise<Rotation[]> =>
  db
    .selectFrom('rotation')
    .selectAll()
    // As it stands in the index.
    .where(sql<boolean>`state = 'begun'`)
    .where('begun_at', '<', begunBefore)
    .where((e) =>
      e.not(
        e.exists(
          e
            .selectFrom('envelope')
            .select('envelope.id')
            .whereRef('envelope.mac_id', '=', 'rotation.mac_id')
            .whereRef('envelope.rotation_id', '=', 'rotation.id'),
        ),
      ),
    )
    .execute();

/** `used` has replaced the key in this boot session already. */
export async function usedInBoot(db: Db, macId: string, boot: string): Promise<boolean> {
  const found = db
    .selectFrom('rotation')
    .select('id')
    .where('mac_id', '=', macId)
    .where('boot', '=', boot)
    .where('because', '=', 'used')
    .where('state', '=', 'done');
  return (await found.executeTakeFirst()) !== undefined;
}

export async function insertRotation(tx: Tx, rotation: Rotation): Promise<void> {
  await tx.insertInto('rotation').values(rotation).execute();
}

export async function endRotation(tx: Tx, macId: string, id: string, state: Exclude<Rotation['state'], 'begun'>, because: string, at: number): Promise<void> {
  await tx
    .updateTable('rotation')
    .set({ state, ended_because: because, ended_at: at })
    .where('mac_id', '=', macId)
    .where('id', '=', id)
    .where('state', '=', 'begun')
    .execute();
}
