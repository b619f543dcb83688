import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { mountPortal } from '../portal/portal.ts';
import { createAccounts } from '../server/accounts.ts';
import { makeFormToken } from '../web/form-token.ts';
import { endSessionsOf, startSession } from '../web/sessions.ts';
import { type Given, givenPortal, passwordOfTests } from './given-portal.ts';
import type { PortalClient, Sending, Shown } from './portal-client.ts';
import { scratch } from './scratch.ts';

/*
 * Every route of the portal, and who may come. Whoever adds one writes it here; the table is compared with what is really
 * registered. Where the path has `:mac`, it is also asked as somebody whose Mac that is not.
 */
const routes: Record<string, 'nobody' | 'person' | 'fresh' | 'asset'> = {
  'GET /': 'nobody',
  'GET /assets/:digest/:name': 'asset',
  'GET /logo': 'asset',
  'POST /language': 'nobody',
  'GET /sign-in': 'nobody',
  'POST /sign-in/password': 'nobody',
  'POST /sign-in/passkey': 'nobody',
  'POST /sign-in/passkey/answer': 'nobody',
  'GET /sign-in/with/:provider': 'nobody',
  'GET /sign-in/back/:provider': 'nobody',
  'POST /sign-out': 'nobody',
  'POST /sign-out-everywhere': 'person',
  'POST /account/sessions/end': 'person',
  'GET /cannot-sign-in': 'nobody',
  // With a code of the desk, and nobody without one: test/releases.test.ts.
  'GET /release': 'nobody',
  'POST /release': 'nobody',
  'GET /release/key': 'nobody',
  'POST /release/key': 'nobody',
  'POST /release/key/again': 'nobody',
  'POST /release/key/more-time': 'nobody',
  'POST /release/key/hide': 'nobody',
  'GET /release/refused': 'nobody',
  'POST /release/refused': 'nobody',
  'POST /release/done': 'nobody',
  'GET /set-up': 'nobody',
  'POST /set-up': 'nobody',
  'POST /set-up/password': 'nobody',
  'POST /set-up/passkey': 'nobody',
  'POST /set-up/passkey/answer': 'nobody',
  'GET /account': 'person',
  'POST /account/passkeys/ask': 'fresh',
  'POST /account/passkeys/add': 'fresh',
  'POST /account/passkeys/remove': 'fresh',
  'GET /account/password': 'fresh',
  'POST /account/password': 'fresh',
  'GET /macs': 'person',
  'GET /macs/:mac': 'person',
  'GET /macs/:mac/looked': 'person',
  'GET /macs/:mac/afterwards': 'person',
  'POST /macs/:mac/back-in': 'person',
  'GET /macs/:mac/not-me': 'person',
  'POST /macs/:mac/not-me': 'person',
  'GET /macs/:mac/unlock': 'person',
  'GET /macs/:mac/key': 'person',
  'POST /macs/:mac/key': 'fresh',
  'POST /macs/:mac/key/again': 'fresh',
  'POST /macs/:mac/key/more-time': 'person',
  'POST /macs/:mac/key/hide': 'person',
  'GET /macs/:mac/refused': 'person',
  'POST /macs/:mac/refused': 'fresh',
  'GET /macs/:mac/request': 'person',
  'POST /macs/:mac/request': 'person',
  'GET /label/:serial': 'person',
  'GET /not-listed': 'person',
};

const much = { perMinute: 1e6, burst: 1e6 };
const registered: { method: string; path: string; asks: boolean }[] = [];
let it: Awaited<ReturnType<typeof givenPortal>>;
let owner: Given;
let other: Given;
let macId = '';

