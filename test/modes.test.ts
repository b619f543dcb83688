import { describe, expect, test } from '@jest/globals';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { status as serverStatus } from '../server/status-command.ts';
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
const task = async (it: Given) => it.store.db.selectFrom('mdm_task').selectAll().where('serial', '=', it.mac.state.serial).executeTakeFirst();

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
});

describe('payloads go and come', () => {
  test.each(['M1', 'M2', 'M3'] as const)(
    '%s, C3: the payload is gone: everything is held, custody stays, and it is said that new keys would go nowhere',
    async (mode) => {
      const it = await inMode(mode);
      const before = it.mac.recoveryKey;
      it.mac.installEscrowProfile('none');
      await it.order();
      await runs(it, 60, day, 700);
      expect(it.mac.recoveryKey).toBe(before);
      expect(await it.custodyOf()).toMatchObject({ state: 'held' });
      expect(it.status().escrow.says).toMatch(mode === 'M3' ? /^M0: there is no escrow payload; .*not replaced here/ : /^M0: .*new keys would go nowhere$/);
      expect(await rotations(it)).toEqual([]);
    },
  );

  test('M1, macOS 26: a foreign payload in the place of ours: held at once, our key is taken for dead until the Mac says so, and custody is foreign', async () => {
    const it = await inMode('M1', '26.6.2');
    const before = it.mac.recoveryKey;
    it.mac.installEscrowProfile('foreign');
    expect(it.mac.recoveryKey).not.toBe(before);
    await it.order();
    await runs(it, 60);
    expect((await it.custodyOf()).state).not.toBe('held');
    expect(it.status().escrow.says).toMatch(/^M0: the escrow payload is somebody else’s/);
    await runs(it, 700, day, 700, day, 700);
    expect(await it.custodyOf()).toMatchObject({ state: 'foreign' });
    expect(await rotations(it)).toEqual([]);
  });

  test('M2, G1: another MDM brings its own payload: the held key is proved again, and nothing is replaced because of it', async () => {
    const it = await inMode('M2');
    const [before, proved] = [it.mac.recoveryKey, (await it.custodyOf()).provedAt];
    it.mac.installEscrowProfile('none');
    it.mac.removeSettings();
    await runs(it, 60);
    it.mac.change((state) => {
      state.mdm.server = 'https://other-mdm.example.com/mdm';
    });
    it.mac.installEscrowProfile('foreign');
    it.mac.installSettings({ ...it.values, ...modes.M2.settings, pilot: true });
    await runs(it, 3600, day, 700);
    expect(it.mac.recoveryKey).toBe(before);
    expect(await it.custodyOf()).toMatchObject({ state: 'held' });
    expect(Date.parse((await it.custodyOf()).provedAt ?? '')).toBeGreaterThan(Date.parse(proved ?? ''));
    expect(await rotations(it)).toEqual([]);
  });

  test('M3, B3: erased: the old key stays with the volume that is gone, and nothing of the new one is claimed', async () => {
    const it = await inMode('M3');
    const before = await it.heldKey();
    it.mac.erase();
    it.mac.setUp('ada');
    it.mac.installEscrowProfile('foreign');
    it.mac.installSettings({ ...it.values, ...modes.M3.settings });
    it.installPackage();
    it.mac.installIdentity(it.deviceCa);
    await runs(it, 60, 700, day);
    expect(await it.custodyOf()).toMatchObject({ state: 'foreign', heldRecordId: null });
    expect(await it.storedKeys()).toEqual([before]);
    expect(await rotations(it)).toEqual([]);
  });
});

describe('a person replaces the key on the Mac itself', () => {
  test.each(['M0', 'M2', 'M4'] as const)('%s, C1: no rotation of ours answers it', async (mode) => {
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
