import { Problem } from '../../protocol/problems.ts';
import type { CoexistenceSettings } from '../coexistence-settings.ts';
import type { Log } from '../log.ts';
import { secretIn, trustedIn } from '../neighbour-files.ts';
import { createOutbound, type Outbound, type OutboundOptions } from '../outbound.ts';
import { fleetSource } from './fleet.ts';
import { intuneSource } from './intune.ts';
import { jamfSource } from './jamf.ts';
import type { ConnectorName, KeySource } from './source.ts';

export interface OpenConnector {
  source: KeySource;
  everyHours: number;
  isStopping(): boolean;
  chance(): number;
  close(): void;
}

/** How time passes; tests have their own. */
export type Pace = Pick<OutboundOptions, 'uptime' | 'wait' | 'totalSeconds' | 'waitSeconds' | 'chance'>;

type Connectors = CoexistenceSettings['connectors'];

/** Those that the settings name. Nothing is asked yet. */
export function openConnectors(connectors: Connectors, log: Log, pace: Pace = {}): OpenConnector[] {
  const { intune, jamf, fleet } = connectors;
  const uptime = pace.uptime ?? (() => performance.now());
  return [
    ...(intune
      ? [
          opened(intune, log, pace, (ask) => {
            const { tenant, clientId, rotate, graphUrl } = intune;
            const [graph, signIn] = [ask(graphUrl), ask(intune.signInUrl)];
            return intuneSource({ tenant, clientId, rotate, graphUrl, graph, signIn, uptime, secret: () => notEmpty(intune.clientSecretFile) });
          }),
        ]
      : []),
    ...(jamf
      ? [opened(jamf, log, pace, (ask) => jamfSource({ clientId: jamf.clientId, jamf: ask(jamf.url), uptime, secret: () => notEmpty(jamf.clientSecretFile) }))]
      : []),
    ...(fleet ? [opened(fleet, log, pace, (ask) => fleetSource({ fleet: ask(fleet.url), token: () => notEmpty(fleet.tokenFile) }))] : []),
  ];
}

export const namesOf = (connectors: Connectors): ConnectorName[] => (['intune', 'jamf', 'fleet'] as const).filter((name) => connectors[name] !== null);

function opened(
  settings: { everyHours: number; requestsPerMinute: number; trustedCertificatesFile: string | null; proxy: string | null },
  log: Log,
  pace: Pace,
  make: (ask: (origin: string) => Outbound) => KeySource,
): OpenConnector {
  const outbounds: Outbound[] = [];
  let stopping = false;
  const trusted = trustedIn(settings.trustedCertificatesFile);
  const source = make((origin) => {
    const outbound = createOutbound({ origin, trusted, proxy: settings.proxy, ratePerMinute: settings.requestsPerMinute, log, ...pace });
    outbounds.push(outbound);
    return outbound;
  });
  return {
    source,
    everyHours: settings.everyHours,
    isStopping: () => stopping,
    chance: pace.chance ?? Math.random,
    close() {
      stopping = true;
      for (const outbound of outbounds) outbound.close();
    },
  };
}

function notEmpty(file: string): string {
  const text = secretIn(file).toString('utf8');
  if (text === '') throw new Problem('SERVER_SETTINGS_INVALID', `${file} is empty`);
  return text;
}
