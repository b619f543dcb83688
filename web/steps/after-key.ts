import { type Html, html } from '../html.ts';
import type { Language } from '../words.ts';
import { type SourceId, sources } from './evidence.ts';
import { macLanguageOf } from './quotes.ts';
import { type Chip, chipOf } from './screens.ts';
import { written } from './sentences.ts';
import type { Sentence, WayId } from './steps.ts';

/** Beside the key: in all four languages, with the Mac's own words in the Mac's. */
type AfterKey = Sentence<Language>;
const say = (from: SourceId, text: AfterKey['text']): AfterKey => ({ is: 'do', text, from: sources[from] });

const typeIt = say('fleetOlder', {
  en: 'Type all six groups with the hyphens between them, in capitals. The field shows dots.',
  nl: 'Typ alle zes groepen met de streepjes ertussen, in hoofdletters. Het veld toont stippen.',
  de: 'Geben Sie alle sechs Gruppen mit den Bindestrichen dazwischen ein, in Großbuchstaben. Das Feld zeigt Punkte.',
  fr: 'Saisissez les six groupes en majuscules, avec les traits d’union entre eux. Le champ affiche des points.',
});
const confirm = say('platformDeployment', {
  en: 'Press Return (↩), or click the arrow.',
  nl: 'Druk op Return (↩) of klik op de pijl.',
  de: 'Drücken Sie die Eingabetaste (↩), oder klicken Sie auf den Pfeil.',
  fr: 'Appuyez sur la touche Retour (↩), ou cliquez sur la flèche.',
});

const inRecovery: readonly AfterKey[] = [
  typeIt,
  say('forgotPassword', {
    en: 'Click {next}, or press Return (↩).',
    nl: 'Klik op {next} of druk op Return (↩).',
    de: 'Klicken Sie auf {next}, oder drücken Sie die Eingabetaste (↩).',
    fr: 'Cliquez sur {next}, ou appuyez sur la touche Retour (↩).',
  }),
  say('forgotPassword', {
    en: 'Choose your name and set a new password.',
    nl: 'Kies je naam en stel een nieuw wachtwoord in.',
    de: 'Wählen Sie Ihren Namen und legen Sie ein neues Passwort fest.',
    fr: 'Choisissez votre nom et définissez un nouveau mot de passe.',
  }),
  say('forgotPassword', {
    en: 'Click {restart}, and log in with the new password.',
    nl: 'Klik op {restart} en log in met het nieuwe wachtwoord.',
    de: 'Klicken Sie auf {restart} und melden Sie sich mit dem neuen Passwort an.',
    fr: 'Cliquez sur {restart}, puis connectez-vous avec le nouveau mot de passe.',
  }),
];
const atLoginWindow: readonly AfterKey[] = [
  typeIt,
  confirm,
  say('afterKey', {
    en: 'The Mac starts and shows its login window, with a network.',
    nl: 'De Mac start op en toont het inlogvenster, met een netwerk.',
    de: 'Der Mac startet und zeigt sein Anmeldefenster, mit einem Netzwerk.',
    fr: 'Le Mac démarre et affiche sa fenêtre de connexion, avec un réseau.',
  }),
  say('concluded', {
    en: 'Log in with your newest password. If that is refused, call: now that the Mac has a network, the service desk can help with a new one.',
    nl: 'Log in met je nieuwste wachtwoord. Wordt dat geweigerd, bel dan: nu de Mac een netwerk heeft, kan de servicedesk je aan een nieuw helpen.',
    de: 'Melden Sie sich mit Ihrem neuesten Passwort an. Wird es abgelehnt, rufen Sie an: Jetzt hat der Mac ein Netzwerk, und der Servicedesk kann Ihnen zu einem neuen verhelfen.',
    fr: 'Connectez-vous avec votre mot de passe le plus récent. S’il est refusé, appelez : maintenant que le Mac a un réseau, l’assistance peut vous en procurer un nouveau.',
  }),
];
const onIntel: readonly AfterKey[] = [
  typeIt,
  confirm,
  say('fleetOlder', {
    en: 'The Mac starts and shows {resetPassword}. Set a new password.',
    nl: 'De Mac start op en toont {resetPassword}. Stel een nieuw wachtwoord in.',
    de: 'Der Mac startet und zeigt {resetPassword}. Legen Sie ein neues Passwort fest.',
    fr: 'Le Mac démarre et affiche {resetPassword}. Définissez un nouveau mot de passe.',
  }),
];
const either: readonly AfterKey[] = [
  typeIt,
  confirm,
  say('concluded', {
    en: 'The Mac asks for a new password, or starts first. Set it when it asks.',
    nl: 'De Mac vraagt om een nieuw wachtwoord, of start eerst op. Stel het in als hij het vraagt.',
    de: 'Der Mac fragt nach einem neuen Passwort, oder er startet zuerst. Legen Sie es fest, wenn er danach fragt.',
    fr: 'Le Mac demande un nouveau mot de passe, ou démarre d’abord. Définissez-le quand il le demande.',
  }),
];

/** What is pressed once the key is there, by the way that somebody came. */
export function stepsAfterKey(way: WayId | null, chip: Chip): readonly AfterKey[] {
  if (chip === 'intel') return onIntel;
  if (way === 'no-question-mark') return atLoginWindow;
  return chip === 'apple' && way !== 'key-field' && way !== null ? inRecovery : either;
}

/** *On your Mac*, numbered, for the page of the key. */
export function onYourMac(mac: { isAppleSilicon: boolean | null; macLanguage: string | null }, way: WayId | null, language: Language): Html {
  const steps = stepsAfterKey(way, chipOf(mac.isAppleSilicon));
  return html`<ol class="on-your-mac">${steps.map((sentence) => html`<li>${written(sentence, macLanguageOf(mac.macLanguage), language)}</li>`)}</ol>`;
}
