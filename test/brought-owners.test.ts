import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { build } from 'plist';
import { bringTo, recordOf, rowOf } from './brought-parts.ts';
import { codeOf, digestOf, type GivenServer, givenServer, hour, newKey, newUuid, second, type TestMac } from './server-parts.ts';

/* Whose a key is that others brought: which Mac has the serial number, by whose word, and since when. */

let server: GivenServer;
beforeAll(async () => {
  server = await givenServer();
});
afterAll(() => server.close());

const { newMac, newSerial, envelopeOf, bring, alarmsOf } = bringTo(() => server, 'C02OWNER');
const claimed = { serialProved: false, confirmed: false, way: 'ticket' } as const;
const byMdm = (bytes: Buffer) => ({ source: 'nanomdm', trust: 'mdm', actor: 'nanomdm', envelope: envelopeOf(bytes) }) as const;
const blocksOf = (bytes: Buffer) => server.store.db.selectFrom('key_block').selectAll().where('digest', 'in', envelopeOf(bytes).blocks).execute();
const broughtBlocksOf = (bytes: Buffer) => server.store.db.selectFrom('brought_block').selectAll().where('digest', 'in', envelopeOf(bytes).blocks).execute();
const end = (mac: TestMac, status: 'revoked' | 'replaced') =>
  server.store.write((tx) => tx.updateTable('enrolment').set({ status }).where('mac_id', '=', mac.id).execute());
const confirm = async (mac: TestMac): Promise<void> => {
  await server.custody.confirmEnrolment({ enrolmentId: mac.enrolmentId, actor: 'ada', reason: 'on my desk' });
  mac.callerMore = { ...mac.callerMore, confirmed: true };
};
/** The MDM asked the Mac for SecurityInfo, and tells what it said. */
const mdmShows = (mac: TestMac, bytes: Buffer) => {
  const said = {
    CommandUUID: newUuid(),
    Status: 'Acknowledged',
    UDID: mac.hardwareUuid,
    SecurityInfo: { FDE_Enabled: true, FDE_PersonalRecoveryKeyCMS: bytes },
  };
  const payload = Buffer.from(build(said as unknown as Parameters<typeof build>[0]));
  const names = { topic: 'mdm.Connect', deviceId: mac.hardwareUuid, udid: mac.hardwareUuid, ofUser: false, status: 'Acknowledged' };
  const event = { ...names, createdAt: server.wall.now(), commandUuid: said.CommandUUID, payload };
  return server.custody.mdm.take({ server: 'nanomdm', canAsk: false, canRotate: false, everyHours: 24 }, event, randomUUID());
};

describe('an envelope that the MDM showed as a second witness of a Mac’s own key', () => {
  test('gives nothing to a Mac that only claims its serial number and has a copy of the bytes; the witness stays the Mac’s', async () => {
    const own = await newMac();
    const { key, recordId } = await own.escrowed();
    const bytes = own.seal(key);
    expect(await mdmShows(own, bytes)).toMatchObject({ because: 'same-key' });
    const claims = await newMac(own.serial, claimed);
    const opened = server.escrow.opened;
    expect((await claims.checkIn({ offers: [digestOf(bytes)] })).wanted).toEqual([]);
    expect(await codeOf(claims.deliver(bytes, { source: 'escrow-file', validated: 'true' }))).toBe('DELIVERY_UNCONFIRMED');
    expect([await claims.states(), server.escrow.opened]).toEqual([{}, opened]);
    expect(await blocksOf(bytes)).toMatchObject([{ mac_id: own.id }]);
    expect(await alarmsOf(own)).not.toContain('ENVELOPE_REUSED');
    expect(Object.keys(await own.states())).toEqual([recordId]);
  });

  test('is remembered as brought for that serial number: a Mac of another number gets nothing for it, and what only a record says is no less safe', async () => {
    const own = await newMac();
    const { key } = await own.escrowed();
    const bytes = own.seal(key);
    await mdmShows(own, bytes);
    expect(await broughtBlocksOf(bytes)).toMatchObject([{ serial: own.serial, envelope_id: digestOf(bytes) }]);
    // A database of before brought blocks were remembered.
    await server.store.write((tx) => tx.deleteFrom('brought_block').where('envelope_id', '=', digestOf(bytes)).execute());
    const claims = await newMac(own.serial, claimed);
    expect(await codeOf(claims.deliver(bytes, { source: 'escrow-file' }))).toBe('DELIVERY_UNCONFIRMED');
    const other = await newMac();
    expect((await other.deliver(bytes, { source: 'escrow-file' })).receipt).toMatchObject({ state: 'quarantined', readable: 'no' });
    expect(await alarmsOf(other)).toContain('ENVELOPE_REUSED');
  });
});

