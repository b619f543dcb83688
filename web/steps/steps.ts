import type { Language } from '../words.ts';
import { type Evidence, type SourceId, sources } from './evidence.ts';
import type { PageLanguage } from './quotes.ts';
import type { Chip, Macos, ScreenId } from './screens.ts';

/** One thing that is said, with where it is from. `{name}` is a quote of quotes.ts: the Mac's own words. */
export interface Sentence<L extends Language = PageLanguage> {
  /** `do`: press or look. `note`: what will be seen. `harmless`: sounds bad and is not. `stop`: do not go on here. */
  is: 'do' | 'note' | 'harmless' | 'stop';
  text: Readonly<Record<L, string>>;
  from: Evidence;
  /** Left out: on every chip, on every version. */
  chips?: readonly Chip[];
  macos?: readonly Macos[];
}

export interface Step {
  id: string;
  title: Readonly<Record<PageLanguage, string>>;
  sentences: readonly Sentence[];
  /** Where it goes on, if the Mac shows something else. */
  instead?: { way: WayId; text: Readonly<Record<PageLanguage, string>> };
}

/** A way to the field for the key: what a screen leads to, and what to do where the Mac has no question mark. */
export type WayId = Extract<ScreenId, 'password-field' | 'reset-options' | 'key-field' | 'login-window' | 'lock-screen'> | 'no-question-mark';

const say = (is: Sentence['is'], from: SourceId, en: string, nl: string, only: Pick<Sentence, 'chips' | 'macos'> = {}): Sentence => ({
  is,
  text: { en, nl },
  from: sources[from],
  ...only,
});

const newer: readonly Macos[] = ['15', '26', 'unknown'];

const questionMark: Step = {
  id: 'question-mark',
  title: { en: 'Click the question mark', nl: 'Klik op het vraagteken' },
  sentences: [
    say(
      'do',
      'forgotPassword',
      'If your Mac shows several names, click yours. Then click the ? at the right of the password field.',
      'Zie je meer namen, klik dan op de jouwe. Klik dan op het ? rechts naast het wachtwoordveld.',
    ),
    say(
      'do',
      'macHelp',
      'No question mark? Hold the power button until the Mac is off. Press it once to start the Mac, and look again.',
      'Geen vraagteken? Houd de aan/uit-knop ingedrukt tot de Mac uit is. Druk er één keer op om de Mac te starten en kijk opnieuw.',
    ),
    say(
      'note',
      'sequoia',
      'Some Macs with macOS 15 or later never show it. There is another way, below.',
      'Sommige Macs met macOS 15 of nieuwer tonen het nooit. Er is een andere manier, hieronder.',
      { chips: ['apple', 'unknown'], macos: newer },
    ),
    say('note', 'intelReader', 'Macs with an Intel chip show it next to your name.', 'Een Mac met een Intel-chip toont het naast je naam.', {
      chips: ['intel'],
    }),
  ],
  instead: { way: 'no-question-mark', text: { en: 'There is no question mark', nl: 'Er is geen vraagteken' } },
};

const restartLine: Step = {
  id: 'restart-line',
  title: { en: 'Restart to the reset screens', nl: 'Start op naar de herstelschermen' },
  sentences: [
    say('do', 'fleet', 'Click {restartAndShow}, or the arrow beside it.', 'Klik op {restartAndShow}, of op de pijl ernaast.'),
    say(
      'note',
      'concluded',
      'The Mac restarts. That takes one to three minutes; a black screen or an Apple logo is normal. Do not press anything.',
      'De Mac start opnieuw op. Dat duurt één tot drie minuten; een zwart scherm of een Apple-logo is normaal. Druk nergens op.',
    ),
  ],
};

