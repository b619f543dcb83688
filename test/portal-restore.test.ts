import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { createAccounts } from '../server/accounts.ts';
import { adminOfToken, operatorAdmin } from '../server/admins/admin.ts';
import { rolesSaid } from '../server/admins/review.ts';
import { giveRole, takeRole } from '../server/admins/roles.ts';
import { makeLoginToken } from '../server/admins/tokens.ts';
import { emergencyFor } from '../server/approvals/emergencies.ts';
import { verifyAudit } from '../server/audit.ts';
import { backUp } from '../server/backup.ts';
import { presentRequest } from '../server/key-requests.ts';
import { revocations } from '../server/mac-commands.ts';
import { decideCommand } from '../server/requests-commands.ts';
import { restore } from '../server/restore.ts';
import { campaignById, insertCampaign, insertCampaignMacs } from '../server/store/campaigns.ts';
import { requestById as disclosureRequestById, insertRequest as insertDisclosureRequest } from '../server/store/disclosure-requests.ts';
import { emergencyById, insertEmergency } from '../server/store/emergencies.ts';
import { openRequests } from '../server/store/key-requests.ts';
import { insertRelease, releaseById } from '../server/store/releases.ts';
import { insertProposal, proposalById } from '../server/store/weaker-disclosure.ts';
import { givenPortal } from './given-portal.ts';
import { scratch } from './scratch.ts';
import { day, hour } from './server-parts.ts';

