import { randomUUID } from 'node:crypto';
import { Problem } from '../../protocol/problems.ts';
import { raise, settle, stopsTheMac } from '../alarms.ts';
import { audit } from '../audit.ts';
import { isUnverified, recordSource } from '../brought/sources.ts';
import { onlyByMdm } from '../brought/tasks.ts';
import { type CustodyParts, day, hour, isoTime, minute } from '../custody-parts.ts';
import { lastFacts } from '../custody-state.ts';
import { endHoldIn, presentHold } from '../holds.ts';
import type { Tx } from '../parts.ts';
import { orderProof } from '../proofs.ts';
import { waitsInRing } from '../rings/move.ts';
import { openAlarms, openAlarmsOf } from '../store/alarms.ts';
import { type BroughtRow, broughtFor } from '../store/brought.ts';
import { envelopeOfMac, type KeyRecord, recordById, recordsOfVolume } from '../store/keys.ts';
import type { Mac } from '../store/macs.ts';
import { insertCommand, type MdmCommand, type MdmDevice, openCommandOf, updateCommand } from '../store/mdm.ts';
import { openRotationOf } from '../store/rotations.ts';
import { payloadOf, type Standing, saidOf, standingOf } from './device.ts';

const mdmSources = [recordSource('nanomdm'), recordSource('micromdm')];

/** What is asked of a Mac through its MDM. The sender of sending.ts takes it from here. */
const blank = {
  state: 'waiting',
  tries: 0,
  sent_at: null,
  ended_at: null,
  error: null,
  override_hold: 0,
  escrow_payload: null,
  reply_certificate: null,
  reply_key: null,
  reply: null,
  named: 0,
} as const;

/** SecurityInfo or DeviceInformation. One of a kind at a time; null where one is under way. */
export async function askDevice(
  tx: Tx,
  at: number,
  device: MdmDevice,
  kind: 'security-info' | 'device-information',
  { because, actor, notBefore = at }: { because: string; actor: string; notBefore?: number },
): Promise<string | null> {
  if (device.checked_out_at !== null || (await openCommandOf(tx, device.id, kind))) return null;
  const uuid = randomUUID().toUpperCase();
  await insertCommand(tx, {
    ...blank,
    uuid,
    device_id: device.id,
    kind,
    because,
    actor,
    created_at: at,
    next_at: notBefore,
    record_id: null,
    brought_id: null,
  });
  return uuid;
}

interface PresentKey {
  recordId: string | null;
  broughtId: string | null;
  shownAt: number | null;
  macId: string | null;
}

/**
 * The key that a Mac is likeliest to take as the present one: of a record here, or one that others had. Which Mac a device
 * without agent is, nobody says but itself, and whoever gets the command can read the key in it: so it gets none but its own,
 * or one of which an admin said that it is this device's. `vouched`: the id of that one, or `any`.
 */
export async function presentKey(tx: Tx, device: MdmDevice, vouched: string | null = null): Promise<PresentKey | string> {
  const { serial, mac, clash } = await standingOf(tx, device);
  if (clash !== null) return clash;
  if (serial === null) return 'its serial number is not known';
  const records = mac?.present_volume ? await recordsOfVolume(tx, mac.id, mac.present_volume) : [];
  const usable = records.filter(
    ({ state, unverified, refuted_at: refuted }) => (state === 'held' || state === 'candidate') && unverified === 0 && refuted === null,
  );
  const held = usable.find(({ state }) => state === 'held');
  // What the MDM itself showed or made after the held key was proved is the newer one.
  const newer = usable.find(
    (one) => one.state === 'candidate' && mdmSources.includes(one.source) && one.received_at > (held?.proved_at ?? held?.received_at ?? 0),
  );
  const record = newer ?? held;
  if (record && mac) {
    if (vouched !== 'any' && vouched !== record.id && !(await hasShown(tx, device, mac, record)))
      return `since it was enrolled this device has not shown the key that is here for ${serial}, and whatever else it says of itself is its own word: SecurityInfo has to bring it, or an admin names the device`;
    return { recordId: record.id, broughtId: null, shownAt: null, macId: record.mac_id };
  }
  const there = (await broughtFor(tx, serial)).filter(
    ({ state, trust, fingerprint, bytes }) => state !== 'refuted' && !isUnverified(trust) && fingerprint && bytes,
  );
  if (there.length === 0) return 'no key of it is here that may be the present one';
  const brought = there.find((one) => vouched === 'any' || one.id === vouched || isOwn(device, one));
  if (!brought)
    return `this device has shown none of the keys that are here for ${serial}, and that it is that Mac is its own word: an admin can name the device`;
  return { recordId: null, broughtId: brought.id, shownAt: brought.disclosed_at, macId: mac?.id ?? null };
}

