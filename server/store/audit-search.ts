import type { Kysely } from 'kysely';
import type { Scope } from '../permissions.ts';
import type { Tables } from '../tables.ts';
import { scopeFilter } from './fleet-scope.ts';

type Db = Kysely<Tables>;

export interface AuditFilter {
  actor?: string | undefined;
  /** Ids of one Mac. */
  macIds?: readonly string[] | undefined;
  /** How the act begins. */
  act?: string | undefined;
  /** Server milliseconds; the second one is no more part of it. */
  from?: number | undefined;
  to?: number | undefined;
  /** In the details, as they are written. */
  text?: string | undefined;
}

/** Whoever has a scope sees records about Macs in it, and no others: nothing of the fleet, of people, or of the backend itself. */
function matching(db: Db, { actor, macIds, act, text }: AuditFilter, scope: Scope) {
  let rows = db.selectFrom('audit').selectAll('audit').where(scopeFilter(scope, 'audit.mac_id'));
  if (actor !== undefined) rows = rows.where('actor', '=', actor);
  if (macIds !== undefined) rows = rows.where('mac_id', 'in', macIds);
  if (act !== undefined) rows = rows.where('act', '>=', act).where('act', '<', `${act}\u{10FFFF}`);
  if (text !== undefined) {
    const inJson = JSON.stringify(text)
      .slice(1, -1)
      .replace(/[\\%_]/g, (sign) => `\\${sign}`);
    rows = rows.where((e) => e(e.fn<string>('lower', ['details']), 'like', e.fn<string>('lower', [e.val(`%${inJson}%`)])));
  }
  return rows;
}

export async function seqRange(db: Db, { from, to }: Pick<AuditFilter, 'from' | 'to'>): Promise<{ first: number; last: number }> {
  // Times never step back from one record to the next.
  const firstSince = (at: number) => db.selectFrom('audit').select('seq').where('at', '>=', at).orderBy('at').orderBy('seq').limit(1).executeTakeFirst();
  const end = (await db.selectFrom('audit').select('seq').orderBy('seq', 'desc').limit(1).executeTakeFirst())?.seq ?? 0;
  const first = from === undefined ? 1 : ((await firstSince(from))?.seq ?? end + 1);
  const after = to === undefined ? undefined : (await firstSince(to))?.seq;
  return { first, last: after === undefined ? end : after - 1 };
}

/** Newest first, below `before`. */
export const newestMatching = (db: Db, filter: AuditFilter, scope: Scope, range: { above: number; below: number }, limit: number) =>
  matching(db, filter, scope).where('seq', '>', range.above).where('seq', '<', range.below).orderBy('seq', 'desc').limit(limit).execute();

/** Oldest first. */
export const oldestMatching = (db: Db, filter: AuditFilter, scope: Scope, range: { above: number; below: number }, limit: number) =>
  matching(db, filter, scope).where('seq', '>', range.above).where('seq', '<', range.below).orderBy('seq').limit(limit).execute();

export const hashAt = async (db: Db, seq: number): Promise<string | null> =>
  (await db.selectFrom('audit').select('hash').where('seq', '=', seq).executeTakeFirst())?.hash ?? null;

/** Those whose act begins with one of these words, or all; oldest first. */
export const actsAfter = (db: Db, after: number, to: number, prefixes: readonly string[] | null, limit: number) => {
  const rows = db.selectFrom('audit').selectAll().where('seq', '>', after).where('seq', '<=', to);
  const wanted =
    prefixes === null ? rows : rows.where((e) => e.or(prefixes.map((prefix) => e.and([e('act', '>=', prefix), e('act', '<', `${prefix}\u{10FFFF}`)]))));
  return wanted.orderBy('seq').limit(limit).execute();
};
