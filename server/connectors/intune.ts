import { z } from 'zod';
import { readSerial } from '../formats/cells.ts';
import type { Outbound } from '../outbound.ts';
import { type Api, asked, clientToken, createApi, isId, keyReply, listReply, partOf, timeOf, unusable } from './api.ts';
import { End, type KeySource, type Listed, type Page, type Unusable } from './source.ts';

/*
 * Microsoft Graph. The shapes are those of learn.microsoft.com, as read in November 2026:
 * - graph/api/intune-devices-manageddevice-list (v1.0), and graph/paging for `@odata.nextLink`
 * - graph/api/intune-devices-manageddevice-getfilevaultkey and -rotatefilevaultkey (beta only), -syncdevice (v1.0)
 * - entra/identity-platform/v2-oauth2-client-creds-grant-flow
 * Not tried against a tenant.
 */
const product = 'Intune';
const macs = '/v1.0/deviceManagement/managedDevices';
const keys = '/beta/deviceManagement/managedDevices';
const firstPage = `${macs}?$filter=${encodeURIComponent("operatingSystem eq 'macOS'")}&$select=id,serialNumber,operatingSystem,lastSyncDateTime`;

const list = z.object({ value: z.array(z.unknown()), '@odata.nextLink': z.string().nullish() });
const device = z.object({ id: z.string().refine(isId), serialNumber: z.string(), operatingSystem: z.string(), lastSyncDateTime: z.unknown().optional() });
const keyValue = z.object({ value: z.string().nullable() });

export interface IntuneNeeds {
  tenant: string;
  clientId: string;
  secret: () => string;
  rotate: boolean;
  /** Its origin is where the next pages must be. */
  graphUrl: string;
  graph: Outbound;
  signIn: Outbound;
  uptime: () => number;
}

export function intuneSource({ tenant, clientId, secret, rotate, graphUrl, graph, signIn, uptime }: IntuneNeeds): KeySource {
  const token = clientToken({
    product,
    outbound: signIn,
    path: `/${encodeURIComponent(tenant)}/oauth2/v2.0/token`,
    form: () => ({ client_id: clientId, client_secret: secret(), scope: `${graphUrl}/.default` }),
    uptime,
  });
  const api = createApi(product, graph, token);
  const post = async (path: string) => asked(product, await api.ask({ method: 'POST', path }));
  return {
    name: 'intune',
    page: (position) => page(api, graphUrl, position ?? firstPage),
    key: async (id) =>
      keyReply(product, await api.ask({ method: 'GET', path: `${keys}/${id}/getFileVaultKey` }), keyValue, ({ value }) => ({
        text: value,
        madeAt: null,
        isAnothers: false,
      })),
    refresh: (id) => post(`${macs}/${id}/syncDevice`),
    rotate: rotate ? (id) => post(`${keys}/${id}/rotateFileVaultKey`) : null,
  };
}

async function page(api: Api, graphUrl: string, path: string): Promise<Page> {
  const reply = listReply(product, await api.ask({ method: 'GET', path }), list);
  const found: Listed[] = [];
  const others: Unusable[] = [];
  for (const entry of reply.value) {
    const read = device.safeParse(entry);
    // The filter asks for Macs alone; whoever answers without it is not believed to have listed Macs.
    if (read.success && read.data.operatingSystem.toLowerCase() !== 'macos') continue;
    const serial = read.success ? readSerial(read.data.serialNumber) : null;
    if (!read.success || typeof serial !== 'string') others.push(unusable(partOf(entry, 'id'), partOf(entry, 'serialNumber'), serial));
    else found.push({ id: read.data.id, serial, heardAt: timeOf(read.data.lastSyncDateTime), useless: null });
  }
  const next = reply['@odata.nextLink'] ?? null;
  return { macs: found, unusable: others, next: next === null ? null : pathWithin(graphUrl, next) };
}

/** The token goes where the next page is: to nobody but Graph, and for nothing but the list. */
function pathWithin(graphUrl: string, link: string): string {
  const url = URL.parse(link);
  if (url?.origin !== graphUrl || url.username !== '' || url.password !== '')
    throw new End(`${product}'s list goes on at another address (${url?.host || 'none'}): it is not followed`);
  if (url.pathname !== macs) throw new End(`${product}'s list goes on at another path: it is not followed`);
  return `${url.pathname}${url.search}`;
}
