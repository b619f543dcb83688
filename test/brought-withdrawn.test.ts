import { describe, expect, test } from '@jest/globals';
import { lookAtEnvelope } from '../server/brought/envelopes.ts';
import { noteMaybeShown } from '../server/store/brought.ts';
import { useBrought } from './brought-parts.ts';
import { codeOf, type GivenServer, newKey, type TestMac } from './server-parts.ts';

/* Keys that others had, taken back with the run that brought them. */

const brought = useBrought();
const { bring, row, custodyOf, says, refute, asked } = brought;
let server: GivenServer;
const open = async (...wish: Parameters<typeof brought.open>): Promise<void> => {
  server = await brought.open(...wish);
};

describe('an import that is taken back', () => {
  const run = async (id: string, withdrawn = false): Promise<string> => {
    const at = server.clock.now();
    const row = {
      id,
      source: 'intune',
      name: 'export.csv',
      digest: null,
      mapping: '{}',
      actor: 'ada',
      reason: 'x',
      started_at: at,
      ended_at: at,
      withdrawn_at: withdrawn ? at : null,
    };
    await server.store.write((tx) => tx.insertInto('import_run').values(row).execute());
    return id;
  };
  const line = (runId: string, serial: string, keyId: string | null) =>
    server.store.write((tx) => tx.insertInto('import_line').values({ run_id: runId, line: 1, serial, fate: 'known', because: 'x', key_id: keyId }).execute());

  test('takes what waits, what is asked about and what was refuted; proved ones stay, and so does what was shown, or another run brought too', async () => {
    await open();
    const runId = await run('run-1');
    const macs = await Promise.all(Array.from({ length: 4 }, () => server.newMac()));
    for (const mac of macs) await mac.checkIn();
    const [proved, asking, refuted, shown] = macs as [TestMac, TestMac, TestMac, TestMac];
    const keys = [];
    for (const mac of macs) keys.push(await bring(mac.serial, newKey(), { runId }));
    const waiting = await bring('C02WAITS0001', newKey(), { runId });
    const twice = await bring('C02TWORUNS01', newKey(), { runId });
    await line(await run('run-2'), 'C02TWORUNS01', twice.keyId);
    const gone = await bring('C02TWORUNS02', newKey(), { runId });
    await line(await run('run-3', true), 'C02TWORUNS02', gone.keyId);
    await says(proved, keys[0]?.keyId ?? null, 'true');
    await refute(refuted, keys[2]?.keyId ?? null);
    await server.custody.disclose({ macId: shown.id, actor: 'ada', reason: 'locked out' });

    expect(await codeOf(server.custody.withdrawRun({ runId, actor: 'ada', reason: '' }))).toBe('REASON_MISSING');
    expect(await server.custody.withdrawRun({ runId, actor: 'ada', reason: 'wrong file' })).toEqual({ withdrawn: 4, kept: 3 });
    expect(await custodyOf(proved)).toMatchObject({ state: 'held' });
    expect(await custodyOf(asking)).toMatchObject({ state: 'none', candidates: 0 });
    expect(await asked(asking)).toEqual([]);
    expect(await custodyOf(shown)).toMatchObject({ state: 'doubtful' });
    expect(await row(waiting.keyId)).toMatchObject({ state: 'withdrawn', bytes: null, state_because: 'wrong file' });
    expect(await row(twice.keyId)).toMatchObject({ state: 'waiting', run_id: 'run-2' });
    expect(await row(gone.keyId)).toMatchObject({ state: 'withdrawn' });
    expect(await server.store.db.selectFrom('envelope').selectAll().where('mac_id', '=', asking.id).execute()).toEqual([]);
    // Again it takes what is left to take: nothing.
    expect(await server.custody.withdrawRun({ runId, actor: 'ada', reason: 'wrong file' })).toEqual({ withdrawn: 0, kept: 2 });
  });

  test('a key that was taken back may come again, by an import or from the Mac, as if for the first time', async () => {
    await open();
    const mac = await server.newMac();
    await mac.checkIn();
    const key = newKey();
    await bring(mac.serial, key, { runId: await run('run-1') });
    await server.custody.withdrawRun({ runId: 'run-1', actor: 'ada', reason: 'wrong file' });
    const again = await bring(mac.serial, key, { runId: await run('run-2') });
    expect(again.fate).toBe('offered');
    // Another one waits behind it, and is asked about when it is gone.
    const behind = await bring(mac.serial, newKey());
    expect(behind.fate).toBe('waiting');
    await server.custody.withdrawRun({ runId: 'run-2', actor: 'ada', reason: 'wrong again' });
    expect((await row(behind.keyId)).state).toBe('offered');
    expect((await mac.deliver(key, { source: 'escrow-file' })).receipt.state).toBe('held');
  });

  test('one that may have been shown in the gap of a restore goes all the same, and the replacement is owed; one that was seen to be shown stays', async () => {
    await open();
    const runId = await run('run-1');
    const mac = await server.newMac({ serial: 'C02MAYBE0001' });
    const maybe = await bring('C02MAYBE0001', newKey(), { runId });
    const waiting = await bring('C02MAYBE0002', newKey(), { runId });
    const seen = await bring('C02MAYBE0003', newKey(), { runId });
    const again = await bring('C02MAYBE0004', newKey(), { runId });
    const other = await server.newMac({ serial: 'C02MAYBE0005' });
    const record = await bring('C02MAYBE0005', newKey(), { runId });
    // One that is sealed, and was shown: it will turn out to be the key of another line.
    const key = newKey();
    const bytes = mac.seal(key);
    const looked = lookAtEnvelope(bytes, server.escrow.certificates);
    server.escrow.answers = false;
    if (looked.kind === 'ours') await bring('C02MAYBE0006', null, { source: 'nanomdm', trust: 'mdm', envelope: { bytes, ...looked } });
    server.escrow.answers = true;
    await server.custody.discloseBrought({ serial: 'C02MAYBE0006', actor: 'ada', reason: 'locked out' });
    const same = await bring('C02MAYBE0006', key, { runId });
    const show = (serial: string) => server.custody.discloseBrought({ serial, actor: 'ada', reason: 'locked out' });
    await show('C02MAYBE0003');
    expect(await server.store.write((tx) => noteMaybeShown(tx, server.clock.now()))).toBe(5);
    await show('C02MAYBE0004');
    await other.checkIn();
    await server.custody.disclose({ macId: other.id, actor: 'ada', reason: 'locked out' });
    await server.custody.openLater();
    expect((await mac.checkIn()).debts.map(({ because }) => because)).toEqual(['disclosed']);
    expect(await row(maybe.keyId)).toMatchObject({ state: 'offered' });

    expect(await server.custody.withdrawRun({ runId, actor: 'ada', reason: 'wrong file', dryRun: true })).toEqual({ withdrawn: 2, kept: 4 });
    expect(await server.custody.withdrawRun({ runId, actor: 'ada', reason: 'wrong file' })).toEqual({ withdrawn: 2, kept: 4 });
    expect((await row(waiting.keyId)).state).toBe('withdrawn');
    expect((await row(maybe.keyId)).bytes).toBeNull();
    expect((await brought.record((await row(maybe.keyId)).record_id)).state).toBe('destroyed');
    for (const { keyId } of [record, same]) expect(await row(keyId)).toMatchObject({ maybe_shown_at: null, bytes: expect.anything() });
    for (const { keyId } of [seen, again]) expect(await row(keyId)).toMatchObject({ state: 'waiting', bytes: expect.anything() });
  });

  test('one that the Mac was just given to prove stays: its answer is on its way', async () => {
    await open();
    const mac = await server.newMac();
    await mac.checkIn();
    const brought = await bring(mac.serial, newKey(), { runId: await run('run-1') });
    const [order] = (await mac.checkIn()).proofOrders;
    await (await mac.ask('prove', order?.recordId ?? '', order?.id ?? '')).give();
    expect(await server.custody.withdrawRun({ runId: 'run-1', actor: 'ada', reason: 'wrong file' })).toEqual({ withdrawn: 0, kept: 1 });
    await says(mac, brought.keyId, 'true');
    expect(await custodyOf(mac)).toMatchObject({ state: 'held' });
  });
});
