import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { given } from './given.ts';

/*
 * macOS's own escrow file in every state but the right one. Each time: said in words, nothing delivered that is not a whole
 * envelope of ours, and the key comes as soon as the file is whole.
 */

const escrowFile = '/var/db/FileVaultPRK.dat';

/** A Mac whose escrow file is in our hands before the agent ever ran. */
async function withFile() {
  const it = await given();
  const path = it.mac.path(escrowFile);
  const whole = it.mac.escrowFile() ?? Buffer.alloc(0);
  let stamp = 1;
  return {
    ...it,
    path,
    whole,
    put(bytes: Uint8Array) {
      rmSync(path, { force: true });
      writeFileSync(path, bytes);
      // No two contents have one time, as on a real disk.
      utimesSync(path, it.mac.now / 1000 + stamp, it.mac.now / 1000 + stamp);
      stamp += 1;
    },
    codes: () => it.status().problems.map((one) => one.code),
    envelopes: async () =>
      it.store.db
        .selectFrom('envelope')
        .select(['id', 'source'])
        .where('mac_id', '=', await it.macId())
        .execute(),
  };
}

type Given = Awaited<ReturnType<typeof withFile>>;

async function comesWhenWhole(it: Given): Promise<void> {
  it.put(it.whole);
  it.pass(60);
  expect(await it.checkIn()).toBe(0);
  expect(await it.heldKey()).toBe(it.mac.recoveryKey);
  expect(it.codes()).not.toContain('ESCROW_FILE_UNREADABLE');
}

describe('an escrow file that is not whole', () => {
  test('truncated anywhere: it is said, nothing is delivered, and the whole one is', async () => {
    const it = await withFile();
    for (const share of [0.1, 0.5, 0.9, 0.999]) {
      it.put(it.whole.subarray(0, Math.floor(it.whole.length * share)));
      it.pass(60);
      expect([share, await it.checkIn()]).toEqual([share, 0]);
      expect([share, it.codes()]).toEqual([share, ['ESCROW_FILE_UNREADABLE']]);
      expect([share, await it.envelopes()]).toEqual([share, []]);
      expect(await it.custodyOf()).toMatchObject({ state: 'none' });
    }
    await comesWhenWhole(it);
  });

  test('empty, huge, or noise: the same', async () => {
    const it = await withFile();
    for (const [name, bytes] of Object.entries({
      empty: Buffer.alloc(0),
      huge: Buffer.concat([it.whole, Buffer.alloc(40 * 1024 * 1024)]),
      padded: Buffer.concat([it.whole, Buffer.alloc(64)]),
      noise: createHash('shake256', { outputLength: 900 }).update('noise').digest(),
      text: Buffer.from('-----BEGIN PKCS7-----\n'),
    })) {
      it.put(bytes);
      it.pass(60);
      expect([name, await it.checkIn(), it.codes()]).toEqual([name, 0, ['ESCROW_FILE_UNREADABLE']]);
      expect([name, await it.envelopes()]).toEqual([name, []]);
    }
    await comesWhenWhole(it);
  });

  test('being written while it is read: two reads 2 s apart differ, so it waits for the next run', async () => {
    const it = await withFile();
    let waited = 0;
    const writing = async (milliseconds: number): Promise<void> => {
      waited = Math.max(waited, milliseconds);
      it.put(it.whole);
    };
    it.put(it.whole.subarray(0, 400));
    expect(await it.checkIn({ wait: writing })).toBe(0);
    expect(waited).toBe(2000);
    expect(await it.envelopes()).toEqual([]);
    expect(it.codes()).toEqual([]);
    it.pass(60);
    await it.checkIn();
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
  });

  test('whole in both reads with another time in between: it waits as well', async () => {
    const it = await withFile();
    it.put(it.whole);
    expect(await it.checkIn({ wait: async () => it.put(it.whole) })).toBe(0);
    expect(await it.envelopes()).toEqual([]);
    it.pass(60);
    await it.checkIn();
    expect(await it.envelopes()).toHaveLength(1);
  });

  test('gone between two reads: nothing happens, and what the backend holds stays', async () => {
    const it = await withFile();
    await it.checkIn();
    it.put(Buffer.concat([it.whole.subarray(0, 100), it.whole.subarray(100)]));
    expect(await it.checkIn({ wait: async () => rmSync(it.path, { force: true }) })).toBe(0);
    it.pass(60);
    expect(await it.checkIn()).toBe(0);
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    expect(await it.custodyOf()).toMatchObject({ state: 'held' });
  });
});

describe('something else in its place', () => {
  test('a symbolic link is not followed', async () => {
    const it = await withFile();
    const elsewhere = `${it.path}.elsewhere`;
    renameSync(it.path, elsewhere);
    symlinkSync(elsewhere, it.path);
    expect(await it.checkIn()).toBe(0);
    expect(await it.envelopes()).toEqual([]);
    expect(await it.custodyOf()).toMatchObject({ state: 'none' });
    await comesWhenWhole(it);
  });

  test('a pipe does not hold the run', async () => {
    const it = await withFile();
    rmSync(it.path);
    execFileSync('mkfifo', [it.path]);
    expect(await it.checkIn()).toBe(0);
    expect(await it.envelopes()).toEqual([]);
    await comesWhenWhole(it);
  });

  test('a link that appears between the look and the read is an escrow file that cannot be read, and no bug', async () => {
    const it = await withFile();
    const elsewhere = `${it.path}.elsewhere`;
    writeFileSync(elsewhere, it.whole);
    const swap = async (): Promise<void> => {
      rmSync(it.path, { force: true });
      symlinkSync(elsewhere, it.path);
    };
    expect([await it.checkIn({ wait: swap }), it.status().lastRun.code]).toEqual([0, null]);
    expect(await it.envelopes()).toEqual([]);
    await comesWhenWhole(it);
  });
});

