import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { certificateDigest } from '../protocol/envelope.ts';
import { type CensusOptions, censusCommand } from '../server/census/census-command.ts';
import { percent } from '../server/census/figures.ts';
import { type Census, takeCensus } from '../server/census/fleet.ts';
import { judge, modes } from '../server/census/judge.ts';
import { type CensusMac, findLines, readLine } from '../server/census/line.ts';
import { obstacleTitles } from '../server/census/obstacles.ts';
import { reportPage } from '../server/census/page.ts';
import { type Found, readAll } from '../server/census/reading.ts';
import { reportCsv } from '../server/census/report-csv.ts';
import { csvRows } from '../server/formats/csv.ts';
import { censusLine, fleetLine, foreignPayload, foreignRecipient, lineFields, otherRecipient, ourDigest, ourPayload } from './census-lines.ts';
import { makePair, pemToDer } from './fake-mac/certificates.ts';
import { runServer } from './run-server.ts';

const ours = { digests: new Set([ourDigest]), witness: false };
let folder: string;
let files = 0;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sparekey-census-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, `${files}-${name}`);
  files += 1;
  writeFileSync(path, content);
  return path;
}
function macOf(over: Record<string, unknown>): CensusMac {
  const read = readLine(censusLine(over));
  if ('broken' in read) throw new Error(read.broken);
  return read.mac;
}
async function foundIn(...paths: string[]): Promise<Found[]> {
  const all: Found[] = [];
  for await (const one of readAll(paths)) all.push(one);
  return all;
}
const censusOf = (...paths: string[]): Promise<Census> => takeCensus(readAll(paths), ours);
const fleetOf = (...lines: string[]): Promise<Census> => censusOf(file('fleet.jsonl', lines.join('\n')));
const command = (paths: string[], over: Partial<CensusOptions> = {}) =>
  censusCommand({ paths, ours: [], witness: false, csv: null, html: null, mac: null, ...over });

const older = { macos: '15.7.1', build: '24G309' };
const escrowed = (recipient: unknown) => ({ bytes: 469, ageDays: 3, sha256: null, recipients: [recipient] });

