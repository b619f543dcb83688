import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Problem } from '../protocol/problems.ts';
import { issueServerCertificate, pem, readPem } from './certificates.ts';
import type { CertificateAndKey, FolderPaths } from './data-folder.ts';
import { readPrivate, readPublic, replacePrivate } from './private-files.ts';

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
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith('.pem'))
    .sort()
    .flatMap((name) => checkDeviceCa(readPrivate(join(folder, name)), join(folder, name)));
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

/** Issues the listener's certificate anew from our own TLS CA, for the same key and names. */
export function renewTlsCertificate(paths: FolderPaths, now: number): TlsIdentity | null {
  const { certificate, key, notAfter } = readTlsIdentity(paths.tls);
  if (notAfter - now > (serverCertificateDays / 3) * day) return null;
  const leaf = new X509Certificate(certificate);
  const ca = readAuthority(paths.tlsCa);
  const names = (leaf.subjectAltName ?? '').split(', ').map((name) => name.replace(/^(DNS|IP Address):/, ''));
  const publicKeyDer = leaf.publicKey.export({ type: 'spki', format: 'der' });
  const der = issueServerCertificate({ ca: ca.der, caKey: ca.key, names, publicKeyDer, at: new Date(now), days: serverCertificateDays });
  const renewed = Buffer.from(pem('CERTIFICATE', der) + pem('CERTIFICATE', ca.der));
  replacePrivate(paths.tls.certificate, renewed);
  return { certificate: renewed, key, notAfter: new X509Certificate(der).validToDate.getTime() };
}
