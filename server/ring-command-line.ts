import { confirmed, neededReason } from './command.ts';
import { type Commands, collect } from './parts-command-line.ts';

/** Macs that go together from the MDM's escrow payload to ours: the commands. */
export function addRingCommands({ program, add, inBackend }: Commands): void {
  const commands = () => import('./rings/commands.ts');
  const ring = program.command('ring').description('moves Macs, together and watched, from the MDM’s escrow payload to ours');
  add(ring, 'plan <name>', 'says what would happen to each Mac; nothing begins', 'ring plan pilot --csv census.csv --where ring=pilot', 'folder', 'actor')
    .option('--serial <serial>', 'a Mac of it (more than once)', collect, [])
    .option('--csv <file>', 'a list of serial numbers, or a table with a column `serial`')
    .option('--where <column=value>', 'only such rows of the table')
    .action(async (name: string, options) => {
      const { readSerials, readWhere } = await import('./rings/serials.ts');
      const { readGiven } = await import('./init.ts');
      const where = options.where === undefined ? null : readWhere(options.where);
      const listed = options.csv === undefined ? [] : readSerials(readGiven(options.csv), where);
      const { ringPlan } = await commands();
      await inBackend(options, (backend, actor) => ringPlan(backend, { name, macs: [...options.serial, ...listed], actor }));
    });

  add(
    ring,
    'start <name>',
    'holds every replacement on its Macs until our payload is there, and then sees it through',
    'ring start pilot --reason "change 4711"',
    'folder',
    'reason',
  )
    .option('--yes', 'do not ask')
    .action(async (name: string, options) => {
      const reason = neededReason(options.reason);
      const { ringStart, startQuestion } = await commands();
      await inBackend(options, async (backend, actor) => {
        await confirmed(await startQuestion(backend, name), options.yes);
        return ringStart(backend, { name, reason, actor });
      });
    });

  add(ring, 'status [name]', 'how far each ring is; of one: each Mac, the stuck ones first, with the next step', 'ring status pilot', 'folder').action(
    async (name: string | undefined, options) => {
      const { ringStatus } = await commands();
      await inBackend(options, (backend) => ringStatus(backend, name ?? null));
    },
  );

  add(ring, 'roll-back <name>', 'ends a ring: its holds and its orders are gone', 'ring roll-back pilot --reason "wrong group"', 'folder', 'reason')
    .option('--yes', 'do not ask')
    .action(async (name: string, options) => {
      const reason = neededReason(options.reason);
      await confirmed('The MDM admin has to put the profile of the MDM back on these Macs.', options.yes);
      const { ringRollBack } = await commands();
      await inBackend(options, (backend, actor) => ringRollBack(backend, { name, reason, actor }));
    });

  add(ring, 'drop <mac>', 'takes one Mac out of its ring', 'ring drop C02XK1ZJJGH5 --reason "in repair"', 'folder', 'reason').action(
    async (mac: string, options) => {
      const reason = neededReason(options.reason);
      const { ringDrop } = await commands();
      await inBackend(options, (backend, actor) => ringDrop(backend, { mac, reason, actor }));
    },
  );
}
