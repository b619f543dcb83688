import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { makeLoginToken } from '../server/admins/tokens.ts';
import { type DisclosurePolicy, disclosurePolicy, plainDisclosure } from '../server/approvals/disclosure-policy.ts';
import { asksTwo, type Saying, strictest, weakerIn, whereWeaker } from '../server/approvals/weaker.ts';
import { insertRulesKept } from '../server/store/weaker-disclosure.ts';
import { type GuardedMac, guardedMac } from './disclosure-parts.ts';
import type { AdminGiven } from './given-console.ts';

/* Who asks for two people is not talked out of it by one: policies, tags, users. */

const rulesOf = (more: Partial<DisclosurePolicy>): DisclosurePolicy => disclosurePolicy.parse(more);
const two = rulesOf({ needs: 'second-person', quorum: 2, breakGlass: true });

describe('rules', () => {
  test.each([
    ['needs', { needs: 'reason' }],
    ['quorum', { quorum: 1 }],
    ['grantMinutes', { grantMinutes: 60 }],
    ['service', { service: 'allowed' }],
    ['reviewHours', { reviewHours: 48 }],
    ['viewsPerHour', { viewsPerHour: 21 }],
  ] as const)('are weaker by %s', (name, more) => {
    expect(weakerIn(rulesOf({ ...two, ...more }), two)).toContain(name);
    expect(weakerIn(two, rulesOf({ ...two, ...more }))).not.toContain(name);
  });

  test('are weaker with codes of one of the desk than with those of two, weaker with those than without, and never by how long a request waits', () => {
    const [on, both, off] = (['on', 'two-people', 'off'] as const).map((assisted) => rulesOf({ assisted })) as [
      DisclosurePolicy,
      DisclosurePolicy,
      DisclosurePolicy,
    ];
    expect([weakerIn(on, both), weakerIn(both, off), weakerIn(off, both)]).toEqual([['assisted'], ['assisted'], ['no second person']]);
    expect(weakerIn(rulesOf({ ...two, assisted: 'on' }), rulesOf({ ...two, assisted: 'two-people' }))).toEqual([]);
    expect(weakerIn(rulesOf({ ...two, requestHours: 72 }), two)).toEqual([]);
  });

  test('of which all hold are weaker than none of them; what says how two agree is of those that ask for two', () => {
    const anyRules = fc.record({
      needs: fc.constantFrom('none', 'reason', 'second-person'),
      quorum: fc.integer({ min: 1, max: 3 }),
      grantMinutes: fc.constantFrom(5, 30, 60),
      views: fc.constantFrom('once', 'within-time'),
      service: fc.constantFrom('never', 'allowed'),
      breakGlass: fc.boolean(),
      assisted: fc.constantFrom('off', 'on', 'two-people'),
      historyNeeds: fc.constantFrom('none', 'reason', 'second-person'),
      viewsPerHour: fc.constantFrom(1, 20, 200),
    });
    fc.assert(
      fc.property(anyRules, anyRules, (one, other) => {
        const [a, b] = [rulesOf(one as Partial<DisclosurePolicy>), rulesOf(other as Partial<DisclosurePolicy>)];
        const both = strictest([a, b]);
        for (const rules of [a, b].filter(asksTwo))
          expect(weakerIn(both, rules).filter((name) => name !== 'reviewHours' && name !== 'no second person')).toEqual([]);
      }),
      { numRuns: 300 },
    );
    expect(strictest([plainDisclosure, two])).toMatchObject({ needs: 'second-person', quorum: 2, breakGlass: true, assisted: 'two-people' });
  });

  test('are looked at for every Mac that there could be: what is said of a change is what is so for some set of tags', () => {
    const names = ['a', 'b', 'c'];
    const sets = Array.from({ length: 2 ** names.length }, (_, bits) => names.filter((_name, at) => (bits >> at) % 2 === 1));
    const rules = [plainDisclosure, two, rulesOf({ needs: 'second-person' })];
    const saying: fc.Arbitrary<Saying> = fc.record({
      tags: fc.oneof(fc.constant(null), fc.uniqueArray(fc.constantFrom(...names), { minLength: 1, maxLength: 2 })),
      rules: fc.constantFrom(...rules),
    });
    const policies = fc.array(saying, { maxLength: 4 });
    const chosen = (list: readonly Saying[], set: readonly string[]) =>
      list.find(({ tags }) => tags === null || tags.some((tag) => set.includes(tag)))?.rules ?? plainDisclosure;
    fc.assert(
      fc.property(policies, policies, (now, then) => {
        const said = whereWeaker(now, then, plainDisclosure);
        const seen = sets.flatMap((set) => (asksTwo(chosen(now, set)) ? weakerIn(chosen(then, set), chosen(now, set)) : []));
        expect(said.toSorted()).toEqual([...new Set(seen)].toSorted());
      }),
      { numRuns: 500 },
    );
  });
});

