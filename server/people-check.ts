import { isIP } from 'node:net';
import { Problem } from '../protocol/problems.ts';
import { readLogo } from './logo.ts';
import { sharesPort } from './one-port.ts';
import type { PeopleSettings } from './people-settings.ts';
import { settingFiles, withoutLeftOut } from './setting-files.ts';
import type { ServerSettings } from './settings.ts';

/**
 * What the settings for people name and what of it does not hold together, all of it at once. Never the content of a file.
 * `leftOut`: settings that were wrong in themselves; nothing is said twice of them, nor of what holds them.
 */
export function checkPeople(
  people: PeopleSettings,
  settings: Pick<ServerSettings, 'listen' | 'serverUrl' | 'otherUrls' | 'proxy'>,
  leftOut: readonly string[] = [],
): void {
  const found: string[] = [];

  const { secret, certificates, identity } = settingFiles(found);
  const { tls, signIn, mail, brand, selfService } = people;
  const { hostname } = new URL(people.url);
  const hasOtherName = [settings.serverUrl, ...settings.otherUrls].every((url) => new URL(url).hostname !== hostname);
  // One port for both: the name that a client asks for decides.
  if (sharesPort({ ...settings, people }) && hasOtherName) {
    if (isIP(hostname.replace(/^\[|\]$/g, '')) !== 0) found.push('people.url: must have a name and not an address, where both listeners have one port');
  } else if (
    people.listen.port === settings.listen.port &&
    (people.listen.host ?? settings.listen.host ?? '') === (settings.listen.host ?? people.listen.host ?? '')
  )
    found.push('people.listen.port: is the port of the listener for Macs');
  if (people.url === settings.serverUrl) found.push('people.url: is the address of the listener for Macs');

  if (tls) identity('people.tls', tls);

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
  const wrong = withoutLeftOut(found, leftOut);
  if (wrong.length > 0) throw new Problem('SERVER_SETTINGS_INVALID', wrong.join('; '));
}
