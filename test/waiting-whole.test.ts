import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { connect } from '../agent/backend.ts';
import type { World } from '../agent/check-in.ts';
import { realDisk } from '../agent/disk.ts';
import { readAnswer } from '../agent/requests.ts';
import type { CheckInReply } from '../protocol/messages.ts';
import { openBackend } from '../server/backend.ts';
import { givenConsole } from './given-console.ts';
import { until } from './waiting.ts';

/* Seconds, and not an interval: the agent's job, the listener, the database and the admins' API, and between them only what is sent. */

let it: Awaited<ReturnType<typeof givenConsole>>;
beforeAll(async () => {
  it = await givenConsole({ serial: 'C02WAITING01', settings: { pilot: true, waitForOrders: true } });
  const file = join(it.dir, 'settings.json');
  const settings = JSON.parse(readFileSync(file, 'utf8'));
  writeFileSync(file, JSON.stringify({ ...settings, keys: { ...settings.keys, waitSeconds: 55, spreadSeconds: 0 } }));
  await it.restart();
  it.pass(601);
  await calm();
});

/** For a run that does not stay: the backend is one that keeps no answers. */
const old: Partial<World> = {
  connect: async (world, parts) => {
    const backend = await connect(world, parts);
    const { checkIn } = backend.ask;
    backend.ask.checkIn = async (request, how) => ({ ...(await checkIn(request, how)), waitSeconds: 0 });
    return backend;
  },
};

/** What is due was done, and a day has passed: another reason for which it may be given its key. */
async function calm(): Promise<void> {
  for (let run = 0; run < 3; run += 1) {
    await it.checkIn(old);
    it.pass(26 * 3600);
  }
  await it.checkIn(old);
}

/** How each answer that might be kept came: what the backend said, or that this Mac ended it. */
async function waitingRun(stopping: () => boolean = () => false) {
  const kept: (number | 'cut')[] = [];
  const noting: World['connect'] = async (world, parts) => {
    const backend = await connect(world, parts);
    const { checkIn } = backend.ask;
    backend.ask.checkIn = async (request, how) => {
      try {
        const reply: CheckInReply = await checkIn(request, how);
        if ((how?.waitSeconds ?? 0) > 0) kept.push(reply.nextCheckInSeconds);
        return reply;
      } catch (cause) {
        if (how?.signal?.aborted) kept.push('cut');
        throw cause;
      }
    };
    return backend;
  };
  const done = it.checkIn({ connect: noting, stopping });
  let isOver = false;
  void done.finally(() => {
    isOver = true;
  });
  await until(() => isOver || it.serving.waiting() === 1);
  expect([it.status().lastRun?.did, it.serving.waiting()]).toEqual([expect.anything(), 1]);
  return { kept, done };
}

/** The key is another one; the run is stopped with that, and the next delivers it. */
async function wasReplaced(before: string | null): Promise<void> {
  await it.checkIn(old);
  expect(it.mac.recoveryKey).not.toBe(before);
  expect(await it.heldKey()).toBe(it.mac.recoveryKey);
  await calm();
}

/** What the backend says when there is something new. */
const news = 1;

describe('an order reaches a Mac that waits', () => {
  const isReplaced = (before: string | null) => () => it.mac.recoveryKey !== before;

  test('from the admins’ API: the key is replaced, and no interval has passed', async () => {
    const before = it.mac.recoveryKey;
    const { kept, done } = await waitingRun(isReplaced(before));
    const rotator = await it.as('rotator', null, 'token');
    const wish = { chosen: { kind: 'macs', macs: ['C02WAITING01'] }, perHour: 30 };
    const { body: plan } = await rotator.post('/v1/rotations/plan', wish);
    const begun = { ...wish, reason: 'a leaver', confirmCount: plan.count, planDigest: plan.planDigest };
    expect((await rotator.post('/v1/rotations', begun)).status).toBe(200);
    await it.backend.custody.campaigns.run();
    await done;
    expect(kept[0]).toBe(news);
    await wasReplaced(before);
  });

  test('from another process with the same database, such as a command', async () => {
    const before = it.mac.recoveryKey;
    const { kept, done } = await waitingRun(isReplaced(before));
    const command = await openBackend({ dir: it.dir, passphrase: null, wallNow: () => it.backend.clock.now() });
    await command.custody.orderRotation({ macId: await it.macId(), actor: 'an operator', reason: 'a command' });
    await command.close();
    await done;
    expect(kept[0]).toBe(news);
    await wasReplaced(before);
  });
});

describe('at the Mac', () => {
  test('`sparekey rotate` does not wait until the job’s answer comes: the job lets go of it', async () => {
    const { kept, done } = await waitingRun();
    const before = it.mac.recoveryKey;
    it.request('rotate', 'typed-now');
    expect(await done).toBe(0);
    expect(kept).toEqual(['cut']);
    // launchd starts it for what lies in the queue.
    await it.checkIn(old);
    expect(it.mac.recoveryKey).not.toBe(before);
    expect(readAnswer(realDisk(it.mac.root), 'typed-now')).toMatchObject({ exit: 0 });
    await until(() => it.serving.waiting() === 0);
    expect(it.serving.waiting()).toBe(0);
    await calm();
  });

  test('`sparekey rotate` that a hold keeps back waits, and goes on when the hold ends', async () => {
    await it.disclose();
    const before = it.mac.recoveryKey;
    it.request('rotate', 'kept-back');
    const { kept, done } = await waitingRun(() => it.mac.recoveryKey !== before);
    expect(it.mac.recoveryKey).toBe(before);
    await it.custody.endHold({ macId: await it.macId(), actor: 'an admin', because: 'override', reason: 'a test' });
    await done;
    expect(kept[0]).toBe(news);
    await wasReplaced(before);
  });

  test('the end of a hold bounds the time until the next check-in', async () => {
    await it.disclose();
    it.pass(24 * 3600 - 300);
    const said: CheckInReply[] = [];
    await it.checkIn({
      connect: async (world, parts) => {
        const backend = await connect(world, parts);
        const { checkIn } = backend.ask;
        backend.ask.checkIn = async (request, how) => {
          said.push(await checkIn(request, how));
          return { ...(said.at(-1) as CheckInReply), waitSeconds: 0 };
        };
        return backend;
      },
    });
    expect(said[0]?.hold).not.toBeNull();
    // Its clock counts in thousandths; the interval is 900.
    expect(said[0]?.nextCheckInSeconds).toBeLessThan(330);
  });
});
