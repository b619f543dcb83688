import { randomUUID, timingSafeEqual } from 'node:crypto';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import type { KeptKeys, SecretAnswer, Secrets } from './world.ts';

const service = 'io.sparekey.agent';
/** A keychain that shows a dialog to nobody, or waits for a daemon that is gone, must not hold the run. */
const mostSeconds = 10;
/** No text, so that no secret can be mistaken for it. */
const failed = Symbol('failed');

/** What we use of keytar. */
export interface Keychain {
  getPassword(service: string, account: string): Promise<string | null>;
  setPassword(service: string, account: string, password: string): Promise<void>;
  deletePassword(service: string, account: string): Promise<boolean>;
  findCredentials(service: string): Promise<{ account: string; password: string }[]>;
}

async function loadKeytar(): Promise<Keychain> {
  const module = (await import('keytar')) as unknown as Keychain & { default?: Keychain };
  return module.default ?? module;
}

/** The job's keychain. keytar is loaded by the first call and not before; a call that fails or does not come back is `cannot-tell`, never *not there*. */
export function openSecrets(load: () => Promise<Keychain> = loadKeytar, seconds = mostSeconds): Secrets {
  let loaded: Promise<Keychain> | null = null;
  const call = <T>(act: (keychain: Keychain) => Promise<T>): Promise<T | typeof failed> =>
    within(seconds, async () => {
      loaded ??= load();
      return act(await loaded);
    });

  const read = async (account: string): Promise<SecretAnswer> => {
    const found = await call((keychain) => keychain.getPassword(service, account));
    if (found === null) return 'not-there';
    return typeof found === 'string' ? { there: found } : 'cannot-tell';
  };

  return {
    read,
    async write(account, secret) {
      const before = await read(account);
      if (before === 'cannot-tell') return false;
      // Write-once: what stands there under this name stays.
      if (before !== 'not-there') return equal(before.there, secret);
      if ((await call(async (keychain) => void (await keychain.setPassword(service, account, secret)))) === failed) return false;
      const after = await read(account);
      return typeof after === 'object' && equal(after.there, secret);
    },
    async remove(account) {
      if ((await call((keychain) => keychain.deletePassword(service, account))) === failed) return false;
      return (await read(account)) === 'not-there';
    },
    async list() {
      const found = await call((keychain) => keychain.findCredentials(service));
      return found === failed ? 'cannot-tell' : found.map((one) => one.account).sort();
    },
  };
}

async function within<T>(seconds: number, act: () => Promise<T>): Promise<T | typeof failed> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<typeof failed>((resolve) => {
    timer = setTimeout(() => resolve(failed), seconds * 1000);
  });
  try {
    return await Promise.race([act(), late]);
  } catch {
    return failed;
  } finally {
    clearTimeout(timer);
  }
}

function equal(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** The recovery keys among the items, as keys. An item that is there and is no key is `cannot-tell`: something is wrong, nothing is missing. */
export function keptKeys(secrets: Secrets): KeptKeys {
  return {
    async read(account) {
      const answer = await secrets.read(account);
      if (typeof answer !== 'object') return answer;
      const key = RecoveryKey.parse(answer.there);
      return key ? { there: key } : 'cannot-tell';
    },
    write: (account, key) => secrets.write(account, key.reveal()),
    remove: (account) => secrets.remove(account),
    list: () => secrets.list(),
    async roundTrip(account) {
      const trial = randomUUID();
      // What a run that died left there is of another trial.
      const written = (await secrets.write(account, trial)) || ((await secrets.remove(account)) && (await secrets.write(account, trial)));
      return (await secrets.remove(account)) && written;
    },
  };
}
