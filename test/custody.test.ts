import { describe, expect, test } from '@jest/globals';
import { sealKey } from '../protocol/envelope.ts';
import { foreignEscrowPair, pemToDer } from './fake-mac/certificates.ts';
import { codeOf, day, digestOf, type GivenServer, givenServer, hour, minute, newKey, newUuid, second, type TestMac } from './server-parts.ts';

async function given(settings = {}): Promise<{ server: GivenServer; mac: TestMac }> {
  const server = await givenServer(settings);
  return { server, mac: await server.newMac() };
}
const foreignEnvelope = () => sealKey(newKey(), pemToDer(foreignEscrowPair().certificate));
const garbage = () => Buffer.from(`no envelope ${Math.random()}`);

describe('K0 to K9: what becomes of a key', () => {
  test('K0: an envelope for somebody else is known by digest and recipient only', async () => {
    const { server, mac } = await given();
    const envelope = foreignEnvelope();
    expect(await codeOf(mac.deliver(envelope))).toBe('FOREIGN_RECIPIENT');
    expect(await codeOf(mac.deliver(envelope))).toBe('FOREIGN_RECIPIENT');
    expect(await mac.states()).toEqual({});
    const { foreign } = await server.custody.macReport(mac.id);
    expect(foreign).toMatchObject([{ digest: digestOf(envelope), recipient: expect.stringMatching(/^issuer-serial:/) }]);
    const everything = JSON.stringify(await server.store.db.selectFrom('envelope').selectAll().execute());
    expect(everything).toBe('[]');
    expect(await server.acts('key.foreign')).toHaveLength(1);
    await server.close();
  });

  test('K0: a foreign escrow file that a check-in reports is noted once, and is not wanted', async () => {
    const { server, mac } = await given();
    const digest = digestOf(foreignEnvelope());
    mac.escrowFile = { digest, recipient: `issuer-serial:${'a'.repeat(64)}:01`, ours: false };
    await mac.checkIn();
    const { wanted, custody } = await mac.checkIn({ offers: [digest] });
    expect({ wanted, custody }).toEqual({ wanted: [], custody: 'foreign' });
    expect(await server.acts('key.foreign')).toHaveLength(1);
    await server.close();
  });

  test('K1: what cannot be read is kept, and is never shown or granted', async () => {
    const { server, mac } = await given();
    await mac.checkIn();
    const { status, receipt } = await mac.deliver(garbage());
    expect({ status, state: receipt.state, readable: receipt.readable, held: receipt.held }).toEqual({
      status: 201,
      state: 'quarantined',
      readable: 'no',
      held: null,
    });
    expect(await codeOf(server.custody.disclose({ macId: mac.id, actor: 'admin', reason: 'test' }))).toBe('KEY_UNKNOWN');
    expect(await codeOf((await mac.ask('prove', receipt.recordId, 'none')).give())).toBe('GRANT_REFUSED');
    expect((await server.custody.custodyOf(mac.id)).state).toBe('none');
    await server.close();
  });

  test('K2: an envelope of a key that is known is one more witness, of a superseded key too', async () => {
    const { server, mac } = await given();
    const first = await mac.escrowed();
    const witness = await mac.deliver(first.key);
    expect(witness).toMatchObject({ status: 201, receipt: { recordId: first.recordId, state: 'held' } });
    await mac.owe();
    const second = await mac.rotate();
    const late = await mac.deliver(first.key, { source: 'escrow-file' });
    expect(late.receipt).toMatchObject({ recordId: first.recordId, state: 'superseded', held: { recordId: second.recordId } });
    expect(await mac.states()).toEqual({ [first.recordId]: 'superseded', [second.recordId]: 'held' });
    expect((await server.custody.macReport(mac.id)).keys.find((key) => key.recordId === first.recordId)?.envelopeIds).toHaveLength(3);
    await server.close();
  });

  test('K2: a witness that macOS said true to is a proof', async () => {
    const { server, mac } = await given();
    const { key, recordId } = await mac.escrowed();
    expect((await server.custody.custodyOf(mac.id)).provedAt).toBeNull();
    await mac.deliver(key, { validated: 'true' });
    expect(await server.custody.custodyOf(mac.id)).toMatchObject({ state: 'held', heldRecordId: recordId, provedAt: expect.any(String) });
    expect((await mac.checkIn()).proofOrders).toEqual([]);
    await server.close();
  });

  test('K3: the new key of the open rotation is held, and what came before begin is superseded', async () => {
    const { server, mac } = await given();
    const old = await mac.escrowed();
    const doubt = (await mac.deliver(newKey())).receipt.recordId;
    const debt = await mac.owe();
    const { rotationId } = await mac.begin();
    server.wall.pass(10 * second);
    const { receipt } = await mac.deliver(newKey(), { source: 'rotation', validated: 'true', rotationId });
    expect(receipt).toMatchObject({ state: 'held', readable: 'yes', held: { recordId: receipt.recordId } });
    expect(await mac.states()).toEqual({ [old.recordId]: 'superseded', [doubt]: 'superseded', [receipt.recordId]: 'held' });
    const reply = await mac.checkIn();
    expect(reply).toMatchObject({ custody: 'held', debts: [], rotation: null, proofOrders: [] });
    expect(debt).toBeTruthy();
    await server.close();
  });

  test('K3 supersedes only what came before begin: with another key accepted since, both stay until one is proved', async () => {
    const { server, mac } = await given();
    await mac.checkIn();
    await mac.owe('never-escrowed');
    const { rotationId } = await mac.begin();
    server.wall.pass(10 * second);
    const meanwhile = (await mac.deliver(newKey(), { source: 'escrow-file' })).receipt;
    server.wall.pass(10 * second);
    const made = (await mac.deliver(newKey(), { source: 'rotation', validated: 'true', rotationId })).receipt;
    expect([meanwhile.state, made.state]).toEqual(['held', 'candidate']);
    expect(await mac.checkIn()).toMatchObject({ custody: 'doubtful', rotation: { id: rotationId } });
    await mac.prove(made.envelopeId, 'true');
    expect(await mac.checkIn()).toMatchObject({ custody: 'held', held: { recordId: made.recordId }, rotation: null });
    await server.close();
  });

  test.each(['unknown', 'false'] as const)('K4: the new key of a rotation with validated %s is a candidate beside the held one', async (validated) => {
    const { server, mac } = await given();
    const old = await mac.escrowed();
    await mac.owe();
    const { rotationId } = await mac.begin();
    const { receipt } = await mac.deliver(newKey(), { source: 'rotation', validated, rotationId });
    expect(receipt).toMatchObject({ state: 'candidate', held: { recordId: old.recordId } });
    const reply = await mac.checkIn();
    expect(reply).toMatchObject({ custody: 'doubtful', rotation: { id: rotationId }, candidates: [{ recordId: receipt.recordId }] });
    expect(reply.debts).toHaveLength(1);
    await server.close();
  });

  test('K4 and K7: proved later, it is held, the rotation is done and the debt paid', async () => {
    const { server, mac } = await given();
    const old = await mac.escrowed();
    await mac.owe();
    const { rotationId } = await mac.begin();
    const { receipt } = await mac.deliver(newKey(), { source: 'rotation', validated: 'unknown', rotationId });
    server.wall.pass(minute);
    const reply = await mac.prove(receipt.envelopeId, 'true');
    expect(reply).toMatchObject({ custody: 'held', rotation: null, debts: [], held: { recordId: receipt.recordId } });
    expect(await mac.states()).toEqual({ [old.recordId]: 'superseded', [receipt.recordId]: 'held' });
    await server.close();
  });

  test('K2 and K7: where macOS’s own file came first, the rotation is done by its witness', async () => {
    const { server, mac } = await given();
    await mac.escrowed();
    await mac.owe();
    const { rotationId } = await mac.begin();
    server.wall.pass(second);
    const key = newKey();
    const file = (await mac.deliver(key, { source: 'escrow-file' })).receipt;
    expect(file.state).toBe('candidate');
    const made = (await mac.deliver(key, { source: 'rotation', validated: 'true', rotationId })).receipt;
    expect(made).toMatchObject({ recordId: file.recordId, state: 'held' });
    expect(await mac.checkIn()).toMatchObject({ custody: 'held', rotation: null, debts: [] });
    await server.close();
  });

  test.each(['agent', 'escrow-file'] as const)('K5: the first key of a volume, delivered as %s, is held, not proved, and a proof is due', async (source) => {
    const { server, mac } = await given();
    await mac.checkIn();
    const { receipt } = await mac.deliver(newKey(), { source, validated: 'true' });
    expect(receipt.state).toBe('held');
    expect(await server.custody.custodyOf(mac.id)).toMatchObject({ state: 'held', provedAt: null, unopened: false });
    expect((await mac.checkIn()).proofOrders).toMatchObject([{ recordId: receipt.recordId, envelopeIds: [receipt.envelopeId] }]);
    await server.close();
  });

  test('K6: another key, and a rotation that is not open, are candidates; a proof is due', async () => {
    const { server, mac } = await given();
    const held = await mac.escrowed();
    const other = (await mac.deliver(newKey(), { source: 'escrow-file' })).receipt;
    const stray = (await mac.deliver(newKey(), { source: 'rotation', validated: 'true', rotationId: 'never-begun' })).receipt;
    expect([other.state, stray.state]).toEqual(['candidate', 'candidate']);
    const reply = await mac.checkIn();
    expect(reply).toMatchObject({ custody: 'doubtful', held: { recordId: held.recordId } });
    expect(reply.proofOrders.map((order) => order.recordId).toSorted()).toEqual([held.recordId, other.recordId, stray.recordId].toSorted());
    await server.close();
  });

  test('K6: with no held key a stray rotation is a candidate, and custody doubtful', async () => {
    const { server, mac } = await given();
    await mac.checkIn();
    const { receipt } = await mac.deliver(newKey(), { source: 'rotation', validated: 'true', rotationId: 'never-begun' });
    expect(receipt).toMatchObject({ state: 'candidate', held: null });
    expect((await mac.checkIn()).custody).toBe('doubtful');
    await server.close();
  });

  test('K7: a proof makes a candidate the held one and supersedes every other', async () => {
    const { server, mac } = await given();
    const held = await mac.escrowed();
    const [one, two] = [(await mac.deliver(newKey())).receipt, (await mac.deliver(newKey())).receipt];
    server.wall.pass(second);
    const reply = await mac.prove(two.envelopeId, 'true');
    expect(reply).toMatchObject({ custody: 'held', held: { recordId: two.recordId }, proofOrders: [] });
    expect(await mac.states()).toEqual({ [held.recordId]: 'superseded', [one.recordId]: 'superseded', [two.recordId]: 'held' });
    await server.close();
  });

  test('K7: a superseded key that opens the Mac is a candidate again, with an alarm', async () => {
    const { server, mac } = await given();
    const old = await mac.escrowed();
    await mac.owe();
    const present = await mac.rotate();
    server.wall.pass(hour);
    const reply = await mac.prove(old.envelopeId, 'true');
    expect(reply).toMatchObject({
      custody: 'doubtful',
      alarms: [],
      held: { recordId: present.recordId },
      candidates: [{ recordId: old.recordId }],
    });
    expect(await server.alarms()).toEqual(['SUPERSEDED_PROVED']);
    await server.close();
  });

  test('K7: an answer that is older than the rotation says nothing against its new key', async () => {
    const { server, mac } = await given();
    const old = await mac.escrowed();
    await mac.owe();
    server.wall.pass(minute);
    const present = await mac.rotate();
    server.wall.pass(minute);
    const reply = await mac.prove(old.envelopeId, 'true', { agoSeconds: 90 });
    expect(reply).toMatchObject({ custody: 'held', alarms: [], held: { recordId: present.recordId } });
    await server.close();
  });

  test('K8: two answers false in two settled runs at least 10 minutes apart refute a record, which stays as it is', async () => {
    const { server, mac } = await given();
    const { recordId, envelopeId } = await mac.escrowed();
    const refuted = async () => (await server.custody.macReport(mac.id)).keys[0]?.refutedAt !== null;
    await mac.prove(envelopeId, 'false', { settled: false });
    server.wall.pass(20 * minute);
    await mac.prove(envelopeId, 'false');
    server.wall.pass(9 * minute);
    await mac.prove(envelopeId, 'false');
    server.wall.pass(hour);
    await mac.prove(envelopeId, 'unknown');
    await mac.prove(envelopeId, 'false', { settled: false });
    expect(await refuted()).toBe(false);
    expect((await mac.checkIn()).custody).toBe('held');
    await mac.prove(envelopeId, 'false');
    expect(await refuted()).toBe(true);
    expect(await mac.checkIn()).toMatchObject({ custody: 'doubtful', held: { recordId, state: 'held' } });
    await mac.prove(envelopeId, 'true');
    expect(await refuted()).toBe(false);
    expect((await mac.checkIn()).custody).toBe('held');
    await server.close();
  });

  test('K8: one answer that is told twice is one answer', async () => {
    const { server, mac } = await given();
    const { envelopeId } = await mac.escrowed();
    await mac.prove(envelopeId, 'false', { id: 'the-same' });
    server.wall.pass(hour);
    const { confirmed } = await mac.prove(envelopeId, 'false', { id: 'the-same' });
    expect(confirmed.proofs).toEqual(['the-same']);
    expect((await mac.checkIn()).custody).toBe('held');
    await server.close();
  });

  test('K9: a superseded key goes after its time, if a later one was proved and no legal hold is on it', async () => {
    const { server, mac } = await given({ retainSupersededDays: 90 });
    const old = await mac.escrowed();
    await mac.owe();
    const present = await mac.rotate();
    server.wall.pass(89 * day);
    expect(await server.custody.retire()).toEqual({ destroyed: 0 });
    server.wall.pass(2 * day);
    await server.store.db.updateTable('key_record').set({ legal_hold: 1 }).where('id', '=', old.recordId).execute();
    expect(await server.custody.retire()).toEqual({ destroyed: 0 });
    await server.store.db.updateTable('key_record').set({ legal_hold: 0 }).where('id', '=', old.recordId).execute();
    expect(await server.custody.retire()).toEqual({ destroyed: 1 });
    expect(await mac.states()).toEqual({ [old.recordId]: 'destroyed', [present.recordId]: 'held' });
    const rows = await server.store.db.selectFrom('envelope').select(['record_id', 'bytes']).execute();
    expect(rows.filter((row) => row.bytes === null).map((row) => row.record_id)).toEqual([old.recordId]);
    const record = await server.store.db.selectFrom('key_record').selectAll().where('id', '=', old.recordId).executeTakeFirstOrThrow();
    expect(record.fingerprint).toMatch(/^[0-9a-f]{64}$/);

    const again = await mac.deliver(old.key);
    expect(again.receipt).toMatchObject({ recordId: old.recordId, state: 'superseded' });
    await server.close();
  });

  test('K9: without a later key that was proved nothing is ever destroyed', async () => {
    const { server, mac } = await given();
    const [one, two] = [await mac.escrowed(), (await mac.deliver(newKey())).receipt];
    // Superseded by the proof of a key that came earlier: the later one was never proved.
    await mac.prove(one.envelopeId, 'true');
    expect((await mac.states())[two.recordId]).toBe('superseded');
    server.wall.pass(1000 * day);
    expect(await server.custody.retire()).toEqual({ destroyed: 0 });
    await server.close();
  });

  test('the database itself allows one held key for each Mac and volume', async () => {
    const { server, mac } = await given();
    await mac.escrowed();
    const other = (await mac.deliver(newKey())).receipt.recordId;
    const forced = server.store.write((tx) => tx.updateTable('key_record').set({ state: 'held' }).where('id', '=', other).execute());
    await expect(forced).rejects.toThrow(/unique/i);
    await server.close();
  });
});