test('whose an import’s sealed block is, is remembered with each record of it, also in a database of before that was', async () => {
  const mac = await newMac();
  const { keyId } = await bring(mac.serial, newKey());
  const bytes = Buffer.from((await rowOf(server, keyId)).bytes ?? []);
  await server.store.write((tx) => tx.deleteFrom('brought_block').where('envelope_id', '=', digestOf(bytes)).execute());
  mac.volume = newUuid();
  await mac.checkIn();
  expect(await broughtBlocksOf(bytes)).toMatchObject([{ serial: mac.serial, envelope_id: digestOf(bytes) }]);
});

describe('what an admin imports', () => {
  test('for the wrong serial number, sealed as another Mac delivered it itself, is refused: shown for that number it would be another Mac’s live key', async () => {
    const mac = await newMac();
    const { key } = await mac.escrowed();
    const bytes = mac.seal(key);
    await mac.deliver(bytes, { source: 'agent' });
    const wrong = newSerial();
    const shifted = { source: 'mdm-cms', trust: 'admin', actor: 'ada', envelope: envelopeOf(bytes) } as const;
    expect(await bring(wrong, null, shifted)).toMatchObject({ fate: 'refused', because: expect.stringMatching(/another Mac/) });
    expect(await codeOf(server.custody.discloseBrought({ serial: wrong, actor: 'ada', reason: 'locked out' }))).toBe('KEY_UNKNOWN');
    // Nor in another wrapping of the same block, for whichever number.
    const other = Buffer.from(bytes);
    other.writeUInt8((other[other.length - 1] ?? 0) ^ 1, other.length - 1);
    const wrapped = { ...shifted, envelope: envelopeOf(other) };
    for (const serial of [wrong, mac.serial]) expect(await bring(serial, null, wrapped)).toMatchObject({ fate: 'refused' });
    // For its own it is one more witness.
    expect((await bring(mac.serial, null, shifted)).fate).toBe('known');
  });
});

describe('a delivery of an enrolment that was ended meanwhile', () => {
  test('of bytes that others brought is kept unopened, and makes the block nobody’s: its Mac has it as before', async () => {
    const serial = newSerial();
    const claims = await newMac(serial, claimed);
    const bytes = claims.seal(newKey());
    await bring(serial, null, byMdm(bytes));
    const rotationId = randomUUID();
    await server.store.write((tx) =>
      tx
        .insertInto('rotation')
        .values({
          id: rotationId,
          mac_id: claims.id,
          volume: claims.volume,
          enrolment_id: claims.enrolmentId,
          because: 'used',
          boot: claims.boot,
          recipient: 'x',
          escrow_payload: 'ours',
          begun_at: server.clock.now(),
          state: 'begun',
          ended_at: null,
          ended_because: null,
        })
        .execute(),
    );
    await end(claims, 'revoked');
    const late = claims.deliver(bytes, { source: 'rotation', rotationId }, { standing: 'revoked-late' });
    expect(await codeOf(late)).toBe('DELIVERY_QUARANTINED');
    expect(await blocksOf(bytes)).toEqual([]);
    const own = await newMac(serial);
    expect((await own.deliver(bytes, { source: 'escrow-file' })).receipt).toMatchObject({ state: 'held', readable: 'yes' });
    expect(await alarmsOf(own)).not.toContain('ENVELOPE_REUSED');
  });
});

