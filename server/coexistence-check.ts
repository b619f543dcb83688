import { Problem } from '../protocol/problems.ts';
import type { CoexistenceSettings } from './coexistence-settings.ts';
import { settingFiles, withoutLeftOut } from './setting-files.ts';
import type { ServerSettings } from './settings.ts';

/** A secret that is shared with another program, and good for saying things about every Mac. Characters. */
const leastShared = 24;

/** As RFC 9110 has it; those that every client sends of itself are no secret. */
const headerName = /^(?!(?:host|content-type|content-length|user-agent|accept|connection|cookie|expect|transfer-encoding)$)[\w!#$%&'*+.^`|~-]+$/i;

/** What the settings for other systems name and what of it does not hold together, all of it at once. */
export function checkCoexistence(coexistence: CoexistenceSettings, settings: Pick<ServerSettings, 'listen' | 'people'>, leftOut: readonly string[] = []): void {
  const found: string[] = [];
  const { secret, certificates } = settingFiles(found);
  const { listen, webhook, nanomdm, crypt, connectors } = coexistence;
  const say = (setting: string, what: string): void => void found.push(`coexistence.${setting}: ${what}`);

  for (const [name, other] of [
    ['Macs', settings.listen],
    ['people', settings.people?.listen ?? null],
  ] as const) {
    if (listen && other && listen.port === other.port && (listen.host ?? other.host ?? '') === (other.host ?? listen.host ?? ''))
      say('listen.port', `is the port of the listener for ${name}`);
  }
  if (!listen && webhook) say('webhook', 'needs coexistence.listen: nobody could send an event');
  if (!listen && crypt) say('crypt', 'needs coexistence.listen: no client could reach it');
  if (webhook) secret('coexistence.webhook.hmacKeyFile', webhook.hmacKeyFile, leastShared);
  if (nanomdm) {
    if (!webhook) say('nanomdm', 'needs coexistence.webhook: its answers come by it');
    else if (webhook.server !== 'nanomdm')
      say('nanomdm', 'and a webhook of MicroMDM do not go together: what is asked of the one is not answered by the other');
    secret('coexistence.nanomdm.apiKeyFile', nanomdm.apiKeyFile);
    certificates('coexistence.nanomdm.trustedCertificatesFile', nanomdm.trustedCertificatesFile);
  }
  if (crypt) {
    if (crypt.identity === 'header' && !crypt.header) say('crypt.header', 'is needed where clients are known by a header');
    if (crypt.identity === 'none' && !crypt.acceptAnybody) say('crypt.acceptAnybody', 'must be true where no client has to show who it is');
    if (crypt.identity !== 'none' && crypt.acceptAnybody) say('crypt.acceptAnybody', 'is for `identity` "none" alone');
    if (crypt.header && !headerName.test(crypt.header.name)) say('crypt.header.name', 'is no name of a header such as X-Crypt-Token');
    secret('coexistence.crypt.header.valueFile', crypt.header?.valueFile ?? null, leastShared);
  }
  const { intune, jamf, fleet } = connectors;
  secret('coexistence.connectors.intune.clientSecretFile', intune?.clientSecretFile ?? null);
  secret('coexistence.connectors.jamf.clientSecretFile', jamf?.clientSecretFile ?? null);
  secret('coexistence.connectors.fleet.tokenFile', fleet?.tokenFile ?? null);
  for (const [name, connector] of Object.entries({ intune, jamf, fleet }))
    certificates(`coexistence.connectors.${name}.trustedCertificatesFile`, connector?.trustedCertificatesFile ?? null);

  const wrong = withoutLeftOut(found, leftOut);
  if (wrong.length > 0) throw new Problem('SERVER_SETTINGS_INVALID', wrong.join('; '));
}
