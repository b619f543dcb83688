import { beforeAll, expect, test } from '@jest/globals';
import { raise } from '../server/alarms.ts';
import type { DisclosurePolicy } from '../server/approvals/disclosure-policy.ts';
import { silentLog } from '../server/log.ts';
import { type GuardedMac, guardedMac } from './disclosure-parts.ts';
import type { AdminGiven } from './given-console.ts';
import { keyOn } from './key-pages.ts';

// Ways round what a policy says of disclosing, each of which went once.

let it: GuardedMac;
let old: string;
beforeAll(async () => {
  it = await guardedMac();
  old = it.mac.recoveryKey ?? '';
  await it.order();
  await it.settle();
  await it.checkIn();
});

const evidenceKeys = async (who: AdminGiven): Promise<{ recordId: string; state: string; volume: string }[]> =>
  (await who.get(`/v1/devices/${it.id}/key-evidence`)).body.keys;

/** Seen refused with this code, and nothing that anybody is shown is in the answer. */
async function refused(said: Promise<AdminGiven extends { post(...args: never[]): Promise<infer A> } ? A : never>, code: string): Promise<void> {
  const { body, text } = await said;
  expect([body.code, body.recoveryKey, body.code === undefined ? text : '']).toEqual([code, undefined, '']);
  for (const key of [old, String(it.mac.recoveryKey)]) expect(text).not.toContain(key);
}

test('a key that nobody was shown cannot have been refused: whoever names all of them is shown the same key, and none of the history', async () => {
  await it.setPolicy({ historyNeeds: 'second-person' });
  const desk = await it.here('help-desk');
  const keys = await evidenceKeys(desk);
  const living = keys.filter(({ state }) => state === 'held' || state === 'candidate').map(({ recordId }) => recordId);
  expect([living.length, keys.some(({ state }) => state === 'superseded')]).toEqual([1, true]);
  const shown = await it.key(desk, { refused: living });
  expect(shown.body).toMatchObject({ recoveryKey: it.mac.recoveryKey, recordId: living[0], replacedAt: null });
  expect(await it.acts('key.refused')).toEqual([]);
  // What was shown may be refused: then the next one is.
  expect((await it.key(desk, { refused: living })).body).toMatchObject({ recoveryKey: old, replacedAt: expect.any(String) });
});

test('where nobody is shown a key alone, nobody makes a code of the desk alone; one that was made before opens nothing any more', async () => {
  const [desk, second] = [await it.here('help-desk'), await it.here('help-desk')];
  const make = () => desk.post(`/v1/devices/${it.id}/releases`, { personName: 'J. Doe', verified: 'ten signs and more' });
  const typed = async (code: string) => {
    const client = it.portal.client();
    return { client, shown: await client.submit(await client.get('/release'), '/release', { code }) };
  };
  await it.setPolicy({});
  const before = (await make()).body;
  expect(before.release.state).toBe('ready');
  await it.setPolicy({ needs: 'second-person' });
  expect((await typed(before.code)).shown.status).toBe(422);
  const { release, code } = (await make()).body;
  expect(release.state).toBe('unconfirmed');
  expect((await typed(code)).shown.status).toBe(422);
  const confirm = (who: AdminGiven) => who.post(`/v1/releases/${release.id}/confirm`, { words: 'I know the voice' });
  await refused(confirm(desk), 'OWN_REQUEST');
  expect((await confirm(second)).body.state).toBe('ready');
  const { client, shown } = await typed(code);
  expect(keyOn(await client.submit(shown, '/release/key'))).toBe(it.mac.recoveryKey);
});

/** A client of a token of somebody new who is an admin of everything; the token has what they have. */
async function program(): Promise<AdminGiven> {
  const maker = await it.as('admin');
  const made = await maker.post('/v1/tokens', { name: 'nightly', roles: [{ role: 'admin', tags: null }], service: true });
  const headers = { authorization: `Bearer ${made.body.token}`, cookie: undefined };
  const by =
    (method: string) =>
    (path: string, body: unknown = {}): Promise<Awaited<ReturnType<AdminGiven['post']>>> =>
      it.console.nobody.ask(path, { method, body, headers });
  return { ...maker, ...it.console.nobody, get: (path) => it.console.nobody.ask(path, { headers }), post: by('POST'), put: by('PUT') };
}

