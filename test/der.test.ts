import { generateKeyPairSync } from 'node:crypto';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Asn1, derOf, integer, nothing, octets, oid, oidOf, readAsn1, readBer, sequence, set, tagged, taggedOctets, utf8 } from '../protocol/asn1.ts';
import { readDer } from '../protocol/der.ts';
import { sealKey } from '../protocol/envelope.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { issueClientCertificate, makeCa, makeEscrowCertificate } from '../server/certificates.ts';

/* The quick reader knows plain DER only; what it reads, the library reads in the same way, and in every doubt it leaves it to the library. */

const at = new Date('2026-11-23T12:00:00Z');
const bounds = { bytes: 16 * 1024, depth: 24, elements: 1000 };
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const escrow = makeEscrowCertificate({ commonName: 'Escrow', privateKey, years: 20, at });
const ca = makeCa({ commonName: 'CA', years: 10, at });
const spki = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'der' });
const leaf = issueClientCertificate({ ca: ca.certificateDer, caKey: ca.privateKey, publicKeyDer: spki, commonName: 'a Mac', at, days: 400 });
const envelope = sealKey(RecoveryKey.parse('ABCD-EFGH-JKLM-NPQR-TUVW-XYZ2') as RecoveryKey, escrow);
const real = { envelope, escrow, 'certificate of a CA': ca.certificateDer, 'certificate of a Mac': leaf };

const library = (bytes: Uint8Array): Asn1 | string => {
  try {
    const read = readBer(Buffer.from(bytes), bounds);
    return read.raw.length === bytes.length ? read : 'something follows';
  } catch {
    return 'refused';
  }
};
/** Whether the quick one had an answer; it is the library's then. */
function agree(bytes: Uint8Array): boolean {
  const quick = readDer(Buffer.from(bytes), bounds);
  if (quick) expect(quick).toEqual(library(bytes));
  return quick !== null;
}

test.each(Object.entries(real))('%s is read at once, and as the library reads it', (_name, der) => {
  expect(agree(der)).toBe(true);
  expect(readAsn1(der, bounds)).toEqual(library(der));
});

test('octets of a real one changed, left out, put in and cut off: the quick reader says what the library says, or nothing', () => {
  const anyReal = fc.constantFrom(...Object.values(real));
  const change = fc.tuple(fc.nat(), fc.constantFrom('set', 'flip', 'drop', 'add', 'cut') as fc.Arbitrary<string>, fc.nat(255));
  fc.assert(
    fc.property(anyReal, fc.array(change, { minLength: 1, maxLength: 3 }), (der, changes) => {
      let bytes = Buffer.from(der);
      for (const [where, how, value] of changes) {
        const place = where % Math.max(1, bytes.length);
        if (how === 'set') bytes[place] = value;
        else if (how === 'flip') bytes[place] = (bytes[place] ?? 0) ^ (1 << (value % 8));
        else if (how === 'drop') bytes = Buffer.concat([bytes.subarray(0, place), bytes.subarray(place + 1)]);
        else if (how === 'add') bytes = Buffer.concat([bytes.subarray(0, place), Buffer.from([value]), bytes.subarray(place)]);
        else bytes = bytes.subarray(0, place);
      }
      if (bytes.length > 0) agree(bytes);
    }),
    { numRuns: 400 },
  );
});

/** One element with any tag, its length written in any way, and any octets or elements inside. */
const anyElement = fc.letrec<{ element: Buffer }>((tie) => ({
  element: fc
    .tuple(
      fc.oneof(fc.constantFrom(0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0c, 0x13, 0x16, 0x17, 0x18, 0x30, 0x31, 0x80, 0xa0, 0xa1, 0x24), fc.nat(255)),
      fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        fc.uint8Array({ maxLength: 6 }).map((bytes) => Buffer.from(bytes)),
        fc.constantFrom('261123120000Z', '20261123120000Z', '9913991200Z', 'abc').map((text) => Buffer.from(text)),
        fc.array(tie('element'), { maxLength: 3 }).map((parts) => Buffer.concat(parts)),
      ),
      fc.constantFrom('short', 'short', 'short', 'short', 'long', 'endless'),
    )
    .map(([tag, inside, form]) =>
      form === 'endless'
        ? Buffer.concat([Buffer.from([tag, 0x80]), inside, Buffer.alloc(2)])
        : Buffer.concat([Buffer.from(form === 'long' ? [tag, 0x81, inside.length & 0xff] : [tag, inside.length & 0x7f]), inside]),
    ),
})).element;

