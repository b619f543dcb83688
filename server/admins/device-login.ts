import { createHash, createHmac, randomBytes, randomUUID } from 'node:crypto';
import { Problem } from '../../protocol/problems.ts';
import { audit } from '../audit.ts';
import type { Backend } from '../backend.ts';
import { tokenBuckets } from '../limits.ts';
import type { Admin } from '../permissions.ts';
import { forgetOldestLogins, insertLogin, type LoginRow, loginBy, updateLogin } from '../store/api-tokens.ts';
import { presentGrants } from './admin.ts';
import { type MadeToken, makeLoginToken } from './tokens.ts';

const minute = 60_000;
const waitsMs = 10 * minute;
/** Seconds between two questions of a program. */
const intervalSeconds = 3;
/** Of everybody: each is a row until its time is over, and anybody may ask for one. A minute is enough to confirm one. */
export const mostWaiting = 20_000;
/** No vowels, so that no words come of it; nothing that looks like something else. 20 signs, 8 of them: 34 bits for ten minutes. */
const userSigns = 'BCDFGHJKLMNPQRSTVWXZ';

const tidy = (code: string): string => code.toUpperCase().replace(/[^A-Z]/g, '');

function makeUserCode(): string {
  const signs: string[] = [];
  while (signs.length < 8) {
    // 240 = 12 × 20: what is above would make the first signs likelier.
    for (const byte of randomBytes(16)) if (byte < 240 && signs.length < 8) signs.push(userSigns[byte % userSigns.length] ?? '');
  }
  return `${signs.slice(0, 4).join('')}-${signs.slice(4).join('')}`;
}

interface LoginBegun {
  deviceCode: string;
  userCode: string;
  intervalSeconds: number;
  expiresAt: number;
}

interface LoginAsking {
  machine: string;
  network: string;
  begunAt: number;
}

/** What a program says of its machine, as far as it can be shown. */
const machineName = (given: string): string =>
  given
    .replace(/[^\P{C}]/gu, '')
    .replace(/\s+/gu, ' ')
    .trim()
    .slice(0, 64) || 'a machine without a name';

/**
 * How a program without a browser is let in: it shows a short code, its person types that in the console, where they are signed
 * in, and sees who is asking. What the program came with is never in an address, and what the person types is good once.
 */
