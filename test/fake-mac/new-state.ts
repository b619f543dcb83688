import { emptyKeychain, type MacState, makeUuid, type Quirks, someBytes, systemKeychain } from './state.ts';

const defaultQuirks = (): Quirks => ({
  changeRecovery: 'works',
  changeSecondsBefore: 0,
  changeSecondsAfter: 0,
  escrowSeconds: 0,
  escrowCipher: 'des-ede3-cbc',
  newKeyAtProfileInstall: 'as-macos-26',
  usingRecoveryKey: 'works',
  unlockIdentity: 'there',
  validateFalseExit: 1,
  wrongKeysFree: 5,
  throttleSeconds: 1,
  commands: {},
});

const builds: Record<string, string> = { '13': '22G120', '14': '23J126', '15': '24G309', '26': '25G42', '27': '27A5194' };

export interface NewMac {
  serial?: string;
  hardwareUuid?: string;
  macosVersion?: string;
  seed?: string;
  now: number;
}

/** A Mac as it comes out of the box: Setup Assistant on the screen, no user, no key. */
export const newState = ({ serial, hardwareUuid, macosVersion = '26.6.2', seed, now }: NewMac): MacState => {
  const source = { seed: seed ?? null, keysMade: 0 };
  const letters = [...someBytes(source, 'serial', 10)].map((byte) => 'CDFGHJKLMNPQRTVWXY0123456789'[byte % 28]).join('');
  return {
    version: 1,
    folder: false,
    enrolment: { profiles: [], deviceCa: null, identity: null, agent: null },
    seed: seed ?? null,
    keysMade: 0,
    nextPid: 401,
    serial: serial ?? letters,
    hardwareUuid: hardwareUuid ?? makeUuid(source, 'hardware'),
    model: 'Mac14,7',
    chip: 'Apple M2',
    computerName: 'MacBook Pro',
    macos: { version: macosVersion, build: builds[macosVersion.split('.')[0] ?? ''] ?? '25G42' },
    clockOffsetSeconds: 0,
    disk: {
      volumeGroup: makeUuid(source, 'volume group'),
      volumeUuid: makeUuid(source, 'volume'),
      fileVault: 'off',
      percent: 0,
      recoveryKey: null,
      recoveryKeyMadeAt: null,
      deferredFor: null,
      institutionalKey: false,
    },
    wrongKeys: { inARow: 0, ever: 0, refuseUntil: null, times: [] },
    users: [],
    keychains: { [systemKeychain]: emptyKeychain() },
    profiles: [],
    mdm: { server: 'https://mdm.example.com/mdm', enrolledByDep: true, bootstrapTokenSupported: true, bootstrapTokenEscrowed: true },
    boot: { session: makeUuid(source, 'boot session'), bootedAt: now, unlockedBy: null, usingRecoveryKey: false, poweredOn: true },
    console: { user: '_mbsetupuser', screenLocked: false },
    power: { source: 'mains', percent: 100 },
    darkWake: false,
    keyboard: 'German',
    languages: ['de-DE', 'en-DE'],
    proxy: null,
    jobs: {},
    running: [],
    escrowDue: null,
    quirks: defaultQuirks(),
    loginMechanisms: ['builtin:prelogin', 'loginwindow:login', 'builtin:authenticate,privileged', 'loginwindow:success', 'loginwindow:done'],
    dialogs: { next: [], shown: [] },
    excludedFromBackups: [],
    leaks: [],
    unlocks: [],
  };
};
