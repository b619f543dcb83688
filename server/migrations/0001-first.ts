import { type Kysely, sql } from 'kysely';

/**
 * The first shape. Times are milliseconds of the server's clock. Nothing but retention removes a key: there is no cascade
 * from a Mac or an enrolment to its keys. Invariants that must hold whatever the code does are constraints here.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  // The server's own memory: high-water mark of its clock, its id, marks of backup and restore.
  await db.schema
    .createTable('memory')
    .addColumn('name', 'text', (c) => c.primaryKey())
    .addColumn('value', 'text', (c) => c.notNull())
    .execute();

  await db.schema
    .createTable('mac')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('serial', 'text', (c) => c.notNull())
    // 1: a device certificate proved the serial. 0: it is a claim, and `subject` is what was proved.
    .addColumn('serial_proved', 'integer', (c) => c.notNull().check(sql`serial_proved in (0, 1)`))
    .addColumn('subject', 'text')
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addColumn('last_seen_at', 'integer')
    // The volume of the last check-in: custody is computed for it.
    .addColumn('present_volume', 'text')
    .addColumn('hardware_uuid', 'text', (c) => c.notNull())
    .addColumn('owner', 'text')
    // The facts of the last check-in, JSON.
    .addColumn('facts', 'text')
    // The rotation that the agent itself named at its last check-in, JSON; null where it has none.
    .addColumn('agent_rotation', 'text')
    // R9, and for which volume.
    .addColumn('exhausted_at', 'integer')
    .addColumn('exhausted_volume', 'text')
    // When macOS's escrow file was seen to be another one than before, without a rotation of ours that explains it.
    .addColumn('escrow_changed_at', 'integer')
    // Deliveries that could not be read, to stop a guessing device: how many since an admin looked last.
    .addColumn('unreadable_since', 'integer')
    .addColumn('unreadable_count', 'integer', (c) => c.notNull().defaultTo(0))
    .execute();
  await db.schema.createIndex('mac_serial').on('mac').column('serial').execute();
  await db.schema.createIndex('mac_hardware').on('mac').column('hardware_uuid').execute();
  // One Mac per proved serial; claims may be many.
  await sql`create unique index mac_serial_proved on mac (serial) where serial_proved = 1`.execute(db);

  await db.schema
    .createTable('enrolment')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('way', 'text', (c) => c.notNull().check(sql`way in ('profile', 'tls', 'direct', 'ticket')`))
    // SHA-256 of the SubjectPublicKeyInfo, and the key itself (DER): the same key again is the same enrolment.
    .addColumn('public_key_digest', 'text', (c) => c.notNull().unique())
    .addColumn('public_key', 'blob', (c) => c.notNull())
    .addColumn('serial', 'text', (c) => c.notNull())
    .addColumn('hardware_uuid', 'text', (c) => c.notNull())
    // Statement and proof are kept for ever: a separate opener checks them itself.
    .addColumn('statement', 'text', (c) => c.notNull())
    .addColumn('proof', 'blob', (c) => c.notNull())
    // The certificate of the profile that proved it (DER), where there was one.
    .addColumn('profile_certificate', 'blob')
    .addColumn('profile_not_after', 'integer')
    .addColumn('ticket_id', 'text')
    .addColumn('continues', 'text')
    .addColumn('status', 'text', (c) => c.notNull().check(sql`status in ('active', 'replaced', 'revoked')`))
    .addColumn('status_because', 'text')
    .addColumn('status_at', 'integer')
    // An older enrolment of a Mac that was set up again becomes `replaced` at this time, unless it checks in before.
    .addColumn('replaced_after', 'integer')
    // 1: grants may be given for keys that it has not delivered or proved itself.
    .addColumn('confirmed', 'integer', (c) => c.notNull().check(sql`confirmed in (0, 1)`))
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addColumn('last_seen_at', 'integer')
    .execute();
  await db.schema.createIndex('enrolment_mac').on('enrolment').column('mac_id').execute();

  // The boot sessions of an enrolment: one that comes back after another is a clone.
  await db.schema
    .createTable('session')
    .addColumn('enrolment_id', 'text', (c) => c.notNull().references('enrolment.id'))
    .addColumn('boot', 'text', (c) => c.notNull())
    // Server times, reckoned by uptime, at which macOS started and at which the job first ran: the session start.
    .addColumn('booted_at', 'integer', (c) => c.notNull())
    .addColumn('session_start', 'integer', (c) => c.notNull())
    .addColumn('first_seen_at', 'integer', (c) => c.notNull())
    .addColumn('last_seen_at', 'integer', (c) => c.notNull())
    .addPrimaryKeyConstraint('session_key', ['enrolment_id', 'boot'])
    .execute();
  // Each public key that an enrolment ever had, with what proved it: kept for ever, also when the enrolment goes on with another key.
  await db.schema
    .createTable('enrolment_proof')
    .addColumn('public_key_digest', 'text', (c) => c.primaryKey())
    .addColumn('enrolment_id', 'text', (c) => c.notNull().references('enrolment.id'))
    .addColumn('public_key', 'blob', (c) => c.notNull())
    .addColumn('way', 'text', (c) => c.notNull())
    .addColumn('statement', 'text', (c) => c.notNull())
    .addColumn('proof', 'blob', (c) => c.notNull())
    // The signature by the key before it, where this one goes on with the enrolment.
    .addColumn('continuation', 'text')
    .addColumn('accepted_at', 'integer', (c) => c.notNull())
    .execute();

  await db.schema
    .createTable('certificate')
    // SHA-256 of the DER.
    .addColumn('digest', 'text', (c) => c.primaryKey())
    .addColumn('enrolment_id', 'text', (c) => c.notNull().references('enrolment.id'))
    .addColumn('der', 'blob', (c) => c.notNull())
    .addColumn('issued_at', 'integer', (c) => c.notNull())
    .addColumn('not_after', 'integer', (c) => c.notNull())
    .addColumn('first_used_at', 'integer')
    .addColumn('status', 'text', (c) => c.notNull().check(sql`status in ('active', 'replaced')`))
    .execute();
  await db.schema.createIndex('certificate_enrolment').on('certificate').column('enrolment_id').execute();

  // Certificates of device CAs that must not be accepted any more: by issuer digest and serial number.
  await db.schema
    .createTable('revoked_certificate')
    .addColumn('digest', 'text', (c) => c.primaryKey())
    .addColumn('revoked_at', 'integer', (c) => c.notNull())
    .addColumn('because', 'text', (c) => c.notNull())
    .execute();

  // Nonces are authenticated, not stored; only the spent ones are, until they would have expired anyway.
  await db.schema
    .createTable('spent_nonce')
    .addColumn('digest', 'text', (c) => c.primaryKey())
    .addColumn('expires_at', 'integer', (c) => c.notNull())
    .execute();

  await db.schema
    .createTable('ticket')
    .addColumn('id', 'text', (c) => c.primaryKey())
    // The ticket itself, sealed under a secret outside the database: the HMAC proof needs it in plain.
    .addColumn('sealed', 'blob', (c) => c.notNull())
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addColumn('created_by', 'text', (c) => c.notNull())
    .addColumn('expires_at', 'integer', (c) => c.notNull())
    .addColumn('ended_at', 'integer')
    .execute();
  await db.schema
    .createTable('ticket_serial')
    .addColumn('ticket_id', 'text', (c) => c.notNull().references('ticket.id'))
    .addColumn('serial', 'text', (c) => c.notNull())
    .addColumn('used_at', 'integer')
    .addColumn('hardware_uuid', 'text')
    // An admin's click: this serial may enrol once more although it was enrolled before.
    .addColumn('allowed_at', 'integer')
    .addPrimaryKeyConstraint('ticket_serial_key', ['ticket_id', 'serial'])
    .execute();

  // One key of one volume of one Mac.
  await db.schema
    .createTable('key_record')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('hardware_uuid', 'text', (c) => c.notNull())
    .addColumn('volume', 'text', (c) => c.notNull())
    // HMAC of the key under a secret outside the database; null while nobody has opened it.
    .addColumn('fingerprint', 'text')
    .addColumn('state', 'text', (c) => c.notNull().check(sql`state in ('candidate', 'held', 'superseded', 'quarantined', 'destroyed')`))
    .addColumn('source', 'text', (c) => c.notNull())
    .addColumn('enrolment_id', 'text')
    .addColumn('rotation_id', 'text')
    // Order of arrival, which decides nothing; K3 compares with the time of begin.
    .addColumn('received_at', 'integer', (c) => c.notNull())
    .addColumn('opened', 'integer', (c) => c.notNull().defaultTo(0))
    .addColumn('state_at', 'integer', (c) => c.notNull())
    .addColumn('state_because', 'text', (c) => c.notNull())
    .addColumn('proved_at', 'integer')
    .addColumn('proved_by', 'text')
    .addColumn('disclosed_at', 'integer')
    // K8: the first `false` of two, and the time from which the record counts as refuted.
    .addColumn('first_false_at', 'integer')
    .addColumn('first_false_run', 'text')
    .addColumn('refuted_at', 'integer')
    .addColumn('legal_hold', 'integer', (c) => c.notNull().defaultTo(0))
    .execute();
  await db.schema.createIndex('key_record_mac').on('key_record').columns(['mac_id', 'volume']).execute();
  await sql`create unique index key_record_one_held on key_record (mac_id, volume) where state = 'held'`.execute(db);
  await sql`create unique index key_record_fingerprint on key_record (mac_id, volume, fingerprint) where fingerprint is not null and state <> 'quarantined'`.execute(
    db,
  );

  await db.schema
    .createTable('envelope')
    // SHA-256 of the bytes.
    .addColumn('id', 'text', (c) => c.notNull())
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('record_id', 'text', (c) => c.notNull().references('key_record.id'))
    // Null once destroyed (K9).
    .addColumn('bytes', 'blob')
    // SHA-256 of the escrow certificate (DER).
    .addColumn('recipient', 'text', (c) => c.notNull())
    .addColumn('source', 'text', (c) => c.notNull())
    .addColumn('made_at', 'integer', (c) => c.notNull())
    .addColumn('received_at', 'integer', (c) => c.notNull())
    .addColumn('readable', 'text', (c) => c.notNull().check(sql`readable in ('yes', 'no', 'not-tried')`))
    .addColumn('enrolment_id', 'text')
    .addColumn('rotation_id', 'text')
    .addColumn('validated', 'text', (c) => c.notNull().check(sql`validated in ('true', 'false', 'unknown')`))
    // HMAC over Mac, volume, record and envelope id under a secret outside the database.
    .addColumn('row_mac', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('envelope_key', ['mac_id', 'id'])
    .execute();
  await db.schema.createIndex('envelope_record').on('envelope').column('record_id').execute();
  await db.schema.createIndex('envelope_readable').on('envelope').column('readable').execute();

  // An encryptedKey block seen in another envelope, or under another Mac, is never opened.
  await db.schema
    .createTable('key_block')
    .addColumn('digest', 'text', (c) => c.primaryKey())
    .addColumn('mac_id', 'text', (c) => c.notNull())
    .addColumn('envelope_id', 'text', (c) => c.notNull())
    .execute();

  // K0: somebody else's envelope is known by digest and recipient only.
  await db.schema
    .createTable('foreign_file')
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('digest', 'text', (c) => c.notNull())
    .addColumn('recipient', 'text')
    .addColumn('first_seen_at', 'integer', (c) => c.notNull())
    .addColumn('last_seen_at', 'integer', (c) => c.notNull())
    .addPrimaryKeyConstraint('foreign_file_key', ['mac_id', 'digest'])
    .execute();

  await db.schema
    .createTable('debt')
    // The agent's id where the agent saw the cause, so that a repeat is the same debt.
    .addColumn('id', 'text', (c) => c.notNull())
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('volume', 'text', (c) => c.notNull())
    .addColumn('because', 'text', (c) => c.notNull())
    // The key that it is owed for; null where the server does not know that key (yet).
    .addColumn('record_id', 'text')
    .addColumn('order_id', 'text')
    .addColumn('opened_at', 'integer', (c) => c.notNull())
    .addColumn('closed_at', 'integer')
    .addColumn('closed_by', 'text')
    .addPrimaryKeyConstraint('debt_key', ['mac_id', 'id'])
    .execute();

  await sql`create index debt_open on debt (mac_id, volume) where closed_at is null`.execute(db);

  await db.schema
    .createTable('rotation_order')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('actor', 'text', (c) => c.notNull())
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addColumn('expires_at', 'integer', (c) => c.notNull())
    .addColumn('without_login', 'integer', (c) => c.notNull().defaultTo(0))
    .addColumn('override_hold', 'integer', (c) => c.notNull().defaultTo(0))
    .addColumn('state', 'text', (c) => c.notNull().check(sql`state in ('waiting', 'done', 'expired', 'withdrawn')`))
    .addColumn('ended_at', 'integer')
    .execute();
  await db.schema.createIndex('rotation_order_state').on('rotation_order').columns(['state', 'expires_at']).execute();

  await db.schema
    .createTable('rotation')
    .addColumn('id', 'text', (c) => c.notNull())
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('volume', 'text', (c) => c.notNull())
    .addColumn('enrolment_id', 'text', (c) => c.notNull())
    .addColumn('because', 'text', (c) => c.notNull())
    .addColumn('boot', 'text', (c) => c.notNull())
    .addColumn('escrow_payload', 'text', (c) => c.notNull())
    .addColumn('recipient', 'text', (c) => c.notNull())
    .addColumn('begun_at', 'integer', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull().check(sql`state in ('begun', 'done', 'not-changed', 'not-known', 'exhausted')`))
    .addColumn('ended_at', 'integer')
    .addColumn('ended_because', 'text')
    .addPrimaryKeyConstraint('rotation_key', ['mac_id', 'id'])
    .execute();
  await db.schema.createIndex('rotation_state').on('rotation').column('state').execute();
  await sql`create unique index rotation_one_open on rotation (mac_id) where state = 'begun'`.execute(db);

  // One row per view. An episode is a disclosure with those that follow it until the hold has ended.
  await db.schema
    .createTable('disclosure')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('volume', 'text', (c) => c.notNull())
    .addColumn('record_id', 'text', (c) => c.notNull())
    .addColumn('actor', 'text', (c) => c.notNull())
    // Whom it was shown for: the Mac's user, where that is known.
    .addColumn('person', 'text')
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('at', 'integer', (c) => c.notNull())
    .addColumn('shown', 'integer', (c) => c.notNull())
    .addColumn('hold_ended_at', 'integer')
    .addColumn('hold_ended_because', 'text')
    .execute();
  await sql`create index disclosure_on_hold on disclosure (mac_id, volume) where hold_ended_at is null`.execute(db);
  await db.schema.createIndex('disclosure_mac').on('disclosure').columns(['mac_id', 'at']).execute();

  await db.schema
    .createTable('proof_order')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('record_id', 'text', (c) => c.notNull())
    .addColumn('because', 'text', (c) => c.notNull())
    .addColumn('created_at', 'integer', (c) => c.notNull())
    // A newly enrolled fleet is asked one by one.
    .addColumn('not_before', 'integer', (c) => c.notNull())
    .addColumn('ended_at', 'integer')
    .execute();
  await db.schema.createIndex('proof_order_record').on('proof_order').column('record_id').execute();
  await sql`create index proof_order_open on proof_order (mac_id) where ended_at is null`.execute(db);
  // Every answer that a Mac gave, as it gave it.
  await db.schema
    .createTable('proof')
    .addColumn('id', 'text', (c) => c.notNull())
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('record_id', 'text', (c) => c.notNull())
    .addColumn('enrolment_id', 'text', (c) => c.notNull())
    .addColumn('answer', 'text', (c) => c.notNull())
    .addColumn('settled', 'integer', (c) => c.notNull())
    .addColumn('boot', 'text', (c) => c.notNull())
    // When macOS answered, in the server's time, reckoned by uptime.
    .addColumn('at', 'integer', (c) => c.notNull())
    .addPrimaryKeyConstraint('proof_key', ['mac_id', 'id'])
    .execute();
  await db.schema.createIndex('proof_record').on('proof').column('record_id').execute();

  await db.schema
    .createTable('grant_given')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('enrolment_id', 'text', (c) => c.notNull())
    .addColumn('purpose', 'text', (c) => c.notNull().check(sql`purpose in ('rotate', 'resolve', 'prove')`))
    .addColumn('for_id', 'text', (c) => c.notNull())
    .addColumn('record_id', 'text', (c) => c.notNull())
    .addColumn('boot', 'text', (c) => c.notNull())
    // SHA-256 of the public key of the run: a repeated begin with it within 5 min gives the same answer.
    .addColumn('key_digest', 'text', (c) => c.notNull())
    .addColumn('at', 'integer', (c) => c.notNull())
    .execute();
  await db.schema.createIndex('grant_at').on('grant_given').column('at').execute();
  await db.schema.createIndex('grant_mac').on('grant_given').columns(['mac_id', 'at']).execute();

  await db.schema
    .createTable('alarm')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('mac_id', 'text')
    .addColumn('code', 'text', (c) => c.notNull())
    .addColumn('detail', 'text', (c) => c.notNull())
    .addColumn('opened_at', 'integer', (c) => c.notNull())
    .addColumn('judged_at', 'integer')
    .addColumn('judged_by', 'text')
    .addColumn('judgement', 'text')
    .execute();
  await db.schema.createIndex('alarm_mac').on('alarm').columns(['mac_id', 'code']).execute();
  await sql`create unique index alarm_one_open on alarm (coalesce(mac_id, ''), code) where judged_at is null`.execute(db);

  // Hash-chained: each row's hash is over its own content and the hash before it.
  await db.schema
    .createTable('audit')
    .addColumn('seq', 'integer', (c) => c.primaryKey())
    .addColumn('at', 'integer', (c) => c.notNull())
    .addColumn('actor', 'text', (c) => c.notNull())
    .addColumn('act', 'text', (c) => c.notNull())
    .addColumn('mac_id', 'text')
    .addColumn('details', 'text', (c) => c.notNull())
    .addColumn('previous', 'text', (c) => c.notNull())
    .addColumn('hash', 'text', (c) => c.notNull())
    .execute();
  await db.schema.createIndex('audit_mac').on('audit').column('mac_id').execute();
}
