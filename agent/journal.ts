import type { DeliverySource, RotationReason, Validation } from '../protocol/messages.ts';
import { Problem } from '../protocol/problems.ts';
import type { JournalIdentity } from './identity.ts';
import { isJournal } from './journal-form.ts';
import { freshPace, type Pace } from './pace.ts';
import { paths } from './paths.ts';
import type { Disk } from './world.ts';

/*
 * The one file that survives a crash. Root-only, written whole: temp, fsync, rename, fsync of the folder.
 * It holds ids, digests and sealed envelopes, never a key. It belongs to one machine and one volume; on any other it is
 * set aside. A version that this agent does not know is never written over.
 */

export const journalVersion = 1;
const mostBytes = 256 * 1024;
export const mostOutbox = 8;

/** A sealed key, as it can be delivered at any time. */
export interface Kept {
  envelopeId: string;
  /** base64 */
  envelope: string;
  source: DeliverySource;
  volume: string;
  /** ISO 8601; the Mac's own clock, so a claim. */
  madeAt: string;
  validated: Validation;
  rotationId: string | null;
  /** When macOS said `true`: an answer counts for the moment at which it was given. */
  answered?: Moment;
  /** The server's record, once there is a receipt. */
  recordId: string | null;
  /** `held` in a receipt. A later key that has it and answered `true` is what lets an older envelope go. */
  held: boolean;
}

/** A moment of one boot session: no clock of the Mac is involved. */
export interface Moment {
  boot: string;
  uptimeSeconds: number;
}

export interface JournalRotation {
  id: string;
  because: RotationReason;
  state: 'intended' | 'changing' | 'sealed' | 'unresolved';
  /** The boot session it began in. */
  boot: string;
  authorizedBy: 'keychain' | 'grant' | 'password';
  /** The keychain item of the old key, where that authorized it. */
  oldItem: string | null;
  /** The server's record of the old key. */
  oldRecordId: string | null;
  /** The enrolment that began it: no other is given keys to resolve it. Null where that is not known. */
  enrolmentId: string | null;
  outputFile: string;
  /** Digest of macOS's escrow file before the change, or null where there was none. */
  escrowIdBefore: string | null;
  /** Uptime at which the change was begun, in the boot session `boot`. */
  changingUptime: number | null;
  /** The first `false` of each key that was asked about while this was resolved, by the key's name in resolve.ts. */
  looks: Record<string, Look>;
  /** R4, R5: the refused new key is at the server; it is sealed for that once. */
  refusedIsDelivered?: true;
  /** Keys that answered `false` twice, in two runs at least ten minutes apart, both in a settled session (K8). */
  refuted: string[];
}

/** One `false`, and when, by the server's time as the agent reckons it. `unsure`: reckoned in a boot session in which no server has answered yet. */
export interface Look {
  at: number;
  runId: string;
  unsure?: true;
}

/** A key that macOS refused while no rotation was open: a record of the server, or an item of the keychain. */
interface Doubt {
  recordId: string;
  first: Look;
  refuted: boolean;
}

export interface JournalDebt {
  id: string;
  because: RotationReason;
  /** The envelope of the key that it is owed for, where known. */
  envelopeId: string | null;
  boot: string;
  confirmed: boolean;
  /** Why, in the words of whoever asked on this Mac; `ordered` only. */
  reason?: string;
}

interface JournalProof {
  id: string;
  envelopeId: string;
  orderId: string | null;
  answer: Validation;
  settled: boolean;
  boot: string;
  uptimeSeconds: number;
}

