import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Asking, askTheJob, mayAsk } from '../agent/ask-the-job.ts';
import { realDisk } from '../agent/disk.ts';
import { paths } from '../agent/paths.ts';
import { answer, makeFolders, queueIsEmpty, sayProgress, type Taken, takeRequests } from '../agent/requests.ts';
import type { Disk } from '../agent/world.ts';
import { Problem } from '../protocol/problems.ts';
import { bundleAgent } from '../scripts/bundle.ts';
import { pem } from '../server/certificates.ts';
import { answering } from './answering-runner.ts';
import { runCommand, type Session } from './commands.ts';
import { FakeMac } from './fake-mac/fake-mac.ts';
import { defaultJob } from './fake-mac/install.ts';
import { deviceCa, type GivenServer, givenServer } from './given-server.ts';
import { scratch } from './scratch.ts';

const sources = join(import.meta.dirname, '..', 'agent', 'main.ts');
const recoveryKeyShape = /[A-Z0-9]{4}(-[A-Z0-9]{4}){5}/;

async function run(
  args: readonly string[],
  { program = sources, ...how }: { program?: string; env?: NodeJS.ProcessEnv; uid?: number; onErr?: (text: string, child: ChildProcess) => void } = {},
): Promise<Session> {
  const session = await runCommand(process.execPath, [program, ...args], how);
  expect(`${session.out}${session.err}`).not.toMatch(recoveryKeyShape);
  return session;
}

const said = (says: string, fix: string, code: string): string => `sparekey: error: ${says}\nsparekey: fix: ${fix}\nsparekey: ${code}; more: docs/errors.md\n`;
const misunderstood = (detail: string): string => said(`the command was not understood: ${detail}`, 'look at `--help`', 'USAGE');

