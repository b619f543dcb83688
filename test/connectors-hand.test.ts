import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Backend } from '../server/backend.ts';
import { markCopyOld } from '../server/brought/tasks.ts';
import { connectorRefresh, connectorRun, connectorsCommand } from '../server/connectors/commands.ts';
import type { OpenConnector } from '../server/connectors/open.ts';
import type { ConnectorName } from '../server/connectors/source.ts';
import { folderPaths } from '../server/data-folder.ts';
import { silentLog } from '../server/log.ts';
import { mountNeighbours, type NeighboursGround } from '../server/neighbours.ts';
import { status } from '../server/status-command.ts';
import { type Device, intuneId, productsAt } from './connector-parts.ts';
import { makeDataFolder } from './made-backend.ts';
import { endServers, runServer } from './run-server.ts';
import { scratch } from './scratch.ts';
import { codeOf, day, digestOf, type GivenServer, givenServer, hour, minute, newKey, type TestMac } from './server-parts.ts';

/* What Intune, Jamf Pro and Fleet are asked to do, when a run comes round, and the commands. */

let it: Awaited<ReturnType<typeof productsAt>>;
let server: GivenServer;
const open: OpenConnector[] = [];
beforeAll(async () => {
  it = await productsAt();
});
beforeEach(async () => {
  it.reset();
  server = await givenServer();
});
afterEach(async () => {
  for (const connector of open.splice(0)) connector.close();
  await server.close();
});
afterAll(async () => {
  endServers();
  await it.close();
});

let number = 500;
const device = (more: Partial<Device> = {}): Device => {
  number += 1;
  return { id: number, serial: `C02H${String(number).padStart(6, '0')}`, key: newKey().reveal(), ...more };
};
const connector = (name: ConnectorName, more: object = {}): OpenConnector => {
  const one = it.connector(name, silentLog, more);
  open.push(one);
  return one;
};
const run = (one: OpenConnector) => server.custody.connectors.run(one, { actor: 'ada', reason: 'a test' });
const tend = (one: OpenConnector) => server.custody.connectors.tend(one);
const brought = () => server.store.db.selectFrom('brought_key').selectAll().orderBy('brought_at').execute();
const posts = (): string[] => it.asked.filter(({ method, path }) => method === 'POST' && !path.endsWith('/token')).map(({ path }) => path);
const task = () => server.store.db.selectFrom('mdm_task').selectAll().orderBy('opened_at', 'desc').executeTakeFirst();
const copy = () => server.store.db.selectFrom('mdm_copy').selectAll().executeTakeFirst();

const foreignFile = () => ({ digest: digestOf(Buffer.from(randomUUID())), recipient: `issuer-serial:${'ab'.repeat(32)}:01`, ours: false });
const changed = (mac: TestMac): void => {
  mac.escrowFile = foreignFile();
  mac.factsMore = { ...mac.factsMore, escrow: { payload: 'foreign', location: 'MDM', file: mac.escrowFile } };
};
/** A Mac whose key the connector has brought, and that has proved it. */
async function provedMac(one: Device, from: OpenConnector, rotator: 'mdm' | 'sparekey'): Promise<TestMac> {
  const mac = await server.newMac({ serial: one.serial });
  mac.factsMore = { rotator, escrowOwner: 'mdm' };
  changed(mac);
  await mac.checkIn();
  await run(from);
  const offered = (await brought()).find(({ serial, state }) => serial === mac.serial && state === 'offered');
  const envelope = await server.store.db
    .selectFrom('envelope')
    .select('id')
    .where('record_id', '=', offered?.record_id ?? '')
    .executeTakeFirstOrThrow();
  await mac.prove(envelope.id, 'true');
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
    expect(await server.acts('mdm.refresh-asked')).toHaveLength(1);
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
    expect((await connectorsCommand(backend)).text).toMatch(/^Fleet: new\n/);
    expect((await connectorsCommand(backendWith({ ...it.settings('fleet'), connectors: { intune: null, jamf: null, fleet: null } }))).text).toMatch(
      /there is no connector/,
    );
    const done = await connectorRun(backend, { name: 'fleet', actor: 'ada', reason: 'now' });
    expect(done.text).toMatch(/Fleet: done[\s\S]*1 +read, each of them a view/);
    expect(done.json).toMatchObject({ as: 'done', figures: { keys: 1 } });
    const listed = await connectorsCommand(backend);
    expect(listed.json).toMatchObject({ connectors: [{ name: 'fleet', state: 'waiting', macs: 1, problem: null }] });
    expect((await connectorRefresh(backend, { serial: one.serial, actor: 'ada', reason: 'now' })).text).toMatch(/fleet \d+: asked/);
    it.instead = () => ({ status: 401, body: {} });
    expect(await codeOf(connectorRefresh(backend, { serial: one.serial, actor: 'ada', reason: 'now' }))).toBe('NEIGHBOUR_FAILED');
    expect(await codeOf(connectorRun(backend, { name: 'fleet', actor: 'ada', reason: 'now' }))).toBe('CONNECTOR_STOPPED');
    expect(await connectorsCommand(backend)).toMatchObject({ exit: 77, text: expect.stringMatching(/stopped: Fleet does not take the token \(401\)/) });
    const fleetStatus = await status(backend, null);
    expect([fleetStatus.text, fleetStatus.json]).toEqual([
      expect.stringContaining('connector fleet stands still: Fleet does not take the token (401)'),
      expect.objectContaining({ stoppedConnectors: [{ name: 'fleet', problem: 'Fleet does not take the token (401)' }] }),
    ]);
    expect(await codeOf(connectorRun(backend, { name: 'jamf', actor: 'ada', reason: 'now' }))).toBe('NOT_FOUND');
  });

  test('as a process: `connectors run` reads into the data folder without its passphrase', async () => {
    const dir = join(scratch('sparekey-connectors'), 'data');
    await makeDataFolder(dir, 8443);
    const { settings: file } = folderPaths(dir);
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), coexistence: it.settings('jamf') }));
    it.devices = [device(), device()];
    const ran = await runServer(['connectors', 'run', 'jamf', '--dir', dir, '--reason', 'now', '--json']);
    expect([ran.code, ran.json]).toEqual([0, expect.objectContaining({ as: 'done', figures: expect.objectContaining({ keys: 2 }) })]);
    for (const { key } of it.devices) expect(ran.stdout + ran.stderr).not.toContain(key);
  });
});
