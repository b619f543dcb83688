/* A profile of anybody: XML or binary, signed or not, whole or broken. Nothing that a file holds makes this throw. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parsePlist } from '../agent/mac/plist.ts';
import { isBinaryPlist, readBinaryPlist } from './binary-plist.ts';
import { type Dictionary, isDictionary } from './schema-check.ts';
import { openSigned, type Signature } from './signed.ts';

export interface ProfileFile {
  /** As it was given, or within the folder that was given. */
  file: string;
  profile: Dictionary;
  signature?: Signature;
  /** It was named by itself, and not with the folder that holds it: what else its Mac gets is not known. */
  alone?: true;
}

/** A file that cannot be looked at, and why. */
export interface Unreadable {
  file: string;
  says: string;
  fix: string;
}

const mostBytes = 8 * 1024 * 1024;
const mostFiles = 10_000;
const exportAgain = 'export the profile from the console once more, as an XML property list or signed';

export async function readProfile(bytes: Uint8Array, file: string): Promise<ProfileFile | Unreadable> {
  const refused = (says: string, fix = exportAgain): Unreadable => ({ file, says, fix });
  if (bytes.length === 0) return refused('is empty');
  if (bytes.length > mostBytes) return refused(`is larger than ${mostBytes / 1024 / 1024} MB`, 'a profile has a few kilobytes: give the profile itself');
  // 0x30 begins every DER and BER message, and no property list.
  const opened = bytes[0] === 0x30 ? openSigned(bytes) : null;
  if (bytes[0] === 0x30 && opened === null)
    return refused('begins like a signed profile, and is none that can be opened: cut short, encrypted, or without contents');
  const contents = opened?.contents ?? bytes;
  const value = isBinaryPlist(contents) ? readBinaryPlist(contents) : await parsePlist(contents);
  const within = opened === null ? '' : 'what is signed ';
  if (value === null) return refused(`${within}is no property list that can be read${hintOf(contents)}`);
  if (!isDictionary(value)) return refused(`${within}is a property list, but not a dictionary`);
  if (value['PayloadType'] !== 'Configuration' && !Array.isArray(value['PayloadContent']))
    return refused(
      `${within}is a property list, but no configuration profile: PayloadType is not Configuration`,
      'give a .mobileconfig; bare settings become a profile with `profiles build`',
    );
  return { file, profile: value, ...(opened === null ? {} : { signature: opened.signature }) };
}

function hintOf(bytes: Uint8Array): string {
  const start = Buffer.from(bytes.subarray(0, 64));
  if (start[0] === 0xff || start[0] === 0xfe || start.includes(0)) return ': it is not in UTF-8';
  if (/^\s*[{[]/.test(start.toString('utf8'))) return ': it looks like JSON';
  if (/^\s*(MI[A-Za-z0-9+/]|-----BEGIN)/.test(start.toString('utf8'))) return ': it is in Base64';
  return '';
}

export const isReadable = (one: ProfileFile | Unreadable): one is ProfileFile => 'profile' in one;

/** The profiles in files and, all the way down, in folders. In a folder only what is named .mobileconfig. */
export async function readProfiles(paths: readonly string[], most = mostFiles): Promise<(ProfileFile | Unreadable)[]> {
  const found = paths.flatMap((path) => filesOf(path));
  const read: (ProfileFile | Unreadable)[] = [];
  // One after another: many large ones would not fit into memory together.
  for (const one of found.slice(0, most)) read.push('says' in one ? one : await readFile(one.file, one.alone === true));
  const [first] = found.slice(most);
  return first === undefined
    ? read
    : [...read, { file: first.file, says: `and what follows is not looked at: more than ${most} files`, fix: 'name fewer folders' }];
}

async function readFile(path: string, alone: boolean): Promise<ProfileFile | Unreadable> {
  try {
    return { ...(await readProfile(readFileSync(path), path)), ...(alone ? { alone } : {}) };
  } catch (error) {
    return unreachable(path, error);
  }
}

const unreachable = (file: string, error: unknown): Unreadable => ({
  file,
  says: `cannot be read (${(error as NodeJS.ErrnoException).code ?? 'no reason given'})`,
  fix: 'look at the path and at who may read it',
});

function filesOf(path: string): ({ file: string; alone?: true } | Unreadable)[] {
  try {
    if (!statSync(path).isDirectory()) return [{ file: path, alone: true }];
    const files = readdirSync(path, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.toLowerCase().endsWith('.mobileconfig'))
      .map((entry) => ({ file: join(entry.parentPath, entry.name) }))
      .sort((a, b) => (a.file < b.file ? -1 : 1));
    return files.length > 0 ? files : [{ file: path, says: 'has no .mobileconfig', fix: 'name the folder that `profiles build` wrote, or a file' }];
  } catch (error) {
    return [unreachable(path, error)];
  }
}