describe('custody, the first row that fits', () => {
  test('foreign: the payload is somebody else’s and no key is ours; with a key of ours it is not', async () => {
    const { server, mac } = await given();
    mac.factsMore = { escrow: { payload: 'foreign', location: 'Some MDM', file: null } };
    expect((await mac.checkIn()).custody).toBe('foreign');
    await mac.deliver(newKey(), { source: 'agent' });
    expect((await mac.checkIn()).custody).toBe('held');
    await server.close();
  });

  test('none: no key of the present volume; keys of another volume stay listed', async () => {
    const { server, mac } = await given();
    expect((await mac.checkIn()).custody).toBe('none');
    const { recordId } = await mac.escrowed();
    mac.volume = newUuid();
    expect(await mac.checkIn()).toMatchObject({ custody: 'none', held: null });
    expect((await server.custody.macReport(mac.id)).keys).toMatchObject([{ recordId, state: 'held' }]);
    await server.close();
  });

  test('lost: the Mac said R9; a new key ends it as doubtful, a proof as held', async () => {
    const { server, mac } = await given();
    const { envelopeId } = await mac.escrowed();
    server.wall.pass(minute);
    expect((await mac.checkIn({ exhausted: true })).custody).toBe('lost');
    server.wall.pass(minute);
    await mac.deliver(newKey(), { source: 'escrow-file' });
    expect((await mac.checkIn({ exhausted: true })).custody).toBe('doubtful');
    server.wall.pass(minute);
    expect((await mac.prove(envelopeId, 'true')).custody).toBe('held');
    await server.close();
  });

  test('lost: an ending `exhausted` ends the rotation with it', async () => {
    const { server, mac } = await given();
    await mac.escrowed();
    await mac.owe();
    const { rotationId } = await mac.begin();
    server.wall.pass(minute);
    const reply = await mac.checkIn({ endings: [{ rotationId, as: 'exhausted', detail: 'R9' }] });
    expect(reply).toMatchObject({ custody: 'lost', rotation: null, confirmed: { endings: [rotationId] } });
    await server.close();
  });

  test('doubtful: a rotation is open for more than 5 minutes, or the agent calls it unresolved', async () => {
    const { server, mac } = await given();
    await mac.escrowed();
    await mac.owe();
    const { rotationId } = await mac.begin();
    server.wall.pass(5 * minute);
    expect((await mac.checkIn()).custody).toBe('held');
    expect((await mac.checkIn({ rotation: { id: rotationId, state: 'unresolved', because: 'used' } })).custody).toBe('doubtful');
    expect((await mac.checkIn()).custody).toBe('held');
    server.wall.pass(second);
    expect((await mac.checkIn()).custody).toBe('doubtful');
    const ended = await mac.checkIn({ endings: [{ rotationId, as: 'not-changed', detail: 'R1' }] });
    expect(ended).toMatchObject({ custody: 'held', rotation: null });
    expect(ended.debts).toHaveLength(1);
    await server.close();
  });

  test('doubtful: macOS’s escrow file changed and has not come; delivering it or a proof ends that', async () => {
    const { server, mac } = await given();
    const { key, envelopeId } = await mac.escrowed();
    const file = mac.seal(key);
    mac.escrowFile = { digest: digestOf(file), recipient: null, ours: true };
    server.wall.pass(minute);
    expect(await mac.checkIn({ offers: [digestOf(file)] })).toMatchObject({ custody: 'doubtful', wanted: [digestOf(file)] });
    await mac.deliver(file, { source: 'escrow-file' });
    expect((await mac.checkIn()).custody).toBe('held');

    mac.escrowFile = { digest: digestOf(foreignEnvelope()), recipient: null, ours: false };
    server.wall.pass(minute);
    expect((await mac.checkIn()).custody).toBe('doubtful');
    server.wall.pass(minute);
    expect((await mac.prove(envelopeId, 'true')).custody).toBe('held');
    await server.close();
  });

  test('a file that our own rotation made macOS write leaves no doubt', async () => {
    const { server, mac } = await given();
    await mac.escrowed();
    mac.escrowFile = { digest: digestOf(foreignEnvelope()), recipient: null, ours: false };
    await mac.owe();
    const before = await mac.checkIn();
    server.wall.pass(minute);
    await mac.prove(before.held?.envelopeIds[0] ?? '', 'true');
    await mac.rotate();
    mac.escrowFile = { digest: digestOf(foreignEnvelope()), recipient: null, ours: false };
    server.wall.pass(minute);
    expect((await mac.checkIn()).custody).toBe('held');
    await server.close();
  });

  test('a rotation that ended not-changed, after the held key answered true, leaves no doubt', async () => {
    const { server, mac } = await given();
    const old = await mac.escrowed();
    await mac.owe();
    const { rotationId } = await mac.begin();
    server.wall.pass(minute);
    await mac.prove(old.envelopeId, 'true');
    server.wall.pass(second);
    const wrong = (await mac.deliver(newKey(), { source: 'rotation', validated: 'false', rotationId })).receipt;
    expect((await mac.checkIn()).custody).toBe('doubtful');
    const reply = await mac.checkIn({ endings: [{ rotationId, as: 'not-changed', detail: 'R4' }] });
    expect(reply).toMatchObject({ custody: 'held', held: { recordId: old.recordId } });
    expect((await mac.states())[wrong.recordId]).toBe('superseded');
    await server.close();
  });

  test('doubtful: a stored row of the held key is not as it was written, and nothing is opened', async () => {
    const { server, mac } = await given();
    const { recordId } = await mac.escrowed();
    const other = await (await server.newMac()).escrowed();
    await server.store.db
      .updateTable('envelope')
      .set({ bytes: mac.seal(other.key) })
      .where('record_id', '=', recordId)
      .execute();
    const opened = server.escrow.opened;
    expect((await mac.checkIn()).custody).toBe('doubtful');
    expect(await codeOf(server.custody.disclose({ macId: mac.id, actor: 'admin', reason: 'test' }))).toBe('ROW_TAMPERED');
    expect(server.escrow.opened).toBe(opened);
    expect(await server.alarms()).toEqual(['ROW_TAMPERED']);
    await server.close();
  });

  test('rows that were swapped between two Macs open for neither', async () => {
    const server = await givenServer();
    const [one, two] = [await server.newMac(), await server.newMac()];
    const [mine, theirs] = [await one.escrowed(), await two.escrowed()];
    await server.store.db.updateTable('envelope').set({ mac_id: one.id, record_id: mine.recordId }).where('record_id', '=', theirs.recordId).execute();
    await server.store.db.deleteFrom('envelope').where('id', '=', mine.envelopeId).execute();
    expect(await codeOf(server.custody.disclose({ macId: one.id, actor: 'admin', reason: 'test' }))).toBe('ROW_TAMPERED');
    await server.close();
  });
});
