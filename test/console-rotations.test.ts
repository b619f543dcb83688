import { beforeAll, describe, expect, test } from '@jest/globals';
import { givenConsole } from './given-console.ts';

/* Replacements of keys from the console: its API, its pages, and the real agent on a fake Mac at the other end. */

let it: Awaited<ReturnType<typeof givenConsole>>;
let serial: string;
beforeAll(async () => {
  // Its first replacement is on a build that no other Mac has tried.
  it = await givenConsole({ serial: 'C02CONSOLE01', settings: { pilot: true } });
  serial = 'C02CONSOLE01';
  // A proof would have the one grant of the day.
  await it.settle();
});

const run = () => it.backend.custody.campaigns.run();

describe('keys of many Macs', () => {
  test('are replaced from the API: the plan, the start with what was planned, the Mac, and the end', async () => {
    const rotator = await it.as('rotator', null, 'token');
    const wish = { chosen: { kind: 'macs', macs: [serial.toLowerCase()] }, perHour: 30 };
    const { body: plan } = await rotator.post('/v1/rotations/plan', wish);
    expect(plan).toMatchObject({ matching: 1, count: 1, leftOut: [], words: '1 Mac, at once, from now' });
    const begin = { ...wish, reason: 'a leaver', confirmCount: plan.count, planDigest: plan.planDigest };
    expect(await rotator.post('/v1/rotations', { ...begin, reason: ' ' })).toMatchObject({ status: 400, body: { code: 'MESSAGE_INVALID' } });
    expect(await rotator.post('/v1/rotations', { ...begin, confirmCount: 2 })).toMatchObject({ status: 409, body: { code: 'CAMPAIGN_COUNT' } });
    const started = await rotator.post('/v1/rotations', begin);
    expect(started).toMatchObject({
      status: 200,
      body: { state: 'planned', counts: { total: 1, waiting: 1 }, by: `token sparekeyctl at a-test of ${rotator.userName}` },
    });
    const at = `/v1/rotations/${started.body.id}`;

    await run();
    const old = it.mac.recoveryKey;
    expect((await rotator.get(at)).body).toMatchObject({ state: 'running', counts: { notFetched: 1 } });
    it.pass(60);
    await it.checkIn();
    expect(it.mac.recoveryKey).not.toBe(old);
    expect(await it.heldKey()).toBe(it.mac.recoveryKey);
    await run();
    expect((await rotator.get(at)).body).toMatchObject({ state: 'done', counts: { done: 1 }, reasons: [] });
    expect((await rotator.get(`${at}/devices`)).body).toMatchObject({ items: [{ serial, state: 'done' }], next: null });
    const viewer = await it.as('viewer', null, 'token');
    expect((await viewer.get('/v1/rotations')).body.items.map(({ id }: { id: string }) => id)).toContain(started.body.id);
    expect((await viewer.post(`${at}/cancel`, { reason: 'no' })).status).toBe(403);
    const elsewhere = await it.as('rotator', ['elsewhere'], 'token');
    expect((await elsewhere.get(at)).status).toBe(404);
    expect((await elsewhere.get('/v1/rotations')).body.items).toEqual([]);
    expect((await elsewhere.post('/v1/rotations/plan', wish)).status).toBe(404);
  });

  test('are replaced from the pages: the form, what would happen, the button that names it, and how far it is', async () => {
    const { browser } = await it.as('rotator');
    const list = await browser.get('/rotations');
    expect(list.words).toContain('Replacements of many keys');
    const form = await browser.get(`/rotations/new?custody=held&macos=${'26'}`);
    expect(form.words).toContain('Macs with custody held, macOS 26');
    const fields = {
      macs: '',
      reason: 'yearly <drill>',
      from: '',
      zone: 'Europe/Amsterdam',
      'quiet-1-from': '02:00',
      'quiet-1-to': '02:05',
      'quiet-1-sun': '1',
    };
    const wrong = await browser.submit(form, '/rotations/plan', { ...fields, zone: 'Europe/Atlantis' });
    expect([wrong.status, wrong.words]).toEqual([400, expect.stringContaining('a time zone of the IANA list')]);
    const preview = await browser.submit(wrong, '/rotations/plan', fields);
    expect(preview.words).toContain('Replace the key of 1 Mac?');
    expect(preview.words).toContain('1 Mac, at once, from now. You can stop it at any time.');
    const again = await browser.submit(preview, '/rotations/edit');
    expect(again.forms[1]?.fields ?? again.forms.find(({ action }) => action === '/rotations/plan')?.fields).toMatchObject({
      reason: 'yearly <drill>',
      'quiet-1-from': '02:00',
    });
    const page = await browser.submit(preview, '/rotations/start');
    // Pressed twice it is one.
    const twice = await browser.submit(preview, '/rotations/start');
    expect([twice.path, (await it.backend.custody.campaigns.list(null, { before: null, limit: 50 })).items.length]).toEqual(['/rotations', 2]);
    expect(page.words).toContain('yearly <drill>');
    expect(page.text).not.toContain('<drill>');
    expect(page.words).toMatch(/1 Mac How far Macs Meaning Waiting 1 for their wave/);
    expect(page.headers['refresh']).toMatch(/^15; url=\/rotations\//);
    // For an hour, so that a page that was forgotten ends with its sign-in.
    expect((await browser.get(`${page.path}?looked=239`)).headers['refresh']).toMatch(/looked=240$/);
    const hourLater = await browser.get(`${page.path}?looked=240`);
    expect([hourLater.headers['refresh'], hourLater.words.includes('Look again')]).toEqual([undefined, true]);
    const change = await browser.get(`${page.path}?change=1`);
    // Whoever types a reason would lose it.
    expect(change.headers['refresh']).toBeUndefined();
    const paused = await browser.submit(change, `${page.path}/pause`, { reason: 'lunch' });
    expect(paused.words).toContain('It stands still since');
    const on = await browser.submit(await browser.get(`${page.path}?change=1`), `${page.path}/resume`, { reason: 'after lunch' });
    await run();
    const ending = await browser.get(`${page.path}/cancel`);
    expect(ending.words).toContain('End it for 1 Mac');
    const ended = await browser.submit(ending, `${page.path}/cancel`, { reason: 'that was the drill' });
    expect(ended.words).toMatch(/ended it .*: that was the drill/);
    expect(ended.words).toContain('1 Mac left out: their order was taken back');
    expect(on.status).toBe(200);
    const left = await browser.get(`${page.path}?state=left`);
    expect(left.words).toContain(serial);
  });

  test('come to whoever may order them: a viewer finds neither the form nor the buttons', async () => {
    const { browser } = await it.as('viewer');
    const list = await browser.get('/rotations');
    expect(list.words).not.toContain('Replace keys of many Macs');
    expect((await browser.get('/rotations/new')).status).toBe(403);
    const [first] = (await it.backend.custody.campaigns.list(null, { before: null, limit: 1 })).items;
    const page = await browser.get(`/rotations/${first?.id}`);
    expect([page.status, page.forms.some(({ action }) => action.startsWith('/rotations/'))]).toEqual([200, false]);
  });
});

test('a campaign stands still when the role of whoever started it was taken, and goes on with whoever may', async () => {
  const [leaver, admin] = [await it.as('admin', null, 'token'), await it.as('admin', null, 'token')];
  const wish = {
    chosen: { kind: 'macs', macs: [serial] },
    from: new Date(it.backend.clock.now() + 60_000).toISOString(),
    overrideHold: true,
    serials: [serial],
  };
  const { body } = await leaver.post('/v1/rotations', { ...wish, reason: 'by a leaver', confirmCount: 1 });
  const role = { ended_at: it.backend.clock.now(), ended_by: 'a test', ended_because: 'has left' };
  await it.store.write(async (tx) => void (await tx.updateTable('role_given').set(role).where('subject', '=', leaver.personId).execute()));
  // What is left to them is less than the campaign needs: it is to override holds.
  await it.console.give({ id: leaver.personId, userName: leaver.userName }, 'rotator');
  it.pass(120);
  await run();
  const at = `/v1/rotations/${body.id}`;
  expect((await admin.get(at)).body).toMatchObject({ state: 'paused', stateBy: 'server', counts: { waiting: 1 } });
  const rotator = await it.as('rotator', null, 'token');
  expect((await rotator.post(`${at}/resume`, { reason: 'I do it' })).status).toBe(403);
  expect((await admin.post(`${at}/resume`, { reason: 'I do it' })).body).toMatchObject({ state: 'running' });
  await run();
  expect((await admin.get(at)).body).toMatchObject({ counts: { notFetched: 1 } });
  expect((await admin.post(`${at}/cancel`, { reason: 'enough' })).body).toMatchObject({ state: 'cancelled', counts: { left: 1 } });
});

describe('the key of one Mac', () => {
  test('is ordered to be replaced once; the second time it says whose order waits, and it can be taken back', async () => {
    const [one, two] = [await it.as('rotator', null, 'token'), await it.as('rotator', null, 'token')];
    const path = `/v1/devices/${serial}/rotation`;
    const { body: first } = await one.post(path, { reason: 'a leaver' });
    expect(first).toMatchObject({ serial, waited: false, says: `${serial} replaces its key when it is next online` });
    const { body: second } = await two.post(path, { reason: 'a leaver too' });
    expect(second).toMatchObject({ orderId: first.orderId, waited: true });
    expect(second.says).toContain(one.userName);
    expect((await two.post(path, { reason: 'now', overrideHold: true, serial })).status).toBe(403);
    const back = await two.post(`${path}/withdraw`, { orderId: first.orderId, reason: 'the wrong Mac' });
    expect(back).toMatchObject({ status: 200, body: { says: `the order for ${serial} is taken back` } });
    expect((await it.custody.macReport(await it.macId())).orders.find(({ id }) => id === first.orderId)?.state).toBe('withdrawn');
    const elsewhere = await it.as('rotator', ['elsewhere'], 'token');
    const acts = { rotation: {}, proofs: {}, 'rotation/withdraw': { orderId: first.orderId } };
    for (const [act, input] of Object.entries(acts)) {
      const { status, body } = await elsewhere.post(`/v1/devices/${serial}/${act}`, { reason: 'x', ...input });
      expect([act, status, body.code]).toEqual([act, 404, 'MAC_UNKNOWN']);
    }
    const otherAdmin = await it.as('admin', ['elsewhere'], 'token');
    expect((await otherAdmin.post(`/v1/devices/${serial}/hold/end`, { because: 'back-in', reason: 'x', serial })).body.code).toBe('MAC_UNKNOWN');
  });

  test('is proved when somebody wants to know', async () => {
    const rotator = await it.as('rotator', null, 'token');
    const { status, body } = await rotator.post(`/v1/devices/${serial}/proofs`, { reason: 'an auditor asks' });
    expect([status, body.serial, body.orders.length]).toEqual([200, serial, 1]);
  });

  test('is replaced while somebody may be typing it only by whoever may, and types its serial number', async () => {
    const admin = await it.as('admin', null, 'token');
    const path = `/v1/devices/${serial}/rotation`;
    await it.disclose();
    const order = { reason: 'stolen', overrideHold: true };
    expect((await admin.post(path, order)).body.code).toBe('SERIALS_NOT_NAMED');
    expect((await admin.post(path, { ...order, serial: 'C02OTHER' })).body.code).toBe('SERIALS_NOT_NAMED');
    expect((await it.custodyOf()).hold).not.toBeNull();
    expect((await admin.post(path, { ...order, serial })).status).toBe(200);
    expect((await it.custodyOf()).hold).toBeNull();
  });

  test('is let go in the words of its person, back in or never asked for, by whoever may override a hold and types its serial number', async () => {
    const admin = await it.as('admin', null, 'token');
    const path = `/v1/devices/${serial}/hold/end`;
    await it.disclose();
    const other = await it.as('rotator', null, 'token');
    for (const because of ['back-in', 'not-me']) expect((await other.post(path, { because, reason: 'now', serial })).status).toBe(403);
    for (const wrong of [{}, { serial: 'C02OTHER' }])
      expect((await admin.post(path, { because: 'not-me', reason: 'now', ...wrong })).body.code).toMatch(/^(MESSAGE_INVALID|SERIALS_NOT_NAMED)$/);
    expect((await it.custodyOf()).hold).not.toBeNull();
    expect((await admin.post(path, { because: 'back-in', reason: 'by telephone', serial })).body).toMatchObject({ ended: true });
    expect((await admin.post(path, { because: 'back-in', reason: 'by telephone', serial })).body).toMatchObject({ ended: false });
    await it.disclose();
    expect((await admin.post(path, { because: 'not-me', reason: 'by telephone', serial })).body).toMatchObject({
      ended: true,
      says: `the key of ${serial} is replaced at its next check-in`,
    });
    expect((await it.custody.macReport(await it.macId())).openAlarms.map(({ code }) => code)).toContain('NOT_ME');
  });
});

describe('policies', () => {
  test('are made, tried, changed and ended from the pages, and each change says what it would do first', async () => {
    const { browser } = await it.as('admin');
    const form = await browser.get('/policies/new');
    const fields = { name: 'Yearly', rank: '20', rotation: '1', everyDays: '365', afterDisclosureMinutes: '60', reason: 'the auditors' };
    const wrong = await browser.submit(form, '/policies/new/preview', { ...fields, everyDays: '3' });
    expect([wrong.status, wrong.forms.find(({ action }) => action === '/policies/new/preview')?.fields['name']]).toEqual([400, 'Yearly']);
    const preview = await browser.submit(form, '/policies/new/preview', fields);
    expect(preview.words).toContain('no Mac of the 1 that it is for would have its key replaced by age in the next 30 days');
    const list = await browser.submit(preview, '/policies/new/save');
    expect(list.words).toContain('keys replaced within 365 days; not before 60 minutes after a key was shown');
    const [made] = await it.backend.custody.policies.list(null);
    const at = `/policies/${made?.id}`;
    const edit = await browser.get(at);
    expect(edit.forms.find(({ action }) => action === `${at}/preview`)?.fields).toMatchObject({ everyDays: '365', version: '1', 'disclosure-needs': 'reason' });
    const second = await browser.submit(
      await browser.submit(edit, `${at}/preview`, { ...fields, disclosure: '1', 'disclosure-needs': 'second-person' }),
      `${at}/save`,
    );
    expect(second.words).toContain('to be shown a key: second person');
    const late = await browser.submit(await browser.submit(edit, `${at}/preview`, fields), `${at}/save`);
    expect([late.status, late.words]).toEqual([409, expect.stringContaining('Somebody has changed this policy since it was read')]);
    const history = await browser.get('/policies/history');
    expect(history.words).toMatch(/Yearly , version 2.*Yearly , version 1/);
    const ending = await browser.submit(await browser.get(`${at}/end`), `${at}/end`, { reason: 'over' });
    expect(ending.words).toMatch(/It waits for a second person below; nothing has changed.*Yearly ?: would end/);
    const another = await it.as('approver');
    const [{ id: proposalId }] = (await another.get('/v1/policies/proposals?open=true')).body.items;
    expect((await another.post(`/v1/policies/proposals/${proposalId}/agree`, { words: 'so it is' })).body.state).toBe('agreed');
    expect(await it.backend.custody.policies.list(null)).toEqual([]);
  });

  test('are read by all admins, and edited by those who may, for their own Macs', async () => {
    const viewer = await it.as('viewer', null, 'token');
    const office = await it.as('admin', ['office'], 'token');
    const policy = { name: 'Office', rank: 7, tags: ['office'], rules: { rotation: { everyDays: 100 } }, reason: 'x' };
    expect((await viewer.put('/v1/policies/new', policy)).status).toBe(403);
    expect((await office.put('/v1/policies/new', { ...policy, tags: null })).status).toBe(403);
    const made = await office.put('/v1/policies/new', policy);
    expect(made).toMatchObject({ status: 200, body: { version: 1, tags: ['office'], rules: { rotation: { everyDays: 100, perHour: 60 } } } });
    expect((await viewer.get('/v1/policies')).body).toMatchObject({
      items: [{ id: made.body.id }],
      builtIn: { rotation: { everyDays: null }, disclosure: { needs: 'reason' } },
    });
    const history = await viewer.get(`/v1/policies/history?policyId=${made.body.id}`);
    expect(history.body.items).toMatchObject([{ policyId: made.body.id, version: 1, actor: `token sparekeyctl at a-test of ${office.userName}` }]);
    const run = await viewer.post('/v1/policies/dry-run', { rank: 8, tags: null, rules: { rotation: { everyDays: 30 } } });
    expect(run.body).toMatchObject({ covered: 1 });
    expect((await office.post(`/v1/policies/${made.body.id}/end`, { reason: 'over' })).body).toEqual({ id: made.body.id, ended: true, proposal: null });
  });
});
