import { Problem } from '../../protocol/problems.ts';
import { raise } from '../alarms.ts';
import { audit } from '../audit.ts';
import { type CustodyParts, hour, minute } from '../custody-parts.ts';
import { presentHold } from '../holds.ts';
import { expireOrders, joinedBy, orderOnceIn, withdrawOrderIn } from '../orders.ts';
import type { Tx } from '../parts.ts';
import { isQuiet, type QuietHours } from '../policies/quiet-hours.ts';
import { exclusionsOf, type Judged } from '../store/campaign-plans.ts';
import {
  type Campaign,
  type CampaignMac,
  campaignById,
  claimRound,
  countCampaign,
  endedOrders,
  hasOpenMacs,
  nextInTurn,
  openCampaigns,
  orderedSince,
  toTakeBack,
  updateCampaign,
  updateCampaignMac,
} from '../store/campaigns.ts';
import { orderById } from '../store/debts.ts';
import { macById } from '../store/macs.ts';
import { openRotationOf } from '../store/rotations.ts';
import { answering, scopeStill } from './may-still.ts';
import { exclusionWords, rulesOf, usualPerHour } from './plan.ts';
import { gather } from './start.ts';

/*
 * What goes on by itself: the next orders of each campaign, what became of the earlier ones, and its end. Each piece is one
 * act that first counts on the campaign's round, so that nothing is done twice, whoever is killed and however many do it.
 */

/** Rows in one act: whoever checks in meanwhile waits for it. */
const batch = 200;
/** Acts of one kind in one round. */
const mostActs = 50;
/** A timer that comes late catches up with so much and no more: a backend that was down does not order what it has missed all at once. */
const catchUp = minute;

export const pausedWords = (campaignId: string): string => `campaign ${campaignId}`;

/** Run twice a minute; safe to run at any time, twice, and in several processes. */
export async function runCampaigns(parts: CustodyParts): Promise<void> {
  const { db } = parts.store;
  for (const campaign of await openCampaigns(db)) {
    const { id } = campaign;
    // Each act waits for the disk: where a question says that there is nothing to do, there is none.
    try {
      if (campaign.gathered_at === null && !(await gather(parts, id, mostActs * 10))) continue;
      if (campaign.state === 'cancelled') await repeat(() => takeBack(parts, id));
      if ((await endedOrders(db, id, 1)).length > 0) await repeat(() => settleOrders(parts, id));
      if (mayOrder(campaign, parts.clock.now())) await repeat(() => wave(parts, id));
      if (!(await hasOpenMacs(db, id))) await end(parts, id);
    } catch (error) {
      parts.log.error('campaign-failed', { campaignId: id, code: error instanceof Problem ? error.code : error instanceof Error ? error.name : 'unknown' });
    }
  }
}

async function repeat(work: () => Promise<boolean>): Promise<void> {
  for (let act = 0; act < mostActs; act += 1) if (!(await work())) return;
}

const quietOf = (campaign: Campaign): QuietHours | null => (campaign.quiet === null ? null : (JSON.parse(campaign.quiet) as QuietHours));

const mayOrder = (campaign: Campaign, at: number): boolean =>
  (campaign.state === 'planned' || campaign.state === 'running') && at >= campaign.from_at && at >= campaign.next_at && !isQuiet(quietOf(campaign), at);

/** How many may be ordered now. */
async function allowed(parts: CustodyParts, tx: Tx, at: number, campaign: Campaign): Promise<number> {
  if (!mayOrder(campaign, at)) return 0;
  const gap = hour / campaign.per_hour;
  const begun = Math.max(campaign.next_at, at - catchUp);
  const own = await orderedSince(tx, campaign.id, at - hour);
  // Of all together: beyond what may be given out in an hour every grant stops, and an alarm waits for somebody.
  let all = own;
  for (const { id } of await openCampaigns(tx)) if (id !== campaign.id) all += await orderedSince(tx, id, at - hour);
  const left = Math.min(campaign.per_hour - own, Math.max(campaign.per_hour, usualPerHour(parts)) - all);
  return Math.max(0, Math.min(left, 1 + Math.floor((at - begun) / gap)));
}

/** Places the orders that are due; true where more of them may be. */
async function wave(parts: CustodyParts, id: string): Promise<boolean> {
  const done = await parts.act(async (tx, at) => {
    const campaign = await campaignById(tx, id);
    const most = campaign ? await allowed(parts, tx, at, campaign) : 0;
    const rows = most === 0 ? [] : await nextInTurn(tx, id, batch);
    if (!campaign || rows.length === 0 || !(await claimRound(tx, campaign))) return null;
    const scope = await scopeStill(tx, at, campaign, 'rotation.order');
    const overrides = campaign.override_hold === 1 ? await scopeStill(tx, at, campaign, 'rotation.override') : null;
    if (scope === false || overrides === false) {
      await pauseByItself(parts, tx, at, campaign);
      return null;
    }
    await expireOrders(tx, at);
    const rules = rulesOf({ seenDays: campaign.seen_days, overrideHold: campaign.override_hold === 1 }, at);
    const ids = rows.map((row) => row.mac_id);
    const overridable = overrides === null ? ids : (await exclusionsOf(tx, ids, overrides, rules)).map((one) => one.mac_id);
    const within = await exclusionsOf(tx, overridable, scope, rules);
    const judged = new Map(within.map((one) => [one.mac_id, one]));
    let [ordered, seen] = [0, 0];
    for (const row of rows) {
      if (ordered >= most) break;
      seen += 1;
      if (await place(parts, tx, at, campaign, row, judged.get(row.mac_id))) ordered += 1;
    }
    const gap = hour / campaign.per_hour;
    const isFirst = campaign.state === 'planned' ? { state: 'running' as const, state_at: at, state_by: 'server' } : {};
    await updateCampaign(tx, id, { ...isFirst, next_at: Math.round(Math.max(campaign.next_at, at - catchUp) + ordered * gap) });
    return { ordered, left: seen - ordered, goesOn: ordered < most && rows.length === batch };
  });
  if (done) parts.log.info('campaign-wave', { campaignId: id, ordered: done.ordered, left: done.left });
  return done?.goesOn ?? false;
}

