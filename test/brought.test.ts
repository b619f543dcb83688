import { createHash, randomUUID } from 'node:crypto';
import { afterEach, describe, expect, test } from '@jest/globals';
import { certificateDigest, readEnvelope } from '../protocol/envelope.ts';
import { Problem } from '../protocol/problems.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import { verifyAudit } from '../server/audit.ts';
import type { Bringing } from '../server/brought/bringing.ts';
import { lookAtEnvelope } from '../server/brought/envelopes.ts';
import { bringing, envelopeOfRecord, foreign, recordOf, rowOf } from './brought-parts.ts';
import { codeOf, day, digestOf, type GivenServer, givenServer, hour, minute, newKey, TestEscrowKeys, type TestMac } from './server-parts.ts';

/* Keys that others had: what becomes of each, and what they may never do. */

let server: GivenServer;
let isOpen = false;
const open = async (...wish: Parameters<typeof givenServer>): Promise<GivenServer> => {
  server = await givenServer(...wish);
  isOpen = true;
  return server;
};
afterEach(async () => {
  if (isOpen) await server.close();
  isOpen = false;
});

const bring = async (serial: string, key: RecoveryKey | null, more: Partial<Bringing> = {}) => {
  const [one] = await server.custody.bring([bringing(serial, key, more)]);
  if (!one) throw new Error('nothing came of it');
  return one;
};
const rows = async (serial: string) => server.store.db.selectFrom('brought_key').selectAll().where('serial', '=', serial).orderBy('brought_at').execute();
const row = (id: string | null) => rowOf(server, id);
const record = (id: string | null) => recordOf(server, id);
const custodyOf = async (mac: TestMac) => server.custody.custodyOf(mac.id);
const envelopeOf = (recordId: string | null) => envelopeOfRecord(server, recordId);
const says = async (mac: TestMac, keyId: string | null, answer: 'true' | 'false') => mac.prove(await envelopeOf((await row(keyId)).record_id), answer);
/** K8: two answers, in two runs. */
const refute = async (mac: TestMac, keyId: string | null) => {
  const envelope = await envelopeOf((await row(keyId)).record_id);
  await mac.prove(envelope, 'false');
  server.wall.pass(11 * minute);
  await mac.prove(envelope, 'false');
};
const asked = async (mac: TestMac) => (await mac.checkIn()).proofOrders.map(({ recordId }) => recordId);