describe('whose it is', () => {
  test('K0, C7: a foreign file is known by digest and recipient, reported once, and never leaves the Mac', async () => {
    const it = await given({ escrow: 'foreign' });
    const file = it.mac.escrowFile() ?? Buffer.alloc(0);
    for (const _ of [1, 2, 3]) {
      it.pass(3600);
      await it.checkIn();
    }
    expect(it.lines.filter((line) => line.event === 'escrow-file-foreign')).toHaveLength(1);
    const rows = await it.store.db
      .selectFrom('foreign_file')
      .selectAll()
      .where('mac_id', '=', await it.macId())
      .execute();
    expect(rows).toHaveLength(1);
    expect(JSON.stringify(rows)).toContain(createHash('sha256').update(file).digest('hex'));
    expect(JSON.stringify(it.journal())).not.toContain(file.toString('base64').slice(0, 60));
    expect(await it.custodyOf()).toMatchObject({ state: 'foreign' });
    expect(await it.heldKey()).toBeNull();
  });

  test('a new key of somebody else’s is another foreign change, by its digest alone', async () => {
    const it = await given({ escrow: 'foreign' });
    await it.checkIn();
    it.pass(3600);
    it.mac.mdmRotates();
    await it.checkIn();
    expect(it.journal().foreignChanges).toHaveLength(1);
    expect(it.journal().outbox).toEqual([]);
  });

  test('foreign, then ours: the first file of ours is delivered and held', async () => {
    const it = await given({ escrow: 'foreign', macos: '15.7.3' });
    await it.checkIn();
    it.pass(3600);
    it.mac.installEscrowProfile('ours', it.values.escrowCertificate);
    await it.checkIn();
    // macOS up to 15 makes no new key for a new payload.
    expect(await it.custodyOf()).toMatchObject({ state: 'foreign' });
    expect(it.status().escrow.says).toMatch(/the last escrow file is sealed for somebody else/);
    it.pass(3600);
    it.mac.mdmRotates();
    await it.checkIn();
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    expect(await it.custodyOf()).toMatchObject({ state: 'held' });
  });

  test('C3: ours, then foreign: held at once, whatever is owed, and the key that is held stays', async () => {
    const it = await given({ macos: '15.7.3' });
    await it.settle();
    const before = it.mac.recoveryKey;
    await it.order();
    it.mac.installEscrowProfile('foreign');
    it.pass(60);
    await it.checkIn();
    it.pass(3 * 24 * 3600);
    await it.checkIn();
    expect(it.mac.recoveryKey).toBe(before);
    expect(await it.heldKey()).toBe(before);
    expect(it.status().escrow.says).toMatch(/so keys are observed and not replaced here, because the escrow payload is somebody else’s/);
  });

  test('ours, then foreign on macOS 26, which makes a new key for it: custody is in doubt, and our old key stays', async () => {
    const it = await given({ macos: '26.1' });
    await it.settle();
    const before = it.mac.recoveryKey;
    it.mac.installEscrowProfile('foreign');
    expect(it.mac.recoveryKey).not.toBe(before);
    const theirs = it.mac.recoveryKey;
    it.pass(3600);
    await it.checkIn();
    expect(await it.custodyOf()).toMatchObject({ state: 'doubtful' });
    for (const _ of [1, 2, 3]) {
      it.pass(25 * 3600);
      await it.checkIn();
    }
    expect(it.mac.recoveryKey).toBe(theirs);
    expect(await it.heldKey()).toBe(before);
    // R13, R9: refused twice, and nobody of ours has another; the owner of that payload does, so it is not lost.
    expect((await it.custodyOf()).state).toBe('foreign');
    expect(it.journal().foreignChanges).toHaveLength(1);
    expect(it.mac.state.wrongKeys.ever).toBeLessThanOrEqual(3);
  });

  test('C3: two payloads at once: nothing is replaced', async () => {
    const it = await given({ macos: '15.7.3' });
    await it.settle();
    const before = it.mac.recoveryKey;
    await it.order();
    it.mac.installEscrowProfile('foreign', undefined, true);
    it.pass(60);
    await it.checkIn();
    expect(it.mac.recoveryKey).toBe(before);
    expect(it.status().escrow.says).toMatch(/more than one escrow payload/);
  });

  test('C1, C2: two foreign changes in 14 days: no automatic rotation any more, and the newest key is the held one', async () => {
    const it = await given();
    await it.settle();
    for (const _ of [1, 2]) {
      it.pass(2 * 24 * 3600);
      it.mac.mdmRotates();
      await it.checkIn();
      it.pass(700);
      await it.checkIn();
    }
    const theirs = it.mac.recoveryKey;
    expect(it.journal().foreignChanges).toHaveLength(2);
    await it.order();
    it.pass(25 * 3600);
    await it.checkIn();
    await it.checkIn();
    expect(it.mac.recoveryKey).toBe(theirs);
    expect(it.status().lastRun.did).toMatch(/two rotators/);
    it.pass(15 * 24 * 3600);
    await it.checkIn();
    await it.checkIn();
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    expect(it.mac.state.wrongKeys.ever).toBeLessThanOrEqual(2);
  });
});
