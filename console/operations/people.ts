import { z } from 'zod';
import { Problem } from '../../protocol/problems.ts';
import { personNamed } from '../../server/accounts.ts';
import { roleName, scopeTags } from '../../server/admins/grants.ts';
import { groupNamed } from '../../server/admins/groups.ts';
import { accessReview, peopleSaid, type RoleSaid, rolesSaid } from '../../server/admins/review.ts';
import { forEverybody, giveRole, type RoleSubject, takeRole } from '../../server/admins/roles.ts';
import type { Backend } from '../../server/backend.ts';
import { type Permission, permissions, type Role, roles } from '../../server/permissions.ts';
import { personById } from '../../server/store/people.ts';
import { makeCursor, pageInput, pageOf, readCursor } from '../cursor.ts';
import { type AnyOperation, operation } from '../operation.ts';
import { tokenOut, tokenSchema } from './tokens.ts';

const time = z.iso.datetime();
const iso = (at: number): string => new Date(at).toISOString();
const isoOrNull = (at: number | null): string | null => (at === null ? null : iso(at));
const permissionName = z.enum(Object.keys(permissions) as [Permission, ...Permission[]]);
const reason = z.string().trim().min(1, 'a reason is needed: it goes into the audit').max(500);
const tagsSaid = z.array(z.string()).nullable().describe('For Macs with one of these tags; null for all.');
const tagsOf = (scope: RoleSaid['scope']): string[] | null => (scope === null ? null : [...scope]);

const person = z.strictObject({
  id: z.string(),
  userName: z.string(),
  displayName: z.string(),
  email: z.string().nullable(),
  provider: z.string().describe('`local` for an account that was made here, else the provider’s id.'),
  emergency: z.boolean().describe('An account for the day when nobody else can sign in.'),
  ways: z.strictObject({ password: z.boolean(), passkeys: z.int(), provider: z.boolean() }).describe('How they can sign in.'),
  state: z.enum(['usable', 'disabled']),
  lastSignedInAt: time.nullable(),
  lastAtConsoleAt: time.nullable(),
  lastTokenUseAt: time.nullable(),
  roles: z.array(
    z.strictObject({
      id: z.string(),
      role: roleName,
      tags: tagsSaid,
      group: z.string().nullable().describe('The group that it was given to; null: to this person.'),
      since: time,
    }),
  ),
});

export const peopleList = operation({
  name: 'people.list',
  method: 'GET',
  path: '/v1/people',
  says: 'Lists people: how they sign in, when they were last seen, and what they may.',
  permission: 'people.read',
  input: z.strictObject({
    ...pageInput,
    q: z.string().trim().min(1).max(100).optional().describe('Part of a name or an address.'),
    everybody: z.boolean().default(false).describe('Those too who have no role.'),
  }),
  output: pageOf(person),
  async run({ admin, backend, at }, { cursor, limit, q, everybody }) {
    forEverybody(admin, 'people.read');
    const after = readCursor(z.strictObject({ userName: z.string(), id: z.string() }), cursor);
    const { people, next } = await peopleSaid(backend.store.db, at, { q: q ?? null, withRoles: !everybody, after, limit });
    const items = people.map((one) => ({
      ...one,
      lastSignedInAt: isoOrNull(one.lastSignedInAt),
      lastAtConsoleAt: isoOrNull(one.lastAtConsoleAt),
      lastTokenUseAt: isoOrNull(one.lastTokenUseAt),
      roles: one.roles.map(({ scope, since, ...role }) => ({ ...role, tags: tagsOf(scope), since: iso(since) })),
    }));
    return { items, next: next && makeCursor(next) };
  },
});

const roleOut = z.strictObject({
  id: z.string(),
  subject: z.strictObject({ kind: z.enum(['person', 'group']), id: z.string(), name: z.string() }),
  role: roleName,
  tags: tagsSaid,
  since: time,
  by: z.string(),
  reason: z.string(),
});
const saidOut = ({ id, subject, role, scope, since, by, reason: because }: RoleSaid): z.infer<typeof roleOut> => ({
  id,
  subject,
  role,
  tags: tagsOf(scope),
  since: iso(since),
  by,
  reason: because,
});

export const rolesList = operation({
  name: 'roles.list',
  method: 'GET',
  path: '/v1/roles',
  says: 'Lists the roles that were given, with the ids by which they are taken.',
  permission: 'people.read',
  input: z.strictObject({}),
  output: z.strictObject({ items: z.array(roleOut) }),
  async run({ admin, backend }) {
    forEverybody(admin, 'people.read');
    return { items: (await rolesSaid(backend.store.db)).map(saidOut) };
  },
});

