import { randomBytes, randomUUID } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { checkInRequest } from '../protocol/messages.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import { print } from '../server/command.ts';
import { codeOf, day, digestOf, type GivenServer, givenServer, hour, minute, newKey, newUuid, type TestMac } from './server-parts.ts';
import { cpuTime } from './waiting.ts';

const given = async (...wish: Parameters<typeof givenServer>): Promise<{ server: GivenServer; mac: TestMac }> => {
  const server = await givenServer(...wish);
  return { server, mac: await server.newMac() };
};
const show = (server: GivenServer, mac: TestMac, more: object = {}) => server.custody.disclose({ macId: mac.id, actor: 'help desk', reason: 'asked', ...more });
const garbage = () => randomBytes(300);
const recordOf = (server: GivenServer, id: string) => server.store.db.selectFrom('key_record').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
const revoke = (server: GivenServer, enrolmentId: string) =>
  server.store.write((tx) => tx.updateTable('enrolment').set({ status: 'revoked', status_at: server.clock.now() }).where('id', '=', enrolmentId).execute());

describe('what a Mac is told', () => {
  test('alarms about its deliveries are for the admin; a Mac sees only those that stop it', async () => {
    const { server, mac } = await given();
    await mac.escrowed();
    const envelope = mac.seal(newKey());
    await mac.deliver(envelope);
    const other = await server.newMac();
    await other.checkIn();
    await other.deliver(envelope);
    for (const bytes of [garbage(), garbage()]) await other.deliver(bytes);
    expect(new Set(await server.alarms())).toEqual(new Set(['ENVELOPE_REUSED', 'UNREADABLE_DELIVERIES']));
    expect((await other.checkIn()).alarms).toEqual([]);
    await server.close();
  });

  test('an alarm that only a replacement can end does not keep the Mac from replacing', async () => {
    const { server, mac } = await given();
    const { recordId } = await mac.escrowed();
    const [order] = (await mac.checkIn()).proofOrders;
    await (await mac.ask('prove', recordId, order?.id ?? '')).give();
    server.wall.pass(day + minute);
    await server.custody.sweepTimers();
    expect(await server.alarms()).toEqual(['GRANT_NOT_CLOSED']);
    expect((await mac.checkIn()).alarms).toEqual([]);
    await mac.rotate();
    expect(await server.alarms()).toEqual([]);
    await server.close();
  });

  test('a key that nobody has opened yet is not opened by asking for a grant', async () => {
    const { server, mac } = await given();
    await mac.checkIn();
    server.escrow.answers = false;
    const { recordId } = (await mac.deliver(garbageFor(mac))).receipt;
    server.escrow.answers = true;
    await mac.owe('used');
    const before = server.escrow.opened;
    const id = randomUUID();
    const { request } = await mac.ask('rotate', recordId, id);
    expect(await codeOf(mac.begin({ id, grant: request }))).toBe('CANNOT_OPEN');
    expect(server.escrow.opened).toBe(before);
    await server.close();
  });

  test('the answer names at most 32 candidates, the newest', async () => {
    const { server, mac } = await given();
    await mac.escrowed();
    for (let i = 0; i < 34; i += 1) await mac.deliver(newKey());
    expect((await mac.checkIn()).candidates).toHaveLength(32);
    await server.close();
  });
});

/** Well addressed, and not a key: its tag does not fit. */
function garbageFor(mac: TestMac): Buffer {
  const envelope = mac.seal(newKey());
  envelope.writeUInt8(envelope.readUInt8(envelope.length - 1) ^ 1, envelope.length - 1);
  return envelope;
}

