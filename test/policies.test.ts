import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createAccounts } from '../server/accounts.ts';
import { assign, assignFromCsv } from '../server/assignments.ts';
import { setStanding } from '../server/mac-standing.ts';
import type { Scope } from '../server/permissions.ts';
import { type PolicyRules, policyFor, policyRules } from '../server/policies/policy.ts';
import { isQuiet, type QuietHours } from '../server/policies/quiet-hours.ts';
import { dueByAge, rotationPolicy, shareOf } from '../server/policies/rotation-policy.ts';
import { codeOf, day, type GivenServer, givenServer, hour, minute, secrets, type TestMac } from './server-parts.ts';

/* Policies on real custody; the timer is called by hand. */

let server: GivenServer;
beforeAll(async () => {
  server = await givenServer();
});
afterAll(() => server.close());

const policies = () => server.custody.policies;
const rulesOf = (rotation: object, more: object = {}): PolicyRules => policyRules.parse({ rotation, ...more });

let ranks = 0;
async function put(rules: PolicyRules, more: { id?: string; version?: number; name?: string; rank?: number; tags?: string[] | null; scope?: Scope } = {}) {
  const { id = null, version = null, rank = ++ranks, name = `policy ${rank}`, tags = null, scope = null } = more;
  return (await policies().put({ id, version, name, rank, tags, rules, actor: 'ada', personId: null, scope, reason: 'the works council', service: false }))
    .policy;
}
const end = (id: string) => policies().end({ id, actor: 'ada', personId: null, scope: null, reason: 'over', service: false });
/** Each test begins without any. */
beforeEach(async () => {
  for (const { id } of await policies().list(null)) await end(id);
});

async function someMacs(count: number, tags: readonly string[] = []): Promise<TestMac[]> {
  const macs: TestMac[] = [];
  for (let made = 0; made < count; made += 1) {
    const mac = await server.newMac();
    await mac.escrowed();
    for (const tag of tags)
      await server.store.write(async (tx) => void (await tx.insertInto('mac_tag').values({ mac_id: mac.id, tag, source: 'admin' }).execute()));
    await mac.checkIn();
    macs.push(mac);
  }
  // As the timer of the fleet does it.
  await policies().dryRun(null, { id: null, rank: 9999, tags: null, rules: {} });
  return macs;
}
const oneMac = async (tags: readonly string[] = []): Promise<TestMac> => (await someMacs(1, tags))[0] as TestMac;

const debtsOf = (macs: readonly TestMac[], because: string) =>
  server.store.db
    .selectFrom('debt')
    .selectAll()
    .where('because', '=', because)
    .where(
      'mac_id',
      'in',
      macs.map(({ id }) => id),
    )
    .orderBy('opened_at')
    .execute();
const ordersOf = (mac: TestMac) => server.store.db.selectFrom('rotation_order').selectAll().where('mac_id', '=', mac.id).execute();

