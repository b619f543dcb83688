// What people, MDM and macOS do to a Mac, as changes of its state. No files here, no processes.
import { X509Certificate } from 'node:crypto';
import { type PlistValue, parse } from 'plist';
import { attribute, derToPem, foreignEscrowPair, makePair, pemToDer } from './certificates.ts';
import {
  emptyKeychain,
  keychainAt,
  loginKeychain,
  type MacState,
  makeRecoveryKey,
  NotOnThisMac,
  nextUuid,
  type Pair,
  type Profile,
  type Settings,
  systemKeychain,
  type User,
  userOf,
} from './state.ts';
import { countWrongKey } from './wrong-keys.ts';

const userNamed = (state: MacState, name: string): User => {
  const user = userOf(state, name);
  if (!user) throw new NotOnThisMac(`this fake Mac has no user ${name}; it has: ${state.users.map((one) => one.name).join(', ') || 'none'}`);
  return user;
};

export const addUser = (
  state: MacState,
  name: string,
  now: number,
  options: Partial<Pick<User, 'password' | 'secureToken' | 'admin' | 'smartCard' | 'hidden' | 'mobile'>> = {},
): void => {
  if (userOf(state, name)) throw new NotOnThisMac(`there is a user ${name} already`);
  state.users.push({
    name,
    uid: 501 + state.users.length,
    uuid: nextUuid(state, `user ${name}`),
    password: options.password ?? `${name}'s password`,
    secureToken: options.secureToken ?? true,
    admin: options.admin ?? state.users.length === 0,
    passwordChangedAt: now,
    ...(options.smartCard ? { smartCard: options.smartCard } : {}),
    ...(options.hidden ? { hidden: true } : {}),
    ...(options.mobile ? { mobile: true } : {}),
  });
  state.keychains[loginKeychain(name)] = emptyKeychain();
};

/** A new boot session. With FileVault on somebody unlocks: a user goes on to the desktop, the key leads to the login window. */
export const boot = (state: MacState, now: number, unlock: string | null): void => {
  const encrypted = state.disk.fileVault !== 'off';
  const byKey = encrypted && unlock === 'recovery-key';
  const by = encrypted && unlock !== null && !byKey ? userNamed(state, unlock) : null;
  state.boot = {
    session: nextUuid(state, 'boot session'),
    bootedAt: now,
    unlockedBy: byKey ? { recovery: true } : by ? { user: by.name } : null,
    usingRecoveryKey: byKey,
    poweredOn: true,
  };
  state.console = { user: by ? by.name : state.console.user === '_mbsetupuser' ? '_mbsetupuser' : null, screenLocked: false };
  state.darkWake = false;
  state.running = [];
  for (const job of Object.values(state.jobs)) Object.assign(job, { pid: null, supervisor: null, runs: 0, lastExit: null });
};

/** A key typed at the Mac itself. A wrong one counts; while the Mac makes people wait, no key is taken. */
export const typeKey = (state: MacState, now: number, key: string): boolean => {
  const waits = state.wrongKeys.refuseUntil !== null && now < state.wrongKeys.refuseUntil;
  const opened = !waits && state.disk.recoveryKey !== null && key === state.disk.recoveryKey;
  if (opened) state.wrongKeys = { ...state.wrongKeys, inARow: 0, refuseUntil: null };
  else if (!waits) countWrongKey(state, now);
  state.unlocks.push({ with: 'recovery-key', opened, at: now });
  return opened;
};

export const logIn = (state: MacState, name: string): void => {
  userNamed(state, name);
  state.console = { user: name, screenLocked: false };
};

const setPassword = (state: MacState, name: string, password: string, now: number): void => {
  const user = userNamed(state, name);
  user.password = password;
  user.passwordChangedAt = now;
};

/** recoveryOS: the key is spent there, and the Mac starts with the new password as if nothing had been. */
export const resetPasswordWith = (state: MacState, now: number, key: string, name: string, password: string): boolean => {
  userNamed(state, name);
  if (!typeKey(state, now, key)) return false;
  setPassword(state, name, password, now);
  // The old password opened it.
  keychainAt(state, loginKeychain(name)).mode = 'locked';
  boot(state, now, name);
  logIn(state, name);
  return true;
};

/** Turns FileVault on. A key is made only where there is none: off and on keeps the key. True where one was made. */
export const enableFileVault = (state: MacState, name: string, now: number): string | null => {
  if (!userNamed(state, name).secureToken) throw new NotOnThisMac(`${name} has no secure token: macOS turns FileVault on for nobody else`);
  state.disk.fileVault = 'on';
  state.disk.percent = 0;
  state.disk.deferredFor = null;
  return state.disk.recoveryKey === null ? makeRecoveryKey(state, now) : null;
};

const organisation = { ours: 'Example IT', foreign: 'Some MDM' } as const;

/** One escrow payload in the place of whatever was there. Returns the key that macOS 26 makes at once, or null. */
export const installEscrowProfile = (state: MacState, owner: 'ours' | 'foreign' | 'none', now: number, certificate?: string, beside = false): string | null => {
  if (!beside) state.profiles = state.profiles.filter((profile) => !profile.escrow);
  if (owner !== 'none') {
    if (owner === 'ours' && certificate === undefined) throw new NotOnThisMac('our escrow payload needs our escrow certificate');
    const der = pemToDer(certificate ?? foreignEscrowPair().certificate);
    const location =
      owner === 'ours' ? 'Example IT. Sign in to https://keys.example.org and choose Get recovery key.' : 'Some MDM keeps the recovery key of this Mac.';
    state.profiles.push({
      identifier: `${owner === 'ours' ? 'org.example' : 'com.some-mdm'}.filevault`,
      uuid: nextUuid(state, 'escrow profile'),
      displayName: 'FileVault and recovery key escrow',
      organization: organisation[owner],
      installedAt: now,
      escrow: { owner, location, certificate: der.toString('base64') },
    });
  }
  const { newKeyAtProfileInstall: quirk } = state.quirks;
  const as26 = Number(state.macos.version.split('.')[0]) >= 26 && state.mdm.bootstrapTokenEscrowed;
  const makes =
    owner !== 'none' && state.disk.fileVault === 'on' && state.disk.recoveryKey !== null && (quirk === 'always' || (quirk === 'as-macos-26' && as26));
  return makes ? makeRecoveryKey(state, now) : null;
};

