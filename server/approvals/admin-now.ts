import type { Kysely } from 'kysely';
import { Problem } from '../../protocol/problems.ts';
import { presentGrants } from '../admins/admin.ts';
import { grantsOfToken, neverOfLogins, neverOfTokens, readTokenRoles } from '../admins/grants.ts';
import { sameName } from '../assignments.ts';
import { tagsOf } from '../fleet/in-scope.ts';
import type { Tx } from '../parts.ts';
import { type Admin, isWithin, type Permission, scopeOf } from '../permissions.ts';
import { tokenById } from '../store/api-tokens.ts';
import { macById } from '../store/macs.ts';
import { peopleNamed, personById } from '../store/people.ts';
import type { Tables } from '../tables.ts';

/*
 * What an admin may at the moment of an act, asked in its own transaction: since the request came in, roles may have been taken,
 * a person disabled, a token ended, and the tags of a Mac changed.
 */

/** The grants of now, or none. */
async function grantsNow(tx: Tx, { kind, personId, tokenId, grants }: Admin, at: number): Promise<Admin['grants']> {
  if (kind === 'operator') return grants;
  const person = personId === null ? null : await presentGrants(tx, personId, at);
  if (!person || kind === 'person') return person?.grants ?? [];
  const token = tokenId === null ? null : await tokenById(tx, tokenId);
  if (!token || token.person_id !== personId || token.ended_at !== null || at >= token.expires_at) return [];
  return grantsOfToken(person.grants, readTokenRoles(token.grants), token.kind === 'login' ? neverOfLogins : neverOfTokens);
}

/** A person who acts, also through a token of theirs: who may decide is told apart by them. */
export interface Acts {
  admin: Admin;
  personId: string;
}

export function whoActs(admin: Admin): Acts {
  if (admin.personId === null) throw new Problem('NOT_ALLOWED', 'at the machine itself there are commands for this, such as `sparekey-server show`');
  return { admin, personId: admin.personId };
}

/** Throws `NOT_ALLOWED`, or `MAC_UNKNOWN` where only this Mac is outside: whoever may not see it does not learn that it is there. */
export async function stillMay(tx: Tx, at: number, admin: Admin, permission: Permission, macId: string): Promise<void> {
  const scope = scopeOf({ grants: await grantsNow(tx, admin, at) }, permission);
  if (scope === false) throw new Problem('NOT_ALLOWED', permission);
  if (!(await macById(tx, macId)) || !isWithin(scope, await tagsOf(tx, macId))) throw new Problem('MAC_UNKNOWN');
}

/** The same where no Mac is meant. Returns for which Macs. */
export async function stillMayAtAll(tx: Tx, at: number, admin: Admin, permission: Permission): Promise<readonly string[] | null> {
  const scope = scopeOf({ grants: await grantsNow(tx, admin, at) }, permission);
  if (scope === false) throw new Problem('NOT_ALLOWED', permission);
  return scope;
}

/** Whether a person may do this with a Mac now, whoever asks. */
export async function personMay(tx: Tx, at: number, personId: string, permission: Permission, tags: readonly string[]): Promise<boolean> {
  const person = await presentGrants(tx, personId, at);
  return person !== null && isWithin(scopeOf({ grants: person.grants }, permission), tags);
}

const short = (name: string): string => sameName(name).split('@')[0] ?? '';

/** Whether a name that is said may be an account of theirs: also one that nobody has signed in with yet. */
export async function isOwnName(tx: Kysely<Tables>, personId: string, said: string): Promise<boolean> {
  const own = await personById(tx, personId);
  if (!own || short(own.user_name) === short(said) || (own.email !== null && short(own.email) === short(said))) return true;
  for (const { id } of await peopleNamed(tx, said)) if (await isSamePerson(tx, personId, id)) return true;
  return false;
}

/** One person may have two accounts, of the provider and of this backend: their address, or what stands before the @ of a name or of an address, tells. */
export async function isSamePerson(tx: Kysely<Tables>, one: string, other: string): Promise<boolean> {
  if (one === other) return true;
  const [a, b] = [await personById(tx, one), await personById(tx, other)];
  if (!a || !b) return true;
  const [nameOfA, nameOfB] = [short(a.user_name), short(b.user_name)];
  if (a.email !== null && b.email !== null && sameName(a.email) === sameName(b.email)) return true;
  return nameOfA === nameOfB || (b.email !== null && nameOfA === short(b.email)) || (a.email !== null && nameOfB === short(a.email));
}
