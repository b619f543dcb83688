import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fakeFolder } from './state-file.ts';

/** What the executables of the root run; see door-program.ts. */
export const doorProgram = (root: string): string => join(fakeFolder(root), 'command.mjs');

/** A process of macOS's own that outlives whoever caused it: mdmclient with its seconds, launchd with its job. */
export const startInBackground = (root: string, ...args: string[]): void => {
  spawn(process.execPath, [doorProgram(root), root, ...args], { cwd: root, detached: true, stdio: 'ignore', env: {} }).unref();
};
