import { createHash } from 'node:crypto';
import { sealKey } from '../../protocol/envelope.ts';
import type { RecoveryKey } from '../../protocol/recovery-key.ts';
import { acceptKey } from '../accept-key.ts';
import { raise, settle } from '../alarms.ts';
import { audit } from '../audit.ts';
import { bring } from '../brought/bring.ts';
import { blocksOf } from '../brought/envelopes.ts';
import { recordSource } from '../brought/sources.ts';
import { type CustodyParts, day, isoTime } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { orderProof } from '../proofs.ts';
import { broughtById, updateBrought } from '../store/brought.ts';
import { recordById } from '../store/keys.ts';
import { macById } from '../store/macs.ts';
import { commandsOf, type MdmCommand, type MdmDevice } from '../store/mdm.ts';
import { askDevice, endCommand } from './commands.ts';
import { noteSaid, type Standing, standingOf } from './device.ts';
import type { Because } from './fates.ts';

/** The answer to RotateFileVaultKey: macOS has replaced the key. From here on the old one is dead, and the new one is in this answer or in the next SecurityInfo. */
export interface RotationSaid {
  device: MdmDevice;
  source: 'nanomdm' | 'micromdm';
  /** Null where it was not we who asked. */
  command: MdmCommand | null;
  commandUuid: string;
  /** By the MDM's clock. */
  saidAt: number;
  answer: 'no-key' | 'unreadable' | RecoveryKey;
  canAsk: boolean;
}

const notReturned = (uuid: string): string => `command ${uuid}`;
/** Why a SecurityInfo is asked for: its answer is the second witness of what the MDM did. */
export const confirms = 'to confirm what RotateFileVaultKey did';

export async function takeRotation(parts: CustodyParts, tx: Tx, at: number, said: RotationSaid): Promise<Because> {
  const { device, command, answer, commandUuid } = said;
  const standing = await standingOf(tx, device);
  const macId = standing.mac?.id ?? null;
  if (command?.state === 'done') return 'answered-before';
  if (said.canAsk) await askDevice(tx, at, device, 'security-info', { because: confirms, actor: 'server' });
  if (!command) {
    // Somebody else's command, or one of ours that a restore has forgotten: nobody here can open what it brought.
    await audit(tx, { at, actor: said.source, act: 'mdm.rotated-by-others', macId, details: { deviceId: device.id, serial: standing.serial, commandUuid } });
    await raise(parts, tx, at, macId, 'MDM_ROTATED_BY_OTHERS', `${standing.serial ?? device.id}, command ${commandUuid}`);
    return 'rotated-by-others';
  }
  if (answer === 'no-key' || answer === 'unreadable') {
    const error = answer === 'no-key' ? 'the answer has no key in it' : 'the key in the answer does not open';
    await endCommand(tx, at, command, answer === 'no-key' ? 'done' : 'failed', error);
    await raise(parts, tx, at, macId, 'MDM_KEY_NOT_RETURNED', notReturned(command.uuid));
    const old = command.record_id === null ? undefined : await recordById(tx, command.record_id);
    if (old?.state === 'held') await orderProof(parts, tx, at, old, 'the MDM may have replaced it');
    return answer === 'no-key' ? 'no-key-returned' : 'unreadable';
  }
  const stored = await storeKey(parts, tx, at, said, command, standing, answer);
  await setOldAside(tx, at, command);
  await endCommand(tx, at, command, 'done', null);
  await noteSaid(tx, device, { confirm: { commandUuid, at: said.saidAt } });
  await audit(tx, {
    at,
    actor: said.source,
    act: 'mdm.key-replaced',
    macId,
    details: { commandUuid, deviceId: device.id, serial: standing.serial, ...stored, was: command.record_id ?? command.brought_id },
  });
  return 'key-replaced';
}

/**
 * Whose key it is, the command says, and not what the device says of itself by now: macOS has taken that Mac's present key to
 * make this one.
 */
async function storeKey(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  said: RotationSaid,
  command: MdmCommand,
  standing: Standing,
  key: RecoveryKey,
): Promise<{ recordId?: string; keyId?: string | null }> {
  const old = command.record_id === null ? undefined : await recordById(tx, command.record_id);
  const brought = command.brought_id === null ? undefined : await broughtById(tx, command.brought_id);
  const serial = brought?.serial ?? standing.serial ?? '';
  const mac = old ? await macById(tx, old.mac_id) : standing.serial === serial ? standing.mac : null;
  const volume = old?.volume ?? mac?.present_volume ?? null;
  const [newest] = parts.certificates;
  if (mac && volume !== null && newest) {
    // With an agent its own proof decides which of the two keys is valid; macOS has said it once already.
    const bytes = sealKey(key, newest.der);
    const { recordId } = await acceptKey(parts, tx, at, {
      macId: mac.id,
      hardwareUuid: mac.hardware_uuid,
      volume,
      enrolmentId: null,
      envelopeId: createHash('sha256').update(bytes).digest('hex'),
      bytes,
      recipient: newest.digest,
      blocks: blocksOf(bytes),
      source: recordSource(said.source),
      rotationId: null,
      validated: 'unknown',
      madeAt: at,
      found: key,
    });
    return { recordId };
  }
  const { keyId } = await bring(parts, tx, at, { serial, key, source: said.source, trust: 'mdm', runId: null, madeAt: at, actor: said.source });
  return { keyId };
}

/** The key that the command was sent with: macOS took it to make another, and it opens nothing any more. */
async function setOldAside(tx: Tx, at: number, command: MdmCommand): Promise<void> {
  const old = command.brought_id === null ? undefined : await broughtById(tx, command.brought_id);
  if (!old || old.state === 'withdrawn') return;
  await updateBrought(tx, old.id, { state: 'refuted', state_at: at, state_because: `replaced through the MDM on ${isoTime(at)}, command ${command.uuid}` });
}

/** A key has come by SecurityInfo after all. */
export async function settleReturned(tx: Tx, at: number, device: MdmDevice): Promise<void> {
  const { mac } = await standingOf(tx, device);
  for (const command of await commandsOf(tx, device.id, 'rotate', at - 30 * day)) {
    if (command.ended_at === null || command.error === null) continue;
    await settle(tx, at, mac?.id ?? null, 'MDM_KEY_NOT_RETURNED', notReturned(command.uuid), 'the new key came by SecurityInfo');
  }
}
