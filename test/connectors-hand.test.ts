import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { raise } from '../server/alarms.ts';
import { type Backend, openBackend } from '../server/backend.ts';
import { markCopyOld } from '../server/brought/tasks.ts';
import { connectorRefresh, connectorRun, connectorsCommand } from '../server/connectors/commands.ts';
import type { OpenConnector } from '../server/connectors/open.ts';
import type { ConnectorName } from '../server/connectors/source.ts';
import { createCustody } from '../server/custody.ts';
import { folderPaths } from '../server/data-folder.ts';
import { silentLog } from '../server/log.ts';
import { mountNeighbours, type NeighboursGround } from '../server/neighbours.ts';
import { status } from '../server/status-command.ts';
import { type Device, intuneId } from './connector-parts.ts';
import { makeDataFolder } from './made-backend.ts';
import { beforeEachWithConnectors, type Products } from './neighbours-together.ts';
import { endServers, runServer } from './run-server.ts';
import { scratch } from './scratch.ts';
import { codeOf, day, type GivenServer, hour, minute, newKey, newUuid, secrets, type TestMac } from './server-parts.ts';

/* What Intune, Jamf Pro and Fleet are asked to do, when a run comes round, and the commands. */

let it: Products;
let server: GivenServer;
const { device, connector, run, brought, changed, proves } = beforeEachWithConnectors({ serials: 'C02H' }, (products, fresh) => {
  it = products;
  server = fresh;
});
afterAll(endServers);
const tend = (one: OpenConnector) => server.custody.connectors.tend(one);
const posts = (): string[] => it.asked.filter(({ method, path }) => method === 'POST' && !path.endsWith('/token')).map(({ path }) => path);
const task = () => server.store.db.selectFrom('mdm_task').selectAll().orderBy('opened_at', 'desc').executeTakeFirst();
const copy = () => server.store.db.selectFrom('mdm_copy').selectAll().executeTakeFirst();

/** A Mac whose key the connector has brought, and that has proved it. */
async function provedMac(one: Device, from: OpenConnector, rotator: 'mdm' | 'sparekey'): Promise<TestMac> {
  const mac = await server.newMac({ serial: one.serial });
  mac.factsMore = { rotator, escrowOwner: 'mdm' };
  changed(mac);
  await mac.checkIn();
  await run(from);
  await proves(mac);
  server.wall.pass(minute);
  return mac;
}

