import { describe, expect, test } from '@jest/globals';
import { onYourMac, stepsAfterKey } from '../web/steps/after-key.ts';
import { type Evidence, sources } from '../web/steps/evidence.ts';
import { firstTries } from '../web/steps/first.ts';
import { locks, tries } from '../web/steps/locks.ts';
import { macLanguageOf, nameOf, type Quote, type QuoteId, quoted, quotes } from '../web/steps/quotes.ts';
import { chipOf, macosOf, screenIds, screenOf, screensOf } from '../web/steps/screens.ts';
import { quotesIn, written } from '../web/steps/sentences.ts';
import { isWay, type Sentence, stepsOf, type WayId, wayIds } from '../web/steps/steps.ts';
import { unlockWords } from '../web/unlock-words.ts';
import { languages } from '../web/words.ts';

const chips = ['apple', 'intel', 'unknown'] as const;
const versions = ['14', '15', '26', 'unknown'] as const;
const pages = ['en', 'nl'] as const;
const quoteIds = Object.keys(quotes) as QuoteId[];
const every = chips.flatMap((chip) => versions.flatMap((macos) => wayIds.map((way) => ({ chip, macos, way }))));
const plain = (html: { toString(): string }): string =>
  html
    .toString()
    .replace(/<[^>]*>/g, '')
    .replace(/&#39;/g, "'");

const dated = (from: Evidence): void => {
  expect(from.source.length).toBeGreaterThan(10);
  expect(from.date).toMatch(/^20\d\d(-\d\d){0,2}$/);
  expect(typeof from.seen).toBe('boolean');
};
const afterKey = chips.flatMap((chip) => [null, ...wayIds].flatMap((way) => stepsAfterKey(way, chip)));
const sentences: Sentence[] = [
  ...every.flatMap(({ chip, macos, way }) => stepsOf(way, chip, macos).flatMap((step) => step.sentences)),
  ...afterKey,
  ...Object.values(firstTries),
  ...Object.values(locks).flat(),
  ...Object.values(tries).flatMap(({ is, tries: acts }) => [is, ...acts]),
];

describe('where the steps are from', () => {
  test('every sentence has a source with a date, and text in both languages', () => {
    for (const sentence of sentences) {
      dated(sentence.from);
      for (const page of pages) expect(sentence.text[page].length).toBeGreaterThan(5);
    }
  });
  test('both languages quote the Mac in the same places', () => {
    for (const { text } of sentences) expect(quotesIn(text.nl).toSorted()).toEqual(quotesIn(text.en).toSorted());
  });
  test('a word of the Mac that stands in no quote is a mistake', () => {
    expect(() => quotesIn('click {nothing}')).toThrow('no quote is named nothing');
  });
  test('every source that is named is used', () => {
    const texts = Object.values<Quote>(quotes).flatMap(({ texts: all }) => Object.values(all));
    const used = new Set<Evidence>([...sentences.map(({ from }) => from), ...texts.flatMap((found) => (found === 'unknown' ? [] : [found.from]))]);
    expect(Object.entries(sources).flatMap(([id, source]) => (used.has(source) ? [] : [id]))).toEqual([]);
  });
  test('what is concluded is not said to have been seen', () => expect(sources.concluded.seen).toBe(false));
});

describe('the words of the Mac', () => {
  test.each(quoteIds)('%s is there in each language with its source, or marked unknown and described', (id) => {
    const { texts, described }: Quote = quotes[id];
    expect(Object.keys(texts).toSorted()).toEqual([...languages].toSorted());
    for (const language of languages) {
      const found = texts[language];
      if (found === 'unknown') continue;
      expect(found.text).not.toBe('');
      dated(found.from);
    }
    for (const page of languages) expect(described[page].length).toBeGreaterThan(5);
    expect(texts.en).not.toBe('unknown');
  });
  test('every quote is used', () => {
    const used = new Set(sentences.flatMap(({ text }) => quotesIn(text.en)));
    expect(quoteIds.filter((id) => !used.has(id))).toEqual([]);
  });
  test('a Mac in German is quoted in German, marked as such, with the page’s language beside it', () => {
    const text = quoted('restartAndShow', 'de', 'en').toString();
    expect(text).toBe(
      '<q lang="de">Neu starten und Optionen zum Zurücksetzen des Passworts anzeigen</q> (in English: <q lang="en">Restart and show password reset options</q>)',
    );
    expect(plain(quoted('restartAndShow', 'en', 'en'))).toBe('Restart and show password reset options');
  });
  test('words that nobody has published are described, with the English ones beside them', () => {
    expect(plain(quoted('forgotAll', 'fr', 'en'))).toBe('the words that say that you forgot all passwords (in English: Forgot all passwords?)');
    expect(plain(quoted('forgotAll', 'nl', 'nl'))).toBe('de woorden dat je alle wachtwoorden bent vergeten (in het Engels: Forgot all passwords?)');
    expect(plain(quoted('forgotAll', null, 'nl'))).toContain('in het Engels: Forgot all passwords?');
  });
  test.each(quoteIds.flatMap((id) => languages.flatMap((page) => [...languages, null].map((mac) => [id, mac, page] as const))))(
    '%s on a Mac in %s is written on a page in %s',
    (id, mac, page) => expect(plain(quoted(id, mac, page))).not.toMatch(/unknown|undefined|\{/),
  );
  test.each([
    ['nl-NL', 'nl'],
    ['de_CH', 'de'],
    ['fr', 'fr'],
    ['EN-gb', 'en'],
    ['pt-BR', null],
    ['', null],
    [null, null],
  ])('a Mac that reports %s is quoted in %s', (fact, language) => expect(macLanguageOf(fact)).toBe(language));
  test('its language is named in the page’s', () => expect([nameOf('de', 'nl'), nameOf('nl', 'en')]).toEqual(['Duits', 'Dutch']));
});

describe('the pictures', () => {
  test('each has a number of its own, words and a drawing in both languages', () => {
    expect(screenIds.map((id) => screenOf(id).number)).toEqual(screenIds.map((_, at) => at + 1));
    for (const page of pages) expect(Object.keys(unlockWords[page].shows)).toEqual([...screenIds]);
  });
  test('a chip gets only what it can show, an unknown chip all', () => {
    expect(screensOf('unknown')).toEqual(screenIds);
    expect(screenIds.filter((id) => !screensOf('apple').includes(id))).toEqual(['firmware']);
    expect(screenIds.filter((id) => !screensOf('intel').includes(id))).toEqual(['reset-options', 'recovery-lock']);
  });
  test('every picture leads to steps, to a contact, or to something to try', () => {
    for (const id of screenIds) {
      const { leads } = screenOf(id);
      expect([id, isWay(id)]).toEqual([id, leads === 'key']);
      expect([id, Object.hasOwn(locks, id)]).toEqual([id, leads === 'wrong-lock']);
      expect([id, Object.hasOwn(tries, id)]).toEqual([id, leads === 'try-first']);
    }
  });
  test('chip and version are told from what the Mac reported', () => {
    expect([chipOf(true), chipOf(false), chipOf(null)]).toEqual(['apple', 'intel', 'unknown']);
    expect(['14.7.1', '15', '26.6.2', '13.7', '27.0', null].map(macosOf)).toEqual(['14', '15', '26', 'unknown', 'unknown', 'unknown']);
  });
});

describe('the ways to the field for the key', () => {
  test.each(every.map(({ way, chip, macos }) => [way, chip, macos] as const))(
    '%s on %s with macOS %s ends at the field, each step with something to read',
    (way, chip, macos) => {
      const steps = stepsOf(way, chip, macos);
      expect(steps.at(-1)?.id).toBe('key-field');
      for (const step of steps) {
        expect([step.id, step.sentences.length > 0]).toEqual([step.id, true]);
        expect(step.sentences.some(({ is }) => is === 'do')).toBe(true);
        if (step.instead) expect(wayIds).toContain(step.instead.way);
      }
      expect(new Set(steps.map(({ id }) => id)).size).toBe(steps.length);
    },
  );
  test('no way leads in a circle: whoever has no question mark is not sent to look for it again', () => {
    for (const { chip, macos, way } of every) {
      const seen = new Set<WayId>();
      for (let next: WayId | undefined = way; next !== undefined; next = stepsOf(next, chip, macos).find((step) => step.instead)?.instead?.way) {
        expect(seen.has(next)).toBe(false);
        seen.add(next);
      }
    }
  });
  test('three keys together are for Apple silicon, the arrow for Intel', () => {
    const ids = (way: WayId, chip: (typeof chips)[number]) => stepsOf(way, chip, '26').map(({ id }) => id);
    expect(ids('no-question-mark', 'apple')).toEqual(['three-keys', 'key-field']);
    expect(ids('password-field', 'intel')).toEqual(['question-mark', 'line-with-arrow', 'key-field']);
    expect(ids('no-question-mark', 'intel')).not.toContain('three-keys');
    expect(ids('lock-screen', 'apple')).toEqual(['from-lock-screen', 'question-mark', 'restart-line', 'questions-before', 'key-field']);
  });
  test('that a Mac may have no question mark is said from macOS 15 on, and where the version is not known', () => {
    const said = (macos: (typeof versions)[number]) =>
      stepsOf('password-field', 'apple', macos)[0]?.sentences.some(({ text }) => text.en.includes('macOS 15')) ?? false;
    expect(versions.map(said)).toEqual([false, true, true, true]);
  });
  test('what sounds bad and is not is named before it is met', () => {
    const harmless = stepsOf('password-field', 'apple', '26')[2]?.sentences.find(({ is }) => is === 'harmless');
    expect(harmless && plain(written(harmless, 'en', 'en'))).toContain('Deactivate Mac? It sounds bad and is not: it erases nothing.');
  });
});

describe('after the key', () => {
  test('the steps are those of the way that somebody came, in the Mac’s words', () => {
    const apple = { isAppleSilicon: true, macLanguage: 'de-DE' };
    expect(plain(onYourMac(apple, 'password-field', 'en'))).toContain('Weiter (in English: Next)');
    expect(plain(onYourMac(apple, 'no-question-mark', 'en'))).toContain('login window, with a network');
    expect(plain(onYourMac({ isAppleSilicon: false, macLanguage: null }, 'password-field', 'nl'))).toContain('in het Engels: Reset Password');
  });
  test('they are there in every language, with the Mac quoted in the same places', () => {
    for (const { text } of afterKey)
      for (const language of languages) {
        expect(text[language].length).toBeGreaterThan(5);
        expect(quotesIn(text[language]).toSorted()).toEqual(quotesIn(text.en).toSorted());
        if (language !== 'en') expect(text[language]).not.toBe(text.en);
      }
  });
  test('where the Mac’s words are not known in the page’s language, they are described in it, with the Mac’s own marked as such', () => {
    const french = onYourMac({ isAppleSilicon: true, macLanguage: 'fr-FR' }, 'password-field', 'fr').toString();
    expect(french).toContain('Cliquez sur le bouton pour continuer (en anglais : <q lang="en">Next</q>), ou appuyez');
    expect(french).not.toContain('<ol class="on-your-mac" lang');
    const german = onYourMac({ isAppleSilicon: true, macLanguage: 'de-CH' }, 'password-field', 'de').toString();
    expect(german).toContain('Klicken Sie auf <q lang="de">Neustart</q> und melden Sie sich mit dem neuen Passwort an.');
    const intel = onYourMac({ isAppleSilicon: false, macLanguage: null }, null, 'de').toString();
    expect(intel).toContain('zeigt ein Fenster für ein neues Passwort (auf Englisch: <q lang="en">Reset Password</q>)');
  });
});
