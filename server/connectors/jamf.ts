import { z } from 'zod';
import { readSerial } from '../formats/cells.ts';
import type { Outbound } from '../outbound.ts';
import { clientToken, createApi, isId, keyReply, listReply, partOf, timeOf, unusable } from './api.ts';
import { End, type KeySource, type Listed, type Page, type Unusable } from './source.ts';

/*
 * Jamf Pro API. The shapes are those of developer.jamf.com/jamf-pro, as read in November 2026 (11.32):
 * - docs/client-credentials: POST /api/oauth/token
 * - reference/get_v3-computers-inventory, get_v3-computers-inventory-id-filevault; v4 has the same fields here, v2 and v1
 *   are what older servers have
 * The call that returns the keys of all computers at once is not used: it would be a view of every key. Not tried against a server.
 */
const product = 'Jamf Pro';
const pageSize = 200;
const versions = ['v3', 'v4', 'v2', 'v1'] as const;

const list = z.object({ totalCount: z.number().int().nonnegative(), results: z.array(z.unknown()) });
const computer = z.object({
  id: z.string().refine(isId),
  general: z.object({ lastContactTime: z.unknown().optional(), lastContact: z.unknown().optional() }).nullish(),
  hardware: z.object({ serialNumber: z.string() }),
  diskEncryption: z.object({ individualRecoveryKeyValidityStatus: z.unknown().optional() }).nullish(),
});
const fileVault = z.object({ computerId: z.union([z.string(), z.number()]), personalRecoveryKey: z.string().nullable() });

export interface JamfNeeds {
  clientId: string;
  secret: () => string;
  jamf: Outbound;
  uptime: () => number;
}

export function jamfSource({ clientId, secret, jamf, uptime }: JamfNeeds): KeySource {
  const form = () => ({ client_id: clientId, client_secret: secret() });
  const api = createApi(product, jamf, clientToken({ product, outbound: jamf, path: '/api/oauth/token', form, uptime }));
  /** Which version this server has is seen by the first page. */
  let version: string | null = null;
  return {
    name: 'jamf',
    async page(position) {
      // Which page, and how many Macs were on those before it: a server may give fewer on a page than it was asked for.
      const [number = 0, before = 0] = (position ?? '0/0').split('/').map(Number);
      for (const one of version === null ? versions : [version]) {
        const answer = await api.ask({ method: 'GET', path: listPath(one, number) });
        if (version === null && answer.status === 404 && one !== versions.at(-1)) continue;
        version = one;
        return pageOf(listReply(product, answer, list), number, before);
      }
      throw new Error('there is always a version');
    },
    async key(id) {
      const answer = await api.ask({ method: 'GET', path: `/api/${version ?? versions[0]}/computers-inventory/${id}/filevault` });
      return keyReply(product, answer, fileVault, ({ computerId, personalRecoveryKey }) => ({
        text: personalRecoveryKey,
        madeAt: null,
        isAnothers: String(computerId) !== id,
      }));
    },
    // Its own check of a key comes with the Mac's next inventory; no call for it is documented for API clients.
    refresh: null,
    rotate: null,
  };
}

const listPath = (version: string, page: number): string =>
  `/api/${version}/computers-inventory?section=GENERAL&section=HARDWARE&section=DISK_ENCRYPTION&page=${page}&page-size=${pageSize}&sort=id:asc`;

function pageOf({ totalCount, results }: z.infer<typeof list>, number: number, before: number): Page {
  const listed = before + results.length;
  if (results.length === 0 && listed < totalCount) throw new End(`${product}'s list ended after ${listed} of ${totalCount} Macs: nothing was forgotten`);
  const macs: Listed[] = [];
  const others: Unusable[] = [];
  for (const entry of results) {
    const read = computer.safeParse(entry);
    const serial = read.success ? readSerial(read.data.hardware.serialNumber) : null;
    if (!read.success || typeof serial !== 'string') {
      others.push(unusable(partOf(entry, 'id'), partOf(partOf(entry, 'hardware'), 'serialNumber'), serial));
      continue;
    }
    const { id, general, diskEncryption } = read.data;
    // Each wrong key that a Mac is asked about counts against it: what Jamf has found to be wrong is not asked about.
    const isWrong = diskEncryption?.individualRecoveryKeyValidityStatus === 'INVALID';
    const useless = isWrong ? 'Jamf Pro says that the key it has does not open this Mac (INVALID)' : null;
    macs.push({ id, serial, heardAt: timeOf(general?.lastContactTime ?? general?.lastContact), useless });
  }
  return { macs, unusable: others, next: listed >= totalCount ? null : `${number + 1}/${listed}` };
}
