import * as asn1js from 'asn1js';
import { type Asn1, type Bounds, type Kind, readDer, universal } from './der.ts';

export type { Asn1 } from './der.ts';

/**
 * ASN.1 for the formats that we read and write: asn1js decodes and encodes, this file adds what input from outside needs.
 * The bounds of every element are checked again here, because asn1js lets a child reach beyond its parent, and nothing
 * inside OCTET STRINGs is ever decoded by guess.
 */
class Asn1Error extends Error {}

/** One element that fills `bytes` exactly; BER with indefinite lengths is taken. Linear in the input, whatever it holds. */
export function readAsn1(bytes: Uint8Array, bounds: Bounds): Asn1 {
  if (bytes.length === 0) throw new Asn1Error('empty');
  if (bytes.length > bounds.bytes) throw new Asn1Error('too large');
  // A copy: what the caller does with its bytes afterwards changes nothing here.
  const source = Buffer.from(new Uint8Array(bytes).buffer);
  return readDer(source, bounds) ?? readBer(source, bounds);
}

/** Whatever it holds, by the library. Exported for the test that both agree. */
export function readBer(source: Buffer, bounds: Bounds): Asn1 {
  let decoded: { offset: number; result: asn1js.BaseBlock };
  try {
    decoded = asn1js.fromBER(new Uint8Array(source.buffer, source.byteOffset, source.length), {
      maxDepth: bounds.depth,
      maxNodes: bounds.elements,
      parseEmbedded: false,
      copyInput: false,
    });
  } catch {
    throw new Asn1Error('not ASN.1');
  }
  if (decoded.offset === -1) throw new Asn1Error(decoded.result.error || 'not ASN.1');
  const element = convert(decoded.result, source, 0, source.length);
  if (element.raw.length !== source.length) throw new Asn1Error('something follows the end');
  return element;
}

function convert(block: asn1js.BaseBlock, source: Buffer, start: number, limit: number): Asn1 {
  const { idBlock, lenBlock } = block;
  const body = start + idBlock.blockLength + lenBlock.blockLength;
  let end = lenBlock.isIndefiniteForm ? limit : body + lenBlock.length;
  if (body > limit || end > limit) throw new Asn1Error('an element is longer than what holds it');
  const children: Asn1[] = [];
  if (idBlock.isConstructed) {
    const decoded = (block.valueBlock as { value?: unknown }).value;
    // asn1js reads constructed character strings as flat text; nothing that we read has them.
    if (!Array.isArray(decoded)) throw new Asn1Error('a constructed element of a type that has none');
    let at = body;
    for (const child of decoded as asn1js.BaseBlock[]) {
      const next = convert(child, source, at, end);
      children.push(next);
      at += next.raw.length;
    }
    if (lenBlock.isIndefiniteForm) {
      if (at + 2 > limit || source[at] !== 0 || source[at + 1] !== 0) throw new Asn1Error('no end of contents');
      end = at + 2;
    } else if (at !== end) throw new Asn1Error('contents that do not fill their element');
  }
  return {
    kind: kindOf(idBlock),
    constructed: idBlock.isConstructed,
    raw: source.subarray(start, end),
    content: idBlock.isConstructed ? Buffer.alloc(0) : source.subarray(body, end),
    children,
  };
}

function kindOf(id: asn1js.BaseBlock['idBlock']): Kind {
  if (id.tagClass === 1 && id.tagNumber === 0) throw new Asn1Error('an end of contents where none belongs');
  if (id.tagClass === 1) return universal[id.tagNumber] ?? 'other';
  return id.tagClass === 3 && !id.isHexOnly ? `[${id.tagNumber}]` : 'other';
}

/** The children of a SEQUENCE or SET, one after another. */
export class Fields {
  #rest: Asn1[];

  constructor(element: Asn1, kind: Kind) {
    if (element.kind !== kind || !element.constructed) throw new Asn1Error(`${kind} expected, found ${element.kind}`);
    this.#rest = [...element.children];
  }

