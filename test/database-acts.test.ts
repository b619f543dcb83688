import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeEach, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { askingNow, whileAsking } from '../server/auditing/asking.ts';
import { openDatabase } from '../server/database.ts';
import type { Store } from '../server/parts.ts';
import { forgetMemory, readMemory, writeMemory } from '../server/store/upkeep.ts';
import { scratch } from './scratch.ts';
import { codeOf } from './server-parts.ts';

/* Acts that wait at the same time share a commit, each in a savepoint: nobody may notice, but for the time it takes. */

const file = join(scratch('acts'), 'server.sqlite');
const store: Store = await openDatabase(file, { busyMilliseconds: 300 });
const other = new DatabaseSync(file);
afterAll(async () => {
  other.close();
  await store.close();
});
beforeEach(async () => {
  await store.write((tx) => tx.deleteFrom('memory').execute());
});

/** What somebody else finds there: committed. */
const stored = (): string[] =>
  other
    .prepare('select name from memory order by name')
    .all()
    .map(({ name }) => String(name));
/** Whether the file has changed for somebody else: once for each commit. */
const version = (): number => Number(other.prepare('pragma data_version').get()?.['data_version']);
const put = (name: string) => store.write((tx) => writeMemory(tx, name, 'x'));
const failing = (name: string) =>
  store.write(async (tx) => {
    await writeMemory(tx, name, 'x');
    throw new Error(`${name} does not want to`);
  });

test('acts that come together are one commit, in their order, and each reads what those before it wrote', async () => {
  const before = version();
  const seen = await Promise.all(
    Array.from({ length: 20 }, (_, at) =>
      store.write(async (tx) => {
        const last = Number((await readMemory(tx, 'n')) ?? '-1');
        await writeMemory(tx, 'n', String(at));
        // By Kysely's own way, too.
        const { n } = await tx
          .selectFrom('memory')
          .select((e) => e.fn.countAll<number>().as('n'))
          .executeTakeFirstOrThrow();
        return [last, n];
      }),
    ),
  );
  expect(seen).toEqual(Array.from({ length: 20 }, (_, at) => [at - 1, 1]));
  expect(await readMemory(store.db, 'n')).toBe('19');
  expect(version()).not.toBe(before);
});

