import { describe, expect, test } from '@jest/globals';
import { certificateDigest, readEnvelope } from '../protocol/envelope.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import type { Bringing } from '../server/brought/bringing.ts';
import { lookAtEnvelope } from '../server/brought/envelopes.ts';
import { useBrought } from './brought-parts.ts';
import { codeOf, digestOf, type GivenServer, newKey, type TestMac } from './server-parts.ts';

/* Keys that others had, in the envelopes in which they came. */

const brought = useBrought();
const { bring, row, custodyOf } = brought;
let server: GivenServer;
const open = async (...wish: Parameters<typeof brought.open>): Promise<void> => {
  server = await brought.open(...wish);
};

describe('an envelope that came as it is', () => {
  const asItCame = (mac: TestMac, key: RecoveryKey): { bytes: Buffer; envelope: NonNullable<Bringing['envelope']> } => {
    const bytes = mac.seal(key);
    const looked = lookAtEnvelope(bytes, server.escrow.certificates);
    if (looked.kind !== 'ours') throw new Error('not ours');
    return { bytes, envelope: { bytes, recipient: looked.recipient, blocks: looked.blocks } };
  };
  const fromMdm = { source: 'nanomdm', trust: 'mdm', actor: 'mdm' } as const;

  test('is looked at first: ours, somebody else’s (K0, C7), or nothing that could be read', async () => {
    await open();
    const mac = await server.newMac();
    const bytes = mac.seal(newKey());
    expect(lookAtEnvelope(bytes, server.escrow.certificates)).toMatchObject({
      kind: 'ours',
      recipient: certificateDigest(server.escrow.certificates[0]?.der ?? Buffer.alloc(0)),
    });
    expect(lookAtEnvelope(bytes, [])).toMatchObject({ kind: 'foreign', recipient: expect.stringMatching(/^issuer-serial:/) });
    expect(lookAtEnvelope(Buffer.from('no envelope'), server.escrow.certificates)).toMatchObject({ kind: 'unreadable' });
    expect(await codeOf(bring(mac.serial, null, { ...fromMdm, envelope: { bytes, recipient: '0'.repeat(64), blocks: [] } }))).toBe('FOREIGN_RECIPIENT');
  });

  test('is kept and opened, or opened later; the Mac’s own delivery of the very same bytes is worth more', async () => {
    await open();
    const mac = await server.newMac();
    await mac.checkIn();
    const key = newKey();
    const { bytes, envelope } = asItCame(mac, key);
    server.escrow.answers = false;
    const brought = await bring(mac.serial, null, { ...fromMdm, envelope });
    expect(brought).toMatchObject({ fate: 'waiting', because: expect.stringMatching(/opened/) });
    server.escrow.answers = true;
    expect(await server.custody.openLater()).toEqual({ opened: 1, unreadable: 0, waiting: 0 });
    expect(await row(brought.keyId)).toMatchObject({ state: 'offered', fingerprint: expect.any(String) });
    expect(await custodyOf(mac)).toMatchObject({ state: 'doubtful' });
    // The Mac offers it, and it is wanted although its bytes are here: K5.
    expect((await mac.checkIn({ offers: [digestOf(bytes)] })).wanted).toEqual([digestOf(bytes)]);
    const { status, receipt } = await mac.deliver(bytes, { source: 'escrow-file' });
    expect([status, receipt.state]).toEqual([201, 'held']);
    expect(await custodyOf(mac)).toMatchObject({ state: 'held' });
    expect((await mac.checkIn({ offers: [digestOf(bytes)] })).wanted).toEqual([]);
    expect((await mac.deliver(bytes, { source: 'escrow-file' })).status).toBe(200);
    expect(await server.store.db.selectFrom('envelope').selectAll().where('mac_id', '=', mac.id).execute()).toHaveLength(1);
  });

  test('from an enrolment that nobody has confirmed the same bytes are nothing new: it is not given what is in them', async () => {
    await open();
    const mac = await server.newMac({ confirmed: false });
    await mac.checkIn();
    const { bytes, envelope } = asItCame(mac, newKey());
    const brought = await bring(mac.serial, null, { ...fromMdm, envelope });
    expect((await mac.checkIn({ offers: [digestOf(bytes)] })).wanted).toEqual([]);
    expect(await mac.deliver(bytes, { source: 'escrow-file' })).toMatchObject({ status: 200, receipt: { state: 'candidate' } });
    const [order] = (await mac.checkIn()).proofOrders;
    expect(order?.recordId).toBe((await row(brought.keyId)).record_id);
    expect(await codeOf((await mac.ask('prove', order?.recordId ?? '', order?.id ?? '')).give())).toBe('GRANT_REFUSED');
  });

  test('that holds no key is kept and tried no more; one that holds a key which is here is that key', async () => {
    await open();
    const mac = await server.newMac();
    const key = newKey();
    const first = await bring(mac.serial, key);
    server.escrow.answers = false;
    const same = await bring(mac.serial, null, { ...fromMdm, envelope: asItCame(mac, key).envelope });
    const broken = asItCame(mac, newKey());
    const block = readEnvelope(broken.bytes).recipients[0]?.encryptedKey ?? Buffer.alloc(0);
    const at = broken.bytes.indexOf(block) + block.length - 1;
    broken.bytes.writeUInt8((broken.bytes[at] ?? 0) ^ 1, at);
    const bad = await bring(mac.serial, null, { ...fromMdm, envelope: { ...broken.envelope, bytes: broken.bytes } });
    server.escrow.answers = true;
    expect(await server.custody.openLater()).toEqual({ opened: 1, unreadable: 1, waiting: 0 });
    expect(await row(bad.keyId)).toMatchObject({ state: 'refuted', state_because: expect.stringMatching(/does not open to a recovery key/) });
    expect(await row(same.keyId)).toMatchObject({ state: 'withdrawn', state_because: expect.stringContaining(first.keyId ?? ''), bytes: null });
    expect(await server.custody.openLater()).toEqual({ opened: 0, unreadable: 0, waiting: 0 });
  });

  test('for two serial numbers, or one that another Mac delivered, is nobody’s key', async () => {
    await open();
    const [one, two] = [await server.newMac(), await server.newMac()];
    for (const mac of [one, two]) await mac.checkIn();
    const { envelope } = asItCame(one, newKey());
    await bring(one.serial, null, { ...fromMdm, envelope });
    expect(await bring(two.serial, null, { ...fromMdm, envelope })).toMatchObject({ fate: 'refused', because: expect.stringMatching(/another serial number/) });
    const delivered = asItCame(one, newKey());
    await one.deliver(delivered.bytes, { source: 'escrow-file' });
    expect(await bring(two.serial, null, { ...fromMdm, envelope: delivered.envelope })).toMatchObject({
      fate: 'refused',
      because: expect.stringMatching(/one of another Mac/),
    });
    expect(await two.states()).toEqual({});
  });
});
