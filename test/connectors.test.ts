import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { sayAlarm } from '../server/alarms.ts';
import { verifyAudit } from '../server/audit.ts';
import type { Backend } from '../server/backend.ts';
import { connectorsCommand } from '../server/connectors/commands.ts';
import type { ConnectorName } from '../server/connectors/source.ts';
import { type Device, intuneId, secretOf } from './connector-parts.ts';
import { beforeEachWithConnectors, keptLog, type Products } from './neighbours-together.ts';
import { asFile } from './new-database.ts';
import { codeOf, day, type GivenServer, hour, minute, newKey, type TestMac } from './server-parts.ts';

/* Keys out of the APIs of Intune, Jamf Pro and Fleet: what is read, how often, and what comes of whatever goes wrong. */

const { lines, log } = keptLog();
let it: Products;
let server: GivenServer;
const { device, connector, run, brought, changed, proves } = beforeEachWithConnectors({ serials: 'C02C', log }, (products, fresh) => {
  it = products;
  server = fresh;
  lines.length = 0;
});
const fleetOf = (count: number): Device[] => Array.from({ length: count }, () => device());
const row = async (name: ConnectorName) => server.store.db.selectFrom('connector').selectAll().where('name', '=', name).executeTakeFirstOrThrow();
const importLines = () => server.store.db.selectFrom('import_line').selectAll().orderBy('line').execute();
const viewsOf = (one: Device): number => it.views().filter((path) => path.includes(`/${intuneId(one.id)}/`) || path.includes(`/${one.id}/`)).length;

const asMdm = { rotator: 'mdm', escrowOwner: 'mdm' };
/** A Mac under the MDM's payload. */
const foreignMac = async (one: Device): Promise<TestMac> => {
  const mac = await server.newMac({ serial: one.serial });
  changed(mac, asMdm);
  await mac.checkIn();
  return mac;
};

