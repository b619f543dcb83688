import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { connect } from '../agent/backend.ts';
import type { World } from '../agent/check-in.ts';
import { realDisk } from '../agent/disk.ts';
import { examine } from '../agent/doctor.ts';
import { gatherValues } from '../agent/doctor-values.ts';
import { readFileVault } from '../agent/mac/fdesetup.ts';
import { reportStatus, sayError, statusInWords } from '../agent/report.ts';
import { readStatus } from '../agent/status.ts';
import type { Ask } from '../agent/world.ts';
import { Problem, type ProblemCode } from '../protocol/problems.ts';
import { backUp } from '../server/backup.ts';
import { verifyBackup } from '../server/drill.ts';
import { restore } from '../server/restore.ts';
import { show } from '../server/show.ts';
import { status as fleetStatus } from '../server/status-command.ts';
import { answering, askToAdopt, makeKeyless, rightPassword, wrongPassword } from './adopt-parts.ts';
import { type GivenOptions, given } from './given.ts';
import { filesUnder, findKeys, formsOf } from './plain-text.ts';
import { scratch } from './scratch.ts';

/*
 * Flow by flow, the ones that fail included: what the two sides said to each other, what they logged, what they wrote and what
 * they told people, and no key in any of it, but for the one disclosure that was asked for.
 */

const day = 24 * 3600;
const state = '/var/db/io.sparekey.agent';
type Given = Awaited<ReturnType<typeof given>>;

/** Where a person or another program could look. The fake Mac's own folder is its disk, which has the keys as a disk has. */
const places = ['/Library/Sparekey', '/Library/Logs', '/Library/Preferences', '/var/run', '/var/log', '/var/db', '/tmp', '/private', '/Users'];

interface Flow {
  it: Given;
  keys: Set<string>;
  /** What went over the wire, in both directions, before TLS and after it. */
  bodies: string[];
  /** Logs, reports, errors, status. */
  said: string[];
  /** What was shown because somebody asked for it. */
  shown: string[];
}

/** Every question to the backend and its answer, as they stand in the bodies. `refused`: answered with that problem instead. */
const listening = (bodies: string[], refused: Partial<Record<keyof Ask, ProblemCode>> = {}): Pick<World, 'connect'> => ({
  async connect(world, parts) {
    const backend = await connect(world, parts);
    const ask = new Proxy(backend.ask, {
      get:
        (target, name: keyof typeof backend.ask) =>
        async (...args: unknown[]) => {
          bodies.push(JSON.stringify([name, args]));
          try {
            const code = refused[name];
            if (code) throw new Problem(code, 'a test');
            const answer = await (target[name] as (...all: unknown[]) => Promise<unknown>)(...args);
            bodies.push(JSON.stringify([name, 'answered', answer]));
            return answer;
          } catch (cause) {
            bodies.push(`${name} failed: ${String(cause)} ${JSON.stringify(cause)}`);
            throw cause;
          }
        },
    });
    return { ...backend, ask };
  },
});

async function flow(options: GivenOptions, course: (it: Given, flow: Flow) => Promise<void>): Promise<Flow> {
  const bodies: string[] = [];
  const it = await given(options);
  const made: Flow = { it, keys: new Set(), bodies, said: [], shown: [] };
  const know = () => {
    if (it.mac.recoveryKey) made.keys.add(it.mac.recoveryKey);
  };
  const { checkIn, checkInAndDie } = it;
  it.checkIn = async (more, pid) => {
    know();
    const exit = await checkIn({ ...listening(bodies), ...more }, pid);
    know();
    return exit;
  };
  it.checkInAndDie = async (...args) => {
    know();
    const died = await checkInAndDie(...args);
    know();
    return died;
  };
  await it.settle();
  await course(it, made);
  know();
  const disk = realDisk(it.mac.root);
  const fileVault = await readFileVault(it.mac.runner);
  const report = reportStatus(fileVault, readStatus(disk), it.mac.now);
  const found = examine(await gatherValues({ root: it.mac.root, runner: it.mac.runner, disk, asRoot: true, now: it.mac.now, version: '0.1.0' }));
  const fleet = await fleetStatus(it.backend, it.mac.state.serial).catch((cause) => ({ json: sayError(cause), text: String(cause) }));
  made.said.push(
    ...it.lines.map((line) => JSON.stringify(line)),
    ...it.mac.runner.lines,
    JSON.stringify([it.status(), report, found, fleet]),
    statusInWords(report, { now: it.mac.now, colour: false, quiet: false }),
    JSON.stringify(await it.custody.macReport(await it.macId())),
  );
  return made;
}

const rotate = async (it: Given): Promise<void> => {
  await it.order();
  await it.checkIn();
};
const again = async (it: Given): Promise<void> => {
  it.mac.setChangeQuirk('works');
  for (let run = 0; run < 3; run += 1) {
    it.pass(700);
    await it.checkIn();
  }
};

