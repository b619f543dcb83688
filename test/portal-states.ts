import type { Cookie, Page } from 'playwright-core';
import { mountPortal } from '../portal/portal.ts';
import { screensOf } from '../portal/steps/screens.ts';
import { isWay, stepsOf } from '../portal/steps/steps.ts';
import { assign } from '../server/assignments.ts';
import { type StandingChange, setStanding } from '../server/mac-standing.ts';
import type { MountSites } from '../server/serve.ts';
import { givenPortal, passwordOfTests } from './portal-together.ts';

/*
 * Every state of every page of the portal, made on one backend with as many Macs and people as that takes. For whoever looks
 * at all of them: the check of states, and the benchmark of pages. Knows nothing of jest.
 */

type GivenCookie = Pick<Cookie, 'name' | 'value'> & { url: string };
type Step = (page: Page) => Promise<void>;

export interface PageState {
  name: string;
  /** Of whoever is signed in. */
  cookies: readonly GivenCookie[];
  /** Each brings another page; the last one brings the page that is meant. */
  steps: readonly Step[];
}

/** By its form or link, whatever the language. The next page has come when this resolves. */
const press =
  (selector: string): Step =>
  async (page) => {
    await page.locator(selector).first().click();
    await page.waitForLoadState('load');
  };
const fill =
  (selector: string, text: string): Step =>
  (page) =>
    page.locator(selector).first().fill(text);
const to =
  (path: string): Step =>
  async (page) => {
    await page.goto(path);
  };

const contactOfTests = {
  name: 'Service desk of Example',
  phone: '+31 20 555 01 23',
  email: 'desk@example.org',
  page: 'https://help.example.org/',
  hours: 'Mon–Fri 8:00–18:00',
};

/** The button that shows a key, for the first time or again. */
const getKey = 'main form[action$="/key"] button, main form[action$="/key/again"] button';
const much = { perMinute: 1e6, burst: 1e6 };

