import { createHash, randomUUID } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { verifyAudit } from '../server/audit.ts';
import { bringing, foreign, useBrought } from './brought-parts.ts';
import { codeOf, day, type GivenServer, hour, minute, newKey, TestEscrowKeys } from './server-parts.ts';

/* Keys that others had: what becomes of each, and what they may never do. */

const brought = useBrought();
const { bring, rows, row, record, custodyOf, says, refute, asked } = brought;
let server: GivenServer;
const open = async (...wish: Parameters<typeof brought.open>): Promise<void> => {
  server = await brought.open(...wish);
};

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

  test('is asked about last, however long it has waited: it costs a key that somebody answers for neither a try nor a day', async () => {
    await open();
    const mac = await server.newMac();
    await mac.checkIn();
    const strangers = await bring(mac.serial, newKey(), strange);
    const stranger = (await row(strangers.keyId)).record_id;
    expect(await asked(mac)).toEqual([stranger]);
    server.wall.pass(minute);
    const admins = await bring(mac.serial, newKey());
    const theirs = (await row(admins.keyId)).record_id;
    expect(await asked(mac)).toEqual([theirs, stranger]);
    server.wall.pass(minute);
    const { recordId, envelopeId } = await mac.escrowed();
    expect((await asked(mac)).at(-1)).toBe(stranger);
    // A held key that is older than macOS's newest file goes before a stranger's too.
    await mac.prove(envelopeId, 'true');
    server.wall.pass(day);
    foreign(mac);
    const later = await bring(mac.serial, newKey(), strange);
    server.wall.pass(7 * day);
    const last = await asked(mac);
    expect([last[0], last.at(-1)]).toEqual([recordId, (await row(later.keyId)).record_id]);
    expect(last).toHaveLength(2);
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
