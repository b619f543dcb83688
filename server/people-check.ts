import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { Problem } from '../protocol/problems.ts';
import { readPem } from './certificates.ts';
import { readLogo } from './logo.ts';
import type { PeopleSettings } from './people-settings.ts';
import type { ServerSettings } from './settings.ts';

/**
 * What the settings for people name and what of it does not hold together, all of it at once. Never the content of a file.
 * `leftOut`: settings that were wrong in themselves; nothing is said twice of them, nor of what holds them.
 */
export function checkPeople(people: PeopleSettings, settings: Pick<ServerSettings, 'listen' | 'serverUrl'>, leftOut: readonly string[] = []): void {
  const found: string[] = [];

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
  const secret = (where: string, file: string | null): void => {
    const text = file === null ? null : read(where, file, 'secret');
    if (text !== null && text.trim() === '') found.push(`${where}: ${file} is empty`);
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
    found.push(`${where}: ${file} is no PEM file with certificates`);
    return null;
  }

  const { tls, signIn, mail, brand, selfService } = people;
  if (people.listen.port === settings.listen.port && (people.listen.host ?? settings.listen.host ?? '') === (settings.listen.host ?? people.listen.host ?? ''))
    found.push('people.listen.port: is the port of the listener for Macs');
  if (people.url === settings.serverUrl) found.push('people.url: is the address of the listener for Macs');

  if (tls) {
    const certificate = certificates('people.tls.certificate', tls.certificate);
    const text = read('people.tls.key', tls.key, 'secret');
    try {
      if (text !== null && certificate && !certificate.checkPrivateKey(createPrivateKey(text)))
        found.push('people.tls.key: is not the key of people.tls.certificate');
    } catch {
      found.push(`people.tls.key: ${tls.key} is no private key in PEM without a passphrase`);
    }
  }

  for (const [at, provider] of signIn.providers.entries()) {
    const where = `people.signIn.providers.${at}`;
    if (signIn.providers.findIndex(({ id }) => id === provider.id) !== at) found.push(`${where}.id: ${provider.id} is there twice`);
    if (!provider.scopes.includes('openid')) found.push(`${where}.scopes: openid is missing`);
    secret(`${where}.clientSecretFile`, provider.clientSecretFile);
    certificates(`${where}.trustedCertificatesFile`, provider.trustedCertificatesFile);
  }
  if (!signIn.localAccounts && signIn.providers.length === 0)
    found.push('people.signIn: no local accounts and no provider: nobody but the emergency accounts could sign in');

  for (const [at, { group }] of selfService.groups.entries()) {
    if (selfService.groups.findIndex((one) => one.group === group) !== at) found.push(`people.selfService.groups.${at}.group: ${group} is there twice`);
  }

  if (mail?.smtp) {
    const { user, passwordFile, trustedCertificatesFile } = mail.smtp;
    if ((user === null) !== (passwordFile === null)) found.push('people.mail.smtp: user and passwordFile go together');
    secret('people.mail.smtp.passwordFile', passwordFile);
    certificates('people.mail.smtp.trustedCertificatesFile', trustedCertificatesFile);
  }

  if (brand.logoFile !== null) {
    try {
      readLogo(brand.logoFile);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      found.push(error.detail ?? error.message);
    }
  }
  const wrong = found.filter((mistake) => !leftOut.some((setting) => setting === settingOf(mistake) || setting.startsWith(`${settingOf(mistake)}.`)));
  if (wrong.length > 0) throw new Problem('SERVER_SETTINGS_INVALID', wrong.join('; '));
}

const settingOf = (mistake: string): string => mistake.slice(0, mistake.indexOf(':'));
