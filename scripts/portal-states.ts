import { givenPages } from '../test/portal-states.ts';
import { lookAtStates, type Way } from './page-states.ts';

// Every state of every page of the portal, in each language and each way to look at it.

const narrow: readonly Way[] = [
  { name: 'light.320', width: 320, axe: 'all' },
  { name: 'dark.320', width: 320, dark: true, axe: 'drawing' },
];

await lookAtStates({
  name: 'portal:states',
  quickWays: narrow,
  quickLanguage: 'nl',
  quickWords: 'in Dutch, on the narrowest phone, light and dark; of pages with the same parts one',
  ways: [
    ...narrow,
    { name: 'light.390', width: 390 },
    { name: 'dark.390', width: 390, dark: true },
    { name: 'light.1280', width: 1280, height: 900, axe: 'all' },
    { name: 'dark.1280', width: 1280, height: 900, dark: true, axe: 'drawing' },
    { name: 'forced.320', width: 320, forced: true },
    { name: 'forced-dark.1280', width: 1280, height: 900, dark: true, forced: true },
    { name: 'zoom.390', width: 390, zoom: 2 },
    { name: 'zoom.1280', width: 1280, height: 900, zoom: 2, axe: 'drawing' },
    { name: 'still.320', width: 320, still: true },
  ],
  async parts() {
    const { url, elsewhere, states } = await givenPages();
    return { url, elsewhere, parts: [async () => states] };
  },
});
