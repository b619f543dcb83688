import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { given } from './given.ts';

const stateFolder = '/var/db/io.sparekey.agent';
const outputs = (mac: { path(path: string): string }) => readdirSync(mac.path(`${stateFolder}/out`));
const changing = /start fdesetup/;
const ended = /fdesetup ended/;

/** A Mac that owes a rotation, with a settled session: the next run rotates. */
async function owing(options: Parameters<typeof given>[0] = {}) {
  const it = await given(options);
  await it.settle();
  const { orderId } = await it.order();
  const before = it.mac.recoveryKey;
  return { ...it, before, orderId };
}

/** Runs the agent until nothing is open, at most so often. */
async function untilResolved(it: Awaited<ReturnType<typeof owing>>, most = 6, seconds = 120): Promise<number> {
  for (let run = 1; run <= most; run++) {
    it.pass(seconds);
    await it.checkIn();
    if (it.journal().rotation === null) return run;
  }
  return Number.POSITIVE_INFINITY;
}

async function agrees(it: Awaited<ReturnType<typeof owing>>): Promise<void> {
  expect(await it.heldKey()).toBe(it.mac.recoveryKey);
  expect(await it.custodyOf()).toMatchObject({ state: 'held' });
  expect(outputs(it.mac)).toEqual([]);
}

const rotationState = async (it: Awaited<ReturnType<typeof owing>>) =>
  (
    await it.store.db
      .selectFrom('rotation')
      .select(['state', 'ended_because'])
      .where('mac_id', '=', await it.macId())
      .orderBy('begun_at', 'desc')
      .execute()
  ).at(0)?.state;

describe('the agent is killed', () => {
  test('R1: before anything was changed: the rotation ends, the key stays, and the server hears of it', async () => {
    const it = await owing();
    await it.checkInAndDie({ name: changing, when: 'before' });
    expect(it.journal().rotation?.state).toBe('changing');
    const early = await owing();
    await early.checkInAndDie({ name: /ask begin/, when: 'after' });
    expect(early.journal().rotation?.state).toBe('intended');
    early.pass(60);
    await early.checkIn();
    expect(early.journal().rotation).toBeNull();
    expect(early.mac.recoveryKey).toBe(early.before);
    expect(await rotationState(early)).toBe('not-changed');
    await agrees(early);
  });

  test('R6: after the intent and before fdesetup: macOS says that the old key is valid', async () => {
    const it = await owing();
    await it.checkInAndDie({ name: changing, when: 'before' });
    await untilResolved(it);
    expect(it.mac.recoveryKey).toBe(it.before);
    expect(await rotationState(it)).toBe('not-changed');
    await agrees(it);
  });

  test('R0: while fdesetup is at it: the next run waits for it, and never kills it', async () => {
    const it = await owing();
    it.mac.setQuirk('changeSecondsAfter', 60);
    await it.checkInAndDie({ name: changing, when: 'after' });
    expect(it.mac.state.running.length).toBeGreaterThan(0);
    expect(await it.checkIn()).toBe(75);
    expect(it.journal().rotation?.state).toBe('changing');
    expect(it.status().lastRun.did).toMatch(/still changing/);
    it.pass(61);
    await untilResolved(it);
    expect(it.mac.recoveryKey).not.toBe(it.before);
    await agrees(it);
  });

  test('R2: after the change: the key in the output file is validated, sealed and delivered', async () => {
    const it = await owing();
    await it.checkInAndDie({ name: ended, when: 'after' });
    expect(outputs(it.mac)).toHaveLength(2);
    const runs = await untilResolved(it);
    expect(runs).toBe(1);
    expect(it.mac.recoveryKey).not.toBe(it.before);
    await agrees(it);
  });

  test('R3: macOS cannot be asked about the new key: both keys are kept until it can', async () => {
    const it = await owing();
    await it.checkInAndDie({ name: ended, when: 'after' });
    it.mac.setCommandQuirk('fdesetup validaterecovery', 'garbage');
    it.pass(120);
    await it.checkIn();
    expect(it.journal().rotation?.state).toBe('sealed');
    expect(outputs(it.mac)).toHaveLength(2);
    expect(await it.custodyOf()).toMatchObject({ state: 'doubtful' });
    it.mac.setCommandQuirk('fdesetup validaterecovery', null);
    await untilResolved(it, 6, 26 * 3600);
    await agrees(it);
  });

  test('R10: with the sealed key undelivered: the next run delivers that very envelope', async () => {
    const it = await owing();
    await it.checkInAndDie({ name: /ask deliver/, when: 'before' });
    const sealed = it.journal().outbox.at(0)?.envelopeId;
    expect(sealed).toMatch(/^[0-9a-f]{64}$/);
    await untilResolved(it);
    const row = await it.store.db
      .selectFrom('envelope')
      .select('id')
      .where('id', '=', sealed ?? '')
      .executeTakeFirst();
    expect(row?.id).toBe(sealed);
    await agrees(it);
  });

  test('R10: with the receipt lost on the way: delivering again is the same key, and the same receipt', async () => {
    const it = await owing();
    await it.checkInAndDie({ name: /ask deliver/, when: 'after' });
    await untilResolved(it);
    const rows = await it.store.db
      .selectFrom('key_record')
      .select('id')
      .where('mac_id', '=', await it.macId())
      .where('source', '=', 'rotation')
      .execute();
    expect(rows).toHaveLength(1);
    await agrees(it);
  });
});

