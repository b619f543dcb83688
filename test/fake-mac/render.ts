// What follows from the state: macOS's files under the root, and the answers that are there before they are asked for, so
// that a question of the folder's door costs a shell and not a start of Node. Both come from the same command functions.
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Asked } from './commands/outcome.ts';
import { ask, isSteps, programs, quirkOf } from './commands/table.ts';
import { binaryPlist } from './property-list.ts';
import { type MacState, type Settings, systemKeychain } from './state.ts';
import { fakeFolder, replaceFile } from './state-file.ts';

const managed = '/Library/Managed Preferences';

/** Property lists that macOS keeps, by path. The keyboard and the languages of the login window are where field reports read them. */
const plistsOf = (state: MacState): Record<string, Settings> => {
  const found: Record<string, Settings> = {
    '/Library/Preferences/.GlobalPreferences.plist': { AppleLanguages: state.languages, AppleLocale: state.languages[0]?.replace('-', '_') ?? 'en_US' },
    '/Library/Preferences/com.apple.HIToolbox.plist': {
      AppleCurrentKeyboardLayoutInputSourceID: `com.apple.keylayout.${state.keyboard}`,
      AppleDefaultAsciiInputSource: { InputSourceKind: 'Keyboard Layout', 'KeyboardLayout ID': 3, 'KeyboardLayout Name': state.keyboard },
      AppleEnabledInputSources: [{ InputSourceKind: 'Keyboard Layout', 'KeyboardLayout ID': 3, 'KeyboardLayout Name': state.keyboard }],
      AppleSelectedInputSources: [{ InputSourceKind: 'Keyboard Layout', 'KeyboardLayout ID': 3, 'KeyboardLayout Name': state.keyboard }],
    },
  };
  for (const profile of state.profiles) {
    if (profile.preferences) found[`${managed}/${profile.preferences.domain}.plist`] = profile.preferences.values;
    if (profile.escrow) {
      const payload = { Location: profile.escrow.location, EncryptCertPayloadUUID: `${profile.uuid.slice(0, -4)}0004` };
      found[`${managed}/com.apple.security.FDERecoveryKeyEscrow.plist`] ??= payload;
      found['/var/db/ConfigurationProfiles/Settings/com.apple.security.FDERecoveryKeyEscrow.plist'] ??= payload;
    }
  }
  return found;
};

/** Writes the files that are not as they should be, and removes what the state has no longer; the rest keep their times. */
export const renderFiles = (root: string, before: MacState | null, state: MacState): void => {
  const wanted = plistsOf(state);
  const known = before ? plistsOf(before) : {};
  for (const path of Object.keys(known)) if (!(path in wanted)) rmSync(join(root, path), { force: true });
  for (const [path, values] of Object.entries(wanted)) {
    if (JSON.stringify(known[path]) === JSON.stringify(values)) continue;
    mkdirSync(dirname(join(root, path)), { recursive: true });
    replaceFile(join(root, path), binaryPlist(values), 0o644);
  }
};

/** Questions without stdin whose answer the state alone decides. A quiet check-in asks nothing else. */
export const askedBeforehand = (state: MacState): [string, ...string[]][] => {
  const users = state.users.map(({ name }) => name);
  const labels = Object.keys(state.jobs);
  return [
    ...[
      'status',
      'isactive',
      'haspersonalrecoverykey',
      'hasinstitutionalrecoverykey',
      'usingrecoverykey',
      'list',
      'showdeferralinfo',
      'supportsauthrestart',
      'version',
    ].map((verb): [string, string] => ['/usr/bin/fdesetup', verb]),
    ['/usr/bin/security', 'find-identity', '-p', 'ssl-client', systemKeychain],
    ['/usr/bin/security', 'find-certificate', '-a', '-p', '-Z', systemKeychain],
    ['/usr/bin/security', 'find-certificate', '-a', '-Z', '-p', systemKeychain],
    ['/usr/bin/security', 'authorizationdb', 'read', 'system.login.console'],
    ['/usr/bin/profiles', 'status', '-type', 'enrollment'],
    ['/usr/bin/profiles', 'status', '-type', 'bootstraptoken'],
    ['/usr/bin/profiles', 'show', '-type', 'configuration', '-output', 'stdout-xml'],
    ['/usr/bin/profiles', '-C', '-o', 'stdout-xml'],
    ['/usr/bin/profiles', 'list'],
    ...Object.keys(plistsOf(state)).map((path): [string, ...string[]] => ['/usr/bin/plutil', '-convert', 'xml1', '-o', '-', path]),
    ['/usr/bin/sw_vers'],
    ['/usr/bin/sw_vers', '-productVersion'],
    ['/usr/bin/sw_vers', '-buildVersion'],
    ['/usr/bin/sw_vers', '--productVersion'],
    ['/usr/bin/sw_vers', '--buildVersion'],
    ['/usr/sbin/ioreg', '-rd1', '-c', 'IOPlatformExpertDevice'],
    ['/usr/sbin/ioreg', '-p', 'IODeviceTree', '-n', 'chosen'],
    ['/usr/sbin/ioreg', '-rd1', '-p', 'IODeviceTree', '-n', 'chosen'],
    ['/usr/sbin/ioreg', '-p', 'IODeviceTree', '-rd1', '-n', 'chosen'],
    ['/usr/sbin/diskutil', 'info', '-plist', '/'],
    ['/usr/sbin/diskutil', 'apfs', 'listusers', '/'],
    ['/usr/sbin/diskutil', 'apfs', 'listusers', '-plist', '/'],
    ...users.map((name): [string, string, string] => ['/usr/sbin/sysadminctl', '-secureTokenStatus', name]),
    ['/usr/bin/stat', '-f', '%Su', '/dev/console'],
    ...labels.map((label): [string, string, string] => ['/bin/launchctl', 'print', `system/${label}`]),
    ['/usr/sbin/sysctl', '-n', 'kern.bootsessionuuid'],
    ['/usr/sbin/sysctl', '-n', 'kern.boottime'],
    ['/usr/sbin/sysctl', '-n', 'hw.model'],
    ['/usr/sbin/sysctl', '-n', 'machdep.cpu.brand_string'],
    ['/usr/bin/pmset', '-g', 'batt'],
    ['/usr/bin/pmset', '-g', 'systemstate'],
    ['/usr/bin/dscl', '.', '-list', '/Users', 'UniqueID'],
    ...users.map((name): [string, ...string[]] => ['/usr/bin/dscl', '.', '-read', `/Users/${name}`, 'accountPolicyData']),
    ['/bin/ps', '-axww', '-o', 'pid=,uid=,args='],
    ['/usr/sbin/scutil', '--proxy'],
    ['/usr/sbin/scutil', '--get', 'ComputerName'],
  ];
};

