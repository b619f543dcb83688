import { expireDisclosureRequests } from '../server/approvals/requests.ts';
import { tellOverdueReviews } from '../server/approvals/reviews.ts';
import type { SitesGround } from '../server/serve.ts';
import { overdueRequests, overdueReviews } from '../server/store/disclosure-requests.ts';
import { emergenciesToTell, emergencyById, emergencyCounts, updateEmergency } from '../server/store/emergencies.ts';
import { tellEmergency } from '../web/admin-mails.ts';

/**
 * What time brings about for admins, whoever is silent: requests end, reviews are overdue, and those who opened self-service for
 * many are told what came of it. Each may come at any time, twice, or after a crash.
 */
export async function watchApprovals({ backend, log }: Pick<SitesGround, 'backend' | 'log'>): Promise<void> {
  const { store, clock } = backend;
  const now = clock.now();
  if ((await overdueRequests(store.db, now)).length > 0) await store.write(async (tx) => expireDisclosureRequests(tx, await clock.persist(tx)));
  if ((await overdueReviews(store.db, now)).length > 0) await store.write(async (tx) => tellOverdueReviews({ log }, tx, await clock.persist(tx)));
  for (const { id } of await emergenciesToTell(store.db, now)) {
    await store.write(async (tx) => {
      const at = await clock.persist(tx);
      const row = await emergencyById(tx, id);
      if (!row || row.told_at !== null) return;
      await updateEmergency(tx, id, { told_at: at });
      // What nobody agreed to opened nothing.
      if (row.agreed_at !== null) await tellEmergency(backend, tx, at, row, await emergencyCounts(tx, id));
    });
  }
}
