import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createAccounts } from '../server/accounts.ts';
import { adminOfPerson, adminOfToken, presentGrants } from '../server/admins/admin.ts';
import { tellOfEmergencyAccounts } from '../server/admins/emergency.ts';
import { groupNamed } from '../server/admins/groups.ts';
import { accessReview, peopleSaid } from '../server/admins/review.ts';
import { takeRole } from '../server/admins/roles.ts';
import { createTokenDoor } from '../server/admins/token-door.ts';
import { newToken } from '../server/admins/token-form.ts';
import { endToken } from '../server/admins/tokens.ts';
import { openDatabase } from '../server/database.ts';
import { muteAlarm } from '../server/fleet/alarm-care.ts';
import { scopeOf } from '../server/permissions.ts';
import { endWebSessionsOf } from '../server/store/web-sessions.ts';
import { adminLetter } from '../web/admin-letters.ts';
import { remindOfEmergencyAccounts } from '../web/admin-mails.ts';
import { day, type GivenAdmins, givenAdmins, minute } from './admin-parts.ts';
import { scratch } from './scratch.ts';
import { codeOf } from './server-parts.ts';

let it: GivenAdmins;
beforeEach(async () => {
  it = await givenAdmins();
});
afterEach(() => it.close());

const asking = (id: string, groups: readonly string[] | null = []) => adminOfPerson(it.backend, { id, userName: 'ada', groups }, true);
const byToken = (token: string, network: string | null = null) => adminOfToken(it.backend, token, it.clock.now(), network);
const take = async (id: string, by = it.operator) => takeRole(it.backend, by, { id, reason: 'a test' });

