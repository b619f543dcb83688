import { Problem } from '../../protocol/problems.ts';
import { RecoveryKey } from '../../protocol/recovery-key.ts';
import { entryOf, type Signs } from './cells.ts';
import { type Columns, columnsOf, type FileSource, type Mapping, roles } from './columns.ts';
import { type CsvRow, csvRows, separatorOf } from './csv.ts';
import { type ExportEntry, type RawEntry, troubled } from './entry.ts';
import { envelopeFile, isDer } from './envelopes.ts';
import { jsonEntries, readJson, sourceOfJson } from './json.ts';
import { readText } from './text.ts';

/** More is no export of Macs' keys, or wants to be cut into several. */
export const mostFileBytes = 64 * 1024 * 1024;

export interface GivenFile {
  /** Its last name, without folders. */
  name: string;
  bytes: Buffer;
  /** Of a folder of envelopes: whatever it is, it stands for one Mac. */
  inFolder: boolean;
}

export interface ReadOptions {
  source: FileSource | null;
  mapping: Mapping;
  /** Null: `ask` where people may have typed, `as-written` in what a product exported. */
  signs: Signs | null;
}

/** What is imported in one run: a file with lines, or what replies or folders say together. */
export interface Export {
  name: string;
  files: readonly GivenFile[];
  source: FileSource;
  /** What the same bytes were read by: with another mapping they say something else. */
  mapping: Record<string, string>;
  entries: ExportEntry[];
  notes: string[];
}

const refuse = (words: string): never => {
  throw new Problem('EXPORT_INVALID', words);
};

