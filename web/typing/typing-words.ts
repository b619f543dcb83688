import type { InAll } from '../words.ts';

/** The words about keys and signs: on the page of the key, so in all four languages. */
export interface TypingWords {
  /** `2: Shift + é`. */
  withShift(sign: string, key: string): string;
  /** Keys that show something else: the one for `sign` shows `key`. */
  keyShows(sign: string, key: string): string;
  keyShowsWithShift(sign: string, key: string): string;
  withoutShift(sign: string): string;
  /** Where the hyphen is: between `0` and another key, beside Delete, beside the right Shift key. */
  hyphenAfter(left: string, right: string): string;
  hyphenBesideDelete(left: string): string;
  hyphenBesideShift(left: string): string;
  /** For readers who hear it: signs that a screen reader passes over. */
  called: Readonly<Record<string, string>>;
  /** `absent` does not occur in the key, `present` does; `round`: it is the only round sign of the key. */
  onlyThis(absent: string, present: string, round: boolean): string;
  both(one: string, inGroups: string, other: string, inOtherGroups: string): string;
  groups(numbers: readonly number[]): string;
}

const sortOf = (sign: string, letter: string, digit: string): string => `${/[0-9]/.test(sign) ? digit : letter} ${sign}`;

const list = (language: string, numbers: readonly number[]): string =>
  new Intl.ListFormat(language, { type: 'conjunction' }).format(numbers.map((number) => String(number)));

