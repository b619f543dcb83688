import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { Problem } from '../protocol/problems.ts';

const form = z.strictObject({
  url: z.string(),
  token: z.string(),
  userName: z.string(),
  expiresAt: z.string(),
  /** PEM, where the console's certificate is of a CA that nobody else knows. */
  trusted: z.string().nullable(),
});
/** As whom this machine is let in, and where. */
export type Profile = z.infer<typeof form>;

const fileIn = (folder: string): string => join(folder, 'ctl.json');

/** Null where nobody has signed in. `FILE_TOO_OPEN` where others could read the token. */
export function readProfile(folder: string): Profile | null {
  const file = fileIn(folder);
  let text: string;
  try {
    if ((statSync(file).mode & 0o077) !== 0) throw new Problem('FILE_TOO_OPEN', `${file} (chmod 600)`);
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  const read = form.safeParse(tryJson(text));
  if (!read.success) throw new Problem('CTL_PROFILE_UNREADABLE', file);
  return read.data;
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Only its owner can read it, also in the moment in which it is written. */
export function writeProfile(folder: string, profile: Profile): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const fresh = `${fileIn(folder)}.new`;
  rmSync(fresh, { force: true });
  writeFileSync(fresh, `${JSON.stringify(profile, null, 2)}\n`, { mode: 0o600, flag: 'wx' });
  chmodSync(fresh, 0o600);
  renameSync(fresh, fileIn(folder));
}

export const forgetProfile = (folder: string): void => rmSync(fileIn(folder), { force: true });
