import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { connect } from '../agent/backend.ts';
import type { World } from '../agent/check-in.ts';
import { afterAnswer, afterRefusal, heldBack, mostHeldBack, nextCheckIn, placeOf, spreadWait, urgencyOf } from '../agent/coming.ts';
import { paths } from '../agent/paths.ts';
import { Passing, patientRetries, retry, usualRetries } from '../agent/retry.ts';
import type { CheckInHow } from '../agent/world.ts';
import type { CheckInReply } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import type { Settings } from './fake-mac/state.ts';
import { given } from './given.ts';
import { codes, type Given } from './given-parts.ts';

/** A fleet that does not come at once, and a Mac that comes when it was told to. */

const none = { at: 0, until: 0, spreadSeconds: 0 };
const at = Date.parse('2026-11-23T09:00:00Z');
const journal = { rotation: null, outbox: [], debts: [] };

/** The same backend, whose answers are changed on their way. */
const through =
  (change: (reply: CheckInReply, how: CheckInHow | undefined, n: number) => CheckInReply): World['connect'] =>
  async (world, parts) => {
    const backend = await connect(world, parts);
    const { checkIn } = backend.ask;
    let n = 0;
    backend.ask.checkIn = async (request, how) => {
      n += 1;
      return change(await checkIn(request, how), how, n);
    };
    return backend;
  };
const busy = (retryAfterSeconds: number): World['connect'] =>
  through(() => {
    throw new Problem('SERVER_BUSY', undefined, { retryAfterSeconds });
  });
/** A Mac that owes nothing, at the time of its next check-in. */
async function calm(settings: Settings = {}): Promise<Given> {
  const it = await given({ settings });
  await it.settle();
  for (let run = 0; run < 3; run += 1) {
    await it.checkIn();
    // A day: another reason for which it may be given its key.
    it.pass(26 * 3600);
  }
  return it;
}
const did = (it: Given): string => String(it.status().lastRun?.did ?? '');

describe('a fleet spreads', () => {
  test('two thousand Macs have their places evenly, each the same one every time', () => {
    const ids = Array.from({ length: 2000 }, () => randomUUID());
    const tenths = Array.from({ length: 10 }, (_, tenth) => ids.filter((id) => Math.floor(placeOf(id) * 10) === tenth).length);
    for (const n of tenths) expect(Math.abs(n - 200)).toBeLessThan(80);
    for (const id of ids.slice(0, 10)) expect(placeOf(id.toLowerCase())).toBe(placeOf(id.toUpperCase()));
  });

  test('it waits for its place within what the backend says, and for ten minutes at the most', () => {
    const wait = (spreadSeconds: number, place: number, random: number) => spreadWait({ ...none, spreadSeconds }, 'usual', place, random);
    expect([wait(60, 0.5, 0), wait(60, 0.5, 1), wait(60, 0.95, 1), wait(0, 0.5, 0.5), wait(86_400, 0.999, 0)]).toEqual([30, 42, 8, 0, 599]);
  });

  test('what is urgent waits for no place', () => {
    expect(spreadWait({ ...none, spreadSeconds: 600 }, 'now', 0.9, 0.5)).toBe(0);
    expect(urgencyOf(journal, false)).toBe('usual');
    expect(urgencyOf(journal, true)).toBe('now');
    const debt = { id: 'd', because: 'used' as const, envelopeId: null, boot: 'b', confirmed: false };
    expect(urgencyOf({ ...journal, debts: [debt] }, false)).toBe('now');
    expect(urgencyOf({ ...journal, debts: [{ ...debt, confirmed: true }] }, false)).toBe('soon');
    expect(urgencyOf({ ...journal, debts: [{ ...debt, because: 'never-escrowed', confirmed: true }] }, false)).toBe('usual');
    expect(urgencyOf({ ...journal, outbox: [{} as never] }, false)).toBe('now');
  });

  test('the next check-in is never later than the backend said, and a tenth earlier at the most', () => {
    for (const place of [0, 0.3, 0.999])
      for (const random of [0, 0.5, 1]) {
        const next = nextCheckIn(900, place, random);
        expect(next).toBeGreaterThan(809);
        expect(next).toBeLessThanOrEqual(900);
      }
  });

  test('the job waits for its place only after a backend has said so, and not when somebody asks', async () => {
    const it = await calm();
    let waited = 0;
    const wait = async (milliseconds: number) => {
      waited += milliseconds;
    };
    const world = { wait, random: () => 0 };
    await it.checkIn({ ...world, connect: through((reply) => ({ ...reply, spreadSeconds: 100 })) });
    expect(waited).toBe(0);
    it.pass(3600);
    await it.checkIn(world);
    const place = placeOf(it.mac.machine.state.hardwareUuid);
    expect(waited).toBe(Math.floor(100 * place) * 1000);
    waited = 0;
    it.request('check-in', randomUUID());
    await it.checkIn(world);
    expect(waited).toBe(0);
  });

  test('what was seen before a long wait decides nothing: a Mac that went to sleep meanwhile changes no key', async () => {
    const it = await calm();
    await it.checkIn({ connect: through((reply) => ({ ...reply, spreadSeconds: 600 })), random: () => 0.9 });
    it.pass(3600);
    await it.order();
    const before = it.mac.recoveryKey;
    const fallAsleep = (asleep: boolean) =>
      it.mac.change((one) => {
        one.darkWake = asleep;
      });
    // By chance a Mac's place may be the first of all: this one's is more than a minute away.
    const random = () => (placeOf(it.mac.state.hardwareUuid) > 0.15 ? 0 : 0.99);
    let seconds = 0;
    const monotonic = () => seconds;
    const wait = async (milliseconds: number) => {
      seconds += milliseconds / 1000;
      if (seconds === 61) fallAsleep(true);
    };
    await it.checkIn({ wait, monotonic, random });
    expect(seconds).toBeGreaterThan(61);
    expect([did(it), it.mac.recoveryKey]).toEqual(['asleep', before]);
    fallAsleep(false);
    const slept = seconds;
    await it.checkIn({ wait, monotonic, random });
    // Once in a run.
    expect(seconds - slept).toBeLessThanOrEqual(600);
    expect(it.mac.recoveryKey).not.toBe(before);
  });

  test('a request or a SIGTERM ends the wait at once', async () => {
    const it = await calm();
    await it.checkIn({ connect: through((reply) => ({ ...reply, spreadSeconds: 600 })), random: () => 0 });
    it.pass(3600);
    let waits = 0;
    await it.checkIn({
      random: () => 0.4,
      wait: async () => {
        waits += 1;
        if (waits === 1) it.request('check-in', randomUUID());
      },
    });
    expect(waits).toBeLessThanOrEqual(1);
    await it.checkIn();
    it.pass(3600);
    await it.checkIn({ stopping: () => true, connect: busy(1) });
    expect(did(it)).toBe('nothing, because the agent was told to stop');
  });
});

