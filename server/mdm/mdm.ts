import { Problem } from '../../protocol/problems.ts';
import { raise, settle } from '../alarms.ts';
import type { CustodyParts } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { openFleetAlarms } from '../store/alarms.ts';
import { macsWithSerial } from '../store/macs.ts';
import { commandByUuid, deviceById, devicesWithSerial, type MdmDevice, putDevice } from '../store/mdm.ts';
import { askDevice, type RotationWished, requestRotation } from './commands.ts';
import { newDevice } from './device.ts';
import type { Taken } from './fates.ts';
import type { NanoMdm } from './nanomdm.ts';
import { reopen } from './reopen.ts';
import { rotateDue } from './rotate-due.ts';
import { forgetOld, sendDue, sweepMdm } from './sending.ts';
import { type MdmSettings, takeEvent } from './take-event.ts';
import type { WebhookEvent } from './webhook-event.ts';

/** The MDM as a witness of keys and as a hand, as acts of custody. */
export interface MdmCustody {
  take(settings: MdmSettings, event: WebhookEvent, digest: string): Promise<Taken>;
  /** Whether it answers what was asked here, and can still be of use: then it is one of ours whenever it comes. */
  awaits(event: WebhookEvent): Promise<boolean>;
  /** One after another came at a wrong time; or one at the right time. */
  noteLate(detail: string): Promise<void>;
  noteOnTime(): Promise<void>;
  /** Tries once more to open an answer that did not open. False where it still does not. */
  reopen(wish: { uuid: string; actor: string; reason: string }, settings: Pick<MdmSettings, 'canAsk'>): Promise<boolean>;
  /** The device's command; null where one is under way. */
  ask(wish: { device: string; actor: string; reason: string }): Promise<{ deviceId: string; uuid: string | null }>;
  rotate(wish: Omit<RotationWished, 'named'> & { device: string }): Promise<{ deviceId: string; uuid: string; from: number }>;
  sendDue(api: NanoMdm): Promise<{ sent: number }>;
  sweep(settings: MdmSettings): Promise<void>;
  rotateDue(settings: MdmSettings): Promise<void>;
  forgetOld(): Promise<void>;
}

type InTurn = <T>(whose: string, work: () => Promise<T>) => Promise<T>;

export function createMdm(parts: CustodyParts, oneByOne: InTurn): MdmCustody {
  /** Where the round of Macs whose agent cannot replace their key has come to: the id of the last one. */
  const round = { after: '' };
  return {
    // Events of one device one after another, so that what does not open is counted.
    take: (settings, event, digest) => oneByOne(`mdm ${event.deviceId ?? ''}`, () => takeEvent(parts, settings, event, digest)),
    async awaits({ commandUuid, deviceId }) {
      const command = commandUuid === null ? undefined : await commandByUuid(parts.store.db, commandUuid);
      return command !== undefined && command.device_id === deviceId && command.sent_at !== null && (command.ended_at === null || command.reply_key !== null);
    },
    noteLate: (detail) => parts.act((tx, at) => raise(parts, tx, at, null, 'MDM_EVENTS_LATE', detail)),
    noteOnTime: () =>
      parts.act(async (tx, at) => {
        for (const { code, detail } of await openFleetAlarms(tx))
          if (code === 'MDM_EVENTS_LATE') await settle(tx, at, null, code, detail, 'an event came that is on time');
      }),
    reopen: (wish, settings) => reopen(parts, wish, settings),
    ask: ({ device, actor, reason }) =>
      parts.act(async (tx, at) => {
        const found = await deviceNamed(tx, at, device);
        return { deviceId: found.id, uuid: await askDevice(tx, at, found, 'security-info', { because: reason, actor }) };
      }),
    rotate: ({ device, ...wish }) =>
      parts.act(async (tx, at) => {
        const found = await deviceNamed(tx, at, device);
        return { deviceId: found.id, ...(await requestRotation(parts, tx, at, found, { ...wish, named: found.id === device })) };
      }),
    sendDue: (api) => sendDue(parts, api),
    sweep: (settings) => sweepMdm(parts, settings),
    rotateDue: (settings) => rotateDue(parts, settings, round),
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
  // Heard of it nobody has.
  const made = { ...newDevice(at, { id: mac.hardware_uuid, server: 'nanomdm', udid: mac.hardware_uuid, serial: mac.serial }), last_seen_at: 0 };
  await putDevice(tx, made);
  return made;
}
