import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { realDisk } from '../agent/disk.ts';
import { doctorExit, examine, type Finding, type Verdict } from '../agent/doctor.ts';
import { checks } from '../agent/doctor-checks.ts';
import type { JobSaw } from '../agent/doctor-job.ts';
import type { JobSeen } from '../agent/doctor-launchd.ts';
import type { BuildSeen } from '../agent/doctor-package.ts';
import { gatherValues, type Values } from '../agent/doctor-values.ts';
import { paths } from '../agent/paths.ts';
import { makeFolders } from '../agent/requests.ts';
import { describe as describeSetting } from '../agent/setting-kinds.ts';
import type { SettingsRead } from '../agent/settings.ts';
import type { PublicStatus } from '../agent/status.ts';
import { problems } from '../protocol/problems.ts';
import { answering } from './answering-runner.ts';
import { scratch } from './scratch.ts';

const now = Date.parse('2026-11-23T12:00:00Z');
const day = 24 * 60 * 60 * 1000;
const minute = 60 * 1000;
const hour = 60 * minute;
const MiB = 1024 * 1024;
const iso = (at: number): string => new Date(at).toISOString();

const settings = (more: Partial<SettingsRead> = {}, values: object = {}): Values['settings'] => ({
  value: {
    settings: { serverUrl: 'https://keys.example.org', settleSeconds: 600, escrowOwner: 'auto', rotator: 'sparekey', ...values } as NonNullable<
      SettingsRead['settings']
    >,
    state: 'managed',
    unmanagedSince: null,
    problems: [],
    digest: '0'.repeat(64),
    toKeep: {},
    ...more,
  },
});
const status = (more: Partial<PublicStatus> = {}): PublicStatus => ({
  version: 1,
  agentVersion: '0.1.0',
  at: iso(now),
  lastRun: { did: 'nothing is owed', code: null },
  lastAnswerAt: iso(now),
  server: 'https://keys.example.org',
  serial: 'C02ABC123',
  macosVersion: '26.6.2',
  macosBuild: '25G42',
  fileVault: { state: 'on', hasRecoveryKey: 'yes' },
  custody: { state: 'held', because: 'a key is held and answered true' },
  keys: [key()],
  rotation: null,
  hold: null,
  escrow: { payload: 'ours', owner: 'auto', rotator: 'sparekey', says: '' },
  identity: { way: 'profile', notAfter: iso(now + 300 * day), enrolmentId: 'e1' },
  custodyMode: { mode: 'server', because: '' },
  settings: { managed: true, unmanagedSince: null, problems: [] },
  capability: 'works',
  problems: [],
  jobSaw: saw,
  ...more,
});
const job: JobSeen = { loaded: true, lastExit: '0', runs: 7, file: true, disabled: false };
const signing = { state: 'yes', why: null } as const;
const saw: JobSaw = { at: iso(now), keychain: 'works', identity: { way: 'profile', own: signing, profile: signing }, accepted: 'yes', refused: [] };
const jobSaw = (more: Partial<JobSaw>): Partial<Values> => ({ status: status({ jobSaw: { ...saw, ...more } }) });
const key = (more: Partial<NonNullable<PublicStatus['keys']>[number]> = {}): NonNullable<PublicStatus['keys']>[number] => ({
  recordId: 'r1',
  state: 'held',
  provedAt: iso(now - day),
  last: { answer: 'true', at: iso(now - day) },
  ...more,
});
/** A Mac on which everything is as it should be. */
const sound: Values = {
  now,
  version: '0.1.0',
  runtimeVersion: 'v26.10.0',
  build: { value: { version: '0.1.0', runtime: 'v26.10.0', architectures: ['arm64'], signed: true, team: 'ABCDE12345' } },
  machinery: { value: { runtime: 'arm64', apple: true } },
  macos: { value: '26.6.2' },
  installed: { value: [{ path: paths.job, mode: 0o644, uid: 0 }] },
  settings: settings(),
  addresses: { value: { host: 'keys.example.org', addresses: ['203.0.113.7', '2001:db8::7'] } },
  server: { value: { url: 'https://keys.example.org', problem: null, ahead: 0 } },
  status: status(),
  notLooked: null,
  job: { value: job },
  loginItem: { value: 'allowed' },
  fileVault: { state: 'on' },
  personalKey: { value: 'yes' },
  institutionalKey: { value: false },
  escrowPayload: { value: 'ours' },
  escrowFile: { value: 'ours' },
  plainKeyFiles: { value: [] },
  leftOvers: { value: { count: 0, oldest: 0 } },
  stateFolder: { value: [{ path: paths.state, mode: 0o700, uid: 0 }] },
  owner: 0,
  excludedFromBackups: { value: true },
  failedRequests: { value: 0 },
  freeBytes: { value: 50_000 * MiB },
  journal: { value: { version: 1, knows: 1 } },
  rotators: { byThemselves: [], byOrder: [] },
};
const finding = (name: string, change: Partial<Values>): Finding => {
  const found = examine({ ...sound, ...change }).find((one) => one.name === name);
  if (!found) throw new Error(`there is no check ${name}`);
  return found;
};
const build = (more: Partial<BuildSeen>): Partial<Values> => ({
  build: { value: { version: '0.1.0', runtime: 'v26.10.0', architectures: ['arm64'], signed: true, team: null, ...more } },
});
const ran = (ago: number): Partial<Values> => ({ status: status({ at: iso(now - ago) }) });
const file = (mode: number, uid = 0): Partial<Values> => ({ installed: { value: [{ path: paths.job, mode, uid }] } });
const notAfter = (days: number): Partial<Values> => ({ status: status({ identity: { way: 'profile', notAfter: iso(now + days * day), enrolmentId: null } }) });
const answered = (ago: number): Partial<Values> => ({ status: status({ lastAnswerAt: iso(now - ago) }) });
const ahead = (milliseconds: number | null): Partial<Values> => ({
  server: { value: { url: 'https://keys.example.org', problem: null, ahead: milliseconds } },
});
const address = (...addresses: string[]): Partial<Values> => ({ addresses: { value: { host: 'keys.example.org', addresses } } });
const ranAs = (code: PublicStatus['lastRun']['code']): Partial<Values> => ({ status: status({ lastRun: { did: 'it', code } }) });
const stateEntry = (mode: number, uid = 0): Partial<Values> => ({ stateFolder: { value: [{ path: paths.state, mode, uid }] } });
const problemOf = (code: keyof typeof problems): Partial<Values> => ({
  server: { value: { url: 'https://keys.example.org', problem: { code, says: 'words', fix: problems[code].fix }, ahead: null } },
});

