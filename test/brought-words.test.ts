import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sealKey } from '../protocol/envelope.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import type { Bringing } from '../server/brought/bringing.ts';
import { bringTo, recordOf, rowOf, withoutOpener } from './brought-parts.ts';
import { codeOf, day, type GivenServer, givenServer, hour, newKey } from './server-parts.ts';

/* Who says that a key is this serial number's: what each of them brought stays theirs when another takes his back, and what is nobody's word goes. */

let server: GivenServer;
beforeAll(async () => {
  server = await givenServer();
});
afterAll(() => server.close());

const { newSerial, envelopeOf, bring, newRun } = bringTo(() => server, 'C02WORDS');
const fromMdm = { source: 'nanomdm', trust: 'mdm', actor: 'nanomdm' } as const;
const byHeader = { source: 'crypt', trust: 'header', actor: 'crypt' } as const;
const row = (id: string | null) => rowOf(server, id);
const rows = (serial: string) => server.store.db.selectFrom('brought_key').selectAll().where('serial', '=', serial).orderBy('brought_at').execute();
const line = (runId: string, keyId: string | null) =>
  server.store.write((tx) =>
    tx.insertInto('import_line').values({ run_id: runId, line: 1, serial: null, fate: 'waiting', because: 'x', key_id: keyId }).execute(),
  );
/** As it came, and nobody can look into it now. */
const unopened = (serial: string, key: RecoveryKey, more: Partial<Bringing> = {}) => {
  const envelope = envelopeOf(sealKey(key, server.escrow.pairs[0]?.der as Buffer));
  return withoutOpener(server, () => bring(serial, null, { ...fromMdm, envelope, ...more }));
};
const withdraw = (runId: string) => server.custody.withdrawRun({ runId, actor: 'ada', reason: 'an old file' });

describe('an import that is taken back leaves what others brought without it', () => {
  test.each<[string, Partial<Bringing>, string]>([
    ['a webhook', fromMdm, 'nanomdm'],
    ['a Crypt client that proves its serial number', { source: 'crypt', trust: 'device', actor: 'crypt' }, 'crypt'],
  ])('%s, whether it was there first or came after it', async (_, other, source) => {
    const [before, after] = [newSerial(), newSerial()];
    const keys = [newKey(), newKey()] as const;
    const runId = await newRun();
    await bring(before, keys[0], { ...other, madeAt: 1000 });
    const first = await bring(before, keys[0], { runId, madeAt: 5000 });
    const second = await bring(after, keys[1], { runId, madeAt: 5000 });
    await bring(after, keys[1], { ...other, madeAt: 2000 });
    expect(await row(first.keyId)).toMatchObject({ trust: 'admin', run_id: runId, made_at: 5000 });
    expect(await withdraw(runId)).toEqual({ withdrawn: 0, kept: 2 });
    expect(await row(first.keyId)).toMatchObject({ state: 'waiting', source, trust: other.trust, run_id: null, made_at: 1000, brought_by: other.actor });
    expect(await row(second.keyId)).toMatchObject({ state: 'waiting', source, trust: other.trust, run_id: null, made_at: 2000 });
    // Its row is whole: it is shown to a person.
    expect((await server.custody.discloseBrought({ serial: before, actor: 'ada', reason: 'locked out' })).key.equals(keys[0])).toBe(true);
  });

  test('what only a stranger brought besides is a stranger’s again: no doubt, and shown to nobody', async () => {
    const mac = await server.newMac({ serial: newSerial() });
    await mac.checkIn();
    const key = newKey();
    const runId = await newRun();
    await bring(mac.serial, key, byHeader);
    const brought = await bring(mac.serial, key, { runId });
    const { record_id: recordId } = await row(brought.keyId);
    expect(await recordOf(server, recordId)).toMatchObject({ unverified: 0, source: 'brought-intune' });
    await withdraw(runId);
    expect(await row(brought.keyId)).toMatchObject({ state: 'offered', trust: 'header', run_id: null });
    expect(await recordOf(server, recordId)).toMatchObject({ state: 'candidate', unverified: 1, source: 'brought-crypt' });
    expect(await server.custody.custodyOf(mac.id)).toMatchObject({ state: 'none', candidates: 0 });
    expect(await codeOf(server.custody.disclose({ macId: mac.id, actor: 'ada', reason: 'locked out' }))).toBe('KEY_UNKNOWN');
  });

  test('says beforehand how many would go, and takes nothing then', async () => {
    const [serial, runId] = [newSerial(), await newRun()];
    const { keyId } = await bring(serial, newKey(), { runId });
    const acts = (await server.acts()).length;
    expect(await server.custody.withdrawRun({ runId, actor: 'ada', reason: 'x', dryRun: true })).toEqual({ withdrawn: 1, kept: 0 });
    expect([(await row(keyId)).state, (await server.acts()).length]).toEqual(['waiting', acts]);
    expect(await withdraw(runId)).toEqual({ withdrawn: 1, kept: 0 });
  });
});

