import { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
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

/** What a listener begins with: what lies in its files, or else what was used last; and why. */
export function startingTls(paths: FolderPaths, files: CertificateAndKey): { identity: TlsIdentity; refused: string | null } {
  try {
    return { identity: readTlsIdentity(files), refused: null };
  } catch (error) {
    if (files.key === paths.tls.key || !(error instanceof Problem) || !existsSync(lastFiles(paths).certificate)) throw error;
    try {
      return { identity: readTlsIdentity(lastFiles(paths)), refused: error.detail ?? error.code };
    } catch {
      throw error;
    }
  }
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
