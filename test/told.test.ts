import { beforeAll, describe, expect, test } from '@jest/globals';
import { helpCodeCommand } from '../server/requests-commands.ts';
import { status } from '../server/status-command.ts';
import { type Given, givenPortal } from './given-portal.ts';

/* What people and the service desk are told, also where it is not what anybody hoped for. */

const hour = 3600;
const people = {
  contact: { name: 'Servicedesk', email: 'desk@example.org', phone: '020 1', language: 'nl' },
  selfService: { groups: [{ group: 'asks', selfService: 'with-approval' }] },
};
let it: Awaited<ReturnType<typeof givenPortal>>;
let macId: string;
let here: string;
beforeAll(async () => {
  it = await givenPortal({ people });
  await it.settle();
  // The Mac was given its key to check it: it is given none to replace it within a day.
  await it.checkIn();
  macId = await it.macId();
  here = `/macs/${macId}`;
});
const owner = async (about: Parameters<typeof it.portal.person>[1] = {}): Promise<Given> => {
  const person = await it.portal.person(undefined, about);
  await it.assign(person, { account: 'ada' });
  return person;
};
const mails = (kind: string) => it.store.db.selectFrom('mail').selectAll().where('kind', '=', kind).orderBy('created_at').execute();
const acts = (act: string) => it.store.db.selectFrom('audit').selectAll().where('act', '=', act).orderBy('seq').execute();

describe('the service desk', () => {
  test('hears of a new request by mail, once, in its language, with the code and without what is secret; the status of the Mac has it', async () => {
    const eve = await owner({ groups: ['asks'], displayName: 'Eve' });
    const page = await eve.client.get(`${here}/request`);
    await eve.client.submit(page, `${here}/request`, { reason: 'my own words' });
    await eve.client.submit(page, `${here}/request`, { reason: 'my own words' });
    const [mail, ...more] = await mails('key-request');
    expect(more).toEqual([]);
    expect(mail).toMatchObject({ address: 'desk@example.org', language: 'nl' });
    const { code } = await it.store.db.selectFrom('key_request').select('code').executeTakeFirstOrThrow();
    expect(JSON.parse(mail?.details ?? '')).toMatchObject({ macId, personName: 'Eve', code });
    expect(mail?.details).not.toContain('my own words');
    expect((await status(it.backend, macId)).text).toMatch(new RegExp(`request ${code}: ${eve.userName} waits for an approval since `));
    expect((await helpCodeCommand(it.backend, code)).text).toContain(`${eve.userName} asked for the key of `);
  });
});

describe('a Mac that was given its key today', () => {
  test('is said to replace it tomorrow: on its page, before and after “this was not me”, and in the mails', async () => {
    const ada = await owner();
    await ada.client.submit(await ada.client.get(`${here}/key`), `${here}/key`);
    const refused = await ada.client.get(`${here}/refused`);
    expect(refused.status).toBe(200);
    const told = await status(it.backend, macId);
    expect(told.text).toMatch(new RegExp(`locked out [A-Z0-9-]+: ${ada.userName} since .*, shown 1 time\\(s\\), last `));
    expect(told.json).toMatchObject({ episodes: [{ userName: ada.userName, views: 1, refusals: [] }] });

    const later = /The Mac was given its key within the last day, and gets it only once a day: it can replace it from .* on, when it is online\./;
    expect((await ada.client.get(here)).content).toMatch(later);
    const [, view = ''] = /not-me\?view=([\w-]+)/.exec((await ada.client.get(`${here}/looked`)).text) ?? [];
    const confirm = await ada.client.get(`${here}/not-me?view=${view}`);
    expect(confirm.content).toMatch(later);
    expect(confirm.content).not.toContain('as soon as it is online');
    const done = await ada.client.submit(confirm, `${here}/not-me`);
    expect(done.content).toMatch(later);
    expect(done.content).not.toContain('as soon as it is online');
    for (const kind of ['key-shown', 'not-me', 'not-me-desk'] as const) {
      const [mail] = await mails(kind);
      expect([kind, JSON.parse(mail?.details ?? '{}').later]).toEqual([kind, 'grant']);
    }
    expect(await mails('not-me-desk')).toMatchObject([{ language: 'nl' }]);
    expect((await status(it.backend, macId)).text).toMatch(/said on .* that it was somebody else/);
    it.turnServerClock(25 * hour);
  });
});

describe('one’s own account', () => {
  test('ends one sign-in alone, nobody else’s, and says where mails go', async () => {
    const ada = await owner();
    const other = it.portal.client();
    await it.portal.signIn(other, ada.userName);
    const page = await ada.client.get('/account');
    expect(page.content).toContain(`Mails about the keys of your Macs go to ${ada.userName}@example.org.`);
    const stranger = await it.portal.person();
    const form = page.forms.find(({ action }) => action === '/account/sessions/end');
    const theirs = (await it.store.db.selectFrom('web_session').select('id').where('person_id', '=', stranger.id).executeTakeFirstOrThrow()).id;
    await ada.client.post('/account/sessions/end', { token: form?.fields['token'] ?? '', session: theirs });
    expect((await stranger.client.get('/account', { follow: false })).status).toBe(200);
    await ada.client.submit(page, '/account/sessions/end');
    expect((await other.get('/account', { follow: false })).status).toBe(303);
    expect((await ada.client.get('/account', { follow: false })).status).toBe(200);
    expect((await acts('session.ended')).length).toBe(1);
  });

  test('without a mail address says so, and so does the page of who looked', async () => {
    const ada = await owner();
    await it.store.write((tx) => tx.updateTable('person').set({ email: null }).where('id', '=', ada.id).execute());
    expect((await ada.client.get('/account')).content).toContain('No mail address of yours is known here');
    expect((await ada.client.get(`${here}/looked`)).content).toContain('No mail address of yours is known here');
    expect((await ada.client.get(`${here}/afterwards`)).content).toContain('No mail address of yours is known here');
  });
});