describe('a sealed key that turns out to be one that is here', () => {
  test('an admin’s counts as his, though a stranger’s row of it was first: it is shown, and is taken back with his import', async () => {
    const [serial, key, runId] = [newSerial(), newKey(), await newRun()];
    const admin = await unopened(serial, key, { source: 'mdm-cms', trust: 'admin', actor: 'ada', runId, madeAt: 7000 });
    await line(runId, admin.keyId);
    const stranger = await bring(serial, key, byHeader);
    expect(await codeOf(server.custody.discloseBrought({ serial, actor: 'ada', reason: 'x', refused: [String(admin.keyId)] }))).toBe('KEY_UNKNOWN');
    await server.custody.openLater();
    const states = await rows(serial);
    expect(states.map(({ state }) => state).toSorted()).toEqual(['waiting', 'withdrawn']);
    const kept = states.find(({ state }) => state === 'waiting');
    expect(kept).toMatchObject({ trust: 'admin', source: 'mdm-cms', run_id: runId, made_at: 7000, fingerprint: expect.any(String), also_trust: 'header' });
    expect([admin.keyId, stranger.keyId]).toContain(kept?.id);
    expect(await server.store.db.selectFrom('import_line').select('key_id').where('run_id', '=', runId).execute()).toEqual([{ key_id: kept?.id }]);
    expect((await server.custody.discloseBrought({ serial, actor: 'ada', reason: 'locked out' })).key.equals(key)).toBe(true);
  });

  test('of a Mac that is asked about the stranger’s: its record counts from now on; who saw the sealed one is in the Mac’s own list', async () => {
    const [serial, key] = [newSerial(), newKey()];
    const admin = await unopened(serial, key, { source: 'mdm-cms', trust: 'admin', actor: 'ada' });
    await server.custody.discloseBrought({ serial, actor: 'bob', reason: 'locked out' });
    const mac = await server.newMac({ serial });
    await mac.checkIn();
    const stranger = await bring(serial, key, byHeader);
    const { record_id: recordId } = await row(stranger.keyId);
    expect(await recordOf(server, recordId)).toMatchObject({ unverified: 1 });
    await server.custody.openLater();
    expect(await row(admin.keyId)).toMatchObject({ state: 'withdrawn', bytes: null });
    expect(await row(stranger.keyId)).toMatchObject({ trust: 'admin', state: 'offered' });
    expect(await recordOf(server, recordId)).toMatchObject({ unverified: 0, disclosed_at: expect.any(Number) });
    expect((await server.custody.macReport(mac.id)).disclosures).toMatchObject([{ actor: 'bob', reason: 'locked out' }]);
    expect(await mac.debts()).toEqual(['disclosed']);
  });
});

describe('as many as may wait for one serial number', () => {
  test.each<[string, Partial<Bringing>, number]>([
    ['an MDM', fromMdm, 32],
    ['a Mac', { source: 'crypt', trust: 'device', actor: 'crypt' }, 16],
  ])('by %s: the oldest goes and the newest is kept; one that is older than all of them is refused', async (_, by, most) => {
    const serial = newSerial();
    const all = [];
    for (let at = 0; at < most; at += 1) all.push(await bring(serial, newKey(), { ...by, madeAt: (at + 10) * 1000 }));
    const newest = await bring(serial, newKey(), { ...by, madeAt: 100_000 });
    expect(newest.fate).toBe('waiting');
    expect(await row(all[0]?.keyId ?? null)).toMatchObject({ state: 'withdrawn', bytes: null, state_because: expect.stringMatching(/newer keys/) });
    expect(await row(all[1]?.keyId ?? null)).toMatchObject({ state: 'waiting' });
    expect(await bring(serial, newKey(), { ...by, madeAt: 1 })).toMatchObject({ fate: 'refused', because: expect.stringMatching(/all of them are newer/) });
    // What macOS made because we asked is the Mac's key now, whatever the MDM's clock said of the others.
    const ours = await bring(serial, newKey(), { ...by, madeAt: 1, ours: true });
    expect(ours.fate).toBe('waiting');
    expect((await rows(serial)).filter(({ state }) => state === 'waiting')).toHaveLength(most);
  });

  test('one that a person was shown does not go; and strangers push out nothing', async () => {
    const serial = newSerial();
    const shown = await bring(serial, newKey(), { ...fromMdm, madeAt: 1 });
    await server.custody.discloseBrought({ serial, actor: 'ada', reason: 'locked out' });
    for (let at = 0; at < 33; at += 1) await bring(serial, newKey(), { ...fromMdm, madeAt: (at + 10) * 1000 });
    expect((await row(shown.keyId)).state).toBe('waiting');
    const few = [await bring(serial, newKey(), byHeader), await bring(serial, newKey(), byHeader), await bring(serial, newKey(), byHeader)];
    expect(await bring(serial, newKey(), byHeader)).toMatchObject({ fate: 'refused' });
    expect(few.map(({ fate }) => fate)).toEqual(['waiting', 'waiting', 'waiting']);
  });
});

