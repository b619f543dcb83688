import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import type { Problem } from '../protocol/problems.ts';
import { openBackend } from '../server/backend.ts';
import { aheadOfDatabase, openClock } from '../server/clock.ts';
import { tellOfClocks } from '../server/clock-alarm.ts';
import { folderPaths } from '../server/data-folder.ts';
import { openDatabase } from '../server/database.ts';
import { postgresNews } from '../server/database-news.ts';
import { silentLog } from '../server/log.ts';
import type { Store } from '../server/parts.ts';
import { openFleetAlarms } from '../server/store/alarms.ts';
import { makeDataFolder } from './made-backend.ts';
import { startPgBouncer, testWithPgBouncer } from './pgbouncer.ts';
import { freePort } from './ports.ts';
import * as databases from './postgres-databases.ts';
import { startPostgres } from './postgres-server.mjs';
import { scratch } from './scratch.ts';

// Servers, settings and poolers on which an act would not be what it is, or what was answered would not stay: each at a server of this file's own.

let server: ReturnType<typeof startPostgres>;
let port: number;
let made = 0;
/** An empty one, of today's shape. */
let template: string;

const asOwner = <T>(work: Parameters<typeof databases.asOwner<T>>[1], database = 'postgres') => databases.asOwner(server.socket, work, database, port);
const addressOf = (database: string): string => databases.addressAt(server.socket, database, 'pool=4', port);
async function makeOne(like?: string): Promise<string> {
  const database = `fit_${++made}`;
  await asOwner((client) => client.query(`create database ${database}${like ? ` template ${like}` : ''}`));
  return database;
}
const opened: Store[] = [];
async function open(address: string): Promise<Store> {
  const store = await openDatabase(address, { busyMilliseconds: 20_000 });
  opened.push(store);
  return store;
}
const refusalOf = (address: string): Promise<string> =>
  open(address).then(
    () => 'opened',
    (problem: Problem) => `${problem.code}: ${problem.detail}`,
  );

beforeAll(async () => {
  port = await freePort();
  server = startPostgres({ port: String(port) });
  template = await makeOne();
  await (await openDatabase(addressOf(template))).close();
});
afterAll(async () => {
  for (const store of opened) await store.close();
  server.end();
});

