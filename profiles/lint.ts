import { createPublicKey } from 'node:crypto';
import { allowsUse, readCertificate } from '../protocol/certificate.ts';
import { everyPayloadKey, isPayloadKey, type KeyKind, misfit, payloadKinds, profileKeys, ruleKeys, scepKeys } from './payload-keys.ts';

/** A property list's dictionary: strings, numbers, booleans, bytes, arrays and dictionaries. */
export type Dictionary = { [key: string]: unknown };

export interface ProfileFile {
  file: string;
  profile: Dictionary;
}

export interface Finding {
  rule: string;
  file: string;
  says: string;
  /** A mistake is refused by macOS or loses keys; a note is something that the admin who uploads the file has to know. */
  is: 'mistake' | 'note';
}

const escrowType = 'com.apple.security.FDERecoveryKeyEscrow';
const fileVaultType = 'com.apple.MCX.FileVault2';
const deviceTypes = /^com\.apple\.(MCX|MCX\.FileVault2|servicemanagement|security\.FDERecoveryKeyEscrow)$/;

const isDictionary = (value: unknown): value is Dictionary => misfit('dictionary', value) === null;
const payloadsOf = ({ profile }: ProfileFile): Dictionary[] => (Array.isArray(profile['PayloadContent']) ? profile['PayloadContent'].filter(isDictionary) : []);
const typeOf = (payload: Dictionary): string => String(payload['PayloadType'] ?? 'without a type');

/** RSA, long enough, not expired, may be encrypted to; or what is wrong. */
function escrowCertificateMistake(content: unknown, now: Date): string | null {
  if (!(content instanceof Uint8Array)) return 'has no certificate';
  let certificate: ReturnType<typeof readCertificate>;
  try {
    certificate = readCertificate(content);
  } catch {
    return 'is not one certificate in DER';
  }
  const key = createPublicKey({ key: certificate.publicKey, format: 'der', type: 'spki' });
  if (key.asymmetricKeyType !== 'rsa') return 'has no RSA key';
  if ((key.asymmetricKeyDetails?.modulusLength ?? 0) < 2048) return 'has an RSA key shorter than 2048 bits';
  if (certificate.notAfter <= now) return `has expired (${certificate.notAfter.toISOString().slice(0, 10)})`;
  if (certificate.notBefore > now) return 'is not valid yet';
  return allowsUse(certificate, 'keyEncipherment') ? null : 'does not have the key usage keyEncipherment';
}

type Rule = (files: readonly ProfileFile[], now: Date) => Omit<Finding, 'rule'>[];

const mistake = (file: ProfileFile, says: string): Omit<Finding, 'rule'> => ({ file: file.file, says, is: 'mistake' });
const note = (file: ProfileFile, says: string): Omit<Finding, 'rule'> => ({ file: file.file, says, is: 'note' });

/** A rule that looks at one payload at a time: null where it holds. */
const eachPayload =
  (type: string | null, judge: (payload: Dictionary, file: ProfileFile, now: Date) => string | null): Rule =>
  (files, now) =>
    files.flatMap((file) =>
      payloadsOf(file)
        .filter((payload) => type === null || typeOf(payload) === type)
        .flatMap((payload) => judge(payload, file, now) ?? [])
        .map((says) => mistake(file, says)),
    );

/** Each key of a dictionary against its table: what is missing, wrong, or not known to Apple's schema. */
function judgeKeys(
  file: ProfileFile,
  where: string,
  dictionary: Dictionary,
  keys: Record<string, KeyKind>,
): { wrong: Omit<Finding, 'rule'>[]; unknown: Omit<Finding, 'rule'>[] } {
  const wrong = Object.entries(dictionary).flatMap(([key, value]) => {
    const kind = Object.hasOwn(keys, key) ? keys[key] : undefined;
    const says = kind === undefined ? null : misfit(kind, value);
    return says === null ? [] : [mistake(file, `${where}: ${key} ${says}`)];
  });
  const unknown = Object.keys(dictionary)
    .filter((key) => !Object.hasOwn(keys, key))
    .map((key) => note(file, `${where}: the key ${key} is not known`));
  return { wrong, unknown };
}

