import type { Kysely } from 'kysely';
import { sql } from 'kysely';

/** What one person alone does not make weaker, and of which provider a group is. Times are milliseconds of the server's clock. */
export async function up(db: Kysely<unknown>): Promise<void> {
  // A change of a policy that shows keys more easily, and waits for a second person.
  await db.schema
    .createTable('policy_proposal')
    .addColumn('id', 'text', (c) => c.primaryKey())
    // Of a policy that is to be made: the id that it will have.
    .addColumn('policy_id', 'text', (c) => c.notNull())
    // Of the policy when this was proposed; 0: there was none.
    .addColumn('version', 'integer', (c) => c.notNull())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('rank', 'integer', (c) => c.notNull())
    // JSON list; null for all Macs.
    .addColumn('tags', 'text')
    // JSON; null: it ends.
    .addColumn('rules', 'text')
    .addColumn('reason', 'text', (c) => c.notNull())
    // JSON list: what it makes weaker, as it was seen when it was proposed.
    .addColumn('weaker', 'text', (c) => c.notNull())
    .addColumn('proposed_by', 'text', (c) => c.notNull())
    .addColumn('person_id', 'text', (c) => c.notNull().references('person.id'))
    .addColumn('proposed_at', 'integer', (c) => c.notNull())
    .addColumn('expires_at', 'integer', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull().check(sql`state in ('waiting', 'agreed', 'declined', 'withdrawn', 'restored')`))
    .addColumn('decided_at', 'integer')
    .addColumn('decided_by', 'text')
    .addColumn('words', 'text')
    .execute();
  await sql`create index policy_proposal_open on policy_proposal (proposed_at) where state = 'waiting'`.execute(db);

  // The tags that a Mac had before a change by which the rules of showing its key became weaker: what they bring goes on for a time.
  await db.schema
    .createTable('rules_kept')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('at', 'integer', (c) => c.notNull())
    .addColumn('actor', 'text', (c) => c.notNull())
    // Whoever did it, for whom it goes on until somebody else agrees; null: nobody did, such as where a user's groups changed.
    .addColumn('person_id', 'text')
    // JSON list.
    .addColumn('tags', 'text', (c) => c.notNull())
    .addColumn('lifted_at', 'integer')
    .addColumn('lifted_by', 'text')
    .execute();
  await sql`create index rules_kept_open on rules_kept (mac_id, at) where lifted_at is null`.execute(db);

  // Of which provider the group of a role is; null: of any, which is how all were given before.
  await db.schema.alterTable('role_given').addColumn('provider', 'text').execute();

  // When whoever confirmed it had last shown who they are.
  await db.schema.alterTable('device_login').addColumn('fresh_at', 'integer').execute();
}