/** By user name, `provider:name`, or id. */
async function subjectOf({ store, settings }: Backend, given: { person?: string | undefined; group?: string | undefined }): Promise<RoleSubject> {
  if ((given.person === undefined) === (given.group === undefined)) throw new Problem('ROLE_INVALID', 'name one person or one group');
  if (given.group !== undefined) return { kind: 'group', ...groupNamed(settings, given.group) };
  const named = given.person ?? '';
  return { kind: 'person', person: (await personById(store.db, named)) ?? (await personNamed(store.db, named)) };
}

export const roleGiven = operation({
  name: 'roles.give',
  method: 'POST',
  path: '/v1/roles',
  says: 'Gives a role to a person or to a group of a provider. Nobody gives what they do not have, and nobody gives to themselves.',
  permission: 'people.edit',
  fresh: true,
  input: z.strictObject({
    person: z.string().trim().min(1).max(300).optional().describe('A user name, `provider:name` where several people have it, or an id.'),
    group: z.string().trim().min(1).max(256).optional().describe('As the provider writes it; `provider:name` where there are several providers.'),
    role: roleName,
    tags: scopeTags.nullable().default(null).describe('For Macs with one of these tags; null for all. `owner` is for all.'),
    reason,
  }),
  output: z.strictObject({ id: z.string(), given: z.boolean().describe('false: they had it before.') }),
  async run({ admin, backend }, { person: who, group, role, tags, reason: because }) {
    forEverybody(admin, 'people.edit');
    const subject = await subjectOf(backend, { person: who, group });
    return giveRole(backend, admin, { subject, role, scope: tags, reason: because });
  },
});

export const roleTaken = operation({
  name: 'roles.take',
  method: 'POST',
  path: '/v1/roles/{id}/take',
  says: 'Takes a role away. The last owner stays one.',
  permission: 'people.edit',
  fresh: true,
  input: z.strictObject({ id: z.string().max(64), reason }),
  output: z.strictObject({ id: z.string(), taken: z.literal(true) }),
  async run({ admin, backend }, { id, reason: because }) {
    forEverybody(admin, 'people.edit');
    await takeRole(backend, admin, { id, reason: because });
    return { id, taken: true as const };
  },
});

export const rolesTable = operation({
  name: 'roles.table',
  method: 'GET',
  path: '/v1/roles/table',
  says: 'The table of who may do what: each role, and each permission that it has.',
  permission: 'signed-in',
  input: z.strictObject({}),
  output: z.strictObject({
    permissions: z.array(z.strictObject({ permission: permissionName, says: z.string() })),
    roles: z.array(z.strictObject({ role: roleName, says: z.string(), may: z.array(permissionName) })),
  }),
  async run() {
    return {
      permissions: (Object.keys(permissions) as Permission[]).map((permission) => ({ permission, says: permissions[permission] })),
      roles: (Object.keys(roles) as Role[]).map((role) => ({ role, says: roles[role].says, may: [...roles[role].may] })),
    };
  },
});

export const peopleReview = operation({
  name: 'people.review',
  method: 'GET',
  path: '/v1/people/review',
  says: 'Who may what since when, who gave it, whether it is used, and all tokens: what is gone through once a quarter.',
  permission: 'people.read',
  input: z.strictObject({}),
  output: z.strictObject({
    madeAt: time,
    roles: z.array(
      roleOut.extend({
        count: z.int().describe('How many people have it: of a group those who were in it at their last sign-in.'),
        people: z
          .array(z.strictObject({ userName: z.string(), displayName: z.string(), lastSignedInAt: time.nullable(), lastUsedAt: time.nullable() }))
          .describe('At most 200. `lastUsedAt`: at the console, or with a token.'),
      }),
    ),
    tokens: z.array(tokenSchema),
  }),
  async run({ admin, backend, at }) {
    forEverybody(admin, 'people.read');
    const { madeAt, roles: given, tokens } = await accessReview(backend, at);
    return {
      madeAt: iso(madeAt),
      roles: given.map(({ count, people, ...one }) => ({
        ...saidOut(one),
        count,
        people: people.map((each) => ({ ...each, lastSignedInAt: isoOrNull(each.lastSignedInAt), lastUsedAt: isoOrNull(each.lastUsedAt) })),
      })),
      tokens: tokens.map(tokenOut),
    };
  },
});

export const peopleOperations: readonly AnyOperation[] = [peopleList, rolesList, roleGiven, roleTaken, rolesTable, peopleReview];
