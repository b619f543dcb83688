// A small writer of BER and DER, and just enough of a reader to take a certificate apart. The fake Mac has its own, and
// does not use protocol/: what macOS writes and what Sparekey reads must not share a mistake.

const length = (bytes: number): Buffer => {
  if (bytes < 0x80) return Buffer.from([bytes]);
  const hex = bytes.toString(16);
  const digits = Buffer.from(hex.length % 2 ? `0${hex}` : hex, 'hex');
  return Buffer.concat([Buffer.from([0x80 | digits.length]), digits]);
};

/** One element with a definite length. */
export const element = (tag: number, ...parts: Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([tag]), length(content.length), content]);
};

/** One constructed element with an indefinite length: what a streaming encoder writes when it does not know the end. */
export const streamed = (tag: number, ...parts: Uint8Array[]): Buffer => Buffer.concat([Buffer.from([tag, 0x80]), ...parts, Buffer.from([0, 0])]);

export const sequence = (...parts: Uint8Array[]): Buffer => element(0x30, ...parts);
/** DER wants the elements of a SET OF in the order of their bytes. */
export const setOf = (...parts: Uint8Array[]): Buffer => element(0x31, ...parts.map((part) => Buffer.from(part)).sort(Buffer.compare));
export const octets = (bytes: Uint8Array): Buffer => element(0x04, bytes);
export const bits = (bytes: Uint8Array, unused = 0): Buffer => element(0x03, Buffer.from([unused]), bytes);
export const nothing = (): Buffer => element(0x05);
export const yes = (): Buffer => element(0x01, Buffer.from([0xff]));
export const utf8 = (text: string): Buffer => element(0x0c, Buffer.from(text));
/** Context tag `[n]`, constructed. */
export const tagged = (n: number, ...parts: Uint8Array[]): Buffer => element(0xa0 | n, ...parts);

export const integer = (value: number | bigint | Uint8Array): Buffer => {
  if (typeof value === 'object') return element(0x02, (value[0] ?? 0) & 0x80 ? Buffer.concat([Buffer.from([0]), value]) : value);
  const hex = value.toString(16);
  return integer(Buffer.from(hex.length % 2 ? `0${hex}` : hex, 'hex'));
};

export const oid = (dotted: string): Buffer => {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second, ...rest].flatMap((arc) => {
    const groups = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80);
    return groups;
  });
  return element(0x06, Buffer.from(bytes));
};

/** UTCTime until 2049, GeneralizedTime after it, as X.509 wants. */
export const time = (ms: number): Buffer => {
  const digits = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '');
  return Number(digits.slice(0, 4)) < 2050 ? element(0x17, Buffer.from(digits.slice(2))) : element(0x18, Buffer.from(digits));
};

export interface Read {
  tag: number;
  /** The element with its tag and length. */
  whole: Buffer;
  content: Buffer;
  rest: Buffer;
}

/** The first element of `bytes`; DER only. */
export const read = (bytes: Buffer): Read => {
  const tag = bytes[0] ?? 0;
  const first = bytes[1] ?? 0;
  const digits = first & 0x80 ? first & 0x7f : 0;
  const size = digits ? Number.parseInt(bytes.subarray(2, 2 + digits).toString('hex'), 16) : first;
  const start = 2 + digits;
  if (bytes.length < start + size) throw new RangeError('the DER ends too early');
  return { tag, whole: bytes.subarray(0, start + size), content: bytes.subarray(start, start + size), rest: bytes.subarray(start + size) };
};

export const readAll = (content: Buffer): Read[] => {
  const found: Read[] = [];
  for (let left = content; left.length > 0; ) {
    const next = read(left);
    found.push(next);
    left = next.rest;
  }
  return found;
};
