import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import type { Settings } from './fake-mac/state.ts';
import { given } from './given.ts';
import { agrees, codes, type Given, owing } from './given-parts.ts';

/*
 * Settings, clocks, journals and networks that are not as they should be. Each time: a problem with a code that names its
 * fix, nothing lost, and everything as before once the cause is gone.
 */

const state = '/var/db/io.sparekey.agent';
const settingsFile = '/Library/Managed Preferences/io.sparekey.agent.plist';
const [day, year] = [24 * 3600, 365 * 24 * 3600];

/** What a run changes on the Mac, by path and content; the notes of the boot session and the lock aside. */
function snapshot(it: Given): Record<string, string> {
  const files = execFileSync('find', [it.mac.path(state), `${it.mac.path(state)}.public`, '-type', 'f'], { encoding: 'utf8' })
    .trim()
    .split('\n');
  return Object.fromEntries(files.filter(Boolean).map((file) => [file, createHash('sha256').update(readFileSync(file)).digest('hex')]));
}

describe('settings', () => {
  test('missing from the start: nothing is done, and an MDM admin is named', async () => {
    const it = await given();
    it.mac.removeSettings();
    expect(await it.checkIn()).toBe(78);
    expect(it.status().lastRun.code).toBe('SETTINGS_MISSING');
    expect(it.status().settings.managed).toBe(false);
    expect(it.mac.runner.lines.join('\n')).not.toMatch(/changerecovery/);
    it.mac.installSettings(it.values);
    expect(await it.checkIn()).toBe(0);
    await agrees(it);
  });

  test('wrong in essential values: each is named, nothing is done, and the good ones of before are not used instead', async () => {
    const it = await owing();
    for (const [wrong, says] of [
      [{ serverUrl: 'http://localhost' }, /serverUrl/],
      [{ serverUrl: 7 }, /serverUrl/],
      [{ escrowCertificate: 'nonsense' }, /escrowCertificate/],
    ] as const) {
      it.mac.installSettings({ ...it.values, ...wrong } as Settings);
      expect([says, await it.checkIn()]).toEqual([says, 78]);
      expect(it.status().lastRun).toMatchObject({ code: 'SETTINGS_INVALID', did: expect.stringMatching(says) });
      expect(it.mac.recoveryKey).toBe(it.before);
    }
    it.mac.installSettings(it.values);
    await it.checkIn();
    expect(it.mac.recoveryKey).not.toBe(it.before);
    await agrees(it);
  });

  test('wrong in other values: the careful value counts, and status says which', async () => {
    const it = await owing({ settings: { rotator: 'nobody', checkInMinutes: 'often', unheardOf: 1 } });
    expect(await it.checkIn()).toBe(0);
    const said = it.status().settings.problems.map((one) => one.name);
    expect(said).toEqual(expect.arrayContaining(['rotator', 'checkInMinutes', 'unheardOf']));
    // Nobody knows who should replace keys: so not we.
    expect(it.mac.recoveryKey).toBe(it.before);
    await agrees(it);
  });

  test('a property list that cannot be read: the last good ones go on, for deliveries only', async () => {
    const it = await owing();
    writeFileSync(it.mac.path(settingsFile), 'bplist00 and then nothing');
    expect(await it.checkIn()).toBe(0);
    expect(it.mac.recoveryKey).toBe(it.before);
    expect(it.status().settings).toMatchObject({ managed: false, problems: [{ name: 'the managed settings' }] });
    it.mac.removeSettings();
    it.mac.installSettings(it.values);
    await it.checkIn();
    await agrees(it);
    expect(it.mac.recoveryKey).not.toBe(it.before);
  });

  test('unreadable before there were good ones: said as such', async () => {
    const it = await given();
    writeFileSync(it.mac.path(settingsFile), Buffer.alloc(200, 0xff));
    expect(await it.checkIn()).toBe(78);
    expect(it.status().lastRun.code).toBe('SETTINGS_UNREADABLE');
  });

  test('G1, gate 5: they vanish in an MDM migration: delivers, rotates nothing, says since when; they come back: it goes on', async () => {
    const it = await owing();
    it.mac.removeSettings();
    const since = it.mac.now;
    await it.checkIn();
    expect(it.mac.recoveryKey).toBe(it.before);
    expect(it.status().settings).toMatchObject({ managed: false, unmanagedSince: new Date(since).toISOString() });
    expect(it.status().lastRun.did).toMatch(/settings are not managed/);
    it.pass(3 * day);
    it.mac.mdmRotates();
    await it.checkIn();
    expect(it.status().settings.unmanagedSince).toBe(new Date(since).toISOString());
    expect(await it.storedKeys()).toContain(it.mac.recoveryKey);
    const theirs = it.mac.recoveryKey;
    it.pass(3 * day);
    await it.checkIn();
    expect(it.mac.recoveryKey).toBe(theirs);
    it.mac.installSettings(it.values);
    // The order still stands, and the key that macOS made last is what authorizes it.
    it.pass(700);
    await it.checkIn();
    expect(it.mac.recoveryKey).not.toBe(theirs);
    expect(it.mac.state.wrongKeys.ever).toBe(0);
    expect(it.status().settings).toMatchObject({ managed: true, unmanagedSince: null });
    await agrees(it);
  });

  test('vanished while a sealed key waits: it is delivered all the same', async () => {
    const it = await owing();
    await it.checkInAndDie({ name: /ask deliver/, when: 'before' });
    it.mac.removeSettings();
    it.pass(120);
    await it.checkIn();
    expect(it.journal()).toMatchObject({ rotation: null, outbox: [] });
    expect(it.mac.recoveryKey).not.toBe(it.before);
    await agrees(it);
  });
});

