/*
 * Binary property lists, as macOS and its tools write them (bplist00). Only what a profile can hold; whatever breaks the
 * format, refers in a circle or grows beyond the bounds is refused: profiles of anybody are read here.
 */
import type { Dictionary } from './schema-check.ts';

const deepest = 64;
/** Objects are shared by reference, so a few bytes can stand for millions of values. */
const mostVisits = 40_000;
const trailerBytes = 32;
/** 2001-01-01 in milliseconds: where the dates of this format begin. */
const epoch = Date.UTC(2001, 0, 1);

class Broken extends Error {}

export const isBinaryPlist = (bytes: Uint8Array): boolean => Buffer.from(bytes.subarray(0, 6)).toString('latin1') === 'bplist';

/** The value, or null where the bytes are not such a list. */
export function readBinaryPlist(given: Uint8Array): unknown | null {
  const bytes = Buffer.from(given.buffer, given.byteOffset, given.byteLength);
  if (bytes.length < 8 + trailerBytes || bytes.toString('latin1', 0, 8) !== 'bplist00') return null;
  try {
    return read(bytes);
  } catch (error) {
    if (error instanceof Broken || error instanceof RangeError) return null;
    throw error;
  }
}

function read(bytes: Buffer): unknown {
  const trailer = bytes.subarray(-trailerBytes);
  const [offsetSize, referenceSize] = [trailer.readUInt8(6), trailer.readUInt8(7)];
  const number = (at: number): number => {
    const value = trailer.readBigUInt64BE(at);
    if (value > BigInt(bytes.length)) throw new Broken();
    return Number(value);
  };
  const [count, top, table] = [number(8), number(16), number(24)];
  const sized = (size: number) => size >= 1 && size <= 6;
  if (!sized(offsetSize) || !sized(referenceSize) || table + count * offsetSize > bytes.length - trailerBytes) throw new Broken();
  const end = bytes.length - trailerBytes;
  const slice = (from: number, length: number): Buffer => {
    if (length < 0 || from + length > end) throw new Broken();
    return bytes.subarray(from, from + length);
  };
  let visits = 0;

  const lengthAt = (at: number): { length: number; from: number } => {
    const low = bytes.readUInt8(at) & 0x0f;
    if (low !== 0x0f) return { length: low, from: at + 1 };
    const marker = slice(at + 1, 1).readUInt8(0);
    const size = 1 << (marker & 0x0f);
    if (marker >> 4 !== 1 || size > 4) throw new Broken();
    return { length: slice(at + 2, size).readUIntBE(0, size), from: at + 2 + size };
  };
  const references = (from: number, length: number): number[] => {
    if (length > mostVisits) throw new Broken();
    const list = slice(from, length * referenceSize);
    return Array.from({ length }, (_, at) => list.readUIntBE(at * referenceSize, referenceSize));
  };

  const value = (object: number, depth: number): unknown => {
    visits += 1;
    if (object >= count || depth > deepest || visits > mostVisits) throw new Broken();
    const at = slice(table + object * offsetSize, offsetSize).readUIntBE(0, offsetSize);
    const marker = slice(at, 1).readUInt8(0);
    const size = 1 << (marker & 0x0f);
    switch (marker >> 4) {
      case 0:
        if (marker === 8 || marker === 9) return marker === 9;
        throw new Broken();
      case 1:
        if (size <= 4) return slice(at + 1, size).readUIntBE(0, size);
        if (size === 8) return Number(slice(at + 1, 8).readBigInt64BE(0));
        throw new Broken();
      case 2:
        if (size === 4) return slice(at + 1, 4).readFloatBE(0);
        if (size === 8) return slice(at + 1, 8).readDoubleBE(0);
        throw new Broken();
      case 3: {
        const date = new Date(epoch + slice(at + 1, 8).readDoubleBE(0) * 1000);
        if (Number.isNaN(date.getTime())) throw new Broken();
        return date;
      }
    }
    const { length, from } = lengthAt(at);
    switch (marker >> 4) {
      case 4:
        return Buffer.from(slice(from, length));
      case 5:
        return slice(from, length).toString('latin1');
      case 6:
        return Buffer.from(slice(from, length * 2))
          .swap16()
          .toString('utf16le');
      case 10:
        return references(from, length).map((each) => value(each, depth + 1));
      case 13: {
        const [keys, values] = [references(from, length), references(from + length * referenceSize, length)];
        const entries = keys.map((each, position): [string, unknown] => {
          const key = value(each, depth + 1);
          if (typeof key !== 'string') throw new Broken();
          return [key, value(values[position] ?? count, depth + 1)];
        });
        return Object.fromEntries(entries) satisfies Dictionary;
      }
      default:
        throw new Broken();
    }
  };
  return value(top, 0);
}
