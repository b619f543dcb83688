import { lettersOf } from '../portal/mails.ts';
import { forgetWhatIsOld, watchEpisodes } from '../portal/watch.ts';
import { assign, unassign } from '../server/assignments.ts';
import { decideRequest } from '../server/key-requests.ts';
import { setStanding } from '../server/mac-standing.ts';
import { show } from '../server/show.ts';
import { openRequests } from '../server/store/key-requests.ts';
import { sendMails } from '../web/mail-sending.ts';
import type { Shown } from './portal-client.ts';
import {
  accountsOf,
  approvalHours,
  get,
  hour,
  isFresh,
  isSignedIn,
  keep,
  keyOn,
  minute,
  type Name,
  signIn,
  type Tab,
  traceOf,
  viewsPerAddress,
  viewsPerPerson,
  type World,
} from './portal-course-world.ts';
import { operator } from './together.ts';

/* What people, admins, the Mac and the machine of the backend may do at any moment. Each takes one number to choose by. */

export type Act = (world: World, n: number) => Promise<void>;

const of = <T>(all: readonly T[], n: number): T => all[n % all.length] as T;
/** The owner acts most. */
const tabOf = (world: World, n: number): Tab =>
  of(
    [0, 0, 0, 0, 1, 1, 2, 3, 4, 6].map((at) => world.tabs[at] as Tab),
    n,
  );
const tokenOf = (page: Shown, action: string): string | null => page.forms.find((form) => form.action === action)?.fields['token'] ?? null;

/** Alarms that keep keys from people, told apart from the product's own list. */
const closing = ['NOT_ME', 'IDENTITY_MOVED', 'IDENTITY_CLONED', 'TWO_ENROLMENTS', 'SERIAL_CONFLICT', 'ROW_TAMPERED'];

interface Situation {
  /** Why this person may not be shown a key now; null: they may. */
  not: string | null;
  person: number;
  network: number;
  custody: string;
  rotationOpen: boolean;
  /** This person goes through the keys of this Mac: the one shown is not the likeliest any more. */
  isTrying: boolean;
}

/** Judged by what was said and not by what the product makes of it. */
async function situation(world: World, tab: Tab, isTyping = false): Promise<Situation> {
  const { said, now, id } = world;
  const { db } = world.store;
  const views = await db
    .selectFrom('key_view')
    .innerJoin('episode', 'episode.id', 'key_view.episode_id')
    .select(['person_id', 'network', 'shown_at', 'because', 'mac_id'])
    .execute();
  const alarms = await db.selectFrom('alarm').select('code').where('mac_id', '=', id).where('judged_at', 'is', null).execute();
  const { state } = await world.custodyOf();
  const open = await db.selectFrom('rotation').select('id').where('mac_id', '=', id).where('state', '=', 'begun').execute();
  const { standing } = said;
  const reasons: [boolean, string][] = [
    [tab.of === 'disabled' && said.disabled, 'disabled'],
    [!isSignedIn(tab, world), 'not signed in'],
    [said.owner !== tab.of, `the Mac is of ${said.owner}`],
    [standing.state !== 'in-use', standing.state],
    [standing.ownership === 'personal', 'personal'],
    [said.selfService === 'off', 'self-service is off'],
    [standing.localAdmin && said.managedLocalAdmin === 'refuse', 'the desk has a local admin'],
    [said.alarm || alarms.some(({ code }) => closing.includes(code)), 'an alarm is open'],
    [said.selfService === 'with-approval' && !(await isApproved(world, tab.of, isTyping)), 'not approved'],
  ];
  const mine = views.filter((view) => view.person_id === world.ids[tab.of]);
  return {
    isTrying: mine.some((view) => view.mac_id === id && view.because === 'other-key'),
    not: reasons.find(([holds]) => holds)?.[1] ?? null,
    person: mine.filter((view) => view.shown_at > now - 24 * hour).length,
    network: views.filter((view) => view.shown_at > now - hour).length,
    custody: state,
    rotationOpen: open.length > 0,
  };
}

/**
 * An approval is good until its time, and for the one time of being locked out that begins under it; whoever is typing then is
 * not stopped by its end.
 */