/** True where an order was placed for it. */
async function place(parts: CustodyParts, tx: Tx, at: number, campaign: Campaign, row: CampaignMac, judged: Judged | undefined): Promise<boolean> {
  const change = (values: Partial<CampaignMac>) => updateCampaignMac(tx, campaign.id, row.mac_id, { state_at: at, ...values });
  const leave = async (why: string, because: string) => {
    await change({ state: 'left', why, because });
    return false;
  };
  if (!judged) return leave('not-yours', 'whoever started it may not order this for them any more');
  const { why } = judged;
  if (why !== '' && why !== 'waiting' && why !== 'hold') return leave(why, exclusionWords[why]);
  const mac = await macById(tx, row.mac_id);
  if (!mac || mac.present_volume === null) return leave('never-seen', exclusionWords['never-seen']);
  const overrideHold = campaign.override_hold === 1;
  // As it is now: the list of the fleet may be a second behind.
  if (!overrideHold && (await presentHold(parts, tx, at, mac.id, mac.present_volume))) return leave('hold', exclusionWords.hold);
  if (await openRotationOf(tx, mac.id)) return leave('waiting', 'its key was being replaced when its turn came');
  const { reason } = campaign;
  const actor = answering(campaign);
  const order = await orderOnceIn(parts, tx, at, { macId: mac.id, actor, reason, withoutLogin: campaign.without_login === 1, overrideHold });
  const joined = order.waitedOf !== null;
  const because = joined ? `an order of ${order.waitedOf} waited already` : null;
  await change({ state: 'ordered', order_id: order.orderId, ordered_at: at, joined: joined ? 1 : 0, because });
  return !joined;
}

async function pauseByItself(parts: CustodyParts, tx: Tx, at: number, campaign: Campaign): Promise<void> {
  const { id } = campaign;
  const by = answering(campaign);
  const because = `${by} may order no replacement any more`;
  await updateCampaign(tx, id, { state: 'paused', state_at: at, state_by: 'server', state_because: because });
  await audit(tx, { at, actor: 'server', act: 'campaign.paused', details: { campaignId: id, because } });
  await raise(parts, tx, at, null, 'CAMPAIGN_PAUSED', pausedWords(id));
}

/** What became of the orders; true where there may be more. */
async function settleOrders(parts: CustodyParts, id: string): Promise<boolean> {
  return parts.act(async (tx, at) => {
    const rows = await endedOrders(tx, id, batch);
    for (const { mac_id: macId, order_state: state } of rows) {
      if (state === 'done') await updateCampaignMac(tx, id, macId, { state: 'done', state_at: at, why: null });
      else
        await updateCampaignMac(tx, id, macId, {
          state: 'failed',
          state_at: at,
          why: state,
          because: state === 'expired' ? 'the Mac did not carry it out in its time' : 'somebody has taken the order back',
        });
    }
    return rows.length === batch;
  });
}

/** It was cancelled, and its orders with it: those that nobody carries out at this moment. */
async function takeBack(parts: CustodyParts, id: string): Promise<boolean> {
  return parts.act(async (tx, at) => {
    const campaign = await campaignById(tx, id);
    const rows = await toTakeBack(tx, id, batch);
    if (!campaign || rows.length === 0) return false;
    const { state_by: actor, state_because: because } = campaign;
    for (const { mac_id: macId, order_id: orderId } of rows) {
      const order = orderId === null ? undefined : await orderById(tx, orderId);
      const others = order ? await joinedBy(tx, order) : [];
      if (others.length > 0) await updateCampaignMac(tx, id, macId, { why: null, because: `its order stays: ${others.join(', ')} asked for it too` });
      else if (order?.state === 'waiting' && !(await openRotationOf(tx, macId))) {
        await withdrawOrderIn(tx, at, order, { actor, because: because ?? 'its campaign was cancelled' });
        await updateCampaignMac(tx, id, macId, { state: 'left', state_at: at, why: 'taken-back', because: 'its order was taken back' });
      } else await updateCampaignMac(tx, id, macId, { why: null });
    }
    return rows.length === batch;
  });
}

/** Nothing waits for its wave, and of no order is it unknown what has become of it. */
async function end(parts: CustodyParts, id: string): Promise<void> {
  const ended = await parts.act(async (tx, at) => {
    const campaign = await campaignById(tx, id);
    if (!campaign || campaign.ended_at !== null || campaign.gathered_at === null) return null;
    if ((await hasOpenMacs(tx, id)) || !(await claimRound(tx, campaign))) return null;
    const counts = await countCampaign(tx, id, null);
    const of = (state: CampaignMac['state']) => counts.reduce((sum, one) => sum + (one.state === state ? one.count : 0), 0);
    const as = campaign.state === 'cancelled' ? {} : { state: 'done' as const, state_at: at, state_by: 'server', state_because: null };
    await updateCampaign(tx, id, { ...as, ended_at: at });
    const details = { campaignId: id, as: as.state ?? 'cancelled', done: of('done'), failed: of('failed'), left: of('left') };
    await audit(tx, { at, actor: 'server', act: 'campaign.ended', details });
    return details;
  });
  if (ended) parts.log.info('campaign-ended', ended);
}
