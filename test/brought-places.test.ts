import { describe, expect, test } from '@jest/globals';
import { foreign, useBrought } from './brought-parts.ts';
import { type GivenServer, hour, newKey, newUuid, type TestMac } from './server-parts.ts';

/* Keys that others had for a serial number: which volume of its Mac they are asked about on, and which Mac has that number. */

const brought = useBrought();
const { bring, row, record, custodyOf, says, refute, asked } = brought;
let server: GivenServer;
const open = async (): Promise<void> => {
  server = await brought.open();
};

describe('a Mac with two systems', () => {
  const startFrom = async (mac: TestMac, volume: string): Promise<void> => {
    server.wall.pass(hour);
    mac.volume = volume;
    mac.reboot();
    await mac.checkIn();
  };

  test('is asked about an import on the volume from which it starts: one that waits for its answer goes with it, there and back, and is never asked about on two', async () => {
    await open();
    const mac = await server.newMac();
    await mac.checkIn();
    const [first, second] = [mac.volume, newUuid()];
    const key = newKey();
    const { keyId } = await bring(mac.serial, key);
    const here = (await row(keyId)).record_id;
    await startFrom(mac, second);
    const there = (await row(keyId)).record_id;
    expect(there).not.toBe(here);
    expect(await record(there)).toMatchObject({ volume: second, state: 'candidate', proved_at: null });
    expect(await record(here)).toMatchObject({ volume: first, state: 'superseded' });
    expect(await asked(mac)).toEqual([there]);
    await startFrom(mac, first);
    expect(await row(keyId)).toMatchObject({ state: 'offered', record_id: here });
    expect(await record(here)).toMatchObject({ state: 'candidate' });
    expect(await record(there)).toMatchObject({ state: 'superseded' });
    expect(await asked(mac)).toEqual([here]);
    // Its envelope was never in two places, and opens.
    const envelopes = await server.store.db.selectFrom('envelope').select('record_id').where('mac_id', '=', mac.id).execute();
    expect(envelopes).toEqual([{ record_id: here }]);
    expect((await server.custody.disclose({ macId: mac.id, actor: 'ada', reason: 'locked out' })).key.equals(key)).toBe(true);
    await says(mac, keyId, 'true');
    expect(await custodyOf(mac)).toMatchObject({ state: 'held', heldRecordId: here });
    // Proved, it is that volume's own.
    await startFrom(mac, second);
    expect(await row(keyId)).toMatchObject({ state: 'known', record_id: here });
    expect(await mac.states()).toEqual({ [here ?? '']: 'held', [there ?? '']: 'superseded' });
  });

  test('K8: an import that one volume refuted is asked about on the other, and proved there; back on the first it is not asked about again', async () => {
    await open();
    const mac = await server.newMac();
    foreign(mac);
    await mac.checkIn();
    const [first, second] = [mac.volume, newUuid()];
    const { keyId } = await bring(mac.serial, newKey());
    await refute(mac, keyId);
    const refuted = (await row(keyId)).record_id;
    await startFrom(mac, second);
    expect(await row(keyId)).toMatchObject({ state: 'offered' });
    expect((await row(keyId)).record_id).not.toBe(refuted);
    // Before anybody answers it starts from the first again, and then from the second.
    await startFrom(mac, first);
    expect(await asked(mac)).toEqual([]);
    expect(await row(keyId)).toMatchObject({ state: 'refuted', record_id: refuted });
    await startFrom(mac, second);
    expect(await asked(mac)).toHaveLength(1);
    const [order] = (await mac.checkIn()).proofOrders;
    await mac.prove(order?.envelopeIds[0] ?? '', 'true');
    expect(await custodyOf(mac)).toMatchObject({ state: 'held', heldRecordId: order?.recordId });
    expect(await row(keyId)).toMatchObject({ state: 'known', record_id: order?.recordId });
    expect(await record(refuted)).toMatchObject({ state: 'superseded', refuted_at: expect.any(Number), volume: first });
  });

  test('K5: what was left behind on one volume is no key that was here before: delivered there by the Mac itself, it counts as new', async () => {
    await open();
    for (const [confirmed, state] of [
      [true, 'held'],
      [false, 'candidate'],
    ] as const) {
      const mac = await server.newMac({ confirmed });
      await mac.checkIn();
      const [first, key] = [mac.volume, newKey()];
      const { keyId } = await bring(mac.serial, key, { runId: 'run-1' });
      const here = (await row(keyId)).record_id;
      await startFrom(mac, newUuid());
      await server.custody.withdrawRun({ runId: 'run-1', actor: 'ada', reason: 'wrong file' });
      expect(await row(keyId)).toMatchObject({ state: 'withdrawn' });
      await startFrom(mac, first);
      const { receipt } = await mac.deliver(key, { source: 'escrow-file' });
      expect(receipt).toMatchObject({ state, recordId: here });
      expect(await asked(mac)).toContain(here);
    }
  });

  test('K2, K7: what another key took the place of on one volume stays superseded there, also when it has been asked about on the other since', async () => {
    await open();
    const mac = await server.newMac();
    await mac.checkIn();
    const [first, key] = [mac.volume, newKey()];
    const { keyId } = await bring(mac.serial, key);
    const here = (await row(keyId)).record_id;
    server.wall.pass(hour);
    await mac.prove((await mac.escrowed()).envelopeId, 'true');
    expect(await record(here)).toMatchObject({ state: 'superseded' });
    await startFrom(mac, newUuid());
    expect(await asked(mac)).toEqual([(await row(keyId)).record_id]);
    await startFrom(mac, first);
    expect((await mac.deliver(key, { source: 'escrow-file' })).receipt).toMatchObject({ state: 'superseded', recordId: here });
    expect(await custodyOf(mac)).toMatchObject({ candidates: 0 });
  });

  test('C8: nothing is asked about on a volume whose key is proved, and what the Mac itself delivered for one volume is none of the other', async () => {
    await open();
    const mac = await server.newMac();
    const { envelopeId } = await mac.escrowed();
    await mac.prove(envelopeId, 'true');
    const [first, second] = [mac.volume, newUuid()];
    await startFrom(mac, second);
    const { keyId } = await bring(mac.serial, newKey());
    const there = (await row(keyId)).record_id;
    await startFrom(mac, first);
    expect(await asked(mac)).not.toContain(there);
    expect(await row(keyId)).toMatchObject({ state: 'offered', record_id: there });
    await startFrom(mac, second);
    expect(await asked(mac)).toEqual([there]);
    const own = newKey();
    const delivered = (await mac.deliver(own, { source: 'escrow-file' })).receipt.recordId;
    const same = await bring(mac.serial, own);
    expect(same).toMatchObject({ fate: 'known' });
    await startFrom(mac, newUuid());
    expect(await row(same.keyId)).toMatchObject({ state: 'known', record_id: delivered });
  });
});

