import { sources } from './evidence.ts';
import type { Sentence } from './steps.ts';

/** What is tried before anything else: often no key is needed. The layout is said with the name that this Mac reported. */
export const firstTries = {
  previous: {
    is: 'do',
    text: {
      en: 'Did you change your password at the office, in a browser or on another device? Then your Mac may still want the one before.',
      nl: 'Heb je je wachtwoord op kantoor, in een browser of op een ander apparaat gewijzigd? Dan wil je Mac misschien nog het vorige.',
    },
    from: sources.forgotPassword,
  },
  capsLock: {
    is: 'do',
    text: {
      en: 'A sign in the password field (⇪) means that it is on. Press the Caps Lock key once.',
      nl: 'Een teken in het wachtwoordveld (⇪) betekent dat hij aanstaat. Druk één keer op de Caps Lock-toets.',
    },
    from: sources.forgotPassword,
  },
  stopGuessing: {
    is: 'stop',
    text: {
      en: 'Each wrong try makes the Mac wait longer, in the end for an hour, and after too many it gives up for good. If it shows a waiting time, let it pass.',
      nl: 'Na elke foute poging laat de Mac je langer wachten, op het laatst een uur, en na te veel geeft hij het voorgoed op. Toont hij een wachttijd, wacht die dan af.',
    },
    from: sources.attempts,
  },
} as const satisfies Record<string, Sentence>;
