import { expect } from '@jest/globals';
import type { BrowserContext, Page } from 'playwright-core';
import { spell } from '../web/typing/spelling.ts';
import { heardOn, type Looks, letTimeGoOn, mayLoseFocus, openTabs, passInBrowser } from './browser.ts';
import { expectGone, expectNowhere, getKey, keyShown, lockedOut, press, signInByPassword } from './browser-parts.ts';
import { inChromium } from './given-browser.ts';

/** The page of the key in a real Chromium: what stays of a key when its five minutes are over, and what is heard of it. */

let people = 0;
/** Somebody who is signed in and looks at their key. `before`: what is done in their browser before its first page. */
async function looking(looks: Looks = {}, before: (page: Page) => Promise<unknown> = async () => undefined) {
  const locked = await lockedOut(`looker${++people}`);
  await locked.it.portal.account(locked.userName);
  const visitor = await locked.visit(looks);
  await before(visitor.page);
  await visitor.go(`${locked.macPath}/key`);
  await signInByPassword(visitor.page, locked.userName);
  await press(visitor.page, getKey);
  expect(await keyShown(visitor.page)).toBe(locked.key);
  return { ...locked, ...visitor };
}

/** A machine that sleeps: none of its timers runs, and the time of day has gone on by `slept` milliseconds. */
const sleeping = `window.setInterval = () => 0; window.slept = 0; { const now = Date.now; Date.now = () => now() + slept; }`;

const disclosuresOf = async (it: Awaited<ReturnType<typeof lockedOut>>['it']) =>
  it.store.db
    .selectFrom('disclosure')
    .selectAll()
    .where('mac_id', '=', await it.macId())
    .orderBy('at')
    .execute();

/** What has the focus, and its words where that is a heading. */
const focused = (page: Page) =>
  page.evaluate<string>("document.activeElement.tagName + (document.activeElement.matches('h2') ? ' ' + document.activeElement.textContent : '')");

/** The portal's own pages may not read the clipboard: somebody pastes it elsewhere, and is back at `page`. */
async function pasting(context: BrowserContext, page: Page): Promise<() => Promise<string>> {
  const pad = await context.newPage();
  await pad.setContent('<textarea></textarea>');
  return async () => {
    await pad.bringToFront();
    await pad.locator('textarea').fill('');
    await pad.locator('textarea').press('Control+V');
    const text = await pad.locator('textarea').inputValue();
    await page.bringToFront();
    return text;
  };
}

for (const javaScript of [true, false])
  inChromium(`five minutes later the key is gone from the page, from *back* and from a second tab, ${javaScript ? 'with' : 'without'} scripts`, async () => {
    const { it, page, key, macPath, tab } = await looking({ javaScript });
    await expectNowhere(page, key);
    it.turnServerClock(290);
    await passInBrowser(page, 290);
    expect(await keyShown(page)).toBe(key);
    it.turnServerClock(20);
    await passInBrowser(page, 20);
    await letTimeGoOn(page);
    await page.waitForURL(/gone=1/);
    await expectGone(page, key);
    await page.goBack().catch(() => null);
    await page.waitForLoadState('domcontentloaded').catch(() => null);
    await expectGone(page, key);
    const other = await tab();
    await other.goto(`${macPath}/key`);
    await expectGone(other, key);
  });

inChromium('*Hide now* hides the key in every tab, and empties the clipboard that was filled by *Copy*', async () => {
  const { page, key, macPath, tab, context } = await looking();
  const pasted = await pasting(context, page);
  const other = await tab();
  await other.goto(`${macPath}/key?gone=1`);
  await press(other, getKey);
  expect(await keyShown(other)).toBe(key);
  await page.bringToFront();
  await page.locator('button.copy').click();
  await page.locator('.copied').filter({ hasText: /\S/ }).waitFor();
  expect(await pasted()).toBe(key);
  await press(page, 'form.hide button');
  await page.waitForURL(/gone=1/);
  await expectGone(page, key);
  expect(await pasted()).toBe('');
  await other.waitForURL(/gone=1/);
  await expectGone(other, key);
});

