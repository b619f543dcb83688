import type { RecoveryKey } from '../../protocol/recovery-key.ts';
import { audit } from '../audit.ts';
import { type CustodyParts, minute } from '../custody-parts.ts';
import type { Tx } from '../parts.ts';
import {
  commandByUuid,
  deviceById,
  eventWasTaken,
  type MdmCommand,
  type MdmDevice,
  noteEvent,
  openCommandOf,
  updateCommand,
  updateDevice,
} from '../store/mdm.ts';
import { askDevice, endCommand } from './commands.ts';
import { heard, noteSaid, saidOf, serialIn } from './device.ts';
import { type Because, type Taken, taken } from './fates.ts';
import { oneLineOf } from './nanomdm.ts';
import { dictionaryOf, type PropertyDictionary, readPropertyList, textIn } from './property-list.ts';
import { openReply } from './reply-key.ts';
import { type LookedKey, lookAtKey, takeKey } from './take-key.ts';
import { confirms, settleReturned, takeRotation } from './take-rotation.ts';
import { isSecretTopic, type WebhookEvent } from './webhook-event.ts';

export interface MdmSettings {
  server: 'nanomdm' | 'micromdm';
  /** Whether there is an API by which Macs can be asked. */
  canAsk: boolean;
  /** Whether RotateFileVaultKey may be sent. */
  canRotate: boolean;
  everyHours: number;
}

type Named = WebhookEvent & { deviceId: string };
const isNamed = (event: WebhookEvent): event is Named => event.deviceId !== null;

/** Topics of which nothing is for us, beside those of `isSecretTopic`. */
const quiet = ['mdm.DeclarativeManagement', 'mdm.GetToken'];
const ours = ['mdm.Authenticate', 'mdm.CheckOut', 'mdm.Connect'];

/** One event that is the MDM's beyond doubt. Whatever is in it was said by a Mac: it is taken as that Mac's word, and for no other. */
export async function takeEvent(parts: CustodyParts, settings: MdmSettings, event: WebhookEvent, digest: string): Promise<Taken> {
  if (await eventWasTaken(parts.store.db, digest)) return taken('seen-before');
  if (await isHeardAlready(parts, event)) return taken('heard');
  const looked = isNamed(event) && event.topic === 'mdm.Connect' && !event.ofUser ? await lookInto(parts, event) : null;
  return parts.act(async (tx, at) => {
    if (!(await noteEvent(tx, digest, at))) return taken('seen-before');
    const known = ours.includes(event.topic) || quiet.includes(event.topic) || isSecretTopic(event.topic);
    if (!known) return taken('unknown-topic');
    if (!isNamed(event)) return taken(isSecretTopic(event.topic) ? 'secret' : 'no-device');
    if (event.ofUser) return taken(isSecretTopic(event.topic) ? 'secret' : 'of-a-user');
    const device = await heard(tx, at, event, settings.server);
    if (isSecretTopic(event.topic)) return taken('secret');
    if (event.topic === 'mdm.Authenticate') return taken(await authenticate(tx, at, settings, event, device));
    if (event.topic === 'mdm.CheckOut') return taken(await checkOut(tx, at, event, device));
    return taken(looked ? await connect(parts, tx, at, settings, event, device, looked) : 'nothing-for-us');
  });
}

/** Macs come to their MDM for nothing more often than for something, and a backend of 20,000 would write of little else. */
async function isHeardAlready({ store, clock }: CustodyParts, event: WebhookEvent): Promise<boolean> {
  if (event.topic !== 'mdm.Connect' || event.status !== 'Idle' || event.deviceId === null || event.ofUser) return false;
  const device = await deviceById(store.db, event.deviceId);
  return device !== undefined && device.checked_out_at === null && clock.now() - device.last_seen_at < notedEvery;
}

function messageIn(event: WebhookEvent): PropertyDictionary | Because {
  if (event.payload === null) return 'not-base64';
  return dictionaryOf(readPropertyList(event.payload)) ?? 'not-a-property-list';
}

