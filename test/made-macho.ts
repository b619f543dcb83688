import type { Architecture } from '../scripts/package/macho.ts';

/* A small program for macOS, as far as its head goes: nobody could run it. */

export interface MadeSignature {
  identifier: string;
  team?: string;
  flags?: number;
  entitlements?: readonly string[];
  timestamped?: boolean;
}

const u32le = (...values: number[]): Buffer => {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, at) => void bytes.writeUInt32LE(value >>> 0, 4 * at));
  return bytes;
};
const u32be = (...values: number[]): Buffer => u32le(...values).swap32();

/** Flags of the hardened runtime, and of a signature by nobody. */
export const hardened = 0x10000;
export const adHoc = 0x2;

function signatureBlob({ identifier, team = '', flags = hardened, entitlements = [], timestamped = true }: MadeSignature): Buffer {
  const names = Buffer.from(`${identifier}\0${team}\0`);
  const directory = Buffer.alloc(52 + names.length);
  u32be(0xfade0c02, directory.length, 0x20400, flags, 0, 52).copy(directory);
  directory.writeUInt32BE(team === '' ? 0 : 52 + identifier.length + 1, 48);
  names.copy(directory, 52);
  const plist = Buffer.from(`<plist><dict>${entitlements.map((name) => `<key>${name}</key><true/>`).join('')}</dict></plist>`);
  const cms = timestamped ? Buffer.from('3010060b2a864886f70d010910020e', 'hex') : Buffer.from('3000', 'hex');
  const blobs = [directory, Buffer.concat([u32be(0xfade7171, 8 + plist.length), plist]), Buffer.concat([u32be(0xfade0b01, 8 + cms.length), cms])];
  let at = 12 + 8 * blobs.length;
  const index = [0, 5, 0x10000].map((type, n) => {
    const place = u32be(type, at);
    at += blobs[n]?.length ?? 0;
    return place;
  });
  return Buffer.concat([u32be(0xfade0cc0, at, blobs.length), ...index, ...blobs]);
}

export function madeMachO(
  architecture: Architecture,
  { minimum = [13, 5], signature = null, body = 'the program' }: { minimum?: readonly [number, number]; signature?: MadeSignature | null; body?: string } = {},
): Buffer {
  const blob = signature === null ? Buffer.alloc(0) : signatureBlob(signature);
  const head = 32 + 24 + 16;
  const text = Buffer.from(body);
  const version = u32le(0x32, 24, 1, (minimum[0] << 16) | (minimum[1] << 8), 0, 0);
  const signed = u32le(0x1d, 16, head + text.length, blob.length);
  const commands = signature === null ? [version] : [version, signed];
  const header = u32le(
    0xfeedfacf,
    architecture === 'arm64' ? 0x0100000c : 0x01000007,
    architecture === 'arm64' ? 0 : 3,
    2,
    commands.length,
    Buffer.concat(commands).length,
    0,
    0,
  );
  return Buffer.concat([header, ...commands, Buffer.alloc(head - 32 - Buffer.concat(commands).length), text, blob]);
}