inChromium('whoever prints a shown key, reloads it, or sends its form once more, is shown nothing', async () => {
  const { page, key } = await looking();
  await page.emulateMedia({ media: 'print' });
  const printed = await page.evaluate<string>('document.body.innerText');
  expect(key.split('-').filter((group) => printed.includes(group))).toEqual([]);
  expect(await page.locator('.print-refusal').isVisible()).toBe(true);
  await page.emulateMedia({ media: 'screen' });
  page.on('dialog', (dialog) => void dialog.accept());
  await page.reload();
  await page.waitForURL(/gone=1/);
  await expectGone(page, key);
});

inChromium(
  'a copied key stays in the clipboard over the next five minutes, with the place; whoever goes elsewhere, or taps after their end, takes it out',
  async () => {
    const { page, key, macPath, context } = await looking();
    const pasted = await pasting(context, page);
    const copy = async () => {
      await page.locator('button.copy').click();
      await page.locator('.copied').filter({ hasText: /\S/ }).waitFor();
    };
    await page.bringToFront();
    await copy();
    await page.locator('button.one').click();
    await page.locator('.turn .next').click();
    await press(page, 'form.more-time button');
    expect(await page.locator('.tile:visible h2').allTextContents()).toEqual(['Group 2 of 6']);
    expect(await page.locator('.tile:visible h2:focus').count()).toBe(1);
    expect(await pasted()).toBe(key);
    await page.locator('a[href*="/refused"]').click();
    await page.waitForURL(/refused/);
    expect(await pasted()).toBe('');
    await page.goto(`${macPath}/key?gone=1&place=2`);
    await press(page, getKey);
    expect(await page.locator('.tile:visible h2').allTextContents()).toEqual(['Group 2 of 6']);
    await copy();
    await page.goto(`${macPath}/key?gone=1&clipboard=kept`);
    await page.locator('h1').click();
    await page.locator('.clipboard').filter({ hasText: 'empty again' }).waitFor();
    expect(await pasted()).toBe('');
  },
);

inChromium('one group at a time: *Next group* stays in its place from the first group to the last, on a small phone', async () => {
  const { page } = await looking({ width: 320, height: 568, phone: true });
  await page.locator('button.one').click();
  const places: unknown[] = [];
  for (let group = 1; group <= 6; group++) {
    expect(await page.locator('.tile:visible h2').allTextContents()).toEqual([`Group ${group} of 6`]);
    // In the page, not in the window: what has the focus is scrolled into sight.
    places.push(await page.evaluate("Math.round(document.querySelector('button.next').getBoundingClientRect().top + scrollY)"));
    if (group < 6) await page.locator('button.next').click();
  }
  expect(new Set(places).size).toBe(1);
});

inChromium('the countdown says five minutes when the key appears, and is heard at 5, 2 and 1 minutes and at 30 seconds only', async () => {
  const { page } = await looking();
  const heard = page.locator('.said');
  expect([await page.locator('.left').textContent(), await heard.textContent()]).toEqual(['5 minutes left', '5 minutes left']);
  expect([await heard.getAttribute('aria-live'), await page.locator('.left').getAttribute('aria-hidden')]).toEqual(['polite', 'true']);
  // Every change of what a screen reader listens to, whatever it says, and at which second of the page it came.
  await page.evaluate(`(() => {
    window.told = [];
    window.listenedAt = performance.now() / 1000;
    const listen = (one) => new MutationObserver(() => told.push([one.textContent, performance.now() / 1000])).observe(one, { childList: true, characterData: true, subtree: true });
    document.querySelectorAll('[aria-live], [role=status], [role=alert]').forEach(listen);
  })()`);
  await passInBrowser(page, 297);
  const { told, listenedAt } = await page.evaluate<{ told: [string, number][]; listenedAt: number }>('({ told, listenedAt })');
  expect(told.map(([words]) => words)).toEqual(['2 minutes left', '1 minute left', '30 seconds left']);
  const [two = 0, one = 0, half = 0] = told.map(([, at]) => at);
  expect([Math.round(one - two), Math.round(half - one)]).toEqual([60, 30]);
  // On a busy machine the page begins to count some time after it was asked for, and before it is listened to.
  expect(two).toBeGreaterThan(179.5);
  expect(two).toBeLessThan(180.5 + listenedAt);
  await letTimeGoOn(page);
  // A page that is on its way to the next one may keep Chromium from closing.
  await page.waitForURL(/gone=1/);
});

