import type { Problem } from '../protocol/problems.ts';

/** Where a command writes: standard output is for its result alone. */
export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  /** Of the result: headers, colours and cut lines are for eyes. */
  isTerminal: boolean;
  /** Of what is said beside it. */
  isErrTerminal: boolean;
  colour: boolean;
  /** Signs to a line; 0 where nothing is cut. */
  width: number;
  /** A line that somebody types; null where nobody can. */
  ask(question: string): Promise<string | null>;
}

/** Macs and people say some of it: a terminal must not obey them, nor show text that runs the other way. */
export const plain = (text: string): string => text.replace(/[^\P{C}\n]/gu, '?');
const oneLine = (text: string): string => plain(text.replace(/\s+/gu, ' '));

const colours = { red: 31, amber: 33, green: 32, grey: 90, bold: 1 } as const;
export type Colour = keyof typeof colours;
export const coloured = (terminal: Pick<Terminal, 'colour'>, colour: Colour, text: string): string =>
  terminal.colour ? `\u001b[${colours[colour]}m${text}\u001b[0m` : text;

/** An identifier keeps its both ends: the middle says least. */
export function shortened(text: string, width: number): string {
  if (text.length <= width || width < 5) return text;
  const head = Math.ceil((width - 1) / 2);
  return `${text.slice(0, head)}…${text.slice(text.length - (width - 1 - head))}`;
}

export interface Column<Row> {
  title: string;
  of(row: Row): string | number | null;
  /** The first to be shortened where the line is too long. */
  gives?: boolean;
  /** For eyes; the words say the same without. */
  colour?(row: Row): Colour | null;
}

/** Aligned columns, numbers to the right; headers and shortening at a terminal alone. */
export function table<Row>(terminal: Terminal, columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const cells = rows.map((row) => columns.map(({ of }) => of(row)));
  const isNumber = columns.map(
    (_, at) => cells.some((row) => typeof row[at] === 'number') && cells.every((row) => row[at] === null || typeof row[at] === 'number'),
  );
  const texts = cells.map((row) => row.map((cell) => (cell === null || cell === '' ? '–' : oneLine(String(cell)))));
  const head = terminal.isTerminal ? [columns.map(({ title }) => title)] : [];
  const widths = columns.map((_, at) => Math.max(...[...head, ...texts].map((row) => (row[at] ?? '').length), 0));
  const total = (): number => widths.reduce((sum, width) => sum + width + 2, -2);
  if (terminal.isTerminal && terminal.width > 0)
    for (const at of columns.flatMap(({ gives }, index) => (gives ? [index] : []))) {
      const over = total() - terminal.width;
      if (over > 0) widths[at] = Math.max(8, (widths[at] ?? 0) - over);
    }
  const line = (row: readonly string[], paint: (text: string, at: number) => string): string =>
    row
      .map((text, at) => {
        const width = widths[at] ?? 0;
        const fitting = shortened(text, width);
        const padded = isNumber[at] ? fitting.padStart(width) : at === row.length - 1 ? fitting : fitting.padEnd(width);
        return paint(padded, at);
      })
      .join('  ')
      .trimEnd();
  return [
    ...head.map((row) => line(row, (text) => coloured(terminal, 'grey', text))),
    ...texts.map((row, index) =>
      line(row, (text, at) => {
        const colour = columns[at]?.colour?.(rows[index] as Row) ?? null;
        return colour === null ? text : coloured(terminal, colour, text);
      }),
    ),
  ].join('\n');
}

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

/** As people say it; exact in `--json`. */
export function ago(iso: string | null, now: number): string {
  if (iso === null) return 'never';
  const passed = now - Date.parse(iso);
  const [before, after] = passed >= 0 ? ['', ' ago'] : ['in ', ''];
  const span = Math.abs(passed);
  if (span < minute) return passed >= 0 ? 'just now' : 'in a moment';
  const [count, unit] = span < hour ? [span / minute, 'minute'] : span < day ? [span / hour, 'hour'] : [span / day, 'day'];
  const whole = Math.floor(count);
  return `${before}${whole} ${unit}${whole === 1 ? '' : 's'}${after}`;
}

/** The three lines of every failure: what, what to do, and its code. */
export function problemLines(problem: Problem): string {
  const { title, fix } = problem.kind;
  const what = problem.detail ? `${title}: ${problem.detail}` : title;
  return `sparekeyctl: error: ${oneLine(what)}\nsparekeyctl: fix: ${fix}\nsparekeyctl: ${problem.code}; more: docs/errors.md\n`;
}
