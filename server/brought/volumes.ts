import { type CustodyParts, day } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { orderProof } from '../proofs.ts';
import type { BroughtRow } from '../store/brought.ts';
import { envelopesOfRecord, type KeyRecord, recordById, recordsOfMac, recordsOfVolume, setRecordState } from '../store/keys.ts';
import { type Mac, macById } from '../store/macs.ts';
import { activeEnrolmentsOf } from '../store/sessions.ts';
import { isBroughtRecord } from './sources.ts';

/*
 * What others brought names a Mac by its serial number, and a Mac may have more than one system, each with a key of its own.
 */

/**
 * A serial number says nothing of volumes: what others brought is asked about on the one from which the Mac started last. That
 * another one answered `false`, or nothing, says nothing of this one. What the Mac itself delivered is that volume's own. Nor does
 * it say anything of the Mac that had this number before, and whose enrolments have ended: this one has taken its place.
 */
export async function isAskedElsewhere(tx: Tx, mac: Mac, row: BroughtRow): Promise<boolean> {
  if (row.bytes === null || row.state === 'waiting' || row.state === 'aside') return false;
  const record = row.record_id === null ? undefined : await recordById(tx, row.record_id);
  if (!record || record.state === 'destroyed') return false;
  const isHere = record.mac_id === mac.id;
  if (isHere && (record.volume === mac.present_volume || record.proved_at !== null || record.state === 'held')) return false;
  return (await isGuess(tx, record)) && (isHere ? isVolumeTrusted(tx, mac) : hasTakenPlaceOf(tx, mac, record.mac_id));
}

async function hasTakenPlaceOf(tx: Tx, mac: Mac, macId: string): Promise<boolean> {
  const before = await macById(tx, macId);
  return before?.serial.toUpperCase() === mac.serial.toUpperCase() && (await activeEnrolmentsOf(tx, macId)).length === 0;
}

/**
 * Whose word it is from which volume the Mac started last. One that nobody has confirmed may make one up, and would take what others
 * brought away from the volume that it is asked about on, while one that was confirmed is there.
 */
async function isVolumeTrusted(tx: Tx, mac: Mac): Promise<boolean> {
  const active = await activeEnrolmentsOf(tx, mac.id);
  const confirmed = active.filter((enrolment) => enrolment.confirmed === 1);
  const seen = (enrolments: typeof active): number => Math.max(0, ...enrolments.map((enrolment) => enrolment.last_seen_at ?? 0));
  return confirmed.length === 0 || seen(confirmed) > seen(active.filter((enrolment) => enrolment.confirmed === 0));
}

export const isGuess = async (tx: Tx, record: KeyRecord): Promise<boolean> =>
  isBroughtRecord(record.source) && (await envelopesOfRecord(tx, record.id)).every((envelope) => envelope.enrolment_id === null);

/** The same bytes are one envelope of a Mac: it went with the Mac to another volume. On this one nobody has answered for it, and no other key was proved since it came. */
export const isLeftBehind = async (tx: Tx, record: KeyRecord): Promise<boolean> =>
  record.state === 'superseded' &&
  record.refuted_at === null &&
  record.proved_at === null &&
  isBroughtRecord(record.source) &&
  (await envelopesOfRecord(tx, record.id)).length === 0 &&
  !(await recordsOfVolume(tx, record.mac_id, record.volume)).some((other) => (other.proved_at ?? 0) > record.received_at);

/** A volume of which nothing was heard for so long is gone: a Mac that was erased has another. */
const forgottenAfter = 365 * day;

/** A guess that another volume of its Mac has neither refuted nor replaced: the same key was left behind there, or nobody has asked it yet. */
export async function waitsElsewhere(tx: Tx, at: number, record: KeyRecord): Promise<boolean> {
  if (record.fingerprint === null || !(await isGuess(tx, record))) return false;
  const others = (await recordsOfMac(tx, record.mac_id)).filter((one) => one.volume !== record.volume);
  for (const volume of new Set(others.map((one) => one.volume))) {
    const there = others.filter((one) => one.volume === volume);
    const same = there.filter((one) => one.fingerprint === record.fingerprint);
    for (const one of same) if (await isLeftBehind(tx, one)) return true;
    const heard = Math.max(...there.map((one) => Math.max(one.received_at, one.proved_at ?? 0, one.state_at)));
    if (same.length === 0 && at - heard < forgottenAfter && !there.some((one) => (one.proved_at ?? 0) > record.received_at)) return true;
  }
  return false;
}

/** Here again, by whoever brings it, it is no key of before: nothing ever took its place on this volume. */
export async function askAgain(parts: CustodyParts, tx: Tx, at: number, record: KeyRecord): Promise<KeyRecord> {
  const because = 'others brought it, and its Mac is back on this volume';
  await setRecordState(tx, record.id, 'candidate', because, at);
  await orderProof(parts, tx, at, record, because);
  return { ...record, state: 'candidate' };
}
