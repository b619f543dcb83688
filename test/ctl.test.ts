import { spawnSync } from 'node:child_process';
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { openOperations } from '../console/operations/session.ts';
import { allOperations } from '../console/operations.ts';
import { addressOf } from '../ctl/asking.ts';
import { commandLine } from '../ctl/command-line.ts';
import { login } from '../ctl/commands/login.ts';
import { readQuietHours } from '../ctl/commands/rotate.ts';
import { readRole } from '../ctl/commands/tokens.ts';
import { save } from '../ctl/files.ts';
import { timeOf } from '../ctl/filter.ts';
import { ago, problemLines, shortened, type Terminal, table } from '../ctl/output.ts';
import { readProfile } from '../ctl/profile.ts';
import type { Ctl } from '../ctl/result.ts';
import { Problem } from '../protocol/problems.ts';
import { putAlarm } from '../server/alarms.ts';
import { silentLog } from '../server/log.ts';
import { insertRulesKept } from '../server/store/weaker-disclosure.ts';
import { type AdminGiven, givenConsole } from './given-console.ts';
import { scratch } from './scratch.ts';
import { newKey } from './server-parts.ts';

const folder = scratch('sparekey-ctl');
const caFile = join(folder, 'ca.pem');
let it: Awaited<ReturnType<typeof givenConsole>>;
let owner: AdminGiven;
let serial: string;
let approver: AdminGiven;

/** A terminal that nobody sits at, or one with answers to what it asks. */
function terminalOf(answers: string[] | null = null) {
  const said = { out: '', err: '' };
  const terminal: Terminal = {
    out(text) {
      said.out += text;
    },
    err(text) {
      said.err += text;
    },
    isTerminal: answers !== null,
    isErrTerminal: answers !== null,
    colour: false,
    width: answers === null ? 0 : 100,
    ask: async () => (answers === null ? null : (answers.shift() ?? '')),
  };
  return { said, terminal };
}

/** As whoever has signed in with this folder. */
async function run(as: string, words: string[], answers: string[] | null = null) {
  const { said, terminal } = terminalOf(answers);
  try {
    const exit = await commandLine({ argv: ['node', 'sparekeyctl', ...words], terminal, folder: join(folder, as), now: () => it.backend.clock.now() });
    return { exit, ...said, problem: null };
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return { exit: error.kind.exit, ...said, problem: error };
  }
}
const json = async (as: string, words: string[]) => {
  const { out, problem, exit } = await run(as, [...words, '--json']);
  if (problem) throw problem;
  return { exit, said: JSON.parse(out) };
};

/** By a token that was made for them, as `login --token-stdin` takes it. */
async function signIn(as: string, token: string | null): Promise<void> {
  const { terminal } = terminalOf();
  await login({
    address: it.console.url,
    ca: caFile,
    tokenFrom: async () => `${token}\n`,
    folder: join(folder, as),
    machine: 'a test',
    terminal,
    json: true,
    now: () => 0,
  });
}

beforeAll(async () => {
  it = await givenConsole();
  await it.checkIn();
  writeFileSync(caFile, it.console.ca);
  owner = await it.as('owner', null, 'token');
  approver = await it.as('approver', null, 'token');
  serial = (await owner.get('/v1/devices')).body.items[0].serial;
  const viewer = await it.as('viewer', ['berlin'], 'token');
  for (const [name, { token }] of Object.entries({ owner, approver, viewer })) await signIn(name, token);
});

