import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { createAccounts } from '../server/accounts.ts';
import { makeLoginToken } from '../server/admins/tokens.ts';
import { type GivenServer, givenServer } from './given-server.ts';
import { serverCommand } from './server-command.ts';

let server: GivenServer;
beforeAll(async () => {
  server = await givenServer();
});
afterAll(() => void jest.restoreAllMocks());

async function run(...args: string[]) {
  const said = await serverCommand(...args, '--dir', server.dir);
  return { ...said, json: () => JSON.parse(said.out) };
}

async function account(name: string): Promise<string> {
  const { personId } = await createAccounts(server.serving.backend).add({ name, emergency: false, actor: 'operator' });
  return personId;
}

test('the operator makes the first owner, by name, with a reason; then there is one', async () => {
  await account('ada');
  const none = await run('role', 'list');
  expect([none.out, none.err]).toEqual(['nobody has a role\n', expect.stringContaining('nobody is owner: `sparekey-server role give NAME owner --reason …`')]);
  const given = await run('role', 'give', 'ada', 'owner', '--reason', 'runs Sparekey');
  expect([given.code, given.out]).toEqual([0, 'ada is owner, for all Macs\n']);
  expect(given.err).toContain('settings.json has no `console`');
  expect((await run('role', 'give', 'ada', 'owner', '--reason', 'again')).out).toContain('ada was owner, for all Macs already');
  const list = await run('role', 'list', '--json');
  expect(list.json()).toMatchObject({
    roles: [{ subject: { kind: 'person', name: 'ada' }, role: 'owner', tags: null, by: 'operator', reason: 'runs Sparekey' }],
  });
});

test('a reason with a recovery key in it is refused: it would stand in the audit for ever', async () => {
  const refused = await run('role', 'give', 'ada', 'owner', '--reason', 'they read ABCD-EFGH-JKLM-NPQR-TUVW-XYZ2 to me');
  expect([refused.code, refused.err]).toEqual([64, expect.stringContaining('KEY_IN_WORDS')]);
  expect(refused.err).not.toContain('NPQR');
});

test('groups and tags are named; a role is taken from one of them or from all', async () => {
  expect((await run('role', 'give', 'it desk', 'help-desk', '--group', '--tag', 'paris', '--tag', 'berlin', '--reason', 'x')).out).toBe(
    'the group it desk is help-desk, for Macs tagged berlin, paris\n',
  );
  await run('role', 'give', 'it desk', 'help-desk', '--group', '--reason', 'x');
  expect((await run('role', 'list')).out).toMatch(/group it desk +help-desk +Macs tagged berlin, paris +\S+ +operator +x\n/);
  const one = await run('role', 'take', 'it desk', 'help-desk', '--group', '--tag', 'berlin', '--tag', 'paris', '--reason', 'x', '--json');
  expect(one.json().taken).toHaveLength(1);
  expect((await run('role', 'take', 'it desk', 'help-desk', '--group', '--reason', 'x', '--json')).json().taken).toHaveLength(1);
  const none = await run('role', 'take', 'it desk', 'help-desk', '--group', '--reason', 'x');
  expect([none.code, none.err]).toEqual([64, expect.stringContaining('the group it desk has no role help-desk')]);
});

test.each([
  ['without a reason', ['role', 'give', 'ada', 'viewer'], 64, 'REASON_MISSING'],
  ['of no such name', ['role', 'give', 'ada', 'emperor', '--reason', 'x'], 64, 'a role is one of viewer, help-desk'],
  ['to somebody who was never here', ['role', 'give', 'nobody', 'viewer', '--reason', 'x'], 64, 'there is nobody of the name nobody'],
  ['owner of a few Macs', ['role', 'give', 'ada', 'owner', '--tag', 'berlin', '--reason', 'x'], 64, 'ROLE_INVALID'],
  ['taken from the last owner', ['role', 'take', 'ada', 'owner', '--reason', 'x'], 77, 'LAST_OWNER'],
] as const)('a role %s is refused, and says what to do', async (_, args, exit, says) => {
  const refused = await run(...args);
  expect([refused.code, refused.err]).toEqual([exit, expect.stringContaining(says)]);
});

test('tokens are listed and ended by the operator, and no list shows one', async () => {
  const { store, clock } = server.serving.backend;
  const id = await account('grace');
  await run('role', 'give', 'grace', 'viewer', '--reason', 'x');
  expect((await run('token', 'list')).out).toBe('there are no tokens\n');
  const at = clock.now();
  const made = await store.write((tx) => makeLoginToken(tx, at, { person: { id, userName: 'grace' }, machine: 'a laptop', freshAt: at, network: '192.0.2.1' }));
  const list = await run('token', 'list');
  expect(list.out).toMatch(new RegExp(`${made.id} +grace +sparekeyctl at a-laptop +login +\\S+ +– +usable`));
  expect(list.out).not.toContain(made.token.slice(4));
  await run('role', 'take', 'grace', 'viewer', '--reason', 'x');
  expect((await run('token', 'list', '--json')).json()).toMatchObject({ tokens: [{ id: made.id, powerless: true }] });
  expect((await run('token', 'end', made.id)).out).toBe('the token sparekeyctl at a-laptop has ended\n');
  expect((await run('token', 'list')).out).toBe('there are no tokens\n');
  expect((await run('token', 'end', 'none')).code).toBe(64);
});

test('where there is a console, an account can be set up there, and an emergency account is told to need a role', async () => {
  const file = join(server.dir, 'settings.json');
  const before = readFileSync(file, 'utf8');
  const sites = { people: { url: 'https://key.example.org', listen: { port: 8444 } }, console: { url: 'https://console.example.org', listen: { port: 8445 } } };
  writeFileSync(file, JSON.stringify({ ...JSON.parse(before), ...sites }));
  try {
    const made = await run('account', 'add', 'emergency-1', '--emergency');
    expect(made.out).toContain('set up at      https://key.example.org/set-up\nor, an admin   https://console.example.org/set-up\n');
    expect(made.err).toContain('it may nothing at the console yet: sparekey-server role give emergency-1 owner --reason …');
    const given = await run('role', 'give', 'emergency-1', 'owner', '--reason', 'the day when nobody can sign in');
    expect([given.code, given.err]).toEqual([0, '']);
  } finally {
    writeFileSync(file, before);
  }
});

test('what was taken since a day is in the list for a restore', async () => {
  const list = (await run('revocations', '--json')).json();
  expect(list.roles.length).toBeGreaterThanOrEqual(3);
  expect(list.roles[0]).toEqual({ id: expect.any(String), because: 'x', at: expect.any(Number) });
});
