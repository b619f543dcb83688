import { readdirSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { connect } from '../agent/backend.ts';
import type { World } from '../agent/check-in.ts';
import type { CheckInRequest } from '../protocol/messages.ts';
import { waitsCodes } from '../protocol/waits.ts';
import { given } from './given.ts';

const outputs = (mac: { path(path: string): string }) => readdirSync(mac.path('/var/db/io.sparekey.agent/out'));

describe('escrow on enrolment', () => {
  test('macOS’s own escrow file is delivered, opened, and held', async () => {
    const { mac, checkIn, heldKey, custodyOf, journal } = await given();
    expect(await checkIn()).toBe(0);
    expect(await heldKey()).toBe(mac.recoveryKey);
    expect(await custodyOf()).toMatchObject({ state: 'held' });
    expect(journal()).toMatchObject({ current: { source: 'escrow-file', held: true }, outbox: [], rotation: null });
  });

  test('is one key, however often the agent runs', async () => {
    const { checkIn, store, macId } = await given();
    for (const _ of [1, 2, 3]) await checkIn();
    const rows = await store.db
      .selectFrom('envelope')
      .selectAll()
      .where('mac_id', '=', await macId())
      .execute();
    expect(rows).toHaveLength(1);
  });

  test('waits for FileVault, and comes by itself when it is on', async () => {
    const { mac, checkIn, heldKey, custodyOf, pass } = await given({ fileVault: 'off' });
    await checkIn();
    expect(await custodyOf()).toMatchObject({ state: 'none' });
    mac.enableFileVault('ada');
    pass(60);
    await checkIn();
    expect(await heldKey()).toBe(mac.recoveryKey);
  });
});

describe('a key that was shown', () => {
  test('is not replaced while its person is typing it, for any reason', async () => {
    const { mac, checkIn, disclose, order, pass, settle } = await given();
    await settle();
    const key = await disclose();
    mac.lockScreen();
    await order();
    for (const minutes of [1, 20, 60, 600]) {
      pass(minutes * 60);
      await checkIn();
      expect([minutes, mac.recoveryKey]).toEqual([minutes, key]);
    }
  });

  test('is replaced after its person set a new password with it and is back in', async () => {
    const { mac, checkIn, disclose, heldKey, pass, settle, custodyOf } = await given();
    await settle();
    const key = await disclose();
    pass(120);
    expect(mac.resetPasswordWith(key, 'ada')).toBe(true);
    mac.logIn('ada');
    await settle();
    expect(mac.recoveryKey).toBe(key);
    await checkIn();
    expect(mac.recoveryKey).not.toBe(key);
    expect(await heldKey()).toBe(mac.recoveryKey);
    expect(await custodyOf()).toMatchObject({ state: 'held' });
    expect(outputs(mac)).toEqual([]);
  });

  test('is replaced after the deadline, when nobody came back', async () => {
    const { mac, checkIn, disclose, pass, settle } = await given();
    await settle();
    const key = await disclose();
    await checkIn();
    pass(24 * 3600 - 60);
    await checkIn();
    expect(mac.recoveryKey).toBe(key);
    pass(120);
    await checkIn();
    expect(mac.recoveryKey).not.toBe(key);
  });

  test('is replaced after the deadline of this Mac’s own settings, where they name another one', async () => {
    const { mac, checkIn, disclose, pass, settle } = await given({ settings: { holdDeadlineHours: 2 } });
    await settle();
    const key = await disclose();
    await checkIn();
    pass(2 * 3600 - 60);
    await checkIn();
    expect(mac.recoveryKey).toBe(key);
    pass(120);
    await checkIn();
    expect(mac.recoveryKey).not.toBe(key);
  });

  test('is replaced at once when it was shown to somebody else', async () => {
    const { mac, checkIn, disclose, custody, macId, settle } = await given();
    await settle();
    const key = await disclose();
    await custody.endHold({ macId: await macId(), actor: 'ada', because: 'not-me', reason: 'this was not me' });
    await checkIn();
    expect(mac.recoveryKey).not.toBe(key);
  });
});

describe('a key that was used', () => {
  test('is replaced, once per boot, and not before its user has logged in', async () => {
    const { mac, checkIn, heldKey, pass, settle } = await given();
    await checkIn();
    const before = mac.recoveryKey;
    pass(60);
    mac.rebootWithRecoveryKey();
    await settle();
    await checkIn();
    expect(mac.recoveryKey).toBe(before);
    mac.logIn('ada');
    await settle();
    expect(mac.recoveryKey).toBe(before);
    await checkIn();
    const after = mac.recoveryKey;
    expect(after).not.toBe(before);
    expect(await heldKey()).toBe(after);
    pass(3600);
    await checkIn();
    expect(mac.recoveryKey).toBe(after);
  });

  test('the debt survives a restart', async () => {
    const { mac, checkIn, pass, settle } = await given();
    await checkIn();
    const before = mac.recoveryKey;
    pass(60);
    mac.rebootWithRecoveryKey();
    await checkIn();
    pass(60);
    mac.boot();
    mac.logIn('ada');
    await settle();
    await checkIn();
    expect(mac.recoveryKey).not.toBe(before);
  });
});

describe('an admin’s order', () => {
  test('is carried out, and closes', async () => {
    const { mac, checkIn, heldKey, order, settle, store } = await given();
    await settle();
    const before = mac.recoveryKey;
    const { orderId } = await order();
    await checkIn();
    expect(mac.recoveryKey).not.toBe(before);
    expect(await heldKey()).toBe(mac.recoveryKey);
    const row = await store.db.selectFrom('rotation_order').select('state').where('id', '=', orderId).executeTakeFirst();
    expect(row?.state).toBe('done');
  });

  test('from the Mac itself goes through the queue and is answered', async () => {
    const { mac, checkIn, request, settle } = await given();
    await settle();
    const before = mac.recoveryKey;
    request('rotate', 'asked-here');
    expect(await checkIn()).toBe(0);
    expect(mac.recoveryKey).not.toBe(before);
    expect(readdirSync(mac.path('/var/db/io.sparekey.agent/results'))).toEqual(['asked-here.json', 'asked-here.progress']);
    expect(readdirSync(mac.path('/var/db/io.sparekey.agent/taken'))).toEqual([]);
  });

  test('without login waits for an hour of uptime where nobody logs in', async () => {
    const { mac, checkIn, order, pass } = await given();
    mac.logOut();
    await checkIn();
    const before = mac.recoveryKey;
    mac.change((state) => {
      state.quirks.usingRecoveryKey = 'unsupported';
    });
    await order({ withoutLogin: true });
    pass(1800);
    await checkIn();
    expect(mac.recoveryKey).toBe(before);
    pass(3600);
    await checkIn();
    expect(mac.recoveryKey).not.toBe(before);
  });
});

describe('under somebody else’s escrow payload (M0)', () => {
  test('nothing is uploaded, nothing is rotated, and the file is known by digest and recipient alone', async () => {
    const { mac, checkIn, custodyOf, order, pass, store, macId, status } = await given({ escrow: 'foreign' });
    await checkIn();
    await order();
    pass(3600);
    await checkIn();
    expect(await custodyOf()).toMatchObject({ state: 'foreign' });
    expect(
      await store.db
        .selectFrom('envelope')
        .selectAll()
        .where('mac_id', '=', await macId())
        .execute(),
    ).toEqual([]);
    expect(
      await store.db
        .selectFrom('foreign_file')
        .select('recipient')
        .where('mac_id', '=', await macId())
        .execute(),
    ).toHaveLength(1);
    expect(status().escrow.says).toMatch(/somebody else’s; escrowOwner is auto, rotator is sparekey; so keys are observed and not replaced here/);
    expect(mac.state.disk.recoveryKeyMadeAt).toBeLessThan(mac.now - 3000_000);
  });
});

describe('both witnesses of a rotation', () => {
  test('macOS’s file and the agent’s envelope are one key at the backend (K2)', async () => {
    const { mac, checkIn, order, settle, store, macId, heldKey } = await given();
    await settle();
    await order();
    await checkIn();
    const records = await store.db
      .selectFrom('key_record')
      .select(['id', 'state'])
      .where('mac_id', '=', await macId())
      .where('state', '=', 'held')
      .execute();
    expect(records).toHaveLength(1);
    const envelopes = await store.db
      .selectFrom('envelope')
      .select('source')
      .where('record_id', '=', records[0]?.id ?? '')
      .execute();
    expect(envelopes.map((one) => one.source).sort()).toEqual(['escrow-file', 'rotation']);
    expect(await heldKey()).toBe(mac.recoveryKey);
  });
});

describe('never by a command line', () => {
  test('no key and no password is ever an argument', async () => {
    const { mac, checkIn, order, settle } = await given();
    await settle();
    await order();
    await checkIn();
    expect(mac.state.leaks).toEqual([]);
  });
});

describe('a build of macOS that nobody has tried', () => {
  test('is tried by a pilot, and the others follow when it has worked', async () => {
    const careful = await given({ settings: { pilot: false }, macos: '27.0' });
    const pilot = await given({ macos: '27.0' });
    for (const one of [careful, pilot]) {
      await one.settle();
      await one.order();
    }
    const before = careful.mac.recoveryKey;
    // What waits for others keeps no proof back: the first key is proved meanwhile.
    await careful.checkIn();
    expect(careful.status().lastRun.did).toMatch(/opens this Mac: true/);
    await careful.checkIn();
    expect(careful.mac.recoveryKey).toBe(before);
    expect(careful.status().lastRun.did).toMatch(/this one is no pilot/);
    // The backend hears it too, as what does not pass by itself.
    expect((await careful.backend.custody.macReport(await careful.macId())).waits).toMatchObject({ says: expect.stringMatching(/no pilot/), needsHelp: true });
    await pilot.checkIn();
    pilot.pass(25 * 3600);
    await pilot.checkIn();
    await careful.checkIn();
    expect(careful.mac.recoveryKey).not.toBe(before);
  });
});

describe('why a key is not replaced yet', () => {
  /** What was asked in each run; `isOld`: by a backend that does not ask for it. */
  function watched(isOld: boolean) {
    const told: CheckInRequest['problems'][] = [];
    const around: World['connect'] = async (world, parts) => {
      const backend = await connect(world, parts);
      const checkIn: typeof backend.ask.checkIn = async (request) => {
        told.push(request.problems.filter(({ code }) => Object.values<string>(waitsCodes).includes(code)));
        const { waits, ...reply } = await backend.ask.checkIn(request);
        return isOld || waits === undefined ? reply : { ...reply, waits };
      };
      return { ...backend, ask: { ...backend.ask, checkIn } };
    };
    return { told, connect: around };
  }
  const empty = 'the battery is at 7 percent, and the Mac is not connected to power';

  test('is told to the backend by the Mac, once for each reason, and forgotten with what is owed', async () => {
    const { mac, checkIn, order, pass, settle, backend, macId } = await given();
    await settle();
    await checkIn();
    mac.setPower('battery', 7);
    await order();
    const { told, connect: by } = watched(false);
    const waits = async () => (await backend.custody.macReport(await macId())).waits;
    await checkIn({ connect: by });
    expect(told.flat()).toEqual([{ code: 'ROTATION_WAITS', detail: empty }]);
    expect(await waits()).toMatchObject({ says: empty, needsHelp: false });
    const since = (await waits())?.since;
    pass(300);
    await checkIn({ connect: by });
    expect(told.flat()).toHaveLength(1);
    expect((await waits())?.since).toBe(since);
    mac.setPower('mains', 7);
    pass(24 * 60 * 60);
    await checkIn({ connect: by });
    expect(await waits()).toBeNull();
  });

  test('is not told to a backend that does not ask for it', async () => {
    const { mac, checkIn, order, settle } = await given();
    await settle();
    mac.setPower('battery', 7);
    await order();
    const { told, connect: by } = watched(true);
    await checkIn({ connect: by });
    expect(told.length).toBeGreaterThan(0);
    expect(told.flat()).toEqual([]);
  });
});