/** What the message says of itself has to be what the MDM says of it. */
const differs = (mine: string | null, theirs: string | null): boolean => mine !== null && theirs !== null && mine.toUpperCase() !== theirs.toUpperCase();

const notedEvery = 5 * minute;
/** Authenticate is the first of several messages, and only after them a Mac takes commands. */
const untilEnrolled = 2 * minute;

/** Webhooks overtake each other. */
const isOlder = (event: Named, than: number | undefined): boolean => than !== undefined && event.createdAt < than;

async function authenticate(tx: Tx, at: number, settings: MdmSettings, event: Named, device: MdmDevice): Promise<Because> {
  const message = messageIn(event);
  if (typeof message === 'string') return message;
  if (differs(textIn(message, 'UDID'), event.udid)) return 'another-device';
  if (isOlder(event, saidOf(device).leftAt) || isOlder(event, saidOf(device).enrolledAt)) return 'out-of-order';
  const serial = serialIn(textIn(message, 'SerialNumber'));
  await updateDevice(tx, device.id, { serial, checked_out_at: null, security_at: null });
  await noteSaid(tx, device, { enrolledAt: event.createdAt });
  await endOpen(tx, at, device, 'the Mac was enrolled anew, and the MDM empties its queue then');
  // Of one that was there before the daily question may be hours away, and whatever it said then is of before.
  if (settings.canAsk && saidOf(device).saidAt !== undefined)
    await askDevice(tx, at, { ...device, checked_out_at: null }, 'security-info', {
      because: 'the Mac was enrolled anew',
      actor: 'server',
      notBefore: at + untilEnrolled,
    });
  await audit(tx, { at, actor: device.server, act: 'mdm.enrolled', details: { deviceId: device.id, serial, was: device.serial } });
  return 'enrolled';
}

async function checkOut(tx: Tx, at: number, event: Named, device: MdmDevice): Promise<Because> {
  if (isOlder(event, saidOf(device).enrolledAt)) return 'out-of-order';
  await updateDevice(tx, device.id, { checked_out_at: at });
  await noteSaid(tx, device, { leftAt: event.createdAt });
  await endOpen(tx, at, device, 'the Mac left the MDM');
  await audit(tx, { at, actor: device.server, act: 'mdm.checked-out', details: { deviceId: device.id, serial: device.serial } });
  return 'checked-out';
}

async function endOpen(tx: Tx, at: number, device: MdmDevice, error: string): Promise<void> {
  for (const kind of ['security-info', 'device-information', 'rotate'] as const) {
    const open = await openCommandOf(tx, device.id, kind);
    if (open) await endCommand(tx, at, open, 'failed', error, open.sent_at !== null);
  }
}

/** What a `mdm.Connect` brings, before anything is written: looking into envelopes takes time. */
type Looked =
  | { kind: 'because'; because: Because }
  | { kind: 'security'; facts: Record<string, boolean | string>; key: LookedKey }
  | { kind: 'information'; serial: string | null }
  | { kind: 'rotation'; answer: 'no-key' | 'unreadable' | RecoveryKey }
  | { kind: 'nothing' };

const marks = ['SecurityInfo', 'QueryResponses', 'RotateResult'].map((name) => Buffer.from(`<key>${name}</key>`));

