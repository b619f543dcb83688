import { describe, expect, test } from '@jest/globals';
import { beginReply, checkInReply } from '../protocol/messages.ts';
import { holdOf, isBackIn, rotationDue } from '../server/rotation-due.ts';
import { codeOf, day, type GivenServer, givenServer, hour, minute, newKey, newUuid, second, type TestMac } from './server-parts.ts';

async function given(settings = {}): Promise<{ server: GivenServer; mac: TestMac; show: (person?: string) => Promise<string> }> {
  const server = await givenServer(settings);
  const mac = await server.newMac();
  const show = async (person?: string) =>
    (await server.custody.disclose({ macId: mac.id, actor: 'admin', reason: 'locked out', ...(person === undefined ? {} : { person }) })).recordId;
  return { server, mac, show };
}

describe('debts', () => {
  test('a debt that the agent saw is stored once, confirmed each time, and survives until another key is held', async () => {
    const { server, mac } = await given();
    const { envelopeId, recordId } = await mac.escrowed();
    const debt = { id: 'debt-1', because: 'used', envelopeId, boot: mac.boot } as const;
    for (const _ of [1, 2]) expect((await mac.checkIn({ debts: [debt] })).confirmed.debts).toEqual(['debt-1']);
    mac.reboot();
    const reply = await mac.checkIn();
    expect(reply.debts).toMatchObject([{ id: 'debt-1', because: 'used' }]);
    expect(() => checkInReply.parse(reply)).not.toThrow();
    server.wall.pass(minute);
    await mac.prove(envelopeId, 'true');
    expect(await mac.debts()).toEqual(['used']);
    await mac.rotate();
    expect(await mac.debts()).toEqual([]);
    expect((await server.acts('debt.opened'))[0]?.details).toMatchObject({ recordId });
    expect(await server.acts('debt.closed')).toHaveLength(1);
    await server.close();
  });

  test('a debt for a key that has been replaced meanwhile is paid as it is stored', async () => {
    const { server, mac } = await given();
    const old = await mac.escrowed();
    await mac.owe('used', old.envelopeId);
    await mac.rotate();
    await mac.owe('used', old.envelopeId);
    expect(await mac.debts()).toEqual([]);
    await server.close();
  });

  test('a debt for no known key is paid by a rotation, and not by proving the key that is here', async () => {
    const { server, mac } = await given();
    await mac.checkIn();
    await mac.owe('used');
    await mac.owe('never-escrowed');
    const { envelopeId } = await mac.escrowed();
    server.wall.pass(second);
    await mac.prove(envelopeId, 'true');
    expect(await mac.debts()).toEqual(['used']);
    await mac.rotate();
    expect(await mac.debts()).toEqual([]);
    await server.close();
  });

  test('K5 and K6 pay nothing', async () => {
    const { server, mac } = await given();
    const { envelopeId } = await mac.escrowed();
    await mac.owe('used', envelopeId);
    await mac.deliver(newKey());
    expect(await mac.debts()).toEqual(['used']);
    await server.close();
  });
});

describe('the hold, as computed', () => {
  const at = (n: number) => ({ at: n, person: 'owner' });
  test.each([
    ['nothing shown', [], 0, null],
    ['just shown', [at(0)], 1, 24 * hour],
    ['(c) 24 h after the first', [at(0)], 24 * hour, null],
    ['looking again does not put it off', [at(0), at(10 * hour)], 24 * hour, null],
    ['(c) not within 20 min of the last', [at(0), at(24 * hour - minute)], 24 * hour, 24 * hour + 19 * minute],
    ['(c) and then it ends', [at(0), at(24 * hour - minute)], 24 * hour + 19 * minute, null],
  ])('%s', (_name, episode, now, until) => {
    expect(holdOf(episode, 24, now)?.until ?? null).toBe(until);
  });

  test.each([
    ['(a) the person, unlocked since', { sessionStart: 11, settledUser: 'owner', secureTokenUsers: 3 }, true],
    ['(a) another user where there are several', { sessionStart: 11, settledUser: 'guest', secureTokenUsers: 3 }, false],
    ['(a) any user where there is one', { sessionStart: 11, settledUser: 'guest', secureTokenUsers: 1 }, true],
    ['the same session as before', { sessionStart: 10, settledUser: 'owner', secureTokenUsers: 1 }, false],
    ['nobody has settled', { sessionStart: 11, settledUser: null, secureTokenUsers: 1 }, false],
    ['not known how many there are', { sessionStart: 11, settledUser: 'guest', secureTokenUsers: null }, false],
  ])('%s', (_name, session, back) => {
    expect(isBackIn([at(5), at(10)], session)).toBe(back);
  });

  test('owed, and why', () => {
    expect(rotationDue([], [], 24, 0)).toEqual({ owed: false, hold: null, because: 'nothing is owed' });
    expect(rotationDue([{ because: 'used' }], [], 24, 0)).toEqual({ owed: true, hold: null, because: 'owed: used' });
    expect(rotationDue([{ because: 'disclosed' }], [at(0)], 24, 1)).toMatchObject({
      owed: true,
      hold: { since: 0 },
      because: expect.stringContaining('may be typing'),
    });
  });
});

