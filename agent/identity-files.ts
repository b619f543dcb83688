import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { Problem } from '../protocol/problems.ts';
import type { Settings } from './settings.ts';
import type { Disk } from './world.ts';

/** Bytes; a certificate with its chain and a key are a tenth of it. */
const mostBytes = 128 * 1024;

export interface FoundIdentity {
  certificatePem: string;
  privateKey: KeyObject;
}

/** The certificate and key that the profile or IT laid down on this Mac: PEM in two files, or PKCS #12. */
export async function readIdentityFiles(settings: Settings, disk: Disk): Promise<FoundIdentity> {
  const {
    identityCertificateFile: certificateFile,
    identityKeyFile: keyFile,
    identityPkcs12File: pkcs12File,
    identityPkcs12PasswordFile: passwordFile,
  } = settings;
  if (certificateFile && keyFile) {
    const [certificate, key] = [readFile(disk, certificateFile), readPrivateFile(disk, keyFile)];
    return wiping(key, () =>
      checked(`${certificateFile} and ${keyFile}`, () => ({ certificatePem: certificate.toString('utf8'), privateKey: createPrivateKey(key) })),
    );
  }
  if (!pkcs12File) throw new Problem('IDENTITY_FILE_INVALID', 'identityCertificateFile and identityKeyFile belong together');
  const file = readPrivateFile(disk, pkcs12File);
  const secret = passwordFile ? readPrivateFile(disk, passwordFile) : Buffer.alloc(0);
  const password = wiping(secret, () => secret.toString('utf8').split(/\r?\n/, 1)[0] ?? '');
  const { readPkcs12 } = await import('./pkcs12.ts');
  return checked(pkcs12File, () => readPkcs12(file, password));
}

/** What was read of a secret does not outlive its use; the text of a password does, for a while. */
function wiping<T>(bytes: Buffer, use: () => T): T {
  try {
    return use();
  } finally {
    bytes.fill(0);
  }
}

function checked(files: string, read: () => FoundIdentity): FoundIdentity {
  try {
    const found = read();
    if (!new X509Certificate(found.certificatePem).checkPrivateKey(found.privateKey)) throw new Error('the private key is not that of the certificate');
    return found;
  } catch (error) {
    // Our own words only: OpenSSL's can hold pieces of what it read.
    throw new Problem('IDENTITY_FILE_INVALID', `${files}: ${error instanceof Error && !('code' in error) ? error.message : 'not what it should be'}`);
  }
}

function readFile(disk: Disk, path: string): Buffer {
  let bytes: Buffer | null;
  try {
    bytes = disk.read(path, mostBytes);
  } catch (error) {
    throw new Problem('IDENTITY_FILE_INVALID', `${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'refused'})`);
  }
  if (!bytes) throw new Problem('IDENTITY_FILE_INVALID', `${path} is not there`);
  return bytes;
}

function readPrivateFile(disk: Disk, path: string): Buffer {
  if ((disk.facts(path)?.mode ?? 0) & 0o077) throw new Problem('IDENTITY_FILE_INVALID', `${path} can be read by others; its mode must be 600`);
  return readFile(disk, path);
}
