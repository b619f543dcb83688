import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { ServerSecrets, Tx } from './parts.ts';
import { dropThrottleRow, forgetThrottleRows, putThrottleRow, type ThrottleRow, throttleRows } from './store/sign-in-throttle.ts';

/*
 * Guessing is slow, and nobody is locked out by it for long. A try counts for the name at this network, for the name
 * anywhere, and for the network; it is counted before the password is looked at, so that many at once gain nothing. A
 * browser in which somebody has signed in before counts for itself alone: who guesses elsewhere does not hold up its person.
 * A name that nobody has waits just as long. Passkeys and providers wait for none of this.
 */

interface Steps {
  /** Failures until the first wait. */
  free: number;
  firstSeconds: number;
  /** Each further failure doubles the wait, up to this. */
  mostSeconds: number;
}

const steps = {
  here: { free: 5, firstSeconds: 30, mostSeconds: 15 * 60 },
  browser: { free: 10, firstSeconds: 30, mostSeconds: 15 * 60 },
  name: { free: 30, firstSeconds: 30, mostSeconds: 5 * 60 },
  // An office is one network.
  network: { free: 60, firstSeconds: 30, mostSeconds: 5 * 60 },
} as const satisfies Record<string, Steps>;
type Kind = keyof typeof steps;

/** A failure is forgotten when so long there was no other. */
const forgottenAfterMs = 60 * 60 * 1000;

export interface Try {
  /** What is tried: passwords and set-up codes are counted apart. */
  what: 'password' | 'set-up';
  /** As it was typed, in lower case. */
  name: string;
  network: string;
  /** The cookie `known` of this browser, where it has one. */
  known?: string | undefined;
}

export interface Charged {
  /** Zero: go on. */
  waitSeconds: number;
  /** This try began a wait, if it fails: worth an entry in the audit. */
  step: { failures: number; of: Kind; seconds: number } | null;
}

export function createSignInThrottle(secrets: Pick<ServerSecrets, 'nonce'>) {
  const mac = (...parts: string[]): string =>
    createHmac('sha256', secrets.nonce)
      .update(['sparekey sign-in', ...parts].join('\0'))
      .digest('base64url');

  /** The id of a browser in which this name has signed in before, or null. */
  function browserOf(attempt: Pick<Try, 'name' | 'known'>): string | null {
    const [id = '', seal = ''] = (attempt.known ?? '').split('.');
    const expected = Buffer.from(mac('known', attempt.name, id));
    const given = Buffer.from(seal);
    return id !== '' && given.length === expected.length && timingSafeEqual(given, expected) ? id : null;
  }

  function keysOf(attempt: Try): { kind: Kind; key: string }[] {
    const { what, name, network } = attempt;
    const browser = browserOf(attempt);
    if (browser !== null) return [{ kind: 'browser', key: mac(what, 'browser', name, browser) }];
    const here = { kind: 'here' as const, key: mac(what, 'here', name, network) };
    const ofNetwork = { kind: 'network' as const, key: mac('network', network) };
    // A set-up code cannot be guessed (100 bits): nobody has to wait for another's guesses.
    return what === 'set-up' ? [here, ofNetwork] : [here, { kind: 'name', key: mac(what, 'name', name) }, ofNetwork];
  }

  return {
    /** Counts a try as failed, before it is known; `forgive` takes it back. */
    async charge(tx: Tx, at: number, attempt: Try): Promise<Charged> {
      await forgetThrottleRows(tx, at - forgottenAfterMs);
      const keys = keysOf(attempt);
      const rows = new Map(
        (
          await throttleRows(
            tx,
            keys.map(({ key }) => key),
          )
        ).map((row) => [row.key, row]),
      );
      const until = Math.max(0, ...[...rows.values()].map((row) => row.wait_until));
      if (until > at) return { waitSeconds: Math.ceil((until - at) / 1000), step: null };
      let step: Charged['step'] = null;
      for (const { kind, key } of keys) {
        const failures = (rows.get(key)?.failures ?? 0) + 1;
        const { free, firstSeconds, mostSeconds } = steps[kind];
        const seconds = failures < free ? 0 : Math.min(mostSeconds, firstSeconds * 2 ** Math.min(20, failures - free));
        await putThrottleRow(tx, { key, failures, last_at: at, wait_until: at + seconds * 1000 });
        if (seconds > (step?.seconds ?? 0)) step = { failures, of: kind, seconds };
      }
      return { waitSeconds: 0, step };
    },

    /** It was right. What others have failed at this name or in this network still counts. */
    async forgive(tx: Tx, attempt: Try): Promise<void> {
      const keys = keysOf(attempt);
      const rows = await throttleRows(
        tx,
        keys.map(({ key }) => key),
      );
      const rowOf = (key: string): ThrottleRow | undefined => rows.find((row) => row.key === key);
      for (const { kind, key } of keys) {
        const row = rowOf(key);
        if (!row) continue;
        if (kind === 'here' || kind === 'browser' || row.failures <= 1) await dropThrottleRow(tx, key);
        else await putThrottleRow(tx, { ...row, failures: row.failures - 1, wait_until: 0 });
      }
    },

    /** The value of the cookie `known` for a browser in which this name has just signed in. */
    knownBrowser(name: string): string {
      const id = randomBytes(12).toString('base64url');
      return `${id}.${mac('known', name, id)}`;
    },
  };
}
