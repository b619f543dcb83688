import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { putPolicy } from '../console/operations/policies.ts';
import { beyond, bothScopes, covers, grantsInWords, grantsOfToken, neverOfLogins, neverOfTokens, scopeTags } from '../server/admins/grants.ts';
import { newToken, tokenDigest } from '../server/admins/token-form.ts';
import { grantsOf, isWithin, type Permission, permissions, type Role, type RoleGiven, roles, type Scope, scopeOf } from '../server/permissions.ts';

/*
 * Who may do what, written out a second time by hand: whoever changes server/permissions.ts changes this table too, and reads
 * what they give. Columns: viewer, help desk, rotator, approver, auditor, admin, owner.
 */
const columns = ['viewer', 'help-desk', 'rotator', 'approver', 'auditor', 'admin', 'owner'] as const satisfies readonly Role[];
const table: Record<Permission, string> = {
  'fleet.read': 'v h r p u a o',
  'device.edit': '. . . . . a o',
  'device.merge': '. . . . . a o',
  'rotation.order': '. . r . . a o',
  'rotation.override': '. . . . . a o',
  'key.disclose': '. h . . . a o',
  'key.history': '. . . . . a o',
  'release.assist': '. h . . . a o',
  'request.decide': '. . . p . . o',
  'review.decide': '. . . p . . o',
  'emergency.open': '. . . . . a o',
  'emergency.agree': '. . . p . . o',
  'policy.read': 'v h r p u a o',
  'policy.edit': '. . . . . a o',
  'policy.agree': '. . . p . a o',
  'alarm.judge': '. . . . . a o',
  'audit.read': '. . . . u a o',
  'report.make': '. . . . u . o',
  'people.read': '. . . . u a o',
  'people.edit': '. . . . . . o',
  'token.own': 'v h r p u a o',
};
const cell = (permission: Permission, role: Role): boolean => table[permission].split(' ')[columns.indexOf(role)] !== '.';

const scopes: Record<string, Scope> = { 'all Macs': null, 'one tag': ['berlin'], 'two tags': ['berlin', 'group:design'] };
const macs: Record<string, readonly string[]> = {
  'with no tag': [],
  'in Berlin': ['berlin'],
  'in Paris': ['paris'],
  'of the designers': ['group:design', 'paris'],
};
const isIn: Record<string, readonly string[]> = {
  'all Macs': ['with no tag', 'in Berlin', 'in Paris', 'of the designers'],
  'one tag': ['in Berlin'],
  'two tags': ['in Berlin', 'of the designers'],
};

describe('the table of who may do what', () => {
  test('has every role and every permission that there is, and no other', () => {
    expect(Object.keys(roles)).toEqual([...columns]);
    expect(Object.keys(table)).toEqual(Object.keys(permissions));
  });

  test.each(columns.flatMap((role) => Object.keys(scopes).map((scope) => [role, scope] as const)))(
    '%s for %s: each act on each Mac as it is written here',
    (role, scope) => {
      const grants = grantsOf([{ role, scope: scopes[scope] ?? null }]);
      for (const permission of Object.keys(table) as Permission[]) {
        const given = scopeOf({ grants }, permission);
        for (const [name, tags] of Object.entries(macs))
          expect([permission, name, isWithin(given, tags)]).toEqual([permission, name, cell(permission, role) && (isIn[scope] ?? []).includes(name)]);
      }
    },
  );

  test('tags in a scope and in a policy are as Macs have them: in lower case, but for those of groups', () => {
    expect(scopeTags.parse(['VIP', 'group:Design', ' Basel '])).toEqual(['basel', 'group:Design', 'vip']);
    const policy = { id: 'new', name: 'strict', rank: 1, tags: ['VIP', 'group:Design'], rules: { disclosure: { needs: 'second-person' } }, reason: 'a test' };
    expect(putPolicy.input.parse(policy).tags).toEqual(['vip', 'group:Design']);
  });

  test('nobody without a role may do anything to any Mac', () => {
    for (const permission of Object.keys(permissions) as Permission[]) expect(scopeOf({ grants: grantsOf([]) }, permission)).toBe(false);
  });

  test('nobody but an owner says who may do what, and nobody who decides on a disclosure can ask for one but an owner', () => {
    expect(columns.filter((role) => cell('people.edit', role))).toEqual(['owner']);
    expect(columns.filter((role) => cell('request.decide', role) && cell('key.disclose', role))).toEqual(['owner']);
  });
});