beforeAll(async () => {
  // All that settings can bring, so that every route is there: a provider, which is down, and a logo.
  const logoFile = join(scratch('site-security'), 'logo.svg');
  writeFileSync(logoFile, '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="8" height="8"/></svg>');
  const providers = [{ id: 'work', name: 'Work', issuer: 'http://127.0.0.1:1', clientId: 'portal' }];
  it = await givenPortal({
    people: { signIn: { providers }, brand: { logoFile } },
    mountSites: async (ground) => {
      ground.http.app.addHook('onRoute', ({ method, url, config }) => {
        for (const one of [method].flat()) if (one !== 'HEAD') registered.push({ method: one, path: url, asks: config !== undefined && 'asks' in config });
      });
      // What time alone brings about comes while nothing is compared.
      await mountPortal({ ...ground, every: () => undefined }, { sent: much, helpCodes: much });
    },
  });
  await it.checkIn();
  owner = await it.portal.person('owner');
  other = await it.portal.person('other');
  await it.assign(owner);
  macId = await it.macId();
});

const nameOf = ({ method, path }: { method: string; path: string }): string => `${method} ${path}`;
const pathFor = (path: string, mac: string): string =>
  path
    .replace(':mac', mac)
    .replace(':serial', it.mac.state.serial)
    .replace(/:[a-z]+/g, 'nothing');
const needsOf = (name: string) => routes[name] ?? 'nobody';
const posts = () => registered.filter(({ method }) => method === 'POST');
const pages = () => registered.filter((route) => route.method === 'GET' && needsOf(nameOf(route)) !== 'asset');
const ours = (): Record<string, string> => ({ origin: it.portal.url, 'sec-fetch-site': 'same-origin' });

/** Made anew by time from what else is stored, whether somebody asks or not. */
const derived = /^(fleet_\w+|mac_dirty|audit_checkpoint|webhook_state)$/;

/** Everything that is stored but the marks of time and of mistakes. */
async function stored(): Promise<string> {
  const { db } = it.store;
  const tables = (await db.introspection.getTables()).map(({ name }) => name).filter((name) => !['memory', 'help_code'].includes(name) && !derived.test(name));
  const rows = await Promise.all(
    tables.map(async (name) => [
      name,
      await db
        .selectFrom(name as 'mac')
        .selectAll()
        .execute(),
    ]),
  );
  return JSON.stringify(rows, (key, value) => (key === 'last_seen_at' ? null : value));
}

async function sessionIdOf(person: Given): Promise<string> {
  const rows = await it.store.db.selectFrom('web_session').selectAll().where('person_id', '=', person.id).where('ended_at', 'is', null).execute();
  return rows.at(-1)?.id ?? '';
}
const tokenFor = async (person: Given, act: string): Promise<string> =>
  makeFormToken(it.backend.secrets.nonce, { holder: `session:${await sessionIdOf(person)}`, act }, it.backend.clock.now(), false);

/** As fresh as any act needs. */
async function freshly(person: Given): Promise<void> {
  person.client.jar.clear();
  await it.portal.signIn(person.client, person.userName);
}

/** A form, or what a script asks, with a token or without. */
const send = (client: PortalClient, { path, asks }: { path: string; asks: boolean }, token: string | null, sending: Sending = {}): Promise<Shown> =>
  asks
    ? client.get(path, {
        method: 'POST',
        follow: false,
        headers: { 'content-type': 'application/json', ...(token === null ? {} : { 'form-token': token }), ...(sending.headers ?? ours()) },
        body: '{}',
      })
    : client.get(path, {
        method: 'POST',
        follow: false,
        headers: { 'content-type': 'application/x-www-form-urlencoded', ...(sending.headers ?? ours()) },
        body: new URLSearchParams(token === null ? {} : { token }).toString(),
      });

/** Without what is different in each: the code for the service desk, tokens, and the path itself. */
const alike = ({ status, text }: Shown, mac: string): [number, string] => [
  status,
  text
    .replaceAll(mac, 'MAC')
    .replace(/[2-9A-Z]{4}-[2-9]{2}/g, 'CODE')
    .replace(/name="token" value="[^"]*"/g, 'TOKEN'),
];