export interface Journal {
  version: number;
  hardwareUuid: string;
  serial: string;
  volumeGroup: string;
  /** The newest key that has a receipt. */
  current: Kept | null;
  /** Older ones, newest first, until `current` is held and proved: then one stays. */
  previous: Kept[];
  /** Sealed keys without a receipt. */
  outbox: Kept[];
  rotation: JournalRotation | null;
  debts: JournalDebt[];
  /** Wrong or likely wrong keys that were tried, by reckoned server time (gate 3). */
  refusals: { id: string; at: number; settled: boolean; unsure?: true }[];
  /** Records of the server that macOS refused (R13): what is refuted authorizes nothing, and is not tried again. */
  doubts: Doubt[];
  /** The keychain item of the valid key, and one of that key's envelopes. Null where this Mac keeps none. */
  keptItem: { account: string; envelopeId: string } | null;
  session: { boot: string; firstRunUptime: number; usedSeen: boolean; usedChanged: boolean; user: { name: string; since: number } | null } | null;
  identity: JournalIdentity | null;
  proofs: JournalProof[];
  endings: { rotationId: string; as: 'not-changed' | 'not-known' | 'exhausted'; detail: string }[];
  /** Whether the key itself authorizes its change on this build of macOS. */
  capability: { build: string; state: 'unknown' | 'works' | 'refused' } | null;
  /** The last `true`: for which build, and when by reckoned server time. */
  lastProof: { build: string; at: number } | null;
  /** The build for which the backend gives this Mac no key to prove: then the old key's own answer in the rotation has to do. */
  proofRefusedFor: string | null;
  /** The server's time as last heard, and the uptime at which it was. */
  clock: { serverTime: number; boot: string; uptime: number } | null;
  /** The escrow file as last read, so that an unchanged one is not read twice. */
  escrowSeen: { size: number; modifiedMs: number; digest: string; recipient: string | null; ours: boolean } | null;
  /** Our own rotation will change the escrow file once; that change is nobody else's. */
  ownEscrowChangeDue: boolean;
  /** Foreign escrow files that were reported, by digest. */
  foreignReported: string[];
  /** Changes of the key by somebody else, by reckoned server time (C2). */
  foreignChanges: number[];
  /** The escrow file of a change that was counted when its key was refused, by digest; before it has come, `awaited`. */
  refusalFile: string | null;
  /** Who was found on the disk after the last of them. */
  suspects: { after: number; names: string[] } | null;
  /** The escrow payload as last seen, and since when it is this one, by the server's time; null: from the first. */
  payload: { seen: string; since: number | null } | null;
  /** The server's time at the first answer without managed settings. */
  unmanagedSince: number | null;
  /** How often the key was changed, what failed, and whether a proof comes first. */
  pace: Pace;
  /** A rotation that ended without anybody knowing which key is valid: told as unresolved until macOS says `true` to one. */
  notKnown: { id: string; because: RotationReason } | null;
  /** R9: nothing that anybody has opens this Mac. */
  exhausted: boolean;
  /** When the profile's certificate was last compared with the one that proved the enrolment; the Mac's clock, milliseconds. */
  profileLookedAt: number;
}

export const freshJournal = (machine: { hardwareUuid: string; serial: string }, volumeGroup: string): Journal => ({
  version: journalVersion,
  hardwareUuid: machine.hardwareUuid,
  serial: machine.serial,
  volumeGroup,
  current: null,
  previous: [],
  outbox: [],
  rotation: null,
  debts: [],
  refusals: [],
  doubts: [],
  keptItem: null,
  session: null,
  identity: null,
  proofs: [],
  endings: [],
  capability: null,
  lastProof: null,
  proofRefusedFor: null,
  clock: null,
  escrowSeen: null,
  ownEscrowChangeDue: false,
  foreignReported: [],
  foreignChanges: [],
  refusalFile: null,
  suspects: null,
  payload: null,
  unmanagedSince: null,
  pace: freshPace,
  notKnown: null,
  exhausted: false,
  profileLookedAt: 0,
});

/** What was found when the journal was opened. */
export type Opened = 'as-it-was' | 'new' | 'unreadable-set-aside' | 'other-machine-set-aside' | 'other-volume-set-aside';

export class JournalFile {
  readonly opened: Opened;
  #disk: Disk;
  #value: Journal;

  constructor(disk: Disk, value: Journal, opened: Opened) {
    this.#disk = disk;
    this.#value = value;
    this.opened = opened;
  }

  get value(): Readonly<Journal> {
    return this.#value;
  }