describe('a server', () => {
  /** By its file of settings, as an operator would, and until it goes by it. */
  async function setting(name: string, value: string | null): Promise<void> {
    await asOwner((client) => client.query(value === null ? `alter system reset ${name}` : `alter system set ${name} = '${value}'`));
    await asOwner((client) => client.query('select pg_reload_conf()'));
    const now = () => asOwner(async (client) => (await client.query(`show ${name}`)).rows[0]?.[name]);
    while ((await now()) !== (value ?? 'on')) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  test.each([
    ['fsync', 'it does not wait for its disk'],
    ['full_page_writes', 'a page half written when the power goes'],
  ])('with %s = off is refused: what it has answered may be lost', async (name, words) => {
    const database = await makeOne();
    await setting(name, 'off');
    try {
      expect(await refusalOf(addressOf(database))).toMatch(new RegExp(`^DATABASE_UNSUITABLE: postgresql:///${database}: ${words}.*\\(${name} = off\\)`));
    } finally {
      await setting(name, null);
    }
    expect(await refusalOf(addressOf(database))).toBe('opened');
  });

  test('whose role or database would answer before it has stored, or give bytes another way, does neither for us', async () => {
    const database = await makeOne(template);
    await asOwner((client) => client.query(`alter database ${database} set synchronous_commit = off; alter database ${database} set bytea_output = escape`));
    await asOwner((client) => client.query(`alter role sparekey in database ${database} set synchronous_commit = local`));
    const store = await open(addressOf(database));
    const given = () =>
      sql<{
        commits: string;
        bytes: Uint8Array;
      }>`select current_setting('synchronous_commit') as commits, '\\x00ff5c'::bytea as bytes`.execute(store.db);
    // More than were made at the start.
    const answers = await Promise.all([given(), given(), given(), given()]);
    for (const { rows } of answers) expect(rows).toEqual([{ commits: 'on', bytes: new Uint8Array([0, 255, 92]) }]);
    await asOwner((client) => client.query(`alter role sparekey in database ${database} set synchronous_commit = remote_apply`));
    const more = await open(addressOf(database));
    expect((await sql`show synchronous_commit`.execute(more.db)).rows).toEqual([{ synchronous_commit: 'remote_apply' }]);
  });

  /** A function of ours is found before the one of PostgreSQL. */
  async function withFunctions(...functions: string[]): Promise<string> {
    const database = await makeOne(template);
    await asOwner((client) => client.query(`alter database ${database} set search_path = public, pg_catalog`));
    await asOwner((client) => client.query(functions.map((text) => `create function public.${text}`).join('; ')), database);
    return database;
  }

  test.each([
    ['CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu, built 2023/09/27, go1.19.10)', 'CockroachDB CCL v23.1.11'],
    ['PostgreSQL 15.12-YB-2025.1.0.0-b0 on x86_64-pc-linux-gnu, compiled by clang', 'PostgreSQL 15.12-YB-2025.1.0.0-b0'],
  ])('that calls itself %s is refused by that name: it was never tried', async (version, name) => {
    const database = await withFunctions(`version() returns text language sql as $$select '${version}'$$`);
    expect(await refusalOf(addressOf(database))).toBe(
      `DATABASE_UNSUITABLE: postgresql:///${database}: it is not PostgreSQL, but ${name}, on which Sparekey was never tried`,
    );
  });

  test.each([
    ['of an act', "pg_advisory_xact_lock(a int, b int) returns void language sql as ''"],
    ['of acts beside each other', "pg_advisory_xact_lock_shared(a int, b int) returns void language sql as ''"],
    ['of a connection', "pg_try_advisory_lock(a int, b int) returns boolean language sql as 'select true'"],
  ])('whose locks %s are there and keep nobody out is refused, whatever its name is', async (_, text) => {
    const database = await withFunctions(text);
    expect(await refusalOf(addressOf(database))).toMatch(/^DATABASE_UNSUITABLE: .*: its advisory locks keep nobody out/);
  });

  test.each([
    ['ahead of', "- interval '90 seconds'", 90],
    ['behind', "+ interval '90 seconds'", -90],
  ])(
    'from whose clock that of this machine is %s by more than a minute: no backend starts, and a running one raises an alarm until they agree',
    async (side, by) => {
      const database = await withFunctions(`clock_timestamp() returns timestamptz language sql as $$select pg_catalog.clock_timestamp() ${by}$$`);
      const dir = join(scratch('clocks'), 'data');
      await makeDataFolder(dir, await freePort());
      writeFileSync(folderPaths(dir).databaseUrl, addressOf(database), { mode: 0o600 });
      expect(await openBackend({ dir, passphrase: null }).catch((problem: Problem) => `${problem.code}: ${problem.detail}`)).toMatch(
        new RegExp(`^CLOCKS_DIFFER: the clock of this machine is (90|89|91) s ${side} the clock of the database$`),
      );
      const store = await open(addressOf(database));
      // With a time of its own it is not compared.
      const ground = { store, clock: await openClock(store, Date.now), log: silentLog };
      const tell = tellOfClocks(ground, () => aheadOfDatabase(store));
      const alarms = async () => (await store.write((tx) => openFleetAlarms(tx))).map(({ code }) => code);
      await tell();
      await tell();
      expect(await alarms()).toEqual(['CLOCKS_DIFFER']);
      // Another backend, whose clock is right, ends only what it said itself.
      await tellOfClocks(ground, async () => 0, 'another')();
      expect(await alarms()).toEqual(['CLOCKS_DIFFER']);
      await asOwner((client) => client.query('drop function public.clock_timestamp'), database);
      expect(await aheadOfDatabase(store)).toBe(0);
      await tell();
      expect(await alarms()).toEqual([]);
    },
  );
});

describe('PgBouncer', () => {
  testWithPgBouncer('that pools by session: all is as without it, and goes on by itself after it was killed', async () => {
    const bouncer = await startPgBouncer({ socket: server.socket, port }, 'session');
    const address = bouncer.address(await makeOne(template));
    const store = await open(address);
    const { rows } = await sql`select current_setting('statement_timeout') as statement, current_setting('lock_timeout') as lock,
      current_setting('idle_in_transaction_session_timeout') as idle`.execute(store.db);
    expect(rows).toEqual([{ statement: '30s', lock: '20s', idle: '30s' }]);
    const put = (name: string) => store.write((tx) => tx.insertInto('memory').values({ name, value: 'x' }).execute());
    await Promise.all(Array.from({ length: 12 }, (_, at) => put(`n${at}`)));
    const other = await open(address);
    const work: string[] = [];
    await store.alone?.('a', async () => {
      expect(await other.alone?.('a', async () => void work.push('twice'))).toBe(false);
      work.push('once');
    });
    expect(await other.alone?.('a', async () => void work.push('again'))).toBe(true);
    expect(work).toEqual(['once', 'again']);

    const heard = Promise.withResolvers<string | null>();
    const news = postgresNews(address, other.db);
    const hearing = await news.hear((macId) => heard.resolve(macId));
    await store.write((tx) => news.tell(tx, ['a-mac']));
    expect(await heard.promise).toBe('a-mac');
    await hearing.close();

    await bouncer.kill();
    const meanwhile = put('meanwhile');
    await bouncer.start();
    await meanwhile;
    expect(await store.db.selectFrom('memory').select('name').where('name', '=', 'meanwhile').execute()).toHaveLength(1);
    expect(await other.alone?.('a', async () => {})).toBe(true);
  });

  for (const [mode, more] of [
    ['transaction', {}],
    ['transaction', { server_round_robin: '1', min_pool_size: '3' }],
    ['statement', {}],
  ] as const)
    testWithPgBouncer(`that pools by ${mode} is refused at the start (${JSON.stringify(more)})`, async () => {
      const bouncer = await startPgBouncer({ socket: server.socket, port }, mode, more);
      const address = bouncer.address(await makeOne(template));
      // However often it is asked: connections that lie there make no difference.
      for (let times = 0; times < 3; times += 1)
        expect(await refusalOf(address)).toMatch(/^DATABASE_UNSUITABLE: .*a pooler gives each transaction another connection: have it pool by session/);
    });

  testWithPgBouncer('that has fewer connections than one backend wants says so in time', async () => {
    const bouncer = await startPgBouncer({ socket: server.socket, port }, 'session', { default_pool_size: '1' });
    expect(await refusalOf(`${bouncer.address(await makeOne(template))}&connect_timeout=1`)).toMatch(/^STORE_FAILED: .*: it does not answer in time$/);
  });
});