describe('a terminal session, from the sources', () => {
  test.each([
    [['version'], { out: '0.1.0\n', err: '', exit: 0 }],
    [['--version'], { out: '0.1.0\n', err: '', exit: 0 }],
    [['version', '--root', '/tmp'], { out: '0.1.0\n', err: '', exit: 0 }],
    [[], { out: '', err: misunderstood('there is no command'), exit: 64 }],
    [['statuss'], { out: '', err: misunderstood("unknown command 'statuss' (Did you mean status?)"), exit: 64 }],
    [['status', '--jsn'], { out: '', err: misunderstood("unknown option '--jsn' (Did you mean --json?)"), exit: 64 }],
    [['status', 'more'], { out: '', err: misunderstood("too many arguments for 'status'. Expected 0 arguments but got 1: more."), exit: 64 }],
    [['--root'], { out: '', err: misunderstood("option '--root <folder>' argument missing"), exit: 64 }],
    [['status', '--root', '/nowhere/at/all'], { out: '', err: misunderstood('there is no folder /nowhere/at/all'), exit: 64 }],
    [
      ['rotate', '--timeout', '0'],
      { out: '', err: misunderstood("option '--timeout <seconds>' argument '0' is invalid. It must be a whole number of seconds from 1 to 99999."), exit: 64 },
    ],
  ] as [string[], Session][])('sparekey %j', async (args, expected) => {
    expect(await run(args)).toEqual(expected);
  });

  test('a recovery key in the reason is refused, and not repeated', async () => {
    const { out, err, exit } = await run(['rotate', '--reason', 'was ABCD-EFGH-JKLM-NPQR-TUVW-XYZ2']);
    expect([out, exit]).toEqual(['', 64]);
    expect(err).toContain('A recovery key must not be in it.');
  });

  test('--help has each command and an example, and says what the exit statuses mean', async () => {
    const { out, err, exit } = await run(['--help']);
    expect([err, exit]).toEqual(['', 0]);
    for (const words of [
      'check-in',
      'status',
      'rotate',
      'doctor',
      'version',
      'Examples:',
      'sudo sparekey rotate --reason',
      '--root',
      '--quiet',
      'Exit status: 0 done',
    ])
      expect(out).toContain(words);
    expect((await run(['rotate', '--help'])).out).toContain('--reason <text>');
  });

  test('where neither macOS nor the job has said anything, status says so and exits 75', async () => {
    const root = scratch();
    const { out, err, exit } = await run(['status', '--root', root]);
    expect(out.split('\n')[0]).toBe('Nothing is known yet: macOS does not say how FileVault stands (it said: not-found), and the agent has not run.');
    expect([err, exit]).toEqual(['', 75]);
    const json = await run(['status', '--json', '--root', root]);
    expect(json.exit).toBe(75);
    expect(JSON.parse(json.out)).toMatchObject({ known: false, fileVault: { state: 'unknown' }, custody: null, problems: [] });
  });

  test('rotate without root is refused; on a fake Mac whoever owns the state folder may', async () => {
    const nobody = 65534;
    if (process.geteuid?.() === 0) {
      // The sources may lie where nobody else can read; the bundle is one file.
      const { file } = await bundleAgent();
      const readable = await run(['version'], { program: file, uid: nobody }).catch(() => null);
      if (readable?.exit === 0)
        expect(await run(['rotate'], { program: file, uid: nobody })).toEqual({
          out: '',
          err: said('this needs root', 'run it again with sudo', 'NOT_ROOT'),
          exit: 77,
        });
    } else expect(await run(['rotate'])).toEqual({ out: '', err: said('this needs root', 'run it again with sudo', 'NOT_ROOT'), exit: 77 });
    const root = scratch();
    const disk = realDisk(root);
    makeFolders(disk);
    const owner = process.geteuid?.() ?? 0;
    expect([mayAsk('/', disk, 0), mayAsk('/', disk, 501), mayAsk(root, disk, owner), mayAsk(root, disk, owner + 1)]).toEqual([true, false, true, false]);
  });

  test('--json gives a failure on stdout too, in the form of an answer', async () => {
    const { out, err, exit } = await run(['rotate', '--json', '--root', scratch()]);
    expect(JSON.parse(out)).toMatchObject({ exit: 77, code: 'JOB_NOT_LOADED', says: 'the launchd job is not there to do the work: launchctl cannot be run' });
    expect(err).toContain('sparekey: JOB_NOT_LOADED; more: docs/errors.md\n');
    expect(exit).toBe(77);
  });

  test('Ctrl-C stops the waiting; the request stays in the queue', async () => {
    const root = scratch();
    mkdirSync(join(root, 'bin'), { recursive: true });
    writeFileSync(join(root, 'bin/launchctl'), '#!/bin/sh\nexit 0\n', { mode: 0o755 });
    const disk = realDisk(root);
    makeFolders(disk);
    const poll = setInterval(() => {
      const name = disk.list(paths.queue)[0];
      if (name) disk.replace(`${paths.results}/${name.replace('.json', '.progress')}`, 'asking the backend');
    }, 50);
    let stopped = false;
    try {
      const { out, err, exit } = await run(['check-in', '--root', root], {
        onErr: (text, child) => {
          if (!stopped && text.includes('asking')) stopped = child.kill('SIGINT');
        },
      });
      expect(out).toBe('');
      expect(err).toBe(
        'sparekey: asking the backend\nsparekey: not waiting any longer; the request stays in the queue, and the job goes on with it: look with `sparekey status`\n',
      );
      expect(exit).toBe(130);
      expect(disk.list(paths.queue)).toHaveLength(1);
    } finally {
      clearInterval(poll);
    }
  });
});

