import { z } from 'zod';
import { type Admin, grantsOf, type Permission, permissions, type Role, type RoleGiven, roles, type Scope, scopeOf } from '../permissions.ts';
import type { RoleRow } from '../store/admins.ts';

type Grants = Admin['grants'];

/** As Macs have them: those that admins give are in lower case, those of groups as the group is called. */
export const asTag = (tag: string): string => (tag.startsWith('group:') ? tag : tag.toLowerCase());

/** A tag as it may stand in a scope. */
export const tagName = z
  .string()
  .trim()
  .overwrite(asTag)
  .min(1)
  .max(128)
  .regex(/^\P{C}+$/u, 'has signs that cannot be read');

export const roleName = z.enum(Object.keys(roles) as [Role, ...Role[]]);
export const scopeTags = z
  .array(tagName)
  .min(1)
  .max(50)
  .transform((tags) => [...new Set(tags)].toSorted());

const roleGiven = z.strictObject({ role: roleName, scope: z.array(z.string()).nullable() });

/** A row as it is meant. A role of another version of this backend allows nothing. */
export function readRole(row: Pick<RoleRow, 'role' | 'scope'>): RoleGiven | null {
  const read = roleGiven.safeParse({ role: row.role, scope: row.scope === null ? null : (JSON.parse(row.scope) as unknown) });
  return read.success ? read.data : null;
}

export const rolesOf = (rows: readonly Pick<RoleRow, 'role' | 'scope'>[]): RoleGiven[] =>
  rows.flatMap((row) => {
    const role = readRole(row);
    return role ? [role] : [];
  });

/** The roles of a token; null: whatever its person may. Here too one of another version allows nothing. */
export function readTokenRoles(json: string | null): RoleGiven[] | null {
  if (json === null) return null;
  const read = z.array(z.unknown()).parse(JSON.parse(json));
  return read.flatMap((one) => roleGiven.safeParse(one).data ?? []);
}

/**
 * For which Macs both are. Two lists of tags are compared as lists: a Mac that has one tag of each, and none of both, is left
 * out, for no single grant names it.
 */
export function bothScopes(one: Scope, other: Scope): Scope | false {
  if (one === null) return other;
  if (other === null) return one;
  const both = one.filter((tag) => other.includes(tag));
  return both.length > 0 ? both : false;
}

/** Whether whoever has `have` has all of `wanted`. */
export const covers = (have: Scope | false, wanted: Scope): boolean =>
  have === null || (have !== false && wanted !== null && wanted.every((tag) => have.includes(tag)));

/** What a token never may, whoever made it: with either of these it could outlive its own end. */
export const neverOfTokens = ['people.edit', 'token.own'] as const satisfies readonly Permission[];
/** The command line acts for a person who has just been there; it makes no tokens all the same. */
export const neverOfLogins = ['token.own'] as const satisfies readonly Permission[];

/** What a token may now: what it was made for, and whoever made it still may. */
export function grantsOfToken(makers: Grants, made: readonly RoleGiven[] | null, never: readonly Permission[]): { permission: Permission; scope: Scope }[] {
  const wanted = made === null ? makers : grantsOf(made);
  return wanted.flatMap(({ permission, scope }) => {
    if (never.includes(permission)) return [];
    const makersScope = scopeOf({ grants: makers }, permission);
    const both = makersScope === false ? false : bothScopes(scope, makersScope);
    return both === false ? [] : [{ permission, scope: both }];
  });
}

/** What of a role somebody has not themselves, for these Macs; what tokens never may is not asked for. */
export const beyond = (grants: Grants, { role, scope }: RoleGiven, never: readonly Permission[]): Permission[] =>
  roles[role].may.filter((permission) => !never.includes(permission) && !covers(scopeOf({ grants }, permission), scope));

export const sayScope = (scope: Scope): string => (scope === null ? 'all Macs' : `Macs tagged ${scope.join(', ')}`);

/** In words, for whoever asks what they may: each permission once. */
export function grantsInWords(admin: Pick<Admin, 'grants'>): { permission: Permission; says: string; scope: string[] | null; where: string }[] {
  return (Object.keys(permissions) as Permission[]).flatMap((permission) => {
    const scope = scopeOf(admin, permission);
    return scope === false ? [] : [{ permission, says: permissions[permission], scope: scope === null ? null : [...scope], where: sayScope(scope) }];
  });
}
