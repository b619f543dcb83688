import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { createAccounts } from '../server/accounts.ts';
import { endSessionsOf } from '../web/sessions.ts';
import { signInWords } from '../web/sign-in-words.ts';
import { languages } from '../web/words.ts';
import { makeAuthenticator } from './authenticator.ts';
import { givenPortal, passwordOfTests } from './given-portal.ts';
import type { PortalClient, Shown } from './portal-client.ts';

let it: Awaited<ReturnType<typeof givenPortal>>;
beforeAll(async () => {
  it = await givenPortal({ people: { contact: { name: 'Service desk', phone: '+31 20 555 0100', hours: 'Mon–Fri 8:00–18:00' } } });
});

const accounts = () => createAccounts(it.backend);
const rows = async (act: string) =>
  (await it.store.db.selectFrom('audit').selectAll().where('act', '=', act).orderBy('seq').execute()).map(({ details }) => JSON.parse(details));
const attempt = async (client: PortalClient, name: string, password: string, path = '/sign-in'): Promise<Shown> =>
  client.submit(await client.get(path), '/sign-in/password', { name, password });
let names = 0;
const newName = () => `somebody${++names}`;

describe('signing in with a password', () => {
  test('leads to where somebody wanted to be, and is in the audit with way, network and browser', async () => {
    const name = newName();
    const personId = await it.portal.account(name);
    const client = it.portal.client();
    const first = await client.get('/account');
    expect(first.path).toBe('/sign-in?then=%2Faccount');
    const shown = await client.submit(first, '/sign-in/password', { name: ` ${name.toUpperCase()} `, password: passwordOfTests });
    expect(shown).toMatchObject({ status: 200, path: '/account' });
    expect((await rows('sign-in.done')).at(-1)).toMatchObject({ personId, way: 'password', network: '127.0.0.1', again: false });
    // Whoever is in already is not asked again.
    expect((await client.get('/sign-in?then=/account')).path).toBe('/account');
  });

  test('goes nowhere else than to a page of this site', async () => {
    const { client } = await it.portal.person();
    const elsewhere = [
      '//evil.example/',
      '/\\evil.example',
      'https://evil.example/',
      'javascript:alert(1)',
      '/sign-out',
      '/sign-in?then=/x',
      ' /account',
      '/a\r\nx: y',
    ];
    for (const goal of elsewhere) {
      const shown = await client.get(`/sign-in?${new URLSearchParams([['then', goal]])}`, { follow: false });
      expect(`${goal} → ${shown.headers['location']}`).toBe(`${goal} → /macs`);
    }
  });

  test('says one thing of a wrong password, of nobody, and of an account that is not set up', async () => {
    const name = newName();
    await it.portal.account(name);
    await accounts().add({ name: `${name}-new`, emergency: false, actor: 'x' });
    await accounts().add({ name: `${name}-glass`, emergency: true, actor: 'x' });
    const pages: string[] = [];
    for (const one of [name, `${name}-nobody`, `${name}-new`, `${name}-glass`]) {
      const shown = await attempt(it.portal.client(), one, 'not the password');
      expect(shown.status).toBe(403);
      pages.push(shown.text.replace(/value="[^"]*"/g, ''));
      expect(shown.content).toContain('User name and password do not belong together');
      // Both fields say that they are wrong, and where it is said why.
      expect(shown.text.match(/<input id="(?:name|password)"[^>]*aria-invalid="true" aria-describedby="trouble/g)).toHaveLength(2);
      expect(shown.text).not.toContain('not the password');
    }
    expect(new Set(pages).size).toBe(1);
  });

  test('says how long to wait, in every language, with the other ways beside it', async () => {
    const name = newName();
    await it.portal.account(name);
    const client = it.portal.client();
    let shown = await attempt(client, name, 'no');
    for (let at = 0; at < 4; at++) shown = await attempt(client, name, 'no');
    expect(shown.status).toBe(429);
    expect(shown.headers['retry-after']).toBe('30');
    expect(shown.content).toContain('Wait 30 seconds');
    expect(shown.content).toContain('I cannot sign in');
    it.pass(30);
    expect((await attempt(client, name, passwordOfTests)).path).toBe('/macs');
    for (const language of languages) {
      const { wait } = signInWords[language];
      expect(wait(61).title).toContain('2');
      expect(wait(60).title).not.toBe(wait(61).title);
    }
  });

  test('asks for what is missing, and keeps the name that was typed', async () => {
    const shown = await attempt(it.portal.client(), 'ada"><b>', '');
    expect(shown.status).toBe(400);
    expect(shown.content).toContain('Something was left empty');
    expect(shown.text).toContain('value="ada&quot;&gt;&lt;b&gt;"');
  });

  test('a second sign-in on one browser ends the first session, and its cookie is worth nothing', async () => {
    const { client, userName } = await it.portal.person();
    const old = client.jar.get('__Host-session');
    await attempt(client, userName, passwordOfTests, '/sign-in?then=/account&again=1');
    expect(client.jar.get('__Host-session')).not.toBe(old);
    const thief = it.portal.client();
    thief.jar.set('__Host-session', old ?? '');
    expect((await thief.get('/account')).path).toMatch(/^\/sign-in\?/);
  });
});

describe('a fresh sign-in', () => {
  test('is asked for after fifteen minutes, says why, and has to be by the same person', async () => {
    const { client, userName } = await it.portal.person();
    const { userName: other } = await it.portal.person();
    expect((await client.get('/account/password')).content).toContain('Choose another password');
    it.pass(15 * 60);
    const page = await client.get('/account/password');
    expect(page.path).toBe('/sign-in?then=%2Faccount%2Fpassword&again=1');
    expect(page.content).toContain('This sign-in then counts for 15 minutes.');
    const wrong = await client.submit(page, '/sign-in/password', { name: other, password: passwordOfTests });
    expect(wrong.status).toBe(403);
    expect(wrong.content).toContain('That was somebody else');
    expect((await client.get('/account')).content).toContain(`(${userName})`);
    expect((await client.submit(page, '/sign-in/password', { password: passwordOfTests })).path).toBe('/account/password');
    it.pass(14 * 60);
    expect((await client.get('/account/password')).path).toBe('/account/password');
  });
});

describe('signing out', () => {
  test('everywhere ends every session at once, and the list says where they were', async () => {
    const person = await it.portal.person();
    const elsewhere = it.portal.client({ userAgent: 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/142.0.0.0 Safari/537.36' });
    await it.portal.signIn(elsewhere, person.userName);
    const page = await person.client.get('/account');
    expect(page.content).toMatch(/\(this browser\), from 127\.0\.0\.1, since \d\d:\d\d/);
    expect(page.text.match(/from 127\.0\.0\.1/g)).toHaveLength(2);
    const out = await person.client.submit(page, '/sign-out-everywhere');
    expect(out.content).toContain('You are signed out.');
    for (const client of [person.client, elsewhere]) expect((await client.get('/account')).path).toMatch(/^\/sign-in\?/);
    expect((await rows('sessions.ended')).at(-1)).toMatchObject({ personId: person.id, sessions: 2 });
  });

  test('here ends this session alone', async () => {
    const person = await it.portal.person();
    const elsewhere = it.portal.client();
    await it.portal.signIn(elsewhere, person.userName);
    await person.client.submit(await person.client.get('/account'), '/sign-out');
    expect((await person.client.get('/account')).path).toMatch(/^\/sign-in\?/);
    expect((await elsewhere.get('/account')).path).toBe('/account');
  });

  test('of one who is disabled happens to them at once', async () => {
    const person = await it.portal.person();
    await accounts().disable({ name: person.userName, actor: 'an operator', reason: 'left' });
    expect((await person.client.get('/account')).path).toMatch(/^\/sign-in\?/);
    const shown = await attempt(it.portal.client(), person.userName, passwordOfTests);
    expect(shown.content).toContain('This account is switched off');
  });
});

describe('setting up an account', () => {
  test('takes a code once, says what is wrong with a password, and signs its person in', async () => {
    const name = newName();
    const { code } = await accounts().add({ name, displayName: 'Grace Hopper', emergency: false, actor: 'x' });
    const client = it.portal.client();
    const front = await client.get('/set-up');
    expect((await client.submit(front, '/set-up', { name, code: 'AAAAA-AAAAA-AAAAA-AAAAA' })).content).toContain('User name and code do not belong together');
    let page = await client.submit(front, '/set-up', { name, code: code.toLowerCase() });
    expect(page.content).toContain('Choose how Grace Hopper signs in from now on.');
    for (const [password, repeat, words] of [
      ['tiny hen', 'tiny hen', 'needs at least 12 characters'],
      ['Password1234!', 'Password1234!', 'easy to guess'],
      ['Grace Hopper 1', 'Grace Hopper 1', 'mostly your name'],
      ['a boat full of hens', 'a boat full of hen', 'not the same'],
    ] as const) {
      page = await client.submit(page, '/set-up/password', { password, repeat });
      expect(page.status).toBe(422);
      expect(page.content).toContain(words);
      expect(page.text).not.toContain(password);
    }
    const inside = await client.submit(page, '/set-up/password', { password: 'a boat full of hens', repeat: 'a boat full of hens' });
    expect(inside.path).toBe('/macs');
    expect((await attempt(it.portal.client(), name, 'a boat full of hens')).path).toBe('/macs');
    const late = it.portal.client();
    expect((await late.submit(await late.get('/set-up'), '/set-up', { name, code })).status).toBe(403);
  });

  test('another password is chosen on the account page, and ends every other session', async () => {
    const person = await it.portal.person();
    const elsewhere = it.portal.client();
    await it.portal.signIn(elsewhere, person.userName);
    const page = await person.client.get('/account/password');
    const refused = await person.client.submit(page, '/account/password', { password: 'aaaaaaaaaaaaaaaa', repeat: 'aaaaaaaaaaaaaaaa' });
    expect(refused.content).toContain('signs in a row');
    const done = await person.client.submit(page, '/account/password', { password: 'seven grey geese', repeat: 'seven grey geese' });
    expect(done.content).toContain('Your password is changed.');
    expect((await elsewhere.get('/account')).path).toMatch(/^\/sign-in\?/);
    expect((await attempt(it.portal.client(), person.userName, passwordOfTests)).status).toBe(403);
    expect((await attempt(it.portal.client(), person.userName, 'seven grey geese')).path).toBe('/macs');
  });
});

describe('I cannot sign in', () => {
  test('is on the sign-in page, needs no sign-in, and gives a code that the service desk finds', async () => {
    const client = it.portal.client();
    const page = await client.get('/sign-in');
    expect(page.text).toContain('href="/cannot-sign-in"');
    const shown = await client.get('/cannot-sign-in');
    for (const words of ['Service desk', '+31 20 555 0100', 'Mon–Fri 8:00–18:00']) expect(shown.content).toContain(words);
    const code = /[0-9A-Z]{4}-[0-9A-Z]{2}/.exec(shown.content)?.[0] ?? '';
    expect(await it.store.db.selectFrom('help_code').selectAll().where('code', '=', code).executeTakeFirst()).toMatchObject({
      page: '/cannot-sign-in',
      person_id: null,
      network: '127.0.0.1',
    });
  });

  test('gives no code without end, and says whom to call all the same', async () => {
    const client = it.portal.client();
    let shown = await client.get('/cannot-sign-in');
    for (let at = 0; at < 20; at++) shown = await client.get('/cannot-sign-in');
    expect(shown.status).toBe(200);
    expect(shown.content).toContain('+31 20 555 0100');
    expect(shown.content).toContain('There is no code for you now');
  });

  test.each(languages.map((language) => ({ language })))('and sign-in are in $language', async ({ language }) => {
    const client = it.portal.client({ language });
    const words = signInWords[language];
    expect((await client.get('/sign-in')).content).toContain(words.lead);
    expect((await client.get('/cannot-sign-in')).content).toContain(words.cannotLead);
    expect((await attempt(client, 'nobody', 'wrong')).content).toContain(words.trouble.wrong.title);
  });
});

type Authenticator = ReturnType<typeof makeAuthenticator>;

/** The token for what a script asks stands in a form of its own, beside the one that is sent. */
function tokenFor(page: Shown): string {
  const token = /data-asks><input type="hidden" name="token" value="([^"]+)"/.exec(page.text)?.[1];
  if (!token) throw new Error(`no passkey on ${page.path}: ${page.words}`);
  return token;
}
async function asked(client: PortalClient, page: Shown, path: string, json: object = {}) {
  const answer = await client.ask(path, json, tokenFor(page));
  return { status: answer.status, options: JSON.parse(answer.text) };
}
async function addPasskey(client: PortalClient, authenticator: Authenticator, bent = {}): Promise<Shown> {
  const page = await client.get('/account');
  const { options } = await asked(client, page, '/account/passkeys/ask');
  return client.submit(page, '/account/passkeys/add', { answer: authenticator.create(options, bent), label: 'My telephone' });
}
async function signInByPasskey(client: PortalClient, authenticator: Authenticator, bent = {}, path = '/sign-in?then=/account'): Promise<Shown> {
  const page = await client.get(path);
  const { options } = await asked(client, page, '/sign-in/passkey');
  return client.submit(page, '/sign-in/passkey/answer', { answer: authenticator.get(options, bent) });
}
async function withSettings(change: (signIn: Record<string, unknown>) => void): Promise<void> {
  const file = join(it.dir, 'settings.json');
  const settings = JSON.parse(readFileSync(file, 'utf8'));
  settings.people.signIn ??= {};
  change(settings.people.signIn);
  writeFileSync(file, JSON.stringify(settings));
  await it.restart();
}

describe('a passkey', () => {
  test('is added with its name, signs its person in without one, and is removed', async () => {
    const { client, userName, id } = await it.portal.person();
    const authenticator = makeAuthenticator(it.portal.url);
    const page = await client.get('/account');
    const { options } = await asked(client, page, '/account/passkeys/ask');
    expect(options).toMatchObject({
      rp: { id: '127.0.0.1', name: 'Example' },
      user: { name: userName },
      attestation: 'none',
      authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
    });
    const added = await client.submit(page, '/account/passkeys/add', { answer: authenticator.create(options), label: 'My telephone' });
    expect(added.content).toContain('My telephone: added just now , not used yet');
    const phone = it.portal.client();
    const front = await phone.get('/sign-in?then=/account');
    const { options: challenge } = await asked(phone, front, '/sign-in/passkey');
    expect(challenge).toMatchObject({ userVerification: 'required', rpId: '127.0.0.1' });
    expect(challenge.allowCredentials ?? []).toEqual([]);
    const inside = await phone.submit(front, '/sign-in/passkey/answer', { answer: authenticator.get(challenge) });
    expect(inside).toMatchObject({ status: 200, path: '/account' });
    expect(inside.content).toContain('My telephone: added just now , last used just now');
    const removed = await phone.submit(inside, '/account/passkeys/remove');
    expect(removed.content).toContain('You have none.');
    expect((await signInByPasskey(it.portal.client(), authenticator)).content).toContain('We do not know this passkey');
    expect((await rows('passkey.added')).at(-1)).toMatchObject({ personId: id });
    expect((await rows('passkey.removed')).at(-1)).toMatchObject({ personId: id, passkeyId: authenticator.id });
    expect((await rows('sign-in.done')).at(-1)).toMatchObject({ personId: id, way: 'passkey' });
  });

  test('an answer that is not its own signs nobody in', async () => {
    const { client } = await it.portal.person();
    const authenticator = makeAuthenticator(it.portal.url);
    await addPasskey(client, authenticator);
    expect((await signInByPasskey(it.portal.client(), authenticator)).path).toBe('/account');
    const bents = [
      ['of another site', { origin: 'https://127.0.0.1.example' }, 'not accepted'],
      ['for another name', { rpId: 'example.org' }, 'not accepted'],
      ['to another challenge', { challenge: Buffer.alloc(32, 7).toString('base64url') }, 'no longer good'],
      ['without its person', { unverified: true }, 'not accepted'],
      ['with a signature of nothing', { wrongSignature: true }, 'not accepted'],
      ['of the wrong kind', { type: 'webauthn.create' }, 'not accepted'],
      ['with another person’s handle', { userHandle: Buffer.from('somebody').toString('base64url') }, 'not accepted'],
      ['that has counted back', { counter: 1 }, 'not accepted'],
    ] as const;
    const seen: string[] = [];
    for (const [name, bent, words] of bents) {
      const stranger = it.portal.client();
      const shown = await signInByPasskey(stranger, authenticator, bent);
      seen.push(`${name}: ${shown.status >= 400 && shown.content.includes(words) && !stranger.jar.has('__Host-session') ? 'refused' : shown.words}`);
    }
    expect(seen).toEqual(bents.map(([name]) => `${name}: refused`));
    expect((await signInByPasskey(it.portal.client(), authenticator)).path).toBe('/account');
  });

  test('an answer is good once and for five minutes; what is no answer is refused in words', async () => {
    const { client } = await it.portal.person();
    const authenticator = makeAuthenticator(it.portal.url);
    await addPasskey(client, authenticator);
    const phone = it.portal.client();
    const page = await phone.get('/sign-in');
    const { options } = await asked(phone, page, '/sign-in/passkey');
    const answer = authenticator.get(options);
    expect((await phone.submit(page, '/sign-in/passkey/answer', { answer })).path).toBe('/macs');
    const thief = it.portal.client();
    expect((await thief.submit(await thief.get('/sign-in'), '/sign-in/passkey/answer', { answer })).content).toContain('no longer good');
    const slow = it.portal.client();
    const opened = await slow.get('/sign-in');
    const { options: old } = await asked(slow, opened, '/sign-in/passkey');
    it.pass(5 * 60 + 1);
    expect((await slow.submit(opened, '/sign-in/passkey/answer', { answer: authenticator.get(old) })).content).toContain('no longer good');
    for (const text of ['', '{}', '[]', 'null', '{"id":1}', `{"id":"${'A'.repeat(60_000)}"}`]) {
      const shown = await thief.submit(await thief.get('/sign-in'), '/sign-in/passkey/answer', { answer: text });
      expect(shown.status).toBeGreaterThanOrEqual(400);
      expect(shown.status).toBeLessThan(500);
    }
  });

  test('that is made without its person, for another site or from another’s challenge is not added', async () => {
    const { client } = await it.portal.person();
    const { client: other } = await it.portal.person();
    for (const bent of [{ unverified: true }, { origin: 'https://elsewhere.example' }, { rpId: 'elsewhere.example' }, { type: 'webauthn.get' }]) {
      const shown = await addPasskey(client, makeAuthenticator(it.portal.url), bent);
      expect(shown.status).toBe(422);
      expect(shown.content).toContain('The passkey was not added');
    }
    const page = await other.get('/account');
    const { options } = await asked(other, page, '/account/passkeys/ask');
    const mine = await client.get('/account');
    const stolen = await client.submit(mine, '/account/passkeys/add', { answer: makeAuthenticator(it.portal.url).create(options) });
    expect(stolen.status).toBe(422);
    expect((await client.get('/account')).content).toContain('You have none.');
  });

  test('is not added by whoever is signed out before it is: after its challenge was given, and after its answer was found good', async () => {
    const { client, id, userName } = await it.portal.person();
    const { store, clock } = it.backend;
    const { write } = store;
    const signOut = () => write(async (tx) => endSessionsOf(tx, id, 'a test', clock.now()));
    const given = async () => {
      const page = await client.get('/account');
      const { options } = await asked(client, page, '/account/passkeys/ask');
      return { page, fields: { answer: makeAuthenticator(it.portal.url).create(options) } };
    };
    const early = await given();
    await signOut();
    expect((await client.submit(early.page, '/account/passkeys/add', early.fields, { follow: false })).headers['location']).toMatch(/^\/sign-in/);

    await it.portal.signIn(client, userName);
    const late = await given();
    // The challenge is spent in one transaction, the passkey is stored in the next.
    store.write = async (act) => {
      store.write = write;
      const spent = await write(act);
      await signOut();
      return spent;
    };
    const answer = await client.submit(late.page, '/account/passkeys/add', late.fields, { follow: false });
    store.write = write;
    expect([answer.status, answer.content]).toEqual([401, expect.stringContaining('Nothing was changed.')]);
    const rowsOf = (table: 'passkey' | 'sign_in_flow') => it.store.db.selectFrom(table).selectAll().where('person_id', '=', id).execute();
    // The challenge of the second is spent; of neither there is a passkey.
    expect([await rowsOf('passkey'), await rowsOf('sign_in_flow')]).toEqual([[], [expect.anything()]]);
  });

  test('is asked for only after a fresh sign-in, and is one itself, of the same person', async () => {
    const { client } = await it.portal.person();
    const { client: eve } = await it.portal.person();
    const [mine, hers] = [makeAuthenticator(it.portal.url), makeAuthenticator(it.portal.url)];
    await addPasskey(client, mine);
    await addPasskey(eve, hers);
    it.pass(15 * 60 + 1);
    const page = await client.get('/account');
    const { status, options } = await asked(client, page, '/account/passkeys/ask');
    expect({ status, to: options.to }).toEqual({ status: 401, to: '/sign-in?then=%2Faccount&again=1' });
    const again = '/sign-in?then=/account/password&again=1';
    const shown = await signInByPasskey(client, hers, {}, again);
    expect(shown.content).toContain('That was somebody else');
    expect((await signInByPasskey(client, mine, {}, again)).path).toBe('/account/password');
  });
});

describe('an emergency account', () => {
  test('is set up with a passkey alone, and works when accounts are off and the provider is down', async () => {
    const made = await accounts().add({ name: 'break-glass-1', emergency: true, actor: 'an operator' });
    const phone = it.portal.client();
    const front = await phone.get('/set-up');
    const choose = await phone.submit(front, '/set-up', { name: made.name, code: made.code });
    expect(choose.content).toContain('This is an emergency account');
    expect(choose.forms.map(({ action }) => action)).not.toContain('/set-up/password');
    const authenticator = makeAuthenticator(it.portal.url);
    const wrong = await asked(phone, choose, '/set-up/passkey', { name: made.name, code: 'AAAAA' });
    expect(wrong.options).toEqual({});
    const { options } = await asked(phone, choose, '/set-up/passkey', { name: made.name, code: made.code });
    const inside = await phone.submit(choose, '/set-up/passkey/answer', { answer: authenticator.create(options), label: 'Key in the safe' });
    expect(inside.path).toBe('/macs');
    // The code is spent, and the last passkey cannot be taken away.
    expect((await phone.get('/account')).content).toContain('Key in the safe');
    const kept = await phone.submit(await phone.get('/account'), '/account/passkeys/remove');
    expect(kept.content).toContain('last passkey of an emergency account');
    const again = it.portal.client();
    expect((await again.submit(await again.get('/set-up'), '/set-up', { name: made.name, code: made.code })).status).toBe(403);

    const ordinary = await it.portal.person();
    const theirs = makeAuthenticator(it.portal.url);
    await addPasskey(ordinary.client, theirs);
    const provider = { id: 'example', name: 'Example', issuer: 'http://127.0.0.1:9', clientId: 'sparekey' };
    await withSettings((settings) => Object.assign(settings, { localAccounts: false, providers: [provider] }));
    try {
      const stranded = it.portal.client();
      const page = await stranded.get('/sign-in/with/example');
      expect(page.content).toContain('does not answer');
      expect(page.forms.map(({ action }) => action)).not.toContain('/sign-in/password');
      expect((await signInByPasskey(stranded, authenticator)).path).toBe('/account');
      const off = it.portal.client();
      expect((await signInByPasskey(off, theirs)).content).toContain('This account is switched off');
      const form = await off.get('/sign-in');
      const token = /name="token" value="([^"]+)"/.exec(form.text)?.[1] ?? '';
      expect((await off.post('/sign-in/password', { token, name: ordinary.userName, password: passwordOfTests })).status).toBe(403);
    } finally {
      await withSettings((settings) => Object.assign(settings, { localAccounts: true, providers: [] }));
    }
  });
});

describe('a passkey of somebody whom a provider knows', () => {
  test('works for thirty days without it, then asks for it once', async () => {
    const { client, id } = await it.portal.person();
    const authenticator = makeAuthenticator(it.portal.url);
    await addPasskey(client, authenticator);
    const at = it.backend.clock.now();
    await it.store.write((tx) => tx.updateTable('person').set({ provider: 'example', subject: 'x', confirmed_at: at }).where('id', '=', id).execute());
    expect((await signInByPasskey(it.portal.client(), authenticator)).content).toContain('not accepted');
    const provider = { id: 'example', name: 'Example', issuer: 'http://127.0.0.1:9', clientId: 'sparekey' };
    await withSettings((settings) => Object.assign(settings, { providers: [provider] }));
    const phone = it.portal.client();
    expect((await signInByPasskey(phone, authenticator)).content).toContain('They work for 30 days after your last sign-in with Example.');
    it.pass(30 * 24 * 3600 + 1);
    expect((await signInByPasskey(it.portal.client(), authenticator)).content).toContain('This passkey has to be confirmed first');
  });
});
