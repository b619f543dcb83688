import { createHash, type X509Certificate } from 'node:crypto';
import type { ServerSettings } from './settings.ts';
import { tidySerial } from './tickets.ts';

export type SerialPattern = ServerSettings['serialPattern'];

/** Serial numbers as Apple writes them: 8 to 14 capital letters and digits. */
const appleSerial = /^[A-Z0-9]{8,14}$/;

/** An attribute that occurs once; what occurs twice names nobody. */
const once = (value: unknown): string | null => (typeof value === 'string' ? value : null);

/** `DNS:a, URI:"b, c"`: Node quotes what could be taken for two names. */
function alternativeNames(text: string | undefined): string[] {
  const entries = (text ?? '').match(/(?:[^,"]|"(?:[^"\\]|\\.)*")+/g) ?? [];
  return entries.map((entry) =>
    entry
      .trim()
      .replace(/^[^:]+:/, '')
      .replace(/^"(.*)"$/, '$1'),
  );
}

export const commonNameOf = (certificate: X509Certificate): string | null =>
  once((certificate.toLegacyObject().subject as unknown as Record<string, unknown>)['CN']);

/** The Mac's serial number as this certificate of a device CA says it, or null: then its subject is all that it proves. */
export function serialInCertificate(certificate: X509Certificate, pattern: SerialPattern): string | null {
  const subject = certificate.toLegacyObject().subject as unknown as Record<string, unknown>;
  if (!pattern) {
    const plain = once(subject['serialNumber']);
    if (plain) return tidySerial(plain);
    const name = once(subject['CN']);
    return name && appleSerial.test(name) ? name : null;
  }
  const form = new RegExp(pattern.pattern);
  const texts =
    pattern.in === 'alternativeName'
      ? alternativeNames(certificate.subjectAltName)
      : [once(subject[pattern.in === 'serialNumber' ? 'serialNumber' : 'CN'])].filter((text) => text !== null);
  const found = texts.map((text) => form.exec(text)?.[1]).filter((serial) => serial !== undefined && serial !== '');
  return found.length === 1 && found[0] ? tidySerial(found[0]) : null;
}

/** What a certificate without a serial proves: this subject, of this issuer. Node escapes line breaks inside names. */
export const subjectOf = (certificate: X509Certificate): string => `${certificate.issuer}\n\n${certificate.subject}`;

/** How the table of revoked certificates names one: issuer and serial number suffice, the certificate itself is not needed. */
export const revocationDigest = (certificate: X509Certificate): string =>
  createHash('sha256').update(`${certificate.issuer}\n\n${certificate.serialNumber}`).digest('hex');
