import { Problem } from '../../protocol/problems.ts';
import { RecoveryKey } from '../../protocol/recovery-key.ts';
import { raise } from '../alarms.ts';
import { audit } from '../audit.ts';
import { openBrought } from '../brought/disclose.ts';
import { type CustodyParts, day, hour, minute } from '../custody-parts.ts';
import { broughtById } from '../store/brought.ts';
import {
  commandByUuid,
  commandsOf,
  deviceById,
  devicesToAsk,
  devicesWithSerial,
  dueCommands,
  forgetEvents,
  forgetQuestions,
  forgetReplyKeys,
  type MdmCommand,
  type MdmDevice,
  macsThatRefuse,
  updateCommand,
} from '../store/mdm.ts';
import { openTasks } from '../store/tasks.ts';
import { askDevice, endCommand, heldBack, presentKey, requestRotation } from './commands.ts';
import { standingOf } from './device.ts';
import { deviceInformation, type Enqueued, type NanoMdm, rotateFileVaultKey, securityInfo } from './nanomdm.ts';
import { makeReplyKey } from './reply-key.ts';
import type { MdmSettings } from './take-event.ts';

/** A batch, each minute: what NanoMDM and its database bear beside the Macs that it serves. */
const mostAtOnce = 50;
/** A Mac that was heard of later than this after a command has had it. */
const timeToAnswer = 5 * minute;
/** No answer for as long: the Mac is away, or the answer was lost on its way. */
const mostWait = 7 * day;
/** The Mac said NotNow and nothing else. */
const mostNotNow = 14 * day;
/** The MDM delivers a command whenever the Mac comes back: its answer can be opened for as long. */
const keepReplyKeys = 90 * day;
const keepQuestions = 7 * day;
/** For one key that was shown, by ourselves: then it is a person's task. */
const mostTries = 2;

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
    }
  }
  return { sent };
}

type Ready = { body: Buffer } | 'gone';

async function send(parts: CustodyParts, api: NanoMdm, command: MdmCommand, device: MdmDevice): Promise<boolean> {
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
    if (kind === 'rotate' && (answer.kind === 'refused' || answer.kind === 'not-sent'))
      await audit(tx, { at, actor: 'server', act: 'key.not-sent-to-mdm', details: { commandUuid: uuid, deviceId: device.id, because: answer.because } });
    if (answer.kind === 'refused') await endCommand(tx, at, command, 'failed', answer.because);
    else if (answer.kind === 'not-sent')
      await updateCommand(tx, uuid, {
        state: 'waiting',
        sent_at: null,
        next_at: at + answer.seconds * 1000,
        error: answer.because,
        reply_key: null,
        reply_certificate: null,
      });
    else await updateCommand(tx, uuid, { error: answer.kind === 'queued' ? answer.note : answer.because });
  });
  return answer.kind === 'queued';
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
    // Whoever was shown the key since it was asked for may be typing it.
    const until = await heldBack(parts, tx, at, device, command.override_hold === 1 ? command.created_at : null);
    if (until !== null) {
      await updateCommand(tx, uuid, { next_at: until });
      return 'gone';
    }
    const key = await presentKey(tx, device);
    if (typeof key === 'string') {
      await endCommand(tx, at, command, 'failed', key);
      return 'gone';
    }
    const { recordId, broughtId, macId } = key;
    const sealed = { reply_certificate: reply.certificate, reply_key: reply.sealedKey, record_id: recordId, brought_id: broughtId };
    await updateCommand(tx, uuid, { ...markSent(command, at, hour), ...sealed });
    const details = { commandUuid: uuid, deviceId: device.id, serial: device.serial, recordId, keyId: broughtId, because: command.because };
    await audit(tx, { at, actor: command.actor, act: 'key.sent-to-mdm', macId, details });
    return key;
  });
  if (chosen === 'gone') return 'gone';
  const opened = chosen.recordId !== null ? await parts.openRecord(chosen.recordId) : await openOld(parts, chosen.broughtId ?? '');
  if (opened instanceof RecoveryKey) return { body: rotateFileVaultKey(uuid, opened, reply.certificate) };
  await parts.act(async (tx, at) => {
    await audit(tx, { at, actor: 'server', act: 'key.not-sent-to-mdm', details: { commandUuid: uuid, deviceId: device.id, because: opened } });
    if (opened === 'no-opener')
      await updateCommand(tx, uuid, {
        state: 'waiting',
        sent_at: null,
        next_at: at + hour,
        error: 'nobody can open the key now',
        reply_key: null,
        reply_certificate: null,
      });
    else await endCommand(tx, at, command, 'failed', `the key that is here cannot be opened (${opened})`);
  });
  return 'gone';
}

