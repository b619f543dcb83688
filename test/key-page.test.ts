import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { Problem } from '../protocol/problems.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import type { Log } from '../server/log.ts';
import { keyShownWords } from '../web/key-shown-words.ts';
import { keyOn, lockedOut, people } from './key-pages.ts';
import { asFile } from './new-database.ts';
import { passwordOfTests } from './portal-together.ts';

const minute = 60;
const lines: unknown[] = [];
const write = (...line: unknown[]): void => void lines.push(line);
const log: Log = { info: write, warn: write, error: write };
const given = (options: Parameters<typeof lockedOut>[0] = {}, about: Parameters<typeof lockedOut>[1] = {}) =>
  lockedOut({ people: { ...people, selfService: { viewsPerPerson: 500, viewsPerAddress: 5000 } }, log, ...options }, about);

describe('getting the key', () => {
  test('the answer to the button shows a key that opens this Mac, and no other answer does', async () => {
    const it = await given();
    const before = await it.person.client.get(it.key);
    expect(before.content).toContain('The key is shown for five minutes. You and your IT department can see that it was shown.');
    expect(keyOn(before)).toBeNull();
    const shown = await it.person.client.submit(before, it.key);
    expect(shown.status).toBe(200);
    expect(it.mac.unlocksWith(keyOn(shown) ?? '')).toBe(true);
    expect(shown.path).toBe(it.key);
    for (const path of [it.key, `${it.key}?gone=1`, it.refused, `/macs/${it.id}`]) expect(keyOn(await it.person.client.get(path))).toBeNull();
    expect(await it.disclosures()).toMatchObject([{ actor: it.person.userName, reason: 'self-service', shown: 1 }]);
    // Six groups, whose digits are named as well as coloured, with a word for each sign.
    const groups = (keyOn(shown) ?? '').split('-');
    expect(groups).toHaveLength(6);
    for (const [at, group] of groups.entries()) {
      expect(shown.content).toContain(`Group ${at + 1} of 6`);
      const digits = [...group].filter((sign) => /\d/.test(sign));
      expect(shown.content).toContain(digits.length === 0 ? 'Letters only' : `Digits: ${digits.join(', ')}`);
      expect(shown.text.match(/<b class="digit">/g) ?? []).toHaveLength(groups.join('').replace(/\D/g, '').length);
    }
    expect(shown.content).toMatch(/[A-Z] (Alfa|Bravo|Charlie|Delta|Echo|Foxtrot|Golf|Hotel|Juliett|Kilo|Lima|Mike|November|Oscar|Papa)/);
    expect(shown.content).toContain('with the layout “Deutsch”');
    expect(shown.content).toContain('On your Mac');
  });

  test('a key that Intune gave out, and that this Mac was not asked about yet, is shown with that said; one that a stranger brought is not offered', async () => {
    const it = await given({ escrow: 'foreign' });
    const key = RecoveryKey.parse(it.mac.recoveryKey ?? '');
    const bringing = { serial: it.mac.state.serial, key, source: 'crypt', trust: 'header', runId: null, madeAt: null, actor: 'nobody' } as const;
    await it.custody.bring([bringing]);
    const without = await it.person.client.get(it.key);
    expect(without.forms.map(({ action }) => action)).not.toContain(it.key);
    expect(keyOn(await it.person.client.post(it.key, {}))).toBeNull();
    await it.custody.bring([{ ...bringing, source: 'intune', trust: 'admin', actor: 'ada' }]);
    const shown = await it.getKey();
    expect(it.mac.unlocksWith(keyOn(shown) ?? '')).toBe(true);
    expect(shown.content).toContain('This key came from Intune, and has not been checked on this Mac yet.');
    expect(shown.content).not.toContain('We are not sure');
    for (const words of Object.values(keyShownWords)) {
      expect(words.unprovedFrom('Jamf Pro')).toContain('Jamf Pro');
      expect(words.unprovedFrom(null)).not.toMatch(/null/);
    }
  });

  test('a Mac of somebody else, and one that there is not, have one answer, and neither is disclosed', async () => {
    const it = await given();
    const other = await it.portal.person();
    const page = await it.person.client.get(it.key);
    for (const path of [it.key, '/macs/00000000-0000-4000-8000-000000000000/key']) {
      const answer = await other.client.get(path);
      expect(answer.status).toBe(404);
      expect(keyOn(answer)).toBeNull();
    }
    // The form of its owner, sent by somebody else.
    const token = page.forms.find(({ action }) => action === it.key)?.fields['token'] ?? '';
    expect((await other.client.post(it.key, { token })).status).toBe(403);
    expect(await it.disclosures()).toEqual([]);
  });

  test('a sign-in of more than fifteen minutes ago shows no key: somebody signs in again and is back at the button', async () => {
    const it = await given();
    const page = await it.person.client.get(it.key);
    it.wait(15 * minute + 1);
    const refused = await it.person.client.submit(page, it.key, {}, { follow: false });
    expect(refused.headers['location']).toMatch(/^\/sign-in\?.*again=1/);
    const before = await it.person.client.get(it.key);
    expect(before.content).toContain('Your last sign-in is more than 15 minutes ago');
    const to = /href="(\/sign-in\?[^"]*)"/.exec(before.text)?.[1]?.replaceAll('&amp;', '&') ?? '';
    const form = await it.person.client.get(to);
    const back = await it.person.client.submit(form, '/sign-in/password', { name: it.person.userName, password: passwordOfTests });
    expect(back.path).toBe(it.key);
    expect(it.mac.unlocksWith(keyOn(await it.person.client.submit(back, it.key)) ?? '')).toBe(true);
  });

  test('a session that was ended since the page was made shows nothing', async () => {
    const it = await given();
    const page = await it.person.client.get(it.key);
    await it.store.write(async (tx) =>
      tx.updateTable('web_session').set({ ended_at: 1, ended_because: 'a test' }).where('person_id', '=', it.person.id).execute(),
    );
    expect(keyOn(await it.person.client.submit(page, it.key))).toBeNull();
    expect(await it.disclosures()).toEqual([]);
  });

  test('where audit and debt cannot be stored no envelope is opened, and the form is good once they can', async () => {
    const it = await given();
    const page = await it.person.client.get(it.key);
    const { custody } = it.backend;
    const { write } = it.backend.store;
    it.backend.store.write = async () => {
      throw new Problem('STORE_FAILED', 'the disk is full');
    };
    lines.length = 0;
    const answer = await it.person.client.submit(page, it.key);
    it.backend.store.write = write;
    expect([answer.status, keyOn(answer)]).toEqual([503, null]);
    expect(JSON.stringify(lines)).not.toContain('key-disclosed');
    expect((await custody.macReport(it.id)).disclosures).toEqual([]);
    expect(it.mac.unlocksWith(keyOn(await it.person.client.submit(page, it.key)) ?? '')).toBe(true);
    expect((await it.acts('key.disclosed')).length).toBe(1);
  });

  test('one form, sent twice at once, is one disclosure', async () => {
    const it = await given();
    const page = await it.person.client.get(it.key);
    const answers = await Promise.all([it.person.client.submit(page, it.key), it.person.client.submit(page, it.key)]);
    expect(answers.map(keyOn).filter((key) => key !== null)).toHaveLength(1);
    expect(await it.disclosures()).toHaveLength(1);
  });
});

