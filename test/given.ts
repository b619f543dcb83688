import { afterAll } from '@jest/globals';
import { closeAll } from './together.ts';

// `together.ts` for tests: what a test file made goes with it.

export { type GivenOptions, given, operator } from './together.ts';

afterAll(closeAll);
