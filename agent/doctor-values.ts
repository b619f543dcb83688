import { Problem, type ProblemCode } from '../protocol/problems.ts';
import { CannotTell, type JobSeen, type LoginItem, seeJob, seeLoginItem, whyNot } from './doctor-launchd.ts';
import { type BuildSeen, type Machinery, seeBuild, seeInstalled, seeMachinery, seeMacos } from './doctor-package.ts';
import { journalVersion } from './journal.ts';
import { type FileVault, hasRecoveryKey, readFileVault } from './mac/fdesetup.ts';
import { readEscrowPayload } from './mac/profiles.ts';
import { paths } from './paths.ts';
import { readSettings, type SettingsRead } from './settings.ts';
import { type PublicStatus, readStatus } from './status.ts';
import { findSuspects, type Suspects } from './suspects.ts';
import type { Disk, FileFacts, Ran, Runner } from './world.ts';

/*
 * Everything that doctor judges, asked once and in one place. Nothing here changes anything, and no key is touched. What
 * could not be asked is a value too: a check that could not be made must not look like one that failed.
 */

/** A value, or why there is none. */
export type Known<T> = { value: T } | { unknown: string } | 'needs root';

export interface Values {
  /** Milliseconds of this Mac's clock. */
  now: number;
  version: string;
  runtimeVersion: string;
  /** What the package wrote about itself; null where it wrote nothing. */
  build: Known<BuildSeen | null>;
  machinery: Known<Machinery>;
  macos: Known<string>;
  installed: Known<{ path: string; mode: number; uid: number }[]>;
  settings: Known<SettingsRead>;
  /** The backend's addresses, as this network resolves its name. */
  addresses: Known<{ host: string; addresses: string[] }>;
  server: Known<ServerSeen>;
  status: PublicStatus | null;
  /** Why the job did not look just now; null where it did. What it saw is in `status`. */
  notLooked: string | null;
  job: Known<JobSeen>;
  loginItem: Known<LoginItem>;
  fileVault: FileVault;
  personalKey: Known<'yes' | 'no' | 'unknown'>;
  institutionalKey: Known<boolean>;
  escrowPayload: Known<'ours' | 'foreign' | 'none' | 'several' | 'unknown'>;
  escrowFile: Known<'none' | 'ours' | 'foreign' | 'unreadable'>;
  /** Files in which macOS or a script may have left a recovery key in plain text. */
  plainKeyFiles: Known<string[]>;
  /** Output files of rotations, and the age of the oldest in milliseconds. */
  leftOvers: Known<{ count: number; oldest: number }>;
  /** The state folder and what lies in it; empty where it is not there. */
  stateFolder: Known<{ path: string; mode: number; uid: number }[]>;
  /** Whose all of that has to be. */
  owner: number;
  excludedFromBackups: Known<boolean>;
  failedRequests: Known<number>;
  freeBytes: Known<number>;
  journal: Known<{ version: number; knows: number } | 'none' | 'unreadable'>;
  /** Names of other software here that can replace recovery keys: by itself, or when its admin says so. */
  rotators: Suspects;
}

export interface ServerSeen {
  url: string;
  /** Null when it answered as it should. */
  problem: { code: ProblemCode; says: string; fix: string } | null;
  /** By how many milliseconds this Mac's clock is ahead of the backend's; null where it gave no time. */
  ahead: number | null;
}

export interface Looking {
  root: string;
  disk: Disk;
  runner: Runner;
  asRoot: boolean;
  now: number;
  version: string;
  /** As in `Values`. */
  notLooked?: string | null;
}

export async function gatherValues(looking: Looking): Promise<Values> {
  const { disk, runner, root, asRoot, now } = looking;
  const settings = await look(looking, 'anybody', () => readSettings(runner, disk, now));
  const read = typeof settings === 'object' && 'value' in settings ? settings.value : null;
  const fileVault = await readFileVault(runner);
  const { seeAddresses, seeServer } = await import('./doctor-server.ts');
  const noAddress = { unknown: 'the settings do not say where the backend is' } as const;
  const [addresses, server, job, loginItem, machinery, macos, personalKey, institutionalKey, escrowPayload, escrowFile, plainKeyFiles, excludedFromBackups] =
    await Promise.all([
      read?.settings ? seeAddresses(read.settings.serverUrl) : noAddress,
      read?.settings ? seeServer(read.settings, runner, looking.version) : noAddress,
      look(looking, 'anybody', () => seeJob(runner, disk)),
      look(looking, 'root', () => seeLoginItem(runner)),
      look(looking, 'anybody', () => seeMachinery(runner)),
      look(looking, 'anybody', () => seeMacos(runner)),
      look(looking, 'root', () => hasRecoveryKey(runner, fileVault)),
      look(looking, 'root', async () => plainly(await runner.run({ program: '/usr/bin/fdesetup', args: ['hasinstitutionalrecoverykey'] }))),
      look(
        looking,
        'root',
        async () => (await readEscrowPayload(runner, disk, read?.settings ? { certificateDer: read.settings.escrowCertificate } : null)).payload,
      ),
      look(looking, 'root', () => seeEscrowFile(disk, read)),
      look(looking, 'root', () => seePlainKeyFiles(looking)),
      look(looking, 'root', () => seeExclusion(runner)),
    ]);
  return {
    now,
    version: looking.version,
    runtimeVersion: process.version,
    build: await look(looking, 'anybody', () => seeBuild(disk)),
    machinery,
    macos,
    installed: await look(looking, 'anybody', () => seeInstalled(disk)),
    settings,
    addresses,
    server,
    status: readStatus(disk),
    notLooked: looking.notLooked === undefined ? 'it was not asked' : looking.notLooked,
    job,
    loginItem,
    fileVault,
    personalKey,
    institutionalKey,
    escrowPayload,
    escrowFile,
    plainKeyFiles,
    leftOvers: await look(looking, 'root', () => seeLeftOvers(disk, now)),
    stateFolder: await look(looking, 'anybody', () => seeStateFolder(disk, asRoot)),
    owner: root === '/' ? 0 : (process.geteuid?.() ?? 0),
    excludedFromBackups,
    failedRequests: await look(looking, 'root', () => disk.list(paths.failed).length),
    freeBytes: await look(looking, 'anybody', () => disk.freeBytes('/var/db')),
    journal: await look(looking, 'root', () => seeJournal(disk)),
    rotators: await findSuspects(runner, disk),
  };
}

