import { createHash, generateKeyPairSync, type KeyObject, sign, webcrypto } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import * as pkijs from 'pkijs';
import { integer, nothing, octets, oid, readAsn1, sequence, set, tagged, taggedOctets, time } from '../protocol/asn1.ts';
import { issueDeviceCertificate, makeCa, pem } from '../server/certificates.ts';
import { readSignedStatement } from '../server/signed-statement.ts';
import { openssl, testWithOpenssl } from './openssl.ts';

const at = new Date('2026-11-22T12:00:00Z');
const statement = Buffer.from('sparekey enrolment 1\nserver: https://keys.example.org:8443\nnonce: abc\n');
const deviceCa = makeCa({ commonName: 'Device CA', years: 10, at });

interface Signer {
  privateKey: KeyObject;
  der: Buffer;
  files: Record<string, string>;
}
function signer(pair: { publicKey: KeyObject; privateKey: KeyObject }, CN: string): Signer {
  const publicKeyDer = pair.publicKey.export({ format: 'der', type: 'spki' });
  const der = issueDeviceCertificate({ ca: deviceCa.certificateDer, caKey: deviceCa.privateKey, publicKeyDer, subject: { CN }, at, days: 365 });
  return {
    privateKey: pair.privateKey,
    der,
    files: { [`${CN}.pem`]: pem('CERTIFICATE', der), [`${CN}.key`]: pair.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString() },
  };
}
const signers = {
  rsa: signer(generateKeyPairSync('rsa', { modulusLength: 2048 }), 'rsa'),
  p256: signer(generateKeyPairSync('ec', { namedCurve: 'P-256' }), 'p256'),
  p384: signer(generateKeyPairSync('ec', { namedCurve: 'P-384' }), 'p384'),
  p521: signer(generateKeyPairSync('ec', { namedCurve: 'P-521' }), 'p521'),
};
type Name = keyof typeof signers;

const withOpenssl = (who: readonly Name[], more: readonly string[] = [], content: Uint8Array = statement): Buffer => {
  const files = Object.assign({ 'ca.pem': pem('CERTIFICATE', deviceCa.certificateDer) }, ...who.map((name) => signers[name].files));
  const names = who.flatMap((name) => ['-signer', `${name}.pem`, '-inkey', `${name}.key`]);
  return openssl(
    [
      'cms',
      '-sign',
      '-binary',
      '-outform',
      'DER',
      ...(more.includes('-detached') ? [] : ['-nodetach']),
      ...more.filter((each) => each !== '-detached'),
      ...names,
    ],
    files,
    content,
  );
};

// ——— SignedData with whatever one asks for, to be bent

const names = {
  data: '1.2.840.113549.1.7.1',
  signedData: '1.2.840.113549.1.7.2',
  contentType: '1.2.840.113549.1.9.3',
  messageDigest: '1.2.840.113549.1.9.4',
  signingTime: '1.2.840.113549.1.9.5',
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
  rsaEncryption: '1.2.840.113549.1.1.1',
  sha384WithRsa: '1.2.840.113549.1.1.12',
  ecPublicKey: '1.2.840.10045.2.1',
  ecdsaSha256: '1.2.840.10045.4.3.2',
};
interface Bent {
  by?: Name;
  algorithm?: string;
  digest?: string;
  hash?: string;
  type?: string;
  content?: Buffer;
  attributes?: 'none' | 'usual' | 'unordered' | 'twice' | 'without digest' | 'without type' | 'other type' | 'other digest';
  certificates?: Buffer[];
  indefinite?: boolean;
}
const indefinite = (first: string, ...parts: Buffer[]): Buffer => Buffer.concat([Buffer.from(`${first}80`, 'hex'), ...parts, Buffer.alloc(2)]);
const attribute = (id: string, value: Buffer): Buffer => sequence(oid(id), set(value));

