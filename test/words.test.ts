import { globSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { languages } from '../web/words.ts';

/*
 * Every table of words of the sites, by what is exported from a file `…words…ts`: a part that is not yet in one is found by the
 * reader, the rest by the compiler, which wants each text in each language.
 */

const root = join(import.meta.dirname, '..');
type Table = Record<string, unknown>;
const tables: [name: string, table: Table][] = [];
for (const file of globSync(['portal/**/*words*.ts', 'web/**/*words*.ts'], { cwd: root }).toSorted()) {
  for (const [name, value] of Object.entries((await import(join(root, file))) as Table)) {
    if (typeof value === 'object' && value !== null && 'en' in value && 'nl' in value) tables.push([name, value as Table]);
  }
}

/** Each text by its path; a function that makes one by what it is written as. */
function textsOf(words: unknown, path = ''): [string, string][] {
  if (typeof words === 'string') return [[path, words]];
  if (typeof words === 'function') return [[path, String(words)]];
  if (typeof words !== 'object' || words === null) return [];
  return Object.entries(words).flatMap(([name, inner]) => textsOf(inner, path === '' ? name : `${path}.${name}`));
}

/** What no text has: spaces that a line may be broken at before French signs, and the quotation marks of others. */
const wrongMarks: Readonly<Partial<Record<string, RegExp>>> = {
  nl: /[“”„«»]/u,
  de: /“[^„]*”|[‘’«»](?!\p{L})/u,
  fr: /« |«\p{L}| [;:!?»](?!\p{L})|\p{L}»|\p{L}[;:!?](?=\s|$)|[“”„]/u,
};
/** The texts in what a function is written as, without what it puts into them. */
function literalsOf(source: string): string[] {
  if (!/^\(?[\w\s,{}]*\)? =>|^\w+\(/.test(source)) return [source];
  let [text, before] = [source, ''];
  while (text !== before) [text, before] = [text.replace(/\$\{(?:[^{}`]|`[^`]*`)*\}/g, 'x'), text];
  return [...text.matchAll(/'([^'\n]*)'|`([^`]*)`/g)].map(([, plain, made]) => plain ?? made ?? '');
}

test('each language has its own quotation marks, and French its spaces before signs, at which no line is broken', () => {
  const wrong = tables.flatMap(([name, table]) =>
    Object.entries(wrongMarks).flatMap(([language, marks]) =>
      textsOf(table[language]).flatMap(([path, text]) =>
        literalsOf(text)
          .filter((literal) => marks?.test(literal))
          .map((literal) => `${name} ${language} ${path}: ${literal}`),
      ),
    ),
  );
  expect(wrong).toEqual([]);
});

/** What is the same in two languages because it is: names, and words that both have. */
const both = [
  'releaseWords nl code',
  'releaseWords de code',
  'releaseWords fr code',
  'contactCardWords nl email',
  'contactCardWords fr email',
  'contactCardWords fr page',
  'devicesWords nl someMac',
  'devicesWords nl facts.model',
  'devicesWords nl facts.macos',
  // These ask Intl in the language.
  'keyShownWords nl amount',
  'keyShownWords de amount',
  'keyShownWords fr amount',
  'typingWords nl withShift',
  'typingWords nl called.+',
  "typingWords fr called.'",
  'typingWords fr called.+',
  'accountWords nl passkeys',
  'frameWords nl privacy',
];

test('there are tables of words, and each is in English and Dutch, or in all four languages', () => {
  expect(tables.length).toBeGreaterThan(12);
  for (const [name, table] of tables)
    expect([name, languages.filter((language) => table[language] !== undefined).length]).toEqual([name, table['de'] === undefined ? 2 : 4]);
});

test.each(tables)('%s has the same texts in each of its languages, and none is empty', (_, table) => {
  const paths = (language: string) =>
    textsOf(table[language])
      .map(([path]) => path)
      .toSorted();
  for (const language of languages.filter((one) => table[one] !== undefined)) {
    expect([language, paths(language)]).toEqual([language, paths('en')]);
    expect(textsOf(table[language]).filter(([, text]) => text.trim() === '')).toEqual([]);
  }
});

test('what is said in two languages is said differently in each, but for words that both have', () => {
  const same = tables
    .filter(([name]) => name !== 'languageNames')
    .flatMap(([name, table]) => {
      const english = new Map(textsOf(table['en']));
      return languages
        .filter((language) => language !== 'en' && table[language] !== undefined)
        .flatMap((language) =>
          textsOf(table[language]).flatMap(([path, text]) => (/\p{L}{3}/u.test(text) && english.get(path) === text ? [`${name} ${language} ${path}`] : [])),
        );
    });
  expect(same.filter((one) => !both.includes(one))).toEqual([]);
});
