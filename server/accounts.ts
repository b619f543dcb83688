import { argon2, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { Problem } from '../protocol/problems.ts';
import { audit } from './audit.ts';
import type { ServerClock } from './clock.ts';
import type { ServerSecrets, Store, Tx } from './parts.ts';
import { type PasswordFault, passwordFault } from './password-rules.ts';
import { codeDigest, makeCode } from './set-up-code.ts';
import { createSignInThrottle, type Try } from './sign-in-throttle.ts';
import { endApiTokensOf } from './store/api-tokens.ts';
import { markDirtyByUser } from './store/fleet-dirty.ts';
import { removePasskeysOf } from './store/passkeys.ts';
import { accountNamed, everybody, insertAccount, insertPerson, type KnownPerson, peopleNamed, updateAccount, updatePerson } from './store/people.ts';
import { endWebSessionsOf } from './store/web-sessions.ts';

const derive = promisify(argon2);

/** OWASP's least is 19 MiB in two passes; a stored password that was made with less is made anew when its person signs in. */
interface Work {
  /** KiB. */
  memory: number;
  passes: number;
}
const today: Work = { memory: 19_456, passes: 2 };
const tagLength = 32;

/** Each takes its memory and a thread: more at once would only be slower. Whoever comes when so many wait is sent away. */
const atOnce = 2;
const mostWaiting = 64;
let working = 0;
const waiting: (() => void)[] = [];

async function digest(password: string, nonce: Buffer, work: Work): Promise<Buffer> {
  if (working >= atOnce) await new Promise<void>((resolve) => waiting.push(resolve));
  else working += 1;
  try {
    // One sign may be typed in two ways, on a Mac and on a telephone.
    return await derive('argon2id', { message: password.normalize('NFKC'), nonce, parallelism: 1, tagLength, ...work });
  } finally {
    const next = waiting.shift();
    if (next) next();
    else working -= 1;
  }
}

const base64 = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '');

async function hashPassword(password: string): Promise<string> {
  const nonce = randomBytes(16);
  return `$argon2id$v=19$m=${today.memory},t=${today.passes},p=1$${base64(nonce)}$${base64(await digest(password, nonce, today))}`;
}

/** Without a stored password the work is done all the same. `old`: it was made with other parameters than today's. */
async function comparePassword(password: string, stored: string | null): Promise<{ right: boolean; old: boolean }> {
  const parts = /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=1\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/.exec(stored ?? '');
  const work = parts ? { memory: Number(parts[1]), passes: Number(parts[2]) } : today;
  const made = await digest(password, parts ? Buffer.from(parts[3] ?? '', 'base64') : Buffer.alloc(16), work);
  const expected = parts ? Buffer.from(parts[4] ?? '', 'base64') : Buffer.alloc(0);
  const right = made.length === expected.length && timingSafeEqual(made, expected);
  return { right, old: work.memory !== today.memory || work.passes !== today.passes };
}

const setUpHours = 24;
const tidyName = (name: string): string => name.trim().toLowerCase();
const namePattern = /^[a-z0-9][a-z0-9._@+-]{0,127}$/;

/** `off`: it was right, and somebody has disabled the account. */
export type SignedInByPassword = { is: 'in'; personId: string; known: string; still: StillThat } | { is: 'wrong' | 'off' } | { is: 'wait'; seconds: number };

/** Whether the password is still the one that was right: asked in the act that lets its person in, for it may be reset meanwhile. */
type StillThat = (tx: Tx) => Promise<boolean>;
const stillThat =
  (name: string, password: string | null): StillThat =>
  async (tx) =>
    (await accountNamed(tx, name))?.password === password;

export type SetUp =
  | { is: 'ready'; personId: string; name: string; displayName: string; emergency: boolean }
  | { is: 'wrong' }
  | { is: 'wait'; seconds: number };

interface Parts {
  store: Store;
  clock: ServerClock;
  secrets: ServerSecrets;
  settings: { organisation: string };
}
export type Accounts = ReturnType<typeof createAccounts>;

/** The one person of a name; where several providers have it: `provider:name`. */
export async function personNamed(db: Store['db'], given: string): Promise<KnownPerson> {
  const [, provider, name = ''] = /^(?:([a-z][a-z0-9-]*):)?(.+)$/.exec(tidyName(given)) ?? [];
  const found = (await peopleNamed(db, name)).filter((person) => provider === undefined || person.provider === provider);
  const [person, ...more] = found;
  if (!person) throw new Problem('NOT_FOUND', `there is nobody of the name ${given}`);
  if (more.length > 0) throw new Problem('USAGE', `several people have that name: say ${found.map((one) => `${one.provider}:${name}`).join(' or ')}`);
  return person;
}