describe('a key for a serial number', () => {
  test('of which no Mac has enrolled waits, sealed to our newest certificate; when its Mac comes it is asked about, and `true` makes it held and proved', async () => {
    await open();
    const key = newKey();
    const brought = await bring(' c02brought01 ', key, { madeAt: server.wall.now() - day });
    expect(brought).toMatchObject({ fate: 'waiting', macId: null, because: expect.stringMatching(/no Mac with this serial/) });
    const before = await row(brought.keyId);
    expect(before).toMatchObject({ serial: 'C02BROUGHT01', recipient: server.escrow.certificates[0]?.digest, fingerprint: expect.any(String) });
    expect(Buffer.from(before.bytes ?? []).includes(key.reveal())).toBe(false);

    const mac = await server.newMac({ serial: 'C02BROUGHT01' });
    expect(await mac.checkIn()).toMatchObject({ custody: 'doubtful', held: null, candidates: [{ state: 'candidate' }] });
    const offered = await row(brought.keyId);
    expect(offered).toMatchObject({ state: 'offered', mac_id: mac.id });
    expect(await record(offered.record_id)).toMatchObject({ state: 'candidate', source: 'brought-intune', enrolment_id: null, unverified: 0 });
    expect(await asked(mac)).toEqual([offered.record_id]);
    await says(mac, brought.keyId, 'true');
    expect(await custodyOf(mac)).toMatchObject({ state: 'held', heldRecordId: offered.record_id, provedAt: expect.any(String) });
    expect(await row(brought.keyId)).toMatchObject({ state: 'known', state_because: 'macOS said true to it' });
    // C8: it owes nothing.
    expect(await mac.debts()).toEqual([]);
    expect((await server.custody.disclose({ macId: mac.id, actor: 'a test', reason: 'a test' })).key.equals(key)).toBe(true);
    expect((await verifyAudit(server.store)).ok).toBe(true);
  });

  test('that no Mac can have, or without a key, is refused in words and not stored', async () => {
    await open();
    for (const serial of ['', '   ', 'C02 WITH SPACE', '=CMD()', 'A'.repeat(65), 'C02\nX'])
      expect(await bring(serial, newKey())).toMatchObject({ fate: 'refused', keyId: null, because: expect.stringMatching(/serial/) });
    expect(await bring('C02NOTHING', null)).toMatchObject({ fate: 'refused', because: expect.stringMatching(/neither/) });
    expect(await server.store.db.selectFrom('brought_key').selectAll().execute()).toEqual([]);
  });

  test('that a Mac only claims is not given to it until an admin has confirmed its enrolment', async () => {
    await open();
    const mac = await server.newMac({ serial: 'C02CLAIM0001', serialProved: false, confirmed: false, way: 'ticket' });
    await mac.checkIn();
    const brought = await bring('C02CLAIM0001', newKey());
    expect(brought).toMatchObject({ fate: 'waiting', because: expect.stringMatching(/only claims/) });
    expect(await asked(mac)).toEqual([]);
    expect(await mac.states()).toEqual({});
    await server.custody.confirmEnrolment({ enrolmentId: mac.enrolmentId, actor: 'ada', reason: 'on my desk' });
    expect(await row(brought.keyId)).toMatchObject({ state: 'offered', mac_id: mac.id });
  });

  test('that two Macs claim waits; one that its certificate proves has it, whoever else claims it', async () => {
    await open();
    const one = await server.newMac({ serial: 'C02TWICE0001', serialProved: false });
    const two = await server.newMac({ serial: 'C02TWICE0001', serialProved: false });
    for (const mac of [one, two]) await mac.checkIn();
    const brought = await bring('C02TWICE0001', newKey());
    expect(brought).toMatchObject({ fate: 'waiting', because: expect.stringMatching(/more than one/) });
    const proved = await server.newMac({ serial: 'C02TWICE0001' });
    await proved.checkIn();
    expect(await row(brought.keyId)).toMatchObject({ state: 'offered', mac_id: proved.id });
    expect(await one.states()).toEqual({});
  });

  test('that comes again is the same key: nothing is stored twice, and its newer date counts', async () => {
    await open();
    const key = newKey();
    const first = await bring('C02AGAIN0001', key, { madeAt: 1000 });
    expect(await bring('c02again0001', key, { madeAt: 2000 })).toMatchObject({
      fate: 'known',
      keyId: first.keyId,
      because: expect.stringMatching(/brought before/),
    });
    expect(await bring('C02AGAIN0001', key, { madeAt: 500 })).toMatchObject({ fate: 'known' });
    expect(await rows('C02AGAIN0001')).toMatchObject([{ made_at: 2000, state: 'waiting' }]);
    // The same key for another serial number is that one's own matter: a proof decides.
    expect(await bring('C02AGAIN0002', key)).toMatchObject({ fate: 'waiting' });
  });

  test('500 are one act, and more are refused before anything is stored', async () => {
    await open();
    const many = Array.from({ length: 501 }, (_, at) => bringing(`C02MANY${at}`, newKey()));
    await expect(server.custody.bring(many)).rejects.toThrow(RangeError);
    expect(await server.acts('brought.stored')).toEqual([]);
    expect(await server.custody.bring(many.slice(0, 20))).toHaveLength(20);
    expect(await server.acts('brought.stored')).toHaveLength(20);
  });
});

