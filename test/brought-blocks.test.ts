import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { DummyDriver, Kysely, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler } from 'kysely';
import { sealKey } from '../protocol/envelope.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import type { Bringing } from '../server/brought/bringing.ts';
import { openDatabase } from '../server/database.ts';
import { up as first } from '../server/migrations/0001-first.ts';
import { up as people } from '../server/migrations/0002-people.ts';
import { up as coexistence } from '../server/migrations/0003-coexistence.ts';
import { bringTo, recordOf, rowOf } from './brought-parts.ts';
import { scratch } from './scratch.ts';
import { codeOf, digestOf, type GivenServer, givenServer, newKey, newUuid, type TestMac } from './server-parts.ts';

/*
 * Whose the sealed blocks are that others brought. Who has a copy of the database, or a folder that somebody left with, and a
 * Mac of his own, must not get another Mac's key by delivering its envelope as his.
 */

let server: GivenServer;
beforeAll(async () => {
  server = await givenServer();
});
afterAll(() => server.close());

const { newMac, newSerial, envelopeOf, bring, alarmsOf, newRun } = bringTo(() => server, 'C02BLOCK');
const seal = (key: RecoveryKey): Buffer => sealKey(key, server.escrow.pairs[0]?.der as Buffer);
/** An MDM says it of a Mac that is not here yet. */
const brought = async (serial: string, key = newKey(), more: Partial<Bringing> = {}) => {
  const bytes = seal(key);
  const one = await bring(serial, null, { source: 'nanomdm', trust: 'mdm', actor: 'mdm', envelope: envelopeOf(bytes), ...more });
  return { bytes, key, keyId: one.keyId, fate: one.fate };
};
const run = (id: string) => newRun(id, 'mdm-cms');
/** What a Mac gets of it: nothing, and it is no sooner the owner of the block for having sent it. */
const expectNothing = async (mac: TestMac, bytes: Buffer) => {
  const opened = server.escrow.opened;
  expect((await mac.deliver(bytes, { source: 'escrow-file' })).receipt).toMatchObject({ state: 'quarantined', readable: 'no' });
  expect(server.escrow.opened).toBe(opened);
  expect(await alarmsOf(mac)).toContain('ENVELOPE_REUSED');
  expect(Object.values(await mac.states())).toEqual(['quarantined']);
};

