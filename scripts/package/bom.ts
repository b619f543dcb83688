import type { Measured } from './contents.ts';

/*
 * The bill of materials: Installer keeps it as the receipt, `pkgutil --files` prints it, and at an upgrade what the old one
 * lists and the new one lacks is removed. A malformed one makes Installer fail or crash, so the records are as long as
 * Apple's own, and nodes are filled up to their size. All numbers are big-endian.
 */

const headerBytes = 512;
const nodeBytes = 4096;
const smallNodeBytes = 128;
/** A node has 12 bytes of its own, and 8 for each path. */
const pathsInNode = Math.floor((nodeBytes - 12) / 8);

const u8 = (value: number): Buffer => Buffer.from([value]);
const u16 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
};
const u32 = (...values: number[]): Buffer => {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, at) => {
    bytes.writeUInt32BE(value, 4 * at);
  });
  return bytes;
};

function pathInfo({ mode, contents, bytes, cksum }: Measured, mtime: number): Buffer {
  const isFolder = contents === null;
  return Buffer.concat([
    u8(isFolder ? 2 : 1),
    u8(1),
    u16(0x000f), // any processor
    u16((isFolder ? 0o040000 : 0o100000) | mode),
    u32(0, 0), // root, wheel
    u32(mtime, bytes),
    u8(1),
    u32(cksum, 0), // no target of a link
    Buffer.alloc(isFolder ? 0 : 4),
  ]);
}

function node(isLeaf: boolean, size: number, pairs: readonly (readonly [number, number])[] = [], next = 0, previous = 0): Buffer {
  const bytes = Buffer.alloc(size);
  Buffer.concat([u16(isLeaf ? 1 : 0), u16(pairs.length), u32(next, previous), ...pairs.map((pair) => u32(...pair))]).copy(bytes);
  return bytes;
}

const tree = (child: number, size: number, paths: number): Buffer => Buffer.concat([Buffer.from('tree'), u32(1, child, size, paths), u8(0)]);

/** `mtime` in seconds since 1970. The first entry is the volume itself; parents come before their children. */
export function writeBom(entries: readonly Measured[], mtime: number): Buffer {
  const blocks: Buffer[] = [Buffer.alloc(0)];
  const add = (block: Buffer): number => blocks.push(block) - 1;

  const bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  const variables: [string, number][] = [['BomInfo', add(u32(1, entries.length + 1, 1, 0, 0, bytes, 0))]];
  // The tree of paths needs the numbers of blocks that come after it.
  const pathsTree = add(Buffer.alloc(0));
  const top = add(Buffer.alloc(0));
  variables.push(['Paths', pathsTree]);
  const emptyTree = (size: number): number => {
    const at = add(Buffer.alloc(0));
    blocks[at] = tree(add(node(true, size)), size, 0);
    return at;
  };
  variables.push(['HLIndex', emptyTree(nodeBytes)]);
  const versions = add(Buffer.alloc(0));
  variables.push(['VIndex', versions]);
  blocks[versions] = Buffer.concat([u32(1, emptyTree(smallNodeBytes), 0), u8(0)]);
  variables.push(['Size64', emptyTree(nodeBytes)]);

  const ids = new Map<string, number>();
  const keys = entries.map((entry, at) => {
    const id = at + 1;
    ids.set(entry.path, id);
    const slash = entry.path.lastIndexOf('/');
    const parent = entry.path === '' ? 0 : ids.get(slash < 0 ? '' : entry.path.slice(0, slash));
    if (parent === undefined) throw new Error(`${entry.path} comes before its folder`);
    const name = Buffer.from(entry.path === '' ? '.' : entry.path.slice(slash + 1));
    const info = add(pathInfo(entry, mtime));
    const file = add(Buffer.concat([u32(parent), name, u8(0)]));
    return { parent, name, pair: [add(u32(id, info)), file] as const };
  });
  keys.sort((a, b) => a.parent - b.parent || Buffer.compare(a.name, b.name));

  const pages: (typeof keys)[] = [];
  for (let at = 0; at < keys.length; at += pathsInNode) pages.push(keys.slice(at, at + pathsInNode));
  if (pages.length > pathsInNode) throw new Error(`${keys.length} files are too many for one package`);
  const pairsOf = (page: typeof keys) => page.map(({ pair }) => pair);
  if (pages.length <= 1) blocks[top] = node(true, nodeBytes, pairsOf(keys));
  else {
    const leaves = pages.map(() => add(Buffer.alloc(0)));
    pages.forEach((page, at) => {
      blocks[leaves[at] as number] = node(true, nodeBytes, pairsOf(page), leaves[at + 1] ?? 0, leaves[at - 1] ?? 0);
    });
    blocks[top] = node(
      false,
      nodeBytes,
      pages.map((page, at) => [leaves[at] as number, page.at(-1)?.pair[1] as number] as const),
    );
  }
  blocks[pathsTree] = tree(top, nodeBytes, entries.length);
  return assemble(blocks, variables);
}

/** Header, blocks in their order, the named ones, and where each block lies. Block 0 is nothing. */
function assemble(blocks: readonly Buffer[], variables: readonly [string, number][]): Buffer {
  const named = Buffer.concat([u32(variables.length), ...variables.flatMap(([name, block]) => [u32(block), u8(name.length), Buffer.from(name)])]);
  let at = headerBytes;
  const places = blocks.map(({ length }, block) => {
    const place = block === 0 ? u32(0, 0) : u32(at, length);
    at += length;
    return place;
  });
  // Behind the places, the list of free ones: none, and two that are empty.
  const index = Buffer.concat([u32(blocks.length), ...places, u32(0), u32(0, 0, 0, 0)]);
  const header = Buffer.alloc(headerBytes);
  Buffer.concat([Buffer.from('BOMStore'), u32(1, blocks.length - 1, at + named.length, index.length, at, named.length)]).copy(header);
  return Buffer.concat([header, ...blocks, named, index]);
}
