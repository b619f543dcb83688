import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { endRelease, stillHeld } from '../server/approvals/releases.ts';
import { releaseById } from '../server/store/releases.ts';
import { filesOf, type GuardedMac, guardedMac } from './disclosure-parts.ts';
import type { AdminGiven } from './given-console.ts';
import { keyOn } from './key-pages.ts';
import type { PortalClient } from './portal-client.ts';

const calling = { personName: 'Ada Lovelace', verified: 'called back on the number in the directory' };
const make = (it: GuardedMac, desk: AdminGiven) => desk.post(`/v1/devices/${it.id}/releases`, calling);

let networks = 0;
/** Each from a network of its own: wrong codes are counted by it. */
const browser = (it: GuardedMac): PortalClient => it.portal.client({ localAddress: `127.0.9.${++networks}` });

async function typed(it: GuardedMac, code: string, client: PortalClient = browser(it)) {
  const page = await client.get('/release');
  return { client, shown: await client.submit(page, '/release', { code }) };
}

/** A browser in which a good code was typed. */
async function opened(rules: Parameters<typeof guardedMac>[0] = {}) {
  const it = await guardedMac(rules);
  const desk = await it.here('help-desk', 'token');
  const { release, code } = (await make(it, desk)).body;
  const { client, shown } = await typed(it, code);
  return { it, desk, release, code, client, shown };
}

test('a code of the desk opens the page of the key of one Mac, in one browser, once; the desk sees that it was used and never the key', async () => {
  const { it, desk, release, code, client, shown } = await opened();
  expect(code).toMatch(/^[234679ACFHJKMNRVWXY]{4}(-[234679ACFHJKMNRVWXY]{4}){2}$/);
  expect(release).toMatchObject({ state: 'ready', ...calling, isMine: true, usedAt: null, keysShown: 0 });
  expect(shown.path).toBe('/release/key');
  expect(shown.content).toContain('The key of');
  expect(keyOn(shown)).toBeNull();
  const key = await client.submit(shown, '/release/key');
  expect(keyOn(key)).toBe(it.mac.recoveryKey);
  expect(key.headers['cache-control']).toBe('no-store');
  expect(key.content).toContain('Shown for five minutes');
  const other = await typed(it, code);
  expect([other.shown.status, other.shown.content.includes('This code is not good')]).toEqual([422, true]);
  expect((await it.portal.client().get('/release/key')).status).toBe(403);
  const seen = await desk.get(`/v1/releases/${release.id}`);
  expect(seen.body.release).toMatchObject({ state: 'open', keysShown: 1, refusals: 0, usedAt: expect.any(String) });
  expect(seen.text).not.toContain(it.mac.recoveryKey);
  expect(await it.acts('key.disclosed')).toMatchObject([{ actor: expect.stringContaining(desk.userName), reason: expect.stringContaining('Ada Lovelace') }]);
  expect(await it.acts('release.view')).toMatchObject([{ releaseId: release.id, personName: 'Ada Lovelace' }]);
  expect(await it.acts('debt.opened')).toMatchObject([{ because: 'disclosed' }]);
});

test('the course is that of the portal: hide, again, five more minutes, refused, another key, done', async () => {
  const { it, desk, release, client, shown } = await opened();
  const first = await client.submit(shown, '/release/key');
  const hidden = await client.submit(first, '/release/key/hide');
  expect(hidden.content).toContain('The key is hidden again');
  const again = await client.submit(hidden, '/release/key/again');
  expect(keyOn(again)).toBe(it.mac.recoveryKey);
  const more = await client.submit(again, '/release/key/more-time');
  expect(keyOn(more)).toBe(it.mac.recoveryKey);
  // Pressed twice: the form was spent, and nothing is shown.
  expect(keyOn(await client.submit(again, '/release/key/more-time'))).toBeNull();
  const checks = await client.get('/release/refused');
  expect(checks.content).toContain('Count the dots');
  expect(keyOn(await client.submit(checks, '/release/refused', {}, { button: 'Show the key again and try once more' }))).toBe(it.mac.recoveryKey);
  const last = await client.submit(await client.get('/release/refused'), '/release/refused', {}, { button: 'Show another key of this Mac' });
  expect(keyOn(last)).toBeNull();
  expect(last.content).toContain('Stop trying now');
  expect((await desk.get(`/v1/releases/${release.id}`)).body.release).toMatchObject({ keysShown: 4, refusals: 2 });
  expect(await it.alarms()).toEqual(['KEY_REFUSED']);
  const gone = await client.get('/release/key?gone=1');
  expect((await client.submit(gone, '/release/done')).content).toContain('you are in');
  expect((await client.get('/release/key')).status).toBe(403);
  expect((await desk.get(`/v1/releases/${release.id}`)).body.release.state).toBe('done');
});

