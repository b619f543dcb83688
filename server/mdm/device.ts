import { sameCase } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { type Mac, macsWithSerial } from '../store/macs.ts';
import { deviceById, devicesWithSerial, type MdmDevice, macWithHardware, putDevice, updateDevice } from '../store/mdm.ts';
import type { WebhookEvent } from './webhook-event.ts';

/** What is kept of what a device said, as JSON: no key, and nothing of an envelope but its digest. */
export interface DeviceSaid {
  /** By the MDM's clock, as events have it: they may come in another order. */
  enrolledAt?: number;
  leftAt?: number;
  saidAt?: number;
  /** Of SecurityInfo. */
  facts?: Record<string, boolean | string>;
  /** What became of the key in the last one. */
  key?: { at: number; answer: string; envelopeId?: string; recipient?: string | null };
  /** A key was replaced: the next SecurityInfo of after `at`, by the MDM's clock, is its second witness. */
  confirm?: { commandUuid: string; at: number } | null;
  /** Server times of envelopes that did not open (rules 5.4). */
  unreadable?: number[];
}

export const saidOf = (device: MdmDevice): DeviceSaid => (device.security === null ? {} : (JSON.parse(device.security) as DeviceSaid));

export async function noteSaid(tx: Tx, device: MdmDevice, more: Partial<DeviceSaid>): Promise<void> {
  await updateDevice(tx, device.id, { security: JSON.stringify({ ...saidOf(device), ...more }) });
}

const serialForm = /^[A-Z0-9][A-Z0-9-]{0,63}$/;
/** As Macs say it: capitals. Null for what is none. */
export function serialIn(text: string | null): string | null {
  const serial = (text ?? '').trim().toUpperCase();
  return serialForm.test(serial) ? serial : null;
}

/** The device of an event, as it stands now; one that was not known is made. */
export async function heard(tx: Tx, at: number, event: WebhookEvent & { deviceId: string }, server: string): Promise<MdmDevice> {
  const known = await deviceById(tx, event.deviceId);
  if (!known) {
    const made: MdmDevice = {
      id: event.deviceId,
      server,
      udid: event.udid === null ? null : sameCase(event.udid),
      serial: null,
      first_seen_at: at,
      last_seen_at: at,
      checked_out_at: null,
      security: null,
      security_at: null,
    };
    await putDevice(tx, made);
    return made;
  }
  const isBack = known.checked_out_at !== null && event.topic === 'mdm.Connect' && event.createdAt > (saidOf(known).leftAt ?? Number.NEGATIVE_INFINITY);
  const values = {
    last_seen_at: at,
    ...(isBack ? { checked_out_at: null } : {}),
    ...(known.udid === null && event.udid ? { udid: sameCase(event.udid) } : {}),
  };
  await updateDevice(tx, known.id, values);
  return { ...known, ...values };
}

export interface Standing {
  serial: string | null;
  /** The Mac here that this device is, beyond doubt. */
  mac: Mac | null;
  /** Why the device's word about its serial number does not count. */
  clash: string | null;
}

/**
 * Which Mac a device of the MDM is. It says its serial number itself, so another machine can say it too: then its keys are
 * those of nobody in particular. The hardware UUID is what an MDM calls UDID on a Mac.
 */
export async function standingOf(tx: Tx, device: MdmDevice): Promise<Standing> {
  const [byHardware, ...more] = device.udid === null ? [] : await macWithHardware(tx, device.udid);
  const serial = device.serial ?? (more.length === 0 ? (byHardware?.serial ?? null) : null);
  if (serial === null) return { serial: null, mac: null, clash: null };
  const others = (await devicesWithSerial(tx, serial)).filter(
    (other) => other.id !== device.id && other.last_seen_at >= device.first_seen_at && device.last_seen_at >= other.first_seen_at,
  );
  if (others.length > 0) return { serial, mac: null, clash: `the MDM has another device with the serial number ${serial}` };
  const [mac, ...rest] = await macsWithSerial(tx, serial);
  if (rest.length > 0) return { serial, mac: null, clash: `there is more than one Mac with the serial number ${serial}` };
  if (mac && device.udid !== null && sameCase(mac.hardware_uuid) !== device.udid)
    return { serial, mac: null, clash: `the Mac ${serial} has another hardware UUID than the device of the MDM` };
  return { serial, mac: mac ?? null, clash: null };
}
