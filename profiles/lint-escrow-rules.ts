import { createPublicKey } from 'node:crypto';
import { allowsUse, readCertificate } from '../protocol/certificate.ts';
import { payloadFacts } from './apple-schema.ts';
import { allOf, certificateOf, eachPayload, type Found, mistake, note, ofType, payloadsOf, type Rule, typeOf, types } from './lint-parts.ts';
import type { ProfileFile } from './read-profile.ts';
import type { Dictionary } from './schema-check.ts';

/** A Mac keeps the certificate of its profile; nothing renews it there. */
const soonDays = 365;

/** RSA, long enough, valid for long, may be encrypted to; or what is wrong. */
function judgeEscrowCertificate(content: unknown, now: Date): { says: string; is: Found['is'] } | null {
  const wrong = (says: string) => ({ says: `the escrow certificate ${says}`, is: 'mistake' as const });
  if (!(content instanceof Uint8Array)) return null; // Rule L14 says so.
  if (Buffer.from(content).includes('PRIVATE KEY')) return wrong('comes with a private key, which everybody would have');
  if (content[0] === 0x2d) return wrong('is PEM text; macOS takes DER in a pkcs1 payload');
  let certificate: ReturnType<typeof readCertificate>;
  let key: ReturnType<typeof createPublicKey>;
  let enciphers: boolean;
  try {
    certificate = readCertificate(content);
    key = createPublicKey({ key: certificate.publicKey, format: 'der', type: 'spki' });
    enciphers = allowsUse(certificate, 'keyEncipherment');
  } catch {
    return wrong('is not one certificate in DER; macOS refuses the whole profile');
  }
  if (key.asymmetricKeyType !== 'rsa') return wrong('has no RSA key');
  if ((key.asymmetricKeyDetails?.modulusLength ?? 0) < 2048) return wrong('has an RSA key shorter than 2048 bits');
  const until = certificate.notAfter.toISOString().slice(0, 10);
  if (certificate.notAfter <= now) return wrong(`has expired (${until})`);
  if (certificate.notBefore > now) return wrong('is not valid yet');
  if (!enciphers) return wrong('does not have the key usage keyEncipherment');
  const days = Math.floor((certificate.notAfter.getTime() - now.getTime()) / 86_400_000);
  return days < soonDays ? { says: `the escrow certificate ends in ${days} days (${until}), and no Mac renews it by itself`, is: 'note' } : null;
}

const isEscrowCertificate = (file: ProfileFile, certificate: Dictionary): boolean =>
  ofType(file, types.escrow).some((payload) => certificateOf(file, payload) === certificate);

/** FileVault is switched on, and the key goes nowhere. Of a file that was named alone, the other profiles are not known. */
function withoutEscrow(set: readonly ProfileFile[], oneMac: boolean): Found[] {
  if (allOf(set, types.escrow).length > 0) return [];
  const on = allOf(set, types.fileVault).find(({ payload }) => payload['Enable'] === 'On');
  if (on === undefined) return [];
  const isAll = oneMac || set.some(({ alone }) => !alone);
  return [
    (isAll ? mistake : note)(
      on.file,
      `${types.fileVault} Enable`,
      isAll ? 'is On, and no profile escrows the key: nobody will have it' : 'is On, and this file escrows no key: another profile of these Macs has to',
      `put a ${types.escrow} payload beside it; where the MDM escrows itself, leave switching FileVault on to the MDM too`,
    ),
  ];
}

