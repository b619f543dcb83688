import { describe, expect, test } from '@jest/globals';
import { receipt as receiptSchema } from '../protocol/messages.ts';
import { createCustody } from '../server/custody.ts';
import { codeOf, day, digestOf, givenServer, hour, minute, newKey, newUuid, second, secrets, TestEscrowKeys } from './server-parts.ts';

const garbage = () => Buffer.from(`no envelope ${Math.random()}`);
/** A copy whose first byte of ciphertext is another: the block of the key is the same. */
const altered = (envelope: Buffer) => {
  const copy = Buffer.from(envelope);
  copy[copy.length - 20] = (copy[copy.length - 20] ?? 0) ^ 1;
  return copy;
};

test('the id has to be the digest of the envelope', async () => {
  const server = await givenServer();
  const mac = await server.newMac();
  const envelope = mac.seal(newKey());
  expect(await codeOf(server.custody.deliver(mac.caller(), 'a'.repeat(64), mac.delivery(envelope)))).toBe('KEY_ID_MISMATCH');
  expect(await codeOf(mac.deliver(Buffer.alloc(20_000)))).toBe('BODY_TOO_LARGE');
  expect(await mac.states()).toEqual({});
  await server.close();
});

test('what is new is 201, what is known is 200 with the present state, and nothing is written for it', async () => {
  const server = await givenServer();
  const mac = await server.newMac();
  await mac.checkIn();
  const envelope = mac.seal(newKey());
  const first = await mac.deliver(envelope, { source: 'escrow-file' });
  expect(first.status).toBe(201);
  expect(() => receiptSchema.parse(first.receipt)).not.toThrow();
  await mac.owe();
  await mac.rotate();
  const rows = (await server.acts()).length;
  const again = await mac.deliver(envelope, { source: 'rotation', validated: 'true', rotationId: 'ignored', volume: newUuid() });
  expect(again).toMatchObject({ status: 200, receipt: { state: 'superseded', recordId: first.receipt.recordId, receivedAt: first.receipt.receivedAt } });
  expect(await server.acts()).toHaveLength(rows);
  await server.close();
});

test('of deliveries that race, also through two custodies on one database, one stores and the others read its row', async () => {
  const server = await givenServer();
  const mac = await server.newMac();
  await mac.checkIn();
  const envelope = mac.seal(newKey());
  const other = createCustody({ store: server.store, clock: server.clock, escrowKeys: server.escrow, secrets, settings: server.settings });
  const answers = await Promise.all([
    mac.deliver(envelope),
    other.deliver(mac.caller(), digestOf(envelope), mac.delivery(envelope)),
    mac.deliver(envelope),
    other.deliver(mac.caller(), digestOf(envelope), mac.delivery(envelope)),
  ]);
  expect(answers.map((answer) => answer.status).toSorted()).toEqual([200, 200, 200, 201]);
  expect(new Set(answers.map((answer) => answer.receipt.recordId)).size).toBe(1);
  expect(Object.keys(await mac.states())).toHaveLength(1);
  await server.close();
});

test('only what has no row is wanted, each once', async () => {
  const server = await givenServer();
  const mac = await server.newMac();
  const { envelopeId } = await mac.escrowed();
  const fresh = 'b'.repeat(64);
  expect((await mac.checkIn({ offers: [envelopeId, fresh, fresh] })).wanted).toEqual([fresh]);
  await server.close();
});

test('a Mac delivers for itself only, and its envelope under another Mac is never opened', async () => {
  const server = await givenServer();
  const [one, two] = [await server.newMac(), await server.newMac()];
  await one.checkIn();
  await two.checkIn();
  const envelope = one.seal(newKey());
  await one.deliver(envelope);
  const opened = server.escrow.opened;
  const stolen = await two.deliver(envelope);
  expect(stolen.receipt).toMatchObject({ state: 'quarantined', readable: 'no' });
  expect(server.escrow.opened).toBe(opened);
  expect(await server.alarms()).toEqual(['ENVELOPE_REUSED']);
  expect((await server.custody.custodyOf(one.id)).state).toBe('held');
  await server.close();
});

test('a key block in another envelope is never opened; the Mac is told what it is told of any unreadable one', async () => {
  const server = await givenServer();
  const mac = await server.newMac();
  await mac.checkIn();
  const envelope = mac.seal(newKey());
  await mac.deliver(envelope);
  const opened = server.escrow.opened;
  const reused = await mac.deliver(altered(envelope));
  expect(server.escrow.opened).toBe(opened);
  const fresh = await mac.deliver(altered(mac.seal(newKey())));
  expect(server.escrow.opened).toBe(opened + 1);
  const nothing = await mac.deliver(garbage());
  const told = [reused, fresh, nothing].map(({ status, receipt }) => ({ status, readable: receipt.readable, state: receipt.state }));
  expect(new Set(told.map((answer) => JSON.stringify(answer))).size).toBe(1);
  expect((await server.acts('key.quarantined')).map((act) => act.details['cause'])).toEqual([
    'ENVELOPE_REUSED',
    'it does not open to a recovery key',
    'not a complete CMS envelope',
  ]);
  await server.close();
});