async function isApproved(world: World, name: Name, isTyping: boolean): Promise<boolean> {
  const approval = world.said.approved[name];
  if (!approval || (world.now >= approval.until && !isTyping)) return false;
  const views = await world.store.db
    .selectFrom('key_view')
    .innerJoin('episode', 'episode.id', 'key_view.episode_id')
    .innerJoin('disclosure', 'disclosure.id', 'key_view.disclosure_id')
    .select(['disclosure.hold_ended_at', 'episode.id'])
    .where('episode.mac_id', '=', world.id)
    .where('episode.person_id', '=', world.ids[name])
    .where('disclosure.shown', '=', 1)
    .where('key_view.shown_at', '>=', approval.from)
    .execute();
  return views.length === 0 || (views.every((view) => view.hold_ended_at === null) && new Set(views.map((view) => view.id)).size === 1);
}

interface Sent {
  what: string;
  token: string | null;
  fresh: boolean;
}

/** What an answer to a form may have, by the situation before it. */
function judge(world: World, tab: Tab, before: Situation, page: Shown, { what, token, fresh }: Sent): boolean {
  keep(tab, page);
  const key = keyOn(page);
  if (page.status >= 500 && page.status !== 503) world.wrong.push(`${what} was answered ${page.status}`);
  if (key === null) {
    if (traceOf(page, world.keys) !== null) world.wrong.push(`${what} had a key in passing`);
    return false;
  }
  world.keys.add(key);
  world.seen.push({ by: tab.of, key, at: world.now, token });
  world.lastKey = key;
  if (before.not !== null) world.wrong.push(`${what} showed a key to ${tab.of}: ${before.not}`);
  if (fresh && !isFresh(tab, world)) world.wrong.push(`${what} showed a key without a fresh sign-in`);
  if (token === null || world.spent.has(token)) world.wrong.push(`${what} showed a key for a form that was spent`);
  else world.spent.add(token);
  // More time asks for no fresh sign-in, and is refused by no limit.
  if (fresh && (before.person >= viewsPerPerson || before.network >= viewsPerAddress))
    world.wrong.push(`${what} showed a key beyond a limit: ${before.person}, ${before.network}`);
  const left = Number(/data-seconds="(\d+)"/.exec(page.text)?.[1]);
  if (!(left >= 1 && left <= 300)) world.wrong.push(`${what} showed a key for ${left} s`);
  if (page.headers['cache-control'] !== 'no-store') world.wrong.push(`${what} may be cached`);
  // A held key that nothing has changed since opens the disk.
  if (before.custody === 'held' && !before.rotationOpen && !world.said.keyInDoubt && !world.mac.unlocksWith(key) && !before.isTrying && !/other/.test(what))
    world.wrong.push(`${what} showed a key that does not open the Mac`);
  return true;
}

/** Where nothing stands against it, the person gets their key. */
function must(world: World, tab: Tab, before: Situation, page: Shown, got: boolean, what: string): void {
  const may = before.not === null && before.person < viewsPerPerson && before.network < viewsPerAddress && ['held', 'doubtful'].includes(before.custody);
  if (may && !got && isFresh(tab, world))
    world.wrong.push(`${what} showed ${tab.of} no key although nothing stands against it: ${page.status} ${page.path} ${page.content.slice(0, 160)}`);
}

const keyPath = (world: World): string => `/macs/${world.id}/key`;

async function press(
  world: World,
  tab: Tab,
  page: Shown,
  action: string,
  more: { fields?: Record<string, string>; button?: string; what: string; fresh?: boolean },
): Promise<{ got: boolean; page: Shown; before: Situation }> {
  const before = await situation(world, tab, more.what === 'more time' || action.endsWith('/more-time'));
  const token = tokenOf(page, action);
  const wasSpent = token !== null && world.spent.has(token);
  const answer = await tab.client.submit(page, action, more.fields ?? {}, more.button === undefined ? {} : { button: more.button });
  if (isSignedIn(tab, world) && tab.session) tab.session.seenAt = world.now;
  if (wasSpent && keyOn(answer) !== null) world.wrong.push(`${more.what}: a spent form showed a key`);
  return { got: judge(world, tab, before, answer, { what: more.what, token, fresh: more.fresh ?? true }), page: answer, before };
}

