import { expect } from '@jest/globals';
import { ada, getKey, keyShown, lockedOut, press, signInAtProvider } from './browser-parts.ts';
import { axeClean, inChromium } from './given-browser.ts';

inChromium(
  'a key that the Mac refuses: the check list, a second try with the same key, then the service desk with a code; and the hold is never broken',
  async () => {
    const { it, key, macPath, visit } = await lockedOut(ada);
    const { page, go } = await visit();
    await go(`${macPath}/key`);
    await signInAtProvider(page);
    await press(page, getKey);
    expect(await keyShown(page)).toBe(key);
    await press(page, 'a[href$="/refused"]');
    await axeClean(page, 'refused');
    await press(page, 'button[value="same"]');
    expect(await keyShown(page)).toBe(key);
    await it.checkIn();
    expect(it.mac.recoveryKey).toBe(key);
    await press(page, 'a[href$="/refused"]');
    await press(page, 'button[value="other"]');
    await axeClean(page, 'refused-desk');
    expect(await page.locator('#key').count()).toBe(0);
    expect(await page.locator('main').innerText()).toContain('+31 20 555 01 23');
    const refusals = await it.store.db
      .selectFrom('refusal')
      .selectAll()
      .where('mac_id', '=', await it.macId())
      .execute();
    expect(refusals.length).toBe(2);
    expect(it.mac.recoveryKey).toBe(key);
  },
);
