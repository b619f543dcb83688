// The whole fake Mac as plain JSON. Files that macOS keeps lie in the Mac's root folder; everything that macOS merely
// knows is here, in one place, whichever door asks.
import { createHash, randomBytes } from 'node:crypto';

/** A wish that this Mac cannot fulfil, in words for whoever asked. */
export class NotOnThisMac extends Error {}

/** A certificate and its key, PEM. */
export interface Pair {
  certificate: string;
  /** PKCS #8. */
  key: string;
}

/** JSON, with `{ data }` for bytes (base64), as a property list has them. */
export type Setting = string | number | boolean | { data: string } | Setting[] | { [key: string]: Setting };
export type Settings = Record<string, Setting>;

export interface User {
  name: string;
  uid: number;
  uuid: string;
  password: string;
  secureToken: boolean;
  admin: boolean;
  /** Milliseconds. */
  passwordChangedAt: number;
  /** `only`: paired with a smart card, no password of its own. */
  smartCard?: 'only' | 'too';
  /** Not shown at the login window, as an MDM makes its own admin. */
  hidden?: boolean;
  /** A mobile account; FileVault knows another password than the directory does. */
  mobile?: boolean;
}

/** What the person at the screen does when a dialog comes: `type:TEXT`, `cancel`, `time-out`, `hang`, `garbage`, `fail`. */
type DialogAct = string;

export interface Identity {
  label: string;
  /** PEM. */
  certificate: string;
  key: string;
  /** What happens when /usr/bin/security uses the private key: the ACL has it, has it not, or a dialog comes up and waits. */
  access: 'allowed' | 'denied' | 'asks';
}

export interface Keychain {
  mode: 'works' | 'locked' | 'slow' | 'failing';
  items: { service: string; account: string; password: string }[];
  identities: Identity[];
  /** PEM, of others: CAs. */
  certificates: string[];
}

export interface Profile {
  identifier: string;
  uuid: string;
  displayName: string;
  organization: string;
  installedAt: number;
  /** A FDERecoveryKeyEscrow payload and its com.apple.security.pkcs1 payload (DER, base64). */
  escrow?: { owner: 'ours' | 'foreign'; location: string; certificate: string };
  /** A managed-preferences payload. */
  preferences?: { domain: string; values: Settings };
  /** The whole property list (XML) of a profile that was installed from a file. */
  file?: string;
  /** Whose it is, where it is not for the whole Mac. */
  user?: string;
}

interface Job {
  path: string;
  enabled: boolean;
  /** Switched off in Login Items. */
  disallowed?: true;
  loaded: boolean;
  runs: number;
  lastExit: number | null;
  /** The job itself, and the process that stands for launchd while it runs. */
  pid: number | null;
  supervisor: number | null;
}

interface Running {
  pid: number;
  command: string;
  /** `folder`: a real process, which can die without saying so. */
  door: 'process' | 'folder';
}

export type ChangeQuirk =
  | 'works'
  | 'refuses'
  | 'fails-99'
  | 'hangs'
  | 'crashes-before'
  | 'crashes-after'
  | 'crashes-after-escrow'
  | 'prints-nothing'
  | 'prints-garbage'
  | 'truncated'
  | 'no-escrow-file';

export interface Quirks {
  changeRecovery: ChangeQuirk;
  /** Pauses in seconds inside `changerecovery`: before the change, between the change and the plist. */
  changeSecondsBefore: number;
  changeSecondsAfter: number;
  /** Seconds until mdmclient has written the escrow file. */
  escrowSeconds: number;
  escrowCipher: 'des-ede3-cbc' | 'aes-128-cbc' | 'aes-256-cbc';
  /** macOS 26: installing an escrow payload makes a new key, where there is one and a bootstrap token is escrowed. */
  newKeyAtProfileInstall: 'as-macos-26' | 'never' | 'always';
  usingRecoveryKey: 'works' | 'unsupported';
  /** Whether I/O registry tells who unlocked (Intel), or has no such property. */
  unlockIdentity: 'there' | 'none';
  /** The exit status of `validaterecovery` for `false`: nobody has recorded it. */
  validateFalseExit: number;
  /** Wrong keys in a row from which on every further try has to wait. */
  wrongKeysFree: number;
  /** Seconds that launchd lets pass between two starts of a job that its queue folder keeps alive: 10 or more on a real Mac, 1 here. */
  throttleSeconds: number;
  /** `fdesetup status` → `hang`, `missing`, `crash`, `empty`, `garbage`, `fail:7`, `answer:text`. The longest match of the command line wins. */
  commands: Record<string, string>;
}

/** What the organisation gives this Mac whenever it is set up: remembered, because erasing and setting up again is routine. */
interface Enrolment {
  profiles: Profile[];
  /** The CA that stands for the organisation's SCEP, and what its certificates are to be. */
  deviceCa: Pair | null;
  identity: 'keychain' | 'files' | null;
  /** The agent's bundle, where the package puts it. */
  agent: { bundle: string; job: string | null } | null;
}