describe('who may come', () => {
  test('every route that is registered is in this table, and no other', () => {
    expect(registered.map(nameOf).toSorted()).toEqual(Object.keys(routes).toSorted());
  });

  test('nobody sees or does anything that needs a sign-in: they are led to it', async () => {
    const nobody = it.portal.client();
    const before = await stored();
    for (const route of registered) {
      const needs = needsOf(nameOf(route));
      if (needs === 'nobody' || needs === 'asset') continue;
      const path = pathFor(route.path, macId);
      const led = route.method === 'GET' ? await nobody.get(path, { follow: false }) : await send(nobody, { ...route, path }, null);
      expect([nameOf(route), led.status]).toEqual([nameOf(route), route.asks ? 401 : 303]);
      if (!route.asks) expect([nameOf(route), led.headers['location']]).toEqual([nameOf(route), expect.stringMatching(/^\/sign-in\?then=%2F/)]);
    }
    expect(await stored()).toBe(before);
  });

  test('somebody else gets the same answer for this Mac as for one that does not exist, and changes nothing', async () => {
    const before = await stored();
    const none = randomUUID();
    let asked = 0;
    for (const route of registered.filter(({ path }) => path.includes(':mac'))) {
      const answers = [];
      for (const mac of [macId, none]) {
        const path = pathFor(route.path, mac);
        const shown = route.method === 'GET' ? await other.client.get(path) : await send(other.client, { ...route, path }, await tokenFor(other, path));
        answers.push(alike(shown, mac));
      }
      expect([nameOf(route), answers[0]]).toEqual([nameOf(route), answers[1]]);
      expect([nameOf(route), answers[0]?.[0]]).toEqual([nameOf(route), 404]);
      asked += 1;
    }
    expect(asked).toBeGreaterThan(0);
    const labels = [];
    for (const serial of [it.mac.state.serial, 'C02NOTHERE00']) labels.push(alike(await other.client.get(`/label/${serial}`), serial));
    expect(labels[0]).toEqual(labels[1]);
    expect(await stored()).toBe(before);
  });

  test('what needs a fresh sign-in is refused to an old one, without doing anything', async () => {
    const person = await it.portal.person('stale');
    it.turnServerClock(16 * 60);
    const before = await stored();
    for (const route of registered.filter((one) => needsOf(nameOf(one)) === 'fresh')) {
      const path = pathFor(route.path, macId);
      const led =
        route.method === 'GET' ? await person.client.get(path, { follow: false }) : await send(person.client, { ...route, path }, await tokenFor(person, path));
      expect([nameOf(route), led.status]).toEqual([nameOf(route), route.asks ? 401 : 303]);
      if (!route.asks) expect([nameOf(route), led.headers['location']]).toEqual([nameOf(route), expect.stringMatching(/&again=1$/)]);
    }
    expect(await stored()).toBe(before);
  });
});