describe('signing in', () => {
  test('the token lies where only its owner can read it, and nobody else’s eyes are let in', async () => {
    const file = join(folder, 'owner', 'ctl.json');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, 'owner')).mode & 0o777).toBe(0o700);
    expect(readProfile(join(folder, 'owner'))).toMatchObject({ url: it.console.url, userName: owner.userName, token: owner.token });
    const { said } = await json('owner', ['whoami']);
    expect(said).toMatchObject({ kind: 'token', userName: owner.userName });
    chmodSync(file, 0o640);
    expect((await run('owner', ['whoami'])).problem).toMatchObject({ code: 'FILE_TOO_OPEN' });
    chmodSync(file, 0o600);
  });

  test('by a code that a person confirms in the console: the token comes once, and `logout` ends it at the backend', async () => {
    const admin = await it.as('help-desk');
    const { said, terminal } = terminalOf();
    const done = login({
      address: it.console.url.replace('https://', ''),
      ca: caFile,
      folder: join(folder, 'desk'),
      machine: 'desk-7',
      terminal,
      json: true,
      now: () => 0,
      // Not before a person has confirmed it.
      pause: async () => {
        const { userCode } = JSON.parse(said.err);
        const page = await admin.browser.get('/login/confirm');
        expect(page.status).toBe(200);
        const shown = await admin.browser.submit(page, '/login/confirm', { code: userCode });
        if (shown.text.includes('desk-7')) await admin.browser.submit(shown, '/login/confirm/decide', { is: 'mine' });
      },
    });
    expect((await done).json).toMatchObject({ userName: admin.userName });
    expect((await json('desk', ['whoami'])).said.token).toMatchObject({ kind: 'login' });
    const { token = '' } = readProfile(join(folder, 'desk')) ?? {};
    expect((await json('desk', ['logout'])).said).toEqual({ signedOut: true, endedAtBackend: true });
    expect(readdirSync(join(folder, 'desk'))).toEqual([]);
    expect((await it.console.nobody.get('/v1/me', { authorization: `Bearer ${token}` })).status).toBe(401);
    expect((await run('desk', ['devices'])).problem).toMatchObject({ code: 'CTL_SIGNED_OUT' });
  });

  test.each([
    ['http://console.example.org', /is no address of a console/],
    ['https://console.example.org/fleet', /is no address of a console/],
  ])('%s is refused before anything is sent', async (address, words) => {
    const { terminal } = terminalOf();
    const given = { address, folder: join(folder, 'nobody'), machine: 'x', terminal, json: false, now: () => 0, tokenFrom: async () => 'spk_x' };
    await expect(login(given)).rejects.toThrow(words);
  });

  test('a console whose CA is not known is not believed, and the way to name it is said', async () => {
    const { terminal } = terminalOf();
    const given = {
      address: it.console.url,
      folder: join(folder, 'nobody'),
      machine: 'x',
      terminal,
      json: false,
      now: () => 0,
      tokenFrom: async () => owner.token ?? '',
    };
    await expect(login(given)).rejects.toMatchObject({ code: 'CONSOLE_UNREACHABLE', detail: expect.stringContaining('--ca FILE') });
    expect(readProfile(join(folder, 'nobody'))).toBeNull();
  });
});

describe('the fleet', () => {
  test('is listed for people and for programs; what a role is not for is not there', async () => {
    const { said } = await json('owner', ['devices']);
    expect(said).toMatchObject({ items: [{ serial: serial, custody: 'held' }], more: false });
    const shown = await run('owner', ['devices', serial.toLowerCase()], []);
    expect(shown.out.split('\n')[0]).toMatch(/^SERIAL +NAME +USER +MACOS +CUSTODY/);
    expect(shown.out).toContain(serial);
    // For a program there are no headers.
    expect((await run('owner', ['devices'])).out.startsWith('SERIAL')).toBe(false);
    expect((await run('owner', ['devices', '--custody', 'lost'], [])).out).toBe('no Mac is like that\n');
    expect((await json('owner', ['devices', '--count', '--custody', 'held,doubtful'])).said).toEqual({ count: 1 });
    expect((await json('viewer', ['devices'])).said).toEqual({ items: [], more: false });
    expect((await run('viewer', ['device', serial])).problem).toMatchObject({ code: 'MAC_UNKNOWN' });
  });

  test('as CSV, into a new file that replaces none', async () => {
    const file = join(folder, 'fleet.csv');
    expect((await json('owner', ['devices', '--csv', file])).said).toMatchObject({ file });
    expect(readFileSync(file, 'utf8')).toContain(serial);
    expect((await run('owner', ['devices', '--csv', file])).problem).toMatchObject({ code: 'USAGE', detail: expect.stringContaining('exists already') });
  });

  test('one Mac: its state first, then why; and what happened to it', async () => {
    const { out } = await run('owner', ['device', serial]);
    expect(out.split('\n')[0]).toContain(serial);
    expect(out).toMatch(/\nkeys\n.*\bheld\b/);
    expect(out).not.toContain(it.mac.recoveryKey);
    const timeline = await json('owner', ['device', serial, '--timeline']);
    expect(timeline.said.items.length).toBeGreaterThan(0);
  });
});