describe('whoever is enrolled as the same Mac', () => {
  const withOther = async () => {
    const { server, mac } = await given();
    const good = await mac.escrowed();
    const first = { id: mac.enrolmentId, identity: mac.identity };
    await mac.enrol({ confirmed: false }, true);
    const second = { id: mac.enrolmentId, identity: mac.identity };
    const as = (who: typeof first, more: object = {}) => {
      mac.enrolmentId = who.id;
      mac.identity = who.identity;
      mac.callerMore = { ...mac.callerMore, confirmed: who === first, ...more };
    };
    as(first);
    return { server, mac, good, first, second, as };
  };

  test('K3: the key of a rotation comes from the enrolment that began it; another’s is a candidate and supersedes nothing', async () => {
    const { server, mac, good, first, second, as } = await withOther();
    await mac.owe('used');
    const { rotationId } = await mac.begin();
    server.wall.pass(1000);
    as(second);
    const { receipt } = await mac.deliver(newKey(), { source: 'rotation', validated: 'true', rotationId });
    expect(receipt.state).toBe('candidate');
    expect(await mac.states()).toMatchObject({ [good.recordId]: 'held' });
    as(first);
    const own = (await mac.deliver(newKey(), { source: 'rotation', validated: 'true', rotationId })).receipt;
    expect(await mac.states()).toMatchObject({ [own.recordId]: expect.stringMatching(/held|candidate/) });
    await server.close();
  });

  test('K9: what an unconfirmed enrolment says supersedes for a while and destroys nothing; a confirmed one’s does', async () => {
    const { server, mac, good, second, as } = await withOther();
    as(second);
    server.wall.pass(minute);
    await mac.checkIn();
    const fake = (await mac.deliver(newKey())).receipt;
    await mac.prove(fake.envelopeId, 'true');
    expect(await mac.states()).toEqual({ [good.recordId]: 'superseded', [fake.recordId]: 'held' });
    server.wall.pass(91 * day);
    await server.custody.retire();
    expect(await mac.states()).toMatchObject({ [good.recordId]: 'superseded' });
    await server.custody.confirmEnrolment({ enrolmentId: second.id, actor: 'admin', reason: 'on my desk' });
    await server.store.write((tx) => tx.updateTable('alarm').set({ judged_at: 1 }).execute());
    expect(await server.custody.retire()).toEqual({ destroyed: 1 });
    await server.close();
  });

  test('K9: nothing is destroyed while an alarm waits for an admin', async () => {
    const { server, mac } = await given();
    const old = await mac.escrowed();
    await mac.owe('used');
    await mac.rotate();
    server.wall.pass(91 * day);
    await codeOf(mac.deliver(newKey(), { hardwareUuid: newUuid() }));
    expect(await server.custody.retire()).toEqual({ destroyed: 0 });
    expect(await mac.states()).toMatchObject({ [old.recordId]: 'superseded' });
    await server.close();
  });

  test('a second enrolment of a Mac is confirmed by policy a day after the first went silent, never beside one that is alive or was revoked', async () => {
    const { server, first, second } = await withOther();
    const confirmed = async () =>
      (await server.store.db.selectFrom('enrolment').select('confirmed').where('id', '=', second.id).executeTakeFirstOrThrow()).confirmed;
    const set = (status: 'active' | 'revoked' | 'replaced') =>
      server.store.write((tx) => tx.updateTable('enrolment').set({ status }).where('id', '=', first.id).execute());
    for (const status of ['active', 'revoked'] as const) {
      await set(status);
      await server.custody.sweepTimers();
      expect(await confirmed()).toBe(0);
    }
    await set('replaced');
    await server.custody.sweepTimers();
    expect(await confirmed()).toBe(1);
    expect(await server.acts('enrolment.confirmed')).toMatchObject([{ actor: 'server', details: { enrolmentId: second.id } }]);
    await server.close();
  });
});