describe('devices of the MDM that say one serial number', () => {
  const most = 32;

  test('push out what they brought themselves, and nothing of each other: of a Mac without agent nothing is lost', async () => {
    const serial = newSerial();
    const by = (deviceId: string, madeAt: number) => ({ source: 'nanomdm', trust: 'mdm', actor: 'nanomdm', deviceId, madeAt }) as const;
    const own = await bring(serial, newKey(), by('its own', 1));
    const shared = newKey();
    const both = await bring(serial, shared, by('another', 2));
    await bring(serial, shared, by('its own', 2));
    const first = await bring(serial, newKey(), by('another', 3));
    for (let more = 0; more < most; more += 1) expect(await bring(serial, newKey(), by('another', 4 + more))).toMatchObject({ fate: 'waiting' });
    expect(await rowOf(server, first.keyId)).toMatchObject({ state: 'withdrawn', bytes: null });
    for (const { keyId } of [own, both]) expect(await rowOf(server, keyId)).toMatchObject({ state: 'waiting', bytes: expect.anything() });
    // And there is room for its next one.
    expect(await bring(serial, newKey(), by('its own', 99))).toMatchObject({ fate: 'waiting' });
  });

  test('are known by what the MDM calls them', async () => {
    const mac = await newMac();
    const bytes = mac.seal(newKey());
    expect(await mdmShows(mac, bytes)).toMatchObject({ because: 'key-offered' });
    const row = await server.store.db.selectFrom('brought_key').selectAll().where('envelope_id', '=', digestOf(bytes)).executeTakeFirst();
    expect(row).toMatchObject({ device_id: mac.hardwareUuid });
  });
});

describe('a serial number that more than one Mac claims', () => {
  test('is the confirmed one’s: what waits is its own, and one that comes later and merely claims keeps nothing from it; of two that are confirmed neither has it', async () => {
    const serial = newSerial();
    const mac = await newMac(serial, { serialProved: false });
    const claims = await newMac(serial, claimed);
    const bytes = mac.seal(newKey());
    expect(await bring(serial, null, byMdm(bytes))).toMatchObject({ fate: 'offered', macId: mac.id });
    expect(await codeOf(claims.deliver(bytes, { source: 'escrow-file' }))).toBe('DELIVERY_UNCONFIRMED');
    expect((await mac.checkIn({ offers: [digestOf(bytes)] })).wanted).toEqual([digestOf(bytes)]);
    expect((await mac.deliver(bytes, { source: 'escrow-file' })).receipt).toMatchObject({ state: 'held' });
    await confirm(claims);
    const another = mac.seal(newKey());
    expect(await bring(serial, null, byMdm(another))).toMatchObject({ fate: 'waiting', because: expect.stringMatching(/more than one/) });
    for (const one of [mac, claims]) expect(await codeOf(one.deliver(another, { source: 'escrow-file' }))).toBe('DELIVERY_UNCONFIRMED');
  });

  test('keeps one task: that of a claimer is nobody’s as soon as a key is shown that others brought, and the claimer does not end it', async () => {
    const serial = newSerial();
    const claims = await newMac(serial, claimed);
    claims.factsMore = { rotator: 'mdm' };
    await claims.escrowed();
    await server.custody.disclose({ macId: claims.id, actor: 'ada', reason: 'locked out' });
    const task = () => server.store.db.selectFrom('mdm_task').selectAll().where('serial', '=', serial).executeTakeFirstOrThrow();
    expect(await task()).toMatchObject({ mac_id: claims.id, closed_at: null });
    await bring(serial, newKey());
    await server.custody.discloseBrought({ serial, actor: 'ada', reason: 'locked out' });
    expect(await task()).toMatchObject({ mac_id: null, closed_at: null });
    server.wall.pass(hour);
    await claims.prove((await claims.escrowed()).envelopeId, 'true');
    expect(await task()).toMatchObject({ mac_id: null, closed_at: null });
  });
});

