import { createAccounts } from '../server/accounts.ts';
import type { SitesGround } from '../server/serve.ts';
import type { PortalClient, Shown } from './portal-client.ts';
import { givenPortal, passwordOfTests } from './portal-together.ts';
import { closeAll, closeMacs } from './together.ts';

/*
 * The world of a course: one Mac, four people, each with two browsers that keep the pages they were shown; and what has to be
 * known to judge it, written down beside the product and never asked of it.
 */

const second = 1000;
export const minute = 60 * second;
export const hour = 60 * minute;

/** Small enough to be met within a course. */
export const viewsPerPerson = 12;
export const viewsPerAddress = 20;
export const approvalHours = 4;
const freshMinutes = 15;
const sessionHours = 8;
const idleMinutes = 30;

const names = ['owner', 'another', 'disabled', 'without'] as const;
export type Name = (typeof names)[number];

/** One browser of a person, and the session that it has. */
export interface Tab {
  of: Name;
  client: PortalClient;
  session: { createdAt: number; freshAt: number; seenAt: number } | null;
  /** Pages with forms, oldest first. */
  pages: Shown[];
}

/** A key that was in an answer. */
interface Seen {
  by: Name | 'operator';
  key: string;
  at: number;
  token: string | null;
}

/** What was said by admins and people, as the course has it. */
interface Said {
  owner: Name | 'nobody' | 'two';
  standing: { ownership: 'organisation' | 'personal'; state: 'in-use' | 'lost' | 'retired'; localAdmin: boolean };
  selfService: 'on' | 'off' | 'with-approval';
  managedLocalAdmin: 'show' | 'refuse';
  reason: 'none' | 'optional' | 'required';
  disabled: boolean;
  /** When *not me* was said, and no admin has judged it since. */
  alarm: boolean;
  /** Until when an approval is good, and when it was given. */
  approved: Partial<Record<Name, { from: number; until: number }>>;
  backInAt: number[];
  notMeAt: number[];
  overriddenAt: number[];
  /** Somebody has unlocked the Mac, and the job has not run since. */
  isUnlocked: boolean;
  /** When it ran first after that. */
  ranAt: number[];
  /** Somebody else changed the key, a rotation was cut off, or the opener is away: then a shown key need not be the right one. */
  keyInDoubt: boolean;
}

export const accountsOf = ({ store, clock, secrets, settings }: Portal['backend']) => createAccounts({ store, clock, secrets, settings });

type Portal = Awaited<ReturnType<typeof givenPortal>>;
export type World = Awaited<ReturnType<typeof openWorld>>;

let ground: SitesGround | null = null;
let made: Promise<Record<Name, string>> | null = null;
let courses = 0;

const people = {
  contact: { name: 'The service desk', phone: '+31 20 555 0100', email: 'desk@example.org' },
  mail: { from: 'keys@example.org' },
  signIn: { freshMinutes, sessionHours, idleMinutes },
  selfService: { viewsPerPerson, viewsPerAddress, approvalHours },
};

/** Rounds come when the course says so. */
async function mountSites(given: SitesGround): Promise<void> {
  ground = given;
  const much = { perMinute: 1e6, burst: 1e6 };
  await (await import('../portal/portal.ts')).mountPortal({ ...given, every: () => undefined }, { sent: much, helpCodes: much });
}

/** After so many courses a new backend: the rows of old ones cost time. */
const coursesPerBackend = 40;

export async function closeCourses(): Promise<void> {
  await closeAll();
  made = null;
  courses = 0;
}

