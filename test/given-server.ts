import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll } from '@jest/globals';
import type { DeliveryRequest } from '../protocol/messages.ts';
import { pem } from '../server/certificates.ts';
import { folderPaths } from '../server/data-folder.ts';
import type { Rate, RateName } from '../server/limits.ts';
import { silentLog } from '../server/log.ts';
import { type Serving, serve } from '../server/serve.ts';
import { deviceCa, sealedDelivery, type TestMac } from './device-calls.ts';
import { makeDataFolder, passphrase } from './made-backend.ts';
import { freePort } from './ports.ts';
import { scratch } from './scratch.ts';
import { type Client, clientOf } from './tls-client.ts';

export {
  checkInBody,
  deviceCa,
  deviceIdentity,
  enrol,
  factsOf,
  foreignCa,
  newMac,
  newPair,
  newUuid,
  type TestMac,
} from './device-calls.ts';

export { freePort, passphrase };

const running: Serving[] = [];
afterAll(async () => {
  for (const serving of running.splice(0)) await serving.stop();
});

export interface GivenServer {
  serving: Serving;
  client: Client;
  dir: string;
  url: string;
  ca: string;
  restart(): Promise<void>;
}

/** A backend as `init` makes it and `serve` runs it, with RSA-2048 for speed. */
export async function givenServer(
  options: { deviceCas?: boolean | string; settings?: object; rates?: Partial<Record<RateName, Rate>> } = {},
): Promise<GivenServer> {
  const folder = scratch('sparekey-server');
  const dir = join(folder, 'data');
  const port = await freePort();
  const caFile = join(folder, 'device-ca.pem');
  writeFileSync(caFile, typeof options.deviceCas === 'string' ? options.deviceCas : pem('CERTIFICATE', deviceCa.certificateDer));
  await makeDataFolder(dir, port, { names: ['127.0.0.1', 'localhost'], deviceCaFiles: (options.deviceCas ?? true) ? [caFile] : [] });
  const paths = folderPaths(dir);
  const settings = JSON.parse(readFileSync(paths.settings, 'utf8'));
  writeFileSync(paths.settings, JSON.stringify({ ...settings, listen: { port, host: '127.0.0.1' }, ...options.settings }));
  const start = async () => {
    const serving = await serve({ dir, passphrase, log: silentLog, ...(options.rates ? { rates: options.rates } : {}) });
    running.push(serving);
    return serving;
  };
  const ca = readFileSync(paths.tlsCa.certificate, 'utf8');
  const given: GivenServer = {
    serving: await start(),
    client: clientOf(port, ca),
    dir,
    url: `https://127.0.0.1:${port}`,
    ca,
    async restart() {
      await given.serving.stop();
      given.serving = await start();
    },
  };
  return given;
}

/** An envelope of a new key for the backend's own certificate, and its delivery. */
export function delivery(given: GivenServer, mac: TestMac, more: Partial<DeliveryRequest> & { key?: string } = {}) {
  const certificate = given.serving.backend.escrowKeys.certificates[0];
  if (!certificate) throw new TypeError('no certificate');
  return sealedDelivery(certificate.der, mac, more);
}
