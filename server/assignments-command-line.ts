import { Problem } from '../protocol/problems.ts';
import { neededReason } from './command.ts';
import type { StandingChange } from './mac-standing.ts';
import type { Commands } from './parts-command-line.ts';

const assigning = () => import('./assignments-commands.ts');
const deciding = () => import('./requests-commands.ts');

/** Whose Mac it is, and who may be shown its key: the commands. */
export function addAssignmentCommands({ program, add, inBackend }: Commands): void {
  add(
    program,
    'assign <mac> <user>',
    'says whose Mac it is: whoever signs in by that user name',
    'assign C02XK1ZJJGH5 ada@example.org --account ada --reason "handed out today"',
    'folder',
    'reason',
  )
    .option('--account <name>', 'the account on the Mac: its return ends the hold')
    .action(async (mac: string, user: string, options) => {
      const reason = neededReason(options.reason);
      const { assignCommand } = await assigning();
      await inBackend(options, (backend, actor) => assignCommand(backend, { mac, user, account: options.account ?? null, actor, reason }));
    });

  add(program, 'unassign <mac>', 'ends what is said of whose Mac it is', 'unassign C02XK1ZJJGH5 --reason "handed back"', 'folder', 'reason')
    .option('--user <user>', 'only of this person')
    .action(async (mac: string, options) => {
      const reason = neededReason(options.reason);
      const { unassignCommand } = await assigning();
      await inBackend(options, (backend, actor) => unassignCommand(backend, { mac, user: options.user ?? null, actor, reason }));
    });

  add(program, 'assignments [mac]', 'whose the Macs are, and who says so', 'assignments --user ada@example.org', 'folder')
    .option('--user <user>', 'only of this person')
    .action(async (mac: string | undefined, options) => {
      const { assignmentsCommand } = await assigning();
      await inBackend(options, (backend) => assignmentsCommand(backend, { mac: mac ?? null, user: options.user ?? null }));
    });

  add(
    program,
    'assign-csv <file>',
    'says whose Macs they are by a list with the columns serial,user[,account]; Macs that are not on it stay as they are',
    'assign-csv macs.csv --dry-run --reason "inventory of November"',
    'folder',
    'reason',
  )
    .option('--dry-run', 'only say what would change')
    .action(async (file: string, options) => {
      const dryRun = options.dryRun === true;
      const reason = dryRun ? 'a dry run' : neededReason(options.reason);
      const { assignCsvCommand } = await assigning();
      const { readGiven } = await import('./init.ts');
      const bytes = readGiven(file);
      await inBackend(options, (backend, actor) => assignCsvCommand(backend, { bytes, dryRun, actor, reason }));
    });

  add(
    program,
    'standing <mac>',
    'what is said of a Mac, or says it: its user’s own, lost, retired, with a managed local admin',
    'standing C02XK1ZJJGH5 --state lost --reason "left in a train"',
    'folder',
    'reason',
  )
    .option('--ownership <whose>', 'organisation or personal')
    .option('--state <state>', 'in-use, lost or retired')
    .option('--local-admin <yes-or-no>', 'whether it has a local admin that the organisation manages: yes or no')
    .action(async (mac: string, options) => {
      const change = changeOf(options);
      const reason = Object.keys(change).length === 0 ? null : neededReason(options.reason);
      const { standingCommand } = await assigning();
      await inBackend(options, (backend, actor) => standingCommand(backend, { mac, change, actor, reason }));
    });

  add(program, 'requests', 'who waits for an approval to see a key', 'requests', 'folder').action(async (options) => {
    const { requestsCommand } = await deciding();
    await inBackend(options, requestsCommand);
  });

  add(program, 'help-code <code>', 'what somebody met who reads this code out on the telephone', 'help-code 7F3A-29', 'folder').action(
    async (code: string, options) => {
      const { helpCodeCommand } = await deciding();
      await inBackend(options, (backend) => helpCodeCommand(backend, code));
    },
  );

  for (const [name, as, description, example] of [
    ['approve', 'approved', 'approves a request for a key: once, for a time', 'approve K7RM-42 --reason "called back, it is her"'],
    ['refuse', 'refused', 'refuses a request for a key; its person reads the reason', 'refuse K7RM-42 --reason "bring the Mac to the desk"'],
  ] as const)
    add(program, `${name} <request>`, description, example, 'folder', 'reason').action(async (request: string, options) => {
      const reason = neededReason(options.reason);
      const { decideCommand } = await deciding();
      await inBackend(options, (backend, actor) => decideCommand(backend, { request, as, actor, reason }));
    });
}

function changeOf(options: { ownership?: string; state?: string; localAdmin?: string }): StandingChange {
  const chosen = <T extends string>(name: string, value: string | undefined, from: readonly T[]): T | undefined => {
    const found = from.find((one) => one === value);
    if (value !== undefined && found === undefined) throw new Problem('USAGE', `--${name} is ${from.join(' or ')}`);
    return found;
  };
  const ownership = chosen('ownership', options.ownership, ['organisation', 'personal']);
  const state = chosen('state', options.state, ['in-use', 'lost', 'retired']);
  const localAdmin = chosen('local-admin', options.localAdmin, ['yes', 'no']);
  return {
    ...(ownership === undefined ? {} : { ownership }),
    ...(state === undefined ? {} : { state }),
    ...(localAdmin === undefined ? {} : { localAdmin: localAdmin === 'yes' }),
  };
}