describe('replacing keys', () => {
  test('one Mac at once, with a reason; an order that waits is not doubled, and can be taken back', async () => {
    expect((await run('owner', ['rotate', serial])).problem).toMatchObject({ code: 'REASON_MISSING' });
    const first = await json('owner', ['rotate', serial, '--reason', 'left in a taxi']);
    expect(first.said).toMatchObject({ serial: serial, waited: false });
    expect((await json('owner', ['rotate', serial, '--reason', 'again'])).said).toMatchObject({ orderId: first.said.orderId, waited: true });
    expect((await json('owner', ['orders', 'withdraw', serial, first.said.orderId, '--reason', 'found it'])).said.says).toContain('taken back');
    expect((await run('approver', ['rotate', serial, '--reason', 'x'])).problem).toMatchObject({ code: 'NOT_ALLOWED' });
  });

  test('of a filter: what it means is said before, and it is confirmed; then how far it is', async () => {
    expect((await run('owner', ['rotate', '--reason', 'x'])).problem).toMatchObject({ code: 'USAGE' });
    const dry = await json('owner', ['rotate', '--custody', 'held', '--dry-run']);
    expect(dry.said).toMatchObject({ matching: 1, count: 1 });
    const unconfirmed = await run('owner', ['rotate', '--custody', 'held', '--reason', 'yearly', '--per-hour', '60']);
    expect(unconfirmed.problem).toMatchObject({ code: 'USAGE', detail: expect.stringContaining('--yes') });
    expect((await run('owner', ['rotate', '--custody', 'held', '--reason', 'yearly'], ['no'])).problem).toMatchObject({
      detail: expect.stringContaining('nothing was changed'),
    });
    const started = await run('owner', ['rotate', '--custody', 'held', '--reason', 'yearly'], ['yes']);
    expect(started.err).toContain('1 Mac');
    const [, id = ''] = /orders show ([\w-]+)/.exec(started.out) ?? [];
    expect((await json('owner', ['orders', 'show', id, '--devices'])).said).toMatchObject({ counts: { total: expect.any(Number) } });
    expect((await run('owner', ['orders', 'list'], [])).out).toContain(id);
    expect((await json('owner', ['orders', 'cancel', id, '--reason', 'not now', '--yes'])).said).toMatchObject({ state: 'cancelled' });
  });

  test.each([
    [
      'mon-fri 08:00-18:00 Europe/Amsterdam',
      { timeZone: 'Europe/Amsterdam', hours: [{ days: ['mon', 'tue', 'wed', 'thu', 'fri'], from: '08:00', to: '18:00' }] },
    ],
    [
      'sat-mon 22:00-06:00, wed 12:00-13:00 UTC',
      {
        timeZone: 'UTC',
        hours: [
          { days: ['sat', 'sun', 'mon'], from: '22:00', to: '06:00' },
          { days: ['wed'], from: '12:00', to: '13:00' },
        ],
      },
    ],
  ])('quiet hours: %s', (text, expected) => expect(readQuietHours(text)).toEqual(expected));
  test.each(['', 'always', 'mon 8-18 UTC', 'mon-fri 08:00-18:00', 'xyz 08:00-18:00 UTC'])('no quiet hours: %s', (text) =>
    expect(() => readQuietHours(text)).toThrow(/are no quiet hours/),
  );
});