describe('clocks', () => {
  test('the Mac’s clock a year ahead or behind: the hold, the debt and the rotation are by the server’s time', async () => {
    for (const wrong of [year, -year]) {
      const it = await given();
      await it.checkIn();
      it.turnClock(wrong);
      const shown = it.mac.recoveryKey;
      expect([wrong, await it.heldKey()]).toEqual([wrong, shown]);
      it.pass(601);
      await it.checkIn();
      await it.disclose();
      it.pass(3600);
      await it.checkIn();
      expect([wrong, it.mac.recoveryKey === shown]).toEqual([wrong, true]);
      it.pass(day);
      await it.checkIn();
      expect([wrong, it.mac.recoveryKey === shown]).toEqual([wrong, false]);
      await agrees(it);
    }
  });

  test('a year ahead before the first check-in: no identity is valid by it, which is said; with the right time it enrols', async () => {
    const it = await given();
    it.turnClock(2 * year);
    expect(await it.checkIn()).toBe(77);
    expect(it.status().lastRun).toMatchObject({ code: 'IDENTITY_MISSING', did: expect.stringMatching(/none that is valid now/) });
    it.turnClock(-2 * year);
    expect(await it.checkIn()).toBe(0);
    await agrees(it);
  });

  test('the clock jumps by a year in the middle of a hold, and back: it makes no difference', async () => {
    const it = await given();
    await it.settle();
    await it.checkIn();
    const shown = await it.disclose();
    for (const jump of [year, -2 * year, year]) {
      it.turnClock(jump);
      it.pass(3600);
      await it.checkIn();
      expect([jump, it.mac.recoveryKey]).toEqual([jump, shown]);
    }
    it.pass(day);
    await it.checkIn();
    expect(it.mac.recoveryKey).not.toBe(shown);
    await agrees(it);
  });

  test('a clock that is a year ahead renews no certificate: its age is by the server’s time too', async () => {
    const it = await given();
    await it.checkIn();
    const { certificatePem } = it.journal().identity ?? {};
    it.turnClock(year);
    for (const _ of [1, 2, 3]) {
      it.pass(3600);
      await it.checkIn();
    }
    expect(it.journal().identity?.certificatePem).toBe(certificatePem);
    expect(it.lines.filter((line) => line.event === 'enrolment-failed')).toEqual([]);
  });

  test('the server’s clock steps back by a day: nothing is younger than before, and a rotation goes through', async () => {
    const it = await owing();
    const warned: string[] = [];
    const warn = process.emitWarning;
    process.emitWarning = ((words: string) => void warned.push(words)) as typeof process.emitWarning;
    try {
      it.turnServerClock(-day);
      await it.checkIn();
    } finally {
      process.emitWarning = warn;
    }
    expect(warned.join()).toMatch(/s behind the time that the server has already used/);
    expect(it.mac.recoveryKey).not.toBe(it.before);
    await agrees(it);
    const times = await it.store.db.selectFrom('audit').select('at').orderBy('seq').execute();
    expect(times.map((row) => row.at)).toEqual(times.map((row) => row.at).sort((a, b) => a - b));
    it.turnServerClock(day);
  });
});

