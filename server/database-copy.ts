import { createHash } from 'node:crypto';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { CompiledQuery, sql } from 'kysely';
import type { Store, Tx } from './parts.ts';

// Everything that is in one database into another of the same schema, be it a file or PostgreSQL: rows as they are, and what proves it.

type Row = Record<string, unknown>;

interface Side {
  read(table: Table): AsyncIterable<Row[]>;
  insert(table: Table, rows: readonly Row[]): Promise<void>;
  empty(table: Table): Promise<void>;
}

interface Table {
  name: string;
  columns: readonly string[];
  /** By which its rows stand in the same order on both sides: text is compared by its bytes on both. */
  order: readonly string[];
}

export interface CopiedTable {
  table: string;
  rows: number;
  /** SHA-256 over all rows in their order. */
  digest: string;
}

export type CopyProgress = (table: string, done: number) => void;

const batch = 500;
/** PostgreSQL counts the values of a statement with 16 bits, SQLite takes 32,766. */
const mostValues = 30_000;
const quoted = (name: string): string => `"${name}"`;
const list = (names: readonly string[]): string => names.map(quoted).join(', ');
const pageOf = ({ columns }: Table): number => Math.max(1, Math.min(batch, Math.floor(mostValues / columns.length)));
const selectOf = ({ name, columns, order }: Table): string => `select ${list(columns)} from ${quoted(name)} order by ${list(order)}`;

function insertOf({ name, columns }: Table, rows: readonly Row[], holder: (n: number) => string): { text: string; values: unknown[] } {
  const values: unknown[] = [];
  const tuples = rows.map((row) => {
    const one = columns.map((column) => {
      values.push(row[column] ?? null);
      return holder(values.length);
    });
    return `(${one.join(', ')})`;
  });
  return { text: `insert into ${quoted(name)} (${list(columns)}) values ${tuples.join(', ')}`, values };
}

function fileSide(database: DatabaseSync): Side {
  return {
    async *read(table) {
      let page: Row[] = [];
      for (const row of database.prepare(selectOf(table)).iterate()) {
        page.push(row as Row);
        if (page.length < pageOf(table)) continue;
        yield page;
        page = [];
      }
      if (page.length > 0) yield page;
    },
    async insert(table, rows) {
      const { text, values } = insertOf(table, rows, () => '?');
      database.prepare(text).run(...(values as SQLInputValue[]));
    },
    async empty({ name }) {
      database.exec(`delete from ${quoted(name)}`);
    },
  };
}

function postgresSide(tx: Tx): Side {
  const ask = (text: string, values: unknown[] = []) => tx.executeQuery(CompiledQuery.raw(text, values));
  return {
    async *read(table) {
      await ask(`declare rows_of_table no scroll cursor for ${selectOf(table)}`);
      for (;;) {
        const { rows } = await ask(`fetch ${pageOf(table)} from rows_of_table`);
        if (rows.length > 0) yield rows as Row[];
        if (rows.length < pageOf(table)) break;
      }
      await ask('close rows_of_table');
    },
    async insert(table, rows) {
      const { text, values } = insertOf(table, rows, (n) => `$${n}`);
      await ask(text, values);
    },
    async empty({ name }) {
      await ask(`delete from ${quoted(name)}`);
    },
  };
}

/** One text for one row, whichever database it comes from. */
function lineOf(row: Row, { columns }: Table): string {
  const values = columns.map((column) => {
    const value = row[column];
    return value instanceof Uint8Array ? { bytes: Buffer.from(value).toString('base64') } : value;
  });
  return `${JSON.stringify(values)}\n`;
}

async function copyTable(from: Side, to: Side, table: Table, progress: CopyProgress): Promise<CopiedTable> {
  const hash = createHash('sha256');
  let rows = 0;
  for await (const page of from.read(table)) {
    for (const row of page) hash.update(lineOf(row, table));
    await to.insert(table, page);
    rows += page.length;
    progress(table.name, rows);
  }
  return { table: table.name, rows, digest: hash.digest('hex') };
}

async function digestOf(side: Side, table: Table): Promise<CopiedTable> {
  const hash = createHash('sha256');
  let rows = 0;
  for await (const page of side.read(table)) {
    for (const row of page) hash.update(lineOf(row, table));
    rows += page.length;
  }
  return { table: table.name, rows, digest: hash.digest('hex') };
}

