// fdesetup. Seen on real Macs: the words of status, list and showdeferralinfo (and its exit 20), `true` and `false`, the
// two lines and exit 11 of a wrong credential, 99 with "Unable to change key", "not supported on APFS volumes".
// From the manual page: exit 1 of isactive, exit 12 to 15, which commands take a credential. Modelled, because nobody has
// published it: the plist of `changerecovery -outputplist` (its keys are those of `enable` and of the deferral file), the
// exit status of a `false` (a caller's source says it may be other than 0), every delay after wrong keys (Apple's platform
// guide has delays; figures differ), the exit of usingrecoverykey where it is not supported, the words of `version`.

import { readCredentials, xmlPlist } from '../property-list.ts';
import { escrowPayload, type MacState, makeRecoveryKey, userOf } from '../state.ts';
import { countWrongKey } from '../wrong-keys.ts';
import { type Asked, complains, hasNo, type Outcome, type Steps, says, stamp } from './outcome.ts';

const program = '/usr/bin/fdesetup';
const answer = (yes: boolean, codeOfNo = 0): Outcome => says(`${yes}\n`, yes ? 0 : codeOfNo);
const encrypted = ({ disk }: MacState): boolean => disk.fileVault === 'on' || disk.fileVault === 'encrypting';

const status = ({ state: { disk } }: Asked): Outcome => {
  const lines = {
    on: ['FileVault is On.'],
    off: ['FileVault is Off.'],
    encrypting: ['FileVault is On.', `Encryption in progress: Percent completed = ${disk.percent}`],
    decrypting: ['FileVault is Off.', `Decryption in progress: Percent completed = ${disk.percent}`],
  }[disk.fileVault];
  if (disk.institutionalKey) lines.push('FileVault master keychain appears to be installed.');
  if (disk.deferredFor !== null) lines.push(`Deferred enablement appears to be active for user '${disk.deferredFor}'.`);
  return says(lines.map((line) => `${line}\n`).join(''));
};

/** Tries a key or a password, counts a wrong one, and takes nothing while the Mac makes people wait. */
const tryCredential = (asked: Asked, what: { key: string } | { user: string; password: string }): boolean =>
  asked.change((state) => {
    const counter = state.wrongKeys;
    if (counter.refuseUntil !== null && asked.now < counter.refuseUntil) return false;
    const isKey = 'key' in what;
    const right = isKey ? state.disk.recoveryKey === what.key : what.password !== '' && userOf(state, what.user)?.password === what.password;
    if (right) Object.assign(counter, { inARow: 0, refuseUntil: null });
    else countWrongKey(state, asked.now);
    return right;
  });

const validate = (asked: Asked, stdin: Buffer): Outcome => {
  const key = readCredentials(stdin)?.['Password'];
  if (key === undefined) return complains(15, 'Error: Unable to read the input property list.');
  if (!encrypted(asked.state) || asked.state.disk.recoveryKey === null) return answer(false, asked.state.quirks.validateFalseExit);
  return answer(tryCredential(asked, { key }), asked.state.quirks.validateFalseExit);
};

const wrongCredential = (): Outcome => complains(11, 'Error: User could not be authenticated.', 'Error: Unable to unlock or authenticate to FileVault.');
const killed: Outcome = { code: 0, stdout: '', stderr: '', instead: 'killed' };

