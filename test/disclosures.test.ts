import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { watchApprovals } from '../console/watch.ts';
import { adminOfPerson } from '../server/admins/admin.ts';
import { makeLoginToken } from '../server/admins/tokens.ts';
import { discloseToAdmin } from '../server/approvals/disclose.ts';
import { voteOn } from '../server/approvals/requests.ts';
import { openBackend } from '../server/backend.ts';
import { silentLog } from '../server/log.ts';
import { filesOf, type GuardedMac, guardedMac } from './disclosure-parts.ts';
import type { AdminGiven } from './given-console.ts';
import { passphrase } from './made-backend.ts';

const second = { needs: 'second-person' } as const;

/** Seen refused: with this code, without a key in the reply, and nothing of a disclosure is stored. */
async function refused(it: GuardedMac, who: AdminGiven, code: string, more: object = {}): Promise<string> {
  const before = (await it.disclosures()).length;
  const said = await it.key(who, more);
  expect([said.body.code, said.body.recoveryKey]).toEqual([code, undefined]);
  expect(said.text).not.toContain(it.mac.recoveryKey);
  expect(await it.disclosures()).toHaveLength(before);
  return said.body.detail ?? '';
}

test('an admin is shown the key of a Mac of theirs for a reason; it is in the audit and owed a replacement, and its person hears of it', async () => {
  const it = await guardedMac();
  const owner = await it.portal.person();
  await it.assign(owner);
  const desk = await it.here('help-desk');
  expect(await refused(it, desk, 'MESSAGE_INVALID', { reason: '' })).toContain('reason');
  await refused(it, desk, 'REASON_MISSING', { reason: 'help' });
  const shown = await it.key(desk, { ticket: 'INC-7' });
  expect(shown.body).toMatchObject({ recoveryKey: it.mac.recoveryKey, custody: 'held', others: 0, replacedAt: null, reviewBy: null });
  expect(Date.parse(shown.body.hideAt) - Date.parse(shown.body.shownAt)).toBe(5 * 60_000);
  expect(shown.headers['cache-control']).toBe('no-store');
  expect(await it.acts('key.disclosed')).toMatchObject([{ actor: desk.userName, reason: 'the person is locked out (INC-7)' }]);
  expect(await it.acts('debt.opened')).toMatchObject([{ because: 'disclosed' }]);
  expect((await it.mails()).map(({ kind, address }) => [kind, address])).toEqual([['key-shown-desk', `${owner.userName}@example.org`]]);
  const looked = await owner.client.get(`/macs/${it.id}/looked`);
  expect(looked.content).toContain(`${desk.userName} . Why: the person is locked out (INC-7)`);
});

test('who may not: another scope, no such permission, nobody at all, a sign-in of before; and a Mac outside is no Mac', async () => {
  const it = await guardedMac();
  await refused(it, await it.as('help-desk', ['another tag']), 'MAC_UNKNOWN');
  for (const role of ['viewer', 'rotator', 'approver', 'auditor'] as const) await refused(it, await it.here(role), 'NOT_ALLOWED');
  await refused(it, await it.as(null), 'NOT_ALLOWED');
  const stale = await it.here('help-desk');
  await it.minutes(16);
  await refused(it, stale, 'SIGNED_OUT');
  expect(await it.acts('key.disclosed')).toEqual([]);
});

