import { audit } from '../server/audit.ts';
import type { Tx } from '../server/parts.ts';
import type { SitesGround } from '../server/serve.ts';
import { type KnownPerson, personById, updatePerson } from '../server/store/people.ts';
import { startSession } from './sessions.ts';
import type { SignInTrouble } from './sign-in-trouble.ts';
import type { Elsewhere, Visit } from './visit.ts';

/** How long a browser is known as one in which somebody has signed in; it only spares them waiting for others' guesses. */
const knownSeconds = 180 * 24 * 60 * 60;
export const knownCookie = 'known';

/**
 * A passkey of somebody whom a provider knows goes on working without it (its second step may be the very Mac that is locked),
 * but not for good: whoever has left the organisation is known there, not here.
 */
const passkeyLastsMs = 30 * 24 * 60 * 60 * 1000;

export interface Entering {
  personId: string;
  /** `password`, `passkey`, or the id of a provider. */
  way: string;
  /** Where they wanted to be. */
  goal: string;
  /** Where somebody who is signed in proves it again: who it has to be. */
  expected: string | null;
  provedSecondsAgo?: number;
  /** The value of the cookie `known`. */
  known?: string;
}

/** Why this person may not come in by this way, or null. Asked in the act that lets them in. */
function refusedTo(ground: SitesGround, person: KnownPerson | null, way: string, at: number): SignInTrouble | null {
  const { localAccounts, providers } = ground.settings.signIn;
  if (!person) return 'passkeyUnknown';
  if (person.disabled_at !== null) return 'off';
  if (person.provider === 'local') return localAccounts || (person.emergency === 1 && way === 'passkey') ? null : 'off';
  if (!providers.some(({ id }) => id === person.provider)) return 'passkeyRefused';
  return way === 'passkey' && at - (person.confirmed_at ?? 0) > passkeyLastsMs ? 'passkeyOld' : null;
}

type Cookies = Awaited<ReturnType<typeof startSession>>;

/** `also`: what has to be stored in the same act; a trouble that it returns is why nothing else happens. */
export async function enter(
  ground: SitesGround,
  visit: Visit,
  { personId, way, goal, expected, provedSecondsAgo = 0, known }: Entering,
  also: (tx: Tx, at: number) => Promise<SignInTrouble | null> = async () => null,
): Promise<Elsewhere | SignInTrouble> {
  const { store, clock } = ground.backend;
  const entered = await store.write(async (tx): Promise<SignInTrouble | Cookies> => {
    const at = await clock.persist(tx);
    if (expected !== null && expected !== personId) return 'otherPerson';
    const person = await personById(tx, personId);
    const refused = refusedTo(ground, person, way, at) ?? (await also(tx, at));
    const { network, browser } = visit;
    const details = { personId, way, network, browser, again: expected !== null };
    const actor = person?.user_name ?? 'server';
    await audit(tx, { at, actor, act: refused ? 'sign-in.refused' : 'sign-in.done', details: refused ? { ...details, because: refused } : details });
    if (refused) return refused;
    await updatePerson(tx, personId, { last_seen_at: at });
    return startSession(tx, at, { personId, way, visit, provedSecondsAgo });
  });
  if (typeof entered === 'string') {
    ground.log.warn('sign-in-refused', { requestId: visit.requestId, way, because: entered });
    return entered;
  }
  ground.log.info('signed-in', { requestId: visit.requestId, personId, way });
  return { to: goal, cookies: [...entered, ...(known === undefined ? [] : [{ name: knownCookie, value: known, maxAgeSeconds: knownSeconds }])] };
}