describe('one at a time', () => {
  test('the newest by its source’s date is asked about first, and the next when it was refuted (K8); a refuted one is superseded and counts as no doubt', async () => {
    await open();
    const mac = await server.newMac();
    foreign(mac);
    await mac.checkIn();
    const made = server.wall.now();
    const [old, young, undated] = await server.custody.bring([
      bringing(mac.serial, newKey(), { madeAt: made - 30 * day }),
      bringing(mac.serial, newKey(), { madeAt: made - day }),
      bringing(mac.serial, newKey()),
    ]);
    expect([old?.fate, young?.fate, undated?.fate]).toEqual(['waiting', 'offered', 'waiting']);
    expect(old?.because).toMatch(/asked about first/);
    await refute(mac, young?.keyId ?? null);
    const first = await row(young?.keyId ?? null);
    expect(first).toMatchObject({ state: 'refuted', state_because: expect.stringMatching(/twice/) });
    expect(await record(first.record_id)).toMatchObject({ state: 'superseded', refuted_at: expect.any(Number), state_because: expect.stringMatching(/^K8/) });
    expect(await row(old?.keyId ?? null)).toMatchObject({ state: 'offered' });
    expect(await row(undated?.keyId ?? null)).toMatchObject({ state: 'waiting' });
    await refute(mac, old?.keyId ?? null);
    await refute(mac, undated?.keyId ?? null);
    // None is left: the MDM has the key, and nothing here says that it is lost.
    await mac.checkIn({ exhausted: true });
    expect(await custodyOf(mac)).toMatchObject({ state: 'foreign', candidates: 0 });
    // Brought again, what was refuted is asked about no more.
    expect(await asked(mac)).toEqual([]);
  });

  test('K7 after K8: macOS says true to one that it had refuted: it is a candidate again, with an alarm, and one more `true` makes it held', async () => {
    await open();
    const mac = await server.newMac();
    await mac.checkIn();
    const brought = await bring(mac.serial, newKey());
    await refute(mac, brought.keyId);
    server.wall.pass(minute);
    await says(mac, brought.keyId, 'true');
    const { record_id: recordId } = await row(brought.keyId);
    expect(await record(recordId)).toMatchObject({ state: 'candidate' });
    expect(await server.alarms()).toEqual(['SUPERSEDED_PROVED']);
    server.wall.pass(minute);
    await says(mac, brought.keyId, 'true');
    expect(await record(recordId)).toMatchObject({ state: 'held', refuted_at: null });
    expect(await row(brought.keyId)).toMatchObject({ state: 'known', state_because: 'macOS said true to it' });
  });

  test('K7 of one supersedes the other candidates; the brought key of a superseded one is known, and not asked about after a foreign change', async () => {
    await open();
    const mac = await server.newMac();
    await mac.checkIn();
    const brought = await bring(mac.serial, newKey());
    const { recordId, envelopeId } = await mac.escrowed();
    await mac.prove(envelopeId, 'true');
    expect((await mac.states())[recordId]).toBe('held');
    expect(await row(brought.keyId)).toMatchObject({ state: 'known', state_because: expect.stringMatching(/another key/) });
    server.wall.pass(hour);
    foreign(mac);
    await mac.checkIn();
    expect((await row(brought.keyId)).state).toBe('known');
  });
});

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