describe('the task that a shown key leaves', () => {
  const isOpen = async (serial: string) =>
    (await server.store.db.selectFrom('mdm_task').select('closed_at').where('serial', '=', serial).execute()).map((task) => task.closed_at === null);

  test('is not closed by the very key that was shown, when that comes in an envelope that nobody has opened; another one closes it', async () => {
    const [serial, key] = [newSerial(), newKey()];
    await bring(serial, key, fromMdm);
    await server.custody.discloseBrought({ serial, actor: 'ada', reason: 'locked out' });
    server.wall.pass(hour);
    await unopened(serial, key);
    expect(await isOpen(serial)).toEqual([true]);
    await server.custody.openLater();
    expect(await isOpen(serial)).toEqual([true]);
    server.wall.pass(hour);
    await unopened(serial, newKey());
    expect(await isOpen(serial)).toEqual([true]);
    await server.custody.openLater();
    expect(await isOpen(serial)).toEqual([false]);
  });

  test('nor while the shown one itself is sealed: what comes in plain may be that; when it is opened, the others are compared', async () => {
    const [serial, key] = [newSerial(), newKey()];
    await unopened(serial, key);
    await server.custody.discloseBrought({ serial, actor: 'ada', reason: 'locked out' });
    server.wall.pass(hour);
    await bring(serial, key, fromMdm);
    expect(await isOpen(serial)).toEqual([true]);
    server.wall.pass(hour);
    await bring(serial, newKey(), fromMdm);
    expect(await isOpen(serial)).toEqual([true]);
    await server.custody.openLater();
    expect(await isOpen(serial)).toEqual([false]);
  });
});

