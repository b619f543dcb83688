import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { deviceCount, deviceCsv, deviceGet, deviceList, deviceTimeline } from '../console/operations/devices.ts';
import { tagAdd, tagList, tagRemove } from '../console/operations/tags.ts';
import { seedFleet } from '../scripts/seed-fleet.ts';
import { type DeviceFilter, deviceFilter, filterFromUrl, filterToUrl, wordsOf } from '../server/fleet/filter.ts';
import { csvCell, type DeviceLine } from '../server/fleet/list.ts';
import { allOf, asking, textOf } from './fleet-ground.ts';
import { day, type GivenServer, givenServer, secrets } from './server-parts.ts';

const size = 200;
let server: GivenServer;
/** All lines, as the plain list has them. */
let fleet: DeviceLine[];

beforeAll(async () => {
  server = await givenServer();
  await seedFleet({ ...server, secrets, escrowKeys: server.escrow }, { devices: size, seed: 4, days: 3 });
  fleet = await allOf<DeviceLine>(asking(server), deviceList, { limit: 200 });
});
afterAll(() => server.close());

const version = (text: string): string =>
  text
    .split('.')
    .map((part) => part.padStart(3, '0'))
    .join('.');
const before = (time: string | null, when: string): boolean => time === null || time < when;

/** What a filter means, said without an index: line by line. */
function means(filter: DeviceFilter, mac: DeviceLine): boolean {
  const now = server.clock.now();
  const words = wordsOf([mac.serial, mac.name, mac.user ?? '', mac.model ?? ''].join(' '));
  const among = (list: readonly string[] | undefined, value: string) => list === undefined || list.includes(value);
  return [
    filter.q === undefined || wordsOf(filter.q).every((part) => words.some((word) => word.startsWith(part))),
    among(filter.custody, mac.custody),
    filter.unopened === undefined || filter.unopened === mac.unopened,
    among(filter.mode, mac.mode ?? ''),
    among(filter.fileVault, mac.fileVault ?? ''),
    filter.macos === undefined || mac.macos === filter.macos || (mac.macos ?? '').startsWith(`${filter.macos}.`),
    filter.macosBefore === undefined || (mac.macos !== null && version(mac.macos) < version(filter.macosBefore)),
    filter.model === undefined || mac.model === filter.model,
    filter.chip === undefined || mac.chip === filter.chip,
    filter.user === undefined || mac.user === filter.user,
    filter.tag === undefined || filter.tag.some((tag) => mac.tags.includes(tag)),
    among(filter.state, mac.state),
    filter.ownership === undefined || mac.ownership === filter.ownership,
    among(filter.order, mac.order?.state ?? 'none'),
    filter.hold === undefined || filter.hold === (mac.holdUntil !== null),
    filter.disclosed === undefined || filter.disclosed === (mac.disclosedSince !== null),
    filter.seenBefore === undefined || before(mac.lastSeenAt, filter.seenBefore),
    filter.seenAfter === undefined || (mac.lastSeenAt ?? '') >= filter.seenAfter,
    filter.provedBefore === undefined || before(mac.provedAt, filter.provedBefore),
    filter.provedAfter === undefined || (mac.provedAt ?? '') >= filter.provedAfter,
    filter.enrolledAfter === undefined || mac.enrolledAt >= filter.enrolledAfter,
    filter.keyOlderThanDays === undefined || (mac.keySince !== null && Date.parse(mac.keySince) < now - filter.keyOlderThanDays * day),
  ].every(Boolean);
}

const ids = (lines: readonly DeviceLine[]): string[] => lines.map(({ id }) => id).toSorted();
const listed = (filter: Record<string, unknown>) => allOf<DeviceLine>(asking(server), deviceList, { ...filter, limit: 200 });
const ago = (days: number): string => new Date(server.clock.now() - days * day).toISOString();

