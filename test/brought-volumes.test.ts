import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import type { Bringing } from '../server/brought/bringing.ts';
import { bringTo, envelopeFor, recordOf, rowOf } from './brought-parts.ts';
import { day, digestOf, type GivenServer, givenServer, hour, minute, newKey, newUuid, type TestMac } from './server-parts.ts';

/* A key that others had, and a Mac with two systems: what one volume says is not the other's, and no key goes because of it. */

let server: GivenServer;
beforeAll(async () => {
  server = await givenServer();
});
afterAll(() => server.close());

const { newMac, bring } = bringTo(() => server, 'C02VOLUM');
const startFrom = async (mac: TestMac, volume: string, isQuiet = false): Promise<void> => {
  server.wall.pass(hour);
  mac.volume = volume;
  mac.reboot();
  if (!isQuiet) await mac.checkIn();
};
const sealedFor = (mac: TestMac, key: RecoveryKey) => envelopeFor(server, mac.seal(key));
const recordIdOf = async (keyId: string | null) => (await rowOf(server, keyId)).record_id ?? '';
const envelopeIdOf = async (keyId: string | null) => (await rowOf(server, keyId)).envelope_id;
const envelopesOf = (recordId: string) => server.store.db.selectFrom('envelope').selectAll().where('record_id', '=', recordId).execute();
const refute = async (mac: TestMac, envelopeId: string): Promise<void> => {
  await mac.prove(envelopeId, 'false');
  server.wall.pass(11 * minute);
  await mac.prove(envelopeId, 'false');
};
const show = (mac: TestMac, refused: string[] = []) => server.custody.disclose({ macId: mac.id, actor: 'ada', reason: 'locked out', refused });

describe('an answer that was said on one volume, and comes after the Mac was on the other', () => {
  test('K7: true is the first volume’s: nothing of the second goes for it, and the grant that it was given with is closed', async () => {
    const mac = await newMac();
    const [first, second] = [mac.volume, newUuid()];
    await startFrom(mac, second);
    const other = await mac.escrowed();
    await startFrom(mac, first);
    const { keyId } = await bring(mac.serial, newKey());
    const here = await recordIdOf(keyId);
    const [order] = (await mac.checkIn()).proofOrders;
    const asked = await mac.ask('prove', here, order?.id ?? '');
    await asked.give();
    const answer = { boot: mac.boot, uptimeSeconds: mac.uptimeSeconds + 1, envelopeId: await envelopeIdOf(keyId), orderId: order?.id ?? null, settled: true };
    // Its check-in is lost.
    await startFrom(mac, second);
    const there = await recordIdOf(keyId);
    expect(there).not.toBe(here);
    await startFrom(mac, first, true);
    await mac.checkIn({ proofs: [{ ...answer, id: 'said-on-the-first', answer: 'true' }] });
    expect(await recordOf(server, here)).toMatchObject({ state: 'held', proved_at: expect.any(Number), volume: first });
    expect(await recordOf(server, there)).toMatchObject({ state: 'superseded', proved_at: null });
    expect(await recordOf(server, other.recordId)).toMatchObject({ state: 'held' });
    expect(await server.store.db.selectFrom('debt').select('because').where('mac_id', '=', mac.id).where('closed_at', 'is', null).execute()).toEqual([]);
  });

  test('K7, K8: about a key that is the other volume’s says nothing of that, true or false', async () => {
    const mac = await newMac();
    const [first, second] = [mac.volume, newUuid()];
    await mac.prove((await mac.escrowed()).envelopeId, 'true');
    await startFrom(mac, second);
    const other = await mac.escrowed();
    const { keyId } = await bring(mac.serial, newKey());
    const there = await recordIdOf(keyId);
    await startFrom(mac, first);
    await mac.prove(await envelopeIdOf(keyId), 'true');
    await refute(mac, await envelopeIdOf(keyId));
    expect(await recordOf(server, there)).toMatchObject({ state: 'candidate', proved_at: null, first_false_at: null, volume: second });
    expect(await recordOf(server, other.recordId)).toMatchObject({ state: 'held' });
  });
});

test('an import that the Mac was given on one volume, and has not answered for, is not taken back because it went to the other meanwhile', async () => {
  const mac = await newMac();
  const run = {
    id: 'run-asked',
    source: 'csv',
    name: 'x',
    digest: null,
    mapping: '{}',
    actor: 'ada',
    reason: 'x',
    started_at: 1,
    ended_at: 1,
    withdrawn_at: null,
  };
  await server.store.write((tx) => tx.insertInto('import_run').values(run).execute());
  const { keyId } = await bring(mac.serial, newKey(), { runId: run.id });
  const [order] = (await mac.checkIn()).proofOrders;
  await (await mac.ask('prove', await recordIdOf(keyId), order?.id ?? '')).give();
  await startFrom(mac, newUuid());
  expect(await server.custody.withdrawRun({ runId: run.id, actor: 'ada', reason: 'wrong file' })).toEqual({ withdrawn: 0, kept: 1 });
});

