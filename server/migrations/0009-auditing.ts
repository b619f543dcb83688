import { type Kysely, sql } from 'kysely';

/** Times are milliseconds of the server's clock, flags 0 or 1. */
export async function up(db: Kysely<unknown>): Promise<void> {
  // By which request, from which network and with which token: null where nobody asked over a network, and in all records of before.
  // In the hash only where they are set, so that older records are checked as they were written.
  await db.schema.alterTable('audit').addColumn('request_id', 'text').execute();
  await db.schema.alterTable('audit').addColumn('network', 'text').execute();
  await db.schema.alterTable('audit').addColumn('token_id', 'text').execute();
  // What is searched for; the newest first. That of Macs is there since the first version.
  await db.schema.createIndex('audit_act').on('audit').columns(['act', 'seq']).execute();
  await db.schema.createIndex('audit_actor').on('audit').columns(['actor', 'seq']).execute();
  await db.schema.createIndex('audit_at').on('audit').column('at').execute();

  // Signed statements: up to this record the audit is as this hash says.
  await db.schema
    .createTable('audit_checkpoint')
    // 1, 2, 3 … without a gap.
    .addColumn('number', 'integer', (c) => c.primaryKey())
    // `retained`: the records up to here were taken out into a file, and the table begins after them.
    .addColumn('kind', 'text', (c) => c.notNull().check(sql`kind in ('end', 'retained')`))
    .addColumn('seq', 'integer', (c) => c.notNull())
    .addColumn('hash', 'text', (c) => c.notNull())
    .addColumn('at', 'integer', (c) => c.notNull())
    // How many records the table held up to there.
    .addColumn('rows', 'integer', (c) => c.notNull())
    // SHA-256 of the public key (SubjectPublicKeyInfo, DER).
    .addColumn('key_id', 'text', (c) => c.notNull())
    // SHA-256 of the signed text of the checkpoint before: none can be left out.
    .addColumn('previous', 'text', (c) => c.notNull())
    // Ed25519 over the canonical JSON of everything above, base64.
    .addColumn('signature', 'text', (c) => c.notNull())
    .execute();
  await db.schema.createIndex('audit_checkpoint_seq').on('audit_checkpoint').column('seq').execute();

  // How far each webhook has come. A batch that was begun is sent again as it was, until it is taken.
  await db.schema
    .createTable('webhook_state')
    .addColumn('name', 'text', (c) => c.primaryKey())
    // The last record that was taken, or passed over because the hook does not want its act; and the last checkpoint.
    .addColumn('after_seq', 'integer', (c) => c.notNull())
    .addColumn('after_checkpoint', 'integer', (c) => c.notNull())
    // Of the batch under way: its id, and up to where it goes.
    .addColumn('delivery_id', 'text')
    .addColumn('to_seq', 'integer')
    .addColumn('to_checkpoint', 'integer')
    .addColumn('tries', 'integer', (c) => c.notNull().defaultTo(0))
    .addColumn('first_failed_at', 'integer')
    .addColumn('next_try_at', 'integer')
    .addColumn('last_error', 'text')
    .addColumn('last_taken_at', 'integer')
    .execute();
}
