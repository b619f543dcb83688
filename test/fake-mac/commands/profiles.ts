// profiles. Seen on real Macs: all text answers and the keys of the XML (a published test file of osquery's macadmins
// extension). Modelled: the payload contents of an escrow payload in that XML (a test file shows other payload types), the
// text of a Mac that is not enrolled when asked for its bootstrap token.
import { parse } from 'plist';
import { type Plain, toPlain, xmlPlist } from '../property-list.ts';
import type { Profile } from '../state.ts';
import { type Asked, complains, hasNo, type Outcome, says, stamp } from './outcome.ts';

const payloads = (profile: Profile): Plain[] => {
  const item = (type: string, suffix: string, content: Plain): Plain => ({
    PayloadType: type,
    PayloadIdentifier: `${profile.identifier}.${suffix}`,
    PayloadUUID: `${profile.uuid.slice(0, -4)}${suffix === 'cert' ? '0004' : '0005'}`,
    PayloadVersion: 1,
    PayloadContent: content,
  });
  const certificate = `${profile.uuid.slice(0, -4)}0004`;
  return [
    ...(profile.escrow
      ? [
          item('com.apple.security.pkcs1', 'cert', { PayloadContent: Buffer.from(profile.escrow.certificate, 'base64') }),
          item('com.apple.security.FDERecoveryKeyEscrow', 'escrow', { EncryptCertPayloadUUID: certificate, Location: profile.escrow.location }),
        ]
      : []),
    ...(profile.preferences ? [item(profile.preferences.domain, 'settings', toPlain(profile.preferences.values))] : []),
  ];
};

/** The payloads of a file, each with its own keys within PayloadContent. */
const payloadsOfFile = (file: string): Plain[] => {
  const { PayloadContent } = parse(file) as { PayloadContent: Record<string, Plain>[] };
  return PayloadContent.map((payload) => {
    const common = Object.keys(payload).filter((key) => /^Payload(Type|Version|Identifier|UUID|DisplayName|Organization)$/.test(key));
    const own = Object.keys(payload).filter((key) => !common.includes(key));
    const pick = (keys: readonly string[]): Record<string, Plain> => Object.fromEntries(keys.map((key) => [key, payload[key] ?? '']));
    return { ...pick(common), PayloadContent: pick(own) };
  });
};

const listed = (profile: Profile): Plain => ({
  ProfileIdentifier: profile.identifier,
  ProfileInstallDate: stamp(profile.installedAt),
  ProfileDisplayName: profile.displayName,
  ProfileDescription: '',
  ProfileVerificationState: 'verified',
  ProfileUUID: profile.uuid,
  ProfileOrganization: profile.organization,
  ProfileType: 'Configuration',
  ProfileItems: profile.file === undefined ? payloads(profile) : payloadsOfFile(profile.file),
});

const asXml = ({ state }: Asked): Outcome => {
  const level = ({ user = '_computerlevel' }: Profile): string => user;
  const levels = [...new Set(state.profiles.map(level))];
  return says(xmlPlist(Object.fromEntries(levels.map((each) => [each, state.profiles.filter((profile) => level(profile) === each).map(listed)]))));
};

const list = ({ state }: Asked): Outcome =>
  state.profiles.length
    ? says(
        `${state.profiles.map(({ identifier }, at) => `_computerlevel[${at + 1}] attribute: profileIdentifier: ${identifier}\n`).join('')}There are ${state.profiles.length} system configuration profiles installed\n`,
      )
    : says('There are no configuration profiles installed in the system domain\n');

const enrolment = ({ state: { mdm } }: Asked): Outcome =>
  says(
    `Enrolled via DEP: ${mdm.enrolledByDep ? 'Yes' : 'No'}\n${mdm.server === null ? 'MDM enrollment: No\n' : `MDM enrollment: Yes (User Approved)\nMDM server: ${mdm.server}\n`}`,
  );

const bootstrapToken = ({ state: { mdm } }: Asked): Outcome => {
  if (mdm.server === null) return complains(1, 'profiles: this command requires an MDM enrollment');
  if (!mdm.bootstrapTokenSupported) return says('profiles: Bootstrap Token supported on server: NO\n');
  return says(
    `profiles: Bootstrap Token supported on server: YES\nprofiles: Bootstrap Token escrowed to server: ${mdm.bootstrapTokenEscrowed ? 'YES' : 'NO'}\n`,
  );
};

export const profiles = (asked: Asked, args: readonly string[]): Outcome => {
  switch (args.join(' ')) {
    case 'status -type enrollment':
      return enrolment(asked);
    case 'status -type bootstraptoken':
      return bootstrapToken(asked);
    case 'show -type configuration -output stdout-xml':
    case '-C -o stdout-xml':
      return asXml(asked);
    case 'list':
    case '-C':
      return list(asked);
    default:
      return hasNo('/usr/bin/profiles', args);
  }
};