describe('C6: the copy of the MDM is an old one', () => {
  async function oldCopy(name: ConnectorName) {
    const one = device();
    it.devices = [one];
    const from = connector(name);
    const mac = await provedMac(one, from, 'sparekey');
    // Our agent replaced the key under the MDM's payload.
    const key = newKey();
    await mac.deliver(key);
    const { id } = await server.store.db
      .selectFrom('envelope')
      .select('id')
      .where('mac_id', '=', mac.id)
      .orderBy('received_at', 'desc')
      .executeTakeFirstOrThrow();
    await mac.prove(id, 'true');
    await server.store.write((tx) => markCopyOld(tx, server.clock.now(), mac.id, { id: 'r1', begunAt: server.clock.now() }));
    return { one, from, mac, key };
  }

  test.each([
    ['intune', (one: Device) => `/v1.0/deviceManagement/managedDevices/${intuneId(one.id)}/syncDevice`],
    ['fleet', (one: Device) => `/api/v1/fleet/hosts/${one.id}/refetch`],
  ] as const)('%s is asked once to fetch it; an hour later it is read, and once it is the held one it is said to be fresh', async (name, path) => {
    const { one, from, key } = await oldCopy(name);
    await tend(from);
    await tend(from);
    expect(posts()).toEqual([path(one)]);
    expect((await server.acts('mdm.refresh-asked')).map(({ details }) => details)).toEqual([
      expect.objectContaining({ connector: name, serial: one.serial, as: 'asked' }),
    ]);
    const before = it.views().length;
    await run(from);
    expect(it.views()).toHaveLength(before);
    server.wall.pass(hour + minute);
    // It has not done so yet.
    await run(from);
    expect(await copy()).toMatchObject({ refreshed_at: null });
    one.key = key.reveal();
    server.wall.pass(day);
    await run(from);
    expect(await copy()).toMatchObject({ refreshed_at: server.clock.now(), refreshed_by: name === 'intune' ? 'Intune' : 'Fleet' });
    server.wall.pass(30 * day);
    expect(await run(from)).toMatchObject({ figures: { read: 0, proved: 1 } });
    await tend(from);
    expect(posts()).toHaveLength(1);
  });

  test('Jamf Pro has no such call for API clients: nothing is asked, and a person is told so', async () => {
    const { one, from } = await oldCopy('jamf');
    await tend(from);
    expect(posts()).toEqual([]);
    const [said] = await server.custody.connectors.refresh([from], { serial: one.serial.toLowerCase(), actor: 'ada', reason: 'now' });
    expect(said).toMatchObject({
      connector: 'jamf',
      asked: { kind: 'refused', because: expect.stringMatching(/no call for it is documented.*mdm\.copy-old/) },
    });
    expect(await codeOf(server.custody.connectors.refresh([from], { serial: 'C02NOBODY', actor: 'ada', reason: 'now' }))).toBe('MAC_UNKNOWN');
  });

  test('a product that does not answer is left alone for ten minutes, and asked again', async () => {
    const { from } = await oldCopy('fleet');
    it.instead = ({ method }) => (method === 'POST' ? { status: 503, body: {} } : null);
    await tend(from);
    const tried = posts().length;
    await tend(from);
    expect(posts()).toHaveLength(tried);
    it.instead = null;
    server.wall.pass(11 * minute);
    await tend(from);
    expect((await server.acts('mdm.refresh-asked')).map(({ details }) => details['as'])).toEqual(['unsure', 'asked']);
  });

  async function twoOldCopies() {
    const [bad, good] = [device(), device()];
    it.devices = [bad, good];
    const fleet = connector('fleet');
    for (const one of it.devices) {
      const mac = await provedMac(one, fleet, 'sparekey');
      await server.store.write((tx) => markCopyOld(tx, server.clock.now(), mac.id, { id: one.serial, begunAt: server.clock.now() }));
      server.wall.pass(minute);
    }
    return { bad, good, fleet };
  }

  test('one Mac at which it always fails is left alone for longer each time, and keeps no other from being asked', async () => {
    const { bad, good, fleet } = await twoOldCopies();
    const of = (one: Device): number => posts().filter((path) => path.includes(`/${one.id}/`)).length;
    it.instead = (_asked, path) => (path.includes(`/${bad.id}/`) ? { status: 500, body: {} } : null);
    await tend(fleet);
    expect([of(bad), of(good)]).toEqual([1, 1]);
    // Ten minutes, twenty, forty.
    for (const [wait, tries] of [
      [9, 1],
      [2, 2],
      [19, 2],
      [2, 3],
      [39, 3],
      [2, 4],
    ] as const) {
      server.wall.pass(wait * minute);
      await tend(fleet);
      expect([of(bad), of(good)]).toEqual([tries, 1]);
    }
    for (let round = 0; round < 6; round += 1) {
      server.wall.pass(day);
      await tend(fleet);
    }
    // A day at most.
    expect([of(bad), of(good)]).toEqual([10, 1]);
    it.instead = null;
    server.wall.pass(day);
    await tend(fleet);
    const said = (await server.acts('mdm.refresh-asked')).map(({ details }) => details).filter(({ serial }) => serial === bad.serial);
    expect([said[0], said.at(-1)]).toEqual([expect.objectContaining({ as: 'unsure', unsure: 'Fleet answered 500' }), expect.objectContaining({ as: 'asked' })]);
  });

  test('of two entries with one serial number the one that the product has heard of last is asked, whatever they are called', async () => {
    const { serial } = device();
    const [now, old] = [device({ serial, heardAt: '2026-11-21T00:00:00Z' }), device({ serial, heardAt: '2025-01-01T00:00:00Z' })];
    for (const devices of [
      [now, old],
      [old, now],
    ]) {
      it.devices = devices.map((one, at) => ({ ...one, id: 7000 + at }));
      const fleet = connector('fleet');
      await run(fleet);
      await server.custody.connectors.refresh([fleet], { serial, actor: 'ada', reason: 'now' });
      expect(posts().at(-1)).toBe(`/api/v1/fleet/hosts/${7000 + devices.indexOf(now)}/refetch`);
      server.wall.pass(day);
    }
  });

  test('patience that it asks for without a time grows with chance in it, and holds for the next process too', async () => {
    const { fleet } = await twoOldCopies();
    const another = () => createCustody({ store: server.store, clock: server.clock, escrowKeys: server.escrow, secrets, settings: server.settings });
    it.instead = ({ method }) => (method === 'POST' ? { status: 503, body: {} } : null);
    const quietMinutes = async (): Promise<number> => {
      await another().connectors.tend(fleet);
      const { quiet_until: until } = await server.store.db.selectFrom('connector').selectAll().executeTakeFirstOrThrow();
      return ((until ?? 0) - server.clock.now()) / minute;
    };
    expect(await quietMinutes()).toBe(10);
    expect(await quietMinutes()).toBe(10);
    expect(posts()).toHaveLength(1);
    server.wall.pass(10 * minute);
    it.clock.chance = 0;
    expect(await quietMinutes()).toBe(10);
    server.wall.pass(day);
    it.clock.chance = 1;
    expect(await quietMinutes()).toBe(40);
    for (let round = 0; round < 9; round += 1) {
      server.wall.pass(day);
      await quietMinutes();
    }
    expect(await quietMinutes()).toBe(24 * 60);
    it.instead = null;
    server.wall.pass(day);
    await another().connectors.tend(fleet);
    expect(await server.store.db.selectFrom('connector').selectAll().executeTakeFirst()).toMatchObject({ quiet_until: null, quiet_times: 0 });
  });
});

