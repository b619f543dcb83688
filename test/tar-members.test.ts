import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { restore } from '../server/restore.ts';
import { openTar, unpackTar } from '../server/tar.ts';
import { scratch } from './scratch.ts';

/** Made as a backup is, and unpacked into a folder of its own. */
function through(names: readonly string[]): string {
  const folder = scratch();
  const made = openTar(join(folder, 'a.tar'));
  for (const name of names) made.add(name, Buffer.from('x'), 1);
  made.finish();
  const to = join(folder, 'to');
  mkdirSync(to, { mode: 0o700 });
  unpackTar(join(folder, 'a.tar'), to);
  return to;
}

test('a backup with a thousand parts of the audit, as a large fleet has after a year of taking them out, is unpacked', () => {
  const parts = Array.from({ length: 1001 }, (_, n) => `audit-archive/audit-${n * 1000 + 1}-${(n + 1) * 1000}.jsonl`);
  const to = through(['settings.json', ...parts]);
  expect(readdirSync(join(to, 'audit-archive'))).toHaveLength(1001);
});

test.each([[['a', 'a/b']], [['a/b', 'a']]])('%p: a file in the place of a folder is refused, whichever comes first', (names) => {
  expect(() => through(names)).toThrow('a file and as a folder');
});

test('the same file twice is refused', () => {
  expect(() => through(['a/b', 'a/b'])).toThrow('occurs twice');
});

test('what a restore leaves that a power cut has ended, with secrets in it, is removed by the next one', async () => {
  const parent = scratch();
  const { pid } = spawnSync('true');
  const left = join(parent, `.data.making-${pid}-0123abcd`);
  for (const one of [left, `${left}-abcdef`]) {
    mkdirSync(one);
    writeFileSync(join(one, 'secrets.json'), '{}');
  }
  mkdirSync(join(parent, 'other'));
  const again = restore({ file: join(parent, 'none.tar'), dir: join(parent, 'data'), revocationsFile: null, spreadDays: 7, actor: 'ada' });
  await expect(again).rejects.toThrow('none.tar');
  expect(readdirSync(parent)).toEqual(['other']);
});
