import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import type { FakeMac } from './fake-mac/fake-mac.ts';
import { given } from './given.ts';
import { asFile, postgres } from './new-database.ts';
import { filesUnder, findKeys, formsOf } from './plain-text.ts';
import { scratch } from './scratch.ts';

/*
 * After everything that a Mac and its backend do with keys, a key lies nowhere in plain text, in no form: not on the Mac, not
 * at the backend, not in a log, not in a command line.
 */

const day = 24 * 3600;
const state = '/var/db/io.sparekey.agent';
/** Where an agent or a backend could leave something. The fake Mac's own state has the keys, as a disk has its own. */
const places = ['/Library/Sparekey', '/Library/Logs', '/Library/Preferences', '/var/run', '/var/log', '/var/db', '/tmp', '/private', '/Users'];

const keys = new Set<string>();
const macs: FakeMac[] = [];
const said: string[] = [];
let one: Awaited<ReturnType<typeof given>>;

type Given = Awaited<ReturnType<typeof given>>;

const know = (it: Given): void => {
  if (it.mac.recoveryKey) keys.add(it.mac.recoveryKey);
};

/** One Mac's course; every key that it ever has is known afterwards. */
async function live(options: Parameters<typeof given>[0], course: (it: Given) => Promise<void>): Promise<Given> {
  const it = await given(options);
  macs.push(it.mac);
  const run = it.checkIn;
  it.checkIn = async (...args) => {
    know(it);
    const exit = await run(...args);
    know(it);
    return exit;
  };
  await it.settle();
  await course(it);
  know(it);
  said.push(...it.lines.map((line) => JSON.stringify(line)), ...it.mac.runner.lines, JSON.stringify(it.status()));
  return it;
}

const rotateAgain = async (it: Given): Promise<void> => {
  it.pass(day + 60);
  await it.order();
  await it.checkIn();
};

/** By the clock of the disk, less what it may round. */
const began = Date.now() - 2000;
const isSince = (file: string, time: number): boolean => (statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0) >= time;

beforeAll(async () => {
  one = await live({}, async (it) => {
    await rotateAgain(it);
    await it.disclose();
    it.request('rotate', 'asked-here');
    await it.checkIn();
    await it.custody.endHold({ macId: await it.macId(), actor: 'ada', because: 'not-me', reason: 'this was not me' });
    it.request('rotate', 'asked-again');
    await it.checkIn();
    it.pass(day + 60);
    await it.checkIn();
    // A proof by grant, on another build.
    it.mac.updateMacOS('26.7', '25H1');
    it.mac.boot();
    await it.checkIn();
    it.pass(day + 700);
    await it.checkIn();
    it.request('rotate', 'asked-last');
    await it.checkIn();
  });
  for (const [name, when] of [
    [/fdesetup ended/, 'after'],
    [/start fdesetup/, 'after'],
    [/ask deliver/, 'before'],
    [/ask begin/, 'after'],
  ] as const)
    await live({ settings: { custody: name.source.includes('begin') ? 'keychain' : 'server' } }, async (it) => {
      await it.order();
      await it.checkInAndDie({ name, when });
      it.pass(120);
      await it.checkIn();
      await rotateAgain(it);
    });
  for (const quirk of ['refuses', 'prints-garbage', 'truncated', 'crashes-after', 'fails-99', 'no-escrow-file'] as const)
    await live({}, async (it) => {
      it.mac.setChangeQuirk(quirk);
      await it.order();
      await it.checkIn();
      it.mac.setChangeQuirk('works');
      it.pass(120);
      await it.checkIn();
      it.pass(700);
      await it.checkIn();
    });
  await live({ settings: { custody: 'keychain' } }, async (it) => {
    await rotateAgain(it);
    await rotateAgain(it);
  });
  await live({ escrow: 'foreign' }, async (it) => {
    it.mac.mdmRotates();
    await it.checkIn();
  });
  await live({}, async (it) => {
    it.network.cut();
    await it.checkIn();
    it.network.mend();
    it.pass(60);
    await it.checkIn();
  });
});

/** Everything on the Macs but their own disks, which is where the output file of an unresolved change may still lie. */
const onTheMacs = (): string[] => macs.flatMap((mac) => places.flatMap((place) => filesUnder(mac.path(place))));

