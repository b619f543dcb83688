// Whose password could open this Mac. Asked only where somebody is to be asked for one.
import type { Answer } from '../../protocol/messages.ts';
import type { Disk, Runner } from '../world.ts';
import { asDictionary, readPlistFile } from './plist.ts';
import { isName, namesOfUsers, secureToken } from './users.ts';

export interface Account {
  name: string;
  uid: number | null;
  token: Answer;
  /** Not among those that the login window shows: hidden, or a uid below 500. */
  isHidden: boolean;
  /** Of a directory: a mobile account, whose password for FileVault may be older than the one of the network. */
  isMobile: boolean;
  /** Paired with a smart card, and without a password, or not allowed to use it. */
  isSmartCardOnly: boolean;
}

const smartCardPolicy = '/Library/Managed Preferences/com.apple.security.smartcard.plist';

/** Null where there is no such user, or macOS does not say. The words of AuthenticationAuthority are from manual pages and widely read scripts. */
export async function readAccount(runner: Runner, disk: Disk, name: string): Promise<Account | null> {
  if (!isName(name)) return null;
  const args = ['.', '-read', `/Users/${name}`, 'AuthenticationAuthority', 'IsHidden', 'OriginalNodeName', 'UniqueID'];
  const [ran, token, enforced] = await Promise.all([
    runner.run({ program: '/usr/bin/dscl', args, outputLimit: 256 * 1024 }),
    secureToken(runner, name),
    smartCardEnforced(runner, disk),
  ]);
  const text = ran.stdout.toString('utf8');
  const uid = /^UniqueID: (-?\d{1,10})$/m.exec(text)?.[1];
  // What a key that is not there does to the exit status, nobody has published.
  if (uid === undefined) return null;
  const hasPassword = text.includes(';ShadowHash;') || text.includes(';LocalCachedUser;');
  return {
    name,
    uid: Number(uid),
    token,
    isHidden: Number(uid) < 500 || /^IsHidden: (?:1|YES|yes|true)$/m.test(text),
    isMobile: text.includes(';LocalCachedUser;') || /^OriginalNodeName:/m.test(text),
    isSmartCardOnly: text.includes(';tokenidentity;') && (enforced || !hasPassword),
  };
}

/** Everybody whose secure token is there; null where one of them is not known. */
export async function accountsWithToken(runner: Runner, disk: Disk): Promise<Account[] | null> {
  const names = await namesOfUsers(runner);
  if (names === null) return null;
  const tokens = await Promise.all(names.map((name) => secureToken(runner, name)));
  if (tokens.includes('unknown')) return null;
  const found = await Promise.all(names.filter((_, at) => tokens[at] === 'yes').map((name) => readAccount(runner, disk, name)));
  return found.includes(null) ? null : found.filter((one) => one !== null);
}

/** By a profile: then no user gets anywhere with a password. */
async function smartCardEnforced(runner: Runner, disk: Disk): Promise<boolean> {
  if (!disk.facts(smartCardPolicy)) return false;
  return asDictionary(await readPlistFile(runner, smartCardPolicy))?.['enforceSmartCard'] === true;
}

/** Whether the screen is locked. The property is read by many scripts; a Mac that does not show it is `unknown`. */
export async function screenLocked(runner: Runner): Promise<Answer> {
  const ran = await runner.run({ program: '/usr/sbin/ioreg', args: ['-n', 'Root', '-d1'], outputLimit: 1024 * 1024 });
  const said = ran.code === 0 ? /"IOConsoleLocked" = (Yes|No)/.exec(ran.stdout.toString('utf8'))?.[1] : undefined;
  return said === undefined ? 'unknown' : said === 'Yes' ? 'yes' : 'no';
}