describe('a filter means what it says', () => {
  test('the fleet has something of everything', () => {
    expect(fleet).toHaveLength(size);
    const custodies = new Set(fleet.map((mac) => mac.custody));
    expect([...custodies].toSorted()).toEqual(['doubtful', 'foreign', 'held', 'none']);
    expect(fleet.some((mac) => mac.disclosedSince !== null) && fleet.some((mac) => mac.order !== null) && fleet.some((mac) => mac.state === 'lost')).toBe(true);
  });

  const one = <Value>(make: () => readonly Value[]) => fc.nat().map((index) => make()[index % Math.max(1, make().length)]);
  const values = (pick: (mac: DeviceLine) => string | null) => one(() => [...new Set(fleet.map(pick))].filter((value): value is string => value !== null));
  const some = (arbitrary: fc.Arbitrary<string | undefined>) =>
    fc.array(arbitrary, { minLength: 1, maxLength: 3 }).map((list) => list.filter((value): value is string => value !== undefined));
  const parts: Record<string, fc.Arbitrary<unknown>> = {
    q: values((mac) => mac.name).map((name) => (name ?? 'a').slice(0, 5)),
    custody: some(values((mac) => mac.custody)),
    unopened: fc.boolean(),
    mode: some(values((mac) => mac.mode)),
    fileVault: some(values((mac) => mac.fileVault)),
    macos: values((mac) => mac.macos).map((text) => (text ?? '26').split('.').slice(0, 2).join('.')),
    macosBefore: fc.constantFrom('15', '26', '26.1', '15.7'),
    model: values((mac) => mac.model),
    chip: values((mac) => mac.chip),
    user: values((mac) => mac.user),
    tag: some(one(() => fleet.flatMap((mac) => mac.tags))),
    state: some(values((mac) => mac.state)),
    ownership: fc.constantFrom('organisation', 'personal'),
    order: some(fc.constantFrom('none', 'waiting', 'owed', 'replacing')),
    hold: fc.boolean(),
    disclosed: fc.boolean(),
    seenBefore: fc.integer({ min: 0, max: 20 }).map(ago),
    seenAfter: fc.integer({ min: 0, max: 20 }).map(ago),
    provedBefore: fc.integer({ min: 0, max: 60 }).map(ago),
    provedAfter: fc.integer({ min: 0, max: 60 }).map(ago),
    enrolledAfter: fc.integer({ min: 0, max: 400 }).map(ago),
    keyOlderThanDays: fc.integer({ min: 0, max: 300 }),
  };

  test.each(Object.keys(parts))('%s, alone', async (name) => {
    const arbitrary = parts[name] as fc.Arbitrary<unknown>;
    for (const value of fc.sample(arbitrary, { numRuns: 4, seed: 7 })) {
      const filter = deviceFilter.parse({ [name]: value });
      const expected = ids(fleet.filter((mac) => means(filter, mac)));
      expect([value, ids(await listed({ [name]: value }))]).toEqual([value, expected]);
      expect(await asking(server)(deviceCount, { [name]: value })).toEqual({ count: expected.length });
    }
  });

  test('several together, and the count of them', async () => {
    const filters = fc.record(parts, { requiredKeys: [] });
    await fc.assert(
      fc.asyncProperty(filters, async (given) => {
        const filter = deviceFilter.parse(given);
        const expected = ids(fleet.filter((mac) => means(filter, mac)));
        expect(ids(await listed(given))).toEqual(expected);
        expect((await asking(server)(deviceCount, given)).count).toBe(expected.length);
      }),
      { numRuns: 60, seed: 11 },
    );
  });

  test('as an address and back it is the same filter', () => {
    const filters = fc.record({ ...parts, problem: some(fc.constantFrom('lost', 'disclosed')) }, { requiredKeys: [] });
    fc.assert(
      fc.property(filters, (given) => {
        const filter = deviceFilter.parse(given);
        const again = filterFromUrl(new URLSearchParams(filterToUrl(filter).toString()));
        expect(filterToUrl(again).toString()).toBe(filterToUrl(filter).toString());
        expect(fleet.filter((mac) => means(filter, mac))).toEqual(fleet.filter((mac) => means(again, mac)));
      }),
      { numRuns: 50, seed: 5 },
    );
  });

  test('what is no filter is refused in words, whatever it is', async () => {
    const ask = asking(server);
    for (const wrong of [{ custody: ['gone'] }, { seenBefore: 'yesterday' }, { nothing: 1 }, { keyOlderThanDays: -1 }, { macos: '26; drop table mac' }])
      await expect(ask(deviceList, wrong)).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
    for (const q of ["'", '%', '_', '"; drop table mac; --', '\u0000', '💥', '*', '\\']) expect(Array.isArray((await ask(deviceList, { q })).items)).toBe(true);
  });
});

