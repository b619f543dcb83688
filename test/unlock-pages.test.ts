import { beforeAll, describe, expect, test } from '@jest/globals';
import { screenIds, screenOf } from '../web/steps/screens.ts';
import { type Given, givenPortal } from './given-portal.ts';
import type { Shown } from './portal-client.ts';

const desk = { name: 'the service desk', phone: '+31 20 555 01 00', hours: 'Mon–Fri 8:00–18:00' };

let it: Awaited<ReturnType<typeof givenPortal>>;
let ada: Given;
let start = '';

beforeAll(async () => {
  it = await givenPortal({ people: { contact: desk } });
  await it.checkIn();
  ada = await it.portal.person('ada');
  await it.assign(ada);
  start = `/macs/${await it.macId()}/unlock`;
});

const decoded = (text: string): string => text.replace(/&amp;/g, '&');
/** The links of the content, not of the frame. */
const linksOf = (page: Shown): string[] =>
  [...(/<main\b.*?<\/main>/s.exec(page.text)?.[0] ?? '').matchAll(/<a\b[^>]*\shref="([^"]*)"/g)].map(([, to = '']) => decoded(to));

const hasContact = (page: Shown): boolean => /<section class="[^"]*\bcontact\b/.test(page.text);

/** The Mac as it would have reported itself. */
async function reports(about: {
  chip?: string;
  model?: string;
  macosVersion?: string;
  language?: string | null;
  keyboardLayout?: string | null;
  passwordChangedAt?: string | null;
}): Promise<void> {
  const { store } = it.backend;
  const id = await it.macId();
  await store.write(async (tx) => {
    const row = await tx.selectFrom('mac').select('facts').where('id', '=', id).executeTakeFirstOrThrow();
    const facts = { ...JSON.parse(row.facts ?? '{}'), ...about };
    await tx
      .updateTable('mac')
      .set({ facts: JSON.stringify(facts) })
      .where('id', '=', id)
      .execute();
  });
}
const silicon = { chip: 'Apple M2', model: 'Mac14,2', macosVersion: '26.6.2', language: 'de-DE', keyboardLayout: 'German', passwordChangedAt: null };

async function crawl(from: string, language: string): Promise<Map<string, Shown>> {
  const client = it.portal.client({ language });
  await it.portal.signIn(client, 'ada');
  const pages = new Map<string, Shown>();
  const waiting = [from];
  for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
    if (pages.has(path)) continue;
    const page = await client.get(path);
    pages.set(path, page);
    waiting.push(...linksOf(page).filter((to) => to.startsWith(`${start}?`) || to === start));
  }
  return pages;
}

describe.each([
  ['Apple silicon, macOS 26, in German', silicon, 'en'],
  ['Intel, macOS 14, in Dutch', { ...silicon, chip: 'Intel Core i7', model: 'MacBookPro16,1', macosVersion: '14.7', language: 'nl-NL' }, 'nl'],
  ['a Mac that said nothing of itself', { chip: 'x', model: 'y', macosVersion: '13.6', language: null, keyboardLayout: null }, 'en'],
] as const)('%s: every link of the triage', (_, about, language) => {
  let pages: Map<string, Shown>;
  beforeAll(async () => {
    const { chip, ...rest } = about;
    await reports(chip === 'x' ? ({ ...silicon, ...rest, chip: undefined, model: undefined } as never) : about);
    pages = await crawl(start, language);
  });

  test('opens a page with one heading, and skipping is always there', () => {
    expect(pages.size).toBeGreaterThan(20);
    for (const [path, page] of pages) {
      expect([path, page.status]).toEqual([path, 200]);
      expect([path, page.text.match(/<h1>/g)?.length]).toEqual([path, 1]);
      expect(linksOf(page)).toContain(`/macs/${start.split('/')[2]}/key`);
      expect([path, /undefined|\{\w+\}|unknown\b/.exec(page.content)?.[0]]).toEqual([path, undefined]);
      expect(page.text.length).toBeLessThan(20_000);
    }
  });

  test('leads on to the key, to whom to call, or to something to try first: no dead end', () => {
    const ends = (page: Shown): boolean => linksOf(page).some((to) => to.includes('/key?from=')) || hasContact(page);
    expect([...pages.values()].some((page) => linksOf(page).some((to) => to.includes('/key?from=')))).toBe(true);
    for (const from of pages.keys()) {
      const seen = new Set([from]);
      const waiting = [from];
      let reached = false;
      for (let path = waiting.shift(); path !== undefined && !reached; path = waiting.shift()) {
        const page = pages.get(path);
        if (!page) continue;
        reached = ends(page);
        for (const to of linksOf(page)) if (!seen.has(to) && pages.has(to)) seen.add(to) && waiting.push(to);
      }
      expect([from, reached]).toEqual([from, true]);
    }
  });

  test('a lock that the key does not open has a contact and offers no key', () => {
    const locks = [...pages].filter(([path]) => screenIds.some((id) => screenOf(id).leads === 'wrong-lock' && path.endsWith(`shows=${id}`)));
    expect(locks.length).toBeGreaterThanOrEqual(3);
    for (const [path, page] of locks) {
      expect([path, hasContact(page)]).toEqual([path, true]);
      expect(page.content).toContain(desk.phone);
      expect(linksOf(page).filter((to) => to.includes('/key?from='))).toEqual([]);
    }
  });
});

