import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import type { Page } from 'playwright-core';
import { type Looks, tooWide } from './browser.ts';
import { ada, expectGone, expectNowhere, getKey, halfMinuteRounds, keyShown, lockedOut, press, signInAtProvider } from './browser-parts.ts';
import { axeClean, inChromium } from './given-browser.ts';
import { formsOf } from './plain-text.ts';

/*
 * The ten minutes of somebody who is locked out, in a real Chromium and with a real OpenID Connect provider: from signing in to
 * *replaced* and *checked*. The fake Mac is played at each step; the backend's clock is moved, not waited for.
 */

type Portal = Awaited<ReturnType<typeof lockedOut>>['it'];

/** Two mails, files by default: one at the first view and one that closes it. No key in either. */
async function expectMails(it: Portal, key: string): Promise<void> {
  await halfMinuteRounds();
  const { db } = it.store;
  const episode = await db
    .selectFrom('episode')
    .select('id')
    .where('mac_id', '=', await it.macId())
    .executeTakeFirstOrThrow();
  const mails = await db.selectFrom('mail').selectAll().where('episode_id', '=', episode.id).orderBy('created_at').execute();
  expect(mails.map(({ kind, sent_at }) => [kind, sent_at !== null])).toEqual([
    ['key-shown', true],
    ['key-replaced', true],
  ]);
  const folder = join(it.dir, 'mail');
  const files = readdirSync(folder).map((file) => readFileSync(join(folder, file)));
  expect(files.length).toBeGreaterThanOrEqual(2);
  const forms = formsOf(key);
  expect(files.filter((file) => forms.some((form) => file.includes(form)))).toEqual([]);
}

interface Story {
  looks?: Looks;
  /** How a link or button is taken: by default it is clicked. */
  take?: (page: Page, selector: string) => Promise<void>;
  /** Looks at each state. */
  state?: (page: Page, name: string) => Promise<void>;
}

async function tenMinutes({ looks = {}, take = press, state = async () => undefined }: Story): Promise<{ page: Page; key: string }> {
  const { it, key, macPath, visit } = await lockedOut(ada);
  const { mac } = it;
  const { page, go } = await visit(looks);

  await go('/');
  await state(page, 'sign-in');
  await signInAtProvider(page);
  await state(page, 'macs');
  await take(page, `a[href="${macPath}"]`);
  await state(page, 'mac');
  await take(page, `a[href="${macPath}/unlock"]`);
  await state(page, 'unlock');
  await take(page, `a[href="${macPath}/key"]`);
  await state(page, 'key-before');
  expect(it.mac.recoveryKey).toBe(key);
  await take(page, getKey);
  const shown = await keyShown(page);
  await state(page, 'key-shown');
  await expectNowhere(page, shown);
  expect(shown).toBe(key);

  // While it is typed nothing is replaced, although that is owed from now on.
  it.pass(120);
  await it.checkIn();
  expect(mac.recoveryKey).toBe(key);
  expect(mac.resetPasswordWith(shown, 'ada', 'a new password')).toBe(true);
  await it.checkIn();
  expect(mac.recoveryKey).toBe(key);

  await take(page, 'form.hide button');
  await expectGone(page, key);
  await go(`${macPath}/afterwards`);
  await state(page, 'waiting');
  await take(page, 'form[action$="/back-in"] button');
  await state(page, 'back-in');
  it.pass(700);
  await it.checkIn();
  it.pass(700);
  await it.checkIn();
  expect(mac.recoveryKey).not.toBe(key);
  expect(await it.heldKey()).toBe(mac.recoveryKey);
  await page.reload();
  await state(page, 'replaced');
  await expectGone(page, key);
  await expectMails(it, key);
  return { page, key };
}

inChromium('somebody who is locked out signs in at the provider, gets their key and is back in; the key is replaced and checked', async () => {
  await tenMinutes({
    state: async (page, name) => {
      // The others, and each in the dark, are looked at by `npm run portal:states`: that takes minutes.
      if (!['sign-in', 'mac', 'key-shown', 'replaced'].includes(name)) return;
      await axeClean(page, `light-${name}`);
      if (name !== 'key-shown') return;
      await page.emulateMedia({ colorScheme: 'dark' });
      await axeClean(page, `dark-${name}`);
      await page.emulateMedia({ colorScheme: 'light' });
    },
  });
});

inChromium('the same without scripts', async () => {
  await tenMinutes({
    looks: { javaScript: false },
    state: async (page, name) => {
      if (name === 'key-shown') await axeClean(page, `without-scripts-${name}`);
    },
  });
});

inChromium('the same in Dutch, on a phone of 320 pixels, and nothing is wider than its screen', async () => {
  await tenMinutes({
    looks: { language: 'nl-NL', width: 320, height: 640, phone: true },
    state: async (page, name) => {
      expect(await page.locator('html').getAttribute('lang')).toBe('nl');
      expect({ name, tooWide: await tooWide(page) }).toEqual({ name, tooWide: [] });
      if (name === 'key-shown') await axeClean(page, `nl-320-${name}`);
    },
  });
});

inChromium('the same with a keyboard only', async () => {
  await tenMinutes({ take: byKeyboard });
});

/** From the top of the page with the tabulator to what is wanted, which is seen to have the focus, and then the return key. */
async function byKeyboard(page: Page, selector: string): Promise<void> {
  await page.evaluate('document.activeElement?.blur()');
  for (let times = 0; times < 60; times++) {
    await page.keyboard.press('Tab');
    const here = await page.evaluate<string | null>(`(() => {
      const one = document.activeElement;
      if (!one?.matches(${JSON.stringify(selector)})) return null;
      const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(one);
      return (outlineStyle !== 'none' && outlineWidth !== '0px') || boxShadow !== 'none' ? 'seen' : 'not seen';
    })()`);
    if (here === null) continue;
    expect(here).toBe('seen');
    const came = page.waitForEvent('domcontentloaded');
    await page.keyboard.press('Enter');
    await came;
    await page.waitForLoadState('load');
    return;
  }
  throw new Error(`${selector} cannot be reached with the keyboard on ${page.url()}`);
}
