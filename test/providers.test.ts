import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { peopleSettings } from '../server/people-settings.ts';
import type { Serving } from '../server/serve.ts';
import { claimsOf } from '../web/provider-claims.ts';
import { givenPortal } from './given-portal.ts';
import type { PortalClient, Shown } from './portal-client.ts';
import { providerAccounts, providerBrowser, providerClient, startProvider, type TestProvider } from './provider.ts';
import { scratch } from './scratch.ts';

let provider: TestProvider;
let it: Awaited<ReturnType<typeof givenPortal>>;
let serving: Serving;
const logged: string[] = [];
const keep = (event: string, details = {}) => void logged.push(`${event} ${JSON.stringify(details)}`);

beforeAll(async () => {
  provider = await startProvider();
  const clientSecretFile = join(scratch('provider'), 'secret');
  writeFileSync(clientSecretFile, `${providerClient.secret}\n`, { mode: 0o600 });
  const about = { issuer: provider.issuer, clientId: providerClient.id, clientSecretFile, scopes: ['openid', 'profile', 'email', 'groups'] };
  it = await givenPortal({
    log: { info: keep, warn: keep, error: keep },
    people: {
      signIn: {
        providers: [
          { id: 'example', name: 'Example', ...about },
          { id: 'by-name', name: 'The same by name', ...about, userNameClaim: 'preferred_username' },
          { id: 'liar', name: 'Liar', ...about, issuer: `${provider.issuer}/elsewhere` },
        ],
      },
      contact: { name: 'Service desk', phone: '+31 20 555 0100' },
    },
  });
  serving = it.serving;
  provider.allow(['example', 'by-name'].map((id) => `${it.portal.url}/sign-in/back/${id}`));
});
afterAll(() => provider.stop());
afterEach(() => {
  for (const name of Object.keys(provider.faults)) delete (provider.faults as Record<string, unknown>)[name];
});

const filled = (name: string) => {
  const account = providerAccounts.find(({ id }) => id === `sub-${name}`);
  return { login: account?.id ?? name, password: account?.password ?? '' };
};
const pathOf = (url: string): string => url.replace(it.portal.url, '');

/** One person's telephone: our site and the provider's in one browser. */
function telephone(client: PortalClient = it.portal.client()) {
  const there = providerBrowser();
  const away = async (query = '', id = 'example'): Promise<string> => {
    const answer = await client.get(`/sign-in/with/${id}${query}`, { follow: false });
    if (answer.status !== 303) throw new Error(`not away: ${answer.status} ${answer.words}`);
    return String(answer.headers['location']);
  };
  return {
    client,
    there,
    away,
    async signIn(name: string, query = '?then=/account', id = 'example'): Promise<Shown> {
      const { back, text } = await there.go(await away(query, id), filled(name));
      if (back === null) throw new Error(`not back: ${text}`);
      return client.get(pathOf(back));
    },
  };
}
const personOf = (subject: string) =>
  serving.backend.store.db.selectFrom('person').selectAll().where('provider', '=', 'example').where('subject', '=', subject).executeTakeFirst();
const acts = async () =>
  (await serving.backend.store.db.selectFrom('audit').select(['act', 'details']).orderBy('seq').execute()).map(({ act, details }) => `${act} ${details}`);

