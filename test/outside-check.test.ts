import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { FakeMac } from './fake-mac/fake-mac.ts';
import { readWith, testWith } from './other-readers.ts';

const script = join(import.meta.dirname, '../scripts/outside-check.sh');
const label = 'io.sparekey.agent';
const statusFile = `/var/db/${label}.public/status.json`;
const shells = ['/usr/bin/dash', '/usr/bin/bash'].filter(existsSync);

let folder: string;
let mac: FakeMac;

/** The same under each shell there is: what comes out must not depend on it. */
async function check(options: readonly string[] = [], root = mac.root): Promise<{ code: number | null; out: string; err: string }> {
  const all = await Promise.all(
    shells.map(
      (shell) =>
        new Promise<{ code: number | null; out: string; err: string }>((resolve, reject) => {
          const child = spawn(shell, [script, ...options, '--root', root], { cwd: folder, env: { PATH: '/nowhere', LANG: 'de_DE.UTF-8' } });
          const ran = { code: null as number | null, out: '', err: '' };
          child.stdout.on('data', (data) => (ran.out += data));
          child.stderr.on('data', (data) => (ran.err += data));
          child.on('error', reject);
          child.on('close', (code) => resolve({ ...ran, code }));
        }),
    ),
  );
  const [first] = all;
  if (!first) throw new Error('there is no shell');
  for (const one of all) expect(one).toEqual(first);
  return first;
}

const word = async (...options: string[]): Promise<[string, number | null]> => {
  const { code, out } = await check(options);
  return [out.split(':')[0] ?? '', code];
};
/** And half an hour: one shell after the other, both count the same full hours. */
const ranHoursAgo = (hours: number): void => {
  const at = Date.now() / 1000 - hours * 3600 - 1800;
  mkdirSync(mac.path(`/var/db/${label}.public`), { recursive: true });
  rmSync(mac.path(statusFile), { force: true });
  writeFileSync(mac.path(statusFile), '{"version":1,"serial":"C02SECRET"}\n');
  utimesSync(mac.path(statusFile), at, at);
};
async function change(more: { loaded?: boolean; enabled?: boolean; lastExit?: number }): Promise<void> {
  mac.change((state) => {
    Object.assign(state.jobs[label] ?? {}, more);
  });
  if (existsSync(join(folder, 'print'))) await tellAtOnce();
}

/** The fake Mac's own words, told by a program that starts in an instant. */
async function tellAtOnce(): Promise<void> {
  const print = await mac.runner.run({ program: '/bin/launchctl', args: ['print', `system/${label}`] });
  const disabled = await mac.runner.run({ program: '/bin/launchctl', args: ['print-disabled', 'system'] });
  writeFileSync(join(folder, 'print'), print.stdout);
  writeFileSync(join(folder, 'print-disabled'), disabled.stdout);
  const text = `#!/bin/sh\ncase $* in 'print system/${label}' | 'print-disabled system') ;; *) exit 64 ;; esac\ncat '${folder}/'"$1"\n`;
  rmSync(mac.path('/bin/launchctl'));
  writeFileSync(mac.path('/bin/launchctl'), `${text}[ "$1" = print-disabled ] || exit ${print.code}\n`, { mode: 0o755 });
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sparekey-outside-'));
  writeFileSync(join(folder, 'agent.mjs'), '');
  mac = FakeMac.create({ root: join(folder, 'mac'), folder: true, agent: { bundle: join(folder, 'agent.mjs'), job: null } });
  ranHoursAgo(1);
  await change({ lastExit: 0 });
  expect(await check()).toEqual({ code: 0, out: 'alive: the last run was 1 hours ago\n', err: '' });
  await tellAtOnce();
});
// A Mac whose agent lives, whatever became of the test before.
beforeEach(async () => {
  ranHoursAgo(1);
  await change({ enabled: true, loaded: true, lastExit: 0 });
});
afterAll(() => {
  mac.dispose();
  rmSync(folder, { recursive: true, force: true });
});

describe('what each product gets', () => {
  test('a Mac whose agent lives: one line, in the form that the product wants, and exit 0', async () => {
    const says = 'alive: the last run was 1 hours ago';
    expect(await check(['--format', 'jamf'])).toEqual({ code: 0, out: `<result>${says}</result>\n`, err: '' });
    expect(await check(['--format', 'intune'])).toEqual({ code: 0, out: `${says}\n`, err: '' });
    expect(await check()).toEqual({ code: 0, out: `${says}\n`, err: '' });
    const { code, out } = await check(['--format', 'json']);
    expect([code, JSON.parse(out)]).toEqual([0, { state: 'alive', says: 'the last run was 1 hours ago', lastExit: 0 }]);
  });

  test('a silent one: Jamf and Intune still get their value with exit 0, Fleet and JSON exit 1', async () => {
    ranHoursAgo(73);
    const says = 'silent: the last run was 73 hours ago';
    expect(await check(['--format', 'jamf'])).toEqual({ code: 0, out: `<result>${says}</result>\n`, err: '' });
    expect(await check(['--format', 'intune'])).toEqual({ code: 0, out: `${says}\n`, err: '' });
    expect(await check(['--format', 'fleet'])).toEqual({ code: 1, out: `${says}\n`, err: '' });
    expect((await check(['--format', 'json'])).code).toBe(1);
    expect(await word('--hours', '74')).toEqual(['alive', 0]);
  });

  test('what Jamf hands to a script as its first arguments is passed over; what is not understood exits 64', async () => {
    expect((await check(['/', 'A Mac', 'ada', '', '--format', 'jamf'])).out).toMatch(/^<result>alive: /);
    for (const wrong of [['--format', 'xml'], ['--hours', '-1'], ['--hours', ''], ['--hours', '1e9'], ['--wipe'], ['--format']]) {
      const { code, out, err } = await check(wrong);
      expect([code, out, err]).toEqual([64, '', expect.stringMatching(/^sparekey outside-check: .+\n$/)]);
    }
  });
});

