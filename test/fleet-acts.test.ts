import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { alarmAssign, alarmGet, alarmJudge, alarmList, alarmMute, alarmUnmute } from '../console/operations/alarms.ts';
import { deviceAssign, deviceStanding, deviceUnassign } from '../console/operations/device-edit.ts';
import { deviceCsv, deviceGet, deviceList, deviceMerge, deviceMergePreview, devicePart, deviceTimeline } from '../console/operations/devices.ts';
import { figuresFirst, figuresTrends } from '../console/operations/figures.ts';
import { tagAdd } from '../console/operations/tags.ts';
import { putAlarm } from '../server/alarms.ts';
import { assign } from '../server/assignments.ts';
import { beginLearning, isSent } from '../server/fleet/alarm-care.ts';
import type { FirstItem } from '../server/fleet/figures.ts';
import { macInScope, recordWith } from '../server/fleet/in-scope.ts';
import type { TimelineEntry } from '../server/fleet/timeline.ts';
import { silentLog } from '../server/log.ts';
import { setStanding } from '../server/mac-standing.ts';
import type { Tx } from '../server/parts.ts';
import { markDirtyByUser } from '../server/store/fleet-dirty.ts';
import { insertPerson } from '../server/store/people.ts';
import { adminFor, allOf, asking, backendOf, textOf } from './fleet-ground.ts';
import { day, type GivenServer, givenServer, hour, minute, newKey, type TestMac } from './server-parts.ts';

let server: GivenServer;
let ask: ReturnType<typeof asking>;
beforeAll(async () => {
  server = await givenServer();
  ask = asking(server);
  // Whoever acts is somebody: who is not known could be anybody.
  await act((tx) => insertPerson(tx, { ...someone, id: 'grace', subject: 'grace', user_name: 'grace', display_name: 'Grace' }));
});
afterAll(() => server.close());

const act = (work: (tx: Tx, at: number) => Promise<unknown>) => server.store.write(async (tx) => work(tx, await server.clock.persist(tx)));
const someone = {
  id: '',
  provider: 'test',
  subject: '',
  user_name: 'ada@example.org',
  email: null,
  display_name: 'Ada',
  groups: '[]',
  language: null,
  created_at: 1,
  last_seen_at: null,
  confirmed_at: 1,
  disabled_at: null,
  disabled_because: null,
};
const lineOf = async (mac: TestMac) => (await ask(deviceGet, { id: mac.id })).device;
const items = async (limit = 200): Promise<FirstItem[]> => (await ask(figuresFirst, { limit })).items;
const itemsOf = async (mac: TestMac) => (await items()).filter(({ device }) => device?.id === mac.id);
const tagged = async (mac: TestMac, tag: string) => ask(tagAdd, { devices: [mac.id], tags: [tag] });

