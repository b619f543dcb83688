/** The languages of the sites. Dutch and English are complete; German and French are there for signing in, the key, and its refusal. */
export const languages = ['en', 'nl', 'de', 'fr'] as const;
export type Language = (typeof languages)[number];

/** In their own words. */
export const languageNames: Record<Language, string> = { en: 'English', nl: 'Nederlands', de: 'Deutsch', fr: 'Français' };

/** The words of one part of the sites: in the two languages that are complete, or in all four. A missing text is a mistake of types. */
export type InTwo<W> = { en: W; nl: W; de?: undefined; fr?: undefined };
export type InAll<W> = Record<Language, W>;
export type Spoken<W> = InTwo<W> | InAll<W>;

export interface Said<W> {
  words: W;
  /** The language that they are really in: a page without German words is in English, and says so to screen readers. */
  language: Language;
}

export function say<W>(spoken: Spoken<W>, language: Language): Said<W> {
  const words = spoken[language];
  return words === undefined ? { words: spoken.en, language: 'en' } : { words, language };
}

const isLanguage = (text: string): text is Language => (languages as readonly string[]).includes(text);

/** The language that somebody chose, else the first of the browser's that we have, else English. */
export function chooseLanguage(chosen: string | undefined, accepted: string | undefined): Language {
  if (chosen !== undefined && isLanguage(chosen)) return chosen;
  const wishes = (accepted ?? '')
    .split(',')
    .slice(0, 20)
    .map((wish) => {
      const [tag = '', ...more] = wish.trim().toLowerCase().split(';');
      const weight = Number(/^q=([0-9.]{1,5})$/.exec(more.map((part) => part.trim()).find((part) => part.startsWith('q=')) ?? 'q=1')?.[1] ?? 0);
      return { language: tag.split('-')[0] ?? '', weight: Number.isFinite(weight) ? weight : 0 };
    })
    .filter(({ weight }) => weight > 0)
    .toSorted((a, b) => b.weight - a.weight);
  return wishes.map(({ language }) => language).find(isLanguage) ?? 'en';
}
