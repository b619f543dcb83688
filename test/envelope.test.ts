import { constants, createCipheriv, generateKeyPairSync, type KeyObject, publicEncrypt, randomBytes, webcrypto } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import * as asn1js from 'asn1js';
import fc from 'fast-check';
import * as pkijs from 'pkijs';
import { derOf, integer, nothing, octets, oid, readAsn1, sequence, set, tagged, taggedOctets } from '../protocol/asn1.ts';
import {
  certificateDigest,
  EnvelopeUnreadable,
  isCompleteEnvelope,
  oneRecipientOurs,
  openEnvelope,
  openEnvelopeAside,
  readEnvelope,
  recipientNames,
  sealKey,
} from '../protocol/envelope.ts';
import { limits, recipient as recipientSchema } from '../protocol/messages.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { makeEscrowCertificate, pem, readPem } from '../server/certificates.ts';
import { openssl, testWithOpenssl } from './openssl.ts';
import { cpuTime } from './waiting.ts';

const at = new Date('2026-11-22T12:00:00Z');
const words = 'ABCD-EFGH-JKLM-NPQR-TUVW-XYZ2';
const key = RecoveryKey.parse(words) as RecoveryKey;

interface Escrow {
  privateKey: KeyObject;
  der: Buffer;
  /** For openssl: the certificate and the private key. */
  files: Record<string, string>;
}

function escrow(modulusLength = 2048, commonName = 'Sparekey escrow'): Escrow {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength });
  const der = makeEscrowCertificate({ commonName, privateKey, years: 20, at });
  const files = { 'certificate.pem': pem('CERTIFICATE', der), 'key.pem': privateKey.export({ format: 'pem', type: 'pkcs8' }).toString() };
  return { privateKey, der, files };
}

const ours = escrow();
const stranger = escrow(2048, 'Somebody else');

const open = (bytes: Uint8Array, with_ = ours): string => {
  const opened = openEnvelope(bytes, with_.privateKey, with_.der);
  return opened === 'unreadable' ? opened : opened.reveal();
};
/** By the backend's way. */
const openAside = async (bytes: Uint8Array, with_ = ours): Promise<string> => {
  const opened = await openEnvelopeAside(bytes, with_.privateKey, with_.der);
  return opened === 'unreadable' ? opened : opened.reveal();
};
const withOpenssl = (args: readonly string[], plain = words, more: Record<string, string> = {}): Buffer =>
  openssl(
    ['cms', '-encrypt', '-binary', '-outform', 'DER', ...args],
    { ...ours.files, 'stranger.pem': stranger.files['certificate.pem'] ?? '', ...more },
    plain,
  );

// ——— an envelope with whatever one asks for, to be bent