async function lookInto(parts: CustodyParts, event: Named): Promise<Looked> {
  const { commandUuid, payload } = event;
  if (event.status !== 'Acknowledged' || commandUuid === null) return { kind: 'nothing' };
  const command = await commandByUuid(parts.store.db, commandUuid);
  // Lists of programs are megabytes, and nobody here reads them.
  if (!command && payload && !marks.some((mark) => payload.includes(mark))) return { kind: 'because', because: 'nothing-for-us' };
  const message = messageIn(event);
  if (typeof message === 'string') return { kind: 'because', because: message };
  if (textIn(message, 'UserID') !== null) return { kind: 'because', because: 'of-a-user' };
  if (differs(textIn(message, 'UDID'), event.udid)) return { kind: 'because', because: 'another-device' };
  if (differs(textIn(message, 'CommandUUID'), commandUuid)) return { kind: 'because', because: 'another-command' };
  if (command && command.device_id !== event.deviceId) return { kind: 'because', because: 'another-device' };
  const security = dictionaryOf(message.get('SecurityInfo'));
  if (security) {
    const cms = security.get('FDE_PersonalRecoveryKeyCMS');
    return { kind: 'security', facts: factsIn(security), key: await lookAtKey(parts, event.deviceId, Buffer.isBuffer(cms) ? cms : null) };
  }
  const result = dictionaryOf(message.get('RotateResult'));
  if (result || command?.kind === 'rotate') {
    const sealed = result?.get('EncryptedNewRecoveryKey');
    if (!Buffer.isBuffer(sealed)) return { kind: 'rotation', answer: 'no-key' };
    return { kind: 'rotation', answer: (command && openReply(parts.secrets, command, sealed)) ?? 'unreadable' };
  }
  const responses = dictionaryOf(message.get('QueryResponses'));
  return responses ? { kind: 'information', serial: serialIn(textIn(responses, 'SerialNumber')) } : { kind: 'nothing' };
}

const namedFacts = [
  'FDE_Enabled',
  'FDE_HasPersonalRecoveryKey',
  'FDE_HasInstitutionalRecoveryKey',
  'IsRecoveryLockEnabled',
  'BootstrapTokenAllowedForAuthentication',
];

function factsIn(security: PropertyDictionary): Record<string, boolean | string> {
  const said: Record<string, boolean | string> = {};
  for (const name of namedFacts) {
    const value = security.get(name);
    if (typeof value === 'boolean') said[name] = value;
    else if (typeof value === 'string') said[name] = oneLineOf(value);
  }
  return said;
}

async function connect(parts: CustodyParts, tx: Tx, at: number, settings: MdmSettings, event: Named, device: MdmDevice, looked: Looked): Promise<Because> {
  const { status, commandUuid } = event;
  if (commandUuid === null || status === 'Idle') return 'heard';
  const command = await commandByUuid(tx, commandUuid);
  if (command && command.device_id !== device.id) return 'another-device';
  if (status === 'NotNow' || status === 'Error' || status === 'CommandFormatError') {
    if (!command) return 'not-our-command';
    if (command.state === 'done') return 'answered-before';
    if (status !== 'NotNow') return fail(tx, at, settings, event, device, command);
    if (command.state === 'waiting' || command.state === 'sent') await updateCommand(tx, command.uuid, { state: 'not-now' });
    return 'not-now';
  }
  if (status !== 'Acknowledged') return 'unknown-status';
  if (looked.kind === 'because') return looked.because;
  if (looked.kind === 'security') return takeSecurity(parts, tx, at, settings, event, device, command ?? null, looked);
  if (looked.kind === 'rotation') {
    const { canAsk, server: source } = settings;
    return takeRotation(parts, tx, at, {
      device,
      source,
      command: command?.kind === 'rotate' ? command : null,
      commandUuid,
      saidAt: event.createdAt,
      answer: looked.answer,
      canAsk,
    });
  }
  if (looked.kind === 'information' && looked.serial !== null) {
    if (command && command.state !== 'done') await endCommand(tx, at, command, 'done', null);
    if (device.serial === looked.serial) return 'heard';
    await updateDevice(tx, device.id, { serial: looked.serial });
    await audit(tx, { at, actor: device.server, act: 'mdm.serial-told', details: { deviceId: device.id, serial: looked.serial, was: device.serial } });
    // What came before it was known whose it is has to come again.
    if (settings.canAsk) await askDevice(tx, at, device, 'security-info', { because: 'its serial number is known now', actor: 'server' });
    return 'serial-told';
  }
  if (command && command.state !== 'done') {
    await endCommand(tx, at, command, 'failed', 'the answer has not what was asked for');
    return 'command-failed';
  }
  return 'nothing-for-us';
}

