import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { rotate } from '../server/mac-commands.ts';
import { ringDrop, ringPlan, ringRollBack, ringStart, ringStatus } from '../server/rings/commands.ts';
import { status } from '../server/status-command.ts';
import { type GivenOptions, given, operator } from './given.ts';
import { runServer } from './run-server.ts';
import { scratch } from './scratch.ts';
import { givenServer } from './server-parts.ts';

/* Macs go from the MDM's escrow payload to ours: the MDM admin changes profiles, the backend waits, asks and counts. */

const day = 24 * 3600;
type Given = Awaited<ReturnType<typeof given>>;

async function runs(it: Given, ...seconds: number[]): Promise<void> {
  for (const one of seconds) {
    it.pass(one);
    await it.checkIn();
  }
}
const rotationsOf = async (it: Given) =>
  it.store.db
    .selectFrom('rotation')
    .select(['state', 'because', 'escrow_payload'])
    .where('mac_id', '=', await it.macId())
    .execute();

async function bring(it: Given): Promise<void> {
  const key = RecoveryKey.parse(it.mac.recoveryKey ?? '');
  await it.custody.bring([{ serial: it.mac.state.serial, key, source: 'jamf', trust: 'admin', runId: null, madeAt: it.mac.now, actor: operator }]);
}

/** A Mac under the MDM's payload whose key was imported and proved, the ordinary way in. */
async function imported(options: GivenOptions = {}): Promise<Given> {
  const it = await given({ escrow: 'foreign', macos: '15.7.3', ...options, settings: { pilot: true, ...options.settings } });
  await it.settle();
  await bring(it);
  await runs(it, 60, 60);
  expect(await it.custodyOf()).toMatchObject({ state: 'held', provedAt: expect.any(String) });
  return it;
}

let made = 0;
async function begun(it: Given, others: readonly Given[] = []): Promise<string> {
  const name = `ring ${++made}`;
  const macs = [it, ...others].map(({ mac }) => mac.state.serial);
  await ringPlan(it.backend, { name, macs, actor: operator });
  await ringStart(it.backend, { name, reason: 'change 4711', actor: operator });
  return name;
}
interface Reported {
  state: string;
  counts: Record<string, number>;
  macs: { serial: string; state: string; because: string; stuck: boolean; next: string }[];
}
const report = async (it: Given, name: string): Promise<Reported> => (await ringStatus(it.backend, name)).json as Reported;
const ofMac = async (it: Given, name: string) => (await report(it, name)).macs.find(({ serial }) => serial === it.mac.state.serial);
const ours = (it: Given): void => void it.mac.installEscrowProfile('ours', it.values.escrowCertificate);

