import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import fc from 'fast-check';
import { sql } from 'kysely';
import { audit, verifyAudit } from '../server/audit.ts';
import { openClock, type ServerClock } from '../server/clock.ts';
import { type Custody, createCustody } from '../server/custody.ts';
import { openDatabase } from '../server/database.ts';
import type { Own, Store, Tx } from '../server/parts.ts';
import { readMemory, writeMemory } from '../server/store/upkeep.ts';
import { placeOf, postgres } from './new-database.ts';
import { asOwner } from './postgres-databases.ts';
import { scratch } from './scratch.ts';
import { type GivenServer, givenServer, hour, minute, secrets, type TestMac } from './server-parts.ts';

/* Acts on PostgreSQL that share a commit, and narrow ones that are carried out side by side. What comes first is shown by waiting for it, never by time. */

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one.close();
});
async function given(): Promise<GivenServer> {
  const server = await givenServer();
  opened.push(server);
  return server;
}
async function another(server: GivenServer): Promise<Store> {
  const store = await openDatabase(placeOf(server.file));
  opened.push(store);
  return store;
}

const pidOf = async (db: Store['db']): Promise<number> => (await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(db)).rows[0]?.pid ?? 0;
const end = (pid: number): Promise<unknown> => asOwner(postgres ?? '', (client) => client.query('select pg_terminate_backend($1, 5000)', [pid]));
const put = (tx: Tx, name: string): Promise<void> => writeMemory(tx, name, 'x');
const stored = async ({ db }: Store): Promise<string[]> =>
  (await db.selectFrom('memory').select('name').where('name', '<>', 'clock').orderBy('name').execute()).map(({ name }) => name);
const told = (ends: readonly PromiseSettledResult<unknown>[]): string[] =>
  ends.map((one) => (one.status === 'fulfilled' ? 'stored' : String(one.reason.detail ?? one.reason.message)));
