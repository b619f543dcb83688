import { Problem } from '../protocol/problems.ts';
import { adminOfPerson } from '../server/admins/admin.ts';
import { whileAsking } from '../server/auditing/asking.ts';
import { type Admin, type Permission, scopeOf } from '../server/permissions.ts';
import { emergenciesAt } from '../server/store/emergencies.ts';
import type { Answer, SignedIn, Site, Visit } from '../web/visit.ts';
import { type AnyOperation, type Operation, perform } from './operation.ts';

/** A visit of an admin. */
export interface ConsoleVisit extends SignedIn {
  admin: Admin;
  may(permission: Permission): boolean;
  /** What the API would do and answer, for this admin. */
  perform<In, Out>(made: Operation<In, Out>, input: unknown): Promise<Out>;
}

/** `signed-in`: whoever has any role. `fresh`: who has proved who they are a short time ago. */
type NeedsRole = Permission | 'signed-in' | { permission: Permission | 'signed-in'; fresh: true };

/** What the parts of the console add their pages to. */
export interface ConsoleSite {
  site: Site;
  page(path: string, needs: NeedsRole, answer: (visit: ConsoleVisit) => Promise<Answer>): void;
  /** A form that changes something; as `act` of a site. */
  act(path: string, needs: NeedsRole, answer: (visit: ConsoleVisit) => Promise<Answer>): void;
}

/** Whose visit it is, for what stands around the page; null for somebody without a role. */
const admins = new WeakMap<Visit, Admin>();
export const adminOfVisit = (visit: Visit): Admin | null => admins.get(visit) ?? null;

/** Self-service that is open for many now: it stands above every page of those who see these Macs. */
const openEmergencies = new WeakMap<Visit, readonly string[]>();
export const emergenciesOf = (visit: Visit): readonly string[] => openEmergencies.get(visit) ?? [];

/** Which pages a console has, and what each needs: its navigation shows those that an admin may see. */
const pagesOf = new WeakMap<Site['ground'], Map<string, Permission | 'signed-in'>>();
const groundOf = new WeakMap<Visit, Site['ground']>();
export function needsOfPage(visit: Visit, path: string): Permission | 'signed-in' | null {
  const ground = groundOf.get(visit);
  return (ground && pagesOf.get(ground)?.get(path)) ?? null;
}

/** Throws `NOT_ALLOWED` for somebody without any role, or without this one. */
async function asAdmin(site: Site, visit: SignedIn, permission: AnyOperation['permission']): Promise<ConsoleVisit> {
  const { backend, log } = site.ground;
  const { person, fresh } = visit.session;
  const admin = await adminOfPerson(backend, person, fresh);
  if (admin === null || admin.grants.length === 0) throw new Problem('NOT_ALLOWED', 'no role');
  admins.set(visit, admin);
  groundOf.set(visit, site.ground);
  const scope = scopeOf(admin, 'fleet.read');
  const open = (await emergenciesAt(backend.store.db, visit.at)).map(({ tags }) => JSON.parse(tags) as string[]);
  const seen = open.filter((tags) => scope === null || (scope !== false && tags.every((tag) => scope.includes(tag))));
  openEmergencies.set(visit, [...new Set(seen.flat())]);
  if (permission !== 'signed-in' && scopeOf(admin, permission) === false) throw new Problem('NOT_ALLOWED', permission);
  const { at, requestId } = visit;
  // The very visit, for its tokens know it: what is added is for admins alone.
  return Object.assign(visit, {
    admin,
    may: (one: Permission) => scopeOf(admin, one) !== false,
    perform: <In, Out>(made: Operation<In, Out>, input: unknown): Promise<Out> => perform(made, { admin, backend, log, at, requestId }, input),
  });
}

export function consoleSite(site: Site): ConsoleSite {
  const pages = new Map<string, Permission | 'signed-in'>();
  pagesOf.set(site.ground, pages);
  const add =
    (how: 'page' | 'act') =>
    (path: string, needs: NeedsRole, answer: (visit: ConsoleVisit) => Promise<Answer>): void => {
      const { permission, fresh } = typeof needs === 'string' ? { permission: needs, fresh: false } : needs;
      if (how === 'page') pages.set(path, permission);
      site[how](path, fresh ? 'fresh' : 'person', (visit) =>
        whileAsking({ requestId: visit.requestId, network: visit.network }, async () => answer(await asAdmin(site, visit, permission))),
      );
    };
  return { site, page: add('page'), act: add('act') };
}
