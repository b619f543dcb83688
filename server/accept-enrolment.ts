import { createHash, randomUUID } from 'node:crypto';
import { Problem } from '../protocol/problems.ts';
import type { AlarmCode } from './alarms.ts';
import { endAssignments } from './assignments.ts';
import { audit } from './audit.ts';
import type { Tx } from './parts.ts';
import { alarmLike, insertAlarm } from './store/alarms.ts';
import {
  addEnrolment,
  addMac,
  addProof,
  changeEnrolment,
  type EnrolmentRow,
  enrolmentById,
  enrolmentByKey,
  enrolmentsOf,
  type MacRow,
  macsWithSubject,
  proveSerial,
} from './store/enrolments.ts';
import { macsWithSerial } from './store/macs.ts';

/** One public key and what proved whose it is; everything in it was checked. */
export interface Proved {
  at: number;
  way: EnrolmentRow['way'];
  /** SubjectPublicKeyInfo, DER. */
  publicKey: Buffer;
  serial: string;
  serialProved: boolean;
  /** What the certificate proves where it names no serial; null for a ticket. */
  subject: string | null;
  hardwareUuid: string;
  statement: string;
  proof: Buffer;
  profile: { der: Buffer; notAfter: number } | null;
  ticketId: string | null;
  /** The enrolment that the statement names, and the checked signature of its key over it, if there was one. */
  continues: string | null;
  continuation: { enrolmentId: string; signature: string } | null;
  /** Policy: a certificate that proves the serial confirms its enrolment. */
  confirmProvedSerials: boolean;
}

export interface Accepted {
  enrolmentId: string;
  macId: string;
  act: 'same-key' | 'went-on' | 'set-up-again' | 'enrolled';
  confirmed: boolean;
  serialProved: boolean;
  alarms: string[];
}

/** An older enrolment of a Mac that was set up again has this long to show itself. */
const replacedAfterMs = 24 * 60 * 60 * 1000;
const sameUuid = (a: string, b: string) => a.toLowerCase() === b.toLowerCase();
const strength = (way: EnrolmentRow['way']) => (way === 'ticket' ? 1 : 2);
export const keyDigest = (publicKey: Uint8Array): string => createHash('sha256').update(publicKey).digest('hex');

/** Which enrolment of which Mac this key is. Call it in one transaction with what was spent for it. */
export async function acceptEnrolment(tx: Tx, claimed: Proved): Promise<Accepted> {
  // One case for all UUIDs, as macOS writes them; the statement keeps its own.
  const proved = { ...claimed, hardwareUuid: claimed.hardwareUuid.toUpperCase() };
  const known = await enrolmentByKey(tx, keyDigest(proved.publicKey));
  const accepted = known ? await sameKey(tx, proved, known) : ((await goOn(tx, proved)) ?? (await enrolAnew(tx, proved)));
  await audit(tx, {
    at: proved.at,
    actor: 'mac',
    act: accepted.act === 'went-on' || accepted.act === 'same-key' ? 'enrolment.renewed' : 'enrolment.made',
    macId: accepted.macId,
    details: {
      enrolmentId: accepted.enrolmentId,
      how: accepted.act,
      way: proved.way,
      serial: proved.serial,
      serialProved: proved.serialProved,
      hardwareUuid: proved.hardwareUuid,
      continues: proved.continues,
      ticketId: proved.ticketId,
      key: keyDigest(proved.publicKey),
      proof: createHash('sha256').update(proved.proof).digest('hex'),
      confirmed: accepted.confirmed,
      alarms: accepted.alarms.join(' '),
    },
  });
  return accepted;
}

/** Whether the proof names the Mac that the enrolment is of. */
const isOf = (proved: Proved, enrolment: EnrolmentRow, mac: MacRow): boolean =>
  sameUuid(enrolment.hardware_uuid, proved.hardwareUuid) &&
  (mac.serial_proved === 1
    ? proved.serialProved && proved.serial === mac.serial
    : mac.subject !== null
      ? proved.subject === mac.subject || (proved.serialProved && proved.serial === mac.serial)
      : proved.serial === mac.serial);

