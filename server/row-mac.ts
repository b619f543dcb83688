import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { ServerSecrets } from './parts.ts';
import type { EnvelopeRow, KeyRecord } from './store/keys.ts';

export interface RowNames {
  macId: string;
  volume: string;
  recordId: string;
  envelopeId: string;
  /** K1: kept, and never opened. */
  quarantined: boolean;
}

/**
 * HMAC over what an envelope belongs to: a row moved to another Mac, volume or record by whoever can write the
 * database does not open. Nor does one that was stored as `quarantined`, such as another Mac's, and is called something else now.
 */
export function rowMac(secrets: ServerSecrets, names: RowNames): string {
  const form = names.quarantined ? 'sparekey row 1, quarantined' : 'sparekey row 1';
  const text = [form, names.macId, names.volume, names.recordId, names.envelopeId].join('\n');
  return createHmac('sha256', secrets.rowMac).update(text).digest('hex');
}

/** Whether a row and its bytes are as they were written. Looked at before anything is opened. */
export function isRowWhole(secrets: ServerSecrets, record: KeyRecord, envelope: EnvelopeRow): boolean {
  const names = { macId: record.mac_id, volume: record.volume, recordId: record.id, envelopeId: envelope.id, quarantined: record.state === 'quarantined' };
  const expected = Buffer.from(rowMac(secrets, names));
  const found = Buffer.from(envelope.row_mac);
  if (envelope.mac_id !== record.mac_id || envelope.record_id !== record.id) return false;
  if (expected.length !== found.length || !timingSafeEqual(expected, found)) return false;
  return envelope.bytes === null || createHash('sha256').update(envelope.bytes).digest('hex') === envelope.id;
}
