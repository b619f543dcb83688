import type { Kysely } from 'kysely';
import { broughtShown } from '../audit.ts';
import type { Scope } from '../permissions.ts';
import type { Tables } from '../tables.ts';
import { scopeFilter } from './fleet-scope.ts';

type Db = Kysely<Tables>;

export interface Period {
  from: number;
  /** No more part of it. */
  to: number;
}

/** Macs that were known by then, silent ones too: only those that were retired before it and not heard of since are no part. What was merged into another stands with that one. */
const ofPeriod = (db: Db, { from, to }: Period, scope: Scope) =>
  db
    .selectFrom('mac')
    .where('mac.merged_into', 'is', null)
    .where('mac.created_at', '<', to)
    .where((e) =>
      e.or([
        e('mac.last_seen_at', '>=', from),
        e(
          'mac.id',
          'not in',
          e.selectFrom('mac_standing').select('mac_standing.mac_id').where('mac_standing.state', '=', 'retired').where('mac_standing.set_at', '<', from),
        ),
      ]),
    )
    .where(scopeFilter(scope, 'mac.id'));

export async function countMacsOfPeriod(db: Db, period: Period, scope: Scope): Promise<number> {
  const { total } = await ofPeriod(db, period, scope)
    .select((e) => e.fn.countAll<number>().as('total'))
    .executeTakeFirstOrThrow();
  return total;
}

/** By id. */
export const macsOfPeriod = (db: Db, period: Period, scope: Scope, after: string, most: number) =>
  ofPeriod(db, period, scope)
    .leftJoin('fleet_row', 'fleet_row.mac_id', 'mac.id')
    .select(['mac.id', 'mac.serial', 'mac.serial_proved', 'mac.created_at', 'mac.last_seen_at', 'mac.present_volume'])
    .select(['fleet_row.custody', 'fleet_row.custody_because', 'fleet_row.macos', 'fleet_row.file_vault', 'fleet_row.user_name', 'fleet_row.tags'])
    .where('mac.id', '>', after)
    .orderBy('mac.id')
    .limit(most)
    .execute();
export type MacOfPeriod = Awaited<ReturnType<typeof macsOfPeriod>>[number];

/** Which keys of these Macs the audit says were held, at some time before this one: by the rule that made them so, or by a proof. */
export async function heldBefore(db: Db, macIds: readonly string[], to: number): Promise<Set<string>> {
  const rows = await db
    .selectFrom('audit')
    .select(['act', 'details'])
    .where('mac_id', 'in', macIds)
    .where('act', 'in', ['key.stored', 'key.opened', 'key.proved'])
    .where('at', '<', to)
    .execute();
  const held = new Set<string>();
  for (const { act, details } of rows) {
    const { recordId, rule } = JSON.parse(details) as { recordId?: unknown; rule?: unknown };
    if (typeof recordId === 'string' && (act === 'key.proved' || rule === 'K3' || rule === 'K5')) held.add(recordId);
  }
  return held;
}

/** Keys of these Macs that had come before this time. */
export const keysBefore = (db: Db, macIds: readonly string[], to: number) =>
  db
    .selectFrom('key_record')
    .select(['id', 'mac_id', 'volume', 'state', 'state_at', 'received_at', 'proved_at', 'source'])
    .where('mac_id', 'in', macIds)
    .where('received_at', '<', to)
    .where('state', '<>', 'quarantined')
    .orderBy('received_at')
    .execute();
export type KeyOfMac = Awaited<ReturnType<typeof keysBefore>>[number];

export const disclosuresOfPeriod = (db: Db, { from, to }: Period, scope: Scope, after: { at: number; id: string }, most: number) =>
  db
    .selectFrom('disclosure')
    .innerJoin('mac', 'mac.id', 'disclosure.mac_id')
    .selectAll('disclosure')
    .select('mac.serial')
    .where('disclosure.at', '>=', from)
    .where('disclosure.at', '<', to)
    .where((e) => e.or([e('disclosure.at', '>', after.at), e.and([e('disclosure.at', '=', after.at), e('disclosure.id', '>', after.id)])]))
    .where(scopeFilter(scope, 'disclosure.mac_id'))
    .orderBy('disclosure.at')
    .orderBy('disclosure.id')
    .limit(most)
    .execute();

