/* The profiles of a Mac, as /usr/bin/profiles lists them for root: every profile of the Mac and of its users, with its payloads. */
import { asDictionary, parsePlist } from '../agent/mac/plist.ts';
import type { Runner } from '../agent/world.ts';
import { Problem } from '../protocol/problems.ts';
import { textOf } from './lint-parts.ts';
import { type Dictionary, isDictionary } from './schema-check.ts';

export interface InstalledPayload {
  type: string;
  uuid: string;
  /** Its own keys, without those that every payload has; empty where macOS does not show them. */
  own: Dictionary;
}

export interface InstalledProfile {
  identifier: string;
  uuid: string;
  displayName: string;
  organisation: string;
  /** Null: the whole Mac; otherwise the user's name. */
  user: string | null;
  payloads: InstalledPayload[];
}

const wholeMac = '_computerlevel';
const none = /There are no configuration profiles installed/;

export async function askMac(runner: Runner): Promise<InstalledProfile[]> {
  const ran = await runner.run({ program: '/usr/bin/profiles', args: ['-C', '-o', 'stdout-xml'], outputLimit: 8 * 1024 * 1024, timeoutSeconds: 60 });
  if (ran.failed === 'not-found')
    throw new Problem(
      'USAGE',
      'there is no /usr/bin/profiles here; on the Mac: sudo profiles -C -o stdout-xml > installed.xml, here: --installed installed.xml',
    );
  if (ran.failed === 'timeout') throw new Problem('MACOS_SILENT', '/usr/bin/profiles');
  if (ran.code !== 0 && /root/i.test(`${ran.stderr}${ran.stdout}`)) throw new Problem('NOT_ROOT', 'macOS shows the payloads of profiles to root only');
  if (ran.code !== 0) throw new Problem('MACOS_UNEXPECTED', `/usr/bin/profiles -C ended with ${ran.code ?? ran.failed}`);
  return readList(ran.stdout);
}

export async function readList(list: Uint8Array): Promise<InstalledProfile[]> {
  const listed = asDictionary(await parsePlist(list));
  if (listed === null) {
    // With no profile at all there is no list, only this sentence.
    if (none.test(Buffer.from(list).toString('utf8'))) return [];
    throw new Problem('MACOS_UNEXPECTED', 'the list of profiles is no property list of the form that is known');
  }
  return Object.entries(listed).flatMap(([level, profiles]) =>
    (Array.isArray(profiles) ? profiles.filter(isDictionary) : []).map((profile) => ({
      identifier: textOf(profile['ProfileIdentifier']),
      uuid: textOf(profile['ProfileUUID']).toUpperCase(),
      displayName: textOf(profile['ProfileDisplayName']),
      organisation: textOf(profile['ProfileOrganization']),
      user: level === wholeMac ? null : level,
      payloads: (Array.isArray(profile['ProfileItems']) ? profile['ProfileItems'].filter(isDictionary) : []).map((item) => ({
        type: textOf(item['PayloadType']),
        uuid: textOf(item['PayloadUUID']).toUpperCase(),
        own: ownKeys(item),
      })),
    })),
  );
}

const everyPayload = /^Payload(Type|Version|Identifier|UUID|DisplayName|Description|Organization|Enabled|Scope|RemovalDisallowed)$/;

/**
 * The keys that are a payload's own. macOS lists them within `PayloadContent`; in a profile they stand beside the common ones, but
 * for SCEP and managed preferences, which have that dictionary themselves. So every such dictionary is lifted: both then read alike.
 */
export function ownKeys(payload: Dictionary): Dictionary {
  return Object.fromEntries(
    Object.entries(payload)
      .filter(([key]) => !everyPayload.test(key))
      .flatMap(([key, value]) => (key === 'PayloadContent' && isDictionary(value) ? Object.entries(ownKeys(value)) : [[key, value] as [string, unknown]])),
  );
}
