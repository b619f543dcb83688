import type { Kysely } from 'kysely';
import type { Tx } from '../parts.ts';
import type { Scope } from '../permissions.ts';
import type { Tables } from '../tables.ts';
import { scopeFilter } from './fleet-scope.ts';

type Db = Kysely<Tables>;
export type Campaign = Tables['campaign'];
export type CampaignMac = Tables['campaign_mac'];

export const campaignById = (db: Db, id: string): Promise<Campaign | undefined> =>
  db.selectFrom('campaign').selectAll().where('id', '=', id).executeTakeFirst();

/** Something may still become of them, oldest first. */
export const openCampaigns = (db: Db): Promise<Campaign[]> =>
  db.selectFrom('campaign').selectAll().where('ended_at', 'is', null).orderBy('created_at').orderBy('id').execute();

/** Newest first, those with a Mac within the scope. */
export function campaignPage(db: Db, scope: Scope, { before, limit }: { before: { at: number; id: string } | null; limit: number }): Promise<Campaign[]> {
  let rows = db.selectFrom('campaign').selectAll();
  if (scope !== null)
    rows = rows.where((e) =>
      e.exists(
        e
          .selectFrom('campaign_mac')
          .select('campaign_mac.mac_id')
          .whereRef('campaign_mac.campaign_id', '=', 'campaign.id')
          .where(scopeFilter(scope, 'campaign_mac.mac_id')),
      ),
    );
  if (before) rows = rows.where((e) => e.or([e('created_at', '<', before.at), e.and([e('created_at', '=', before.at), e('id', '<', before.id)])]));
  return rows.orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit).execute();
}

export async function insertCampaign(tx: Tx, campaign: Campaign): Promise<void> {
  await tx.insertInto('campaign').values(campaign).execute();
}

export async function updateCampaign(tx: Tx, id: string, values: Partial<Omit<Campaign, 'id'>>): Promise<void> {
  await tx.updateTable('campaign').set(values).where('id', '=', id).execute();
}

/** Of several backends that come to do the same piece of work, one has it: the others find that it was counted on. */
export async function claimRound(tx: Tx, { id, round }: Campaign): Promise<boolean> {
  const done = await tx
    .updateTable('campaign')
    .set({ round: round + 1 })
    .where('id', '=', id)
    .where('round', '=', round)
    .executeTakeFirst();
  return done.numUpdatedRows > 0n;
}

export async function insertCampaignMacs(tx: Tx, rows: readonly CampaignMac[]): Promise<void> {
  if (rows.length === 0) return;
  await tx
    .insertInto('campaign_mac')
    .values([...rows])
    .onConflict((c) => c.columns(['campaign_id', 'mac_id']).doNothing())
    .execute();
}

export async function updateCampaignMac(
  tx: Tx,
  campaignId: string,
  macId: string,
  values: Partial<Omit<CampaignMac, 'campaign_id' | 'mac_id'>>,
): Promise<void> {
  await tx.updateTable('campaign_mac').set(values).where('campaign_id', '=', campaignId).where('mac_id', '=', macId).execute();
}

/** What a campaign says of an order that was not carried out. */
export async function failOrdered(tx: Tx, order: { id: string; mac_id: string }, values: { why: string; because: string; state_at: number }): Promise<void> {
  await tx
    .updateTable('campaign_mac')
    .set({ ...values, state: 'failed' })
    .where('mac_id', '=', order.mac_id)
    .where('order_id', '=', order.id)
    .where('state', '=', 'ordered')
    .execute();
}

/** Whose turn it is. */
export const nextInTurn = (db: Db, campaignId: string, limit: number): Promise<CampaignMac[]> =>
  db
    .selectFrom('campaign_mac')
    .selectAll()
    .where('campaign_id', '=', campaignId)
    .where('state', '=', 'waiting')
    .orderBy('place')
    .orderBy('mac_id')
    .limit(limit)
    .execute();

/** Something may still become of one of its Macs. */
export async function hasOpenMacs(db: Db, campaignId: string): Promise<boolean> {
  const one = db.selectFrom('campaign_mac').select('mac_id').where('campaign_id', '=', campaignId).where('state', 'in', ['waiting', 'ordered']);
  return (await one.limit(1).executeTakeFirst()) !== undefined;
}

export async function orderedSince(db: Db, campaignId: string, since: number): Promise<number> {
  const row = await db
    .selectFrom('campaign_mac')
    .select((e) => e.fn.countAll<number>().as('count'))
    .where('campaign_id', '=', campaignId)
    .where('ordered_at', '>', since)
    .where('joined', '=', 0)
    .executeTakeFirstOrThrow();
  return Number(row.count);
}

export interface EndedOrder extends CampaignMac {
  order_state: Tables['rotation_order']['state'];
}

/** Macs of a campaign whose order has come to its end, however it did. */
export const endedOrders = (db: Db, campaignId: string, limit: number): Promise<EndedOrder[]> =>
  db
    .selectFrom('campaign_mac')
    .innerJoin('rotation_order', 'rotation_order.id', 'campaign_mac.order_id')
    .selectAll('campaign_mac')
    .select('rotation_order.state as order_state')
    .where('campaign_id', '=', campaignId)
    .where('campaign_mac.state', '=', 'ordered')
    .where('rotation_order.state', '<>', 'waiting')
    .limit(limit)
    .execute();

