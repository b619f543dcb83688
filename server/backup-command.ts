import { X509Certificate } from 'node:crypto';
import { resolve } from 'node:path';
import { Problem } from '../protocol/problems.ts';
import { backUp, backUpInto, newestBackup } from './backup.ts';
import { hasOfflineCopy, inDatabaseOf, noteOfflineCopy, tellOfFailure } from './backup-late.ts';
import type { CommandResult, GivenOptions } from './command.ts';
import { existingFolder } from './data-folder.ts';
import { backupKeyIn, escrowKeyIn, escrowKeysOf, verifyBackup } from './drill.ts';
import { readEscrowCertificates } from './escrow-keys.ts';
import { readGiven } from './init.ts';
import { sayNotInBackup } from './named-files.ts';
import { readPassphrase, readPassphraseOfKey } from './passphrase.ts';
import { restore } from './restore.ts';
import type { UnsealKey } from './sealed-file.ts';

/* What the commands about backups say; what they do is in backup.ts, drill.ts and restore.ts. */

/** `escrow`, or a file with a certificate. */
function certificateToEncryptTo(wanted: string | undefined, dir: string): Buffer | null {
  if (wanted === undefined) return null;
  if (wanted === 'escrow') return readEscrowCertificates(existingFolder(resolve(dir)).escrow)[0]?.der ?? null;
  try {
    const certificate = new X509Certificate(readGiven(wanted));
    if (certificate.publicKey.asymmetricKeyType === 'rsa') return certificate.raw;
  } catch (error) {
    if (error instanceof Problem) throw error;
  }
  throw new Problem('USAGE', `--encrypt-to: ${wanted} is no certificate with an RSA key, and not the word escrow`);
}

export interface BackupFlags {
  dir: string;
  as: string;
  into?: string;
  keep?: number;
  encryptTo?: string;
  offlineCopyExists?: boolean;
}

/** Sealed to a key that is nowhere but on this machine, a backup is lost together with it. */
async function refuseWithoutCopy({ dir, as: actor, offlineCopyExists = false }: BackupFlags): Promise<void> {
  const paths = existingFolder(resolve(dir));
  const isThere = await inDatabaseOf(paths, async (store, ground) => {
    if (offlineCopyExists) await noteOfflineCopy(ground, actor, 'said');
    return hasOfflineCopy(store);
  });
  if (isThere) return;
  const problem = new Problem('OFFLINE_COPY_MISSING');
  // Nobody reads what a timer prints: without this, three days pass before anybody hears that there is no backup.
  await tellOfFailure(paths, 'BACKUP_FAILS', 'backup --encrypt-to escrow', problem);
  throw problem;
}

export async function backUpCommand(file: string | undefined, flags: BackupFlags): Promise<CommandResult> {
  const { dir, as: actor, into, keep } = flags;
  if ((file === undefined) === (into === undefined)) throw new Problem('USAGE', 'name a new file, or a folder for many of them (--into FOLDER)');
  if (keep !== undefined && into === undefined) throw new Problem('USAGE', '--keep goes with --into');
  const encryptTo = certificateToEncryptTo(flags.encryptTo, dir);
  if (flags.offlineCopyExists && flags.encryptTo !== 'escrow') throw new Problem('USAGE', '--offline-copy-exists goes with --encrypt-to escrow');
  if (flags.encryptTo === 'escrow') await refuseWithoutCopy(flags);
  const made =
    into === undefined
      ? { ...(await backUp({ dir, file: file ?? '', actor, encryptTo })), removed: 0, drillFailed: false }
      : await backUpInto({ dir, folder: into, keep: keep ?? 14, actor, encryptTo });
  const secret = encryptTo
    ? flags.encryptTo === 'escrow'
      ? 'it opens with the escrow key and its passphrase alone: without the offline copy it is lost together with this machine'
      : 'it opens with the private key of that certificate alone'
    : 'the escrow key in it is encrypted; the secrets of the server are not: keep it as the data folder itself';
  const removed = made.removed > 0 ? `; ${made.removed} older one(s) removed` : '';
  return {
    json: made,
    text: `${made.file}: ${made.bytes} bytes, ${made.macs} Mac(s), ${made.keys} key(s)${made.encrypted ? ', encrypted' : ''}${removed}\ntry it: sparekey-server verify-backup ${made.file}`,
    warnings: [secret, ...(made.drillFailed ? ['no older backup is removed: the last one that was tried did not open (`alarms`)'] : [])],
  };
}

