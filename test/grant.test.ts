import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { CompactEncrypt, decodeProtectedHeader, generateKeyPair, importJWK } from 'jose';
import { grantStatement, makeRunKey, openGrant, sealGrant, verifyGrantSignature } from '../protocol/grant.ts';
import { type GrantRequest, grantReply, grantRequest } from '../protocol/messages.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';

const key = RecoveryKey.parse('ABCD-EFGH-JKLM-NPQR-TUVW-XYZ2') as RecoveryKey;
const identity = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const spki = (publicKey: KeyObject): Buffer => publicKey.export({ format: 'der', type: 'spki' });
const signed = (request: Omit<GrantRequest, 'signature'>, privateKey = identity.privateKey): GrantRequest => ({
  ...request,
  signature: sign('sha256', Buffer.from(grantStatement(request)), privateKey).toString('base64'),
});

async function asked(more: Partial<GrantRequest> = {}) {
  const run = await makeRunKey();
  const request = signed({
    purpose: 'rotate',
    recordId: 'record-1',
    forId: 'rotation-1',
    boot: '6B3A3B0E-0F7C-4B43-9C43-1B0F5A3C2D11',
    publicKey: run.publicKey,
    grantNonce: 'nonce',
    enrolmentId: 'enrolment-1',
    ...more,
  });
  return { run, request };
}

/** Another value for each field that was asked. */
const others: Omit<GrantRequest, 'signature' | 'publicKey'> = {
  purpose: 'resolve',
  recordId: 'record-2',
  forId: 'rotation-2',
  boot: '7B3A3B0E-0F7C-4B43-9C43-1B0F5A3C2D11',
  grantNonce: 'another',
  enrolmentId: 'enrolment-2',
};

describe('a grant', () => {
  test('brings the key to the run that asked, and both messages fit the protocol', async () => {
    const { run, request } = await asked();
    expect(grantRequest.parse(request)).toEqual(request);
    const jwe = await sealGrant(key, request);
    expect(grantReply.parse({ jwe })).toEqual({ jwe });
    expect((await openGrant(jwe, run.privateKey, request))?.equals(key)).toBe(true);
    expect(jwe).not.toContain(Buffer.from(key.reveal()).toString('base64url').slice(0, 20));
  });

  test('repeats everything that was asked in its protected header, and not the signature', async () => {
    const { request } = await asked();
    const { signature: _, ...rest } = request;
    expect(decodeProtectedHeader(await sealGrant(key, request))).toMatchObject({ alg: 'ECDH-ES', enc: 'A256GCM', typ: 'sparekey-grant', asked: rest });
    expect(JSON.stringify(decodeProtectedHeader(await sealGrant(key, request)))).not.toContain(request.signature);
  });

  test.each(Object.entries(others))('for another %s is refused by the agent', async (field, value) => {
    const { run, request } = await asked();
    const elsewhere = { ...request, [field]: value };
    expect(await openGrant(await sealGrant(key, elsewhere), run.privateKey, request)).toBeNull();
    expect(await openGrant(await sealGrant(key, request), run.privateKey, elsewhere)).toBeNull();
  });

  test('for another run is refused, with its own key and with the other', async () => {
    const { run, request } = await asked();
    const second = await asked();
    const jwe = await sealGrant(key, request);
    expect(await openGrant(jwe, second.run.privateKey, request)).toBeNull();
    expect(await openGrant(jwe, run.privateKey, { ...request, publicKey: second.run.publicKey })).toBeNull();
  });

  test('by other algorithms, of another type, or changed in any character is refused', async () => {
    const { run, request } = await asked();
    const { signature: _, ...rest } = request;
    const runKey = await importJWK({ kty: 'EC', crv: 'P-256', ...run.publicKey }, 'ECDH-ES');
    const seal = (header: Record<string, string>, plain = key.reveal()) =>
      new CompactEncrypt(new TextEncoder().encode(plain))
        .setProtectedHeader({ alg: 'ECDH-ES', enc: 'A256GCM', typ: 'sparekey-grant', asked: rest, ...header })
        .encrypt(runKey);
    expect((await openGrant(await seal({}), run.privateKey, request))?.equals(key)).toBe(true);
    for (const header of [{ alg: 'ECDH-ES+A256KW' }, { enc: 'A128GCM' }, { enc: 'A256CBC-HS512' }, { typ: 'JWT' }]) {
      expect(await openGrant(await seal(header), run.privateKey, request)).toBeNull();
    }
    expect(await openGrant(await seal({ more: 'than was asked' }), run.privateKey, request)).toBeNull();
    expect(await openGrant(await seal({}, 'not a recovery key'), run.privateKey, request)).toBeNull();

    const jwe = await sealGrant(key, request);
    for (let place = 0; place < jwe.length; place += 7) {
      // The last character of a part has bits that mean nothing.
      if ((jwe[place + 1] ?? '.') === '.') continue;
      const changed = `${jwe.slice(0, place)}${jwe[place] === 'A' ? 'B' : 'A'}${jwe.slice(place + 1)}`;
      expect(await openGrant(changed, run.privateKey, request)).toBeNull();
    }
    for (const text of ['', '....', 'x', jwe.slice(0, -1), `${jwe}.`, jwe.repeat(50)]) expect(await openGrant(text, run.privateKey, request)).toBeNull();
  });

  test('the key pair of a run cannot be taken out of it', async () => {
    const { privateKey } = await makeRunKey();
    expect((privateKey as CryptoKey).extractable).toBe(false);
  });
});