/** Whose orders are to be taken back, as far as that can be done. */
export const toTakeBack = (db: Db, campaignId: string, limit: number): Promise<CampaignMac[]> =>
  db
    .selectFrom('campaign_mac')
    .selectAll()
    .where('campaign_id', '=', campaignId)
    .where('state', '=', 'ordered')
    .where('why', '=', 'take-back')
    .orderBy('place')
    .limit(limit)
    .execute();

/** What still waits for its wave does so no more. */
export async function leaveWaiting(tx: Tx, campaignId: string, values: { why: string; because: string; state_at: number }): Promise<void> {
  await tx
    .updateTable('campaign_mac')
    .set({ ...values, state: 'left' })
    .where('campaign_id', '=', campaignId)
    .where('state', '=', 'waiting')
    .execute();
}

export async function markToTakeBack(tx: Tx, campaignId: string): Promise<void> {
  await tx
    .updateTable('campaign_mac')
    .set({ why: 'take-back' })
    .where('campaign_id', '=', campaignId)
    .where('state', '=', 'ordered')
    .where('joined', '=', 0)
    .execute();
}

export interface Counted {
  state: CampaignMac['state'];
  why: string | null;
  count: number;
}

/** How many are how, within a scope. */
export async function countCampaign(db: Db, campaignId: string, scope: Scope): Promise<Counted[]> {
  const rows = await db
    .selectFrom('campaign_mac')
    .select((e) => ['state', 'why', e.fn.countAll<number>().as('count')])
    .where('campaign_id', '=', campaignId)
    .where(scopeFilter(scope, 'campaign_mac.mac_id'))
    .groupBy(['state', 'why'])
    .execute();
  return rows.map((row) => ({ ...row, count: Number(row.count) }));
}

/** Of those that were ordered: how many Macs have been heard of since, and how many are replacing their key. */
export async function countUnderWay(db: Db, campaignId: string, scope: Scope): Promise<{ delivered: number; replacing: number }> {
  const row = await db
    .selectFrom('campaign_mac')
    .innerJoin('mac', 'mac.id', 'campaign_mac.mac_id')
    .leftJoin('rotation', (j) => j.onRef('rotation.mac_id', '=', 'campaign_mac.mac_id').on('rotation.state', '=', 'begun'))
    .select((e) => [
      e.fn.count<number>('rotation.id').as('replacing'),
      e.fn
        .sum<number | null>(
          e
            .case()
            .when(e.and([e('rotation.id', 'is', null), e('mac.last_seen_at', '>', e.ref('campaign_mac.ordered_at'))]))
            .then(1)
            .else(0)
            .end(),
        )
        .as('delivered'),
    ])
    .where('campaign_id', '=', campaignId)
    .where('campaign_mac.state', '=', 'ordered')
    .where(scopeFilter(scope, 'campaign_mac.mac_id'))
    .executeTakeFirstOrThrow();
  return { delivered: Number(row.delivered ?? 0), replacing: Number(row.replacing) };
}

/** Whoever sees none of its Macs does not see that a campaign is there. */
export async function hasMacWithin(db: Db, campaignId: string, scope: Scope): Promise<boolean> {
  if (scope === null) return true;
  const one = db.selectFrom('campaign_mac').select('mac_id').where('campaign_id', '=', campaignId).where(scopeFilter(scope, 'campaign_mac.mac_id'));
  return (await one.limit(1).executeTakeFirst()) !== undefined;
}

/** Whether all Macs of a campaign are within a scope. */
export async function isAllWithin(db: Db, campaignId: string, scope: Scope): Promise<boolean> {
  if (scope === null) return true;
  const other = db
    .selectFrom('campaign_mac')
    .select('mac_id')
    .where('campaign_id', '=', campaignId)
    .where((e) => e.not(scopeFilter(scope, 'campaign_mac.mac_id')(e)));
  return (await other.limit(1).executeTakeFirst()) === undefined;
}

export interface CampaignLine extends CampaignMac {
  serial: string;
  last_seen_at: number | null;
}

/** The Macs of a campaign within a scope, in turn. */
export function campaignMacPage(
  db: Db,
  campaignId: string,
  scope: Scope,
  { states, after, limit }: { states: readonly CampaignMac['state'][] | null; after: { place: number; id: string } | null; limit: number },
): Promise<CampaignLine[]> {
  let rows = db
    .selectFrom('campaign_mac')
    .innerJoin('mac', 'mac.id', 'campaign_mac.mac_id')
    .selectAll('campaign_mac')
    .select(['mac.serial', 'mac.last_seen_at'])
    .where('campaign_id', '=', campaignId)
    .where(scopeFilter(scope, 'campaign_mac.mac_id'));
  if (states) rows = rows.where('campaign_mac.state', 'in', [...states]);
  if (after) rows = rows.where((e) => e.or([e('place', '>', after.place), e.and([e('place', '=', after.place), e('campaign_mac.mac_id', '>', after.id)])]));
  return rows.orderBy('place').orderBy('campaign_mac.mac_id').limit(limit).execute();
}