const has = (page: Shown, action: string): boolean => page.forms.some((form) => form.action === action);

/** The page of the key, signed in anew where that is asked for. */
async function before(world: World, tab: Tab, path = keyPath(world)): Promise<Shown> {
  const page = await get(world, tab, path);
  if (has(page, keyPath(world)) || (isFresh(tab, world) && page.path !== '/sign-in')) return page;
  await signIn(world, tab);
  return get(world, tab, path);
}

async function getKey(world: World, tab: Tab, what = 'get'): Promise<void> {
  const page = await before(world, tab);
  if (!has(page, keyPath(world))) {
    must(world, tab, await situation(world, tab), page, false, `${what}, its page`);
    return;
  }
  const { got, page: answer, before: was } = await press(world, tab, page, keyPath(world), { fields: { reason: 'forgotten' }, what });
  must(world, tab, was, answer, got, what);
}

async function write<T>(world: World, act: (tx: Parameters<Parameters<World['store']['write']>[0]>[0], at: number) => Promise<T>): Promise<T> {
  const { store, clock } = world.backend;
  return store.write(async (tx) => act(tx, await clock.persist(tx)));
}
const admin = { actor: 'an admin', reason: 'a course' };

async function give(world: World, to: Name, account: string | null): Promise<void> {
  await write(world, (tx, at) => assign(tx, at, { macId: world.id, userName: to, account, ...admin }));
  world.said.owner = to;
}

/** A run of the job; what it does to the key, it does by the rules. */
async function checkIn(world: World): Promise<void> {
  firstRun(world);
  await world.checkIn();
  world.note();
}

/** The rules count from the job's first run of a boot session; one that died may have forgotten that it ran. */
function firstRun({ said, now }: World, survives = true): void {
  if (said.isUnlocked) said.ranAt.push(now);
  if (survives) said.isUnlocked = false;
}

