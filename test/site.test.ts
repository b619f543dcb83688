import { readdirSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { describe, expect, jest, test } from '@jest/globals';
import { Problem } from '../protocol/problems.ts';
import { createAccounts } from '../server/accounts.ts';
import type { SitesGround } from '../server/serve.ts';
import { browserName } from '../web/browser-name.ts';
import { spendForm } from '../web/form-token.ts';
import { html } from '../web/html.ts';
import { isLocalPath } from '../web/paths.ts';
import { endSessionsOf, startSession } from '../web/sessions.ts';
import { createSite } from '../web/site.ts';
import type { Site, Visit } from '../web/visit.ts';
import { languages } from '../web/words.ts';
import { givenPortal } from './given-portal.ts';
import type { PortalClient, Shown } from './portal-client.ts';

/** A site of four pages, on the core alone: what the real pages are made with. */
function addPages(site: Site): void {
  const { ground } = site;
  const say = (visit: Visit) => html`<h1>Here</h1><p>sent ${sent} times, spent ${spent}</p>
<form method="post" action="/room/send">${visit.token('/room/send')}<input name="words"></form>
<form method="post" action="/room/once">${visit.token('/room/once', true)}</form>`;
  site.page('/sign-in', 'nobody', async (visit) => ({
    title: 'Door',
    body: html`<h1>Door</h1><form method="post" action="/let-in">${visit.token('/let-in')}<input name="person"><input type="hidden" name="then" value="${visit.query['then']}"></form>`,
  }));
  site.act('/let-in', 'nobody', async (visit) => ({
    to: isLocalPath(visit.form['then'] ?? '') ? (visit.form['then'] ?? '/') : '/',
    cookies: await ground.backend.store.write((tx) => startSession(tx, visit.at, { personId: visit.form['person'] ?? '', way: 'password', visit })),
  }));
  site.page('/room', 'person', async (visit) => ({ title: 'Room', body: say(visit), refresh: { seconds: 300, to: '/room?later' } }));
  site.page('/room/inner', 'fresh', async (visit) => ({ title: 'Inner', body: say(visit), language: 'en' }));
  site.act('/room/send', 'person', async ({ form }) => {
    sent += 1;
    said = form['words'] ?? '';
    return { to: '/room' };
  });
  site.act('/room/once', 'person', async (visit) => {
    await ground.backend.store.write((tx) => spendForm(tx, visit, visit.at));
    spent += 1;
    return { to: '/room' };
  });
  site.ask('/room/ask', 'person', async ({ json }) => ({ heard: json }));
  site.page('/broken', 'nobody', async () => {
    throw new TypeError('a secret of the inside');
  });
  site.page('/full', 'nobody', async () => {
    throw new Problem('STORE_FAILED', 'the disk is full');
  });
  site.page('/elsewhere', 'nobody', async () => ({ to: 'https://elsewhere.example/' }));
}
let sent = 0;
let spent = 0;
let said = '';

const minute = 60;
const burst = 150;
let ground: SitesGround;

/** Without a password: the pages here let in whoever says who they are. */
async function account(name: string): Promise<string> {
  const { store, clock, secrets, settings } = ground.backend;
  const made = await createAccounts({ store, clock, secrets, settings }).add({ name, displayName: `${name} <&>`, emergency: false, actor: 'a test' });
  return made.personId;
}

async function given() {
  const it = await givenPortal({
    people: { signIn: { sessionHours: 2, idleMinutes: 10, freshMinutes: 5 } },
    mountSites: async (onGround) => {
      ground = onGround;
      addPages(
        createSite(ground, { brand: ':root { --accent: #123456; }', rates: { sent: { perMinute: 1, burst }, helpCodes: { perMinute: 1e6, burst: 1e6 } } }),
      );
    },
  });
  const letIn = async (browser: PortalClient, person: string): Promise<Shown> =>
    browser.submit(await browser.get('/sign-in?then=/room'), '/let-in', { person });
  const person = async (name: string) => {
    const id = await account(name);
    const browser = it.portal.client();
    await letIn(browser, id);
    return { id, browser };
  };
  return { ...it, portal: it.portal, letIn, person, pass: it.pass };
}
let many = 0;
const anybody = async () => {
  const it = await given();
  return { ...it, ...(await it.person(`somebody${++many}`)) };
};

describe('sessions', () => {
  test('whoever is not signed in is led to the sign-in, and from there back to the page asked for', async () => {
    const { portal, letIn } = await given();
    const id = await account('back');
    const browser = portal.client();
    const led = await browser.get('/room?of=1&at=2', { follow: false });
    expect([led.status, led.headers['location']]).toEqual([303, `/sign-in?then=${encodeURIComponent('/room?of=1&at=2')}`]);
    const door = await browser.get(String(led.headers['location']));
    const shown = await browser.submit(door, '/let-in', { person: id });
    expect([shown.path, shown.status]).toEqual(['/room?of=1&at=2', 200]);
    expect((await letIn(browser, id)).words).toContain('Signed in as back');
  });

  test('a session that nobody used for the idle time is over, and says so to the sign-in', async () => {
    const { browser, pass } = await anybody();
    pass(9 * minute);
    expect((await browser.get('/room')).status).toBe(200);
    pass(9 * minute);
    expect((await browser.get('/room')).status).toBe(200);
    pass(10 * minute);
    const led = await browser.get('/room', { follow: false });
    expect([led.status, led.headers['location']]).toEqual([303, '/sign-in?then=%2Froom&ended=1']);
  });

  test('a session is over at its absolute end, however busy it was', async () => {
    const { browser, pass } = await anybody();
    for (let passed = 0; passed < 119; passed += 7) {
      expect((await browser.get('/room')).status).toBe(200);
      pass(7 * minute);
    }
    pass(2 * minute);
    expect((await browser.get('/room', { follow: false })).status).toBe(303);
  });

  test('a form that is sent after the end leads to the sign-in and to the page that it stood on, and does nothing', async () => {
    const { browser, pass } = await anybody();
    const page = await browser.get('/room');
    const before = sent;
    pass(11 * minute);
    const led = await browser.submit(page, '/room/send', { words: 'late' }, { follow: false });
    expect([led.status, led.headers['location'], sent]).toEqual([303, '/sign-in?then=%2Froom&ended=1', before]);
  });

  test('a page that needs a fresh sign-in asks whoever is signed in for another one', async () => {
    const { browser, pass } = await anybody();
    expect((await browser.get('/room/inner')).status).toBe(200);
    pass(5 * minute);
    expect((await browser.get('/room')).status).toBe(200);
    const led = await browser.get('/room/inner', { follow: false });
    expect(led.headers['location']).toBe('/sign-in?then=%2Froom%2Finner&again=1');
  });

  test('signing in makes a new session: neither the one before nor one put there by somebody else goes on', async () => {
    const { browser, id, letIn, portal } = await anybody();
    const before = browser.jar.get('__Host-session') ?? '';
    await letIn(browser, id);
    const after = browser.jar.get('__Host-session') ?? '';
    expect(after).not.toBe(before);
    const thief = portal.client();
    thief.jar.set('__Host-session', before);
    expect((await thief.get('/room', { follow: false })).status).toBe(303);
    const victim = portal.client();
    const planted = 'A'.repeat(43);
    victim.jar.set('__Host-session', planted);
    victim.jar.set('__Host-visitor', planted);
    await letIn(victim, id);
    expect(victim.jar.get('__Host-session')).not.toBe(planted);
    expect(victim.jar.has('__Host-visitor')).toBe(false);
  });

  test('sign-out everywhere ends all of somebody and nobody else, at once', async () => {
    const { browser, id, letIn, portal, person, store } = await anybody();
    const second = portal.client();
    await letIn(second, id);
    const other = await person('other-one');
    const ended = await store.write((tx) => endSessionsOf(tx, id, 'everywhere', ground.backend.clock.now()));
    expect(ended).toBe(2);
    expect([await browser.get('/room', { follow: false }), await second.get('/room', { follow: false })].map(({ status }) => status)).toEqual([303, 303]);
    expect((await other.browser.get('/room')).status).toBe(200);
  });

  test('somebody who was disabled is out with their next request', async () => {
    const { browser, id, store } = await anybody();
    await store.write((tx) => tx.updateTable('person').set({ disabled_at: 1, disabled_because: 'left' }).where('id', '=', id).execute());
    expect((await browser.get('/room', { follow: false })).status).toBe(303);
  });

  test('the database holds no token, only its digest', async () => {
    const { browser, store } = await anybody();
    const token = browser.jar.get('__Host-session') ?? '';
    expect(token).toHaveLength(43);
    expect(JSON.stringify(await store.db.selectFrom('web_session').selectAll().execute())).not.toContain(token);
  });
});

describe('forms', () => {
  test('what was typed arrives as it was typed', async () => {
    const { browser } = await anybody();
    const words = 'é+ &=%41 “ж”\r\n😀';
    await browser.submit(await browser.get('/room'), '/room/send', { words });
    expect(said).toBe(words);
  });

  test('a form that may be sent once is done once', async () => {
    const { browser } = await anybody();
    const page = await browser.get('/room');
    const before = spent;
    expect((await browser.submit(page, '/room/once')).status).toBe(200);
    const again = await browser.submit(page, '/room/once');
    expect([again.status, spent]).toEqual([409, before + 1]);
    expect(again.content).toContain('This was sent before');
    expect((await browser.submit(await browser.get('/room'), '/room/once')).status).toBe(200);
  });

  test('the token of a page that was open for half a day is too old, and of a form that is good once after an hour', async () => {
    const { portal, pass, browser } = await anybody();
    const visitor = portal.client();
    const door = await visitor.get('/sign-in');
    const page = await browser.get('/room');
    for (let passed = 0; passed < 61; passed += 9) {
      pass(9 * minute);
      await browser.get('/room');
    }
    expect((await browser.submit(page, '/room/once')).status).toBe(403);
    expect((await browser.submit(page, '/room/send')).status).toBe(200);
    pass(11 * 60 * minute);
    const refused = await visitor.submit(door, '/let-in', { person: 'nobody' });
    expect(refused.status).toBe(403);
    expect(refused.content).toContain('Nothing was changed');
  });

  test.each([
    ['an escape that is none', 'application/x-www-form-urlencoded', 'words=%zz', 400],
    ['bytes that are no UTF-8', 'application/x-www-form-urlencoded', 'words=%ff%fe', 400],
    ['control characters', 'application/x-www-form-urlencoded', 'words=a%00b', 400],
    ['more fields than any form has', 'application/x-www-form-urlencoded', Array.from({ length: 65 }, (_, at) => `f${at}=`).join('&'), 400],
    ['a name that is no name', 'application/x-www-form-urlencoded', `${'n'.repeat(65)}=1`, 400],
    ['more than 16 KB', 'application/x-www-form-urlencoded', `words=${'x'.repeat(16 * 1024)}`, 413],
    ['a file', 'multipart/form-data; boundary=b', '--b\r\ncontent-disposition: form-data; name="words"\r\n\r\nx\r\n--b--', 400],
    ['JSON', 'application/json', '{"words":"x"}', 403],
    ['text', 'text/plain', 'words=x', 400],
  ])('%s is refused in words and does nothing', async (_, type, body, status) => {
    const { browser, portal } = await anybody();
    const before = sent;
    const refused = await browser.get('/room/send', {
      method: 'POST',
      body,
      headers: { 'content-type': type, origin: portal.url, 'sec-fetch-site': 'same-origin' },
    });
    expect([refused.status, sent]).toEqual([status, before]);
    expect(refused.content).toContain('Nothing was changed');
    expect(refused.content).toMatch(/[2-9A-Z]{4}-[2-9]{2}/);
  });

  test('a browser that keeps no cookie is told so, and that it may be an app around it', async () => {
    const { portal } = await given();
    const browser = portal.client();
    const door = await browser.get('/sign-in');
    browser.jar.clear();
    const refused = await browser.submit(door, '/let-in', { person: 'nobody' });
    expect(refused.status).toBe(403);
    expect(refused.content).toContain('Signing in needs a cookie');
    expect(refused.content).toContain('from within another app');
  });

  test('a question of a script is JSON both ways, with the same checks', async () => {
    const { browser, portal, pass } = await anybody();
    const token = String((await browser.get('/room')).forms.find(({ action }) => action === '/room/send')?.fields['token']);
    const wrong = await browser.ask('/room/ask', { a: 1 }, token);
    expect([wrong.status, wrong.headers['content-type'], JSON.parse(wrong.text)]).toEqual([403, 'application/json; charset=utf-8', { code: 'FORM_REFUSED' }]);
    expect(JSON.parse((await portal.client().ask('/room/ask', {}, token)).text)).toEqual({ code: 'SIGNED_OUT', to: '/sign-in?then=%2Froom' });
    pass(20 * minute);
    expect(JSON.parse((await browser.ask('/room/ask', {}, token)).text)).toEqual({ code: 'SIGNED_OUT', to: '/sign-in?then=%2Froom&ended=1' });
  });
});

describe('languages', () => {
  test('the language comes from the browser, is switched by a form on every page, and is remembered', async () => {
    const { portal } = await given();
    const browser = portal.client({ language: 'nl-BE,nl;q=0.9,en;q=0.5' });
    const door = await browser.get('/sign-in?then=/room');
    expect(door.text).toContain('<html lang="nl" dir="ltr">');
    const shown = await browser.submit(door, '/language', {}, { button: 'Deutsch' });
    expect([shown.path, shown.text.includes('<html lang="de"')]).toEqual(['/sign-in?then=/room', true]);
    expect((await browser.get('/sign-in')).text).toContain('<html lang="de"');
  });

  test('a language that there is not is none, and nobody is led to another site', async () => {
    const { portal } = await given();
    const browser = portal.client();
    const door = await browser.get('/sign-in');
    const shown = await browser.submit(
      door,
      '/language',
      Object.fromEntries([
        ['language', 'xx'],
        ['then', '//elsewhere.example/'],
      ]),
      { follow: false },
    );
    expect(shown.headers['location']).toBe('/');
    expect(shown.headers['set-cookie']).toEqual([expect.stringMatching(/^__Host-language=en;/)]);
  });

  test.each(languages)('what went wrong is said in %s, with a code for the service desk that is kept', async (language) => {
    const { portal, store } = await given();
    const shown = await portal.client({ language }).get('/nothing/here');
    expect([shown.status, shown.text.includes(`<html lang="${language}"`)]).toEqual([404, true]);
    const code = /[2-9A-Z]{4}-[2-9]{2}/.exec(shown.content)?.[0] ?? '';
    const kept = await store.db.selectFrom('help_code').selectAll().where('code', '=', code).executeTakeFirstOrThrow();
    expect([kept.language, kept.page]).toEqual([language, 'NOT_FOUND /nothing/here']);
    expect(shown.content.indexOf(code)).toBeGreaterThan(80);
    if (language !== 'en') expect(shown.content).not.toContain('There is no');
  });

  test('a body in another language than the frame says so', async () => {
    const { portal, letIn } = await given();
    const browser = portal.client({ language: 'de' });
    await letIn(browser, await account('german'));
    expect((await browser.get('/room/inner')).text).toMatch(/<main[^>]* lang="en"/);
    expect((await browser.get('/room')).text).not.toMatch(/<main[^>]* lang=/);
  });
});

describe('pages', () => {
  test('what nobody foresaw is a page in words, without what was inside', async () => {
    const { portal } = await given();
    const shown = await portal.client().get('/broken');
    expect(shown.status).toBe(500);
    expect(shown.content).toContain('Something went wrong on our side');
    expect(shown.text).not.toMatch(/secret|TypeError| at |SERVER_BUG/);
  });

  test('what is no request that we can read is a page in all languages', async () => {
    const { portal } = await given();
    const shown = await portal.client().get('/sign-in', { headers: { cookie: `old=${'x'.repeat(9000)}` } });
    expect([shown.status, shown.headers['content-type']]).toEqual([413, 'text/html; charset=utf-8']);
    for (const words of ['old cookies', 'oude cookies', 'alte Cookies', 'anciens cookies']) expect(shown.words).toContain(words);
  });

  test('where the database refuses, the page says so without it', async () => {
    const { portal } = await given();
    const shown = await portal.client({ language: 'fr' }).get('/full');
    expect([shown.status, shown.text.includes('the disk is full')]).toEqual([503, false]);
    expect(shown.content).toContain('Cela ne fonctionne pas pour le moment');
  });

  test('whoever came by another name of this machine is shown the way to the one that forms are taken from', async () => {
    const { portal, browser } = await anybody();
    const refused = await browser.post('/room/send', {}, { headers: { origin: 'https://key' } });
    expect(refused.status).toBe(403);
    expect(refused.text).toContain(`href="${portal.url}/room"`);
  });

  test('a page that would lead to another site leads nowhere', async () => {
    const { portal } = await given();
    const shown = await portal.client().get('/elsewhere', { follow: false });
    expect([shown.status, shown.headers['location']]).toEqual([500, undefined]);
  });

  test('an address that is asked in another way says which ways there are', async () => {
    const { portal } = await given();
    const browser = portal.client();
    const get = await browser.get('/room/send');
    expect([get.status, get.headers['allow']]).toEqual([405, 'POST']);
    const put = await browser.get('/room', { method: 'PUT' });
    expect([put.status, put.headers['allow']]).toEqual([405, 'GET, HEAD']);
    expect((await browser.get('/sign-in', { method: 'HEAD' })).status).toBe(200);
  });

  test('without a script too the browser goes on after its time', async () => {
    const { browser } = await anybody();
    expect((await browser.get('/room')).headers['refresh']).toBe('300; url=/room?later');
  });

  test('a name is shown as text, whatever is in it', async () => {
    const { browser } = await anybody();
    const shown = await browser.get('/room');
    expect(shown.text).toMatch(/Signed in as somebody\d+ &lt;&amp;&gt;</);
  });

  test('a page with its style is far below 30 KB', async () => {
    const { browser } = await anybody();
    const page = await browser.get('/room');
    const style = await browser.get(/href="(\/assets\/[^"]+\.css)"/.exec(page.text)?.[1] ?? '', { headers: { 'accept-encoding': 'br' } });
    expect(page.text.length).toBeLessThan(6000);
    expect(Number(style.headers['content-length'])).toBeLessThan(6000);
  });
});

