import { afterAll, afterEach, expect, test } from '@jest/globals';
import type { Page } from 'playwright-core';
import { axeViolations, findChromium, type Looks, noChromium, type OpenBrowser, openBrowser, picture, type Visitor } from './browser.ts';

// `browser.ts` for tests: one Chromium for a test file, one browser profile for each visit.

/** Milliseconds: whole stories in a browser, on machines that do other things besides. */
const mostTime = 300_000;
const here = findChromium() !== null;
const onCi = process.env['CI'] === 'true';

/** A test that needs Chromium. Without one it is skipped and says so in its name; where CI is set it fails. */
export function inChromium(name: string, body: () => Promise<void>): void {
  if (here || onCi) test(name, body, mostTime);
  else test.skip(`${name} [NOT RUN: ${noChromium}]`, body, mostTime);
}

let opened: OpenBrowser | null = null;
const visitors: Visitor[] = [];

/** `keepPages` and `elsewhere` hold for the file: its first visit opens the browser. */
export async function visitor(url: string, looks: Looks = {}, options: { elsewhere?: readonly string[]; keepPages?: boolean } = {}): Promise<Visitor> {
  opened ??= await openBrowser({ url, ...options });
  const made = await opened.visit(looks);
  visitors.push(made);
  return made;
}

afterEach(async () => {
  const complaints = visitors.flatMap((one) => one.complaints);
  for (const one of visitors.splice(0)) await one.close();
  expect(complaints).toEqual([]);
});

afterAll(async () => {
  await opened?.close();
  opened = null;
});

/** The page as it is now is clean for axe-core; and a picture of it for whoever wants to look. */
export async function axeClean(page: Page, name: string): Promise<void> {
  await picture(page, name);
  const violations = await axeViolations(page);
  expect({ page: name, violations }).toEqual({ page: name, violations: [] });
}
