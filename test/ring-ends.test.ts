import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Backend, openBackend } from '../server/backend.ts';
import { type Custody, createCustody } from '../server/custody.ts';
import { folderPaths } from '../server/data-folder.ts';
import { ringDrop, ringPlan, ringStart, ringStatus, startQuestion } from '../server/rings/commands.ts';
import { alarmList } from '../server/status-command.ts';
import { foreign } from './brought-parts.ts';
import { makeDataFolder } from './made-backend.ts';
import { scratch } from './scratch.ts';
import { day, digestOf, type GivenServer, givenServer, hour, minute, newKey, secrets, type TestMac } from './server-parts.ts';

/* Rings that somebody changes his mind about, that stand still, and whose backend is opened late. */

let server: GivenServer;
beforeAll(async () => {
  server = await givenServer();
});
afterAll(() => server.close());

const backend = (): Backend => ({ custody: server.custody, store: server.store, clock: server.clock, log: undefined }) as unknown as Backend;
const actor = 'ada';

/** Under the MDM's payload, with a key that was proved: movable. */
async function movable(): Promise<TestMac> {
  const mac = await server.newMac();
  foreign(mac);
  const { envelopeId } = await mac.escrowed();
  await mac.prove(envelopeId, 'true');
  server.wall.pass(minute);
  await mac.checkIn();
  return mac;
}

let made = 0;
async function planned(...macs: TestMac[]): Promise<string> {
  const name = `ends-${++made}`;
  await ringPlan(backend(), { name, macs: macs.map(({ serial }) => serial), actor });
  return name;
}
const start = (name: string) => ringStart(backend(), { name, reason: 'change 4711', actor });
const drop = (mac: TestMac, reason = 'in repair') => ringDrop(backend(), { mac: mac.serial, reason, actor });
interface Reported {
  state: string;
  counts: Record<string, number>;
  macs: { serial: string; state: string; because: string; next: string; stuck: boolean }[];
}
const report = async (name: string): Promise<Reported> => (await ringStatus(backend(), name)).json as Reported;
const stateOf = async (name: string, mac: TestMac) => (await report(name)).macs.find(({ serial }) => serial === mac.serial)?.state;
const alarmsOf = async (mac: TestMac) => (await server.custody.macReport(mac.id)).openAlarms.filter(({ code }) => code === 'RING_STUCK');

describe('a Mac that is taken out of a ring', () => {
  test('before the start stays out of it: the plan is as it was without it, and the start leaves it alone', async () => {
    const [one, two] = [await movable(), await movable()];
    const name = await planned(one, two);
    await drop(two);
    expect(await startQuestion(backend(), name)).toMatch(/No key of the 1 Mac/);
    expect((await ringPlan(backend(), { name, macs: [], actor })).json).toMatchObject({ macs: [{ serial: one.serial, verdict: 'ready' }] });
    expect((await start(name)).json).toEqual({ name, waiting: [one.serial], left: [] });
    expect(await stateOf(name, two)).toBe('left');
    // Its replacements are held by no ring.
    expect((await two.checkIn()).withheld).toBeNull();
    await drop(one);
  });

  test('and named again in another plan of that ring is in it again, which says that it was taken out', async () => {
    const [one, two] = [await movable(), await movable()];
    const name = await planned(one, two);
    await drop(two);
    const serials = [one.serial, two.serial];
    const { macs } = (await ringPlan(backend(), { name, macs: serials, actor })).json as { macs: { serial: string; verdict: string; notes: string[] }[] };
    expect(macs).toMatchObject([
      { serial: one.serial, notes: [] },
      { serial: two.serial, verdict: 'ready', notes: ['it was taken out of this ring before: in repair'] },
    ]);
    expect((await start(name)).json).toMatchObject({ waiting: serials.toSorted() });
    for (const mac of [one, two]) await drop(mac);
  });

  test('where every one was: nobody has rolled anything back, and the ring says that it was dropped', async () => {
    const [one, two] = [await movable(), await movable()];
    const name = await planned(one, two);
    await start(name);
    await drop(one);
    expect(await report(name)).toMatchObject({ state: 'moving', counts: { left: 1, waiting: 1 } });
    await drop(two);
    expect(await report(name)).toMatchObject({ state: 'dropped', counts: { left: 2, 'rolled-back': 0 } });
    expect((await ringStatus(backend(), name)).text).toMatch(new RegExp(`^ring ${name}: dropped; 0 of 0 moved`));
    const ended = (await server.acts('ring.ended')).at(-1);
    expect(ended?.details).toMatchObject({ ring: name, as: 'dropped', moved: 0, left: 2 });
    await expect(server.custody.rings.rollBack({ name, reason: 'x', actor })).rejects.toMatchObject({
      code: 'USAGE',
      detail: `the ring ${name} has ended: every Mac was taken out of it`,
    });
  });
});