describe('the hold, as enforced', () => {
  test('after a disclosure nothing is replaced for any reason; 24 h later it may be', async () => {
    const { server, mac, show } = await given();
    await mac.escrowed();
    await show();
    server.wall.pass(second);
    await server.custody.orderRotation({ macId: mac.id, actor: 'admin', reason: 'because' });
    const reply = await mac.checkIn();
    expect(reply.debts.map((debt) => debt.because)).toEqual(['disclosed', 'ordered']);
    expect(reply.hold?.because).toContain('may be typing');
    expect(await codeOf(mac.begin())).toBe('ROTATION_WAIT');
    server.wall.pass(24 * hour - 2 * second);
    expect(await codeOf(mac.begin())).toBe('ROTATION_WAIT');
    server.wall.pass(second);
    expect((await mac.checkIn()).hold).toBeNull();
    expect(await codeOf(mac.begin())).toBe('no problem');
    await server.close();
  });

  test('(a) the person is back in: unlocked after the disclosure and settled; the screen that was locked is not enough', async () => {
    const { server, mac, show } = await given();
    await mac.escrowed();
    await show('owner');
    server.wall.pass(30 * minute);
    expect((await mac.checkIn()).hold).not.toBeNull();
    mac.reboot();
    server.wall.pass(2 * minute);
    mac.settledUser = null;
    expect((await mac.checkIn()).hold).not.toBeNull();
    mac.settledUser = 'somebody else';
    expect((await mac.checkIn()).hold).not.toBeNull();
    server.wall.pass(10 * minute);
    mac.settledUser = 'owner';
    expect((await mac.checkIn()).hold).toBeNull();
    expect((await server.acts('hold.ended'))[0]).toMatchObject({ actor: 'mac', details: { because: 'session' } });
    await server.close();
  });

  test('a session start is reckoned by uptime and never moves later, so that sleep does not end a hold', async () => {
    const { server, mac, show } = await given();
    await mac.escrowed();
    await show('owner');
    server.wall.pass(2 * hour);
    // As if uptime had stood still in sleep: it says that the Mac started after the disclosure.
    mac.bootedAt = server.wall.now() - hour;
    expect((await mac.checkIn()).hold).not.toBeNull();
    await server.close();
  });

  test('(a) a disclosure after the unlock waits for the next one', async () => {
    const { server, mac, show } = await given();
    await mac.escrowed();
    await show('owner');
    mac.reboot();
    server.wall.pass(5 * minute);
    await show('owner');
    expect((await mac.checkIn()).hold).not.toBeNull();
    await server.close();
  });

  test.each(['back-in', 'not-me', 'override'] as const)('(b), (d) %s ends it at once', async (because) => {
    const { server, mac, show } = await given();
    await mac.escrowed();
    await show();
    expect(await server.custody.endHold({ macId: mac.id, actor: 'somebody', because, reason: 'said so' })).toBe(true);
    expect(await server.custody.endHold({ macId: mac.id, actor: 'somebody', because, reason: 'said so' })).toBe(false);
    expect((await mac.checkIn()).hold).toBeNull();
    expect(await codeOf(mac.begin())).toBe('no problem');
    await server.close();
  });

  test('(d) an admin’s order may override it by name', async () => {
    const { server, mac, show } = await given();
    await mac.escrowed();
    await show();
    await server.custody.orderRotation({ macId: mac.id, actor: 'anna', reason: 'it was a thief', overrideHold: true });
    expect(await codeOf(mac.begin())).toBe('no problem');
    expect((await server.acts('hold.ended'))[0]).toMatchObject({ actor: 'anna', details: { because: 'override', reason: 'it was a thief' } });
    await server.close();
  });

  test('a disclosure after a hold has ended begins an episode of its own', async () => {
    const { server, mac, show } = await given();
    await mac.escrowed();
    await show();
    server.wall.pass(25 * hour);
    await show();
    server.wall.pass(hour);
    expect((await mac.checkIn()).hold).not.toBeNull();
    await server.close();
  });
});

