import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Problem } from '../protocol/problems.ts';
import { assignCommand, assignCsvCommand, assignmentsCommand, standingCommand, unassignCommand } from '../server/assignments-commands.ts';
import { readAssignmentsCsv } from '../server/assignments-csv.ts';
import { type Backend, openBackend } from '../server/backend.ts';
import { helpCodeCommand } from '../server/requests-commands.ts';
import { addMac } from '../server/store/enrolments.ts';
import { helpCode } from '../web/help-codes.ts';
import { makeDataFolder } from './made-backend.ts';
import { endServers, runServer } from './run-server.ts';
import { scratch } from './scratch.ts';

let dir: string;
let backend: Backend;
const serials = ['C02ASSIGN001', 'C02ASSIGN002', 'C02ASSIGN003', 'C02TWICE0001', 'C02TWICE0001'];
beforeAll(async () => {
  const folder = scratch('sparekey-assign');
  dir = join(folder, 'data');
  await makeDataFolder(dir, 8443, { admin: 'olivia' });
  backend = await openBackend({ dir, passphrase: null });
  await backend.store.write(async (tx) => {
    for (const [at, serial] of serials.entries())
      await addMac(tx, { serial, serialProved: !serial.includes('TWICE'), subject: null, hardwareUuid: `H${at}`, at });
  });
});
afterAll(async () => {
  await backend.close();
  endServers();
});

const by = { actor: 'olivia', reason: 'inventory' };
const csv = (text: string, dryRun = false) => assignCsvCommand(backend, { ...by, bytes: Buffer.from(text), dryRun });
const all = async () => ((await assignmentsCommand(backend, { mac: null, user: null })).json as { assignments: Record<string, unknown>[] }).assignments;
const audited = async () => (await backend.store.db.selectFrom('audit').select('act').where('act', 'like', 'assignment.%').execute()).length;