/** The same person on another day, at the command line. */
async function again(it: GuardedMac, who: AdminGiven): Promise<AdminGiven> {
  const { store, clock } = it.backend;
  const person = { id: who.personId, userName: who.userName };
  const { token } = await store.write(async (tx) => {
    const at = await clock.persist(tx);
    return makeLoginToken(tx, at, { person, machine: 'a test', freshAt: at, network: 'a test' });
  });
  const headers = { authorization: `Bearer ${token}`, cookie: undefined };
  const by =
    (method: string) =>
    (path: string, body: unknown = {}) =>
      it.console.nobody.ask(path, { method, body, headers });
  return { ...who, get: (path) => it.console.nobody.ask(path, { headers }), post: by('POST'), put: by('PUT') };
}

describe('by one person alone', () => {
  let it: GuardedMac;
  let admin: AdminGiven;
  let desk: AdminGiven;
  let approver: AdminGiven;
  let elsewhere: AdminGiven;
  let strict: { id: string; name: string; rank: number; tags: string[]; rules: { disclosure: DisclosurePolicy } };
  const reason = 'agreed with nobody';

  beforeAll(async () => {
    it = await guardedMac();
    admin = await it.as('admin');
    desk = await it.here('help-desk');
    approver = await it.as('approver');
    elsewhere = await it.as('approver', ['elsewhere']);
    await it.setPolicy(two);
    strict = (await inForce()).find((one: typeof strict) => one.name === it.tag);
  });
  const strictAgain = async () => {
    const { id, name, rank, tags } = strict;
    const by = { actor: 'an operator', personId: null, scope: null, service: false };
    await it.backend.custody.policies.put({ id, version: null, name, rank, tags, rules: { disclosure: two }, reason: 'a test', ...by });
  };
  const put = (who: AdminGiven, rules: Partial<DisclosurePolicy>, more: object = {}) => {
    const { id, name, rank, tags } = strict;
    return who.put(`/v1/policies/${id}`, { name, rank, tags, rules: { disclosure: { ...two, ...rules } }, reason, ...more });
  };
  const inForce = async () => (await admin.get('/v1/policies')).body.items;
  const keyOf = async (who: AdminGiven): Promise<string> => {
    const { body } = await it.key(who);
    return body.recoveryKey === undefined ? body.code : 'shown';
  };
  const agree = (who: AdminGiven, id: string) => who.post(`/v1/policies/proposals/${id}/agree`, { words: 'seen with the council' });
  const acts = async (like: string) =>
    (await it.store.db.selectFrom('audit').selectAll().where('act', 'like', like).orderBy('seq').execute()).map(({ act, actor }) => [act, actor]);

  test.each([
    ['no second person', { needs: 'reason' }, ['needs', 'assisted', 'historyNeeds']],
    ['fewer of them', { quorum: 1 }, ['quorum']],
    ['agreements that last longer', { grantMinutes: 600 }, ['grantMinutes']],
    ['keys to programs', { service: 'allowed' }, ['service']],
    ['more keys an hour', { viewsPerHour: 200 }, ['viewsPerHour']],
  ] as const)('a policy that asks for two people is not made weaker (%s): the change waits, and everything is as it was', async (_, rules, weaker) => {
    const said = await put(admin, rules);
    expect([said.status, said.body.proposal, said.body.version]).toEqual([200, expect.any(String), 1]);
    expect(await inForce()).toMatchObject([{ version: 1, rules: { disclosure: two } }]);
    expect(await keyOf(admin)).toBe('APPROVAL_NEEDED');
    const waits = (await desk.get('/v1/policies/proposals?open=true')).body.items[0];
    expect(waits).toMatchObject({ id: said.body.proposal, weaker, isMine: false, mayDecide: false, state: 'waiting', reason });
    expect((await admin.post(`/v1/policies/proposals/${said.body.proposal}/decline`, { words: 'changed my mind' })).body.state).toBe('withdrawn');
    expect((await agree(approver, said.body.proposal)).body.code).toBe('REQUEST_ENDED');
  });

  test('nor gone round: by its end, its tags, its rank, another one before it, or without what it says; what makes it stricter is done at once', async () => {
    const { id, name, rank } = strict;
    const rules = { disclosure: { ...two, needs: 'none' } };
    const waits = async (said: Promise<{ body: { proposal?: string | null } }>) => expect((await said).body.proposal).toEqual(expect.any(String));
    await waits(admin.post(`/v1/policies/${id}/end`, { reason }));
    await waits(put(admin, {}, { tags: ['elsewhere'] }));
    await waits(put(admin, {}, { rules: {} }));
    const behind = await admin.put('/v1/policies/new', { name: 'behind', rank: rank + 10, tags: null, rules, reason });
    expect(behind.body.proposal).toBeNull();
    await waits(put(admin, {}, { rank: rank + 20 }));
    await waits(
      admin.put(`/v1/policies/${behind.body.id}`, { name: 'behind', rank: 9000, tags: null, rules, reason }).then(() => put(admin, {}, { rank: 9500 })),
    );
    await waits(admin.put('/v1/policies/new', { name: 'before', rank: 990, tags: ['elsewhere'], rules, reason }).then(() => put(admin, {}, { rank: 995 })));
    expect(await keyOf(admin)).toBe('APPROVAL_NEEDED');
    const stricter = await put(admin, { quorum: 3, grantMinutes: 5 }, { name });
    expect([stricter.body.proposal, stricter.body.rules.disclosure.quorum]).toEqual([null, 3]);
    for (const one of await inForce()) if (one.id !== id) await admin.post(`/v1/policies/${one.id}/end`, { reason });
    for (const one of (await admin.get('/v1/policies/proposals?open=true')).body.items)
      expect((await admin.post(`/v1/policies/proposals/${one.id}/decline`, { words: 'a test' })).body.state).toBe('withdrawn');
    await strictAgain();
  });

  test('what was proposed holds when somebody else agrees who may: not its maker by any account, token or role, nobody for other Macs, and no program', async () => {
    const twin = await it.as('approver');
    const email = 'alice@corp.example';
    for (const { personId } of [admin, twin])
      await it.store.write((tx) =>
        tx
          .updateTable('person')
          .set({ email })
          .where('id', '=', personId)
          .execute()
          .then(() => undefined),
      );
    const { proposal } = (await put(admin, { needs: 'reason' })).body;
    for (const [who, code] of [
      [admin, 'OWN_REQUEST'],
      [twin, 'OWN_REQUEST'],
      [desk, 'NOT_ALLOWED'],
      [elsewhere, 'NOT_FOUND'],
    ] as const)
      expect((await agree(who, proposal)).body.code).toBe(code);
    const made = await approver.post('/v1/tokens', { name: 'nightly', roles: [{ role: 'approver', tags: null }], service: true });
    const headers = { authorization: `Bearer ${made.body.token}`, cookie: undefined };
    const program = await it.console.nobody.ask(`/v1/policies/proposals/${proposal}/agree`, { method: 'POST', body: { words: 'yes' }, headers });
    expect(program.body.code).toBe('NOT_ALLOWED');
    expect(await keyOf(desk)).toBe('APPROVAL_NEEDED');
    const agreed = await agree(approver, proposal);
    expect(agreed.body).toMatchObject({ state: 'agreed', decidedBy: approver.userName });
    expect((await inForce())[0]).toMatchObject({ changedBy: `${admin.userName} and ${approver.userName}` });
    expect(await keyOf(desk)).toBe('shown');
    expect((await agree(approver, proposal)).body.code).toBe('REQUEST_ENDED');
    expect((await acts('policy.%')).slice(-3)).toEqual([
      ['policy.proposed', admin.userName],
      ['policy.agreed', approver.userName],
      ['policy.changed', approver.userName],
    ]);
    await strictAgain();
  });

  test('the pages propose, say so on the first page to whoever may agree, and agree', async () => {
    const form = await admin.browser.get(`/policies/${strict.id}`);
    const preview = await admin.browser.submit(form, `/policies/${strict.id}/preview`, { 'disclosure-needs': 'reason', reason: 'the desk is alone at night' });
    const saved = await admin.browser.submit(preview, `/policies/${strict.id}/save`);
    expect(saved.words).toMatch(
      /It waits for a second person below; nothing has changed.*Weaker: To be shown a key: a reason; Codes of the desk: \w+; To be shown a key that was replaced: a reason/,
    );
    const [{ id }] = (await admin.get('/v1/policies/proposals?open=true')).body.items;
    expect(saved.forms.find(({ action }) => action === `/policies/proposals/${id}`)).toBeDefined();
    expect((await admin.browser.get('/')).words).not.toContain('Somebody asks to show keys more easily');
    expect((await approver.browser.get('/')).words).toMatch(/Somebody asks to show keys more easily.*the desk is alone at night/);
    const own = await admin.browser.submit(saved, `/policies/proposals/${id}`, { as: 'agree', words: 'I want it' });
    expect([own.status, (await inForce())[0].rules.disclosure.needs]).toEqual([403, 'second-person']);
    const seen = await approver.browser.get('/policies');
    const agreed = await approver.browser.submit(seen, `/policies/proposals/${id}`, { as: 'agree', words: 'for the nights' });
    expect([agreed.status, (await inForce())[0].rules.disclosure.needs]).toEqual([200, 'reason']);
    expect(agreed.words).not.toContain('Waits for a second person');
    await strictAgain();
  });

  test('of a new policy is agreed to as far as it was said to reach: what asks for more by then has it proposed anew', async () => {
    const by = { actor: 'an operator', personId: null, scope: null, service: false, reason: 'a test' };
    const { policies } = it.backend.custody;
    const set = (quorum: number) =>
      policies.put({ ...by, id: strict.id, version: null, name: strict.name, rank: 100, tags: strict.tags, rules: { disclosure: { ...two, quorum } } });
    await set(2);
    const rules = { disclosure: { ...two, viewsPerHour: 200 } };
    const { proposal, id } = (await admin.put('/v1/policies/new', { name: 'early', rank: 50, tags: ['elsewhere'], rules, reason })).body;
    await set(3);
    expect((await agree(approver, proposal)).body).toMatchObject({ code: 'POLICY_CHANGED', detail: expect.stringContaining('quorum') });
    await set(2);
    expect((await agree(approver, proposal)).body.state).toBe('agreed');
    expect(await policies.end({ ...by, id })).toBeNull();
    await strictAgain();
  });

  test('is not buried under others: so many wait at once, and no more', async () => {
    const made: string[] = [];
    for (let count = 0; count < 20; count += 1) made.push((await put(admin, { needs: 'reason' })).body.proposal);
    expect((await put(admin, { needs: 'reason' })).body.code).toBe('REQUESTS_LIMIT');
    expect((await admin.post(`/v1/policies/${strict.id}/end`, { reason })).body.code).toBe('REQUESTS_LIMIT');
    for (const id of made) await admin.post(`/v1/policies/proposals/${id}/decline`, { words: 'a test' });
    expect((await put(admin, { needs: 'reason' })).body.proposal).toEqual(expect.any(String));
  });

  test('of two that were proposed the second is read anew; one whose maker may change nothing any more, and one of two weeks ago, are nothing', async () => {
    const [one, other] = [(await put(admin, { needs: 'reason' })).body.proposal, (await put(admin, { quorum: 1 })).body.proposal];
    expect((await agree(approver, one)).body.state).toBe('agreed');
    expect((await agree(approver, other)).body.code).toBe('POLICY_CHANGED');
    await strictAgain();
    const leaver = await it.as('admin');
    const { proposal } = (await put(leaver, { needs: 'reason' })).body;
    await it.takeRoles(leaver);
    expect((await agree(approver, proposal)).body.code).toBe('NOT_ALLOWED');
    const late = (await put(admin, { needs: 'reason' })).body.proposal;
    await it.minutes(14 * 24 * 60);
    expect((await agree(await it.as('approver'), late)).body.code).toBe('REQUEST_ENDED');
    const { items } = (await (await it.as('viewer')).get('/v1/policies/proposals')).body;
    expect(items.find(({ id }: { id: string }) => id === late)).toMatchObject({ state: 'expired' });
  });
});

