/*
 * What Apple's schema says of the payloads that matter here: types, ranges, what is required, since which macOS, and how a
 * payload may be installed. Facts from github.com/apple/device-management, mdm/profiles/*.yaml, as of commit
 * 85fae8ac896578447f8fcb07ff6c976128133a9c (MIT licence, Apple Inc. 2022–2024), macOS only.
 */

/** What a value may be. */
export type Shape =
  | 'string'
  | 'boolean'
  | 'data'
  | 'date'
  | 'integer'
  | 'real'
  | 'any'
  /** One text, or a list of texts. */
  | 'texts'
  | { oneOf: readonly (string | number)[] }
  | { integers: readonly [least: number, most: number] }
  | { list: Shape; exactly?: number }
  | { keys: Keys }
  /** A dictionary whose keys are names of somebody's own. */
  | { each: Shape };

export interface KeyFact {
  is: Shape;
  required?: true;
  /** The first macOS that knows it, where that is later than its payload. */
  since?: string;
  notOnMac?: true;
  /** Opening a profile by hand does not do with this key. */
  byMdmOnly?: true;
}
export type Keys = Readonly<Record<string, KeyFact>>;

export interface PayloadFact {
  keys: Keys;
  since: string;
  /** macOS takes one payload of this type, in all profiles together. */
  once?: true;
  /** Works for the whole Mac only, so the profile's scope has to be System. */
  deviceOnly?: true;
  /** Needs an MDM that its user has approved: `installs` without it but does nothing, or is `refused`. */
  byHand?: 'does nothing' | 'refused';
}

const must = (is: Shape, more: Partial<KeyFact> = {}): KeyFact => ({ is, required: true, ...more });
const may = (is: Shape, more: Partial<KeyFact> = {}): KeyFact => ({ is, ...more });

const common: Keys = {
  PayloadType: must('string'),
  PayloadVersion: must({ oneOf: [1] }),
  PayloadIdentifier: must('string'),
  PayloadUUID: must('string'),
  PayloadDisplayName: may('string'),
  PayloadDescription: may('string'),
  PayloadOrganization: may('string'),
};
export const payloadKeys = common;
/** Not in the schema, but in most profiles that a console has exported; macOS takes no notice. */
export const exportedKeys: readonly string[] = ['PayloadEnabled', 'PayloadScope', 'PayloadRemovalDisallowed'];

export const profileKeys: Keys = {
  ...common,
  PayloadType: must({ oneOf: ['Configuration'] }),
  PayloadContent: must({ list: 'any' }),
  IsEncrypted: may('boolean'),
  EncryptedPayloadContent: may('data'),
  HasRemovalPasscode: may('boolean'),
  PayloadRemovalDisallowed: may('boolean'),
  PayloadScope: may({ oneOf: ['System', 'User'] }, { since: '10.8' }),
  RemovalDate: may('date'),
  DurationUntilRemoval: may('real'),
  PayloadExpirationDate: may('date'),
  TargetDeviceType: may({ integers: [0, 6] }, { since: '10.15' }),
  ConsentText: may({ each: 'string' }),
};

const certificate: PayloadFact = { since: '10.7', keys: { PayloadContent: must('data'), PayloadCertificateFileName: may('string') } };
/** A name as X.500 writes it: parts of pairs of an attribute and its value. */
const subject: Shape = { list: { list: { list: 'string', exactly: 2 } } };
const altName = (is: Shape): Shape => ({
  keys: { rfc822Name: may(is), dNSName: may(is), uniformResourceIdentifier: may(is), ntPrincipalName: may(is) },
});

const scep: Keys = {
  URL: must('string'),
  Name: may('string'),
  Subject: may(subject),
  Challenge: may('string'),
  Keysize: may({ oneOf: [1024, 2048, 4096] }),
  'Key Type': may({ oneOf: ['RSA'] }),
  'Key Usage': may({ oneOf: [0, 1, 4, 5] }, { since: '10.11' }),
  CAFingerprint: may('data'),
  Retries: may({ integers: [0, 10_000] }, { since: '10.10' }),
  RetryDelay: may({ integers: [0, 86_400] }, { since: '10.10' }),
  SubjectAltName: may(altName('texts')),
  KeyIsExtractable: may('boolean', { since: '10.13.4' }),
  AllowAllAppsAccess: may('boolean', { since: '10.10' }),
  // Of no schema, in Apple's own Profile Manager and in many profiles: days before the end.
  CertificateRenewalTimeInterval: may({ integers: [1, 3650] }),
};
export const scepKeys = scep;

/** Whom a service of the privacy settings is given to, or refused. Of `Allowed` and `Authorization` there has to be one (rule L13). */
const privacyEntry: Shape = {
  keys: {
    Identifier: must('string'),
    IdentifierType: must({ oneOf: ['bundleID', 'path'] }),
    CodeRequirement: must('string'),
    StaticCode: may('boolean'),
    Allowed: may('boolean'),
    Authorization: may({ oneOf: ['Allow', 'Deny', 'AllowStandardUserToSetSystemService'] }, { since: '11.0' }),
    Comment: may('string'),
    AEReceiverIdentifier: may('string'),
    AEReceiverIdentifierType: may({ oneOf: ['bundleID', 'path'] }),
    AEReceiverCodeRequirement: may('string'),
  },
};
const services: Record<string, readonly string[]> = {
  '10.14': [
    'AddressBook Calendar Reminders Photos Camera Microphone Accessibility PostEvent',
    'SystemPolicyAllFiles SystemPolicySysAdminFiles AppleEvents',
  ].flatMap((names) => names.split(' ')),
  '10.15': [
    'MediaLibrary FileProviderPresence ListenEvent ScreenCapture SpeechRecognition SystemPolicyDesktopFolder',
    'SystemPolicyDocumentsFolder SystemPolicyDownloadsFolder SystemPolicyNetworkVolumes SystemPolicyRemovableVolumes',
  ].flatMap((names) => names.split(' ')),
  '11.0': ['BluetoothAlways'],
  '13.0': ['SystemPolicyAppBundles'],
  '14.0': ['SystemPolicyAppData'],
};
const privacyServices: Keys = Object.fromEntries(
  Object.entries(services).flatMap(([since, names]) => names.map((name): [string, KeyFact] => [name, may({ list: privacyEntry }, { since })])),
);