const names = {
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
  mgf1: '1.2.840.113549.1.1.8',
  oaep: '1.2.840.113549.1.1.7',
  rsa: '1.2.840.113549.1.1.1',
};
interface Bent {
  plain?: string;
  tagBytes?: number;
  /** What GCM's parameters say, where that is something else. */
  saidTagBytes?: number | null;
  nonceBytes?: number;
  block?: (block: Buffer) => Buffer;
  maskHash?: string;
  label?: Buffer;
  attributes?: boolean;
  /** Before and after the recipient that is ours. */
  before?: Buffer[];
  after?: Buffer[];
  cipher?: 'aes-256-gcm' | 'aes-128-gcm';
}
function issuerAndSerial(certificateDer: Buffer): Buffer {
  const body = readAsn1(certificateDer, { bytes: 9999, depth: 20, elements: 999 }).children[0]?.children ?? [];
  return sequence(body[3]?.raw ?? Buffer.alloc(0), body[1]?.raw ?? Buffer.alloc(0));
}
function bentEnvelope(bent: Bent = {}): Buffer {
  const { tagBytes = 16, cipher: cipherName = 'aes-256-gcm' } = bent;
  const contentKey = randomBytes(cipherName === 'aes-256-gcm' ? 32 : 16);
  const nonce = randomBytes(bent.nonceBytes ?? 12);
  const cipher = createCipheriv(cipherName, contentKey, nonce, { authTagLength: tagBytes });
  const encrypted = Buffer.concat([cipher.update(bent.plain ?? words), cipher.final()]);
  const encryption = {
    key: ours.files['certificate.pem'] ?? '',
    padding: constants.RSA_PKCS1_OAEP_PADDING,
    oaepHash: 'sha256',
    ...(bent.label && { oaepLabel: bent.label }),
  };
  const block = (bent.block ?? ((same) => same))(publicEncrypt(encryption, contentKey));
  const hash = sequence(oid(names.sha256), nothing());
  const label = bent.label ? [tagged(2, sequence(oid('1.2.840.113549.1.1.9'), octets(bent.label)))] : [];
  const oaep = sequence(
    oid(names.oaep),
    sequence(tagged(0, hash), tagged(1, sequence(oid(names.mgf1), sequence(oid(bent.maskHash ?? names.sha256)))), ...label),
  );
  const mine = sequence(integer(0), issuerAndSerial(ours.der), oaep, octets(block));
  const said = bent.saidTagBytes === undefined ? tagBytes : bent.saidTagBytes;
  const parameters = sequence(octets(nonce), ...(said === null ? [] : [integer(said)]));
  const gcm = sequence(oid(cipherName === 'aes-256-gcm' ? '2.16.840.1.101.3.4.1.46' : '2.16.840.1.101.3.4.1.6'), parameters);
  const sealed = sequence(oid('1.2.840.113549.1.7.1'), gcm, taggedOctets(0, encrypted));
  const attributes = bent.attributes ? [tagged(1, sequence(oid('1.2.3.4'), set(nothing())))] : [];
  const recipients = set(...(bent.before ?? []), mine, ...(bent.after ?? []));
  return sequence(oid('1.2.840.113549.1.9.16.1.23'), tagged(0, sequence(integer(0), recipients, sealed, ...attributes, octets(cipher.getAuthTag()))));
}