describe('a policy', () => {
  test('holds for the Macs that have one of its tags; of several that say something of a matter, the lowest rank', async () => {
    const [office, lab, both, none] = [await oneMac(['office']), await oneMac(['lab']), await oneMac(['office', 'lab']), await oneMac()];
    await put(rulesOf({ afterDisclosureMinutes: 30 }), { rank: 20, tags: ['office'] });
    await put(rulesOf({ afterDisclosureMinutes: 10 }), { rank: 10, tags: ['lab', 'attic'] });
    await put(policyRules.parse({ disclosure: { needs: 'second-person' } }), { rank: 5, tags: ['office'] });
    const minutes = async (mac: TestMac) => (await policyFor(server.store.db, mac.id, 'rotation')).rules.afterDisclosureMinutes;
    expect(await Promise.all([office, lab, both, none].map(minutes))).toEqual([30, 10, 10, 0]);
    expect((await policyFor(server.store.db, both.id, 'disclosure')).rules.needs).toBe('second-person');
    expect(await policyFor(server.store.db, none.id, 'disclosure')).toMatchObject({ policy: null, rules: { needs: 'reason' } });
  });

  test('is changed by whoever has read it as it is, and every version is kept with who and why', async () => {
    const made = await put(rulesOf({}), { name: 'all Macs', rank: 100 });
    const changed = await put(rulesOf({ everyDays: 365 }), { id: made.id, version: 1, name: 'all Macs', rank: 100 });
    expect(changed).toMatchObject({ id: made.id, version: 2, agedSince: server.wall.at });
    expect(await codeOf(put(rulesOf({}), { id: made.id, version: 1, name: 'all Macs', rank: 100 }))).toBe('POLICY_CHANGED');
    expect(await codeOf(put(rulesOf({}), { name: 'all Macs', rank: 101 }))).toBe('POLICY_TAKEN');
    expect(await codeOf(put(rulesOf({}), { name: 'others', rank: 100 }))).toBe('POLICY_TAKEN');
    await end(made.id);
    expect(await codeOf(put(rulesOf({}), { id: made.id }))).toBe('NOT_FOUND');
    const { items } = await policies().history(null, { policyId: made.id, before: null, limit: 50 });
    expect(items.map(({ version, actor, rules }) => [version, actor, rules?.rotation?.everyDays])).toEqual([
      [3, 'ada', undefined],
      [2, 'ada', 365],
      [1, 'ada', null],
    ]);
    const acts = (await server.acts()).filter(({ act, details }) => act.startsWith('policy.') && details['policyId'] === made.id);
    expect(acts.map(({ act }) => act)).toEqual(['policy.made', 'policy.changed', 'policy.ended']);
    expect(acts[1]?.details).toMatchObject({ was: { rules: { rotation: { everyDays: null } } }, reason: 'the works council' });
  });

  test('is for whoever may edit it: not one for Macs of others, and not one for all', async () => {
    const scope = ['office'];
    expect(await codeOf(put(rulesOf({}), { scope }))).toBe('NOT_ALLOWED');
    expect(await codeOf(put(rulesOf({}), { scope, tags: ['office', 'lab'] }))).toBe('NOT_ALLOWED');
    const mine = await put(rulesOf({}), { scope, tags: ['office'] });
    const theirs = await put(rulesOf({}), { tags: ['lab'] });
    const all = await put(rulesOf({}));
    expect(await codeOf(put(rulesOf({}), { id: theirs.id, scope, tags: ['office'] }))).toBe('NOT_ALLOWED');
    expect(await codeOf(policies().end({ id: all.id, actor: 'x', personId: null, scope, reason: 'mine', service: false }))).toBe('NOT_ALLOWED');
    expect((await policies().list(scope)).map(({ id }) => id)).toEqual([mine.id, all.id]);
    // What others say of disclosures counts first, whatever the rank that was free.
    const strict = await put(policyRules.parse({ disclosure: { needs: 'second-person' } }), { rank: 5000 });
    const loose = policyRules.parse({ disclosure: { needs: 'none', service: 'allowed' } });
    expect(await codeOf(put(loose, { scope, tags: ['office'], rank: 4999 }))).toBe('NOT_ALLOWED');
    expect(await codeOf(put(loose, { id: mine.id, scope, tags: ['office'], rank: 4998 }))).toBe('NOT_ALLOWED');
    await end((await put(loose, { scope, tags: ['office'], rank: 5001 })).id);
    await end(strict.id);
    expect((await policies().history(scope, { policyId: theirs.id, before: null, limit: 50 })).items).toEqual([]);
  });

  test.each([
    ['days that are none', { everyDays: 0 }],
    ['a rate of nothing', { perHour: 0 }],
    ['a zone that there is not', { quietHours: { timeZone: 'Mars/Olympus', hours: [{ days: ['mon'], from: '08:00', to: '09:00' }] } }],
    ['a word that means nothing', { onEvents: ['full-moon'] }],
    ['a rule that there is not', { afterUse: false }],
  ])('is refused: %s', (_, rotation) => {
    expect(policyRules.safeParse({ rotation }).success).toBe(false);
  });
});

