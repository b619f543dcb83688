import { Problem } from '../../protocol/problems.ts';
import { audit } from '../audit.ts';
import type { Backend } from '../backend.ts';
import { tokenBuckets } from '../limits.ts';
import type { Admin } from '../permissions.ts';
import { adminOfToken } from './admin.ts';

/** Wrong ones from one address: a script with an old token asks every minute or so. */
const wrong = { perMinute: 20, burst: 40 };
const noteEveryMs = 60 * 60_000;

/**
 * Where tokens come in. Whoever tries many from one address waits; an entry in the audit says so once an hour, not each time.
 * Throws `TOKEN_REFUSED` for what is no token that may do anything.
 */
export function createTokenDoor(backend: Pick<Backend, 'store' | 'clock' | 'settings'>) {
  const bucket = tokenBuckets(wrong);
  const notedUntil = new Map<string, number>();

  async function note(network: string): Promise<void> {
    const { store, clock } = backend;
    const now = clock.now();
    if (now < (notedUntil.get(network) ?? 0)) return;
    // So that many addresses leave nothing behind for good.
    if (notedUntil.size >= 10_000) notedUntil.clear();
    notedUntil.set(network, now + noteEveryMs);
    await store.write(async (tx) => audit(tx, { at: await clock.persist(tx), actor: 'server', act: 'token.guessed', details: { network } }));
  }

  return async (token: string, at: number, network: string): Promise<Admin> => {
    const admin = await adminOfToken(backend, token, at, network);
    if (admin) return admin;
    const wait = bucket.take(network);
    if (wait === null) throw new Problem('TOKEN_REFUSED');
    await note(network);
    throw new Problem('TOO_OFTEN', undefined, { retryAfterSeconds: wait });
  };
}