describe('signing in with a provider', () => {
  test('by code, PKCE, state and nonce leads to where somebody wanted to be, as who the provider says they are', async () => {
    const phone = telephone();
    const address = new URL(await phone.away('?then=/account'));
    expect(address.origin).toBe(provider.issuer);
    expect(Object.fromEntries(address.searchParams)).toMatchObject({
      response_type: 'code',
      client_id: 'sparekey',
      redirect_uri: `${it.portal.url}/sign-in/back/example`,
      code_challenge_method: 'S256',
      scope: 'openid profile email groups',
      max_age: '900',
      state: expect.stringMatching(/^[\w-]{43}$/),
      nonce: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
    });
    const shown = await phone.signIn('ada');
    expect(shown).toMatchObject({ status: 200, path: '/account' });
    expect(shown.content).toContain('You are Ada Lovelace (ada@example.org).');
    expect(await personOf('sub-ada')).toMatchObject({
      provider: 'example',
      user_name: 'ada@example.org',
      groups: '["engineers","everybody"]',
      email: 'ada@example.org',
    });
    expect((await acts()).at(-1)).toMatch(/^sign-in\.done .*"way":"example"/);
    // The database has nothing by which a way back could be made.
    const [flow] = await (async () => {
      const other = telephone();
      const state = new URL(await other.away()).searchParams.get('state') ?? '';
      const flows = await serving.backend.store.db.selectFrom('sign_in_flow').selectAll().execute();
      expect(JSON.stringify(flows)).not.toContain(state);
      return flows;
    })();
    expect(Object.keys(JSON.parse(flow?.checks ?? '{}'))).toEqual(['browser']);
  });

  test('claims that are not in the token are asked for, and the name may be another claim', async () => {
    provider.claimsIn('userinfo');
    try {
      const shown = await telephone().signIn('ada', '?then=/account', 'by-name');
      expect(shown.content).toContain('You are Ada Lovelace (ada).');
      expect(provider.asked('/me')).toBeGreaterThan(0);
    } finally {
      provider.claimsIn('id-token');
    }
  });

  test('an address that nobody has verified is no user name, and says so in words', async () => {
    const shown = await telephone().signIn('mallory');
    expect(shown.status).toBe(403);
    expect(shown.content).toContain('We do not know which user name is yours');
    expect(await personOf('sub-mallory')).toBeUndefined();
  });

  test('of somebody in too many groups none is known, and the log says so in words', async () => {
    await telephone().signIn('many');
    expect(logged).toContain(
      'provider-groups-missing {"provider":"example","because":"it does not say which groups somebody is in: the strictest of the settings counts"}',
    );
    expect(await personOf('sub-many')).toMatchObject({ groups: 'null' });
  });

  test('where what it was asked for is not answered, groups and verified addresses are not taken for granted', async () => {
    provider.claimsIn('userinfo');
    provider.faults.failAt = { path: '/me', status: 500 };
    try {
      expect((await telephone().signIn('ada')).content).toContain('We do not know which user name is yours');
    } finally {
      provider.claimsIn('id-token');
    }
    provider.faults.idToken = (claims, sign) => sign({ ...claims, email_verified: undefined, groups: undefined });
    expect((await telephone().signIn('ada')).status).toBe(403);
    provider.faults.idToken = (claims, sign) => sign({ ...claims, name: undefined, groups: undefined });
    expect((await telephone().signIn('ada')).status).toBe(200);
    expect(await personOf('sub-ada')).toMatchObject({ groups: 'null' });
    delete provider.faults.failAt;
    await telephone().signIn('ada');
    expect(await personOf('sub-ada')).toMatchObject({ groups: '["engineers","everybody"]' });
  });

  test.each([
    'ada\u200b@example.org',
    'ada\u00ad@example.org',
    '\u202eada@example.org',
    'ada@e\u0000xample.org',
    'ada@example.or\u212a',
    '=ada@example.org',
    '{{mail}}',
  ])('a name such as %j is not made another’s by what is taken out of it', (email) => {
    const said = claimsOf({ sub: 's', email, preferred_username: email }, { userNameClaim: 'preferred_username', groupsClaim: 'groups' });
    expect([said.userName, said.email]).toEqual([null, null]);
    expect(claimsOf({ sub: 's', groups: ['pi\u200blots', 'pilots '] }, { userNameClaim: 'sub', groupsClaim: 'groups' }).groups).not.toContain('pilots');
  });

  test('a name with accents is one name, however they are written', () => {
    const named = (name: string) => claimsOf({ sub: name }, { userNameClaim: 'sub', groupsClaim: 'groups' }).userName;
    expect([named('Ren\u00e9e@Example.org'), named('Rene\u0301e@example.org')]).toEqual(['ren\u00e9e@example.org', 'ren\u00e9e@example.org']);
  });

  test('a name that it gives to somebody else is no longer that of whoever had it: their sessions end, and passkeys wait for its word', async () => {
    const phone = telephone();
    await phone.signIn('eve');
    const before = await personOf('sub-eve');
    const ada = providerAccounts.find(({ id }) => id === 'sub-ada');
    if (!ada) throw new Error('no ada');
    ada.claims['email'] = before?.user_name;
    try {
      await telephone().signIn('ada');
    } finally {
      ada.claims['email'] = 'Ada@Example.org';
    }
    expect((await phone.client.get('/account')).path).toMatch(/^\/sign-in\?/);
    expect(await personOf('sub-eve')).toMatchObject({ confirmed_at: 0 });
    expect((await acts()).some((act) => act.startsWith('person.unconfirmed') && act.includes(before?.id ?? 'nobody'))).toBe(true);
    await telephone().signIn('ada');
    await telephone().signIn('eve');
    expect((await personOf('sub-eve'))?.confirmed_at).toBeGreaterThan(0);
  });

  test('a person is known by what never changes; a new name is kept and recorded', async () => {
    await telephone().signIn('eve');
    const before = await personOf('sub-eve');
    const eve = providerAccounts.find(({ id }) => id === 'sub-eve');
    if (!eve) throw new Error('no eve');
    eve.claims['email'] = 'eve.adams@example.org';
    await telephone().signIn('eve');
    eve.claims['email'] = 'eve@example.org';
    expect(await personOf('sub-eve')).toMatchObject({ id: before?.id, user_name: 'eve.adams@example.org' });
    expect((await acts()).some((act) => act.startsWith('person.renamed') && act.includes('eve.adams@example.org'))).toBe(true);
  });

  test('one who is disabled comes in no more, and is out at once', async () => {
    const phone = telephone();
    await phone.signIn('eve');
    const { createAccounts } = await import('../server/accounts.ts');
    const accounts = createAccounts(serving.backend);
    const name = (await personOf('sub-eve'))?.user_name ?? '';
    await accounts.disable({ name, actor: 'an operator', reason: 'left' });
    expect((await phone.client.get('/account')).path).toMatch(/^\/sign-in\?/);
    const shown = await telephone().signIn('eve');
    expect(shown.content).toContain('This account is switched off');
    await accounts.enable({ name, actor: 'an operator', reason: 'is back' });
  });
});