describe('fdesetup fails', () => {
  test('R8: it changed the key and died without saying so: macOS’s escrow file is the witness', async () => {
    const it = await owing();
    it.mac.setChangeQuirk('crashes-after-escrow');
    await it.checkIn();
    expect(it.mac.recoveryKey).not.toBe(it.before);
    it.mac.setChangeQuirk('works');
    await untilResolved(it);
    await agrees(it);
  });

  test('R8: the same when it printed nothing, garbage, or half a plist', async () => {
    for (const quirk of ['prints-nothing', 'prints-garbage', 'truncated'] as const) {
      const it = await owing();
      it.mac.setChangeQuirk(quirk);
      await it.checkIn();
      it.mac.setChangeQuirk('works');
      await untilResolved(it);
      expect([quirk, it.mac.recoveryKey === it.before]).toEqual([quirk, false]);
      await agrees(it);
    }
  });

  test('R6: it refused the key: nothing was changed, and the build is known to refuse it', async () => {
    const it = await owing();
    it.mac.setChangeQuirk('refuses');
    await it.checkIn();
    expect(it.mac.recoveryKey).toBe(it.before);
    expect(it.journal()).toMatchObject({ rotation: null, capability: { state: 'refused' } });
    expect(it.status().problems.map((one) => one.code)).toContain('UNLOCK_REFUSED');
    await agrees(it);
    it.pass(3600);
    await it.checkIn();
    expect(it.mac.state.wrongKeys.ever).toBeLessThanOrEqual(1);
  });

  test('R9: the key was changed, nobody has the new one, and there is no witness: lost on both sides, with the fix named', async () => {
    const it = await owing();
    it.mac.setChangeQuirk('crashes-after');
    await it.checkIn();
    it.mac.setChangeQuirk('works');
    expect(it.mac.recoveryKey).not.toBe(it.before);
    expect(await untilResolved(it, 12, 13 * 3600)).toBeLessThan(12);
    expect(it.journal().exhausted).toBe(true);
    expect(await it.custodyOf()).toMatchObject({ state: 'lost' });
    expect(it.mac.state.wrongKeys.ever).toBeLessThanOrEqual(5);
    expect(await rotationState(it)).toBe('exhausted');
  });

  test('a change that hangs is left alone, named after half an hour, and never killed', async () => {
    const it = await owing();
    it.mac.setChangeQuirk('hangs');
    await it.checkInAndDie({ name: changing, when: 'after' });
    it.pass(31 * 60);
    await it.checkIn();
    expect(it.status().problems.map((one) => one.code)).toContain('CHANGE_STUCK');
    expect(it.mac.state.running.length).toBeGreaterThan(0);
    expect(it.journal().rotation?.state).toBe('changing');
  });
});

describe('what only one side remembers', () => {
  test('R11: the journal is gone, and the output file is found', async () => {
    const it = await owing();
    await it.checkInAndDie({ name: ended, when: 'after' });
    rmSync(it.mac.path(`${stateFolder}/journal.json`));
    await untilResolved(it);
    expect(it.mac.recoveryKey).not.toBe(it.before);
    await agrees(it);
  });

  test('R11: the journal is damaged, and the server names an open rotation', async () => {
    const it = await owing();
    await it.checkInAndDie({ name: /ask begin/, when: 'after' });
    writeFileSync(it.mac.path(`${stateFolder}/journal.json`), '{"version":1,', { mode: 0o600 });
    await untilResolved(it, 8, 12 * 3600);
    expect(await rotationState(it)).toBe('not-changed');
    await agrees(it);
  });

  test('R13: somebody else changed the key under our payload: the new file is delivered, and nothing rotates because of it', async () => {
    const it = await given();
    await it.settle();
    const before = it.mac.recoveryKey;
    it.pass(60);
    it.mac.mdmRotates();
    const theirs = it.mac.recoveryKey;
    expect(theirs).not.toBe(before);
    it.pass(120);
    await it.checkIn();
    it.pass(25 * 3600);
    await it.checkIn();
    expect(it.mac.recoveryKey).toBe(theirs);
    expect(await it.heldKey()).toBe(theirs);
    expect(it.journal().foreignChanges).toHaveLength(1);
  });
});

