import { createHash, generateKeyPairSync, sign, X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { integer, nothing, octets, oid, sequence, set, tagged } from '../protocol/asn1.ts';
import { readCertificate } from '../protocol/certificate.ts';
import { issueDeviceCertificate, makeCa } from '../server/certificates.ts';
import { chainOf, readMdmSignature } from '../server/mdm/mdm-signature.ts';
import { mdmSigner } from '../server/mdm/mdm-words.ts';
import { scratch } from './scratch.ts';

/* What Macs write into Mdm-Signature; the vectors are NanoMDM's (test/mdm-examples/SOURCES.md). */

const file = (name: string): Buffer => readFileSync(join(import.meta.dirname, 'mdm-examples', name));
const header1 = file('Mdm-Signature.1.txt').toString('utf8');
const header2 = file('Mdm-Signature.2.txt').toString('utf8');
const body2 = file('Mdm-Signature.2.body.plist');

describe('NanoMDM’s vectors: BER of indefinite length, SHA-1, no attributes, nothing attached', () => {
  test('the body that was signed is verified, byte for byte', () => {
    const signer = readMdmSignature(header2, body2);
    expect(signer.digest).toBe('sha1');
    const certificate = new X509Certificate(signer.certificate);
    expect([certificate.serialNumber, certificate.subject, certificate.issuer.replaceAll('\n', ', ')]).toEqual([
      '22',
      undefined,
      'C=US, O=scep, OU=SCEP CA, CN=ca',
    ]);
  });

  test('any other body is not: each byte of it, one more, one less, another’s', () => {
    for (const at of [0, 5, body2.length - 1]) {
      const bent = Buffer.from(body2);
      bent[at] = (bent[at] ?? 0) ^ 1;
      expect(() => readMdmSignature(header2, bent)).toThrow('not one of this body');
    }
    for (const other of [Buffer.concat([body2, Buffer.from(' ')]), body2.subarray(1), Buffer.alloc(0)])
      expect(() => readMdmSignature(header2, other)).toThrow('not one of this body');
    // Its own body was not published; that its BER is read is what the vector is for.
    expect(() => readMdmSignature(header1, body2)).toThrow('not one of this body');
  });

  test('a bent signature is refused, wherever it is bent', () => {
    const bytes = Buffer.from(header2.trim(), 'base64');
    let verified = 0;
    for (let at = 0; at < bytes.length; at += 13) {
      const bent = Buffer.from(bytes);
      bent[at] = (bent[at] ?? 0) ^ 0x10;
      let read: ReturnType<typeof readMdmSignature> | null = null;
      try {
        read = readMdmSignature(bent.toString('base64'), body2);
      } catch (error) {
        expect(error).toBeInstanceOf(Error);
      }
      if (read === null) continue;
      // What is not signed may be bent: then the key that signed is still the one that signed.
      verified += 1;
      expect(read.digest).toBe('sha1');
    }
    expect(verified).toBeLessThan(bytes.length / 13 / 2);
  });

  test.each([
    ['no base64', `${header2.slice(0, 40)}*`],
    ['nothing', ''],
    ['cut short', header2.slice(0, 400)],
    ['a thousand levels', Buffer.from('3080'.repeat(1000), 'hex').toString('base64')],
    ['far too long', Buffer.alloc(20_000, 0x30).toString('base64')],
  ])('%s is no signature', (_, header) => {
    expect(() => readMdmSignature(header, body2)).toThrow();
  });
});

describe('a certificate of our own device CA', () => {
  const at = new Date();
  const ca = makeCa({ commonName: 'Device CA', years: 2, at });
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const publicKeyDer = pair.publicKey.export({ type: 'spki', format: 'der' });
  const der = issueDeviceCertificate({ ca: ca.certificateDer, caKey: ca.privateKey, publicKeyDer, subject: { CN: 'A Mac' }, days: 30, at });
  const { issuer, serialDer } = readCertificate(der);
  const data = '1.2.840.113549.1.7.1';
  const sha384 = sequence(oid('2.16.840.1.101.3.4.2.2'), nothing());
  /** As programs write it that sign attributes, with the body attached or not. */
  const signed = (body: Buffer, bend: { digestOf?: Buffer; attached?: Buffer } = {}): string => {
    const attributes = [
      sequence(oid('1.2.840.113549.1.9.3'), set(oid(data))),
      sequence(
        oid('1.2.840.113549.1.9.4'),
        set(
          octets(
            createHash('sha384')
              .update(bend.digestOf ?? body)
              .digest(),
          ),
        ),
      ),
    ];
    const signature = sign('sha384', set(...attributes), pair.privateKey);
    const info = sequence(integer(1), sequence(issuer, serialDer), sha384, tagged(0, ...attributes), sequence(oid('1.2.840.10045.4.3.3')), octets(signature));
    const content = sequence(oid(data), ...(bend.attached ? [tagged(0, octets(bend.attached))] : []));
    const all = sequence(integer(1), set(sha384), content, tagged(0, der), set(info));
    return sequence(oid('1.2.840.113549.1.7.2'), tagged(0, all)).toString('base64');
  };

  test('signs with attributes too, as a Mac with an ACME identity does', () => {
    expect(readMdmSignature(signed(body2), body2)).toMatchObject({ digest: 'sha384', certificate: der });
    expect(() => readMdmSignature(signed(body2), Buffer.from('another'))).toThrow('the signed digest is not that of the content');
    expect(() => readMdmSignature(signed(body2, { digestOf: Buffer.from('x') }), body2)).toThrow('signed digest');
  });

  test('a content that is attached is no signature of the body', () => {
    expect(() => readMdmSignature(signed(body2, { attached: body2 }), body2)).toThrow();
  });

  test('is vouched for by it and by no other, and only in its time', () => {
    const signer = readMdmSignature(signed(body2), body2);
    expect(chainOf(signer, [ca.certificateDer], at)).toMatchObject({ ok: true });
    expect(chainOf(signer, [makeCa({ commonName: 'Another', years: 2, at }).certificateDer], at)).toEqual({ ok: false, because: 'unknown-ca' });
    expect(chainOf(signer, [ca.certificateDer], new Date(at.getTime() + 90 * 86_400_000))).toEqual({ ok: false, because: 'expired' });
  });

  test('`mdm signer` says so of two files that a proxy kept', async () => {
    const folder = scratch('signer');
    const [body, signature] = [join(folder, 'body.plist'), join(folder, 'header.txt')];
    writeFileSync(body, body2);
    writeFileSync(signature, `${signed(body2)}\n`);
    writeFileSync(join(folder, 'ca.pem'), new X509Certificate(ca.certificateDer).toString(), { mode: 0o600 });
    const backend = { paths: { deviceCas: folder }, clock: { now: () => at.getTime() } } as unknown as Parameters<typeof mdmSigner>[0];
    expect((await mdmSigner(backend, { body, signature })).json).toMatchObject({ subject: 'CN=A Mac', digest: 'sha384', trusted: true, because: null });
    writeFileSync(body, 'another');
    await expect(mdmSigner(backend, { body, signature })).rejects.toMatchObject({
      code: 'USAGE',
      detail: expect.stringContaining('no signature of this body'),
    });
  });
});
