import { Problem } from '../../protocol/problems.ts';
import { RecoveryKey } from '../../protocol/recovery-key.ts';
import { raise } from '../alarms.ts';
import { audit } from '../audit.ts';
import { openBrought } from '../brought/disclose.ts';
import { type CustodyParts, day, hour, minute } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import { broughtById } from '../store/brought.ts';
import {
  commandByUuid,
  deviceById,
  devicesToAsk,
  dueCommands,
  forgetEvents,
  forgetQuestions,
  forgetReplyKeys,
  type MdmCommand,
  type MdmDevice,
  updateCommand,
} from '../store/mdm.ts';
import { agentReplaces, askDevice, endCommand, heldBack, keepReplyKeys, presentKey, settleOf, silentWords, tellOfSilence } from './commands.ts';
import { payloadOf, standingOf } from './device.ts';
import { deviceInformation, type Enqueued, type NanoMdm, rotateFileVaultKey, securityInfo } from './nanomdm.ts';
import { makeReplyKey } from './reply-key.ts';
import { isForTask, twoWouldFight } from './rotate-due.ts';
import type { MdmSettings } from './take-event.ts';

/** A batch, each minute: what NanoMDM and its database bear beside the Macs that it serves. */
const mostAtOnce = 50;
/** A Mac that was heard of later than this after a command has had it. */
const timeToAnswer = 5 * minute;
/** No answer for as long: the Mac is away, or the answer was lost on its way. */
const mostWait = 7 * day;
/** The Mac said NotNow and nothing else. */
const mostNotNow = 14 * day;
/** An event of the Mac within as long says that the way back is there, by which the new key has to come. */
const heardWithin = 36 * hour;
/** In a row: then somebody has to look. */
const mostNotSent = 5;
const keepQuestions = 7 * day;
/** The longest that `windowMinutes` may be, whatever it is now: a replay is known as one also after it was made longer. */
const mostWindow = day;
/** A command that went wrong here stands behind the others before it is tried again. */
const afterFailure = 10 * minute;

/** Puts what is due into NanoMDM's queue, and looks after what was put there. Another backend may do so at the same time. */
export async function sendDue(parts: CustodyParts, api: NanoMdm): Promise<{ sent: number }> {
  let sent = 0;
  for (const command of await dueCommands(parts.store.db, parts.clock.now(), mostAtOnce)) {
    const device = await deviceById(parts.store.db, command.device_id);
    if (!device) continue;
    try {
      if (command.state !== 'waiting') await lookAfter(parts, api, command, device);
      else if (await send(parts, api, command, device)) sent += 1;
    } catch (error) {
      // One that goes wrong does not keep the others waiting.
      const code = error instanceof Problem ? error.code : error instanceof Error ? error.name : 'unknown';
      parts.log.error('mdm-command', { commandUuid: command.uuid, kind: command.kind, deviceId: device.id, as: `failed: ${code}` });
      await parts.act(async (tx, at) => {
        const now = await commandByUuid(tx, command.uuid);
        if (now && now.next_at <= at) await updateCommand(tx, now.uuid, { next_at: at + afterFailure });
      });
    }
  }
  return { sent };
}

type Ready = { body: Buffer } | 'gone';

async function send(parts: CustodyParts, api: NanoMdm, command: MdmCommand, device: MdmDevice): Promise<boolean> {
  if (command.kind === 'rotate' && !(await canBeSent(parts, api, command, device))) return false;
  const ready = command.kind === 'rotate' ? await readyRotation(parts, command, device) : await readyQuestion(parts, command);
  if (typeof ready === 'string') return false;
  let answer: Enqueued;
  try {
    answer = await api.enqueue(device.id, ready.body);
  } finally {
    // It may hold a recovery key.
    ready.body.fill(0);
  }
  const { uuid, kind } = command;
  parts.log.info('mdm-command', { commandUuid: uuid, kind, deviceId: device.id, as: answer.kind });
  await parts.act(async (tx, at) => {
    const now = await commandByUuid(tx, uuid);
    // A Mac that was awake may have answered while the MDM did: then it was sent, whatever the MDM says of it.
    if (now?.state !== 'sent') return;
    if (kind === 'rotate' && (answer.kind === 'refused' || answer.kind === 'not-sent'))
      await audit(tx, { at, actor: 'server', act: 'key.not-sent-to-mdm', details: { commandUuid: uuid, deviceId: device.id, because: answer.because } });
    if (answer.kind === 'refused') await endCommand(tx, at, now, 'failed', answer.because);
    else if (answer.kind === 'not-sent') await putOff(parts, tx, at, now, device, answer.because, answer.seconds * 1000);
    else await updateCommand(tx, uuid, { error: answer.kind === 'queued' ? answer.note : answer.because });
    if (kind === 'rotate' && answer.kind !== 'not-sent') await settleOf(tx, at, 'MDM_COMMAND_NOT_SENT', now, 'it was sent');
  });
  return answer.kind === 'queued';
}

