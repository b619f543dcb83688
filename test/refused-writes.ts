import { sql } from 'kysely';
import type { Store } from '../server/parts.ts';
import { postgres } from './new-database.ts';

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
