import type { Command } from 'commander';
import { type Commands, wholeNumber } from './parts-command-line.ts';

/** Of a backup that was encrypted to a certificate of its own. */
const withKey = (command: Command): Command =>
  command
    .option('--key <file>', 'where the backup was encrypted to a certificate of its own: its private key and that certificate, in one PEM file')
    .option('--key-passphrase-file <file>', 'file with the passphrase of that key, readable by its owner only')
    .option('--key-passphrase-fd <number>', 'descriptor to read the passphrase of that key from', wholeNumber(0, 1023));

/** `backup`, `verify-backup` and `restore`. They are told their exit status by whoever has it. */
export function addBackupCommands(
  { program, add }: Pick<Commands, 'program' | 'add'>,
  say: (result: Awaited<ReturnType<Loaded['backUpCommand']>>, json?: boolean) => void,
): void {
  add(program, 'backup [file]', 'writes everything into one private file, while the backend runs', 'backup /backup/sparekey-2026-11-22.tar', 'folder', 'actor')
    .option('--into <folder>', 'for a timer: a new file in this folder, named by the time')
    .option('--keep <number>', 'how many of those stay (default 14); the oldest go, and only after the new one is whole', wholeNumber(1, 10_000))
    .option('--encrypt-to <certificate>', 'encrypt it to this certificate (PEM, RSA), or to the newest escrow certificate: `escrow`')
    .option('--offline-copy-exists', 'say once, for the audit: there is a copy of the escrow key outside this machine, although `init` made none')
    .action(async (file: string | undefined, options) => {
      say(await (await onBackups()).backUpCommand(file, options), options.json);
    });

  withKey(
    add(program, 'verify-backup [file]', 'opens one envelope from a backup alone', 'verify-backup /backup/sparekey-2026-11-22.tar', 'passphrase', 'actor'),
  )
    .option('--newest-in <folder>', 'for a timer: the newest backup in this folder')
    .option('--escrow-key <file>', 'open it with the offline copy, as on the day when everything else is gone')
    .option('--dir <folder>', 'the data folder: remembers that this was done, and has the key of an encrypted backup')
    .action(async (file: string | undefined, options) => {
      say(await (await onBackups()).verifyBackupCommand(file, options), options.json);
    });

  withKey(
    add(program, 'restore <file>', 'makes a data folder from a backup', 'restore sparekey.tar --revocations revocations.json', 'folder', 'actor', 'passphrase'),
  )
    .option('--revocations <file>', 'what was revoked since the backup, as `revocations` prints it')
    .option('--without-revocations', 'go on although whoever was revoked since the backup is let in again')
    .option('--spread-days <days>', 'days over which the keys of before are replaced', wholeNumber(1, 90), 7)
    .option('--escrow-key <file>', 'the offline copy, for an encrypted backup')
    .option('--keys-in <folder>', 'a data folder that has the key of an encrypted backup')
    .action(async (file: string, options) => {
      say(await (await onBackups()).restoreCommand(file, options), options.json);
    });
}

type Loaded = typeof import('./backup-command.ts');
const onBackups = (): Promise<Loaded> => import('./backup-command.ts');