export async function openWorld() {
  if (courses > 0 && courses % coursesPerBackend === 0) await closeCourses();
  courses += 1;
  const it: Portal = await givenPortal({ people, mountSites });
  made ??= (async () => {
    const ids: Partial<Record<Name, string>> = {};
    for (const name of names) ids[name] = await it.portal.account(name);
    return ids as Record<Name, string>;
  })();
  const ids = await made;
  // No view of a course before counts against this one.
  it.pass(25 * 60 * 60);
  const tabs: Tab[] = names.flatMap((of) => [1, 2].map(() => ({ of, client: it.portal.client(), session: null, pages: [] })));
  const said: Said = {
    owner: 'nobody',
    standing: { ownership: 'organisation', state: 'in-use', localAdmin: false },
    selfService: 'on',
    managedLocalAdmin: 'show',
    reason: 'optional',
    disabled: false,
    alarm: false,
    approved: {},
    backInAt: [],
    notMeAt: [],
    overriddenAt: [],
    isUnlocked: false,
    ranAt: [],
    keyInDoubt: false,
  };
  await accountsOf(it.backend).enable({ name: 'disabled', actor: 'an admin', reason: 'another course' });
  await it.checkIn();
  const macId = await it.macId();
  const began = it.backend.clock.now();
  /** Everything that stands on the Mac's disk or in an answer: what no page may hold. */
  const keys = new Set<string>();
  const more = {
    id: macId,
    ids,
    tabs,
    said,
    began,
    keys,
    seen: [] as Seen[],
    /** Tokens of forms that have shown a key. */
    spent: new Set<string>(),
    /** Of disclosures that a dead server left behind: nobody saw their key. */
    unseen: 0,
    /** What no invariant may say: filled by acts, read after each step. */
    wrong: [] as string[],
    lastKey: null as string | null,
    get now() {
      return it.backend.clock.now();
    },
    get ground() {
      if (!ground) throw new Error('no portal');
      return ground;
    },
    note(): void {
      const key = it.mac.recoveryKey;
      if (key !== null) keys.add(key);
    },
    /** As settings.json would say it; a restarted backend is told again. */
    tellSettings(): void {
      const { selfService: everybody, managedLocalAdmin, reason } = said;
      Object.assign(more.ground.settings.selfService, { everybody, managedLocalAdmin, reason });
    },
    async startAgain(): Promise<void> {
      await it.restart();
      more.tellSettings();
      // Their connections ended with it; a browser opens others.
      for (const tab of tabs) tab.client.close();
    },
    async close(): Promise<void> {
      for (const tab of tabs) tab.client.close();
      closeMacs();
    },
  };
  // As they are: what `given` and this get is asked for each time.
  const all = { ...Object.getOwnPropertyDescriptors(it), ...Object.getOwnPropertyDescriptors(more) };
  const world = Object.create(Object.prototype, all) as typeof it & typeof more;
  world.note();
  world.tellSettings();
  return world;
}

/** By the server's clock, whatever the browser still has. */
export function isSignedIn({ session, of }: Tab, { now, said }: World): boolean {
  if (!session || (of === 'disabled' && said.disabled)) return false;
  return now < session.createdAt + sessionHours * hour && now < session.seenAt + idleMinutes * minute;
}
export const isFresh = (tab: Tab, world: World): boolean => isSignedIn(tab, world) && world.now < (tab.session?.freshAt ?? 0) + freshMinutes * minute;

/** The key that stands on a page for people to read, or null. */
export function keyOn(page: Shown): string | null {
  const groups = [...page.text.matchAll(/<p class="signs"[^>]*>(.*?)<\/p>/gs)].map(([, signs = '']) => signs.replace(/<[^>]*>/g, '').trim());
  return groups.length === 0 ? null : groups.join('-');
}

/** Any trace of a key: two groups of one that exists, in whatever way they are written. */
export function traceOf(page: Shown, keys: Iterable<string>): string | null {
  const plain = `${page.text.replace(/<[^>]*>/g, '')}\n${JSON.stringify(page.headers)}`;
  for (const key of keys) if (key.split('-').filter((group) => plain.includes(group)).length >= 2) return key;
  return null;
}

/** A page that was got: no key, ever; and it is kept for going back to. */
export async function get(world: World, tab: Tab, path: string): Promise<Shown> {
  if (isSignedIn(tab, world) && tab.session) tab.session.seenAt = world.now;
  const page = await tab.client.get(path);
  if (traceOf(page, world.keys) !== null || keyOn(page) !== null) world.wrong.push(`a GET of ${path} had a key`);
  if (page.status >= 500) world.wrong.push(`a GET of ${path} was answered ${page.status}`);
  keep(tab, page);
  return page;
}

export function keep(tab: Tab, page: Shown): void {
  if (page.forms.length > 0) tab.pages = [...tab.pages.slice(-7), page];
}

export async function signIn(world: World, tab: Tab): Promise<boolean> {
  const page = await tab.client.get('/sign-in?again=1&then=/macs');
  const isAgain = isSignedIn(tab, world);
  const shown = await tab.client.submit(page, '/sign-in/password', { name: tab.of, password: passwordOfTests }, { follow: false });
  const isIn = shown.status === 303;
  const may = !(tab.of === 'disabled' && world.said.disabled);
  if (isIn !== may) world.wrong.push(`${tab.of} was ${isIn ? '' : 'not '}signed in${isAgain ? ' again' : ''}: ${shown.status} ${shown.content.slice(0, 120)}`);
  if (isIn) tab.session = { createdAt: world.now, freshAt: world.now, seenAt: world.now };
  return isIn;
}