  /** Writes at once and durably; when it throws, nothing has changed, neither on disk nor in memory. */
  write(change: Partial<Journal>): void {
    const next = { ...this.#value, ...change };
    const text = `${JSON.stringify(next)}\n`;
    if (Buffer.byteLength(text) > mostBytes) throw new Problem('JOURNAL_NOT_WRITTEN', `it would be larger than ${mostBytes} bytes`);
    try {
      this.#disk.replace(paths.journal, text, 0o600);
    } catch (cause) {
      throw new Problem('JOURNAL_NOT_WRITTEN', (cause as NodeJS.ErrnoException).code ?? 'write failed', { cause });
    }
    this.#value = next;
  }
}

/**
 * Opens the journal of this machine and this volume. Unreadable, other hardware, other volume: set aside under another name,
 * never deleted. An identity stays with its hardware, so another volume of the same Mac keeps it.
 * Throws `JOURNAL_TOO_NEW` for a version that this agent does not know: then nothing may be written.
 */
export function openJournal(disk: Disk, machine: { hardwareUuid: string; serial: string }, volumeGroup: string, stamp: string): JournalFile {
  const bytes = readBytes(disk);
  if (bytes === null) return new JournalFile(disk, freshJournal(machine, volumeGroup), 'new');
  const asideAs = (why: string): string => `${paths.journal}.${why}-${stamp}`;
  /**
   * The new one takes its place in one step: a run that died in between would start with none, and know nothing of the keys that
   * were tried. Where there is no room for both nothing is changed, and this run ends: without room no key may be tried either.
   */
  const setAside = (why: string, opened: Opened, value: Journal): JournalFile => {
    const fresh = new JournalFile(disk, value, opened);
    if (bytes === 'no-journal') disk.rename(paths.journal, asideAs(why));
    else copyAside(disk, bytes, asideAs(why));
    fresh.write({});
    return fresh;
  };
  // Before the journal: a run that died in between would find outputs without one, and take them for its own (R11).
  const setOutputsAside = (why: string): void => {
    for (const name of disk.list(paths.outputs)) disk.rename(`${paths.outputs}/${name}`, `${paths.state}/${name}.${why}-${stamp}`);
  };
  const fresh = freshJournal(machine, volumeGroup);
  const found = bytes === 'no-journal' ? null : readJournal(bytes);
  if (found === null) {
    // How many keys were tried today stood in it: for a day none is (gate 3).
    const tried = ['lost-1', 'lost-2'].map((id) => ({ id, at: Number(stamp) || 0, settled: true, unsure: true as const }));
    return setAside('unreadable', 'unreadable-set-aside', { ...fresh, refusals: tried });
  }
  if (found.hardwareUuid !== machine.hardwareUuid) {
    setOutputsAside('other-mac');
    return setAside('other-mac', 'other-machine-set-aside', fresh);
  }
  if (found.volumeGroup !== volumeGroup) {
    setOutputsAside('other-volume');
    // One Secure Enclave counts what is tried on any volume, and one Mac how often its keys are changed.
    const { identity, clock, refusals, pace = freshPace } = found;
    return setAside('other-volume', 'other-volume-set-aside', { ...fresh, identity, clock, refusals, pace });
  }
  // What an older agent of this version did not write yet.
  return new JournalFile(disk, { ...freshJournal(machine, volumeGroup), ...found }, 'as-it-was');
}

/** For a journal of a newer agent: its identity alone, and nothing is ever written. Null where not even that can be read. */
export function readOnlyJournal(disk: Disk, machine: { hardwareUuid: string; serial: string }, volumeGroup: string): JournalFile | null {
  const bytes = readBytes(disk);
  if (bytes === null || bytes === 'no-journal') return null;
  const found = JSON.parse(bytes.toString('utf8')) as { hardwareUuid?: unknown; identity?: Partial<JournalIdentity> | null };
  if (found.hardwareUuid !== machine.hardwareUuid) return null;
  const texts = [found.identity?.enrolmentId, found.identity?.certificatePem, found.identity?.hardwareUuid, found.identity?.notAfter];
  const identity = texts.every((one) => typeof one === 'string') ? (found.identity as JournalIdentity) : null;
  return new JournalFile({ ...disk, replace: () => undefined }, { ...freshJournal(machine, volumeGroup), identity }, 'as-it-was');
}

/** Once, however often a run ends before the new journal is written: on a full disk the copies must not be what fills it. */
function copyAside(disk: Disk, bytes: Buffer, path: string): void {
  const [folder, name] = [path.slice(0, path.lastIndexOf('/')), path.slice(path.lastIndexOf('/') + 1)];
  const earlier = disk.list(folder).filter((one) => one.startsWith(name.slice(0, name.lastIndexOf('-') + 1)));
  const isSame = (path: string): boolean => {
    try {
      return disk.read(path, mostBytes)?.equals(bytes) === true;
    } catch {
      // What was no journal of ours then, such as a link, is none now.
      return false;
    }
  };
  if (earlier.some((one) => isSame(`${folder}/${one}`))) return;
  try {
    disk.replace(path, bytes, 0o600);
  } catch (cause) {
    throw new Problem('JOURNAL_NOT_WRITTEN', (cause as NodeJS.ErrnoException).code ?? 'write failed', { cause });
  }
}

/** Far too large, or a link: what lies there was not written by us. */
function readBytes(disk: Disk): Buffer | 'no-journal' | null {
  try {
    return disk.read(paths.journal, mostBytes);
  } catch (cause) {
    if (['EFBIG', 'ELOOP'].includes((cause as NodeJS.ErrnoException).code ?? '')) return 'no-journal';
    throw cause;
  }
}

function readJournal(bytes: Buffer): Journal | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(bytes.toString('utf8'));
  } catch {
    return null;
  }
  if (typeof parsed !== 'object' || parsed === null || !('version' in parsed) || !Number.isInteger(parsed.version)) return null;
  if (parsed.version !== journalVersion) throw new Problem('JOURNAL_TOO_NEW', `its version is ${parsed.version}, this agent knows ${journalVersion}`);
  return isJournal(parsed) ? parsed : null;
}

