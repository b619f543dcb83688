/*
 * The checksum of cksum(1), which a Bom holds for each file: CRC-32 of polynomial 0x04C11DB7, highest bit first, from 0, then
 * over the length in as few bytes as it takes, lowest first, and inverted. It is not the CRC-32 of zlib.
 */

/** [0] is the table for one byte; [n] the same with n zero bytes after it, so that four bytes are done at a time. */
const tables = ((): Uint32Array[] => {
  const first = Uint32Array.from({ length: 256 }, (_, byte) => {
    let rest = byte << 24;
    for (let bit = 0; bit < 8; bit++) rest = rest & 0x80000000 ? (rest << 1) ^ 0x04c11db7 : rest << 1;
    return rest;
  });
  const all = [first];
  for (let n = 1; n < 4; n++) {
    const before = all[n - 1] as Uint32Array;
    all.push(before.map((rest) => (rest << 8) ^ (first[rest >>> 24] as number)));
  }
  return all;
})();

export function cksum(): { update(bytes: Uint8Array): void; digest(): number } {
  const [one, two, three, four] = tables as [Uint32Array, Uint32Array, Uint32Array, Uint32Array];
  let crc = 0;
  let length = 0;
  const add = (byte: number): void => {
    crc = (crc << 8) ^ (one[(crc >>> 24) ^ byte] as number);
  };
  return {
    update(bytes) {
      length += bytes.length;
      let at = 0;
      for (; at + 4 <= bytes.length; at += 4) {
        crc ^= ((bytes[at] as number) << 24) | ((bytes[at + 1] as number) << 16) | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number);
        crc = (four[crc >>> 24] as number) ^ (three[(crc >>> 16) & 0xff] as number) ^ (two[(crc >>> 8) & 0xff] as number) ^ (one[crc & 0xff] as number);
      }
      for (; at < bytes.length; at++) add(bytes[at] as number);
    },
    digest() {
      for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) add(rest % 256);
      return ~crc >>> 0;
    },
  };
}

export function cksumOf(bytes: Uint8Array): number {
  const sum = cksum();
  sum.update(bytes);
  return sum.digest();
}