/** Keys that others brought, shown before they became a record of a Mac: they are in the audit alone until then. */
export const broughtShownInPeriod = (db: Db, { from, to }: Period, scope: Scope, after: number, most: number) =>
  db
    .selectFrom('audit')
    .selectAll('audit')
    .where('act', '=', broughtShown)
    .where('seq', '>', after)
    .where('at', '>=', from)
    .where('at', '<', to)
    .where(scopeFilter(scope, 'audit.mac_id'))
    .where((e) =>
      e.not(
        e.exists(
          e
            .selectFrom('disclosure')
            .select('disclosure.id')
            .whereRef('disclosure.mac_id', '=', 'audit.mac_id')
            .whereRef('disclosure.at', '=', 'audit.at')
            .whereRef('disclosure.actor', '=', 'audit.actor'),
        ),
      ),
    )
    .orderBy('seq')
    .limit(most)
    .execute();

/** In which way it was shown, who agreed, and what was said of it afterwards. */
export async function circumstancesOf(db: Db, disclosureId: string) {
  const [admin, release, emergency, portal, review] = await Promise.all([
    db.selectFrom('admin_view').selectAll().where('disclosure_id', '=', disclosureId).executeTakeFirst(),
    db.selectFrom('release_view').selectAll().where('disclosure_id', '=', disclosureId).executeTakeFirst(),
    db.selectFrom('emergency_view').selectAll().where('disclosure_id', '=', disclosureId).executeTakeFirst(),
    db.selectFrom('key_view').selectAll().where('disclosure_id', '=', disclosureId).executeTakeFirst(),
    db.selectFrom('disclosure_review').selectAll().where('disclosure_id', '=', disclosureId).executeTakeFirst(),
  ]);
  const requestId = admin?.request_id ?? null;
  const votes = requestId === null ? [] : await db.selectFrom('disclosure_vote').selectAll().where('request_id', '=', requestId).orderBy('at').execute();
  const code = release ? await db.selectFrom('release_code').selectAll().where('id', '=', release.release_id).executeTakeFirst() : undefined;
  const opened = emergency ? await db.selectFrom('emergency').selectAll().where('id', '=', emergency.emergency_id).executeTakeFirst() : undefined;
  return { admin, release, emergency, portal, review, votes, code, opened };
}

/** The first key that came to this volume afterwards, and is or was the held one. */
export const keyAfter = (db: Db, macId: string, volume: string, recordId: string, at: number) =>
  db
    .selectFrom('key_record')
    .select(['id', 'received_at', 'proved_at'])
    .where('mac_id', '=', macId)
    .where('volume', '=', volume)
    .where('id', '<>', recordId)
    .where('received_at', '>', at)
    .where('state', 'in', ['held', 'superseded', 'destroyed'])
    .orderBy('received_at')
    .limit(1)
    .executeTakeFirst();

/** Replacements that came to be owed in the period. */
export const debtsOfPeriod = (db: Db, { from, to }: Period, scope: Scope, after: { at: number; id: string }, most: number) =>
  db
    .selectFrom('debt')
    .innerJoin('mac', 'mac.id', 'debt.mac_id')
    .select(['debt.id', 'debt.because', 'debt.opened_at', 'debt.closed_at', 'debt.closed_by', 'mac.serial', 'debt.mac_id'])
    .where('debt.opened_at', '>=', from)
    .where('debt.opened_at', '<', to)
    .where((e) => e.or([e('debt.opened_at', '>', after.at), e.and([e('debt.opened_at', '=', after.at), e('debt.id', '>', after.id)])]))
    .where(scopeFilter(scope, 'debt.mac_id'))
    .orderBy('debt.opened_at')
    .orderBy('debt.id')
    .limit(most)
    .execute();

/** What was said of policies until then, oldest first. */
export const policyVersionsUntil = (db: Db, to: number) =>
  db.selectFrom('policy_version').selectAll().where('at', '<', to).orderBy('at').orderBy('policy_id').orderBy('version').execute();
