import { type Kysely, sql } from 'kysely';

/**
 * Disclosure by admins: what was asked and agreed to, what was seen and is looked at afterwards, codes of the desk for people
 * who cannot sign in, and self-service for many at once. Times are milliseconds of the server's clock, flags 0 or 1.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('disclosure_request')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    // Null: the one that the Mac started from last.
    .addColumn('volume', 'text')
    // Null: the one that would be offered.
    .addColumn('record_id', 'text')
    // 1: a key that was replaced.
    .addColumn('history', 'integer', (c) => c.notNull())
    // As the audit names them; the person also where they asked by a token.
    .addColumn('requester', 'text', (c) => c.notNull())
    .addColumn('person_id', 'text', (c) => c.notNull().references('person.id'))
    // Of a token that stands for a program, which alone may use what it asked; null for people.
    .addColumn('token_id', 'text')
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('ticket', 'text')
    .addColumn('state', 'text', (c) => c.notNull().check(sql`state in ('waiting', 'approved', 'declined', 'expired', 'withdrawn', 'used')`))
    // As the policy had it when it was asked.
    .addColumn('quorum', 'integer', (c) => c.notNull())
    .addColumn('grant_minutes', 'integer', (c) => c.notNull())
    .addColumn('once', 'integer', (c) => c.notNull())
    .addColumn('created_at', 'integer', (c) => c.notNull())
    // Until when it waits.
    .addColumn('expires_at', 'integer', (c) => c.notNull())
    .addColumn('granted_until', 'integer')
    .addColumn('decided_at', 'integer')
    .addColumn('used_at', 'integer')
    .execute();
  await db.schema.createIndex('disclosure_request_mac').on('disclosure_request').columns(['mac_id', 'created_at']).execute();
  await db.schema.createIndex('disclosure_request_person').on('disclosure_request').columns(['person_id', 'created_at']).execute();
  await sql`create index disclosure_request_open on disclosure_request (created_at) where state in ('waiting', 'approved')`.execute(db);

  await db.schema
    .createTable('disclosure_vote')
    .addColumn('request_id', 'text', (c) => c.notNull().references('disclosure_request.id'))
    .addColumn('person_id', 'text', (c) => c.notNull().references('person.id'))
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('vote', 'text', (c) => c.notNull().check(sql`vote in ('yes', 'no')`))
    .addColumn('words', 'text', (c) => c.notNull())
    .addColumn('at', 'integer', (c) => c.notNull())
    .addColumn('way', 'text', (c) => c.notNull().check(sql`way in ('console', 'mail', 'token')`))
    // One person, one vote.
    .addPrimaryKeyConstraint('disclosure_vote_once', ['request_id', 'person_id'])
    .execute();

  // Each view by an admin: what limits count, and when the page of the key hides it.
  await db.schema
    .createTable('admin_view')
    .addColumn('disclosure_id', 'text', (c) => c.primaryKey().references('disclosure.id'))
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('record_id', 'text', (c) => c.notNull())
    .addColumn('person_id', 'text', (c) => c.notNull().references('person.id'))
    .addColumn('token_id', 'text')
    .addColumn('request_id', 'text', (c) => c.references('disclosure_request.id'))
    .addColumn('break_glass', 'integer', (c) => c.notNull())
    .addColumn('history', 'integer', (c) => c.notNull())
    .addColumn('shown_at', 'integer', (c) => c.notNull())
    .addColumn('ends_at', 'integer', (c) => c.notNull())
    // When its admin said that the Mac refused it.
    .addColumn('refused_at', 'integer')
    .execute();
  await db.schema.createIndex('admin_view_person').on('admin_view').columns(['person_id', 'shown_at']).execute();
  await db.schema.createIndex('admin_view_mac').on('admin_view').columns(['mac_id', 'shown_at']).execute();

  await db.schema
    .createTable('disclosure_review')
    .addColumn('disclosure_id', 'text', (c) => c.primaryKey().references('disclosure.id'))
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    // Whose disclosure it was: anybody else may judge it.
    .addColumn('person_id', 'text', (c) => c.notNull().references('person.id'))
    .addColumn('due_at', 'integer', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull().check(sql`state in ('waiting', 'right', 'wrong')`))
    .addColumn('told_at', 'integer')
    .addColumn('decided_at', 'integer')
    .addColumn('decided_by', 'text')
    .addColumn('words', 'text')
    .execute();
  await sql`create index disclosure_review_open on disclosure_review (due_at) where state = 'waiting'`.execute(db);

  await db.schema
    .createTable('release_code')
    .addColumn('id', 'text', (c) => c.primaryKey())
    // HMAC of the code, under a secret outside the database: whoever reads the database has no code.
    .addColumn('digest', 'text', (c) => c.notNull().unique())
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('person_name', 'text', (c) => c.notNull())
    // How the desk knew who called.
    .addColumn('verified', 'text', (c) => c.notNull())
    .addColumn('made_by', 'text', (c) => c.notNull())
    .addColumn('made_by_person', 'text', (c) => c.notNull().references('person.id'))
    .addColumn('created_at', 'integer', (c) => c.notNull())
    // Two people: good only once a second one has confirmed it.
    .addColumn('second', 'integer', (c) => c.notNull())
    .addColumn('confirmed_by', 'text')
    .addColumn('confirmed_by_person', 'text')
    .addColumn('confirmed_at', 'integer')
    // Of a code that waits to be confirmed: until when it does. Of one that is good: until when it may be typed.
    .addColumn('expires_at', 'integer', (c) => c.notNull())
    // When it was typed, in which browser: SHA-256 of the token in its cookie.
    .addColumn('used_at', 'integer')
    .addColumn('holder', 'text', (c) => c.unique())
    .addColumn('open_until', 'integer')
    .addColumn('ended_at', 'integer')
    .addColumn('ended_because', 'text', (c) => c.check(sql`ended_because in ('withdrawn', 'done', 'policy')`))
    .addColumn('more_time', 'integer', (c) => c.notNull().defaultTo(0))
    .execute();
  await db.schema.createIndex('release_code_created').on('release_code').column('created_at').execute();
  await db.schema.createIndex('release_code_mac').on('release_code').columns(['mac_id', 'created_at']).execute();

  await db.schema
    .createTable('release_view')
    .addColumn('disclosure_id', 'text', (c) => c.primaryKey().references('disclosure.id'))
    .addColumn('release_id', 'text', (c) => c.notNull().references('release_code.id'))
    .addColumn('record_id', 'text', (c) => c.notNull())
    .addColumn('because', 'text', (c) => c.notNull().check(sql`because in ('first', 'again', 'more-time', 'other-key')`))
    .addColumn('shown_at', 'integer', (c) => c.notNull())
    .addColumn('ends_at', 'integer', (c) => c.notNull())
    .addColumn('hidden_at', 'integer')
    .addColumn('refused_at', 'integer')
    .execute();
  await db.schema.createIndex('release_view_release').on('release_view').columns(['release_id', 'shown_at']).execute();

  await db.schema
    .createTable('emergency')
    .addColumn('id', 'text', (c) => c.primaryKey())
    // JSON array: Macs that have one of these, and people of these groups.
    .addColumn('tags', 'text', (c) => c.notNull())
    .addColumn('from_at', 'integer', (c) => c.notNull())
    .addColumn('until_at', 'integer', (c) => c.notNull())
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('asked_by', 'text', (c) => c.notNull())
    .addColumn('asked_by_person', 'text', (c) => c.notNull().references('person.id'))
    .addColumn('asked_at', 'integer', (c) => c.notNull())
    .addColumn('agreed_by', 'text')
    .addColumn('agreed_by_person', 'text')
    .addColumn('agreed_at', 'integer')
    .addColumn('ended_at', 'integer')
    .addColumn('ended_by', 'text')
    // When those who opened it were told what came of it.
    .addColumn('told_at', 'integer')
    .execute();
  await sql`create index emergency_open on emergency (until_at) where told_at is null`.execute(db);

  await db.schema
    .createTable('emergency_view')
    .addColumn('disclosure_id', 'text', (c) => c.primaryKey().references('disclosure.id'))
    .addColumn('emergency_id', 'text', (c) => c.notNull().references('emergency.id'))
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('person_id', 'text', (c) => c.notNull().references('person.id'))
    .addColumn('at', 'integer', (c) => c.notNull())
    .execute();
  await db.schema.createIndex('emergency_view_of').on('emergency_view').columns(['emergency_id', 'at']).execute();
}
