import type { Kysely } from 'kysely';
import type { AuditingTables } from '../auditing-tables.ts';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

export type WebhookRow = AuditingTables['webhook_state'];

export const webhookState = async (db: Kysely<Tables>, name: string): Promise<WebhookRow | null> =>
  (await db.selectFrom('webhook_state').selectAll().where('name', '=', name).executeTakeFirst()) ?? null;

export const webhookStates = (db: Kysely<Tables>): Promise<WebhookRow[]> => db.selectFrom('webhook_state').selectAll().orderBy('name').execute();

export async function insertWebhook(tx: Tx, row: WebhookRow): Promise<void> {
  await tx.insertInto('webhook_state').values(row).execute();
}

/** False where another backend has moved it meanwhile: what was made of `state` is not to be written then. */
export async function moveWebhook(tx: Tx, { name, after_seq, delivery_id }: WebhookRow, change: Partial<WebhookRow>): Promise<boolean> {
  const moved = await tx
    .updateTable('webhook_state')
    .set(change)
    .where('name', '=', name)
    .where('after_seq', '=', after_seq)
    .where('delivery_id', delivery_id === null ? 'is' : '=', delivery_id)
    .executeTakeFirst();
  return moved.numUpdatedRows > 0n;
}

/** The least that every one of these hooks has taken; null where one of them has not begun. */
export async function leastTaken(db: Kysely<Tables>, names: readonly string[]): Promise<number | null> {
  const rows = (await webhookStates(db)).filter(({ name }) => names.includes(name));
  return rows.length < names.length ? null : Math.min(...rows.map(({ after_seq: seq }) => seq));
}
