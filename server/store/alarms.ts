import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';
import { question } from './asked.ts';

type Db = Kysely<Tables>;
export type Alarm = Tables['alarm'];

export const openAlarmsOf = question((db, macId: string) =>
  db.selectFrom('alarm').selectAll().where('mac_id', '=', macId).where('judged_at', 'is', null).orderBy('opened_at').orderBy('id'),
);

/** Of the fleet as a whole, not of one Mac. */
export const openFleetAlarms = (db: Db): Promise<Alarm[]> =>
  db.selectFrom('alarm').selectAll().where('mac_id', 'is', null).where('judged_at', 'is', null).orderBy('opened_at').execute();

export const openAlarms = (db: Db): Promise<Alarm[]> =>
  db.selectFrom('alarm').selectAll().where('judged_at', 'is', null).orderBy('opened_at').orderBy('id').execute();

export const alarmById = (db: Db, id: string): Promise<Alarm | undefined> => db.selectFrom('alarm').selectAll().where('id', '=', id).executeTakeFirst();

/** Open, or judged with these very words before. `byWords`: one that is open in other words is another. */
export const alarmLike = (db: Db, macId: string | null, code: string, detail: string, byWords = false): Promise<Alarm | undefined> =>
  db
    .selectFrom('alarm')
    .selectAll()
    .where('mac_id', macId === null ? 'is' : '=', macId)
    .where('code', '=', code)
    .where((e) => (byWords ? e('detail', '=', detail) : e.or([e('judged_at', 'is', null), e('detail', '=', detail)])))
    .executeTakeFirst();

/** Of the fleet: open, or raised in these words since then. */
export async function fleetAlarmStands(db: Db, code: string, detail: string, since: number): Promise<boolean> {
  const row = await db
    .selectFrom('alarm')
    .select('id')
    .where('mac_id', 'is', null)
    .where('code', '=', code)
    .where((e) => e.or([e('judged_at', 'is', null), e.and([e('detail', '=', detail), e('opened_at', '>', since)])]))
    .executeTakeFirst();
  return row !== undefined;
}

export async function insertAlarm(tx: Tx, alarm: Alarm): Promise<void> {
  await tx.insertInto('alarm').values(alarm).execute();
}

export async function judge(tx: Tx, id: string, judgedBy: string, judgement: string, at: number): Promise<void> {
  await tx.updateTable('alarm').set({ judged_at: at, judged_by: judgedBy, judgement }).where('id', '=', id).where('judged_at', 'is', null).execute();
}

export async function judgedSince(db: Db, macId: string, code: string, openedSince: number): Promise<boolean> {
  const row = await db
    .selectFrom('alarm')
    .select('id')
    .where('mac_id', '=', macId)
    .where('code', '=', code)
    .where('opened_at', '>=', openedSince)
    .where('judged_at', 'is not', null)
    .executeTakeFirst();
  return row !== undefined;
}
