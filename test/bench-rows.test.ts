import { readdirSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { growthRows } from '../scripts/bench-growth.ts';
import { quantile, type Row, table, told } from '../scripts/bench-rows.ts';
import { scratch } from './scratch.ts';

const rows: Row[] = [
  { name: 'a share', ratio: 0.504, aim: 0.5, better: 'more', words: 'one' },
  { name: 'a share that is missed', ratio: 0.4999, aim: 0.5, better: 'more', words: 'two' },
  { name: 'a multiple', ratio: 1.3, aim: 1.3, better: 'less', words: 'three' },
  { name: 'a multiple that is missed', ratio: 1.301, aim: 1.3, better: 'less', words: 'four' },
];

test('a row says whether its aim is met before its ratio is rounded, whichever way is better', () => {
  expect(told(rows)).toEqual([
    { name: 'a share', ratio: 0.5, aim: 0.5, met: true },
    { name: 'a share that is missed', ratio: 0.5, aim: 0.5, met: false },
    { name: 'a multiple', ratio: 1.3, aim: 1.3, met: true },
    { name: 'a multiple that is missed', ratio: 1.3, aim: 1.3, met: false },
  ]);
  const lines = table(rows).trimEnd().split('\n');
  expect(lines).toHaveLength(5);
  expect(lines[2]).toMatch(/^a share that is missed\s+0\.50\s+≥ 0\.5\s+missed\s+two$/);
});

test('a quantile lies between the two nearest', () => {
  expect([quantile([3, 1, 2], 0.5), quantile([1, 2], 0.5), quantile([1, 2, 3, 4, 5], 0.95), quantile([7], 0.95)]).toEqual([2, 1.5, 4.8, 7]);
});

test('a part that could not be measured has a row that says why, and is not met', () => {
  const unmeasured = [...rows.slice(0, 1), { name: 'agent', why: 'the Mac could not enrol' }];
  expect(told(unmeasured)[1]).toEqual({ name: 'agent', ratio: null, aim: null, met: false, why: 'the Mac could not enrol' });
  expect(table(unmeasured).trimEnd().split('\n')[2]).toMatch(/^agent\s+-\s+missed\s+not measured: the Mac could not enrol$/);
});

test('the quick form of the growth rows multiplies a fleet, asks both sizes everything, and gives a row for each', async () => {
  const said: string[] = [];
  const fleets = scratch('growth');
  const made = await growthRows({ quick: true, growth: 100, folder: '', fleets, say: (progress) => void said.push(progress) });
  const searches = ['serial', 'user', 'words', 'namesakes', 'common', 'nothing'].map((one) => `growth-search-${one}`);
  expect(made.map(({ name }) => name)).toEqual(['growth-check-in', 'growth-delivery', 'growth-fleet-page', ...searches, 'growth-bytes']);
  for (const row of made) expect(row.ratio).toBeGreaterThan(0);
  expect(made.at(-1)?.words).toMatch(/^10 Macs \d+ bytes each, 100 Macs \d+ bytes each; 10 keys each$/);
  expect(said.length).toBeGreaterThan(5);
  // They stay where they were asked to, and nothing is left half made.
  expect(readdirSync(fleets).filter((name) => /\.sqlite$|making/.test(name))).toEqual(['1-times-10.sqlite', '10-times-10.sqlite', 'seeded-10.sqlite']);
});
