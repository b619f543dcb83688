import { createHash, randomUUID } from 'node:crypto';
import { Problem } from '../../protocol/problems.ts';
import { audit } from '../audit.ts';
import { type CustodyParts, isoTime } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import type { Admin, Scope } from '../permissions.ts';
import { exclusionsOf } from '../store/campaign-plans.ts';
import { type Campaign, campaignById, claimRound, insertCampaign, insertCampaignMacs, updateCampaign } from '../store/campaigns.ts';
import { idsAfter, type Kept, readKept } from './chosen.ts';
import { answerer } from './may-still.ts';
import { exclusionWords, planCampaign, rulesOf, type Wish } from './plan.ts';

export interface Starting {
  wish: Wish;
  admin: Admin;
  scope: Scope;
  /** For which Macs they may end a hold by name. */
  overrideScope: Scope | false;
  reason: string;
  /** As many as they were told; what differs by more than a twentieth is another matter. */
  confirmCount: number;
  /** Of the plan that they were told; null: only the number counts. */
  planDigest: string | null;
  /** Serial numbers as they typed them, to end holds. */
  named: readonly string[];
  /** More of the act that writes it: what it throws refuses the start. */
  before?: (tx: Tx, at: number) => Promise<void>;
}

const tolerance = 0.05;
/** Macs that are written down in one act. */
const gatherBatch = 500;
/** Batches in the request itself; what is left is done by the timer. */
const gatherAtOnce = 20;

/** Nothing is ordered by this: the first wave is placed by the timer, when all of its Macs are written down. */
export async function startCampaign(parts: CustodyParts, starting: Starting): Promise<{ campaignId: string; count: number }> {
  const { wish, admin, scope, reason } = starting;
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  const now = parts.clock.now();
  const { plan, kept } = await planCampaign(parts, scope, wish, now);
  if (starting.planDigest !== null && starting.planDigest !== plan.digest) throw new Problem('CAMPAIGN_COUNT', 'something else was planned');
  if (plan.count === 0) throw new Problem('CAMPAIGN_EMPTY');
  if (Math.abs(plan.count - starting.confirmCount) > starting.confirmCount * tolerance)
    throw new Problem('CAMPAIGN_COUNT', `there are ${plan.count}, and ${starting.confirmCount} were said`);
  if (wish.overrideHold) await checkNamed(parts, starting, kept);

  const campaignId = randomUUID();
  await parts.act(async (tx, at) => {
    await starting.before?.(tx, at);
    const fromAt = Math.max(at, wish.fromAt ?? at);
    const campaign: Campaign = {
      id: campaignId,
      reason,
      state: 'planned',
      state_at: at,
      state_by: admin.name,
      state_because: null,
      created_by: admin.name,
      ...answerer(admin),
      created_at: at,
      chosen: JSON.stringify(kept),
      scope: scope === null ? null : JSON.stringify(scope),
      from_at: fromAt,
      per_hour: plan.perHour,
      quiet: wish.quiet === null ? null : JSON.stringify(wish.quiet),
      without_login: wish.withoutLogin ? 1 : 0,
      override_hold: wish.overrideHold ? 1 : 0,
      seen_days: wish.seenDays,
      gathered_to: null,
      gathered_at: null,
      round: 0,
      next_at: fromAt,
      ended_at: null,
    };
    await insertCampaign(tx, campaign);
    const { perHour, count, matching, digest } = plan;
    const { quiet, withoutLogin, overrideHold, seenDays } = wish;
    const details = { campaignId, reason, chosen: kept, matching, count, from: isoTime(fromAt), perHour, quiet, withoutLogin, overrideHold, seenDays, digest };
    await audit(tx, { at, actor: admin.name, act: 'campaign.started', details });
  });
  parts.log.info('campaign-started', { campaignId, macs: plan.count });
  await gather(parts, campaignId, gatherAtOnce);
  return { campaignId, count: plan.count };
}

/** Each of its Macs by its serial number, and none that may not be overridden by them. */
async function checkNamed(parts: CustodyParts, { overrideScope, named }: Starting, kept: Kept): Promise<void> {
  if (overrideScope === false) throw new Problem('NOT_ALLOWED', 'rotation.override');
  if (kept.kind !== 'ids') throw new Problem('SERIALS_NOT_NAMED', 'a filter names nobody');
  const macs = await exclusionsOf(parts.store.db, kept.ids, overrideScope, rulesOf({ seenDays: null, overrideHold: true }, 0));
  if (macs.length < kept.ids.length) throw new Problem('NOT_ALLOWED', 'rotation.override');
  const typed = new Set(named.map((serial) => serial.trim().toUpperCase()));
  const missing = macs.filter(({ serial }) => !typed.has(serial.toUpperCase()));
  if (missing.length > 0) throw new Problem('SERIALS_NOT_NAMED', `not named: ${missing.map(({ serial }) => serial).join(', ')}`);
}

/** By chance, and always the same for one campaign: no office is first, and one that is gathered twice has no two places. */
const placeOf = (campaignId: string, macId: string): number => createHash('sha256').update(`${campaignId}:${macId}`).digest().readUInt32BE(0) >>> 1;

/** Writes its Macs down, with those that are left out and why; true when that is done. */
export async function gather(parts: CustodyParts, campaignId: string, batches: number): Promise<boolean> {
  for (let batch = 0; batch < batches; batch += 1) {
    const done = await parts.act(async (tx, at) => {
      const campaign = await campaignById(tx, campaignId);
      if (!campaign || campaign.gathered_at !== null || campaign.ended_at !== null) return true;
      if (!(await claimRound(tx, campaign))) return false;
      const scope = campaign.scope === null ? null : (JSON.parse(campaign.scope) as string[]);
      const wish = { now: campaign.created_at, after: campaign.gathered_to, limit: gatherBatch };
      const ids = await idsAfter(tx, readKept(campaign.chosen), scope, wish);
      const rules = rulesOf({ seenDays: campaign.seen_days, overrideHold: campaign.override_hold === 1 }, campaign.created_at);
      const judged = await exclusionsOf(tx, ids, scope, rules);
      await insertCampaignMacs(
        tx,
        judged.map(({ mac_id: macId, why }) => ({
          campaign_id: campaignId,
          mac_id: macId,
          place: placeOf(campaignId, macId),
          state: why === '' ? ('waiting' as const) : ('left' as const),
          state_at: at,
          why: why === '' ? null : why,
          because: why === '' ? null : exclusionWords[why],
          order_id: null,
          ordered_at: null,
          joined: 0,
        })),
      );
      const isLast = ids.length < gatherBatch;
      await updateCampaign(tx, campaignId, { gathered_to: ids.at(-1) ?? campaign.gathered_to, ...(isLast ? { gathered_at: at } : {}) });
      return isLast;
    });
    if (done) return true;
  }
  return false;
}