// The time stamp is of no schema; Apple's own mcxToProfile wrote it for Set-Once.
const forced: Shape = { list: { keys: { mcx_preference_settings: must({ each: 'any' }), mcx_data_timestamp: may('date') } } };

export const payloadFacts: Readonly<Record<string, PayloadFact>> = {
  'com.apple.security.FDERecoveryKeyEscrow': {
    since: '10.13',
    once: true,
    deviceOnly: true,
    keys: { Location: must('string'), EncryptCertPayloadUUID: must('string'), DeviceKey: may('string') },
  },
  'com.apple.MCX.FileVault2': {
    since: '10.9',
    once: true,
    deviceOnly: true,
    byHand: 'does nothing',
    keys: {
      Enable: must({ oneOf: ['On', 'Off'] }),
      Defer: may('boolean'),
      UserEntersMissingInfo: may('boolean'),
      UseRecoveryKey: may('boolean'),
      ShowRecoveryKey: may('boolean'),
      OutputPath: may('string'),
      Certificate: may('data'),
      PayloadCertificateUUID: may('string'),
      Username: may('string'),
      Password: may('string'),
      UseKeychain: may('boolean'),
      DeferForceAtUserLoginMaxBypassAttempts: may({ integers: [-1, 9999] }),
      DeferDontAskAtUserLogout: may('boolean', { since: '10.10' }),
      ForceEnableInSetupAssistant: may('boolean', { since: '14.0', byMdmOnly: true }),
    },
  },
  // Five schemas share this type; the other four (accounts, energy, mobility, time, Wi-Fi) are not in this table.
  'com.apple.MCX': {
    since: '10.7',
    deviceOnly: true,
    keys: { dontAllowFDEDisable: may('boolean'), dontAllowFDEEnable: may('boolean'), DestroyFVKeyOnStandby: may('boolean', { since: '10.9' }) },
  },
  'com.apple.security.pkcs1': certificate,
  'com.apple.security.root': certificate,
  'com.apple.security.pem': certificate,
  'com.apple.security.pkcs12': {
    since: '10.7',
    keys: {
      PayloadContent: must('data'),
      PayloadCertificateFileName: may('string'),
      Password: may('string'),
      AllowAllAppsAccess: may('boolean', { since: '10.10' }),
      KeyIsExtractable: may('boolean', { since: '10.15' }),
    },
  },
  'com.apple.security.scep': { since: '10.7', keys: { PayloadContent: must({ keys: scep }) } },
  'com.apple.security.acme': {
    since: '13.1',
    keys: {
      DirectoryURL: must('string'),
      ClientIdentifier: must('string'),
      KeySize: must('integer'),
      KeyType: must({ oneOf: ['RSA', 'ECSECPrimeRandom'] }),
      HardwareBound: must('boolean'),
      Subject: must(subject),
      SubjectAltName: may(altName('string')),
      UsageFlags: may({ oneOf: [0, 1, 4, 5] }),
      ExtendedKeyUsage: may({ list: 'string' }),
      Attest: may('boolean'),
      KeyIsExtractable: may('boolean'),
      AllowAllAppsAccess: may('boolean'),
    },
  },
  'com.apple.servicemanagement': {
    since: '13.0',
    deviceOnly: true,
    byHand: 'refused',
    keys: {
      Rules: must({
        list: {
          keys: {
            RuleType: must({ oneOf: ['BundleIdentifier', 'BundleIdentifierPrefix', 'Label', 'LabelPrefix', 'TeamIdentifier'] }),
            RuleValue: must('string'),
            Comment: may('string'),
            TeamIdentifier: may('string'),
          },
        },
      }),
    },
  },
  'com.apple.TCC.configuration-profile-policy': { since: '10.14', deviceOnly: true, byHand: 'refused', keys: { Services: must({ keys: privacyServices }) } },
  'com.apple.ManagedClient.preferences': {
    since: '10.7',
    keys: { PayloadContent: must({ each: { keys: { Forced: may(forced), 'Set-Once': may(forced) } } }) },
  },
  'com.apple.notificationsettings': {
    since: '10.15',
    keys: {
      NotificationSettings: must({
        list: {
          keys: {
            BundleIdentifier: must('string'),
            NotificationsEnabled: may('boolean'),
            ShowInNotificationCenter: may('boolean'),
            ShowInLockScreen: may('boolean'),
            AlertType: may({ oneOf: [0, 1, 2] }),
            BadgesEnabled: may('boolean'),
            SoundsEnabled: may('boolean'),
            CriticalAlertEnabled: may('boolean'),
            ShowInCarPlay: may('boolean', { notOnMac: true }),
            GroupingType: may({ oneOf: [0, 1, 2] }, { notOnMac: true }),
            PreviewType: may({ oneOf: [0, 1, 2] }, { notOnMac: true }),
          },
        },
      }),
    },
  },
};
