import { afterAll, jest } from '@jest/globals';
import { closeAll } from './together.ts';

// `together.ts` for tests: what a test file made goes with it.

export { type GivenOptions, given, operator } from './together.ts';

// Whole courses, each with an RSA key pair of its own, on machines that do other things besides.
jest.setTimeout(30_000);

afterAll(closeAll);
