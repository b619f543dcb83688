import { Problem } from '../../protocol/problems.ts';
import { settle } from '../alarms.ts';
import { audit } from '../audit.ts';
import type { CustodyParts } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { type Admin, type Scope, scopeOf } from '../permissions.ts';
import { type Campaign, campaignById, hasMacWithin, isAllWithin, leaveWaiting, markToTakeBack, updateCampaign } from '../store/campaigns.ts';
import { answerer } from './may-still.ts';
import { pausedWords, runCampaigns } from './waves.ts';

export interface CampaignAct {
  id: string;
  admin: Admin;
  scope: Scope;
  reason: string;
}

/** The campaign, if it is theirs to change: one with Macs of others is not. */
async function needCampaign(tx: Tx, { id, scope, reason }: CampaignAct): Promise<Campaign> {
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  const campaign = await campaignById(tx, id);
  if (!campaign || !(await hasMacWithin(tx, id, scope))) throw new Problem('NOT_FOUND', 'no such campaign');
  if (!(await isAllWithin(tx, id, scope))) throw new Problem('NOT_ALLOWED', 'it has Macs that are not yours');
  return campaign;
}

const refuse = (campaign: Campaign): never => {
  throw new Problem('CAMPAIGN_STATE', `it is ${campaign.state}`);
};

/** No more waves; what is ordered already goes on. */
export async function pauseCampaign(parts: CustodyParts, acting: CampaignAct): Promise<void> {
  await parts.act(async (tx, at) => {
    const campaign = await needCampaign(tx, acting);
    if (campaign.state === 'paused') return;
    if (campaign.state !== 'planned' && campaign.state !== 'running') refuse(campaign);
    await become(tx, at, acting, 'paused');
  });
}

/** Whoever has it go on answers for it from now on. */
export async function resumeCampaign(parts: CustodyParts, acting: CampaignAct): Promise<void> {
  await parts.act(async (tx, at) => {
    const campaign = await needCampaign(tx, acting);
    if (campaign.state !== 'paused') refuse(campaign);
    const overrides = campaign.override_hold === 1 ? scopeOf(acting.admin, 'rotation.override') : null;
    if (overrides === false || !(await isAllWithin(tx, campaign.id, overrides))) throw new Problem('NOT_ALLOWED', 'rotation.override');
    await become(tx, at, acting, 'running', answerer(acting.admin));
    await settle(tx, at, null, 'CAMPAIGN_PAUSED', pausedWords(campaign.id), `${acting.admin.name} goes on with it`);
  });
}

/** What waits for its wave is ordered no more; orders that are placed are taken back or stay, as whoever ends it wants. */
export async function cancelCampaign(parts: CustodyParts, acting: CampaignAct & { takeBackOrders: boolean }): Promise<void> {
  await parts.act(async (tx, at) => {
    const campaign = await needCampaign(tx, acting);
    if (campaign.ended_at !== null) refuse(campaign);
    await become(tx, at, acting, 'cancelled', { gathered_at: campaign.gathered_at ?? at });
    await leaveWaiting(tx, campaign.id, { why: 'cancelled', because: 'the campaign was cancelled before its turn', state_at: at });
    if (acting.takeBackOrders) await markToTakeBack(tx, campaign.id);
    await settle(tx, at, null, 'CAMPAIGN_PAUSED', pausedWords(campaign.id), `${acting.admin.name} has ended it`);
  });
  // The rest is done by the timer too, should this be interrupted.
  await runCampaigns(parts);
}

async function become(
  tx: Tx,
  at: number,
  { id, admin, reason }: CampaignAct,
  state: 'paused' | 'running' | 'cancelled',
  more: Partial<Campaign> = {},
): Promise<void> {
  await updateCampaign(tx, id, { ...more, state, state_at: at, state_by: admin.name, state_because: reason });
  const act = state === 'running' ? 'resumed' : state;
  await audit(tx, { at, actor: admin.name, act: `campaign.${act}`, details: { campaignId: id, reason } });
}