const settingsDomain = 'io.sparekey.agent';

export const installSettings = (state: MacState, values: Settings, now: number, domain = settingsDomain): void => {
  removeSettings(state, domain);
  state.profiles.push({
    identifier: `org.example.settings.${domain}`,
    uuid: nextUuid(state, 'settings profile'),
    displayName: 'Sparekey settings',
    organization: organisation.ours,
    installedAt: now,
    preferences: { domain, values },
  });
};

/** A profile from a file (XML). Its escrow payload works as those of the others do; settings in it are listed, and do not reach the agent. */
export const installProfile = (state: MacState, file: string, now: number, changes: Partial<Profile> = {}): void => {
  const frame = parse(file) as Record<string, string> & { PayloadContent: Record<string, PlistValue>[] };
  const payload = (type: string) => frame.PayloadContent.find((each) => each['PayloadType'] === type);
  const escrow = payload('com.apple.security.FDERecoveryKeyEscrow');
  const certificate = payload('com.apple.security.pkcs1')?.['PayloadContent'];
  const identifier = changes.identifier ?? frame['PayloadIdentifier'] ?? '';
  state.profiles = state.profiles.filter((profile) => profile.identifier !== identifier);
  state.profiles.push({
    uuid: frame['PayloadUUID'] ?? '',
    displayName: frame['PayloadDisplayName'] ?? '',
    organization: frame['PayloadOrganization'] ?? '',
    installedAt: now,
    file,
    ...(escrow && certificate instanceof Uint8Array
      ? { escrow: { owner: 'ours', location: String(escrow['Location']), certificate: Buffer.from(certificate).toString('base64') } }
      : {}),
    ...changes,
    identifier,
  });
};

export const removeSettings = (state: MacState, domain = settingsDomain): void => {
  state.profiles = state.profiles.filter((profile: Profile) => profile.preferences?.domain !== domain);
};

/** Somebody else replaces the key: an MDM's command, another agent, a person in System Settings. */
export const rotateByMdm = (state: MacState, now: number): string => {
  if (state.disk.fileVault !== 'on') throw new NotOnThisMac('FileVault is not on, so there is no key to rotate');
  return makeRecoveryKey(state, now);
};

let identities = 0;

/** A certificate for TLS clients on this serial number. RSA, as SCEP makes them, and P-256, as ACME does: the first of a process and each fourth is RSA. */
export const makeIdentity = (serial: string, ca: Pair, at: number): Pair => {
  const keyType = identities % 4 === 0 ? 'rsa' : 'ec';
  identities += 1;
  return makePair({ subject: { O: 'Example', CN: serial }, kind: 'device', keyType, issuer: ca, days: 365, notBefore: at - 3600_000 });
};

/** The profile's identity, as SCEP brings it: a certificate of the organisation's CA for this serial, with its chain. `at` is the CA's own time. */
export const installIdentity = (state: MacState, ca: Pair, at: number, access: 'allowed' | 'denied' | 'asks' = 'allowed'): Pair => {
  const pair = makeIdentity(state.serial, ca, at);
  const keychain = keychainAt(state, systemKeychain);
  keychain.identities.push({ label: attribute(new X509Certificate(pair.certificate).subject, 'CN') ?? state.serial, ...pair, access });
  const chain = derToPem(pemToDer(ca.certificate));
  if (!keychain.certificates.includes(chain)) keychain.certificates.push(chain);
  return pair;
};

/** Erase All Content and Settings: the same serial and board, another volume group, nobody and nothing on it. */
export const erase = (state: MacState, now: number): void => {
  state.disk = {
    ...state.disk,
    volumeGroup: nextUuid(state, 'volume group'),
    volumeUuid: nextUuid(state, 'volume'),
    fileVault: 'off',
    percent: 0,
    recoveryKey: null,
    recoveryKeyMadeAt: null,
    deferredFor: null,
  };
  state.users = [];
  state.keychains = { [systemKeychain]: emptyKeychain() };
  state.profiles = [];
  state.jobs = {};
  state.escrowDue = null;
  state.excludedFromBackups = [];
  state.wrongKeys = { ...state.wrongKeys, inARow: 0, refuseUntil: null };
  state.console = { user: '_mbsetupuser', screenLocked: false };
  boot(state, now, null);
};

/** Setup Assistant with the organisation's profiles: a user with a secure token, FileVault on, the desktop. Returns a key that was made. */
export const setUp = (state: MacState, now: number, name: string, fileVault: boolean): string | null => {
  for (const profile of state.enrolment.profiles) state.profiles.push({ ...profile, uuid: nextUuid(state, 'profile'), installedAt: now });
  addUser(state, name, now);
  // As Setup Assistant does: after its first user.
  state.computerName = `${name.charAt(0).toUpperCase()}${name.slice(1)}’s MacBook Pro`;
  const key = fileVault ? enableFileVault(state, name, now) : null;
  if (fileVault) state.boot.unlockedBy = { user: name };
  logIn(state, name);
  return key;
};