describe('each check judges values alone, on both sides of each boundary', () => {
  test('a Mac on which everything is as it should be has nothing but ok', () => {
    expect(examine(sound).filter(({ verdict }) => verdict !== 'ok')).toEqual([]);
  });

  test.each([
    ['settings-managed', { settings: settings({ state: 'unmanaged', unmanagedSince: iso(now) }) }, 'failing'],
    ['settings-managed', { settings: settings({ state: 'missing', settings: null }) }, 'failing'],
    ['settings-managed', { settings: { unknown: 'EIO' } }, 'cannot tell'],
    ['settings-valid', { settings: settings({ problems: [{ name: 'proxy', says: 'is 3', kind: 'wrong' }] }) }, 'failing'],
    ['settings-valid', { settings: settings({ problems: [{ name: 'proxi', says: 'is not a setting', kind: 'warning' }] }) }, 'ok'],
    ['settings-valid', { settings: settings({ state: 'missing', settings: null }) }, 'cannot tell'],
    ['settings-known', { settings: settings({ problems: [{ name: 'proxi', says: 'is not a setting', kind: 'warning' }] }) }, 'warning'],
    ['settings-known', { settings: settings({ problems: [{ name: 'settleSeconds', says: 'is under 300 seconds', kind: 'warning' }] }) }, 'ok'],
    ['settle-time', { settings: settings({}, { settleSeconds: 299 }) }, 'warning'],
    ['settle-time', { settings: settings({}, { settleSeconds: 300 }) }, 'ok'],
    ['runtime-signed', build({ signed: false }), 'warning'],
    ['runtime-signed', { build: { value: null } }, 'warning'],
    ['runtime-version', { runtimeVersion: 'v25.9.0' }, 'failing'],
    ['runtime-version', { runtimeVersion: 'v27.0.0' }, 'ok'],
    ['server-name', address('10.0.0.1'), 'warning'],
    ['server-name', address('172.15.255.255'), 'ok'],
    ['server-name', address('172.16.0.0'), 'warning'],
    ['server-name', address('172.31.255.255'), 'warning'],
    ['server-name', address('172.32.0.0'), 'ok'],
    ['server-name', address('192.168.7.7'), 'warning'],
    ['server-name', address('203.0.113.7', '192.168.7.7'), 'warning'],
    ['server-name', address('100.64.0.1'), 'warning'],
    ['server-name', address('127.0.0.1'), 'warning'],
    ['server-name', address('fd00::1'), 'warning'],
    ['server-name', address('::1'), 'warning'],
    ['server-name', { addresses: { unknown: 'ENOTFOUND' } }, 'cannot tell'],
    ['server-reachable', problemOf('SERVER_UNREACHABLE'), 'failing'],
    ['server-reachable', problemOf('TLS_INTERCEPTED'), 'failing'],
    ['clock', ahead(5 * minute), 'ok'],
    ['clock', ahead(5 * minute + 1), 'warning'],
    ['clock', ahead(-5 * minute - 1), 'warning'],
    ['clock', ahead(day), 'warning'],
    ['clock', ahead(-day - 1), 'failing'],
    ['clock', ahead(null), 'cannot tell'],
    ['identity', notAfter(-1), 'failing'],
    ['identity', notAfter(6.99), 'failing'],
    ['identity', notAfter(7), 'warning'],
    ['identity', notAfter(29.99), 'warning'],
    ['identity', notAfter(30), 'ok'],
    ['identity', { status: status({ identity: null }) }, 'failing'],
    ['identity', { status: null }, 'cannot tell'],
    ['last-answer', answered(3 * day), 'ok'],
    ['last-answer', answered(3 * day + 1), 'warning'],
    ['last-answer', answered(30 * day), 'warning'],
    ['last-answer', answered(30 * day + 1), 'failing'],
    ['last-answer', { status: status({ lastAnswerAt: null }) }, 'failing'],
    ['job-loaded', { job: { value: { ...job, loaded: false } } }, 'failing'],
    ['job-loaded', { job: { value: { ...job, loaded: false, file: false } } }, 'failing'],
    ['job-loaded', { job: { unknown: 'the command is not there' } }, 'cannot tell'],
    ['job-enabled', { job: { value: { ...job, disabled: true } } }, 'failing'],
    ['job-enabled', { job: { value: { ...job, disabled: null } } }, 'cannot tell'],
    ['login-item', { loginItem: { value: 'switched off' } }, 'failing'],
    ['login-item', { loginItem: { value: 'not listed' } }, 'cannot tell'],
    ['login-item', { loginItem: 'needs root' }, 'not checked'],
    ['last-run-age', ran(26 * hour), 'ok'],
    ['last-run-age', ran(26 * hour + 1), 'warning'],
    ['last-run-age', ran(3 * day + 1), 'failing'],
    ['last-run-age', { status: null }, 'cannot tell'],
    ['keychain', jobSaw({ keychain: 'fails' }), 'warning'],
    ['keychain', { status: status({ custodyMode: { mode: 'keychain', because: '' }, jobSaw: { ...saw, keychain: 'fails' } }) }, 'failing'],
    ['keychain', jobSaw({ keychain: 'asleep' }), 'cannot tell'],
    ['keychain', { status: null, notLooked: 'to ask the job needs sudo' }, 'cannot tell'],
    ['keychain', { ...jobSaw({ at: iso(now - 7 * day) }), notLooked: 'it was not asked' }, 'ok'],
    ['keychain', { ...jobSaw({ at: iso(now - 7 * day - 1) }), notLooked: 'it was not asked' }, 'cannot tell'],
    ['identity-usable', jobSaw({ identity: null }), 'failing'],
    ['identity-usable', jobSaw({ identity: { way: 'profile', own: signing, profile: { state: 'no', why: 'x (IDENTITY_NOT_USABLE)' } } }), 'warning'],
    ['identity-usable', jobSaw({ identity: { way: 'ticket', own: { state: 'no', why: 'x' }, profile: null } }), 'failing'],
    ['identity-usable', jobSaw({ identity: { way: 'ticket', own: { state: 'not there', why: null }, profile: null } }), 'failing'],
    ['identity-usable', jobSaw({ identity: { way: 'files', own: { state: 'not tried', why: null }, profile: null } }), 'cannot tell'],
    ['identity-accepted', jobSaw({ accepted: 'SERVER_UNREACHABLE' }), 'warning'],
    ['identity-accepted', jobSaw({ accepted: 'CERTIFICATE_UNKNOWN' }), 'failing'],
    ['identity-accepted', jobSaw({ accepted: 'not asked' }), 'cannot tell'],
    ['privacy-protection', jobSaw({ refused: [{ path: paths.escrowFile, code: 'EPERM' }] }), 'failing'],
    ['privacy-protection', jobSaw({ refused: [{ path: paths.escrowFile, code: 'EACCES' }] }), 'failing'],
    ['macos-supported', { macos: { value: '13.4.1' } }, 'failing'],
    ['macos-supported', { macos: { value: '13.5' } }, 'ok'],
    ['macos-supported', { macos: { value: '26.9' } }, 'ok'],
    ['macos-supported', { macos: { value: '27.0' } }, 'warning'],
    ['macos-supported', { macos: { value: 'beta' } }, 'cannot tell'],
    ['architecture', { machinery: { value: { runtime: 'x64', apple: true } } }, 'warning'],
    ['architecture', { machinery: { value: { runtime: 'x64', apple: false } } }, 'failing'],
    ['architecture', { machinery: { value: { runtime: 'x64', apple: false } }, ...build({ architectures: ['arm64', 'x86_64'] }) }, 'ok'],
    ['architecture', { machinery: { value: { runtime: 'arm64', apple: true } }, build: { value: null } }, 'ok'],
    ['installed-files', file(0o664), 'failing'],
    ['installed-files', file(0o646), 'failing'],
    ['installed-files', file(0o644, 501), 'failing'],
    ['installed-files', { installed: { value: [] } }, 'cannot tell'],
    ['runtime-version', build({ version: '0.0.9' }), 'warning'],
    ['custody', { status: status({ custody: null }) }, 'cannot tell'],
    ['custody', { status: status({ custody: { state: 'none', because: 'x' } }) }, 'failing'],
    ['custody', { status: status({ custody: { state: 'lost', because: 'x' } }) }, 'failing'],
    ['custody', { status: status({ custody: { state: 'doubtful', because: 'x' } }) }, 'warning'],
    ['custody', { status: status({ custody: { state: 'foreign', because: 'x' } }) }, 'warning'],
    ['last-proof', { status: status({ keys: [] }) }, 'cannot tell'],
    ['last-proof', { status: status({ keys: [key({ provedAt: null, last: null })] }) }, 'warning'],
    ['last-proof', { status: status({ keys: [key({ provedAt: iso(now - 92 * day) })] }) }, 'ok'],
    ['last-proof', { status: status({ keys: [key({ provedAt: iso(now - 92 * day - 1) })] }) }, 'warning'],
    ['last-proof', { status: status({ keys: [key({ last: { answer: 'false', at: iso(now) } })] }) }, 'failing'],
    ['last-run', ranAs('SERVER_UNREACHABLE'), 'warning'],
    ['last-run', ranAs('MACOS_SILENT'), 'warning'],
    ['last-run', ranAs('KEY_EXHAUSTED'), 'failing'],
    ['last-run', ranAs('AGENT_BUG'), 'failing'],
    ['filevault-on', { fileVault: { state: 'off' } }, 'failing'],
    ['filevault-on', { fileVault: { state: 'encrypting', percent: 43 } }, 'warning'],
    ['filevault-on', { fileVault: { state: 'on', waitingFor: 'restart' } }, 'warning'],
    ['filevault-on', { fileVault: { state: 'unknown' } }, 'cannot tell'],
    ['personal-key', { personalKey: { value: 'no' } }, 'failing'],
    ['personal-key', { personalKey: { value: 'unknown' } }, 'cannot tell'],
    ['personal-key', { personalKey: 'needs root' }, 'not checked'],
    ['institutional-key', { institutionalKey: { value: true } }, 'ok'],
    ['escrow-payload', { escrowPayload: { value: 'foreign' } }, 'warning'],
    ['escrow-payload', { escrowPayload: { value: 'foreign' }, settings: settings({}, { escrowOwner: 'mdm' }) }, 'ok'],
    ['escrow-payload', { settings: settings({}, { escrowOwner: 'mdm' }) }, 'warning'],
    ['escrow-payload', { escrowPayload: { value: 'several' } }, 'failing'],
    ['escrow-payload', { escrowPayload: { value: 'none' } }, 'failing'],
    ['escrow-payload', { escrowPayload: { value: 'unknown' } }, 'cannot tell'],
    ['escrow-file', { escrowFile: { value: 'none' } }, 'ok'],
    ['escrow-file', { escrowFile: { value: 'foreign' } }, 'warning'],
    ['escrow-file', { escrowFile: { value: 'unreadable' } }, 'warning'],
    ['plain-key-files', { plainKeyFiles: { value: ['/var/db/ConfigurationProfiles/fdesetup.plist'] } }, 'warning'],
    ['left-over-outputs', { leftOvers: { value: { count: 2, oldest: 15 * minute } } }, 'ok'],
    ['left-over-outputs', { leftOvers: { value: { count: 2, oldest: 15 * minute + 1 } } }, 'failing'],
    ['state-folder', stateEntry(0o710), 'failing'],
    ['state-folder', stateEntry(0o701), 'failing'],
    ['state-folder', stateEntry(0o600), 'ok'],
    ['state-folder', stateEntry(0o700, 501), 'failing'],
    ['state-folder', { stateFolder: { value: [] } }, 'cannot tell'],
    ['excluded-from-backups', { excludedFromBackups: { value: false } }, 'warning'],
    ['journal', { journal: { value: { version: 2, knows: 1 } } }, 'failing'],
    ['journal', { journal: { value: 'unreadable' } }, 'warning'],
    ['journal', { journal: { value: 'none' } }, 'cannot tell'],
    ['failed-requests', { failedRequests: { value: 1 } }, 'warning'],
    ['free-space', { freeBytes: { value: 64 * MiB - 1 } }, 'failing'],
    ['free-space', { freeBytes: { value: 64 * MiB } }, 'warning'],
    ['free-space', { freeBytes: { value: 512 * MiB } }, 'ok'],
    ['capability', { status: status({ capability: 'refused' }) }, 'failing'],
    ['capability', { status: status({ capability: 'unknown' }) }, 'ok'],
    ['other-rotators', { rotators: { byThemselves: ['Crypt'], byOrder: [] } }, 'warning'],
    ['other-rotators', { rotators: { byThemselves: [], byOrder: ['Jamf'] } }, 'ok'],
  ] as [string, Partial<Values>, Verdict][])('%s %j is %s', (name, change, verdict) => {
    const found = finding(name, change);
    expect(found.verdict).toBe(verdict);
    expect(found.says).not.toBe('');
    // What is wrong has a fix; what cannot be told is nobody's fault.
    expect(found.fix === null).toBe(verdict !== 'failing' && verdict !== 'warning');
  });

  test('the fix is that of the problem, where it has one of its own', () => {
    expect(finding('server-reachable', problemOf('TLS_INTERCEPTED')).fix).toBe(problems.TLS_INTERCEPTED.fix);
    expect(finding('last-run', ranAs('KEY_EXHAUSTED')).fix).toBe(problems.KEY_EXHAUSTED.fix);
    expect(finding('journal', { journal: { value: { version: 9, knows: 1 } } }).fix).toBe(problems.JOURNAL_TOO_NEW.fix);
  });

  test('names are lower-kebab-case, each once', () => {
    const names = checks.map(({ name }) => name);
    expect(names.filter((name) => !/^[a-z]+(-[a-z]+)*$/.test(name))).toEqual([]);
    expect(new Set(names).size).toBe(names.length);
  });

  test('docs/doctor.md has each of them, in this order and with these words', () => {
    const text = readFileSync(join(import.meta.dirname, '../docs/doctor.md'), 'utf8');
    const part = text.slice(text.indexOf('## What it looks at'), text.indexOf('## The bundle'));
    expect([...part.matchAll(/^\| `([a-z-]+)` \| (.+) \|$/gm)].map(([, name, looksAt]) => [name, looksAt])).toEqual(
      checks.map(({ name, looksAt }) => [name, looksAt]),
    );
  });

  test('the exit status is 77 exactly when something fails', () => {
    expect(doctorExit(examine(sound))).toBe(0);
    expect(doctorExit(examine({ ...sound, failedRequests: { value: 1 }, personalKey: 'needs root', job: { unknown: 'x' } }))).toBe(0);
    expect(doctorExit(examine({ ...sound, fileVault: { state: 'off' } }))).toBe(77);
  });
});

