/** What a file is read as, or why it is not. */
export type ReadText = { text: string; notes: string[] } | { refused: string };

/** What begins with these bytes is no text; each with what to do instead. */
const others: readonly (readonly [number[], string])[] = [
  [[0x50, 0x4b, 0x03, 0x04], 'it is a workbook or another packed file: save it as “CSV UTF-8”, or unpack it'],
  [[0xd0, 0xcf, 0x11, 0xe0], 'it is an old Excel workbook: save it as “CSV UTF-8”'],
  [[0x1f, 0x8b], 'it is packed with gzip: unpack it'],
  [[0x25, 0x50, 0x44, 0x46], 'it is a PDF'],
  [[0x53, 0x51, 0x4c, 0x69, 0x74, 0x65], 'it is an SQLite database'],
];

const begins = (bytes: Uint8Array, signs: readonly number[]): boolean => signs.every((sign, at) => bytes[at] === sign);

/** UTF-16 without a byte order mark: in text of any European language every other byte is zero. */
function zeroHalf(bytes: Uint8Array): 'utf-16le' | 'utf-16be' | null {
  const some = bytes.subarray(0, Math.min(bytes.length, 1024) & ~1);
  if (some.length < 8) return null;
  const zeros = [0, 0];
  for (const [at, byte] of some.entries()) if (byte === 0) zeros[at % 2] = (zeros[at % 2] ?? 0) + 1;
  const many = some.length * 0.3;
  const [even = 0, odd = 0] = zeros;
  if (odd > many && even < some.length * 0.05) return 'utf-16le';
  return even > many && odd < some.length * 0.05 ? 'utf-16be' : null;
}

/**
 * Whatever PowerShell, Excel and scripts write: UTF-8, UTF-16 with its byte order mark or without, and what is none of them as
 * Windows-1252. Serial numbers and keys are ASCII, which all of these have at the same places: no name of a Mac can harm them.
 */
export function readText(bytes: Uint8Array): ReadText {
  const other = others.find(([signs]) => begins(bytes, signs));
  if (other) return { refused: other[1] };
  const wide = begins(bytes, [0xff, 0xfe]) ? 'utf-16le' : begins(bytes, [0xfe, 0xff]) ? 'utf-16be' : zeroHalf(bytes);
  if (wide !== null) {
    const cut = bytes.length % 2 === 1;
    const text = new TextDecoder(wide).decode(cut ? bytes.subarray(0, -1) : bytes);
    return { text, notes: ['it is UTF-16', ...(cut ? ['its last sign is cut in half: was it copied whole?'] : [])] };
  }
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes), notes: [] };
  } catch {
    const text = new TextDecoder('windows-1252').decode(bytes);
    return { text, notes: ['it is not UTF-8 and was read as Windows-1252: names may look odd, serial numbers and keys are the same'] };
  }
}
