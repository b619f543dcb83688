import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { deviceCaFiles } from './authorities.ts';
import { readPem } from './certificates.ts';
import { when } from './command.ts';
import type { FolderPaths } from './data-folder.ts';
import { readEscrowCertificates } from './escrow-keys.ts';
import type { ServerSettings } from './settings.ts';
import { isOwnCertificate, tlsFilesOf } from './tls-keeper.ts';

const day = 24 * 60 * 60 * 1000;
/** Days before its end at which somebody is told of a certificate, once each. */
const steps = [7, 30, 60] as const;

interface Dated {
  what: string;
  notBefore: number;
  notAfter: number;
}

export interface Ending {
  what: string;
  notAfter: number;
  /** Days; 0: it has ended. */
  step: number;
}

/** Every certificate that this backend stands on. What cannot be read is left out: `settings check` says that. */
export function certificatesOf(paths: FolderPaths, settings: ServerSettings): Dated[] {
  const found: Dated[] = [];
  const add = (what: string, der: Uint8Array): void => {
    const { validFromDate, validToDate } = new X509Certificate(der);
    found.push({ what, notBefore: validFromDate.getTime(), notAfter: validToDate.getTime() });
  };
  const inFile = (what: string, file: string | null | undefined): void => {
    if (!file) return;
    try {
      for (const der of readPem(readFileSync(file, 'utf8'))) add(`${what} (${file})`, der);
    } catch {
      // No certificate, or none that may be read.
    }
  };
  const { people, coexistence } = settings;
  const { certificate } = tlsFilesOf(paths, settings);
  inFile('certificate of the Macs’ listener', certificate);
  inFile('certificate of the listener for people', people?.tls?.certificate);
  inFile('certificate of the listener for admins', settings.console?.tls?.certificate);
  // Of an organisation's own chain its CA stands in the file above.
  if (isOwnCertificate(settings)) inFile('CA of the listener', paths.tlsCa.certificate);
  inFile('next CA of the listener', paths.nextTlsCa.certificate);
  inFile('CA of the agents', paths.agentCa.certificate);
  for (const path of deviceCaFiles(paths.deviceCas)) inFile('device CA', path);
  try {
    // Older ones open what was sealed to them, and nothing is sealed to them any more.
    const [newest] = readEscrowCertificates(paths.escrow);
    if (newest) add(`escrow certificate ${newest.digest.slice(0, 12)}`, newest.der);
  } catch {
    // As above.
  }
  for (const provider of people?.signIn.providers ?? []) inFile(`trusted for the provider ${provider.id}`, provider.trustedCertificatesFile);
  inFile('trusted for mail', people?.mail?.smtp?.trustedCertificatesFile);
  inFile('trusted for NanoMDM', coexistence?.nanomdm?.trustedCertificatesFile);
  for (const [name, connector] of Object.entries(coexistence?.connectors ?? {})) inFile(`trusted for ${name}`, connector?.trustedCertificatesFile);
  return found;
}

/** One that lives for 90 days is renewed when 30 are left: a word at 60 and 30 would be said of each, and mean nothing. */
function stepOf({ notBefore, notAfter }: Dated, now: number): number | null {
  const left = notAfter - now;
  if (left <= 0) return 0;
  const lifetime = notAfter - notBefore;
  const fitting = steps.filter((step) => step * day <= lifetime / 4);
  const few = fitting.length > 0 ? fitting : [Math.max(1, Math.floor(lifetime / day / 4))];
  return few.find((step) => left <= step * day) ?? null;
}

/** Those that somebody has to see to, the most urgent first. */
export function endingCertificates(paths: FolderPaths, settings: ServerSettings, now: number): Ending[] {
  return certificatesOf(paths, settings)
    .flatMap((dated) => {
      const step = stepOf(dated, now);
      return step === null ? [] : [{ what: dated.what, notAfter: dated.notAfter, step }];
    })
    .sort((one, other) => one.notAfter - other.notAfter);
}

/** The same words until its next step. */
export const sayEnding = ({ what, notAfter, step }: Ending): string =>
  step === 0 ? `${what}: ended on ${when(notAfter)}` : `${what}: ends on ${when(notAfter)}, in less than ${step === 1 ? 'a day' : `${step} days`}`;
