import { raise, stopsTheMac } from './alarms.ts';
import { audit } from './audit.ts';
import { expireStrangers } from './brought/clear.ts';
import { settleBrought } from './brought/settle.ts';
import { alarmOverdueTasks } from './brought/tasks.ts';
import { waitsElsewhere } from './brought/volumes.ts';
import { type CustodyParts, day } from './custody-parts.ts';
import { rotationDoubtAfter } from './custody-state.ts';
import { presentHold } from './holds.ts';
import { expireOrders } from './orders.ts';
import type { Tx } from './parts.ts';
import { alarmStuckRings } from './rings/move.ts';
import { openAlarmsOf } from './store/alarms.ts';
import { updateBroughtOfRecord } from './store/brought.ts';
import { grantedDebtsOpenSince } from './store/debts.ts';
import { volumesOnHold } from './store/disclosures.ts';
import { forgetSpentNonces } from './store/enrolments.ts';
import { type KeyRecord, recordsToDestroy, removeEnvelopeBytes, setRecordState } from './store/keys.ts';
import { silentRotations } from './store/rotations.ts';
import { enrolmentsToConfirm, enrolmentsToReplace, updateEnrolment } from './store/sessions.ts';

/** What time brings about, whoever is silent. Run every minute; safe to run at any time and twice. */
export async function sweepTimers(parts: CustodyParts): Promise<void> {
  await parts.act(async (tx, at) => {
    for (const rotation of await silentRotations(tx, at - rotationDoubtAfter))
      await raise(parts, tx, at, rotation.mac_id, 'ROTATION_SILENT', `rotation ${rotation.id}`);
    for (const debt of await grantedDebtsOpenSince(tx, at - day)) await raise(parts, tx, at, debt.mac_id, 'GRANT_NOT_CLOSED', `grant ${debt.id}`);
    await expireOrders(tx, at);
    for (const { mac_id: macId, volume } of await volumesOnHold(tx)) await presentHold(parts, tx, at, macId, volume);
    for (const enrolment of await enrolmentsToReplace(tx, at)) {
      const because = 'the Mac was set up again, and this one has not checked in since';
      await updateEnrolment(tx, enrolment.id, { status: 'replaced', status_because: because, status_at: at, replaced_after: null });
      await audit(tx, { at, actor: 'server', act: 'enrolment.replaced', macId: enrolment.mac_id, details: { enrolmentId: enrolment.id, because } });
    }
    if (parts.settings.confirmProvedSerials) await confirmHeirs(parts, tx, at);
    await alarmOverdueTasks(parts, tx, at);
    await alarmStuckRings(parts, tx, at);
    await expireStrangers(parts, tx, at);
    await forgetSpentNonces(tx, at);
  });
  parts.log.info('timers-ran');
}

/**
 * As policy: a Mac whose serial its certificate proves was set up again, and nothing was heard of the enrolment
 * before it for a day. Had that one been alive, it would have stayed, with an alarm; one that an admin revoked has no heirs.
 */
async function confirmHeirs(parts: CustodyParts, tx: Tx, at: number): Promise<void> {
  for (const enrolment of await enrolmentsToConfirm(tx)) {
    if (stopsTheMac(await openAlarmsOf(tx, enrolment.mac_id))) continue;
    await updateEnrolment(tx, enrolment.id, { confirmed: 1 });
    const because = 'its certificate proves the serial number, and no other enrolment of this Mac is left';
    await audit(tx, { at, actor: 'server', act: 'enrolment.confirmed', macId: enrolment.mac_id, details: { enrolmentId: enrolment.id, because } });
    await settleBrought(parts, tx, at, enrolment.mac_id);
  }
}

/** Keys in one act of retention: a year after a whole fleet had its keys replaced they are as many as Macs, and a check-in waits for no more than these. */
const retiredTogether = 200;

/** K9: the only thing that ever removes a key. The row stays, with its ids, dates and fingerprint. */
export async function retire(parts: CustodyParts): Promise<{ destroyed: number }> {
  let all = 0;
  for (let after: KeyRecord | null = null; ; ) {
    const { destroyed, last } = await retireSome(parts, after);
    all += destroyed;
    if (!last) return { destroyed: all };
    after = last;
  }
}

/** Those that come after one; `last` is null where there are no more. */
function retireSome(parts: CustodyParts, after: KeyRecord | null): Promise<{ destroyed: number; last: KeyRecord | null }> {
  return parts.act(async (tx, at) => {
    const due = await recordsToDestroy(tx, at - parts.settings.retainSupersededDays * day, after, retiredTogether);
    let destroyed = 0;
    for (const record of due) {
      if (stopsTheMac(await openAlarmsOf(tx, record.mac_id))) continue;
      // One that was refuted here may be another volume's, where nobody has asked about it yet.
      if (await waitsElsewhere(tx, at, record)) continue;
      await removeEnvelopeBytes(tx, record.id);
      await updateBroughtOfRecord(tx, record.id, { bytes: null });
      await setRecordState(tx, record.id, 'destroyed', 'K9: superseded for the retention time, and a later key was proved', at);
      await audit(tx, { at, actor: 'server', act: 'key.destroyed', macId: record.mac_id, details: { recordId: record.id, volume: record.volume } });
      destroyed += 1;
    }
    return { destroyed, last: due.length < retiredTogether ? null : (due.at(-1) ?? null) };
  });
}
