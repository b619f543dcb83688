import type { CustodyParts } from '../custody-parts.ts';
import { fleetIsFresh } from '../fleet/project.ts';
import type { Scope } from '../permissions.ts';
import { type CampaignAct, cancelCampaign, pauseCampaign, resumeCampaign } from './acts.ts';
import { type Plan, planCampaign, type Wish } from './plan.ts';
import { type CampaignMacLine, type CampaignSummary, listCampaignMacs, listCampaigns, readCampaign } from './read.ts';
import { type Starting, startCampaign } from './start.ts';
import { runCampaigns } from './waves.ts';

/** Keys of many Macs, replaced in waves because an admin wants it. */
export interface Campaigns {
  /** What would happen now; writes nothing. */
  plan(scope: Scope, wish: Wish): Promise<Plan>;
  start(starting: Starting): Promise<{ campaignId: string; count: number }>;
  pause(acting: CampaignAct): Promise<void>;
  resume(acting: CampaignAct): Promise<void>;
  cancel(acting: CampaignAct & { takeBackOrders: boolean }): Promise<void>;
  list(scope: Scope, page: Parameters<typeof listCampaigns>[2]): Promise<{ items: CampaignSummary[]; last: { at: number; id: string } | null }>;
  read(scope: Scope, id: string): Promise<CampaignSummary>;
  macs(scope: Scope, wish: Parameters<typeof listCampaignMacs>[2]): Promise<{ items: CampaignMacLine[]; last: { place: number; id: string } | null }>;
  /** The next wave of each. */
  run(): Promise<void>;
}

export const createCampaigns = (parts: CustodyParts): Campaigns => ({
  async plan(scope, wish) {
    await fleetIsFresh(parts);
    return (await planCampaign(parts, scope, wish, parts.clock.now())).plan;
  },
  async start(starting) {
    await fleetIsFresh(parts);
    return startCampaign(parts, starting);
  },
  pause: (acting) => pauseCampaign(parts, acting),
  resume: (acting) => resumeCampaign(parts, acting),
  cancel: (acting) => cancelCampaign(parts, acting),
  list: (scope, page) => listCampaigns(parts, scope, page),
  read: (scope, id) => readCampaign(parts, scope, id),
  macs: (scope, wish) => listCampaignMacs(parts, scope, wish),
  run: () => runCampaigns(parts),
});