const questionsBefore: Step = {
  id: 'questions-before',
  title: { en: 'What it may ask first', nl: 'Wat hij eerst kan vragen' },
  sentences: [
    say(
      'do',
      'forgotPassword',
      'Does it ask for a language? Choose the one you use on this Mac.',
      'Vraagt hij een taal? Kies de taal die je op deze Mac gebruikt.',
    ),
    say(
      'do',
      'forgotPassword',
      'Does it ask for Wi-Fi? Choose yours if you can. Without it you can usually go on.',
      'Vraagt hij om wifi? Kies je netwerk als dat kan. Zonder kun je meestal ook verder.',
    ),
    say(
      'do',
      'forgotPassword',
      'Does it ask for a user whose password you know? Click {forgotAll}.',
      'Vraagt hij een gebruiker van wie je het wachtwoord weet? Klik op {forgotAll}.',
    ),
    say(
      'harmless',
      'forgotPassword',
      'Do you see {deactivateMac}? It sounds bad and is not: it erases nothing. Click it, then {deactivate}. The Mac activates itself again when it has a network.',
      'Zie je {deactivateMac}? Dat klinkt erg, maar is het niet: er wordt niets gewist. Klik erop, en dan op {deactivate}. Met een netwerk activeert de Mac zichzelf weer.',
    ),
    say(
      'stop',
      'recoveryLock',
      'Does it ask for a password before any of this, and not for a recovery key? Stop: that is picture 8.',
      'Vraagt hij vóór dit alles een wachtwoord, en geen herstelsleutel? Stop: dat is plaatje 8.',
    ),
  ],
};

const lineWithArrow: Step = {
  id: 'line-with-arrow',
  title: { en: 'Click the arrow', nl: 'Klik op de pijl' },
  sentences: [
    say(
      'do',
      'oldMacHelp',
      'Under the password field stands {resetWithKey}. Click the arrow beside it.',
      'Onder het wachtwoordveld staat {resetWithKey}. Klik op de pijl ernaast.',
    ),
    say(
      'note',
      'concluded',
      'It can take a minute to appear. Do not type anything while you wait.',
      'Het kan een minuut duren voor het verschijnt. Typ zolang niets.',
    ),
  ],
};

const eitherLine: Step = {
  id: 'either-line',
  title: { en: 'Click the line that appears', nl: 'Klik op de regel die verschijnt' },
  sentences: [
    say(
      'do',
      'forgotPassword',
      'Newer Macs show {restartAndShow}. Click it and wait for the restart.',
      'Nieuwere Macs tonen {restartAndShow}. Klik erop en wacht tot hij opnieuw is gestart.',
    ),
    say('do', 'oldMacHelp', 'Older ones show {resetWithKey}. Click the arrow beside it.', 'Oudere tonen {resetWithKey}. Klik op de pijl ernaast.'),
  ],
};

const threeKeys: Step = {
  id: 'three-keys',
  title: { en: 'Press three keys together', nl: 'Druk drie toetsen samen in' },
  sentences: [
    say(
      'do',
      'platformDeployment',
      'Click in the password field. Hold Option (⌥) and Shift (⇧), press Return (↩), let go.',
      'Klik in het wachtwoordveld. Houd Option (⌥) en Shift (⇧) ingedrukt, druk op Return (↩) en laat los.',
    ),
    say('note', 'sequoia', 'The password field becomes a field for the recovery key.', 'Het wachtwoordveld wordt een veld voor de herstelsleutel.'),
    say(
      'note',
      'afterKey',
      'This way opens the disk and sets no new password. The Mac then has a network, and asks for the password of your account.',
      'Zo gaat de schijf open, maar je stelt geen nieuw wachtwoord in. De Mac heeft daarna een netwerk en vraagt om het wachtwoord van je account.',
    ),
    say(
      'note',
      'concluded',
      'On a keyboard that is not Apple’s, Option is the key that shows Alt.',
      'Op een toetsenbord dat niet van Apple is, is Option de toets waar Alt op staat.',
    ),
  ],
};

const waitForText: Step = {
  id: 'wait-for-text',
  title: { en: 'Wait for a minute', nl: 'Wacht een minuut' },
  sentences: [
    say(
      'do',
      'concluded',
      'Click your name and type nothing. After about a minute a text appears under the password field.',
      'Klik op je naam en typ niets. Na ongeveer een minuut verschijnt er tekst onder het wachtwoordveld.',
    ),
  ],
};

