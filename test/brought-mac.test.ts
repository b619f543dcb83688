import { describe, expect, test } from '@jest/globals';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import type { Bringing } from '../server/brought/bringing.ts';
import { brought as broughtCommand, closeTask, events, followEvents, taskList } from '../server/brought/commands.ts';
import { show } from '../server/show.ts';
import { status } from '../server/status-command.ts';
import { type GivenOptions, given, operator } from './given.ts';
import { runServer } from './run-server.ts';

/* A Mac under the MDM's payload whose key the MDM gave out: proved by its agent, without one rotation. */

const day = 24 * 3600;
const underTheirs: GivenOptions = { escrow: 'foreign' };
const m2: GivenOptions = { escrow: 'foreign', settings: { escrowOwner: 'mdm', rotator: 'sparekey', custody: 'keychain' } };
const m3: GivenOptions = { escrow: 'foreign', settings: { escrowOwner: 'mdm', rotator: 'mdm' } };
const stale = 'AAAA-BBBB-CCCC-DDDD-EEEE-FFFF';

type Given = Awaited<ReturnType<typeof given>>;

const bring = async (it: Given, text: string, more: Partial<Bringing> = {}) => {
  const bringing: Bringing = {
    serial: it.mac.state.serial,
    key: RecoveryKey.parse(text),
    source: 'intune',
    trust: 'admin',
    runId: null,
    madeAt: null,
    actor: operator,
    ...more,
  };
  const [one] = await it.custody.bring([bringing]);
  if (!one) throw new Error('nothing came of it');
  return one;
};
async function runs(it: Given, ...seconds: number[]): Promise<void> {
  for (const one of seconds) {
    it.pass(one);
    await it.checkIn();
  }
}
const ofMac = async (it: Given, table: 'rotation' | 'debt') =>
  it.store.db
    .selectFrom(table)
    .selectAll()
    .where('mac_id', '=', await it.macId())
    .execute();
const openDebts = async (it: Given) => (await ofMac(it, 'debt')).flatMap((row) => ('closed_at' in row && row.closed_at === null ? [row.because] : []));
const acts = async (it: Given, act: string) =>
  (await it.store.db.selectFrom('audit').selectAll().where('act', '=', act).orderBy('seq').execute()).filter(({ details }) =>
    details.includes(it.mac.state.serial),
  );
const task = async (it: Given) =>
  it.store.db.selectFrom('mdm_task').selectAll().where('serial', '=', it.mac.state.serial).orderBy('opened_at', 'desc').executeTakeFirst();

describe('C8: imported and proved', () => {
  test('C8, M0, custody at the server: brought before its Mac ever enrolled; held and proved by the Mac, which rotates nothing and asks nobody', async () => {
    const it = await given(underTheirs);
    const key = it.mac.recoveryKey ?? '';
    expect(await bring(it, key)).toMatchObject({ fate: 'waiting' });
    await it.settle();
    await runs(it, 60, 60);
    expect(await it.custodyOf()).toMatchObject({ state: 'held', provedAt: expect.any(String), candidates: 0 });
    expect(await it.heldKey()).toBe(key);
    await runs(it, 31 * day, 700, day, 700);
    expect(await ofMac(it, 'rotation')).toEqual([]);
    expect(await openDebts(it)).toEqual([]);
    expect(it.mac.recoveryKey).toBe(key);
    expect(it.mac.state.wrongKeys.ever).toBe(0);
    expect(it.status().problems).toEqual([]);
  });

  test('C8, M2, custody in the keychain: brought after it enrolled; proved, kept, and nothing is owed by it', async () => {
    const it = await given(m2);
    await it.settle();
    const key = it.mac.recoveryKey ?? '';
    expect(await bring(it, key)).toMatchObject({ fate: 'offered' });
    await runs(it, 60, 60, day, 700);
    expect(await it.custodyOf()).toMatchObject({ state: 'held', provedAt: expect.any(String) });
    expect(it.journal().keptItem).not.toBeNull();
    expect(await ofMac(it, 'rotation')).toEqual([]);
    expect(await openDebts(it)).toEqual([]);
    expect(it.mac.recoveryKey).toBe(key);
  });

  test('a stranger’s word is proved like any other, and counts from then on', async () => {
    const it = await given(underTheirs);
    await it.settle();
    await bring(it, it.mac.recoveryKey ?? '', { source: 'crypt', trust: 'none', actor: 'nobody' });
    expect(await it.custodyOf()).toMatchObject({ state: 'foreign', candidates: 0 });
    await runs(it, 60, 60);
    expect(await it.custodyOf()).toMatchObject({ state: 'held', provedAt: expect.any(String) });
    expect(await ofMac(it, 'rotation')).toEqual([]);
  });
});

