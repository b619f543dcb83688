import { expect } from '@jest/globals';
import type { Page } from 'playwright-core';
import { seedFleet } from '../scripts/seed-fleet.ts';
import { type Looks, tooWide } from './browser.ts';
import { expectGone, keyShown, press, signInByPassword } from './browser-parts.ts';
import { axeClean, inChromium, visitor } from './given-browser.ts';
import { givenConsole } from './given-console.ts';

/*
 * The morning of an admin, in a real Chromium: from signing in to a replacement of chosen keys under way, with and without
 * scripts, and with a keyboard alone. What a page says on the console of the browser, and every breach of its policy, fails.
 */

const serial = 'C02BROWSER01';
let opened: ReturnType<typeof open> | null = null;
async function open() {
  const it = await givenConsole({ serial, settings: { pilot: true } });
  await it.settle();
  await it.backend.store.write((tx) => tx.deleteFrom('fleet_day').execute());
  await seedFleet(it.backend, { devices: 80, seed: 3, days: 25 });
  const id = await it.portal.account('ada', { displayName: 'Ada Lovelace' });
  await it.console.give({ id, userName: 'ada' }, 'admin');
  return { it, personId: id };
}

/** One backend for the file; a browser that is signed in already, but for the first. */
async function atConsole(looks: Looks = {}) {
  opened ??= open();
  const { it, personId } = await opened;
  const visit = await visitor(it.console.url, looks);
  const { browser } = await it.console.startSessionOf(personId);
  const cookies = [...browser.jar].map(([name, value]) => ({ name, value, url: it.console.url, secure: true, httpOnly: true, sameSite: 'Lax' as const }));
  return { it, ...visit, signIn: () => visit.context.addCookies(cookies) };
}

const chosenWords = (page: Page): Promise<string | null> => page.locator('#chosen button').first().textContent();
const box = (page: Page, at: number) => page.locator('[data-row] [type="checkbox"]').nth(at);

/** From the list to a replacement that is under way: what would happen is seen, and the button says how many it is for. */
async function replaceChosen(page: Page, many: number): Promise<void> {
  await press(page, '#chosen button');
  expect(await page.locator('h1').textContent()).toBe(`${many} Macs chosen`);
  await press(page, 'form[action="/rotations/edit"] button');
  await page.locator('[name="reason"]').fill('a drill');
  await press(page, 'form[action="/rotations/plan"] button');
  const button = page.locator('form[action="/rotations/start"] button');
  expect(await button.textContent()).toMatch(/^Replace the keys? of [12] Macs?$/);
  await press(page, 'form[action="/rotations/start"] button');
  expect(page.url()).toMatch(/\/rotations\/[^/]+$/);
  expect(await page.locator('main').textContent()).toContain('a drill');
}

inChromium('an admin signs in, sees what needs them, filters the fleet, chooses Macs over two pages, and has their keys replaced', async () => {
  const { page, go } = await atConsole();
  await go('/');
  await signInByPassword(page, 'ada');
  expect(await page.locator('.questions dt').allTextContents()).toEqual(['Is any Mac unrecoverable?', 'Is any key out in the open?', 'Is anything stuck?']);
  await axeClean(page, 'console-first');
  await press(page, 'nav a[href="/fleet"]');
  await page.locator('#f-custody').selectOption('held');
  await press(page, 'form.filters button');
  expect(new URL(page.url()).search).toBe('?custody=held');
  await axeClean(page, 'console-fleet');

  const go2 = page.locator('#chosen button').first();
  expect([await go2.isDisabled(), await chosenWords(page)]).toEqual([true, 'Go on with the chosen Macs']);
  await box(page, 0).check();
  expect(await chosenWords(page)).toBe('Go on with 1 Mac');
  await press(page, 'a[rel="next"]');
  await box(page, 1).check();
  expect([await chosenWords(page), await page.locator('[data-chosen]').textContent()]).toEqual(['Go on with 2 Macs', '2 Macs chosen, 1 on other pages']);
  await page.goBack();
  expect([await box(page, 0).isChecked(), await chosenWords(page)]).toEqual([true, 'Go on with 2 Macs']);
  await replaceChosen(page, 2);
  await go('/fleet?custody=held');
  await page.locator('[data-forget]').click();
  expect([await go2.isDisabled(), await box(page, 0).isChecked()]).toEqual([true, false]);
});

