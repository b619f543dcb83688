import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import type { Journal } from '../agent/journal.ts';
import { freshPace, mayChange, nextTry, type Pace, paceAtAnswer, withChange, withFailure } from '../agent/pace.ts';
import { type GivenOptions, given } from './given.ts';
import { codes, type Given, owing } from './given-parts.ts';

/* Limits that protect people: each as a story, in which fdesetup is counted and `status` says in words why nothing happens. */

const hour = 3600;
const day = 24 * hour;

/** How often a command of fdesetup was asked for, in the whole life of this Mac. */
const count = (it: Given, verb: string): number => it.mac.runner.lines.filter((line) => line.startsWith(`/usr/bin/fdesetup ${verb}`)).length;
const changes = (it: Given): number => count(it, 'changerecovery');
const says = (it: Given): string => it.status().lastRun.did;

function editJournal(it: Given, change: Partial<Journal>): void {
  writeFileSync(it.mac.path('/var/db/io.sparekey.agent/journal.json'), JSON.stringify({ ...it.journal(), ...change }), { mode: 0o600 });
}

/** Its key was proved, and the one reason of a day is free again. */
async function proved(options: GivenOptions = {}): Promise<Given> {
  const it = await given(options);
  await it.settle();
  await it.checkIn();
  it.pass(day + 60);
  return it;
}

/** `spoil` keeps the key as it is, and is what status names; without it the same order is carried out. */
const waits: [string, (it: Given) => void | Promise<void>, (it: Given) => void | Promise<void>, RegExp][] = [
  ['while FileVault is encrypting', (it) => it.mac.setProgress('encrypting', 40), (it) => it.mac.enableFileVault('ada'), /FileVault is encrypting/],
  ['while FileVault is decrypting', (it) => it.mac.setProgress('decrypting', 40), (it) => it.mac.enableFileVault('ada'), /FileVault is decrypting/],
  [
    'in Setup Assistant',
    (it) => it.mac.change((state) => Object.assign(state.console, { user: '_mbsetupuser' })),
    (it) => it.mac.logIn('ada'),
    /Setup Assistant is running/,
  ],
  ['in dark wake', (it) => it.mac.setDarkWake(true), (it) => it.mac.setDarkWake(false), /^asleep$/],
  ['with a battery under 20 percent', (it) => it.mac.setPower('battery', 19), (it) => it.mac.setPower('battery', 20), /the battery is at 19 percent/],
  [
    'while a macOS update is being prepared',
    (it) => void mkdirSync(it.mac.path('/System/Volumes/Update/Prepared'), { recursive: true }),
    (it) => rmSync(it.mac.path('/System/Volumes/Update'), { recursive: true }),
    /a macOS update is being prepared/,
  ],
];