const dying = (name: RegExp, when: 'before' | 'after', custody: string): [string, GivenOptions, (it: Given) => Promise<void>] => [
  `custody ${custody}, dead ${when} ${name.source}`,
  { settings: { custody } },
  async (it) => {
    await it.order();
    await it.checkInAndDie({ name, when });
    await again(it);
  },
];

const twice = async (it: Given): Promise<void> => {
  await rotate(it);
  it.pass(day + 60);
  await rotate(it);
};

const flows: [string, GivenOptions, (it: Given, flow: Flow) => Promise<void>][] = [
  ['a rotation that was ordered, and one more', {}, twice],
  ['custody in the keychain', { settings: { custody: 'keychain' } }, twice],
  ...(['fails-99', 'crashes-before', 'prints-nothing', 'prints-garbage', 'truncated', 'hangs'] as const).map((quirk): (typeof flows)[number] => [
    `fdesetup ${quirk}`,
    {},
    async (it) => {
      it.mac.setChangeQuirk(quirk);
      await rotate(it);
      await again(it);
    },
  ]),
  dying(/start fdesetup/, 'before', 'keychain'),
  dying(/fdesetup ended/, 'after', 'keychain'),
  dying(/keychain\.write/, 'after', 'keychain'),
  dying(/fdesetup ended/, 'after', 'server'),
  dying(/ask deliver/, 'before', 'server'),
  [
    'a begin, a grant and a delivery that are refused, and a backend that is away',
    {},
    async (it, { bodies }) => {
      await it.order();
      for (const refused of [
        { begin: 'GRANT_REFUSED' },
        { begin: 'SERVER_STOPPING' },
        { deliver: 'STORE_FAILED' },
        { grant: 'GRANT_REFUSED', deliver: 'KEY_ID_MISMATCH' },
      ] as const) {
        await it.checkIn(listening(bodies, refused));
        it.pass(700);
      }
      it.network.cut();
      await it.checkIn();
      it.network.mend();
      await again(it);
    },
  ],
  [
    'a key that somebody else changed, and a wrong one in its place',
    {},
    async (it) => {
      it.mac.mdmRotates();
      await it.checkIn();
      await rotate(it);
      await again(it);
    },
  ],
  [
    'used, disclosed, and a proof',
    {},
    async (it, made) => {
      made.shown.push(await it.disclose());
      it.pass(day + 60);
      it.mac.rebootWithRecoveryKey();
      await it.checkIn();
      it.mac.logIn('ada');
      await it.checkIn();
      it.pass(700);
      await again(it);
    },
  ],
];

/** By a password, which is as secret as a key; `die` is the moment at which the agent does. */
const adopting = (words: string, answers: string[], die?: Parameters<Given['checkInAndDie']>[0]): (typeof flows)[number] => [
  `adopted by a password, ${words}`,
  { escrow: 'none', macos: '15.6.1', settings: { adoptByPrompt: true, organisation: 'Example IT', adoptWords: 'a test', adoptContact: 'extension 4711' } },
  async (it, { keys, bodies }) => {
    for (const password of [rightPassword, wrongPassword]) keys.add(password);
    makeKeyless(it);
    await it.settle();
    askToAdopt(it, 'adopt-1');
    const world = { ...listening(bodies), ...answering(...answers).world };
    if (die) await it.checkInAndDie(die, answering(...answers).world);
    else await it.checkIn(world);
    // A dialog, for whom nobody has the key of still.
    it.mac.answerDialogs(`type:${wrongPassword}`, `type:${rightPassword}`);
    it.pass(day + 60);
    await again(it);
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
  },
];
flows.push(
  adopting('right at once', [rightPassword]),
  adopting('the second one right', [wrongPassword, rightPassword]),
  adopting('wrong three times, then in a dialog', [wrongPassword, wrongPassword, wrongPassword]),
  adopting('killed after the wrong one', [wrongPassword, rightPassword], { name: /start fdesetup/, when: 'before', nth: 2 }),
  adopting('killed before the new key was read', [rightPassword], { name: /fdesetup ended/, when: 'after' }),
);

const looked: Record<string, Flow> = {};
beforeAll(async () => {
  for (const [name, options, course] of flows) looked[name] = await flow(options, course);
});

/** The files that hold one of the keys, in any form. */
const holding = (keys: Iterable<string>, texts: readonly string[]): string[] => {
  const folder = scratch('texts');
  const files = texts.map((text, at) => {
    const file = join(folder, `${at}`);
    writeFileSync(file, text);
    return file;
  });
  return findKeys(keys, files).map(({ file }) => texts[files.indexOf(file)]?.slice(0, 200) ?? '');
};

