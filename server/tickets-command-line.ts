import { neededReason } from './command.ts';
import { type Commands, collect, wholeNumber } from './parts-command-line.ts';

/** Enrolment tickets: the commands. */
export function addTicketCommands({ program, add, inBackend }: Commands): void {
  const ticket = program.command('ticket').description('enrolment tickets, for Macs without a device certificate');
  add(ticket, 'new', 'makes a ticket and prints it, this once', 'ticket new --serials-file inventory.txt --days 7', 'folder', 'actor')
    .option('--serial <serial>', 'a serial number that may use it (more than once)', collect, [])
    .option('--serials-file <file>', 'file with serial numbers, one a line')
    .option('--days <days>', 'how long it may be used', wholeNumber(1, 365), 7)
    .action(async (options) => {
      const { readGiven } = await import('./init.ts');
      const listed =
        options.serialsFile === undefined
          ? []
          : readGiven(options.serialsFile)
              .toString('utf8')
              .split(/[\s,;]+/);
      const serials: string[] = [...options.serial, ...listed].filter((serial: string) => serial !== '');
      const { ticketNew } = await import('./mac-commands.ts');
      await inBackend(options, (backend, actor) => ticketNew(backend, { serials, days: options.days, actor }));
    });
  add(ticket, 'list', 'lists the tickets', 'ticket list', 'folder').action(async (options) => {
    const { ticketList } = await import('./mac-commands.ts');
    await inBackend(options, ticketList);
  });
  add(ticket, 'end <id>', 'ends a ticket', 'ticket end bX3kQ9sLw2Ta', 'folder', 'actor').action(async (id: string, options) => {
    await inBackend(options, async (backend, actor) => {
      await backend.tickets.end(id, actor);
      return { json: { id, ended: true }, text: `ticket ${id} has ended; Macs that enrolled with it stay enrolled` };
    });
  });
  add(
    ticket,
    'allow <id> <serial>',
    'lets a serial use a ticket once, or once more',
    'ticket allow bX3kQ9sLw2Ta C02XK1ZJJGH5 --reason "erased today"',
    'folder',
    'reason',
  ).action(async (id: string, serial: string, options) => {
    const reason = neededReason(options.reason);
    await inBackend(options, async (backend, actor) => {
      await backend.tickets.allow({ id, serial, actor, reason });
      return { json: { id, serial, allowed: true }, text: `${serial} may enrol once with ticket ${id}` };
    });
  });
}
