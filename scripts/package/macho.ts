import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/* What a program for macOS says of itself: for which processors, from which macOS on, and who signed it. Only heads are read. */

export const architectures = ['arm64', 'x86_64'] as const;
export type Architecture = (typeof architectures)[number];

interface Signature {
  identifier: string;
  /** Empty for one that names no team. */
  team: string;
  adHoc: boolean;
  /** The hardened runtime. */
  hardened: boolean;
  /** By a time stamp authority, without which a signature ends with its certificate, and which notarization wants. */
  timestamped: boolean;
  /** Names of those that are true. */
  entitlements: string[];
}

export interface Slice {
  architecture: Architecture;
  cpuType: number;
  cpuSubtype: number;
  offset: number;
  bytes: number;
  /** Such as `13.5`; null where the file does not say. */
  minimumMacos: string | null;
  signature: Signature | null;
  /** Where the signature lies within it; nothing at 0. */
  signed: { at: number; bytes: number };
}

const cpuTypes = new Map<number, Architecture>([
  [0x0100000c, 'arm64'],
  [0x01000007, 'x86_64'],
]);
const fatMagic = 0xcafebabe;
/** 64 bits, as the bytes lie: lowest first. */
const thinMagic = 0xcffaedfe;
const mostCommands = 1 << 20;
/** A digest of 32 bytes for each page: the runtime's has 1.2 MB. */
const mostSignature = 16 << 20;

/** Throws an Error where the file is no such program. */
export function readMachO(file: string): Slice[] {
  const fd = openSync(file, 'r');
  try {
    const size = fstatSync(fd).size;
    const at = (offset: number, length: number): Buffer => {
      const bytes = Buffer.alloc(length);
      if (offset + length > size || readSync(fd, bytes, 0, length, offset) < length) throw new Error('it ends too early');
      return bytes;
    };
    const magic = at(0, 4).readUInt32BE();
    if (magic === thinMagic) return [readSlice(at, 0, size)];
    if (magic !== fatMagic) throw new Error('it is not a program for macOS');
    const count = at(4, 4).readUInt32BE();
    if (count === 0 || count > 8) throw new Error(`it has ${count} parts`);
    const table = at(8, 20 * count);
    return Array.from({ length: count }, (_, n) => readSlice(at, table.readUInt32BE(20 * n + 8), table.readUInt32BE(20 * n + 12)));
  } finally {
    closeSync(fd);
  }
}

type Read = (offset: number, length: number) => Buffer;

const versionOf = (packed: number): string => {
  const [major, minor, patch] = [packed >>> 16, (packed >>> 8) & 0xff, packed & 0xff];
  return patch === 0 ? `${major}.${minor}` : `${major}.${minor}.${patch}`;
};

function readSlice(at: Read, offset: number, bytes: number): Slice {
  const header = at(offset, 32);
  if (header.readUInt32BE() !== thinMagic) throw new Error('a part of it is not for 64 bits');
  const cpuType = header.readUInt32LE(4);
  const architecture = cpuTypes.get(cpuType);
  if (architecture === undefined) throw new Error(`it is for processors of another kind (${cpuType.toString(16)})`);
  const slice: Slice = {
    architecture,
    cpuType,
    cpuSubtype: header.readUInt32LE(8),
    offset,
    bytes,
    minimumMacos: null,
    signature: null,
    signed: { at: 0, bytes: 0 },
  };
  const length = header.readUInt32LE(20);
  if (length > mostCommands) throw new Error('its commands are too long');
  const commands = at(offset + 32, length);
  for (let n = header.readUInt32LE(16), next = 0; n > 0; n--) {
    if (next + 16 > length) throw new Error('its commands end too early');
    const [command, size] = [commands.readUInt32LE(next), commands.readUInt32LE(next + 4)];
    if (size < 8) throw new Error('one of its commands has no length');
    if (command === 0x32) slice.minimumMacos = versionOf(commands.readUInt32LE(next + 12));
    else if (command === 0x24) slice.minimumMacos = versionOf(commands.readUInt32LE(next + 8));
    else if (command === 0x1d) {
      const signatureBytes = commands.readUInt32LE(next + 12);
      if (signatureBytes > mostSignature) throw new Error('its signature is too long');
      slice.signed = { at: commands.readUInt32LE(next + 8), bytes: signatureBytes };
      slice.signature = readSignature(at(offset + slice.signed.at, signatureBytes));
    }
    next += size;
  }
  return slice;
}

const textAt = (bytes: Buffer, at: number): string => bytes.toString('utf8', at, bytes.indexOf(0, at));
/** id-aa-signatureTimeStampToken, as it is encoded. */
const timeStamp = Buffer.from('060b2a864886f70d010910020e', 'hex');

/** The blobs of a signature, in a form of its own: highest byte first. */
function readSignature(blob: Buffer): Signature | null {
  if (blob.length < 12 || blob.readUInt32BE() !== 0xfade0cc0) return null;
  let signature: Signature | null = null;
  let entitlements: string[] = [];
  let timestamped = false;
  for (let n = 0; n < blob.readUInt32BE(8); n++) {
    const start = blob.readUInt32BE(16 + 8 * n);
    const part = blob.subarray(start, start + blob.readUInt32BE(start + 4));
    const magic = part.readUInt32BE();
    if (magic === 0xfade0c02 && signature === null) {
      const flags = part.readUInt32BE(12);
      const teamAt = part.readUInt32BE(8) >= 0x20200 ? part.readUInt32BE(48) : 0;
      signature = {
        identifier: textAt(part, part.readUInt32BE(20)),
        team: teamAt === 0 ? '' : textAt(part, teamAt),
        adHoc: (flags & 0x2) !== 0,
        hardened: (flags & 0x10000) !== 0,
        timestamped: false,
        entitlements: [],
      };
    } else if (magic === 0xfade7171) {
      entitlements = [...part.toString('utf8', 8).matchAll(/<key>([^<]+)<\/key>\s*<true\/>/g)].map(([, name]) => name ?? '').sort();
    } else if (magic === 0xfade0b01) timestamped = part.includes(timeStamp);
  }
  return signature && { ...signature, entitlements, timestamped };
}
