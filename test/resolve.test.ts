import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { type Journal, withSureTime } from '../agent/journal.ts';
import { paths } from '../agent/paths.ts';
import { nothingToDo, sayQuietUntil } from '../agent/quiet.ts';
import { mayTry } from '../agent/refusals.ts';
import { Problem } from '../protocol/problems.ts';
import { given } from './given.ts';

/*
 * What an interrupted rotation may cost, and what must not keep it open for ever: tries of keys, grants, days.
 */

const changing = /start fdesetup/;
const slow = 30_000;

async function owing(options: Parameters<typeof given>[0] = {}) {
  const it = await given(options);
  await it.settle();
  await it.order();
  return { ...it, before: it.mac.recoveryKey };
}
type It = Awaited<ReturnType<typeof owing>>;

const wrong = (it: It): number => it.mac.state.wrongKeys.ever;
const problems = (it: It): string[] => it.status().problems.map((one) => one.code);
const items = async (it: It) => (await it.mac.keytar('job').findCredentials('io.sparekey.agent')).filter((one) => one.account.startsWith('recovery-key:'));
const openRotations = async (it: It) =>
  it.store.db
    .selectFrom('rotation')
    .select('id')
    .where('mac_id', '=', await it.macId())
    .where('state', '=', 'begun')
    .execute();
const endings = async (it: It) =>
  (
    await it.store.db
      .selectFrom('rotation')
      .select('state')
      .where('mac_id', '=', await it.macId())
      .orderBy('begun_at')
      .execute()
  ).map((one) => one.state);

/** Runs until nothing is open; how often. */
async function untilResolved(it: It, seconds: number, most = 12): Promise<number> {
  for (let run = 1; run <= most; run++) {
    it.pass(seconds);
    await it.checkIn();
    if (it.journal().rotation === null && (await openRotations(it)).length === 0) return run;
  }
  return Number.POSITIVE_INFINITY;
}

const validations = (it: It): number => it.mac.runner.lines.filter((line) => line.includes('validaterecovery')).length;