test('where others have to agree, nothing is shown before; then for some minutes, and as often as the policy says', async () => {
  const it = await guardedMac({ ...second, quorum: 2, grantMinutes: 10, views: 'within-time' });
  const desk = await it.here('help-desk', 'token');
  const [one, two] = [await it.here('approver'), await it.here('approver', 'token')];
  await refused(it, desk, 'APPROVAL_NEEDED');
  const asked = await it.ask(desk, { ticket: 'INC-9' });
  expect(asked.body).toMatchObject({ state: 'waiting', isMine: true, mayDecide: false, quorum: 2, votes: [] });
  const requestId: string = asked.body.id;
  expect((await it.ask(desk)).body.id).toBe(requestId);
  await refused(it, desk, 'APPROVAL_NEEDED', { requestId });
  const seen = await one.get(`/v1/disclosure-requests/${requestId}`);
  expect(seen.body.request).toMatchObject({ mayDecide: true, reason: 'the person is locked out', ticket: 'INC-9' });
  expect(seen.body.evidence).toMatchObject({ custody: 'held', keys: [{ state: 'held', refusals: 0 }], disclosures: [] });
  expect(seen.text).not.toContain(it.mac.recoveryKey);
  expect((await it.vote(one, requestId)).body.state).toBe('waiting');
  it.pass(1);
  expect(await refused(it, desk, 'APPROVAL_NEEDED', { requestId })).toContain('not enough people');
  expect((await it.vote(one, requestId)).body.code).toBe('REQUEST_ENDED');
  expect((await it.vote(two, requestId)).body).toMatchObject({ state: 'approved', votes: [{ way: 'console' }, { way: 'token' }] });
  const first = await it.key(desk, { requestId });
  expect(first.body.recoveryKey).toBe(it.mac.recoveryKey);
  expect((await it.key(desk, { requestId })).body.recoveryKey).toBe(it.mac.recoveryKey);
  expect(await it.acts('disclosure.used')).toMatchObject([{ requestId, disclosureId: first.body.disclosureId }, { requestId }]);
  await it.minutes(10);
  await refused(it, desk, 'REQUEST_ENDED', { requestId });
  expect((await it.acts('disclosure.agreed')).map(({ actor }) => actor)).toEqual([one.userName, expect.stringContaining(two.userName)]);
});

test('a policy may have an agreement used once: for one key, and for the next one where the Mac refused it', async () => {
  const it = await guardedMac({ ...second, views: 'once' });
  const [desk, approver] = [await it.here('help-desk'), await it.here('approver')];
  const { id: requestId } = (await it.ask(desk)).body;
  await it.vote(approver, requestId);
  const shown = await it.key(desk, { requestId });
  expect(shown.status).toBe(200);
  await refused(it, desk, 'REQUEST_ENDED', { requestId });
  await refused(it, desk, 'KEY_UNKNOWN', { requestId, refused: [shown.body.recordId] });
  // There is no next one; that the Mac refused this one is noted all the same, once.
  await refused(it, desk, 'KEY_UNKNOWN', { requestId, refused: [shown.body.recordId] });
  expect(await it.acts('key.refused')).toMatchObject([{ actor: desk.userName, recordId: shown.body.recordId, times: 1 }]);
});

test('nobody agrees to their own request: not as themselves, not by a token, not by another account of theirs', async () => {
  const it = await guardedMac(second);
  const boss = await it.here('owner', 'session', null);
  const { id: requestId } = (await it.ask(boss)).body;
  expect((await it.vote(boss, requestId)).body.code).toBe('OWN_REQUEST');
  const { store, clock } = it.backend;
  const { token } = await store.write(async (tx) => {
    const at = await clock.persist(tx);
    return makeLoginToken(tx, at, { person: { id: boss.personId, userName: boss.userName }, machine: 'another', freshAt: at, network: 'a test' });
  });
  const asToken = await boss.ask(`/v1/disclosure-requests/${requestId}/approve`, {
    method: 'POST',
    body: { words: 'it is me' },
    headers: { authorization: `Bearer ${token}`, cookie: undefined },
  });
  expect(asToken.body.code).toBe('OWN_REQUEST');
  const twin = await it.portal.account(`${boss.userName}@example.org`, { withoutPassword: true });
  await it.console.give({ id: twin, userName: `${boss.userName}@example.org` }, 'approver', [it.tag]);
  const { browser, sessionId } = await it.console.startSessionOf(twin);
  expect(sessionId).not.toBe('');
  const page = await browser.get(`/disclosures/${requestId}`);
  expect(page.text).not.toContain(`/disclosures/${requestId}/approve`);
  const admin = await adminOfPerson(it.backend, { id: twin, userName: `${boss.userName}@example.org`, groups: [] }, true);
  if (!admin) throw new Error('no admin');
  await expect(
    store.write(async (tx) => voteOn(tx, await clock.persist(tx), admin, { requestId, vote: 'yes', words: 'it is me', way: 'console' })),
  ).rejects.toMatchObject({ code: 'OWN_REQUEST' });
  await refused(it, boss, 'APPROVAL_NEEDED', { requestId });
  expect(await it.acts('disclosure.agreed')).toEqual([]);
});