function signedData(bent: Bent = {}): Buffer {
  const { by = 'rsa', hash = 'sha256', content = statement, type = names.data } = bent;
  const { privateKey, der } = signers[by];
  const digested = createHash(hash).update(content).digest();
  const typed = attribute(names.contentType, oid(bent.attributes === 'other type' ? names.signedData : type));
  const digestAttribute = attribute(names.messageDigest, octets(bent.attributes === 'other digest' ? createHash(hash).digest() : digested));
  const usual = [typed, attribute(names.signingTime, time(at)), digestAttribute];
  const list = {
    none: [],
    usual,
    unordered: usual,
    twice: [...usual, digestAttribute],
    'without digest': [typed],
    'without type': [digestAttribute],
    'other type': usual,
    'other digest': usual,
  }[bent.attributes ?? 'usual'];
  const signed = list.length > 0 ? set(...list) : content;
  const signature = sign(hash, signed, privateKey);
  const sent = bent.attributes === 'unordered' ? list.toReversed() : list.toSorted(Buffer.compare);
  const body = readAsn1(der, { bytes: 9999, depth: 20, elements: 999 }).children[0]?.children ?? [];
  const digestAlgorithm = sequence(oid(bent.digest ?? names.sha256), nothing());
  const info = sequence(
    integer(1),
    sequence(body[3]?.raw ?? Buffer.alloc(0), body[1]?.raw ?? Buffer.alloc(0)),
    digestAlgorithm,
    ...(list.length > 0 ? [tagged(0, ...sent)] : []),
    sequence(oid(bent.algorithm ?? (by === 'rsa' ? names.rsaEncryption : names.ecdsaSha256))),
    octets(signature),
  );
  const certificates = tagged(0, ...(bent.certificates ?? [der, deviceCa.certificateDer]));
  if (bent.indefinite) {
    // As Apple's encoder does it: the outer SEQUENCEs and tags stream, the content comes in pieces.
    const pieces = indefinite('24', octets(content.subarray(0, 10)), octets(content.subarray(10)));
    const body = indefinite('30', integer(1), set(digestAlgorithm), indefinite('30', oid(type), indefinite('a0', pieces)), certificates, set(info));
    return indefinite('30', oid(names.signedData), indefinite('a0', body));
  }
  const encapsulated = sequence(oid(type), tagged(0, octets(content)));
  return sequence(oid(names.signedData), tagged(0, sequence(integer(1), set(digestAlgorithm), encapsulated, certificates, set(info))));
}

