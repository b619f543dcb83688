import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { realDisk } from '../agent/disk.ts';
import { paths } from '../agent/paths.ts';
import { given } from './given.ts';
import { type Given, runCourse, type Scenario } from './power/course.ts';
import { type Keeping, macWith, reasons } from './power/scenarios.ts';
import { sweepPower } from './power/sweep.ts';
import { type Survivors, type VolatileOptions, volatile } from './power/volatile.ts';
import { scratch } from './scratch.ts';

/*
 * The power goes. What the agent has synced is there afterwards, what it has not may be gone, whole or in part; the whole
 * sweep is `npm run sweep`.
 */

const slow = 180_000;

/** A root with the agent's folders, and a disk whose calls are followed. */
function aDisk(options: VolatileOptions = {}) {
  const root = scratch('volatile');
  mkdirSync(join(root, paths.outputs), { recursive: true, mode: 0o700 });
  mkdirSync(join(root, paths.taken), { mode: 0o700 });
  const layer = volatile(root, options);
  const files = layer.calls;
  const at = (name: string): string => join(root, paths.state, name);
  const flags = { create: 0o101 | 0o200, folder: 0o200000 };
  return {
    root,
    layer,
    disk: realDisk(root, files),
    at,
    write(name: string, text: string, sync: 'synced' | 'not synced'): void {
      const fd = files.openSync(at(name), flags.create, 0o600);
      files.writeSync(fd, Buffer.from(text));
      if (sync === 'synced') files.fsyncSync(fd);
      files.closeSync(fd);
    },
    syncFolder(name = ''): void {
      const fd = files.openSync(at(name), flags.folder);
      files.fsyncSync(fd);
      files.closeSync(fd);
    },
    after(survivors: Survivors): Record<string, string> {
      layer.cut(survivors).apply();
      const names = readdirSync(at('')).filter((name) => name.includes('.'));
      return Object.fromEntries(names.sort().map((name) => [name, readFileSync(at(name), 'utf8')]));
    },
  };
}

describe('the disk that keeps what was synced', () => {
  test('a file that was written and not synced is empty, or whole, or cut off, or zeros, once its name is durable', () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 60; seed++) {
      const it = aDisk();
      it.write('a.txt', 'abcd', 'not synced');
      it.syncFolder();
      seen.add(it.after({ seed })['a.txt'] ?? 'gone');
    }
    for (const one of ['', 'abcd', 'ab', '\0\0\0\0']) expect([...seen]).toContain(one);
    expect(seen.has('gone')).toBe(false);
    const none = aDisk();
    none.write('a.txt', 'abcd', 'not synced');
    none.syncFolder();
    expect(none.after('none')).toEqual({ 'a.txt': '' });
  });

  test('a synced file whose folder was not synced may have no name', () => {
    const it = aDisk();
    it.write('a.txt', 'abcd', 'synced');
    expect(it.after('none')).toEqual({});
    const other = aDisk();
    other.write('a.txt', 'abcd', 'synced');
    expect(other.after('all')).toEqual({ 'a.txt': 'abcd' });
  });

  test('what was synced, and its name too, is there', () => {
    for (const survivors of ['none', 'all', { seed: 1 }, { seed: 2 }] as const) {
      const it = aDisk();
      it.write('a.txt', 'abcd', 'synced');
      it.syncFolder();
      expect(it.after(survivors)).toEqual({ 'a.txt': 'abcd' });
    }
  });

  test('what was appended since the last sync may be gone; what was there before is not', () => {
    for (let seed = 0; seed < 30; seed++) {
      const it = aDisk();
      it.disk.createEmpty(`${paths.outputs}/x.out`);
      writeFileSync(it.at('out/x.out'), 'first', { flag: 'a' });
      it.disk.sync(`${paths.outputs}/x.out`);
      writeFileSync(it.at('out/x.out'), ' then', { flag: 'a' });
      it.layer.cut({ seed }).apply();
      expect(readFileSync(it.at('out/x.out'), 'utf8')).toMatch(/^first/);
    }
  });

  test('a rename that was not synced has happened or has not, and may have happened without the content', () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 40; seed++) {
      const it = aDisk();
      it.write('a.txt', 'old', 'synced');
      it.syncFolder();
      it.write('b.new', 'new', 'not synced');
      it.layer.calls.renameSync(it.at('b.new'), it.at('a.txt'));
      seen.add(it.after({ seed })['a.txt'] ?? 'gone');
    }
    for (const one of ['old', 'new', '', '\0\0\0']) expect([...seen]).toContain(one);
    expect(seen.has('gone')).toBe(false);
  });

  test('what others wrote is never durable by itself', () => {
    const it = aDisk();
    it.disk.createEmpty(`${paths.outputs}/x.out`);
    writeFileSync(it.at('out/x.out'), 'a key', { flag: 'a' });
    writeFileSync(it.at('lock.1'), 'mine');
    expect(it.layer.unsynced()).toEqual([`${paths.outputs}/x.out`, `${paths.state}/lock.1`]);
    expect(it.after('none')).toEqual({});
    expect(readFileSync(it.at('out/x.out'), 'utf8')).toBe('');
  });
});

