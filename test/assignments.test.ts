import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { checkAgain, ownMac, ownMacs } from '../portal/own-mac.ts';
import { assign, assignFromCsv, readAccount, readUserName, unassign, whose } from '../server/assignments.ts';
import type { Backend } from '../server/backend.ts';
import { setStanding } from '../server/mac-standing.ts';
import { peopleSettings } from '../server/people-settings.ts';
import { type Claim, claimHistory, claimsOf } from '../server/store/assignments.ts';
import type { Person } from '../web/visit.ts';
import { type GivenServer, givenServer, hour, minute, newKey, secrets, type TestMac } from './server-parts.ts';

let server: GivenServer;
beforeAll(async () => {
  server = await givenServer();
});
afterAll(() => server.close());

const db = () => server.store.db;
const act = <T>(work: Parameters<GivenServer['store']['write']>[0] extends (tx: infer X) => unknown ? (tx: X, at: number) => Promise<T> : never): Promise<T> =>
  server.store.write(async (tx) => work(tx, await server.clock.persist(tx)));
const by = { actor: 'olivia', reason: 'a test' };
const give = (mac: TestMac, userName: string, account: string | null = null) => act((tx, at) => assign(tx, at, { macId: mac.id, userName, account, ...by }));
const list = (mac: TestMac, ...names: string[]) =>
  act((tx, at) => assignFromCsv(tx, at, { macId: mac.id, people: names.map((userName) => ({ userName, account: null })), ...by }));
/** Whose it is, in short. */
const isOf = async (mac: TestMac): Promise<string | string[] | null> => {
  const owner = whose(await claimsOf(db(), mac.id));
  return owner.kind === 'one' ? owner.userName : owner.kind === 'nobody' ? null : [...owner.userNames];
};
/** At its next check-in, by its managed settings. */
const says = async (mac: TestMac, assignedTo: string | null | undefined): Promise<void> => {
  server.wall.pass(minute);
  const { assignedTo: _, ...rest } = mac.factsMore;
  mac.factsMore = assignedTo === undefined ? rest : { ...rest, assignedTo };
  await mac.checkIn();
};
const person = (userName: string, groups: string[] = []): Person => ({
  id: `id of ${userName}`,
  userName,
  displayName: userName,
  email: null,
  groups,
  emergency: false,
});
const ground = (selfService: object = {}) => ({
  backend: { store: server.store, escrowKeys: server.escrow, secrets, settings: { keys: server.settings }, clock: server.clock } as unknown as Backend,
  settings: peopleSettings.parse({ url: 'https://key.example.org', listen: { port: 443 }, selfService }),
});
const seen = async (mac: TestMac, userName: string, selfService: object = {}) =>
  (await ownMac(ground(selfService), person(userName), mac.id, server.clock.now()))?.decision ?? null;

