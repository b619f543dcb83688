import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readRetryAfter } from '../agent/retry.ts';
import * as asn1 from '../protocol/asn1.ts';
import { allowsUse, caDepthOf, keyIdOf, purposesOf, readCertificate } from '../protocol/certificate.ts';
import { makeCsr, readCsr } from '../protocol/csr.ts';
import { enrolmentStatement, readEnrolmentStatement, readTicket, writeTicket } from '../protocol/enrolment.ts';
import { EnvelopeUnreadable, isCompleteEnvelope, oneRecipientOurs, openEnvelope, readEnvelope, recipientNames, sealKey } from '../protocol/envelope.ts';
import { grantStatement, makeRunKey, openGrant, sealGrant, verifyGrantSignature } from '../protocol/grant.ts';
import * as messages from '../protocol/messages.ts';
import { problemReply } from '../protocol/problem-reply.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { makeEscrowCertificate } from '../server/certificates.ts';
import { makePair, pemToDer } from './fake-mac/certificates.ts';
import { checkInBody, newMac } from './given-server.ts';
import { anyText, bent, bentJson, bentText, berBombs, calmly, calmlyLater, isPolluted, nasty, patience, runs } from './hostile.ts';

/*
 * Everything that both sides read, given what nobody would write: a value, or words that say what is wrong, within a second.
 */

const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'.split('');
const keyText = fc.array(fc.constantFrom(...letters), { minLength: 24, maxLength: 24 }).map((all) => all.join('').match(/.{4}/g)?.join('-') ?? '');
const keyOf = (text: string): RecoveryKey => RecoveryKey.parse(text) as RecoveryKey;
const words = 'ABCD-EFGH-JKLM-NPQR-TUVW-XYZ2';

let escrow: { privateKey: KeyObject; der: Buffer };
let other: { privateKey: KeyObject; der: Buffer };
let certificates: Buffer[];
let csr: Buffer;
const bounds = { bytes: 16 * 1024, depth: 24, elements: 1000 };

beforeAll(() => {
  const pair = (commonName: string) => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    return { privateKey, der: makeEscrowCertificate({ commonName, privateKey, years: 20, at: new Date('2026-11-22T12:00:00Z') }) };
  };
  escrow = pair('Escrow');
  other = pair('Other');
  const ca = makePair({ subject: { CN: 'A CA' }, kind: 'ca', keyType: 'ec' });
  const device = makePair({ subject: { CN: 'A Mac', serialNumber: 'C02TEST00001' }, kind: 'device', keyType: 'ec', issuer: ca, dnsName: 'a.example' });
  certificates = [escrow.der, pemToDer(ca.certificate), pemToDer(device.certificate)];
  csr = makeCsr(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
});

/** Everything that is asked of a certificate. */
function allOf(der: Uint8Array): void {
  const certificate = readCertificate(der);
  for (const ask of [keyIdOf, purposesOf, caDepthOf, (it: typeof certificate) => allowsUse(it, 'digitalSignature')]) calmly(() => ask(certificate));
}