describe('a form of somebody else', () => {
  const ways: [name: string, token: (path: string) => Promise<string | null>, headers: () => Record<string, string>][] = [
    ['without a token', async () => null, ours],
    ['with a token that is none', async () => 'x'.repeat(75), ours],
    ['with a token of another session', (path) => tokenFor(other, path), ours],
    ['with a token of another act', () => tokenFor(owner, '/another/act'), ours],
    ['from another site', (path) => tokenFor(owner, path), () => ({ origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' })],
    ['from another origin of this site', (path) => tokenFor(owner, path), () => ({ origin: it.portal.url, 'sec-fetch-site': 'same-site' })],
    ['typed in as an address', (path) => tokenFor(owner, path), () => ({ origin: it.portal.url, 'sec-fetch-site': 'none' })],
    ['from another origin, by an old browser', (path) => tokenFor(owner, path), () => ({ origin: 'https://127.0.0.1' })],
    ['from nowhere, by an old browser', (path) => tokenFor(owner, path), () => ({ origin: 'null' })],
    ['by something that says nothing', (path) => tokenFor(owner, path), () => ({})],
  ];
  test.each(ways)('%s is refused by every act, and nothing is changed', async (_, tokenOf, headers) => {
    await freshly(owner);
    const before = await stored();
    for (const route of posts()) {
      const path = pathFor(route.path, macId);
      const refused = await send(owner.client, { ...route, path }, await tokenOf(path), { headers: { ...headers(), accept: '*/*' } });
      expect([nameOf(route), refused.status]).toEqual([nameOf(route), 403]);
      if (!route.asks) expect(refused.content).toContain('Nothing was changed');
    }
    expect(await stored()).toBe(before);
  });

  test('a visitor’s form is good for that visitor alone', async () => {
    const [one, two] = [it.portal.client(), it.portal.client()];
    const page = await one.get('/sign-in');
    await two.get('/sign-in');
    const stolen = await two.submit(page, '/sign-in/password', { name: 'owner', password: passwordOfTests }, { follow: false });
    expect([stolen.status, two.jar.has('__Host-session')]).toEqual([403, false]);
    expect((await one.submit(page, '/sign-in/password', { name: 'owner', password: passwordOfTests }, { follow: false })).status).toBe(303);
  });
});

describe('headers', () => {
  const csp = (shown: Shown): Map<string, string> =>
    new Map(
      String(shown.headers['content-security-policy'])
        .split(/; */)
        .map((part) => [part.split(' ')[0] ?? '', part.split(' ').slice(1).join(' ')]),
    );
  function expectGuarded(name: string, shown: Shown): void {
    const { headers } = shown;
    const policy = csp(shown);
    expect([name, policy.get('default-src'), policy.get('frame-ancestors'), policy.get('base-uri'), policy.get('form-action')]).toEqual([
      name,
      "'none'",
      "'none'",
      "'none'",
      "'self'",
    ]);
    expect([name, policy.get('script-src'), policy.get('style-src'), policy.get('connect-src')]).toEqual([name, "'self'", "'self'", "'self'"]);
    expect([name, String(headers['content-security-policy'])]).toEqual([name, expect.not.stringMatching(/unsafe|\*|http:|https:/)]);
    expect([name, headers]).toEqual([
      name,
      expect.objectContaining({
        'cache-control': 'no-store',
        'referrer-policy': 'same-origin',
        'cross-origin-opener-policy': 'same-origin',
        'cross-origin-resource-policy': 'same-origin',
        'x-frame-options': 'DENY',
        'x-content-type-options': 'nosniff',
        'strict-transport-security': expect.stringContaining('max-age='),
        'permissions-policy': expect.stringContaining('clipboard-read=()'),
      }),
    ]);
    expect([name, headers['server'], headers['x-powered-by'], headers['access-control-allow-origin']]).toEqual([name, undefined, undefined, undefined]);
    // Nothing inline, nothing from elsewhere.
    expect([name, shown.text]).toEqual([
      name,
      expect.not.stringMatching(/\sstyle=|\son[a-z]+=|<style|<script(?![^>]*\ssrc="\/assets\/)|(src|srcset)="(?!\/)/i),
    ]);
  }

  test('every page, as nobody and as its person, and every page of a mistake, has all of them', async () => {
    const nobody = it.portal.client();
    await freshly(owner);
    for (const route of pages()) {
      for (const client of [nobody, owner.client]) {
        const shown = await client.get(pathFor(route.path, macId), { follow: false });
        expect([nameOf(route), shown.status]).toEqual([nameOf(route), expect.not.stringMatching('500')]);
        if (/image/.test(String(shown.headers['content-type']))) continue;
        expectGuarded(nameOf(route), shown);
      }
    }
    const mistakes: [name: string, path: string, sending: Sending][] = [
      ['not found', '/nothing', {}],
      ['an address that cannot be read', '/%zz', {}],
      ['another method', '/sign-in', { method: 'DELETE' }],
      ['too large', '/language', { method: 'POST', body: 'x'.repeat(20_000), headers: { 'content-type': 'application/x-www-form-urlencoded' } }],
      ['a query that cannot be read', '/sign-in?then=%ff', {}],
    ];
    for (const [name, path, sending] of mistakes) {
      const shown = await nobody.get(path, sending);
      expect([name, shown.status]).toEqual([name, expect.any(Number)]);
      expect(shown.status).toBeGreaterThanOrEqual(400);
      expect(shown.status).toBeLessThan(500);
      expect([name, shown.headers['content-type']]).toEqual([name, 'text/html; charset=utf-8']);
      expectGuarded(name, shown);
    }
  });

  test('no page weighs more than 30 KB with all that it loads', async () => {
    await freshly(owner);
    const weights = new Map<string, number>();
    for (const route of pages()) {
      const page = await owner.client.get(pathFor(route.path, macId));
      let weight = Buffer.byteLength(page.text);
      for (const [, address = ''] of page.text.matchAll(/<(?:link|script|img)\b[^>]*(?:href|src)="(\/[^"]+)"/g)) {
        if (!weights.has(address)) {
          const loaded = await owner.client.get(address, { headers: { 'accept-encoding': 'gzip' } });
          weights.set(address, Number(loaded.headers['content-length']));
        }
        weight += weights.get(address) ?? 0;
      }
      expect([nameOf(route), weight]).toEqual([nameOf(route), expect.any(Number)]);
      if (weight > 30_000) throw new Error(`${nameOf(route)} weighs ${weight} bytes`);
    }
    expect(weights.size).toBeGreaterThan(2);
  });

  test('styles and scripts run nothing themselves and are for this site alone', async () => {
    const page = await it.portal.client().get('/sign-in');
    const addresses = [...page.text.matchAll(/(?:href|src)="(\/assets\/[^"]+)"/g)].map(([, address = '']) => address);
    expect(addresses.length).toBeGreaterThan(1);
    for (const address of addresses) {
      const { headers } = await it.portal.client().get(address);
      expect([headers['cross-origin-resource-policy'], headers['x-content-type-options'], headers['set-cookie']]).toEqual([
        'same-origin',
        'nosniff',
        undefined,
      ]);
      expect(headers['content-security-policy']).toContain("default-src 'none'");
    }
  });

  test('cookies are for this host, TLS and HTTP alone, and go with no form of another site', async () => {
    const browser = it.portal.client();
    const door = await browser.get('/sign-in');
    const into = await browser.submit(door, '/sign-in/password', { name: 'owner', password: passwordOfTests }, { follow: false });
    const inside = await browser.get('/macs');
    const switched = await browser.submit(inside, '/language', {}, { button: 'Nederlands', follow: false });
    const out = await browser.submit(inside, '/sign-out', {}, { follow: false });
    const lines = [door, into, inside, switched, out].flatMap(({ headers }) => [headers['set-cookie'] ?? []].flat());
    expect(lines.length).toBeGreaterThanOrEqual(5);
    for (const line of lines) {
      expect(line).toMatch(/^__Host-[a-z-]+=[\w.~-]*; Path=\/; Secure; HttpOnly; SameSite=Lax(; Max-Age=\d+)?$/);
    }
    expect(browser.jar.has('__Host-session')).toBe(false);
  });
});

describe('after signing in', () => {
  test.each([
    '//evil.example/',
    '/\\evil.example/',
    '\\\\evil.example',
    'https://evil.example/',
    'javascript:alert(1)',
    '/\t/evil.example',
    '/\r\nset-cookie: a=b',
    ' //evil.example',
    'evil',
    '',
    `/${'a'.repeat(3000)}`,
  ])('%j leads to no other site', async (then) => {
    const browser = it.portal.client();
    const door = await browser.get(`/sign-in?then=${encodeURIComponent(then)}`);
    const page = door.status === 200 ? door : await browser.get('/sign-in');
    // As the page has it, and as somebody else might have written it into the form.
    for (const fields of [{}, Object.fromEntries([['then', then]])]) {
      const into = await browser.submit(page, '/sign-in/password', { name: 'other', password: passwordOfTests, ...fields }, { follow: false });
      const to = String(into.headers['location'] ?? '/');
      expect(new URL(to, it.portal.url).origin).toBe(it.portal.url);
      expect(to).toMatch(/^\/(?![/\\])[!-~]*$/);
      expect(into.headers['set-cookie'] ?? []).toEqual(expect.not.arrayContaining([expect.stringContaining('a=b')]));
      browser.jar.delete('__Host-session');
      await browser.get('/sign-in');
    }
  });
});

/** Puts itself before the act of a request (its `nth` write), behind everything that the request has checked. Tells what was stored then. */
async function between(nth: number, meanwhile: () => Promise<unknown>, work: () => Promise<Shown>): Promise<{ answer: Shown; before: string }> {
  const { store } = it.backend;
  const { write } = store;
  let writes = 0;
  let before = '';
  store.write = async (act) => {
    writes += 1;
    if (writes === nth) {
      store.write = write;
      await meanwhile();
      before = await stored();
    }
    return write(act);
  };
  try {
    return { answer: await work(), before };
  } finally {
    store.write = write;
  }
}

/** A session as the sign-in makes it, without the work on a password. */
async function signedIn({ id, client }: Given): Promise<void> {
  const visit = { site: 'portal', session: null, network: 'a test', browser: 'a test' } as Parameters<typeof startSession>[2]['visit'];
  const at = it.backend.clock.now();
  const cookies = await it.store.write(async (tx) => {
    await endSessionsOf(tx, id, 'a test', at);
    return startSession(tx, at, { personId: id, way: 'password', visit });
  });
  for (const { name, value } of cookies) if (value !== null) client.jar.set(`__Host-${name}`, value);
}

describe('between the check of a request and its act', () => {
  const forms: [path: string, fields: (macId: string) => Promise<Record<string, string>>, ofMac: boolean][] = [
    ['/macs/MAC/key', async () => ({}), true],
    ['/macs/MAC/back-in', async () => ({}), true],
    [
      '/macs/MAC/not-me',
      async (id) => ({ view: (await it.store.db.selectFrom('disclosure').select('id').where('mac_id', '=', id).execute())[0]?.id ?? '' }),
      true,
    ],
    ['/account/password', async () => ({ password: 'nobody guesses this one', repeat: 'nobody guesses this one' }), false],
    ['/account/passkeys/remove', async () => ({ passkey: 'none' }), false],
  ];
  const happenings: Record<string, (person: Given) => Promise<unknown>> = {
    'the session ends': ({ id }) => it.store.write((tx) => endSessionsOf(tx, id, 'a test', it.backend.clock.now())),
    'its time is over': async () => {
      it.turnServerClock(30 * 60 * 1000);
      await it.backend.custody.sweepTimers();
    },
    'the person is disabled': ({ userName }) => createAccounts(it.backend).disable({ name: userName, actor: 'a test', reason: 'left' }),
    'the Mac is given to somebody else': () => it.assign(other),
  };
  const courses = forms.flatMap(([path, fields, ofMac]) =>
    Object.keys(happenings)
      .filter((what) => ofMac || what !== 'the Mac is given to somebody else')
      .map((what) => [what, path, fields] as const),
  );

  test('whoever is signed out, disabled or no longer its person does nothing more', async () => {
    await freshly(owner);
    await it.assign(owner);
    const page = await owner.client.get(`/macs/${macId}/key`);
    expect((await owner.client.submit(page, `/macs/${macId}/key`)).status).toBe(200);
    const person = await it.portal.person();
    const course = async ([what, path, fields]: (typeof courses)[number]) => {
      await createAccounts(it.backend).enable({ name: person.userName, actor: 'a test', reason: 'again' });
      await signedIn(person);
      await it.assign(person);
      const act = path.replace('MAC', macId);
      const token = await tokenFor(person, act);
      const given = { token, ...(await fields(macId)) };
      return between(
        1,
        () => happenings[what]?.(person) ?? Promise.resolve(),
        () => person.client.post(act, given, { follow: false }),
      );
    };
    for (const one of courses) {
      const [what, path] = one;
      let { answer, before } = await course(one);
      // An act of the backend’s own came first, and the request passed by: once more.
      for (let again = 0; before === '' && again < 5; again += 1) ({ answer, before } = await course(one));
      expect([what, path, before === '', answer.status >= 303, await stored()]).toEqual([what, path, false, true, before]);
    }
  });

  test('an account that is reset lets nobody in by the password of before, and is not given another by whoever was in', async () => {
    const person = await it.portal.person();
    const accounts = createAccounts(it.backend);
    const reset = async () => void (await accounts.reset({ name: person.userName, actor: 'a test', reason: 'it leaked', forgetPasskeys: false }));
    const open = async () =>
      (await it.store.db.selectFrom('web_session').select('id').where('person_id', '=', person.id).where('ended_at', 'is', null).execute()).length;
    const password = 'chosen by somebody else';
    const token = await tokenFor(person, '/account/password');
    await between(1, reset, () => person.client.post('/account/password', { token, password, repeat: password }, { follow: false }));
    const account = await it.store.db.selectFrom('local_account').selectAll().where('person_id', '=', person.id).executeTakeFirstOrThrow();
    expect([account.password, account.setup_digest === null, await open()]).toEqual([null, false, 0]);

    // Charged, compared, let in: the third.
    await accounts.choosePassword({ personId: person.id, name: person.userName, password: passwordOfTests, code: null });
    const thief = it.portal.client();
    const door = await thief.get('/sign-in');
    const { answer } = await between(3, reset, () =>
      thief.submit(door, '/sign-in/password', { name: person.userName, password: passwordOfTests }, { follow: false }),
    );
    expect([answer.status, thief.jar.has('__Host-session'), await open()]).toEqual([403, false, 0]);
  });
});

describe('what anybody may look at as often as they like', () => {
  const codes = async () => (await it.store.db.selectFrom('help_code').select('code').execute()).length;
  const codeOn = ({ text }: Shown) => /<code>([2-9A-Z]{4}-[2-9]{2})<\/code>/.exec(text)?.[1];

  test('keeps one code for the service desk for each person, page and Mac in an hour, and writes nothing for a further look', async () => {
    const person = await it.portal.person();
    const before = await codes();
    const first = codeOn(await person.client.get('/not-listed'));
    const looks = await Promise.all(Array.from({ length: 20 }, (_, at) => person.client.get(`/not-listed?look=${at}`)));
    expect([...new Set(looks.map(codeOn))]).toEqual([first]);
    expect(await codes()).toBe(before + 1);
    // Another page and another person have codes of their own, and so has the next hour.
    expect(codeOn(await person.client.get('/macs'))).not.toBe(first);
    await freshly(other);
    expect(codeOn(await other.client.get('/not-listed'))).not.toBe(first);
    it.turnServerClock(60 * 60 * 1000 + 1);
    await freshly(person);
    expect(codeOn(await person.client.get('/not-listed'))).not.toBe(first);
  });
});

test('signing out and hiding a key are in the audit, with who did it', async () => {
  const person = await it.portal.person();
  await it.assign(person);
  const key = `/macs/${macId}/key`;
  const page = await person.client.get(key);
  const shown = await person.client.submit(page, key);
  await person.client.submit(shown, `${key}/hide`);
  await person.client.submit(await person.client.get('/macs'), '/sign-out');
  const acts = await it.store.db.selectFrom('audit').select(['act', 'mac_id']).where('actor', '=', person.userName).orderBy('seq').execute();
  expect(acts.map(({ act }) => act).filter((act) => !/^(sign-in|account)\./.test(act))).toEqual(['key.disclosed', 'key.hidden', 'session.ended']);
});

test('what is no request that can be read gets a page too, with the headers that every page has', async () => {
  const answer = await new Promise<string>((resolve, reject) => {
    const { hostname, port } = new URL(it.portal.url);
    const socket = connect({ host: hostname, port: Number(port), ca: it.portal.ca }, () => socket.write('GET / HTTP/1.1\r\nno header\r\n\r\n'));
    let said = '';
    socket.on('data', (data) => (said += data));
    socket.on('close', () => resolve(said));
    socket.on('error', reject);
  });
  expect(answer).toMatch(/^HTTP\/1\.1 400 /);
  const head = answer.split('\r\n\r\n')[0]?.toLowerCase() ?? '';
  expect(head).toContain('content-type: text/html');
  for (const header of [
    'x-content-type-options: nosniff',
    'strict-transport-security: ',
    'referrer-policy: ',
    'content-security-policy: ',
    'cache-control: no-store',
  ])
    expect(head).toContain(header);
  expect(answer).not.toMatch(/HPE_|\bat \/|node:/);
});