describe('grants and begins, asked again', () => {
  test('an enrolment that was revoked after the guard looked gets no grant, no repeat and no begin', async () => {
    const { server, mac } = await given();
    const { recordId } = await mac.escrowed();
    const [order] = (await mac.checkIn()).proofOrders;
    const asked = await mac.ask('prove', recordId, order?.id ?? '');
    await asked.give();
    const debtIds = [await mac.owe('used')];
    await revoke(server, mac.enrolmentId);
    expect(await codeOf(asked.give())).toBe('ENROLMENT_REVOKED');
    expect(await codeOf(mac.begin({ debtIds }))).toBe('ENROLMENT_REVOKED');
    await server.close();
  });

  test('a repeated grant is none any more when the key was shown meanwhile, or is the key no more', async () => {
    const { server, mac } = await given();
    const { recordId } = await mac.escrowed();
    const [order] = (await mac.checkIn()).proofOrders;
    const asked = await mac.ask('prove', recordId, order?.id ?? '');
    await asked.give();
    await show(server, mac);
    expect(await codeOf(asked.give())).toBe('ROTATION_WAIT');
    await server.store.write((tx) => tx.updateTable('disclosure').set({ hold_ended_at: 1 }).execute());
    await asked.give();
    await server.store.write((tx) => tx.updateTable('key_record').set({ state: 'superseded' }).where('id', '=', recordId).execute());
    expect(await codeOf(asked.give())).toBe('GRANT_REFUSED');
    await server.close();
  });

  test('a begin that is repeated after the key was shown has to wait like any other', async () => {
    const { server, mac } = await given();
    await mac.escrowed();
    const debtIds = [await mac.owe('used')];
    const id = randomUUID();
    await mac.begin({ id, debtIds });
    expect((await mac.begin({ id, debtIds })).rotationId).toBe(id);
    await show(server, mac);
    expect(await codeOf(mac.begin({ id, debtIds }))).toBe('ROTATION_WAIT');
    await server.close();
  });

  test('proof orders of Macs that never come back put no others off', async () => {
    const { server, mac } = await given({ grantsPerHour: 2 });
    for (let i = 0; i < 5; i += 1) await (await server.newMac()).escrowed();
    server.wall.pass(2 * day);
    const { recordId } = await mac.escrowed();
    expect((await mac.checkIn()).proofOrders).toMatchObject([{ recordId }]);
    await server.close();
  });
});

describe('answers of macOS that come late', () => {
  test('K8: an old `true` takes nothing of two later `false` away, and moves no date back', async () => {
    const { server, mac } = await given();
    const { envelopeId, recordId } = await mac.escrowed();
    server.wall.pass(hour);
    await mac.prove(envelopeId, 'true');
    const { proved_at: provedAt } = await recordOf(server, recordId);
    await mac.prove(envelopeId, 'true', { agoSeconds: 1800 });
    expect((await recordOf(server, recordId)).proved_at).toBe(provedAt);
    server.wall.pass(hour);
    await mac.prove(envelopeId, 'false');
    server.wall.pass(11 * minute);
    await mac.prove(envelopeId, 'false');
    expect(await mac.checkIn()).toMatchObject({ custody: 'doubtful' });
    await mac.prove(envelopeId, 'true', { agoSeconds: 1800 });
    expect(await mac.checkIn()).toMatchObject({ custody: 'doubtful' });
    await mac.prove(envelopeId, 'true');
    expect(await mac.checkIn()).toMatchObject({ custody: 'held' });
    await server.close();
  });

  test('K2: an envelope that comes late brings an old answer: it says nothing against a key that came after its own', async () => {
    const { server, mac } = await given();
    const old = await mac.escrowed();
    server.wall.pass(hour);
    // After a restore: the present key is one that the server never saw.
    const present = (await mac.deliver(newKey())).receipt;
    server.wall.pass(minute);
    await mac.deliver(old.key, { validated: 'true' });
    expect(await mac.states()).toEqual({ [old.recordId]: 'held', [present.recordId]: 'candidate' });
    await mac.prove(present.envelopeId, 'true');
    expect(await mac.states()).toEqual({ [old.recordId]: 'superseded', [present.recordId]: 'held' });
    await mac.deliver(old.key, { validated: 'true' });
    expect(await mac.states()).toEqual({ [old.recordId]: 'superseded', [present.recordId]: 'held' });
    await server.close();
  });

  test('K9: a key that was destroyed and is said to be valid is an alarm', async () => {
    const { server, mac } = await given();
    const old = await mac.escrowed();
    await mac.owe('used');
    await mac.rotate();
    server.wall.pass(91 * day);
    expect(await server.custody.retire()).toEqual({ destroyed: 1 });
    await mac.prove(old.envelopeId, 'true');
    expect(await server.alarms()).toEqual(['DESTROYED_PROVED']);
    await server.close();
  });

  test('an uptime that no Mac has is refused, because times are reckoned from it', async () => {
    const { server, mac } = await given();
    const body = { facts: mac.facts(), offers: [], debts: [], proofs: [], endings: [], rotation: null, exhausted: false, problems: [] };
    expect(checkInRequest.safeParse(body).success).toBe(true);
    for (const uptimeSeconds of [1e12, 1e300, -1]) expect(checkInRequest.safeParse({ ...body, facts: { ...body.facts, uptimeSeconds } }).success).toBe(false);
    await server.close();
  });
});