describe('the first page says what needs a person, each by its real cause', () => {
  const kindsOf = async (mac: TestMac) => (await itemsOf(mac)).map(({ kind }) => kind);

  test('nothing, of a Mac on which nothing is the matter', async () => {
    const mac = await server.newMac();
    const { envelopeId } = await mac.escrowed();
    await mac.prove(envelopeId, 'true');
    expect(await kindsOf(mac)).toEqual([]);
    const first = await ask(figuresFirst, {});
    expect(first).toMatchObject({ macs: 1, held: { count: 1, of: 1 }, proved: { count: 1, of: 1, withinDays: 30 }, unrecoverable: 0, exposed: 0 });
    expect((await ask(deviceGet, { id: mac.serial })).state).toEqual({
      says: expect.stringMatching(/^A key of this Mac is here: the held key was proved on /),
      next: null,
    });
  });

  test('what is owed waits in the words of the Mac: on its page, what to do; after a week, on the first page', async () => {
    const mac = await server.newMac();
    const { envelopeId } = await mac.escrowed();
    await mac.prove(envelopeId, 'true');
    await server.custody.orderRotation({ macId: mac.id, actor: 'grace', reason: 'a leaver' });
    const next = async () => (await ask(deviceGet, { id: mac.id })).state.next;
    expect(await next()).toMatch(/^Wait for the Mac: it replaces its key when/);
    await mac.checkIn({ problems: [{ code: 'ROTATION_WAITS', detail: 'a macOS update is being prepared' }] });
    expect(await next()).toBe('Wait for the Mac. It has not replaced its key yet, because a macOS update is being prepared.');
    server.wall.pass(8 * day);
    await mac.checkIn({ problems: [{ code: 'ROTATION_NEEDS_HELP', detail: 'macOS takes no key as authority' }] });
    expect(await kindsOf(mac)).toEqual(['replacing']);
    expect(await ask(deviceGet, { id: mac.id })).toMatchObject({
      waits: { says: 'macOS takes no key as authority', needsHelp: true },
      needs: [{ kind: 'replacing', detail: expect.stringMatching(/; the Mac says: macOS takes no key as authority$/) }],
    });
    const [order] = await server.store.db.selectFrom('rotation_order').selectAll().where('mac_id', '=', mac.id).execute();
    await server.custody.withdrawOrder({ orderId: order?.id ?? '', macId: mac.id, actor: 'grace', reason: 'a test' });
  });

  test('lost: the Mac says that no known key opens it', async () => {
    const mac = await server.newMac();
    await mac.escrowed();
    server.wall.pass(minute);
    await mac.checkIn({ exhausted: true });
    expect(await kindsOf(mac)).toEqual(['lost']);
    expect((await ask(deviceGet, { id: mac.id })).state.says).toMatch(/^No key that is here opens this Mac: /);
  });

  test('doubtful: a second key has come', async () => {
    const mac = await server.newMac();
    await mac.escrowed();
    await mac.deliver(newKey(), { source: 'agent' });
    expect(await kindsOf(mac)).toEqual(['doubtful']);
  });

  test('no key: only after a day, and in the Mac’s own words', async () => {
    const mac = await server.newMac();
    mac.factsMore = { adoption: { code: 'ADOPTION_NEEDED', detail: null, since: new Date(server.wall.now()).toISOString() } };
    await mac.checkIn();
    expect(await kindsOf(mac)).toEqual([]);
    server.wall.pass(day + minute);
    const [found] = await itemsOf(mac);
    expect(found).toMatchObject({ kind: 'no-key', why: expect.stringMatching(/ADOPTION_NEEDED/) });
  });

  test('foreign: its payload is somebody else’s', async () => {
    const mac = await server.newMac();
    mac.factsMore = { escrow: { payload: 'foreign', location: 'another product', file: null } };
    await mac.checkIn();
    expect(await kindsOf(mac)).toEqual(['foreign']);
  });

  test('replacing: it was begun an hour ago, and no end has come', async () => {
    const mac = await server.newMac();
    await mac.escrowed();
    await mac.owe('used');
    await mac.begin();
    expect((await lineOf(mac)).order).toMatchObject({ state: 'replacing' });
    expect(await kindsOf(mac)).toEqual([]);
    server.wall.pass(6 * minute);
    expect(await kindsOf(mac)).toEqual(['doubtful']);
    server.wall.pass(hour);
    expect((await kindsOf(mac)).toSorted()).toEqual(['doubtful', 'replacing']);
  });

  test('disclosed and not replaced: a day after it was shown; and gone with the new key', async () => {
    const mac = await server.newMac();
    await mac.escrowed();
    await server.custody.disclose({ macId: mac.id, actor: 'grace', reason: 'locked out' });
    expect(await lineOf(mac)).toMatchObject({ disclosedSince: expect.any(String), holdUntil: expect.any(String) });
    expect(await kindsOf(mac)).toEqual([]);
    expect((await ask(figuresFirst, {})).exposure).toMatchObject({ macs: 1 });
    server.wall.pass(25 * hour);
    const [found] = await itemsOf(mac);
    expect(found).toMatchObject({ kind: 'disclosed', act: { operation: 'rotations.order', input: { id: mac.serial } } });
    expect((await ask(figuresFirst, {})).exposure.hours).toBeCloseTo(25, 0);
    await mac.rotate();
    expect(await kindsOf(mac)).toEqual([]);
    expect((await ask(figuresFirst, {})).exposure.macs).toBe(0);
  });

  test('alarms: of identity, of two rotators and others, each with its fix; a muted one asks for nobody until its time', async () => {
    const mac = await server.newMac();
    await mac.escrowed();
    await act((tx, at) => putAlarm({ log: silentLog }, tx, at, mac.id, 'TWO_ROTATORS', 'in a test'));
    await act((tx, at) => putAlarm({ log: silentLog }, tx, at, mac.id, 'NO_MAIL_ADDRESS', 'in a test'));
    const found = await itemsOf(mac);
    expect(found.map(({ kind, alarm }) => [kind, alarm?.code]).toSorted()).toEqual([
      ['alarm', 'NO_MAIL_ADDRESS'],
      ['fight', 'TWO_ROTATORS'],
    ]);
    const id = found.find(({ kind }) => kind === 'fight')?.alarm?.id ?? '';
    expect(found.find(({ kind }) => kind === 'fight')).toMatchObject({
      next: expect.stringMatching(/switch off the other/),
      act: { operation: 'alarms.judge' },
    });
    await ask(alarmMute, { id, until: new Date(server.clock.now() + day).toISOString(), reason: 'known' });
    expect(await kindsOf(mac)).toEqual(['alarm']);
    expect((await ask(deviceGet, { id: mac.id })).alarms.find((alarm) => alarm.id === id)).toMatchObject({ mutedUntil: expect.any(String) });
    server.wall.pass(day + minute);
    expect((await kindsOf(mac)).toSorted()).toEqual(['alarm', 'fight']);
    await ask(alarmJudge, { id, judgement: 'the other one is off' });
    expect(await kindsOf(mac)).toEqual(['alarm']);
  });

  test('unseen: the MDM heard of it, and we have not for a week; and gone when it checks in', async () => {
    const mac = await server.newMac();
    await mac.escrowed();
    await act((tx, at) =>
      tx
        .insertInto('mdm_device')
        .values({
          id: `mdm-${mac.id}`,
          server: 'test',
          udid: mac.hardwareUuid,
          serial: mac.serial,
          first_seen_at: at,
          last_seen_at: at + 9 * day,
          checked_out_at: null,
          security: null,
          security_at: null,
        })
        .execute(),
    );
    expect(await kindsOf(mac)).toEqual([]);
    server.wall.pass(7 * day + minute);
    expect(await kindsOf(mac)).toEqual(['unseen']);
    await mac.checkIn();
    expect(await kindsOf(mac)).toEqual([]);
  });

  test('refused: a person said so of the key that is held; a proof ends it', async () => {
    const mac = await server.newMac();
    const { recordId, envelopeId } = await mac.escrowed();
    await act(async (tx, at) => {
      await insertPerson(tx, { ...someone, id: 'p0', subject: 'p0', user_name: 'joan@example.org' });
      const episode = { id: 'e0', mac_id: mac.id, volume: mac.volume, person_id: 'p0', code: '7F3A-19', began_at: at, more_time: 0 };
      await tx.insertInto('episode').values(episode).execute();
      await tx.insertInto('refusal').values({ id: 'r0', episode_id: 'e0', mac_id: mac.id, record_id: recordId, person_id: 'p0', at }).execute();
    });
    expect(await kindsOf(mac)).toEqual(['refused']);
    server.wall.pass(minute);
    await mac.prove(envelopeId, 'true');
    expect(await kindsOf(mac)).toEqual([]);
  });

  test('a Mac that nobody uses any more needs nobody, and is in no figure', async () => {
    const mac = await server.newMac();
    await mac.escrowed();
    await mac.deliver(newKey(), { source: 'agent' });
    const before = (await ask(figuresFirst, {})).macs;
    await act((tx, at) => setStanding(tx, at, { macId: mac.id, actor: 'grace', reason: 'handed in', change: { state: 'retired' } }));
    expect(await kindsOf(mac)).toEqual([]);
    expect((await ask(figuresFirst, {})).macs).toBe(before - 1);
  });

  test('this backend: an alarm of the whole fleet, and a ticket that ends with Macs that have not come', async () => {
    await act((tx, at) => putAlarm({ log: silentLog }, tx, at, null, 'CERTIFICATE_ENDS', 'the escrow certificate ends in 7 days'));
    await act(async (tx, at) => {
      await tx
        .insertInto('ticket')
        .values({ id: 'ticket-1', sealed: Buffer.alloc(1), created_at: at, created_by: 'grace', expires_at: at + 3 * day, ended_at: null })
        .execute();
      await tx
        .insertInto('ticket_serial')
        .values({ ticket_id: 'ticket-1', serial: 'C02NOTYET', used_at: null, hardware_uuid: null, allowed_at: null })
        .execute();
    });
    const found = (await items()).filter(({ device }) => device === null);
    expect(found.map(({ kind }) => kind).toSorted()).toEqual(['backend', 'ticket']);
    expect((await asking(server, ['nobody'])(figuresFirst, {})).items).toEqual([]);
  });

  test('they stand oldest first, and what is counted is what is listed', async () => {
    const first = await ask(figuresFirst, { limit: 200 });
    expect(first.items.map(({ since }) => since)).toEqual(first.items.map(({ since }) => since).toSorted());
    const ofMacs = first.items.filter(({ device }) => device !== null);
    expect(first.needs.reduce((sum, { count }) => sum + count, 0)).toBe(ofMacs.length);
    const few = await ask(figuresFirst, { limit: 2 });
    expect(few.more).toBe(ofMacs.length - 2);
  });

  test('within a scope: its own Macs alone, in each figure', async () => {
    const [one] = (await items()).flatMap(({ device }) => (device ? [device.id] : []));
    await ask(tagAdd, { devices: [one ?? ''], tags: ['mine'] });
    const first = await asking(server, ['mine'])(figuresFirst, {});
    expect([first.macs, first.items.every(({ device }) => device?.id === one), first.exposure.last30Days]).toEqual([1, true, null]);
    expect(first.needs.reduce((sum, { count }) => sum + count, 0)).toBe(first.items.length);
  });
});