describe('a list of assignments', () => {
  test('is read as spreadsheets write it: byte order mark, semicolons, quotes, either end of line, columns in any order', () => {
    const text = '\ufeffUser;Serial;Account\r\n"Ada@Example.org";c02assign001;ada\r\n\r\n"grace";"C02ASSIGN002";\r\n';
    expect(readAssignmentsCsv(Buffer.from(text))).toEqual({
      lines: [
        { line: 2, serial: 'C02ASSIGN001', userName: 'ada@example.org', account: 'ada' },
        { line: 4, serial: 'C02ASSIGN002', userName: 'grace', account: null },
      ],
      mistakes: [],
    });
    expect(readAssignmentsCsv(Buffer.from('serial,user\nC02ASSIGN001,"o""brien"')).lines).toMatchObject([{ userName: 'o"brien' }]);
  });

  test.each([
    ['nothing', '', 'line 1: the columns have to be serial,user or serial,user,account'],
    ['a column that there is not', 'serial,user,owner\n', 'line 1: the columns have to be serial,user or serial,user,account'],
    ['a column twice', 'serial,user,user\n', 'line 1: the columns have to be serial,user or serial,user,account'],
    ['no line of columns', 'C02ASSIGN001,ada\n', 'line 1: the columns have to be serial,user or serial,user,account'],
    ['a column too few', 'serial,user\nC02ASSIGN001\n', 'line 2: it has 1 columns where the first line has 2, user is no user name'],
    ['a column too many', 'serial,user\nC02ASSIGN001,ada,x\n', 'line 2: it has 3 columns where the first line has 2'],
    ['a formula', 'serial,user\nC02ASSIGN001,"=HYPERLINK(""http://x"")"\n', 'line 2: user is no user name'],
    ['a serial that is none', 'serial,user\n=1+1,ada\n', 'line 2: serial is no serial number'],
    ['a variable that nobody filled', 'serial,user\nC02ASSIGN001,$EMAIL\n', 'line 2: user is no user name'],
    ['an account that is none', 'serial,user,account\nC02ASSIGN001,ada,../ada\n', 'line 2: account is no short name of an account'],
    ['a quotation mark that nobody closed', 'serial,user\nC02ASSIGN001,"ada\n', 'line 2: a quotation mark is in the wrong place'],
  ])('with %s is refused, by its line', (_, text, mistake) => {
    expect(readAssignmentsCsv(Buffer.from(text)).mistakes).toEqual([mistake]);
  });

  test('with an open quotation mark is read on: what is wrong behind it is told too', () => {
    const { mistakes } = readAssignmentsCsv(Buffer.from('serial,user\nC02ASSIGN001,"ada\nC02ASSIGN002,\n'));
    expect(mistakes).toEqual(['line 2: a quotation mark is in the wrong place', 'line 3: user is no user name']);
  });

  test('that is not UTF-8 says how to save it', () => {
    expect(readAssignmentsCsv(Buffer.from('serial,user\nC02ASSIGN001,zo\xeb\n', 'latin1')).mistakes).toEqual(['the file is not UTF-8: save it as “CSV UTF-8”']);
  });

  test('every mistake is said at once, in the order of its lines, and nothing is written', async () => {
    const refused = await csv('serial,user\nC02ASSIGN001,ada\nC02NOBODY001,ada\n=x,ada\nC02TWICE0001,ada\nC02ASSIGN002,\n').catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(Problem);
    expect((refused as Problem).code).toBe('ASSIGNMENTS_INVALID');
    expect((refused as Problem).detail?.split('; ')).toEqual([
      'line 3: no Mac here has the serial number C02NOBODY001',
      'line 4: serial is no serial number',
      'line 5: more than one Mac has the serial number C02TWICE0001',
      'line 6: user is no user name',
    ]);
    expect(await all()).toEqual([]);
  });

  test('a dry run says what would change and writes nothing; the list itself does it; the same list again changes nothing', async () => {
    const text = 'serial,user,account\nC02ASSIGN001,Ada@Example.org,ada\nC02ASSIGN002,grace,\n';
    const dry = await csv(text, true);
    expect(dry.text).toMatch(/^would change 2 of 2 Macs in the list; nothing was written\n/);
    expect(dry.text).toContain('ada@example.org’s');
    expect([await all(), await audited()]).toEqual([[], 0]);
    expect((await csv(text)).json).toMatchObject({
      dryRun: false,
      changed: [{ serial: 'C02ASSIGN001', before: [] }, { serial: 'C02ASSIGN002' }],
      unchanged: 0,
    });
    expect(await all()).toMatchObject([
      { serial: 'C02ASSIGN001', userName: 'ada@example.org', account: 'ada', source: 'csv', rank: 2, by: 'olivia', counts: 'yes' },
      { serial: 'C02ASSIGN002', userName: 'grace', account: null },
    ]);
    const before = await audited();
    expect((await csv(text)).json).toMatchObject({ changed: [], unchanged: 2 });
    expect(await audited()).toBe(before);
  });

  test('another list takes the place of what a list had said of its Macs; the others stay as they are', async () => {
    const changed = await csv('serial,user\nC02ASSIGN002,hedy\n');
    expect(changed.text).toMatch(/C02ASSIGN002 +grace +hedy +hedy’s/);
    expect((await all()).map(({ serial, userName }) => `${serial} ${userName}`)).toEqual(['C02ASSIGN001 ada@example.org', 'C02ASSIGN002 hedy']);
  });

  test('a Mac that it names for two people is nobody’s, and that is said; the admin’s word is not touched by it', async () => {
    await assignCommand(backend, { ...by, mac: 'C02ASSIGN001', user: 'rosalind', account: null });
    const twice = await csv('serial,user\nC02ASSIGN003,ada\nC02ASSIGN003,grace\nC02ASSIGN001,hedy\n');
    expect(twice.warnings).toEqual([expect.stringContaining('C02ASSIGN003 is on the list for more than one person: two claims')]);
    expect(twice.json).toMatchObject({
      changed: [
        { serial: 'C02ASSIGN003', whose: 'nobody’s: two claims' },
        { serial: 'C02ASSIGN001', whose: 'rosalind’s (admin)' },
      ],
    });
    expect((await all()).map(({ serial, userName, counts }) => `${serial} ${userName} ${counts}`)).toEqual([
      'C02ASSIGN001 rosalind yes',
      'C02ASSIGN001 hedy outranked',
      'C02ASSIGN002 hedy yes',
      'C02ASSIGN003 ada two-claims',
      'C02ASSIGN003 grace two-claims',
    ]);
  });
});

