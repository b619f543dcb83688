import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { createAccounts } from '../server/accounts.ts';
import { verifyAudit } from '../server/audit.ts';
import { openBackend } from '../server/backend.ts';
import { type GivenServer, givenServer } from './given-server.ts';
import { serverCommand } from './server-command.ts';

let server: GivenServer;
beforeAll(async () => {
  server = await givenServer();
});
afterAll(() => void jest.restoreAllMocks());

async function account(...args: string[]) {
  const { code, out, err } = await serverCommand('account', ...args, '--dir', server.dir);
  return { code, stdout: out, stderr: err, json: args.includes('--json') && out !== '' ? JSON.parse(out) : null };
}
const inBackend = async <T>(work: (backend: Awaited<ReturnType<typeof openBackend>>) => Promise<T>): Promise<T> => {
  const backend = await openBackend({ dir: server.dir, passphrase: null });
  try {
    return await work(backend);
  } finally {
    await backend.close();
  }
};

test('account add prints a code once, a third emergency account is noted, and nothing keeps a code in plain', async () => {
  const made = await account('add', 'Ada@example.org', '--display-name', 'Ada Lovelace', '--as', 'olga', '--json');
  expect(made.code).toBe(0);
  expect(made.json).toMatchObject({ name: 'ada@example.org', code: expect.stringMatching(/^([A-Z2-9]{5}-){3}[A-Z2-9]{5}$/), setUp: null });
  expect(made.stderr).toContain('settings.json has no `people`');
  const file = join(server.dir, 'settings.json');
  const settings = JSON.parse(readFileSync(file, 'utf8'));
  const people = { url: 'https://key.example.org', listen: { port: 9443 }, signIn: { localAccounts: false } };
  writeFileSync(file, JSON.stringify({ ...settings, people }));
  const plain = await account('add', 'bob');
  expect(plain.stdout).toMatch(/one-time code +([A-Z2-9]{5}-){3}[A-Z2-9]{5}\nset up at +https:\/\/key\.example\.org\/set-up\n/);
  expect(plain.stderr).toContain('this account cannot sign in');
  await inBackend(async (backend) => {
    for (const name of ['glass-1', 'glass-2']) await createAccounts(backend).add({ name, emergency: true, actor: 'olga' });
    const kept = JSON.stringify(await backend.store.db.selectFrom('local_account').selectAll().execute());
    expect(kept).not.toContain(made.json.code.replaceAll('-', ''));
    expect(kept).not.toContain(made.json.code);
  });
  const third = await account('add', 'glass-3', '--emergency', '--json');
  expect(third.stderr).toContain('there are 3 emergency accounts: two are enough');
  const again = await account('add', 'bob');
  expect(again.code).toBe(64);
  expect(again.stderr).toContain('ACCOUNT_EXISTS');
});

test('account disable asks, ends sessions and says how many; enable, reset and list follow; all of it is in the audit', async () => {
  expect((await account('disable', 'bob', '--reason', 'left')).stderr).toContain('add --yes');
  const disabled = await account('disable', 'bob', '--reason', 'left', '--yes');
  expect(disabled.stdout).toBe('bob is disabled; 0 sessions have ended\n');
  const listed = await account('list', '--json');
  const states = Object.fromEntries(
    listed.json.people.map((one: { userName: string; kind: string; state: string }) => [one.userName, `${one.kind}, ${one.state}`]),
  );
  expect(states).toMatchObject({ bob: 'local, disabled', 'glass-1': 'emergency, to be set up', 'ada@example.org': 'local, to be set up' });
  expect((await account('list')).stdout).toMatch(/^USER NAME +KIND +STATE +PASSKEYS +LAST SEEN +NAME\n/);
  expect((await account('enable', 'bob', '--reason', 'is back')).stdout).toBe('bob may sign in again\n');
  const reset = await account('reset', 'bob', '--reason', 'forgot it', '--json');
  expect(reset.json.code).toMatch(/^[A-Z2-9-]{23}$/);
  expect((await account('reset', 'bob')).stderr).toContain('REASON_MISSING');
  expect((await account('disable', 'nobody', '--reason', 'x', '--yes')).stderr).toContain('NOT_FOUND');
  await inBackend(async ({ store }) => {
    const acts = await store.db.selectFrom('audit').select(['act', 'actor', 'details']).where('act', 'like', 'account.%').orderBy('seq').execute();
    expect(acts.map(({ act }) => act)).toEqual([...Array(5).fill('account.made'), 'account.disabled', 'account.enabled', 'account.reset']);
    expect(acts[0]).toMatchObject({ actor: 'olga' });
    expect(JSON.stringify(acts)).not.toContain(reset.json.code);
    expect(await verifyAudit(store)).toMatchObject({ ok: true });
  });
});
