import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { issueServerCertificate, makeCa, pem } from '../server/certificates.ts';
import { coexistenceSettings } from '../server/coexistence-settings.ts';
import { type OpenConnector, openConnectors } from '../server/connectors/open.ts';
import type { ConnectorName } from '../server/connectors/source.ts';
import type { Log } from '../server/log.ts';
import { scratch } from './scratch.ts';

/*
 * Local stand-ins of Microsoft Graph, Jamf Pro and Fleet, over HTTPS, that reply as their makers document it. Whatever a
 * test wants to go wrong, `it.instead` says.
 */

export interface Device {
  /** A number, as Jamf and Fleet have it; Intune's id is made of it. */
  id: number;
  serial: string;
  key: string | null;
  heardAt?: string;
  madeAt?: string;
  /** What the entry has otherwise, whichever product it is. */
  more?: object;
}

export interface Reply {
  status?: number;
  headers?: Record<string, string>;
  body?: unknown;
  /** Nothing is answered, or the connection is cut. */
  end?: 'hang' | 'cut';
}

export interface Asked {
  method: string;
  /** With its query. */
  path: string;
  authorization: string;
  body: string;
}

export const secretOf = { intune: 'the-secret-of-intune~Q8', jamf: 'the-secret-of-jamf-pro', fleet: 'the-token-of-fleet==' } as const;
export const intuneId = (id: number): string => `705c034c-034c-705c-4c03-${String(id).padStart(12, '0')}`;

const at = new Date(Date.now() - 3_600_000);
const ca = makeCa({ commonName: 'CA of a product', years: 2, at });
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const certificate = issueServerCertificate({
  ca: ca.certificateDer,
  caKey: ca.privateKey,
  publicKeyDer: pair.publicKey.export({ type: 'spki', format: 'der' }),
  names: ['127.0.0.1'],
  at,
  days: 30,
});

