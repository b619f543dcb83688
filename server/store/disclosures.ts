import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';
import { question } from './asked.ts';

type Db = Kysely<Tables>;
export type Disclosure = Tables['disclosure'];

/** Those whose hold has not ended, oldest first: the episode. A key that could not be opened was shown to nobody. */
export const episodeOf = question((db, macId: string, volume: string) =>
  db
    .selectFrom('disclosure')
    .selectAll()
    .where('mac_id', '=', macId)
    .where('volume', '=', volume)
    .where('shown', '=', 1)
    .where('hold_ended_at', 'is', null)
    .orderBy('at')
    .orderBy('id'),
);

/** Volumes with a hold that has not been ended in the records. */
export const volumesOnHold = (db: Db): Promise<{ mac_id: string; volume: string }[]> =>
  db.selectFrom('disclosure').select(['mac_id', 'volume']).distinct().where('shown', '=', 1).where('hold_ended_at', 'is', null).execute();

export const volumesOnHoldOf = (db: Db, macId: string): Promise<{ volume: string }[]> =>
  db.selectFrom('disclosure').select('volume').distinct().where('mac_id', '=', macId).where('shown', '=', 1).where('hold_ended_at', 'is', null).execute();

/** Newest first. */
export const disclosuresOf = (db: Db, macId: string): Promise<Disclosure[]> =>
  db.selectFrom('disclosure').selectAll().where('mac_id', '=', macId).orderBy('at', 'desc').execute();

/** False where its envelope did not open. */
export const wasShown = async (db: Db, id: string): Promise<boolean> =>
  (await db.selectFrom('disclosure').select('shown').where('id', '=', id).executeTakeFirst())?.shown === 1;

/** Records of a Mac that somebody has been shown since then. */
export const recordsShownSince = async (db: Db, macId: string, since: number): Promise<string[]> =>
  (await db.selectFrom('disclosure').select('record_id').distinct().where('mac_id', '=', macId).where('shown', '=', 1).where('at', '>', since).execute()).map(
    ({ record_id: recordId }) => recordId,
  );

/** The last one that showed a key; null where none did. */
export async function latestShown(db: Db, macId: string): Promise<string | null> {
  const shown = db.selectFrom('disclosure').select('id').where('mac_id', '=', macId).where('shown', '=', 1);
  return (await shown.orderBy('at', 'desc').limit(1).executeTakeFirst())?.id ?? null;
}

export async function insertDisclosure(tx: Tx, disclosure: Disclosure): Promise<void> {
  await tx.insertInto('disclosure').values(disclosure).execute();
}

export async function markNotShown(tx: Tx, id: string): Promise<void> {
  await tx.updateTable('disclosure').set({ shown: 0 }).where('id', '=', id).execute();
}

export async function endEpisode(tx: Tx, macId: string, volume: string, because: string, at: number): Promise<void> {
  await tx
    .updateTable('disclosure')
    .set({ hold_ended_at: at, hold_ended_because: because })
    .where('mac_id', '=', macId)
    .where('volume', '=', volume)
    .where('hold_ended_at', 'is', null)
    .execute();
}