const gate = () => Promise.withResolvers<void>();
/** Waits until so many acts wait for one of our locks in this database. */
async function untilWaiting(store: Store, many: number): Promise<void> {
  const waits = sql<{ n: number }>`select count(*)::int as n from pg_locks where locktype = 'advisory' and not granted
    and database = (select oid from pg_database where datname = current_database())`;
  while (((await waits.execute(store.db)).rows[0]?.n ?? 0) < many) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** The connection is ended while the commit is carried out: what it wrote is taken back, and whoever waits for its answer does not know. */
async function endAtTheCommit({ db }: Store, event: 'insert on memory' | 'update on mac'): Promise<void> {
  const ending = sql`begin perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(1); return null; end`;
  await sql`create or replace function end_it() returns trigger language plpgsql as $$ ${ending} $$`.execute(db);
  await sql`create constraint trigger end_it after ${sql.raw(event)} deferrable initially deferred for each row execute function end_it()`.execute(db);
}

/** A slow machine takes fewer of them into one transaction. */
function stopTime(): void {
  const at = performance.now();
  jest.spyOn(performance, 'now').mockReturnValue(at);
}

describe('acts that wait at the same time', () => {
  test('go into one transaction, in their order; one that fails takes back what it wrote, also what it did not wait for, and nothing of the others', async () => {
    const { store } = await given();
    stopTime();
    const transactions: string[] = [];
    const act = (name: string, work: (tx: Tx) => Promise<unknown> = async () => undefined) =>
      store.write(async (tx) => {
        transactions.push((await sql<{ id: string }>`select pg_current_xact_id()::text as id`.execute(tx)).rows[0]?.id ?? '');
        await put(tx, name);
        return work(tx);
      });
    const ends = await Promise.allSettled([
      act('a'),
      act('b', async (tx) => {
        void put(tx, 'left behind')
          .then(() => put(tx, 'left behind too'))
          .catch(() => undefined);
        throw new Error('b does not want to');
      }),
      act('c', (tx) => readMemory(tx, 'a')),
      act('d', (tx) => sql`select 1 / 0`.execute(tx)),
      act('e', (tx) => sql`select 1 / 0`.execute(tx).catch(() => undefined)),
      act('f', (tx) => Promise.all(['a', 'b', 'd', 'e', 'left behind'].map((name) => readMemory(tx, name)))),
    ]);
    expect(new Set(transactions).size).toBe(1);
    expect(told(ends)).toEqual(['stored', 'b does not want to', 'stored', 'division by zero', expect.stringContaining('taken back'), 'stored']);
    expect(ends[2]).toMatchObject({ value: 'x' });
    expect(ends[5]).toMatchObject({ value: ['x', null, null, null, null] });
    expect(await stored(store)).toEqual(['a', 'c', 'f']);
  });

  test('are told nothing before the commit, not even that they failed', async () => {
    const server = await given();
    stopTime();
    const words: string[] = [];
    const note = (name: string) => () => void words.push(name);
    let during = '';
    await Promise.allSettled([
      server.store.write((tx) => put(tx, 'a')).finally(note('a')),
      server.store.write((tx) => put(tx, 'b').then(() => Promise.reject(new Error('on purpose')))).finally(note('b')),
      server.store.write(async (tx) => {
        await put(tx, 'c');
        during = `${(await stored(server.store)).length} stored, ${words.length} told`;
      }),
    ]);
    expect(during).toBe('0 stored, 0 told');
    expect(words).toEqual(['a', 'b']);
  });

  test('of which the connection is killed before the commit are done again, each once, and none is acknowledged that is not stored', async () => {
    const { store } = await given();
    stopTime();
    const tries = { a: 0, b: 0, c: 0 };
    const act = (name: keyof typeof tries, work: (tx: Tx) => Promise<unknown> = async () => undefined) =>
      store.write(async (tx) => {
        tries[name] += 1;
        await audit(tx, { at: 1, actor: name, act: 'test.done', details: {} });
        await work(tx);
      });
    const inTheMiddle = await Promise.allSettled([
      act('a'),
      act('b', async (tx) => {
        if (tries.b === 1) await end(await pidOf(tx));
        await put(tx, 'after');
      }),
      act('c'),
    ]);
    expect(told(inTheMiddle)).toEqual(['stored', 'stored', 'stored']);
    expect(tries).toMatchObject({ a: 2, b: 2 });
    const actors = async () => (await store.db.selectFrom('audit').select('actor').orderBy('seq').execute()).map(({ actor }) => actor);
    expect(await actors()).toEqual(['a', 'b', 'c']);
    // After the last statement: it is seen before the commit is sent, or it is not known.
    tries.c = 0;
    const atTheEnd = await Promise.allSettled([act('a'), act('b'), act('c', async (tx) => void (tries.c === 1 && (await end(await pidOf(tx)))))]);
    const isKnown = told(atTheEnd).every((one) => one === 'stored');
    expect(new Set(told(atTheEnd)).size).toBe(1);
    expect(await actors()).toEqual(isKnown ? ['a', 'b', 'c', 'a', 'b', 'c'] : ['a', 'b', 'c']);
    expect(await verifyAudit(store)).toMatchObject({ ok: true });
  });

  test('whose commit is lost are not done again, and all are told that it is not known', async () => {
    const { store } = await given();
    stopTime();
    await endAtTheCommit(store, 'insert on memory');
    let tries = 0;
    const act = (fails = false) =>
      store.write(async (tx) => {
        tries += 1;
        await put(tx, `x${tries}`);
        if (fails) throw new Error('on purpose');
      });
    const ends = await Promise.allSettled([act(), act(true), act()]);
    expect(told(ends)).toEqual(Array(3).fill(expect.stringContaining('whether it was stored is not known')));
    expect(tries).toBe(3);
    await sql`drop trigger end_it on memory`.execute(store.db);
    expect(await stored(store)).toEqual([]);
  });

  test('in which a file cannot be read fail by that: no connection was lost, and nothing is done again', async () => {
    const { store } = await given();
    const tries: string[] = [];
    const reading = (name: string) => async () => {
      tries.push(name);
      readFileSync(join(scratch('no-files'), name));
    };
    const ended = await Promise.allSettled([store.write(reading('one')), store.write(reading('another'))]);
    expect(ended.map((one) => (one.status === 'rejected' ? one.reason.code : 'stored'))).toEqual(['ENOENT', 'ENOENT']);
    await expect(store.write(reading('alone'))).rejects.toThrow('ENOENT');
    expect(tries).toEqual(['one', 'another', 'alone']);
  });

  test('leave another backend its turn: no act is begun after its time while others wait', async () => {
    const server = await given();
    const other = await another(server);
    const add = (store: Store, n: number, work: () => Promise<unknown> = async () => undefined) =>
      store.write(async (tx) => {
        await audit(tx, { at: 1, actor: String(n), act: 'test.done', details: {} });
        await work();
      });
    const { promise: isIn, resolve: inside } = gate();
    let its: Promise<void> = Promise.resolve();
    const first = add(server.store, 0, async () => {
      inside();
      its = add(other, 100);
      await untilWaiting(server.store, 1);
      // Longer than a group takes acts.
      await new Promise((resolve) => setTimeout(resolve, 60));
    });
    const others = [1, 2, 3].map((n) => add(server.store, n));
    await isIn;
    await Promise.all([first, ...others]);
    await its;
    const rows = await server.store.db.selectFrom('audit').select('actor').orderBy('seq').execute();
    expect(rows.map(({ actor }) => actor)).toEqual(['0', '100', '1', '2', '3']);
  });
});

const ownOf = (mac: TestMac): Own => ({ macId: mac.id, enrolmentId: mac.enrolmentId });
const seenAt = async ({ db }: Store, mac: TestMac): Promise<number | null | undefined> =>
  (await db.selectFrom('mac').select('last_seen_at').where('id', '=', mac.id).executeTakeFirst())?.last_seen_at;
const see = (tx: Tx, mac: TestMac, at: number) => tx.updateTable('mac').set({ last_seen_at: at }).where('id', '=', mac.id).execute();

/** Notes when it is in and out; stays until it may go. */
function staying(name: string, events: string[]) {
  const { promise: isIn, resolve: inside } = gate();
  const { promise: mayGo, resolve: go } = gate();
  const work = async (): Promise<void> => {
    events.push(`${name} in`);
    inside();
    await mayGo;
    events.push(`${name} out`);
  };
  return { work, isIn, go };
}

describe('narrow acts', () => {
  const narrow = (store: Store, mac: TestMac, at: number, work: () => Promise<unknown>) =>
    store.writeFor?.(ownOf(mac), async (tx, isNarrow) => {
      await see(tx, mac, at);
      await work();
      return isNarrow;
    });

  test('of different Macs are inside at the same time, of one backend and of two', async () => {
    const server = await given();
    const other = await another(server);
    const [one, two] = [await server.newMac(), await server.newMac()];
    for (const [a, b] of [
      [server.store, other],
      [other, other],
    ] as const) {
      const [first, second] = [gate(), gate()];
      // Each goes on when the other one is inside: one after another they would never end.
      const meet = (mine: typeof first, its: typeof first) => () => {
        mine.resolve();
        return its.promise;
      };
      const acts = [narrow(a, one, 5, meet(first, second)), narrow(b, two, 6, meet(second, first))];
      expect(await Promise.all(acts)).toEqual([true, true]);
    }
    expect([await seenAt(other, one), await seenAt(other, two)]).toEqual([5, 6]);
  });

  test('of one Mac come one after another, and an ordinary act waits for them as they do for it', async () => {
    const server = await given();
    const other = await another(server);
    const mac = await server.newMac();
    const third = await server.newMac();
    const events: string[] = [];
    const a = staying('a', events);
    const b = staying('b', events);
    const whole = staying('whole', events);
    const after = staying('after', events);
    const acts: Promise<unknown>[] = [];
    acts.push(Promise.resolve(narrow(server.store, mac, 1, a.work)));
    await a.isIn;
    acts.push(Promise.resolve(narrow(other, mac, 2, b.work)));
    await untilWaiting(other, 1);
    acts.push(server.store.write(whole.work));
    await untilWaiting(other, 2);
    // Behind an ordinary act that waits nobody goes first, whichever Mac it is for.
    acts.push(Promise.resolve(narrow(other, third, 3, after.work)));
    await untilWaiting(other, 3);
    for (const one of [a, b, whole, after]) {
      await one.isIn;
      one.go();
    }
    await Promise.all(acts);
    expect(events).toEqual(['a', 'b', 'whole', 'after'].flatMap((name) => [`${name} in`, `${name} out`]));
    expect(await seenAt(server.store, mac)).toBe(2);
  });

  test('that write anything else are taken back and done once more, alone, whatever they make of the refusal', async () => {
    const { store, newMac } = await given();
    const [mac, other] = [await newMac(), await newMac()];
    const forbidden: ((tx: Tx) => Promise<unknown>)[] = [
      (tx) => audit(tx, { at: 1, actor: 'a', act: 'test.done', details: {} }),
      (tx) => see(tx, other, 9),
      (tx) => tx.updateTable('mac').set({ serial: 'C02OTHER' }).where('id', '=', mac.id).execute(),
      (tx) => sql`select pg_notify('x', 'y')`.execute(tx),
      (tx) => put(tx, 'x').catch(() => undefined),
    ];
    for (const [at, write] of forbidden.entries()) {
      const ways: boolean[] = [];
      await store.writeFor?.(ownOf(mac), async (tx, isNarrow) => {
        ways.push(isNarrow);
        await see(tx, mac, at);
        await write(tx);
        await tx
          .insertInto('mac_dirty')
          .values({ mac_id: mac.id })
          .onConflict((c) => c.doNothing())
          .execute();
      });
      expect(ways).toEqual([true, false]);
    }
    expect(await store.db.selectFrom('audit').select('act').execute()).toEqual([{ act: 'test.done' }]);
    expect([await seenAt(store, mac), await seenAt(store, other)]).toEqual([4, 9]);
    expect(await stored(store)).toEqual(['x']);
    // What fails by itself is not done again.
    let tries = 0;
    const act = store.writeFor?.(ownOf(mac), async (tx) => {
      tries += 1;
      await see(tx, mac, 50);
      throw new Error('on purpose');
    });
    await expect(act).rejects.toThrow('on purpose');
    expect([tries, await seenAt(store, mac)]).toEqual([1, 4]);
  });

  test('whose connection is killed are done again; at the commit it is not known', async () => {
    const { store, newMac } = await given();
    const mac = await newMac();
    let tries = 0;
    await store.writeFor?.(ownOf(mac), async (tx) => {
      tries += 1;
      if (tries === 1) await end(await pidOf(tx)).catch(() => undefined);
      await see(tx, mac, tries);
    });
    expect([tries, await seenAt(store, mac)]).toEqual([2, 2]);
    await endAtTheCommit(store, 'update on mac');
    tries = 0;
    const lost = await Promise.allSettled([
      store.writeFor?.(ownOf(mac), async (tx) => {
        tries += 1;
        await see(tx, mac, 7);
      }),
    ]);
    expect(told(lost)).toEqual([expect.stringContaining('whether it was stored is not known')]);
    expect([tries, await seenAt(store, mac)]).toEqual([1, 2]);
    await sql`drop trigger end_it on mac`.execute(store.db);
  });

  test('do not keep questions waiting, however many there are', async () => {
    const server = await given();
    const mac = await server.newMac();
    const { promise: mayGo, resolve: go } = gate();
    const { promise: isIn, resolve: inside } = gate();
    const acts = Array.from({ length: 12 }, (_, n) =>
      narrow(server.store, mac, n + 1, () => {
        inside();
        return mayGo;
      }),
    );
    const whole = Array.from({ length: 12 }, (_, n) => server.store.write((tx) => put(tx, `n${n}`)));
    await isIn;
    expect(await stored(server.store)).toEqual([]);
    go();
    await Promise.all([...acts, ...whole]);
    expect(await stored(server.store)).toHaveLength(12);
  });
});

describe('a check-in', () => {
  /** The same backend, noting which of its acts were narrow in the end. */
  function watched(server: GivenServer, store: Store, clock: ServerClock) {
    const ways: boolean[] = [];
    const { writeFor } = store;
    if (!writeFor) throw new Error('it has no narrow acts');
    const watching: Store = { ...store, writeFor: (own, act) => writeFor(own, (tx, isNarrow) => act(tx, isNarrow).finally(() => ways.push(isNarrow))) };
    const custody = createCustody({ store: watching, clock, escrowKeys: server.escrow, secrets, settings: server.settings });
    return { ways, custody };
  }
  const by = (mac: TestMac, custody: Custody): TestMac => Object.create(mac, { server: { value: { ...mac.server, custody } } });

  test('of a Mac that has nothing to say is a narrow act; with news it is none, nor where another Mac has its serial number', async () => {
    const server = await given();
    const { ways, custody } = watched(server, server.store, server.clock);
    const mac = by(await server.newMac(), custody);
    const waysOf = async (work: () => Promise<unknown>) => {
      server.wall.pass(hour);
      ways.length = 0;
      await work();
      return [...ways];
    };
    await mac.escrowed();
    await mac.checkIn();
    expect(await waysOf(() => mac.checkIn())).toEqual([true]);
    mac.reboot();
    expect(await waysOf(() => mac.checkIn())).toEqual([true]);
    mac.factsMore = { name: 'another name' };
    expect(await waysOf(() => mac.checkIn())).toEqual([true]);
    mac.factsMore = { macosBuild: '25C99', capability: 'works' };
    expect(await waysOf(() => mac.checkIn())).toEqual([true, false]);
    expect(await waysOf(() => mac.owe())).toEqual([]);
    const like = by(await server.newMac({ serial: mac.serial, serialProved: false }), custody);
    expect(await waysOf(() => like.checkIn())).toEqual([true, false]);
    expect(await server.alarms()).toContain('SERIAL_CONFLICT');
  });

  test('is dated like any other act, and before none that was stored before it, whatever the clock of its backend says', async () => {
    const server = await given();
    const slow = await openClock(
      await another(server),
      () => server.wall.now() - minute,
      () => undefined,
    );
    const { ways, custody } = watched(server, server.store, slow);
    const mac = await server.newMac();
    await mac.checkIn();
    server.wall.pass(hour);
    const seen = (await mac.checkIn()).serverTime;
    expect((await by(mac, custody).checkIn()).serverTime >= seen).toBe(true);
    expect(ways.at(-1)).toBe(true);
    expect(Date.parse(seen)).toBe(server.wall.now());
    await server.store.write(async (tx) => expect(await slow.persist(tx)).toBeGreaterThanOrEqual(Date.parse(seen)));
  });

  test('a moment after the end of a rotation is dated after it: the next key that somebody else makes is not explained by that rotation', async () => {
    const server = await given();
    const mac = await server.newMac();
    const hasFile = (digit: string) => {
      mac.escrowFile = { digest: digit.repeat(64), recipient: null, ours: true };
    };
    hasFile('1');
    await mac.escrowed();
    await mac.checkIn();
    server.wall.pass(hour);
    await mac.checkIn();
    await mac.owe();
    server.wall.pass(minute);
    await mac.rotate();
    server.wall.pass(50);
    hasFile('2');
    expect((await mac.checkIn()).custody).toBe('held');
    server.wall.pass(15 * minute);
    hasFile('3');
    const { custody, proofOrders } = await mac.checkIn();
    expect({ custody, orders: proofOrders.length }).toEqual({ custody: 'doubtful', orders: 1 });
  });

  test('a moment after an enrolment is dated after it: two of one Mac that both speak are seen', async () => {
    const server = await given();
    const mac = await server.newMac();
    await mac.checkIn();
    server.wall.pass(hour);
    await mac.checkIn();
    const first = mac.enrolmentId;
    server.wall.pass(hour);
    await server.store.write((tx) => server.clock.persist(tx));
    await mac.enrol({}, true);
    server.wall.pass(50);
    await mac.checkIn();
    server.wall.pass(5 * minute);
    await mac.checkIn({}, { enrolmentId: first });
    expect(await server.alarms()).toContain('TWO_ENROLMENTS');
  });

  test('leaves the same rows beside others, of two backends, as one after another', async () => {
    const [together, inTurn] = [await given(), await given()];
    const other = await another(together);
    const customers = [together.custody, watched(together, other, await openClock(other, together.wall.now)).custody];
    const macs = 3;
    /** What Macs say, and when an act that reads all of them comes in between: pairs of a Mac and a word. */
    const words = fc.array(
      fc.record({ mac: fc.nat(macs - 1), says: fc.constantFrom('quiet', 'renamed', 'rebooted', 'owes', 'counted' as const), backend: fc.nat(1) }),
      {
        minLength: 4,
        maxLength: 10,
      },
    );
    const property = fc.asyncProperty(words, async (course) => {
      const pairs: [TestMac, TestMac][] = [];
      for (let n = 0; n < macs; n += 1) {
        const one = await together.newMac();
        const twin = await inTurn.newMac({ serial: one.serial, hardwareUuid: one.hardwareUuid });
        pairs.push([one, Object.assign(twin, { volume: one.volume, boot: one.boot })]);
      }
      const sums: number[] = [];
      const say = async (server: GivenServer, mac: TestMac, says: (typeof course)[number]['says'], at: number) => {
        if (says === 'counted') {
          await server.store.write(async (tx) => {
            const count = async () => (await tx.selectFrom('mac').select('id').where('present_volume', 'is not', null).execute()).length;
            const before = await count();
            sums.push((await count()) - before);
          });
          return;
        }
        if (says === 'rebooted') Object.assign(mac, { boot: `BOOT-${at}` });
        if (says === 'renamed') mac.factsMore = { name: `name ${at}` };
        await mac.checkIn(says === 'owes' ? { debts: [{ id: `debt-${at}-${mac.serial}`, because: 'used', envelopeId: null, boot: mac.boot }] } : {});
      };
      // Those of one Mac come in their order, as from one Mac they do; all Macs at once.
      const ofMac = (n: number) => course.map((word, at) => ({ ...word, at })).filter(({ mac }) => mac === n);
      await Promise.all(
        pairs.map(async ([mac], n) => {
          for (const { says, backend, at } of ofMac(n))
            await say(together, Object.assign(mac, { server: { ...together, custody: customers[backend] } }), says, at);
        }),
      );
      for (const [n, [, mac]] of pairs.entries()) for (const { says, at } of ofMac(n)) await say(inTurn, mac, says, at);
      expect(sums.every((difference) => difference === 0)).toBe(true);
      for (const [one, twin] of pairs) expect(await rowsOf(together.store, one)).toEqual(await rowsOf(inTurn.store, twin));
      for (const { wall } of [together, inTurn]) wall.pass(minute);
    });
    await fc.assert(property, { numRuns: 6 });
    expect(await verifyAudit(together.store)).toMatchObject({ ok: true });
  });

  /** Without the ids that are made anew. */
  async function rowsOf({ db }: Store, { id, enrolmentId }: TestMac): Promise<unknown> {
    const mac = await db.selectFrom('mac').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
    const enrolment = await db.selectFrom('enrolment').select(['last_seen_at', 'status']).where('id', '=', enrolmentId).execute();
    const sessions = await db.selectFrom('session').selectAll().where('enrolment_id', '=', enrolmentId).orderBy('boot').execute();
    const debts = await db.selectFrom('debt').select(['id', 'because', 'opened_at', 'closed_at']).where('mac_id', '=', id).orderBy('id').execute();
    const dirty = await db.selectFrom('mac_dirty').select('mac_id').where('mac_id', '=', id).execute();
    const acts = await db.selectFrom('audit').select(['act', 'at']).where('mac_id', '=', id).orderBy('seq').execute();
    return { mac: { ...mac, id: '' }, enrolment, sessions: sessions.map((one) => ({ ...one, enrolment_id: '' })), debts, dirty: dirty.length, acts };
  }
});