describe('Retry-After', () => {
  test('holds back for as long as it says and a quarter more by chance, within bounds, and not at all what is urgent', () => {
    const told = afterRefusal(none, at, 600, 1);
    expect(heldBack(told, 'usual', at)).toBe(750);
    expect(heldBack(told, 'usual', at + 750_000)).toBe(0);
    expect(heldBack(told, 'now', at)).toBe(0);
    const long = afterRefusal(none, at, 10 ** 6, 0);
    expect([heldBack(long, 'usual', at), heldBack(long, 'soon', at), mostHeldBack.now]).toEqual([4 * 3600, 15 * 60, 0]);
  });

  test('a clock that went backwards makes the note void, and an answer ends it', () => {
    const told = afterRefusal({ ...none, spreadSeconds: 60 }, at, 600, 0);
    expect(heldBack(told, 'usual', at - 1)).toBe(0);
    expect(heldBack(afterAnswer(told, at, 60), 'usual', at)).toBe(0);
    const same = { ...none, spreadSeconds: 60 };
    expect(afterAnswer(same, at, 60)).toBe(same);
  });

  test('is obeyed by later runs of the job and after a restart of the Mac, without a connection, until its time is over', async () => {
    const it = await calm();
    expect(await it.checkIn({ connect: busy(3600), random: () => 0 })).toBe(69);
    let connected = 0;
    const counting: World['connect'] = async (world, parts) => {
      connected += 1;
      return connect(world, parts);
    };
    it.pass(900);
    expect(await it.checkIn({ connect: counting })).toBe(0);
    expect(did(it)).toMatch(/^nothing, because the backend asked to be left alone for 45 more min$/);
    it.mac.boot();
    await it.checkIn({ connect: counting });
    expect(connected).toBe(0);
    it.pass(3600);
    await it.checkIn({ connect: counting });
    expect(connected).toBe(1);
    expect(JSON.parse(readFileSync(it.mac.path(paths.coming), 'utf8'))).toMatchObject({ until: 0 });
  });

  test('a used key is reported and its successor delivered whatever the backend said before', async () => {
    const it = await calm();
    const before = it.mac.recoveryKey;
    it.mac.rebootWithRecoveryKey();
    await it.checkIn({ connect: busy(4 * 3600) });
    expect(existsSync(it.mac.path(paths.coming))).toBe(true);
    it.mac.logIn('ada');
    await it.checkIn();
    expect(it.journal().debts).toMatchObject([{ because: 'used', confirmed: true }]);
    it.pass(15 * 60);
    await it.checkIn();
    expect(it.mac.recoveryKey).not.toBe(before);
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
  });

  test('a note that cannot be read holds nothing back', async () => {
    const it = await calm();
    writeFileSync(it.mac.path(paths.coming), '{"at":');
    it.pass(3600);
    expect(await it.checkIn()).toBe(0);
  });

  test('within a run what is urgent goes on after a long one, cut to a minute, six times; what is not is left to a later run', async () => {
    const waits: number[] = [];
    const retries = { ...usualRetries, wait: async (milliseconds: number) => void waits.push(milliseconds / 1000), random: () => 0 };
    const refuse = async () => {
      throw new Passing(new Problem('SERVER_BUSY', undefined, { retryAfterSeconds: 1800 }));
    };
    await expect(retry(refuse, { ...retries, ...patientRetries })).rejects.toMatchObject({ code: 'SERVER_BUSY' });
    expect(waits).toEqual([60, 60, 60, 60, 60]);
    waits.length = 0;
    await expect(retry(refuse, retries)).rejects.toMatchObject({ code: 'SERVER_BUSY', retryAfterSeconds: 1800 });
    expect(waits).toEqual([]);
  });
});

