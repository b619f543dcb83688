import { type Html, html } from '../html.ts';
import { type Language, languageNames, languages } from '../words.ts';
import { type Evidence, type SourceId, sources } from './evidence.ts';

/** The languages in which the pages before the key are written; what is said beside the key is there in all four. */
export type PageLanguage = 'en' | 'nl';

export interface Quote {
  /** Word for word as the Mac shows it, per language of the Mac. `unknown`: nobody has published it. */
  texts: Readonly<Record<Language, { text: string; from: Evidence } | 'unknown'>>;
  /** What to look for where the words are not known; stands after “click”, “with” and the like. */
  described: Readonly<Record<Language, string>>;
}

const known = (text: string, from: SourceId) => ({ text, from: sources[from] });

export const quotes = {
  restartAndShow: {
    texts: {
      en: known('Restart and show password reset options', 'fleet'),
      de: known('Neu starten und Optionen zum Zurücksetzen des Passworts anzeigen', 'germanForgotPassword'),
      nl: 'unknown',
      fr: 'unknown',
    },
    described: {
      en: 'the line about restarting to set your password again',
      nl: 'de regel over opnieuw opstarten om je wachtwoord opnieuw in te stellen',
      de: 'die Zeile über einen Neustart, um das Passwort neu festzulegen',
      fr: 'la ligne qui propose de redémarrer pour redéfinir votre mot de passe',
    },
  },
  resetWithKey: {
    texts: {
      en: known('If you forgot your password, you can reset it using your Recovery Key', 'fleetOlder'),
      de: known('Mit deinem Wiederherstellungsschlüssel zurücksetzen', 'macHelp'),
      nl: 'unknown',
      fr: 'unknown',
    },
    described: {
      en: 'the line about resetting your password with your recovery key',
      nl: 'de regel over opnieuw instellen met je herstelsleutel',
      de: 'die Zeile über das Zurücksetzen mit Ihrem Wiederherstellungsschlüssel',
      fr: 'la ligne sur la réinitialisation avec votre clé de secours',
    },
  },
  forgotAll: {
    texts: { en: known('Forgot all passwords?', 'forgotPassword'), de: known('Alle Passwörter vergessen?', 'cannotReset'), nl: 'unknown', fr: 'unknown' },
    described: {
      en: 'the words that say that you forgot all passwords',
      nl: 'de woorden dat je alle wachtwoorden bent vergeten',
      de: 'die Worte, dass Sie alle Passwörter vergessen haben',
      fr: 'les mots qui disent que vous avez oublié tous les mots de passe',
    },
  },
  deactivateMac: {
    texts: { en: known('Deactivate Mac', 'forgotPassword'), de: 'unknown', nl: 'unknown', fr: 'unknown' },
    described: {
      en: 'a button that would deactivate the Mac',
      nl: 'een knop om de Mac te deactiveren',
      de: 'eine Taste, die den Mac deaktivieren würde',
      fr: 'un bouton qui désactiverait le Mac',
    },
  },
  deactivate: {
    texts: { en: known('Deactivate', 'forgotPassword'), de: 'unknown', nl: 'unknown', fr: 'unknown' },
    described: { en: 'the button that confirms it', nl: 'de knop die dat bevestigt', de: 'die Taste, die es bestätigt', fr: 'le bouton qui le confirme' },
  },
  resetPassword: {
    texts: { en: known('Reset Password', 'forgotPassword'), de: 'unknown', nl: 'unknown', fr: 'unknown' },
    described: {
      en: 'a window for a new password',
      nl: 'een venster voor een nieuw wachtwoord',
      de: 'ein Fenster für ein neues Passwort',
      fr: 'une fenêtre pour un nouveau mot de passe',
    },
  },
  next: {
    texts: { en: known('Next', 'forgotPassword'), de: known('Weiter', 'cannotReset'), nl: 'unknown', fr: 'unknown' },
    described: { en: 'the button that goes on', nl: 'de knop om verder te gaan', de: 'die Taste, mit der es weitergeht', fr: 'le bouton pour continuer' },
  },
  restart: {
    texts: { en: known('Restart', 'forgotPassword'), de: known('Neustart', 'cannotReset'), nl: 'unknown', fr: 'unknown' },
    described: {
      en: 'the button that restarts the Mac',
      nl: 'de knop om opnieuw op te starten',
      de: 'die Taste, die den Mac neu startet',
      fr: 'le bouton qui redémarre le Mac',
    },
  },
  activationLock: {
    texts: {
      en: known('Activation Lock', 'forgotPassword'),
      de: known('Aktivierungssperre', 'activationLock'),
      nl: known('activeringsslot', 'dutchActivationLock'),
      fr: 'unknown',
    },
    described: {
      en: 'a lock that asks for an Apple Account',
      nl: 'een slot dat om een Apple Account vraagt',
      de: 'eine Sperre, die nach einem Apple Account fragt',
      fr: 'un verrouillage qui demande un compte Apple',
    },
  },
} as const satisfies Record<string, Quote>;
export type QuoteId = keyof typeof quotes;

const isLanguage = (text: string): text is Language => (languages as readonly string[]).includes(text);

/** `nl-NL`, `de_CH`, `zh-Hans-CN` → the language, where it is one in which Macs are quoted here. */
export function macLanguageOf(fact: string | null): Language | null {
  const language = (fact ?? '').toLowerCase().split(/[-_]/)[0] ?? '';
  return isLanguage(language) ? language : null;
}

const besides: Readonly<Record<Language, (language: Language) => string>> = {
  en: (language) => `in ${nameOf(language, 'en')}:`,
  nl: (language) => `in het ${nameOf(language, 'nl')}:`,
  de: (language) => `auf ${nameOf(language, 'de')}:`,
  fr: (language) => `en ${nameOf(language, 'fr')} :`,
};

/**
 * The Mac's own words in the Mac's language. Where the page is in another and they are known there too, those follow; where they
 * are not known, it is said what to look for, with the English of the same place.
 */
export function quoted(id: QuoteId, mac: Language | null, page: Language): Html {
  const { texts, described }: Quote = quotes[id];
  const written = (language: Language): Html | null => {
    const found = texts[language];
    return found === 'unknown' ? null : html`<q lang="${language}">${found.text}</q>`;
  };
  const own = mac === null ? null : written(mac);
  const others = [...new Set<Language>(own === null ? [page, 'en'] : mac === page ? [] : [page])].filter((language) => language !== mac);
  const other = others.map((language) => ({ language, words: written(language) })).find(({ words }) => words !== null);
  const also = other ? html` (${besides[page](other.language)} ${other.words})` : null;
  return own === null ? html`${described[page]}${also}` : html`${own}${also}`;
}

/** The Mac's language, in the page's. */
export const nameOf = (language: Language, page: Language): string => new Intl.DisplayNames(page, { type: 'language' }).of(language) ?? languageNames[language];
