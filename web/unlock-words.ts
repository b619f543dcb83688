import { type Html, html } from './html.ts';
import type { ScreenId } from './steps/screens.ts';
import type { InTwo } from './words.ts';

interface UnlockWords {
  title: string;
  first: string;
  firstMeans: string;
  previous: string;
  changed(when: Html): Html;
  capsLock: string;
  layout: string;
  layoutShould(name: Html): Html;
  layoutUnknown: string;
  stopGuessing: string;
  stillLocked: string;
  itWorked: string;
  skip: string;
  look: string;
  lookMeans: string;
  number(number: number): string;
  /** Under each picture: short enough to be read at a glance. */
  shows: Readonly<Record<ScreenId, string>>;
  /** What is drawn. */
  drawn: Readonly<Record<ScreenId, string>>;
  step(number: number, of: number): string;
  next: string;
  back: string;
  otherScreen: string;
  notWorking: string;
  getKey: string;
  getKeyMeans: string;
  sounds: string;
  stop: string;
  macSpeaks(name: string): string;
  macUnknown: string;
  notSeen: string;
  hints: string;
  voiceOver: string;
  keyboard: string;
  wrongLock: string;
  noKeyFor: string;
  tryFirst: string;
  stillThere: string;
  callNow: string;
  callMeans: string;
}

