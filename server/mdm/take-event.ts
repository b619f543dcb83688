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
import { askDevice, endCommand, keepReplyKeys, tellOfSilence } from './commands.ts';
import { heard, noteSaid, ownAnew, saidOf, serialIn, tellSerial } from './device.ts';
import { type Because, type Taken, taken } from './fates.ts';
import { oneLineOf } from './nanomdm.ts';
import { dictionaryOf, type PropertyDictionary, readPropertyList, textIn } from './property-list.ts';
import { openReply } from './reply-key.ts';
import { lookAtKey } from './take-key.ts';
import { type RotationSaid, takeRotation } from './take-rotation.ts';
import { type SecuritySaid, takeSecurity } from './take-security.ts';
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
    if (event.topic === 'mdm.Authenticate') return taken(await authenticate(parts, tx, at, settings, event, device));
    if (event.topic === 'mdm.CheckOut') return taken(await checkOut(parts, tx, at, event, device));
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

async function authenticate(parts: CustodyParts, tx: Tx, at: number, settings: MdmSettings, event: Named, device: MdmDevice): Promise<Because> {
  const message = messageIn(event);
  if (typeof message === 'string') return message;
  if (differs(textIn(message, 'UDID'), event.udid)) return 'another-device';
  if (isOlder(event, saidOf(device).leftAt) || isOlder(event, saidOf(device).enrolledAt)) return 'out-of-order';
  const serial = serialIn(textIn(message, 'SerialNumber'));
  await updateDevice(tx, device.id, { checked_out_at: null, security_at: null });
  // One that names none now is still the one that it said before: so it cannot come by another in two steps.
  const told = serial === null ? device : await tellSerial(parts, tx, at, device, serial);
  // Its names are all that whoever enrols has to know.
  await noteSaid(tx, told, { enrolledAt: event.createdAt, ...ownAnew(told) });
  await endOpen(parts, tx, at, device, 'the Mac was enrolled anew, and the MDM empties its queue then');
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

async function checkOut(parts: CustodyParts, tx: Tx, at: number, event: Named, device: MdmDevice): Promise<Because> {
  if (isOlder(event, saidOf(device).enrolledAt)) return 'out-of-order';
  await updateDevice(tx, device.id, { checked_out_at: at });
  await noteSaid(tx, device, { leftAt: event.createdAt });
  await endOpen(parts, tx, at, device, 'the Mac left the MDM');
  await audit(tx, { at, actor: device.server, act: 'mdm.checked-out', details: { deviceId: device.id, serial: device.serial } });
  return 'checked-out';
}

/** A RotateFileVaultKey that was on its way may have been carried out, and its answer may come behind or be lost: nobody knows which key is valid. */
async function endOpen(parts: CustodyParts, tx: Tx, at: number, device: MdmDevice, error: string): Promise<void> {
  for (const kind of ['security-info', 'device-information', 'rotate'] as const) {
    const open = await openCommandOf(tx, device.id, kind);
    if (!open) continue;
    const wasSent = kind === 'rotate' && open.sent_at !== null;
    await endCommand(tx, at, open, 'failed', error, wasSent ? (open.sent_at ?? at) + keepReplyKeys : null);
    if (wasSent) await tellOfSilence(parts, tx, at, open, device);
  }
}

/** What a `mdm.Connect` brings, before anything is written: looking into envelopes takes time. */
type Looked =
  | { kind: 'because'; because: Because }
  | ({ kind: 'security' } & SecuritySaid)
  | { kind: 'information'; serial: string | null }
  | { kind: 'rotation'; answer: RotationSaid['answer']; sealed: Buffer | null }
  | { kind: 'nothing' };

/** Of an answer that is kept as it came. A key and its certificate have some 3 KB. */
const mostKept = 256 * 1024;
const marks = ['SecurityInfo', 'QueryResponses', 'RotateResult'].map((name) => Buffer.from(`<key>${name}</key>`));

async function lookInto(parts: CustodyParts, event: Named): Promise<Looked> {
  const { commandUuid, payload } = event;
  if (event.status !== 'Acknowledged' || commandUuid === null) return { kind: 'nothing' };
  const command = await commandByUuid(parts.store.db, commandUuid);
  // Lists of programs are megabytes, and nobody here reads them.
  if (!command && payload && !marks.some((mark) => payload.includes(mark))) return { kind: 'because', because: 'nothing-for-us' };
  const message = messageIn(event);
  if (typeof message === 'string') {
    // macOS has carried out our command: in what cannot be read lies the new key, and nobody else has it.
    if (command?.kind === 'rotate') return { kind: 'rotation', answer: 'unparsed', sealed: payload && payload.length <= mostKept ? payload : null };
    return { kind: 'because', because: message };
  }
  if (textIn(message, 'UserID') !== null) return { kind: 'because', because: 'of-a-user' };
  if (differs(textIn(message, 'UDID'), event.udid)) return { kind: 'because', because: 'another-device' };
  if (differs(textIn(message, 'CommandUUID'), commandUuid)) return { kind: 'because', because: 'another-command' };
  if (command && command.device_id !== event.deviceId) return { kind: 'because', because: 'another-device' };
  // What answers a command of ours has to be of its kind: whatever else the message holds was not asked for.
  const fits = (kind: MdmCommand['kind']): boolean => command === undefined || command.kind === kind;
  const security = fits('security-info') ? dictionaryOf(message.get('SecurityInfo')) : null;
  if (security) {
    const cms = security.get('FDE_PersonalRecoveryKeyCMS');
    return { kind: 'security', facts: factsIn(security), key: await lookAtKey(parts, event.deviceId, Buffer.isBuffer(cms) ? cms : null) };
  }
  const result = fits('rotate') ? dictionaryOf(message.get('RotateResult')) : null;
  if (result || command?.kind === 'rotate') {
    const sealed = result?.get('EncryptedNewRecoveryKey');
    if (!Buffer.isBuffer(sealed)) return { kind: 'rotation', answer: 'no-key', sealed: null };
    return { kind: 'rotation', answer: (command && openReply(parts.secrets, command, sealed)) ?? 'unreadable', sealed };
  }
  // A Mac's word about its serial number counts where it was asked for it: what others asked is no business of ours.
  const responses = command?.kind === 'device-information' ? dictionaryOf(message.get('QueryResponses')) : null;
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
    // One whose sealed answer waits to be opened has carried it out: what it says of a second time is of no weight.
    if (command.state === 'done' || command.reply !== null) return 'answered-before';
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
      sealed: looked.sealed,
      canAsk,
    });
  }
  if (looked.kind === 'information' && looked.serial !== null) {
    if (command && command.state !== 'done') await endCommand(tx, at, command, 'done', null);
    if (device.serial === looked.serial) return 'heard';
    await tellSerial(parts, tx, at, device, looked.serial);
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

/** In Apple's own words, shortened, with what is known of a code beside them. */
async function fail(tx: Tx, at: number, settings: MdmSettings, event: Named, device: MdmDevice, command: MdmCommand): Promise<Because> {
  const message = messageIn(event);
  const error =
    event.status === 'CommandFormatError'
      ? 'macOS does not take the form of the command'
      : typeof message === 'string'
        ? 'an error without words'
        : errorIn(message);
  // An event may overtake another: the answer of the time before, in which macOS did replace the key, may be on its way.
  const keep = command.kind === 'rotate' && command.sent_at !== null ? command.sent_at + keepReplyKeys : null;
  await endCommand(tx, at, command, 'failed', error, keep);
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
