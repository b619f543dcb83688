import { endToken, listTokens, makeToken } from './commands/tokens.ts';
import { wholeNumber } from './filter.ts';
import type { Commands } from './parts-command-line.ts';

const collect = (text: string, before: string[]): string[] => [...before, text];

/** Tokens by which programs are let in. */
export function addTokenCommands({ program, add, signedIn }: Commands): void {
  const tokens = program.command('tokens').description('tokens by which programs are let in');
  add(tokens, 'list', 'your own', 'tokens list')
    .option('--everybody', 'those of everybody')
    .action((options) => signedIn(options, (ctl) => listTokens(ctl, options.everybody === true)));
  add(tokens, 'make <name>', 'makes one with roles that you have; it is printed this once', 'tokens make "inventory script" --role viewer --service > token')
    .requiredOption('--role <role[:tag,…]>', 'such as viewer, or help-desk:berlin (more than once)', collect, [])
    .option('--service', 'it stands for a program: it is shown no key unless a policy says so')
    .option('--days <days>', 'how long it is good', wholeNumber(1, 400))
    .action((name: string, options) =>
      signedIn(options, (ctl) =>
        makeToken(ctl, { name, roles: options.role, service: options.service === true, ...(options.days === undefined ? {} : { days: options.days }) }),
      ),
    );
  add(tokens, 'end <token>', 'ends one', 'tokens end 0b9c…')
    .option('--yes', 'do not ask')
    .action((id: string, options) => signedIn(options, (ctl) => endToken(ctl, id, options.yes === true)));
}