/**
 * Whoever enrols with the names of another machine, its UDID among them, is that machine to the MDM. What it cannot have is the
 * file that macOS wrote on that Mac: this key in it, or, where it is sealed to somebody else, the one that the Mac's agent has seen.
 */
async function hasShown(tx: Tx, device: MdmDevice, mac: Mac, { id, fingerprint }: KeyRecord): Promise<boolean> {
  const { own = [], key, saidAt = 0, enrolledAt = 0 } = saidOf(device);
  if (fingerprint !== null && own.includes(fingerprint)) return true;
  if (!key?.envelopeId || saidAt < enrolledAt) return false;
  if (key.answer === 'sealed-to-somebody-else') return lastFacts(mac)?.escrow.file?.digest === key.envelopeId;
  return (key.print != null && key.print === fingerprint) || (await envelopeOfMac(tx, mac.id, key.envelopeId))?.record_id === id;
}

const isOwn = (device: MdmDevice, { fingerprint, envelope_id: envelopeId }: BroughtRow): boolean =>
  (saidOf(device).own ?? []).some((one) => one === fingerprint || one === envelopeId);

/** Why the MDM is not the one to replace the key of this Mac, or null. */
export function agentReplaces({ mac }: Standing): string | null {
  const facts = mac ? lastFacts(mac) : null;
  return facts && facts.capability !== 'refused' && onlyByMdm(facts) === null ? 'its own agent replaces its key: two who do would fight over it' : null;
}

/** An agent that has begun has its answer within minutes, or needs people. */
const agentAtWork = 10 * minute;

/**
 * Until when somebody may be typing the key, or null. Nobody tells us when the user of a Mac without agent is
 * back in. Views up to `overridden` are an admin's to answer for.
 */
export async function heldBack(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  { mac }: Standing,
  key: PresentKey | null,
  overridden: number | null = null,
): Promise<number | null> {
  // What stops its agent stops the MDM too, whoever takes the hold on himself.
  if (mac && stopsTheMac(await openAlarmsOf(tx, mac.id))) return at + hour;
  // Its payload is about to be another one: nobody's command replaces its key before.
  if (mac && (await waitsInRing(tx, mac.id)) !== null) return at + hour;
  if (mac && (await openRotationOf(tx, mac.id))) return at + agentAtWork;
  const hold = mac?.present_volume ? await presentHold(parts, tx, at, mac.id, mac.present_volume) : null;
  if (hold) return hold.until;
  const shownAt = key?.shownAt ?? 0;
  const until = shownAt > (overridden ?? 0) ? shownAt + parts.settings.holdDeadlineHours * hour : 0;
  return until > at ? until : null;
}

export interface RotationWished {
  actor: string;
  reason: string;
  /** The admin takes it on himself that nobody is typing the key now. */
  overrideHold?: boolean;
  /** The admin named the device, and not a serial number: whatever key is here for that is this device's by the admin's word. */
  named?: boolean;
}