describe('asking the job', () => {
  type Step = (disk: Disk) => void;
  /** Time is moved by the waiting itself; what the job does comes step by step, one a poll. */
  function asking(steps: Step[], kickstart: Parameters<typeof answering>[0][string] = {}): { it: Asking; disk: Disk; heard: string[]; abort(): void } {
    const root = scratch();
    const disk = realDisk(root);
    const heard: string[] = [];
    const controller = new AbortController();
    let at = 0;
    const it: Asking = {
      root,
      disk,
      runner: answering({ '/bin/launchctl kickstart system/io.sparekey.agent': kickstart }),
      monotonic: () => at,
      async wait(milliseconds) {
        at += milliseconds;
        steps.shift()?.(disk);
      },
      interrupted: controller.signal,
      progress: (says) => heard.push(says),
    };
    return { it, disk, heard, abort: () => controller.abort() };
  }
  const codeOf = (wait: Promise<unknown>): Promise<unknown> =>
    wait.then(
      () => 'no problem',
      (problem) => (problem instanceof Problem ? [problem.code, problem.detail] : problem),
    );
  const ask = { kind: 'rotate' as const, reason: 'a test' };

  test('the progress is heard once each time that it changes, and the answer is taken away', async () => {
    const taken: Taken[] = [];
    const says =
      (words: string): Step =>
      (disk) => {
        if (taken.length === 0) taken.push(...takeRequests(disk).taken);
        sayProgress(disk, taken, words);
      };
    const { it, disk, heard } = asking([
      says('looking'),
      says('looking'),
      says('asking the backend'),
      (disk) => {
        for (const one of taken) answer(disk, one, { exit: 0, says: 'done', fix: null, code: null });
      },
    ]);
    expect(await askTheJob(it, ask, 60)).toMatchObject({ exit: 0, says: 'done' });
    expect(heard).toEqual(['looking', 'asking the backend']);
    expect(disk.list(paths.results)).toEqual([]);
    expect(queueIsEmpty(disk)).toBe(true);
  });

  test('a job that launchd does not know is a problem at once, and the request is taken back', async () => {
    const { it, disk } = asking([], { code: 113, err: 'Could not find service "io.sparekey.agent" in domain for system\n' });
    expect(await codeOf(askTheJob(it, ask, 60))).toEqual(['JOB_NOT_LOADED', `there is no ${paths.job}`]);
    expect(queueIsEmpty(disk)).toBe(true);
  });

  test('a job that somebody turned off is told from one that was never installed', async () => {
    const { it } = asking([], { code: 113 });
    mkdirSync(join(it.root, 'Library/LaunchDaemons'), { recursive: true });
    writeFileSync(join(it.root, paths.job), '');
    expect(await codeOf(askTheJob(it, ask, 60))).toEqual(['JOB_NOT_LOADED', 'its file is there, so somebody has turned it off']);
  });

  test('without an answer in time the request stays in the queue', async () => {
    const { it, disk } = asking([]);
    expect(await codeOf(askTheJob(it, ask, 900))).toEqual(['JOB_NO_ANSWER', 'nothing for 900 s']);
    expect(it.monotonic()).toBe(900_000);
    expect(disk.list(paths.queue)).toHaveLength(1);
  });

  test('a kick that fails otherwise is no failure: the queue wakes the job; it is named when nothing comes', async () => {
    const { it } = asking([], { code: 37 });
    expect(await codeOf(askTheJob(it, ask, 1))).toEqual(['JOB_NO_ANSWER', 'nothing for 1 s; launchctl could not start it (exit 37)']);
  });

  test('a request on which the job died three times does not keep anybody waiting', async () => {
    const dies: Step = (disk) => void takeRequests(disk);
    const { it } = asking([dies, dies, dies, dies]);
    expect(await codeOf(askTheJob(it, ask, 60))).toEqual(['AGENT_BUG', 'the job ended in the middle of this request three times']);
  });

  test('whoever stops waiting leaves the request where it is', async () => {
    const { it, disk, abort } = asking([() => abort()]);
    expect(await askTheJob(it, ask, 60)).toBe('left');
    expect(disk.list(paths.queue)).toHaveLength(1);
  });
});

