import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { basename, join, relative, resolve } from 'node:path';
import { z } from 'zod';
import { Problem } from '../protocol/problems.ts';
import { filesOfAuditKey, hasAuditKey } from './auditing/audit-key.ts';
import { deviceCaFiles } from './authorities.ts';
import type { FolderPaths } from './data-folder.ts';
import { serverVersion } from './settings.ts';
import { auditEndIn } from './store/upkeep.ts';
import { isTarName, openTar, unpackTar } from './tar.ts';

const manifestName = 'manifest.json';
const member = z.strictObject({ name: z.string(), bytes: z.int().min(0), sha256: z.string().regex(/^[0-9a-f]{64}$/) });
const manifest = z.strictObject({
  format: z.literal('sparekey backup 1'),
  madeAt: z.iso.datetime(),
  serverVersion: z.string(),
  /** The last entry of the audit: a database that was swapped for an older one shows itself. */
  audit: z.strictObject({ seq: z.int(), hash: z.string() }),
  members: z.array(member),
});
export type Manifest = z.infer<typeof manifest>;

/** What belongs to a data folder, besides the database, which is copied by SQLite itself. */
function filesOf(paths: FolderPaths): string[] {
  const inside = (folder: string) => (existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : []);
  const escrow = inside(paths.escrow).filter((path) => /\/[0-9a-f]{64}\.(key|certificate)\.pem$/.test(path));
  const pairs = [paths.agentCa, paths.tlsCa, paths.nextTlsCa, paths.tls, paths.acme].flatMap(({ certificate, key }) => [certificate, key]);
  const deviceCas = deviceCaFiles(paths.deviceCas);
  const { present, list } = filesOfAuditKey(paths);
  const archived = inside(paths.auditArchive).filter((path) => /\/audit-\d+-\d+\.jsonl$/.test(path));
  const audit = [...(hasAuditKey(paths) ? [present, list] : []), ...archived];
  const odd = oddDeviceCas(paths.deviceCas);
  if (odd.length > 0) throw new Problem('SERVER_SETTINGS_INVALID', odd.join('; '));
  // What an editor or a person has left beside them is not the backend's.
  return [paths.settings, paths.secrets, ...escrow, ...audit, ...deviceCas, ...[...pairs, paths.acmeAccountKey].filter((path) => existsSync(path))];
}

/** What stands in device-cas/ as a CA and could not be in a backup: in words that say what to do. */
export const oddDeviceCas = (folder: string): string[] =>
  deviceCaFiles(folder).flatMap((path) => {
    const name = JSON.stringify(basename(path));
    if (!existsSync(path)) return [`device-cas: ${name} leads to a file that is not there: remove it, or put the file there itself`];
    if (!statSync(path).isFile()) return [`device-cas: ${name} is no file: remove it`];
    return isTarName(`device-cas/${basename(path)}`) ? [] : [`device-cas: ${name}: rename it with letters, digits, dots, dashes and _ alone`];
  });

/** The archive of a data folder with this copy of its database: whole, or not there at all. */
export function archive(paths: FolderPaths, copy: string, to: string, madeAt: Date): number {
  const tar = openTar(to);
  const members = [];
  try {
    for (const path of filesOf(paths)) members.push(tar.add(relative(paths.dir, path), path, statSync(path).size));
    members.push(tar.add(basename(paths.database), copy, statSync(copy).size));
    const description: Manifest = {
      format: 'sparekey backup 1',
      madeAt: madeAt.toISOString(),
      serverVersion: serverVersion(),
      audit: auditEndIn(copy),
      members,
    };
    const text = Buffer.from(`${JSON.stringify(description, null, 2)}\n`);
    tar.add(manifestName, text, text.length);
  } catch (error) {
    tar.abandon();
    throw error;
  }
  tar.finish();
  return members.length;
}

/** Unpacks a backup into `folder` (new, private) and compares every digest with the manifest. */
export function unpackBackup(file: string, folder: string): Manifest {
  const unpacked = unpackTar(resolve(file), folder);
  let described: Manifest;
  try {
    described = manifest.parse(JSON.parse(readFileSync(join(folder, manifestName), 'utf8')));
  } catch {
    throw new Problem('BACKUP_INVALID', 'its manifest is missing or cannot be read');
  }
  const found = unpacked.filter(({ name }) => name !== manifestName);
  for (const wanted of described.members) {
    const is = found.find(({ name }) => name === wanted.name);
    if (!is) throw new Problem('BACKUP_INVALID', `${wanted.name} is missing`);
    if (is.sha256 !== wanted.sha256 || is.bytes !== wanted.bytes) throw new Problem('BACKUP_INVALID', `${wanted.name} is not what was backed up`);
  }
  if (found.length !== described.members.length) throw new Problem('BACKUP_INVALID', 'it holds files that its manifest does not name');
  rmSync(join(folder, manifestName));
  return described;
}