describe.each(['intune', 'jamf', 'fleet'] as const)('%s', (name) => {
  test('as documented: the whole list, then one view of each key; the keys wait, sealed, for their Macs; the next run views nothing', async () => {
    it.devices = fleetOf(5);
    const one = connector(name);
    expect(await run(one)).toMatchObject({ as: 'done', problem: null, figures: { listed: 5, read: 5, keys: 5, none: 0, unusable: 0 } });
    expect((await brought()).map(({ serial, source, trust, state }) => [serial, source, trust, state])).toEqual(
      it.devices.map(({ serial }) => [serial, name, 'admin', 'waiting']),
    );
    for (const entry of it.devices) expect(viewsOf(entry)).toBe(1);
    server.wall.pass(day);
    expect(await run(one)).toMatchObject({ as: 'done', figures: { read: 0, notDue: 5 } });
    expect(it.views()).toHaveLength(5);
    // Whose Macs have no agent: once a week, so that what is here is not of last year.
    server.wall.pass(7 * day);
    expect(await run(one)).toMatchObject({ figures: { read: 5, keys: 5 } });
    expect(await brought()).toHaveLength(5);
    expect((await verifyAudit(server.store)).ok).toBe(true);
  });

  test('a key that is absent, refused for one Mac, or malformed has its fate and its reason; the others are read', async () => {
    const [good, none, refused, malformed, late] = [device(), device({ key: null }), device(), device({ key: 'AAAA-BBBB-CCCC' }), device()];
    it.devices = [good, none, refused, malformed, late];
    it.instead = (_asked, path) =>
      path.includes(`/${intuneId(refused.id)}/`) || path.includes(`/${refused.id}/`) ? { status: 403, body: { error: { code: 'Forbidden' } } } : null;
    const end = await run(connector(name));
    // Fleet says itself, in its list, that it has no key.
    expect(end).toMatchObject({
      as: 'done',
      figures: { keys: 2, none: name === 'fleet' ? 0 : 1, useless: name === 'fleet' ? 1 : 0, forbidden: 1, unreadable: 1 },
    });
    const fates = new Map((await importLines()).map(({ serial, fate, because }) => [serial, `${fate}: ${because}`]));
    expect(fates.get(refused.serial)).toMatch(/^refused: .*403/);
    expect(fates.get(malformed.serial)).toMatch(/^refused: .*12 letters and digits instead of 24/);
    // Fleet's list says so itself: nothing is read, and there is no line.
    if (name === 'fleet') expect(fates.has(none.serial)).toBe(false);
    else expect(fates.get(none.serial)).toMatch(/^no-key/);
    expect([...fates.values()].join()).not.toContain('AAAA-BBBB');
    expect((await brought()).map(({ serial }) => serial)).toEqual([good.serial, late.serial]);
  });

  test('two entries of one serial number: the one that was heard of last is read, the other never, and the serial is named', async () => {
    const serial = device().serial;
    const [old, now] = [device({ serial, heardAt: '2025-01-01T00:00:00Z' }), device({ serial, heardAt: '2026-11-21T00:00:00Z' })];
    it.devices = [now, old];
    expect(await run(connector(name))).toMatchObject({ figures: { listed: 2, read: 1, twice: [serial] } });
    expect([viewsOf(now), viewsOf(old)]).toEqual([1, 0]);
  });

  test('entries of another shape are counted; a list of another shape stops the run in words, and nothing is forgotten', async () => {
    it.devices = [device(), device({ serial: '' }), device({ more: { serialNumber: 7, hardware: null, hardware_serial: null } }), device()];
    const one = connector(name);
    const idOf = (at: number): string => (name === 'intune' ? intuneId(it.devices[at]?.id ?? 0) : String(it.devices[at]?.id));
    // Nobody can look after a figure.
    const named = [
      { id: idOf(1), serial: null, because: 'the serial number is missing' },
      { id: idOf(2), serial: name === 'intune' ? '7' : null, because: 'the entry is not as it is documented' },
    ];
    expect(await run(one)).toMatchObject({ as: 'done', figures: { listed: 2, unusable: 2, unusableNamed: named, keys: 2 } });
    for (const body of [{}, [], 'text', { value: {}, results: 1, hosts: null }, null]) {
      it.instead = (asked) => (asked.method === 'GET' ? { body } : null);
      server.wall.pass(day);
      expect(await run(one)).toMatchObject({ as: 'ended', problem: expect.stringMatching(/another shape/) });
    }
    it.instead = (asked) => (asked.method === 'GET' ? { body: { value: [], results: [], totalCount: 0, hosts: [] } } : null);
    expect(await run(one)).toMatchObject({ as: 'ended', problem: expect.stringMatching(/no Mac in it any more/) });
    expect(await server.store.db.selectFrom('connector_mac').selectAll().execute()).toHaveLength(2);
    expect((await row(name)).problem).toMatch(/no Mac in it/);
  });

  test('a key’s reply of another shape is not a key; five one after another end the run before every Mac was viewed', async () => {
    it.devices = fleetOf(12);
    it.instead = (asked, path) =>
      /(getFileVaultKey|filevault|encryption_key)$/.test(path) && asked.method === 'GET' ? { body: { value: { key: 1 }, computerId: [] } } : null;
    expect(await run(connector(name))).toMatchObject({
      as: 'ended',
      figures: { read: 5, unreadable: 5 },
      problem: expect.stringMatching(/another shape.*5 replies/s),
    });
    expect(await brought()).toEqual([]);
  });

  test('without the right to read keys, ten refusals end the run; without the right to list, the first', async () => {
    it.devices = fleetOf(30);
    const one = connector(name);
    it.instead = (_asked, path) => (/(getFileVaultKey|filevault|encryption_key)$/.test(path) ? { status: 403, body: {} } : null);
    expect(await run(one)).toMatchObject({ as: 'ended', figures: { forbidden: 10 }, problem: expect.stringMatching(/right to read them is missing/) });
    it.instead = (_asked, path) => (path.endsWith('/token') ? null : { status: 403, body: {} });
    expect(await run(one)).toMatchObject({ as: 'ended', problem: expect.stringMatching(/right is missing/) });
  });

  test('5xx and timeouts pause it, longer each time; it goes on where it was, and no key is viewed twice', async () => {
    it.devices = fleetOf(23);
    const one = connector(name);
    const bad = new Set(it.devices.slice(12).map(({ id }) => id));
    it.instead = (_asked, path) => {
      const isBad = [...bad].some((id) => path.includes(`/${intuneId(id)}/`) || path.includes(`/${id}/`));
      return isBad ? { status: 502, body: {} } : null;
    };
    const before = server.clock.now();
    const cut = await run(one);
    expect(cut).toMatchObject({ as: 'paused', figures: { keys: 12 }, problem: expect.stringMatching(/502/) });
    expect((cut.nextAt - before) / minute).toBeCloseTo(5, 0);
    expect(await row(name)).toMatchObject({ ended_at: null, problem: expect.stringMatching(/502/) });
    expect(((await run(one)).nextAt - server.clock.now()) / minute).toBeCloseTo(10, 0);
    // Not yet: its time has not come.
    expect(await server.custody.connectors.runDue(one)).toBeNull();
    it.instead = null;
    server.wall.pass(11 * minute);
    expect(await server.custody.connectors.runDue(one)).toMatchObject({ as: 'done', problem: null });
    expect(await brought()).toHaveLength(23);
    for (const good of it.devices.slice(0, 12)) expect(viewsOf(good)).toBe(1);
    expect((await server.store.db.selectFrom('import_run').selectAll().execute()).map(({ ended_at: ended }) => ended !== null)).toEqual([true]);
    expect(await importLines()).toHaveLength(23 + (await importLines()).filter(({ because }) => /502/.test(because)).length);
  });

  test('429 is waited for; a long one leaves the run to a later hour', async () => {
    it.devices = fleetOf(3);
    const one = connector(name);
    let left = 2;
    it.instead = (_asked, path) => {
      if (!/(getFileVaultKey|filevault|encryption_key)$/.test(path) || left === 0) return null;
      left -= 1;
      return { status: 429, headers: { 'retry-after': '17' }, body: {} };
    };
    expect(await run(one)).toMatchObject({ as: 'done', figures: { keys: 3 } });
    expect(it.clock.waits.filter((wait) => wait === 17_000)).toHaveLength(2);
    server.wall.pass(8 * day);
    it.instead = (_asked, path) => (path.endsWith('/token') ? null : { status: 429, headers: { 'retry-after': '5400' }, body: {} });
    const end = await run(one);
    expect(end).toMatchObject({ as: 'paused', problem: expect.stringMatching(/patience: 5400 s/) });
    expect((end.nextAt - server.clock.now()) / 1000).toBeCloseTo(5400, 0);
  });

  test('no secret, token or key is in the log, the errors or the database', async () => {
    it.devices = [...fleetOf(2), device({ key: `${newKey().reveal()}X` })];
    const one = connector(name);
    await run(one);
    const token = it.tokens.at(-1) ?? secretOf[name];
    // The product says our own secret back to us.
    it.instead = (asked) => ({ status: 401, body: { error: secretOf[name], error_description: `${asked.authorization} ${asked.body}` } });
    server.wall.pass(8 * day);
    it.clock.now += 2 * hour * 1000;
    const end = await run(one);
    expect(end).toMatchObject({ as: 'paused', problem: expect.stringMatching(/401/) });
    const said = JSON.stringify([lines, end, await server.acts(), await row(name), await importLines()]);
    const files = [await asFile(server.file, server.store), `${server.file}-wal`].filter((file) => existsSync(file));
    const stored = files.map((file) => readFileSync(file, 'latin1')).join('');
    for (const secret of [secretOf[name], encodeURIComponent(secretOf[name]), token, ...it.devices.map(({ key }) => key ?? '')]) {
      expect(said).not.toContain(secret);
      expect(stored).not.toContain(secret);
    }
  });
});

