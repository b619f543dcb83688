import type { FakeMac } from '../test/fake-mac/fake-mac.ts';
import { formsOf } from '../test/plain-text.ts';
import { portalClient, type Shown } from '../test/portal-client.ts';
import { makeAccount } from './portal-stage.ts';
import type { Stage } from './stage.ts';

/** The portal's part of the story: somebody who is locked out, with nothing but a browser. Real https, real forms, no scripts. */

export interface PortalMeasured {
  portalShowsKey: boolean;
  portalKeyOpensDisk: boolean;
  /** Null where it was not tried: the backend is started anew for it, with its clock ahead. */
  portalGoneAfterFive: boolean | null;
}

const viewSeconds = 300;

/** The six groups as they stand on the page. */
function keyOn({ text }: Shown): string | null {
  const groups = [...text.matchAll(/<p class="signs"[^>]*>(.*?)<\/p>/gs)].map(([, signs = '']) => signs.replace(/<[^>]*>/g, '').trim());
  return groups.length === 6 ? groups.join('-') : null;
}

const isOn = (shown: Shown, key: string): boolean => {
  const all = Buffer.from(shown.text + JSON.stringify(shown.headers));
  return keyOn(shown) !== null || formsOf(key).some((form) => all.includes(form));
};

export async function tellPortal(stage: Stage, mac: FakeMac, person: string, tryGone: boolean): Promise<PortalMeasured> {
  const { people } = stage;
  if (!people) throw new Error('this stage has no portal');
  const account = await makeAccount(stage, `${person.toLowerCase()}@example.org`, person, mac.state.serial);
  const browser = portalClient(people.url, people.trust);
  const signIn = await browser.get('/sign-in?then=%2Fmacs');
  const list = await browser.submit(signIn, '/sign-in/password', { name: account.name, password: account.password });
  const [, macPath] = /href="(\/macs\/[0-9a-f-]{36})/.exec(list.text) ?? [];
  if (macPath === undefined) throw new Error(`the Mac is not on ${person}'s list (${list.status}): ${list.content}`);

  // Locked: at the login window, and nobody knows the password.
  mac.boot({});
  const before = await browser.get(`${macPath}/key`);
  const shown = await browser.submit(before, `${macPath}/key`);
  const key = keyOn(shown);
  const portalShowsKey = shown.status === 200 && key !== null && key === mac.recoveryKey && !isOn(list, key) && !isOn(before, key);
  const portalKeyOpensDisk = key !== null && mac.unlocksWith(key);
  if (!tryGone || key === null) return { portalShowsKey, portalKeyOpensDisk, portalGoneAfterFive: null };

  const [, seconds = '', gonePath = ''] = /^(\d+); url=(\/.*)$/.exec(String(shown.headers['refresh'])) ?? [];
  const leaves = seconds !== '' && Number(seconds) <= viewSeconds && shown.headers['cache-control'] === 'no-store';
  await stage.restartAhead(viewSeconds + 1);
  const gone = await browser.get(gonePath);
  const again = await browser.submit(before, `${macPath}/key`);
  const portalGoneAfterFive = leaves && gone.status === 200 && !isOn(gone, key) && !isOn(again, key);
  return { portalShowsKey, portalKeyOpensDisk, portalGoneAfterFive };
}