describe('whose a Mac is', () => {
  const claim = (user_name: string, rank: number): Claim => ({ user_name, rank }) as Claim;

  test('the highest rank counts; two people of it are two claims, and it is nobody’s', () => {
    expect(whose([])).toEqual({ kind: 'nobody' });
    expect(whose([claim('ada', 1), claim('grace', 2)])).toMatchObject({ kind: 'one', userName: 'grace' });
    expect(whose([claim('ada', 3), claim('grace', 2), claim('ada', 3)])).toMatchObject({ kind: 'one', userName: 'ada' });
    expect(whose([claim('grace', 2), claim('ada', 2), claim('hedy', 1)])).toEqual({ kind: 'two-claims', userNames: ['ada', 'grace'] });
  });

  test('user names are compared in lower case and in one way of writing accents', () => {
    expect(readUserName(' Ada@Example.ORG ')).toBe('ada@example.org');
    expect(readUserName('Zoe\u0308')).toBe(readUserName('ZOË'));
  });

  test.each(['', '  ', '=1+1', '+31', '-x', '@x', '$EMAIL', '{{mail}}', '%Email%', 'a\nb', 'a\u202eb', 'a\u0000', 'x'.repeat(257)])(
    '%.30j is no user name',
    (name) => {
      expect(readUserName(name)).toBeNull();
    },
  );

  test('an account is the short name of one, without what a path or a terminal would make of it', () => {
    expect(['ada', 'ada.lovelace', '_mbsetupuser', 'zoë'].map(readAccount)).toEqual(['ada', 'ada.lovelace', '_mbsetupuser', 'zoë']);
    expect(['', '../x', 'a b', '-ada', '=x'].map(readAccount)).toEqual([null, null, null, null, null]);
  });

  test('an admin’s word ends the word of admins before it and outranks all others; each is in the audit with its reason', async () => {
    const mac = await server.newMac();
    await list(mac, 'csv.person');
    expect(await isOf(mac)).toBe('csv.person');
    expect(await give(mac, 'ada')).toEqual({ before: [] });
    expect(await give(mac, 'grace')).toEqual({ before: ['ada'] });
    expect(await isOf(mac)).toBe('grace');
    expect((await claimHistory(db(), mac.id)).map((one) => [one.user_name, one.source, one.rank, one.ended_because])).toEqual(
      expect.arrayContaining([
        ['grace', 'admin', 3, null],
        ['ada', 'admin', 3, 'assigned again'],
        ['csv.person', 'csv', 2, null],
      ]),
    );
    const made = (await server.acts('assignment.made')).slice(-3);
    expect(made.map(({ actor, details }) => [actor, details['userName'], details['source'], details['reason']])).toEqual([
      ['olivia', 'csv.person', 'csv', 'a test'],
      ['olivia', 'ada', 'admin', 'a test'],
      ['olivia', 'grace', 'admin', 'a test'],
    ]);
    expect((await server.acts('assignment.ended')).at(-1)).toMatchObject({ actor: 'olivia', details: { userName: 'ada', because: 'assigned again' } });
  });

  test('unassigned it is nobody’s, whoever had said so; or one person’s no more', async () => {
    const mac = await server.newMac();
    await list(mac, 'ada', 'grace');
    expect(await isOf(mac)).toEqual(['ada', 'grace']);
    await act((tx, at) => unassign(tx, at, { macId: mac.id, userName: 'ada', ...by }));
    expect(await isOf(mac)).toBe('grace');
    await give(mac, 'hedy');
    await act((tx, at) => unassign(tx, at, { macId: mac.id, userName: null, ...by }));
    expect(await isOf(mac)).toBeNull();
  });

  test('without a reason, or for a Mac that there is not, nobody is assigned', async () => {
    const mac = await server.newMac();
    await expect(act((tx, at) => assign(tx, at, { macId: mac.id, userName: 'ada', account: null, actor: 'x', reason: ' ' }))).rejects.toMatchObject({
      code: 'REASON_MISSING',
    });
    await expect(act((tx, at) => assign(tx, at, { macId: 'none', userName: 'ada', account: null, ...by }))).rejects.toMatchObject({ code: 'MAC_UNKNOWN' });
    expect(await isOf(mac)).toBeNull();
  });
});