async function takeSecurity(
  parts: CustodyParts,
  tx: Tx,
  at: number,
  settings: MdmSettings,
  event: Named,
  device: MdmDevice,
  command: MdmCommand | null,
  looked: Extract<Looked, { kind: 'security' }>,
): Promise<Because> {
  const { key } = looked;
  const because = await takeKey(parts, tx, at, { device, source: settings.server, saidAt: event.createdAt, looked: key });
  if (command && command.state !== 'done') await endCommand(tx, at, command, 'done', null);
  const before = saidOf(device);
  const unreadable = because === 'unreadable' ? { unreadable: [...(before.unreadable ?? []), at].slice(-8) } : {};
  const confirmed = before.confirm && event.createdAt >= before.confirm.at ? { confirm: null } : {};
  if (!isOlder(event, before.saidAt)) {
    const about = key.kind === 'foreign' ? { envelopeId: key.envelopeId, recipient: key.recipient } : key.kind === 'ours' ? { envelopeId: key.envelopeId } : {};
    await noteSaid(tx, device, { saidAt: event.createdAt, facts: looked.facts, key: { at, answer: because, ...about }, ...unreadable, ...confirmed });
    await updateDevice(tx, device.id, { security_at: at });
  } else if (because === 'unreadable') await noteSaid(tx, device, unreadable);
  if (because === 'serial-unknown' && settings.canAsk)
    await askDevice(tx, at, device, 'device-information', { because: 'its serial number is not known', actor: 'server' });
  if (['key-waiting', 'key-offered', 'key-aside'].includes(because)) await settleReturned(tx, at, device);
  if (before.confirm) await confirm(tx, at, settings, event, device, before.confirm, because);
  return because;
}

/** An answer of before the key was replaced says nothing of it: then the Mac is asked again. */
async function confirm(
  tx: Tx,
  at: number,
  settings: MdmSettings,
  event: Named,
  device: MdmDevice,
  awaited: { commandUuid: string; at: number },
  because: Because,
): Promise<void> {
  if (event.createdAt < awaited.at) {
    if (settings.canAsk) await askDevice(tx, at, device, 'security-info', { because: confirms, actor: 'server' });
    return;
  }
  if (['same-key', 'same-envelope', 'key-known'].includes(because))
    await audit(tx, {
      at,
      actor: settings.server,
      act: 'mdm.key-confirmed',
      details: { deviceId: device.id, serial: device.serial, commandUuid: awaited.commandUuid, because },
    });
}

/** In Apple's own words, shortened, with what is known of a code beside them. */
async function fail(tx: Tx, at: number, settings: MdmSettings, event: Named, device: MdmDevice, command: MdmCommand): Promise<Because> {
  const message = messageIn(event);
  const error =
    event.status === 'CommandFormatError'
      ? 'macOS does not take the form of the command'
      : typeof message === 'string'
        ? 'an error without words'
        : errorIn(message);
  await endCommand(tx, at, command, 'failed', error);
  // Whether the key that it was sent with is the present one, nobody knows better than macOS's escrow file.
  if (command.kind === 'rotate' && settings.canAsk) await askDevice(tx, at, device, 'security-info', { because: 'RotateFileVaultKey failed', actor: 'server' });
  return 'command-failed';
}

const known: Record<string, string> = {
  'MCMDMErrorDomain 12007': 'the MDM’s profile has not the access right for it (DeviceLockAndRemovePasscode, 4)',
};
/** A chain is one or two long; what is longer was made up. */
const mostLinks = 4;

function errorIn(message: PropertyDictionary): string {
  const chain = message.get('ErrorChain');
  const links = (Array.isArray(chain) ? chain : []).slice(0, mostLinks).flatMap((one) => {
    const link = dictionaryOf(one);
    if (!link) return [];
    const code = `${oneLineOf(link.get('ErrorDomain') ?? '?')} ${oneLineOf(link.get('ErrorCode') ?? '?')}`;
    const words = oneLineOf(link.get('USEnglishDescription') ?? link.get('LocalizedDescription') ?? '');
    return [[code, words, Object.hasOwn(known, code) ? (known[code] ?? '') : ''].filter((part) => part !== '').join(': ')];
  });
  return links.length > 0 ? links.join('; ') : 'an error without words';
}
