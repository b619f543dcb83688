import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Layout, layoutOf, layouts } from '../web/typing/layouts.ts';
import { lookAlikes } from '../web/typing/look-alikes.ts';
import { otherKeys, pressesFor } from '../web/typing/presses.ts';
import { spell } from '../web/typing/spelling.ts';
import { languages } from '../web/words.ts';

const alphabet = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'];
/** Few different signs, so that pairs of look-alikes are missing, alone or both there about equally often. */
const group = fc.string({ unit: fc.constantFrom(...alphabet), minLength: 4, maxLength: 4 });
const poorGroup = fc.string({ unit: fc.constantFrom(...'O0QI1S5B8Z2G6UVAX9'), minLength: 4, maxLength: 4 });
const key = fc.oneof(fc.array(group, { minLength: 6, maxLength: 6 }), fc.array(poorGroup, { minLength: 6, maxLength: 6 })).map((groups) => groups.join('-'));
const found = (fact: string): Layout => {
  const layout = layoutOf(fact);
  if (layout === null) throw new Error(`no layout ${fact}`);
  return layout;
};

describe('which layout a Mac reported', () => {
  test.each([
    ['German', 'German'],
    ['com.apple.keylayout.German', 'German'],
    ['U.S.', 'US'],
    ['US', 'US'],
    ['USInternational-PC', 'USInternational-PC'],
    ['com.apple.keylayout.USInternational-PC', 'USInternational-PC'],
    ['Swiss German', 'SwissGerman'],
    ['SwissFrench', 'SwissFrench'],
    ['Spanish - ISO', 'Spanish-ISO'],
    ['Swedish - Pro', 'Swedish-Pro'],
    ['Swedish', 'Swedish-Pro'],
    ['French - numerical', 'French-numerical'],
    ['British-PC', 'British'],
    ['Belgian', 'Belgian'],
    ['Finnish', 'Finnish'],
    ['Danish', 'Danish'],
    ['Norwegian', 'Norwegian'],
    ['Italian - Pro', 'Italian-Pro'],
    ['Dvorak', null],
    ['', null],
  ])('%s is %s', (fact, id) => expect(layoutOf(fact)?.id ?? null).toBe(id));

  test('nothing reported is no layout', () => expect(layoutOf(null)).toBeNull());
});

describe.each(layouts.map((layout) => [layout.id, layout] as const))('the layout %s', (_, layout) => {
  test('has every letter, the digits and the hyphen once, and says where that is from', () => {
    expect(layout.rows.map((row) => [...row].length)).toEqual([12, 12, 11, 10]);
    const all = layout.rows.join('');
    for (const letter of 'abcdefghijklmnopqrstuvwxyz') expect([letter, all.split(letter).length - 1]).toEqual([letter, 1]);
    expect(all.split('-').length - 1).toBe(1);
    expect([0, 10]).toContain([...'0123456789'].filter((digit) => all.includes(digit)).length);
    expect(layout.source.length).toBeGreaterThan(10);
    expect(layout.date).toMatch(/^20\d\d-\d\d-\d\d$/);
    for (const language of languages) expect(layout.called[language]).not.toBe('');
  });

  test('has presses for a digit or the hyphen only, and none for what the keys show', () => {
    fc.assert(
      fc.property(group, fc.boolean(), fc.constantFrom(...languages), (signs, hyphen, language) => {
        const presses = pressesFor(layout, hyphen ? `${signs}-` : signs, language);
        const shifted = layout.rows[0].startsWith('1') ? [] : [...new Set([...signs].filter((sign) => /[0-9]/.test(sign)))];
        expect(presses.map((press) => [...press][0])).toEqual([...shifted, ...(hyphen ? ['-'] : [])]);
      }),
      { numRuns: 20 },
    );
  });

  test('keys that show another layout: the key that is named gives the sign that is meant', () => {
    const usual: Record<string, Layout> = { QWERTY: found('US'), QWERTZ: found('German'), AZERTY: found('French') };
    for (const { keys, presses } of otherKeys(layout, `${alphabet.join('')}-`, 'en')) {
      expect(keys).not.toBe(layout.family);
      for (const press of presses) {
        const [, sign = '', shows] = /^(.): (?:Shift \+ )?(?:the key that shows (\S+)|.*)/u.exec(press) ?? [];
        if (shows === undefined) continue;
        const [row, at] =
          (usual[keys]?.rows ?? []).flatMap((text, row) =>
            [...text].includes(shows.toLowerCase()) ? [[row, [...text].indexOf(shows.toLowerCase())]] : [],
          )[0] ?? [];
        const gives = [...(layout.rows[row ?? 9] ?? '')][at ?? 99] ?? '';
        expect([press, /[0-9]/.test(sign) && gives !== sign ? '1234567890'[at ?? 99] : gives]).toEqual([press, sign.toLowerCase()]);
      }
    }
  });
});