describe('the profile’s word, at a check-in', () => {
  test('names a person at the lowest rank, changes with the profile, and ends with it', async () => {
    const mac = await server.newMac();
    await says(mac, 'Ada@Example.org');
    expect(await isOf(mac)).toBe('ada@example.org');
    expect(await claimsOf(db(), mac.id)).toMatchObject([{ source: 'profile', rank: 1, created_by: 'mac' }]);
    await says(mac, 'grace@example.org');
    expect(await isOf(mac)).toBe('grace@example.org');
    await says(mac, null);
    expect(await isOf(mac)).toBeNull();
    expect((await claimHistory(db(), mac.id)).map((one) => one.ended_because).toSorted()).toEqual([
      'the profile names nobody',
      'the profile names somebody else',
    ]);
    await says(mac, 'grace@example.org');
    expect(await isOf(mac)).toBe('grace@example.org');
  });

  test('said again it changes nothing: no row, no line in the audit', async () => {
    const mac = await server.newMac();
    await says(mac, 'ada');
    const before = (await server.acts()).length;
    await says(mac, 'ada');
    await says(mac, ' ADA ');
    expect((await server.acts()).length).toBe(before);
    expect(await claimHistory(db(), mac.id)).toHaveLength(1);
  });

  test('an agent that says nothing of it, a variable that was left unfilled, and settings that are not managed change nothing', async () => {
    const mac = await server.newMac();
    await says(mac, 'ada');
    await says(mac, undefined);
    await says(mac, '$EMAIL');
    mac.factsMore = { settings: { managed: false, unmanagedSince: new Date(server.wall.now()).toISOString(), digest: '0'.repeat(64) } };
    await says(mac, 'grace');
    await says(mac, null);
    expect(await isOf(mac)).toBe('ada');
  });

  test('it is outranked by a list and by an admin, and counts again when those end', async () => {
    const mac = await server.newMac();
    await says(mac, 'ada');
    await list(mac, 'grace');
    expect(await isOf(mac)).toBe('grace');
    await act((tx, at) => unassign(tx, at, { macId: mac.id, userName: 'grace', ...by }));
    expect(await isOf(mac)).toBe('ada');
  });

  test('what an admin has ended stays ended while the Mac goes on saying it, until its profile says another', async () => {
    const mac = await server.newMac();
    await says(mac, 'ada');
    await act((tx, at) => unassign(tx, at, { macId: mac.id, userName: null, ...by }));
    await says(mac, 'ada');
    expect(await isOf(mac)).toBeNull();
    await says(mac, 'grace');
    expect(await isOf(mac)).toBe('grace');
  });

  test('two enrolments of one Mac that name two people are two claims: nobody’s, until an admin decides', async () => {
    const mac = await server.newMac();
    await mac.deliver(newKey());
    await says(mac, 'ada');
    await mac.enrol({}, true);
    await says(mac, 'mallory');
    expect(await isOf(mac)).toEqual(['ada', 'mallory']);
    const macs = await ownMacs(ground(), person('mallory'), server.clock.now());
    expect(macs.map(({ macId, decision, assignment }) => [macId, decision, assignment])).toEqual([[mac.id, { may: 'not', because: 'two-claims' }, null]]);
    await give(mac, 'ada');
    expect(await isOf(mac)).toBe('ada');
    expect(await ownMac(ground(), person('mallory'), mac.id, server.clock.now())).toBeNull();
  });

  test('an enrolment that nobody has confirmed brings its person to its own keys, and not to those of before it', async () => {
    const mac = await server.newMac();
    await mac.checkIn();
    await mac.deliver(newKey());
    await mac.enrol({ confirmed: false }, true);
    await says(mac, 'mallory');
    expect(await seen(mac, 'mallory')).toEqual({ may: 'not', because: 'not-confirmed' });
    await expect(act((tx, at) => checkAgain(ground(), tx, person('mallory'), mac.id, at))).rejects.toMatchObject({
      code: 'NOT_SHOWN',
      detail: 'not-confirmed',
    });
    await server.custody.confirmEnrolment({ enrolmentId: mac.enrolmentId, ...by });
    expect(await seen(mac, 'mallory')).toEqual({ may: 'show' });

    const own = await server.newMac({ confirmed: false });
    await own.deliver(newKey());
    await says(own, 'ada');
    expect(await seen(own, 'ada')).toEqual({ may: 'show' });
  });
});