describe('five minutes', () => {
  test('the page goes by itself without a script, and going back, reloading or sending it once more leads there too: no key, no disclosure', async () => {
    const it = await given();
    const before = await it.person.client.get(it.key);
    const shown = await it.person.client.submit(before, it.key);
    const back = await it.person.client.submit(before, it.key);
    expect(back.path).toBe(`${it.key}?gone=1`);
    expect(keyOn(back)).toBeNull();
    expect(await it.disclosures()).toHaveLength(1);
    expect(shown.headers['cache-control']).toBe('no-store');
    expect(shown.headers['refresh']).toBe(`300; url=${it.key}?gone=1`);
    expect(shown.text).toContain('data-seconds="300"');
    it.wait(5 * minute);
    const gone = await it.person.client.get(`${it.key}?gone=1`);
    expect(gone.content).toContain('The key is hidden again.');
    expect(gone.content).toContain('+31 20 555 0100');
    expect(keyOn(gone)).toBeNull();
  });

  test('*hide now* ends the view for everybody who would go on with it', async () => {
    const it = await given();
    const shown = await it.getKey();
    const hidden = await it.person.client.submit(shown, `${it.key}/hide`);
    expect(hidden.content).toContain('The key is hidden again.');
    expect((await it.person.client.get(`${it.key}?gone=1&clipboard=kept`)).content).toContain('The key may still be in the clipboard.');
    expect((await it.views())[0]?.hidden_at).not.toBeNull();
    expect(keyOn(await it.person.client.submit(shown, `${it.key}/more-time`))).toBeNull();
    expect(await it.disclosures()).toHaveLength(1);
  });

  test('*show again* is a further disclosure of the same episode, without signing in again while that is fresh', async () => {
    const it = await given();
    await it.getKey();
    it.wait(6 * minute);
    const gone = await it.person.client.get(`${it.key}?gone=1`);
    expect(gone.content).toContain('For 9 minutes you do not have to sign in again.');
    expect(it.mac.unlocksWith(keyOn(await it.person.client.submit(gone, `${it.key}/again`)) ?? '')).toBe(true);
    expect((await it.disclosures()).map(({ reason }) => reason)).toEqual(['self-service', 'self-service, shown again']);
    expect((await it.views()).map(({ because }) => because)).toEqual(['first', 'again']);
    expect(await it.episodes()).toHaveLength(1);
    expect((await it.mails()).map(({ kind }) => kind)).toEqual(['key-shown']);
    it.wait(10 * minute);
    const later = await it.person.client.get(`${it.key}?gone=1`);
    expect(later.forms.map(({ action }) => action)).not.toContain(`${it.key}/again`);
    expect(later.content).toContain('Sign in again');
  });
});