const keyField: Step = {
  id: 'key-field',
  title: { en: 'Your Mac asks for the recovery key', nl: 'Je Mac vraagt om de herstelsleutel' },
  sentences: [
    say(
      'note',
      'forgotPassword',
      'You see a field for the recovery key: 24 letters and digits in six groups. This is the right place.',
      'Je ziet een veld voor de herstelsleutel: 24 letters en cijfers in zes groepen. Je bent op de goede plek.',
    ),
    say(
      'do',
      'concluded',
      'Leave the Mac like this and plug in its charger. Then get the key here.',
      'Laat de Mac zo staan en sluit de lader aan. Haal dan hier de sleutel op.',
    ),
  ],
};

const fromLoginWindow: Step = {
  id: 'from-login-window',
  title: { en: 'Bring the Mac to its first screen', nl: 'Breng de Mac naar zijn eerste scherm' },
  sentences: [
    say(
      'note',
      'sequoiaReaders',
      'Did you just type the recovery key and come here? Then the disk is open and only your account’s password is missing. Connect to a network at the top right and try your newest work password first.',
      'Heb je net de herstelsleutel getypt en kwam je hier? Dan is de schijf open en ontbreekt alleen het wachtwoord van je account. Maak rechtsboven verbinding met een netwerk en probeer eerst je nieuwste werkwachtwoord.',
    ),
    say(
      'do',
      'forgotPassword',
      'Else click {restart} at the bottom of the screen. If it is not there, hold the power button until the Mac is off, then press it once.',
      'Klik anders onder in beeld op {restart}. Staat dat er niet, houd dan de aan/uit-knop ingedrukt tot de Mac uit is en druk er dan één keer op.',
    ),
  ],
};

const fromLockScreen: Step = {
  id: 'from-lock-screen',
  title: { en: 'Restart the Mac', nl: 'Start de Mac opnieuw op' },
  sentences: [
    say(
      'note',
      'concluded',
      'You are still logged in behind this screen. The recovery key does nothing here: only your password, or your finger on Touch ID.',
      'Achter dit scherm ben je nog ingelogd. De herstelsleutel doet hier niets: alleen je wachtwoord, of je vinger op Touch ID.',
    ),
    say(
      'stop',
      'concluded',
      'A restart closes everything that is open. What you had not saved is lost.',
      'Opnieuw opstarten sluit alles wat open is. Wat je niet had bewaard, ben je kwijt.',
    ),
    say(
      'do',
      'macHelp',
      'Hold the power button (on most laptops the Touch ID key) until the screen is black. Wait for five seconds and press it once.',
      'Houd de aan/uit-knop ingedrukt (op de meeste laptops de Touch ID-toets) tot het scherm zwart is. Wacht vijf tellen en druk er één keer op.',
    ),
  ],
};

const toTheField = (chip: Chip): readonly Step[] =>
  chip === 'apple'
    ? [questionMark, restartLine, questionsBefore, keyField]
    : chip === 'intel'
      ? [questionMark, lineWithArrow, keyField]
      : [questionMark, eitherLine, questionsBefore, keyField];

const ways: Readonly<Record<WayId, (chip: Chip) => readonly Step[]>> = {
  'password-field': toTheField,
  'no-question-mark': (chip) => (chip === 'intel' ? [waitForText, lineWithArrow, keyField] : [threeKeys, keyField]),
  'reset-options': () => [restartLine, questionsBefore, keyField],
  'key-field': () => [keyField],
  'login-window': (chip) => [fromLoginWindow, ...toTheField(chip)],
  'lock-screen': (chip) => [fromLockScreen, ...toTheField(chip)],
};

export const wayIds = Object.keys(ways) as readonly WayId[];
export const isWay = (text: string): text is WayId => Object.hasOwn(ways, text);

const applies = (sentence: Sentence, chip: Chip, macos: Macos): boolean =>
  (sentence.chips?.includes(chip) ?? true) && (sentence.macos?.includes(macos) ?? true);

/** The steps of a way on this Mac, in their order. The last is always the field for the key. */
export const stepsOf = (way: WayId, chip: Chip, macos: Macos): readonly Step[] =>
  ways[way](chip).map((step) => ({ ...step, sentences: step.sentences.filter((sentence) => applies(sentence, chip, macos)) }));