/** Whether the server's time is known in this boot session; without that it is only known not to be earlier than what was heard last. */
export const isTimeSure = (journal: Readonly<Journal>, boot: string): boolean => journal.clock?.boot === boot;

/** What was counted while the time was not sure counts from the moment at which it is: later than it was, never earlier. */
export function withSureTime(journal: Readonly<Journal>, now: number): Pick<Journal, 'refusals' | 'doubts' | 'rotation' | 'foreignChanges'> {
  const sure = <T extends { at: number; unsure?: true }>(one: T): T => {
    const { unsure, ...rest } = one;
    return (unsure ? { ...rest, at: now } : { ...rest, at: Math.min(one.at, now) }) as T;
  };
  const { rotation } = journal;
  return {
    refusals: journal.refusals.map(sure),
    doubts: journal.doubts.map((one) => ({ ...one, first: sure(one.first) })),
    rotation: rotation && { ...rotation, looks: Object.fromEntries(Object.entries(rotation.looks).map(([name, look]) => [name, sure(look)])) },
    // Counted by a clock of the Mac that was ahead, they would never grow old.
    foreignChanges: journal.foreignChanges.map((at) => Math.min(at, now)),
  };
}

/** Server time in milliseconds as the Mac can reckon it: never later than it is, and null before the first answer. */
export function reckonServerTime(journal: Readonly<Journal>, boot: string, uptime: number): number | null {
  const clock = journal.clock;
  if (clock === null) return null;
  return clock.boot === boot ? clock.serverTime + Math.max(0, uptime - clock.uptime) * 1000 : clock.serverTime;
}

/** `newer` becomes current. Older envelopes stay until a later key is held and answered `true`; then one of them does. */
export function withCurrent(journal: Readonly<Journal>, newer: Kept): Pick<Journal, 'current' | 'previous' | 'outbox'> {
  const older = [journal.current, ...journal.previous].filter((one): one is Kept => one !== null && one.envelopeId !== newer.envelopeId);
  const settled = newer.held && newer.validated === 'true';
  return {
    current: newer,
    previous: settled ? older.slice(0, 1) : older.slice(0, mostOutbox),
    outbox: journal.outbox.filter((one) => one.envelopeId !== newer.envelopeId),
  };
}
