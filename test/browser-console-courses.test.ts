import { expect } from '@jest/globals';
import type { Page } from 'playwright-core';
import { createAccounts } from '../server/accounts.ts';
import { putAlarm } from '../server/alarms.ts';
import { assign } from '../server/assignments.ts';
import type { Role } from '../server/permissions.ts';
import { givePasskeys, letTimeGoOn, passInBrowser } from './browser.ts';
import { expectGone, keyShown, press } from './browser-parts.ts';
import { axeClean, inChromium, visitor } from './given-browser.ts';
import { givenConsole } from './given-console.ts';
import { freePort } from './ports.ts';

/*
 * What admins come for, each walked once in a real Chromium, by as many people as it takes: each in a browser of their own. The
 * list, the bulk replacement and the keyboard are in `browser-console.test.ts`.
 */

const serial = 'C02COURSES01';
let opened: ReturnType<typeof open> | null = null;
async function open() {
  // A passkey belongs to a name, so the console has one.
  const port = await freePort();
  const console = { url: `https://localhost:${port}`, listen: { host: '127.0.0.1', port } };
  const contact = { name: 'The service desk', phone: '+31 20 555 0100' };
  const it = await givenConsole({ serial, console, people: { contact, mail: { from: 'keys@example.org' } }, settings: { pilot: true } });
  await it.settle();
  await it.checkIn();
  return { it, id: await it.macId() };
}
const ground = () => {
  opened ??= open();
  return opened;
};

/** Somebody with this role, at a browser of their own. */
async function at(role: Role | null) {
  const { it, id } = await ground();
  const visit = await visitor(it.console.url, {}, { elsewhere: [it.portal.url] });
  const admin = role === null ? null : await it.as(role);
  const { url } = it.console;
  const cookies = [...(admin?.browser.jar ?? [])].map(([name, value]) => ({ name, value, url, secure: true, httpOnly: true, sameSite: 'Lax' as const }));
  await visit.context.addCookies(cookies);
  const words = () => visit.page.locator('main').innerText();
  return { it, id, admin, words, ...visit };
}

/** Fills the fields of a form by their names, and sends it. */
async function send(page: Page, action: string, fields: Readonly<Record<string, string>> = {}): Promise<void> {
  const form = page.locator(`form[action="${action}"]`).first();
  for (const [name, value] of Object.entries(fields)) {
    const field = form.locator(`[name="${name}"]`);
    if (await field.evaluate((one) => one.tagName === 'SELECT')) await field.selectOption(value);
    else await field.fill(value);
  }
  await press(page, `form[action="${action}"] button:not(.quiet)`);
}

async function policy(rules: object): Promise<void> {
  const { it } = await ground();
  const owner = await it.as('owner');
  const { items } = (await owner.get('/v1/policies')).body;
  const [before] = items;
  const made = { name: 'these', rank: 10, tags: ['courses'], rules, version: before?.version ?? null, reason: 'a test' };
  expect((await owner.put(`/v1/policies/${before?.id ?? 'new'}`, made)).status).toBe(200);
}

inChromium('a replacement of many keys is planned, started, looked at, and ended with its orders taken back', async () => {
  const { it, id, go, page, words } = await at('rotator');
  await go('/rotations/new?custody=held');
  await send(page, '/rotations/plan', { reason: 'a drill for the office' });
  expect(await words()).toContain('You can stop it at any time.');
  await press(page, 'form[action="/rotations/start"] button');
  await it.backend.custody.campaigns.run();
  await page.reload();
  expect(await words()).toContain('a drill for the office');
  await axeClean(page, 'console-campaign');
  await press(page, 'a[href$="?change=1"]');
  await press(page, 'a[href$="/cancel"]');
  await send(page, new URL(page.url()).pathname, { reason: 'the drill is over' });
  expect(await words()).toContain('ended it');
  await go(`/fleet/${id}`);
  expect(await page.locator('aside').innerText()).toContain('Nothing is ordered, owed or held.');
});