describe('no key in plain text, in any form, after', () => {
  test.each(flows.map(([name]) => name))('%s', (name) => {
    const { it, keys, bodies, said } = looked[name] as Flow;
    expect(keys.size).toBeGreaterThan(0);
    expect([bodies.length > 2, said.length > 10]).toEqual([true, true]);
    // In both directions; a grant and an envelope are sealed.
    expect(holding(keys, [bodies.join('\n')])).toEqual([]);
    expect(holding(keys, [said.join('\n')])).toEqual([]);
    // What was argued, and what stood in the environment of a command.
    expect(it.mac.state.leaks).toEqual([]);
    const files = places.flatMap((place) => filesUnder(it.mac.path(place)));
    expect(files.length).toBeGreaterThan(3);
    const journal = JSON.parse(readFileSync(it.mac.path(`${state}/journal.json`), 'utf8')) as { rotation: { id: string } | null };
    const left = findKeys(keys, files).map(({ file }) => file);
    // The output file of a change that is not settled yet is where its key belongs.
    expect(left.filter((file) => !journal.rotation || !file.endsWith(`/out/${journal.rotation.id}.out`))).toEqual([]);
  });

  test('the search would have found one in each of these places', () => {
    const [first] = Object.values(looked);
    const [key = ''] = first?.keys ?? [];
    for (const form of formsOf(key)) expect(holding([key], [`{"a":"${form.toString('latin1')}"}`]).length + (form.includes(0) ? 1 : 0)).toBeGreaterThan(0);
    expect(first?.bodies.some((body) => body.startsWith('["deliver",'))).toBe(true);
    expect(Object.values(looked).some(({ bodies }) => bodies.some((body) => body.includes('"jwe":"') || body.includes('["begin","answered"')))).toBe(true);
  });
});

describe('at the backend', () => {
  const everyKey = (): string[] => Object.values(looked).flatMap(({ keys }) => [...keys]);
  const any = (): Flow => Object.values(looked)[0] as Flow;

  test('the data folder, a backup, and what is restored from it', async () => {
    const { it } = any();
    const folder = scratch('backup');
    const file = join(folder, 'backup.tar');
    const made = await backUp({ dir: it.dir, file, actor: 'ada' });
    const verified = await verifyBackup({ file, passphrase: it.passphrase });
    const restored = await restore({ file, dir: join(folder, 'restored'), revocationsFile: null, spreadDays: 1, actor: 'ada' });
    const copy = join(folder, 'live');
    mkdirSync(dirname(copy), { recursive: true });
    cpSync(it.dir, copy, { recursive: true });
    expect(everyKey().length).toBeGreaterThan(20);
    expect(findKeys(everyKey(), filesUnder(folder))).toEqual([]);
    expect(holding(everyKey(), [JSON.stringify([made, verified, restored])])).toEqual([]);
    // Nothing was left beside them.
    expect(filesUnder(folder).some((path) => path.includes('.making-'))).toBe(false);
  });

  test('rows of every table, the audit among them', async () => {
    const { it } = any();
    const tables = [
      'audit',
      'envelope',
      'key_record',
      'grant_given',
      'rotation',
      'rotation_order',
      'disclosure',
      'proof',
      'debt',
      'alarm',
      'enrolment',
      'mac',
      'memory',
    ] as const;
    for (const table of tables) {
      const rows = await it.store.db.selectFrom(table).selectAll().execute();
      expect([
        table,
        holding(everyKey(), [JSON.stringify(rows, (_, value) => (value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value))]),
      ]).toEqual([table, []]);
    }
  });

  test('a key that was shown stands in that one answer and nowhere after it', async () => {
    const { it } = any();
    const { json, text, warnings } = await show(it.backend, { mac: it.mac.state.serial, reason: 'a test', actor: 'ada', refused: [] });
    expect(text).toBe(it.mac.recoveryKey);
    expect(json).toMatchObject({ recoveryKey: text });
    expect(holding([text], [JSON.stringify(warnings)])).toEqual([]);
    expect(findKeys([text], filesUnder(it.dir))).toEqual([]);
  });

  test('what cannot be shown is refused without a key in the words', async () => {
    const { it } = any();
    const said: unknown[] = [];
    for (const mac of ['NOBODY', '', 'x'.repeat(300), it.mac.recoveryKey ?? ''])
      await show(it.backend, { mac, reason: 'a test', actor: 'ada', refused: [] }).catch((cause) => said.push(sayError(cause)));
    expect(said.length).toBe(4);
    expect(holding(everyKey(), [JSON.stringify(said)])).toEqual([]);
  });
});

test('what was read of fdesetup’s output is wiped when the key has been taken out of it', async () => {
  const it = await given({});
  await it.settle();
  await it.order();
  const disk = realDisk(it.mac.root);
  const outputs: Buffer[] = [];
  const world = new Proxy(disk, {
    get: (target, name: keyof typeof disk) =>
      name !== 'read'
        ? target[name]
        : (path: string, most: number) => {
            const bytes = target.read(path, most);
            if (bytes && path.endsWith('.out')) outputs.push(bytes);
            return bytes;
          },
  });
  const before = it.mac.recoveryKey;
  await it.checkIn({ disk: world });
  expect(it.mac.recoveryKey).not.toBe(before);
  expect(outputs.some((bytes) => bytes.length > 100)).toBe(true);
  expect(outputs.every((bytes) => bytes.every((byte) => byte === 0))).toBe(true);
});
