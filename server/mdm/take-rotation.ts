import { createHash } from 'node:crypto';
import { sealKey } from '../../protocol/envelope.ts';
import type { RecoveryKey } from '../../protocol/recovery-key.ts';
import { acceptKey } from '../accept-key.ts';
import { raise } from '../alarms.ts';
import { audit } from '../audit.ts';
import { bring } from '../brought/bring.ts';
import { blocksOf } from '../brought/envelopes.ts';
import { isKnownMac } from '../brought/serial.ts';
import { recordSource } from '../brought/sources.ts';
import { type CustodyParts, day, isoTime } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { orderProof } from '../proofs.ts';
import { broughtById, updateBrought } from '../store/brought.ts';
import { recordById } from '../store/keys.ts';
import { macById } from '../store/macs.ts';
import { commandsOf, type MdmCommand, type MdmDevice, updateCommand } from '../store/mdm.ts';
import { askDevice, endCommand, keepReplyKeys, settleOf } from './commands.ts';
import { noteSaid, ownWith, payloadOf, type Standing, standingOf } from './device.ts';
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
  /** `unparsed`: the message is no property list. */
  answer: 'no-key' | 'unreadable' | 'unparsed' | RecoveryKey;
  /** As it came: the key, or all of a message that could not be read; null where there is none. */
  sealed: Buffer | null;
  /** By the server's clock, where it came before now. */
  cameAt?: number;
  canAsk: boolean;
}

const wordsOf = {
  'no-key': 'the answer has no key in it',
  unreadable: 'the key in the answer does not open',
  unparsed: 'the answer cannot be read: it is no property list',
} as const;
const notReturned = (uuid: string): string => `command ${uuid}`;
/** Why a SecurityInfo is asked for: its answer is the second witness of what the MDM did. */
export const confirms = 'to confirm what RotateFileVaultKey did';

export async function takeRotation(parts: CustodyParts, tx: Tx, at: number, said: RotationSaid): Promise<Because> {
  const { device, command, answer, commandUuid } = said;
  const standing = await standingOf(tx, device);
  const macId = standing.mac?.id ?? null;
  if (command?.state === 'done' || (command?.reply && (answer === 'no-key' || answer === 'unparsed'))) return 'answered-before';
  if (said.canAsk) await askDevice(tx, at, device, 'security-info', { because: confirms, actor: 'server' });
  if (!command) {
    // Somebody else's command, or one of ours that a restore has forgotten: nobody here can open what it brought.
    await audit(tx, {
      at,
      actor: said.source,
      act: 'mdm.rotated-by-others',
      macId,
      details: { deviceId: device.id, serial: standing.serial, commandUuid, escrowPayload: payloadOf(device, standing.mac) },
    });
    await raise(parts, tx, at, macId, 'MDM_ROTATED_BY_OTHERS', `${standing.serial ?? device.id}, command ${commandUuid}`);
    return 'rotated-by-others';
  }
  // It was given up, and has come after all.
  await settleOf(tx, at, 'MDM_COMMAND_SILENT', command, 'its answer came');
  const escrowPayload = payloadOf(device, standing.mac);
  await updateCommand(tx, command.uuid, { escrow_payload: escrowPayload });
  if (answer === 'no-key' || answer === 'unreadable' || answer === 'unparsed') {
    const error = wordsOf[answer];
    // Under somebody else's payload nothing else has this key: what opens it may be mended, or a later version.
    const isKept = answer !== 'no-key' && command.reply_key !== null;
    await endCommand(tx, at, command, answer === 'no-key' ? 'done' : 'failed', error, isKept ? at + keepReplyKeys : null);
    if (isKept) await updateCommand(tx, command.uuid, { reply: said.sealed });
    await raise(parts, tx, at, macId, 'MDM_KEY_NOT_RETURNED', notReturned(command.uuid));
    const old = command.record_id === null ? undefined : await recordById(tx, command.record_id);
    if (old?.state === 'held') await orderProof(parts, tx, at, old, 'the MDM may have replaced it');
    return answer === 'no-key' ? 'no-key-returned' : 'unreadable';
  }
  const stored = await storeKey(parts, tx, at, said, command, standing, answer);
  await setOldAside(tx, at, command);
  await endCommand(tx, at, command, 'done', null);
  await settleOf(tx, at, 'MDM_KEY_NOT_RETURNED', command, 'the new key is here');
  const is = answer.fingerprint(parts.secrets.fingerprint);
  // What it has made is its own, and it has what it was sent.
  await noteSaid(tx, device, { confirm: { commandUuid, at: said.saidAt, is, was: await keySentWith(tx, command) }, own: ownWith(device, is) });
  await audit(tx, {
    at,
    actor: said.source,
    act: 'mdm.key-replaced',
    macId,
    details: { commandUuid, deviceId: device.id, serial: standing.serial, ...stored, was: command.record_id ?? command.brought_id, escrowPayload },
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
  const mac = old ? await macById(tx, old.mac_id) : standing.serial === serial && standing.mac && (await isKnownMac(tx, standing.mac)) ? standing.mac : null;
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
      madeAt: said.cameAt ?? at,
      found: key,
    });
    return { recordId };
  }
  const { keyId } = await bring(parts, tx, at, {
    serial,
    key,
    source: said.source,
    trust: 'mdm',
    runId: null,
    madeAt: said.cameAt ?? at,
    actor: said.source,
    ours: true,
  });
  return { keyId };
}

/** The key that the command was sent with: macOS took it to make another, and it opens nothing any more. */
async function setOldAside(tx: Tx, at: number, command: MdmCommand): Promise<void> {
  const old = command.brought_id === null ? undefined : await broughtById(tx, command.brought_id);
  if (!old || old.state === 'withdrawn') return;
  await updateBrought(tx, old.id, { state: 'refuted', state_at: at, state_because: `replaced through the MDM on ${isoTime(at)}, command ${command.uuid}` });
}

/** The fingerprint of the key that it was sent with. */
const keySentWith = async (tx: Tx, { record_id: recordId, brought_id: broughtId }: MdmCommand): Promise<string | null> =>
  (recordId !== null ? (await recordById(tx, recordId))?.fingerprint : broughtId !== null ? (await broughtById(tx, broughtId))?.fingerprint : null) ?? null;

/** A key has come by SecurityInfo after all: another than the one that was replaced. */
export async function settleReturned(tx: Tx, at: number, device: MdmDevice, fingerprint: string | null): Promise<void> {
  for (const command of await commandsOf(tx, device.id, 'rotate', at - 30 * day)) {
    if (command.ended_at === null || command.error === null || fingerprint === null || fingerprint === (await keySentWith(tx, command))) continue;
    await settleOf(tx, at, 'MDM_KEY_NOT_RETURNED', command, 'the new key came by SecurityInfo');
  }
}
