import type { RecoveryKey } from '../protocol/recovery-key.ts';
import type { ServerClock } from './clock.ts';
import type { Log } from './log.ts';
import type { CustodySettings, EscrowCertificate, Own, ServerSecrets, Store, Tx } from './parts.ts';

/** Milliseconds. */
const second = 1000;
export const minute = 60 * second;
export const hour = 60 * minute;
export const day = 24 * hour;

/** Why a stored key could not be opened: nobody answered, nothing in it is a key, or its rows were changed behind our back. */
export type NotOpened = 'no-opener' | 'unreadable' | 'tampered';

/** What the acts of custody share. Made in custody.ts. */
export interface CustodyParts {
  store: Store;
  clock: ServerClock;
  secrets: ServerSecrets;
  settings: CustodySettings;
  certificates: readonly EscrowCertificate[];
  /** False in a server that holds keys it can never open. */
  canOpen: boolean;
  log: Log;
  /** Days that a person has to have a shown key replaced where only the MDM can. */
  taskDays: number;
  /** Days that a Mac of a ring may stay in one state. */
  ringDays: number;
  /** Days after which a key that is nobody's word, and became no Mac's, goes. */
  strangerDays: number;
  /** One act with its time: all of it is stored, or nothing. */
  act<T>(work: (tx: Tx, at: number) => Promise<T>): Promise<T>;
  /** One that mostly writes no more than when a Mac was seen: on PostgreSQL beside those of other Macs, where it does (narrow-acts.ts). */
  actFor<T>(own: Own, work: (tx: Tx, at: number) => Promise<T>): Promise<T>;
  /** Envelope bytes as they came. */
  openBytes(bytes: Uint8Array): Promise<RecoveryKey | 'unreadable' | 'no-opener'>;
  /** The key of a record, by any of its envelopes whose row is as it was written. Audit and debt come before this is called. */
  openRecord(recordId: string): Promise<RecoveryKey | NotOpened>;
}

export const isoTime = (milliseconds: number): string => new Date(milliseconds).toISOString();
/** UUIDs are compared and stored in one case; macOS writes capitals. */
export const sameCase = (uuid: string): string => uuid.toUpperCase();
