import { X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import makeBinary from 'bplist-creator';
import fc from 'fast-check';
import { readBinaryPlist } from '../profiles/binary-plist.ts';
import { runProfiles } from '../profiles/command-line.ts';
import { lint } from '../profiles/lint.ts';
import { isReadable, type ProfileFile, readProfile, readProfiles } from '../profiles/read-profile.ts';
import type { Dictionary } from '../profiles/schema-check.ts';
import { openSigned, readSigner, signProfile } from '../profiles/signed.ts';
import { makePair } from './fake-mac/certificates.ts';
import { openssl, testWithOpenssl, tryOpenssl } from './openssl.ts';
import { type Desk, desk, fromXml, named, withoutEscrow, xml } from './profile-sets.ts';

const now = new Date('2026-12-01T00:00:00Z');
let it: Desk;
let profile: Dictionary;
let text: Buffer;

beforeAll(() => {
  it = desk();
  profile = named(it.make(), 'escrow')?.profile ?? {};
  text = Buffer.from(xml(profile));
});
afterAll(() => it.remove());

const signers = (['rsa', 'ec'] as const).map((keyType) => ({
  keyType,
  pair: makePair({ subject: { CN: 'Profile signer', O: 'Example' }, kind: 'device', keyType }),
}));
const signerOf = (pair: { certificate: string; key: string }) => readSigner(pair.certificate, Buffer.from(pair.key), undefined);

describe('binary property lists', () => {
  const values: [string, unknown][] = [
    [
      'a whole profile',
      { PayloadType: 'Configuration', PayloadVersion: 1, PayloadContent: [{ Enable: true, Off: false, Rate: 1.5, Bytes: Buffer.from('abc') }] },
    ],
    ['text beyond ASCII', { Location: 'Grüße — 鍵 🔑' }],
    ['numbers of every size', { numbers: [0, 1, 255, 256, 65_535, 65_536, 2 ** 31, -1, -(2 ** 40), 2 ** 40] }],
    ['more than fifteen of everything', { list: Array.from({ length: 400 }, (_, at) => `entry ${at}`), text: 'x'.repeat(70_000), data: Buffer.alloc(300, 7) }],
    ['a date', { RemovalDate: new Date('2027-03-01T12:00:00Z') }],
  ];
  test.each(values)('%s is read as it was written', (_, value) => {
    expect(readBinaryPlist(Buffer.from(makeBinary(value as Record<string, unknown>)))).toEqual(value);
  });

  test('one that is cut short or changed at any byte is a value or nothing, and never an exception', () => {
    const whole = Buffer.from(makeBinary({ PayloadType: 'Configuration', PayloadContent: [{ a: 1, b: [true, 'x', Buffer.from('y')] }] }));
    for (let at = 0; at < whole.length; at++) {
      expect(readBinaryPlist(whole.subarray(0, at))).toBeNull();
      for (const byte of [0x00, 0xff, (whole[at] ?? 0) ^ 0x10]) expect(() => readBinaryPlist(Buffer.from(whole).fill(byte, at, at + 1))).not.toThrow();
    }
  });

  /** Objects, by their bytes, as a list with one-byte offsets and references. */
  const listOf = (...objects: number[][]): Buffer => {
    const offsets: number[] = [];
    let at = 8;
    for (const object of objects) {
      offsets.push(at);
      at += object.length;
    }
    const trailer = Buffer.alloc(32);
    trailer.set([1, 1], 6);
    trailer.writeBigUInt64BE(BigInt(objects.length), 8);
    trailer.writeBigUInt64BE(BigInt(at), 24);
    return Buffer.concat([Buffer.from('bplist00'), Buffer.from(objects.flat()), Buffer.from(offsets), trailer]);
  };

  test('an array that holds itself, and one of which each level has the next twice, are refused at once', () => {
    expect(readBinaryPlist(listOf([0xa1, 0]))).toBeNull();
    expect(readBinaryPlist(listOf(...Array.from({ length: 50 }, (_, at) => (at < 49 ? [0xa2, at + 1, at + 1] : [0x09]))))).toBeNull();
    expect(readBinaryPlist(listOf([0xa2, 1, 1], [0x09]))).toEqual([true, true]);
  });

  test('is a profile like any other', async () => {
    const read = await readProfile(Buffer.from(makeBinary(profile)), 'binary');
    expect(read).toEqual({ file: 'binary', profile: fromXml(text.toString()) });
  });
});

describe('signed profiles', () => {
  test.each(signers)('that we sign by $keyType are opened, whole, by whom', async ({ pair }) => {
    const read = (await readProfile(signProfile(text, signerOf(pair)), 'signed')) as ProfileFile;
    expect(read.profile).toEqual(fromXml(text.toString()));
    expect(read.signature).toEqual({ state: 'whole', signer: 'Profile signer', notAfter: new Date(new X509Certificate(pair.certificate).validTo) });
  });

  test('by RSA are the same bytes every time', () => {
    const signer = signerOf(signers[0]?.pair ?? { certificate: '', key: '' });
    expect(signProfile(text, signer)).toEqual(signProfile(text, signer));
  });

  test.each(signers)('of which one byte is another ($keyType) are changed', async ({ pair }) => {
    const signed = signProfile(text, signerOf(pair));
    const at = signed.indexOf('Recovery key escrow');
    signed[at] = 0x72;
    const read = (await readProfile(signed, 'signed')) as ProfileFile;
    expect(read.signature?.state).toBe('changed');
    expect(lint([read], { now, mdm: 'jamf', macos: null }).map(({ rule, is }) => `${rule} ${is}`)).toEqual(['F2 mistake']);
  });

  for (const { keyType, pair } of signers)
    testWithOpenssl(`by ${keyType} are what openssl verifies and takes the contents from`, () => {
      const out = openssl(['cms', '-verify', '-inform', 'DER', '-in', 'signed', '-CAfile', 'ca', '-purpose', 'any', '-binary'], {
        signed: signProfile(text, signerOf(pair)),
        ca: pair.certificate,
      });
      expect(out.equals(text)).toBe(true);
    });

  testWithOpenssl('with the CA behind the signer are verified by the CA alone', () => {
    const ca = makePair({ subject: { CN: 'Signing CA' }, kind: 'ca', keyType: 'ec' });
    // Longer than its CA, and so behind it in the message.
    const leaf = makePair({ subject: { CN: 'Leaf', O: 'Example '.repeat(7) }, kind: 'device', keyType: 'ec', issuer: ca });
    const signed = signProfile(text, readSigner(leaf.certificate + ca.certificate, Buffer.from(leaf.key), undefined));
    expect(
      tryOpenssl(['cms', '-verify', '-inform', 'DER', '-in', 's', '-CAfile', 'ca', '-purpose', 'any', '-binary'], { s: signed, ca: ca.certificate }).code,
    ).toBe(0);
    expect(openSigned(signed)?.signature).toMatchObject({ signer: 'Leaf', state: 'whole' });
  });

  const others: [string, string[]][] = [
    ['in DER', []],
    ['in BER, as a stream (so does macOS)', ['-stream', '-indef']],
    ['without signed attributes', ['-noattr']],
    ['with the signer by key identifier', ['-keyid']],
    ['with SHA-512', ['-md', 'sha512']],
  ];
  for (const { keyType, pair } of signers)
    for (const [how, more] of others)
      testWithOpenssl(`that openssl signs by ${keyType} ${how} are opened, and whole`, async () => {
        const signed = openssl(['cms', '-sign', '-binary', '-nodetach', '-outform', 'DER', '-in', 'p', '-signer', 'c', '-inkey', 'k', ...more], {
          p: text,
          c: pair.certificate,
          k: pair.key,
        });
        const read = (await readProfile(signed, 'signed')) as ProfileFile;
        expect([read.profile['PayloadIdentifier'], read.signature?.state, read.signature?.signer]).toEqual([
          'org.example.sparekey.escrow',
          'whole',
          'Profile signer',
        ]);
      });

  const unknown: [string, string[]][] = [
    ['a hash that is not known here', ['-md', 'sha224']],
    ['a padding that is not known here', ['-md', 'sha256', '-keyopt', 'rsa_padding_mode:pss']],
  ];
  for (const [what, more] of unknown)
    testWithOpenssl(`with ${what} are opened, and not checked`, () => {
      const pair = signers[0]?.pair;
      const { code, stdout } = tryOpenssl(['cms', '-sign', '-binary', '-nodetach', '-outform', 'DER', '-in', 'p', '-signer', 'c', '-inkey', 'k', ...more], {
        p: text,
        c: pair?.certificate ?? '',
        k: pair?.key ?? '',
      });
      expect(code).toBe(0);
      expect(openSigned(stdout)?.signature).toMatchObject({ state: 'unchecked', signer: 'Profile signer' });
      expect(openSigned(stdout)?.contents.equals(text)).toBe(true);
    });

  testWithOpenssl('without the certificate of their signer are opened, and not checked', () => {
    const pair = signers[0]?.pair;
    const signed = openssl(['cms', '-sign', '-binary', '-nodetach', '-nocerts', '-outform', 'DER', '-in', 'p', '-signer', 'c', '-inkey', 'k'], {
      p: text,
      c: pair?.certificate ?? '',
      k: pair?.key ?? '',
    });
    expect(openSigned(signed)?.signature).toEqual({ state: 'unchecked', signer: null, notAfter: null });
  });

  test('are made by build, but for those in which an MDM has to fill in a variable', async () => {
    const pair = signers[1]?.pair;
    writeFileSync(it.at('signer.pem'), pair?.certificate ?? '');
    writeFileSync(it.at('signer.key'), pair?.key ?? '');
    const settings = it.settings({ mdm: 'jamf', portal: 'https://mac.example.org', teamIdentifier: 'ABCDE12345' });
    const built = await runProfiles(
      ['build', '--settings', settings, '--out', it.at('signed'), '--sign', it.at('signer.pem'), '--key', it.at('signer.key')],
      now,
    );
    expect(built.exit).toBe(0);
    expect(built.stderr).toContain('escrow.mobileconfig is not signed: a signed profile cannot be changed, and the MDM has to fill in $SERIALNUMBER');
    const looked = await runProfiles(['lint', '--mdm', 'jamf', it.at('signed')], now);
    expect(looked.exit).toBe(0);
    expect(looked.stdout.match(/signed by Profile signer, whole/g)).toHaveLength(3);
  });

  test('are not made with a key that is another’s, or does not open', async () => {
    const [rsa, ec] = signers.map(({ pair }) => pair);
    expect(() => readSigner(rsa?.certificate ?? '', Buffer.from(ec?.key ?? ''), undefined)).toThrow(/not that of the certificate/);
    expect(() => readSigner('', Buffer.from(ec?.key ?? ''), undefined)).toThrow(/no certificate/);
    expect(() => readSigner(rsa?.certificate ?? '', Buffer.from('no key'), undefined)).toThrow(/--key holds no private key/);
    expect(() => readSigner(rsa?.certificate ?? '', Buffer.from('no key'), 'x')).toThrow(/the passphrase does not open --key/);
    const args = ['build', '--settings', it.settings(), '--out', it.at('never'), '--sign', it.at('nowhere.pem'), '--key', it.at('escrow.key')];
    await expect(runProfiles(args, now)).rejects.toThrow(/nowhere\.pem cannot be read \(ENOENT\)/);
  });
});

test('files of different folders that each have an escrow payload: a note, and with --one-mac a mistake', async () => {
  const paths = ['one', 'two'].map((name) => it.at(`apart/${name}/escrow.mobileconfig`));
  for (const path of paths) {
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, xml(named(it.make({ teamIdentifier: 'ABCDE12345' }), 'escrow')?.profile ?? {}));
  }
  const apart = await runProfiles(['lint', ...paths], now);
  expect(apart).toMatchObject({ exit: 0, stdout: expect.stringContaining(`so has ${paths[0]}; whether one Mac gets both, --one-mac says (L1)`) });
  const together = await runProfiles(['lint', '--one-mac', ...paths], now);
  expect(together).toMatchObject({ exit: 78, stdout: expect.stringContaining(`a second payload of this type; the first is in ${paths[0]} (L1)`) });
  expect(together.stdout).not.toContain('--one-mac says');
  const fileVaultAlone = it.make({ teamIdentifier: 'ABCDE12345' });
  withoutEscrow(fileVaultAlone);
  writeFileSync(paths[0] ?? '', xml(named(fileVaultAlone, 'escrow')?.profile ?? {}));
  expect(await runProfiles(['lint', paths[0] ?? ''], now)).toMatchObject({
    exit: 0,
    stdout: expect.stringContaining('this file escrows no key: another profile of these Macs has to (L1)'),
  });
  expect(await runProfiles(['lint', '--one-mac', paths[0] ?? ''], now)).toMatchObject({ exit: 78 });
  expect(await runProfiles(['lint', join(paths[0] ?? '', '..')], now)).toMatchObject({ exit: 78 });
});

