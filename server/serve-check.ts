import { existsSync } from 'node:fs';
import { isIP } from 'node:net';
import { resolve } from 'node:path';

import { Problem } from '../protocol/problems.ts';
import { acmeNames } from './acme/renewal.ts';
import { oddDeviceCas } from './archive.ts';
import { checkWebhooks } from './auditing/webhooks-check.ts';
import { readAuthority, readDeviceCas, readTlsIdentity } from './authorities.ts';
import { collectMistakes } from './backend.ts';
import { readPem } from './certificates.ts';
import { checkCoexistence } from './coexistence-check.ts';
import { checkConsole } from './console-check.ts';
import { existingFolder, tooOpen } from './data-folder.ts';
import { startingTls } from './last-tls.ts';
import { isNearlyEverybody } from './networks.ts';
import { checkPeople } from './people-check.ts';
import { readPublic, tryWriting } from './private-files.ts';
import { readServerSecrets } from './server-secrets.ts';
import { readableSettings, readSettings, type ServerSettings } from './settings.ts';
import { tlsFilesOf } from './tls-keeper.ts';

/** Everything that can be wrong with a data folder, found in one go. */
export const checkDataFolder = (dir: string, canOpen: boolean): void => mistakesOf(dir, canOpen, true).refuse();

/** `mayStartWithLast`: with the certificate that was used last in place of one that is broken. */
export function mistakesOf(dir: string, canOpen: boolean, mayStartWithLast = false): ReturnType<typeof collectMistakes> {
  const paths = existingFolder(resolve(dir));
  const mistakes = collectMistakes();
  mistakes.attempt(() => {
    const open = tooOpen(paths);
    if (open.length > 0) throw new Problem('FILE_TOO_OPEN', open.join(', '));
  });
  mistakes.attempt(() => tryWriting(paths.dir));
  const settings = mistakes.attempt(() => readSettings(paths.settings));
  mistakes.attempt(() => readServerSecrets(paths.secrets));
  mistakes.attempt(() => readAuthority(paths.agentCa));
  const { rest, wrong = [] } = settings ? { rest: settings } : (readableSettings(paths.settings) ?? {});
  mistakes.attempt(() => {
    const files = rest ? tlsFilesOf(paths, rest) : paths.tls;
    return mayStartWithLast ? startingTls(paths, files).identity : readTlsIdentity(files);
  });
  mistakes.attempt(() => {
    const odd = oddDeviceCas(paths.deviceCas);
    if (odd.length > 0) throw new Problem('SERVER_SETTINGS_INVALID', odd.join('; '));
    readDeviceCas(paths.deviceCas);
  });
  mistakes.attempt(() => {
    if (rest) checkProxy(rest);
  });
  mistakes.attempt(() => {
    if (rest) checkAcme(rest);
  });
  mistakes.attempt(() => {
    if (rest?.people) checkPeople(rest.people, rest, wrong);
  });
  mistakes.attempt(() => {
    if (rest?.console) checkConsole(rest.console, rest, wrong);
  });
  mistakes.attempt(() => {
    if (rest?.coexistence) checkCoexistence(rest.coexistence, rest, wrong);
  });
  mistakes.attempt(() => {
    if (rest) checkWebhooks(rest, wrong);
  });
  mistakes.attempt(() => {
    // It could promise grants and never give one.
    if (rest && !canOpen && rest.keys.grants !== 'never')
      throw new Problem('SERVER_SETTINGS_INVALID', 'keys.grants: must be "never" in a server that was started with --sealed');
  });
  return mistakes;
}

/**
 * Who may say by a header which Mac it is, or from where somebody comes, must not be everybody. Without TLS nothing else is left than the address: so that is for
 * a listener that is not everywhere.
 */
function checkProxy({ proxy, listen, people }: ServerSettings): void {
  if (!proxy) return;
  const found = [
    ...(proxy.plain && listen.host === null ? ['listen.host: must be one address where proxy.plain is true'] : []),
    ...(proxy.plain && people && people.listen.host === null ? ['people.listen.host: must be one address where proxy.plain is true'] : []),
    ...proxy.addresses
      .filter(isNearlyEverybody)
      .map((text) => `proxy.addresses: ${text} is everybody, and each could say that it is any Mac, or comes from anywhere: name the proxies themselves`),
  ];
  if (found.length > 0) throw new Problem('SERVER_SETTINGS_INVALID', found.join('; '));
}

/** The portal has the certificate of the Macs' listener, at an address of its own: there nobody answers the CA but that listener, which is not there. */
const isElsewhere = ({ listen, people }: ServerSettings): boolean =>
  people !== null &&
  !people.tls &&
  people.listen.host !== null &&
  people.listen.host !== listen.host &&
  (listen.host !== null || listen.port === people.listen.port);

/** What is wrong with a PEM file of certificates. */
function wrongWithPem(file: string): string | null {
  try {
    return readPem(readPublic(file).toString('utf8')).length > 0 ? null : `${file} has no certificate`;
  } catch (error) {
    return error instanceof Problem && error.detail ? error.detail : `${file} has no certificate that can be read`;
  }
}

/** A CA looks for a name at this backend itself: where it cannot come, each try would fail. */
function checkAcme(settings: ServerSettings): void {
  const { tls, proxy } = settings;
  if (!tls.acme) return;
  const trusted = tls.acme.trustedCertificatesFile;
  const addresses = acmeNames(settings).filter((name) => isIP(name) || !name.includes('.'));
  const found = [
    ...(tls.files ? ['tls.acme: leave out tls.files, or this: only one of them can bring the certificate'] : []),
    ...(proxy ? ['tls.acme: what a proxy ends the TLS of has its certificate there: leave out tls.acme, or the proxy'] : []),
    ...(isElsewhere(settings)
      ? ['tls.acme: the CA comes to people.listen.host too, where nobody answers it: make it the address of listen.host, or give people.tls files of its own']
      : []),
    ...addresses.map((name) => `tls.acme: ${name} is no name in the DNS, and a CA gives a certificate for nothing else`),
    ...[tls.acme.external?.keyFile, trusted].flatMap((file) => (file && !existsSync(file) ? [`tls.acme: ${file} is not there`] : [])),
    ...(trusted && existsSync(trusted) && wrongWithPem(trusted) ? [`tls.acme.trustedCertificatesFile: ${wrongWithPem(trusted)}`] : []),
  ];
  if (found.length > 0) throw new Problem('SERVER_SETTINGS_INVALID', found.join('; '));
}
