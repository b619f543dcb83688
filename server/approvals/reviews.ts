import { Problem } from '../../protocol/problems.ts';
import { raise, settle } from '../alarms.ts';
import { audit } from '../audit.ts';
import type { CustodyParts } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import type { Admin } from '../permissions.ts';
import { overdueReviews, type Review, reviewOf, updateReview } from '../store/disclosure-requests.ts';
import { isSamePerson, stillMay, whoActs } from './admin-now.ts';

const overdueWords = (disclosureId: string): string => `disclosure ${disclosureId}`;

/** Somebody else than who was shown the key says whether that was right. */
export async function judgeDisclosure(
  tx: Tx,
  at: number,
  admin: Admin,
  said: { disclosureId: string; state: 'right' | 'wrong'; words: string },
): Promise<Review> {
  const { personId } = whoActs(admin);
  const { disclosureId, state } = said;
  const words = said.words.trim();
  const row = await reviewOf(tx, disclosureId);
  if (!row) throw new Problem('NOT_FOUND', 'nothing to look at');
  await stillMay(tx, at, admin, 'review.decide', row.mac_id).catch((error: unknown) => {
    throw error instanceof Problem && error.code === 'MAC_UNKNOWN' ? new Problem('NOT_FOUND', 'nothing to look at') : error;
  });
  if (admin.service) throw new Problem('NOT_ALLOWED', 'a program judges nothing');
  if (await isSamePerson(tx, personId, row.person_id)) throw new Problem('OWN_REQUEST', 'it was shown to you');
  if (row.state !== 'waiting') throw new Problem('REQUEST_ENDED', `it is ${row.state}, says ${row.decided_by}`);
  if (words === '') throw new Problem('REASON_MISSING', 'say what you found');
  const change = { state, decided_at: at, decided_by: admin.name, words };
  await updateReview(tx, disclosureId, change);
  await audit(tx, { at, actor: admin.name, act: `disclosure.judged-${state}`, macId: row.mac_id, details: { disclosureId, words } });
  await settle(tx, at, row.mac_id, 'REVIEW_OVERDUE', overdueWords(disclosureId), `${admin.name} looked at it: ${state}`);
  return { ...row, ...change };
}

/** An alarm for each that nobody has looked at in time, once. */
export async function tellOverdueReviews(parts: Pick<CustodyParts, 'log'>, tx: Tx, at: number): Promise<number> {
  const overdue = await overdueReviews(tx, at);
  for (const row of overdue) {
    await updateReview(tx, row.disclosure_id, { told_at: at });
    await raise(parts, tx, at, row.mac_id, 'REVIEW_OVERDUE', overdueWords(row.disclosure_id));
  }
  return overdue.length;
}