/** The same key again: a certificate that was lost, or ran out. The enrolment is what it was. */
async function sameKey(tx: Tx, proved: Proved, known: { enrolment: EnrolmentRow; mac: MacRow; current: boolean }): Promise<Accepted> {
  const { enrolment, mac, current } = known;
  if (!isOf(proved, enrolment, mac)) throw new Problem('IDENTITY_MOVED', 'this key was enrolled by another Mac');
  if (enrolment.status === 'revoked') throw new Problem('ENROLMENT_REVOKED');
  if (!current || enrolment.status === 'replaced') throw new Problem('CSR_REFUSED', 'this key was replaced by a newer one');
  if (strength(proved.way) < strength(enrolment.way)) throw new Problem('PROOF_REFUSED', 'the proof is weaker than the first one of this enrolment');
  if (proved.profile) await changeEnrolment(tx, enrolment.id, { profile_certificate: proved.profile.der, profile_not_after: proved.profile.notAfter });
  return { enrolmentId: enrolment.id, macId: mac.id, act: 'same-key', confirmed: enrolment.confirmed === 1, serialProved: mac.serial_proved === 1, alarms: [] };
}

/** An active enrolment goes on with another key; null where it does not, and a new one is made. */
async function goOn(tx: Tx, proved: Proved): Promise<Accepted | null> {
  if (!proved.continuation) return null;
  const of = await enrolmentById(tx, proved.continuation.enrolmentId);
  if (!of) return null;
  const { enrolment, mac } = of;
  if (enrolment.status === 'revoked') throw new Problem('ENROLMENT_REVOKED');
  if (enrolment.status !== 'active' || !isOf(proved, enrolment, mac) || strength(proved.way) < strength(enrolment.way)) return null;
  if (proved.serialProved && mac.serial_proved === 0) {
    // From a claim to a proof: the identity key says it is the same Mac, the certificate says which. Unless that Mac is known already.
    if ((await macsWithSerial(tx, proved.serial)).some((other) => other.serial_proved === 1)) return null;
    await proveSerial(tx, mac.id, proved.serial);
  }
  await changeEnrolment(tx, enrolment.id, { ...keyColumns(proved), way: proved.way, ticket_id: proved.ticketId ?? enrolment.ticket_id, replaced_after: null });
  await keepProof(tx, enrolment.id, proved);
  return {
    enrolmentId: enrolment.id,
    macId: mac.id,
    act: 'went-on',
    confirmed: enrolment.confirmed === 1,
    serialProved: mac.serial_proved === 1 || proved.serialProved,
    alarms: [],
  };
}

async function enrolAnew(tx: Tx, proved: Proved): Promise<Accepted> {
  const { mac, setUpAgain, conflicts } = await chooseMac(tx, proved);
  const id = randomUUID();
  for (const macId of conflicts) await raiseConflict(tx, macId, `serial ${proved.serial} enrolled on hardware ${proved.hardwareUuid}`, proved.at);
  // Where an enrolment was before it, there may be keys of that one: a CA that gives any serial to anyone must not give them (timers.ts).
  const isFirst = (await enrolmentsOf(tx, mac.id)).length === 0;
  const confirmed = proved.serialProved && proved.way !== 'ticket' && proved.confirmProvedSerials && conflicts.length === 0 && isFirst;
  if (setUpAgain) {
    // It may be somebody else's now.
    await endAssignments(tx, proved.at, mac.id, 'set up again');
    for (const older of await enrolmentsOf(tx, mac.id)) {
      if (older.status === 'active' && older.replaced_after === null && sameUuid(older.hardware_uuid, proved.hardwareUuid))
        await changeEnrolment(tx, older.id, { replaced_after: proved.at + replacedAfterMs });
    }
  }
  await addEnrolment(tx, {
    id,
    mac_id: mac.id,
    way: proved.way,
    ...keyColumns(proved),
    serial: proved.serial,
    hardware_uuid: proved.hardwareUuid,
    ticket_id: proved.ticketId,
    continues: proved.continues,
    status: 'active',
    confirmed: confirmed ? 1 : 0,
    created_at: proved.at,
    last_seen_at: null,
  });
  await keepProof(tx, id, proved);
  return {
    enrolmentId: id,
    macId: mac.id,
    act: setUpAgain ? 'set-up-again' : 'enrolled',
    confirmed,
    serialProved: mac.serial_proved === 1,
    alarms: conflicts.length > 0 ? ['SERIAL_CONFLICT'] : [],
  };
}

