import { describe, expect, test } from '@jest/globals';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { status as serverStatus } from '../server/status-command.ts';
import { makePair } from './fake-mac/certificates.ts';
import { type GivenOptions, given, operator } from './given.ts';

/*
 * Beside an MDM, one mode after the other, and what each event does there: we show a key, the MDM replaces it, a person does,
 * a payload goes, another one comes, the organisation changes its MDM, the Mac is erased.
 */

const day = 24 * 3600;
const modes = {
  M0: { escrow: 'foreign' },
  M1: { escrow: 'ours' },
  M2: { escrow: 'foreign', settings: { escrowOwner: 'mdm', rotator: 'sparekey', custody: 'keychain' } },
  M3: { escrow: 'foreign', settings: { escrowOwner: 'mdm', rotator: 'mdm' } },
  M4: { escrow: 'ours', settings: { rotator: 'mdm' } },
} satisfies Record<string, GivenOptions>;
type ModeName = keyof typeof modes;
type Given = Awaited<ReturnType<typeof given>>;

async function runs(it: Given, ...seconds: number[]): Promise<void> {
  for (const one of seconds) {
    it.pass(one);
    await it.checkIn();
  }
}
const bring = async (it: Given): Promise<void> => {
  const key = RecoveryKey.parse(it.mac.recoveryKey ?? '');
  await it.custody.bring([{ serial: it.mac.state.serial, key, source: 'jamf', trust: 'admin', runId: null, madeAt: it.mac.now, actor: operator }]);
};
const rotations = async (it: Given) =>
  it.store.db
    .selectFrom('rotation')
    .select(['state', 'because', 'escrow_payload'])
    .where('mac_id', '=', await it.macId())
    .execute();
const debts = async (it: Given) =>
  it.store.db
    .selectFrom('debt')
    .select('because')
    .where('mac_id', '=', await it.macId())
    .where('closed_at', 'is', null)
    .execute();
const alarms = async (it: Given): Promise<string[]> =>
  (
    await it.store.db
      .selectFrom('alarm')
      .select('code')
      .where('mac_id', '=', await it.macId())
      .where('judged_at', 'is', null)
      .execute()
  ).map(({ code }) => code);
const reported = async (it: Given): Promise<number> =>
  (
    await it.store.db
      .selectFrom('audit')
      .select('act')
      .where('mac_id', '=', await it.macId())
      .where('act', '=', 'key.changed-by-other')
      .execute()
  ).length;
const task = async (it: Given) => it.store.db.selectFrom('mdm_task').selectAll().where('serial', '=', it.mac.state.serial).executeTakeFirst();

const settingsOf = (mode: ModeName): NonNullable<GivenOptions['settings']> => (modes[mode] as GivenOptions).settings ?? {};
/** A Mac in this mode whose present key is held and proved. */
async function inMode(mode: ModeName, macos = '15.7.3'): Promise<Given> {
  const options: GivenOptions = modes[mode];
  const it = await given({ macos, ...options, settings: { pilot: true, ...options.settings } });
  await it.settle();
  if (options.escrow === 'foreign') await bring(it);
  await runs(it, 60, 60);
  expect(await it.custodyOf()).toMatchObject({ state: 'held', provedAt: expect.any(String), candidates: 0 });
  expect(it.status().escrow.says).toMatch(new RegExp(`^${mode}: `));
  expect((await serverStatus(it.backend, it.mac.state.serial)).json).toMatchObject({ mode: { mode, says: it.status().escrow.says } });
  expect(await rotations(it)).toEqual([]);
  return it;
}
let anotherPair: ReturnType<typeof makePair> | null = null;
/** A second product's payload takes the place of the first one's: another certificate, and another `Location`, by which it is told. */
function takePlace(it: Given): void {
  anotherPair ??= makePair({ subject: { CN: 'Another MDM Escrow', O: 'Another MDM' }, kind: 'escrow', days: 3650 });
  it.mac.installEscrowProfile('foreign', anotherPair.certificate);
  it.mac.change((state) => {
    for (const { escrow } of state.profiles) if (escrow) escrow.location = 'Another MDM keeps the recovery key of this Mac.';
  });
}
/** The person who was shown it has restarted the Mac, and is back in. */
async function backIn(it: Given): Promise<void> {
  it.mac.boot({ unlock: 'ada' });
  await runs(it, 60, 700);
}