describe('keys', () => {
  test('one Mac, one key, with a reason; a program gets it alone on standard output', async () => {
    const given = await run('owner', ['disclose', serial, '--reason', 'ticket 4711', '--yes']);
    expect(given.out).toBe(`${it.mac.recoveryKey}\n`);
    expect(given.err).not.toContain(it.mac.recoveryKey);
    expect(given.err).toContain('in the audit');
    expect((await run('owner', ['disclose', serial, '--reason', 'x'])).problem).toMatchObject({ code: 'USAGE' });
  });

  test('at a terminal on a screen of its own, which takes it away again', async () => {
    const { out } = await run('owner', ['disclose', serial, '--reason', 'ticket 4711'], ['yes', '']);
    const [enter, leave] = ['\u001b[?1049h', '\u001b[?1049l'];
    const groups = (it.mac.recoveryKey ?? '').split('-');
    expect(out.startsWith(enter)).toBe(true);
    for (const group of groups) expect(out.indexOf(group)).toBeGreaterThan(0);
    expect(out.endsWith(leave)).toBe(true);
    expect(out.lastIndexOf(groups[5] ?? '')).toBeLessThan(out.indexOf(leave));
  });

  test('one that only others had is shown as never proved, and not together with break glass', async () => {
    const key = newKey();
    await it.custody.bring([{ serial: 'C02NOAGENT01', key, source: 'jamf', trust: 'admin', runId: null, madeAt: null, actor: 'ada' }]);
    const words = ['disclose', 'C02NOAGENT01', '--brought', '--reason', 'ticket 4713', '--yes'];
    expect((await run('owner', [...words, '--break-glass'])).problem).toMatchObject({ code: 'USAGE' });
    const given = await run('owner', words);
    expect(given.out).toBe(`${key.reveal()}\n`);
    expect(given.err).toContain('NEVER PROVED: it came from jamf');
    expect(given.err).not.toContain(key.reveal());
  });

  test('asked for, agreed to by somebody else, never by oneself', async () => {
    const asked = await json('owner', ['disclose', serial, '--reason', 'ticket 4712', '--ask']);
    const { id } = asked.said;
    expect((await run('owner', ['approve', 'yes', id, '--words', 'called back', '--yes'])).problem).not.toBeNull();
    expect((await run('approver', ['approve', 'list'], [])).out).toContain('waiting for you');
    expect((await json('approver', ['approve', 'yes', id, '--words', 'called back', '--yes'])).said).toMatchObject({ state: 'approved' });
    expect((await run('approver', ['disclose', serial, '--reason', 'x', '--yes'])).problem).toMatchObject({ code: 'NOT_ALLOWED' });
  });
});

