import { Command } from 'commander';
import { runCommands } from '../protocol/command-line.ts';
import { Problem } from '../protocol/problems.ts';
import { openApi } from './asking.ts';
import { login, logout, whoami } from './commands/login.ts';
import { addCompletionCommand } from './completion-command-line.ts';
import { addDeviceCommands } from './devices-command-line.ts';
import { addRecordCommands, addRotationCommands } from './fleet-command-line.ts';
import { plain, type Terminal } from './output.ts';
import { readProfile } from './profile.ts';
import type { Ctl, Result } from './result.ts';
import { configFolder, machineName } from './settings.ts';
import { readStandardInput } from './terminal.ts';
import { addTokenCommands } from './tokens-command-line.ts';

interface Given {
  argv: readonly string[];
  terminal: Terminal;
  folder?: string;
  now: () => number;
}

/** The commands of `sparekeyctl`. Resolves with the exit status. */
export async function commandLine({ argv, terminal, folder = configFolder(), now }: Given): Promise<number> {
  let exit = 0;
  const program = new Command('sparekeyctl')
    .description('the admins’ command line of Sparekey: what the console can, by the same rules')
    .showHelpAfterError(false);

  function print(result: Result, { json, quiet }: { json?: boolean; quiet?: boolean }): void {
    if (!quiet) for (const note of result.notes ?? []) terminal.err(`sparekeyctl: note: ${plain(note)}\n`);
    if (json) terminal.out(`${JSON.stringify(result.json)}\n`);
    else if (result.text !== '') terminal.out(`${result.text}\n`);
    exit = result.exit ?? 0;
  }

  const add = (parent: Command, name: string, description: string, example: string): Command =>
    parent
      // A group without a word after it is looked at: `orders` is `orders list`.
      .command(name, { isDefault: name === 'list' })
      .description(description)
      .option('--json', 'print the result as one line of JSON')
      .option('--quiet', 'nothing but the result')
      .addHelpText('after', `\nExample:\n  sparekeyctl ${example}`);

  /** With the API, as whoever has signed in here. */
  async function signedIn(options: { json?: boolean; quiet?: boolean }, work: (ctl: Ctl) => Promise<Result>): Promise<void> {
    const profile = readProfile(folder);
    if (!profile) throw new Problem('CTL_SIGNED_OUT');
    const watched = terminal.isErrTerminal && !options.quiet;
    let said = false;
    const ctl: Ctl = {
      api: openApi({ url: profile.url, token: profile.token, trusted: profile.trusted }),
      terminal,
      now,
      quiet: options.quiet === true,
      json: options.json === true,
      progress(words) {
        if (!watched) return;
        terminal.err(`\r\u001b[K${plain(words)}`);
        said = true;
      },
      async confirm(question, yes) {
        if (yes) return;
        const answer = await terminal.ask(`${question} Type yes to go on: `);
        if (answer === null) throw new Problem('USAGE', 'this has to be confirmed: add --yes');
        if (answer.trim() !== 'yes') throw new Problem('USAGE', 'it was not confirmed; nothing was changed');
      },
    };
    try {
      const result = await work(ctl);
      if (said) terminal.err('\r\u001b[K');
      print(result, options);
    } catch (error) {
      if (said) terminal.err('\r\u001b[K');
      throw error;
    }
  }

  add(program, 'login <address>', 'lets this machine in: you confirm a code in the console', 'login console.example.org')
    .option('--ca <file>', 'certificate of the console’s CA, PEM, where it is not a public one')
    .option('--token-stdin', 'with a token made in the console, from standard input: for scripts')
    .action(async (address: string, options) => {
      const result = await login({
        address,
        folder,
        terminal,
        machine: machineName(),
        json: options.json === true,
        now,
        ...(options.ca === undefined ? {} : { ca: options.ca }),
        ...(options.tokenStdin ? { tokenFrom: readStandardInput } : {}),
      });
      print(result, options);
    });
  add(program, 'logout', 'ends the token of this machine', 'logout').action(async (options) => print(await logout(folder), options));
  add(program, 'whoami', 'who you are there, and what you may', 'whoami').action((options) => signedIn(options, whoami));

  const commands = { program, add, signedIn };
  addDeviceCommands(commands);
  addRotationCommands(commands);
  addRecordCommands(commands);
  addTokenCommands(commands);
  addCompletionCommand(commands, (text) => terminal.out(text));
  return runCommands(program, argv, () => exit);
}