/** Nothing of it was sent: it waits as before, and after some times in a row a person hears of it. */
async function putOff(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  { uuid, kind, tries }: MdmCommand,
  device: MdmDevice,
  error: string,
  wait: number,
): Promise<void> {
  const mark = { state: 'waiting', sent_at: null, next_at: at + wait, error, reply_key: null, reply_certificate: null } as const;
  await updateCommand(tx, uuid, mark);
  if (kind !== 'rotate' || tries < mostNotSent) return;
  const { mac } = await standingOf(tx, device);
  await raise(parts, tx, at, mac?.id ?? null, 'MDM_COMMAND_NOT_SENT', silentWords({ uuid }, device));
}

/**
 * Before the key is opened and marked as sent: somebody can open it, the MDM takes our API key, and the answer has a way back.
 * Under somebody else's payload that answer alone has the new key: a command that works while the webhook does not loses it.
 */
async function canBeSent(parts: CustodyParts, api: NanoMdm, command: MdmCommand, device: MdmDevice): Promise<boolean> {
  const wait = async (error: string, milliseconds: number): Promise<false> => {
    await parts.act(async (tx, at) => {
      const now = await commandByUuid(tx, command.uuid);
      if (now?.state !== 'waiting' || now.next_at > at) return;
      const tries = now.tries + 1;
      await updateCommand(tx, now.uuid, { tries });
      await putOff(parts, tx, at, { ...now, tries }, device, error, milliseconds);
    });
    return false;
  };
  if (!parts.canOpen) return wait('this backend is sealed: nobody can open the key now', hour);
  if (device.last_seen_at <= parts.clock.now() - heardWithin) {
    await parts.act(async (tx, at) => {
      if ((await commandByUuid(tx, command.uuid))?.state !== 'waiting') return;
      await askDevice(tx, at, device, 'security-info', { because: 'before RotateFileVaultKey: whether its answers come', actor: 'server' });
      // A Mac that is switched off is no reason for an alarm.
      const error = 'nothing of this Mac has come by the webhook for a day and a half, so its new key might not come either';
      await updateCommand(tx, command.uuid, { next_at: at + hour, error });
    });
    return false;
  }
  if (api.isReached()) return true;
  const woken = await api.push(device.id);
  if (woken.kind === 'queued' || woken.kind === 'refused') return true;
  return wait(woken.because, woken.kind === 'not-sent' ? woken.seconds * 1000 : afterFailure);
}

/** It says `sent` before it is: whatever happens on the way, nothing is sent twice, and an answer finds its row. */
const markSent = (command: MdmCommand, at: number, lookAgain: number) =>
  ({ state: 'sent', sent_at: at, tries: command.tries + 1, next_at: at + lookAgain, error: null }) as const;

async function readyQuestion(parts: CustodyParts, command: MdmCommand): Promise<Ready> {
  const mine = await parts.act(async (tx, at) => {
    if ((await commandByUuid(tx, command.uuid))?.state !== 'waiting') return false;
    await updateCommand(tx, command.uuid, markSent(command, at, day));
    return true;
  });
  if (!mine) return 'gone';
  return { body: command.kind === 'security-info' ? securityInfo(command.uuid) : deviceInformation(command.uuid) };
}

/** The present key is opened after the audit that says so, and goes into the command and nowhere else. */
async function readyRotation(parts: CustodyParts, command: MdmCommand, device: MdmDevice): Promise<Ready> {
  const { uuid } = command;
  const reply = await makeReplyKey(parts.secrets, uuid, parts.clock.now());
  const chosen = await parts.act(async (tx, at) => {
    if ((await commandByUuid(tx, uuid))?.state !== 'waiting') return 'gone';
    const now = (await deviceById(tx, device.id)) ?? device;
    const standing = await standingOf(tx, now);
    const key = await presentKey(tx, now, command.named === 1 ? (command.record_id ?? command.brought_id) : command.brought_id);
    const refused = typeof key === 'string' ? key : null;
    // Whoever was shown the key since it was asked for may be typing it, and its agent may have begun by itself.
    const overridden = command.override_hold === 1 ? command.created_at : null;
    const isFight = command.actor === 'server' && standing.mac !== null && (await twoWouldFight(tx, at, standing.mac, isForTask(command)));
    const held = await heldBack(parts, tx, at, standing, typeof key === 'string' ? null : key, overridden);
    const until = held ?? (isFight ? at + hour : null);
    if (until !== null && refused === null) {
      await updateCommand(tx, uuid, { next_at: until });
      return 'gone';
    }
    const fight = agentReplaces(standing);
    if (typeof key === 'string' || fight !== null) {
      await endCommand(tx, at, command, 'failed', refused ?? fight);
      return 'gone';
    }
    const { recordId, broughtId, macId } = key;
    const sealed = { reply_certificate: reply.certificate, reply_key: reply.sealedKey, record_id: recordId, brought_id: broughtId };
    const escrowPayload = payloadOf(now, standing.mac);
    await updateCommand(tx, uuid, { ...markSent(command, at, hour), ...sealed, escrow_payload: escrowPayload });
    const details = { commandUuid: uuid, deviceId: device.id, serial: standing.serial, recordId, keyId: broughtId, because: command.because, escrowPayload };
    await audit(tx, { at, actor: command.actor, act: 'key.sent-to-mdm', macId, details });
    return key;
  });
  if (chosen === 'gone') return 'gone';
  const opened = chosen.recordId !== null ? await parts.openRecord(chosen.recordId) : await openOld(parts, chosen.broughtId ?? '');
  if (opened instanceof RecoveryKey) return { body: rotateFileVaultKey(uuid, opened, reply.certificate) };
  await parts.act(async (tx, at) => {
    await audit(tx, { at, actor: 'server', act: 'key.not-sent-to-mdm', details: { commandUuid: uuid, deviceId: device.id, because: opened } });
    const now = await commandByUuid(tx, uuid);
    if (now?.state !== 'sent') return;
    if (opened === 'no-opener') await putOff(parts, tx, at, now, device, 'nobody can open the key now', hour);
    else await endCommand(tx, at, command, 'failed', `the key that is here cannot be opened (${opened})`);
  });
  return 'gone';
}

