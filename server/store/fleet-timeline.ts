import type { Kysely, SqlBool } from 'kysely';
import { sql } from 'kysely';
import type { Tables } from '../tables.ts';

type Db = Kysely<Tables>;

/** Where a page of one source goes on: at this time, below this key; without a key at this time or before it. */
export interface Below {
  at: number;
  key: string | number | null;
  /** Not at this very time: what is there stood on the page before. */
  strictly?: true;
}

const bound = (below: Below | null, at: string, key: string) =>
  below === null
    ? sql<SqlBool>`1 = 1`
    : below.key !== null
      ? sql<SqlBool>`(${sql.ref(at)}, ${sql.ref(key)}) < (${below.at}, ${below.key})`
      : below.strictly
        ? sql<SqlBool>`${sql.ref(at)} < ${below.at}`
        : sql<SqlBool>`${sql.ref(at)} <= ${below.at}`;

/** Records of the audit about these Macs but for some acts, newest first. */
export const auditBelow = (db: Db, macIds: readonly string[], without: readonly string[], below: Below | null, limit: number) =>
  db
    .selectFrom('audit')
    .select(['seq', 'at', 'actor', 'act', 'details'])
    .where('mac_id', 'in', macIds)
    .where('act', 'not in', without)
    .where(bound(below, 'at', 'seq'))
    .orderBy('at', 'desc')
    .orderBy('seq', 'desc')
    .limit(limit)
    .execute();

/** Answers of macOS that prove nothing, newest first: a `true` is a record of the audit. */
export const proofsBelow = (db: Db, macIds: readonly string[], below: Below | null, limit: number) =>
  db
    .selectFrom('proof')
    .selectAll()
    .where('mac_id', 'in', macIds)
    .where('answer', '<>', 'true')
    .where(bound(below, 'at', 'id'))
    .orderBy('at', 'desc')
    .orderBy('id', 'desc')
    .limit(limit)
    .execute();

/** Boot sessions, by when they began to check in. */
export const sessionsBelow = (db: Db, macIds: readonly string[], below: Below | null, limit: number) =>
  db
    .selectFrom('session')
    .innerJoin('enrolment', 'enrolment.id', 'session.enrolment_id')
    .select(['session.boot', 'session.enrolment_id', 'session.booted_at', 'session.first_seen_at', 'session.last_seen_at'])
    .where('enrolment.mac_id', 'in', macIds)
    .where(bound(below, 'session.first_seen_at', 'session.boot'))
    .orderBy('session.first_seen_at', 'desc')
    .orderBy('session.boot', 'desc')
    .limit(limit)
    .execute();