describe('several roles', () => {
  test('add up, each for its own Macs; a role for all Macs counts for all', () => {
    const grants = grantsOf([
      { role: 'help-desk', scope: ['berlin'] },
      { role: 'rotator', scope: ['paris'] },
      { role: 'viewer', scope: null },
    ]);
    expect(scopeOf({ grants }, 'key.disclose')).toEqual(['berlin']);
    expect(scopeOf({ grants }, 'rotation.order')).toEqual(['paris']);
    expect(scopeOf({ grants }, 'fleet.read')).toBeNull();
    expect(scopeOf({ grants }, 'people.edit')).toBe(false);
  });

  test('a scope without tags is none, never all', () => {
    expect(isWithin([], [])).toBe(false);
    expect(isWithin(scopeOf({ grants: grantsOf([{ role: 'admin', scope: [] }]) }, 'key.disclose'), ['berlin'])).toBe(false);
  });
});

const tags = ['berlin', 'paris', 'group:design', 'lab'] as const;
const anyScope: fc.Arbitrary<Scope> = fc.oneof(fc.constant(null), fc.uniqueArray(fc.constantFrom(...tags), { minLength: 1 }));
const anyRoles: fc.Arbitrary<RoleGiven[]> = fc.array(fc.record({ role: fc.constantFrom(...columns), scope: anyScope }), { maxLength: 4 });
const anyTags = fc.uniqueArray(fc.constantFrom(...tags));
const allPermissions = Object.keys(permissions) as Permission[];

describe('a token', () => {
  test('never may what its maker may not, on any Mac, whatever it was made with', () => {
    fc.assert(
      fc.property(anyRoles, fc.oneof(anyRoles, fc.constant(null)), anyTags, (makers, made, mac) => {
        const of = { grants: grantsOf(makers) };
        const token = { grants: grantsOfToken(of.grants, made, neverOfTokens) };
        for (const permission of allPermissions)
          if (isWithin(scopeOf(token, permission), mac)) {
            expect(isWithin(scopeOf(of, permission), mac)).toBe(true);
            if (made) expect(isWithin(scopeOf({ grants: grantsOf(made) }, permission), mac)).toBe(true);
            expect(neverOfTokens as readonly Permission[]).not.toContain(permission);
          }
      }),
      { numRuns: 300 },
    );
  });

  test('that may all that its maker may, may just that, but for what no token may', () => {
    fc.assert(
      fc.property(anyRoles, anyTags, (makers, mac) => {
        const of = { grants: grantsOf(makers) };
        const login = { grants: grantsOfToken(of.grants, null, neverOfLogins) };
        for (const permission of allPermissions)
          expect(isWithin(scopeOf(login, permission), mac)).toBe(permission !== 'token.own' && isWithin(scopeOf(of, permission), mac));
      }),
      { numRuns: 200 },
    );
  });

  test('no token makes tokens or gives roles, but the command line of an owner gives roles', () => {
    const owner = grantsOf([{ role: 'owner', scope: null }]);
    const usual = { grants: grantsOfToken(owner, [{ role: 'owner', scope: null }], neverOfTokens) };
    const login = { grants: grantsOfToken(owner, null, neverOfLogins) };
    expect([scopeOf(usual, 'token.own'), scopeOf(usual, 'people.edit'), scopeOf(usual, 'key.disclose')]).toEqual([false, false, null]);
    expect([scopeOf(login, 'token.own'), scopeOf(login, 'people.edit')]).toEqual([false, null]);
  });

  test('two scopes are one where they name the same tag; what covers a scope has each of its Macs', () => {
    expect(bothScopes(null, null)).toBeNull();
    expect(bothScopes(['a', 'b'], ['b', 'c'])).toEqual(['b']);
    expect(bothScopes(['a'], ['b'])).toBe(false);
    fc.assert(
      fc.property(anyScope, anyScope, anyTags, (have, wanted, mac) => {
        if (covers(have, wanted) && isWithin(wanted, mac)) expect(isWithin(have, mac)).toBe(true);
        if (isWithin(bothScopes(have, wanted), mac)) expect([isWithin(have, mac), isWithin(wanted, mac)]).toEqual([true, true]);
      }),
      { numRuns: 300 },
    );
    expect(covers(['a'], null)).toBe(false);
    expect(covers(false, ['a'])).toBe(false);
  });

  test('what of a role goes beyond somebody is named: the permission, or the Macs', () => {
    const desk = grantsOf([{ role: 'help-desk', scope: ['berlin'] }]);
    expect(beyond(desk, { role: 'help-desk', scope: ['berlin'] }, neverOfTokens)).toEqual([]);
    expect(beyond(desk, { role: 'help-desk', scope: null }, neverOfTokens)).toEqual(['fleet.read', 'policy.read', 'key.disclose', 'release.assist']);
    expect(beyond(desk, { role: 'rotator', scope: ['berlin'] }, neverOfTokens)).toEqual(['rotation.order']);
  });
});

