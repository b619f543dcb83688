/** What a value may be in a configuration profile. */
export type KeyKind =
  | 'string'
  | 'boolean'
  | 'data'
  | 'array'
  | 'dictionary'
  | { integers: readonly [least: number, most: number] }
  | { oneOf: readonly (string | number)[] };

export interface PayloadKind {
  /** What stands beside the keys that every payload has. */
  keys: Record<string, KeyKind>;
  required: readonly string[];
  /** Installs only through a user-approved MDM; opening the file by hand is refused. */
  byMdmOnly?: true;
}

/** Keys that a profile, or any payload in it, may have. */
const everyPayload: Record<string, KeyKind> = {
  PayloadType: 'string',
  PayloadVersion: { integers: [1, 1] },
  PayloadIdentifier: 'string',
  PayloadUUID: 'string',
  PayloadDisplayName: 'string',
  PayloadDescription: 'string',
  PayloadOrganization: 'string',
};

export const profileKeys: Record<string, KeyKind> = {
  ...everyPayload,
  PayloadContent: 'array',
  PayloadScope: { oneOf: ['System', 'User'] },
  PayloadRemovalDisallowed: 'boolean',
  TargetDeviceType: { integers: [0, 5] },
};

/** macOS has one payload of this type for five unrelated things; only the keys of FileVault are known here. */
const fileVaultOptions: PayloadKind = {
  keys: { dontAllowFDEDisable: 'boolean', dontAllowFDEEnable: 'boolean', DestroyFVKeyOnStandby: 'boolean' },
  required: [],
};

const certificate: PayloadKind = { keys: { PayloadContent: 'data', PayloadCertificateFileName: 'string' }, required: ['PayloadContent'] };

/** The payloads that we make, and the keys that Apple's schema (github.com/apple/device-management, mdm/profiles) gives them. */
export const payloadKinds: Record<string, PayloadKind> = {
  'com.apple.security.FDERecoveryKeyEscrow': {
    keys: { Location: 'string', EncryptCertPayloadUUID: 'string', DeviceKey: 'string' },
    required: ['Location', 'EncryptCertPayloadUUID'],
  },
  'com.apple.security.pkcs1': certificate,
  'com.apple.security.pem': certificate,
  'com.apple.security.root': certificate,
  'com.apple.MCX': fileVaultOptions,
  'com.apple.MCX.FileVault2': {
    keys: {
      Enable: { oneOf: ['On', 'Off'] },
      Defer: 'boolean',
      UserEntersMissingInfo: 'boolean',
      UseRecoveryKey: 'boolean',
      ShowRecoveryKey: 'boolean',
      OutputPath: 'string',
      Certificate: 'data',
      PayloadCertificateUUID: 'string',
      Username: 'string',
      Password: 'string',
      UseKeychain: 'boolean',
      DeferForceAtUserLoginMaxBypassAttempts: { integers: [-1, 9999] },
      DeferDontAskAtUserLogout: 'boolean',
      ForceEnableInSetupAssistant: 'boolean',
    },
    required: ['Enable'],
    byMdmOnly: true,
  },
  'com.apple.servicemanagement': { keys: { Rules: 'array' }, required: ['Rules'], byMdmOnly: true },
  'com.apple.security.scep': { keys: { PayloadContent: 'dictionary' }, required: ['PayloadContent'] },
};

/** Inside `PayloadContent` of a SCEP payload; the names have spaces. */
export const scepKeys: Record<string, KeyKind> = {
  URL: 'string',
  Name: 'string',
  Subject: 'array',
  Challenge: 'string',
  Keysize: { oneOf: [1024, 2048, 4096] },
  'Key Type': { oneOf: ['RSA'] },
  'Key Usage': { oneOf: [0, 1, 4, 5] },
  CAFingerprint: 'data',
  Retries: { integers: [0, 100] },
  RetryDelay: { integers: [0, 86_400] },
  SubjectAltName: 'dictionary',
  KeyIsExtractable: 'boolean',
  AllowAllAppsAccess: 'boolean',
};

export const ruleKeys: Record<string, KeyKind> = {
  RuleType: { oneOf: ['BundleIdentifier', 'BundleIdentifierPrefix', 'Label', 'LabelPrefix', 'TeamIdentifier'] },
  RuleValue: 'string',
  Comment: 'string',
  TeamIdentifier: 'string',
};

export const isPayloadKey = (key: string): boolean => key in everyPayload;
export const everyPayloadKey = everyPayload;

/** What is wrong with a value, in words, or null. */
export function misfit(kind: KeyKind, value: unknown): string | null {
  if (typeof kind === 'object' && 'oneOf' in kind) return kind.oneOf.some((allowed) => allowed === value) ? null : `must be one of ${kind.oneOf.join(', ')}`;
  if (typeof kind === 'object') {
    const [least, most] = kind.integers;
    return Number.isInteger(value) && Number(value) >= least && Number(value) <= most ? null : `must be a whole number from ${least} to ${most}`;
  }
  const fits = {
    string: typeof value === 'string',
    boolean: typeof value === 'boolean',
    data: value instanceof Uint8Array,
    array: Array.isArray(value),
    dictionary: typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array),
  }[kind];
  return fits ? null : `must be ${kind === 'array' ? 'an array' : kind === 'data' ? 'data' : `a ${kind}`}`;
}