describe('away for long', () => {
  test('three months: the order has expired, a proof comes first, and a new order is then carried out', async () => {
    const it = await owing();
    await it.checkIn();
    const rotated = it.mac.recoveryKey;
    const { orderId } = await it.order();
    it.mac.boot();
    it.pass(92 * day);
    it.mac.boot();
    await it.checkIn();
    const row = await it.store.db.selectFrom('rotation_order').select('state').where('id', '=', orderId).executeTakeFirst();
    expect(row?.state).toBe('expired');
    expect(it.mac.recoveryKey).toBe(rotated);
    await it.order();
    const from = it.lines.length;
    for (const seconds of [601, 601, day + 601, 601]) {
      it.pass(seconds);
      await it.checkIn();
    }
    const events = it.lines.slice(from).map((line) => line.event);
    expect(events.indexOf('key-tried')).toBeGreaterThanOrEqual(0);
    expect(events.indexOf('rotation-intended')).toBeGreaterThan(events.indexOf('key-tried'));
    expect(it.mac.recoveryKey).not.toBe(rotated);
    await agrees(it);
  });
});

describe('a journal that is not this Mac’s to use', () => {
  test('from a newer version: exit 77, said, and nothing is written over it', async () => {
    const it = await owing();
    const path = it.mac.path(`${state}/journal.json`);
    const newer = JSON.stringify({ version: 2, everything: 'is another' });
    writeFileSync(path, newer, { mode: 0o600 });
    const before = snapshot(it);
    expect(await it.checkIn()).toBe(77);
    expect(readFileSync(path, 'utf8')).toBe(newer);
    const after = snapshot(it);
    expect(Object.keys(after).filter((file) => after[file] !== before[file] && !file.endsWith('status.json'))).toEqual([]);
    expect(it.status().lastRun).toMatchObject({ code: 'JOURNAL_TOO_NEW' });
    expect(it.mac.recoveryKey).toBe(it.before);
    expect(await it.heldKey()).toBe(it.before);
  });

  test('damaged, cut short, or far too large: set aside, never deleted, and a new one begins', async () => {
    for (const [name, bytes] of Object.entries({
      cut: (whole: Buffer) => whole.subarray(0, whole.length / 2),
      empty: () => Buffer.alloc(0),
      shapeless: () => Buffer.from('{"version":1}'),
      huge: (whole: Buffer) => Buffer.concat([whole, Buffer.alloc(1024 * 1024, 0x20)]),
    })) {
      const it = await given();
      await it.checkIn();
      const path = it.mac.path(`${state}/journal.json`);
      writeFileSync(path, bytes(readFileSync(path)), { mode: 0o600 });
      it.pass(60);
      expect([name, await it.checkIn()]).toEqual([name, 0]);
      expect([name, codes(it)]).toEqual([name, ['JOURNAL_UNREADABLE']]);
      expect([name, Object.keys(snapshot(it)).filter((file) => /journal\.json\.unreadable-/.test(file)).length]).toEqual([name, 1]);
      it.pass(60);
      await it.checkIn();
      await agrees(it);
    }
  });

  test('readable by others: refused in words, and not changed', async () => {
    const it = await given();
    await it.checkIn();
    execFileSync('chmod', ['644', it.mac.path(`${state}/journal.json`)]);
    const before = readFileSync(it.mac.path(`${state}/journal.json`));
    expect(await it.checkIn()).not.toBe(0);
    expect(it.status().lastRun.code).toBe('JOURNAL_NOT_OURS');
    expect(readFileSync(it.mac.path(`${state}/journal.json`))).toEqual(before);
    await agrees(it);
  });
});

