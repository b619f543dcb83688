import type { Answer } from '../../protocol/messages.ts';
import type { Runner } from '../world.ts';
import { asDictionary, parsePlist } from './plist.ts';

/** A name that can stand in an argument: no option, no path, no line. */
export const isName = (name: string): boolean => /^[^\s/\-:\0][^/:\0\r\n]{0,254}$/.test(name);

/** Who sits at the screen, or null at the login window. `_mbsetupuser` (Setup Assistant) is returned as it is: it is somebody, and no session. */
export async function consoleUser(runner: Runner): Promise<string | null> {
  const ran = await runner.run({ program: '/usr/bin/stat', args: ['-f', '%Su', '/dev/console'] });
  const name = ran.code === 0 ? ran.stdout.toString('utf8').trim() : '';
  return isName(name) && name !== 'root' && name !== 'loginwindow' ? name : null;
}

/** Whether `user` has a secure token. sysadminctl says it on standard error. */
export async function secureToken(runner: Runner, user: string): Promise<Answer> {
  if (!isName(user)) return 'unknown';
  const ran = await runner.run({ program: '/usr/sbin/sysadminctl', args: ['-secureTokenStatus', user] });
  const said = /Secure token is (ENABLED|DISABLED) for user /.exec(`${ran.stderr.toString('utf8')}\n${ran.stdout.toString('utf8')}`)?.[1];
  return said === 'ENABLED' ? 'yes' : said === 'DISABLED' ? 'no' : 'unknown';
}

const system = new Set(['root', 'daemon', 'nobody']);

/** `name    501`: from the end, so that a line of blanks costs no more than another. */
function nameInList(line: string): string[] {
  const text = line.trimEnd();
  const at = text.search(/\s-?\d+$/);
  return at > 0 && /^\S/.test(text) ? [text.slice(0, at).trimEnd()] : [];
}

/** The people of this Mac, hidden admins below uid 500 among them. Null where macOS does not say. */
export async function namesOfUsers(runner: Runner): Promise<string[] | null> {
  const ran = await runner.run({ program: '/usr/bin/dscl', args: ['.', '-list', '/Users', 'UniqueID'] });
  if (ran.code !== 0) return null;
  const names = ran.stdout
    .toString('utf8')
    .split('\n')
    .flatMap(nameInList)
    .filter((name) => !name.startsWith('_') && !system.has(name));
  return names.length > 50 ? null : names;
}

/** How many users of this Mac have a secure token; hidden admins below uid 500 among them. Null where one of them is not known. */
export async function secureTokenUsers(runner: Runner): Promise<number | null> {
  const names = await namesOfUsers(runner);
  if (names === null) return null;
  const answers = await Promise.all(names.map((name) => secureToken(runner, name)));
  return answers.includes('unknown') ? null : answers.filter((one) => one === 'yes').length;
}

/** When `user`'s password was last set, in milliseconds of this Mac's clock: a claim. */
export async function passwordChangedAt(runner: Runner, user: string): Promise<number | null> {
  if (!isName(user)) return null;
  const ran = await runner.run({ program: '/usr/bin/dscl', args: ['.', '-read', `/Users/${user}`, 'accountPolicyData'] });
  const text = ran.code === 0 ? ran.stdout.toString('utf8') : '';
  const begin = text.indexOf('<?xml');
  const policy = begin < 0 ? null : asDictionary(await parsePlist(text.slice(begin)));
  const seconds = policy?.['passwordLastSetTime'];
  return typeof seconds === 'number' && seconds > 0 && seconds < 1e11 ? Math.round(seconds * 1000) : null;
}
