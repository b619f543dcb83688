import { beforeAll, describe, expect, test } from '@jest/globals';
import { openOperations } from '../console/operations/session.ts';
import { createAccounts } from '../server/accounts.ts';
import { mostWaiting } from '../server/admins/device-login.ts';
import { makeAuthenticator } from './authenticator.ts';
import { type AdminGiven, givenConsole } from './given-console.ts';
import type { PortalClient, Shown } from './portal-client.ts';

let it: Awaited<ReturnType<typeof givenConsole>>;
beforeAll(async () => {
  it = await givenConsole();
});

const acts = async (act: string) =>
  (await it.store.db.selectFrom('audit').select(['actor', 'details']).where('act', '=', act).orderBy('seq').execute()).map(({ actor, details }) => ({
    actor,
    ...(JSON.parse(details) as Record<string, unknown>),
  }));

describe('the command line is let in', () => {
  const begin = async (machine = 'ada’s laptop') => (await it.console.nobody.post('/v1/login/begin', { machine })).body as Record<string, string>;
  const poll = (deviceCode: string | undefined) => it.console.nobody.post('/v1/login/poll', { deviceCode });
  const look = async ({ browser }: AdminGiven, code: string | undefined) =>
    browser.submit(await browser.get('/login/confirm'), '/login/confirm', { code: code ?? '' });

  test('by a person who types its code at the console, sees who asks, and confirms it: once, for twelve hours, all they may but make tokens', async () => {
    const ada = await it.as('help-desk', ['berlin']);
    const begun = await begin();
    expect(begun).toMatchObject({
      userCode: expect.stringMatching(/^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/),
      verificationUrl: `${it.console.url}/login/confirm`,
      intervalSeconds: 3,
    });
    expect((await poll(begun['deviceCode'])).body).toEqual({ state: 'waiting' });
    // However it is typed.
    const shown = await look(ada, begun['userCode']?.toLowerCase().replace('-', ' '));
    expect(shown.content).toContain('It calls itself ada’s laptop It asks from 127.0.0.1 (as you do)');
    const confirmed = await ada.browser.submit(shown, '/login/confirm/decide', { is: 'mine' });
    expect(confirmed.content).toContain('It is let in');
    const done = (await poll(begun['deviceCode'])).body;
    expect(done).toMatchObject({ state: 'done', token: expect.stringMatching(/^spk_/), userName: ada.userName });
    const by = { authorization: `Bearer ${done.token}` };
    const me = await it.console.nobody.get('/v1/me', by);
    expect(me.body).toMatchObject({ kind: 'token', userName: ada.userName, fresh: true, token: { id: done.tokenId, kind: 'login' } });
    expect(me.body.may.map(({ permission, tags }: { permission: string; tags: unknown }) => `${permission} ${tags}`)).toEqual([
      'fleet.read berlin',
      'key.disclose berlin',
      'release.assist berlin',
      'policy.read berlin',
    ]);
    // It makes no token, but sees and ends those of its person.
    expect((await it.console.nobody.post('/v1/tokens', { name: 'x', roles: [{ role: 'help-desk', tags: ['berlin'] }] }, by)).body).toMatchObject({
      code: 'NOT_ALLOWED',
    });
    const own = await ada.post('/v1/tokens', { name: 'script', roles: [{ role: 'viewer', tags: ['berlin'] }] });
    expect((await it.console.nobody.get('/v1/tokens', by)).body.items.map(({ name }: { name: string }) => name).toSorted()).toEqual([
      'script',
      'sparekeyctl at ada-s-laptop',
    ]);
    expect((await it.console.nobody.delete(`/v1/tokens/${own.body.id}`, by)).body).toEqual({ id: own.body.id, ended: true });
    expect((await poll(begun['deviceCode'])).body).toMatchObject({ code: 'LOGIN_ENDED' });
    expect((await look(ada, begun['userCode'])).content).toContain('No sign-in waits for this code');
    expect((await acts('login.confirmed')).at(-1)).toMatchObject({ actor: ada.userName, machine: 'ada’s laptop', asking: '127.0.0.1' });
    expect(await acts('token.made')).toContainEqual(
      expect.objectContaining({ actor: ada.userName, kind: 'login', tokenId: done.tokenId, machine: 'ada’s laptop' }),
    );
    it.pass(15 * 60);
    expect((await it.console.nobody.get('/v1/me', by)).body).toMatchObject({ fresh: false });
    expect((await it.console.nobody.delete('/v1/me/token', by)).body).toEqual({ ended: true });
    expect((await it.console.nobody.get('/v1/me', by)).body).toMatchObject({ code: 'TOKEN_REFUSED' });
    const [{ expires_at, created_at } = { expires_at: 0, created_at: 0 }] = await it.store.db
      .selectFrom('api_token')
      .selectAll()
      .where('id', '=', done.tokenId)
      .execute();
    expect(expires_at - created_at).toBe(12 * 3_600_000);
  });

  test('and is as fresh as whoever let it in: from when they signed in, not from when they confirmed', async () => {
    const ada = await it.as('viewer');
    it.pass(14 * 60);
    const begun = await begin();
    await ada.browser.submit(await look(ada, begun['userCode']), '/login/confirm/decide', { is: 'mine' });
    const by = { authorization: `Bearer ${(await poll(begun['deviceCode'])).body.token}` };
    const isFresh = async () => (await it.console.nobody.get('/v1/me', by)).body.fresh;
    expect(await isFresh()).toBe(true);
    it.pass(2 * 60);
    expect(await isFresh()).toBe(false);
  });

  test('however many others wait: of twenty thousand the oldest goes, and nobody is kept out', async () => {
    const now = it.backend.clock.now();
    const row = (n: number) => ({
      ...{ id: `flood ${n}`, device_digest: `d${n}`, user_digest: `u${n}`, machine: 'm', network: `10.0.0.${n % 250}`, state: 'waiting' as const },
      ...{ person_id: null, decided_at: null, created_at: now + (n === 0 ? -1 : 0), expires_at: now + 600_000, fresh_at: null },
    });
    await it.store.write(async (tx) => {
      for (let from = 0; from < mostWaiting; from += 2000)
        await tx
          .insertInto('device_login')
          .values(Array.from({ length: 2000 }, (_, n) => row(from + n)))
          .execute();
    });
    const begun = await begin();
    expect(begun['userCode']).toEqual(expect.any(String));
    const left = await it.store.db.selectFrom('device_login').select('id').where('state', '=', 'waiting').execute();
    expect([left.length, left.some(({ id }) => id === 'flood 0')]).toEqual([mostWaiting, false]);
    await it.store.write((tx) => tx.deleteFrom('device_login').where('id', 'like', 'flood %').execute());
    const ada = await it.as('viewer');
    expect((await look(ada, begun['userCode'])).content).toContain('It calls itself ada’s laptop');
  });

  test('not where its person says that it was not them: the program is told, the audit has it', async () => {
    const ada = await it.as('viewer');
    const begun = await begin('a stranger');
    await ada.browser.submit(await look(ada, begun['userCode']), '/login/confirm/decide', { is: 'not-mine' });
    expect((await poll(begun['deviceCode'])).body).toMatchObject({ code: 'LOGIN_REFUSED' });
    expect((await acts('login.refused')).at(-1)).toMatchObject({ actor: ada.userName, machine: 'a stranger' });
  });

  test('not after ten minutes, not where the role was taken or all sessions were ended meanwhile', async () => {
    const ada = await it.as('viewer');
    const old = await begin();
    it.pass(10 * 60);
    expect((await poll(old['deviceCode'])).body).toMatchObject({ code: 'LOGIN_ENDED' });
    const confirm = async (who: AdminGiven) => {
      const begun = await begin();
      await who.browser.submit(await look(who, begun['userCode']), '/login/confirm/decide', { is: 'mine' });
      return begun['deviceCode'];
    };
    const taken = await confirm(ada);
    await it.store.write((tx) => tx.updateTable('role_given').set({ ended_at: 1 }).where('subject', '=', ada.personId).execute());
    expect((await poll(taken)).body).toMatchObject({ code: 'NOT_ALLOWED' });
    const bob = await it.as('viewer');
    const ended = await confirm(bob);
    await bob.browser.submit(await bob.browser.get('/account'), '/sign-out-everywhere');
    expect((await poll(ended)).body).toMatchObject({ code: 'LOGIN_REFUSED' });
  });

  test('a person asks for a fresh sign-in first, and for a role; whoever guesses codes waits after ten', async () => {
    const begun = await begin();
    const nobody = await it.as(null);
    expect((await nobody.browser.get('/login/confirm')).status).toBe(403);
    const guesser = await it.as('viewer');
    const answers: number[] = [];
    for (let at = 0; at < 11; at++) answers.push((await look(guesser, 'BBBB-BBBB')).status);
    expect(answers).toEqual([...Array.from({ length: 10 }, () => 422), 429]);
    const late = await it.as('viewer');
    it.pass(16 * 60);
    expect((await late.browser.get('/login/confirm')).path).toContain('/sign-in?then=');
    expect((await poll(begun['deviceCode'])).body).toMatchObject({ code: 'LOGIN_ENDED' });
  });

  test('what a program says of its machine is text, and what is no message is refused; the address holds no code', async () => {
    const ada = await it.as('viewer');
    const shown = await look(ada, (await begin('<b>x</b>\u202e\n  evil '.repeat(9)))['userCode']);
    expect(shown.text).toContain('&lt;b&gt;x&lt;/b&gt; evil &lt;b&gt;');
    expect(shown.text).not.toContain('\u202e');
    expect(shown.path).toBe('/login/confirm');
    const nobody = it.console.nobody;
    expect((await nobody.post('/v1/login/begin', { machine: 'x', more: 1 })).body).toMatchObject({ code: 'MESSAGE_INVALID' });
    expect(
      (await nobody.ask('/v1/login/begin', { method: 'POST', body: 'machine=x', headers: { 'content-type': 'application/x-www-form-urlencoded' } })).body,
    ).toMatchObject({
      code: 'MEDIA_TYPE_REFUSED',
    });
    expect((await nobody.post('/v1/login/poll', { deviceCode: 'A'.repeat(43) })).body).toMatchObject({ code: 'LOGIN_ENDED' });
    const document = (await nobody.get('/v1/openapi.json')).body;
    for (const { path, name } of openOperations) expect(document.paths[path].post).toMatchObject({ operationId: name, security: [] });
  });
});