async function openOld(parts: CustodyParts, id: string): ReturnType<typeof openBrought> {
  const row = await broughtById(parts.store.db, id);
  return row ? openBrought(parts, row, row.mac_id) : 'unreadable';
}

/** Sent, and no answer yet. Nothing is put into the queue a second time: the MDM keeps what it has until the Mac fetches it. */
async function lookAfter(parts: CustodyParts, api: NanoMdm, found: MdmCommand, { id }: MdmDevice): Promise<void> {
  const wake = await parts.act(async (tx, at) => {
    // It may have been answered since it was found, or another backend looks after it.
    const [command, device] = [await commandByUuid(tx, found.uuid), await deviceById(tx, id)];
    if (!command || !device || command.next_at > at || (command.state !== 'sent' && command.state !== 'not-now')) return false;
    const sentAt = command.sent_at ?? command.created_at;
    const isRotation = command.kind === 'rotate';
    const wasHeard = device.last_seen_at > sentAt + timeToAnswer;
    const isOver = at - sentAt > (command.state === 'not-now' ? mostNotNow : mostWait);
    if (isOver || (wasHeard && !isRotation && command.state === 'sent')) {
      const error = !isOver
        ? 'the Mac was heard of, and its answer did not come'
        : command.state === 'not-now'
          ? 'the Mac said NotNow for 14 days'
          : 'no answer in 7 days';
      // It lies in the MDM's queue and may still be carried out, and under somebody else's payload only its answer has the new key.
      await endCommand(tx, at, command, 'failed', error, sentAt + keepReplyKeys);
      if (isRotation) await tellOfSilence(parts, tx, at, command, device);
      else if (!isOver)
        await askDevice(tx, at, device, command.kind === 'device-information' ? command.kind : 'security-info', {
          because: 'an answer was lost',
          actor: 'server',
          notBefore: at + hour,
        });
      return false;
    }
    // Webhooks are sent once. What a lost answer would have told, macOS's escrow file tells too.
    if (isRotation && wasHeard && command.state === 'sent')
      await askDevice(tx, at, device, 'security-info', { because: 'no answer to RotateFileVaultKey', actor: 'server' });
    await updateCommand(tx, command.uuid, { next_at: at + day });
    return true;
  });
  if (!wake) return;
  const answer = await api.push(id);
  parts.log.info('mdm-command', { commandUuid: found.uuid, kind: found.kind, deviceId: id, as: `woken: ${answer.kind}` });
}

/** What comes round: questions of the day. */
export async function sweepMdm(parts: CustodyParts, settings: MdmSettings): Promise<void> {
  await parts.act(async (tx, at) => {
    await forgetEvents(tx, at - 2 * mostWindow - hour);
    if (!settings.canAsk) return;
    for (const device of await devicesToAsk(tx, at - settings.everyHours * hour, mostAtOnce)) {
      await askDevice(tx, at, device, 'security-info', { because: 'its time has come', actor: 'server' });
      if (device.serial === null) await askDevice(tx, at, device, 'device-information', { because: 'its serial number is not known', actor: 'server' });
    }
  });
}

/** Answers of long ago, and the keys of replies that nobody waits for any more. */
export const forgetOld = (parts: CustodyParts): Promise<void> =>
  parts.act(async (tx, at) => {
    await forgetReplyKeys(tx, at, at - keepReplyKeys);
    await forgetQuestions(tx, at - keepQuestions);
  });
