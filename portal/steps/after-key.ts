import { type Html, html } from '../../web/html.ts';
import type { Language } from '../../web/words.ts';
import { type SourceId, sources } from './evidence.ts';
import { macLanguageOf, type PageLanguage } from './quotes.ts';
import { type Chip, chipOf } from './screens.ts';
import { written } from './sentences.ts';
import type { Sentence, WayId } from './steps.ts';

const say = (from: SourceId, en: string, nl: string): Sentence => ({ is: 'do', text: { en, nl }, from: sources[from] });

const typeIt = say(
  'fleetOlder',
  'Type all six groups with the hyphens between them, in capitals. The field shows dots.',
  'Typ alle zes groepen met de streepjes ertussen, in hoofdletters. Het veld toont stippen.',
);
const confirm = say('platformDeployment', 'Press Return (↩), or click the arrow.', 'Druk op Return (↩) of klik op de pijl.');

const inRecovery: readonly Sentence[] = [
  typeIt,
  say('forgotPassword', 'Click {next}, or press Return (↩).', 'Klik op {next} of druk op Return (↩).'),
  say('forgotPassword', 'Choose your name and set a new password.', 'Kies je naam en stel een nieuw wachtwoord in.'),
  say('forgotPassword', 'Click {restart}, and log in with the new password.', 'Klik op {restart} en log in met het nieuwe wachtwoord.'),
];
const atLoginWindow: readonly Sentence[] = [
  typeIt,
  confirm,
  say('afterKey', 'The Mac starts and shows its login window, with a network.', 'De Mac start op en toont het inlogvenster, met een netwerk.'),
  say(
    'concluded',
    'Log in with your newest password. If that is refused, call: now that the Mac has a network, the service desk can help with a new one.',
    'Log in met je nieuwste wachtwoord. Wordt dat geweigerd, bel dan: nu de Mac een netwerk heeft, kan de servicedesk je aan een nieuw helpen.',
  ),
];
const onIntel: readonly Sentence[] = [
  typeIt,
  confirm,
  say('fleetOlder', 'The Mac starts and shows {resetPassword}. Set a new password.', 'De Mac start op en toont {resetPassword}. Stel een nieuw wachtwoord in.'),
];
const either: readonly Sentence[] = [
  typeIt,
  confirm,
  say(
    'concluded',
    'The Mac asks for a new password, or starts first. Set it when it asks.',
    'De Mac vraagt om een nieuw wachtwoord, of start eerst op. Stel het in als hij het vraagt.',
  ),
];

/** What is pressed once the key is there, by the way that somebody came. */
export function stepsAfterKey(way: WayId | null, chip: Chip): readonly Sentence[] {
  if (chip === 'intel') return onIntel;
  if (way === 'no-question-mark') return atLoginWindow;
  return chip === 'apple' && way !== 'key-field' && way !== null ? inRecovery : either;
}

/** *On your Mac*, numbered, for the page of the key: in English where the page is in neither of the two languages of the steps. */
export function onYourMac(mac: { isAppleSilicon: boolean | null; macLanguage: string | null }, way: WayId | null, language: Language): Html {
  const page: PageLanguage = language === 'nl' ? 'nl' : 'en';
  const steps = stepsAfterKey(way, chipOf(mac.isAppleSilicon));
  return html`<ol class="on-your-mac"${page === language ? null : html` lang="${page}"`}>${steps.map(
    (sentence) => html`<li>${written(sentence, macLanguageOf(mac.macLanguage), page)}</li>`,
  )}</ol>`;
}
