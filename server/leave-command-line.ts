import { Problem } from '../protocol/problems.ts';
import { neededReason, print } from './command.ts';
import type { Commands } from './parts-command-line.ts';
import { usualDataFolder } from './settings.ts';

/** Everything out again: the command. To look at what is out, no data folder is needed. */
export function addLeaveCommand({ program, add, inBackend }: Commands, done: (exit: number) => void): void {
  add(
    program,
    'leave',
    'writes every sealed key, with the way to open it, into a folder that is read without Sparekey',
    'leave --dir /var/lib/sparekey --out /media/usb/sparekey --reason "we move to another product"',
    'passphrase',
    'reason',
  )
    .option('--dir <folder>', 'the data folder (not needed to check a folder that is complete)')
    .requiredOption('--out <folder>', 'a new or empty folder, or one that a cut run left')
    .option('--check', 'compare every file with the manifest and open each envelope once: needs the passphrase')
    .action(async (options) => {
      const { checkCommand, leaveCommand } = await import('./leaving/commands.ts');
      const say = (words: string): void => void process.stderr.write(`sparekey-server: ${words}\n`);
      const { out } = options;
      const dir: string | undefined = options.dir ?? (options.check ? undefined : (usualDataFolder() ?? undefined));
      if (dir === undefined && !options.check) throw new Problem('USAGE', 'name the data folder with --dir, or look at a complete folder with --check');
      const reason = dir === undefined ? '' : neededReason(options.reason);
      const passphrase = options.check ? await (await import('./passphrase.ts')).readPassphrase(options) : null;
      if (dir !== undefined) await inBackend({ ...options, dir }, (backend, actor) => leaveCommand(backend, { out, actor, reason, passphrase, say }));
      else if (passphrase !== null) done(print(await checkCommand({ out, passphrase, say }), options.json));
    });
}
