// The fake Mac: one state, its files in a root folder, and two doors: `runner` in process, or real executables in that
// folder (`create` with `folder: true`). Every act stores the state and makes anew what follows from it.
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import * as acts from './acts.ts';
import { doorProgram, startInBackground } from './background.ts';
import type { CreateOptions } from './create-options.ts';
import { writeDoorProgram } from './door-program.ts';
import { installAgent } from './install.ts';
import { type Keytar, keytarFor } from './keychain-door.ts';
import { folderLaunchd, noLaunchd, stopAll } from './launchd.ts';
import { escrowFilePath, Machine, macFolders } from './machine.ts';
import { migrate } from './migrate.ts';
import { newState } from './new-state.ts';
import { ProcessDoor } from './runner.ts';
import {
  type ChangeQuirk,
  type Keychain,
  keychainAt,
  type MacState,
  NotOnThisMac,
  type Pair,
  type Profile,
  type Quirks,
  type Settings,
  systemKeychain,
} from './state.ts';

/** Where an identity that comes as files lies. */
export const identityFiles = { certificate: '/Library/Sparekey/identity/certificate.pem', key: '/Library/Sparekey/identity/key.pem' } as const;

export class FakeMac {
  readonly root: string;
  readonly runner: ProcessDoor;
  readonly #machine: Machine;
  readonly #temporary: boolean;