inChromium('a screen reader hears landmarks and headings, and each group as single signs with words, never as a word of four signs', async () => {
  const { page, key } = await looking();
  const groups = key.split('-');
  const signs = (group: string): string =>
    spell(group, 'en')
      .map(({ sign, word }) => (/\d/.test(sign) ? `digit ${word}` : `${sign} ${word}`))
      .join(', ');
  const heard = await heardOn(page);
  for (const landmark of ['banner', 'navigation', 'main', 'contentinfo']) expect(heard.filter((line) => line.startsWith(`${landmark}:`))).toHaveLength(1);
  expect(heard.filter((line) => line.startsWith('heading')).slice(0, 8)).toEqual([
    'heading 1: Type this key on your Mac',
    ...groups.map((_, at) => `heading 2: Group ${at + 1} of 6`),
    'heading 2: On your Mac',
  ]);
  const said = heard.slice(heard.indexOf('text: Group 1 of 6'), heard.indexOf('button: One group at a time')).filter((line) => line.startsWith('text: '));
  expect(said).toEqual(groups.flatMap((group, at) => [`text: Group ${at + 1} of 6`, `text: ${signs(group)}.`]));
  expect(groups.filter((group) => heard.some((line) => line.includes(group)))).toEqual([]);
  // Every button and link has words, and whoever opens the page is at its top, whose title says where they are.
  expect(heard.filter((line) => /^(button|link): $/.test(line))).toEqual([]);
  expect(await focused(page)).toBe('BODY');
  expect(await page.title()).toMatch(/^Recovery key of /);

  await page.locator('button.one').click();
  expect(await focused(page)).toBe('H2 Group 1 of 6');
  await page.keyboard.press('ArrowRight');
  expect(await focused(page)).toBe('H2 Group 2 of 6');
  const alone = (await heardOn(page)).filter((line) => /Group \d of 6$/.test(line));
  expect(alone).toEqual(['heading 2: Group 2 of 6', 'text: Group 2 of 6']);

  await press(page, 'form.hide button');
  expect([await focused(page), await page.title()]).toEqual(['BODY', expect.stringMatching(/^The key is hidden again/)]);
  expect((await heardOn(page)).filter((line) => line.startsWith('heading 1'))).toEqual(['heading 1: The key is hidden again.']);
});

inChromium('a machine that slept through the five minutes: whatever tells the page first that it is awake takes the key away at once', async () => {
  const { it, page, key, tab } = await looking({}, (page) => page.addInitScript(sleeping));
  await mayLoseFocus(page);
  const other = await tab();
  // Coming to the front is real. Chromium that is driven counts every page as seen: of that, and of being thawed, the page is told.
  for (const sign of ['focus', 'visibilitychange', 'resume']) {
    await other.bringToFront();
    await page.evaluate(`(() => {
      const left = () => [...document.querySelectorAll('.secret')].map((one) => one.textContent).join('');
      // After the page's own, and before anything is painted.
      for (const at of [document, window]) at.addEventListener('${sign}', () => console.log('awake, with ' + left().length + ' signs'));
      slept = 301_000;
    })()`);
    it.turnServerClock(301);
    expect(await keyShown(page)).toBe(key);
    const awake = page.waitForEvent('console', (message) => message.text().startsWith('awake'));
    const gone = page.waitForURL(/gone=1/);
    if (sign === 'focus') await page.bringToFront();
    else await page.evaluate(`document.dispatchEvent(new Event('${sign}'))`);
    expect((await awake).text()).toBe('awake, with 0 signs');
    await gone;
    await expectGone(page, key);
    if (sign !== 'resume') await press(page, getKey);
  }
});

