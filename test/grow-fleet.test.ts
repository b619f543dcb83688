import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, test } from '@jest/globals';
import { deviceCount, deviceList } from '../console/operations/devices.ts';
import { figuresFirst } from '../console/operations/figures.ts';
import { sealerFor } from '../protocol/envelope.ts';
import type { Facts } from '../protocol/messages.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { ask, benchBackend, benchKeys, keysFrom, keysTo, seededBackend } from '../scripts/bench-fleet.ts';
import { growFleet, renewHeldKeys } from '../scripts/grow-fleet.ts';
import { verifyAudit } from '../server/audit.ts';
import { countWhere, rowsWhere, type SortBy } from '../server/store/fleet-filter.ts';
import { checkInBody, newKeyText, sealedDelivery } from './device-calls.ts';
import { scratch } from './scratch.ts';

type Page = { items: { serial: string; custody: string }[]; next: string | null };

test('a fleet that was made of a small one is one like any other: its audit is whole, its Macs are found, check in and deliver', async () => {
  const file = join(scratch('grown'), 'fleet.sqlite');
  const made = benchKeys();
  await (await seededBackend(file, 40, () => {}, made)).store.close();
  growFleet(file, { copies: 30, keysEach: 10, say: () => undefined });

  const opened: RecoveryKey[] = [];
  const newKey = (): RecoveryKey => {
    const key = RecoveryKey.parse(newKeyText());
    if (!key) throw new Error('no key');
    opened.push(key);
    return key;
  };
  const keys = keysFrom(keysTo(made));
  const grown = await benchBackend(file, { ...keys, escrowKeys: { ...keys.escrowKeys, canOpen: true, open: async () => opened.at(-1) ?? 'unreadable' } });
  const { db } = grown.store;
  const mac = await db
    .selectFrom('mac')
    .innerJoin('enrolment', 'enrolment.mac_id', 'mac.id')
    .innerJoin('fleet_row', 'fleet_row.mac_id', 'mac.id')
    .select(['mac.id', 'mac.serial', 'mac.hardware_uuid', 'mac.facts', 'enrolment.id as enrolmentId', 'fleet_row.user_name'])
    .where('mac.serial', 'like', '0017%')
    .where('fleet_row.custody', '=', 'held')
    .where('fleet_row.user_name', '<>', '')
    .orderBy('mac.serial')
    .executeTakeFirstOrThrow();
  const seal = sealerFor(keys.escrowKeys.certificates[0]?.der ?? new Uint8Array());
  renewHeldKeys(file, [mac.id], keys.secrets, () => {
    const key = newKey();
    return { bytes: seal(key), fingerprint: key.fingerprint(keys.secrets.fingerprint) };
  });

  expect(await verifyAudit(grown.store)).toMatchObject({ ok: true });
  expect(await ask<{ count: number }>(grown, deviceCount, {})).toEqual({ count: 1200 });
  const named = async (q: string): Promise<string[]> => (await ask<Page>(grown, deviceList, { q })).items.map(({ serial }) => serial);
  expect(await named(mac.serial)).toEqual([mac.serial]);
  expect(await named(mac.user_name)).toContain(mac.serial);
  expect(mac.user_name).toMatch(/17@example\.org$/);
  await ask(grown, figuresFirst, {});

  const facts = JSON.parse(mac.facts ?? '{}') as Facts;
  expect(facts).toMatchObject({ serial: mac.serial, hardwareUuid: mac.hardware_uuid });
  const caller = () => ({
    macId: mac.id,
    serial: mac.serial,
    serialProved: true,
    hardwareUuid: mac.hardware_uuid,
    enrolmentId: mac.enrolmentId,
    way: 'profile' as const,
    standing: 'active' as const,
    confirmed: true,
    publicKey: Buffer.alloc(0),
    profileNotAfter: null,
    protocol: 1,
    requestId: randomUUID(),
  });
  await grown.custody.checkIn(caller(), checkInBody(facts, { facts }));
  // The same Mac as before, in the same boot session, and its key is still what it was.
  expect(await db.selectFrom('session').select('boot').where('enrolment_id', '=', mac.enrolmentId).execute()).toEqual([{ boot: facts.boot }]);
  expect((await ask<Page>(grown, deviceList, { q: mac.serial })).items).toMatchObject([{ custody: 'held' }]);
  const { id, request } = sealedDelivery(keys.escrowKeys.certificates[0]?.der ?? new Uint8Array(), facts, { key: newKey().reveal(), source: 'agent' });
  expect(await grown.custody.deliver(caller(), id, request)).toMatchObject({ receipt: { envelopeId: id, readable: 'yes', state: 'candidate' } });
  expect(await db.selectFrom('key_record').select('id').where('mac_id', '=', mac.id).execute()).toHaveLength(11);
  expect(await verifyAudit(grown.store)).toMatchObject({ ok: true });
  await grown.store.close();

  const database = new DatabaseSync(file, { readOnly: true });
  expect(database.prepare('pragma foreign_key_check').all()).toEqual([]);
  expect(database.prepare('pragma integrity_check').get()).toEqual({ integrity_check: 'ok' });
  database.close();
});

