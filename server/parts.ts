import type { Kysely, Transaction } from 'kysely';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import type { Tables } from './tables.ts';

export type Tx = Transaction<Tables>;

/** Whose rows a narrow act may write. */
export interface Own {
  macId: string;
  enrolmentId: string;
}

export interface Store {
  /** Questions. */
  db: Kysely<Tables>;
  /**
   * One act: everything in it is stored, durably, or nothing is. Acts run one after another (SQLite: BEGIN IMMEDIATE,
   * synchronous=FULL). Throws `STORE_FAILED` where the database refuses.
   */
  write<T>(act: (tx: Tx) => Promise<T>): Promise<T>;
  /**
   * PostgreSQL: an act beside those of other Macs, which writes when one Mac was seen and nothing else (narrow-acts.ts). Where it tries to write
   * more, nothing of it is stored, and it is done again as by `write`; `isNarrow` says which of both this is.
   */
  writeFor?<T>(own: Own, act: (tx: Tx, isNarrow: boolean) => Promise<T>): Promise<T>;
  /** Where other backends have the same database: does this work unless one of them is doing what has the same name. False: it is. */
  alone?(name: string, work: () => Promise<void>): Promise<boolean>;
  /** Milliseconds: what time it is at the database, where that has a clock of its own. */
  time?(): Promise<number>;
  close(): Promise<void>;
}

/** The server's time. It never steps back: a high-water mark is stored. */
export interface Clock {
  /** Milliseconds. */
  now(): number;
}

/** Secrets outside the database, 32 bytes each. */
export interface ServerSecrets {
  fingerprint: Buffer;
  rowMac: Buffer;
  nonce: Buffer;
  ticket: Buffer;
}

export interface EscrowCertificate {
  /** SHA-256 of the DER, lower-case hex. */
  digest: string;
  der: Buffer;
  /** How an envelope may name it: `recipientNames` of protocol/envelope.ts. */
  names: readonly string[];
  /** Bytes of the RSA modulus. */
  modulusBytes: number;
}

/** The escrow key pairs, all versions. Only custody.ts calls `open`. */
export interface EscrowKeys {
  certificates: readonly EscrowCertificate[];
  /** False in a server that was started without its passphrase. */
  canOpen: boolean;
  /** `unreadable` has one answer for "cannot decrypt" and "not a key"; `no-opener` when nothing answered within 5 s. */
  open(envelope: Uint8Array): Promise<RecoveryKey | 'unreadable' | 'no-opener'>;
}

/** Who is asking: known by the client certificate alone. */
export interface Caller {
  macId: string;
  serial: string;
  serialProved: boolean;
  hardwareUuid: string;
  enrolmentId: string;
  way: Tables['enrolment']['way'];
  /** `revoked-late`: ended after it began a rotation that is still open; may deliver into quarantine, nothing else. */
  standing: 'active' | 'revoked-late';
  confirmed: boolean;
  /** The identity key (SubjectPublicKeyInfo, DER), which signs grant requests. */
  publicKey: Buffer;
  profileNotAfter: number | null;
  protocol: number;
  requestId: string;
}

/** What the operator may set about keys. */
export interface CustodySettings {
  holdDeadlineHours: number;
  checkInMinutes: number;
  /** What a check-in is answered: over how many seconds the fleet spreads, and for how long an answer may be kept (0: it is not). */
  spreadSeconds: number;
  waitSeconds: number;
  /** After this a superseded key is destroyed, once a later one is proved. */
  retainSupersededDays: number;
  orderExpiresDays: number;
  grants: 'automatic' | 'ordered-only' | 'never';
  grantsPerHour: number;
  /** A certificate that proves the serial confirms its enrolment. */
  confirmProvedSerials: boolean;
  proveEveryDays: number;
}
