import { describe, expect, test } from '@jest/globals';
import type { Finding } from '../agent/doctor.ts';
import type { FileVault } from '../agent/mac/fdesetup.ts';
import { doctorInWords, reportStatus, sayError, sayResult, statusInWords } from '../agent/report.ts';
import { type Clock, localClock, relative, sayStatus, wordsOfDays } from '../agent/sentences.ts';
import type { PublicStatus } from '../agent/status.ts';
import { Problem } from '../protocol/problems.ts';

const now = Date.parse('2026-11-23T12:00:00Z');
const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const iso = (at: number): string => new Date(at).toISOString();
/** The hours of the tests' own zone, which is none. */
const clock: Clock = { when: (at, from) => `${relative(at, from)} (${iso(at).slice(11, 16)})` };

const status = (more: Partial<PublicStatus> = {}): PublicStatus => ({
  version: 1,
  agentVersion: '0.1.0',
  at: iso(now - 3 * minute),
  lastRun: { did: 'nothing, because nothing is owed', code: null },
  lastAnswerAt: iso(now - 3 * minute),
  server: 'https://keys.example.org',
  serial: 'C02ABC123',
  macosVersion: '26.6.2',
  macosBuild: '25G42',
  fileVault: { state: 'on', hasRecoveryKey: 'yes' },
  custody: { state: 'held', because: 'the held key was proved on 2026-11-22' },
  rotation: null,
  hold: null,
  escrow: { payload: 'ours', owner: 'auto', rotator: 'sparekey', says: 'the escrow payload is ours' },
  identity: { way: 'profile', notAfter: iso(now + 391 * day), enrolmentId: 'e1' },
  custodyMode: { mode: 'server', because: 'macOS brings every new key' },
  settings: { managed: true, unmanagedSince: null, problems: [] },
  capability: 'unknown',
  problems: [],
  ...more,
});
const on: FileVault = { state: 'on' };
const held = 'The recovery key of this Mac is in safe keeping: the held key was proved on 2026-11-22';
const custody = (state: 'foreign' | 'none' | 'lost' | 'doubtful' | 'held', because: string): Partial<PublicStatus> => ({ custody: { state, because } });
const hold = { since: iso(now - 2 * hour), until: iso(now + 22 * hour) };
const rotation = (state: NonNullable<PublicStatus['rotation']>['state']): Partial<PublicStatus> => ({
  rotation: { because: 'disclosed', state, says: 'nobody has been logged in long enough yet' },
});

describe('the first line of status is the answer in one sentence', () => {
  test.each([
    ['no status yet', on, null, 'FileVault is on; the agent has not run yet, so nothing is known about the recovery key.'],
    [
      'nothing known',
      { state: 'unknown', words: 'timeout' },
      null,
      'Nothing is known yet: macOS does not say how FileVault stands (it said: timeout), and the agent has not run.',
    ],
    ['off', { state: 'off' }, null, 'FileVault is off, so there is no recovery key to keep.'],
    ['off, though the last run saw a key', { state: 'off' }, status(), 'FileVault is off, so there is no recovery key to keep.'],
    ['off, deferred', { state: 'off', deferredFor: 'ada', waitingFor: 'logout' }, null, 'FileVault is off; it is to be turned on when ada logs out.'],
    ['off until the restart', { state: 'off', waitingFor: 'restart' }, null, 'FileVault is off and waits for a restart.'],
    ['on, and waits', { state: 'on', waitingFor: 'restart' }, status(), `FileVault is on and waits for a restart; ${held.replace('The', 'the')}.`],
    ['encrypting', { state: 'encrypting', percent: 43 }, status(), `FileVault is being turned on (43 % done); ${held.replace('The', 'the')}.`],
    [
      'encrypting, not on mains',
      { state: 'encrypting', waitingFor: 'power' },
      null,
      'FileVault is being turned on and waits for mains power; the agent has not run yet, so nothing is known about the recovery key.',
    ],
    ['decrypting', { state: 'decrypting', percent: 12 }, status(), 'FileVault is being turned off (12 % done).'],
    [
      'macOS silent',
      { state: 'unknown', words: 'timeout' },
      status(),
      `macOS does not say how FileVault stands (it said: timeout); when last seen, ${held.replace('The', 'the')}.`,
    ],
    ['the backend has not said', on, status({ custody: null }), 'The backend has not said yet whether it holds the recovery key of this Mac.'],
    ['held', on, status(), `${held}.`],
    [
      'held, not proved',
      on,
      status(custody('held', 'a key is held, not proved yet')),
      'The recovery key of this Mac is in safe keeping: a key is held, not proved yet.',
    ],
    ['none', on, status(custody('none', 'no key of this volume has come')), 'Nobody holds the recovery key of this Mac: no key of this volume has come.'],
    [
      'foreign',
      on,
      status(custody('foreign', 'new keys are sealed for somebody else')),
      'Somebody else keeps the recovery key of this Mac, and Sparekey only watches.',
    ],
    ['doubtful', on, status(custody('doubtful', 'a key has not been proved')), 'It is in doubt which recovery key opens this Mac: a key has not been proved.'],
    ['lost', on, status(custody('lost', 'the Mac said so')), 'No known recovery key opens this Mac any more: the Mac said so.'],
    [
      'on hold',
      on,
      status({ hold }),
      `${held}; it was shown 2 hours ago (10:00) and will be replaced when its person is back in, at the latest in 22 hours (10:00).`,
    ],
    ['owed', on, status(rotation('waiting')), `${held}; it is to be replaced (disclosed).`],
    ['being replaced', on, status(rotation('changing')), 'The recovery key of this Mac is being replaced.'],
    [
      'interrupted',
      on,
      status(rotation('unresolved')),
      'A replacement of the recovery key was interrupted, and it is being found out which key opens this Mac.',
    ],
    ['answered a day ago', on, status({ lastAnswerAt: iso(now - day) }), `${held}.`],
    ['offline', on, status({ lastAnswerAt: iso(now - 5 * day) }), `${held}; the backend has not answered for 5 days.`],
    [
      'unmanaged',
      on,
      status({ settings: { managed: false, unmanagedSince: iso(now - 3 * day), problems: [] } }),
      `${held}; the settings are not managed since 3 days ago (12:00), so nothing is replaced.`,
    ],
    ['asleep', on, status({ lastRun: { did: 'asleep', code: null } }), `${held}; the Mac was asleep at the last run.`],
  ] as [string, FileVault, PublicStatus | null, string][])('%s', (_name, fileVault, it, sentence) => {
    expect(sayStatus(fileVault, it, now, clock)).toBe(sentence);
  });
});