inChromium('back, forward, and a page that the browser kept whole: the key does not come back without another disclosure', async () => {
  const { it, page, key, macPath } = await looking();
  const shown = new URL(page.url()).pathname;
  // What Chromium keeps whole, although it is not to be stored: the page of the Mac, and never the answer to a form.
  const kept: string[] = [];
  page.on('console', (message) => void (message.text().startsWith('kept ') && kept.push(message.text())));
  await page.context().addInitScript("addEventListener('pageshow', ({ persisted }) => persisted && console.log('kept ' + location.pathname))");
  await page.goto(macPath);
  await page.goto('/account');
  const goes = async (way: 'goBack' | 'goForward', to: string) => {
    await page[way]({ waitUntil: 'commit' }).catch(() => null);
    await page.waitForFunction("document.readyState === 'complete'");
    expect(page.url().startsWith('chrome-error:') ? shown : new URL(page.url()).pathname).toBe(to);
    await expectGone(page, key);
  };
  await goes('goBack', macPath);
  await goes('goBack', shown);
  await goes('goForward', macPath);
  await goes('goBack', shown);
  // Its form is sent once more, as the browser offers there: it is spent.
  await page.reload();
  await page.waitForURL(/gone=1/);
  await expectGone(page, key);
  expect(new Set(kept)).toEqual(new Set([`kept ${macPath}`]));

  // A browser that keeps the answer to a form too: left without the key, and at its return led away.
  await press(page, getKey);
  expect(await keyShown(page)).toBe(key);
  const gone = page.waitForURL(/gone=1/);
  const left = await page.evaluate(`(() => {
    const seen = () => [...document.querySelectorAll('.secret')].map((one) => one.textContent).join('');
    dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }));
    const hidden = seen();
    dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }));
    return [hidden, seen()];
  })()`);
  expect(left).toEqual(['', '']);
  await gone;
  await expectGone(page, key);
  expect(await disclosuresOf(it)).toHaveLength(2);
});

inChromium('a tab with the key that is duplicated, or closed and opened again, is without it; so is its form when it is sent once more', async () => {
  const { it, key, macPath, userName } = await lockedOut(`looker${++people}`);
  await it.portal.account(userName);
  const { context, complaints, duplicate, close, reopen, end } = await openTabs(it.portal.url);
  try {
    const page = await context.newPage();
    await page.goto(`${macPath}/key`);
    await signInByPassword(page, userName);
    await press(page, getKey);
    expect(await keyShown(page)).toBe(key);
    const second = await duplicate(page);
    await expectGone(second, key);
    await second.reload();
    await second.waitForURL(/gone=1/);
    await expectGone(second, key);
    expect(await keyShown(page)).toBe(key);
    await close(page);
    const again = await reopen();
    await expectGone(again, key);
    await again.reload();
    await again.waitForURL(/gone=1/);
    await expectGone(again, key);
    expect([await disclosuresOf(it), complaints]).toEqual([[expect.anything()], []]);
  } finally {
    await end();
  }
});

inChromium('*I need more time* is one tap before each end, twelve times in a row, each in the audit; then somebody signs in again', async () => {
  const { it, page, key, macPath } = await looking();
  await page.locator('button.one').click();
  const more = 'form.more-time button';
  for (let times = 1; times <= 12; times += 1) {
    it.turnServerClock(285);
    await press(page, more);
    expect(await keyShown(page)).toBe(key);
    expect(await page.locator('.left').textContent()).toBe('5 minutes left');
    // The tap that goes on, within one's reach from the second time on, and the group at which they are.
    expect(await page.locator(more).count()).toBe(times < 12 ? 1 : 0);
    expect(await page.locator('.tile:visible h2').allTextContents()).toEqual(['Group 1 of 6']);
  }
  const disclosures = await disclosuresOf(it);
  expect(disclosures.map(({ reason }) => reason)).toEqual(['self-service', ...Array(12).fill('self-service, more time')]);
  const told = await it.store.db
    .selectFrom('audit')
    .selectAll()
    .where('mac_id', '=', await it.macId())
    .where('act', '=', 'key.disclosed')
    .orderBy('seq')
    .execute();
  expect(told.map(({ at }) => at)).toEqual(disclosures.map(({ at }) => at));
  await page.goto(`${macPath}/key?gone=1`);
  await expectGone(page, key);
  expect(await page.locator(`${more}, ${getKey}`).count()).toBe(0);
  expect(await page.locator('main a[href^="/sign-in?again=1"]').count()).toBe(1);
});
