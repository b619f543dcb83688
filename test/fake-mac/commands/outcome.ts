import { join } from 'node:path';
import type { MacState } from '../state.ts';

export interface Outcome {
  code: number;
  stdout: string | Buffer;
  stderr: string;
  /** Ended by a signal, or never: then the code says nothing. */
  instead?: 'killed' | 'hangs';
}

/** What a command of the fake Mac may know and do. */
export interface Asked {
  root: string;
  /** As it is when the question is asked; to be read only. */
  state: MacState;
  /** Milliseconds, by the Mac's own clock. */
  now: number;
  /** The process that asks. */
  pid: number;
  door: 'process' | 'folder';
  /** Changes the state under its lock and stores it; `asked.state` is the new one afterwards. */
  change<T>(act: (state: MacState) => T): T;
  /** mdmclient's work after a key was made. */
  escrow(text: string): void;
  /** What stands for launchd. */
  launchd: Launchd;
}

export interface Launchd {
  /** Starts the job in the background; false where it runs already. */
  start(label: string): boolean;
  signal(label: string, signal: NodeJS.Signals): boolean;
}

/** A pause inside a command, in seconds; `Infinity` never ends. */
export type Steps = Generator<number, Outcome, void>;
export type MacCommand = (asked: Asked, args: readonly string[], stdin: Buffer) => Outcome | Steps;

export const says = (stdout: string | Buffer, code = 0): Outcome => ({ code, stdout, stderr: '' });
export const complains = (code: number, ...lines: string[]): Outcome => ({ code, stdout: '', stderr: lines.map((line) => `${line}\n`).join('') });
/** Arguments that this fake Mac does not know. */
export const hasNo = (program: string, args: readonly string[]): Outcome => complains(64, `this fake Mac has no: ${[program, ...args].join(' ')}`);

/** A path on the Mac, wherever its root lies: `/root/of/the/mac/var/db/x` and `/var/db/x` are the same. */
export const onTheMac = (root: string, path: string): string => {
  if (path === root || path === `${root}/`) return '/';
  return path.startsWith(`${root}/`) ? path.slice(root.length) : path;
};
export const inTheRoot = (root: string, path: string): string => join(root, onTheMac(root, path));

/** macOS writes local times; the fake Mac lives in UTC. */
export const stamp = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} +0000`;
