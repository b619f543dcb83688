import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { sealKey } from '../protocol/envelope.ts';
import { Problem } from '../protocol/problems.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { readDate, readKey, readSerial, type Signs } from '../server/formats/cells.ts';
import { readExports } from '../server/formats/export.ts';
import { readFiles } from '../server/formats/files.ts';
import { scratch } from './scratch.ts';
import { TestEscrowKeys } from './server-parts.ts';

const key = 'ABCD-EFGH-JKLM-NPQR-TUVW-XYZ2';

/** What a cell is read as: the key, or its fate with the words. */
function keyIn(cell: string, signs: Signs = 'as-written'): string {
  const read = readKey(cell, signs);
  if ('because' in read) return `${read.fate}: ${read.because}`;
  if ('sealed' in read) return `sealed ${read.sealed.length}`;
  return `${read.key.reveal()}${read.note === null ? '' : ` (${read.note})`}`;
}
const serialIn = (cell: string): string => {
  const read = readSerial(cell);
  return typeof read === 'string' ? read : `${read.fate}: ${read.because}`;
};

describe('a key is put right where that is certain', () => {
  test.each([
    ['as macOS writes it', key],
    ['in lower case', key.toLowerCase()],
    ['with spaces for dashes', key.replaceAll('-', ' ')],
    ['without dashes', key.replaceAll('-', '')],
    ['with other dashes', key.replaceAll('-', '–')],
    ['with spaces around', `  ${key}\u00a0`],
    ['over two lines', key.replace('-JKLM', '\r\nJKLM')],
    ['with an apostrophe against formulas', `'${key}`],
    ['as a formula that is a text', `="${key}"`],
    ['with words before it', `Recovery key: ${key}`],
    ['twice the same', `${key}, ${key.toLowerCase()}`],
  ])('%s', (_, cell) => {
    expect(keyIn(cell)).toBe(key);
  });

  test.each([
    ['with a sign too few', key.slice(0, -1), 'refused: that is no recovery key: 23 letters and digits instead of 24'],
    ['of another alphabet', key.replace('A', 'Å'), 'refused: that is no recovery key: 23 letters and digits instead of 24'],
    ['with a sign that no key has', key.replace('-XYZ2', '-XYZ2!'), 'refused: that is no recovery key: it has signs that no key has'],
    ['that is the bogus one of 10.13', 'WWWW-XXXX-YYYY-ZZZZ', 'refused: that is no recovery key: 16 letters and digits instead of 24'],
    ['that is masked', '****-****-****-****-****-XYZ2', 'refused: the key is masked in this export: export it with the keys shown'],
    [
      'that is still encrypted',
      `gAAAAABl${'x'.repeat(90)}==`,
      'refused: it is still encrypted by the program that kept it: have that program export it in plain',
    ],
    ['that is a formula', `=HYPERLINK("http://x/";"${key}")`, 'refused: where the key should be is a formula'],
    ['that is called by a macro', '@SUM(1+1)', 'refused: where the key should be is a formula'],
    ['with a zero byte', `ABCD\0${key}`, 'refused: a zero byte is in the key'],
    [
      'of which there are two',
      `${key}; 2222-3333-4444-5555-6666-7777`,
      'refused: 2 keys are in one cell, and it is not said which is the newest: give each a line with its date',
    ],
    ['that is empty', ' ', 'no-key: no key is there for this Mac'],
    ['that is not available', 'N/A', 'no-key: no key is there for this Mac'],
    ['that is null', 'null', 'no-key: no key is there for this Mac'],
    [
      'that is a certificate',
      '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----',
      'other-secret: a certificate or private key is where a recovery key should be',
    ],
    ['that is a cut envelope', `MIAG${'A'.repeat(100)}`, 'refused: it begins like an envelope (CMS) and is not a complete one: was it cut?'],
  ])('but not one %s', (_, cell, words) => {
    expect(keyIn(cell)).toBe(words);
    expect(words).not.toContain('ABCD');
  });

  test('a 0 that may be an O is never read by guess: as written where a product exported it, asked about where people typed, read as an O when told to', () => {
    const zero = key.replace('ABCD', 'AB0D');
    const why = 'its key has a 0, 1, I or S, which keys that macOS makes today do not have';
    expect(keyIn(zero, 'as-written')).toBe(`${zero} (${why}: taken as it is written)`);
    expect(keyIn(zero, 'ask')).toBe(`unsure: ${why}: look at where it came from, and say --signs as-written or --signs as-today (0 is O, S is 5)`);
    expect(keyIn(zero, 'as-today')).toBe(`${zero.replace('0', 'O')} (0 was read as O, and S as 5, as you said)`);
    expect(keyIn(key.replace('ABCD', 'ABSD').toLowerCase(), 'as-today')).toBe(`${key.replace('ABCD', 'AB5D')} (0 was read as O, and S as 5, as you said)`);
    expect(keyIn(key.replace('ABCD', 'AB1D'), 'as-today')).toBe(`unsure: ${why}: a 1 or I cannot be read as another sign for certain`);
    expect(['as-written', 'ask', 'as-today'].map((signs) => keyIn(key.toLowerCase(), signs as Signs))).toEqual([key, key, key]);
  });
});