describe('orders', () => {
  test('an order is in the next answer, and done when another key is held', async () => {
    const { server, mac } = await given();
    await mac.escrowed();
    const { orderId, expiresAt } = await server.custody.orderRotation({ macId: mac.id, actor: 'admin', reason: 'a leaver', withoutLogin: true });
    expect(expiresAt - server.wall.now()).toBe(30 * day);
    expect((await mac.checkIn()).debts).toMatchObject([{ because: 'ordered', orderId, withoutLogin: true }]);
    await mac.rotate();
    expect((await server.custody.macReport(mac.id)).orders).toMatchObject([{ id: orderId, state: 'done' }]);
    await server.close();
  });

  test('an order that nobody carried out in its time ends with its debt; one that is being carried out does not', async () => {
    const { server, mac } = await given({ orderExpiresDays: 7 });
    await mac.escrowed();
    await server.custody.orderRotation({ macId: mac.id, actor: 'admin', reason: 'old' });
    server.wall.pass(7 * day);
    expect((await mac.checkIn()).debts).toEqual([]);
    expect((await server.custody.macReport(mac.id)).orders).toMatchObject([{ state: 'expired' }]);
    await server.custody.orderRotation({ macId: mac.id, actor: 'admin', reason: 'new' });
    await mac.begin();
    server.wall.pass(8 * day);
    await server.custody.sweepTimers();
    expect((await mac.checkIn()).debts).toHaveLength(1);
    await server.close();
  });

  test('an order needs a reason and a Mac', async () => {
    const { server, mac } = await given();
    expect(await codeOf(server.custody.orderRotation({ macId: mac.id, actor: 'admin', reason: ' ' }))).toBe('REASON_MISSING');
    expect(await codeOf(server.custody.orderRotation({ macId: 'nobody', actor: 'admin', reason: 'x' }))).toBe('MAC_UNKNOWN');
    await server.close();
  });
});

