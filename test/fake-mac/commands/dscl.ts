// dscl. `accountPolicyData` is printed as a name, then the property list in XML (scripts take `passwordLastSetTime`, seconds
// with a fraction, from it). The list of users has macOS's own beside the people. The error of a missing record is seen widely.
import { xmlPlist } from '../property-list.ts';
import { userOf } from '../state.ts';
import { type Asked, hasNo, type Outcome, says } from './outcome.ts';

const macosUsers: [string, number][] = [
  ['_mbsetupuser', 248],
  ['daemon', 1],
  ['nobody', -2],
  ['root', 0],
];

export const dscl = ({ state }: Asked, args: readonly string[]): Outcome => {
  const [where, verb, path = '', key, ...more] = args;
  if (where !== '.' || more.length) return hasNo('/usr/bin/dscl', args);
  if (verb === '-list' && path === '/Users' && key === 'UniqueID') {
    const rows = [...macosUsers, ...state.users.map(({ name, uid }): [string, number] => [name, uid])];
    return says(rows.map(([name, uid]) => `${name.padEnd(23)} ${uid}\n`).join(''));
  }
  const name = /^\/Users\/([^/]+)$/.exec(path)?.[1];
  if (verb !== '-read' || key !== 'accountPolicyData' || name === undefined) return hasNo('/usr/bin/dscl', args);
  const user = userOf(state, name);
  if (!user) return { code: 56, stdout: '', stderr: '<dscl_cmd> DS Error: -14136 (eDSRecordNotFound)\n' };
  const seconds = user.passwordChangedAt / 1000 + 0.25;
  return says(`accountPolicyData:\n ${xmlPlist({ failedLoginCount: 0, failedLoginTimestamp: 0, passwordLastSetTime: seconds })}\n`);
};
