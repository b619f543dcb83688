// sysadminctl. Seen on macOS 26: the line for ENABLED, on standard ERROR, exit 0. Modelled: DISABLED in the same form, and
// the words for a user that there is not. The time and the process in front are those of the boot here, so that the same
// question has the same answer.
import { userOf } from '../state.ts';
import { type Asked, hasNo, type Outcome } from './outcome.ts';

export const sysadminctl = ({ state }: Asked, args: readonly string[]): Outcome => {
  const [option, name, ...more] = args;
  if (option !== '-secureTokenStatus' || name === undefined || more.length) return hasNo('/usr/sbin/sysadminctl', args);
  const prefix = `${new Date(state.boot.bootedAt).toISOString().slice(0, 23).replace('T', ' ')} sysadminctl[83979:1762080] `;
  const user = userOf(state, name);
  const words = user ? `Secure token is ${user.secureToken ? 'ENABLED' : 'DISABLED'} for user ${name}` : `Unknown user ${name}`;
  return { code: 0, stdout: '', stderr: `${prefix}${words}\n` };
};