describe('begin', () => {
  test('is stored and audited before it is answered, under whose payload it happens', async () => {
    const { server, mac } = await given();
    await mac.escrowed();
    await mac.owe();
    const reply = await mac.begin();
    expect(() => beginReply.parse(reply)).not.toThrow();
    expect((await server.acts('rotation.begun'))[0]?.details).toMatchObject({ rotationId: reply.rotationId, escrowPayload: 'ours' });
    expect((await mac.checkIn()).rotation).toEqual({ id: reply.rotationId, begunAt: reply.begunAt });
    await server.close();
  });

  test('the same id again is the same answer and counts once', async () => {
    const { server, mac } = await given();
    await mac.escrowed();
    await mac.owe();
    const first = await mac.begin({ id: 'rotation-1' });
    server.wall.pass(minute);
    expect(await mac.begin({ id: 'rotation-1' })).toEqual(first);
    expect(await server.acts('rotation.begun')).toHaveLength(1);
    await server.close();
  });

  test('another one while one is open is ROTATION_OPEN with its id', async () => {
    const { server, mac } = await given();
    await mac.escrowed();
    await mac.owe();
    const { rotationId } = await mac.begin();
    await expect(mac.begin()).rejects.toMatchObject({ code: 'ROTATION_OPEN', detail: rotationId });
    await server.close();
  });

  test('3 in 24 h, and no more', async () => {
    const { server, mac } = await given();
    await mac.escrowed();
    await mac.owe();
    for (const _ of [1, 2, 3]) {
      const { rotationId } = await mac.begin();
      await mac.checkIn({ endings: [{ rotationId, as: 'not-changed', detail: 'R1' }] });
      server.wall.pass(hour);
    }
    expect(await codeOf(mac.begin())).toBe('ROTATION_LIMIT');
    server.wall.pass(22 * hour);
    expect(await codeOf(mac.begin())).toBe('no problem');
    await server.close();
  });

  test.each([
    ['nothing is owed', {}, {}, false, 'ROTATION_NOT_OWED'],
    ['the debts it names are not open', { debtIds: ['made-up'] }, {}, true, 'ROTATION_NOT_OWED'],
    ['its recipient is not accepted', { recipient: 'c'.repeat(64) }, {}, true, 'RECIPIENT_NOT_ACCEPTED'],
    ['the agent is too old', {}, { protocol: 0 }, true, 'PROTOCOL_TOO_OLD'],
    ['it comes from other hardware', { hardwareUuid: newUuid() }, {}, true, 'IDENTITY_MOVED'],
  ])('is refused where %s', async (_name, more, caller, owed, code) => {
    const { server, mac } = await given();
    await mac.escrowed();
    if (owed) await mac.owe();
    expect(await codeOf(mac.begin(more, caller))).toBe(code);
    expect(await server.acts('rotation.begun')).toEqual([]);
    await server.close();
  });

  test('is refused while an alarm of 6.8 waits for an admin, and allowed when it was judged', async () => {
    const { server, mac } = await given();
    await mac.escrowed();
    await mac.owe();
    expect(await codeOf(mac.deliver(newKey(), { hardwareUuid: newUuid() }))).toBe('IDENTITY_MOVED');
    expect(await codeOf(mac.begin())).toBe('ROTATION_ALARM');
    const [alarm] = (await server.custody.fleet()).alarms;
    await server.custody.judgeAlarm({ alarmId: alarm?.id ?? '', actor: 'admin', judgement: 'a new board' });
    expect(await codeOf(mac.begin())).toBe('no problem');
    await server.close();
  });

  test('a rotation on a volume that the Mac does not start from any more stops no other', async () => {
    const { server, mac } = await given();
    await mac.escrowed();
    await mac.owe();
    const { rotationId } = await mac.begin();
    mac.volume = newUuid();
    await mac.escrowed();
    await mac.owe();
    expect(await codeOf(mac.begin())).toBe('no problem');
    expect((await server.acts('rotation.ended'))[0]?.details).toMatchObject({ rotationId, as: 'not-known' });
    await server.close();
  });
});

test('a rotation of which nothing comes for 5 minutes is an alarm, and its envelope ends that', async () => {
  const { server, mac } = await given();
  await mac.escrowed();
  await mac.owe();
  const { rotationId } = await mac.begin();
  server.wall.pass(5 * minute);
  await server.custody.sweepTimers();
  expect(await server.alarms()).toEqual([]);
  server.wall.pass(minute);
  await server.custody.sweepTimers();
  await server.custody.sweepTimers();
  expect(await server.alarms()).toEqual(['ROTATION_SILENT']);
  await mac.deliver(newKey(), { source: 'rotation', validated: 'true', rotationId });
  expect(await server.alarms()).toEqual([]);
  await server.close();
});

test('proofs are ordered on schedule and when an old answer says nothing any more', async () => {
  const { server, mac } = await given({ proveEveryDays: 30 });
  const { envelopeId } = await mac.escrowed();
  const because = async () => (await server.custody.macReport(mac.id)).proofOrders.map((order) => order.because);
  const prove = async () => void (await mac.prove(envelopeId, 'true'));
  await prove();
  expect(await because()).toEqual([]);
  server.wall.pass(29 * day);
  await mac.checkIn();
  expect(await because()).toEqual([]);
  server.wall.pass(day);
  await mac.checkIn();
  expect(await because()).toEqual(['its time has come']);
  await prove();
  mac.factsMore = { macosBuild: '26A1' };
  await mac.checkIn();
  expect(await because()).toEqual(['another build of macOS']);
  await prove();
  mac.factsMore = { macosBuild: '26A1', fileVault: { state: 'off', hasRecoveryKey: 'no' } };
  await mac.checkIn();
  expect((await mac.checkIn()).custody).toBe('held');
  mac.factsMore = { macosBuild: '26A1' };
  await mac.checkIn();
  expect(await because()).toEqual(['FileVault is on again']);
  await server.close();
});