describe('no replacement', () => {
  test.each(waits)('%s: fdesetup changerecovery is not run, and status says so', async (_, spoil, mend, words) => {
    const it = await owing();
    const before = it.mac.recoveryKey;
    await spoil(it);
    it.pass(900);
    await it.checkIn();
    expect(says(it)).toMatch(words);
    expect([changes(it), it.mac.recoveryKey]).toEqual([0, before]);
    await mend(it);
    await it.settle();
    await it.checkIn();
    expect(changes(it)).toBe(1);
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
  });

  test('in the first run after a new build of macOS, before a key has answered `true` on it', async () => {
    const it = await proved();
    await it.checkIn();
    await it.order();
    it.mac.updateMacOS('26.2', '25C56');
    it.mac.boot();
    await it.checkIn();
    expect(changes(it)).toBe(0);
    expect(says(it)).toMatch(/a proof is due, but nobody has been logged in long enough/);
    it.pass(901);
    const asked = count(it, 'validaterecovery');
    await it.checkIn();
    expect([changes(it), count(it, 'validaterecovery')]).toEqual([0, asked + 1]);
    it.pass(day);
    await it.checkIn();
    expect(changes(it)).toBe(1);
  });

  test('nor where no key was ever proved: the first run on the new build asks for that first', async () => {
    const it = await given();
    await it.checkIn();
    it.pass(120);
    it.mac.updateMacOS('26.2', '25C56');
    it.mac.boot();
    await it.checkIn();
    await it.order();
    it.pass(901);
    await it.checkIn();
    expect([changes(it), count(it, 'validaterecovery')]).toEqual([0, 1]);
    it.pass(day);
    await it.checkIn();
    expect(changes(it)).toBe(1);
  });

  test('after more than 30 days of silence, before a key has answered `true` again', async () => {
    const it = await proved();
    await it.checkIn();
    await it.order();
    it.pass(31 * day);
    await it.order();
    it.mac.boot();
    await it.settle();
    expect(it.journal().pace.proofDue).toBe('silence');
    const asked = count(it, 'validaterecovery');
    await it.checkIn();
    expect([changes(it), count(it, 'validaterecovery'), it.journal().pace.proofDue]).toEqual([0, asked + 1, null]);
    it.pass(day);
    await it.checkIn();
    expect(changes(it)).toBe(1);
  });

  test('for ever, where the silence was a lost answer and the backend asks for no proof: after a week the change’s own first step has to do', async () => {
    const it = await proved();
    const { proveEveryDays } = it.backend.settings.keys;
    Object.assign(it.backend.settings.keys, { proveEveryDays: 365 });
    await it.checkIn();
    it.pass(15 * day);
    const { pace, clock } = it.journal();
    await it.checkIn();
    editJournal(it, { pace, clock });
    it.pass(16 * day);
    await it.order();
    await it.settle();
    for (let days = 0; days < 7; days++) {
      await it.checkIn();
      expect([changes(it), it.journal().pace.proofDue]).toEqual([0, 'silence']);
      expect(says(it)).toMatch(/a long silence: a proof comes first/);
      it.pass(day);
    }
    const asked = count(it, 'validaterecovery');
    await it.checkIn();
    // Step 3, and the new key's own proof.
    expect([changes(it), count(it, 'validaterecovery'), it.journal().pace.proofDue]).toEqual([1, asked + 2, null]);
    Object.assign(it.backend.settings.keys, { proveEveryDays });
  });
});

describe('the hold', () => {
  /** Nothing is replaced at any of these moments, neither here nor by a begin that the backend would take. */
  async function holds(it: Given, key: string): Promise<void> {
    await it.checkIn();
    expect(changes(it)).toBe(0);
    expect(it.mac.recoveryKey).toBe(key);
    expect(it.status().hold).not.toBeNull();
    expect((await it.custodyOf()).hold).not.toBeNull();
  }

  async function shown(options: GivenOptions = {}): Promise<{ it: Given; key: string }> {
    const it = await proved(options);
    await it.checkIn();
    const key = await it.disclose();
    return { it, key };
  }

  test('outlives runs of the agent, restarts of the backend, and a start of the Mac at which nobody has settled', async () => {
    const { it, key } = await shown();
    await it.order();
    await it.custody.orderProofs({ macId: await it.macId(), actor: 'grace', reason: 'a test' });
    const asked = count(it, 'validaterecovery');
    for (const minutes of [1, 15, 60]) {
      it.pass(minutes * 60);
      await holds(it, key);
    }
    await it.restart();
    await holds(it, key);
    it.mac.rebootWithRecoveryKey();
    await holds(it, key);
    it.pass(2 * hour);
    await holds(it, key);
    expect(count(it, 'validaterecovery')).toBe(asked);
    expect(says(it)).toMatch(/^nothing, because the key was shown and its person may be typing it/);
  });

  test('is of the backend’s time: the Mac’s clock, days ahead or behind, ends nothing', async () => {
    const { it, key } = await shown();
    for (const days of [3, -6, 40]) {
      it.turnClock(days * day);
      await holds(it, key);
    }
    it.turnClock(-37 * day);
  });

  test('is not ended by a clock of the backend that steps back', async () => {
    const { it, key } = await shown();
    it.pass(hour);
    await holds(it, key);
    it.turnServerClock(-12 * hour);
    await holds(it, key);
    it.turnServerClock(12 * hour);
    await holds(it, key);
  });

  test('is asked about by the agent before each change, and kept by the backend against an agent that does not', async () => {
    // With the key in its keychain it needs no grant, which a hold stops as well.
    const { it, key } = await shown({ settings: { custody: 'keychain' } });
    const asked: string[] = [];
    const { connect } = await import('../agent/backend.ts');
    // An agent to which the answer does not say that there is a hold.
    await it.checkIn({
      async connect(world, parts) {
        const backend = await connect(world, parts);
        const begin: typeof backend.ask.begin = (request) => {
          asked.push(request.because);
          return backend.ask.begin(request);
        };
        return { ...backend, ask: { ...backend.ask, begin, checkIn: async (request) => ({ ...(await backend.ask.checkIn(request)), hold: null }) } };
      },
    });
    expect(asked).toEqual(['disclosed']);
    expect([changes(it), it.mac.recoveryKey]).toEqual([0, key]);
    expect(codes(it)).toContain('ROTATION_WAIT');
  });

  const saying = async (it: Given, because: 'back-in' | 'not-me') =>
    void (await it.custody.endHold({ macId: await it.macId(), actor: 'ada', because, reason: 'a test' }));
  const startingAgain = async (it: Given) => {
    it.pass(120);
    it.mac.boot();
    await it.settle();
  };
  const ends: [string, (it: Given) => void | Promise<void>][] = [
    ['(a) its person started the Mac again and has settled', startingAgain],
    ['(b) its owner says: I am back in', (it) => saying(it, 'back-in')],
    ['(c) 24 hours have passed', (it) => it.pass(day)],
    ['(d) it was not me', (it) => saying(it, 'not-me')],
    ['(d) an admin’s override, by name', async (it) => void (await it.order({ overrideHold: true }))],
  ];
  test.each(ends)('ends when %s, and then the key is replaced', async (_, end) => {
    const { it, key } = await shown();
    await holds(it, key);
    await end(it);
    await it.checkIn();
    expect(changes(it)).toBe(1);
    expect(it.mac.recoveryKey).not.toBe(key);
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
  });

  test('(c) ends not within 20 minutes of the last look', async () => {
    const { it, key } = await shown();
    it.pass(day - 60);
    await it.disclose();
    it.pass(120);
    await holds(it, key);
    it.pass(19 * 60);
    await it.checkIn();
    expect(changes(it)).toBe(1);
  });
});