test('the grant of a proof is closed by its answer, also where the key stays with the other volume', async () => {
  const mac = await newMac();
  const first = mac.volume;
  const { keyId } = await bring(mac.serial, newKey());
  const here = await recordIdOf(keyId);
  const order = (await mac.checkIn()).proofOrders.find(({ recordId }) => recordId === here);
  await (await mac.ask('prove', here, order?.id ?? '')).give();
  const answer = { envelopeId: await envelopeIdOf(keyId), orderId: order?.id ?? null, answer: 'false', settled: true, boot: mac.boot } as const;
  const uptimeSeconds = mac.uptimeSeconds + 1;
  await startFrom(mac, newUuid());
  const there = await recordIdOf(keyId);
  // What came since is asked about first when the Mac is back.
  await bring(mac.serial, newKey());
  await startFrom(mac, first, true);
  await mac.checkIn({ proofs: [{ ...answer, id: 'guess', uptimeSeconds }] });
  expect(await envelopesOf(there)).toHaveLength(1);
  expect(await recordOf(server, there)).toMatchObject({ first_false_at: null });
  expect(await server.store.db.selectFrom('debt').select('because').where('mac_id', '=', mac.id).where('closed_at', 'is', null).execute()).toEqual([]);
});

describe('retention', () => {
  test('K9: leaves a guess that one volume refuted for the other that was never asked', async () => {
    const mac = await newMac();
    const [first, second] = [mac.volume, newUuid()];
    await startFrom(mac, second);
    const key = newKey();
    const { keyId } = await bring(mac.serial, key);
    await startFrom(mac, first);
    const here = await recordIdOf(keyId);
    await refute(mac, await envelopeIdOf(keyId));
    server.wall.pass(hour);
    await mac.prove((await mac.escrowed()).envelopeId, 'true');
    server.wall.pass(91 * day);
    await server.custody.retire();
    expect(await recordOf(server, here)).toMatchObject({ state: 'superseded', volume: first });
    await startFrom(mac, second);
    const there = await recordIdOf(keyId);
    expect(await recordOf(server, there)).toMatchObject({ state: 'candidate', volume: second });
    expect((await show(mac)).key.equals(key)).toBe(true);
    // When that one has refused it too, it goes.
    await refute(mac, await envelopeIdOf(keyId));
    server.wall.pass(hour);
    await mac.prove((await mac.escrowed()).envelopeId, 'true');
    server.wall.pass(91 * day);
    await server.custody.retire();
    expect(await recordOf(server, there)).toMatchObject({ state: 'destroyed' });
    expect((await rowOf(server, keyId)).bytes).toBeNull();
  });

  test('K9: leaves a guess that one volume refuted for another that has never heard of it, until that one is a year old', async () => {
    const mac = await newMac();
    const [first, second] = [mac.volume, newUuid()];
    await startFrom(mac, second);
    await mac.escrowed();
    await startFrom(mac, first);
    const { keyId } = await bring(mac.serial, newKey());
    const here = await recordIdOf(keyId);
    await refute(mac, await envelopeIdOf(keyId));
    server.wall.pass(hour);
    await mac.prove((await mac.escrowed()).envelopeId, 'true');
    server.wall.pass(91 * day);
    await server.custody.retire();
    expect(await recordOf(server, here)).toMatchObject({ state: 'superseded', volume: first });
    expect((await rowOf(server, keyId)).bytes).not.toBeNull();
    server.wall.pass(300 * day);
    await server.custody.retire();
    expect(await recordOf(server, here)).toMatchObject({ state: 'destroyed' });
  });
});

