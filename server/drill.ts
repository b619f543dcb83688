import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync, rmSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { Problem } from '../protocol/problems.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import { audit } from './audit.ts';
import { openUnpacked, unpackAny } from './backup.ts';
import { inDatabaseOf, lastDrillMark, noteOfflineCopy, tellOfFailure } from './backup-late.ts';
import { readPem } from './certificates.ts';
import { existingFolder, type FolderPaths } from './data-folder.ts';
import { decryptPrivateKey } from './encrypted-key.ts';
import { openEscrowKeys, openWith, readEscrowCertificates } from './escrow-keys.ts';
import { proveOpens, readGiven } from './init.ts';
import { type NamedFile, notInBackup } from './named-files.ts';
import { sayAnew } from './operator-alarms.ts';
import { makePrivateFolder, readPrivate } from './private-files.ts';
import type { UnsealKey } from './sealed-file.ts';
import { roomyFolder } from './settings.ts';
import { countRows, newestReadableEnvelope, writeMemory } from './store/upkeep.ts';
import { removeUnfinished, unfinishedName } from './unfinished.ts';

export interface VerifyResult {
  file: string;
  madeAt: string;
  macs: number;
  keys: number;
  envelopes: number;
  auditRows: number;
  /** Which envelope was opened from the backup alone; null where it has none yet and a trial one was opened instead. */
  opened: { serial: string; recordId: string; receivedAt: string } | null;
  /**
   * What opened it: the offline copy, the escrow key in the backup itself (`key`: which a key of its own has opened), or the data
   * folder, without which it does not open.
   */
  by: 'escrow-key' | 'backup' | 'key' | 'data-folder';
  /** Files that the settings name and that are in no backup. */
  notInBackup: NamedFile[];
}

/** The key and its certificate in the offline copy, or in the two files of `escrow/` one after the other. */
export function escrowKeyIn(file: string, passphrase: string): UnsealKey {
  const { certificate, encrypted } = partsIn(file);
  if (!certificate || encrypted === undefined) throw new Problem('USAGE', `${file} holds no escrow key with its certificate, as the offline copy does`);
  return belonging(file, certificate, decryptPrivateKey(encrypted, passphrase));
}

/**
 * The key of a certificate of its own to which a backup was encrypted, and that certificate, in one file. Whether it has a
 * passphrase is whose it is to say: without one it has to be private.
 */
export async function backupKeyIn(file: string, passphrase: () => Promise<string>): Promise<UnsealKey> {
  const { certificate, encrypted, text } = partsIn(file);
  const plain = /-----BEGIN PRIVATE KEY-----[\s\S]+?-----END PRIVATE KEY-----\n?/.exec(text)?.[0];
  if (!certificate || (encrypted === undefined && plain === undefined))
    throw new Problem('USAGE', `${file} holds no private key (PKCS #8, PEM) with its certificate: put the two one after the other`);
  if (encrypted !== undefined) {
    const words = await passphrase();
    try {
      return belonging(file, certificate, decryptPrivateKey(encrypted, words));
    } catch (error) {
      // There are two passphrases now: which of them is wrong has to be said.
      throw error instanceof Problem && error.code === 'PASSPHRASE_WRONG' ? new Problem('PASSPHRASE_WRONG', `of ${file}`) : error;
    }
  }
  if ((statSync(file).mode & 0o077) !== 0) throw new Problem('FILE_TOO_OPEN', file);
  try {
    return belonging(file, certificate, createPrivateKey(plain ?? ''));
  } catch (error) {
    throw error instanceof Problem ? error : new Problem('USAGE', `${file}: its private key cannot be read`);
  }
}

function partsIn(file: string): { text: string; certificate: Buffer | undefined; encrypted: string | undefined } {
  const text = readGiven(file).toString('utf8');
  const [certificate] = readPem(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/.exec(text)?.[0] ?? '');
  return { text, certificate, encrypted: /-----BEGIN ENCRYPTED[\s\S]+?-----END ENCRYPTED PRIVATE KEY-----\n?/.exec(text)?.[0] };
}

function belonging(file: string, certificate: Buffer, privateKey: KeyObject): UnsealKey {
  if (!createPublicKey(privateKey).equals(new X509Certificate(certificate).publicKey))
    throw new Problem('USAGE', `${file}: key and certificate do not belong together`);
  return { certificate, privateKey };
}