describe('I need more time', () => {
  test('asked once, the next five minutes are one tap away twelve times, beyond the fresh sign-in, with the place kept', async () => {
    const it = await given();
    let shown = await it.getKey();
    expect(shown.content).toContain('I need more time');
    for (let times = 1; times <= 12; times += 1) {
      it.wait(5 * minute - 20);
      shown = await it.person.client.submit(shown, `${it.key}/more-time`, { place: '4' });
      expect(it.mac.unlocksWith(keyOn(shown) ?? '')).toBe(true);
      expect(shown.text).toContain('data-place="4"');
      expect(shown.content.includes('Five more minutes')).toBe(times < 12);
    }
    const views = await it.views();
    expect(views.map(({ because }) => because)).toEqual(['first', ...Array(12).fill('more-time')]);
    expect(await it.acts('key.disclosed')).toHaveLength(13);
    expect((await it.disclosures()).at(-1)?.reason).toBe('self-service, more time');
    expect(await it.episodes()).toMatchObject([{ more_time: 1 }]);
    expect(await it.mails()).toHaveLength(1);
    const gone = await it.person.client.get(`${it.key}?gone=1`);
    expect(gone.content).toContain('shown for an hour without a break');
    expect(gone.forms.map(({ action }) => action)).not.toContain(`${it.key}/more-time`);
  });

  test('without a script it is there for a minute after the end, in this very session, and then it is over', async () => {
    const it = await given();
    await it.getKey();
    it.wait(5 * minute + 50);
    const elsewhere = it.portal.client();
    await it.portal.signIn(elsewhere, it.person.userName);
    const there = (await elsewhere.get(`${it.key}?gone=1`)).forms.map(({ action }) => action);
    expect(there).not.toContain(`${it.key}/more-time`);
    expect(there).toContain(`${it.key}/again`);
    const gone = await it.person.client.get(`${it.key}?gone=1`);
    const late = await it.person.client.get(`${it.key}?gone=1`);
    const more = await it.person.client.submit(gone, `${it.key}/more-time`);
    expect(it.mac.unlocksWith(keyOn(more) ?? '')).toBe(true);
    it.wait(6 * minute + 1);
    const over = await it.person.client.submit(late, `${it.key}/more-time`);
    expect(keyOn(over)).toBeNull();
    expect(over.content).toContain('The time to go on with it is over.');
  });
});

