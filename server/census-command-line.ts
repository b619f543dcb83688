import type { CommandResult } from './command.ts';
import { type Commands, collect } from './parts-command-line.ts';

/** What a fleet is before anything of ours comes: needs no data folder, and no backend. */
export function addCensusCommand({ program, add }: Pick<Commands, 'program' | 'add'>, show: (result: CommandResult, json: boolean | undefined) => void): void {
  add(
    program,
    'census <path...>',
    'reads what assess.sh found on the Macs of a fleet: which mode fits which, what would happen, and what stands in the way',
    'census answers/ --html census.html --csv census.csv',
  )
    .option('--csv <file>', 'also writes every Mac as a row')
    .option('--html <file>', 'also writes the report as one page')
    .option('--mac <serial>', 'tells of one Mac only')
    .option('--ours <file>', 'escrow certificate of ours, by which our payload is known (more than once)', collect, [])
    .option('--witness', 'the MDM is NanoMDM or MicroMDM, which can be a second witness of each key')
    .action(async (paths: string[], options) => {
      const { censusCommand } = await import('./census/census-command.ts');
      const { ours, csv = null, html = null, mac = null } = options;
      show(await censusCommand({ paths, ours, witness: options.witness === true, csv, html, mac }), options.json);
    });
}
