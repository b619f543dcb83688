import type { Language } from '../words.ts';
import { typingWords } from './typing-words.ts';

/** Signs that are taken for each other on a small screen, the likeliest first. */
const pairs: readonly (readonly [string, string])[] = [
  ['O', '0'],
  ['I', '1'],
  ['S', '5'],
  ['B', '8'],
  ['Z', '2'],
  ['G', '6'],
  ['U', 'V'],
];

/**
 * What is true of this very key about signs that look alike: that one of two does not occur at all, or in which groups each is.
 * About two signs of which neither occurs nothing is said. What settles most comes first.
 */
export function lookAlikes(key: string, language: Language): readonly string[] {
  const words = typingWords[language];
  const groups = key.split('-');
  const where = (sign: string): readonly number[] => groups.flatMap((group, at) => (group.includes(sign) ? [at + 1] : []));
  const absent = pairs.flatMap(([one, other]) => {
    if (key.includes(one) === key.includes(other)) return [];
    // Q is round too: with one in the key, “every round sign” would not be true.
    const round = one === 'O' && !key.includes('Q');
    return [key.includes(one) ? words.onlyThis(other, one, round) : words.onlyThis(one, other, round)];
  });
  const both = pairs.flatMap(([one, other]) =>
    key.includes(one) && key.includes(other) ? [words.both(one, words.groups(where(one)), other, words.groups(where(other)))] : [],
  );
  return [...absent, ...both];
}