describe('what a wrong key costs (gate 3)', () => {
  test(
    'K8: a key that was refused is not asked about again in the same run, nor within ten minutes',
    async () => {
      const it = await owing();
      it.mac.setChangeQuirk('crashes-after');
      await it.checkIn();
      it.mac.setChangeQuirk('works');
      expect(Object.keys(it.journal().rotation?.looks ?? {})).toEqual(['old']);
      const asked = validations(it);
      it.pass(120);
      await it.checkIn();
      expect([validations(it), wrong(it)]).toEqual([asked, 1]);
    },
    slow,
  );

  test(
    'R9: when every known key is refuted, none of them is tried ever again, and a person is asked',
    async () => {
      const it = await owing();
      it.mac.setChangeQuirk('crashes-after');
      await it.checkIn();
      it.mac.setChangeQuirk('works');
      expect(await untilResolved(it, 13 * 3600)).toBeLessThan(12);
      expect(await it.custodyOf()).toMatchObject({ state: 'lost' });
      const before = wrong(it);
      for (let day = 0; day < 8; day++) {
        it.pass(25 * 3600);
        await it.checkIn();
      }
      expect(wrong(it)).toBe(before);
      expect(problems(it)).toContain('KEY_EXHAUSTED');
      expect(await it.custodyOf()).toMatchObject({ state: 'lost' });
    },
    slow,
  );

  test(
    'R13, R9: the held key is dead and nothing explains it: two proofs refute it, both sides say that it is lost, and nothing more is tried',
    async () => {
      const it = await owing();
      it.mac.change((state) => {
        state.disk.recoveryKey = 'ZZZZ-YYYY-XXXX-WWWW-VVVV-UUUU';
      });
      for (let day = 0; day < 6; day++) {
        await it.checkIn();
        it.pass(25 * 3600);
      }
      expect(wrong(it)).toBe(2);
      expect(it.journal()).toMatchObject({ exhausted: true, rotation: null });
      expect(await it.custodyOf()).toMatchObject({ state: 'lost' });
      expect(problems(it)).toContain('KEY_EXHAUSTED');
    },
    slow,
  );

  test(
    'R13: what ended as lost goes on when a new key comes',
    async () => {
      const it = await owing();
      it.mac.change((state) => {
        state.disk.recoveryKey = 'ZZZZ-YYYY-XXXX-WWWW-VVVV-UUUU';
      });
      for (let day = 0; day < 4; day++) {
        await it.checkIn();
        it.pass(25 * 3600);
      }
      it.mac.mdmRotates();
      const { runner } = it.mac;
      // Time does not stand still in a run: what comes in it comes after what it said at first.
      const going: typeof runner = Object.create(runner, {
        run: {
          value: (command: Parameters<typeof runner.run>[0]) => {
            if (command.args[0] === 'validaterecovery') it.pass(1);
            return runner.run(command);
          },
        },
      });
      for (let day = 0; day < 4; day++) {
        it.pass(25 * 3600);
        await it.checkIn({ runner: going });
      }
      expect(it.journal().exhausted).toBe(false);
      expect(await it.heldKey()).toBe(it.mac.recoveryKey);
      expect(await it.custodyOf()).toMatchObject({ state: 'held' });
    },
    slow,
  );

  test(
    '8.2: with FileVault off macOS refuses every key: none is tried, and none is refuted by it',
    async () => {
      const it = await owing();
      await it.checkInAndDie({ name: changing, when: 'before' });
      it.mac.disableFileVault();
      const asked = validations(it);
      for (const hours of [1, 13, 26]) {
        it.pass(hours * 3600);
        await it.checkIn();
      }
      expect(validations(it)).toBe(asked);
      expect(it.journal()).toMatchObject({ exhausted: false, rotation: { refuted: [], looks: {} } });
      it.mac.enableFileVault('ada');
      await untilResolved(it, 13 * 3600);
      expect(await it.heldKey()).toBe(it.mac.recoveryKey);
      expect(await it.custodyOf()).toMatchObject({ state: 'held' });
    },
    slow,
  );

  test('what was tried before the server’s time was known counts from the moment at which it is', () => {
    const day = 24 * 3600 * 1000;
    const now = Date.parse('2026-11-23T09:00:00Z');
    const journal = {
      refusals: [
        { id: 'a', at: now - 3 * day, settled: true, unsure: true as const },
        { id: 'b', at: now + 400 * day, settled: true, unsure: true as const },
      ],
      doubts: [],
      rotation: null,
      foreignChanges: [now + 400 * day],
    } as unknown as Journal;
    const sure = { ...journal, ...withSureTime(journal, now) };
    expect(sure.refusals.map((one) => one.at)).toEqual([now, now]);
    expect(mayTry(sure, now + day - 1, true)).toBe(false);
    expect(mayTry(sure, now + day + 1, true)).toBe(true);
    expect(sure.foreignChanges).toEqual([now]);
  });

  test(
    'a journal that cannot be read takes its count with it: for a day no key is tried',
    async () => {
      const it = await owing();
      await it.checkInAndDie({ name: changing, when: 'before' });
      writeFileSync(it.mac.path(paths.journal), '{"version":1,', { mode: 0o600 });
      const asked = validations(it);
      it.pass(3600);
      await it.checkIn();
      expect(validations(it)).toBe(asked);
      await untilResolved(it, 13 * 3600);
      expect(it.mac.recoveryKey).toBe(await it.heldKey());
      expect(await it.custodyOf()).toMatchObject({ state: 'held' });
    },
    slow,
  );
});