const quoted = (text: string): string => `'${text.replace(/'/g, `'\\''`)}'`;
const inName = (program: string): string => program.replace(/\//g, '_');
/** A running fdesetup can die without saying so; then only a process can tell what is there. A job's end is always told. */
const isLive = ({ running }: MacState): boolean => running.some(({ door }) => door === 'folder');

const fragments = (asked: Asked): Map<string, string> => {
  const found = new Map<string, string>();
  for (const [program, ...args] of askedBeforehand(asked.state)) {
    const name = program.split('/').at(-1) ?? '';
    if (isLive(asked.state) && name === 'ps') continue;
    const outcome = ask(asked, program, args, Buffer.alloc(0));
    if (isSteps(outcome) || outcome.instead) continue;
    const stdout = outcome.stdout.toString();
    // A shell's variable has no room for bytes that are no text.
    if (stdout.includes('\0') || stdout.includes('\ufffd') || stdout.length > 256 * 1024) continue;
    const says = `${stdout ? `printf %s ${quoted(stdout)}; ` : ''}${outcome.stderr ? `printf %s ${quoted(outcome.stderr)} >&3; ` : ''}exit ${outcome.code}`;
    const path = args.at(-1) ?? '';
    // Somebody may have written or removed the file itself since.
    const guard = name === 'plutil' ? `[ -f "$root"${quoted(path)} ] && [ ! "$root"${quoted(path)} -nt "$answers" ] && { ${says}; } ;;` : `${says} ;;`;
    found.set(program, `${found.get(program) ?? ''}${quoted(`${args.length}\u001f${args.join('\u001f')}`)}) ${guard}\n`);
  }
  return found;
};

const answersLink = (root: string): string => join(fakeFolder(root), 'answers');

/** From here until `renderAnswers` every question goes to a process: a kill in between leaves no old answer behind. */
export const forgetAnswers = (root: string): void => {
  try {
    unlinkSync(answersLink(root));
  } catch {
    // There were none.
  }
};

/** Writes the answers into a new folder and then points to it, so that no question finds half of them. */
export const renderAnswers = (asked: Asked): void => {
  const folder = join(fakeFolder(asked.root), `answers-${asked.pid}-${process.hrtime.bigint()}`);
  mkdirSync(folder);
  for (const [program, text] of fragments(asked)) writeFileSync(join(folder, inName(program)), `case "$asked" in\n${text}esac\n`);
  const next = `${folder}.link`;
  symlinkSync(folder.slice(fakeFolder(asked.root).length + 1), next);
  renameSync(next, answersLink(asked.root));
  const old = join(fakeFolder(asked.root), 'answers-now');
  const before = existsSync(old) ? readFileSync(old, 'utf8') : '';
  replaceFile(old, folder);
  // A shell that is reading the old ones has its file open; one that has not yet opened it goes to a process.
  if (before.startsWith(fakeFolder(asked.root)) && before !== folder) rmSync(before, { recursive: true, force: true });
};

const script = (program: string, node: string): string =>
  [
    '#!/bin/sh',
    '# A program of a fake Mac: an answer that lies ready, or else a process that finds one.',
    `root=\${0%${program}}`,
    `answers=$root/.fake/answers/${inName(program)}`,
    // One control character between the arguments, so that no two argument lists look the same.
    "IFS='\u001f'",
    'asked="$#$IFS$*"',
    '[ -r "$answers" ] && command . "$answers" 3>&2 2>/dev/null',
    `exec ${quoted(node)} "$root/.fake/command.mjs" "$root" ${quoted(program)} "$@"`,
    '',
  ].join('\n');

/** Puts the programs where the state wants them; one with the quirk `missing` is not there. */
export const renderPrograms = (root: string, state: MacState): void => {
  for (const program of Object.keys(programs)) {
    const path = join(root, program);
    const missing = quirkOf(state.quirks.commands, program, []) === 'missing';
    if (missing) rmSync(path, { force: true });
    else if (!existsSync(path)) {
      mkdirSync(dirname(path), { recursive: true });
      replaceFile(path, script(program, process.execPath), 0o755);
      chmodSync(path, 0o755);
    }
  }
};