describe('styles and scripts', () => {
  test('they lie under their digest for ever, and hold the colour of the organisation', async () => {
    const { portal } = await given();
    const browser = portal.client();
    const address = /href="(\/assets\/[0-9a-f]{16}\/site\.css)"/.exec((await browser.get('/sign-in')).text)?.[1] ?? '';
    const style = await browser.get(address);
    expect([style.status, style.headers['content-type'], style.headers['cache-control']]).toEqual([
      200,
      'text/css; charset=utf-8',
      'public, max-age=31536000, immutable',
    ]);
    expect(style.text).toContain('--accent:#123456');
    expect(style.text).not.toContain('/*');
    expect((await browser.get(address.replace(/[0-9a-f]{16}/, '0'.repeat(16)))).status).toBe(404);
    expect((await browser.get(`${address}.map`)).status).toBe(404);
  });

  test('each script is JavaScript without types, and finds its siblings', async () => {
    const { portal } = await given();
    const browser = portal.client();
    const base = /href="(\/assets\/[0-9a-f]{16}\/)site\.css"/.exec((await browser.get('/sign-in')).text)?.[1] ?? '';
    const names = readdirSync(new URL('../web/browser/', import.meta.url)).filter((name) => name.endsWith('.ts'));
    expect(names.length).toBeGreaterThan(0);
    for (const name of names) {
      const script = await browser.get(`${base}${name.replace(/\.ts$/, '.js')}`);
      expect([name, script.status, script.headers['content-type']]).toEqual([name, 200, 'text/javascript; charset=utf-8']);
      // What the stripper leaves as it is, has no types in it, and is JavaScript.
      expect(stripTypeScriptTypes(script.text)).toBe(script.text);
      expect(script.text).not.toMatch(/from '[^']+\.ts'/);
      for (const [, sibling] of script.text.matchAll(/from '\.\/([^']+)'/g)) expect((await browser.get(`${base}${sibling}`)).status).toBe(200);
    }
  });
});

test('whoever sends too much from one address waits, and is told how long', async () => {
  const { portal } = await given();
  const browser = portal.client({ language: 'nl' });
  const door = await browser.get('/sign-in');
  // However long it takes to send so much, no time passes in which more were allowed.
  jest.spyOn(performance, 'now').mockReturnValue(performance.now());
  let shown = await browser.submit(door, '/language', { language: 'nl' }, { follow: false });
  for (let times = 0; times < burst && shown.status === 303; times++) shown = await browser.submit(door, '/language', { language: 'nl' }, { follow: false });
  expect(shown.status).toBe(429);
  expect(Number(shown.headers['retry-after'])).toBeGreaterThan(0);
  expect(shown.content).toContain('te vaak in korte tijd');
  expect((await browser.get('/sign-in')).status).toBe(200);
});

test.each([
  ['Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1', 'Safari, iPhone'],
  ['Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36', 'Chrome, Mac'],
  ['Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0', 'Edge, Windows'],
  ['Mozilla/5.0 (Android 16; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0', 'Firefox, Android'],
  ['<script>alert(1)</script>', '–'],
  [undefined, '–'],
])('a browser that says %j is named %s', (userAgent, name) => {
  expect(browserName(userAgent)).toBe(name);
});
