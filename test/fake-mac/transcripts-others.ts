// What real Macs said of everything but FileVault; see transcripts-fdesetup.ts.
import { makeDeviceCa } from './certificates.ts';
import type { Transcript } from './transcripts-fdesetup.ts';

export const transcriptsOfOthers: Record<string, Transcript> = {
  'profiles status, MDM': {
    program: '/usr/bin/profiles',
    args: ['status', '-type', 'enrollment'],
    given: (mac) =>
      mac.change(({ mdm }) => {
        mdm.enrolledByDep = false;
      }),
    code: 0,
    stdout: 'Enrolled via DEP: No\nMDM enrollment: Yes (User Approved)\nMDM server: https://mdm.example.com/mdm\n',
    source: 'fleetdm orbit, teleport',
  },
  'profiles status, none': {
    program: '/usr/bin/profiles',
    args: ['status', '-type', 'enrollment'],
    given: (mac) =>
      mac.change(({ mdm }) => {
        mdm.enrolledByDep = false;
        mdm.server = null;
      }),
    code: 0,
    stdout: 'Enrolled via DEP: No\nMDM enrollment: No\n',
    source: 'capture of macOS 26.5.1',
  },
  'bootstrap token, yes': {
    program: '/usr/bin/profiles',
    args: ['status', '-type', 'bootstraptoken'],
    code: 0,
    stdout: 'profiles: Bootstrap Token supported on server: YES\nprofiles: Bootstrap Token escrowed to server: YES\n',
    source: 'freegeek mkuser, reportFileVault',
  },
  'bootstrap token, unsupported': {
    program: '/usr/bin/profiles',
    args: ['status', '-type', 'bootstraptoken'],
    given: (mac) =>
      mac.change(({ mdm }) => {
        mdm.bootstrapTokenSupported = false;
      }),
    code: 0,
    stdout: 'profiles: Bootstrap Token supported on server: NO\n',
    source: 'reportFileVault, macOS 10.15.6',
  },
  'profiles list, none': {
    program: '/usr/bin/profiles',
    args: ['list'],
    code: 0,
    stdout: 'There are no configuration profiles installed in the system domain\n',
    source: 'test corpus, macOS 12 to 26',
  },
  'profiles -C, one': {
    program: '/usr/bin/profiles',
    args: ['-C'],
    given: (mac) => mac.installSettings({ serverUrl: 'https://keys.example.org' }),
    code: 0,
    stdout: '_computerlevel[1] attribute: profileIdentifier: org.example.settings.io.sparekey.agent\nThere are 1 system configuration profiles installed\n',
    source: 'capture of about macOS 10.15',
  },
  'sysadminctl says it on stderr': {
    program: '/usr/sbin/sysadminctl',
    args: ['-secureTokenStatus', 'ernw'],
    code: 0,
    stderr: /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} sysadminctl\[\d+:\d+\] Secure token is ENABLED for user ernw\n$/,
    source: 'ERNW guide for macOS 26',
  },
  'find-identity': {
    program: '/usr/bin/security',
    args: ['find-identity', '-p', 'ssl-client', '/Library/Keychains/System.keychain'],
    given: (mac) => void mac.installIdentity(makeDeviceCa()),
    code: 0,
    stdout:
      /^\nPolicy: SSL \(client\)\n {2}Matching identities\n {2}1\) [0-9A-F]{40} "ZFQYR4XYHG" \(CSSMERR_TP_NOT_TRUSTED\)\n {5}1 identities found\n\n {2}Valid identities only\n {5}0 valid identities found\n$/,
    source: "Apple's SecurityTool, identity_find.m",
  },
  'find-generic-password, missing: exit 44': {
    program: '/usr/bin/security',
    args: ['find-generic-password', '-s', 'nosuch', '-w', '/Library/Keychains/System.keychain'],
    code: 44,
    stderr: 'security: SecKeychainSearchCopyNext: The specified item could not be found in the keychain.\n',
    source: "Apple's source, widely seen",
  },
  'launchctl print, missing: exit 113': {
    program: '/bin/launchctl',
    args: ['print', 'system/com.example.missing'],
    code: 113,
    stderr: 'Bad request.\nCould not find service "com.example.missing" in domain for system\n',
    source: 'captures; the first line is not always there',
  },
  'launchctl kickstart, missing: exit 113': {
    program: '/bin/launchctl',
    args: ['kickstart', '-k', 'system/com.example.missing'],
    code: 113,
    stderr: /Could not find service "com\.example\.missing" in domain for system\n$/,
    source: 'captures',
  },
  'launchctl bootout, missing: exit 3': {
    program: '/bin/launchctl',
    args: ['bootout', 'system/com.example.missing'],
    code: 3,
    stderr: 'Boot-out failed: 3: No such process\n',
    source: 'nix-installer issues',
  },
  'launchctl bootstrap, nothing there: exit 5': {
    program: '/bin/launchctl',
    args: ['bootstrap', 'system', '/Library/LaunchDaemons/com.example.agent.plist'],
    code: 5,
    stderr: 'Bootstrap failed: 5: Input/output error\n',
    source: 'nix-installer #1157, #1187, #1191',
  },
  'launchctl print, idle': {
    program: '/bin/launchctl',
    args: ['print', 'system/com.example.agent'],
    given: (mac) =>
      mac.change(({ jobs }) => {
        jobs['com.example.agent'] = {
          path: '/Library/LaunchDaemons/com.example.agent.plist',
          enabled: true,
          loaded: true,
          runs: 6,
          lastExit: 0,
          pid: null,
          supervisor: null,
        };
      }),
    code: 0,
    stdout:
      'system/com.example.agent = {\n\tactive count = 0\n\tpath = /Library/LaunchDaemons/com.example.agent.plist\n\ttype = LaunchDaemon\n\tstate = not running\n\truns = 6\n\tlast exit code = 0\n}\n',
    source: 'nix-installer #1187, shortened; the interval comes from the plist',
  },
  'console at the login window': {
    program: '/usr/bin/stat',
    args: ['-f', '%Su', '/dev/console'],
    given: (mac) => mac.logOut(),
    code: 0,
    stdout: 'root\n',
    source: 'many scripts',
  },
  'diskutil apfs listusers': {
    program: '/usr/sbin/diskutil',
    args: ['apfs', 'listusers', '/'],
    code: 0,
    stdout:
      /^Cryptographic users for disk3s1s1 \(3 found\)\n\|\n\+-- [0-9A-F-]{36}\n\| {3}Type: Local Open Directory User\n\|\n\+-- EBC6C064-0000-11AA-AA11-00306543ECAC\n\| {3}Type: Personal Recovery User\n\|\n\+-- 2457711A-523C-4604-B75A-F48A571D5036\n {4}Type: MDM Bootstrap Token External Key\n$/,
    source: 'reportFileVault, macOS 10.15.6 (disk and identifiers differ)',
  },
  'an unknown program': { program: '/usr/bin/xyz', args: ['-a'], code: 64, stderr: 'this fake Mac has no: /usr/bin/xyz -a\n', source: 'ours' },
  'unknown arguments': {
    program: '/usr/bin/fdesetup',
    args: ['enable', '-norecoverykey'],
    code: 64,
    stderr: 'this fake Mac has no: /usr/bin/fdesetup enable -norecoverykey\n',
    source: 'ours',
  },
};
