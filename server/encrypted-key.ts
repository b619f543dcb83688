import { createCipheriv, createPrivateKey, type KeyObject, randomBytes, scryptSync } from 'node:crypto';
import { Fields, integer, octets, oid, readAsn1, sequence, smallIntegerOf } from '../protocol/asn1.ts';
import { algorithmOf } from '../protocol/certificate.ts';
import { Problem } from '../protocol/problems.ts';
import { pem } from './certificates.ts';

/**
 * scrypt N=2^14, r=8, p=5: as strong as N=2^17, p=1, and within the 32 MiB that OpenSSL allows when it opens such a file.
 * Node itself would write PBKDF2 with 2048 rounds, which is nothing against a stolen disk.
 */
const cost = { N: 16_384, r: 8, p: 5 };

const pbes2 = '1.2.840.113549.1.5.13';
const scryptOid = '1.3.6.1.4.1.11591.4.11'; // RFC 7914
const pbkdf2 = '1.2.840.113549.1.5.12';
const aes256cbc = '2.16.840.1.101.3.4.1.42';

/** PKCS #8, encrypted (RFC 8018 PBES2 with scrypt and AES-256-CBC), PEM: what `openssl pkey -passin …` opens. */
export function encryptPrivateKey(key: KeyObject, passphrase: string): string {
  const salt = randomBytes(16);
  const iv = randomBytes(16);
  const plain = key.export({ type: 'pkcs8', format: 'der' });
  const secret = scryptSync(Buffer.from(passphrase, 'utf8'), salt, 32, { ...cost, maxmem: 64 * 1024 * 1024 });
  const cipher = createCipheriv('aes-256-cbc', secret, iv);
  const encrypted = Buffer.concat([cipher.update(plain), cipher.final()]);
  plain.fill(0);
  secret.fill(0);
  const kdf = sequence(oid(scryptOid), sequence(octets(salt), integer(cost.N), integer(cost.r), integer(cost.p)));
  const der = sequence(sequence(oid(pbes2), sequence(kdf, sequence(oid(aes256cbc), octets(iv)))), octets(encrypted));
  return pem('ENCRYPTED PRIVATE KEY', der);
}

/** Whoever encrypts it anew with OpenSSL may take more rounds than that has by itself, within a second. */
const mostRounds = 2_000_000;
const mostCost = 2 * cost.N * cost.r * cost.p;

/** Whether the passphrase is stretched in a way that ends: OpenSSL would go on for as many hours as the file says. */
function isStretchedSensibly(der: Uint8Array): boolean {
  try {
    const whole = new Fields(readAsn1(der, { bytes: 32 * 1024, depth: 12, elements: 200 }), 'sequence');
    const scheme = algorithmOf(whole.next('sequence'));
    if (scheme.oid !== pbes2 || !scheme.parameters) return false;
    const kdf = algorithmOf(new Fields(scheme.parameters, 'sequence').next('sequence'));
    if (!kdf.parameters) return false;
    const parameters = new Fields(kdf.parameters, 'sequence');
    parameters.next('octets');
    const rounds = smallIntegerOf(parameters.next('integer'));
    if (kdf.oid === pbkdf2) return rounds <= mostRounds;
    return kdf.oid === scryptOid && rounds * smallIntegerOf(parameters.next('integer')) * smallIntegerOf(parameters.next('integer')) <= mostCost;
  } catch {
    return false;
  }
}

/** `PASSPHRASE_WRONG` where it does not open; the cause is not kept, it says nothing more. */
export function decryptPrivateKey(pem: string | Buffer, passphrase: string): KeyObject {
  if (!/-----BEGIN ENCRYPTED PRIVATE KEY-----/.test(pem.toString('latin1')))
    throw new Problem('SERVER_SETTINGS_INVALID', 'the escrow key is not an encrypted private key');
  const der = Buffer.from(/-----BEGIN ENCRYPTED PRIVATE KEY-----([^-]*)-/.exec(pem.toString('latin1'))?.[1] ?? '', 'base64');
  if (!isStretchedSensibly(der)) throw new Problem('SERVER_SETTINGS_INVALID', 'the escrow key is encrypted in a way that is not read');
  try {
    return createPrivateKey({ key: pem, format: 'pem', passphrase: Buffer.from(passphrase, 'utf8') });
  } catch {
    throw new Problem('PASSPHRASE_WRONG');
  }
}