test('a restore ends what people had in their hands: sessions, approvals, codes, tokens, emergencies, agreements, and campaigns wait; whoever was disabled in the gap stays disabled, and roles that were taken stay taken', async () => {
  const it = await givenPortal({ people: { selfService: { everybody: 'with-approval' }, mail: { from: 'keys@example.org' } } });
  const accounts = () => createAccounts(it.backend);
  await it.checkIn();
  const ada = await it.portal.person('ada');
  const leaver = await it.portal.person('leaver');
  await it.assign(ada);
  const macId = await it.macId();
  const request = `/macs/${macId}/request`;
  const asked = await ada.client.get(request);
  expect((await ada.client.submit(asked, request, { reason: 'locked out' })).status).toBe(200);
  const [waiting] = await openRequests(it.store.db);
  await decideCommand(it.backend, { request: waiting?.code ?? '', as: 'approved', actor: 'olivia', reason: 'called back' });
  expect((await ada.client.get(`/macs/${macId}/key`)).words).toContain('Get recovery key');
  const grace = await accounts().add({ name: 'grace', displayName: 'Grace', emergency: false, actor: 'olivia' });

  const { clock } = it.backend;
  const give = (person: { id: string; userName: string }, role: 'owner' | 'viewer') =>
    giveRole(it.backend, operatorAdmin('olivia'), {
      subject: { kind: 'person', person: { id: person.id, user_name: person.userName } },
      role,
      scope: null,
      reason: 'a test',
    });
  await give(ada, 'owner');
  const { id: roleTaken } = await give(ada, 'viewer');
  const machine = { person: ada, machine: 'a laptop', freshAt: clock.now(), network: '192.0.2.1' };
  const { token } = await it.store.write((tx) => makeLoginToken(tx, clock.now(), machine));
  expect((await adminOfToken(it.backend, token, clock.now()))?.personId).toBe(ada.id);

  const now = clock.now();
  const campaignId = await it.store.write(async (tx) => {
    const emergency = { id: 'emergency-1', tags: '["x"]', from_at: now, until_at: now + 5 * day, reason: 'all are locked out', asked_by: 'ada' };
    const by = { asked_by_person: ada.id, asked_at: now, agreed_by: 'eve', agreed_by_person: leaver.id, agreed_at: now };
    await insertEmergency(tx, { ...emergency, ...by, ended_at: null, ended_by: null, told_at: null });
    const asked = { id: 'request-1', mac_id: macId, volume: null, record_id: null, history: 0, requester: 'ada', person_id: ada.id, token_id: null };
    const agreed = { quorum: 1, grant_minutes: 1440, once: 1, created_at: now, expires_at: now + day, granted_until: now + day, decided_at: now };
    await insertDisclosureRequest(tx, { ...asked, ...agreed, reason: 'locked out', ticket: null, state: 'approved', used_at: null });
    const code = { id: 'release-1', digest: 'x', mac_id: macId, person_name: 'J. Doe', verified: 'known by voice', made_by: 'ada', made_by_person: ada.id };
    const unused = { second: 0, confirmed_by: null, confirmed_by_person: null, confirmed_at: null, used_at: null, holder: null, open_until: null };
    await insertRelease(tx, { ...code, ...unused, created_at: now, expires_at: now + hour, ended_at: null, ended_because: null, more_time: 0 });
    const campaign = {
      id: 'campaign-1',
      reason: 'a leaver',
      state: 'running',
      state_at: now,
      state_by: 'ada',
      state_because: null,
      created_by: 'ada',
    } as const;
    const whom = { by_kind: 'operator', by_person: null, by_token: null, created_at: now, chosen: '{"kind":"all"}', scope: null } as const;
    const how = { from_at: now, per_hour: 1, quiet: null, without_login: 0, override_hold: 1, seen_days: null, gathered_to: null, gathered_at: now };
    await insertCampaign(tx, { ...campaign, ...whom, ...how, round: 0, next_at: now, ended_at: null });
    const waits = { campaign_id: campaign.id, mac_id: macId, place: 1, state: 'waiting', state_at: now } as const;
    await insertCampaignMacs(tx, [{ ...waits, why: null, because: null, order_id: null, ordered_at: null, joined: 0 }]);
    const draft = { policy_id: 'policy-1', version: 1, name: 'strict', rank: 1, tags: null, rules: null, reason: 'over', weaker: '["needs"]' };
    const proposed = { proposed_by: 'ada', person_id: ada.id, proposed_at: now, expires_at: now + 14 * day, state: 'waiting' } as const;
    await insertProposal(tx, { id: 'proposal-1', ...draft, ...proposed, decided_at: null, decided_by: null, words: null });
    return campaign.id;
  });

  const folder = scratch('portal-restore');
  const file = join(folder, 'backup.tar');
  await backUp({ dir: it.dir, file, actor: 'olivia' });
  it.pass(60);
  // In the gap the code is used, and somebody leaves.
  await accounts().disable({ name: 'leaver', actor: 'olivia', reason: 'left' });
  await takeRole(it.backend, operatorAdmin('olivia'), { id: roleTaken, reason: 'a test' });
  const list = join(folder, 'revocations.json');
  writeFileSync(list, JSON.stringify((await revocations(it.backend, 0)).json));
  const dir = join(folder, 'restored');
  const done = await restore({ file, dir, revocationsFile: list, spreadDays: 2, actor: 'olivia', wallNow: () => it.backend.clock.now() });
  expect(done).toMatchObject({ sessionsEnded: 2, revoked: { people: 1, roles: 1 } });
  await it.restart(dir);
  for (const client of [ada.client, leaver.client]) client.close();

  // A token may have been ended in the gap: all are. Roles are as the list says.
  expect(await adminOfToken(it.backend, token, it.backend.clock.now())).toBeNull();
  expect((await rolesSaid(it.store.db)).map(({ role }) => role)).toEqual(['owner']);

  // What admins had opened for one another: ended or used since, for all that is known.
  const after = it.backend.clock.now();
  expect(await emergencyFor(it.store.db, after, ['x'], [])).toBeNull();
  expect(await emergencyById(it.store.db, 'emergency-1')).toMatchObject({ ended_by: 'olivia' });
  expect(await disclosureRequestById(it.store.db, 'request-1')).toMatchObject({ state: 'expired' });
  expect(await releaseById(it.store.db, 'release-1')).toMatchObject({ ended_because: 'withdrawn' });
  expect(await campaignById(it.store.db, campaignId)).toMatchObject({ state: 'paused', state_by: 'olivia' });
  expect(await proposalById(it.store.db, 'proposal-1')).toMatchObject({ state: 'restored' });
  const acts = await it.store.db.selectFrom('audit').select('act').where('details', 'like', '%restored%').orderBy('seq').execute();
  expect(acts.map(({ act }) => act)).toEqual(
    expect.arrayContaining(['disclosure.expired', 'release.withdrawn', 'emergency.ended', 'campaign.paused', 'policy.withdrawn']),
  );

  expect((await ada.client.get('/macs')).path).toContain('/sign-in');
  await it.portal.signIn(ada.client, 'ada');
  expect((await ada.client.get(`/macs/${macId}/key`)).path).toBe(request);
  expect(await presentRequest(it.store.db, macId, ada.id, it.backend.clock.now())).toMatchObject({ state: 'expired' });
  await expect(it.portal.signIn(it.portal.client(), 'leaver')).rejects.toThrow('not signed in');
  const account = await it.store.db.selectFrom('local_account').selectAll().where('person_id', '=', grace.personId).executeTakeFirstOrThrow();
  expect(account).toMatchObject({ setup_digest: null, setup_expires_at: null });
  expect((await verifyAudit(it.store)).ok).toBe(true);
});
