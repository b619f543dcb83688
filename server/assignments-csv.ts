import { Problem } from '../protocol/problems.ts';
import { readAccount, readUserName } from './assignments.ts';
import { csvRows } from './formats/csv.ts';

/** One line of a list of assignments, checked for its form. */
export interface CsvLine {
  /** As an editor counts them. */
  line: number;
  /** Upper case, as Apple writes it. */
  serial: string;
  userName: string;
  account: string | null;
}

const mostBytes = 16 * 1024 * 1024;
/** Named; of a file that is something else altogether the first lines are enough. */
const mostMistakes = 50;

interface Row {
  line: number;
  cells: string[];
  isBroken: boolean;
}

function rowsOf(text: string, separator: string): Row[] {
  const rows = [...csvRows(text, separator)].map(({ line, cells, broken }) => ({ line, cells: cells.map((cell) => cell.trim()), isBroken: broken !== null }));
  return rows.filter(({ cells, isBroken }) => isBroken || cells.some((cell) => cell !== ''));
}

/** The list, or every mistake of form by its line. */
export function readAssignmentsCsv(bytes: Uint8Array): { lines: CsvLine[]; mistakes: string[] } {
  if (bytes.length > mostBytes) return { lines: [], mistakes: ['the file has more than 16 MB'] };
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return { lines: [], mistakes: ['the file is not UTF-8: save it as “CSV UTF-8”'] };
  }
  const separator = /^[^\r\n,]*;/.test(text) ? ';' : ',';
  const [head, ...rows] = rowsOf(text, separator);
  const names = head?.cells.map((name) => name.toLowerCase()) ?? [];
  const wrongHead = names.filter((name, at) => !['serial', 'user', 'account'].includes(name) || names.indexOf(name) !== at);
  if (!head || wrongHead.length > 0 || !names.includes('serial') || !names.includes('user'))
    return { lines: [], mistakes: [`line ${head?.line ?? 1}: the columns have to be serial,user or serial,user,account`] };

  const lines: CsvLine[] = [];
  const mistakes: string[] = [];
  for (const { line, cells, isBroken } of rows) {
    const cell = (name: string): string => cells[names.indexOf(name)] ?? '';
    const serial = cell('serial').toUpperCase();
    const userName = readUserName(cell('user'));
    const account = cell('account') === '' ? null : readAccount(cell('account'));
    if (isBroken) {
      mistakes.push(`line ${line}: a quotation mark is in the wrong place`);
      continue;
    }
    const wrong = [
      ...(cells.length !== names.length ? [`it has ${cells.length} columns where the first line has ${names.length}`] : []),
      ...(/^[A-Z0-9-]{1,64}$/.test(serial) ? [] : ['serial is no serial number']),
      ...(userName === null ? ['user is no user name'] : []),
      ...(account === null && cell('account') !== '' ? ['account is no short name of an account'] : []),
    ];
    if (wrong.length > 0 || userName === null) mistakes.push(`line ${line}: ${wrong.join(', ')}`);
    else lines.push({ line, serial, userName, account });
  }
  return { lines, mistakes };
}

/** All of them in one refusal; nothing is written. */
export function refuseMistakes(mistakes: readonly string[]): void {
  if (mistakes.length === 0) return;
  const more = mistakes.length - mostMistakes;
  throw new Problem('ASSIGNMENTS_INVALID', [...mistakes.slice(0, mostMistakes), ...(more > 0 ? [`and ${more} more`] : [])].join('; '));
}
