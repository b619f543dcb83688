// What stands in the way of a Mac, each as one row: when, how bad, in words, and who does what about it.
import type { CensusMac, Recipient } from './line.ts';
import { majorOf, makesKeyItself, type Owner, oldestMacos } from './standing.ts';

/** `stops`: nothing of ours can work. `first`: to be settled before its ring moves. `note`: to be known, no more. */
export type Weight = 'stops' | 'first' | 'note';

export interface Obstacle {
  code: string;
  weight: Weight;
  says: string;
  next: string;
}

interface Row {
  code: string;
  weight: Weight;
  /** As the plot says it, of many Macs. */
  title: string;
  says(mac: CensusMac): string;
  next: string;
  when(mac: CensusMac, owner: Owner): boolean;
}

const isEncrypted = ({ fileVault }: CensusMac): boolean => fileVault === 'on' || fileVault === 'encrypting';
const same = (one: Recipient, other: Recipient): boolean => one.serial === other.serial && one.issuer === other.issuer;
const always = (words: string) => () => words;
const commonName = (issuer: string): string => /(?:commonName|CN)=([^,]+)/.exec(issuer)?.[1] ?? issuer;

/** The worst first; within a weight what has to be done first. */
const rows: readonly Row[] = [
  {
    code: 'old-macos',
    weight: 'stops',
    title: `macOS before ${oldestMacos}`,
    says: ({ macos }) => `macOS ${macos} is older than ${oldestMacos}`,
    next: 'update macOS, or leave this Mac with its MDM',
    when: ({ macos }) => (majorOf(macos) ?? oldestMacos) < oldestMacos,
  },
  {
    code: 'two-machines',
    weight: 'stops',
    title: 'two machines with one serial number',
    says: always('two machines answered with this serial number'),
    next: 'find out which of the two it is: a replaced logic board, a virtual machine, or a copied export',
    when: ({ problems }) => problems.includes(twoMachines),
  },
  {
    code: 'several-payloads',
    weight: 'stops',
    title: 'more than one escrow payload',
    says: ({ payloads }) => `${payloads?.length ?? 0} escrow payloads are installed; which one macOS obeys is not known`,
    next: 'remove all but one of the escrow profiles in the MDM',
    when: (_, owner) => owner === 'several',
  },
  {
    code: 'no-token-user',
    weight: 'stops',
    title: 'no user with a secure token',
    says: always('no user has a secure token: nobody can make a new key'),
    next: 'have an admin with a secure token give one to its user (sysadminctl), or set it up again',
    when: ({ secureTokenUsers }) => secureTokenUsers === 0,
  },
  {
    code: 'filevault-off',
    weight: 'stops',
    title: 'FileVault is off',
    says: ({ deferred }) => (deferred ? 'FileVault comes on when its user logs out' : 'FileVault is off'),
    next: 'turn FileVault on, by profile; with our payload there first, its first key is sealed to us',
    when: ({ fileVault }) => fileVault === 'off',
  },
  {
    code: 'no-personal-key',
    weight: 'stops',
    title: 'no personal recovery key',
    says: always('FileVault is on without a personal recovery key'),
    next: 'its user makes one (fdesetup changerecovery -personal), or the MDM does',
    when: (mac) => isEncrypted(mac) && mac.personalKey === 'no',
  },
  {
    code: 'payload-unknown',
    weight: 'first',
    title: 'profiles not readable',
    says: ({ root }) => (root ? 'the list of profiles could not be read' : 'assess.sh did not run as root, so the profiles could not be read'),
    next: 'run assess.sh again, as root',
    when: (_, owner) => owner === 'unknown',
  },
  {
    code: 'filevault-unknown',
    weight: 'first',
    title: 'FileVault did not answer',
    says: always('fdesetup did not say how FileVault stands'),
    next: 'restart this Mac and run assess.sh again',
    when: ({ fileVault }) => fileVault === 'unknown',
  },
  {
    code: 'two-rotators',
    weight: 'first',
    title: 'something else replaces keys by itself',
    says: ({ rotators }) => `${rotators.byThemselves.join(' and ')} replaces keys at login`,
    next: 'decide for one rotator: take the plug-in out of the authorization database with its own uninstaller, or set rotator to mdm',
    when: ({ rotators }) => rotators.byThemselves.length > 0,
  },
  {
    code: 'file-of-another',
    weight: 'first',
    title: 'escrow file sealed to somebody else',
    says: ({ escrowFile }) =>
      `the escrow file is sealed to ${commonName(escrowFile?.recipients[0]?.issuer ?? '') || 'somebody'}, and the payload names another certificate`,
    next: 'do not count on the key that the payload’s owner stores: import from both, and have it proved',
    when: ({ payloads, escrowFile }, owner) => {
      const named = payloads?.[0]?.recipient;
      return owner !== 'several' && !!named && !!escrowFile && escrowFile.recipients.length > 0 && !escrowFile.recipients.some((one) => same(one, named));
    },
  },
  {
    code: 'never-escrowed',
    weight: 'first',
    title: 'key older than the payload',
    says: always('there is no escrow file: the key is older than the payload, and its owner may not have it'),
    next: 'import what there is and have it proved; if nothing opens it, the MDM or its user makes a new key',
    when: (mac, owner) => owner === 'foreign' && isEncrypted(mac) && mac.escrowFile === null && mac.root,
  },
  {
    code: 'nobody-has-it',
    weight: 'first',
    title: 'no payload, so nobody was sent the key',
    says: always('no escrow payload is installed: nobody was sent the present key'),
    next: 'find out who has its key, or have its user make a new one once our payload is there (fdesetup changerecovery -personal)',
    // From macOS 26 on, with a Bootstrap Token, our payload brings a key by itself.
    when: (mac, owner) => owner === 'none' && isEncrypted(mac) && !((majorOf(mac.macos) ?? 0) >= makesKeyItself && mac.bootstrapToken.escrowed === 'yes'),
  },
  {
    code: 'not-enrolled',
    weight: 'first',
    title: 'not enrolled in an MDM',
    says: always('it is enrolled in no MDM: nobody can send it profiles'),
    next: 'enrol it, or install the profiles by hand',
    when: ({ mdm }) => mdm.enrolled === 'no',
  },
  {
    code: 'institutional-key',
    weight: 'first',
    title: 'institutional recovery key',
    says: always('an institutional recovery key opens it too, on Intel, and Sparekey does not manage that'),
    next: 'remove it (fdesetup removerecovery -institutional) once the personal key is proved',
    when: ({ institutionalKey }) => institutionalKey === 'yes',
  },
  {
    code: 'filevault-busy',
    weight: 'first',
    title: 'encrypting or decrypting',
    says: ({ fileVault }) => `FileVault is ${fileVault} this disk`,
    next: 'wait until it is done; keep it on power',
    when: ({ fileVault }) => fileVault === 'encrypting' || fileVault === 'decrypting',
  },
  {
    code: 'no-bootstrap-token',
    weight: 'note',
    title: 'no Bootstrap Token',
    says: always('no Bootstrap Token is escrowed, so macOS makes no key by itself when our payload comes'),
    next: 'sudo profiles install -type bootstraptoken, with the password of a user with a secure token',
    when: ({ macos, bootstrapToken }, owner) => (majorOf(macos) ?? 0) >= makesKeyItself && bootstrapToken.escrowed === 'no' && owner !== 'ours',
  },
  {
    code: 'not-approved',
    weight: 'note',
    title: 'enrolment not approved by its user',
    says: always('its enrolment is not user approved: the profile for Login Items cannot be installed'),
    next: 'its user approves the enrolment in System Settings',
    when: ({ mdm }) => mdm.enrolled === 'yes' && mdm.userApproved === 'no',
  },
  {
    code: 'file-unreadable',
    weight: 'note',
    title: 'escrow file’s recipient not readable',
    says: always('for whom the escrow file is sealed could not be read'),
    next: 'nothing: the agent reads it when it comes',
    when: ({ escrowFile }) => escrowFile !== null && escrowFile.recipients.length === 0,
  },
  {
    code: 'recovery-lock',
    weight: 'note',
    title: 'Recovery Lock or firmware password set',
    says: always('recoveryOS asks for another secret first'),
    next: 'nothing: let the service desk know, or show people Option-Shift-Return',
    when: ({ recoveryLock }) => recoveryLock === 'yes',
  },
  {
    code: 'mdm-may-rotate',
    weight: 'note',
    title: 'an MDM’s agent may replace keys',
    says: ({ rotators }) => `${rotators.byOrder.join(', ')} can replace keys when told to`,
    next: 'switch its scheduled rotation off before the agent rotates here',
    when: ({ rotators }, owner) => owner === 'foreign' && rotators.byOrder.length > 0,
  },
  {
    code: 'not-root',
    weight: 'note',
    title: 'assess.sh did not run as root',
    says: always('assess.sh did not run as root'),
    next: 'have the MDM run it as root',
    when: ({ root }) => !root,
  },
  {
    code: 'serial-differs',
    weight: 'note',
    title: 'the MDM’s serial number is another one',
    says: always('the MDM has another serial number for it than the Mac says'),
    next: 'update its inventory: the serial number that the Mac says counts',
    when: ({ problems }) => problems.includes(serialDiffers),
  },
  {
    code: 'old-line',
    weight: 'note',
    title: 'answer of an older assess.sh',
    says: ({ missing }) => `an older assess.sh wrote this line, without ${missing.join(', ')}`,
    next: 'give the MDM the present assess.sh',
    when: ({ missing }) => missing.length > 0,
  },
];

/** Found by comparing lines, not by the Mac: they stand among its problems. */
export const twoMachines = 'census: two machines answered with this serial number';
export const serialDiffers = 'census: the MDM has another serial number';

export const obstaclesOf = (mac: CensusMac, owner: Owner): Obstacle[] =>
  rows.filter((row) => row.when(mac, owner)).map((row) => ({ code: row.code, weight: row.weight, says: row.says(mac), next: row.next }));

/** Of every code: what it is of many Macs, and what to do. */
export const obstacleTitles: ReadonlyMap<string, { title: string; weight: Weight; next: string }> = new Map(
  rows.map(({ code, title, weight, next }) => [code, { title, weight, next }]),
);
