import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { FakeMac } from './fake-mac/fake-mac.ts';
import { alive } from './fake-mac/state-file.ts';
import { until } from './waiting.ts';

const temporary = mkdtempSync(join(tmpdir(), 'fake-mac-test-'));
afterAll(() => rmSync(temporary, { recursive: true, force: true }));

describe('the fake launchd', () => {
  const label = 'io.sparekey.agent';
  /** An agent in place of ours: it notes what it was given, leaves one child in its group and one in a session of its own, and goes. */
  const agent = `import { spawn } from 'node:child_process';
import { appendFileSync, existsSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
const root = process.argv[process.argv.indexOf('--root') + 1];
const inGroup = spawn('/bin/sleep', ['60'], { stdio: 'ignore' });
const ownSession = spawn('/bin/sleep', ['60'], { stdio: 'ignore', detached: true });
writeFileSync(root + '/seen.json', JSON.stringify({ argv: process.argv.slice(2), env: process.env, inGroup: inGroup.pid, ownSession: ownSession.pid }));
appendFileSync(root + '/children', ownSession.pid + '\\n');
appendFileSync(root + '/runs', process.pid + '\\n');
console.log('hello from the job');
const queue = root + '/var/db/io.sparekey.agent/queue';
if (existsSync(queue)) for (const name of readdirSync(queue).slice(0, 1)) rmSync(queue + '/' + name);
do await new Promise((done) => setTimeout(done, 50));
while (existsSync(root + '/slow'));
process.exit(existsSync(root + '/exit-75') ? 75 : 0);`;
  let mac: FakeMac;
  const job = (extra: string) =>
    `<?xml version="1.0"?><plist version="1.0"><dict><key>Label</key><string>${label}</string><key>ProgramArguments</key><array><string>/Library/Sparekey/bin/node</string><string>/Library/Sparekey/lib/sparekey.mjs</string><string>check-in</string></array><key>StartInterval</key><integer>900</integer><key>QueueDirectories</key><array><string>/var/db/io.sparekey.agent/queue</string></array><key>StandardOutPath</key><string>/Library/Logs/job.log</string>${extra}</dict></plist>`;
  const cli = (...args: string[]) =>
    new Promise<{ code: number | null; said: string }>((resolve) => {
      const child = spawn(process.execPath, [join(import.meta.dirname, 'fake-mac/main.ts'), ...args]);
      let said = '';
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (data) => {
          said += data;
        });
      child.on('close', (code) => resolve({ code, said }));
    });
  const launchctl = async (...args: string[]) => {
    const ran = await mac.runner.run({ program: '/bin/launchctl', args });
    return { code: ran.code, said: `${ran.stdout}${ran.stderr}` };
  };
  const seen = () =>
    JSON.parse(readFileSync(mac.path('/seen.json'), 'utf8')) as { argv: string[]; env: Record<string, string>; inGroup: number; ownSession: number };
  const runs = () => (existsSync(mac.path('/runs')) ? readFileSync(mac.path('/runs'), 'utf8').trim().split('\n').length : 0);
  const idle = async (): Promise<void> => {
    await until(() => mac.state.jobs[label]?.supervisor == null);
  };
  const make = (name: string, extra = ''): FakeMac => {
    const folder = mkdtempSync(join(temporary, `${name}-`));
    writeFileSync(join(folder, 'agent.mjs'), agent);
    writeFileSync(join(folder, 'job.plist'), job(extra));
    return FakeMac.create({
      root: join(folder, 'mac'),
      folder: true,
      seed: name,
      agent: { bundle: join(folder, 'agent.mjs'), job: join(folder, 'job.plist') },
    });
  };
  beforeAll(() => {
    mac = make('launchd');
  });
  afterAll(() => {
    for (const pid of readFileSync(mac.path('/children'), 'utf8').trim().split('\n').map(Number)) if (alive(pid)) process.kill(pid, 'SIGKILL');
    mac.dispose();
  });

  test('`job` runs it with a bare environment under the Mac’s root, gives its exit status and says nothing itself', async () => {
    writeFileSync(mac.path('/exit-75'), '');
    expect(await cli(mac.root, 'job')).toEqual({ code: 75, said: '' });
    rmSync(mac.path('/exit-75'));
    expect(seen().argv).toEqual(['check-in', '--root', `${mac.root}/`]);
    expect(seen().env).toEqual({ PATH: '/usr/bin:/bin:/usr/sbin:/sbin', XPC_SERVICE_NAME: label });
    expect(readFileSync(mac.path('/Library/Logs/job.log'), 'utf8')).toBe('hello from the job\n');
    expect((await launchctl('print', `system/${label}`)).said).toContain('\truns = 1\n\tlast exit code = 75\n\trun interval = 900 seconds\n');
  });
  test('ends what is left of the job’s process group, and not what has a session of its own', async () => {
    await cli(mac.root, 'job');
    const { inGroup, ownSession } = seen();
    await until(() => !alive(inGroup));
    expect([alive(inGroup), alive(ownSession)]).toEqual([false, true]);
  });
  test('leaves the group alone where the job says AbandonProcessGroup', async () => {
    const other = make('abandon', '<key>AbandonProcessGroup</key><true/>');
    await cli(other.root, 'job');
    const { inGroup, ownSession } = JSON.parse(readFileSync(other.path('/seen.json'), 'utf8')) as { inGroup: number; ownSession: number };
    expect([alive(inGroup), alive(ownSession)]).toEqual([true, true]);
    for (const pid of [inGroup, ownSession]) process.kill(pid, 'SIGKILL');
    other.dispose();
  });
  test('kickstart returns at once, runs it in the background, and never two at a time', async () => {
    writeFileSync(mac.path('/slow'), '');
    const before = runs();
    expect(await launchctl('kickstart', `system/${label}`)).toEqual({ code: 0, said: '' });
    await until(() => runs() > before);
    expect(await launchctl('kickstart', `system/${label}`)).toEqual({ code: 0, said: '' });
    expect((await launchctl('print', `system/${label}`)).said).toContain('\tstate = running\n');
    expect(await cli(mac.root, 'job')).toEqual({ code: 75, said: 'fake-mac: the job runs already\n' });
    rmSync(mac.path('/slow'));
    await idle();
    expect(runs()).toBe(before + 1);
  });
  test('a queue folder that is not empty keeps the job alive', async () => {
    mac.setQuirk('throttleSeconds', 0);
    mkdirSync(mac.path('/var/db/io.sparekey.agent/queue'), { recursive: true });
    for (const name of ['a', 'b']) writeFileSync(mac.path(`/var/db/io.sparekey.agent/queue/${name}`), '');
    const before = runs();
    await launchctl('kickstart', `system/${label}`);
    await until(() => runs() >= before + 2);
    await idle();
    expect([runs() - before, readdirSync(mac.path('/var/db/io.sparekey.agent/queue'))]).toEqual([2, []]);
  });
  test('bootout takes it away, bootstrap brings it back, and a disabled one fails with 5', async () => {
    expect((await launchctl('bootout', `system/${label}`)).code).toBe(0);
    expect((await launchctl('print', `system/${label}`)).code).toBe(113);
    const path = `/Library/LaunchDaemons/${label}.plist`;
    await launchctl('disable', `system/${label}`);
    expect((await launchctl('bootstrap', 'system', path)).code).toBe(5);
    await launchctl('enable', `system/${label}`);
    expect((await launchctl('bootstrap', 'system', path)).code).toBe(0);
    expect((await launchctl('bootstrap', 'system', path)).code).toBe(5);
  });
});
