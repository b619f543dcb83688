import { Problem } from '../protocol/problems.ts';
import type { ConsoleSettings } from './console-settings.ts';
import { isNearlyEverybody } from './networks.ts';
import { settingFiles, withoutLeftOut } from './setting-files.ts';
import type { ServerSettings } from './settings.ts';

type Others = Pick<ServerSettings, 'listen' | 'serverUrl' | 'otherUrls' | 'people' | 'coexistence' | 'proxy'>;
interface Listen {
  host: string | null;
  port: number;
}

const meets = (one: Listen, other: Listen): boolean => one.port === other.port && (one.host === null || other.host === null || one.host === other.host);

/** What the settings for admins name and what of it does not hold together, all of it at once. `leftOut` as of `checkPeople`. */
export function checkConsole(console: ConsoleSettings, settings: Others, leftOut: readonly string[] = []): void {
  const found: string[] = [];
  const { read, identity } = settingFiles(found);
  if (!settings.people) found.push('console: needs `people`, for admins sign in as people do');
  const others = [
    { what: 'Macs', listen: settings.listen },
    ...(settings.people ? [{ what: 'people', listen: settings.people.listen }] : []),
    ...(settings.coexistence?.listen ? [{ what: 'other systems', listen: settings.coexistence.listen }] : []),
  ];
  for (const { what, listen } of others) if (meets(console.listen, listen)) found.push(`console.listen: is where the listener for ${what} is`);
  if ([settings.serverUrl, ...settings.otherUrls].includes(console.url)) found.push('console.url: is the address of the listener for Macs');
  if (settings.people?.url === console.url) found.push('console.url: is the address of the site for people');
  if (settings.proxy?.plain && console.listen.host === null) found.push('console.listen.host: must be one address where proxy.plain is true');
  if (console.tls) identity('console.tls', console.tls);
  for (const text of (console.networks ?? []).filter(isNearlyEverybody))
    found.push(`console.networks: ${text} is nearly everybody: leave networks out, or name your own`);
  const token = console.metricsTokenFile === null ? null : read('console.metricsTokenFile', console.metricsTokenFile, 'secret')?.trim();
  if (token != null && !/^[!-~]{24,512}$/.test(token))
    found.push(`console.metricsTokenFile: what ${console.metricsTokenFile} holds is no token of 24 to 512 signs without spaces (openssl rand -hex 32)`);
  const wrong = withoutLeftOut(found, leftOut);
  if (wrong.length > 0) throw new Problem('SERVER_SETTINGS_INVALID', wrong.join('; '));
}

/** Right for a try-out, and to be thought of where many work. */
export function notesOnConsole({ console }: Pick<ServerSettings, 'console'>): string[] {
  if (!console) return ['console: left out, so there is no site for admins (docs/console.md)'];
  const { listen, networks, metricsTokenFile, tls } = console;
  const isHere = listen.host === '127.0.0.1' || listen.host === '::1' || listen.host === 'localhost';
  return [
    ...(networks || isHere ? [] : ['console.networks: left out: whoever reaches its address can try to sign in at the admins’ site']),
    ...(metricsTokenFile || networks ? [] : ['console.metricsTokenFile: left out, and console.networks too: nobody can read /metrics']),
    ...(tls ? [] : ['console.tls: left out: the console shows the certificate of the Macs’ listener']),
  ];
}
