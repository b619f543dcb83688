import { givenConsolePages } from '../test/console-states.ts';
import { lookAtStates, type Way } from './page-states.ts';

// Every state of every page of the console, for each role, and on a backend that is new.

const narrow: Way = { name: 'light.320', width: 320, axe: 'all' };
const desk: Way = { name: 'dark.1280', width: 1280, height: 900, dark: true, mouse: true, axe: 'drawing' };

await lookAtStates({
  name: 'console:states',
  quickWays: [narrow, desk],
  quickLanguage: null,
  quickWords: 'on the narrowest phone in the light, on a desk in the dark; of pages with the same parts one',
  ways: [
    narrow,
    { name: 'dark.320', width: 320, dark: true, axe: 'drawing' },
    { name: 'light.390', width: 390 },
    { name: 'light.768', width: 768, height: 1024, mouse: true },
    { name: 'light.1280', width: 1280, height: 900, mouse: true, axe: 'all' },
    desk,
    { name: 'forced.320', width: 320, forced: true },
    { name: 'forced-dark.1280', width: 1280, height: 900, dark: true, forced: true, mouse: true },
    { name: 'zoom.390', width: 390, zoom: 2 },
    { name: 'zoom.1280', width: 1280, height: 900, zoom: 2, axe: 'drawing' },
    { name: 'still.320', width: 320, still: true },
  ],
  parts: givenConsolePages,
});
