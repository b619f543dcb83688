import { type Kysely, sql } from 'kysely';

/**
 * Who may do what as an admin: roles that were given, tokens, and sign-ins of programs that wait for a person. Times are
 * milliseconds of the server's clock, flags 0 or 1. No secret is kept in plain: tokens and codes are stored as SHA-256.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('role_given')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('subject_kind', 'text', (c) => c.notNull().check(sql`subject_kind in ('person', 'group')`))
    // The id of a person, or the name of a group as the providers say it.
    .addColumn('subject', 'text', (c) => c.notNull())
    .addColumn('role', 'text', (c) => c.notNull())
    // JSON array of tags, sorted; null: for all Macs.
    .addColumn('scope', 'text')
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addColumn('created_by', 'text', (c) => c.notNull())
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('ended_at', 'integer')
    .addColumn('ended_by', 'text')
    .addColumn('ended_because', 'text')
    .execute();
  // Asked with each request of an admin.
  await sql`create index role_given_open on role_given (subject_kind, subject) where ended_at is null`.execute(db);

  await db.schema
    .createTable('api_token')
    .addColumn('id', 'text', (c) => c.primaryKey())
    // SHA-256 of the token.
    .addColumn('digest', 'text', (c) => c.notNull().unique())
    .addColumn('name', 'text', (c) => c.notNull())
    // Who made it: it never may more than they do.
    .addColumn('person_id', 'text', (c) => c.notNull().references('person.id'))
    // `login`: of the command line, by a person who was there.
    .addColumn('kind', 'text', (c) => c.notNull().check(sql`kind in ('personal', 'service', 'login')`))
    // JSON array of roles with their scopes; null: whatever its person may.
    .addColumn('grants', 'text')
    // When its person last proved who they are, for `login`.
    .addColumn('fresh_at', 'integer')
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addColumn('expires_at', 'integer', (c) => c.notNull())
    // Exact to a minute.
    .addColumn('last_used_at', 'integer')
    .addColumn('last_network', 'text')
    .addColumn('ended_at', 'integer')
    .addColumn('ended_by', 'text')
    .execute();
  await db.schema.createIndex('api_token_person').on('api_token').column('person_id').execute();

  // A program that asks to be let in by a person at a browser.
  await db.schema
    .createTable('device_login')
    .addColumn('id', 'text', (c) => c.primaryKey())
    // SHA-256 of what the program comes back with, and of what the person types.
    .addColumn('device_digest', 'text', (c) => c.notNull().unique())
    .addColumn('user_digest', 'text', (c) => c.notNull().unique())
    // What the program calls its machine: shown to the person, and believed by nobody.
    .addColumn('machine', 'text', (c) => c.notNull())
    .addColumn('network', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull().check(sql`state in ('waiting', 'confirmed', 'refused', 'spent')`))
    .addColumn('person_id', 'text', (c) => c.references('person.id'))
    .addColumn('decided_at', 'integer')
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addColumn('expires_at', 'integer', (c) => c.notNull())
    .execute();
  await db.schema.createIndex('device_login_expires').on('device_login').column('expires_at').execute();

  // Requests that say by a key of their own that they may come twice, for a day.
  await db.schema
    .createTable('repeatable')
    // Id of the token or of the person.
    .addColumn('owner', 'text', (c) => c.notNull())
    .addColumn('key', 'text', (c) => c.notNull())
    // SHA-256 of what was asked.
    .addColumn('digest', 'text', (c) => c.notNull())
    .addColumn('at', 'integer', (c) => c.notNull())
    // `shown`: its reply was for one pair of eyes, and is not kept.
    .addColumn('state', 'text', (c) => c.notNull().check(sql`state in ('begun', 'done', 'shown')`))
    .addColumn('reply', 'text')
    .addPrimaryKeyConstraint('repeatable_key', ['owner', 'key'])
    .execute();
  await db.schema.createIndex('repeatable_at').on('repeatable').column('at').execute();

  // A session is for one site: whoever has got at one of the portal has nothing at the console.
  await db.schema
    .alterTable('web_session')
    .addColumn('site', 'text', (c) => c.notNull().defaultTo('portal'))
    .execute();
  // The host for which an authenticator keeps it (WebAuthn's RP id), for it works at no other; empty for those of before: the portal's.
  await db.schema
    .alterTable('passkey')
    .addColumn('host', 'text', (c) => c.notNull().defaultTo(''))
    .execute();
}
