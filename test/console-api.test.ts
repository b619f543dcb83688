import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { apiRates } from '../console/api.ts';
import { mountConsole } from '../console/console.ts';
import { mountPortal } from '../portal/portal.ts';
import { whileAsking } from '../server/auditing/asking.ts';
import { createIdempotency } from '../server/idempotency.ts';
import { openLog } from '../server/log.ts';
import { type Permission, type Role, roles } from '../server/permissions.ts';
import { makeFormToken } from '../web/form-token.ts';
import { type AdminGiven, type Answered, givenConsole } from './given-console.ts';
import { addressOf, type Document, mistakesIn, type Route, routesOf, sample } from './openapi-reading.ts';

const much = { perMinute: 1e6, burst: 1e6 };
const allRoles = Object.keys(roles) as Role[];
const may = (role: Role, permission: string): boolean =>
  permission === 'signed-in' || (roles[role].may as readonly string[]).includes(permission as Permission);

let it: Awaited<ReturnType<typeof givenConsole>>;
let document: Document;
let routes: Route[];
/** Those that ask who is there. */
let closed: Route[];
/** Every route of the console as it was added. */
const registered: { method: string; path: string; asks: boolean }[] = [];
const admins = new Map<Role, AdminGiven>();
const as = (role: Role): AdminGiven => admins.get(role) as AdminGiven;

beforeAll(async () => {
  it = await givenConsole({
    mountSites: async (ground) => {
      const site = { sent: much, helpCodes: much };
      if (ground.site === 'portal') return mountPortal(ground, site);
      ground.http.app.addHook('onRoute', ({ method, url, config }) => {
        for (const one of [method].flat()) if (one !== 'HEAD') registered.push({ method: one, path: url, asks: config !== undefined && 'asks' in config });
      });
      await mountConsole(ground, { site, api: { admin: apiRates.admin, address: much } });
    },
  });
  await it.checkIn();
  for (const role of allRoles) admins.set(role, await it.as(role));
  document = (await it.console.nobody.get('/v1/openapi.json')).body;
  routes = routesOf(document);
  closed = routes.filter(({ permission }) => permission !== 'nobody');
});

const audits = async (): Promise<number> => (await it.store.db.selectFrom('audit').select('seq').orderBy('seq', 'desc').executeTakeFirst())?.seq ?? 0;

function expectProblem(what: unknown, { status, headers, body }: Answered, code?: string): void {
  const type = String(headers['content-type']).split(';')[0];
  expect([what, type, body.status, body.requestId]).toEqual([what, 'application/problem+json', status, headers['x-request-id']]);
  if (code !== undefined) expect([what, body.code, body.detail]).toEqual([what, code, body.detail]);
}

const bodyOf = (route: Route): unknown => (['POST', 'PUT', 'PATCH'].includes(route.method) ? sample(route.body ?? { type: 'object' }) : undefined);
const ask = (client: Pick<AdminGiven, 'ask'>, route: Route, inPath: string, body: unknown = bodyOf(route)): Promise<Answered> =>
  client.ask(addressOf(route, inPath), { method: route.method, ...(body === undefined ? {} : { body }) });