describe('a serial number that is only claimed', () => {
  test('by one Mac that was revoked: it keeps no key from the one that an admin has confirmed', async () => {
    await open();
    const claimed = { serial: 'C02REVOKED01', serialProved: false };
    const liar = await server.newMac(claimed);
    await liar.checkIn();
    const mac = await server.newMac(claimed);
    await mac.checkIn();
    const { keyId } = await bring(mac.serial, newKey());
    expect(await row(keyId)).toMatchObject({ state: 'waiting', state_because: expect.stringMatching(/more than one/) });
    await server.store.write((tx) => tx.updateTable('enrolment').set({ status: 'revoked' }).where('id', '=', liar.enrolmentId).execute());
    await mac.checkIn();
    expect(await row(keyId)).toMatchObject({ state: 'offered', mac_id: mac.id });
    // Nobody is left: it waits.
    await server.store.write((tx) => tx.updateTable('enrolment').set({ status: 'revoked' }).where('id', '=', mac.enrolmentId).execute());
    expect(await bring(mac.serial, newKey())).toMatchObject({ fate: 'waiting', because: 'no Mac with this serial number is enrolled' });
  });

  test('and the Mac whose certificate proved it was revoked: it keeps no key from the one that took its place', async () => {
    await open();
    const dead = await server.newMac({ serial: 'C02REVOKED02', serialProved: true });
    await dead.checkIn();
    const mac = await server.newMac({ serial: 'C02REVOKED02', serialProved: false });
    await mac.checkIn();
    const { keyId } = await bring(mac.serial, newKey());
    expect(await row(keyId)).toMatchObject({ state: 'offered', mac_id: dead.id });
    await server.store.write((tx) => tx.updateTable('enrolment').set({ status: 'revoked' }).where('id', '=', dead.enrolmentId).execute());
    await mac.checkIn();
    expect(await row(keyId)).toMatchObject({ state: 'offered', mac_id: mac.id });
  });
});