describe('the mode that fits a Mac, and what would happen to it', () => {
  test.each<[string, Record<string, unknown>, Partial<typeof ours>, string, string, string, string[]]>([
    ['a foreign payload, macOS 26 with a Bootstrap Token', {}, {}, 'M2', 'observes', 'new-key-at-once', []],
    ['a foreign payload, macOS 15', older, {}, 'M2', 'observes', 'one-ordered-rotation', []],
    [
      'macOS 26 without a Bootstrap Token',
      { bootstrapToken: { supported: 'yes', escrowed: 'no' } },
      {},
      'M2',
      'observes',
      'one-ordered-rotation',
      ['no-bootstrap-token'],
    ],
    ['macOS 26 that did not say', { bootstrapToken: { supported: 'unknown', escrowed: 'unknown' } }, {}, 'M2', 'observes', 'unknown', []],
    ['our payload and a key in it', { payloads: [ourPayload], escrowFile: escrowed(ourPayload.recipient) }, {}, 'M1', 'keeps-the-key', 'nothing-new', []],
    ['our payload that saw no key yet', { payloads: [ourPayload], escrowFile: null }, {}, 'M1', 'waits-for-a-key', 'nothing-new', []],
    [
      'our payload, whose certificate nobody gave',
      { payloads: [ourPayload], escrowFile: escrowed(ourPayload.recipient) },
      { digests: new Set() },
      'M2',
      'observes',
      'new-key-at-once',
      [],
    ],
    [
      'our payload beside NanoMDM',
      { payloads: [ourPayload], escrowFile: escrowed(ourPayload.recipient) },
      { witness: true },
      'M4',
      'keeps-the-key',
      'nothing-new',
      [],
    ],
    ['no payload, macOS 26', { payloads: [], escrowFile: null }, {}, 'M1', 'finds-no-payload', 'new-key-at-once', []],
    ['no payload, macOS 15', { ...older, payloads: [], escrowFile: null }, {}, 'M1', 'finds-no-payload', 'one-ordered-rotation', ['nobody-has-it']],
    ['two payloads', { payloads: [foreignPayload, ourPayload] }, {}, 'M0', 'observes', 'refused', ['several-payloads']],
    ['profiles that could not be listed', { root: false, payloads: null, escrowFile: null }, {}, 'M0', 'observes', 'unknown', ['payload-unknown', 'not-root']],
    [
      'Escrow Buddy beside the MDM',
      { rotators: { byThemselves: ['Escrow Buddy'], byOrder: ['Jamf'] } },
      {},
      'M3',
      'observes',
      'new-key-at-once',
      ['two-rotators', 'mdm-may-rotate'],
    ],
    [
      'FileVault off under a foreign payload',
      { fileVault: 'off', personalKey: 'unknown', escrowFile: null },
      {},
      'M0',
      'waits-for-filevault',
      'first-key',
      ['filevault-off'],
    ],
    ['FileVault off, no payload', { fileVault: 'off', payloads: [], escrowFile: null }, {}, 'M1', 'waits-for-filevault', 'first-key', ['filevault-off']],
    ['FileVault on its way', { fileVault: 'encrypting' }, {}, 'M2', 'observes', 'new-key-at-once', ['filevault-busy']],
    ['fdesetup that hangs', { fileVault: 'unknown', personalKey: 'unknown' }, {}, 'M2', 'observes', 'unknown', ['filevault-unknown']],
    ['no personal key', { personalKey: 'no' }, {}, 'M2', 'observes', 'first-key', ['no-personal-key']],
    ['nobody with a secure token', { secureTokenUsers: 0 }, {}, 'M2', 'observes', 'new-key-at-once', ['no-token-user']],
    ['macOS 12', { macos: '12.7.6' }, {}, 'M0', 'does-not-install', 'one-ordered-rotation', ['old-macos']],
    ['macOS 12 beside MicroMDM', { macos: '12.7.6' }, { witness: true }, 'M5', 'does-not-install', 'one-ordered-rotation', ['old-macos']],
    ['an institutional key', { institutionalKey: 'yes' }, {}, 'M2', 'observes', 'new-key-at-once', ['institutional-key']],
    ['a file sealed to the MDM of before', { escrowFile: escrowed(otherRecipient) }, {}, 'M2', 'observes', 'new-key-at-once', ['file-of-another']],
    ['a key that is older than the payload', { escrowFile: null }, {}, 'M2', 'observes', 'new-key-at-once', ['never-escrowed']],
    [
      'a file that nobody could read',
      { escrowFile: { bytes: 5, ageDays: 1, sha256: null, recipients: [] } },
      {},
      'M2',
      'observes',
      'new-key-at-once',
      ['file-unreadable'],
    ],
    ['no MDM at all', { mdm: { enrolled: 'no', userApproved: 'no', dep: 'no', server: null } }, {}, 'M2', 'observes', 'new-key-at-once', ['not-enrolled']],
    [
      'an enrolment that nobody approved',
      { mdm: { enrolled: 'yes', userApproved: 'no', dep: 'no', server: null } },
      {},
      'M2',
      'observes',
      'new-key-at-once',
      ['not-approved'],
    ],
    ['Recovery Lock', { recoveryLock: 'yes' }, {}, 'M2', 'observes', 'new-key-at-once', ['recovery-lock']],
  ])('%s', (_, over, given, mode, agent, payload, obstacles) => {
    const judgement = judge(macOf(over), { ...ours, ...given });
    expect({ mode: judgement.mode, agent: judgement.agent, payload: judgement.payload, obstacles: judgement.obstacles.map(({ code }) => code) }).toEqual({
      mode,
      agent,
      payload,
      obstacles,
    });
    // What is next comes from the worst that is no mere note; where there is none, from the mode.
    const worst = judgement.obstacles.find(({ weight }) => weight !== 'note');
    expect(judgement.next === worst?.next).toBe(worst !== undefined);
    expect(judgement.next.length).toBeGreaterThan(10);
  });

  test('each mode has its step, and each obstacle its words', () => {
    expect(Object.keys(modes).sort()).toEqual(['M0', 'M1', 'M2', 'M3', 'M4', 'M5']);
    expect(judge(macOf({}), ours).next).toContain('import its key from the MDM');
    expect(judge(macOf({ payloads: [ourPayload], escrowFile: null }), ours).next).toBe('install the agent');
    for (const { title, next } of obstacleTitles.values()) for (const words of [title, next]) expect(words).toMatch(/^\S.*\S$/);
  });
});