describe('ASN.1', () => {
  const readers: Record<string, (bytes: Uint8Array) => unknown> = {
    readAsn1: (bytes) => asn1.derOf(asn1.readAsn1(bytes, bounds)),
    readCertificate: allOf,
    recipientNames,
    readCsr,
    readEnvelope,
    isCompleteEnvelope,
  };

  test('BER bombs: nesting, lengths without end, huge numbers and identifiers', () => {
    for (const bytes of berBombs(16 * 1024))
      for (const [name, read] of Object.entries(readers)) calmly(() => read(bytes), `${name} of ${bytes.subarray(0, 8).toString('hex')}…`);
  });

  test('bombs where a part of something valid would be', () => {
    const small = berBombs(2000).filter((bytes) => bytes.length < 4000);
    const places: [Buffer, (bytes: Uint8Array) => unknown][] = [
      [sealKey(keyOf(words), escrow.der), readEnvelope],
      [csr, readCsr],
      ...certificates.slice(1).map((der): [Buffer, typeof allOf] => [der, allOf]),
    ];
    for (const [valid, read] of places)
      for (const at of [0.1, 0.35, 0.6]) {
        const place = Math.floor(valid.length * at);
        for (const bomb of small) calmly(() => read(Buffer.concat([valid.subarray(0, place), bomb, valid.subarray(place)])));
      }
  });

  test('a bomb leaves no memory behind', () => {
    const before = process.memoryUsage().heapUsed;
    for (const bytes of berBombs(16 * 1024)) calmly(() => readEnvelope(bytes));
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(200 * 1024 * 1024);
  });

  test(
    'any bytes',
    () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
          for (const [name, read] of Object.entries(readers)) calmly(() => read(bytes), name);
        }),
        runs(300),
      );
    },
    patience,
  );

  test(
    'bent certificates and requests',
    () => {
      fc.assert(
        fc.property(bent(csr, ...certificates), (bytes) => {
          for (const [name, read] of Object.entries(readers)) calmly(() => read(bytes), name);
        }),
        runs(150),
      );
    },
    patience,
  );

  test('what was written is read as it was', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 0, max: 2 ** 31 - 1 }), (bytes, number) => {
        const element = asn1.readAsn1(asn1.sequence(asn1.octets(bytes), asn1.integer(number), asn1.bits(bytes)), bounds);
        const fields = new asn1.Fields(element, 'sequence');
        expect(asn1.octetsOf(fields.next('octets'))).toEqual(Buffer.from(bytes));
        expect(asn1.smallIntegerOf(fields.next('integer'))).toBe(number);
        expect(asn1.bitsOf(fields.next('bits'))).toEqual(Buffer.from(bytes));
        expect(asn1.derOf(element)).toEqual(element.raw);
      }),
      runs(200),
    );
  });
});

describe('envelopes', () => {
  const open = (bytes: Uint8Array): string => {
    const opened = openEnvelope(bytes, escrow.privateKey, escrow.der);
    return opened === 'unreadable' ? opened : opened.reveal();
  };

  test('a sealed key opens as itself, for its own recipient alone', () => {
    fc.assert(
      fc.property(keyText, (text) => {
        const sealed = sealKey(keyOf(text), escrow.der);
        expect(open(sealed)).toBe(text);
        expect(openEnvelope(sealed, other.privateKey, other.der)).toBe('unreadable');
      }),
      runs(15),
    );
  });

  test(
    'a bent one never opens to another key',
    () => {
      const sealed = [sealKey(keyOf(words), escrow.der), sealKey(keyOf(words), escrow.der)];
      fc.assert(
        fc.property(bent(...sealed), (bytes) => {
          expect([words, 'unreadable']).toContain(open(bytes));
          const read = calmly(() => readEnvelope(bytes));
          expect(calmly(() => isCompleteEnvelope(bytes))).toEqual({ value: 'value' in read });
          if ('value' in read) calmly(() => oneRecipientOurs(read.value, escrow.der));
          else expect(() => readEnvelope(bytes)).toThrow(EnvelopeUnreadable);
        }),
        runs(150),
      );
    },
    patience,
  );

  test('two of them crossed over anywhere open to one of the two, or not at all', () => {
    const [one, two] = [sealKey(keyOf(words), escrow.der), sealKey(keyOf('ZZZZ-EFGH-JKLM-NPQR-TUVW-XYZ2'), escrow.der)];
    fc.assert(
      fc.property(fc.nat(one.length), fc.nat(two.length), (at, from) => {
        const crossed = Buffer.concat([one.subarray(0, at), two.subarray(from)]);
        expect([words, 'ZZZZ-EFGH-JKLM-NPQR-TUVW-XYZ2', 'unreadable']).toContain(open(crossed));
      }),
      runs(60),
    );
  });
});