describe('keys for which nobody answers', () => {
  const strangers = async (trust: 'header' | 'none') => {
    const serial = newSerial();
    const keys = [];
    for (let at = 0; at < 3; at += 1) keys.push(await bring(serial, newKey(), { ...byHeader, trust }));
    return { serial, keys };
  };

  test('are cleared by a person, with a reason, of one serial number or of one kind; it is said first how many, and it is in the audit', async () => {
    const [one, other, mine] = [await strangers('none'), await strangers('header'), newSerial()];
    await bring(mine, newKey());
    const by = { actor: 'ada', reason: 'made up' };
    expect(await codeOf(server.custody.clearStrangers({ serial: one.serial, trust: null, actor: 'ada', reason: ' ' }))).toBe('REASON_MISSING');
    expect(await server.custody.clearStrangers({ serial: one.serial, trust: null, ...by, dryRun: true })).toEqual({ withdrawn: 3, kept: 0 });
    expect((await rows(one.serial)).map(({ state }) => state)).toEqual(['waiting', 'waiting', 'waiting']);
    expect(await server.custody.clearStrangers({ serial: mine, trust: null, ...by })).toEqual({ withdrawn: 0, kept: 0 });
    expect(await server.custody.clearStrangers({ serial: null, trust: 'none', ...by })).toMatchObject({ withdrawn: 3 });
    expect((await rows(one.serial)).map(({ state, bytes }) => [state, bytes])).toEqual(Array(3).fill(['withdrawn', null]));
    expect((await rows(other.serial)).map(({ state }) => state)).toEqual(['waiting', 'waiting', 'waiting']);
    expect((await rows(mine)).map(({ state }) => state)).toEqual(['waiting']);
    expect((await server.acts('brought.cleared')).at(-1)).toMatchObject({ actor: 'ada', details: { trust: 'none', reason: 'made up', withdrawn: 3 } });
    // There is room again for the Mac's own.
    expect(await bring(one.serial, newKey(), { ...byHeader, trust: 'none' })).toMatchObject({ fate: 'waiting' });
  });

  test('one that its Mac has proved, or is asked about just now, stays; the one it waited behind goes, and it is asked about', async () => {
    const mac = await server.newMac({ serial: newSerial() });
    await mac.checkIn();
    const first = await bring(mac.serial, newKey(), byHeader);
    const [order] = (await mac.checkIn()).proofOrders;
    await (await mac.ask('prove', order?.recordId ?? '', order?.id ?? '')).give();
    const clear = () => server.custody.clearStrangers({ serial: mac.serial, trust: null, actor: 'ada', reason: 'made up' });
    expect(await clear()).toEqual({ withdrawn: 0, kept: 1 });
    await mac.prove(String(order?.envelopeIds[0] ?? ''), 'true', { orderId: order?.id ?? null });
    expect(await clear()).toEqual({ withdrawn: 0, kept: 1 });
    expect((await row(first.keyId)).bytes).not.toBeNull();
  });

  test('go by themselves after the days of the setting; what somebody answers for, and what a Mac has proved, stays', async () => {
    const { serial, keys } = await strangers('header');
    const mine = newSerial();
    await bring(mine, newKey(), byHeader);
    await bring(mine, newKey(), fromMdm);
    server.wall.pass(179 * day);
    await server.custody.sweepTimers();
    expect((await rows(serial)).map(({ state }) => state)).toEqual(['waiting', 'waiting', 'waiting']);
    const late = await bring(mine, newKey(), byHeader);
    server.wall.pass(2 * day);
    await server.custody.sweepTimers();
    const gone = (await rows(serial)).filter(({ state }) => state === 'withdrawn');
    expect(gone[0]).toMatchObject({ bytes: null, state_because: 'nobody answered for it within 180 days' });
    expect(gone.every(({ id }) => keys.some(({ keyId }) => keyId === id))).toBe(true);
    // The last of them may be the only key of that Mac.
    expect((await rows(serial)).map(({ state }) => state).toSorted()).toEqual(['waiting', 'withdrawn', 'withdrawn']);
    expect((await rows(mine)).filter(({ state }) => state === 'waiting').map(({ trust }) => trust)).toEqual(['mdm', 'header']);
    expect((await row(late.keyId)).state).toBe('waiting');
  });

  test('nor is one that is heard again: its days begin anew, by whatever way it comes', async () => {
    const [byCrypt, byList] = [newSerial(), newSerial()];
    const [key, other] = [newKey(), newKey()];
    const say = (serial: string, its: RecoveryKey) => server.custody.crypt.take({ serial, key: its, trust: 'header' });
    await say(byCrypt, key);
    await say(byList, other);
    server.wall.pass(day);
    for (const serial of [byCrypt, byList]) expect((await server.custody.crypt.take({ serial, key: newKey(), trust: 'header' })).fate).toBe('waiting');
    server.wall.pass(170 * day);
    expect((await say(byCrypt, key)).fate).toBe('known');
    expect((await bring(byList, other, byHeader)).fate).toBe('known');
    server.wall.pass(20 * day);
    await server.custody.sweepTimers();
    for (const serial of [byCrypt, byList]) expect((await rows(serial)).map(({ state }) => state)).toEqual(['waiting', 'withdrawn']);
  });

  test('nor is the only key of a serial number, until another of it is here; a person can clear it all the same', async () => {
    const serial = newSerial();
    const only = await bring(serial, newKey(), byHeader);
    server.wall.pass(181 * day);
    await server.custody.sweepTimers();
    expect(await row(only.keyId)).toMatchObject({ state: 'waiting', bytes: expect.anything() });
    await bring(serial, newKey());
    // And of a Mac that is here, with a key of its own.
    const mac = await server.newMac({ serial: newSerial() });
    const { envelopeId } = await mac.escrowed();
    await mac.prove(envelopeId, 'true');
    server.wall.pass(day);
    const aside = await bring(mac.serial, newKey(), byHeader);
    expect(aside.fate).toBe('aside');
    server.wall.pass(181 * day);
    await server.custody.sweepTimers();
    for (const { keyId } of [only, aside]) expect((await row(keyId)).state).toBe('withdrawn');
    const another = await bring(newSerial(), newKey(), byHeader);
    const serialOf = (await row(another.keyId)).serial;
    expect(await server.custody.clearStrangers({ serial: serialOf, trust: null, actor: 'ada', reason: 'made up' })).toEqual({ withdrawn: 1, kept: 0 });
  });
});