describe('one timeline', () => {
  test('of check-ins, keys, orders, what was shown, proofs and alarms: newest first, each once over all pages, without a key', async () => {
    const mac = await server.newMac();
    const key = newKey();
    const { envelopeId } = await mac.escrowed(key);
    server.wall.pass(minute);
    await mac.prove(envelopeId, 'true');
    await mac.prove(envelopeId, 'unknown');
    await server.custody.orderRotation({ macId: mac.id, actor: 'grace', reason: 'left the company' });
    await server.custody.disclose({ macId: mac.id, actor: 'grace', reason: 'locked out' });
    server.wall.pass(26 * hour);
    await mac.rotate();
    await act((tx, at) => putAlarm({ log: silentLog }, tx, at, mac.id, 'NO_MAIL_ADDRESS', 'in a test'));
    mac.reboot();
    server.wall.pass(minute);
    await mac.checkIn();
    const all = await allOf<TimelineEntry>(ask, deviceTimeline, { id: mac.id, limit: 200 });
    expect(all.map(({ at }) => at)).toEqual(
      all
        .map(({ at }) => at)
        .toSorted()
        .reverse(),
    );
    expect(new Set(all.map(({ kind }) => kind))).toEqual(new Set(['check-in', 'key', 'proof', 'order', 'shown', 'hold', 'replacement', 'alarm']));
    for (const limit of [1, 3, 7]) expect(await allOf(ask, deviceTimeline, { id: mac.id, limit })).toEqual(all);
    const says = all.map((entry) => entry.says);
    expect(says).toContain('grace ordered a new key: left the company.');
    expect(says).toContain('The key was shown to grace: locked out.');
    expect(says).toContain('The key was replaced.');
    expect(says.every((line) => /^[\p{Lu}\p{Ll}].*\.$/u.test(line))).toBe(true);
    expect(JSON.stringify(all)).not.toContain(key.reveal());
    expect(JSON.stringify(await ask(deviceGet, { id: mac.id }))).not.toContain(key.reveal());
  });
});

