// `portal-together.ts` for tests: what a test file made goes with it.
import './given.ts';

export { type Given, givenPortal, passwordOfTests } from './portal-together.ts';
