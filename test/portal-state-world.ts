import type { Cookie, Page } from 'playwright-core';
import { mountPortal } from '../portal/portal.ts';
import { Problem, type ProblemCode } from '../protocol/problems.ts';
import { createAccounts } from '../server/accounts.ts';
import { assign } from '../server/assignments.ts';
import type { PeopleSettings } from '../server/people-settings.ts';
import type { MountSites, SitesGround } from '../server/serve.ts';
import { type Change, copyMac } from './portal-copies.ts';
import { givenPortal, passwordOfTests } from './portal-together.ts';

/* One backend with as many Macs and people as the states of all pages take, and the steps by which a browser comes to them. */

type GivenCookie = Pick<Cookie, 'name' | 'value'> & { url: string };
export type Step = (page: Page) => Promise<void>;

export interface PageState {
  name: string;
  /** Of whoever is signed in. */
  cookies: readonly GivenCookie[];
  /** Each brings another page; the last one brings the page that is meant. */
  steps: readonly Step[];
  /** Made of the same parts as another, with other words: who weighs pages need not weigh it. */
  alike: boolean;
}

/** By its form or link, whatever the language. The next page has come when this resolves. */
export const press =
  (selector: string): Step =>
  async (page) => {
    await page.locator(selector).first().click();
    await page.waitForLoadState('load');
  };
export const fill =
  (selector: string, text: string): Step =>
  (page) =>
    page.locator(selector).first().fill(text);
export const to =
  (path: string): Step =>
  async (page) => {
    await page.goto(path);
  };
/** Sends a form as a browser without our markup would: past its own checks. */
export const send =
  (selector: string, change = ''): Step =>
  async (page) => {
    await page.locator(selector).first().waitFor({ state: 'attached' });
    const came = page.waitForEvent('load');
    await page.evaluate(`{ const form = document.querySelector(${JSON.stringify(selector)}); ${change}; HTMLFormElement.prototype.submit.call(form); }`);
    await came;
  };
/** All of it is one step. */
export const steps =
  (...all: readonly Step[]): Step =>
  async (page) => {
    for (const one of all) await one(page);
  };
/** The button that shows a key, for the first time or again. */
export const getKey = press('main form[action$="/key"] button, main form[action$="/key/again"] button');
export const signInWith = (name: string, password: string): Step =>
  steps(fill('input[name="name"]', name), fill('input[type="password"]', password), press('form[action="/sign-in/password"] button:not([type="button"])'));

const contactOfTests = {
  name: 'Service desk of Example',
  phone: '+31 20 555 01 23',
  email: 'desk@example.org',
  page: 'https://help.example.org/',
  hours: 'Mon–Fri 8:00–18:00',
};
const much = { perMinute: 1e6, burst: 1e6 };
const people = {
  contact: contactOfTests,
  brand: { privacyPage: 'https://example.org/privacy', adminPage: 'https://example.org/admin' },
  mail: { from: 'sparekey@example.org' },
  // Nobody listens there: what is wanted of it is its button, and that it does not answer.
  signIn: { providers: [{ id: 'example', name: 'Example', issuer: 'http://127.0.0.1:9', clientId: 'portal' }] },
  selfService: {
    viewsPerPerson: 500,
    viewsPerAddress: 5000,
    managedLocalAdmin: 'refuse',
    groups: [
      { group: 'no-self-service', selfService: 'off', contact: { name: 'Desk of the laboratory', phone: '+31 20 555 09 99' } },
      { group: 'approval', selfService: 'with-approval' },
    ],
  },
};

export interface Person {
  id: string;
  userName: string;
  cookies: GivenCookie[];
}
interface Signed {
  cookies: readonly GivenCookie[];
}
export type World = Awaited<ReturnType<typeof openStates>>;

