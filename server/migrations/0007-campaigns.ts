import type { Kysely } from 'kysely';
import { sql } from 'kysely';

/** Policies, campaigns of replacements, and what is replaced without anybody asking. Times are milliseconds of the server's clock, flags 0 or 1. */
export async function up(db: Kysely<unknown>): Promise<void> {
  // What holds for the Macs that have one of its tags. Of several that say something, the one of the lowest rank.
  await db.schema
    .createTable('policy')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('rank', 'integer', (c) => c.notNull())
    // JSON list; null for all Macs.
    .addColumn('tags', 'text')
    // JSON: one object for each section that it says something of.
    .addColumn('rules', 'text', (c) => c.notNull())
    .addColumn('version', 'integer', (c) => c.notNull())
    .addColumn('created_at', 'integer', (c) => c.notNull())
    .addColumn('created_by', 'text', (c) => c.notNull())
    .addColumn('changed_at', 'integer', (c) => c.notNull())
    .addColumn('changed_by', 'text', (c) => c.notNull())
    // Since when it replaces keys by their age, as it does now: those that are older already are spread over the days after it.
    .addColumn('aged_since', 'integer')
    .addColumn('ended_at', 'integer')
    .execute();
  await db.schema.createIndex('policy_name').unique().on('policy').column('name').where(sql.ref('ended_at'), 'is', null).execute();
  await db.schema.createIndex('policy_rank').unique().on('policy').column('rank').where(sql.ref('ended_at'), 'is', null).execute();
  // Each as it stood, for whoever asks later what held on a day.
  await db.schema
    .createTable('policy_version')
    .addColumn('policy_id', 'text', (c) => c.notNull().references('policy.id'))
    .addColumn('version', 'integer', (c) => c.notNull())
    .addColumn('at', 'integer', (c) => c.notNull())
    .addColumn('actor', 'text', (c) => c.notNull())
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('rank', 'integer', (c) => c.notNull())
    .addColumn('tags', 'text')
    // Null: ended with this version.
    .addColumn('rules', 'text')
    .addPrimaryKeyConstraint('policy_version_key', ['policy_id', 'version'])
    .execute();

  // Keys of many Macs, replaced in waves because an admin wants it.
  await db.schema
    .createTable('campaign')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull().check(sql`state in ('planned', 'running', 'paused', 'done', 'cancelled')`))
    .addColumn('state_at', 'integer', (c) => c.notNull())
    .addColumn('state_by', 'text', (c) => c.notNull())
    .addColumn('state_because', 'text')
    // Who started it: whether they still may is asked again before each wave.
    .addColumn('created_by', 'text', (c) => c.notNull())
    .addColumn('by_kind', 'text', (c) => c.notNull().check(sql`by_kind in ('person', 'token', 'operator')`))
    .addColumn('by_person', 'text')
    .addColumn('by_token', 'text')
    .addColumn('created_at', 'integer', (c) => c.notNull())
    // JSON: which Macs were asked for.
    .addColumn('chosen', 'text', (c) => c.notNull())
    // JSON list of tags: for which Macs whoever started it could order then; null for all.
    .addColumn('scope', 'text')
    .addColumn('from_at', 'integer', (c) => c.notNull())
    .addColumn('per_hour', 'integer', (c) => c.notNull())
    // JSON; null: at any hour.
    .addColumn('quiet', 'text')
    .addColumn('without_login', 'integer', (c) => c.notNull().check(sql`without_login in (0, 1)`))
    .addColumn('override_hold', 'integer', (c) => c.notNull().check(sql`override_hold in (0, 1)`))
    // Macs that were not heard of for so many days are left out; null: none is.
    .addColumn('seen_days', 'integer')
    // How far its Macs have been written down: the last one; and when that was done.
    .addColumn('gathered_to', 'text')
    .addColumn('gathered_at', 'integer')
    // Counts the waves: of two backends that come to place one, the second finds another number.
    .addColumn('round', 'integer', (c) => c.notNull())
    // Not before this the next order.
    .addColumn('next_at', 'integer', (c) => c.notNull())
    .addColumn('ended_at', 'integer')
    .execute();
  await db.schema.createIndex('campaign_open').on('campaign').column('state').where(sql.ref('ended_at'), 'is', null).execute();
  await db.schema
    .createTable('campaign_mac')
    .addColumn('campaign_id', 'text', (c) => c.notNull().references('campaign.id'))
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    // Whose turn it is: by chance, so that no office is first.
    .addColumn('place', 'integer', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull().check(sql`state in ('waiting', 'ordered', 'done', 'failed', 'left')`))
    .addColumn('state_at', 'integer', (c) => c.notNull())
    // Of one that was left out or failed: why, as a word, and in words.
    .addColumn('why', 'text')
    .addColumn('because', 'text')
    .addColumn('order_id', 'text')
    .addColumn('ordered_at', 'integer')
    // 1: the order is somebody else's and waited before this one could be placed.
    .addColumn('joined', 'integer', (c) => c.notNull().check(sql`joined in (0, 1)`))
    .addPrimaryKeyConstraint('campaign_mac_key', ['campaign_id', 'mac_id'])
    .execute();
  await db.schema.createIndex('campaign_mac_turn').on('campaign_mac').columns(['campaign_id', 'state', 'place']).execute();
  await db.schema.createIndex('campaign_mac_rate').on('campaign_mac').columns(['campaign_id', 'ordered_at']).execute();
  await db.schema.createIndex('campaign_mac_mac').on('campaign_mac').column('mac_id').execute();

  // What a policy has replaced, or is about to: once for one cause.
  await db.schema
    .createTable('automatic_rotation')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('policy_id', 'text', (c) => c.notNull())
    .addColumn('because', 'text', (c) => c.notNull().check(sql`because in ('aged', 'user-left', 'mac-lost')`))
    // The key's record, or the number of the audit's entry.
    .addColumn('about', 'text', (c) => c.notNull())
    .addColumn('words', 'text', (c) => c.notNull())
    .addColumn('noticed_at', 'integer', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull().check(sql`state in ('waiting', 'placed', 'dropped')`))
    .addColumn('state_at', 'integer', (c) => c.notNull())
    .addColumn('state_because', 'text')
    .addUniqueConstraint('automatic_rotation_once', ['mac_id', 'because', 'about'])
    .execute();
  await db.schema.createIndex('automatic_rotation_turn').on('automatic_rotation').columns(['policy_id', 'state', 'noticed_at']).execute();
  await db.schema.createIndex('automatic_rotation_rate').on('automatic_rotation').columns(['policy_id', 'state_at']).execute();

  // Looked for at each wave and by each dry run: whether an order waits for a Mac already.
  await sql`create index rotation_order_waiting on rotation_order (mac_id) where state = 'waiting'`.execute(db);
}
