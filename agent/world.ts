import type { BeginReply, BeginRequest, CheckInReply, CheckInRequest, DeliveryRequest, GrantRequest, Receipt } from '../protocol/messages.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';

/** A program of macOS, by absolute path, with its arguments. Never a shell. Secrets go to `input` (stdin), never to `args`. */
export interface Command {
  program: string;
  args: readonly string[];
  input?: string | Uint8Array;
  /** Default 30. A command that does not answer in time is killed (never `changerecovery`, which goes by `start`). */
  timeoutSeconds?: number;
  /** Bytes of stdout and stderr each; default 1 MiB. More ends the command. */
  outputLimit?: number;
}

/** What a command did. `code` is null when it was ended by a signal, was not found, or ran out of time or space. */
export interface Ran {
  code: number | null;
  stdout: Buffer;
  stderr: Buffer;
  failed?: 'not-found' | 'not-permitted' | 'timeout' | 'too-much-output' | 'signal';
}

/** A command that must not die with the agent: its own session, its output in files that were made beforehand. */
export interface Started {
  pid: number;
  /** Resolves with the exit status, or with `still-running` when `seconds` have passed; it is then left alone. */
  ended(seconds: number): Promise<{ code: number | null } | 'still-running'>;
}

export interface Runner {
  run(command: Command): Promise<Ran>;
  /** `stdoutFile` and `stderrFile` are paths on the Mac that exist already; neither is ever a pipe. stdin gets `input` and is closed. */
  start(command: Command & { stdoutFile: string; stderrFile: string }): Promise<Started>;
}

export interface FileFacts {
  size: number;
  modifiedMs: number;
  mode: number;
  uid: number;
  regular: boolean;
}

/** The Mac's files, by absolute path on the Mac. Each call is one effect that a kill can come before or after. */
export interface Disk {
  /** Null where there is none. Throws with `code: EACCES | EPERM | …` otherwise; refuses what is larger than `most` bytes. */
  read(path: string, most: number): Buffer | null;
  facts(path: string): FileFacts | null;
  /** Temp file in the same folder, fsync, rename, fsync of the folder. `mode` default 0600. */
  replace(path: string, bytes: Uint8Array | string, mode?: number): void;
  /** Create-exclusive, no-follow, 0600, fsync of file and folder. */
  createEmpty(path: string): void;
  sync(path: string): void;
  remove(path: string): void;
  rename(from: string, to: string): void;
  list(folder: string, which?: 'unfinished too'): string[];
  makeFolder(path: string, mode: number): void;
  freeBytes(path: string): number;
}

export type SecretAnswer = { there: string } | 'not-there' | 'cannot-tell';

/** The keychain, through keytar; only the job opens it. Items are write-once: a new one, read back, then the old one goes. */
export interface Secrets {
  read(account: string): Promise<SecretAnswer>;
  /** Writes and reads back; false where the keychain fails. */
  write(account: string, secret: string): Promise<boolean>;
  remove(account: string): Promise<boolean>;
  /** Account names of ours, or `cannot-tell`. */
  list(): Promise<string[] | 'cannot-tell'>;
}

/** The recovery keys in the keychain, as keys and not as strings. */
export interface KeptKeys {
  read(account: string): Promise<{ there: RecoveryKey } | 'not-there' | 'cannot-tell'>;
  write(account: string, key: RecoveryKey): Promise<boolean>;
  remove(account: string): Promise<boolean>;
  list(): Promise<string[] | 'cannot-tell'>;
  /** Whether an item can be written, read back and removed again (gate 4). */
  roundTrip(account: string): Promise<boolean>;
}

/** `urgent`: it has what cannot wait. `waitSeconds`: the backend may keep its answer until there is something new; `signal` ends that. */
export interface CheckInHow {
  urgent?: boolean;
  waitSeconds?: number;
  signal?: AbortSignal;
}

/** The backend, as this Mac. Every call throws a `Problem` when it does not succeed. */
export interface Ask {
  checkIn(request: CheckInRequest, how?: CheckInHow): Promise<CheckInReply>;
  begin(request: BeginRequest): Promise<BeginReply>;
  deliver(envelopeId: string, request: DeliveryRequest): Promise<Receipt>;
  /** The compact JWE. */
  grant(request: GrantRequest): Promise<string>;
}