export const typingWords: InAll<TypingWords> = {
  en: {
    withShift: (sign, key) => `${sign}: Shift + ${key}`,
    keyShows: (sign, key) => `${sign}: the key that shows ${key}`,
    keyShowsWithShift: (sign, key) => `${sign}: Shift + the key that shows ${key}`,
    withoutShift: (sign) => `${sign}: without Shift`,
    hyphenAfter: (left, right) => `- (hyphen): the key between ${left} and ${right}`,
    hyphenBesideDelete: (left) => `- (hyphen): the key between ${left} and the delete key, without Shift`,
    hyphenBesideShift: (left) => `- (hyphen): the key between ${left} and the right Shift key`,
    called: {
      '&': 'ampersand',
      '"': 'quotation mark',
      "'": 'apostrophe',
      '(': 'opening bracket',
      ')': 'closing bracket',
      '§': 'section sign',
      '!': 'exclamation mark',
      '£': 'pound sign',
      '.': 'full stop',
      ',': 'comma',
      ';': 'semicolon',
      ':': 'colon',
      '/': 'slash',
      '=': 'equals sign',
      '-': 'hyphen',
      '´': 'acute accent',
      '+': 'plus',
    },
    onlyThis: (absent, present, round) =>
      `This key has no ${absent === '0' ? 'zero' : sortOf(absent, 'letter', 'digit')}: ${round ? 'every round sign' : 'what looks like one'} is the ${sortOf(present, 'letter', 'digit')}.`,
    both: (one, inGroups, other, inOtherGroups) =>
      `This key has the ${sortOf(one, 'letter', 'digit')} in ${inGroups} and the ${sortOf(other, 'letter', 'digit')} in ${inOtherGroups}.`,
    groups: (numbers) => `${numbers.length === 1 ? 'group' : 'groups'} ${list('en-GB', numbers)}`,
  },
  nl: {
    withShift: (sign, key) => `${sign}: Shift + ${key}`,
    keyShows: (sign, key) => `${sign}: de toets waar ${key} op staat`,
    keyShowsWithShift: (sign, key) => `${sign}: Shift + de toets waar ${key} op staat`,
    withoutShift: (sign) => `${sign}: zonder Shift`,
    hyphenAfter: (left, right) => `- (streepje): de toets tussen ${left} en ${right}`,
    hyphenBesideDelete: (left) => `- (streepje): de toets tussen ${left} en de wistoets, zonder Shift`,
    hyphenBesideShift: (left) => `- (streepje): de toets tussen ${left} en de rechter Shift-toets`,
    called: {
      '&': 'en-teken',
      '"': 'aanhalingsteken',
      "'": 'apostrof',
      '(': 'haakje openen',
      ')': 'haakje sluiten',
      '§': 'paragraafteken',
      '!': 'uitroepteken',
      '£': 'pondteken',
      '.': 'punt',
      ',': 'komma',
      ';': 'puntkomma',
      ':': 'dubbele punt',
      '/': 'schuine streep',
      '=': 'isgelijkteken',
      '-': 'streepje',
      '´': 'accent',
      '+': 'plus',
    },
    onlyThis: (absent, present, round) =>
      `${absent === '0' ? 'Een nul' : sortOf(absent, 'Een letter', 'Een cijfer')} zit niet in deze sleutel: ${round ? 'elk rond teken' : 'wat erop lijkt,'} is ${sortOf(present, 'de letter', 'het cijfer')}.`,
    both: (one, inGroups, other, inOtherGroups) =>
      `In deze sleutel staat ${sortOf(one, 'de letter', 'het cijfer')} in ${inGroups} en ${sortOf(other, 'de letter', 'het cijfer')} in ${inOtherGroups}.`,
    groups: (numbers) => `${numbers.length === 1 ? 'groep' : 'de groepen'} ${list('nl', numbers)}`,
  },
  de: {
    withShift: (sign, key) => `${sign}: Umschalttaste + ${key}`,
    keyShows: (sign, key) => `${sign}: die Taste mit ${key}`,
    keyShowsWithShift: (sign, key) => `${sign}: Umschalttaste + die Taste mit ${key}`,
    withoutShift: (sign) => `${sign}: ohne Umschalttaste`,
    hyphenAfter: (left, right) => `- (Bindestrich): die Taste zwischen ${left} und ${right}`,
    hyphenBesideDelete: (left) => `- (Bindestrich): die Taste zwischen ${left} und der Löschtaste, ohne Umschalttaste`,
    hyphenBesideShift: (left) => `- (Bindestrich): die Taste zwischen ${left} und der rechten Umschalttaste`,
    called: {
      '&': 'Und-Zeichen',
      '"': 'Anführungszeichen',
      "'": 'Apostroph',
      '(': 'Klammer auf',
      ')': 'Klammer zu',
      '§': 'Paragrafzeichen',
      '!': 'Ausrufezeichen',
      '£': 'Pfundzeichen',
      '.': 'Punkt',
      ',': 'Komma',
      ';': 'Semikolon',
      ':': 'Doppelpunkt',
      '/': 'Schrägstrich',
      '=': 'Gleichheitszeichen',
      '-': 'Bindestrich',
      '´': 'Akzent',
      '+': 'Plus',
    },
    onlyThis: (absent, present, round) =>
      `${absent === '0' ? 'Eine Null' : sortOf(absent, 'Der Buchstabe', 'Die Ziffer')} kommt in diesem Schlüssel nicht vor: ${round ? 'Jedes runde Zeichen' : 'Was so aussieht,'} ist ${sortOf(present, 'der Buchstabe', 'die Ziffer')}.`,
    both: (one, inGroups, other, inOtherGroups) =>
      `In diesem Schlüssel steht ${sortOf(one, 'der Buchstabe', 'die Ziffer')} in ${inGroups} und ${sortOf(other, 'der Buchstabe', 'die Ziffer')} in ${inOtherGroups}.`,
    groups: (numbers) => `${numbers.length === 1 ? 'Gruppe' : 'den Gruppen'} ${list('de', numbers)}`,
  },
  fr: {
    withShift: (sign, key) => `${sign} : Majuscule + ${key}`,
    keyShows: (sign, key) => `${sign} : la touche marquée ${key}`,
    keyShowsWithShift: (sign, key) => `${sign} : Majuscule + la touche marquée ${key}`,
    withoutShift: (sign) => `${sign} : sans Majuscule`,
    hyphenAfter: (left, right) => `- (trait d’union) : la touche entre ${left} et ${right}`,
    hyphenBesideDelete: (left) => `- (trait d’union) : la touche entre ${left} et la touche Supprimer, sans Majuscule`,
    hyphenBesideShift: (left) => `- (trait d’union) : la touche entre ${left} et la touche Majuscule de droite`,
    called: {
      '&': 'et commercial',
      '"': 'guillemet',
      "'": 'apostrophe',
      '(': 'parenthèse ouvrante',
      ')': 'parenthèse fermante',
      '§': 'signe paragraphe',
      '!': 'point d’exclamation',
      '£': 'livre',
      '.': 'point',
      ',': 'virgule',
      ';': 'point-virgule',
      ':': 'deux-points',
      '/': 'barre oblique',
      '=': 'égal',
      '-': 'trait d’union',
      '´': 'accent aigu',
      '+': 'plus',
    },
    onlyThis: (absent, present, round) =>
      `Cette clé ne contient pas ${absent === '0' ? 'de zéro' : sortOf(absent, 'la lettre', 'le chiffre')} : ${round ? 'chaque signe rond' : 'ce qui y ressemble'} est ${sortOf(present, 'la lettre', 'le chiffre')}.`,
    both: (one, inGroups, other, inOtherGroups) =>
      `Dans cette clé, ${sortOf(one, 'la lettre', 'le chiffre')} est dans ${inGroups} et ${sortOf(other, 'la lettre', 'le chiffre')} dans ${inOtherGroups}.`,
    groups: (numbers) => `${numbers.length === 1 ? 'le groupe' : 'les groupes'} ${list('fr', numbers)}`,
  },
};
