import { beforeAll, describe, expect, test } from '@jest/globals';
import { readAddress, tidied, toAddress } from '../console/fleet-address.ts';
import { plot, roundTop } from '../console/plots.ts';
import { seedFleet } from '../scripts/seed-fleet.ts';
import { givenConsole } from './given-console.ts';

/* The pages of the console about Macs, without a browser: addresses, scope, what each role is shown, hostile names. */

const serial = 'C02PAGES0001';
const json = { headers: { accept: 'application/json' } };
const hostile = '<script>alert(1)</script>\u202Egnp.exe';
let it: Awaited<ReturnType<typeof givenConsole>>;
let admin: Awaited<ReturnType<typeof it.as>>['browser'];
let viewer: typeof admin;

const links = (text: string): string[] => [...text.matchAll(/href="([^"]*)"/g)].map(([, href = '']) => href.replaceAll('&amp;', '&'));
const rowsOf = (text: string): string[] => [...text.matchAll(/<tr data-row>.*?<\/tr>/gs)].map(([row]) => row);
const serialsOf = (text: string): string[] => rowsOf(text).map((row) => /value="([^"]*)"/.exec(row)?.[1] ?? '');

beforeAll(async () => {
  // Its first replacement is on a build that no other Mac has tried.
  it = await givenConsole({ serial, settings: { pilot: true } });
  admin = (await it.as('admin')).browser;
  viewer = (await it.as('viewer')).browser;
});

describe('before there is much', () => {
  test('without a Mac each page says what to do next, and nothing needs a person', async () => {
    const nobodyHere = (await it.as('viewer', ['nowhere'])).browser;
    expect((await nobodyHere.get('/')).content).toMatch(/There is no Mac yet\. .*Nothing needs a person today.*No alarm is open\./);
    expect((await nobodyHere.get('/fleet')).content).toMatch(/0 Macs There is no Mac yet .*sparekey-server ticket/);
    expect((await nobodyHere.get('/alarms')).content).toContain('No alarm is open.');
    expect((await nobodyHere.get('/figures')).content).toMatch(/Custody from day to day is kept as sums of the whole fleet.*Nothing is known yet/);
  });

  test('with one Mac its page is its state, its facts and its timeline, and without scripts everything on it can be done', async () => {
    await it.settle();
    const path = `/fleet/${await it.macId()}`;
    const page = await admin.get(`/fleet/${serial}`);
    expect(page.content).toMatch(/A key of this Mac is here: .* Next: .*What happened Newest first\. Times are [A-Z+0-9]+\. .*Enrolment .*Facts Custody held/);
    expect(page.text).not.toContain(it.mac.recoveryKey ?? 'no key');

    const tagged = await admin.submit(await admin.get(path), `${path}/tags`, { add: 'Lab' });
    expect(tagged.content).toMatch(/Tags lab Take away/);
    const wrong = await admin.submit(tagged, `${path}/tags`, { remove: '', add: '-no tag-' });
    expect([wrong.status, wrong.content]).toEqual([400, expect.stringContaining('is no tag')]);
    const form = await admin.get(`${path}/replace`);
    expect(form.content).toMatch(/Replace the key of .*\?/);
    const button = form.forms.find(({ action }) => action === `${path}/replace`)?.buttons[0]?.words ?? '';
    expect(button).toMatch(/^Replace the key of ./);
    expect((await admin.submit(form, `${path}/replace`, { reason: ' ' })).content).toContain('This cannot be taken as it is Reason: ');
    const ordered = await admin.submit(form, `${path}/replace`, { reason: 'a leaver <b>' });
    expect(ordered.content).toMatch(/Ordered\. The Mac replaces its key when it is next online\..*Ordered just now by admin\d+ ?: a leaver <b>\. Take it back/);
    expect((await admin.submit(form, `${path}/replace`, { reason: 'again' })).content).toContain('An order waited for this Mac already');
    const back = links(ordered.text).find((href) => href.includes('/withdraw?order=')) ?? '';
    const withdrawn = await admin.submit(await admin.get(back), `${path}/withdraw`, { reason: 'a mistake' });
    expect(withdrawn.content).toMatch(/The order is taken back\./);
    expect(withdrawn.text).not.toContain('/withdraw?order=');
    const asked = await admin.submit(await admin.get(`${path}/prove`), `${path}/prove`, { reason: 'to be sure' });
    expect(asked.content).toContain('The Mac is asked at its next check-in');
    expect((await admin.submit(await admin.get(`${path}/hold`), `${path}/hold`, { reason: 'called', because: 'back-in', serial })).content).toContain(
      'There was no hold.',
    );
    expect((await admin.get(`${path}/merge?other=${serial}`)).content).toContain('Both names are of one record.');
    const lost = await admin.submit(await admin.get(`${path}/standing`), `${path}/standing`, { state: 'lost', reason: 'left in a train' });
    expect(lost.content).toMatch(/It is written down\..*State lost/);
    const mine = await admin.submit(await admin.get(`${path}/user`), `${path}/user`, { userName: 'Someone', reason: 'a new colleague' });
    expect(mine.content).toMatch(/User someone ?, by an admin/);
    expect((await admin.submit(await admin.get(`${path}/nobody`), `${path}/nobody`, { reason: 'left' })).content).toContain('It is said to be nobody’s.');
    const release = await admin.get(links(page.text).find((href) => href.startsWith('/disclosures/releases')) ?? '');
    expect(release.forms.some(({ fields }) => fields['device'] === serial)).toBe(true);
  });
});