describe('the network', () => {
  test('down from the beginning: exit 69, said, and everything follows when it is up', async () => {
    const it = await given();
    it.network.cut();
    try {
      for (const _ of [1, 2, 3]) {
        it.pass(day);
        expect(await it.checkIn()).toBe(69);
      }
      expect(it.status().lastRun.code).toBe('SERVER_UNREACHABLE');
      expect(it.journal().outbox).toHaveLength(1);
    } finally {
      it.network.mend();
    }
    expect(await it.checkIn()).toBe(0);
    await agrees(it);
  });

  test('cut while fdesetup changes the key: the sealed key waits for days in the outbox, and is then delivered', async () => {
    const it = await owing();
    const runner = { ...it.mac.runner, run: it.mac.runner.run.bind(it.mac.runner), start: it.mac.runner.start.bind(it.mac.runner) };
    const cutting: typeof runner.start = (command) => {
      it.network.cut();
      return it.mac.runner.start(command);
    };
    try {
      expect(await it.checkIn({ runner: { run: runner.run, start: cutting } })).toBe(69);
      expect(it.mac.recoveryKey).not.toBe(it.before);
      expect(it.journal().rotation?.state).toBe('sealed');
      const sealed = it.journal().outbox.at(0)?.envelopeId;
      for (const _ of [1, 2, 3]) {
        it.pass(day);
        expect(await it.checkIn()).toBe(69);
        expect(it.journal().outbox.map((one) => one.envelopeId)).toContain(sealed);
      }
      expect(await it.heldKey()).toBe(it.before);
    } finally {
      it.network.mend();
    }
    await it.checkIn();
    expect(it.journal()).toMatchObject({ rotation: null, outbox: [] });
    await agrees(it);
  });

  test('cut at each question of a rotation: both sides agree afterwards, and the disk is opened by what is held', async () => {
    const sample = await owing();
    const { effects } = await sample.checkInAndDie(null);
    const asks = effects.filter((name) => name.startsWith('ask ')).length;
    expect(asks).toBeGreaterThan(4);
    for (let nth = 1; nth <= asks; nth++) {
      const it = await owing();
      let asked = 0;
      await it.checkIn({
        async connect(world, parts) {
          const { connect } = await import('../agent/backend.ts');
          const backend = await connect(world, parts);
          const cutAt = new Proxy(backend.ask, {
            get(target, name: keyof typeof backend.ask) {
              return (...args: never[]) => {
                asked += 1;
                if (asked === nth) it.network.cut();
                return (target[name] as (...all: never[]) => Promise<unknown>)(...args);
              };
            },
          });
          return { ...backend, ask: cutAt };
        },
      });
      it.network.mend();
      for (let run = 0; run < 4; run++) {
        it.pass(120);
        await it.checkIn();
      }
      expect([nth, it.journal().rotation, it.journal().outbox]).toEqual([nth, null, []]);
      expect([nth, await it.heldKey()]).toEqual([nth, it.mac.recoveryKey]);
    }
  });

  test('the backend is restarted in between: nothing is asked twice', async () => {
    const it = await owing();
    await it.restart();
    expect(await it.checkIn()).toBe(0);
    expect(it.mac.recoveryKey).not.toBe(it.before);
    await agrees(it);
  });
});

