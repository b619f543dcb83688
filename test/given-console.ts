// `console-together.ts` for tests: what a test file made goes with it.
import './given.ts';

export { type AdminGiven, type Answered, givenConsole } from './console-together.ts';
