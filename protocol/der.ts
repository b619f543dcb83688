/*
 * DER of the plain kind, which is what macOS, the agent and nearly every CA write: read in one pass, without a library. It knows only
 * what is beyond doubt. For everything else it answers null, and asn1js decides, as it does for BER (asn1.ts): whatever is read
 * here, asn1js would have read in the same way.
 */

type Universal =
  | 'boolean'
  | 'integer'
  | 'bits'
  | 'octets'
  | 'null'
  | 'oid'
  | 'utf8'
  | 'sequence'
  | 'set'
  | 'printable'
  | 'ia5'
  | 'utc-time'
  | 'generalized-time';
/** `[n]` is the context-specific tag n, whether implicit or explicit. */
export type Kind = Universal | `[${number}]` | 'other';

export const universal: Readonly<Record<number, Universal>> = {
  1: 'boolean',
  2: 'integer',
  3: 'bits',
  4: 'octets',
  5: 'null',
  6: 'oid',
  12: 'utf8',
  16: 'sequence',
  17: 'set',
  19: 'printable',
  22: 'ia5',
  23: 'utc-time',
  24: 'generalized-time',
};

export interface Asn1 {
  kind: Kind;
  constructed: boolean;
  /** The element as it was encoded, tag and length included. */
  raw: Buffer;
  /** Of a primitive element: its value octets. Of a constructed one: empty. */
  content: Buffer;
  children: readonly Asn1[];
}

export interface Bounds {
  bytes: number;
  depth: number;
  elements: number;
}

const empty = Buffer.alloc(0);
const isConstructedTag = (tag: number): boolean => (tag & 0x20) !== 0;

/** By the first octet: of tags below 31, those that may be read here. */
const kinds: readonly (Kind | undefined)[] = Array.from({ length: 256 }, (_, tag) => {
  const number = tag & 0x1f;
  if (number === 0x1f) return undefined;
  if (tag >> 6 === 2) return `[${number}]` as const;
  // Of the universal ones, sequences and sets are constructed, and nothing else.
  if (tag >> 6 === 0 && isConstructedTag(tag) === (number === 16 || number === 17)) return universal[number];
  return undefined;
});

/** One element that fills `source` exactly, or null where that is not certain. */
export function readDer(source: Buffer, { depth, elements }: Bounds): Asn1 | null {
  let left = elements;

  function element(start: number, limit: number, deep: number): Asn1 | null {
    left -= 1;
    if (left <= 0 || deep >= depth || limit - start < 2) return null;
    const tag = source[start] ?? 0;
    const kind = kinds[tag];
    let length = source[start + 1] ?? 0;
    let body = start + 2;
    if (length >= 0x80) {
      const octets = length & 0x7f;
      if (octets < 1 || octets > 2 || body + octets > limit) return null;
      length = source.readUIntBE(body, octets);
      // The shortest form, or somebody else's business.
      if (length < (octets === 1 ? 0x80 : 0x100)) return null;
      body += octets;
    }
    const end = body + length;
    if (kind === undefined || end > limit) return null;
    const raw = source.subarray(start, end);
    if (!isConstructedTag(tag)) {
      const content = source.subarray(body, end);
      return isPlain(kind, content) ? { kind, constructed: false, raw, content, children: [] } : null;
    }
    const children: Asn1[] = [];
    for (let at = body; at < end; ) {
      const child = element(at, end, deep + 1);
      if (!child) return null;
      children.push(child);
      at += child.raw.length;
    }
    return { kind, constructed: true, raw, content: empty, children };
  }

  const found = element(0, source.length, 0);
  return found?.raw.length === source.length ? found : null;
}

/** Whether these octets are a value of their kind about which nobody argues. */
function isPlain(kind: Kind, content: Buffer): boolean {
  const [first = 0, second = 0] = content;
  switch (kind) {
    case 'null':
      return content.length === 0;
    case 'boolean':
      return content.length === 1 && (first === 0 || first === 0xff);
    case 'integer':
      return content.length === 1 || (content.length > 1 && !(first === 0 && second < 0x80) && !(first === 0xff && second >= 0x80));
    case 'bits':
      return content.length > 1 && first < 8;
    case 'oid':
      return isPlainOid(content);
    case 'utf8':
    case 'printable':
    case 'ia5':
      return content.length > 0 && content.every((byte) => byte >= 0x20 && byte < 0x7f);
    case 'utc-time':
      return /^\d{12}Z$/.test(content.toString('latin1'));
    case 'generalized-time':
      return /^\d{14}Z$/.test(content.toString('latin1'));
    default:
      return content.length > 0;
  }
}

/** Whole arcs in their shortest form, each of four octets at the most. */
function isPlainOid(content: Buffer): boolean {
  let octets = 0;
  for (const byte of content) {
    if (octets === 0 && byte === 0x80) return false;
    octets = byte & 0x80 ? octets + 1 : 0;
    if (octets > 3) return false;
  }
  return content.length > 0 && content.length <= 32 && octets === 0;
}