describe('we show the key', () => {
  test.each([
    ['M1', 'ours'],
    ['M2', 'foreign'],
  ] as const)('%s: a hold, then one replacement; C6 where the MDM’s copy grows old by it', async (mode, payload) => {
    const it = await inMode(mode);
    const shown = await it.disclose();
    await runs(it, 700);
    expect(it.mac.recoveryKey).toBe(shown);
    await backIn(it);
    await runs(it, day, 700);
    expect(it.mac.recoveryKey).not.toBe(shown);
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    expect(await rotations(it)).toEqual([{ state: 'done', because: 'disclosed', escrow_payload: payload }]);
    expect(await debts(it)).toEqual([]);
    expect((await it.custody.macReport(await it.macId())).mdmCopyOldSince !== null).toBe(payload === 'foreign');
    expect(await task(it)).toBeUndefined();
  });

  test.each(['M0', 'M3', 'M4'] as const)('%s: nothing of ours replaces it: a person has a task, which the MDM’s replacement closes', async (mode) => {
    const it = await inMode(mode);
    const shown = await it.disclose();
    await backIn(it);
    await runs(it, day, 700);
    expect(it.mac.recoveryKey).toBe(shown);
    expect(await task(it)).toMatchObject({ closed_at: null, because: expect.stringMatching(/^its key was shown, and /) });
    it.mac.mdmRotates();
    if (mode !== 'M4') await bring(it);
    await runs(it, 3600, day, 700);
    expect((await task(it))?.closed_at).not.toBeNull();
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    expect(await rotations(it)).toEqual([]);
    expect(await debts(it)).toEqual([]);
  });

  test('M0: where nothing was imported there is nothing to show', async () => {
    const it = await given(modes.M0);
    await it.settle();
    await expect(it.disclose()).rejects.toMatchObject({ code: 'KEY_UNKNOWN' });
  });
});

describe('the MDM replaces the key', () => {
  test.each(['M1', 'M4'] as const)('%s: macOS seals the new one to us: delivered and proved, and nothing of ours follows', async (mode) => {
    const it = await inMode(mode);
    it.mac.mdmRotates();
    await runs(it, 60, 700, day, 700);
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    expect(await it.custodyOf()).toMatchObject({ state: 'held', candidates: 0 });
    expect(await rotations(it)).toEqual([]);
    expect(it.journal().foreignChanges).toHaveLength(1);
  });

  test.each(['M0', 'M2', 'M3'] as const)(
    '%s, C1, C5: our key is dead and said to be; the next import is proved; nothing of ours follows, whatever is owed by time',
    async (mode) => {
      const it = await inMode(mode);
      it.mac.mdmRotates();
      await runs(it, 3600);
      expect((await it.custodyOf()).state).not.toBe('held');
      await runs(it, 700, day, 700);
      await bring(it);
      await runs(it, day, 700, day, 700);
      expect(await it.heldKey()).toBe(it.mac.recoveryKey);
      expect(await it.custodyOf()).toMatchObject({ state: 'held', candidates: 0 });
      expect(await rotations(it)).toEqual([]);
      expect(it.mac.state.wrongKeys.ever).toBeLessThanOrEqual(2);
    },
  );

  test('M2, C2: twice in 14 days: two rotators: an alarm, nothing is replaced whatever is ordered, the next import is proved all the same, and it ends by time', async () => {
    const it = await inMode('M2');
    for (const _ of [1, 2]) {
      it.mac.mdmRotates();
      await runs(it, 3600, 700, day, 700);
      await bring(it);
      await runs(it, day, 700);
      expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    }
    expect(await alarms(it)).toEqual(['TWO_ROTATORS']);
    const theirs = it.mac.recoveryKey;
    await it.order();
    await runs(it, 700, day, 700);
    expect(it.mac.recoveryKey).toBe(theirs);
    expect(it.status().lastRun.did).toMatch(/two rotators/);
    expect(await rotations(it)).toEqual([]);
    await runs(it, 14 * day, 700, day);
    expect(await rotations(it)).toEqual([{ state: 'done', because: 'ordered', escrow_payload: 'foreign' }]);
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    expect(await alarms(it)).toEqual(['TWO_ROTATORS']);
  });
});

