import type { Backend } from './backend.ts';
import { pem } from './certificates.ts';
import type { CoexistenceSettings } from './coexistence-settings.ts';
import { type OpenConnector, openConnectors } from './connectors/open.ts';
import { addCrypt } from './crypt/crypt-routes.ts';
import type { DeviceIdentity } from './device-identity.ts';
import { buildHttp, type HttpApp, type TlsFiles } from './http.ts';
import { type ConnectionLimits, connectionLimits } from './limits.ts';
import type { Log } from './log.ts';
import { createNanoMdm } from './mdm/nanomdm.ts';
import type { MdmSettings } from './mdm/take-event.ts';
import { addWebhook } from './mdm/webhook-routes.ts';
import { secretIn, trustedIn } from './neighbour-files.ts';
import { createOutbound, type Outbound } from './outbound.ts';
import type { Peers } from './proxy.ts';

export interface NeighboursGround {
  backend: Backend;
  settings: CoexistenceSettings;
  tls: Omit<TlsFiles, 'clientCas'>;
  /** DER: by their certificates Crypt's clients are known. */
  deviceCas: readonly Buffer[];
  identity: DeviceIdentity;
  limits: Partial<ConnectionLimits>;
  peers: Peers;
  /** Told of each header that says who a Mac is and may not. */
  onHeaderRefused?: (address: string, why: string) => void;
  /** A socket that systemd opened, in place of the settings' port. */
  fd: number | null;
  log: Log;
  /** What this machine's clock says, which may step back: for comparing it with another one's. */
  wallNow?: () => number;
  every(milliseconds: number, name: string, work: () => Promise<void>): void;
}

export interface Neighbours {
  /** The listener; null where nobody calls us. */
  http: HttpApp | null;
  listen(): Promise<number>;
  /** Ends what is asked of others. The listener is stopped with the rest. */
  close(): void;
}

const second = 1000;

/** Other systems: what they may say to this backend, on a listener of its own, and what comes round of what it asks of them. */
export function mountNeighbours(ground: NeighboursGround): Neighbours {
  const { backend, settings, tls, log, every } = ground;
  const outbounds: Outbound[] = [];
  const { listen, webhook, nanomdm, crypt } = settings;
  const http = listen
    ? buildHttp({
        tls: { ...tls, clientCas: ground.deviceCas.map((der) => pem('CERTIFICATE', der)) },
        limits: { ...connectionLimits, ...ground.limits },
        log,
        peers: ground.peers,
      })
    : null;

  const mdm: MdmSettings = {
    server: webhook?.server ?? 'nanomdm',
    canAsk: nanomdm !== null,
    canRotate: nanomdm?.rotate ?? false,
    everyHours: nanomdm?.securityInfoEveryHours ?? 24,
  };
  if (http && webhook) {
    const key = secretIn(webhook.hmacKeyFile);
    addWebhook({ http, mdm: backend.custody.mdm, wallNow: ground.wallNow ?? Date.now, log, key, windowMinutes: webhook.windowMinutes, settings: mdm });
    every(60 * second, 'mdm', () => backend.custody.mdm.sweep(mdm));
  }
  if (nanomdm) {
    const outbound = createOutbound({ origin: nanomdm.url, trusted: trustedIn(nanomdm.trustedCertificatesFile), log });
    outbounds.push(outbound);
    const api = createNanoMdm(outbound, secretIn(nanomdm.apiKeyFile).toString('utf8'));
    every(600 * second, 'mdm-rotations', () => backend.custody.mdm.rotateDue(mdm));
    every(20 * second, 'nanomdm', async () => void (await backend.custody.mdm.sendDue(api)));
  }

  if (http && crypt) {
    const header = crypt.header && { name: crypt.header.name.toLowerCase(), value: secretIn(crypt.header.valueFile) };
    const { store, custody } = backend;
    const { serialPattern } = backend.settings;
    addCrypt({
      http,
      crypt: custody.crypt,
      identity: ground.identity,
      store,
      serialPattern,
      demands: crypt.identity,
      header,
      log,
      onHeaderRefused: ground.onHeaderRefused,
    });
  }

  const connectors: OpenConnector[] = openConnectors(settings.connectors, log);
  for (const connector of connectors) {
    const { name } = connector.source;
    every(60 * second, `connector-${name}`, async () => {
      try {
        await backend.custody.connectors.runDue(connector);
      } finally {
        await backend.custody.connectors.watch(connector);
      }
    });
    every(60 * second, `connector-${name}-asks`, () => backend.custody.connectors.tend(connector));
  }

  return {
    http,
    listen: async () => (http && listen ? http.listen(ground.fd === null ? listen : { fd: ground.fd }) : 0),
    close() {
      for (const outbound of outbounds) outbound.close();
      for (const connector of connectors) connector.close();
    },
  };
}
