import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { operatorAdmin } from '../server/admins/admin.ts';
import type { Wish } from '../server/campaigns/plan.ts';
import { openClock } from '../server/clock.ts';
import { createCustody } from '../server/custody.ts';
import type { Admin, Scope } from '../server/permissions.ts';
import type { QuietHours } from '../server/policies/quiet-hours.ts';
import { openNewDatabase, postgres } from './new-database.ts';
import { codeOf, day, type GivenServer, givenServer, hour, minute, newKey, second, secrets, type TestMac } from './server-parts.ts';

/* Campaigns on real custody: Macs are what they say at check-ins, time is made up, and the timer is called by hand. */

let server: GivenServer;
beforeAll(async () => {
  server = await givenServer();
});
afterAll(() => server.close());

const ada = operatorAdmin('ada');
const campaigns = () => server.custody.campaigns;

const usual: Wish = { chosen: { kind: 'all' }, fromAt: null, perHour: 60, quiet: null, withoutLogin: false, overrideHold: false, seenDays: 30 };
const of = (macs: readonly TestMac[], more: Partial<Wish> = {}): Wish => ({
  ...usual,
  chosen: { kind: 'macs', macs: macs.map(({ serial }) => serial) },
  ...more,
});

async function start(
  wish: Wish,
  more: { admin?: Admin; scope?: Scope; named?: string[]; confirmCount?: number; planDigest?: string | null } = {},
): Promise<string> {
  const { admin = ada, scope = null, named = [], planDigest = null } = more;
  const confirmCount = more.confirmCount ?? (await campaigns().plan(scope, wish)).count;
  const { campaignId } = await campaigns().start({ wish, admin, scope, overrideScope: scope, reason: 'a leaver', confirmCount, planDigest, named });
  return campaignId;
}

/** With a held key, online. */
async function someMacs(count: number): Promise<TestMac[]> {
  const macs: TestMac[] = [];
  for (let made = 0; made < count; made += 1) {
    const mac = await server.newMac();
    await mac.escrowed();
    macs.push(mac);
  }
  return macs;
}

const ordersOf = (mac: TestMac) => server.store.db.selectFrom('rotation_order').selectAll().where('mac_id', '=', mac.id).orderBy('created_at').execute();
const orderTimes = async (macs: readonly TestMac[]): Promise<number[]> => {
  const rows = await server.store.db
    .selectFrom('rotation_order')
    .select('created_at')
    .where(
      'mac_id',
      'in',
      macs.map(({ id }) => id),
    )
    .orderBy('created_at')
    .execute();
  return rows.map((row) => row.created_at);
};
const counts = async (id: string) => (await campaigns().read(null, id)).counts;
const linesOf = async (id: string, scope: Scope = null) => (await campaigns().macs(scope, { id, states: null, after: null, limit: 200 })).items;
const tag = (mac: TestMac, name: string) =>
  server.store.write(async (tx) => void (await tx.insertInto('mac_tag').values({ mac_id: mac.id, tag: name, source: 'admin' }).execute()));

/** The timer as it runs in `serve`, or as often as is told. */
async function pass(milliseconds: number, step = 30 * second): Promise<void> {
  const until = server.wall.at + milliseconds;
  while (server.wall.at < until) {
    server.wall.pass(Math.min(step, until - server.wall.at));
    await campaigns().run();
  }
}

