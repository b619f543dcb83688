import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { adminMutations } from './admin-mutations.ts';
import { coexistenceMutations } from './coexistence-mutations.ts';
import { deployMutations } from './deploy-mutations.ts';
import { mutations as ofThePromise } from './mutations.ts';

const mutations = [...ofThePromise, ...coexistenceMutations, ...deployMutations];
const root = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

test.each([...mutations, ...adminMutations])('$breaks', ({ file, from, to, test: shownBy }) => {
  expect(read(file).split(from)).toHaveLength(2);
  expect(to).not.toBe(from);
  // The name stands in its file as a name: `npm run mutations` finds that very test. Where each rule has a case, the case does.
  expect(read(shownBy.file)).toContain(`'${shownBy.name.replace(/^L\d+: /, '').replace(/^help-desk: /, '%s: ')}'`);
});

test('each thing that the promise stands on is broken at least once, and docs/reliability.md tells what was seen', () => {
  const document = read('docs/reliability.md');
  for (const what of [
    'intent write',
    'output file',
    'receipt check',
    'hold',
    'once per boot',
    'machine binding',
    'audit in the transaction',
    'supersede, not overwrite',
    'wrong-key budget',
    'beside an MDM',
    'exports',
    'the MDM’s word',
    'the MDM’s hand',
    'rings',
    'connectors',
    'Crypt clients',
    'leaving',
    'package',
    'profiles',
    'proxies',
    'certificates',
    'backups',
    'upgrades',
    'doctor',
  ])
    expect(mutations.filter(({ breaks }) => breaks.startsWith(what)).length).toBeGreaterThan(0);
  for (const { breaks, test: shownBy } of mutations) {
    expect(document).toContain(breaks);
    expect(document).toContain(shownBy.name);
  }
});
