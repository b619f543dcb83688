import { X509Certificate } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { sealKey } from '../protocol/envelope.ts';
import { Problem } from '../protocol/problems.ts';
import { RecoveryKey } from '../protocol/recovery-key.ts';
import { pem, readPem } from '../server/certificates.ts';
import { folderPaths } from '../server/data-folder.ts';
import { openDatabase } from '../server/database.ts';
import { decryptPrivateKey } from '../server/encrypted-key.ts';
import { openEscrowKeys } from '../server/escrow-keys.ts';
import { type InitOptions, type InitResult, initialise } from '../server/init.ts';
import { deviceCa, deviceIdentity } from './given-server.ts';
import { openssl, testWithOpenssl } from './openssl.ts';
import { scratch } from './scratch.ts';

const passphrase = 'correct horse battery staple';
const options = (folder: string, more: Partial<InitOptions> = {}): InitOptions => ({
  dir: join(folder, 'data'),
  names: ['keys.example.org', '127.0.0.1'],
  organisation: 'Example',
  devicesPort: 8443,
  passphrase,
  copy: join(folder, 'copy.txt'),
  deviceCaFiles: [],
  ownTls: null,
  admin: 'ada',
  escrowKeyBits: 2048,
  say: () => {},
  ...more,
});
const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'no problem',
    (error: unknown) => (error instanceof Problem ? error.code : String(error)),
  );
const everythingIn = (dir: string): string[] => readdirSync(dir, { recursive: true, withFileTypes: true }).map((entry) => join(entry.parentPath, entry.name));

describe('a data folder', () => {
  let folder: string;
  let result: InitResult;
  let paths: ReturnType<typeof folderPaths>;
  beforeAll(async () => {
    folder = scratch('sparekey-init');
    result = await initialise(options(folder));
    paths = folderPaths(join(folder, 'data'));
  });

  test('is private to the last file: 0600, folders 0700', () => {
    for (const path of [paths.dir, ...everythingIn(paths.dir), join(folder, 'copy.txt')]) {
      const facts = statSync(path);
      expect([path, facts.mode & 0o777]).toEqual([path, facts.isDirectory() ? 0o700 : 0o600]);
    }
  });

  test('its escrow key is encrypted from the first day, by scrypt, and no private key of it lies anywhere in clear', () => {
    const file = join(paths.escrow, `${result.escrowCertificate}.key.pem`);
    const key = readFileSync(file, 'utf8');
    expect(key).toMatch(/^-----BEGIN ENCRYPTED PRIVATE KEY-----/);
    // 1.3.6.1.4.1.11591.4.11
    expect(readPem(key)[0]?.includes(Buffer.from('06092b06010401da47040b', 'hex'))).toBe(true);
    const clear = decryptPrivateKey(key, passphrase).export({ type: 'pkcs8', format: 'der' });
    for (const path of everythingIn(folder).filter((name) => statSync(name).isFile())) {
      const bytes = readFileSync(path);
      expect(bytes.includes(clear.subarray(100, 200))).toBe(false);
      expect(bytes.includes(clear.subarray(100, 200).toString('base64').slice(4, 60))).toBe(false);
    }
  });

  test('its escrow certificate is good for 20 years and for enciphering keys only', () => {
    const certificate = new X509Certificate(readFileSync(join(paths.escrow, `${result.escrowCertificate}.certificate.pem`)));
    expect((certificate.validToDate.getTime() - Date.now()) / (365.25 * 86_400_000)).toBeCloseTo(20, 1);
    expect(certificate.ca).toBe(false);
    expect(certificate.keyUsage).toBeUndefined();
  });

  test('its listener has a certificate of its own TLS CA for every name', () => {
    const [leaf, ca] = readPem(readFileSync(paths.tls.certificate, 'utf8')).map((der) => new X509Certificate(der));
    expect(leaf?.verify((ca as X509Certificate).publicKey)).toBe(true);
    expect(leaf?.subjectAltName).toBe('DNS:keys.example.org, IP Address:127.0.0.1');
  });

  test('the first admin and the making are in the audit', async () => {
    const store = await openDatabase(paths.database);
    const acts = await store.db.selectFrom('audit').select(['act', 'actor']).orderBy('seq').execute();
    await store.close();
    expect(acts).toEqual([
      { act: 'server.made', actor: 'ada' },
      { act: 'admin.named', actor: 'ada' },
    ]);
  });

  test('a wrong passphrase opens nothing and says so', () => {
    expect(() => openEscrowKeys(paths.escrow, 'correct horse battery stable')).toThrow(expect.objectContaining({ code: 'PASSPHRASE_WRONG' }));
  });

  test('a second init over it is refused and changes nothing', async () => {
    const before = everythingIn(paths.dir).map((path) => [path, statSync(path).mtimeMs]);
    expect(await codeOf(initialise(options(folder, { copy: null })))).toBe('DATA_FOLDER_EXISTS');
    expect(everythingIn(paths.dir).map((path) => [path, statSync(path).mtimeMs])).toEqual(before);
  });

  testWithOpenssl('openssl opens an envelope with the offline copy alone, by the passphrase', () => {
    const copy = readFileSync(join(folder, 'copy.txt'), 'utf8');
    const key = RecoveryKey.parse('ABCD-EFGH-JKLM-NPQR-TUVW-XYZ2');
    const certificate = readPem(readFileSync(join(paths.escrow, `${result.escrowCertificate}.certificate.pem`), 'utf8'))[0];
    if (!key || !certificate) throw new TypeError('no key');
    const files = { 'copy.txt': copy, 'envelope.der': sealKey(key, certificate), 'passphrase.txt': passphrase };
    const opened = openssl(
      ['cms', '-decrypt', '-inform', 'DER', '-in', 'envelope.der', '-inkey', 'copy.txt', '-recip', 'copy.txt', '-passin', 'file:passphrase.txt'],
      files,
    );
    expect(opened.toString()).toBe('ABCD-EFGH-JKLM-NPQR-TUVW-XYZ2');
    expect(openssl(['pkey', '-in', 'copy.txt', '-passin', 'file:passphrase.txt', '-noout', '-text'], files).toString()).toContain('2048 bit');
  });
});

