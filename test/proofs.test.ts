import { rmSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { nothingToDo } from '../agent/quiet.ts';
import { reportStatus, statusInWords } from '../agent/report.ts';
import type { Backend } from '../server/backend.ts';
import { prove } from '../server/mac-commands.ts';
import { status as serverStatus } from '../server/status-command.ts';
import { given } from './given.ts';
import { runServer } from './run-server.ts';
import { codeOf, day, givenServer, hour, minute, newKey } from './server-parts.ts';

/* Whether the key that is held opens the Mac: when it is asked, what an answer is worth, and what a wrong key costs. */

type Given = Awaited<ReturnType<typeof given>>;

const validate = '/usr/bin/fdesetup validaterecovery';
const asked = (it: Given): number => it.mac.runner.lines.filter((line) => line.startsWith(validate)).length;
const says = (it: Given): string => it.status().lastRun.did;
const keys = async (it: Given) => (await it.custody.macReport(await it.macId())).keys;

/** launchd wakes the agent at load and every 900 seconds; where the note of an earlier run says so, it ends at once. */
async function wakeUps(it: Given, minutes: number, each: (minute: number) => void = () => undefined): Promise<void> {
  for (let now = 0; now <= minutes; now++) {
    each(now);
    if (now % 15 === 0 && !nothingToDo(it.mac.root, '0.1.0', it.mac.now)) await it.checkIn();
    it.pass(60);
  }
}

/** The disk opens with another key than the one that macOS escrowed (fleetdm/fleet#46977), and no file tells of it. */
const withAnotherKey = (it: Given): void =>
  it.mac.change((state) => {
    state.disk.recoveryKey = 'ZZZZ-YYYY-XXXX-WWWW-VVVV-UUUU';
  });

/** Its first answer is `false`, and so is the next, where it is asked again so many seconds later. */
async function refusedTwice(it: Given, seconds: number): Promise<void> {
  withAnotherKey(it);
  await it.settle();
  await it.checkIn();
  it.pass(seconds);
  await it.checkIn();
}

/** macOS's answer, whatever the key is. */
const answers = (it: Given, answer: 'true' | 'false' | null): void =>
  it.mac.setCommandQuirk('fdesetup validaterecovery', answer === null ? null : `answer:${answer}\n`);

describe('the first proof', () => {
  test('comes within the first logged-in hour after enrolment, by launchd’s own wake-ups', async () => {
    const it = await given();
    let first = null as number | null;
    await wakeUps(it, 60, (now) => {
      if (first === null && asked(it) > 0) first = now;
    });
    expect([first !== null && first <= 30, asked(it)]).toEqual([true, 1]);
    expect(await keys(it)).toMatchObject([{ state: 'held', lastAnswer: { answer: 'true' } }]);
  });

  test('counts the hour from the login, however long nobody came, and asks nothing before', async () => {
    const it = await given({ settings: { checkInMinutes: 1440 } });
    it.mac.logOut();
    await wakeUps(it, 100);
    expect(asked(it)).toBe(0);
    expect(says(it)).toBe('nothing, because a proof is due, but nobody has been logged in long enough yet');
    await wakeUps(it, 60, (now) => (now === 4 ? it.mac.logIn('ada') : undefined));
    expect(asked(it)).toBe(1);
    expect(await keys(it)).toMatchObject([{ lastAnswer: { answer: 'true' } }]);
  });

  test('that macOS refuses is asked again ten minutes later (G2, K8): the same hour says that the key is in doubt, not days later', async () => {
    const it = await given();
    withAnotherKey(it);
    await wakeUps(it, 20);
    expect([asked(it), (await it.custodyOf()).state]).toEqual([1, 'held']);
    expect(await keys(it)).toMatchObject([{ refutedAt: null, lastAnswer: { answer: 'false' } }]);
    await wakeUps(it, 40);
    expect(await keys(it)).toMatchObject([{ refutedAt: expect.any(String), lastAnswer: { answer: 'false' } }]);
    expect(['doubtful', 'lost']).toContain((await it.custodyOf()).state);
    expect(it.mac.state.wrongKeys.ever).toBe(2);
    await wakeUps(it, 60);
    it.pass(2 * 86_400);
    await it.checkIn();
    expect(it.mac.state.wrongKeys.ever).toBe(2);
  });
});

describe('what never doubts a key', () => {
  test.each([
    ['nobody is logged in', (it: Given) => it.mac.logOut()],
    ['Setup Assistant runs', (it: Given) => it.mac.change((state) => Object.assign(state.console, { user: '_mbsetupuser' }))],
    ['the Mac is in dark wake', (it: Given) => it.mac.setDarkWake(true)],
  ] as const)('%s: macOS is not asked, however often the agent runs', async (_, make) => {
    const it = await given();
    await it.checkIn();
    withAnotherKey(it);
    make(it);
    for (let hours = 0; hours < 30; hours += 6) {
      it.pass(6 * 3600);
      await it.checkIn();
    }
    expect([asked(it), it.mac.state.wrongKeys.ever]).toEqual([0, 0]);
    expect(await keys(it)).toMatchObject([{ refutedAt: null, lastAnswer: null }]);
  });

  test('false, true, false: answers that disagree refute nothing; the next false is the second look', async () => {
    const it = await given();
    await it.settle();
    for (const answer of ['false', 'true', 'false'] as const) {
      answers(it, answer);
      if (answer !== 'false' || asked(it) > 0) await prove(it.backend, { macs: [await it.macId()], reason: 'a test', actor: 'grace' });
      await it.checkIn();
      expect(await keys(it)).toMatchObject([{ refutedAt: null, lastAnswer: { answer } }]);
      expect((await it.custodyOf()).state).toBe('held');
      it.pass(86_460);
    }
    answers(it, 'false');
    await it.checkIn();
    expect(await keys(it)).toMatchObject([{ refutedAt: expect.any(String) }]);
  });

  test('two answers within ten minutes are one', async () => {
    const it = await given();
    await refusedTwice(it, 500);
    expect(asked(it)).toBe(1);
    expect(await keys(it)).toMatchObject([{ refutedAt: null }]);
  });
});

describe('an answer', () => {
  test('is a dated fact for each key, on both sides; where macOS says neither, it could not be checked', async () => {
    const it = await given();
    await it.settle();
    await it.checkIn();
    const [key] = await keys(it);
    const provedAt = key?.provedAt ?? '';
    expect(key?.lastAnswer).toEqual({ answer: 'true', at: provedAt });
    const report = () => reportStatus({ state: 'on' }, it.status(), it.mac.now);
    expect(report()).toMatchObject({ provedAt, keys: [{ recordId: key?.recordId, state: 'held', provedAt, answer: 'true', answeredAt: provedAt }] });
    const words = async () => (await serverStatus(it.backend, await it.macId())).text;
    expect(await words()).toContain(`macOS said true on ${provedAt}`);

    it.pass(86_460);
    it.mac.setCommandQuirk('fdesetup validaterecovery', 'garbage');
    await prove(it.backend, { macs: [await it.macId()], reason: 'a test', actor: 'grace' });
    await it.checkIn();
    const [after] = await keys(it);
    expect(after).toMatchObject({ provedAt, refutedAt: null, lastAnswer: { answer: 'unknown' } });
    expect(after?.lastAnswer?.at).not.toBe(provedAt);
    expect(await words()).toContain(`on ${after?.lastAnswer?.at} it could not be checked; it said true on ${provedAt}`);
    expect(await words()).toMatch(/a proof of key \S+ is due since \S+: ordered/);
    expect(report()).toMatchObject({ provedAt, keys: [{ provedAt, answer: 'could not check', answeredAt: after?.lastAnswer?.at }] });
    expect(statusInWords(report(), { now: it.mac.now, colour: false, quiet: false })).toMatch(
      /proof +it could not be checked just now .*; it said true 24 hours ago/,
    );
    expect((await it.custodyOf()).state).toBe('held');
  });

  test.each(['garbage', 'hang'])('that macOS does not give (%s) is asked for five times in a week at most, and doubts nothing', async (quirk) => {
    const it = await given();
    it.mac.setCommandQuirk('fdesetup validaterecovery', quirk);
    await it.settle();
    for (let days = 0; days < 7; days++) {
      await it.checkIn();
      it.pass(43_200);
      await it.checkIn();
      it.pass(43_200);
    }
    expect(asked(it)).toBe(5);
    expect(says(it)).toBe('nothing, because a proof is due, but as many keys were tried as is safe for now');
    expect(await keys(it)).toMatchObject([{ refutedAt: null, lastAnswer: { answer: 'unknown' } }]);
    expect((await it.custodyOf()).state).toBe('held');
  });

  test('stays in status while the backend is not reached', async () => {
    const it = await given();
    await it.settle();
    await it.checkIn();
    const before = it.status().keys;
    expect(before).toHaveLength(1);
    it.network.cut();
    await it.checkIn();
    it.network.mend();
    expect(it.status().lastRun.code).not.toBeNull();
    expect(it.status().keys).toEqual(before);
  });
});

describe('what wrong keys cost (gate 3)', () => {
  test('whatever is asked for, and whatever is done to the Mac in a week: two tries a day, five a week', async () => {
    const it = await given({ settings: { custody: 'keychain' } });
    await it.settle();
    await it.order();
    await it.checkIn();
    withAnotherKey(it);
    const journal = '/var/db/io.sparekey.agent/journal.json';
    const tried: number[] = [];
    for (let step = 0; step < 14; step++) {
      const hours = step * 12;
      if (step % 2 === 0) await prove(it.backend, { macs: [await it.macId()], reason: 'again', actor: 'grace' }).catch(() => undefined);
      else await it.order({ overrideHold: true });
      if (step % 4 === 1) it.mac.boot();
      if (step % 4 === 2) it.turnClock(3 * 86_400);
      if (step % 4 === 3) it.turnClock(-5 * 86_400);
      // The count goes with it: what the backend knows of it comes back.
      if (step === 9) rmSync(it.mac.path(journal));
      it.pass(11 * 3600 + 700);
      await it.checkIn();
      it.pass(2900);
      const before = it.mac.state.wrongKeys.ever;
      await it.checkIn();
      for (let n = tried.length; n < it.mac.state.wrongKeys.ever; n++) tried.push(hours);
      expect(it.mac.state.wrongKeys.ever - before).toBeLessThanOrEqual(2);
    }
    expect(tried.length).toBeGreaterThan(0);
    expect(tried.length).toBeLessThanOrEqual(5);
    for (const at of tried) expect(tried.filter((other) => other >= at && other < at + 24).length).toBeLessThanOrEqual(2);
  });

  test('a journal that was removed does not give them back: the backend tells which keys this Mac has tried', async () => {
    const it = await given();
    await refusedTwice(it, 660);
    expect(it.mac.state.wrongKeys.ever).toBe(2);
    rmSync(it.mac.path('/var/db/io.sparekey.agent/journal.json'));
    it.pass(60);
    await it.checkIn();
    expect(it.journal().refusals).toHaveLength(2);
    it.pass(3600);
    await it.checkIn();
    expect(it.mac.state.wrongKeys.ever).toBe(2);
  });

  test('nor does one that was removed before a run that reached nobody: the first answer tells, whichever run hears it', async () => {
    const it = await given();
    await refusedTwice(it, 660);
    rmSync(it.mac.path('/var/db/io.sparekey.agent/journal.json'));
    it.network.cut();
    await it.checkIn();
    it.network.mend();
    expect([it.journal().clock, it.journal().refusals]).toEqual([null, []]);
    it.pass(60);
    await it.checkIn();
    expect(it.journal().refusals).toHaveLength(2);
    await it.checkIn();
    expect([it.journal().refusals.length, it.mac.state.wrongKeys.ever]).toEqual([2, 2]);
  });

  test('before the server’s time is known, a clock that is set forward gives none back', async () => {
    const { mayTry } = await import('../agent/refusals.ts');
    const { freshJournal } = await import('../agent/journal.ts');
    const at = Date.parse('2026-11-23T09:00:00Z');
    const refusals = ['a', 'b'].map((id) => ({ id, at, settled: true, unsure: true as const }));
    const journal = { ...freshJournal({ hardwareUuid: 'x', serial: 'y' }, 'z'), refusals };
    expect(mayTry(journal, at + 30 * day, true)).toBe(false);
    expect(mayTry({ ...journal, refusals: refusals.map(({ unsure: _, ...one }) => one) }, at + 30 * day, true)).toBe(true);
  });
});

describe('an admin’s proof', () => {
  test('is ordered for several Macs at once with a reason, audited, carried out, and shown', async () => {
    const [one, other] = [await given(), await given()];
    for (const it of [one, other]) {
      await it.settle();
      await it.checkIn();
      it.pass(86_460);
    }
    const ids = [await one.macId(), await other.macId()];
    const serials = [one.mac.state.serial, other.mac.state.serial];
    const ran = await runServer(['prove', ...serials, '--dir', one.dir, '--reason', 'before the audit', '--as', 'grace', '--json']);
    expect([ran.code, ran.json.macs.map((mac: { serial: string; orders: unknown[] }) => [mac.serial, mac.orders.length])]).toEqual([
      0,
      serials.map((serial) => [serial, 1]),
    ]);
    const rows = await one.store.db
      .selectFrom('audit')
      .selectAll()
      .where('act', '=', 'proof.ordered')
      .where('actor', '=', 'grace')
      .where('mac_id', 'in', ids)
      .orderBy('seq')
      .execute();
    expect(rows.map((row) => JSON.parse(row.details).reason)).toEqual(['before the audit', 'before the audit']);
    const before = asked(one);
    await one.checkIn();
    expect([asked(one), says(one)]).toEqual([before + 1, 'asked macOS whether the held key opens this Mac: true']);
    expect((await one.custody.macReport(await one.macId())).proofOrders).toEqual([]);
  });

  test('for a serial that two Macs have, or none, orders nothing at all, and says which', async () => {
    const server = await givenServer();
    const macs = [
      await server.newMac(),
      await server.newMac({ serial: 'C02TWICE0001', serialProved: false }),
      await server.newMac({ serial: 'C02TWICE0001', serialProved: false }),
    ] as const;
    for (const mac of macs) await mac.escrowed();
    const backend = { custody: server.custody, store: server.store, clock: server.clock } as Backend;
    const order = (name: string) => prove(backend, { macs: [macs[0].serial, name], reason: 'x', actor: 'grace' });
    await expect(order('C02TWICE0001')).rejects.toMatchObject({ code: 'MAC_AMBIGUOUS', detail: expect.stringContaining('C02TWICE0001 is ') });
    await expect(order('C02NOBODY001')).rejects.toMatchObject({ code: 'MAC_UNKNOWN', detail: 'C02NOBODY001' });
    const orders = await server.store.db.selectFrom('proof_order').select('because').execute();
    expect(orders.map(({ because }) => because)).not.toContain('ordered');
    expect(await order(macs[1].id)).toMatchObject({ json: { macs: [{ macId: macs[0].id }, { macId: macs[1].id }] } });
    await server.close();
  });

  test('needs a reason and a key; what was refuted is asked about no more', async () => {
    const server = await givenServer();
    const mac = await server.newMac();
    const order = (reason = 'x') => server.custody.orderProofs({ macId: mac.id, actor: 'grace', reason });
    expect(await codeOf(order())).toBe('KEY_UNKNOWN');
    await mac.checkIn();
    expect(await codeOf(order())).toBe('KEY_UNKNOWN');
    const { envelopeId } = await mac.escrowed();
    expect(await codeOf(order(' '))).toBe('REASON_MISSING');
    await mac.prove(envelopeId, 'false');
    server.wall.pass(11 * minute);
    await mac.prove(envelopeId, 'false');
    expect(await codeOf(order())).toBe('KEY_UNKNOWN');
    await server.close();
  });

  test('is a question of its own time: an answer from before it is none to it, and each admin who asks stands in the audit', async () => {
    const server = await givenServer();
    const mac = await server.newMac();
    const { envelopeId } = await mac.escrowed();
    server.wall.pass(hour);
    const ask = (actor: string, reason: string) => server.custody.orderProofs({ macId: mac.id, actor, reason });
    await ask('grace', 'before the audit');
    server.wall.pass(minute);
    await ask('ada', 'a second opinion');
    const rows = (await server.acts('proof.ordered')).filter(({ actor }) => actor !== 'server');
    expect(rows.map(({ actor, details }) => [actor, details['reason']])).toEqual([
      ['grace', 'before the audit'],
      ['ada', 'a second opinion'],
    ]);
    expect((await mac.prove(envelopeId, 'true', { agoSeconds: 600 })).proofOrders).toHaveLength(1);
    expect((await mac.prove(envelopeId, 'true')).proofOrders).toEqual([]);
    await server.close();
  });

  test('makes an order that waits its own, and is given a key where only what an admin ordered is', async () => {
    const server = await givenServer({ grants: 'ordered-only' });
    const mac = await server.newMac();
    const { recordId } = await mac.escrowed();
    const [waiting] = (await mac.checkIn()).proofOrders;
    expect(await codeOf((await mac.ask('prove', recordId, waiting?.id ?? '')).give())).toBe('GRANT_REFUSED');
    const [order] = await server.custody.orderProofs({ macId: mac.id, actor: 'grace', reason: 'x' });
    expect(order?.orderId).toBe(waiting?.id);
    expect(await codeOf((await mac.ask('prove', recordId, waiting?.id ?? '')).give())).toBe('no problem');
    await server.close();
  });
});

describe('the schedule', () => {
  test('does not prove a fleet on one day: Macs of one day are spread over a quarter of the time, and an admin’s order waits for none', async () => {
    const server = await givenServer({ proveEveryDays: 40 });
    const macs = [];
    for (let n = 0; n < 12; n++) macs.push(await server.newMac());
    for (const mac of macs) await mac.prove((await mac.escrowed()).envelopeId, 'true');
    for (const passed of [20 * day, 20 * day - minute]) {
      server.wall.pass(passed);
      for (const mac of macs) await mac.checkIn();
    }
    const orders = () => server.store.db.selectFrom('proof_order').selectAll().where('ended_at', 'is', null).execute();
    expect(await orders()).toEqual([]);
    server.wall.pass(minute);
    const replies = [];
    for (const mac of macs) replies.push(await mac.checkIn());
    const found = await orders();
    const days = found.map((order) => Math.floor((order.not_before - order.created_at) / day));
    expect([found.length, found.every((order) => order.because === 'its time has come')]).toEqual([12, true]);
    expect(Math.max(...days)).toBeLessThan(10);
    expect(new Set(days).size).toBeGreaterThan(4);
    expect(replies.flatMap((reply) => reply.proofOrders)).toEqual([]);
    const last = found.toSorted((one, other) => other.not_before - one.not_before)[0];
    const [order] = await server.custody.orderProofs({ macId: last?.mac_id ?? '', actor: 'grace', reason: 'x' });
    expect(order).toMatchObject({ orderId: last?.id, notBefore: new Date(server.clock.now()).toISOString() });
    server.wall.pass(10 * day);
    for (const mac of macs) expect((await mac.checkIn()).proofOrders).toHaveLength(1);
    await server.close();
  });

  test('gives a Mac that makes up keys one place of an hour, however many orders they bring: nobody waits behind it', async () => {
    const server = await givenServer({ grantsPerHour: 2 });
    const hostile = await server.newMac();
    await hostile.escrowed();
    for (let n = 0; n < 6; n++) await hostile.deliver(newKey());
    const notBefore = [];
    for (const mac of [await server.newMac(), await server.newMac()]) {
      await mac.escrowed();
      const [order] = (await server.custody.macReport(mac.id)).proofOrders;
      notBefore.push((Date.parse(order?.notBefore ?? '') - server.clock.now()) / hour);
    }
    expect(notBefore).toEqual([1, 2]);
    await server.close();
  });

  test('tells a Mac to come back when its proof is due, where that is before its next check-in', async () => {
    const server = await givenServer({ grantsPerHour: 2, checkInMinutes: 1440 });
    const [one, two] = [await server.newMac(), await server.newMac()];
    for (const mac of [one, two]) await mac.escrowed();
    expect((await one.checkIn()).nextCheckInSeconds).toBe(86_400);
    const reply = await two.checkIn();
    expect([reply.proofOrders, reply.nextCheckInSeconds]).toEqual([[], hour / 1000]);
    server.wall.pass(hour);
    expect((await two.checkIn()).proofOrders).toHaveLength(1);
    await server.close();
  });

  test('asks a Mac that was silent for more than 30 days, and one whose FileVault was encrypted anew, whatever the schedule', async () => {
    const server = await givenServer({ proveEveryDays: 365 });
    const mac = await server.newMac();
    const { envelopeId } = await mac.escrowed();
    await mac.prove(envelopeId, 'true');
    const because = async () => (await server.custody.macReport(mac.id)).proofOrders.map((order) => order.because);
    server.wall.pass(30 * day);
    await mac.checkIn();
    expect(await because()).toEqual([]);
    server.wall.pass(30 * day + minute);
    await mac.checkIn();
    expect(await because()).toEqual(['it was silent for more than 30 days']);
    await mac.prove(envelopeId, 'true');
    mac.factsMore = { fileVault: { state: 'encrypting', hasRecoveryKey: 'unknown' } };
    await mac.checkIn();
    mac.factsMore = {};
    await mac.checkIn();
    expect(await because()).toEqual(['FileVault is on again']);
    await server.close();
  });
});

test('another escrow payload is asked about; one that could not be looked at for once is none, and takes no grant of a day from a replacement', async () => {
  const server = await givenServer({ proveEveryDays: 365 });
  const mac = await server.newMac();
  await mac.prove((await mac.escrowed()).envelopeId, 'true');
  const { escrow } = mac.facts();
  const seen = async (payload: 'ours' | 'unknown' | 'none', location: string | null) => {
    mac.factsMore = { escrow: { ...escrow, payload, location } };
    await mac.checkIn();
    return (await server.custody.macReport(mac.id)).proofOrders.map((order) => order.because);
  };
  expect(await seen('ours', null)).toEqual([]);
  expect(await seen('unknown', null)).toEqual([]);
  expect(await seen('ours', null)).toEqual([]);
  expect(await seen('none', null)).toEqual([]);
  expect(await seen('ours', null)).toEqual(['another escrow payload']);
  await server.close();
});

test('K8: the second look at a key that was refused is part of its one proof of the day, and a third is not', async () => {
  const server = await givenServer();
  const mac = await server.newMac();
  const { recordId, envelopeId } = await mac.escrowed();
  const [order] = (await mac.checkIn()).proofOrders;
  const orderId = order?.id ?? '';
  const give = async () => codeOf((await mac.ask('prove', recordId, orderId)).give());
  expect(await give()).toBe('no problem');
  server.wall.pass(6 * minute);
  expect(await give()).toBe('GRANT_LIMIT');
  await mac.prove(envelopeId, 'false', { orderId });
  server.wall.pass(11 * minute);
  expect(await give()).toBe('no problem');
  server.wall.pass(6 * minute);
  expect(await give()).toBe('GRANT_LIMIT');
  await server.close();
});
