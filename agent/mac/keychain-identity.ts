// The identity that the MDM put into the System keychain. Its private key usually stays there: it signs one statement
// through /usr/bin/security, and nothing else is ever asked of it.
import { createHash, X509Certificate } from 'node:crypto';
import { Problem } from '../../protocol/problems.ts';
import type { Ran, Runner } from '../world.ts';

const program = '/usr/bin/security';
const keychain = '/Library/Keychains/System.keychain';
/** A key whose ACL does not list `security` may bring up a dialog that nobody sees. */
const mostSeconds = 10;

export interface IdentityMatch {
  /** Common name of the issuer, or a part of its whole name. */
  issuer?: string;
  subject?: string;
}

export interface KeychainIdentity {
  label: string;
  certificate: X509Certificate;
  /** SHA-256 of the certificate's DER. */
  digest: string;
  /** SHA-256 of the public key (SubjectPublicKeyInfo). */
  publicKeyDigest: string;
  /** As `cms -S -Z` wants it. */
  subjectKeyId: string;
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Identities for TLS clients that fit `match`, whatever their age. Asked without `-v`, which hides those of a private CA. */
export async function findIdentities(runner: Runner, match: IdentityMatch): Promise<KeychainIdentity[]> {
  const [identities, certificates] = await Promise.all([
    runner.run({ program, args: ['find-identity', '-p', 'ssl-client', keychain], timeoutSeconds: mostSeconds }),
    runner.run({ program, args: ['find-certificate', '-a', '-p', '-Z', keychain], timeoutSeconds: mostSeconds, outputLimit: 8 * 1024 * 1024 }),
  ]);
  for (const ran of [identities, certificates]) if (ran.code !== 0 && ran.code !== 44) throw whyNot(ran, 'looking for the identity');
  const labels = new Map(
    [...identities.stdout.toString('utf8').matchAll(/^[ \t]*\d+\) ([0-9A-Fa-f]{40}) "(.*)"/gm)].map(([, hash = '', label = '']) => [hash.toUpperCase(), label]),
  );
  const pems = certificates.stdout.toString('utf8').match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g) ?? [];
  const found = new Map<string, KeychainIdentity>();
  for (const pem of pems) {
    const certificate = readPem(pem);
    const label = certificate ? labels.get(certificate.fingerprint.replaceAll(':', '')) : undefined;
    if (!certificate || label === undefined || !fits(certificate.issuer, match.issuer) || !fits(certificate.subject, match.subject)) continue;
    const digest = sha256(certificate.raw);
    const named = namesOfKey(certificate);
    if (named) found.set(digest, { label, certificate, digest, ...named });
  }
  return [...found.values()];
}

function readPem(pem: string): X509Certificate | null {
  try {
    return new X509Certificate(pem);
  } catch {
    return null;
  }
}

/** Null for a key of a kind that nothing here knows: its certificate is no identity of ours. */
function namesOfKey(certificate: X509Certificate): { publicKeyDigest: string; subjectKeyId: string } | null {
  try {
    return { publicKeyDigest: sha256(certificate.publicKey.export({ format: 'der', type: 'spki' })), subjectKeyId: subjectKeyIdOf(certificate) };
  } catch {
    return null;
  }
}

const fits = (name: string, wanted: string | undefined): boolean =>
  wanted === undefined || name.split('\n').some((part) => part === `CN=${wanted}`) || name.replaceAll('\n', ', ').includes(wanted);

/** The extension where there is one (OID 2.5.29.14), otherwise what Apple reckons it as: SHA-1 of the public key's bits. */
function subjectKeyIdOf(certificate: X509Certificate): string {
  const der = certificate.raw;
  const at = der.indexOf(Buffer.from('0603551d0e', 'hex'));
  if (at > 0) {
    // An octet string within an octet string, both short.
    const outer = der.indexOf(4, at + 5);
    const length = der[outer + 3] ?? 0;
    if (outer > 0 && outer - at <= 8 && der[outer + 2] === 4 && der[outer + 1] === length + 2)
      return der
        .subarray(outer + 4, outer + 4 + length)
        .toString('hex')
        .toUpperCase();
  }
  const spki = certificate.publicKey.export({ format: 'der', type: 'spki' });
  return createHash('sha1').update(bitsOf(spki)).digest('hex').toUpperCase();
}

