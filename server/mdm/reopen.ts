import { Problem } from '../../protocol/problems.ts';
import { audit } from '../audit.ts';
import type { CustodyParts } from '../custody-parts.ts';
import { commandByUuid, deviceById } from '../store/mdm.ts';
import { dictionaryOf, readPropertyList } from './property-list.ts';
import { openReply } from './reply-key.ts';
import type { MdmSettings } from './take-event.ts';
import { takeRotation } from './take-rotation.ts';

/**
 * The answer to a RotateFileVaultKey that did not open is kept with the private key that it is sealed to: whatever kept it from
 * being opened, a secret of another restore or a form that this version does not know, may be mended. False: it still does not open.
 */
export async function reopen(
  parts: CustodyParts,
  { uuid, actor, reason }: { uuid: string; actor: string; reason: string },
  { canAsk }: Pick<MdmSettings, 'canAsk'>,
): Promise<boolean> {
  if (reason.trim() === '') throw new Problem('REASON_MISSING');
  const found = await commandByUuid(parts.store.db, uuid.toUpperCase());
  if (!found?.reply) throw new Problem('NOT_FOUND', `there is no answer to ${uuid} that waits to be opened`);
  const reply = Buffer.from(found.reply);
  // Where the whole message could not be read, the whole message was kept.
  const inside = dictionaryOf(dictionaryOf(readPropertyList(reply))?.get('RotateResult'))?.get('EncryptedNewRecoveryKey');
  const sealed = Buffer.isBuffer(inside) ? inside : reply;
  const answer = openReply(parts.secrets, found, sealed);
  return parts.act(async (tx, at) => {
    const [command, device] = [await commandByUuid(tx, found.uuid), await deviceById(tx, found.device_id)];
    if (!command || !device || command.state === 'done') throw new Problem('NOT_FOUND', `${uuid} was answered meanwhile`);
    const details = { commandUuid: command.uuid, deviceId: device.id, reason, opened: answer !== null };
    await audit(tx, { at, actor, act: 'mdm.answer-opened', details });
    if (!answer) return false;
    const cameAt = command.ended_at ?? at;
    const source = device.server === 'micromdm' ? 'micromdm' : 'nanomdm';
    await takeRotation(parts, tx, at, { device, source, command, commandUuid: command.uuid, saidAt: cameAt, answer, sealed, cameAt, canAsk });
    return true;
  });
}