describe('the server disagrees', () => {
  test(
    'K7: it has ended the rotation before the new key came: macOS’s answer makes the key held, and the agent comes to its end',
    async () => {
      for (const custody of ['server', 'keychain'] as const) {
        const it = await owing({ settings: { custody } });
        await it.checkInAndDie({ name: /ask deliver/, when: 'before' });
        await it.store.db
          .updateTable('rotation')
          .set({ state: 'not-known', ended_at: 1, ended_because: 'a test' })
          .where('mac_id', '=', await it.macId())
          .execute();
        expect(await untilResolved(it, 120)).toBeLessThanOrEqual(2);
        expect(it.mac.recoveryKey).not.toBe(it.before);
        expect(await it.heldKey()).toBe(it.mac.recoveryKey);
        expect(it.journal()).toMatchObject({ outbox: [], current: { held: true, validated: 'true' } });
      }
    },
    slow,
  );

  test(
    'K2, K7: macOS’s `true` counts for the moment at which it was given, not for the one at which the key is delivered',
    async () => {
      for (const custody of ['server', 'keychain'] as const) {
        const it = await owing({ settings: { custody } });
        await it.checkInAndDie({ name: /ask deliver/, when: 'before' });
        expect(it.journal().outbox).toMatchObject([{ validated: 'true' }]);
        it.pass(3600);
        // Only half a run: macOS’s file of this rotation is in the outbox, and nothing is delivered yet.
        await it.checkInAndDie({ name: /ask checkIn/, when: 'before' });
        it.mac.mdmRotates();
        for (let run = 0; run < 6; run++) {
          it.pass(13 * 3600);
          await it.checkIn();
          const { state } = await it.custodyOf();
          if (state === 'held') expect(await it.heldKey()).toBe(it.mac.recoveryKey);
        }
        expect(await it.heldKey()).toBe(it.mac.recoveryKey);
        expect(await it.custodyOf()).toMatchObject({ state: 'held' });
      }
    },
    slow,
  );

  test(
    'R7, R12: an enrolment that did not begin the rotation is given no key for it: it ends not-known, not never',
    async () => {
      const it = await owing();
      await it.checkInAndDie({ name: changing, when: 'before' });
      it.mac.change((state) => {
        for (const keychain of Object.values(state.keychains)) keychain.items = keychain.items.filter((one) => !one.account.startsWith('identity'));
      });
      expect(await untilResolved(it, 700)).toBeLessThanOrEqual(3);
      expect(await endings(it)).toEqual(['not-known']);
      // Nobody knows whether the held key is valid: that is said, and a proof is due.
      expect(await it.custodyOf()).toMatchObject({ state: 'doubtful' });
      const orders = await it.store.db
        .selectFrom('proof_order')
        .select('because')
        .where('mac_id', '=', await it.macId())
        .where('ended_at', 'is', null)
        .execute();
      expect(orders).toHaveLength(1);
    },
    slow,
  );

  test(
    'R6: when the old key answers true, the server hears of it as a proof of that very key',
    async () => {
      const it = await owing();
      await it.checkInAndDie({ name: changing, when: 'before' });
      await untilResolved(it, 120);
      const record = await it.store.db
        .selectFrom('key_record')
        .select(['state', 'proved_at'])
        .where('mac_id', '=', await it.macId())
        .executeTakeFirstOrThrow();
      expect(record.state).toBe('held');
      expect(record.proved_at).not.toBeNull();
    },
    slow,
  );

  test(
    'R5: a new key that macOS refuses is sealed and delivered once, however often the agent looks',
    async () => {
      const it = await owing();
      await it.checkInAndDie({ name: /fdesetup ended/, when: 'after' });
      const theirs = 'ZZZZ-YYYY-XXXX-WWWW-VVVV-UUUU';
      it.mac.change((state) => {
        state.disk.recoveryKey = theirs;
      });
      for (let run = 0; run < 5; run++) {
        it.pass(900);
        await it.checkIn();
      }
      const envelopes = await it.store.db
        .selectFrom('envelope')
        .select('validated')
        .where('mac_id', '=', await it.macId())
        .where('source', '=', 'rotation')
        .execute();
      expect(envelopes).toEqual([{ validated: 'false' }]);
      // The change, of which nothing was heard, counts as the other try of the day.
      expect(wrong(it)).toBe(1);
      await untilResolved(it, 13 * 3600, 20);
      expect(await it.custodyOf()).toMatchObject({ state: 'lost' });
    },
    slow,
  );

  test(
    'step 3: a held key that macOS refuses authorizes nothing, and the server hears of it',
    async () => {
      const it = await owing();
      it.mac.change((state) => {
        state.disk.recoveryKey = 'ZZZZ-YYYY-XXXX-WWWW-VVVV-UUUU';
      });
      await it.checkIn();
      expect(await endings(it)).toEqual(['not-changed']);
      const record = await it.store.db
        .selectFrom('key_record')
        .select('first_false_at')
        .where('mac_id', '=', await it.macId())
        .executeTakeFirstOrThrow();
      expect(record.first_false_at).not.toBeNull();
    },
    slow,
  );

  test(
    'step 2: a word of the server that is older than a minute begins no change',
    async () => {
      const it = await owing();
      let late = 0;
      const { runner } = it.mac;
      const sleepy: typeof runner = Object.create(runner, {
        run: {
          value: (command: Parameters<typeof runner.run>[0]) => {
            if (command.args[0] === 'validaterecovery') late += 61;
            return runner.run(command);
          },
        },
      });
      await it.checkIn({ runner: sleepy, monotonic: () => late });
      expect(it.mac.recoveryKey).toBe(it.before);
      expect(await endings(it)).toEqual(['not-changed']);
    },
    slow,
  );

  test(
    '5.2: an envelope that the server refuses for good does not keep the others from it',
    async () => {
      const it = await owing();
      const journal = it.journal();
      const broken = { ...journal.current, envelopeId: 'f'.repeat(64), source: 'agent', recordId: null };
      writeFileSync(it.mac.path(paths.journal), JSON.stringify({ ...journal, outbox: [broken] }), { mode: 0o600 });
      expect(await it.checkIn()).toBe(0);
      expect(it.journal().outbox).toEqual([]);
      expect(await it.heldKey()).toBe(it.mac.recoveryKey);
      expect(problems(it)).toContain('KEY_ID_MISMATCH');
    },
    slow,
  );
});