describe('all or nothing', () => {
  test.each<[string, Partial<InitOptions>, string]>([
    ['a device CA that cannot be read', { deviceCaFiles: ['/nowhere/ca.pem'] }, 'USAGE'],
    ['a TLS certificate that is none', { ownTls: { certificate: '/dev/null', key: '/dev/null' } }, 'SERVER_SETTINGS_INVALID'],
    ['an escrow key that is too short', { escrowKeyBits: 1024 }, 'USAGE'],
    ['a folder for the copy that is not there', { copy: '/nowhere/copy.txt' }, 'USAGE'],
  ])('with %s nothing is left behind', async (_name, more, code) => {
    const folder = scratch('sparekey-init');
    expect(await codeOf(initialise(options(folder, more)))).toBe(code);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('a file that is there already is not taken for the copy, and a copy inside the data folder is refused', async () => {
    const folder = scratch('sparekey-init');
    writeFileSync(join(folder, 'copy.txt'), 'mine');
    expect(await codeOf(initialise(options(folder)))).toBe('DATA_FOLDER_EXISTS');
    expect(readFileSync(join(folder, 'copy.txt'), 'utf8')).toBe('mine');
    expect(await codeOf(initialise(options(folder, { copy: join(folder, 'data', 'copy.txt') })))).toBe('USAGE');
    expect(existsSync(join(folder, 'data'))).toBe(false);
  });
});

test('device CAs are kept, and what is no CA is refused', async () => {
  const folder = scratch('sparekey-init');
  writeFileSync(join(folder, 'ca.pem'), pem('CERTIFICATE', deviceCa.certificateDer));
  const { deviceCas } = await initialise(options(folder, { deviceCaFiles: [join(folder, 'ca.pem')], copy: null }));
  expect(deviceCas).toBe(1);
  writeFileSync(join(folder, 'leaf.pem'), deviceIdentity({ CN: 'x' }).cert);
  expect(await codeOf(initialise(options(folder, { dir: join(folder, 'other'), deviceCaFiles: [join(folder, 'leaf.pem')], copy: null })))).toBe(
    'SERVER_SETTINGS_INVALID',
  );
});
