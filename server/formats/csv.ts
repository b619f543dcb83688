/** One row: a line, or more of them where a cell in quotation marks goes over several. */
export interface CsvRow {
  /** As an editor counts them. */
  line: number;
  cells: string[];
  /** A quotation mark that nobody closed, text behind a closed one, or a cell that is too long. Null where it is well formed. */
  broken: 'quote' | 'too-long' | null;
}

/** Far more than the longest envelope in base64. Also how far is looked for the end of a quotation, so that one stray mark costs no more than this. */
const mostCellSigns = 32 * 1024;
/** No name of a Mac has more lines; a mark that is closed further below is a stray one. */
const mostCellLines = 20;

interface Cell {
  text: string;
  end: number;
  broken: CsvRow['broken'];
}

/** RFC 4180: a cell in quotation marks, in which two of them are one. */
function quoted(text: string, from: number, separator: string): Cell {
  let at = from + 1;
  let cell = '';
  for (;;) {
    const mark = text.indexOf('"', at);
    if (mark < 0 || mark - from > mostCellSigns) return { text: '', end: from, broken: 'quote' };
    cell += text.slice(at, mark);
    at = mark + 1;
    if (text[at] !== '"') break;
    cell += '"';
    at += 1;
  }
  if (cell.split('\n').length > mostCellLines) return { text: '', end: from, broken: 'quote' };
  while (text[at] === ' ') at += 1;
  const next = text[at];
  const isEnd = next === undefined || next === separator || next === '\n' || next === '\r';
  return isEnd ? { text: cell, end: at, broken: null } : { text: '', end: from, broken: 'quote' };
}

/**
 * The rows of RFC 4180, and what spreadsheets make of it: a byte order mark before (gone by now), other separators, either end
 * of line. Of a row whose quotation marks are wrong only its first line is taken: what follows is read as lines again, so
 * that one stray mark does not swallow the Macs below it. `fits` judges a row that goes over several lines.
 */
export function* csvRows(text: string, separator: string, fits: (cells: readonly string[]) => boolean = () => true): Generator<CsvRow> {
  // A separator is one sign of `,;|` or a tab, none of which means anything in such a set.
  const plainText = new RegExp(`[^${separator}\r\n]*`, 'y');
  const restOfLine = /[^\r\n]*/y;
  let line = 1;
  let at = 0;
  while (at < text.length) {
    const start = at;
    const row: CsvRow = { line, cells: [], broken: null };
    let lines = 0;
    for (;;) {
      if (text[at] === '"') {
        const cell = quoted(text, at, separator);
        row.broken ??= cell.broken;
        lines += cell.text.split('\n').length - 1;
        row.cells.push(cell.text);
        at = cell.end;
      } else {
        plainText.lastIndex = at;
        const plain = plainText.exec(text)?.[0] ?? '';
        at += plain.length;
        if (plain.length > mostCellSigns) row.broken = 'too-long';
        row.cells.push(plain);
      }
      if (row.broken === 'quote' || text[at] !== separator) break;
      at += 1;
    }
    if (lines > 0 && row.broken === null && !fits(row.cells)) row.broken = 'quote';
    if (row.broken === 'quote') {
      lines = 0;
      restOfLine.lastIndex = start;
      at = start + (restOfLine.exec(text)?.[0] ?? '').length;
    }
    if (text[at] === '\r') at += 1;
    if (text[at] === '\n') at += 1;
    line += lines + 1;
    yield row;
  }
}

const separators = [',', ';', '\t', '|'] as const;

/** What is between the names of the columns: whichever is there most often outside of quotation marks. */
export function separatorOf(firstLine: string): string {
  const bare = firstLine.replace(/"[^"]*"/g, '');
  const counts = separators.map((sign) => bare.split(sign).length);
  return separators[counts.indexOf(Math.max(...counts))] ?? ',';
}