describe('whoever can write the database', () => {
  test('cannot have a quarantined envelope opened by calling it a candidate', async () => {
    const { server, mac } = await given();
    const secret = newKey();
    const envelope = mac.seal(secret);
    await mac.escrowed(newKey());
    await mac.deliver(envelope);
    const thief = await server.newMac();
    await thief.checkIn();
    const { recordId } = (await thief.deliver(envelope)).receipt;
    await server.store.write(async (tx) => {
      await tx.updateTable('key_record').set({ state: 'candidate', state_because: 'waits to be opened', opened: 1 }).where('id', '=', recordId).execute();
      await tx.updateTable('envelope').set({ readable: 'not-tried' }).where('record_id', '=', recordId).execute();
    });
    const opened = server.escrow.opened;
    await server.custody.openLater();
    expect(await codeOf(show(server, thief))).toBe('ROW_TAMPERED');
    expect(server.escrow.opened).toBe(opened);
    expect(await server.alarms()).toContain('ROW_TAMPERED');
    await server.close();
  });

  test('cannot slip one among those that wait for an admin to look', async () => {
    const { server, mac } = await given();
    await mac.checkIn();
    for (let i = 0; i < 3; i += 1) await mac.deliver(garbage());
    const kept = (await mac.deliver(newKey())).receipt;
    const slipped = (await mac.deliver(newKey())).receipt;
    await server.store.write((tx) =>
      tx
        .updateTable('envelope')
        .set({ bytes: mac.seal(newKey()) })
        .where('id', '=', slipped.envelopeId)
        .execute(),
    );
    const [alarm] = (await server.custody.fleet()).alarms;
    await server.custody.judgeAlarm({ alarmId: alarm?.id ?? '', actor: 'admin', judgement: 'looked' });
    expect(await server.custody.openLater()).toEqual({ opened: 1, unreadable: 0, waiting: 0 });
    expect(await mac.states()).toMatchObject({ [kept.recordId]: 'held', [slipped.recordId]: 'quarantined' });
    await server.close();
  });
});

describe('bounds', () => {
  test('debts that one Mac makes up end at 64; those that were not stored are not confirmed', async () => {
    const { server, mac } = await given();
    await mac.escrowed();
    const made = () => Array.from({ length: 16 }, () => ({ id: randomUUID(), because: 'used' as const, envelopeId: null, boot: mac.boot }));
    for (let i = 0; i < 4; i += 1) expect((await mac.checkIn({ debts: made() })).confirmed.debts).toHaveLength(16);
    const more = await mac.checkIn({ debts: made() });
    expect([more.confirmed.debts, more.debts.length]).toEqual([[], 64]);
    await server.close();
  });

  test('what a Mac says of itself does not steer a terminal', () => {
    const written: string[] = [];
    const write = process.stdout.write;
    process.stdout.write = ((text: string) => written.push(text) > 0) as typeof write;
    try {
      print({ json: {}, text: 'agent \u001b]0;gone\u0007 \u202e1.0\nnext' }, false);
      print({ json: { agent: '\u001b]0;x \u009b \u202e \u{e0041}' }, text: '' }, true);
    } finally {
      process.stdout.write = write;
    }
    expect(written[0]).toBe('agent ?]0;gone? ?1.0\nnext\n');
    expect(written[1]).toMatch(/^[\x20-\x7e]+\n$/);
    expect(JSON.parse(written[1] ?? '')).toEqual({ agent: '\u001b]0;x \u009b \u202e \u{e0041}' });
  });
});