inChromium(
  'a policy is tried and made, a tag puts the Mac under it; a second person agrees by the link of the mail, and the key is shown for five minutes',
  async () => {
    const owner = await at('owner');
    const { it, id, go, page } = owner;
    await go('/policies/new');
    await page.locator('[name="disclosure"]').check();
    await page.locator('[name="rotation"]').check();
    await page.locator('[name="everyDays"]').fill('90');
    await page.locator('[name="disclosure-breakGlass"]').check();
    await send(page, '/policies/new/preview', {
      name: 'these',
      rank: '10',
      tags: 'courses',
      'disclosure-needs': 'second-person',
      reason: 'the board wants it',
    });
    expect(await owner.words()).toContain('by age in the next 30 days');
    await axeClean(page, 'console-dry-run');
    await press(page, 'form[action="/policies/new/save"] button');
    expect(await owner.words()).toContain('second person');
    await go(`/fleet/${id}`);
    await send(page, `/fleet/${id}/tags`, { add: 'courses' });
    expect(await owner.words()).toContain('courses');

    const [desk, approver] = [await at('help-desk'), await at('approver')];
    const keyPath = `/devices/${id}/key`;
    await desk.go(`/fleet?q=${serial}`);
    await press(desk.page, '[data-row] th a');
    await press(desk.page, `a[href="${keyPath}"]`);
    await send(desk.page, `${keyPath}/ask`, { reason: 'locked out, called back' });
    expect(await desk.words()).toContain('waits');
    const [mail] = await it.store.db
      .selectFrom('mail')
      .selectAll()
      .where('kind', '=', 'disclosure-asked')
      .where('address', '=', `${approver.admin?.userName}@example.org`)
      .execute();
    const link = (JSON.parse(mail?.details ?? '{}') as { link: string }).link;
    await approver.page.goto(link);
    await axeClean(approver.page, 'console-request');
    await send(approver.page, `${new URL(link).pathname}/approve`, { words: 'called their manager' });
    expect(await approver.words()).toContain('agreed');
    await desk.page.reload();
    await press(desk.page, `a[href="${keyPath}"].button`);
    await press(desk.page, `form[action="${keyPath}"] button`);
    const key = await keyShown(desk.page);
    expect(key).toBe(it.mac.recoveryKey);
    it.turnServerClock(310);
    await passInBrowser(desk.page, 310);
    await letTimeGoOn(desk.page);
    await desk.page.waitForURL(/gone=1/);
    await expectGone(desk.page, key);
  },
);

inChromium('by break glass an admin goes first, and an approver says afterwards whether it was right', async () => {
  const [admin, approver] = [await at('admin'), await at('approver')];
  const { id } = admin;
  await policy({ disclosure: { needs: 'second-person', breakGlass: true, assisted: 'on' } });
  await admin.go(`/devices/${id}/key`);
  await admin.page.locator('summary', { hasText: 'Break glass' }).click();
  await admin.page.locator('#glass-reason').fill('nobody answers, the board meets');
  await press(admin.page, 'form:has(#glass-reason) button');
  const key = await keyShown(admin.page);
  await press(admin.page, 'form.hide button');
  await expectGone(admin.page, key);
  await approver.go('/disclosures');
  const review = approver.page.locator('form[action^="/disclosures/reviews/"]');
  await review.locator('[value="right"]').check();
  await review.locator('[name="words"]').fill('the board did meet');
  await press(approver.page, 'form[action^="/disclosures/reviews/"] button');
  expect(await approver.words()).toContain('It was right');
});

inChromium('a code of two people of the desk, read out, opens the key on the portal in another browser; the desk sees that, and not the key', async () => {
  const [desk, second, caller] = [await at('help-desk'), await at('help-desk'), await at(null)];
  const { it } = desk;
  await desk.go('/disclosures/releases');
  await send(desk.page, '/disclosures/releases', { device: serial, personName: 'Ada Lovelace', verified: 'called back on the number in the directory' });
  const code = (await desk.page.locator('.release-code code').innerText()).trim();
  // What is read out is where it is: the very address on the page.
  const [, host = ''] = /Open (\S+)\/release/.exec(await desk.words()) ?? [];
  await press(desk.page, 'main a.button');
  const releasePath = new URL(desk.page.url()).pathname;
  await second.go(releasePath);
  await send(second.page, `${releasePath}/confirm`, { words: 'heard her voice too' });
  await caller.page.goto(`https://${host}/release`);
  await caller.page.locator('#code').fill(code.toLowerCase());
  await press(caller.page, 'main form button');
  await press(caller.page, 'main form[action="/release/key"] button');
  const key = await keyShown(caller.page);
  expect(key).toBe(it.mac.recoveryKey);
  await desk.page.reload();
  expect(await desk.words()).toContain('was typed');
  await expectGone(desk.page, key);
});

inChromium('an alarm gets an owner and is muted; two records become one', async () => {
  const admin = await at('admin');
  const { it, id, page, go } = admin;
  await it.store.write(async (tx) => putAlarm(it.backend, tx, await it.backend.clock.persist(tx), id, 'KEY_REFUSED', 'said twice'));
  await go('/alarms');
  await press(page, 'main tbody th a');
  const alarm = new URL(page.url()).pathname;
  await press(page, `form[action="${alarm}/assign"] button`);
  await send(page, `${alarm}/mute`, { days: '3', reason: 'seen to on Thursday' });
  expect(await admin.words()).toMatch(/Owner\s+admin\d+/);
  await go('/alarms?view=muted');
  expect(await admin.words()).toContain('seen to on Thursday');

  // Before its logic board was replaced it had another number, and the same person.
  const old = await it.store.db.selectFrom('mac').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
  const before = '0F0E0D0C-0000-4000-8000-000000000001';
  await it.store.write((tx) =>
    tx
      .insertInto('mac')
      .values({ ...old, id: before, serial: 'C02COURSES00', hardware_uuid: before, created_at: 1, last_seen_at: 2 })
      .execute(),
  );
  for (const macId of [before, id])
    await it.store.write(async (tx) =>
      assign(tx, await it.backend.clock.persist(tx), { macId, userName: 'ada@example.org', account: null, actor: 'a test', reason: 'a test' }),
    );
  await go(`/fleet/${id}/merge?other=C02COURSES00`);
  await axeClean(page, 'console-merge');
  await page.locator('form[method="post"] [name="reason"]').fill('a new logic board');
  await press(page, `form[method="post"][action="/fleet/${id}/merge"] button`);
  expect(await admin.words()).toContain('Both records are one Mac now.');
  expect(await admin.words()).toContain('C02COURSES00');
});