describe('a Mac that is another one here since it was enrolled anew', () => {
  test.each(['offered', 'refuted', 'known'] as const)(
    'C8: is asked about an import that was %s of the one before it, whose enrolments have ended',
    async (was) => {
      const serial = newSerial();
      const before = await newMac(serial, { serialProved: false });
      const { keyId } = await bring(serial, newKey());
      const recordId = (await rowOf(server, keyId)).record_id;
      const [envelope] = await server.store.db.selectFrom('envelope').selectAll().where('mac_id', '=', before.id).execute();
      if (was === 'refuted') {
        await before.prove(envelope?.id ?? '', 'false');
        server.wall.pass(hour);
        await before.prove(envelope?.id ?? '', 'false');
      } else if (was === 'known') await before.prove(envelope?.id ?? '', 'true');
      expect(await rowOf(server, keyId)).toMatchObject({ state: was, mac_id: before.id });
      const anew = await newMac(serial, { serialProved: false });
      // As long as the other one is one, it stays its own.
      expect(await rowOf(server, keyId)).toMatchObject({ state: was, mac_id: before.id });
      await end(before, 'replaced');
      const [order] = (await anew.checkIn()).proofOrders;
      expect(await rowOf(server, keyId)).toMatchObject({ state: 'offered', mac_id: anew.id, record_id: order?.recordId });
      await anew.prove(order?.envelopeIds[0] ?? '', 'true');
      expect(await server.custody.custodyOf(anew.id)).toMatchObject({ heldRecordId: order?.recordId, provedAt: expect.any(String) });
      // What the one before has is kept.
      expect(await recordOf(server, recordId)).toMatchObject({ mac_id: before.id });
      expect(await server.store.db.selectFrom('envelope').select('bytes').where('record_id', '=', recordId).executeTakeFirst()).toMatchObject({
        bytes: expect.anything(),
      });
    },
  );
});

test('what one Mac was asked about stays its own beside another that proves the number, for as long as that one has an enrolment', async () => {
  const claims = await newMac(newSerial(), { serialProved: false });
  const { keyId } = await bring(claims.serial, newKey());
  const proves = await newMac(claims.serial);
  expect((await proves.checkIn()).proofOrders).toEqual([]);
  expect(await rowOf(server, keyId)).toMatchObject({ state: 'offered', mac_id: claims.id });
  await end(claims, 'revoked');
  expect((await proves.checkIn()).proofOrders).toHaveLength(1);
  expect(await rowOf(server, keyId)).toMatchObject({ state: 'offered', mac_id: proves.id });
});

describe('an enrolment that nobody has confirmed', () => {
  test('C8: moves no import to a volume that it makes up, while a confirmed one of the same Mac is there; that one does, and so does one that is left alone', async () => {
    const mac = await newMac();
    const { keyId } = await bring(mac.serial, newKey());
    const here = (await rowOf(server, keyId)).record_id;
    const first = { enrolmentId: mac.enrolmentId, identity: mac.identity, volume: mac.volume, callerMore: mac.callerMore };
    server.wall.pass(second);
    await mac.enrol({ confirmed: false }, true);
    mac.volume = newUuid();
    mac.reboot();
    await mac.checkIn();
    expect(await rowOf(server, keyId)).toMatchObject({ state: 'offered', record_id: here });
    expect(await recordOf(server, here)).toMatchObject({ state: 'candidate', volume: first.volume });
    // The confirmed one starts from another volume, and the import goes with it.
    server.wall.pass(second);
    const theirs = newUuid();
    await server.custody.checkIn(mac.caller({ enrolmentId: first.enrolmentId, ...first.callerMore }), {
      ...{ offers: [], debts: [], proofs: [], endings: [], rotation: null, exhausted: false, problems: [] },
      facts: { ...mac.facts(), boot: newUuid(), volume: theirs },
    });
    expect(await recordOf(server, (await rowOf(server, keyId)).record_id)).toMatchObject({ state: 'candidate', volume: theirs });
    server.wall.pass(second);
    await mac.checkIn();
    expect(await recordOf(server, (await rowOf(server, keyId)).record_id)).toMatchObject({ state: 'candidate', volume: theirs });
    // It is left alone.
    await server.store.write((tx) => tx.updateTable('enrolment').set({ status: 'revoked' }).where('id', '=', first.enrolmentId).execute());
    await mac.checkIn();
    expect(await recordOf(server, (await rowOf(server, keyId)).record_id)).toMatchObject({ state: 'candidate', volume: mac.volume });
  });
});