describe('used', () => {
  test('changes the key once in a boot session, also where the journal was lost in between', async () => {
    const it = await given();
    await it.checkIn();
    it.pass(60);
    it.mac.rebootWithRecoveryKey();
    it.mac.logIn('ada');
    await it.settle();
    await it.checkIn();
    expect(changes(it)).toBe(1);
    rmSync(it.mac.path('/var/db/io.sparekey.agent/journal.json'));
    for (const hours of [1, 30, 30]) {
      it.pass(hours * hour);
      await it.checkIn();
    }
    expect(it.journal().session?.usedSeen).toBe(true);
    expect(changes(it)).toBe(1);
    expect((await it.custodyOf()).rotation.owed).toBe(false);
  });
});

describe('the limit of a day, for all reasons together', () => {
  /** With the key in its keychain no grant keeps a Mac from changing it again and again. */
  const keeping = () => proved({ settings: { custody: 'keychain' } });

  test('three changes in 24 hours by the agent’s own count, whatever the backend remembers; status says why', async () => {
    const it = await keeping();
    for (const _ of [1, 2, 3, 4]) {
      // What a restored backend has forgotten.
      await it.store.db
        .updateTable('rotation')
        .set({ begun_at: 0 })
        .where('mac_id', '=', await it.macId())
        .execute();
      await it.order();
      it.pass(hour);
      await it.checkIn();
    }
    expect(changes(it)).toBe(3);
    expect(says(it)).toBe('nothing, because the key was changed as often as is safe in a day');
    it.turnClock(5 * day);
    await it.checkIn();
    it.turnClock(-5 * day);
    it.mac.boot();
    await it.settle();
    await it.checkIn();
    expect(changes(it)).toBe(3);
    it.pass(day);
    await it.checkIn();
    expect(changes(it)).toBe(4);
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
  });

  test('three in 24 hours by the backend’s count, also where the agent has forgotten its own', async () => {
    const it = await keeping();
    for (const _ of [1, 2, 3, 4]) {
      await it.order();
      it.pass(hour);
      await it.checkIn();
      editJournal(it, { pace: { ...it.journal().pace, changes: [] } });
    }
    expect(changes(it)).toBe(3);
    expect(codes(it)).toContain('ROTATION_LIMIT');
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
  });
});