describe('the form of a token', () => {
  test('is spk_ and 49 signs, another each time, and 256 bits of it are chance', () => {
    const some = Array.from({ length: 50 }, newToken);
    expect(new Set(some).size).toBe(50);
    for (const one of some) expect(one).toMatch(/^spk_[A-Za-z0-9_-]{49}$/);
    expect(Buffer.from((some[0] ?? '').slice(4, 47), 'base64url')).toHaveLength(32);
  });

  test('with any one sign changed, cut off or added it is none, and nobody has to look it up', () => {
    const token = newToken();
    expect(tokenDigest(token)).toMatch(/^[0-9a-f]{64}$/);
    for (let at = 4; at < token.length; at++) expect(tokenDigest(`${token.slice(0, at)}${token[at] === 'A' ? 'B' : 'A'}${token.slice(at + 1)}`)).toBeNull();
    for (const wrong of ['', 'spk_', token.slice(0, -1), `${token}A`, ` ${token}`, token.replace('spk_', 'spk-')]) expect(tokenDigest(wrong)).toBeNull();
  });
});

test('what somebody may is said in words, each permission once, with its Macs', () => {
  const said = grantsInWords({
    grants: grantsOf([
      { role: 'viewer', scope: null },
      { role: 'help-desk', scope: ['paris', 'berlin'] },
    ]),
  });
  expect(said.map(({ permission, where }) => `${permission}: ${where}`)).toEqual([
    'fleet.read: all Macs',
    'key.disclose: Macs tagged berlin, paris',
    'release.assist: Macs tagged berlin, paris',
    'policy.read: all Macs',
    'token.own: all Macs',
  ]);
});

test('docs/console.md has the table as it is', () => {
  const text = readFileSync(new URL('../docs/console.md', import.meta.url), 'utf8');
  const rows = [...text.matchAll(/^\| `([a-z.]+)`: ([^|]+) \|((?:[^|\n]*\|){7})$/gm)].map(([, permission, says, cells = '']) => [
    permission,
    says,
    cells
      .split('|')
      .slice(0, 7)
      .map((one) => one.trim() === '●'),
  ]);
  expect(rows).toEqual(
    (Object.keys(table) as Permission[]).map((permission) => [permission, permissions[permission], columns.map((role) => cell(permission, role))]),
  );
});
