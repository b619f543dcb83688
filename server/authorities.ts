import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { existsSync, readdirSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Problem } from '../protocol/problems.ts';
import { issueServerCertificate, pem, readPem } from './certificates.ts';
import type { CertificateAndKey, FolderPaths } from './data-folder.ts';
import { readPrivate, readPublic, replacePrivate, syncFolder } from './private-files.ts';

export interface Authority {
  der: Buffer;
  key: KeyObject;
}

const day = 24 * 60 * 60 * 1000;
/** The listener's own certificate; renewed when a third of it is left. */
export const serverCertificateDays = 397;

export function readAuthority(files: CertificateAndKey): Authority {
  const [der] = readPem(readPrivate(files.certificate).toString('utf8'));
  if (!der) throw new Problem('SERVER_SETTINGS_INVALID', `${files.certificate} holds no certificate`);
  return { der, key: createPrivateKey(readPrivate(files.key)) };
}

/** The certificates of device CAs, from every PEM file in their folder. What is no certificate is a mistake and not passed over. */
export function readDeviceCas(folder: string): Buffer[] {
  return deviceCaFiles(folder).flatMap((path) => checkDeviceCa(readPrivate(path), path));
}

/** What an editor leaves beside them, such as `ca.pem~` or `.ca.pem.swp`, is none. */
export function deviceCaFiles(folder: string): string[] {
  const names = existsSync(folder) ? readdirSync(folder) : [];
  return names
    .filter((name) => name.endsWith('.pem') && !name.startsWith('.'))
    .sort()
    .map((name) => join(folder, name));
}

export function checkDeviceCa(content: Buffer, name: string): Buffer[] {
  const found = readPem(content.toString('utf8'));
  try {
    if (found.length === 0) throw new TypeError('empty');
    for (const der of found) if (!new X509Certificate(der).ca) throw new TypeError('no CA');
    return found;
  } catch {
    throw new Problem('SERVER_SETTINGS_INVALID', `${name} holds something that is no CA certificate in PEM`);
  }
}

export interface TlsIdentity {
  certificate: Buffer;
  key: Buffer;
  notAfter: number;
}

/** The certificate of the Macs' listener, with its chain. Its key must be the one beside it. */
export function readTlsIdentity(files: CertificateAndKey): TlsIdentity {
  const certificate = readPublic(files.certificate);
  const key = readPrivate(files.key);
  return { certificate, key, notAfter: checkTlsIdentity(certificate, key, files) };
}

export function checkTlsIdentity(certificate: Buffer, key: Buffer, names: CertificateAndKey): number {
  let leaf: X509Certificate;
  let belongs: boolean;
  try {
    leaf = new X509Certificate(certificate);
    belongs = leaf.checkPrivateKey(createPrivateKey(key));
  } catch {
    throw new Problem('SERVER_SETTINGS_INVALID', `${names.certificate} or ${names.key} cannot be read: certificate and unencrypted key, in PEM`);
  }
  if (!belongs) throw new Problem('SERVER_SETTINGS_INVALID', `${names.key} is not the key of ${names.certificate}`);
  return leaf.validToDate.getTime();
}

/** Issues the listener's certificate anew where a third of its time is left. */
export function renewTlsCertificate(paths: FolderPaths, now: number): TlsIdentity | null {
  finishTlsChange(paths);
  const { certificate, notAfter } = readTlsIdentity(paths.tls);
  const isOfOurs =
    !existsSync(paths.tlsCa.certificate) || new X509Certificate(certificate).verify(new X509Certificate(readPublic(paths.tlsCa.certificate)).publicKey);
  return isOfOurs && notAfter - now > (serverCertificateDays / 3) * day ? null : reissueTlsCertificate(paths, now);
}

/** The next TLS CA becomes the one in use. Any step may be the last before a power cut: the next look goes on with it. */
export function useNextTlsCa(paths: FolderPaths, digest: string, now: number): void {
  // Kept: the way back, for as long as a Mac trusts it.
  renameSync(dirname(paths.tlsCa.key), `${dirname(paths.tlsCa.key)}-retired-${digest.slice(0, 12)}`);
  finishTlsChange(paths);
  reissueTlsCertificate(paths, now);
}

function finishTlsChange(paths: FolderPaths): void {
  const [used, next] = [dirname(paths.tlsCa.key), dirname(paths.nextTlsCa.key)];
  if (existsSync(used) || !existsSync(next)) return;
  renameSync(next, used);
  syncFolder(paths.dir);
}

/** Issues the listener's certificate anew from our own TLS CA, for the same key and names. */
function reissueTlsCertificate(paths: FolderPaths, now: number): TlsIdentity {
  const { certificate, key } = readTlsIdentity(paths.tls);
  const leaf = new X509Certificate(certificate);
  const ca = readAuthority(paths.tlsCa);
  const names = (leaf.subjectAltName ?? '').split(', ').map((name) => name.replace(/^(DNS|IP Address):/, ''));
  const publicKeyDer = leaf.publicKey.export({ type: 'spki', format: 'der' });
  const der = issueServerCertificate({ ca: ca.der, caKey: ca.key, names, publicKeyDer, at: new Date(now), days: serverCertificateDays });
  const renewed = Buffer.from(pem('CERTIFICATE', der) + pem('CERTIFICATE', ca.der));
  replacePrivate(paths.tls.certificate, renewed);
  return { certificate: renewed, key, notAfter: new X509Certificate(der).validToDate.getTime() };
}