describe('a delay after a disclosure (A2)', () => {
  const show = (mac: TestMac) => server.custody.disclose({ macId: mac.id, actor: 'ada', reason: 'locked out', person: 'owner' });
  /** Back in: unlocked after the view, and settled. */
  async function comeBack(mac: TestMac): Promise<void> {
    server.wall.pass(minute);
    mac.reboot();
    server.wall.pass(11 * minute);
  }

  test('keeps the replacement back from the first view on, and looking again does not put it off', async () => {
    const mac = await oneMac(['slow']);
    const policy = await put(rulesOf({ afterDisclosureMinutes: 120 }), { tags: ['slow'], name: 'slow' });
    const first = server.wall.at;
    await show(mac);
    await comeBack(mac);
    const early = await mac.checkIn();
    expect(early).toMatchObject({ hold: null, debts: [], withheld: expect.stringMatching(/the policy slow has its replacement wait until/) });
    expect(early.nextCheckInSeconds).toBeLessThanOrEqual(15 * 60);
    const [debt] = await debtsOf([mac], 'disclosed');
    expect(await codeOf(mac.begin({ because: 'disclosed', debtIds: [debt?.id ?? ''] }))).toBe('ROTATION_WAIT');
    server.wall.pass(first + 90 * minute - server.wall.at);
    await show(mac);
    await comeBack(mac);
    server.wall.pass(first + 120 * minute - 10_000 - server.wall.at);
    const near = await mac.checkIn();
    expect(near).toMatchObject({ debts: [], nextCheckInSeconds: 10 });
    server.wall.pass(10_000);
    expect((await mac.checkIn()).debts.map(({ because }) => because)).toEqual(['disclosed', 'disclosed']);
    await mac.rotate();
    expect(await mac.debts()).toEqual([]);
    await end(policy.id);
  });

  test('is never shorter than the hold', async () => {
    const mac = await oneMac(['quick']);
    await put(rulesOf({ afterDisclosureMinutes: 5 }), { tags: ['quick'] });
    await show(mac);
    server.wall.pass(hour);
    expect((await mac.checkIn()).hold).not.toBeNull();
    expect(await codeOf(mac.begin({ because: 'disclosed' }))).toBe('ROTATION_WAIT');
  });

  test('keeps back nothing else: not an order, and not what comes after “this was not me”', async () => {
    const [ordered, stolen] = (await someMacs(2, ['long'])) as [TestMac, TestMac];
    await put(rulesOf({ afterDisclosureMinutes: 10_000 }), { tags: ['long'] });
    await show(ordered);
    await comeBack(ordered);
    expect(await ordered.debts()).toEqual([]);
    await server.custody.orderRotation({ macId: ordered.id, actor: 'ada', reason: 'now' });
    expect((await ordered.debts()).toSorted()).toEqual(['disclosed', 'ordered']);
    const { disclosureId } = await show(stolen);
    await server.custody.notMe({ macId: stolen.id, personId: 'p', actor: 'owner', disclosureId });
    expect((await stolen.debts()).toSorted()).toEqual(['disclosed', 'ordered']);
    await stolen.begin();
  });
});