test('a code that waited too long, that was withdrawn, or whose maker lost their role opens nothing; nor does one in a browser any more', async () => {
  const ends: Record<string, (it: GuardedMac, desk: AdminGiven, id: string) => unknown> = {
    late: (it) => it.minutes(11),
    withdrawn: (_, desk, id) => desk.post(`/v1/releases/${id}/withdraw`),
    'no role': (it, desk) => it.takeRoles(desk),
    'policy off': (it) => it.setPolicy({ assisted: 'off' }),
  };
  for (const [what, end] of Object.entries(ends)) {
    const it = await guardedMac();
    const desk = await it.here('help-desk', 'token');
    const [one, two] = [(await make(it, desk)).body, (await make(it, desk)).body];
    const { client, shown } = await typed(it, two.code);
    await end(it, desk, one.release.id);
    if (what === 'withdrawn') {
      const before = await it.store.write((tx) => stillHeld(tx, it.backend.clock.now(), two.release.id));
      await end(it, desk, two.release.id);
      // What a page knew of before is not written over it.
      await it.store.write((tx) => endRelease(tx, it.backend.clock.now(), before));
      expect((await releaseById(it.store.db, two.release.id))?.ended_because).toBe('withdrawn');
    }
    expect([what, (await typed(it, one.code)).shown.status]).toEqual([what, 422]);
    if (what === 'late') it.minutes(50);
    const tried = await client.submit(shown, '/release/key');
    expect([what, tried.status, keyOn(tried)]).toEqual([what, 403, null]);
    expect(await it.disclosures()).toEqual([]);
  }
});

test('who makes codes: the desk for Macs of its scope, with words about who calls, where the policy has them; two people where it says so', async () => {
  const it = await guardedMac({ assisted: 'two-people' });
  const [desk, second] = [await it.here('help-desk', 'token'), await it.here('help-desk', 'token')];
  expect((await make(it, await it.here('approver', 'token'))).body.code).toBe('NOT_ALLOWED');
  expect((await make(it, await it.as('help-desk', ['elsewhere'], 'token'))).body.code).toBe('MAC_UNKNOWN');
  expect((await desk.post(`/v1/devices/${it.id}/releases`, { ...calling, verified: 'yes' })).body.code).toBe('MESSAGE_INVALID');
  const { release, code } = (await make(it, desk)).body;
  expect(release.state).toBe('unconfirmed');
  expect((await typed(it, code)).shown.status).toBe(422);
  const confirm = (who: AdminGiven) => who.post(`/v1/releases/${release.id}/confirm`, { words: 'I know her voice' });
  expect((await confirm(desk)).body.code).toBe('OWN_REQUEST');
  expect((await confirm(second)).body).toMatchObject({ state: 'ready', confirmedBy: expect.stringContaining(second.userName) });
  const { client, shown } = await typed(it, code.toLowerCase().replaceAll('-', ' '));
  expect(keyOn(await client.submit(shown, '/release/key'))).toBe(it.mac.recoveryKey);
  // Where nobody is shown a key alone, nobody makes a code alone either.
  await it.setPolicy({ needs: 'second-person', assisted: 'on' });
  expect((await make(it, desk)).body.release.state).toBe('unconfirmed');
  await it.setPolicy({ assisted: 'off' });
  expect((await make(it, desk)).body.code).toBe('NOT_ALLOWED');
});