/** A table of which not everything has come over, or not as it was. */
export class CopyDiffers extends Error {
  readonly table: string;
  constructor(table: string) {
    super(`the table ${table} is not the same`);
    this.table = table;
  }
}

/** The tables of a file, in an order in which each comes after those that it refers to. */
function tablesIn(database: DatabaseSync): Table[] {
  const names = database.prepare("select name from sqlite_master where type = 'table' and name not like 'sqlite\\_%' escape '\\' order by name").all() as {
    name: string;
  }[];
  const refersTo = new Map(
    names.map(({ name }) => [name, (database.prepare(`pragma foreign_key_list(${quoted(name)})`).all() as { table: string }[]).map((one) => one.table)]),
  );
  const sorted: string[] = [];
  const visit = (name: string, above: readonly string[]): void => {
    if (sorted.includes(name) || above.includes(name)) return;
    for (const other of refersTo.get(name) ?? []) visit(other, [...above, name]);
    sorted.push(name);
  };
  for (const { name } of names) visit(name, []);
  return sorted.map((name) => {
    const columns = database.prepare(`pragma table_info(${quoted(name)})`).all() as { name: string; pk: number }[];
    const key = columns.filter(({ pk }) => pk > 0).sort((one, other) => one.pk - other.pk);
    const names = columns.map((column) => column.name);
    return { name, columns: names, order: key.length > 0 ? key.map((column) => column.name) : names };
  });
}

async function copyAll(from: Side, to: Side, tables: readonly Table[], progress: CopyProgress): Promise<CopiedTable[]> {
  for (const table of [...tables].reverse()) await to.empty(table);
  const copied: CopiedTable[] = [];
  for (const table of tables) copied.push(await copyTable(from, to, table, progress));
  for (const [at, table] of tables.entries()) {
    const there = await digestOf(to, table);
    const { rows, digest } = copied[at] as CopiedTable;
    if (there.rows !== rows || there.digest !== digest) throw new CopyDiffers(table.name);
  }
  return copied;
}

function inFile<T>(file: string, readOnly: boolean, work: (database: DatabaseSync) => Promise<T>): Promise<T> {
  const database = new DatabaseSync(file, { readOnly, timeout: 30_000, enableForeignKeyConstraints: false });
  return work(database).finally(() => database.close());
}

/** How many rows there are in each table of a file. */
export function countTables(file: string): Promise<{ table: string; rows: number }[]> {
  return inFile(file, true, async (database) =>
    tablesIn(database).map(({ name }) => ({ table: name, rows: Number(database.prepare(`select count(*) as n from ${quoted(name)}`).get()?.['n'] ?? 0) })),
  );
}

/** Everything of a file into a PostgreSQL database of the same schema, in an act there: all of it or nothing. */
export const copyIntoAct = (file: string, tx: Tx, progress: CopyProgress): Promise<CopiedTable[]> =>
  inFile(file, true, async (database) => {
    database.exec('begin');
    return copyAll(fileSide(database), postgresSide(tx), tablesIn(database), progress);
  });

/** Everything of a PostgreSQL database as it is at one moment into a file of the same schema. */
export const copyIntoFile = (store: Store, file: string, progress: CopyProgress = () => undefined): Promise<CopiedTable[]> =>
  inFile(file, false, async (database) =>
    store.db
      .transaction()
      .setIsolationLevel('repeatable read')
      .setAccessMode('read only')
      .execute(async (tx) => {
        database.exec('begin immediate');
        const copied = await copyAll(postgresSide(tx), fileSide(database), tablesIn(database), progress);
        database.exec('commit');
        return copied;
      }),
  );

/** Bytes that the database takes up. */
export async function databaseBytes({ db }: Pick<Store, 'db'>): Promise<number> {
  const { rows } = await sql<{ bytes: number }>`select pg_database_size(current_database()) as bytes`.execute(db);
  return rows[0]?.bytes ?? 0;
}

/** Connections of other backends than this process, as far as the database shows them to us. */
export async function othersConnected({ db }: Pick<Store, 'db'>): Promise<number> {
  const { rows } = await sql<{ n: number }>`select count(*) as n from pg_stat_activity where datname = current_database()
    and application_name like 'sparekey%' and application_name <> current_setting('application_name')`.execute(db);
  return rows[0]?.n ?? 0;
}