test('B1: the key of another volume than the present one can be shown, and its hold and debt are that volume’s', async () => {
  const { server, mac } = await given();
  const first = await mac.escrowed();
  const volume = mac.volume;
  mac.volume = newUuid();
  await mac.escrowed();
  const shown = await show(server, mac, { volume: volume.toLowerCase(), person: 'owner' });
  expect((shown.key as RecoveryKey).equals(first.key)).toBe(true);
  expect((await mac.checkIn()).hold).toBeNull();
  expect(await codeOf(show(server, mac, { volume: newUuid() }))).toBe('KEY_UNKNOWN');
  const end = (because: 'back-in' | 'not-me') => server.custody.endHold({ macId: mac.id, actor: 'help desk', because, reason: 'called' });
  expect(await end('back-in')).toBe(false);
  mac.volume = volume;
  expect(await mac.checkIn()).toMatchObject({ hold: expect.anything(), debts: [{ because: 'disclosed' }] });
  mac.volume = newUuid();
  await mac.checkIn();
  expect(await end('not-me')).toBe(true);
  mac.volume = volume;
  expect((await mac.checkIn()).hold).toBeNull();
  await server.close();
});

test('a fleet of 2,000 Macs is told in less than 2 s, as each of them is told', async () => {
  const { server, mac } = await given();
  await mac.escrowed();
  await show(server, mac);
  await codeOf(mac.deliver(newKey(), { hardwareUuid: newUuid() }));
  const { db } = server.store;
  const one = await db.selectFrom('mac').selectAll().where('id', '=', mac.id).executeTakeFirstOrThrow();
  const record = await db.selectFrom('key_record').selectAll().executeTakeFirstOrThrow();
  const envelope = await db.selectFrom('envelope').selectAll().executeTakeFirstOrThrow();
  await server.store.write(async (tx) => {
    for (let i = 0; i < 2000; i += 1) {
      const ids = { id: `mac-${i}`, mac_id: `mac-${i}` };
      await tx
        .insertInto('mac')
        .values({ ...one, id: ids.id, serial: `C02F${i}` })
        .execute();
      await tx
        .insertInto('key_record')
        .values({ ...record, id: `record-${i}`, mac_id: ids.mac_id })
        .execute();
      await tx
        .insertInto('envelope')
        .values({ ...envelope, mac_id: ids.mac_id, record_id: `record-${i}` })
        .execute();
    }
  });
  const tell = async () => {
    const start = cpuTime();
    return { ...(await server.custody.fleet()), took: cpuTime() - start };
  };
  let { macs, counts, took } = await tell();
  // The processor's time is the whole process's: where it did something else meanwhile, it is measured again.
  for (let time = 1; took >= 2000 && time < 3; time += 1) ({ macs, counts, took } = await tell());
  process.stderr.write(`fleet: ${Math.round(took)} ms\n`);
  expect(macs).toHaveLength(2001);
  expect(counts.doubtful).toBe(2001);
  expect(took).toBeLessThan(2000);
  const line = macs.find(({ macId }) => macId === mac.id);
  const { serial, serialProved, lastSeenAt, alarms, macId, adoption, ...custody } = line ?? { serial: '' };
  expect([serial, serialProved, typeof lastSeenAt, alarms, macId, adoption]).toEqual([mac.serial, true, 'string', ['IDENTITY_MOVED'], mac.id, null]);
  expect(custody).toEqual(await server.custody.custodyOf(mac.id));
  expect(digestOf(envelope.bytes ?? Buffer.alloc(0))).toBe(envelope.id);
  await server.close();
});