describe('the request for a grant', () => {
  test('is one text, line by line', async () => {
    const { request } = await asked({ publicKey: { x: 'X', y: 'Y' } });
    expect(grantStatement(request)).toBe(
      'sparekey grant 1\npurpose: rotate\nrecord: record-1\nfor: rotation-1\nboot: 6B3A3B0E-0F7C-4B43-9C43-1B0F5A3C2D11\nkey: X Y\nnonce: nonce\nenrolment: enrolment-1\n',
    );
    expect(() => grantStatement({ ...request, grantNonce: 'a\nenrolment: b' })).toThrow();
  });

  test('is signed by the identity key: P-256, or the RSA or P-384 key of a device certificate', async () => {
    const { request } = await asked();
    expect(verifyGrantSignature(request, spki(identity.publicKey))).toBe(true);
    for (const pair of [generateKeyPairSync('rsa', { modulusLength: 2048 }), generateKeyPairSync('ec', { namedCurve: 'P-384' })]) {
      const { signature: _, ...rest } = request;
      expect(verifyGrantSignature(signed(rest, pair.privateKey), spki(pair.publicKey))).toBe(true);
      expect(verifyGrantSignature(request, spki(pair.publicKey))).toBe(false);
    }
  });

  test.each(Object.entries(others))('with another %s than was signed is refused', async (field, value) => {
    const { request } = await asked();
    expect(verifyGrantSignature({ ...request, [field]: value } as GrantRequest, spki(identity.publicKey))).toBe(false);
  });

  test('with another key of the run, no signature, no identity, or a weak one is refused', async () => {
    const { request } = await asked();
    const { signature: _, ...rest } = request;
    const second = await asked();
    expect(verifyGrantSignature({ ...request, publicKey: second.run.publicKey }, spki(identity.publicKey))).toBe(false);
    for (const signature of ['', 'AAAA', '!', second.request.signature])
      expect(verifyGrantSignature({ ...request, signature }, spki(identity.publicKey))).toBe(false);
    expect(verifyGrantSignature(request, Buffer.alloc(0))).toBe(false);
    expect(verifyGrantSignature(request, Buffer.from('3000', 'hex'))).toBe(false);
    const weak = generateKeyPairSync('rsa', { modulusLength: 1024 });
    expect(verifyGrantSignature(signed(rest, weak.privateKey), spki(weak.publicKey))).toBe(false);
    const edwards = generateKeyPairSync('ed25519');
    expect(
      verifyGrantSignature(
        { ...rest, signature: sign(null, Buffer.from(grantStatement(rest)), edwards.privateKey).toString('base64') },
        spki(edwards.publicKey),
      ),
    ).toBe(false);
  });

  test('whose key is no point of P-256 is refused before anything is opened for it', async () => {
    const { run } = await asked();
    const p384 = await generateKeyPair('ECDH-ES', { crv: 'P-384', extractable: true });
    const { x = '', y = '' } = createPublicKey({ key: await exportSpki(p384.publicKey), format: 'der', type: 'spki' }).export({ format: 'jwk' });
    const bad = [
      { x: run.publicKey.y, y: run.publicKey.x },
      { x: '', y: '' },
      { x: 'AAAA', y: 'AAAA' },
      { x, y },
    ];
    for (const publicKey of bad) {
      const { request } = await asked({ publicKey });
      expect(verifyGrantSignature(request, spki(identity.publicKey))).toBe(false);
      await expect(sealGrant(key, request)).rejects.toThrow();
    }
  });
});

const exportSpki = async (publicKey: CryptoKey): Promise<Buffer> => Buffer.from(await crypto.subtle.exportKey('spki', publicKey));