export const acts: Record<string, Act> = {
  // What people do.
  async signIn(world, n) {
    await signIn(world, tabOf(world, n));
  },
  async getKey(world, n) {
    await getKey(world, tabOf(world, n));
  },
  async getWithoutReason(world, n) {
    const tab = tabOf(world, n);
    const page = await before(world, tab);
    if (has(page, keyPath(world))) await press(world, tab, page, keyPath(world), { what: 'get without a reason' });
  },
  async again(world, n) {
    const tab = tabOf(world, n);
    const page = await before(world, tab, `${keyPath(world)}?gone=1`);
    const action = [`${keyPath(world)}/again`, keyPath(world)].find((one) => has(page, one));
    if (action) await press(world, tab, page, action, { what: 'again' });
  },
  async moreTime(world, n) {
    const tab = tabOf(world, n);
    const action = `${keyPath(world)}/more-time`;
    const from = n % 3 === 0 ? await get(world, tab, `${keyPath(world)}?gone=1`) : tab.pages.findLast((page) => has(page, action));
    if (!from || !has(from, action)) return;
    const last = await lastView(world, tab);
    const { got } = await press(world, tab, from, action, { what: 'more time', fresh: false });
    if (got && (!last || last.hidden_at !== null || world.now > last.ends_at + minute)) world.wrong.push('more time was given after the end of the view');
  },
  async hide(world, n) {
    const tab = tabOf(world, n);
    const action = `${keyPath(world)}/hide`;
    const page = tab.pages.findLast((one) => has(one, action));
    if (page) await press(world, tab, page, action, { what: 'hide', fresh: false });
  },
  async refusedSame(world, n) {
    await refuse(world, tabOf(world, n), 'same');
  },
  async refusedOther(world, n) {
    await refuse(world, tabOf(world, n), 'other');
  },
  async backIn(world, n) {
    const tab = tabOf(world, n);
    const page = await before(world, tab, `/macs/${world.id}`);
    const action = `/macs/${world.id}/back-in`;
    if (!has(page, action)) return;
    const answer = await tab.client.submit(page, action);
    if (answer.status === 200 && tab.of === world.said.owner) world.said.backInAt.push(world.now);
    keep(tab, answer);
  },
  async notMe(world, n) {
    const tab = tabOf(world, n);
    const page = await before(world, tab, `/macs/${world.id}/looked`);
    const link = /href="(\/macs\/[^"]+\/not-me\?view=[^"]+)"/.exec(page.text)?.[1];
    if (!link) return;
    const confirm = await get(world, tab, link);
    const action = `/macs/${world.id}/not-me`;
    if (!has(confirm, action)) return;
    if (tab.of !== world.said.owner) world.wrong.push(`${tab.of} may say that it was not them, of a Mac of ${world.said.owner}`);
    const answer = await tab.client.submit(confirm, action);
    if (answer.status !== 200) return;
    world.said.notMeAt.push(world.now);
    world.said.alarm = true;
    await checkNotMe(world, tab);
  },
  async ask(world, n) {
    const tab = tabOf(world, n);
    const action = `/macs/${world.id}/request`;
    const page = await before(world, tab, action);
    if (!has(page, action)) return;
    await press(world, tab, page, action, { fields: { reason: 'locked out' }, what: 'ask' });
  },
  async askAndApprove(world, n) {
    await acts['ask']?.(world, n);
    await acts['approve']?.(world, n | 1);
    world.pass(20);
    await getKey(world, tabOf(world, n), 'get what was approved');
  },
  async signOut(world, n) {
    const tab = tabOf(world, n);
    const page = await get(world, tab, '/account');
    if (!has(page, '/sign-out')) return;
    await tab.client.submit(page, '/sign-out');
    tab.session = null;
  },
  async signOutEverywhere(world, n) {
    const tab = tabOf(world, n);
    const page = await get(world, tab, '/account');
    if (!has(page, '/sign-out-everywhere')) return;
    await tab.client.submit(page, '/sign-out-everywhere');
    for (const one of world.tabs) if (one.of === tab.of) one.session = null;
  },
  /** Back, and the form once more; also one of before a key was replaced, a session ended, or a Mac went to somebody else. */
  async oldForm(world, n) {
    const tab = tabOf(world, n);
    const page = of(tab.pages, n >> 3);
    const forms = page?.forms.filter((form) => form.method === 'post' && /^\/macs\/[^/]+\/(key|request|refused)/.test(form.action)) ?? [];
    if (!page || forms.length === 0) return;
    const { action } = of(forms, n >> 5);
    await press(world, tab, page, action, {
      fields: { reason: 'back' },
      what: `an old form of ${action.split('/').slice(3).join('/')}`,
      fresh: !action.endsWith('/more-time'),
    });
  },
  async twice(world, n) {
    const tab = tabOf(world, n);
    const page = await before(world, tab);
    if (has(page, keyPath(world)))
      await together(
        world,
        [
          [tab, page],
          [tab, page],
        ],
        1,
      );
  },
  async twoTabs(world, n) {
    const [one, two] = world.tabs.filter((tab) => tab.of === tabOf(world, n).of) as [Tab, Tab];
    const pages: [Tab, Shown][] = [
      [one, await before(world, one)],
      [two, await before(world, two)],
    ];
    await together(
      world,
      pages.filter(([, page]) => has(page, keyPath(world))),
      2,
    );
  },
  /** Everything that there is to be got, by everybody. */
  async look(world, n) {
    const tab = tabOf(world, n);
    const here = `/macs/${world.id}`;
    for (const path of ['', '/key', '/key?gone=1', '/refused', '/looked', '/afterwards', '/unlock', '/request'].slice(n % 4)) {
      const page = await get(world, tab, `${here}${path}`);
      const mine = world.said.owner === tab.of || (world.said.owner === 'two' && (tab.of === 'owner' || tab.of === 'another'));
      if (!mine && isSignedIn(tab, world) && page.status !== 404 && page.path.startsWith('/macs/'))
        world.wrong.push(`${tab.of} was answered ${page.status} at ${path} of a Mac that is not theirs`);
      if (!mine && page.words.includes(world.mac.state.serial)) world.wrong.push(`${tab.of} was told of a Mac that is not theirs`);
    }
    await get(world, tab, '/macs');
  },
  /** Somebody decides against it while the button is pressed: what came first in the audit counts. */
  async race(world, n) {
    const tab = tabOf(world, n);
    const page = await before(world, tab);
    if (!has(page, keyPath(world))) return;
    const was = await situation(world, tab);
    const from = await lastSeq(world);
    const against: (() => Promise<unknown>)[] = [
      async () => {
        await write(world, (tx, at) => unassign(tx, at, { macId: world.id, userName: null, ...admin }));
        world.said.owner = 'nobody';
      },
      async () => {
        await write(world, (tx, at) => setStanding(tx, at, { macId: world.id, ...admin, change: { state: 'lost' } }));
        world.said.standing.state = 'lost';
      },
      () => checkIn(world),
      () => rounds(world),
      () => world.order(),
    ];
    const [answer] = await Promise.all([tab.client.submit(page, keyPath(world), { reason: 'a race' }), of(against, n >> 4)()]);
    judge(world, tab, was, answer, { what: 'a race', token: tokenOf(page, keyPath(world)), fresh: true });
    const since = await world.store.db
      .selectFrom('audit')
      .select(['seq', 'act'])
      .where('seq', '>', from)
      .where('mac_id', '=', world.id)
      .orderBy('seq')
      .execute();
    const shown = since.find(({ act }) => act === 'key.disclosed');
    const ended = since.find(({ act }) => act === 'assignment.ended' || act === 'mac.standing');
    if (shown && ended && ended.seq < shown.seq) world.wrong.push('a key was shown after somebody had decided against it');
  },

  // What admins do.
  async toOwner(world, n) {
    await give(world, 'owner', n % 3 === 0 ? null : 'ada');
  },
  async toAnother(world, n) {
    await give(world, of(['another', 'disabled'], n), null);
  },
  async twoClaims(world) {
    await give(world, 'owner', null);
    await world.alsoClaim({ userName: 'another' });
    world.said.owner = 'two';
  },
  async toNobody(world) {
    await write(world, (tx, at) => unassign(tx, at, { macId: world.id, userName: null, ...admin }));
    world.said.owner = 'nobody';
  },
  async standing(world, n) {
    const change = of([{ state: 'lost' }, { state: 'retired' }, { ownership: 'personal' }, { localAdmin: true }] as const, n);
    await write(world, (tx, at) => setStanding(tx, at, { macId: world.id, ...admin, change }));
    Object.assign(world.said.standing, change);
  },
  async inUse(world) {
    const change = { state: 'in-use', ownership: 'organisation', localAdmin: false } as const;
    await write(world, (tx, at) => setStanding(tx, at, { macId: world.id, ...admin, change }));
    Object.assign(world.said.standing, change);
  },
  async policy(world, n) {
    world.said.selfService = of(['on', 'off', 'with-approval', 'with-approval'] as const, n);
    world.said.managedLocalAdmin = of(['show', 'refuse'] as const, n >> 2);
    world.said.reason = of(['optional', 'required'] as const, n >> 3);
    world.tellSettings();
  },
  async policyOn(world) {
    world.said.selfService = 'on';
    world.tellSettings();
  },
  async approve(world, n) {
    const [request] = (await openRequests(world.store.db)).filter((one) => one.mac_id === world.id && one.state === 'waiting' && one.expires_at > world.now);
    if (!request) return;
    const name = request.user_name as Name;
    const themselves = n % 4 === 0;
    const deciding = {
      request: request.code,
      as: 'approved',
      actor: themselves ? `${name}@example.org` : 'an admin',
      reason: 'a course',
      hours: approvalHours,
    } as const;
    const done = await write(world, (tx, at) => decideRequest(tx, at, deciding)).then(
      () => true,
      () => false,
    );
    if (done === themselves) world.wrong.push(themselves ? 'somebody approved what they asked for' : 'an admin could not approve');
    if (done) world.said.approved[name] = { from: world.now, until: world.now + approvalHours * hour };
  },
  async refuseRequest(world) {
    const [request] = (await openRequests(world.store.db)).filter((one) => one.mac_id === world.id && one.state === 'waiting' && one.expires_at > world.now);
    if (request)
      await write(world, (tx, at) =>
        decideRequest(tx, at, { request: request.id, as: 'refused', actor: 'an admin', reason: 'a course', hours: approvalHours }),
      );
  },
  async judgeAlarms(world) {
    const open = await world.store.db.selectFrom('alarm').select('id').where('mac_id', '=', world.id).where('judged_at', 'is', null).execute();
    for (const { id } of open) await world.custody.judgeAlarm({ alarmId: id, actor: 'an admin', judgement: 'a course' });
    world.said.alarm = false;
  },
  async adminShow(world, n) {
    const result = await show(world.backend, {
      mac: world.id,
      reason: 'a call',
      actor: operator,
      refused: [],
      ...(n % 2 === 0 ? { person: 'ada' } : {}),
    }).catch(() => null);
    if (!result) return;
    world.keys.add(result.text);
    world.lastKey = result.text;
    world.seen.push({ by: 'operator', key: result.text, at: world.now, token: null });
  },
  async order(world, n) {
    const overrideHold = n % 4 === 0;
    await world.order({ overrideHold }).catch(() => undefined);
    if (overrideHold) world.said.overriddenAt.push(world.now);
  },
  async disable(world) {
    await accountsOf(world.backend).disable({ name: 'disabled', ...admin });
    world.said.disabled = true;
    for (const tab of world.tabs) if (tab.of === 'disabled') tab.session = null;
  },
  async enable(world) {
    await accountsOf(world.backend).enable({ name: 'disabled', ...admin });
    world.said.disabled = false;
  },

  // What the Mac does.
  checkIn,
  async settle(world) {
    await checkIn(world);
    world.pass(601);
    await checkIn(world);
  },
  async usesKey(world) {
    const { mac, lastKey } = world;
    if (lastKey === null || !mac.resetPasswordWith(lastKey, 'ada')) return;
    world.said.isUnlocked = true;
  },
  async rebootsWithKey(world) {
    const { mac, lastKey } = world;
    if (lastKey === null || !mac.rebootWithRecoveryKey(lastKey)) return;
    world.pass(60);
    mac.logIn('ada');
    world.said.isUnlocked = true;
  },
  async boots(world) {
    world.mac.boot({ unlock: 'ada' });
    world.mac.logIn('ada');
    world.said.isUnlocked = true;
  },
  async dies(world, n) {
    firstRun(world, false);
    const killed = await world.checkInAndDie({ effect: n % 70, when: n % 2 === 0 ? 'before' : 'after' });
    if (killed.dead()) world.said.keyInDoubt = true;
    world.pass(1);
    world.note();
  },
  async foreignChange(world) {
    world.mac.mdmRotates();
    world.said.keyInDoubt = true;
    world.note();
  },

  // What time and the machine do.
  async pass(world, n) {
    world.pass(of([5, 30, 100, 4 * 60, 6 * 60, 16 * 60, 31 * 60, 3 * 3600, 25 * 3600], n));
    world.note();
  },
  async clockJumps(world, n) {
    world.turnServerClock(of([45, 10 * 60, 5 * 3600], n));
  },
  rounds,
  async mailIsDown(world, n) {
    const { mail } = world.ground.settings;
    if (mail) mail.smtp = n % 2 === 0 ? { host: '127.0.0.1', port: 1, security: 'none', user: null, passwordFile: null, trustedCertificatesFile: null } : null;
  },
  async restart(world) {
    await world.startAgain();
  },
  /** The envelope does not open: nothing is shown, and that is said. */
  async openerAway(world, n) {
    const tab = tabOf(world, n);
    const page = await before(world, tab);
    if (!has(page, keyPath(world))) return;
    const { escrowKeys } = world.backend;
    const { open } = escrowKeys;
    escrowKeys.open = async () => 'no-opener';
    const { got } = await press(world, tab, page, keyPath(world), { fields: { reason: 'forgotten' }, what: 'get without an opener' });
    escrowKeys.open = open;
    if (got) world.wrong.push('a key was shown that could not be opened');
  },
  /** The backend dies between the commit and the opening: nothing more is stored, nobody is answered. */
  async diesBeforeOpening(world, n) {
    const tab = tabOf(world, n);
    const page = await before(world, tab);
    if (!has(page, keyPath(world))) return;
    const { escrowKeys, store } = world.backend;
    let opened = false;
    escrowKeys.open = async () => {
      opened = true;
      store.write = () => Promise.reject(new Error('dead'));
      return 'no-opener';
    };
    const answer = await tab.client.submit(page, keyPath(world), { reason: 'forgotten' });
    if (keyOn(answer) !== null) world.wrong.push('a dead backend showed a key');
    if (opened) world.unseen += 1;
    await world.startAgain();
  },
};

