import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { raise } from '../alarms.ts';
import type { CustodyParts } from '../custody-parts.ts';
import type { ServerSecrets, Tx } from '../parts.ts';
import type { BroughtRow } from '../store/brought.ts';
import { macsWithSerial } from '../store/macs.ts';

type Names = Pick<BroughtRow, 'id' | 'serial' | 'envelope_id' | 'recipient' | 'fingerprint' | 'source' | 'trust'>;

/** HMAC over what a brought key says it is: whoever can write the database gives no Mac another's key, and makes no stranger's word an admin's. */
export function broughtMac(secrets: ServerSecrets, row: Names): string {
  const text = ['sparekey brought 1', row.id, row.serial, row.envelope_id, row.recipient, row.fingerprint ?? '', row.source, row.trust].join('\n');
  return createHmac('sha256', secrets.rowMac).update(text).digest('hex');
}

/** Looked at before a brought key becomes a record or is opened. */
export function isBroughtWhole(secrets: ServerSecrets, row: BroughtRow): boolean {
  const expected = Buffer.from(broughtMac(secrets, row));
  const found = Buffer.from(row.row_mac);
  if (expected.length !== found.length || !timingSafeEqual(expected, found)) return false;
  return row.bytes === null || createHash('sha256').update(row.bytes).digest('hex') === row.envelope_id;
}

/** Never written again with an HMAC of ours: that would make it whole. */
export async function raiseTampered(parts: Pick<CustodyParts, 'log'>, tx: Tx, at: number, row: BroughtRow): Promise<void> {
  const macId = row.mac_id ?? (await macsWithSerial(tx, row.serial))[0]?.id ?? null;
  await raise(parts, tx, at, macId, 'ROW_TAMPERED', `brought key ${row.id}`);
}
