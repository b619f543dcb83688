import pg from 'pg';
import { openDatabase } from '../server/database.ts';

// Databases of the server that jest-setup.mjs has started.

const template = 'sparekey_template';

/** Of a database at this socket: as `SPAREKEY_DATABASE_URL` has it. */
export const addressAt = (socket: string, database: string, query = 'pool=4', port = 5432): string =>
  `postgresql://sparekey@${encodeURIComponent(socket)}:${port}/${database}?${query}`;

/** As whoever looks after the server. */
export async function asOwner<T>(socket: string, work: (client: pg.Client) => Promise<T>, database = 'postgres', port = 5432): Promise<T> {
  const client = new pg.Client({ host: socket, port, user: 'sparekey', database, password: () => '' });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

const tables = "select tablename from pg_tables where schemaname = 'public' and tablename <> 'schema_version'";

/** Once for a run: an empty database of today's shape. */
export async function makeTemplate(socket: string): Promise<void> {
  await asOwner(socket, (client) => client.query(`create database ${template}`));
  await (await openDatabase(addressAt(socket, template))).close();
  await asOwner(
    socket,
    async (client) => {
      const { rows } = await client.query(tables);
      await client.query(`comment on table schema_version is '${rows.length}'`);
    },
    template,
  );
}

/** A copy of it; without `filled` one that holds nothing at all. */
export const makeDatabase = (socket: string, name: string, filled = true): Promise<unknown> =>
  asOwner(socket, (client) => client.query(`create database ${name}${filled ? ` template ${template} strategy file_copy` : ''}`));

/** Takes out everything that is in it; false where a test has taken a table away.  What its tables refer to is not looked at: all of it goes. */
export const emptyDatabase = (socket: string, name: string): Promise<boolean> =>
  asOwner(
    socket,
    async (client) => {
      const { rows } = await client.query(tables);
      const whole = await client.query(
        "select obj_description('schema_version'::regclass) as n, (select count(*) from pg_trigger where not tgisinternal) as triggers",
      );
      if (Number(whole.rows[0]?.n) !== rows.length || Number(whole.rows[0]?.triggers) > 0) return false;
      await client.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()');
      await client.query(`set session_replication_role = replica; ${rows.map(({ tablename }) => `delete from ${pg.escapeIdentifier(tablename)}`).join('; ')}`);
      return true;
    },
    name,
  );
