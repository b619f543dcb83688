import { type SourceId, sources } from './evidence.ts';
import type { ScreenId } from './screens.ts';
import type { Sentence } from './steps.ts';

/** Locks that want another secret than the recovery key. */
export type WrongLock = Extract<ScreenId, 'pin' | 'activation-lock' | 'recovery-lock' | 'firmware'>;
/** Screens for which there is something to do before anybody is called. */
export type TryFirst = Extract<ScreenId, 'globe' | 'folder' | 'other'>;

const say = (is: Sentence['is'], from: SourceId, en: string, nl: string): Sentence => ({ is, text: { en, nl }, from: sources[from] });

/** What it is, then what that means and who has what opens it. */
export const locks: Readonly<Record<WrongLock, readonly [Sentence, Sentence]>> = {
  pin: [
    say('note', 'deviceLock', 'Somebody has locked this Mac from a distance, with a PIN.', 'Iemand heeft deze Mac op afstand op slot gezet, met een pincode.'),
    say(
      'note',
      'deviceLock',
      'The IT department does that when a Mac is reported lost or stolen. They have the PIN. The lock can also come from Find My: then the PIN is the one that was chosen there.',
      'De IT-afdeling doet dat als een Mac als verloren of gestolen is gemeld. Zij hebben de pincode. Het slot kan ook van Zoek mijn komen: dan is het de pincode die daar is gekozen.',
    ),
  ],
  'activation-lock': [
    say(
      'note',
      'activationLock',
      'This is {activationLock}. It ties the Mac to an Apple Account.',
      'Dit is {activationLock}. Het koppelt de Mac aan een Apple Account.',
    ),
    say(
      'note',
      'activationLock',
      'It wants the Apple Account that was used on this Mac, or a bypass code that only the IT department has.',
      'Het wil het Apple Account dat op deze Mac is gebruikt, of een omzeilcode die alleen de IT-afdeling heeft.',
    ),
  ],
  'recovery-lock': [
    say(
      'note',
      'recoveryLock',
      'This is Recovery Lock: a password of the organisation, before macOS Recovery opens.',
      'Dit is het herstelslot: een wachtwoord van de organisatie, voordat macOS-herstel opengaat.',
    ),
    say(
      'note',
      'recoveryLock',
      'Only the IT department has it. With it they can bring your Mac to the field for the recovery key.',
      'Alleen de IT-afdeling heeft het. Daarmee brengen zij je Mac naar het veld voor de herstelsleutel.',
    ),
  ],
  firmware: [
    say('note', 'startUpScreens', 'This is the firmware password of an Intel Mac.', 'Dit is het firmwarewachtwoord van een Mac met een Intel-chip.'),
    say(
      'note',
      'firmwareKeyboard',
      'Only the IT department has it. The keyboard works as an American one at this screen, whatever its keys show.',
      'Alleen de IT-afdeling heeft het. Op dit scherm werkt het toetsenbord als een Amerikaans, wat er ook op de toetsen staat.',
    ),
  ],
};

const off = (from: SourceId): Sentence =>
  say(
    'do',
    from,
    'Hold the power button until the Mac is off. Wait for five seconds and press it once, with no other key.',
    'Houd de aan/uit-knop ingedrukt tot de Mac uit is. Wacht vijf tellen en druk er één keer op, zonder andere toets.',
  );
const thenPassword: Sentence = say(
  'note',
  'concluded',
  'Does it show a field for a password? Then go on with picture 1.',
  'Toont hij een veld voor een wachtwoord? Ga dan verder met plaatje 1.',
);

export const tries: Readonly<Record<TryFirst, { is: Sentence; tries: readonly Sentence[] }>> = {
  globe: {
    is: say(
      'note',
      'startUpScreens',
      'The Mac looks for its system on the internet. It does not want a key yet.',
      'De Mac zoekt zijn systeem op het internet. Hij wil nog geen sleutel.',
    ),
    tries: [off('macHelp'), thenPassword],
  },
  folder: {
    is: say(
      'note',
      'startUpScreens',
      'The Mac does not find its system. It does not want a key yet.',
      'De Mac vindt zijn systeem niet. Hij wil nog geen sleutel.',
    ),
    tries: [
      say(
        'do',
        'startUpScreens',
        'Unplug everything but the charger: disks, hubs, displays.',
        'Haal alles los behalve de lader: schijven, hubs, beeldschermen.',
      ),
      off('macHelp'),
      thenPassword,
    ],
  },
  other: {
    is: say(
      'note',
      'concluded',
      'Whatever it shows, a fresh start often brings the first screen back.',
      'Wat hij ook toont, een nieuwe start brengt vaak het eerste scherm terug.',
    ),
    tries: [
      say('do', 'concluded', 'Connect the charger and wait for two minutes.', 'Sluit de lader aan en wacht twee minuten.'),
      off('macHelp'),
      say('note', 'concluded', 'Does it show one of the pictures now? Then choose it.', 'Toont hij nu een van de plaatjes? Kies dat dan.'),
    ],
  },
};