describe('the rest', () => {
  test('tokens: printed this once, used as what they are, ended', async () => {
    const made = await run('owner', ['tokens', 'make', 'inventory', '--role', 'viewer', '--service']);
    // A token makes no tokens: that is for the console.
    expect(made.problem).toMatchObject({ code: 'NOT_ALLOWED' });
    expect(readRole('help-desk:berlin,lab')).toEqual({ role: 'help-desk', tags: ['berlin', 'lab'] });
    expect(() => readRole('help-desk:')).toThrow(/is no role/);
  });

  test('the audit is searched and exported; its state is the exit status', async () => {
    const found = await json('owner', ['audit', 'search', '--act', 'key.disclosed', '--mac', serial]);
    expect(found.said.items.length).toBeGreaterThan(0);
    expect(found.said.items[0]).toMatchObject({ serial: serial, act: 'key.disclosed' });
    const file = join(folder, 'audit.jsonl');
    await json('owner', ['audit', 'export', file]);
    expect(readFileSync(file, 'utf8').split('\n').length).toBeGreaterThan(3);
    expect(await json('owner', ['audit', 'state'])).toMatchObject({ exit: 0, said: { ok: true } });
  });

  test('what is sent as a file keeps its signs on standard output, however it comes in pieces', async () => {
    const text = 'Zoë ordered “replace”\n'.repeat(3);
    const pieces = async function* () {
      for (const byte of Buffer.from(text)) yield Buffer.from([byte]);
    };
    const { said, terminal } = terminalOf();
    const api = { download: async () => ({ fileName: null, content: pieces() }) } as unknown as Ctl['api'];
    const ctl: Ctl = { api, terminal, now: () => 0, quiet: true, json: false, progress: () => undefined, confirm: async () => undefined };
    await save(ctl, null, { method: 'POST', path: '/v1/audit/export' });
    expect(said.out).toBe(text);
  });

  test('policies: a file, what it would do, then it is', async () => {
    const file = join(folder, 'policy.json');
    writeFileSync(file, JSON.stringify({ name: 'Berlin', rank: 10, tags: ['berlin'], rules: { rotation: { everyDays: 90 } } }));
    expect((await json('owner', ['policies', 'dry-run', 'new', file])).said).toMatchObject({ covered: 0 });
    const made = await json('owner', ['policies', 'put', 'new', file, '--reason', 'agreed', '--yes']);
    expect(made.said).toMatchObject({ name: 'Berlin', version: 1 });
    expect((await run('owner', ['policies', 'list'], [])).out).toContain('Berlin');
    expect(JSON.parse((await run('owner', ['policies', 'show', 'Berlin'])).out)).toMatchObject({ name: 'Berlin', version: 1 });
    expect((await json('owner', ['policies', 'end', 'Berlin', '--reason', 'over', '--yes'])).said).toMatchObject({ ended: true });
    // What shows keys more easily than by two people waits for the second one.
    const guarded = { name: 'Guarded', rank: 11, tags: ['guarded'], rules: { disclosure: { needs: 'second-person' } } };
    writeFileSync(file, JSON.stringify(guarded));
    const strict = (await json('owner', ['policies', 'put', 'new', file, '--reason', 'agreed', '--yes'])).said;
    expect(strict).toMatchObject({ version: 1, proposal: null });
    expect((await run('owner', ['policies', 'end', 'Guarded', '--reason', 'over', '--yes'])).out).toMatch(/proposed: .*nothing has changed/);
    expect((await run('owner', ['policies', 'proposals'])).out).toMatch(/Guarded.*it ends/);
    const [waiting] = (await json('owner', ['policies', 'proposals'])).said['items'] as { id: string }[];
    expect((await run('owner', ['policies', 'agree', waiting?.id ?? '', '--words', 'mine', '--yes'])).problem).toMatchObject({ code: 'OWN_REQUEST' });
    expect((await run('owner', ['policies', 'decline', waiting?.id ?? '', '--words', 'not now'])).out).toContain(
      'the change of the policy Guarded is withdrawn',
    );
    // Nobody has made it easier to be shown the key of this Mac.
    const agreeing = ['policies', 'agree-rules', serial, '--words', 'another user', '--yes'];
    expect((await run('owner', agreeing)).problem).toMatchObject({ code: 'NOT_FOUND' });
    const macId = await it.macId();
    await it.store.write(async (tx) => {
      const kept = { id: 'kept', at: it.backend.clock.now(), actor: 'bob', person_id: null, lifted_at: null, lifted_by: null };
      await insertRulesKept(tx, { ...kept, mac_id: macId, tags: '["guarded"]' });
    });
    expect((await run('owner', agreeing)).out).toBe(`agreed to one change of ${serial}: the rules of now hold alone\n`);
    writeFileSync(file, '{');
    expect((await run('owner', ['policies', 'put', 'new', file, '--reason', 'x'])).problem).toMatchObject({ code: 'USAGE' });
  });

  test('an evidence pack is a file of its own', async () => {
    const file = join(folder, 'pack.zip');
    const { said } = await json('owner', ['report', 'evidence', file, '--from', '2020-01-01', '--to', '0h']);
    expect(said.file).toBe(file);
    expect(readFileSync(file).subarray(0, 2).toString()).toBe('PK');
  });

  test('alarms: those that are open, and one of them with what to do', async () => {
    expect((await run('owner', ['alarms'])).out).toBe('no alarm is open\n');
    await it.store.write((tx) => putAlarm({ log: silentLog }, tx, it.backend.clock.now(), null, 'BACKUP_LATE', 'in a test'));
    const { said } = await json('owner', ['alarms']);
    const [{ id, code, fix }] = said.items;
    const { out } = await run('owner', ['alarms', 'show', id]);
    expect(out).toMatch(new RegExp(`^${code}: `));
    expect(out).toContain(`next: ${fix}`);
    expect((await json('owner', ['alarms', 'list', '--judged', '--mac', serial])).said.items).toEqual([]);
    expect((await run('viewer', ['alarms', 'show', id])).problem).toMatchObject({ code: 'NOT_FOUND' });
  });

  test('every question that it asks is one of the API', () => {
    const asked = new Set<string>();
    const sources = readdirSync(join(import.meta.dirname, '..', 'ctl'), { recursive: true, withFileTypes: true }).filter((entry) => entry.name.endsWith('.ts'));
    for (const entry of sources)
      for (const [, method = '', path = ''] of readFileSync(join(entry.parentPath, entry.name), 'utf8').matchAll(/method: '([A-Z]+)', path: '(\/v1\/[^']+)'/g))
        asked.add(`${method} ${path}`);
    const there = new Set([...allOperations, ...openOperations].map(({ method, path }) => `${method} ${path}`));
    expect(asked.size).toBeGreaterThan(20);
    expect([...asked].filter((one) => !there.has(one))).toEqual([]);
  });

  test('what is wrong is said in three lines, without line ends of others', () => {
    expect(problemLines(new Problem('NOT_FOUND', 'a\nb\u001b[31m')).split('\n')).toHaveLength(4);
    expect(problemLines(new Problem('NOT_FOUND', 'a\nb\u001b[31m'))).not.toContain('\u001b');
    const { terminal } = terminalOf([]);
    expect(table(terminal, [{ title: 'A', of: (text: string) => text }], ['x\u001b[2Jy\nz'])).toBe('A\nx?[2Jy z');
  });

  test('words, numbers and times', () => {
    const now = Date.UTC(2026, 10, 23, 12);
    expect(ago(new Date(now - 3 * 60_000).toISOString(), now)).toBe('3 minutes ago');
    expect(ago(new Date(now + 26 * 3_600_000).toISOString(), now)).toBe('in 1 day');
    expect(ago(null, now)).toBe('never');
    expect(timeOf('2d', now)).toBe('2026-11-21T12:00:00.000Z');
    expect(() => timeOf('soon', now)).toThrow(/is no time/);
    expect(shortened('0123456789abcdef', 9)).toBe('0123…cdef');
    expect(addressOf({ method: 'GET', path: '/v1/a/{id}', input: { id: 'x/y', tag: ['a', 'b'], none: undefined } })).toEqual({
      path: '/v1/a/x%2Fy?tag=a&tag=b',
      body: null,
    });
    expect(addressOf({ method: 'POST', path: '/v1/a/{id}/b', input: { id: 'x', reason: 'r' } })).toEqual({ path: '/v1/a/x/b', body: { reason: 'r' } });
  });

  test('bash completes its words by what it prints', async () => {
    const { out } = await run('owner', ['completion', 'bash']);
    const script = `${out}\nCOMP_WORDS=(sparekeyctl orders ca); COMP_CWORD=2; _sparekeyctl; echo "\${COMPREPLY[@]}"`;
    const { stdout, status } = spawnSync('bash', ['-c', script], { encoding: 'utf8' });
    expect({ stdout, status }).toEqual({ stdout: 'cancel\n', status: 0 });
    expect((await run('owner', ['completion', 'csh'])).problem).toMatchObject({ code: 'USAGE' });
  });
});
