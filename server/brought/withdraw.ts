import { Problem } from '../../protocol/problems.ts';
import { audit } from '../audit.ts';
import { type CustodyParts, day } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { type BroughtRow, broughtOfRun, otherRunWith, updateBrought } from '../store/brought.ts';
import { debtById } from '../store/debts.ts';
import { grantsOf } from '../store/grants.ts';
import { markWithdrawn } from '../store/imports.ts';
import { envelopesOfRecord, type KeyRecord, recordById, removeEnvelopes, updateRecord } from '../store/keys.ts';
import { endProofOrders } from '../store/proofs.ts';
import { settleSerial } from './settle.ts';
import { isBroughtRecord } from './sources.ts';

export interface Withdrawal {
  runId: string;
  actor: string;
  reason: string;
}

/**
 * Takes back what a run brought, as if it had never come. A key that macOS has said `true` to stays: it is this Mac's,
 * whoever brought it. So does one that another run brought as well, and one that a person was shown.
 */
export async function withdrawRun(parts: CustodyParts, { runId, actor, reason }: Withdrawal): Promise<{ withdrawn: number; kept: number }> {
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  return parts.act(async (tx, at) => {
    const done = { withdrawn: 0, kept: 0 };
    const serials = new Set<string>();
    for (const row of await broughtOfRun(tx, runId)) {
      if (await withdraw(tx, at, row, { runId, actor, reason })) done.withdrawn += 1;
      else done.kept += 1;
      if (row.state === 'offered') serials.add(row.serial);
    }
    // What waited behind one of them is asked about now.
    for (const serial of serials) await settleSerial(parts, tx, at, serial);
    await markWithdrawn(tx, runId, at);
    await audit(tx, { at, actor, act: 'import.withdrawn', details: { runId, reason, ...done } });
    return done;
  });
}

async function withdraw(tx: Tx, at: number, row: BroughtRow, { runId, actor, reason }: Withdrawal): Promise<boolean> {
  const other = await otherRunWith(tx, row.id, runId);
  if (other !== null) {
    await updateBrought(tx, row.id, { run_id: other });
    return false;
  }
  const record = row.record_id === null ? undefined : await recordById(tx, row.record_id);
  if (row.disclosed_at !== null || (record && (record.state === 'held' || record.proved_at !== null || (await isBeingAsked(tx, at, record))))) return false;
  if (record && record.state !== 'destroyed' && (await isOfImport(tx, record, row.envelope_id))) {
    // Without its fingerprint it is no key that was here before: brought again, or delivered, it is a new one.
    await updateRecord(tx, record.id, { state: 'destroyed', state_at: at, state_because: `withdrawn: ${reason}`, fingerprint: null });
    await removeEnvelopes(tx, record.id);
    await endProofOrders(tx, record.id, at);
  }
  await updateBrought(tx, row.id, { state: 'withdrawn', state_at: at, state_because: reason, bytes: null });
  await audit(tx, { at, actor, act: 'brought.withdrawn', macId: row.mac_id, details: { keyId: row.id, serial: row.serial, recordId: row.record_id, runId } });
  return true;
}

/** The Mac was given it today and has not said what macOS answered: it may be the valid one. */
const isBeingAsked = async (tx: Tx, at: number, record: KeyRecord): Promise<boolean> => {
  for (const grant of await grantsOf(tx, record.mac_id, at - day))
    if (grant.record_id === record.id && (await debtById(tx, record.mac_id, grant.id))?.closed_at === null) return true;
  return false;
};

/** Only what the import made goes with it: what the Mac itself delivered stays, also when it is the same bytes, and so does what was shown or is kept on purpose. */
const isOfImport = async (tx: Tx, record: KeyRecord, envelopeId: string): Promise<boolean> =>
  isBroughtRecord(record.source) &&
  record.enrolment_id === null &&
  record.disclosed_at === null &&
  record.legal_hold === 0 &&
  (await envelopesOfRecord(tx, record.id)).every((envelope) => envelope.id === envelopeId && envelope.enrolment_id === null);
