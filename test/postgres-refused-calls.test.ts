import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { grantStatement, makeRunKey } from '../protocol/grant.ts';
import { checkInBody, deviceIdentity, enrol, newMac, newPair, type TestMac } from './device-calls.ts';
import { givenPortal } from './given-portal.ts';
import { delivery, type GivenServer, givenServer } from './given-server.ts';
import { placeOf, postgres } from './new-database.ts';
import { asOwner } from './postgres-databases.ts';
import { signTo } from './sign-statement.ts';
import type { Answer, Identity } from './tls-client.ts';

// What Macs and people are told while the database is away, or lost in the middle: try again. Never a word by which a Mac would give up.

let given: GivenServer;
let name = '';
const pair = newPair();
let mac: TestMac;
let identity: Identity;
let enrolmentId = '';
const check = (body: object = {}): Promise<Answer> => given.client.ask('/v1/check-in', { identity, body: checkInBody(mac, body) });

beforeAll(async () => {
  given = await givenServer();
  name = new URL(placeOf(`${given.dir}/sparekey.sqlite`)).pathname.slice(1);
  mac = newMac();
  const made = await enrol(given, mac, { profile: deviceIdentity({ CN: 'A Mac', serialNumber: mac.serial }), pair });
  ({ identity, enrolmentId } = made);
  expect((await check()).status).toBe(200);
  const { id, request } = delivery(given, mac);
  expect((await given.client.ask(`/v1/keys/${id}`, { identity, method: 'PUT', body: request })).status).toBe(201);
});
afterAll(() => asOwner(postgres ?? '', (client) => client.query(`alter database ${name} with allow_connections true`)));

/** Each way of asking; again with the same words, as a Mac does that was not answered. */
async function calls(): Promise<Record<string, () => Promise<Answer>>> {
  const { hardwareUuid, volume, boot } = mac;
  const reply = (await check({ debts: [{ id: randomUUID(), because: 'aged', envelopeId: null, boot }] })).body;
  const other = newMac();
  const profile = deviceIdentity({ CN: 'Another', serialNumber: other.serial });
  const third = newMac();
  const tls = deviceIdentity({ CN: 'A third', serialNumber: third.serial });
  const direct = newMac();
  const own = deviceIdentity({ CN: 'A fourth', serialNumber: direct.serial });
  const [keyOfOther, keyOfThird] = [newPair(), newPair()];
  const sent = delivery(given, mac, { source: 'agent' });
  const run = await makeRunKey();
  const [order] = reply.proofOrders;
  const asked = {
    purpose: 'prove' as const,
    recordId: order?.recordId ?? '',
    forId: order?.id ?? '',
    boot,
    publicKey: run.publicKey,
    grantNonce: reply.grantNonce,
    enrolmentId,
  };
  const grant = { ...asked, signature: signTo.key(grantStatement(asked), pair.privateKey) };
  const begin = {
    id: randomUUID(),
    because: 'aged',
    debtIds: reply.debts.map(({ id }: { id: string }) => id),
    hardwareUuid,
    volume,
    boot,
    recipient: given.serving.backend.escrowKeys.certificates[0]?.digest,
    escrowPayload: 'ours',
    grant: null,
  };
  return {
    'an enrolment by a profile': async () => (await enrol(given, other, { profile, pair: keyOfOther })).answer,
    'an enrolment by a client certificate': async () => (await enrol(given, third, { tls, pair: keyOfThird })).answer,
    'a first check-in with a certificate of the profile': () => given.client.ask('/v1/check-in', { identity: own, body: checkInBody(direct) }),
    'a delivery': () => given.client.ask(`/v1/keys/${sent.id}`, { identity, method: 'PUT', body: sent.request }),
    'a grant': () => given.client.ask('/v1/grants', { identity, body: grant }),
    'a begin': () => given.client.ask('/v1/rotations', { identity, body: begin }),
    'a check-in': () => check({ debts: [{ id: randomUUID(), because: 'used', envelopeId: null, boot }] }),
  };
}

const told = async (asked: () => Promise<Answer>): Promise<string> => {
  const { status, body } = await asked();
  return status < 300 ? 'done' : `${status} ${body?.code}`;
};

describe('every call of a Mac is answered 503 STORE_FAILED, and does its work when it comes again', () => {
  test('while the database takes no connections', async () => {
    const all = await calls();
    await asOwner(postgres ?? '', async (client) => {
      await client.query(`alter database ${name} with allow_connections false`);
      await client.query('select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1', [name]);
    });
    const words = await Promise.all(Object.values(all).map(told));
    await asOwner(postgres ?? '', (client) => client.query(`alter database ${name} with allow_connections true`));
    expect(Object.fromEntries(Object.keys(all).map((one, at) => [one, words[at]]))).toEqual(
      Object.fromEntries(Object.keys(all).map((one) => [one, '503 STORE_FAILED'])),
    );
    for (const [one, asked] of Object.entries(all)) expect([one, await told(asked)]).toEqual([one, 'done']);
  });

  test('where the connection is lost at the commit, so that nobody knows what was stored', async () => {
    const { store } = given.serving.backend;
    const rotation = await store.db.selectFrom('rotation').select('id').where('state', '=', 'begun').executeTakeFirst();
    if (rotation) await check({ endings: [{ rotationId: rotation.id, as: 'not-changed', detail: 'R1' }] });
    const all = await calls();
    // A grant is given once a day: its own way is the test above.
    delete all['a grant'];
    await sql`create function lose_it() returns trigger language plpgsql as $$ begin perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(1); return null; end $$`.execute(
      store.db,
    );
    await sql`create constraint trigger lose_it after insert on audit deferrable initially deferred for each row execute function lose_it()`.execute(store.db);
    const words: Record<string, string> = {};
    for (const [one, asked] of Object.entries(all)) words[one] = await told(asked);
    await sql`drop trigger lose_it on audit`.execute(store.db);
    await sql`drop function lose_it()`.execute(store.db);
    expect(words).toEqual(Object.fromEntries(Object.keys(all).map((one) => [one, '503 STORE_FAILED'])));
    for (const [one, asked] of Object.entries(all)) expect([one, await told(asked)]).toEqual([one, 'done']);
  });
});

test('somebody at the portal is told to try again while the database takes no connections, stays signed in, and goes on afterwards', async () => {
  const it = await givenPortal();
  const person = await it.portal.person();
  const { rows } = await sql<{ name: string }>`select current_database() as name`.execute(it.backend.store.db);
  const database = rows[0]?.name ?? '';
  await asOwner(postgres ?? '', async (client) => {
    await client.query(`alter database ${database} with allow_connections false`);
    await client.query('select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1', [database]);
  });
  const during = await person.client.get('/');
  await asOwner(postgres ?? '', (client) => client.query(`alter database ${database} with allow_connections true`));
  expect([during.status, during.path]).toEqual([503, '/']);
  const after = await person.client.get('/');
  expect([after.status, after.path]).toEqual([200, '/macs']);
});
