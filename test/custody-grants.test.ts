import { describe, expect, test } from '@jest/globals';
import { codeOf, day, type GivenServer, givenServer, hour, type MacWish, minute, newKey, newUuid, second, type TestMac } from './server-parts.ts';

async function given(wish: MacWish = {}, settings = {}): Promise<{ server: GivenServer; mac: TestMac }> {
  const server = await givenServer(settings);
  return { server, mac: await server.newMac(wish) };
}

/** A held key with its proof order. */
async function withProofOrder(mac: TestMac) {
  const held = await mac.escrowed();
  const order = (await mac.checkIn()).proofOrders[0]?.id ?? '';
  return { ...held, order };
}

/** A rotation that is begun with a grant of the held key. */
async function beginWithGrant(mac: TestMac, recordId: string, id: string = newUuid()) {
  const asked = await mac.ask('rotate', recordId, id);
  return { asked, id, begun: () => mac.begin({ id, grant: asked.request }) };
}

describe('what is given', () => {
  test('`rotate` comes with begin: sealed to the run that asked, audited and owed before it is opened', async () => {
    const { server, mac } = await given();
    const { key, recordId } = await mac.escrowed();
    await mac.owe();
    const { asked, begun, id } = await beginWithGrant(mac, recordId);
    const { grant } = await begun();
    expect((await asked.open(grant?.jwe ?? ''))?.equals(key)).toBe(true);
    expect((await server.acts('grant.given'))[0]?.details).toMatchObject({ purpose: 'rotate', forId: id, recordId });
    expect(await mac.debts()).toEqual(expect.arrayContaining(['used', 'granted']));
    server.wall.pass(minute);
    await mac.deliver(newKey(), { source: 'rotation', validated: 'true', rotationId: id });
    expect(await mac.debts()).toEqual([]);
    await server.close();
  });

  test('where audit and debt cannot be stored, nothing is opened', async () => {
    const { server, mac } = await given();
    const { recordId, order } = await withProofOrder(mac);
    const asked = await mac.ask('prove', recordId, order);
    const opened = server.escrow.opened;
    await server.store.db.deleteFrom('audit').where('seq', '>', 0).execute();
    await server.store.db.schema.dropTable('debt').execute();
    await expect(asked.give()).rejects.toThrow(/debt/);
    expect(server.escrow.opened).toBe(opened);
    expect(await server.store.db.selectFrom('grant_given').selectAll().execute()).toEqual([]);
    await server.close();
  });

  test('the same begin with the same key within 5 min is the same answer, and counts once', async () => {
    const { server, mac } = await given();
    const { key, recordId } = await mac.escrowed();
    await mac.owe();
    const { asked, begun } = await beginWithGrant(mac, recordId);
    const first = await begun();
    server.wall.pass(4 * minute);
    const again = await begun();
    expect(again).toMatchObject({ rotationId: first.rotationId, begunAt: first.begunAt });
    expect((await asked.open(again.grant?.jwe ?? ''))?.equals(key)).toBe(true);
    expect(await server.acts('grant.given')).toHaveLength(1);
    server.wall.pass(2 * minute);
    expect(await codeOf(begun())).toBe('GRANT_LIMIT');
    await server.close();
  });

  test('a grant that is refused begins nothing', async () => {
    const { server, mac } = await given({ confirmed: false });
    const { recordId } = await mac.escrowed();
    await mac.owe();
    mac.factsMore = { runtimeSigned: false };
    expect(await codeOf((await beginWithGrant(mac, recordId)).begun())).toBe('GRANT_REFUSED');
    expect((await mac.checkIn()).rotation).toBeNull();
    await server.close();
  });

  test('`prove` is paid by the answer in the same run; an answer of another run leaves it owed, and after 24 h it is an alarm', async () => {
    const { server, mac } = await given();
    const { key, recordId, envelopeId, order } = await withProofOrder(mac);
    const asked = await mac.ask('prove', recordId, order);
    expect((await asked.open((await asked.give()).jwe))?.equals(key)).toBe(true);
    expect(await mac.debts()).toEqual(['granted']);
    server.wall.pass(30 * second);
    await mac.prove(envelopeId, 'true', { orderId: order });
    expect(await mac.debts()).toEqual([]);

    server.wall.pass(40 * day);
    const next = (await mac.checkIn()).proofOrders[0]?.id ?? '';
    await (await mac.ask('prove', recordId, next)).give();
    mac.reboot();
    server.wall.pass(hour);
    await mac.prove(envelopeId, 'true', { orderId: next });
    expect(await mac.debts()).toEqual(['granted']);
    server.wall.pass(23 * hour);
    await server.custody.sweepTimers();
    expect(await server.alarms()).toEqual(['GRANT_NOT_CLOSED']);
    await server.close();
  });

  test('`resolve` gives the old key of an open rotation, also during a hold, at most twice', async () => {
    const { server, mac } = await given();
    const { key, recordId } = await mac.escrowed();
    await mac.owe();
    const { begun, id } = await beginWithGrant(mac, recordId);
    await begun();
    server.wall.pass(10 * minute);
    await server.custody.disclose({ macId: mac.id, actor: 'admin', reason: 'locked out' });
    for (const _ of [1, 2]) {
      const asked = await mac.ask('resolve', recordId, id);
      expect((await asked.open((await asked.give()).jwe))?.equals(key)).toBe(true);
    }
    expect(await codeOf((await mac.ask('resolve', recordId, id)).give())).toBe('GRANT_LIMIT');
    await server.close();
  });

  test('an opener that is away gives nothing, says so, and the same request may be repeated', async () => {
    const { server, mac } = await given();
    const { recordId, order } = await withProofOrder(mac);
    const asked = await mac.ask('prove', recordId, order);
    server.escrow.answers = false;
    expect(await codeOf(asked.give())).toBe('CANNOT_OPEN');
    server.escrow.answers = true;
    expect(await codeOf(asked.give())).toBe('no problem');
    expect(await server.acts('grant.not-given')).toHaveLength(1);
    await server.close();
  });
});