/** Reads all of it before anything is stored: an export that is not understood as a whole changes nothing. */
export function readExports(files: readonly GivenFile[], options: ReadOptions): Export[] {
  const envelopes = files.filter((file) => file.inFolder || isEnvelopeFile(file.bytes));
  const texts = files.filter((file) => !envelopes.includes(file)).map((file) => ({ file, read: textOf(file) }));
  const replies = texts.filter(({ read }) => /^\s*[{[]/.test(read.text));
  const tables = texts.filter((one) => !replies.includes(one));
  return [
    ...tables.map(({ file, read }) => tableExport(file, read, options)),
    ...(replies.length > 0 ? [repliesExport(replies, options)] : []),
    ...(envelopes.length > 0 ? [envelopesExport(envelopes)] : []),
  ];
}

const isEnvelopeFile = (bytes: Buffer): boolean =>
  isDer(bytes) || /^-----BEGIN |^M[I-L][A-Za-z0-9+/\s]{60,}={0,2}\s*$/.test(bytes.subarray(0, 64 * 1024).toString('latin1'));

function textOf(file: GivenFile): { text: string; notes: string[] } {
  if (file.bytes.length > mostFileBytes) refuse(`${file.name} has more than ${mostFileBytes / 1024 / 1024} MB: cut it into several`);
  const read = readText(file.bytes);
  if ('refused' in read) return refuse(`${file.name}: ${read.refused}`);
  if (read.text.trim() === '') refuse(`${file.name} is empty`);
  return read;
}

/** Excel's `sep=;`, and what PowerShell's Export-Csv writes before the names. */
const beforeNames = /^(?:sep=.|#TYPE\b.*)$/i;

function tableExport(file: GivenFile, { text, notes }: { text: string; notes: string[] }, options: ReadOptions): Export {
  const firstLine = text.split(/\r\n|[\r\n]/, 20).find((line) => line.trim() !== '' && !beforeNames.test(line.trim())) ?? '';
  const separator = separatorOf(firstLine);
  const entries: ExportEntry[] = [];
  let columns: Columns | null = null;
  let names: string[] = [];
  // Two stray quotation marks make one name of the lines between them: a name has no key in it.
  const fits = (cells: readonly string[]): boolean =>
    columns === null || (hasWidth(cells, names.length) && cells.every((cell, at) => at === columns?.places.key || !/[\r\n]/.test(cell) || !hasKey(cell)));
  for (const row of csvRows(text, separator, fits)) {
    const cells = row.cells.map((cell) => cell.trim());
    if (row.broken === null && cells.every((cell) => cell === '')) entries.push(troubled(row.line, 'empty', 'nothing is in this line'));
    else if (columns === null && beforeNames.test(cells.join(separator).trim())) entries.push(troubled(row.line, 'empty', 'it is no line of the list'));
    else if (columns !== null) entries.push(rowEntry(row, cells, names, columns, options));
    else {
      if (row.broken !== null) refuse(`${file.name}, line ${row.line}: the names of the columns cannot be read`);
      columns = columnsOf(cells, options);
      names = cells;
      if (!columns.hasNames) entries.push(rowEntry(row, cells, names, columns, options));
    }
  }
  if (columns === null) return refuse(`${file.name} has no names of columns`);
  markCut(text, entries, columns, names.length);
  const mapping = { read: 'table', signs: signsOf(columns.source, options), ...placesSaid(columns, names) };
  return { name: file.name, files: [file], source: columns.source, mapping, entries, notes };
}

const signsOf = (source: FileSource, { signs }: ReadOptions): Signs => signs ?? (source === 'csv' ? 'ask' : 'as-written');

const placesSaid = ({ places }: Columns, names: readonly string[]): Record<string, string> =>
  Object.fromEntries(roles.flatMap((role) => (places[role] === undefined ? [] : [[role, `${places[role] + 1} of ${names.length}`]])));

/** Empty cells behind the last name are what a spreadsheet leaves. */
const hasWidth = (cells: readonly string[], width: number): boolean => cells.length >= width && cells.slice(width).every((cell) => cell.trim() === '');

const hasKey = (cell: string): boolean => RecoveryKey.findIn(cell.toUpperCase()) !== null;

function rowEntry(row: CsvRow, cells: readonly string[], names: readonly string[], { places, source, hasNames }: Columns, options: ReadOptions): ExportEntry {
  const { line } = row;
  if (row.broken === 'quote') return troubled(line, 'refused', 'a quotation mark is in the wrong place');
  if (row.broken === 'too-long') return troubled(line, 'refused', 'it is longer than any line of such a list');
  if (cells.some((cell) => cell.includes('\0'))) return troubled(line, 'refused', 'a zero byte is in it');
  if (hasNames && cells.length === names.length && cells.every((cell, at) => cell === names[at]))
    return troubled(line, 'empty', 'it has the names of the columns again');
  // A comma in a name that nobody put into quotation marks moves everything behind it: another Mac's serial would not be noticed.
  if (!hasWidth(cells, names.length)) return troubled(line, 'refused', `it has ${cells.length} columns where the first line has ${names.length}`);
  const cell = (role: keyof typeof places): string => cells[places[role] ?? -1] ?? '';
  const raw: RawEntry = {
    line,
    serial: cell('serial'),
    key: cell('key'),
    date: cell('date'),
    kind: cell('kind'),
    institutional: cell('institutional'),
    status: '',
  };
  return entryOf(raw, signsOf(source, options));
}

/** A file that does not end with its line may have been cut in it. */
function markCut(text: string, entries: ExportEntry[], { places }: Columns, width: number): void {
  const last = entries.at(-1);
  if (!last || /[\r\n]$/.test(text)) return;
  if (last.trouble?.fate === 'refused') last.trouble = { ...last.trouble, because: `${last.trouble.because}; the file ends in this line: was it cut?` };
  else if (last.trouble === null && places.serial === width - 1) {
    const words = 'the file ends in this line, with the serial number: look whether that is whole';
    last.note = last.note === null ? words : `${last.note}; ${words}`;
  }
}

function repliesExport(replies: readonly { file: GivenFile; read: { text: string; notes: string[] } }[], options: ReadOptions): Export {
  const read = readJson(replies.map((reply) => reply.read.text));
  const source = options.source ?? sourceOfJson(read.items.map((item) => item.fields));
  const signs = signsOf(source, options);
  const { entries, notes } = jsonEntries(read, options.mapping, signs);
  const files = replies.map((reply) => reply.file);
  return {
    name: files.map((file) => file.name).join(', '),
    files,
    source,
    mapping: { read: 'replies', signs, ...options.mapping },
    entries,
    notes: [...new Set([...replies.flatMap((reply) => reply.read.notes), ...notes])],
  };
}

/** macOS's own name of the file, `FileVaultPRK.dat`, is no Mac's. */
const appleSerial = /^(?!FILEVAULTPRK$)[A-Z0-9]{8,14}$/;

/** One file for each Mac, called by its serial number. */
function envelopesExport(files: readonly GivenFile[]): Export {
  const entries = files.map((file, at): ExportEntry => {
    const line = at + 1;
    const name = file.name.replace(/\..*$/s, '').toUpperCase();
    const isSerial = appleSerial.test(name);
    const read = envelopeFile(file.bytes);
    if ('because' in read) return troubled(line, read.fate, read.because, isSerial ? name : null);
    if (!isSerial) return troubled(line, 'refused', 'its name is no serial number: call it SERIAL.cms');
    return { line, serial: name, key: null, sealed: read.bytes, madeAt: null, trouble: null, note: null };
  });
  const name = files.length === 1 ? (files[0]?.name ?? '') : `${files.length} envelopes`;
  // Its name says whose it is: with another name it is another file.
  return { name, files: files.map((file) => ({ ...file, inFolder: true })), source: 'mdm-cms', mapping: { read: 'envelopes' }, entries, notes: [] };
}