test('what a person asked is for them alone: not for a colleague, not for another Mac, not for a key of the history', async () => {
  const it = await guardedMac(second);
  const other = await guardedMac(second);
  const [desk, colleague, approver] = [await it.as('admin', [it.tag, other.tag]), await it.here('help-desk'), await it.here('approver')];
  const { id: requestId } = (await it.ask(desk)).body;
  await it.vote(approver, requestId);
  await refused(it, colleague, 'APPROVAL_NEEDED', { requestId });
  await refused(other, desk, 'APPROVAL_NEEDED', { requestId });
  const [held] = (await desk.get(`/v1/devices/${it.id}/key-evidence`)).body.keys;
  await it.setPolicy({ ...second, historyNeeds: 'second-person' });
  await refused(it, desk, 'APPROVAL_NEEDED', { requestId, history: true, recordId: held.recordId });
  expect((await colleague.get(`/v1/disclosure-requests/${requestId}`)).body.code).toBe('NOT_FOUND');
  expect((await colleague.post(`/v1/disclosure-requests/${requestId}/withdraw`)).body.code).toBe('NOT_FOUND');
});

test('what changed since then counts: roles taken, people disabled, tags gone, a stricter policy, a request taken back', async () => {
  const changes: Record<string, (it: GuardedMac, who: { desk: AdminGiven; approver: AdminGiven; requestId: string }) => Promise<unknown>> = {
    NOT_ALLOWED: (it, { desk }) => it.takeRoles(desk),
    'SIGNED_OUT or NOT_ALLOWED': (it, { desk }) => it.disable(desk),
    'APPROVAL_NEEDED approver without a role': (it, { approver }) => it.takeRoles(approver),
    'APPROVAL_NEEDED approver disabled': (it, { approver }) => it.disable(approver),
    'APPROVAL_NEEDED two now': (it) => it.setPolicy({ ...second, quorum: 2 }),
    REQUEST_ENDED: (_, { desk, requestId }) => desk.post(`/v1/disclosure-requests/${requestId}/withdraw`),
  };
  for (const [what, change] of Object.entries(changes)) {
    const it = await guardedMac(second);
    const [desk, approver] = [await it.here('help-desk'), await it.here('approver')];
    const { id: requestId } = (await it.ask(desk)).body;
    await it.vote(approver, requestId);
    await change(it, { desk, approver, requestId });
    const said = await it.key(desk, { requestId });
    expect([what, said.body.recoveryKey, what.includes(said.body.code)]).toEqual([what, undefined, true]);
    expect(await it.disclosures()).toEqual([]);
  }
});