describe('the request', () => {
  test('the nonce is of this Mac, lasts 5 min and is good once', async () => {
    const { server, mac } = await given();
    const { recordId, order } = await withProofOrder(mac);
    const other = await server.newMac();
    const foreign = (await other.checkIn()).grantNonce;
    expect(await codeOf((await mac.ask('prove', recordId, order, { grantNonce: foreign })).give())).toBe('NONCE_REFUSED');
    const late = await mac.ask('prove', recordId, order);
    server.wall.pass(5 * minute + second);
    expect(await codeOf(late.give())).toBe('NONCE_REFUSED');
    const nonce = (await mac.checkIn()).grantNonce;
    expect(await codeOf((await mac.ask('prove', recordId, order, { grantNonce: nonce })).give())).toBe('no problem');
    server.wall.pass(second);
    await server.store.db.deleteFrom('grant_given').execute();
    expect(await codeOf((await mac.ask('prove', recordId, order, { grantNonce: nonce })).give())).toBe('NONCE_REFUSED');
    await server.close();
  });

  test.each([
    ['the signature is of another key', { signature: Buffer.from('no').toString('base64') }],
    ['something was changed after signing', { boot: newUuid() }],
    ['it names another enrolment', { enrolmentId: 'another' }],
    ['it is for `rotate` without begin', { purpose: 'rotate' as const }],
  ])('is refused where %s', async (_name, change) => {
    const { server, mac } = await given();
    const { recordId, order } = await withProofOrder(mac);
    const { request } = await mac.ask('prove', recordId, order);
    expect(await codeOf(server.custody.grant(mac.caller(), { ...request, ...change }))).toBe('GRANT_REFUSED');
    expect(await server.acts('grant.given')).toEqual([]);
    await server.close();
  });

  test('is refused for another boot session than the last check-in, and for the key of another Mac or volume', async () => {
    const { server, mac } = await given();
    const { recordId, order } = await withProofOrder(mac);
    expect(await codeOf((await mac.ask('prove', recordId, order, { boot: newUuid() })).give())).toBe('GRANT_REFUSED');
    const other = await server.newMac();
    const theirs = await withProofOrder(other);
    expect(await codeOf((await mac.ask('prove', theirs.recordId, theirs.order)).give())).toBe('GRANT_REFUSED');
    mac.volume = newUuid();
    expect(await codeOf((await mac.ask('prove', recordId, order)).give())).toBe('GRANT_REFUSED');
    await server.close();
  });
});