describe('lists are sorted by any column, and paged without loss', () => {
  const ranks = { lost: 1, doubtful: 2, foreign: 3, none: 4, held: 5 } as const;
  const keys: Record<string, (mac: DeviceLine) => string | number> = {
    serial: (mac) => mac.serial,
    name: (mac) => mac.name.toLowerCase().normalize('NFC'),
    user: (mac) => mac.user ?? '',
    macos: (mac) => (mac.macos === null ? '' : version(mac.macos)),
    model: (mac) => mac.model ?? '',
    mode: (mac) => mac.mode ?? '',
    fileVault: (mac) => mac.fileVault ?? '',
    custody: (mac) => ranks[mac.custody],
    keySince: (mac) => Date.parse(mac.keySince ?? '') || 0,
    proved: (mac) => Date.parse(mac.provedAt ?? '') || 0,
    seen: (mac) => Date.parse(mac.lastSeenAt ?? '') || 0,
    order: (mac) => Date.parse(mac.order?.since ?? '') || 0,
    disclosed: (mac) => Date.parse(mac.disclosedSince ?? '') || 0,
    state: (mac) => mac.state,
    enrolled: (mac) => Date.parse(mac.enrolledAt),
  };
  const bytes = (text: string | number) => (typeof text === 'string' ? Buffer.from(text).toString('hex') : text);

  test.each(Object.keys(keys).flatMap((column) => [column, `-${column}`]))('by %s', async (sort) => {
    const key = keys[sort.replace('-', '')] as (mac: DeviceLine) => string | number;
    const sorted = fleet.toSorted((one, other) => {
      const [a, b] = [bytes(key(one)), bytes(key(other))];
      return (a < b ? -1 : a > b ? 1 : one.id < other.id ? -1 : 1) * (sort.startsWith('-') ? -1 : 1);
    });
    const all = await allOf<DeviceLine>(asking(server), deviceList, { sort, limit: 67 });
    expect(all.map(({ id }) => id)).toEqual(sorted.map(({ id }) => id));
  });

  test('a page of a filtered list goes on where the one before ended, in both plans', async () => {
    const tag = fleet[0]?.tags[0] ?? '';
    for (const filter of [{ tag: [tag] }, { custody: ['held'] }]) {
      const all = await allOf<DeviceLine>(asking(server), deviceList, { ...filter, sort: '-seen', limit: 7 });
      const expected = fleet.filter((mac) => means(deviceFilter.parse(filter), mac));
      expect(ids(all)).toEqual(ids(expected));
    }
  });

  test('a cursor is of its own order, and of nobody’s making', async () => {
    const ask = asking(server);
    const { next } = await ask(deviceList, { limit: 5 });
    await expect(ask(deviceList, { sort: 'seen', cursor: next })).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
    for (const cursor of ['x', Buffer.from('{"s":"name","v":1,"id":"a"}').toString('base64url'), Buffer.from('[]').toString('base64url')])
      await expect(ask(deviceList, { cursor })).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
  });

  test('while Macs change between two pages, one that does not move comes once', async () => {
    const ask = asking(server);
    const first = await ask(deviceList, { sort: 'name', limit: 50 });
    // Others check in, are tagged and go to the front meanwhile.
    for (const mac of fleet.slice(0, 20)) await server.store.db.updateTable('fleet_row').set({ last_seen_at: 1 }).where('mac_id', '=', mac.id).execute();
    const rest = await allOf<DeviceLine>(ask, deviceList, { sort: 'name', cursor: first.next, limit: 50 });
    expect(ids([...first.items, ...rest])).toEqual(ids(fleet));
    for (const mac of fleet.slice(0, 20))
      await server.store.db
        .updateTable('fleet_row')
        .set({ last_seen_at: Date.parse(mac.lastSeenAt ?? '') || 0 })
        .where('mac_id', '=', mac.id)
        .execute();
  });
});