describe('runs', () => {
  test('two at once: the second one says so and exits 75', async () => {
    const it = await owing();
    let second: number | null = null;
    const runner = {
      run: it.mac.runner.run.bind(it.mac.runner),
      start: async (command: Parameters<typeof it.mac.runner.start>[0]) => {
        second = await it.checkIn({}, process.ppid);
        return it.mac.runner.start(command);
      },
    };
    expect(await it.checkIn({ runner })).toBe(0);
    expect(second).toBe(75);
    expect(it.mac.recoveryKey).not.toBe(it.before);
    await agrees(it);
    expect(existsSync(it.mac.path(`${state}/lock`))).toBe(false);
  });

  test('SIGTERM while fdesetup is at it: obeyed after step 10 and without network; the next run delivers', async () => {
    const it = await owing();
    let stopping = false;
    const killed = await it.checkInAndDie(null, {
      stopping: () => {
        stopping ||= it.mac.recoveryKey !== it.before;
        return stopping;
      },
    });
    const ended = killed.effects.indexOf('fdesetup ended');
    expect(ended).toBeGreaterThan(0);
    expect(killed.effects.slice(ended).filter((name) => name.startsWith('ask'))).toEqual([]);
    expect(it.journal()).toMatchObject({ rotation: { state: 'sealed' } });
    expect(it.journal().outbox.some((one) => one.source === 'rotation')).toBe(true);
    expect(await it.heldKey()).toBe(it.before);
    it.pass(60);
    await it.checkIn();
    expect(it.journal()).toMatchObject({ rotation: null, outbox: [] });
    await agrees(it);
  });

  test('SIGTERM before the change: nothing is begun', async () => {
    const it = await owing();
    await it.checkIn({ stopping: () => true });
    expect(it.mac.recoveryKey).toBe(it.before);
    expect(it.journal().rotation).toBeNull();
    await agrees(it);
  });

  test('dark wake, and a Mac without settings of its own boot session, end quietly', async () => {
    const it = await owing();
    it.mac.setDarkWake(true);
    expect(await it.checkIn()).toBe(0);
    expect(it.status().lastRun.did).toBe('asleep');
    expect(it.mac.recoveryKey).toBe(it.before);
    it.mac.setDarkWake(false);
    rmSync(it.mac.path('/var/run'), { recursive: true, force: true });
    await it.checkIn();
    expect(it.mac.recoveryKey).not.toBe(it.before);
    await agrees(it);
  });
});

describe('a macOS that answers nonsense', () => {
  test('garbage, silence and crashes of each question lose nothing, and it goes on when they end', async () => {
    const lines = [
      'fdesetup status',
      'fdesetup haspersonalrecoverykey',
      'fdesetup usingrecoverykey',
      'profiles',
      'stat',
      'sysadminctl',
      'pmset',
      'ioreg',
      'ps',
      'diskutil',
    ];
    const it = await owing();
    for (const line of lines)
      for (const quirk of ['garbage', 'empty', 'crash', 'hang', 'missing', 'fail:1']) {
        it.mac.setCommandQuirk(line, quirk);
        const before = it.mac.recoveryKey;
        it.pass(60);
        const exit = await it.checkIn();
        expect([line, quirk, [0, 69, 75, 77].includes(exit)]).toEqual([line, quirk, true]);
        expect([line, quirk, it.status().lastRun.code === 'AGENT_BUG']).toEqual([line, quirk, false]);
        it.mac.setCommandQuirk(line, null);
        if (it.mac.recoveryKey !== before) expect([line, quirk, await it.heldKey()]).toEqual([line, quirk, it.mac.recoveryKey]);
      }
    it.pass(60);
    await it.checkIn();
    expect(it.mac.recoveryKey).not.toBe(it.before);
    await agrees(it);
    expect(it.mac.state.wrongKeys.ever).toBe(0);
  });
});

// Last: from here on the backend's clock is more than a year ahead of that of TLS.
describe('away for more than a year', () => {
  test('until its certificate has ended: it goes on with the same enrolment, and delivers what it has', async () => {
    const it = await given();
    await it.checkIn();
    const { enrolmentId, notAfter } = it.journal().identity ?? {};
    // MDM has renewed the profile's identity meanwhile; our own certificate of 400 days has ended.
    it.pass(410 * day);
    it.mac.boot();
    it.mac.installIdentity(it.deviceCa);
    it.mac.mdmRotates();
    expect(await it.checkIn()).toBe(0);
    expect(it.journal().identity?.enrolmentId).toBe(enrolmentId);
    expect(Date.parse(it.journal().identity?.notAfter ?? '')).toBeGreaterThan(Date.parse(notAfter ?? ''));
    expect(await it.storedKeys()).toContain(it.mac.recoveryKey);
  });
});
