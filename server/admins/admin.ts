import { timingSafeEqual } from 'node:crypto';
import type { Backend } from '../backend.ts';
import { type Admin, grantsOf } from '../permissions.ts';
import { openRolesOf } from '../store/admins.ts';
import { tokenByDigest, tokenUsed } from '../store/api-tokens.ts';
import { type KnownPerson, personById } from '../store/people.ts';
import { grantsOfToken, neverOfLogins, neverOfTokens, readTokenRoles, rolesOf } from './grants.ts';
import { tokenDigest } from './token-form.ts';

type Parts = Pick<Backend, 'store' | 'clock' | 'settings'>;

const minute = 60_000;
/** What a provider has said of somebody's groups counts so long without another word of it: as long as a passkey beside it. */
const groupsLastMs = 30 * 24 * 60 * minute;
const usualFreshMinutes = 15;

/** Somebody who is signed in, as far as it matters here. */
export interface PersonAsking {
  id: string;
  userName: string;
  /** Null where their provider could not say: no role that a group has is theirs then. */
  groups: readonly string[] | null;
}

const grantsOfPerson = async (db: Parts['store']['db'], personId: string, groups: readonly string[] | null): Promise<Admin['grants']> =>
  grantsOf(rolesOf(await openRolesOf(db, personId, groups ?? [])));

/** Null: they are no admin at all. */
export async function adminOfPerson({ store }: Pick<Backend, 'store'>, person: PersonAsking, fresh: boolean): Promise<Admin | null> {
  const grants = await grantsOfPerson(store.db, person.id, person.groups);
  if (grants.length === 0) return null;
  return { kind: 'person', name: person.userName, personId: person.id, tokenId: null, service: false, grants, fresh };
}

/** The groups that count for somebody who is not there: as their provider said them last, if that is not long ago. */
export function groupsNow(person: Pick<KnownPerson, 'provider' | 'confirmed_at' | 'groups'>, at: number): readonly string[] | null {
  if (person.provider !== 'local' && at - (person.confirmed_at ?? 0) > groupsLastMs) return null;
  const read: unknown = JSON.parse(person.groups);
  return Array.isArray(read) ? read.filter((group) => typeof group === 'string') : null;
}

/** Whether this person may be acted for: not disabled, and nobody else has been given their name. */
export const stands = (person: Pick<KnownPerson, 'provider' | 'confirmed_at' | 'disabled_at'>): boolean =>
  person.disabled_at === null && (person.provider === 'local' || person.confirmed_at !== 0);

/** Whether this person could sign in as the settings are: a provider may have been taken out of them, or accounts that were made here. */
function couldSignIn({ people }: Parts['settings'], { provider, emergency }: KnownPerson): boolean {
  if (!people) return true;
  const { localAccounts, providers } = people.signIn;
  return provider === 'local' ? localAccounts || emergency === 1 : providers.some(({ id }) => id === provider);
}

/** What whoever made a token, or confirms a program, may at this moment. */
export async function presentGrants(db: Parts['store']['db'], personId: string, at: number): Promise<{ person: KnownPerson; grants: Admin['grants'] } | null> {
  const person = await personById(db, personId);
  return person && stands(person) ? { person, grants: await grantsOfPerson(db, person.id, groupsNow(person, at)) } : null;
}

/** Null: it is no token, has ended, or whoever made it may nothing of it any more. */
export async function adminOfToken({ store, clock, settings }: Parts, token: string, at: number, network: string | null = null): Promise<Admin | null> {
  const digest = tokenDigest(token);
  if (digest === null) return null;
  const row = await tokenByDigest(store.db, digest);
  if (!row || !timingSafeEqual(Buffer.from(row.digest), Buffer.from(digest)) || row.ended_at !== null || at >= row.expires_at) return null;
  const maker = await presentGrants(store.db, row.person_id, at);
  if (!maker || !couldSignIn(settings, maker.person)) return null;
  const grants = grantsOfToken(maker.grants, readTokenRoles(row.grants), row.kind === 'login' ? neverOfLogins : neverOfTokens);
  if (grants.length === 0) return null;
  if (row.last_used_at === null || at - row.last_used_at >= minute) await store.write(async (tx) => tokenUsed(tx, row.id, await clock.persist(tx), network));
  const service = row.kind === 'service';
  const freshMs = (settings.people?.signIn.freshMinutes ?? usualFreshMinutes) * minute;
  return {
    kind: 'token',
    name: `token ${row.name} of ${maker.person.user_name}`,
    personId: row.person_id,
    tokenId: row.id,
    service,
    grants,
    // Nobody is there to sign in again for a program: whether it may is for its roles, and the policies, to say.
    fresh: service || (row.fresh_at !== null && at < row.fresh_at + freshMs),
  };
}

/** Whoever has the machine has everything on it: their acts are audited all the same. */
export const operatorAdmin = (name: string): Admin => ({
  kind: 'operator',
  name,
  personId: null,
  tokenId: null,
  service: false,
  grants: grantsOf([{ role: 'owner', scope: null }]),
  fresh: true,
});