describe('a Mac of a ring that stands still', () => {
  test('is an alarm after the days of the setting, once, that says what to do; it ends by itself when the Mac goes on', async () => {
    const [one, two] = [await movable(), await movable()];
    const name = await planned(one, two);
    await start(name);
    server.wall.pass(3 * day - hour);
    await server.custody.sweepTimers();
    expect(await alarmsOf(one)).toEqual([]);
    server.wall.pass(hour);
    for (const _ of [1, 2]) await server.custody.sweepTimers();
    expect(await alarmsOf(one)).toMatchObject([{ detail: expect.stringMatching(new RegExp(`^ring ${name}: waiting since 20`)) }]);
    expect(await alarmsOf(two)).toHaveLength(1);
    const list = await alarmList(backend());
    expect(list.text).toMatch(/\n\nRING_STUCK: .*`sparekey-server ring status` names the next step, `ring drop` takes it out$/);
    const { alarms } = list.json as { alarms: { code: string; says: string }[] };
    expect(alarms.find(({ code }) => code === 'RING_STUCK')?.says).toMatch(/stands still on its way/);
    // It stops nothing, and once judged it is not raised again in the same words.
    expect((await two.checkIn()).alarms).toEqual([]);
    await server.custody.judgeAlarm({ alarmId: (await alarmsOf(two))[0]?.id ?? '', actor, judgement: 'its owner is away' });
    await server.custody.sweepTimers();
    expect(await alarmsOf(two)).toEqual([]);
    // Our payload comes: it goes on.
    one.factsMore = { escrow: { payload: 'ours', location: null, file: one.escrowFile } };
    await one.checkIn();
    expect(await stateOf(name, one)).toBe('proving');
    expect(await alarmsOf(one)).toEqual([]);
    // And stands still again, in other words.
    server.wall.pass(4 * day);
    await server.custody.sweepTimers();
    expect(await alarmsOf(one)).toMatchObject([{ detail: expect.stringMatching(new RegExp(`^ring ${name}: proving since 20`)) }]);
    await drop(one);
    expect(await alarmsOf(one)).toEqual([]);
    await drop(two);
  });

  test('after as many days as the settings say; planned and ended ones are none', async () => {
    const patient = createCustody({ store: server.store, clock: server.clock, escrowKeys: server.escrow, secrets, settings: server.settings, ringDays: 10 });
    const [one, two] = [await movable(), await movable()];
    const name = await planned(one);
    const other = await planned(two);
    await start(name);
    server.wall.pass(9 * day);
    await patient.sweepTimers();
    expect(await alarmsOf(one)).toEqual([]);
    server.wall.pass(day);
    await patient.sweepTimers();
    expect(await alarmsOf(one)).toHaveLength(1);
    expect(await alarmsOf(two)).toEqual([]);
    await server.custody.rings.rollBack({ name, reason: 'wrong group', actor });
    expect(await alarmsOf(one)).toEqual([]);
    await server.custody.rings.rollBack({ name: other, reason: 'wrong group', actor });
    server.wall.pass(30 * day);
    await server.custody.sweepTimers();
    expect([...(await alarmsOf(one)), ...(await alarmsOf(two))]).toEqual([]);
  });
});

