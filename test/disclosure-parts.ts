import { randomUUID } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type DisclosurePolicy, plainDisclosure } from '../server/approvals/disclosure-policy.ts';
import type { Role, Scope } from '../server/permissions.ts';
import { keepPolicy } from '../server/store/policies.ts';
import { type AdminGiven, type Answered, givenConsole } from './given-console.ts';

let made = 0;

/** A Mac with a key in custody, a tag of its own, and a policy for that tag; and what was written about it. */
export async function guardedMac(rules: Partial<DisclosurePolicy> = {}, options: Parameters<typeof givenConsole>[0] = {}) {
  const it = await givenConsole({
    people: { contact: { name: 'The service desk', phone: '+31 20 555 0100' }, mail: { from: 'keys@example.org' } },
    ...options,
  });
  await it.checkIn();
  const macId = await it.macId();
  const rank = ++made;
  const tag = `disclosed${rank}`;
  const { store, clock } = it.backend;
  const policyId = randomUUID();
  const setPolicy = (now: Partial<DisclosurePolicy>): Promise<void> =>
    store.write(async (tx) => {
      const at = await clock.persist(tx);
      const rulesOfIt = JSON.stringify({ disclosure: { ...plainDisclosure, ...now } });
      const by = { created_at: at, created_by: 'a test', changed_at: at, changed_by: 'a test' };
      await keepPolicy(tx, {
        id: policyId,
        name: tag,
        rank,
        tags: JSON.stringify([tag]),
        rules: rulesOfIt,
        version: 1,
        ...by,
        aged_since: null,
        ended_at: null,
      });
    });
  await store.write((tx) =>
    tx
      .insertInto('mac_tag')
      .values({ mac_id: macId, tag, source: 'admin' })
      .execute()
      .then(() => undefined),
  );
  await setPolicy(rules);
  const { db } = it.store;
  return Object.assign(Object.create(Object.prototype, Object.getOwnPropertyDescriptors(it)) as typeof it, {
    id: macId,
    tag,
    setPolicy,
    keyPath: `/v1/devices/${macId}/key`,
    ask: (who: AdminGiven, more: object = {}): Promise<Answered> =>
      who.post(`/v1/devices/${macId}/disclosure-requests`, { reason: 'the person is locked out', ...more }),
    key: (who: AdminGiven, more: object = {}): Promise<Answered> => who.post(`/v1/devices/${macId}/key`, { reason: 'the person is locked out', ...more }),
    vote: (who: AdminGiven, requestId: string, as: 'approve' | 'decline' = 'approve', words = 'seen with their manager'): Promise<Answered> =>
      who.post(`/v1/disclosure-requests/${requestId}/${as}`, { words }),
    /** Somebody with this role for this Mac's tag alone. */
    here: (role: Role, by: 'session' | 'token' = 'session', scope: Scope = [tag]) => it.as(role, scope, by),
    disclosures: () => db.selectFrom('disclosure').selectAll().where('mac_id', '=', macId).orderBy('at').execute(),
    acts: async (act: string) =>
      (await db.selectFrom('audit').selectAll().where('mac_id', '=', macId).where('act', '=', act).orderBy('seq').execute()).map(
        (row): Record<string, unknown> => ({ actor: row.actor, ...(JSON.parse(row.details) as Record<string, unknown>) }),
      ),
    alarms: async () => (await db.selectFrom('alarm').selectAll().where('mac_id', '=', macId).where('judged_at', 'is', null).execute()).map(({ code }) => code),
    mails: async () => (await db.selectFrom('mail').selectAll().execute()).filter(({ details }) => details.includes(macId)),
    takeRoles: (who: { personId: string }) =>
      store.write((tx) =>
        tx.updateTable('role_given').set({ ended_at: 1, ended_by: 'a test', ended_because: 'a test' }).where('subject', '=', who.personId).execute(),
      ),
    /** Whose token it is has just been there again. */
    freshen: (who: { personId: string }) =>
      store.write(async (tx) =>
        tx
          .updateTable('api_token')
          .set({ fresh_at: await clock.persist(tx) })
          .where('person_id', '=', who.personId)
          .execute(),
      ),
    disable: (who: { personId: string }) => store.write((tx) => tx.updateTable('person').set({ disabled_at: 1 }).where('id', '=', who.personId).execute()),
    minutes: (count: number) => it.pass(count * 60),
  });
}
export type GuardedMac = Awaited<ReturnType<typeof guardedMac>>;

/** Every file of a data folder. */
export function filesOf(dir: string): string[] {
  return readdirSync(dir).flatMap((name) => {
    const path = join(dir, name);
    return statSync(path).isDirectory() ? filesOf(path) : [path];
  });
}
