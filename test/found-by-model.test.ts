import { utimesSync, writeFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { realDisk } from '../agent/disk.ts';
import { prove } from '../server/mac-commands.ts';
import { openProofOrdersOf } from '../server/store/proofs.ts';
import { foreignEscrowPair, pemToDer } from './fake-mac/certificates.ts';
import { makeEscrowFile } from './fake-mac/escrow-file.ts';
import { type GivenOptions, given } from './given.ts';
import { abstractOf } from './model/abstraction.ts';
import { compare } from './model/compare.ts';
import { take } from './model/course.ts';
import { courseOf } from './model/explore.ts';
import { volatile } from './power/volatile.ts';

/*
 * Courses on which the model of the rules and the product disagreed, or which both went wrongly, each as a story of its own.
 */

const day = 24 * 3600;
type Given = Awaited<ReturnType<typeof given>>;

async function settled(options: GivenOptions = {}): Promise<Given> {
  const it = await given(options);
  await it.settle();
  await it.checkIn();
  it.pass(day);
  return it;
}

/** Runs at these seconds from now, each after the other. */
async function runs(it: Given, ...seconds: number[]): Promise<void> {
  for (const one of seconds) {
    it.pass(one);
    await it.checkIn();
  }
}

const wrong = (it: Given): number => it.mac.state.wrongKeys.ever;
const orders = async (it: Given) => openProofOrdersOf(it.store.db, await it.macId());

/** Somebody else changes the key, and mdmclient has not written its file yet. */
const changeByOther = (it: Given, key = 'ABCD-EFGH-JKLM-NPQR-TUVW-XYZ2'): void =>
  it.mac.change((state) => {
    state.disk.recoveryKey = key;
  });
function writeFile(it: Given, key: string, certificate = String(it.values.escrowCertificate)): void {
  const path = it.mac.path('/var/db/FileVaultPRK.dat');
  writeFileSync(path, makeEscrowFile(key, pemToDer(certificate)));
  utimesSync(path, it.mac.now / 1000, it.mac.now / 1000);
}

test('C2: a change by somebody else whose key is refused first, and whose file for us is delivered then, is one change', async () => {
  const it = await settled();
  await it.order();
  changeByOther(it);
  await it.checkIn();
  expect([it.journal().foreignChanges, wrong(it)]).toEqual([[], 1]);
  await runs(it, day);
  expect([it.journal().foreignChanges.length, wrong(it)]).toEqual([1, 2]);
  writeFile(it, it.mac.recoveryKey ?? '');
  await runs(it, 120);
  expect(await it.storedKeys()).toContain(it.mac.recoveryKey);
  expect([it.journal().foreignChanges.length, wrong(it)]).toEqual([1, 2]);
  // Another change is another.
  it.mac.mdmRotates();
  await runs(it, 120);
  expect(it.journal().foreignChanges).toHaveLength(2);
});

test('C2: a change by somebody else whose key is refused first, and whose file is sealed for them, is one change too; the file after it is another', async () => {
  const it = await settled();
  await it.order();
  changeByOther(it);
  await runs(it, 60, day);
  expect(it.journal()).toMatchObject({ foreignChanges: [expect.any(Number)], refusalFile: 'awaited' });
  for (const changes of [1, 2]) {
    writeFile(it, it.mac.recoveryKey ?? '', foreignEscrowPair().certificate);
    await runs(it, 3600);
    expect(it.journal().foreignChanges).toHaveLength(changes);
  }
});

test('K8, C2: one wrong `false` of macOS is no change by somebody else: nothing is counted, and what is owed is done the next day', async () => {
  const it = await settled();
  await it.order();
  it.mac.setCommandQuirk('fdesetup validaterecovery', 'answer:false\n');
  await it.checkIn();
  it.mac.setCommandQuirk('fdesetup validaterecovery', null);
  const before = it.mac.recoveryKey;
  await runs(it, day + 60, 700);
  expect(it.mac.recoveryKey).not.toBe(before);
  expect(it.journal().foreignChanges).toEqual([]);
  expect(await it.custodyOf()).toMatchObject({ state: 'held' });
});

test('C2: a change that is noticed by a clock that is behind, before the backend is heard, came after the last `true` all the same', async () => {
  const it = await settled();
  it.pass(60);
  it.mac.boot();
  it.turnClock(-2 * day);
  changeByOther(it);
  writeFile(it, it.mac.recoveryKey ?? '', foreignEscrowPair().certificate);
  const { at = 0 } = it.journal().lastProof ?? {};
  await it.checkIn();
  expect(it.journal().foreignChanges).toEqual([at + 1]);
  it.turnClock(2 * day);
  // Its key is refused twice, and that is the same change.
  await runs(it, 700, day, day);
  expect([it.journal().foreignChanges.length, wrong(it)]).toEqual([1, 2]);
});

test.each([
  [
    '8.5, 2.2: after a restore custody is doubtful for lack of a proof: one is ordered at once, and not when the schedule has it',
    'keychain/foreign/keychain/prompt/ordered@25:restored',
    { custody: 'held' },
  ],
  [
    'C2: a rotation that gets its receipt late gives macOS’s `true` no later date: the change that came between is counted once',
    'keychain/foreign/keychain/late/ordered@25:offline,28:changed-theirs',
    { foreignChanges: 2 },
  ],
  [
    'C2: a restored backend’s older key, which a rotation of ours replaced, is refuted: that is nobody else’s change',
    'server/ours/grant/never/ordered@23:restored',
    { foreignChanges: 0 },
  ],
  [
    'C2: a rotation of ours that ended without anybody knowing is nobody else’s change',
    'server/ours/grant/never/ordered@12:cut-unsynced,14:restored',
    { foreignChanges: 0 },
  ],
])('%s', async (_, word, end) => {
  const course = courseOf(word);
  if (!course) throw new Error(`there is no course ${word}`);
  const taken = take(course);
  expect(taken.broken).toEqual([]);
  expect(abstractOf(taken.end)).toMatchObject(end);
  const { differences, report } = await compare(course);
  expect(differences.length === 0 ? '' : report).toBe('');
});

test('K7: an answer that was given before a proof was ordered, and is told after it, does not end that order', async () => {
  const it = await settled();
  await it.order();
  await it.checkInAndDie({ name: /start fdesetup/, when: 'before' });
  it.pass(120);
  // R6: the old key answers `true`, and the run dies before the backend hears of it.
  const killed = await it.checkInAndDie({ name: /ask checkIn/, when: 'before', nth: 2 });
  expect(killed.effects.filter((one) => one.includes('validaterecovery'))).toHaveLength(1);
  expect(it.journal().proofs).toMatchObject([{ answer: 'true', orderId: null }]);
  it.pass(120);
  await prove(it.backend, { macs: [await it.macId()], reason: 'is it still so?', actor: 'grace' });
  const [ordered] = await orders(it);
  await it.checkIn();
  expect(it.journal().proofs).toEqual([]);
  expect(await orders(it)).toEqual([ordered]);
  await runs(it, day + 60, 700);
  expect(await orders(it)).toEqual([]);
});

test('R2: the output of a change whose run was killed is synced before it is relied on: the power may go in the very next moment', async () => {
  const it = await settled();
  it.mac.setChangeQuirk('no-escrow-file');
  await it.order();
  const power = volatile(it.mac.root, { now: () => it.mac.now });
  const disk = realDisk(it.mac.root, power.calls);
  const before = it.mac.recoveryKey;
  await it.checkInAndDie({ name: /fdesetup ended/, when: 'after' }, { disk });
  expect(it.mac.recoveryKey).not.toBe(before);
  it.pass(120);
  await it.checkInAndDie({ name: /validaterecovery/, when: 'after' }, { disk });
  power.cut('none').apply();
  it.mac.boot();
  await runs(it, 120, 700, day, 700);
  expect(await it.heldKey()).toBe(it.mac.recoveryKey);
  expect(await it.custodyOf()).toMatchObject({ state: 'held' });
});
