import { describe, expect, test } from '@jest/globals';
import type { CheckInReply } from '../protocol/messages.ts';
import { openBackend } from '../server/backend.ts';
import type { Store, Tx } from '../server/parts.ts';
import { createWaiting, hasNothing, waitAsked } from '../server/waiting.ts';
import { type Carrier, noteNews, type Wakening, wakeAfterActs } from '../server/wakening.ts';
import { checkInBody, deviceIdentity, enrol, type GivenServer, givenServer, newMac } from './given-server.ts';
import { postgres } from './new-database.ts';
import { asOwner } from './postgres-databases.ts';
import type { Answer, Identity } from './tls-client.ts';

/** An answer that is kept until there is something new: seconds instead of an interval. */

let server: Promise<GivenServer> | null = null;
const shared = (): Promise<GivenServer> => {
  server ??= givenServer({ settings: { keys: { waitSeconds: 55, spreadSeconds: 0, confirmProvedSerials: true } } });
  return server;
};

async function quietMac(given: GivenServer) {
  const mac = newMac();
  const { identity } = await enrol(given, mac, { profile: deviceIdentity({ CN: mac.serial }) });
  const checkIn = (headers: Record<string, string> = {}): Promise<Answer> => given.client.ask('/v1/check-in', { identity, headers, body: checkInBody(mac) });
  await checkIn();
  const macId = await given.serving.backend.custody.findMac(mac.serial);
  return { mac, identity: identity as Identity, macId, checkIn, wait: () => checkIn({ prefer: 'wait=50' }) };
}

const isWaiting = async (given: GivenServer, howMany: number): Promise<void> => {
  while (given.serving.waiting() !== howMany) await new Promise((resolve) => setTimeout(resolve, 10));
};
const order = (given: GivenServer, macId: string) =>
  given.serving.backend.custody.orderRotation({ macId, actor: 'an operator', reason: 'a test', withoutLogin: false });

describe('a check-in that waits', () => {
  test('is answered when an order is placed for that Mac, and not for another one; asking again brings the order', async () => {
    const given = await shared();
    const [one, other] = [await quietMac(given), await quietMac(given)];
    const [answer, kept] = [one.wait(), other.wait()];
    await isWaiting(given, 2);
    await order(given, one.macId);
    const { status, body } = await answer;
    expect([status, body.nextCheckInSeconds, body.debts]).toEqual([200, 1, []]);
    expect((await one.checkIn()).body.debts).toMatchObject([{ because: 'ordered' }]);
    await isWaiting(given, 1);
    await order(given, other.macId);
    expect((await kept).body.nextCheckInSeconds).toBe(1);
    await isWaiting(given, 0);
  });

  test('an order that was rolled back wakes nobody', async () => {
    const given = await shared();
    const one = await quietMac(given);
    const answer = one.wait();
    await isWaiting(given, 1);
    const { store } = given.serving.backend;
    await expect(
      store.write(async (tx) => {
        noteNews(tx, one.macId, 'rotation.ordered');
        throw new Error('not stored');
      }),
    ).rejects.toThrow('not stored');
    await given.serving.backend.clock.now();
    expect(given.serving.waiting()).toBe(1);
    await order(given, one.macId);
    await answer;
  });

  test('holds no connection of the database and no write meanwhile, and is gone when its Mac goes', async () => {
    const given = await shared();
    const one = await quietMac(given);
    const others = await quietMac(given);
    const answer = one.wait();
    await isWaiting(given, 1);
    expect((await others.checkIn()).status).toBe(200);
    expect(await given.serving.backend.store.write(async () => 'written')).toBe('written');
    await order(given, one.macId);
    await answer;
    const { request } = await import('node:https');
    const { port } = new URL(given.url);
    const body = JSON.stringify(checkInBody(others.mac));
    const sent = request({
      host: '127.0.0.1',
      port,
      path: '/v1/check-in',
      method: 'POST',
      ca: given.ca,
      ...others.identity,
      agent: false,
      headers: { 'sparekey-protocol': '1', 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), prefer: 'wait=50' },
    });
    sent.on('error', () => {});
    sent.end(body);
    await isWaiting(given, 1);
    sent.destroy();
    await isWaiting(given, 0);
  });

  test('whoever has something to do is answered at once', async () => {
    const given = await shared();
    const one = await quietMac(given);
    await order(given, one.macId);
    expect((await one.wait()).body.debts).toHaveLength(1);
  });

  test('a backend that stops answers all of them at once, and tells each when to come again', async () => {
    const given = await givenServer({ settings: { keys: { waitSeconds: 55 } } });
    const some = [await quietMac(given), await quietMac(given)];
    const answers = some.map(({ wait }) => wait());
    await isWaiting(given, 2);
    await given.serving.stop();
    for (const { status, headers, body } of await Promise.all(answers)) {
      expect([status, body.code]).toEqual([503, 'SERVER_STOPPING']);
      expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(5);
      expect(Number(headers['retry-after'])).toBeLessThanOrEqual(30);
    }
  });

  test('off unless the settings say otherwise: it is asked for in vain', async () => {
    const given = await givenServer();
    const one = await quietMac(given);
    const { status, body } = await one.wait();
    expect([status, body.waitSeconds, body.nextCheckInSeconds]).toEqual([200, undefined, 900]);
  });
});

