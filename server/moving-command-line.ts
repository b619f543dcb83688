import { basename, dirname, resolve } from 'node:path';
import { Problem } from '../protocol/problems.ts';
import type { CommandResult } from './command.ts';
import type { Commands } from './parts-command-line.ts';
import { usualDataFolder } from './settings.ts';

interface Flags {
  dir?: string;
  from?: string;
  to?: string;
  as: string;
  dryRun?: boolean;
  back?: boolean;
  json?: boolean;
}

/** The data folder: named itself, or by the file in it. */
function folderOf({ dir, from }: Flags): string {
  const given = from === undefined || from === 'sqlite' ? (dir ?? usualDataFolder()) : dirname(resolve(from));
  if (given === null) throw new Problem('USAGE', 'name the data folder: --dir FOLDER, or --from its database');
  if (from !== undefined && from !== 'sqlite' && basename(from) !== 'sparekey.sqlite')
    throw new Problem('USAGE', '--from is the file sparekey.sqlite of a data folder');
  return given;
}

/** Rows after which something is said. */
const everyRows = 50_000;

/** `migrate`: from the file of a data folder into PostgreSQL. */
export function addMoveCommand({ program, add }: Pick<Commands, 'program' | 'add'>, say: (result: CommandResult, json?: boolean) => void): void {
  add(
    program,
    'migrate',
    'moves everything from the database file of a data folder into an empty PostgreSQL database',
    'migrate --dir /var/lib/sparekey --to postgresql://sparekey@db.example.org/sparekey',
    'actor',
  )
    .option('--dir <folder>', 'the data folder')
    .option('--from <file>', 'its database, sparekey.sqlite')
    .option('--to <address>', 'the address of the new database, or a private file that holds it with its password')
    .option('--dry-run', 'look at both, count, and change nothing')
    .option('--back', 'give the new one up for the file again, as long as nothing was stored there')
    .action(async (options: Flags) => {
      const { move, moveBack } = await import('./moving.ts');
      const dir = folderOf(options);
      if (options.back) {
        const back = await moveBack({ dir });
        say({ json: back, text: `${back.to} is the database again; ${back.given} is given up` }, options.json);
        return;
      }
      let said = 0;
      const moved = await move({
        dir,
        to: options.to ?? null,
        actor: options.as,
        dryRun: options.dryRun === true,
        progress(table, done) {
          if (done < everyRows) said = 0;
          if (done - said < everyRows) return;
          said = done;
          process.stderr.write(`sparekey-server: ${table}: ${done} rows\n`);
        },
      });
      const filled = moved.tables.filter(({ rows }) => rows > 0);
      const text = moved.dryRun
        ? [
            `would move ${moved.rows} rows of ${filled.length} tables from ${moved.from} to ${moved.to}, which is empty and as it has to be`,
            'nothing was changed',
          ]
        : [
            `moved ${moved.rows} rows of ${filled.length} tables from ${moved.from} to ${moved.to}`,
            `compared row by row; the audit of ${moved.auditEntries} records is unbroken there`,
            `next: sparekey-server serve --dir ${dir}; the file stays as it was, and is used no more`,
          ];
      say({ json: moved, text: text.join('\n') }, options.json);
    });
}
