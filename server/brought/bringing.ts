import type { RecoveryKey } from '../../protocol/recovery-key.ts';
import type { BroughtSource, BroughtTrust } from './sources.ts';

/** A key that somebody else had for a serial number. */
export interface Bringing {
  /** Compared in capitals. */
  serial: string;
  /** Null where it lies in an envelope that nobody here has opened. */
  key: RecoveryKey | null;
  /** Sealed to one of our escrow certificates, and kept as it came. Without it the key is sealed to our newest certificate. */
  envelope?: { bytes: Uint8Array; recipient: string; blocks: readonly string[] };
  source: BroughtSource;
  trust: BroughtTrust;
  runId: string | null;
  /** When its source says that it was escrowed: a claim, milliseconds. */
  madeAt: number | null;
  actor: string;
  /** As the MDM calls the device that says it. */
  deviceId?: string;
  /** macOS made it because we asked: it is never refused, however many wait. */
  ours?: true;
}

export interface Brought {
  /** `known`: it is here already. `refused`: nothing was stored, and `because` says why. */
  fate: 'waiting' | 'aside' | 'offered' | 'known' | 'refused';
  /** Null where it was refused. */
  keyId: string | null;
  macId: string | null;
  because: string;
}

/** More than this in one act keeps the Macs waiting. */
export const mostPerAct = 500;
