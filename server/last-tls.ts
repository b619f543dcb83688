import { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { isIP } from 'node:net';
import { dirname, join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { Problem } from '../protocol/problems.ts';
import { readTlsIdentity, type TlsIdentity } from './authorities.ts';
import { readPem } from './certificates.ts';
import type { CertificateAndKey, FolderPaths } from './data-folder.ts';
import { readPrivate, replacePrivate } from './private-files.ts';

/** Where the pair lies that was used last, of files that somebody else brings. */
function lastFiles({ tls }: FolderPaths): CertificateAndKey {
  const folder = dirname(tls.key);
  return { certificate: join(folder, 'last-certificate.pem'), key: join(folder, 'last-key.pem') };
}

/** Kept for a start on the day on which what was brought is broken. A crash between the two files leaves a pair that is none, and not used. */
export function keepLastTls(paths: FolderPaths, { certificate, key }: Pick<TlsIdentity, 'certificate' | 'key'>): void {
  const files = lastFiles(paths);
  const isThere = (file: string, bytes: Buffer): boolean => existsSync(file) && readPrivate(file).equals(bytes);
  if (!isThere(files.key, key)) replacePrivate(files.key, key);
  if (!isThere(files.certificate, certificate)) replacePrivate(files.certificate, certificate);
}

/** The pair that was used last; null where none was kept, or these files are ours to renew. */
function lastOf(paths: FolderPaths, files: CertificateAndKey): TlsIdentity | null {
  if (files.key === paths.tls.key || !existsSync(lastFiles(paths).certificate)) return null;
  try {
    return readTlsIdentity(lastFiles(paths));
  } catch {
    return null;
  }
}

/** The pair that the Macs know: what was used last, or our own where nothing else was ever used. */
export function knownTls(paths: FolderPaths, files: CertificateAndKey): TlsIdentity | null {
  if (files.key === paths.tls.key) return null;
  const last = lastOf(paths, files);
  if (last || !existsSync(paths.tls.certificate)) return last;
  try {
    return readTlsIdentity(paths.tls);
  } catch {
    return null;
  }
}

/**
 * What a listener begins with: what lies in its files, or else what was used last; and why. `judge` is for the Macs' listener: what
 * was refused while the backend ran must not be taken because it was started again, and the Macs be cut off by that.
 */
export function startingTls(
  paths: FolderPaths,
  files: CertificateAndKey,
  judge: { host: string; now: number } | null = null,
): { identity: TlsIdentity; refused: string | null } {
  const last = lastOf(paths, files);
  try {
    const fresh = readTlsIdentity(files);
    const known = judge && knownTls(paths, files);
    const refused = known && judge ? whyLast(fresh, known, judge) : null;
    return known && refused !== null ? { identity: known, refused } : { identity: fresh, refused: null };
  } catch (error) {
    if (!(error instanceof Problem) || !last) throw error;
    return { identity: last, refused: error.detail ?? error.code };
  }
}

/** Null where nothing speaks for the one that was used last. Whether the Macs trust another CA is asked once the backend runs. */
function whyLast(fresh: TlsIdentity, last: TlsIdentity, { host, now }: { host: string; now: number }): string | null {
  const before = new X509Certificate(last.certificate);
  if (before.raw.equals(new X509Certificate(fresh.certificate).raw) || before.validToDate.getTime() <= now) return null;
  const fault = faultOf(fresh, before, host, now);
  if (fault !== null || before.validToDate.getTime() - now < latest) return fault;
  return otherAuthority(fresh.certificate, last.certificate) ? 'it is of another CA, and whether the Macs trust that is looked at' : null;
}

const day = 24 * 60 * 60 * 1000;
/** So long before the end of the one in use a new one is taken although Macs do not trust its CA: with an ended one nobody gets in. */
export const latest = 7 * day;

export const isFor = (certificate: X509Certificate, host: string): boolean =>
  (isIP(host) ? certificate.checkIP(host) : certificate.checkHost(host)) !== undefined;

/** Why the new one is not used in place of the old one; null where it is. */
export function faultOf(fresh: TlsIdentity, before: X509Certificate, host: string, now: number): string | null {
  const leaf = new X509Certificate(fresh.certificate);
  if (leaf.validToDate.getTime() <= now) return 'it has ended already';
  if (leaf.validFromDate.getTime() > now) return 'it is not valid yet';
  return isFor(before, host) && !isFor(leaf, host) ? `it is not for ${host}, as the one in use is` : null;
}

const topOf = (certificate: Buffer): X509Certificate | null => {
  const der = readPem(certificate.toString('utf8')).at(-1);
  return der ? new X509Certificate(der) : null;
};

/** The certificate on top of the new chain, where that ends at another CA than the one before, and not at one that every Mac knows. */
export function otherAuthority(fresh: Buffer, before: Buffer): X509Certificate | null {
  const [top, old] = [topOf(fresh), topOf(before)];
  if (!top || !old) return top;
  // Of an organisation's chain the root is often left out: then its name is all that is there to compare.
  const isItself = (one: X509Certificate): boolean => one.subject === one.issuer;
  if (top.issuer === old.issuer && !(isItself(top) && isItself(old) && !top.raw.equals(old.raw))) return null;
  const isPublic = rootCertificates.some((text) => {
    const root = new X509Certificate(text);
    return root.subject === top.issuer && top.verify(root.publicKey);
  });
  return isPublic ? null : top;
}
