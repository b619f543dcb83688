import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { adminOfPerson, operatorAdmin } from '../server/admins/admin.ts';
import { giveRole } from '../server/admins/roles.ts';
import { makeToken, type TokenToMake } from '../server/admins/tokens.ts';
import type { Backend } from '../server/backend.ts';
import { openClock } from '../server/clock.ts';
import { silentLog } from '../server/log.ts';
import type { Admin, Role, Scope } from '../server/permissions.ts';
import { insertAccount, insertPerson, personById } from '../server/store/people.ts';
import { openNewDatabase } from './new-database.ts';
import { scratch } from './scratch.ts';

// People and what they may on a database alone: no listener, no data folder. Time is set by hand.

export const minute = 60_000;
export const day = 24 * 60 * minute;

export type GivenAdmins = Awaited<ReturnType<typeof givenAdmins>>;

export async function givenAdmins() {
  let now = Date.parse('2026-11-23T09:00:00Z');
  const store = await openNewDatabase(join(scratch('admins'), 'sparekey.db'));
  const clock = await openClock(store, () => now);
  const secrets = { fingerprint: Buffer.alloc(32, 1), rowMac: Buffer.alloc(32, 2), nonce: Buffer.alloc(32, 3), ticket: Buffer.alloc(32, 4) };
  const settings = {
    people: { url: 'https://key.example.org', signIn: { freshMinutes: 15, localAccounts: true, providers: [{ id: 'entra' }] } },
    console: { url: 'https://console.example.org' },
  };
  const backend = { store, clock, secrets, settings, log: silentLog } as unknown as Backend;
  const operator = operatorAdmin('an operator');
  const it = {
    backend,
    store,
    clock,
    operator,
    pass(milliseconds: number): void {
      now += milliseconds;
    },
    /** Somebody of a provider, unless `local`. */
    async person(name: string, about: { groups?: readonly string[] | null; local?: boolean; emergency?: boolean; provider?: string } = {}): Promise<string> {
      const id = randomUUID();
      const { groups = [], local = false, emergency = false, provider = 'entra' } = about;
      const of = { user_name: name, email: null, display_name: name, groups: JSON.stringify(groups), language: null };
      const isLocal = local || emergency;
      const times = { created_at: now, last_seen_at: now, confirmed_at: isLocal ? null : now, disabled_at: null, disabled_because: null };
      await store.write(async (tx) => {
        await insertPerson(tx, { id, provider: isLocal ? 'local' : provider, subject: name, ...of, ...times });
        const empty = { password: null, password_at: null, setup_digest: null, setup_expires_at: null };
        if (isLocal) await insertAccount(tx, { person_id: id, ...empty, emergency: emergency ? 1 : 0 });
      });
      return id;
    },
    async give(personId: string, role: Role, scope: Scope = null, by: Admin = operator): Promise<string> {
      const subject = { kind: 'person', person: { id: personId, user_name: (await personById(store.db, personId))?.user_name ?? '' } } as const;
      return (await giveRole(backend, by, { subject, role, scope, reason: 'a test' })).id;
    },
    giveGroup: async (name: string, role: Role, scope: Scope = null, by: Admin = operator, provider: string | null = null): Promise<string> =>
      (await giveRole(backend, by, { subject: { kind: 'group', name, provider }, role, scope, reason: 'a test' })).id,
    async admin(personId: string, fresh = true): Promise<Admin> {
      const person = await personById(store.db, personId);
      const asking = { id: personId, userName: person?.user_name ?? '', groups: JSON.parse(person?.groups ?? '[]') as string[] | null };
      const admin = await adminOfPerson(backend, asking, fresh);
      if (!admin) throw new TypeError('no admin');
      return admin;
    },
    token: async (personId: string, given: Partial<TokenToMake> = {}) =>
      makeToken(backend, await it.admin(personId), { name: 'nightly', roles: [{ role: 'viewer', scope: null }], service: false, days: null, ...given }),
    change: (personId: string, changes: { groups?: string; disabled_at?: number | null; confirmed_at?: number | null }) =>
      store.write((tx) => tx.updateTable('person').set(changes).where('id', '=', personId).execute()),
    async acts(): Promise<{ act: string; actor: string; details: Record<string, unknown> }[]> {
      const rows = await store.db.selectFrom('audit').selectAll().orderBy('seq').execute();
      return rows.map(({ act, actor, details }) => ({ act, actor, details: JSON.parse(details) as Record<string, unknown> }));
    },
    close: () => store.close(),
  };
  return it;
}
