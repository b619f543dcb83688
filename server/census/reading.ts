import { createReadStream, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Problem } from '../../protocol/problems.ts';
import { csvRows, separatorOf } from '../formats/csv.ts';
import { readText } from '../formats/text.ts';
import { findLines, isSerial } from './line.ts';

/** What was found at one place of one file. */
export interface Found {
  file: string;
  /** As an editor counts them. */
  line: number;
  /** A line of assess.sh, as far as can be seen from outside. Null: see `fault`. */
  text: string | null;
  /** The serial number that the MDM has beside it. */
  serial: string | null;
  /** Why there is no line; null where the MDM merely has no answer of this Mac yet. */
  fault: string | null;
}

/** Lists are read whole where their form asks for it; twenty thousand Macs are about 60 MB of CSV. */
const mostBytes = 512 * 1024 * 1024;
const mostLine = 4 * 1024 * 1024;
const serialColumn = /^(?:(?:device|computer|hardware|host)[ _.-]*)?serial(?:[ _.-]*(?:number|no\.?))?$/i;

function facts(path: string): ReturnType<typeof statSync> {
  try {
    return statSync(path);
  } catch (error) {
    throw new Problem('USAGE', `${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
}

function filesUnder(path: string): string[] {
  if (!facts(path)?.isDirectory()) return [path];
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => !entry.name.startsWith('.'))
    .sort((one, other) => (one.name < other.name ? -1 : 1))
    .flatMap((entry) => (entry.isDirectory() || entry.isFile() ? filesUnder(join(path, entry.name)) : []));
}

/** Every line of assess.sh in these files and folders, and every place where one should be and is not. */
export async function* readAll(paths: readonly string[]): AsyncGenerator<Found> {
  for (const file of paths.flatMap(filesUnder)) yield* readOne(file);
}

async function* readOne(file: string): AsyncGenerator<Found> {
  const size = facts(file)?.size ?? 0;
  const at = (line: number, fault: string): Found => ({ file, line, text: null, serial: null, fault });
  let head: string;
  try {
    head = await headOf(file);
  } catch (error) {
    yield at(1, `the file cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
    return;
  }
  if (head.trim() === '') {
    yield at(1, 'the file is empty');
    return;
  }
  const kind = kindOf(file, head);
  if (kind === 'lines') {
    yield* linesOf(file);
    return;
  }
  if (Number(size) > mostBytes) {
    yield at(1, 'the file has more than 512 MB: split it');
    return;
  }
  const read = readText(readFileSync(file));
  if ('refused' in read) yield at(1, read.refused);
  else if (kind === 'csv') yield* rowsOf(file, read.text);
  else yield* documentOf(file, read.text);
}

async function headOf(file: string): Promise<string> {
  for await (const chunk of createReadStream(file, { end: 65_535 })) {
    const read = readText(chunk as Buffer);
    return 'refused' in read ? '\u0000,' : read.text;
  }
  return '';
}

/** By what is in it; the name decides only where that says nothing. */
function kindOf(file: string, head: string): 'lines' | 'csv' | 'document' {
  const first = head.trimStart().split(/[\r\n]/, 1)[0] ?? '';
  // UTF-16, and what is no text at all, is read whole.
  if (head.includes('\u0000') || /""sparekeyAssess""/.test(first)) return 'csv';
  if (first.startsWith('[') || (first.startsWith('{') && !/sparekeyAssess|\}\s*$/.test(first))) return 'document';
  if (/^[{<]/.test(first) || first.includes('sparekeyAssess')) return 'lines';
  return /\.(csv|tsv)$/i.test(file) || /[,;\t]/.test(first) ? 'csv' : 'lines';
}

async function* linesOf(file: string): AsyncGenerator<Found> {
  const decoder = new TextDecoder();
  let rest = '';
  let line = 0;
  let tooLong = false;
  for await (const chunk of createReadStream(file)) {
    const lines = (rest + decoder.decode(chunk as Buffer, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const text of lines) {
      line += 1;
      yield* inLine(file, line, tooLong ? null : text);
      tooLong = false;
    }
    if (rest.length > mostLine) {
      tooLong = true;
      rest = '';
    }
  }
  yield* inLine(file, line + 1, tooLong ? null : rest + decoder.decode());
}

function* inLine(file: string, line: number, text: string | null): Generator<Found> {
  if (text === null) {
    yield { file, line, text: null, serial: null, fault: 'the line has no end for 4 MB' };
    return;
  }
  const bare = text.trim();
  if (/^(?:<\/?result>)?$/.test(bare)) return;
  const found = findLines(bare);
  for (const one of found) yield { file, line, text: one, serial: null, fault: null };
  if (found.length === 0) yield { file, line, text: null, serial: null, fault: 'this is no line of assess.sh' };
}

/** JSON over several lines, as an API gives it. */
function* documentOf(file: string, text: string): Generator<Found> {
  const found = findLines(text.trim());
  for (const one of found) yield { file, line: 1, text: one, serial: null, fault: null };
  if (found.length === 0) yield { file, line: 1, text: null, serial: null, fault: 'no line of assess.sh is in this file' };
}

/** A list that an MDM exported: the line stands in whichever column has it. */
function* rowsOf(file: string, text: string): Generator<Found> {
  const rows = csvRows(text.replace(/^\uFEFF/, ''), separatorOf(text.split(/[\r\n]/, 1)[0] ?? ''));
  let column = -1;
  let any = false;
  const waiting: Found[] = [];
  for (const { line, cells, broken } of rows) {
    if (cells.every((cell) => cell.trim() === '')) continue;
    const has = cells.findIndex((cell) => cell.includes('sparekeyAssess'));
    if (!any && has < 0 && column < 0) {
      column = cells.findIndex((cell) => serialColumn.test(cell.trim()));
      any = true;
      continue;
    }
    any = true;
    const beside = column < 0 ? '' : (cells[column] ?? '').trim().toUpperCase();
    const serial = isSerial(beside) ? beside : null;
    if (broken) yield { file, line, text: null, serial, fault: broken === 'quote' ? 'a quotation mark is in the wrong place' : 'a cell is far too long' };
    else if (has >= 0) for (const one of findLines(cells[has]?.trim() ?? '')) yield { file, line, text: one, serial, fault: null };
    else waiting.push({ file, line, text: null, serial, fault: serial === null ? 'this row has no line of assess.sh and no serial number' : null });
  }
  yield* waiting;
}
