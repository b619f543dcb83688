import { chmodSync, existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { realDisk } from '../agent/disk.ts';
import { type Kept, openJournal, reckonServerTime, withCurrent } from '../agent/journal.ts';
import { paths } from '../agent/paths.ts';
import { mayTry } from '../agent/refusals.ts';
import { makeFolders } from '../agent/requests.ts';
import { scratch } from './scratch.ts';

const machine = { hardwareUuid: '5B0E6D0A-0000-4000-8000-000000000001', serial: 'C02TEST00001' };
const volume = '5B0E6D0A-0000-4000-8000-000000000002';
const file = (root: string) => join(root, paths.journal);

function fresh() {
  const root = scratch();
  const disk = realDisk(root);
  makeFolders(disk);
  return { root, disk, open: (m = machine, v = volume) => openJournal(disk, m, v, 'now') };
}

const kept = (id: string, more: Partial<Kept> = {}): Kept => ({
  envelopeId: id,
  envelope: 'AAAA',
  source: 'rotation',
  volume,
  madeAt: '2026-11-22T12:00:00.000Z',
  validated: 'unknown',
  rotationId: null,
  recordId: null,
  held: false,
  ...more,
});

const identity = {
  enrolmentId: 'e',
  way: 'profile' as const,
  certificatePem: 'a certificate',
  notAfter: '2027-11-22T12:00:00.000Z',
  enrolledAt: '2026-11-22T12:00:00.000Z',
  hardwareUuid: machine.hardwareUuid,
  profileCertificateDigest: null,
  keyAccount: 'identity:1',
  keyFile: null,
};

describe('the journal', () => {
  test('is written whole, for root alone, and found again', () => {
    const { root, open } = fresh();
    const first = open();
    expect(first.opened).toBe('new');
    first.write({ current: kept('a') });
    const again = open();
    expect(again.opened).toBe('as-it-was');
    expect(again.value.current?.envelopeId).toBe('a');
    expect(readdirSync(join(root, paths.state)).filter((name) => name.includes('journal'))).toEqual(['journal.json']);
  });

  test('of a newer agent is refused and not touched', () => {
    const { root, open } = fresh();
    const text = JSON.stringify({ version: 2, future: true });
    writeFileSync(file(root), text, { mode: 0o600 });
    expect(() => open()).toThrow(expect.objectContaining({ code: 'JOURNAL_TOO_NEW' }));
    expect(readFileSync(file(root), 'utf8')).toBe(text);
  });

  test.each([
    ['garbage', 'not json'],
    ['cut short', '{"version":1,"hardwareUuid":"5B'],
    ['of another shape', '{"version":1,"hardwareUuid":7}'],
    ['empty', ''],
  ])('that is %s is set aside, never deleted, and a new one starts', (_name, text) => {
    const { root, open } = fresh();
    writeFileSync(file(root), text, { mode: 0o600 });
    const journal = open();
    expect(journal.opened).toBe('unreadable-set-aside');
    expect(readFileSync(`${file(root)}.unreadable-now`, 'utf8')).toBe(text);
    expect(journal.value.current).toBeNull();
  });

  test('of other hardware is set aside with its identity', () => {
    const { root, open } = fresh();
    open().write({ current: kept('a'), identity });
    const moved = open({ ...machine, hardwareUuid: '5B0E6D0A-0000-4000-8000-00000000000F' });
    expect(moved.opened).toBe('other-machine-set-aside');
    expect(moved.value).toMatchObject({ current: null, identity: null });
    expect(existsSync(`${file(root)}.other-mac-now`)).toBe(true);
  });

  test('of another volume of the same Mac is set aside; the identity stays, and what limits tries and changes', () => {
    const { open } = fresh();
    const refusals = [{ id: 'a', at: 1, settled: true }];
    const pace = { changes: [{ at: 1 }], failed: { at: 1, build: 'b', times: 2 }, build: 'b', proofDue: 'build' as const };
    open().write({ current: kept('a'), identity, refusals, pace });
    const other = open(machine, '5B0E6D0A-0000-4000-8000-00000000000E');
    expect(other.opened).toBe('other-volume-set-aside');
    expect(other.value).toMatchObject({ current: null, identity: { enrolmentId: 'e' }, refusals, pace });
  });

  test.each([
    ['damaged', (root: string): void => writeFileSync(file(root), '{"version":1,', { mode: 0o600 }), volume],
    ['of another volume', (): void => undefined, '5B0E6D0A-0000-4000-8000-00000000000E'],
  ])('that is %s: a run that dies while it sets it aside forgets neither which keys were tried nor who this Mac is', (name, harm, present) => {
    for (let most = 0; ; most++) {
      const { root, disk, open } = fresh();
      const refusals = ['a', 'b'].map((id) => ({ id, at: 1, settled: true }));
      open().write({ current: kept('a'), identity, refusals });
      harm(root);
      let done = 0;
      const until =
        <Given extends unknown[]>(act: (...given: Given) => void) =>
        (...given: Given): void => {
          if (++done > most) throw new Error('dead');
          act(...given);
        };
      const dying = { ...disk, replace: until(disk.replace), rename: until(disk.rename) };
      let died = false;
      try {
        openJournal(dying, machine, present, 'now');
      } catch {
        died = true;
      }
      const next = open(machine, present).value;
      expect([most, next.refusals.length]).toEqual([most, 2]);
      if (name !== 'damaged') expect(next.identity?.enrolmentId).toBe('e');
      expect(readdirSync(join(root, paths.state)).filter((one) => /^journal\.json\./.test(one)).length).toBeGreaterThan(0);
      if (!died) return;
    }
  });

  test('that finds no room for two stays as it is, and the run ends: the tries of the day are not forgotten', () => {
    const { root, disk, open } = fresh();
    writeFileSync(file(root), 'not json', { mode: 0o600 });
    const full = (room: number) => ({
      ...disk,
      replace: (...given: Parameters<typeof disk.replace>) => {
        room -= 1;
        if (room < 0) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
        disk.replace(...given);
      },
    });
    const aside = () => readdirSync(join(root, paths.state)).filter((one) => one.startsWith('journal.json.'));
    expect(() => openJournal(full(0), machine, volume, '1')).toThrow(expect.objectContaining({ code: 'JOURNAL_NOT_WRITTEN' }));
    expect(aside()).toEqual([]);
    // Room for one, several times: one copy, not one for each run.
    for (const stamp of ['2', '3', '4'])
      expect(() => openJournal(full(1 - aside().length), machine, volume, stamp)).toThrow(expect.objectContaining({ code: 'JOURNAL_NOT_WRITTEN' }));
    expect(aside()).toEqual(['journal.json.unreadable-2']);
    expect(readFileSync(file(root), 'utf8')).toBe('not json');
    expect(open().value.refusals).toHaveLength(2);
    expect(readFileSync(join(root, paths.state, 'journal.json.unreadable-2'), 'utf8')).toBe('not json');
  });

  test('is set aside also where what was set aside before was no journal at all', () => {
    const { root, open } = fresh();
    symlinkSync('/etc/hosts', file(root));
    expect(open().opened).toBe('unreadable-set-aside');
    writeFileSync(file(root), 'not json', { mode: 0o600 });
    expect(open().opened).toBe('unreadable-set-aside');
  });

  test('whose folder cannot be synced once the new one is there keeps the copy of the old one', () => {
    const { root, disk, open } = fresh();
    writeFileSync(file(root), 'not json', { mode: 0o600 });
    const dying = {
      ...disk,
      replace: (...given: Parameters<typeof disk.replace>) => {
        disk.replace(...given);
        if (given[0] === paths.journal) throw Object.assign(new Error('input/output error'), { code: 'EIO' });
      },
    };
    expect(() => openJournal(dying, machine, volume, '1')).toThrow(expect.objectContaining({ code: 'JOURNAL_NOT_WRITTEN' }));
    expect(readFileSync(`${file(root)}.unreadable-1`, 'utf8')).toBe('not json');
    expect(open().value.refusals).toHaveLength(2);
    expect(readFileSync(`${file(root)}.unreadable-1`, 'utf8')).toBe('not json');
  });

  test('that others may read is refused', () => {
    const { root, open } = fresh();
    open().write({ current: kept('a') });
    chmodSync(file(root), 0o644);
    expect(() => open()).toThrow(expect.objectContaining({ code: 'JOURNAL_NOT_OURS' }));
  });

  test('that cannot be written changes nothing, in memory either', () => {
    const { root, disk, open } = fresh();
    const journal = open();
    journal.write({ current: kept('a') });
    const full = openJournal(
      {
        ...disk,
        replace: () => {
          throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
        },
      },
      machine,
      volume,
      'now',
    );
    expect(() => full.write({ current: kept('b') })).toThrow(expect.objectContaining({ code: 'JOURNAL_NOT_WRITTEN', detail: 'ENOSPC' }));
    expect(full.value.current?.envelopeId).toBe('a');
    expect(JSON.parse(readFileSync(file(root), 'utf8')).current.envelopeId).toBe('a');
  });

  test('never grows over 256 KiB', () => {
    const journal = fresh().open();
    expect(() => journal.write({ outbox: [kept('x', { envelope: 'A'.repeat(257 * 1024) })] })).toThrow(
      expect.objectContaining({ code: 'JOURNAL_NOT_WRITTEN' }),
    );
  });
});

describe('envelopes leave the journal', () => {
  const journal = (current: Kept | null, previous: Kept[] = []) => ({ ...fresh().open().value, current, previous });
  test('only when a later key is held and answered true', () => {
    const unproved = withCurrent(journal(kept('b', { held: true }), [kept('a')]), kept('c', { held: true }));
    expect([unproved.current, ...unproved.previous].map((one) => one?.envelopeId)).toEqual(['c', 'b', 'a']);
    const proved = withCurrent(journal(kept('b'), [kept('a')]), kept('c', { held: true, validated: 'true' }));
    expect([proved.current, ...proved.previous].map((one) => one?.envelopeId)).toEqual(['c', 'b']);
  });
  test('and a receipt without proof is not enough, nor a proof without receipt', () => {
    expect(withCurrent(journal(kept('b'), [kept('a')]), kept('c', { validated: 'true' })).previous).toHaveLength(2);
    expect(withCurrent(journal(kept('b'), [kept('a')]), kept('c', { held: true, validated: 'unknown' })).previous).toHaveLength(2);
  });
});

describe('the budget of wrong keys (gate 3)', () => {
  const hour = 60 * 60 * 1000;
  const now = 100 * 24 * hour;
  const spent = (...ago: [number, boolean][]) => ({
    ...fresh().open().value,
    refusals: ago.map(([hours, settled], id) => ({ id: String(id), at: now - hours * hour, settled })),
  });
  test.each<[string, [number, boolean][], boolean, boolean]>([
    ['nothing was tried', [], true, true],
    ['one today', [[1, true]], true, true],
    [
      'two within 24 hours',
      [
        [1, true],
        [23, true],
      ],
      true,
      false,
    ],
    [
      'two, one of them longer ago',
      [
        [1, true],
        [25, true],
      ],
      true,
      true,
    ],
    [
      'five within 7 days',
      [
        [1, true],
        [30, true],
        [60, true],
        [90, true],
        [120, true],
      ],
      true,
      false,
    ],
    ['one outside a settled session, and none is settled now', [[1, false]], false, false],
    ['one outside a settled session, and one is settled now', [[1, false]], true, true],
    ['one in a settled session, and none is settled now', [[1, true]], false, true],
  ])('%s', (_name, ago, settled, may) => {
    expect(mayTry(spent(...ago), now, settled)).toBe(may);
  });
});

describe('the server’s time, as the Mac reckons it', () => {
  const clock = { serverTime: 1_000_000, boot: 'one', uptime: 100 };
  test('goes on by uptime in the same boot session', () => {
    expect(reckonServerTime({ ...fresh().open().value, clock }, 'one', 160)).toBe(1_060_000);
  });
  test('stands still after a reboot until the server answers, so that no budget comes back too early', () => {
    expect(reckonServerTime({ ...fresh().open().value, clock }, 'two', 5000)).toBe(1_000_000);
  });
  test('is not known before the first answer', () => {
    expect(reckonServerTime(fresh().open().value, 'one', 1)).toBeNull();
  });
});
