import { Problem } from '../protocol/problems.ts';
import { search, state } from './commands/audit.ts';
import { reasonOf } from './commands/key.ts';
import { agreeToTags, decide, dryRun, end, history, list, proposals, put, show } from './commands/policies.ts';
import { changeOrder, listOrders, prove, readQuietHours, releaseHold, rotate, showOrder, withdraw } from './commands/rotate.ts';
import { save } from './files.ts';
import { filterOf, timeOf, wholeNumber } from './filter.ts';
import { type Commands, withFilter } from './parts-command-line.ts';

/** Replacing keys: of one Mac, of several, of all that a filter means. */
export function addRotationCommands({ program, add, signedIn }: Commands): void {
  withFilter(add(program, 'rotate [macs...]', 'has the keys of Macs replaced', 'rotate --tag berlin --reason "office moved" --per-hour 50 --wait'))
    .option('--reason <text>', 'why, for the audit (needed)')
    .option('--all', 'of all Macs')
    .option('--from <time>', 'not before')
    .option('--per-hour <count>', 'so many in an hour at most', wholeNumber(1, 10_000))
    .option('--quiet-hours <hours>', 'nothing is begun then: "mon-fri 08:00-18:00 Europe/Amsterdam"')
    .option('--without-login', 'for Macs where nobody logs in')
    .option('--override-hold', 'also while somebody may be typing the key; for Macs that are named')
    .option('--dry-run', 'only says what it would mean')
    .option('--wait', 'shows how far it is until it is over')
    .option('--yes', 'do not ask')
    .action((macs: string[], options) =>
      signedIn(options, (ctl) => {
        const filter = filterOf(options, [], ctl.now());
        const ways = [macs.length > 0, Object.keys(filter).length > 0, options.all === true].filter((is) => is).length;
        if (ways !== 1) throw new Problem('USAGE', 'name Macs, or a filter such as --tag, or --all: one of the three');
        const chosen = macs.length > 0 ? { kind: 'macs' as const, macs } : options.all ? { kind: 'all' as const } : { kind: 'filter' as const, filter };
        return rotate(ctl, {
          chosen,
          reason: options.dryRun ? '' : reasonOf(options.reason),
          withoutLogin: options.withoutLogin === true,
          overrideHold: options.overrideHold === true,
          dryRun: options.dryRun === true,
          wait: options.wait === true,
          yes: options.yes === true,
          ...(options.from === undefined ? {} : { from: timeOf(options.from, ctl.now()) }),
          ...(options.perHour === undefined ? {} : { perHour: options.perHour }),
          ...(options.quietHours === undefined ? {} : { quietHours: readQuietHours(options.quietHours) }),
        });
      }),
    );

  add(program, 'prove <mac>', 'has a Mac ask macOS whether its keys open it', 'prove C02XK1ZJJGH5 --reason "before the audit"')
    .option('--reason <text>', 'why, for the audit (needed)')
    .action((mac: string, options) => signedIn(options, (ctl) => prove(ctl, mac, reasonOf(options.reason))));

  add(program, 'end-hold <mac>', 'ends the time in which no key is replaced', 'end-hold C02XK1ZJJGH5 --because back-in --reason "called, is logged in"')
    .requiredOption('--because <why>', 'back-in: the person is in again; not-me: somebody else saw the key')
    .option('--reason <text>', 'how you know, for the audit (needed)')
    .option('--yes', 'do not ask')
    .action((mac: string, options) =>
      signedIn(options, (ctl) => {
        const { because } = options;
        if (because !== 'back-in' && because !== 'not-me') throw new Problem('USAGE', '--because is back-in or not-me');
        return releaseHold(ctl, mac, because, reasonOf(options.reason), options.yes === true);
      }),
    );

  const orders = program.command('orders').description('replacements of many keys, and how far they are');
  add(orders, 'list', 'all of them, newest first', 'orders list')
    .option('--most <count>', 'how many at most', wholeNumber(1, 100_000), 50)
    .action((options) => signedIn(options, (ctl) => listOrders(ctl, options.most)));
  add(orders, 'show <order>', 'how far one is, and what stands in the way', 'orders show 0b9c… --devices')
    .option('--devices', 'its Macs too')
    .option('--state <state>', 'of its Macs those that are waiting, ordered, done, failed or left')
    .option('--wait', 'until it is over')
    .action((id: string, options) =>
      signedIn(options, (ctl) =>
        showOrder(ctl, id, {
          devices: options.devices === true || options.state !== undefined,
          wait: options.wait === true,
          ...(options.state === undefined ? {} : { state: options.state }),
        }),
      ),
    );
  for (const [what, says] of [
    ['pause', 'orders no more for now'],
    ['resume', 'goes on with it'],
    ['cancel', 'ends it'],
  ] as const) {
    const command = add(orders, `${what} <order>`, says, `orders ${what} 0b9c… --reason "the office is closed"`).option(
      '--reason <text>',
      'why, for the audit (needed)',
    );
    if (what === 'cancel') command.option('--keep', 'orders that wait for their Mac stay').option('--yes', 'do not ask');
    command.action((id: string, options) =>
      signedIn(options, (ctl) => changeOrder(ctl, what, { id, reason: reasonOf(options.reason), keep: options.keep === true, yes: options.yes === true })),
    );
  }
  add(orders, 'withdraw <mac> <order>', 'takes the order of one Mac back, while it waits', 'orders withdraw C02XK1ZJJGH5 0b9c… --reason "wrong Mac"')
    .option('--reason <text>', 'why, for the audit (needed)')
    .action((mac: string, order: string, options) => signedIn(options, (ctl) => withdraw(ctl, mac, order, reasonOf(options.reason))));
}