inChromium('an owner gives a role, makes a token and ends it, finds all of it in the audit and takes that out', async () => {
  const owner = await at('owner');
  const { it, page, go } = owner;
  const { userName } = await it.as(null);
  await go('/people');
  await send(page, '/people/give', { name: userName, role: 'auditor', tags: 'berlin', reason: 'reads the audit of Berlin' });
  expect(await page.locator('tr', { hasText: userName }).innerText()).toContain('auditor, Macs tagged berlin');
  await axeClean(page, 'console-people');
  await page.locator('tr', { hasText: userName }).locator('a[href^="/people/roles/"]').click();
  await send(page, new URL(page.url()).pathname, { reason: 'moved to another team' });
  expect(await page.locator('tr', { hasText: userName }).count()).toBe(0);

  await go('/tokens');
  await page.locator('[name="role-viewer"]').check();
  await send(page, '/tokens/make', { name: 'reports of every morning' });
  const token = (await page.locator('pre code').innerText()).trim();
  const by = { authorization: `Bearer ${token}` };
  expect((await it.console.nobody.get('/v1/me', by)).status).toBe(200);
  await axeClean(page, 'console-token');
  await go('/tokens');
  expect(await page.content()).not.toContain(token);
  await press(page, 'form[action="/tokens/end"] button');
  expect((await it.console.nobody.get('/v1/me', by)).status).toBe(401);

  await go('/audit');
  await axeClean(page, 'console-audit');
  await page.locator('#act').fill('role.');
  await page.locator('#text').fill('moved to another team');
  await press(page, 'form[action="/audit"] button');
  expect(new URL(page.url()).searchParams.get('act')).toBe('role.');
  expect(await page.locator('tbody tr').count()).toBe(1);
  const coming = page.waitForEvent('download');
  await page.locator('form[action="/audit/export"] button').click();
  expect((await coming).suggestedFilename()).toMatch(/\.jsonl$/);
});

inChromium('self-service for many is opened by two, stands above every page meanwhile, and is ended', async () => {
  const [owner, approver] = [await at('owner'), await at('approver')];
  await owner.go('/disclosures/emergency');
  await send(owner.page, '/disclosures/emergency', { tags: 'courses', hours: '2', reason: 'the provider has lost all passwords' });
  const path = new URL(owner.page.url()).pathname;
  expect(await owner.page.locator(`form[action="${path}/agree"]`).count()).toBe(0);
  expect(await owner.page.locator('.emergency').count()).toBe(0);
  await approver.go(path);
  await send(approver.page, `${path}/agree`, { words: 'heard it by telephone' });
  for (const [who, where] of [
    [approver, path],
    [owner, '/policies'],
  ] as const) {
    if (who === owner) await who.go(where);
    expect(await who.page.locator('.emergency').innerText()).toContain('Self-service is open for many (courses)');
  }
  await axeClean(owner.page, 'console-emergency');
  await press(owner.page, '.emergency a');
  await press(owner.page, `main a[href="${path}"]`);
  await send(owner.page, `${path}/end`, { words: 'the provider is back' });
  expect(await owner.words()).toContain('ended by hand');
  expect(await owner.page.locator('.emergency').count()).toBe(0);
});

inChromium('an emergency account gets in with its passkey, and lets the command line in by its code', async () => {
  const { it, page, go, words } = await at(null);
  const accounts = createAccounts(it.backend);
  const { personId, code } = await accounts.add({ name: 'emergency-1', displayName: 'Emergency 1', emergency: true, actor: 'a test' });
  await it.console.give({ id: personId, userName: 'emergency-1' }, 'owner');
  await givePasskeys(page);
  await go('/set-up');
  await send(page, '/set-up', { name: 'emergency-1', code });
  await page.locator('form[action="/set-up/passkey/answer"] button').click();
  await page.waitForURL((url) => !url.pathname.startsWith('/set-up'));
  await press(page, 'form[action="/sign-out"] button');
  await go('/sign-in?then=%2Flogin%2Fconfirm');
  await page.locator('form[action="/sign-in/passkey/answer"] button').click();
  await page.waitForURL(/\/login\/confirm$/);
  const begun = (await it.console.nobody.post('/v1/login/begin', { machine: 'the laptop of the safe' })).body as Record<string, string>;
  await send(page, '/login/confirm', { code: begun['userCode'] ?? '' });
  expect(await words()).toContain('the laptop of the safe');
  await axeClean(page, 'console-login');
  await press(page, 'form[action="/login/confirm/decide"] button');
  const done = (await it.console.nobody.post('/v1/login/poll', { deviceCode: begun['deviceCode'] })).body;
  expect(done).toMatchObject({ state: 'done', userName: 'emergency-1' });
});