describe('presses in words', () => {
  test('AZERTY needs Shift for digits', () => {
    expect(pressesFor(found('French'), 'AU2A', 'en')).toEqual(['2: Shift + é']);
    expect(pressesFor(found('Belgian'), '3B33', 'nl')).toEqual(['3: Shift + " (aanhalingsteken)']);
    expect(pressesFor(found('French'), '29', 'fr')).toEqual(['2 : Majuscule + é', '9 : Majuscule + ç']);
  });
  test('the hyphen is where the layout has it', () => {
    expect(pressesFor(found('US'), '-', 'en')).toEqual(['- (hyphen): the key between 0 and = (equals sign)']);
    expect(pressesFor(found('German'), '-', 'de')).toEqual(['- (Bindestrich): die Taste zwischen . (Punkt) und der rechten Umschalttaste']);
    expect(pressesFor(found('French'), '-', 'nl')).toEqual(['- (streepje): de toets tussen ) (haakje sluiten) en de wistoets, zonder Shift']);
  });
  test('Y and Z change places where the keys show another layout than the login window uses, and only then', () => {
    expect(pressesFor(found('German'), 'YZYZ', 'en')).toEqual([]);
    expect(otherKeys(found('German'), 'YZ', 'en')[0]).toEqual({ keys: 'QWERTY', presses: ['Y: the key that shows Z', 'Z: the key that shows Y'] });
    expect(otherKeys(found('US'), 'ERTU', 'en')).toEqual([]);
  });
});

describe('signs that look alike', () => {
  test('a key without a zero says so, and that every round sign is the letter O', () => {
    expect(lookAlikes('LVU9-OZ58-EEO2-O28G-JOBF-48M7', 'en')[0]).toBe('This key has no zero: every round sign is the letter O.');
    expect(lookAlikes('LVU9-OZ58-EEO2-O28G-JOBF-48M7', 'nl')[0]).toBe('Een nul zit niet in deze sleutel: elk rond teken is de letter O.');
  });
  test('a key without any of them has nothing to say', () => expect(lookAlikes('ACDE-FHJK-LMNP-RTWX-Y347-9ACD', 'en')).toEqual([]));

  test('every sentence is true of the very key', () => {
    fc.assert(
      fc.property(key, (text) => {
        const groups = text.split('-');
        const signOf = (words: string): string => (words === 'zero' ? '0' : (/^(?:the )?(?:letter|digit) (.)$/.exec(words)?.[1] ?? '?'));
        const numbers = (words: string): number[] => [...words.matchAll(/\d/g)].map(([digit]) => Number(digit));
        const where = (sign: string): number[] => groups.flatMap((one, at) => (one.includes(sign) ? [at + 1] : []));
        for (const sentence of lookAlikes(text, 'en')) {
          const only = /^This key has no (.+): (every round sign|what looks like one) is (the .+)\.$/.exec(sentence);
          const both = /^This key has (the (?:letter|digit) .) in (.+) and (the (?:letter|digit) .) in (.+)\.$/.exec(sentence);
          if (only) {
            expect([sentence, text.includes(signOf(only[1] ?? ''))]).toEqual([sentence, false]);
            expect([sentence, text.includes(signOf(only[3] ?? ''))]).toEqual([sentence, true]);
            // Then it is the only round sign: no Q, and not the other of O and 0.
            if (only[2] === 'every round sign')
              expect([sentence, [...'O0Q'].filter((sign) => text.includes(sign))]).toEqual([sentence, [signOf(only[3] ?? '')]]);
          } else if (both) {
            expect([sentence, numbers(both[2] ?? '')]).toEqual([sentence, where(signOf(both[1] ?? ''))]);
            expect([sentence, numbers(both[4] ?? '')]).toEqual([sentence, where(signOf(both[3] ?? ''))]);
          } else throw new Error(`a sentence of another form: ${sentence}`);
        }
        for (const language of languages) expect(lookAlikes(text, language).length).toBe(lookAlikes(text, 'en').length);
      }),
      { numRuns: 300 },
    );
  });
});

describe('reading a group aloud', () => {
  test.each([
    ['en', ['Kilo', 'seven', 'X-ray', 'hyphen']],
    ['nl', ['Karel', 'zeven', 'Xantippe', 'streepje']],
    ['de', ['Kaufmann', 'sieben', 'Xanthippe', 'Bindestrich']],
    ['fr', ['Kléber', 'sept', 'Xavier', 'trait d’union']],
  ] as const)('%s has its own words', (language, words) => {
    expect(spell('K7x-', language)).toEqual(['K', '7', 'X', '-'].map((sign, at) => ({ sign, word: words[at] })));
  });
  test.each(languages)('%s: a word for every sign, each once, letters by words that begin with them', (language) => {
    const spelled = spell(`${alphabet.join('')}-`, language);
    expect(new Set(spelled.map(({ word }) => word)).size).toBe(37);
    for (const { sign, word } of spelled.filter((one) => /[A-Z]/.test(one.sign))) expect([sign, word[0]]).toEqual([sign, sign]);
    expect(spelled.filter(({ sign, word }) => sign === word)).toEqual([]);
  });
});