describe('a record whose envelope went with the Mac to the other volume', () => {
  test('is offered to nobody: the key before the held one is the one that has its bytes, and it keeps the time of its end', async () => {
    const mac = await newMac();
    const [first, second] = [mac.volume, newUuid()];
    const before = await mac.escrowed();
    server.wall.pass(minute);
    const { keyId } = await bring(mac.serial, newKey());
    const here = await recordIdOf(keyId);
    server.wall.pass(hour);
    const held = await mac.escrowed();
    await mac.prove(held.envelopeId, 'true');
    const ended = (await recordOf(server, here)).state_at;
    expect(await recordOf(server, here)).toMatchObject({ state: 'superseded' });
    await startFrom(mac, second);
    expect(await recordIdOf(keyId)).not.toBe(here);
    expect(await recordOf(server, here)).toMatchObject({ state: 'superseded', state_at: ended });
    await startFrom(mac, first);
    expect((await show(mac)).key.equals(held.key)).toBe(true);
    expect((await show(mac, [held.recordId])).key.equals(before.key)).toBe(true);
  });

  test('K1: or to one that counts, stays quarantined if it was that: nobody is offered it', async () => {
    const mac = await newMac();
    await mac.escrowed();
    await mac.owe('aged');
    const { rotationId } = await mac.begin();
    const envelope = sealedFor(mac, newKey());
    const late = mac.deliver(envelope.bytes, { source: 'rotation', rotationId }, { standing: 'revoked-late' });
    await expect(late).rejects.toMatchObject({ code: 'DELIVERY_QUARANTINED' });
    const [before] = await server.store.db.selectFrom('key_record').selectAll().where('mac_id', '=', mac.id).where('state', '=', 'quarantined').execute();
    server.wall.pass(hour);
    const { keyId, fate } = await bring(mac.serial, null, { source: 'mdm-cms', envelope });
    expect(fate).toBe('offered');
    const now = await recordIdOf(keyId);
    expect(now).not.toBe(before?.id);
    expect(await envelopesOf(now)).toHaveLength(1);
    expect(await recordOf(server, before?.id ?? '')).toMatchObject({ state: 'quarantined', state_at: before?.state_at });
  });

  test('takes its hold along, as it does its debt: whoever was shown the key is left alone on the other volume too', async () => {
    const mac = await newMac();
    const { keyId } = await bring(mac.serial, newKey());
    await show(mac);
    mac.settledUser = null;
    await startFrom(mac, newUuid());
    expect(await recordOf(server, await recordIdOf(keyId))).toMatchObject({ volume: mac.volume, disclosed_at: expect.any(Number) });
    const { debts, hold } = await mac.checkIn();
    expect(debts.map(({ because }) => because)).toEqual(['disclosed']);
    expect(hold).toMatchObject({ until: expect.any(String) });
    // Back in, the same as ever.
    mac.settledUser = 'owner';
    mac.secureTokenUsers = 1;
    expect((await mac.checkIn()).hold).toBeNull();
  });
});

describe('macOS’s escrow file of this volume', () => {
  test('K6: has not come by a record of it on the other volume: custody is in doubt, the file is wanted, and delivered it is this volume’s', async () => {
    const mac = await newMac();
    const [first, second] = [mac.volume, newUuid()];
    await mac.prove((await mac.escrowed()).envelopeId, 'true');
    await startFrom(mac, second);
    const key = newKey();
    const envelope = sealedFor(mac, key);
    const { keyId } = await bring(mac.serial, null, { source: 'mdm-cms', envelope });
    const id = digestOf(envelope.bytes);
    await refute(mac, id);
    const there = await recordIdOf(keyId);
    expect(await recordOf(server, there)).toMatchObject({ state: 'superseded', volume: second });
    mac.escrowFile = { digest: id, recipient: null, ours: true };
    await startFrom(mac, first, true);
    const reply = await mac.checkIn({ offers: [id] });
    expect(reply).toMatchObject({ custody: 'doubtful', because: expect.stringMatching(/escrow file changed/), wanted: [id] });
    expect((await server.custody.fleet()).macs.find(({ macId }) => macId === mac.id)).toMatchObject({ state: 'doubtful', because: reply.because });
    const { receipt } = await mac.deliver(envelope.bytes, { source: 'escrow-file' });
    expect(receipt).toMatchObject({ state: 'candidate', readable: 'yes' });
    expect(await recordOf(server, receipt.recordId)).toMatchObject({ volume: first, enrolment_id: mac.enrolmentId });
    expect((await mac.checkIn({ offers: [id] })).wanted).toEqual([]);
    await mac.prove(id, 'true');
    expect((await show(mac)).key.equals(key)).toBe(true);
    expect(await recordOf(server, there)).toMatchObject({ state: 'superseded', refuted_at: expect.any(Number) });
  });

  test('C8: that came only for the other volume is asked about here: somebody has changed the key of this one', async () => {
    const mac = await newMac();
    const [first, second] = [mac.volume, newUuid()];
    await mac.prove((await mac.escrowed()).envelopeId, 'true');
    await startFrom(mac, second);
    const { bytes, recipient, blocks } = sealedFor(mac, newKey());
    const { keyId } = await bring(mac.serial, null, { source: 'mdm-cms', envelope: { bytes, recipient, blocks } });
    await refute(mac, digestOf(bytes));
    // By an agent that knows our new certificate not yet.
    mac.escrowFile = { digest: digestOf(bytes), recipient: null, ours: false };
    await startFrom(mac, first);
    const here = await recordIdOf(keyId);
    expect(await recordOf(server, here)).toMatchObject({ volume: first, state: 'candidate' });
    expect((await mac.checkIn()).proofOrders[0]).toMatchObject({ recordId: here });
  });

  test('that the other volume’s import was proved by stays that one’s: nothing takes its only envelope from a proved key', async () => {
    const mac = await newMac();
    const [first, second] = [mac.volume, newUuid()];
    await startFrom(mac, second);
    const key = newKey();
    const envelope = sealedFor(mac, key);
    const { keyId } = await bring(mac.serial, null, { source: 'mdm-cms', envelope });
    const id = digestOf(envelope.bytes);
    await mac.prove(id, 'true');
    const there = await recordIdOf(keyId);
    await startFrom(mac, first);
    expect((await mac.checkIn({ offers: [id] })).wanted).toEqual([]);
    await mac.deliver(envelope.bytes, { source: 'escrow-file' });
    expect(await envelopesOf(there)).toHaveLength(1);
    expect(await recordOf(server, there)).toMatchObject({ state: 'held', volume: second });
  });
});