describe('what doctor looks at', () => {
  const idle = ['system/io.sparekey.agent = {', '\tstate = not running', '\tlast exit code = 75', '}', ''].join('\n');
  const macos = {
    '/usr/bin/fdesetup status': { out: 'FileVault is On.\n' },
    '/usr/bin/fdesetup haspersonalrecoverykey': { out: 'true\n' },
    '/usr/bin/fdesetup hasinstitutionalrecoverykey': { out: 'false\n' },
    '/usr/bin/fdesetup showdeferralinfo': { out: 'Not found.\n', code: 20 },
    '/bin/launchctl print system/io.sparekey.agent': { out: idle },
    '/bin/launchctl print-disabled system': { out: '\n\tdisabled services = {\n\t\t"com.apple.ftpd" => disabled\n\t}\n' },
    '/usr/bin/sw_vers -productVersion': { out: '26.6.2\n' },
    '/usr/bin/sw_vers -buildVersion': { out: '25G42\n' },
    '/usr/bin/tmutil isexcluded': { out: '[Excluded]    /private/var/db/io.sparekey.agent\n' },
  };
  const look = async (more: { asRoot?: boolean; answers?: Parameters<typeof answering>[0]; prepare?: (disk: ReturnType<typeof realDisk>) => void } = {}) => {
    const root = scratch();
    const disk = realDisk(root);
    makeFolders(disk);
    more.prepare?.(disk);
    const runner = answering({ ...macos, ...more.answers });
    return { values: await gatherValues({ root, disk, runner, asRoot: more.asRoot ?? true, now: Date.now(), version: '0.1.0' }), runner };
  };

  test('as root everything is asked, and no key is touched', async () => {
    const { values, runner } = await look();
    expect(values).toMatchObject({
      fileVault: { state: 'on' },
      personalKey: { value: 'yes' },
      institutionalKey: { value: false },
      job: { value: { loaded: true, lastExit: '75', runs: null, file: false, disabled: false } },
      excludedFromBackups: { value: true },
      plainKeyFiles: { value: [] },
      failedRequests: { value: 0 },
      journal: { value: 'none' },
    });
    expect(runner.asked.filter(({ args }) => /changerecovery|validaterecovery/.test(args.join(' ')))).toEqual([]);
  });

  test('without root the questions that need it are not asked, and say so', async () => {
    const { values, runner } = await look({ asRoot: false });
    const found = examine(values);
    expect(found.filter(({ verdict }) => verdict === 'not checked').map(({ name, says }) => [name, says])).toEqual(
      [
        'login-item',
        'personal-key',
        'institutional-key',
        'escrow-payload',
        'escrow-file',
        'plain-key-files',
        'left-over-outputs',
        'excluded-from-backups',
        'journal',
        'failed-requests',
      ].map((name) => [name, 'needs sudo']),
    );
    expect(runner.asked.map(({ program }) => program)).not.toContain('/usr/bin/profiles');
  });

  test('a command that is not there, ends oddly or says something else is no failure of what it was asked about', async () => {
    const { values } = await look({
      answers: {
        '/bin/launchctl print system/io.sparekey.agent': { code: 5, err: 'Input/output error\n' },
        '/usr/bin/fdesetup hasinstitutionalrecoverykey': { failed: 'timeout' },
        '/usr/bin/tmutil isexcluded': { out: 'perhaps\n' },
      },
    });
    expect([values.job, values.institutionalKey, values.excludedFromBackups]).toEqual([
      { unknown: 'the command ended with 5' },
      { unknown: 'the command did not answer in time' },
      { unknown: 'the command ended with 0' },
    ]);
  });

  test("macOS's privacy protection (EPERM) is told from a missing file and from a refused owner", async () => {
    const refusing = (code: string) => (disk: ReturnType<typeof realDisk>) => {
      const read = disk.read;
      disk.read = (path, most) => {
        if (path === paths.journal) throw Object.assign(new Error(code), { code });
        return read(path, most);
      };
    };
    expect((await look({ prepare: refusing('EPERM') })).values.journal).toEqual({ unknown: "macOS's privacy protection does not allow it (EPERM)" });
    expect((await look({ prepare: refusing('EACCES') })).values.journal).toEqual({ unknown: 'EACCES' });
    expect((await look({ prepare: refusing('EACCES'), asRoot: false })).values.journal).toBe('needs root');
  });

  test.each([
    ['[enabled, allowed, notified] (0xb)', 'allowed'],
    ['[enabled, disallowed, visible, notified] (0x9)', 'switched off'],
    ['[enabled, perhaps]', null],
  ])('a background item with the disposition %s is %s', async (disposition, is) => {
    const record = (label: string, its: string): string =>
      ` #1:\n                 Type: legacy daemon (0x10010)\n          Disposition: ${its}\n           Identifier: 16.${label}\n`;
    const others = record('com.example.other', '[enabled, disallowed] (0x9)') + record('io.sparekey.agent.other', '[enabled, disallowed] (0x9)');
    const out = ` Records for UID -2 : FFFFEEEE\n\n Items:\n\n${others}${record('io.sparekey.agent', disposition)}`;
    const { values } = await look({ answers: { '/usr/bin/sfltool dumpbtm': { out } } });
    expect(values.loginItem).toEqual(is === null ? { unknown: expect.stringContaining('does not say') } : { value: is });
    const without = await look({ answers: { '/usr/bin/sfltool dumpbtm': { out: ` Records for UID -2 : FFFFEEEE\n${others}` } } });
    expect(without.values.loginItem).toEqual({ value: 'not listed' });
    const strange = await look({ answers: { '/usr/bin/sfltool dumpbtm': { out: 'garbage\n' } } });
    expect(strange.values.loginItem).toEqual({ unknown: expect.stringContaining('another form') });
  });

  test.each([
    ['"io.sparekey.agent" => disabled', true],
    ['"io.sparekey.agent" => true', true],
    ['"io.sparekey.agent" => enabled', false],
    ['"io.sparekey.agent" => false', false],
    ['"io.sparekey.agent.other" => disabled', false],
  ])('of launchctl’s list of switches %s says %s', async (line, disabled) => {
    const { values } = await look({ answers: { '/bin/launchctl print-disabled system': { out: `\tdisabled services = {\n\t\t${line}\n\t}\n` } } });
    expect(values.job).toMatchObject({ value: { disabled } });
  });

  test('what doctor itself prints of a wrong setting is not the ticket or the key that was put into the wrong place', () => {
    for (const secret of [`t1.${Buffer.alloc(32, 7).toString('base64url')}`, 'ABCD-EFGH-JKLM-NPQR-TUVW-XY34', 'abcd-efgh-jklm-npqr-tuvw-xy34'])
      expect(describeSetting(secret)).toBe('a secret');
    expect(describeSetting('https//keys.example.org')).toBe('“https//keys.example.org”');
  });

  test('plain-text keys where a deferred enablement leaves them are found, also where it was told to', async () => {
    const { values } = await look({
      answers: { '/usr/bin/fdesetup showdeferralinfo': { out: '{\n    Defer = 1;\n    OutputPath = "/var/tmp/key.plist";\n}\n' } },
      prepare(disk) {
        for (const path of ['/var/db/ConfigurationProfiles', '/var/tmp']) disk.makeFolder(path, 0o755);
        disk.replace('/var/db/ConfigurationProfiles/fdesetup.plist', 'x');
        disk.replace('/var/tmp/key.plist', 'x');
      },
    });
    expect(values.plainKeyFiles).toEqual({ value: ['/var/db/ConfigurationProfiles/fdesetup.plist', '/var/tmp/key.plist'] });
  });

  test('left-over outputs, failed requests, a newer journal, open modes and other rotators are seen', async () => {
    const { values } = await look({
      prepare(disk) {
        disk.replace(`${paths.outputs}/r1.out`, 'x');
        disk.replace(`${paths.failed}/bad.3.json`, 'x');
        disk.replace(paths.journal, '{"version":7}');
        disk.makeFolder('/usr/local/jamf/bin', 0o755);
        disk.replace('/usr/local/jamf/bin/jamf', 'x');
        disk.makeFolder('/Library/Security/SecurityAgentPlugins/Crypt.bundle', 0o755);
      },
    });
    expect(values).toMatchObject({
      leftOvers: { value: { count: 1, oldest: expect.any(Number) } },
      failedRequests: { value: 1 },
      journal: { value: { version: 7, knows: 1 } },
      rotators: { byThemselves: ['Crypt'], byOrder: ['Jamf'] },
    });
    const entries = typeof values.stateFolder === 'object' && 'value' in values.stateFolder ? values.stateFolder.value : [];
    expect(entries.map(({ path, mode }) => [path, mode])).toContainEqual([paths.journal, 0o600]);
  });

  test('without settings nothing of the backend is known, and nothing is asked of it', async () => {
    const { values } = await look();
    expect([values.addresses, values.server]).toEqual([
      { unknown: 'the settings do not say where the backend is' },
      { unknown: 'the settings do not say where the backend is' },
    ]);
  });
});