test('what a Mac calls itself is one line in lists, and is shown and not reckoned in a spreadsheet', async () => {
  const mac = await server.newMac();
  mac.factsMore = { name: '=HYPERLINK("https://evil.example","x")\u202e\nsecond' };
  await mac.checkIn();
  expect((await lineOf(mac)).name).toBe('=HYPERLINK("https://evil.example","x") second');
  const csv = await textOf(await ask(deviceCsv, { q: mac.serial, columns: ['name'] }));
  expect(csv).toBe(`name\r\n"'=HYPERLINK(""https://evil.example"",""x"") second"\r\n`);
});

describe('groups of a person are tags of their Mac', () => {
  test('they come with the person, follow their groups, and go with them', async () => {
    const mac = await server.newMac();
    await mac.checkIn();
    const person = (id: string, groups: string[]) => ({ ...someone, id, subject: id, groups: JSON.stringify(groups) });
    await act((tx) => insertPerson(tx, person('p1', ['Engineering, R&D', 'staff'])));
    await act((tx, at) => assign(tx, at, { macId: mac.id, userName: 'ada@example.org', account: null, actor: 'grace', reason: 'hers' }));
    expect(await lineOf(mac)).toMatchObject({ user: 'ada@example.org', tags: ['group:Engineering  R&D', 'group:staff'] });
    expect((await asking(server, ['group:staff'])(deviceList, {})).items.map(({ id }) => id)).toEqual([mac.id]);
    await act(async (tx) => {
      await tx.updateTable('person').set({ groups: '["sales"]' }).where('id', '=', 'p1').execute();
      await markDirtyByUser(tx, 'ada@example.org');
    });
    expect((await lineOf(mac)).tags).toEqual(['group:sales']);
    // Two people with one name: whose groups they are is not known.
    await act(async (tx) => {
      await insertPerson(tx, person('p2', ['board']));
      await markDirtyByUser(tx, 'ada@example.org');
    });
    expect((await lineOf(mac)).tags).toEqual([]);
  });
});