describe('what pages know of somebody’s Macs', () => {
  async function withKey(more: TestMac['factsMore'] = {}): Promise<TestMac> {
    const mac = await server.newMac();
    mac.factsMore = more;
    await mac.checkIn();
    await mac.deliver(newKey());
    return mac;
  }

  test('model, name, chip, macOS, layout and language, the end of the serial, the key and who says whose it is', async () => {
    const mac = await withKey({ model: 'Mac15,6', chip: 'Apple M3 Pro', name: 'Hedy’s Mac', keyboardLayout: 'Dutch', language: 'nl-NL' });
    await give(mac, 'hedy', 'hedy');
    const own = await ownMac(ground(), person('hedy'), mac.id, server.clock.now());
    expect(own).toMatchObject({
      serial: mac.serial,
      serialEnd: mac.serial.slice(-4),
      modelName: 'MacBook Pro',
      name: 'Hedy’s Mac',
      isAppleSilicon: true,
      macosVersion: '26.2',
      fileVault: 'on',
      encryptedBy: 'organisation',
      custody: { state: 'held', unopened: false },
      provedAt: null,
      keys: { held: true, candidates: 0, shownAt: null },
      rotation: { open: null, owed: false, hold: null },
      keyboardLayout: 'Dutch',
      macLanguage: 'nl-NL',
      account: 'hedy',
      secureTokenUsers: 2,
      assignment: { source: 'admin', by: 'olivia' },
      standing: { ownership: 'organisation', state: 'in-use', set: null },
      decision: { may: 'show' },
    });
    await server.custody.disclose({ macId: mac.id, actor: 'hedy', reason: 'locked out', person: 'hedy' });
    const after = await ownMac(ground(), person('hedy'), mac.id, server.clock.now());
    expect(after?.rotation).toMatchObject({ owed: true, hold: { since: server.clock.now(), until: server.clock.now() + 24 * hour } });
    expect(after?.keys.shownAt).toBe(server.clock.now());
  });

  test('the account that a list names is known also where an admin says whose it is without it; another person’s is not taken', async () => {
    const mac = await withKey();
    await act((tx, at) => assignFromCsv(tx, at, { macId: mac.id, people: [{ userName: 'hedy', account: 'hlamarr' }], ...by }));
    const accountOf = async (userName: string) => (await ownMac(ground(), person(userName), mac.id, server.clock.now()))?.account;
    await give(mac, 'hedy');
    expect(await accountOf('hedy')).toBe('hlamarr');
    await give(mac, 'grace');
    expect(await accountOf('grace')).toBeNull();
  });

  test('only their own, the one that was seen last first; another’s is as one that there is not', async () => {
    const [first, second] = [await withKey(), await withKey()];
    await give(first, 'rosalind');
    await give(second, 'rosalind');
    const other = await withKey();
    await give(other, 'dorothy');
    const order = async () => (await ownMacs(ground(), person('rosalind'), server.clock.now())).map(({ macId }) => macId);
    server.wall.pass(minute);
    await first.checkIn();
    expect(await order()).toEqual([first.id, second.id]);
    server.wall.pass(minute);
    await second.checkIn();
    expect(await order()).toEqual([second.id, first.id]);
    expect(await ownMac(ground(), person('rosalind'), other.id, server.clock.now())).toBeNull();
    expect(await ownMac(ground(), person('rosalind'), 'no such Mac', server.clock.now())).toBeNull();
  });

  test('lost, retired, the user’s own, a managed local admin: an admin says so, and each is a reason of its own', async () => {
    const mac = await withKey();
    await give(mac, 'ada');
    const set = (change: Parameters<typeof setStanding>[2]['change']) => act((tx, at) => setStanding(tx, at, { macId: mac.id, change, ...by }));
    const refuse = { managedLocalAdmin: 'refuse' };
    expect(await seen(mac, 'ada', refuse)).toEqual({ may: 'show' });
    await set({ localAdmin: true });
    expect([await seen(mac, 'ada', refuse), await seen(mac, 'ada')]).toEqual([{ may: 'not', because: 'managed-local-admin' }, { may: 'show' }]);
    await set({ ownership: 'personal' });
    expect(await seen(mac, 'ada')).toEqual({ may: 'not', because: 'personal' });
    await set({ state: 'lost' });
    expect(await seen(mac, 'ada')).toEqual({ may: 'not', because: 'lost' });
    await set({ state: 'retired' });
    expect(await seen(mac, 'ada')).toEqual({ may: 'not', because: 'retired' });
    await set({ state: 'in-use', ownership: 'organisation', localAdmin: false });
    expect(await seen(mac, 'ada')).toEqual({ may: 'show' });
    expect((await server.acts('mac.standing')).at(-2)).toMatchObject({
      actor: 'olivia',
      details: { state: 'retired', ownership: 'personal', was: { state: 'lost' }, reason: 'a test' },
    });
  });

  test('an open alarm about the Mac’s identity stops it until it is judged; an alarm that only tells does not', async () => {
    const mac = await withKey();
    await give(mac, 'ada');
    const raise = (code: string) =>
      act(async (tx, at) => {
        const id = `${code} of ${mac.id}`;
        await tx.insertInto('alarm').values({ id, mac_id: mac.id, code, detail: 'x', opened_at: at }).execute();
        return id;
      });
    await raise('ENVELOPE_REUSED');
    expect(await seen(mac, 'ada')).toEqual({ may: 'show' });
    const alarmId = await raise('SERIAL_CONFLICT');
    expect(await seen(mac, 'ada')).toEqual({ may: 'not', because: 'alarm' });
    await server.custody.judgeAlarm({ alarmId, actor: 'olivia', judgement: 'looked at it' });
    expect(await seen(mac, 'ada')).toEqual({ may: 'show' });
  });

  test('FileVault off, never checked in, encrypted by its user, no key: by what the Mac has said', async () => {
    const off = await withKey({ fileVault: { state: 'off', hasRecoveryKey: 'no' } });
    const silent = await server.newMac();
    const byUser = await server.newMac();
    byUser.factsMore = { escrow: { payload: 'none', location: null, file: null } };
    const noKey = await server.newMac();
    for (const mac of [byUser, noKey]) await mac.checkIn();
    for (const mac of [off, silent, byUser, noKey]) await give(mac, 'ada');
    expect(await Promise.all([off, silent, byUser, noKey].map((mac) => seen(mac, 'ada')))).toEqual([
      { may: 'not', because: 'file-vault-off' },
      { may: 'not', because: 'not-checked-in' },
      { may: 'not', because: 'encrypted-by-user' },
      { may: 'not', because: 'no-key' },
    ]);
  });

  test('the question is asked again within the transaction of a disclosure: what was taken away since the page was made is not shown', async () => {
    const mac = await withKey();
    await give(mac, 'ada');
    const show = (userName = 'ada', selfService: object = {}) =>
      server.custody.disclose({
        macId: mac.id,
        actor: userName,
        reason: 'locked out',
        before: async (tx, at) => void (await checkAgain(ground(selfService), tx, person(userName), mac.id, at)),
      });
    expect((await show()).key.reveal()).toMatch(/^[A-Z0-9]{4}(-[A-Z0-9]{4}){5}$/);
    const views = (await server.acts('key.disclosed')).length;
    await expect(show('ada', { everybody: 'off' })).rejects.toMatchObject({ code: 'NOT_SHOWN', detail: 'off' });
    await expect(show('ada', { everybody: 'with-approval' })).rejects.toMatchObject({ code: 'NOT_SHOWN', detail: 'not approved' });
    await expect(show('grace')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await act((tx, at) => setStanding(tx, at, { macId: mac.id, change: { state: 'lost' }, ...by }));
    await expect(show()).rejects.toMatchObject({ code: 'NOT_SHOWN', detail: 'lost' });
    await give(mac, 'grace');
    await expect(show()).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect((await server.acts('key.disclosed')).length).toBe(views);
  });
});