/** Asks, unless it needs root and we are not. What was thrown becomes the reason why nothing is known. */
async function look<T>(looking: Pick<Looking, 'asRoot'>, needs: 'root' | 'anybody', ask: () => T | Promise<T>): Promise<Known<T>> {
  if (needs === 'root' && !looking.asRoot) return 'needs root';
  try {
    return { value: await ask() };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (error instanceof Problem) return { unknown: error.message };
    if (code === 'EACCES' && !looking.asRoot) return 'needs root';
    // Root is refused nothing by ownership and mode: EPERM is macOS's privacy protection (TCC).
    if (code === 'EPERM') return { unknown: "macOS's privacy protection does not allow it (EPERM)" };
    return { unknown: error instanceof CannotTell ? error.message : (code ?? 'an unforeseen error') };
  }
}

function plainly(ran: Ran): boolean {
  const text = ran.stdout.toString('utf8').trim();
  if (ran.code === null || (text !== 'true' && text !== 'false')) throw whyNot(ran);
  return text === 'true';
}

async function seeEscrowFile(disk: Disk, read: SettingsRead | null): Promise<'none' | 'ours' | 'foreign' | 'unreadable'> {
  const bytes = disk.read(paths.escrowFile, 16 * 1024);
  if (bytes === null) return 'none';
  if (!read?.settings) throw new CannotTell('without settings it is not known which certificate is ours');
  const { readEnvelope, recipientNames } = await import('../protocol/envelope.ts');
  try {
    const { recipients } = readEnvelope(bytes);
    const ours = recipientNames(read.settings.escrowCertificate);
    return recipients.length === 1 && recipients.every(({ name }) => ours.includes(name)) ? 'ours' : 'foreign';
  } catch {
    return 'unreadable';
  }
}

/** Where a deferred enablement writes the key by default, and where this Mac's own one says that it does. */
async function seePlainKeyFiles({ disk, runner }: Looking): Promise<string[]> {
  const ran = await runner.run({ program: '/usr/bin/fdesetup', args: ['showdeferralinfo'], outputLimit: 64 * 1024 });
  const named = /OutputPath = "?(\/[^"\n;]{1,1000})"?;/.exec(ran.stdout.toString('utf8'))?.[1];
  const places = new Set(['/var/db/ConfigurationProfiles/fdesetup.plist', ...(named && !named.split('/').includes('..') ? [named] : [])]);
  return [...places].filter((path) => disk.facts(path) !== null);
}

async function seeExclusion(runner: Runner): Promise<boolean> {
  const ran = await runner.run({ program: '/usr/bin/tmutil', args: ['isexcluded', paths.state] });
  const word = /^\s*\[(Excluded|Included)\]/.exec(ran.stdout.toString('utf8'))?.[1];
  if (word === undefined) throw whyNot(ran);
  return word === 'Excluded';
}

function seeLeftOvers(disk: Disk, now: number): { count: number; oldest: number } {
  const ages = disk.list(paths.outputs).map((name) => now - (disk.facts(`${paths.outputs}/${name}`)?.modifiedMs ?? now));
  return { count: ages.length, oldest: Math.max(0, ...ages) };
}

function seeStateFolder(disk: Disk, inside: boolean): { path: string; mode: number; uid: number }[] {
  const within = inside ? [paths.queue, paths.taken, paths.failed, paths.results, paths.outputs, paths.journal, paths.lastGoodSettings] : [];
  return [paths.state, ...within]
    .map((path): [string, FileFacts | null] => [path, disk.facts(path)])
    .flatMap(([path, facts]) => (facts ? [{ path, mode: facts.mode & 0o777, uid: facts.uid }] : []));
}

function seeJournal(disk: Disk): { version: number; knows: number } | 'none' | 'unreadable' {
  const bytes = disk.read(paths.journal, 256 * 1024);
  if (bytes === null) return 'none';
  try {
    const version = (JSON.parse(bytes.toString('utf8')) as { version?: unknown } | null)?.version;
    return typeof version === 'number' && Number.isInteger(version) ? { version, knows: journalVersion } : 'unreadable';
  } catch {
    return 'unreadable';
  }
}
