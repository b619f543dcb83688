import { audit } from '../audit.ts';
import type { CustodyParts } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { type BroughtRow, updateBrought } from '../store/brought.ts';
import { broughtMac } from './row.ts';

/** K9 took its bytes; whoever brings the key again may have the only copy that is left. Its place is found anew. The caller has looked whether the row is whole. */
export async function refill(
  parts: Pick<CustodyParts, 'secrets'>,
  tx: Tx,
  at: number,
  before: BroughtRow,
  sealed: { bytes: Uint8Array; id: string; recipient: string },
  actor: string,
): Promise<BroughtRow> {
  const names = { ...before, envelope_id: sealed.id, recipient: sealed.recipient };
  const { envelope_id, recipient } = names;
  const state = { state: 'waiting', state_at: at, state_because: 'its envelope is here again' } as const;
  const now = { envelope_id, recipient, bytes: sealed.bytes, row_mac: broughtMac(parts.secrets, names), ...state };
  await updateBrought(tx, before.id, now);
  const { id: keyId, serial, mac_id: macId } = before;
  await audit(tx, { at, actor, act: 'brought.again', macId, details: { keyId, serial, envelopeId: sealed.id, was: before.envelope_id } });
  return { ...before, ...now };
}
