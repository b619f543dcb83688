import { createHash } from 'node:crypto';
import { z } from 'zod';
import { readSerial } from '../formats/cells.ts';
import type { Outbound } from '../outbound.ts';
import { asked, createApi, isId, keyReply, listReply, partOf, timeOf, unusable } from './api.ts';
import type { KeySource, Listed, Page, Unusable } from './source.ts';

/*
 * Fleet. The shapes are those of fleetdm.com/docs/rest-api/rest-api, as read in November 2026 (4.90): List hosts, Get host's
 * disk encryption key, Refetch host. Not tried against a server.
 */
const product = 'Fleet';
const pageSize = 100;

const list = z.object({ hosts: z.array(z.unknown()) });
const host = z.object({
  id: z.number().int().nonnegative(),
  platform: z.string(),
  hardware_serial: z.string(),
  seen_time: z.unknown().optional(),
  mdm: z.object({ encryption_key_available: z.unknown().optional() }).nullish(),
});
const hostKey = z.object({ host_id: z.number(), encryption_key: z.object({ key: z.string().nullable(), updated_at: z.unknown().optional() }) });

export interface FleetNeeds {
  /** Of an API-only user; read anew for each question. */
  token: () => string;
  fleet: Outbound;
}

export function fleetSource({ token, fleet }: FleetNeeds): KeySource {
  const api = createApi(product, fleet, { get: async () => token(), forget: () => {}, renews: false });
  return {
    name: 'fleet',
    async page(position) {
      const number = Number(position ?? 0);
      const path = `/api/v1/fleet/hosts?page=${number}&per_page=${pageSize}&order_key=id&order_direction=asc&disable_failing_policies=true`;
      return pageOf(listReply(product, await api.ask({ method: 'GET', path }), list).hosts, number);
    },
    key: async (id) =>
      keyReply(product, await api.ask({ method: 'GET', path: `/api/v1/fleet/hosts/${id}/encryption_key` }), hostKey, (reply) => ({
        text: reply.encryption_key.key,
        madeAt: timeOf(reply.encryption_key.updated_at),
        isAnothers: String(reply.host_id) !== id,
      })),
    refresh: async (id) => asked(product, await api.ask({ method: 'POST', path: `/api/v1/fleet/hosts/${id}/refetch` })),
    rotate: null,
  };
}

function pageOf(hosts: readonly unknown[], number: number): Page {
  const macs: Listed[] = [];
  const others: Unusable[] = [];
  for (const entry of hosts) {
    const read = host.safeParse(entry);
    // Linux, Windows and telephones have keys of other kinds.
    if (read.success && read.data.platform !== 'darwin') continue;
    const serial = read.success ? readSerial(read.data.hardware_serial) : null;
    if (!read.success || typeof serial !== 'string' || !isId(String(read.data.id))) {
      others.push(unusable(partOf(entry, 'id'), partOf(entry, 'hardware_serial'), serial));
      continue;
    }
    const { id, seen_time: seen, mdm } = read.data;
    const useless = mdm?.encryption_key_available === false ? 'Fleet has no key of it' : null;
    macs.push({ id: String(id), serial, heardAt: timeOf(seen), useless });
  }
  // A server may give fewer than it was asked for: only an empty page is the end.
  const mark = createHash('sha256')
    .update(JSON.stringify(hosts.map((entry) => partOf(entry, 'id'))))
    .digest('hex');
  return { macs, unusable: others, ...(hosts.length === 0 ? { next: null } : { next: String(number + 1), mark }) };
}