describe('the search', () => {
  test('knows many keys and looks into many files', () => {
    expect(keys.size).toBeGreaterThan(20);
    expect(onTheMacs().some((file) => file.endsWith('journal.json'))).toBe(true);
    expect(onTheMacs().some((file) => file.includes('/results/'))).toBe(true);
    expect(postgres !== null || filesUnder(one.dir).some((file) => /\.sqlite/.test(file) || file.endsWith('.db'))).toBe(true);
    expect(said.length).toBeGreaterThan(200);
  });

  test('finds a planted key in each of its forms: it can fail', () => {
    const [key = ''] = keys;
    const folder = scratch('planted');
    const file = join(folder, 'a file');
    for (const form of formsOf(key)) {
      writeFileSync(file, Buffer.concat([Buffer.from('{"x":"'), form, Buffer.from('"}')]));
      expect([form.toString('latin1'), findKeys([key], filesUnder(folder)).length]).toEqual([form.toString('latin1'), 1]);
    }
    for (const offset of [0, 1, 2, 3, 4, 5]) {
      writeFileSync(file, Buffer.concat([Buffer.alloc(offset, 'x'), Buffer.from(key), Buffer.alloc(7, 'y')]).toString('base64'));
      expect([offset, findKeys([key], [file]).length]).toEqual([offset, 1]);
    }
    writeFileSync(file, key.slice(0, -1));
    expect(findKeys([key], [file])).toEqual([]);
  });

  test('finds a key that is planted where the agent and the backend write', () => {
    const [key = ''] = keys;
    const [mac] = macs;
    const planted = [mac?.path(`${state}/results/planted.json`) ?? '', join(one.dir, 'planted.log')];
    for (const path of planted) writeFileSync(path, JSON.stringify({ says: `it was ${key}` }), { mode: 0o600 });
    expect(
      findKeys(keys, [...onTheMacs(), ...filesUnder(one.dir)])
        .map(({ file }) => file)
        .sort(),
    ).toEqual([...planted].sort());
    for (const path of planted) rmSync(path);
  });
});

describe('a recovery key lies nowhere in plain text', () => {
  test('on the Macs: journal, results, status, logs, notes, temporary folders', () => {
    // crashes-after printed nothing; every output file that was left has been resolved or held no key that is still valid.
    expect(findKeys(keys, onTheMacs()).filter(({ file }) => !/\/out\/[0-9a-f-]{36}\.out$/.test(file))).toEqual([]);
  });

  test('in no output file of a rotation that has ended', () => {
    const left = macs.flatMap((mac) => {
      const journal = JSON.parse(readFileSync(mac.path(`${state}/journal.json`), 'utf8')) as { rotation: { id: string } | null };
      return filesUnder(mac.path(`${state}/out`)).filter((file) => !journal.rotation || !file.includes(journal.rotation.id));
    });
    expect(left).toEqual([]);
  });

  test('at the backend: database, its write-ahead log, settings, audit', async () => {
    expect(findKeys(keys, [...filesUnder(one.dir), await asFile(one.backend.paths.database, one.store)])).toEqual([]);
    const rows = await one.store.db.selectFrom('audit').selectAll().orderBy('seq').execute();
    expect(rows.length).toBeGreaterThan(50);
    const folder = scratch('audit');
    writeFileSync(join(folder, 'rows.json'), JSON.stringify(rows));
    expect(findKeys(keys, filesUnder(folder))).toEqual([]);
  });

  test('in no command line, no log line, no status', () => {
    expect(macs.flatMap((mac) => mac.state.leaks)).toEqual([]);
    const folder = scratch('said');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'lines'), said.join('\n'));
    expect(findKeys(keys, filesUnder(folder))).toEqual([]);
  });

  test('in no temporary folder of this process', () => {
    // Since these courses began: what other runs left there is theirs, and may be gigabytes.
    const ours = filesUnder(tmpdir()).filter((file) => !/fake-mac-/.test(file) && /sparekey|given-|keytar/.test(file) && isSince(file, began));
    expect(ours.length).toBeGreaterThan(5);
    expect(findKeys(keys, ours)).toEqual([]);
  });

  test('and is never argued with: no password either', () => {
    expect(said.join('\n')).not.toMatch(/[a-z]+'s (?:new )?password/);
  });
});
