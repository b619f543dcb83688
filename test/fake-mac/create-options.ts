import type { Pair, Settings } from './state.ts';

export interface CreateOptions {
  /** Default: a new folder under the system's temporary one, which `dispose` removes. */
  root?: string;
  /** Real executables in the root, for the second door. */
  folder?: boolean;
  fileVault?: 'on' | 'off';
  escrowProfile?: 'ours' | 'foreign' | 'none';
  /** PEM; needed for `ours`. */
  escrowCertificate?: string;
  /** The managed preferences of the agent; left out: none are installed. */
  settings?: Settings;
  serial?: string;
  hardwareUuid?: string;
  user?: string;
  macosVersion?: string;
  /** Keys and identifiers are then the same in every run. */
  seed?: string;
  /** Milliseconds; default the real time. */
  clock?: () => number;
  /** The organisation's CA, which stands for its SCEP: this Mac has an identity of it. */
  deviceCa?: Pair;
  /** Where that identity lies; default: in the keychain. */
  identity?: 'keychain' | 'files';
  /** The agent, as the package installs it. */
  agent?: { bundle: string; job: string | null };
}
