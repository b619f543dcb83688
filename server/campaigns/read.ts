import { Problem } from '../../protocol/problems.ts';
import { type CustodyParts, hour, isoTime } from '../custody-parts.ts';
import type { Scope } from '../permissions.ts';
import { lastOf, nextOpen, type QuietHours } from '../policies/quiet-hours.ts';
import type { Exclusion } from '../store/campaign-plans.ts';
import {
  type Campaign,
  type CampaignMac,
  campaignById,
  campaignMacPage,
  campaignPage,
  countCampaign,
  countUnderWay,
  hasMacWithin,
} from '../store/campaigns.ts';
import { macById } from '../store/macs.ts';
import { readKept } from './chosen.ts';
import { exclusionWords } from './plan.ts';
import { onItsWay } from './why-waits.ts';

export interface CampaignSummary {
  id: string;
  reason: string;
  state: Campaign['state'];
  /** Since when, by whom and why it is so. */
  stateAt: string;
  stateBy: string;
  stateBecause: string | null;
  by: string;
  createdAt: string;
  from: string;
  perHour: number;
  quietHours: QuietHours | null;
  withoutLogin: boolean;
  overrideHold: boolean;
  notSeenDays: number | null;
  /** Null: its Macs were named; else the filter. */
  filter: Record<string, unknown> | null;
  /** All of its Macs are written down. */
  gathered: boolean;
  endedAt: string | null;
  /** Of the Macs that whoever asks may see. */
  counts: CampaignCounts;
  /** Why Macs were left out or have failed. */
  reasons: { state: 'left' | 'failed'; why: string; says: string; count: number }[];
  /** When the next order is due, and the last; null where none is. */
  nextAt: string | null;
  lastAt: string | null;
}

interface CampaignCounts {
  total: number;
  /** For their wave. */
  waiting: number;
  /** Ordered, and the Mac has not been heard of since. */
  notFetched: number;
  /** The Mac has been heard of since. */
  fetched: number;
  replacing: number;
  done: number;
  failed: number;
  left: number;
}

const whyWords: Record<string, string> = {
  ...(exclusionWords satisfies Record<Exclusion, string>),
  'not-yours': 'whoever started it may not order this for them any more',
  cancelled: 'the campaign was cancelled before their turn',
  'taken-back': 'their order was taken back',
  expired: 'the Mac did not carry it out in its time',
  withdrawn: 'somebody has taken the order back',
};

async function summaryOf(parts: CustodyParts, campaign: Campaign, scope: Scope): Promise<CampaignSummary> {
  const { db } = parts.store;
  const rows = await countCampaign(db, campaign.id, scope);
  const of = (state: CampaignMac['state']) => rows.reduce((sum, row) => sum + (row.state === state ? row.count : 0), 0);
  const { delivered, replacing } = of('ordered') > 0 ? await countUnderWay(db, campaign.id, scope) : { delivered: 0, replacing: 0 };
  const waiting = of('waiting');
  const quiet = campaign.quiet === null ? null : (JSON.parse(campaign.quiet) as QuietHours);
  const goesOn = waiting > 0 && (campaign.state === 'planned' || campaign.state === 'running');
  const nextAt = nextOpen(quiet, Math.max(parts.clock.now(), campaign.next_at, campaign.from_at));
  const kept = readKept(campaign.chosen);
  return {
    id: campaign.id,
    reason: campaign.reason,
    state: campaign.state,
    stateAt: isoTime(campaign.state_at),
    stateBy: campaign.state_by,
    stateBecause: campaign.state_because,
    by: campaign.created_by,
    createdAt: isoTime(campaign.created_at),
    from: isoTime(campaign.from_at),
    perHour: campaign.per_hour,
    quietHours: quiet,
    withoutLogin: campaign.without_login === 1,
    overrideHold: campaign.override_hold === 1,
    notSeenDays: campaign.seen_days,
    filter: kept.kind === 'filter' ? kept.filter : null,
    gathered: campaign.gathered_at !== null,
    endedAt: campaign.ended_at === null ? null : isoTime(campaign.ended_at),
    counts: {
      total: rows.reduce((sum, row) => sum + row.count, 0),
      waiting,
      notFetched: of('ordered') - delivered - replacing,
      fetched: delivered,
      replacing,
      done: of('done'),
      failed: of('failed'),
      left: of('left'),
    },
    reasons: rows
      .flatMap(({ state, why, count }) => (state === 'left' || state === 'failed' ? [{ state, why: why ?? '', says: whyWords[why ?? ''] ?? '', count }] : []))
      .toSorted((one, other) => other.count - one.count || (one.why < other.why ? -1 : 1)),
    nextAt: goesOn ? isoTime(nextAt) : null,
    lastAt: goesOn ? isoTime(lastOf(quiet, nextAt, waiting, hour / campaign.per_hour)) : null,
  };
}

