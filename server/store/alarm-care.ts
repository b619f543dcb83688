import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Scope } from '../permissions.ts';
import type { Tables } from '../tables.ts';
import { scopeFilter } from './fleet-scope.ts';

type Db = Kysely<Tables>;
export type Care = Tables['alarm_care'];

export const caresOf = (db: Db, alarmIds: readonly string[]): Promise<Care[]> =>
  alarmIds.length === 0 ? Promise.resolve([]) : db.selectFrom('alarm_care').selectAll().where('alarm_id', 'in', alarmIds).execute();

export async function keepCare(tx: Tx, alarmId: string, values: Partial<Omit<Care, 'alarm_id'>>): Promise<void> {
  await tx
    .insertInto('alarm_care')
    .values({ alarm_id: alarmId, ...values })
    .onConflict((c) => c.column('alarm_id').doUpdateSet(values))
    .execute();
}

export interface AlarmWish {
  scope: Scope;
  open: boolean;
  codes: readonly string[] | null;
  macIds: readonly string[] | null;
  owner: string | null;
  muted: boolean | null;
  /** Server time, milliseconds. */
  now: number;
  after: { at: number; id: string } | null;
  limit: number;
}

const alarmLines = (db: Db, scope: Scope) =>
  db
    .selectFrom('alarm')
    .leftJoin('alarm_care', 'alarm_care.alarm_id', 'alarm.id')
    .leftJoin('mac', 'mac.id', 'alarm.mac_id')
    .selectAll('alarm')
    .select(['mac.serial', 'alarm_care.owner', 'alarm_care.owner_at', 'alarm_care.muted_until', 'alarm_care.muted_by', 'alarm_care.muted_because'])
    .where(scopeFilter(scope, 'alarm.mac_id'));
export type AlarmLine = Awaited<ReturnType<ReturnType<typeof alarmLines>['execute']>>[number];

/** Open or judged. */
export const alarmLineOf = (db: Db, id: string, scope: Scope): Promise<AlarmLine | undefined> =>
  alarmLines(db, scope).where('alarm.id', '=', id).executeTakeFirst();

/** Open ones the oldest first, judged ones the newest first. Those of the fleet as a whole are for whoever sees all of it. */
export async function listAlarms(db: Db, wish: AlarmWish) {
  const { after } = wish;
  const muted = wish.now;
  return await alarmLines(db, wish.scope)
    .where('alarm.judged_at', wish.open ? 'is' : 'is not', null)
    .$if(wish.codes !== null, (query) => query.where('alarm.code', 'in', wish.codes ?? []))
    .$if(wish.macIds !== null, (query) => query.where('alarm.mac_id', 'in', wish.macIds ?? []))
    .$if(wish.owner !== null, (query) => query.where('alarm_care.owner', '=', wish.owner))
    .$if(wish.muted === true, (query) => query.where('alarm_care.muted_until', '>', muted))
    .$if(wish.muted === false, (query) => query.where((e) => e.or([e('alarm_care.muted_until', 'is', null), e('alarm_care.muted_until', '<=', muted)])))
    .$if(after !== null, (query) =>
      query.where((e) =>
        e.or([
          e('alarm.opened_at', wish.open ? '>' : '<', after?.at ?? 0),
          e.and([e('alarm.opened_at', '=', after?.at ?? 0), e('alarm.id', wish.open ? '>' : '<', after?.id ?? '')]),
        ]),
      ),
    )
    .orderBy('alarm.opened_at', wish.open ? 'asc' : 'desc')
    .orderBy('alarm.id', wish.open ? 'asc' : 'desc')
    .limit(wish.limit)
    .execute();
}

/** One that an admin may look at. */
export const alarmInScope = (db: Db, id: string, scope: Scope): Promise<Tables['alarm'] | undefined> =>
  db.selectFrom('alarm').selectAll().where('id', '=', id).where(scopeFilter(scope, 'alarm.mac_id')).executeTakeFirst();
