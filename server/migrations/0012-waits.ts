import type { Kysely } from 'kysely';

/** Times are milliseconds of the server's clock. */
export async function up(db: Kysely<unknown>): Promise<void> {
  // JSON: in the agent's words why it has not done what it owes, since when, and whether that does not pass by itself. Null: it owes nothing.
  await db.schema.alterTable('mac').addColumn('waits', 'text').execute();
}
