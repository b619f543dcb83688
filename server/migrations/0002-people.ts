import { type Kysely, sql } from 'kysely';

/**
 * People and what they may see: who they are, which Macs are theirs, and each view of a key as they met it. Times are
 * milliseconds of the server's clock, flags 0 or 1. No secret is kept in plain: tokens are stored as SHA-256.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('person')
    .addColumn('id', 'text', (c) => c.primaryKey())
    // `local`, or the id of a provider in the settings; with `subject` it says who somebody is.
    .addColumn('provider', 'text', (c) => c.notNull())
    .addColumn('subject', 'text', (c) => c.notNull())
    // Lower case: what assignments name.
    .addColumn('user_name', 'text', (c) => c.notNull())
    .addColumn('email', 'text')
    .addColumn('display_name', 'text', (c) => c.notNull())
    // JSON array, as the provider said at the last sign-in.
    .addColumn('groups', 'text', (c) => c.notNull().defaultTo('[]'))
    .addColumn('language', 'text')
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addColumn('last_seen_at', 'integer')
    // When their provider last said who they are; null for local accounts.
    .addColumn('confirmed_at', 'integer')
    .addColumn('disabled_at', 'integer')
    .addColumn('disabled_because', 'text')
    .addUniqueConstraint('person_subject', ['provider', 'subject'])
    .execute();
  await db.schema.createIndex('person_user_name').on('person').column('user_name').execute();

  await db.schema
    .createTable('local_account')
    .addColumn('person_id', 'text', (c) => c.primaryKey().references('person.id'))
    // Argon2id in the PHC form; null until its person has chosen one.
    .addColumn('password', 'text')
    .addColumn('password_at', 'integer')
    // The code with which its person sets it up: SHA-256, once, until a time.
    .addColumn('setup_digest', 'text')
    .addColumn('setup_expires_at', 'integer')
    // 1: goes on working when sign-in by password or by provider is off or down, by passkey only.
    .addColumn('emergency', 'integer', (c) => c.notNull().defaultTo(0))
    .execute();

  // Failed sign-ins, by name, by network and by both: also of names that there are not, so that waiting tells nobody who exists.
  await db.schema
    .createTable('sign_in_throttle')
    // HMAC of what is counted: people type their passwords into the wrong field.
    .addColumn('key', 'text', (c) => c.primaryKey())
    .addColumn('failures', 'integer', (c) => c.notNull())
    .addColumn('last_at', 'integer', (c) => c.notNull())
    .addColumn('wait_until', 'integer', (c) => c.notNull())
    .execute();
  await db.schema.createIndex('sign_in_throttle_last').on('sign_in_throttle').column('last_at').execute();

  await db.schema
    .createTable('passkey')
    // The credential id, base64url.
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('person_id', 'text', (c) => c.notNull().references('person.id'))
    // COSE.
    .addColumn('public_key', 'blob', (c) => c.notNull())
    .addColumn('counter', 'integer', (c) => c.notNull())
    // JSON array.
    .addColumn('transports', 'text', (c) => c.notNull())
    .addColumn('label', 'text', (c) => c.notNull())
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addColumn('last_used_at', 'integer')
    .execute();
  await db.schema.createIndex('passkey_person').on('passkey').column('person_id').execute();

  await db.schema
    .createTable('web_session')
    .addColumn('id', 'text', (c) => c.primaryKey())
    // SHA-256 of the token in the cookie.
    .addColumn('digest', 'text', (c) => c.notNull().unique())
    .addColumn('person_id', 'text', (c) => c.notNull().references('person.id'))
    // `password`, `passkey`, or the id of a provider.
    .addColumn('way', 'text', (c) => c.notNull())
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addColumn('last_seen_at', 'integer', (c) => c.notNull())
    // When its person last proved who they are; a key asks for a recent one.
    .addColumn('fresh_at', 'integer', (c) => c.notNull())
    .addColumn('network', 'text', (c) => c.notNull())
    .addColumn('browser', 'text', (c) => c.notNull())
    .addColumn('ended_at', 'integer')
    .addColumn('ended_because', 'text')
    .execute();
  await db.schema.createIndex('web_session_person').on('web_session').column('person_id').execute();
  await db.schema.createIndex('web_session_seen').on('web_session').column('last_seen_at').execute();
  await sql`create index web_session_ended on web_session (ended_at) where ended_at is not null`.execute(db);

  // A sign-in that is under way: at a provider, or with a passkey.
  await db.schema
    .createTable('sign_in_flow')
    // SHA-256 of the state, or of the challenge.
    .addColumn('digest', 'text', (c) => c.primaryKey())
    .addColumn('kind', 'text', (c) => c.notNull().check(sql`kind in ('provider', 'passkey', 'new-passkey')`))
    .addColumn('provider', 'text')
    // JSON: what the way back is compared with.
    .addColumn('checks', 'text', (c) => c.notNull())
    .addColumn('then_path', 'text', (c) => c.notNull())
    // Set where somebody who is signed in proves it again: it has to be the same person.
    .addColumn('session_id', 'text')
    .addColumn('person_id', 'text')
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addColumn('expires_at', 'integer', (c) => c.notNull())
    .execute();
  await db.schema.createIndex('sign_in_flow_expires').on('sign_in_flow').column('expires_at').execute();

  // Single-use forms: authenticated, not stored; only the spent ones are, until they would have expired.
  await db.schema
    .createTable('spent_form')
    .addColumn('digest', 'text', (c) => c.primaryKey())
    .addColumn('expires_at', 'integer', (c) => c.notNull())
    .execute();
  await db.schema.createIndex('spent_form_expires').on('spent_form').column('expires_at').execute();

  // Whose it is says this table alone.
  await db.schema.alterTable('mac').dropColumn('owner').execute();
  await db.schema
    .createTable('assignment')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    // Lower case; compared with `person.user_name`.
    .addColumn('user_name', 'text', (c) => c.notNull())
    // The account on the Mac, where it is known: whose return ends the hold.
    .addColumn('account', 'text')
    .addColumn('source', 'text', (c) => c.notNull().check(sql`source in ('profile', 'csv', 'admin')`))
    // The highest rank counts; two people of one rank are two claims.
    .addColumn('rank', 'integer', (c) => c.notNull())
    // `profile`: the enrolment that said so. Until it is confirmed, it says nothing about keys that are not its own.
    .addColumn('enrolment_id', 'text')
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addColumn('created_by', 'text', (c) => c.notNull())
    .addColumn('ended_at', 'integer')
    .addColumn('ended_because', 'text')
    .execute();
  await db.schema.createIndex('assignment_mac').on('assignment').column('mac_id').execute();
  await db.schema.createIndex('assignment_user').on('assignment').column('user_name').execute();
  // Asked at each check-in of a Mac whose profile names somebody.
  await db.schema.createIndex('assignment_enrolment').on('assignment').column('enrolment_id').execute();

  // What an admin has said of a Mac; no row: the organisation's, in use.
  await db.schema
    .createTable('mac_standing')
    .addColumn('mac_id', 'text', (c) => c.primaryKey().references('mac.id'))
    .addColumn('ownership', 'text', (c) => c.notNull().check(sql`ownership in ('organisation', 'personal')`))
    .addColumn('state', 'text', (c) => c.notNull().check(sql`state in ('in-use', 'lost', 'retired')`))
    // 1: it has a local admin that the organisation manages, whose password the service desk has.
    .addColumn('local_admin', 'integer', (c) => c.notNull())
    .addColumn('set_at', 'integer', (c) => c.notNull())
    .addColumn('set_by', 'text', (c) => c.notNull())
    .addColumn('because', 'text', (c) => c.notNull())
    .execute();

  // Where self-service is with approval.
  await db.schema
    .createTable('key_request')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('person_id', 'text', (c) => c.notNull().references('person.id'))
    .addColumn('reason', 'text', (c) => c.notNull())
    // Short, to be read out on the telephone.
    .addColumn('code', 'text', (c) => c.notNull())
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addColumn('expires_at', 'integer', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull().check(sql`state in ('waiting', 'approved', 'refused', 'expired', 'withdrawn')`))
    // The first view under it: an approval is for one episode.
    .addColumn('used_at', 'integer')
    .addColumn('decided_at', 'integer')
    .addColumn('decided_by', 'text')
    .addColumn('words', 'text')
    .execute();
  await db.schema.createIndex('key_request_mac').on('key_request').column('mac_id').execute();
  await db.schema.createIndex('key_request_person').on('key_request').columns(['person_id', 'created_at']).execute();
  await db.schema.createIndex('key_request_code').on('key_request').column('code').execute();
  await sql`create index key_request_open on key_request (expires_at) where state in ('waiting', 'approved')`.execute(db);

  // One time of being locked out: from the first view of a key to its replacement.
  await db.schema
    .createTable('episode')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('volume', 'text', (c) => c.notNull())
    .addColumn('person_id', 'text', (c) => c.notNull().references('person.id'))
    // Short, to be read out on the telephone.
    .addColumn('code', 'text', (c) => c.notNull())
    .addColumn('began_at', 'integer', (c) => c.notNull())
    // 1: its person needs more time, and is offered the next five minutes before the end.
    .addColumn('more_time', 'integer', (c) => c.notNull().defaultTo(0))
    .addColumn('back_in_at', 'integer')
    .addColumn('not_me_at', 'integer')
    // Nothing was heard of the Mac for a day: when that was said.
    .addColumn('unheard_at', 'integer')
    // Its key is replaced, and its last mail is on its way.
    .addColumn('closed_at', 'integer')
    .execute();
  await db.schema.createIndex('episode_mac').on('episode').column('mac_id').execute();
  await db.schema.createIndex('episode_person').on('episode').column('person_id').execute();
  await sql`create index episode_open on episode (began_at) where closed_at is null`.execute(db);

  // A view: one disclosure in a browser, and until when it may be seen.
  await db.schema
    .createTable('key_view')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('episode_id', 'text', (c) => c.notNull().references('episode.id'))
    .addColumn('disclosure_id', 'text', (c) => c.notNull().references('disclosure.id'))
    .addColumn('record_id', 'text', (c) => c.notNull())
    .addColumn('session_id', 'text', (c) => c.notNull())
    // Where it was asked from: what limits count.
    .addColumn('network', 'text', (c) => c.notNull())
    .addColumn('because', 'text', (c) => c.notNull().check(sql`because in ('first', 'again', 'more-time', 'other-key')`))
    .addColumn('shown_at', 'integer', (c) => c.notNull())
    .addColumn('ends_at', 'integer', (c) => c.notNull())
    .addColumn('hidden_at', 'integer')
    .execute();
  await db.schema.createIndex('key_view_episode').on('key_view').column('episode_id').execute();
  await db.schema.createIndex('key_view_disclosure').on('key_view').column('disclosure_id').execute();
  await db.schema.createIndex('key_view_network').on('key_view').columns(['network', 'shown_at']).execute();

  // *It was refused*: evidence against custody, never a proof.
  await db.schema
    .createTable('refusal')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('episode_id', 'text', (c) => c.notNull().references('episode.id'))
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('record_id', 'text', (c) => c.notNull())
    .addColumn('person_id', 'text', (c) => c.notNull())
    .addColumn('at', 'integer', (c) => c.notNull())
    .execute();
  await db.schema.createIndex('refusal_mac').on('refusal').column('mac_id').execute();
  await db.schema.createIndex('refusal_episode').on('refusal').column('episode_id').execute();
  await db.schema.createIndex('refusal_record').on('refusal').column('record_id').execute();

  // A code that somebody reads out on the telephone, so that the service desk finds what they met.
  await db.schema
    .createTable('help_code')
    .addColumn('code', 'text', (c) => c.primaryKey())
    .addColumn('page', 'text', (c) => c.notNull())
    .addColumn('mac_id', 'text')
    .addColumn('person_id', 'text')
    .addColumn('network', 'text', (c) => c.notNull())
    .addColumn('language', 'text', (c) => c.notNull())
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .execute();
  await db.schema.createIndex('help_code_person').on('help_code').columns(['person_id', 'created_at']).execute();
  await db.schema.createIndex('help_code_created').on('help_code').column('created_at').execute();

  await db.schema
    .createTable('mail')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('address', 'text', (c) => c.notNull())
    .addColumn('language', 'text', (c) => c.notNull())
    // JSON: what its words are made with. Never a key, never a link that does something.
    .addColumn('details', 'text', (c) => c.notNull())
    .addColumn('episode_id', 'text')
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addColumn('next_try_at', 'integer', (c) => c.notNull())
    .addColumn('tries', 'integer', (c) => c.notNull().defaultTo(0))
    .addColumn('sent_at', 'integer')
    .addColumn('given_up_at', 'integer')
    .addColumn('last_error', 'text')
    .execute();
  await sql`create index mail_waiting on mail (next_try_at) where sent_at is null and given_up_at is null`.execute(db);
  await db.schema.createIndex('mail_episode').on('mail').column('episode_id').execute();
  // Those that still say something: a month's worth, whatever was ever sent.
  await sql`create index mail_full on mail (created_at) where details <> '{}'`.execute(db);
}