describe('what goes wrong at the product', () => {
  test.each(['before', 'in', 'after'] as const)(
    'three Macs one after another pause the run, %s the tenth of a batch: all three are asked about when it goes on',
    async (where) => {
      const good = { before: 6, in: 8, after: 11 }[where];
      it.devices = fleetOf(good + 4);
      const bad = it.devices.slice(good, good + 3);
      it.instead = (_asked, path) => (bad.some(({ id }) => path.includes(`/${id}/`)) ? { status: 500, body: {} } : null);
      const fleet = connector('fleet');
      expect(await run(fleet)).toMatchObject({ as: 'paused', figures: { keys: good, failed: 0 } });
      it.instead = null;
      server.wall.pass(6 * minute);
      expect(await run(fleet)).toMatchObject({ as: 'done', figures: { keys: good + 4, failed: 0 } });
      expect((await importLines()).map(({ serial }) => serial).toSorted()).toEqual(it.devices.map(({ serial }) => serial).toSorted());
    },
  );

  test('patience that it asks for without a time: twice as long each time, by chance down to half, at most as long as from run to run, also for another process', async () => {
    it.devices = fleetOf(1);
    const minutes = async (): Promise<number> => ((await run(connector('fleet', { everyHours: 2 }))).nextAt - server.clock.now()) / minute;
    it.instead = () => ({ status: 429 });
    expect(await minutes()).toBe(5);
    it.clock.chance = 0;
    expect(await minutes()).toBe(5);
    it.clock.chance = 1;
    expect([await minutes(), await minutes(), await minutes(), await minutes(), await minutes()]).toEqual([20, 40, 80, 120, 120]);
    expect(await row('fleet')).toMatchObject({ problem: 'Fleet asks for patience' });
    it.instead = null;
    expect(await minutes()).toBe(120);
    it.instead = () => ({ status: 429 });
    expect(await minutes()).toBe(5);
  });

  test('Macs of which the product says itself that it has no key are named with its reason, and no more once it has one', async () => {
    it.devices = [device(), device({ key: null }), ...Array.from({ length: 11 }, () => device({ key: null }))];
    const [, first] = it.devices as [Device, Device];
    const fleet = connector('fleet');
    const said = async () => {
      const { json, text } = await connectorsCommand({ ...server, settings: { coexistence: it.settings('fleet') } } as unknown as Backend);
      const [one] = (json as { connectors: { figures: object; useless: object[]; unusable: object[] }[] }).connectors;
      return { useless: one?.useless ?? [], text };
    };
    await run(fleet);
    const { useless, text } = await said();
    expect(useless).toHaveLength(12);
    expect(useless).toContainEqual({ serial: first.serial, deviceId: String(first.id), because: 'Fleet has no key of it' });
    expect(text).toContain(`no key is here, and none to be read:\n  ${first.serial} (id ${first.id}): Fleet has no key of it`);
    expect(text).toMatch(/\n {2}and 2 more: see --json$/);
    for (const one of it.devices) one.key = newKey().reveal();
    server.wall.pass(day);
    await run(fleet);
    expect((await said()).useless).toEqual([]);
  });

  test('one that has not come to a good end for three times its schedule is an alarm that says what to do next; a good end closes it', async () => {
    it.devices = fleetOf(2);
    const [intune, fleet] = [connector('intune'), connector('fleet', { everyHours: 1 })];
    await run(intune);
    const since = new Date(server.clock.now()).toISOString().replace(/\.\d+Z$/, 'Z');
    await run(fleet);
    const open = async () =>
      (await server.store.db.selectFrom('alarm').selectAll().where('judged_at', 'is', null).execute()).map(({ code, detail }) => [code, detail]);
    it.instead = (_asked, path) => (path.endsWith('/token') ? null : { status: 502, body: {} });
    const pass = async (hours: number): Promise<void> => {
      for (let more = 0; more < hours; more += 12) {
        server.wall.pass(12 * hour);
        await server.custody.connectors.runDue(intune);
        await server.custody.connectors.watch(intune);
      }
    };
    await pass(72);
    expect(await open()).toEqual([]);
    await pass(12);
    const words = `Intune: no run has come to a good end since ${since}`;
    expect(await open()).toEqual([['MDM_CONNECTOR_STILL', words]]);
    expect(sayAlarm('MDM_CONNECTOR_STILL')).toMatch(/`sparekey-server connectors` says what stands in the way/);
    await pass(48);
    expect(await open()).toHaveLength(1);
    // Another that nobody has run is another alarm.
    await server.custody.connectors.watch(fleet);
    expect(await open()).toHaveLength(2);
    it.instead = null;
    await run(intune);
    expect(await open()).toEqual([['MDM_CONNECTOR_STILL', expect.stringMatching(/^Fleet: no run/)]]);
    expect((await server.acts('alarm.settled')).map(({ details }) => details['judgement'])).toEqual(['a run has come to its end']);
  });

  test('a backend that was away for a month gives its connector the time of one run before it is an alarm', async () => {
    it.devices = fleetOf(1);
    const fleet = connector('fleet');
    await run(fleet);
    server.wall.pass(30 * day);
    let alarms: string[] | null = null;
    let ending = Promise.resolve();
    it.instead = (_asked, path) => {
      if (path.endsWith('/hosts') && alarms === null)
        ending = server.custody.connectors.watch(fleet).then(async () => {
          alarms = await server.alarms();
        });
      return null;
    };
    await run(fleet);
    await ending;
    expect(alarms).toEqual([]);
  });
});

