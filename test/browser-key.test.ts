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
