import { type Kysely, sql } from 'kysely';

/**
 * Indexes for what comes round, and for lists, where a whole table was read for a handful of rows: nothing of that may cost
 * more because the fleet is larger. Of each only the rows that are looked for.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  // Retention reads from the oldest on; nine of ten keys are superseded.
  await sql`create index key_record_superseded on key_record (state_at, id) where state = 'superseded' and legal_hold = 0`.execute(db);
  await sql`create index ring_mac_moving on ring_mac (state_at) where state in ('waiting', 'proving')`.execute(db);
  await sql`create index automatic_rotation_waiting on automatic_rotation (policy_id) where state = 'waiting'`.execute(db);
  await db.schema.createIndex('spent_nonce_expires').on('spent_nonce').column('expires_at').execute();
  await sql`create index mdm_command_reply_key on mdm_command (next_at) where reply_key is not null`.execute(db);
  await sql`create index mdm_command_answered on mdm_command (ended_at) where kind <> 'rotate' and state in ('done', 'failed')`.execute(db);
  // Of a ticket for a whole fleet most serial numbers were used.
  await sql`create index ticket_serial_unused on ticket_serial (ticket_id) where used_at is null`.execute(db);
  await sql`create index admin_view_refused on admin_view (record_id) where refused_at is not null`.execute(db);
  await sql`create index release_view_refused on release_view (record_id) where refused_at is not null`.execute(db);
  await db.schema.createIndex('disclosure_request_created').on('disclosure_request').columns(['created_at', 'id']).execute();
}
