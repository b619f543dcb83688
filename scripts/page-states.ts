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
import type { PageState } from '../test/portal-state-world.ts';
import { closeAll } from '../test/together.ts';
import { type Language, languages } from '../web/words.ts';

/*
 * States of pages, in Chromium: light and dark, on the narrowest phone, on a common one and on a desk, in forced colours, at
 * 200 %, and for whoever has asked for less motion; what axe-core has against each, whether anything is wider than the window,
 * too small to be touched, cut off, on other text, or moves, and what the browser complains of. With `--pictures DIR` somebody
 * can look at them.
 */

/** One way to look at a page. Sizes are CSS pixels of a screen; at 200 % half of them are left. */
export interface Way {
  name: string;
  width: number;
  height?: number;
  dark?: true;
  forced?: true;
  still?: true;
  zoom?: 2;
  /** A mouse. Otherwise a finger, which needs larger things to touch. */
  mouse?: true;
  /** Words and structure are the same however it is drawn: all of axe once on a phone and once on a desk. Forced colours it does not see. */
  axe?: 'all' | 'drawing';
}

interface Looking {
  /** As it is called: `npm run NAME`. */
  name: string;
  ways: readonly Way[];
  quickWays: readonly Way[];
  /** Null: the pages are in English alone. */
  quickLanguage: Language | null;
  /** What `--quick` leaves out, in words. */
  quickWords: string;
  /** One after the other: what the states of one need may spoil those of another. */
  parts(): Promise<{ url: string; elsewhere: string[]; parts: readonly (() => Promise<readonly PageState[]>)[] }>;
}

const options = {
  pictures: { type: 'string' },
  only: { type: 'string', default: '' },
  languages: { type: 'string' },
  quick: { type: 'boolean' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

const helpOf = ({
  name,
  quickLanguage,
  quickWords,
}: Looking): string => `npm run ${name} [-- --pictures DIR] [--only WORDS]${quickLanguage === null ? '' : ' [--languages en,nl]'} [--quick] [--json]

  --pictures DIR     a picture of each
  --only WORDS       only the states with one of these words in their name: key-,refused
${quickLanguage === null ? '' : `  --languages LIST   default: ${languages.join(',')}\n`}  --quick            ${quickWords}
  --json             the last line is one JSON object
`;

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

/** Looks at all of them, says what is wrong, and sets the exit status: 0 where nothing is. */
export async function lookAtStates(looking: Looking): Promise<void> {
  const { values } = parseArgs({ options });
  const fail = (words: string, status: number): void => {
    process.stderr.write(`${looking.name}: error: ${words}\n`);
    process.exitCode = status;
  };
  if (values.help) return void process.stdout.write(helpOf(looking));
  const wished = looking.quickLanguage === null ? 'en' : (values.languages ?? (values.quick ? looking.quickLanguage : languages.join(',')));
  const chosen = wished.split(',').filter((one): one is Language => (languages as readonly string[]).includes(one));
  if (chosen.length === 0) return fail(`--languages: some of ${languages.join(', ')}`, 64);
  if (findChromium() === null) return fail(noChromium, 75);
  const ways = values.quick ? looking.quickWays : looking.ways;
  const counts = { states: 0, looks: 0, axe: 0, tooWide: 0, tooSmall: 0, crowded: 0, moving: 0, complaints: 0, broken: 0 };

  function tell(kind: Exclude<keyof typeof counts, 'states' | 'looks'>, where: string, what: readonly string[]): void {
    counts[kind] += what.length;
    for (const line of what) process.stdout.write(`${where}: ${kind}: ${line}\n`);
  }

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
        if (!way.mouse) tell('tooSmall', name, await tooSmall(page));
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
    const { url, parts, elsewhere } = await looking.parts();
    const browser = await openBrowser({ url, elsewhere });
    try {
      for (const part of parts)
        for (const state of await part()) {
          if (!only.some((word) => state.name.includes(word)) || (values.quick && state.alike)) continue;
          counts.states++;
          process.stderr.write(`${counts.states}: ${state.name}\n`);
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
  const said = wrong === 0 ? 'nothing against them' : `${wrong} complaints`;
  process.stdout.write(`${states} states, each in ${chosen.join(', ')}, ${ways.map(({ name }) => name).join(', ')}: ${looks} looks, ${said}\n`);
  if (values.json) process.stdout.write(`${JSON.stringify({ ...counts, languages: chosen.length })}\n`);
  process.exitCode = wrong === 0 ? 0 : 1;
}
