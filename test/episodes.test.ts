import { describe, expect, test } from '@jest/globals';
import { keyOn, lockedOut, people } from './key-pages.ts';

const minute = 60;
const hour = 60 * minute;
const given = (about: Parameters<typeof lockedOut>[1] = {}) =>
  lockedOut({ people: { ...people, selfService: { reason: 'required', viewsPerPerson: 5, viewsPerAddress: 8 } } }, { alone: true, ...about });
const because = { reason: 'I forgot my password' };

describe('the reason', () => {
  test('where it is required nothing is shown without one; what was written is in the audit, and is asked for once an episode', async () => {
    const it = await given({ looks: { localAddress: '127.0.0.11' } });
    const empty = await it.getKey(it.person, { reason: ' \n ' });
    expect(empty.status).toBe(422);
    expect(empty.content).toContain('Write in a few words why you need the key.');
    expect(await it.disclosures()).toEqual([]);
    const shown = await it.person.client.submit(empty, it.key, { reason: '  I forgot\nmy  password ' });
    expect(it.mac.unlocksWith(keyOn(shown) ?? '')).toBe(true);
    await it.person.client.submit(await it.person.client.get(`${it.key}?gone=1`), `${it.key}/again`);
    expect((await it.acts('key.disclosed')).map(({ reason }) => reason)).toEqual(['self-service: I forgot my password', 'self-service, shown again']);
  });
});

describe('one time of being locked out', () => {
  test('it ends when its person says that they are back in: the next view begins another, with its own code and mail', async () => {
    const it = await given({ looks: { localAddress: '127.0.0.12' } });
    await it.getKey(it.person, because);
    expect(await it.custody.endHold({ macId: it.id, actor: it.person.userName, because: 'back-in', reason: 'I am back in' })).toBe(true);
    await it.getKey(it.person, because);
    const episodes = await it.episodes();
    expect(new Set(episodes.map(({ code }) => code)).size).toBe(2);
    expect((await it.mails()).map(({ kind, episode_id }) => [kind, episode_id])).toEqual(episodes.map(({ id }) => ['key-shown', id]));
  });

  test('it ends with the deadline of the hold', async () => {
    const it = await given({ looks: { localAddress: '127.0.0.13' } });
    await it.getKey(it.person, because);
    it.pass(25 * hour);
    await it.portal.signIn(it.person.client, it.person.userName);
    await it.getKey(it.person, because);
    expect(await it.episodes()).toHaveLength(2);
    expect((await it.views()).map((view) => view.because)).toEqual(['first', 'first']);
  });
});

describe('how often', () => {
  test('a person has a limit for a day: beyond it no key but for more time, an alarm that stops nothing, and words; the next day it goes on', async () => {
    const it = await given({ looks: { localAddress: '127.0.0.14' } });
    let shown = await it.getKey(it.person, because);
    for (let views = 1; views < 5; views += 1) shown = await it.person.client.submit(shown, `${it.key}/more-time`);
    expect(it.mac.unlocksWith(keyOn(shown) ?? '')).toBe(true);
    const gone = await it.person.client.get(`${it.key}?gone=1`);
    const over = await it.person.client.submit(gone, `${it.key}/again`);
    expect(over.status).toBe(429);
    expect(keyOn(over)).toBeNull();
    expect(over.content).toContain('You were shown a key 5 times within a day.');
    expect(over.content).toContain('+31 20 555 0100');
    expect(await it.disclosures()).toHaveLength(5);
    // Counted, and not refused: whoever types slowly is not stopped in the middle of it (WCAG 2.2.1).
    expect(keyOn(await it.person.client.submit(gone, `${it.key}/more-time`))).not.toBeNull();
    expect(await it.disclosures()).toHaveLength(6);
    expect(await it.alarms()).toEqual(['VIEWS_UNUSUAL']);
    // The words of an alarm are in the log too: people are there by their ids.
    const alarm = await it.store.db.selectFrom('alarm').select('detail').where('code', '=', 'VIEWS_UNUSUAL').where('mac_id', '=', it.id).executeTakeFirst();
    expect(alarm?.detail).toContain(`person ${it.person.id}`);
    expect(alarm?.detail).not.toContain(it.person.userName);
    it.pass(24 * hour + minute);
    await it.portal.signIn(it.person.client, it.person.userName);
    expect(keyOn(await it.getKey(it.person, because))).not.toBeNull();
  });

  test('a network has a limit for an hour, whoever asks from it', async () => {
    const looks = { localAddress: '127.0.0.15' };
    const [one, two] = [await given({ looks }), await given({ looks })];
    for (const it of [one, two]) {
      let shown = await it.getKey(it.person, because);
      for (let views = 1; views < 4; views += 1) shown = await it.person.client.submit(shown, `${it.key}/more-time`);
      expect(keyOn(shown)).not.toBeNull();
    }
    const over = await two.person.client.submit(await two.person.client.get(`${two.key}?gone=1`), `${two.key}/again`);
    expect(over.status).toBe(429);
    expect(over.content).toContain('From your network keys were shown 8 times within an hour.');
    expect(await two.alarms()).toEqual(['VIEWS_UNUSUAL']);
    const elsewhere = two.portal.client({ localAddress: '127.0.0.16' });
    await two.portal.signIn(elsewhere, two.person.userName);
    expect(keyOn(await elsewhere.submit(await elsewhere.get(`${two.key}?gone=1`), `${two.key}/again`))).not.toBeNull();
  });
});