describe('C1: what the MDM does afterwards', () => {
  test('K8, R9: a stale import is refuted within the budget; the MDM has the key, so custody is foreign and not lost; the next import is proved', async () => {
    const it = await given(underTheirs);
    await it.settle();
    const wrong = await bring(it, stale);
    await runs(it, 60, 700, day, 700);
    expect(it.mac.state.wrongKeys.ever).toBe(2);
    expect(await it.custodyOf()).toMatchObject({ state: 'foreign', candidates: 0 });
    const [row] = (await broughtCommand(it.backend, { serial: it.mac.state.serial, state: undefined })).text.split('\n').slice(1);
    expect(row).toContain('refuted');
    expect(row).toContain(wrong.keyId);
    // It is asked about no more, however often the MDM gives it out.
    expect(await bring(it, stale)).toMatchObject({ fate: 'known', because: expect.stringMatching(/twice/) });
    await runs(it, day, 700);
    expect(it.mac.state.wrongKeys.ever).toBe(2);
    await bring(it, it.mac.recoveryKey ?? '');
    await runs(it, day, 700);
    expect(await it.custodyOf()).toMatchObject({ state: 'held', provedAt: expect.any(String) });
    expect(await ofMac(it, 'rotation')).toEqual([]);
  });

  test('C1, C8: its rotation ends what was proved; what it gives out next was laid aside, is asked about once the Mac has seen the change, and is held; no rotation of ours', async () => {
    const it = await given(m3);
    await it.settle();
    await bring(it, it.mac.recoveryKey ?? '');
    await runs(it, 60, 60);
    it.mac.mdmRotates();
    const theirs = it.mac.recoveryKey ?? '';
    // The connector is quicker than the Mac.
    expect(await bring(it, theirs, { madeAt: it.mac.now })).toMatchObject({ fate: 'aside' });
    await runs(it, day, 700, day);
    expect(await it.heldKey()).toBe(theirs);
    expect(await it.custodyOf()).toMatchObject({ state: 'held', provedAt: expect.any(String), candidates: 0 });
    expect(await ofMac(it, 'rotation')).toEqual([]);
    expect(it.mac.state.wrongKeys.ever).toBe(0);
  });
});

