import { randomUUID } from 'node:crypto';
import { audit, viewsOfBrought } from '../audit.ts';
import { closeIfPaid, oweRotation } from '../debts.ts';
import type { Tx } from '../parts.ts';
import type { BroughtRow } from '../store/brought.ts';
import { insertDisclosure } from '../store/disclosures.ts';
import { recordById, recordsOfVolume, updateRecord } from '../store/keys.ts';
import type { Mac } from '../store/macs.ts';

/** Nobody was seen to see it: it was here when the backend was restored, and who was shown what in the gap is forgotten. */
export const isOnlyMaybeShown = ({ disclosed_at: shownAt, maybe_shown_at: maybeAt }: Pick<BroughtRow, 'disclosed_at' | 'maybe_shown_at'>): boolean =>
  shownAt !== null && shownAt === maybeAt;

const maybeShown = 'it may have been shown before this backend was restored';
/** Retention has taken the record of it out of the database. */
const shownLongAgo = 'it was shown before this Mac was here; to whom is in the records that were taken out of the audit';

/**
 * It was shown before there was a record: who saw it belongs to the Mac's own list now, a hold goes on where it would have
 * been one, and the replacement is owed from now on.
 */
export async function oweForShown(tx: Tx, at: number, mac: Mac, row: BroughtRow, recordId: string): Promise<void> {
  const record = row.disclosed_at === null ? undefined : await recordById(tx, recordId);
  if (!record || row.disclosed_at === null || (record.disclosed_at ?? 0) >= row.disclosed_at) return;
  await updateRecord(tx, recordId, { disclosed_at: row.disclosed_at });
  const views = isOnlyMaybeShown(row) ? [] : await viewsOfBrought(tx, row.id);
  const seen = views.length > 0 ? views : [{ at: row.disclosed_at, actor: 'server', details: {} as Record<string, unknown> }];
  for (const view of seen) {
    const id = randomUUID();
    const { reason: said } = view.details;
    const reason = typeof said === 'string' ? said : isOnlyMaybeShown(row) ? maybeShown : shownLongAgo;
    await insertDisclosure(tx, {
      id,
      mac_id: mac.id,
      volume: record.volume,
      record_id: recordId,
      actor: view.actor,
      person: null,
      reason,
      at: view.at,
      shown: 1,
      hold_ended_at: null,
      hold_ended_because: null,
    });
  }
  const debtId = randomUUID();
  await oweRotation(tx, at, { id: debtId, macId: mac.id, volume: record.volume, because: 'disclosed', recordId, actor: 'server' });
  // Where it was replaced before it was known to have been this Mac's, nothing is left to be done.
  const held = (await recordsOfVolume(tx, mac.id, record.volume)).find(({ state }) => state === 'held');
  await closeIfPaid(tx, at, mac.id, debtId, held);
  await audit(tx, { at, actor: 'server', act: 'brought.shown-before', macId: mac.id, details: { keyId: row.id, recordId, debtId, views: views.length } });
}
