import { RecoveryKey } from '../../protocol/recovery-key.ts';
import { raise } from '../alarms.ts';
import { audit } from '../audit.ts';
import { type CustodyParts, hour } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { type MdmCommand, type MdmDevice, updateDevice } from '../store/mdm.ts';
import { askDevice, endCommand } from './commands.ts';
import { type DeviceSaid, noteSaid, ownWith, saidOf, standingOf } from './device.ts';
import type { Because } from './fates.ts';
import type { MdmSettings } from './take-event.ts';
import { isFirstToShow, type LookedKey, takeKey } from './take-key.ts';
import { confirms, settleReturned } from './take-rotation.ts';
import type { WebhookEvent } from './webhook-event.ts';

export interface SecuritySaid {
  facts: Record<string, boolean | string>;
  key: LookedKey;
}

/** SecurityInfo: what the Mac says of FileVault, and the key that it escrowed. `event` is of the MDM's clock. */
export async function takeSecurity(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  settings: MdmSettings,
  event: WebhookEvent,
  device: MdmDevice,
  command: MdmCommand | null,
  looked: SecuritySaid,
): Promise<Because> {
  const { key } = looked;
  const { own = [], ownBefore = [] } = saidOf(device);
  const isOwn = key.kind === 'ours' && ([...own, ...ownBefore].includes(key.envelopeId) || (await isFirstToShow(tx, key)));
  const because = await takeKey(parts, tx, at, { device, source: settings.server, saidAt: event.createdAt, looked: key });
  if (command && command.state !== 'done') await endCommand(tx, at, command, 'done', null);
  const shown = key.kind === 'ours' && key.opened instanceof RecoveryKey ? key.opened.fingerprint(parts.secrets.fingerprint) : null;
  const before = saidOf(device);
  const more: Partial<DeviceSaid> = {
    ...(because === 'unreadable' ? { unreadable: [...(before.unreadable ?? []), at].slice(-8) } : {}),
    ...(isOwn && key.kind === 'ours' && isKept(because) ? { own: ownWith(device, key.envelopeId, ...(shown === null ? [] : [shown])) } : {}),
    ...(await confirmed(parts, tx, at, settings, event, device, shown, because)),
  };
  if (before.saidAt === undefined || event.createdAt >= before.saidAt) {
    const about =
      key.kind === 'foreign'
        ? { envelopeId: key.envelopeId, recipient: key.recipient }
        : key.kind === 'ours'
          ? { envelopeId: key.envelopeId, print: shown }
          : {};
    await noteSaid(tx, device, { saidAt: event.createdAt, facts: looked.facts, key: { at, answer: because, ...about }, ...more });
    await updateDevice(tx, device.id, { security_at: at });
  } else if (Object.keys(more).length > 0) await noteSaid(tx, device, more);
  if (because === 'serial-unknown' && settings.canAsk)
    await askDevice(tx, at, device, 'device-information', { because: 'its serial number is not known', actor: 'server' });
  if (['key-waiting', 'key-offered', 'key-aside', 'same-key', 'same-envelope'].includes(because)) await settleReturned(tx, at, device, shown);
  return because;
}

/** What came of a key that is of this device and of nobody else. */
const isKept = (because: Because): boolean =>
  ['same-envelope', 'same-key', 'older-key', 'key-waiting', 'key-offered', 'key-aside', 'key-known'].includes(because);

/** macOS writes its escrow file in the moment in which it replaces the key; the answer about it may be on its way for a while. */
const oldKeyMost = hour;

/**
 * Whether this SecurityInfo holds the key that RotateFileVaultKey made: what is to be remembered of it. One of before says
 * nothing of it, and one that still holds the old key has confirmed nothing.
 */
async function confirmed(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  settings: MdmSettings,
  event: WebhookEvent,
  device: MdmDevice,
  shown: string | null,
  because: Because,
): Promise<Partial<DeviceSaid>> {
  const awaited = saidOf(device).confirm;
  if (!awaited) return {};
  if (event.createdAt < awaited.at) {
    if (settings.canAsk) await askDevice(tx, at, device, 'security-info', { because: confirms, actor: 'server' });
    return {};
  }
  if (shown === null) return {};
  const { commandUuid } = awaited;
  if (shown === awaited.is) {
    await audit(tx, {
      at,
      actor: settings.server,
      act: 'mdm.key-confirmed',
      details: { deviceId: device.id, serial: device.serial, commandUuid, because },
    });
    return { confirm: null };
  }
  // A third key: it was replaced once more.
  if (shown !== awaited.was) return { confirm: null };
  const { mac } = await standingOf(tx, device);
  if (event.createdAt - awaited.at > oldKeyMost)
    await raise(
      parts,
      tx,
      at,
      mac?.id ?? null,
      'WITNESS_DIFFERS',
      `command ${commandUuid} brought a new key of ${device.serial ?? device.id}, and the MDM shows the old one`,
    );
  return {};
}