export const unlockWords = {
  en: {
    title: 'Getting back in',
    first: 'First try these three things',
    firstMeans: 'Often the password is not forgotten. Each of these takes ten seconds.',
    previous: 'Your previous password',
    changed: (when) => html`When this Mac last told us, its password had been changed ${when}.`,
    capsLock: 'Is Caps Lock off?',
    layout: 'The keyboard layout',
    layoutShould: (name) => html`At the top right of the Mac’s screen: it should be ${name}. Click it to change it.`,
    layoutUnknown: 'At the top right of the Mac’s screen: it should be the one that your keys show. Click it to change it.',
    stopGuessing: 'Stop guessing',
    stillLocked: 'Still locked',
    itWorked: 'It worked, I am in',
    skip: 'Skip, I know',
    look: 'What does your Mac show?',
    lookMeans: 'Choose the picture that looks most like it. The service desk has the same pictures with the same numbers.',
    number: (number) => `Picture ${number}`,
    shows: {
      'password-field': 'A field for your password, after the Mac was switched on',
      'reset-options': 'A line about restarting to reset your password',
      'key-field': 'A field for the recovery key',
      'login-window': 'The login window, after logging out or after the key',
      'lock-screen': 'The lock screen: the Mac was on and you were logged in',
      pin: 'A lock and a field for a PIN of four or six digits',
      'activation-lock': 'A lock that asks for an Apple Account',
      'recovery-lock': 'A password before Options or Recovery open',
      firmware: 'A large padlock on a grey or black screen',
      globe: 'A globe, or a choice of Wi-Fi with a globe',
      folder: 'A folder with a question mark, or a circle with an exclamation mark',
      other: 'Something else, or nothing at all',
    },
    drawn: {
      'password-field': 'A person, a password field, and a question mark beside it',
      'reset-options': 'A person, a password field, and under it two lines of text with an arrow',
      'key-field': 'A key above a long field with six groups',
      'login-window': 'Two persons, a password field, a Wi-Fi sign above, three buttons below',
      'lock-screen': 'A large clock above a password field',
      pin: 'A lock above six small boxes',
      'activation-lock': 'A lock above two fields, one with an at sign',
      'recovery-lock': 'A gear above a password field',
      firmware: 'A large padlock above a field',
      globe: 'A globe above a bar',
      folder: 'A folder with a question mark',
      other: 'Three dots',
    },
    step: (number, of) => `Step ${number} of ${of}`,
    next: 'Next',
    back: 'Back',
    otherScreen: 'My Mac shows something else',
    notWorking: 'It does not work: whom to call',
    getKey: 'Now get the recovery key',
    getKeyMeans: 'It is shown for five minutes: enough to type it here and now.',
    sounds: 'Not as bad as it sounds',
    stop: 'Careful',
    macSpeaks: (name) => `Your Mac speaks ${name}: its words are quoted in that language.`,
    macUnknown: 'We do not know which language your Mac speaks: its words are quoted in English.',
    notSeen: 'These steps come from what Apple and others have published. Your Mac may say it in slightly other words.',
    hints: 'Screen reader, or a keyboard that does nothing',
    voiceOver:
      'VoiceOver: press Command (⌘) and F5 together, on a laptop perhaps with Fn too, or press Touch ID three times while you hold Command. It may take half a minute to speak.',
    keyboard:
      'External keyboard: plug it straight into the Mac, not into a hub or a display. A Bluetooth keyboard may not work yet at this screen: use the built-in one or a cable.',
    wrongLock: 'The recovery key does not open this lock',
    noKeyFor: 'So we do not show you the key: it would not help, and each wrong try costs time.',
    tryFirst: 'Try this first',
    stillThere: 'It is still there',
    callNow: 'Call, and say what you see',
    callMeans: 'Leave the Mac as it is. Say the number of the picture, and read out the words on the screen.',
  },
  nl: {
    title: 'Weer toegang krijgen',
    first: 'Probeer eerst deze drie dingen',
    firstMeans: 'Vaak ben je het wachtwoord niet vergeten. Elk van deze kost tien tellen.',
    previous: 'Je vorige wachtwoord',
    changed: (when) => html`Toen deze Mac zich het laatst meldde, was zijn wachtwoord ${when} gewijzigd.`,
    capsLock: 'Staat Caps Lock uit?',
    layout: 'De toetsenbordindeling',
    layoutShould: (name) => html`Rechtsboven op het scherm van de Mac: er hoort ${name} te staan. Klik erop om die te wijzigen.`,
    layoutUnknown: 'Rechtsboven op het scherm van de Mac: daar hoort te staan wat je toetsen tonen. Klik erop om die te wijzigen.',
    stopGuessing: 'Stop met gokken',
    stillLocked: 'Nog steeds op slot',
    itWorked: 'Het is gelukt, ik ben binnen',
    skip: 'Sla over, ik weet het',
    look: 'Wat toont je Mac?',
    lookMeans: 'Kies het plaatje dat er het meest op lijkt. De servicedesk heeft dezelfde plaatjes met dezelfde nummers.',
    number: (number) => `Plaatje ${number}`,
    shows: {
      'password-field': 'Een veld voor je wachtwoord, nadat de Mac is aangezet',
      'reset-options': 'Een regel over opnieuw opstarten om je wachtwoord te herstellen',
      'key-field': 'Een veld voor de herstelsleutel',
      'login-window': 'Het inlogvenster, na uitloggen of na de sleutel',
      'lock-screen': 'Het toegangsscherm: de Mac stond aan en je was ingelogd',
      pin: 'Een slot en een veld voor een pincode van vier of zes cijfers',
      'activation-lock': 'Een slot dat om een Apple Account vraagt',
      'recovery-lock': 'Een wachtwoord voordat Opties of Herstel opengaat',
      firmware: 'Een groot hangslot op een grijs of zwart scherm',
      globe: 'Een wereldbol, of een keuze van wifi met een wereldbol',
      folder: 'Een map met een vraagteken, of een cirkel met een uitroepteken',
      other: 'Iets anders, of helemaal niets',
    },
    drawn: {
      'password-field': 'Een persoon, een wachtwoordveld en ernaast een vraagteken',
      'reset-options': 'Een persoon, een wachtwoordveld en eronder twee regels tekst met een pijl',
      'key-field': 'Een sleutel boven een lang veld met zes groepen',
      'login-window': 'Twee personen, een wachtwoordveld, boven een wifi-teken, onder drie knoppen',
      'lock-screen': 'Een grote klok boven een wachtwoordveld',
      pin: 'Een slot boven zes kleine vakjes',
      'activation-lock': 'Een slot boven twee velden, een met een apenstaartje',
      'recovery-lock': 'Een tandwiel boven een wachtwoordveld',
      firmware: 'Een groot hangslot boven een veld',
      globe: 'Een wereldbol boven een balk',
      folder: 'Een map met een vraagteken',
      other: 'Drie puntjes',
    },
    step: (number, of) => `Stap ${number} van ${of}`,
    next: 'Volgende',
    back: 'Terug',
    otherScreen: 'Mijn Mac toont iets anders',
    notWorking: 'Het lukt niet: wie je belt',
    getKey: 'Haal nu de herstelsleutel op',
    getKeyMeans: 'Je ziet hem vijf minuten: genoeg om hem nu meteen te typen.',
    sounds: 'Minder erg dan het klinkt',
    stop: 'Let op',
    macSpeaks: (name) => `Je Mac spreekt ${name}: wat hij toont, staat hier in die taal.`,
    macUnknown: 'We weten niet welke taal je Mac spreekt: wat hij toont, staat hier in het Engels.',
    notSeen: 'Deze stappen komen uit wat Apple en anderen hebben gepubliceerd. Je Mac zegt het misschien met net andere woorden.',
    hints: 'Schermlezer, of een toetsenbord dat niets doet',
    voiceOver:
      'VoiceOver: druk Command (⌘) en F5 samen in, op een laptop misschien ook met Fn, of druk drie keer op Touch ID terwijl je Command vasthoudt. Het kan een halve minuut duren voor hij praat.',
    keyboard:
      'Los toetsenbord: sluit het rechtstreeks op de Mac aan, niet op een hub of beeldscherm. Een Bluetooth-toetsenbord werkt op dit scherm misschien nog niet: neem het ingebouwde of een kabel.',
    wrongLock: 'De herstelsleutel past niet op dit slot',
    noKeyFor: 'Daarom tonen we de sleutel niet: hij helpt hier niet, en elke foute poging kost tijd.',
    tryFirst: 'Probeer eerst dit',
    stillThere: 'Het staat er nog',
    callNow: 'Bel, en zeg wat je ziet',
    callMeans: 'Laat de Mac zoals hij is. Noem het nummer van het plaatje en lees de woorden op het scherm voor.',
  },
} satisfies InTwo<UnlockWords>;
