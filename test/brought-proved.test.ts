import { describe, expect, test } from '@jest/globals';
import { bringing, foreign, useBrought } from './brought-parts.ts';
import { day, digestOf, type GivenServer, hour, minute, newKey, type TestMac } from './server-parts.ts';

/* Keys that others had, beside one that macOS has said `true` to; when the Mac says that none is left (R9); and what is destroyed in the end (K9). */

const brought = useBrought();
const { bring, row, record, custodyOf, says, refute, asked } = brought;
let server: GivenServer;
const open = async (...wish: Parameters<typeof brought.open>): Promise<void> => {
  server = await brought.open(...wish);
};

describe('C8: a proved key', () => {
  const proved = async (): Promise<{ mac: TestMac; envelopeId: string; recordId: string }> => {
    await open();
    const mac = await server.newMac();
    const { envelopeId, recordId } = await mac.escrowed();
    await mac.prove(envelopeId, 'true');
    server.wall.pass(minute);
    return { mac, envelopeId, recordId };
  };

  test('C8: is overwritten by nothing: what is brought is laid aside, makes no doubt, and costs no try', async () => {
    const { mac, recordId } = await proved();
    const brought = await bring(mac.serial, newKey());
    expect(brought).toMatchObject({ fate: 'aside', macId: mac.id, because: expect.stringMatching(/held and proved/) });
    expect(await asked(mac)).toEqual([]);
    expect(await custodyOf(mac)).toMatchObject({ state: 'held', candidates: 0, heldRecordId: recordId });
  });

  test('and what was laid aside is asked about when somebody else has changed the key', async () => {
    const { mac, recordId } = await proved();
    const brought = await bring(mac.serial, newKey());
    server.wall.pass(hour);
    foreign(mac);
    const reply = await mac.checkIn();
    expect((await row(brought.keyId)).state).toBe('offered');
    // macOS writes its file when it makes a key: the held one is the unlikelier, and each wrong key costs a try.
    expect(reply.proofOrders.map((order) => order.recordId)).toEqual([(await row(brought.keyId)).record_id, recordId]);
    await says(mac, brought.keyId, 'true');
    expect(await custodyOf(mac)).toMatchObject({ state: 'held', heldRecordId: (await row(brought.keyId)).record_id });
    expect((await mac.states())[recordId]).toBe('superseded');
  });

  test('C1: but macOS’s own file for us comes first: while it may hold the new key, what others brought waits', async () => {
    const { mac, recordId } = await proved();
    const brought = await bring(mac.serial, newKey());
    server.wall.pass(hour);
    const key = newKey();
    const file = mac.seal(key);
    mac.escrowFile = { digest: digestOf(file), recipient: server.escrow.certificates[0]?.names[0] ?? null, ours: true };
    expect((await mac.checkIn({ offers: [digestOf(file)] })).wanted).toEqual([digestOf(file)]);
    await mac.deliver(file, { source: 'escrow-file' });
    await mac.checkIn();
    expect((await row(brought.keyId)).state).toBe('aside');
    await mac.prove(digestOf(file), 'true');
    expect((await mac.states())[recordId]).toBe('superseded');
    expect(await row(brought.keyId)).toMatchObject({ state: 'aside' });
  });

  test('or when the Mac has refuted it; one that was brought before its `true` is older than it, and stays where it is', async () => {
    await open();
    const mac = await server.newMac();
    await mac.checkIn();
    const [first, older] = await server.custody.bring([bringing(mac.serial, newKey(), { madeAt: 2000 }), bringing(mac.serial, newKey(), { madeAt: 1000 })]);
    server.wall.pass(minute);
    await says(mac, first?.keyId ?? null, 'true');
    expect(await row(older?.keyId ?? null)).toMatchObject({ state: 'aside' });
    server.wall.pass(hour);
    const later = await bring(mac.serial, newKey());
    expect(later.fate).toBe('aside');
    await refute(mac, first?.keyId ?? null);
    expect(await row(later.keyId)).toMatchObject({ state: 'offered' });
    expect(await row(older?.keyId ?? null)).toMatchObject({ state: 'aside', state_because: expect.stringMatching(/after this one was brought/) });
    // R9: when nothing else is left, it is asked about all the same, in the answer to that very check-in.
    await refute(mac, later.keyId);
    const reply = await mac.checkIn({ exhausted: true });
    expect(reply).toMatchObject({ custody: 'doubtful', proofOrders: [{ recordId: (await row(older?.keyId ?? null)).record_id }] });
    expect(await row(older?.keyId ?? null)).toMatchObject({ state: 'offered' });
  });

  test('K8: an import to which macOS once said true is no guess any more: twice `false` is noted on it, it stays held, and custody is in doubt', async () => {
    await open();
    const mac = await server.newMac();
    foreign(mac);
    await mac.checkIn();
    const key = newKey();
    const first = await bring(mac.serial, key);
    await says(mac, first.keyId, 'true');
    const { record_id: recordId } = await row(first.keyId);
    server.wall.pass(hour);
    await refute(mac, first.keyId);
    expect(await record(recordId)).toMatchObject({ state: 'held', refuted_at: expect.any(Number), proved_at: expect.any(Number) });
    expect(await custodyOf(mac)).toMatchObject({ state: 'doubtful', because: expect.stringMatching(/answered twice/), heldRecordId: recordId });
    expect(await row(first.keyId)).toMatchObject({ state: 'known' });
    // A person is still shown it: a Mac that lies takes no proved key away.
    expect((await server.custody.disclose({ macId: mac.id, actor: 'ada', reason: 'locked out' })).key.equals(key)).toBe(true);
    // R9, and the next import, are as for any other held key.
    expect(await mac.checkIn({ exhausted: true })).toMatchObject({ custody: 'lost' });
    foreign(mac);
    expect(await mac.checkIn({ exhausted: true })).toMatchObject({ custody: 'foreign' });
    server.wall.pass(minute);
    const next = await bring(mac.serial, newKey());
    expect(next.fate).toBe('offered');
    await says(mac, next.keyId, 'true');
    expect(await custodyOf(mac)).toMatchObject({ state: 'held', heldRecordId: (await row(next.keyId)).record_id });
    expect(await record(recordId)).toMatchObject({ state: 'superseded' });
  });

  test('K2: the same key from the MDM is one more witness; one that was superseded stays so', async () => {
    await open();
    const mac = await server.newMac();
    const key = newKey();
    const { recordId } = await mac.escrowed(key);
    expect(await bring(mac.serial, key)).toMatchObject({ fate: 'known', because: expect.stringMatching(/is held/) });
    expect(await server.store.db.selectFrom('envelope').selectAll().where('record_id', '=', recordId).execute()).toHaveLength(2);
    await mac.owe();
    await mac.rotate();
    const again = await bring(mac.serial, key, { source: 'jamf' });
    expect(again.fate).toBe('known');
    expect((await mac.states())[recordId]).toBe('superseded');
    expect(await custodyOf(mac)).toMatchObject({ state: 'held', candidates: 0 });
  });
});

