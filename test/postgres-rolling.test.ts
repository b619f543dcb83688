import { afterAll, afterEach, describe, expect, test } from '@jest/globals';
import { type Kysely, sql } from 'kysely';
import { openPostgres } from '../server/database-postgres.ts';
import type { Store } from '../server/parts.ts';
import { postgres } from './new-database.ts';
import { addressAt, asOwner, makeDatabase } from './postgres-databases.ts';
import { rollOver } from './two-backends/rolling.ts';

// A release whose database has another shape comes while others serve.

const socket = postgres ?? '';
const made: string[] = [];
const opened: Store[] = [];
async function database(filled: boolean, more = ''): Promise<string> {
  const name = `rolling_${process.pid}_${made.length}`;
  made.push(name);
  await makeDatabase(socket, name, filled);
  return addressAt(socket, name, `pool=4${more}`);
}
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
});
afterAll(() =>
  asOwner(socket, async (client) => {
    for (const name of made) await client.query(`drop database if exists ${name} with (force)`);
  }),
);

test('two backends are replaced one by one under load by a release with another migration: nothing is lost, and an old one that is started then refuses in words', async () => {
  const seen = await rollOver({ address: await database(true), clients: 4, answers: 30, seed: 5, by: 'SIGTERM' });
  expect(seen.wrong).toEqual([]);
  expect(seen.receipts).toBeGreaterThan(10);
  expect(seen.beside).toBeGreaterThanOrEqual(30);
  expect(seen.refusal.code).toBe(78);
  expect(seen.refusal.said).toContain('DATABASE_TOO_NEW');
});

describe('a backend that starts while the shape of the database', () => {
  type Migration = (db: Kysely<unknown>) => Promise<void>;
  const first: Migration = async (db) => void (await db.schema.createTable('one').addColumn('id', 'integer').execute());

  /** A backend that knows these migrations; what it said while it waited. */
  function start(address: string, migrations: readonly Migration[]) {
    const waited: { seconds: number; who: string }[] = [];
    const store = openPostgres(address, { migrations, busyMilliseconds: 200, onWait: (seconds, who) => void waited.push({ seconds, who }) });
    void store.then((one) => opened.push(one)).catch(() => undefined);
    return { store, waited };
  }
  const untilSaid = async ({ waited }: { waited: unknown[] }, times: number): Promise<void> => {
    while (waited.length < times) await new Promise((resolve) => setTimeout(resolve, 20));
  };

  test('is being changed by another, for longer than any act waits, waits for it and says who it is; what was done is not done again', async () => {
    const address = await database(false);
    const { promise: go, resolve: letGo } = Promise.withResolvers<void>();
    const { promise: atWork, resolve: isAtWork } = Promise.withResolvers<void>();
    let times = 0;
    const second: Migration = async (db) => {
      times += 1;
      await sql`alter table one add column two integer`.execute(db);
      isAtWork();
      await go;
    };
    const one = start(address, [first, second]);
    await atWork;
    const other = start(address, [first, second]);
    await untilSaid(other, 2);
    expect(other.waited[1]?.who).toMatch(/^sparekey-.*, process \d+ of the database$/);
    letGo();
    await Promise.all([one.store, other.store]);
    expect(times).toBe(1);
    expect(one.waited).toEqual([]);
  });

  test('cannot be changed because somebody reads all of it, such as a dump, goes on when that has ended', async () => {
    const address = await database(false);
    await (await openPostgres(address, { migrations: [first] })).close();
    const name = new URL(address).pathname.slice(1);
    const second: Migration = async (db) => void (await sql`alter table one add column two integer`.execute(db));
    await asOwner(
      socket,
      async (dump) => {
        await dump.query("set application_name = 'a dump'; begin; select * from one");
        const one = start(address, [first, second]);
        await untilSaid(one, 1);
        expect(one.waited[0]?.who).toMatch(/^a dump, process/);
        await dump.query('commit');
        const { db } = await one.store;
        expect((await sql<{ version: number }>`select version from schema_version`.execute(db)).rows).toEqual([{ version: 2 }]);
      },
      name,
    );
  });

  test('takes long to change is not cut off: no statement of a migration has a time limit', async () => {
    const address = await database(false, '&statement_timeout=1000');
    // Longer than the limit of a statement, and than what is waited for its answer.
    const slow: Migration = async (db) => void (await sql`select pg_sleep(6.5)`.execute(db));
    const { db } = await start(address, [first, slow]).store;
    expect((await sql<{ version: number }>`select version from schema_version`.execute(db)).rows).toEqual([{ version: 2 }]);
  });
});
