import { expect, test } from '@jest/globals';
import { watchApprovals } from '../console/watch.ts';
import { silentLog } from '../server/log.ts';
import { guardedMac } from './disclosure-parts.ts';
import { keyOn } from './key-pages.ts';

test('the page of the key: what is known and the person’s own instructions before, the display of the portal after; the form is good once', async () => {
  const it = await guardedMac();
  const { browser } = await it.here('help-desk');
  const path = `/devices/${it.id}/key`;
  const before = await browser.get(path);
  expect(before.status).toBe(200);
  expect(keyOn(before)).toBeNull();
  for (const words of ['What is known', 'held', 'Picture 1', 'Each wrong try']) expect(before.content).toContain(words);
  const wrong = await browser.submit(before, path, { reason: 'no' });
  expect([wrong.status, keyOn(wrong), wrong.content.includes('ten signs')]).toEqual([400, null, true]);
  const shown = await browser.submit(wrong, path, { reason: 'the person is locked out' });
  expect(keyOn(shown)).toBe(it.mac.recoveryKey);
  expect(shown.headers['refresh'] ?? shown.text).toBeTruthy();
  expect(shown.content).toContain('Shown for five minutes');
  expect(keyOn(await browser.submit(wrong, path, { reason: 'the person is locked out' }))).toBeNull();
  expect(await it.disclosures()).toHaveLength(1);
  const refused = await browser.submit(shown, path);
  expect([refused.status, keyOn(refused)]).toEqual([404, null]);
  expect(await it.acts('key.refused')).toHaveLength(1);
  const hidden = await browser.submit(shown, `${path}/hide`);
  expect([keyOn(hidden), hidden.content.includes('hidden again')]).toEqual([null, true]);
  // What follows stands on the page of the Mac, in words: people do not read milliseconds.
  const device = await browser.get(`/fleet/${it.id}`);
  expect(device.content).toMatch(/Wait: its key is replaced after \d+ \w+ at \d\d:\d\d UTC , or as soon as its user is back in/);
  expect(device.content).toMatch(/the key was shown on \d+ \w+ at \d\d:\d\d UTC ; somebody may be typing it/);
});

test('a request is asked, decided by somebody who came by the mail, and used, all on pages; nothing is decided by opening the link', async () => {
  const it = await guardedMac({ needs: 'second-person' });
  const [desk, approver, stranger] = [await it.here('help-desk'), await it.here('approver'), await it.as('viewer', ['elsewhere'])];
  const path = `/devices/${it.id}/key`;
  const before = await desk.browser.get(path);
  expect(before.forms.map(({ action }) => action)).not.toContain(path);
  const asked = await desk.browser.submit(before, `${path}/ask`, { reason: 'the person is locked out', ticket: 'INC-3' });
  const requestId = asked.path.split('/').at(-1) ?? '';
  expect(asked.content).toContain('waits');
  const mails = (await it.mails()).filter(({ kind }) => kind === 'disclosure-asked');
  expect(mails.map(({ address }) => address)).toEqual([`${approver.userName}@example.org`]);
  const { link, words } = JSON.parse(mails[0]?.details ?? '{}') as { link: string; words: string };
  expect(words).toBe('the person is locked out');
  const to = new URL(link);
  expect(to.origin).toBe(it.backend.settings.console?.url);
  const visitor = await it.console.browser().get(`${to.pathname}${to.search}`, { follow: false });
  expect([visitor.status, String(visitor.headers['location'])]).toEqual([303, expect.stringContaining('/sign-in')]);
  expect((await stranger.browser.get(`${to.pathname}${to.search}`)).status).toBe(404);
  const page = await approver.browser.get(`${to.pathname}${to.search}`);
  expect(page.content).toContain('INC-3');
  expect((await desk.browser.get(`/disclosures/${requestId}`)).content).toContain('0 of 1');
  const decided = await approver.browser.submit(page, `/disclosures/${requestId}/approve`, { words: 'called their manager' });
  expect(decided.content).toContain('agreed');
  expect(await it.acts('disclosure.agreed')).toMatchObject([{ actor: approver.userName, way: 'mail', words: 'called their manager' }]);
  expect((await it.mails()).map(({ kind }) => kind)).toContain('disclosure-decided');
  const list = await desk.browser.get('/disclosures');
  expect(list.content).toContain('agreed');
  const ready = await desk.browser.get(path);
  expect(keyOn(await desk.browser.submit(ready, path))).toBe(it.mac.recoveryKey);
});