describe('what the agent seals', () => {
  test('opens again, says whom it is for, and is never the same twice', () => {
    const sealed = sealKey(key, ours.der);
    expect(readEnvelope(sealed)).toMatchObject({
      form: 'auth-enveloped',
      cipher: 'aes-256-gcm',
      recipients: [{ name: recipientNames(ours.der)[0], keyEncryption: 'rsa-oaep-sha256' }],
    });
    expect(oneRecipientOurs(readEnvelope(sealed), ours.der)).toBe(true);
    expect(isCompleteEnvelope(sealed)).toBe(true);
    expect(open(sealed)).toBe(words);
    const again = sealKey(key, ours.der);
    expect(readEnvelope(again).recipients[0]?.encryptedKey).not.toEqual(readEnvelope(sealed).recipients[0]?.encryptedKey);
  });

  test('is DER, and small enough to travel', () => {
    const sealed = sealKey(key, ours.der);
    expect(derOf(readAsn1(sealed, { bytes: 9999, depth: 20, elements: 999 }))).toEqual(sealed);
    expect(sealed.length).toBeLessThan(1024);
  });

  test('is not for somebody else', () => {
    const sealed = sealKey(key, ours.der);
    expect(oneRecipientOurs(readEnvelope(sealed), stranger.der)).toBe(false);
    expect(open(sealed, stranger)).toBe('unreadable');
    // The right name with the wrong private key.
    expect(openEnvelope(sealed, stranger.privateKey, ours.der)).toBe('unreadable');
  });

  test('goes to RSA of 2048 bits or more only', () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
    expect(() => makeEscrowCertificate({ commonName: 'weak', privateKey, years: 1, at })).toThrow('2048');
    expect(() => sealKey(key, Buffer.from('3000', 'hex'))).toThrow();
  });

  testWithOpenssl('is opened by `openssl cms -decrypt` and the private key alone, with nothing of ours', () => {
    for (const modulusBits of [2048, 3072, 4096]) {
      const pair = escrow(modulusBits);
      const sealed = sealKey(key, pair.der);
      const plain = openssl(['cms', '-decrypt', '-inform', 'DER', '-in', 'envelope.der', '-inkey', 'key.pem'], { ...pair.files, 'envelope.der': sealed });
      expect(plain.toString()).toBe(words);
      expect(open(sealed, pair)).toBe(words);
    }
  });

  testWithOpenssl('goes to certificates that somebody else made, serial numbers of all kinds', () => {
    for (const serial of ['1', '0x80', '0x00ff0000000000000000000000000000000000ff', '-5']) {
      const made = openssl(
        ['req', '-x509', '-key', 'key.pem', '-subj', '/C=NL/O=Example Ltd/CN=escrow 2026', '-set_serial', serial, '-days', '9', '-utf8'],
        ours.files,
      ).toString();
      const der = readPem(made)[0] ?? Buffer.alloc(0);
      const sealed = sealKey(key, der);
      expect(
        openssl(['cms', '-decrypt', '-inform', 'DER', '-recip', 'made.pem', '-inkey', 'key.pem'], { ...ours.files, 'made.pem': made }, sealed).toString(),
      ).toBe(words);
      expect(oneRecipientOurs(readEnvelope(sealed), der)).toBe(true);
      expect(openEnvelope(sealed, ours.privateKey, der)).toEqual(key);
    }
  });

  test('is read by a second library, and opened by WebCrypto', async () => {
    const outer = asn1js.fromBER(new Uint8Array(sealKey(key, ours.der))).result;
    const schema = new asn1js.Sequence({
      value: [
        new asn1js.ObjectIdentifier({ name: 'type' }),
        new asn1js.Constructed({
          idBlock: { tagClass: 3, tagNumber: 0 },
          value: [
            new asn1js.Sequence({
              value: [
                new asn1js.Integer({ name: 'version' }),
                new asn1js.Set({ value: [new asn1js.Repeated({ name: 'recipients', value: pkijs.RecipientInfo.schema() })] }),
                pkijs.EncryptedContentInfo.schema({ names: { blockName: 'sealed' } }),
                new asn1js.OctetString({ name: 'tag' }),
              ],
            }),
          ],
        }),
      ],
    });
    const checked = asn1js.compareSchema(outer, outer, schema);
    expect(checked.verified).toBe(true);
    const result = checked.result as unknown as { recipients: asn1js.Sequence[]; sealed: asn1js.Sequence; tag: asn1js.OctetString };
    const recipient = new pkijs.KeyTransRecipientInfo({ schema: result.recipients[0] });
    const sealed = new pkijs.EncryptedContentInfo({ schema: result.sealed });
    const oaep = new pkijs.RSAESOAEPParams({ schema: recipient.keyEncryptionAlgorithm.algorithmParams });
    expect([oaep.hashAlgorithm.algorithmId, oaep.maskGenAlgorithm.algorithmId]).toEqual([names.sha256, names.mgf1]);
    const pkcs8 = ours.privateKey.export({ format: 'der', type: 'pkcs8' });
    const unwrap = await webcrypto.subtle.importKey('pkcs8', pkcs8, { name: 'RSA-OAEP', hash: 'SHA-256' }, false, ['decrypt']);
    const contentKey = await webcrypto.subtle.decrypt({ name: 'RSA-OAEP' }, unwrap, Buffer.from(recipient.encryptedKey.valueBlock.valueHexView));
    const gcm = await webcrypto.subtle.importKey('raw', contentKey, 'AES-GCM', false, ['decrypt']);
    const nonce = (sealed.contentEncryptionAlgorithm.algorithmParams as asn1js.Sequence).valueBlock.value[0] as asn1js.OctetString;
    const content = Buffer.concat([Buffer.from(sealed.getEncryptedContent()), Buffer.from(result.tag.valueBlock.valueHexView)]);
    const plain = await webcrypto.subtle.decrypt({ name: 'AES-GCM', iv: Buffer.from(nonce.valueBlock.valueHexView) }, gcm, content);
    expect(Buffer.from(plain).toString()).toBe(words);
  });
});

