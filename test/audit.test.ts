import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { audit, canonicalJson, verifyAudit } from '../server/audit.ts';
import { whileAsking } from '../server/auditing/asking.ts';
import { openDatabase } from '../server/database.ts';
import { refuseWrites } from './refused-writes.ts';
import { scratch } from './scratch.ts';
import { givenServer, newKey } from './server-parts.ts';

const entry = (n: number) => ({ at: 1000 + n, actor: 'tester', act: 'test.done', macId: null, details: { n, words: 'ä "quoted"' } });

async function givenAudit(entries: number) {
  const server = await givenServer();
  for (let n = 1; n <= entries; n += 1) await server.store.write((tx) => audit(tx, entry(n)));
  return server;
}

test('one value has one text, whatever the order of its parts', () => {
  expect(canonicalJson({ b: [1, { z: null, a: 'x' }], a: undefined, c: true })).toBe('{"b":[1,{"a":"x","z":null}],"c":true}');
});

test('each entry carries the hash of the one before, and anybody can check it', async () => {
  const { store, close } = await givenAudit(3);
  const rows = await store.db.selectFrom('audit').selectAll().orderBy('seq').execute();
  let previous = '0'.repeat(64);
  for (const { hash, mac_id: macId, ...row } of rows) {
    expect(row.previous).toBe(previous);
    const text = JSON.stringify({ act: row.act, actor: row.actor, at: row.at, details: row.details, macId, previous: row.previous, seq: row.seq });
    expect(createHash('sha256').update(text).digest('hex')).toBe(hash);
    previous = hash;
  }
  expect(await verifyAudit(store)).toEqual({ rows: 3, ok: true });
  await close();
});

test('a recovery key that has got into the words of an act is not written down', async () => {
  const { store, close } = await givenServer();
  const key = newKey().reveal();
  await store.write((tx) => audit(tx, { ...entry(1), details: { reason: `the Mac showed ${key.toLowerCase()}`, id: crypto.randomUUID() } }));
  const last = await store.db.selectFrom('audit').select('details').orderBy('seq', 'desc').limit(1).executeTakeFirstOrThrow();
  expect(JSON.parse(last.details)).toEqual({ reason: 'the Mac showed [recovery key]', id: expect.stringMatching(/^[0-9a-f-]{36}$/) });
  expect(await verifyAudit(store)).toMatchObject({ ok: true });
  await close();
});

test.each([
  ['a changed word', "update audit set details = replace(details, 'quoted', 'other') where seq = 2", 2],
  ['another actor', "update audit set actor = 'nobody' where seq = 3", 3],
  ['a missing entry', 'delete from audit where seq = 2', 2],
  ['a date', 'update audit set at = 1 where seq = 1', 1],
  [
    'an entry put before the first',
    'insert into audit (seq, at, actor, act, mac_id, details, previous, hash) select 0, at, actor, act, mac_id, details, previous, hash from audit where seq = 1',
    0,
  ],
])('%s breaks the chain where it happened', async (_what, statement, brokenAt) => {
  const { store, close } = await givenAudit(4);
  await sql.raw(statement).execute(store.db);
  expect(await verifyAudit(store)).toMatchObject({ ok: false, brokenAt });
  await close();
});

test('records of before stay what they were, and those of today say by which request they came', async () => {
  const file = join(scratch('audit-older'), 'server.sqlite');
  const older = await openDatabase(file, { schema: 4 });
  for (let n = 1; n <= 3; n += 1) await older.write((tx) => audit(tx, entry(n)));
  const before = await older.db.selectFrom('audit').select('hash').orderBy('seq').execute();
  await older.close();
  const store = await openDatabase(file);
  await whileAsking({ requestId: 'req-1', network: '192.0.2.1', tokenId: null }, () => store.write((tx) => audit(tx, entry(4))));
  expect(await verifyAudit(store)).toEqual({ rows: 4, ok: true });
  const rows = await store.db.selectFrom('audit').select(['hash', 'request_id', 'network', 'token_id']).orderBy('seq').execute();
  expect(rows.slice(0, 3)).toEqual(before.map(({ hash }) => ({ hash, request_id: null, network: null, token_id: null })));
  expect(rows[3]).toMatchObject({ request_id: 'req-1', network: '192.0.2.1', token_id: null });
  await store.close();
});

test('a long chain is walked to its end', async () => {
  const server = await givenServer();
  await server.store.write(async (tx) => {
    for (let n = 1; n <= 2500; n += 1) await audit(tx, entry(n));
  });
  expect(await verifyAudit(server.store)).toEqual({ rows: 2500, ok: true });
  await server.close();
});

test('what cannot be written into the audit does not happen', async () => {
  const server = await givenServer();
  const mac = await server.newMac();
  const { recordId, envelopeId } = await mac.escrowed();
  await refuseWrites(server.store, 'no_audit', 'insert on audit');
  const before = await contents(server);

  await expect(mac.deliver(mac.seal(newKey()))).rejects.toThrow('no_audit');
  await expect(mac.owe('used', envelopeId)).rejects.toThrow('no_audit');
  await expect(server.custody.disclose({ macId: mac.id, actor: 'admin', reason: 'locked out' })).rejects.toThrow('no_audit');
  await expect(server.custody.orderRotation({ macId: mac.id, actor: 'admin', reason: 'because' })).rejects.toThrow('no_audit');
  expect(await contents(server)).toEqual(before);
  expect((await mac.states())[recordId]).toBe('held');
  expect(server.escrow.opened).toBe(2);
  await server.close();
});

/** Every row of every table that an act of these may touch. */
async function contents({ store }: Awaited<ReturnType<typeof givenServer>>) {
  const tables = [
    'key_record',
    'envelope',
    'key_block',
    'debt',
    'rotation_order',
    'rotation',
    'disclosure',
    'proof_order',
    'grant_given',
    'mac',
    'audit',
  ] as const;
  return Object.fromEntries(await Promise.all(tables.map(async (table) => [table, await store.db.selectFrom(table).selectAll().execute()])));
}
