import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import type pg from 'pg';
import type { PostgresPlace } from './database-url.ts';
import type { Store } from './parts.ts';
import { isAway } from './postgres-errors.ts';

/** Of each connection, by whoever it is used. */
export const configOf = (place: PostgresPlace): pg.ClientConfig => ({
  host: place.host,
  port: place.port,
  database: place.database,
  user: place.user,
  // A function: without one `pg` would look for files of its own.
  password: () => place.password,
  ssl: place.tls === null ? false : { ...place.tls, rejectUnauthorized: true, minVersion: 'TLSv1.2' },
  // By the process, for whoever looks who is there.
  application_name: `sparekey-${hostname().slice(0, 32)}-${process.pid}`,
  connectionTimeoutMillis: place.connectMilliseconds,
  keepAlive: true,
});

/**
 * What a connection of ours goes by, said on the connection itself: so it counts whatever its role or its database has been given
 * (`alter role … set`), and a pooler, which lets no such words of the start through, has nothing to be told. A commit is
 * answered when it is on the disk, of a stand-by too where there is one that counts; bytes come as they are read here.
 */
export async function settle(client: pg.ClientBase, place: PostgresPlace, more: Record<string, number> = {}): Promise<void> {
  const milliseconds = { statement_timeout: place.statementMilliseconds, ...more };
  const names = Object.keys(milliseconds);
  const text = `select set_config('bytea_output', 'hex', false),
    set_config('synchronous_commit', case current_setting('synchronous_commit') when 'remote_apply' then 'remote_apply' else 'on' end, false)
    ${names.map((name, at) => `, set_config('${name}', $${at + 1}, false)`).join('')}`;
  // A pooler that has no connection to give answers late or never.
  await client.query({ text, values: Object.values(milliseconds).map(String), query_timeout: place.connectMilliseconds } as pg.QueryConfig);
}

/** Between two tries; with chance in it, so that those that wait do not come together. */
const pauseMilliseconds = 50;

/** A connection for a question. A server that is being started again is waited for, so long; whatever else is wrong with it is said at once. */
export async function connectionOf(pool: pg.Pool, milliseconds: number): Promise<pg.PoolClient> {
  const until = performance.now() + milliseconds;
  for (;;) {
    try {
      return await pool.connect();
    } catch (error) {
      if (!isAway(error) || performance.now() >= until) throw error;
    }
    await sleep(pauseMilliseconds * (1 + Math.random()));
  }
}

/** Milliseconds, by the clock of the database. */
export async function timeAt(db: Store['db']): Promise<number> {
  const { rows } = await sql<{ at: number }>`select floor(extract(epoch from clock_timestamp()) * 1000) as at`.execute(db);
  return rows[0]?.at ?? 0;
}
