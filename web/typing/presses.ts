import type { Language } from '../words.ts';
import { type Family, type Layout, layouts } from './layouts.ts';
import { type TypingWords, typingWords } from './typing-words.ts';

/** One key: its row and place, what it gives alone, and whether the sign needs Shift. A–Z are asked for as capitals, as people see them. */
interface Place {
  row: number;
  at: number;
  alone: string;
  shift: boolean;
}

const digits = '1234567890';

function placeOf(layout: Layout, sign: string): Place | null {
  const wanted = sign.toLowerCase();
  for (const [row, keys] of layout.rows.entries()) {
    const at = [...keys].indexOf(wanted);
    if (at >= 0) return { row, at, alone: wanted, shift: false };
  }
  // Digits that are not there alone are on the same keys with Shift, in their usual order.
  const at = digits.indexOf(sign);
  const alone = at < 0 ? undefined : [...layout.rows[0]][at];
  return alone === undefined ? null : { row: 0, at, alone, shift: true };
}

const distinct = (signs: string): readonly string[] => [...new Set(signs.toUpperCase())];

/** A sign of a key cap, with its name where a screen reader would pass over it. */
const cap = (words: TypingWords, sign: string): string => {
  const called = words.called[sign];
  return called === undefined ? sign : `${sign} (${called})`;
};

function hyphenOf(layout: Layout, words: TypingWords): string {
  const place = placeOf(layout, '-');
  if (place === null) throw new Error(`the layout ${layout.id} has no hyphen`);
  const keys = [...(layout.rows[place.row] ?? '')];
  const left = cap(words, keys[place.at - 1] ?? '');
  if (place.row === 3) return words.hyphenBesideShift(left);
  const right = keys[place.at + 1];
  return right === undefined ? words.hyphenBesideDelete(left) : words.hyphenAfter(left, cap(words, right));
}

/**
 * What to press for the signs of one group, where it is not simply the key that shows the sign: digits that need Shift, and
 * where the hyphen is, when it is among `signs`. Empty for most groups of most layouts.
 */
export function pressesFor(layout: Layout, signs: string, language: Language): readonly string[] {
  const words = typingWords[language];
  return distinct(signs).flatMap((sign) => {
    if (sign === '-') return [hyphenOf(layout, words)];
    const place = placeOf(layout, sign);
    return place?.shift ? [words.withShift(sign, cap(words, place.alone))] : [];
  });
}

export interface OtherKeys {
  /** What the person's keys show. */
  keys: Family;
  presses: readonly string[];
}

/** A usual keyboard of each family, of which the keys are compared. */
const usual: readonly { family: Family; id: string }[] = [
  { family: 'QWERTY', id: 'US' },
  { family: 'QWERTZ', id: 'German' },
  { family: 'AZERTY', id: 'French' },
];

/**
 * For somebody whose keys show another layout than the one that the login window uses: which keys to press for these signs.
 * Only families of keyboards for which something differs.
 */
export function otherKeys(layout: Layout, signs: string, language: Language): readonly OtherKeys[] {
  const words = typingWords[language];
  return usual
    .filter(({ family }) => family !== layout.family)
    .flatMap(({ family, id }) => {
      const printed = layouts.find((one) => one.id === id);
      if (printed === undefined) return [];
      const presses = distinct(signs).flatMap((sign) => {
        const place = placeOf(layout, sign);
        const there = place === null ? undefined : [...(printed.rows[place.row] ?? '')][place.at];
        const own = placeOf(printed, sign);
        if (place === null || there === undefined || own === null) return [];
        if (own.row !== place.row || own.at !== place.at) {
          const shows = cap(words, /[a-z]/.test(there) ? there.toUpperCase() : there);
          return [place.shift ? words.keyShowsWithShift(sign, shows) : words.keyShows(sign, shows)];
        }
        if (own.shift === place.shift) return [];
        return [place.shift ? words.withShift(sign, sign) : words.withoutShift(sign)];
      });
      return presses.length === 0 ? [] : [{ keys: family, presses }];
    });
}
