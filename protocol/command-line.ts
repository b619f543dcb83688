import { Problem } from './problems.ts';

/** As much of Commander's `Command` as is needed here: this folder imports no command line. */
interface Commands {
  readonly commands: readonly Commands[];
  exitOverride(): Commands;
  configureOutput(output: { outputError: () => void }): Commands;
  parseAsync(argv: string[]): Promise<unknown>;
}

const isCommanders = (error: unknown): error is Error & { code: string; exitCode: number } =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('commander.') && 'exitCode' in error;

/** Runs what `argv` names. Commander's own refusals become ours (`USAGE`); asking for help is no failure: `exit` is not asked then. */
export async function runCommands(program: Commands, argv: readonly string[], exit: () => number): Promise<number> {
  const quiet = (command: Commands): void => {
    command.exitOverride().configureOutput({ outputError: () => {} });
    for (const below of command.commands) quiet(below);
  };
  quiet(program);
  try {
    await program.parseAsync([...argv]);
    return exit();
  } catch (error) {
    if (!isCommanders(error)) throw error;
    if (error.exitCode === 0) return 0;
    throw new Problem('USAGE', error.code === 'commander.help' ? 'name a command' : error.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' '));
  }
}