test.each(['common/v2.0', 'organizations/v2.0', 'consumers', 'Common/'])(
  'an issuer for people of every tenant (%s) is refused: who runs one of them could be anybody',
  (tenant) => {
    const settings = (issuer: string) => ({
      url: 'https://key.example.org',
      listen: { port: 1 },
      signIn: { providers: [{ id: 'work', name: 'Work', issuer, clientId: 'portal' }] },
    });
    expect(peopleSettings.safeParse(settings(`https://login.microsoftonline.com/${tenant}`)).success).toBe(false);
    expect(peopleSettings.safeParse(settings('https://login.microsoftonline.com/8a2d6f0c-common/v2.0')).success).toBe(true);
  },
);

describe('the way back', () => {
  test('may be as long as a provider makes its codes', async () => {
    const phone = telephone();
    const { back } = await phone.there.go(await phone.away('?then=/account'), filled('ada'));
    expect((await phone.client.get(`${pathOf(back ?? '')}&session_state=${'a'.repeat(3000)}`)).path).toBe('/account');
  });

  test('that nobody waits for writes nothing, and ways are not begun without end', async () => {
    const flows = async () => (await serving.backend.store.db.selectFrom('sign_in_flow').select('digest').execute()).length;
    const { store } = serving.backend;
    const { write } = store;
    let writes = 0;
    store.write = (act) => {
      writes += 1;
      return write(act);
    };
    try {
      const client = it.portal.client({ localAddress: '127.0.0.9' });
      expect((await client.get(`/sign-in/back/example?code=x&state=${'A'.repeat(43)}`)).status).toBe(400);
      expect(writes).toBe(0);
      const before = await flows();
      // However long it takes to ask so often, no time passes in which more were allowed.
      jest.spyOn(performance, 'now').mockReturnValue(performance.now());
      const answers = await Promise.all(Array.from({ length: 260 }, () => client.get('/sign-in/with/example', { follow: false })));
      const waits = answers.filter(({ status }) => status === 429);
      expect(waits.length).toBeGreaterThan(10);
      expect(Number(waits[0]?.headers['retry-after'])).toBeGreaterThan(0);
      expect(await flows()).toBe(before + 260 - waits.length);
    } finally {
      store.write = write;
      jest.restoreAllMocks();
    }
  });

  test('of somebody else signs nobody in: it is good in the browser alone that set out', async () => {
    const attacker = telephone();
    const { back } = await attacker.there.go(await attacker.away(), filled('eve'));
    const victim = it.portal.client();
    // One who is on a way of their own too.
    await victim.get('/sign-in/with/example', { follow: false });
    const shown = await victim.get(pathOf(back ?? ''));
    expect(shown.status).toBe(400);
    expect(shown.content).toContain('This sign-in is no longer good');
    expect(victim.jar.has('__Host-session')).toBe(false);
  });

  test('is good once, for twenty minutes, and for the provider that it was begun with', async () => {
    const phone = telephone();
    const { back } = await phone.there.go(await phone.away(), filled('ada'));
    const path = pathOf(back ?? '');
    const other = await phone.client.get(path.replace('/back/example', '/back/by-name'));
    expect(other.content).toContain('This sign-in is no longer good');
    expect((await phone.client.get(path)).status).toBe(400);
    const second = await phone.there.go(await phone.away(), filled('ada'));
    expect((await phone.client.get(pathOf(second.back ?? ''))).status).toBe(200);
    phone.client.jar.delete('__Host-session');
    expect((await phone.client.get(pathOf(second.back ?? ''))).status).toBe(400);
    const late = telephone();
    const third = await late.there.go(await late.away(), filled('ada'));
    it.pass(20 * 60 + 1);
    expect((await late.client.get(pathOf(third.back ?? ''))).content).toContain('This sign-in is no longer good');
  });

  test.each([
    ['another state', (query: URLSearchParams) => query.set('state', 'A'.repeat(43)), 'no longer good'],
    ['no state', (query: URLSearchParams) => query.delete('state'), 'no longer good'],
    ['another issuer', (query: URLSearchParams) => query.set('iss', 'https://elsewhere.example'), 'cannot be accepted'],
    ['a code of nobody', (query: URLSearchParams) => query.set('code', 'made-up'), 'cannot be accepted'],
    ['the code twice', (query: URLSearchParams) => query.append('code', 'made-up'), 'cannot be accepted'],
  ])('with %s is refused in words', async (_, change, words) => {
    const phone = telephone();
    const { back } = await phone.there.go(await phone.away(), filled('ada'));
    const url = new URL(back ?? '');
    change(url.searchParams);
    const shown = await phone.client.get(`${url.pathname}?${url.searchParams}`);
    expect(shown.content).toContain(words);
    expect(shown.content).toContain('Sign in with Example');
    expect(shown.content).toContain('I cannot sign in');
    expect(phone.client.jar.has('__Host-session')).toBe(false);
  });

  test.each([
    ['access_denied', 'refused or broken off', 403],
    ['login_required', 'wants something more', 403],
    ['temporarily_unavailable', 'does not answer', 503],
    ['<script>alert(1)</script>', 'cannot be accepted', 403],
  ])('that says %s is a page in words, with the other ways', async (error, words, status) => {
    const phone = telephone();
    const state = new URL(await phone.away()).searchParams.get('state') ?? '';
    const query = new URLSearchParams({ error, state, iss: provider.issuer, error_description: '<b>AADSTS50105</b>' });
    const shown = await phone.client.get(`/sign-in/back/example?${query}`);
    expect(shown.status).toBe(status);
    expect(shown.content).toContain(words);
    expect(shown.content).not.toContain('AADSTS');
    expect(shown.text).not.toContain('alert(1)');
    expect(shown.forms.map(({ action }) => action)).toContain('/sign-in/password');
  });

  test('after somebody has pressed cancel there says so', async () => {
    const phone = telephone();
    const { back } = await phone.there.go(await phone.away(), { cancel: '1' });
    expect((await phone.client.get(pathOf(back ?? ''))).content).toContain('refused or broken off');
    expect(logged).toContain('provider-failed {"provider":"example","because":"denied","code":"access_denied"}');
    // Codes of a known form, never what a provider has written, nor a code, a token or a secret.
    expect(logged.join('\n')).not.toMatch(/AADSTS|alert|eyJ|[?&]code=|a secret that only tests have/);
  });

  test.each<[string, (claims: Record<string, unknown>) => Record<string, unknown>]>([
    ['of another issuer', (claims) => ({ ...claims, iss: 'https://elsewhere.example' })],
    ['for another site', (claims) => ({ ...claims, aud: 'another' })],
    ['with another nonce', (claims) => ({ ...claims, nonce: 'A'.repeat(43) })],
    ['that is over', (claims) => ({ ...claims, exp: Number(claims['iat']) - 300 })],
  ])('with a token %s is refused', async (_, change) => {
    provider.faults.idToken = (claims, sign) => sign(change(claims));
    const shown = await telephone().signIn('ada');
    expect(shown.status).toBe(403);
    expect(shown.content).toContain('cannot be accepted');
  });

  test('with a token that somebody else has signed, or nobody, is refused', async () => {
    provider.faults.idToken = async (claims, sign) => `${(await sign(claims)).split('.').slice(0, 2).join('.')}.${'A'.repeat(342)}`;
    expect((await telephone().signIn('ada')).content).toContain('cannot be accepted');
    provider.faults.idToken = async (claims) =>
      `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.`;
    expect((await telephone().signIn('ada')).content).toContain('cannot be accepted');
  });
});

