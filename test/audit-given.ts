import { dirname, join } from 'node:path';
import { inflateRawSync } from 'node:zlib';
import type { Backend } from '../server/backend.ts';
import { folderPaths } from '../server/data-folder.ts';
import { silentLog } from '../server/log.ts';
import type { Admin, Permission, Scope } from '../server/permissions.ts';
import { checkSettings } from '../server/settings.ts';
import { type GivenServer, givenServer } from './server-parts.ts';

/** Custody with its audit, and with the folder in which the keys of the audit lie: as much of a backend as records need. */
export async function givenAuditing(): Promise<GivenServer & { backend: Backend }> {
  const server = await givenServer();
  const settings = checkSettings({ serverUrl: 'https://keys.example.org:8443', organisation: 'Example', listen: { port: 8443 } });
  const paths = folderPaths(join(dirname(server.file)));
  return { ...server, backend: { ...server, paths, settings, log: silentLog } as unknown as Backend };
}

/** An admin with these permissions, for all Macs or for those with a tag. */
export const adminWith = (permissions: readonly Permission[], scope: Scope = null): Admin => ({
  kind: 'person',
  name: 'ada',
  personId: 'p-ada',
  tokenId: null,
  service: false,
  grants: permissions.map((permission) => ({ permission, scope })),
  fresh: true,
});

/** The files of a ZIP, by its directory at the end, as any program reads it. */
export function unzipped(bytes: Buffer): Map<string, Buffer> {
  const end = bytes.lastIndexOf(Buffer.from([0x50, 0x4b, 5, 6]));
  const files = new Map<string, Buffer>();
  let at = bytes.readUInt32LE(end + 16);
  for (let n = bytes.readUInt16LE(end + 10); n > 0; n -= 1) {
    const [packed, nameLength, from] = [bytes.readUInt32LE(at + 20), bytes.readUInt16LE(at + 28), bytes.readUInt32LE(at + 42)];
    const name = bytes.toString('utf8', at + 46, at + 46 + nameLength);
    const data = from + 30 + bytes.readUInt16LE(from + 26) + bytes.readUInt16LE(from + 28);
    files.set(name, inflateRawSync(bytes.subarray(data, data + packed)));
    at += 46 + nameLength;
  }
  return files;
}

export async function wholeOf(content: AsyncIterable<string | Uint8Array>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of content) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
}
