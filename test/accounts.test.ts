import { argon2Sync, createHash } from 'node:crypto';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type Accounts, createAccounts } from '../server/accounts.ts';
import { openClock } from '../server/clock.ts';
import type { Store } from '../server/parts.ts';
import { passwordFault } from '../server/password-rules.ts';
import { createSignInThrottle } from '../server/sign-in-throttle.ts';
import { openNewDatabase } from './new-database.ts';
import { scratch } from './scratch.ts';
import { cpuTime } from './waiting.ts';

const secrets = { fingerprint: Buffer.alloc(32, 1), rowMac: Buffer.alloc(32, 2), nonce: Buffer.alloc(32, 3), ticket: Buffer.alloc(32, 4) };
const password = 'horse, tram, lantern';
const network = '192.0.2.7';
const elsewhere = '198.51.100.9';

let now = Date.parse('2026-11-23T09:00:00Z');
let file: string;
let store: Store;
let accounts: Accounts;

async function open(): Promise<void> {
  store = await openNewDatabase(file);
  const clock = await openClock(store, () => now);
  accounts = createAccounts({ store, clock, secrets, settings: { organisation: 'Tulip Works' } });
}
const reopen = async () => {
  await store.close();
  await open();
};

beforeEach(async () => {
  file = join(scratch('accounts'), 'sparekey.db');
  await open();
});
afterEach(() => store.close());

const pass = (seconds: number) => {
  now += seconds * 1000;
};
const acts = async (): Promise<string[]> => (await store.db.selectFrom('audit').select('act').orderBy('seq').execute()).map(({ act }) => act);
const stored = async (name = 'ada') =>
  store.db
    .selectFrom('local_account')
    .innerJoin('person', 'person.id', 'local_account.person_id')
    .selectAll()
    .where('subject', '=', name)
    .executeTakeFirstOrThrow();
const signIn = (given: { name?: string; password?: string; network?: string; known?: string } = {}) =>
  accounts.signIn({ name: 'ada', password, network, ...given });
/** All but the last are only counted: each real one costs the work of a password. */
const fail = async (times: number, given: { name?: string; network?: string } = {}) => {
  const throttle = createSignInThrottle(secrets);
  for (let at = 1; at < times; at++) await store.write((tx) => throttle.charge(tx, now, { what: 'password', name: 'ada', network, ...given }));
  return signIn({ ...given, password: 'not it' });
};
async function ada() {
  const made = await accounts.add({ name: 'Ada', displayName: 'Ada Lovelace', emergency: false, actor: 'an operator' });
  await accounts.choosePassword({ personId: made.personId, name: 'ada', password, code: made.code });
  return made;
}

