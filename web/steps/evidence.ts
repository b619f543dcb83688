/** Where a statement about a Mac's screen comes from. Nobody of this project has had a Mac: docs/on-a-real-mac.md says what to look at. */
export interface Evidence {
  source: string;
  /** Of the source; of the day on which it was read where it bears none. `YYYY-MM-DD`, or its month or year. */
  date: string;
  /** Whether the source says that somebody saw it on a Mac. Else it is from documents, or concluded from them. */
  seen: boolean;
}

const read = '2026-11-22';

/** The sources, each once. */
export const sources = {
  /** “Click the question mark …”, “If you see the option to restart …”, “Forgot all passwords?”, “Deactivate Mac”. */
  forgotPassword: { source: 'Apple Support 102633 (HT202860), as Georgetown University’s article 16000047788 gives it', date: read, seen: false },
  germanForgotPassword: { source: 'Back Market help 5715862214044, in German', date: read, seen: false },
  cannotReset: { source: 'Apple Support HT212190, support.apple.com/de-ch', date: read, seen: false },
  macHelp: { source: 'Apple, Mac User Guide mh35902 for macOS 12, in German', date: read, seen: false },
  oldMacHelp: { source: 'Apple Support PH13971', date: '2017-09-11', seen: false },
  platformDeployment: { source: 'Apple Platform Deployment dep0a2cb7686, as quoted at derflounder.wordpress.com', date: '2024-11-18', seen: false },
  sequoia: {
    source: 'derflounder.wordpress.com: Accessing the recovery key password reset option … on macOS Sequoia, with screenshots',
    date: '2024-11-18',
    seen: true,
  },
  sequoiaReaders: { source: 'readers’ comments at the same page of derflounder.wordpress.com', date: '2024-12-27', seen: true },
  intelReader: { source: 'a reader’s comment at the same page of derflounder.wordpress.com, Intel MacBook Air', date: '2024-11-22', seen: true },
  afterKey: { source: 'usnistgov/macos_security, discussion 225', date: read, seen: true },
  fleet: { source: 'Fleet, guide “Enforce disk encryption”', date: read, seen: true },
  fleetOlder: { source: 'Fleet documentation, “Reset a macOS host’s password using the disk encryption key”', date: read, seen: true },
  attempts: { source: 'mactechnews.de, article 182855 on forgotten passwords', date: read, seen: false },
  activationLock: { source: 'Apple Support HT208987, support.apple.com/de-ch', date: read, seen: false },
  dutchActivationLock: { source: 'iculture.nl on the activation lock', date: '2021-02', seen: false },
  firmwareKeyboard: { source: 'forums.macg.co, thread 1311859, on a MacBook Pro of 2018', date: read, seen: true },
  deviceLock: { source: 'github.com/apple/device-management, mdm/commands/device.lock.yaml', date: read, seen: false },
  startUpScreens: { source: 'Apple Support HT204156, “If your Mac doesn’t start up all the way”, support.apple.com/en-ug', date: read, seen: false },
  recoveryLock: { source: 'github.com/apple/device-management, mdm/commands/passcode.recovery.set.yaml', date: read, seen: false },
  concluded: { source: 'concluded from the sources beside it', date: read, seen: false },
} as const satisfies Record<string, Evidence>;
export type SourceId = keyof typeof sources;