describe('one line of assess.sh', () => {
  const line = censusLine();
  test.each([
    ['as it is', line],
    ['between <result> and </result>', `<result>${line}</result>`],
    ['behind other words', `Executing custom script…\t${line} exit 0`],
    ['as a string in another JSON', JSON.stringify({ host_id: 4, results: [{ output: `${line}\n`, runtime: 2 }] })],
    ['as an object in another JSON', JSON.stringify([{ device: 1, value: lineFields() }])],
  ])('is found %s', (_, around) => {
    const [found = '', ...more] = findLines(around);
    expect(more).toEqual([]);
    expect(readLine(found)).toEqual(readLine(line));
  });

  test('two of them one behind the other are both found; brackets in what a Mac says end none', () => {
    const other = censusLine({ payloadHint: 'a } "quoted" { b \\' });
    expect(findLines(`${line}${other}`)).toEqual([line, other]);
    expect(findLines(JSON.stringify('['.repeat(5000)))).toEqual([]);
  });

  test.each([
    ['cut off', line.slice(0, 300), 'the line is cut off or damaged'],
    ['of a newer form', censusLine({ sparekeyAssess: 2 }), 'its form is 2, and this backend knows 1: update the backend'],
    ['without a form', censusLine({ sparekeyAssess: 'x' }), 'its form has no number'],
    ['with a figure where a word should be', censusLine({ fileVault: 3 }), 'fileVault is not what assess.sh writes'],
    ['of no time', censusLine({ at: 'yesterday' }), 'at is not what assess.sh writes'],
    ['without a serial number', censusLine({ serial: null }), 'it has no serial number'],
    ['with a formula for a serial number', censusLine({ serial: '=HYPERLINK("x")' }), 'its serial number is none'],
    ['of something else', '{"serial":"C02XK1ZJJGH5"}', 'this is no line of assess.sh'],
    ['of a megabyte', censusLine({ payloadHint: 'x'.repeat(1_000_000) }), 'the line has more than 64 KB'],
  ])('%s is refused, with the reason', (_, broken, because) => {
    expect(readLine(broken)).toEqual({ broken: because });
  });

  test('of an older script is read, what it lacks is unknown, and that is said', () => {
    const { recoveryLock: _, rotators: __, ...before } = lineFields();
    const read = readLine(JSON.stringify(before));
    expect(read).toMatchObject({ mac: { recoveryLock: 'unknown', rotators: { byThemselves: [], byOrder: [] }, missing: ['recoveryLock', 'rotators'] } });
    expect(judge('mac' in read ? read.mac : macOf({}), ours).obstacles).toMatchObject([
      { code: 'old-line', says: 'an older assess.sh wrote this line, without recoveryLock, rotators' },
    ]);
  });
});