describe('what goes along from one view to the next', () => {
  test('the group at which somebody was, the steps of the way they came, and that the key is in the clipboard', async () => {
    const it = await given();
    const before = await it.person.client.get(`${it.key}?from=no-question-mark`);
    const shown = await it.person.client.submit(before, it.key);
    const steps = 'shows its login window, with a network';
    expect(shown.content).toContain(steps);
    expect(shown.headers['refresh']).toBe(`300; url=${it.key}?gone=1&from=no-question-mark`);
    const more = await it.person.client.submit(shown, `${it.key}/more-time`, { place: '5', copied: 'yes' });
    expect(more.text).toContain('data-place="5" data-copied="yes"');
    expect(more.content).toContain(steps);
    const gone = await it.person.client.get(`${it.key}?gone=1&from=no-question-mark&place=5&clipboard=kept`);
    const again = await it.person.client.submit(gone, `${it.key}/again`);
    expect(again.text).toContain('data-place="5" data-copied="yes"');
    expect(again.content).toContain(steps);
    const list = await it.person.client.get(`${it.refused}?from=no-question-mark`);
    expect((await it.person.client.submit(list, it.refused, { next: 'same' })).content).toContain(steps);
  });
});

describe('what is known of the key', () => {
  test('while a rotation is open the page says that the key may just have been replaced, and afterwards that it was', async () => {
    const it = await given();
    await it.settle();
    await it.order();
    await it.checkInAndDie({ name: /fdesetup ended/, when: 'after' });
    const old = await it.getKey();
    expect(old.content).toContain('Your Mac has begun to replace its key.');
    expect(it.mac.unlocksWith(keyOn(old) ?? '')).toBe(false);
    await it.checkIn();
    const later = await it.person.client.submit(await it.person.client.get(`${it.key}?gone=1`), `${it.key}/again`);
    expect(it.mac.unlocksWith(keyOn(later) ?? '')).toBe(true);
    expect(later.content).toContain('Your Mac has a new key since you last looked.');
  });

  test('an envelope that was changed behind the back of the backend is shown to nobody; the page says so, and whom to call', async () => {
    const it = await given();
    await it.store.write(async (tx) =>
      tx
        .updateTable('envelope')
        .set({ row_mac: '0'.repeat(64) })
        .where('mac_id', '=', it.id)
        .execute(),
    );
    const shown = await it.getKey();
    expect(shown.status).toBe(503);
    expect(shown.content).toContain('The key could not be opened');
    expect(shown.content).toContain('+31 20 555 0100');
    expect(keyOn(shown)).toBeNull();
    expect(await it.acts('key.not-shown')).toHaveLength(1);
    expect(await it.disclosures()).toMatchObject([{ shown: 0 }]);
  });
});

describe('nothing keeps it', () => {
  test('no key is in any line of the log, file of the backend, mail, header, address or other page', async () => {
    const it = await given();
    const seen: string[] = [];
    const before = await it.person.client.get(it.key);
    const shown = await it.person.client.submit(before, it.key, { reason: `I forgot my password, and tried ${it.mac.recoveryKey}` });
    const key = keyOn(shown) ?? '';
    const more = await it.person.client.submit(shown, `${it.key}/more-time`);
    const gone = await it.person.client.submit(more, `${it.key}/hide`);
    for (const page of [before, gone, await it.person.client.get(it.refused)]) seen.push(page.text);
    for (const page of [before, shown, more, gone]) seen.push(page.path, JSON.stringify(page.headers), /<title>.*?<\/title>/s.exec(page.text)?.[0] ?? '');
    seen.push(JSON.stringify(lines), JSON.stringify(await it.mails()), JSON.stringify([...it.person.client.jar]));
    const files = readdirSync(it.dir, { recursive: true, encoding: 'utf8' }).map((name) => join(it.dir, name));
    const stored = await asFile(it.backend.paths.database, it.store);
    for (const file of new Set([stored, ...files.filter((name) => statSync(name).isFile())])) seen.push(readFileSync(file, 'latin1'));
    expect(seen.length).toBeGreaterThan(20);
    expect(lines.length).toBeGreaterThan(5);
    expect(it.mac.unlocksWith(key)).toBe(true);
    for (const form of [
      key,
      key.replaceAll('-', ''),
      ...key
        .split('-')
        .slice(0, -1)
        .map((group, at) => `${group}-${key.split('-')[at + 1]}`),
    ])
      expect(seen.filter((text) => text.includes(form))).toEqual([]);
    expect(seen.some((text) => text.includes('I forgot my password'))).toBe(true);
  });
});