describe('who may have it', () => {
  test.each([
    ['its settings are not managed', { settings: { managed: false, unmanagedSince: null, digest: '0'.repeat(64) } }],
    ['its runtime is not signed', { runtimeSigned: false }],
  ])('not where %s', async (_name, factsMore) => {
    const { server, mac } = await given();
    const { recordId, order } = await withProofOrder(mac);
    mac.factsMore = factsMore;
    expect(await codeOf((await mac.ask('prove', recordId, order)).give())).toBe('GRANT_REFUSED');
    await server.close();
  });

  test('not where the profile certificate ran out more than 30 days ago', async () => {
    const server = await givenServer();
    const mac = await server.newMac({ profileNotAfter: server.wall.now() });
    const { recordId, order } = await withProofOrder(mac);
    server.wall.pass(30 * day + second);
    expect(await codeOf((await mac.ask('prove', recordId, order)).give())).toBe('GRANT_REFUSED');
    await server.close();
  });

  test('not while an alarm waits, and not for a superseded key', async () => {
    const { server, mac } = await given();
    const { recordId, order } = await withProofOrder(mac);
    await codeOf(mac.deliver(newKey(), { hardwareUuid: newUuid() }));
    expect(await codeOf((await mac.ask('prove', recordId, order)).give())).toBe('ROTATION_ALARM');
    const [alarm] = (await server.custody.fleet()).alarms;
    await server.custody.judgeAlarm({ alarmId: alarm?.id ?? '', actor: 'admin', judgement: 'fine' });
    await mac.owe();
    await mac.rotate();
    expect(await codeOf((await mac.ask('prove', recordId, order)).give())).toBe('GRANT_REFUSED');
    await server.close();
  });

  test('no `prove` and no `rotate` during a hold', async () => {
    const { server, mac } = await given();
    const { recordId, order } = await withProofOrder(mac);
    await server.custody.disclose({ macId: mac.id, actor: 'admin', reason: 'locked out' });
    expect(await codeOf((await mac.ask('prove', recordId, order)).give())).toBe('ROTATION_WAIT');
    expect(await codeOf((await beginWithGrant(mac, recordId)).begun())).toBe('ROTATION_WAIT');
    await server.close();
  });

  test('a new enrolment gets no key that it has not itself delivered first or proved, until an admin confirms it', async () => {
    const { server, mac } = await given();
    const { key, recordId, envelopeId, order } = await withProofOrder(mac);
    await mac.enrol({ confirmed: false }, true);
    const asks = async () => codeOf((await mac.ask('prove', recordId, order)).give());
    expect(await asks()).toBe('GRANT_REFUSED');
    // The ids of envelopes are in every answer: saying `true` to one shows possession of nothing.
    await mac.prove(envelopeId, 'true');
    await server.store.db.updateTable('proof_order').set({ ended_at: null }).execute();
    expect(await asks()).toBe('GRANT_REFUSED');
    await server.custody.confirmEnrolment({ enrolmentId: mac.enrolmentId, actor: 'admin', reason: 'seen on the desk' });
    mac.callerMore = { ...mac.callerMore, confirmed: true };
    expect(await asks()).toBe('no problem');

    server.wall.pass(2 * day);
    await mac.enrol({ confirmed: false }, true);
    await server.store.db.updateTable('proof_order').set({ ended_at: null }).execute();
    expect(await asks()).toBe('GRANT_REFUSED');
    // Here it brings an envelope of its own, of a key that it knows and macOS said true to.
    await mac.deliver(key, { validated: 'true' });
    await server.store.db.updateTable('proof_order').set({ ended_at: null }).execute();
    expect(await asks()).toBe('no problem');
    await server.close();
  });

  test('an unconfirmed enrolment gets the key that it delivered first itself', async () => {
    const { server, mac } = await given({ confirmed: false });
    const { recordId, order } = await withProofOrder(mac);
    expect(await codeOf((await mac.ask('prove', recordId, order)).give())).toBe('no problem');
    await server.close();
  });

  test('`resolve` only for the enrolment that began the rotation, and only while it is open', async () => {
    const { server, mac } = await given();
    const { recordId } = await mac.escrowed();
    await mac.owe();
    const { rotationId } = await mac.begin();
    const before = await mac.ask('resolve', recordId, rotationId);
    await mac.checkIn({ endings: [{ rotationId, as: 'not-changed', detail: 'R6' }] });
    expect(await codeOf(before.give())).toBe('GRANT_REFUSED');
    const next = await mac.begin();
    await mac.enrol({ confirmed: true }, true);
    expect(await codeOf((await mac.ask('resolve', recordId, next.rotationId)).give())).toBe('GRANT_REFUSED');
    await server.close();
  });

  test('`prove` only for an open proof order of that key', async () => {
    const { server, mac } = await given();
    const { recordId, envelopeId, order } = await withProofOrder(mac);
    expect(await codeOf((await mac.ask('prove', recordId, 'made-up')).give())).toBe('GRANT_REFUSED');
    await mac.prove(envelopeId, 'true');
    expect(await codeOf((await mac.ask('prove', recordId, order)).give())).toBe('GRANT_REFUSED');
    await server.close();
  });
});