export async function listCampaigns(
  parts: CustodyParts,
  scope: Scope,
  page: { before: { at: number; id: string } | null; limit: number },
): Promise<{ items: CampaignSummary[]; last: { at: number; id: string } | null }> {
  const rows = await campaignPage(parts.store.db, scope, { ...page, limit: page.limit + 1 });
  const items: CampaignSummary[] = [];
  for (const row of rows.slice(0, page.limit)) items.push(await summaryOf(parts, row, scope));
  const last = rows.length > page.limit ? rows[page.limit - 1] : undefined;
  return { items, last: last ? { at: last.created_at, id: last.id } : null };
}

async function needSeen(parts: CustodyParts, id: string, scope: Scope): Promise<Campaign> {
  const campaign = await campaignById(parts.store.db, id);
  if (!campaign || !(await hasMacWithin(parts.store.db, id, scope))) throw new Problem('NOT_FOUND', 'no such campaign');
  return campaign;
}

export const readCampaign = async (parts: CustodyParts, scope: Scope, id: string): Promise<CampaignSummary> =>
  summaryOf(parts, await needSeen(parts, id, scope), scope);

export interface CampaignMacLine {
  macId: string;
  serial: string;
  state: 'waiting' | 'not-fetched' | 'fetched' | 'replacing' | 'done' | 'failed' | 'left';
  since: string;
  /** What it waits for, or why it was left out or failed. */
  because: string | null;
  needsHelp: boolean;
  orderId: string | null;
  orderedAt: string | null;
  lastSeenAt: string | null;
}

export async function listCampaignMacs(
  parts: CustodyParts,
  scope: Scope,
  wish: { id: string; states: readonly CampaignMac['state'][] | null; after: { place: number; id: string } | null; limit: number },
): Promise<{ items: CampaignMacLine[]; last: { place: number; id: string } | null }> {
  await needSeen(parts, wish.id, scope);
  const rows = await campaignMacPage(parts.store.db, wish.id, scope, { ...wish, limit: wish.limit + 1 });
  const items: CampaignMacLine[] = [];
  for (const row of rows.slice(0, wish.limit)) {
    const mac = row.state === 'ordered' ? await macById(parts.store.db, row.mac_id) : undefined;
    const way = mac ? await onItsWay(parts, mac, row.ordered_at ?? row.state_at) : null;
    const because = [row.because, way?.because].filter((words) => words != null).join('; ');
    items.push({
      macId: row.mac_id,
      serial: row.serial,
      state: row.state === 'ordered' ? (way?.step ?? 'not-fetched') : row.state,
      since: isoTime(row.state_at),
      because: because === '' ? null : because,
      needsHelp: way?.needsHelp ?? false,
      orderId: row.order_id,
      orderedAt: row.ordered_at === null ? null : isoTime(row.ordered_at),
      lastSeenAt: row.last_seen_at === null ? null : isoTime(row.last_seen_at),
    });
  }
  const last = rows.length > wish.limit ? rows[wish.limit - 1] : undefined;
  return { items, last: last ? { place: last.place, id: last.mac_id } : null };
}
