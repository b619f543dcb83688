import { createHash } from 'node:crypto';
import type { Dictionary, ProfileFile } from './lint.ts';
import type { LoadedSettings } from './settings.ts';
import { uuidOf } from './uuid.ts';

/** The launchd job's label, which is also the domain of the managed preferences. */
const agentDomain = 'io.sparekey.agent';

/** A payload with the keys that each one has. The UUID is of its content, so it changes when that does. */
function payload(settings: LoadedSettings, type: string, name: string, displayName: string, content: Dictionary): Dictionary {
  const PayloadIdentifier = `${settings.identifier}.${name}`;
  return {
    PayloadType: type,
    PayloadVersion: 1,
    PayloadIdentifier,
    PayloadUUID: uuidOf(PayloadIdentifier, content),
    PayloadDisplayName: displayName,
    PayloadOrganization: settings.organisation,
    ...content,
  };
}

function profile(settings: LoadedSettings, name: string, displayName: string, description: string, payloads: Dictionary[]): ProfileFile {
  const PayloadIdentifier = `${settings.identifier}.${name}`;
  return {
    file: `${name}.mobileconfig`,
    profile: {
      PayloadType: 'Configuration',
      PayloadVersion: 1,
      PayloadScope: 'System',
      TargetDeviceType: 5,
      PayloadIdentifier,
      PayloadUUID: uuidOf(PayloadIdentifier, payloads),
      PayloadDisplayName: displayName,
      PayloadDescription: description,
      PayloadOrganization: settings.organisation,
      PayloadContent: payloads,
    },
  };
}

/** What macOS shows to a person who has forgotten a password: who has the key, and where it is. */
function location({ organisation, portal, support }: LoadedSettings): string {
  const ways = [portal === undefined ? null : `Sign in to ${portal} and choose Get recovery key.`, support === undefined ? null : `Or ask: ${support}.`];
  const said = ways.filter((way) => way !== null).join(' ');
  return `${organisation} IT. ${said === '' ? 'Ask your IT department for the recovery key of this Mac.' : said.replace(/^Or a/, 'A')}`;
}

/** Escrow and FileVault belong together: macOS 26 may make a new key the moment this is installed, and it must be sealed to somebody. */
function escrowProfile(settings: LoadedSettings): ProfileFile {
  const { fileVault } = settings;
  const certificate = payload(settings, 'com.apple.security.pkcs1', 'escrow.certificate', 'Escrow certificate', {
    PayloadCertificateFileName: 'escrow.cer',
    PayloadContent: settings.escrowCertificateDer,
  });
  const escrow = payload(settings, 'com.apple.security.FDERecoveryKeyEscrow', 'escrow.payload', 'Recovery key escrow', {
    Location: location(settings),
    EncryptCertPayloadUUID: certificate['PayloadUUID'],
    ...(settings.deviceKey === undefined ? {} : { DeviceKey: settings.deviceKey }),
  });
  const enable = payload(settings, 'com.apple.MCX.FileVault2', 'escrow.filevault', 'FileVault', {
    Enable: 'On',
    Defer: true,
    ShowRecoveryKey: false,
    DeferForceAtUserLoginMaxBypassAttempts: fileVault.bypassAttempts,
    ...(fileVault.inSetupAssistant ? { ForceEnableInSetupAssistant: true } : {}),
  });
  const options = payload(settings, 'com.apple.MCX', 'escrow.options', 'FileVault options', { dontAllowFDEDisable: fileVault.keepOn });
  return profile(settings, 'escrow', 'FileVault and recovery key escrow', 'Turns on FileVault and seals every new recovery key for your IT department.', [
    certificate,
    escrow,
    ...(fileVault.enable ? [enable] : []),
    options,
  ]);
}

function agentSettings(settings: LoadedSettings): Dictionary {
  return {
    serverUrl: settings.serverUrl,
    escrowCertificate: settings.escrowCertificateDer,
    ...(settings.trustedCertificatesPem.length > 0 ? { trustedCertificates: settings.trustedCertificatesPem } : {}),
    ...(settings.assignedTo === undefined ? {} : { assignedTo: settings.assignedTo }),
    ...settings.agent,
  };
}

function settingsProfile(settings: LoadedSettings): ProfileFile {
  const payloads = [payload(settings, agentDomain, 'settings.agent', 'Sparekey', agentSettings(settings))];
  return profile(settings, 'settings', 'Sparekey settings', 'Where the Sparekey agent on this Mac finds its server, and how it works.', payloads);
}

/** By label alone: a rule by team would cover whatever else the signer of the runtime has signed. */
function loginItemsProfile(settings: LoadedSettings): ProfileFile {
  const rules = [{ RuleType: 'Label', RuleValue: agentDomain, Comment: 'The Sparekey agent' }];
  const payloads = [payload(settings, 'com.apple.servicemanagement', 'login-items.agent', 'Sparekey in Login Items', { Rules: rules })];
  return profile(settings, 'login-items', 'Sparekey in Login Items', 'Lets the Sparekey agent run in the background.', payloads);
}

function identityProfile(settings: LoadedSettings, { scep }: NonNullable<LoadedSettings['identity']>): ProfileFile {
  const content: Dictionary = {
    URL: scep.url,
    ...(scep.name === undefined ? {} : { Name: scep.name }),
    ...(scep.challenge === undefined ? {} : { Challenge: scep.challenge }),
    ...(scep.caFingerprint === undefined ? {} : { CAFingerprint: Buffer.from(scep.caFingerprint.replaceAll(':', ''), 'hex') }),
    Subject: [[['O', settings.organisation]], [['CN', scep.commonName]]],
    Keysize: scep.keySize,
    'Key Type': 'RSA',
    'Key Usage': 5,
    KeyIsExtractable: false,
    // Without it `/usr/bin/security` may not sign with the key. With it every process on the Mac may: so this identity is
    // used for one proof at enrolment, and for nothing else.
    AllowAllAppsAccess: true,
  };
  const payloads = [payload(settings, 'com.apple.security.scep', 'identity.scep', 'Device identity', { PayloadContent: content })];
  return profile(settings, 'identity', 'Sparekey device identity', 'The certificate by which this Mac is known when it enrols.', payloads);
}

/** Every profile that an organisation needs, in the order in which they are installed. */
export function makeProfiles(settings: LoadedSettings): ProfileFile[] {
  return [
    ...(settings.identity === undefined ? [] : [identityProfile(settings, settings.identity)]),
    settingsProfile(settings),
    loginItemsProfile(settings),
    escrowProfile(settings),
  ];
}

/** SHA-256 of the escrow certificate, as an admin compares it. */
export const escrowFingerprint = (settings: LoadedSettings): string => createHash('sha256').update(settings.escrowCertificateDer).digest('hex');
