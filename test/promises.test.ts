import { rmSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { connect } from '../agent/backend.ts';
import type { World } from '../agent/check-in.ts';
import type { Receipt } from '../protocol/messages.ts';
import { given } from './given.ts';
import { keyInKeychain, owing } from './given-parts.ts';
import { refuseWrites } from './refused-writes.ts';
import { codeOf, givenServer, newKey } from './server-parts.ts';

/* What the promise stands on and no other file shows by itself: test/mutations.ts breaks each of them and names its test. */

type Given = Pick<Awaited<ReturnType<typeof given>>, 'pass' | 'checkIn' | 'journal' | 'heldKey' | 'mac'>;

/** The real backend, but its receipts are bent on their way. */
const bending = (bend: (receipt: Receipt) => Receipt): Partial<World> => ({
  async connect(world, parts) {
    const backend = await connect(world, parts);
    return { ...backend, ask: { ...backend.ask, deliver: async (id, request) => bend(await backend.ask.deliver(id, request)) } };
  },
});

async function endsWell(it: Given): Promise<void> {
  for (let run = 0; run < 4 && (run < 2 || it.journal().rotation !== null); run++) {
    it.pass(900);
    await it.checkIn();
  }
  expect(it.journal().rotation).toBeNull();
  expect(await it.heldKey()).toBe(it.mac.recoveryKey);
}

describe('a receipt', () => {
  test('for another envelope is believed by nobody: the rotation stays open and its envelope stays', async () => {
    const it = await owing();
    await it.checkIn(bending((receipt) => ({ ...receipt, envelopeId: 'a'.repeat(64) })));
    expect(it.mac.recoveryKey).not.toBe(it.before);
    expect(it.journal().rotation?.state).toBe('sealed');
    expect(it.journal().outbox).toHaveLength(1);
    expect(it.status().problems.map((problem) => problem.code)).toContain('REPLY_UNREADABLE');
    await endsWell(it);
  });

  test('that does not say `held` is no success, and the envelope before stays', async () => {
    const it = await owing();
    const before = it.journal().current?.envelopeId;
    await it.checkIn(bending((receipt) => ({ ...receipt, state: 'candidate' })));
    expect(it.mac.recoveryKey).not.toBe(it.before);
    expect(it.lines.map((line) => line.event)).not.toContain('rotation-done');
    expect(it.journal().previous.map((one) => one.envelopeId)).toContain(before);
    await endsWell(it);
  });
});

test('a try is in the journal before macOS sees the key', async () => {
  const it = await owing();
  const before = it.journal().refusals.length;
  await it.checkInAndDie({ name: /^run fdesetup validaterecovery/, when: 'before' });
  expect(it.journal().refusals).toHaveLength(before + 1);
  const again = await owing();
  await again.checkInAndDie({ name: /^run fdesetup validaterecovery/, when: 'after' });
  expect(again.journal().refusals).toHaveLength(1);
  await endsWell(again);
});

describe('where the audit cannot be written', () => {
  const full = async (server: Awaited<ReturnType<typeof givenServer>>) => {
    await refuseWrites(server.store, 'audit_is_full', 'insert on audit');
  };

  test('nothing is shown, granted, begun or accepted, and nothing of it is stored', async () => {
    const server = await givenServer();
    const mac = await server.newMac();
    const { recordId } = await mac.escrowed();
    const order = (await mac.checkIn()).proofOrders[0];
    await server.custody.orderRotation({ macId: mac.id, actor: 'ada', reason: 'a test' });
    const { debts } = await mac.checkIn();
    const asked = await mac.ask('prove', recordId, order?.id ?? '');
    const opened = server.escrow.opened;
    await full(server);
    await expect(server.custody.disclose({ macId: mac.id, actor: 'ada', reason: 'locked out' })).rejects.toThrow(/audit_is_full/);
    await expect(asked.give()).rejects.toThrow(/audit_is_full/);
    await expect(mac.begin({ debtIds: debts.map((debt) => debt.id) })).rejects.toThrow(/audit_is_full/);
    expect(server.escrow.opened).toBe(opened);
    await expect(mac.deliver(newKey())).rejects.toThrow(/audit_is_full/);
    const counts = await Promise.all(
      (['disclosure', 'grant_given', 'rotation', 'key_record', 'envelope'] as const).map(
        async (table) => (await server.store.db.selectFrom(table).select('mac_id').execute()).length,
      ),
    );
    expect(counts).toEqual([0, 0, 0, 1, 1]);
    await server.close();
  });
});

test('where the payload is the MDM’s, the output file is the only witness of a new key, and the next run finds it there', async () => {
  const it = await given({ escrow: 'foreign', settings: { escrowOwner: 'mdm', rotator: 'sparekey', custody: 'keychain' } });
  await it.settle();
  keyInKeychain(it);
  await endsWell(it);
  it.pass(700);
  await it.order();
  const before = it.mac.recoveryKey;
  await it.checkInAndDie({ name: /fdesetup ended/, when: 'before' });
  expect(it.mac.recoveryKey).not.toBe(before);
  await endsWell(it);
});

test('a Mac that lost its journal does not replace a used key twice in one boot session', async () => {
  const it = await given();
  await it.checkIn();
  it.mac.rebootWithRecoveryKey();
  it.mac.logIn('ada');
  await it.settle();
  const before = it.mac.recoveryKey;
  await it.checkIn();
  const after = it.mac.recoveryKey;
  expect(after).not.toBe(before);
  rmSync(it.mac.path('/var/db/io.sparekey.agent/journal.json'));
  // Longer than a day: what is given once a day would be given again.
  for (let run = 0; run < 4; run++) {
    it.pass(13 * 3600);
    await it.checkIn();
  }
  expect(it.mac.recoveryKey).toBe(after);
  expect(await it.heldKey()).toBe(after);
});

test('a key that was replaced is still there: it opens the backup of its day', async () => {
  const server = await givenServer();
  const mac = await server.newMac();
  const first = await mac.escrowed();
  await mac.owe();
  const second = await mac.rotate();
  expect(await mac.states()).toEqual({ [first.recordId]: 'superseded', [second.recordId]: 'held' });
  const rows = await server.store.db.selectFrom('envelope').select('bytes').where('record_id', '=', first.recordId).execute();
  const opened = await server.escrow.open(rows[0]?.bytes ?? Buffer.alloc(0));
  expect(typeof opened === 'object' && opened.reveal()).toBe(first.key.reveal());
  expect(await codeOf(server.custody.disclose({ macId: mac.id, actor: 'ada', reason: ' ' }))).toBe('REASON_MISSING');
  await server.close();
});