function judgeAllKeys(files: readonly ProfileFile[]): { wrong: Omit<Finding, 'rule'>[]; unknown: Omit<Finding, 'rule'>[] } {
  const all = files.flatMap((file) => [
    judgeKeys(file, 'the profile', file.profile, profileKeys),
    ...payloadsOf(file).flatMap((payload) => {
      const type = typeOf(payload);
      const kind = payloadKinds[type];
      // The keys of a managed preferences domain are its program's own business.
      const known = kind?.keys ?? Object.fromEntries(Object.keys(payload).map((key): [string, KeyKind] => [key, ownKind(payload[key])]));
      const scep = payload['PayloadContent'];
      const rules = type === 'com.apple.servicemanagement' && Array.isArray(payload['Rules']) ? payload['Rules'].filter(isDictionary) : [];
      return [
        judgeKeys(file, type, payload, { ...known, ...everyPayloadKey }),
        ...(type === 'com.apple.security.scep' && isDictionary(scep) ? [judgeKeys(file, `${type} PayloadContent`, scep, scepKeys)] : []),
        ...rules.map((rule) => judgeKeys(file, `${type} rule`, rule, ruleKeys)),
      ];
    }),
  ]);
  return { wrong: all.flatMap(({ wrong }) => wrong), unknown: all.flatMap(({ unknown }) => unknown) };
}

/** The kind that a value has: what fits every value of a program's own. */
function ownKind(value: unknown): KeyKind {
  const kinds = ['string', 'boolean', 'data', 'array', 'dictionary'] as const;
  return kinds.find((kind) => misfit(kind, value) === null) ?? { integers: [-(2 ** 31), 2 ** 31] };
}

const uuidsOf = (file: ProfileFile): unknown[] => [file.profile, ...payloadsOf(file)].map((payload) => payload['PayloadUUID']);
const identifiersOf = (file: ProfileFile): unknown[] => payloadsOf(file).map((payload) => payload['PayloadIdentifier']);
const repeated = (values: readonly unknown[]): unknown[] => values.filter((value, at) => values.indexOf(value) !== at);

