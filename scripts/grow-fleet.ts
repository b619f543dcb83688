import { createHash } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';
import { beginning, canonicalJson, hashOf } from '../server/audit.ts';
import type { ServerSecrets } from '../server/parts.ts';
import { rowMac } from '../server/row-mac.ts';
import type { Tables } from '../server/tables.ts';

/*
 * Makes a large fleet of a small one, in SQLite's own file and by one statement for each table: through the acts of the backend
 * a million Macs take days. Each Mac of the small fleet becomes `copies` Macs, each with rows of its own in every table and all
 * names its own: ids, serial numbers, volumes, boot sessions, the user. What only the backend can make is not the copies': their
 * envelopes are no longer what their ids are the digest of, so that none of them would be opened; `renewHeldKeys` mends
 * that for those that are really asked. The audit is chained anew, entry by entry.
 */

interface Growing {
  /** How many Macs become of each. */
  copies: number;
  /** Of each Mac that has a key, from 1 to 10; all but one superseded. */
  keysEach: number;
  say: (progress: string) => void;
}

const day = 24 * 60 * 60 * 1000;
/** KiB, below zero. */
const cacheSize = -1_000_000;
/** Entries of the audit between two words of progress. */
const manyEntries = 1_000_000;

/** The file must be nobody else's. Whoever interrupts this has no database. */
export function growFleet(file: string, { copies, keysEach, say }: Growing): void {
  if (!Number.isInteger(copies) || copies < 1 || copies > 9999) throw new RangeError('from 1 to 9999 copies');
  const database = new DatabaseSync(file, { enableForeignKeyConstraints: false });
  try {
    // What is written once is not written into a log before: the backend makes it one again.
    database.exec(`pragma journal_mode = memory; pragma synchronous = off; pragma cache_size = ${cacheSize}; pragma temp_store = memory`);
    database.exec('create temp table number (n integer primary key)');
    database.exec(
      `with recursive one(n) as (select 0 union all select n + 1 from one where n < ${Math.max(copies, keysEach)}) insert into number select n from one`,
    );
    addOlderKeys(database, keysEach);
    if (copies > 1) multiply(database, copies, say);
  } finally {
    database.close();
  }
}

/** Columns that hold what is unique: of these the last four characters say which copy it is of. */
const isName = (column: string): boolean => /^(id|digest|boot|volume|fingerprint|public_key_digest)$|_id$|_uuid$|_volume$/.test(column);

const columnsOf = (database: DatabaseSync, table: string): { name: string; key: number }[] =>
  database
    .prepare(`pragma table_info(${table})`)
    .all()
    .map(({ name, pk }) => ({ name: String(name), key: Number(pk) }));

/** The same columns, but for those of which it is said what they become. `t` is the row that is copied. */
function copyRows(database: DatabaseSync, table: string, becomes: Record<string, string>, from: string): void {
  const names = columnsOf(database, table).map(({ name }) => name);
  database.exec(`insert into ${table} (${names.join()}) select ${names.map((name) => becomes[name] ?? `t.${name}`).join()} from ${from}`);
}

/** The keys of before, one each month, and what each enrolment and each envelope has besides. */
function addOlderKeys(database: DatabaseSync, keysEach: number): void {
  database.exec('begin');
  const older = `cross join temp.number where n between 1 and ${keysEach - 1}`;
  const earlier = `t.received_at - n * ${30 * day}`;
  // No hexadecimal digest begins like that.
  const was = (name: string): string => `'k' || n || substr(t.${name}, 3)`;
  copyRows(database, 'envelope', { id: was('id'), record_id: was('record_id'), received_at: earlier }, `envelope t ${older}`);
  const because = "'K3: a later key took its place'";
  const changed = { state: "'superseded'", state_because: because, received_at: earlier, state_at: earlier };
  copyRows(database, 'key_record', { id: was('id'), fingerprint: was('fingerprint'), ...changed }, `key_record t ${older}`);
  database.exec("insert into key_block (digest, mac_id, envelope_id) select 'b' || id, mac_id, id from envelope");
  database.exec(
    `insert into certificate (digest, enrolment_id, der, issued_at, not_after, status)
     select 'c' || substr(public_key_digest, 2), id, randomblob(450), created_at, created_at + ${365 * day}, 'active' from enrolment`,
  );
  database.exec('commit');
}