describe('the pages before the key', () => {
  test('first: the previous password, Caps Lock, this Mac’s layout in its own language, and no more guessing', async () => {
    await reports({ ...silicon, passwordChangedAt: new Date(it.backend.clock.now() - 3 * 86_400_000).toISOString() });
    const page = await ada.client.get(start);
    expect(page.content).toContain('its password had been changed 3 days ago');
    expect(page.content).toContain('Caps Lock');
    expect(page.text).toContain('<strong lang="de">“Deutsch”</strong>');
    expect(page.content).toContain('Stop guessing');
    const next = linksOf(page)[0] ?? '';
    expect((await ada.client.get(next)).content).toContain('What does your Mac show?');
  });

  test('the pictures keep their numbers, whatever a chip leaves out', async () => {
    await reports(silicon);
    const apple = (await ada.client.get(`${start}?look=1`)).content;
    await reports({ ...silicon, chip: 'Intel Core i7', model: 'MacBookPro16,1' });
    const intel = (await ada.client.get(`${start}?look=1`)).content;
    for (const content of [apple, intel]) expect(content).toMatch(/Picture 3 A field for the recovery key/);
    expect(apple).not.toContain('Picture 9');
    expect(intel).not.toContain('Picture 2 ');
    expect(intel).not.toContain('Picture 8');
    expect(intel).toContain('Picture 9');
  });

  test('one step at a time, in the Mac’s words and language, with the page’s beside them', async () => {
    await reports(silicon);
    const second = await ada.client.get(`${start}?shows=password-field&step=2`);
    expect(second.content).toContain('Step 2 of 4');
    expect(second.text).toContain('<q lang="de">Neu starten und Optionen zum Zurücksetzen des Passworts anzeigen</q> (in English: <q lang="en">');
    expect(second.content).toContain('Your Mac speaks German');
    expect(linksOf(second)).toEqual(expect.arrayContaining([`${start}?shows=password-field&step=1`, `${start}?shows=password-field&step=3`]));
    const third = await ada.client.get(`${start}?shows=password-field&step=3`);
    expect(third.content).toContain('Not as bad as it sounds');
    const last = await ada.client.get(`${start}?shows=password-field&step=4`);
    expect(linksOf(last)).toContain(`${start.replace('/unlock', '/key')}?from=password-field`);
    const key = await ada.client.get(`${start.replace('/unlock', '/key')}?from=password-field`);
    expect(key.status).toBe(200);
  });

  test('whoever gets stuck at a step is told whom to call, and the service desk sees at which picture', async () => {
    await reports(silicon);
    const step = await ada.client.get(`${start}?shows=login-window&step=2`);
    const call = linksOf(step).find((to) => to.includes('still=1')) ?? '';
    const page = await ada.client.get(call);
    expect(page.content).toContain('Picture 4');
    expect(page.content).toContain(desk.phone);
    const codes = await it.backend.store.db.selectFrom('help_code').select('page').execute();
    expect(codes.map((row) => row.page)).toContain('/unlock, picture 4, login-window');
  });

  test('an address that means nothing is a page to go on from', async () => {
    for (const query of [
      '?shows=nothing',
      '?shows=__proto__',
      '?shows=firmware',
      '?shows=password-field&step=99',
      '?shows=password-field&step=x',
      '?step=3',
      '?still=1',
    ]) {
      const page = await ada.client.get(`${start}${query}`);
      expect([query, page.status]).toEqual([query, 200]);
    }
    expect((await ada.client.get(`${start}?shows=password-field&step=99`)).content).toContain('Step 4 of 4');
  });

  test('somebody else’s Mac and one that there is not are the same answer', async () => {
    const eve = await it.portal.person('eve');
    const hers = await eve.client.get(start);
    const none = await eve.client.get('/macs/00000000-0000-4000-8000-000000000000/unlock');
    expect([hers.status, none.status]).toEqual([404, 404]);
    const bare = (text: string): string => text.replace(/[0-9A-Z]{4}-\d{2}/g, '').replace(/\/macs\/[0-9a-f-]{36}/g, '');
    expect(bare(hers.content)).toBe(bare(none.content));
  });

  test('whoever is not signed in signs in first', async () => {
    const page = await it.portal.client().get(start, { follow: false });
    expect([page.status, String(page.headers['location'])]).toEqual([303, `/sign-in?then=${encodeURIComponent(start)}`]);
  });

  test('a page in French is in English, and says so to a screen reader', async () => {
    const client = it.portal.client({ language: 'fr' });
    await it.portal.signIn(client, 'ada');
    expect((await client.get(start)).text).toMatch(/<main[^>]* lang="en"/);
  });
});