describe('a serial number', () => {
  test.each([
    ['c02xk1zjjgh5 ', 'C02XK1ZJJGH5'],
    ["'C02XK1ZJJGH5", 'C02XK1ZJJGH5'],
    ['="C02XK1ZJJGH5"', 'C02XK1ZJJGH5'],
    ['', 'refused: the serial number is missing'],
    [key, 'refused: a recovery key is where the serial number should be: look at the columns'],
    ['1.23E+11', 'refused: a spreadsheet has made a figure of the serial number: export it as text'],
    ['=C02', 'refused: where the serial number should be is a formula'],
    ['+1', 'refused: where the serial number should be is a formula'],
    ['C02', 'refused: that is no serial number'],
    ['MacBook Pro', 'refused: that is no serial number'],
    ['Ada’s Mac', 'refused: that is no serial number'],
  ])('%j is read as %j', (cell, words) => {
    expect(serialIn(cell)).toBe(words);
  });
});

test.each([
  ['2026-02-01T05:31:43Z', '2026-02-01T05:31:43.000Z'],
  ['2026-02-01 05:31:43.123456+00:00', '2026-02-01T05:31:43.123Z'],
  ['2026-02-01T07:31+0200', '2026-02-01T05:31:00.000Z'],
  ['2026-02-01 05:31:43 UTC', '2026-02-01T05:31:43.000Z'],
  ['2026-02-01', '2026-02-01T00:00:00.000Z'],
  ['1769923903', '2026-02-01T05:31:43.000Z'],
  ['1769923903000', '2026-02-01T05:31:43.000Z'],
  ['', null],
  ['2/1/2026 5:31:43 AM', 'unsure'],
  ['2026-13-45', 'unsure'],
  ['yesterday', 'unsure'],
])('the date %j is %j: what may be day or month is not guessed', (cell, words) => {
  const read = readDate(cell);
  expect(typeof read === 'number' ? new Date(read).toISOString() : read).toBe(words);
});

