import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { caseNames, seededBackend, timeCases } from '../scripts/bench-fleet.ts';
import { verifyAudit } from '../server/audit.ts';
import { scratch } from './scratch.ts';

test('the bench of the console seeds two fleets and times each case on both, and the audit of a seeded fleet is whole', async () => {
  const folder = scratch('bench');
  const [small, large] = [await seededBackend(join(folder, 'small.sqlite'), 20), await seededBackend(join(folder, 'large.sqlite'), 200)];
  const times = await timeCases(small, large, 1);
  expect(Object.keys(times)).toEqual([...caseNames]);
  for (const name of caseNames) expect(times[name].small > 0 && times[name].large > 0).toBe(true);
  expect((await verifyAudit(large.store)).ok).toBe(true);
  // The same seed, the same fleet.
  const again = await seededBackend(join(folder, 'again.sqlite'), 20);
  const serials = (backend: typeof small) => backend.store.db.selectFrom('fleet_row').select(['serial', 'name', 'custody']).orderBy('serial').execute();
  expect(await serials(again)).toEqual(await serials(small));
  for (const backend of [small, large, again]) await backend.store.close();
});
