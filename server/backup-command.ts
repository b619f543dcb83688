import { backUp, verifyBackup } from './backup.ts';
import type { CommandResult } from './command.ts';
import { restore } from './restore.ts';

/* What the commands about backups say; what they do is in backup.ts and restore.ts. */

export async function backUpCommand(options: Parameters<typeof backUp>[0]): Promise<CommandResult> {
  const result = await backUp(options);
  return {
    json: result,
    text: `${result.file}: ${result.bytes} bytes, ${result.macs} Mac(s), ${result.keys} key(s)\ntry it: sparekey-server verify-backup ${options.file}`,
    warnings: ['the escrow key in it is encrypted; the secrets of the server are not: keep it as the data folder itself'],
  };
}

export async function verifyBackupCommand(options: Parameters<typeof verifyBackup>[0]): Promise<CommandResult> {
  const result = await verifyBackup(options);
  const opened = result.opened
    ? `the newest key, of ${result.opened.serial}, opens from it`
    : 'it holds no key yet; a trial envelope opens with its escrow key';
  return { json: result, text: `${result.file} is good: ${opened}; ${result.macs} Mac(s), ${result.keys} key(s), ${result.auditRows} audit entries` };
}

export async function restoreCommand(options: Parameters<typeof restore>[0]): Promise<CommandResult> {
  const result = await restore(options);
  const text = [
    `made ${result.dir} from the backup of ${result.backupMadeAt}; ${result.gapHours} h are missing`,
    `${result.keysToReplace} key(s) may have been shown meanwhile: each is replaced within ${result.replacedWithinDays} days`,
    'Macs that enrolled meanwhile enrol again by themselves, and deliver what is missing at their next check-in',
    `next: sparekey-server serve --dir ${result.dir}`,
  ].join('\n');
  return { json: result, text };
}
