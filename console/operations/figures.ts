import { z } from 'zod';
import { firstOf, firstPage } from '../../server/fleet/figures.ts';
import { trends, trendsOf } from '../../server/fleet/trends.ts';
import { type AnyOperation, operation } from '../operation.ts';

export const figuresFirst = operation({
  name: 'figures.first',
  method: 'GET',
  path: '/v1/figures/first',
  says: 'Says what needs a person today, and the three figures: keys held, keys proved, hours for which shown keys are out.',
  permission: 'fleet.read',
  input: z.strictObject({ limit: z.int().min(1).max(200).default(50).describe('of what needs a person, how many at most') }),
  output: firstPage,
  async run({ backend, scope, at }, { limit }) {
    await backend.custody.fleetIsFresh();
    return firstOf(backend, scope, at, limit);
  },
});

export const figuresTrends = operation({
  name: 'figures.trends',
  method: 'GET',
  path: '/v1/figures/trends',
  says: 'Says how the fleet went over the last weeks: custody, age of keys, how long orders took, hours for which shown keys were out.',
  permission: 'fleet.read',
  input: z.strictObject({ weeks: z.int().min(1).max(104).default(12) }),
  output: trends,
  async run({ backend, scope, at }, { weeks }) {
    await backend.custody.fleetIsFresh();
    return trendsOf(backend, scope, at, weeks);
  },
});

export const figuresOperations: readonly AnyOperation[] = [figuresFirst, figuresTrends];
