import type { ProfileFile } from './read-profile.ts';
import type { Dictionary } from './schema-check.ts';
import type { LoadedSettings } from './settings.ts';
import { uuidOf } from './uuid.ts';

/** A payload with the keys that each one has. The UUID is of its content, so it changes when that does. */
export function makePayload(settings: LoadedSettings, type: string, name: string, displayName: string, content: Dictionary): Dictionary {
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

export function makeProfile(
  settings: LoadedSettings,
  name: string,
  displayName: string,
  description: string,
  payloads: Dictionary[],
  folder = '',
): ProfileFile {
  const PayloadIdentifier = `${settings.identifier}.${name}`;
  return {
    file: `${folder === '' ? '' : `${folder}/`}${name}.mobileconfig`,
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
