import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { Problem } from '../protocol/problems.ts';
import { readPem } from './certificates.ts';
import { readLogo } from './logo.ts';
import type { PeopleSettings } from './people-settings.ts';
import type { ServerSettings } from './settings.ts';

/** What the settings for people name and what of it does not hold together, all of it at once. Never the content of a file. */
export function checkPeople(people: PeopleSettings, settings: Pick<ServerSettings, 'listen' | 'serverUrl'>): void {
  const wrong: string[] = [];

  /** The file's text; what keeps it from being read is noted. */
  function read(where: string, file: string, kind: 'secret' | 'plain'): string | null {
    try {
      const found = statSync(file);
      if (!found.isFile()) wrong.push(`${where}: ${file} is no file`);
      else if (kind === 'secret' && (found.mode & 0o077) !== 0) wrong.push(`${where}: others can read ${file} (chmod 600)`);
      else return readFileSync(file, 'utf8');
    } catch (error) {
      wrong.push(`${where}: ${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
    }
    return null;
  }
  const secret = (where: string, file: string | null): void => {
    const text = file === null ? null : read(where, file, 'secret');
    if (text !== null && text.trim() === '') wrong.push(`${where}: ${file} is empty`);
  };
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
    wrong.push(`${where}: ${file} is no PEM file with certificates`);
    return null;
  }

  const { tls, signIn, mail, brand, selfService } = people;
  if (people.listen.port === settings.listen.port && (people.listen.host ?? settings.listen.host ?? '') === (settings.listen.host ?? people.listen.host ?? ''))
    wrong.push('people.listen.port: is the port of the listener for Macs');
  if (people.url === settings.serverUrl) wrong.push('people.url: is the address of the listener for Macs');

  if (tls) {
    const certificate = certificates('people.tls.certificate', tls.certificate);
    const text = read('people.tls.key', tls.key, 'secret');
    try {
      if (text !== null && certificate && !certificate.checkPrivateKey(createPrivateKey(text)))
        wrong.push('people.tls.key: is not the key of people.tls.certificate');
    } catch {
      wrong.push(`people.tls.key: ${tls.key} is no private key in PEM without a passphrase`);
    }
  }

  for (const [at, provider] of signIn.providers.entries()) {
    const where = `people.signIn.providers.${at}`;
    if (signIn.providers.findIndex(({ id }) => id === provider.id) !== at) wrong.push(`${where}.id: ${provider.id} is there twice`);
    if (!provider.scopes.includes('openid')) wrong.push(`${where}.scopes: openid is missing`);
    secret(`${where}.clientSecretFile`, provider.clientSecretFile);
    certificates(`${where}.trustedCertificatesFile`, provider.trustedCertificatesFile);
  }
  if (!signIn.localAccounts && signIn.providers.length === 0)
    wrong.push('people.signIn: no local accounts and no provider: nobody but the emergency accounts could sign in');

  for (const [at, { group }] of selfService.groups.entries()) {
    if (selfService.groups.findIndex((one) => one.group === group) !== at) wrong.push(`people.selfService.groups.${at}.group: ${group} is there twice`);
  }

  if (mail?.smtp) {
    const { user, passwordFile, trustedCertificatesFile } = mail.smtp;
    if ((user === null) !== (passwordFile === null)) wrong.push('people.mail.smtp: user and passwordFile go together');
    secret('people.mail.smtp.passwordFile', passwordFile);
    certificates('people.mail.smtp.trustedCertificatesFile', trustedCertificatesFile);
  }

  if (brand.logoFile !== null) {
    try {
      readLogo(brand.logoFile);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      wrong.push(error.detail ?? error.message);
    }
  }
  if (wrong.length > 0) throw new Problem('SERVER_SETTINGS_INVALID', wrong.join('; '));
}
