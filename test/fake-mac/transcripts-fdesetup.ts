// What real Macs said, as rows: the question, the answer, and its source; where the source is no capture, the row says so.
// Identifiers in the captures were replaced by their publishers.
import type { FakeMac } from './fake-mac.ts';

export interface Transcript {
  program: string;
  args: string[];
  given?: (mac: FakeMac) => void;
  input?: string;
  code: number;
  stdout?: string | RegExp;
  stderr?: string | RegExp;
  source: string;
}

export const credential = (password: string, user?: string): string =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<plist version="1.0"><dict>${user ? `<key>Username</key><string>${user}</string>` : ''}<key>Password</key><string>${password}</string></dict></plist>`;
const wrongKey = 'LVU9-OZ58-EEO2-O28G-JOBF-Q8M7';
const fdesetup = '/usr/bin/fdesetup';
const manual = 'the manual page of fdesetup';

export const transcriptsOfFdesetup: Record<string, Transcript> = {
  'status, on': {
    program: fdesetup,
    args: ['status'],
    code: 0,
    stdout: 'FileVault is On.\n',
    source: 'escrow-buddy EBMechanism.swift; ERNW guide for macOS 26',
  },
  'status, off: exit 0 too': {
    program: fdesetup,
    args: ['status'],
    given: (mac) => mac.disableFileVault(),
    code: 0,
    stdout: 'FileVault is Off.\n',
    source: 'munkireport, fleet',
  },
  'status while encrypting': {
    program: fdesetup,
    args: ['status'],
    given: (mac) => mac.setProgress('encrypting', 43.2),
    code: 0,
    stdout: 'FileVault is On.\nEncryption in progress: Percent completed = 43.2\n',
    source: 'parsers of munkireport and rtrouton_scripts (the number is an example)',
  },
  'status while decrypting': {
    program: fdesetup,
    args: ['status'],
    given: (mac) => mac.setProgress('decrypting', 12),
    code: 0,
    stdout: 'FileVault is Off.\nDecryption in progress: Percent completed = 12\n',
    source: 'parsers of the same',
  },
  'status with a deferral': {
    program: fdesetup,
    args: ['status'],
    given: (mac) =>
      mac.change(({ disk }) => {
        disk.fileVault = 'off';
        disk.deferredFor = 'shortname';
      }),
    code: 0,
    stdout: "FileVault is Off.\nDeferred enablement appears to be active for user 'shortname'.\n",
    source: 'comments of rtrouton_scripts',
  },
  'status with a master keychain': {
    program: fdesetup,
    args: ['status'],
    given: (mac) =>
      mac.change(({ disk }) => {
        disk.institutionalKey = true;
      }),
    code: 0,
    stdout: 'FileVault is On.\nFileVault master keychain appears to be installed.\n',
    source: 'reportFileVault, macOS 10.15.6',
  },
  'status -extended': {
    program: fdesetup,
    args: ['status', '-extended'],
    code: 0,
    stdout: 'FileVault is On.\nVolume is APFS. (FileVault Enabled)\n',
    source: 'ERNW guide for macOS 26',
  },
  'isactive, on': { program: fdesetup, args: ['isactive'], code: 0, stdout: 'true\n', source: manual },
  'isactive, off: exit 1': { program: fdesetup, args: ['isactive'], given: (mac) => mac.disableFileVault(), code: 1, stdout: 'false\n', source: manual },
  haspersonalrecoverykey: { program: fdesetup, args: ['haspersonalrecoverykey'], code: 0, stdout: 'true\n', source: 'reportFileVault' },
  'haspersonalrecoverykey, none': {
    program: fdesetup,
    args: ['haspersonalrecoverykey'],
    given: (mac) => mac.disableFileVault(),
    code: 0,
    stdout: 'false\n',
    source: `${manual} (exit status not recorded)`,
  },
  'usingrecoverykey, no': { program: fdesetup, args: ['usingrecoverykey'], code: 0, stdout: 'false\n', source: 'openradar 28163245' },
  'usingrecoverykey, yes': {
    program: fdesetup,
    args: ['usingrecoverykey'],
    given: (mac) => void mac.rebootWithRecoveryKey(),
    code: 0,
    stdout: 'true\n',
    source: 'Crypt PR #99 (observed), words of the manual page',
  },
  'usingrecoverykey, 10.13 to 10.14': {
    program: fdesetup,
    args: ['usingrecoverykey'],
    given: (mac) => mac.setQuirk('usingRecoveryKey', 'unsupported'),
    code: 34,
    stderr: 'This command is not supported on APFS volumes.\n',
    source: 'Crypt #65, #86; exit from the table of the manual page',
  },
  'validaterecovery, true': {
    program: fdesetup,
    args: ['validaterecovery', '-inputplist'],
    input: 'THE KEY',
    code: 0,
    stdout: 'true\n',
    source: 'derflounder 2026-08-10',
  },
  'validaterecovery, false': {
    program: fdesetup,
    args: ['validaterecovery', '-inputplist'],
    input: wrongKey,
    code: 1,
    stdout: 'false\n',
    source: "Crypt's escrow.go (the exit may be other than 0; which is not known)",
  },
  'changerecovery with a wrong credential': {
    program: fdesetup,
    args: ['changerecovery', '-personal', '-outputplist', '-inputplist'],
    input: wrongKey,
    code: 11,
    stderr: 'Error: User could not be authenticated.\nError: Unable to unlock or authenticate to FileVault.\n',
    source: 'escrow-buddy issue #5 (logged stderr and exit status)',
  },
  'changerecovery, failure 99': {
    program: fdesetup,
    args: ['changerecovery', '-personal', '-outputplist', '-inputplist'],
    given: (mac) => mac.setChangeQuirk('fails-99'),
    input: 'THE KEY',
    code: 99,
    stderr: 'Error: Unable to change key.\nError: User could not be authenticated.\n',
    source: 'jss-filevault-reissue #26, #29, #58 (last line cut in the source)',
  },
  'changerecovery with a plist': {
    program: fdesetup,
    args: ['changerecovery', '-personal', '-outputplist', '-inputplist'],
    input: 'THE KEY',
    code: 0,
    stdout:
      /^<\?xml version="1\.0" encoding="UTF-8"\?>\n<!DOCTYPE plist PUBLIC "-\/\/Apple\/\/DTD PLIST 1\.0\/\/EN" "http:\/\/www\.apple\.com\/DTDs\/PropertyList-1\.0\.dtd">\n<plist version="1\.0">\n<dict>\n\t<key>Change<\/key>\n\t<true\/>\n\t<key>EnabledDate<\/key>\n\t<string>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000<\/string>\n\t<key>HardwareUUID<\/key>\n\t<string>[0-9A-F-]{36}<\/string>\n\t<key>RecoveryKey<\/key>\n\t<string>[A-HJ-RT-Z2-9]{4}(-[A-HJ-RT-Z2-9]{4}){5}<\/string>\n\t<key>SerialNumber<\/key>\n\t<string>ZFQYR4XYHG<\/string>\n<\/dict>\n<\/plist>\n$/,
    source: 'MODEL: no capture exists; the manual page and plists of enable',
  },
  'changerecovery without -outputplist': {
    program: fdesetup,
    args: ['changerecovery', '-personal', '-inputplist'],
    input: 'THE KEY',
    code: 0,
    stdout: /^New personal recovery key = '[A-HJ-RT-Z2-9]{4}(-[A-HJ-RT-Z2-9]{4}){5}'\n$/,
    source: 'escrow-buddy issue #5 (interactive)',
  },
  list: { program: fdesetup, args: ['list'], code: 0, stdout: /^ernw,[0-9A-F-]{36}\n$/, source: "Crypt's escrow.go splits at the comma" },
  'showdeferralinfo, none: exit 20': { program: fdesetup, args: ['showdeferralinfo'], code: 20, stdout: 'Not found.\n', source: 'reportFileVault; munkicon' },
  'showdeferralinfo, active': {
    program: fdesetup,
    args: ['showdeferralinfo'],
    given: (mac) =>
      mac.change(({ disk }) => {
        disk.deferredFor = 'shortname';
      }),
    code: 0,
    stdout:
      /^\{\n {4}Defer = 1;\n {4}OutputPath = "\/var\/db\/ConfigurationProfiles\/fdesetup\.plist";\n {4}ProfileUUID = "[0-9A-F-]{36}";\n {4}ShowRecoveryKey = 1;\n {4}Usernames = {5}\(\n {4}\);\n\}\n$/,
    source: 'reportFileVault, macOS 10.15.6',
  },
};