describe('whose Mac it is, and what has become of it', () => {
  test('is said by somebody else than that person, and seen in lists at once', async () => {
    const mac = await server.newMac();
    await mac.checkIn();
    expect(await ask(deviceAssign, { id: mac.serial, userName: 'Radia@Example.org', account: 'radia', reason: 'hers' })).toEqual({
      users: ['radia@example.org'],
    });
    expect((await lineOf(mac)).user).toBe('radia@example.org');
    await expect(ask(deviceAssign, { id: mac.id, userName: 'Grace', reason: 'mine' })).rejects.toMatchObject({ code: 'OWN_REQUEST' });
    await expect(ask(deviceAssign, { id: mac.id, userName: '=cmd', reason: 'x' })).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
    expect(await ask(deviceUnassign, { id: mac.id, reason: 'left' })).toEqual({ users: [] });
    expect((await lineOf(mac)).user).toBe(null);
    expect(await ask(deviceStanding, { id: mac.id, state: 'lost', reason: 'stolen' })).toMatchObject({ state: 'lost', ownership: 'organisation' });
    expect((await lineOf(mac)).state).toBe('lost');
    const other = asking(server, ['nobody']);
    await expect(other(deviceStanding, { id: mac.id, state: 'retired', reason: 'x' })).rejects.toMatchObject({ code: 'MAC_UNKNOWN' });
    await expect(other(deviceAssign, { id: mac.id, userName: 'a@b', reason: 'x' })).rejects.toMatchObject({ code: 'MAC_UNKNOWN' });
  });
});