describe('roles', () => {
  test('are of a person by name, or by a group that their provider says; whoever has none is no admin', async () => {
    const ada = await it.person('ada');
    expect(await asking(ada)).toBeNull();
    await it.give(ada, 'viewer', ['berlin']);
    await it.giveGroup('it-admins', 'rotator');
    expect((await asking(ada))?.grants.map(({ permission }) => permission)).toEqual(['fleet.read', 'policy.read', 'token.own']);
    const both = await asking(ada, ['it-admins', 'staff']);
    expect([scopeOf(both ?? { grants: [] }, 'rotation.order'), scopeOf(both ?? { grants: [] }, 'fleet.read')]).toEqual([null, null]);
    // The group is written as the provider writes it.
    expect((await asking(ada, ['IT-admins']))?.grants).toHaveLength(3);
  });

  test('of groups are nobody’s whose provider could not say the groups', async () => {
    await it.giveGroup('it-admins', 'owner');
    expect(await asking(await it.person('ada'), null)).toBeNull();
  });

  test('a role of another version of this backend allows nothing', async () => {
    const ada = await it.person('ada');
    const id = await it.give(ada, 'viewer');
    const { token } = await it.token(ada);
    await it.store.write((tx) => tx.updateTable('role_given').set({ role: 'emperor' }).where('id', '=', id).execute());
    expect(await asking(ada)).toBeNull();
    await it.give(ada, 'viewer');
    expect(await byToken(token)).not.toBeNull();
    await it.store.write((tx) => tx.updateTable('api_token').set({ grants: '[{"role":"emperor","scope":null}]' }).execute());
    expect(await byToken(token)).toBeNull();
    expect((await accessReview(it.backend, it.clock.now())).tokens).toMatchObject([{ roles: [], powerless: true }]);
  });

  test('given and taken are in the audit, with reason and scope; given twice is given once', async () => {
    const ada = await it.person('ada');
    const id = await it.give(ada, 'help-desk', ['berlin']);
    expect(await it.give(ada, 'help-desk', ['berlin'])).toBe(id);
    await take(id);
    expect(await asking(ada)).toBeNull();
    expect(await it.acts()).toMatchObject([
      { act: 'role.given', actor: 'an operator', details: { roleId: id, name: 'ada', role: 'help-desk', scope: ['berlin'], reason: 'a test' } },
      { act: 'role.taken', actor: 'an operator', details: { roleId: id, role: 'help-desk', reason: 'a test' } },
    ]);
    expect(await codeOf(take(id))).toBe('NOT_FOUND');
  });

  test('are given by owners alone, and none to oneself or to a group that one is in', async () => {
    const ada = await it.person('ada', { groups: ['it-admins'] });
    const eve = await it.person('eve');
    const bob = await it.person('bob');
    await it.give(ada, 'owner');
    await it.give(eve, 'admin');
    expect(await codeOf(it.give(bob, 'viewer', null, await it.admin(eve)))).toBe('NOT_ALLOWED');
    const owner = await it.admin(ada);
    expect(await codeOf(it.give(ada, 'auditor', null, owner))).toBe('OWN_ROLES');
    expect(await codeOf(it.giveGroup('it-admins', 'auditor', null, owner))).toBe('OWN_ROLES');
    const rotator = await it.give(bob, 'rotator', ['berlin'], owner);
    expect((await it.acts()).at(-1)).toMatchObject({ act: 'role.given', actor: 'ada', details: { name: 'bob', role: 'rotator' } });
    await take(rotator, owner);
  });

  test('whoever was an owner when they began, and is none any more, gives nothing', async () => {
    const [ada, bob] = [await it.person('ada'), await it.person('bob')];
    const id = await it.give(ada, 'owner');
    await it.give(bob, 'owner');
    const owner = await it.admin(ada);
    await take(id);
    expect(await codeOf(it.give(await it.person('eve'), 'owner', null, owner))).toBe('NOT_ALLOWED');
    expect(await codeOf(take((await it.store.db.selectFrom('role_given').select('id').where('ended_at', 'is', null).execute())[0]?.id ?? '', owner))).toBe(
      'NOT_ALLOWED',
    );
  });

  test('owner is for all Macs', async () => {
    expect(await codeOf(it.give(await it.person('ada'), 'owner', ['berlin']))).toBe('ROLE_INVALID');
  });

  test('the last owner stays one, also for the operator; a group that nobody is in makes no owner, nor does somebody disabled', async () => {
    const ada = await it.person('ada');
    const first = await it.give(ada, 'owner');
    await it.giveGroup('owners', 'owner');
    expect(await codeOf(take(first))).toBe('LAST_OWNER');
    const bob = await it.person('bob', { groups: ['owners'] });
    await it.change(bob, { disabled_at: it.clock.now() });
    expect(await codeOf(take(first))).toBe('LAST_OWNER');
    await it.change(bob, { disabled_at: null });
    await take(first);
    expect(await codeOf(take((await it.store.db.selectFrom('role_given').select('id').where('subject', '=', 'owners').execute())[0]?.id ?? ''))).toBe(
      'LAST_OWNER',
    );
  });

  test('two owners cannot take the role from one another at once: one stays', async () => {
    const [ada, bob] = [await it.person('ada'), await it.person('bob')];
    const [ofAda, ofBob] = [await it.give(ada, 'owner'), await it.give(bob, 'owner')];
    const [byAda, byBob] = [await it.admin(ada), await it.admin(bob)];
    const codes = await Promise.all([codeOf(take(ofBob, byAda)), codeOf(take(ofAda, byBob))]);
    expect(codes.toSorted()).toEqual(['NOT_ALLOWED', 'no problem']);
  });
});

