import { type Kysely, sql } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;
export type Mail = Tables['mail'];

export async function insertMail(tx: Tx, mail: Mail): Promise<void> {
  await tx.insertInto('mail').values(mail).execute();
}

export const mailOfEpisode = (db: Db, episodeId: string, kind: string): Promise<Mail | undefined> =>
  db.selectFrom('mail').selectAll().where('episode_id', '=', episodeId).where('kind', '=', kind).executeTakeFirst();

/** Those whose next try has come, the longest waiting first. */
export const dueMails = (db: Db, at: number, most: number): Promise<Mail[]> =>
  db
    .selectFrom('mail')
    .selectAll()
    .where('sent_at', 'is', null)
    .where('given_up_at', 'is', null)
    .where('next_try_at', '<=', at)
    .orderBy('next_try_at')
    .orderBy('id')
    .limit(most)
    .execute();

/** Takes a mail for one try; false where somebody else has taken it, or it is done. */
export async function claimMail(tx: Tx, mail: Pick<Mail, 'id' | 'tries' | 'next_try_at'>, nextTryAt: number): Promise<boolean> {
  const claimed = await tx
    .updateTable('mail')
    .set({ tries: mail.tries + 1, next_try_at: nextTryAt })
    .where('id', '=', mail.id)
    .where('tries', '=', mail.tries)
    .where('next_try_at', '=', mail.next_try_at)
    .where('sent_at', 'is', null)
    .where('given_up_at', 'is', null)
    .executeTakeFirst();
  return claimed.numUpdatedRows > 0n;
}

export async function updateMail(tx: Tx, id: string, values: Partial<Omit<Mail, 'id'>>): Promise<void> {
  await tx.updateTable('mail').set(values).where('id', '=', id).execute();
}

/** What a mail to a person needs to know of them. */
export const addressee = (db: Db, personId: string) =>
  db.selectFrom('person').select(['email', 'language', 'display_name']).where('id', '=', personId).executeTakeFirst();

/** Sent or given up before `before`, and still with what they said. */
export const mailsToEmpty = (db: Db, before: number): Promise<Mail[]> =>
  db
    .selectFrom('mail')
    .selectAll()
    // With the words of the index `mail_full`: SQLite does not take it for a value that comes later.
    .where(sql<boolean>`details <> '{}'`)
    .where((e) => e.or([e('sent_at', '<', before), e('given_up_at', '<', before)]))
    .orderBy('created_at')
    .limit(1000)
    .execute();

/** That it was sent, when and where to, stays. */
export async function emptyMail(tx: Tx, id: string): Promise<void> {
  await tx.updateTable('mail').set({ details: '{}' }).where('id', '=', id).execute();
}