export async function productsAt() {
  const folder = scratch('connectors');
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
  const files = {
    trusted: file('trusted.pem', pem('CERTIFICATE', ca.certificateDer)),
    intune: file('intune', `${secretOf.intune}\n`),
    jamf: file('jamf', `${secretOf.jamf}\n`),
    fleet: file('fleet', `${secretOf.fleet}\n`),
  };
  const clock = { now: 0, waits: [] as number[], chance: 1 };

  const it = {
    url: '',
    files,
    devices: [] as Device[],
    /** Entries on a page of Intune. */
    pageSize: 2,
    jamfVersion: 'v3',
    /** Entries on a page of Jamf Pro and Fleet, however many are asked for. */
    mostOnPage: 1000,
    asked: [] as Asked[],
    /** Tokens that were given, and for how many seconds they are said to be good. */
    tokens: [] as string[],
    tokenSeconds: 3599,
    /** For an answer: what is waited for in earnest. A machine that is busy needs some. */
    totalSeconds: 60,
    instead: null as ((asked: Asked, path: string) => Reply | null) | null,
    clock,
    /** What was asked of a kind, by the end of the path. */
    views: (): string[] => it.asked.filter(({ path }) => /getFileVaultKey$|\/filevault$|\/encryption_key$/.test(path)).map(({ path }) => path),
    reset() {
      Object.assign(it, {
        devices: [],
        asked: [],
        tokens: [],
        instead: null,
        pageSize: 2,
        jamfVersion: 'v3',
        mostOnPage: 1000,
        tokenSeconds: 3599,
        totalSeconds: 60,
      });
      Object.assign(clock, { waits: [], chance: 1 });
    },
    settings(name: ConnectorName, more: object = {}) {
      const common = { requestsPerMinute: 600, trustedCertificatesFile: files.trusted, ...more };
      const client = { clientId: '0d1c-client', clientSecretFile: files[name === 'fleet' ? 'jamf' : name] };
      const one = {
        intune: { tenant: 'contoso.example', ...client, signInUrl: it.url, graphUrl: it.url, ...common },
        jamf: { url: it.url, ...client, ...common },
        fleet: { url: it.url, tokenFile: files.fleet, ...common },
      }[name];
      return coexistenceSettings.parse({ connectors: { [name]: one } });
    },
    connector(name: ConnectorName, log: Log, more: object = {}): OpenConnector {
      const pace = {
        uptime: () => clock.now,
        wait: async (milliseconds: number) => {
          clock.waits.push(milliseconds);
          clock.now += milliseconds;
        },
        totalSeconds: it.totalSeconds,
        chance: () => clock.chance,
      };
      const [connector] = openConnectors(it.settings(name, more).connectors, log, pace);
      if (!connector) throw new Error('there is none');
      return connector;
    },
    close: async (): Promise<void> => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };

  function reply(asked: Asked): Reply {
    const url = new URL(asked.path, it.url);
    const special = it.instead?.(asked, url.pathname) ?? null;
    if (special) return special;
    if (/\/oauth2\/v2\.0\/token$|^\/api\/oauth\/token$/.test(url.pathname)) return token(asked, url.pathname);
    const bearer = asked.authorization.replace(/^Bearer /, '');
    if (!it.tokens.includes(bearer) && bearer !== secretOf.fleet) return { status: 401, body: { error: { code: 'InvalidAuthenticationToken' } } };
    if (url.pathname.includes('/deviceManagement/')) return graph(asked.method, url);
    if (url.pathname.startsWith('/api/v1/fleet/')) return fleet(asked.method, url);
    return jamf(url);
  }

  function token(asked: Asked, path: string): Reply {
    const form = new URLSearchParams(asked.body);
    const secret = path.startsWith('/api/') ? secretOf.jamf : secretOf.intune;
    if (form.get('grant_type') !== 'client_credentials' || form.get('client_secret') !== secret)
      return {
        status: 401,
        body: { error: 'invalid_client', error_description: `AADSTS7000215: Invalid client secret provided: ${form.get('client_secret')}` },
      };
    if (secret === secretOf.intune && form.get('scope') !== `${it.url}/.default`) return { status: 400, body: { error: 'invalid_scope' } };
    it.tokens.push(`token-number-${it.tokens.length + 1}-of-a-client`);
    return { body: { token_type: 'Bearer', expires_in: it.tokenSeconds, access_token: it.tokens.at(-1) } };
  }

  function graph(method: string, url: URL): Reply {
    const [, version, id, act] = /^\/(v1\.0|beta)\/deviceManagement\/managedDevices(?:\/([^/]+)\/(\w+))?$/.exec(url.pathname) ?? [];
    if (id === undefined) {
      if (url.searchParams.get('$filter') !== "operatingSystem eq 'macOS'") return { status: 400, body: { error: { code: 'BadRequest' } } };
      const from = Number(url.searchParams.get('$skiptoken') ?? 0);
      const some = it.devices.slice(from, from + it.pageSize);
      const after = new URLSearchParams(url.searchParams);
      after.set('$skiptoken', String(from + it.pageSize));
      const link = from + it.pageSize < it.devices.length ? { '@odata.nextLink': `${it.url}${url.pathname}?${after}` } : {};
      const value = some.map((device) => ({
        id: intuneId(device.id),
        serialNumber: device.serial,
        operatingSystem: 'macOS',
        lastSyncDateTime: device.heardAt ?? '2026-11-20T10:00:00Z',
        ...device.more,
      }));
      return { body: { '@odata.context': `${it.url}/v1.0/$metadata#deviceManagement/managedDevices`, '@odata.count': some.length, value, ...link } };
    }
    const device = it.devices.find((one) => intuneId(one.id) === id);
    if (!device) return { status: 404, body: { error: { code: 'ResourceNotFound' } } };
    if (method === 'POST') return { status: (act === 'syncDevice') === (version === 'v1.0') ? 204 : 404 };
    if (device.key === null) return { status: 404, body: { error: { code: 'ResourceNotFound', message: 'no key' } } };
    return { body: { '@odata.context': `${it.url}/beta/$metadata#Edm.String`, value: device.key } };
  }

  function jamf(url: URL): Reply {
    const [, version, id] = /^\/api\/(v\d)\/computers-inventory(?:\/([^/]+)\/filevault)?$/.exec(url.pathname) ?? [];
    if (version !== it.jamfVersion) return { status: 404, body: { httpStatus: 404, errors: [] } };
    if (id === undefined) {
      const page = Number(url.searchParams.get('page'));
      const size = Math.min(Number(url.searchParams.get('page-size')), it.mostOnPage);
      const results = it.devices.slice(page * size, (page + 1) * size).map((device) => ({
        id: String(device.id),
        general: { name: `Mac ${device.id}`, lastContactTime: device.heardAt ?? '2026-11-20T10:00:00.123Z' },
        hardware: { make: 'Apple', serialNumber: device.serial },
        diskEncryption: { individualRecoveryKeyValidityStatus: 'VALID', institutionalRecoveryKeyPresent: false },
        ...device.more,
      }));
      return { body: { totalCount: it.devices.length, results } };
    }
    const device = it.devices.find((one) => String(one.id) === id);
    if (!device) return { status: 404, body: { httpStatus: 404, errors: [] } };
    return {
      body: {
        computerId: id,
        name: `Mac ${id}`,
        personalRecoveryKey: device.key,
        bootPartitionEncryptionDetails: { partitionName: 'Macintosh HD', partitionFileVault2State: 'ENCRYPTED', partitionFileVault2Percent: 100 },
        individualRecoveryKeyValidityStatus: 'VALID',
        institutionalRecoveryKeyPresent: false,
        diskEncryptionConfigurationName: 'FileVault',
      },
    };
  }

  function fleet(method: string, url: URL): Reply {
    const [, id, act] = /^\/api\/v1\/fleet\/hosts(?:\/(\d+)\/(\w+))?$/.exec(url.pathname) ?? [];
    if (id === undefined) {
      const page = Number(url.searchParams.get('page'));
      const size = Math.min(Number(url.searchParams.get('per_page')), it.mostOnPage);
      const hosts = it.devices.slice(page * size, (page + 1) * size).map((device) => ({
        id: device.id,
        platform: 'darwin',
        hardware_serial: device.serial,
        seen_time: device.heardAt ?? '2026-11-20T10:00:00Z',
        mdm: { enrollment_status: 'On (automatic)', encryption_key_available: device.key !== null },
        ...device.more,
      }));
      return { body: { hosts } };
    }
    const device = it.devices.find((one) => String(one.id) === id);
    if (!device || (act === 'encryption_key' && device.key === null)) return { status: 404, body: { message: 'Resource Not Found', errors: [] } };
    if (method === 'POST') return { status: act === 'refetch' ? 200 : 404, body: {} };
    return { body: { host_id: device.id, encryption_key: { key: device.key, updated_at: device.madeAt ?? '2026-11-01T05:31:43Z' } } };
  }

  const server = createServer(
    { key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }), cert: pem('CERTIFICATE', certificate) },
    async (request, response) => {
      const asked = await readAsked(request);
      it.asked.push(asked);
      const { status = 200, headers = {}, body, end } = reply(asked);
      if (end === 'cut') return void request.socket.destroy();
      if (end === 'hang') return;
      response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers }).end(body === undefined ? '' : JSON.stringify(body));
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  it.url = `https://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`;
  return it;
}

async function readAsked(request: IncomingMessage): Promise<Asked> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return {
    method: request.method ?? '',
    path: request.url ?? '',
    authorization: request.headers.authorization ?? '',
    body: Buffer.concat(chunks).toString('utf8'),
  };
}