describe('a session and a passkey are for one site', () => {
  test('a session of the portal is none at the console, nor the other way, whatever the cookie is called', async () => {
    const ada = await it.as('viewer');
    const { browser } = await it.console.startSessionOf(ada.personId, 'portal');
    const token = (jar: PortalClient['jar'], name: string) => jar.get(`__Host-${name}`) ?? '';
    const atConsole = it.console.browser();
    for (const name of ['session', 'console-session']) atConsole.jar.set(`__Host-${name}`, token(browser.jar, 'session'));
    expect((await atConsole.get('/people/table')).path).toContain('/sign-in');
    expect((await it.console.nobody.get('/v1/me', { cookie: `__Host-console-session=${token(browser.jar, 'session')}` })).status).toBe(401);
    const atPortal = it.portal.client();
    for (const name of ['session', 'console-session']) atPortal.jar.set(`__Host-${name}`, token(ada.browser.jar, 'console-session'));
    expect((await atPortal.get('/macs')).path).toContain('/sign-in');
    expect([(await browser.get('/macs')).path, (await ada.browser.get('/people/table')).path]).toEqual(['/macs', '/people/table']);
  });

  test('signing out everywhere ends both; each account page says where the others are', async () => {
    const ada = await it.as('viewer');
    const { browser } = await it.console.startSessionOf(ada.personId, 'portal');
    expect((await browser.get('/account')).content).toContain(`, ${new URL(it.console.url).host}, from`);
    await browser.submit(await browser.get('/account'), '/sign-out-everywhere');
    expect((await ada.browser.get('/people/table')).path).toContain('/sign-in');
  });

  const asked = async (client: PortalClient, page: Shown, path: string) => {
    const token = /data-asks><input type="hidden" name="token" value="([^"]+)"/.exec(page.text)?.[1] ?? '';
    return JSON.parse((await client.ask(path, {}, token)).text) as { challenge: string; user: { id: string }; excludeCredentials?: { id: string }[] };
  };
  const byPasskey = async (client: PortalClient, passkey: ReturnType<typeof makeAuthenticator>) => {
    const page = await client.get('/sign-in?then=/account');
    return client.submit(page, '/sign-in/passkey/answer', { answer: passkey.get(await asked(client, page, '/sign-in/passkey')) });
  };

  test('a passkey works at the host where it was made; the account page offers those, and names the host of others', async () => {
    const ada = await it.as('viewer');
    const passkey = makeAuthenticator(it.console.url);
    const page = await ada.browser.get('/account');
    const added = await ada.browser.submit(page, '/account/passkeys/add', {
      answer: passkey.create(await asked(ada.browser, page, '/account/passkeys/ask')),
      label: 'Key',
    });
    expect(added.content).toContain('Key: added just now , not used yet');
    expect(added.content).not.toContain('works at');
    expect((await byPasskey(it.console.browser(), passkey)).path).toBe('/account');
    // As one that was made when the site had another name, or at the other site.
    const move = (host: string) => it.store.write((tx) => tx.updateTable('passkey').set({ host }).where('id', '=', passkey.id).execute());
    await move('key.example.org');
    expect((await byPasskey(it.console.browser(), passkey)).content).toContain('We do not know this passkey');
    const account = await ada.browser.get('/account');
    expect(account.content).toContain('works at key.example.org only');
    expect((await asked(ada.browser, account, '/account/passkeys/ask')).excludeCredentials ?? []).toEqual([]);
    // Those of before the console are the portal's.
    await move('');
    expect((await byPasskey(it.console.browser(), passkey)).content).toContain('We do not know this passkey');
    expect((await acts('passkey.added')).at(-1)).toMatchObject({ host: '127.0.0.1' });
  });

  test('an emergency account is set up at the console with its one-time code, signs in there by passkey alone, and keeps its last one', async () => {
    const { store, clock, secrets, settings } = it.backend;
    const accounts = createAccounts({ store, clock, secrets, settings });
    const { code, personId, name } = await accounts.add({ name: 'emergency-1', emergency: true, actor: 'an operator' });
    await it.console.give({ id: personId, userName: name }, 'owner');
    const browser = it.console.browser();
    const page = await browser.submit(await browser.get('/set-up'), '/set-up', { name, code });
    const passkey = makeAuthenticator(it.console.url);
    const token = /data-asks><input type="hidden" name="token" value="([^"]+)"/.exec(page.text)?.[1] ?? '';
    const options = JSON.parse((await browser.ask('/set-up/passkey', { name, code }, token)).text);
    const inside = await browser.submit(page, '/set-up/passkey/answer', { answer: passkey.create(options), label: 'Safe' });
    expect([inside.status, inside.path]).toEqual([200, '/']);
    const again = it.console.browser();
    expect((await byPasskey(again, passkey)).path).toBe('/account');
    const kept = await again.submit(await again.get('/account'), '/account/passkeys/remove');
    expect(kept.content).toContain('This is the last passkey of an emergency account');
  });
});

