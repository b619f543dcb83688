import { afterEach, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { audit, verifyAudit } from '../server/audit.ts';
import { openClock } from '../server/clock.ts';
import { createCustody } from '../server/custody.ts';
import { openDatabase } from '../server/database.ts';
import { atMost } from '../server/database-turns.ts';
import { tellOfCertificates } from '../server/operator-alarms.ts';
import type { Store } from '../server/parts.ts';
import { placeOf, postgres } from './new-database.ts';
import { asOwner } from './postgres-databases.ts';
import { digestOf, type GivenServer, givenServer, secrets } from './server-parts.ts';

// Two backends on one PostgreSQL database, and connections that are killed in the middle.

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
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

const entry = (n: number) => ({ at: n, actor: 'a test', act: 'test.done', details: { n } });
const numbered = async (store: Store): Promise<number[]> =>
  (await store.db.selectFrom('audit').select('details').where('act', '=', 'test.done').orderBy('seq').execute()).map(({ details }) => JSON.parse(details).n);

/** Ends the connection that has this process number, as an administrator or a fault would. */
const end = (pid: number): Promise<unknown> => asOwner(postgres ?? '', (client) => client.query('select pg_terminate_backend($1, 5000)', [pid]));
const pidOf = async (db: Store['db']): Promise<number> => {
  const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(db);
  return rows[0]?.pid ?? 0;
};

describe('two backends that write at once', () => {
  test('make one unbroken chain: no number twice, none left out', async () => {
    const server = await given();
    const other = await another(server);
    const acts = Array.from({ length: 120 }, (_, n) => (n % 2 ? server.store : other).write((tx) => audit(tx, entry(n))));
    await Promise.all(acts);
    expect((await numbered(other)).sort((a, b) => a - b)).toEqual(Array.from({ length: 120 }, (_, n) => n));
    expect(await verifyAudit(server.store)).toMatchObject({ ok: true });
  });

  test('see in an act whatever was stored before its turn came', async () => {
    const server = await given();
    const other = await another(server);
    const count = (store: Store) =>
      store.write(async (tx) => {
        const row = await tx.selectFrom('memory').select('value').where('name', '=', 'n').executeTakeFirst();
        const value = String(Number(row?.value ?? 0) + 1);
        await tx
          .insertInto('memory')
          .values({ name: 'n', value })
          .onConflict((conflict) => conflict.column('name').doUpdateSet({ value }))
          .execute();
      });
    await Promise.all(Array.from({ length: 60 }, (_, n) => count(n % 2 ? server.store : other)));
    expect(await server.store.db.selectFrom('memory').select('value').where('name', '=', 'n').execute()).toEqual([{ value: '60' }]);
  });

  test('begin a rotation of one Mac at once, and deliver at once: one of each', async () => {
    const server = await given();
    const store = await another(server);
    const clock = await openClock(store, server.wall.now);
    const custody = createCustody({ store, clock, escrowKeys: server.escrow, secrets, settings: server.settings });
    const mac = await server.newMac();
    await mac.escrowed();
    await custody.orderRotation({ macId: mac.id, actor: 'ada', reason: 'a test' });
    await mac.checkIn();
    const begin = (by: typeof custody) => {
      const to = Object.create(mac, { server: { value: { ...server, custody: by } } }) as typeof mac;
      return to.begin();
    };
    await Promise.allSettled([begin(server.custody), begin(custody), begin(server.custody), begin(custody)]);
    const rotations = await store.db.selectFrom('rotation').select('state').where('mac_id', '=', mac.id).execute();
    expect(rotations.filter(({ state }) => state === 'begun')).toHaveLength(1);
    const key = mac.seal((await mac.escrowed()).key);
    const id = digestOf(key);
    const deliver = (to: typeof custody) => to.deliver(mac.caller(), id, mac.delivery(key));
    const receipts = await Promise.all([deliver(server.custody), deliver(custody), deliver(server.custody), deliver(custody)]);
    expect(new Set(receipts.map(({ receipt }) => receipt.recordId)).size).toBe(1);
    expect(await store.db.selectFrom('envelope').select('id').where('id', '=', id).execute()).toHaveLength(1);
    expect(await verifyAudit(store)).toMatchObject({ ok: true });
  });

  test('are read by others meanwhile: a question waits for no act', async () => {
    const server = await given();
    const { promise: ready, resolve: isReady } = Promise.withResolvers<void>();
    const { promise: go, resolve: letGo } = Promise.withResolvers<void>();
    const act = server.store.write(async (tx) => {
      await audit(tx, entry(1));
      isReady();
      await go;
    });
    await ready;
    expect(await numbered(server.store)).toEqual([]);
    letGo();
    await act;
    expect(await numbered(server.store)).toEqual([1]);
  });
});

test('however many acts wait for their turn, a question finds a connection, and each act comes to its turn', async () => {
  const server = await given();
  const { promise: go, resolve: letGo } = Promise.withResolvers<void>();
  const { promise: ready, resolve: isReady } = Promise.withResolvers<void>();
  const acts = Array.from({ length: 12 }, (_, at) =>
    server.store.write(async (tx) => {
      isReady();
      await go;
      await audit(tx, entry(at));
    }),
  );
  await ready;
  expect(await numbered(server.store)).toEqual([]);
  letGo();
  await Promise.all(acts);
  expect((await numbered(server.store)).toSorted((one, other) => one - other)).toEqual(Array.from({ length: 12 }, (_, at) => at));
});

test('acts in line are let in one for one, and refused when their time is over', async () => {
  const turn = atMost(1, () => new Error('too late'));
  const { promise: go, resolve: letGo } = Promise.withResolvers<void>();
  const far = performance.now() + 60_000;
  const first = turn(far, () => go.then(() => 'first'));
  const second = turn(far, async () => 'second');
  await expect(turn(performance.now() + 20, async () => 'third')).rejects.toThrow('too late');
  letGo();
  expect(await Promise.all([first, second, turn(far, async () => 'fourth')])).toEqual(['first', 'second', 'fourth']);
});

describe('a connection that is killed', () => {
  test('in the middle of an act: nothing of it is there by halves, and it is done again', async () => {
    const { store } = await given();
    let tries = 0;
    await store.write(async (tx) => {
      tries += 1;
      await audit(tx, entry(tries));
      if (tries < 3) await end(await pidOf(tx));
      await tx.insertInto('memory').values({ name: 'after', value: 'x' }).execute();
    });
    expect(tries).toBe(3);
    expect(await numbered(store)).toEqual([3]);
    expect(await verifyAudit(store)).toMatchObject({ ok: true });
  });

  test('while the act waits for its turn: it comes later', async () => {
    const server = await given();
    const other = await another(server);
    const { promise: go, resolve: letGo } = Promise.withResolvers<void>();
    const { promise: ready, resolve: isReady } = Promise.withResolvers<void>();
    const first = other.write(async (tx) => {
      isReady();
      await go;
      await audit(tx, entry(1));
    });
    await ready;
    const second = server.store.write((tx) => audit(tx, entry(2)));
    const waiting = () =>
      asOwner(postgres ?? '', async (client) => {
        const { rows } = await client.query("select a.pid from pg_locks l join pg_stat_activity a using (pid) where l.locktype = 'advisory' and not l.granted");
        return rows.map(({ pid }) => Number(pid));
      });
    let found: number[] = [];
    while (found.length === 0) found = await waiting();
    for (const pid of found) await end(pid);
    letGo();
    await Promise.all([first, second]);
    expect(await numbered(server.store)).toEqual([1, 2]);
  });

  test('at its commit: whether it was stored is not known, so it is not done again, and STORE_FAILED is said', async () => {
    const { store } = await given();
    await sql`create function end_it() returns trigger language plpgsql as $$ begin perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(1); return null; end $$`.execute(
      store.db,
    );
    await sql`create constraint trigger end_it after insert on memory deferrable initially deferred for each row execute function end_it()`.execute(store.db);
    let tries = 0;
    const act = store.write(async (tx) => {
      tries += 1;
      await audit(tx, entry(tries));
      await tx.insertInto('memory').values({ name: 'x', value: 'x' }).execute();
    });
    await expect(act).rejects.toMatchObject({ code: 'STORE_FAILED', detail: expect.stringContaining('whether it was stored is not known') });
    expect(tries).toBe(1);
    await sql`drop trigger end_it on memory`.execute(store.db);
    expect(await numbered(store)).toEqual([]);
    await store.write((tx) => audit(tx, entry(7)));
    expect(await numbered(store)).toEqual([7]);
  });

  test('under a question: it is asked again on another', async () => {
    const { store } = await given();
    const pids = await Promise.all([pidOf(store.db), pidOf(store.db), pidOf(store.db)]);
    for (const pid of new Set(pids)) await end(pid);
    expect(await numbered(store)).toEqual([]);
  });
});

describe('work that comes round', () => {
  test('is done by one backend at a time; another one does it next, also where the first was killed in the middle', async () => {
    const server = await given();
    const other = await another(server);
    const { promise: go, resolve: letGo } = Promise.withResolvers<void>();
    const { promise: ready, resolve: isReady } = Promise.withResolvers<void>();
    const done: string[] = [];
    const first = server.store.alone?.('mails', async () => {
      isReady();
      await go;
      done.push('first');
    });
    await ready;
    expect(await other.alone?.('mails', async () => void done.push('not now'))).toBe(false);
    expect(await other.alone?.('webhooks', async () => void done.push('another'))).toBe(true);
    letGo();
    expect(await first).toBe(true);
    expect(await other.alone?.('mails', async () => void done.push('second'))).toBe(true);
    expect(done).toEqual(['another', 'first', 'second']);
    const { promise: never } = Promise.withResolvers<void>();
    const { promise: begun, resolve: hasBegun } = Promise.withResolvers<void>();
    void server.store.alone?.('retention', () => {
      hasBegun();
      return never;
    });
    await begun;
    const holders = await asOwner(postgres ?? '', async (client) => {
      const { rows } = await client.query("select pid from pg_locks where locktype = 'advisory' and classid = $1 and granted", [0x7370726b]);
      return rows.map(({ pid }) => Number(pid));
    });
    for (const pid of holders) await end(pid);
    expect(await other.alone?.('retention', async () => void done.push('third'))).toBe(true);
  });

  test('goes on where the connection that holds its locks says nothing any more, neither yes nor no', async () => {
    const server = await given();
    const store = await openDatabase(`${placeOf(server.file)}&statement_timeout=1000`);
    opened.push(store);
    const found = "select pid from pg_stat_activity where datname = $1 and query like 'select pg_advisory_unlock%'";
    const database = new URL(placeOf(server.file)).pathname.slice(1);
    expect(await store.alone?.('mails', async () => undefined)).toBe(true);
    const pids = await asOwner(postgres ?? '', async (client) => (await client.query(found, [database])).rows.map(({ pid }) => Number(pid)));
    expect(pids).toHaveLength(1);
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    try {
      const done: string[] = [];
      for (const turn of ['one', 'two']) await store.alone?.('mails', async () => void done.push(turn));
      expect(done).toEqual(['one', 'two']);
    } finally {
      for (const pid of pids) process.kill(pid, 'SIGCONT');
    }
  });

  test('goes on where a work of it fails', async () => {
    const { store } = await given();
    await expect(store.alone?.('mails', async () => Promise.reject(new Error('on purpose')))).rejects.toThrow('on purpose');
    expect(await store.alone?.('mails', async () => undefined)).toBe(true);
  });
});

test('of two backends one has a certificate that is not taken, and the other has none such: one alarm, which stays until the one is right again', async () => {
  const server = await given();
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const ground = { store: server.store, clock: await openClock(server.store, server.wall.now), log };
  const open = async () => (await server.store.db.selectFrom('alarm').select('detail').where('judged_at', 'is', null).execute()).map(({ detail }) => detail);
  const raised = async () => (await server.store.db.selectFrom('audit').select('act').where('act', 'like', 'alarm.%').execute()).length;
  const refused = [{ name: 'listener of the Macs', because: 'its key is another one' }] as Parameters<typeof tellOfCertificates>[2];
  const onHost = (name: string, what: typeof refused) => tellOfCertificates(ground, [], what, name);
  for (let turn = 0; turn < 3; turn += 1) {
    await onHost('one', refused);
    await onHost('other', []);
  }
  expect([await open(), await raised()]).toEqual([[expect.stringContaining('its key is another one')], 1]);
  // The other one has the same trouble now: it is the same alarm, until neither has it.
  await onHost('other', refused);
  await onHost('one', []);
  expect([(await open()).length, await raised()]).toEqual([1, 1]);
  await onHost('other', []);
  expect([await open(), await raised()]).toEqual([[], 2]);
});

test('an error inside an act ends it, and its words are those of the error', async () => {
  const { store } = await given();
  const act = store.write(async (tx) => {
    await audit(tx, entry(1));
    throw new Error('on purpose');
  });
  await expect(act).rejects.toThrow('on purpose');
  await expect(
    store.write((tx) =>
      tx
        .insertInto('memory')
        .values({ name: null as never, value: 'x' })
        .execute(),
    ),
  ).rejects.toThrow(/null value/);
  expect(await numbered(store)).toEqual([]);
});

test('an act that makes nothing of a statement that failed was not stored, and is told so', async () => {
  const { store } = await given();
  const act = store.write(async (tx) => {
    await audit(tx, entry(1));
    // PostgreSQL takes back the whole act with it, and answers the commit without an error.
    await sql`select 1 / 0`.execute(tx).catch(() => undefined);
  });
  await expect(act).rejects.toMatchObject({ code: 'STORE_FAILED', detail: expect.stringContaining('taken back') });
  expect(await numbered(store)).toEqual([]);
});

test('a text that PostgreSQL cannot hold is refused as what was sent, not as a fault of the backend', async () => {
  const { store } = await given();
  const asked = store.db.selectFrom('mac').select('id').where('id', '=', 'a\0b').execute();
  await expect(asked).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
  expect(await store.db.selectFrom('mac').select('id').where('id', '=', 'a').execute()).toEqual([]);
});

test('an act that waits too long for its turn is refused, and nothing of it is there', async () => {
  const server = await given();
  const hasty = await openDatabase(placeOf(server.file), { busyMilliseconds: 300 });
  opened.push(hasty);
  const { promise: go, resolve: letGo } = Promise.withResolvers<void>();
  const { promise: ready, resolve: isReady } = Promise.withResolvers<void>();
  const long = server.store.write(async () => {
    isReady();
    await go;
  });
  await ready;
  await expect(hasty.write((tx) => audit(tx, entry(1)))).rejects.toMatchObject({ code: 'STORE_FAILED', detail: expect.stringContaining('busy') });
  letGo();
  await long;
  expect(await numbered(hasty)).toEqual([]);
});
