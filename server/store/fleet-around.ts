import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;

export function grouped<Row extends { mac_id: string }>(rows: readonly Row[]): Map<string, Row[]> {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const group = groups.get(row.mac_id);
    if (group) group.push(row);
    else groups.set(row.mac_id, [row]);
  }
  return groups;
}

/** What else lists say of these Macs, from all over. */
export async function aroundMacs(db: Db, macIds: readonly string[]) {
  const macs = await db.selectFrom('mac').selectAll().where('id', 'in', macIds).execute();
  const serials = macs.map((mac) => mac.serial);
  const standings = await db.selectFrom('mac_standing').selectAll().where('mac_id', 'in', macIds).execute();
  const claims = await db
    .selectFrom('assignment')
    .selectAll()
    .where('mac_id', 'in', macIds)
    .where('ended_at', 'is', null)
    .orderBy('rank', 'desc')
    .orderBy('created_at')
    .orderBy('user_name')
    .execute();
  const orders = await db
    .selectFrom('rotation_order')
    .select(['mac_id', 'created_at'])
    .where('mac_id', 'in', macIds)
    .where('state', '=', 'waiting')
    .orderBy('created_at')
    .execute();
  const refusals = await db.selectFrom('refusal').select(['mac_id', 'record_id', 'at']).where('mac_id', 'in', macIds).orderBy('at').execute();
  const tags = await db.selectFrom('mac_tag').selectAll().where('mac_id', 'in', macIds).orderBy('tag').execute();
  const merged = await db.selectFrom('mac').select(['merged_into', 'serial']).where('merged_into', 'in', macIds).execute();
  const muted = await db
    .selectFrom('alarm_care')
    .innerJoin('alarm', 'alarm.id', 'alarm_care.alarm_id')
    .select(['alarm_care.alarm_id', 'alarm_care.muted_until'])
    .where('alarm.mac_id', 'in', macIds)
    .where('alarm_care.muted_until', 'is not', null)
    .execute();
  const devices = await db
    .selectFrom('mdm_device')
    .select(['serial', 'last_seen_at'])
    .where('serial', 'in', serials)
    .where('checked_out_at', 'is', null)
    .execute();
  const connected = await db
    .selectFrom('connector_mac')
    .select(['serial', 'heard_at'])
    .where('serial', 'in', serials)
    .where('heard_at', 'is not', null)
    .execute();
  const heard = new Map<string, number>();
  for (const { serial, at } of [
    ...devices.map((one) => ({ serial: one.serial ?? '', at: one.last_seen_at })),
    ...connected.map((one) => ({ serial: one.serial, at: one.heard_at ?? 0 })),
  ])
    heard.set(serial, Math.max(heard.get(serial) ?? 0, at));
  const of = <Row extends { mac_id: string }>(rows: readonly Row[]) => {
    const groups = grouped(rows);
    return (macId: string): Row[] => groups.get(macId) ?? [];
  };
  return {
    macs,
    standing: of(standings),
    claims: of(claims),
    orders: of(orders),
    refusals: of(refusals),
    tags: of(tags),
    olderSerials: (macId: string) => merged.filter((mac) => mac.merged_into === macId).map((mac) => mac.serial),
    mutedUntil: (alarmId: string) => muted.find((one) => one.alarm_id === alarmId)?.muted_until ?? null,
    /** When the MDM heard of it last. */
    heardAt: (serial: string) => heard.get(serial) ?? null,
  };
}

/** The groups of whoever has this name; of two people with one name those of neither. */
export async function groupsOfNames(db: Db, userNames: readonly string[]): Promise<Map<string, string[]>> {
  if (userNames.length === 0) return new Map();
  const people = await db
    .selectFrom('person')
    .select(['user_name', 'groups'])
    .where('user_name', 'in', userNames)
    .where('confirmed_at', '>', 0)
    .where('disabled_at', 'is', null)
    .execute();
  const found = new Map<string, string[]>();
  for (const name of userNames) {
    const [person, ...more] = people.filter((one) => one.user_name === name);
    const groups: unknown = person && more.length === 0 ? JSON.parse(person.groups) : null;
    if (Array.isArray(groups))
      found.set(
        name,
        groups.filter((group) => typeof group === 'string' && group !== ''),
      );
  }
  return found;
}

/** Tags of the groups of whose Mac it is: exactly these. */
export async function keepGroupTags(tx: Tx, macId: string, has: readonly string[], wanted: readonly string[]): Promise<void> {
  for (const tag of has)
    if (!wanted.includes(tag)) await tx.deleteFrom('mac_tag').where('mac_id', '=', macId).where('tag', '=', tag).where('source', '=', 'group').execute();
  for (const tag of wanted)
    if (!has.includes(tag))
      await tx
        .insertInto('mac_tag')
        .values({ mac_id: macId, tag, source: 'group' })
        .onConflict((c) => c.doNothing())
        .execute();
}
