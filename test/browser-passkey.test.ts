import { expect } from '@jest/globals';
import { createAccounts } from '../server/accounts.ts';
import { givePasskeys } from './browser.ts';
import { openPortal, press } from './browser-parts.ts';
import { inChromium, visitor } from './given-browser.ts';
import { freePort } from './ports.ts';

/** Passkeys in a real Chromium with an authenticator of its own. They belong to a name, so here the portal has one. */

inChromium('an emergency account gets its passkey by its one-time code, and gets in with it on the day when the provider is down', async () => {
  const port = await freePort();
  const { it, provider } = await openPortal({ url: `https://localhost:${port}`, listen: { host: '127.0.0.1', port } });
  const accounts = createAccounts(it.backend);
  const { code } = await accounts.add({ name: 'emergency-1', displayName: 'Emergency 1', email: undefined, emergency: true, actor: 'a test' } as never);
  const { page, go } = await visitor(`https://localhost:${port}`, {}, { elsewhere: [provider.issuer] });
  await givePasskeys(page);
  await go('/set-up');
  await page.locator('input[name="name"]').fill('emergency-1');
  await page.locator('input[name="code"]').fill(code);
  await press(page, 'form[action="/set-up"] button');
  expect(await page.locator('input[type="password"]').count()).toBe(0);
  await page.locator('form[action="/set-up/passkey/answer"] button').click();
  await page.waitForURL(/\/macs$/);

  await press(page, 'form[action="/sign-out"] button');
  await provider.stop();
  try {
    await go('/sign-in');
    await press(page, 'a[href^="/sign-in/with/example"]');
    expect(await page.locator('[role="alert"]:visible').count()).toBe(1);
    await page.locator('form[action="/sign-in/passkey/answer"] button').click();
    await page.waitForURL(/\/macs$/);
    expect(await page.locator('header').innerText()).toContain('Emergency 1');
  } finally {
    await provider.start();
  }
});
