import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { realDisk } from '../agent/disk.ts';
import { takeLock } from '../agent/lock.ts';
import { paths } from '../agent/paths.ts';
import { answer, ask, makeFolders, queueIsEmpty, readAnswer, readProgress, sayProgress, takeRequests } from '../agent/requests.ts';
import { scratch } from './scratch.ts';

function fresh() {
  const root = scratch();
  const disk = realDisk(root);
  makeFolders(disk);
  return { root, disk };
}

describe('requests in the queue', () => {
  test('are moved out before anything is done, answered, and gone', () => {
    const { disk } = fresh();
    ask(disk, { id: 'one', kind: 'rotate', reason: 'a test' });
    expect(queueIsEmpty(disk)).toBe(false);
    const { taken, refused } = takeRequests(disk);
    expect(disk.list(paths.queue)).toEqual([]);
    expect(refused).toEqual([]);
    expect(taken).toMatchObject([{ id: 'one', kind: 'rotate', reason: 'a test' }]);
    sayProgress(disk, taken, 'asking the backend');
    expect(readProgress(disk, 'one')).toBe('asking the backend');
    const [request] = taken;
    if (!request) throw new Error('nothing was taken');
    answer(disk, request, { exit: 0, says: 'done', fix: null, code: null });
    expect(queueIsEmpty(disk)).toBe(true);
    expect(readAnswer(disk, 'one')).toMatchObject({ id: 'one', exit: 0, says: 'done' });
    expect(disk.list(paths.results)).toEqual([]);
  });

  test('that kill the job three times are set aside as failed', () => {
    const { disk } = fresh();
    ask(disk, { id: 'bad', kind: 'check-in', reason: null });
    for (const run of [1, 2, 3]) expect([run, takeRequests(disk).taken.length]).toEqual([run, 1]);
    expect(takeRequests(disk)).toEqual({ taken: [], refused: ['bad'] });
    expect(disk.list(paths.failed)).toEqual(['bad.3.json']);
    expect(queueIsEmpty(disk)).toBe(true);
  });

  test.each([
    ['garbage', 'x.json', 'not json'],
    ['an unknown kind', 'x.json', JSON.stringify({ id: 'x', kind: 'erase', reason: null })],
    ['another id than its name', 'x.json', JSON.stringify({ id: 'y', kind: 'rotate', reason: null })],
    ['a strange name', 'a b;c', '{}'],
    ['too much', 'x.json', JSON.stringify({ id: 'x', kind: 'rotate', reason: 'r'.repeat(300) })],
  ])('with %s are set aside, so that the queue does not start the job for ever', (_name, file, text) => {
    const { root, disk } = fresh();
    writeFileSync(join(root, paths.queue, file), text, { mode: 0o600 });
    expect(takeRequests(disk).taken).toEqual([]);
    expect(queueIsEmpty(disk)).toBe(true);
    expect(disk.list(paths.failed)).toHaveLength(1);
  });
});

describe('one run at a time', () => {
  test('a second run is refused while the first one lives, and may run after it', () => {
    const { root } = fresh();
    const first = takeLock(root, { pid: 100, boot: 'b' }, () => true);
    expect(first).not.toBeNull();
    expect(takeLock(root, { pid: 101, boot: 'b' }, () => true)).toBeNull();
    first?.release();
    expect(takeLock(root, { pid: 101, boot: 'b' }, () => true)).not.toBeNull();
  });

  test.each<[string, string, boolean]>([
    ['whose process is dead', 'b', false],
    ['of an earlier boot session, though a process has its number now', 'earlier', true],
  ])('a lock %s does not stop anybody', (_name, boot, alive) => {
    const { root } = fresh();
    takeLock(root, { pid: 100, boot }, () => true);
    expect(takeLock(root, { pid: 101, boot: 'b' }, () => alive)).not.toBeNull();
  });

  test('a lock with garbage in it does not stop anybody', () => {
    const { root } = fresh();
    writeFileSync(join(root, paths.lock), '{', { mode: 0o600 });
    expect(takeLock(root, { pid: 101, boot: 'b' }, () => true)).not.toBeNull();
  });
});
