/*
 * The certificate by which a Mac proves, once, whose it is. `/usr/bin/security` has to sign with its key, and may do so only
 * with AllowAllAppsAccess; with it every process on the Mac may. So this identity is for that one proof at enrolment, and for
 * nothing else: let its CA issue it for this alone.
 */
import { makePayload, makeProfile } from './payload-parts.ts';
import type { ProfileFile } from './read-profile.ts';
import type { Dictionary } from './schema-check.ts';
import type { LoadedSettings, Pkcs12Identity } from './settings.ts';

/** Usable, and never to leave this Mac. */
const keyAccess = { KeyIsExtractable: false, AllowAllAppsAccess: true };
/** RFC 5280: for clients of TLS, as which the agent looks for it. */
const clientAuthentication = '1.3.6.1.5.5.7.3.2';
const signs = 1;
const signsAndEncrypts = 5;

const profileOf = (settings: LoadedSettings, payload: Dictionary, folder = ''): ProfileFile =>
  makeProfile(settings, 'identity', 'Sparekey device identity', 'The certificate by which this Mac is known when it enrols.', [payload], folder);

const subjectOf = ({ organisation }: LoadedSettings, commonName: string | undefined): string[][][] => [[['O', organisation]], [['CN', commonName ?? '']]];

export function identityProfiles(settings: LoadedSettings): ProfileFile[] {
  const { scep, acme } = settings.identity ?? {};
  if (scep !== undefined) {
    const PayloadContent: Dictionary = {
      URL: scep.url,
      ...(scep.name === undefined ? {} : { Name: scep.name }),
      ...(scep.challenge === undefined ? {} : { Challenge: scep.challenge }),
      ...(scep.caFingerprint === undefined ? {} : { CAFingerprint: Buffer.from(scep.caFingerprint.replaceAll(':', ''), 'hex') }),
      Subject: subjectOf(settings, scep.commonName),
      Keysize: scep.keySize,
      'Key Type': 'RSA',
      'Key Usage': signsAndEncrypts,
      ...keyAccess,
    };
    return [profileOf(settings, makePayload(settings, 'com.apple.security.scep', 'identity.scep', 'Device identity', { PayloadContent }))];
  }
  if (acme !== undefined) {
    const content: Dictionary = {
      DirectoryURL: acme.directoryUrl,
      ClientIdentifier: acme.clientIdentifier,
      KeyType: 'RSA',
      KeySize: acme.keySize,
      HardwareBound: false,
      Attest: false,
      Subject: subjectOf(settings, acme.commonName),
      UsageFlags: signs,
      ExtendedKeyUsage: [clientAuthentication],
      ...keyAccess,
    };
    return [profileOf(settings, makePayload(settings, 'com.apple.security.acme', 'identity.acme', 'Device identity', content))];
  }
  return settings.pkcs12Identities.map((each) => profileOf(settings, pkcs12Payload(settings, each), `identities/${each.serial}`));
}

/** One Mac's own: the same file for all would be one identity for all. */
const pkcs12Payload = (settings: LoadedSettings, { serial, bytes, password }: Pkcs12Identity): Dictionary =>
  makePayload(settings, 'com.apple.security.pkcs12', 'identity.pkcs12', `Device identity of ${serial}`, {
    PayloadCertificateFileName: `${serial}.p12`,
    PayloadContent: bytes,
    Password: password,
    ...keyAccess,
  });