describe('a Mac that waits for orders', () => {
  const waiting = (said: CheckInHow[], answers: (reply: CheckInReply, n: number) => CheckInReply) =>
    through((reply, how, n) => {
      said.push(how ?? {});
      return answers({ ...reply, waitSeconds: 50 }, n);
    });

  test('asks for an answer that may be kept, and does what comes in a run that observes everything anew', async () => {
    const it = await calm({ waitForOrders: true });
    const before = it.mac.recoveryKey;
    const said: CheckInHow[] = [];
    let ordered = false;
    await it.checkIn({
      monotonic: () => 0,
      stopping: () => it.mac.recoveryKey !== before,
      connect: async (world, parts) => {
        const backend = await connect(world, parts);
        const { checkIn } = backend.ask;
        backend.ask.checkIn = async (request, how) => {
          said.push(how ?? {});
          if ((how?.waitSeconds ?? 0) > 0 && !ordered) {
            ordered = true;
            await it.order();
          }
          return { ...(await checkIn(request, how)), waitSeconds: 50 };
        };
        return backend;
      },
    });
    expect(said[1]).toMatchObject({ waitSeconds: 50 });
    expect(it.mac.recoveryKey).not.toBe(before);
  });

  test('stays for fourteen minutes of a process, so that launchd starts the next one in time', async () => {
    const it = await calm({ waitForOrders: true });
    const said: CheckInHow[] = [];
    let seconds = 0;
    await it.checkIn({
      monotonic: () => seconds,
      connect: waiting(said, (reply, n) => {
        if (n > 1) seconds += 50;
        return reply;
      }),
    });
    expect(seconds).toBeGreaterThanOrEqual(14 * 60);
    expect(seconds).toBeLessThan(900);
    expect(said.slice(1).every(({ waitSeconds }) => (waitSeconds ?? 0) > 0)).toBe(true);
  });

  test('an escrow file that macOS writes meanwhile ends the stay: a run of its own looks at it', async () => {
    const it = await calm({ waitForOrders: true });
    const said: CheckInHow[] = [];
    let seconds = 0;
    await it.checkIn({
      monotonic: () => seconds,
      connect: waiting(said, (reply) => {
        seconds += 100;
        if (said.length === 2) writeFileSync(it.mac.path('/var/db/FileVaultPRK.dat'), 'not whole yet');
        return reply;
      }),
    });
    expect(codes(it)).toEqual(['ESCROW_FILE_UNREADABLE']);
    // The second run asked first what there is, without waiting.
    expect(said.slice(0, 3).map(({ waitSeconds }) => waitSeconds ?? 0)).toEqual([0, 50, 0]);
  });

  test('never waits where the setting is off or the backend does not keep answers', async () => {
    for (const [settings, waitSeconds] of [
      [{}, 50],
      [{ waitForOrders: true }, 0],
    ] as const) {
      const it = await calm({ ...settings });
      const said: CheckInHow[] = [];
      await it.checkIn({
        connect: through((reply, how) => {
          said.push(how ?? {});
          return { ...reply, waitSeconds };
        }),
      });
      expect(said.map((one) => one.waitSeconds ?? 0)).toEqual([0]);
    }
  });

  test('a policy whose time comes within a minute is waited for, and not for a quarter of an hour', async () => {
    const it = await calm();
    const said: CheckInHow[] = [];
    await it.checkIn({
      connect: waiting(said, (reply, n) => ({ ...reply, nextCheckInSeconds: n === 1 ? 20 : n === 2 ? 1 : 900 })),
      stopping: () => said.length >= 2,
    });
    expect(said.map((one) => one.waitSeconds ?? 0)).toEqual([0, 50]);
  });
});