test('one that fails takes back what it wrote, also what it did not wait for, and nothing of the others', async () => {
  const ends = await Promise.allSettled([
    put('a'),
    store.write(async (tx) => {
      await writeMemory(tx, 'b', 'x');
      // Goes on while the act has failed already.
      void tx
        .selectFrom('memory')
        .selectAll()
        .execute()
        .then(() => writeMemory(tx, 'left behind', 'x'))
        .then(() => tx.insertInto('memory').values({ name: 'left behind too', value: 'x' }).execute());
      throw new Error('b does not want to');
    }),
    put('c'),
    failing('d'),
    store.write((tx) => readMemory(tx, 'b')),
  ]);
  expect(ends.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected', 'fulfilled']);
  expect([ends[1], ends[3]]).toMatchObject([{ reason: { message: 'b does not want to' } }, { reason: { message: 'd does not want to' } }]);
  expect(ends[4]).toMatchObject({ value: null });
  expect(stored()).toEqual(['a', 'c']);
});

test('nobody is told anything before the commit, not even that it failed', async () => {
  const told: string[] = [];
  const note = (name: string) => () => void told.push(`${name}: ${stored().join('') || 'nothing'}`);
  let during = '';
  await Promise.allSettled([
    put('a').finally(note('a')),
    failing('b').finally(note('b')),
    store
      .write(async (tx) => {
        await writeMemory(tx, 'c', 'x');
        during = `${stored().length} stored, ${told.length} told`;
      })
      .finally(note('c')),
  ]);
  expect(during).toBe('0 stored, 0 told');
  expect(told).toEqual(['a: ac', 'b: ac', 'c: ac']);
});

test('when the commit fails, or the disk is full in the middle of it, all of them have failed, and the same acts work afterwards', async () => {
  // A key of another table that is not there is found out at the commit alone.
  const acts = () => [
    put('a'),
    store.write(async (tx) => {
      await sql`pragma defer_foreign_keys = on`.execute(tx);
      await tx.insertInto('fleet_need').values({ mac_id: 'nobody', kind: 'x', since: 1, detail: '' }).execute();
    }),
    failing('b'),
  ];
  const ends = await Promise.allSettled(acts());
  expect(ends.map((end) => (end.status === 'rejected' ? String(end.reason.message) : end.status))).toEqual(Array(3).fill('FOREIGN KEY constraint failed'));
  expect(stored()).toEqual([]);

  const { page_count: pages } = (await sql.raw<{ page_count: number }>('pragma page_count').execute(store.db)).rows[0] ?? { page_count: 0 };
  await sql.raw(`pragma max_page_count = ${pages + 2}`).execute(store.db);
  const full = [put('a'), store.write((tx) => writeMemory(tx, 'large', 'x'.repeat(1_000_000))), put('c')];
  const codes = await Promise.all(full.map((act) => act.then(() => 'stored').catch((error: { code?: string }) => error.code)));
  await sql.raw('pragma max_page_count = 1000000').execute(store.db);
  // Where SQLite took back the one act alone, the others are there; each has been told what is so.
  expect(codes[1]).toBe('STORE_FAILED');
  expect(stored()).toEqual(['a', 'c'].filter((_, at) => codes[at * 2] === 'stored'));
  await Promise.all([put('a'), put('c')]);
  expect(stored()).toEqual(['a', 'c']);
});

test('while another process has the lock all of them wait, and each is refused when its own time is over', async () => {
  other.exec('begin immediate');
  const waiting = [put('a'), put('b')];
  expect(await Promise.all(waiting.map(codeOf))).toEqual(['STORE_FAILED', 'STORE_FAILED']);
  const later = put('c');
  other.exec('rollback');
  await later;
  expect(stored()).toEqual(['c']);
});

test('each act is done in the name of the request that it came by', async () => {
  const ask = (requestId: string) => whileAsking({ requestId }, () => store.write(async () => askingNow().requestId));
  expect(await Promise.all([ask('one'), ask('two'), ask('three')])).toEqual(['one', 'two', 'three']);
});

test('a question beside an act sees nothing of it before its commit, and an act that is over asks nothing more', async () => {
  let kept: Parameters<Parameters<Store['write']>[0]>[0] | undefined;
  let asked: Promise<string | null> | undefined;
  await store.write(async (tx) => {
    kept = tx;
    await writeMemory(tx, 'a', 'x');
    asked = readMemory(store.db, 'a');
    expect(await readMemory(tx, 'a')).toBe('x');
    await writeMemory(tx, 'a', 'y');
  });
  // It has waited for the end of the act.
  expect(await asked).toBe('y');
  await expect(forgetMemory(kept as never, 'a')).rejects.toThrow(/committed/);
  await expect(readMemory(kept as never, 'a')).rejects.toThrow(/committed/);
});

test('what is remembered with an act is of this act alone, also where its neighbour has failed', async () => {
  const known = new WeakMap<object, string>();
  const remember = (name: string, fails = false) =>
    store.write(async (tx) => {
      const before = known.get(tx) ?? 'nothing';
      known.set(tx, name);
      if (fails) throw new Error('on purpose');
      return before;
    });
  const ends = await Promise.allSettled([remember('a'), remember('b', true), remember('c')]);
  expect(ends.map((end) => (end.status === 'fulfilled' ? end.value : end.status))).toEqual(['nothing', 'rejected', 'nothing']);
});

test('a store that is closed has done what it was asked before', async () => {
  const own = join(scratch('acts'), 'server.sqlite');
  const one = await openDatabase(own);
  const acts = Promise.all([one.write((tx) => writeMemory(tx, 'a', 'x')), one.write((tx) => writeMemory(tx, 'b', 'x'))]);
  await one.close();
  await acts;
  const again = await openDatabase(own);
  expect(await readMemory(again.db, 'b')).toBe('x');
  await again.close();
});