describe('what is no profile has a finding of its own, and nothing throws', () => {
  const bad: [string, () => Uint8Array, RegExp][] = [
    ['nothing', () => Buffer.alloc(0), /is empty/],
    ['a gigabyte of nothing, or what begins so', () => Buffer.alloc(8 * 1024 * 1024 + 1), /is larger than 8 MB/],
    ['text', () => Buffer.from('hello'), /no property list that can be read$/],
    ['JSON', () => Buffer.from('{"PayloadType":"Configuration"}'), /it looks like JSON/],
    ['Base64', () => Buffer.from(`MIIB${'A'.repeat(60)}`), /it is in Base64/],
    ['bytes of no encoding', () => Buffer.from([0xff, 0x41, 0x42]), /it is not in UTF-8/],
    ['UTF-16', () => Buffer.from(`\ufeff${text.toString()}`, 'utf16le'), /it is not in UTF-8/],
    ['a profile that is cut short', () => text.subarray(0, text.length - 20), /no property list/],
    ['a profile with an entity that grows', () => Buffer.from(text.toString().replace('<string>', '<string>&lol;')), /no property list/],
    ['a binary list that is cut short', () => Buffer.from(makeBinary(profile)).subarray(0, 100), /no property list/],
    ['a list of something else', () => Buffer.from(xml({ serverUrl: 'https://x' })), /no configuration profile: PayloadType is not Configuration/],
    ['a property list that is an array', () => Buffer.from('<plist version="1.0"><array/></plist>'), /not a dictionary/],
    ['a certificate', () => new X509Certificate(it.escrow.certificate).raw, /begins like a signed profile, and is none/],
    ['a signed profile that is cut short', () => signProfile(text, signerOf(signers[1]?.pair ?? { certificate: '', key: '' })).subarray(0, 900), /is none/],
    [
      'something else that is signed',
      () => signProfile(Buffer.from('hello'), signerOf(signers[1]?.pair ?? { certificate: '', key: '' })),
      /what is signed is no property list/,
    ],
  ];
  test.each(bad)('%s', async (_, bytes, says) => {
    const read = await readProfile(bytes(), 'x');
    expect(read).toMatchObject({ says: expect.stringMatching(says), fix: expect.stringMatching(/./) });
    expect(lint([read], { now, mdm: null, macos: null })).toEqual([expect.objectContaining({ rule: 'F1', is: 'mistake', file: 'x' })]);
  });

  test('whatever the bytes are, and nothing is said of them on standard error', async () => {
    const said: unknown[] = [];
    const { error } = console;
    console.error = (...words: unknown[]) => void said.push(words);
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(text, Buffer.from(makeBinary(profile)), signProfile(text, signerOf(signers[1]?.pair ?? { certificate: '', key: '' }))),
        fc.array(fc.tuple(fc.nat(4000), fc.nat(255)), { maxLength: 6 }),
        async (whole, changes) => {
          const bytes = Buffer.from(whole);
          for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
          const read = await readProfile(bytes, 'x');
          expect(Array.isArray(lint([read], { now, mdm: 'jamf', macos: '13' }))).toBe(true);
        },
      ),
      { numRuns: 60 },
    );
    console.error = error;
    expect(said).toEqual([]);
  });

  test('whatever the values are', () => {
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { depthSize: 'small' },
        fc.constantFrom<unknown>(
          'com.apple.security.scep',
          'com.apple.MCX.FileVault2',
          'io.sparekey.agent',
          true,
          0,
          -1,
          1.5,
          '',
          null,
          Buffer.from('x'),
          new Date(0),
        ),
        fc.array(tie('any'), { maxLength: 3 }),
        fc.dictionary(
          fc.constantFrom(
            'PayloadType',
            'PayloadContent',
            'PayloadUUID',
            'Services',
            'SystemPolicyAllFiles',
            'Rules',
            'Enable',
            'Subject',
            'Forced',
            '__proto__',
            'constructor',
          ),
          tie('any'),
          { maxKeys: 4 },
        ),
      ),
    })).any;
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom('PayloadType', 'PayloadContent', 'PayloadScope', 'IsEncrypted'), value),
        fc.array(value, { maxLength: 4 }),
        (frame, list) => {
          const files: ProfileFile[] = [
            { file: 'a', profile: frame as Dictionary },
            { file: 'b', profile: { ...(frame as Dictionary), PayloadContent: list } },
          ];
          expect(lint(files, { now, mdm: 'fleet', macos: '13' }).every(({ fix }) => fix !== '')).toBe(true);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('folders are looked at all the way down, and what cannot be reached is named', async () => {
    const folder = it.at('tree');
    mkdirSync(join(folder, 'a', 'b.mobileconfig'), { recursive: true });
    writeFileSync(join(folder, 'a', 'one.mobileconfig'), text);
    writeFileSync(join(folder, 'a', 'b.mobileconfig', 'TWO.MOBILECONFIG'), text);
    writeFileSync(join(folder, 'notes.txt'), 'not looked at');
    symlinkSync(join(folder, 'nowhere'), join(folder, 'dangling.mobileconfig'));
    mkdirSync(it.at('empty'));
    const read = await readProfiles([folder, it.at('empty'), it.at('nowhere'), join(folder, 'notes.txt')]);
    expect(read.map((each) => [each.file.slice(it.folder.length + 1), isReadable(each) ? 'read' : each.says])).toEqual([
      ['tree/a/b.mobileconfig/TWO.MOBILECONFIG', 'read'],
      ['tree/a/one.mobileconfig', 'read'],
      ['empty', 'has no .mobileconfig'],
      ['nowhere', 'cannot be read (ENOENT)'],
      ['tree/notes.txt', 'is no property list that can be read'],
    ]);
    expect((await readProfiles([folder], 1)).map((each) => (isReadable(each) ? 'read' : each.says))).toEqual([
      'read',
      'and what follows is not looked at: more than 1 files',
    ]);
    const linted = await runProfiles(['lint', '--json', folder, it.at('nowhere')], now);
    expect(linted.exit).toBe(78);
    expect(
      JSON.parse(linted.stdout)
        .findings.map(({ rule }: { rule: string }) => rule)
        .sort(),
    ).toEqual(['F1', 'L12', 'L12']);
    expect(readFileSync(join(folder, 'notes.txt'), 'utf8')).toBe('not looked at');
  });
});