/** What macOS or its MDM protocol demands of a set of profiles, and what would lose a key. */
export const lintRules: Record<string, { demands: string; rule: Rule }> = {
  L1: {
    demands: 'one escrow payload in all profiles together: a Mac refuses a second one',
    rule: (files) => {
      const having = files.flatMap((file) =>
        payloadsOf(file)
          .filter((payload) => typeOf(payload) === escrowType)
          .map(() => file),
      );
      return having.slice(1).map((file) => mistake(file, `a second escrow payload; the first is in ${having[0]?.file}`));
    },
  },
  L2: {
    demands: 'the escrow payload names a pkcs1 payload of the same profile',
    rule: eachPayload(escrowType, (payload, file) => {
      const named = payloadsOf(file).find((other) => other['PayloadUUID'] === payload['EncryptCertPayloadUUID']);
      if (named === undefined) return 'EncryptCertPayloadUUID names no payload of this profile';
      return typeOf(named) === 'com.apple.security.pkcs1'
        ? null
        : `EncryptCertPayloadUUID names a payload of type ${typeOf(named)}; only com.apple.security.pkcs1 will do`;
    }),
  },
  L3: {
    demands: 'the escrow certificate is RSA of 2048 bits or more, in DER, not expired, for key encipherment',
    rule: eachPayload('com.apple.security.pkcs1', (payload, file, now) => {
      const isEscrow = payloadsOf(file).some((other) => other['EncryptCertPayloadUUID'] === payload['PayloadUUID']);
      const wrong = isEscrow ? escrowCertificateMistake(payload['PayloadContent'], now) : null;
      return wrong === null ? null : `the escrow certificate ${wrong}`;
    }),
  },
  L4: {
    demands: 'the scope of a profile with device payloads is System',
    rule: (files) =>
      files
        .filter((file) => payloadsOf(file).some((payload) => deviceTypes.test(typeOf(payload))) && file.profile['PayloadScope'] !== 'System')
        .map((file) => mistake(file, 'PayloadScope must be System')),
  },
  L5: {
    demands: 'Enable of the FileVault payload is a string',
    rule: eachPayload(fileVaultType, (payload) => (typeof payload['Enable'] === 'string' ? null : 'Enable must be the string On or Off, not true or false')),
  },
  L6: {
    demands: 'ForceEnableInSetupAssistant comes with Defer',
    rule: eachPayload(fileVaultType, (payload) =>
      payload['ForceEnableInSetupAssistant'] === true && payload['Defer'] !== true ? 'ForceEnableInSetupAssistant needs Defer since macOS 14.4' : null,
    ),
  },
  L7: {
    demands: 'FileVault is not both switched on and forbidden',
    rule: (files) => {
      const switchedOn = files.some((file) => payloadsOf(file).some((payload) => typeOf(payload) === fileVaultType && payload['Enable'] === 'On'));
      return files
        .filter((file) => switchedOn && payloadsOf(file).some((payload) => payload['dontAllowFDEEnable'] === true))
        .map((file) => mistake(file, 'dontAllowFDEEnable contradicts Enable On'));
    },
  },
  L8: {
    demands: 'no plain key on the disk and no password in a profile',
    rule: eachPayload(fileVaultType, (payload) => {
      const found = ['OutputPath', 'Username', 'Password'].filter((key) => key in payload);
      return found.length === 0 ? null : `${found.join(', ')} must not be used`;
    }),
  },
  L9: {
    demands: 'a SCEP identity has its keys inside PayloadContent, 2048 bits or more, and does not leave the Mac',
    rule: eachPayload('com.apple.security.scep', (payload) => {
      const content = isDictionary(payload['PayloadContent']) ? payload['PayloadContent'] : {};
      const outside = Object.keys(payload).filter((key) => key in scepKeys && !isPayloadKey(key) && key !== 'PayloadContent');
      if (outside.length > 0) return `${outside.join(', ')} must be inside PayloadContent`;
      if (typeof content['URL'] !== 'string') return 'PayloadContent has no URL';
      if ('KeyType' in content || 'KeyUsage' in content) return 'the names are "Key Type" and "Key Usage", with a space';
      if (Number(content['Keysize'] ?? 1024) < 2048) return 'Keysize must be 2048 or more; what macOS takes by itself is 1024';
      return content['KeyIsExtractable'] === false ? null : 'KeyIsExtractable must be false; what macOS takes by itself is true';
    }),
  },
  L11: {
    demands: 'every UUID occurs once, and payload identifiers differ within a profile',
    rule: (files) => [
      ...files.flatMap((file) => repeated(identifiersOf(file)).map((identifier) => mistake(file, `the identifier ${identifier} occurs twice`))),
      ...files.flatMap((file, at) => {
        const before = files.slice(0, at).flatMap(uuidsOf);
        const own = uuidsOf(file);
        return [...repeated(own), ...own.filter((uuid) => before.includes(uuid))].map((uuid) => mistake(file, `the UUID ${uuid} occurs twice`));
      }),
    ],
  },
  L12: {
    demands: 'what only an MDM can install is known',
    rule: (files) =>
      files.flatMap((file) =>
        payloadsOf(file)
          .filter((payload) => payloadKinds[typeOf(payload)]?.byMdmOnly)
          .map((payload) => note(file, `${typeOf(payload)} takes effect only through a user-approved MDM, not by hand`)),
      ),
  },
  L14: {
    demands: 'each value is of its kind and in its range, and none that is required is missing',
    rule: (files) => [
      ...judgeAllKeys(files).wrong,
      ...files.flatMap((file) =>
        payloadsOf(file).flatMap((payload) =>
          [...(payloadKinds[typeOf(payload)]?.required ?? []), 'PayloadType', 'PayloadVersion', 'PayloadIdentifier', 'PayloadUUID']
            .filter((key) => !(key in payload))
            .map((key) => mistake(file, `${typeOf(payload)}: ${key} is missing`)),
        ),
      ),
    ],
  },
  L15: { demands: 'no key that Apple does not know', rule: (files) => judgeAllKeys(files).unknown },
};

export function lint(files: readonly ProfileFile[], now: Date): Finding[] {
  return Object.entries(lintRules).flatMap(([name, { rule }]) => rule(files, now).map((finding) => ({ rule: name, ...finding })));
}
