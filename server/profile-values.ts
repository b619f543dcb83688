import { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { readAuthority, readTlsIdentity } from './authorities.ts';
import { pem, readPem } from './certificates.ts';
import type { CommandResult } from './command.ts';
import { existingFolder } from './data-folder.ts';
import { readEscrowCertificates } from './escrow-keys.ts';
import { readSettings } from './settings.ts';
import { tlsFilesOf } from './tls-keeper.ts';

/** What the settings profile and the escrow payload of the Macs are made from. Nothing in it is secret. */
export function profileValues(dir: string): CommandResult {
  const paths = existingFolder(resolve(dir));
  const settings = readSettings(paths.settings);
  const [newest] = readEscrowCertificates(paths.escrow);
  const chain = readPem(readTlsIdentity(tlsFilesOf(paths, settings)).certificate.toString('utf8'));
  // Roots that are in no bundle: our own TLS CA, or that of the organisation where its chain brings it.
  const trusted = chain.filter((der) => {
    const certificate = new X509Certificate(der);
    return certificate.ca && certificate.issuer === certificate.subject;
  });
  // Macs trust the next CA before anything is issued from it.
  if (existsSync(paths.nextTlsCa.certificate)) trusted.push(readAuthority(paths.nextTlsCa).der);
  const values = {
    serverUrl: settings.serverUrl,
    organisation: settings.organisation,
    escrowCertificate: newest ? pem('CERTIFICATE', newest.der) : '',
    escrowCertificateDigest: newest?.digest ?? '',
    trustedCertificates: trusted.map((der) => pem('CERTIFICATE', der)),
    checkInMinutes: settings.keys.checkInMinutes,
  };
  return { json: values, text: JSON.stringify(values, null, 2) };
}