describe('grants', () => {
  const asked = (publicKey: { x: string; y: string }): messages.GrantRequest => ({
    purpose: 'prove',
    recordId: 'record',
    forId: 'order',
    boot: '5B0E6D0A-0000-4000-8000-000000000001',
    publicKey,
    grantNonce: 'nonce',
    enrolmentId: 'enrolment',
    signature: 'AAAA',
  });

  test(
    'one opens for its own request, and a bent one for none',
    async () => {
      const pair = await makeRunKey();
      const request = asked(pair.publicKey);
      const jwe = await sealGrant(keyOf(words), request);
      expect((await openGrant(jwe, pair.privateKey, request))?.reveal()).toBe(words);
      await fc.assert(
        fc.asyncProperty(bentText(jwe), async (text) => {
          const opened = await calmlyLater(() => openGrant(text, pair.privateKey, request));
          expect('value' in opened).toBe(true);
          // base64url has more than one way to end, which says the same.
          if ('value' in opened && opened.value) expect(opened.value.reveal()).toBe(words);
        }),
        runs(150),
      );
      for (const name of ['recordId', 'forId', 'grantNonce', 'enrolmentId', 'boot', 'purpose'] as const)
        expect(await openGrant(jwe, pair.privateKey, { ...request, [name]: 'rotate' })).toBeNull();
    },
    patience,
  );

  test('headers made to cost: compression, passwords with many rounds, other curves, critical extensions', async () => {
    const pair = await makeRunKey();
    const request = asked(pair.publicKey);
    const [, ...rest] = (await sealGrant(keyOf(words), request)).split('.');
    for (const header of [
      { alg: 'PBES2-HS512+A256KW', enc: 'A256GCM', p2c: 2 ** 31, p2s: 'AAAA' },
      { alg: 'ECDH-ES', enc: 'A256GCM', zip: 'DEF', epk: { kty: 'EC', crv: 'P-256', ...pair.publicKey } },
      { alg: 'ECDH-ES', enc: 'A256GCM', crit: ['typ'], epk: { kty: 'EC', crv: 'P-256', ...pair.publicKey } },
      { alg: 'ECDH-ES', enc: 'A256GCM', epk: { kty: 'EC', crv: 'P-521', x: 'A'.repeat(4000), y: 'A' } },
      { alg: 'dir', enc: 'none' },
      { alg: 'none' },
    ]) {
      const jwe = [Buffer.from(JSON.stringify(header)).toString('base64url'), ...rest].join('.');
      expect(await calmlyLater(() => openGrant(jwe, pair.privateKey, request))).toEqual({ value: null });
    }
  });

  test('a request that is no request is not signed, whatever key is named', () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const spki = publicKey.export({ format: 'der', type: 'spki' });
    fc.assert(
      fc.property(anyText(80), anyText(80), anyText(80), bent(spki), (x, y, signature, der) => {
        const request = { ...asked({ x, y }), signature };
        expect(calmly(() => verifyGrantSignature(request, der))).toEqual({ value: false });
        calmly(() => grantStatement(request));
      }),
      runs(150),
    );
  });
});

describe('texts', () => {
  test('a recovery key is read as it was written, however a person typed it, and nothing else is one', () => {
    fc.assert(
      fc.property(keyText, anyText(60), (text, more) => {
        expect(RecoveryKey.parse(text)?.reveal()).toBe(text);
        expect(RecoveryKey.normalise(text.toLowerCase().replaceAll('-', ' '))?.reveal()).toBe(text);
        expect(RecoveryKey.findIn(`<${text}>`)?.reveal()).toBe(text);
        for (const asWritten of [text, text.toLowerCase(), text.replaceAll('-', '–')])
          expect(RecoveryKey.cutFrom(`it says ${asWritten}, ${asWritten}`)).toBe('it says [recovery key], [recovery key]');
        const read = calmly(() => [RecoveryKey.parse(more), RecoveryKey.normalise(more), RecoveryKey.findIn(more), RecoveryKey.cutFrom(more)]);
        expect('value' in read).toBe(true);
      }),
      runs(200),
    );
    for (const long of ['A-'.repeat(500_000), '-'.repeat(1_000_000), 'ABCD-'.repeat(200_000), ' '.repeat(1_000_000), 'A'.repeat(1_000_000)])
      calmly(() => [RecoveryKey.parse(long), RecoveryKey.normalise(long), RecoveryKey.findIn(long), RecoveryKey.cutFrom(long)]);
  });

  test('an enrolment statement and a ticket are read as they were written', () => {
    const word = fc.stringMatching(/^[A-Za-z0-9:/.-]{1,40}$/);
    fc.assert(
      fc.property(word, word, word, word, fc.option(word.filter((text) => text !== 'none')), (server, nonce, serial, hardwareUuid, continues) => {
        const claims = { server, nonce, csrDigest: '0'.repeat(64), serial, hardwareUuid, continues };
        expect(readEnrolmentStatement(enrolmentStatement(claims))).toEqual(claims);
        const ticket = { id: 'an-id', secret: randomBytes(32) };
        expect(readTicket(writeTicket(ticket))).toEqual(ticket);
      }),
      runs(100),
    );
  });

  test('any text in place of a statement, a ticket, or a time to wait', () => {
    const statement = enrolmentStatement({ server: 'https://a', nonce: 'n', csrDigest: '0'.repeat(64), serial: 's', hardwareUuid: 'h', continues: null });
    fc.assert(
      fc.property(fc.oneof(anyText(300), bentText(statement)), anyText(40), (text, date) => {
        for (const read of [readEnrolmentStatement, readTicket, (it: string) => readRetryAfter(it, date)])
          expect('value' in calmly(() => read(text))).toBe(true);
        const wait = readRetryAfter(text, date);
        expect(wait === undefined || (Number.isFinite(wait) && wait >= 0)).toBe(true);
      }),
      runs(300),
    );
    for (const value of [...nasty, '1'.repeat(100_000), 'Wed, 21 Oct 99999 07:28:00 GMT']) calmly(() => readRetryAfter(value, value));
  });
});