async function rounds(world: World): Promise<void> {
  const { ground } = world;
  await world.custody.sweepTimers();
  await watchEpisodes(ground);
  await sendMails(ground, lettersOf(ground.settings, 'Example'));
  await forgetWhatIsOld(ground);
}

/** Its person is in again and uses the Mac for some days. */
export async function someDays(world: World): Promise<void> {
  await acts['judgeAlarms']?.(world, 0);
  for (let at = 0; at < 4; at++) {
    await acts['boots']?.(world, 0);
    await acts['settle']?.(world, 0);
    world.pass(26 * 60 * 60);
    await rounds(world);
  }
}

async function lastSeq(world: World): Promise<number> {
  return (await world.store.db.selectFrom('audit').select('seq').orderBy('seq', 'desc').limit(1).executeTakeFirst())?.seq ?? 0;
}

async function lastView(world: World, tab: Tab) {
  return world.store.db
    .selectFrom('key_view')
    .innerJoin('episode', 'episode.id', 'key_view.episode_id')
    .selectAll('key_view')
    .where('episode.mac_id', '=', world.id)
    .where('episode.person_id', '=', world.ids[tab.of])
    .orderBy('shown_at', 'desc')
    .limit(1)
    .executeTakeFirst();
}

async function refuse(world: World, tab: Tab, next: 'same' | 'other'): Promise<void> {
  const action = `/macs/${world.id}/refused`;
  const page = await before(world, tab, action);
  if (has(page, action)) await press(world, tab, page, action, { fields: { next }, what: `refused, the ${next}` });
}