describe('a fresh sign-in', () => {
  const freshPath = '/account/passkeys/remove';
  const again = async (phone: ReturnType<typeof telephone>) => {
    it.pass(15 * 60 + 1);
    const page = await phone.client.get('/account');
    expect(page.status).toBe(200);
    // An act that asks for one leads to the sign-in.
    await phone.client.post(freshPath, {}, { follow: false });
    return phone.client.get('/account/password', { follow: false });
  };

  test('is asked for after fifteen minutes, is a real one, and holds for as long again', async () => {
    const phone = telephone();
    await phone.signIn('ada');
    const to = await again(phone);
    expect(String(to.headers['location'])).toBe('/sign-in?then=%2Faccount%2Fpassword&again=1');
    const address = new URL(await phone.away('?then=/account&again=1'));
    expect(Object.fromEntries(address.searchParams)).toMatchObject({ prompt: 'login', max_age: '0' });
    // The provider still knows them, and asks all the same.
    const { back, asked } = await phone.there.go(address.href, filled('ada'));
    expect(asked).toBe(true);
    expect((await phone.client.get(pathOf(back ?? ''))).path).toBe('/account');
    const session = async () =>
      serving.backend.store.db.selectFrom('web_session').selectAll().where('ended_at', 'is', null).orderBy('created_at', 'desc').executeTakeFirstOrThrow();
    const { fresh_at: freshAt } = await session();
    expect(serving.backend.clock.now() - freshAt).toBeLessThan(60_000);
  });

  test('by somebody else is none', async () => {
    const phone = telephone();
    await phone.signIn('ada');
    // In another browser there, so that nobody has to be signed out first.
    const { back } = await providerBrowser().go(await phone.away('?again=1&then=/account'), filled('eve'));
    const shown = await phone.client.get(pathOf(back ?? ''));
    expect(shown.status).toBe(403);
    expect(shown.content).toContain('That was somebody else');
    expect((await phone.client.get('/account')).content).toContain('You are Ada Lovelace');
  });

  test('where the provider lets people through without asking is none, as its own clock says', async () => {
    const phone = telephone();
    await phone.signIn('ada');
    provider.faults.ignoresPrompt = true;
    provider.faults.idToken = (claims, sign) => sign({ ...claims, auth_time: Number(claims['iat']) - 3600 });
    const { back } = await phone.there.go(await phone.away('?again=1&then=/account'), filled('ada'));
    const shown = await phone.client.get(pathOf(back ?? ''));
    expect(shown.content).toContain('That was not a new sign-in');
  });

  test('a first sign-in at which the provider asked nothing is one of the time when it did', async () => {
    provider.faults.idToken = (claims, sign) => sign({ ...claims, auth_time: Number(claims['iat']) - 600 });
    const phone = telephone();
    expect((await phone.signIn('ada')).status).toBe(200);
    expect((await phone.client.get('/account/password', { follow: false })).headers['location']).not.toMatch(/again/);
    it.pass(6 * 60);
    expect((await phone.client.get('/account/password', { follow: false })).headers['location']).toMatch(/again=1/);
  });

  test('where the provider never says when, a first sign-in is not fresh, and one that was asked for is', async () => {
    provider.faults.withoutAuthTime = true;
    const phone = telephone();
    await phone.signIn('ada');
    expect((await phone.client.get('/account/password', { follow: false })).headers['location']).toMatch(/again=1/);
    const { back } = await phone.there.go(await phone.away('?again=1&then=/account'), filled('ada'));
    await phone.client.get(pathOf(back ?? ''));
    expect((await phone.client.get('/account/password', { follow: false })).headers['location']).not.toMatch(/again/);
  });
});