describe('by one person alone, a Mac', () => {
  let it: GuardedMac;
  let desk: AdminGiven;
  beforeAll(async () => {
    it = await guardedMac(two);
    desk = await it.as('help-desk');
  });
  const keyOf = async (who: AdminGiven): Promise<string> => {
    const { body } = await it.key(who);
    return body.recoveryKey === undefined ? body.code : 'shown';
  };
  const day = 24 * 60;
  const tag = (who: AdminGiven, act: 'add' | 'remove', tags: string[]) => who.post(`/v1/tags/${act}`, { devices: [it.id], tags });

  test('that loses the tag of a policy that asks for two is shown by the rules of before for a day, to who took it for as long as nobody else agrees', async () => {
    const [owner, other] = [await it.as('owner'), await it.as('owner')];
    expect((await tag(owner, 'remove', [it.tag])).body).toEqual({ changed: 1 });
    expect([await keyOf(owner), await keyOf(desk)]).toEqual(['APPROVAL_NEEDED', 'APPROVAL_NEEDED']);
    const made = await desk.post(`/v1/devices/${it.id}/releases`, { personName: 'J. Doe', verified: 'ten signs and more' });
    expect(made.body.release.state).toBe('unconfirmed');
    const page = await desk.browser.get(`/fleet/${it.id}`);
    expect(page.words).toMatch(/Stricter rules hold on for showing its key.*owner\d+ has changed its tags or its user.*until/);
    await it.minutes(day + 1);
    const [ownerNow, deskNow] = [await again(it, owner), await again(it, desk)];
    expect([await keyOf(ownerNow), await keyOf(deskNow)]).toEqual(['APPROVAL_NEEDED', 'shown']);
    const lift = (who: AdminGiven) => who.post(`/v1/devices/${it.id}/rules/agree`, { words: 'it has another user now' });
    expect((await lift(ownerNow)).body.code).toBe('OWN_REQUEST');
    expect((await lift(await again(it, other))).body).toMatchObject({ lifted: 1 });
    expect(await keyOf(ownerNow)).toBe('shown');
    expect((await it.acts('mac.rules-agreed')).length).toBe(1);
    expect((await tag(await again(it, other), 'add', [it.tag])).body).toEqual({ changed: 1 });
  });

  test('is brought under no weaker rules by another tag, nor by another user whose groups have a weaker policy', async () => {
    const admin = await it.as('admin');
    const lax = { disclosure: rulesOf({ needs: 'none', assisted: 'on' }) };
    const by = { actor: 'an operator', personId: null, scope: null, service: false, id: null, version: null, reason: 'a test' };
    const { policies } = it.backend.custody;
    const mine = (await policies.list(null)).find(({ name }) => name === it.tag);
    // Above the strict one, as two people may have it.
    await policies.put({ ...by, id: mine?.id ?? '', name: it.tag, rank: 50, tags: [it.tag], rules: { disclosure: two } });
    await policies.put({ ...by, name: 'lab', rank: 10, tags: ['lab', 'group:Lab'], rules: lax });
    expect((await tag(admin, 'add', ['lab'])).body).toEqual({ changed: 1 });
    expect([await keyOf(admin), await keyOf(await again(it, desk))]).toEqual(['APPROVAL_NEEDED', 'APPROVAL_NEEDED']);
    expect((await tag(admin, 'remove', ['lab'])).body).toEqual({ changed: 1 });
    await it.minutes(day + 1);
    const later = await again(it, admin);
    const friend = await it.portal.person();
    await it.store.write((tx) =>
      tx
        .updateTable('person')
        .set({ groups: '["Lab"]', confirmed_at: 1 })
        .where('user_name', '=', friend.userName)
        .execute()
        .then(() => undefined),
    );
    expect((await later.post(`/v1/devices/${it.id}/assign`, { userName: friend.userName, reason: 'a friend' })).status).toBe(200);
    await it.backend.custody.fleetIsFresh();
    expect((await later.get(`/v1/devices/${it.id}`)).body.device.tags).toContain('group:Lab');
    expect([await keyOf(later), await keyOf(await again(it, desk))]).toEqual(['APPROVAL_NEEDED', 'APPROVAL_NEEDED']);
    await it.minutes(day + 1);
    expect([await keyOf(await again(it, admin)), await keyOf(await again(it, desk))]).toEqual(['APPROVAL_NEEDED', 'shown']);
  });

  test('whose user comes with a record that is joined to it keeps what was asked for: for a day, and for who joined them until somebody else agrees', async () => {
    const [admin, colleague, older] = [await it.as('admin'), await it.as('admin'), await guardedMac({ needs: 'none' })];
    const user = await it.portal.person();
    await it.store.write(async (tx) => {
      await tx.updateTable('policy').set({ tags: '["group:Night"]' }).where('name', '=', older.tag).execute();
      await tx.updateTable('person').set({ groups: '["Night"]', confirmed_at: 1 }).where('user_name', '=', user.userName).execute();
    });
    it.pass(60);
    const newer = await guardedMac(two);
    const codeOf = async (who: AdminGiven) => (await newer.key(await again(it, who))).body.code ?? 'shown';
    const by = { userName: user.userName, reason: 'as the list has it' };
    for (const { id } of [older, newer]) expect((await colleague.post(`/v1/devices/${id}/assign`, by)).status).toBe(200);
    expect((await colleague.post(`/v1/devices/${newer.id}/unassign`, by)).status).toBe(200);
    const join = { other: older.id, reason: 'another logic board' };
    expect((await (await again(it, admin)).post(`/v1/devices/${newer.id}/merge`, join)).body).toMatchObject({ userMoves: user.userName });
    await it.backend.custody.fleetIsFresh();
    expect([await codeOf(admin), await codeOf(desk)]).toEqual(['APPROVAL_NEEDED', 'APPROVAL_NEEDED']);
    await it.minutes(day + 1);
    expect([await codeOf(admin), await codeOf(desk)]).toEqual(['APPROVAL_NEEDED', 'shown']);
    // What holds on for the older record alone is said on the one page too.
    const operator = { actor: 'an operator', personId: null, scope: null, service: false, id: null, version: null, reason: 'a test' };
    await it.backend.custody.policies.put({ ...operator, name: 'vault', rank: 60, tags: ['group:Vault'], rules: { disclosure: two } });
    await it.store.write(async (tx) => {
      const kept = { id: 'of the older', mac_id: older.id, at: it.backend.clock.now(), actor: 'the older', person_id: null, lifted_at: null, lifted_by: null };
      await tx.deleteFrom('mac_tag').where('mac_id', '=', older.id).execute();
      await insertRulesKept(tx, { ...kept, tags: '["group:Vault"]' });
    });
    const { rulesKept } = (await (await again(it, desk)).get(`/v1/devices/${newer.id}`)).body;
    expect(rulesKept.map((one: { by: string }) => one.by)).toContain('the older');
  });
});

test('where nobody asks for a second person, one person alone changes policies and tags at once, and makes the first such rule alone', async () => {
  const it = await guardedMac({ needs: 'reason', viewsPerHour: 5 });
  const owner = await it.as('owner');
  const { id, name, rank, tags } = (await owner.get('/v1/policies')).body.items.find((one: { name: string }) => one.name === it.tag);
  const put = (disclosure: Partial<DisclosurePolicy>) => owner.put(`/v1/policies/${id}`, { name, rank, tags, rules: { disclosure }, reason: 'as I like' });
  expect((await put({ needs: 'none', viewsPerHour: 200, service: 'allowed', assisted: 'on' })).body.proposal).toBeNull();
  await owner.post('/v1/tags/remove', { devices: [it.id], tags: [it.tag] });
  expect((await it.key(owner)).body.recoveryKey).toBe(it.mac.recoveryKey);
  expect(await it.store.db.selectFrom('rules_kept').selectAll().where('mac_id', '=', it.id).execute()).toEqual([]);
  expect((await put({ needs: 'second-person' })).body.proposal).toBeNull();
  expect((await owner.post(`/v1/policies/${id}/end`, { reason: 'as I like' })).body).toMatchObject({ ended: false, proposal: expect.any(String) });
});