describe('alarms have an owner, a fix, and quiet', () => {
  test('while the fleet is learned nothing is sent; afterwards what is new and not muted', async () => {
    const backend = backendOf(server);
    const { db } = server.store;
    const known = await server.newMac();
    await act((tx, when) => putAlarm({ log: silentLog }, tx, when, known.id, 'NO_MAIL_ADDRESS', 'in a test'));
    const [old] = (await ask(alarmList, { device: known.serial })).items;
    const at = (id: string) => db.selectFrom('alarm').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
    await beginLearning(backend);
    expect(await isSent(db, await at(old?.id ?? ''), server.clock.now())).toBe(false);
    expect((await ask(alarmList, {})).learningUntil).toBe(new Date(server.clock.now() + 14 * day).toISOString());
    // What stops a Mac, or is about this backend, was never to be got used to.
    const stopping = { id: 'a', mac_id: 'm', code: 'IDENTITY_MOVED', opened_at: server.clock.now() };
    expect(await isSent(db, stopping, server.clock.now())).toBe(true);
    expect(await isSent(db, { ...stopping, mac_id: null, code: 'BACKUP_FAILS' }, server.clock.now())).toBe(true);
    expect(await isSent(db, { ...stopping, code: 'NO_MAIL_ADDRESS' }, server.clock.now())).toBe(false);
    server.wall.pass(14 * day + minute);
    await beginLearning(backend);
    expect((await ask(alarmList, {})).learningUntil).toBe(null);
    expect(await isSent(db, await at(old?.id ?? ''), server.clock.now())).toBe(false);
    const mac = await server.newMac();
    await act((tx, when) => putAlarm({ log: silentLog }, tx, when, mac.id, 'ROTATION_SILENT', 'in a test'));
    const [fresh] = (await ask(alarmList, { device: mac.serial })).items;
    expect(await isSent(db, await at(fresh?.id ?? ''), server.clock.now())).toBe(true);
    await ask(alarmMute, { id: fresh?.id, until: new Date(server.clock.now() + hour).toISOString(), reason: 'known' });
    expect(await isSent(db, await at(fresh?.id ?? ''), server.clock.now())).toBe(false);
    await ask(alarmUnmute, { id: fresh?.id });
    expect(await isSent(db, await at(fresh?.id ?? ''), server.clock.now())).toBe(true);
  });

  test('they are listed with their owner, by code, in pages', async () => {
    const all = await allOf<{ id: string; fix: string }>(ask, alarmList, { limit: 2 });
    expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
    expect(all.every(({ fix }) => fix.endsWith('.'))).toBe(true);
    await ask(alarmAssign, { id: all[0]?.id, owner: 'barbara' });
    expect((await ask(alarmList, { owner: 'barbara' })).items).toMatchObject([{ id: all[0]?.id, owner: 'barbara' }]);
    // One by its id is the same line, also once it was judged.
    expect(await ask(alarmGet, { id: all[0]?.id })).toEqual((await ask(alarmList, { owner: 'barbara' })).items[0]);
    const mac = await server.newMac();
    await act((tx, when) => putAlarm({ log: silentLog }, tx, when, mac.id, 'ROTATION_SILENT', 'in a test'));
    const [judged] = (await ask(alarmList, { device: mac.serial })).items;
    await ask(alarmJudge, { id: judged?.id, judgement: 'a test' });
    expect(await ask(alarmGet, { id: judged?.id })).toMatchObject({ serial: mac.serial, judgement: 'a test', judgedBy: 'grace' });
    await expect(ask(alarmGet, { id: 'none' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('of another scope they are unknown, and so are those of the whole fleet', async () => {
    const elsewhere = await server.newMac();
    await act((tx, when) => putAlarm({ log: silentLog }, tx, when, elsewhere.id, 'ROTATION_SILENT', 'elsewhere'));
    const other = asking(server, ['mine']);
    const mine = new Set((await other(alarmList, {})).items.map(({ id }) => id));
    for (const { id } of (await ask(alarmList, { limit: 200 })).items.filter((one) => !mine.has(one.id)))
      for (const operation of [alarmUnmute, alarmAssign, alarmJudge])
        await expect(other(operation as typeof alarmJudge, { id, owner: null, judgement: 'x' } as never)).rejects.toThrow();
    const [foreign] = (await ask(alarmList, { limit: 200 })).items.filter((one) => !mine.has(one.id));
    await expect(other(alarmJudge, { id: foreign?.id, judgement: 'x' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(other(alarmGet, { id: foreign?.id })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(other(alarmMute, { id: foreign?.id, until: new Date(server.clock.now() + hour).toISOString(), reason: 'x' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });
});

describe('two records of one Mac are joined', () => {
  async function replaced(): Promise<{ old: TestMac; anew: TestMac }> {
    const old = await server.newMac({ serialProved: false });
    await old.escrowed();
    await act((tx, at) => assign(tx, at, { macId: old.id, userName: 'hedy@example.org', account: null, actor: 'grace', reason: 'hers' }));
    await tagged(old, 'vip');
    server.wall.pass(day);
    const anew = await server.newMac({ serial: old.serial, serialProved: false });
    await anew.escrowed();
    return { old, anew };
  }

  test('what moves is said before; then lists, search, timeline and key history tell one Mac, and its keys are where they were', async () => {
    const { old, anew } = await replaced();
    const preview = await ask(deviceMergePreview, { id: anew.id, other: old.id });
    expect(preview).toMatchObject({ refused: null, userMoves: 'hedy@example.org', tagsMove: ['vip'], from: { id: old.id, keys: 1 }, into: { id: anew.id } });
    await expect(ask(deviceGet, { id: old.serial })).rejects.toMatchObject({ code: 'MAC_AMBIGUOUS' });
    await ask(deviceMerge, { id: anew.id, other: old.id, reason: 'new logic board' });
    const detail = await ask(deviceGet, { id: old.serial });
    expect(detail.device).toMatchObject({ id: anew.id, user: 'hedy@example.org', tags: ['vip'], custody: 'held' });
    expect(detail.keys.map((key) => [key.macId, key.state, key.present])).toEqual([
      [anew.id, 'held', true],
      [old.id, 'held', false],
    ]);
    expect(detail.merged).toMatchObject([{ id: old.id, serial: old.serial }]);
    expect((await ask(deviceGet, { id: old.id })).device.id).toBe(anew.id);
    expect((await ask(deviceList, { q: old.serial })).items.map(({ id }) => id)).toEqual([anew.id]);
    const timeline = await allOf<TimelineEntry>(ask, deviceTimeline, { id: anew.id });
    expect(timeline.filter(({ act: name }) => name === 'key.stored')).toHaveLength(2);
    expect((await asking(server, ['vip'])(deviceGet, { id: old.id })).device.id).toBe(anew.id);
    // The MAC of its row is over the Mac that it is of: its key can still be opened, by the record that has it.
    const machine = await macInScope(server.store.db, ['vip'], old.serial);
    const oldKey = detail.keys.find((one) => one.macId === old.id);
    expect(await recordWith(server.store.db, machine, { recordId: oldKey?.recordId })).toBe(old.id);
    expect(await recordWith(server.store.db, machine, { volume: old.volume.toLowerCase() })).toBe(old.id);
    expect(await recordWith(server.store.db, machine, {})).toBe(anew.id);
    expect(await recordWith(server.store.db, machine, { recordId: 'of nobody' })).toBe(anew.id);
    const shown = await server.custody.disclose({ macId: old.id, recordId: oldKey?.recordId ?? '', actor: 'grace', reason: 'test' });
    expect(shown.key.reveal()).toMatch(/^[A-Z0-9-]{29}$/);
    expect(await server.custody.findMac(old.serial)).toBe(anew.id);
  });

  test('one that still speaks, or is the newer one, is not joined', async () => {
    const { old, anew } = await replaced();
    await expect(ask(deviceMerge, { id: old.id, other: anew.id, reason: 'the wrong way round' })).rejects.toMatchObject({ code: 'MERGE_REFUSED' });
    await old.checkIn();
    expect((await ask(deviceMergePreview, { id: anew.id, other: old.id })).refused).toMatch(/checked in on/);
    await expect(ask(deviceMerge, { id: anew.id, other: old.id, reason: 'x' })).rejects.toMatchObject({ code: 'MERGE_REFUSED' });
    await expect(ask(deviceMerge, { id: anew.id, other: anew.id, reason: 'x' })).rejects.toMatchObject({ code: 'MERGE_REFUSED' });
    await expect(asking(server, ['vip'])(deviceMerge, { id: anew.id, other: old.id, reason: 'x' })).rejects.toMatchObject({ code: 'MAC_UNKNOWN' });
    expect(adminFor(null).grants.length).toBeGreaterThan(0);
  });

  test('nor are two that have nothing in common, nor by somebody who may not give the tags of both', async () => {
    const { old, anew } = await replaced();
    await tagged(anew, 'mine');
    await tagged(old, 'mine');
    const scoped = asking(server, ['mine']);
    expect((await scoped(deviceMergePreview, { id: anew.id, other: old.id })).refused).toMatch(/tags that are not yours to give: vip/);
    await expect(scoped(deviceMerge, { id: anew.id, other: old.id, reason: 'x' })).rejects.toMatchObject({ code: 'MERGE_REFUSED' });
    const stranger = await server.newMac();
    await stranger.escrowed();
    expect((await ask(deviceMergePreview, { id: stranger.id, other: old.id })).refused).toMatch(/nothing says that they are one Mac/);
    // Another serial number, and the same user: that is what a board without its serial number looks like.
    await ask(deviceAssign, { id: stranger.id, userName: 'hedy@example.org', reason: 'hers' });
    expect((await ask(deviceMergePreview, { id: stranger.id, other: old.id })).refused).toBe(null);
  });

  test('a join is taken back: both are listed, each with its own tags', async () => {
    const { old, anew } = await replaced();
    await tagged(anew, 'pilot');
    await ask(deviceMerge, { id: anew.id, other: old.id, reason: 'new logic board' });
    expect((await lineOf(anew)).tags).toEqual(['pilot', 'vip']);
    await expect(asking(server, ['mine'])(devicePart, { id: old.id, reason: 'x' })).rejects.toMatchObject({ code: 'MAC_UNKNOWN' });
    await expect(ask(devicePart, { id: anew.id, reason: 'x' })).rejects.toMatchObject({ code: 'MAC_UNKNOWN' });
    await ask(devicePart, { id: old.id, reason: 'they were two' });
    expect([(await lineOf(old)).tags, (await lineOf(anew)).tags]).toEqual([['vip'], ['pilot']]);
    expect((await ask(deviceTimeline, { id: old.id, limit: 1 })).items[0]?.says).toBe('This record stands alone again: they were two.');
  });

  test('if the older machine speaks after all, they are two again, and somebody is told', async () => {
    const { old, anew } = await replaced();
    await ask(deviceMerge, { id: anew.id, other: old.id, reason: 'new logic board' });
    server.wall.pass(minute);
    await old.checkIn();
    expect((await lineOf(old)).id).toBe(old.id);
    expect((await itemsOf(old)).map(({ alarm }) => alarm?.code)).toContain('MERGED_SPEAKS');
    expect((await ask(deviceGet, { id: anew.id })).merged).toEqual([]);
  });
});

describe('trends', () => {
  test('days are kept, and weeks read from them; within a scope from what happened to its Macs', async () => {
    await server.custody.keepFleetDays();
    await server.custody.keepFleetDays();
    const today = new Date(server.clock.now()).toISOString().slice(0, 10);
    const all = await ask(figuresTrends, { weeks: 12 });
    expect(all.days.map((one) => one.day)).toContain(today);
    const first = await ask(figuresFirst, {});
    const last = all.days.at(-1);
    expect(last && last.held + last.doubtful + last.lost + last.none + last.foreign).toBe(first.macs);
    expect(all.lag).toHaveLength(12);
    expect(all.keyAges.reduce((sum, { macs }) => sum + macs, 0)).toBe(
      (await allOf<{ keySince: string | null }>(ask, deviceList, { limit: 200 })).filter(({ keySince }) => keySince !== null).length,
    );
    const mine = await asking(server, ['mine'])(figuresTrends, { weeks: 4 });
    expect([mine.days, mine.lag.length, mine.exposure.length]).toEqual([[], 4, 4]);
  });

  test('an order’s time to its new key, and the hours for which a key was out, are in the week in which they were', async () => {
    const mac = await server.newMac();
    await mac.escrowed();
    await tagged(mac, 'timed');
    await server.custody.disclose({ macId: mac.id, actor: 'grace', reason: 'locked out' });
    server.wall.pass(25 * hour);
    await server.custody.orderRotation({ macId: mac.id, actor: 'grace', reason: 'now' });
    server.wall.pass(hour);
    await mac.rotate();
    await server.custody.keepFleetDays();
    const scoped = await asking(server, ['timed'])(figuresTrends, { weeks: 2 });
    expect(scoped.exposure.reduce((sum, { hours }) => sum + hours, 0)).toBeCloseTo(26, 0);
    const [lag] = scoped.lag.filter(({ orders }) => orders > 0);
    expect(lag?.orders).toBe(1);
    expect(Math.abs((lag?.p50Minutes ?? 0) - 60)).toBeLessThan(6);
  });
});
