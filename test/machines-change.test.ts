import { cpSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { show } from '../server/show.ts';
import { status as serverStatus } from '../server/status-command.ts';
import { keychainAt, systemKeychain } from './fake-mac/state.ts';
import { type GivenOptions, given, operator } from './given.ts';

/*
 * Machines change: what was a Mac's own comes to another machine, or a machine becomes another one. In each story no key of
 * either is superseded wrongly, and whoever looks is told what is so. Beside life-cycle.test.ts, which has the plain cases.
 */

const hour = 3600;
const day = 24 * hour;
const state = '/var/db/io.sparekey.agent';

type Given = Awaited<ReturnType<typeof given>>;

const records = async (it: Given, macId?: string) =>
  it.store.db
    .selectFrom('key_record')
    .select(['id', 'volume', 'state', 'hardware_uuid'])
    .where('mac_id', '=', macId ?? (await it.macId()))
    .orderBy('received_at')
    .execute();
const states = async (it: Given): Promise<string[]> => (await records(it)).map((row) => row.state);
const openAlarms = async (it: Given, macId?: string) =>
  it.store.db
    .selectFrom('alarm')
    .select(['id', 'code'])
    .where('mac_id', '=', macId ?? (await it.macId()))
    .where('judged_at', 'is', null)
    .execute();
const alarms = async (it: Given): Promise<string[]> => (await openAlarms(it)).map(({ code }) => code);
const judge = async (it: Given, judgement: string): Promise<void> => {
  for (const { id } of await openAlarms(it)) await it.custody.judgeAlarm({ alarmId: id, judgement, actor: 'an admin' });
};
const problems = (it: Given): string[] => it.status().problems.map(({ code }) => code);
const words = async (it: Given): Promise<string> => (await serverStatus(it.backend, await it.macId())).text;
const rotations = async (it: Given): Promise<number> => (await it.custody.macReport(await it.macId())).rotations.length;

async function runs(it: Given, ...seconds: number[]): Promise<void> {
  for (const one of seconds) {
    it.pass(one);
    await it.checkIn();
  }
}

/** The key that is held for this very volume. */
const heldHere = (it: Given, volume = it.mac.state.disk.volumeGroup): Promise<string | null> => it.heldKey(volume);

async function agrees(it: Given): Promise<void> {
  expect(await heldHere(it)).toBe(it.mac.recoveryKey);
  expect(await it.custodyOf()).toMatchObject({ state: 'held' });
}

async function settled(options: GivenOptions = {}): Promise<Given> {
  const it = await given(options);
  await it.settle();
  return it;
}

const itemsOf = (it: Given, start: string) => keychainAt(it.mac.state, systemKeychain).items.filter(({ account }) => account.startsWith(start));
const loseItems = (it: Given): void =>
  it.mac.change((one) => {
    keychainAt(one, systemKeychain).items = [];
  });

/** An image of the whole disk on other hardware: state, keychain, macOS's escrow file, even the volume's own names. */
function cloneTo(from: Given, to: Given, identity: 'its own' | 'the copied one'): void {
  from.mac.migrateTo(to.mac);
  cpSync(from.mac.path('/var/db/FileVaultPRK.dat'), to.mac.path('/var/db/FileVaultPRK.dat'), { preserveTimestamps: true });
  to.mac.change((one) => {
    one.disk = { ...one.disk, volumeGroup: from.mac.state.disk.volumeGroup, volumeUuid: from.mac.state.disk.volumeUuid };
    if (identity === 'the copied one') keychainAt(one, systemKeychain).identities = structuredClone(keychainAt(from.mac.state, systemKeychain).identities);
  });
  to.mac.boot();
}

describe('Migration Assistant', () => {
  test('keychain items without the state: items of other hardware are neither used, tried nor removed', async () => {
    const old = await settled({ settings: { custody: 'keychain' } });
    await old.order();
    await runs(old, 60);
    const fresh = await given({ settings: { custody: 'keychain' } });
    old.mac.migrateTo(fresh.mac);
    rmSync(fresh.mac.path(state), { recursive: true, force: true });
    const brought = [...itemsOf(old, 'identity:'), ...itemsOf(old, 'recovery-key:')];
    expect(brought).toHaveLength(2);
    await fresh.settle();
    await runs(fresh, 60, day, 700);
    expect(keychainAt(fresh.mac.state, systemKeychain).items).toEqual(expect.arrayContaining(brought));
    expect([fresh.mac.state.wrongKeys.ever, problems(fresh)]).toEqual([0, []]);
    for (const it of [old, fresh]) {
      await agrees(it);
      expect([await alarms(it), (await states(it)).includes('quarantined')]).toEqual([[], false]);
    }
    expect(await fresh.storedKeys()).not.toContain(old.mac.recoveryKey);
  });

  test('the state without the keychain: set aside, enrolled anew, said once; the old Mac goes on as before', async () => {
    const old = await settled();
    const fresh = await given();
    old.mac.migrateTo(fresh.mac);
    loseItems(fresh);
    await runs(fresh, 60);
    expect(problems(fresh)).toEqual(['MOVED_FROM_OTHER_MAC']);
    expect(readdirSync(fresh.mac.path(state)).filter((name) => name.includes('.other-mac-'))).toHaveLength(1);
    await runs(fresh, hour);
    expect(problems(fresh)).toEqual([]);
    const before = old.mac.recoveryKey;
    await old.order();
    await runs(old, 60);
    expect(old.mac.recoveryKey).not.toBe(before);
    for (const it of [old, fresh]) {
      await agrees(it);
      expect(await alarms(it)).toEqual([]);
    }
    expect(await words(fresh)).toMatch(/custody is held/);
  });

  test('both Macs live on for weeks, each with its orders and disclosures: neither ever touches a key of the other', async () => {
    const old = await settled();
    const fresh = await given();
    old.mac.migrateTo(fresh.mac);
    await fresh.settle();
    for (const it of [old, fresh]) {
      const other = it === old ? fresh : old;
      const [mine, theirs] = [it.mac.recoveryKey, other.mac.recoveryKey];
      await it.order();
      await runs(it, 2 * day, 700);
      await runs(other, 60, 700);
      expect(it.mac.recoveryKey).not.toBe(mine);
      expect(other.mac.recoveryKey).toBe(theirs);
      await agrees(old);
      await agrees(fresh);
    }
    expect([await alarms(old), await alarms(fresh)]).toEqual([[], []]);
  });
});

describe('a clone: an image of the disk on other hardware', () => {
  test('with an identity of its own: enrolled anew as itself; the copied escrow file is never its key, and its own is held once macOS makes one', async () => {
    const original = await settled();
    const before = await records(original);
    const clone = await given();
    cloneTo(original, clone, 'its own');
    expect(await clone.checkIn()).toBe(0);
    expect(problems(clone)).toEqual(['MOVED_FROM_OTHER_MAC', 'DELIVERY_QUARANTINED']);
    expect(await clone.custodyOf()).toMatchObject({ state: 'none' });
    expect(await alarms(clone)).toEqual(['ENVELOPE_REUSED']);
    expect(await words(clone)).toMatch(/custody is none.*\n[\s\S]*ENVELOPE_REUSED/);
    // Nothing happened to the original, and nobody says so.
    expect([await records(original), await alarms(original)]).toEqual([before, []]);
    await runs(original, 60);
    await agrees(original);
    clone.mac.mdmRotates();
    await runs(clone, 60, 700, 700);
    await agrees(clone);
    expect(clone.mac.state.wrongKeys.ever).toBe(0);
    await original.order();
    await runs(original, day, 700);
    await agrees(original);
    await agrees(clone);
  });

  test('with the copied identity of the MDM alone: its serial is another Mac’s, so SERIAL_CONFLICT stops both, and no key of the original moves', async () => {
    const original = await settled();
    const [macId, before, key] = [await original.macId(), await records(original), original.mac.recoveryKey];
    const clone = await given({ serial: original.mac.state.serial, hardwareUuid: '44444444-5555-4666-8777-888888888888' });
    cloneTo(original, clone, 'the copied one');
    await clone.checkIn();
    await runs(original, 60);
    expect(await original.macId()).toBe(macId);
    expect(await alarms(original)).toContain('SERIAL_CONFLICT');
    expect((await records(original)).filter(({ id }) => before.some((one) => one.id === id))).toEqual(before);
    expect(await original.custodyOf()).toMatchObject({ state: 'doubtful', because: expect.stringMatching(/SERIAL_CONFLICT/) });
    // Nothing rotates on either until an admin has judged it.
    const cloned = clone.mac.recoveryKey;
    await original.order();
    await runs(original, 60, hour);
    await runs(clone, 60, hour);
    expect([original.mac.recoveryKey, clone.mac.recoveryKey]).toEqual([key, cloned]);
    expect(original.status().lastRun.did).toMatch(/SERIAL_CONFLICT/);
    expect(await original.storedKeys()).toContain(key);
    expect(await words(original)).toMatch(/SERIAL_CONFLICT/);
  });
});

describe('erased', () => {
  test('in the middle of a rotation: it ends as not-known, the old volume keeps both of its keys, and the new one owes nothing', async () => {
    const it = await settled();
    await it.order();
    await it.checkInAndDie({ name: /ask deliver/, when: 'after' });
    const [volume, rotated] = [it.mac.state.disk.volumeGroup, it.mac.recoveryKey];
    it.mac.erase();
    it.pass(hour);
    it.mac.setUp('bert');
    it.installPackage();
    await it.settle();
    const key = it.mac.recoveryKey;
    await runs(it, 60, day, 700);
    expect(it.mac.recoveryKey).toBe(key);
    await agrees(it);
    expect(await it.storedKeys()).toContain(rotated);
    const report = await it.custody.macReport(await it.macId());
    expect(report.keys.filter((one) => one.volume === volume).map((one) => one.state)).not.toContain('destroyed');
    expect(report.debts).toEqual([]);
    expect(report.openRotation).toBeNull();
    expect(await alarms(it)).toEqual([]);
    // Whoever asks gets the key of the volume that is started now, and hears of the other.
    const shown = await show(it.backend, { mac: it.mac.state.serial, reason: 'a test', actor: operator, refused: [] });
    expect(shown.text).toBe(key);
    expect(shown.warnings?.join('\n')).toContain(`--volume ${volume.toUpperCase()}`);
  });
});

/** Two systems on one machine: each has its own volume, keychain and state. */
async function twoSystems(second: GivenOptions = {}): Promise<[Given, Given]> {
  const one = await settled();
  const { serial, hardwareUuid } = one.mac.state;
  one.pass(60);
  const two = await given({ serial, hardwareUuid, ...second });
  two.mac.boot();
  await two.settle();
  await two.checkIn();
  expect(await two.macId()).toBe(await one.macId());
  return [one, two];
}
const start = async (it: Given, ...seconds: number[]): Promise<void> => {
  it.mac.boot();
  await runs(it, 30, ...seconds);
};

describe('a second macOS on the same machine', () => {
  test('started in turn within a day: TWO_ENROLMENTS until an admin has looked, then never again; each volume keeps its own key', async () => {
    const [one, two] = await twoSystems();
    expect(await alarms(one)).toEqual([]);
    const keys = [one.mac.recoveryKey, two.mac.recoveryKey];
    await start(one, 700);
    expect(await alarms(one)).toEqual(['TWO_ENROLMENTS']);
    expect(await one.custodyOf()).toMatchObject({ state: 'doubtful', because: expect.stringMatching(/TWO_ENROLMENTS/) });
    await one.order();
    await start(two, 700);
    await start(one, 700);
    expect([one.mac.recoveryKey, two.mac.recoveryKey]).toEqual(keys);
    expect([await heldHere(one), await heldHere(two)]).toEqual(keys);
    await judge(one, 'this machine has two systems, ticket 4711');
    for (const it of [two, one, two]) await start(it, hour, 700, hour);
    expect(await alarms(one)).toEqual([]);
    // A machine is given one key a day, whichever of its systems asks.
    await start(one, day, 700);
    // The order was given for the volume that was started then.
    expect(one.mac.recoveryKey).not.toBe(keys[0]);
    expect(two.mac.recoveryKey).toBe(keys[1]);
    for (const it of [one, two]) {
      await start(it, 700);
      await agrees(it);
      expect(it.mac.state.wrongKeys.ever).toBe(0);
    }
    const held = (await records(one)).filter((row) => row.state === 'held');
    expect(held.map(({ volume }) => volume).toSorted()).toEqual([one, two].map((it) => it.mac.state.disk.volumeGroup.toUpperCase()).toSorted());
  });

  test('started in turn every week: the one that was away enrols again by itself, without an alarm, and both keys stay', async () => {
    const [one, two] = await twoSystems();
    const keys = [one.mac.recoveryKey, two.mac.recoveryKey];
    for (const it of [one, two, one]) {
      it.pass(7 * day);
      await it.backend.custody.sweepTimers();
      await start(it, 700, hour);
      await agrees(it);
      expect(await alarms(it)).toEqual([]);
    }
    expect([await heldHere(one), await heldHere(two)]).toEqual(keys);
    expect(await states(one)).toEqual(['held', 'held']);
    expect(await rotations(one)).toBe(0);
  });

  test('a beta of macOS beside the other: a build that is learned there says nothing here, and no key is tried that is not this volume’s', async () => {
    const [one, beta] = await twoSystems({ macos: '27.0' });
    await start(one, 700);
    await judge(one, 'a beta beside it');
    for (const it of [beta, one]) await start(it, day, 700);
    const key = beta.mac.recoveryKey;
    await one.order();
    await start(one, day, 700, day, 700);
    await agrees(one);
    expect(one.journal().capability).toMatchObject({ build: one.mac.state.macos.build, state: 'works' });
    await start(beta, 700);
    expect(beta.journal().capability?.build).not.toBe(one.mac.state.macos.build);
    expect(beta.mac.recoveryKey).toBe(key);
    await agrees(beta);
    expect([one.mac.state.wrongKeys.ever, beta.mac.state.wrongKeys.ever]).toEqual([0, 0]);
  });
});

describe('another logic board under the same disk', () => {
  test('with the old serial: SERIAL_CONFLICT until it is judged; the key stays held all the time, and is replaced when it is owed', async () => {
    const it = await settled();
    const [key, before] = [it.mac.recoveryKey, await records(it)];
    it.mac.change((one) => {
      one.hardwareUuid = '55555555-6666-4777-8888-999999999999';
    });
    it.mac.boot();
    await runs(it, 60);
    expect(problems(it)).toContain('MOVED_FROM_OTHER_MAC');
    expect(await alarms(it)).toEqual(['SERIAL_CONFLICT']);
    expect(await it.custodyOf()).toMatchObject({ state: 'doubtful' });
    expect(await records(it)).toEqual(before);
    await it.order();
    await runs(it, 700, day);
    expect([it.mac.recoveryKey, await heldHere(it)]).toEqual([key, key]);
    await judge(it, 'the logic board was replaced, repair 4711');
    await runs(it, 60, day, 700, day, 700);
    // The key was delivered by the enrolment of the old board: who has enrolled since gets it when an admin has said so.
    expect(it.status().lastRun.did).toMatch(/an admin has to confirm this enrolment first/);
    expect([it.mac.recoveryKey, await heldHere(it)]).toEqual([key, key]);
    const enrolmentId = it.journal().identity?.enrolmentId ?? '';
    expect(await words(it)).toContain(`enrolment ${enrolmentId}: profile, active, not confirmed`);
    await it.custody.confirmEnrolment({ enrolmentId, actor: 'an admin', reason: 'repair 4711' });
    await runs(it, day, 700);
    await agrees(it);
    expect(it.mac.recoveryKey).not.toBe(key);
    expect(it.mac.state.wrongKeys.ever).toBe(0);
  });

  test('with another serial: another Mac, which says that nobody holds its key; the key is still found under the old serial, and nothing is replaced', async () => {
    const it = await settled();
    const [oldId, key] = [await it.macId(), it.mac.recoveryKey];
    const before = await records(it, oldId);
    it.mac.change((one) => {
      Object.assign(one, { hardwareUuid: '66666666-7777-4888-8999-AAAAAAAAAAAA', serial: 'C02NEWBOARD1' });
      keychainAt(one, systemKeychain).identities = [];
    });
    it.mac.installIdentity(it.deviceCa);
    it.mac.boot();
    await runs(it, 60, 700, day);
    const newId = await it.custody.findMac('C02NEWBOARD1');
    expect(newId).not.toBe(oldId);
    expect(await it.custody.custodyOf(newId)).toMatchObject({ state: 'none' });
    expect(it.status().custody).toMatchObject({ state: 'none' });
    expect((await openAlarms(it, newId)).map(({ code }) => code)).toEqual(['ENVELOPE_REUSED']);
    expect(it.status().problems.map(({ code }) => code)).not.toContain('MOVED_FROM_OTHER_MAC');
    expect(it.mac.recoveryKey).toBe(key);
    expect(await records(it, oldId)).toEqual(before);
    expect((await it.custody.disclose({ macId: oldId, actor: operator, reason: 'a test' })).key.reveal()).toBe(key);
  });
});

describe('an MDM migration (G1)', () => {
  const everythingGoes = (it: Given): void =>
    it.mac.change((one) => {
      one.profiles = [];
      keychainAt(one, systemKeychain).identities = [];
    });

  test('all profiles vanish, then others arrive: nothing is replaced before the settings are back and one payload has stayed for an hour; then a proof, then what is owed', async () => {
    const it = await settled({ macos: '15.7.3' });
    await it.order();
    const key = it.mac.recoveryKey;
    everythingGoes(it);
    await runs(it, 60, hour, day);
    expect(it.mac.recoveryKey).toBe(key);
    expect(it.status().settings).toMatchObject({ managed: false, unmanagedSince: expect.any(String) });
    expect(it.status().lastRun.did).toMatch(/not managed any more/);
    // A proof was due all the while: without managed settings no key is asked for, and nothing is concluded from that.
    expect([problems(it), it.journal().proofRefusedFor]).toEqual([[], null]);
    expect(await it.custodyOf()).toMatchObject({ state: 'held' });
    // The other MDM's own payload comes first, and goes again; then ours, by the new MDM.
    it.mac.installEscrowProfile('foreign');
    await runs(it, hour);
    it.mac.installEscrowProfile('ours', it.values.escrowCertificate);
    it.mac.installSettings(it.values);
    it.mac.installIdentity(it.deviceCa);
    await runs(it, 60, 20 * 60);
    expect(it.mac.recoveryKey).toBe(key);
    expect(it.status().lastRun.did).toMatch(/another one for less than an hour/);
    await runs(it, hour);
    expect(it.status().lastRun.did).toMatch(/asked macOS whether the held key opens this Mac: true/);
    expect(it.mac.recoveryKey).toBe(key);
    await runs(it, day + 60, 700);
    expect(it.mac.recoveryKey).not.toBe(key);
    await agrees(it);
    expect([it.journal().foreignChanges, it.mac.state.wrongKeys.ever, await alarms(it)]).toEqual([[], 0, []]);
  });

  test('on macOS 26 each payload makes a new key: the last one is ours, delivered and proved; the ones between are nobody’s custody', async () => {
    const it = await settled();
    const first = it.mac.recoveryKey;
    everythingGoes(it);
    await runs(it, hour);
    it.mac.installEscrowProfile('foreign');
    const between = it.mac.recoveryKey;
    await runs(it, hour);
    expect(await it.custodyOf()).toMatchObject({ state: 'doubtful' });
    it.mac.installEscrowProfile('ours', it.values.escrowCertificate);
    it.mac.installSettings(it.values);
    it.mac.installIdentity(it.deviceCa);
    const last = it.mac.recoveryKey;
    expect(new Set([first, between, last]).size).toBe(3);
    await runs(it, 700, 700);
    await agrees(it);
    expect(await it.storedKeys()).toEqual(expect.arrayContaining([first, last]));
    expect(await it.storedKeys()).not.toContain(between);
    expect(await rotations(it)).toBe(0);
  });

  test('unmanaged for 30 days by the server’s time: the agent asks the backend no more, says so, and goes on by itself when the settings are back', async () => {
    const it = await settled({ settings: { quietAfterDays: 3 } });
    everythingGoes(it);
    await runs(it, 60);
    // A clock of the Mac that is far ahead ends nothing.
    it.turnClock(400 * day);
    await runs(it, hour);
    expect(it.status().lastRun.did).not.toMatch(/have not been managed for/);
    it.turnClock(-400 * day);
    await runs(it, day, day, day);
    expect(it.status().lastRun.did).toMatch(/the settings have not been managed for 3 days: the backend is asked again when they are/);
    const seen = async () => (await it.custody.macReport(await it.macId())).lastSeenAt;
    const last = await seen();
    await runs(it, day, 10 * day);
    expect(await seen()).toBe(last);
    // Started anew it knows the time only as it heard it last, and asks once.
    it.mac.boot();
    await runs(it, day);
    const heard = await seen();
    it.mac.boot();
    await runs(it, day, day);
    expect(await seen()).toBe(heard);
    // Whoever asks by hand is answered; a new key of macOS would be delivered too.
    it.request('check-in', 'req-1');
    await runs(it, 60);
    expect(await seen()).not.toBe(heard);
    it.mac.installSettings(it.values);
    it.mac.installEscrowProfile('ours', it.values.escrowCertificate);
    it.mac.installIdentity(it.deviceCa);
    await runs(it, day, 700, 700);
    expect(it.status().settings.managed).toBe(true);
    await agrees(it);
    expect(it.journal().unmanagedSince).toBeNull();
  });

  test('given up, and yet a key that macOS sealed for us is delivered', async () => {
    const it = await settled({ settings: { quietAfterDays: 1 } });
    it.mac.removeSettings();
    await runs(it, 60, 2 * day, day);
    expect(it.status().lastRun.did).toMatch(/have not been managed for 1 days/);
    it.mac.mdmRotates();
    await runs(it, 60);
    expect(await it.storedKeys()).toContain(it.mac.recoveryKey);
    expect(it.journal().outbox).toEqual([]);
  });
});

/** What a snapshot or a backup of this moment has of the agent; put back later, on the same machine. */
function snapshot(it: Given): () => void {
  const aside = `${it.mac.path('/var')}/snapshot-${it.journal().identity?.enrolmentId}`;
  cpSync(it.mac.path(state), aside, { recursive: true, preserveTimestamps: true });
  const items = structuredClone(keychainAt(it.mac.state, systemKeychain).items);
  return () => {
    rmSync(it.mac.path(state), { recursive: true, force: true });
    cpSync(aside, it.mac.path(state), { recursive: true, preserveTimestamps: true });
    it.mac.change((one) => {
      keychainAt(one, systemKeychain).items = items;
    });
    it.mac.boot();
  };
}

describe('an older state of the same machine comes back (snapshot, Time Machine)', () => {
  test('from before a rotation: the journal calls a dead key current; nothing is superseded by it, and the Mac agrees again by itself', async () => {
    for (const custody of ['server', 'keychain']) {
      const it = await settled({ settings: { custody } });
      await it.order();
      await runs(it, 60, day);
      const back = snapshot(it);
      await it.order();
      await runs(it, day, 60);
      const key = it.mac.recoveryKey;
      await agrees(it);
      back();
      await runs(it, 60, 700, day, 700, day, 700);
      expect(it.mac.recoveryKey).toBe(key);
      await agrees(it);
      expect([custody, it.mac.state.wrongKeys.ever <= 2, it.journal().exhausted]).toEqual([custody, true, false]);
      // The newer key is one that the backend knew already: nobody else is accused.
      expect([custody, it.journal().foreignChanges, it.status().changedByOthers]).toEqual([custody, [], null]);
      await it.order();
      await runs(it, day, 700, day, 700);
      expect(it.mac.recoveryKey).not.toBe(key);
      await agrees(it);
      expect(await alarms(it)).toEqual([]);
    }
  });

  test('from the middle of a rotation, output file and all: the dead key of that day is refused or known, and takes nothing from the held one', async () => {
    const it = await settled();
    await it.order();
    await it.checkInAndDie({ name: /fdesetup ended/, when: 'after' });
    const back = snapshot(it);
    await runs(it, 120, 700);
    const first = it.mac.recoveryKey;
    await it.order();
    await runs(it, 2 * day, 700);
    const second = it.mac.recoveryKey;
    expect(second).not.toBe(first);
    await agrees(it);
    back();
    for (let days = 0; days < 6; days++) await runs(it, 700, day);
    expect(await heldHere(it)).toBe(second);
    expect(it.mac.recoveryKey).toBe(second);
    expect(it.journal().rotation).toBeNull();
    expect(await it.custodyOf()).toMatchObject({ state: 'held' });
    expect(readdirSync(it.mac.path(`${state}/out`))).toEqual([]);
    expect(it.mac.state.wrongKeys.ever).toBeLessThanOrEqual(4);
  });
});

// Last: the clock of the backend is far ahead of that of TLS from here on.
describe('months in a drawer', () => {
  test('three months: the order of that day has expired, the clock is wrong at the start, and a proof comes before anything is replaced', async () => {
    const it = await settled();
    await runs(it, 700);
    await it.order();
    const key = it.mac.recoveryKey;
    it.pass(92 * day);
    await it.backend.custody.sweepTimers();
    it.mac.installIdentity(it.deviceCa);
    it.mac.boot();
    // The battery was empty: macOS starts with the time at which it was switched off.
    it.turnClock(-92 * day);
    await it.checkIn();
    expect(it.mac.recoveryKey).toBe(key);
    expect(await heldHere(it)).toBe(key);
    it.turnClock(92 * day);
    await runs(it, 700);
    expect((await it.custody.macReport(await it.macId())).orders).toMatchObject([{ state: 'expired' }]);
    expect(it.status().lastRun.did).toMatch(/asked macOS whether the held key opens this Mac: true/);
    expect(it.mac.recoveryKey).toBe(key);
    await agrees(it);
    await it.order();
    await runs(it, day, 700);
    expect(it.mac.recoveryKey).not.toBe(key);
    await agrees(it);
    expect([it.mac.state.wrongKeys.ever, await alarms(it)]).toEqual([0, []]);
    expect(JSON.parse(readFileSync(it.mac.path(`${state}/journal.json`), 'utf8')).refusals).toEqual([]);
  });

  test('longer than its certificate: CERTIFICATE_EXPIRED, the same enrolment goes on with a new key, and its recovery key stays held', async () => {
    const it = await settled();
    const [key, enrolment] = [it.mac.recoveryKey, it.journal().identity?.enrolmentId];
    it.pass(401 * day);
    it.mac.installIdentity(it.deviceCa);
    it.mac.boot();
    await runs(it, 60, 700);
    expect(it.journal().identity?.enrolmentId).toBe(enrolment);
    expect(it.mac.recoveryKey).toBe(key);
    await agrees(it);
    expect(await alarms(it)).toEqual([]);
    await it.order();
    await runs(it, day, 700);
    expect(it.mac.recoveryKey).not.toBe(key);
    await agrees(it);
  });
});

test('a CA of the backend that changes: each Mac says which ones its settings trust', async () => {
  const it = await given();
  await it.checkIn();
  const said = async () =>
    JSON.parse((await it.store.db.selectFrom('mac').select('facts').orderBy('last_seen_at', 'desc').executeTakeFirstOrThrow()).facts ?? '{}');
  expect((await said()).trusted).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/)]);
});
