import { describe, expect, test } from '@jest/globals';
import { lettersOf } from '../portal/mails.ts';
import { mailKinds } from '../web/mail-queue.ts';
import { keyOn, lockedOut } from './key-pages.ts';
import type { Shown } from './portal-client.ts';
import { passwordOfTests } from './portal-together.ts';

/* The pages of signing in, the key and its refusal in German and French: no English is left on them, in any of their states. */

const contact = { name: 'Helpline', phone: '+31 20 555 0100', hours: '8–18' };
const people = { contact, selfService: { reason: 'required', viewsPerPerson: 6, viewsPerAddress: 5000 } };
const minute = 60;

/** Words that are neither German nor French, and of which one stands in nearly every English sentence. */
const english =
  /\b(?:[Tt]he|[Aa]nd|[Yy]ou|[Yy]ours?|of|[Tt]his|[Ii]s|[Aa]re|[Ww]ith|[Ff]or|from|to|that|it|[Ss]how|shown|keys?|Key|[Cc]all|again|[Bb]ack|[Ss]ign|time|[Nn]ext|[Cc]opy|[Hh]ide|digits?|letters?|hyphen|without|between|minutes? left|years?|ago|yesterday)\b/;

/** Everything that somebody reads or hears of a page, but what is marked as another language: the Mac’s words, and the switch. */
function readable({ text }: Pick<Shown, 'text'>): string {
  const own = text.replace(/<(q|button)\b[^>]* lang="[^"]*"[^>]*>.*?<\/\1>/gs, ' ').replace(/<(script|style)\b.*?<\/\1>/gs, ' ');
  const spoken = [...own.matchAll(/ (?:data-(?:other|done|failed|left)|aria-label|title|alt|placeholder)="([^"]*)"/g)].map(([, said = '']) => said);
  return `${own.replace(/<[^>]*>/g, ' ')} ${spoken.join(' ')}`.replace(/&#39;|&amp;|&quot;/g, ' ').replace(/\s+/g, ' ');
}

const lookAround = (text: string): string => {
  const found = english.exec(text);
  return found ? text.slice(Math.max(0, found.index - 60), found.index + 60) : '';
};

test('the check finds English where it is, and nothing in the Mac’s own words', () => {
  expect(lookAround(readable({ text: '<p>Schlüssel</p><p title="Your key">x</p>' }))).toContain('Your key');
  expect(lookAround(readable({ text: '<li>Klicken Sie auf <q lang="en">Restart the Mac</q></li>' }))).toBe('');
});

describe.each([
  ['de', 'Wiederherstellungsschlüssel', 'Passwort vergessen'],
  ['fr', 'clé de secours', 'mot de passe oublié'],
] as const)('in %s', (language, term, reason) => {
  test('every state of these pages is in that language alone, with Apple’s term for the key', async () => {
    const it = await lockedOut({ people }, { looks: { language }, alone: true });
    const { client, userName } = it.person;
    const walked: string[] = [];
    /** Says what it was called when it is not in this language. */
    const clean = (name: string, page: Shown, status = 200): Shown => {
      expect([name, page.status]).toEqual([name, status]);
      expect([name, lookAround(readable(page))]).toEqual([name, '']);
      expect([name, page.text.includes(`<html lang="${language}"`), /<main[^>]* lang=/.test(page.text)]).toEqual([name, true, false]);
      walked.push(name);
      return page;
    };
    const stranger = it.portal.client({ language });
    clean('signing in', await stranger.get('/sign-in'));
    clean('not let in', await stranger.submit(await stranger.get('/sign-in'), '/sign-in/password', { name: 'nobody', password: 'wrong words' }), 403);
    clean('whom to call without signing in', await stranger.get('/cannot-sign-in'));
    clean('nothing to refuse yet', await client.get(it.refused));
    const before = clean('before the key', await client.get(`${it.key}?from=password-field`));
    expect(before.content).toContain(term);
    clean('without a reason', await client.submit(before, it.key, { reason: '' }), 422);
    const shown = clean('the key', await client.submit(await client.get(`${it.key}?from=password-field`), it.key, { reason }));
    expect(it.mac.unlocksWith(keyOn(shown) ?? '')).toBe(true);
    const more = clean('more time', await client.submit(shown, `${it.key}/more-time`, { place: '3', copied: 'yes' }));
    expect(more.text).toContain('data-place="3" data-copied="yes"');
    clean('hidden', await client.submit(more, `${it.key}/hide`));
    const gone = clean('gone', await client.get(`${it.key}?gone=1&ended=1&clipboard=kept`));
    clean('gone, with an empty clipboard', await client.get(`${it.key}?gone=1&clipboard=cleared`));
    clean('shown again', await client.submit(gone, `${it.key}/again`));
    const list = clean('the check list', await client.get(it.refused));
    clean('a second try', await client.submit(list, it.refused, { next: 'same' }));
    await it.settle();
    await it.order();
    await it.checkInAndDie({ name: /fdesetup ended/, when: 'after' });
    clean('while it is replaced', await client.get(it.key));
    clean('a key that is being replaced', await client.submit(await client.get(it.key), it.key));
    clean('another key, or none', await client.submit(await client.get(it.refused), it.refused, { next: 'other' }));
    clean('the last that is allowed', await client.submit(await client.get(it.key), it.key));
    clean('beyond the limit', await client.submit(await client.get(it.key), it.key), 429);
    it.wait(16 * minute);
    clean('signing in again first', await client.get(it.key));
    clean('gone, long after', await client.get(`${it.key}?gone=1`));
    const again = clean('signing in again', await client.get(`/sign-in?again=1&then=${it.key}`));
    await client.submit(again, '/sign-in/password', { name: userName, password: passwordOfTests });
    clean('no such Mac', await client.get('/macs/00000000-0000-4000-8000-000000000000/key'), 404);
    clean('a form that is none', await client.post(it.key, {}), 403);
    const looks = clean('who looked', await client.get(`/macs/${it.id}/looked`));
    const notMe = /href="([^"]*\/not-me[^"]*)"/.exec(looks.text)?.[1]?.replaceAll('&amp;', '&') ?? '';
    const sure = clean('it was not me', await client.get(notMe));
    clean('it was not me, said', await client.submit(sure, `/macs/${it.id}/not-me`));
    expect(walked).toHaveLength(27);
  });

  test('the mails are, with the button that they name', () => {
    const write = lettersOf({ url: 'https://key.example.org', contact } as Parameters<typeof lettersOf>[0], 'Musterfirma');
    for (const kind of mailKinds) {
      const details = {
        macId: 'm',
        serialEnd: 'JGH5',
        macName: null,
        shownAt: 1,
        replacedAt: 2,
        checkedAt: 3,
        saidAt: 4,
        personName: 'Ada',
        code: '7F3A-29',
        browser: null,
      };
      const letter = write(kind, language, details as unknown as Parameters<typeof write>[2]);
      const own = `${letter.subject} ${letter.text}`.replace(/https:\S*|`[^`]*`/g, ' ');
      expect([kind, lookAround(own)]).toEqual([kind, '']);
      expect(own.toLowerCase()).toContain(term.toLowerCase());
    }
  });
});