describe('the bundle that ships, on a fake Mac with its backend', () => {
  let server: GivenServer;
  let mac: FakeMac;
  let bundle: string;
  const sparekey = (...args: string[]): Promise<Session> => run([...args, '--root', mac.root], { program: bundle });

  beforeAll(async () => {
    server = await givenServer();
    bundle = (await bundleAgent()).file;
    const [escrow] = server.serving.backend.escrowKeys.certificates;
    const escrowCertificate = pem('CERTIFICATE', escrow?.der ?? Buffer.alloc(0));
    mac = FakeMac.create({
      root: join(scratch(), 'mac'),
      folder: true,
      escrowProfile: 'ours',
      escrowCertificate,
      deviceCa: { certificate: pem('CERTIFICATE', deviceCa.certificateDer), key: deviceCa.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() },
      settings: { serverUrl: server.url, escrowCertificate, trustedCertificates: [server.ca], identityIssuer: 'Device CA', settleSeconds: 1 },
      agent: { bundle, job: defaultJob },
    });
  });
  afterAll(() => mac?.dispose());

  test('before the first run, status has what macOS says', async () => {
    const { out, err, exit } = await sparekey('status');
    expect(out).toBe('FileVault is on; the agent has not run yet, so nothing is known about the recovery key.\n  FileVault  on\n');
    expect([err, exit]).toEqual(['', 0]);
    expect(JSON.parse((await sparekey('status', '--json')).out)).toMatchObject({ known: true, fileVault: { state: 'on' }, custody: null });
  });

  test('check-in is done by the job; then status says that the key is in safe keeping', async () => {
    const { out, err, exit } = await sparekey('check-in');
    expect([exit, out, err]).toEqual([0, expect.stringMatching(/\S\n$/), expect.not.stringContaining('error')]);
    const status = await sparekey('status');
    expect(status.out.split('\n')[0]).toMatch(/^The recovery key of this Mac is in safe keeping: /);
    expect(status.exit).toBe(0);
    const json = JSON.parse((await sparekey('status', '--json')).out);
    expect(json).toMatchObject({
      fileVault: { state: 'on', hasRecoveryKey: 'yes' },
      custody: { state: 'held' },
      serial: mac.state.serial,
      settings: { managed: true },
      identity: { way: 'profile' },
      problems: [],
    });
    expect((await sparekey('status', '--quiet')).out.split('\n')).toEqual([json.says, '']);
  });

  test('doctor looks at the same Mac and finds nothing that fails; what is printed is what --json has', async () => {
    const file = join(scratch(), 'bundle.json');
    const [words, json] = await Promise.all([sparekey('doctor', '--bundle', file), sparekey('doctor', '--json')]);
    expect([words.err, json.err]).toEqual([`sparekey: looking\nsparekey: written to ${file}; look at it before you send it\n`, '']);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ format: 'sparekey-support', status: { custody: 'held' } });
    const found: { name: string; verdict: string; says: string; fix: string | null }[] = JSON.parse(json.out);
    expect(found.filter(({ verdict }) => verdict === 'failing')).toEqual([]);
    expect([words.exit, json.exit]).toEqual([0, 0]);
    const ok = found.filter(({ verdict }) => verdict === 'ok').map(({ name }) => name);
    expect(ok).toEqual(
      expect.arrayContaining([
        'settings-managed',
        'settings-valid',
        'server-reachable',
        'clock',
        'identity',
        'last-answer',
        'job-loaded',
        'job-enabled',
        'login-item',
        'keychain',
        'identity-usable',
        'identity-accepted',
        'privacy-protection',
        'installed-files',
        'custody',
        'filevault-on',
        'personal-key',
        'escrow-payload',
        'escrow-file',
        'left-over-outputs',
        'state-folder',
        'journal',
      ]),
    );
    expect(words.out.split('\n')[0]).toMatch(/^Nothing fails; /);
    const signs: Record<string, string> = { ok: '[+]', warning: '[!]', 'cannot tell': '[?]' };
    const lines = words.out.split('\n').filter((line) => line.startsWith('['));
    expect(lines.map((line) => line.split(/ +/).slice(0, 2).join(' '))).toEqual(found.map(({ name, verdict }) => `${signs[verdict]} ${name}`));
  });

  test('rotate is done by the job: the key is another one, and it is held', async () => {
    const before = mac.recoveryKey;
    // One second of a settled session, which the job has to have seen.
    await new Promise((done) => setTimeout(done, 1100));
    const { out, err, exit } = await sparekey('rotate', '--reason', 'a test', '--json');
    expect([exit, JSON.parse(out), err]).toEqual([
      0,
      { exit: 0, says: 'the recovery key was replaced, and the new one is in safe keeping', fix: null, code: null },
      expect.not.stringContaining('error'),
    ]);
    expect(mac.recoveryKey).not.toBe(before);
    const { custody } = server.serving.backend;
    expect((await custody.custodyOf(await custody.findMac(mac.state.serial))).state).toBe('held');
  });

  test('a server that is not trusted is named as such by doctor, which then exits 77', async () => {
    const other = FakeMac.create({
      root: join(scratch(), 'mac'),
      folder: true,
      settings: {
        serverUrl: server.url,
        escrowCertificate: pem('CERTIFICATE', server.serving.backend.escrowKeys.certificates[0]?.der ?? Buffer.alloc(0)),
        settleSeconds: 299,
        chekInMinutes: 60,
      },
    });
    try {
      const { out, exit } = await run(['doctor', '--json', '--root', other.root], { program: bundle });
      const found: { name: string; verdict: string; says: string; fix: string }[] = JSON.parse(out);
      const of = (name: string) => found.find((one) => one.name === name);
      expect(exit).toBe(77);
      expect(of('server-reachable')).toMatchObject({ verdict: 'failing', says: expect.stringMatching(/SERVER_NOT_TRUSTED|TLS_INTERCEPTED/) });
      expect(of('job-loaded')).toMatchObject({ verdict: 'failing', says: 'it is not installed' });
      expect(of('settle-time')).toMatchObject({ verdict: 'warning' });
      expect(of('settings-known')).toMatchObject({ verdict: 'warning', says: expect.stringContaining('chekInMinutes') });
      expect(of('escrow-payload')).toMatchObject({ verdict: 'failing' });
      expect(of('clock')).toMatchObject({ verdict: 'cannot tell', fix: null });
    } finally {
      other.dispose();
    }
  });
});
