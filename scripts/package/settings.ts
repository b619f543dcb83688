import { X509Certificate } from 'node:crypto';
import { type LoadOptions, loadSettings } from '../../profiles/settings.ts';
import { Problem } from '../../protocol/problems.ts';
import { PackageFailed } from './failure.ts';

export interface Fits {
  organisation: string;
  serverUrl: string;
  /** Hex, SHA-256. */
  escrowCertificate: string;
  /** That the profiles name; null: none. */
  team: string | null;
}

/**
 * Whether this package and these profiles belong together. Nothing of the settings goes into the package: a secret in it
 * would be in every Mac's receipts and on every share, and an address in it would be changed by a new package only.
 */
export function checkSettings(file: string, { backend, mdm, serial }: LoadOptions, organisation: string, now: Date): Fits {
  const fix = 'an admin corrects the settings file of the profiles, or --org';
  try {
    const it = loadSettings(file, { backend, mdm, serial });
    if (it.organisation !== organisation) throw new PackageFailed(`${file} is of ${it.organisation}, and --org says ${organisation}`, fix, 78);
    const certificate = new X509Certificate(it.escrowCertificateDer);
    if (certificate.validToDate < now)
      throw new PackageFailed(`${file}: the escrow certificate ended on ${certificate.validTo}`, 'an admin makes a new escrow key pair', 78);
    return {
      organisation,
      serverUrl: it.serverUrl,
      escrowCertificate: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
      team: it.teamIdentifier ?? null,
    };
  } catch (error) {
    if (error instanceof Problem) throw new PackageFailed(`${file}: ${error.message}`, error.kind.fix, 78);
    throw error;
  }
}