/** The bit string at the end of a SubjectPublicKeyInfo, without its count of unused bits. */
function bitsOf(spki: Buffer): Buffer {
  const lengthAt = (offset: number): { length: number; from: number } => {
    const first = spki[offset] ?? 0;
    if (first < 0x80) return { length: first, from: offset + 1 };
    const size = first & 0x7f;
    return { length: spki.readUIntBE(offset + 1, size), from: offset + 1 + size };
  };
  const algorithm = lengthAt(lengthAt(1).from + 1);
  const bits = lengthAt(algorithm.from + algorithm.length + 1);
  return spki.subarray(bits.from + 1, bits.from + bits.length);
}

/** Those that are valid at `now`, the one of `known` (SHA-256 of a public key) first, then the newest. Renewal leaves two of one label for a while. */
export function inOrder(identities: readonly KeychainIdentity[], now: number, known?: string): KeychainIdentity[] {
  const valid = identities.filter(({ certificate }) => certificate.validFromDate.getTime() <= now && now < certificate.validToDate.getTime());
  const rank = ({ certificate, publicKeyDigest }: KeychainIdentity) =>
    publicKeyDigest === known ? Number.MAX_SAFE_INTEGER : certificate.validFromDate.getTime();
  return valid.sort((one, other) => rank(other) - rank(one));
}

/** CMS SignedData (BER) with `statement` in it, by the private key of `identity`. That it comes back is the test that the key can be used. */
export async function signWithIdentity(runner: Runner, identity: KeychainIdentity, statement: string): Promise<Buffer> {
  const ran = await runner.run({
    program,
    // By subject key id, because a label may stand for two certificates. Usage 0: a TLS client's; the default is an e-mail signer's.
    args: ['cms', '-S', '-Z', identity.subjectKeyId, '-H', 'SHA256', '-u', '0', '-G', '-k', keychain],
    input: statement,
    timeoutSeconds: mostSeconds,
  });
  if (ran.code !== 0) throw whyNot(ran, `signing with “${identity.label}”`);
  // `security` has been seen to end with 0 and nothing written.
  if (!ran.stdout.includes(identity.certificate.raw) || !ran.stdout.includes(Buffer.from('2a864886f70d010702', 'hex'))) {
    throw new Problem('IDENTITY_NOT_USABLE', `signing with “${identity.label}” gave no signature`);
  }
  return ran.stdout;
}

function whyNot(ran: Ran, what: string): Problem {
  const words = ran.stderr.toString('utf8');
  if (/In dark wake/.test(words)) return new Problem('KEYCHAIN_LOCKED', `${what}: the Mac is in dark wake`);
  if (/could not find signing identity/.test(words)) return new Problem('IDENTITY_MISSING', `${what}: the certificate is there, its private key is not`);
  if (/is ambiguous/.test(words)) return new Problem('IDENTITY_NOT_USABLE', `${what}: two identities have the same key; the MDM removes the older profile`);
  const access = 'the SCEP, ACME or PKCS #12 payload needs AllowAllAppsAccess = true (and, for ACME, HardwareBound = false)';
  if (ran.failed === 'timeout')
    return new Problem('IDENTITY_NOT_USABLE', `${what}: no answer in ${mostSeconds} s, as when macOS waits for a dialog; ${access}`);
  if (ran.code === 36 || /User interaction is not allowed|-25308/.test(words))
    return new Problem('IDENTITY_NOT_USABLE', `${what}: macOS does not let it use the private key; ${access}`);
  if (ran.code === 50 || ran.code === 51) return new Problem('KEYCHAIN_LOCKED', `${what}: exit ${ran.code}`);
  return new Problem('IDENTITY_NOT_USABLE', `${what}: ${ran.failed ?? `exit ${ran.code}`}`);
}