describe('moved', () => {
  test('macOS 15: nothing is replaced until our payload is there; then a proof, one ordered rotation by the held key, and macOS’s own file for us', async () => {
    const it = await imported();
    const before = it.mac.recoveryKey;
    const plan = await ringPlan(it.backend, { name: 'fifteen', macs: [it.mac.state.serial, 'C02NOBODY'], actor: operator });
    expect(plan.json).toMatchObject({
      macs: [
        { verdict: 'ready', mode: 'M0', because: expect.stringMatching(/held key is proved once more, and one ordered rotation/) },
        { serial: 'C02NOBODY', verdict: 'later', because: 'its agent has not enrolled yet' },
      ],
    });
    expect((await ringStart(it.backend, { name: 'fifteen', reason: 'change 4711', actor: operator })).text).toMatch(/switch its key escrow off/);
    const ordered = { mac: it.mac.state.serial, reason: 'a test', actor: operator, withoutLogin: false, overrideHold: false };
    expect((await rotate(it.backend, ordered)).warnings).toEqual([expect.stringMatching(/^it waits for our escrow payload \(ring fifteen\)/)]);
    await runs(it, 600, day, 700);
    expect(await rotationsOf(it)).toEqual([]);
    expect(it.status().lastRun.did).toMatch(/ring fifteen: its payload is still somebody else’s/);
    expect((await status(it.backend, it.mac.state.serial)).text).toMatch(/ring fifteen: waiting since .*; nothing is replaced before/);
    expect(await ofMac(it, 'fifteen')).toMatchObject({ state: 'waiting', stuck: false, next: 'the MDM admin changes its escrow profile' });

    ours(it);
    await runs(it, 600);
    expect(await ofMac(it, 'fifteen')).toMatchObject({ state: 'proving' });
    expect(it.mac.recoveryKey).toBe(before);
    await runs(it, 700, day, 700, day, 700);
    expect(await rotationsOf(it)).toEqual([{ state: 'done', because: 'ordered', escrow_payload: 'ours' }]);
    expect(it.mac.recoveryKey).not.toBe(before);
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    expect(await ofMac(it, 'fifteen')).toMatchObject({ state: 'moved', because: expect.stringMatching(/macOS sealed its key to us and said true to it/) });
    expect(await report(it, 'fifteen')).toMatchObject({ state: 'moved', counts: { moved: 1 } });
    expect(it.status().escrow.says).toMatch(/^M1: .*replaced here when they are owed$/);
    expect(it.mac.state.wrongKeys.ever).toBe(0);
    await runs(it, 2 * day, 700);
    expect(await rotationsOf(it)).toHaveLength(1);
  });

  test('macOS 15, agent and payload in one step: what the MDM had is imported, proved, and replaced once by the ring’s order', async () => {
    const it = await given({ escrow: 'foreign', macos: '15.7.3', settings: { pilot: true } });
    ours(it);
    await it.settle();
    await bring(it);
    await runs(it, 60, 60, day, 700);
    expect(await rotationsOf(it)).toEqual([]);
    const name = await begun(it);
    await runs(it, 60, day, 700, day, 700, day, 700);
    expect(await ofMac(it, name)).toMatchObject({ state: 'moved' });
    expect(await rotationsOf(it)).toEqual([{ state: 'done', because: 'ordered', escrow_payload: 'ours' }]);
  });

  test('macOS 26: the payload makes the key; it is delivered, proved, and no rotation of ours was needed', async () => {
    const it = await imported({ macos: '26.6.2' });
    const name = await begun(it);
    await runs(it, 600);
    const before = it.mac.recoveryKey;
    ours(it);
    expect(it.mac.recoveryKey).not.toBe(before);
    await runs(it, 120, 700, day, 700);
    expect(await ofMac(it, name)).toMatchObject({ state: 'moved' });
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    expect(await rotationsOf(it)).toEqual([]);
    expect(await it.custodyOf()).toMatchObject({ state: 'held', candidates: 0 });
  });
});

