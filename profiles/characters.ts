import { isDictionary } from './schema-check.ts';

/** What XML has no way to write, or nobody can see: but for tab and line ends, which certificates have. */
const unfit = /[[\p{Cc}\p{Cs}\ufffe\uffff]--[\t\n\r]]/v;

/** The first text with a character that no profile can hold, by its name; null: there is none. */
export function unfitText(value: unknown, name = ''): string | null {
  const at = (key: string): string => (name === '' ? key : `${name}.${key}`);
  if (typeof value === 'string') return unfit.test(value) ? name || 'a text' : null;
  if (Array.isArray(value)) return firstOf(value.map((one, n) => () => unfitText(one, at(String(n)))));
  if (!isDictionary(value)) return null;
  return firstOf(
    Object.entries(value).map(
      ([key, one]) =>
        () =>
          unfit.test(key) ? `a name in ${name || 'it'}` : unfitText(one, at(key)),
    ),
  );
}

function firstOf(looks: readonly (() => string | null)[]): string | null {
  for (const look of looks) {
    const found = look();
    if (found !== null) return found;
  }
  return null;
}
