import { randomUUID } from 'node:crypto';
import { Problem } from '../../protocol/problems.ts';
import { audit } from '../audit.ts';
import { isUnverified, recordSource } from '../brought/sources.ts';
import { onlyByMdm } from '../brought/tasks.ts';
import { type CustodyParts, hour, isoTime } from '../custody-parts.ts';
import { lastFacts } from '../custody-state.ts';
import { endHoldIn, presentHold } from '../holds.ts';
import type { Tx } from '../parts.ts';
import { waitsInRing } from '../rings/move.ts';
import { broughtFor } from '../store/brought.ts';
import { recordsOfVolume } from '../store/keys.ts';
import { insertCommand, type MdmCommand, type MdmDevice, openCommandOf, updateCommand } from '../store/mdm.ts';
import { openRotationOf } from '../store/rotations.ts';
import { standingOf } from './device.ts';

const mdmSources = [recordSource('nanomdm'), recordSource('micromdm')];

/** What is asked of a Mac through its MDM. The sender of sending.ts takes it from here. */
const blank = { state: 'waiting', tries: 0, sent_at: null, ended_at: null, error: null, override_hold: 0, reply_certificate: null, reply_key: null } as const;

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

/** The key that a Mac is likeliest to take as the present one: of a record here, or one that others had. */
export async function presentKey(
  tx: Tx,
  device: MdmDevice,
): Promise<{ recordId: string | null; broughtId: string | null; shownAt: number | null; macId: string | null } | string> {
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
  if (record) return { recordId: record.id, broughtId: null, shownAt: null, macId: record.mac_id };
  const [brought] = (await broughtFor(tx, serial)).filter(
    ({ state, trust, fingerprint, bytes }) => state !== 'refuted' && !isUnverified(trust) && fingerprint && bytes,
  );
  if (!brought) return 'no key of it is here that may be the present one';
  return { recordId: null, broughtId: brought.id, shownAt: brought.disclosed_at, macId: mac?.id ?? null };
}

/**
 * Until when somebody may be typing the key, or null (rules 4.1). Nobody tells us when the user of a Mac without agent is
 * back in. Views up to `overridden` are an admin's to answer for.
 */
export async function heldBack(parts: CustodyParts, tx: Tx, at: number, device: MdmDevice, overridden: number | null = null): Promise<number | null> {
  const { mac } = await standingOf(tx, device);
  // Its payload is about to be another one: nobody's command replaces its key before.
  if (mac && (await waitsInRing(tx, mac.id)) !== null) return at + hour;
  const hold = mac?.present_volume ? await presentHold(parts, tx, at, mac.id, mac.present_volume) : null;
  if (hold) return hold.until;
  const key = await presentKey(tx, device);
  const isShown = typeof key !== 'string' && key.shownAt !== null && key.shownAt > (overridden ?? 0);
  const until = isShown ? (key.shownAt ?? 0) + parts.settings.holdDeadlineHours * hour : 0;
  return until > at ? until : null;
}

export interface RotationWished {
  actor: string;
  reason: string;
  /** The admin takes it on himself that nobody is typing the key now. */
  overrideHold?: boolean;
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
  const key = await presentKey(tx, device);
  if (typeof key === 'string') return refuse(key);
  const { mac } = await standingOf(tx, device);
  const facts = mac ? lastFacts(mac) : null;
  if (mac && facts && facts.capability !== 'refused' && onlyByMdm(facts) === null) refuse('its own agent replaces its key: two who do would fight over it');
  if (mac && (await openRotationOf(tx, mac.id))) refuse('its agent is replacing the key');
  if (wish.overrideHold && mac) await endHoldIn(parts, tx, at, { macId: mac.id, actor: wish.actor, because: 'override', reason: wish.reason });
  const until = await heldBack(parts, tx, at, device, wish.overrideHold ? at : null);
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
    record_id: key.recordId,
    brought_id: key.broughtId,
  });
  const { serial } = await standingOf(tx, device);
  const details = { commandUuid: uuid, deviceId: device.id, serial, reason: wish.reason, overrideHold: wish.overrideHold === true, from };
  await audit(tx, { at, actor: wish.actor, act: 'mdm.rotation-asked', macId: key.macId, details });
  return { uuid, from };
}

/** It has come to its end. The private key of the answer goes with it, unless an answer may still come. */
export async function endCommand(tx: Tx, at: number, command: MdmCommand, state: 'done' | 'failed', error: string | null, keepReplyKey = false): Promise<void> {
  const key = keepReplyKey ? {} : { reply_key: null, reply_certificate: null };
  await updateCommand(tx, command.uuid, { state, ended_at: at, error, ...key });
  if (command.kind !== 'rotate') return;
  const details = { commandUuid: command.uuid, deviceId: command.device_id, state, error };
  await audit(tx, { at, actor: 'server', act: 'mdm.rotation-ended', details });
}
