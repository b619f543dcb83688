import { randomUUID } from 'node:crypto';
import { createAccounts } from '../server/accounts.ts';
import { assign } from '../server/assignments.ts';
import type { Log } from '../server/log.ts';
import type { MountSites } from '../server/serve.ts';
import { insertClaim } from '../server/store/assignments.ts';
import { type PortalClient, portalClient } from './portal-client.ts';
import { type GivenOptions, given, servePeople } from './together.ts';

// `together.ts` with the portal on it. The settings for people hold for a whole process: the first `givenPortal` starts its
// backend. Knows nothing of jest: the scripts use it too; tests take it from `given-portal.ts`.

export const passwordOfTests = 'a password that only tests have';

interface PortalOptions extends GivenOptions {
  /** `people` of settings.json without its address. */
  people?: object;
  /** `console` of settings.json without its address: the admins' site is there too. */
  console?: object;
  /** What is put on the listener instead. */
  mountSites?: MountSites;
  /** Where the backend writes its lines. */
  log?: Log;
}

/** Somebody with a local account, signed in by the form. */
export interface Given {
  id: string;
  userName: string;
  client: PortalClient;
}

const much = { perMinute: 1e6, burst: 1e6 };
const manyRates = { site: { sent: much, helpCodes: much }, api: { admin: much, address: much } };
/** Each site with what it is in the program, and no limit that a test meets by being quick. */
const mountBoth: MountSites = async (ground) =>
  ground.site === 'portal'
    ? (await import('../portal/portal.ts')).mountPortal(ground, manyRates.site)
    : (await import('../console/console.ts')).mountConsole(ground, manyRates);
let served = false;
let made = 0;

export async function givenPortal(options: PortalOptions = {}) {
  const { people = {}, console, mountSites = mountBoth, log, ...more } = options;
  if (!served) servePeople({ settings: people, mountSites, ...(console ? { console } : {}), ...(log ? { log } : {}) });
  served = true;
  const it = await given(more);
  const url = it.serving.people?.url ?? '';
  const [ca = ''] = it.values['trustedCertificates'] as string[];

  const client = (looks: Parameters<typeof portalClient>[2] = {}): PortalClient => portalClient(url, ca, looks);

  /** A local account with a password, as its person would have set it up. */
  async function account(
    name: string,
    about: { groups?: readonly string[]; displayName?: string; email?: string; withoutPassword?: boolean } = {},
  ): Promise<string> {
    const { store, clock, secrets, settings } = it.backend;
    const accounts = createAccounts({ store, clock, secrets, settings });
    const email = about.email ?? `${name}@example.org`;
    const { personId } = await accounts.add({ name, displayName: about.displayName ?? name, email, emergency: false, actor: 'a test' });
    // Which costs the time that a password is meant to cost.
    if (!about.withoutPassword) await accounts.choosePassword({ personId, name, password: passwordOfTests, code: null });
    const groups = JSON.stringify(about.groups ?? []);
    await store.write((tx) => tx.updateTable('person').set({ groups }).where('id', '=', personId).execute());
    return personId;
  }

  /** By the form, as it stands on the page. */
  async function signIn(browser: PortalClient, name: string, then = '/'): Promise<void> {
    const page = await browser.get(`/sign-in?then=${encodeURIComponent(then)}`);
    const shown = await browser.submit(page, '/sign-in/password', { name, password: passwordOfTests }, { follow: false });
    if (shown.status !== 303) throw new Error(`not signed in: ${shown.status} ${shown.words}`);
  }

  return Object.assign(Object.create(Object.prototype, Object.getOwnPropertyDescriptors(it)) as typeof it, {
    portal: {
      url,
      ca,
      client,
      account,
      signIn,
      /** A name of their own unless the test needs another: accounts stay for the whole file. */
      async person(name = `person${++made}`, about: Parameters<typeof account>[1] & { looks?: Parameters<typeof portalClient>[2] } = {}): Promise<Given> {
        const id = await account(name, about);
        const browser = client(about.looks ?? {});
        await signIn(browser, name);
        return { id, userName: name, client: browser };
      },
    },
    /** The given Mac is theirs, as an admin says it. */
    async assign(person: { userName: string }, about: { account?: string } = {}): Promise<void> {
      const { store, clock } = it.backend;
      const said = { macId: await it.macId(), userName: person.userName, account: about.account ?? null, actor: 'a test', reason: 'a test' };
      await store.write(async (tx) => assign(tx, await clock.persist(tx), said));
    },
    /** Another claim of the same rank, such as two admins make who do not know of one another. */
    async alsoClaim(person: { userName: string }): Promise<void> {
      const { store, clock } = it.backend;
      const mac_id = await it.macId();
      const said = { user_name: person.userName, account: null, source: 'admin', rank: 3, enrolment_id: null, created_by: 'a test' } as const;
      await store.write(async (tx) =>
        insertClaim(tx, { id: randomUUID(), mac_id, ...said, created_at: await clock.persist(tx), ended_at: null, ended_because: null }),
      );
    },
  });
}
