import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { createAccounts } from '../server/accounts.ts';
import { verifyAudit } from '../server/audit.ts';
import { backUp } from '../server/backup.ts';
import { presentRequest } from '../server/key-requests.ts';
import { revocations } from '../server/mac-commands.ts';
import { decideCommand } from '../server/requests-commands.ts';
import { restore } from '../server/restore.ts';
import { openRequests } from '../server/store/key-requests.ts';
import { givenPortal } from './given-portal.ts';
import { scratch } from './scratch.ts';

test('a restore ends what people had in their hands: sessions, approvals, codes; and whoever was disabled in the gap stays disabled', async () => {
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

  const folder = scratch('portal-restore');
  const file = join(folder, 'backup.tar');
  await backUp({ dir: it.dir, file, actor: 'olivia' });
  it.pass(60);
  // In the gap the code is used, and somebody leaves.
  await accounts().disable({ name: 'leaver', actor: 'olivia', reason: 'left' });
  const list = join(folder, 'revocations.json');
  writeFileSync(list, JSON.stringify((await revocations(it.backend, 0)).json));
  const dir = join(folder, 'restored');
  const done = await restore({ file, dir, revocationsFile: list, spreadDays: 2, actor: 'olivia', wallNow: () => it.backend.clock.now() });
  expect(done).toMatchObject({ sessionsEnded: 2, revoked: { people: 1 } });
  await it.restart(dir);
  for (const client of [ada.client, leaver.client]) client.close();

  expect((await ada.client.get('/macs')).path).toContain('/sign-in');
  await it.portal.signIn(ada.client, 'ada');
  expect((await ada.client.get(`/macs/${macId}/key`)).path).toBe(request);
  expect(await presentRequest(it.store.db, macId, ada.id, it.backend.clock.now())).toMatchObject({ state: 'expired' });
  await expect(it.portal.signIn(it.portal.client(), 'leaver')).rejects.toThrow('not signed in');
  const account = await it.store.db.selectFrom('local_account').selectAll().where('person_id', '=', grace.personId).executeTakeFirstOrThrow();
  expect(account).toMatchObject({ setup_digest: null, setup_expires_at: null });
  expect((await verifyAudit(it.store)).ok).toBe(true);
});