  private constructor(root: string, clock: () => number, temporary: boolean, door: 'process' | 'folder') {
    this.root = root;
    // A Mac with executables has a real launchd and a real mdmclient behind either door.
    const real = (): boolean => existsSync(doorProgram(root));
    this.#machine = new Machine(root, {
      door,
      clock,
      launchd: {
        start: (label) => (real() ? folderLaunchd(root) : noLaunchd).start(label),
        signal: (label, signal) => (real() ? folderLaunchd(root) : noLaunchd).signal(label, signal),
      },
      escrowLater: (seconds) => {
        if (real()) startInBackground(root, 'mdmclient', String(seconds));
      },
    });
    this.#temporary = temporary;
    this.runner = new ProcessDoor(this.#machine);
  }

  /** Setup Assistant is done: one user, FileVault on with a key that the payload (if any) has seen, the desktop. */
  static create(options: CreateOptions = {}): FakeMac {
    const temporary = options.root === undefined;
    const root = temporary ? mkdtempSync(join(tmpdir(), 'fake-mac-')) : resolve(options.root ?? '');
    if (existsSync(root) && readdirSync(root).length > 0) throw new NotOnThisMac(`${root} is not empty`);
    const clock = options.clock ?? Date.now;
    const mac = new FakeMac(root, clock, temporary, 'process');
    const state = newState({ ...options, now: clock() });
    state.folder = options.folder ?? false;
    const certificate = options.escrowProfile === 'ours' ? options.escrowCertificate : undefined;
    acts.installEscrowProfile(state, options.escrowProfile ?? 'none', clock(), certificate);
    if (options.settings) acts.installSettings(state, options.settings, clock());
    state.enrolment = {
      profiles: state.profiles,
      deviceCa: options.deviceCa ?? null,
      identity: options.deviceCa ? (options.identity ?? 'keychain') : null,
      agent: options.agent ?? null,
    };
    state.profiles = [];
    mac.#makeFolders();
    mac.#machine.begin(state);
    if (options.folder) writeDoorProgram(root);
    mac.setUp(options.user ?? 'ada', (options.fileVault ?? 'on') === 'on');
    return mac;
  }

  static open(root: string, options: { clock?: () => number; door?: 'process' | 'folder' } = {}): FakeMac {
    const mac = new FakeMac(resolve(root), options.clock ?? Date.now, false, options.door ?? 'process');
    mac.#machine.settle();
    return mac;
  }

  get state(): MacState {
    return this.#machine.state;
  }
  /** The one key that opens the disk, or null. */
  get recoveryKey(): string | null {
    return this.state.disk.recoveryKey;
  }
  /** The Mac's own clock. */
  get now(): number {
    return this.#machine.now;
  }
  get uptimeSeconds(): number {
    return this.#machine.uptime / 1000;
  }
  get machine(): Machine {
    return this.#machine;
  }
  /** Where a path of the Mac lies. */
  path(onTheMac: string): string {
    return join(this.root, onTheMac);
  }
  /** macOS's escrow file, or null. */
  escrowFile(): Buffer | null {
    return existsSync(this.path(escrowFilePath)) ? readFileSync(this.path(escrowFilePath)) : null;
  }
  /** Any change that has no act of its own. */
  change<T>(act: (state: MacState) => T): T {
    return this.#machine.change(act);
  }

  #makeFolders(): void {
    for (const folder of macFolders) mkdirSync(this.path(folder), { recursive: true });
  }
  /** A key that was made goes to mdmclient, where a payload asks for it. */
  #withNewKey(act: (state: MacState) => string | null): void {
    const key = this.change(act);
    if (key !== null && this.state.profiles.some((profile) => profile.escrow)) this.#machine.escrow(key);
  }

  boot(options: { unlock?: string; key?: string } = {}): boolean {
    const unlock = options.unlock ?? (this.state.disk.fileVault === 'off' ? null : (this.state.users[0]?.name ?? null));
    const booted = this.change((state) => {
      if (unlock === 'recovery-key' && !acts.typeKey(state, this.now, options.key ?? state.disk.recoveryKey ?? '')) return false;
      stopAll(this.root, state);
      acts.boot(state, this.now, unlock);
      return true;
    });
    if (!booted) return false;
    this.#started();
    return true;
  }
  /** macOS empties /var/run at each start. */
  #started(): void {
    this.runner.stop();
    rmSync(this.path('var/run'), { recursive: true, force: true });
    mkdirSync(this.path('var/run'), { recursive: true });
  }
  /** Option-Shift-Return at the FileVault screen, or Intel's `?`: the login window, network, nobody logged in. */
  rebootWithRecoveryKey(key?: string): boolean {
    return this.boot({ unlock: 'recovery-key', ...(key === undefined ? {} : { key }) });
  }
  /** recoveryOS: afterwards `usingrecoverykey` is false and the unlock identity is the user's. */
  resetPasswordWith(key: string, user: string, newPassword = `${user}'s new password`): boolean {
    const done = this.change((state) => {
      stopAll(this.root, state);
      return acts.resetPasswordWith(state, this.now, key, user, newPassword);
    });
    if (done) this.#started();
    return done;
  }
  logIn(user: string): void {
    this.change((state) => acts.logIn(state, user));
  }
  logOut(): void {
    this.change((state) => {
      state.console = { user: null, screenLocked: false };
    });
  }
  lockScreen(): void {
    this.change((state) => {
      state.console.screenLocked = true;
    });
  }
  addUser(name: string, options: Parameters<typeof acts.addUser>[3] = {}): void {
    this.change((state) => acts.addUser(state, name, this.now, options));
  }
  enableFileVault(user: string): void {
    this.#withNewKey((state) => acts.enableFileVault(state, user, this.now));
  }
  disableFileVault(): void {
    this.change((state) => {
      state.disk.fileVault = 'off';
    });
  }
  /** On its way to on or off. */
  setProgress(to: 'encrypting' | 'decrypting', percent: number): void {
    this.change((state) => Object.assign(state.disk, { fileVault: to, percent }));
  }
  mdmRotates(): void {
    this.#withNewKey((state) => acts.rotateByMdm(state, this.now));
  }
  installEscrowProfile(owner: 'ours' | 'foreign' | 'none', certificate?: string, beside = false): void {
    this.#withNewKey((state) => acts.installEscrowProfile(state, owner, this.now, certificate, beside));
  }
  /** From a file (XML), as it stands there or with other names. */
  installProfile(file: string, changes: Partial<Profile> = {}): void {
    this.change((state) => acts.installProfile(state, file, this.now, changes));
  }
  removeProfile(identifier: string): void {
    this.change((state) => {
      state.profiles = state.profiles.filter((profile) => profile.identifier !== identifier);
    });
  }
  installSettings(values: Settings): void {
    this.change((state) => acts.installSettings(state, values, this.now));
  }
  removeSettings(): void {
    this.change((state) => acts.removeSettings(state));
  }
  installIdentity(ca: Pair, access: 'allowed' | 'denied' | 'asks' = 'allowed'): Pair {
    return this.change((state) => acts.installIdentity(state, ca, this.#machine.doors.clock(), access));
  }
  writeIdentityFiles(ca: Pair): void {
    const pair = acts.makeIdentity(this.state.serial, ca, this.#machine.doors.clock());
    mkdirSync(dirname(this.path(identityFiles.key)), { recursive: true, mode: 0o755 });
    writeFileSync(this.path(identityFiles.certificate), pair.certificate, { mode: 0o644 });
    writeFileSync(this.path(identityFiles.key), pair.key, { mode: 0o600 });
  }
  /** Erase All Content and Settings. Setup Assistant waits; see `setUp`. */
  erase(): void {
    this.change((state) => {
      stopAll(this.root, state);
      acts.erase(state, this.now);
    });
    this.runner.stop();
    for (const folder of ['Library', 'var', 'Users', 'private', 'tmp']) rmSync(this.path(folder), { recursive: true, force: true });
    this.#makeFolders();
    // The property lists of macOS itself come back.
    this.#machine.begin(this.state);
  }
  /** Setup Assistant, with what the organisation gives every Mac: profiles, identity, agent. */
  setUp(user: string, fileVault = true): void {
    this.#withNewKey((state) => acts.setUp(state, this.now, user, fileVault));
    const { deviceCa, identity, agent } = this.state.enrolment;
    if (deviceCa && identity === 'keychain') this.installIdentity(deviceCa);
    if (deviceCa && identity === 'files') this.writeIdentityFiles(deviceCa);
    if (agent) installAgent(this.#machine, agent);
  }
  /** Migration Assistant: what belongs to the agent, the keychain and the people goes to other hardware. */
  migrateTo(other: FakeMac): void {
    migrate(this, other);
  }

  /** Whether this key opens the disk. Counts as no try: it is the tests' own question. */
  unlocksWith(key: string): boolean {
    return this.state.disk.recoveryKey !== null && key === this.state.disk.recoveryKey;
  }
  /** Uptime passes, and with it whatever takes its time; the clock stays. */
  advance(seconds: number): void {
    this.change((state) => {
      state.boot.bootedAt -= seconds * 1000;
      if (state.wrongKeys.refuseUntil !== null) state.wrongKeys.refuseUntil -= seconds * 1000;
    });
    this.runner.pass(seconds);
    this.#machine.settle();
  }
  setPower(source: 'mains' | 'battery', percent = 100): void {
    this.change((state) => {
      state.power = { source, percent };
    });
  }
  setDarkWake(asleep: boolean): void {
    this.change((state) => {
      state.darkWake = asleep;
    });
  }
  setChangeQuirk(quirk: ChangeQuirk): void {
    this.setQuirk('changeRecovery', quirk);
  }
  setQuirk<Name extends keyof Quirks>(name: Name, value: Quirks[Name]): void {
    this.change((state) => {
      state.quirks[name] = value;
    });
  }
  /** Spoils one command, such as `fdesetup status` with `hang`; null mends it. */
  setCommandQuirk(line: string, quirk: string | null): void {
    this.change((state) => {
      if (quirk === null) delete state.quirks.commands[line];
      else state.quirks.commands[line] = quirk;
    });
  }
  setKeychain(mode: Keychain['mode'], path: string = systemKeychain): void {
    this.change((state) => {
      keychainAt(state, path).mode = mode;
    });
  }
  updateMacOS(version: string, build: string): void {
    this.change((state) => {
      state.macos = { version, build };
    });
  }

  /** What whoever sits at the screen does with the next dialogs, one after the other. */
  answerDialogs(...next: string[]): void {
    this.change((state) => {
      state.dialogs.next = next;
    });
  }
  /** swiftDialog, as its package puts it there. */
  installSwiftDialog(mode = 0o755): void {
    mkdirSync(this.path('/Library/Application Support/Dialog/Dialog.app/Contents/MacOS'), { recursive: true, mode: 0o755 });
    mkdirSync(this.path('/usr/local/bin'), { recursive: true, mode: 0o755 });
    writeFileSync(this.path('/usr/local/bin/dialog'), '');
    chmodSync(this.path('/usr/local/bin/dialog'), mode);
  }

  /** keytar's interface, as the job or a Terminal gets it. */
  keytar(context: 'job' | 'terminal'): Keytar {
    return keytarFor(context, {
      read: () => this.state,
      change: (act) => this.change(act),
      wait: (seconds) => new Promise((done) => setTimeout(done, seconds * 1000).unref()),
    });
  }

  /** Stops what still runs and, where `create` chose the folder, removes it. */
  dispose(): void {
    this.runner.stop();
    stopAll(this.root, this.state);
    if (this.#temporary && basename(this.root).startsWith('fake-mac-')) rmSync(this.root, { recursive: true, force: true });
  }
}