describe('messages', () => {
  const receipt = {
    envelopeId: '0'.repeat(64),
    recordId: 'r',
    receivedAt: '2026-11-22T12:00:00.000Z',
    recipient: '0'.repeat(64),
    readable: 'yes',
    state: 'held',
    held: { recordId: 'r', envelopeIds: [], state: 'held' },
    requestId: 'q',
  };
  const mac = newMac();
  const valid: Record<string, [{ safeParse(value: unknown): { success: boolean } }, unknown]> = {
    checkInRequest: [
      messages.checkInRequest,
      checkInBody(mac, {
        offers: ['0'.repeat(64)],
        debts: [{ id: 'd', because: 'used', envelopeId: null, boot: mac.boot }],
        problems: [{ code: 'X', detail: 'y' }],
        rotation: { id: 'r', state: 'intended', because: 'used' },
      }),
    ],
    receipt: [messages.receipt, receipt],
    problemReply: [problemReply, { code: 'X', title: 't', fix: 'f', detail: 'd', requestId: 'q' }],
    grantReply: [messages.grantReply, { jwe: 'a.b.c.d.e' }],
    nonceReply: [messages.nonceReply, { nonce: 'n', expiresInSeconds: 300 }],
    enrolRequest: [messages.enrolRequest, { csr: 'AAAA', statement: 's', proof: { kind: 'ticket', ticketId: 't', mac: 'AAAA' } }],
    deliveryRequest: [
      messages.deliveryRequest,
      {
        envelope: 'AAAA',
        source: 'rotation',
        hardwareUuid: mac.hardwareUuid,
        volume: mac.volume,
        madeAt: '2026-11-22T12:00:00Z',
        validated: 'true',
        rotationId: null,
      },
    ],
  };

  test.each(Object.keys(valid))('%s: a message or none, and nothing of it reaches other objects', (name) => {
    const [schema, value] = valid[name] ?? [problemReply, {}];
    expect(schema.safeParse(value).success).toBe(true);
    fc.assert(
      fc.property(bentJson(value), (hostile) => {
        const read = calmly(() => schema.safeParse(hostile), name);
        expect('value' in read).toBe(true);
      }),
      runs(150),
    );
    expect(isPolluted()).toBe(false);
  });

  test('every form that the protocol has takes any value calmly', () => {
    const schemas = Object.values(messages).filter(
      (one): one is typeof messages.receipt => typeof one === 'object' && one !== null && 'safeParse' in one && typeof one.safeParse === 'function',
    );
    expect(schemas.length).toBeGreaterThan(20);
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), bentJson(receipt)), (value) => {
        for (const schema of schemas) expect('value' in calmly(() => schema.safeParse(value))).toBe(true);
      }),
      runs(100),
    );
  });
});

test('a private key or certificate of absurd size is refused in words', () => {
  const modulus = asn1.unsigned(Buffer.alloc(8192, 0xff));
  const spki = asn1.sequence(
    asn1.sequence(asn1.oid('1.2.840.113549.1.1.1'), asn1.nothing()),
    asn1.bits(asn1.sequence(modulus, asn1.unsigned(Buffer.alloc(8192, 0xfd)))),
  );
  calmly(() =>
    readCsr(asn1.sequence(asn1.sequence(asn1.integer(0), asn1.sequence(), spki), asn1.sequence(asn1.oid('1.2.840.10045.4.3.2')), asn1.bits(randomBytes(64)))),
  );
  expect(() => createPrivateKey(spki)).toThrow();
});