describe('keys that are replaced by their age', () => {
  const run = () => policies().run();

  test('are none unless a policy says so', async () => {
    const mac = await oneMac();
    server.wall.pass(4000 * day);
    await mac.checkIn();
    await run();
    expect(await debtsOf([mac], 'aged')).toEqual([]);
  });

  test('are each replaced once, before the key is older than it may be, and no two Macs of one day on one day', async () => {
    const macs = await someMacs(12, ['aged']);
    await put(rulesOf({ everyDays: 40, spreadDays: 20 }), { tags: ['aged'] });
    const made = server.wall.at;
    for (let passed = 0; passed < 40; passed += 1) {
      server.wall.pass(day);
      await run();
    }
    await run();
    const debts = await debtsOf(macs, 'aged');
    expect(new Set(debts.map(({ mac_id: id }) => id)).size).toBe(12);
    expect(debts).toHaveLength(12);
    for (const debt of debts) {
      const due = made + 40 * day - shareOf(debt.mac_id) * 20 * day;
      expect(debt.opened_at - due).toBeGreaterThanOrEqual(-day);
      expect(debt.opened_at - due).toBeLessThanOrEqual(day);
    }
    expect(new Set(debts.map(({ opened_at: at }) => at)).size).toBeGreaterThan(5);
    const [one] = macs as [TestMac];
    expect((await one.debts()).includes('aged')).toBe(true);
    const { recordId } = await one.rotate();
    expect(await one.debts()).toEqual([]);
    await run();
    expect((await debtsOf([one], 'aged')).filter(({ record_id: id }) => id === recordId)).toEqual([]);
    const applied = (await server.acts('policy.applied')).filter(({ details }) => details['because'] === 'aged');
    expect(applied.length).toBeGreaterThanOrEqual(12);
  });

  test('that are too old already when the rule begins are spread over the days after it', () => {
    const rules = rotationPolicy.parse({ everyDays: 100, spreadDays: 30 });
    const property = fc.property(fc.uuid(), fc.integer({ min: 0, max: 4000 }), (macId, ageDays) => {
      const since = 5000 * day;
      const due = dueByAge(rules, since, { macId, from: since - ageDays * day }) ?? 0;
      expect(due).toBeGreaterThanOrEqual(since + shareOf(macId) * 30 * day - 1);
      expect(due).toBeLessThanOrEqual(Math.max(since - ageDays * day + 100 * day, since + 30 * day));
    });
    fc.assert(property);
    expect(dueByAge(rotationPolicy.parse({}), 0, { macId: 'x', from: 0 })).toBeNull();
  });

  test('are never more in an hour than the policy has it, and none in its quiet hours; what waited comes in turn', async () => {
    const quiet: QuietHours = {
      timeZone: 'Europe/Amsterdam',
      hours: [{ days: ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'], from: '09:00', to: '17:00' }],
    };
    const macs = await someMacs(10, ['capped']);
    server.wall.pass(60 * day);
    for (const mac of macs) await mac.checkIn();
    await put(rulesOf({ everyDays: 30, spreadDays: 1, perHour: 3, quietHours: quiet }), { tags: ['capped'] });
    server.wall.pass(day);
    for (let turn = 0; turn < 40; turn += 1) {
      await run();
      server.wall.pass(30 * minute);
    }
    const times = (await debtsOf(macs, 'aged')).map(({ opened_at: at }) => at);
    expect(times).toHaveLength(10);
    for (const time of times) {
      expect(times.filter((other) => other > time - hour && other <= time).length).toBeLessThanOrEqual(3);
      const wall = Number(new Intl.DateTimeFormat('en-GB', { timeZone: 'Europe/Amsterdam', hour: '2-digit', hourCycle: 'h23' }).format(time));
      expect(wall < 9 || wall >= 17).toBe(true);
    }
  });

  test('do not come where something is owed already, or the policy has ended before their turn', async () => {
    const [owed, late] = (await someMacs(2, ['owed'])) as [TestMac, TestMac];
    server.wall.pass(60 * day);
    for (const mac of [owed, late]) await mac.checkIn();
    await server.custody.orderRotation({ macId: owed.id, actor: 'ada', reason: 'a leaver' });
    const always: QuietHours = { timeZone: 'UTC', hours: [{ days: ['mon', 'tue', 'wed', 'thu', 'fri', 'sat'], from: '00:00', to: '24:00' }] };
    const policy = await put(rulesOf({ everyDays: 30, spreadDays: 1, quietHours: always }), { tags: ['owed'] });
    while (new Date(server.wall.at).getUTCDay() !== 2) server.wall.pass(day);
    await run();
    await end(policy.id);
    server.wall.pass(6 * day);
    await run();
    expect(await debtsOf([owed, late], 'aged')).toEqual([]);
    expect(await server.store.db.selectFrom('automatic_rotation').selectAll().where('mac_id', 'in', [owed.id, late.id]).execute()).toEqual([]);
  });

  test('are those that the dry run said, on the days that it said', async () => {
    const macs = await someMacs(12, ['dry']);
    const others = await someMacs(2);
    server.wall.pass(25 * day);
    for (const mac of [...macs, ...others]) await mac.checkIn();
    const quiet: QuietHours = { timeZone: 'America/New_York', hours: [{ days: ['sat', 'sun'], from: '00:00', to: '24:00' }] };
    const draft = { tags: ['dry'], rank: 500, rules: rulesOf({ everyDays: 30, spreadDays: 10, perHour: 2, quietHours: quiet }) };
    const said = await policies().dryRun(null, { id: null, ...draft });
    expect(said).toMatchObject({ covered: 12, count: 12, presentCount: 0 });
    expect(said.words).toBe('12 Macs of the 12 that it is for would have their keys replaced by age in the next 30 days');
    expect(said.days.reduce((sum, { count }) => sum + count, 0)).toBe(12);
    // A minute a week, and one at a time: it looks no farther than its thirty days.
    const otherDays = ['tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
    const narrow = [
      { days: [...otherDays], from: '00:00', to: '24:00' },
      { days: ['mon' as const], from: '00:01', to: '24:00' },
    ];
    const { formatToParts } = Intl.DateTimeFormat.prototype;
    let asked = 0;
    Intl.DateTimeFormat.prototype.formatToParts = function (...given) {
      asked += 1;
      return formatToParts.apply(this, given);
    };
    try {
      const rules = rulesOf({ everyDays: 30, spreadDays: 10, perHour: 1, quietHours: { timeZone: 'UTC', hours: narrow } });
      expect((await policies().dryRun(null, { id: null, ...draft, rules })).count).toBeLessThan(6);
      expect(asked).toBeLessThan(6 * 800);
    } finally {
      Intl.DateTimeFormat.prototype.formatToParts = formatToParts;
    }
    const began = server.wall.at;
    await put(draft.rules, draft);
    while (server.wall.at < began + 30 * day) {
      const waits = await server.store.db.selectFrom('automatic_rotation').select('id').where('state', '=', 'waiting').executeTakeFirst();
      server.wall.pass(waits ? hour : 6 * hour);
      await run();
    }
    const debts = new Map((await debtsOf([...macs, ...others], 'aged')).map((debt) => [debt.mac_id, debt.opened_at]));
    expect([...debts.keys()].toSorted()).toEqual(said.first.map(({ macId }) => macId).toSorted());
    for (const { macId, at } of said.first) {
      // The timer comes every six hours here: what is due just before the quiet days waits for their end.
      const isBefore = isQuiet(quiet, Date.parse(at) + 6 * hour);
      expect(Math.abs((debts.get(macId) ?? 0) - Date.parse(at))).toBeLessThanOrEqual((isBefore ? 2 * 24 + 7 : 7) * hour);
    }
    const unchanged = await policies().dryRun(['nothing'], { id: null, ...draft, rank: 501 });
    expect(unchanged).toMatchObject({ covered: 0, count: 0, presentCount: 0 });
  });
});

describe('events', () => {
  const write = <T>(work: Parameters<typeof server.store.write<T>>[0]) => server.store.write(work);
  const reasons = async (mac: TestMac) => (await ordersOf(mac)).map(({ reason }) => reason);

  test('that a policy names have the key replaced: its person has left, or the Mac is lost; what came before it does not', async () => {
    await policies().run();
    const [lost, early, plain] = [await oneMac(['events']), await oneMac(['events']), await oneMac()];
    const at = () => server.clock.now();
    const mark = (mac: TestMac) => write((tx) => setStanding(tx, at(), { macId: mac.id, actor: 'ada', reason: 'train', change: { state: 'lost' } }));
    await mark(early);
    await policies().run();
    await put(rulesOf({ onEvents: ['mac-lost', 'user-left'] }), { tags: ['events'], name: 'leavers' });
    for (const mac of [lost, plain]) await mark(mac);
    // Marked again: it was lost before.
    await mark(lost);
    await policies().run();
    await policies().run();
    expect(await reasons(lost)).toEqual(['policy leavers: it was marked as lost']);
    expect(await reasons(early)).toEqual([]);
    expect(await reasons(plain)).toEqual([]);
  });

  test('are followed for the people of Macs: an account that is disabled, and a list that no longer names somebody', async () => {
    await policies().run();
    const [one, two, listed, moved] = (await someMacs(4, ['left'])) as [TestMac, TestMac, TestMac, TestMac];
    await put(rulesOf({ onEvents: ['user-left'] }), { tags: ['left'], name: 'left' });
    const at = server.clock.now();
    const accounts = createAccounts({ ...server, secrets, settings: { organisation: 'Example' } });
    await accounts.add({ name: 'kim', emergency: false, actor: 'ada' });
    const give = (mac: TestMac, account: string | null) =>
      write((tx) => assignFromCsv(tx, at, { macId: mac.id, people: account === '-' ? [] : [{ userName: 'sam', account }], actor: 'ada', reason: 'list' }));
    for (const mac of [one, two]) await write((tx) => assign(tx, at, { macId: mac.id, userName: 'kim', account: null, actor: 'ada', reason: 'theirs' }));
    for (const mac of [listed, moved]) await give(mac, null);
    await accounts.disable({ name: 'kim', actor: 'ada', reason: 'has left' });
    await give(listed, '-');
    // The same person, by another name of the account.
    await give(moved, 'sam2');
    await policies().run();
    expect(await reasons(one)).toEqual(['policy left: the account of kim was disabled']);
    expect(await reasons(two)).toEqual(['policy left: the account of kim was disabled']);
    expect(await reasons(listed)).toEqual(['policy left: sam is not in the list of its users any more']);
    expect(await reasons(moved)).toEqual([]);
  });

  test('wait for the end of the quiet hours, and are not forgotten over a restart', async () => {
    await policies().run();
    const mac = await oneMac(['later']);
    const days = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
    const quiet: QuietHours = { timeZone: 'UTC', hours: [{ days: [...days], from: '00:00', to: '23:00' }] };
    await put(rulesOf({ onEvents: ['mac-lost'], quietHours: quiet }), { tags: ['later'] });
    while (new Date(server.wall.at).getUTCHours() !== 12) server.wall.pass(hour);
    await write((tx) => setStanding(tx, server.clock.now(), { macId: mac.id, actor: 'ada', reason: 'train', change: { state: 'lost' } }));
    await policies().run();
    expect(await ordersOf(mac)).toEqual([]);
    server.wall.pass(11 * hour);
    await policies().run();
    expect(await ordersOf(mac)).toHaveLength(1);
  });
});
