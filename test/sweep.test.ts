import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { realDisk } from '../agent/disk.ts';
import { alive } from './fake-mac/state-file.ts';
import { countWrongKey, tooManyWrongKeys } from './fake-mac/wrong-keys.ts';
import { scratch } from './scratch.ts';
import type { Course, Fault } from './sweep/course.ts';
import { readPoint } from './sweep/dying.ts';
import { type KillOptions, sweepKills } from './sweep/kills.ts';
import { addRows, asJson, emptyRow, tableOf, totalsOf } from './sweep/result.ts';
import { scenarios } from './sweep/scenarios.ts';
import { quickFolder } from './sweep/shards.ts';
import { closeAll } from './together.ts';
import { until } from './waiting.ts';

/*
 * `npm run sweep` in its quick form, and that it finds what is wrong: a sweep that cannot fail shows nothing.
 */

afterAll(closeAll);

const row = (name: string) => scenarios.find((one) => one.name === name) ?? scenarios[0];
const sweep = (name: string, options: Partial<KillOptions>) => {
  const scenario = row(name);
  if (!scenario) throw new Error('there are no rows');
  return sweepKills(scenario, { first: null, second: null, seed: 1, ...options });
};
const well = { lost: 0, doubtful: 0, bad: [] };

describe('the agent dies at any instruction, and once more while it recovers', () => {
  const rows: [name: string, deaths: number][] = [
    ['used', 1],
    ['interrupted', 2],
    ['enrolment escrow', 1],
    ['adopted, nobody has the key', 2],
    ['ordered, foreign payload, slow fdesetup', 1],
  ];
  test.each(rows)('a sample of “%s”: the backend has the key that opens the disk, both sides agree, nothing is left over', async (name, deaths) => {
    const swept = await sweep(name, { first: 1, second: deaths - 1 });
    expect(swept).toMatchObject({ points: deaths, ...well });
    expect(swept.runs.reduce((sum, count) => sum + (count ?? 0), 0)).toBe(deaths);
  });

  test('of the hundreds of such moments of “ordered”, each call to the file system by itself, a sample too', async () => {
    const courses: Course[] = [];
    const swept = await sweep('ordered', { first: 1, second: 1, each: (course) => void courses.push(course) });
    expect(swept).toMatchObject({ points: 2, ...well });
    const names = courses[0]?.runs[0]?.effects.map(({ name }) => name) ?? [];
    expect(names.length).toBeGreaterThan(150);
    for (const kind of ['create', 'write', 'fsync', 'rename', 'unlink', 'mkdir', 'run', 'start fdesetup', 'fdesetup ended', 'keychain', 'ask deliver'])
      expect([kind, names.some((name) => name.startsWith(kind))]).toEqual([kind, true]);
  });

  test('dead with the new key sealed, under somebody else’s payload: macOS’s other file is our own doing, and custody is `held` again', async () => {
    const sealed = await sweep('disclosed, foreign payload', {
      second: 0,
      where: ({ name }, at, all) => name === 'ask deliver' && all.findIndex((one) => one.name === name) === at,
    });
    // Before the delivery, and after the last effect of all.
    expect(sealed).toMatchObject({ points: 2, ...well });
    expect(sealed.runs[1]).toBe(2);
  });
});

describe('what is wrong is found', () => {
  test('an agent that forgets fdesetup’s output before the new key is kept anywhere loses it', async () => {
    const forgetful: Fault = (world, it) => {
      const disk = world.disk ?? realDisk(it.mac.root);
      return {
        ...world,
        disk: {
          ...disk,
          read(path, most) {
            const bytes = disk.read(path, most);
            if (bytes && path.endsWith('.out')) disk.remove(path);
            return bytes;
          },
        },
      };
    };
    const afterChange: KillOptions['where'] = ({ name }, at, all) => {
      const change = all.findIndex((one) => one.name === 'fdesetup ended');
      return name.startsWith('rename') && at > change && at < change + 10;
    };
    const swept = await sweep('ordered, foreign payload', { first: 1, second: 0, fault: forgetful, where: afterChange });
    expect(swept.lost).toBeGreaterThan(0);
    expect(swept.told?.[0]).toMatch(/lost.*npm run sweep -- --only 'ordered, foreign payload' --point \d+b/);
  });

  test('gate 3: a wrong key more than 2 in any 24 hours or 5 in any 7 days', async () => {
    const hours = (...all: number[]): number[] => all.map((one) => one * 3600_000);
    expect(tooManyWrongKeys(hours(0, 1, 24, 25, 168))).toEqual([]);
    expect(tooManyWrongKeys(hours(0, 1, 23.9))).toEqual(['3 wrong keys were tried in 24 hours, and 2 are allowed']);
    expect(tooManyWrongKeys(hours(0, 1, 30, 31, 60, 167))).toEqual(['6 wrong keys were tried in 7 days, and 5 are allowed']);
    expect(tooManyWrongKeys(hours(0, 1, 30, 31, 60, 168, 168.5))).toEqual(['6 wrong keys were tried in 7 days, and 5 are allowed']);
    // An agent whose every look at its Mac costs a wrong key.
    const guessing: Fault = (world, it) => {
      for (let tries = 0; tries < 3; tries++) it.mac.change((state) => countWrongKey(state, it.mac.now));
      return world;
    };
    const swept = await sweep('ordered', { first: 0, second: 0, fault: guessing });
    expect(swept.bad.join()).toMatch(/wrong keys were tried in 24 hours, and 2 are allowed/);
  });

  test('an agent that leaves dead keys in the keychain is found at rest with them', async () => {
    const keeping: Fault = (world) => ({ ...world, ...(world.secrets ? { secrets: { ...world.secrets, remove: async () => true } } : {}) });
    const swept = await sweep('ordered, key in the keychain', { first: 0, second: 0, fault: keeping });
    expect(swept.bad.join()).toMatch(/left over in the keychain/);
  });
});

