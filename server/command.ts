import { createInterface } from 'node:readline/promises';
import { Problem, type ProblemKind } from '../protocol/problems.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import type { PassphraseSource } from './passphrase.ts';

/** Options that many commands have. */
export interface GivenOptions extends PassphraseSource {
  dir: string;
  json?: boolean;
  as?: string;
}

/** What a command has to say: for programs, for people, and beside the result. */
export interface CommandResult {
  json: unknown;
  /** Standard output. */
  text: string;
  /** What nobody may overlook: above the result, and in red at a terminal. */
  red?: readonly string[];
  /** Standard error, in words. */
  warnings?: readonly string[];
  /** When the result itself is bad news, such as a broken audit. */
  exit?: ProblemKind['exit'];
}

/** Macs say some of it: a terminal must not obey them, nor show text that runs the other way. */
const plain = (text: string): string => text.replace(/[^\P{C}\n\t]/gu, '?');
/** JSON of which a terminal understands nothing but the letters. */
export const printable = (json: string): string =>
  json.replace(/\p{C}/gu, (signs) => Array.from({ length: signs.length }, (_, at) => `\\u${signs.charCodeAt(at).toString(16).padStart(4, '0')}`).join(''));

/** In words for everybody, and in red where there are colours. */
export const inRed = (lines: readonly string[], colour: boolean): string =>
  lines.map((line) => (colour ? `\u001b[1;31mWARNING: ${plain(line)}\u001b[0m\n` : `WARNING: ${plain(line)}\n`)).join('');

/** Returns the exit status. */
export function print(result: CommandResult, json: boolean | undefined): number {
  // `NO_COLOR` and terminals without colours are known to `hasColors`.
  if (!json && result.red?.length) process.stdout.write(inRed(result.red, process.stdout.isTTY && process.stdout.hasColors()));
  for (const warning of result.warnings ?? []) process.stderr.write(`sparekey-server: note: ${plain(warning)}\n`);
  process.stdout.write(json ? `${printable(JSON.stringify(result.json))}\n` : `${plain(result.text)}\n`);
  return result.exit ?? 0;
}

/** A dangerous act is confirmed by a person at a terminal, or by `--yes` in a script. */
export async function confirmed(question: string, yes: boolean | undefined): Promise<void> {
  if (yes) return;
  if (!process.stdin.isTTY) throw new Problem('USAGE', 'this has to be confirmed: add --yes');
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await lines.question(`${question} Type yes to go on: `);
  lines.close();
  if (answer.trim() !== 'yes') throw new Problem('USAGE', 'it was not confirmed; nothing was changed');
}

/** The three lines of every failure: what, what to do, and its code. */
export function problemLines(problem: Problem): string {
  const { title, fix } = problem.kind;
  const what = problem.detail ? `${title}: ${problem.detail}` : title;
  return `sparekey-server: error: ${plain(what)}\nsparekey-server: fix: ${fix}\nsparekey-server: ${problem.code}; more: docs/errors.md\n`;
}

export function neededReason(reason: string | undefined): string {
  const text = reason?.trim() ?? '';
  if (text === '') throw new Problem('REASON_MISSING');
  if (text.length > 500) throw new Problem('USAGE', 'the reason has more than 500 characters');
  if (RecoveryKey.cutFrom(text) !== text) throw new Problem('KEY_IN_WORDS');
  return text;
}

const pad = (text: string, width: number) => text + ' '.repeat(Math.max(0, width - text.length));

/** Macs say some of it: what one of them says must not go on as a line of ours. */
export const oneLine = (text: string): string => text.replace(/\s+/gu, ' ');

/** Columns for people; `--json` is for programs. */
export function table(head: readonly string[], said: readonly (readonly string[])[]): string {
  const rows = said.map((row) => row.map(oneLine));
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => (row[column] ?? '').length)));
  return [head, ...rows]
    .map((row) =>
      row
        .map((cell, column) => pad(cell, widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

export const when = (milliseconds: number | null): string => (milliseconds === null ? '–' : new Date(milliseconds).toISOString().replace(/\.\d+Z$/, 'Z'));