describe('pages about people', () => {
  let owner: AdminGiven;
  beforeAll(async () => {
    // Another beside her: so that the last one is met where a test wants to meet them.
    await it.as('owner');
    owner = await it.as('owner');
  });

  test('an owner gives a role and takes it: each by a form that names whom and what', async () => {
    const bob = await it.as(null);
    const page = await owner.browser.get('/people');
    expect(page.content).toContain('No group has a role.');
    const given = await owner.browser.submit(page, '/people/give', { name: bob.userName, role: 'rotator', tags: ' paris, berlin ', reason: 'helps out' });
    expect(given.path).toBe('/people');
    expect(given.content).toContain('rotator, Macs tagged berlin, paris');
    expect((await bob.get('/v1/me')).body.may).toContainEqual({ permission: 'rotation.order', says: expect.any(String), tags: ['berlin', 'paris'] });
    const [role] = await it.store.db.selectFrom('role_given').select('id').where('subject', '=', bob.personId).execute();
    const take = await owner.browser.get(`/people/roles/${role?.id}`);
    expect(take.content).toContain(`Take the role rotator from ${bob.userName}?`);
    const taken = await owner.browser.submit(take, `/people/roles/${role?.id}`, { reason: 'is back at school' });
    expect(taken.path).toBe('/people');
    expect((await bob.get('/v1/me')).body).toMatchObject({ code: 'NOT_ALLOWED' });
    expect((await acts('role.taken')).at(-1)).toMatchObject({ actor: owner.userName, name: bob.userName, reason: 'is back at school' });
  });

  test('what is wrong stands on the page, with what was typed', async () => {
    const page = await owner.browser.get('/people');
    const wrong = await owner.browser.submit(page, '/people/give', { name: 'nobody-is-called-so', role: 'viewer', reason: 'x' });
    expect(wrong.status).toBe(404);
    expect(wrong.content).toContain('There is nobody of the name nobody-is-called-so.');
    expect(wrong.text).toContain('value="nobody-is-called-so"');
    const own = await owner.browser.submit(page, '/people/give', { name: owner.userName, role: 'viewer', reason: 'x' });
    expect([own.status, own.content.includes('Nobody changes what they may do themselves')]).toEqual([403, true]);
  });

  test('an auditor sees people, the review and all tokens, and no form that gives anything', async () => {
    const auditor = await it.as('auditor');
    for (const path of ['/people', '/people/review', '/people/tokens', '/people/table', '/tokens'])
      expect([path, (await auditor.browser.get(path)).status]).toEqual([path, 200]);
    const people = await auditor.browser.get('/people');
    expect([people.text.includes('/people/give'), people.text.includes('Take away')]).toEqual([false, false]);
    const here = await it.as('auditor', ['berlin']);
    expect((await here.get('/v1/people')).body).toMatchObject({ code: 'NOT_ALLOWED', detail: 'people.read, for all Macs' });
    for (const path of ['/v1/roles', '/v1/people/review', '/v1/people/tokens']) expect([path, (await here.get(path)).status]).toEqual([path, 403]);
    for (const path of ['/people', '/people/review']) expect([path, (await (await it.as('help-desk')).browser.get(path)).status]).toEqual([path, 403]);
  });

  test('a token is made by a form, shown once, used, listed with where from, and ended', async () => {
    const ada = await it.as('admin');
    const empty = await ada.browser.get('/tokens');
    expect(empty.content).toContain('You have none.');
    const made = await ada.browser.submit(empty, '/tokens/make', { name: 'nightly report', 'role-viewer': '1', service: '1', days: '90' });
    const token = /spk_[\w-]{49}/.exec(made.content)?.[0] ?? '';
    expect(made.content).toContain('It is shown this once.');
    expect((await it.console.nobody.get('/v1/me', { authorization: `Bearer ${token}` })).body).toMatchObject({
      name: `token nightly report of ${ada.userName}`,
      fresh: true,
    });
    const listed = await ada.browser.get('/tokens');
    expect(listed.text).not.toContain(token);
    expect(listed.content).toContain('nightly report service viewer, all Macs just now , from 127.0.0.1');
    const twice = await ada.browser.submit(listed, '/tokens/make', { name: 'nightly report', 'role-viewer': '1' });
    expect([twice.status, twice.content.includes('You have a token of that name.')]).toEqual([409, true]);
    expect((await ada.browser.submit(listed, '/tokens/make', { name: 'x' })).content).toContain('Choose at least one role.');
    const ended = await ada.browser.submit(await ada.browser.get('/tokens'), '/tokens/end');
    expect(ended.content).toContain('You have none.');
    expect((await it.console.nobody.get('/v1/me', { authorization: `Bearer ${token}` })).body).toMatchObject({ code: 'TOKEN_REFUSED' });
  });

  test('an owner ends the tokens of others; a token made by the API is shown once, also where it is asked again', async () => {
    const ada = await it.as('admin');
    const wish = { name: 'ci', roles: [{ role: 'viewer', tags: null }] };
    const key = { 'idempotency-key': 'a-token' };
    const made = await ada.post('/v1/tokens', wish, key);
    expect(made.body).toMatchObject({ token: expect.stringMatching(/^spk_/) });
    expect((await ada.post('/v1/tokens', wish, key)).body).toMatchObject({ code: 'ALREADY_SHOWN' });
    expect((await owner.get('/v1/people/tokens')).body.items).toContainEqual(expect.objectContaining({ id: made.body.id, maker: ada.userName, name: 'ci' }));
    expect((await owner.delete(`/v1/tokens/${made.body.id}`)).body).toEqual({ id: made.body.id, ended: true });
    expect((await ada.get('/v1/tokens')).body).toEqual({ items: [] });
    expect((await owner.get('/v1/people/tokens?ended=true')).body.items).toContainEqual(expect.objectContaining({ id: made.body.id, endedBy: owner.userName }));
  });

  test('the last owner is not taken, and no token of a person gives roles', async () => {
    const { store, clock } = it.backend;
    const others = store.db.selectFrom('role_given').select(['id', 'subject']).where('role', '=', 'owner').where('ended_at', 'is', null);
    const root = await it.as('owner');
    const other = (await others.execute()).filter(({ subject }) => subject !== root.personId);
    for (const { id } of other.slice(1)) expect((await root.post(`/v1/roles/${id}/take`, { reason: 'x' })).status).toBe(200);
    const [last] = other;
    const eve = await it.as('admin');
    expect((await eve.post(`/v1/roles/${last?.id}/take`, { reason: 'x' })).body).toMatchObject({ code: 'NOT_ALLOWED' });
    await store.write((tx) =>
      tx
        .updateTable('person')
        .set({ disabled_at: clock.now() })
        .where('id', '=', last?.subject ?? '')
        .execute(),
    );
    // Only root is left: nobody else could take it, and she cannot either.
    const [own] = (await others.execute()).filter(({ subject }) => subject === root.personId);
    expect((await root.post(`/v1/roles/${own?.id}/take`, { reason: 'x' })).body).toMatchObject({ code: 'OWN_ROLES' });
    const { token } = (await root.post('/v1/tokens', { name: 't', roles: [{ role: 'owner', tags: null }] })).body;
    const by = { authorization: `Bearer ${token}` };
    expect((await it.console.nobody.post('/v1/roles', { person: eve.userName, role: 'owner', reason: 'x' }, by)).body).toMatchObject({ code: 'NOT_ALLOWED' });
  });
});