describe('a shown key that only the MDM can replace', () => {
  test('M3: opens a task with a deadline, and an alarm when it is over; the MDM’s rotation closes both', async () => {
    const it = await given(m3);
    await it.settle();
    await bring(it, it.mac.recoveryKey ?? '');
    await runs(it, 60, 60);
    await it.disclose();
    expect(await task(it)).toMatchObject({ mac_id: await it.macId(), closed_at: null, because: expect.stringMatching(/the MDM replaces the keys/) });
    const dueAt = (await task(it))?.due_at ?? 0;
    expect((await show(it.backend, { mac: it.mac.state.serial, reason: 'again', actor: operator, refused: [] })).warnings?.join('\n')).toContain(
      'only the MDM can replace this key',
    );
    await runs(it, day, 700);
    expect(await ofMac(it, 'rotation')).toEqual([]);
    it.pass(3 * day);
    await it.custody.sweepTimers();
    await it.custody.sweepTimers();
    const overdue = async () => (await it.custody.macReport(await it.macId())).openAlarms.map(({ code }) => code);
    expect(await overdue()).toEqual(['MDM_TASK_OVERDUE']);
    expect((await taskList(it.backend, false)).text).toMatch(/OVERDUE/);
    expect((await status(it.backend, it.mac.state.serial)).text).toContain(`due ${new Date(dueAt).toISOString()}`);
    it.mac.mdmRotates();
    await runs(it, 3600, 60);
    expect(await task(it)).toMatchObject({ closed_by: 'server', closed_because: expect.stringMatching(/replaced the key/) });
    expect(await overdue()).toEqual([]);
  });

  test('M0: is closed by another proved key, or by a person with a reason', async () => {
    const it = await given(underTheirs);
    await it.settle();
    await bring(it, it.mac.recoveryKey ?? '');
    await runs(it, 60, 60);
    await it.disclose();
    const first = await task(it);
    expect(first).toMatchObject({ because: expect.stringMatching(/somebody else’s/), closed_at: null });
    await expect(it.custody.closeTask({ taskId: first?.id ?? '', actor: operator, reason: ' ' })).rejects.toMatchObject({ code: 'REASON_MISSING' });
    await expect(it.custody.closeTask({ taskId: 'no such', actor: operator, reason: 'x' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await closeTask(it.backend, { taskId: first?.id ?? '', actor: operator, reason: 'rotated in Intune, looked' });
    expect((await taskList(it.backend, true)).text).toContain(`done ${new Date((await task(it))?.closed_at ?? 0).toISOString().replace(/\.\d+Z$/, 'Z')}`);
    it.pass(60);
    await it.disclose();
    expect(await task(it)).toMatchObject({ closed_at: null });
    // The same key proved again changes nothing.
    it.mac.mdmRotates();
    await bring(it, it.mac.recoveryKey ?? '');
    await runs(it, day, 700, day, 700);
    expect((await task(it))?.closed_at).not.toBeNull();
    expect(await acts(it, 'task.closed')).toHaveLength(2);
  });
});

test('C6: our rotation makes the MDM’s copy old, with an event for scripts; when the MDM gives out the new key it is fresh again', async () => {
  const it = await given(m2);
  await it.settle();
  const before = it.mac.recoveryKey ?? '';
  await bring(it, before);
  await runs(it, 60, 60);
  await it.order();
  await runs(it, day + 60, 60);
  expect(it.mac.recoveryKey).not.toBe(before);
  const macId = await it.macId();
  const old = async () => (await it.custody.macReport(macId)).mdmCopyOldSince;
  expect(await old()).toEqual(expect.any(String));
  expect((await taskList(it.backend, false)).json).toMatchObject({
    oldCopies: expect.arrayContaining([expect.objectContaining({ serial: it.mac.state.serial })]),
  });
  // What the MDM still gives out is the key of before: that says nothing.
  await bring(it, before, { madeAt: it.mac.now });
  expect(await old()).toEqual(expect.any(String));
  expect(await bring(it, it.mac.recoveryKey ?? '')).toMatchObject({ fate: 'known' });
  expect(await old()).toBeNull();

  const wanted = { since: 0, acts: ['mdm.copy-old', 'mdm.copy-fresh'], most: 100, json: true };
  const feed = (await events(it.backend, wanted)).text.split('\n').map((line) => JSON.parse(line));
  const mine = feed.filter((line) => line.macId === macId);
  expect(mine).toMatchObject([
    { act: 'mdm.copy-old', serial: it.mac.state.serial, details: { since: expect.any(Number) } },
    { act: 'mdm.copy-fresh', actor: 'server', details: { by: 'Intune' } },
  ]);
  // A script goes on after the last number that it has seen.
  const last = mine.at(-1)?.seq ?? 0;
  expect((await events(it.backend, { ...wanted, since: last })).text).toBe('');
  const written: string[] = [];
  let looks = 0;
  await followEvents(
    it.backend,
    { ...wanted, since: (mine[0]?.seq ?? 1) - 1, json: false },
    (lines) => written.push(lines),
    async () => ++looks < 3,
  );
  expect(written.join('')).toMatch(/mdm\.copy-old .*\n.*mdm\.copy-fresh .*\n$/);
  expect(written.join('')).not.toContain(it.mac.recoveryKey);
});

test('the commands, as an operator types them: what was brought, what is to be done at the MDM, and the feed of events', async () => {
  const it = await given(underTheirs);
  const serial = it.mac.state.serial;
  await bring(it, stale);
  await show(it.backend, { mac: serial, reason: 'locked out', actor: operator, refused: [] });
  const run = (...args: string[]) => runServer([...args, '--dir', it.dir]);
  const listed = await run('brought', '--serial', serial.toLowerCase(), '--json');
  expect(listed.json.keys).toMatchObject([{ serial, source: 'intune', trust: 'admin', state: 'waiting', disclosedAt: expect.any(String) }]);
  expect((await run('brought', '--state', 'gone')).stderr).toMatch(/--state is waiting, aside/);
  const { tasks } = (await run('tasks', '--json')).json;
  const mine = tasks.find((one: { serial: string }) => one.serial === serial);
  expect(mine).toMatchObject({ closedAt: null, overdue: false });
  expect((await run('tasks', 'close', mine.id, '--reason', 'rotated in Intune, looked')).stdout).toBe(`task ${mine.id} is done\n`);
  expect((await task(it))?.closed_because).toBe('rotated in Intune, looked');
  const feed = (await run('events', '--act', 'brought.disclosed', '--json')).stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(feed).toContainEqual(expect.objectContaining({ act: 'brought.disclosed', actor: operator, seq: expect.any(Number) }));
  expect([listed.stdout, JSON.stringify(feed)].join()).not.toContain(stale);
});

describe('show', () => {
  test('of a serial number that no Mac has: the brought key, with where it came from, that it was never proved, and until when it is to be replaced', async () => {
    const it = await given(underTheirs);
    const serial = it.mac.state.serial;
    await bring(it, stale, { madeAt: Date.parse('2026-05-01T00:00:00Z') });
    const shown = await show(it.backend, { mac: serial.toLowerCase(), reason: 'locked out', actor: operator, refused: [] });
    expect(shown.text).toBe(stale);
    expect(shown.warnings?.join('\n')).toMatch(/came from Intune on .*made on 2026-05-01T00:00:00Z; it was never proved on the Mac/);
    expect(shown.json).toMatchObject({ serial, recoveryKey: stale, provedAt: null, replaceUntil: expect.any(String) });
    await expect(show(it.backend, { mac: 'C02NOSUCHMAC', reason: 'x', actor: operator, refused: [] })).rejects.toMatchObject({ code: 'MAC_UNKNOWN' });
  });

  test('of a Mac with a candidate: its own, with where it came from; of one with a stranger’s key alone: nothing', async () => {
    const [it, other] = [await given(underTheirs), await given(underTheirs)];
    for (const one of [it, other]) await one.settle();
    await bring(it, stale);
    const shown = await show(it.backend, { mac: it.mac.state.serial, reason: 'locked out', actor: operator, refused: [] });
    expect(shown.warnings?.join('\n')).toMatch(/of this key from Intune: macOS was never asked about it/);
    await bring(other, stale, { source: 'crypt', trust: 'header' });
    const strangers = show(other.backend, { mac: other.mac.state.serial, reason: 'locked out', actor: operator, refused: [] });
    await expect(strangers).rejects.toMatchObject({ code: 'KEY_UNKNOWN', detail: expect.stringMatching(/without a device identity/) });
    const text = (await status(other.backend, other.mac.state.serial)).text;
    expect(text).toMatch(/candidate, unverified/);
    expect(text).toMatch(/brought by crypt on/);
    expect((await status(other.backend, null)).text).toMatch(/keys that others brought: .*offered/);
  });
});
