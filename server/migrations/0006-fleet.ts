import { type Kysely, sql } from 'kysely';

/**
 * What lists, counts and first pages of a fleet are read from, however large it is. All of it but tags, care and days can be
 * made anew from the other tables. Times are milliseconds of the server's clock, flags 0 or 1. In `fleet_row` 0 and '' say
 * that there is none: rows are compared with the last one of a page, and nothing compares with null.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  // A logic board was replaced: what is known under this Mac is told under the other.
  await db.schema.alterTable('mac').addColumn('merged_into', 'text').execute();
  await sql`create index mac_merged on mac (merged_into) where merged_into is not null`.execute(db);

  await db.schema
    .createTable('mac_tag')
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('tag', 'text', (c) => c.notNull())
    // `admin`: given by hand. `group`: of the person whose Mac it is, as `group:NAME`; comes and goes with them. `joined`: of the other
    // record that this one was joined with; goes where they are parted.
    .addColumn('source', 'text', (c) => c.notNull().check(sql`source in ('admin', 'group', 'joined')`))
    .addPrimaryKeyConstraint('mac_tag_key', ['mac_id', 'tag'])
    .execute();
  await db.schema.createIndex('mac_tag_tag').on('mac_tag').columns(['tag', 'mac_id']).execute();

  // Macs whose row is behind what the other tables say: marked in the act's own transaction.
  await db.schema
    .createTable('mac_dirty')
    .addColumn('mac_id', 'text', (c) => c.primaryKey())
    .execute();

  await db.schema
    .createTable('fleet_row')
    .addColumn('mac_id', 'text', (c) => c.primaryKey().references('mac.id'))
    .addColumn('serial', 'text', (c) => c.notNull())
    .addColumn('serial_proved', 'integer', (c) => c.notNull())
    .addColumn('name', 'text', (c) => c.notNull())
    // The name in lower case, as it is sorted.
    .addColumn('name_key', 'text', (c) => c.notNull())
    .addColumn('user_name', 'text', (c) => c.notNull().defaultTo(''))
    .addColumn('macos', 'text', (c) => c.notNull().defaultTo(''))
    // Its parts with leading zeros: 26.2 as 026.002.
    .addColumn('macos_key', 'text', (c) => c.notNull().defaultTo(''))
    .addColumn('model', 'text', (c) => c.notNull().defaultTo(''))
    .addColumn('chip', 'text', (c) => c.notNull().defaultTo(''))
    .addColumn('mode', 'text', (c) => c.notNull().defaultTo(''))
    .addColumn('file_vault', 'text', (c) => c.notNull().defaultTo(''))
    .addColumn('custody', 'text', (c) => c.notNull())
    .addColumn('custody_because', 'text', (c) => c.notNull())
    // The worse, the smaller.
    .addColumn('custody_rank', 'integer', (c) => c.notNull())
    .addColumn('unopened', 'integer', (c) => c.notNull().defaultTo(0))
    .addColumn('key_at', 'integer', (c) => c.notNull().defaultTo(0))
    .addColumn('proved_at', 'integer', (c) => c.notNull().defaultTo(0))
    // Kept by each check-in itself; everything else by whoever makes the row anew.
    .addColumn('last_seen_at', 'integer', (c) => c.notNull().defaultTo(0))
    // What is ordered or under way: '', waiting, owed, replacing; since when.
    .addColumn('order_state', 'text', (c) => c.notNull().defaultTo(''))
    .addColumn('order_at', 'integer', (c) => c.notNull().defaultTo(0))
    .addColumn('replacing_since', 'integer', (c) => c.notNull().defaultTo(0))
    // Since when a key is out that was shown and has not been replaced.
    .addColumn('disclosed_at', 'integer', (c) => c.notNull().defaultTo(0))
    .addColumn('hold_until', 'integer', (c) => c.notNull().defaultTo(0))
    // The worst of what needs a person, its rank (1 the worst, 99 nothing) and since when.
    .addColumn('problem', 'text', (c) => c.notNull().defaultTo(''))
    .addColumn('problem_rank', 'integer', (c) => c.notNull().defaultTo(99))
    .addColumn('problem_at', 'integer', (c) => c.notNull().defaultTo(0))
    .addColumn('state', 'text', (c) => c.notNull().defaultTo('in-use'))
    .addColumn('ownership', 'text', (c) => c.notNull().defaultTo('organisation'))
    .addColumn('created_at', 'integer', (c) => c.notNull())
    // Tags as they were counted, sorted, between commas.
    .addColumn('tags', 'text', (c) => c.notNull().defaultTo(''))
    // When the row changes by time alone; 0: it does not.
    .addColumn('due_at', 'integer', (c) => c.notNull().defaultTo(0))
    .addColumn('updated_at', 'integer', (c) => c.notNull())
    .execute();
  // One for each column that lists are sorted by, and for most filters: the order of a page is the order of an index.
  for (const column of [
    'serial',
    'name_key',
    'user_name',
    'macos_key',
    'model',
    'mode',
    'file_vault',
    'custody_rank',
    'key_at',
    'proved_at',
    'last_seen_at',
    'order_at',
    'disclosed_at',
    'hold_until',
    'problem_rank',
    'state',
    'created_at',
  ])
    await db.schema.createIndex(`fleet_row_${column}`).on('fleet_row').columns([column, 'mac_id']).execute();
  await sql`create index fleet_row_due on fleet_row (due_at) where due_at > 0`.execute(db);

  // What is searched for: the beginnings of these words, in lower case.
  await db.schema
    .createTable('fleet_word')
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('word', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('fleet_word_key', ['mac_id', 'word'])
    .execute();
  await db.schema.createIndex('fleet_word_word').on('fleet_word').columns(['word', 'mac_id']).execute();

  // What needs a person, of each Mac.
  await db.schema
    .createTable('fleet_need')
    .addColumn('mac_id', 'text', (c) => c.notNull().references('mac.id'))
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('since', 'integer', (c) => c.notNull())
    .addColumn('detail', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('fleet_need_key', ['mac_id', 'kind'])
    .execute();
  await db.schema.createIndex('fleet_need_since').on('fleet_need').columns(['since', 'mac_id']).execute();
  await db.schema.createIndex('fleet_need_kind').on('fleet_need').columns(['kind', 'since']).execute();

  // How many Macs are how, kept in the transaction that changes a row.
  await db.schema
    .createTable('fleet_count')
    .addColumn('dimension', 'text', (c) => c.notNull())
    .addColumn('value', 'text', (c) => c.notNull())
    .addColumn('n', 'integer', (c) => c.notNull())
    .addPrimaryKeyConstraint('fleet_count_key', ['dimension', 'value'])
    .execute();

  // The figures of each day, JSON, for what is drawn over time. A day is one of UTC, as 2026-11-23.
  await db.schema
    .createTable('fleet_day')
    .addColumn('day', 'text', (c) => c.primaryKey())
    .addColumn('at', 'integer', (c) => c.notNull())
    .addColumn('figures', 'text', (c) => c.notNull())
    .execute();

  // Who has taken an alarm over, and until when it is not to be heard of.
  await db.schema
    .createTable('alarm_care')
    .addColumn('alarm_id', 'text', (c) => c.primaryKey().references('alarm.id'))
    .addColumn('owner', 'text')
    .addColumn('owner_at', 'integer')
    .addColumn('muted_until', 'integer')
    .addColumn('muted_by', 'text')
    .addColumn('muted_because', 'text')
    .execute();
  await sql`create index alarm_open on alarm (opened_at, id) where judged_at is null`.execute(db);

  // For timelines and figures, which begin at an end and read as far as they must.
  await db.schema.createIndex('disclosure_at').on('disclosure').column('at').execute();
  await sql`create index rotation_order_ended on rotation_order (ended_at) where state = 'done'`.execute(db);
  await db.schema.createIndex('rotation_order_mac').on('rotation_order').columns(['mac_id', 'created_at']).execute();
  await sql`create index debt_exposed on debt (opened_at) where because = 'disclosed' and closed_at is null`.execute(db);
  await sql`create index debt_no_longer_exposed on debt (closed_at) where because = 'disclosed' and closed_at is not null`.execute(db);
  await db.schema.createIndex('proof_mac_at').on('proof').columns(['mac_id', 'at']).execute();

  await sql`create index brought_key_shown on brought_key (state) where disclosed_at is not null`.execute(db);

  await sql`insert into mac_dirty (mac_id) select id from mac`.execute(db);
}