test('who guesses is stopped after a few, with a line in the audit for each and an alarm; four languages say so', async () => {
  const it = await guardedMac();
  const titles = ['en', 'nl', 'de', 'fr'].map(async (language) => (await it.portal.client({ language }).get('/release')).content.slice(0, 20));
  expect(new Set(await Promise.all(titles)).size).toBe(4);
  const client = browser(it);
  const page = await client.get('/release');
  const before = (await it.store.db.selectFrom('audit').select('seq').where('act', '=', 'release.refused').execute()).length;
  const statuses: number[] = [];
  for (let tries = 0; tries < 12; tries++) statuses.push((await client.submit(page, '/release', { code: '2222-2222-2222' })).status);
  expect([statuses.includes(422) || statuses.includes(429), statuses.at(-1)]).toEqual([true, 429]);
  const noted = await it.store.db.selectFrom('audit').selectAll().where('act', '=', 'release.refused').orderBy('seq').execute();
  expect(noted.length - before).toBe(statuses.filter((status) => status === 422).length);
  expect(noted.some(({ details }) => details.includes('2222'))).toBe(false);
  expect((await client.get('/cannot-sign-in')).text).toContain('href="/release"');
});

test('who guesses many at once tries no more codes than one after the other, and a good one costs none of them', async () => {
  const { it } = await opened();
  const refused = async () => (await it.store.db.selectFrom('audit').select('seq').where('act', '=', 'release.refused').execute()).length;
  const before = await refused();
  // Of one network, each in a browser of its own.
  const clients = Array.from({ length: 20 }, () => it.portal.client({ localAddress: '127.0.9.250' }));
  const pages = await Promise.all(clients.map((client) => client.get('/release')));
  const tries = await Promise.all(clients.map((client, at) => client.submit(pages[at] as (typeof pages)[number], '/release', { code: '2222-2222-2222' })));
  const wrong = tries.filter(({ status }) => status === 422).length;
  // Ten, and what comes back within the seconds of the test.
  expect([wrong >= 10, wrong <= 13, wrong]).toEqual([true, true, (await refused()) - before]);
});

test('the key and the code are in no log, no audit, no mail and no address; the database has neither', async () => {
  const { it, code, client, shown } = await opened();
  const key = await client.submit(shown, '/release/key');
  expect(keyOn(key)).toBe(it.mac.recoveryKey);
  expect(key.path).toBe('/release/key');
  const rows = await Promise.all(
    (['audit', 'mail', 'release_code', 'release_view', 'disclosure', 'help_code'] as const).map((table) => it.store.db.selectFrom(table).selectAll().execute()),
  );
  const stored = JSON.stringify(rows);
  const bare = code.replaceAll('-', '');
  for (const secret of [it.mac.recoveryKey, code, bare]) {
    expect(stored).not.toContain(secret);
    for (const path of filesOf(it.dir)) expect([path, readFileSync(path).includes(secret)]).toEqual([path, false]);
  }
});

test('without a code nothing of these pages does or shows anything, with whichever cookie', async () => {
  const { it, client, shown } = await opened();
  const stranger = browser(it);
  const page = await stranger.get('/release');
  const before = (await it.store.db.selectFrom('audit').select('seq').orderBy('seq', 'desc').limit(1).executeTakeFirst())?.seq;
  const token = page.forms.find(({ action }) => action === '/release')?.fields['token'] ?? '';
  for (const cookie of [null, 'A'.repeat(43), 'nonsense'])
    for (const path of ['/release/key', '/release/key/again', '/release/key/more-time', '/release/key/hide', '/release/refused', '/release/done']) {
      if (cookie !== null) stranger.jar.set('__Host-release', cookie);
      const said = await stranger.post(path, { token, next: 'other' });
      expect([path, said.status, keyOn(said)]).toEqual([path, 403, null]);
    }
  // The form of one browser is none in another, though both have the same code's cookie.
  const cookie = client.jar.get('__Host-release') ?? '';
  stranger.jar.set('__Host-release', cookie);
  const form = shown.forms.find(({ action }) => action === '/release/key');
  expect(keyOn(await stranger.post('/release/key', { token: form?.fields['token'] ?? '' }))).toBeNull();
  expect((await it.store.db.selectFrom('audit').select('seq').orderBy('seq', 'desc').limit(1).executeTakeFirst())?.seq).toBe(before);
});