function multiply(database: DatabaseSync, copies: number, say: Growing['say']): void {
  const tables = database
    .prepare("select name from sqlite_master where type = 'table'")
    .all()
    .map(({ name }) => String(name))
    .filter(
      (table) =>
        table !== 'mac_dirty' && (['mac', 'session', 'certificate'].includes(table) || columnsOf(database, table).some(({ name }) => name === 'mac_id')),
    );
  const indexes = database
    .prepare("select name, tbl_name, sql from sqlite_master where type = 'index' and sql is not null")
    .all()
    .filter((index) => tables.includes(String(index['tbl_name'])));
  const grown = `cross join temp.number where n < ${copies}`;
  const marked = (text: string): string => `substr(${text}, 1, length(${text}) - 4) || printf('%04d', n)`;
  const serial = "printf('%04d', n) || substr(t.serial, 5)";
  database.exec('begin');
  // To make an index at the end is to sort once, and not to look for the place of each row.
  for (const { name } of indexes) database.exec(`drop index ${name}`);
  database.exec('create temp table login as select mac_id, serial, user_name from fleet_row; create index temp.login_mac on login (mac_id)');
  for (const table of tables) {
    say(`growth: ${table}`);
    const columns = columnsOf(database, table);
    const key = columns.filter((column) => column.key > 0).map(({ name }) => name);
    // Sorted, so that the index of its key grows at its end; a million random ids would want it all in memory.
    database.exec(`create temp table small as select * from ${table} ${key.length > 0 ? `order by ${key.join()}` : ''}; delete from ${table}`);
    if (table === 'audit') growAudit(database, copies, say);
    else {
      const becomes: Record<string, string> = {};
      for (const { name } of columns) {
        if (isName(name)) becomes[name] = marked(`t.${name}`);
        if (name === 'serial') becomes[name] = serial;
        if (name === 'user_name') becomes[name] = "replace(t.user_name, '@', n || '@')";
      }
      if (table === 'mac')
        becomes['facts'] =
          `json_set(t.facts, '$.serial', ${serial}, '$.hardwareUuid', ${becomes['hardware_uuid']}, '$.volume', ${becomes['present_volume']}, '$.boot', ${marked("json_extract(t.facts, '$.boot')")})`;
      const word = `case when t.word = lower(l.serial) then lower(printf('%04d', n) || substr(l.serial, 5)) when instr(lower(l.user_name), '.' || t.word || '@') > 0 then t.word || n else t.word end`;
      if (table === 'fleet_word') copyRows(database, table, { ...becomes, word }, `temp.small t join temp.login l on l.mac_id = t.mac_id ${grown}`);
      else copyRows(database, table, becomes, `temp.small t ${grown}`);
    }
    database.exec('drop table temp.small');
  }
  database.exec(`update fleet_count set n = n * ${copies}`);
  say(`growth: ${indexes.length} indexes`);
  for (const { sql } of indexes) database.exec(String(sql));
  database.exec('commit');
}

type AuditRow = Tables['audit'];

function growAudit(database: DatabaseSync, copies: number, say: Growing['say']): void {
  const small = database.prepare('select * from temp.small order by seq').all() as unknown as AuditRow[];
  const add = database.prepare('insert into audit (seq, at, actor, act, mac_id, details, previous, hash) values (?, ?, ?, ?, ?, ?, ?, ?)');
  let last = { seq: 0, hash: beginning };
  for (const row of small) {
    const details = canonicalJson(JSON.parse(row.details));
    for (let n = 0; n < copies; n += 1) {
      const macId = row.mac_id === null ? null : `${row.mac_id.slice(0, -4)}${String(n).padStart(4, '0')}`;
      const entry = { ...row, seq: last.seq + 1, mac_id: macId, details, previous: last.hash };
      const hash = hashOf(entry);
      add.run(entry.seq, entry.at, entry.actor, entry.act, macId, details, entry.previous, hash);
      last = { seq: entry.seq, hash };
      if (entry.seq % manyEntries === 0) say(`growth: audit, ${entry.seq} of ${small.length * copies}`);
    }
  }
}

/** The held keys of these Macs become what the backend itself would have stored: they can be compared, checked and opened. */
export function renewHeldKeys(file: string, macIds: readonly string[], secrets: ServerSecrets, seal: () => { bytes: Buffer; fingerprint: string }): void {
  const database = new DatabaseSync(file);
  try {
    database.exec('pragma synchronous = off; begin');
    const held = database.prepare(
      "select r.id as record, r.volume as volume, e.id as envelope from key_record r join envelope e on e.record_id = r.id where r.mac_id = ? and r.state = 'held'",
    );
    const keep = database.prepare('update envelope set id = ?, bytes = ?, row_mac = ? where mac_id = ? and id = ?');
    const name = database.prepare('update key_record set fingerprint = ? where id = ?');
    for (const macId of macIds)
      for (const row of held.all(macId)) {
        const [recordId, volume] = [String(row['record']), String(row['volume'])];
        const { bytes, fingerprint } = seal();
        const id = createHash('sha256').update(bytes).digest('hex');
        keep.run(id, bytes, rowMac(secrets, { macId, volume, recordId, envelopeId: id, quarantined: false }), macId, String(row['envelope']));
        name.run(fingerprint, recordId);
      }
    database.exec('commit');
  } finally {
    database.close();
  }
}