export async function givenPages(options: { mountSites?: MountSites } = {}): Promise<{ url: string; elsewhere: string[]; states: PageState[] }> {
  const people = {
    contact: contactOfTests,
    brand: { privacyPage: 'https://example.org/privacy', adminPage: 'https://example.org/admin' },
    mail: { from: 'sparekey@example.org' },
    selfService: {
      viewsPerPerson: 500,
      viewsPerAddress: 5000,
      groups: [
        { group: 'no-self-service', selfService: 'off', contact: { name: 'Desk of the laboratory', phone: '+31 20 555 09 99' } },
        { group: 'approval', selfService: 'with-approval' },
        { group: 'nobody-to-call' },
      ],
    },
  };
  const mountSites: MountSites = options.mountSites ?? ((ground) => mountPortal(ground, { sent: much, helpCodes: much }));
  const newMac = () => givenPortal({ people, mountSites });
  const first = await newMac();
  const { url } = first.portal;

  /** People sign in when all the Macs are there: making those takes longer than a session that nobody uses may last. */
  const signedIn: (() => Promise<void>)[] = [];
  function cookiesOf(userName: string): GivenCookie[] {
    const cookies: GivenCookie[] = [];
    signedIn.push(async () => {
      const client = first.portal.client();
      await first.portal.signIn(client, userName);
      cookies.push(...[...client.jar].map(([name, value]) => ({ name, value, url })));
    });
    return cookies;
  }
  let made = 0;
  /** A Mac of its own for a person of its own, enrolled and with its key held and proved. */
  async function own(about: { groups?: string[]; standing?: StandingChange; displayName?: string } = {}): Promise<Own> {
    const it = await newMac();
    const userName = `person${++made}`;
    await it.portal.account(userName, { groups: about.groups ?? [], displayName: about.displayName ?? 'Ada Lovelace' });
    await it.settle();
    await it.checkIn();
    const macId = await it.macId();
    const { store, clock } = it.backend;
    const said = { macId, actor: 'a test', reason: 'a test' };
    await store.write(async (tx) => assign(tx, await clock.persist(tx), { ...said, userName, account: null }));
    const { standing } = about;
    if (standing) await store.write(async (tx) => setStanding(tx, await clock.persist(tx), { ...said, change: standing }));
    return { it, macId, cookies: cookiesOf(userName), mac: `/macs/${macId}` };
  }
  interface Own {
    it: Awaited<ReturnType<typeof newMac>>;
    macId: string;
    cookies: GivenCookie[];
    mac: string;
  }

  const states: PageState[] = [];
  const add = (name: string, of: { cookies: readonly GivenCookie[] } | null, ...steps: Step[]): void =>
    void states.push({ name, cookies: of?.cookies ?? [], steps });

  // Without sign-in.
  add('sign-in', null, to('/sign-in'));
  add(
    'sign-in-refused',
    null,
    to('/sign-in'),
    fill('input[name="name"]', 'nobody'),
    fill('input[type="password"]', 'not a password'),
    press('form[action="/sign-in/password"] button:not([type="button"])'),
  );
  add('sign-in-ended', null, to('/sign-in?then=%2Fmacs&ended=1'));
  add('cannot-sign-in', null, to('/cannot-sign-in'));
  add('not-found', null, to('/no-such-page'));
  await first.portal.account('signs-in-here');
  add(
    'signed-in',
    null,
    to('/sign-in'),
    fill('input[name="name"]', 'signs-in-here'),
    fill('input[type="password"]', passwordOfTests),
    press('form[action="/sign-in/password"] button:not([type="button"])'),
  );

  // Macs.
  const ready = await own();
  await first.portal.account('has-no-mac');
  const none = { cookies: cookiesOf('has-no-mac') };
  add('macs', ready, to('/macs'));
  add('macs-none', none, to('/macs'));
  add('not-listed', ready, to('/not-listed'));
  add('mac', ready, to(ready.mac));
  add('mac-of-somebody-else', none, to(ready.mac));
  add('looked-nobody', ready, to(`${ready.mac}/looked`));
  add('afterwards', ready, to(`${ready.mac}/afterwards`));
  add('account', ready, to('/account'));

  // Who may not.
  for (const [name, standing] of [
    ['personal', { ownership: 'personal' }],
    ['lost', { state: 'lost' }],
    ['retired', { state: 'retired' }],
  ] as const) {
    const one = await own({ standing });
    add(`mac-${name}`, one, to(one.mac));
  }
  const off = await own({ groups: ['no-self-service'] });
  add('mac-off', off, to(off.mac));
  const asks = await own({ groups: ['approval'] });
  add('request', asks, to(`${asks.mac}/request`));

  const claimed = await own();
  await claimed.it.alsoClaim({ userName: 'somebody-else' });
  add('mac-two-claims', claimed, to(claimed.mac));
  add('set-up', null, to('/set-up'));
  const { serial } = await first.store.db.selectFrom('mac').select('serial').where('id', '=', ready.macId).executeTakeFirstOrThrow();
  add('label', ready, to(`/label/${serial}`));

  // Before the key: each screen that a Mac may show, each step, and whom to call when it does not work.
  add('unlock', ready, to(`${ready.mac}/unlock`));
  add('unlock-look', ready, to(`${ready.mac}/unlock?look=1`));
  for (const id of [...screensOf('apple'), 'no-question-mark'] as const) {
    const steps = isWay(id) ? stepsOf(id, 'apple', '15').length : 1;
    for (let step = 1; step <= steps; step++) add(`unlock-${id}-${step}`, ready, to(`${ready.mac}/unlock?shows=${id}&step=${step}`));
    add(`unlock-${id}-still`, ready, to(`${ready.mac}/unlock?shows=${id}&still=1`));
  }

  // The key.
  const before = await own();
  add('key-before', before, to(`${before.mac}/key`));
  const shown = await own();
  add('key-shown', shown, to(`${shown.mac}/key`), press(getKey));
  add('key-gone', shown, to(`${shown.mac}/key?gone=1`));
  add('mac-key-shown', shown, to(shown.mac));
  add('looked', shown, to(`${shown.mac}/looked`));
  add('refused', shown, to(`${shown.mac}/key`), press(getKey), press('a[href$="/refused"]'));
  add('not-me', shown, to(`${shown.mac}/looked`), press('a[href*="/not-me"]'));
  const refuses = await own();
  const toRefused = [to(`${refuses.mac}/key`), press(getKey), press('a[href$="/refused"]')];
  add('refused-second-try', refuses, ...toRefused, press('button[value="same"]'));
  add('refused-no-other-key', refuses, ...toRefused, press('button[value="other"]'));
  for (const one of signedIn) await one();
  return { url, elsewhere: [], states };
}