  next(kind?: Kind): Asn1 {
    const found = this.#rest[0];
    if (!found) throw new Asn1Error(`${kind ?? 'an element'} is missing`);
    if (kind && found.kind !== kind) throw new Asn1Error(`${kind} expected, found ${found.kind}`);
    this.#rest.shift();
    return found;
  }

  optional(kind: Kind): Asn1 | undefined {
    return this.#rest[0]?.kind === kind ? this.#rest.shift() : undefined;
  }

  end(): void {
    if (this.#rest.length > 0) throw new Asn1Error(`${this.#rest[0]?.kind} where nothing is expected`);
  }
}

/** The one element inside an explicit tag. */
export function inside(element: Asn1): Asn1 {
  const [only, ...more] = element.children;
  if (!only || more.length > 0) throw new Asn1Error('one element expected inside a tag');
  return only;
}

/** An OCTET STRING's value, also in pieces (BER), also under an implicit tag. */
export function octetsOf(element: Asn1): Buffer {
  if (!element.constructed) return element.content;
  return Buffer.concat(
    element.children.map((piece) => {
      if (piece.kind !== 'octets') throw new Asn1Error('a piece of an octet string is something else');
      return octetsOf(piece);
    }),
  );
}

/** A BIT STRING whose bits fill whole octets: a key or a signature. */
export function bitsOf(element: Asn1): Buffer {
  if (element.kind !== 'bits' || element.constructed || element.content[0] !== 0) throw new Asn1Error('whole octets expected in a bit string');
  return element.content.subarray(1);
}

/** Longer ones are nobody's. */
const oidBytes = 32;

export function oidOf(element: Asn1): string {
  const { kind, content } = element;
  if (kind !== 'oid' || content.length === 0 || content.length > oidBytes) throw new Asn1Error('an object identifier expected');
  // Numbers are several times as quick as big ones, and nearly all arcs are small.
  let small = 0;
  let text = '';
  for (const [i, byte] of content.entries()) {
    small = small * 128 + (byte & 0x7f);
    if (small > Number.MAX_SAFE_INTEGER / 128) return largeOidOf(content);
    if (byte & 0x80) {
      if (i === content.length - 1) throw new Asn1Error('an object identifier without an end');
      continue;
    }
    const first = Math.min(2, Math.floor(small / 40));
    text += text === '' ? `${first}.${small - first * 40}` : `.${small}`;
    small = 0;
  }
  return text;
}

function largeOidOf(content: Buffer): string {
  const arcs: bigint[] = [];
  let arc = 0n;
  for (const [i, byte] of content.entries()) {
    arc = arc * 128n + BigInt(byte & 0x7f);
    if (byte & 0x80) {
      if (i === content.length - 1) throw new Asn1Error('an object identifier without an end');
      continue;
    }
    const first = arc < 80n ? arc / 40n : 2n;
    if (arcs.length === 0) arcs.push(first, arc - first * 40n);
    else arcs.push(arc);
    arc = 0n;
  }
  return arcs.join('.');
}

/** A small INTEGER that is not negative. */
export function smallIntegerOf(element: Asn1): number {
  const { content } = element;
  if (element.kind !== 'integer' || content.length < 1 || content.length > 4 || (content[0] ?? 0) & 0x80) throw new Asn1Error('a small number expected');
  return content.readUIntBE(0, content.length);
}

/** UTCTime or GeneralizedTime in the form that certificates have: seconds, Z. */
export function timeOf(element: Asn1): Date {
  const text = element.content.toString('latin1');
  const match = /^(\d\d)?(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  const generalized = element.kind === 'generalized-time';
  if (!match || generalized !== (match[1] !== undefined) || (!generalized && element.kind !== 'utc-time')) throw new Asn1Error('a time expected');
  const [, century = Number(match[2]) < 50 ? '20' : '19', year, month, day, hour, minute, second] = match;
  const time = new Date(`${century}${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(time.getTime())) throw new Asn1Error('a time that does not exist');
  return time;
}

/** The element in DER: definite lengths, octet strings whole, the elements of a SET in order. */
export function derOf(element: Asn1): Buffer {
  if (isDer(element)) return element.raw;
  if (element.kind === 'octets') return octets(octetsOf(element));
  const identifier = element.raw[0] ?? 0;
  if ((identifier & 0x1f) === 0x1f) throw new Asn1Error('a tag that nothing here has');
  const idBlock = { tagClass: (identifier >> 6) + 1, tagNumber: identifier & 0x1f };
  if (!element.constructed) return encode(new asn1js.Primitive({ idBlock, valueHex: element.content }));
  const parts = element.children.map(derOf);
  if (element.kind === 'set') parts.sort(Buffer.compare);
  return encode(new asn1js.Constructed({ idBlock, value: parts.map(raw) }));
}

/** Whether it is written so already: lengths in their one form, octet strings whole, no SET whose elements could be in another order. */
function isDer({ kind, constructed, raw, content, children }: Asn1): boolean {
  if (constructed && (kind === 'octets' || (kind === 'set' && children.length > 1) || !children.every(isDer))) return false;
  const length = constructed ? children.reduce((sum, child) => sum + child.raw.length, 0) : content.length;
  const lengthOctets = length < 0x80 ? 1 : length < 0x100 ? 2 : length < 0x10000 ? 3 : 0;
  const isLowTag = ((raw[0] ?? 0) & 0x1f) !== 0x1f;
  return isLowTag && raw[1] !== 0x80 && raw.length === 1 + lengthOctets + length;
}

// ——— encoding: every helper gives DER, so that they can be put into each other

const encode = (block: asn1js.BaseBlock): Buffer => Buffer.from(block.toBER());

/** What is encoded already, as a part of something else. (asn1js's own RawData forgets to hand over its bytes.) */
class Encoded extends asn1js.BaseBlock {
  readonly #der: Uint8Array;

  constructor(der: Uint8Array) {
    super();
    this.#der = der;
  }

  override toBER(_sizeOnly?: boolean, writer?: asn1js.ViewWriter): ArrayBuffer {
    const bytes = new Uint8Array(this.#der).buffer;
    writer?.write(bytes);
    return bytes;
  }
}
const raw = (der: Uint8Array) => new Encoded(der);

export const sequence = (...parts: Uint8Array[]): Buffer => encode(new asn1js.Sequence({ value: parts.map(raw) }));
/** In DER order. */
export const set = (...parts: Uint8Array[]): Buffer => encode(new asn1js.Set({ value: parts.toSorted(Buffer.compare).map(raw) }));
export const oid = (value: string): Buffer => encode(new asn1js.ObjectIdentifier({ value }));
export const octets = (value: Uint8Array): Buffer => encode(new asn1js.OctetString({ valueHex: value }));
export const bits = (value: Uint8Array, unusedBits = 0): Buffer => encode(new asn1js.BitString({ valueHex: value, unusedBits }));
export const nothing = (): Buffer => encode(new asn1js.Null());
export const yes = (): Buffer => encode(new asn1js.Boolean({ value: true }));
export const integer = (value: number): Buffer => encode(new asn1js.Integer({ value }));
export const utf8 = (value: string): Buffer => encode(new asn1js.Utf8String({ value }));
export const printable = (value: string): Buffer => encode(new asn1js.PrintableString({ value }));
/** Whole octets as a number that is not negative. */
export const unsigned = (value: Uint8Array): Buffer => encode(asn1js.Integer.fromBigInt(BigInt(`0x0${Buffer.from(value).toString('hex')}`)));
/** RFC 5280: UTCTime up to 2049, GeneralizedTime from 2050. */
export const time = (value: Date): Buffer =>
  encode(value.getUTCFullYear() < 2050 ? new asn1js.UTCTime({ valueDate: value }) : new asn1js.GeneralizedTime({ valueDate: value }));
/** Constructed: an explicit tag, or an implicit one over a SEQUENCE or SET. */
export const tagged = (tagNumber: number, ...parts: Uint8Array[]): Buffer =>
  encode(new asn1js.Constructed({ idBlock: { tagClass: 3, tagNumber }, value: parts.map(raw) }));
/** An implicit tag over a string of octets or characters. */
export const taggedOctets = (tagNumber: number, value: Uint8Array): Buffer =>
  encode(new asn1js.Primitive({ idBlock: { tagClass: 3, tagNumber }, valueHex: value }));