describe('the document', () => {
  test('is OpenAPI 3.1 without a mistake: references, operations, parameters, answers', () => {
    expect(mistakesIn(document)).toEqual([]);
    expect(closed.length).toBeGreaterThan(20);
    expect(document.servers).toEqual([{ url: it.console.url }]);
  });

  test('its reader finds what is wrong with one', () => {
    const broken = structuredClone(document);
    broken.paths['/v1/me'].get.operationId = closed.find(({ id }) => id !== 'me.show')?.id;
    broken.paths['/v1/tokens/{other}'] = broken.paths['/v1/tokens/{id}'];
    delete broken.components.responses.NotAllowed;
    broken.paths['/v1/me'].get.responses = { 400: {} };
    expect(mistakesIn(broken).join('\n')).toMatch(/there twice[\s\S]*\{other\} is not declared|\{other\} is not declared[\s\S]*there twice/);
    expect(mistakesIn(broken).join('\n')).toContain('nothing is at #/components/responses/NotAllowed');
    expect(mistakesIn(broken).join('\n')).toContain('GET /v1/me: has no answer that is good');
  });

  test('every operation stands on the page for people too, with its parameters, who may, and a line for a shell', async () => {
    const { text, status } = await as('viewer').browser.get('/docs');
    expect(status).toBe(200);
    for (const { id, method, path } of routes) expect([id, text.includes(`id="${id}"`), text.includes(`${method} ${path}`)]).toEqual([id, true, true]);
    expect(text).toContain('curl -H @token.txt');
    expect(text).not.toMatch(/<script(?![^>]*\ssrc="\/assets\/)|\sstyle=|\son[a-z]+=/);
  });
});

describe('each route × each role', () => {
  test('nobody is answered 401 and what to do, before anything that they sent is looked at', async () => {
    for (const route of closed) {
      const answer = await ask(it.console.nobody, route, 'nothing', ['POST', 'PUT', 'PATCH'].includes(route.method) ? { unknown: true } : undefined);
      expect([route.id, answer.status]).toEqual([route.id, 401]);
      expectProblem(route.id, answer, 'SIGNED_OUT');
      expect([route.id, answer.headers['www-authenticate']]).toEqual([route.id, 'Bearer realm="sparekey"']);
    }
  });

  test.each(allRoles)('%s: what the table does not allow is refused and changes nothing', async (role) => {
    const refused = closed.filter(({ permission }) => !may(role, permission));
    const before = await audits();
    for (const route of refused) {
      const answer = await ask(as(role), route, await it.macId());
      expect([route.id, answer.status]).toEqual([route.id, 403]);
      expectProblem(route.id, answer, 'NOT_ALLOWED');
    }
    expect(await audits()).toBe(before);
    expect(role === 'owner' ? 0 : 1).toBeLessThanOrEqual(refused.length);
  });

  test('whoever has the permission is never told that they have not, and nothing that fits the document breaks anything', async () => {
    for (const route of closed) {
      // What anybody signed in may ask can still depend on a role, by what it is about: `owner` has them all.
      const role = route.permission === 'signed-in' ? 'owner' : (allRoles.find((one) => may(one, route.permission)) as Role);
      const answer = await ask(as(role), route, 'nothing');
      expect([route.id, answer.status, answer.status < 500 || answer.text]).toEqual([route.id, answer.status, true]);
      expect([route.id, ['NOT_ALLOWED', 'SIGNED_OUT'].includes(answer.body?.code) && answer.body]).toEqual([route.id, false]);
      if (answer.status >= 400) expectProblem(route.id, answer);
      expect([route.id, answer.headers['cache-control']]).toEqual([route.id, 'no-store']);
    }
  });

  test('somebody who is signed in and has no role is told so, by the API and by the pages', async () => {
    const nobody = await it.as(null);
    expectProblem('api', await nobody.get('/v1/me'), 'NOT_ALLOWED');
    const page = await nobody.browser.get('/');
    expect([page.status, page.content]).toEqual([403, expect.stringContaining('You have no role here yet')]);
    expect(page.content).toContain(nobody.userName);
    const token = await it.as('viewer', null, 'token');
    await it.store.write((tx) => tx.updateTable('role_given').set({ ended_at: 1 }).where('subject', '=', token.personId).execute());
    expect((await token.get('/v1/me')).status).toBe(401);
  });
});

describe('who sends it', () => {
  const give = (who: AdminGiven | null) => ({ person: who?.userName ?? 'nobody', role: 'viewer', reason: 'a test' });

  test('a session changes something only with a token for that very path, from a page of ours', async () => {
    const owner = as('owner');
    const before = await audits();
    const { nonce } = it.backend.secrets;
    const made = (holder: string, act: string, at = it.backend.clock.now()) => makeFormToken(nonce, { holder, act }, at, false);
    const mine = `session:${owner.sessionId}`;
    const path = '/v1/roles';
    const cases: [what: string, headers: Record<string, string | undefined>, code: string][] = [
      ['no token', { 'form-token': undefined }, 'FORM_REFUSED'],
      ['another path’s', { 'form-token': made(mine, '/v1/tokens') }, 'FORM_REFUSED'],
      ['somebody else’s', { 'form-token': made(`session:${as('admin').sessionId}`, path) }, 'FORM_REFUSED'],
      ['a visitor’s', { 'form-token': made('visitor:x', path) }, 'FORM_REFUSED'],
      ['of yesterday', { 'form-token': made(mine, path, it.backend.clock.now() - 86_400_000) }, 'FORM_REFUSED'],
      ['of another site', { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }, 'ORIGIN_REFUSED'],
      ['of the portal', { 'sec-fetch-site': 'same-site', origin: it.portal.url }, 'ORIGIN_REFUSED'],
      ['of an old browser elsewhere', { 'sec-fetch-site': undefined, origin: 'https://evil.example' }, 'ORIGIN_REFUSED'],
      ['of no page', { 'sec-fetch-site': undefined, origin: undefined }, 'ORIGIN_REFUSED'],
    ];
    for (const [what, headers, code] of cases) expectProblem(what, await owner.post(path, give(as('viewer')), headers), code);
    expect(await audits()).toBe(before);
  });

  test('a session of the portal is none here, one of here is none there, and neither site has the other’s pages', async () => {
    const { browser } = await it.console.startSessionOf(as('owner').personId, 'portal');
    const cookie = browser.jar.get('__Host-session') ?? '';
    for (const name of ['__Host-session', '__Host-console-session'])
      expect([name, (await it.console.nobody.get('/v1/me', { cookie: `${name}=${cookie}` })).status]).toEqual([name, 401]);
    const portal = it.portal.client();
    portal.jar.set('__Host-session', as('owner').browser.jar.get('__Host-console-session') ?? '');
    expect((await portal.get('/macs')).path).toMatch(/^\/sign-in/);
    expect((await portal.get('/v1/me')).status).toBe(404);
    expect((await portal.get('/metrics')).status).toBe(404);
    expect((await as('owner').browser.get('/macs')).status).toBe(404);
  });

  test('a token needs no page; what is no token, an ended one and one of a cookie’s owner are refused', async () => {
    const token = await it.as('viewer', null, 'token');
    expect((await token.get('/v1/me')).body).toMatchObject({ kind: 'token', userName: token.userName });
    for (const authorization of ['Bearer', 'Bearer x', `Basic ${Buffer.from('a:b').toString('base64')}`, `Bearer spk_${'a'.repeat(49)}`, 'Bearer é']) {
      const answer = await as('owner').get('/v1/me', { authorization: Buffer.from(authorization).toString('latin1') });
      expect([authorization, answer.status]).toEqual([authorization, 401]);
    }
    expect((await token.delete('/v1/me/token')).status).toBe(200);
    expect((await token.get('/v1/me')).status).toBe(401);
  });
});

describe('each page and form of the console', () => {
  /** For whoever is not signed in yet, and for programs. What is not here asks who is there. */
  const open = /^\/(assets\/|logo$|sign-in|sign-out$|set-up|cannot-sign-in$|healthz$|readyz$|metrics$|v1\/)/;
  /** What somebody has of their own, whatever role they have. */
  const own = /^\/(account|sign-out-everywhere)/;
  const pages = () => registered.filter(({ path, method }) => method === 'GET' && !open.test(path));
  const forms = () => registered.filter(({ path, method }) => method !== 'GET' && !open.test(path));
  const filled = (path: string) => path.replace(/:[A-Za-z]+/g, 'nothing');

  test('is for whoever is signed in, and for whoever has a role', async () => {
    expect(pages().length).toBeGreaterThan(5);
    const stranger = await it.as(null);
    for (const { path } of pages()) {
      const nobody = await it.console.browser().get(filled(path), { follow: false });
      expect([path, nobody.status, nobody.headers['location']]).toEqual([path, 303, expect.stringMatching(/^\/sign-in\?then=/)]);
      if (own.test(path)) continue;
      const without = await stranger.browser.get(filled(path), { follow: false });
      expect([path, without.status, without.content]).toEqual([path, 403, expect.stringContaining('You have no role here yet')]);
      const owner = await as('owner').browser.get(filled(path), { follow: false });
      expect([path, owner.status < 500 && owner.status !== 403]).toEqual([path, true]);
    }
  });

  test('changes nothing for whoever is not signed in, has no role, comes from elsewhere, or brings no token for it', async () => {
    const [owner, stranger] = [as('owner'), await it.as(null)];
    const { nonce } = it.backend.secrets;
    expect(forms().length).toBeGreaterThan(5);
    const begun = await audits();
    for (const { path, method, asks } of forms()) {
      expect([path, method]).toEqual([path, 'POST']);
      const at = filled(path);
      const type = asks ? 'application/json' : 'application/x-www-form-urlencoded';
      const send = (who: AdminGiven, headers: Record<string, string>, token: string) =>
        who.browser.post(at, asks ? {} : { token }, {
          follow: false,
          headers: { 'content-type': type, 'form-token': token, ...headers },
          ...(asks ? { body: '{}' } : {}),
        });
      const tokenOf = (who: AdminGiven, act = at) => makeFormToken(nonce, { holder: `session:${who.sessionId}`, act }, it.backend.clock.now(), false);
      const elsewhere = await send(owner, { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }, tokenOf(owner));
      expect([path, elsewhere.status, elsewhere.text.includes('ORIGIN_REFUSED')]).toEqual([path, 403, true]);
      const other = await send(owner, {}, tokenOf(owner, '/sign-out'));
      expect([path, other.status, other.text.includes('FORM_REFUSED')]).toEqual([path, 403, true]);
      const nobody = await it.console.browser().post(at, {}, { follow: false });
      expect([path, [303, 401].includes(nobody.status)]).toEqual([path, true]);
      if (own.test(path)) continue;
      const without = await send(stranger, {}, tokenOf(stranger));
      expect([path, without.status, without.text.includes('NOT_ALLOWED')]).toEqual([path, 403, true]);
    }
    expect(await audits()).toBe(begun);
  });
});

describe('what is sent', () => {
  test('unknown fields, wrong types and what is no JSON are refused with their places, and nothing is stored', async () => {
    const owner = as('owner');
    const before = await audits();
    for (const route of closed.filter(({ method }) => method !== 'GET' && method !== 'DELETE')) {
      const unknown = await ask(owner, route, 'nothing', { ...(sample(route.body ?? { type: 'object' }) as object), colour: 'red' });
      expect([route.id, unknown.status, unknown.body.detail]).toEqual([route.id, 400, expect.stringContaining('colour')]);
      for (const name of Object.keys(route.body?.properties ?? {}).slice(0, 6)) {
        const wrong = await ask(owner, route, 'nothing', { ...(sample(route.body ?? {}) as object), [name]: { not: ['this'] } });
        expect([route.id, name, wrong.status, wrong.body.detail]).toEqual([route.id, name, 400, expect.stringContaining(name)]);
      }
    }
    for (const route of closed.filter(({ method }) => method === 'GET')) {
      const odd = await as('owner').get(`${addressOf(route, 'nothing')}${addressOf(route, 'nothing').includes('?') ? '&' : '?'}colour=red`);
      expect([route.id, odd.status, odd.body?.detail]).toEqual([route.id, 400, expect.stringContaining('colour')]);
    }
    const raw = (body: string, headers: Record<string, string> = {}) => owner.post('/v1/roles', body, headers);
    expectProblem('no JSON', await raw('{"a":'), 'MESSAGE_INVALID');
    expectProblem('a list', await raw('[]'), 'MESSAGE_INVALID');
    expectProblem('a word', await raw('"x"'), 'MESSAGE_INVALID');
    expectProblem('no UTF-8', await raw('{}', { 'content-type': 'application/json' }), 'MESSAGE_INVALID');
    expectProblem('a prototype', await raw('{"__proto__":{"role":"owner"}}'), 'MESSAGE_INVALID');
    expect(await audits()).toBe(before);
  });

  test('an id that is none is not found or not understood, whatever it holds', async () => {
    const odd = ['%00', '..%2f..%2fetc', "'%20or%201=1--", '%F0%9F%92%BB', 'x'.repeat(127), '-', '__proto__', '%E0%A4%A'];
    const ids = closed.filter(({ path }) => path.includes('{'));
    expect(ids.length).toBeGreaterThan(5);
    for (const [at, route] of ids.entries()) {
      // Each route two of them: every route and every id, and not all pairs.
      for (const id of [odd[at % odd.length], odd[(at + 3) % odd.length]] as string[]) {
        const answer = await ask(as('owner'), route, id);
        expect([route.id, id, answer.status, [400, 404].includes(answer.status) || answer.text]).toEqual([route.id, id, answer.status, true]);
        expectProblem([route.id, id], answer);
      }
    }
  });

  test('other paths, methods, sizes and types are refused in the same form', async () => {
    const owner = as('owner');
    expectProblem('no path', await owner.get('/v1/nothing'), 'NOT_FOUND');
    const other = await owner.ask('/v1/me', { method: 'PUT', body: {} });
    expectProblem('method', other, 'METHOD_NOT_ALLOWED');
    expect([other.status, other.headers['allow']]).toEqual([405, 'GET, HEAD']);
    const head = await owner.ask('/v1/me', { method: 'HEAD', headers: { 'form-token': undefined } });
    expect([head.status, head.text]).toEqual([200, '']);
    expect((await owner.post('/v1/roles', { reason: 'x'.repeat(300_000) })).status).toBe(413);
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/jsonp'])
      expectProblem(type, await owner.post('/v1/roles', '{}', { 'content-type': type }), 'MEDIA_TYPE_REFUSED');
    expectProblem('query', await owner.post('/v1/roles?role=owner', {}), 'MESSAGE_INVALID');
    expectProblem('twice', await owner.get('/v1/people/tokens?limit=1&limit=2'), 'MESSAGE_INVALID');
    expectProblem('escape', await owner.get('/v1/people/tokens?cursor=%E0%A4%A'), 'MESSAGE_INVALID');
    expectProblem('cursor', await owner.get('/v1/people/tokens?cursor=bm9uZQ'), 'MESSAGE_INVALID');
    expectProblem('in the path', await owner.post('/v1/roles/nothing/take', { id: 'other', reason: 'a test' }), 'MESSAGE_INVALID');
  });
});

describe('acts that come twice', () => {
  const role = (who: AdminGiven, reason = 'a test') => ({ person: who.userName, role: 'rotator', reason });

  test('are done once: the same words again, and another body is refused', async () => {
    const [owner, other, friend] = [as('owner'), await it.as('owner'), await it.as(null)];
    const key = { 'idempotency-key': randomUUID() };
    const first = await owner.post('/v1/roles', role(friend), key);
    expect([first.status, first.headers['idempotency-replayed']]).toEqual([200, undefined]);
    const before = await audits();
    const again = await owner.post('/v1/roles', role(friend), key);
    expect([again.status, again.text, again.headers['idempotency-replayed']]).toEqual([200, first.text, 'true']);
    expect(await audits()).toBe(before);
    expectProblem('another body', await owner.post('/v1/roles', role(friend, 'another reason'), key), 'IDEMPOTENCY_KEY_REUSED');
    // Whose key it is counts: nobody is told what somebody else was answered.
    expect((await other.post('/v1/roles', role(friend), key)).headers['idempotency-replayed']).toBeUndefined();
  });

  test('a policy that was made and whose answer was lost is made once', async () => {
    const [owner, key] = [as('owner'), { 'idempotency-key': randomUUID() }];
    const policy = { name: 'lost on the way', rank: 4711, tags: ['lost'], rules: { rotation: { everyDays: 100 } }, reason: 'a test' };
    const first = await owner.put('/v1/policies/new', policy, key);
    expect(first.status).toBe(200);
    const again = await owner.put('/v1/policies/new', policy, key);
    expect([again.status, again.text, again.headers['idempotency-replayed']]).toEqual([200, first.text, 'true']);
    await owner.post(`/v1/policies/${first.body.id}/end`, { reason: 'a test' });
  });

  test('a role that was taken meanwhile is asked for first, and what was refused may be sent again', async () => {
    const [owner, friend] = [await it.as('owner'), await it.as(null)];
    const key = { 'idempotency-key': randomUUID() };
    expectProblem('nobody of that name', await owner.post('/v1/roles', { ...role(friend), person: 'not.there' }, key));
    expect((await owner.post('/v1/roles', role(friend), key)).status).toBe(200);
    await it.store.write((tx) => tx.updateTable('role_given').set({ ended_at: 1 }).where('subject', '=', owner.personId).execute());
    expectProblem('no role', await owner.post('/v1/roles', role(friend), key), 'NOT_ALLOWED');
  });

  test('what is shown once is kept nowhere, and its repeat is told so', async () => {
    const owner = await it.as('owner');
    const key = { 'idempotency-key': randomUUID() };
    const asked = { name: 'a script', roles: [{ role: 'viewer', tags: null }], days: 2 };
    const made = await owner.post('/v1/tokens', asked, key);
    expect([made.status, made.body]).toEqual([200, expect.objectContaining({ token: expect.stringMatching(/^spk_/) })]);
    expectProblem('again', await owner.post('/v1/tokens', asked, key), 'ALREADY_SHOWN');
    const kept = await it.store.db.selectFrom('repeatable').selectAll().execute();
    expect(JSON.stringify(kept)).not.toContain(made.body.token);
  });

  test('two at once are one act; one whose end is not known is said to be so; after a day a key is new', async () => {
    const idempotency = createIdempotency(it.backend);
    let done = 0;
    const act = async () => ({ done: ++done });
    const asked = { owner: 'x', key: 'one', request: { a: 1 }, shownOnce: false };
    const both = await Promise.allSettled([idempotency.once(asked, act), idempotency.once(asked, act)]);
    // The other one is under way, or done and answered with the same words.
    expect([both.some(({ status }) => status === 'fulfilled'), done]).toEqual([true, 1]);
    expect((await idempotency.once(asked, act)).reply).toEqual({ done: 1 });
    const dies = { ...asked, key: 'two' };
    await expect(idempotency.once(dies, async () => Promise.reject(new Error('the process died')))).rejects.toThrow('the process died');
    await expect(idempotency.once(dies, act)).rejects.toThrow(/IDEMPOTENCY_UNSETTLED|under way/);
    it.turnServerClock(24 * 60 * 60 + 1);
    expect((await idempotency.once(dies, act)).reply).toEqual({ done: 2 });
    await idempotency.forgetOld();
    expect((await it.store.db.selectFrom('repeatable').select('key').where('owner', '=', 'x').execute()).map(({ key }) => key)).toEqual(['two']);
    await expect(idempotency.once({ ...asked, key: 'with a space' }, act)).rejects.toThrow('Idempotency-Key');
  });
});

test('a file comes as one to keep, of its type, and is nobody’s without the permission', async () => {
  const viewer = await it.as('viewer');
  const sent = await viewer.get('/v1/devices.csv');
  expect([sent.status, sent.headers['content-type'], sent.headers['content-disposition']]).toEqual([
    200,
    'text/csv; charset=utf-8',
    'attachment; filename="devices.csv"',
  ]);
  expect(sent.text).toContain(it.mac.state.serial);
  expect(sent.headers['x-content-type-options']).toBe('nosniff');
});

test('what the log says in a request has its id, and nothing of anybody else’s', async () => {
  const lines: string[] = [];
  // Where winston writes.
  const { _stderr: stderr } = globalThis.console as unknown as { _stderr: NodeJS.WriteStream };
  const { write } = stderr;
  stderr.write = (chunk: string | Uint8Array) => lines.push(String(chunk)) > 0;
  try {
    const log = await openLog('info');
    await Promise.all([
      whileAsking({ requestId: 'one' }, async () => {
        await new Promise((resolve) => setImmediate(resolve));
        log.info('key-disclosed', { macId: 'm1' });
      }),
      whileAsking({ requestId: 'two' }, async () => log.info('key-disclosed', { macId: 'm2' })),
    ]);
    log.info('timers-ran', {});
    await new Promise((resolve) => setImmediate(resolve));
  } finally {
    stderr.write = write;
  }
  const said = lines.flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : [])).map(({ macId = 'none', requestId }) => [macId, requestId]);
  expect(said.toSorted()).toEqual([
    ['m1', 'one'],
    ['m2', 'two'],
    ['none', undefined],
  ]);
});