describe('keys in the keychain', () => {
  const keychain = { settings: { custody: 'keychain' } } as const;

  test(
    'R1: the item of step 4 goes with the rotation that made it',
    async () => {
      const it = await owing(keychain);
      await it.checkInAndDie({ name: /keychain.setPassword|keychain.write/, nth: 2, when: 'after' });
      await untilResolved(it, 13 * 3600);
      expect((await items(it)).filter((one) => one.account.includes(':before-'))).toEqual([]);
      expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    },
    slow,
  );

  test(
    'R11: a stray item is removed without being tried where the kept key is valid',
    async () => {
      const it = await owing(keychain);
      await it.checkIn();
      expect(await items(it)).toMatchObject([{ password: it.mac.recoveryKey }]);
      const account = `recovery-key:${it.mac.state.hardwareUuid}:00000000-0000-4000-8000-000000000001`;
      await it.mac.keytar('job').setPassword('io.sparekey.agent', account, it.before ?? '');
      it.pass(3600);
      await it.checkIn();
      expect(await items(it)).toMatchObject([{ password: it.mac.recoveryKey }]);
      expect([wrong(it), it.journal().rotation]).toEqual([0, null]);
    },
    slow,
  );

  test(
    'R6: stray items are asked about after the old key, and not at all where that one is valid: the tries of the day are left',
    async () => {
      const it = await owing(keychain);
      await it.checkInAndDie({ name: changing, when: 'before' });
      for (const [name, password] of [
        ['00000000-0000-4000-8000-000000000001', 'ZZZZ-YYYY-XXXX-WWWW-VVVV-UUUU'],
        ['before-00000000-0000-4000-8000-000000000002', 'AAAA-BBBB-CCCC-DDDD-EEEE-FFFF'],
      ])
        await it.mac.keytar('job').setPassword('io.sparekey.agent', `recovery-key:${it.mac.state.hardwareUuid}:${name}`, password ?? '');
      it.pass(120);
      await it.checkIn();
      expect([wrong(it), it.journal().rotation]).toEqual([0, null]);
      expect(await endings(it)).toEqual(['not-changed', 'done']);
      expect(await items(it)).toMatchObject([{ password: it.mac.recoveryKey }]);
    },
    slow,
  );

  test(
    'R9, R11: where the old key is refuted the stray items have their turn: the one that opens the Mac is found and held',
    async () => {
      const it = await owing(keychain);
      await it.checkInAndDie({ name: changing, when: 'before' });
      it.mac.change((state) => {
        state.disk.recoveryKey = 'ZZZZ-YYYY-XXXX-WWWW-VVVV-UUUU';
      });
      const account = `recovery-key:${it.mac.state.hardwareUuid}:00000000-0000-4000-8000-000000000001`;
      await it.mac.keytar('job').setPassword('io.sparekey.agent', account, 'ZZZZ-YYYY-XXXX-WWWW-VVVV-UUUU');
      expect(await untilResolved(it, 13 * 3600)).toBeLessThan(5);
      expect(wrong(it)).toBe(2);
      expect(await it.heldKey()).toBe('ZZZZ-YYYY-XXXX-WWWW-VVVV-UUUU');
      expect(await items(it)).toMatchObject([{ password: it.mac.recoveryKey }]);
    },
    slow,
  );

  test(
    'R11: a stray item of a dead key is refuted once and gone, also where the kept one is dead too',
    async () => {
      const it = await owing(keychain);
      await it.checkIn();
      it.mac.mdmRotates();
      const account = `recovery-key:${it.mac.state.hardwareUuid}:00000000-0000-4000-8000-000000000001`;
      await it.mac.keytar('job').setPassword('io.sparekey.agent', account, it.before ?? '');
      for (let run = 0; run < 16; run++) {
        it.pass(13 * 3600);
        await it.checkIn();
      }
      expect(await it.heldKey()).toBe(it.mac.recoveryKey);
      expect(await it.custodyOf()).toMatchObject({ state: 'held' });
      expect((await items(it)).filter((one) => one.password !== it.mac.recoveryKey)).toEqual([]);
      expect(wrong(it)).toBeLessThanOrEqual(5);
    },
    slow,
  );

  test(
    'the valid key in another item than the rotation’s survives the clean-up',
    async () => {
      const it = await owing(keychain);
      await it.checkInAndDie({ name: changing, when: 'before' });
      // An item of the rotation's own name with a dead key, and the journal gone: the valid key lies in another item.
      const id = it.journal().rotation?.id ?? '';
      const mine = (name: string): string => `recovery-key:${it.mac.state.hardwareUuid}:${name}`;
      await it.mac.keytar('job').setPassword('io.sparekey.agent', mine(id), 'ZZZZ-YYYY-XXXX-WWWW-VVVV-UUUU');
      await it.mac.keytar('job').setPassword('io.sparekey.agent', mine('a-valid-one'), it.mac.recoveryKey ?? '');
      await untilResolved(it, 13 * 3600);
      expect(await items(it)).toMatchObject([{ password: it.mac.recoveryKey }]);
      expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    },
    slow,
  );

  test(
    'with custody `server` nothing is left in the keychain after a rotation',
    async () => {
      const it = await owing();
      await it.mac.keytar('job').setPassword('io.sparekey.agent', `recovery-key:${it.mac.state.hardwareUuid}:old`, it.before ?? '');
      await it.checkIn();
      expect(it.mac.recoveryKey).not.toBe(it.before);
      expect(await items(it)).toEqual([]);
    },
    slow,
  );
});