describe('the MDM replaces the key twice in 14 days', () => {
  test('M1, C2: two rotators: macOS seals each key to us and it is held; an alarm, and nothing is replaced whatever is ordered', async () => {
    const it = await inMode('M1');
    for (const _ of [1, 2]) {
      it.mac.mdmRotates();
      await runs(it, 60, 700, day);
      expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    }
    expect(await alarms(it)).toEqual(['TWO_ROTATORS']);
    const theirs = it.mac.recoveryKey;
    await it.order();
    await runs(it, 700, day);
    expect(it.mac.recoveryKey).toBe(theirs);
    expect(it.status().lastRun.did).toMatch(/two rotators/);
    expect(await rotations(it)).toEqual([]);
  });

  test.each(['M0', 'M3', 'M4'] as const)(
    '%s: that is its one rotator at work: both changes are reported, there is no alarm, and each key is held',
    async (mode) => {
      const it = await inMode(mode);
      for (const _ of [1, 2]) {
        it.mac.mdmRotates();
        await runs(it, 3600);
        if (mode !== 'M4') await bring(it);
        await runs(it, day, 700);
        expect(await it.heldKey()).toBe(it.mac.recoveryKey);
        expect(await it.custodyOf()).toMatchObject({ state: 'held', candidates: 0 });
      }
      expect(it.journal().foreignChanges).toHaveLength(2);
      expect(await reported(it)).toBe(2);
      expect(await alarms(it)).toEqual([]);
      const theirs = it.mac.recoveryKey;
      await it.order();
      await runs(it, 700, day);
      expect(it.mac.recoveryKey).toBe(theirs);
      expect(await rotations(it)).toEqual([]);
    },
  );
});