describe('a campaign', () => {
  test('has the key of each of its Macs replaced, in waves, and is done when the last of them is', async () => {
    const macs = await someMacs(3);
    const id = await start(of(macs, { perHour: 2 }));
    expect(await counts(id)).toMatchObject({ total: 3, waiting: 3 });
    await campaigns().run();
    expect(await orderTimes(macs)).toHaveLength(1);
    await pass(29 * minute, 5 * minute);
    expect(await orderTimes(macs)).toHaveLength(1);
    await pass(minute + 30 * second);
    expect(await orderTimes(macs)).toHaveLength(2);
    await pass(31 * minute, 5 * minute);
    expect(await orderTimes(macs)).toHaveLength(3);
    expect(await counts(id)).toMatchObject({ waiting: 0, notFetched: 3 });

    const [one, ...others] = macs as [TestMac, ...TestMac[]];
    await one.checkIn();
    expect(await counts(id)).toMatchObject({ notFetched: 2, fetched: 1 });
    const begun = await one.begin();
    expect(await counts(id)).toMatchObject({ notFetched: 2, fetched: 0, replacing: 1 });
    server.wall.pass(second);
    await one.deliver(newKey(), { source: 'rotation', validated: 'true', rotationId: begun.rotationId });
    for (const mac of others) await mac.rotate();
    expect(await campaigns().read(null, id)).toMatchObject({ state: 'running' });
    await campaigns().run();
    expect(await campaigns().read(null, id)).toMatchObject({ state: 'done', counts: { done: 3, total: 3 }, nextAt: null });
    const ended = (await server.acts('campaign.ended')).at(-1);
    expect(ended).toMatchObject({ actor: 'server', details: { campaignId: id, as: 'done', done: 3, failed: 0, left: 0 } });
  });

  test('begins at its time and not before', async () => {
    const macs = await someMacs(1);
    const id = await start(of(macs, { fromAt: server.wall.at + 2 * hour }));
    await pass(2 * hour - minute, hour);
    expect(await orderTimes(macs)).toEqual([]);
    expect(await campaigns().read(null, id)).toMatchObject({ state: 'planned' });
    await pass(2 * minute);
    expect(await orderTimes(macs)).toHaveLength(1);
    expect(await campaigns().read(null, id)).toMatchObject({ state: 'running' });
  });

  test('leaves those out for whom an order is no use or would harm, and says why', async () => {
    const [fine, unseen, held, foreign, waiting, retired] = (await someMacs(6)) as [TestMac, TestMac, TestMac, TestMac, TestMac, TestMac];
    const never = await server.newMac();
    server.wall.pass(31 * day);
    const keyless = await server.newMac();
    await keyless.checkIn();
    foreign.factsMore = { escrow: { payload: 'foreign', location: null, file: null } };
    for (const mac of [fine, held, foreign, waiting, retired]) await mac.checkIn();
    await server.custody.disclose({ macId: held.id, actor: 'ada', reason: 'locked out' });
    await server.custody.orderRotation({ macId: waiting.id, actor: 'grace', reason: 'before' });
    await server.store.write(async (tx) => {
      const row = {
        mac_id: retired.id,
        ownership: 'organisation' as const,
        state: 'retired' as const,
        local_admin: 0,
        set_at: 1,
        set_by: 'ada',
        because: 'sold',
      };
      await tx.insertInto('mac_standing').values(row).execute();
      await tx
        .insertInto('mac_dirty')
        .values([{ mac_id: retired.id }, { mac_id: never.id }])
        .onConflict((c) => c.doNothing())
        .execute();
    });
    const all = [fine, unseen, held, foreign, waiting, retired, never, keyless];
    const plan = await campaigns().plan(null, of(all));
    expect(plan).toMatchObject({ matching: 8, count: 1 });
    expect(Object.fromEntries(plan.leftOut.map(({ why, count }) => [why, count]))).toEqual({
      retired: 1,
      'never-seen': 1,
      'not-seen': 1,
      'not-ours': 1,
      'no-key': 1,
      hold: 1,
      waiting: 1,
    });
    const id = await start(of(all));
    await campaigns().run();
    expect(await orderTimes([fine, unseen, held, foreign, retired, never, keyless])).toHaveLength(1);
    const read = await campaigns().read(null, id);
    expect(read.counts).toMatchObject({ total: 8, left: 7, notFetched: 1 });
    expect(read.reasons.map(({ why }) => why).toSorted()).toEqual(plan.leftOut.map(({ why }) => why).toSorted());
    expect((await linesOf(id)).find(({ macId }) => macId === held.id)?.because).toMatch(/somebody may be typing it/);
  });

  test('looks again when the turn of a Mac has come: a key that was shown meanwhile is not replaced under the hands of its person', async () => {
    const macs = await someMacs(2);
    const id = await start(of(macs, { fromAt: server.wall.at + hour }));
    const [shown] = macs as [TestMac, TestMac];
    await server.custody.disclose({ macId: shown.id, actor: 'ada', reason: 'locked out' });
    await pass(2 * hour, 20 * minute);
    expect((await ordersOf(shown)).length).toBe(0);
    expect((await linesOf(id)).find(({ macId }) => macId === shown.id)).toMatchObject({ state: 'left' });
    expect(await counts(id)).toMatchObject({ left: 1, notFetched: 1 });
  });

  test('starts with as many as were said, and with nothing else than was planned', async () => {
    const macs = await someMacs(3);
    expect(await codeOf(start(of(macs), { confirmCount: 2 }))).toBe('CAMPAIGN_COUNT');
    expect(await codeOf(start(of(macs), { confirmCount: 4 }))).toBe('CAMPAIGN_COUNT');
    const { digest } = await campaigns().plan(null, of(macs));
    expect(await codeOf(start(of(macs, { withoutLogin: true }), { planDigest: digest }))).toBe('CAMPAIGN_COUNT');
    const nobody = await server.newMac();
    expect(await codeOf(start(of([nobody])))).toBe('CAMPAIGN_EMPTY');
    expect(await codeOf(campaigns().plan(null, { ...usual, chosen: { kind: 'macs', macs: ['C02NOBODY'] } }))).toBe('MAC_UNKNOWN');
    expect(await orderTimes(macs)).toEqual([]);
    await start(of(macs), { planDigest: digest });
  });

  test('says in words how many, how long and from when', async () => {
    const macs = await someMacs(4);
    const now = server.wall.at;
    expect((await campaigns().plan(null, of(macs))).words).toBe('4 Macs, over 3 minutes, from now');
    expect((await campaigns().plan(null, of(macs.slice(0, 1)))).words).toBe('1 Mac, at once, from now');
    const later = new Date(now + 2 * hour);
    expect((await campaigns().plan(null, of(macs, { perHour: 1, fromAt: now + 2 * hour }))).words).toBe(
      `4 Macs, over 3 hours, from ${later.toISOString().slice(11, 16)} UTC`,
    );
    expect((await campaigns().plan(null, of(macs, { perHour: 500 }))).notes.join()).toMatch(/at most 200 in an hour/);
  });
});