describe("macOS's own envelopes, and those of others", () => {
  const ciphers = [
    ['-des3', 'des-ede3-cbc'],
    ['-aes128', 'aes-128-cbc'],
    ['-aes192', 'aes-192-cbc'],
    ['-aes256', 'aes-256-cbc'],
    ['-aes-128-gcm', 'aes-128-gcm'],
    ['-aes-256-gcm', 'aes-256-gcm'],
  ] as const;
  const oaep = ['-keyopt', 'rsa_padding_mode:oaep'];
  const paddings = [
    ['rsa-pkcs1-v1_5', []],
    ['rsa-oaep-sha1', oaep],
    ['rsa-oaep-sha256', [...oaep, '-keyopt', 'rsa_oaep_md:sha256']],
  ] as const;
  for (const [option, cipher] of ciphers) {
    testWithOpenssl(`${cipher}, however its key is padded, named and encoded`, () => {
      for (const [keyEncryption, padding] of paddings) {
        for (const form of [[], ['-stream'], ['-stream', '-keyid']]) {
          const bytes = withOpenssl([option, ...form, '-recip', 'certificate.pem', ...padding]);
          expect(bytes.subarray(0, 2).toString('hex') === '3080').toBe(form.includes('-stream'));
          const read = readEnvelope(bytes);
          expect(read).toMatchObject({ cipher, recipients: [{ keyEncryption, name: recipientNames(ours.der)[form.includes('-keyid') ? 1 : 0] }] });
          expect(oneRecipientOurs(read, ours.der)).toBe(true);
          expect(open(bytes)).toBe(words);
        }
      }
    });
  }

  testWithOpenssl("a newline after the key is macOS's affair; anything else is no recovery key", () => {
    const seal = (plain: string) => open(withOpenssl(['-des3', '-stream', 'certificate.pem'], plain));
    expect(seal(`${words}\n`)).toBe(words);
    for (const plain of [`${words}\n\n`, ` ${words}`, words.toLowerCase(), words.slice(0, 19), `${words}-AAAA`, '<plist/>', 'x'])
      expect(seal(plain)).toBe('unreadable');
  });

  testWithOpenssl('ours is found among several recipients, and the backend still takes only an envelope for us alone', () => {
    for (const recipients of [
      ['-recip', 'stranger.pem', '-recip', 'certificate.pem'],
      ['-recip', 'certificate.pem', '-recip', 'stranger.pem', '-keyid'],
      ['-recip', 'certificate.pem', '-secretkey', '00112233445566778899aabbccddeeff', '-secretkeyid', 'c0ffee'],
      ['-recip', 'certificate.pem', '-pwri_password', 'not a secret'],
    ]) {
      const bytes = withOpenssl(['-aes256', ...recipients]);
      const read = readEnvelope(bytes);
      expect(read.recipients).toHaveLength(2);
      expect(oneRecipientOurs(read, ours.der)).toBe(false);
      expect(open(bytes)).toBe(words);
    }
  });

  testWithOpenssl('whoever it is for has a name that a check-in can carry, and only RSA recipients have a key block', () => {
    const elliptic = openssl([
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      '/dev/null',
      '-subj',
      '/CN=elliptic',
      '-days',
      '9',
    ]).toString();
    const [ellipticDer = Buffer.alloc(0)] = readPem(elliptic);
    const envelopes = [
      [withOpenssl(['-aes128', '-recip', 'elliptic.pem'], words, { 'elliptic.pem': elliptic }), 'key-agreement', recipientNames(ellipticDer)[0]],
      [withOpenssl(['-aes128', '-recip', 'elliptic.pem', '-keyid'], words, { 'elliptic.pem': elliptic }), 'key-agreement', recipientNames(ellipticDer)[1]],
      [withOpenssl(['-aes128', '-secretkey', '00112233445566778899aabbccddeeff', '-secretkeyid', 'c0ffee']), 'shared-key', expect.any(String)],
      [withOpenssl(['-aes128', '-pwri_password', 'not a secret']), 'password', expect.any(String)],
    ] as const;
    for (const [bytes, keyEncryption, name] of envelopes) {
      const { recipients } = readEnvelope(bytes);
      expect(recipients).toEqual([{ name, encryptedKey: null, keyEncryption }]);
      expect(recipientSchema.safeParse(recipients[0]?.name).success).toBe(true);
      expect(open(bytes)).toBe('unreadable');
    }
  });

  test('one made by a second library opens', async () => {
    pkijs.setEngine('node', new pkijs.CryptoEngine({ name: 'node', crypto: webcrypto as unknown as Crypto }) as unknown as pkijs.ICryptoEngine);
    const certificate = pkijs.Certificate.fromBER(new Uint8Array(ours.der));
    for (const variant of [1, 2] as const) {
      const enveloped = new pkijs.EnvelopedData();
      enveloped.addRecipientByCertificate(certificate, { oaepHashAlgorithm: 'SHA-256' }, variant);
      await enveloped.encrypt(
        { name: 'AES-CBC', length: 256 } as unknown as Parameters<typeof enveloped.encrypt>[0],
        Uint8Array.from(Buffer.from(words)).buffer,
      );
      const info = new pkijs.ContentInfo({ contentType: pkijs.ContentInfo.ENVELOPED_DATA, content: enveloped.toSchema() });
      const bytes = Buffer.from(info.toSchema().toBER());
      expect(readEnvelope(bytes)).toMatchObject({ form: 'enveloped', cipher: 'aes-256-cbc', recipients: [{ keyEncryption: 'rsa-oaep-sha256' }] });
      expect(open(bytes)).toBe(words);
    }
  });
});