describe('seats', () => {
  const nobody: Wakening = { hear: () => () => {}, close: async () => {} };

  test('no more than there are; one that is left is free again', () => {
    const waiting = createWaiting({ wakening: nobody, most: 2 });
    const seats = ['a', 'a', 'b'].map((mac) => waiting.sit(mac));
    expect(seats.map((seat) => seat !== null)).toEqual([true, true, false]);
    seats[0]?.leave();
    seats[0]?.leave();
    expect(waiting.count()).toBe(0);
    expect(waiting.sit('b')).not.toBeNull();
    waiting.stop();
    expect(waiting.sit('c')).toBeNull();
  });

  test('news between the question and the waiting is not lost, and a time that is over ends the wait', async () => {
    let wake: (macId: string | null) => void = () => {};
    const hear: Wakening['hear'] = (listener) => {
      wake = listener;
      return () => {};
    };
    const waiting = createWaiting({ wakening: { ...nobody, hear }, most: 9 });
    const seat = waiting.sit('a');
    wake('a');
    expect(await seat?.wait(50)).toBe('news');
    seat?.leave();
    const other = waiting.sit('a');
    expect(await other?.wait(0.01)).toBe('time');
    other?.leave();
  });

  test('what is asked for: `Prefer: wait=…` among others', () => {
    expect(['wait=50', 'respond-async, wait=10', 'wait=x', undefined, 'await=5'].map((one) => waitAsked(one))).toEqual([50, 10, 0, 0, 0]);
  });

  test('a hold is no reason to answer, a debt is', () => {
    const reply = { debts: [], hold: null, proofOrders: [], wanted: [], rotation: null } as unknown as CheckInReply;
    expect(hasNothing(reply)).toBe(true);
    expect(hasNothing({ ...reply, debts: [{}] as never })).toBe(false);
    expect(hasNothing({ ...reply, debts: [{}] as never, hold: {} as never })).toBe(true);
  });
});

describe('the word to other backends', () => {
  test('goes with the act that is stored, and comes to whoever listens', async () => {
    const told: (string | null)[] = [];
    let hear: (macId: string | null) => void = () => {};
    const carrier: Carrier = {
      tell: async (_tx, macIds) => void told.push(...macIds),
      hear: async (wake) => {
        hear = wake;
        return { close: async () => {} };
      },
    };
    const plain = { db: null, write: (act: (tx: Tx) => Promise<unknown>) => act({} as Tx) } as unknown as Store;
    const { store, wakening } = await wakeAfterActs(plain, carrier);
    const heard: (string | null)[] = [];
    wakening.hear((macId) => heard.push(macId));
    await store.write(async (tx) => noteNews(tx, 'a', 'proof.ordered'));
    await store.write(async (tx) => noteNews(tx, 'b', 'key.stored'));
    await store.write(async (tx) => noteNews(tx, null, 'policy.ended'));
    hear('c');
    expect([told, heard]).toEqual([
      ['a', null],
      ['a', null, 'c'],
    ]);
  });

  test('an order that another process takes wakes the Mac that waits here', async () => {
    const given = await shared();
    const one = await quietMac(given);
    const answer = one.wait();
    await isWaiting(given, 1);
    const other = await openBackend({ dir: given.dir, passphrase: null });
    await other.custody.orderRotation({ macId: one.macId, actor: 'a command', reason: 'a test' });
    await other.close();
    expect((await answer).body.nextCheckInSeconds).toBe(1);
    await isWaiting(given, 0);
  });

  if (postgres !== null)
    test.each(['ended', 'silent'] as const)('what was said while the connection that listens was %s is heard when there is another one', async (how) => {
      const { postgresNews } = await import('../server/database-news.ts');
      const { databaseOf } = await import('../server/data-folder.ts');
      const given = await shared();
      const { backend } = given.serving;
      const address = databaseOf(backend.paths);
      const pidsNow = (): Promise<number[]> =>
        asOwner(postgres ?? '', async (client) => {
          const found = "select pid from pg_stat_activity where datname = $1 and application_name = 'sparekey-news'";
          return (await client.query(found, [new URL(address).pathname.slice(1)])).rows.map(({ pid }) => Number(pid));
        });
      const before = await pidsNow();
      const one = await quietMac(given);
      const heard: (string | null)[] = [];
      let tell: () => void = () => {};
      const told = new Promise<void>((resolve) => {
        tell = resolve;
      });
      const hearing = await postgresNews(address, backend.store.db, { again: 1500, ask: 300, answer: 1500 }).hear((macId) => {
        heard.push(macId);
        if (macId === one.macId) tell();
      });
      const [pid] = (await pidsNow()).filter((found) => !before.includes(found));
      if (pid === undefined) throw new Error('nobody listens');
      if (how === 'silent') process.kill(pid, 'SIGSTOP');
      else await asOwner(postgres ?? '', (client) => client.query('select pg_terminate_backend($1)', [pid]));
      try {
        await order(given, one.macId);
        await told;
        expect(heard).toContain(one.macId);
      } finally {
        if (how === 'silent') process.kill(pid, 'SIGCONT');
        await hearing.close();
      }
    });
});

describe('when any of them may have something new', () => {
  test('all are told, and of many each at a time of its own', async () => {
    let wake: (macId: string | null) => void = () => {};
    const waiting = createWaiting({
      most: 500,
      wakening: {
        hear: (listener) => {
          wake = listener;
          return () => {};
        },
        close: async () => {},
      },
    });
    const few = waiting.sit('a');
    const answer = few?.wait(50);
    wake(null);
    expect(await answer).toBe('news');
    few?.leave();
    const seats = Array.from({ length: 400 }, (_, at) => waiting.sit(`mac-${at}`));
    let told = 0;
    const answers = seats.map((seat) =>
      seat?.wait(50).then((woken) => {
        told += 1;
        return woken;
      }),
    );
    wake(null);
    await new Promise((resolve) => setImmediate(resolve));
    expect(told).toBe(0);
    expect(new Set(await Promise.all(answers))).toEqual(new Set(['news']));
    for (const seat of seats) seat?.leave();
    waiting.stop();
  });
});
