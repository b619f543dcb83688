import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { verifyAudit } from '../server/audit.ts';
import { backUp } from '../server/backup.ts';
import { restore, spreadRestoreDebts } from '../server/restore.ts';
import { given } from './given.ts';
import { asFile } from './new-database.ts';
import { refuseAllWrites } from './refused-writes.ts';
import { halfRows } from './server-sweep/half-rows.ts';
import { openToRead } from './server-sweep/receipts.ts';

/*
 * The backend is restored from a backup that is older than the last receipts. It cannot know what it has forgotten; each
 * Mac keeps its last sealed envelopes until a later key is held and proved, and brings them again by itself.
 */

const day = 24 * 3600;
type Given = Awaited<ReturnType<typeof given>>;

/** Enrolled, settled and proved, by the one grant of its first day. */
async function ready(it: Given): Promise<void> {
  await it.settle();
  await it.checkIn();
}

/** One more rotation, as an admin orders it, a day after whatever was granted before. */
async function rotate(it: Given): Promise<void> {
  it.pass(day + 60);
  await it.order();
  const before = it.mac.recoveryKey;
  for (let run = 0; run < 3 && it.mac.recoveryKey === before; run += 1) {
    await it.checkIn();
    it.pass(700);
  }
  expect(it.mac.recoveryKey).not.toBe(before);
}

/** Within two days and eight runs; time stands still during a run, so an answer may seem as old as what came with it. */
async function untilHeld(it: Given): Promise<void> {
  for (let run = 0; run < 8 && (await it.custodyOf()).state !== 'held'; run += 1) {
    it.pass(run % 2 === 0 ? 700 : day / 2);
    await it.checkIn();
  }
}

const record = (it: Given, key: string | null) => it.storedKeys().then((keys) => keys.includes(key ?? ''));

test('while the backend cannot store, a Mac keeps the sealed envelope of its new key, and delivers it once it can', async () => {
  const it = await given();
  await ready(it);
  it.pass(day + 60);
  await it.order();
  const before = it.mac.recoveryKey;
  await it.checkInAndDie({ name: /fdesetup ended/, when: 'after' });
  const after = it.mac.recoveryKey;
  expect(after).not.toBe(before);
  const allow = await refuseAllWrites(it.store);
  expect(await it.checkIn()).toBe(69);
  expect(it.status().problems.map(({ code }) => code)).toContain('STORE_FAILED');
  const { rotation, outbox } = it.journal();
  expect([rotation?.state, outbox.map((kept) => kept.source)]).toEqual(['sealed', expect.arrayContaining(['rotation'])]);
  expect(await it.storedKeys()).toEqual([before]);
  await allow();
  it.pass(700);
  await it.checkIn();
  expect([await it.heldKey(), it.mac.recoveryKey, it.journal().rotation]).toEqual([after, after, null]);
  expect(it.journal().outbox).toEqual([]);
});

test('seven Macs and a backup older than their last receipts: each brings its key again, and the one that opens it is held and proved', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'redelivery-'));
  try {
    const [idle, once, twice, changing, begun, shown] = [await given(), await given(), await given(), await given(), await given(), await given()];
    for (const it of [idle, once, twice, changing, begun, shown]) await ready(it);
    const file = join(folder, 'backup.tar');
    const usable = (await idle.store.db.selectFrom('key_record').select('id').where('state', 'in', ['held', 'candidate']).execute()).length;
    expect(usable).toBeGreaterThanOrEqual(6);
    await backUp({ dir: idle.dir, file, actor: 'an operator' });

    // The gap: one rotates, one twice, one dies between macOS's change and its delivery, one after its begin; a key is shown; one enrols.
    await rotate(once);
    await rotate(twice);
    await rotate(twice);
    for (const it of [changing, begun]) {
      it.pass(day + 60);
      await it.order();
    }
    const atBackup = changing.mac.recoveryKey;
    await changing.checkInAndDie({ name: /fdesetup ended/, when: 'after' });
    expect(changing.mac.recoveryKey).not.toBe(atBackup);
    await begun.checkInAndDie({ name: /ask begin/, when: 'after' });
    expect(begun.journal().rotation?.state).toBe('intended');
    expect(await shown.disclose()).toBe(shown.mac.recoveryKey);
    const late = await given();
    await late.settle();
    expect(await late.heldKey()).toBe(late.mac.recoveryKey);

    const dir = join(folder, 'restored');
    const result = await restore({ file, dir, revocationsFile: null, spreadDays: 2, actor: 'an operator', wallNow: () => idle.mac.now });
    expect(result.keysToReplace).toBe(usable);
    await idle.restart(dir);
    // What the receipts say is not so any more; the backend does not know it, the Macs will.
    for (const it of [once, twice]) expect(await record(it, it.mac.recoveryKey)).toBe(false);
    await expect(late.macId()).rejects.toMatchObject({ code: 'MAC_UNKNOWN' });
    const owed = await idle.store.db.selectFrom('debt').select('id').where('because', '=', 'disclosed').execute();
    expect(owed).toEqual([]);

    const all = [idle, once, twice, changing, begun, shown, late];
    for (const it of all) {
      it.pass(60);
      await it.checkIn();
    }
    // The envelopes are back at the first check-in; which of several keys is the right one is a question to macOS.
    for (const it of all) expect(await record(it, it.mac.recoveryKey)).toBe(true);
    expect(late.lines).toContainEqual({ event: 'identity-set-aside', because: 'CERTIFICATE_UNKNOWN' });
    for (const it of all) await untilHeld(it);
    for (const [at, it] of all.entries()) {
      expect([at, await it.heldKey()]).toEqual([at, it.mac.recoveryKey]);
      expect([at, await it.custodyOf()]).toEqual([at, expect.objectContaining({ state: 'held', candidates: 0 })]);
      expect([at, it.journal().rotation, it.mac.state.wrongKeys.ever]).toEqual([at, null, 0]);
    }

    // Nobody remembers who was shown a key in the gap: each key of the backup is owed a replacement, spread over days, and gets it.
    const exposed = shown.mac.recoveryKey;
    for (let days = 0; days < 4; days += 1) {
      idle.pass(day);
      await spreadRestoreDebts(idle.store, idle.backend.clock);
    }
    const debts = await idle.store.db.selectFrom('debt').select('mac_id').where('id', 'like', 'restore-%').where('closed_at', 'is', null).execute();
    // Those whose key of the backup was replaced in the gap owe nothing for it.
    const ours = await Promise.all(all.map((it) => it.macId()));
    expect(debts.flatMap((debt) => (ours.includes(debt.mac_id) ? [debt.mac_id] : [])).sort()).toEqual(
      (await Promise.all([idle, begun, shown].map((it) => it.macId()))).sort(),
    );
    for (const seconds of [700, day, 700]) {
      shown.pass(seconds);
      await shown.checkIn();
    }
    expect(shown.mac.recoveryKey).not.toBe(exposed);
    expect(await shown.heldKey()).toBe(shown.mac.recoveryKey);

    expect(await verifyAudit(idle.store)).toMatchObject({ ok: true });
    const database = openToRead(await asFile(idle.backend.paths.database, idle.store));
    expect(halfRows(database)).toEqual([]);
    database.close();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
