import { createHash } from 'node:crypto';
import { type Kysely, sql } from 'kysely';
import { EnvelopeUnreadable, readEnvelope } from '../../protocol/envelope.ts';

/** What living beside an MDM has to remember besides 0003. Times are milliseconds of the server's clock, flags 0 or 1. */
export async function up(db: Kysely<unknown>): Promise<void> {
  // A connector: since when it has to have come to a good end again, which is its last one, or its first day.
  await db.schema.alterTable('connector').addColumn('good_since', 'integer').execute();
  await sql`update connector set good_since = coalesce(ended_at, started_at, next_at)`.execute(db);
  // Until when the product is asked to do nothing, and how often in a row it did not answer: also for the next process.
  await db.schema.alterTable('connector').addColumn('quiet_until', 'integer').execute();
  await db.schema
    .alterTable('connector')
    .addColumn('quiet_times', 'integer', (c) => c.notNull().defaultTo(0))
    .execute();

  // A Mac of a product: when that has heard of it last, by its own word, and why it says itself that its key is none.
  await db.schema.alterTable('connector_mac').addColumn('heard_at', 'integer').execute();
  await db.schema.alterTable('connector_mac').addColumn('useless', 'text').execute();
  // Asking for this Mac came to nothing: how often in a row, and when it is asked for again.
  for (const what of ['refresh', 'rotate']) {
    await db.schema
      .alterTable('connector_mac')
      .addColumn(`${what}_failed`, 'integer', (c) => c.notNull().defaultTo(0))
      .execute();
    await db.schema.alterTable('connector_mac').addColumn(`${what}_next_at`, 'integer').execute();
  }

  // C9: under whose escrow payload the MDM replaced the key, by what the Mac said last: as in `rotation`.
  await db.schema.alterTable('mdm_command').addColumn('escrow_payload', 'text').execute();
  // An answer with a sealed key that did not open, until it is opened after all: under somebody else's payload nothing else has that key.
  await db.schema.alterTable('mdm_command').addColumn('reply', 'blob').execute();
  // An admin named the device, and not a serial number: that it is that Mac is his word.
  await db.schema
    .alterTable('mdm_command')
    .addColumn('named', 'integer', (c) => c.notNull().defaultTo(0))
    .execute();
  // Whether one is on its way is asked whenever an agent begins.
  await db.schema.createIndex('mdm_command_kind').on('mdm_command').columns(['kind', 'state', 'sent_at']).execute();

  // 5.4 for what others brought: a sealed block is that serial number's from when it was brought, and stays noted when its bytes
  // are gone: whoever has a copy of them from before must not be given the key for delivering them as a Mac of his own.
  await db.schema
    .createTable('brought_block')
    .addColumn('digest', 'text', (c) => c.primaryKey())
    .addColumn('serial', 'text', (c) => c.notNull())
    .addColumn('envelope_id', 'text', (c) => c.notNull())
    .execute();
  await db.schema.createIndex('brought_block_envelope').on('brought_block').column('envelope_id').execute();
  await noteBlocks(db);

  // The weightiest word for a brought key that came without a run, such as a webhook's: it stays when a run is taken back.
  for (const [name, type] of [
    ['also_source', 'text'],
    ['also_trust', 'text'],
    ['also_made_at', 'integer'],
    ['also_by', 'text'],
  ] as const)
    await db.schema.alterTable('brought_key').addColumn(name, type).execute();
  await sql`update brought_key set also_source = source, also_trust = trust, also_made_at = made_at, also_by = brought_by where run_id is null`.execute(db);

  // For what is nobody's word: from when its days are counted, which is when it was heard last, or found to be the only one of its serial number.
  await db.schema
    .alterTable('brought_key')
    .addColumn('counts_from', 'integer', (c) => c.notNull().defaultTo(0))
    .execute();
  await sql`update brought_key set counts_from = brought_at`.execute(db);
  await sql`create index brought_key_strangers on brought_key (counts_from, id) where trust in ('header', 'none') and state <> 'withdrawn'`.execute(db);
  // `disclosed_at` where only a restore says so, because nobody knows who was shown what in its gap: a replacement is owed, and that is all.
  await db.schema.alterTable('brought_key').addColumn('maybe_shown_at', 'integer').execute();
  // The device of the MDM that alone said it: it pushes out nothing that another one said.
  await db.schema.alterTable('brought_key').addColumn('device_id', 'text').execute();
  // Asked every minute, beside however many wait for their Macs.
  await sql`create index brought_key_unopened on brought_key (state, brought_at, id) where fingerprint is null and bytes is not null`.execute(db);
  // Which runs brought a key is asked for each key of a run that is taken back.
  await db.schema.createIndex('import_line_brought').on('import_line').column('key_id').execute();
  // Who was shown a key before its Mac was here is asked when that Mac comes.
  await sql`create index audit_brought_shown on audit (seq) where act = 'brought.disclosed'`.execute(db);
}

/** Envelopes in memory at once. */
const pageRows = 200;

/** Of what was brought before this was remembered. */
async function noteBlocks(db: Kysely<unknown>): Promise<void> {
  const kept = sql<{ id: string }>`select id from brought_key where bytes is not null order by brought_at, id`;
  const ids = (await kept.execute(db)).rows.map(({ id }) => id);
  for (let from = 0; from < ids.length; from += pageRows) {
    const page = ids.slice(from, from + pageRows);
    const rows = sql<{ serial: string; envelope_id: string; bytes: Uint8Array }>`select serial, envelope_id, bytes from brought_key
      where id in (${sql.join(page)}) order by brought_at, id`;
    for (const { serial, envelope_id: envelopeId, bytes } of (await rows.execute(db)).rows)
      for (const digest of blocksIn(bytes))
        await sql`insert into brought_block (digest, serial, envelope_id) values (${digest}, ${serial}, ${envelopeId}) on conflict do nothing`.execute(db);
  }
}

function blocksIn(bytes: Uint8Array): string[] {
  try {
    return readEnvelope(bytes).recipients.flatMap(({ encryptedKey }) => (encryptedKey ? [createHash('sha256').update(encryptedKey).digest('hex')] : []));
  } catch (error) {
    // A row that was changed behind our back is found when it is opened.
    if (error instanceof EnvelopeUnreadable) return [];
    throw error;
  }
}