describe('a key that came without a device identity', () => {
  const strange = { source: 'crypt', trust: 'header', actor: 'a Crypt client' } as const;

  test('counts for nothing: no custody, no doubt, never shown, no key to change with; only `true` makes it count', async () => {
    await open();
    const mac = await server.newMac();
    await mac.checkIn();
    const key = newKey();
    const brought = await bring(mac.serial, key, strange);
    expect(brought.fate).toBe('offered');
    const { record_id: recordId } = await row(brought.keyId);
    expect(await record(recordId)).toMatchObject({ state: 'candidate', unverified: 1 });
    expect(await mac.checkIn()).toMatchObject({ custody: 'none', candidates: [], proofOrders: [{ recordId }] });
    expect((await server.custody.fleet()).macs).toMatchObject([{ state: 'none', candidates: 0 }]);
    expect(await server.custody.macReport(mac.id)).toMatchObject({ keys: [{ verified: false }], brought: [{ state: 'offered', trust: 'header' }] });
    expect(await codeOf(server.custody.disclose({ macId: mac.id, actor: 'ada', reason: 'locked out' }))).toBe('KEY_UNKNOWN');
    expect(await codeOf(server.custody.disclose({ macId: mac.id, actor: 'ada', reason: 'locked out', recordId: recordId ?? '' }))).toBe('KEY_UNKNOWN');
    expect(await codeOf(server.custody.discloseBrought({ serial: mac.serial, actor: 'ada', reason: 'locked out' }))).toBe('KEY_UNKNOWN');
    // With a debt open, too, it is no key to rotate with; to prove with, it is.
    const orderId = (await mac.checkIn()).proofOrders[0]?.id ?? '';
    await mac.owe();
    const rotate = await mac.ask('rotate', recordId ?? '', randomUUID());
    expect(await codeOf(mac.begin({ id: rotate.request.forId, grant: rotate.request }))).toBe('GRANT_REFUSED');
    const prove = await mac.ask('prove', recordId ?? '', orderId);
    expect((await prove.open((await prove.give()).jwe))?.equals(key)).toBe(true);
    await says(mac, brought.keyId, 'true');
    expect(await record(recordId)).toMatchObject({ state: 'held', unverified: 0 });
    expect(await custodyOf(mac)).toMatchObject({ state: 'held', heldRecordId: recordId });
  });

  test('makes a held key doubtful in nothing, and a refuted one leaves nothing behind', async () => {
    await open();
    const mac = await server.newMac();
    const { recordId } = await mac.escrowed();
    const brought = await bring(mac.serial, newKey(), strange);
    expect(brought.fate).toBe('offered');
    expect(await custodyOf(mac)).toMatchObject({ state: 'held', heldRecordId: recordId, candidates: 0 });
    await refute(mac, brought.keyId);
    expect(await custodyOf(mac)).toMatchObject({ state: 'held', heldRecordId: recordId });
    expect((await row(brought.keyId)).state).toBe('refuted');
  });

  test('is asked about once in a week and kept three deep: strangers fill neither the disk nor the budget of wrong keys', async () => {
    await open();
    const mac = await server.newMac();
    await mac.checkIn();
    const first = await bring(mac.serial, newKey(), strange);
    const more = [await bring(mac.serial, newKey(), strange), await bring(mac.serial, newKey(), strange), await bring(mac.serial, newKey(), strange)];
    expect(more.map(({ fate }) => fate)).toEqual(['waiting', 'waiting', 'waiting']);
    expect(await bring(mac.serial, newKey(), strange)).toMatchObject({
      fate: 'refused',
      because: expect.stringMatching(/wait for this serial number already/),
    });
    expect(await server.acts('brought.refused')).toHaveLength(1);
    await refute(mac, first.keyId);
    expect(await asked(mac)).toEqual([]);
    server.wall.pass(7 * day);
    expect(await asked(mac)).toHaveLength(1);
  });

  test('keeps no key back that somebody answers for, and counts as that one’s when it is the same', async () => {
    await open();
    const mac = await server.newMac();
    await mac.checkIn();
    const key = newKey();
    const strangers = await bring(mac.serial, key, strange);
    const admins = await bring(mac.serial, newKey());
    expect(admins.fate).toBe('offered');
    expect(await bring(mac.serial, key)).toMatchObject({ fate: 'offered', keyId: strangers.keyId });
    expect(await row(strangers.keyId)).toMatchObject({ trust: 'admin', source: 'intune' });
    expect(await record((await row(strangers.keyId)).record_id)).toMatchObject({ unverified: 0 });
    expect(await custodyOf(mac)).toMatchObject({ state: 'doubtful', candidates: 2 });
  });

  test('is the Mac’s own when the Mac itself delivers it', async () => {
    await open();
    const mac = await server.newMac();
    await mac.checkIn();
    const key = newKey();
    const brought = await bring(mac.serial, key, strange);
    const { receipt } = await mac.deliver(key, { source: 'escrow-file' });
    expect(receipt).toMatchObject({ state: 'held', recordId: (await row(brought.keyId)).record_id });
    expect(await record(receipt.recordId)).toMatchObject({ unverified: 0, enrolment_id: mac.enrolmentId, source: 'escrow-file' });
    expect(await row(brought.keyId)).toMatchObject({ state: 'known', state_because: expect.stringMatching(/itself delivered/) });
    await refute(mac, brought.keyId); // K8 as it stands: what the Mac itself delivered stays where it is.
    expect(await record(receipt.recordId)).toMatchObject({ state: 'held', refuted_at: expect.any(Number) });
  });
});

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
      fate: 'waiting',
      because: expect.stringMatching(/another envelope/),
    });
    expect(await two.states()).toEqual({});
  });
});

