import { type Kysely, sql } from 'kysely';

/**
 * Living beside an MDM that escrows: keys that others brought, events and commands of the MDM, and Macs on their way from
 * its payload to ours. Times are milliseconds of the server's clock, flags 0 or 1. No key is kept in plain.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  // 1: came without the Mac's own identity and has not been proved. Never shown, never a grant to change a key, and no doubt about another key.
  await db.schema
    .alterTable('key_record')
    .addColumn('unverified', 'integer', (c) => c.notNull().defaultTo(0).check(sql`unverified in (0, 1)`))
    .execute();

  // Of what others said of Macs that are none of ours yet, each in its own words is one: `mac_id` cannot tell them apart.
  await sql`drop index alarm_one_open`.execute(db);
  await sql`create unique index alarm_one_open on alarm (
    coalesce(mac_id, ''), code,
    case when mac_id is null and (substr(code, 1, 4) = 'MDM_' or code = 'ENVELOPE_REUSED') then detail else '' end
  ) where judged_at is null`.execute(db);

  await db.schema
    .createTable('import_run')
    .addColumn('id', 'text', (c) => c.primaryKey())
    // `csv`, a product's export, or a connector: what the mapping was made for.
    .addColumn('source', 'text', (c) => c.notNull())
    .addColumn('name', 'text', (c) => c.notNull())
    // SHA-256 of the file: the same file again goes on with the same run. Null for what is no file.
    .addColumn('digest', 'text')
    // JSON: which column is what.
    .addColumn('mapping', 'text', (c) => c.notNull())
    .addColumn('actor', 'text', (c) => c.notNull())
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('started_at', 'integer', (c) => c.notNull())
    .addColumn('ended_at', 'integer')
    .addColumn('withdrawn_at', 'integer')
    .execute();
  await db.schema.createIndex('import_run_digest').on('import_run').column('digest').execute();
  // What became of each line: nothing is passed over in silence, and a run that was cut goes on where it was.
  await db.schema
    .createTable('import_line')
    .addColumn('run_id', 'text', (c) => c.notNull().references('import_run.id'))
    .addColumn('line', 'integer', (c) => c.notNull())
    .addColumn('serial', 'text')
    .addColumn('fate', 'text', (c) => c.notNull())
    .addColumn('because', 'text', (c) => c.notNull())
    .addColumn('key_id', 'text')
    .addPrimaryKeyConstraint('import_line_key', ['run_id', 'line'])
    .execute();

  // A key that somebody else had, for a serial number: it waits for its Mac, and becomes a record there.
  await db.schema
    .createTable('brought_key')
    .addColumn('id', 'text', (c) => c.primaryKey())
    // As Macs say it: capitals.
    .addColumn('serial', 'text', (c) => c.notNull())
    // CMS, sealed to an escrow certificate of ours, and its SHA-256; null once it was withdrawn or destroyed.
    .addColumn('bytes', 'blob')
    .addColumn('envelope_id', 'text', (c) => c.notNull())
    .addColumn('recipient', 'text', (c) => c.notNull())
    // HMAC of the key, as in key_record; null while nobody has opened it.
    .addColumn('fingerprint', 'text')
    // HMAC over what this row says, under a secret outside the database.
    .addColumn('row_mac', 'text', (c) => c.notNull())
    .addColumn('source', 'text', (c) => c.notNull())
    .addColumn('trust', 'text', (c) => c.notNull().check(sql`trust in ('admin', 'mdm', 'device', 'header', 'none')`))
    .addColumn('run_id', 'text')
    // When its source says that it was escrowed: a claim.
    .addColumn('made_at', 'integer')
    .addColumn('brought_at', 'integer', (c) => c.notNull())
    .addColumn('brought_by', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull().check(sql`state in ('waiting', 'aside', 'offered', 'known', 'refuted', 'withdrawn')`))
    .addColumn('state_at', 'integer', (c) => c.notNull())
    .addColumn('state_because', 'text', (c) => c.notNull())
    .addColumn('mac_id', 'text')
    .addColumn('record_id', 'text')
    .addColumn('disclosed_at', 'integer')
    .execute();
  await db.schema.createIndex('brought_key_serial').on('brought_key').columns(['serial', 'state']).execute();
  // How many wait for Macs that nobody has heard of is counted while somebody floods it: not by a walk over all the envelopes.
  await db.schema.createIndex('brought_key_state').on('brought_key').columns(['state', 'mac_id', 'trust']).execute();
  await db.schema.createIndex('brought_key_run').on('brought_key').column('run_id').execute();
  await db.schema.createIndex('brought_key_record').on('brought_key').column('record_id').execute();
  await db.schema.createIndex('brought_key_envelope').on('brought_key').column('envelope_id').execute();
  // Whether a key is another Mac's is asked of all of them.
  await sql`create index brought_key_fingerprint on brought_key (fingerprint) where fingerprint is not null`.execute(db);
  await sql`create index key_record_any_fingerprint on key_record (fingerprint) where fingerprint is not null`.execute(db);
  await sql`create unique index brought_key_once on brought_key (serial, fingerprint) where fingerprint is not null and state <> 'withdrawn'`.execute(db);

  // What an MDM calls a Mac.
  await db.schema
    .createTable('mdm_device')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('server', 'text', (c) => c.notNull())
    .addColumn('udid', 'text')
    .addColumn('serial', 'text')
    .addColumn('first_seen_at', 'integer', (c) => c.notNull())
    .addColumn('last_seen_at', 'integer', (c) => c.notNull())
    .addColumn('checked_out_at', 'integer')
    // JSON: what SecurityInfo said last, without keys.
    .addColumn('security', 'text')
    .addColumn('security_at', 'integer')
    .execute();
  await db.schema.createIndex('mdm_device_serial').on('mdm_device').column('serial').execute();
  // Events that were taken, until their window is over: the same one again says nothing new.
  await db.schema
    .createTable('mdm_event')
    .addColumn('digest', 'text', (c) => c.primaryKey())
    .addColumn('received_at', 'integer', (c) => c.notNull())
    .execute();
  await db.schema.createIndex('mdm_event_received').on('mdm_event').column('received_at').execute();
  await db.schema
    .createTable('mdm_command')
    .addColumn('uuid', 'text', (c) => c.primaryKey())
    .addColumn('device_id', 'text', (c) => c.notNull().references('mdm_device.id'))
    .addColumn('kind', 'text', (c) => c.notNull().check(sql`kind in ('security-info', 'device-information', 'rotate')`))
    .addColumn('because', 'text', (c) => c.notNull())
    .addColumn('actor', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull().check(sql`state in ('waiting', 'sent', 'not-now', 'done', 'failed')`))
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addColumn('next_at', 'integer', (c) => c.notNull())
    .addColumn('tries', 'integer', (c) => c.notNull().defaultTo(0))
    .addColumn('sent_at', 'integer')
    .addColumn('ended_at', 'integer')
    .addColumn('error', 'text')
    // The key it was sent with, and to what the reply is sealed: a certificate of a day and its private key, sealed, gone with the answer.
    .addColumn('record_id', 'text')
    .addColumn('brought_id', 'text')
    // 1: an admin takes it on himself that nobody is typing the key that was shown before this was asked for.
    .addColumn('override_hold', 'integer', (c) => c.notNull().defaultTo(0).check(sql`override_hold in (0, 1)`))
    .addColumn('reply_certificate', 'blob')
    .addColumn('reply_key', 'blob')
    .execute();
  await db.schema.createIndex('mdm_command_device').on('mdm_command').columns(['device_id', 'kind', 'created_at']).execute();
  await sql`create index mdm_command_open on mdm_command (next_at) where state in ('waiting', 'sent', 'not-now')`.execute(db);
  await sql`create unique index mdm_command_one on mdm_command (device_id, kind) where state in ('waiting', 'sent', 'not-now')`.execute(db);

  // C6: since when the MDM's copy of the key is an old one.
  await db.schema
    .createTable('mdm_copy')
    .addColumn('mac_id', 'text', (c) => c.primaryKey().references('mac.id'))
    .addColumn('old_since', 'integer', (c) => c.notNull())
    .addColumn('because', 'text', (c) => c.notNull())
    .addColumn('refreshed_at', 'integer')
    .addColumn('refreshed_by', 'text')
    .execute();
  // What only a person can do, where the MDM replaces keys and has no way to be asked by us.
  await db.schema
    .createTable('mdm_task')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('serial', 'text', (c) => c.notNull())
    .addColumn('mac_id', 'text')
    .addColumn('kind', 'text', (c) => c.notNull().check(sql`kind in ('rotate')`))
    .addColumn('because', 'text', (c) => c.notNull())
    .addColumn('opened_at', 'integer', (c) => c.notNull())
    .addColumn('due_at', 'integer', (c) => c.notNull())
    .addColumn('closed_at', 'integer')
    .addColumn('closed_by', 'text')
    .addColumn('closed_because', 'text')
    .execute();
  await sql`create unique index mdm_task_one on mdm_task (serial, kind) where closed_at is null`.execute(db);

  // Macs that go together from the MDM's escrow payload to ours.
  await db.schema
    .createTable('ring')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('name', 'text', (c) => c.notNull().unique())
    .addColumn('state', 'text', (c) => c.notNull().check(sql`state in ('planned', 'moving', 'moved', 'rolled-back')`))
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addColumn('created_by', 'text', (c) => c.notNull())
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('started_at', 'integer')
    .addColumn('ended_at', 'integer')
    .execute();
  await db.schema
    .createTable('ring_mac')
    .addColumn('ring_id', 'text', (c) => c.notNull().references('ring.id'))
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('state', 'text', (c) => c.notNull().check(sql`state in ('planned', 'waiting', 'proving', 'moved', 'rolled-back', 'left')`))
    .addColumn('state_at', 'integer', (c) => c.notNull())
    .addColumn('because', 'text', (c) => c.notNull())
    .addColumn('order_id', 'text')
    .addPrimaryKeyConstraint('ring_mac_key', ['ring_id', 'mac_id'])
    .execute();
  await sql`create unique index ring_mac_one on ring_mac (mac_id) where state in ('planned', 'waiting', 'proving')`.execute(db);

  await db.schema
    .createTable('connector')
    .addColumn('name', 'text', (c) => c.primaryKey())
    // JSON: where its reading stands.
    .addColumn('cursor', 'text')
    .addColumn('started_at', 'integer')
    .addColumn('ended_at', 'integer')
    .addColumn('next_at', 'integer', (c) => c.notNull())
    // JSON: figures of the last run; and its problem, in words, or null.
    .addColumn('figures', 'text')
    .addColumn('problem', 'text')
    .execute();
  // What a product lists, and when its key was read there: each reading is a view in that product's own audit.
  await db.schema
    .createTable('connector_mac')
    .addColumn('connector', 'text', (c) => c.notNull())
    // As the product calls it.
    .addColumn('device_id', 'text', (c) => c.notNull())
    .addColumn('serial', 'text', (c) => c.notNull())
    .addColumn('listed_at', 'integer', (c) => c.notNull())
    .addColumn('read_at', 'integer')
    .addColumn('answer', 'text', (c) => c.check(sql`answer in ('key', 'none', 'forbidden', 'unreadable', 'failed')`))
    // When the product was asked to fetch the key from the Mac, and to have it replaced.
    .addColumn('refresh_asked_at', 'integer')
    .addColumn('rotate_asked_at', 'integer')
    .addPrimaryKeyConstraint('connector_mac_key', ['connector', 'device_id'])
    .execute();
  await db.schema.createIndex('connector_mac_serial').on('connector_mac').column('serial').execute();
}
