import { Problem } from '../protocol/problems.ts';
import { listAlarms, showAlarm } from './commands/alarms.ts';
import { showDevice, showTimeline } from './commands/device.ts';
import { countDevices, listDevices } from './commands/devices.ts';
import { disclose, discloseBrought, reasonOf } from './commands/key.ts';
import { askFor, decide, listRequests } from './commands/requests.ts';
import { save } from './files.ts';
import { filterOf, listOf, wholeNumber } from './filter.ts';
import { type Commands, withFilter } from './parts-command-line.ts';

/** Macs, and their keys. */
export function addDeviceCommands({ program, add, signedIn }: Commands): void {
  withFilter(add(program, 'devices [words...]', 'lists Macs: words are what serial number, name, user or model begin with', 'devices --problem lost --json'))
    .option('--sort <column>', 'a column; with - before it the other way round')
    .option('--most <count>', 'how many at most', wholeNumber(1, 1_000_000), 200)
    .option('--count', 'only how many there are')
    .option('--csv [file]', 'as CSV, into a new file or on standard output')
    .action((words: string[], options) =>
      signedIn(options, (ctl) => {
        const filter = filterOf(options, words, ctl.now());
        const { sort, most, csv } = options;
        if (options.count) return countDevices(ctl, filter);
        if (csv !== undefined) return save(ctl, csv === true ? null : csv, { method: 'GET', path: '/v1/devices.csv', input: { ...filter, sort } });
        return listDevices(ctl, { filter, most, ...(sort === undefined ? {} : { sort }) });
      }),
    );

  add(program, 'device <mac>', 'one Mac: what is so and why, what to do, its keys without the keys', 'device C02XK1ZJJGH5 --timeline')
    .option('--timeline', 'what happened to it, newest first')
    .option('--most <count>', 'how many entries at most', wholeNumber(1, 100_000), 50)
    .action((mac: string, options) => signedIn(options, (ctl) => (options.timeline ? showTimeline(ctl, mac, options.most) : showDevice(ctl, mac))));

  const alarms = program.command('alarms').description('what the backend raised, for a person to look at');
  add(alarms, 'list', 'the open ones, oldest first', 'alarms list --mac C02XK1ZJJGH5')
    .option('--judged', 'those that somebody has judged')
    .option('--mac <mac>', 'of one Mac')
    .option('--most <count>', 'how many at most', wholeNumber(1, 1_000_000), 200)
    .action((options) =>
      signedIn(options, (ctl) =>
        listAlarms(ctl, { judged: options.judged === true, most: options.most, ...(options.mac === undefined ? {} : { mac: options.mac }) }),
      ),
    );
  add(alarms, 'show <alarm>', 'one: what it is about, and what a person does', 'alarms show 0b9c…').action((id: string, options) =>
    signedIn(options, (ctl) => showAlarm(ctl, id)),
  );

  add(program, 'disclose <mac>', 'shows the key of one Mac to you', 'disclose C02XK1ZJJGH5 --reason "ticket 4711, called back"')
    .option('--reason <text>', 'why, for the audit (needed)')
    .option('--ticket <number>', 'where the reason is written down')
    .option('--request <id>', 'what others agreed to')
    .option('--ask', 'ask others to agree first, where the policy wants that')
    .option('--break-glass', 'go first where others would have to agree; they look at it afterwards')
    .option('--refused <record>', 'a key that was shown and did not open the Mac (more than once)', listOf, [])
    .option('--volume <uuid>', 'another volume than the one that the Mac started from last')
    .option('--brought', 'a key that only others had, and that was never proved: where the Mac has none of its own, or each was refused')
    .option('--yes', 'do not ask')
    .action((mac: string, options) =>
      signedIn(options, (ctl) => {
        const reason = reasonOf(options.reason);
        const { ticket, volume, request, refused } = options;
        const more = { ...(ticket === undefined ? {} : { ticket }), ...(volume === undefined ? {} : { volume }) };
        if (options.ask) {
          if (request !== undefined || options.breakGlass) throw new Problem('USAGE', '--ask stands without --request and --break-glass');
          return askFor(ctl, { mac, reason, ...more });
        }
        if (options.brought === true) {
          if (options.breakGlass || volume !== undefined) throw new Problem('USAGE', '--brought stands without --break-glass and --volume');
          return discloseBrought(ctl, {
            mac,
            reason,
            refused,
            yes: options.yes === true,
            ...(ticket === undefined ? {} : { ticket }),
            ...(request === undefined ? {} : { request }),
          });
        }
        const given = { mac, reason, refused, breakGlass: options.breakGlass === true, yes: options.yes === true };
        return disclose(ctl, { ...given, ...more, ...(request === undefined ? {} : { request }) });
      }),
    );

  const approve = program.command('approve').description('requests for keys that others have to agree to');
  add(approve, 'list', 'what waits for you, and your own requests', 'approve list')
    .option('--all', 'those that are over too')
    .action((options) => signedIn(options, (ctl) => listRequests(ctl, !options.all)));
  add(approve, 'yes <request>', 'agrees that its asker is shown the key', 'approve yes 0b9c… --words "called back"')
    .option('--words <text>', 'why, for the audit and for whoever asked (needed)')
    .option('--yes', 'do not ask')
    .action((id: string, options) =>
      signedIn(options, (ctl) => decide(ctl, { id, yes: true, words: reasonOf(options.words), confirmed: options.yes === true })),
    );
  add(approve, 'no <request>', 'refuses it, with words', 'approve no 0b9c… --words "call back first"')
    .option('--words <text>', 'why, for the audit and for whoever asked (needed)')
    .action((id: string, options) => signedIn(options, (ctl) => decide(ctl, { id, yes: false, words: reasonOf(options.words), confirmed: true })));
}