describe('whoever can write the database', () => {
  test.each<[string, object]>([
    ['moves it to another Mac', { serial: 'C02VICTIM001' }],
    ['makes a stranger’s word an admin’s', { trust: 'admin' }],
    ['calls it another key', { fingerprint: createHash('sha256').update('x').digest('hex') }],
  ])('%s: it becomes no record and is shown to nobody, and the alarm says so', async (_, change) => {
    await open();
    const brought = await bring('C02OTHER0001', newKey(), { source: 'crypt', trust: 'header' });
    await server.store.write((tx) =>
      tx
        .updateTable('brought_key')
        .set(change)
        .where('id', '=', brought.keyId ?? '')
        .execute(),
    );
    const { serial } = await row(brought.keyId);
    if ('trust' in change) expect(await codeOf(server.custody.discloseBrought({ serial, actor: 'ada', reason: 'a test' }))).toBe('ROW_TAMPERED');
    const mac = await server.newMac({ serial });
    await mac.checkIn();
    expect(await mac.states()).toEqual({});
    expect(await server.alarms()).toContain('ROW_TAMPERED');
  });
});

describe('shown before there is a record', () => {
  test('a key of a Mac without agent is shown with what is known of it, audited first; a task is opened, and nothing of it is a proof', async () => {
    await open();
    const [older, newer] = [newKey(), newKey()];
    await server.custody.bring([bringing('C02NOAGENT01', older, { madeAt: 1000 }), bringing('C02NOAGENT01', newer, { madeAt: 2000 })]);
    expect(await codeOf(server.custody.discloseBrought({ serial: 'C02NOAGENT01', actor: 'ada', reason: ' ' }))).toBe('REASON_MISSING');
    const shown = await server.custody.discloseBrought({ serial: 'c02noagent01', actor: 'ada', reason: 'locked out' });
    expect(shown).toMatchObject({ source: 'intune', madeAt: 2000, others: 1, dueAt: server.clock.now() + 3 * day });
    expect(shown.key.equals(newer)).toBe(true);
    const next = await server.custody.discloseBrought({ serial: 'C02NOAGENT01', actor: 'ada', reason: 'it was refused', refused: [shown.keyId] });
    expect(next.key.equals(older)).toBe(true);
    expect(await server.acts('brought.disclosed')).toMatchObject([{ actor: 'ada', details: { reason: 'locked out', keyId: shown.keyId } }, { actor: 'ada' }]);
    expect(await codeOf(server.custody.discloseBrought({ serial: 'C02NOAGENT01', actor: 'ada', reason: 'x', refused: [shown.keyId, next.keyId] }))).toBe(
      'KEY_UNKNOWN',
    );
    expect(await server.store.db.selectFrom('mdm_task').selectAll().execute()).toMatchObject([{ serial: 'C02NOAGENT01', mac_id: null, closed_at: null }]);
    // Nobody opens it: said, audited, and no key.
    server.escrow.answers = false;
    expect(await codeOf(server.custody.discloseBrought({ serial: 'C02NOAGENT01', actor: 'ada', reason: 'x' }))).toBe('CANNOT_OPEN');
    expect(await server.acts('brought.not-shown')).toHaveLength(1);
  });

  test('when it becomes a record, who saw it is in the Mac’s own list, a young view is a hold, and its replacement is owed', async () => {
    await open();
    const brought = await bring('C02SHOWN0001', newKey());
    await server.custody.discloseBrought({ serial: 'C02SHOWN0001', actor: 'ada', reason: 'locked out' });
    server.wall.pass(hour);
    const mac = await server.newMac({ serial: 'C02SHOWN0001' });
    const reply = await mac.checkIn();
    expect(reply.debts.map((debt) => debt.because)).toEqual(['disclosed']);
    expect(reply.hold).not.toBeNull();
    const report = await server.custody.macReport(mac.id);
    expect(report.disclosures).toMatchObject([{ actor: 'ada', reason: 'locked out', shown: true }]);
    expect(await record((await row(brought.keyId)).record_id)).toMatchObject({ disclosed_at: (await row(brought.keyId)).disclosed_at });
    // Once, however often it is settled.
    server.wall.pass(hour);
    await mac.checkIn();
    expect((await server.custody.macReport(mac.id)).disclosures).toHaveLength(1);
  });

  test('in doubt a person is shown the Mac’s own key first, and what others brought after it; but first where the own one is old', async () => {
    await open();
    const mac = await server.newMac();
    const { recordId, envelopeId } = await mac.escrowed();
    const brought = await bring(mac.serial, newKey());
    expect(brought.fate).toBe('offered');
    const shown = (refused: string[] = []) => server.custody.disclose({ macId: mac.id, actor: 'ada', reason: 'locked out', refused });
    expect(await shown()).toMatchObject({ recordId, unprovedFrom: null, others: 1 });
    expect(await shown([recordId])).toMatchObject({ recordId: (await row(brought.keyId)).record_id, unprovedFrom: 'intune', others: 0 });
    await mac.prove(envelopeId, 'false');
    server.wall.pass(11 * minute);
    await mac.prove(envelopeId, 'false');
    expect(await shown()).toMatchObject({ recordId: (await row(brought.keyId)).record_id });
    // Refuted, it is offered to nobody, also when every other key was refused.
    await refute(mac, brought.keyId);
    expect(await codeOf(shown([recordId]))).toBe('KEY_UNKNOWN');
  });

  test('a Mac with keys of its own is asked for those', async () => {
    await open();
    const mac = await server.newMac();
    await mac.escrowed();
    await bring(mac.serial, newKey());
    await expect(server.custody.discloseBrought({ serial: mac.serial, actor: 'ada', reason: 'x' })).rejects.toThrow(Problem);
  });
});

