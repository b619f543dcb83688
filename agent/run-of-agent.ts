import type { Facts } from '../protocol/messages.ts';
import type { ProblemCode } from '../protocol/problems.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import type { JournalFile } from './journal.ts';
import type { Log } from './log.ts';
import type { Settings } from './settings.ts';
import type { Ask, Disk, KeptKeys, Runner } from './world.ts';

/** One run of the agent: what it sees, and the few things through which it acts. Everything else is computation. */
export interface Run {
  /** Names this run in the log and in looks that have to come from different runs. */
  id: string;
  runner: Runner;
  disk: Disk;
  keys: KeptKeys;
  ask: Ask;
  /** Signs as this Mac's enrolment. */
  enrolmentId: string;
  sign(text: string): string;
  /** The nonce of the last check-in; each serves one grant, so a second one checks in again. */
  takeNonce(): Promise<string>;
  journal: JournalFile;
  settings: Settings;
  /** The managed escrow certificate, DER: where new keys are sealed to. */
  escrowCertificate: Buffer;
  facts: Facts;
  /** A settled session is there. */
  settled: boolean;
  log: Log;
  /** Milliseconds of the Mac's clock: a claim. */
  now(): number;
  /** Seconds of uptime, now. */
  uptime(): number;
  wait(milliseconds: number): Promise<void>;
  /** A SIGTERM was seen: what is begun is finished, nothing new begins, no network after it. */
  stopping(): boolean;
  /** Keys to which macOS said `false` in this run: each further try would cost, and tell nothing. */
  refused: RecoveryKey[];
  /** What could not be done, for the next report. */
  problems: { code: ProblemCode; detail?: string }[];
  /** Why what is owed was not done, for the next report; not there before this run knows. */
  waits?: { says: string; lasting: boolean };
}