describe('an envelope that others brought and that waits', () => {
  test.each<[string, Partial<Bringing>]>([
    ['by an MDM, as it came', {}],
    ['by an admin, as it came', { source: 'mdm-cms', trust: 'admin', actor: 'ada' }],
  ])('%s: another Mac that delivers its bytes gets nothing, and the alarm says so; its own Mac is given its due afterwards', async (_, more) => {
    const serial = newSerial();
    const { bytes } = await brought(serial, newKey(), more);
    await expectNothing(await newMac(), bytes);
    const own = await newMac(serial);
    expect((await own.checkIn({ offers: [digestOf(bytes)] })).wanted).toEqual([digestOf(bytes)]);
    expect((await own.deliver(bytes, { source: 'escrow-file' })).receipt).toMatchObject({ state: 'held', readable: 'yes' });
    expect(await alarmsOf(own)).toEqual([]);
  });

  test('that was sealed here, from a table in plain, is as safe: another Mac gets nothing for its bytes', async () => {
    const { keyId } = await bring(newSerial(), newKey());
    const { bytes } = await rowOf(server, keyId);
    await expectNothing(await newMac(), Buffer.from(bytes ?? []));
  });

  test('is its own Mac’s when that delivers the same bytes before it has checked in: the file that MDM and agent both read', async () => {
    const serial = newSerial();
    const { bytes, keyId } = await brought(serial);
    const own = await server.newMac({ serial });
    expect((await own.deliver(bytes, { source: 'escrow-file' })).receipt).toMatchObject({ state: 'held', readable: 'yes' });
    await own.checkIn();
    expect(await rowOf(server, keyId)).toMatchObject({ state: 'known', mac_id: own.id });
    expect(await alarmsOf(own)).toEqual([]);
  });

  test('keeps its Mac when it has become a record, was taken back, or came once more: its bytes are gone, and another Mac still gets nothing', async () => {
    const [serial, waiting] = [newSerial(), newSerial()];
    const own = await newMac(serial);
    const runId = await run('run-taken-back');
    const offered = await brought(serial, newKey(), { trust: 'admin', source: 'mdm-cms', runId });
    const waits = await brought(waiting, newKey(), { trust: 'admin', source: 'mdm-cms', runId });
    expect([offered.fate, waits.fate]).toEqual(['offered', 'waiting']);
    expect(await server.custody.withdrawRun({ runId, actor: 'ada', reason: 'an old folder' })).toEqual({ withdrawn: 2, kept: 0 });
    for (const { bytes } of [offered, waits]) await expectNothing(await newMac(), bytes);
    // Its own Mac has it all the same, as if nobody had ever brought it.
    expect((await own.deliver(offered.bytes, { source: 'escrow-file' })).receipt).toMatchObject({ state: 'held', readable: 'yes' });
    expect(await alarmsOf(own)).toEqual([]);
  });

  test('in another wrapping, with the same sealed block, is refused to whoever brings or delivers it', async () => {
    const serial = newSerial();
    const { bytes } = await brought(serial);
    // The content's last byte is of no account to the block.
    const other = Buffer.from(bytes);
    other.writeUInt8((other[other.length - 1] ?? 0) ^ 1, other.length - 1);
    await expectNothing(await newMac(), other);
    const again = { source: 'nanomdm', trust: 'mdm', actor: 'mdm', envelope: envelopeOf(other) } as const;
    expect(await bring(newSerial(), null, again)).toMatchObject({ fate: 'refused', because: expect.stringMatching(/sealed block/) });
    expect(await bring(serial, null, again)).toMatchObject({ fate: 'refused', because: expect.stringMatching(/sealed block/) });
  });

  test('from a Mac that only claims the serial number is not wanted and not taken, and raises nothing; once an admin has confirmed it, it is', async () => {
    const serial = newSerial();
    const { bytes, keyId } = await brought(serial);
    const wish = { serialProved: false, confirmed: false, way: 'ticket' };
    const claims = await newMac(serial, wish);
    expect((await claims.checkIn({ offers: [digestOf(bytes)] })).wanted).toEqual([]);
    expect(await codeOf(claims.deliver(bytes, { source: 'escrow-file', validated: 'true' }))).toBe('DELIVERY_UNCONFIRMED');
    expect([await claims.states(), await alarmsOf(claims)]).toEqual([{}, []]);
    await server.custody.confirmEnrolment({ enrolmentId: claims.enrolmentId, actor: 'ada', reason: 'on my desk' });
    claims.callerMore = { ...claims.callerMore, confirmed: true };
    expect(await rowOf(server, keyId)).toMatchObject({ state: 'offered', mac_id: claims.id });
    expect((await claims.checkIn({ offers: [digestOf(bytes)] })).wanted).toEqual([digestOf(bytes)]);
    expect((await claims.deliver(bytes, { source: 'escrow-file' })).receipt).toMatchObject({ state: 'held' });
  });

  test('while two Macs claim its serial number and both are confirmed, neither gets it for its bytes; nor one beside a Mac that proves it', async () => {
    const serial = newSerial();
    const claims = [await newMac(serial, { serialProved: false }), await newMac(serial, { serialProved: false })];
    const { bytes } = await brought(serial);
    for (const mac of claims) expect(await codeOf(mac.deliver(bytes, { source: 'escrow-file' }))).toBe('DELIVERY_UNCONFIRMED');
    const own = await newMac(serial);
    // By now it is a record of the one that proves it.
    expect(await codeOf((claims[0] as TestMac).deliver(bytes, { source: 'escrow-file' }))).toBe('DELIVERY_UNCONFIRMED');
    expect((await own.deliver(bytes, { source: 'escrow-file' })).receipt).toMatchObject({ state: 'held' });
    await expectNothing(claims[0] as TestMac, bytes);
  });

  test('from an enrolment of the very Mac that nobody has confirmed, such as one that was set up anew by whoever had a profile, gives it nothing', async () => {
    const serial = newSerial();
    const own = await newMac(serial);
    await own.escrowed();
    const { bytes } = await brought(serial, newKey());
    const behind = await brought(serial, newKey());
    expect(behind.fate).toBe('waiting');
    await own.enrol({ confirmed: false }, true);
    expect((await own.checkIn({ offers: [digestOf(behind.bytes)] })).wanted).toEqual([]);
    expect(await codeOf(own.deliver(behind.bytes, { source: 'escrow-file', validated: 'true' }))).toBe('DELIVERY_UNCONFIRMED');
    expect((await own.deliver(bytes, { source: 'escrow-file', validated: 'true' })).status).toBe(200);
  });

  test('goes over to the Mac that was set up anew, with the same serial number, when nobody claims it any more but that one', async () => {
    const serial = newSerial();
    const before = await newMac(serial, { serialProved: false });
    const { bytes, fate } = await brought(serial);
    expect(fate).toBe('offered');
    const anew = await newMac(serial, { serialProved: false });
    expect(await codeOf(anew.deliver(bytes, { source: 'escrow-file' }))).toBe('DELIVERY_UNCONFIRMED');
    await server.store.write((tx) => tx.updateTable('enrolment').set({ status: 'replaced' }).where('mac_id', '=', before.id).execute());
    expect((await anew.deliver(bytes, { source: 'escrow-file' })).receipt).toMatchObject({ state: 'held', readable: 'yes' });
    expect(await alarmsOf(anew)).toEqual(['SERIAL_CONFLICT']);
    await expectNothing(await newMac(), bytes);
  });

  test('that an admin brought for the wrong serial number, and took back, is the right one’s when an admin brings it for that; a device’s word does not move it', async () => {
    const [wrong, right] = [newSerial(), newSerial()];
    const [other, own] = [await newMac(wrong), await newMac(right)];
    const runId = await run('run-of-shifted-columns');
    const { bytes, key } = await brought(wrong, newKey(), { trust: 'admin', source: 'mdm-cms', runId });
    await expectNothing(own, bytes);
    await server.custody.withdrawRun({ runId, actor: 'ada', reason: 'the columns were shifted' });
    const envelope = envelopeOf(bytes);
    expect(await bring(right, null, { source: 'nanomdm', trust: 'mdm', actor: 'mdm', envelope })).toMatchObject({ fate: 'refused' });
    const again = await bring(right, key, { source: 'mdm-cms', envelope });
    expect(again.fate).toBe('offered');
    const { record_id: recordId } = await rowOf(server, again.keyId);
    expect(await recordOf(server, recordId)).toMatchObject({ state: 'candidate', enrolment_id: null, opened: 1 });
    expect((await own.checkIn({ offers: [digestOf(bytes)] })).wanted).toEqual([digestOf(bytes)]);
    expect((await own.deliver(bytes, { source: 'escrow-file' })).receipt).toMatchObject({ state: 'held', recordId });
    await expect(other.deliver(bytes, { source: 'escrow-file' })).resolves.toMatchObject({ receipt: { state: 'quarantined' } });
  });
});

