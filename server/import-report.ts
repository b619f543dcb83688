import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Problem } from '../protocol/problems.ts';
import type { LineFate } from './brought/import-plan.ts';
import { unwritable, writePrivate } from './private-files.ts';

/** Before anything is done: a report replaces no file. */
export function refuseReport(path: string): void {
  if (existsSync(path)) throw new Problem('USAGE', `${path} exists already: the report replaces no file`);
}

/** A spreadsheet must not take a cell for a formula. */
const cellOf = (value: string | number): string => {
  const text = String(value).replace(/^[=+@\t\r-]/, "'$&");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/** One row for each line, without a key: for whoever mends the list. Only its owner can read it. */
export function writeReport(path: string, runs: readonly { name: string; lines: readonly LineFate[] }[]): void {
  const rows = runs.flatMap(({ name, lines }) => lines.map(({ line, serial, fate, because }) => [name, line, serial ?? '', fate, because]));
  const text = [['file', 'line', 'serial', 'fate', 'because'], ...rows].map((row) => `${row.map(cellOf).join(',')}\r\n`).join('');
  try {
    writePrivate(resolve(path), text);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw new Problem('USAGE', `${path} cannot be written: there is no such folder`);
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw new Problem('USAGE', `${path} exists already: the report replaces no file`);
    throw unwritable(path, error);
  }
}