describe('the names of a certificate', () => {
  test('issuer with serial number, and key identifier, in the form of the protocol', () => {
    const found = recipientNames(ours.der);
    expect(found).toHaveLength(2);
    for (const name of found) expect(recipientSchema.parse(name)).toBe(name);
    expect(certificateDigest(ours.der)).toMatch(/^[0-9a-f]{64}$/);
  });

  testWithOpenssl('are those that openssl sees', () => {
    const text = openssl(['x509', '-noout', '-serial', '-ext', 'subjectKeyIdentifier'], {}, ours.files['certificate.pem']).toString();
    const serial = /serial=([0-9A-F]+)/.exec(text)?.[1]?.toLowerCase().replace(/^0+/, '');
    const keyId = /((?:[0-9A-F]{2}:){19}[0-9A-F]{2})/.exec(text)?.[1]?.replaceAll(':', '').toLowerCase();
    expect(recipientNames(ours.der)).toEqual([expect.stringMatching(new RegExp(`:${serial}$`)), `key-id:${keyId}`]);
  });
});

describe('bent envelopes', () => {
  test('the straight one opens', () => expect(open(bentEnvelope())).toBe(words));

  const bents: [string, Bent, string][] = [
    ['a tag of 12 bytes, said or by default', { tagBytes: 12, saidTagBytes: null }, words],
    ['a short tag', { tagBytes: 8 }, 'unreadable'],
    ['a very short tag, said to be long', { tagBytes: 4, saidTagBytes: 16 }, 'unreadable'],
    ['a tag of another length than said', { saidTagBytes: 12 }, 'unreadable'],
    ['a nonce of 16 bytes', { nonceBytes: 16 }, 'unreadable'],
    ['AES-128', { cipher: 'aes-128-gcm' }, words],
    ['authenticated attributes', { attributes: true }, 'unreadable'],
    ['another hash in the mask', { maskHash: names.sha1 }, 'unreadable'],
    ['an OAEP label', { label: Buffer.from('label') }, 'unreadable'],
    ['a key block too short', { block: (block) => block.subarray(1) }, 'unreadable'],
    ['a key block too long', { block: (block) => Buffer.concat([Buffer.alloc(1), block]) }, 'unreadable'],
    ['no key block', { block: () => Buffer.alloc(0) }, 'unreadable'],
    ['a key block of ones, larger than the modulus', { block: (block) => Buffer.alloc(block.length, 255) }, 'unreadable'],
    ['a key block of zeros', { block: (block) => Buffer.alloc(block.length) }, 'unreadable'],
    ['no plain text', { plain: '' }, 'unreadable'],
  ];
  test.each(bents)('%s', async (_name, bent, expected) => {
    expect(open(bentEnvelope(bent))).toBe(expected);
    expect(await openAside(bentEnvelope(bent))).toBe(expected);
  });

  test('a block not of the modulus, or two recipients that are both ours, is not opened for a Mac', () => {
    const strict = (bent: Bent) => oneRecipientOurs(readEnvelope(bentEnvelope(bent)), ours.der);
    expect(strict({})).toBe(true);
    expect(strict({ block: (block) => block.subarray(1) })).toBe(false);
    expect(strict({ block: (block) => Buffer.alloc(block.length, 255) })).toBe(false);
    const twin = sequence(integer(0), issuerAndSerial(ours.der), sequence(oid(names.rsa), nothing()), octets(randomBytes(256)));
    expect(strict({ after: [twin] })).toBe(false);
    expect(strict({ before: [twin] })).toBe(false);
  });

  test('a PKCS #1 block with bad padding is answered with the same word, by implicit rejection', () => {
    for (let i = 0; i < 20; i += 1) {
      const block = randomBytes(256);
      block[0] = 0;
      const recipient = sequence(integer(0), issuerAndSerial(ours.der), sequence(oid(names.rsa), nothing()), octets(block));
      const sealed = sequence(oid('1.2.840.113549.1.7.1'), sequence(oid('1.2.840.113549.3.7'), octets(randomBytes(8))), taggedOctets(0, randomBytes(32)));
      const bytes = sequence(oid('1.2.840.113549.1.7.3'), tagged(0, sequence(integer(0), set(recipient), sealed)));
      expect(oneRecipientOurs(readEnvelope(bytes), ours.der)).toBe(true);
      expect(open(bytes)).toBe('unreadable');
    }
  });
});