test('a program decides nothing about who is shown a key: it makes, changes and ends no such policy, and moves no Mac under one or out of one', async () => {
  await it.setPolicy({ needs: 'none' });
  const [bot, admin] = [await program(), await it.as('admin')];
  const disclosure: Partial<DisclosurePolicy> = { service: 'allowed', needs: 'none', viewsPerHour: 200 };
  const lax = { name: 'lax', rank: 900, tags: ['lax'], rules: { disclosure }, reason: 'for the bot' };
  await refused(bot.post(`/v1/devices/${it.id}/key`, { reason: 'as a program' }), 'NOT_ALLOWED');
  await refused(bot.put('/v1/policies/new', { ...lax, tags: null }), 'NOT_ALLOWED');
  const made = await admin.put('/v1/policies/new', lax);
  expect(made.status).toBe(200);
  const { id, version } = made.body;
  await refused(bot.put(`/v1/policies/${id}`, { ...lax, version, tags: [it.tag], rules: {} }), 'NOT_ALLOWED');
  await refused(bot.post(`/v1/policies/${id}/end`, { reason: 'it is in the way' }), 'NOT_ALLOWED');
  await refused(bot.post('/v1/tags/add', { devices: [it.id], tags: ['lax'] }), 'NOT_ALLOWED');
  await refused(bot.post('/v1/tags/remove', { devices: [it.id], tags: [it.tag] }), 'NOT_ALLOWED');
  await refused(bot.post(`/v1/devices/${it.id}/key`, { reason: 'as a program' }), 'NOT_ALLOWED');
  // Other tags and other policies are what programs are for.
  expect((await bot.post('/v1/tags/add', { devices: [it.id], tags: ['floor-3'] })).body).toEqual({ changed: 1 });
  expect((await bot.put('/v1/policies/new', { ...lax, name: 'plain', rank: 901, rules: {} })).status).toBe(200);
  expect((await admin.post('/v1/tags/add', { devices: [it.id], tags: ['lax'] })).body).toEqual({ changed: 1 });
});

test('who has two accounts with one address is one person: nobody agrees to what they asked by the other one', async () => {
  await it.setPolicy({ needs: 'second-person' });
  const desk = await it.here('help-desk');
  const { id: requestId } = (await it.ask(desk)).body;
  const twin = await it.here('approver');
  for (const [who, email] of [
    [desk, 'alice@corp.example'],
    [twin, 'Alice@CORP.example'],
  ] as const)
    await it.store.write((tx) => tx.updateTable('person').set({ email }).where('id', '=', who.personId).execute());
  await refused(it.vote(twin, requestId), 'OWN_REQUEST');
  expect((await twin.get(`/v1/disclosure-requests/${requestId}`)).body.request.mayDecide).toBe(false);
  await refused(it.key(desk, { requestId }), 'APPROVAL_NEEDED');
  expect((await it.vote(await it.here('approver'), requestId)).body.state).toBe('approved');
});

test('the address that the desk reads out is one where a code can be typed', async () => {
  await it.setPolicy({});
  const desk = await it.here('help-desk');
  const page = await desk.browser.get('/disclosures/releases');
  const made = await desk.browser.submit(page, '/disclosures/releases', {
    device: it.id,
    personName: 'Ada Lovelace',
    verified: 'called back on a known number',
  });
  const [, address = ''] = /Open (\S+) on any device/.exec(made.content) ?? [];
  const [code = ''] = /[234679ACFHJKMNRVWXY]{4}(?:-[234679ACFHJKMNRVWXY]{4}){2}/.exec(made.content) ?? [];
  const opened = new URL(`https://${address}`);
  expect(opened.origin).toBe(new URL(it.portal.url).origin);
  const client = it.portal.client();
  const shown = await client.submit(await client.get(opened.pathname), opened.pathname, { code });
  expect([shown.status, shown.path]).toEqual([200, '/release/key']);
});

test('nobody is given a code of the desk for a Mac that is lost or its user’s own, and one that was given is over; while an alarm of identity is open two people make one', async () => {
  await it.setPolicy({});
  const [desk, admin] = [await it.here('help-desk'), await it.as('admin')];
  const make = () => desk.post(`/v1/devices/${it.id}/releases`, { personName: 'J. Doe', verified: 'ten signs and more' });
  const say = (state: string) => admin.post(`/v1/devices/${it.id}/standing`, { state, reason: 'said by its person' });
  const { code, release } = (await make()).body;
  expect(release.state).toBe('ready');
  expect((await say('lost')).status).toBe(200);
  await refused(make(), 'NOT_ALLOWED');
  const client = it.portal.client();
  expect((await client.submit(await client.get('/release'), '/release', { code })).status).toBe(422);
  expect((await say('in-use')).status).toBe(200);
  const own = (ownership: string) => admin.post(`/v1/devices/${it.id}/standing`, { ownership, reason: 'bought by its user' });
  await own('personal');
  await refused(make(), 'NOT_ALLOWED');
  await own('organisation');
  await it.store.write(async (tx) => raise({ log: silentLog }, tx, await it.backend.clock.persist(tx), it.id, 'IDENTITY_CLONED', 'a test'));
  expect((await make()).body.release.state).toBe('unconfirmed');
});

