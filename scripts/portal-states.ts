import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { axeViolations, findChromium, noChromium, type OpenBrowser, openBrowser, picture, tooSmall, tooWide } from '../test/browser.ts';
import { givenPages, type PageState } from '../test/portal-states.ts';
import { closeAll } from '../test/together.ts';
import { type Language, languages } from '../web/words.ts';

/*
 * Every state of every page of the portal, in Chromium: in each language, light and dark, on the narrowest phone, on a common
 * one and on a desk; what axe-core has against it, whether anything is wider than the window or too small to be touched, and what the browser complains
 * of. With `--pictures DIR` somebody can look at them.
 */

const help = `npm run portal:states [-- --pictures DIR] [--only WORD] [--languages en,nl] [--quick] [--json]

  --pictures DIR     a picture of each
  --only WORD        only the states with this word in their name
  --languages LIST   default: en,nl,de,fr
  --quick            in Dutch, on the narrowest phone
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

/** CSS pixels. */
const widths: readonly number[] = values.quick ? [320] : [320, 390, 1280];
const colours = ['light', 'dark'] as const;
const counts = { states: 0, looks: 0, axe: 0, tooWide: 0, tooSmall: 0, complaints: 0, broken: 0 };

function tell(kind: 'axe' | 'tooWide' | 'tooSmall' | 'complaints' | 'broken', where: string, what: readonly string[]): void {
  counts[kind] += what.length;
  for (const line of what) process.stdout.write(`${where}: ${kind}: ${line}\n`);
}

async function look(browser: OpenBrowser, state: PageState, language: Language): Promise<void> {
  const visitor = await browser.visit({ language, width: 390, height: 844 });
  const { page, context, complaints } = visitor;
  try {
    await context.addCookies([...state.cookies]);
    for (const step of state.steps) await step(page);
    for (const colour of colours)
      for (const width of widths) {
        await page.emulateMedia({ colorScheme: colour });
        await page.setViewportSize({ width, height: width === 1280 ? 900 : 844 });
        const name = `${state.name}.${language}.${colour}.${width}`;
        counts.looks++;
        // Words and structure are the same on a common phone as on the narrowest.
        if (width !== 390) tell('axe', name, await axeViolations(page));
        tell('tooWide', name, await tooWide(page));
        tell('tooSmall', name, await tooSmall(page));
        if (values.pictures !== undefined) await picture(page, name, join(values.pictures, state.name));
      }
    tell('complaints', `${state.name}.${language}`, complaints);
  } catch (error) {
    tell('broken', `${state.name}.${language}`, [(error as Error).message.split('\n').slice(0, 3).join(' ')]);
  } finally {
    await visitor.close();
  }
}

try {
  const { url, states, elsewhere } = await givenPages();
  const some = states.filter(({ name }) => name.includes(values.only));
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
const wrong = counts.axe + counts.tooWide + counts.tooSmall + counts.complaints + counts.broken;
process.stdout.write(
  `${counts.states} states, each in ${chosen.join(', ')}, light and dark, at ${widths.join(', ')} px: ${wrong === 0 ? 'nothing against them' : `${wrong} complaints`}\n`,
);
if (values.json) process.stdout.write(`${JSON.stringify({ ...counts, languages: chosen.length })}\n`);
process.exitCode = wrong === 0 ? 0 : 1;