describe('a change that fails', () => {
  /** One week, as launchd would wake the agent, but for the hours in which nothing can happen. */
  async function aWeek(it: Given, everyHours: number): Promise<number[]> {
    const at: number[] = [];
    for (let hours = everyHours; hours <= 7 * 24; hours += everyHours) {
      it.pass(everyHours * hour);
      const before = changes(it);
      await it.checkIn();
      expect(changes(it) - before).toBeLessThanOrEqual(1);
      if (changes(it) > before) at.push(hours);
    }
    return at;
  }

  test('and changes nothing is tried after 1, 2 and 4 days, then once a week; fdesetup is left alone in between, and custody is never in doubt for it', async () => {
    const it = await proved({ settings: { custody: 'keychain' } });
    await it.order();
    const before = it.mac.recoveryKey;
    it.mac.setChangeQuirk('crashes-before');
    const asked = count(it, 'validaterecovery');
    expect(await aWeek(it, 12)).toEqual([12, 36, 84]);
    expect(await it.custodyOf()).toMatchObject({ state: 'held' });
    // Before each, and after it, whether the old key is still the valid one.
    expect(count(it, 'validaterecovery') - asked).toBeLessThanOrEqual(9);
    expect(await aWeek(it, 24)).toHaveLength(1);
    expect(says(it)).toMatch(/the last change of the key failed, and it is not tried again before 20\d\d-/);
    expect([it.mac.recoveryKey, it.mac.state.wrongKeys.ever]).toEqual([before, 0]);
    it.mac.setChangeQuirk('works');
    it.pass(7 * day);
    await it.checkIn();
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    expect(it.mac.recoveryKey).not.toBe(before);
    expect(it.journal().pace.failed).toBeNull();
  });

  test.each(['refuses', 'fails-99'] as const)('because macOS %s it is tried once on this build, and status asks for help', async (quirk) => {
    const it = await proved({ settings: { custody: 'keychain' } });
    await it.order();
    it.mac.setChangeQuirk(quirk);
    expect(await aWeek(it, 24)).toHaveLength(1);
    expect(codes(it)).toContain('UNLOCK_REFUSED');
    expect(it.mac.state.wrongKeys.ever).toBe(0);
  });

  test('because it hangs is tried once until the Mac is started again, and then not before its time', async () => {
    const it = await proved({ settings: { custody: 'keychain' } });
    await it.order();
    it.mac.setChangeQuirk('hangs');
    expect(await aWeek(it, 24)).toHaveLength(1);
    expect(says(it)).toBe('fdesetup is still changing the key');
    it.mac.boot();
    expect(await aWeek(it, 24)).toHaveLength(1);
  });
});

describe('how long a change that failed is left alone', () => {
  const now = Date.parse('2026-11-23T09:00:00Z');
  const hours = (pace: Pace): number => ((nextTry(pace, '25B78', now) ?? now) - now) / 3_600_000;

  test('1, 2, 4 days, then a week each time', () => {
    let pace = freshPace;
    const found = [];
    for (let n = 0; n < 7; n++) {
      pace = withFailure(pace, '25B78', { at: now });
      found.push(hours(pace));
    }
    expect(found).toEqual([24, 48, 96, 168, 168, 168, 168]);
    expect(nextTry(pace, '26A1', now)).toBeNull();
    expect(withFailure(pace, '26A1', { at: now }).failed?.times).toBe(1);
  });

  test('by a time that is not sure it was just now, until a server has answered', () => {
    const failed = withFailure(freshPace, '25B78', { at: now - 1000 * day * 1000, unsure: true });
    expect(hours(failed)).toBe(24);
    const changed = [1, 2, 3].reduce((pace) => withChange(pace, { at: 0, unsure: true }), freshPace);
    expect(mayChange(changed, now)).toBe(false);
    const sure = paceAtAnswer(changed, '25B78', now, null);
    expect(mayChange(sure, now + day * 1000 - 1)).toBe(false);
    expect(mayChange(sure, now + day * 1000)).toBe(true);
  });

  test('and what was counted ahead of the server’s time counts from now', () => {
    const pace = paceAtAnswer(withChange(freshPace, { at: now + 90 * day * 1000 }), '25B78', now, null);
    expect(pace.changes).toEqual([{ at: now }]);
  });
});