test('reused, not a key and not CMS are answered no sooner than the end of one time slot', async () => {
  const server = await givenServer();
  const mac = await server.newMac();
  await mac.checkIn();
  const envelope = mac.seal(newKey());
  await mac.deliver(envelope);
  for (const bytes of [altered(envelope), garbage()]) {
    const start = performance.now();
    await mac.deliver(bytes);
    const took = performance.now() - start;
    expect(took).toBeGreaterThan(245);
  }
  await server.close();
});

test('after 3 unreadable deliveries in 24 h further ones are kept unopened until an admin has looked', async () => {
  const server = await givenServer();
  const mac = await server.newMac();
  await mac.checkIn();
  await Promise.all([mac.deliver(garbage()), mac.deliver(garbage()), mac.deliver(garbage())]);
  const opened = server.escrow.opened;
  const good = newKey();
  const kept = (await mac.deliver(good)).receipt;
  expect(kept).toMatchObject({ state: 'quarantined', readable: 'no' });
  server.wall.pass(2 * day);
  expect((await mac.deliver(newKey())).receipt.state).toBe('quarantined');
  expect(server.escrow.opened).toBe(opened);
  expect(await server.custody.openLater()).toEqual({ opened: 0, unreadable: 0, waiting: 0 });

  const [alarm] = (await server.custody.fleet()).alarms;
  expect(alarm?.code).toBe('UNREADABLE_DELIVERIES');
  await server.custody.judgeAlarm({ alarmId: alarm?.id ?? '', actor: 'admin', judgement: 'a broken disk' });
  expect((await server.custody.openLater()).opened).toBe(2);
  expect((await mac.states())[kept.recordId]).toBe('held');
  expect((await mac.deliver(garbage())).receipt.state).toBe('quarantined');
  expect((await mac.deliver(newKey())).receipt.readable).toBe('yes');
  await server.close();
});

test('three guesses in more than 24 h do not stop a Mac', async () => {
  const server = await givenServer();
  const mac = await server.newMac();
  await mac.checkIn();
  await mac.deliver(garbage());
  await mac.deliver(garbage());
  server.wall.pass(day + minute);
  await mac.deliver(garbage());
  expect((await mac.deliver(newKey())).receipt.readable).toBe('yes');
  await server.close();
});

test('a delivery from other hardware than the enrolment’s is refused, supersedes nothing, and is an alarm', async () => {
  const server = await givenServer();
  const mac = await server.newMac();
  const { recordId } = await mac.escrowed();
  expect(await codeOf(mac.deliver(newKey(), { hardwareUuid: newUuid() }))).toBe('IDENTITY_MOVED');
  expect(await mac.states()).toEqual({ [recordId]: 'held' });
  expect(await server.alarms()).toEqual(['IDENTITY_MOVED']);
  await server.close();
});

describe('an enrolment that was ended', () => {
  test('after it began a rotation: its envelope is kept unopened, and answered DELIVERY_QUARANTINED, each time', async () => {
    const server = await givenServer();
    const mac = await server.newMac();
    const { recordId } = await mac.escrowed();
    await mac.owe();
    const { rotationId } = await mac.begin();
    const opened = server.escrow.opened;
    const envelope = mac.seal(newKey());
    const wish = { source: 'rotation', validated: 'true', rotationId } as const;
    expect(await codeOf(mac.deliver(envelope, wish, { standing: 'revoked-late' }))).toBe('DELIVERY_QUARANTINED');
    expect(await codeOf(mac.deliver(envelope, wish, { standing: 'revoked-late' }))).toBe('DELIVERY_QUARANTINED');
    expect(server.escrow.opened).toBe(opened);
    expect(Object.values(await mac.states()).toSorted()).toEqual(['held', 'quarantined']);
    expect((await mac.states())[recordId]).toBe('held');
    await server.close();
  });

  test('may do nothing else', async () => {
    const server = await givenServer();
    const mac = await server.newMac();
    await mac.escrowed();
    const ended = { standing: 'revoked-late' } as const;
    expect(await codeOf(mac.deliver(newKey(), {}, ended))).toBe('ENROLMENT_REVOKED');
    expect(await codeOf(mac.checkIn({}, ended))).toBe('ENROLMENT_REVOKED');
    expect(await codeOf(mac.begin({}, ended))).toBe('ENROLMENT_REVOKED');
    expect(Object.values(await mac.states())).toEqual(['held']);
    await server.close();
  });
});