describe('limits', () => {
  test('one reason per Mac in 24 h', async () => {
    const { server, mac } = await given();
    const { recordId, order, envelopeId } = await withProofOrder(mac);
    await (await mac.ask('prove', recordId, order)).give();
    await mac.prove(envelopeId, 'unknown', { orderId: order });
    expect(await codeOf((await mac.ask('prove', recordId, order)).give())).toBe('GRANT_LIMIT');
    await mac.owe();
    expect(await codeOf((await beginWithGrant(mac, recordId)).begun())).toBe('GRANT_LIMIT');
    server.wall.pass(day + second);
    expect(await codeOf((await beginWithGrant(mac, recordId)).begun())).toBe('no problem');
    await server.close();
  });

  test('over the fleet’s number in an hour all but `resolve` stop, with an alarm, until an admin has looked', async () => {
    const { server } = await given({}, { grantsPerHour: 2 });
    const macs = [await server.newMac(), await server.newMac(), await server.newMac()] as const;
    const opened = await Promise.all(macs.map((mac) => mac.escrowed()));
    for (const mac of macs) await mac.owe();
    const rotations = [];
    for (const [i, mac] of macs.slice(0, 2).entries()) {
      const { begun, id } = await beginWithGrant(mac, opened[i]?.recordId ?? '');
      await begun();
      rotations.push(id);
    }
    const third = async () => codeOf((await beginWithGrant(macs[2], opened[2]?.recordId ?? '')).begun());
    expect(await third()).toBe('GRANT_LIMIT');
    expect(await server.alarms()).toEqual(['GRANTS_STOPPED']);
    server.wall.pass(2 * hour);
    expect(await third()).toBe('GRANT_LIMIT');
    expect(await codeOf((await macs[0].ask('resolve', opened[0]?.recordId ?? '', rotations[0] ?? '')).give())).toBe('no problem');
    const [alarm] = (await server.custody.fleet()).alarms;
    await server.custody.judgeAlarm({ alarmId: alarm?.id ?? '', actor: 'admin', judgement: 'a fleet of new Macs' });
    expect(await third()).toBe('no problem');
    await server.close();
  });

  test('the proof orders of a newly enrolled fleet are spread over the hours', async () => {
    const { server } = await given({}, { grantsPerHour: 4 });
    const macs: TestMac[] = [];
    for (let n = 0; n < 6; n += 1) macs.push(await server.newMac());
    for (const mac of macs) await mac.escrowed();
    const asked = async () => (await Promise.all(macs.map((mac) => mac.checkIn()))).filter((reply) => reply.proofOrders.length > 0).length;
    expect(await asked()).toBe(2);
    server.wall.pass(hour);
    expect(await asked()).toBe(4);
    server.wall.pass(hour);
    expect(await asked()).toBe(6);
    await server.close();
  });

  test.each([
    ['profile', 'automatic', false, 'no problem'],
    ['ticket', 'automatic', false, 'GRANT_REFUSED'],
    ['ticket', 'automatic', true, 'no problem'],
    ['profile', 'ordered-only', false, 'GRANT_REFUSED'],
    ['profile', 'ordered-only', true, 'no problem'],
    ['profile', 'never', true, 'GRANT_REFUSED'],
  ] as const)('an enrolment by %s with grants %s, ordered by an admin: %s → %s', async (way, grants, ordered, code) => {
    const { server, mac } = await given({ way }, { grants });
    const { recordId } = await mac.escrowed();
    await mac.owe();
    if (ordered) await server.custody.orderRotation({ macId: mac.id, actor: 'admin', reason: 'because' });
    expect(await codeOf((await beginWithGrant(mac, recordId)).begun())).toBe(code);
    await server.close();
  });
});
