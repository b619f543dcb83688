// One fake Mac: its root folder, its state, and the one way to change it. Both doors stand on this.
import { mkdirSync, statSync, utimesSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Asked, Launchd } from './commands/outcome.ts';
import { makeEscrowFile } from './escrow-file.ts';
import { forgetAnswers, renderAnswers, renderFiles, renderPrograms } from './render.ts';
import { escrowPayload, type MacState } from './state.ts';
import { parseState, readStateText, replaceFile, stateFile, withLock, writeState } from './state-file.ts';

export const escrowFilePath = '/var/db/FileVaultPRK.dat';

/** Folders that macOS has before anybody asks. */
export const macFolders = [
  'Library/Managed Preferences',
  'Library/Preferences',
  'Library/LaunchDaemons',
  'Library/Logs',
  'Library/Keychains',
  'var/db',
  'var/run',
  'var/log',
  'Users',
  'private/tmp',
  'tmp',
];

export interface MachineDoors {
  door: 'process' | 'folder';
  /** Milliseconds of real time; the Mac's own clock may be wrong by `clockOffsetSeconds`. */
  clock: () => number;
  launchd: Launchd;
  /** Folder only: starts what stands for mdmclient when it takes its time. */
  escrowLater?: (seconds: number) => void;
}

export class Machine {
  readonly root: string;
  readonly doors: MachineDoors;
  #known: { stamp: string; text: string; state: MacState } | null = null;
  #changing = false;

  constructor(root: string, doors: MachineDoors) {
    this.root = root;
    this.doors = doors;
  }

  /** As it is now, also when the other door changed it. To be read only. */
  get state(): MacState {
    return this.#look().state;
  }

  #look(): { text: string; state: MacState } {
    let stamp = '';
    try {
      const { ino, mtimeNs, size } = statSync(stateFile(this.root), { bigint: true });
      stamp = `${ino} ${mtimeNs} ${size}`;
    } catch {
      // readStateText says it better.
    }
    if (this.#known?.stamp !== stamp || stamp === '') {
      const text = readStateText(this.root);
      this.#known = { stamp, text, state: parseState(this.root, text) };
    }
    return this.#known;
  }

  /** Without executables there is one process alone to which this Mac is known: nobody else has to be kept out. */
  #alone<T>(folder: boolean, act: () => T): T {
    return folder ? withLock(this.root, act) : act();
  }

  get now(): number {
    return this.doors.clock() + this.state.clockOffsetSeconds * 1000;
  }

  /** Milliseconds since the boot. */
  get uptime(): number {
    return this.now - this.state.boot.bootedAt;
  }

  /** Changes the state and stores it; an act that throws has changed nothing. */
  change<T>(act: (state: MacState) => T): T {
    if (this.#changing) throw new Error('a change inside a change would be lost');
    return this.#alone(this.state.folder, () => {
      const { text, state: before } = this.#look();
      const state = parseState(this.root, text);
      this.#changing = true;
      let result: T;
      try {
        result = act(state);
      } finally {
        this.#changing = false;
      }
      this.#store(before, state);
      return result;
    });
  }

  /** The first state, or one that replaces all there was. */
  begin(state: MacState): void {
    mkdirSync(dirname(stateFile(this.root)), { recursive: true, mode: 0o700 });
    this.#alone(state.folder, () => this.#store(null, state));
  }

  #store(before: MacState | null, state: MacState): void {
    const renders = state.folder;
    if (renders) forgetAnswers(this.root);
    writeState(this.root, state);
    renderFiles(this.root, before, state);
    if (!renders) return;
    renderPrograms(this.root, state);
    renderAnswers(this.asked(process.pid));
  }

  /** After a process was killed while it stored something: the answers are made again. */
  mend(): void {
    if (this.state.folder) withLock(this.root, () => renderAnswers(this.asked(process.pid)));
  }

  asked(pid: number): Asked {
    const machine = this;
    return {
      root: this.root,
      get state() {
        return machine.state;
      },
      get now() {
        return machine.now;
      },
      pid,
      door: this.doors.door,
      change: (act) => machine.change(act),
      escrow: (text) => machine.escrow(text),
      launchd: this.doors.launchd,
    };
  }

  /** mdmclient: a new key is sealed to the payload's certificate, at once or after its time. */
  escrow(text: string): void {
    const seconds = this.state.quirks.escrowSeconds;
    const at = this.uptime + seconds * 1000;
    this.change((state) => {
      state.escrowDue = { text, at };
    });
    if (seconds > 0) this.doors.escrowLater?.(seconds);
    this.settle();
  }

  /** Writes the escrow file whose time has come. */
  settle(): void {
    const due = this.state.escrowDue;
    if (!due || this.uptime < due.at) return;
    const payload = escrowPayload(this.state);
    if (payload) {
      const path = join(this.root, escrowFilePath);
      mkdirSync(dirname(path), { recursive: true });
      replaceFile(path, makeEscrowFile(due.text, Buffer.from(payload.certificate, 'base64'), this.state.quirks.escrowCipher));
      // By the Mac's own clock, which may stand still between two keys.
      const seconds = (this.now + this.state.keysMade) / 1000;
      utimesSync(path, seconds, seconds);
    }
    this.change((state) => {
      state.escrowDue = null;
    });
  }
}