describe('files of a rotation', () => {
  test(
    'R11: what a run that died after step 14 left is cleaned up, and no key is sealed for it a second time',
    async () => {
      const it = await owing({ settings: { custody: 'keychain' } });
      await it.checkIn();
      const id = it.journal().current?.rotationId ?? '';
      for (const end of ['out', 'err']) writeFileSync(it.mac.path(`${paths.outputs}/${id}.${end}`), '', { mode: 0o600 });
      writeFileSync(it.mac.path(`${paths.outputs}/alone.err`), '', { mode: 0o600 });
      it.pass(3600);
      await it.checkIn();
      expect(readdirSync(it.mac.path(paths.outputs))).toEqual([]);
      expect(it.lines.some((line) => line.event === 'rotation-found')).toBe(false);
    },
    slow,
  );

  test(
    'C2: macOS’s file that comes after the rotation has ended is its witness, and nobody else’s change',
    async () => {
      const it = await owing();
      it.mac.setQuirk('escrowSeconds', 90);
      await it.checkIn();
      expect(it.journal().rotation).toBeNull();
      const { rotationId } = it.journal().current ?? {};
      it.pass(120);
      await it.checkIn();
      const rows = await it.store.db
        .selectFrom('envelope')
        .select(['rotation_id', 'source'])
        .where('mac_id', '=', await it.macId())
        .where('rotation_id', '=', rotationId ?? '')
        .execute();
      expect(rows.map((row) => row.source).sort()).toEqual(['escrow-file', 'rotation']);
      expect(it.journal()).toMatchObject({ foreignChanges: [], ownEscrowChangeDue: false });
    },
    slow,
  );
});