export async function openStates(options: { mountSites?: MountSites } = {}) {
  let ground: SitesGround | null = null;
  const mountSites: MountSites = async (its) => {
    ground = its;
    await (options.mountSites ?? ((the) => mountPortal(the, { sent: much, helpCodes: much })))(its);
    // What a page says when something went wrong, without its having gone wrong.
    its.http.app.get('/problem/:code', async (request) => {
      throw new Problem((request.params as { code: ProblemCode }).code, undefined, { retryAfterSeconds: 60 });
    });
  };
  const newMac = () => givenPortal({ people, mountSites });
  const first = await newMac();
  const { url } = first.portal;
  const { store, clock, secrets, settings } = first.backend;

  /** People sign in when all the Macs are there: making those takes longer than a session that nobody uses may last. */
  const signedIn: (() => Promise<void>)[] = [];
  /** `stale`: the last time that they signed in was too long ago for a key. */
  function cookiesOf(userName: string, { stale = false } = {}): GivenCookie[] {
    const cookies: GivenCookie[] = [];
    signedIn.push(async () => {
      const client = first.portal.client();
      await first.portal.signIn(client, userName);
      cookies.push(...[...client.jar].map(([name, value]) => ({ name, value, url })));
      const last = store.db
        .selectFrom('web_session')
        .select('id')
        .orderBy('created_at', 'desc')
        .orderBy('rowid' as 'id', 'desc')
        .limit(1);
      if (stale) await store.write((tx) => tx.updateTable('web_session').set({ fresh_at: 1 }).where('id', '=', last).execute());
    });
    return cookies;
  }
  let made = 0;
  async function person(about: { groups?: string[]; displayName?: string; email?: string; name?: string } = {}): Promise<Person> {
    const userName = about.name ?? `person${++made}`;
    const id = await first.portal.account(userName, { displayName: 'Ada Lovelace', ...about });
    return { id, userName, cookies: cookiesOf(userName) };
  }
  /** A Mac of its own with a real agent for a person of its own, enrolled and with its key held and proved. */
  async function own(about: Parameters<typeof person>[0] = {}) {
    const it = await newMac();
    const whose = await person(about);
    await it.settle();
    await it.checkIn();
    const macId = await it.macId();
    const said = { macId, userName: whose.userName, account: null, actor: 'a test', reason: 'a test' };
    await store.write(async (tx) => assign(tx, await clock.persist(tx), said));
    return { it, whose, macId, cookies: whose.cookies, mac: `/macs/${macId}` };
  }

  const states: PageState[] = [];
  const put =
    (alike: boolean) =>
    (name: string, of: Signed | null, ...of_: Step[]) =>
      void states.push({ name, cookies: of?.cookies ?? [], steps: of_, alike });

  return {
    first,
    url,
    store,
    states,
    own,
    person,
    cookiesOf,
    accounts: createAccounts({ store, clock, secrets, settings }),
    now: () => clock.now(),
    /** The page of a Mac like that one, of somebody else. */
    copy: async (macId: string, whose: Person, change: Change = {}) =>
      `/macs/${await copyMac(first.backend, macId, { personId: whose.id, userName: whose.userName, ...change })}`,
    add: put(false),
    /** Drawn with the parts of another, and its own words. */
    alike: put(true),
    /** With other settings while a page is made. */
    under:
      (change: { selfService?: Partial<PeopleSettings['selfService']> } & Partial<Pick<PeopleSettings, 'contact' | 'macAccounts'>>, ...inside: Step[]): Step =>
      async (page) => {
        const its = (ground as SitesGround | null)?.settings;
        if (!its) throw new Error('no portal');
        const { selfService, ...more } = change;
        const before = { contact: its.contact, macAccounts: its.macAccounts };
        const switches = { ...its.selfService };
        Object.assign(its, more);
        Object.assign(its.selfService, selfService);
        try {
          await steps(...inside)(page);
        } finally {
          Object.assign(its, before);
          Object.assign(its.selfService, switches);
        }
      },
    /** What a visit before has changed is as it was. */
    rows:
      (change: (tx: Parameters<Parameters<typeof store.write>[0]>[0]) => Promise<unknown>): Step =>
      async () => {
        await store.write(change);
      },
    /** In this very browser, anew. */
    signInAs:
      (userName: string): Step =>
      async (page) => {
        const client = first.portal.client();
        await first.portal.signIn(client, userName);
        await page.context().addCookies([...client.jar].map(([name, value]) => ({ name, value, url })));
      },
    password: passwordOfTests,
    async finish(): Promise<void> {
      for (const one of signedIn) await one();
    },
  };
}