describe('M3: a shown key that only the MDM can replace', () => {
  test('Intune is asked once, after the hold and not before; the Mac’s next key is read an hour later and closes the task', async () => {
    const one = device();
    it.devices = [one];
    const intune = connector('intune', { rotate: true });
    const mac = await provedMac(one, intune, 'mdm');
    await server.custody.disclose({ macId: mac.id, actor: 'ada', reason: 'at the desk' });
    expect(await task()).toMatchObject({ serial: one.serial, closed_at: null });
    await tend(intune);
    expect(posts()).toEqual([]);
    server.wall.pass(25 * hour);
    await tend(intune);
    await tend(intune);
    expect(posts()).toEqual([`/beta/deviceManagement/managedDevices/${intuneId(one.id)}/rotateFileVaultKey`]);
    expect((await server.acts('mdm.rotation-asked')).map(({ details }) => details)).toEqual([
      expect.objectContaining({ connector: 'intune', serial: one.serial }),
    ]);
    const before = it.views().length;
    await run(intune);
    expect(it.views()).toHaveLength(before);
    one.key = newKey().reveal();
    changed(mac);
    server.wall.pass(hour + minute);
    await mac.checkIn();
    expect(await run(intune)).toMatchObject({ figures: { keys: 1 } });
    const offered = (await brought()).find(({ state }) => state === 'offered');
    const envelope = await server.store.db
      .selectFrom('envelope')
      .select('id')
      .where('record_id', '=', offered?.record_id ?? '')
      .executeTakeFirstOrThrow();
    await mac.prove(envelope.id, 'true');
    expect(await task()).toMatchObject({ closed_at: expect.any(Number) });
    server.wall.pass(3 * day);
    await tend(intune);
    expect(posts()).toHaveLength(1);
  });

  test('nothing is asked while somebody may be typing the key of a Mac whose enrolment nobody has confirmed (C9: by then under whose payload)', async () => {
    const one = device();
    it.devices = [one];
    const intune = connector('intune', { rotate: true });
    const mac = await server.newMac({ serial: one.serial, serialProved: false, confirmed: false });
    changed(mac, { rotator: 'mdm', escrowOwner: 'mdm' });
    await mac.checkIn();
    await run(intune);
    await server.custody.discloseBrought({ serial: one.serial, actor: 'ada', reason: 'at the desk' });
    await tend(intune);
    server.wall.pass(23 * hour);
    await tend(intune);
    expect(posts()).toEqual([]);
    server.wall.pass(2 * hour);
    await tend(intune);
    expect(posts()).toHaveLength(1);
    expect((await server.acts('mdm.rotation-asked')).map(({ details }) => details)).toEqual([
      expect.objectContaining({ serial: one.serial, escrowPayload: 'foreign' }),
    ]);
  });

  test('where two Macs claim the serial number nothing is asked: the task stays for a person', async () => {
    const one = device();
    it.devices = [one];
    const intune = connector('intune', { rotate: true });
    await run(intune);
    await server.custody.discloseBrought({ serial: one.serial, actor: 'ada', reason: 'at the desk' });
    for (const hardwareUuid of [newUuid(), newUuid()]) {
      const mac = await server.newMac({ serial: one.serial, serialProved: false, hardwareUuid });
      changed(mac, { rotator: 'mdm', escrowOwner: 'mdm' });
      await mac.checkIn();
    }
    server.wall.pass(26 * hour);
    await tend(intune);
    expect(posts()).toEqual([]);
    expect(await task()).toMatchObject({ closed_at: null });
  });

  test('one Mac at which Intune always fails keeps no other’s shown key from being replaced, and is asked again in two days', async () => {
    it.devices = [device(), device()];
    const [bad, good] = it.devices as [Device, Device];
    const intune = connector('intune', { rotate: true });
    await run(intune);
    for (const { serial } of it.devices) {
      await server.custody.discloseBrought({ serial, actor: 'ada', reason: 'at the desk' });
      server.wall.pass(minute);
    }
    server.wall.pass(25 * hour);
    it.instead = ({ method }, path) => (method === 'POST' && path.includes(intuneId(bad.id)) ? { status: 502, body: {} } : null);
    await tend(intune);
    await tend(intune);
    expect(posts()).toEqual([bad, good].map(({ id }) => `/beta/deviceManagement/managedDevices/${intuneId(id)}/rotateFileVaultKey`));
    // It may have been done: so the key is looked for, and nothing is asked twice in a row.
    expect((await server.acts('mdm.rotation-ended')).map(({ details }) => details)).toEqual([
      expect.objectContaining({ serial: bad.serial, state: 'unsure', error: 'Intune answered 502' }),
    ]);
    server.wall.pass(2 * day + minute);
    await tend(intune);
    expect(posts().filter((path) => path.includes(intuneId(bad.id)))).toHaveLength(2);
  });

  test.each([
    ['wants to be asked later', { status: 429, headers: { 'retry-after': '600' } }, 'not-sent', /patience: 600 s/, 11 * minute],
    ['says no', { status: 403, body: {} }, 'failed', /403: a right is missing/, 2 * day + minute],
  ])('Intune %s: no key is looked for that was never made, and it is asked again', async (_, reply, state, words, wait) => {
    const one = device();
    it.devices = [one];
    const intune = connector('intune', { rotate: true });
    await run(intune);
    await server.custody.discloseBrought({ serial: one.serial, actor: 'ada', reason: 'at the desk' });
    server.wall.pass(25 * hour);
    it.instead = ({ method }, path) => (method === 'POST' && path.endsWith('rotateFileVaultKey') ? reply : null);
    await tend(intune);
    expect((await server.acts('mdm.rotation-ended')).map(({ details }) => details)).toEqual([
      expect.objectContaining({ state, error: expect.stringMatching(words) }),
    ]);
    const before = it.views().length;
    server.wall.pass(hour + minute);
    await run(intune);
    expect(it.views()).toHaveLength(before);
    it.instead = null;
    server.wall.pass(wait);
    const tried = posts().length;
    await tend(intune);
    expect(posts()).toHaveLength(tried + 1);
  });

  test('copies that Intune fetches for no Mac keep no shown key from being replaced, and it is asked again within an hour', async () => {
    it.devices = [device(), device(), device(), device()];
    const intune = connector('intune', { rotate: true });
    const [shown, ...old] = it.devices as [Device, ...Device[]];
    for (const one of old) {
      const mac = await server.newMac({ serial: one.serial });
      mac.factsMore = { rotator: 'sparekey', escrowOwner: 'mdm' };
      changed(mac);
      await mac.checkIn();
      await server.store.write((tx) => markCopyOld(tx, server.clock.now(), mac.id, { id: 'r1', begunAt: server.clock.now() }));
    }
    await run(intune);
    await server.custody.discloseBrought({ serial: shown.serial, actor: 'ada', reason: 'at the desk' });
    it.instead = ({ method }, path) => (method === 'POST' && path.endsWith('syncDevice') ? { status: 502, body: {} } : null);
    await server.store.write((tx) => tx.updateTable('connector').set({ quiet_times: 9 }).execute());
    server.wall.pass(25 * hour);
    await tend(intune);
    expect(posts().filter((path) => path.endsWith('rotateFileVaultKey'))).toHaveLength(1);
    expect(posts().filter((path) => path.endsWith('syncDevice'))).toHaveLength(3);
    const { quiet_until: until } = await server.store.db.selectFrom('connector').select('quiet_until').executeTakeFirstOrThrow();
    expect((until ?? 0) - server.clock.now()).toBeLessThanOrEqual(hour);
  });

  test('two backends at once ask Intune once', async () => {
    it.devices = [device()];
    const intune = connector('intune', { rotate: true });
    await run(intune);
    await server.custody.discloseBrought({ serial: it.devices[0]?.serial ?? '', actor: 'ada', reason: 'at the desk' });
    server.wall.pass(25 * hour);
    await Promise.all([tend(intune), tend(intune)]);
    expect(posts()).toHaveLength(1);
  });

  test.each(['IDENTITY_CLONED', 'TWO_ROTATORS'] as const)('C2: while the alarm %s of a Mac is open Intune is not asked to replace its key', async (code) => {
    const one = device();
    it.devices = [one];
    const intune = connector('intune', { rotate: true });
    const mac = await provedMac(one, intune, 'mdm');
    await server.custody.disclose({ macId: mac.id, actor: 'ada', reason: 'at the desk' });
    await server.store.write((tx) => raise({ log: silentLog }, tx, server.clock.now(), mac.id, code, 'a test'));
    server.wall.pass(25 * hour);
    await tend(intune);
    expect(posts()).toEqual([]);
    const { id } = await server.store.db.selectFrom('alarm').select('id').where('code', '=', code).executeTakeFirstOrThrow();
    await server.custody.judgeAlarm({ alarmId: id, actor: 'ada', judgement: 'seen to' });
    await tend(intune);
    expect(posts()).toHaveLength(1);
  });

  test('a page of something in between in place of the answer: it may have been done, and a key is looked for', async () => {
    const one = device();
    it.devices = [one];
    const intune = connector('intune', { rotate: true });
    await run(intune);
    await server.custody.discloseBrought({ serial: one.serial, actor: 'ada', reason: 'at the desk' });
    server.wall.pass(25 * hour);
    it.instead = ({ method }, path) =>
      method === 'POST' && path.endsWith('rotateFileVaultKey') ? { headers: { 'content-type': 'text/html' }, body: '<html>sign in</html>' } : null;
    await tend(intune);
    expect((await server.acts('mdm.rotation-ended')).map(({ details }) => details)).toEqual([
      expect.objectContaining({ state: 'unsure', error: 'Intune answered 200 with something that is no JSON' }),
    ]);
    await tend(intune);
    expect(posts()).toHaveLength(1);
    server.wall.pass(hour + minute);
    expect(await run(intune)).toMatchObject({ figures: { keys: 1 } });
  });

  test.each([
    ['intune', { rotate: false }],
    ['jamf', {}],
    ['fleet', {}],
  ] as const)('%s, where the settings do not allow it or there is no call for it: the task stays for a person', async (name, more) => {
    const one = device();
    it.devices = [one];
    const from = connector(name, more);
    const mac = await provedMac(one, from, 'mdm');
    await server.custody.disclose({ macId: mac.id, actor: 'ada', reason: 'at the desk' });
    server.wall.pass(26 * hour);
    await tend(from);
    expect(posts()).toEqual([]);
    expect(await task()).toMatchObject({ closed_at: null });
  });

  test('a refusal is audited in words, and asked again after two days; a Mac whose own agent replaces its key is not asked for', async () => {
    const one = device();
    it.devices = [one];
    const intune = connector('intune', { rotate: true });
    const mac = await provedMac(one, intune, 'mdm');
    await server.custody.disclose({ macId: mac.id, actor: 'ada', reason: 'at the desk' });
    server.wall.pass(25 * hour);
    it.instead = ({ method }, path) => (method === 'POST' && !path.endsWith('/token') ? { status: 403, body: {} } : null);
    await tend(intune);
    expect((await server.acts('mdm.rotation-ended')).map(({ details }) => details)).toEqual([
      expect.objectContaining({ state: 'failed', error: 'Intune answered 403: a right is missing' }),
    ]);
    server.wall.pass(day);
    await tend(intune);
    expect(posts()).toHaveLength(1);
    mac.factsMore = { ...mac.factsMore, rotator: 'sparekey' };
    await mac.checkIn();
    server.wall.pass(2 * day);
    await tend(intune);
    expect(posts()).toHaveLength(1);
  });

  test('of a Mac without agent: another key of the same product, read after the task began, closes it', async () => {
    const one = device();
    it.devices = [one];
    const intune = connector('intune', { rotate: true });
    await run(intune);
    await server.custody.discloseBrought({ serial: one.serial, actor: 'ada', reason: 'at the desk' });
    expect(await task()).toMatchObject({ mac_id: null, closed_at: null });
    await tend(intune);
    expect(posts()).toEqual([]);
    server.wall.pass(25 * hour);
    await tend(intune);
    expect(posts()).toHaveLength(1);
    server.wall.pass(hour + minute);
    // The Mac was off: the same key is no news.
    await run(intune);
    expect(await task()).toMatchObject({ closed_at: null });
    one.key = newKey().reveal();
    server.wall.pass(day);
    await run(intune);
    expect(await task()).toMatchObject({ closed_at: expect.any(Number) });
    expect(await brought()).toHaveLength(2);
  });
});

