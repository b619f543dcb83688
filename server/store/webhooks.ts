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

export async function updateWebhook(tx: Tx, name: string, change: Partial<WebhookRow>): Promise<void> {
  await tx.updateTable('webhook_state').set(change).where('name', '=', name).execute();
}

/** The least that every one of these hooks has taken; null where one of them has not begun. */
export async function leastTaken(db: Kysely<Tables>, names: readonly string[]): Promise<number | null> {
  const rows = (await webhookStates(db)).filter(({ name }) => names.includes(name));
  return rows.length < names.length ? null : Math.min(...rows.map(({ after_seq: seq }) => seq));
}