describe('CSV', () => {
  test('has every Mac that is meant, in the columns that were asked for', async () => {
    const file = await asking(server)(deviceCsv, { sort: 'serial', columns: ['serial', 'custody', 'tags'] });
    const [head, ...rows] = (await textOf(file)).trimEnd().split('\r\n');
    expect(head).toBe('serial,custody,tags');
    expect(rows).toEqual(
      fleet.toSorted((one, other) => (one.serial < other.serial ? -1 : 1)).map((mac) => `${mac.serial},${mac.custody},${mac.tags.join(' ')}`),
    );
  });

  test('a Mac that checks in while it is sent is in it once', async () => {
    const { content } = await asking(server)(deviceCsv, { sort: '-seen', columns: ['id'] });
    const sent: string[] = [];
    const moved = fleet.slice(0, 60);
    for await (const part of content) {
      sent.push(String(part));
      if (sent.length !== 2) continue;
      for (const mac of moved) await server.store.db.updateTable('fleet_row').set({ last_seen_at: server.clock.now() }).where('mac_id', '=', mac.id).execute();
    }
    expect(sent).toHaveLength(3);
    expect(sent.slice(1).join('').trim().split('\r\n').toSorted()).toEqual(ids(fleet));
    for (const mac of moved)
      await server.store.db
        .updateTable('fleet_row')
        .set({ last_seen_at: Date.parse(mac.lastSeenAt ?? '') || 0 })
        .where('mac_id', '=', mac.id)
        .execute();
  });

  test('no cell of it is reckoned by a spreadsheet, and none breaks out of its place', () => {
    for (const text of ['=1+1', '+1', '-1', '@SUM(A1)', '\tx', '\rx', ' =1', '\n=1']) expect(csvCell(text).replace(/^"/, '')).toMatch(/^'/);
    expect(csvCell('a "b", c')).toBe('"a ""b"", c"');
    expect(csvCell('=cmd|"/c"')).toBe(`"'=cmd|""/c"""`);
    expect(csvCell(null)).toBe('');
    expect(csvCell('Ada’s Mac')).toBe('Ada’s Mac');
  });
});

describe('nobody sees beyond their scope', () => {
  const scope = ['sales'];
  const ours = () => fleet.filter((mac) => mac.tags.includes('sales'));
  const theirs = () => fleet.filter((mac) => !mac.tags.includes('sales'));

  test('in lists, searches, counts, CSV and tags', async () => {
    const ask = asking(server, scope);
    expect(ours().length).toBeGreaterThan(3);
    expect(ids(await allOf<DeviceLine>(ask, deviceList, { limit: 200 }))).toEqual(ids(ours()));
    expect(await ask(deviceCount, {})).toEqual({ count: ours().length });
    const [foreign] = theirs();
    expect((await ask(deviceList, { q: foreign?.serial ?? '' })).items).toEqual([]);
    expect(await ask(deviceCount, { q: foreign?.serial ?? '' })).toEqual({ count: 0 });
    expect(await ask(deviceCount, { tag: ['engineering'] })).toEqual({ count: ours().filter((mac) => mac.tags.includes('engineering')).length });
    expect((await textOf(await ask(deviceCsv, { columns: ['id'] }))).trim().split('\r\n').slice(1).toSorted()).toEqual(ids(ours()));
    const { items } = await ask(tagList, {});
    expect(items).toEqual(
      [...new Set(ours().flatMap((mac) => mac.tags))].toSorted().map((tag) => ({ tag, count: ours().filter((mac) => mac.tags.includes(tag)).length })),
    );
  });

  test('by an id or a serial number that was guessed', async () => {
    const ask = asking(server, scope);
    for (const mac of theirs().slice(0, 5))
      for (const name of [mac.id, mac.serial]) {
        await expect(ask(deviceGet, { id: name })).rejects.toMatchObject({ code: 'MAC_UNKNOWN' });
        await expect(ask(deviceTimeline, { id: name })).rejects.toMatchObject({ code: 'MAC_UNKNOWN' });
        await expect(ask(tagAdd, { devices: [name], tags: ['sales'] })).rejects.toMatchObject({ code: 'MAC_UNKNOWN' });
      }
    const [mine] = ours();
    expect((await ask(deviceGet, { id: mine?.serial ?? '' })).device.id).toBe(mine?.id);
  });

  test('nor does a scope of no tags, or a tag that nobody has, see anything', async () => {
    for (const none of [[], ['no-such-tag']]) {
      expect((await asking(server, none)(deviceList, {})).items).toEqual([]);
      expect(await asking(server, none)(deviceCount, {})).toEqual({ count: 0 });
    }
  });

  test('and nobody moves a Mac by a tag that is not theirs to give', async () => {
    const ask = asking(server, scope);
    const mine = ours()[0]?.id ?? '';
    await expect(ask(tagAdd, { devices: [mine], tags: ['vip'] })).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
    await expect(ask(tagRemove, { devices: [mine], tags: ['engineering'] })).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
  });
});

describe('tags', () => {
  test('are given to all that are named or to none, seen at once, and stand in the timeline', async () => {
    const ask = asking(server);
    const [one, other] = fleet;
    await expect(ask(tagAdd, { devices: [one?.id ?? '', 'NOSUCH'], tags: ['pilot'] })).rejects.toMatchObject({ code: 'MAC_UNKNOWN' });
    expect(await ask(deviceCount, { tag: ['pilot'] })).toEqual({ count: 0 });
    expect(await ask(tagAdd, { devices: [one?.id ?? '', other?.serial ?? ''], tags: ['Pilot', 'pilot'] })).toEqual({ changed: 2 });
    expect(await ask(deviceCount, { tag: ['pilot'] })).toEqual({ count: 2 });
    expect(await ask(tagAdd, { devices: [one?.id ?? ''], tags: ['pilot'] })).toEqual({ changed: 0 });
    expect(await ask(tagRemove, { devices: [one?.id ?? '', other?.id ?? ''], tags: ['pilot'] })).toEqual({ changed: 2 });
    const { items } = await ask(deviceTimeline, { id: one?.id ?? '', limit: 2 });
    expect(items.map(({ says }) => says)).toEqual(['grace changed its tags: without pilot.', 'grace changed its tags: with pilot.']);
  });

  test('a comma, a group or nothing is no tag', async () => {
    for (const tag of ['a,b', 'group:it', '', '-x', '=1', 'x'.repeat(65)])
      await expect(asking(server)(tagAdd, { devices: [fleet[0]?.id ?? ''], tags: [tag] })).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
  });
});
