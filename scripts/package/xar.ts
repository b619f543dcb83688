import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { deflateSync } from 'node:zlib';
import { bytesOf, type Contents, read } from './contents.ts';

/*
 * The container of a package: a header, a compressed table of contents in XML, and a heap. SHA-1 as productbuild writes it to
 * this day, since macOS refuses a container without a digest. It is no protection against anybody: the signature is.
 */

export interface Member {
  /** `folder/name` or `name`; members of one folder are neighbours. */
  path: string;
  contents: Contents;
  /** Archives are compressed already, and productbuild stores them as they are. */
  stored: boolean;
}

const digestBytes = 20;
const headerBytes = 28;
const sha1 = 1;

const sha1Of = (contents: Contents): string => {
  const hash = createHash('sha1');
  for (const chunk of read(contents)) hash.update(chunk);
  return hash.digest('hex');
};

export const escapeXml = (value: string): string => value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** Exactly these children: other readers of a table of contents refuse any that they do not know, and any that is missing. */
function fileXml(id: number, name: string, data: { kept: Contents; plain: Contents; offset: number; stored: boolean }): string {
  const { kept, plain, offset, stored } = data;
  const [keptSum, plainSum] = [sha1Of(kept), kept === plain ? null : sha1Of(plain)];
  // The type says gzip and means the stream of zlib.
  return `<file id="${id}"><name>${escapeXml(name)}</name><type>file</type><data><archived-checksum style="sha1">${keptSum}</archived-checksum><extracted-checksum style="sha1">${plainSum ?? keptSum}</extracted-checksum><encoding style="${stored ? 'application/octet-stream' : 'application/x-gzip'}"/><size>${bytesOf(plain)}</size><offset>${offset}</offset><length>${bytesOf(kept)}</length></data></file>`;
}

/** `created`: ISO 8601. Resolves with the size and the SHA-256 of the file. */
export async function writeXar(members: readonly Member[], created: string, to: string): Promise<{ bytes: number; sha256: string }> {
  const heap: Contents[] = [];
  const folders = new Map<string, string[]>();
  const top: (string | (() => string))[] = [];
  // The ids ascend in the order of the heap: rcodesign lays the heap anew in the order of ids.
  let id = 0;
  let offset = digestBytes;
  for (const { path, contents, stored } of members) {
    const [folder, name] = path.includes('/') ? [path.slice(0, path.indexOf('/')), path.slice(path.indexOf('/') + 1)] : [null, path];
    let inside: (string | (() => string))[] = top;
    if (folder !== null) {
      const known = folders.get(folder);
      const list: string[] = known ?? [];
      if (!known) {
        const folderId = ++id;
        folders.set(folder, list);
        top.push(() => `<file id="${folderId}"><name>${escapeXml(folder)}</name><type>directory</type>${list.join('')}</file>`);
      }
      inside = list;
    }
    const kept = stored ? contents : [deflateSync(Buffer.concat([...read(contents)]), { level: 9 })];
    inside.push(fileXml(++id, name, { kept, plain: contents, offset, stored }));
    heap.push(kept);
    offset += bytesOf(kept);
  }
  const files = top.map((one) => (typeof one === 'string' ? one : one())).join('');
  const toc = Buffer.from(
    `<?xml version="1.0" encoding="UTF-8"?>\n<xar><toc><creation-time>${created.slice(0, 19)}</creation-time><checksum style="sha1"><offset>0</offset><size>${digestBytes}</size></checksum>${files}</toc></xar>\n`,
  );
  const packed = deflateSync(toc, { level: 9 });
  const header = Buffer.alloc(headerBytes);
  header.write('xar!', 0, 'latin1');
  header.writeUInt16BE(headerBytes, 4);
  header.writeUInt16BE(1, 6); // version
  header.writeBigUInt64BE(BigInt(packed.length), 8);
  header.writeBigUInt64BE(BigInt(toc.length), 16);
  header.writeUInt32BE(sha1, 24);

  const hash = createHash('sha256');
  let bytes = 0;
  function* all() {
    const parts: Contents = [header, packed, createHash('sha1').update(packed).digest()];
    for (const part of [parts, ...heap])
      for (const chunk of read(part)) {
        hash.update(chunk);
        bytes += chunk.length;
        yield chunk;
      }
  }
  await pipeline(all, createWriteStream(to));
  return { bytes, sha256: hash.digest('hex') };
}