test('nobody says that a Mac is theirs, by no name and no account of their own', async () => {
  const alice = await it.as('admin');
  const other = `alice${alice.personId.slice(0, 6)}@corp.example`;
  await it.portal.account(other, { withoutPassword: true });
  await it.store.write((tx) =>
    tx
      .updateTable('person')
      .set({ email: other })
      .where('id', '=', alice.personId)
      .execute()
      .then(() => undefined),
  );
  const say = (userName: string) => alice.post(`/v1/devices/${it.id}/assign`, { userName, reason: 'a test' });
  await refused(say(alice.userName), 'OWN_REQUEST');
  await refused(say(other), 'OWN_REQUEST');
  expect((await say('somebody-else')).body).toEqual({ users: ['somebody-else'] });
});

test('who asked and has no role for the Mac any more reads nothing of its keys by what they asked', async () => {
  await it.setPolicy({ needs: 'second-person' });
  const desk = await it.here('help-desk');
  const { id } = (await it.ask(desk)).body;
  const seen = async () => (await desk.get(`/v1/disclosure-requests/${id}`)).body;
  expect((await seen()).evidence.keys.length).toBeGreaterThan(0);
  await it.takeRoles(desk);
  await it.console.give({ id: desk.personId, userName: desk.userName }, 'viewer', ['elsewhere']);
  await refused(desk.get(`/v1/disclosure-requests/${id}`), 'NOT_FOUND');
});

test('self-service for many is ended by whoever may open it elsewhere and agree to it here', async () => {
  const [asker, both] = [await it.here('admin'), await it.as('admin', ['elsewhere'])];
  await it.console.give({ id: both.personId, userName: both.userName }, 'approver', [it.tag]);
  const until = new Date(it.backend.clock.now() + 3_600_000).toISOString();
  const asked = await asker.post('/v1/emergencies', { tags: [it.tag], until, reason: 'the update that locked many out' });
  expect(asked.body.code).toBeUndefined();
  const ended = await both.post(`/v1/emergencies/${asked.body.id}/end`, { words: 'a mistake' });
  expect([ended.body.code, ended.body.state]).toEqual([undefined, 'ended']);
});

test('keys of a record that was joined to a newer one are shown by record, by volume, and by its own id, for whoever sees the newer one', async () => {
  await it.setPolicy({});
  it.pass(60);
  const anew = await guardedMac({ needs: 'reason' });
  const [admin, owner] = [await it.as('admin'), await it.portal.person()];
  for (const one of [it, anew]) await one.assign(owner);
  const joined = await admin.post(`/v1/devices/${anew.id}/merge`, { other: it.id, reason: 'another logic board' });
  expect([joined.body.detail, joined.status]).toEqual([undefined, 200]);
  const [living] = (await evidenceKeys(admin)).filter(({ state }) => state === 'held');
  const replaced = (await evidenceKeys(admin)).find(({ state }) => state === 'superseded');
  expect((await admin.get(`/v1/devices/${anew.id}/key-evidence`)).body.keys.map(({ recordId }: { recordId: string }) => recordId)).not.toContain(
    living?.recordId,
  );
  const ask = (id: string, more: object = {}) => admin.post(`/v1/devices/${id}/key`, { reason: 'an old backup is locked', ...more });
  expect((await ask(anew.id)).body).toMatchObject({ recoveryKey: anew.mac.recoveryKey, deviceId: anew.id });
  for (const [id, more] of [
    [it.id, {}],
    [anew.id, { recordId: living?.recordId }],
    [anew.id, { volume: living?.volume }],
  ] as const)
    expect((await ask(id, more)).body).toMatchObject({ recoveryKey: it.mac.recoveryKey, deviceId: it.id, recordId: living?.recordId });
  expect((await ask(anew.id, { history: true, recordId: replaced?.recordId })).body).toMatchObject({ recoveryKey: old });
  // A group is of whoever has the Mac now: tags that are left at the older record say nothing any more.
  await it.store.write((tx) =>
    tx
      .insertInto('mac_tag')
      .values([
        { mac_id: it.id, tag: 'group:former', source: 'group' },
        // By hand, so that no round in between takes it away.
        { mac_id: anew.id, tag: 'group:board', source: 'admin' },
      ])
      .execute()
      .then(() => undefined),
  );
  await refused((await it.as('help-desk', ['group:former'])).post(it.keyPath, { reason: 'of a former colleague' }), 'MAC_UNKNOWN');
  const board = await it.as('help-desk', ['group:board']);
  expect((await board.post(it.keyPath, { reason: 'an old backup is locked' })).body.deviceId).toBe(it.id);
});