test('whatever element it is, the quick reader says what the library says, or nothing', () => {
  let quick = 0;
  fc.assert(
    fc.property(anyElement, (bytes) => {
      if (agree(bytes)) quick += 1;
    }),
    { numRuns: 800 },
  );
  expect(quick).toBeGreaterThan(100);
});

test('as deep, as long and as many as the bounds say, and no more, whoever reads it', () => {
  const deep = (levels: number): Buffer => (levels === 0 ? nothing() : sequence(deep(levels - 1)));
  const many = (howMany: number): Buffer => sequence(...Array.from({ length: howMany }, () => nothing()));
  const reads = (bytes: Buffer): boolean => {
    try {
      return readAsn1(bytes, bounds) !== null;
    } catch {
      return false;
    }
  };
  for (const [make, last] of [
    [deep, 24],
    [many, 999],
  ] as const) {
    for (const size of [last - 2, last - 1, last, last + 1, last + 2]) agree(make(size));
    expect([reads(make(last)), reads(make(last + 1))]).toEqual([true, false]);
  }
  expect(reads(octets(Buffer.alloc(bounds.bytes)))).toBe(false);
});

test('what is DER already stays as it is, and what is not is written anew', () => {
  const of = (bytes: Uint8Array) => derOf(readAsn1(bytes, bounds));
  const name = sequence(set(sequence(oid('2.5.4.3'), utf8('Escrow'))), tagged(1, integer(7)), taggedOctets(2, Buffer.alloc(300)), octets(Buffer.alloc(128)));
  expect(of(name)).toEqual(name);
  const same = sequence(oid('2.5.4.3'), octets(Buffer.from('abc')));
  const body = same.subarray(2);
  // Without an end, with a length that is too long, with a string in pieces: the same in BER.
  expect(of(Buffer.concat([Buffer.from([0x30, 0x80]), body, Buffer.alloc(2)]))).toEqual(same);
  expect(of(Buffer.concat([Buffer.from([0x30, 0x81, body.length]), body]))).toEqual(same);
  const pieces = Buffer.from([0x24, 0x07, 0x04, 0x02, 0x61, 0x62, 0x04, 0x01, 0x63]);
  expect(of(Buffer.concat([Buffer.from([0x30, 5 + pieces.length]), body.subarray(0, 5), pieces]))).toEqual(same);
  // 256 octets and more, without an end: as long as with one.
  const long = Buffer.concat([Buffer.from([0x30, 0x80]), octets(Buffer.alloc(300)), Buffer.alloc(2)]);
  expect(of(long)).toEqual(sequence(octets(Buffer.alloc(300))));
  expect(of(Buffer.from([0x31, 0x06, 0x02, 0x01, 0x05, 0x02, 0x01, 0x03]))).toEqual(set(integer(3), integer(5)));
});

test('object identifiers are the same with small numbers and with large ones', () => {
  const read = (hex: string): string => oidOf(readAsn1(Buffer.from(hex, 'hex'), bounds));
  for (const value of ['1.2.840.113549.1.7.3', '2.5.29.15', '0.9.2342', '2.999.1', '1.39.1', '2.16.840.1.101.3.4.1.46'])
    expect(oidOf(readAsn1(oid(value), bounds))).toBe(value);
  // 2 to the power of 63, and an arc of as many as fit into a number.
  expect(read('060b2a81808080808080808000')).toBe('1.2.9223372036854775808');
  expect(read('06092affffffffffffff7f')).toBe('1.2.72057594037927935');
});