describe('only what is needed is read', () => {
  test('of a Mac whose key is held and proved nothing; after a foreign change at once, and until another key is proved once a day', async () => {
    const one = device();
    it.devices = [one];
    const mac = await foreignMac(one);
    const intune = connector('intune');
    expect(await run(intune)).toMatchObject({ figures: { keys: 1 } });
    await proves(mac);
    expect(await server.custody.custodyOf(mac.id)).toMatchObject({ state: 'held', provedAt: expect.any(String) });
    server.wall.pass(30 * day);
    expect(await run(intune)).toMatchObject({ figures: { read: 0, proved: 1 } });
    expect(viewsOf(one)).toBe(1);

    one.key = newKey().reveal();
    changed(mac);
    await mac.checkIn();
    expect(await run(intune)).toMatchObject({ figures: { read: 1, keys: 1 } });
    server.wall.pass(hour);
    expect(await run(intune)).toMatchObject({ figures: { read: 0, notDue: 1 } });
    server.wall.pass(day);
    expect(await run(intune)).toMatchObject({ figures: { read: 1 } });
    await proves(mac);
    server.wall.pass(day);
    expect(await run(intune)).toMatchObject({ figures: { read: 0, proved: 1 } });
    expect(viewsOf(one)).toBe(3);
    expect(await mac.debts()).toEqual([]);
  });

  test('of a Mac under our own payload nothing: what the product has is older than ours', async () => {
    const one = device();
    it.devices = [one];
    const mac = await server.newMac({ serial: one.serial });
    await mac.checkIn();
    await mac.deliver(newKey());
    expect(await run(connector('jamf'))).toMatchObject({ figures: { read: 0, ours: 1 } });
    expect(it.views()).toEqual([]);
  });

  test('a key that Jamf says is wrong, or that Fleet says it has not, is not read', async () => {
    it.devices = [device({ more: { diskEncryption: { individualRecoveryKeyValidityStatus: 'INVALID' }, mdm: { encryption_key_available: false } } })];
    expect(await run(connector('jamf'))).toMatchObject({ figures: { read: 0, useless: 1 } });
    expect(await run(connector('fleet'))).toMatchObject({ figures: { read: 0, useless: 1 } });
    expect(it.views()).toEqual([]);
  });

  test('a refuted key is asked for again on the next day, as the product may have a better one by then', async () => {
    const one = device();
    it.devices = [one];
    const mac = await foreignMac(one);
    const fleet = connector('fleet');
    await run(fleet);
    await proves(mac, 'false');
    server.wall.pass(11 * minute);
    const offered = (await brought())[0]?.record_id ?? '';
    const envelope = await server.store.db.selectFrom('envelope').select('id').where('record_id', '=', offered).executeTakeFirstOrThrow();
    await mac.prove(envelope.id, 'false');
    expect((await brought())[0]?.state).toBe('refuted');
    one.key = newKey().reveal();
    expect(await run(fleet)).toMatchObject({ figures: { keys: 1 } });
    await proves(mac);
    expect(await server.custody.custodyOf(mac.id)).toMatchObject({ state: 'held', provedAt: expect.any(String) });
  });

  test('keys for which there is nothing come first, and before those whose Mac changed hands of its key', async () => {
    const [known, fresh, moved] = [device(), device(), device()];
    it.devices = [known, moved];
    const intune = connector('intune');
    const mac = await foreignMac(moved);
    await run(intune);
    await proves(mac);
    it.devices = [known, fresh, moved];
    server.wall.pass(minute);
    changed(mac);
    await mac.checkIn();
    server.wall.pass(8 * day);
    it.asked.length = 0;
    expect(await run(intune)).toMatchObject({ figures: { read: 3 } });
    expect(it.views().map((path) => path.split('/').at(-2))).toEqual([moved, fresh, known].map(({ id }) => intuneId(id)));
  });
});