test.each(['SIGTERM', 'SIGKILL'] as const)('a sweep that is ended by %s leaves no process and no folder', async (signal) => {
  const folder = scratch('sweep-ends');
  const shards = JSON.stringify(new URL('./sweep/shards.ts', import.meta.url).href);
  const [part, whole] = [join(folder, 'part.mjs'), join(folder, 'whole.mjs')];
  writeFileSync(part, `import { endWithParent } from ${shards}; endWithParent(); process.send({ done: process.pid, all: 0 }); setInterval(() => 0, 1000);`);
  writeFileSync(
    whole,
    `import { endBySignals, runParts } from ${shards}; endBySignals();
    await runParts(${JSON.stringify(part)}, [{ name: 'a part', args: [] }], 1, (pid) => console.log(pid));`,
  );
  const sweeping = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', whole], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [said] = (await once(sweeping.stdout, 'data')) as [Buffer];
  const folders = (): string[] => readdirSync(quickFolder()).filter((name) => name.startsWith(`sweep-${sweeping.pid}-`));
  expect([alive(Number(said)), folders().length]).toEqual([true, 1]);
  sweeping.kill(signal);
  await once(sweeping, 'exit');
  await until(() => !alive(Number(said)) && folders().length === 0);
  expect([alive(Number(said)), folders()]).toEqual([false, []]);
});

describe('the table', () => {
  const two = [
    { ...emptyRow('used'), points: 3, runs: [0, 2, 1], seconds: 5.2 },
    { ...emptyRow('used'), points: 1, lost: 1, bad: [], runs: [0, 0, 0, 1], told: ['how'], seconds: 2.4 },
    { ...emptyRow('aged'), points: 1, doubtful: 1 },
  ];
  test('adds the parts of one row, and shows the most runs and how often each number', () => {
    const rows = addRows(two);
    expect(rows).toMatchObject([
      { name: 'used', points: 4, lost: 1, told: ['how'] },
      { name: 'aged', points: 1, doubtful: 1 },
    ]);
    expect(tableOf(rows).split('\n')[1]).toMatch(/^used +4 +1 +0 +0 +8 +3 +1: 2, 2: 1, 3: 1$/);
    expect(tableOf(rows).split('\n')[3]).toMatch(/^all +5 +1 +1 /);
  });
  test('counts a loss that is allowed, and said by both sides, apart from the others', () => {
    const rows = [{ ...emptyRow('a power cut (allowedLost)'), points: 2, lost: 1 }, ...two];
    expect(totalsOf(rows)).toMatchObject({ lost: 1, allowedLost: 1 });
    expect(tableOf(rows).split('\n').at(-1)).toMatch(/^all +7 +1 +1 /);
  });
  test('is one JSON object for programs', () => {
    expect(JSON.parse(asJson(addRows(two), { syscalls: null }))).toEqual({
      points: 5,
      lost: 1,
      allowedLost: 0,
      doubtful: 1,
      bad: 0,
      byReason: {
        used: { points: 4, lost: 1, doubtful: 0, bad: 0, runs: [0, 2, 1, 1], seconds: 8 },
        aged: { points: 1, lost: 0, doubtful: 1, bad: 0, runs: [], seconds: 0 },
      },
      syscalls: null,
    });
  });
  test('points are read as they are written', () => {
    expect([readPoint('85b'), readPoint('0a'), readPoint('85'), readPoint('b')]).toEqual([{ at: 85, when: 'before' }, { at: 0, when: 'after' }, null, null]);
  });
});