export interface MacState {
  version: 1;
  /** Whether the root has executables, and so answers that lie ready. */
  folder: boolean;
  enrolment: Enrolment;
  seed: string | null;
  keysMade: number;
  nextPid: number;
  serial: string;
  hardwareUuid: string;
  model: string;
  chip: string;
  /** In System Settings; null: it was never set. */
  computerName: string | null;
  macos: { version: string; build: string };
  /** What is added to the real time: a clock that is wrong. */
  clockOffsetSeconds: number;
  disk: {
    volumeGroup: string;
    volumeUuid: string;
    fileVault: 'on' | 'off' | 'encrypting' | 'decrypting';
    percent: number;
    /** The true key; it stays while FileVault is off and is the same when it is on again. */
    recoveryKey: string | null;
    recoveryKeyMadeAt: number | null;
    deferredFor: string | null;
    institutionalKey: boolean;
  };
  /** Tries of a key or a password that did not fit, in a row; from some number on every try must wait. */
  wrongKeys: { inARow: number; ever: number; refuseUntil: number | null /** When each of them was, by this Mac's clock. */; times: number[] };
  users: User[];
  keychains: Record<string, Keychain>;
  profiles: Profile[];
  mdm: { server: string | null; enrolledByDep: boolean; bootstrapTokenSupported: boolean; bootstrapTokenEscrowed: boolean };
  boot: {
    session: string;
    bootedAt: number;
    /** Who unlocked the disk: the recovery user, a user's name, or null (FileVault off, or not told). */
    unlockedBy: { recovery: true } | { user: string } | null;
    /** True from an unlock with the recovery key until the next boot, even when the key was replaced meanwhile. */
    usingRecoveryKey: boolean;
    poweredOn: boolean;
  };
  /** Who sits at the screen: a user's name, null at the login window, `_mbsetupuser` in Setup Assistant. */
  console: { user: string | null; screenLocked: boolean };
  power: { source: 'mains' | 'battery'; percent: number };
  darkWake: boolean;
  keyboard: string;
  languages: string[];
  proxy: { https: string; port: number } | null;
  jobs: Record<string, Job>;
  running: Running[];
  /** An escrow file that mdmclient has yet to write; `at` in milliseconds of uptime. */
  escrowDue: { text: string; at: number } | null;
  quirks: Quirks;
  /** What the authorization database calls at each login: right system.login.console. */
  loginMechanisms: string[];
  /** What will be done with the next dialogs (none left: nobody is there), and which were shown. */
  dialogs: { next: DialogAct[]; shown: { by: 'osascript' | 'swiftDialog'; uid: number; text: string }[] };
  /** Paths that Time Machine leaves out for good. */
  excludedFromBackups: string[];
  /** Command lines in which a key or a password was seen. */
  leaks: string[];
  unlocks: { with: string; opened: boolean; at: number }[];
}

export const systemKeychain = '/Library/Keychains/System.keychain';
export const loginKeychain = (user: string): string => `/Users/${user}/Library/Keychains/login.keychain-db`;
export const emptyKeychain = (): Keychain => ({ mode: 'works', items: [], identities: [], certificates: [] });
/** The keychain at `path`; an empty one is made where there is none. */
export const keychainAt = (state: { keychains: Record<string, Keychain> }, path: string): Keychain => {
  state.keychains[path] ??= emptyKeychain();
  return state.keychains[path];
};

/** The crypto user that stands for the personal recovery key: the same on every Mac. */
export const recoveryUser = 'EBC6C064-0000-11AA-AA11-00306543ECAC';

/** macOS's own alphabet: A–Z without I and S, and 2–9. */
const symbols = 'ABCDEFGHJKLMNOPQRTUVWXYZ23456789';

/** Bytes that are random, or, where the state has a seed, the same in every run. */
export const someBytes = (state: Pick<MacState, 'seed' | 'keysMade'>, what: string, count: number): Buffer =>
  state.seed === null ? randomBytes(count) : createHash('shake256', { outputLength: count }).update(`${state.seed}\0${what}\0${state.keysMade}`).digest();

export const makeUuid = (state: Pick<MacState, 'seed' | 'keysMade'>, what: string): string => {
  const bytes = someBytes(state, what, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return bytes
    .toString('hex')
    .toUpperCase()
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
};

/** Makes the key that the disk has from now on. */
export const makeRecoveryKey = (state: MacState, now: number): string => {
  state.keysMade += 1;
  const text = [...someBytes(state, 'recovery key', 24)].map((byte) => symbols[byte & 31]).join('');
  const key = text.replace(/.{4}(?!$)/g, '$&-');
  state.disk.recoveryKey = key;
  state.disk.recoveryKeyMadeAt = now;
  return key;
};

/** A name for `what` that the same seed gives again. */
export const nextUuid = (state: MacState, what: string): string => {
  state.keysMade += 1;
  return makeUuid(state, what);
};

export const userOf = (state: MacState, name: string): User | undefined => state.users.find((user) => user.name === name);

/** The installed escrow payload; macOS allows one. More than one can be forced by a quirk of profiles, and then the first counts. */
export const escrowPayload = (state: MacState): NonNullable<Profile['escrow']> | null => state.profiles.find((profile) => profile.escrow)?.escrow ?? null;
