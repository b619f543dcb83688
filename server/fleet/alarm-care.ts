import type { Kysely } from 'kysely';
import { Problem } from '../../protocol/problems.ts';
import { type AlarmCode, stops, stopsSelfService } from '../alarms.ts';
import { audit } from '../audit.ts';
import type { Backend } from '../backend.ts';
import { day, isoTime } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import type { Scope } from '../permissions.ts';
import { alarmInScope, type Care, caresOf, keepCare } from '../store/alarm-care.ts';
import type { Alarm } from '../store/alarms.ts';
import { readMemory, writeMemory } from '../store/upkeep.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;

export const careOf = async (db: Db, alarmIds: readonly string[]): Promise<Map<string, Care>> =>
  new Map((await caresOf(db, alarmIds)).map((care) => [care.alarm_id, care]));

/** Alarms of a fleet that has only begun to be looked at are listed and not sent: half of them are what was always so. */
const learningDays = 14;
const learningMark = 'alarms:learning-until';

/** Server time until which alarms are only listed; null: nobody has looked at this fleet yet. */
export async function learningUntil(db: Db): Promise<number | null> {
  const kept = await readMemory(db, learningMark);
  return kept === null ? null : Number(kept);
}

/** At the first start with a console, once and for all. */
export async function beginLearning({ store, clock }: Pick<Backend, 'store' | 'clock'>): Promise<void> {
  if ((await learningUntil(store.db)) !== null) return;
  await store.write(async (tx) => {
    const at = await clock.persist(tx);
    if ((await learningUntil(tx)) === null) await writeMemory(tx, learningMark, String(at + learningDays * day));
  });
}

/** What is always so of many Macs, and stops nothing. What is about this backend, or closes a Mac, is never a matter of getting to know. */
const isLearned = (alarm: Pick<Alarm, 'mac_id' | 'code'>): boolean => alarm.mac_id !== null && !stops(alarm) && !stopsSelfService([alarm]);

/** Whether an alarm goes out to whoever listens: not while the fleet is being learned, and not while somebody wants to hear nothing of it. */
export async function isSent(db: Db, alarm: Pick<Alarm, 'id' | 'mac_id' | 'code' | 'opened_at'>, now: number): Promise<boolean> {
  const learning = await learningUntil(db);
  if (isLearned(alarm) && (learning === null || alarm.opened_at < learning)) return false;
  const mutedUntil = (await caresOf(db, [alarm.id]))[0]?.muted_until ?? null;
  return mutedUntil === null || mutedUntil <= now;
}

interface CaredFor {
  alarmId: string;
  scope: Scope;
  actor: string;
  /** More of the same transaction: what it throws refuses the act. */
  before?: ((tx: Tx, at: number) => Promise<void>) | undefined;
}

async function openOne(tx: Tx, { alarmId, scope }: CaredFor): Promise<Alarm> {
  const alarm = await alarmInScope(tx, alarmId, scope);
  if (!alarm) throw new Problem('NOT_FOUND', `there is no alarm ${alarmId}`);
  return alarm;
}

/** Somebody looks after it, or nobody (null) any more. */
export const assignAlarm = (backend: Backend, given: CaredFor & { owner: string | null }): Promise<void> =>
  backend.store.write(async (tx) => {
    const at = await backend.clock.persist(tx);
    await given.before?.(tx, at);
    const alarm = await openOne(tx, given);
    const { owner, actor } = given;
    await keepCare(tx, alarm.id, { owner, owner_at: owner === null ? null : at });
    await audit(tx, { at, actor, act: 'alarm.assigned', macId: alarm.mac_id, details: { alarmId: alarm.id, code: alarm.code, owner } });
  });

/** Nobody is told of it until then, and it asks for nobody on the first page. What it stops stays stopped. */
export const muteAlarm = (backend: Backend, given: CaredFor & { until: number; reason: string }): Promise<void> =>
  backend.store.write(async (tx) => {
    const at = await backend.clock.persist(tx);
    await given.before?.(tx, at);
    const alarm = await openOne(tx, given);
    const { until, reason, actor } = given;
    if (reason.trim() === '') throw new Problem('REASON_MISSING');
    // Whoever has changed the audit would have nobody hear of it for long.
    if (alarm.code === ('AUDIT_CHANGED' satisfies AlarmCode) && until > at + day)
      throw new Problem('MESSAGE_INVALID', 'until: within a day; that the audit was changed is muted for no longer');
    if (until <= at || until > at + 366 * day) throw new Problem('MESSAGE_INVALID', 'until: is a time to come, and within a year');
    await keepCare(tx, alarm.id, { muted_until: until, muted_by: actor, muted_because: reason });
    await audit(tx, { at, actor, act: 'alarm.muted', macId: alarm.mac_id, details: { alarmId: alarm.id, code: alarm.code, until: isoTime(until), reason } });
  });

export const unmuteAlarm = (backend: Backend, given: CaredFor): Promise<void> =>
  backend.store.write(async (tx) => {
    const at = await backend.clock.persist(tx);
    await given.before?.(tx, at);
    const alarm = await openOne(tx, given);
    await keepCare(tx, alarm.id, { muted_until: null, muted_by: null, muted_because: null });
    await audit(tx, { at, actor: given.actor, act: 'alarm.unmuted', macId: alarm.mac_id, details: { alarmId: alarm.id, code: alarm.code } });
  });

/** Throws for one that an admin may not look at, in the words of one that does not exist. */
export async function alarmSeen(db: Db, alarmId: string, scope: Scope): Promise<Alarm> {
  const alarm = await alarmInScope(db, alarmId, scope);
  if (!alarm) throw new Problem('NOT_FOUND', `there is no alarm ${alarmId}`);
  return alarm;
}
