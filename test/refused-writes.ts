import { sql } from 'kysely';
import type { Store } from '../server/parts.ts';
import { postgres } from './new-database.ts';
import { asOwner } from './postgres-databases.ts';

/** From now on the database can be read and not written, as where its disk is full or it has become a stand-by. Resolves with what ends it. */
export async function refuseAllWrites(store: Store): Promise<() => Promise<void>> {
  const run = (text: string) => sql.raw(text).execute(store.db);
  if (postgres === null) {
    await run('pragma query_only = on');
    return async () => void (await run('pragma query_only = off'));
  }
  const { rows } = await sql<{ name: string }>`select current_database() as name`.execute(store.db);
  const socket = postgres;
  /** Connections that are there go on as they are. */
  const set = (how: string) =>
    asOwner(socket, async (client) => {
      await client.query(`alter database ${rows[0]?.name} ${how}`);
      await client.query('select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1', [rows[0]?.name]);
    });
  await set('set default_transaction_read_only = on');
  return async () => void (await set('reset default_transaction_read_only'));
}

/**
 * From now on the database refuses what is named, such as `insert on audit`; `when` is a condition on `new`. Resolves with what ends it.
 * The name is that of the trigger.
 */
export async function refuseWrites(store: Store, name: string, what: string, when?: string): Promise<() => Promise<void>> {
  const asked = when === undefined ? '' : ` when (${when})`;
  const run = (text: string) => sql.raw(text).execute(store.db);
  if (postgres === null) {
    await run(`create trigger ${name} before ${what}${asked} begin select raise(abort, '${name}'); end`);
    return async () => void (await run(`drop trigger ${name}`));
  }
  await run(`create function ${name}() returns trigger language plpgsql as $$ begin raise exception '${name}'; end $$`);
  await run(`create trigger ${name} before ${what} for each row${asked} execute function ${name}()`);
  return async () => void (await run(`drop function ${name}() cascade`));
}