test('a request ends by itself, by a no, and by whoever asked; nobody votes on it then', async () => {
  const it = await guardedMac({ ...second, requestHours: 1 });
  const [desk, approver] = [await it.here('help-desk', 'token'), await it.here('approver')];
  const ended: Record<string, (id: string) => Promise<unknown>> = {
    declined: (id) => it.vote(approver, id, 'decline', 'call them back first'),
    withdrawn: (id) => desk.post(`/v1/disclosure-requests/${id}/withdraw`),
  };
  for (const [state, end] of Object.entries(ended)) {
    const { id } = (await it.ask(desk)).body;
    await end(id);
    it.pass(1);
    expect((await it.vote(approver, id)).body.code).toBe('REQUEST_ENDED');
    await refused(it, desk, 'REQUEST_ENDED', { requestId: id });
    expect((await desk.get(`/v1/disclosure-requests/${id}`)).body.request.state).toBe(state);
  }
  const { id } = (await it.ask(desk)).body;
  await it.minutes(60);
  expect((await desk.get(`/v1/disclosure-requests/${id}`)).body.request.state).toBe('expired');
  await it.freshen(desk);
  await refused(it, desk, 'REQUEST_ENDED', { requestId: id });
  const open = await desk.get('/v1/disclosure-requests?open=true');
  expect(open.body).toEqual({ items: [], next: null });
  const all = await desk.get('/v1/disclosure-requests?limit=2');
  expect(all.body.items.map(({ state }: { state: string }) => state)).toEqual(['expired', 'withdrawn']);
  const rest = await desk.get(`/v1/disclosure-requests?limit=2&cursor=${all.body.next}`);
  expect([rest.body.items.length, rest.body.items[0].votes[0].words]).toEqual([1, 'call them back first']);
  // Whoever sees the Mac no more learns nothing new of it from what they asked before.
  await it.takeRoles(desk);
  await it.console.give({ id: desk.personId, userName: desk.userName }, 'help-desk', ['elsewhere']);
  expect((await desk.get(`/v1/disclosure-requests/${id}`)).body).toMatchObject({ code: 'NOT_FOUND' });
  expect((await desk.get('/v1/disclosure-requests')).body.items).toEqual([]);
  // However many there are elsewhere: no cursor names one, and no page that goes on tells that they are there.
  const row = await it.store.db.selectFrom('disclosure_request').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
  const many = Array.from({ length: 2100 }, (_, at) => ({ ...row, id: `${row.id}-${at}`, created_at: row.created_at + at }));
  await it.store.write(async (tx) => {
    for (let at = 0; at < many.length; at += 700)
      await tx
        .insertInto('disclosure_request')
        .values(many.slice(at, at + 700))
        .execute();
  });
  expect((await desk.get('/v1/disclosure-requests')).body).toEqual({ items: [], next: null });
  await it.store.write((tx) => tx.deleteFrom('disclosure_request').where('id', 'like', `${row.id}-%`).execute());
});

test('a program is shown nothing unless a policy says so, agrees to nothing, and no reply holds two keys', async () => {
  const it = await guardedMac();
  const desk = await it.here('help-desk');
  const parts = { store: it.backend.store, clock: it.backend.clock, custody: it.backend.custody, log: silentLog };
  const person = await adminOfPerson(it.backend, { id: desk.personId, userName: desk.userName, groups: [] }, true);
  if (!person) throw new Error('no admin');
  const wanted = {
    macId: it.id,
    reason: 'a nightly check',
    ticket: null,
    volume: null,
    recordId: null,
    history: false,
    requestId: null,
    breakGlass: false,
    refused: [],
  };
  const program = { ...person, service: true };
  await expect(discloseToAdmin(parts, program, wanted)).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
  expect(await it.disclosures()).toEqual([]);
  await it.setPolicy({ service: 'allowed' });
  expect((await discloseToAdmin(parts, program, wanted)).key.reveal()).toBe(it.mac.recoveryKey);
  const document = (await desk.get('/v1/openapi.json')).body;
  const holding = Object.entries<Record<string, unknown>>(document.paths).filter(([, path]) => JSON.stringify(path).includes('"recoveryKey"'));
  expect(holding.map(([path]) => path)).toEqual(['/v1/devices/{id}/key', '/v1/devices/{id}/brought-key']);
  await refused(it, desk, 'MESSAGE_INVALID', { ids: [it.id, it.id] });
});