describe('payloads go and come', () => {
  test.each(['M0', 'M1', 'M2', 'M3', 'M4'] as const)(
    '%s, C3: the payload is gone: everything is held, custody stays, and it is said that new keys would go nowhere',
    async (mode) => {
      const it = await inMode(mode);
      const before = it.mac.recoveryKey;
      it.mac.installEscrowProfile('none');
      await it.order();
      await runs(it, 60, day, 700);
      expect(it.mac.recoveryKey).toBe(before);
      expect(await it.custodyOf()).toMatchObject({ state: 'held' });
      expect(it.status().escrow.says).toMatch(
        mode === 'M3' || mode === 'M4' ? /^M0: there is no escrow payload; .*not replaced here/ : /^M0: .*new keys would go nowhere$/,
      );
      expect(await rotations(it)).toEqual([]);
    },
  );

  test.each(['M1', 'M4'] as const)(
    '%s, macOS 26: a foreign payload in the place of ours: held at once, our key is taken for dead until the Mac says so, and custody is foreign',
    async (mode) => {
      const it = await inMode(mode, '26.6.2');
      const before = it.mac.recoveryKey;
      it.mac.installEscrowProfile('foreign');
      expect(it.mac.recoveryKey).not.toBe(before);
      await it.order();
      await runs(it, 60);
      expect((await it.custodyOf()).state).not.toBe('held');
      // Where an MDM replaces the keys, it goes on doing that under its own payload.
      expect(it.status().escrow.says).toMatch(mode === 'M1' ? /^M0: the escrow payload is somebody else’s/ : /^M3: the escrow payload is somebody else’s/);
      await runs(it, 700, day, 700, day, 700);
      expect(await it.custodyOf()).toMatchObject({ state: 'foreign' });
      expect(await rotations(it)).toEqual([]);
    },
  );

  test.each(['M1', 'M4'] as const)(
    '%s, macOS 15: a foreign payload in the place of ours: held at once, and the key that it did not change is proved again and stays held',
    async (mode) => {
      const it = await inMode(mode);
      const [before, proved] = [it.mac.recoveryKey, (await it.custodyOf()).provedAt];
      it.mac.installEscrowProfile('foreign');
      expect(it.mac.recoveryKey).toBe(before);
      await it.order();
      await runs(it, 60);
      expect(it.status().escrow.says).toMatch(mode === 'M1' ? /^M0: the escrow payload is somebody else’s/ : /^M3: the escrow payload is somebody else’s/);
      expect(await it.custodyOf()).toMatchObject({ state: 'held' });
      await runs(it, 700, day, 700);
      expect(await it.heldKey()).toBe(before);
      expect(await it.custodyOf()).toMatchObject({ state: 'held', candidates: 0 });
      expect(Date.parse((await it.custodyOf()).provedAt ?? '')).toBeGreaterThan(Date.parse(proved ?? ''));
      expect(it.mac.state.wrongKeys.ever).toBe(0);
      expect(it.journal().foreignChanges).toEqual([]);
      expect(await rotations(it)).toEqual([]);
    },
  );

  test.each(['M0', 'M2', 'M3'] as const)(
    '%s: another’s payload takes the place of the MDM’s: the mode stays, the held key is proved again, and nothing is replaced because of it',
    async (mode) => {
      const it = await inMode(mode);
      const [before, proved] = [it.mac.recoveryKey, (await it.custodyOf()).provedAt];
      takePlace(it);
      await runs(it, 60, 700, day);
      expect(it.mac.recoveryKey).toBe(before);
      expect(it.status().escrow.says).toMatch(new RegExp(`^${mode}: `));
      expect(await it.heldKey()).toBe(before);
      expect(await it.custodyOf()).toMatchObject({ state: 'held', candidates: 0 });
      expect(Date.parse((await it.custodyOf()).provedAt ?? '')).toBeGreaterThan(Date.parse(proved ?? ''));
      expect(it.mac.state.wrongKeys.ever).toBe(0);
      expect(it.journal().foreignChanges).toEqual([]);
      expect(await rotations(it)).toEqual([]);
    },
  );

  test.each(['M0', 'M1', 'M2', 'M3', 'M4'] as const)(
    '%s, G1: another MDM: while profiles are away nothing is replaced, then the held key is proved again, and nothing is replaced because of it',
    async (mode) => {
      const it = await inMode(mode);
      const [before, proved] = [it.mac.recoveryKey, (await it.custodyOf()).provedAt];
      it.mac.installEscrowProfile('none');
      it.mac.removeSettings();
      await runs(it, 60, 3600);
      expect(it.status().escrow.says).toMatch(/^M0: there is no escrow payload/);
      it.mac.change((state) => {
        state.mdm.server = 'https://other-mdm.example.com/mdm';
      });
      it.mac.installEscrowProfile(modes[mode].escrow, modes[mode].escrow === 'ours' ? it.values.escrowCertificate : undefined);
      it.mac.installSettings({ ...it.values, ...settingsOf(mode), pilot: true });
      await runs(it, 3600, day, 700);
      expect(it.mac.recoveryKey).toBe(before);
      expect(it.status().escrow.says).toMatch(new RegExp(`^${mode}: `));
      expect(await it.custodyOf()).toMatchObject({ state: 'held', candidates: 0 });
      expect(Date.parse((await it.custodyOf()).provedAt ?? '')).toBeGreaterThan(Date.parse(proved ?? ''));
      expect(await rotations(it)).toEqual([]);
    },
  );

  test.each(['M0', 'M1', 'M2', 'M3', 'M4'] as const)(
    '%s, B3: erased: the old key stays with the volume that is gone, and of the new one only what macOS sealed to us is claimed',
    async (mode) => {
      const it = await inMode(mode);
      const [before, macId] = [await it.heldKey(), await it.macId()];
      it.mac.erase();
      it.pass(3600);
      it.mac.setUp('ada');
      it.installPackage();
      await runs(it, 60, 700, day);
      expect(await it.macId()).toBe(macId);
      expect(it.mac.recoveryKey).not.toBe(before);
      expect(await it.storedKeys()).toContain(before);
      expect(await rotations(it)).toEqual([]);
      expect(it.mac.state.wrongKeys.ever).toBe(0);
      const isSealedToUs = modes[mode].escrow === 'ours';
      expect(await it.custodyOf()).toMatchObject(isSealedToUs ? { state: 'held', provedAt: expect.any(String) } : { state: 'foreign', heldRecordId: null });
      expect((await it.storedKeys()).includes(it.mac.recoveryKey ?? '')).toBe(isSealedToUs);
    },
  );
});

describe('a person or a script replaces the key on the Mac itself', () => {
  test.each(['M0', 'M1', 'M2', 'M3', 'M4'] as const)('%s, C1: no rotation of ours answers it', async (mode) => {
    const it = await inMode(mode);
    it.mac.runner.run({
      program: '/usr/bin/fdesetup',
      args: ['changerecovery', '-personal', '-outputplist', '-inputplist'],
      input: `<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict><key>Username</key><string>ada</string><key>Password</key><string>ada's password</string></dict></plist>`,
    });
    const theirs = it.mac.recoveryKey;
    await runs(it, 60, 700, day, 700);
    expect(it.mac.recoveryKey).toBe(theirs);
    expect(await rotations(it)).toEqual([]);
    const sealedToUs = modes[mode].escrow === 'ours';
    expect((await it.storedKeys()).includes(theirs ?? '')).toBe(sealedToUs);
    if (sealedToUs) expect(await it.heldKey()).toBe(theirs);
  });
});
