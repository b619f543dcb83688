// diskutil. Seen: `apfs listusers` (macOS 10.15, identifiers masked) and the constant identifiers of the recovery user and
// the bootstrap token. From osquery's source: the keys of `listusers -plist`. Modelled: which further keys `info -plist` has
// (APFSVolumeGroupID is read by several tools; the values beside it are examples).
import { xmlPlist } from '../property-list.ts';
import { recoveryUser } from '../state.ts';
import { type Asked, hasNo, type Outcome, onTheMac, says } from './outcome.ts';

const bootstrapToken = '2457711A-523C-4604-B75A-F48A571D5036';

export const diskutil = ({ root, state }: Asked, args: readonly string[]): Outcome => {
  const encrypted = state.disk.fileVault === 'on' || state.disk.fileVault === 'encrypting';
  switch (args.map((arg) => onTheMac(root, arg)).join(' ')) {
    case 'info -plist /':
      return says(
        xmlPlist({
          APFSVolumeGroupID: state.disk.volumeGroup,
          DeviceIdentifier: 'disk3s1s1',
          Encryption: encrypted,
          FileVault: encrypted,
          FilesystemType: 'apfs',
          MountPoint: '/',
          VolumeName: 'Macintosh HD',
          VolumeUUID: state.disk.volumeUuid,
        }),
      );
    case 'apfs listusers /':
    case 'apfs listcryptousers /': {
      const rows: [string, string][] = [
        ...state.users.filter(({ secureToken }) => secureToken).map(({ uuid }): [string, string] => [uuid, 'Local Open Directory User']),
        ...(state.disk.recoveryKey !== null ? ([[recoveryUser, 'Personal Recovery User']] as [string, string][]) : []),
        ...(state.mdm.bootstrapTokenEscrowed ? ([[bootstrapToken, 'MDM Bootstrap Token External Key']] as [string, string][]) : []),
      ];
      const lines = rows.flatMap(([uuid, type], at) => {
        const last = at === rows.length - 1;
        return ['|', `+-- ${uuid}`, `${last ? ' ' : '|'}   Type: ${type}`];
      });
      return says(`Cryptographic users for disk3s1s1 (${rows.length} found)\n${lines.map((line) => `${line}\n`).join('')}`);
    }
    case 'apfs listusers -plist /':
    case 'apfs listcryptousers -plist /':
      return says(
        xmlPlist({
          Users: [
            ...state.users.filter(({ secureToken }) => secureToken).map(({ uuid }) => ({ APFSCryptoUserType: 'LocalOpenDirectory', APFSCryptoUserUUID: uuid })),
            ...(state.disk.recoveryKey !== null ? [{ APFSCryptoUserType: 'PersonalRecovery', APFSCryptoUserUUID: recoveryUser }] : []),
            ...(state.mdm.bootstrapTokenEscrowed ? [{ APFSCryptoUserType: 'MDMRecovery', APFSCryptoUserUUID: bootstrapToken }] : []),
          ],
        }),
      );
    default:
      return hasNo('/usr/sbin/diskutil', args);
  }
};
