import { raise } from '../alarms.ts';
import { isKnownMac } from '../brought/serial.ts';
import { type CustodyParts, isoTime, sameCase } from '../custody-parts.ts';
import { lastFacts } from '../custody-state.ts';
import type { Tx } from '../parts.ts';
import { openFleetAlarms } from '../store/alarms.ts';
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
  /** What became of the key in the last one, of `saidAt`; `print`: its fingerprint, where it was opened. */
  key?: { at: number; answer: string; envelopeId?: string; recipient?: string | null; print?: string | null };
  /**
   * Fingerprints of keys and ids of envelopes that this very device was the first to show, or has made: they are its own,
   * whatever it says that its serial number is.
   */
  own?: string[];
  /** What was its own before it was enrolled anew: whoever enrols with its names has to show it again. */
  ownBefore?: string[];
  /** The serial number that it said before it said another. */
  serialWas?: string;
  /**
   * A key was replaced: a SecurityInfo of after `at`, by the MDM's clock, that holds the new key is its second witness.
   * Fingerprints; `was` is null where nobody has opened the old one.
   */
  confirm?: { commandUuid: string; at: number; is: string; was: string | null } | null;
  /** Server times of envelopes that did not open. */
  unreadable?: number[];
}

export const saidOf = (device: MdmDevice): DeviceSaid => (device.security === null ? {} : (JSON.parse(device.security) as DeviceSaid));

/** What a device may hold is bounded; the newest stays. */
const mostOwn = 8;
export const ownWith = (device: MdmDevice, ...more: string[]): string[] =>
  [...(saidOf(device).own ?? []).filter((one) => !more.includes(one)), ...more].slice(-mostOwn);

/** Enrolled anew: nothing is its own that it does not show again. */
export function ownAnew(device: MdmDevice): Required<Pick<DeviceSaid, 'own' | 'ownBefore'>> {
  const { own = [], ownBefore = [] } = saidOf(device);
  return { own: [], ownBefore: [...ownBefore.filter((one) => !own.includes(one)), ...own].slice(-mostOwn) };
}

/** The device as it is then. */
export async function noteSaid(tx: Tx, device: MdmDevice, more: Partial<DeviceSaid>): Promise<MdmDevice> {
  const security = JSON.stringify({ ...saidOf(device), ...more });
  await updateDevice(tx, device.id, { security });
  return { ...device, security };
}

export const newDevice = (at: number, names: Pick<MdmDevice, 'id' | 'server' | 'udid' | 'serial'>): MdmDevice => ({
  ...names,
  first_seen_at: at,
  last_seen_at: at,
  checked_out_at: null,
  security: null,
  security_at: null,
});

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
    const made = newDevice(at, { id: event.deviceId, server, udid: event.udid === null ? null : sameCase(event.udid), serial: null });
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

const changedBy = (id: string): string => `device ${id} `;
/** Until an admin has judged it. */
const hasChanged = async (tx: Tx, device: MdmDevice): Promise<boolean> =>
  saidOf(device).serialWas !== undefined &&
  (await openFleetAlarms(tx)).some(({ code, detail }) => code === 'MDM_SERIAL_CHANGED' && detail.startsWith(changedBy(device.id)));

/**
 * What a device says of itself when it is enrolled, or when it was asked. It is its own word, and hardware never has another
 * one: then it is somebody who plays two Macs, and nothing that it showed before is taken for its own any more.
 */
export async function tellSerial(parts: Pick<CustodyParts, 'log'>, tx: Tx, at: number, device: MdmDevice, serial: string): Promise<MdmDevice> {
  if (device.serial === serial) return device;
  await updateDevice(tx, device.id, { serial });
  const told = { ...device, serial };
  if (device.serial === null) return told;
  if (!(await hasChanged(tx, device)))
    await raise(parts, tx, at, null, 'MDM_SERIAL_CHANGED', `${changedBy(device.id)}was ${device.serial}, and says since ${isoTime(at)} that it is ${serial}`);
  return noteSaid(tx, told, { serialWas: device.serial, own: [], ownBefore: [] });
}

/** C9: whose escrow payload the Mac has, as `rotation` says it: by its agent, or by to whom its escrow file was sealed last. */
export function payloadOf(device: MdmDevice, mac: Mac | null): string {
  const facts = mac ? lastFacts(mac) : null;
  if (facts) return facts.escrow.payload;
  const { key } = saidOf(device);
  if (key?.answer === 'sealed-to-somebody-else') return 'foreign';
  return key?.envelopeId === undefined ? 'unknown' : 'ours';
}

export interface Standing {
  serial: string | null;
  /** The Mac here that this device is, beyond doubt. */
  mac: Mac | null;
  /** Why the device's word about its serial number does not count. */
  clash: string | null;
  /** Somebody has been told of that clash, in other words. */
  isAlarm?: true;
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
  if (await hasChanged(tx, device)) return { serial, mac: null, clash: `it said before that it was ${saidOf(device).serialWas}`, isAlarm: true };
  if (others.length > 0) return { serial, mac: null, clash: `the MDM has another device with the serial number ${serial}` };
  const claiming = await macsWithSerial(tx, serial);
  const known: Mac[] = [];
  for (const one of claiming) if (await isKnownMac(tx, one)) known.push(one);
  // Whoever merely claims a serial number takes nothing from what the MDM says of it, and is the device only by its hardware too.
  if (known.length === 0) {
    const [same, ...others] = claiming.filter((one) => sameCase(one.hardware_uuid) === device.udid);
    return { serial, mac: others.length === 0 ? (same ?? null) : null, clash: null };
  }
  const [mac, ...rest] = known;
  if (rest.length > 0) return { serial, mac: null, clash: `there is more than one Mac with the serial number ${serial}` };
  if (mac && device.udid === null) return { serial, mac: null, clash: `the MDM does not say which hardware the Mac ${serial} is` };
  if (mac && sameCase(mac.hardware_uuid) !== device.udid)
    return { serial, mac: null, clash: `the Mac ${serial} has another hardware UUID than the device of the MDM` };
  return { serial, mac: mac ?? null, clash: null };
}