describe('not moved yet', () => {
  test('macOS 26 without the Bootstrap Token makes no key: after an hour its one replacement is ordered', async () => {
    const it = await imported({ macos: '26.6.2' });
    it.mac.change((state) => {
      state.mdm.bootstrapTokenEscrowed = false;
    });
    const name = await begun(it);
    const before = it.mac.recoveryKey;
    ours(it);
    await runs(it, 600, 60);
    expect(await ofMac(it, name)).toMatchObject({ state: 'proving', because: expect.stringMatching(/the held key is asked about/) });
    await runs(it, day, 700, day, 700);
    expect(it.mac.recoveryKey).not.toBe(before);
    expect(await ofMac(it, name)).toMatchObject({ state: 'moved' });
    expect(await rotationsOf(it)).toHaveLength(1);
  });

  test('the MDM brings its payload back: nothing is replaced again until ours is there', async () => {
    const it = await imported();
    const name = await begun(it);
    ours(it);
    await runs(it, 600);
    it.mac.installEscrowProfile('foreign');
    await it.order();
    await runs(it, 60, day, 700);
    expect(await ofMac(it, name)).toMatchObject({ state: 'waiting', because: expect.stringMatching(/still somebody else’s/) });
    expect(await rotationsOf(it)).toEqual([]);
    it.mac.installEscrowProfile('none');
    await runs(it, 60);
    expect(await ofMac(it, name)).toMatchObject({ state: 'waiting', because: expect.stringMatching(/new keys would go nowhere/) });
    ours(it);
    await runs(it, day, 700, day, 700, day, 700);
    expect(await ofMac(it, name)).toMatchObject({ state: 'moved' });
  });

  test('our payload and our file are there already: a `true` of before the start moves no Mac, the next one does', async () => {
    const it = await given({ macos: '15.7.3', settings: { pilot: true } });
    await it.settle();
    await runs(it, 60, 60);
    expect(await it.custodyOf()).toMatchObject({ state: 'held', provedAt: expect.any(String) });
    it.pass(3600);
    const name = await begun(it);
    await it.checkIn();
    expect(await ofMac(it, name)).toMatchObject({ state: 'proving', because: expect.stringMatching(/asked about/) });
    await runs(it, day, 700);
    expect(await ofMac(it, name)).toMatchObject({ state: 'moved' });
    expect(await rotationsOf(it)).toEqual([]);
  });

  test('settings that still name the MDM keep it from being moved, and are said', async () => {
    const it = await imported({ settings: { escrowOwner: 'mdm', rotator: 'mdm' } });
    const plan = await ringPlan(it.backend, { name: 'settings', macs: [it.mac.state.serial], actor: operator });
    expect(plan.json).toMatchObject({ macs: [{ verdict: 'ready', mode: 'M3', notes: [expect.stringMatching(/rotator mdm: set it to sparekey/)] }] });
    await ringStart(it.backend, { name: 'settings', reason: 'change 4711', actor: operator });
    ours(it);
    await runs(it, 600, day, 700);
    expect(await ofMac(it, 'settings')).toMatchObject({
      state: 'proving',
      because: expect.stringMatching(/rotator mdm/),
      next: 'the MDM admin changes its settings',
    });
    expect(await rotationsOf(it)).toEqual([]);
    it.mac.installSettings({ ...it.values, pilot: true });
    await runs(it, day, 700, day, 700, day, 700);
    expect(await ofMac(it, 'settings')).toMatchObject({ state: 'moved' });
  });

  test('what the Mac’s own gates say to the order is said with its next step: a build that nobody has tried, two rotators', async () => {
    const it = await imported({ macos: '14.6.1', settings: { pilot: false } });
    const name = await begun(it);
    ours(it);
    await runs(it, 600, day, 700, 60, day, 700);
    expect(await ofMac(it, name)).toMatchObject({
      state: 'proving',
      because: expect.stringMatching(/ordered, but no Mac has/),
      next: expect.stringMatching(/`pilot`/),
    });
    for (const _ of [1, 2]) {
      // Sealed to the MDM as before: somebody uses another way than the payload.
      it.mac.installEscrowProfile('foreign');
      it.mac.mdmRotates();
      ours(it);
      await bring(it);
      await runs(it, day, 700, day, 700);
    }
    expect(await ofMac(it, name)).toMatchObject({ state: 'proving', because: expect.stringMatching(/two rotators/), next: expect.stringMatching(/who else/) });
    expect(await rotationsOf(it)).toEqual([]);
  });

  test('an MDM that replaces the key under our payload: its file is for us, and that is what is proved; nothing else is replaced', async () => {
    const it = await imported();
    const name = await begun(it);
    ours(it);
    it.mac.mdmRotates();
    await runs(it, 600, 700, day, 700);
    expect(await ofMac(it, name)).toMatchObject({ state: 'moved' });
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    expect(await rotationsOf(it)).toEqual([]);
  });

  test('a Mac that stands still is named first, with the next step; a silent one too', async () => {
    const it = await imported();
    const other = await imported();
    const name = await begun(it, [other]);
    await runs(it, 4 * day);
    const { macs, counts } = await report(it, name);
    expect(counts).toMatchObject({ waiting: 2 });
    expect(macs).toEqual([
      expect.objectContaining({ stuck: true, next: 'the MDM admin changes its escrow profile' }),
      expect.objectContaining({ stuck: true, next: expect.stringMatching(/switch the Mac on/) }),
    ]);
    expect((await ringStatus(it.backend, name)).text).toMatch(/waiting, STUCK/);
    expect((await status(it.backend, null)).text).toMatch(new RegExp(`ring ${name}: 2 waiting \\(sparekey-server ring status "${name}"\\)`));
    expect((await ringStatus(it.backend, null)).text).toMatch(new RegExp(`ring ${name}: moving; 0 of 2 moved`));
  });
});