describe('files', () => {
  let folder: string;
  const [pair] = new TestEscrowKeys().pairs;
  const envelope = pair ? sealKey(RecoveryKey.parse(key) as RecoveryKey, pair.der) : Buffer.alloc(0);
  const pem = `-----BEGIN CMS-----\n${envelope.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END CMS-----\n`;

  beforeAll(() => {
    folder = scratch('sparekey-export');
    const envelopes = join(folder, 'envelopes');
    mkdirSync(envelopes);
    writeFileSync(join(envelopes, 'C02XK1ZJJGH5.cms'), envelope);
    writeFileSync(join(envelopes, 'c02xk1zjjgh6.pem'), pem);
    writeFileSync(join(envelopes, 'C02XK1ZJJGH7.b64'), `${envelope.toString('base64')}\n`);
    writeFileSync(join(envelopes, 'C02XK1ZJJGH8.der'), envelope.subarray(0, -1));
    writeFileSync(join(envelopes, 'FileVaultPRK.dat'), envelope);
    writeFileSync(join(envelopes, 'notes.txt'), 'hello');
    writeFileSync(join(envelopes, '.DS_Store'), 'x');
    mkdirSync(join(folder, 'nothing'));
    mkdirSync(join(folder, 'deep'));
    mkdirSync(join(folder, 'deep', 'er'));
    symlinkSync('round', join(folder, 'round'));
  });

  test('a folder of envelopes has one for each Mac, in any of their forms; what is none is told, and hidden files are counted', () => {
    const { files, notes } = readFiles([join(folder, 'envelopes')]);
    expect(notes).toEqual([expect.stringMatching(/1 hidden file\(s\) were not read$/)]);
    const [read] = readExports(files, { source: null, mapping: {}, signs: null });
    expect([read?.source, read?.name]).toEqual(['mdm-cms', '6 envelopes']);
    expect(read?.entries.map(({ serial, sealed, trouble }) => [serial, sealed?.equals(envelope) ?? trouble?.because])).toEqual([
      ['C02XK1ZJJGH5', true],
      ['C02XK1ZJJGH7', true],
      ['C02XK1ZJJGH8', 'it begins like an envelope (CMS) and is not a complete one: was it cut?'],
      [null, 'its name is no serial number: call it SERIAL.cms'],
      ['C02XK1ZJJGH6', true],
      [null, 'it is no envelope (CMS)'],
    ]);
  });

  test('an envelope in a column is read like one in a file, with line breaks and PEM or without', () => {
    const csv = `serial,key\nC02XK1ZJJGH5,${envelope.toString('base64')}\nC02XK1ZJJGH6,"${pem}"\n`;
    const [read] = readExports([{ name: 'a.csv', bytes: Buffer.from(csv), inFolder: false }], { source: null, mapping: {}, signs: null });
    expect(read?.entries.map(({ serial, sealed }) => [serial, sealed?.equals(envelope)])).toEqual([
      ['C02XK1ZJJGH5', true],
      ['C02XK1ZJJGH6', true],
    ]);
  });

  test.each([
    ['that is not there', 'missing.csv', /cannot be read: there is no such file$/],
    ['that leads round', 'round', /cannot be read: it leads round in a circle$/],
    ['that is a folder with nothing', 'nothing', /is a folder without files$/],
    ['that is a folder of folders', 'deep', /is a folder in a folder: name it by itself$/],
    ['that is a device', '/dev/zero', /is no file$/],
  ])('one %s is refused in words', (_, path, words) => {
    const refused = () => readFiles([path.startsWith('/') ? path : join(folder, path)]);
    expect(refused).toThrow(Problem);
    expect(refused).toThrow(words);
  });

  test('one that may not be read is refused in words', () => {
    const path = join(folder, 'closed.csv');
    writeFileSync(path, 'serial,key\n', { mode: 0o000 });
    const isRoot = process.geteuid?.() === 0;
    // Root may read everything: it becomes nobody for as long as it tries.
    if (isRoot) process.seteuid?.(65_534);
    try {
      expect(() => readFiles([path])).toThrow(/cannot be read: you may not read it$/);
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
  });

  test('one that others can read is read, and that is said; a private one is read without a word', () => {
    const path = join(folder, 'keys.csv');
    writeFileSync(path, 'serial,key\n', { mode: 0o600 });
    expect(readFiles([path]).notes).toEqual([]);
    chmodSync(path, 0o644);
    expect(readFiles([path]).notes).toEqual([`${path} can be read by others on this machine: chmod 600 it, and count its keys as seen if that matters`]);
  });
});
