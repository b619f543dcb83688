import { type Command, InvalidArgumentError } from 'commander';
import type { Backend } from './backend.ts';
import type { CommandResult, GivenOptions } from './command.ts';

/** What a file with commands of its own is given by command-line.ts. */
export interface Commands {
  program: Command;
  /** A command with an example of it, and with the options for what it needs: `reason` brings the actor with it. */
  add(parent: Command, name: string, description: string, example: string, ...needs: ('folder' | 'passphrase' | 'reason' | 'actor')[]): Command;
  /** Opens the data folder, does the work there, and prints what came of it. */
  inBackend(options: GivenOptions, work: (backend: Backend, actor: string) => Promise<CommandResult>, passphrase?: string | null): Promise<void>;
}

export const wholeNumber = (least: number, most: number) => (text: string) => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least || value > most) throw new InvalidArgumentError(`a whole number from ${least} to ${most} is needed`);
  return value;
};
/** An option that may come more than once. */
export const collect = (value: string, before: string[]): string[] => [...before, value];
