import type { Language } from '../words.ts';

/** What the keys of a keyboard show: how a keyboard is called by its first letters. */
export type Family = 'QWERTY' | 'QWERTZ' | 'AZERTY' | 'QZERTY';

/**
 * A keyboard layout of macOS, as far as a recovery key needs it: where A–Z, 0–9 and the hyphen are. In all of them these signs
 * are typed with one key, alone or with Shift; dead keys such as ´ are never among them.
 */
export interface Layout {
  /** As macOS names it, without `com.apple.keylayout.`. */
  id: string;
  family: Family;
  /** What the keys give without Shift, left to right: 12 keys of the row of digits, then 12, 11 and 10. */
  rows: readonly [string, string, string, string];
  /** What macOS shows in its input menu, by language; null where that is more than the name of a language and no list is known. */
  shown: Readonly<Record<Language, string | null>>;
  /** In our own words, for where `shown` is null. */
  called: Readonly<Record<Language, string>>;
  source: string;
  /** When the source was looked at. */
  date: string;
}

const cldr = (file: string): string => `Unicode CLDR 42, keyboards/osx/${file}-t-k0-osx.xml`;
const date = '2026-11-22';

/**
 * en: the names of macOS 12 as InputSourceSelector prints them; fr: as a program on a French macOS printed them. de and nl: the
 * name of the language, which nobody has looked up.
 */
const names = (en: string, fr: string, de: string | null = null, nl: string | null = null) => ({ en, nl, de, fr });

const us = ['1234567890-=', 'qwertyuiop[]', "asdfghjkl;'", 'zxcvbnm,./'] as const;
const german = ['1234567890ß´', 'qwertzuiopü+', 'asdfghjklöä', 'yxcvbnm,.-'] as const;
const french = ['&é"\'(§è!çà)-', 'azertyuiop^$', 'qsdfghjklmù', 'wxcvbn,;:='] as const;
const swedish = ['1234567890+´', 'qwertyuiopå¨', 'asdfghjklöä', 'zxcvbnm,.-'] as const;

type Row = Omit<Layout, 'date'>;