describe('where the lines come from', () => {
  test('a folder of files, folders in it, and lists in JSON; hidden files are none', async () => {
    const there = join(folder, 'answers');
    mkdirSync(join(there, 'more'), { recursive: true });
    writeFileSync(join(there, 'a.txt'), `${censusLine({ serial: 'AAAA1111' })}\n`);
    writeFileSync(
      join(there, 'more', 'b.json'),
      JSON.stringify([{ output: censusLine({ serial: 'BBBB2222' }) }, { output: censusLine({ serial: 'CCCC3333' }) }], null, 2),
    );
    writeFileSync(join(there, '.DS_Store'), 'binary');
    writeFileSync(join(there, 'z.txt'), '');
    const census = await censusOf(there);
    expect(census.macs.map(({ mac }) => mac.serial)).toEqual(['AAAA1111', 'BBBB2222', 'CCCC3333']);
    expect(census.broken).toEqual([{ file: join(there, 'z.txt'), line: 1, because: 'the file is empty' }]);
  });

  const quoted = (line: string): string => `"${line.replaceAll('"', '""')}"`;
  test.each([
    ['Jamf: an extension attribute in an advanced search', ',', ['Computer Name', 'Serial Number', 'Sparekey']],
    ['Intune: the result of a custom attribute', ',', ['Device name', 'SerialNumber', 'Result']],
    ['a spreadsheet with semicolons', ';', ['name', 'serial', 'output']],
    ['tabs', '\t', ['host', 'Device Serial Number', 'value']],
  ])('a list as %s: the column that has it is found; who has not answered is named', async (_, separator, head) => {
    const rows = [
      head,
      ['"Ada’s\nMac, ""1"""', 'C02XK1ZJJGH5', quoted(censusLine())],
      ['lab', 'NOANSWER01', ''],
      ['board', 'OLDSERIAL9', quoted(censusLine({ serial: 'NEWSERIAL9' }))],
      ['nameless', 'ROWSERIAL1', quoted(censusLine({ serial: null }))],
      ['cut', 'CUTOFF0001', quoted(censusLine().slice(0, 80))],
    ];
    const path = file('list.csv', `\uFEFF${rows.map((cells) => cells.join(separator)).join('\r\n')}\r\n`);
    const census = await censusOf(path);
    expect(census.macs.map(({ mac, judgement }) => [mac.serial, judgement.obstacles.map(({ code }) => code).join()])).toEqual([
      ['C02XK1ZJJGH5', ''],
      ['NEWSERIAL9', 'serial-differs'],
      ['ROWSERIAL1', ''],
    ]);
    expect(census.unanswered).toEqual(['NOANSWER01']);
    expect(census.broken).toEqual([{ file: path, line: 7, because: 'the line is cut off or damaged' }]);
  });

  test('UTF-16 of a spreadsheet, and a list without a head', async () => {
    const text = `name\tserial\tvalue\r\nx\tC02XK1ZJJGH5\t${quoted(censusLine())}\r\n`;
    expect((await censusOf(file('wide.csv', Buffer.from(`\uFEFF${text}`, 'utf16le')))).macs).toHaveLength(1);
    expect((await censusOf(file('headless.csv', `Mac 1,C02XK1ZJJGH5,${quoted(censusLine())}\n`))).macs).toHaveLength(1);
  });

  test('each line that is none is named with its file, its line and its reason', async () => {
    const path = file('mixed.jsonl', [censusLine(), '', 'Permission denied', censusLine().slice(0, 50), censusLine({ serial: 'BBBB2222' })].join('\n'));
    const census = await censusOf(path);
    expect(census.macs).toHaveLength(2);
    expect(census.broken).toEqual([
      { file: path, line: 3, because: 'this is no line of assess.sh' },
      { file: path, line: 4, because: 'the line is cut off or damaged' },
    ]);
    expect((await foundIn(file('book.csv', Buffer.from([0x50, 0x4b, 0x03, 0x04, 0, 0])))).map(({ fault }) => fault)).toEqual([
      expect.stringContaining('CSV UTF-8'),
    ]);
  });

  test('of several answers of one Mac the newest counts; two machines with one serial number are told apart', async () => {
    const census = await fleetOf(
      censusLine({ at: '2026-11-20T08:00:00Z', macos: '26.1' }),
      censusLine({ at: '2026-11-21T08:00:00Z', macos: '26.2' }),
      censusLine({ at: '2026-11-19T08:00:00Z', macos: '26.0', serial: 'c02xk1zjjgh5' }),
      censusLine({ serial: 'TWO1TWO1' }),
      censusLine({ serial: 'TWO1TWO1', hardwareUuid: '00000000-7503-404C-BF51-08EE55698C2D' }),
    );
    expect(census.macs.map(({ mac, ring, judgement }) => [mac.macos, ring, judgement.obstacles[0]?.code])).toEqual([
      ['26.2', 'pilot', undefined],
      ['26.6.2', 'later', 'two-machines'],
    ]);
    expect(census.repeated).toEqual([
      { serial: 'C02XK1ZJJGH5', answers: 3 },
      { serial: 'TWO1TWO1', answers: 2 },
    ]);
    expect(census.answeredFrom).toBe('2026-11-21T08:00:00Z');
  });
});