describe('what is found', () => {
  test('a job that was disabled, booted out or switched off, and one whose last run needs a person', async () => {
    await change({ enabled: false });
    expect(await word()).toEqual(['disabled', 1]);
    await change({ enabled: true, loaded: false });
    expect(await word()).toEqual(['not-loaded', 1]);
    await change({ loaded: true, lastExit: 77 });
    expect(await check()).toEqual({ code: 1, out: 'failing: the last run, 1 hours ago, ended with 77\n', err: '' });
    for (const lastExit of [69, 75]) {
      await change({ lastExit });
      expect(await word()).toEqual(['alive', 0]);
    }
  });

  test('a job that has left no status, one that others put a link in place of, and a clock that was set back', async () => {
    rmSync(mac.path(statusFile));
    expect(await word()).toEqual(['never-ran', 1]);
    symlinkSync('/etc/passwd', mac.path(statusFile));
    expect(await word()).toEqual(['unreadable', 1]);
    rmSync(mac.path(statusFile));
    ranHoursAgo(-5);
    expect(await check()).toEqual({ code: 0, out: 'alive: the last run was 0 hours ago\n', err: '' });
  });

  test('a status of years ahead, from a clock that was wrong, does not hide for years that the job is silent', async () => {
    ranHoursAgo(-5 * 8766);
    expect(await word()).toEqual(['silent', 1]);
  });

  test('launchctl that does not answer says nothing about the job: its status does', async () => {
    writeFileSync(mac.path('/bin/launchctl'), '#!/bin/sh\nexit 5\n');
    expect(await word()).toEqual(['alive', 0]);
  });

  test('a package of which a part is missing, and none at all', async () => {
    const plist = mac.path(`/Library/LaunchDaemons/${label}.plist`);
    const text = readFileSync(plist);
    rmSync(plist);
    expect(await word()).toEqual(['damaged', 1]);
    writeFileSync(plist, text);
    const bundle = mac.path('/Library/Sparekey/lib/sparekey.mjs');
    rmSync(bundle);
    expect(await word()).toEqual(['damaged', 1]);
    writeFileSync(bundle, '');
    const empty = mkdtempSync(join(folder, 'empty-'));
    expect(await check([], empty)).toEqual({ code: 1, out: 'not-installed: the package is not installed\n', err: '' });
  });
});

describe('the script itself', () => {
  test('writes nothing: a Mac that may not be written looks the same, and nothing of the status is printed', async () => {
    const before = await check(['--format', 'json']);
    chmodSync(mac.path(`/var/db/${label}.public`), 0o555);
    expect(await check(['--format', 'json'])).toEqual(before);
    chmodSync(mac.path(`/var/db/${label}.public`), 0o755);
    expect(before.out).not.toContain('C02SECRET');
    // Redirections only to where nothing is kept, and no program that changes anything.
    const code = readFileSync(script, 'utf8')
      .split('\n')
      .filter((line) => !line.trim().startsWith('#'));
    expect(code.filter((line) => /[^2&=-]>(?!&2|\/dev\/null)/.test(line.replace(/<\/?result>/g, '')))).toEqual([]);
    expect(code.join('\n')).not.toMatch(/\b(rm|mv|cp|touch|kill|kickstart|bootstrap|bootout|enable|disable|defaults|plutil|sudo|curl)\b(?!d)/);
  });

  test.each(['../scripts/outside-check.sh', '../docs/deploy/fleet.md'])(
    'the policy for osquery in %s passes while the agent lives, and not for years because a clock was wrong',
    (from) => {
      const text = readFileSync(join(import.meta.dirname, from), 'utf8').replaceAll(/\n# +/g, ' ');
      const query = /SELECT 1 FROM file WHERE path = [^;]+;/.exec(text)?.[0] ?? '';
      const database = new DatabaseSync(':memory:');
      database.exec('create table file (path text, mtime bigint)');
      const passes = (daysAgo: number): boolean => {
        database.exec('delete from file');
        database
          .prepare('insert into file values (?, ?)')
          .run('/var/db/io.sparekey.agent.public/status.json', Math.floor(Date.now() / 1000) - daysAgo * 86_400);
        return database.prepare(query).all().length === 1;
      };
      expect([0, 2.9, 3.1, -2.9, -3.1, -3000].map(passes)).toEqual([true, true, false, true, false, false]);
      database.close();
    },
  );

  test('has a line to set for products that give no arguments', () => {
    expect(readFileSync(script, 'utf8').split('\n')).toContain('format=fleet');
  });

  testWith(['shellcheck'], 'is clean for shellcheck, as plain sh', () => {
    expect(readWith('shellcheck', ['--shell=sh', script])).toBe('');
  });
});
