import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect } from '@jest/globals';
import type { Page } from 'playwright-core';
import { lettersOf } from '../portal/mails.ts';
import { mountPortal } from '../portal/portal.ts';
import { watchEpisodes } from '../portal/watch.ts';
import type { MountSites, SitesGround } from '../server/serve.ts';
import { sendMails } from '../web/mail-sending.ts';
import { type Looks, leftBehind } from './browser.ts';
import { visitor } from './given-browser.ts';
import { givenPortal, passwordOfTests } from './given-portal.ts';
import { formsOf } from './plain-text.ts';
import { providerAccounts, providerClient, startProvider, type TestProvider } from './provider.ts';
import { scratch } from './scratch.ts';

/** What the browser tests have in common: people at the portal and at a provider, and the pages by what is on them, whatever the language. */

const tiles = '#key .tile .signs';
/** The button that shows a key, for the first time or again. */
export const getKey = 'main form[action$="/key"] button, main form[action$="/key/again"] button';

/** The key as the page shows it, sign by sign. */
export async function keyShown(page: Page): Promise<string> {
  await page.locator('#key').waitFor();
  const groups = await page.locator(tiles).allTextContents();
  expect(groups).toHaveLength(6);
  return groups.map((group) => group.trim()).join('-');
}

/** Nowhere on the page, in no form of the key, and in no group of it. */
export async function expectGone(page: Page, key: string): Promise<void> {
  expect(await page.locator(tiles).count()).toBe(0);
  // In the sounds and pictures of Chromium's own page, which are 100 kB of base64, four signs of a key stand by chance.
  const text = page.url().startsWith('chrome-error:') ? (await page.content()).replace(/;base64,[\w+/=]+/g, '') : await page.content();
  for (const group of key.split('-')) expect(text).not.toContain(group);
  // Chromium's own page, where it would have to send the form again, belongs to no site.
  if (!page.url().startsWith('chrome-error:')) await expectNowhere(page, key);
}

/** In no place that outlives the page: storage, history, title, address, cookies. */
export async function expectNowhere(page: Page, key: string): Promise<void> {
  const left = Buffer.from(await leftBehind(page));
  expect(formsOf(key).filter((form) => left.includes(form))).toEqual([]);
}

/** Presses, and waits for the page that comes. */
export async function press(page: Page, selector: string): Promise<void> {
  const target = page.locator(selector).first();
  const came = page.waitForEvent('domcontentloaded');
  await target.click();
  await came;
  await page.waitForLoadState('load');
}

let provider: TestProvider | null = null;
let opened: Promise<{ settings: object; provider: TestProvider }> | null = null;
afterAll(() => provider?.stop());

/** A provider on loopback, and the settings by which the portal knows it. */
async function openProvider(): Promise<{ settings: object; provider: TestProvider }> {
  provider = await startProvider();
  const clientSecretFile = join(scratch('provider'), 'secret');
  writeFileSync(clientSecretFile, `${providerClient.secret}\n`, { mode: 0o600 });
  const { issuer } = provider;
  const settings = {
    signIn: { providers: [{ id: 'example', name: 'Example', issuer, clientId: providerClient.id, clientSecretFile }] },
    contact: { name: 'Service desk of Example', phone: '+31 20 555 01 23', email: 'desk@example.org', hours: 'Mon–Fri 8:00–18:00' },
    mail: { from: 'sparekey@example.org' },
  };
  return { settings, provider };
}

let ground: SitesGround | null = null;
const much = { perMinute: 1e6, burst: 1e6 };
const mountSites: MountSites = (its) => {
  ground = its;
  return mountPortal(its, { sent: much, helpCodes: much });
};

/** What the backend does every half minute: looks what has become of each episode, and sends the mails. */
export async function halfMinuteRounds(): Promise<void> {
  if (!ground) throw new Error('no portal');
  await watchEpisodes(ground);
  await sendMails(ground, lettersOf(ground.settings, ground.backend.settings.organisation));
}

/** The portal with that provider; `more`: other settings for people, of the first that is opened in a file. */
export async function openPortal(more: object = {}) {
  opened ??= openProvider();
  const it = await opened;
  const portal = await givenPortal({ people: { ...it.settings, ...more }, mountSites });
  it.provider.allow([`${portal.portal.url}/sign-in/back/example`]);
  return { it: portal, provider: it.provider };
}

/** A Mac that stands at its login window, whose it is, and the key that would open it. */
export async function lockedOut(userName: string) {
  const { it, provider } = await openPortal();
  await it.settle();
  await it.checkIn();
  // The key was proved, and for that the Mac was given it: for one reason a day.
  it.pass(25 * 60 * 60);
  await it.assign({ userName });
  const key = it.mac.recoveryKey ?? '';
  it.mac.boot({});
  const visit = (looks: Looks = {}) => visitor(it.portal.url, looks, { elsewhere: [provider.issuer], keepPages: true });
  return { it, provider, key, userName, macPath: `/macs/${await it.macId()}`, visit };
}

/** On the sign-in page, with a local account. */
export async function signInByPassword(page: Page, name: string): Promise<void> {
  await page.locator('input[name="name"]').fill(name);
  await page.locator('input[type="password"]').fill(passwordOfTests);
  await press(page, 'form[action="/sign-in/password"] button:not([type="button"])');
}

/** Ada's user name, as the provider says it and as assignments name it. */
export const ada = 'ada@example.org';

/** On the sign-in page, away to the provider and back. */
export async function signInAtProvider(page: Page): Promise<void> {
  await press(page, 'a[href^="/sign-in/with/example"]');
  await page.getByLabel('User name').fill('ada');
  await page.getByLabel('Password').fill(providerAccounts.find(({ id }) => id === 'sub-ada')?.password ?? '');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL(/\/macs/);
}