describe('a run', () => {
  const offline = { connect: () => Promise.reject(new Problem('SERVER_UNREACHABLE')) };

  test(
    'that is asked to rotate again and again while it is offline owes one rotation, and its report stays short enough',
    async () => {
      const it = await given();
      await it.settle();
      for (let asked = 0; asked < 20; asked++) {
        it.request('rotate', `asked-${asked}`);
        await it.checkIn(offline);
      }
      expect(it.journal().debts).toHaveLength(1);
      expect(await it.checkIn()).toBe(0);
      expect(it.journal().debts).toEqual([]);
    },
    slow,
  );

  test(
    '3.4: with the journal of a newer agent checks in, says so, and writes nothing into it',
    async () => {
      const it = await given();
      await it.checkIn();
      const text = JSON.stringify({ ...it.journal(), version: 2, more: 'of the future' });
      writeFileSync(it.mac.path(paths.journal), text, { mode: 0o600 });
      it.pass(3600);
      const seen = async () =>
        (await it.store.db.selectFrom('mac').select('last_seen_at').where('serial', '=', it.mac.state.serial).executeTakeFirst())?.last_seen_at;
      const before = await seen();
      expect(await it.checkIn()).toBe(77);
      expect(readFileSync(it.mac.path(paths.journal), 'utf8')).toBe(text);
      expect(await seen()).toBeGreaterThan(Number(before));
    },
    slow,
  );

  test(
    '3.7: keeps its folder out of backups, once in each boot session; the job makes no core dumps',
    async () => {
      const it = await given();
      const exclusions = () => it.mac.runner.lines.filter((line) => line.includes('tmutil')).length;
      await it.checkIn();
      await it.checkIn();
      expect(exclusions()).toBe(1);
      expect(it.mac.state.excludedFromBackups).toEqual([paths.state]);
      it.pass(60);
      it.mac.boot();
      await it.checkIn();
      expect(exclusions()).toBe(2);
      const plist = readFileSync(new URL('../launchd/io.sparekey.agent.plist', import.meta.url), 'utf8');
      for (const which of ['Soft', 'Hard'])
        expect(plist).toMatch(new RegExp(`<key>${which}ResourceLimits</key>\\s*<dict>\\s*<key>Core</key>\\s*<integer>0</integer>`));
    },
    slow,
  );

  test('forgets answers that nobody fetched for a day', async () => {
    const it = await given();
    await it.checkIn();
    const [old, fresh] = ['old', 'fresh'].map((id) => it.mac.path(`${paths.results}/${id}.json`)) as [string, string];
    for (const file of [old, fresh]) writeFileSync(file, '{}', { mode: 0o600 });
    const seconds = it.mac.now / 1000;
    utimesSync(old, seconds - 90_000, seconds - 90_000);
    utimesSync(fresh, seconds - 60, seconds - 60);
    await it.checkIn();
    expect([existsSync(old), existsSync(fresh)]).toEqual([false, true]);
  });

  test('is not kept away by the lock of a dead one whose pid is another program’s by now', async () => {
    const it = await given();
    await it.checkIn();
    const boot = it.mac.state.boot.session.toUpperCase();
    const lock = it.mac.path(paths.lock);
    writeFileSync(lock, JSON.stringify({ pid: process.ppid, boot }), { mode: 0o600 });
    expect(await it.checkIn()).toBe(75);
    it.mac.change((state) => {
      state.running.push({ pid: process.ppid, command: '/usr/sbin/cfprefsd agent', door: 'process' });
    });
    expect(await it.checkIn()).toBe(0);
    expect(existsSync(lock)).toBe(false);
  });

  test('answers what was asked of it where macOS or the settings fail it', async () => {
    const it = await given();
    await it.checkIn();
    it.mac.setCommandQuirk('sysctl -n kern.boottime', 'fail:1');
    it.request('check-in', 'asked');
    expect(await it.checkIn()).not.toBe(0);
    const answers = () => readdirSync(it.mac.path(paths.results)).filter((name) => name.endsWith('.json'));
    expect(answers()).toEqual(['asked.json']);
    it.mac.setCommandQuirk('sysctl -n kern.boottime', null);
    it.mac.removeSettings();
    it.request('rotate', 'asked-too');
    await it.checkIn();
    expect(answers()).toContain('asked-too.json');
    for (const folder of [paths.queue, paths.taken, paths.failed]) expect([folder, readdirSync(it.mac.path(folder))]).toEqual([folder, []]);
  });

  test('that nobody has to repeat leaves a note about the escrow file that it saw, not about one that came since', async () => {
    const it = await given();
    await it.checkIn();
    const { realDisk } = await import('../agent/disk.ts');
    const seen = it.journal().escrowSeen;
    const isQuiet = (stamp: typeof seen): boolean => {
      sayQuietUntil(it.mac.root, realDisk(it.mac.root), '0.1.0', it.mac.now, 3600, stamp);
      return nothingToDo(it.mac.root, '0.1.0', it.mac.now + 1000);
    };
    expect([isQuiet(seen), isQuiet(seen && { ...seen, modifiedMs: seen.modifiedMs - 1 }), isQuiet(null)]).toEqual([true, false, false]);
  });
});