describe('its waves', () => {
  test('are placed once, however many backends run the timer and whenever they are killed', async () => {
    const macs = await someMacs(12);
    const id = await start(of(macs, { perHour: 12 }));
    const store = await openNewDatabase(server.file);
    const clock = await openClock(store, server.wall.now);
    const other = createCustody({ store, clock, escrowKeys: server.escrow, secrets, settings: server.settings });
    try {
      for (let step = 0; step < 14; step += 1) {
        await Promise.all([campaigns().run(), other.campaigns.run(), campaigns().run()]);
        server.wall.pass(5 * minute);
      }
    } finally {
      await store.close();
    }
    for (const mac of macs) expect(await ordersOf(mac)).toHaveLength(1);
    const times = await orderTimes(macs);
    expect(times).toHaveLength(12);
    for (const [index, time] of times.entries()) if (index > 0) expect(time - (times[index - 1] ?? 0)).toBeGreaterThanOrEqual(4 * minute);
    expect(await counts(id)).toMatchObject({ waiting: 0 });
  });

  test('that fail in the middle are as if they had not begun, and the next round places them', async () => {
    const macs = await someMacs(3);
    const id = await start(of(macs, { perHour: 60 }));
    server.wall.pass(2 * minute);
    const rounds = async () => (await server.store.db.selectFrom('campaign').select('round').where('id', '=', id).executeTakeFirstOrThrow()).round;
    const before = await rounds();
    // The third order of the wave cannot be written.
    await server.store.write(async (tx) => {
      const { sql } = await import('kysely');
      const text =
        postgres === null
          ? `create trigger stop_third before insert on rotation_order when (select count(*) from rotation_order where reason = 'a leaver' and created_at = new.created_at) >= 1 begin select raise(abort, 'no more'); end`
          : `create function no_more() returns trigger language plpgsql as $$ begin
              if (select count(*) from rotation_order where reason = 'a leaver' and created_at = new.created_at) >= 1 then raise exception 'no more'; end if; return new; end $$;
            create trigger stop_third before insert on rotation_order for each row execute function no_more()`;
      await sql.raw(text).execute(tx);
    });
    await campaigns().run();
    expect(await orderTimes(macs)).toEqual([]);
    expect(await rounds()).toBe(before);
    await server.store.write(async (tx) => {
      const { sql } = await import('kysely');
      await sql.raw(postgres === null ? 'drop trigger stop_third' : 'drop function no_more cascade').execute(tx);
    });
    await campaigns().run();
    expect((await orderTimes(macs)).length).toBeGreaterThan(0);
    await pass(4 * minute);
    for (const mac of macs) expect(await ordersOf(mac)).toHaveLength(1);
  });

  test('keep to the rate in any hour and to the quiet hours, also after a backend that was down', async () => {
    const quiet: QuietHours = {
      timeZone: 'Europe/Amsterdam',
      hours: [{ days: ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'], from: '22:00', to: '05:00' }],
    };
    const macs = await someMacs(14);
    const id = await start(of(macs, { perHour: 4, quiet }));
    const gaps = fc.sample(fc.constantFrom(30 * second, minute, 7 * minute, 90 * minute, 5 * hour), { numRuns: 120, seed: 7 });
    for (const gap of gaps) {
      server.wall.pass(gap);
      await campaigns().run();
      if ((await counts(id)).waiting === 0) break;
    }
    const times = await orderTimes(macs);
    expect(times).toHaveLength(14);
    for (const time of times) {
      expect(times.filter((other) => other > time - hour && other <= time).length).toBeLessThanOrEqual(4);
      const wall = Number(new Intl.DateTimeFormat('en-GB', { timeZone: 'Europe/Amsterdam', hour: '2-digit', hourCycle: 'h23' }).format(time));
      expect(wall >= 5 && wall < 22).toBe(true);
    }
  });

  test('keep together to half of the grants of an hour, or to what one of them was given: with more of them all grants would stop', async () => {
    const other = await givenServer({ grantsPerHour: 6 });
    try {
      const ids: string[] = [];
      for (let made = 0; made < 3; made += 1) {
        const macs: string[] = [];
        for (let of = 0; of < 3; of += 1) {
          const mac = await other.newMac();
          await mac.escrowed();
          macs.push(mac.serial);
        }
        const wish: Wish = { ...usual, chosen: { kind: 'macs', macs }, perHour: null };
        const of = { wish, admin: ada, scope: null, overrideScope: null, reason: 'a leaver', confirmCount: 3, planDigest: null, named: [] };
        ids.push((await other.custody.campaigns.start(of)).campaignId);
      }
      for (let minutes = 0; minutes < 240; minutes += 5) {
        await other.custody.campaigns.run();
        other.wall.pass(5 * minute);
      }
      const rows = await other.store.db.selectFrom('rotation_order').select('created_at').execute();
      const times = rows.map((row) => row.created_at);
      expect(times).toHaveLength(9);
      expect(Math.max(...times.map((time) => times.filter((one) => one > time - hour && one <= time).length))).toBe(3);
      for (const id of ids) expect((await other.custody.campaigns.read(null, id)).counts).toMatchObject({ waiting: 0, notFetched: 3 });
    } finally {
      await other.close();
    }
  });

  test('place no second order where one waits already, of another campaign or of an admin', async () => {
    const macs = await someMacs(2);
    const [one, two] = macs as [TestMac, TestMac];
    const from = server.wall.at + hour;
    const ids = [await start(of(macs, { fromAt: from })), await start(of(macs, { fromAt: from }))] as const;
    const { orderId } = await server.custody.orderRotation({ macId: two.id, actor: 'grace', reason: 'lost laptop bag' });
    await pass(2 * hour, 20 * minute);
    expect(await ordersOf(one)).toHaveLength(1);
    expect((await ordersOf(two)).map(({ id }) => id)).toEqual([orderId]);
    expect((await linesOf(ids[1])).find(({ macId }) => macId === two.id)).toMatchObject({
      orderId,
      because: expect.stringMatching(/an order of grace waited already/),
    });
    for (const mac of macs) await mac.rotate();
    await campaigns().run();
    for (const id of ids) expect(await campaigns().read(null, id)).toMatchObject({ state: 'done', counts: { done: 2 } });
  });

  test('say of an order that was never carried out, or was taken back, that it failed and why', async () => {
    const macs = await someMacs(2);
    const [gone, back] = macs as [TestMac, TestMac];
    const id = await start(of(macs));
    await pass(2 * minute);
    const [order] = await ordersOf(back);
    await server.custody.withdrawOrder({ orderId: order?.id ?? '', macId: back.id, actor: 'grace', reason: 'the wrong Mac' });
    server.wall.pass(31 * day);
    await server.custody.sweepTimers();
    await campaigns().run();
    const lines = await linesOf(id);
    expect(lines.find(({ macId }) => macId === gone.id)).toMatchObject({ state: 'failed', because: expect.stringMatching(/did not carry it out in its time/) });
    expect(lines.find(({ macId }) => macId === back.id)).toMatchObject({ state: 'failed', because: expect.stringMatching(/taken the order back/) });
    expect(await campaigns().read(null, id)).toMatchObject({ state: 'done', counts: { failed: 2 } });
  });

  test('name what an order waits for, and when somebody has to help', async () => {
    const macs = await someMacs(3);
    const [empty, lid, two] = macs as [TestMac, TestMac, TestMac];
    const id = await start(of(macs));
    await pass(3 * minute);
    empty.factsMore = { capability: 'works', power: { source: 'battery', percent: 7 } };
    lid.settledUser = null;
    lid.factsMore = { capability: 'works' };
    two.factsMore = {
      capability: 'works',
      foreignChanges: { times: [new Date(server.wall.at - day).toISOString(), new Date(server.wall.at - hour).toISOString()], suspects: ['a JumpCloud agent'] },
    };
    for (const mac of macs) await mac.checkIn();
    const lines = new Map((await linesOf(id)).map((line) => [line.macId, line]));
    expect(lines.get(empty.id)).toMatchObject({ state: 'fetched', because: 'the battery is at 7 percent', needsHelp: false });
    expect(lines.get(lid.id)).toMatchObject({ state: 'fetched', because: 'nobody has been logged in for ten minutes yet', needsHelp: false });
    expect(lines.get(two.id)).toMatchObject({ needsHelp: true });
  });

  test('name what the agent itself says that it waits for, until nothing is owed; and with what it ran out', async () => {
    const macs = await someMacs(2);
    const [lid, build] = macs as [TestMac, TestMac];
    const id = await start(of(macs));
    await pass(2 * minute);
    const say = (mac: TestMac, code: string, detail: string) => mac.checkIn({ problems: [{ code, detail }] });
    expect((await lid.checkIn()).waits).toBeNull();
    expect((await say(lid, 'ROTATION_WAITS', 'a macOS update is being\u202e prepared')).waits).toBe('a macOS update is being\u202e prepared');
    await say(build, 'ROTATION_NEEDS_HELP', 'macOS takes no key as authority');
    // What it says once holds until it says otherwise; what is no reason is passed over.
    expect((await say(lid, 'KEYCHAIN_LOCKED', 'for now')).waits).toBe('a macOS update is being\u202e prepared');
    const lines = new Map((await linesOf(id)).map((line) => [line.macId, line]));
    expect(lines.get(lid.id)).toMatchObject({ because: 'the Mac says: a macOS update is being  prepared', needsHelp: false });
    expect(lines.get(build.id)).toMatchObject({ because: 'the Mac says: macOS takes no key as authority', needsHelp: true });
    expect((await server.custody.macReport(build.id)).waits).toMatchObject({ says: 'macOS takes no key as authority', needsHelp: true });
    server.wall.pass(31 * day);
    // It ends in the check-in of the Mac, and what it waited for is gone with what it owed.
    expect((await build.checkIn()).waits).toBeNull();
    expect((await server.custody.macReport(build.id)).waits).toBeNull();
    await campaigns().run();
    expect((await linesOf(id)).find(({ macId }) => macId === build.id)).toMatchObject({
      state: 'failed',
      because: 'the Mac did not carry it out in its time; it said last: macOS takes no key as authority',
    });
  });
});

describe('whoever changes their mind', () => {
  const act = (id: string, more: { scope?: Scope } = {}) => ({
    id,
    admin: operatorAdmin('grace'),
    scope: more.scope ?? null,
    reason: 'the auditors have left',
  });

  test('has a campaign stand still, and go on', async () => {
    const macs = await someMacs(2);
    const id = await start(of(macs, { perHour: 1 }));
    await campaigns().run();
    await campaigns().pause(act(id));
    await pass(3 * hour, hour);
    expect(await orderTimes(macs)).toHaveLength(1);
    expect(await campaigns().read(null, id)).toMatchObject({ state: 'paused', stateBy: 'grace', nextAt: null });
    await campaigns().resume(act(id));
    expect(await codeOf(campaigns().resume(act(id)))).toBe('CAMPAIGN_STATE');
    await campaigns().run();
    expect(await orderTimes(macs)).toHaveLength(2);
  });

  test.each([true, false])('ends it; what was ordered is taken back where they say so: %s', async (takeBackOrders) => {
    const macs = await someMacs(3);
    const id = await start(of(macs, { perHour: 60 }));
    await campaigns().run();
    await pass(minute + 5 * second);
    const ordered = (await orderTimes(macs)).length;
    expect(ordered).toBe(2);
    await campaigns().cancel({ ...act(id), takeBackOrders });
    await pass(hour, 20 * minute);
    expect(await orderTimes(macs)).toHaveLength(ordered);
    const states = (
      await server.store.db
        .selectFrom('rotation_order')
        .select('state')
        .where(
          'mac_id',
          'in',
          macs.map((mac) => mac.id),
        )
        .execute()
    ).map(({ state }) => state);
    expect(new Set(states)).toEqual(new Set([takeBackOrders ? 'withdrawn' : 'waiting']));
    for (const mac of macs) if (takeBackOrders) expect(await mac.debts()).toEqual([]);
    expect(await campaigns().read(null, id)).toMatchObject({ state: 'cancelled', counts: takeBackOrders ? { left: 3 } : { left: 1, notFetched: 2 } });
    expect(await codeOf(campaigns().cancel({ ...act(id), takeBackOrders }))).toBe(takeBackOrders ? 'CAMPAIGN_STATE' : 'no problem');
  });

  test('takes back no order that is being carried out, and none of somebody else', async () => {
    const macs = await someMacs(3);
    const [busy, others] = macs as [TestMac, TestMac, TestMac];
    const before = await server.custody.orderRotation({ macId: others.id, actor: 'linus', reason: 'his own' });
    const plain = of(macs.filter((mac) => mac !== others));
    const id = await start(plain);
    await pass(2 * minute);
    const { rotationId } = await busy.begin();
    await campaigns().cancel({ ...act(id), takeBackOrders: true });
    expect((await ordersOf(busy)).map(({ state }) => state)).toEqual(['waiting']);
    expect((await ordersOf(others)).map(({ id, state }) => [id, state])).toEqual([[before.orderId, 'waiting']]);
    server.wall.pass(second);
    await busy.deliver(newKey(), { source: 'rotation', validated: 'true', rotationId });
    await campaigns().run();
    expect(await campaigns().read(null, id)).toMatchObject({ state: 'cancelled', counts: { done: 1, left: 1 } });
  });

  test('takes back no order that somebody else asked for meanwhile; nor does another admin', async () => {
    const macs = await someMacs(2);
    const [lost, plain] = macs as [TestMac, TestMac];
    const id = await start(of(macs));
    await pass(2 * minute);
    const joined = await server.custody.orderOnce({ macId: lost.id, actor: 'grace', reason: 'it was stolen' });
    expect(joined.waitedOf).not.toBeNull();
    const acts = (await server.acts('rotation.order-joined')).filter(({ details }) => details['orderId'] === joined.orderId);
    expect(acts).toMatchObject([{ actor: 'grace', details: { reason: 'it was stolen' } }]);
    const taking = { orderId: joined.orderId, macId: lost.id, reason: 'not needed' };
    expect(await codeOf(server.custody.withdrawOrder({ ...taking, actor: 'ada' }))).toBe('ORDER_SHARED');
    await campaigns().cancel({ ...act(id), takeBackOrders: true });
    await campaigns().run();
    expect((await ordersOf(plain)).map(({ state }) => state)).toEqual(['withdrawn']);
    expect((await ordersOf(lost)).map(({ state }) => state)).toEqual(['waiting']);
    expect(await lost.debts()).toEqual(['ordered']);
    expect((await linesOf(id)).find(({ macId }) => macId === lost.id)).toMatchObject({ because: expect.stringContaining('grace asked for it too') });
    // Whoever asked for it themselves takes it back, if nobody else did.
    await server.custody.withdrawOrder({ ...taking, actor: 'grace' });
    expect((await ordersOf(lost)).map(({ state }) => state)).toEqual(['withdrawn']);
  });
});

describe('a hold', () => {
  test('is ended by a campaign only for Macs that are named one by one', async () => {
    const macs = await someMacs(2);
    for (const mac of macs) await server.custody.disclose({ macId: mac.id, actor: 'ada', reason: 'locked out' });
    const wish = of(macs, { overrideHold: true });
    const serials = macs.map(({ serial }) => serial);
    expect(await codeOf(start({ ...wish, chosen: { kind: 'filter', filter: { hold: true } } }, { named: serials }))).toBe('SERIALS_NOT_NAMED');
    expect(await codeOf(start(wish, { named: serials.slice(1) }))).toBe('SERIALS_NOT_NAMED');
    const id = await start(wish, { named: serials.map((serial) => ` ${serial.toLowerCase()}`) });
    await pass(2 * minute);
    expect(await counts(id)).toMatchObject({ notFetched: 2 });
    for (const mac of macs) expect((await mac.checkIn()).hold).toBeNull();
  });
});

describe('a scope', () => {
  const scoped = (name: string, scope: Scope): Admin => ({
    ...operatorAdmin(name),
    kind: 'person',
    personId: null,
    grants: [{ permission: 'rotation.order', scope }],
  });

  test('leaves the Macs of others out of plans, campaigns, their counts and their lists', async () => {
    const macs = await someMacs(3);
    const [mine, yours, ours] = macs as [TestMac, TestMac, TestMac];
    for (const mac of [mine, ours]) await tag(mac, 'basel');
    for (const mac of [yours, ours]) await tag(mac, 'zurich');
    expect(await codeOf(campaigns().plan(['basel'], of(macs)))).toBe('MAC_UNKNOWN');
    const filter = { ...usual, chosen: { kind: 'filter' as const, filter: {} } };
    expect((await campaigns().plan(['basel'], filter)).matching).toBe(2);
    const everything = await start(of(macs));
    expect((await campaigns().read(['basel'], everything)).counts.total).toBe(2);
    expect((await linesOf(everything, ['basel'])).map(({ macId }) => macId).toSorted()).toEqual([mine.id, ours.id].toSorted());
    const only = await start(of([yours]));
    expect(await codeOf(campaigns().read(['basel'], only))).toBe('NOT_FOUND');
    expect((await campaigns().list(['basel'], { before: null, limit: 50 })).items.map(({ id }) => id)).not.toContain(only);
    const act = { admin: ada, reason: 'mine', scope: ['basel'] };
    expect(await codeOf(campaigns().pause({ ...act, id: only }))).toBe('NOT_FOUND');
    expect(await codeOf(campaigns().cancel({ ...act, id: everything, takeBackOrders: false }))).toBe('NOT_ALLOWED');
  });

  test('that whoever started it has lost has the campaign stand still, with an alarm, until somebody else goes on with it', async () => {
    const macs = await someMacs(1);
    const id = await start(of(macs), { admin: scoped('leaver', null) });
    await campaigns().run();
    expect(await orderTimes(macs)).toEqual([]);
    expect(await campaigns().read(null, id)).toMatchObject({ state: 'paused', stateBy: 'server', stateBecause: 'leaver may order no replacement any more' });
    expect(await server.alarms()).toContain('CAMPAIGN_PAUSED');
    await campaigns().resume({ id, admin: ada, scope: null, reason: 'I go on with it' });
    expect(await server.alarms()).not.toContain('CAMPAIGN_PAUSED');
    await campaigns().run();
    expect(await orderTimes(macs)).toHaveLength(1);
    // Whoever goes on with it answers for what is ordered then.
    const [mac] = macs as [TestMac];
    expect((await ordersOf(mac)).map(({ actor }) => actor)).toEqual(['ada']);
  });
});

describe('one order', () => {
  test('is enough for a Mac: a second one is the first, and says so; one that asks for more is another', async () => {
    const [mac] = (await someMacs(1)) as [TestMac];
    const order = { macId: mac.id, actor: 'ada', reason: 'a leaver' };
    const first = await server.custody.orderOnce(order);
    expect(first.waitedOf).toBeNull();
    server.wall.at += 20 * day;
    const joined = await server.custody.orderOnce({ ...order, actor: 'grace' });
    expect(joined).toMatchObject({ orderId: first.orderId, waitedOf: 'ada', expiresAt: first.expiresAt + 20 * day });
    expect((await ordersOf(mac))[0]?.expires_at).toBe(joined.expiresAt);
    const more = await server.custody.orderOnce({ ...order, withoutLogin: true });
    expect(more.orderId).not.toBe(first.orderId);
    expect(await server.custody.orderOnce(order)).toMatchObject({ waitedOf: 'ada' });
    expect(await ordersOf(mac)).toHaveLength(2);
  });

  test('is taken back while it waits: its debt is closed, and the Mac may begin nothing with it', async () => {
    const [mac, other] = (await someMacs(2)) as [TestMac, TestMac];
    const { orderId } = await server.custody.orderOnce({ macId: mac.id, actor: 'ada', reason: 'a leaver' });
    const [debtId] = (await mac.checkIn()).debts.map(({ id }) => id);
    const taking = { orderId, macId: mac.id, actor: 'grace', reason: 'the wrong Mac' };
    expect(await codeOf(server.custody.withdrawOrder({ ...taking, macId: other.id }))).toBe('NOT_FOUND');
    expect(await codeOf(server.custody.withdrawOrder({ ...taking, reason: ' ' }))).toBe('REASON_MISSING');
    await server.custody.withdrawOrder(taking);
    await server.custody.withdrawOrder(taking);
    expect(await mac.debts()).toEqual([]);
    expect(await codeOf(mac.begin({ because: 'ordered', debtIds: [debtId ?? ''] }))).toBe('ROTATION_NOT_OWED');
    const acts = (await server.acts('rotation.order-withdrawn')).filter(({ details }) => details['orderId'] === orderId);
    expect(acts).toEqual([{ act: 'rotation.order-withdrawn', actor: 'grace', details: { orderId, because: 'the wrong Mac' } }]);
    const again = await server.custody.orderOnce({ macId: mac.id, actor: 'ada', reason: 'after all' });
    await mac.begin();
    expect(await codeOf(server.custody.withdrawOrder({ ...taking, orderId: again.orderId }))).toBe('ROTATION_OPEN');
  });
});
