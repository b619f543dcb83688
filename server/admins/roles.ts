import { randomUUID } from 'node:crypto';
import { Problem } from '../../protocol/problems.ts';
import { audit } from '../audit.ts';
import type { Backend } from '../backend.ts';
import type { Store, Tx } from '../parts.ts';
import { type Admin, type Permission, type Role, type Scope, scopeOf } from '../permissions.ts';
import { endRole, insertRole, openRoles, type RoleRow, roleById } from '../store/admins.ts';
import { tokenById } from '../store/api-tokens.ts';
import { type KnownPerson, peopleInGroups, personById } from '../store/people.ts';
import { groupsNow, presentGrants, stands } from './admin.ts';
import { beyond, neverOfLogins, readRole, sayScope } from './grants.ts';
import { isOfGroup, sayGroup } from './groups.ts';

type Parts = Pick<Backend, 'store' | 'clock'>;
type Db = Store['db'];

export type RoleSubject = { kind: 'person'; person: Pick<KnownPerson, 'id' | 'user_name'> } | { kind: 'group'; name: string; provider: string | null };

export interface RoleToGive {
  subject: RoleSubject;
  role: Role;
  scope: Scope;
  reason: string;
}

/** What concerns everybody is for whoever has the permission for all Macs: people have no tags. */
export function forEverybody(admin: Admin, permission: Permission): void {
  if (scopeOf(admin, permission) !== null) throw new Problem('NOT_ALLOWED', `${permission}, for all Macs`);
}

/** In the act: whoever asks may still do it, for roles are taken and tokens end meanwhile. */
export async function stillMay(tx: Tx, admin: Admin, permission: Permission, at: number): Promise<void> {
  if (admin.personId === null) return;
  const present = await presentGrants(tx, admin.personId, at);
  const token = admin.tokenId === null ? null : await tokenById(tx, admin.tokenId);
  const ended = token !== null && (token.ended_at !== null || at >= token.expires_at);
  if (!present || ended || scopeOf(present, permission) === false) throw new Problem('NOT_ALLOWED', permission);
}

const subjectOf = (row: RoleRow): string => `${row.subject_kind} ${row.provider ?? ''} ${row.subject}`;
const detailsOf = (row: RoleRow, name: string) => ({
  roleId: row.id,
  subjectKind: row.subject_kind,
  subject: row.subject,
  ...(row.provider === null ? {} : { provider: row.provider }),
  name,
  role: row.role,
  scope: row.scope === null ? null : (JSON.parse(row.scope) as string[]),
});

/** Their own, or one of a group that they are in: what comes of it would be theirs. */
async function concernsSelf(
  db: Db,
  admin: Admin,
  { subject_kind: kind, subject, provider }: Pick<RoleRow, 'subject_kind' | 'subject' | 'provider'>,
  at: number,
): Promise<boolean> {
  if (admin.personId === null) return false;
  if (kind === 'person') return subject === admin.personId;
  const self = await personById(db, admin.personId);
  return self !== null && isOfGroup(self, groupsNow(self, at), { provider, name: subject });
}

/** Gives a role to a person or a group. Given once already: nothing changes, and nothing is recorded. */
export async function giveRole({ store, clock }: Parts, admin: Admin, { subject, role, scope, reason }: RoleToGive): Promise<{ id: string; given: boolean }> {
  if (role === 'owner' && scope !== null) throw new Problem('ROLE_INVALID', 'owner is for all Macs: it says who may do what');
  const { id: named, name } =
    subject.kind === 'person' ? { id: subject.person.id, name: subject.person.user_name } : { id: subject.name, name: sayGroup(subject) };
  const provider = subject.kind === 'group' ? subject.provider : null;
  return store.write(async (tx) => {
    const at = await clock.persist(tx);
    await stillMay(tx, admin, 'people.edit', at);
    if (await concernsSelf(tx, admin, { subject_kind: subject.kind, subject: named, provider }, at)) throw new Problem('OWN_ROLES');
    const [more] = beyond(admin.grants, { role, scope }, neverOfLogins);
    if (more !== undefined) throw new Problem('GRANT_TOO_WIDE', `${role}: ${more}, for ${sayScope(scope)}`);
    const row: RoleRow = {
      id: randomUUID(),
      subject_kind: subject.kind,
      subject: named,
      provider,
      role,
      scope: scope === null ? null : JSON.stringify(scope),
      created_at: at,
      created_by: admin.name,
      reason,
      ended_at: null,
      ended_by: null,
      ended_because: null,
    };
    const same = (await openRoles(tx)).find((one) => subjectOf(one) === subjectOf(row) && one.role === role && one.scope === row.scope);
    if (same) return { id: same.id, given: false };
    await insertRole(tx, row);
    await audit(tx, { at, actor: admin.name, act: 'role.given', details: { ...detailsOf(row, name), reason } });
    return { id: row.id, given: true };
  });
}

/** Ends one that was given. Somebody has to be left who may say who may do what. */
export async function takeRole({ store, clock }: Parts, admin: Admin, { id, reason }: { id: string; reason: string }): Promise<RoleRow> {
  return store.write(async (tx) => {
    const at = await clock.persist(tx);
    await stillMay(tx, admin, 'people.edit', at);
    const row = await roleById(tx, id);
    if (!row || row.ended_at !== null) throw new Problem('NOT_FOUND', `there is no role ${id}`);
    if (await concernsSelf(tx, admin, row, at)) throw new Problem('OWN_ROLES');
    const name = row.subject_kind === 'person' ? ((await personById(tx, row.subject))?.user_name ?? row.subject) : row.subject;
    const owners = await rolesThatMakeOwners(tx, at);
    if (owners.includes(row.id) && owners.length === 1) throw new Problem('LAST_OWNER', name);
    await endRole(tx, row.id, { ended_at: at, ended_by: admin.name, ended_because: reason });
    await audit(tx, { at, actor: admin.name, act: 'role.taken', details: { ...detailsOf(row, name), reason } });
    return row;
  });
}

/** Who has a role, as far as is known here: of a group those who were in it at their last sign-in. */
export async function peopleOfRole(db: Db, row: Pick<RoleRow, 'subject_kind' | 'subject' | 'provider'>, at: number): Promise<KnownPerson[]> {
  const group = { provider: row.provider, name: row.subject };
  if (row.subject_kind === 'group') return (await peopleInGroups(db, [row.subject])).filter((one) => stands(one) && isOfGroup(one, groupsNow(one, at), group));
  const person = await personById(db, row.subject);
  return person && stands(person) ? [person] : [];
}

async function rolesThatMakeOwners(db: Db, at: number): Promise<string[]> {
  const found: string[] = [];
  for (const row of await openRoles(db))
    if (readRole(row)?.role === 'owner' && row.scope === null && (await peopleOfRole(db, row, at)).length > 0) found.push(row.id);
  return found;
}