describe('an opener that does not answer', () => {
  test('the envelope is stored first, as a candidate, and 2.1 is applied when it could be opened', async () => {
    const server = await givenServer();
    const mac = await server.newMac();
    await mac.checkIn();
    server.escrow.answers = false;
    const { status, receipt } = await mac.deliver(newKey(), { source: 'escrow-file' });
    expect({ status, state: receipt.state, readable: receipt.readable }).toEqual({ status: 201, state: 'candidate', readable: 'not-tried' });
    expect(await server.custody.openLater()).toEqual({ opened: 0, unreadable: 0, waiting: 1 });
    server.escrow.answers = true;
    expect(await server.custody.openLater()).toEqual({ opened: 1, unreadable: 0, waiting: 0 });
    expect(await mac.checkIn()).toMatchObject({ custody: 'held', held: { recordId: receipt.recordId } });
    expect(await server.custody.openLater()).toEqual({ opened: 0, unreadable: 0, waiting: 0 });
    await server.close();
  });

  test('K3 then still ends the rotation, K2 still finds the record it belongs to, K1 still quarantines', async () => {
    const server = await givenServer();
    const mac = await server.newMac();
    const old = await mac.escrowed();
    await mac.owe();
    const { rotationId } = await mac.begin();
    server.wall.pass(second);
    server.escrow.answers = false;
    const key = newKey();
    const made = (await mac.deliver(key, { source: 'rotation', validated: 'true', rotationId })).receipt;
    const witness = (await mac.deliver(old.key)).receipt;
    const broken = (await mac.deliver(altered(mac.seal(newKey())))).receipt;
    expect([made.state, witness.state, broken.state]).toEqual(['candidate', 'candidate', 'candidate']);
    server.wall.pass(minute);
    server.escrow.answers = true;
    expect(await server.custody.openLater()).toEqual({ opened: 2, unreadable: 1, waiting: 0 });
    expect(await mac.states()).toMatchObject({ [made.recordId]: 'held', [old.recordId]: 'superseded', [broken.recordId]: 'quarantined' });
    expect(await mac.checkIn()).toMatchObject({ custody: 'held', rotation: null, debts: [], candidates: [] });
    expect((await mac.deliver(old.key)).receipt.recordId).toBe(old.recordId);
    await server.close();
  });

  test('a row that was changed while it waited is not opened', async () => {
    const server = await givenServer();
    const mac = await server.newMac();
    await mac.checkIn();
    server.escrow.answers = false;
    const { receipt } = await mac.deliver(newKey());
    await server.store.db.updateTable('key_record').set({ volume: newUuid() }).where('id', '=', receipt.recordId).execute();
    server.escrow.answers = true;
    expect((await server.custody.openLater()).opened).toBe(0);
    expect(await server.alarms()).toEqual(['ROW_TAMPERED']);
    await server.close();
  });
});

describe('a server that can never open', () => {
  const sealed = async () => {
    const escrow = new TestEscrowKeys();
    escrow.canOpen = false;
    const server = await givenServer({}, escrow);
    return { server, escrow, mac: await server.newMac() };
  };

  test('takes a well-addressed envelope for a key: held, unopened, and counted apart', async () => {
    const { server, mac } = await sealed();
    const { recordId } = await mac.escrowed();
    expect(await server.custody.custodyOf(mac.id)).toMatchObject({ state: 'held', unopened: true, heldRecordId: recordId });
    expect((await server.custody.fleet()).counts).toMatchObject({ held: 0, 'held, unopened': 1 });
    expect((await mac.deliver(garbage())).receipt.state).toBe('quarantined');
    expect(await codeOf(server.custody.disclose({ macId: mac.id, actor: 'admin', reason: 'test' }))).toBe('CANNOT_OPEN');
    await server.close();
  });

  test.each([true, false])('macOS’s file and the agent’s envelope of one rotation are one key, whichever comes first (file first: %s)', async (fileFirst) => {
    const { server, mac } = await sealed();
    const old = await mac.escrowed();
    await mac.owe();
    const { rotationId } = await mac.begin();
    server.wall.pass(second);
    const key = newKey();
    const made = () => mac.deliver(key, { source: 'rotation', validated: 'true', rotationId });
    const file = () => mac.deliver(key, { source: 'escrow-file', rotationId });
    const [first, then] = fileFirst ? [await file(), await made()] : [await made(), await file()];
    expect(then.receipt).toMatchObject({ recordId: first.receipt.recordId, state: 'held', readable: 'not-tried' });
    expect(await mac.states()).toEqual({ [old.recordId]: 'superseded', [first.receipt.recordId]: 'held' });
    expect((await mac.checkIn()).rotation).toBeNull();
    await server.close();
  });

  test('opened one day, witnesses that agree stay one key, and those that do not are told apart with an alarm', async () => {
    const { server, mac } = await sealed();
    await mac.escrowed();
    await mac.owe();
    const { rotationId } = await mac.begin();
    server.wall.pass(second);
    const made = (await mac.deliver(newKey(), { source: 'rotation', validated: 'true', rotationId })).receipt;
    server.wall.pass(second);
    await mac.deliver(newKey(), { source: 'escrow-file', rotationId });
    server.wall.pass(hour);
    const later = createCustody({ store: server.store, clock: server.clock, escrowKeys: new TestEscrowKeys(), secrets, settings: server.settings });
    expect((await later.openLater()).opened).toBe(3);
    expect(await server.alarms()).toEqual(['WITNESS_DIFFERS']);
    expect(await later.custodyOf(mac.id)).toMatchObject({ state: 'doubtful', unopened: false, heldRecordId: made.recordId, candidates: 1 });
    await server.close();
  });
});