describe('tokens', () => {
  test('are shown once, and in the database there is only their SHA-256', async () => {
    const ada = await it.person('ada');
    await it.give(ada, 'admin');
    const { token, id } = await it.token(ada);
    const [row] = await it.store.db.selectFrom('api_token').selectAll().execute();
    expect(JSON.stringify(row)).not.toContain(token.slice(4));
    expect(row).toMatchObject({ id, kind: 'personal', digest: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(JSON.stringify(await it.acts())).not.toContain(token.slice(4));
    expect((await it.acts()).at(-1)).toMatchObject({ act: 'token.made', actor: 'ada', details: { tokenId: id, name: 'nightly', kind: 'personal' } });
  });

  test('may what they were made for, as long as their maker may, and are named in the audit by both', async () => {
    const ada = await it.person('ada');
    const role = await it.give(ada, 'admin', ['berlin']);
    const { token } = await it.token(ada, { roles: [{ role: 'rotator', scope: null }] });
    const admin = await byToken(token);
    expect(admin).toMatchObject({ kind: 'token', name: 'token nightly of ada', personId: ada, service: false, fresh: false });
    expect([scopeOf(admin ?? { grants: [] }, 'rotation.order'), scopeOf(admin ?? { grants: [] }, 'key.disclose')]).toEqual([['berlin'], false]);
    await it.give(await it.person('bob'), 'owner');
    await take(role);
    expect(await byToken(token)).toBeNull();
    await it.give(ada, 'viewer');
    expect((await byToken(token))?.grants.map(({ permission }) => permission)).toEqual(['fleet.read', 'policy.read']);
  });

  test('end by themselves: 7 days or 30 for a program unless it is said, 30 or 400 at most', async () => {
    const ada = await it.person('ada', { local: true });
    await it.give(ada, 'viewer');
    const now = it.clock.now();
    expect((await it.token(ada)).expiresAt).toBe(now + 7 * day);
    expect((await it.token(ada, { name: 'b', service: true })).expiresAt).toBe(now + 30 * day);
    const longest = await it.token(ada, { name: 'c', service: true, days: 400 });
    expect(await codeOf(it.token(ada, { name: 'd', days: 31 }))).toBe('ROLE_INVALID');
    expect(await codeOf(it.token(ada, { name: 'e', service: true, days: 401 }))).toBe('ROLE_INVALID');
    it.pass(400 * day - 1);
    expect((await byToken(longest.token))?.service).toBe(true);
    it.pass(1);
    expect(await byToken(longest.token)).toBeNull();
  });

  test('have no more than their maker, and a name of their own', async () => {
    const ada = await it.person('ada');
    await it.give(ada, 'help-desk', ['berlin']);
    expect(await codeOf(it.token(ada, { roles: [{ role: 'admin', scope: ['berlin'] }] }))).toBe('GRANT_TOO_WIDE');
    expect(await codeOf(it.token(ada, { roles: [{ role: 'help-desk', scope: ['paris'] }] }))).toBe('GRANT_TOO_WIDE');
    await it.token(ada, { roles: [{ role: 'help-desk', scope: ['berlin'] }] });
    expect(await codeOf(it.token(ada))).toBe('TOKEN_NAME_TAKEN');
  });

  test('make no tokens and give no roles, and no operator has one', async () => {
    const ada = await it.person('ada');
    await it.give(ada, 'owner');
    const admin = await byToken((await it.token(ada, { roles: [{ role: 'owner', scope: null }], service: true })).token);
    if (!admin) throw new TypeError('no admin');
    expect([scopeOf(admin, 'people.edit'), scopeOf(admin, 'token.own'), scopeOf(admin, 'device.merge')]).toEqual([false, false, null]);
    const { makeToken } = await import('../server/admins/tokens.ts');
    const wish = { name: 'another', roles: [], service: false, days: null };
    expect([await codeOf(makeToken(it.backend, admin, wish)), await codeOf(makeToken(it.backend, it.operator, wish))]).toEqual(['NOT_ALLOWED', 'NOT_ALLOWED']);
  });

  test('of somebody who is disabled, or whose name somebody else has, may nothing, and again when that is over', async () => {
    const ada = await it.person('ada');
    await it.give(ada, 'viewer');
    const { token } = await it.token(ada);
    await it.change(ada, { disabled_at: it.clock.now() });
    expect(await byToken(token)).toBeNull();
    await it.change(ada, { disabled_at: null, confirmed_at: 0 });
    expect(await byToken(token)).toBeNull();
    await it.change(ada, { confirmed_at: it.clock.now() });
    expect(await byToken(token)).not.toBeNull();
  });

  test('end where their maker could not sign in any more: the provider was taken out of the settings, or accounts that are made here were', async () => {
    const [ada, bob, safe] = [await it.person('ada'), await it.person('bob', { local: true }), await it.person('emergency-1', { emergency: true })];
    const tokens: string[] = [];
    for (const id of [ada, bob, safe]) {
      await it.give(id, 'viewer');
      tokens.push((await it.token(id)).token);
    }
    const may = () => Promise.all(tokens.map(async (token) => (await byToken(token)) !== null));
    expect(await may()).toEqual([true, true, true]);
    Object.assign(it.backend.settings.people ?? {}, { signIn: { freshMinutes: 15, localAccounts: false, providers: [{ id: 'okta' }] } });
    expect(await may()).toEqual([false, false, true]);
  });

  test('of somebody whose account is reset end with it, whatever kind: whoever had got at it may have made them', async () => {
    const bob = await it.person('bob', { local: true });
    await it.give(bob, 'viewer');
    const tokens = [await it.token(bob), await it.token(bob, { name: 'a program', service: true })].map(({ token }) => token);
    const may = () => Promise.all(tokens.map(async (token) => (await byToken(token)) !== null));
    expect(await may()).toEqual([true, true]);
    await createAccounts(it.backend).reset({ name: 'bob', actor: 'an operator', reason: 'somebody had it', forgetPasskeys: true });
    expect(await may()).toEqual([false, false]);
    expect((await it.acts()).at(-1)).toMatchObject({ act: 'account.reset', details: { tokens: 2 } });
  });

  test('what a group gives counts for thirty days after the provider has last said it', async () => {
    const ada = await it.person('ada', { groups: ['it-admins'] });
    await it.giveGroup('it-admins', 'viewer');
    const { token } = await it.token(ada, { service: true, days: 90 });
    it.pass(30 * day);
    expect(await byToken(token)).not.toBeNull();
    it.pass(1);
    expect(await byToken(token)).toBeNull();
    await it.change(ada, { confirmed_at: it.clock.now(), groups: '["it-admins"]' });
    expect(await byToken(token)).not.toBeNull();
    await it.change(ada, { groups: 'null' });
    expect(await byToken(token)).toBeNull();
  });

  test('when and from where one was used last is written at most once a minute', async () => {
    const ada = await it.person('ada');
    await it.give(ada, 'viewer');
    const { token } = await it.token(ada);
    const used = async () => (await it.store.db.selectFrom('api_token').select(['last_used_at', 'last_network']).execute())[0];
    const first = it.clock.now();
    await byToken(token, '192.0.2.1');
    it.pass(minute - 1);
    await byToken(token, '192.0.2.2');
    expect(await used()).toEqual({ last_used_at: first, last_network: '192.0.2.1' });
    it.pass(1);
    await byToken(token, '192.0.2.2');
    expect(await used()).toEqual({ last_used_at: first + minute, last_network: '192.0.2.2' });
  });

  test('are ended by their maker, and by whoever may say who may do what; nobody else learns that they are', async () => {
    const [ada, bob, eve] = [await it.person('ada'), await it.person('bob'), await it.person('eve')];
    await it.give(ada, 'viewer');
    await it.give(bob, 'owner');
    await it.give(eve, 'admin');
    const [one, two] = [await it.token(ada), await it.token(ada, { name: 'two' })];
    expect(await codeOf(endToken(it.backend, await it.admin(eve), one.id))).toBe('NOT_FOUND');
    await endToken(it.backend, await it.admin(ada), one.id);
    await endToken(it.backend, await it.admin(bob), two.id);
    await endToken(it.backend, await it.admin(bob), two.id);
    expect([await byToken(one.token), await byToken(two.token)]).toEqual([null, null]);
    expect((await it.acts()).filter(({ act }) => act === 'token.ended').map(({ actor }) => actor)).toEqual(['ada', 'bob']);
  });

  test('whoever tries wrong ones waits after forty, the audit has it once, and right ones come in all the same', async () => {
    const ada = await it.person('ada');
    await it.give(ada, 'viewer');
    const { token } = await it.token(ada);
    const door = createTokenDoor(it.backend);
    const wrong = (given: string) => codeOf(door(given, it.clock.now(), '192.0.2.7'));
    for (let at = 0; at < 40; at++) expect(await wrong(at % 2 ? newToken() : 'no token')).toBe('TOKEN_REFUSED');
    expect([await wrong(newToken()), await wrong(newToken())]).toEqual(['TOO_OFTEN', 'TOO_OFTEN']);
    expect((await it.acts()).filter(({ act }) => act === 'token.guessed')).toMatchObject([{ details: { network: '192.0.2.7' } }]);
    expect(await codeOf(door(newToken(), it.clock.now(), '198.51.100.1'))).toBe('TOKEN_REFUSED');
    expect((await door(token, it.clock.now(), '192.0.2.7')).name).toBe('token nightly of ada');
  });

  test('of people and programs outlive signing out everywhere; the command line’s do not', async () => {
    const ada = await it.person('ada');
    await it.give(ada, 'viewer');
    const { token } = await it.token(ada);
    const { makeLoginToken } = await import('../server/admins/tokens.ts');
    const login = await it.store.write((tx) =>
      makeLoginToken(tx, it.clock.now(), { person: { id: ada, userName: 'ada' }, machine: 'a laptop', freshAt: it.clock.now(), network: '192.0.2.1' }),
    );
    expect((await byToken(login.token))?.name).toBe('token sparekeyctl at a-laptop of ada');
    await it.store.write((tx) => endWebSessionsOf(tx, ada, 'a test', it.clock.now()));
    expect([await byToken(login.token), (await byToken(token))?.kind]).toEqual([null, 'token']);
  });
});

describe('the access review', () => {
  test('names each role with since when, by whom and why, who has it, and who uses it', async () => {
    const ada = await it.person('ada', { groups: ['it-admins'] });
    await it.person('bob', { groups: ['it-admins'] });
    await it.person('not', { groups: ['it-admins-2'] });
    await it.giveGroup('it-admins', 'admin');
    it.pass(minute);
    await it.give(ada, 'owner');
    const { token } = await it.token(ada);
    it.pass(minute);
    await byToken(token);
    const review = await accessReview(it.backend, it.clock.now());
    expect(review.roles).toMatchObject([
      {
        role: 'admin',
        subject: { kind: 'group', name: 'it-admins' },
        by: 'an operator',
        reason: 'a test',
        count: 2,
        people: [{ userName: 'ada' }, { userName: 'bob', lastUsedAt: null }],
      },
      { role: 'owner', subject: { kind: 'person', name: 'ada' }, count: 1, people: [{ userName: 'ada', lastUsedAt: it.clock.now() }] },
    ]);
    expect(review.tokens).toMatchObject([{ name: 'nightly', maker: 'ada', powerless: false }]);
  });

  test('a group is of one provider: what another calls the same gives nobody its role, neither counts as it nor makes an owner', async () => {
    const ada = await it.person('ada', { groups: ['it-desk'] });
    const eve = await it.person('eve', { groups: ['it-desk'], provider: 'okta' });
    const roleId = await it.giveGroup('it-desk', 'help-desk', null, it.operator, 'entra');
    const may = async (id: string) => (await asking(id, ['it-desk'])) !== null;
    expect([await may(ada), await may(eve)]).toEqual([true, false]);
    expect((await presentGrants(it.store.db, eve, it.clock.now()))?.grants).toEqual([]);
    const review = await accessReview(it.backend, it.clock.now());
    expect(review.roles).toMatchObject([{ subject: { kind: 'group', name: 'entra:it-desk' }, count: 1, people: [{ userName: 'ada' }] }]);
    const people = await peopleSaid(it.store.db, it.clock.now(), { q: null, withRoles: true, after: null, limit: 10 });
    expect(people.people.map(({ userName }) => userName)).toEqual(['ada']);
    // Nobody gives to a group that they are in; the other one's is not theirs.
    const owner = await it.person('olga', { groups: ['it-desk'], provider: 'okta' });
    await it.give(owner, 'owner');
    const olga = await it.admin(owner);
    expect(await codeOf(it.giveGroup('it-desk', 'viewer', null, olga, 'okta'))).toBe('OWN_ROLES');
    expect(await it.giveGroup('it-desk', 'viewer', null, olga, 'entra')).toEqual(expect.any(String));
    // What was given before roles said of which provider is of any.
    await it.store.write((tx) => tx.updateTable('role_given').set({ provider: null }).where('id', '=', roleId).execute());
    expect([await may(ada), await may(eve)]).toEqual([true, true]);
  });

  test('a group is named with its provider where there are several, and is of the one where there is one', () => {
    const named = (typed: string, ...ids: string[]) =>
      groupNamed({ people: { signIn: { providers: ids.map((id) => ({ id })) } } } as unknown as Parameters<typeof groupNamed>[0], typed);
    expect(named('it-desk', 'entra')).toEqual({ provider: 'entra', name: 'it-desk' });
    expect(named('entra:it-desk', 'entra', 'okta')).toEqual({ provider: 'entra', name: 'it-desk' });
    expect(named('okta:a:b', 'entra', 'okta')).toEqual({ provider: 'okta', name: 'a:b' });
    expect(named('it-desk')).toEqual({ provider: null, name: 'it-desk' });
    expect(() => named('it-desk', 'entra', 'okta')).toThrow('entra:it-desk or okta:it-desk');
    expect(() => named('entra:', 'entra', 'okta')).toThrow('of which provider');
  });

  test('a group’s name is a name, whatever signs are in it', async () => {
    await it.person('ada', { groups: ['100% "it"_\\x'] });
    await it.person('bob', { groups: ['100x "it"a\\x'] });
    await it.giveGroup('100% "it"_\\x', 'viewer');
    const [role] = (await accessReview(it.backend, it.clock.now())).roles;
    expect(role?.people.map(({ userName }) => userName)).toEqual(['ada']);
  });

  test('people are listed page by page, those with a role, or everybody by a part of a name', async () => {
    const names = ['ada', 'bob', 'eve', 'fay'];
    for (const name of names) await it.person(name, { groups: name === 'fay' ? ['it'] : [] });
    await it.giveGroup('it', 'viewer');
    for (const name of ['ada', 'eve'])
      await it.give((await it.store.db.selectFrom('person').select('id').where('user_name', '=', name).executeTakeFirstOrThrow()).id, 'viewer');
    const { db } = it.store;
    const page = async (after: Parameters<typeof peopleSaid>[2]['after'], withRoles: boolean, q: string | null = null) =>
      peopleSaid(db, it.clock.now(), { q, withRoles, after, limit: 2 });
    const first = await page(null, true);
    expect(first.people.map(({ userName, roles }) => [userName, roles.map(({ group }) => group)])).toEqual([
      ['ada', [null]],
      ['eve', [null]],
    ]);
    const second = await page(first.next, true);
    expect(second.people.map(({ userName, roles }) => [userName, roles.map(({ group }) => group)])).toEqual([['fay', ['it']]]);
    expect(second.next).toBeNull();
    expect((await page(null, false, 'B_')).people).toEqual([]);
    expect((await page(null, false, 'BO')).people.map(({ userName }) => userName)).toEqual(['bob']);
  });
});

describe('emergency accounts', () => {
  const host = 'console.example.org';
  const open = async () =>
    (await it.store.db.selectFrom('alarm').select(['code', 'detail']).where('judged_at', 'is', null).orderBy('opened_at').execute()).map(
      ({ code, detail }) => `${code}: ${detail}`,
    );
  const tell = () => tellOfEmergencyAccounts(it.backend);
  const passkey = async (person_id: string, id: string, at = host) => {
    const row = {
      id,
      person_id,
      public_key: Buffer.alloc(8),
      counter: 0,
      transports: '[]',
      label: 'safe',
      created_at: it.clock.now(),
      last_used_at: null,
      host: at,
    };
    await it.store.write((tx) => tx.insertInto('passkey').values(row).execute());
  };
  const signIn = (id: string) => it.store.write((tx) => tx.updateTable('passkey').set({ last_used_at: it.clock.now() }).where('id', '=', id).execute());

  test('two have to be able to open the console, a day after somebody got a role; what each lacks is said, and it ends by itself', async () => {
    await tell();
    const one = await it.person('emergency-1', { emergency: true });
    const two = await it.person('emergency-2', { emergency: true });
    await passkey(two, 'c', 'key.example.org');
    await it.give(one, 'owner');
    await tell();
    expect(await open()).toEqual([]);
    it.pass(day);
    await tell();
    expect(await open()).toEqual([
      'EMERGENCY_ACCOUNTS: 0 of 2 emergency accounts can sign in at the console; emergency-1 has no passkey for console.example.org; emergency-2 has no passkey for console.example.org',
    ]);
    await passkey(one, 'a');
    await passkey(two, 'b');
    await it.give(two, 'admin', ['berlin']);
    await tell();
    expect(await open()).toEqual(['EMERGENCY_ACCOUNTS: 1 of 2 emergency accounts can sign in at the console; emergency-2 is neither owner nor admin']);
    await it.give(two, 'admin');
    await tell();
    expect(await open()).toEqual([]);
    expect((await it.acts()).filter(({ act }) => act.startsWith('alarm.')).map(({ act }) => act)).toEqual([
      'alarm.raised',
      'alarm.settled',
      'alarm.raised',
      'alarm.settled',
    ]);
    await it.change(two, { disabled_at: it.clock.now() });
    await tell();
    expect(await open()).toEqual(['EMERGENCY_ACCOUNTS: 1 of 2 emergency accounts can sign in at the console']);
  });

  test('each shows once a month that it works: said anew each month, and ended by its sign-in', async () => {
    for (const name of ['emergency-1', 'emergency-2']) {
      const id = await it.person(name, { emergency: true });
      await it.give(id, 'owner');
      await passkey(id, name);
    }
    it.pass(29 * day);
    await tell();
    expect(await open()).toEqual([]);
    await signIn('emergency-2');
    it.pass(day);
    await tell();
    expect(await open()).toEqual(['EMERGENCY_TEST_DUE: emergency-1 last signed in at the console on 2026-11-23T09:00:00Z, over a month ago']);
    await tell();
    expect(await open()).toHaveLength(1);
    await it.store.write((tx) => tx.updateTable('alarm').set({ judged_at: it.clock.now(), judged_by: 'ada', judgement: 'later' }).execute());
    await tell();
    expect(await open()).toEqual([]);
    it.pass(30 * day);
    await signIn('emergency-2');
    await tell();
    expect(await open()).toEqual(['EMERGENCY_TEST_DUE: emergency-1 last signed in at the console on 2026-11-23T09:00:00Z, 2 months ago']);
    await signIn('emergency-1');
    await tell();
    expect(await open()).toEqual([]);
  });

  test('the owners hear by mail of what is missing or was not tried, at most once a week for each, and nobody else does', async () => {
    const mails = () => it.store.db.selectFrom('mail').selectAll().orderBy('created_at').orderBy('address').execute();
    const remind = async () => {
      await tell();
      await remindOfEmergencyAccounts(it.backend);
      return mails();
    };
    for (const [name, role, scope] of [
      ['olga', 'owner', null],
      ['oscar', 'owner', null],
      ['ada', 'admin', null],
    ] as const) {
      const id = await it.person(name);
      await it.store.write((tx) =>
        tx
          .updateTable('person')
          .set({ email: `${name}@example.org` })
          .where('id', '=', id)
          .execute(),
      );
      await it.give(id, role, scope);
    }
    for (const name of ['emergency-1', 'emergency-2']) {
      const id = await it.person(name, { emergency: true });
      await it.give(id, 'owner');
      await passkey(id, name);
    }
    it.pass(day);
    expect(await remind()).toEqual([]);
    it.pass(29 * day);
    await remind();
    const [one, ...others] = await remind();
    expect([one?.address, ...others.map(({ address }) => address)]).toEqual(['olga@example.org', 'oscar@example.org']);
    const letter = adminLetter('emergency-accounts', JSON.parse(one?.details ?? '{}'), 'Example');
    expect(letter.text).toContain('- emergency-1 last signed in at the console on 2026-11-23, over a month ago\n- emergency-2 last');
    expect(letter.text).toMatch(/https:\/\/console\.example\.org\/alarms\/[0-9a-f-]{36}\n/);
    // Said anew, because one of them was tried: not by mail on the same day.
    await signIn('emergency-1');
    expect(await remind()).toHaveLength(2);
    it.pass(7 * day);
    expect(await remind()).toHaveLength(4);
    it.pass(7 * day);
    expect(await remind()).toHaveLength(4);
    // Of what is muted nobody hears.
    it.pass(17 * day);
    await tell();
    const [due] = await it.store.db.selectFrom('alarm').select('id').where('judged_at', 'is', null).execute();
    await muteAlarm(it.backend, { alarmId: due?.id ?? '', scope: null, actor: 'olga', until: it.clock.now() + day, reason: 'on holiday' });
    expect(await remind()).toHaveLength(4);
  });
});

test('sessions and passkeys of before the console are the portal’s', async () => {
  const file = join(scratch('admins-upgrade'), 'sparekey.db');
  const old = await openDatabase(file, { schema: 4 });
  const person = { id: 'p', provider: 'local', subject: 'ada', user_name: 'ada', display_name: 'Ada', created_at: 1 };
  const session = { id: 's', digest: 'd', person_id: 'p', way: 'password', created_at: 1, last_seen_at: 1, fresh_at: 1, network: 'n', browser: 'b' };
  const passkey = { id: 'k', person_id: 'p', public_key: Buffer.alloc(1), counter: 0, transports: '[]', label: 'l', created_at: 1 };
  await old.write(async (tx) => {
    await tx
      .insertInto('person')
      .values(person as never)
      .execute();
    await tx
      .insertInto('web_session')
      .values(session as never)
      .execute();
    await tx
      .insertInto('passkey')
      .values(passkey as never)
      .execute();
  });
  await old.close();
  const now = await openDatabase(file);
  const [sessions, passkeys] = [await now.db.selectFrom('web_session').select('site').execute(), await now.db.selectFrom('passkey').select('host').execute()];
  await now.close();
  expect([sessions, passkeys]).toEqual([[{ site: 'portal' }], [{ host: '' }]]);
});
