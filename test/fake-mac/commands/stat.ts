// stat -f %Su /dev/console: what every script asks; root at the login window, _mbsetupuser in Setup Assistant.
import { type Asked, hasNo, type Outcome, onTheMac, says } from './outcome.ts';

export const stat = ({ root, state }: Asked, args: readonly string[]): Outcome =>
  args.map((arg) => onTheMac(root, arg)).join(' ') === '-f %Su /dev/console' ? says(`${state.console.user ?? 'root'}\n`) : hasNo('/usr/bin/stat', args);
