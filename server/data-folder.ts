import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Problem } from '../protocol/problems.ts';
import { databaseAddress, isDatabaseAddressed } from './settings.ts';

/** What lies where in the data folder. Everything in it is private (0600, folders 0700). */
export interface FolderPaths {
  dir: string;
  settings: string;
  secrets: string;
  database: string;
  /** The address of a PostgreSQL database, where there is one in place of that file. */
  databaseUrl: string;
  /** `<digest>.key.pem` (encrypted) and `<digest>.certificate.pem`, all versions, kept for ever. */
  escrow: string;
  agentCa: CertificateAndKey;
  tlsCa: CertificateAndKey;
  /** The CA that follows it, from when it was made until the Macs trust it. */
  nextTlsCa: CertificateAndKey;
  tls: CertificateAndKey;
  /** What a CA has given by ACME. */
  acme: CertificateAndKey;
  /** By which that CA knows us; some give an account once. */
  acmeAccountKey: string;
  /** One or more PEM files with the certificates of device CAs. */
  deviceCas: string;
  /** The key pairs by which the audit is signed. */
  auditKeys: string;
  /** One checkpoint of the audit a line: a witness beside the database. In no backup; made again from the database. */
  auditCheckpoints: string;
  /** Records that retention has taken out of the database. */
  auditArchive: string;
}

export interface CertificateAndKey {
  certificate: string;
  key: string;
}

export const folderPaths = (dir: string): FolderPaths => ({
  dir,
  settings: join(dir, 'settings.json'),
  secrets: join(dir, 'server-secrets.json'),
  database: join(dir, 'sparekey.sqlite'),
  databaseUrl: join(dir, 'database-url'),
  escrow: join(dir, 'escrow'),
  agentCa: { certificate: join(dir, 'agent-ca', 'certificate.pem'), key: join(dir, 'agent-ca', 'key.pem') },
  tlsCa: { certificate: join(dir, 'tls-ca', 'certificate.pem'), key: join(dir, 'tls-ca', 'key.pem') },
  nextTlsCa: { certificate: join(dir, 'tls-ca-next', 'certificate.pem'), key: join(dir, 'tls-ca-next', 'key.pem') },
  tls: { certificate: join(dir, 'tls', 'certificate.pem'), key: join(dir, 'tls', 'key.pem') },
  acme: { certificate: join(dir, 'acme', 'certificate.pem'), key: join(dir, 'acme', 'key.pem') },
  acmeAccountKey: join(dir, 'acme', 'account-key.pem'),
  deviceCas: join(dir, 'device-cas'),
  auditKeys: join(dir, 'audit-keys'),
  auditCheckpoints: join(dir, 'audit-checkpoints.jsonl'),
  auditArchive: join(dir, 'audit-archive'),
});

/** What `openDatabase` opens for this folder. */
export const databaseOf = (paths: FolderPaths): string => databaseAddress(paths.dir) ?? paths.database;
export const isOnPostgres = (paths: FolderPaths): boolean => databaseAddress(paths.dir) !== null;

/** The paths of a folder that `init` made; `DATA_FOLDER_MISSING` where there is none, `FILE_TOO_OPEN` where others could enter it. */
export function existingFolder(dir: string): FolderPaths {
  const paths = folderPaths(dir);
  if (!existsSync(paths.settings) || (!existsSync(paths.database) && !isDatabaseAddressed(dir))) throw new Problem('DATA_FOLDER_MISSING', dir);
  for (const folder of [dir, paths.escrow, paths.auditKeys, join(dir, 'agent-ca')]) {
    if (existsSync(folder) && (statSync(folder).mode & 0o077) !== 0) throw new Problem('FILE_TOO_OPEN', `${folder} (chmod 700)`);
  }
  return paths;
}

/** Every file below the folder that must be private, for the check at start. */
function privateFilesOf(paths: FolderPaths): string[] {
  const inside = (folder: string) => (existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : []);
  const database = ['', '-wal', '-shm'].map((end) => `${paths.database}${end}`);
  return [
    paths.settings,
    paths.secrets,
    paths.databaseUrl,
    ...database,
    ...inside(paths.escrow),
    ...inside(paths.auditKeys),
    ...inside(paths.auditArchive),
    paths.auditCheckpoints,
    ...[paths.agentCa, paths.tlsCa, paths.nextTlsCa, paths.tls, paths.acme].flatMap((pair) => [pair.certificate, pair.key]),
    paths.acmeAccountKey,
  ].filter((path) => existsSync(path));
}

/** Those of them that others may read; a list, so that all are named at once. */
export const tooOpen = (paths: FolderPaths): string[] => privateFilesOf(paths).filter((path) => (statSync(path).mode & 0o077) !== 0);
