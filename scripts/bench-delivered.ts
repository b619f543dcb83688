import { writeFileSync } from 'node:fs';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import pg from 'pg';
import type { FolderPaths } from '../server/data-folder.ts';
import { openDatabase } from '../server/database.ts';
import { move } from '../server/moving.ts';
import { addressAt, makeDatabase } from '../test/postgres-databases.ts';

/** What a delivery leaves, in the order in which rows need each other. */
const tables = ['key_record', 'envelope', 'key_block', 'proof_order', 'audit', 'mac_dirty'] as const;
type DeliveredTable = (typeof tables)[number];
type DeliveredRows = Record<DeliveredTable, Record<string, unknown>[]>;

/** A database that a backend has, as the benchmark sees it: what lies in it, and another of the same shape with nothing between it and the rows. */
export interface BareDatabase {
  all(table: DeliveredTable): Promise<Record<string, unknown>[]> | Record<string, unknown>[];
  /** Milliseconds for what belongs to one delivery, with the same durability and so many commits. */
  write(rows: DeliveredRows, deliveries: number, commits: number): Promise<number> | number;
  close(): Promise<void> | void;
}

/** What came into the backend's database by the deliveries since then. `taken` are the records that were there. */
export async function rowsOf(database: BareDatabase, taken: ReadonlySet<string>): Promise<{ rows: DeliveredRows; ids: string[] }> {
  const all = (table: DeliveredTable) => database.all(table);
  const records = (await all('key_record')).filter(({ id }) => !taken.has(String(id)));
  const ids = records.map(({ id }) => String(id));
  const isNew = new Set(ids);
  const envelopes = (await all('envelope')).filter(({ record_id }) => isNew.has(String(record_id)));
  const macs = new Set(records.map(({ mac_id }) => String(mac_id)));
  const names = new Set(envelopes.map(({ id }) => String(id)));
  const rows: DeliveredRows = {
    key_record: records,
    envelope: envelopes,
    key_block: (await all('key_block')).filter(({ envelope_id }) => names.has(String(envelope_id))),
    proof_order: (await all('proof_order')).filter(({ record_id }) => isNew.has(String(record_id))),
    audit: (await all('audit')).filter(({ act, mac_id }) => act === 'key.stored' && macs.has(String(mac_id))),
    mac_dirty: [...macs].map((mac_id) => ({ mac_id })),
  };
  return { rows, ids };
}

/** Of the rows of each table those that belong to one of so many commits. */
const shareOf = <T>(rows: readonly T[], at: number, commits: number): T[] =>
  rows.slice(Math.floor((at * rows.length) / commits), Math.floor(((at + 1) * rows.length) / commits));
/** The same in a file of SQLite. */
export async function openBareFile(backends: string, file: string): Promise<BareDatabase> {
  await (await openDatabase(file)).close();
  const database = new DatabaseSync(file, { enableForeignKeyConstraints: false });
  database.exec('pragma journal_mode = wal; pragma synchronous = full; pragma cache_size = -65536; pragma secure_delete = on');
  return {
    close: () => database.close(),
    all(table) {
      const theirs = new DatabaseSync(backends, { readOnly: true });
      try {
        return theirs.prepare(`select * from ${table}`).all();
      } finally {
        theirs.close();
      }
    },
    write(rows, deliveries, commits) {
      const prepared = tables.map((table) => {
        const columns = Object.keys(rows[table][0] ?? { mac_id: '' });
        const text = `insert into ${table} (${columns.join()}) values (${columns.map(() => '?').join()})`;
        return { of: rows[table].map((row) => columns.map((name) => (row[name] ?? null) as SQLInputValue)), statement: database.prepare(text) };
      });
      const began = performance.now();
      for (let at = 0; at < commits; at += 1) {
        database.exec('begin immediate');
        for (const { of, statement } of prepared) for (const values of shareOf(of, at, commits)) statement.run(...values);
        database.exec('commit');
      }
      return (performance.now() - began) / deliveries;
    },
  };
}

/** A data folder moves to PostgreSQL, as `sparekey-server migrate` does it; beside its database there is another for the bare rows. */
export async function openBarePostgres(socket: string, { dir, databaseUrl }: FolderPaths): Promise<BareDatabase> {
  await makeDatabase(socket, 'backend', false);
  await makeDatabase(socket, 'bare', false);
  writeFileSync(databaseUrl, addressAt(socket, 'backend', 'pool=10'), { mode: 0o600 });
  await move({ dir, to: null, actor: 'bench', dryRun: false, progress: () => undefined });
  await (await openDatabase(addressAt(socket, 'bare'))).close();
  const [theirs, bare] = [clientOf(socket, 'backend'), clientOf(socket, 'bare')];
  await Promise.all([theirs.connect(), bare.connect()]);
  // No foreign keys: the Macs are not there.
  await bare.query('set session_replication_role = replica');
  return {
    async close() {
      await Promise.all([theirs.end(), bare.end()]);
    },
    all: async (table) => (await theirs.query(`select * from ${table}`)).rows,
    async write(rows, deliveries, commits) {
      const began = performance.now();
      for (let at = 0; at < commits; at += 1) {
        await bare.query('begin');
        for (const table of tables) {
          const some = shareOf(rows[table], at, commits);
          if (some.length > 0) await insert(bare, table, some);
        }
        await bare.query('commit');
      }
      return (performance.now() - began) / deliveries;
    },
  };
}

const clientOf = (socket: string, database: string): pg.Client => new pg.Client({ host: socket, user: 'sparekey', database, password: () => '' });

/** All of them in one statement, which is the quickest way there is. */
function insert(client: pg.Client, table: string, rows: readonly Record<string, unknown>[]): Promise<unknown> {
  const columns = Object.keys(rows[0] ?? {});
  const places = rows.map((_, at) => `(${columns.map((_name, column) => `$${at * columns.length + column + 1}`).join()})`);
  return client.query(
    `insert into ${table} (${columns.join()}) values ${places.join()}`,
    rows.flatMap((row) => columns.map((name) => row[name] ?? null)),
  );
}
