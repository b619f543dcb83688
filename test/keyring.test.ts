import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';

/** The real keytar needs a session bus and an unlocked keyring: on Linux without a desktop both are made for this one test. */
const programs = ['/usr/bin/dbus-run-session', '/usr/bin/gnome-keyring-daemon'];
const present = process.platform === 'linux' && programs.every((program) => existsSync(program));
const onCi = process.env['CI'] === 'true';

/** What a run with the keychain does, by the very module that the agent ships; each answer on a line. */
const story = `
  const { openSecrets } = await import(process.argv[1]);
  const secrets = openSecrets();
  const account = 'recovery-key:keyring-test';
  const say = (answer) => console.log(JSON.stringify(answer));
  say(await secrets.read(account));
  say(await secrets.write(account, 'né — 鍵'));
  say(await secrets.read(account));
  say(await secrets.write(account, 'another'));
  say(await secrets.list());
  say(await secrets.write(account + '-long', 'x'.repeat(4096)));
  say((await secrets.read(account + '-long')).there.length);
  say(await secrets.remove(account));
  say(await secrets.read(account));
  process.exit(0);
`;

function inKeyring(unlock: boolean): Promise<{ answers: unknown[]; stderr: string }> {
  const home = mkdtempSync(join(tmpdir(), 'sparekey-keyring-'));
  const start = unlock ? 'printf test | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1; ' : '';
  const env = { PATH: '/usr/bin:/bin', HOME: home, XDG_DATA_HOME: join(home, 'data'), XDG_RUNTIME_DIR: home, LANG: 'C.UTF-8' };
  // The session's bus, and the keyring with it, end when the command ends.
  const shell = [
    'dbus-run-session',
    '--',
    'bash',
    '-c',
    `${start}"$0" --input-type=module -e "$1" "$2"`,
    process.execPath,
    story,
    join(import.meta.dirname, '../agent/secrets.ts'),
  ];
  return new Promise((resolve, reject) => {
    const child = spawn('/usr/bin/env', shell, { env });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (data) => (stdout += data));
    child.stderr.on('data', (data) => (stderr += data));
    child.on('error', reject);
    child.on('close', () => {
      rmSync(home, { recursive: true, force: true, maxRetries: 5 });
      resolve({
        answers: stdout
          .split('\n')
          .filter(Boolean)
          .map((line) => JSON.parse(line)),
        stderr,
      });
    });
  });
}

const where = present || onCi ? test : test.skip;

where('the real keytar keeps, reads, never overwrites, lists and removes in a real keyring', async () => {
  const { answers, stderr } = await inKeyring(true);
  expect({ answers, stderr }).toMatchObject({
    answers: ['not-there', true, { there: 'né — 鍵' }, false, ['recovery-key:keyring-test'], true, 4096, true, 'not-there'],
  });
});

where('a keyring that cannot be opened takes nothing, and a write says so', async () => {
  const { answers } = await inKeyring(false);
  expect(answers[1]).toBe(false);
  expect(answers).not.toContain(true);
});