describe('one envelope on two volumes of a Mac', () => {
  test('K5: what was brought for the first volume, and is delivered for the second, is a record of the second with its envelope, and none without', async () => {
    const mac = await newMac();
    const { bytes, key, keyId } = await brought(mac.serial);
    const before = (await rowOf(server, keyId)).record_id;
    await server.custody.disclose({ macId: mac.id, actor: 'ada', reason: 'locked out' });
    mac.volume = newUuid();
    await mac.checkIn();
    const { receipt } = await mac.deliver(bytes, { source: 'escrow-file' });
    expect(receipt).toMatchObject({ state: 'held', readable: 'yes' });
    const envelopes = await server.store.db.selectFrom('envelope').selectAll().where('mac_id', '=', mac.id).execute();
    expect(envelopes).toMatchObject([{ record_id: receipt.recordId, readable: 'yes', enrolment_id: mac.enrolmentId }]);
    // The row is bound to its new record: it opens. Who saw it before is not forgotten.
    expect((await server.custody.disclose({ macId: mac.id, actor: 'ada', reason: 'again' })).key.equals(key)).toBe(true);
    expect((await mac.states())[String(before)]).toBe('superseded');
    expect((await recordOf(server, receipt.recordId)).disclosed_at).not.toBeNull();
    expect(await mac.debts()).toContain('disclosed');
    expect(await alarmsOf(mac)).toEqual([]);
  });
});

