import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { postgres } from './new-database.ts';
import { type GivenServer, givenServer, hour, minute, newKey, second, type TestMac } from './server-parts.ts';
import { statementsOf, writtenBy } from './statements.ts';

// Each statement is a way to the database and back, for which a whole fleet waits: what a check-in costs is how many there are.

let server: GivenServer;
beforeAll(async () => {
  server = await givenServer();
});
afterAll(() => server.close());

/** One of them is the mark of the clock, which is written a few times a second, and not in the act. */
const onPostgres = 5;
const usual = ['enrolment', 'fleet_row', 'mac', 'memory', 'session'];

/** A Mac whose key is held and proved, and which was heard before in this boot session. */
async function quietMac(): Promise<TestMac & { envelopeId: string }> {
  const mac = await server.newMac();
  const { envelopeId } = await mac.escrowed();
  const [order] = (await mac.checkIn()).proofOrders;
  await mac.prove(envelopeId, 'true', { orderId: order?.id ?? null });
  await server.custody.fleetIsFresh();
  server.wall.pass(15 * minute);
  return Object.assign(mac, { envelopeId });
}

test('a quiet check-in asks the database at most 7 times, and writes when its Mac was seen', async () => {
  const mac = await quietMac();
  const statements = await statementsOf(() => mac.checkIn({ offers: [mac.envelopeId] }));
  expect(mac.last).toMatchObject({ custody: 'held', wanted: [], debts: [], proofOrders: [] });
  expect(statements.length).toBeLessThanOrEqual(postgres === null ? 7 : onPostgres);
  expect(statements.length).toBeGreaterThan(2);
  expect(usual).toEqual(expect.arrayContaining(writtenBy(statements)));
});

test('a Mac that still has the envelope of the key before asks once more', async () => {
  const mac = await quietMac();
  await mac.owe();
  server.wall.pass(hour);
  const { envelopeId } = await mac.rotate();
  await mac.checkIn();
  await server.custody.fleetIsFresh();
  server.wall.pass(15 * minute);
  const statements = await statementsOf(() => mac.checkIn({ offers: [mac.envelopeId, envelopeId] }));
  expect(mac.last).toMatchObject({ custody: 'held', wanted: [], debts: [], proofOrders: [] });
  expect(statements.length).toBeLessThanOrEqual(postgres === null ? 8 : onPostgres + 1);
  expect(usual).toEqual(expect.arrayContaining(writtenBy(statements)));
});

test('a check-in of a Mac that owes a replacement asks about what it owes beside', async () => {
  const mac = await quietMac();
  await server.custody.orderRotation({ macId: mac.id, actor: 'grace', reason: 'test' });
  const statements = await statementsOf(() => mac.checkIn());
  expect(mac.last?.debts).toMatchObject([{ because: 'ordered' }]);
  expect(statements.length).toBeLessThanOrEqual(postgres === null ? 9 : onPostgres + 3);
});

test('a key that is delivered in a rotation is stored with at most 40 statements', async () => {
  const mac = await quietMac();
  await server.custody.orderRotation({ macId: mac.id, actor: 'grace', reason: 'test' });
  const debtIds = (await mac.checkIn()).debts.map(({ id }) => id);
  const { rotationId } = await mac.begin({ debtIds });
  server.wall.pass(second);
  const key = newKey();
  const statements = await statementsOf(() => mac.deliver(key, { source: 'rotation', validated: 'true', rotationId }));
  expect((await mac.checkIn()).debts).toEqual([]);
  expect(statements.length).toBeLessThanOrEqual(40);
});