test('a repeat with the same Idempotency-Key shows nothing again, and the key is in no file of the backend', async () => {
  const it = await guardedMac();
  const desk = await it.here('help-desk', 'token');
  const ask = () => desk.post(it.keyPath, { reason: 'the person is locked out' }, { 'idempotency-key': 'once-and-never-again' });
  expect((await ask()).body.recoveryKey).toBe(it.mac.recoveryKey);
  const again = await ask();
  expect([again.body.code, again.text.includes(String(it.mac.recoveryKey))]).toEqual(['ALREADY_SHOWN', false]);
  expect(await it.disclosures()).toHaveLength(1);
  for (const path of filesOf(it.dir)) expect([path, readFileSync(path).includes(String(it.mac.recoveryKey))]).toEqual([path, false]);
});

test('beyond the limit of an hour an admin is shown no more, and there is an alarm', async () => {
  const it = await guardedMac({ viewsPerHour: 2 });
  const desk = await it.here('help-desk', 'token');
  for (const _ of [1, 2]) expect((await it.key(desk)).status).toBe(200);
  await refused(it, desk, 'VIEWS_LIMIT');
  expect(await it.alarms()).toEqual(['VIEWS_UNUSUAL']);
  await it.minutes(61);
  await it.freshen(desk);
  expect((await it.key(desk)).status).toBe(200);
});

test('break glass: an admin goes first where the policy lets them, and somebody else looks at it in time, or there is an alarm', async () => {
  const it = await guardedMac({ ...second, reviewHours: 2 });
  const [desk, approver] = [await it.here('help-desk', 'token'), await it.here('approver', 'token')];
  await refused(it, desk, 'APPROVAL_NEEDED', { breakGlass: true });
  await it.setPolicy({ ...second, breakGlass: true, reviewHours: 2 });
  const shown = await it.key(desk, { breakGlass: true });
  expect(shown.body).toMatchObject({ recoveryKey: it.mac.recoveryKey, reviewBy: expect.any(String) });
  expect(await it.acts('key.disclosed')).toMatchObject([{ reason: 'break glass: the person is locked out' }]);
  const { disclosureId } = shown.body;
  const boss = await it.here('owner', 'token', null);
  const decide = (who: AdminGiven) => who.post(`/v1/disclosure-reviews/${disclosureId}/decide`, { state: 'right', words: 'the minister stood beside them' });
  expect((await decide(desk)).body.code).toBe('NOT_ALLOWED');
  await it.minutes(121);
  await watchApprovals({ backend: it.backend, log: silentLog });
  await watchApprovals({ backend: it.backend, log: silentLog });
  expect(await it.alarms()).toEqual(['REVIEW_OVERDUE']);
  const due = (await approver.get('/v1/disclosure-reviews?open=true')).body.items.filter((one: { disclosureId: string }) => one.disclosureId === disclosureId);
  expect(due).toMatchObject([{ isOverdue: true, isMine: false, by: expect.stringContaining(desk.userName) }]);
  expect((await decide(approver)).body.state).toBe('right');
  expect((await decide(boss)).body.code).toBe('REQUEST_ENDED');
  expect(await it.alarms()).toEqual([]);
  await it.freshen(boss);
  const own = await it.key(boss, { breakGlass: true });
  const judged = await boss.post(`/v1/disclosure-reviews/${own.body.disclosureId}/decide`, { state: 'right', words: 'it was me' });
  expect(judged.body.code).toBe('OWN_REQUEST');
});

test('who was declined and breaks the glass all the same: whoever looks at it afterwards reads that somebody had said no', async () => {
  const it = await guardedMac({ ...second, breakGlass: true });
  const [desk, approver] = [await it.here('help-desk', 'token'), await it.here('approver', 'token')];
  const { id } = (await it.ask(desk)).body;
  expect((await it.vote(approver, id, 'decline')).body.state).toBe('declined');
  const shown = await it.key(desk, { breakGlass: true });
  const reviews = (await approver.get('/v1/disclosure-reviews?open=true')).body.items;
  expect(reviews.find((one: { disclosureId: string }) => one.disclosureId === shown.body.disclosureId).reason).toBe(
    'break glass, after others declined it: the person is locked out',
  );
  expect(await it.acts('disclosure.glass')).toMatchObject([{ declined: true }]);
});

