import { raise } from './alarms.ts';
import { emergencyState } from './approvals/emergencies.ts';
import { releaseState } from './approvals/releases.ts';
import { audit } from './audit.ts';
import { pausedWords } from './campaigns/waves.ts';
import { silentLog } from './log.ts';
import type { Tx } from './parts.ts';
import { endAllApiTokens } from './store/api-tokens.ts';
import { openCampaigns, updateCampaign } from './store/campaigns.ts';
import { allOpenRequests, updateRequest as updateDisclosureRequest } from './store/disclosure-requests.ts';
import { emergenciesGoingOn, updateEmergency } from './store/emergencies.ts';
import { openRequests, updateRequest } from './store/key-requests.ts';
import { forgetSetUpCodes } from './store/people.ts';
import { openReleases, updateRelease } from './store/releases.ts';
import { forgetAllFlows } from './store/sign-in-flows.ts';
import { proposalRows, updateProposal } from './store/weaker-disclosure.ts';
import { endAllWebSessions } from './store/web-sessions.ts';

/**
 * What somebody had in their hands at the time of the backup may have been taken from them in the gap, or used: sessions were
 * signed out, *this was not me* was said, approvals were for a time of being locked out that is over, codes were typed once.
 * Whoever still needs it signs in, asks, or is given it anew. Mails stay in the queue: better twice than never.
 */
export async function endWhatPeopleHad(tx: Tx, at: number, actor: string): Promise<number> {
  await forgetAllFlows(tx);
  await forgetSetUpCodes(tx);
  for (const { id, mac_id: macId, code, state } of await openRequests(tx)) {
    await updateRequest(tx, id, { state: 'expired' });
    await audit(tx, { at, actor, act: 'request.expired', macId, details: { requestId: id, code, was: state, because: 'restored' } });
  }
  await endWhatAdminsOpened(tx, at, actor);
  await endAllApiTokens(tx, 'restored', at);
  return endAllWebSessions(tx, 'restored', at);
}

/** Agreements among admins, codes of the desk, self-service for many: each may have been used, or ended for a reason. Campaigns wait for somebody to look. */
async function endWhatAdminsOpened(tx: Tx, at: number, actor: string): Promise<void> {
  for (const { id, mac_id: macId, state } of await allOpenRequests(tx)) {
    await updateDisclosureRequest(tx, id, { state: 'expired' });
    await audit(tx, { at, actor, act: 'disclosure.expired', macId, details: { requestId: id, was: state, because: 'restored' } });
  }
  for (const { id, policy_id: policyId } of await proposalRows(tx, true)) {
    await updateProposal(tx, id, { state: 'restored', decided_at: at, decided_by: actor });
    await audit(tx, { at, actor, act: 'policy.withdrawn', details: { proposalId: id, policyId, because: 'restored' } });
  }
  for (const row of await openReleases(tx, at)) {
    await updateRelease(tx, row.id, { ended_at: at, ended_because: 'withdrawn' });
    const details = { releaseId: row.id, was: releaseState(row, at), because: 'restored' };
    await audit(tx, { at, actor, act: 'release.withdrawn', macId: row.mac_id, details });
  }
  for (const row of await emergenciesGoingOn(tx, at)) {
    await updateEmergency(tx, row.id, { ended_at: at, ended_by: actor });
    await audit(tx, { at, actor, act: 'emergency.ended', details: { emergencyId: row.id, was: emergencyState(row, at), because: 'restored' } });
  }
  for (const { id, state } of await openCampaigns(tx)) {
    // Those of its orders that are placed replace keys that the restore has replaced anyway.
    if (state !== 'planned' && state !== 'running') continue;
    const because = 'the backend was restored from a backup; it may have been cancelled since that was made';
    await updateCampaign(tx, id, { state: 'paused', state_at: at, state_by: actor, state_because: because });
    await audit(tx, { at, actor, act: 'campaign.paused', details: { campaignId: id, because } });
    await raise({ log: silentLog }, tx, at, null, 'CAMPAIGN_PAUSED', pausedWords(id));
  }
}