describe('in the backend', () => {
  const backendWith = (settings: ReturnType<typeof it.settings>) => ({ ...server, settings: { coexistence: settings } }) as unknown as Backend;

  test('a run comes when the settings say, and what is to be asked is asked each minute', async () => {
    it.devices = [device()];
    const settings = it.settings('fleet', { everyHours: 6 });
    const turns = new Map<string, () => Promise<void>>();
    const every = (_milliseconds: number, name: string, work: () => Promise<void>): void => void turns.set(name, work);
    const ground = { backend: backendWith(settings), settings, deviceCas: [], limits: {}, log: silentLog, every };
    const neighbours = mountNeighbours(ground as unknown as NeighboursGround);
    expect([...turns.keys()]).toEqual(['connector-fleet', 'connector-fleet-asks']);
    const turn = async (): Promise<number> => {
      const before = it.asked.length;
      for (const work of turns.values()) await work();
      return it.asked.length - before;
    };
    expect(await turn()).toBeGreaterThan(1);
    server.wall.pass(5 * hour);
    expect(await turn()).toBe(0);
    server.wall.pass(hour + minute);
    expect(await turn()).toBeGreaterThan(0);
    neighbours.close();
    server.wall.pass(day);
    expect(await turn()).toBe(0);
  });

  test('`connectors` says how far each is; `run` ends with figures, or a problem with its exit status; `refresh` says what was asked', async () => {
    const one = device();
    it.devices = [one];
    const backend = backendWith(it.settings('fleet'));
    const said: string[] = [];
    const say = (words: string): void => void said.push(words);
    expect((await connectorsCommand(backend)).text).toMatch(/^Fleet: new\n/);
    expect((await connectorsCommand(backendWith({ ...it.settings('fleet'), connectors: { intune: null, jamf: null, fleet: null } }))).text).toMatch(
      /there is no connector/,
    );
    const done = await connectorRun(backend, { name: 'fleet', actor: 'ada', reason: 'now', say });
    expect(said).toEqual(['Fleet: Macs in its list: 1']);
    expect(done.text).toMatch(/Fleet: done[\s\S]*1 +read, each of them a view/);
    expect(done.json).toMatchObject({ as: 'done', figures: { keys: 1 } });
    const listed = await connectorsCommand(backend);
    expect(listed.json).toMatchObject({ connectors: [{ name: 'fleet', state: 'waiting', macs: 1, problem: null }] });
    expect((await connectorRefresh(backend, { serial: one.serial, actor: 'ada', reason: 'now' })).text).toMatch(/fleet \d+: asked/);
    it.instead = () => ({ status: 401, body: {} });
    expect(await codeOf(connectorRefresh(backend, { serial: one.serial, actor: 'ada', reason: 'now' }))).toBe('NEIGHBOUR_FAILED');
    expect(await codeOf(connectorRun(backend, { name: 'fleet', actor: 'ada', reason: 'now', say }))).toBe('CONNECTOR_STOPPED');
    expect(await connectorsCommand(backend)).toMatchObject({ exit: 77, text: expect.stringMatching(/stopped: Fleet does not take the token \(401\)/) });
    expect(await codeOf(connectorRun(backend, { name: 'jamf', actor: 'ada', reason: 'now', say }))).toBe('NOT_FOUND');
  });

  test('as a process: `connectors run` reads into the data folder without its passphrase', async () => {
    const dir = join(scratch('sparekey-connectors'), 'data');
    await makeDataFolder(dir, 8443);
    const { settings: file } = folderPaths(dir);
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), coexistence: it.settings('jamf') }));
    it.devices = [device(), device()];
    const ran = await runServer(['connectors', 'run', 'jamf', '--dir', dir, '--reason', 'now', '--json']);
    expect([ran.code, ran.json]).toEqual([0, expect.objectContaining({ as: 'done', figures: expect.objectContaining({ keys: 2 }) })]);
    expect(ran.stderr).toMatch(/^sparekey-server: Jamf Pro: Macs in its list: 2$/m);
    for (const { key } of it.devices) expect(ran.stdout + ran.stderr).not.toContain(key);
    // And the fleet's status says one that stands still.
    const real = await openBackend({ dir, passphrase: null });
    try {
      it.instead = () => ({ status: 401, body: {} });
      expect(await codeOf(connectorRun(real, { name: 'jamf', actor: 'ada', reason: 'now', say: () => undefined }))).toBe('CONNECTOR_STOPPED');
      const { text, json } = await status(real, null);
      const problem = 'Jamf Pro gives no token: status 401';
      expect(text).toContain(`connector jamf stands still: ${problem}`);
      expect(json).toMatchObject({ stoppedConnectors: [{ name: 'jamf', problem }] });
    } finally {
      await real.close();
    }
  });
});
