import { Problem } from '../protocol/problems.ts';
import { confirmed, type GivenOptions, neededReason } from './command.ts';
import { fileSources, readMapping } from './formats/columns.ts';
import { type Commands, collect } from './parts-command-line.ts';

const importing = () => import('./import-commands.ts');

const examples = `
  Intune        import intune.csv --reason "…"           columns serialNumber,fileVaultKey, as the script in docs/coexistence.md writes them
  Jamf Pro      import computers.json filevault.json --reason "…"      pages of computers-inventory and of computers-inventory/filevault
  Fleet         import hosts.json keys.json --reason "…"               GET /api/v1/fleet/hosts, and each host's encryption_key
  Kandji        import filevaultkey_secrets_report.csv --reason "…"    as Kandji's own device_secrets.py writes it
  Zentral       import prks.json --reason "…"                          each device's filevault_prk
  Crypt-Server  import crypt.json --reason "…"                         manage.py dumpdata server.computer server.secret
  an MDM's CMS  import envelopes/ --passphrase-fd 3 --reason "…"       one file for each Mac: SERIAL.cms
  any table     import macs.csv --map "serial=Asset serial,key=FV key" --dry-run

What became of each line: offered, waiting, aside, known (taken); repeated, no-key, other-secret, empty (nothing to take);
refused, unsure, foreign (not taken: look at them). Exit status: 0, or 77 where a line was not taken.
The same file again goes on where it was cut, and changes nothing once it is done.`;

/** Keys that others have: the commands. */
export function addImportCommands({ program, add, inBackend }: Commands): void {
  add(
    program,
    'import <file...>',
    'takes keys over from an export: a table, JSON replies, or a folder of envelopes; `-` is standard input',
    'import intune.csv --source intune --dry-run',
    'folder',
    'passphrase',
    'reason',
  )
    .option('--source <product>', `${fileSources.join(', ')} (default: by what it looks like)`)
    .option('--map <columns>', 'which column is what: serial=NAME,key=NAME[,date=NAME] (a number counts from 1)', collect, [])
    .option('--signs <how>', 'a 0, 1, I or S in a key: as-written, as-today (0 is O, S is 5), or ask (default: as-written, in a plain csv ask)')
    .option('--dry-run', 'say what would become of each line, and write nothing')
    .option('--report <file>', 'a new private CSV file with a row for each line, without keys')
    .addHelpText('after', examples)
    .action(async (paths: string[], options) => {
      const dryRun = options.dryRun === true;
      const reason = dryRun ? 'a dry run' : neededReason(options.reason);
      const source = chosen('source', options.source, fileSources);
      const signs = chosen('signs', options.signs, ['as-written', 'as-today', 'ask'] as const);
      const mapping = readMapping(options.map);
      if (paths.includes('-') && options.passphraseFd === 0) throw new Problem('USAGE', 'standard input cannot be both the export and the passphrase');
      // Only envelopes need it; a table has its keys in plain.
      const passphrase = await passphraseIfGiven(options);
      const { importCommand } = await importing();
      const say = (words: string): void => void process.stderr.write(`sparekey-server: ${words}\n`);
      await inBackend(
        options,
        (backend, actor) => importCommand(backend, { paths, source, mapping, signs, dryRun, report: options.report ?? null, actor, reason, say }),
        passphrase,
      );
    });

  add(program, 'imports [run]', 'what was imported, or what became of each line of one import', 'imports', 'folder').action(
    async (run: string | undefined, options) => {
      const { importsCommand } = await importing();
      await inBackend(options, (backend) => importsCommand(backend, run ?? null));
    },
  );

  add(
    program,
    'import-withdraw <run>',
    'takes back what an import brought; a key that its Mac has proved stays',
    'import-withdraw 5f0c2a91 --reason "the export was of last year"',
    'folder',
    'reason',
  )
    .option('--yes', 'do not ask')
    .action(async (run: string, options) => {
      const reason = neededReason(options.reason);
      const { importWithdrawCommand } = await importing();
      const confirm = (question: string) => confirmed(question, options.yes);
      await inBackend(options, (backend, actor) => importWithdrawCommand(backend, { run, actor, reason, confirm }));
    });
}

async function passphraseIfGiven(options: GivenOptions): Promise<string | null> {
  if (options.passphraseFile === undefined && options.passphraseFd === undefined) return null;
  return (await import('./passphrase.ts')).readPassphrase(options);
}

function chosen<T extends string>(name: string, value: string | undefined, from: readonly T[]): T | null {
  const found = from.find((one) => one === value);
  if (value !== undefined && found === undefined) throw new Problem('USAGE', `--${name} is one of ${from.join(', ')}`);
  return found ?? null;
}