describe('the report', () => {
  const fleet = (count: number): Promise<Census> => fleetOf(...Array.from({ length: count }, (_, at) => fleetLine(at)));

  test('counts every Mac once, in each figure that is a whole', async () => {
    const path = file('fleet.jsonl', Array.from({ length: 200 }, (_, at) => fleetLine(at)).join('\n'));
    const { json, text } = await command([path]);
    const { figures, counts, macs } = json as {
      figures: Record<string, { bars: { count: number }[] }>;
      counts: Record<string, number>;
      macs: { ring: string; obstacles: unknown[] }[];
    };
    expect(counts).toMatchObject({ macs: 200, broken: 0 });
    expect((counts['ready'] ?? 0) + (counts['first'] ?? 0) + (counts['stopped'] ?? 0)).toBe(200);
    for (const whole of ['modes', 'agent', 'payload', 'owners', 'age', 'macos', 'rings'])
      expect([whole, figures[whole]?.bars.reduce((sum, { count }) => sum + count, 0)]).toEqual([whole, 200]);
    // One of each build and processor goes first, and nobody with something in the way.
    expect(macs.filter(({ ring }) => ring === 'pilot').length).toBeLessThanOrEqual(20);
    expect(text.split('\n')[0]).toBe('150 of 200 Macs can come to Sparekey as they are; 36 need something first, 14 cannot yet.');
    expect(text).toContain('--ours');
  });

  test('one Mac in full, with --mac; our payload is known by our certificate', async () => {
    const pair = makePair({ subject: { CN: 'Escrow' }, kind: 'escrow' });
    const mine = { ...ourPayload, certificate: certificateDigest(pemToDer(pair.certificate)) };
    const path = file('one.txt', censusLine({ payloads: [mine], escrowFile: escrowed(mine.recipient), problems: ['/usr/sbin/x: no answer in 20 seconds'] }));
    const { text } = await command([path], { mac: 'c02xk1zjjgh5', ours: [file('escrow.pem', pair.certificate)] });
    expect(text).toMatch(/^Mac {10}C02XK1ZJJGH5, Mac14,7, Apple M2, macOS 26.6.2 \(25G42\)\n/);
    expect(text).toContain('Mode         M1: our payload seals every new key to us');
    expect(text).toContain('Not read     /usr/sbin/x: no answer in 20 seconds');
    await expect(command([path], { mac: 'NOTTHERE' })).rejects.toMatchObject({ code: 'USAGE', detail: 'NOTTHERE has no line there' });
    await expect(command([path], { ours: [path] })).rejects.toMatchObject({ code: 'USAGE' });
  });

  test('as CSV: a row for each Mac, and nothing that a spreadsheet would run', async () => {
    const census = await fleetOf(
      censusLine({ payloads: [{ ...foreignPayload, organisation: '=cmd|"/c calc"!A1', location: 'a\nb, "c"' }] }),
      censusLine({ serial: 'BBBB2222' }),
    );
    const [head, ...rows] = [...csvRows(reportCsv(census), ',')];
    const cell = (row: number, name: string) => rows[row]?.cells[head?.cells.indexOf(name) ?? -1];
    expect(rows).toHaveLength(2);
    expect(rows.every(({ cells, broken }) => broken === null && cells.length === head?.cells.length)).toBe(true);
    expect([cell(0, 'serial'), cell(0, 'payload'), cell(0, 'location')]).toEqual(['BBBB2222', 'Some MDM', foreignPayload.location]);
    expect([cell(1, 'payload'), cell(1, 'location')]).toEqual([`'=cmd|"/c calc"!A1`, 'a b, "c"']);
  });

  test('as a page: it loads nothing, runs nothing, and what Macs say stays text; files are for their reader only', async () => {
    const [html, csv] = [join(folder, 'census.html'), join(folder, 'census.csv')];
    const hostile = '"><script>alert(1)</script>\u202E&';
    const path = file(
      'hostile.jsonl',
      [censusLine({ payloads: [{ ...foreignPayload, organisation: hostile }] }), 'x<img src=y>', ...Array.from({ length: 60 }, (_, at) => fleetLine(at))].join(
        '\n',
      ),
    );
    const { text } = await command([path], { html, csv });
    expect(text).toContain(`Written: ${html}`);
    const page = readFileSync(html, 'utf8');
    expect(page).toContain('&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;?&amp;');
    expect(page).not.toMatch(/<script|<img|src=|href=|\bon[a-z]+=|https?:|@import|url\(/);
    expect(page).toContain("default-src 'none'");
    expect(page.match(/<svg /g)?.length).toBeGreaterThan(20);
    expect(page.match(/<svg [^>]*>/g)?.every((tag) => tag.includes('aria-hidden="true"'))).toBe(true);
    expect(page.match(/<details>/g)?.length).toBeGreaterThan(8);
    for (const written of [html, csv]) expect(statSync(written).mode & 0o777).toBe(0o600);
    await expect(command([path], { html: join(folder, 'no', 'such', 'folder.html') })).rejects.toMatchObject({ code: 'USAGE' });
  });

  test('a fleet without anything in the way, and of one Mac, reads well', async () => {
    const census = await fleetOf(censusLine({ escrowFile: escrowed(foreignRecipient) }));
    expect(reportPage(census)).toContain('<h1>The one Mac can come to Sparekey as it is.</h1>');
    expect(reportPage(await fleet(1))).not.toContain('NaN');
    expect([percent(0, 10), percent(1, 1000), percent(999, 1000), percent(10, 10), percent(0, 0)]).toEqual(['0 %', '1 %', '99 %', '100 %', '0 %']);
  });

  test.each([
    ['an empty folder', () => [mkdtempSync(join(folder, 'empty-'))], 'CENSUS_EMPTY', /^there is no file in /],
    ['an empty file', () => [file('empty.txt', '')], 'CENSUS_EMPTY', /:1: the file is empty$/],
    ['nothing but broken lines', () => [file('broken.txt', 'one\ntwo\nthree')], 'CENSUS_EMPTY', /:1: this is no line of assess\.sh, and 2 more such places$/],
    [
      'a list that nobody has answered',
      () => [file('silent.csv', 'name,serial,sparekey\na,AAAA1111,\nb,BBBB2222,\n')],
      'CENSUS_EMPTY',
      /^2 Macs are listed, and none of them has answered$/,
    ],
    ['a path that is not there', () => [join(folder, 'nowhere')], 'USAGE', /cannot be read \(ENOENT\)$/],
  ])('%s ends with clear words', async (_, paths, code, detail) => {
    await expect(command(paths())).rejects.toMatchObject({ code, detail: expect.stringMatching(detail) });
  });

  test('the command needs no data folder, and says on one line where nothing is to be read', async () => {
    const ran = await runServer(['census', file('one.txt', `${censusLine()}\n`), '--json']);
    expect(ran).toMatchObject({ code: 0, stderr: '', json: { counts: { macs: 1, ready: 1 }, macs: [{ serial: 'C02XK1ZJJGH5', mode: 'M2', ring: 'pilot' }] } });
    await expect(runServer(['census', file('none.txt', 'x')])).resolves.toMatchObject({
      code: 77,
      stderr: expect.stringContaining('CENSUS_EMPTY; more: docs/errors.md'),
    });
  });

  test('two thousand Macs are read in the time of a breath', async () => {
    const path = file('large.jsonl', Array.from({ length: 2000 }, (_, at) => fleetLine(at)).join('\n'));
    const began = process.cpuUsage();
    const census = await censusOf(path);
    const { user, system } = process.cpuUsage(began);
    expect(census.macs).toHaveLength(2000);
    // Microseconds. Measured: a tenth of a second; a square of the number of Macs would be minutes.
    expect(user + system).toBeLessThan(3_000_000);
  });
});