async function openOld(parts: CustodyParts, id: string): ReturnType<typeof openBrought> {
  const row = await broughtById(parts.store.db, id);
  return row ? openBrought(parts, row, row.mac_id) : 'unreadable';
}

/** Sent, and no answer yet. Nothing is put into the queue a second time: the MDM keeps what it has until the Mac fetches it. */
async function lookAfter(parts: CustodyParts, api: NanoMdm, command: MdmCommand, device: MdmDevice): Promise<void> {
  const sentAt = command.sent_at ?? command.created_at;
  const isRotation = command.kind === 'rotate';
  const wake = await parts.act(async (tx, at) => {
    const wasHeard = device.last_seen_at > sentAt + timeToAnswer;
    const isOver = at - sentAt > (command.state === 'not-now' ? mostNotNow : mostWait);
    if (isOver || (wasHeard && !isRotation && command.state === 'sent')) {
      const error = !isOver
        ? 'the Mac was heard of, and its answer did not come'
        : command.state === 'not-now'
          ? 'the Mac said NotNow for 14 days'
          : 'no answer in 7 days';
      // It may still be carried out: then its answer is opened.
      await endCommand(tx, at, command, 'failed', error, true);
      if (isRotation)
        await raise(
          parts,
          tx,
          at,
          (await standingOf(tx, device)).mac?.id ?? null,
          'MDM_COMMAND_SILENT',
          `command ${command.uuid} for ${device.serial ?? device.id}`,
        );
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
  const answer = await api.push(device.id);
  parts.log.info('mdm-command', { commandUuid: command.uuid, kind: command.kind, deviceId: device.id, as: `woken: ${answer.kind}` });
}

/** What comes round: questions of the day. */
export async function sweepMdm(parts: CustodyParts, settings: MdmSettings & { windowMinutes: number }): Promise<void> {
  await parts.act(async (tx, at) => {
    await forgetEvents(tx, at - 2 * settings.windowMinutes * minute - hour);
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
    await forgetReplyKeys(tx, at - keepReplyKeys);
    await forgetQuestions(tx, at - keepQuestions);
  });

/** Keys that are owed a replacement which only the MDM can do. */
export async function rotateDue(parts: CustodyParts, settings: MdmSettings): Promise<void> {
  if (!settings.canAsk || !settings.canRotate) return;
  for (const task of await openTasks(parts.store.db)) await tryRotation(parts, task.serial, task.opened_at, `task ${task.id}: ${task.because}`);
  for (const mac of await macsThatRefuse(parts.store.db, mostAtOnce))
    await tryRotation(parts, mac.serial, parts.clock.now() - 30 * day, 'its build of macOS refuses the key, so its agent cannot replace it');
}

async function tryRotation(parts: CustodyParts, serial: string, since: number, reason: string): Promise<void> {
  await parts.act(async (tx, at) => {
    const [device, ...more] = await devicesWithSerial(tx, serial);
    if (!device || more.length > 0) return;
    const tried = await commandsOf(tx, device.id, 'rotate', since);
    if (tried.length >= mostTries || tried.some(({ state, created_at: created }) => !['failed', 'done'].includes(state) || at - created < day)) return;
    try {
      await requestRotation(parts, tx, at, device, { actor: 'server', reason });
    } catch (error) {
      // Why not is said where somebody asks for it; the task stays.
      if (!(error instanceof Problem) || error.code !== 'MDM_ROTATION_REFUSED') throw error;
    }
  });
}