describe('in every language', () => {
  let sameMac: Awaited<ReturnType<typeof given>> | null = null;
  test.each([
    ['nl', ['Typ deze sleutel op je Mac', 'Groep 1 van 6', 'Verberg nu'], 'Nog vijf minuten', ['De sleutel is geweigerd', 'de indeling ‘Deutsch’']],
    [
      'de',
      ['Geben Sie diesen Schlüssel', 'Gruppe 1 von 6', 'Jetzt verbergen'],
      'Fünf Minuten mehr',
      ['Der Schlüssel wurde abgelehnt', 'die Tastaturbelegung „Deutsch“'],
    ],
    ['fr', ['Saisissez cette clé', 'Groupe 1 sur 6', 'Masquer maintenant'], 'Cinq minutes de plus', ['La clé a été refusée', 'la disposition « Deutsch »']],
  ])('the key, more time, the check list and the desk are there in %s', async (language, onPage, more, onList) => {
    sameMac ??= await given();
    const it = sameMac;
    const client = it.portal.client({ language });
    await it.portal.signIn(client, it.person.userName);
    const before = await client.get(it.key);
    const shown = await client.submit(before, it.key);
    expect(it.mac.unlocksWith(keyOn(shown) ?? '')).toBe(true);
    for (const words of onPage) expect(shown.content).toContain(words);
    const again = await client.submit(shown, `${it.key}/more-time`, { place: '3' });
    expect(again.content).toContain(more);
    expect(again.text).toContain('data-place="3"');
    const list = await client.get(it.refused);
    for (const words of onList) expect(list.content.toLowerCase()).toContain(words.toLowerCase());
    const desk = await client.submit(list, it.refused, { next: 'other' });
    expect(desk.content).toContain((await it.episodes())[0]?.code ?? 'no code');
    for (const page of [shown, again, list, desk]) expect(page.text).toContain(`<html lang="${language}"`);
  });
});

type It = Awaited<ReturnType<typeof given>>;
/** The key was replaced once: the Mac has a held key, and a superseded one. */
async function replacedOnce(it: It): Promise<string> {
  const before = it.mac.recoveryKey ?? '';
  await it.settle();
  await it.order();
  await it.checkIn();
  expect(it.mac.unlocksWith(before)).toBe(false);
  return before;
}
const say = async (it: It, next: 'same' | 'other') => it.person.client.submit(await it.person.client.get(it.refused), it.refused, { next });
const recordsOf = (it: It) => it.store.db.selectFrom('key_record').select(['id', 'state', 'refuted_at']).where('mac_id', '=', it.id).orderBy('id').execute();