test('the desk’s page of a code says what to say and what became of it, with the pictures of the person’s page', async () => {
  const it = await guardedMac({ assisted: 'two-people' });
  const [desk, second] = [await it.here('help-desk'), await it.here('help-desk')];
  const list = await desk.browser.get('/disclosures');
  const path = '/disclosures/releases';
  const made = await desk.browser.submit(list, path, { device: it.id, personName: 'Grace', verified: 'called back on the number in the directory' });
  const code = /<code>([0-9A-Z-]{14})<\/code>/.exec(made.text)?.[1] ?? '';
  for (const words of ['Read this out to Grace', '/release', 'Picture 3', 'What is known']) expect(made.content).toContain(words);
  const id = /\/disclosures\/releases\/([0-9a-f-]{36})/.exec(made.text)?.[1] ?? '';
  expect((await desk.browser.get(`${path}/${id}`)).forms.map(({ action }) => action)).not.toContain(`${path}/${id}/confirm`);
  const confirmed = await second.browser.submit(await second.browser.get(`${path}/${id}`), `${path}/${id}/confirm`, { words: 'heard the call' });
  expect(confirmed.content).toContain('may be typed');
  const client = it.portal.client({ localAddress: '127.0.11.1' });
  const typed = await client.submit(await client.get('/release'), '/release', { code });
  expect(keyOn(await client.submit(typed, '/release/key'))).toBe(it.mac.recoveryKey);
  const seen = await desk.browser.get(`${path}/${id}`);
  expect(seen.content).toContain('was typed; the key may be seen there');
  expect([seen.text.includes(String(it.mac.recoveryKey)), seen.text.includes(code)]).toEqual([false, false]);
  await desk.browser.submit(seen, `${path}/${id}/withdraw`);
  expect((await client.get('/release/key')).status).toBe(403);
});

test('two people open self-service for many: their own Macs only, limits raised, each view under its id, and over by time or by hand', async () => {
  const it = await guardedMac();
  await it.backend.store.write((tx) =>
    tx
      .updateTable('mac_tag')
      .set({ tag: it.tag })
      .where('mac_id', '=', it.id)
      .execute()
      .then(() => undefined),
  );
  const owner = await it.portal.person(undefined, { groups: ['contractors'] });
  await it.assign(owner);
  const stranger = await it.portal.person();
  const key = `/macs/${it.id}/key`;
  const settings = it.backend.settings.people;
  if (!settings) throw new Error('no settings');
  const everybody = settings.selfService.everybody;
  Object.assign(settings.selfService, { everybody: 'off' });
  try {
    expect((await owner.client.get(key)).path).toBe(`/macs/${it.id}`);
    const [one, two] = [await it.here('admin', 'token'), await it.here('approver', 'token')];
    const until = new Date(it.backend.clock.now() + 3 * 60 * 60_000).toISOString();
    const wanted = { tags: [it.tag], until, reason: 'the provider lost all passwords' };
    expect((await one.post('/v1/emergencies', { ...wanted, tags: [it.tag, 'not mine'] })).body.code).toBe('NOT_ALLOWED');
    expect((await one.post('/v1/emergencies', { ...wanted, until: new Date(it.backend.clock.now() + 8 * 24 * 60 * 60_000).toISOString() })).body.code).toBe(
      'MESSAGE_INVALID',
    );
    expect((await two.post('/v1/emergencies', wanted)).body.code).toBe('NOT_ALLOWED');
    const asked = await one.post('/v1/emergencies', wanted);
    expect(asked.body).toMatchObject({ state: 'asked', tags: [it.tag] });
    const { id } = asked.body;
    const boss = await it.here('owner', 'token', null);
    const own = (await boss.post('/v1/emergencies', wanted)).body.id;
    expect((await boss.post(`/v1/emergencies/${own}/agree`, { words: 'it is mine' })).body.code).toBe('OWN_REQUEST');
    expect((await owner.client.get(key)).path).toBe(`/macs/${it.id}`);
    expect((await two.post(`/v1/emergencies/${id}/agree`, { words: 'seen the outage' })).body.state).toBe('open');
    const shown = await owner.client.submit(await owner.client.get(key), key);
    expect(keyOn(shown)).toBe(it.mac.recoveryKey);
    expect((await stranger.client.get(key)).status).toBe(404);
    expect(await it.acts('emergency.view')).toMatchObject([{ actor: owner.userName, emergencyId: id }]);
    const seen = await one.get(`/v1/emergencies/${id}`);
    expect(seen.body).toMatchObject({ emergency: { views: 1, macs: 1, people: 1 }, deviceIds: [it.id] });
    const { browser } = await it.here('admin');
    expect((await browser.get('/disclosures')).content).toContain('Self-service for many');
    expect((await browser.get('/tokens')).words).toContain(`Self-service is open for many (${it.tag})`);
    expect((await (await it.as('viewer', ['elsewhere'])).browser.get('/tokens')).words).not.toContain('Self-service is open');
    expect((await one.post(`/v1/emergencies/${id}/end`, { words: 'it is over' })).body.state).toBe('ended');
    expect((await owner.client.get(key)).path).toBe(`/macs/${it.id}`);
    await watchApprovals({ backend: it.backend, log: silentLog });
    const told = (await it.store.db.selectFrom('mail').selectAll().where('kind', '=', 'emergency-told').execute()).filter(({ details }) =>
      details.includes(id),
    );
    expect(told.map(({ address }) => address).toSorted()).toEqual([`${one.userName}@example.org`, `${two.userName}@example.org`].toSorted());
    const waves = await browser.submit(await browser.get(`/disclosures/emergency/${id}`), '/rotations/edit');
    expect(waves.text).toContain(it.id);
  } finally {
    Object.assign(settings.selfService, { everybody });
  }
});