inChromium('without scripts the chosen of one page are replaced just so, and nothing is offered that would need one', async () => {
  const { page, go, signIn } = await atConsole({ javaScript: false });
  await signIn();
  await go('/fleet?custody=held');
  for (const one of await page.locator('[data-keys], [data-forget], dialog').all()) expect(await one.isVisible()).toBe(false);
  await box(page, 2).check();
  await box(page, 3).check();
  await replaceChosen(page, 2);
});

inChromium('with the keyboard alone: search, rows, choosing, opening, and the help that says so', async () => {
  const { page, go, signIn } = await atConsole();
  await signIn();
  await go('/fleet');
  await page.keyboard.press('?');
  expect(await page.locator('dialog#keys').isVisible()).toBe(true);
  await axeClean(page, 'console-keys');
  await page.keyboard.press('Escape');
  for (const key of ['j', 'j', 'j', 'k', 'x']) await page.keyboard.press(key);
  expect(await box(page, 1).isChecked()).toBe(true);
  await page.keyboard.press('/');
  await page.keyboard.type('jjx');
  expect(await page.locator('#f-q').inputValue()).toBe('jjx');
  await page.locator('#f-q').fill(serial);
  const came = page.waitForEvent('domcontentloaded');
  await page.keyboard.press('Enter');
  await came;
  expect(new URL(page.url()).search).toBe(`?q=${serial}`);
  await page.keyboard.press('j');
  const opens = page.waitForURL(/\/fleet\/[0-9a-f-]{36}$/);
  await page.keyboard.press('Enter');
  await opens;
  expect(await page.locator('h1').textContent()).toContain('MacBook');
});

inChromium('the page of a Mac is its state, its days and its facts; its key is shown for a reason, hidden, and nowhere after that', async () => {
  const { it, page, go, signIn } = await atConsole();
  await signIn();
  const id = await it.macId();
  await go(`/fleet/${id}`);
  expect(await page.locator('.lead').textContent()).toMatch(/^A key of this Mac is here: /);
  expect(await page.locator('.events li').count()).toBeGreaterThan(2);
  await axeClean(page, 'console-device');
  await press(page, `a[href="/devices/${id}/key"]`);
  await axeClean(page, 'console-key-before');
  await page.locator('#reason').fill('locked out, called back');
  await press(page, `form[action="/devices/${id}/key"] button`);
  const key = await keyShown(page);
  expect(key).toBe(it.mac.recoveryKey);
  await axeClean(page, 'console-key-shown');
  await press(page, 'form.hide button');
  await expectGone(page, key);
  await go(`/fleet/${id}`);
  expect(await page.locator('.events').first().textContent()).toContain('locked out, called back');
  expect(await page.locator('.acts').textContent()).toContain('End the hold');
  await expectGone(page, key);
});

inChromium('on 320 pixels and in the dark nothing is wider than its screen or fails axe', async () => {
  const { page, go, signIn } = await atConsole({ width: 320, height: 640, phone: true, colours: 'dark' });
  await signIn();
  for (const path of ['/', '/fleet', `/fleet/${serial}`, `/fleet/${serial}/replace`, '/fleet/chosen?custody=held', '/figures', '/alarms', '/fleet?q=nothing']) {
    await go(path);
    expect({ path, tooWide: await tooWide(page) }).toEqual({ path, tooWide: [] });
    if (['/figures', '/alarms', `/fleet/${serial}/replace`, '/fleet/chosen?custody=held'].includes(path))
      await axeClean(page, `console-320${path.replaceAll(/\W/g, '-')}`);
  }
});