test('the days come from settings.json, and are three where it says nothing', async () => {
  const dir = join(scratch('ring-days'), 'server');
  await makeDataFolder(dir, 8443);
  const daysOf = async (): Promise<number> => {
    const opened = await openBackend({ dir, passphrase: null });
    await opened.close();
    return opened.custody.rings.standsStillAfter / day;
  };
  expect(await daysOf()).toBe(3);
  const file = folderPaths(dir).settings;
  const say = (coexistence: object) => writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), coexistence }));
  say({});
  expect(await daysOf()).toBe(3);
  say({ ringDays: 10 });
  expect(await daysOf()).toBe(10);
  say({ ringDays: 0 });
  await expect(daysOf()).rejects.toMatchObject({ code: 'SERVER_SETTINGS_INVALID' });
});

describe('a backend that was started without its passphrase', () => {
  const opened = (canOpen: boolean): Custody => {
    server.escrow.canOpen = canOpen;
    return createCustody({ store: server.store, clock: server.clock, escrowKeys: server.escrow, secrets, settings: server.settings });
  };

  test('plans, starts, holds back and watches a ring as before; what needs a key to be opened waits, is said, and goes on when it is opened', async () => {
    const [mac, old] = [await movable(), await movable()];
    old.factsMore = { ...old.factsMore, macosVersion: '15.7.3' };
    await old.checkIn();
    try {
      server.custody = opened(false);
      const name = await planned(mac, old);
      expect((await start(name)).json).toMatchObject({ waiting: [mac.serial, old.serial].toSorted() });
      expect((await mac.checkIn()).withheld).toMatch(new RegExp(`^ring ${name}: `));

      // macOS 26 makes a key for our payload; nobody can look into its file.
      const key = newKey();
      const file = mac.seal(key);
      mac.escrowFile = { digest: digestOf(file), recipient: null, ours: true };
      mac.factsMore = { escrow: { payload: 'ours', location: null, file: mac.escrowFile } };
      server.wall.pass(hour);
      expect((await mac.checkIn({ offers: [digestOf(file)] })).wanted).toEqual([digestOf(file)]);
      expect((await mac.deliver(file, { source: 'escrow-file' })).receipt).toMatchObject({ readable: 'not-tried' });
      await mac.checkIn();
      const said = async (one: TestMac) => (await report(name)).macs.find(({ serial }) => serial === one.serial);
      expect(await said(mac)).toMatchObject({
        state: 'proving',
        because: expect.stringMatching(/^its new key is here and is asked about: .*this backend is sealed/),
        next: 'start the backend with its passphrase',
      });
      // macOS 15: the held key is asked about, and no key is given for it.
      old.factsMore = { ...old.factsMore, escrow: { payload: 'ours', location: null, file: old.escrowFile } };
      const [order] = (await old.checkIn()).proofOrders;
      expect(await said(old)).toMatchObject({ state: 'proving', because: expect.stringMatching(/^the held key is asked about: .*sealed/) });
      await expect((await old.ask('prove', order?.recordId ?? '', order?.id ?? '')).give()).rejects.toMatchObject({
        code: expect.stringMatching(/GRANT|OPEN/),
      });
      expect((await server.custody.macReport(old.id)).orders).toEqual([]);

      server.custody = opened(true);
      expect(await server.custody.openLater()).toMatchObject({ unreadable: 0, waiting: 0 });
      server.wall.pass(minute);
      await mac.checkIn();
      expect(await said(mac)).toMatchObject({ because: 'its new key is here and is asked about: somebody has to be logged in' });
      await mac.prove(digestOf(file), 'true');
      await mac.checkIn();
      expect(await said(mac)).toMatchObject({ state: 'moved' });
      await old.checkIn();
      expect((await said(old))?.because).toBe('the held key is asked about: somebody has to be logged in');
      await drop(old);
      expect(await report(name)).toMatchObject({ state: 'moved', counts: { moved: 1, left: 1 } });
    } finally {
      server.custody = opened(true);
    }
  });
});