describe('the agent’s disk', () => {
  test('a file that was replaced is the old one or the new one, whole, whatever survives and wherever the power goes', () => {
    const count = (): number => {
      let calls = 0;
      const it = aDisk({ before: () => void calls++ });
      it.disk.replace(paths.journal, 'old');
      calls = 0;
      it.disk.replace(paths.journal, 'the new one');
      return calls;
    };
    for (let at = 0; at <= count(); at++) {
      for (const survivors of ['none', 'all', ...[1, 2, 3, 4, 5, 6].map((seed) => ({ seed }))] as Survivors[]) {
        let left = Number.POSITIVE_INFINITY;
        const it = aDisk({
          before() {
            if (left-- <= 0) throw new Error('no power');
          },
        });
        it.disk.replace(paths.journal, 'old');
        left = at;
        try {
          it.disk.replace(paths.journal, 'the new one');
        } catch {
          // What a dead process would tidy up stays.
        }
        expect([at, ['old', 'the new one'].includes(it.after(survivors)['journal.json'] ?? '')]).toEqual([at, true]);
      }
    }
  });

  test('a folder that was made is there after a power cut, and what was synced in it', () => {
    const it = aDisk();
    it.disk.makeFolder(paths.queue, 0o700);
    it.disk.replace(`${paths.queue}/asked.json`, '{}');
    it.layer.cut('none').apply();
    expect(it.disk.list(paths.queue)).toEqual(['asked.json']);
  });

  test('what is moved to another folder is never in neither of them', () => {
    for (let at = 0; at <= 3; at++) {
      let left = Number.POSITIVE_INFINITY;
      const it = aDisk({
        before() {
          if (left-- <= 0) throw new Error('no power');
        },
      });
      it.disk.replace(`${paths.outputs}/asked.json`, '{}');
      left = at;
      try {
        it.disk.rename(`${paths.outputs}/asked.json`, `${paths.taken}/asked.json`);
      } catch {
        // The power is gone.
      }
      it.layer.cut('none').apply();
      expect([at, existsSync(it.at('out/asked.json')) || existsSync(it.at('taken/asked.json'))]).toEqual([at, true]);
    }
  });
});

const owing = (keeping: Keeping, more: Partial<Scenario> = {}): Scenario => ({
  async prepare() {
    const it = await macWith('foreign', keeping);
    await reasons.ordered(it);
    return it;
  },
  ...more,
});

const outputOf = (it: Given): string => it.mac.path(`${paths.outputs}/${readdirSync(it.mac.path(paths.outputs)).find((name) => name.endsWith('.out'))}`);
const cutOff = (length: (text: string, key: string) => number) => (it: Given) => {
  const text = readFileSync(outputOf(it), 'utf8');
  writeFileSync(outputOf(it), text.slice(0, length(text, it.mac.recoveryKey ?? '')));
};

describe('a power cut between the change and the receipt, under somebody else’s payload', () => {
  test.each<[string, 'held' | 'lost', (it: Given) => void]>([
    ['R2: the output survived', 'held', () => undefined],
    ['R2: the output is cut off behind the key', 'held', cutOff((text, key) => text.indexOf(key) + key.length + 3)],
    ['R9: the output is cut off in the key: lost on both sides, with the fix named', 'lost', cutOff((text, key) => text.indexOf(key) + 20)],
    ['R9: the output is as many zeros: lost on both sides, with the fix named', 'lost', (it) => writeFileSync(outputOf(it), Buffer.alloc(400))],
    ['R11: the journal is cut off, and the output survived', 'held', (it) => writeFileSync(it.mac.path(paths.journal), '{"version":1,"hardw')],
  ])(
    '%s',
    async (_, end, afterwards) => {
      const ended = await runCourse(owing('keychain', { afterwards }), { at: /^fdesetup ends/, survivors: 'all' });
      expect(ended).toMatchObject({ end, wasLost: end === 'lost', bad: [] });
    },
    slow,
  );
});

describe('the sweep', () => {
  test.each([
    ['syncs no file', 'about files'],
    ['syncs no folder', 'about folders'],
  ] as const)(
    'finds a disk that %s',
    async (_, lies) => {
      const ended = await runCourse(owing('server', { disk: { lies } }), { at: /^ask deliver/, survivors: 'none' });
      expect(ended.bad).toContain('lost outside the one window that there may be');
    },
    slow,
  );

  test(
    'in a sample of its quick form: no key is lost but in the one window, and that is said on both sides',
    async () => {
      const rows = await sweepPower({ quick: true, most: 1, seed: 20261122, progress: () => undefined });
      expect(rows.flatMap((row) => row.bad)).toEqual([]);
      expect(rows.filter((row) => row.doubtful > 0)).toEqual([]);
      expect(rows.filter((row) => row.lost > 0).every((row) => row.name.endsWith('(allowedLost)'))).toBe(true);
      expect(rows.reduce((sum, row) => sum + row.points, 0)).toBe(rows.length);
      expect(rows.length).toBe(3);
    },
    slow,
  );
});

test('the lock of a run that had no power any more stops nobody, whatever is left of it', async () => {
  const it = await given();
  await it.checkIn();
  const boot = it.mac.state.boot.session.toUpperCase();
  it.mac.boot();
  for (const text of ['', '{"pid":', '\0\0\0\0\0\0', JSON.stringify({ pid: process.ppid, boot })]) {
    writeFileSync(it.mac.path(paths.lock), text, { mode: 0o600 });
    expect([text, await it.checkIn()]).toEqual([text, 0]);
  }
});
