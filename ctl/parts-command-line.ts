import type { Command } from 'commander';
import { listOf, wholeNumber } from './filter.ts';
import type { Ctl, Result } from './result.ts';

/** What each group of commands is made with. */
export interface Commands {
  program: Command;
  add(parent: Command, name: string, description: string, example: string): Command;
  /** With the API, as whoever has signed in here. */
  signedIn(options: Readonly<Record<string, unknown>>, work: (ctl: Ctl) => Promise<Result>): Promise<void>;
}

/** Which Macs are meant: the same words as in the address of the console's list. */
export const withFilter = (command: Command): Command =>
  command
    .option('--custody <state,…>', 'held, doubtful, lost, none, foreign', listOf)
    .option('--problem <kind,…>', 'what needs a person, as the list names it', listOf)
    .option('--tag <tag,…>', 'with one of these tags', listOf)
    .option('--user <name>', 'whose Mac it is')
    .option('--macos <version>', 'a version or its beginning: 26')
    .option('--macos-before <version>', 'older than this')
    .option('--model <model>', 'exactly, as Mac14,2')
    .option('--file-vault <state,…>', 'on, off, encrypting, decrypting, unknown', listOf)
    .option('--mode <mode,…>', 'how it lives beside an MDM: M0 to M4', listOf)
    .option('--order <state,…>', 'none, waiting, owed, replacing', listOf)
    .option('--state <state,…>', 'in-use, lost, retired', listOf)
    .option('--disclosed', 'a key was shown and has not been replaced')
    .option('--seen-before <time>', 'last heard of before: 30d, 12h, or a date')
    .option('--seen-after <time>', 'heard of since')
    .option('--proved-before <time>', 'its key last proved before')
    .option('--key-older-than-days <days>', 'the held key is older', wholeNumber(0, 36_500));
