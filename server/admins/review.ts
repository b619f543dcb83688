import type { Backend } from '../backend.ts';
import type { Store } from '../parts.ts';
import type { Role, Scope } from '../permissions.ts';
import { openRoles, type RoleRow } from '../store/admins.ts';
import { lastTokenUse, type TokenAndMaker, tokensOfEverybody } from '../store/api-tokens.ts';
import { passkeysOf } from '../store/passkeys.ts';
import { peoplePage, personById } from '../store/people.ts';
import { lastSeenAtSite } from '../store/web-sessions.ts';
import { groupsNow, presentGrants, stands } from './admin.ts';
import { grantsOfToken, neverOfLogins, neverOfTokens, readRole, readTokenRoles } from './grants.ts';
import { type Group, isOfGroup, sayGroup } from './groups.ts';
import { peopleOfRole } from './roles.ts';

type Db = Store['db'];

export interface RoleSaid {
  id: string;
  subject: { kind: 'person' | 'group'; id: string; name: string };
  /** Null: of a person. */
  group: Group | null;
  role: Role;
  scope: Scope;
  since: number;
  by: string;
  reason: string;
}

/** Roles that this version knows, as they were given. */
export async function rolesSaid(db: Db): Promise<RoleSaid[]> {
  const said: RoleSaid[] = [];
  for (const row of await openRoles(db)) {
    const role = readRole(row);
    const group = row.subject_kind === 'group' ? { provider: row.provider, name: row.subject } : null;
    if (role) said.push({ ...role, id: row.id, subject: await subjectSaid(db, row), group, since: row.created_at, by: row.created_by, reason: row.reason });
  }
  return said;
}

async function subjectSaid(db: Db, row: Pick<RoleRow, 'subject_kind' | 'subject' | 'provider'>): Promise<RoleSaid['subject']> {
  if (row.subject_kind === 'person') return { kind: 'person', id: row.subject, name: (await personById(db, row.subject))?.user_name ?? row.subject };
  const name = sayGroup({ provider: row.provider, name: row.subject });
  return { kind: 'group', id: name, name };
}

export interface PersonSaid {
  id: string;
  userName: string;
  displayName: string;
  email: string | null;
  /** `local`, or the id of a provider. */
  provider: string;
  emergency: boolean;
  /** How they can sign in: by password, by passkeys (of any site), with their provider. */
  ways: { password: boolean; passkeys: number; provider: boolean };
  state: 'usable' | 'disabled';
  lastSignedInAt: number | null;
  lastAtConsoleAt: number | null;
  lastTokenUseAt: number | null;
  roles: { id: string; role: Role; scope: Scope; group: string | null; since: number }[];
}

export interface PeopleAsked {
  q: string | null;
  /** Only those who have a role, by name or with a group. */
  withRoles: boolean;
  after: { userName: string; id: string } | null;
  limit: number;
}

/** A page of people with what they may; `next` is where it goes on. */
export async function peopleSaid(db: Db, at: number, asked: PeopleAsked): Promise<{ people: PersonSaid[]; next: PeopleAsked['after'] }> {
  const given = await rolesSaid(db);
  const named = [...new Set(given.flatMap(({ subject, group }) => (group === null ? [subject.id] : [])))];
  const grouped = [...new Set(given.flatMap(({ group }) => (group === null ? [] : [group.name])))];
  const among = asked.withRoles ? { ids: named, groups: grouped } : null;
  const rows = await peoplePage(db, { q: asked.q, among, after: asked.after, limit: asked.limit });
  const ids = rows.map(({ id }) => id);
  const [atConsole, tokens] = [await lastSeenAtSite(db, 'console', ids), await lastTokenUse(db, ids)];
  const people: PersonSaid[] = [];
  for (const row of rows) {
    const groups = groupsNow(row, at);
    const own = given.filter(({ subject, group }) => (group === null ? subject.id === row.id : isOfGroup(row, groups, group)));
    if (asked.withRoles && own.length === 0) continue;
    people.push({
      id: row.id,
      userName: row.user_name,
      displayName: row.display_name,
      email: row.email,
      provider: row.provider,
      emergency: row.emergency === 1,
      ways: { password: row.password_at !== null, passkeys: (await passkeysOf(db, row.id)).length, provider: row.provider !== 'local' },
      state: stands(row) ? 'usable' : 'disabled',
      lastSignedInAt: row.last_seen_at,
      lastAtConsoleAt: atConsole.get(row.id) ?? null,
      lastTokenUseAt: tokens.get(row.id) ?? null,
      roles: own.map(({ id, role, scope, subject, since }) => ({ id, role, scope, since, group: subject.kind === 'group' ? subject.name : null })),
    });
  }
  const last = rows.length === asked.limit ? rows.at(-1) : undefined;
  return { people, next: last ? { userName: last.user_name, id: last.id } : null };
}

/** A token as it may be shown: what it may at this moment, which is nothing where its maker may nothing any more. */
export async function tokenSaid(db: Db, at: number, row: TokenAndMaker) {
  const maker = await presentGrants(db, row.person_id, at);
  const made = readTokenRoles(row.grants);
  const never = row.kind === 'login' ? neverOfLogins : neverOfTokens;
  return {
    id: row.id,
    name: row.name,
    kind: row.kind,
    maker: row.user_name,
    roles: made,
    powerless: !maker || grantsOfToken(maker.grants, made, never).length === 0,
    madeAt: row.created_at,
    expiresAt: row.expires_at,
    lastUsedAt: row.last_used_at,
    lastNetwork: row.last_network,
    endedAt: row.ended_at,
    endedBy: row.ended_by,
  };
}

/** A group may have thousands in it: each is counted, so many are named. */
const mostNamed = 200;
const mostTokens = 1000;

/** Who may what at this moment, since when, by whom, and whether it is used: what somebody goes through once a quarter. */
export async function accessReview({ store: { db } }: Pick<Backend, 'store'>, at: number) {
  const said = await rolesSaid(db);
  const roles = [];
  for (const one of said) {
    const { subject, group } = one;
    const holders = await peopleOfRole(db, { subject_kind: subject.kind, subject: group?.name ?? subject.id, provider: group?.provider ?? null }, at);
    const named = holders.slice(0, mostNamed);
    const ids = named.map(({ id }) => id);
    const [atConsole, tokens] = [await lastSeenAtSite(db, 'console', ids), await lastTokenUse(db, ids)];
    const people = named.map((person) => ({
      userName: person.user_name,
      displayName: person.display_name,
      lastSignedInAt: person.last_seen_at,
      lastUsedAt: latest(atConsole.get(person.id), tokens.get(person.id)),
    }));
    roles.push({ ...one, count: holders.length, people });
  }
  const tokens = [];
  for (const row of await tokensOfEverybody(db, { at, all: false, after: null, limit: mostTokens })) tokens.push(await tokenSaid(db, at, row));
  return { madeAt: at, roles, tokens };
}

const latest = (...times: (number | undefined)[]): number | null => {
  const known = times.filter((time) => time !== undefined);
  return known.length === 0 ? null : Math.max(...known);
};