function createDeviceLogins({ store, clock, secrets }: Pick<Backend, 'store' | 'clock' | 'secrets'>) {
  const begins = tokenBuckets({ perMinute: 10, burst: 20 });
  const polls = tokenBuckets({ perMinute: 60, burst: 30 });
  /** By person: whoever guesses has to be an admin who is signed in. */
  const guesses = tokenBuckets({ perMinute: 2, burst: 10 });
  const limited = (wait: number | null): void => {
    if (wait !== null) throw new Problem('TOO_OFTEN', undefined, { retryAfterSeconds: wait });
  };
  // So short that its SHA-256 alone would say what it is.
  const userDigest = (code: string): string =>
    createHmac('sha256', secrets.nonce)
      .update(`sign-in code\0${tidy(code)}`)
      .digest('hex');
  const deviceDigest = (code: string): string => createHash('sha256').update(code).digest('hex');

  async function waiting(code: string, at: number): Promise<LoginRow | null> {
    const row = await loginBy(store.db, 'user_digest', userDigest(code));
    return row && row.state === 'waiting' && at < row.expires_at ? row : null;
  }

  /** True where it was still waiting. */
  async function decide(admin: Admin, code: string, state: 'confirmed' | 'refused', network: string, freshAt: number | null = null): Promise<boolean> {
    limited(guesses.take(admin.personId ?? admin.name));
    return store.write(async (tx) => {
      const at = await clock.persist(tx);
      const row = await loginBy(tx, 'user_digest', userDigest(code));
      if (row?.state !== 'waiting' || at >= row.expires_at || admin.personId === null) return false;
      const present = await presentGrants(tx, admin.personId, at);
      if (state === 'confirmed' && (present?.grants.length ?? 0) === 0) throw new Problem('NOT_ALLOWED', 'no role');
      await updateLogin(tx, row.id, { state, person_id: admin.personId, decided_at: at, fresh_at: freshAt });
      const details = { loginId: row.id, machine: row.machine, asking: row.network, network };
      await audit(tx, { at, actor: admin.name, act: state === 'confirmed' ? 'login.confirmed' : 'login.refused', details });
      return true;
    });
  }

  return {
    /** Anybody may ask: until somebody confirms it, nothing comes of it, and nothing of it is in the audit. */
    async begin(given: { machine: string; network: string }): Promise<LoginBegun> {
      limited(begins.take(given.network));
      const deviceCode = randomBytes(32).toString('base64url');
      const userCode = makeUserCode();
      return store.write(async (tx) => {
        const at = await clock.persist(tx);
        const row: LoginRow = {
          id: randomUUID(),
          device_digest: deviceDigest(deviceCode),
          user_digest: userDigest(userCode),
          machine: machineName(given.machine),
          network: given.network,
          state: 'waiting',
          person_id: null,
          decided_at: null,
          created_at: at,
          expires_at: at + waitsMs,
          fresh_at: null,
        };
        await insertLogin(tx, row);
        // Whoever begins many from many networks keeps nobody out: those that have waited the longest go.
        await forgetOldestLogins(tx, mostWaiting);
        return { deviceCode, userCode, intervalSeconds, expiresAt: row.expires_at };
      });
    },

    /** What a code that somebody types is about; null: it is none, or its time is over. */
    async lookUp(admin: Admin, code: string): Promise<LoginAsking | null> {
      limited(guesses.take(admin.personId ?? admin.name));
      const row = await waiting(code, clock.now());
      return row && { machine: row.machine, network: row.network, begunAt: row.created_at };
    },
    /** `freshAt`: when this person last showed who they are; letting a program in is no other time. */
    confirm: (admin: Admin, code: string, network: string, freshAt: number): Promise<boolean> => decide(admin, code, 'confirmed', network, freshAt),
    refuse: (admin: Admin, code: string, network: string): Promise<boolean> => decide(admin, code, 'refused', network),

    /** `waiting` until somebody has decided; then a token, once. */
    async poll(deviceCode: string, network: string): Promise<'waiting' | (MadeToken & { userName: string })> {
      const digest = deviceDigest(deviceCode);
      limited(polls.take(digest));
      const before = await loginBy(store.db, 'device_digest', digest);
      // What does not wait for a decision costs a write; a question that comes every three seconds does not.
      if (before?.state === 'waiting' && clock.now() < before.expires_at) return 'waiting';
      if (before?.state === 'refused') throw new Problem('LOGIN_REFUSED');
      if (before?.state !== 'confirmed') throw new Problem('LOGIN_ENDED');
      return store.write(async (tx) => {
        const at = await clock.persist(tx);
        const row = await loginBy(tx, 'device_digest', digest);
        if (row?.state !== 'confirmed' || at >= row.expires_at || row.person_id === null) throw new Problem('LOGIN_ENDED');
        const present = await presentGrants(tx, row.person_id, at);
        if (!present || present.grants.length === 0) throw new Problem('NOT_ALLOWED', 'no role');
        await updateLogin(tx, row.id, { state: 'spent' });
        const person = { id: row.person_id, userName: present.person.user_name };
        const made = await makeLoginToken(tx, at, { person, machine: row.machine, freshAt: row.fresh_at ?? row.decided_at ?? at, network });
        return { ...made, userName: person.userName };
      });
    },
  };
}

const made = new WeakMap<Backend['store'], ReturnType<typeof createDeviceLogins>>();

/** Of one backend there is one: its limits count whatever comes in, by whichever way. */
export function deviceLoginsOf(backend: Pick<Backend, 'store' | 'clock' | 'secrets'>): ReturnType<typeof createDeviceLogins> {
  const known = made.get(backend.store) ?? createDeviceLogins(backend);
  made.set(backend.store, known);
  return known;
}
