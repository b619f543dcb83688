import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { readPem } from './certificates.ts';

/** Looks at the files that settings name. What is wrong goes into `found`, by the name of the setting; never the content of a file. */
export function settingFiles(found: string[]) {
  /** The file's text; what keeps it from being read is noted. */
  function read(where: string, file: string, kind: 'secret' | 'plain'): string | null {
    try {
      const stat = statSync(file);
      if (!stat.isFile()) found.push(`${where}: ${file} is no file`);
      else if (kind === 'secret' && (stat.mode & 0o077) !== 0) found.push(`${where}: others can read ${file} (chmod 600)`);
      else return readFileSync(file, 'utf8');
    } catch (error) {
      found.push(`${where}: ${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
    }
    return null;
  }
  /** The first certificate in it. */
  function certificates(where: string, file: string | null): X509Certificate | null {
    const text = file === null ? null : read(where, file, 'plain');
    if (text === null) return null;
    try {
      const [first] = readPem(text).map((der) => new X509Certificate(der));
      if (first) return first;
    } catch {
      // Said below, as for a file without any.
    }
    found.push(`${where}: ${file} is no PEM file with certificates`);
    return null;
  }
  return {
    read,
    certificates,
    /** A certificate and its key. */
    identity(where: string, files: { certificate: string; key: string }): void {
      const certificate = certificates(`${where}.certificate`, files.certificate);
      const text = read(`${where}.key`, files.key, 'secret');
      try {
        if (text !== null && certificate && !certificate.checkPrivateKey(createPrivateKey(text)))
          found.push(`${where}.key: is not the key of ${where}.certificate`);
      } catch {
        found.push(`${where}.key: ${files.key} is no private key in PEM without a passphrase`);
      }
    },
    /** `least`: fewer characters could be guessed. */
    secret(where: string, file: string | null, least = 1): void {
      const text = file === null ? null : read(where, file, 'secret')?.trim();
      if (text === '') found.push(`${where}: ${file} is empty`);
      else if (text && text.length < least) found.push(`${where}: what ${file} holds is shorter than ${least} characters`);
    },
  };
}

const settingOf = (mistake: string): string => mistake.slice(0, mistake.indexOf(':'));

/** Nothing is said twice of settings that were wrong in themselves and were left out, nor of what holds them. */
export const withoutLeftOut = (found: readonly string[], leftOut: readonly string[]): string[] =>
  found.filter((mistake) => !leftOut.some((setting) => setting === settingOf(mistake) || setting.startsWith(`${settingOf(mistake)}.`)));
