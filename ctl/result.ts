import type { ProblemKind } from '../protocol/problems.ts';
import type { Api } from './asking.ts';
import type { Terminal } from './output.ts';

/** What a command has to say: for programs, for people, and beside the result. */
export interface Result {
  json: unknown;
  /** First line: the answer; the rest is why. Empty: nothing is printed. */
  text: string;
  /** Standard error, in words. */
  notes?: readonly string[];
  /** Where the result itself is bad news. */
  exit?: ProblemKind['exit'];
}

/** What a command works with. */
export interface Ctl {
  api: Api;
  terminal: Terminal;
  /** This machine's time, for “3 minutes ago” alone. */
  now(): number;
  /** No words beside the result. */
  quiet: boolean;
  json: boolean;
  /** How long work goes on, on standard error; of nothing where nobody watches. */
  progress(words: string): void;
  /** A dangerous act is confirmed by a person at a terminal, or by `--yes`. */
  confirm(question: string, yes: boolean): Promise<void>;
}
