// dscl. `accountPolicyData` is printed as a name, then the property list in XML (scripts take `passwordLastSetTime`, seconds
// with a fraction, from it). The list of users has macOS's own beside the people. The error of a missing record is seen widely.
import { xmlPlist } from '../property-list.ts';
import { type MacState, userOf } from '../state.ts';
import { type Asked, hasNo, type Outcome, says } from './outcome.ts';

const macosUsers: [string, number][] = [
  ['_mbsetupuser', 248],
  ['daemon', 1],
  ['nobody', -2],
  ['root', 0],
];

const unknownRecord: Outcome = { code: 56, stdout: '', stderr: '<dscl_cmd> DS Error: -14136 (eDSRecordNotFound)\n' };

/** Several attributes at once. The words of AuthenticationAuthority are from manual pages and scripts; that a missing one is said so and exits 0 is modelled. */
const readAttributes = (state: MacState, [verb, path = '', ...keys]: readonly string[]): Outcome | null => {
  const name = /^\/Users\/([^/]+)$/.exec(path)?.[1];
  if (verb !== '-read' || name === undefined || keys.length < 2) return null;
  const user = userOf(state, name);
  if (!user) return unknownRecord;
  const authority = [
    ...(user.smartCard === 'only'
      ? []
      : [user.mobile ? ';LocalCachedUser;/Active Directory/EXAMPLE:ada:0123' : ';ShadowHash;HASHLIST:<SALTED-SHA512-PBKDF2,SRP-RFC5054-4096-SHA512-PBKDF2>']),
    ...(user.smartCard ? [';tokenidentity;0123456789ABCDEF0123456789ABCDEF01234567'] : []),
    ...(user.secureToken ? [';SecureToken;'] : []),
  ];
  const values: Record<string, string | null> = {
    AuthenticationAuthority: authority.join(' '),
    IsHidden: user.hidden ? '1' : null,
    OriginalNodeName: user.mobile ? '\n /Active Directory/EXAMPLE/All Domains' : null,
    UniqueID: String(user.uid),
  };
  if (!keys.every((key) => key in values)) return null;
  return says(keys.map((key) => (values[key] == null ? `No such key: ${key}\n` : `${key}: ${values[key]}\n`)).join(''));
};

export const dscl = ({ state }: Asked, args: readonly string[]): Outcome => {
  const [where, verb, path = '', key, ...more] = args;
  if (where !== '.') return hasNo('/usr/bin/dscl', args);
  if (verb === '-list' && path === '/Users' && key === 'UniqueID' && !more.length) {
    const rows = [...macosUsers, ...state.users.map(({ name, uid }): [string, number] => [name, uid])];
    return says(rows.map(([name, uid]) => `${name.padEnd(23)} ${uid}\n`).join(''));
  }
  const attributes = readAttributes(state, args.slice(1));
  if (attributes) return attributes;
  const name = /^\/Users\/([^/]+)$/.exec(path)?.[1];
  if (more.length || verb !== '-read' || key !== 'accountPolicyData' || name === undefined) return hasNo('/usr/bin/dscl', args);
  const user = userOf(state, name);
  if (!user) return unknownRecord;
  const seconds = user.passwordChangedAt / 1000 + 0.25;
  return says(`accountPolicyData:\n ${xmlPlist({ failedLoginCount: 0, failedLoginTimestamp: 0, passwordLastSetTime: seconds })}\n`);
};