describe('it was refused', () => {
  test('first a check list, which says that each wrong try costs; then the same key as a further disclosure: that is noted, proves nothing, and makes a proof due', async () => {
    const it = await given();
    await it.settle();
    await it.checkIn();
    const due = () => it.store.db.selectFrom('proof_order').select('because').where('mac_id', '=', it.id).where('ended_at', 'is', null).execute();
    expect(await due()).toEqual([]);
    const first = await it.getKey();
    const page = await it.person.client.get(it.refused);
    expect(page.content).toContain('Each wrong try makes the Mac wait longer');
    expect(page.content).toContain('Is the layout “Deutsch” shown');
    expect(keyOn(page)).toBeNull();
    expect(await it.acts('key.refused')).toEqual([]);
    const records = await recordsOf(it);
    const again = await say(it, 'same');
    expect(keyOn(again)).toBe(keyOn(first));
    expect(again.content).not.toContain('This is another key');
    expect((await it.views()).map(({ because }) => because)).toEqual(['first', 'again']);
    expect(await it.acts('key.refused')).toMatchObject([{ actor: it.person.userName, recordId: records[0]?.id, state: 'held', times: 1 }]);
    expect(await recordsOf(it)).toEqual(records);
    expect(await due()).toEqual([{ because: 'a person said that it was refused' }]);
    expect(await it.alarms()).toEqual([]);
    expect((await it.custodyOf()).state).toBe('held');
  });

  test('then the newest superseded key as a further disclosure, and then the desk with the code and what was tried: never a sweep', async () => {
    const it = await given();
    const old = await replacedOnce(it);
    const shown = await it.getKey();
    expect(it.mac.unlocksWith(keyOn(shown) ?? '')).toBe(true);
    const records = await recordsOf(it);
    const other = await say(it, 'other');
    expect(keyOn(other)).toBe(old);
    expect(other.content).toContain('This is another key of the same Mac.');
    const same = await say(it, 'same');
    expect(keyOn(same)).toBe(old);
    const desk = await say(it, 'other');
    expect(keyOn(desk)).toBeNull();
    const [episode] = await it.episodes();
    expect(desk.content).toContain('Stop trying now');
    expect(desk.content).toContain('You were shown 2 different keys, and said 3 times that it was refused.');
    expect(desk.content).toContain(episode?.code ?? 'no code');
    expect(desk.content).toContain('+31 20 555 0100');
    expect((await it.views()).map(({ because }) => because)).toEqual(['first', 'other-key', 'again']);
    expect((await it.acts('key.refused')).map(({ times }) => times)).toEqual([1, 1, 2]);
    expect((await it.disclosures()).map(({ reason }) => reason)).toEqual([
      'self-service',
      'self-service, the key before was refused',
      'self-service, it was refused once: a second try',
    ]);
    expect(await recordsOf(it)).toEqual(records);
    expect(await it.mails()).toHaveLength(1);
    // Whoever asks for the key from there sees the one that they were at.
    const gone = await it.person.client.get(`${it.key}?gone=1`);
    expect(keyOn(await it.person.client.submit(gone, `${it.key}/again`))).toBe(old);
  });

  test('in doubt the candidate is shown first, and after its refusal the held key', async () => {
    const it = await given();
    const held = it.mac.recoveryKey ?? '';
    it.mac.mdmRotates();
    it.pass(2 * minute);
    await it.checkIn();
    expect((await it.custodyOf()).state).toBe('doubtful');
    const shown = await it.getKey();
    expect(it.mac.unlocksWith(keyOn(shown) ?? '')).toBe(true);
    expect(shown.content).toContain('We are not sure that this is the key your Mac has now.');
    expect(keyOn(await say(it, 'other'))).toBe(held);
  });

  test('a held key that was refused twice is an alarm, which stops nothing; the hold stands', async () => {
    const it = await given();
    await it.getKey();
    await say(it, 'same');
    await say(it, 'other');
    expect(await it.alarms()).toEqual(['KEY_REFUSED']);
    expect((await it.custodyOf()).hold).not.toBeNull();
    expect(keyOn(await it.person.client.submit(await it.person.client.get(`${it.key}?gone=1`), `${it.key}/again`))).not.toBeNull();
  });

  test('nobody can refuse what they were not shown; one form says it once; after a quarter of an hour somebody signs in again first', async () => {
    const it = await given();
    const page = await it.person.client.get(it.refused);
    expect(page.content).toContain('No key of this Mac was shown to you in the last hours');
    expect(page.forms.map(({ action }) => action)).not.toContain(it.refused);
    await it.getKey();
    const list = await it.person.client.get(it.refused);
    it.pass(16 * minute);
    const answer = await it.person.client.submit(list, it.refused, { next: 'other' }, { follow: false });
    expect(answer.headers['location']).toMatch(/^\/sign-in\?then=.*refused.*again=1/);
    expect(await it.acts('key.refused')).toEqual([]);
    const again = it.portal.client();
    await it.portal.signIn(again, it.person.userName);
    const fresh = await again.get(it.refused);
    const answers = await Promise.all([1, 2, 3].map(() => again.submit(fresh, it.refused, { next: 'other' })));
    expect(answers.map(keyOn)).toEqual([null, null, null]);
    expect(await it.acts('key.refused')).toHaveLength(1);
  });
});