describe('a full disk', () => {
  test('while the intent is journaled: nothing is begun, and nothing is lost', async () => {
    const it = await owing();
    const { realDisk } = await import('../agent/disk.ts');
    const disk = realDisk(it.mac.root);
    const full: typeof disk = {
      ...disk,
      replace(path, bytes, mode) {
        if (path.endsWith('journal.json') && String(bytes).includes('"state":"intended"')) throw Object.assign(new Error('full'), { code: 'ENOSPC' });
        disk.replace(path, bytes, mode);
      },
    };
    expect(await it.checkIn({ disk: full })).toBe(75);
    expect(it.mac.recoveryKey).toBe(it.before);
    expect(it.status().lastRun.code).toBe('JOURNAL_NOT_WRITTEN');
    await it.checkIn();
    expect(it.mac.recoveryKey).not.toBe(it.before);
    await agrees(it);
  });

  test('while the sealed key is journaled: it is delivered from memory, and the output file stays until then', async () => {
    const it = await owing();
    const { realDisk } = await import('../agent/disk.ts');
    const disk = realDisk(it.mac.root);
    let failing = false;
    const full: typeof disk = {
      ...disk,
      replace(path, bytes, mode) {
        if (path.endsWith('journal.json') && String(bytes).includes('"state":"sealed"')) failing = true;
        if (failing && path.endsWith('journal.json')) throw Object.assign(new Error('full'), { code: 'ENOSPC' });
        disk.replace(path, bytes, mode);
      },
    };
    await it.checkIn({ disk: full });
    expect(await it.heldKey()).toBe(it.before);
    expect(outputs(it.mac)).toHaveLength(2);
    const records = await it.store.db
      .selectFrom('key_record')
      .select('state')
      .where('mac_id', '=', await it.macId())
      .where('source', '=', 'rotation')
      .execute();
    expect(records).toEqual([{ state: 'candidate' }]);
    await untilResolved(it);
    expect(it.mac.recoveryKey).not.toBe(it.before);
    await agrees(it);
  });
});

describe('wherever the agent dies in a rotation', () => {
  test('the next runs bring it to an end in which both sides agree, and nothing is left over', async () => {
    const sample = await owing();
    const { effects } = await sample.checkInAndDie(null);
    await agrees(sample);
    const first = effects.findIndex((name) => name.startsWith('ask checkIn'));
    const last = effects.findLastIndex((name) => name.startsWith('ask'));
    const report: string[] = [];
    // Every third of them: `npm run sweep` takes each, and each call to the file system within.
    for (let effect = first; effect <= last; effect += 3) {
      const it = await owing();
      const killed = await it.checkInAndDie({ effect, when: 'before' });
      const runs = await untilResolved(it, 8, 3 * 3600);
      const held = await it.heldKey();
      if (!killed.dead() || held !== it.mac.recoveryKey || outputs(it.mac).length > 0 || runs > 3) {
        report.push(
          `${effect} ${effects[effect]}: ${killed.dead() ? 'killed' : 'not killed'}, ${runs} runs, held ${held === it.mac.recoveryKey}, left ${outputs(it.mac)}`,
        );
      }
    }
    expect(report).toEqual([]);
    expect(last - first).toBeGreaterThan(25);
  });
});

test('the lock of a run that was killed does not stop the next one', async () => {
  const it = await owing();
  await it.checkInAndDie({ name: changing, when: 'before' });
  writeFileSync(it.mac.path(`${stateFolder}/lock`), JSON.stringify({ pid: 999_999, boot: it.mac.state.boot.session.toUpperCase() }), { mode: 0o600 });
  expect(await it.checkIn()).toBe(0);
  expect(existsSync(it.mac.path(`${stateFolder}/lock`))).toBe(false);
});