/** It stops grants and self-service of each Mac concerned until an admin has judged it. */
async function raiseConflict(tx: Tx, macId: string, detail: string, at: number): Promise<void> {
  const code = 'SERIAL_CONFLICT' satisfies AlarmCode;
  if ((await alarmLike(tx, macId, code, detail)) !== undefined) return;
  const id = randomUUID();
  await insertAlarm(tx, { id, mac_id: macId, code, detail, opened_at: at, judged_at: null, judged_by: null, judgement: null });
  await audit(tx, { at, actor: 'server', act: 'alarm.raised', macId, details: { alarmId: id, code, detail } });
}

/** The Mac that the proof is of, made where there is none, and the ids of all that claim what it claims. */
async function chooseMac(tx: Tx, proved: Proved): Promise<{ mac: MacRow; setUpAgain: boolean; conflicts: string[] }> {
  const sameSerial = await macsWithSerial(tx, proved.serial);
  const sameSubject = proved.subject === null || proved.serialProved ? [] : await macsWithSubject(tx, proved.subject);
  const found = proved.serialProved
    ? sameSerial.find((mac) => mac.serial_proved === 1)
    : proved.subject !== null
      ? sameSubject.find((mac) => sameUuid(mac.hardware_uuid, proved.hardwareUuid))
      : sameSerial.find((mac) => mac.serial_proved === 0 && mac.subject === null && sameUuid(mac.hardware_uuid, proved.hardwareUuid));
  const mac =
    found ??
    (await addMac(tx, {
      serial: proved.serial,
      serialProved: proved.serialProved,
      subject: proved.serialProved ? null : proved.subject,
      hardwareUuid: proved.hardwareUuid,
      at: proved.at,
    }));
  const setUpAgain = found !== undefined && (await enrolmentsOf(tx, mac.id)).some((older) => sameUuid(older.hardware_uuid, proved.hardwareUuid));
  const others = [...sameSerial, ...sameSubject].filter((other) => other.id !== mac.id);
  const otherHardware = found !== undefined && !setUpAgain;
  // A Mac that was set up again has had its conflicts judged, or has them open still.
  // Where one is proved and the other a claim, the alarm is the claimer's: nobody may stop another's Mac by a claim.
  const accused = others.filter((other) => proved.serialProved || other.serial_proved === 0);
  const conflicts = setUpAgain || (others.length === 0 && !otherHardware) ? [] : [...new Set([mac.id, ...accused.map((other) => other.id)])];
  return { mac, setUpAgain, conflicts };
}

const keyColumns = (proved: Proved) => ({
  public_key_digest: keyDigest(proved.publicKey),
  public_key: proved.publicKey,
  statement: proved.statement,
  proof: proved.proof,
  profile_certificate: proved.profile?.der ?? null,
  profile_not_after: proved.profile?.notAfter ?? null,
});

/** Statement and proof stay for ever, also when the enrolment goes on with another key. */
const keepProof = (tx: Tx, enrolmentId: string, proved: Proved): Promise<void> =>
  addProof(tx, {
    public_key_digest: keyDigest(proved.publicKey),
    enrolment_id: enrolmentId,
    public_key: proved.publicKey,
    way: proved.way,
    statement: proved.statement,
    proof: proved.proof,
    continuation: proved.continuation?.signature ?? null,
    accepted_at: proved.at,
  });