describe('an import that is taken back', () => {
  const run = async (id: string, withdrawn = false): Promise<string> => {
    const at = server.clock.now();
    const row = {
      id,
      source: 'intune',
      name: 'export.csv',
      digest: null,
      mapping: '{}',
      actor: 'ada',
      reason: 'x',
      started_at: at,
      ended_at: at,
      withdrawn_at: withdrawn ? at : null,
    };
    await server.store.write((tx) => tx.insertInto('import_run').values(row).execute());
    return id;
  };
  const line = (runId: string, serial: string, keyId: string | null) =>
    server.store.write((tx) => tx.insertInto('import_line').values({ run_id: runId, line: 1, serial, fate: 'known', because: 'x', key_id: keyId }).execute());

  test('takes what waits, what is asked about and what was refuted; proved ones stay, and so does what was shown, or another run brought too', async () => {
    await open();
    const runId = await run('run-1');
    const macs = await Promise.all(Array.from({ length: 4 }, () => server.newMac()));
    for (const mac of macs) await mac.checkIn();
    const [proved, asking, refuted, shown] = macs as [TestMac, TestMac, TestMac, TestMac];
    const keys = [];
    for (const mac of macs) keys.push(await bring(mac.serial, newKey(), { runId }));
    const waiting = await bring('C02WAITS0001', newKey(), { runId });
    const twice = await bring('C02TWORUNS01', newKey(), { runId });
    await line(await run('run-2'), 'C02TWORUNS01', twice.keyId);
    const gone = await bring('C02TWORUNS02', newKey(), { runId });
    await line(await run('run-3', true), 'C02TWORUNS02', gone.keyId);
    await says(proved, keys[0]?.keyId ?? null, 'true');
    await refute(refuted, keys[2]?.keyId ?? null);
    await server.custody.disclose({ macId: shown.id, actor: 'ada', reason: 'locked out' });

    expect(await codeOf(server.custody.withdrawRun({ runId, actor: 'ada', reason: '' }))).toBe('REASON_MISSING');
    expect(await server.custody.withdrawRun({ runId, actor: 'ada', reason: 'wrong file' })).toEqual({ withdrawn: 4, kept: 3 });
    expect(await custodyOf(proved)).toMatchObject({ state: 'held' });
    expect(await custodyOf(asking)).toMatchObject({ state: 'none', candidates: 0 });
    expect(await asked(asking)).toEqual([]);
    expect(await custodyOf(shown)).toMatchObject({ state: 'doubtful' });
    expect(await row(waiting.keyId)).toMatchObject({ state: 'withdrawn', bytes: null, state_because: 'wrong file' });
    expect(await row(twice.keyId)).toMatchObject({ state: 'waiting', run_id: 'run-2' });
    expect(await row(gone.keyId)).toMatchObject({ state: 'withdrawn' });
    expect(await server.store.db.selectFrom('envelope').selectAll().where('mac_id', '=', asking.id).execute()).toEqual([]);
    // Again it takes what is left to take: nothing.
    expect(await server.custody.withdrawRun({ runId, actor: 'ada', reason: 'wrong file' })).toEqual({ withdrawn: 0, kept: 2 });
  });

  test('a key that was taken back may come again, by an import or from the Mac, as if for the first time', async () => {
    await open();
    const mac = await server.newMac();
    await mac.checkIn();
    const key = newKey();
    await bring(mac.serial, key, { runId: await run('run-1') });
    await server.custody.withdrawRun({ runId: 'run-1', actor: 'ada', reason: 'wrong file' });
    const again = await bring(mac.serial, key, { runId: await run('run-2') });
    expect(again.fate).toBe('offered');
    // Another one waits behind it, and is asked about when it is gone.
    const behind = await bring(mac.serial, newKey());
    expect(behind.fate).toBe('waiting');
    await server.custody.withdrawRun({ runId: 'run-2', actor: 'ada', reason: 'wrong again' });
    expect((await row(behind.keyId)).state).toBe('offered');
    expect((await mac.deliver(key, { source: 'escrow-file' })).receipt.state).toBe('held');
  });

  test('one that the Mac was just given to prove stays: its answer is on its way', async () => {
    await open();
    const mac = await server.newMac();
    await mac.checkIn();
    const brought = await bring(mac.serial, newKey(), { runId: await run('run-1') });
    const [order] = (await mac.checkIn()).proofOrders;
    await (await mac.ask('prove', order?.recordId ?? '', order?.id ?? '')).give();
    expect(await server.custody.withdrawRun({ runId: 'run-1', actor: 'ada', reason: 'wrong file' })).toEqual({ withdrawn: 0, kept: 1 });
    await says(mac, brought.keyId, 'true');
    expect(await custodyOf(mac)).toMatchObject({ state: 'held' });
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

test('a server that can never open keeps what was brought with a key, and says nothing more of it', async () => {
  const escrow = new TestEscrowKeys();
  escrow.canOpen = false;
  await open({}, escrow);
  const mac = await server.newMac();
  await mac.checkIn();
  const brought = await bring(mac.serial, newKey());
  expect(brought.fate).toBe('offered');
  expect(await custodyOf(mac)).toMatchObject({ state: 'doubtful' });
  expect(await codeOf(server.custody.discloseBrought({ serial: 'C02NOBODY001', actor: 'ada', reason: 'x' }))).toBe('KEY_UNKNOWN');
});