describe('the commands', () => {
  test('assign says whose it was; unassign says what is left; assignments of a Mac tell its history', async () => {
    expect((await assignCommand(backend, { ...by, mac: 'c02assign001', user: 'Ada', account: 'ada' })).text).toBe('C02ASSIGN001 is ada’s; it was rosalind’s');
    const unknown = await assignCommand(backend, { ...by, mac: 'C02ASSIGN001', user: 'ada', account: 'ada' });
    expect(unknown.warnings).toEqual(['nobody has signed in as ada yet: compare it with what your sign-in provider calls them']);
    const gone = await unassignCommand(backend, { ...by, mac: 'C02ASSIGN001', user: 'ada' });
    expect(gone.text).toBe('C02ASSIGN001 is ada’s (admin) no more; now it is hedy’s');
    expect((await unassignCommand(backend, { ...by, mac: 'C02ASSIGN001', user: 'ada' })).text).toContain('nothing was changed');
    const one = await assignmentsCommand(backend, { mac: 'C02ASSIGN001', user: null });
    expect(one.json).toMatchObject({
      assignments: [{ userName: 'hedy', counts: 'yes' }],
      history: expect.arrayContaining([expect.objectContaining({ userName: 'rosalind', because: 'assigned again' })]),
    });
    expect(one.text).toContain('before: ada (admin) from ');
    expect((await assignmentsCommand(backend, { mac: null, user: 'HEDY' })).json).toMatchObject({
      assignments: [{ serial: 'C02ASSIGN001' }, { serial: 'C02ASSIGN002' }],
    });
  });

  test('a name that is none, and a serial that two Macs have, assign nobody', async () => {
    await expect(assignCommand(backend, { ...by, mac: 'C02ASSIGN001', user: '=x', account: null })).rejects.toMatchObject({ code: 'USAGE' });
    await expect(assignCommand(backend, { ...by, mac: 'C02ASSIGN001', user: 'ada', account: '../x' })).rejects.toMatchObject({ code: 'USAGE' });
    await expect(assignCommand(backend, { ...by, mac: 'C02TWICE0001', user: 'ada', account: null })).rejects.toMatchObject({ code: 'MAC_AMBIGUOUS' });
  });

  test('standing is shown without a change, and said in words after one; without a reason nothing is changed', async () => {
    const before = await standingCommand(backend, { mac: 'C02ASSIGN002', change: {}, actor: 'olivia', reason: null });
    expect(before.text).toBe('C02ASSIGN002: the organisation’s, in use, without a managed local admin\nas nobody has said otherwise');
    await expect(standingCommand(backend, { mac: 'C02ASSIGN002', change: { state: 'lost' }, actor: 'olivia', reason: null })).rejects.toMatchObject({
      code: 'REASON_MISSING',
    });
    const after = await standingCommand(backend, { mac: 'C02ASSIGN002', change: { state: 'lost' }, actor: 'olivia', reason: 'left in a train' });
    expect(after.text).toMatch(/^C02ASSIGN002: the organisation’s, lost, without .*\nset by olivia on .*: left in a train$/);
  });

  test('as processes: each with --json, its three lines of failure, and an example in its help', async () => {
    const file = join(dir, '..', 'macs.csv');
    writeFileSync(file, 'serial,user\nC02ASSIGN002,lise\n');
    const run = (...args: string[]) => runServer([...args, '--dir', dir, '--json']);
    const ran = await Promise.all([
      run('assign-csv', file, '--dry-run'),
      run('standing', 'C02ASSIGN003', '--ownership', 'personal', '--local-admin', 'yes', '--reason', 'bought by its user', '--as', 'olivia'),
      run('standing', 'C02ASSIGN003', '--state', 'broken', '--reason', 'x'),
      run('assign', 'C02ASSIGN001', 'ada'),
      run('requests'),
      run('approve', '7F3A-29', '--reason', 'x'),
    ]);
    const [dry, standing, wrong, noReason, requests, noPeople] = ran;
    expect(dry?.json).toMatchObject({ dryRun: true, changed: [{ serial: 'C02ASSIGN002', before: ['hedy'], people: [{ userName: 'lise' }] }] });
    expect(standing?.json).toMatchObject({ ownership: 'personal', state: 'in-use', localAdmin: true, set: { by: 'olivia', because: 'bought by its user' } });
    expect([wrong?.code, wrong?.stderr]).toEqual([64, expect.stringContaining('--state is in-use or lost or retired')]);
    expect([noReason?.code, noReason?.stderr]).toEqual([64, expect.stringContaining('REASON_MISSING')]);
    expect(requests?.json).toEqual({ requests: [] });
    expect([noPeople?.code, noPeople?.stderr]).toEqual([64, expect.stringContaining('this backend has no sites for people')]);
    const help = await runServer(['assign', '--help']);
    expect(help.stdout).toContain('sparekey-server assign C02XK1ZJJGH5 ada@example.org --account ada --reason "handed out today" --dir /var/lib/sparekey');
  });
});

test('a code that is read out on the telephone is found, however it is written down, with what its person met', async () => {
  const [mac] = await backend.store.db.selectFrom('mac').select(['id', 'serial']).limit(1).execute();
  const visit = { network: '192.0.2.0/24', language: 'nl' as const, session: null };
  const code = await backend.store.write(async (tx) =>
    helpCode(tx, { page: 'NOT_SHOWN /macs', visit, macId: mac?.id ?? null, at: await backend.clock.persist(tx) }),
  );
  const found = await helpCodeCommand(backend, ` ${code.toLowerCase().replace('-', ' ')}`);
  expect(found.json).toMatchObject({ code, page: 'NOT_SHOWN /macs', serial: mac?.serial, userName: null, language: 'nl', network: '192.0.2.0/24' });
  expect(found.text).toContain('nobody was signed in');
  await expect(helpCodeCommand(backend, 'ZZZZ-99')).rejects.toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
});