const notAlone =
  'this counts as no drill: the data folder opened it, which is gone on the day of need. With the offline copy it is one: verify-backup FILE --escrow-key escrow-key.txt --dir FOLDER';

/** What opens a backup that was encrypted to a certificate of its own. */
interface KeyFlags {
  key?: string;
  keyPassphraseFile?: string;
  keyPassphraseFd?: number;
}

async function givenKey({ key, keyPassphraseFile, keyPassphraseFd }: KeyFlags): Promise<UnsealKey | null> {
  if (key !== undefined) return backupKeyIn(key, () => readPassphraseOfKey({ passphraseFile: keyPassphraseFile, passphraseFd: keyPassphraseFd }));
  if (keyPassphraseFile !== undefined || keyPassphraseFd !== undefined) throw new Problem('USAGE', 'a passphrase of a key goes with --key');
  return null;
}

export interface DrillFlags extends Omit<GivenOptions, 'dir'>, KeyFlags {
  dir?: string;
  newestIn?: string;
  escrowKey?: string;
}

export async function verifyBackupCommand(file: string | undefined, flags: DrillFlags): Promise<CommandResult> {
  const { newestIn, escrowKey = null, dir = null, as: actor = 'server' } = flags;
  if ((file === undefined) === (newestIn === undefined)) throw new Problem('USAGE', 'name a backup, or the folder that holds them (--newest-in FOLDER)');
  const which = file ?? newestBackup(newestIn ?? '');
  const key = await givenKey(flags);
  const result = await verifyBackup({ file: which, passphrase: await readPassphrase(flags), escrowKeyFile: escrowKey, key, dir, actor });
  const opened = result.opened
    ? `the newest key, of ${result.opened.serial}, opens from it`
    : 'it holds no key yet; a trial envelope opens with its escrow key';
  const by = { 'escrow-key': ` with ${escrowKey}`, key: ` with ${flags.key}`, 'data-folder': ' with the key of this data folder', backup: '' }[result.by];
  const text = `${result.file} is good: ${opened}${by}; ${result.macs} Mac(s), ${result.keys} key(s), ${result.auditRows} audit entries`;
  return {
    json: result,
    text: [text, ...sayNotInBackup(result.notInBackup)].join('\n'),
    warnings: result.by === 'data-folder' ? [notAlone] : [],
  };
}

export interface RestoreFlags extends GivenOptions, KeyFlags {
  revocations?: string;
  withoutRevocations?: boolean;
  spreadDays: number;
  as: string;
  escrowKey?: string;
  keysIn?: string;
}

export async function restoreCommand(file: string, flags: RestoreFlags): Promise<CommandResult> {
  const { revocations = null, spreadDays, dir, as: actor, escrowKey, keysIn } = flags;
  if ((revocations === null) === (flags.withoutRevocations === undefined))
    throw new Problem('USAGE', 'give the revocations since the backup (--revocations FILE), or say that you go on --without-revocations');
  /** An encrypted backup asks for its key; the data folder of before, where it is left, has one too. */
  const keys = async () => {
    const own = await givenKey(flags);
    if (own) return [own];
    if (escrowKey === undefined && keysIn === undefined)
      throw new Problem(
        'USAGE',
        'this backup is encrypted: name the offline copy (--escrow-key FILE), the key of its own certificate (--key FILE), or the data folder that has its key (--keys-in FOLDER)',
      );
    const passphrase = await readPassphrase(flags);
    return escrowKey === undefined ? escrowKeysOf(existingFolder(resolve(keysIn ?? '')).escrow, passphrase) : [escrowKeyIn(escrowKey, passphrase)];
  };
  const result = await restore({ file, dir, revocationsFile: revocations, spreadDays, actor, keys });
  const text = [
    `made ${result.dir} from the backup of ${result.backupMadeAt}; ${result.gapHours} h are missing`,
    `${result.keysToReplace} key(s) may have been shown meanwhile: each is replaced within ${result.replacedWithinDays} days`,
    'Macs that enrolled meanwhile enrol again by themselves, and deliver what is missing at their next check-in',
    `policies, tags, roles, users and standings (lost, retired) are as they were at ${result.backupMadeAt}: what was changed since is said again by you, before people are let in`,
    ...sayNotInBackup(result.notInBackup),
    `next: sparekey-server serve --dir ${result.dir}`,
  ].join('\n');
  return { json: result, text };
}