describe('a database of before this was remembered', () => {
  test('is brought to today’s shape: the blocks of what waits are noted, a row that is no envelope stops nothing, and what came without a run is remembered so', async () => {
    const file = join(scratch('before-blocks'), 'server.sqlite');
    const raw = new DatabaseSync(file);
    for (const statement of await statementsOf([first, people, coexistence])) raw.exec(statement);
    raw.exec('pragma user_version = 3');
    const bytes = seal(newKey());
    const insert =
      raw.prepare(`insert into brought_key (id, serial, bytes, envelope_id, recipient, row_mac, source, trust, run_id, made_at, brought_at, brought_by, state, state_at, state_because)
      values (?, 'C02BEFORE001', ?, ?, 'x', 'x', 'nanomdm', 'mdm', ?, 5, 1, 'nanomdm', 'waiting', 1, 'x')`);
    insert.run('a', bytes, digestOf(bytes), null);
    insert.run('b', Buffer.from('no envelope'), 'x', 'run');
    insert.run('c', null, 'y', null);
    raw.exec(`insert into connector (name, started_at, ended_at, next_at) values ('fleet', 7, 8, 9), ('intune', 7, null, 9), ('jamf', null, null, 9)`);
    raw.exec(`insert into connector_mac (connector, device_id, serial, listed_at) values ('fleet', '1', 'C02BEFORE001', 7)`);
    raw.close();
    const store = await openDatabase(file);
    const blocks = envelopeOf(bytes).blocks.map((digest) => ({ digest, serial: 'C02BEFORE001', envelope_id: digestOf(bytes) }));
    expect(await store.db.selectFrom('brought_block').selectAll().execute()).toEqual(blocks);
    expect(await store.db.selectFrom('brought_key').select(['id', 'also_source', 'also_trust', 'also_made_at', 'also_by']).orderBy('id').execute()).toEqual([
      { id: 'a', also_source: 'nanomdm', also_trust: 'mdm', also_made_at: 5, also_by: 'nanomdm' },
      { id: 'b', also_source: null, also_trust: null, also_made_at: null, also_by: null },
      { id: 'c', also_source: 'nanomdm', also_trust: 'mdm', also_made_at: 5, also_by: 'nanomdm' },
    ]);
    // A connector is waited for from its last end on, and nothing that it was asked has failed.
    expect(await store.db.selectFrom('connector').select(['name', 'good_since', 'quiet_until', 'quiet_times']).orderBy('name').execute()).toEqual(
      [
        ['fleet', 8],
        ['intune', 7],
        ['jamf', 9],
      ].map(([name, since]) => ({ name, good_since: since, quiet_until: null, quiet_times: 0 })),
    );
    expect(await store.db.selectFrom('connector_mac').selectAll().executeTakeFirst()).toMatchObject({
      heard_at: null,
      useless: null,
      refresh_failed: 0,
      rotate_failed: 0,
    });
    await store.close();
  });
});

/** What these migrations tell a database to do. */
async function statementsOf(migrations: readonly ((db: Kysely<unknown>) => Promise<void>)[]): Promise<string[]> {
  const statements: string[] = [];
  const dialect = {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db: Kysely<unknown>) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  };
  const db = new Kysely<unknown>({ dialect, log: ({ query }) => void statements.push(query.sql) });
  for (const up of migrations) await up(db);
  return statements;
}
