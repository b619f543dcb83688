import type { Language } from '../words.ts';

export interface Spelled {
  sign: string;
  /** The word by which the sign is known when it is read aloud. */
  word: string;
}

const digitsIn: Readonly<Record<Language, string>> = {
  en: 'zero one two three four five six seven eight nine',
  nl: 'nul een twee drie vier vijf zes zeven acht negen',
  de: 'null eins zwei drei vier fünf sechs sieben acht neun',
  fr: 'zéro un deux trois quatre cinq six sept huit neuf',
};

/**
 * en: ICAO and NATO. nl: the names that are used on Dutch telephones. de: DIN 5009 of 1983, which people still use; the cities of
 * 2022 are known to fewer. fr: the list of the French post.
 */
const lettersIn: Readonly<Record<Language, string>> = {
  en: 'Alfa Bravo Charlie Delta Echo Foxtrot Golf Hotel India Juliett Kilo Lima Mike November Oscar Papa Quebec Romeo Sierra Tango Uniform Victor Whiskey X-ray Yankee Zulu',
  nl: 'Anna Bernard Cornelis Dirk Eduard Ferdinand Gerard Hendrik Izaak Jan Karel Lodewijk Maria Nico Otto Pieter Quirinus Richard Simon Theodoor Utrecht Victor Willem Xantippe Ypsilon Zaandam',
  de: 'Anton Berta Cäsar Dora Emil Friedrich Gustav Heinrich Ida Julius Kaufmann Ludwig Martha Nordpol Otto Paula Quelle Richard Samuel Theodor Ulrich Viktor Wilhelm Xanthippe Ypsilon Zacharias',
  fr: 'Anatole Berthe Célestin Désiré Eugène François Gaston Henri Irma Joseph Kléber Louis Marcel Nicolas Oscar Pierre Quintal Raoul Suzanne Thérèse Ursule Victor William Xavier Yvonne Zoé',
};

const hyphenIn: Readonly<Record<Language, string>> = { en: 'hyphen', nl: 'streepje', de: 'Bindestrich', fr: 'trait d’union' };

const wordFor = (sign: string, language: Language): string | undefined => {
  if (sign === '-') return hyphenIn[language];
  if (/^[0-9]$/.test(sign)) return digitsIn[language].split(' ')[Number(sign)];
  if (/^[A-Z]$/.test(sign)) return lettersIn[language].split(' ')[sign.charCodeAt(0) - 65];
  return undefined;
};

/** Each sign of `group` with its word, in its order. A sign that no recovery key has is its own word. */
export const spell = (group: string, language: Language): readonly Spelled[] =>
  [...group.toUpperCase()].map((sign) => ({ sign, word: wordFor(sign, language) ?? sign }));
