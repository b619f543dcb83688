import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Page } from 'playwright-core';
import {
  axeViolations,
  crowded,
  findChromium,
  moving,
  noChromium,
  type OpenBrowser,
  openBrowser,
  picture,
  tooSmall,
  tooWide,
  type Visitor,
} from '../test/browser.ts';
import { givenPages, type PageState } from '../test/portal-states.ts';
import { closeAll } from '../test/together.ts';
import { type Language, languages } from '../web/words.ts';

/*
 * Every state of every page of the portal, in Chromium: in each language, light and dark, on the narrowest phone, on a common
 * one and on a desk, in forced colours, at 200 %, and for whoever has asked for less motion; what axe-core has against it,
 * whether anything is wider than the window, too small to be touched, cut off, on other text, or moves, and what the browser
 * complains of. With `--pictures DIR` somebody can look at them.
 */

const help = `npm run portal:states [-- --pictures DIR] [--only WORDS] [--languages en,nl] [--quick] [--json]

  --pictures DIR     a picture of each
  --only WORDS       only the states with one of these words in their name: key-,refused
  --languages LIST   default: en,nl,de,fr
  --quick            in Dutch, on the narrowest phone, light and dark; of pages with the same parts one
  --json             the last line is one JSON object
`;
const { values } = parseArgs({
  options: {
    pictures: { type: 'string' },
    only: { type: 'string', default: '' },
    languages: { type: 'string' },
    quick: { type: 'boolean' },
    json: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  },
});
if (values.help) {
  process.stdout.write(help);
  process.exit(0);
}
const chosen = (values.languages ?? (values.quick ? 'nl' : languages.join(',')))
  .split(',')
  .filter((one): one is Language => (languages as readonly string[]).includes(one));
if (chosen.length === 0) {
  process.stderr.write(`portal:states: error: --languages: some of ${languages.join(', ')}\n`);
  process.exit(64);
}
if (findChromium() === null) {
  process.stderr.write(`portal:states: error: ${noChromium}\n`);
  process.exit(75);
}

/** One way to look at a page. Sizes are CSS pixels of a screen; at 200 % half of them are left. */
interface Way {
  name: string;
  width: number;
  height?: number;
  dark?: true;
  forced?: true;
  still?: true;
  zoom?: 2;
  /** Words and structure are the same however it is drawn: all of axe once on a phone and once on a desk. Forced colours it does not see. */
  axe?: 'all' | 'drawing';
}
const narrow: readonly Way[] = [
  { name: 'light.320', width: 320, axe: 'all' },
  { name: 'dark.320', width: 320, dark: true, axe: 'drawing' },
];
const ways: readonly Way[] = values.quick
  ? narrow
  : [
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
    ];
const counts = { states: 0, looks: 0, axe: 0, tooWide: 0, tooSmall: 0, crowded: 0, moving: 0, complaints: 0, broken: 0 };

function tell(kind: Exclude<keyof typeof counts, 'states' | 'looks'>, where: string, what: readonly string[]): void {
  counts[kind] += what.length;
  for (const line of what) process.stdout.write(`${where}: ${kind}: ${line}\n`);
}

async function draw({ page }: Visitor, { width, height = 844, dark, forced, still, zoom }: Way): Promise<void> {
  const part = zoom ?? 1;
  await page.emulateMedia({
    colorScheme: dark ? 'dark' : 'light',
    forcedColors: forced ? 'active' : 'none',
    reducedMotion: still ? 'reduce' : 'no-preference',
  });
  await page.setViewportSize({ width: width / part, height: height / part });
}

/** A page that has no words in this language is in English: it was looked at in English. */
const isInEnglish = async (page: Page, language: Language): Promise<boolean> => language !== 'en' && (await page.locator('main[lang="en"]').count()) > 0;

async function look(browser: OpenBrowser, state: PageState, language: Language): Promise<void> {
  const visitor = await browser.visit({ language, width: 390, height: 844 });
  const { page, context, complaints } = visitor;
  try {
    await context.addCookies([...state.cookies]);
    for (const step of state.steps) await step(page);
    for (const way of (await isInEnglish(page, language)) ? ways.slice(0, 1) : ways) {
      await draw(visitor, way);
      const name = `${state.name}.${language}.${way.name}`;
      counts.looks++;
      if (way.axe) tell('axe', name, await axeViolations(page, way.axe));
      tell('tooWide', name, await tooWide(page));
      tell('tooSmall', name, await tooSmall(page));
      tell('crowded', name, await crowded(page));
      if (way.still) tell('moving', name, await moving(page));
      else if (values.pictures !== undefined) await picture(page, name, join(values.pictures, state.name));
    }
    tell('complaints', `${state.name}.${language}`, complaints);
  } catch (error) {
    tell('broken', `${state.name}.${language}`, [(error as Error).message.split('\n').slice(0, 3).join(' ')]);
  } finally {
    await visitor.close();
  }
}

try {
  const only = values.only.split(',');
  const { url, states, elsewhere } = await givenPages();
  const some = states.filter(({ name, alike }) => only.some((word) => name.includes(word)) && !(values.quick && alike));
  const browser = await openBrowser({ url, elsewhere });
  try {
    for (const state of some) {
      counts.states++;
      process.stderr.write(`${counts.states} of ${some.length}: ${state.name}\n`);
      for (const language of chosen) await look(browser, state, language);
    }
  } finally {
    await browser.close();
  }
} finally {
  await closeAll();
}
const { states, looks, ...found } = counts;
const wrong = Object.values(found).reduce((sum, count) => sum + count, 0);
process.stdout.write(
  `${states} states, each in ${chosen.join(', ')}, ${ways.map(({ name }) => name).join(', ')}: ${looks} looks, ${wrong === 0 ? 'nothing against them' : `${wrong} complaints`}\n`,
);
if (values.json) process.stdout.write(`${JSON.stringify({ ...counts, languages: chosen.length })}\n`);
process.exitCode = wrong === 0 ? 0 : 1;