export const escrowRules: Record<string, Rule> = {
  L1: {
    demands: 'exactly one escrow payload where FileVault is switched on, and one that switches FileVault on, in all profiles of a Mac together',
    because: 'macOS takes one of each; installing a second is an error, and which of two certificates a new key would be sealed to is nobody’s choice',
    fix: 'take one of the two away from these Macs; where the MDM escrows itself, switch that off before ours is installed (docs/coexistence.md)',
    look: (set, { oneMac = false }) => [
      ...withoutEscrow(set, oneMac),
      ...[types.escrow, types.fileVault].flatMap((type) => {
        const having = allOf(set, type);
        return having.slice(1).map(({ file }) => mistake(file, type, `a second payload of this type; the first is in ${having[0]?.file.file}`));
      }),
      ...allOf(set, types.redirect).map(({ file }) =>
        mistake(file, types.redirect, 'has been ignored since macOS 10.13: no key is escrowed by it', `replace it by a ${types.escrow} payload`),
      ),
    ],
  },
  L2: {
    demands: 'the escrow payload names a pkcs1 payload of the same profile',
    because: 'macOS looks for the certificate nowhere else, and takes no other type',
    fix: 'put the certificate, as DER in a com.apple.security.pkcs1 payload, into the same profile, and its PayloadUUID into EncryptCertPayloadUUID',
    look: eachPayload(types.escrow, (payload, file) => {
      if (typeof payload['EncryptCertPayloadUUID'] !== 'string') return null; // Rule L14 says so.
      const named = certificateOf(file, payload);
      if (named === undefined) return { key: 'EncryptCertPayloadUUID', says: 'names no payload of this profile' };
      if (typeOf(named) === types.pkcs1) return null;
      return { key: 'EncryptCertPayloadUUID', says: `names a payload of type ${typeOf(named)}; only ${types.pkcs1} will do` };
    }),
  },
  L3: {
    demands: 'the escrow certificate is RSA of 2048 bits or more, in DER, valid, for key encipherment',
    because: 'a key sealed to anything else may be opened by nobody, and what is no certificate makes macOS refuse the whole profile',
    fix: 'make the profiles again from the certificate that the backend shows (`sparekey-server profile-values --json`)',
    look: (set, { now }) =>
      allOf(set, types.pkcs1)
        .filter(({ file, payload }) => isEscrowCertificate(file, payload))
        .flatMap(({ file, payload }) => {
          const found = judgeEscrowCertificate(payload['PayloadContent'], now);
          return found === null ? [] : [{ ...(found.is === 'note' ? note : mistake)(file, `${types.pkcs1} PayloadContent`, found.says) }];
        }),
  },
  L4: {
    demands: 'the scope of a profile with payloads for the whole Mac is System',
    because: 'left out, a profile that is opened by hand goes to its user, where these payloads do nothing',
    fix: 'set PayloadScope to System',
    look: (set) =>
      set.flatMap((file) => {
        const found = payloadsOf(file).find((payload) => payloadFacts[typeOf(payload)]?.deviceOnly);
        if (found === undefined || file.profile['PayloadScope'] === 'System') return [];
        return [mistake(file, 'PayloadScope', `must be System: ${typeOf(found)} is for the whole Mac`)];
      }),
  },
  L5: {
    demands: 'Enable of the FileVault payload is a string',
    because: 'true and false are read as neither On nor Off',
    fix: 'write <string>On</string>',
    look: eachPayload(types.fileVault, (payload) => {
      const enable = payload['Enable'];
      return enable === undefined || typeof enable === 'string' ? null : { key: 'Enable', says: 'must be the string On or Off, not true or false' };
    }),
  },
  L6: {
    demands: 'ForceEnableInSetupAssistant comes with Defer',
    because: 'since macOS 14.4 Setup Assistant does not turn FileVault on without it',
    fix: 'set Defer to true as well',
    look: eachPayload(types.fileVault, (payload) =>
      payload['ForceEnableInSetupAssistant'] === true && payload['Defer'] !== true ? { key: 'ForceEnableInSetupAssistant', says: 'needs Defer' } : null,
    ),
  },
  L7: {
    demands: 'FileVault is not both switched on and forbidden',
    because: 'the two payloads contradict each other, and FileVault stays off',
    fix: 'leave dontAllowFDEEnable out, or set it to false',
    look: (set) => {
      const on = allOf(set, types.fileVault).find(({ payload }) => payload['Enable'] === 'On');
      if (on === undefined) return [];
      return allOf(set, types.options)
        .filter(({ payload }) => payload['dontAllowFDEEnable'] === true)
        .map(({ file }) => mistake(file, `${types.options} dontAllowFDEEnable`, `contradicts Enable On in ${on.file.file}`));
    },
  },
  L8: {
    demands: 'no plain key on the disk and no password in a FileVault payload',
    because: 'a profile is read by every local user, and the file at OutputPath holds the key in plain text',
    fix: 'leave them out: the escrow payload brings the key, Defer asks the person for the password',
    look: eachPayload(types.fileVault, (payload) => {
      const found = ['OutputPath', 'Username', 'Password'].filter((key) => key in payload);
      return found.length === 0 ? null : { key: found.join(', '), says: 'must not be used' };
    }),
  },
};
