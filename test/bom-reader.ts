/*
 * Reads a bill of materials by the description of its format, and shares nothing with whatever wrote it. Stricter than macOS:
 * each byte of the file belongs to something, and what is said twice is said alike.
 */

export interface BomRecord {
  path: string;
  kind: 'file' | 'folder';
  mode: number;
  owner: number;
  group: number;
  mtime: number;
  bytes: number;
  cksum: number;
}

class NotABom extends Error {}
const must = (holds: boolean, says: string): void => {
  if (!holds) throw new NotABom(says);
};
const allZero = (bytes: Buffer): boolean => bytes.every((byte) => byte === 0);

export function readBom(file: Buffer): { records: BomRecord[]; leaves: number; contentBytes: number } {
  must(file.toString('latin1', 0, 8) === 'BOMStore', 'it begins otherwise');
  const word = (at: number): number => file.readUInt32BE(at);
  const [version, inUse, indexAt, indexBytes, namesAt, namesBytes] = [8, 12, 16, 20, 24, 28].map(word) as [number, number, number, number, number, number];
  must(version === 1, `its version is ${version}`);
  must(allZero(file.subarray(32, 512)), 'the header is not filled with zeros');

  // Which byte belongs to what.
  const taken = new Uint8Array(file.length);
  const take = (at: number, length: number): Buffer => {
    must(at + length <= file.length, 'something lies outside');
    must(allZero(Buffer.from(taken.subarray(at, at + length))), 'two things lie in one place');
    taken.fill(1, at, at + length);
    return file.subarray(at, at + length);
  };
  take(0, 512);
  const index = take(indexAt, indexBytes);
  const count = index.readUInt32BE();
  must(indexBytes === 4 + 8 * count + 4 + 16, 'the index has another length');
  must(allZero(index.subarray(4, 12)), 'block 0 is something');
  must(allZero(index.subarray(4 + 8 * count)), 'there are free blocks');
  must(inUse === count - 1, `the header counts ${inUse} blocks, the index ${count - 1}`);
  const used = new Set<number>();
  const block = (number: number): Buffer => {
    must(number > 0 && number < count, `there is no block ${number}`);
    must(!used.has(number), `block ${number} is used twice`);
    used.add(number);
    return take(index.readUInt32BE(4 + 8 * number), index.readUInt32BE(8 + 8 * number));
  };

  const names = take(namesAt, namesBytes);
  const named = new Map<string, number>();
  let at = 4;
  for (let n = names.readUInt32BE(); n > 0; n--) {
    const length = names.readUInt8(at + 4);
    named.set(names.toString('latin1', at + 5, at + 5 + length), names.readUInt32BE(at));
    at += 5 + length;
  }
  must(at === namesBytes, 'the names have another length');
  must([...named.keys()].join() === 'BomInfo,Paths,HLIndex,VIndex,Size64', `it has ${[...named.keys()].join()}`);
  const blockNamed = (name: string): Buffer => block(named.get(name) ?? 0);

  const info = blockNamed('BomInfo');

  const readTree = (bytes: Buffer, size: number): { child: number; paths: number } => {
    must(bytes.length === 21 && bytes.toString('latin1', 0, 4) === 'tree' && bytes.readUInt32BE(4) === 1, 'a tree is none');
    must(bytes.readUInt32BE(12) === size && bytes[20] === 0, 'a tree has other nodes');
    return { child: bytes.readUInt32BE(8), paths: bytes.readUInt32BE(16) };
  };
  const readNode = (number: number, size: number) => {
    const bytes = block(number);
    must(bytes.length === size, `a node has ${bytes.length} bytes`);
    const pairs = Array.from({ length: bytes.readUInt16BE(2) }, (_, n) => [bytes.readUInt32BE(12 + 8 * n), bytes.readUInt32BE(16 + 8 * n)] as const);
    must(allZero(bytes.subarray(12 + 8 * pairs.length)), 'a node is not filled with zeros');
    return { leaf: bytes.readUInt16BE() === 1, next: bytes.readUInt32BE(4), previous: bytes.readUInt32BE(8), pairs };
  };
  const emptyTree = (bytes: Buffer, size: number): void => {
    const { child, paths } = readTree(bytes, size);
    const node = readNode(child, size);
    must(paths === 0 && node.leaf && node.pairs.length === 0 && node.next === 0 && node.previous === 0, 'a tree is not empty');
  };
  emptyTree(blockNamed('HLIndex'), 4096);
  emptyTree(blockNamed('Size64'), 4096);
  const versions = blockNamed('VIndex');
  must(versions.length === 13 && versions.readUInt32BE() === 1 && allZero(versions.subarray(8)), 'VIndex has another form');
  emptyTree(block(versions.readUInt32BE(4)), 128);

  const { child, paths } = readTree(blockNamed('Paths'), 4096);
  const top = readNode(child, 4096);
  const branch = top.leaf ? null : top.pairs;
  const leaves = branch === null ? [top] : branch.map(([number]) => readNode(number, 4096));
  const chain = branch === null ? [child] : branch.map(([number]) => number);
  leaves.forEach((leaf, n) => {
    must(leaf.leaf, 'the tree is deeper than two');
    must(leaf.next === (chain[n + 1] ?? 0) && leaf.previous === (chain[n - 1] ?? 0), 'the leaves are not one after another');
    must(branch === null || branch[n]?.[1] === leaf.pairs.at(-1)?.[1], 'a branch names another last key');
  });

  const found = leaves
    .flatMap(({ pairs }) => pairs)
    .map(([first, second]) => {
      const [numbers, key] = [block(first), block(second)];
      must(numbers.length === 8 && key.at(-1) === 0, 'a path has another form');
      return { id: numbers.readUInt32BE(), info: block(numbers.readUInt32BE(4)), parent: key.readUInt32BE(), name: key.subarray(4, -1) };
    });
  must(found.length === paths, `the tree says ${paths} paths and has ${found.length}`);
  found.slice(1).forEach((it, n) => {
    const before = found[n];
    must(!!before && (before.parent < it.parent || (before.parent === it.parent && Buffer.compare(before.name, it.name) < 0)), 'the paths are not in order');
  });
  must(used.size === count - 1, 'a block belongs to nothing');
  must(
    taken.every((one) => one === 1),
    'some bytes belong to nothing',
  );

  const byId = new Map(found.map((it) => [it.id, it]));
  must(byId.size === paths && Math.max(...byId.keys()) === paths, 'the ids are not 1 to n');
  const pathOf = ({ id, parent, name }: (typeof found)[number]): string => {
    if (parent === 0) return name.toString();
    const above = byId.get(parent);
    if (!above || parent >= id) throw new NotABom('a folder comes after what is in it');
    return `${pathOf(above)}/${name}`;
  };
  const records = [...byId.entries()]
    .sort(([a], [b]) => a - b)
    .map(([, it]): BomRecord => {
      const { info } = it;
      const type = info.readUInt8();
      must(type === 1 || type === 2, `a path is of type ${type}`);
      must(info.length === (type === 1 ? 35 : 31), `a record has ${info.length} bytes`);
      must(info.readUInt8(1) === 1 && info.readUInt16BE(2) === 0x000f && info.readUInt8(22) === 1, 'a record has another form');
      must(allZero(info.subarray(27)), 'a record has a target');
      must(info.readUInt16BE(4) >> 12 === (type === 1 ? 0o10 : 0o4), 'type and mode differ');
      return {
        path: pathOf(it),
        kind: type === 1 ? 'file' : 'folder',
        mode: info.readUInt16BE(4) & 0o7777,
        owner: info.readUInt32BE(6),
        group: info.readUInt32BE(10),
        mtime: info.readUInt32BE(14),
        bytes: info.readUInt32BE(18),
        cksum: info.readUInt32BE(23),
      };
    });
  must(info.length === 28 && info.readUInt32BE(12) === 0 && info.readUInt32BE(16) === 0 && info.readUInt32BE(24) === 0, 'BomInfo counts for a processor');
  must(info.readUInt32BE() === 1 && info.readUInt32BE(4) === paths + 1 && info.readUInt32BE(8) === 1, 'BomInfo has another form');
  return { records, leaves: leaves.length, contentBytes: info.readUInt32BE(20) };
}