describe('an account', () => {
  test('is made with a code that is stored as a digest, works for a day and once', async () => {
    const made = await accounts.add({ name: 'ada', emergency: false, actor: 'an operator' });
    expect(made.code).toMatch(/^([A-Z2-9]{5}-){3}[A-Z2-9]{5}$/);
    expect(JSON.stringify(await stored())).not.toContain(made.code.replaceAll('-', ''));
    const typed = made.code.toLowerCase().replaceAll('-', ' ');
    expect(await accounts.checkCode({ name: ' Ada ', code: typed, network })).toMatchObject({ is: 'ready', name: 'ada', emergency: false });
    expect(await accounts.choosePassword({ personId: made.personId, name: 'ada', password, code: made.code })).toMatchObject({ done: true });
    expect(await accounts.choosePassword({ personId: made.personId, name: 'ada', password: 'another one, quite long', code: made.code })).toMatchObject({
      done: false,
    });
    expect(await accounts.checkCode({ name: 'ada', code: made.code, network })).toEqual(expect.objectContaining({ is: 'wrong' }));
    expect(await signIn()).toMatchObject({ is: 'in', personId: made.personId });
    const again = await accounts.reset({ name: 'ada', actor: 'an operator', reason: 'forgot it', forgetPasskeys: false });
    pass(24 * 3600);
    expect(await accounts.checkCode({ name: 'ada', code: again.code, network })).toEqual(expect.objectContaining({ is: 'wrong' }));
    expect(await acts()).toEqual(['account.made', 'account.password-chosen', 'account.reset']);
  });

  test('is refused under a name that is taken or that is none', async () => {
    await ada();
    await expect(accounts.add({ name: 'ADA', emergency: false, actor: 'x' })).rejects.toMatchObject({ code: 'ACCOUNT_EXISTS' });
    for (const name of ['', 'a b', '-ada', 'ada\n', `a${'b'.repeat(128)}`, 'ada/..'])
      await expect(accounts.add({ name: `${name}!`, emergency: false, actor: 'x' })).rejects.toMatchObject({ code: 'USAGE' });
  });

  test('that is reset has no password any more; one that is disabled lets nobody in, not even with a code', async () => {
    const made = await ada();
    await accounts.reset({ name: 'ada', actor: 'an operator', reason: 'forgot it', forgetPasskeys: false });
    expect(await signIn()).toEqual({ is: 'wrong' });
    const { code } = await accounts.reset({ name: 'ada', actor: 'an operator', reason: 'lost it', forgetPasskeys: false });
    await accounts.choosePassword({ personId: made.personId, name: 'ada', password, code });
    expect(await signIn()).toMatchObject({ is: 'in' });
    await accounts.disable({ name: 'ada', actor: 'an operator', reason: 'left' });
    expect(await signIn()).toEqual({ is: 'off' });
    expect(await signIn({ password: 'not it' })).toEqual({ is: 'wrong' });
    const late = await accounts.reset({ name: 'ada', actor: 'an operator', reason: 'x', forgetPasskeys: false });
    expect(await accounts.checkCode({ name: 'ada', code: late.code, network })).toEqual(expect.objectContaining({ is: 'wrong' }));
    await accounts.enable({ name: 'ada', actor: 'an operator', reason: 'is back' });
    expect(await accounts.checkCode({ name: 'ada', code: late.code, network })).toMatchObject({ is: 'ready' });
  });

  test('for an emergency has no password, whoever asks for one', async () => {
    const made = await accounts.add({ name: 'glass', emergency: true, actor: 'an operator' });
    expect(await accounts.choosePassword({ personId: made.personId, name: 'glass', password, code: made.code })).toMatchObject({ done: false });
    expect((await stored('glass')).password).toBeNull();
    expect(await signIn({ name: 'glass' })).toEqual({ is: 'wrong' });
    expect(await accounts.list()).toMatchObject([{ userName: 'glass', kind: 'emergency', state: 'to be set up' }]);
  });

  test('of a name that several providers know has to be named with its provider', async () => {
    const { personId } = await ada();
    await store.write((tx) =>
      tx
        .insertInto('person')
        .values({ id: 'p2', provider: 'entra', subject: 's', user_name: 'ada', display_name: 'Ada', groups: '[]', created_at: now })
        .execute(),
    );
    await expect(accounts.disable({ name: 'ada', actor: 'x', reason: 'left' })).rejects.toMatchObject({ code: 'USAGE' });
    expect(await accounts.disable({ name: 'local:ada', actor: 'x', reason: 'left' })).toMatchObject({ personId });
    await expect(accounts.reset({ name: 'entra:ada', actor: 'x', reason: 'y', forgetPasskeys: false })).rejects.toMatchObject({ code: 'USAGE' });
    await expect(accounts.disable({ name: 'nobody', actor: 'x', reason: 'left' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('a password', () => {
  test('is stored as Argon2id with its parameters, and made anew when they were less', async () => {
    await ada();
    const { password: kept } = await stored();
    expect(kept).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    const nonce = Buffer.from('somesaltsomesalt');
    const weak = argon2Sync('argon2id', { message: password, nonce, parallelism: 1, tagLength: 32, memory: 4096, passes: 1 });
    const bare = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '');
    const old = `$argon2id$v=19$m=4096,t=1,p=1$${bare(nonce)}$${bare(weak)}`;
    await store.write((tx) => tx.updateTable('local_account').set({ password: old }).execute());
    expect(await signIn({ password: 'not it' })).toEqual({ is: 'wrong' });
    expect((await stored()).password).toBe(old);
    expect(await signIn()).toMatchObject({ is: 'in' });
    expect((await stored()).password).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    expect(await signIn()).toMatchObject({ is: 'in' });
  });

  test('may be typed in either form of a sign that has two', async () => {
    const made = await ada();
    await accounts.choosePassword({ personId: made.personId, name: 'ada', password: 'é très très caché', code: null });
    expect(await signIn({ password: 'é très très caché'.normalize('NFD') })).toMatchObject({ is: 'in' });
  });

  test('costs the same work where there is no account, or none with a password', async () => {
    await ada();
    await accounts.add({ name: 'empty', emergency: false, actor: 'x' });
    const cost = async (name: string) => {
      const times: number[] = [];
      for (let at = 0; at < 2; at++) {
        const before = cpuTime();
        await signIn({ name, password: 'not it', network: `${name}${at}` });
        times.push(cpuTime() - before);
      }
      return Math.min(...times);
    };
    const [known, unknown, empty] = [await cost('ada'), await cost('nobody'), await cost('empty')];
    // Without the work it would be a fiftieth.
    expect(unknown).toBeGreaterThan(known / 4);
    expect(empty).toBeGreaterThan(known / 4);
  });

  test('is refused where it is short, plain, common, or mostly a name', () => {
    const faults = [
      ['short one', 'too-short'],
      ['aaaaaaaaaaaaaa', 'plain'],
      ['123456789012345', 'plain'],
      ['qwertyuiop[]123', 'plain'],
      ['Password1234!', 'common'],
      ['Welkom2026!!', 'common'],
      ['Wachtwoord123', 'common'],
      ['ada.lovelace1', 'names'],
      ['TulipWorks2026', 'names'],
      ['tulip works ada', 'names'],
    ] as const;
    const names = { userName: 'ada.lovelace@example.org', displayName: 'Ada Lovelace', organisation: 'Tulip Works' };
    expect(faults.map(([text]) => [text, passwordFault(text, names)])).toEqual(faults);
  });

  test('of more than 256 signs is refused', () => {
    expect(passwordFault('long enough '.repeat(22), { userName: 'ada', displayName: '', organisation: '' })).toBe('too-long');
  });

  test('is taken as soon as it is long and of one’s own', () => {
    for (const text of ['horse, tram, lantern', 'korenbloem-tafel-zes', 'xK9!vPq2mLz#', 'een zin die ik onthoud', 'password of the blue heron'])
      expect([text, passwordFault(text, { userName: 'ada', displayName: 'Ada Lovelace', organisation: 'Tulip Works' })]).toEqual([text, null]);
  });
});

describe('guessing', () => {
  test('waits after five failures, longer each time, also after a restart, and the right password waits too', async () => {
    await ada();
    expect(await fail(4)).toEqual({ is: 'wrong' });
    expect(await fail(1)).toEqual({ is: 'wait', seconds: 30 });
    expect(await signIn()).toEqual({ is: 'wait', seconds: 30 });
    await reopen();
    pass(10);
    expect(await signIn()).toEqual({ is: 'wait', seconds: 20 });
    pass(20);
    expect(await fail(1)).toEqual({ is: 'wait', seconds: 60 });
    pass(60);
    expect(await fail(1)).toEqual({ is: 'wait', seconds: 120 });
    const throttle = createSignInThrottle(secrets);
    for (let at = 0; at < 6; at++) {
      pass(900);
      await store.write((tx) => throttle.charge(tx, now, { what: 'password', name: 'ada', network }));
    }
    expect(await signIn()).toEqual({ is: 'wait', seconds: 900 });
    pass(900);
    expect(await signIn()).toMatchObject({ is: 'in' });
    // It was right: counting begins anew.
    expect(await fail(2)).toEqual({ is: 'wrong' });
  });

  test('many at once gain no more tries than one after another', async () => {
    await ada();
    const results = await Promise.all(Array.from({ length: 12 }, () => signIn({ password: 'not it' })));
    expect(results.filter(({ is }) => is === 'wrong')).toHaveLength(4);
  });

  test('somewhere else holds up neither its person at home nor in a browser that they have used', async () => {
    await ada();
    const first = await signIn();
    const known = first.is === 'in' ? first.known : '';
    await fail(8, { network: elsewhere });
    expect(await signIn({ network: elsewhere })).toMatchObject({ is: 'wait' });
    expect(await signIn()).toMatchObject({ is: 'in' });
    expect(await signIn({ network: elsewhere, known })).toMatchObject({ is: 'in' });
    // Such a cookie is good for the name that it was made for, and cannot be made up.
    expect(await signIn({ network: elsewhere, known: `${known.split('.')[0]}.${'A'.repeat(43)}` })).toMatchObject({ is: 'wait' });
    await accounts.add({ name: 'eve', emergency: false, actor: 'x' });
    await fail(6, { name: 'eve', network: elsewhere });
    expect(await signIn({ name: 'eve', network: elsewhere, known })).toMatchObject({ is: 'wait' });
  });

  test('from many places at once slows down every stranger for minutes, and ends by itself', async () => {
    await ada();
    const first = await signIn();
    const known = first.is === 'in' ? first.known : '';
    // What thirty failures leave behind, without the work of each.
    const throttle = createSignInThrottle(secrets);
    for (let at = 0; at < 30; at++) await store.write((tx) => throttle.charge(tx, now, { what: 'password', name: 'ada', network: `203.0.113.${at}` }));
    expect(await signIn({ network: 'a new place' })).toEqual({ is: 'wait', seconds: 30 });
    expect(await signIn({ network: 'a new place', known })).toMatchObject({ is: 'in' });
    pass(30);
    expect(await signIn({ network: 'a new place' })).toMatchObject({ is: 'in' });
  });

  test('a name that nobody has waits just as long, and no name that was typed is stored', async () => {
    expect(await fail(4, { name: 'my-secret-password' })).toEqual({ is: 'wrong' });
    expect(await fail(1, { name: 'my-secret-password' })).toEqual({ is: 'wait', seconds: 30 });
    const everything = JSON.stringify(
      await Promise.all([store.db.selectFrom('sign_in_throttle').selectAll().execute(), store.db.selectFrom('audit').selectAll().orderBy('seq').execute()]),
    );
    expect(everything).not.toContain('my-secret-password');
    expect(everything).not.toContain(createHash('sha256').update('my-secret-password').digest('hex'));
    expect(await acts()).toEqual(['sign-in.slowed']);
  });

  test('is in the audit once for each step, not for each try', async () => {
    await ada();
    await fail(4);
    expect(await acts()).not.toContain('sign-in.slowed');
    for (let at = 0; at < 5; at++) await fail(1);
    expect((await acts()).filter((act) => act === 'sign-in.slowed')).toHaveLength(1);
  });

  test('a one-time code cannot be tried for ever, and the guesses of others do not stand in its way', async () => {
    const made = await accounts.add({ name: 'ada', emergency: false, actor: 'x' });
    for (let at = 0; at < 5; at++) await accounts.checkCode({ name: 'ada', code: 'AAAAA-AAAAA-AAAAA-AAAAA', network: elsewhere });
    expect(await accounts.checkCode({ name: 'ada', code: made.code, network: elsewhere })).toMatchObject({ is: 'wait', seconds: 30 });
    for (let at = 0; at < 40; at++) await accounts.checkCode({ name: 'ada', code: 'AAAAA', network: `203.0.113.${at}` });
    expect(await accounts.checkCode({ name: 'ada', code: made.code, network })).toMatchObject({ is: 'ready' });
  });
});