describe('with a fleet', () => {
  beforeAll(async () => {
    await it.backend.store.write((tx) => tx.deleteFrom('fleet_day').execute());
    await seedFleet(it.backend, { devices: 130, seed: 2, days: 20 });
    // As a Mac could say it of itself.
    const { db } = it.backend.store;
    const one = await db.selectFrom('fleet_row').select('mac_id').where('custody', '=', 'held').orderBy('serial').executeTakeFirstOrThrow();
    await it.backend.store.write((tx) => tx.updateTable('fleet_row').set({ name: hostile, name_key: '!' }).where('mac_id', '=', one.mac_id).execute());
  });

  test('the address is the filter: the form shows what it says, empty fields and repeats go, and it means what the API means by it', async () => {
    const messy = await viewer.get('/fleet?q=&custody=held%2Cdoubtful&custody=held&silentDays=&sort=name&tag=', { follow: false });
    expect([messy.status, messy.headers['location']]).toEqual([303, '/fleet?custody=held&custody=doubtful']);
    const page = await viewer.get('/fleet?custody=held&macos=26&sort=-key'.replace('-key', '-keySince'));
    const form = page.forms.find(({ action, method }) => action === '/fleet' && method === 'get');
    expect(form?.fields).toMatchObject({ custody: 'held', macos: '26', sort: '-keySince', q: '' });
    const { count } = JSON.parse((await viewer.get('/v1/devices/count?custody=held&macos=26', json)).text) as { count: number };
    expect(count).toBeGreaterThan(10);
    expect(page.content).toContain(`${count} Macs`);
    expect(links(page.text)).toContain('/v1/devices.csv?custody=held&macos=26');
    const both = await viewer.get('/fleet?custody=held&custody=lost');
    expect(both.forms.find(({ method }) => method === 'get')?.fields['custody']).toBe('held,lost');

    const now = Date.parse('2026-11-23T12:00:30.000Z');
    const address = readAddress(new URLSearchParams('silentDays=7&sort=-seen&cursor=abc&q=ada'), now);
    expect(address).toMatchObject({ filter: { q: 'ada', seenBefore: '2026-11-16T12:00:00.000Z' }, sort: '-seen', cursor: 'abc' });
    expect([toAddress(address), toAddress(address, 'abc')]).toEqual([
      '/fleet?q=ada&silentDays=7&sort=-seen',
      '/fleet?cursor=abc&q=ada&silentDays=7&sort=-seen',
    ]);
    expect(tidied(new URLSearchParams('b=&a=1&a=1')).toString()).toBe('a=1');
  });

  test.each(['custody=stolen', 'sort=key', 'silentDays=x', 'nothing=1', 'cursor=abc', 'macos=%3Cb%3E', 'seenBefore=yesterday'])(
    'an address that is none, %s, is said to be none, with a way out',
    async (query) => {
      const page = await viewer.get(`/fleet?${query}`);
      expect([page.status, page.content]).toEqual([400, expect.stringContaining('Clear the filters')]);
    },
  );

  test('an address that is too long is not taken for one without a filter', async () => {
    const page = await admin.get(`/fleet/chosen?q=${'a'.repeat(3000)}`);
    expect([page.status, page.content]).toEqual([400, expect.not.stringContaining('chosen')]);
  });

  test('its pages follow one another by links, each Mac once, in the order that the head of a column asks for', async () => {
    const seen: string[] = [];
    let at = '/fleet?sort=-seen';
    for (let pages = 0; pages < 5 && at !== ''; pages++) {
      const page = await admin.get(at);
      seen.push(...serialsOf(page.text));
      expect(page.text).toContain('aria-sort="descending"');
      expect(links(page.text).includes('/fleet?sort=-seen') && page.content.includes('Back to the beginning')).toBe(pages > 0);
      at = links(page.text).find((href) => /[?&]cursor=/.test(href)) ?? '';
    }
    const { items } = JSON.parse((await admin.get('/v1/devices?limit=200', json)).text) as { items: { serial: string }[] };
    expect(seen.length).toBe(items.length);
    expect(new Set(seen)).toEqual(new Set(items.map(({ serial }) => serial)));
  });

  test('a name that is markup, or turns around what stands beside it, is text and stays in its own place', async () => {
    const page = await admin.get('/fleet?custody=held');
    expect(page.text).not.toContain('<script>alert');
    expect(page.text).toContain(`<bdi class="hidden-words">&lt;script&gt;alert(1)&lt;/script&gt;\u202Egnp.exe</bdi>`);
    const odd = await admin.get('/fleet?q=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E');
    expect(odd.text).not.toContain('<script>alert');
    expect(odd.content).toMatch(/No Mac is like that .*Clear the filters/);
  });

  test('whoever has a scope sees the Macs of it and nothing of any other, on no page', async () => {
    const { items: all } = JSON.parse((await admin.get('/v1/devices?limit=200', json)).text) as { items: { id: string; serial: string; tags: string[] }[] };
    const tag = all.flatMap(({ tags }) => tags).find((one) => one.startsWith('site-')) ?? '';
    const [inside, outside] = [all.filter(({ tags }) => tags.includes(tag)), all.filter(({ tags }) => !tags.includes(tag))];
    expect(Math.min(inside.length, outside.length)).toBeGreaterThan(0);
    const local = (await it.as('admin', [tag])).browser;
    const list = await local.get('/fleet');
    expect(new Set(serialsOf(list.text))).toEqual(new Set(inside.map(({ serial }) => serial)));
    expect(list.content).toContain(inside.length === 1 ? '1 Mac' : `${inside.length} Macs`);
    const first = await local.get('/');
    const alarms = await local.get('/alarms');
    for (const { id, serial } of outside) for (const page of [list, first, alarms]) expect(page.text.includes(id) || page.text.includes(serial)).toBe(false);
    const [other] = outside;
    for (const path of [`/fleet/${other?.id}`, `/fleet/${other?.serial}`, `/fleet/${other?.id}/replace`, `/fleet/${other?.id}/merge`])
      expect([path, (await local.get(path)).status]).toEqual([path, 404]);
    const chosen = await local.submit(list, '/fleet/chosen', { others: `${other?.serial} ${inside[0]?.serial}` });
    expect((await local.submit(chosen, '/fleet/tags', { tags: 'mine' }, { button: 'Add the tags to 2 Macs' })).status).toBe(403);
    const byName = await local.submit(chosen, '/fleet/tags', { tags: tag }, { button: 'Add the tags to 2 Macs' });
    expect([byName.status, byName.content]).toEqual([404, expect.not.stringContaining('have other tags')]);
    expect((await admin.get(`/fleet?q=${inside[0]?.serial}&tag=mine`)).content).toContain('No Mac is like that');
  });

  test('a chosen few, or all that a filter means, get tags by a button that says how many, and lose them by another', async () => {
    const list = await admin.get('/fleet?custody=held');
    expect((await admin.submit(list, '/fleet/chosen')).status).toBe(400);
    const [one, two] = rowsOf(list.text).map((row) => /name="(mac-[^"]*)" value="([^"]*)"/.exec(row) ?? []);
    const chosen = await admin.submit(list, '/fleet/chosen', { [one?.[1] ?? '']: one?.[2] ?? '', [two?.[1] ?? '']: two?.[2] ?? '', others: two?.[2] ?? '' });
    expect(chosen.content).toMatch(/^2 Macs chosen By name: /);
    const added = await admin.submit(chosen, '/fleet/tags', { tags: 'loaner, Spare' }, { button: 'Add the tags to 2 Macs' });
    expect(added.content).toContain('2 Macs have other tags now. Added: loaner, Spare.');
    const all = await admin.get('/fleet/chosen?tag=loaner');
    expect(all.content).toContain('2 Macs chosen Macs with tag loaner.');
    const stale = await admin.submit(all, '/fleet/tags', { tags: 'x', count: '3' }, { button: 'Add the tags to 2 Macs' });
    expect([stale.status, stale.content]).toEqual([400, expect.stringContaining('They are 2 Macs by now')]);
    const taken = await admin.submit(all, '/fleet/tags', { tags: 'loaner' }, { button: 'Take the tags from 2 Macs' });
    expect(taken.content).toContain('2 Macs have other tags now. Taken: loaner.');
    expect((await admin.get('/fleet?tag=loaner')).content).toContain('No Mac is like that');
    const plan = await admin.submit(await admin.get('/fleet/chosen?tag=spare'), '/rotations/edit');
    expect(plan.forms.find(({ action }) => action === '/rotations/plan')?.fields).toMatchObject({ filter: 'tag=spare', macs: '' });
  });

  test('columns that somebody does not want are left out in their browser from then on', async () => {
    const list = await viewer.get('/fleet?custody=held');
    expect(list.text).toContain('sort=fileVault');
    const without = await viewer.submit(list, '/fleet/columns', { 'column-fileVault': '', 'column-macos': '' });
    expect(without.path).toBe('/fleet?custody=held');
    expect(without.text).not.toMatch(/sort=(fileVault|macos)"/);
    expect((await viewer.get('/fleet')).text).not.toContain('sort=fileVault');
  });

  test('nobody is shown a button for what their role may not do, nor the form behind it', async () => {
    const { items } = JSON.parse((await admin.get('/v1/devices?limit=1&sort=problem', json)).text) as { items: { id: string }[] };
    const path = `/fleet/${items[0]?.id}`;
    const buttonsOf = async (browser: typeof admin): Promise<string> => {
      const page = await browser.get(path);
      return ['key', 'replace', 'prove', 'tags', 'merge', 'releases']
        .filter((name) => new RegExp(`(href|action)="[^"]*/${name}["?]`).test(page.text))
        .join(' ');
    };
    const desk = (await it.as('help-desk')).browser;
    const rotator = (await it.as('rotator')).browser;
    expect({ viewer: await buttonsOf(viewer), desk: await buttonsOf(desk), rotator: await buttonsOf(rotator) }).toEqual({
      viewer: '',
      desk: 'key releases',
      rotator: expect.stringMatching(/^replace( prove)?$/),
    });
    expect((await viewer.get('/fleet')).text).not.toContain('type="checkbox" form="chosen"');
    for (const page of [`${path}/replace`, `${path}/merge`]) expect([page, (await viewer.get(page)).status]).toEqual([page, 403]);
    const first = await viewer.get('/');
    expect(links(first.text).filter((href) => /\/(replace|prove)$/.test(href))).toEqual([]);
    expect(first.forms.map(({ action }) => action)).toEqual(['/sign-out']);
  });

  test('the first page answers three questions in words, with the oldest first below, each with one button', async () => {
    const owner = (await it.as('owner')).browser;
    const page = await owner.get('/');
    const first = JSON.parse((await owner.get('/v1/figures/first?limit=20', json)).text) as {
      unrecoverable: number;
      held: { count: number; of: number };
      items: { what: string }[];
    };
    expect(page.content).toMatch(
      /Is any Mac unrecoverable\? (Yes: \d+ Macs?\. |No\.).*Is any key out in the open\? (Yes: |No\.).*Is anything stuck\? (Yes: |No\.)/,
    );
    expect(page.content).toContain(`${first.held.count} of ${first.held.of} Macs with a held key`);
    expect(page.content).toMatch(/This fleet is being learned until .*sent to nobody/);
    const today = /<ol class="today">(.*?)<\/ol>/s.exec(page.text)?.[1] ?? '';
    const items = today.split('<li>').slice(1);
    expect(items.length).toBe(first.items.length);
    for (const item of items) expect(item.match(/class="button/g)).toHaveLength(1);
    const times = items.map((item) => /datetime="([^"]*)"/.exec(item)?.[1] ?? '');
    expect(times).toEqual(times.toSorted());
  });

  test('two records of one Mac are joined after a look at both, and taken apart again', async () => {
    const { db } = it.backend.store;
    const [newer, older] = await db
      .selectFrom('mac')
      .select(['id', 'serial'])
      .where('last_seen_at', 'is not', null)
      .orderBy('created_at', 'desc')
      .limit(2)
      .execute();
    const path = `/fleet/${newer?.id}`;
    await it.backend.store.write((tx) =>
      tx
        .updateTable('mac')
        .set({ last_seen_at: 1 })
        .where('id', '=', older?.id ?? '')
        .execute(),
    );
    const refused = await admin.submit(await admin.get(`${path}/merge`), `${path}/merge`, { other: older?.serial ?? '' });
    expect([refused.status, refused.content]).toEqual([200, expect.stringMatching(/They cannot be joined: .* assign the newer one to its user first\./)]);
    const owner = await db
      .selectFrom('fleet_row')
      .select('user_name')
      .where('mac_id', '=', older?.id ?? '')
      .executeTakeFirstOrThrow();
    await admin.submit(await admin.get(`${path}/user`), `${path}/user`, { userName: owner.user_name, reason: 'the same colleague' });
    const look = await admin.get(`${path}/merge?other=${older?.serial}`);
    expect(look.forms.flatMap(({ buttons }) => buttons.map(({ words }) => words))).toContain(`Join ${older?.serial} into ${newer?.serial}`);
    const form = look.forms.find(({ method, fields }) => method === 'post' && fields['other'] !== undefined);
    const joined = await admin.post(`${path}/merge`, { ...form?.fields, reason: 'a new logic board' });
    expect(joined.content).toMatch(/Both records are one Mac now\..*Older records .*Take the join back/);
    const apart = links(joined.text).find((href) => href.includes('/part?other=')) ?? '';
    const parted = await admin.submit(await admin.get(apart), `${path}/part`, { reason: 'another Mac after all' });
    expect(parted.content).toContain('The older record is listed by itself again.');
    expect(parted.text).not.toContain('/part?other=');
  });

  test('an alarm is taken over, muted, told again and judged by forms', async () => {
    const { id } = await it.backend.store.db.selectFrom('alarm').select('id').where('judged_at', 'is', null).executeTakeFirstOrThrow();
    const owner = await it.as('owner');
    const { browser } = owner;
    const path = `/alarms/${id}`;
    const taken = await browser.submit(await browser.get(path), `${path}/assign`);
    expect(taken.content).toContain('You look after it.');
    expect((await browser.submit(taken, `${path}/mute`, { days: '0', reason: 'no' })).status).toBe(400);
    const muted = await browser.submit(taken, `${path}/mute`, { days: '3', reason: 'a new board comes' });
    expect(muted.content).toMatch(/Muted until .*: a new board comes/);
    expect((await browser.get('/alarms')).text).not.toContain(path);
    expect((await browser.get('/alarms?view=muted')).text).toContain(path);
    const told = await browser.submit(muted, `${path}/unmute`);
    const judged = await browser.submit(told, `${path}/judge`, { judgement: 'a new logic board' });
    expect(judged.content).toContain(`by ${owner.userName} : a new logic board`);
    expect(judged.forms.map(({ action }) => action)).toEqual(['/sign-out']);
    expect((await browser.get('/alarms?view=judged')).content).toContain('a new logic board');
    expect((await viewer.get('/alarms/none')).status).toBe(404);
  });

  test('the figures are pictures called by their answers, and each has its numbers under it', async () => {
    const { text } = await viewer.get('/figures');
    const pictures = [...text.matchAll(/<svg class="plot" role="img" aria-labelledby="(\S+) (\S+)"/g)];
    expect(pictures.length).toBeGreaterThanOrEqual(3);
    for (const [, title, says] of pictures) expect([text.includes(`<title id="${title}">`), text.includes(`<desc id="${says}">`)]).toEqual([true, true]);
    expect(text.match(/<summary>The numbers<\/summary>/g)).toHaveLength(4);
    expect(text).toMatch(/<title[^>]*>A key of [\d.]+ % of all Macs is held; on .* it was [\d.]+ %<\/title>/);
    expect(text).not.toMatch(/NaN|undefined|Infinity/);
  });
});

test('axes begin at zero and end at a round number, and a line is broken where nothing is known', () => {
  expect([0, 0.4, 1, 7, 12, 113, 2957, 50_001].map(roundTop)).toEqual([1, 1, 1, 10, 20, 200, 5000, 100_000]);
  const drawn = plot({
    id: 'p',
    title: 'Half & <all>',
    says: 's',
    head: 'Week',
    unit: 'Hours',
    kind: 'lines',
    labels: ['a', 'b', 'c', 'd'],
    series: [{ name: 'half', values: [1, null, 3, 4] }],
  }).toString();
  expect(drawn).toContain('Half &amp; &lt;all&gt;');
  expect(drawn.match(/class="line line-1" d="(.*?)"/)?.[1]?.match(/M/g)).toHaveLength(2);
  expect(drawn).toContain('<td class="number">–</td>');
});
