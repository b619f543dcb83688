import { Problem } from '../../protocol/problems.ts';
import type { CustodyParts } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { macsWithSerial } from '../store/macs.ts';
import { deviceById, devicesWithSerial, type MdmDevice, putDevice } from '../store/mdm.ts';
import { askDevice, type RotationWished, requestRotation } from './commands.ts';
import type { Taken } from './fates.ts';
import type { NanoMdm } from './nanomdm.ts';
import { forgetOld, rotateDue, sendDue, sweepMdm } from './sending.ts';
import { type MdmSettings, takeEvent } from './take-event.ts';
import type { WebhookEvent } from './webhook-event.ts';

/** The MDM as a witness of keys and as a hand, as acts of custody. */
export interface MdmCustody {
  take(settings: MdmSettings, event: WebhookEvent, digest: string): Promise<Taken>;
  /** The device's command; null where one is under way. */
  ask(wish: { device: string; actor: string; reason: string }): Promise<{ deviceId: string; uuid: string | null }>;
  rotate(wish: RotationWished & { device: string }): Promise<{ deviceId: string; uuid: string; from: number }>;
  sendDue(api: NanoMdm): Promise<{ sent: number }>;
  sweep(settings: MdmSettings & { windowMinutes: number }): Promise<void>;
  rotateDue(settings: MdmSettings): Promise<void>;
  forgetOld(): Promise<void>;
}

type InTurn = <T>(whose: string, work: () => Promise<T>) => Promise<T>;

export function createMdm(parts: CustodyParts, oneByOne: InTurn): MdmCustody {
  return {
    // Events of one device one after another, so that what does not open is counted.
    take: (settings, event, digest) => oneByOne(`mdm ${event.deviceId ?? ''}`, () => takeEvent(parts, settings, event, digest)),
    ask: ({ device, actor, reason }) =>
      parts.act(async (tx, at) => {
        const found = await deviceNamed(tx, at, device);
        return { deviceId: found.id, uuid: await askDevice(tx, at, found, 'security-info', { because: reason, actor }) };
      }),
    rotate: ({ device, ...wish }) =>
      parts.act(async (tx, at) => {
        const found = await deviceNamed(tx, at, device);
        return { deviceId: found.id, ...(await requestRotation(parts, tx, at, found, wish)) };
      }),
    sendDue: (api) => sendDue(parts, api),
    sweep: (settings) => sweepMdm(parts, settings),
    rotateDue: (settings) => rotateDue(parts, settings),
    forgetOld: () => forgetOld(parts),
  };
}

/** By serial number, or as the MDM calls it. A Mac of whose enrolment in the MDM nobody has told is known there by its hardware UUID. */
async function deviceNamed(tx: Tx, at: number, name: string): Promise<MdmDevice> {
  const exact = await deviceById(tx, name);
  if (exact) return exact;
  const serial = name.toUpperCase();
  const [device, ...more] = await devicesWithSerial(tx, serial);
  if (more.length > 0 && device) throw new Problem('MAC_AMBIGUOUS', `the MDM has ${[device, ...more].map(({ id }) => id).join(', ')}`);
  if (device) return device;
  const [mac, ...others] = await macsWithSerial(tx, serial);
  if (!mac) throw new Problem('MAC_UNKNOWN', `neither the MDM nor any agent has told of ${serial}`);
  if (others.length > 0) throw new Problem('MAC_AMBIGUOUS', [mac, ...others].map(({ id }) => id).join(', '));
  const known = await deviceById(tx, mac.hardware_uuid);
  if (known) return known;
  const made: MdmDevice = {
    id: mac.hardware_uuid,
    server: 'nanomdm',
    udid: mac.hardware_uuid,
    serial: mac.serial,
    first_seen_at: at,
    last_seen_at: at,
    checked_out_at: null,
    security: null,
    security_at: null,
  };
  await putDevice(tx, made);
  return made;
}
