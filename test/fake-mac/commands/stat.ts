// stat -f %Su /dev/console: what every script asks; root at the login window, _mbsetupuser in Setup Assistant. And
// stat -f %m of a file: the second in which it was written. The words for a file that is not there are macOS's own.
import { statSync } from 'node:fs';
import { type Asked, complains, hasNo, inTheRoot, type Outcome, onTheMac, says } from './outcome.ts';

export const stat = ({ root, state }: Asked, args: readonly string[]): Outcome => {
  const [option, form, path = '', ...more] = args.map((arg) => onTheMac(root, arg));
  if (option !== '-f' || more.length > 0) return hasNo('/usr/bin/stat', args);
  if (form === '%Su' && path === '/dev/console') return says(`${state.console.user ?? 'root'}\n`);
  if (form !== '%m' || !path.startsWith('/')) return hasNo('/usr/bin/stat', args);
  const facts = statSync(inTheRoot(root, path), { throwIfNoEntry: false });
  return facts ? says(`${Math.floor(facts.mtimeMs / 1000)}\n`) : complains(1, `stat: ${path}: stat: No such file or directory`);
};