const all: readonly Row[] = [
  {
    id: 'ABC',
    family: 'QWERTY',
    rows: us,
    shown: names('ABC', 'ABC', 'ABC', 'ABC'),
    called: { en: 'ABC', nl: 'ABC', de: 'ABC', fr: 'ABC' },
    source: cldr('en'),
  },
  {
    id: 'US',
    family: 'QWERTY',
    rows: us,
    shown: names('U.S.', 'Américain'),
    called: { en: 'American', nl: 'Amerikaans', de: 'US-amerikanisch', fr: 'américain' },
    source: cldr('en'),
  },
  {
    id: 'USInternational-PC',
    family: 'QWERTY',
    rows: us,
    shown: names('U.S. International – PC', 'US International – PC'),
    called: { en: 'American, international', nl: 'Amerikaans, internationaal', de: 'US-amerikanisch, international', fr: 'américain international' },
    source: `${cldr('en')}, and macfreek.nl: only ' \` " ~ ^ differ, which no recovery key has`,
  },
  {
    id: 'USExtended',
    family: 'QWERTY',
    rows: us,
    shown: { ...names('ABC – Extended', ''), fr: null },
    called: { en: 'ABC, extended', nl: 'ABC, uitgebreid', de: 'ABC, erweitert', fr: 'ABC étendu' },
    source: cldr('en'),
  },
  {
    id: 'British',
    family: 'QWERTY',
    rows: us,
    shown: names('British', 'Britannique', 'Britisch', 'Brits'),
    called: { en: 'British', nl: 'Brits', de: 'Britisch', fr: 'britannique' },
    source: cldr('en-GB'),
  },
  {
    id: 'Dutch',
    family: 'QWERTY',
    rows: us,
    shown: names('Dutch', 'Néerlandais', 'Niederländisch', 'Nederlands'),
    called: { en: 'Dutch', nl: 'Nederlands', de: 'Niederländisch', fr: 'néerlandais' },
    source: cldr('nl'),
  },
  {
    id: 'German',
    family: 'QWERTZ',
    rows: german,
    shown: names('German', 'Allemand', 'Deutsch', 'Duits'),
    called: { en: 'German', nl: 'Duits', de: 'Deutsch', fr: 'allemand' },
    source: cldr('de'),
  },
  {
    id: 'Austrian',
    family: 'QWERTZ',
    rows: german,
    shown: names('Austrian', 'Autrichien', 'Österreichisch', 'Oostenrijks'),
    called: { en: 'Austrian', nl: 'Oostenrijks', de: 'Österreichisch', fr: 'autrichien' },
    source: cldr('de-AT'),
  },
  {
    id: 'ABC-QWERTZ',
    family: 'QWERTZ',
    rows: german,
    shown: names('ABC – QWERTZ', 'ABC – QWERTZ', 'ABC – QWERTZ', 'ABC – QWERTZ'),
    called: { en: 'ABC for German keys', nl: 'ABC voor Duitse toetsen', de: 'ABC für deutsche Tasten', fr: 'ABC pour touches allemandes' },
    source: 'what German keyboards show on their keys: its own table is published nowhere we know of',
  },
  {
    id: 'SwissGerman',
    family: 'QWERTZ',
    rows: ["1234567890'^", 'qwertzuiopü¨', 'asdfghjklöä', 'yxcvbnm,.-'],
    shown: names('Swiss German', 'Suisse allemand'),
    called: { en: 'Swiss German', nl: 'Zwitserduits', de: 'Schweizer Deutsch', fr: 'suisse allemand' },
    source: cldr('de-CH'),
  },
  {
    id: 'SwissFrench',
    family: 'QWERTZ',
    rows: ["1234567890'^", 'qwertzuiopè¨', 'asdfghjkléà', 'yxcvbnm,.-'],
    shown: names('Swiss French', 'Suisse romand'),
    called: { en: 'Swiss French', nl: 'Zwitserfrans', de: 'Schweizer Französisch', fr: 'suisse romand' },
    source: cldr('fr-CH'),
  },
  {
    id: 'French',
    family: 'AZERTY',
    rows: french,
    shown: names('French', 'Français', 'Französisch', 'Frans'),
    called: { en: 'French', nl: 'Frans', de: 'Französisch', fr: 'français' },
    source: cldr('fr'),
  },
  {
    id: 'French-numerical',
    family: 'AZERTY',
    rows: french,
    shown: names('French – Numerical', 'Français – Numérique'),
    called: { en: 'French, numerical', nl: 'Frans, numeriek', de: 'Französisch, numerisch', fr: 'français numérique' },
    source: 'Unicode CLDR, keyboards/osx/fr-t-k0-osx-numer.xml',
  },
  {
    id: 'Belgian',
    family: 'AZERTY',
    rows: french,
    shown: names('Belgian', 'Belge', 'Belgisch', 'Belgisch'),
    called: { en: 'Belgian', nl: 'Belgisch', de: 'Belgisch', fr: 'belge' },
    source: cldr('nl-BE'),
  },
  {
    id: 'Spanish-ISO',
    family: 'QWERTY',
    rows: ["1234567890'¡", 'qwertyuiop`+', 'asdfghjklñ´', 'zxcvbnm,.-'],
    shown: names('Spanish', 'Espagnol', 'Spanisch', 'Spaans'),
    called: { en: 'Spanish', nl: 'Spaans', de: 'Spanisch', fr: 'espagnol' },
    source: 'Unicode CLDR 42, keyboards/osx/es-t-k0-osx-extended.xml',
  },
  {
    id: 'Spanish',
    family: 'QWERTY',
    rows: ['1234567890-=', 'qwertyuiop´`', 'asdfghjklñ;', 'zxcvbnm,.ç'],
    shown: names('Spanish – Legacy', 'Espagnol – Ancien clavier'),
    called: { en: 'Spanish, old', nl: 'Spaans, oud', de: 'Spanisch, alt', fr: 'espagnol, ancien' },
    source: cldr('es'),
  },
  {
    id: 'Swedish-Pro',
    family: 'QWERTY',
    rows: swedish,
    shown: names('Swedish', 'Suédois', 'Schwedisch', 'Zweeds'),
    called: { en: 'Swedish', nl: 'Zweeds', de: 'Schwedisch', fr: 'suédois' },
    source: cldr('sv'),
  },
  {
    id: 'Finnish',
    family: 'QWERTY',
    rows: swedish,
    shown: names('Finnish', 'Finnois', 'Finnisch', 'Fins'),
    called: { en: 'Finnish', nl: 'Fins', de: 'Finnisch', fr: 'finnois' },
    source: cldr('fi'),
  },
  {
    id: 'Danish',
    family: 'QWERTY',
    rows: ['1234567890+´', 'qwertyuiopå¨', 'asdfghjklæø', 'zxcvbnm,.-'],
    shown: names('Danish', 'Danois', 'Dänisch', 'Deens'),
    called: { en: 'Danish', nl: 'Deens', de: 'Dänisch', fr: 'danois' },
    source: cldr('da'),
  },
  {
    id: 'Norwegian',
    family: 'QWERTY',
    rows: ['1234567890+´', 'qwertyuiopå¨', 'asdfghjkløæ', 'zxcvbnm,.-'],
    shown: names('Norwegian', 'Norvégien', 'Norwegisch', 'Noors'),
    called: { en: 'Norwegian', nl: 'Noors', de: 'Norwegisch', fr: 'norvégien' },
    source: cldr('nb'),
  },
  {
    id: 'Italian-Pro',
    family: 'QWERTY',
    rows: ["1234567890'ì", 'qwertyuiopè+', 'asdfghjklòà', 'zxcvbnm,.-'],
    shown: names('Italian', 'Italien', 'Italienisch', 'Italiaans'),
    called: { en: 'Italian', nl: 'Italiaans', de: 'Italienisch', fr: 'italien' },
    source: 'Unicode CLDR 42, keyboards/osx/it-t-k0-osx-extended.xml',
  },
  {
    id: 'Italian',
    family: 'QZERTY',
    rows: ['&"\'(çè)£àé-=', 'qzertyuiopì$', 'asdfghjklmù', 'wxcvbn,;:ò'],
    shown: names('Italian – QZERTY', 'Italien – QZERTY'),
    called: { en: 'Italian, QZERTY', nl: 'Italiaans, QZERTY', de: 'Italienisch, QZERTY', fr: 'italien QZERTY' },
    source: cldr('it'),
  },
];

/** Layouts by another name, that are no different for these signs. */
const same: Readonly<Record<string, string>> = {
  'British-PC': 'British',
  Irish: 'British',
  Australian: 'US',
  Canadian: 'US',
  'German-DIN-2137': 'German',
  Swedish: 'Swedish-Pro',
  FinnishExtended: 'Finnish',
  NorwegianExtended: 'Norwegian',
};

export const layouts: readonly Layout[] = all.map((row) => ({ ...row, date }));

/** `U.S.`, `US`, `com.apple.keylayout.US` and `Swiss German`, `SwissGerman`: the two ways in which macOS writes one name. */
const plain = (name: string): string =>
  name
    .replace(/^com\.apple\.keylayout\./i, '')
    .toLowerCase()
    .replace(/[^a-z0-9]/g, '');

const known = new Map([
  ...layouts.map((layout) => [plain(layout.id), layout] as const),
  ...Object.entries(same).flatMap(([name, id]) => layouts.filter((layout) => layout.id === id).map((layout) => [plain(name), layout] as const)),
]);

/** The layout that a Mac reported, by identifier or name; null where it said nothing, or one that is not in this table. */
export const layoutOf = (fact: string | null): Layout | null => (fact === null ? null : (known.get(plain(fact)) ?? null));