test('self-service for many stands on the two who opened it; whoever is typing when its time is over finishes, for an hour at most, and not where somebody ended it', async () => {
  const it = await guardedMac();
  const owner = await it.portal.person();
  await it.assign(owner);
  const key = `/macs/${it.id}/key`;
  const settings = it.backend.settings.people;
  if (!settings) throw new Error('no settings');
  const everybody = settings.selfService.everybody;
  Object.assign(settings.selfService, { everybody: 'off' });
  const open = async (minutes: number) => {
    const [one, two] = [await it.as('admin'), await it.as('approver')];
    const until = new Date(it.backend.clock.now() + minutes * 60_000).toISOString();
    const { id } = (await one.post('/v1/emergencies', { tags: [it.tag], until, reason: 'the provider lost all passwords' })).body;
    const agree = () => two.post(`/v1/emergencies/${id}/agree`, { words: 'seen the outage' });
    return { one, two, id, agree };
  };
  const shows = async () => (await owner.client.get(key)).path === key;
  try {
    // Who asked may not open it any more: nobody agrees to it; who agreed, or asked, may not any more: it opens nothing.
    const left = await open(60);
    await it.takeRoles(left.one);
    expect((await left.agree()).body.code).toBe('NOT_ALLOWED');
    for (const who of ['one', 'two'] as const) {
      const now = await open(60);
      expect((await now.agree()).body.state).toBe('open');
      expect(await shows()).toBe(true);
      await it.takeRoles(now[who]);
      expect(await shows()).toBe(false);
    }
    const last = await open(12);
    await last.agree();
    let page = await owner.client.submit(await owner.client.get(key), key);
    expect(keyOn(page)).toBe(it.mac.recoveryKey);
    const more = async () => {
      await it.minutes(4);
      page = await owner.client.submit(page, `${key}/more-time`);
      return keyOn(page);
    };
    expect([await more(), await more(), await more(), await more()]).toEqual(Array(4).fill(it.mac.recoveryKey));
    // Nothing new is begun.
    expect(await shows()).toBe(false);
    expect((await it.acts('emergency.view')).filter(({ emergencyId }) => emergencyId === last.id)).toHaveLength(5);
    await it.store.write((tx) => tx.updateTable('emergency').set({ ended_at: 1, ended_by: 'a test' }).where('id', '=', last.id).execute());
    expect(await more()).toBeNull();
  } finally {
    Object.assign(settings.selfService, { everybody });
  }
});

test('what others agreed to of another volume is shown from the page as it was asked', async () => {
  const it = await guardedMac({ needs: 'second-person' });
  const [desk, approver] = [await it.here('help-desk'), await it.here('approver')];
  const [{ volume }] = (await desk.get(`/v1/devices/${it.id}/key-evidence`)).body.keys;
  const { id } = (await it.ask(desk, { volume })).body;
  expect((await it.vote(approver, id)).body.state).toBe('approved');
  const page = await desk.browser.get(`/devices/${it.id}/key`);
  expect(page.content).toContain('Others agreed');
  const shown = await desk.browser.submit(page, `/devices/${it.id}/key`, { reason: 'the person is locked out' });
  expect(keyOn(shown)).toBe(it.mac.recoveryKey);
});
