import { expect } from '@jest/globals';
import { type Looks, letTimeGoOn, passInBrowser } from './browser.ts';
import { expectGone, expectNowhere, getKey, keyShown, lockedOut, press, signInByPassword } from './browser-parts.ts';
import { inChromium } from './given-browser.ts';

/** The page of the key in a real Chromium: what stays of a key when its five minutes are over. */

let people = 0;
/** Somebody who is signed in and looks at their key. */
async function looking(looks: Looks = {}) {
  const locked = await lockedOut(`looker${++people}`);
  await locked.it.portal.account(locked.userName);
  const visitor = await locked.visit(looks);
  await visitor.go(`${locked.macPath}/key`);
  await signInByPassword(visitor.page, locked.userName);
  await press(visitor.page, getKey);
  expect(await keyShown(visitor.page)).toBe(locked.key);
  return { ...locked, ...visitor };
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
  // The portal's own pages may not read the clipboard: somebody pastes it elsewhere.
  const pad = await context.newPage();
  await pad.setContent('<textarea></textarea>');
  const pasted = async (): Promise<string> => {
    await pad.bringToFront();
    await pad.locator('textarea').fill('');
    await pad.locator('textarea').press('Control+V');
    return pad.locator('textarea').inputValue();
  };
  const other = await tab();
  await other.goto(`${macPath}/key?gone=1`);
  await press(other, getKey);
  expect(await keyShown(other)).toBe(key);
  await page.bringToFront();
  await page.locator('button.copy').click();
  await page.locator('.copied').filter({ hasText: /\S/ }).waitFor();
  expect(await pasted()).toBe(key);
  await page.bringToFront();
  await press(page, 'form.hide button');
  await page.waitForURL(/gone=1/);
  await expectGone(page, key);
  expect(await pasted()).toBe('');
  await other.waitForURL(/gone=1/);
  await expectGone(other, key);
});

inChromium('whoever reloads a shown key, or sends its form once more, is shown nothing', async () => {
  const { page, key } = await looking();
  page.on('dialog', (dialog) => void dialog.accept());
  await page.reload();
  await page.waitForURL(/gone=1/);
  await expectGone(page, key);
});

inChromium(
  'a copied key stays in the clipboard over the next five minutes, with the place; whoever goes elsewhere, or taps after their end, takes it out',
  async () => {
    const { page, key, macPath, context } = await looking();
    const pad = await context.newPage();
    await pad.setContent('<textarea></textarea>');
    const pasted = async (): Promise<string> => {
      await pad.bringToFront();
      await pad.locator('textarea').fill('');
      await pad.locator('textarea').press('Control+V');
      const text = await pad.locator('textarea').inputValue();
      await page.bringToFront();
      return text;
    };
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
  const [seen, heard] = [page.locator('.left'), page.locator('.said')];
  expect([await seen.textContent(), await heard.textContent()]).toEqual([expect.stringContaining('5 minutes'), expect.stringContaining('5 minutes')]);
  const told: (string | null)[] = [];
  // Before and after each moment at which something is said.
  for (const seconds of [70, 105, 15, 40, 15, 15, 20]) {
    await passInBrowser(page, seconds);
    told.push(/\d+ \w+/.exec((await heard.textContent()) ?? '')?.[0] ?? null);
  }
  expect(told).toEqual(['5 minutes', '5 minutes', '2 minutes', '2 minutes', '1 minute', '1 minute', '30 seconds']);
  await letTimeGoOn(page);
});
