import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { openClock } from '../server/clock.ts';
import { openDatabase } from '../server/database.ts';
import type { Store } from '../server/parts.ts';
import { scratch } from './scratch.ts';
import { codeOf } from './server-parts.ts';

const newFile = () => join(scratch('database'), 'server.sqlite');
const remember = (store: Store, name: string, value = 'x') => store.write((tx) => tx.insertInto('memory').values({ name, value }).execute());
const remembered = async (store: Store) => (await store.db.selectFrom('memory').select('name').orderBy('name').execute()).map((row) => row.name);

test('a database is readable by its owner only, with the files that SQLite puts beside it', async () => {
  const file = newFile();
  const store = await openDatabase(file);
  await remember(store, 'a');
  for (const name of [file, `${file}-wal`, `${file}-shm`]) expect(statSync(name).mode & 0o777).toBe(0o600);
  await store.close();
  chmodSync(file, 0o644);
  await (await openDatabase(file)).close();
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test('every commit reaches the disk, and rows that belong together stay together', async () => {
  const store = await openDatabase(newFile());
  const pragma = async (name: string) => Object.values((await sql.raw(`pragma ${name}`).execute(store.db)).rows[0] as object)[0];
  expect([await pragma('journal_mode'), await pragma('synchronous'), await pragma('foreign_keys'), await pragma('busy_timeout')]).toEqual(['wal', 2, 1, 50]);
  const orphan = {
    id: 'a',
    mac_id: 'nobody',
    reason: '',
    actor: '',
    created_at: 1,
    expires_at: 2,
    without_login: 0,
    override_hold: 0,
    state: 'waiting' as const,
  };
  await expect(store.write((tx) => tx.insertInto('rotation_order').values(orphan).execute())).rejects.toThrow(/foreign key/i);
  await store.close();
});

test('an act that fails leaves nothing, and the next one works', async () => {
  const store = await openDatabase(newFile());
  const failed = store.write(async (tx) => {
    await tx.insertInto('memory').values({ name: 'half', value: '' }).execute();
    throw new Error('in the middle');
  });
  await expect(failed).rejects.toThrow('in the middle');
  await remember(store, 'whole');
  expect(await remembered(store)).toEqual(['whole']);
  await store.close();
});

test('acts that come at once run one after another', async () => {
  const store = await openDatabase(newFile());
  await remember(store, 'n', '0');
  const add = () =>
    store.write(async (tx) => {
      const { value } = await tx.selectFrom('memory').select('value').where('name', '=', 'n').executeTakeFirstOrThrow();
      await tx
        .updateTable('memory')
        .set({ value: String(Number(value) + 1) })
        .where('name', '=', 'n')
        .execute();
    });
  await Promise.all(Array.from({ length: 50 }, add));
  const { value } = await store.db.selectFrom('memory').select('value').executeTakeFirstOrThrow();
  expect(value).toBe('50');
  await store.close();
});

test('a database of a newer backend is refused and not touched', async () => {
  const file = newFile();
  await (await openDatabase(file)).close();
  const raw = new DatabaseSync(file);
  raw.exec('pragma journal_mode = delete; pragma user_version = 99');
  raw.close();
  const before = readFileSync(file);
  expect(await codeOf(openDatabase(file))).toBe('DATABASE_TOO_NEW');
  expect(readFileSync(file).equals(before)).toBe(true);
  expect(existsSync(`${file}-wal`)).toBe(false);
});

test('a migration that fails in the middle leaves no table', async () => {
  const file = newFile();
  const raw = new DatabaseSync(file);
  raw.exec('create table audit (something text)');
  raw.close();
  await expect(openDatabase(file)).rejects.toThrow(/already exists/);
  const after = new DatabaseSync(file);
  expect(
    after
      .prepare("select name from sqlite_master where type = 'table'")
      .all()
      .map((row) => row['name']),
  ).toEqual(['audit']);
  expect(after.prepare('pragma user_version').get()?.['user_version']).toBe(0);
  after.close();
});

test('a full disk is STORE_FAILED with nothing half done', async () => {
  const store = await openDatabase(newFile());
  await remember(store, 'before');
  const { page_count: pages } = (await sql.raw<{ page_count: number }>('pragma page_count').execute(store.db)).rows[0] ?? { page_count: 0 };
  await sql.raw(`pragma max_page_count = ${pages + 2}`).execute(store.db);
  const large = store.write(async (tx) => {
    await tx.insertInto('memory').values({ name: 'small', value: '' }).execute();
    await tx
      .insertInto('memory')
      .values({ name: 'large', value: 'x'.repeat(1_000_000) })
      .execute();
  });
  expect(await codeOf(large)).toBe('STORE_FAILED');
  expect(await remembered(store)).toEqual(['before']);
  await sql.raw('pragma max_page_count = 1000000').execute(store.db);
  await remember(store, 'after');
  expect(await remembered(store)).toEqual(['after', 'before']);
  await store.close();
});

test('a database that may only be read, and one that another process does not let go, are STORE_FAILED', async () => {
  const file = newFile();
  const store = await openDatabase(file, { busyMilliseconds: 50 });
  const other = new DatabaseSync(file);
  other.exec('begin immediate');
  expect(await codeOf(remember(store, 'a'))).toBe('STORE_FAILED');
  other.exec('rollback');
  await remember(store, 'b');
  await sql.raw('pragma query_only = on').execute(store.db);
  expect(await codeOf(remember(store, 'c'))).toBe('STORE_FAILED');
  await sql.raw('pragma query_only = off').execute(store.db);
  expect(await remembered(store)).toEqual(['b']);
  other.close();
  await store.close();
});

test('several processes may open and write one database at once, from its first moment', async () => {
  const file = newFile();
  const source = new URL('../server/database.ts', import.meta.url).href;
  const program = `
    const { openDatabase } = await import(${JSON.stringify(source)});
    const store = await openDatabase(${JSON.stringify(file)});
    for (let i = 0; i < 20; i += 1) await store.write((tx) => tx.insertInto('memory').values({ name: process.pid + '-' + i, value: '' }).execute());
    await store.close();`;
  const shell = `for n in 1 2 3; do "${process.execPath}" --input-type=module -e "$PROGRAM" & all="$all $!"; done; for p in $all; do wait $p || exit 1; done`;
  const { status, stderr } = spawnSync('/bin/sh', ['-c', shell], { env: { PATH: process.env['PATH'], PROGRAM: program }, encoding: 'utf8', timeout: 100_000 });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const store = await openDatabase(file);
  expect(await remembered(store)).toHaveLength(60);
  await store.close();
});

test('time never steps back, not over a restart either, and goes on while the wall clock is behind', async () => {
  const store = await openDatabase(newFile());
  const warned: string[] = [];
  let wall = 1_000_000_000;
  const clock = await openClock(
    store,
    () => wall,
    (words) => warned.push(words),
  );
  expect(clock.now()).toBe(1_000_000_000);
  wall += 5_000;
  expect(await store.write((tx) => clock.persist(tx))).toBe(1_000_005_000);
  expect(warned).toEqual([]);

  wall -= 3_600_000;
  const reopened = await openClock(
    store,
    () => wall,
    (words) => warned.push(words),
  );
  const first = reopened.now();
  expect(first).toBeGreaterThanOrEqual(1_000_005_000);
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(reopened.now()).toBeGreaterThan(first);
  expect(warned).toHaveLength(1);
  expect(warned[0]).toContain('3600 s behind');

  wall += 7_200_000;
  expect(reopened.now()).toBe(wall);
  await store.close();
});

test('an act is not dated before one of another process', async () => {
  const file = newFile();
  const [one, two] = [await openDatabase(file), await openDatabase(file)];
  const ahead = await openClock(
    one,
    () => 2_000_000,
    () => {},
  );
  const behind = await openClock(
    two,
    () => 1_000_000,
    () => {},
  );
  await one.write((tx) => ahead.persist(tx));
  expect(await two.write((tx) => behind.persist(tx))).toBeGreaterThanOrEqual(2_000_000);
  expect(behind.now()).toBeGreaterThanOrEqual(2_000_000);
  await one.close();
  await two.close();
});