/** The rules, who did what, and what an auditor takes along. */
export function addRecordCommands({ program, add, signedIn }: Commands): void {
  const policies = program.command('policies').description('rules for replacing and showing keys, by tag');
  add(policies, 'list', 'those in force, in their order', 'policies list').action((options) => signedIn(options, list));
  add(policies, 'show <policy>', 'one, as a file that `put` takes', 'policies show 0b9c… > policy.json').action((id: string, options) =>
    signedIn(options, (ctl) => show(ctl, id)),
  );
  add(
    policies,
    'put <policy> <file>',
    'changes one, or makes one with `new`; says before what it means',
    'policies put new policy.json --reason "agreed on Monday"',
  )
    .option('--reason <text>', 'why, for the audit (needed)')
    .option('--yes', 'do not ask')
    .action((id: string, file: string, options) => signedIn(options, (ctl) => put(ctl, id, file, reasonOf(options.reason), options.yes === true)));
  add(policies, 'dry-run <policy> <file>', 'what it would do in the next 30 days', 'policies dry-run new policy.json').action(
    (id: string, file: string, options) => signedIn(options, (ctl) => dryRun(ctl, id, file)),
  );
  add(policies, 'end <policy>', 'ends one', 'policies end 0b9c… --reason "not needed"')
    .option('--reason <text>', 'why, for the audit (needed)')
    .option('--yes', 'do not ask')
    .action((id: string, options) => signedIn(options, (ctl) => end(ctl, id, reasonOf(options.reason), options.yes === true)));
  add(policies, 'proposals', 'what shows keys more easily, and waits for a second person', 'policies proposals').action((options) =>
    signedIn(options, proposals),
  );
  for (const [as, says] of [
    ['agree', 'agrees, as a second person, to a change that waits'],
    ['decline', 'declines one, or takes your own back'],
  ] as const)
    add(policies, `${as} <proposal>`, says, `policies ${as} 0b9c… --words "seen with the council"`)
      .option('--words <text>', 'why: its proposer and the auditors read it (needed)')
      .option('--yes', 'do not ask')
      .action((id: string, options) => signedIn(options, (ctl) => decide(ctl, id, as, reasonOf(options.words), options.yes === true)));
  add(
    policies,
    'agree-rules <mac>',
    'agrees, as a second person, that what the tags or the user of a Mac said before holds no more',
    'policies agree-rules C02XK1ZJJGH5 --words "it has another user now"',
  )
    .option('--words <text>', 'why: whoever changed it and the auditors read it (needed)')
    .option('--yes', 'do not ask')
    .action((mac: string, options) => signedIn(options, (ctl) => agreeToTags(ctl, mac, reasonOf(options.words), options.yes === true)));
  add(policies, 'history [policy]', 'every policy as it stood', 'policies history').action((id: string | undefined, options) =>
    signedIn(options, (ctl) => history(ctl, id)),
  );

  const audit = program.command('audit').description('the record of who did what');
  const asked = (options: Readonly<Record<string, unknown>>, now: number): Record<string, unknown> => {
    const { by: actor, mac: device, act, since, until, text } = options;
    const time = (given: unknown) => (typeof given === 'string' ? timeOf(given, now) : undefined);
    return { actor, device, act, from: time(since), to: time(until), text };
  };
  const withQuestion = (command: ReturnType<typeof add>) =>
    command
      .option('--by <actor>', 'who did it: a user name, mac, server')
      .option('--mac <mac>', 'the Mac that it was about')
      .option('--act <act>', 'the act, or how it begins: key.disclosed, rotation.')
      .option('--since <time>', 'from then on: 30d, or a date')
      .option('--until <time>', 'before then')
      .option('--text <words>', 'in its details, such as the reason');
  withQuestion(add(audit, 'search', 'its records, newest first', 'audit search --act key.disclosed --since 30d'))
    .option('--most <count>', 'how many at most', wholeNumber(1, 1_000_000), 100)
    .action((options) => signedIn(options, (ctl) => search(ctl, asked(options, ctl.now()), options.most)));
  withQuestion(
    add(audit, 'export [file]', 'as JSON Lines, signed, into a new file or on standard output', 'audit export audit.jsonl --since 2026-11-01'),
  ).action((file: string | undefined, options) =>
    signedIn(options, (ctl) => save(ctl, file ?? null, { method: 'POST', path: '/v1/audit/export', input: asked(options, ctl.now()) })),
  );
  add(audit, 'state', 'whether its newest part is as it was written', 'audit state').action((options) => signedIn(options, state));

  const report = program.command('report').description('what an auditor takes along');
  add(
    report,
    'evidence <file>',
    'a signed ZIP of a period: population, accesses, replacements, roles, settings, audit',
    'report evidence q3.zip --from 2026-07-01 --to 2026-10-01',
  )
    .requiredOption('--from <time>', 'its beginning')
    .requiredOption('--to <time>', 'its end')
    .option('--sample <count>', 'how many Macs are drawn', wholeNumber(1, 100_000))
    .option('--seed <text>', 'what they are drawn by')
    .action((file: string, options) =>
      signedIn(options, (ctl) => {
        const { sample, seed } = options;
        const input = { from: timeOf(options.from, ctl.now()), to: timeOf(options.to, ctl.now()), sample, seed };
        return save(ctl, file, { method: 'POST', path: '/v1/reports/evidence', input });
      }),
    );
}
