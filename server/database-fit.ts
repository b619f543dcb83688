import { randomInt } from 'node:crypto';
import type pg from 'pg';
import { Problem } from '../protocol/problems.ts';
import { type PostgresPlace, placeName } from './database-url.ts';

/*
 * Whether a database is what the acts stand on, looked at before anything is asked of it. What is said is tried where it can be: that
 * the lock of the writes keeps others out is seen on two connections, whatever product answers and whatever stands in between.
 */

const oldestServer = 150_000;
/** Text is compared by its bytes here, as in SQLite: lists and the pages of lists stand on it. */
const byBytes = /^(C|POSIX|C\.UTF-?8|PG_C_UTF8|PG_UNICODE_FAST)$/i;
/** YugabyteDB calls itself PostgreSQL, and its own name is in its number. */
const isPostgres = (product: string): boolean => /^PostgreSQL \d/.test(product) && !/-YB-|yugabyte/i.test(product);
/** Without the machine that it was made for, and nothing that a terminal would obey. */
const nameOf = (product: string): string =>
  product
    .replace(/ (\(|on ).*$/s, '')
    .replace(/[^ -~]/g, '?')
    .slice(0, 60);
/** Beside that of the writes and that of the work that comes round: of nothing but this look. */
const family = 0x73706b74;

const settings = `select current_setting('server_version_num')::int as version, pg_encoding_to_char(d.encoding) as encoding,
    coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', d.datcollate) as collation,
    current_setting('synchronous_commit') as commits, current_setting('fsync') as fsync, current_setting('full_page_writes') as pages,
    pg_backend_pid() as pid
  from pg_database d where d.datname = current_database()`;

interface Settings {
  version: number;
  encoding: string;
  collation: string;
  commits: string;
  fsync: string;
  pages: string;
  pid: number;
}

/** One that ends while nothing is asked of it ends no process. */
async function borrow(pool: pg.Pool): Promise<{ client: pg.PoolClient; giveBack(whole: boolean): void }> {
  const client = await pool.connect();
  const ended = (): void => undefined;
  client.on('error', ended);
  return {
    client,
    giveBack(whole) {
      client.off('error', ended);
      client.release(!whole);
    },
  };
}

export async function checkFit(pool: pg.Pool, place: PostgresPlace): Promise<void> {
  const refuse = (what: string): Problem => new Problem('DATABASE_UNSUITABLE', `${placeName(place)}: ${what}`);
  const one = await borrow(pool);
  let whole = false;
  try {
    const named = await one.client.query<{ product: string; pid: number }>('select version() as product, pg_backend_pid() as pid');
    const { product = '', pid: before = 0 } = named.rows[0] ?? {};
    if (!isPostgres(product)) throw refuse(`it is not PostgreSQL, but ${nameOf(product)}, on which Sparekey was never tried`);
    const [found] = (await one.client.query<Settings>(settings)).rows;
    if (!found || found.version < oldestServer) throw refuse('PostgreSQL 15 or newer is needed');
    if (found.encoding !== 'UTF8' || !byBytes.test(found.collation))
      throw refuse(
        `it has encoding ${found.encoding} and collation ${found.collation}; make it by CREATE DATABASE ${place.database} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'`,
      );
    const weak = weakness(found);
    if (weak !== null) throw refuse(weak);
    const wrong = await tryLock(pool, one.client, [before, found.pid]);
    if (wrong !== null) throw refuse(wrong);
    whole = true;
  } finally {
    one.giveBack(whole);
  }
}

/** Of what was answered, and is lost with the power. */
function weakness({ commits, fsync, pages }: Settings): string | null {
  if (fsync !== 'on') return 'it does not wait for its disk (fsync = off): what it has answered is lost with the power, and a receipt would be a lie';
  if (pages !== 'on') return 'a page half written when the power goes is lost with all keys in it (full_page_writes = off)';
  // Set on this very connection (database-connection.ts).
  if (!['on', 'remote_apply'].includes(commits))
    return `what is set on a connection does not stay on it (synchronous_commit = ${commits}): is a pooler in between?`;
  return null;
}

const pooled = 'a pooler gives each transaction another connection: have it pool by session (PgBouncer: pool_mode = session), or name PostgreSQL itself';

/** The pooler of a kind that gives each transaction another connection shows itself by numbers of connections that change, or are those of two. */
async function tryLock(pool: pg.Pool, one: pg.PoolClient, seen: readonly number[]): Promise<string | null> {
  const other = await borrow(pool);
  let whole = false;
  const [key, shared] = [`${family}, ${randomInt(2 ** 31)}`, `${family}, ${randomInt(2 ** 31)}`];
  try {
    const answers = (await other.client.query(
      `start transaction; select pg_advisory_xact_lock(${key}), pg_advisory_xact_lock_shared(${shared}); select pg_backend_pid() as pid`,
    )) as unknown as pg.QueryResult[];
    const { rows } = await one.query<{ free: boolean; pid: number }>(
      `select pg_try_advisory_xact_lock(${key}) or pg_try_advisory_xact_lock_shared(${key}) or pg_try_advisory_xact_lock(${shared}) or pg_try_advisory_lock(${key}) as free, pg_backend_pid() as pid`,
    );
    const { free = true, pid = 0 } = rows[0] ?? {};
    await other.client.query('rollback');
    whole = true;
    const holder = answers.at(-1)?.rows[0]?.pid;
    if (holder === pid || [...seen, pid].some((each) => each !== seen[0] || each === holder)) return pooled;
    return free ? 'its advisory locks keep nobody out, so that two acts at once would not see each other' : null;
  } catch (error) {
    // PgBouncer that pools by statement lets no transaction begin.
    if ((error as { code?: unknown }).code === '08P01') return pooled;
    throw error;
  } finally {
    other.giveBack(whole);
  }
}