describe('held back, and let go', () => {
  test('M2: what was owed before waits too, and is done once the Mac was taken out of the ring', async () => {
    const it = await imported({ settings: { escrowOwner: 'mdm', rotator: 'sparekey', custody: 'keychain' } });
    await it.order();
    const name = await begun(it);
    const before = it.mac.recoveryKey;
    await runs(it, day, 700);
    expect(it.mac.recoveryKey).toBe(before);
    expect((await ringDrop(it.backend, { mac: it.mac.state.serial, reason: 'in repair', actor: operator })).text).toMatch(/is out of ring/);
    await runs(it, day, 700);
    expect(it.mac.recoveryKey).not.toBe(before);
    expect(await rotationsOf(it)).toEqual([{ state: 'done', because: 'ordered', escrow_payload: 'foreign' }]);
    expect(await report(it, name)).toMatchObject({ state: 'dropped', counts: { left: 1 } });
    await expect(it.custody.rings.drop({ mac: it.mac.state.serial, reason: 'again', actor: operator })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('a ring that starts between a check-in and its `begin` refuses it, and lets it go once the Mac is out of the ring', async () => {
    const server = await givenServer();
    const mac = await server.newMac();
    await mac.escrowed();
    await mac.owe();
    await mac.rotate();
    await server.custody.orderRotation({ macId: mac.id, actor: operator, reason: 'a test' });
    const debtIds = (await mac.checkIn()).debts.map(({ id }) => id);
    expect(debtIds).toHaveLength(1);
    await server.custody.rings.plan({ name: 'late', macs: [mac.id], actor: operator });
    await server.custody.rings.start({ name: 'late', reason: 'change 4711', actor: operator });
    await expect(mac.begin({ debtIds })).rejects.toMatchObject({ code: 'ROTATION_RING', detail: expect.stringMatching(/^ring late: /) });
    await server.custody.rings.drop({ mac: mac.id, reason: 'in repair', actor: operator });
    expect(await mac.begin({ debtIds })).toMatchObject({ rotationId: expect.any(String) });
    await server.close();
  });

  test('rolled back: its own order is withdrawn, nothing of ours is replaced under the MDM’s payload, and the audit says who and why', async () => {
    const it = await imported();
    const name = await begun(it);
    ours(it);
    await runs(it, 600, day, 700);
    const order = async () =>
      it.store.db
        .selectFrom('rotation_order')
        .select('state')
        .where('mac_id', '=', await it.macId())
        .execute();
    // The proof has to come first, and the order follows it.
    await runs(it, 60);
    expect(await order()).toEqual([{ state: 'waiting' }]);
    const said = await ringRollBack(it.backend, { name, reason: 'wrong group', actor: 'eve' });
    expect(said.text).toMatch(/take our escrow profile away/);
    expect(said.json).toMatchObject({ moved: [], notMoved: [it.mac.state.serial] });
    expect(await order()).toEqual([{ state: 'withdrawn' }]);
    it.mac.installEscrowProfile('foreign');
    await runs(it, day, 700, day, 700);
    expect(await rotationsOf(it)).toEqual([]);
    const acts = await it.store.db.selectFrom('audit').select(['act', 'actor', 'details']).where('act', 'like', 'ring.%').orderBy('seq').execute();
    const mine = acts.filter(({ details }) => details.includes(`"${name}"`)).map(({ act }) => act);
    expect(mine).toEqual(['ring.planned', 'ring.started', 'ring.waiting', 'ring.proving', 'ring.rolled-back', 'ring.ended']);
    expect(acts.find(({ act, details }) => act === 'ring.ended' && details.includes(`"${name}"`))?.actor).toBe('eve');
    await expect(it.custody.rings.rollBack({ name, reason: 'again', actor: 'eve' })).rejects.toMatchObject({ code: 'USAGE' });
  });

  test('rolled back after it was moved: nothing is changed by that, and it is said what becomes of its key', async () => {
    const it = await imported({ macos: '26.6.2' });
    const name = await begun(it);
    ours(it);
    await runs(it, 120, 700, day);
    expect(await ofMac(it, name)).toMatchObject({ state: 'moved' });
    it.mac.installEscrowProfile('foreign');
    await runs(it, 60);
    expect(await ofMac(it, name)).toMatchObject({
      state: 'moved',
      stuck: true,
      because: expect.stringMatching(/since then its payload is somebody else’s again/),
    });
    expect((await ringRollBack(it.backend, { name, reason: 'back', actor: operator })).text).toMatch(/moved already: .*\n.*the MDM gets the keys/);
  });
});

describe('asked for', () => {
  test('a start needs a reason and a Mac that can go; one Mac is in one ring; a ring that goes is not planned anew', async () => {
    const it = await imported();
    const bare = await given({ escrow: 'foreign', macos: '15.7.3' });
    await bare.checkIn();
    const { rings } = it.custody;
    const macs = [bare.mac.state.serial];
    expect(await rings.plan({ name: 'bare', macs, actor: operator })).toMatchObject({
      macs: [{ move: { verdict: 'later', because: 'no key of it is held here: import it from the MDM, and have it proved' } }],
    });
    await expect(rings.start({ name: 'bare', reason: ' ', actor: operator })).rejects.toMatchObject({ code: 'REASON_MISSING' });
    await expect(rings.start({ name: 'bare', reason: 'x', actor: operator })).rejects.toMatchObject({ code: 'RING_NOT_READY' });
    await expect(rings.start({ name: 'nobody’s', reason: 'x', actor: operator })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(rings.plan({ name: 'none', macs: [], actor: operator })).rejects.toMatchObject({ code: 'USAGE' });
    await expect(rings.plan({ name: '-x', macs, actor: operator })).rejects.toMatchObject({ code: 'USAGE' });
    const name = await begun(it);
    expect(await rings.plan({ name: 'second', macs: [it.mac.state.serial], actor: operator })).toMatchObject({
      macs: [{ move: { verdict: 'later', because: `it is in the ring ${name}` } }],
    });
    await expect(rings.plan({ name, macs, actor: operator })).rejects.toMatchObject({ code: 'USAGE' });
    await expect(rings.start({ name, reason: 'x', actor: operator })).rejects.toMatchObject({ code: 'USAGE' });
    expect((await ringPlan(it.backend, { name, macs: [], actor: operator })).json).toMatchObject({ macs: [{ serial: it.mac.state.serial, verdict: 'ready' }] });
  });

  test('what came between plan and start counts: a Mac whose key was shown stays out, and says why', async () => {
    const it = await imported();
    const other = await imported();
    const serials = [it, other].map(({ mac }) => mac.state.serial);
    await it.custody.rings.plan({ name: 'between', macs: serials, actor: operator });
    await other.disclose();
    expect(await it.custody.rings.start({ name: 'between', reason: 'change 4711', actor: operator })).toMatchObject({
      waiting: [serials[0]],
      left: [{ serial: serials[1], because: expect.stringMatching(/somebody may be typing its key/) }],
    });
  });
});

test('the commands, as an operator types them: a start is confirmed, a reason is needed, and each step says what is to be done at the MDM', async () => {
  const it = await imported();
  const serial = it.mac.state.serial;
  const run = (...args: string[]) => runServer(['ring', ...args, '--dir', it.dir]);
  const list = join(scratch('ring-list'), 'census.csv');
  writeFileSync(list, `serial,ring\nC02OTHER,later\n${serial.toLowerCase()},pilot\n`);
  const planned = await run('plan', 'typed', '--csv', list, '--where', 'ring=pilot', '--json');
  expect(planned.json).toMatchObject({ name: 'typed', macs: [{ serial, verdict: 'ready', mode: 'M0' }] });
  const refused = await run('start', 'typed', '--reason', 'change 4711');
  expect([refused.code, refused.stderr]).toEqual([64, expect.stringMatching(/add --yes/)]);
  const started = await run('start', 'typed', '--reason', 'change 4711', '--yes');
  expect([started.code, started.stdout]).toEqual([0, expect.stringMatching(new RegExp(`install ours.*\\n  ${serial}\\n`))]);
});