describe('R9: custody', () => {
  test.each<[string, boolean, boolean, string]>([
    ['under a foreign payload whose file is of this change: the MDM has the newest key, so it is foreign', false, false, 'foreign'],
    ['under a foreign payload, but the file is still ours: nobody has the newest key, so it is lost', true, false, 'lost'],
    ['under a foreign payload whose file is of before: nobody has the newest key, so it is lost', false, true, 'lost'],
  ])('%s', async (_, ours, before, state) => {
    await open();
    const mac = await server.newMac();
    const { envelopeId } = await mac.escrowed();
    foreign(mac);
    const { file } = mac.factsMore.escrow ?? { file: null };
    if (file) mac.factsMore = { escrow: { payload: 'foreign', location: 'Intune', file: { ...file, ours } } };
    if (before) {
      await mac.checkIn();
      server.wall.pass(minute);
      await mac.prove(envelopeId, 'true');
      server.wall.pass(minute);
    }
    await mac.prove(envelopeId, 'false');
    server.wall.pass(11 * minute);
    await mac.prove(envelopeId, 'false');
    expect(await mac.checkIn({ exhausted: true })).toMatchObject({ custody: state });
    // What others bring ends it.
    server.wall.pass(minute);
    const brought = await bring(mac.serial, newKey());
    expect(brought.fate).toBe('offered');
    expect(await custodyOf(mac)).toMatchObject({ state: 'doubtful' });
    await says(mac, brought.keyId, 'true');
    expect(await custodyOf(mac)).toMatchObject({ state: 'held' });
  });
});

describe('K9: retention', () => {
  test('a brought key goes with its record; another import destroys none unless a confirmed enrolment said `true` to it', async () => {
    await open();
    const mac = await server.newMac();
    await mac.checkIn();
    const first = await bring(mac.serial, newKey());
    await says(mac, first.keyId, 'true');
    server.wall.pass(day);
    foreign(mac);
    await mac.checkIn();
    const second = await bring(mac.serial, newKey());
    expect(second.fate).toBe('offered');
    await says(mac, second.keyId, 'true');
    server.wall.pass(91 * day);
    const confirmed = (value: number) =>
      server.store.write((tx) => tx.updateTable('enrolment').set({ confirmed: value }).where('mac_id', '=', mac.id).execute());
    await confirmed(0);
    expect(await server.custody.retire()).toEqual({ destroyed: 0 });
    await confirmed(1);
    expect(await server.custody.retire()).toEqual({ destroyed: 1 });
    expect(await record((await row(first.keyId)).record_id)).toMatchObject({ state: 'destroyed' });
    expect((await row(first.keyId)).bytes).toBeNull();
    expect((await row(second.keyId)).bytes).not.toBeNull();
  });
});
