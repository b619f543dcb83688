import { type ExpressionBuilder, type Kysely, sql } from 'kysely';
import type { Scope } from '../permissions.ts';
import type { Tables } from '../tables.ts';
import type { FleetCriteria } from './fleet-conditions.ts';
import { fleetWhere } from './fleet-filter.ts';
import { scopeFilter } from './fleet-scope.ts';

type Db = Kysely<Tables>;

/** Why an order would be no use to a Mac, or harm its person; in the order in which it is said. */
export type Exclusion = 'retired' | 'never-seen' | 'not-seen' | 'not-ours' | 'file-vault' | 'no-key' | 'hold' | 'waiting';

export interface ExclusionRules {
  now: number;
  /** Not heard of since then; null: that is no reason. */
  seenSince: number | null;
  overrideHold: boolean;
}

/** '' where nothing speaks against it. One text for previews and for the waves themselves, so that they do not differ. */
const whyNot =
  ({ now, seenSince, overrideHold }: ExclusionRules) =>
  (e: ExpressionBuilder<Tables, 'fleet_row'>) =>
    e
      .case()
      .when('fleet_row.state', '=', 'retired')
      .then('retired')
      .when('fleet_row.last_seen_at', '=', 0)
      .then('never-seen')
      .when('fleet_row.last_seen_at', '<', seenSince ?? 0)
      .then('not-seen')
      .when('fleet_row.mode', 'not in', ['M1', 'M2'])
      .then('not-ours')
      .when('fleet_row.file_vault', '=', 'off')
      .then('file-vault')
      .when('fleet_row.custody', 'in', ['none', 'foreign', 'lost'])
      .then('no-key')
      .when('fleet_row.hold_until', '>', overrideHold ? Number.MAX_SAFE_INTEGER : now)
      .then('hold')
      .when('fleet_row.order_state', 'in', ['waiting', 'replacing'])
      .then('waiting')
      .else('')
      .end()
      .$castTo<Exclusion | ''>();

/** How many of the Macs that are meant there is what against. */
export async function countExclusions(db: Db, is: FleetCriteria, scope: Scope, rules: ExclusionRules): Promise<Map<Exclusion | '', number>> {
  const where = await fleetWhere(db, is, scope);
  const rows = await db
    .selectFrom('fleet_row')
    .select((e) => [whyNot(rules)(e).as('why'), e.fn.countAll<number>().as('n')])
    .where(where)
    .groupBy(sql`1`)
    .execute();
  return new Map(rows.map(({ why, n }) => [why, Number(n)]));
}

export interface Judged {
  mac_id: string;
  serial: string;
  why: Exclusion | '';
}

/** Of these Macs, as far as they are within the scope. */
export async function exclusionsOf(db: Db, ids: readonly string[], scope: Scope, rules: ExclusionRules): Promise<Judged[]> {
  if (ids.length === 0) return [];
  return await db
    .selectFrom('fleet_row')
    .select((e) => ['fleet_row.mac_id', 'fleet_row.serial', whyNot(rules)(e).as('why')])
    .where('fleet_row.mac_id', 'in', [...ids])
    .where(scopeFilter(scope, 'fleet_row.mac_id'))
    .orderBy('fleet_row.mac_id')
    .execute();
}