describe('what is no envelope', () => {
  const unreadable = (bytes: Uint8Array) => {
    expect(() => readEnvelope(bytes)).toThrow(EnvelopeUnreadable);
    expect(isCompleteEnvelope(bytes)).toBe(false);
    expect(open(bytes)).toBe('unreadable');
  };
  const nested = (byte: string, depth: number) => Buffer.from(byte.repeat(depth), 'hex');

  test('nothing, garbage, too much, too deep', () => {
    const before = cpuTime();
    for (const bytes of [
      Buffer.alloc(0),
      Buffer.from('not CMS'),
      Buffer.alloc(300),
      nested('3080', 8192),
      nested('2480', 8192),
      nested('30', 16384),
      Buffer.concat([Buffer.from('30823ffc', 'hex'), nested('0500', 8190)]),
      Buffer.concat([Buffer.from('06823ffc', 'hex'), Buffer.alloc(16380, 1)]),
      Buffer.concat([Buffer.from('1f', 'hex'), Buffer.alloc(16383, 255)]),
      Buffer.concat([sealKey(key, ours.der), Buffer.alloc(16384)]),
      Buffer.alloc(1024 * 1024, 0x30),
    ])
      unreadable(bytes);
    // Generous, for busy machines: quadratic work on 16 KiB would take far longer.
    expect(cpuTime() - before).toBeLessThan(5000);
  });

  test('the limit is the one of the protocol', () => {
    expect(() => readEnvelope(Buffer.alloc(limits.envelopeBytes + 1, 0x30))).toThrow('too large');
    expect(() => readEnvelope(Buffer.alloc(limits.envelopeBytes, 0x30))).not.toThrow('too large');
  });

  test('CMS of another kind', () => unreadable(sequence(oid('1.2.840.113549.1.7.1'), tagged(0, octets(Buffer.from(words))))));

  test('an envelope without its contents, or without recipients', () => {
    const sealed = sequence(oid('1.2.840.113549.1.7.1'), sequence(oid('1.2.840.113549.3.7'), octets(randomBytes(8))));
    const recipient = sequence(integer(0), issuerAndSerial(ours.der), sequence(oid(names.rsa), nothing()), octets(randomBytes(256)));
    unreadable(sequence(oid('1.2.840.113549.1.7.3'), tagged(0, sequence(integer(0), set(recipient), sealed))));
    const full = sequence(oid('1.2.840.113549.1.7.1'), sequence(oid('1.2.840.113549.3.7'), octets(randomBytes(8))), taggedOctets(0, randomBytes(32)));
    unreadable(sequence(oid('1.2.840.113549.1.7.3'), tagged(0, sequence(integer(0), set(), full))));
  });

  test('one that was cut short anywhere, or has something behind it', () => {
    const sealed = sealKey(key, ours.der);
    for (let length = 0; length < sealed.length; length += 1) expect(isCompleteEnvelope(sealed.subarray(0, length))).toBe(false);
    for (const more of ['00', '0000', '30', '3000']) unreadable(Buffer.concat([sealed, Buffer.from(more, 'hex')]));
  });

  testWithOpenssl("a half-written escrow file of macOS's form", () => {
    const bytes = withOpenssl(['-des3', '-stream', 'certificate.pem']);
    expect(isCompleteEnvelope(bytes)).toBe(true);
    for (let length = 0; length < bytes.length; length += 1) expect(isCompleteEnvelope(bytes.subarray(0, length))).toBe(false);
    unreadable(Buffer.concat([bytes, Buffer.from('0000', 'hex')]));
  });

  test('whatever bytes come: a word, never an exception', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => open(bytes) === 'unreadable'),
      { numRuns: 300 },
    );
  });
});

