import { createHash } from 'node:crypto';
import { identityProfiles } from './identity-payloads.ts';
import { makePayload, makeProfile } from './payload-parts.ts';
import type { ProfileFile } from './read-profile.ts';
import type { Dictionary } from './schema-check.ts';
import type { LoadedSettings } from './settings.ts';

/** The launchd job's label, which is also the domain of the managed preferences. */
export const agentDomain = 'io.sparekey.agent';
/** Where the package puts the runtime, and the identifier that it is signed with. */
export const runtime = { path: '/Library/Sparekey/bin/node', identifier: 'io.sparekey.agent.node' };
/** In a folder of its own, so that nobody uploads it with the others. */
export const onlyIfNeeded = 'only-if-needed';

/** What macOS shows to a person who has forgotten a password: who has the key, and where it is. */
function location({ organisation, portal, support }: LoadedSettings): string {
  const ways = [portal === undefined ? null : `Sign in to ${portal} and choose Get recovery key.`, support === undefined ? null : `Or ask: ${support}.`];
  const said = ways.filter((way) => way !== null).join(' ');
  return `${organisation} IT. ${said === '' ? 'Ask your IT department for the recovery key of this Mac.' : said.replace(/^Or a/, 'A')}`;
}

/** Escrow and FileVault belong together: macOS 26 may make a new key the moment this is installed, and it must be sealed to somebody. */
function escrowProfile(settings: LoadedSettings): ProfileFile {
  const { fileVault } = settings;
  const certificate = makePayload(settings, 'com.apple.security.pkcs1', 'escrow.certificate', 'Escrow certificate', {
    PayloadCertificateFileName: 'escrow.cer',
    PayloadContent: settings.escrowCertificateDer,
  });
  const escrow = makePayload(settings, 'com.apple.security.FDERecoveryKeyEscrow', 'escrow.payload', 'Recovery key escrow', {
    Location: location(settings),
    EncryptCertPayloadUUID: certificate['PayloadUUID'],
    ...(settings.deviceKey === undefined ? {} : { DeviceKey: settings.deviceKey }),
  });
  const enable = makePayload(settings, 'com.apple.MCX.FileVault2', 'escrow.filevault', 'FileVault', {
    Enable: 'On',
    Defer: true,
    ShowRecoveryKey: false,
    DeferForceAtUserLoginMaxBypassAttempts: fileVault.bypassAttempts,
    ...(fileVault.inSetupAssistant ? { ForceEnableInSetupAssistant: true } : {}),
  });
  const options = makePayload(settings, 'com.apple.MCX', 'escrow.options', 'FileVault options', { dontAllowFDEDisable: fileVault.keepOn });
  // By hand the payload that switches FileVault on is taken and does nothing.
  const switchesOn = fileVault.enable && settings.mdm !== 'none';
  return makeProfile(
    settings,
    'escrow',
    'FileVault and recovery key escrow',
    switchesOn ? 'Turns on FileVault and seals every new recovery key for your IT department.' : 'Seals every new recovery key for your IT department.',
    [certificate, escrow, ...(switchesOn ? [enable] : []), options],
  );
}

function agentSettings(settings: LoadedSettings): Dictionary {
  return {
    serverUrl: settings.serverUrl,
    escrowCertificate: settings.escrowCertificateDer,
    ...(settings.trustedCertificatesPem.length > 0 ? { trustedCertificates: settings.trustedCertificatesPem } : {}),
    ...(settings.assignedTo === undefined ? {} : { assignedTo: settings.assignedTo }),
    ...(settings.enrolmentTicket === null ? {} : { enrolmentTicket: settings.enrolmentTicket }),
    ...settings.agent,
  };
}

function settingsProfile(settings: LoadedSettings): ProfileFile {
  const payloads = [makePayload(settings, agentDomain, 'settings.agent', 'Sparekey', agentSettings(settings))];
  return makeProfile(settings, 'settings', 'Sparekey settings', 'Where the Sparekey agent on this Mac finds its server, and how it works.', payloads);
}

/**
 * By the job's label, and by the team that signed it where one is named: a rule by team alone would cover whatever else that
 * team has signed. LabelPrefix, because on macOS 13.0 of the rules by label only this one worked (microsoft/mdatp-xplat, pull
 * request 62, November 2022).
 */
function loginItemsProfile(settings: LoadedSettings): ProfileFile {
  const team = settings.teamIdentifier === undefined ? {} : { TeamIdentifier: settings.teamIdentifier };
  const rules = [{ RuleType: 'LabelPrefix', RuleValue: agentDomain, ...team, Comment: 'The Sparekey agent' }];
  const payloads = [makePayload(settings, 'com.apple.servicemanagement', 'login-items.agent', 'Sparekey in Login Items', { Rules: rules })];
  return makeProfile(settings, 'login-items', 'Sparekey in Login Items', 'Lets the Sparekey agent run in the background.', payloads);
}

/** Whatever a Developer ID certificate of the team has signed by this identifier. */
const requirementOf = (team: string): string =>
  `identifier "${runtime.identifier}" and anchor apple generic and certificate 1[field.1.2.840.113635.100.6.2.6] /* exists */ and certificate leaf[field.1.2.840.113635.100.6.1.13] /* exists */ and certificate leaf[subject.OU] = "${team}"`;

/** For the day that `sparekey doctor` names a privacy denial; nothing that the agent reads is known to need it. */
function privacyProfile(settings: LoadedSettings, team: string): ProfileFile {
  const entry = { Identifier: runtime.path, IdentifierType: 'path', CodeRequirement: requirementOf(team), Allowed: true, Comment: 'The Sparekey agent' };
  const payloads = [
    makePayload(settings, 'com.apple.TCC.configuration-profile-policy', 'privacy.agent', 'Full disk access for Sparekey', {
      Services: { SystemPolicyAllFiles: [entry] },
    }),
  ];
  return makeProfile(
    settings,
    'privacy',
    'Full disk access for Sparekey (only if needed)',
    'Not needed as far as is known. Install it only where “sparekey doctor” says that macOS privacy settings keep the agent from a file.',
    payloads,
    onlyIfNeeded,
  );
}

/** Every profile that an organisation needs, in the order in which they are installed. */
export function makeProfiles(settings: LoadedSettings): ProfileFile[] {
  const byMdm = settings.mdm !== 'none';
  return [
    ...identityProfiles(settings),
    settingsProfile(settings),
    ...(byMdm ? [loginItemsProfile(settings)] : []),
    escrowProfile(settings),
    ...(byMdm && settings.teamIdentifier !== undefined ? [privacyProfile(settings, settings.teamIdentifier)] : []),
  ];
}

/** SHA-256 of the escrow certificate, as an admin compares it. */
export const escrowFingerprint = (settings: LoadedSettings): string => createHash('sha256').update(settings.escrowCertificateDer).digest('hex');
