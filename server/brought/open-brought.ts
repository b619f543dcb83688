import { raise } from '../alarms.ts';
import { audit } from '../audit.ts';
import type { CustodyParts } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { type BroughtRow, broughtById, broughtWithKey, unopenedBrought, updateBrought } from '../store/brought.ts';
import { macsWithSerial } from '../store/macs.ts';
import { broughtMac, isBroughtWhole } from './row.ts';
import { settleSerial } from './settle.ts';

/** Rules 2.3 for envelopes that others brought and nobody could open then. Safe to run at any time. */
export async function openBrought(parts: CustodyParts): Promise<{ opened: number; unreadable: number; waiting: number }> {
  const result = { opened: 0, unreadable: 0, waiting: 0 };
  const rows = parts.canOpen ? await unopenedBrought(parts.store.db) : [];
  for (const row of rows) {
    if (row.bytes === null) continue;
    if (!isBroughtWhole(parts.secrets, row)) {
      const [mac] = await macsWithSerial(parts.store.db, row.serial);
      await parts.act((tx, at) => raise(parts, tx, at, mac?.id ?? null, 'ROW_TAMPERED', `brought key ${row.id}`));
      continue;
    }
    const opened = await parts.openBytes(row.bytes);
    if (opened === 'no-opener') return { ...result, waiting: rows.length - result.opened - result.unreadable };
    const fingerprint = opened === 'unreadable' ? null : opened.fingerprint(parts.secrets.fingerprint);
    await parts.act((tx, at) => apply(parts, tx, at, row.id, fingerprint));
    if (fingerprint === null) result.unreadable += 1;
    else result.opened += 1;
  }
  return result;
}

async function apply(parts: CustodyParts, tx: Tx, at: number, id: string, fingerprint: string | null): Promise<void> {
  const row = await broughtById(tx, id);
  // Another process was quicker.
  if (!row || row.fingerprint !== null || row.state !== 'waiting') return;
  const settled = async (state: BroughtRow['state'], because: string, more: Partial<BroughtRow> = {}) => {
    await updateBrought(tx, id, { state, state_at: at, state_because: because, ...more });
    await audit(tx, {
      at,
      actor: 'server',
      act: 'brought.settled',
      macId: row.mac_id,
      details: { keyId: id, serial: row.serial, was: row.state, state, because },
    });
  };
  // Kept, like any envelope that nobody can read (K1), and tried no more.
  if (fingerprint === null) return settled('refuted', 'it does not open to a recovery key');
  const twin = await broughtWithKey(tx, row.serial, fingerprint);
  if (twin) return settled('withdrawn', `it holds the same key as ${twin.id}`, { bytes: null });
  await updateBrought(tx, id, { fingerprint, row_mac: broughtMac(parts.secrets, { ...row, fingerprint }) });
  await settleSerial(parts, tx, at, row.serial);
}