describe('a key that retention destroyed, imported again', () => {
  const destroyed = async (more: (mac: TestMac) => Partial<Bringing> & { key?: RecoveryKey | null }) => {
    const mac = await newMac();
    const wish = more(mac);
    const { keyId } = await bring(mac.serial, wish.key ?? null, wish);
    server.wall.pass(hour);
    await mac.prove((await mac.escrowed()).envelopeId, 'true');
    server.wall.pass(91 * day);
    await server.custody.retire();
    expect(await rowOf(server, keyId)).toMatchObject({ state: 'known', bytes: null });
    expect(await recordOf(server, await recordIdOf(keyId))).toMatchObject({ state: 'destroyed' });
    return { mac, keyId, wish };
  };
  const expectHere = async (keyId: string | null) => {
    const row = await rowOf(server, keyId);
    expect(digestOf(row.bytes ?? Buffer.alloc(0))).toBe(row.envelope_id);
    expect(row.state).toBe('known');
    expect(await recordOf(server, row.record_id)).toMatchObject({ state: 'superseded' });
    expect((await envelopesOf(row.record_id ?? '')).filter(({ bytes }) => bytes !== null)).toHaveLength(1);
  };

  test('K2, K9: is here again, and so is its envelope', async () => {
    const key = newKey();
    const { mac, keyId } = await destroyed(() => ({ key }));
    expect(await bring(mac.serial, key)).toMatchObject({ fate: 'known', keyId });
    await expectHere(keyId);
    expect((await server.acts('brought.again')).filter(({ details }) => details['keyId'] === keyId)).toHaveLength(1);
  });

  test('is not made whole by it where its row is not as it was written', async () => {
    const key = newKey();
    const { mac, keyId } = await destroyed(() => ({ key }));
    await server.store.write((tx) => tx.updateTable('brought_key').set({ source: 'fleet' }).where('id', '=', keyId).execute());
    expect(await bring(mac.serial, key)).toMatchObject({ fate: 'refused' });
    expect((await rowOf(server, keyId)).bytes).toBeNull();
    expect(await server.alarms()).toContain('ROW_TAMPERED');
    await server.store.write((tx) => tx.updateTable('brought_key').set({ source: 'intune' }).where('id', '=', keyId).execute());
  });

  test('K2, K9: in the very envelope in which it came', async () => {
    const { mac, keyId, wish } = await destroyed((one) => ({ source: 'mdm-cms', envelope: sealedFor(one, newKey()) }));
    expect(await bring(mac.serial, null, wish)).toMatchObject({ fate: 'known', keyId });
    await expectHere(keyId);
  });

  test('K2, K9: in an envelope that is opened only later: the one that has its bytes stays', async () => {
    const key = newKey();
    const { mac, keyId } = await destroyed(() => ({ key }));
    server.escrow.answers = false;
    const { keyId: later } = await bring(mac.serial, null, { source: 'mdm-cms', envelope: sealedFor(mac, key) });
    server.escrow.answers = true;
    await server.custody.openLater();
    expect(await rowOf(server, later)).toMatchObject({ state: 'withdrawn', bytes: null });
    await expectHere(keyId);
  });
});