describe('a signed statement', () => {
  const forms: string[][] = [[], ['-stream'], ['-noattr'], ['-stream', '-noattr'], ['-keyid'], ['-nosmimecap'], ['-certfile', 'ca.pem']];
  for (const by of ['rsa', 'p256', 'p384'] as const) {
    testWithOpenssl(`by ${by}, made by openssl in every form`, () => {
      for (const form of forms) {
        for (const digest of ['sha256', 'sha384', 'sha512']) {
          const read = readSignedStatement(withOpenssl([by], [...form, '-md', digest]));
          expect(read).toMatchObject({ content: statement, signer: signers[by].der, digest });
          expect(read.certificates).toHaveLength(form.includes('-certfile') ? 2 : 1);
          expect(read.certificates).toContainEqual(signers[by].der);
        }
      }
    });
  }

  test("as macOS's encoder writes it: lengths left open, the digest named apart from the key", () => {
    expect(readSignedStatement(signedData({ indefinite: true }))).toMatchObject({ content: statement, signer: signers.rsa.der, digest: 'sha256' });
    expect(readSignedStatement(signedData({ by: 'p256', algorithm: names.ecPublicKey, indefinite: true }))).toMatchObject({
      content: statement,
      signer: signers.p256.der,
    });
    expect(readSignedStatement(signedData({ attributes: 'unordered' })).content).toEqual(statement);
    expect(readSignedStatement(signedData({ attributes: 'none' })).certificates).toEqual([signers.rsa.der, deviceCa.certificateDer]);
  });

  describe('made by a second library', () => {
    beforeAll(() => {
      pkijs.setEngine('node', new pkijs.CryptoEngine({ name: 'node', crypto: webcrypto as unknown as Crypto }) as unknown as pkijs.ICryptoEngine);
    });
    test('is read, and ours satisfies that library', async () => {
      const certificate = pkijs.Certificate.fromBER(new Uint8Array(signers.rsa.der));
      const content = new pkijs.EncapsulatedContentInfo({ eContentType: names.data });
      const read = pkijs.SignedData.fromBER(new Uint8Array(readContent(signedData())));
      expect(await read.verify({ signer: 0, checkChain: false })).toBe(true);
      content.eContent = read.encapContentInfo.eContent as NonNullable<typeof content.eContent>;
      const made = new pkijs.SignedData({
        version: 1,
        encapContentInfo: content,
        signerInfos: [
          new pkijs.SignerInfo({ version: 1, sid: new pkijs.IssuerAndSerialNumber({ issuer: certificate.issuer, serialNumber: certificate.serialNumber }) }),
        ],
        certificates: [certificate],
      });
      const pkcs8 = signers.rsa.privateKey.export({ format: 'der', type: 'pkcs8' });
      const key = await webcrypto.subtle.importKey('pkcs8', pkcs8, { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, false, ['sign']);
      await made.sign(key as never, 0, 'SHA-256');
      const info = new pkijs.ContentInfo({ contentType: pkijs.ContentInfo.SIGNED_DATA, content: made.toSchema(true) });
      expect(readSignedStatement(Buffer.from(info.toSchema().toBER()))).toMatchObject({ content: statement, signer: signers.rsa.der, digest: 'sha256' });
    });
  });
});

/** The SignedData inside its ContentInfo. */
const readContent = (cms: Buffer): Buffer => readAsn1(cms, { bytes: 99_999, depth: 30, elements: 9999 }).children[1]?.children[0]?.raw ?? Buffer.alloc(0);

describe('a signed statement is refused, with the reason, when', () => {
  const refusals: [string, Bent, string][] = [
    ['its digest is SHA-1', { digest: names.sha1, hash: 'sha1' }, 'weaker than SHA-256'],
    ['algorithm and digest differ', { algorithm: names.sha384WithRsa }, 'not one that is accepted'],
    ['the algorithm is not known', { algorithm: '1.2.840.113549.1.1.10' }, 'not one that is accepted'],
    ['the algorithm is for another kind of key', { by: 'p256', algorithm: names.rsaEncryption }, 'does not fit'],
    ['its key is on another curve', { by: 'p521' }, 'curve'],
    ['the signer is not among the certificates', { certificates: [signers.p256.der, deviceCa.certificateDer] }, 'not included'],
    ['there are no certificates', { certificates: [] }, 'not included'],
    ['the certificates are too many', { certificates: Array.from({ length: 11 }, () => signers.rsa.der) }, 'too many'],
    ['the digest of the content is another', { attributes: 'other digest' }, 'digest is not that'],
    ['the digest is not signed', { attributes: 'without digest' }, 'digest is not that'],
    ['the content type is another', { attributes: 'other type' }, 'content type'],
    ['the content type is not signed', { attributes: 'without type' }, 'content type'],
    ['an attribute occurs twice', { attributes: 'twice' }, 'twice'],
    ['content of another type has no attributes', { attributes: 'none', type: '1.2.3.4' }, 'needs signed attributes'],
  ];
  test.each(refusals)('%s', (_name, bent, words) => expect(() => readSignedStatement(signedData(bent))).toThrow(words));

  test('attributes that were signed elsewhere are passed off as content', () => {
    const digest = createHash('sha256').update('anything').digest();
    const attributes = set(attribute(names.contentType, oid(names.data)), attribute(names.messageDigest, octets(digest)));
    expect(() => readSignedStatement(signedData({ attributes: 'none', content: attributes }))).toThrow('set of attributes');
  });

  testWithOpenssl('nobody, two or a stranger signed it, the content is not in it, or it is CMS of another kind', () => {
    expect(() => readSignedStatement(withOpenssl(['rsa', 'p256']))).toThrow('2 signers');
    expect(() => readSignedStatement(withOpenssl(['rsa'], ['-detached']))).toThrow('detached');
    expect(() => readSignedStatement(withOpenssl(['rsa'], ['-nocerts']))).toThrow('not included');
    expect(() => readSignedStatement(withOpenssl(['rsa'], ['-md', 'sha1']))).toThrow('weaker');
    const pss = openssl(
      ['cms', '-sign', '-binary', '-nodetach', '-outform', 'DER', '-signer', 'rsa.pem', '-inkey', 'rsa.key', '-keyopt', 'rsa_padding_mode:pss'],
      signers.rsa.files,
      statement,
    );
    expect(() => readSignedStatement(pss)).toThrow('not one that is accepted');
    const digested = openssl(['cms', '-digest_create', '-binary', '-outform', 'DER'], {}, statement);
    expect(() => readSignedStatement(digested)).toThrow('another kind');
    const nobody = sequence(oid(names.signedData), tagged(0, sequence(integer(1), set(), sequence(oid(names.data), tagged(0, octets(statement))), set())));
    expect(() => readSignedStatement(nobody)).toThrow('0 signers');
  });

  test('it is empty, garbage, cut short, too large, too deep, or something follows it', () => {
    const good = signedData({ indefinite: true });
    for (let length = 0; length < good.length; length += 5) expect(() => readSignedStatement(good.subarray(0, length))).toThrow('well-formed');
    for (const bytes of [
      Buffer.concat([good, Buffer.alloc(2)]),
      Buffer.alloc(100_000, 0x30),
      Buffer.from('3080'.repeat(9000), 'hex'),
      taggedOctets(0, statement),
    ]) {
      expect(() => readSignedStatement(bytes)).toThrow();
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => read(bytes) === null),
      { numRuns: 60 },
    );
  });

  test('any byte is changed: the same content or none', () => {
    const { der } = signers.p256;
    for (const attributes of ['usual', 'none'] as const) {
      const good = signedData({ by: 'p256', attributes, certificates: [der] });
      // Certificates are not signed by the signer; who they are from is asked by whoever trusts them.
      const certificateAt = good.indexOf(der);
      for (const [place, byte] of good.entries()) {
        if (place > certificateAt && place < certificateAt + der.length && place % 5 > 0) continue;
        const changed = Buffer.from(good);
        changed[place] = byte ^ 1;
        expect(read(changed)?.content ?? statement).toEqual(statement);
      }
    }
  });
});

/** What it says, or null where it is refused, which is by an Error that says why. */
function read(bytes: Uint8Array): ReturnType<typeof readSignedStatement> | null {
  try {
    return readSignedStatement(bytes);
  } catch (error) {
    expect((error as Error).message).toMatch(/\b(signed|signer|signature|statement|certificate|content)\b/);
    return null;
  }
}