/** The escrow keys of a data folder, opened. */
export function escrowKeysOf(folder: string, passphrase: string): UnsealKey[] {
  return readEscrowCertificates(folder).map(({ digest, der }) => ({
    certificate: der,
    privateKey: decryptPrivateKey(readPrivate(join(folder, `${digest}.key.pem`)), passphrase),
  }));
}

export interface DrillOptions {
  file: string;
  passphrase: string;
  /** The offline copy: what is left when everything else is gone. */
  escrowKeyFile?: string | null;
  /** Of a backup that was encrypted to a certificate of its own. */
  key?: UnsealKey | null;
  /** The data folder that remembers that this was done, and whose key opens an encrypted backup where no other is named. */
  dir?: string | null;
  actor?: string;
}

/** The drill: from this one file and the passphrase, and nothing else, one envelope is opened. With a data folder a failure is an alarm. */
export async function verifyBackup(options: DrillOptions): Promise<VerifyResult> {
  const paths = options.dir == null ? null : existingFolder(resolve(options.dir));
  try {
    return await tryBackup(options, paths);
  } catch (error) {
    if (paths) await tellOfFailure(paths, 'DRILL_FAILED', basename(options.file), error);
    throw error;
  }
}

async function tryBackup(
  { file, passphrase, escrowKeyFile = null, key = null, actor = 'server' }: DrillOptions,
  dir: FolderPaths | null,
): Promise<VerifyResult> {
  const copy = escrowKeyFile === null ? null : escrowKeyIn(escrowKeyFile, passphrase);
  const room = roomyFolder(dir?.dir ?? null);
  if (dir) removeUnfinished(room);
  const folder = join(room, unfinishedName());
  makePrivateFolder(folder);
  try {
    const keys = async () => (copy || key ? [copy ?? [], key ?? []].flat() : dir === null ? [] : escrowKeysOf(dir.escrow, passphrase));
    const { described, sealed } = await unpackAny(file, folder, keys);
    const { paths, settings, secrets, store, auditRows } = await openUnpacked(folder, described);
    try {
      const keyIn = async (bytes: Uint8Array): Promise<RecoveryKey | string> =>
        copy ? openWith([copy], bytes) : openEscrowKeys(paths.escrow, passphrase).open(bytes);
      const rows = await countRows(store.db);
      const newest = await newestReadableEnvelope(store.db);
      if (newest?.bytes) {
        const found = await keyIn(newest.bytes);
        if (typeof found === 'string' || found.fingerprint(secrets.fingerprint) !== newest.fingerprint)
          throw new Problem('BACKUP_INVALID', `the key of ${newest.serial} does not open from it`);
      } else {
        for (const { digest } of readEscrowCertificates(paths.escrow)) {
          const pair = ['key', 'certificate'].map((part) => readFileSync(join(paths.escrow, `${digest}.${part}.pem`), 'utf8')).join('');
          proveOpens(pair, passphrase);
        }
      }
      const opened = newest && { serial: newest.serial, recordId: newest.record_id, receivedAt: new Date(newest.received_at).toISOString() };
      const by = copy ? 'escrow-key' : !sealed ? 'backup' : key ? 'key' : 'data-folder';
      if (dir) await noteDrill(dir, actor, basename(file), by);
      return { file: resolve(file), madeAt: described.madeAt, ...rows, auditRows, opened, by, notInBackup: notInBackup(settings, folder, dir?.dir ?? null) };
    } finally {
      await store.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Only what needed nothing of this machine counts as a drill: what its data folder opened says nothing of the day without it. */
function noteDrill(dir: FolderPaths, actor: string, file: string, by: VerifyResult['by']): Promise<void> {
  return inDatabaseOf(dir, async (store, ground) => {
    await store.write(async (tx) => {
      const at = await ground.clock.persist(tx);
      if (by !== 'data-folder') await writeMemory(tx, lastDrillMark, String(at));
      await audit(tx, { at, actor, act: 'backup.tried', details: { file, by } });
    });
    await sayAnew(ground, 'DRILL_FAILED', []);
    if (by === 'escrow-key') await noteOfflineCopy(ground, actor, 'drill');
  });
}