/** The same form twice at once shows a key once; two forms at once two. */
async function together(world: World, pages: readonly [Tab, Shown][], most: number): Promise<void> {
  const [first] = pages;
  if (!first) return;
  const was = await situation(world, first[0]);
  const answers = await Promise.all(pages.map(([tab, page]) => tab.client.submit(page, keyPath(world), { reason: 'twice' })));
  let shown = 0;
  answers.forEach((answer, at) => {
    const [tab, page] = pages[at] as [Tab, Shown];
    if (
      judge(world, tab, { ...was, person: was.person + shown, network: was.network + shown }, answer, {
        what: 'two at once',
        token: tokenOf(page, keyPath(world)),
        fresh: true,
      })
    )
      shown += 1;
  });
  if (shown > most) world.wrong.push(`two at once showed ${shown} keys`);
}

/** *This was not me*, and what the page promises. */
async function checkNotMe(world: World, tab: Tab): Promise<void> {
  const { db } = world.store;
  const open = await db.selectFrom('web_session').select('id').where('person_id', '=', world.ids[tab.of]).where('ended_at', 'is', null).execute();
  if (open.length > 0) world.wrong.push(`not me left ${open.length} sessions`);
  const holds = await db
    .selectFrom('disclosure')
    .select('id')
    .where('mac_id', '=', world.id)
    .where('shown', '=', 1)
    .where('hold_ended_at', 'is', null)
    .execute();
  if (holds.length > 0) world.wrong.push('not me left a hold');
  const owed = await db.selectFrom('debt').select(['because', 'closed_at']).where('mac_id', '=', world.id).where('closed_at', 'is', null).execute();
  if (owed.some((debt) => debt.because === 'disclosed') && !owed.some((debt) => debt.because === 'ordered')) world.wrong.push('not me ordered nothing');
  const alarms = await db.selectFrom('alarm').select('code').where('mac_id', '=', world.id).where('judged_at', 'is', null).execute();
  if (!alarms.some(({ code }) => code === 'NOT_ME')) world.said.alarm = false;
  if (alarms.every(({ code }) => code !== 'NOT_ME')) world.wrong.push('not me raised nothing');
  for (const one of world.tabs) if (one.of === tab.of) one.session = null;
}