/** Accounts that are made here, by `sparekey-server account`, and what may be done about anybody. */
export function createAccounts({ store, clock, secrets, settings }: Parts) {
  const throttle = createSignInThrottle(secrets);
  const act = <T>(work: (tx: Tx, at: number) => Promise<T>): Promise<T> => store.write(async (tx) => work(tx, await clock.persist(tx)));

  async function newCode(tx: Tx, personId: string, at: number) {
    const code = makeCode();
    const expiresAt = at + setUpHours * 60 * 60 * 1000;
    await updateAccount(tx, personId, { setup_digest: codeDigest(code), setup_expires_at: expiresAt });
    return { code, expiresAt };
  }

  async function failed(attempt: Try, step: { failures: number; of: string; seconds: number } | null): Promise<void> {
    if (!step) return;
    await act(async (tx, at) => {
      // What was typed is in no record where it is nobody's name: it may be a password.
      const person = (await accountNamed(tx, attempt.name))?.user_name ?? null;
      await audit(tx, { at, actor: 'server', act: 'sign-in.slowed', details: { what: attempt.what, person, network: attempt.network, ...step } });
    });
  }

  return {
    /** The code in plain is returned here and never again. */
    add: (given: { name: string; displayName?: string | undefined; email?: string | undefined; emergency: boolean; actor: string }) =>
      act(async (tx, at) => {
        const name = tidyName(given.name);
        if (!namePattern.test(name)) throw new Problem('USAGE', 'a user name has small letters, digits and . _ @ + - only');
        if (await accountNamed(tx, name)) throw new Problem('ACCOUNT_EXISTS', name);
        const id = randomUUID();
        const email = given.email?.trim().toLowerCase() ?? (name.includes('@') ? name : null);
        await insertPerson(tx, {
          id,
          provider: 'local',
          subject: name,
          user_name: name,
          email,
          display_name: given.displayName?.trim() || name,
          groups: '[]',
          language: null,
          created_at: at,
          last_seen_at: null,
          confirmed_at: null,
          disabled_at: null,
          disabled_because: null,
        });
        const emergency = given.emergency ? 1 : 0;
        await insertAccount(tx, { person_id: id, password: null, password_at: null, setup_digest: null, setup_expires_at: null, emergency });
        const made = await newCode(tx, id, at);
        await audit(tx, { at, actor: given.actor, act: 'account.made', details: { personId: id, name, emergency: given.emergency } });
        return { personId: id, name, ...made };
      }),

    /** Everybody: accounts of this place, and people whom a provider has named. */
    async list() {
      const at = clock.now();
      return (await everybody(store.db)).map((person) => {
        const isSetUp = person.provider !== 'local' || person.password_at !== null || person.passkeys > 0;
        const waits = (person.setup_expires_at ?? 0) > at;
        return {
          userName: person.user_name,
          displayName: person.display_name,
          kind: person.emergency === 1 ? 'emergency' : person.provider,
          state: person.disabled_at !== null ? 'disabled' : isSetUp ? 'usable' : waits ? 'to be set up' : 'code expired',
          passkeys: person.passkeys,
          lastSeenAt: person.last_seen_at,
        };
      });
    },

    /** Another code; the password goes, and every session. */
    reset: (given: { name: string; actor: string; reason: string; forgetPasskeys: boolean }) =>
      act(async (tx, at) => {
        const person = await personNamed(tx, given.name);
        if (person.provider !== 'local') throw new Problem('USAGE', `${person.user_name} signs in with ${person.provider}: there is no password here`);
        await updateAccount(tx, person.id, { password: null, password_at: null });
        const passkeys = given.forgetPasskeys ? await removePasskeysOf(tx, person.id) : 0;
        // Whoever had got at the account may have made tokens with it.
        const tokens = await endApiTokensOf(tx, person.id, given.actor, at);
        const sessions = await endWebSessionsOf(tx, person.id, 'reset', at);
        const made = await newCode(tx, person.id, at);
        const details = { personId: person.id, name: person.user_name, reason: given.reason, sessions, tokens, passkeysForgotten: passkeys };
        await audit(tx, { at, actor: given.actor, act: 'account.reset', details });
        return { personId: person.id, name: person.user_name, ...made };
      }),

    /** Also of people who sign in with a provider. Their sessions end in the same act. */
    disable: (given: { name: string; actor: string; reason: string }) =>
      act(async (tx, at) => {
        const person = await personNamed(tx, given.name);
        await updatePerson(tx, person.id, { disabled_at: person.disabled_at ?? at, disabled_because: given.reason });
        await markDirtyByUser(tx, person.user_name);
        await updateAccount(tx, person.id, { setup_digest: null, setup_expires_at: null });
        const sessions = await endWebSessionsOf(tx, person.id, 'disabled', at);
        await audit(tx, {
          at,
          actor: given.actor,
          act: 'account.disabled',
          details: { personId: person.id, name: person.user_name, reason: given.reason, sessions },
        });
        return { personId: person.id, name: person.user_name, sessions };
      }),

    enable: (given: { name: string; actor: string; reason: string }) =>
      act(async (tx, at) => {
        const person = await personNamed(tx, given.name);
        await updatePerson(tx, person.id, { disabled_at: null, disabled_because: null });
        await markDirtyByUser(tx, person.user_name);
        await audit(tx, { at, actor: given.actor, act: 'account.enabled', details: { personId: person.id, name: person.user_name, reason: given.reason } });
        return { personId: person.id, name: person.user_name };
      }),

    /** One answer for a wrong password, a name that there is not, and an account without one, after the same work. */
    async signIn(given: { name: string; password: string; network: string; known?: string | undefined }): Promise<SignedInByPassword> {
      const attempt: Try = { what: 'password', name: tidyName(given.name), network: given.network, known: given.known };
      // Seconds until a place is likely to be free.
      if (waiting.length >= mostWaiting) return { is: 'wait', seconds: 10 };
      const { charged, account } = await act(async (tx, at) => ({
        charged: await throttle.charge(tx, at, attempt),
        account: await accountNamed(tx, attempt.name),
      }));
      if (charged.waitSeconds > 0) return { is: 'wait', seconds: charged.waitSeconds };
      // Longer than any password may be: not worth the work, and no secret either.
      const compared = await comparePassword(given.password.slice(0, 1024), account?.emergency === 0 ? account.password : null);
      if (!compared.right || !account) {
        await failed(attempt, charged.step);
        return charged.step ? { is: 'wait', seconds: charged.step.seconds } : { is: 'wrong' };
      }
      const better = compared.old ? await hashPassword(given.password) : null;
      return act(async (tx) => {
        const now = await accountNamed(tx, attempt.name);
        // It was changed, or taken away, while the work was done.
        if (now?.password !== account.password) return { is: 'wrong' };
        await throttle.forgive(tx, attempt);
        if (now.disabled_at !== null) return { is: 'off' };
        if (better) await updateAccount(tx, account.person_id, { password: better });
        const still = stillThat(attempt.name, better ?? account.password);
        return { is: 'in', personId: account.person_id, known: throttle.knownBrowser(attempt.name), still };
      });
    },

    /** Whether a one-time code is right. It stays good until a password or a passkey stands in its place. */
    async checkCode(given: { name: string; code: string; network: string }): Promise<SetUp> {
      const attempt: Try = { what: 'set-up', name: tidyName(given.name), network: given.network };
      const result = await act(async (tx, at) => {
        const charged = await throttle.charge(tx, at, attempt);
        if (charged.waitSeconds > 0) return { is: 'wait' as const, seconds: charged.waitSeconds, step: null };
        const account = await accountNamed(tx, attempt.name);
        const expected = Buffer.from(account?.setup_digest ?? '0'.repeat(64));
        const right = timingSafeEqual(Buffer.from(codeDigest(given.code)), expected) && account?.setup_digest != null;
        if (!right || account.disabled_at !== null || (account.setup_expires_at ?? 0) <= at) return { is: 'wrong' as const, step: charged.step };
        await throttle.forgive(tx, attempt);
        const { person_id: personId, user_name: name, display_name: displayName } = account;
        return { is: 'ready' as const, personId, name, displayName, emergency: account.emergency === 1 };
      });
      if (result.is === 'wrong') await failed(attempt, result.step);
      return result;
    },

    faultOf: (password: string, person: { name: string; displayName: string }): PasswordFault | null =>
      passwordFault(password, { userName: person.name, displayName: person.displayName, organisation: settings.organisation }),

    /**
     * The password that somebody has chosen: in place of a code, or of another password. Every other session of theirs ends.
     * `before`: first in the act, for the work on a password takes long enough for an account to be reset meanwhile.
     */
    async choosePassword(given: {
      personId: string;
      name: string;
      password: string;
      code: string | null;
      before?: (tx: Tx, at: number) => Promise<unknown>;
    }): Promise<{ done: boolean; known: string; still: StillThat }> {
      const password = await hashPassword(given.password);
      const done = await act(async (tx, at) => {
        await given.before?.(tx, at);
        const account = await accountNamed(tx, given.name);
        if (!account || account.person_id !== given.personId || account.emergency === 1) return false;
        if (given.code !== null && !(await spendCode(tx, given, at))) return false;
        await updateAccount(tx, given.personId, { password, password_at: at, setup_digest: null, setup_expires_at: null });
        const sessions = await endWebSessionsOf(tx, given.personId, 'password changed', at);
        await audit(tx, {
          at,
          actor: given.name,
          act: 'account.password-chosen',
          details: { personId: given.personId, byCode: given.code !== null, sessions },
        });
        return true;
      });
      return { done, known: throttle.knownBrowser(given.name), still: stillThat(given.name, password) };
    },
  };
}

/** In the act of what it is good for: false where somebody was quicker, or its time is over. */
export async function spendCode(tx: Tx, given: { name: string; code: string | null }, at: number): Promise<boolean> {
  const account = await accountNamed(tx, given.name);
  if (!account || given.code === null || account.disabled_at !== null || account.setup_digest !== codeDigest(given.code)) return false;
  if ((account.setup_expires_at ?? 0) <= at) return false;
  await updateAccount(tx, account.person_id, { setup_digest: null, setup_expires_at: null });
  return true;
}
