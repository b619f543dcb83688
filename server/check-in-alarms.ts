import type { Facts } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import { raise } from './alarms.ts';
import { audit } from './audit.ts';
import { closeTasksByChange } from './brought/tasks.ts';
import { type CustodyParts, day, minute, sameCase } from './custody-parts.ts';
import { lastFacts } from './custody-state.ts';
import { aloneFrom } from './narrow-acts.ts';
import type { Caller, Tx } from './parts.ts';
import { judgedSince } from './store/alarms.ts';
import { type Mac, macsLike } from './store/macs.ts';
import { activeEnrolmentsOf, latestSessionOf, sessionOf, updateEnrolment } from './store/sessions.ts';

/** The identity is used on other hardware. Nothing of the message is accepted; only the alarm is stored. */
export async function movedAway(parts: CustodyParts, caller: Caller, hardwareUuid: string, by: string): Promise<Problem> {
  const detail = `enrolment ${caller.enrolmentId} on hardware ${sameCase(hardwareUuid)}`;
  await parts.act((tx, at) => raise(parts, tx, at, caller.macId, 'IDENTITY_MOVED', detail));
  parts.log.warn('request-refused', { code: 'IDENTITY_MOVED', macId: caller.macId, by, requestId: caller.requestId });
  return new Problem('IDENTITY_MOVED');
}

/** A boot session that comes back after another one: two machines with one identity. Asked before the session is stored. */
export async function watchSessions(parts: CustodyParts, tx: Tx, at: number, caller: Caller, boot: string): Promise<void> {
  const latest = await latestSessionOf(tx, caller.enrolmentId);
  const before = await sessionOf(tx, caller.enrolmentId, boot);
  if (!latest || !before || before.last_seen_at >= latest.last_seen_at) return;
  await raise(parts, tx, at, caller.macId, 'IDENTITY_CLONED', `enrolment ${caller.enrolmentId}: boot session ${boot} came back after ${latest.boot}`);
}

/**
 * An older enrolment that shows itself after the Mac was set up again is not replaced, and both in use within a day are an
 * alarm. The one that was merely used before the new one was made is no alarm: that is what setting up again looks like.
 */
export async function watchEnrolments(parts: CustodyParts, tx: Tx, at: number, caller: Caller): Promise<void> {
  const active = await activeEnrolmentsOf(tx, caller.macId);
  const own = active.find((enrolment) => enrolment.id === caller.enrolmentId);
  if (own && own.replaced_after !== null) {
    await updateEnrolment(tx, own.id, { replaced_after: null });
    await audit(tx, {
      at,
      actor: 'mac',
      act: 'enrolment.kept',
      macId: caller.macId,
      details: { enrolmentId: own.id, because: 'it checked in after the Mac was set up again' },
    });
  }
  for (const other of active.filter((enrolment) => enrolment.id !== caller.enrolmentId)) {
    const bothMade = Math.max(other.created_at, own?.created_at ?? 0);
    if (other.last_seen_at !== null && other.last_seen_at > bothMade && other.last_seen_at > at - day)
      await raise(parts, tx, at, caller.macId, 'TWO_ENROLMENTS', [caller.enrolmentId, other.id].toSorted().join(' and '));
  }
}

/** Where one of the two is only claimed, the alarm is the claimer's: nobody may stop another's Mac by a claim. */
export async function watchOtherMacs(parts: CustodyParts, tx: Tx, at: number, mac: Mac): Promise<void> {
  const others = await macsLike(tx, mac);
  // One of them may be seen for the first time at this very moment.
  if (others.length > 0) aloneFrom(tx);
  for (const other of others) {
    // Seen in a year is in use; a Mac that is gone conflicts with nobody.
    if (other.last_seen_at === null || other.last_seen_at < at - 365 * day) continue;
    // An admin has said that they are one.
    if (other.merged_into === mac.id) continue;
    const detail = `${mac.id} and ${other.id}: ${mac.serial === other.serial ? `serial ${mac.serial}` : `hardware ${mac.hardware_uuid}`}`;
    const accused = mac.serial_proved === other.serial_proved ? [mac.id, other.id] : [mac.serial_proved === 0 ? mac.id : other.id];
    for (const id of accused) {
      // What an admin judged when the second one enrolled is judged.
      if (await judgedSince(tx, id, 'SERIAL_CONFLICT', Math.max(mac.created_at, other.created_at))) continue;
      await raise(parts, tx, at, id, 'SERIAL_CONFLICT', detail);
    }
  }
}

/**
 * C2: somebody else changed the key. Each change is a line of the audit; two in 14 days, by the Mac's word, are two rotators,
 * and whoever has to part them is told who was found on its disk and whose payload it says it has. `mac` is as it was before.
 */
export async function watchForeignChanges(parts: CustodyParts, tx: Tx, at: number, mac: Mac, facts: Facts): Promise<void> {
  const { foreignChanges, escrow } = facts;
  if (!foreignChanges) return;
  const { times, suspects } = foreignChanges;
  const newest = times.at(-1);
  const seen = suspects.length > 0 ? `found on its disk: ${suspects.map(plain).join(', ')}` : 'nothing known was found on its disk';
  const payload = `escrow payload ${escrow.payload}${escrow.location === null ? '' : ` (“${plain(escrow.location).slice(0, 120)}”)`}`;
  // The Mac reckons its times by the server's, and may be some seconds off until it has heard it again.
  const before = Date.parse(lastFacts(mac)?.foreignChanges?.times.at(-1) ?? '') || 0;
  if (Date.parse(newest ?? '') - before > minute) {
    const details = { changedAt: newest ?? null, suspects, escrowPayload: escrow.payload };
    await audit(tx, { at, actor: 'mac', act: 'key.changed-by-other', macId: mac.id, details });
    await closeTasksByChange(tx, at, mac.id, Date.parse(newest ?? ''));
  }
  // Where the MDM replaces the keys and we only watch, there is one rotator.
  const wereOurs = facts.rotator === 'sparekey' && (escrow.payload !== 'foreign' || facts.escrowOwner === 'mdm');
  // What was judged is not told again because the oldest change is forgotten, or what was found is gone: only a newer change is.
  const isNews = newest !== undefined && !(await judgedSince(tx, mac.id, 'TWO_ROTATORS', Date.parse(newest) - minute));
  if (wereOurs && times.length >= 2 && isNews)
    await raise(parts, tx, at, mac.id, 'TWO_ROTATORS', `${times.length} changes, the first on ${times[0]}; ${seen}; ${payload}`);
}

/** A Mac's words are shown to people: on one line, and no command to a terminal. */
const plain = (words: string): string => words.replace(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, ' ');
