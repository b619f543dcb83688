import type { CheckInReply, CustodyState, Facts, RotationReason } from '../protocol/messages.ts';
import type { ProblemCode } from '../protocol/problems.ts';
import type { JobSaw } from './doctor-job.ts';
import { paths } from './paths.ts';
import type { Disk } from './world.ts';

/*
 * What any user of the Mac may know without sudo: written by the job at the end of each run, world-readable, and free of
 * secrets. Everything in it may be old, so each answer carries its time.
 */

const mostBytes = 64 * 1024;

export interface PublicStatus {
  version: 1;
  agentVersion: string;
  /** ISO 8601, the Mac's clock: when the run ended that wrote this. */
  at: string;
  /** What that run did, in words; also `asleep`, and why nothing was done. */
  lastRun: { did: string; code: ProblemCode | null };
  /** The last time that the backend answered, by the Mac's clock; null when it never did. */
  lastAnswerAt: string | null;
  server: string | null;
  serial: string;
  macosVersion: string;
  macosBuild: string;
  fileVault: Facts['fileVault'];
  custody: { state: CustodyState; because: string } | null;
  /** What macOS said of each key that may be the valid one, as the backend has it; absent in a file of an older agent. */
  keys?: NonNullable<CheckInReply['answers']>;
  /** Under way, waiting for its gates, or null. */
  rotation: { because: RotationReason; state: 'waiting' | 'intended' | 'changing' | 'sealed' | 'unresolved'; says: string } | null;
  hold: { since: string; until: string } | null;
  /** Whose escrow payload was found, what the settings chose, and what follows: one sentence. */
  escrow: { payload: Facts['escrow']['payload']; owner: Facts['escrowOwner']; rotator: Facts['rotator']; says: string };
  identity: { way: Facts['identityWay']; notAfter: string; enrolmentId: string | null } | null;
  custodyMode: { mode: Facts['custodyMode']; because: string };
  settings: { managed: boolean; unmanagedSince: string | null; problems: { name: string; says: string }[] };
  capability: Facts['capability'];
  /** Why nobody has this Mac's key, since when, and what has to be done; null where somebody has it. Not there in files of older agents. */
  adoption?: { code: ProblemCode; detail: string | null; since: string } | null;
  /** Where somebody else changed the key in the last 14 days: when, and who was found on the disk. Not there in a file of an older agent. */
  changedByOthers?: NonNullable<Facts['foreignChanges']> | null;
  problems: { code: ProblemCode; detail?: string }[];
  /** What the job saw when doctor last asked it; not there where it never did. */
  jobSaw?: JobSaw;
}

export function writeStatus(disk: Disk, status: PublicStatus): void {
  disk.replace(paths.status, `${JSON.stringify(status)}\n`, 0o644);
}

/** Null where there is none yet, or one that this version does not understand. */
export function readStatus(disk: Disk): PublicStatus | null {
  try {
    const bytes = disk.read(paths.status, mostBytes);
    const it = bytes ? (JSON.parse(bytes.toString('utf8')) as PublicStatus) : null;
    return it?.version === 1 ? it : null;
  } catch {
    return null;
  }
}