/** Its pauses are the moments in which a kill finds it. The order is the point: disk, then mdmclient, then the plist. */
function* changeRecovery(asked: Asked, args: readonly string[], stdin: Buffer): Steps {
  const options = new Set(args);
  const { quirks } = asked.state;
  const given = readCredentials(stdin);
  const password = given?.['Password'];
  if (!options.has('-personal') || !options.has('-inputplist')) return hasNo(program, ['changerecovery', ...args]);
  asked.change((state) => state.running.push({ pid: asked.pid, command: [program, 'changerecovery', ...args].join(' '), door: asked.door }));
  try {
    if (password === undefined) return complains(15, 'Error: Unable to read the input property list.');
    if (quirks.changeRecovery === 'hangs') yield Number.POSITIVE_INFINITY;
    if (quirks.changeSecondsBefore > 0) yield quirks.changeSecondsBefore;
    if (!encrypted(asked.state)) return complains(28, 'Error: FileVault is Off.');
    if (quirks.changeRecovery === 'crashes-before') return killed;
    if (quirks.changeRecovery === 'fails-99') return complains(99, 'Error: Unable to change key.', 'Error: User could not be authenticated.');
    const user = given?.['Username'];
    const fits = tryCredential(asked, user === undefined ? { key: password } : { user, password });
    if (!fits || quirks.changeRecovery === 'refuses') return wrongCredential();
    const key = asked.change((state) => makeRecoveryKey(state, asked.now));
    if (quirks.changeRecovery === 'crashes-after') return killed;
    if (quirks.changeRecovery !== 'no-escrow-file' && escrowPayload(asked.state)) asked.escrow(key);
    if (quirks.changeRecovery === 'crashes-after-escrow') return killed;
    if (quirks.changeSecondsAfter > 0) yield quirks.changeSecondsAfter;
    const { serial, hardwareUuid } = asked.state;
    const plist = xmlPlist({ Change: true, EnabledDate: stamp(asked.now), HardwareUUID: hardwareUuid, RecoveryKey: key, SerialNumber: serial });
    const printed = options.has('-outputplist') ? plist : `New personal recovery key = '${key}'\n`;
    if (quirks.changeRecovery === 'prints-nothing') return says('');
    if (quirks.changeRecovery === 'prints-garbage') return says(Buffer.from([0x62, 0x00, 0xff, 0xfe, ...Buffer.from('plist<dict><<\n')]));
    // Cut behind the key: the disk was full, or the power went.
    if (quirks.changeRecovery === 'truncated') return says(printed.slice(0, printed.indexOf(key) + key.length + 4));
    return says(printed);
  } finally {
    asked.change((state) => {
      state.running = state.running.filter(({ pid }) => pid !== asked.pid);
    });
  }
}

/** Nothing that opens a Mac may stand in an argument: every user can read it there. */
const noteLeaks = (asked: Asked, args: readonly string[]): void => {
  const { disk, users } = asked.state;
  const secret = args.some((arg) => /[A-Z0-9]{4}(-[A-Z0-9]{4}){5}/.test(arg) || arg === disk.recoveryKey || users.some(({ password }) => arg === password));
  if (secret) asked.change((state) => state.leaks.push(`${program} ${args[0]} with a secret among its arguments`));
};

const showDeferral = ({ state: { disk, hardwareUuid } }: Asked): Outcome =>
  disk.deferredFor === null
    ? says('Not found.\n', 20)
    : says(
        [
          '{',
          '    Defer = 1;',
          '    OutputPath = "/var/db/ConfigurationProfiles/fdesetup.plist";',
          `    ProfileUUID = "${hardwareUuid}";`,
          '    ShowRecoveryKey = 1;',
          '    Usernames =     (',
          '    );',
          '}',
          '',
        ].join('\n'),
      );

export const fdesetup = (asked: Asked, args: readonly string[], stdin: Buffer): Outcome | Steps => {
  const { state } = asked;
  const [verb = '', ...options] = args;
  noteLeaks(asked, args);
  if (verb === 'changerecovery') return changeRecovery(asked, options, stdin);
  switch (args.join(' ')) {
    case 'status':
      return status(asked);
    case 'status -extended':
      return says(`FileVault is ${encrypted(state) ? 'On' : 'Off'}.\nVolume is APFS. (FileVault ${encrypted(state) ? 'Enabled' : 'Disabled'})\n`);
    case 'isactive':
      return answer(encrypted(state), 1);
    case 'haspersonalrecoverykey':
      return answer(state.disk.fileVault === 'on' && state.disk.recoveryKey !== null);
    case 'hasinstitutionalrecoverykey':
      return answer(state.disk.institutionalKey);
    case 'usingrecoverykey':
      if (state.quirks.usingRecoveryKey === 'unsupported') return complains(34, 'This command is not supported on APFS volumes.');
      return answer(state.boot.usingRecoveryKey);
    case 'supportsauthrestart':
      return answer(true);
    case 'version':
      return says('fdesetup: version 1842.1.1\n');
    case 'list':
      if (!encrypted(state)) return complains(1, 'FileVault is Off.');
      return says(
        state.users
          .filter(({ secureToken }) => secureToken)
          .map(({ name, uuid }) => `${name},${uuid}\n`)
          .join(''),
      );
    case 'showdeferralinfo':
      return showDeferral(asked);
    case 'validaterecovery -inputplist':
      return validate(asked, stdin);
    default:
      return hasNo(program, args);
  }
};
