import { type Expression, type ExpressionBuilder, type Kysely, type SqlBool, sql } from 'kysely';
import type { Scope } from '../permissions.ts';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;

/**
 * `where` of a question about Macs: those that have one of the tags of a scope. `column` is where the question has the id of
 * the Mac, such as `rotation_order.mac_id`. One record that was merged into another has the tags of that one.
 */
export const scopeFilter =
  (scope: Scope, column: string) =>
  // biome-ignore lint/suspicious/noExplicitAny: of whatever tables the question is about.
  (e: ExpressionBuilder<any, any>): Expression<SqlBool> => {
    if (scope === null) return e.lit(true);
    if (scope.length === 0) return e.lit(false);
    return e.exists(
      e.selectFrom('mac_tag as in_scope').select(sql<number>`1`.as('one')).whereRef('in_scope.mac_id', '=', column).where('in_scope.tag', 'in', scope),
    );
  };

/** Which rows about Macs an admin sees: those of a scope, and within a wider one what is their own. */
export interface Reach {
  scope: Scope;
  own: { personId: string; scope: Scope } | null;
}

/** Of a question that has `mac` in it. A record that was joined to another is seen by whoever sees that one. */
export const reachFilter =
  ({ scope, own }: Reach, personColumn: string) =>
  // biome-ignore lint/suspicious/noExplicitAny: of whatever tables the question is about.
  (e: ExpressionBuilder<any, any>): Expression<SqlBool> => {
    const within = (of: Scope) => e.or([scopeFilter(of, 'mac.id')(e), scopeFilter(of, 'mac.merged_into')(e)]);
    return own ? e.or([within(scope), e.and([e(personColumn, '=', own.personId), within(own.scope)])]) : within(scope);
  };

/** Sorted. Of a record that was merged those of the record it is told under: its own are not kept up, and who sees a key and how is told by them. */
export async function tagsOf(db: Db, macId: string): Promise<string[]> {
  const mac = await db.selectFrom('mac').select('merged_into').where('id', '=', macId).executeTakeFirst();
  const of = mac?.merged_into ?? macId;
  const rows = await db.selectFrom('mac_tag').select('tag').where('mac_id', '=', of).orderBy('tag').execute();
  return rows.map(({ tag }) => tag);
}

export interface Named {
  id: string;
  serial: string;
}

/** Whom an id or a serial number means: what was merged means what it was merged into. */
export async function macsNamed(db: Db, serialOrId: string): Promise<Named[]> {
  const found = await db
    .selectFrom('mac')
    .select(['id', 'serial', 'merged_into'])
    .where((e) => e.or([e('id', '=', serialOrId), e('serial', '=', serialOrId.trim().toUpperCase())]))
    .orderBy('created_at')
    .execute();
  const byId = found.filter((mac) => mac.id === serialOrId);
  const ids = new Set((byId.length > 0 ? byId : found).map((mac) => mac.merged_into ?? mac.id));
  if (ids.size === 0) return [];
  return await db
    .selectFrom('mac')
    .select(['id', 'serial'])
    .where('id', 'in', [...ids])
    .orderBy('created_at')
    .execute();
}

/** This Mac and the records that were merged into it. */
export async function recordsOfMachine(db: Db, macId: string): Promise<string[]> {
  const rows = await db.selectFrom('mac').select('id').where('merged_into', '=', macId).orderBy('created_at', 'desc').execute();
  return [macId, ...rows.map(({ id }) => id)];
}

/** Among these, the Mac with this key record, or with keys of this volume. */
export async function macWithKey(db: Db, macIds: readonly string[], recordId: string | null, volume: string | null): Promise<string | null> {
  const rows = await db
    .selectFrom('key_record')
    .select('mac_id')
    .distinct()
    .where('mac_id', 'in', macIds)
    .$if(recordId !== null, (query) => query.where('id', '=', recordId ?? ''))
    .$if(volume !== null, (query) => query.where('volume', '=', volume ?? ''))
    .execute();
  // A volume may have outlived its logic board: the first that is named counts.
  return macIds.find((macId) => rows.some(({ mac_id: of }) => of === macId)) ?? null;
}
