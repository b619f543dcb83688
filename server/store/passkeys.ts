import type { Kysely, Selectable } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type PasskeyRow = Selectable<Tables['passkey']>;

export const passkeyById = async (db: Db, id: string): Promise<PasskeyRow | null> =>
  (await db.selectFrom('passkey').selectAll().where('id', '=', id).executeTakeFirst()) ?? null;

export const passkeysOf = (db: Db, personId: string): Promise<PasskeyRow[]> =>
  db.selectFrom('passkey').selectAll().where('person_id', '=', personId).orderBy('created_at').execute();

export const insertPasskey = async (tx: Tx, passkey: PasskeyRow): Promise<void> => void (await tx.insertInto('passkey').values(passkey).execute());

export const passkeyUsed = async (tx: Tx, id: string, counter: number, at: number): Promise<void> =>
  void (await tx.updateTable('passkey').set({ counter, last_used_at: at }).where('id', '=', id).execute());

/** True where it was this person's, and is gone now. */
export async function removePasskey(tx: Tx, personId: string, id: string): Promise<boolean> {
  const gone = await tx.deleteFrom('passkey').where('id', '=', id).where('person_id', '=', personId).executeTakeFirst();
  return gone.numDeletedRows > 0n;
}

/** How many there were. */
export async function removePasskeysOf(tx: Tx, personId: string): Promise<number> {
  const gone = await tx.deleteFrom('passkey').where('person_id', '=', personId).executeTakeFirst();
  return Number(gone.numDeletedRows);
}
