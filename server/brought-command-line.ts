import { Problem } from '../protocol/problems.ts';
import { confirmed, neededReason } from './command.ts';
import { type Commands, collect, wholeNumber } from './parts-command-line.ts';

/** Keys that others had, what only a person can do at the MDM, and the feed of what happens here: the commands. */
export function addBroughtCommands({ program, add, inBackend }: Commands): void {
  const commands = () => import('./brought/commands.ts');
  const others = program.command('brought').description('keys that others had');
  add(others, 'list', 'lists them, and what became of each: never a key', 'brought --state waiting', 'folder')
    .option('--serial <serial>', 'of one serial number')
    .option('--state <state>', 'waiting, aside, offered, known, refuted or withdrawn')
    .action(async (options) => {
      const { brought, isBroughtState } = await commands();
      if (options.state !== undefined && !isBroughtState(options.state))
        throw new Problem('USAGE', '--state is waiting, aside, offered, known, refuted or withdrawn');
      await inBackend(options, (backend) => brought(backend, { serial: options.serial?.trim().toUpperCase(), state: options.state }));
    });

  add(
    others,
    'clear',
    'takes away keys for which nobody answers, and that no Mac has proved: of Crypt with a header that all Macs share, or with nothing',
    'brought clear --trust none --reason "somebody made them up"',
    'folder',
    'reason',
  )
    .option('--serial <serial>', 'those of one serial number')
    .option('--trust <trust>', 'those that came with a header, or with none')
    .option('--yes', 'do not ask')
    .action(async (options) => {
      const serial = options.serial?.trim().toUpperCase() ?? null;
      const trust = (['header', 'none'] as const).find((one) => one === options.trust) ?? null;
      if (options.trust !== undefined && trust === null) throw new Problem('USAGE', '--trust is header or none: for the others somebody answers');
      if (serial === null && trust === null) throw new Problem('USAGE', 'say which: --serial, --trust or both');
      const reason = neededReason(options.reason);
      const { clearBrought } = await commands();
      const confirm = (question: string) => confirmed(question, options.yes);
      await inBackend(options, (backend, actor) => clearBrought(backend, { serial, trust, actor, reason, confirm }));
    });

  const tasks = program.command('tasks').description('shown keys that only the MDM can replace');
  add(tasks, 'list', 'lists them, and the Macs whose MDM has an old copy of the key', 'tasks', 'folder')
    .option('--all', 'those that were done too')
    .action(async (options) => {
      const { taskList } = await commands();
      await inBackend(options, (backend) => taskList(backend, options.all === true));
    });
  add(tasks, 'close <id>', 'says that one is done', 'tasks close 0b9c… --reason "rotated in Jamf, looked"', 'folder', 'reason').action(
    async (taskId: string, options) => {
      const reason = neededReason(options.reason);
      const { closeTask } = await commands();
      await inBackend(options, (backend, actor) => closeTask(backend, { taskId, actor, reason }));
    },
  );

  add(program, 'events', 'what was done here, oldest first, for scripts: one line each, from the audit', 'events --since 1200 --act mdm.copy-old', 'folder')
    .option('--since <seq>', 'after this number: the last one that you have seen', wholeNumber(0, Number.MAX_SAFE_INTEGER), 0)
    .option('--act <act>', 'only such acts (more than once)', collect, [])
    .option('--most <count>', 'at most so many', wholeNumber(1, 100_000), 10_000)
    .option('--follow', 'go on, and print what comes, until it is stopped')
    .action(async (options) => {
      const { events, followEvents } = await commands();
      const wanted = { since: options.since, acts: options.act, most: options.most, json: options.json === true };
      // One line of JSON for each event: a feed has no end at which one line could be closed.
      await inBackend({ ...options, json: false }, (backend) => (options.follow ? followEvents(backend, wanted) : events(backend, wanted)));
    });
}
