import { Problem } from '../../protocol/problems.ts';
import { audit } from '../audit.ts';
import type { CustodyParts } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { type BroughtRow, broughtById, broughtWithKey, unopenedBrought, updateBrought } from '../store/brought.ts';
import { nameOtherKey } from '../store/imports.ts';
import { recordById } from '../store/keys.ts';
import { macById } from '../store/macs.ts';
import { isWeightier, sayAgain, type Word } from './again.ts';
import { closeTasksByBrought } from './new-key.ts';
import { refill } from './refill.ts';
import { broughtMac, isBroughtWhole, raiseTampered } from './row.ts';
import { settleSerial } from './settle.ts';
import { isOnlyMaybeShown, oweForShown } from './shown.ts';
import { isBroughtSource } from './sources.ts';

/** Opens what others brought sealed and nobody could open then. Safe to run at any time. */
export async function openBrought(parts: CustodyParts): Promise<{ opened: number; unreadable: number; waiting: number }> {
  const result = { opened: 0, unreadable: 0, waiting: 0 };
  const names = parts.canOpen ? await unopenedBrought(parts.store.db) : [];
  for (const { id } of names) {
    const row = await broughtById(parts.store.db, id);
    if (!row || row.bytes === null) continue;
    if (!isBroughtWhole(parts.secrets, row)) {
      await parts.act((tx, at) => raiseTampered(parts, tx, at, row));
      continue;
    }
    const opened = await parts.openBytes(row.bytes);
    if (opened === 'no-opener') return { ...result, waiting: names.length - result.opened - result.unreadable };
    const fingerprint = opened === 'unreadable' ? null : opened.fingerprint(parts.secrets.fingerprint);
    try {
      if (!(await parts.act((tx, at) => apply(parts, tx, at, row.id, fingerprint)))) continue;
    } catch (error) {
      if (error instanceof Problem) throw error;
      // One that cannot be applied does not keep the others waiting.
      parts.log.error('opener-failed', { macId: row.mac_id, keyId: row.id, name: error instanceof Error ? error.name : 'unknown' });
      result.waiting += 1;
      continue;
    }
    if (fingerprint === null) result.unreadable += 1;
    else result.opened += 1;
  }
  return result;
}

/** Whether there was something to be done. */
async function apply(parts: CustodyParts, tx: Tx, at: number, id: string, fingerprint: string | null): Promise<boolean> {
  const row = await broughtById(tx, id);
  // Another process was quicker.
  if (!row || row.fingerprint !== null || row.state !== 'waiting') return false;
  if (fingerprint === null) {
    // Kept, like any envelope that nobody can read (K1), and tried no more.
    const [state, because] = ['refuted', 'it does not open to a recovery key'] as const;
    await updateBrought(tx, id, { state, state_at: at, state_because: because });
    await audit(tx, {
      at,
      actor: 'server',
      act: 'brought.settled',
      macId: row.mac_id,
      details: { keyId: id, serial: row.serial, was: row.state, state, because },
    });
    return true;
  }
  const twin = await broughtWithKey(tx, row.serial, fingerprint);
  const tampered = [row, twin].find((one) => one && !isBroughtWhole(parts.secrets, one));
  if (tampered) {
    await raiseTampered(parts, tx, at, tampered);
    return false;
  }
  if (twin) await merge(parts, tx, at, row, twin);
  else {
    await updateBrought(tx, id, { fingerprint, row_mac: broughtMac(parts.secrets, { ...row, fingerprint }) });
    await closeTasksByBrought(tx, at, row);
  }
  await settleSerial(parts, tx, at, row.serial);
  return true;
}

/**
 * Two rows are one key. The words of both count for the one that stays, which is the one that is a record or was shown; and the
 * lines of an import name it, so that it is taken back with that.
 */
async function merge(parts: CustodyParts, tx: Tx, at: number, row: BroughtRow, twin: BroughtRow): Promise<void> {
  const isRow = twin.record_id === null && twin.disclosed_at === null && (row.disclosed_at !== null || isWeightier(row.trust, twin.trust));
  const [kept, gone] = isRow ? [row, twin] : [twin, row];
  const because = `it holds the same key as ${kept.id}`;
  await updateBrought(tx, gone.id, { state: 'withdrawn', state_at: at, state_because: because, bytes: null });
  await audit(tx, {
    at,
    actor: 'server',
    act: 'brought.settled',
    macId: gone.mac_id,
    details: { keyId: gone.id, serial: gone.serial, was: gone.state, state: 'withdrawn', because },
  });
  await nameOtherKey(tx, gone.id, kept.id);
  // Whatever the one that stays has lost, its bytes are here again.
  const full = isRow || twin.bytes !== null || row.bytes === null ? null : { bytes: row.bytes, id: row.envelope_id, recipient: row.recipient };
  let now = (full && (await refill(parts, tx, at, twin, full, 'server'))) ?? kept;
  for (const word of wordsOf(gone))
    now = (await sayAgain(parts, tx, at, now, word, row.fingerprint ?? twin.fingerprint)) ?? (await broughtById(tx, kept.id)) ?? now;
  if (!isRow && gone.disclosed_at !== null) await keepViews(tx, at, gone, now);
  // Now it is known which of those that came since are others.
  await closeTasksByBrought(tx, at, kept);
}

/** Who saw it is known by the row that was shown. */
async function keepViews(tx: Tx, at: number, gone: BroughtRow, kept: BroughtRow): Promise<void> {
  if ((kept.disclosed_at ?? 0) < (gone.disclosed_at ?? 0)) {
    const { disclosed_at, maybe_shown_at } = gone;
    // One that was seen to be shown is not less than that for the other.
    await updateBrought(tx, kept.id, { disclosed_at, maybe_shown_at: kept.disclosed_at === null || isOnlyMaybeShown(kept) ? maybe_shown_at : null });
  } else if (isOnlyMaybeShown(kept) && !isOnlyMaybeShown(gone)) await updateBrought(tx, kept.id, { maybe_shown_at: null });
  const record = kept.record_id === null ? undefined : await recordById(tx, kept.record_id);
  const mac = record ? await macById(tx, record.mac_id) : undefined;
  if (record && mac) await oweForShown(tx, at, mac, gone, record.id);
}

/** Who says that it is this serial number's: with a run, and without. */
function wordsOf(row: BroughtRow): Word[] {
  const word = (source: string | null, trust: BroughtRow['also_trust'], more: Pick<Word, 'runId' | 'madeAt' | 'actor'>): Word[] =>
    source !== null && isBroughtSource(source) && trust !== null && !isWeightier(trust, row.trust) ? [{ source, trust, ...more }] : [];
  return [
    ...word(row.source, row.trust, { runId: row.run_id, madeAt: row.made_at, actor: row.brought_by }),
    ...word(row.also_source, row.also_trust, { runId: null, madeAt: row.also_made_at, actor: row.also_by ?? row.brought_by }),
  ];
}