test('codes of the desk count as keys that one admin shows in an hour: beyond the limit no code, no key, and there is an alarm', async () => {
  const it = await guardedMac({ viewsPerHour: 2 });
  const desk = await it.here('help-desk', 'token');
  const make = () => desk.post(`/v1/devices/${it.id}/releases`, { personName: 'J. Doe', verified: 'ten signs and more' });
  expect([(await make()).status, (await make()).status]).toEqual([200, 200]);
  expect((await make()).body.code).toBe('VIEWS_LIMIT');
  expect(await it.alarms()).toEqual(['VIEWS_UNUSUAL']);
  await refused(it, desk, 'VIEWS_LIMIT');
  await it.minutes(61);
  await it.freshen(desk);
  expect((await make()).status).toBe(200);
});

test('a key that was replaced is shown with a permission of its own, and says when it was replaced', async () => {
  const it = await guardedMac();
  const old = it.mac.recoveryKey;
  await it.order();
  await it.settle();
  await it.checkIn();
  const [desk, admin] = [await it.here('help-desk', 'token'), await it.here('admin', 'token')];
  const { keys } = (await admin.get(`/v1/devices/${it.id}/key-evidence`)).body;
  const recordId = keys.find((key: { state: string }) => key.state === 'superseded').recordId;
  await refused(it, desk, 'NOT_ALLOWED', { history: true, recordId });
  await refused(it, admin, 'KEY_UNKNOWN', { recordId });
  await refused(it, admin, 'MESSAGE_INVALID', { history: true });
  await it.setPolicy(second);
  await refused(it, admin, 'APPROVAL_NEEDED', { history: true, recordId });
  await it.setPolicy({});
  const shown = await it.key(admin, { history: true, recordId });
  expect(shown.body).toMatchObject({ recoveryKey: old, replacedAt: expect.stringMatching(/^20/) });
  expect(it.mac.recoveryKey).not.toBe(old);
});

test('races: of two uses of one agreement one is shown, and of a vote and a withdrawal at once one counts, also over two backends', async () => {
  const it = await guardedMac({ ...second, views: 'once' });
  const [desk, approver] = [await it.here('help-desk', 'token'), await it.here('approver', 'token')];
  const { id: requestId } = (await it.ask(desk)).body;
  await it.vote(approver, requestId);
  const codes = (await Promise.all([1, 2, 3].map(() => it.key(desk, { requestId })))).map(({ status, body }) => body.code ?? status).toSorted();
  expect(codes).toEqual([200, 'REQUEST_ENDED', 'REQUEST_ENDED']);
  expect(await it.disclosures()).toHaveLength(1);

  const { id: another } = (await it.ask(desk, { recordId: (await it.disclosures())[0]?.record_id })).body;
  await Promise.all([it.vote(approver, another), desk.post(`/v1/disclosure-requests/${another}/withdraw`)]);
  expect((await desk.get(`/v1/disclosure-requests/${another}`)).body.request.state).toBe('withdrawn');
  await refused(it, desk, 'REQUEST_ENDED', { requestId: another });

  const { id: third } = (await it.ask(desk)).body;
  await it.vote(approver, third);
  const beside = await openBackend({ dir: it.backend.paths.dir, passphrase, wallNow: it.backend.clock.now });
  try {
    const person = await adminOfPerson(beside, { id: desk.personId, userName: desk.userName, groups: [] }, true);
    if (!person) throw new Error('no admin');
    const wanted = {
      macId: it.id,
      reason: 'the same at once',
      ticket: null,
      volume: null,
      recordId: null,
      history: false,
      requestId: third,
      breakGlass: false,
      refused: [],
    };
    const both = await Promise.allSettled([
      discloseToAdmin(beside, person, wanted),
      discloseToAdmin(beside, person, wanted),
      it.key(desk, { requestId: third }).then(({ status }) => (status === 200 ? 'shown' : Promise.reject(new Error(String(status))))),
    ]);
    expect(both.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  } finally {
    await beside.close();
  }
});