describe('beside the event loop', () => {
  test('what agents write opens there, and nobody else’s', async () => {
    const bytes = sealKey(key, ours.der);
    expect([await openAside(bytes), await openAside(bytes), await openAside(bytes, stranger), await openAside(Buffer.from('none'))]).toEqual([
      words,
      words,
      'unreadable',
      'unreadable',
    ]);
  });

  testWithOpenssl("macOS's form opens as it does otherwise", async () => {
    expect(await openAside(withOpenssl(['-des3', '-stream', 'certificate.pem']))).toBe(words);
    // OAEP with SHA-1, which is openssl's own choice.
    const oaep = withOpenssl(['-des3', '-recip', 'certificate.pem', '-keyopt', 'rsa_padding_mode:oaep']);
    expect(readEnvelope(oaep).recipients[0]?.keyEncryption).toBe('rsa-oaep-sha1');
    expect(await openAside(oaep)).toBe(words);
    expect(await openAside(withOpenssl(['-des3', '-stream', 'stranger.pem']))).toBe('unreadable');
  });

  test('of one byte changed: the same key or `unreadable`, as otherwise', async () => {
    const sealed = sealKey(key, ours.der);
    const places = Array.from({ length: 40 }, (_, at) => Math.floor((at * sealed.length) / 40));
    for (const place of places) {
      const mutated = Buffer.from(sealed);
      mutated[place] = (mutated[place] ?? 0) ^ 1;
      expect(await openAside(mutated)).toBe(open(mutated));
    }
  });
});

describe('one byte changed', () => {
  /** Each byte with one bit changed, the lowest and the highest in turn; twice as many would only take longer. */
  function* mutations(bytes: Buffer): Generator<Buffer> {
    for (const [place, byte] of bytes.entries()) {
      const mutated = Buffer.from(bytes);
      mutated[place] = byte ^ (place % 2 ? 1 : 0x80);
      yield mutated;
    }
  }

  test('our own form: the same key or `unreadable`, never another key', () => {
    const outcomes = new Set<string>();
    for (const mutated of mutations(sealKey(key, ours.der))) outcomes.add(open(mutated));
    expect([...outcomes].toSorted()).toEqual([words, 'unreadable'].toSorted());
  });

  testWithOpenssl("macOS's form: never an exception; only its unauthenticated initial vector and contents can spell another key", () => {
    const bytes = withOpenssl(['-des3', '-stream', 'certificate.pem']);
    const { encryptedKey } = readEnvelope(bytes).recipients[0] ?? {};
    const beyondTheBlock = bytes.indexOf(encryptedKey ?? '') + 256;
    expect(beyondTheBlock).toBeGreaterThan(256);
    for (const mutated of mutations(bytes)) {
      const differs = mutated.findIndex((byte, i) => byte !== bytes[i]);
      const outcome = open(mutated);
      if (differs < beyondTheBlock) expect([words, 'unreadable']).toContain(outcome);
      else expect(outcome).toMatch(/^(unreadable|[A-Z0-9]{4}(-[A-Z0-9]{4}){5})$/);
    }
  });
});
