import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { certificateDigest, openEnvelope, openEnvelopeAside, recipientNames } from '../protocol/envelope.ts';
import { Problem } from '../protocol/problems.ts';
import type { RecoveryKey } from '../protocol/recovery-key.ts';
import { pem } from './certificates.ts';
import { decryptPrivateKey } from './encrypted-key.ts';
import type { EscrowCertificate, EscrowKeys } from './parts.ts';
import { readPrivate, writePrivate } from './private-files.ts';

/** Writes one version of the escrow key pair; its private key is encrypted before it comes to the disk. */
export function writeEscrowKey(folder: string, encryptedKey: string, certificateDer: Buffer): string {
  const digest = certificateDigest(certificateDer);
  writePrivate(join(folder, `${digest}.key.pem`), encryptedKey);
  writePrivate(join(folder, `${digest}.certificate.pem`), pem('CERTIFICATE', certificateDer));
  return digest;
}

function describe(der: Buffer): EscrowCertificate {
  const key = createPublicKey(new X509Certificate(der).publicKey.export({ type: 'spki', format: 'pem' }));
  const bits = key.asymmetricKeyDetails?.modulusLength;
  if (key.asymmetricKeyType !== 'rsa' || !bits) throw new Problem('SERVER_SETTINGS_INVALID', 'an escrow certificate has no RSA key');
  return { digest: certificateDigest(der), der, names: recipientNames(der), modulusBytes: Math.ceil(bits / 8) };
}

/** The versions in the folder, newest certificate first. */
export function readEscrowCertificates(folder: string): EscrowCertificate[] {
  const found = readdirSync(folder)
    .filter((name) => name.endsWith('.certificate.pem'))
    .map((name) => new X509Certificate(readPrivate(join(folder, name))));
  if (found.length === 0) throw new Problem('DATA_FOLDER_MISSING', `${folder} has no escrow certificate`);
  found.sort((a, b) => b.validFromDate.getTime() - a.validFromDate.getTime());
  return found.map((certificate) => describe(certificate.raw));
}

/**
 * All escrow key pairs of the folder. Without a passphrase the server can name its certificates and open nothing.
 * Every private key is opened at start: a wrong passphrase shows itself then and not on the day it is needed.
 */
export function openEscrowKeys(folder: string, passphrase: string | null): EscrowKeys {
  const certificates = readEscrowCertificates(folder);
  const opened = certificates.map((certificate) => {
    if (passphrase === null) return { certificate, privateKey: null };
    const privateKey = decryptPrivateKey(readPrivate(join(folder, `${certificate.digest}.key.pem`)), passphrase);
    const same = new X509Certificate(certificate.der).checkPrivateKey(privateKey);
    if (!same) throw new Problem('SERVER_SETTINGS_INVALID', `the escrow key ${certificate.digest.slice(0, 12)} does not belong to its certificate`);
    return { certificate, privateKey };
  });
  return {
    certificates,
    canOpen: passphrase !== null,
    async open(envelope) {
      if (passphrase === null) return 'no-opener';
      for (const { certificate, privateKey } of opened) {
        const key = privateKey ? await openEnvelopeAside(envelope, privateKey, certificate.der) : 'unreadable';
        if (key !== 'unreadable') return key;
      }
      return 'unreadable';
    },
  };
}

/** The key in an envelope, by whichever of these pairs it is sealed to; each answers `unreadable` for what is not addressed to it. */
export function openWith(pairs: readonly { certificate: Buffer; privateKey: KeyObject }[], envelope: Uint8Array): RecoveryKey | 'unreadable' {
  for (const { certificate, privateKey } of pairs) {
    const key = openEnvelope(envelope, privateKey, certificate);
    if (key !== 'unreadable') return key;
  }
  return 'unreadable';
}