test('times are said as people say them, on both sides of each step', () => {
  const said = (milliseconds: number): string => relative(now - milliseconds, now);
  expect([said(0), said(minute - 1), said(minute), said(59 * minute), said(60 * minute), said(47 * hour), said(48 * hour), said(72 * hour)]).toEqual([
    'just now',
    'just now',
    '1 minute ago',
    '59 minutes ago',
    '1 hour ago',
    '47 hours ago',
    '2 days ago',
    '3 days ago',
  ]);
  expect(relative(now + 3 * hour, now)).toBe('in 3 hours');
  expect([
    wordsOfDays(now + 2 * day, now),
    wordsOfDays(now + day, now),
    wordsOfDays(now + 1, now),
    wordsOfDays(now, now),
    wordsOfDays(Number.NaN, now),
  ]).toEqual(['for 2 days', 'for 1 day', 'for less than a day', 'until just now: it has expired', 'for an unknown time']);
  expect(localClock.when(now, now)).toMatch(/^just now \(\d\d:\d\d\)$/);
  expect(localClock.when(now - 40 * day, now)).toMatch(/^40 days ago \(2026-10-1\d \d\d:\d\d\)$/);
  expect(localClock.when(Number.NaN, now)).toBe('at an unknown time');
});

describe('status', () => {
  const report = reportStatus(on, status({ hold, problems: [{ code: 'SERVER_UNREACHABLE', detail: 'ENOTFOUND' }] }), now, clock);

  test('for people is the answer, then aligned reasons, then the problems with their fixes', () => {
    expect(statusInWords(report, { now, colour: false, quiet: false, clock })).toBe(
      [
        `${report.says}`,
        '  FileVault    on',
        '  custody      held: the held key was proved on 2026-11-22',
        '  hold         the key was shown 2 hours ago (10:00); nothing is replaced before its person is back in, or in 22 hours (10:00)',
        '  escrow       the escrow payload is ours',
        '  kept on Mac  no: macOS brings every new key',
        "  identity     proved once by the profile's identity, valid for 391 days",
        '  settings     managed',
        '  backend      https://keys.example.org, last answered 3 minutes ago (11:57)',
        '  last run     3 minutes ago (11:57): nothing, because nothing is owed',
        '  Mac          C02ABC123, macOS 26.6.2 (25G42), sparekey 0.1.0',
        '',
        'Problems',
        '  the backend cannot be reached: ENOTFOUND',
        '    fix: nothing: it is tried again; if it stays, look at network, name and firewall',
        '    SERVER_UNREACHABLE',
        '',
      ].join('\n'),
    );
  });

  test('--quiet is the answer alone, and colour says nothing alone', () => {
    expect(statusInWords(report, { now, colour: false, quiet: true, clock })).toBe(`${report.says}\n`);
    const plain = statusInWords(report, { now, colour: false, quiet: false, clock });
    const coloured = statusInWords(report, { now, colour: true, quiet: false, clock });
    expect(coloured).not.toBe(plain);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: terminal colours begin with one
    expect(coloured.replace(/\u001b\[\d+m/g, '')).toBe(plain);
  });

  test('for programs has every name, also when nothing is known, and problems with title and fix', () => {
    const nothing = reportStatus({ state: 'unknown' }, null, now, clock);
    expect(Object.keys(nothing)).toEqual(Object.keys(report));
    expect(Object.keys(nothing.fileVault)).toEqual(Object.keys(report.fileVault));
    expect([nothing.known, report.known, reportStatus(on, null, now, clock).known]).toEqual([false, true, true]);
    expect(nothing).toMatchObject({ custody: null, hold: null, escrow: null, identity: null, settings: null, lastAnswerAt: null, problems: [] });
    expect(report.problems).toEqual([
      { code: 'SERVER_UNREACHABLE', title: 'the backend cannot be reached', fix: expect.stringContaining('tried again'), detail: 'ENOTFOUND' },
    ]);
  });

  test('what macOS says now goes before what the last run saw', () => {
    const { fileVault } = reportStatus({ state: 'encrypting', percent: 7.5 }, status(), now, clock);
    expect(fileVault).toMatchObject({ state: 'encrypting', percent: 7.5, hasRecoveryKey: 'yes' });
  });

  test("the last run's own problem is told once, and a code of another version is no failure", () => {
    const once = reportStatus(on, status({ lastRun: { did: 'it', code: 'MACOS_SILENT' }, problems: [{ code: 'MACOS_SILENT', detail: 'stat' }] }), now, clock);
    expect(once.problems.map(({ code, detail }) => [code, detail])).toEqual([['MACOS_SILENT', 'stat']]);
    const alone = reportStatus(on, status({ lastRun: { did: 'it', code: 'MACOS_SILENT' } }), now, clock);
    expect(alone.problems.map(({ code }) => code)).toEqual(['MACOS_SILENT']);
    const newer = { code: 'OF_TOMORROW' } as unknown as PublicStatus['problems'][number];
    expect(reportStatus(on, status({ problems: [newer] }), now, clock).problems).toMatchObject([
      { code: 'OF_TOMORROW', title: 'a problem that this version does not know' },
    ]);
  });
});

describe('a failure is three lines: what happened, what to do, its code', () => {
  test('of the table', () => {
    const { said, exit, facts } = sayError(new Problem('UNLOCK_REFUSED', 'fdesetup 11'));
    expect(said).toBe(
      'sparekey: error: macOS refused the credential used to replace the recovery key: fdesetup 11\n' +
        'sparekey: fix: a FileVault user of this Mac runs `sudo sparekey adopt`\n' +
        'sparekey: UNLOCK_REFUSED; more: docs/errors.md\n',
    );
    expect([exit, facts.exit, facts.code]).toEqual([77, 77, 'UNLOCK_REFUSED']);
  });

  test('what is not in the table is a mistake of ours, on one line', () => {
    const { said, exit } = sayError(new TypeError('a\nb'));
    expect(said.split('\n')[0]).toBe('sparekey: error: the agent met something unforeseen: TypeError: a b');
    expect([exit, sayError('text').exit]).toEqual([70, 70]);
  });

  test('the answer of the job may have neither fix nor code', () => {
    expect(sayResult({ says: 'not yet', fix: null, code: null })).toBe('sparekey: error: not yet\n');
  });

  test.each(['ABCD-EFGH-JKLM-NPQR-TUVW-XYZ2', 'abcd-efgh-jklm-npqr-tuvw-xyz2', 'ABCDEFGHJKLMNPQRTUVWXYZ2'])(
    'a recovery key in it is not repeated: %s',
    (key) => {
      const { said, facts } = sayError(new Problem('USAGE', `unknown command '${key}'`));
      expect(`${said}${facts.says}`).not.toContain(key);
      expect(facts.says).toBe("the command was not understood: unknown command '[recovery key]'");
    },
  );

  test('a UUID is no key', () => {
    expect(sayError(new Problem('USAGE', '1B2C3D4E-1111-2222-3333-444455556666')).facts.says).toContain('1B2C3D4E-1111-2222-3333-444455556666');
  });
});

describe('doctor', () => {
  const found: Finding[] = [
    { name: 'settings-managed', looksAt: 'a', verdict: 'ok', says: 'a profile brings them', fix: null },
    { name: 'clock', looksAt: 'b', verdict: 'failing', says: 'wrong', fix: 'set it' },
    { name: 'journal', looksAt: 'c', verdict: 'warning', says: 'odd', fix: 'look' },
    { name: 'identity', looksAt: 'd', verdict: 'cannot tell', says: 'no status', fix: null },
    { name: 'personal-key', looksAt: 'e', verdict: 'not checked', says: 'needs sudo', fix: null },
  ];

  test('counts first, then one line a check, and under what is wrong its fix', () => {
    expect(doctorInWords(found, { colour: false, quiet: false })).toBe(
      [
        '1 of 5 checks fails; 1 warning; 1 could not be told; 1 not checked',
        '[+] settings-managed  a profile brings them',
        '[-] clock             wrong',
        '                      fix: set it',
        '[!] journal           odd',
        '                      fix: look',
        '[?] identity          no status',
        '[ ] personal-key      needs sudo',
        '',
      ].join('\n'),
    );
  });

  test('--quiet leaves out what is as it should be, and nothing else', () => {
    const lines = doctorInWords(found, { colour: false, quiet: true }).split('\n');
    expect(lines.filter((line) => line.startsWith('['))).toEqual([
      '[-] clock             wrong',
      '[!] journal           odd',
      '[?] identity          no status',
    ]);
    expect(doctorInWords(found.slice(0, 1), { colour: false, quiet: true })).toBe('Nothing fails\n');
  });
});