describe('the course of a run', () => {
  test.each(['jamf', 'fleet'] as const)('%s: what it answers for another Mac than the one that was asked for is no key of either', async (name) => {
    const [one, other] = fleetOf(2) as [Device, Device];
    it.devices = [one, other];
    it.instead = (_asked, path) => {
      const body = { computerId: String(other.id), personalRecoveryKey: other.key, host_id: other.id, encryption_key: { key: other.key } };
      return path.includes(`/${one.id}/`) ? { body } : null;
    };
    expect(await run(connector(name))).toMatchObject({ figures: { keys: 1, unreadable: 1 } });
    expect((await brought()).map(({ serial }) => serial)).toEqual([other.serial]);
    expect((await importLines()).find(({ serial }) => serial === one.serial)?.because).toMatch(/answered for another Mac/);
  });

  test('an id that would be another path is no id, and is never asked for', async () => {
    it.devices = ['../users', 'a/b', '', '7?x=1', 'x'.repeat(65), '%2e%2e'].map((id) => device({ more: { id } }));
    expect(await run(connector('jamf'))).toMatchObject({ as: 'ended', problem: expect.stringMatching(/no entry of its list is as it is documented/) });
    it.devices = [device(), ...it.devices];
    expect(await run(connector('intune'))).toMatchObject({ as: 'done', figures: { keys: 1, unusable: 6 } });
    expect(it.views()).toHaveLength(1);
  });

  test('a date that is still to come does not make a key the newest for ever; one that is none does not count', async () => {
    it.devices = [device({ madeAt: '2099-01-01T00:00:00Z' }), device({ madeAt: '0001-01-01T00:00:00Z' }), device({ madeAt: '2026-01-02T03:04:05Z' })];
    await run(connector('fleet'));
    expect((await brought()).map(({ made_at: at }) => at)).toEqual([null, null, Date.parse('2026-01-02T03:04:05Z')]);
  });

  test('a token that ends in the middle is asked for again, once; one that is refused again pauses the run', async () => {
    it.devices = fleetOf(6);
    const intune = connector('intune');
    let views = 0;
    it.instead = (asked, path) => {
      if (!path.endsWith('getFileVaultKey')) return null;
      views += 1;
      // From the third key on the first token is over.
      return views >= 3 && asked.authorization.includes('number-1-') ? { status: 401, body: {} } : null;
    };
    expect(await run(intune)).toMatchObject({ as: 'done', figures: { keys: 6 } });
    expect(it.tokens).toHaveLength(2);
    it.clock.now += 2 * hour;
    it.instead = (_asked, path) => (path.endsWith('/token') ? null : { status: 401, body: {} });
    expect(await run(intune)).toMatchObject({ as: 'paused', problem: 'Intune does not take the token (401)' });
    expect(it.tokens).toHaveLength(4);
  });

  test('a wrong client secret is said with the code of it alone; a new secret in the file needs no restart', async () => {
    it.devices = [device()];
    const file = it.files.intune;
    const good = readFileSync(file, 'utf8');
    writeFileSync(file, 'yesterday’s secret\n');
    const intune = connector('intune');
    expect(await run(intune)).toMatchObject({ as: 'paused', problem: 'Intune gives no token: status 401, invalid_client, AADSTS7000215' });
    writeFileSync(file, good);
    expect(await run(intune)).toMatchObject({ as: 'done', figures: { keys: 1 } });
    const fleet = connector('fleet', { tokenFile: file });
    expect(await run(fleet)).toMatchObject({ as: 'paused', problem: 'Fleet does not take the token (401)' });
  });

  test.each([
    ['another host', 'https://graph.example.org/v1.0/deviceManagement/managedDevices?$skiptoken=2', /another address \(graph\.example\.org\)/],
    ['another port', 'https://127.0.0.1:1/v1.0/deviceManagement/managedDevices', /another address/],
    ['plain http', 'http://127.0.0.1/v1.0/deviceManagement/managedDevices', /another address/],
    ['no address', '/v1.0/deviceManagement/managedDevices?$skiptoken=2', /another address/],
    ['another path', '{url}/v1.0/users?$skiptoken=2', /another path/],
    ['an account in it', '{user}/v1.0/deviceManagement/managedDevices', /another address/],
    ['itself', '{url}/v1.0/deviceManagement/managedDevices?$skiptoken=2', /comes round again|repeats itself/],
  ])('a next page at %s is not followed, and the token goes nowhere', async (_what, link, words) => {
    it.devices = fleetOf(3);
    const next = link.replace('{url}', it.url).replace('{user}', it.url.replace('https://', 'https://a:b@'));
    it.instead = (asked, path) =>
      asked.method === 'GET' && path.endsWith('/managedDevices')
        ? {
            body: {
              value: it.devices.map(({ id, serial }) => ({ id: intuneId(id), serialNumber: serial, operatingSystem: 'macOS' })),
              '@odata.nextLink': next,
            },
          }
        : null;
    expect(await run(connector('intune'))).toMatchObject({ as: 'ended', problem: expect.stringMatching(words), figures: { read: 0 } });
    expect(it.asked.filter(({ method }) => method === 'GET').length).toBeLessThanOrEqual(2);
    expect(it.views()).toEqual([]);
  });

  test.each(['jamf', 'fleet'] as const)('%s: pages that are always the same, or that never end, end the run', async (name) => {
    const same = fleetOf(4);
    it.devices = same;
    const list = (devices: Device[]) => ({
      totalCount: 1e6,
      results: devices.map(({ id, serial }) => ({ id: String(id), hardware: { serialNumber: serial } })),
      hosts: devices.map(({ id, serial }) => ({ id, platform: 'darwin', hardware_serial: serial })),
    });
    it.instead = (_asked, path) => (/(computers-inventory|hosts)$/.test(path) ? { body: list(same) } : null);
    expect(await run(connector(name))).toMatchObject({ as: 'ended', problem: expect.stringMatching(/repeats itself/) });
    expect(it.views()).toEqual([]);
  });

  test('Fleet: pages behind the last one that have no Mac and are all the same are no list without an end', async () => {
    it.devices = fleetOf(2);
    let pages = 0;
    it.instead = ({ path: whole }, path) => {
      if (!path.endsWith('hosts')) return null;
      pages += 1;
      // What it does not have it answers with its first page of servers.
      return /[?&]page=0&/.test(whole) ? null : { body: { hosts: [{ id: 900, platform: 'ubuntu', hardware_serial: 'x', seen_time: `${pages}` }] } };
    };
    expect(await run(connector('fleet'))).toMatchObject({ as: 'ended', problem: expect.stringMatching(/repeats itself/) });
    expect(pages).toBe(3);
  });

  test.each(['jamf', 'fleet'] as const)('%s: a server that gives fewer on a page than it was asked for is read to the end', async (name) => {
    it.devices = fleetOf(5);
    it.mostOnPage = 2;
    expect(await run(connector(name))).toMatchObject({ as: 'done', figures: { listed: 5, keys: 5 } });
  });

  test('Jamf Pro’s list ends before all of its Macs were in it: the run ends, and nothing that was known is forgotten', async () => {
    it.devices = fleetOf(3);
    expect(await run(connector('jamf'))).toMatchObject({ as: 'done', figures: { listed: 3 } });
    const known = () => server.store.db.selectFrom('connector_mac').selectAll().where('connector', '=', 'jamf').execute();
    const before = (await known()).length;
    it.instead = (_asked, path) => (path.endsWith('/computers-inventory') ? { body: { totalCount: 3, results: [] } } : null);
    expect(await run(connector('jamf'))).toMatchObject({ as: 'ended', problem: expect.stringMatching(/ended after 0 of 3 Macs/) });
    expect(await known()).toHaveLength(before);
  });

  test('Jamf Pro of another version is found by its list', async () => {
    for (const version of ['v4', 'v2', 'v1']) {
      it.reset();
      it.jamfVersion = version;
      it.devices = [device()];
      expect(await run(connector('jamf'))).toMatchObject({ as: 'done', figures: { keys: 1 } });
      expect(it.views()).toEqual([expect.stringContaining(`/api/${version}/`)]);
    }
    it.jamfVersion = 'v9';
    expect(await run(connector('jamf'))).toMatchObject({ as: 'ended', problem: expect.stringMatching(/with 404/) });
  });

  test('what is no Mac in the list is none here', async () => {
    it.devices = [device(), device({ more: { operatingSystem: 'iOS', platform: 'ios' } })];
    expect(await run(connector('intune'))).toMatchObject({ figures: { listed: 1, keys: 1, unusable: 0 } });
    expect(await run(connector('fleet'))).toMatchObject({ figures: { listed: 1, keys: 1, unusable: 0 } });
  });

  test('answers that do not come are waited for no longer than the limit, and cut connections are said', async () => {
    it.devices = fleetOf(2);
    it.totalSeconds = 0.4;
    it.instead = (_asked, path) => (path.endsWith('/token') ? null : { end: 'hang' });
    expect(await run(connector('jamf'))).toMatchObject({ as: 'paused', problem: expect.stringMatching(/no answer in 0\.4 s/) });
    it.totalSeconds = 60;
    it.instead = (_asked, path) => (path.endsWith('/token') ? null : { end: 'cut' });
    expect(await run(connector('jamf'))).toMatchObject({ as: 'paused', problem: expect.stringMatching(/ECONNRESET|connection/) });
    it.instead = (_asked, path) => (path.endsWith('/token') ? null : { status: 302, headers: { location: 'https://elsewhere.example.org/' } });
    expect(await run(connector('jamf'))).toMatchObject({ as: 'paused', problem: expect.stringMatching(/it led to elsewhere\.example\.org/) });
  });

  test('a backend that stops leaves it where it is, without a problem; the next one goes on at once', async () => {
    it.devices = fleetOf(25);
    const intune = connector('intune');
    let views = 0;
    it.instead = (_asked, path) => {
      views += path.endsWith('getFileVaultKey') ? 1 : 0;
      if (views === 15) intune.close();
      return null;
    };
    expect(await run(intune)).toMatchObject({ as: 'cut', problem: null });
    expect(await row('intune')).toMatchObject({ ended_at: null, problem: null });
    it.instead = null;
    const next = connector('intune');
    expect(await server.custody.connectors.runDue(next)).toMatchObject({ as: 'done' });
    expect(await brought()).toHaveLength(25);
    // The one whose answer was on its way.
    expect(it.views().length).toBeLessThanOrEqual(26);
  });

  test('two processes do not read at once; one that was killed is waited for ten minutes', async () => {
    it.devices = fleetOf(3);
    let other: Promise<string> | null = null;
    it.instead = (_asked, path) => {
      if (path.endsWith('getFileVaultKey')) other ??= codeOf(run(connector('intune')));
      return null;
    };
    await run(connector('intune'));
    expect(await other).toBe('CONNECTOR_BUSY');
    expect(it.views()).toHaveLength(3);
    server.wall.pass(8 * day);
    // As a kill leaves it.
    const reader = JSON.stringify({ reader: { id: 'killed', until: server.clock.now() + 10 * minute }, runId: null, line: 0, failures: 0 });
    await server.store.write((tx) =>
      tx.updateTable('connector').set({ cursor: reader, ended_at: null, started_at: server.clock.now(), figures: null }).execute(),
    );
    expect(await server.custody.connectors.runDue(connector('intune'))).toBeNull();
    server.wall.pass(11 * minute);
    expect(await server.custody.connectors.runDue(connector('intune'))).toMatchObject({ as: 'done', figures: { keys: 3 } });
  });

  test('one that slept longer than that finds that another has gone on, and reads no more', async () => {
    it.devices = fleetOf(12);
    let other: Promise<{ as: string }> | null = null;
    it.instead = (_asked, path) => {
      if (other || !path.endsWith('getFileVaultKey')) return null;
      server.wall.pass(11 * minute);
      other = run(connector('intune'));
      return null;
    };
    const slow = codeOf(run(connector('intune')));
    expect(await slow).toBe('CONNECTOR_BUSY');
    expect(await other).toMatchObject({ as: 'done', figures: { keys: 12 } });
    expect(await row('intune')).toMatchObject({ ended_at: expect.any(Number), problem: null });
    // Of the batch that was under way, ten at most.
    expect(it.views().length).toBeLessThanOrEqual(22);
  });

  test('the rate is kept: no more questions in a minute than the settings say', async () => {
    it.devices = fleetOf(10);
    const before = it.clock.now;
    await run(connector('jamf', { requestsPerMinute: 6 }));
    // A token, a page, ten keys: one every ten seconds, on a clock of its own.
    expect(it.asked).toHaveLength(12);
    expect(it.clock.now - before).toBe(11 * 10_000);
  });

  test('a run is an import: it is listed, and taken back as one; a key that was withdrawn is not fetched again at once', async () => {
    it.devices = fleetOf(2);
    const fleet = connector('fleet');
    await run(fleet);
    const [one] = await server.store.db.selectFrom('import_run').selectAll().execute();
    expect(one).toMatchObject({ source: 'fleet', name: 'connector fleet', actor: 'ada', ended_at: expect.any(Number) });
    expect(await server.custody.withdrawRun({ runId: one?.id ?? '', actor: 'ada', reason: 'the wrong tenant' })).toEqual({ withdrawn: 2, kept: 0 });
    server.wall.pass(day);
    expect(await run(fleet)).toMatchObject({ figures: { read: 0, notDue: 2 } });
  });

  test('a run that is taken back while it pauses goes on as another import, which can be taken back as well', async () => {
    it.devices = fleetOf(12);
    const fleet = connector('fleet');
    const bad = new Set(it.devices.slice(6).map(({ id }) => id));
    it.instead = (_asked, path) => ([...bad].some((id) => path.includes(`/${id}/`)) ? { status: 502, body: {} } : null);
    expect(await run(fleet)).toMatchObject({ as: 'paused', figures: { keys: 6 } });
    const [first] = await server.store.db.selectFrom('import_run').selectAll().execute();
    expect(await server.custody.withdrawRun({ runId: first?.id ?? '', actor: 'ada', reason: 'the wrong tenant' })).toEqual({ withdrawn: 6, kept: 0 });
    it.instead = null;
    server.wall.pass(11 * minute);
    expect(await run(fleet)).toMatchObject({ as: 'done' });
    const runs = await server.store.db.selectFrom('import_run').selectAll().orderBy('started_at').execute();
    expect(runs.map(({ withdrawn_at: withdrawn, ended_at: ended }) => [withdrawn !== null, ended !== null])).toEqual([
      [true, false],
      [false, true],
    ]);
    expect(await server.custody.withdrawRun({ runId: runs[1]?.id ?? '', actor: 'ada', reason: 'the wrong tenant' })).toEqual({ withdrawn: 6, kept: 0 });
  });

  test('what has left the product is forgotten after a whole list, and its key stays here', async () => {
    const [gone, stays] = fleetOf(2) as [Device, Device];
    it.devices = [gone, stays];
    const intune = connector('intune');
    await run(intune);
    it.devices = [stays];
    server.wall.pass(day);
    await run(intune);
    expect((await server.store.db.selectFrom('connector_mac').select('serial').execute()).map(({ serial }) => serial)).toEqual([stays.serial]);
    expect(await brought()).toHaveLength(2);
  });
});