test('every answer and every entry of the audit has the id of its request', async () => {
  const [owner, friend] = [await it.as('owner'), await it.as(null)];
  const given = await owner.post('/v1/roles', { person: friend.userName, role: 'viewer', reason: 'a test' });
  const row = await it.store.db.selectFrom('audit').selectAll().orderBy('seq', 'desc').executeTakeFirstOrThrow();
  expect([row.act, row.request_id]).toEqual(['role.given', given.headers['x-request-id']]);
});

test('an admin who asks too much is told how long to wait; others are not kept waiting', async () => {
  const [eager, other] = [await it.as('viewer', null, 'token'), await it.as('viewer', null, 'token')];
  const first = await eager.get('/v1/me');
  expect(first.headers['ratelimit-policy']).toBe(`"admin";q=${apiRates.admin.burst};w=60`);
  expect(first.headers['ratelimit']).toMatch(/^"admin";r=29\d;t=\d+$/);
  let last = first;
  for (let at = 0; at < apiRates.admin.burst * 3 && last.status === 200; at++) last = await eager.get('/v1/me');
  expectProblem('too often', last, 'TOO_OFTEN');
  expect(Number(last.headers['retry-after'])).toBeGreaterThanOrEqual(1);
  expect(last.headers['ratelimit']).toMatch(/^"admin";r=0;t=\d+$/);
  expect((await other.get('/v1/me')).status).toBe(200);
});

test('what asks for a recent sign-in is refused to an old one, and says so; a session whose time is over is none', async () => {
  const [owner, friend] = [await it.as('owner'), await it.as(null)];
  const give = () => owner.post('/v1/roles', { person: friend.userName, role: 'viewer', reason: 'a test' });
  it.turnServerClock(16 * 60);
  const old = await give();
  expectProblem('old', old, 'SIGNED_OUT');
  expect([old.status, old.body.detail]).toEqual([401, 'sign in again for this']);
  expect((await owner.get('/v1/me')).body).toMatchObject({ fresh: false });
  it.turnServerClock(31 * 60);
  expectProblem('over', await owner.get('/v1/me'), 'SIGNED_OUT');
});
