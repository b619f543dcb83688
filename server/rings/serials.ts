import { Problem } from '../../protocol/problems.ts';
import { csvRows, separatorOf } from '../formats/csv.ts';
import { readText } from '../formats/text.ts';

const mostBytes = 64 * 1024 * 1024;
const bare = (name: string): string => name.toLowerCase().replace(/[^\p{L}\p{N}]/gu, '');
const isSerialName = (name: string): boolean => /^(device|computer|host|mac|hardware)?(serial(number|no|nr)?)$/.test(bare(name));

/** `column=value`: only such rows, as in the census’s own report: `ring=pilot`. */
export interface Where {
  column: string;
  value: string;
}

export function readWhere(text: string): Where {
  const at = text.indexOf('=');
  if (at < 1) throw new Problem('USAGE', '--where is COLUMN=VALUE, such as ring=pilot');
  return { column: text.slice(0, at).trim(), value: text.slice(at + 1).trim() };
}

/**
 * Serial numbers of Macs: one a line, or a table with a column for them. Nothing is passed over: what is no serial number is
 * named by its line, and then nothing is read.
 */
export function readSerials(bytes: Uint8Array, where: Where | null): string[] {
  if (bytes.length > mostBytes) throw new Problem('USAGE', 'the list has more than 64 MB');
  const read = readText(bytes);
  if ('refused' in read) throw new Problem('USAGE', read.refused);
  const text = read.text.replace(/^\uFEFF/, '');
  const rows = [...csvRows(text, separatorOf(/^[^\r\n]*/.exec(text)?.[0] ?? ''))].filter(({ cells }) => cells.some((cell) => cell.trim() !== ''));
  const [first] = rows;
  if (!first) throw new Problem('USAGE', 'nothing is in the list');
  const serialAt = first.cells.findIndex(isSerialName);
  const hasNames = serialAt >= 0;
  if (!hasNames && first.cells.length > 1) throw new Problem('USAGE', 'the first line has to name the columns, one of them `serial`');
  const whereAt = where === null ? -1 : first.cells.findIndex((name) => bare(name) === bare(where.column));
  if (where !== null && (!hasNames || whereAt < 0)) throw new Problem('USAGE', `the list has no column ${where.column}`);

  const serials: string[] = [];
  const mistakes: string[] = [];
  for (const { line, cells, broken } of hasNames ? rows.slice(1) : rows) {
    if (where !== null && broken === null && (cells[whereAt] ?? '').trim() !== where.value) continue;
    const serial = (cells[Math.max(serialAt, 0)] ?? '').trim().toUpperCase();
    if (broken !== null) mistakes.push(`line ${line}: a quotation mark is in the wrong place`);
    else if (!/^[A-Z0-9-]{1,64}$/.test(serial)) mistakes.push(`line ${line}: this is no serial number`);
    else serials.push(serial);
  }
  if (mistakes.length > 0)
    throw new Problem('USAGE', [...mistakes.slice(0, 20), ...(mistakes.length > 20 ? [`and ${mistakes.length - 20} more`] : [])].join('; '));
  if (serials.length === 0) throw new Problem('USAGE', where === null ? 'no serial number is in the list' : `no row has ${where.column} ${where.value}`);
  return [...new Set(serials)];
}