test('of two words that many have, and hardly any both, each Mac comes once and in its place, from whichever side one pages', async () => {
  const file = join(scratch('namesakes'), 'fleet.sqlite');
  await (await seededBackend(file, 50)).store.close();
  growFleet(file, { copies: 130, keysEach: 1, say: () => undefined });
  const { store } = await benchBackend(file, benchKeys());
  const rows = await store.db.selectFrom('fleet_row').select(['mac_id', 'name_key', 'last_seen_at']).execute();
  // More than are found first and sorted after, and so few together that a walk along the order would not come to an end.
  const both = rows.filter((_, at) => at % 900 === 0).map(({ mac_id }) => mac_id);
  const words = rows.flatMap(({ mac_id }, at) => [
    ...(at % 2 === 0 || both.includes(mac_id) ? [{ mac_id, word: 'eastward' }] : []),
    ...(at % 2 === 1 || both.includes(mac_id) ? [{ mac_id, word: 'westward' }] : []),
  ]);
  await store.write(async (tx) => {
    for (let at = 0; at < words.length; at += 2000)
      await tx
        .insertInto('fleet_word')
        .values(words.slice(at, at + 2000))
        .execute();
  });

  const is = { now: Date.now(), words: ['east', 'westward'] };
  const expected = (by: 'name_key' | 'last_seen_at', descending: boolean) => {
    const found = rows.filter(({ mac_id }) => both.includes(mac_id));
    const order = (one: (typeof rows)[number], other: (typeof rows)[number]) =>
      one[by] === other[by] ? (one.mac_id < other.mac_id ? -1 : 1) : one[by] < other[by] ? -1 : 1;
    const sorted = found.toSorted(order).map(({ mac_id }) => mac_id);
    return descending ? sorted.toReversed() : sorted;
  };
  expect(both).toHaveLength(8);
  expect(await countWhere(store.db, is, null)).toBe(8);
  for (const [sort, by] of [
    ['name', 'name_key'],
    ['seen', 'last_seen_at'],
  ] as const satisfies [SortBy, string][])
    for (const descending of [false, true]) {
      const paged: string[] = [];
      for (let after: { value: string | number; macId: string } | null = null; ; ) {
        const page = await rowsWhere(store.db, is, null, { sort, descending, after, limit: 3 });
        paged.push(...page.map(({ mac_id }) => mac_id));
        const last = page.at(-1);
        if (page.length < 3 || !last) break;
        after = { value: last[by], macId: last.mac_id };
      }
      expect(paged).toEqual(expected(by, descending));
    }
  // Nobody has both of these: that is known without a look at every Mac, too.
  expect(await rowsWhere(store.db, { ...is, words: ['eastward', 'nobody'] }, null, { sort: 'name', descending: false, after: null, limit: 51 })).toEqual([]);
  await store.close();
});

test('K9: however many keys are due at once, each of them is destroyed, none twice, and not all in one act', async () => {
  const file = join(scratch('retention'), 'fleet.sqlite');
  await (await seededBackend(file, 60)).store.close();
  growFleet(file, { copies: 1, keysEach: 10, say: () => undefined });
  const { store, custody, clock } = await benchBackend(file, benchKeys());
  const before = clock.now() - 90 * 24 * 60 * 60 * 1000;
  const proved = store.db.selectFrom('key_record').select('mac_id').where('state', '=', 'held').where('proved_at', 'is not', null);
  const due = await store.db
    .selectFrom('key_record')
    .select('id')
    .where('state', '=', 'superseded')
    .where('state_at', '<=', before)
    .where('mac_id', 'in', proved)
    .execute();
  let acts = 0;
  const write = store.write;
  store.write = (act) => {
    acts += 1;
    return write(act);
  };
  expect(due.length).toBeGreaterThan(250);
  expect(await custody.retire()).toEqual({ destroyed: due.length });
  expect(acts).toBe(Math.floor(due.length / 200) + 1);
  expect(await custody.retire()).toEqual({ destroyed: 0 });
  const left = await store.db.selectFrom('key_record').select('id').where('state', '=', 'destroyed').execute();
  expect(new Set(left.map(({ id }) => id))).toEqual(new Set(due.map(({ id }) => id)));
  await store.close();
});