describe('a provider that is not there', () => {
  beforeEach(async () => {
    // What was learned of it before is forgotten with the process.
    await it.restart();
    serving = it.serving;
  });

  test('is a page in words with the other ways, without waiting each time, and works again when it is back', async () => {
    const downs = async (): Promise<unknown[]> => {
      const noted = await it.store.db.selectFrom('audit').select('details').where('act', '=', 'sign-in.provider-failed').orderBy('seq').execute();
      return noted.map(({ details }) => JSON.parse(details)).filter(({ because }) => because === 'down');
    };
    const before = await downs();
    await provider.stop();
    const phone = telephone();
    const shown = await phone.client.get('/sign-in/with/example');
    expect(shown.status).toBe(503);
    expect(shown.content).toContain('does not answer');
    expect(shown.forms.map(({ action }) => action)).toEqual(expect.arrayContaining(['/sign-in/password', '/sign-in/passkey/answer']));
    // In the audit too, and not once for each press of the button.
    await phone.client.get('/sign-in/with/example');
    expect((await downs()).slice(before.length)).toMatchObject([{ provider: 'example' }]);
    await provider.start();
    await it.restart();
    serving = it.serving;
    expect((await telephone().signIn('ada')).status).toBe(200);
    // Its page about itself is not asked for each time.
    const asked = provider.asked('/.well-known/openid-configuration');
    await telephone().signIn('ada');
    expect(provider.asked('/.well-known/openid-configuration')).toBe(asked);
  });

  test('that says it is another, or fails at the token, signs nobody in', async () => {
    expect((await it.portal.client().get('/sign-in/with/liar')).status).toBe(503);
    provider.faults.failAt = { path: '/token', status: 502 };
    const shown = await telephone().signIn('ada');
    expect(shown.status).toBe(503);
    expect(shown.content).toContain('does not answer');
    expect((await it.portal.client().get('/sign-in/with/nobody')).status).toBe(404);
  });

  test('that is silent is left after five seconds', async () => {
    provider.faults.silentAt = '/.well-known';
    const [before, began] = [provider.asked('/.well-known/openid-configuration'), performance.now()];
    expect((await it.portal.client().get('/sign-in/with/example')).status).toBe(503);
    // Else it would be for as long as the portal's own request may take, or for ever.
    expect(performance.now() - began).toBeLessThan(60_000);
    expect(provider.asked('/.well-known/openid-configuration')).toBe(before + 1);
    // And for a while after that it is not asked again.
    expect((await it.portal.client().get('/sign-in/with/example')).status).toBe(503);
    expect(provider.asked('/.well-known/openid-configuration')).toBe(before + 1);
  });
});