/** Has the MDM replace the key of a Mac, where its agent cannot. Throws `MDM_ROTATION_REFUSED` in words. */
export async function requestRotation(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  device: MdmDevice,
  wish: RotationWished,
): Promise<{ uuid: string; from: number }> {
  const refuse = (because: string): never => {
    throw new Problem('MDM_ROTATION_REFUSED', because);
  };
  if (wish.reason.trim() === '') throw new Problem('REASON_MISSING');
  if (device.checked_out_at !== null) refuse(`it left the MDM on ${isoTime(device.checked_out_at)}`);
  const open = await openCommandOf(tx, device.id, 'rotate');
  if (open) refuse(`command ${open.uuid} is under way (${open.state})`);
  const standing = await standingOf(tx, device);
  const { mac, serial } = standing;
  const fight = agentReplaces(standing);
  if (fight !== null) refuse(fight);
  const key = await presentKey(tx, device, wish.named ? 'any' : null);
  if (typeof key === 'string') return refuse(key);
  if (mac && (await openRotationOf(tx, mac.id))) refuse('its agent is replacing the key');
  if (wish.overrideHold && mac) await endHoldIn(parts, tx, at, { macId: mac.id, actor: wish.actor, because: 'override', reason: wish.reason });
  const until = await heldBack(parts, tx, at, standing, key, wish.overrideHold ? at : null);
  const uuid = randomUUID().toUpperCase();
  const from = until ?? at;
  await insertCommand(tx, {
    ...blank,
    uuid,
    device_id: device.id,
    kind: 'rotate',
    because: wish.reason,
    actor: wish.actor,
    created_at: at,
    next_at: from,
    override_hold: wish.overrideHold ? 1 : 0,
    named: wish.named ? 1 : 0,
    record_id: key.recordId,
    brought_id: key.broughtId,
    escrow_payload: payloadOf(device, mac),
  });
  const details = {
    commandUuid: uuid,
    deviceId: device.id,
    serial,
    reason: wish.reason,
    overrideHold: wish.overrideHold === true,
    ...(wish.named ? { ...(key.broughtId === null ? {} : { keyId: key.broughtId }), named: true } : {}),
    from,
  };
  await audit(tx, { at, actor: wish.actor, act: 'mdm.rotation-asked', macId: key.macId, details });
  return { uuid, from };
}

/** The MDM delivers a command whenever the Mac comes back, and what did not open may be opened later: for as long. */
export const keepReplyKeys = 90 * day;

/** Of a rotation that was given up: as the alarm says it, and as it is settled. */
export const silentWords = ({ uuid }: Pick<MdmCommand, 'uuid'>, device: MdmDevice): string => `command ${uuid} for ${device.serial ?? device.id}`;

/** It is over, whatever Mac it was said of: what had no agent then was an alarm of the fleet, and its device may say another serial number by now. */
export async function settleOf(tx: Tx, at: number, code: OfCommand, { uuid }: MdmCommand, judgement: string): Promise<void> {
  for (const alarm of await openAlarms(tx))
    if (alarm.code === code && alarm.detail.startsWith(`command ${uuid}`)) await settle(tx, at, alarm.mac_id, code, alarm.detail, judgement);
}
type OfCommand = 'MDM_COMMAND_SILENT' | 'MDM_COMMAND_NOT_SENT' | 'MDM_KEY_NOT_RETURNED';

/** Nobody knows whether it was carried out, and so which key is valid: a person hears of it, and a Mac with an agent is asked. */
export async function tellOfSilence(parts: CustodyParts, tx: Tx, at: number, command: MdmCommand, device: MdmDevice): Promise<void> {
  const { mac } = await standingOf(tx, device);
  await raise(parts, tx, at, mac?.id ?? null, 'MDM_COMMAND_SILENT', silentWords(command, device));
  const old = command.record_id === null ? undefined : await recordById(tx, command.record_id);
  if (old?.state === 'held') await orderProof(parts, tx, at, old, 'the MDM may have replaced it');
}

/** It has come to its end. The private key of the answer goes with it, unless an answer may still come: until then. */
export async function endCommand(
  tx: Tx,
  at: number,
  command: MdmCommand,
  state: 'done' | 'failed',
  error: string | null,
  keepReplyKeyUntil: number | null = null,
): Promise<void> {
  const key = keepReplyKeyUntil === null ? { reply_key: null, reply_certificate: null, reply: null } : { next_at: keepReplyKeyUntil };
  await updateCommand(tx, command.uuid, { state, ended_at: at, error, ...key });
  if (command.kind !== 'rotate') return;
  await settleOf(tx, at, 'MDM_COMMAND_NOT_SENT', command, 'it is over');
  const details = { commandUuid: command.uuid, deviceId: command.device_id, state, error };
  await audit(tx, { at, actor: 'server', act: 'mdm.rotation-ended', details });
}
