/**
 * Who may do what: one table, role × act × scope. An act of an admin names its permission; who has it for which Macs follows
 * from the roles that were given. Nothing else in the backend decides about admins.
 */
export const permissions = {
  'fleet.read': 'see Macs, their state and their history, without keys',
  'device.edit': 'change tags, users and standing of Macs',
  'device.merge': 'join two records of one Mac',
  'rotation.order': 'have keys replaced, proved, and take such orders back',
  'rotation.override': 'have a key replaced while somebody may be typing it',
  'key.disclose': 'be shown the key of a Mac, or ask for it',
  'key.history': 'be shown a key that was replaced',
  'release.assist': 'make the code with which somebody sees the key of their Mac on another device',
  'request.decide': 'agree to a disclosure that somebody else asked for, or refuse it',
  'review.decide': 'look at a disclosure afterwards, and say whether it was right',
  'emergency.open': 'ask for self-service for many at once',
  'emergency.agree': 'agree to self-service for many at once',
  'policy.read': 'see the policies',
  'policy.edit': 'change the policies',
  'policy.agree': 'agree to what shows keys more easily, where others than its maker have to',
  'alarm.judge': 'take over alarms, mute them, and say what they were',
  'audit.read': 'read, search and take out the audit',
  'report.make': 'make an evidence pack',
  'people.read': 'see who has which role, and all tokens',
  'people.edit': 'give and take roles, and end tokens of others',
  'token.own': 'make and end tokens of one’s own',
} as const;
export type Permission = keyof typeof permissions;

const reading = ['fleet.read', 'policy.read', 'token.own'] as const satisfies readonly Permission[];

export const roles = {
  viewer: { says: 'sees the fleet', may: reading },
  'help-desk': { says: 'helps people who are locked out', may: [...reading, 'key.disclose', 'release.assist'] },
  rotator: { says: 'has keys replaced', may: [...reading, 'rotation.order'] },
  approver: { says: 'agrees to disclosures', may: [...reading, 'request.decide', 'review.decide', 'emergency.agree', 'policy.agree'] },
  auditor: { says: 'reads who did what', may: [...reading, 'audit.read', 'report.make', 'people.read'] },
  admin: {
    says: 'runs the fleet',
    may: [
      ...reading,
      'device.edit',
      'device.merge',
      'rotation.order',
      'rotation.override',
      'key.disclose',
      'key.history',
      'release.assist',
      'emergency.open',
      'policy.edit',
      'policy.agree',
      'alarm.judge',
      'audit.read',
      'people.read',
    ],
  },
  owner: { says: 'may do everything, and says who may do what', may: Object.keys(permissions) as Permission[] },
} as const satisfies Record<string, { says: string; may: readonly Permission[] }>;
export type Role = keyof typeof roles;

/** For which Macs: `null` for all, else those that have one of these tags. */
export type Scope = readonly string[] | null;

export interface RoleGiven {
  role: Role;
  scope: Scope;
}

/** Whoever acts as an admin: a person in the console, a token, or the operator at the machine. */
export interface Admin {
  kind: 'person' | 'token' | 'operator';
  /** As the audit names them: a user name, or `token NAME of USER`. */
  name: string;
  /** The person, or who made the token; null for the operator. */
  personId: string | null;
  tokenId: string | null;
  /** A token that stands for a program and not for a person: it is shown no key unless a policy says so. */
  service: boolean;
  /** What they may; of a token that both it and who made it may. Each with the Macs that it is for. */
  grants: readonly { permission: Permission; scope: Scope }[];
  /** They proved who they are a short time ago. */
  fresh: boolean;
}

/** What each role in a list allows, for which Macs. */
export const grantsOf = (given: readonly RoleGiven[]): { permission: Permission; scope: Scope }[] =>
  given.flatMap(({ role, scope }) => roles[role].may.map((permission) => ({ permission, scope })));

/** For which Macs an admin has a permission: `null` for all, a list of tags, or `false` for none at all. */
export function scopeOf(admin: Pick<Admin, 'grants'>, permission: Permission): Scope | false {
  const scopes = admin.grants.filter((grant) => grant.permission === permission).map(({ scope }) => scope);
  if (scopes.length === 0) return false;
  if (scopes.includes(null)) return null;
  return [...new Set(scopes.flatMap((scope) => scope ?? []))].toSorted();
}

/** Whether a Mac with these tags is within a scope. */
export const isWithin = (scope: Scope | false, tags: readonly string[]): boolean =>
  scope === null || (scope !== false && scope.some((tag) => tags.includes(tag)));
